//! What a node still knows where its ledger lost records: pages that cannot be read, or that can be read no more. What was
//! delivered is not delivered again, and what is said meanwhile about a parcel of a lost record is heard when the record is
//! there again.
#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test fail as a test does")]
#![allow(clippy::disallowed_methods, reason = "a test makes, spoils and removes files as a bad disk would")]

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use protocol::ledger::Event;
use protocol::{Crossing, Suite};
use spool::{Begin, Disk, EntryKind, Fuse, Power};
use station::alarm::Alarm;
use station::station::Station;
use tests::pair::{HERE, Pair, THERE};
use tests::world::Office;

const OUT: Crossing = Crossing::InternetToExtranet;
const PAGE_BYTES: u64 = 4096;

fn office() -> &'static Office {
    static OFFICE: OnceLock<Office> = OnceLock::new();
    OFFICE.get_or_init(|| Office::found(Suite::Std).unwrap())
}

/// The disk of a node from its next start on.
fn power_on(pair: &mut Pair<'_>, root: &Path, at: usize) -> Power {
    let graveyard = root.join("grave");
    fs::create_dir(&graveyard).unwrap();
    let power = Power::on(&graveyard, 1).unwrap();
    pair.disks[at] = Disk::with_power(power.clone(), Fuse::after(u64::MAX));
    power
}

fn segments(station: &Station) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(station.layout().ledger()).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    found.sort();
    found
}

/// The next start makes the index from the records.
fn lose_index(station: &Station) {
    fs::remove_file(station.layout().index().join("index.redb")).unwrap();
}

/// The bundles that wait here, with what stands in them.
fn bundles(station: &Station) -> Vec<(protocol::BundleId, Vec<u8>)> {
    let outbox = station.spool.outbox(OUT);
    let entries = outbox.entries().unwrap().into_iter().filter(|entry| entry.kind == EntryKind::Bundle);
    let read = |entry: spool::Entry| {
        let mut bytes = Vec::new();
        outbox.content(&entry).unwrap().read_to_end(&mut bytes).unwrap();
        (entry.id, bytes)
    };
    entries.map(read).collect()
}

/// They come once more: the node before was restored, or its gateway sends what it sent.
fn bring_again(station: &Station, bundles: &[(protocol::BundleId, Vec<u8>)]) {
    for (id, bytes) in bundles {
        let begun = station.spool.arrivals(OUT).begin(id, EntryKind::Bundle, bytes.len() as u64).unwrap();
        if let Begin::Partial(mut partial) = begun {
            partial.write(bytes).unwrap();
            partial.finish().unwrap();
        }
    }
}

/// A form goes from here to there, and then the disk here holds zeros where its records were.
fn lose_records_of_a_form(pair: &mut Pair<'_>) -> String {
    pair.joined = false;
    let form = pair.drop_form("forms").unwrap();
    pair.minutes(1).unwrap();
    let records = segments(pair.station(HERE)).pop().unwrap();
    pair.carry(HERE, THERE).unwrap();
    lose_index(pair.station(HERE));
    pair.stop(HERE);
    fs::write(&records, vec![0; usize::try_from(fs::metadata(&records).unwrap().len()).unwrap()]).unwrap();
    pair.restart(HERE).unwrap();
    form
}

/// What an app takes from the outlet.
fn pick_up(pair: &Pair<'_>) -> usize {
    let found = pair.outlet("forms");
    found.iter().for_each(|path| fs::remove_file(path).unwrap());
    found.len()
}

#[test]
fn what_was_delivered_before_its_records_were_lost_is_not_delivered_again() {
    comes_again(false);
}

#[test]
fn nor_is_it_where_it_comes_under_another_number() {
    comes_again(true);
}

