//! The command contract: every command answers, ends with the exit code it promises, speaks JSON and Chinese when
//! asked to, and does what its name says to a daemon at work.
#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test fail as a test does")]
#![allow(clippy::disallowed_methods, reason = "a test makes and removes files as an app or a person would")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use serde_json::Value;
use tests::office::{Office, OneWay, Wishes};
use tests::papers;
use tests::programs::{programs, repository, words};

/// Far above what any step here needs; a machine that is busy must not fail a test.
const STEP: Duration = Duration::from_secs(60);

const DONE: i32 = 0;
const REFUSED: i32 = 1;
const USAGE: i32 = 2;
const DISK: i32 = 3;

fn office(root: &Path) -> Office {
    let wishes = Wishes {
        suite: "std".to_owned(),
        one_way: OneWay::Folder,
        repository: repository(),
        programs: programs().to_owned(),
        round_every_s: 3,
    };
    Office::found(root, wishes, Ok).unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

fn lines_of_json(bytes: &[u8]) -> Option<Vec<Value>> {
    let text = String::from_utf8_lossy(bytes);
    text.lines().filter(|line| !line.is_empty()).map(|line| serde_json::from_str(line).ok()).collect()
}

fn has_chinese_text(text: &str) -> bool {
    text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c))
}

fn has_chinese(output: &Output) -> bool {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    has_chinese_text(&String::from_utf8_lossy(&text))
}

fn up(office: &mut Office, node: &'static str) {
    office.start(node).unwrap();
    let status = office.spool(node).join("status/status.json");
    assert!(office.await_that(STEP, |_| status.exists().then_some(())).is_some(), "{node} starts");
}

fn await_state(office: &mut Office, node: &str, route: &str, name: &str, wanted: &[&str]) -> Value {
    let found = office.await_that(STEP, |office| {
        let (state, notice) = office.notice(node, route, name)?;
        wanted.contains(&state.as_str()).then_some(notice)
    });
    found.unwrap_or_else(|| panic!("{name} on {route} is {:?}, not {wanted:?}", office.notice(node, route, name)))
}

fn drop_application(office: &Office, route: &str, number: u32) -> String {
    let name = format!("form-{number}.json");
    let form = papers::application_form(number);
    office.drop_in("internet", route, &name, &[(&name, form.as_bytes())]).unwrap();
    name
}

/// A command of a node, three times: plain, as JSON, in Chinese. `speaks` is false where clap itself answers.
fn answers(office: &Office, node: &str, arguments: &[&str], expected: i32, speaks: bool) {
    let what = format!("{node}-node {}", arguments.join(" "));
    let plain = office.node_output(node, arguments).unwrap();
    assert_eq!(code(&plain), expected, "{what}: {}", words(&plain));
    assert!(!plain.stdout.is_empty() || !plain.stderr.is_empty(), "{what} says something");
    let json = office.node_output(node, &[arguments, &["--json"]].concat()).unwrap();
    assert_eq!(code(&json), expected, "{what} --json: {}", words(&json));
    let chinese = office.node_output(node, &[arguments, &["--lang", "zh"]].concat()).unwrap();
    assert_eq!(code(&chinese), expected, "{what} --lang zh: {}", words(&chinese));
    if speaks {
        let said = lines_of_json(&json.stdout).zip(lines_of_json(&json.stderr));
        let (out, err) = said.unwrap_or_else(|| panic!("{what} --json is not JSON: {}", words(&json)));
        assert!(!out.is_empty() || !err.is_empty(), "{what} --json says something");
        if expected != DONE {
            let told = err.iter().any(|line| line.get("error").is_some() && line.get("remedy").is_some());
            assert!(told || !out.is_empty(), "{what} --json names error and remedy: {}", words(&json));
            // What is data reads the same in every language; what is told to a person does not.
            assert!(has_chinese(&chinese) || !out.is_empty(), "{what} --lang zh: {}", words(&chinese));
        }
    }
}

