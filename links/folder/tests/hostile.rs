//! Whoever can write into the gate's directory lays there what they like: links, pipes, names that are none, junk without
//! end, beacons that are forged, old, or of a second sender. The work is bounded, it is said what is wrong, and what is
//! genuine arrives all the same.
#![allow(clippy::disallowed_methods, reason = "whoever is hostile keeps to no rule of ours")]
#![allow(clippy::print_stdout, reason = "a test says what it skips")]

mod ends;

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use ends::{Nodes, START, bundle_like, ground, id_of};
use folder_link::{Incoming, IncomingStatus, Link, Settings, Trouble};
use protocol::keys::SigningKey;
use protocol::oneway::{FolderBeacon, NextNumber, Pulse};
use protocol::receipt::Head;
use protocol::{Crossing, Signed, Suite, Timestamp, Zone};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use spool::disk::Disk;

const CROSSING: Crossing = Crossing::ExtranetToIntranet;
const SUFFIX: &str = ".dat";

/// A receiver and its directory. The sender is whoever a test lets write there.
struct Inlet {
    folder: tempfile::TempDir,
    nodes: Nodes,
    link: Link,
    incoming: Incoming,
    settings: Settings,
    now: Timestamp,
}

impl Inlet {
    fn new(any_name: bool) -> Inlet {
        let folder = tempfile::Builder::new().prefix("trilock-gate-").tempdir_in(ground()).expect("a folder");
        let nodes = Nodes::of(Zone::Extranet, Zone::Intranet);
        nodes.create(folder.path(), Zone::Intranet);
        let link = nodes.open(folder.path(), Zone::Intranet, Disk::real(), START).expect("a spool");
        let gate = folder.path().join("in");
        Disk::real().create_dir_all(&gate).expect("a folder");
        let settings = Settings { suffix: SUFFIX.to_owned(), any_name, ..Settings::between(None, Some(gate)) };
        let incoming = Incoming::open(&link, &settings, START).expect("a receiver");
        Inlet { folder, nodes, link, incoming, settings, now: START }
    }

    fn gate(&self) -> PathBuf {
        self.folder.path().join("in")
    }

    fn lay(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.gate().join(name), bytes).expect("laid");
    }

    fn lay_bundle(&self, sequence: u64) {
        self.lay(&bundle_name(sequence), &bundle_like(CROSSING, sequence, 10_000));
    }

    /// One pass over the folder, a second later; the steps it took.
    fn pass(&mut self) -> usize {
        self.now = self.now.plus_ms(1_000);
        let mut steps = 1;
        while self.incoming.step(self.now).expect("a step") {
            steps += 1;
        }
        steps
    }

    fn passes(&mut self, count: usize) -> IncomingStatus {
        for _ in 0..count {
            self.pass();
        }
        self.incoming.status()
    }

    fn restart(&mut self) {
        self.incoming = Incoming::open(&self.link, &self.settings, self.now).expect("a receiver");
    }

    fn arrived(&self) -> usize {
        self.link.spool.arrivals(CROSSING).completed().expect("a list").len()
    }

    fn count(&self, trouble: Trouble) -> u64 {
        trouble.count(None, Some(&self.incoming.status()))
    }

    /// A beacon as the sender with this key would write it.
    fn beacon(&self, key: &SigningKey, epoch: u32, number: u64, at_s: u64) -> Vec<u8> {
        let said = FolderBeacon {
            version: 1,
            crossing: CROSSING,
            source: ends::name(Zone::Extranet),
            target: ends::name(Zone::Intranet),
            epoch,
            number,
            pulse: Pulse {
                at: START.plus_ms(at_s * 1_000),
                next: vec![NextNumber { epoch: 1, next: number + 1 }],
                head: Head::default(),
            },
        };
        Signed::make(key, &said).to_bytes()
    }

    fn lay_beacon(&self, epoch: u32, number: u64, at_s: u64) {
        self.lay(&beacon_name(epoch, number), &self.beacon(&self.nodes.keys[0], epoch, number, at_s));
    }
}