/// What was delivered comes again after the records of it are lost: as it came, or as its origin sealed it once more, so
/// that evidence of its end stands under another bundle.
fn comes_again(otherwise: bool) {
    let root = tempfile::tempdir().unwrap();
    let mut pair = Pair::found(office(), root.path(), "").unwrap();
    pair.joined = false;
    (0..3).for_each(|_| drop(pair.drop_form("forms").unwrap()));
    pair.minutes(1).unwrap();
    let sent = bundles(pair.station(HERE));
    assert_eq!(sent.len(), 3);
    pair.joined = true;
    pair.minutes(3).unwrap();
    assert_eq!(pick_up(&pair), 3);
    let parcel = pair.station(THERE).spool.parcels(&spool::Filter::default(), 1).unwrap().remove(0).parcel;
    let evidence = station::sealing::evidence_path(pair.station(THERE), &parcel, &sent[0].0);
    let evidence = evidence.parent().unwrap();
    let records = segments(pair.station(THERE)).pop().unwrap();
    lose_index(pair.station(THERE));
    pair.stop(THERE);
    // Every record of that time, and nothing else.
    fs::write(&records, vec![0; usize::try_from(fs::metadata(&records).unwrap().len()).unwrap()]).unwrap();
    pair.restart(THERE).unwrap();
    let station = pair.station(THERE);
    assert!(station.spool.was_damaged());
    assert!(station.spool.parcels(&spool::Filter::default(), 10).unwrap().is_empty());
    if otherwise {
        let proofs = fs::read_dir(evidence).unwrap().map(|entry| entry.unwrap().path());
        for path in proofs.filter(|path| path.extension().is_some_and(|extension| extension == "proof")) {
            let (parcel, _) = path.file_stem().and_then(|stem| stem.to_str()?.split_once('-')).unwrap();
            fs::rename(
                &path,
                path.with_file_name(format!("{parcel}-{}.proof", protocol::id::new_id(pair.now, [7; 10]))),
            )
            .unwrap();
        }
    }
    bring_again(pair.station(THERE), &sent);
    pair.minutes(3).unwrap();
    assert_eq!(pick_up(&pair), 0, "delivered twice");
    let recorded = |event| pair.recorded(THERE, event).unwrap();
    assert_eq!((recorded(Event::Delivered), recorded(Event::Duplicate)), (0, 3));
    assert!(pair.station(THERE).spool.arrivals(OUT).completed().unwrap().is_empty());
    // What has not been here before comes in.
    pair.drop_form("forms").unwrap();
    pair.minutes(3).unwrap();
    assert_eq!(pick_up(&pair), 1);
}

#[test]
fn a_receipt_that_comes_while_the_records_of_its_parcel_cannot_be_read_is_taken_when_they_can() {
    let root = tempfile::tempdir().unwrap();
    let mut pair = Pair::found(office(), root.path(), "").unwrap();
    pair.joined = false;
    let form = pair.drop_form("forms").unwrap();
    pair.minutes(1).unwrap();
    let records = segments(pair.station(HERE)).pop().unwrap();
    pair.carry(HERE, THERE).unwrap();
    lose_index(pair.station(HERE));
    pair.stop(HERE);
    pair.minutes(1).unwrap();
    let power = power_on(&mut pair, root.path(), HERE);
    let pages = fs::metadata(&records).unwrap().len().div_ceil(PAGE_BYTES);
    (0..pages).for_each(|page| power.spoil(&records, page * PAGE_BYTES).unwrap());
    pair.restart(HERE).unwrap();
    assert!(pair.station(HERE).spool.was_damaged());
    pair.joined = true;
    pair.hours(2).unwrap();
    assert_eq!(pair.outlet("forms").len(), 1);
    assert!(!pair.station(HERE).spool.arrivals(OUT.back()).completed().unwrap().is_empty(), "it waits, and is told");
    assert!(pair.stands(HERE, Alarm::LedgerDamaged));
    power.heal();
    pair.stop(HERE);
    pair.restart(HERE).unwrap();
    pair.minutes(3).unwrap();
    assert_eq!(pair.told("forms", &form).as_deref(), Some("delivered"));
    assert!(bundles(pair.station(HERE)).is_empty(), "the next node answers for it");
    assert_eq!(pair.recorded(HERE, Event::ReceiptTaken).unwrap(), 2);
}

