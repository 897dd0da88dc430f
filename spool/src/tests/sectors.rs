//! Stories of a disk on which a sector has gone bad: a node starts on it, and nothing that was promised is removed
//! because it could not be read.

use super::*;
use crate::carried::level_of;
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
    many_records_by(world, 16 << 10)
}

fn many_records_by(world: &World, segment_bytes: usize) -> Head {
    let sizes = Sizes { segment_bytes, checkpoint_records: 64, scrub_level: 6 };
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

/// Records that a start could not read, those of its process's beginning among them, are read again by the next.
#[test]
fn records_that_could_not_be_read_for_a_moment_cost_no_bundle_of_their_time() {
    for index_is_behind in [true, false] {
        let world = World::new();
        drop(world.open());
        let spool = Spool::open(Setup { now: Timestamp(world.setup().now.0 + 60_000), ..world.setup() }).unwrap();
        let (epoch, _) = spool.next_number(HOP).unwrap();
        let group: Vec<Small> = (1..20).map(|number| Small { epoch, ..small(number, number.into()) }).collect();
        spool.outbox(HOP).stage(&group).unwrap();
        for one in &group {
            spool.record(accepted(one.id, one.id, epoch, one.sequence), Local::none()).unwrap();
        }
        for n in 100..200 {
            spool.record(arrived(id(n), n.into()), Local::none()).unwrap();
        }
        spool.write_checkpoint().unwrap();
        drop(spool);
        if index_is_behind {
            fs::remove_file(world.dir.path().join("index/index.redb")).unwrap();
        }
        let path = only_segment(&world);
        let whole = fs::read(&path).unwrap();
        let (mut setup, power) = powered(&world);
        setup.now = Timestamp(setup.now.0 + 120_000);
        let records = world.segments().pop().unwrap().path;
        assert!(fs::metadata(&records).unwrap().len() > 3 * PAGE_BYTES);
        (0..2).for_each(|page| power.spoil(&records, page * PAGE_BYTES).unwrap());
        let spool = Spool::open(setup.clone()).unwrap();
        assert!(!damaged(&spool).is_empty() && spool.lost_through().unwrap().is_some_and(|through| epoch <= through));
        drop(spool);
        assert_eq!(fs::read(&path).unwrap(), whole);
        power.heal();
        for _ in 0..2 {
            let spool = Spool::open(setup.clone()).unwrap();
            assert!(waiting(&spool).into_iter().eq((1..20).map(id)), "index behind: {index_is_behind}");
            assert!(spool.kept_unread().is_empty());
        }
    }
}

/// The records of a process are lost, the beginning of its epoch among them, and the clock stands an hour back: what it
/// numbered stands in the outbox, and none of those numbers is used again.
#[test]
fn an_epoch_whose_records_are_lost_does_not_begin_again_while_a_bundle_of_it_stands_in_the_outbox() {
    let world = World::new();
    drop(world.open());
    let spool = Spool::open(Setup { now: Timestamp(world.setup().now.0 + 3_600_000), ..world.setup() }).unwrap();
    let (epoch, sequence) = spool.next_number(HOP).unwrap();
    spool.outbox(HOP).stage(&[Small { epoch, ..small(1, sequence) }]).unwrap();
    spool.record(accepted(id(1), id(1), epoch, sequence), Local::none()).unwrap();
    spool.write_checkpoint().unwrap();
    drop(spool);
    fs::remove_file(world.dir.path().join("index/index.redb")).unwrap();
    let records = world.segments().pop().unwrap().path;
    fs::write(&records, vec![0; usize::try_from(fs::metadata(&records).unwrap().len()).unwrap()]).unwrap();
    let spool = world.open();
    assert!(!damaged(&spool).is_empty());
    assert!(spool.next_number(HOP).unwrap().0 > epoch);
}

/// What the disk did not give at the first reading of a start, and gave at the second: nothing is lost, and what a later
/// process leaves half done is known for what it is.
#[test]
fn a_ledger_segment_that_was_set_aside_whole_puts_nothing_in_doubt() {
    let world = World::new();
    drop(world.open());
    let one = world.segments().pop().unwrap();
    fs::rename(&one.path, one.path.with_extension("damaged")).unwrap();
    let spool = world.open();
    assert!(spool.was_damaged());
    assert_eq!(spool.lost_through().unwrap(), None);
    let (epoch, sequence) = spool.next_number(HOP).unwrap();
    spool.outbox(HOP).stage(&[Small { epoch, ..small(100, sequence) }]).unwrap();
    drop(spool);
    let spool = world.open();
    assert!(!spool.was_damaged() && spool.kept_unread().is_empty() && waiting(&spool).is_empty());
}

/// A leaf is a digest like any other: what a failed sync or a cut of power left of it says nothing against its record.
#[test]
fn a_leaf_that_is_spoiled_makes_no_record_a_lost_one_when_the_tree_is_begun_anew() {
    // The leaf; the one beside it as well; and what stands above them.
    for spoiled in
        [&[(0, 100)][..], &[(0, 101)], &[(0, 100), (0, 101)], &[(0, 100), (1, 50)], &[(0, 100), (0, 101), (1, 50)]]
    {
        for byte in [0, 31] {
            let world = World::new();
            let before = many_records(&world);
            for (number, index) in spoiled {
                let mut bytes = fs::read(level(&world, *number)).unwrap();
                bytes[index * 32 + byte] ^= 1;
                fs::write(level(&world, *number), bytes).unwrap();
            }
            ask_for_new_tree(&world);
            let spool = world.open();
            assert!(is_proven(&spool, &before), "{spoiled:?}");
            assert_eq!((damaged(&spool), spool.scrub().unwrap().unreadable), (vec![], vec![]), "{spoiled:?}");
            assert!(world.segments().iter().all(|one| one.health == Health::Sound), "{spoiled:?}");
        }
    }
}

/// A world like another one, on files of its own.
fn like(world: &World) -> World {
    fn copy(from: &Path, to: &Path) {
        for file in fs::read_dir(from).unwrap() {
            let (from, to) = (file.as_ref().unwrap().path(), to.join(file.unwrap().file_name()));
            if from.is_dir() {
                fs::create_dir(&to).unwrap();
                copy(&from, &to);
            } else {
                fs::copy(&from, &to).unwrap();
            }
        }
    }
    let other = World { dir: tempfile::tempdir().unwrap(), key: world.key.clone() };
    copy(world.dir.path(), other.dir.path());
    other
}

/// One bit of a record in the middle of the first segment: it is known to no checksum any more, only to the tree.
fn lose_a_record(world: &World) {
    let path = world.segments().remove(0).path;
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(&path, bytes).unwrap();
}

fn level(world: &World, level: u32) -> std::path::PathBuf {
    world.dir.path().join(format!("ledger/level-{level}"))
}

#[test]
fn a_death_while_the_tree_is_begun_anew_costs_no_leaf_of_a_record_that_is_lost() {
    let first = World::new();
    let before = many_records(&first);
    lose_a_record(&first);
    for (number, cut, step) in [(0, false, 7), (0, true, 5), (2, true, 19)] {
        for effects in (0..).step_by(step) {
            let world = like(&first);
            let (setup, power) = powered(&world);
            let path = level(&world, number);
            power.spoil(&path, fs::metadata(&path).unwrap().len() - 32).unwrap();
            let fuse = Fuse::after(effects);
            let disk = Disk::with_power(power.clone(), fuse.clone());
            let lived = Spool::open(Setup { disk, ..setup.clone() }).is_ok();
            if cut {
                power.cut().unwrap();
            }
            let spool = Spool::open(setup.clone()).unwrap();
            assert!(is_proven(&spool, &before), "level {number}, {effects} effects");
            assert!(lived || spool.was_damaged(), "level {number}, {effects} effects: it is told");
            let lost = damaged(&spool);
            assert!(!lost.is_empty() && lost.iter().all(|one| *one == lost[0]), "level {number}, {effects} effects");
            drop(spool);
            let spool = Spool::open(setup).unwrap();
            assert!(is_proven(&spool, &before), "level {number}, {effects} effects");
            assert!(!spool.was_damaged(), "level {number}, {effects} effects: it is told once");
            if lived && !fuse.burnt() {
                assert!(effects > 40, "{effects}");
                break;
            }
        }
    }
}

#[test]
fn a_failed_sync_of_the_tree_costs_no_leaf_of_a_record_that_is_lost() {
    for fault in [Fault::Unsynced, Fault::Broken] {
        let world = World::new();
        let before = many_records(&world);
        lose_a_record(&world);
        let (setup, power) = powered(&world);
        let spool = Spool::open(setup.clone()).unwrap();
        spool.record(arrived(id(251), 251), Local::none()).unwrap();
        power.set_weather(Some(Weather { fault, one_in: 1 }));
        assert!(spool.write_checkpoint().is_err());
        power.set_weather(None);
        drop(spool);
        power.cut().unwrap();
        let spool = Spool::open(setup).unwrap();
        assert!(is_proven(&spool, &before) && spool.parcel(&id(251)).unwrap().is_some(), "{fault:?}");
        assert_eq!(spool.scrub().unwrap().unreadable.len(), 1, "{fault:?}");
    }
}

#[test]
fn a_spoiled_digest_and_a_lost_record_together_keep_no_node_from_starting() {
    for number in 0..8 {
        let world = World::new();
        let before = many_records(&world);
        lose_a_record(&world);
        let path = level(&world, number);
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&path, bytes).unwrap();
        let spool = world.open();
        assert!(is_proven(&spool, &before), "level {number}");
        let found = spool.scrub().unwrap();
        assert_eq!(found.unreadable.len(), 1, "level {number}");
    }
}

