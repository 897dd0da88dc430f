//! Two neighbours who hold each other to their ledgers: whatever is lost or reordered on the way, and whoever starts
//! again in between, a ledger that only grows is proven, and one that was put back to an older state is found out.
#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test fail as a test does")]
#![allow(clippy::disallowed_methods, reason = "a test puts disks back as an administrator with a bad day would")]

use std::fs;
use std::path::{Path, PathBuf};

use protocol::der_types::Octets;
use protocol::id::new_id;
use protocol::keys::{OpeningKey, SigningKey, random};
use protocol::ledger::{Event, Local, Record};
use protocol::receipt::Outcome;
use protocol::trust::{KeyCard, Role, Use};
use protocol::witness::HeadStatement;
use protocol::{BundleId, Crossing, Name, Suite, Timestamp, Trust, Zone};
use spool::{Begin, Disk, Entry, Floor, Fuse, Power, SpoolError};
use station::alarm::{Alarm, Alarms};
use station::config::Config;
use station::keyring::Keyring;
use station::receipts::{self, Came};
use station::rulebook::RuleBook;
use station::station::{Plan, Station, StationError};
use station::witness;

const NOW: Timestamp = Timestamp(1_795_305_600_000);

#[derive(serde::Deserialize)]
struct NoLinks {}

fn name(word: &str) -> Name {
    Name::new(word).unwrap()
}

struct Node {
    zone: Zone,
    root: PathBuf,
    keys: (SigningKey, OpeningKey, SigningKey),
    config: Config<NoLinks>,
}

struct Two {
    dir: tempfile::TempDir,
    trust: Trust,
    nodes: [Node; 2],
    /// Every start is an hour later: epochs follow the clock.
    starts: std::cell::Cell<u64>,
}

const INTERNET: usize = 0;
const EXTRANET: usize = 1;

impl Two {
    fn new(suite: Suite) -> Two {
        let dir = tempfile::tempdir().unwrap();
        let mut trust = Trust::default();
        let nodes = [Zone::Internet, Zone::Extranet].map(|zone| {
            let keys = (SigningKey::generate(suite), OpeningKey::generate(suite), SigningKey::generate(Suite::Std));
            let seal = keys.1.public().to_spki();
            for (usage, spki) in [(Use::Sign, keys.0.public().to_spki()), (Use::Seal, seal.clone())] {
                believe(&mut trust, zone.name(), zone, Role::Node, usage, suite, spki);
            }
            let root = dir.path().join(zone.name());
            let peer = if zone == Zone::Internet { "extranet" } else { "internet" };
            let text = format!(
                "[node]\nname = \"{zone}\"\nsuite = \"{suite}\"\nspool = {root:?}\nkeys = \"/k\"\ntrust = \"/t\"\nrules = \"/r\"\n\
                 [link]\n[[peer]]\nname = \"{peer}\"\nzone = \"{peer}\"\nsend = \"quic\"\nreceive = \"quic\"\n"
            );
            Node { zone, root, keys, config: toml::from_str(&text).unwrap() }
        });
        let security = OpeningKey::generate(suite).public().to_spki();
        let holder = station::keyring::security();
        believe(&mut trust, holder.as_str(), Zone::Intranet, Role::Security, Use::Seal, suite, security);
        let two = Two { dir, trust, nodes, starts: std::cell::Cell::new(0) };
        for node in &two.nodes {
            let keyring = two.keyring(node);
            let crossings = node.config.crossings(node.zone);
            let setup =
                station::station::setup(&node.config.node, node.zone, &[], &crossings, &keyring, Disk::real(), NOW);
            spool::create(&setup).unwrap();
        }
        two
    }

    fn keyring(&self, node: &Node) -> Keyring {
        let (signing, opening, link) = &node.keys;
        Keyring {
            signing: signing.clone().into(),
            opening: opening.clone(),
            also_opening: Vec::new(),
            link: link.clone(),
        }
    }

    fn open(&self, node: usize) -> Station {
        self.open_on(node, Disk::real())
    }

