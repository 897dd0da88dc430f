//! A gate of the simulated kind between two folders: it moves files when it likes, half at first, out of order and
//! twice. Both sides are told the time; nothing sleeps.

mod ends;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ends::{Nodes, START, bundle_like, id_of};
use folder_link::{Incoming, Link, Outgoing, Settings, Stop};
use protocol::parcel::Priority;
use protocol::{BundleId, Crossing, Timestamp, Zone};
use spool::EntryKind;
use spool::disk::Disk;

const CROSSING: Crossing = Crossing::ExtranetToIntranet;

struct Office {
    root: tempfile::TempDir,
    outside: Link,
    inside: Link,
    settings: Settings,
    now: Timestamp,
}

impl Office {
    fn new() -> Office {
        let root = tempfile::tempdir().expect("a folder");
        let nodes = Nodes::of(Zone::Extranet, Zone::Intranet);
        let [outside, inside] = [Zone::Extranet, Zone::Intranet].map(|zone| {
            nodes.create(root.path(), zone);
            let link = nodes.open(root.path(), zone, Disk::real(), START).expect("a spool");
            Link { outbound: Some(CROSSING), inbound: Some(CROSSING), ..link }
        });
        let (out, back) = (root.path().join("out"), root.path().join("in"));
        Disk::real().create_dir_all(&out).expect("a folder");
        Disk::real().create_dir_all(&back).expect("a folder");
        let settings = Settings { suffix: ".dat".to_owned(), ..Settings::between(Some(out), Some(back)) };
        Office { root, outside, inside, settings, now: START }
    }

    fn outgoing(&self) -> Outgoing {
        Outgoing::open(&self.outside, &self.settings, self.now).expect("a sender")
    }

    fn incoming(&self) -> Incoming {
        Incoming::open(&self.inside, &self.settings, self.now).expect("a receiver")
    }

    fn out(&self) -> PathBuf {
        self.root.path().join("out")
    }

    fn back(&self) -> PathBuf {
        self.root.path().join("in")
    }

    fn pass(&mut self, seconds: u64) -> Timestamp {
        self.now = self.now.plus_ms(seconds * 1_000);
        self.now
    }

    fn bundle(&self, sequence: u64, payload: usize) -> (BundleId, Vec<u8>) {
        let bytes = bundle_like(CROSSING, sequence, payload);
        assert!(ends::commit(&self.outside, CROSSING, sequence, EntryKind::Bundle, &bytes));
        (id_of(sequence), bytes)
    }

    fn receipts(&self, sequence: u64) -> BundleId {
        let bytes = ends::batch(&self.outside, CROSSING, sequence);
        assert!(ends::commit(&self.outside, CROSSING, sequence, EntryKind::Receipts, &bytes));
        id_of(sequence)
    }

    fn arrived(&self) -> Vec<BundleId> {
        let mut ids: Vec<_> =
            self.inside.spool.arrivals(CROSSING).completed().expect("a list").iter().map(|e| e.id).collect();
        ids.sort();
        ids
    }

    /// The gate moves everything at once.
    fn carry(&self) -> usize {
        let files = listing(&self.out());
        for (name, bytes) in &files {
            Disk::real().write(&self.back().join(name), bytes).expect("moved");
            Disk::real().remove_file(&self.out().join(name)).expect("moved");
        }
        files.len()
    }
}

fn listing(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = std::fs::read_dir(folder).expect("a folder").map(|file| file.expect("a file"));
    files.map(|f| (f.file_name().into_string().expect("a name"), std::fs::read(f.path()).expect("bytes"))).collect()
}