#[test]
fn a_lost_record_whose_leaf_stands_in_a_bad_sector_keeps_no_node_from_starting() {
    let world = World::new();
    let before = many_records(&world);
    lose_a_record(&world);
    let (setup, power) = powered(&world);
    power.spoil(&level(&world, 0), 0).unwrap();
    power.spoil(&level(&world, 2), fs::metadata(level(&world, 2)).unwrap().len() - 32).unwrap();
    for first in [true, false] {
        let spool = Spool::open(setup.clone()).unwrap();
        assert!(is_proven(&spool, &before) && spool.was_damaged() == first);
        assert_eq!(damaged(&spool).len(), 1);
    }
}

#[test]
fn a_tree_that_takes_no_bytes_beside_a_bad_sector_is_begun_anew() {
    let world = World::new();
    let before = many_records_by(&world, 4 << 10);
    let (setup, power) = powered(&world);
    power.spoil(&level(&world, 0), 0).unwrap();
    // Another key than the one that signed the checkpoint: all of the tree is computed again.
    let key = SigningKey::generate(Suite::Std);
    let spool = Spool::open(Setup { key: key.into(), ..setup }).unwrap();
    assert!(is_proven(&spool, &before));
    assert!(spool.was_damaged());
    assert_eq!(spool.scrub().unwrap().unreadable, vec![]);
}

