//! An older state opens in this program, and a newer one is refused. Each fixture is a spool as the last program of that
//! version wrote it, with something of everything in it; it is never made anew, or it would prove nothing:
//!
//! ```text
//! TRILOCK_WRITE_FIXTURE=1 cargo nextest run -p tests --test upgrade -E 'test(written_down)'     writes this version's, once
//! ```
#![allow(clippy::unwrap_used, clippy::panic, reason = "a state that does not open ends the test")]
#![allow(clippy::disallowed_methods, reason = "a test makes and removes files as an app or a person would")]

use std::fs;
use std::path::{Path, PathBuf};

use protocol::ledger::Event;
use protocol::{Crossing, Timestamp, Zone};
use spool::{EntryKind, Filter, Fuse, SpoolError, State};
use station::station::StationError;
use station::trips;
use tests::papers;
use tests::programs::repository;
use tests::twins::{Member, START, found, name, names};

const OUTWARD: Crossing = Crossing::IntranetToExtranet;
const INWARD: Crossing = Crossing::ExtranetToIntranet;

fn fixture(version: u32) -> PathBuf {
    repository().join(format!("tests/fixtures/state-{version}.tar.gz"))
}

fn unpacked(version: u32, root: &Path) -> Member {
    let file = fs::File::open(fixture(version)).unwrap();
    tar::Archive::new(flate2::read::GzDecoder::new(file)).unpack(root).unwrap();
    let member = Member::at(&root.join("intranet"), Zone::Intranet);
    let about = member.layout().root().join("spool.json");
    if version == 1 {
        assert!(!about.exists(), "version 1 had no such file");
    } else {
        let about = fs::read_to_string(about).unwrap();
        assert!(about.contains(&format!("\"version\": {version}")), "{about}");
    }
    member
}

/// Runs `until` on disks that die after more and more effects, until one leaves what is wanted.
fn die_at(mut until: impl FnMut(&Fuse), wanted: impl Fn() -> bool) {
    for effects in 1.. {
        assert!(effects < 2_000, "no death leaves what is wanted");
        until(&Fuse::after(effects));
        if wanted() {
            return;
        }
    }
}

#[test]
fn a_state_of_version_1_opens_and_all_of_it_goes_on() {
    goes_on(1);
}

#[test]
fn a_state_of_version_2_opens_and_all_of_it_goes_on() {
    goes_on(2);
}

#[test]
fn a_state_of_version_3_opens_and_all_of_it_goes_on() {
    goes_on(3);
}

#[test]
fn a_state_of_version_4_opens_and_all_of_it_goes_on() {
    goes_on(4);
}

fn goes_on(version: u32) {
    let folder = tempfile::tempdir().unwrap();
    let intranet = unpacked(version, folder.path());
    let layout = intranet.layout();
    let claims = layout.claimed(&name("review-results"));
    let places = [
        layout.outbox(OUTWARD),
        layout.complete(INWARD),
        layout.checked(),
        layout.receipts(OUTWARD),
        layout.evidence(),
    ];
    for place in &places {
        assert!(!names(place).is_empty(), "the fixture holds something in {}", place.display());
    }
    assert_eq!(names(&claims).len(), 1);
    let claim = names(&claims).remove(0);
    let inside = if version == 1 { names(&claims.join(&claim)).remove(0) } else { claim };
    assert!(inside.ends_with("review-2.xml"), "{inside}: a folder a parcel and the drop inside, or one name for both");

    // The clock of the machine that opens it is some days on.
    let mut now = START.plus_ms(3 * 24 * 60 * 60 * 1000);
    let mut running = intranet.open(now).unwrap();
    assert_eq!(running.station.spool.log(), protocol::ledger::FIRST_LOG);
    let about = fs::read_to_string(layout.root().join("spool.json")).unwrap();
    assert!(about.contains(&format!("\"version\": {}", spool::STATE_VERSION)), "{about}");
    let records = running.station.spool.head().size;
    let trip = trips::list(&running.station).unwrap();
    assert_eq!(trip.iter().map(|trip| (trip.trip, trip.bundles)).collect::<Vec<_>>(), [(1, 1)]);
    // Since version 3 the record names the medium.
    let records_of = |event| {
        let stored = running.station.spool.records(0, usize::MAX).unwrap();
        stored.into_iter().map(|stored| stored.record).filter(move |record| record.event == event)
    };
    let media: Vec<_> = records_of(Event::TripStaged).map(|record| record.medium).collect();
    assert_eq!(media, [(version > 2).then(|| name("disc-0001"))]);
    running.turn(&mut now).unwrap();

    // What was in checked and in complete is delivered, the claimed drop is sealed beside the parcel that waited.
    let mut outlet = intranet.outlet("registration");
    outlet.sort();
    assert_eq!(outlet, ["message-1.xml", "message-2.xml", "message-3.xml", "message-4.xml"]);
    assert!(names(&layout.checked()).is_empty() && names(&layout.complete(INWARD)).is_empty());
    assert!(names(&claims).is_empty());
    let spool = &running.station.spool;
    let bundles =
        spool.outbox(OUTWARD).entries().unwrap().into_iter().filter(|entry| entry.kind == EntryKind::Bundle).count();
    assert_eq!(bundles, 2);
    let state = |state| Filter { state: Some(state), ..Filter::default() };
    assert_eq!(spool.parcels(&state(State::Delivered), 9).unwrap().len(), 4);
    assert_eq!(spool.parcels(&state(State::Accepted), 9).unwrap().len(), 2);
    assert!(spool.head().size > records && spool.scrub().unwrap().unreadable.is_empty());

    // Receipts of all four wait for the next trip; nothing of the old ledger was written anew.
    let delivered = names(&layout.receipts(OUTWARD)).iter().filter(|file| file.contains(".delivered.")).count();
    assert_eq!(delivered, 3, "the first one's receipt is on the trip that was staged");
    let medium = name("disc-0001");
    let staged =
        trips::stage(&running.station, &medium, &name("sun"), &name("ma"), None, &trips::Choice::default(), now)
            .unwrap()
            .unwrap();
    assert_eq!((staged.trip, staged.bundles), (2, 1), "the bundle of trip 1 travels with trip 1");
    let first = spool.records(0, 3).unwrap();
    assert_eq!(first[0].record.event, Event::EpochStarted);
}

