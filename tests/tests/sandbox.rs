//! The guard's workers: what they may not do, how they fail, and that a daemon outlives every one of them. A worker
//! that gives no answer has looked at nothing, so nothing is released.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as a test does")]
#![allow(clippy::disallowed_methods, reason = "a test drops files as an app does")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use guard::{FileFacts, Judgement, Moment, Parcel, Question, ReadSeek, Rules, inspect_by};
use protocol::{Crossing, Name, Reason, Suite, Verdict};
use station::config::NameEncoding;
use station::drop::{self, Drop};
use station::sandbox::{ARGUMENT, Sandbox, Start};
use tests::programs::program;

const INWARD: Crossing = Crossing::InternetToExtranet;
const OUTWARD: Crossing = Crossing::ExtranetToInternet;
const PATIENCE: Duration = Duration::from_secs(60);

fn rules(crossing: Crossing) -> Rules {
    let text = format!(
        "crossing = \"{crossing}\"\nversion = \"1\"\n[[type]]\nname = \"form\"\nkinds = [\"xml\", \"txt\"]\nfiles_max = 100\n\
         [[type.label]]\nname = \"ywh\"\nxml = \"m/ywh\"\n"
    );
    Rules::parse(&text).unwrap()
}

/// A program that writes down each of its starts, and then is the node.
struct Counted {
    folder: tempfile::TempDir,
    program: PathBuf,
}

impl Counted {
    fn new() -> Counted {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("node");
        let script = format!(
            "#!/bin/sh\necho $$ >> {}\nexec {} \"$@\"\n",
            folder.path().join("starts").display(),
            tests::programs::program("intranet-node").display()
        );
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Counted { folder, program }
    }

    fn start(&self, more: &[&str]) -> Start {
        Start { program: self.program.clone(), more: more.iter().map(|&w| w.to_owned()).collect(), ..Start::default() }
    }

    /// Has it locked itself? Before that it may be on its way to closing things.
    fn has_greeted(&self, pid: i32) -> bool {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().any(|line| line.starts_with("Seccomp:") && line.ends_with('2'))
    }

    fn pids(&self) -> Vec<i32> {
        let starts = fs::read_to_string(self.folder.path().join("starts")).unwrap_or_default();
        starts.lines().filter_map(|line| line.parse().ok()).collect()
    }
}

fn started(more: &[&str], budget: Duration) -> Sandbox {
    Sandbox::started_by(Start {
        program: program("intranet-node"),
        more: more.iter().map(|&word| word.to_owned()).collect(),
        budget_base: budget,
    })
}

fn judge(sandbox: &Sandbox, crossing: Crossing, content: &str) -> Judgement<Drop> {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("a.xml");
    fs::write(&place, content).unwrap();
    judge_at(sandbox, crossing, &place)
}

fn judge_at(sandbox: &Sandbox, crossing: Crossing, place: &Path) -> Judgement<Drop> {
    let (rules, types) = (rules(crossing), [Name::new("form").unwrap()]);
    let question =
        Question { rules: &rules, suite: Suite::Std, moment: Moment::Intake, types: &types, stripped: false };
    drop::inspect(sandbox, None, &question, &[], Drop::read(place, NameEncoding::Utf8).unwrap()).unwrap()
}

/// Of a refusal: why, and by which rules.
fn refused<P>(judgement: Judgement<P>) -> (Reason, Vec<&'static str>) {
    match judgement {
        Judgement::Refused { reason, findings, .. } => (reason, findings.iter().map(|f| f.rule).collect()),
        Judgement::Released(_) => unreachable!("it was released"),
        _ => unreachable!("neither held nor stripped"),
    }
}

fn is_released(judgement: &Judgement<Drop>) -> bool {
    matches!(judgement, Judgement::Released(released) if released.verdict() == Verdict::Released)
}

const PLAIN: &str = "<m><ywh>2026-0001</ywh></m>";
const POINT: &str = "<m><XZB>4851490.4193</XZB><YZB>29546865.2760</YZB></m>";

#[test]
fn what_is_parsed_in_a_worker_is_judged_as_in_this_process() {
    let (locked, here) = (started(&[], PATIENCE), Sandbox::in_process());
    for crossing in [INWARD, OUTWARD] {
        let Judgement::Released(released) = judge(&locked, crossing, PLAIN) else { unreachable!("it is clean") };
        assert_eq!(released.labels(), [(Name::new("ywh").unwrap(), "2026-0001".to_owned())]);
        assert_eq!(refused(judge(&locked, crossing, POINT)), refused(judge(&here, crossing, POINT)));
        assert_eq!(refused(judge(&locked, crossing, "<m")).0, Reason::NotInspectable);
    }
    assert_eq!(locked.failures(), 0);
}