#[test]
fn every_command_of_a_node_answers_before_its_daemon_ever_ran() {
    let root = tempfile::tempdir().unwrap();
    let office = office(root.path());
    let gone = root.path().join("gone").to_string_lossy().into_owned();
    let page = root.path().join("month.html").to_string_lossy().into_owned();
    let no_folder = root.path().join("gone/page.html").to_string_lossy().into_owned();
    let (form, survey) = (root.path().join("form.json"), root.path().join("review.xml"));
    fs::write(&form, papers::application_form(1)).unwrap();
    fs::write(&survey, papers::review_result(2)).unwrap();
    let (form, survey) = (form.to_string_lossy(), survey.to_string_lossy());
    let parcel = "0123456789abcdef0123456789abcdef";
    let table: &[(&[&str], i32)] = &[
        (&["status"], DISK),
        (&["check"], DONE),
        (&["check", "--profile", "gm"], REFUSED),
        (&["check", "--profile", "other"], USAGE),
        (&["init"], DONE),
        (&["list"], DONE),
        (&["list", "--route", "applications", "--state", "accepted", "--since", "0", "--type", "application"], DONE),
        (&["list", "--since", "2026-11-21"], DONE),
        (&["list", "--since", "3h"], DONE),
        (&["list", "--since", "yesterday"], USAGE),
        (&["list", "--state", "deliverd"], REFUSED),
        (&["clock", "confirm", "--reason", "compared"], DONE),
        (&["clock", "set"], USAGE),
        (&["show", parcel], REFUSED),
        (&["show", "nonsense"], REFUSED),
        (&["gaps"], DONE),
        (&["diode-test"], USAGE),
        (&["diode-test", "--seconds", "0"], USAGE),
        (&["resend", parcel], REFUSED),
        (&["resend", "--seq", "4-7"], REFUSED),
        (&["resend", "--seq", "four"], USAGE),
        (&["reseal", parcel, "--to", "key"], REFUSED),
        (&["reseal", parcel, "--to", "0000000000000000000000000000000000000000000000000000000000000000"], REFUSED),
        (&["keys"], DONE),
        (&["keys", "switch", "--use", "seal"], DISK),
        (&["keys", "drop", "nothing"], USAGE),
        (&["route", "disable", "applications", "--reason", "a test"], DONE),
        (&["route", "enable", "applications"], DONE),
        (&["route", "disable", "applications"], REFUSED),
        (&["route", "disable", "unheard-of"], REFUSED),
        (&["route", "close", "applications"], USAGE),
        (&["inspect", "--route", "applications", &form], DONE),
        (&["inspect", "--route", "applications", &survey], REFUSED),
        (&["inspect", "--route", "unheard-of", &form], USAGE),
        (&["inspect", "--detect", &form], DONE),
        (&["inspect", "--detect", &survey], REFUSED),
        (&["inspect", "--detect", &gone], DISK),
        (&["inspect", "--detect", &survey, "--report", &page], REFUSED),
        (&["inspect", "--route", "applications", &form, "--report", &page], DONE),
        (&["inspect", "--detect", &form, "--report", &no_folder], DISK),
        (&["seal", "--route", "applications", &form, "--out", &gone], REFUSED),
        (&["open", &form, "--out", &gone], REFUSED),
        (&["open", &form, "--key", &gone, "--trust", &gone, "--out", &gone], REFUSED),
        (&["index", "rebuild"], DONE),
        (&["index", "polish"], USAGE),
        (&["backup"], USAGE),
        (&["duplicate", "admit", parcel], REFUSED),
        (&["duplicate", "close", parcel, "--reason", "a test"], REFUSED),
        (&["duplicate", "burn", parcel], USAGE),
        (&["outbox", "aside", "--reason", "a test"], DONE),
        (&["outbox", "burn"], USAGE),
        (&["restore", "--from", &gone, "--key", &gone, "--operator", &gone], DISK),
        (&["report", "--month", "2026-11", "--out", &page], DONE),
        (&["report", "--month", "2026-13"], USAGE),
        (&["list", "--since", "2026-11-01", "--until", "2026-11-30"], DONE),
        (&["list", "--since", "yesterday"], USAGE),
    ];
    for (arguments, expected) in table {
        answers(&office, "internet", arguments, *expected, true);
    }
    for arguments in [&["fly"][..], &["show"], &["run", "--nonsense"], &["report"], &["restore"]] {
        answers(&office, "internet", arguments, USAGE, false);
    }
    for arguments in [&["--help"][..], &["--version"], &["route", "--help"]] {
        answers(&office, "internet", arguments, DONE, false);
    }
    // The three daemons have one command line.
    for node in ["extranet", "intranet"] {
        answers(&office, node, &["check"], DONE, true);
        answers(&office, node, &["gaps"], DONE, true);
        answers(&office, node, &["list"], DONE, true);
    }
    let chinese = office.node_output("internet", &["check", "--lang", "zh"]).unwrap();
    assert!(has_chinese(&chinese), "{}", words(&chinese));
}

