//! Stories of a disk on which a sector has gone bad: a node starts on it, and nothing that was promised is removed
//! because it could not be read.

use super::*;
use crate::disk::PAGE_BYTES;

fn small(number: u8, sequence: u64) -> Small {
    let bytes = vec![number; 300];
    Small { id: id(number), kind: EntryKind::Bundle, priority: Priority::Normal, epoch: 7, sequence, bytes }
}

/// Bundles that wait, each recorded, all in one segment.
fn wait(spool: &Spool, numbers: std::ops::Range<u8>) {
    let group: Vec<Small> = numbers.map(|number| small(number, number.into())).collect();
    spool.outbox(HOP).stage(&group).unwrap();
    for one in &group {
        spool.record(accepted(one.id, one.id, one.epoch, one.sequence), Local::none()).unwrap();
        spool.outbox(HOP).publish(&[one.id]);
    }
}

fn waiting(spool: &Spool) -> BTreeSet<BundleId> {
    spool.outbox(HOP).entries().unwrap().into_iter().map(|entry| entry.id).collect()
}

fn only_segment(world: &World) -> std::path::PathBuf {
    let dir = world.setup().root.join("queues/outbox").join(HOP.to_string());
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.pop().unwrap()
}

#[test]
fn bundles_that_wait_are_found_behind_a_header_that_cannot_be_read() {
    let world = World::new();
    wait(&world.open(), 1..40);
    let path = only_segment(&world);
    let whole = fs::read(&path).unwrap();
    let mut flipped = whole.clone();
    flipped[0] ^= 8;
    fs::write(&path, &flipped).unwrap();
    let spool = world.open();
    assert_eq!(waiting(&spool), (1..40).map(id).collect());
    assert!(spool.kept_unread().is_empty(), "nothing is missing, so nobody is alarmed");
    drop(spool);
    fs::write(&path, &whole).unwrap();
    let (setup, power) = powered(&world);
    power.spoil(&path, 0).unwrap();
    let spool = Spool::open(setup).unwrap();
    let left = waiting(&spool);
    let all: BTreeSet<BundleId> = (1..40).map(id).collect();
    assert!(left.len() > 20 && left.is_subset(&all) && left != all);
    assert_eq!(spool.kept_unread(), std::slice::from_ref(&path));
    for entry in spool.outbox(HOP).entries().unwrap() {
        spool.outbox(HOP).remove(&entry).unwrap();
    }
    drop(spool);
    assert_eq!(fs::read(&path).unwrap().len(), whole.len(), "what nobody could read is still there");
    assert!(waiting(&world.open()).is_superset(&all.difference(&left).copied().collect()));
}

#[test]
fn a_segment_of_which_all_that_could_be_read_has_gone_is_kept_while_something_is_missing() {
    let world = World::new();
    wait(&world.open(), 1..3);
    let path = only_segment(&world);
    let mut bytes = fs::read(&path).unwrap();
    let rest = bytes.split_off(16);
    bytes.resize(PAGE_BYTES as usize, 0);
    fs::write(&path, &bytes).unwrap();
    let spool = world.open();
    assert!(waiting(&spool).is_empty());
    assert_eq!(spool.kept_unread(), std::slice::from_ref(&path));
    drop(spool);
    bytes.truncate(16);
    bytes.extend(rest);
    fs::write(&path, &bytes).unwrap();
    assert_eq!(waiting(&world.open()), BTreeSet::from([id(1), id(2)]));
}

#[test]
fn the_torn_end_of_what_nobody_was_promised_goes_and_alarms_nobody() {
    let world = World::new();
    let spool = world.open();
    spool.outbox(HOP).stage(&[small(1, 1)]).unwrap();
    drop(spool);
    let path = only_segment(&world);
    for cut in [30, 100] {
        let whole = fs::read(&path).unwrap();
        fs::write(&path, [&whole[..cut], &[0xaa; 50]].concat()).unwrap();
        let spool = world.open();
        assert!(spool.kept_unread().is_empty() && !path.exists());
        drop(spool);
        fs::write(&path, whole).unwrap();
    }
}

/// A ledger of several segments, and a record in each.
fn many_records(world: &World) -> Head {
    let sizes = Sizes { segment_bytes: 16 << 10, checkpoint_records: 64, scrub_level: 6 };
    let spool = Spool::open_sized(world.setup(), sizes).unwrap();
    for n in 1..=250 {
        spool.record(arrived(id(n), n.into()), Local::none()).unwrap();
    }
    spool.write_checkpoint().unwrap();
    spool.head()
}

fn is_proven(spool: &Spool, before: &Head) -> bool {
    let (head, proof) = spool.consistency(before.size).unwrap();
    ledger::verify_consistency(Suite::Std, before, &head, &proof)
}