#[test]
fn files_cross_the_gate_once_whatever_it_does_to_them() {
    let mut office = Office::new();
    let (mut outgoing, mut incoming) = (office.outgoing(), office.incoming());
    let (bundle, bytes) = office.bundle(1, 100_000);
    let receipts = office.receipts(2);
    outgoing.step(office.now).expect("a step");
    assert_eq!(listing(&office.out()).len(), 3, "two entries and a beacon");
    let name = format!("{bundle}.bundle.dat");
    let target = office.back().join(&name);

    // The gate writes slowly, and pauses for longer than two looks.
    for cut in [0, 5, 200, 50_000, bytes.len() - 1] {
        Disk::real().write(&target, &bytes[..cut]).expect("half");
        for _ in 0..4 {
            incoming.step(office.pass(2)).expect("a step");
        }
        assert!(target.exists() && office.arrived().is_empty(), "{cut} bytes are not a bundle");
    }
    // Something that is no file of ours, and something with bytes behind its end.
    Disk::real().write(&office.back().join("thumbs.db"), b"x").expect("written");
    Disk::real().write(&target, &[bytes.clone(), vec![0]].concat()).expect("too long");
    incoming.step(office.pass(2)).expect("a step");
    incoming.step(office.pass(2)).expect("a step");
    assert_eq!((office.arrived(), incoming.status().foreign), (vec![], 1));

    office.carry();
    incoming.step(office.pass(2)).expect("a step");
    assert_eq!(office.arrived(), [], "seen once");
    incoming.step(office.pass(2)).expect("a step");
    assert_eq!(office.arrived(), [bundle, receipts]);
    assert_eq!(listing(&office.back()).keys().collect::<Vec<_>>(), ["thumbs.db"]);

    // Twice, and the first was admitted.
    for entry in office.inside.spool.arrivals(CROSSING).completed().expect("a list") {
        assert!(ends::admit(&office.inside, CROSSING, &entry));
    }
    Disk::real().write(&target, &bytes).expect("again");
    incoming.step(office.pass(2)).expect("a step");
    incoming.step(office.pass(2)).expect("a step");
    assert!(office.arrived() == [bundle, receipts] && !target.exists());
    assert_eq!((incoming.status().beacons, incoming.status().waiting), (1, 0));
}

#[test]
fn what_the_gate_swallowed_is_written_again_until_it_leaves_the_outbox() {
    let mut office = Office::new();
    let mut outgoing = office.outgoing();
    let (bundle, _) = office.bundle(1, 1_000);
    let name = format!("{bundle}.bundle.dat");
    outgoing.step(office.now).expect("a step");
    Disk::real().remove_file(&office.out().join(&name)).expect("swallowed");
    outgoing.step(office.pass(1)).expect("a step");
    assert_eq!(outgoing.rounds(&bundle), 1);
    assert!(!office.out().join(&name).exists(), "not before the round is due");
    // A restart forgets neither round nor turn.
    let mut outgoing = office.outgoing();
    outgoing.step(office.pass(10)).expect("a step");
    assert!(!office.out().join(&name).exists() && outgoing.rounds(&bundle) == 1);
    outgoing.step(office.pass(3_600)).expect("a step");
    assert!(office.out().join(&name).exists());
    let entry = office.outside.spool.outbox(CROSSING).entries().expect("a list").remove(0);
    office.outside.spool.outbox(CROSSING).remove(&entry).expect("removed");
    outgoing.step(office.pass(1)).expect("a step");
    assert!(!office.out().join(&name).exists(), "custody has passed");
}

#[test]
fn a_beacon_names_what_is_missing_and_a_forged_one_is_not_believed() {
    let mut office = Office::new();
    let (mut outgoing, mut incoming) = (office.outgoing(), office.incoming());
    let (lost, _) = office.bundle(1, 1_000);
    office.bundle(2, 1_000);
    outgoing.step(office.now).expect("a step");
    Disk::real().remove_file(&office.out().join(format!("{lost}.bundle.dat"))).expect("lost");
    let files = listing(&office.out());
    let (beacon, mut forged) = files
        .iter()
        .find(|(name, _)| name.starts_with("beacon"))
        .map(|(n, b)| (n.clone(), b.clone()))
        .expect("a beacon");
    let at = forged.len() / 2;
    forged[at] ^= 1;
    Disk::real().write(&office.back().join(&beacon), &forged).expect("forged");
    for _ in 0..2 {
        incoming.step(office.pass(1)).expect("a step");
    }
    incoming.step(office.pass(61)).expect("a step");
    assert_eq!((incoming.status().beacons, incoming.status().beacons_refused), (0, 1));
    assert!(office.inside.spool.gaps(&office.inside.peer, CROSSING).is_empty());
    office.carry();
    incoming.step(office.pass(1)).expect("a step");
    incoming.step(office.pass(1)).expect("a step");
    // Nothing was admitted here, so both numbers are still to come.
    let gaps = office.inside.spool.gaps(&office.inside.peer, CROSSING);
    assert_eq!(gaps.iter().map(|gap| (gap.epoch, gap.through)).collect::<Vec<_>>(), [(1, 2)]);
    assert!(incoming.status().last_beacon.is_some() && !incoming.status().silent);
    incoming.step(office.pass(200)).expect("a step");
    assert!(incoming.status().silent);
}

