//! Intakes that die: at each point where they may, and anywhere. Whoever runs the same command again ends with one drop, and
//! nothing is left beside it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "what a test breaks on purpose need not survive a power cut")]

mod world;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use protocol::Suite;
use world::{Daemon, Office, PASSPHRASE, expect};

const FILES: usize = 24;
/// The busiest machine must not fail a test.
const PATIENCE: Duration = Duration::from_secs(60);

struct Stage {
    office: Office,
    operator: String,
    from: PathBuf,
    inlet: PathBuf,
    spool: PathBuf,
}

impl Stage {
    /// A node that was set up and does not run.
    fn new(test: &str) -> Stage {
        let mut office = Office::new(test, Suite::Std);
        let operator = office.person("zhao", "operator", "intranet");
        let node = Daemon::start(&office, "intranet", Vec::new());
        let (from, inlet) =
            (office.dir.join("stick/case-7"), node.layout.inlet(&protocol::Name::new("survey").unwrap()));
        fs::create_dir_all(from.join("权籍")).unwrap();
        fs::create_dir_all(&inlet).unwrap();
        for place in 0..FILES {
            fs::write(from.join(format!("权籍/{place}.shp")), vec![7; 60_000 + place]).unwrap();
        }
        Stage { operator, from, inlet, spool: node.root.clone(), office }
    }

    fn daemon(&self) -> Daemon {
        Daemon::start(&self.office, "intranet", Vec::new())
    }

    fn arguments(&self, listing: &str) -> Vec<String> {
        let listing = self.office.dir.join(listing);
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let words = ["--route", "survey", "--key", &self.operator].map(str::to_owned);
        let paths = ["--spool".to_owned(), text(&self.spool), "--listing".to_owned(), text(&listing)];
        ["intake".to_owned(), text(&self.from)].into_iter().chain(words).chain(paths).collect()
    }

