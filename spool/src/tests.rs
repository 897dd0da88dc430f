//! Stories of a whole spool, most of them with a death in the middle. Sentences; the smaller ones stand beside the code.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "a story plays the apps and the broken disk, and stops at the first surprise"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;

use protocol::der_types::Octets;
use protocol::keys::SigningKey;
use protocol::ledger::{self, Checkpoint, Event, Local, Record};
use protocol::parcel::{Label, Priority};
use protocol::receipt::{EpochGaps, Head, Outcome, Range};
use protocol::{BundleId, Crossing, Name, ParcelId, Reason, Suite, Timestamp, Zone};

use crate::segment::{Health, Segment};
use crate::*;

mod acts;
mod inlet;
mod sectors;

const HOP: Crossing = Crossing::InternetToExtranet;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn setup(root: &Path, key: &SigningKey) -> Setup {
    Setup {
        root: root.to_owned(),
        node: name("internet-1"),
        zone: Zone::Internet,
        key: key.clone().into(),
        disk: Disk::real(),
        routes: vec![RouteDirs { route: name("cases"), inlet: true, outlet: true }],
        crossings: vec![HOP, HOP.back()],
        now: Timestamp(1_795_305_600_000),
        index_cache_bytes: 1 << 20,
    }
}

struct World {
    dir: tempfile::TempDir,
    key: SigningKey,
}

impl World {
    fn new() -> World {
        World::of(Suite::Std)
    }
    fn of(suite: Suite) -> World {
        let world = World { dir: tempfile::tempdir().unwrap(), key: SigningKey::generate(suite) };
        create(&world.setup()).unwrap();
        world
    }
    fn setup(&self) -> Setup {
        setup(self.dir.path(), &self.key)
    }
    fn open(&self) -> Spool {
        let spool = Spool::open(self.setup()).unwrap();
        // The machine that runs the tests may be nearly full.
        spool.set_floor(Floor { bytes: 0, inodes: 0 });
        spool
    }
    fn dying(&self, effects: u64) -> (Result<Spool, SpoolError>, Fuse) {
        let fuse = Fuse::after(effects);
        (Spool::open(Setup { disk: Disk::with_fuse(fuse.clone()), ..self.setup() }), fuse)
    }
    fn segments(&self) -> Vec<Segment> {
        segment::list(&self.dir.path().join("ledger")).unwrap()
    }
}

fn id(number: u8) -> ParcelId {
    Octets([number; 16])
}

fn record(event: Event, parcel: ParcelId) -> Record {
    let mut record = Record::new(event, Timestamp(1_795_305_600_500));
    record.parcel = Some(parcel);
    record.route = Some(name("cases"));
    record.parcel_type = Some(name("case-folder"));
    record
}

fn accepted(parcel: ParcelId, bundle: BundleId, epoch: u64, sequence: u64) -> Record {
    let mut record = record(Event::Accepted, parcel);
    (record.bundle, record.crossing, record.epoch, record.sequence) =
        (Some(bundle), Some(HOP), Some(epoch), Some(sequence));
    record.digest = Some(Octets([7; 32]));
    record.bytes = Some(100);
    record
}

fn arrived(parcel: ParcelId, sequence: u64) -> Record {
    let mut record = record(Event::Arrived, parcel);
    record.peer = Some(name("extranet-1"));
    record.origin = Some(name("extranet-1"));
    record.bundle = Some(parcel);
    (record.crossing, record.epoch, record.sequence) = (Some(HOP.back()), Some(5), Some(sequence));
    record
}

/// Takes everything from inlet to outbox, finishing what an earlier process began: a station in small.
fn intake(spool: &Spool, now: Timestamp) -> Result<(), SpoolError> {
    let mut inlet = Inlet::open(spool, &name("cases"), IntakeMode::Rename)?;
    for claim in inlet.claimed()? {
        finish(spool, &inlet, &claim)?;
    }
    for candidate in inlet.scan(now)? {
        let parcel = protocol::id::new_id(now, protocol::keys::random());
        let claim = inlet.claim(&candidate, parcel)?;
        finish(spool, &inlet, &claim)?;
    }
    Ok(())
}

fn finish(spool: &Spool, inlet: &Inlet, claim: &Claim) -> Result<(), SpoolError> {
    let bundle = claim.parcel;
    if spool.parcel(&claim.parcel)?.is_none() {
        let entry = match spool.outbox(HOP).find(&bundle)? {
            Some(entry) => entry,
            None => {
                let (epoch, sequence) = spool.next_number(HOP)?;
                let staged = spool.layout().sealing().join(bundle.to_string());
                let content = fs::read(&claim.path).unwrap();
                let disk = |source| SpoolError::Disk { path: staged.clone(), source };
                // What an earlier process was sealing is waste here: it is recorded only after it is in the outbox.
                spool.disk().remove_file(&staged).map_err(disk)?;
                let mut file = spool.disk().create(&staged).map_err(disk)?;
                spool.disk().append(&mut file, &content).map_err(disk)?;
                spool.disk().sync_file(&file).map_err(disk)?;
                spool.outbox(HOP).commit(&staged, &bundle, EntryKind::Bundle, Priority::Normal, epoch, sequence)?
            }
        };
        let local = Local { name: Some(claim.name.to_string_lossy().into_owned()), labels: vec![] };
        spool.record(accepted(claim.parcel, bundle, entry.epoch, entry.sequence), local)?;
    }
    inlet.discard(claim)
}

fn numbers(spool: &Spool) -> Vec<(u64, u64)> {
    let entries = spool.outbox(HOP).entries().unwrap();
    entries.iter().map(|entry| (entry.epoch, entry.sequence)).collect()
}

#[test]
fn a_drop_survives_a_death_at_every_effect_of_its_intake() {
    let mut effects = 0;
    loop {
        let world = World::new();
        drop(world.open());
        let inlet = world.setup().root.join("inlet/cases");
        fs::write(inlet.join("one.xml"), b"content of one").unwrap();
        fs::write(inlet.join("two.xml"), b"content of two").unwrap();
        let (opened, fuse) = world.dying(effects);
        let mut before = Head::default();
        if let Ok(spool) = opened {
            let _died = intake(&spool, Timestamp(1));
            before = spool.head();
        }
        let spool = world.open();
        intake(&spool, Timestamp(2)).unwrap();

        let entries = spool.outbox(HOP).entries().unwrap();
        let contents: BTreeSet<Vec<u8>> = entries.iter().map(|entry| fs::read(&entry.path).unwrap()).collect();
        assert_eq!(entries.len(), 2, "after {effects} effects each drop is in the outbox once");
        assert_eq!(contents, BTreeSet::from([b"content of one".to_vec(), b"content of two".to_vec()]));
        assert_eq!(fs::read_dir(&inlet).unwrap().count(), 1, "only .claimed is left");
        assert_eq!(fs::read_dir(inlet.join(".claimed")).unwrap().count(), 0);
        let used: BTreeSet<(u64, u64)> = numbers(&spool).into_iter().collect();
        assert_eq!(used.len(), 2, "no number stands twice");
        let records = spool.records(0, 1_000).unwrap();
        let said: Vec<(u64, u64)> = records
            .iter()
            .filter(|stored| stored.record.event == Event::Accepted)
            .map(|stored| (stored.record.epoch.unwrap(), stored.record.sequence.unwrap()))
            .collect();
        assert_eq!(said.len(), 2, "accepted once each after {effects} effects");
        assert_eq!(said.into_iter().collect::<BTreeSet<_>>(), used);
        for gaps in spool.withdrawn(HOP) {
            for range in gaps.missing {
                assert!(!used.iter().any(|(epoch, n)| *epoch == gaps.epoch && (range.from..=range.to).contains(n)));
            }
        }
        for state in spool.parcels(&Filter::default(), 10).unwrap() {
            assert_eq!((state.state, state.sent.is_some()), (State::Accepted, true));
        }
        assert_eq!(spool.scrub().unwrap().unreadable, vec![]);
        let (head, proof) = spool.consistency(before.size).unwrap();
        assert!(before.size == 0 || ledger::verify_consistency(Suite::Std, &before, &head, &proof), "{effects}");
        if !fuse.burnt() {
            assert!(effects > 40, "the story has {effects} effects");
            return;
        }
        effects += 1;
    }
}