#[test]
fn a_node_backs_itself_up_at_work_and_comes_back_after_its_disk_was_lost() {
    let root = tempfile::tempdir().unwrap();
    let mut office = office(root.path());
    let (folder, config) = (root.path().join("backups"), office.config("extranet"));
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{text}\n[backup]\nfolder = {folder:?}\n")).unwrap();
    assert!(office.node_command("extranet", &["check"]).unwrap().contains("is not there"), "check says so");
    fs::create_dir(&folder).unwrap();
    office.node_command("extranet", &["check"]).unwrap();
    up(&mut office, "extranet");
    up(&mut office, "internet");
    let first = drop_application(&office, "applications", 1);
    await_state(&mut office, "internet", "applications", &first, &["delivered"]);

    answers(&office, "extranet", &["backup"], DONE, true);
    let good: Value = serde_json::from_str(&office.node_command("extranet", &["backup", "--json"]).unwrap()).unwrap();
    let file = good["file"].as_str().unwrap().to_owned();
    assert!(Path::new(&file).starts_with(&folder) && good["records"].as_u64() > Some(0), "{good}");
    let status: Value = serde_json::from_str(&office.node_command("extranet", &["status", "--json"]).unwrap()).unwrap();
    assert!(status["backup"].is_object(), "{status}");
    let path = |inside: &str| root.path().join(inside).to_string_lossy().into_owned();
    let (key, operator) = (path("intranet/keys/security.seal.key.pem"), path("people/operator-chen.key.pem"));
    let (passphrase, papers) = (path("passphrase"), path("internet/spool/evidence"));
    let restore = ["restore", "--from", &file, "--key", &key, "--operator", &operator];
    let restore = [&restore[..], &["--passphrase-file", &passphrase, "--witness", &papers]].concat();
    answers(&office, "extranet", &restore, REFUSED, true);
    office.kill("extranet").unwrap();
    answers(&office, "extranet", &restore, REFUSED, true);

    fs::remove_dir_all(office.spool("extranet")).unwrap();
    let said = office.node_command("extranet", &[&restore[..], &["--json"]].concat()).unwrap();
    let said: Value = serde_json::from_str(&said).unwrap();
    assert!(said["records"].as_u64() >= good["records"].as_u64() && said["lost"] == 0, "{said}");
    office.node_command("extranet", &["init"]).unwrap();
    up(&mut office, "extranet");
    let (ledger, trust) = (path("extranet/spool/ledger"), path("extranet/trust"));
    let chain = office.ferry(&["ledger", "verify", "--dir", &ledger, "--trust", &trust]).unwrap();
    assert!(chain.contains("a restore by operator-chen"), "{chain}");

    // Sealed within a minute of the restore: by clocks that may differ nobody can know, and an operator says so.
    let second = drop_application(&office, "applications", 2);
    let waits = office.await_that(STEP, |office| {
        let rows = office.node_command("extranet", &["list", "--state", "may-be-duplicate", "--json"]).ok()?;
        let rows: Value = serde_json::from_str(&rows).ok()?;
        rows.get(0)?.get("parcel")?.as_str().map(str::to_owned)
    });
    office.node_command("extranet", &["duplicate", "admit", &waits.unwrap(), "--reason", "new since"]).unwrap();
    await_state(&mut office, "internet", "applications", &second, &["delivered"]);
    assert!(office.outlet("extranet", "applications").join(&second).exists());
}