    #[track_caller]
    fn run(&self, code: i32, listing: &str) -> String {
        expect(code, &self.arguments(listing).iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn spawn(&self, listing: &str) -> Child {
        Command::new(env!("CARGO_BIN_EXE_ferry"))
            .args(self.arguments(listing))
            .env("LC_ALL", "C.UTF-8")
            .env("TRILOCK_PASSPHRASE", PASSPHRASE)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    fn in_inlet(&self) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(&self.inlet).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn aside(&self, begins: &str) -> Option<PathBuf> {
        self.in_inlet().into_iter().find(|name| name.starts_with(begins)).map(|name| self.inlet.join(name))
    }

    /// Nobody answers, and it is killed while it waits: signed, perhaps asked, not in its place.
    fn killed_while_it_asks(&self) -> PathBuf {
        let mut child = self.spawn("list");
        let (began, requests) = (Instant::now(), self.spool.join("desk/requests"));
        let asks = |path: PathBuf| path.extension().is_some_and(|e| e == "req");
        while !fs::read_dir(&requests).unwrap().any(|entry| asks(entry.unwrap().path())) {
            assert!(began.elapsed() < PATIENCE, "it never asked");
            std::thread::park_timeout(Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        self.aside(".set-ferry-").unwrap()
    }

    #[track_caller]
    fn is_done(&self, listing: &str) {
        assert_eq!(self.in_inlet(), ["case-7"]);
        assert_eq!(fs::read_dir(self.inlet.join("case-7/权籍")).unwrap().count(), FILES);
        let list = fs::read(self.office.dir.join(listing)).unwrap();
        let sig = fs::read(self.office.dir.join(format!("{listing}.sig"))).unwrap();
        let signed = protocol::Signed::parse::<protocol::request::Request>(&sig).unwrap();
        let (said, _) = self.office.trust.verify::<protocol::request::Request>(&signed).unwrap();
        assert_eq!(said.argument("listing"), Some(Suite::Std.digest(&list).to_string().as_str()));
    }
}

#[test]
fn an_intake_that_died_behind_its_signature_goes_on_at_every_point_when_it_is_run_again() {
    for (place, after) in ["asked", "not yet asked", "no listing yet", "not yet set"].into_iter().enumerate() {
        let stage = Stage::new(&format!("intake-died-{place}"));
        let aside = stage.killed_while_it_asks();
        let request = fs::read_dir(stage.spool.join("desk/requests")).unwrap().next().unwrap().unwrap().path();
        if place > 0 {
            fs::remove_file(request).unwrap();
        }
        if place > 1 {
            fs::remove_file(stage.office.dir.join("list")).unwrap();
        }
        if place > 2 {
            let name = aside.file_name().unwrap().to_str().unwrap().replace(".set-", ".tmp-");
            fs::rename(&aside, stage.inlet.join(name)).unwrap();
        }
        let _node = stage.daemon();
        assert!(stage.run(0, "list").contains("signed   by zhao"), "{after}");
        stage.is_done("list");
        assert!(stage.run(0, "list").contains("already taken in"), "{after}");
        stage.is_done("list");
    }
}

/// The output was lost: the connection broke, or the command was killed behind its rename.
#[test]
fn an_intake_that_came_to_its_end_is_not_made_again_when_the_node_has_taken_the_drop() {
    let stage = Stage::new("intake-claimed");
    let node = stage.daemon();
    stage.run(0, "list");
    let papers = ["list", "list.sig"].map(|paper| fs::read(stage.office.dir.join(paper)).unwrap());
    for listing_is_there in [true, false] {
        if stage.aside("case-7").is_some() {
            fs::remove_dir_all(stage.inlet.join("case-7")).unwrap();
        }
        if !listing_is_there {
            fs::remove_file(stage.office.dir.join("list")).unwrap();
        }
        let said = stage.run(0, "list");
        assert!(said.contains("already taken in") && said.contains("Do nothing"), "{said}");
        assert!(stage.in_inlet().is_empty(), "it does not go in twice: {:?}", stage.in_inlet());
        assert_eq!(["list", "list.sig"].map(|paper| fs::read(stage.office.dir.join(paper)).unwrap()), papers);
    }
    // Other content of the same name was not taken in, and nobody is told that it was.
    fs::write(stage.from.join("权籍/3.shp"), b"another survey").unwrap();
    let said = stage.run(1, "list");
    assert!(said.contains("not of what is on the medium") && said.contains("--listing"), "{said}");
    stage.run(0, "second");
    stage.is_done("second");
    drop(node);
}

#[test]
fn an_intake_whose_answer_the_node_no_longer_keeps_is_not_made_again_unasked() {
    let stage = Stage::new("intake-forgotten");
    let node = stage.daemon();
    stage.run(0, "list");
    fs::remove_dir_all(stage.inlet.join("case-7")).unwrap();
    for answer in fs::read_dir(node.layout.desk_answers()).unwrap() {
        fs::remove_file(answer.unwrap().path()).unwrap();
    }
    let said = stage.run(1, "list");
    assert!(said.contains("signed before") && said.contains("do not take it in again yet"), "{said}");
    assert!(stage.in_inlet().is_empty());
}

#[test]
fn an_inlet_that_waits_for_a_marker_gets_one_behind_the_drop_and_none_where_the_drop_is_gone() {
    let stage = Stage::new("intake-marked");
    let _node = stage.daemon();
    let inlet = stage.inlet.with_file_name("marked");
    fs::create_dir_all(&inlet).unwrap();
    fs::write(inlet.join("case-7.ready"), b"of an earlier drop").unwrap();
    let mut marked = stage.arguments("list");
    marked.iter_mut().filter(|word| *word == "survey").for_each(|word| "marked".clone_into(word));
    let run = || expect(0, &marked.iter().map(String::as_str).collect::<Vec<_>>());
    let names = || fs::read_dir(&inlet).unwrap().count();
    run();
    assert!(inlet.join("case-7").is_dir() && fs::read(inlet.join("case-7.ready")).unwrap().is_empty());
    assert_eq!(names(), 2);
    // Killed between the two.
    fs::remove_file(inlet.join("case-7.ready")).unwrap();
    assert!(run().contains("already taken in"));
    assert!(inlet.join("case-7.ready").is_file());
    // The node has taken both.
    fs::remove_file(inlet.join("case-7.ready")).unwrap();
    fs::remove_dir_all(inlet.join("case-7")).unwrap();
    run();
    assert_eq!(names(), 0);
}

/// After a power cut the operator stands in another folder, and the default of the listing is another.
#[test]
fn nothing_is_taken_in_beside_an_intake_that_was_signed_and_is_not_in_its_place() {
    let stage = Stage::new("intake-stuck");
    let aside = stage.killed_while_it_asks();
    let node = stage.daemon();
    let id = aside.file_name().unwrap().to_str().unwrap().trim_start_matches(".set-ferry-").to_owned();
    let answer = node.layout.desk_answers().join(format!("{id}.json"));
    let began = Instant::now();
    while !answer.exists() {
        assert!(began.elapsed() < PATIENCE, "the node never answered");
        std::thread::park_timeout(Duration::from_millis(5));
    }
    let said = stage.run(1, "elsewhere");
    assert!(said.contains(&id) && said.contains("has it on record") && said.contains("mv -nT"), "{said}");
    assert_eq!(stage.in_inlet(), [format!(".set-ferry-{id}")], "nothing went in beside it");
    assert!(!stage.office.dir.join("elsewhere.sig").exists(), "nobody signed");
    fs::remove_file(answer).unwrap();
    let said = stage.run(1, "elsewhere");
    assert!(said.contains(&id) && said.contains("not answered") && !said.contains("mv -nT"), "{said}");
    // One that another command is at work on is not stuck.
    let held = fs::File::open(&aside).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    let mut other = stage.arguments("other");
    other.extend(["--name".to_owned(), "case-8".to_owned()]);
    expect(0, &other.iter().map(String::as_str).collect::<Vec<_>>());
    fs::remove_dir_all(stage.inlet.join("case-8")).unwrap();
    drop(held);
    stage.run(0, "list");
    stage.is_done("list");
}

#[test]
fn a_first_intake_that_the_node_finds_too_old_leaves_nothing_and_says_to_mend_the_clocks() {
    let stage = Stage::new("intake-late");
    let _node = stage.daemon();
    let mut late = stage.arguments("list");
    late.extend(["--name".to_owned(), "late".to_owned()]);
    let said = expect(1, &late.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(said.contains("set the clocks"), "{said}");
    assert!(stage.in_inlet().is_empty() && !stage.office.dir.join("list.sig").exists(), "{:?}", stage.in_inlet());
}

#[test]
fn what_stands_in_the_inlet_is_told_from_other_content_of_its_name() {
    let stage = Stage::new("intake-stands");
    let _node = stage.daemon();
    stage.run(0, "list");
    let said = stage.run(1, "elsewhere");
    assert!(said.contains("very content of the medium") && said.contains("do nothing"), "{said}");
    fs::write(stage.inlet.join("case-7/权籍/3.shp"), vec![8; 60_003]).unwrap();
    let said = stage.run(1, "elsewhere");
    assert!(said.contains("other content") && said.contains("--name"), "{said}");
}

#[test]
fn an_intake_that_died_while_it_took_back_what_was_refused_begins_anew() {
    let stage = Stage::new("intake-refused");
    let aside = stage.killed_while_it_asks();
    let requests = stage.spool.join("desk/requests");
    let request = fs::read_dir(&requests).unwrap().next().unwrap().unwrap().path();
    let id = request.file_stem().unwrap().to_str().unwrap().to_owned();
    let refused = r#"{"done": false, "code": "no-inlet", "message_en": "no", "message_zh": "不", "details": null}"#;
    fs::write(stage.spool.join(format!("desk/answers/{id}.json")), refused).unwrap();
    fs::remove_file(request).unwrap();
    fs::remove_dir_all(aside).unwrap();
    let _node = stage.daemon();
    stage.run(0, "list");
    stage.is_done("list");
}

#[test]
fn an_intake_that_died_between_the_answer_and_the_rename_is_one_drop_and_one_record() {
    let stage = Stage::new("intake-answered");
    let aside = stage.killed_while_it_asks();
    let _node = stage.daemon();
    stage.run(0, "list");
    fs::rename(stage.inlet.join("case-7"), &aside).unwrap();
    stage.run(0, "list");
    stage.is_done("list");
    let answers = fs::read_dir(stage.spool.join("desk/answers")).unwrap().map(|entry| entry.unwrap().path());
    assert_eq!(answers.filter(|path| path.extension().is_some_and(|e| e == "json")).count(), 1, "one request");
}

#[test]
fn what_lies_aside_and_is_not_what_was_signed_does_not_appear() {
    let stage = Stage::new("intake-changed-aside");
    let aside = stage.killed_while_it_asks();
    fs::write(aside.join("权籍/3.shp"), b"other").unwrap();
    let _node = stage.daemon();
    assert!(stage.run(1, "list").contains("is not what the operator signed"));
    assert!(!stage.inlet.join("case-7").exists());
}

#[test]
fn a_copy_that_died_is_swept_by_the_next_intake_and_one_that_runs_is_not() {
    use rustix::fs::{FlockOperation, flock};
    let stage = Stage::new("intake-swept");
    let (dead, alive) = (format!(".tmp-ferry-{}", "a1".repeat(32)), format!(".tmp-ferry-{}", "b2".repeat(32)));
    for name in [&dead, &alive] {
        fs::create_dir_all(stage.inlet.join(name)).unwrap();
        fs::write(stage.inlet.join(name).join("half"), b"x").unwrap();
    }
    let held = fs::File::open(stage.inlet.join(&alive)).unwrap();
    flock(&held, FlockOperation::NonBlockingLockExclusive).unwrap();
    let _node = stage.daemon();
    stage.run(0, "list");
    assert_eq!(stage.in_inlet(), [alive.as_str(), "case-7"]);
}

/// Signed, and killed before its folder was set: to another intake into the same inlet it looks like one that nobody signed.
#[test]
fn an_intake_whose_copy_another_one_swept_begins_anew_and_keeps_the_signature_that_nobody_was_asked_with() {
    let stage = Stage::new("intake-swept-signed");
    let aside = stage.killed_while_it_asks();
    let request = fs::read_dir(stage.spool.join("desk/requests")).unwrap().next().unwrap().unwrap().path();
    fs::remove_file(request).unwrap();
    fs::remove_file(stage.office.dir.join("list")).unwrap();
    let first = fs::read(stage.office.dir.join("list.sig")).unwrap();
    fs::rename(&aside, stage.inlet.join(aside.file_name().unwrap().to_str().unwrap().replace(".set-", ".tmp-")))
        .unwrap();
    let _node = stage.daemon();
    stage.run(0, "other");
    assert_eq!(stage.in_inlet(), ["case-7"], "the other one swept it");
    fs::remove_dir_all(stage.inlet.join("case-7")).unwrap();
    let said = stage.run(0, "list");
    assert!(said.contains("list.sig.unused-"), "{said}");
    stage.is_done("list");
    let kept: Vec<PathBuf> = fs::read_dir(&stage.office.dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    let kept = kept.iter().find(|path| path.to_string_lossy().contains("list.sig.unused-")).unwrap();
    assert_eq!(fs::read(kept).unwrap(), first, "a signature is never lost");
    // A signature beside its listing is of an intake that was asked: that one stands.
    fs::remove_dir_all(stage.inlet.join("case-7")).unwrap();
    assert!(stage.run(0, "list").contains("already taken in"));
    assert!(stage.in_inlet().is_empty());
}

#[test]
fn intakes_killed_anywhere_end_as_one_drop_with_its_papers() {
    let stage = Stage::new("intake-anywhere");
    let _node = stage.daemon();
    let whole = Instant::now();
    stage.run(0, "first");
    let whole = whole.elapsed();
    for kill in 0..16_u32 {
        fs::remove_dir_all(stage.inlet.join("case-7")).unwrap();
        let listing = format!("list-{kill}");
        let mut child = stage.spawn(&listing);
        std::thread::park_timeout(whole * kill / 14);
        child.kill().unwrap();
        child.wait().unwrap();
        if stage.aside("case-7").is_none() {
            stage.run(0, &listing);
        }
        stage.is_done(&listing);
    }
}

#[test]
fn a_file_that_changes_while_it_is_read_is_not_taken_in_and_nothing_is_left() {
    let stage = Stage::new("intake-changing");
    let _node = stage.daemon();
    let grown = stage.from.join("权籍/large.tif");
    let file = fs::File::create(&grown).unwrap();
    file.set_len(400 << 20).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_ferry"))
        .args(stage.arguments("list"))
        .env("LC_ALL", "C.UTF-8")
        .env("TRILOCK_PASSPHRASE", PASSPHRASE)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let began = Instant::now();
    while stage.aside(".tmp-ferry-").is_none_or(|aside| !aside.join("权籍/large.tif").exists()) {
        assert!(began.elapsed() < PATIENCE, "it never copied the file");
        std::thread::park_timeout(Duration::from_millis(1));
    }
    // It shrinks under the reader's hands.
    file.set_len(1 << 20).unwrap();
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(ended.status.code() == Some(3) && said.contains("large.tif") && said.contains("419430400"), "{said}");
    assert!(stage.in_inlet().is_empty() && !stage.office.dir.join("list").exists(), "{:?}", stage.in_inlet());
}
