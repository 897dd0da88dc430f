//! Stories of the ledger alone: rotation, checkpoints, damage at start and at work, the scrub. Parts are small here, so
//! that a few hundred records fill many of them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a story plays the broken disk, and stops at the first surprise"
)]

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;

use protocol::keys::{SigningKey, VerifyingKey};
use protocol::ledger::{self, Checkpoint, Event, Local, Record};
use protocol::receipt::{Head, Range};
use protocol::signer::{self, SignError, Signatory, Signer};
use protocol::{Crossing, Name, Suite, Timestamp, Zone};

use crate::segment::{self, Health, Segment};
use crate::*;

const NOW: Timestamp = Timestamp(1_795_305_600_000);
const SMALL: Sizes = Sizes { segment_bytes: 1_024, checkpoint_records: 32, scrub_level: 4 };

struct World {
    dir: tempfile::TempDir,
    key: SigningKey,
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

impl World {
    fn new(suite: Suite) -> World {
        let world = World { dir: tempfile::tempdir().unwrap(), key: SigningKey::generate(suite) };
        create(&world.setup(Disk::real())).unwrap();
        world
    }
    fn setup(&self, disk: Disk) -> Setup {
        Setup {
            root: self.dir.path().to_owned(),
            node: name("internet-1"),
            zone: Zone::Internet,
            key: self.key.clone().into(),
            disk,
            routes: Vec::new(),
            crossings: vec![Crossing::InternetToExtranet],
            now: NOW,
            index_cache_bytes: 1 << 20,
        }
    }
    fn open(&self) -> Spool {
        Spool::open_sized(self.setup(Disk::real()), SMALL).unwrap()
    }
    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join("ledger").join(name)
    }
    fn segments(&self) -> Vec<Segment> {
        segment::list(&self.dir.path().join("ledger")).unwrap()
    }
    fn sealed(&self) -> usize {
        self.segments().iter().filter(|one| one.health == Health::Sealed).count()
    }
    /// One bit of the record at a place, on the disk.
    fn spoil(&self, spool: &Spool, index: u64) {
        let stored = spool.records(index, 1).unwrap().remove(0);
        let one = self.segments().into_iter().rfind(|one| one.first <= index).unwrap();
        let bytes = fs::read(&one.path).unwrap();
        let place = bytes.windows(stored.bytes.len()).position(|window| window == stored.bytes).unwrap() + 7;
        self.flip(&one.path, place as u64);
    }
    fn flip(&self, path: &std::path::Path, place: u64) {
        let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, place).unwrap();
        file.write_all_at(&[byte[0] ^ 4], place).unwrap();
    }
}

/// No two of these records have the same bytes.
fn fill(spool: &Spool, from: u64, records: u64) -> Result<(), SpoolError> {
    for n in from..from + records {
        let mut record = Record::new(Event::ConfigLoaded, Timestamp(NOW.0 + n));
        record.bytes = Some(n);
        spool.record(record, Local::none())?;
    }
    Ok(())
}

fn reported(spool: &Spool) -> Vec<Range> {
    let records = spool.records(0, 100_000).unwrap();
    let damaged = records.iter().filter(|stored| stored.record.event == Event::LedgerDamaged);
    damaged.filter_map(|stored| Some(Range { from: stored.record.sequence?, to: stored.record.through? })).collect()
}

fn grew(spool: &Spool, before: &Head) {
    let (head, proof) = spool.consistency(before.size).unwrap();
    assert!(ledger::verify_consistency(spool.ledger_suite(), before, &head, &proof));
}

fn pass(spool: &Spool) -> Progress {
    let passes = spool.scrubbed().passes;
    let mut last = spool.scrub_step(NOW).unwrap();
    while last.passes == passes {
        let next = spool.scrub_step(NOW).unwrap();
        assert!(next.next > last.next || next.passes > passes, "every step goes on");
        last = next;
    }
    last
}

/// A device that may be away.
struct Device(SigningKey, Arc<AtomicBool>);