#[test]
fn a_worker_can_open_nothing_start_nothing_and_reach_nobody_whichever_lock_is_left() {
    let tried = |what: &str, without: &[&str]| {
        let mut command = Command::new(program("intranet-node"));
        command.args([ARGUMENT, "probe", what]).stdin(Stdio::null());
        without.iter().for_each(|layer| {
            command.args(["without", layer]);
        });
        let output = command.output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let could = |what: &str, without: &[&str]| tried(what, without).contains("it could");
    let files = ["try-open", "try-list", "try-make"];
    let others =
        ["try-socket", "try-connect", "try-process", "try-thread", "try-signal", "try-limit", "try-end-daemon"];
    for what in files.iter().chain(&others) {
        assert!(!could(what, &[]), "{what}");
        assert!(!could(what, &["landlock", "limits"]), "{what} behind the filter alone");
    }
    for what in files.iter().chain(&["try-socket", "try-connect"]) {
        assert!(!could(what, &["seccomp", "landlock"]), "{what} behind the limits alone");
    }
    // A probe that can do nothing anywhere would hold for ever.
    let open = ["seccomp", "landlock", "limits"];
    for what in ["try-open", "try-list", "try-socket", "try-process", "try-thread", "try-signal", "try-limit"] {
        assert!(could(what, &open), "{what} without any lock: {}", tried(what, &open));
    }
    match started(&[], PATIENCE).layers().unwrap().unwrap().landlock {
        station::sandbox::Landlock::Absent => println!("SKIPPED: this kernel has no Landlock"),
        _ => {
            for what in files {
                assert!(!could(what, &["seccomp", "limits"]), "{what} behind Landlock alone");
            }
        }
    }
}

#[test]
fn a_missing_lock_is_said() {
    for layer in ["seccomp", "landlock", "limits"] {
        let layers = started(&["without", layer], PATIENCE).layers().unwrap().unwrap();
        assert!(layers.are_weak(), "{layer}");
        assert!(layers.to_string().contains("MISSING"), "{layers}");
        // It works all the same: an older kernel is no reason to stop the office.
        let sandbox = started(&["without", layer], PATIENCE);
        assert!(is_released(&judge(&sandbox, OUTWARD, PLAIN)), "{layer}");
    }
}

#[test]
fn a_worker_that_fails_over_a_parcel_makes_it_not_inspectable_and_the_next_one_is_judged() {
    for (how, rule) in [
        ("exit", "worker-died"),
        ("eat", "worker-died"),
        ("garble", "worker-died"),
        ("babble", "worker-garbled"),
        ("lie", "worker-garbled"),
    ] {
        for crossing in [INWARD, OUTWARD] {
            let sandbox = started(&["probe", how], PATIENCE);
            for _ in 0..2 {
                let (reason, rules) = refused(judge(&sandbox, crossing, PLAIN));
                assert_eq!(reason, Reason::NotInspectable, "{how}");
                assert!(rules.contains(&rule), "{how}: {rules:?}");
            }
        }
    }
}

#[test]
fn a_worker_that_hangs_is_given_up_after_its_budget_and_the_rest_of_its_parcel_is_not_tried() {
    let sandbox = started(&["probe", "hang"], Duration::from_millis(300));
    sandbox.layers().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let case = folder.path().join("case");
    fs::create_dir(&case).unwrap();
    for at in 0..80 {
        fs::write(case.join(format!("{at}.xml")), PLAIN).unwrap();
    }
    let began = Instant::now();
    let (reason, rules) = refused(judge_at(&sandbox, OUTWARD, &case));
    assert_eq!(reason, Reason::NotInspectable);
    assert_eq!(rules.iter().filter(|rule| **rule == "worker-late").count(), 81, "each file, and the parcel");
    assert!(began.elapsed() < Duration::from_millis(300) * 20, "{:?}", began.elapsed());
    assert_eq!(sandbox.failures(), 2, "a second one was asked, and nobody for the other files");
}

#[test]
fn a_worker_that_is_killed_in_the_middle_has_looked_at_nothing() {
    let counted = Counted::new();
    let sandbox = Sandbox::started_by(Start { budget_base: PATIENCE, ..counted.start(&["probe", "hang"]) });
    sandbox.layers().unwrap();
    let judged = std::thread::scope(|scope| {
        let judged = scope.spawn(|| judge(&sandbox, OUTWARD, PLAIN));
        while !judged.is_finished() {
            // Spares die as well, and are replaced: a parcel that was given to none goes to the next.
            for pid in counted.pids() {
                let pid = rustix::process::Pid::from_raw(pid).unwrap();
                let busy = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()))
                    .is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('R')));
                if busy {
                    let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                }
            }
            std::thread::yield_now();
        }
        judged.join().unwrap()
    });
    let (reason, rules) = refused(judged);
    assert_eq!(reason, Reason::NotInspectable);
    assert!(rules.contains(&"worker-died"), "{rules:?}");
}

