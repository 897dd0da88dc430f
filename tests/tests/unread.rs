//! What a disk does not give, one bad sector at a time: a bundle that waits, a request at the desk, a file of a trip. It is
//! told with an alarm's code, waits, is tried again at a pace, ends when the disk gives it or nobody waits for it, and holds
//! up nothing else.
#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test fail as a test does")]
#![allow(clippy::disallowed_methods, reason = "a test makes and removes files as an administrator would")]

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use protocol::ledger::Event;
use protocol::{Crossing, Suite, Zone};
use spool::{Disk, Entry, EntryKind, Fuse, Power};
use station::alarm::Alarm;
use tests::pair::{HERE, Pair};
use tests::papers;
use tests::twins::{self, OPERATOR, START};
use tests::world::Office;

const OUT: Crossing = Crossing::InternetToExtranet;
const OUTWARD: Crossing = Crossing::IntranetToExtranet;

fn office() -> &'static Office {
    static OFFICE: OnceLock<Office> = OnceLock::new();
    OFFICE.get_or_init(|| Office::found(Suite::Std).unwrap())
}

/// Two nodes, and the disk under the first.
fn pair<'a>(root: &Path, settings: &str) -> (Pair<'a>, Power) {
    let mut pair = Pair::found(office(), root, settings).unwrap();
    let graveyard = root.join("grave");
    fs::create_dir(&graveyard).unwrap();
    let power = Power::on(&graveyard, 1).unwrap();
    pair.disks[HERE] = Disk::with_power(power.clone(), Fuse::after(u64::MAX));
    pair.stop(HERE);
    pair.restart(HERE).unwrap();
    (pair, power)
}

/// A form of 100 KB: a page of it is nobody else's.
fn drop_large(pair: &Pair<'_>, number: u32) -> String {
    let mut form = papers::application_form(number).into_bytes();
    form.resize(100_000, b' ');
    let file = format!("form-{number}.json");
    pair.drop_bytes("forms", &file, &form).unwrap();
    file
}

fn bundles(pair: &Pair<'_>) -> Vec<Entry> {
    let mut entries = pair.station(HERE).spool.outbox(OUT).entries().unwrap();
    entries.retain(|entry| entry.kind == EntryKind::Bundle);
    entries
}

/// What `status` says of the outbox.
fn unread(pair: &Pair<'_>) -> u64 {
    let status = pair.status(HERE);
    let row = status["queues"].as_array().unwrap().iter().find(|row| row["queue"] == format!("outbox {OUT}")).unwrap();
    row["unread"].as_u64().unwrap_or_default()
}

#[test]
fn a_bundle_that_cannot_be_read_is_told_while_the_others_cross_and_until_it_can_be_read() {
    let root = tempfile::tempdir().unwrap();
    let (mut pair, power) = pair(root.path(), "");
    pair.joined = false;
    let forms: Vec<String> = (1..4).map(|number| drop_large(&pair, number)).collect();
    pair.minutes(1).unwrap();
    let bad = bundles(&pair)[1].clone();
    power.spoil(&bad.path, bad.offset + 50_000).unwrap();
    assert!(!pair.stands(HERE, Alarm::BundleMissing));
    pair.joined = true;
    pair.minutes(3).unwrap();
    assert_eq!(pair.outlet("forms").len(), 2);
    assert!(pair.stands(HERE, Alarm::BundleMissing) && !pair.stands(HERE, Alarm::DiskError));
    assert_eq!(unread(&pair), 1);
    pair.hours(2).unwrap();
    assert!(pair.stands(HERE, Alarm::BundleMissing), "it stands as long as it is so");
    power.heal();
    pair.minutes(3).unwrap();
    assert!(!pair.stands(HERE, Alarm::BundleMissing));
    assert_eq!((pair.outlet("forms").len(), unread(&pair)), (3, 0));
    assert!(forms.iter().all(|form| pair.told("forms", form).as_deref() == Some("delivered")));
}

#[test]
fn a_bundle_that_will_never_be_read_is_given_up_by_a_person_and_its_app_is_told() {
    let root = tempfile::tempdir().unwrap();
    let (mut pair, power) = pair(root.path(), "");
    pair.joined = false;
    let lost = drop_large(&pair, 1);
    pair.minutes(1).unwrap();
    assert_eq!(pair.ask(HERE, "outbox-aside", &[("reason", "a word too many")]).unwrap().code, "nothing-kept");
    let bad = bundles(&pair)[0].clone();
    power.spoil(&bad.path, bad.offset + 50_000).unwrap();
    pair.joined = true;
    let other = drop_large(&pair, 2);
    pair.minutes(3).unwrap();
    assert!(pair.stands(HERE, Alarm::BundleMissing));
    assert_eq!(pair.ask(HERE, "outbox-aside", &[]).unwrap().code, "reason-missing");
    let answer = pair.ask(HERE, "outbox-aside", &[("reason", "it was dropped again")]).unwrap();
    assert!(answer.done && answer.details["expired"] == 1, "{answer:?}");
    assert!(!pair.stands(HERE, Alarm::BundleMissing));
    pair.hours(2).unwrap();
    assert!(!pair.stands(HERE, Alarm::BundleMissing), "nobody waits for it any more");
    assert_eq!(pair.told("forms", &lost).as_deref(), Some("expired"));
    assert_eq!(pair.told("forms", &other).as_deref(), Some("delivered"));
    assert_eq!(pair.recorded(HERE, Event::Expired).unwrap(), 1);
}