#[test]
fn every_command_of_ferry_answers() {
    let root = tempfile::tempdir().unwrap();
    let mut office = office(root.path());
    // A daemon that has started has signed a checkpoint of its ledger.
    up(&mut office, "internet");
    let path = |inside: &str| root.path().join(inside).to_string_lossy().into_owned();
    let (trust, gone, people) = (path("extranet/trust"), path("gone"), path("people"));
    let (passphrase, key, spool) = (path("passphrase"), path("people/operator-ma.key.pem"), path("intranet/spool"));
    let (ledger, garbage) = (path("internet/spool/ledger"), path("garbage.bundle"));
    let rules = repository().join("config/rules/intranet-extranet.toml").to_string_lossy().into_owned();
    let (outer, pages, under_a_file) = (path("internet/spool"), path("pages"), path("garbage.bundle/pages"));
    fs::write(&garbage, b"TRILOCK1 and then nothing of the kind").unwrap();
    let keygen =
        ["keygen", "--zone", "intranet", "--role", "operator", "--suite", "std", "--passphrase-file", &passphrase];
    let desk = ["--spool", &spool, "--key", &key, "--passphrase-file", &passphrase];
    let table: &[(Vec<&str>, i32)] = &[
        ([&keygen[..], &["--holder", "operator-ma", "--out", &people]].concat(), REFUSED),
        ([&keygen[..], &["--holder", "operator-new", "--out", &gone]].concat(), DISK),
        (vec!["verify", &garbage, "--trust", &trust], REFUSED),
        (vec!["verify", &garbage, "--trust", &gone], DISK),
        (vec!["inspect", &garbage], REFUSED),
        (vec!["inspect", &gone], DISK),
        (vec!["ledger", "verify", "--dir", &ledger, "--trust", &trust], DONE),
        (vec!["ledger", "show", "--dir", &ledger], DONE),
        (vec!["ledger", "verify", "--dir", &gone], DISK),
        (vec!["trips", "--spool", &gone], DISK),
        ([&["export"], &desk[..], &["--medium-id", "disc-0001", "--carrier", "carrier-sun"]].concat(), USAGE),
        (vec!["rules", "show", &rules, "--trust", &trust], REFUSED),
        (vec!["rules", "show", &garbage, "--trust", &trust], USAGE),
        (vec!["rules", "show", &gone, "--trust", &trust], DISK),
        (vec!["rules", "sign", &rules, "--key", &key, "--passphrase-file", &passphrase], REFUSED),
        (vec!["dispose", "--spool", &gone, "--medium-id", "d", "--witness", "w", "--reason", "a", "--key", &key], DISK),
        (vec!["held", "--spool", &gone, "--parcel", "00", "--key", &key], DISK),
        (vec!["held", "--spool", &gone, "--parcel", "00", "--out", &garbage, "--reason", "a", "--key", &key], DISK),
        (vec!["release", "--spool", &gone, "--parcel", "00", "--reason", "a", "--key", &key], DISK),
        (vec!["--spool", &outer], DONE),
        (vec!["media", "--spool", &outer], DONE),
        (vec!["media", "--spool", &gone], DISK),
        (vec!["man", &pages], DONE),
        (vec!["man", &under_a_file], DISK),
        (vec!["approve", "--spool", &gone, "--trip", "1", "--key", &key], DISK),
        (vec!["confirm", "--spool", &gone, "--trip", "1", "--medium", &gone, "--key", &key], DISK),
        (vec!["import", "--spool", &gone, "--medium", &gone, "--trust", &trust, "--key", &key], DISK),
        (vec!["reexport", "--spool", &gone, "--trip", "1", "--key", &key], DISK),
        (vec!["intake", &people, "--route", "survey", "--spool", &outer, "--key", &key], REFUSED),
        (vec!["trust", "import", &gone, "--trust", &trust], DISK),
        (
            vec![
                "except",
                "--spool",
                &gone,
                "--rule",
                "r",
                "--file",
                "00",
                "--crossing",
                "c",
                "--reason",
                "a",
                "--key",
                &key,
            ],
            DISK,
        ),
        (vec!["fly"], USAGE),
        (vec!["confirm", "--nonsense"], USAGE),
    ];
    for (arguments, expected) in table {
        let what = format!("ferry {}", arguments.join(" "));
        let plain = office.ferry_output(arguments).unwrap();
        assert_eq!(code(&plain), *expected, "{what}: {}", words(&plain));
        let json = office.ferry_output(&[&["--json"], &arguments[..]].concat()).unwrap();
        assert_eq!(code(&json), *expected, "{what} --json: {}", words(&json));
        let told = lines_of_json(&json.stdout).unwrap_or_else(|| panic!("{what} --json: {}", words(&json)));
        assert!(!told.is_empty(), "{what} --json says something");
        if *expected != DONE {
            let error = told.iter().find_map(|line| line.get("error")).unwrap();
            assert!(error.get("remedy").is_some() && error["exit"] == *expected, "{what}: {error}");
        }
        let chinese = office.ferry_output(&[&["--lang", "zh"], &arguments[..]].concat()).unwrap();
        assert_eq!(code(&chinese), *expected, "{what} --lang zh: {}", words(&chinese));
        // What is data reads the same in every language; what is no command of ours the library tells.
        let misused = told.iter().any(|line| line["error"]["code"] == "usage");
        assert!(has_chinese(&chinese) || *expected == DONE || misused, "{what} --lang zh: {}", words(&chinese));
    }
    // Where no spool is in sight a script is told so, as of everything else; and a look has the media too.
    let blind = office.ferry_output(&["--json"]).unwrap();
    assert!(lines_of_json(&blind.stdout).is_some_and(|told| !told.is_empty()), "{}", words(&blind));
    let look = office.ferry_output(&["--json", "--spool", &outer]).unwrap();
    let told = lines_of_json(&look.stdout).unwrap_or_default();
    assert!(told.iter().any(|line| line["media"].is_array()), "{}", words(&look));
    for (arguments, expected) in
        [(vec!["fly"], USAGE), (vec!["verify"], USAGE), (vec!["--help"], DONE), (vec!["--version"], DONE)]
    {
        assert_eq!(code(&office.ferry_output(&arguments).unwrap()), expected, "ferry {arguments:?}");
    }
}