#[test]
fn a_delivery_appears_once_whatever_effect_it_dies_at() {
    let mut effects = 0;
    loop {
        let world = World::new();
        drop(world.open());
        let deliver = |spool: &Spool| -> Result<(), SpoolError> {
            let outlet = Outlet::open(spool, &name("cases"))?;
            let state = spool.parcel(&id(1))?.map(|state| state.state);
            if state == Some(State::Delivered) {
                return Ok(());
            }
            if state != Some(State::Delivering) {
                if state.is_none() {
                    spool.record(arrived(id(1), 1), Local::none())?;
                }
                fs::write(outlet.stage(&id(1))?, b"a").unwrap();
                outlet.settle(&[id(1)])?;
                spool.record(record(Event::Delivering, id(1)), Local::none())?;
            }
            match outlet.standing(&id(1)).unwrap() {
                Standing::Staged => outlet.deliver(&[(id(1), "a.txt".as_ref())])?.remove(0).map(drop)?,
                Standing::Renamed => outlet.sync_renamed()?,
                Standing::Unknown => unreachable!("it is marked before it is recorded"),
            }
            spool.record(record(Event::Delivered, id(1)), Local::none())?;
            outlet.forget(&id(1))
        };
        let (opened, fuse) = world.dying(effects);
        if let Ok(spool) = opened {
            let _died = deliver(&spool);
        }
        let spool = world.open();
        deliver(&spool).unwrap();
        let outlet = spool.layout().outlet(&name("cases"));
        let names: Vec<_> = fs::read_dir(&outlet).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "{effects}: a.txt and .staging, not {names:?}");
        assert_eq!(fs::metadata(outlet.join("a.txt")).unwrap().mode() & 0o7777, 0o660);
        assert_eq!(spool.parcel(&id(1)).unwrap().unwrap().state, State::Delivered);
        if !fuse.burnt() {
            return;
        }
        effects += 1;
    }
}

#[test]
fn numbers_are_never_used_again_across_a_hundred_crashes() {
    let world = World::new();
    let mut given = BTreeSet::new();
    for crash in 0..100 {
        // Some die while opening, some between two numbers, some while reserving the second batch.
        let (opened, _) = world.dying(crash);
        let spool = match opened {
            Ok(spool) => spool,
            Err(_) => continue,
        };
        for _ in 0..70 {
            match spool.next_number(HOP) {
                Ok(number) => assert!(given.insert(number), "{number:?} was given out before"),
                Err(_) => break,
            }
        }
    }
    let spool = world.open();
    assert!(given.len() > 100, "{} numbers", given.len());
    let withdrawn = spool.withdrawn(HOP);
    let told: BTreeSet<(u64, u64)> = withdrawn
        .iter()
        .flat_map(|gaps| gaps.missing.iter().flat_map(|range| (range.from..=range.to).map(|n| (gaps.epoch, n))))
        .collect();
    assert!(given.is_subset(&told), "none was used, so each is withdrawn");
    assert!(given.insert(spool.next_number(HOP).unwrap()));
}

#[test]
fn a_second_owner_is_told_that_the_spool_is_held() {
    let world = World::new();
    let first = world.open();
    assert!(matches!(Spool::open(world.setup()), Err(SpoolError::Locked { .. })));
    drop(first);
    world.open();
}

#[test]
fn a_torn_tail_is_cut_and_the_ledger_goes_on() {
    let world = World::new();
    let spool = world.open();
    spool.record(arrived(id(1), 1), Local::none()).unwrap();
    let before = spool.head();
    drop(spool);
    let path = world.segments().pop().unwrap().path;
    let mut torn = fs::read(&path).unwrap();
    torn.extend_from_slice(&segment::frame(&arrived(id(2), 2).to_bytes(), b"")[..30]);
    fs::write(&path, &torn).unwrap();
    let spool = world.open();
    spool.record(arrived(id(3), 3), Local::none()).unwrap();
    assert!(spool.parcel(&id(2)).unwrap().is_none());
    assert!(spool.parcel(&id(3)).unwrap().is_some());
    let (head, proof) = spool.consistency(before.size).unwrap();
    assert!(ledger::verify_consistency(Suite::Std, &before, &head, &proof));
    assert_eq!(spool.scrub().unwrap().unreadable, vec![]);
    assert!(world.segments().iter().all(|segment| segment.health == Health::Sound));
}

fn damaged(spool: &Spool) -> Vec<(u64, u64)> {
    let records = spool.records(0, 10_000).unwrap();
    let damaged = records.iter().filter(|stored| stored.record.event == Event::LedgerDamaged);
    damaged.filter_map(|stored| stored.record.sequence.zip(stored.record.through)).collect()
}

#[test]
fn a_flipped_bit_seals_the_segment_and_costs_one_record_and_no_head() {
    for suite in Suite::ALL {
        let world = World::of(suite);
        let spool = world.open();
        let at = (1..=20).map(|n| spool.record(arrived(id(n), n.into()), Local::none()).unwrap()).collect::<Vec<_>>();
        let before = spool.head();
        drop(spool);
        let path = world.segments().pop().unwrap().path;
        let mut bytes = fs::read(&path).unwrap();
        let needle = arrived(id(7), 7).to_bytes();
        let place = bytes.windows(needle.len()).position(|window| window == needle).unwrap();
        bytes[place + 20] ^= 4;
        fs::write(&path, &bytes).unwrap();
        let spool = world.open();
        assert_eq!(damaged(&spool), vec![(at[6], at[6])]);
        assert_eq!(spool.scrub().unwrap().unreadable, vec![Range { from: at[6], to: at[6] }]);
        let (head, proof) = spool.consistency(before.size).unwrap();
        assert!(ledger::verify_consistency(suite, &before, &head, &proof));
        assert_eq!(world.segments().iter().filter(|segment| segment.health == Health::Sealed).count(), 1);
        spool.record(arrived(id(30), 30), Local::none()).unwrap();
        drop(spool);
        let spool = world.open();
        assert_eq!(damaged(&spool).len(), 1, "it is reported once");
        assert!(spool.parcel(&id(30)).unwrap().is_some());
        // Records of the sealed segment are still read; the index rebuilt lacks only the one.
        spool.rebuild_index().unwrap();
        assert!(spool.parcel(&id(6)).unwrap().is_some() && spool.parcel(&id(8)).unwrap().is_some());
        assert!(spool.parcel(&id(7)).unwrap().is_none());
    }
}