impl Signer for Device {
    fn public(&self) -> VerifyingKey {
        self.0.public()
    }

    fn try_sign(&self, bytes: &[u8]) -> Result<Vec<u8>, SignError> {
        if self.1.load(SeqCst) { Err(SignError::Failed("away".to_owned())) } else { Ok(self.0.sign(bytes)) }
    }
}

#[test]
fn a_checkpoint_that_nobody_signs_costs_no_record_and_is_signed_when_the_device_is_back() {
    let world = World::new(Suite::Gm);
    let away = Arc::new(AtomicBool::new(true));
    let open = || {
        let key = Signatory::Device(Arc::new(Device(world.key.clone(), Arc::clone(&away))));
        Spool::open_sized(Setup { key, ..world.setup(Disk::real()) }, SMALL).unwrap()
    };
    let records = 3 * SMALL.checkpoint_records;
    for start in 0..2 {
        let spool = open();
        fill(&spool, start * records, records).unwrap();
        let refused = spool.write_checkpoint().unwrap_err();
        assert!(matches!(refused, SpoolError::Disk { source, .. } if signer::is_of_signer(&source)));
        assert!(spool.checkpoint().is_err());
    }
    assert!(!world.at("checkpoint").exists(), "nobody signed one");
    away.store(false, SeqCst);
    let spool = open();
    assert!(spool.head().size >= 2 * records && spool.scrub().unwrap().unreadable.is_empty());
    spool.write_checkpoint().unwrap();
    let note = fs::read_to_string(world.at("checkpoint")).unwrap();
    assert_eq!(Checkpoint::verify(&note, &name("internet-1"), &world.key.public()).unwrap().head, spool.head());
}

#[test]
fn a_full_segment_is_followed_by_the_next_and_a_checkpoint_stands_every_so_many_records() {
    for suite in Suite::ALL {
        let world = World::new(suite);
        let spool = world.open();
        let mut heads = Vec::new();
        for n in 0..200 {
            fill(&spool, n, 1).unwrap();
            heads.push(spool.head());
            if spool.head().size < SMALL.checkpoint_records {
                continue;
            }
            let note = fs::read_to_string(world.at("checkpoint")).unwrap();
            let checkpoint = Checkpoint::verify(&note, &name("internet-1"), &world.key.public()).unwrap();
            assert!(spool.head().size - checkpoint.head.size <= SMALL.checkpoint_records);
        }
        let segments = world.segments();
        assert!(segments.len() > 5, "{}", segments.len());
        for (one, next) in segments.iter().zip(&segments[1..]) {
            let bytes = fs::read(&one.path).unwrap();
            assert!(bytes.len() >= SMALL.segment_bytes && bytes.len() < SMALL.segment_bytes + 1_000);
            assert_eq!(segment::Frames::new(&bytes, one.first).count() as u64, next.first - one.first);
        }
        let all = spool.records(0, 10_000).unwrap();
        assert!(all.iter().map(|stored| stored.index).eq(0..spool.head().size));
        drop(spool);
        let spool = world.open();
        heads.iter().for_each(|head| grew(&spool, head));
        assert_eq!((spool.scrub().unwrap().unreadable, world.sealed()), (vec![], 0));
    }
}

#[test]
fn a_death_at_any_effect_of_rotations_and_checkpoints_costs_no_acknowledged_record() {
    // Not every effect: neighbouring ones are steps of one write.
    for effects in (0..).step_by(7) {
        let world = World::new(Suite::Std);
        drop(world.open());
        let fuse = Fuse::after(effects);
        let mut before = Head::default();
        let opened = Spool::open_sized(world.setup(Disk::with_fuse(fuse.clone())), SMALL);
        let whole = opened.is_ok_and(|spool| {
            (0..45).all(|n| {
                let done = fill(&spool, n, 1).is_ok();
                if done {
                    before = spool.head();
                }
                done
            })
        });
        let spool = world.open();
        if before.size > 0 {
            grew(&spool, &before);
        }
        assert_eq!((spool.scrub().unwrap().unreadable, reported(&spool)), (vec![], vec![]), "{effects}");
        if whole && !fuse.burnt() {
            assert!(effects > 120 && world.segments().len() > 1, "{effects}");
            return;
        }
    }
}