#[test]
fn what_is_held_is_sent_again_and_what_has_passed_is_not() {
    let root = tempfile::tempdir().unwrap();
    let mut office = office(root.path());
    up(&mut office, "internet");
    let name = drop_application(&office, "applications", 1);
    let notice = await_state(&mut office, "internet", "applications", &name, &["accepted", "sent"]);
    let parcel = notice["parcel"].as_str().unwrap().to_owned();

    let rows: Value = serde_json::from_str(&office.node_command("internet", &["list", "--json"]).unwrap()).unwrap();
    assert!(rows.as_array().unwrap().iter().any(|row| row["parcel"] == *parcel), "{rows}");
    let row: Value =
        serde_json::from_str(&office.node_command("internet", &["show", &parcel, "--json"]).unwrap()).unwrap();
    assert_eq!(row["parcel"], *parcel);
    let status = office.node_command("internet", &["status", "--json"]).unwrap();
    assert!(serde_json::from_str::<Value>(&status).unwrap().is_object());

    let said: Value =
        serde_json::from_str(&office.node_command("internet", &["resend", &parcel, "--json"]).unwrap()).unwrap();
    assert_eq!(said["resent"], 1, "the peer is down, so the bundle is held");
    // Once the peer is there the parcel arrives once, and then there is nothing left to send.
    up(&mut office, "extranet");
    await_state(&mut office, "internet", "applications", &name, &["delivered"]);
    let delivered =
        fs::read_dir(office.outlet("extranet", "applications")).unwrap().map(|entry| entry.unwrap().file_name());
    let delivered: Vec<String> =
        delivered.map(|name| name.to_string_lossy().into_owned()).filter(|name| !name.starts_with('.')).collect();
    assert_eq!(delivered, [name]);
    let again = office.node_output("internet", &["resend", &parcel]).unwrap();
    assert_eq!(code(&again), REFUSED, "{}", words(&again));
}