    fn open_on(&self, node: usize, disk: Disk) -> Station {
        let node = &self.nodes[node];
        let crossings = node.config.crossings(node.zone);
        let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/rules");
        let plan = Plan {
            sandbox: station::sandbox::Sandbox::in_process(),
            scanner: None,
            rules: RuleBook::load(
                &rules,
                &crossings,
                &self.trust,
                node.config.node.suite,
                &spool::Layout::new(&node.config.node.spool),
            )
            .unwrap(),
            node: node.config.node.clone(),
            zone: node.zone,
            peers: node.config.peers.clone(),
            routes: node.config.routes.clone(),
            ferry: node.config.ferry.clone(),
            backup: None,
            crossings,
            keyring: self.keyring(node),
            trust: self.trust.clone(),
            alarms: Alarms::new(&node.config.node.name, &node.config.alarm),
            disk,
        };
        self.starts.set(self.starts.get() + 1);
        let station = Station::open(plan, NOW.plus_ms(self.starts.get() * 3_600_000)).unwrap();
        station.spool.set_floor(Floor { bytes: 0, inodes: 0 });
        station
    }

    fn snapshot(&self, node: usize) -> PathBuf {
        let to = self.dir.path().join("snapshot");
        copy(&self.nodes[node].root, &to);
        to
    }

    fn put_back(&self, node: usize, from: &Path) {
        fs::remove_dir_all(&self.nodes[node].root).unwrap();
        copy(from, &self.nodes[node].root);
    }
}

fn believe(trust: &mut Trust, holder: &str, zone: Zone, role: Role, usage: Use, suite: Suite, spki: Vec<u8>) {
    let from = "2026-11-21".to_owned();
    let card = KeyCard { zone, holder: name(holder), role, usage, suite, from, until: None, spki };
    trust.add(holder, &card.to_text()).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).unwrap();
        }
    }
}

fn crossing(from: &Station, to: &Name) -> Crossing {
    Crossing::between(from.zone, from.peer(to).unwrap().zone).unwrap()
}

/// A batch with one receipt about a parcel that the other side does not know: the paper is what matters here.
fn batch(from: &Station, to: &Name) -> Entry {
    let id = batch_at(from, to, NOW).unwrap().unwrap();
    from.spool.outbox(crossing(from, to)).find(&id).unwrap().unwrap()
}

fn batch_at(from: &Station, to: &Name, now: Timestamp) -> Result<Option<BundleId>, StationError> {
    let crossing = crossing(from, to);
    let came = Came {
        parcel: new_id(NOW, random()),
        statement: Octets([1; 32]),
        origin: to.clone(),
        route: name("applications"),
        parcel_type: name("application"),
        peer: to.clone(),
        crossing: crossing.back(),
        bundle: new_id(NOW, random()),
        epoch: 1,
        sequence: 1,
    };
    receipts::make(from, &came, Outcome::Arrived, None, NOW).unwrap();
    receipts::batch(from, crossing, to, false, now)
}

fn deliver(entry: &Entry, from: &Station, to: &Station) {
    let crossing = crossing(from, &to.node);
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut from.spool.outbox(crossing).content(entry).unwrap(), &mut bytes).unwrap();
    if let Begin::Partial(mut partial) = to.spool.arrivals(crossing).begin(&entry.id, entry.kind, entry.size).unwrap() {
        partial.write(&bytes).unwrap();
        partial.finish().unwrap();
    }
    for arrived in to.spool.arrivals(crossing).completed().unwrap() {
        receipts::take(to, 1, crossing, &arrived, NOW).unwrap();
    }
}

fn send(from: &Station, to: &Station) {
    deliver(&batch(from, &to.node), from, to);
}

fn count(station: &Station, event: Event) -> usize {
    station.spool.records(0, usize::MAX).unwrap().iter().filter(|stored| stored.record.event == event).count()
}

fn alarmed(station: &Station) -> bool {
    station.alarms.standing().iter().any(|(alarm, ..)| *alarm == Alarm::LedgerContradicted)
}

/// The signed heads that lie in a node's evidence, whatever day it is.
fn evidence(station: &Station, folder: &Path) -> Vec<(String, HeadStatement)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(evidence(station, &path));
        } else {
            let bytes = fs::read(&path).unwrap();
            let source = &station.peers[0].name;
            let statement = HeadStatement::verify(&bytes, source, &station.trust).unwrap().unwrap();
            found.push((path.file_name().unwrap().to_string_lossy().into_owned(), statement));
        }
    }
    found
}