#[test]
fn a_ledger_cut_at_a_record_is_noticed_and_says_what_is_gone() {
    let world = World::new();
    let spool = world.open();
    for n in 1..=10 {
        spool.record(arrived(id(n), n.into()), Local::none()).unwrap();
    }
    let before = spool.head();
    drop(spool);
    let path = world.segments().pop().unwrap().path;
    let bytes = fs::read(&path).unwrap();
    let cut = segment::frame(&arrived(id(10), 10).to_bytes(), b"").len();
    fs::write(&path, &bytes[..bytes.len() - cut]).unwrap();
    let spool = world.open();
    assert_eq!(damaged(&spool), vec![(before.size - 1, before.size - 1)]);
    let (head, proof) = spool.consistency(before.size).unwrap();
    assert!(ledger::verify_consistency(Suite::Std, &before, &head, &proof));
    drop(spool);
    // Where the whole directory is put back to an older state, the neighbour who was sent a head notices.
    for file in fs::read_dir(world.dir.path().join("ledger")).unwrap() {
        fs::remove_file(file.unwrap().path()).unwrap();
    }
    let spool = world.open();
    for n in 0..30 {
        spool.record(arrived(id(n), 100), Local::none()).unwrap();
    }
    let (head, proof) = spool.consistency(before.size).unwrap();
    assert!(!ledger::verify_consistency(Suite::Std, &before, &head, &proof));
    assert!(
        spool.parcel(&id(9)).unwrap().unwrap().came.unwrap().sequence == 100,
        "the index of the old ledger is gone"
    );
}

#[test]
fn a_ledger_that_lost_records_and_digests_refuses_to_open() {
    let world = World::new();
    let spool = world.open();
    for n in 1..=10 {
        spool.record(arrived(id(n), n.into()), Local::none()).unwrap();
    }
    drop(spool);
    drop(world.open());
    let ledger = world.dir.path().join("ledger");
    let path = world.segments().pop().unwrap().path;
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    fs::write(ledger.join("level-0"), b"").unwrap();
    assert!(matches!(Spool::open(world.setup()), Err(SpoolError::LedgerLost { .. })));
}

#[test]
fn lost_levels_are_computed_again_from_the_records() {
    let world = World::new();
    let spool = world.open();
    for n in 1..=40 {
        spool.record(arrived(id(n), n.into()), Local::none()).unwrap();
    }
    let before = spool.head();
    drop(spool);
    drop(world.open());
    for level in 0..6 {
        fs::remove_file(world.dir.path().join(format!("ledger/level-{level}"))).unwrap();
    }
    let spool = world.open();
    let (head, proof) = spool.consistency(before.size).unwrap();
    assert!(ledger::verify_consistency(Suite::Std, &before, &head, &proof));
    assert_eq!(damaged(&spool), vec![]);
}

#[test]
fn every_record_can_be_proven_under_the_head_that_the_checkpoint_signs() {
    for suite in Suite::ALL {
        let world = World::of(suite);
        let spool = world.open();
        for n in 1..=33 {
            spool.record(arrived(id(n), n.into()), Local::none()).unwrap();
        }
        let note = spool.checkpoint().unwrap();
        let checkpoint = Checkpoint::verify(&note, &name("internet-1"), &world.key.public()).unwrap();
        assert_eq!(checkpoint.head, spool.head());
        for stored in spool.records(0, 1_000).unwrap() {
            let (head, proof) = spool.inclusion(stored.index).unwrap();
            assert!(ledger::verify_inclusion(suite, &ledger::leaf(suite, &stored.bytes), stored.index, &head, &proof));
        }
    }
}

#[test]
fn the_words_of_a_record_are_bound_by_a_salted_digest() {
    let world = World::new();
    let spool = world.open();
    let label = Label { name: name("business-number"), value: "2026-沪-0001".into() };
    let local = Local { name: Some("申请.xml".into()), labels: vec![label.clone()] };
    let index = spool.record(arrived(id(1), 1), local.clone()).unwrap();
    let stored = spool.records(index, 1).unwrap().remove(0);
    let (salt, kept) = stored.local.unwrap();
    assert_eq!(kept, local);
    assert_eq!(stored.record.local, Some(local.digest(Suite::Std, &salt)));
    let found = spool.parcels(&Filter { label: Some(label), ..Filter::default() }, 10).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].name.as_deref(), Some("申请.xml"));
    let other = Label { name: name("business-number"), value: "2026-沪-000".into() };
    assert!(spool.parcels(&Filter { label: Some(other), ..Filter::default() }, 10).unwrap().is_empty());
}

#[test]
fn many_threads_record_at_once_and_every_record_has_its_own_place() {
    let world = World::new();
    let spool = world.open();
    let before = spool.head().size;
    let places = Arc::new(std::sync::Mutex::new(BTreeSet::new()));
    std::thread::scope(|scope| {
        for thread in 0..8_u8 {
            let (spool, places) = (spool.clone(), places.clone());
            scope.spawn(move || {
                for n in 0..50_u8 {
                    let mut parcel = id(thread);
                    parcel.0[15] = n;
                    let place = spool.record(arrived(parcel, 1), Local::none()).unwrap();
                    assert!(spool.parcel(&parcel).unwrap().is_some(), "the index knows it on return");
                    assert!(places.lock().unwrap().insert(place));
                }
            });
        }
    });
    assert_eq!(*places.lock().unwrap(), (before..before + 400).collect());
    assert_eq!(spool.counts().unwrap(), BTreeMap::from([((name("cases"), State::Arrived), 400)]));
}

/// Everything an index says: parcels, counts, what is missing of a peer, what is withdrawn of ours, bundles taken.
type Said = (Vec<ParcelState>, BTreeMap<(Name, State), u64>, Vec<EpochGaps>, Vec<EpochGaps>, Vec<bool>);

fn all_of(spool: &Spool) -> Said {
    let peer = name("extranet-1");
    let taken = (0..=50).map(|n| spool.bundle_taken(&id(n)).unwrap()).collect();
    let parcels = spool.parcels(&Filter::default(), 1_000).unwrap();
    (parcels, spool.counts().unwrap(), spool.gaps(&peer, HOP.back()), spool.withdrawn(HOP), taken)
}

#[test]
fn an_index_made_anew_says_what_the_live_one_said() {
    let world = World::new();
    let spool = world.open();
    let mut seed = 7_u64;
    let mut draw = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for _ in 0..600 {
        let parcel = id(u8::try_from(draw(50)).unwrap());
        let event = Event::ALL[usize::try_from(draw(Event::ALL.len() as u64)).unwrap()];
        let mut one =
            if draw(2) == 0 { arrived(parcel, draw(200) + 1) } else { accepted(parcel, parcel, 3, draw(200) + 1) };
        one.event = event;
        one.outcome = Outcome::ALL.get(usize::try_from(draw(6)).unwrap()).copied();
        if draw(4) == 0 {
            one.reason = Reason::from_code(u8::try_from(draw(24)).unwrap());
        }
        let labels = if draw(3) == 0 { vec![Label { name: name("n"), value: draw(9).to_string() }] } else { vec![] };
        spool.record(one, Local { name: None, labels }).unwrap();
    }
    let live = all_of(&spool);
    assert!(live.0.len() > 30);
    spool.rebuild_index().unwrap();
    assert_eq!(all_of(&spool), live);
    drop(spool);
    fs::remove_file(world.dir.path().join("index/index.redb")).unwrap();
    let spool = world.open();
    let (parcels, counts, gaps, _, taken) = all_of(&spool);
    assert_eq!((parcels, counts, gaps, taken), (live.0, live.1, live.2, live.4));
}