const SIZES: Sizes = Sizes { segment_bytes: 16 << 10, checkpoint_records: 64, scrub_level: 6 };

/// A pass of the scrub from its begin to its end, by a clock that goes on.
fn scrubbed(spool: &Spool, now: &mut u64) -> Progress {
    while spool.scrubbed().next < spool.scrubbed().of {
        *now += 30_000;
        spool.scrub_step(Timestamp(*now)).unwrap();
    }
    let passes = spool.scrubbed().passes;
    for _ in 0..1_000 {
        *now += 30_000;
        if spool.scrub_step(Timestamp(*now)).unwrap().passes > passes {
            return spool.scrubbed();
        }
    }
    panic!("the scrub stands still");
}

#[test]
fn a_bad_sector_amid_the_tree_is_told_until_the_next_start_which_begins_the_tree_anew() {
    for number in 0..2 {
        let world = World::new();
        let before = many_records(&world);
        let (setup, power) = powered(&world);
        let spool = Spool::open_sized(setup.clone(), SIZES).unwrap();
        power.spoil(&level(&world, number), 0).unwrap();
        let mut now = 1_000;
        for _ in 0..2 {
            let found = scrubbed(&spool, &mut now);
            assert_eq!((found.unsound, found.damaged), (true, 0), "level {number}");
        }
        drop(spool);
        for first in [true, false] {
            let spool = Spool::open_sized(setup.clone(), SIZES).unwrap();
            assert_eq!(spool.was_damaged(), first, "level {number}");
            let found = scrubbed(&spool, &mut now);
            assert_eq!((found.unsound, found.damaged, found.mended), (false, 0, 0), "level {number}");
            assert!(is_proven(&spool, &before), "level {number}");
        }
    }
}