/// A time server that was wrong by years for some minutes.
#[test]
fn a_clock_that_went_years_ahead_and_came_back_puts_neither_rounds_nor_beacons_off() {
    const YEARS_MS: u64 = 8 * 365 * 24 * 3_600 * 1_000;
    let mut office = Office::new();
    let (mut outgoing, mut incoming) = (office.outgoing(), office.incoming());
    let (bundle, _) = office.bundle(1, 1_000);
    let name = format!("{bundle}.bundle.dat");
    let ahead = office.now.plus_ms(YEARS_MS);
    outgoing.step(ahead).expect("a step");
    office.carry();
    for second in 0..2 {
        incoming.step(ahead.plus_ms(second * 1_000)).expect("a step");
    }
    assert!(incoming.status().last_beacon.is_some() && !incoming.status().silent);
    // The gate takes it and loses it; then the clock is right again.
    let swallow = || Disk::real().remove_file(&office.out().join(&name)).expect("swallowed");
    swallow();
    outgoing.step(ahead.plus_ms(2_000)).expect("a step");
    let beacons = outgoing.status().beacons;
    outgoing.step(office.now).expect("a step");
    assert_eq!(outgoing.status().beacons, beacons + 1);
    assert!(office.out().join(&name).is_file(), "what was set for 2034 is due");
    // Nor does what was written down then outlive a restart.
    swallow();
    outgoing.step(ahead).expect("a step");
    let mut outgoing = office.outgoing();
    outgoing.step(office.pass(1)).expect("a step");
    assert!(office.out().join(&name).is_file());
    incoming.step(office.now).expect("a step");
    assert!(incoming.status().silent, "nobody knows how old a beacon of another time is");
    office.carry();
    for _ in 0..2 {
        incoming.step(office.pass(1)).expect("a step");
    }
    assert!(!incoming.status().silent);
}

#[test]
fn what_cannot_be_removed_is_told_and_holds_up_neither_files_nor_beacons() {
    let mut office = Office::new();
    let departed = format!("{}.bundle.dat", id_of(9));
    let in_the_way = [".tmp-x", departed.as_str(), "beacon-00000000-0000000000000001.tl.dat"];
    for name in in_the_way {
        Disk::real().create_dir_all(&office.out().join(name)).expect("a folder");
    }
    let mut outgoing = office.outgoing();
    let (bundle, _) = office.bundle(1, 1_000);
    assert!(outgoing.step(office.now).is_err() && outgoing.status().failing);
    assert!(office.out().join(format!("{bundle}.bundle.dat")).is_file());
    assert_eq!(outgoing.status().beacons, 1);
    // A beacon that cannot be removed is not followed by another with each bell.
    let beacons = || {
        let files = std::fs::read_dir(office.out()).expect("a folder").map(|file| file.expect("a file").path());
        files.filter(|path| path.is_file() && path.to_string_lossy().contains("beacon-")).collect::<Vec<_>>()
    };
    let stuck = beacons().remove(0);
    Disk::real().remove_file(&stuck).expect("removed");
    Disk::real().create_dir_all(&stuck).expect("a folder");
    for second in 1..=15 {
        assert!(outgoing.step(office.now.plus_ms(second * 1_000)).is_err());
    }
    assert_eq!((outgoing.status().beacons, beacons().len()), (2, 1));
    // Whatever is in the way goes, and nothing is failing any more.
    for path in in_the_way.map(|name| office.out().join(name)).iter().chain([&stuck]) {
        Disk::real().remove_dir(path).expect("removed");
    }
    outgoing.step(office.pass(16)).expect("a step");
    assert!(!outgoing.status().failing);
}

/// A gate that takes every file as soon as it is closed takes ours before it has its name.
#[test]
fn a_gate_that_takes_what_is_still_being_written_is_told() {
    let mut office = Office::new();
    let mut outgoing = office.outgoing();
    let (bundle, _) = office.bundle(1, 4 << 20);
    let folder = office.out();
    let over = Arc::new(AtomicBool::new(false));
    let gate = std::thread::spawn({
        let (folder, over) = (folder.clone(), Arc::clone(&over));
        move || {
            while !over.load(Ordering::Acquire) {
                for file in std::fs::read_dir(&folder).expect("a folder").flatten() {
                    if file.file_name().as_encoded_bytes().starts_with(b".tmp-") {
                        Disk::real().remove_file(&file.path()).expect("taken");
                    }
                }
            }
        }
    });
    // Where the gate was too slow once it takes the file as it should, and has its chance with the next round.
    let told = (0..200).find_map(|_| {
        let stepped = outgoing.step(office.pass(86_400));
        Disk::real().remove_file(&folder.join(format!("{bundle}.bundle.dat"))).expect("taken");
        stepped.err().map(|error| error.to_string()).filter(|error| error.contains(".bundle"))
    });
    over.store(true, Ordering::Release);
    gate.join().expect("the gate ends");
    let told = told.expect("it is told");
    assert!(told.contains("begin with a dot"), "{told}");
}