#[test]
fn a_node_starts_with_a_bad_sector_anywhere_in_its_last_ledger_segment_and_the_segment_is_kept() {
    for page in [0, 1, 2] {
        let world = World::new();
        let before = many_records(&world);
        let last = world.segments().pop().unwrap();
        let whole = fs::read(&last.path).unwrap();
        let (setup, power) = powered(&world);
        let place = page * PAGE_BYTES;
        if place >= whole.len() as u64 {
            continue;
        }
        power.spoil(&last.path, place).unwrap();
        let spool = Spool::open(setup.clone()).unwrap();
        assert!(spool.was_damaged() && !damaged(&spool).is_empty(), "page {page}");
        assert!(is_proven(&spool, &before), "page {page}");
        spool.record(accepted(id(251), id(251), 3, 1), Local::none()).unwrap();
        drop(spool);
        let kept = world.segments().into_iter().find(|one| one.first == last.first).unwrap();
        assert_eq!((kept.health, fs::read(&kept.path).unwrap()), (Health::Sealed, whole), "page {page}");
        let spool = Spool::open(setup).unwrap();
        assert!(!spool.was_damaged() && is_proven(&spool, &before), "what was set aside is told once");
        assert!(spool.bundle_recorded(&id(251)).unwrap());
    }
}

#[test]
fn a_node_starts_with_a_bad_sector_in_any_level_of_its_ledger_and_loses_nothing() {
    for level in 0..3 {
        let world = World::new();
        let before = many_records(&world);
        let path = world.dir.path().join(format!("ledger/level-{level}"));
        let (setup, power) = powered(&world);
        let last = fs::metadata(&path).unwrap().len() - 32;
        power.spoil(&path, last).unwrap();
        for first in [true, false] {
            let spool = Spool::open(setup.clone()).unwrap();
            assert!(is_proven(&spool, &before), "level {level}");
            assert!(damaged(&spool).is_empty() && spool.was_damaged() == first, "level {level}");
            spool.record(accepted(id(251), id(251), 3, 1), Local::none()).unwrap();
            assert_eq!(spool.scrub().unwrap().unreadable, vec![]);
        }
    }
}

#[test]
fn the_scrub_goes_round_a_bad_sector_and_waits_for_a_disk_that_reads_nothing_for_a_while() {
    let world = World::new();
    many_records(&world);
    let (setup, power) = powered(&world);
    let sizes = Sizes { segment_bytes: 16 << 10, checkpoint_records: 64, scrub_level: 6 };
    let spool = Spool::open_sized(setup, sizes).unwrap();
    power.set_weather(Some(Weather { fault: Fault::Unreadable, one_in: 1 }));
    let before = spool.scrubbed();
    assert_eq!(spool.scrub_step(Timestamp(1_000)).unwrap().next, before.next);
    power.set_weather(None);
    let first = world.segments().remove(0);
    let whole = fs::read(&first.path).unwrap();
    let mut now = 2_000;
    let mut round = |spool: &Spool| {
        let passes = spool.scrubbed().passes;
        for _ in 0..1_000 {
            now += 30_000;
            if spool.scrub_step(Timestamp(now)).unwrap().passes > passes {
                return spool.scrubbed();
            }
        }
        panic!("the scrub stands still");
    };
    assert_eq!((round(&spool).damaged, round(&spool).unsound), (0, false));
    power.spoil(&first.path, PAGE_BYTES).unwrap();
    assert!(round(&spool).damaged > 0);
    let kept = world.segments().remove(0);
    assert_eq!((kept.health, fs::read(&kept.path).unwrap()), (Health::Sealed, whole));
    let told = spool.scrubbed().damaged;
    assert_eq!(round(&spool).damaged, told, "and only once");
}

#[test]
fn bundles_whose_records_the_ledger_lost_are_kept_when_the_index_is_made_anew() {
    let world = World::new();
    let spool = world.open();
    let (epoch, _) = spool.next_number(HOP).unwrap();
    let group: Vec<Small> = (1..20).map(|number| Small { epoch, ..small(number, number.into()) }).collect();
    spool.outbox(HOP).stage(&group).unwrap();
    for one in &group {
        spool.record(accepted(one.id, one.id, epoch, one.sequence), Local::none()).unwrap();
    }
    drop(spool);
    let path = only_segment(&world);
    let whole = fs::read(&path).unwrap();
    let records = world.segments().pop().unwrap().path;
    let mut bytes = fs::read(&records).unwrap();
    let half = bytes.len() / 2;
    bytes[half..].fill(0);
    fs::write(&records, bytes).unwrap();
    for start in 0..3 {
        let spool = world.open();
        spool.rebuild_index().unwrap();
        drop(spool);
        let spool = world.open();
        let left = waiting(&spool);
        assert!(!left.is_empty() && left.len() < 19, "{} of 19 at start {start}", left.len());
        assert_eq!(spool.kept_unread(), std::slice::from_ref(&path), "start {start}");
        spool.outbox(HOP).entries().unwrap().iter().for_each(|entry| assert!(left.contains(&entry.id)));
        drop(spool);
        assert_eq!(fs::read(&path).unwrap(), whole);
    }
    // What a later process staged and never recorded is known for what it is.
    let spool = world.open();
    let (epoch, sequence) = spool.next_number(HOP).unwrap();
    spool.outbox(HOP).stage(&[Small { epoch, ..small(100, sequence) }]).unwrap();
    drop(spool);
    assert_eq!(world.open().kept_unread(), [path]);
}