#[test]
fn the_month_is_one_page_whose_numbers_are_those_of_the_ledger_and_reading_it_is_recorded() {
    let root = tempfile::tempdir().unwrap();
    let mut office = office(root.path());
    up(&mut office, "internet");
    up(&mut office, "extranet");
    let names: Vec<String> = (1..4).map(|number| drop_application(&office, "applications", number)).collect();
    let survey = papers::review_result(9);
    office.drop_in("internet", "applications", "review.xml", &[("review.xml", survey.as_bytes())]).unwrap();
    for name in &names {
        await_state(&mut office, "internet", "applications", name, &["delivered"]);
    }
    await_state(&mut office, "internet", "applications", "review.xml", &["refused"]);
    for (node, accepted, arrived, refused) in [("internet", 3, 0, 1), ("extranet", 0, 3, 0)] {
        let dir = office.spool(node).join("ledger").to_string_lossy().into_owned();
        let show = |office: &Office| {
            let lines = office.ferry(&["ledger", "show", "--dir", &dir, "--json"]).unwrap();
            lines_of_json(lines.as_bytes()).unwrap()
        };
        let month = show(&office).last().unwrap()["at"].as_str().unwrap()[..7].to_owned();
        let page = root.path().join(format!("{node}.html")).to_string_lossy().into_owned();
        let said = office.node_command(node, &["report", "--month", &month, "--out", &page, "--json"]).unwrap();
        let figures = serde_json::from_str::<Value>(&said).unwrap()["figures"].clone();
        let records = show(&office);
        let count = |event: &str| records.iter().filter(|line| line["event"] == event).count();
        assert_eq!((count("accepted"), count("arrived"), count("refused")), (accepted, arrived, refused), "{node}");
        for event in ["accepted", "arrived", "refused", "claimed", "receipts-sent", "number-taken"] {
            assert_eq!(figures["events"][event].as_u64().unwrap_or(0), count(event) as u64, "{node} {event}");
        }
        assert_eq!(figures["states"]["delivered"], 3, "{figures}");
        assert_eq!(figures["latency"].as_object().unwrap().values().filter_map(Value::as_u64).sum::<u64>(), 3);
        assert_eq!(figures["refusals"]["coordinates"].as_u64().unwrap_or(0), refused as u64);

        let html = fs::read_to_string(&page).unwrap();
        let mut reader = quick_xml::Reader::from_str(&html);
        reader.config_mut().check_end_names = true;
        let mut plots = 0;
        loop {
            match reader.read_event().unwrap_or_else(|error| panic!("{error}: {html}")) {
                quick_xml::events::Event::Eof => break,
                quick_xml::events::Event::Start(tag) => plots += usize::from(tag.name().as_ref() == "svg"),
                _ => {}
            }
        }
        assert!(plots >= 3, "{plots} plots");
        for outside in ["http", "src=", "href", "url(", "@import", "<script"] {
            assert!(!html.contains(outside), "{outside}");
        }
        // Neither the names of drops nor the labels of their parcels.
        assert!(!html.contains("form-1") && has_chinese_text(&html));
        // Who read how much stands in the ledger, once a request.
        assert_eq!(count("ledger-read"), 1);
        let read = records.iter().find(|line| line["event"] == "ledger-read").unwrap();
        assert_eq!((&read["person"], &read["bytes"]), (&"administrator".into(), &figures["records"]));
        let before = records.len();
        office.node_command(node, &["list", "--state", "delivered"]).unwrap();
        let reads = show(&office)[before..].iter().filter(|line| line["event"] == "ledger-read").count();
        assert_eq!(reads, 1);
        // The same ledger as lines for a spreadsheet.
        let day = &records[0]["at"].as_str().unwrap()[..10];
        let csv =
            office.ferry(&["ledger", "export", "--dir", &dir, "--from", day, "--to", "2999-12-31", "--format", "csv"]);
        let csv = csv.unwrap();
        assert!(csv.lines().count() > records.len() && csv.starts_with("index,at,event,") && !csv.contains("form-1"));
    }
}

#[test]
fn a_route_that_is_switched_off_takes_nothing_until_it_is_on_again() {
    let root = tempfile::tempdir().unwrap();
    let mut office = office(root.path());
    up(&mut office, "internet");
    office.node_command("internet", &["route", "disable", "applications", "--reason", "stocktaking"]).unwrap();
    let held = drop_application(&office, "applications", 1);
    // What is dropped later on another route, and taken, shows that the daemon has looked.
    for number in 2..4 {
        let other = drop_application(&office, "own-files", number);
        await_state(&mut office, "internet", "own-files", &other, &["accepted", "sent"]);
    }
    assert!(office.inlet("internet", "applications").join(&held).exists(), "it stays in the inlet");
    assert_eq!(office.notice("internet", "applications", &held), None);
    office.node_command("internet", &["route", "enable", "applications", "--reason", "done"]).unwrap();
    await_state(&mut office, "internet", "applications", &held, &["accepted", "sent"]);
}