#[test]
fn what_is_too_large_to_lie_beside_others_is_not_overtaken_for_ever() {
    let mut office = Office::new();
    office.settings.bytes_max = 1 << 40;
    let mut outgoing = office.outgoing();
    let (first, _) = office.bundle(1, 1_000);
    outgoing.step(office.now).expect("a step");
    // Larger than all that may lie at once; a hole, for it is not written in this story.
    let outbox = office.outside.spool.outbox(CROSSING);
    let large = office.outside.spool.layout().sealing().join("large");
    Disk::real().create(&large).expect("created").set_len(9 << 30).expect("a hole");
    outbox.commit(&large, &id_of(2), EntryKind::Bundle, Priority::Normal, 1, 2).expect("committed");
    let (behind, _) = office.bundle(3, 1_000);
    let urgent = office.outside.spool.layout().sealing().join("urgent");
    Disk::real().write(&urgent, &bundle_like(CROSSING, 4, 1_000)).expect("written");
    outbox.commit(&urgent, &id_of(4), EntryKind::Bundle, Priority::Urgent, 1, 4).expect("committed");
    let lies = |id: &BundleId| office.root.path().join("out").join(format!("{id}.bundle.dat")).exists();
    outgoing.step(office.now.plus_ms(1_000)).expect("a step");
    assert!(lies(&first) && lies(&id_of(4)), "what is more urgent goes before it");
    assert!(!lies(&behind), "nothing behind it takes the room that it waits for");
    // A gate that leaves a file lying for ever keeps the large one back, and no other with it.
    outgoing.step(office.now.plus_ms(900_000)).expect("a step");
    assert!(lies(&behind) && outgoing.status().stalled > 0);
}

#[test]
fn a_beacon_is_said_before_a_step_writes_and_a_step_writes_so_many_bytes_and_no_more() {
    let office = Office::new();
    let mut outgoing = office.outgoing();
    for sequence in 1..=3 {
        let large = office.outside.spool.layout().sealing().join("large");
        Disk::real().create(&large).expect("created").set_len(130 << 20).expect("a hole");
        let outbox = office.outside.spool.outbox(CROSSING);
        outbox.commit(&large, &id_of(sequence), EntryKind::Bundle, Priority::Normal, 1, sequence).expect("committed");
    }
    assert_eq!(outgoing.step(office.now).ok(), Some(true), "there is more, and the beacon is looked at before it");
    assert_eq!((outgoing.status().written, outgoing.status().beacons), (2, 1));
    assert_eq!(outgoing.step(office.now).ok(), Some(false));
    assert_eq!(outgoing.status().written, 3);
}

#[test]
fn a_raised_flag_ends_a_step_in_the_middle_of_a_copy_and_nothing_half_is_left() {
    let mut office = Office::new();
    let stop = Stop::new();
    let (mut outgoing, mut incoming) = (office.outgoing().until(&stop), office.incoming().until(&stop));
    let (bundle, bytes) = office.bundle(1, 1 << 20);
    stop.raise();
    outgoing.step(office.now).expect("a step");
    assert!(listing(&office.out()).keys().all(|name| name.starts_with("beacon")), "no file of an entry");
    Disk::real().write(&office.back().join(format!("{bundle}.bundle.dat")), &bytes).expect("moved");
    for _ in 0..3 {
        incoming.step(office.pass(2)).expect("a step");
    }
    assert_eq!((office.arrived(), incoming.status().failing), (vec![], false));
    // The next start does it.
    let (mut outgoing, mut incoming) = (office.outgoing(), office.incoming());
    outgoing.step(office.pass(2)).expect("a step");
    incoming.step(office.pass(2)).expect("a step");
    incoming.step(office.pass(2)).expect("a step");
    assert_eq!((office.arrived(), outgoing.status().written), (vec![bundle], 1));
}
