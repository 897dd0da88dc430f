//! What takes long says so on a terminal: a bar with rate and time, or what is done and for how many seconds. To a script, and
//! into a pipe, nothing of it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "a test makes media as a person would")]

mod world;

use std::fs;
use std::process::{Command, Stdio};

use protocol::Suite;
use protocol::waybill::LineKind;
use world::{Daemon, Office, PASSPHRASE, expect, out};

/// Runs a command on a terminal of its own and gives all that was drawn there; none where no terminal can be made.
fn on_a_terminal(arguments: &[&str]) -> Option<String> {
    let quoted: Vec<String> = arguments.iter().map(|word| format!("'{word}'")).collect();
    let line = format!("stty cols 200 rows 50; exec '{}' {}", env!("CARGO_BIN_EXE_ferry"), quoted.join(" "));
    let ran = Command::new("script")
        .args(["-qefc", &line, "/dev/null"])
        .env("LC_ALL", "C.UTF-8")
        .env("TERM", "xterm")
        .env("TRILOCK_PASSPHRASE", PASSPHRASE)
        .env_remove("TRILOCK_SPOOL")
        .stdin(Stdio::null())
        .output();
    let Ok(output) = ran else {
        println!("SKIPPED: script is not installed, no command was run on a terminal");
        return None;
    };
    let drawn = out(&output);
    assert!(output.status.success(), "{arguments:?}: {drawn}");
    Some(drawn)
}

#[track_caller]
fn shows(arguments: &[&str], words: &[&str]) {
    let Some(drawn) = on_a_terminal(arguments) else { return };
    for word in words {
        assert!(drawn.contains(word), "{arguments:?} does not show \"{word}\": {drawn}");
    }
}

/// Is anything drawn there and wiped again?
fn is_drawn(said: &str) -> bool {
    ["\u{1b}", "waiting for the node", "B/s"].iter().any(|sign| said.contains(sign))
}

#[test]
fn every_long_step_of_a_trip_shows_what_is_done_on_a_terminal_and_nowhere_else() {
    let mut office = Office::new("progress", Suite::Std);
    let [operator, first, second] = [("zhao", "operator"), ("qian", "approver"), ("sun", "approver")]
        .map(|(who, role)| office.person(who, role, "intranet"));
    let importer = office.person("li", "operator", "extranet");
    let made = office.bundle(1, &vec![7; 3_000_000]);
    let waiting = vec![(LineKind::Bundle, made.id, made.sequence, made.bytes)];
    let (inner, outer) = (Daemon::start(&office, "intranet", waiting), Daemon::start(&office, "extranet", Vec::new()));
    let medium = office.dir.join("medium");
    fs::create_dir_all(&medium).unwrap();
    let (medium, slip) = (medium.to_str().unwrap(), office.dir.to_str().unwrap());
    let inside = ["--spool", inner.spool(), "--key", &operator];

    let to = ["--medium-id", "disc-0042", "--carrier", "wu", "--medium", medium, "--slip", slip, "--parity", "12"];
    shows(&[&["export"][..], &inside, &to].concat(), &["waiting for the node", "trip 17 [", "B/s"]);
    for key in [&first, &second] {
        assert!(!is_drawn(&expect(0, &["approve", "--spool", inner.spool(), "--key", key, "--trip", "17"])), "a pipe");
    }
    let confirm =
        [&["confirm"][..], &inside, &["--trip", "17", "--medium", medium, "--trust", office.trust_path()]].concat();
    assert!(!is_drawn(&expect(0, &confirm)), "a pipe");
    shows(&confirm, &["reading back trip 17 [", "B/s", "waiting for the node"]);
    let verify = ["verify", medium, "--trust", office.trust_path(), "--brief"];
    shows(&verify, &["verifying [", "B/s"]);
    if let Some(rows) = on_a_terminal(&[&verify[..], &["--json"]].concat()) {
        assert!(!is_drawn(&rows) && rows.trim_start().starts_with('{'), "to a script: {rows}");
    }
    let import = [
        "import",
        "--spool",
        outer.spool(),
        "--key",
        &importer,
        "--medium",
        medium,
        "--trust",
        office.trust_path(),
        "--wipe",
    ];
    let steps = ["looking at what an earlier import left", "trip 17 [", "waiting for the node", "trip 17: removing ["];
    shows(&import, &steps);

    let from = office.dir.join("case-7");
    fs::create_dir_all(&from).unwrap();
    fs::write(from.join("points.dat"), vec![1; 3_000_000]).unwrap();
    fs::create_dir_all(inner.layout.inlet(&protocol::Name::new("survey").unwrap())).unwrap();
    let listing = office.dir.join("list");
    let intake = ["--route", "survey", "--listing", listing.to_str().unwrap(), from.to_str().unwrap()];
    let steps = ["looking through the medium", "case-7 [", "B/s", "waiting for the node"];
    shows(&[&["intake"][..], &inside, &intake].concat(), &steps);
}