#[test]
fn a_receipt_about_a_parcel_of_which_no_record_comes_back_waits_for_one_start_and_no_longer() {
    let root = tempfile::tempdir().unwrap();
    let mut pair = Pair::found(office(), root.path(), "").unwrap();
    lose_records_of_a_form(&mut pair);
    pair.joined = true;
    pair.minutes(3).unwrap();
    let waiting = |pair: &Pair<'_>| pair.station(HERE).spool.arrivals(OUT.back()).completed().unwrap().len();
    assert!(waiting(&pair) > 0, "its record may come back");
    // Others are heard meanwhile.
    let other = pair.drop_form("forms").unwrap();
    pair.minutes(3).unwrap();
    assert_eq!(pair.told("forms", &other).as_deref(), Some("delivered"));
    pair.stop(HERE);
    pair.restart(HERE).unwrap();
    pair.minutes(3).unwrap();
    assert_eq!(waiting(&pair), 0);
}

#[test]
fn what_the_index_knew_before_its_records_were_lost_is_known_by_every_later_start() {
    let root = tempfile::tempdir().unwrap();
    let mut pair = Pair::found(office(), root.path(), "").unwrap();
    pair.joined = false;
    let form = pair.drop_form("forms").unwrap();
    pair.minutes(1).unwrap();
    let records = segments(pair.station(HERE)).pop().unwrap();
    pair.carry(HERE, THERE).unwrap();
    pair.stop(HERE);
    pair.minutes(1).unwrap();
    let power = power_on(&mut pair, root.path(), HERE);
    let pages = fs::metadata(&records).unwrap().len().div_ceil(PAGE_BYTES);
    (0..pages).for_each(|page| power.spoil(&records, page * PAGE_BYTES).unwrap());
    for start in 0..3 {
        pair.restart(HERE).unwrap();
        let spool = &pair.station(HERE).spool;
        assert_eq!(spool.was_damaged(), start == 0);
        assert_eq!(spool.parcels(&spool::Filter::default(), 10).unwrap().len(), 1, "start {start}");
        assert!(!spool.records_may_return(), "nothing is to be waited for");
        pair.stop(HERE);
    }
    pair.restart(HERE).unwrap();
    pair.joined = true;
    pair.minutes(3).unwrap();
    assert_eq!(pair.told("forms", &form).as_deref(), Some("delivered"));
    assert!(pair.station(HERE).spool.arrivals(OUT.back()).completed().unwrap().is_empty());
}

#[test]
fn while_one_receipt_of_a_batch_waits_for_a_record_the_others_are_told_once() {
    let root = tempfile::tempdir().unwrap();
    let mut pair = Pair::found(office(), root.path(), "").unwrap();
    let form = lose_records_of_a_form(&mut pair);
    // One more, whose records are whole: both receipts come in one batch.
    let other = pair.drop_form("forms").unwrap();
    pair.minutes(1).unwrap();
    pair.carry(HERE, THERE).unwrap();
    pair.joined = true;
    pair.minutes(3).unwrap();
    assert_eq!(pair.told("forms", &form).as_deref(), Some("accepted"));
    assert_eq!(pair.told("forms", &other).as_deref(), Some("delivered"));
    // The app has read it.
    let notices = pair.station(HERE).layout().notices(&protocol::Name::new("forms").unwrap());
    let told = |notices: &Path| fs::read_dir(notices).unwrap().count();
    for notice in fs::read_dir(&notices).unwrap() {
        fs::remove_file(notice.unwrap().path()).unwrap();
    }
    pair.hours(2).unwrap();
    assert!(!pair.station(HERE).spool.arrivals(OUT.back()).completed().unwrap().is_empty(), "a batch waits");
    assert_eq!(told(&notices), 0, "told again");
    assert!(pair.stands(HERE, Alarm::LedgerDamaged));
}