#[test]
fn damage_found_at_work_seals_its_segment_and_the_node_goes_on() {
    for suite in Suite::ALL {
        let world = World::new(suite);
        let spool = world.open();
        fill(&spool, 0, 300).unwrap();
        assert_eq!(pass(&spool).damaged, 0);
        let before = spool.head();
        let last = spool.head().size - 2;
        for at in [70, 71, last] {
            world.spoil(&spool, at);
        }
        let progress = pass(&spool);
        assert_eq!((progress.damaged, progress.mended, progress.unsound), (3, 0, false));
        assert_eq!(reported(&spool), vec![Range { from: 70, to: 71 }, Range { from: last, to: last }]);
        assert_eq!(world.sealed(), 2, "the one written to as well");
        grew(&spool, &before);
        fill(&spool, 300, 100).unwrap();
        assert_eq!(pass(&spool).damaged, 3, "said once");
        // More of a sealed segment rots: that is news.
        world.spoil(&spool, 60);
        assert_eq!(pass(&spool).damaged, 4);
        drop(spool);
        let spool = world.open();
        assert_eq!(reported(&spool).len(), 3);
        assert_eq!(pass(&spool).damaged, 0, "the ledger remembers what it reported");
        assert_eq!(spool.records(0, 10_000).unwrap().len() as u64, spool.head().size - 4);
        grew(&spool, &before);
    }
}

#[test]
fn a_death_while_a_segment_is_sealed_leaves_its_loss_reported() {
    for effects in 0.. {
        let world = World::new(Suite::Std);
        fill(&world.open(), 0, 120).unwrap();
        // Opening looks only at what lies above the checkpoint; this is left for the scrub.
        world.spoil(&world.open(), 40);
        let fuse = Fuse::after(u64::MAX);
        drop(Spool::open_sized(world.setup(Disk::with_fuse(fuse.clone())), SMALL).unwrap());
        let fuse = Fuse::after(fuse.used() + effects);
        let opened = Spool::open_sized(world.setup(Disk::with_fuse(fuse.clone())), SMALL);
        let done = opened.is_ok_and(|spool| (0..10).all(|_| spool.scrub_step(NOW).is_ok()));
        let spool = world.open();
        pass(&spool);
        // Perhaps twice: where it died between the record and the new name of the segment.
        let reported = reported(&spool);
        assert!((1..=2).contains(&reported.len()), "{effects}");
        assert!(reported.iter().all(|range| *range == Range { from: 40, to: 40 }), "{effects}");
        assert_eq!(world.sealed(), 1);
        if done && !fuse.burnt() {
            assert!(effects > 5, "{effects}");
            return;
        }
    }
}

#[test]
fn a_digest_of_the_tree_that_the_disk_spoiled_is_written_anew() {
    for suite in Suite::ALL {
        let world = World::new(suite);
        let spool = world.open();
        fill(&spool, 0, 333).unwrap();
        for level in 0..=8_u32 {
            let path = world.at(&format!("level-{level}"));
            let whole = fs::read(&path).unwrap();
            for place in [0, whole.len() / 2, whole.len() - 1] {
                world.flip(&path, place as u64);
                let before = spool.scrubbed().mended;
                let progress = pass(&spool);
                assert!(progress.mended > before, "level {level}, byte {place}");
                assert_eq!((progress.damaged, progress.unsound), (0, false), "level {level}, byte {place}");
                assert_eq!(fs::read(&path).unwrap(), whole, "level {level}, byte {place}");
            }
        }
        assert_eq!(world.sealed(), 0);
    }
}