#[test]
fn a_route_that_is_switched_off_stays_off_over_a_restart() {
    let root = tempfile::tempdir().unwrap();
    let mut office = office(root.path());
    office.node_command("internet", &["route", "disable", "applications", "--reason", "stocktaking"]).unwrap();
    let held = drop_application(&office, "applications", 1);
    up(&mut office, "internet");
    let other = drop_application(&office, "own-files", 2);
    await_state(&mut office, "internet", "own-files", &other, &["accepted", "sent"]);
    assert!(office.inlet("internet", "applications").join(&held).exists(), "it stays in the inlet");
}

#[test]
fn a_spool_has_one_daemon() {
    let root = tempfile::tempdir().unwrap();
    let mut office = office(root.path());
    up(&mut office, "internet");
    let second = office.node_output("internet", &["run"]).unwrap();
    assert_eq!(code(&second), DISK, "{}", words(&second));
    let rebuild = office.node_output("internet", &["index", "rebuild"]).unwrap();
    assert_eq!(code(&rebuild), REFUSED, "{}", words(&rebuild));
    assert_eq!(office.fallen(), None, "the first one goes on");
}

#[test]
fn a_detector_line_names_path_verdict_and_findings() {
    let root = tempfile::tempdir().unwrap();
    let files = root.path().join("files");
    fs::create_dir_all(files.join("inside")).unwrap();
    fs::write(files.join("form.json"), papers::application_form(1)).unwrap();
    fs::write(files.join("inside/review.xml"), papers::review_result(2)).unwrap();
    fs::write(files.join("inside/letter.docx"), papers::letter_with_hidden_shapefile()).unwrap();
    fs::write(files.join("broken.zip"), b"PK\x03\x04 and no more").unwrap();
    for program in ["internet-node", "extranet-node", "intranet-node"] {
        // It asks about files, not about a border: there is no config here at all.
        let mut command = std::process::Command::new(programs().join(program));
        let output = command.args(["inspect", "--detect", "--json"]).arg(&files).output().unwrap();
        assert_eq!(code(&output), REFUSED, "{}", words(&output));
        let lines = lines_of_json(&output.stdout).unwrap();
        let mut verdicts: Vec<(String, String)> = lines
            .iter()
            .map(|line| {
                let object = line.as_object().unwrap();
                assert_eq!(object.keys().collect::<Vec<_>>(), ["findings", "path", "verdict"], "{line}");
                for finding in line["findings"].as_array().unwrap() {
                    for word in ["rule", "class", "at", "sample"] {
                        assert!(finding[word].is_string(), "{line}");
                    }
                    assert!(["structural", "heuristic"].contains(&finding["class"].as_str().unwrap()), "{line}");
                }
                let path =
                    Path::new(line["path"].as_str().unwrap()).file_name().unwrap().to_string_lossy().into_owned();
                let verdict = line["verdict"].as_str().unwrap().to_owned();
                assert_eq!(verdict == "clean", line["findings"].as_array().unwrap().is_empty(), "{line}");
                (path, verdict)
            })
            .collect();
        verdicts.sort();
        let expected = [
            ("broken.zip", "uninspectable"),
            ("form.json", "clean"),
            ("letter.docx", "coordinates"),
            ("review.xml", "coordinates"),
        ];
        assert_eq!(verdicts, expected.map(|(path, verdict)| (path.to_owned(), verdict.to_owned())), "{program}");
    }
}

#[test]
fn a_private_key_that_others_may_read_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let office = office(root.path());
    let key = root.path().join("internet/keys/internet.sign.key.pem");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600, "init makes it private");
    for mode in [0o644, 0o640, 0o604, 0o660] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        for command in ["check", "run", "list"] {
            let output = office.node_output("internet", &[command]).unwrap();
            assert_eq!(code(&output), USAGE, "{mode:o} {command}: {}", words(&output));
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(said.contains("internet.sign.key.pem") && said.contains("600"), "{said}");
        }
    }
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(office.node_command("internet", &["check"]).is_ok());
}