#[test]
fn a_tree_that_cannot_be_read_for_a_while_makes_no_record_a_lost_one() {
    for lasting in [false, true] {
        let world = World::new();
        many_records(&world);
        let (setup, power) = powered(&world);
        let spool = Spool::open_sized(setup.clone(), SIZES).unwrap();
        for (number, page) in [(0, 0), (0, 1), (1, 0), (2, 0)] {
            power.spoil(&level(&world, number), page * PAGE_BYTES).unwrap();
        }
        let mut now = 1_000;
        if lasting {
            assert_eq!(scrubbed(&spool, &mut now).damaged, 0);
            assert!(spool.scrubbed().unsound);
        } else {
            assert_eq!(spool.scrub_step(Timestamp(now)).unwrap().next, 0, "it waits");
        }
        power.heal();
        let found = scrubbed(&spool, &mut now);
        assert_eq!((found.unsound, found.damaged), (false, 0));
        assert!(damaged(&spool).is_empty() && world.segments().iter().all(|one| one.health == Health::Sound));
        drop(spool);
        assert!(!Spool::open_sized(setup, SIZES).unwrap().was_damaged(), "nothing is left to be told");
    }
}

#[test]
fn a_bundle_that_nobody_can_read_is_kept_for_as_long_as_its_record_may_be_a_lost_one() {
    let world = World::new();
    let spool = world.open();
    let (epoch, sequence) = spool.next_number(HOP).unwrap();
    let one = Small { epoch, sequence, ..small(1, 1) };
    spool.outbox(HOP).stage(std::slice::from_ref(&one)).unwrap();
    spool.record(accepted(one.id, one.id, epoch, sequence), Local::none()).unwrap();
    drop(spool);
    // The head of its frame, its record, and the index that knew both.
    let path = only_segment(&world);
    let mut whole = fs::read(&path).unwrap();
    whole[20] ^= 1;
    fs::write(&path, &whole).unwrap();
    let records = world.segments().pop().unwrap().path;
    let mut bytes = fs::read(&records).unwrap();
    let place = bytes.windows(16).rposition(|window| window == one.id.0).unwrap();
    bytes[place] ^= 1;
    fs::write(&records, bytes).unwrap();
    fs::remove_file(world.dir.path().join("index/index.redb")).unwrap();
    for start in 0..3 {
        let spool = world.open();
        assert_eq!(spool.kept_unread(), std::slice::from_ref(&path), "start {start}");
        assert_eq!(fs::read(&path).unwrap(), whole, "start {start}");
    }
    // The torn end of what a later process wrote is known for what it is.
    let spool = world.open();
    let (epoch, sequence) = spool.next_number(HOP).unwrap();
    spool
        .outbox(HOP)
        .stage(&[Small { epoch, ..small(100, sequence) }, Small { epoch, ..small(101, sequence + 1) }])
        .unwrap();
    drop(spool);
    let later = path.with_file_name(format!("{:016x}.seg", 2));
    let torn = fs::read(&later).unwrap();
    fs::write(&later, &torn[..torn.len() - 320]).unwrap();
    let spool = world.open();
    assert_eq!(spool.kept_unread(), std::slice::from_ref(&path));
    assert!(!later.exists());
    // Until somebody says that nobody waits for it.
    assert_eq!(spool.set_kept_aside().unwrap(), (1, 0));
    assert!(spool.kept_unread().is_empty());
    drop(spool);
    let spool = world.open();
    assert!(spool.kept_unread().is_empty());
    assert_eq!(fs::read(path.with_extension("aside")).unwrap(), whole, "and it is still there");
    spool.outbox(HOP).stage(&[small(102, 9)]).unwrap();
    assert!(!path.exists(), "its number is not given again");
}

/// Entries of 20 KB, so that a page lies within one of them.
fn medium(number: u8) -> Small {
    Small { bytes: vec![number; 20_000], ..small(number, number.into()) }
}

fn read_whole(spool: &Spool, entry: &Entry) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut content = spool.outbox(HOP).content(entry)?;
    std::io::Read::read_to_end(&mut content, &mut bytes)?;
    Ok(bytes)
}

fn entry_of(spool: &Spool, number: u8) -> Entry {
    spool.outbox(HOP).find(&id(number)).unwrap().unwrap()
}