#[test]
fn a_spoiled_proof_never_leaves_the_machine() {
    let world = World::new(Suite::Std);
    let spool = world.open();
    fill(&spool, 0, 5).unwrap();
    let early = spool.head();
    fill(&spool, 5, 300).unwrap();
    assert!(matches!(spool.links(&[early]).unwrap(), (_, links, 0) if links.len() == 1));
    for level in 1..5 {
        let path = world.at(&format!("level-{level}"));
        let bytes = fs::metadata(&path).unwrap().len();
        (0..bytes).step_by(32).for_each(|place| world.flip(&path, place));
    }
    // Nothing is said at all: that a head is passed over in silence would be called a contradiction too.
    assert!(matches!(spool.links(&[early]), Err(SpoolError::Disk { .. })));
    assert!(spool.passes_through(&early).is_err());
    pass(&spool);
    assert!(matches!(spool.links(&[early]).unwrap(), (_, links, 0) if links.len() == 1));
    assert!(spool.passes_through(&early).unwrap());
    let other = Head { root: spool.head().root, ..early };
    assert!(!spool.passes_through(&other).unwrap(), "a whole tree knows what it never was");
    assert!(matches!(spool.links(&[other]).unwrap(), (_, links, 1) if links.is_empty()));
    drop(spool);
    assert!(!world.open().was_damaged(), "it was mended");
}

#[test]
fn a_checkpoint_that_says_nothing_is_put_aside_recorded_and_the_node_runs() {
    for spoiled in [&b"trilock/internet-1\nmany\n"[..], b"\xff\xfe", b"", b"trilock/internet-1/2\n3\nAAAA\n\n"] {
        let world = World::new(Suite::Std);
        let spool = world.open();
        fill(&spool, 0, 100).unwrap();
        let before = spool.head();
        drop(spool);
        fs::write(world.at("checkpoint"), spoiled).unwrap();
        let spool = world.open();
        grew(&spool, &before);
        assert!(spool.was_damaged() && reported(&spool).is_empty());
        let said = spool.records(before.size, 1).unwrap().remove(0).record;
        assert_eq!((said.event, said.sequence), (Event::LedgerDamaged, None));
        assert_eq!(fs::read(world.at("checkpoint.damaged")).unwrap(), spoiled);
        let note = fs::read_to_string(world.at("checkpoint")).unwrap();
        assert!(Checkpoint::verify(&note, &name("internet-1"), &world.key.public()).is_ok());
        drop(spool);
        assert!(!world.open().was_damaged());
    }
}

#[test]
fn records_whose_leaves_are_gone_too_are_reported_where_the_tree_above_them_stands() {
    let world = World::new(Suite::Std);
    // One segment: opening looks at the one that holds the checkpoint, the scrub at the others.
    let spool = Spool::open(world.setup(Disk::real())).unwrap();
    fill(&spool, 0, 100).unwrap();
    spool.write_checkpoint().unwrap();
    let before = spool.head();
    world.spoil(&spool, before.size - 9);
    drop(spool);
    let file = fs::OpenOptions::new().write(true).open(world.at("level-0")).unwrap();
    file.write_all_at(&[0; 32], (before.size - 9) * 32).unwrap();
    let spool = world.open();
    grew(&spool, &before);
    assert_eq!(reported(&spool), vec![Range { from: before.size - 9, to: before.size - 9 }]);
    assert!(spool.was_damaged());
}