#[test]
fn a_request_that_cannot_be_read_waits_and_is_no_malformed_one() {
    let root = tempfile::tempdir().unwrap();
    let (mut pair, power) = pair(root.path(), "");
    let step = |pair: &Pair<'_>| {
        let station = pair.station(HERE);
        station::desk::step(station, station.clock.see(pair.reading(HERE))).unwrap();
    };
    let disable = |pair: &Pair<'_>, route: &str| {
        pair.lay(HERE, "route-disable", &[("route", route), ("reason", "a bad day")]).unwrap()
    };
    let place = |pair: &Pair<'_>, id: &protocol::Digest| {
        pair.station(HERE).layout().desk_own().join(spool::desk::request_name(id))
    };
    let waits = disable(&pair, "forms");
    power.spoil(&place(&pair, &waits), 0).unwrap();
    // Laid after it, and answered before it.
    let other = disable(&pair, "bulk-forms");
    for _ in 0..20 {
        step(&pair);
    }
    assert!(pair.answer(HERE, &waits).unwrap().is_none() && pair.answer(HERE, &other).unwrap().unwrap().done);
    assert_eq!(pair.station(HERE).retries.failures(), 1, "not tried again before its pause has gone by");
    for _ in 0..10 {
        pair.pass_ms(60_000);
        pair.turn().unwrap();
    }
    assert!(pair.stands(HERE, Alarm::Retrying) && !pair.stands(HERE, Alarm::RequestRefused));
    assert_eq!(pair.status(HERE)["retries"][0]["stage"], "desk");
    power.heal();
    pair.minutes(11).unwrap();
    assert!(pair.answer(HERE, &waits).unwrap().unwrap().done && !place(&pair, &waits).exists());
    assert!(!pair.stands(HERE, Alarm::Retrying));
    // One that its person took away is forgotten; one that the disk never gives is refused in the end.
    let (gone, never) = (disable(&pair, "urgent-forms"), disable(&pair, "urgent-forms"));
    for id in [&gone, &never] {
        power.spoil(&place(&pair, id), 0).unwrap();
    }
    step(&pair);
    assert_eq!(pair.station(HERE).retries.waiting(9).1, 2);
    fs::remove_file(place(&pair, &gone)).unwrap();
    step(&pair);
    assert_eq!(pair.station(HERE).retries.waiting(9).1, 1);
    pair.minutes(75).unwrap();
    let answer = pair.answer(HERE, &never).unwrap().unwrap();
    assert_eq!((answer.done, answer.code.as_str()), (false, "unreadable"));
    assert_eq!(pair.station(HERE).retries.waiting(9).1, 0);
}

#[test]
fn so_many_requests_that_cannot_be_read_wait_and_no_more() {
    let root = tempfile::tempdir().unwrap();
    let (pair, power) = pair(root.path(), "");
    let ids: Vec<_> = (0..70).map(|_| pair.lay(HERE, "gaps", &[]).unwrap()).collect();
    let desk = pair.station(HERE).layout().desk_own();
    for id in &ids {
        power.spoil(&desk.join(spool::desk::request_name(id)), 0).unwrap();
    }
    let station = pair.station(HERE);
    station::desk::step(station, station.clock.see(pair.reading(HERE))).unwrap();
    let answered = ids.iter().filter_map(|id| pair.answer(HERE, id).unwrap()).collect::<Vec<_>>();
    assert!(answered.len() == 6 && answered.iter().all(|answer| answer.code == "unreadable"), "{}", answered.len());
    assert_eq!(station.retries.waiting(0).1, 64);
}

#[test]
fn an_export_leaves_a_bundle_behind_that_cannot_be_read_and_the_alarm_ends_with_its_cause() {
    let folder = tempfile::tempdir().unwrap();
    let ([_extranet, intranet], operator, _) = twins::found(folder.path(), [Zone::Extranet, Zone::Intranet]);
    let mut now = START;
    let mut running = intranet.open(now).unwrap();
    for number in 1..3 {
        let mut form = papers::review_result_without_points(number).into_bytes();
        form.resize(400_000, b'\n');
        intranet.drop_file("review-results", &format!("review-{number}.xml"), &form);
    }
    running.turn(&mut now).unwrap();
    let outbox = running.station.spool.outbox(OUTWARD);
    let entries = outbox.entries().unwrap();
    assert_eq!(entries.len(), 2);
    // Nobody can open it, and it is there.
    let (bad, aside) = (entries[0].path.to_path_buf(), folder.path().join("aside"));
    fs::rename(&bad, &aside).unwrap();
    std::os::unix::fs::symlink(&bad, &bad).unwrap();
    let standing = |running: &twins::Running| {
        running.station.alarms.standing().into_iter().map(|(alarm, ..)| alarm).collect::<Vec<_>>()
    };
    let words = [("medium", "disc-0001"), ("carrier", "sun")];
    let answer = twins::ask(&running, &operator, OPERATOR, "export", &words, now);
    assert!(answer.done, "{answer:?}");
    let laid = |entry: &Entry| intranet.layout().desk_trips().join(format!("1/{}.bundle", entry.id)).exists();
    assert_eq!(entries.iter().map(laid).collect::<Vec<_>>(), [false, true]);
    assert!(standing(&running).contains(&Alarm::BundleMissing), "{:?}", standing(&running));
    for _ in 0..3 {
        now = now.plus_ms(10_000);
        running.turn(&mut now).unwrap();
    }
    assert!(standing(&running).contains(&Alarm::BundleMissing));
    fs::remove_file(&bad).unwrap();
    fs::rename(&aside, &bad).unwrap();
    for _ in 0..3 {
        now = now.plus_ms(10_000);
        running.turn(&mut now).unwrap();
    }
    let left = standing(&running);
    assert!(!left.contains(&Alarm::BundleMissing) && !left.contains(&Alarm::DiskError), "{left:?}");
}