#[test]
fn a_bundle_that_the_disk_does_not_give_is_noted_until_it_can_be_read_or_has_gone() {
    let world = World::new();
    let (setup, power) = powered(&world);
    let spool = Spool::open(setup).unwrap();
    let outbox = spool.outbox(HOP);
    let group: Vec<Small> = (1..5).map(medium).collect();
    outbox.stage(&group).unwrap();
    outbox.publish(&group.iter().map(|one| one.id).collect::<Vec<_>>());
    let staged = spool.layout().sealing().join("large");
    spool.disk().write(&staged, &vec![9; 600_000]).unwrap();
    outbox.commit(&staged, &id(9), EntryKind::Bundle, Priority::Normal, 1, 9).unwrap();
    let unread = || outbox.unread(10).0.into_iter().map(|entry| entry.id).collect::<Vec<_>>();
    for number in [2, 9] {
        let entry = entry_of(&spool, number);
        power.spoil(&entry.path, entry.offset + 10_000).unwrap();
        assert!(read_whole(&spool, &entry).is_err());
    }
    for number in [1, 3, 4] {
        assert_eq!(read_whole(&spool, &entry_of(&spool, number)).unwrap(), medium(number).bytes);
    }
    assert_eq!((unread(), outbox.unread(1).0.len(), outbox.unread(1).1), (vec![id(2), id(9)], 1, 2));
    // Bytes beside the bad place say nothing of it; a look asks the disk once until it fails.
    outbox.content(&entry_of(&spool, 9)).unwrap().read_exact_at(&mut [0; 512], 500_000).unwrap();
    let faults = power.faults();
    for _ in 0..4 {
        outbox.look_at_unread();
    }
    assert_eq!((unread(), power.faults() - faults), (vec![id(2), id(9)], 4));
    // One can be read again: it has its turn though the other fails; what has gone is not noted any more.
    power.heal();
    let bad = entry_of(&spool, 2);
    power.spoil(&bad.path, bad.offset + 10_000).unwrap();
    outbox.look_at_unread();
    outbox.look_at_unread();
    assert_eq!(unread(), [id(2)]);
    outbox.remove(&bad).unwrap();
    assert_eq!(outbox.unread(10), (Vec::new(), 0));
    // Whoever reads all of the place that failed knows that it can be read.
    let large = entry_of(&spool, 9);
    power.spoil(&large.path, 0).unwrap();
    assert!(read_whole(&spool, &large).is_err());
    power.heal();
    assert_eq!((unread(), read_whole(&spool, &large).unwrap().len(), unread()), (vec![id(9)], 600_000, vec![]));
}

#[test]
fn a_body_that_cannot_be_read_keeps_its_segment_and_no_other_entry_of_it() {
    const ENTRIES: u8 = 60;
    let world = World::new();
    let spool = world.open();
    let group: Vec<Small> = (1..=ENTRIES).map(medium).collect();
    spool.outbox(HOP).stage(&group).unwrap();
    for one in &group {
        spool.record(accepted(one.id, one.id, one.epoch, one.sequence), Local::none()).unwrap();
        spool.outbox(HOP).publish(&[one.id]);
    }
    drop(spool);
    let (setup, power) = powered(&world);
    let spool = Spool::open(setup).unwrap();
    let path = only_segment(&world);
    let bad = entry_of(&spool, 55);
    power.spoil(&path, bad.offset + 10_000).unwrap();
    // Every one of them that goes is let go, and the rest is moved once.
    for number in 1..50 {
        spool.outbox(HOP).remove(&entry_of(&spool, number)).unwrap();
    }
    assert_eq!(power.faults(), 1, "one bad body is read once, however many entries go");
    let left: BTreeSet<BundleId> = (50..=ENTRIES).map(id).collect();
    assert_eq!(waiting(&spool), left);
    for number in (50..=ENTRIES).filter(|number| *number != 55) {
        let entry = entry_of(&spool, number);
        assert!(*entry.path != *path && read_whole(&spool, &entry).unwrap() == medium(number).bytes);
    }
    assert_eq!((spool.outbox(HOP).unread(10), path.exists()), ((vec![bad.clone()], 1), true));
    drop(spool);
    // A start finds each once, and the one that could not be read is still where it was, for a better day.
    let spool = world.open();
    assert_eq!((waiting(&spool), read_whole(&spool, &bad).unwrap()), (left.clone(), medium(55).bytes));
    drop(spool);
    let (setup, power) = powered(&world);
    let spool = Spool::open(setup).unwrap();
    // Beside a bad page no byte can be written either; the entry goes all the same.
    power.spoil(&path, bad.offset - 43).unwrap();
    spool.outbox(HOP).remove(&bad).unwrap();
    assert!(!path.exists());
    assert_eq!(waiting(&spool), left.into_iter().filter(|one| *one != id(55)).collect());
}