/// A disk that loses a page gives zeros for it, or an error: what stood in it is lost, and nothing behind it.
#[test]
fn a_page_that_is_lost_costs_the_records_in_it_and_none_behind_it() {
    const PAGED: Sizes = Sizes { segment_bytes: 32 << 10, checkpoint_records: 256, scrub_level: 6 };
    for suite in Suite::ALL {
        for (running, many) in [(true, 1), (false, 1), (true, 3)] {
            let world = World::new(suite);
            let open = || Spool::open_sized(world.setup(Disk::real()), PAGED).unwrap();
            let spool = open();
            fill(&spool, 0, 3_000).unwrap();
            pass(&spool);
            let before = spool.head();
            let segments = world.segments();
            assert!(segments.len() >= 3, "{}", segments.len());
            let mut lost = crate::ranges::Ranges::default();
            // The first page of one with its header, several of the next, the last of what was written.
            let written = fs::read(&segments.last().unwrap().path).unwrap();
            let last = written.iter().rposition(|byte| *byte != 0).unwrap() / 4_096;
            for (one, pages) in [
                (&segments[0], vec![0]),
                (&segments[1], (0..many).map(|page| 2 + 2 * page).collect()),
                (segments.last().unwrap(), vec![last]),
            ] {
                let bytes = fs::read(&one.path).unwrap();
                let mut frames = segment::Frames::new(&bytes, one.first);
                let mut from = 16;
                while let Some(segment::Found::Record(stored)) = frames.next() {
                    let to = frames.position();
                    if pages.iter().any(|page| from < (page + 1) * 4_096 && page * 4_096 < to) {
                        lost.insert(stored.index, stored.index);
                    }
                    from = to;
                }
                let file = fs::OpenOptions::new().write(true).open(&one.path).unwrap();
                for page in pages {
                    let many = 4_096.min(bytes.len() - page * 4_096);
                    file.write_all_at(&vec![0; many], page as u64 * 4_096).unwrap();
                }
            }
            let spool = if running {
                spool
            } else {
                drop(spool);
                open()
            };
            pass(&spool);
            let lost: Vec<Range> = lost.iter().collect();
            let mut told = reported(&spool);
            told.sort_by_key(|range| range.from);
            assert_eq!(told, lost, "running: {running}");
            let many: u64 = lost.iter().map(|range| range.to - range.from + 1).sum();
            assert_eq!(spool.records(0, 10_000).unwrap().len() as u64, spool.head().size - many);
            grew(&spool, &before);
            drop(spool);
            let spool = open();
            assert_eq!(reported(&spool).len(), lost.len(), "said once");
            assert_eq!(spool.records(0, 10_000).unwrap().len() as u64, spool.head().size - many);
            grew(&spool, &before);
        }
    }
}

/// One way in which a ledger is harmed: under a node at work or while it is down.
#[derive(Clone, Copy, Debug)]
enum Harm {
    /// Another record in its place, with a checksum that fits.
    Changed,
    /// One that its checksum does not fit.
    Flipped,
    Removed,
    /// It and its neighbour have changed places.
    Reordered,
    TailCut,
    Leaf,
    Inner,
    LevelGone,
    CheckpointGone,
    CheckpointGarbled,
}

impl World {
    fn harm(&self, harm: Harm, at: u64, spool_head: u64) {
        let index = if matches!(harm, Harm::TailCut) { spool_head - 1 } else { at };
        let one = self.segments().into_iter().rfind(|one| one.first <= index).unwrap();
        let bytes = fs::read(&one.path).unwrap();
        let mut frames = segment::Frames::new(&bytes, one.first);
        let mut ends = vec![segment::header(one.first).len()];
        while frames.next().is_some() {
            ends.push(frames.position());
        }
        let place = (index - one.first) as usize;
        let frame = |place: usize| bytes[ends[place]..ends[place + 1]].to_vec();
        let with = |from: usize, to: usize, middle: &[u8]| {
            let whole = [&bytes[..ends[from]], middle, &bytes[ends[to]..]].concat();
            fs::OpenOptions::new().write(true).open(&one.path).unwrap().set_len(whole.len() as u64).unwrap();
            fs::OpenOptions::new().write(true).open(&one.path).unwrap().write_all_at(&whole, 0).unwrap();
        };
        match harm {
            Harm::Changed => {
                let mut other = Record::new(Event::ConfigLoaded, NOW);
                other.bytes = Some(100_000);
                with(place, place + 1, &segment::frame(&other.to_bytes(), b""));
            }
            Harm::Flipped => self.flip(&one.path, ends[place] as u64 + 20),
            Harm::Removed => with(place, place + 1, b""),
            Harm::Reordered => with(place, place + 2, &[frame(place + 1), frame(place)].concat()),
            Harm::TailCut => with(place, place + 1, b""),
            Harm::Leaf => self.flip(&self.at("level-0"), at * 32),
            Harm::Inner => self.flip(&self.at("level-2"), at / 4 * 32),
            Harm::LevelGone => fs::remove_file(self.at("level-3")).unwrap(),
            Harm::CheckpointGone => fs::remove_file(self.at("checkpoint")).unwrap(),
            Harm::CheckpointGarbled => fs::write(self.at("checkpoint"), b"trilock/internet-1\nmany\n").unwrap(),
        }
    }
}

