//! The shipped programs on both sides of a gate that moves files and has whims: it loses, repeats, cuts, tears and
//! renames, and either end is killed in the middle. Everything is delivered once, byte for byte.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and says what it saw")]
#![allow(clippy::disallowed_methods, reason = "a test makes and removes files as an app or a person would")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use protocol::{Crossing, Name, Suite};
use tests::gate::{Gate, Whims};
use tests::office::{Office, OneWay, Wishes};
use tests::pair::{HERE, Pair, THERE};
use tests::papers;
use tests::programs::{programs, repository};
use tests::world::{self, ground};

/// Messages that cross.
const MESSAGES: u32 = 40;
/// A busy machine must not fail a test.
const WITHIN: Duration = Duration::from_secs(180);
const ROUTE: &str = "registration";

fn office(root: &Path, of_inner: &str) -> Office {
    let wishes = Wishes {
        suite: "std".to_owned(),
        one_way: OneWay::Folder,
        repository: repository(),
        programs: programs().to_owned(),
        round_every_s: 2,
    };
    let office = Office::found(root, wishes, Ok).unwrap();
    let config = fs::read_to_string(office.config("intranet")).unwrap();
    fs::write(office.config("intranet"), config.replace("scan_ms = 200\n", &format!("scan_ms = 200\n{of_inner}")))
        .unwrap();
    office
}

/// Takes what was delivered, once each.
fn pick_up(office: &Office, picked: &mut BTreeMap<String, Vec<u8>>) {
    for file in fs::read_dir(office.outlet("intranet", ROUTE)).into_iter().flatten().flatten() {
        let name = file.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            let before = picked.insert(name.clone(), fs::read(file.path()).unwrap());
            assert!(before.is_none(), "{name} was delivered twice");
            fs::remove_file(file.path()).unwrap();
        }
    }
}

/// All messages are dropped while the gate has its whims; each end in turn is killed twice.
fn story(whims: Whims, of_inner: &str) -> (Office, tempfile::TempDir) {
    let folder = tempfile::Builder::new().prefix("trilock-gate-").tempdir_in(ground()).unwrap();
    let mut office = office(folder.path(), of_inner);
    let (outer, inner) = office.gate.clone();
    let _gate = Gate::with(&outer, &inner, whims).unwrap();
    for node in ["extranet", "intranet"] {
        office.start(node).unwrap();
    }
    let began = Instant::now();
    let (mut sent, mut picked) = (BTreeMap::new(), BTreeMap::new());
    let mut kills = ["extranet", "intranet", "intranet", "extranet"].into_iter();
    while picked.len() < MESSAGES as usize {
        if sent.len() < MESSAGES as usize {
            let number = u32::try_from(sent.len()).unwrap();
            let (name, bytes) = (format!("message-{number}.xml"), papers::registration_message(number).into_bytes());
            if office.inlet("extranet", ROUTE).is_dir() {
                office.drop_in("extranet", ROUTE, &name, &[(&name, &bytes)]).unwrap();
                sent.insert(name, bytes);
            }
            if sent.len() % 10 == 5
                && let Some(node) = kills.next()
            {
                office.kill(node).unwrap();
                office.start(node).unwrap();
            }
        }
        pick_up(&office, &mut picked);
        assert!(office.fallen().is_none(), "a daemon ended by itself");
        assert!(
            began.elapsed() < WITHIN,
            "not delivered: {:?}",
            sent.keys().filter(|name| !picked.contains_key(*name)).collect::<Vec<_>>()
        );
        std::thread::park_timeout(Duration::from_millis(50));
    }
    println!("{whims:?}: {MESSAGES} messages, 4 kills, {:.1} s", began.elapsed().as_secs_f64());
    assert!(sent == picked, "what was delivered is what was dropped");
    // Echoes of later rounds deliver nothing again.
    office.await_that(Duration::from_secs(3), |_| None::<()>);
    pick_up(&office, &mut picked);
    assert_eq!(picked.len(), MESSAGES as usize);
    (office, folder)
}