#[test]
fn inward_a_worker_serves_many_parcels_of_one_crossing_and_outward_one() {
    const SPARE: usize = 4;
    let counted = Counted::new();
    let sandbox = Sandbox::started_by(counted.start(&[]));
    let settled = |at_least: usize| {
        let until = Instant::now() + PATIENCE;
        while counted.pids().len() < at_least && Instant::now() < until {
            std::thread::yield_now();
        }
        counted.pids().len()
    };
    for _ in 0..20 {
        // From threads that end: a worker does not end with who asked it.
        let judged = std::thread::scope(|scope| scope.spawn(|| judge(&sandbox, INWARD, PLAIN)).join().unwrap());
        assert!(is_released(&judged));
    }
    assert_eq!(settled(SPARE + 1), SPARE + 1, "twenty parcels, one worker");
    // systemd tells every process of a unit that it ends.
    for pid in counted.pids() {
        let _gone =
            rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::TERM);
    }
    assert!(is_released(&judge(&sandbox, INWARD, PLAIN)));
    assert_eq!(settled(SPARE + 1), SPARE + 1, "SIGTERM is for the daemon");
    assert!(is_released(&judge(&sandbox, Crossing::ExtranetToIntranet, PLAIN)));
    assert_eq!(settled(SPARE + 2), SPARE + 2, "another crossing, another worker");
    let hit = refused(judge(&sandbox, INWARD, POINT)).0;
    assert_eq!(hit, Reason::Coordinates);
    assert!(is_released(&judge(&sandbox, INWARD, PLAIN)));
    assert_eq!(settled(SPARE + 3), SPARE + 3, "a hit ends a worker");
    // Somebody ends all that wait: the next parcel has not done it.
    for pid in counted.pids() {
        let _gone =
            rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::KILL);
    }
    let ended = |pid: &i32| {
        fs::read_to_string(format!("/proc/{pid}/stat"))
            .map_or(true, |stat| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')))
    };
    let until = Instant::now() + PATIENCE;
    while !counted.pids().iter().all(ended) && Instant::now() < until {
        std::thread::yield_now();
    }
    let before = counted.pids().len();
    assert!(is_released(&judge(&sandbox, INWARD, PLAIN)), "a fresh one was asked");
    assert_eq!(sandbox.failures(), 0, "none was asked that had ended");
    assert_eq!(settled(before + SPARE + 1), before + SPARE + 1);
    for _ in 0..5 {
        assert!(is_released(&judge(&sandbox, OUTWARD, PLAIN)));
    }
    assert_eq!(settled(before + SPARE + 6), before + SPARE + 6, "five parcels toward a lower zone, five workers");
    drop(sandbox);
    // None outlives its daemon's need.
    let until = Instant::now() + PATIENCE;
    let lives =
        |pid: &i32| fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains(ARGUMENT));
    while counted.pids().iter().any(lives) && Instant::now() < until {
        std::thread::yield_now();
    }
    assert_eq!(counted.pids().iter().filter(|pid| lives(pid)).count(), 0);
}