/// What was found of a harm.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sight {
    Nothing,
    /// On record as lost: the record itself.
    Lost,
    /// It and the one behind it.
    LostBoth,
    /// It and all behind it in its segment.
    LostBehind,
    /// The last one.
    LostLast,
    /// The tree or the checkpoint was made anew, and somebody is told.
    Told,
    /// A digest was written anew from what stands below it.
    Mended,
}

/// What `ferry ledger verify` says of the same harms is in `ferry/tests/audit.rs`.
#[test]
fn every_harm_is_found_by_the_next_start_or_by_the_scrub() {
    use Sight::{Lost, LostBehind, LostBoth, LostLast, Mended, Nothing, Told};
    // At start, which looks at little below the checkpoint; by the scrub's first pass after it; by a pass under a node at work.
    let rows = [
        (Harm::Changed, [Nothing, Lost, Lost]),
        (Harm::Flipped, [Nothing, Lost, Lost]),
        (Harm::Removed, [Nothing, LostBehind, LostBehind]),
        (Harm::Reordered, [Nothing, LostBoth, LostBoth]),
        (Harm::TailCut, [LostLast, Nothing, LostLast]),
        (Harm::Leaf, [Nothing, Mended, Mended]),
        (Harm::Inner, [Nothing, Mended, Mended]),
        // A node at work has the file open.
        (Harm::LevelGone, [Told, Nothing, Nothing]),
        // Written again by whoever finds none: it says nothing that the records do not. A neighbour's head does.
        (Harm::CheckpointGone, [Nothing, Nothing, Nothing]),
        (Harm::CheckpointGarbled, [Told, Nothing, Nothing]),
    ];
    for (harm, expected) in rows {
        let mut found = Vec::new();
        for running in [false, true] {
            let world = World::new(Suite::Std);
            let spool = world.open();
            fill(&spool, 0, 300).unwrap();
            pass(&spool);
            let before = spool.head();
            let firsts: Vec<u64> = world.segments().iter().map(|one| one.first).collect();
            let (at, end) = (firsts[2] + 3, firsts[3] - 1);
            assert!(end > at + 1 && before.size > 300);
            let at_work = Some(spool).filter(|_| running);
            world.harm(harm, at, before.size);
            let mut known = 0;
            let mut look = |spool: &Spool, told: bool, mended: u64| {
                let lost = reported(spool).get(known).copied();
                known = reported(spool).len();
                match lost.map(|lost| (lost.from, lost.to)) {
                    Some((from, to)) if (from, to) == (before.size - 1, before.size - 1) => LostLast,
                    Some((from, to)) if (from, to) == (at, at) => Lost,
                    Some((from, to)) if (from, to) == (at, at + 1) => LostBoth,
                    Some((from, to)) if (from, to) == (at, end) => LostBehind,
                    Some(other) => panic!("{harm:?}: {other:?} of {at} to {end}"),
                    None if mended > 0 => Mended,
                    None if told => Told,
                    None => Nothing,
                }
            };
            let spool = at_work.unwrap_or_else(|| {
                let spool = world.open();
                found.push(look(&spool, spool.was_damaged(), 0));
                spool
            });
            let done = pass(&spool);
            found.push(look(&spool, done.unsound, done.mended));
            drop(spool);
            let spool = world.open();
            grew(&spool, &before);
            assert_eq!((pass(&spool).damaged, pass(&spool).mended), (0, 0), "{harm:?} is found once");
        }
        assert_eq!(found, expected, "{harm:?}");
    }
}