/// A sync that fails says nothing of the files beside it, which a person has carried here.
#[test]
fn of_many_files_that_arrive_together_only_those_that_the_disk_will_not_sync_are_lost() {
    const FILES: u8 = 20;
    let (mut some, mut all) = (0, 0);
    for one_in in 3..30 {
        let world = World::new();
        let (setup, power) = powered(&world);
        let spool = Spool::open(setup).unwrap();
        let place = spool.layout().desk_incoming().join("trip");
        spool.disk().create_dir_all(&place).unwrap();
        let files: Vec<Incoming> = (1..=FILES)
            .map(|number| {
                let path = place.join(format!("{number}.bundle"));
                spool.disk().write(&path, &[number; 100]).unwrap();
                Incoming { id: id(number), kind: EntryKind::Bundle, path }
            })
            .collect();
        power.set_weather(Some(Weather { fault: Fault::Unsynced, one_in }));
        let faults = power.faults();
        let taken = spool.arrivals(HOP.back()).take_files(&files);
        power.set_weather(None);
        let faults = usize::try_from(power.faults() - faults).unwrap();
        let complete = spool.arrivals(HOP.back()).completed().unwrap();
        assert!(complete.iter().all(|entry| fs::read(&entry.path).unwrap() == [entry.id.0[15]; 100]));
        let left = files.iter().filter(|file| file.path.exists()).count();
        assert_eq!(taken.is_err(), faults > 0, "whoever asked is told");
        assert!(complete.len() + left + faults >= usize::from(FILES), "one in {one_in}: a fault costs one file");
        some += usize::from(taken.is_err() && !complete.is_empty());
        all += usize::from(taken.is_ok() && complete.len() == usize::from(FILES));
    }
    assert!(some > 5 && all > 0, "{some} groups lost a file and {all} none");
}

/// One bad sector each in the first segment and in the lowest levels of the tree: records are lost, and so are their leaves.
fn lose_records_and_leaves(world: &World, power: &Power, levels: u32) {
    power.spoil(&world.segments().remove(0).path, PAGE_BYTES).unwrap();
    (0..levels).for_each(|number| power.spoil(&level(world, number), 0).unwrap());
}

fn ask_for_new_tree(world: &World) {
    fs::write(world.dir.path().join("ledger/renew-levels"), b"").unwrap();
}

/// The files of the ledger as a backup has them: zeros stand for a page that cannot be read.
fn backed_up(spool: &Spool) -> (Head, String, Vec<(std::path::PathBuf, Vec<u8>)>, Holding) {
    let (snapshot, mut carried, mut files) = (spool.snapshot().unwrap(), Carried::default(), Vec::new());
    snapshot
        .each(|item| {
            if item.path.starts_with("ledger") && !item.folder {
                let file = fs::File::open(&item.source).unwrap();
                let mut bytes = vec![0; item.bytes.unwrap_or(file.metadata().unwrap().len()) as usize];
                spool.disk().read_around(&file, &mut bytes, 0).unwrap();
                carried.take(&item, &[]);
                files.push((item.path, bytes));
            }
            Ok::<(), SpoolError>(())
        })
        .unwrap();
    let holding = carried.holds(spool.disk(), spool.ledger_suite(), &snapshot.head).unwrap();
    (snapshot.head, snapshot.checkpoint.clone(), files, holding)
}

/// What a restore elsewhere finds, in a folder of its own.
fn put_back(
    files: &[(std::path::PathBuf, Vec<u8>)],
    head: &Head,
) -> (tempfile::TempDir, crate::restore::Restoring, Holding) {
    let dir = tempfile::tempdir().unwrap();
    let node = Name::new("internet-1").unwrap();
    let mut restoring = crate::restore::Restoring::begin(dir.path(), &node, head.log, &Disk::real()).unwrap();
    for (path, bytes) in files {
        restoring.file(path, &mut &bytes[..], 0, false).unwrap();
    }
    let holding = restoring.old_ledger(Suite::Std, head).unwrap();
    (dir, restoring, holding)
}