#[test]
fn small_parcels_are_looked_at_together_and_beside_a_hit_each_by_itself() {
    let of = |crossing: Crossing, contents: &[&str]| -> (Vec<String>, usize) {
        let counted = Counted::new();
        let sandbox = Sandbox::started_by(counted.start(&[]));
        let folder = tempfile::tempdir().unwrap();
        let drops = contents.iter().enumerate().map(|(at, content)| {
            let place = folder.path().join(format!("{at}.xml"));
            fs::write(&place, content).unwrap();
            Drop::read(&place, NameEncoding::Utf8).unwrap()
        });
        let (rules, types) = (rules(crossing), [Name::new("form").unwrap()]);
        let question =
            Question { rules: &rules, suite: Suite::Std, moment: Moment::Intake, types: &types, stripped: false };
        let judged = drop::inspect_all(&sandbox, None, &question, &[], drops.collect());
        let words = judged.into_iter().map(|judged| match judged.unwrap() {
            Judgement::Released(released) => format!("{:?}", released.labels()),
            other => refused(other).0.to_string(),
        });
        (words.collect(), counted.pids().len())
    };
    let other = PLAIN.replace("0001", "0002");
    let (inward, _) = of(INWARD, &[PLAIN, &other, PLAIN]);
    assert!(inward[0].contains("2026-0001") && inward[1].contains("2026-0002") && inward[2] == inward[0], "{inward:?}");
    let (beside, workers) = of(INWARD, &[PLAIN, POINT, &other, "<m"]);
    assert_eq!([&beside[0], &beside[2]], [&inward[0], &inward[1]]);
    assert_eq!([beside[1].as_str(), beside[3].as_str()], ["coordinates", "not-inspectable"]);
    assert!(workers >= 4, "one for all, one for the first, and another after each that met something: {workers}");
    let (outward, workers) = of(OUTWARD, &[PLAIN, &other, PLAIN]);
    assert_eq!(outward, inward);
    assert!(workers >= 3, "toward a lower zone each has its own: {workers}");
}

/// Another content at every look.
struct Shifting(FileFacts, std::cell::Cell<u8>);

impl Parcel for Shifting {
    fn name(&self) -> &str {
        &self.0.path
    }
    fn files(&self) -> &[FileFacts] {
        std::slice::from_ref(&self.0)
    }
    fn open(&self, _: usize) -> std::io::Result<Box<dyn ReadSeek + '_>> {
        self.1.set(self.1.get() + 1);
        Ok(Box::new(std::io::Cursor::new(PLAIN.replace("0001", &format!("000{}", self.1.get())))))
    }
}

#[test]
fn a_file_that_changes_while_it_is_looked_at_is_refused_as_changed() {
    let sandbox = started(&[], PATIENCE);
    let text = "crossing = \"intranet-extranet\"\nversion = \"1\"\n[[type]]\nname = \"scan\"\nkinds = [\"jpeg\"]\n\
                [[type]]\nname = \"form\"\nkinds = [\"xml\"]\nxml_root = \"m\"\n";
    // It is no scan, so that it is read once more and held against the form's schema.
    let (rules, types) = (Rules::parse(text).unwrap(), ["scan", "form"].map(|name| Name::new(name).unwrap()));
    let question =
        Question { rules: &rules, suite: Suite::Std, moment: Moment::Intake, types: &types, stripped: false };
    let facts = FileFacts { path: "a.xml".to_owned(), size: PLAIN.len() as u64 };
    let parcel = Shifting(facts, std::cell::Cell::new(0));
    let (reason, _) = refused(inspect_by(&mut sandbox.visit(OUTWARD), &question, &[], parcel.into()));
    assert_eq!(reason, Reason::Changed);
}

#[test]
fn where_no_worker_can_be_started_nothing_is_said_of_the_parcel() {
    let sandbox = Sandbox::started_by(Start { program: PathBuf::from("/nowhere"), ..Start::default() });
    assert!(sandbox.layers().is_err());
    assert_eq!(sandbox.failures(), 0, "no parcel was in any worker's hands");
}

#[test]
fn a_worker_inherits_nothing_but_its_socket() {
    let counted = Counted::new();
    let secret = counted.folder.path().join("secret");
    fs::write(&secret, "a key").unwrap();
    // Left open for children, as a careless starter of the daemon would leave its own.
    let _left = rustix::io::dup(fs::File::open(&secret).unwrap()).unwrap();
    let sandbox = Sandbox::started_by(counted.start(&[]));
    assert!(sandbox.layers().unwrap().is_some(), "it has greeted");
    for pid in counted.pids() {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let numbers: Vec<String> = open.map(|fd| fd.file_name().to_string_lossy().into_owned()).collect();
        if counted.has_greeted(pid) {
            assert!(numbers.iter().all(|number| ["0", "1", "2"].contains(&number.as_str())), "{pid}: {numbers:?}");
        }
    }
    assert!(is_released(&judge(&sandbox, OUTWARD, PLAIN)));
}