#[test]
fn a_gate_that_loses_repeats_cuts_and_tears_delivers_everything_once_though_either_end_is_killed() {
    story(Whims { lost: 8, twice: 4, cut: 12, torn: 4, renames: false, seed: 7 }, "");
}

#[test]
fn a_gate_that_gives_files_its_own_names_delivers_everything_once_where_any_name_is_taken() {
    let (office, _folder) =
        story(Whims { lost: 8, twice: 4, torn: 4, renames: true, seed: 11, cut: 0 }, "any_name = true\n");
    let said = office.node_command("intranet", &["check"]).unwrap();
    assert!(!said.contains("link.folder"), "{said}");
}

#[test]
fn check_names_a_gate_that_renames_though_nobody_said_so_and_directories_that_are_not_there() {
    let folder = tempfile::Builder::new().prefix("trilock-gate-").tempdir_in(ground()).unwrap();
    let office = office(folder.path(), "");
    fs::write(office.gate.1.join("00000001.bin"), b"TRILOCK1").unwrap();
    let said = office.node_command("intranet", &["check"]).unwrap();
    assert!(said.contains("link.folder.incoming holds 1 files or folders whose names are none of ours"), "{said}");
    fs::rename(&office.gate.1, folder.path().join("away")).unwrap();
    let output = office.node_output("intranet", &["check"]).unwrap();
    let words = [output.stdout, output.stderr].concat();
    assert!(
        !output.status.success() && String::from_utf8_lossy(&words).contains("link.folder.incoming"),
        "{output:?}",
        output = String::from_utf8_lossy(&words)
    );
}

#[test]
fn a_config_whose_directories_do_not_fit_its_peers_is_refused() {
    let folder = tempfile::Builder::new().prefix("trilock-gate-").tempdir_in(ground()).unwrap();
    let office = office(folder.path(), "outgoing = \"/srv/gate/out\"\n");
    let output = office.node_output("intranet", &["check"]).unwrap();
    let words = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(words.contains("link.folder.outgoing: is set, but no peer is reached that way"), "{words}");
}

/// Both ways by a gate of files: what it lost goes back in a signed report through the gate itself, and the sender is
/// told to write exactly that again. Before an hour has passed nothing is said, for the gate may only be slow.
#[test]
fn where_a_gate_moves_files_both_ways_the_gap_report_goes_back_through_it() {
    let folder = tempfile::Builder::new().prefix("trilock-gate-").tempdir_in(ground()).unwrap();
    let office = world::Office::found(Suite::Std).unwrap();
    let mut pair = Pair::found_by("folder", &office, folder.path(), "").unwrap();
    let (inward, internet) = (Crossing::InternetToExtranet, Name::new("internet").unwrap());
    pair.joined = false;
    pair.drop_form("forms").unwrap();
    pair.minutes(1).unwrap();
    let lost = pair.station(HERE).spool.outbox(inward).entries().unwrap().remove(0);
    // A beacon names it; the file never comes.
    pair.station(THERE).spool.announce(&internet, inward, lost.epoch, lost.sequence + 1);
    pair.minutes(30).unwrap();
    pair.carry(THERE, HERE).unwrap();
    pair.minutes(1).unwrap();
    assert!(pair.station(HERE).spool.outbox(inward).asked_again().is_empty(), "half an hour is no loss yet");
    pair.minutes(40).unwrap();
    pair.carry(THERE, HERE).unwrap();
    pair.minutes(1).unwrap();
    assert_eq!(pair.station(HERE).spool.outbox(inward).asked_again(), [lost.id]);
    assert_eq!(pair.recorded(HERE, protocol::ledger::Event::GapReportTaken).unwrap(), 1);
    pair.carry(HERE, THERE).unwrap();
    pair.minutes(2).unwrap();
    assert_eq!(pair.outlet("forms").len(), 1);
    assert!(pair.station(THERE).spool.gaps(&internet, inward).iter().all(|epoch| epoch.missing.is_empty()));
}