#[test]
fn a_backup_of_a_node_that_lost_records_and_their_leaves_gives_its_head_and_names_them() {
    // What the node noticed before, and what nobody did; how many levels of the tree have a bad sector.
    for (noticed, levels) in [(false, 1), (true, 1), (false, 2), (true, 2), (false, 8)] {
        let world = World::new();
        many_records_by(&world, 8 << 10);
        let (setup, power) = powered(&world);
        let open = || Spool::open(setup.clone()).unwrap();
        let before = if noticed { None } else { Some(open()) };
        lose_records_and_leaves(&world, &power, levels);
        ask_for_new_tree(&world);
        let spool = before.unwrap_or_else(open);
        assert_eq!(!damaged(&spool).is_empty(), noticed);
        let (head, _, files, holding) = backed_up(&spool);
        assert!(!holding.lost.is_empty() && !holding.unknown.is_empty(), "{holding:?}");
        assert_eq!(holding.unreported.is_empty(), noticed, "{holding:?}");
        assert_eq!(holding.head == head, levels < 8, "{levels} levels: {holding:?}");
        let (dir, _restoring, found) = put_back(&files, &head);
        assert_eq!(found, holding, "{levels} levels");
        if levels == 8 {
            continue;
        }
        // What is put back is whole by itself: the damage stands in its files' names, and zeros stand for nothing.
        let former = dir.path().join("ledger/former/1");
        let again = Carried::of(&former).unwrap().holds(&Disk::real(), Suite::Std, &head).unwrap();
        assert_eq!(again, holding, "{levels} levels");
        let segments = crate::segment::list(&former).unwrap();
        assert_eq!((segments[0].health, segments.last().unwrap().health), (Health::Sealed, Health::Sound));
        // As they were carried before: without the levels above, nothing says what the leaves were.
        let old: Vec<_> = files.into_iter().filter(|(path, _)| level_of(path).is_none_or(|level| level == 0)).collect();
        assert_ne!(put_back(&old, &head).2.head, head);
    }
}

#[test]
fn a_backup_from_before_the_levels_were_carried_is_restored_where_every_leaf_is_known() {
    let world = World::new();
    many_records_by(&world, 8 << 10);
    let (setup, power) = powered(&world);
    let spool = Spool::open(setup).unwrap();
    power.spoil(&world.segments().remove(0).path, PAGE_BYTES).unwrap();
    let (head, _, files, _) = backed_up(&spool);
    let old: Vec<_> = files.into_iter().filter(|(path, _)| level_of(path).is_none_or(|level| level == 0)).collect();
    let (_dir, _restoring, found) = put_back(&old, &head);
    assert_eq!((found.head, found.unknown.len(), found.lost.is_empty()), (head, 0, false));
}

#[test]
fn a_leaf_or_a_record_that_was_changed_keeps_no_backup_from_its_head_where_the_tree_says_which_of_them() {
    for spoiled in ["record", "leaf"] {
        let world = World::new();
        many_records_by(&world, 8 << 10);
        let spool = world.open();
        if spoiled == "record" {
            // With a checksum that fits: only the tree knows.
            let path = world.segments().remove(0).path;
            let mut bytes = fs::read(&path).unwrap();
            let was = arrived(id(9), 9).to_bytes();
            let place = bytes.windows(was.len()).position(|window| window == was).unwrap() - 12;
            let frame = crate::segment::frame(&arrived(id(9), 8).to_bytes(), b"");
            bytes[place..place + frame.len()].copy_from_slice(&frame);
            fs::write(&path, bytes).unwrap();
        } else {
            let mut bytes = fs::read(level(&world, 0)).unwrap();
            bytes[9 * 32] ^= 1;
            fs::write(level(&world, 0), bytes).unwrap();
        }
        let (head, _, files, holding) = backed_up(&spool);
        assert_eq!((holding.head, holding.lost.len()), (head, usize::from(spoiled == "record")), "{spoiled}");
        assert_eq!(put_back(&files, &head).2, holding, "{spoiled}");
    }
}

