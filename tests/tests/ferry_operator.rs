//! The operator's page: its commands are run as they stand there, by the people of an office, from the first look to a trip
//! that is settled without a second medium. And what the page says of a medium that was lost.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a story stops at the first surprise")]
#![allow(clippy::disallowed_methods, reason = "a test loses media as a person would")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;
use tests::courier::{drop_results, ends_of_the_ferry};
use tests::office::Office;
use tests::papers;
use tests::programs::{programs, repository, words};
use tests::traffic::Traffic;
use tests::twins::names;
use tests::world::ground;

/// Receipts are home within seconds; the busiest machine must not fail a test.
const HOME: Duration = Duration::from_secs(120);
const RESULTS: usize = 5;

/// What follows the node on a fence of commands: nothing on the way, in the order of the page; else the word of what happened.
const ON_THE_WAY: Option<&str> = None;
const LOST: Option<&str> = Some("lost");
const SURVEY: Option<&str> = Some("survey");
const AFTERWARDS: Option<&str> = Some("destroyed");
/// The fence of what is not run: the paths of an office, and options of a command that is run.
const NOT_RUN: &str = "text";
/// What such a page is called.
const PAGES: [&str; 2] = ["ferry-operator.md", "ferry-operator.zh-CN.md"];

/// The blocks of a page: what stands on the fence, and below it.
fn blocks(page: &str) -> Vec<(&str, String)> {
    let (mut open, mut out) = (false, Vec::new());
    for line in page.lines() {
        match line.strip_prefix("```") {
            Some(fence) => {
                open = !open;
                if open {
                    out.push((fence, String::new()));
                }
            }
            None if open => out.last_mut().unwrap().1 += &format!("{line}\n"),
            None => {}
        }
    }
    assert!(!open, "a fence is not closed");
    out
}

/// The machine of a block of commands and when they are typed; none for what is not run.
fn place(fence: &str) -> Option<(&str, Option<&str>)> {
    let mut words = fence.split(' ');
    (words.next() == Some("sh")).then(|| (words.next().expect("a fence names the machine"), words.next()))
}

/// The commands of a page that are typed at one time, each with the machine it is for.
fn commands(page: &str, when: Option<&str>) -> String {
    let typed = blocks(page).into_iter().filter_map(|(fence, text)| {
        let (node, then) = place(fence)?;
        (then == when).then(|| format!("export TRILOCK_SPOOL=\"$ROOT/{node}/spool\"\n{text}"))
    });
    typed.collect()
}

fn page(name: &str) -> String {
    fs::read_to_string(repository().join("docs").join(name)).unwrap()
}