#[test]
fn papers_that_are_lost_and_reordered_leave_a_proven_ledger_across_restarts() {
    for suite in Suite::ALL {
        let two = Two::new(suite);
        let (a, mut b) = (two.open(INTERNET), two.open(EXTRANET));
        send(&a, &b);
        let entries: Vec<Entry> = (0..12).map(|_| batch(&a, &b.node)).collect();
        let records = b.spool.head().size;
        // The fifth is under way for long; the others come in any order; the receiver starts again in between.
        for at in [1, 0, 3, 2, 11, 9, 10] {
            deliver(&entries[at], &a, &b);
        }
        drop(b);
        b = two.open(EXTRANET);
        let unproven = witness::status(&b).unwrap();
        assert_eq!(unproven[0]["unproven_heads"], 3, "{unproven}");
        for at in [8, 7, 6, 5, 4] {
            deliver(&entries[at], &a, &b);
        }
        let status = witness::status(&b).unwrap();
        let last = b.spool.witnessed(&a.node).unwrap().unwrap().head;
        assert!(a.spool.passes_through(&last).unwrap());
        assert_eq!((&status[0]["unproven_heads"], &status[0]["records_proven"]), (&0.into(), &last.size.into()));
        assert!(!alarmed(&a) && !alarmed(&b));
        let witnessed = count(&b, Event::HeadWitnessed);
        assert!(witnessed <= 13 && b.spool.head().size > records, "at most one a batch: {witnessed}");
        // The same batch again says nothing new.
        deliver(&entries[11], &a, &b);
        assert_eq!(count(&b, Event::HeadWitnessed), witnessed);
        // And home again: the sender learns what is held, and proves from there when four papers in a row are lost.
        send(&b, &a);
        assert_eq!(a.spool.stated_to(&b.node).unwrap().held, Some(last));
        (0..6).for_each(|_| drop(batch(&a, &b.node)));
        send(&a, &b);
        assert_eq!(witness::status(&b).unwrap()[0]["unproven_heads"], 0);
        assert_eq!(evidence(&b, &b.layout().evidence()).len(), 1, "one a day is kept for the auditor");
    }
}

#[test]
fn a_node_put_back_to_an_older_state_is_found_out_by_its_neighbour_and_told_by_it() {
    for suite in Suite::ALL {
        let two = Two::new(suite);
        let (a, b) = (two.open(INTERNET), two.open(EXTRANET));
        (0..5).for_each(|_| send(&a, &b));
        drop(a);
        let snapshot = two.snapshot(INTERNET);
        let a = two.open(INTERNET);
        (0..3).for_each(|_| send(&a, &b));
        let proven = b.spool.witnessed(&a.node).unwrap().unwrap();
        drop(a);
        two.put_back(INTERNET, &snapshot);
        let a = two.open(INTERNET);
        assert!(!alarmed(&b));
        send(&a, &b);
        assert!(alarmed(&b));
        assert_eq!(count(&b, Event::HeadContradicted), 1);
        assert_eq!(b.spool.witnessed(&a.node).unwrap().unwrap(), proven, "nothing of it was taken");
        // Two statements by one key that cannot both be true, for an auditor with public keys alone.
        let kept = evidence(&b, &b.layout().evidence());
        let half =
            |word: &str| kept.iter().find(|(name, _)| name.ends_with(word)).map(|(_, said)| said.clone()).unwrap();
        let (before, after) = (half("-contradicted.head"), half("-contradiction.head"));
        assert!(before.turn <= proven.turn && before.head != after.head);
        // The neighbour's own papers name what it holds: the node that was put back hears it too.
        assert!(!alarmed(&a));
        send(&b, &a);
        assert!(alarmed(&a));
        assert_eq!(count(&a, Event::HeadContradicted), 1);
    }
}

#[test]
fn a_ledger_that_cannot_be_read_for_a_while_is_no_contradiction() {
    for lasting in [false, true] {
        let two = Two::new(Suite::Std);
        let power = Power::on(tempfile::tempdir_in(two.dir.path()).unwrap().keep().as_path(), 1).unwrap();
        let disk = Disk::with_power(power.clone(), Fuse::after(u64::MAX));
        let (mut a, b) = (two.open_on(INTERNET, disk.clone()), two.open(EXTRANET));
        (0..3).for_each(|_| send(&a, &b));
        send(&b, &a);
        // What was stated lies pages behind the end of the tree, which a disk must still be able to write.
        let record = |n: u64| (Record::new(Event::ConfigLoaded, NOW.plus_ms(n)), Local::none());
        a.spool.record_all((0..600).map(record).collect()).unwrap();
        for level in 0..3 {
            power.spoil(&two.nodes[INTERNET].root.join(format!("ledger/level-{level}")), 0).unwrap();
        }
        let numbers = a.spool.next_number(crossing(&a, &b.node)).unwrap();
        let refused = batch_at(&a, &b.node, NOW).unwrap_err();
        assert!(matches!(refused, StationError::Spool(SpoolError::Disk { .. })), "{refused}");
        assert!(a.alarms.standing().iter().any(|(alarm, ..)| *alarm == Alarm::LedgerDamaged));
        let drawn = a.spool.next_number(crossing(&a, &b.node)).unwrap();
        assert_eq!(drawn, (numbers.0, numbers.1 + 1), "no number was drawn for a paper that waits");
        // What the neighbour says it holds is neither right nor wrong meanwhile.
        send(&b, &a);
        if lasting {
            let refused = batch_at(&a, &b.node, NOW.plus_ms(spool::UNREAD_MS)).unwrap_err();
            assert!(matches!(refused, StationError::Spool(SpoolError::Poisoned { .. })), "it starts anew: {refused}");
            drop(a);
            a = two.open_on(INTERNET, disk);
        } else {
            power.heal();
        }
        send(&a, &b);
        send(&b, &a);
        assert!(!alarmed(&a) && !alarmed(&b));
        assert_eq!(count(&a, Event::HeadContradicted) + count(&b, Event::HeadContradicted), 0);
        assert_eq!(witness::status(&b).unwrap()[0]["unproven_heads"], 0);
    }
}