#[test]
fn a_state_of_a_newer_version_is_refused_before_anything_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    let intranet = unpacked(1, folder.path());
    let about = intranet.layout().root().join("spool.json");
    fs::write(&about, r#"{ "version": 7, "node": "intranet", "more": {} }"#).unwrap();
    let before = all_files(&intranet.layout().queues());
    match intranet.open(START).map(drop) {
        Err(StationError::Spool(SpoolError::TooNew { path, found: 7, supported })) => {
            assert_eq!((path, supported), (about, spool::STATE_VERSION));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(all_files(&intranet.layout().queues()), before);
    let made = spool::create(&intranet.setup(spool::Disk::real(), START));
    assert!(matches!(made, Err(SpoolError::TooNew { .. })), "init does not touch it either");
}

fn all_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() { found.extend(all_files(&entry.path())) } else { found.push(entry.path()) }
    }
    found.sort();
    found
}

/// Only ever run by the version whose state it shows.
#[test]
fn the_state_of_this_version_is_written_down() {
    let fixture = fixture(spool::STATE_VERSION);
    if std::env::var_os("TRILOCK_WRITE_FIXTURE").is_none() {
        assert!(fixture.exists(), "it was written, and is kept");
        return;
    }
    assert!(!fixture.exists(), "what was written once is not written again");
    let folder = tempfile::tempdir().unwrap();
    let ([extranet, intranet], _, _) = found(folder.path(), [Zone::Extranet, Zone::Intranet]);
    let layout = intranet.layout();
    let mut now = START;

    let mut sender = extranet.open(now).unwrap();
    for number in 1..=4 {
        let message = papers::registration_message(number);
        extranet.drop_file("registration", &format!("message-{number}.xml"), message.as_bytes());
        sender.turn(&mut now).unwrap();
    }
    let sealed: Vec<_> = sender.station.spool.outbox(INWARD).entries().unwrap();
    assert_eq!(sealed.len(), 4);
    // It may share a segment with others.
    let copy_to = |nth: usize, path: &Path| {
        let outbox = sender.station.spool.outbox(INWARD);
        std::io::copy(&mut outbox.content(&sealed[nth]).unwrap(), &mut fs::File::create(path).unwrap()).unwrap();
    };
    let arrives = |running: &tests::twins::Running, nth: usize| {
        let copy = folder.path().join("copy");
        copy_to(nth, &copy);
        running.station.spool.arrivals(INWARD).take_file(&sealed[nth].id, EntryKind::Bundle, &copy).unwrap();
    };

    // One delivered, whose receipt and a parcel of ours are on a staged trip; another delivered since.
    let mut running = intranet.open(now).unwrap();
    arrives(&running, 0);
    intranet.drop_file("review-results", "review-1.xml", papers::review_result(1).as_bytes());
    running.turn(&mut now).unwrap();
    let medium = name("disc-0001");
    trips::stage(&running.station, &medium, &name("sun"), &name("ma"), None, &trips::Choice::default(), now)
        .unwrap()
        .unwrap();
    arrives(&running, 1);
    running.turn(&mut now).unwrap();
    drop(running);
    // A claim whose process died, then an arrival whose process died, then one that nobody has looked at.
    intranet.drop_file("review-results", "review-2.xml", papers::review_result(2).as_bytes());
    let later = |now: Timestamp| now.plus_ms(6_000);
    die_at(
        |fuse| {
            now = later(now);
            if let Ok(mut running) = intranet.open_until(fuse, now) {
                let _died = running.intake.step(&running.station, later(now));
            }
        },
        || !names(&layout.claimed(&name("review-results"))).is_empty(),
    );
    let lies = |nth: usize| copy_to(nth, &layout.complete(INWARD).join(format!("{}.bundle", sealed[nth].id)));
    lies(2);
    die_at(
        |fuse| {
            now = later(now);
            if let Ok(mut running) = intranet.open_until(fuse, now) {
                let _died = running.admission.step(&running.station, later(now));
            }
        },
        || !names(&layout.checked()).is_empty(),
    );
    lies(3);

    let out = flate2::write::GzEncoder::new(fs::File::create(fixture).unwrap(), flate2::Compression::best());
    let mut tar = tar::Builder::new(out);
    tar.append_dir_all("intranet/keys", &intranet.config.node.keys).unwrap();
    tar.append_dir_all("intranet/trust", &intranet.config.node.trust).unwrap();
    tar.append_dir_all("intranet/spool", layout.root()).unwrap();
    tar.into_inner().unwrap().finish().unwrap();
}