fn run(office: &Office, script: &str) -> Output {
    let path = std::env::join_paths(
        std::iter::once(programs().to_owned()).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let home = office.root.join("home");
    if !home.join("keys").exists() {
        fs::create_dir_all(&home).unwrap();
        fs::rename(office.root.join("people"), home.join("keys")).unwrap();
        std::os::unix::fs::symlink(home.join("keys"), office.root.join("people")).unwrap();
        fs::create_dir(office.root.join("medium")).unwrap();
    }
    let passphrase = fs::read_to_string(office.root.join("passphrase")).unwrap();
    let mut command = Command::new("bash");
    command
        .args(["-c", &format!("set -euo pipefail\n{script}")])
        .current_dir(&home)
        .env("PATH", path.unwrap())
        .env("LANG", "C.UTF-8")
        .env("HOME", &home)
        .env("ROOT", &office.root)
        .env("DISC", office.root.join("medium"))
        .env("TRUST", office.root.join("extranet/trust"))
        .env("TRIP", "1")
        .env("SURVEY", office.root.join("survey"))
        .env("TRILOCK_PASSPHRASE", passphrase.trim_end());
    command.output().unwrap()
}

fn state(office: &Office, node: &str, trip: u64) -> Option<String> {
    let trips: Vec<Value> =
        serde_json::from_slice(&fs::read(office.spool(node).join("status/trips.json")).ok()?).ok()?;
    let found = trips.iter().find(|line| line.get("trip").and_then(Value::as_u64) == Some(trip))?;
    found.get("state").and_then(Value::as_str).map(str::to_owned)
}

fn with_office(story: impl FnOnce(&mut Office, &mut Traffic)) {
    with_office_of("", story);
}

fn with_office_of(register: &str, story: impl FnOnce(&mut Office, &mut Traffic)) {
    if Command::new("bash").arg("--version").output().is_err() {
        return println!("SKIPPED: bash is not installed, the commands of docs/ferry-operator.md were not run");
    }
    let folder = tempfile::Builder::new().prefix("trilock-operator-").tempdir_in(ground()).unwrap();
    let (mut office, mut traffic) = ends_of_the_ferry(folder.path(), "gm", register).unwrap();
    drop_results(&mut office, &mut traffic, RESULTS).unwrap();
    story(&mut office, &mut traffic);
}

#[test]
fn the_operators_commands_run_as_they_stand_on_the_page_and_the_trip_is_settled_without_a_second_medium() {
    with_office(|office, traffic| {
        // The first look says what waits; the node counts its queues every few seconds.
        let counted = office.await_that(HOME, |office| {
            let said = words(&run(office, "export TRILOCK_SPOOL=\"$ROOT/intranet/spool\"\nferry"));
            let all = ["in the outbox: 5 files", "the next trip is 1", "medium disc-0001 (out): not used yet"];
            all.iter().all(|word| said.contains(word)).then_some(())
        });
        counted.expect("ferry alone says what waits, which trip is next and where the media are");
        let output = run(office, &commands(&page("ferry-operator.md"), ON_THE_WAY));
        let said = words(&output);
        assert!(output.status.success(), "{said}");
        for word in [
            "state: staged",
            "trip 1: signed by approver-li, 1 of 2",
            "trip 1: signed by approver-zhao, 2 of 2",
            "read back and equal to the waybill",
            "trip 1 from intranet: imported",
        ] {
            assert!(said.contains(word), "{word}: {said}");
        }
        let slip = fs::read_to_string(office.root.join("home/slip-1.html")).unwrap();
        for part in
            ["批次交接单", "class=\"qr\"", "<b class=\"trip\">1</b>", "Findings let pass as exceptions", "会签二"]
        {
            assert!(slip.contains(part), "{part} is not on the slip");
        }
        assert!(!slip.contains("http") && !slip.contains("<script"), "one page, nothing from elsewhere");
        fs::remove_dir_all(office.root.join("medium")).unwrap();
        let settled = office.await_that(HOME, |office| {
            traffic.pick_up(office, "extranet").unwrap();
            (state(office, "intranet", 1)? == "settled").then_some(())
        });
        settled.expect("receipts come home by themselves");
        assert!(traffic.wrong.is_empty() && traffic.parcels().iter().all(|parcel| parcel.picked == 1));
        let look = "export TRILOCK_SPOOL=\"$ROOT/intranet/spool\"\nferry trips\nferry media\nferry --lang zh media";
        let said = words(&run(office, look));
        for word in ["settled", "settled 5/5", "medium disc-0001 (out): arrived with trip 1", "已随批次 1 送达"] {
            assert!(said.contains(word), "{word}: {said}");
        }
        let output = run(office, &commands(&page("ferry-operator.md"), AFTERWARDS));
        let said = words(&output);
        assert!(output.status.success(), "{said}");
        assert!(said.contains("medium disc-0001 is disposed of"), "{said}");
        fs::create_dir(office.root.join("medium")).unwrap();
        let output = run(office, EXPORT);
        assert_eq!(output.status.code(), Some(1), "nothing goes onto it any more: {}", words(&output));
        assert!(words(&output).contains("medium-disposed"), "{}", words(&output));
    });
}

#[test]
fn both_pages_for_operators_have_the_same_commands() {
    let of = |when| PAGES.map(|name| commands(&page(name), when));
    for (when, command) in [(ON_THE_WAY, "export"), (LOST, "reexport"), (SURVEY, "intake"), (AFTERWARDS, "dispose")] {
        let [english, chinese] = of(when);
        assert_eq!(english, chinese);
        assert!(english.contains(&format!("\nferry {command} ")), "{when:?}: {english}");
    }
    let [english, _] = of(ON_THE_WAY);
    let steps = page("ferry-operator.md").lines().filter(|line| line.starts_with("**") && line.contains(". ")).count();
    assert!(english.matches("\nferry").count() >= 12 && steps >= 10, "{english}");
}

/// Every block is run by a test of this file, or is one of two that only name things, and those are held against the rest.
#[test]
fn no_block_of_the_operators_pages_is_left_out_unsaid() {
    let known = [ON_THE_WAY, LOST, SURVEY, AFTERWARDS];
    for name in PAGES {
        let text = page(name);
        let mut not_run = Vec::new();
        for (fence, block) in blocks(&text) {
            match place(fence) {
                Some((node, when)) => {
                    assert!(["intranet", "extranet"].contains(&node) && known.contains(&when), "{name}: {fence}");
                }
                None => {
                    assert_eq!(fence, NOT_RUN, "{name}: a block of which nobody knows whether it is run: {block}");
                    not_run.push(block);
                }
            }
        }
        let [set, options] = &not_run[..] else { panic!("{name}: {not_run:?}") };
        // What the page has set is what its commands use.
        let set: Vec<&str> = set.lines().map(|line| line.split_once('=').unwrap().0).collect();
        let run: String = known.map(|when| commands(&text, when).replace("export TRILOCK_SPOOL=\"$ROOT/", "")).concat();
        for variable in &set {
            assert!(run.contains(&format!("${variable}")), "{name}: {variable} is set for nothing");
        }
        for used in run.split('$').skip(1) {
            let used: String = used.chars().take_while(char::is_ascii_uppercase).collect();
            assert!(set.contains(&used.as_str()), "{name}: {used} is set nowhere");
        }
        // What may be added to `export` and `reexport` is known to both.
        for command in ["export", "reexport"] {
            let help = Command::new(programs().join("ferry")).args([command, "--help"]).output().unwrap();
            for option in options.lines().map(|line| line.split_whitespace().next().unwrap()) {
                assert!(words(&help).contains(&format!("{option} ")), "{name}: {command} does not know {option}");
            }
        }
    }
}

/// A medium that nobody registered, with one folder, becomes one drop; its listing and who signed it can be compared.
#[test]
fn survey_files_come_in_by_the_commands_of_the_page() {
    let route = "[[route]]\nname = \"survey\"\npath = [\"intranet\", \"extranet\"]\ntypes = [\"review-result\"]\n\
        priority = \"normal\"\nintake = \"rename\"\n";
    with_office_of(route, |office, _| {
        // A route that came after `init` has its inlet made by the administrator.
        fs::create_dir_all(office.inlet("intranet", "survey")).unwrap();
        let case = office.root.join("survey/case-7");
        fs::create_dir_all(case.join("图件")).unwrap();
        fs::write(case.join("review.xml"), papers::review_result(7)).unwrap();
        fs::write(case.join("图件/宗地.txt"), "no corner of it").unwrap();
        let output = run(office, &commands(&page("ferry-operator.md"), SURVEY));
        let said = words(&output);
        assert!(output.status.success(), "{said}");
        for word in ["review.xml: OK", "图件/宗地.txt: OK", "operator-ma"] {
            assert!(said.contains(word), "{word}: {said}");
        }
        assert_eq!(names(&case), ["review.xml", "图件"], "the medium is as it was");
        // A byte of the medium is changed after it was signed for: the same comparison says so.
        fs::write(case.join("review.xml"), papers::review_result(8)).unwrap();
        let output = run(office, "cd \"$SURVEY/case-7\" && sha256sum -c ~/intake-case-7.sha256");
        assert!(!output.status.success() && words(&output).contains("review.xml: FAILED"), "{}", words(&output));
    });
}

/// What became of the drops of a route: their names and states, in the order of their parcels.
fn outcomes(office: &Office, route: &str) -> Vec<(String, String)> {
    let folder = office.spool("intranet").join("notices").join(route);
    let notices = fs::read_dir(folder).into_iter().flatten().flatten().filter_map(|entry| {
        let notice: Value = serde_json::from_slice(&fs::read(entry.path()).ok()?).ok()?;
        let text = |word: &str| notice.get(word).and_then(Value::as_str).map(str::to_owned);
        Some((text("parcel")?, (text("name")?, text("state")?)))
    });
    let mut notices: Vec<_> = notices.collect();
    notices.sort();
    notices.into_iter().map(|(_, outcome)| outcome).collect()
}

/// The default place of a listing is the folder where the command is run: run again from another one, it finds no papers of
/// the first run, and the node has taken the drop. And where the inlet waits for a marker, the marker is laid.
#[test]
fn survey_files_enter_once_wherever_the_command_is_run_again_and_the_marker_follows_where_the_inlet_waits_for_it() {
    let route = |name: &str, intake: &str| {
        format!(
            "[[route]]\nname = \"{name}\"\npath = [\"intranet\", \"extranet\"]\ntypes = [\"review-result\"]\n\
             priority = \"normal\"\nintake = \"{intake}\"\n"
        )
    };
    with_office_of(&(route("survey", "rename") + &route("marked", "ready")), |office, _| {
        let case = office.root.join("survey/case-7");
        fs::create_dir_all(&case).unwrap();
        fs::write(case.join("review.xml"), papers::review_result(7)).unwrap();
        let taken = |office: &mut Office, route: &str, count: usize| {
            let inlet = office.inlet("intranet", route);
            let told = office.await_that(HOME, |office| {
                let outcomes = outcomes(office, route);
                (outcomes.len() == count && names(&inlet).is_empty()).then_some(outcomes)
            });
            told.unwrap_or_else(|| {
                let log = fs::read_to_string(office.root.join("intranet/log")).unwrap_or_default();
                panic!("{route}: {:?}, inlet {:?}: {log}", outcomes(office, route), names(&inlet))
            })
        };
        // Routes that came after `init`: it is run once more, and the daemon is started anew.
        office.kill("intranet").unwrap();
        office.node_command("intranet", &["init"]).unwrap();
        start_anew(office, "intranet");
        for route in ["survey", "marked"] {
            let intake = |folder: &str, options: &str| {
                let inlet = "\"$ROOT/intranet/spool/inlet/";
                format!(
                    "export TRILOCK_SPOOL=\"$ROOT/intranet/spool\"\nmkdir -p \"$ROOT/{folder}\"\ncd \"$ROOT/{folder}\"\n\
                     ferry intake --medium \"$SURVEY/case-7\" --inlet {inlet}{route}\" \
                     --key ~/keys/operator-ma.key.pem {options}\n"
                )
            };
            let done = |office: &Office, folder: &str, options: &str| {
                let output = run(office, &intake(&format!("{folder}-{route}"), options));
                assert!(output.status.success(), "{route}: {}", words(&output));
                words(&output)
            };
            done(office, "here", "");
            let first = taken(office, route, 1);
            assert_eq!(
                first,
                [("case-7".to_owned(), "stripped".to_owned())],
                "{route}: it goes on, without its corners"
            );
            for (again, options) in [("elsewhere", ""), ("elsewhere", ""), ("there", "--name case-8")] {
                let said = done(office, again, options);
                for word in ["already taken in", "operator-ma", "--again", "Nothing was put into the inlet"] {
                    assert!(said.contains(word), "{route}: {word}: {said}");
                }
                // The second command that is told so finds nothing of the first in its way.
                assert_eq!(names(&office.root.join(format!("{again}-{route}"))), Vec::<String>::new(), "{route}");
                let inlet = fs::read_dir(office.inlet("intranet", route)).unwrap();
                let left: Vec<_> = inlet.flatten().map(|entry| entry.file_name()).collect();
                let left: Vec<_> = left.iter().filter(|name| *name != ".claimed").collect();
                assert!(left.is_empty(), "{route}: {left:?}");
            }
            let said = run(office, &intake(&format!("here-{route}"), "--again"));
            assert_eq!(said.status.code(), Some(1), "{}", words(&said));
            assert!(words(&said).contains("--listing"), "{}", words(&said));
            done(office, "here", "--again --listing second.sha256");
            // Had any of the others gone in, there were more.
            assert_eq!(taken(office, route, 2), [first[0].clone(), first[0].clone()], "{route}");
            assert!(done(office, "here", "--again --listing second.sha256").contains("already taken in"));
        }
        // The node that comes up again knows it too, and tells a program so.
        start_anew(office, "intranet");
        let output = run(
            office,
            "export TRILOCK_SPOOL=\"$ROOT/intranet/spool\"\n\
             ferry intake \"$SURVEY/case-7\" --route survey --key ~/keys/operator-ma.key.pem --json",
        );
        let row: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", words(&output)));
        assert_eq!((&row["code"], &row["before"]), (&"taken-in".into(), &true.into()));
        assert_eq!((&row["earlier"]["person"], row["listing"].is_null()), (&"operator-ma".into(), true));
        assert_eq!(taken(office, "survey", 2).len(), 2);
    });
}

/// Signs, confirms and leaves on the medium.
fn sign(trip: u64) -> String {
    format!(
        "export TRILOCK_SPOOL=\"$ROOT/intranet/spool\"\n\
         ferry approve --trip {trip} --key ~/keys/approver-li.key.pem\n\
         ferry approve --trip {trip} --key ~/keys/approver-zhao.key.pem\n\
         ferry confirm --trip {trip} --medium \"$DISC\" --key ~/keys/operator-ma.key.pem\n"
    )
}

const EXPORT: &str = "export TRILOCK_SPOOL=\"$ROOT/intranet/spool\"\n\
    ferry export --key ~/keys/operator-ma.key.pem --medium-id disc-0001 --carrier carrier-sun --medium \"$DISC\" --slip ~\n";
const IMPORT: &str = "export TRILOCK_SPOOL=\"$ROOT/extranet/spool\"\n\
    ferry import --medium \"$DISC\" --trust \"$TRUST\" --key ~/keys/operator-chen.key.pem\n";

fn empty(medium: &Path) {
    fs::remove_dir_all(medium).unwrap();
    fs::create_dir(medium).unwrap();
}

#[test]
fn a_lost_trip_is_noticed_by_its_number_and_written_again_with_one_command() {
    with_office(|office, traffic| {
        let done = |office: &Office, script: &str| {
            let output = run(office, script);
            assert!(output.status.success(), "{}", words(&output));
            words(&output)
        };
        let medium = office.root.join("medium");
        done(office, &format!("{EXPORT}{}", sign(1)));
        // Lost on the way, and nobody says so.
        empty(&medium);
        drop_results(office, traffic, 2).unwrap();
        done(office, &format!("{EXPORT}{}", sign(2)));
        let output = run(office, IMPORT);
        let said = words(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        for word in ["trip-skipped", "import the trip before it first", "ferry reexport"] {
            assert!(said.contains(word), "{word}: {said}");
        }
        let said = done(office, "export TRILOCK_SPOOL=\"$ROOT/intranet/spool\"\nferry");
        assert!(said.contains("on its way"), "{said}");
        // One command, under its number; then it is signed like any other.
        let again = commands(&page("ferry-operator.md"), LOST);
        done(office, &format!("{again}{}", sign(1)));
        assert_eq!(names(&medium.join("TRILOCK")), ["1", "2"]);
        let said = done(office, IMPORT);
        assert!(
            said.contains("trip 1 from intranet: imported") && said.contains("trip 2 from intranet: imported"),
            "{said}"
        );
        let settled = office.await_that(HOME, |office| {
            traffic.pick_up(office, "extranet").unwrap();
            let all = [1, 2].iter().all(|trip| state(office, "intranet", *trip).as_deref() == Some("settled"));
            all.then_some(())
        });
        settled.expect("both are settled");
        assert!(traffic.wrong.is_empty() && traffic.again.is_empty());
        assert!(traffic.parcels().iter().all(|parcel| parcel.picked == 1));
    });
}

/// A node that was told to allow sealing and opening by hand moves nothing outward past the ferry, whatever is asked.
#[test]
fn by_hand_nothing_leaves_the_internal_zone_past_the_ferry() {
    with_office(|office, _| {
        let out = office.root.join("out");
        fs::create_dir(&out).unwrap();
        let drop = out.join("result.json");
        fs::write(&drop, "{}").unwrap();
        let bundle = out.join("by-hand.bundle");
        let waiting = || {
            let outbox = office.spool("intranet").join("queues/outbox/intranet-extranet");
            names(&outbox).into_iter().map(|name| outbox.join(name)).find(|path| path.is_file())
        };
        let sealed = waiting().expect("something waits for the ferry");
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let asked: [Vec<String>; 4] = [
            ["seal", "--route", "responses", &text(&drop), "--out", &text(&bundle)].map(str::to_owned).to_vec(),
            ["seal", "--route", "review-results", &text(&drop), "--out", &text(&bundle)].map(str::to_owned).to_vec(),
            ["seal", "--route", "registration", &text(&drop), "--out", &text(&bundle)].map(str::to_owned).to_vec(),
            ["open", &text(&sealed), "--out", &text(&office.root.join("opened"))].map(str::to_owned).to_vec(),
        ];
        for (manual, codes) in [
            ("", ["switched off here"; 4]),
            // Small bundles that wait for the ferry lie in a segment, which is no bundle.
            ("manual = true\n", ["by-hand-outward", "by-hand-outward", "no-such-route", "not-a-bundle"]),
        ] {
            allow_by_hand(office, "intranet", manual);
            for (words_of_it, code) in asked.iter().zip(codes) {
                let words_of_it: Vec<&str> = words_of_it.iter().map(String::as_str).collect();
                let output = office.node_output("intranet", &words_of_it).unwrap();
                assert_eq!(output.status.code(), Some(1), "{words_of_it:?}: {}", words(&output));
                assert!(words(&output).contains(code), "{words_of_it:?}: {code} is not in {}", words(&output));
                assert_eq!(names(&out), ["result.json"], "{words_of_it:?} made something");
                assert!(!office.root.join("opened").exists());
                assert_eq!(names(&office.spool("intranet").join("desk/own")), Vec::<String>::new());
            }
        }
    });
}

/// Sets what a node's config says of sealing and opening by hand, and starts its daemon anew.
fn allow_by_hand(office: &mut Office, node: &'static str, manual: &str) {
    let config = office.config(node);
    let text = fs::read_to_string(&config).unwrap().replacen("manual = true\n", "", 1);
    fs::write(&config, text.replacen("[node]\n", &format!("[node]\n{manual}"), 1)).unwrap();
    start_anew(office, node);
}

/// The daemon of a node ends, and another one is at work.
fn start_anew(office: &mut Office, node: &'static str) {
    office.kill(node).unwrap();
    let status = office.spool(node).join("status/status.json");
    fs::remove_file(&status).unwrap();
    office.start(node).unwrap();
    office.await_that(HOME, |_| status.exists().then_some(())).expect("the daemon is at work again");
}

/// A light gate that does not work: a person takes what is urgent to the internal zone, under the eyes of both guards.
#[test]
fn by_hand_an_urgent_message_reaches_the_internal_zone_once() {
    with_office(|office, _| {
        let (out, inside) = (office.root.join("out"), office.root.join("inside"));
        fs::create_dir(&out).unwrap();
        let (drop, bundle) = (out.join("message-1.xml"), out.join("by-hand.bundle"));
        let message = papers::registration_message(1);
        fs::write(&drop, &message).unwrap();
        let text = |path: &Path| path.to_string_lossy().into_owned();
        for node in ["extranet", "intranet"] {
            allow_by_hand(office, node, "manual = true\n");
        }
        let asked = |office: &Office, node: &str, arguments: &[&str], code: i32, word: &str| {
            let output = office.node_output(node, arguments).unwrap();
            assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", words(&output));
            assert!(words(&output).contains(word), "{arguments:?}: {}", words(&output));
            // But for the note which request had what was in the bundle.
            let left = names(&office.spool(node).join("desk/own"));
            assert!(left.iter().all(|name| name.ends_with(".opened")), "{left:?} is left there");
        };
        let (drop, bundle, inside) = (text(&drop), text(&bundle), text(&inside));
        let seal = ["seal", "--route", "registration", &drop, "--out", &bundle];
        asked(office, "extranet", &seal, 0, "sealed by hand, on record");
        asked(office, "extranet", &seal, 1, "is there already");
        asked(office, "extranet", &["open", &bundle, "--out", &inside], 1, "no-route");
        asked(office, "intranet", &["open", &drop, "--out", &inside], 1, "not-a-bundle");
        asked(office, "intranet", &["open", &bundle, "--out", &inside], 0, "opened, looked at, on record");
        assert_eq!(fs::read_to_string(Path::new(&inside).join("message-1.xml")).unwrap(), message);
        asked(office, "intranet", &["open", &bundle, "--out", &inside], 1, "is not empty");
        let elsewhere = text(&office.root.join("elsewhere"));
        asked(office, "intranet", &["open", &bundle, "--out", &elsewhere], 1, "duplicate");
        // What came by hand is proven like what came by a carrier, with public keys alone.
        let trust = text(&office.root.join("intranet/trust"));
        let evidence = text(&office.spool("intranet").join("evidence"));
        let output = run(office, &format!("ferry verify {evidence} {bundle} --trust {trust}"));
        assert!(output.status.success(), "{}", words(&output));
    });
}