fn bundle_name(sequence: u64) -> String {
    format!("{}.bundle{SUFFIX}", id_of(sequence))
}

fn beacon_name(epoch: u32, number: u64) -> String {
    format!("beacon-{epoch:08x}-{number:016x}.tl{SUFFIX}")
}

fn files(folder: &Path) -> usize {
    std::fs::read_dir(folder).expect("a folder").count()
}

#[test]
fn links_pipes_devices_and_folders_under_our_names_are_passed_over_and_hold_up_nothing() {
    for any_name in [false, true] {
        let mut inlet = Inlet::new(any_name);
        let gate = inlet.gate();
        // A link to a bundle that is genuine in form, outside the folder: never followed.
        let elsewhere = inlet.folder.path().join("elsewhere");
        std::fs::write(&elsewhere, bundle_like(CROSSING, 1, 100)).expect("written");
        symlink(&elsewhere, gate.join(bundle_name(1))).expect("a link");
        symlink("/dev/zero", gate.join(bundle_name(2))).expect("a link");
        mknodat(CWD, gate.join(bundle_name(3)), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
        std::fs::create_dir(gate.join(bundle_name(4))).expect("a folder");
        let mut foreign = 4;
        let zero = rustix::fs::makedev(1, 5);
        match mknodat(CWD, gate.join(bundle_name(5)), FileType::CharacterDevice, Mode::RUSR, zero) {
            Ok(()) => foreign += 1,
            Err(error) => println!("SKIPPED: this account may make no device: {error}"),
        }
        inlet.lay_bundle(9);
        let status = inlet.passes(3);
        assert_eq!((inlet.arrived(), status.taken, status.foreign), (1, 1, foreign), "any name {any_name}: {status:?}");
        assert_eq!(inlet.count(Trouble::Files), foreign);
        assert!(elsewhere.exists() && files(&gate) as u64 == foreign, "what is not ours is not touched");
    }
}

#[test]
fn names_with_control_characters_and_names_that_are_no_text_are_counted_and_nothing_else() {
    use std::os::unix::ffi::OsStrExt as _;
    let mut inlet = Inlet::new(false);
    let names: [&[u8]; 4] =
        [b"\x1b[2Jcleared", b"line\nbreak.bundle.dat", b"\xff\xfe.dat", "右到左\u{202e}.dat".as_bytes()];
    for name in names {
        std::fs::write(inlet.gate().join(std::ffi::OsStr::from_bytes(name)), b"x").expect("laid");
    }
    inlet.lay_bundle(1);
    let status = inlet.passes(3);
    assert_eq!((inlet.arrived(), status.foreign, status.unreadable), (1, 4, 0));
}

#[test]
fn what_was_taken_does_not_change_any_more_though_the_gate_writes_on() {
    let mut inlet = Inlet::new(false);
    inlet.lay_bundle(1);
    let mut still_open = OpenOptions::new().append(true).open(inlet.gate().join(bundle_name(1))).expect("opened");
    let second_name = inlet.folder.path().join("kept by the gate");
    std::fs::hard_link(inlet.gate().join(bundle_name(1)), &second_name).expect("a link");
    inlet.passes(2);
    still_open.write_all(b"more").expect("written on");
    std::fs::write(&second_name, b"something else").expect("written");
    let entry = inlet.link.spool.arrivals(CROSSING).completed().expect("a list").remove(0);
    assert!(std::fs::read(&entry.path).expect("bytes") == bundle_like(CROSSING, 1, 10_000));
}

#[test]
fn a_file_that_grows_is_never_taken_before_it_is_whole_and_what_is_too_large_stays_and_is_told() {
    let mut inlet = Inlet::new(false);
    let bytes = bundle_like(CROSSING, 1, 10_000);
    for end in (0..bytes.len()).step_by(bytes.len() / 7) {
        inlet.lay(&bundle_name(1), &bytes[..end]);
        inlet.passes(3);
        assert_eq!(inlet.arrived(), 0, "{end} bytes");
    }
    let grown = OpenOptions::new().write(true).open(inlet.gate().join(bundle_name(1))).expect("opened");
    grown.set_len(inlet.settings.bytes_max + 1).expect("a hole");
    let status = inlet.passes(2);
    assert_eq!((status.too_large, inlet.count(Trouble::TooLarge), inlet.arrived()), (1, 1, 0));
    inlet.lay(&bundle_name(1), &bytes);
    inlet.passes(2);
    assert_eq!((inlet.arrived(), inlet.count(Trouble::TooLarge)), (1, 0));
}

#[test]
fn a_hundred_thousand_junk_files_cost_a_bounded_step_and_hide_nothing() {
    const JUNK: usize = 100_000;
    let mut inlet = Inlet::new(false);
    for n in 0..JUNK {
        std::fs::File::create(inlet.gate().join(format!("junk-{n}"))).expect("laid");
    }
    inlet.lay_bundle(1);
    inlet.lay_beacon(10, 1, 0);
    let began = std::time::Instant::now();
    let steps = inlet.pass();
    assert!((JUNK / 16_384..=JUNK / 16_384 + 2).contains(&steps), "{steps} steps");
    inlet.pass();
    println!("two passes over {JUNK} junk files: {:?}, {steps} steps each", began.elapsed());
    let status = inlet.incoming.status();
    assert_eq!((inlet.arrived(), status.beacons, status.foreign), (1, 1, JUNK as u64));
}

#[test]
fn where_any_name_is_taken_junk_is_opened_seldom_and_hides_nothing() {
    const JUNK: usize = 5_000;
    let mut inlet = Inlet::new(true);
    for n in 0..JUNK {
        inlet.lay(&format!("{n}.txt"), b"TRILOCK1 is what it says and nothing else");
    }
    inlet.lay("0000-a.xyz", &bundle_like(CROSSING, 1, 100));
    inlet.lay("zzzz.part", &bundle_like(CROSSING, 2, 100));
    let status = inlet.passes(140);
    // The gate is still writing what it calls a part.
    assert_eq!((inlet.arrived(), status.foreign, status.waiting), (1, JUNK as u64 + 1, 0), "{status:?}");
    let began = std::time::Instant::now();
    inlet.pass();
    println!("a pass over {JUNK} files known to be strangers: {:?}", began.elapsed());
    std::fs::rename(inlet.gate().join("zzzz.part"), inlet.gate().join("zzzz")).expect("renamed");
    inlet.passes(2);
    assert_eq!(inlet.arrived(), 2);
}

#[test]
fn a_thousand_forged_beacons_cost_few_signatures_a_pass_and_the_true_one_is_heard() {
    let mut inlet = Inlet::new(false);
    let stranger = SigningKey::generate(Suite::Std);
    for number in 0..1_000 {
        // Half are signed by somebody else, half have the sender's name and a signature that does not fit.
        let bytes = if number % 2 == 0 {
            inlet.beacon(&stranger, u32::MAX, number, 0)
        } else {
            let mut bytes = inlet.beacon(&inlet.nodes.keys[0], u32::MAX, number, 0);
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            bytes
        };
        inlet.lay(&beacon_name(u32::MAX, number), &bytes);
    }
    inlet.lay_beacon(10, 1, 0);
    inlet.lay_bundle(1);
    let mut most = 0;
    for _ in 0..40 {
        let before = inlet.incoming.status().beacons_checked;
        inlet.pass();
        most = most.max(inlet.incoming.status().beacons_checked - before);
    }
    let status = inlet.incoming.status();
    assert_eq!((most, status.beacons_checked, status.beacons_refused), (32, 1_001, 1_000));
    assert_eq!((status.beacons, status.epoch, inlet.count(Trouble::Beacons)), (1, 10, 1_000));
    assert_eq!((inlet.arrived(), files(&inlet.gate())), (1, 0));
    // What is named as a beacon and is none goes after a minute.
    inlet.lay(&beacon_name(11, 1), b"no beacon");
    inlet.passes(30);
    assert_eq!(files(&inlet.gate()), 1);
    inlet.passes(100);
    assert_eq!((files(&inlet.gate()), inlet.incoming.status().beacons_refused), (0, 1_001));
}

#[test]
fn an_old_beacon_laid_down_again_ends_no_silence_not_even_after_a_restart() {
    let mut inlet = Inlet::new(false);
    inlet.lay_beacon(10, 1, 0);
    inlet.lay_beacon(10, 2, 10);
    inlet.passes(3);
    let checked = inlet.incoming.status().beacons_checked;
    inlet.restart();
    for _ in 0..200 {
        inlet.lay_beacon(10, 1, 0);
        inlet.pass();
    }
    let status = inlet.incoming.status();
    assert!(status.silent && status.last_beacon.is_none(), "{status:?}");
    assert!(checked <= 2 && status.beacons_checked == 0, "what is known to be old costs no signature");
    inlet.lay_beacon(10, 3, 20);
    inlet.passes(2);
    assert!(!inlet.incoming.status().silent);
}

#[test]
fn a_sender_whose_clock_and_disk_went_back_is_told_and_its_numbers_are_named_all_the_same() {
    let mut inlet = Inlet::new(false);
    inlet.lay_beacon(1_000, 1, 1_000);
    inlet.passes(2);
    for number in 1..40 {
        inlet.lay_beacon(900, number, 900);
        inlet.passes(5);
    }
    let status = inlet.incoming.status();
    assert!(status.silent && !status.two_senders && status.beacons_earlier >= 38, "{status:?}");
    assert_eq!((status.epoch, inlet.count(Trouble::Beacons)), (1_000, status.beacons_earlier));
    let gaps = inlet.link.spool.gaps(&inlet.link.peer, CROSSING);
    assert_eq!(gaps.iter().map(|gap| gap.through).max(), Some(39));
}

#[test]
fn two_senders_are_told_whether_one_was_started_later_or_copied_while_it_ran() {
    let mut inlet = Inlet::new(false);
    // An earlier start that still speaks, long after the later one was heard.
    inlet.lay_beacon(100, 1, 0);
    inlet.lay_beacon(200, 1, 100);
    inlet.passes(3);
    inlet.lay_beacon(100, 2, 105);
    inlet.passes(2);
    assert!(!inlet.incoming.status().two_senders, "what the gate held back is no second sender");
    inlet.lay_beacon(100, 3, 130);
    inlet.passes(2);
    assert_eq!((inlet.incoming.status().two_senders, inlet.count(Trouble::TwoSenders)), (true, 1));
    // The one that stays is started again.
    inlet.lay_beacon(300, 1, 200);
    inlet.passes(2);
    assert!(!inlet.incoming.status().two_senders);
    // A machine copied while it ran counts on from the same number.
    inlet.lay_beacon(300, 2, 210);
    inlet.passes(2);
    inlet.lay_beacon(300, 2, 210);
    inlet.passes(2);
    assert!(!inlet.incoming.status().two_senders, "the gate may say a thing twice");
    inlet.lay_beacon(300, 2, 211);
    inlet.passes(2);
    assert!(inlet.incoming.status().two_senders);
}

#[test]
fn a_directory_that_is_gone_is_told_and_served_again_when_it_is_back() {
    let mut inlet = Inlet::new(false);
    std::fs::rename(inlet.gate(), inlet.folder.path().join("away")).expect("moved");
    assert!(inlet.incoming.step(inlet.now).is_err());
    assert_eq!(inlet.count(Trouble::Folder), 1);
    assert!(inlet.settings.look().iter().any(|found| found.stops && found.setting == "incoming"));
    std::fs::rename(inlet.folder.path().join("away"), inlet.gate()).expect("moved");
    inlet.lay_bundle(1);
    inlet.passes(2);
    assert_eq!((inlet.arrived(), inlet.count(Trouble::Folder)), (1, 0));
    assert!(inlet.settings.look().is_empty());
}

#[test]
fn check_names_directories_that_cannot_be_meant_and_files_that_are_none_of_ours() {
    let inlet = Inlet::new(false);
    inlet.lay("20261122-report.pdf", b"x");
    inlet.lay(".control", b"x");
    let said = |settings: &Settings| -> Vec<(String, bool)> {
        settings.look().into_iter().map(|found| (format!("{} {}", found.setting, found.what), found.stops)).collect()
    };
    assert_eq!(
        said(&inlet.settings),
        [("incoming holds 1 files or folders whose names are none of ours".to_owned(), false)]
    );
    let renamed = Settings { any_name: true, ..inlet.settings.clone() };
    assert!(said(&renamed).is_empty());
    let below = inlet.gate().join("out");
    std::fs::create_dir(&below).expect("a folder");
    let nested = Settings { outgoing: Some(below), any_name: true, ..inlet.settings.clone() };
    assert!(said(&nested).iter().any(|(what, stops)| *stops && what.contains("one stands in the other")));
    let file = Settings { outgoing: Some(inlet.gate().join(".control")), ..inlet.settings.clone() };
    assert!(said(&file).iter().any(|(what, stops)| *stops && what.ends_with("is no directory")));
}

/// A bad copy that came first is found out at admission; the good one must be there still.
#[test]
fn what_lies_in_the_arrivals_unverified_costs_no_second_copy_in_the_folder() {
    let mut inlet = Inlet::new(false);
    let mut bad = bundle_like(CROSSING, 1, 10_000);
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    inlet.lay(&bundle_name(1), &bad);
    inlet.passes(2);
    assert_eq!((inlet.arrived(), files(&inlet.gate())), (1, 0));
    inlet.lay_bundle(1);
    let status = inlet.passes(5);
    assert_eq!((files(&inlet.gate()), status.waiting), (1, 1), "it waits for the verdict on the first");
    // Admission puts the bad one into quarantine.
    let crossing = inlet.link.spool.arrivals(CROSSING);
    let bad = crossing.completed().expect("a list").remove(0);
    std::fs::remove_file(&bad.path).expect("quarantined");
    inlet.passes(2);
    let good = crossing.completed().expect("a list").remove(0);
    assert!(std::fs::read(&good.path).expect("bytes") == bundle_like(CROSSING, 1, 10_000));
    // And where the first was good the second goes as soon as that is known.
    inlet.lay_bundle(1);
    inlet.passes(3);
    assert_eq!(files(&inlet.gate()), 1);
    assert!(ends::admit(&inlet.link, CROSSING, &good));
    inlet.passes(2);
    assert_eq!((files(&inlet.gate()), inlet.arrived()), (0, 1));
}

#[test]
fn junk_that_bears_our_names_crowds_out_what_is_genuine_for_an_hour_and_not_for_ever() {
    const JUNK: u64 = 66_000;
    let mut inlet = Inlet::new(false);
    // Where the newest is listed first the genuine one comes last.
    inlet.lay_bundle(1);
    for n in 0..JUNK {
        std::fs::write(inlet.gate().join(bundle_name(1_000 + n)), b"x").expect("laid");
    }
    let status = inlet.passes(3);
    assert!(status.crowded > 0 && status.stuck == 0, "{status:?}");
    println!("{} arrived within three passes", inlet.arrived());
    inlet.now = inlet.now.plus_ms(3_600_000);
    // A file that is not whole is opened again after 1, 2, 4 ... looks.
    let status = inlet.passes(4);
    assert_eq!((inlet.arrived(), status.crowded), (1, 0), "{status:?}");
    assert_eq!(status.waiting, JUNK, "none of it is touched or forgotten");
    assert_eq!(inlet.count(Trouble::Files), status.stuck);
    assert!(status.stuck >= 65_000, "{status:?}");
    // One of them becomes whole after all.
    inlet.lay_bundle(1_000);
    inlet.passes(3);
    assert_eq!(inlet.arrived(), 2);
}