/// Another record with a checksum that fits stands where one of the first hundreds stood: only its leaf would tell.
fn change_a_record(segment: &Path) {
    let mut bytes = fs::read(segment).unwrap();
    let mut frames = spool::segment::Frames::new(&bytes, 0);
    (0..100).for_each(|_| drop(frames.next()));
    let from = frames.position();
    let Some(spool::segment::Found::Record(stored)) = frames.next() else { unreachable!("a record a place") };
    let other = Record { at: Timestamp(stored.record.at.0 ^ 1), ..stored.record };
    let (frame, end) = (spool::segment::frame(&other.to_bytes(), b""), frames.position());
    assert_eq!(frame.len(), end - from);
    bytes[from..end].copy_from_slice(&frame);
    fs::write(segment, bytes).unwrap();
}

#[test]
fn a_tree_that_no_start_can_make_anew_keeps_papers_back_and_sends_the_node_round_in_no_circle() {
    let two = Two::new(Suite::Std);
    let power = Power::on(tempfile::tempdir_in(two.dir.path()).unwrap().keep().as_path(), 1).unwrap();
    let disk = Disk::with_power(power.clone(), Fuse::after(u64::MAX));
    let (a, b) = (two.open_on(INTERNET, disk.clone()), two.open(EXTRANET));
    (0..3).for_each(|_| send(&a, &b));
    let record = |n: u64| (Record::new(Event::ConfigLoaded, NOW.plus_ms(n)), Local::none());
    // The end of every level that is spoiled lies behind its first page, which a disk must still be able to write.
    a.spool.record_all((0..2_200).map(record).collect()).unwrap();
    a.spool.write_checkpoint().unwrap();
    drop(a);
    let ledger = two.nodes[INTERNET].root.join("ledger");
    change_a_record(&ledger.join("0000000000000000.seg"));
    (0..5).for_each(|level| power.spoil(&ledger.join(format!("level-{level}")), 0).unwrap());
    let a = two.open_on(INTERNET, disk.clone());
    assert!(!a.spool.cannot_renew_tree(), "nobody has tried");
    let refused = |a: &Station, after_ms: u64| match batch_at(a, &b.node, NOW.plus_ms(after_ms)) {
        Err(StationError::Spool(error)) => error,
        other => panic!("a paper left: {other:?}"),
    };
    assert!(matches!(refused(&a, 0), SpoolError::Disk { .. }));
    assert!(matches!(refused(&a, spool::UNREAD_MS), SpoolError::Poisoned { .. }), "one fresh start is tried");
    drop(a);
    for start in 0..2 {
        let a = two.open_on(INTERNET, disk.clone());
        assert!(a.spool.cannot_renew_tree(), "start {start}");
        for after in [0, 1, 2, 10] {
            let error = refused(&a, after * spool::UNREAD_MS);
            assert!(matches!(error, SpoolError::Disk { .. }), "start {start}, another would end no better: {error}");
        }
        assert!(a.alarms.standing().iter().any(|(alarm, ..)| *alarm == Alarm::LedgerDamaged));
        // Everything else goes on.
        let before = a.spool.head().size;
        a.spool.record(Record::new(Event::ConfigLoaded, NOW), Local::none()).unwrap();
        send(&b, &a);
        assert!(a.spool.head().size > before + 1);
    }
    assert!(!alarmed(&b));
    // The disk reads it again one day.
    power.heal();
    let a = two.open_on(INTERNET, disk);
    send(&a, &b);
    assert!(!alarmed(&a) && !alarmed(&b));
}