#[test]
fn a_failed_sync_of_the_tree_costs_no_digest_above_a_leaf_that_is_lost() {
    for (fault, cut, levels) in
        [(Fault::Unsynced, false, 1), (Fault::Unsynced, true, 2), (Fault::Broken, false, 2), (Fault::Broken, true, 1)]
    {
        let world = World::new();
        let before = many_records_by(&world, 8 << 10);
        let (setup, power) = powered(&world);
        lose_records_and_leaves(&world, &power, levels);
        ask_for_new_tree(&world);
        let spool = Spool::open(setup.clone()).unwrap();
        assert!(is_proven(&spool, &before));
        let lost = spool.scrub().unwrap().unreadable;
        spool.record(arrived(id(251), 251), Local::none()).unwrap();
        power.set_weather(Some(Weather { fault, one_in: 1 }));
        assert!(spool.write_checkpoint().is_err());
        power.set_weather(None);
        drop(spool);
        if cut {
            power.cut().unwrap();
        }
        for start in 0..2 {
            let spool = Spool::open(setup.clone()).unwrap();
            assert!(is_proven(&spool, &before), "{fault:?}, start {start}");
            assert!(spool.parcel(&id(251)).unwrap().is_some(), "{fault:?}");
            assert_eq!(spool.scrub().unwrap().unreadable, lost, "{fault:?}, start {start}");
            // What is signed from here on is durable: the files whose sync failed are not those it is over.
            spool.write_checkpoint().unwrap();
            drop(spool);
            power.cut().unwrap();
        }
    }
}

#[test]
fn a_start_that_dies_anywhere_while_one_tree_takes_the_others_place_loses_nothing_that_only_the_tree_knew() {
    let first = World::new();
    let before = many_records_by(&first, 8 << 10);
    for levels in [1, 3] {
        for effects in 0.. {
            let world = like(&first);
            let (setup, power) = powered(&world);
            lose_records_and_leaves(&world, &power, levels);
            ask_for_new_tree(&world);
            let until = |effects: u64| {
                let fuse = Fuse::after(effects);
                let disk = Disk::with_power(power.clone(), fuse.clone());
                Spool::open(Setup { disk, ..setup.clone() }).is_ok() && !fuse.burnt()
            };
            let lived = until(effects);
            // And the next one too, sooner or later.
            until(effects / 2 + 3);
            until(effects + 1);
            if effects % 2 == 1 {
                power.cut().unwrap();
            }
            for start in 0..2 {
                let spool = Spool::open(setup.clone()).unwrap_or_else(|error| panic!("{levels}, {effects}: {error}"));
                assert!(is_proven(&spool, &before), "{levels} levels, {effects} effects, start {start}");
                assert!(!spool.scrub().unwrap().unreadable.is_empty());
            }
            if lived {
                assert!(effects > 60, "{effects}");
                break;
            }
        }
    }
}

#[test]
fn a_checkpoint_outlives_no_level_that_it_is_over() {
    /// A first start, records for several levels, and a checkpoint: the effects of them.
    fn story(world: &World, power: &Power, effects: u64) -> u64 {
        let fuse = Fuse::after(effects);
        let disk = Disk::with_power(power.clone(), fuse.clone());
        let Ok(spool) = Spool::open(Setup { disk, ..world.setup() }) else { return fuse.used() };
        for n in 1..=20 {
            let _recorded = spool.record(arrived(id(n), n.into()), Local::none());
        }
        let _written = spool.write_checkpoint();
        fuse.used()
    }
    let powered = |seed| {
        let world = World::new();
        let graveyard = world.dir.path().with_extension("grave");
        fs::create_dir_all(&graveyard).unwrap();
        (world, Power::on(&graveyard, seed).unwrap())
    };
    let (world, power) = powered(0);
    let all = story(&world, &power, u64::MAX);
    for seed in 0..40 {
        // The process dies while it writes the checkpoint's note, and then the power goes.
        for effects in all - 4..=all {
            let (world, power) = powered(seed);
            story(&world, &power, effects);
            power.cut().unwrap();
            let disk = Disk::with_power(power, Fuse::after(u64::MAX));
            let spool = Spool::open(Setup { disk, ..world.setup() }).unwrap();
            assert!(!spool.was_damaged(), "seed {seed}, {effects} of {all} effects");
            let renewed = world.dir.path().join("ledger/level-0.damaged");
            assert!(!renewed.exists(), "seed {seed}, {effects} of {all} effects: the tree was made anew");
        }
    }
}