#[test]
fn a_spoiled_index_is_made_anew_at_open() {
    let world = World::new();
    let spool = world.open();
    spool.record(arrived(id(1), 1), Local::none()).unwrap();
    drop(spool);
    fs::write(world.dir.path().join("index/index.redb"), b"not a database at all").unwrap();
    assert!(world.open().parcel(&id(1)).unwrap().is_some());
}

#[test]
fn an_index_with_a_rotten_page_is_made_anew_and_never_panics() {
    let world = World::new();
    let spool = world.open();
    for n in 1..60 {
        spool.record(arrived(id(n), u64::from(n)), Local { name: Some(format!("{n}.xml")), labels: vec![] }).unwrap();
    }
    drop(spool);
    let path = world.dir.path().join("index/index.redb");
    let whole = fs::read(&path).unwrap();
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap();
    for at in (0..used).step_by(used / 120 + 1) {
        let mut rotten = whole.clone();
        let end = (at + 512).min(rotten.len());
        rotten[at..end].iter_mut().enumerate().for_each(|(n, byte)| *byte ^= 0x5a ^ n as u8);
        fs::write(&path, &rotten).unwrap();
        for turn in 0.. {
            let spool = world.open();
            let asked = (1..60).try_for_each(|n| spool.parcel(&id(n)).map(|found| assert!(found.is_some(), "{n}")));
            match asked {
                Ok(()) => break,
                Err(SpoolError::Index { .. }) => assert!(turn == 0, "made anew by the next start"),
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// Writes a version into an index, and a bundle that no ledger knows.
fn forge(index: &Path, version: u64) {
    let db = redb::Database::open(index).unwrap();
    let txn = db.begin_write().unwrap();
    let meta: redb::TableDefinition<'_, &str, &[u8]> = redb::TableDefinition::new("meta");
    txn.open_table(meta).unwrap().insert("version", &version.to_be_bytes()[..]).unwrap();
    txn.open_table(crate::changes::BUNDLES).unwrap().insert(&[77; 16][..], &[1][..]).unwrap();
    txn.commit().unwrap();
}

#[test]
fn an_index_of_another_version_is_made_anew() {
    let world = World::new();
    let path = world.dir.path().join("index/index.redb");
    let spool = world.open();
    spool.record(arrived(id(1), 1), Local::none()).unwrap();
    drop(spool);
    forge(&path, 5);
    assert!(world.open().bundle_taken(&id(77)).unwrap(), "an index of this version is believed");
    for version in [4, 6] {
        forge(&path, version);
        let spool = world.open();
        assert!(!spool.bundle_taken(&id(77)).unwrap());
        assert!(spool.bundle_taken(&id(1)).unwrap() && spool.parcel(&id(1)).unwrap().is_some());
    }
    // The first version kept its numbers as such.
    fs::remove_file(&path).unwrap();
    let db = redb::Database::create(&path).unwrap();
    let txn = db.begin_write().unwrap();
    let meta: redb::TableDefinition<'_, &str, u64> = redb::TableDefinition::new("meta");
    txn.open_table(meta).unwrap().insert("version", 1).unwrap();
    txn.commit().unwrap();
    drop(db);
    assert!(world.open().parcel(&id(1)).unwrap().is_some());
}

#[test]
fn an_index_of_another_ledger_is_made_anew() {
    // Of a shorter ledger, one of the same length, and a longer one.
    for records in [1, 8, 20] {
        let (world, other) = (World::new(), World::new());
        let spool = world.open();
        for n in 1..=8 {
            spool.record(arrived(id(n), n.into()), Local::none()).unwrap();
        }
        let said = all_of(&spool);
        drop(spool);
        let spool = other.open();
        for n in 1..=records {
            spool.record(arrived(id(n + 20), n.into()), Local::none()).unwrap();
        }
        drop(spool);
        let index = "index/index.redb";
        fs::copy(other.dir.path().join(index), world.dir.path().join(index)).unwrap();
        assert_eq!(all_of(&world.open()), said, "an index of {records} records of another ledger was believed");
    }
}

#[test]
fn a_parcel_goes_forward_and_an_end_is_an_end() {
    let world = World::new();
    let spool = world.open();
    let state = |spool: &Spool| spool.parcel(&id(1)).unwrap().unwrap();
    spool.record(accepted(id(1), id(2), 9, 4), Local::none()).unwrap();
    assert_eq!(state(&spool).state, State::Accepted);
    assert_eq!(spool.parcel_of_bundle(&id(2)).unwrap(), Some(id(1)));
    assert!(!spool.bundle_taken(&id(2)).unwrap(), "ours, sent by us");
    let receipt = |outcome, reason| {
        let mut receipt = record(Event::ReceiptTaken, id(1));
        (receipt.peer, receipt.outcome, receipt.reason) = (Some(name("extranet-1")), Some(outcome), reason);
        receipt
    };
    spool.record(receipt(Outcome::Arrived, None), Local::none()).unwrap();
    assert_eq!((state(&spool).state, state(&spool).custody_passed), (State::Sent, true));
    spool.record(record(Event::Expired, id(1)), Local::none()).unwrap();
    spool.record(receipt(Outcome::Refused, Some(Reason::Coordinates)), Local::none()).unwrap();
    assert_eq!((state(&spool).state, state(&spool).reason), (State::Refused, Some(Reason::Coordinates)));
    for event in [Event::Relayed, Event::Delivering, Event::Delivered, Event::Expired, Event::Duplicate] {
        spool.record(record(event, id(1)), Local::none()).unwrap();
        assert_eq!(state(&spool).state, State::Refused);
    }
    let mut foreign = record(Event::Delivered, id(1));
    foreign.origin = Some(name("somebody-else"));
    spool.record(foreign, Local::none()).unwrap();
    assert_eq!(state(&spool).state, State::Refused);
}

#[test]
fn gaps_are_what_was_announced_or_passed_over_and_not_withdrawn() {
    let world = World::new();
    let spool = world.open();
    let (peer, hop) = (name("extranet-1"), HOP.back());
    for n in [1_u8, 2, 5, 9] {
        spool.record(arrived(id(n), n.into()), Local::none()).unwrap();
    }
    let gaps = |spool: &Spool| spool.gaps(&peer, hop);
    let missing = |ranges: &[(u64, u64)], through| {
        let missing = ranges.iter().map(|(from, to)| Range { from: *from, to: *to }).collect();
        vec![EpochGaps { epoch: 5, through, missing }]
    };
    assert_eq!(gaps(&spool), missing(&[(3, 4), (6, 8)], 9));
    spool.announce(&peer, hop, 5, 64);
    assert_eq!(gaps(&spool), missing(&[(3, 4), (6, 8), (10, 63)], 63));
    let size = spool.head().size;
    let told = missing(&[(4, 6), (10, 63)], 63);
    spool.withdraw(&peer, hop, &told).unwrap();
    assert_eq!(gaps(&spool), missing(&[(3, 3), (7, 8)], 63));
    assert_eq!(spool.head().size, size + 3, "4, 6 and 10 to 63; 5 was seen");
    spool.withdraw(&peer, hop, &told).unwrap();
    assert_eq!(spool.head().size, size + 3, "said twice, recorded once");
    drop(spool);
    let spool = world.open();
    assert_eq!(gaps(&spool), missing(&[(3, 3), (7, 8)], 63));
    assert_eq!(spool.seen(&peer, hop, 5, 9).unwrap(), Seen::Before);
    assert_eq!(spool.seen(&peer, hop, 5, 3).unwrap(), Seen::New);
    assert_eq!(spool.seen(&peer, hop, 6, 9).unwrap(), Seen::New);
    let mut forged = arrived(id(60), 3);
    (forged.event, forged.reason) = (Event::Refused, Some(Reason::NotAuthentic));
    spool.record(forged, Local::none()).unwrap();
    assert_eq!(spool.seen(&peer, hop, 5, 3).unwrap(), Seen::New, "a number nobody proved is not taken");
    assert!(!spool.bundle_taken(&id(60)).unwrap());
}

#[test]
fn the_outbox_gives_the_most_urgent_first_and_then_the_oldest() {
    let world = World::new();
    let spool = world.open();
    let outbox = spool.outbox(HOP);
    let commit = |n: u8, priority, epoch, sequence| {
        let staged = spool.layout().sealing().join("staged");
        fs::write(&staged, [n; 10]).unwrap();
        outbox.commit(&staged, &id(n), EntryKind::Bundle, priority, epoch, sequence).unwrap()
    };
    let rung = spool.bell().generation();
    commit(1, Priority::Bulk, 1, 1);
    commit(2, Priority::Normal, 2, 1);
    commit(3, Priority::Normal, 1, 300);
    commit(4, Priority::Urgent, 2, 2);
    assert!(spool.bell().generation() >= rung + 4);
    let order = |outbox: &Outbox| outbox.entries().unwrap().iter().map(|entry| entry.id.0[0]).collect::<Vec<_>>();
    assert_eq!(order(&outbox), [4, 3, 2, 1]);
    let third = outbox.find(&id(3)).unwrap().unwrap();
    assert_eq!(outbox.load(), (4, 40));
    outbox.remove(&third).unwrap();
    outbox.remove(&third).unwrap();
    fs::write(spool.layout().outbox(HOP).join("2-00000001-nonsense.bundle"), b"").unwrap();
    drop(outbox);
    drop(spool);
    assert_eq!(order(&world.open().outbox(HOP)), [4, 2, 1]);
}

#[test]
fn a_partial_file_continues_where_it_ended() {
    let world = World::new();
    let spool = world.open();
    let begin = |spool: &Spool, size| spool.arrivals(HOP).begin(&id(1), EntryKind::Bundle, size);
    let partial = |begin: Result<Begin, SpoolError>| match begin.unwrap() {
        Begin::Partial(partial) => partial,
        Begin::Have => panic!("it is not here yet"),
    };
    let mut first = partial(begin(&spool, 10));
    assert!(matches!(begin(&spool, 10), Err(SpoolError::Busy { .. })), "one connection at a time");
    first.write(b"01234").unwrap();
    drop(first);
    drop(spool);
    let spool = world.open();
    let mut again = partial(begin(&spool, 10));
    assert_eq!(again.offset(), 5);
    assert!(matches!(again.write(b"567890"), Err(SpoolError::TooMany { .. })));
    again.write(b"56789").unwrap();
    again.finish().unwrap();
    assert!(matches!(begin(&spool, 10).unwrap(), Begin::Have));
    let entry = spool.arrivals(HOP).completed().unwrap().remove(0);
    assert_eq!((fs::read(&entry.path).unwrap(), entry.size), (b"0123456789".to_vec(), 10));
    let checked = spool.arrivals(HOP).check_in(&entry).unwrap();
    assert_eq!(spool.checked().unwrap(), vec![checked.clone()]);
    assert!(matches!(begin(&spool, 10).unwrap(), Begin::Have));
    spool.record(arrived(id(1), 1), Local::none()).unwrap();
    fs::remove_file(checked.path).unwrap();
    assert!(matches!(begin(&spool, 10).unwrap(), Begin::Have), "the ledger remembers it");
    fs::write(world.dir.path().join("queues/boot"), b"another start of the machine").unwrap();
    let mut other = match spool.arrivals(HOP).begin(&id(2), EntryKind::Receipts, 10).unwrap() {
        Begin::Partial(partial) => partial,
        Begin::Have => panic!("it is not here yet"),
    };
    other.write(b"01").unwrap();
    drop((other, spool));
    let spool = world.open();
    assert_eq!(
        fs::read_dir(spool.layout().partial(HOP)).unwrap().count(),
        0,
        "a power cut makes partial files doubtful"
    );
}

#[test]
fn a_file_from_elsewhere_is_taken_once() {
    let world = World::new();
    let spool = world.open();
    let arrivals = spool.arrivals(HOP);
    let file = world.dir.path().join("from-a-medium");
    for _ in 0..2 {
        fs::write(&file, b"sealed").unwrap();
        arrivals.take_file(&id(1), EntryKind::Bundle, &file).unwrap();
        assert!(!file.exists());
        assert_eq!(arrivals.completed().unwrap().len(), 1);
    }
}

#[test]
fn what_a_process_finds_whole_after_one_that_died_outlasts_a_loss_of_power() {
    for from in ["desk/incoming/trip/carried", "queues/arrivals/internet-extranet/partial/carried"] {
        for seed in 1..9 {
            let world = World::new();
            let (file, grave) = (world.dir.path().join(from), world.dir.path().with_extension("grave"));
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::create_dir(&grave).unwrap();
            fs::write(&file, b"sealed").unwrap();
            let power = Power::on(&grave, seed).unwrap();
            let setup = Setup { disk: Disk::with_power(power.clone(), Fuse::after(u64::MAX)), ..world.setup() };
            // It died between the move and the sync of the folders.
            let complete =
                Layout::new(world.dir.path()).complete(HOP).join(Entry::arrival_name(&id(1), EntryKind::Bundle));
            setup.disk.rename_new_unsynced(&file, &complete).unwrap();
            let spool = Spool::open(setup.clone()).unwrap();
            assert_eq!(spool.arrivals(HOP).completed().unwrap().len(), 1, "and its arrival is recorded");
            drop(spool);
            power.cut().unwrap();
            let spool = Spool::open(setup).unwrap();
            assert_eq!(spool.arrivals(HOP).completed().unwrap().len(), 1, "{from}, seed {seed}");
        }
    }
}

#[test]
fn nothing_is_taken_below_the_floor_and_records_still_are() {
    let world = World::new();
    let spool = world.open();
    spool.set_floor(Floor { bytes: u64::MAX, inodes: 0 });
    assert!(matches!(spool.arrivals(HOP).begin(&id(1), EntryKind::Bundle, 1), Err(SpoolError::Full { .. })));
    spool.record(arrived(id(1), 1), Local::none()).unwrap();
}

#[test]
fn an_inlet_settles_ignores_and_refuses() {
    let world = World::new();
    let spool = world.open();
    let dir = spool.layout().inlet(&name("cases"));
    let mut inlet = Inlet::open(&spool, &name("cases"), IntakeMode::Settle { quiet_ms: 1_000 }).unwrap();
    for ignored in [".hidden", "Thumbs.db", "desktop.ini", "~$case.docx"] {
        fs::write(dir.join(ignored), b"").unwrap();
    }
    fs::write(dir.join("whole.xml"), b"<a/>").unwrap();
    fs::write(dir.join("growing.zip"), b"PK").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", dir.join("link")).unwrap();
    fs::hard_link(dir.join("whole.xml"), world.dir.path().join("second-name")).unwrap();
    fs::create_dir(dir.join("folder")).unwrap();
    fs::write(dir.join("folder/form.json"), b"{}").unwrap();
    fs::write(dir.join("bad\nname"), b"").unwrap();
    let gb18030 = std::os::unix::ffi::OsStringExt::from_vec(vec![0xc9, 0xea, 0xc7, 0x5c, b'.', b'x']);
    fs::write(dir.join::<std::ffi::OsString>(gb18030), b"<?xml version='1.0'?><a/>").unwrap();
    assert!(inlet.scan(Timestamp(10_000)).unwrap().is_empty(), "seen once only");
    assert_eq!(inlet.ignored(), 4);
    fs::write(dir.join("growing.zip"), [b"PK\x05\x06".as_slice(), &[0; 18]].concat()).unwrap();
    let found = inlet.scan(Timestamp(11_000)).unwrap();
    let said: BTreeMap<String, Option<Reason>> =
        found.iter().map(|candidate| (candidate.name.to_string_lossy().into_owned(), candidate.refused)).collect();
    assert_eq!(said.get("growing.zip"), None, "it changed");
    assert_eq!(said["whole.xml"], Some(Reason::NotAFile), "it has a second name");
    assert_eq!(said["link"], Some(Reason::NotAFile));
    assert_eq!(said["folder"], None);
    assert_eq!(said["bad\nname"], Some(Reason::BadName));
    assert_eq!(
        found.iter().filter(|candidate| candidate.refused.is_none()).count(),
        2,
        "the folder and the GB18030 name"
    );
    let folder = found.iter().find(|candidate| candidate.folder).unwrap();
    let claim = inlet.claim(folder, id(1)).unwrap();
    assert_eq!(fs::read(claim.path.join("form.json")).unwrap(), b"{}");
    assert_eq!(inlet.refused(&claim).unwrap(), None);
    assert_eq!(inlet.claimed().unwrap(), vec![claim.clone()]);
    fs::create_dir(spool.layout().claimed(&name("cases")).join(id(9).to_string())).unwrap();
    assert_eq!(inlet.claimed().unwrap().len(), 1);
    inlet.discard(&claim).unwrap();
    assert_eq!(
        fs::read_dir(spool.layout().claimed(&name("cases"))).unwrap().count(),
        0,
        "empty claims are cleared away"
    );
    let later = inlet.scan(Timestamp(12_000)).unwrap();
    assert!(later.iter().any(|candidate| candidate.name == "growing.zip"));
}

#[test]
fn a_ready_marker_is_neither_lost_nor_believed_twice_whatever_effect_the_claim_dies_at() {
    let mut effects = 0;
    loop {
        let world = World::new();
        drop(world.open());
        let dir = world.setup().root.join("inlet/cases");
        fs::write(dir.join("a.xml"), b"a").unwrap();
        fs::write(dir.join("a.xml.ready"), b"").unwrap();
        fs::write(dir.join("b.xml"), b"b").unwrap();
        let mode = || IntakeMode::Ready { suffix: ".ready".into() };
        let (opened, fuse) = world.dying(effects);
        if let Ok(spool) = opened {
            let mut inlet = Inlet::open(&spool, &name("cases"), mode()).unwrap();
            let found = inlet.scan(Timestamp(1)).unwrap();
            assert_eq!(found.len(), 1);
            let _died = inlet.claim(&found[0], id(1));
        }
        let spool = world.open();
        let mut inlet = Inlet::open(&spool, &name("cases"), mode()).unwrap();
        let mut claims = inlet.claimed().unwrap();
        for candidate in inlet.scan(Timestamp(2)).unwrap() {
            claims.push(inlet.claim(&candidate, id(2)).unwrap());
        }
        assert_eq!(claims.len(), 1, "after {effects} effects");
        assert_eq!(fs::read(&claims[0].path).unwrap(), b"a");
        fs::write(dir.join("a.xml"), b"a new one, half written").unwrap();
        assert!(inlet.scan(Timestamp(3)).unwrap().is_empty(), "the old marker is gone");
        if !fuse.burnt() {
            return;
        }
        effects += 1;
    }
}

#[test]
fn a_taken_name_in_the_outlet_gets_a_number() {
    let world = World::new();
    let spool = world.open();
    let outlet = Outlet::open(&spool, &name("cases")).unwrap();
    let names: Vec<_> = (1..=3)
        .map(|n| {
            let item = outlet.stage(&id(n)).unwrap();
            fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(item).unwrap();
            outlet.settle(&[id(n)]).unwrap();
            assert_eq!(outlet.standing(&id(n)).unwrap(), Standing::Staged);
            outlet.deliver(&[(id(n), "图.tar.gz".as_ref())]).unwrap().remove(0).unwrap()
        })
        .collect();
    assert_eq!(names, ["图.tar.gz", "图.tar (2).gz", "图.tar (3).gz"]);
    assert_eq!(outlet.standing(&id(1)).unwrap(), Standing::Renamed);
    outlet.forget(&id(1)).unwrap();
    assert_eq!(outlet.standing(&id(1)).unwrap(), Standing::Unknown);
    for bad in ["../up", "", ".staging", "a/b"] {
        fs::write(outlet.stage(&id(8)).unwrap(), b"").unwrap();
        fs::write(outlet.stage(&id(9)).unwrap(), b"").unwrap();
        outlet.settle(&[id(8), id(9)]).unwrap();
        let delivered = outlet.deliver(&[(id(9), bad.as_ref()), (id(8), "good".as_ref())]).unwrap();
        assert!(delivered[0].is_err() && delivered[1].is_ok(), "{bad}: what one cannot have no other waits for");
        assert_eq!(outlet.standing(&id(9)).unwrap(), Standing::Staged);
        assert_eq!(outlet.standing(&id(8)).unwrap(), Standing::Renamed);
    }
}

#[test]
fn of_a_delivery_that_was_made_ready_in_another_folder_nothing_is_said() {
    let world = World::new();
    let spool = world.open();
    let outlet = Outlet::open(&spool, &name("cases")).unwrap();
    fs::write(outlet.stage(&id(1)).unwrap(), b"a").unwrap();
    outlet.settle(&[id(1)]).unwrap();
    // The share is away; under its mount point an empty staging stands, from the day of `init`.
    let staging = spool.layout().outlet_staging(&name("cases"));
    fs::rename(&staging, staging.with_file_name("away")).unwrap();
    fs::create_dir(&staging).unwrap();
    assert_eq!(outlet.standing(&id(1)).unwrap(), Standing::Unknown);
    fs::remove_dir(&staging).unwrap();
    fs::rename(staging.with_file_name("away"), &staging).unwrap();
    assert_eq!(outlet.standing(&id(1)).unwrap(), Standing::Staged);
}

#[test]
fn what_an_earlier_version_made_ready_in_a_folder_is_delivered_or_thrown_away() {
    let world = World::new();
    let spool = world.open();
    let outlet = Outlet::open(&spool, &name("cases")).unwrap();
    let staging = spool.layout().outlet_staging(&name("cases"));
    for n in 1..=2 {
        fs::create_dir(staging.join(id(n).to_string())).unwrap();
        fs::write(staging.join(id(n).to_string()).join("a.txt"), b"a").unwrap();
    }
    assert_eq!(Vec::from_iter(outlet.staged().unwrap()), [id(1), id(2)]);
    outlet.deliver(&[(id(1), "a.txt".as_ref())]).unwrap().remove(0).unwrap();
    outlet.discard(&id(2)).unwrap();
    assert!(outlet.staged().unwrap().is_empty() && fs::read_dir(staging).unwrap().next().is_none());
    assert_eq!(fs::read(spool.layout().outlet(&name("cases")).join("a.txt")).unwrap(), b"a");
}

#[test]
fn a_notice_replaces_its_own_parcels_notice_and_nobody_elses() {
    let world = World::new();
    let spool = world.open();
    let put = |parcel, state| {
        let notice = Notice {
            parcel,
            name: "申请.xml".into(),
            route: name("cases"),
            state,
            reason: None,
            claimed: Timestamp(1),
            at: Timestamp(2),
            details: serde_json::Value::Null,
        };
        spool.notice(&name("cases"), &notice).unwrap();
    };
    let listed = || {
        let dir = fs::read_dir(spool.layout().notices(&name("cases"))).unwrap();
        dir.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<BTreeSet<_>>()
    };
    put(id(1), NoticeState::Accepted);
    put(id(1), NoticeState::Sent);
    assert_eq!(listed(), BTreeSet::from(["申请.xml.sent.json".to_owned()]));
    put(id(2), NoticeState::Accepted);
    put(id(2), NoticeState::Sent);
    put(id(2), NoticeState::Sent);
    let with_id = format!("申请.xml.{}.sent.json", id(2));
    assert_eq!(listed(), BTreeSet::from(["申请.xml.sent.json".to_owned(), with_id.clone()]));
    put(id(1), NoticeState::Delivered);
    assert_eq!(listed(), BTreeSet::from(["申请.xml.delivered.json".to_owned(), with_id]));
    put(id(2), NoticeState::Delivered);
    assert_eq!(listed().len(), 2);
}

#[test]
fn evidence_is_filed_under_its_day_and_nowhere_else() {
    let world = World::new();
    let spool = world.open();
    let kept = |at, name: &str| Kept { at: Timestamp(at), name: name.to_owned(), bytes: b"envelope".to_vec() };
    spool.keep_evidence(&[kept(1_709_210_096_000, "x.evidence"), kept(0, "y.evidence")]).unwrap();
    assert_eq!(fs::read(spool.layout().evidence().join("2024/02/29/x.evidence")).unwrap(), b"envelope");
    assert!(spool.keep_evidence(&[kept(0, "../x")]).is_err());
}

#[test]
fn the_tree_is_open_to_apps_only_where_they_drop_and_pick_up() {
    let world = World::new();
    create(&world.setup()).unwrap();
    let mode = |path: &str| fs::metadata(world.dir.path().join(path)).unwrap().permissions().mode() & 0o7777;
    for shared in ["inlet/cases", "outlet/cases", "notices/cases", "desk/requests", "desk/answers"] {
        assert_eq!(mode(shared), 0o2770, "{shared}");
    }
    assert_eq!(mode("status"), 0o2750);
    for own in ["inlet/cases/.claimed", "outlet/cases/.staging", "queues/sealing", "ledger", "quarantine", "desk/own"] {
        assert_eq!(mode(own) & 0o777, 0o700, "{own}");
    }
}

#[test]
fn an_opened_spool_throws_away_what_was_half_made_and_leaves_what_may_be_owed() {
    let world = World::new();
    drop(world.open());
    let root = world.dir.path();
    fs::create_dir(root.join("queues/opening/plain")).unwrap();
    fs::write(root.join("queues/opening/plain/secret"), b"plaintext").unwrap();
    fs::write(root.join("queues/sealing/half"), b"half").unwrap();
    fs::write(root.join("ledger/.tmp-1-2"), b"half").unwrap();
    drop(world.open());
    for gone in ["queues/opening/plain", "ledger/.tmp-1-2"] {
        assert!(!root.join(gone).exists(), "{gone}");
    }
    assert!(root.join("queues/sealing/half").exists(), "a recorded bundle may wait here for its rename");
}

#[test]
fn what_the_ferrys_group_lays_under_a_name_aside_keeps_no_node_from_starting() {
    let world = World::new();
    let answers = world.setup().root.join("desk/answers");
    for times in 0..2 {
        fs::create_dir_all(answers.join(".tmp-x/below")).unwrap();
        fs::write(answers.join(".tmp-x/below/file"), b"x").unwrap();
        std::os::unix::fs::symlink(world.dir.path(), answers.join(".tmp-y")).unwrap();
        drop(world.open());
        assert_eq!(fs::read_dir(&answers).unwrap().count(), 0, "start {times}");
        assert!(world.setup().root.join("ledger").exists(), "no link is followed");
    }
}

/// A spool on a machine that may lose power, and its power.
fn powered(world: &World) -> (Setup, Power) {
    let graveyard = world.dir.path().with_extension("grave");
    fs::create_dir_all(&graveyard).unwrap();
    let power = Power::on(&graveyard, 1).unwrap();
    let disk = Disk::with_power(power.clone(), Fuse::after(u64::MAX));
    (Setup { disk, ..world.setup() }, power)
}

#[test]
fn a_drop_whose_claim_the_disk_would_not_sync_is_still_there() {
    for fault in [Fault::Unsynced, Fault::Broken] {
        for one_in in 1..6 {
            let world = World::new();
            let (setup, power) = powered(&world);
            let spool = Spool::open(setup).unwrap();
            let drop = spool.layout().inlet(&name("cases")).join("drop");
            fs::write(&drop, b"all there is").unwrap();
            let mut inlet = Inlet::open(&spool, &name("cases"), IntakeMode::Rename).unwrap();
            let seen = inlet.scan(Timestamp(1_795_305_600_000)).unwrap();
            power.set_weather(Some(Weather { fault, one_in }));
            let _refused = inlet.claim(&seen[0], id(1));
            power.set_weather(None);
            let claimed = inlet.claimed().unwrap();
            let place = claimed.first().map_or(drop, |claim| claim.path.clone());
            assert_eq!(fs::read(place).unwrap(), b"all there is", "{fault:?}, one in {one_in}");
        }
    }
}

#[test]
fn a_notice_that_lost_power_before_it_was_synced_is_swept_and_a_replaced_one_too() {
    let world = World::new();
    let (setup, power) = powered(&world);
    let spool = Spool::open(setup.clone()).unwrap();
    let dir = spool.layout().notices(&name("cases"));
    let notice = |parcel, state| Notice {
        parcel: id(parcel),
        name: "drop".into(),
        route: name("cases"),
        state,
        reason: None,
        claimed: Timestamp(1),
        at: Timestamp(1_795_305_600_000),
        details: serde_json::Value::Null,
    };
    spool.notice(&name("cases"), &notice(1, NoticeState::Accepted)).unwrap();
    let accepted = fs::read(dir.join("drop.accepted.json")).unwrap();
    spool.notice(&name("cases"), &notice(1, NoticeState::Delivered)).unwrap();
    spool.notice(&name("cases"), &notice(2, NoticeState::Accepted)).unwrap();
    drop(spool);
    power.cut().unwrap();
    // What a cut may leave, whatever this one left.
    fs::write(dir.join("drop.accepted.json"), accepted).unwrap();
    fs::write(dir.join(format!("drop.{}.accepted.json", id(2))), [0; 300]).unwrap();
    drop(Spool::open(setup).unwrap());
    let left: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["drop.delivered.json"]);
}

#[test]
fn an_entry_with_a_second_name_is_read_by_others_and_written_by_nobody_and_outlives_the_first() {
    let world = World::new();
    let spool = world.open();
    let outbox = spool.outbox(HOP);
    let staged = spool.layout().sealing().join("staged");
    fs::write(&staged, [1; 10]).unwrap();
    fs::set_permissions(&staged, fs::Permissions::from_mode(0o660)).unwrap();
    let large = outbox.commit(&staged, &id(1), EntryKind::Bundle, Priority::Normal, 1, 1).unwrap();
    let second = spool.layout().desk_trips().join("second");
    assert_eq!(outbox.link(&large, &second).unwrap(), Some(Linked { opened: true }));
    let about = fs::metadata(&second).unwrap();
    assert_eq!((about.mode() & 0o7777, about.nlink()), (0o644, 2));
    // Never over what stands there; and what is open already is not made open again.
    assert_eq!(outbox.link(&large, &second).unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
    let third = spool.layout().desk_trips().join("third");
    assert_eq!(outbox.link(&large, &third).unwrap(), Some(Linked { opened: false }));
    outbox.remove(&large).unwrap();
    assert_eq!(fs::read(&second).unwrap(), [1; 10]);
    assert_eq!(outbox.link(&large, &second.with_extension("late")).unwrap(), None, "it has left the outbox");
    // What shares a segment has no file of its own.
    let small = Small {
        id: id(2),
        kind: EntryKind::Bundle,
        priority: Priority::Normal,
        epoch: 1,
        sequence: 2,
        bytes: vec![2; 10],
    };
    outbox.stage(&[small]).unwrap();
    outbox.publish(&[id(2)]);
    let small = outbox.find(&id(2)).unwrap().unwrap();
    assert_eq!(outbox.link(&small, &second.with_extension("small")).unwrap(), None);
}

/// It is copied, and the other entries get their second names: a file of somebody else, one that has just gone, another
/// mount, a file system that knows no second names, too many of them, a damaged file.
#[test]
fn an_entry_that_gets_no_second_name_is_no_error() {
    use rustix::io::Errno;
    let refused = [Errno::PERM, Errno::ACCESS, Errno::XDEV, Errno::MLINK, Errno::NOTSUP, Errno::IO];
    let links = refused.map(|errno| Fault::NoLinks(errno.raw_os_error()));
    let modes = [Errno::PERM, Errno::NOENT, Errno::IO].map(|errno| Fault::NoModes(errno.raw_os_error()));
    for fault in links.into_iter().chain(modes) {
        let world = World::new();
        let (setup, power) = powered(&world);
        let spool = Spool::open(setup).unwrap();
        let outbox = spool.outbox(HOP);
        let staged = spool.layout().sealing().join("staged");
        fs::write(&staged, [1; 10]).unwrap();
        fs::set_permissions(&staged, fs::Permissions::from_mode(0o660)).unwrap();
        let large = outbox.commit(&staged, &id(1), EntryKind::Bundle, Priority::Normal, 1, 1).unwrap();
        let (trips, second) = (spool.layout().desk_trips(), spool.layout().desk_trips().join("second"));
        power.set_weather(Some(Weather { fault, one_in: 1 }));
        assert_eq!(outbox.link(&large, &second).unwrap(), None, "{fault:?}");
        assert_eq!(outbox.gives_link(&large, &trips), matches!(fault, Fault::NoModes(_)), "{fault:?}");
        power.set_weather(None);
        assert!(outbox.gives_link(&large, &trips) && outbox.link(&large, &second).unwrap().is_some(), "{fault:?}");
        let left: Vec<_> = fs::read_dir(&trips).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["second"], "nothing is left of a trial");
    }
}

/// The directory of the second name was synced: no cut of power takes it, whatever becomes of the first.
#[test]
fn a_second_name_that_was_synced_survives_every_cut_of_power() {
    for seed in 0..40 {
        let (root, grave) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let power = crate::power::Power::on(grave.path(), seed).unwrap();
        let disk = Disk::with_power(power.clone(), Fuse::after(u64::MAX));
        let (first, second) = (root.path().join("outbox/first"), root.path().join("trip/second"));
        for folder in [&first, &second].map(|path| path.parent().unwrap()) {
            disk.create_dir_all(folder).unwrap();
        }
        disk.write(&first, b"sealed").unwrap();
        disk.link_unsynced(&first, &second).unwrap();
        disk.sync_dir(second.parent().unwrap()).unwrap();
        disk.remove_file(&first).unwrap();
        power.cut().unwrap();
        assert_eq!(fs::read(&second).unwrap(), b"sealed", "seed {seed}");
        assert!(!first.exists() || fs::read(&first).unwrap() == b"sealed");
    }
}

#[test]
fn a_bundle_that_the_disk_would_not_sync_into_its_outbox_waits_where_it_was_sealed() {
    for one_in in 1..5 {
        let world = World::new();
        let (setup, power) = powered(&world);
        let spool = Spool::open(setup).unwrap();
        let staged = spool.layout().sealing().join("staged.bundle");
        fs::write(&staged, b"sealed").unwrap();
        let commit = || spool.outbox(HOP).commit(&staged, &id(1), EntryKind::Bundle, Priority::Normal, 1, 1);
        power.set_weather(Some(Weather { fault: Fault::Unsynced, one_in }));
        let entered = commit().is_ok();
        power.set_weather(None);
        assert!(entered || commit().is_ok(), "one in {one_in}: nobody finds it but here");
        assert!(spool.outbox(HOP).find(&id(1)).unwrap().is_some());
    }
}

#[test]
fn an_index_whose_sync_failed_is_made_anew_in_another_file() {
    let world = World::new();
    let (setup, power) = powered(&world);
    let spool = Spool::open(setup.clone()).unwrap();
    power.set_weather(Some(Weather { fault: Fault::Unsynced, one_in: 1 }));
    spool.rebuild_index().unwrap_err();
    power.set_weather(None);
    drop(spool);
    let spool = Spool::open(setup).unwrap();
    intake(&spool, Timestamp(1_795_305_600_000)).unwrap();
    assert_eq!(power.broken(), None);
}

#[test]
fn a_spool_opens_while_folders_of_a_route_are_away_and_nobody_builds_on_them_before_they_are_back() {
    let world = World::new();
    let layout = Layout::new(world.dir.path());
    let (outlet, inlet) = (layout.outlet(&name("cases")), layout.inlet(&name("cases")));
    let aside = |folder: &Path| folder.with_extension("aside");
    for folder in [&outlet, &inlet] {
        fs::rename(folder, aside(folder)).unwrap();
    }
    let spool = world.open();
    let opened = |spool: &Spool| {
        let inlet = Inlet::open(spool, &name("cases"), IntakeMode::Rename);
        (Outlet::open(spool, &name("cases")).is_ok(), inlet.is_ok())
    };
    assert_eq!(opened(&spool), (false, false));
    for folder in [&outlet, &inlet] {
        fs::rename(aside(folder), folder).unwrap();
    }
    assert_eq!(opened(&spool), (true, true));
    drop(spool);
    // A file that somebody laid into the staging is nothing that keeps a node from starting.
    fs::write(layout.outlet_staging(&name("cases")).join("somebodys"), b"").unwrap();
    fs::remove_file(layout.queues().join("boot")).unwrap();
    drop(world.open());
}

#[test]
fn a_copy_that_fails_leaves_nothing_aside() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    fs::write(&from, b"1").unwrap();
    fs::write(&to, b"2").unwrap();
    for _ in 0..3 {
        assert_eq!(Disk::real().copy(&from, &to).unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn what_is_no_plain_file_is_not_opened_in_a_folder_of_apps() {
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| dir.path().join(name);
    fs::write(place("plain"), b"1234").unwrap();
    std::os::unix::fs::symlink("plain", place("link")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, place("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert_eq!(disk::read_plain(&place("plain"), 4).unwrap(), b"1234");
    for other in ["link", "pipe", "."] {
        assert_eq!(disk::read_plain(&place(other), 4).unwrap_err().kind(), std::io::ErrorKind::InvalidData, "{other}");
    }
    assert!(disk::read_plain(&place("plain"), 3).is_err());
}
