//! What tests of this link share: keys, spools, files in the outer form of entries, and a little noise.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use der::asn1::OctetString;
use folder_link::Link;
use protocol::der_types::Octets;
use protocol::envelope::Envelope;
use protocol::keys::SigningKey;
use protocol::ledger::{Event, Local, Record};
use protocol::parcel::Priority;
use protocol::receipt::{Head, ReceiptBatch};
use protocol::trust::{KeyCard, Role, Use};
use protocol::witness::HeadStatement;
use protocol::{BundleId, Crossing, Name, Signed, Suite, Timestamp, Trust, Zone};
use spool::disk::Disk;
use spool::{Entry, EntryKind, Setup, Spool};

/// Morning of 22 November 2026.
pub(crate) const START: Timestamp = Timestamp(1_795_305_600_000);

/// Both nodes of a crossing: their keys, and the cards of both.
pub(crate) struct Nodes {
    pub(crate) outer: Zone,
    pub(crate) inner: Zone,
    pub(crate) keys: [SigningKey; 2],
    pub(crate) trust: Arc<Trust>,
}

pub(crate) fn name(zone: Zone) -> Name {
    Name::new(zone.name()).expect("a zone's word is a name")
}

impl Nodes {
    pub(crate) fn of(outer: Zone, inner: Zone) -> Nodes {
        let keys = [SigningKey::generate(Suite::Std), SigningKey::generate(Suite::Std)];
        let mut trust = Trust::default();
        for (zone, key) in [outer, inner].into_iter().zip(&keys) {
            let card = KeyCard {
                zone,
                holder: name(zone),
                role: Role::Node,
                usage: Use::Sign,
                suite: Suite::Std,
                from: "2026-11-21".to_owned(),
                until: None,
                spki: key.public().to_spki(),
            };
            trust.add("card.pem", &card.to_text()).expect("a card");
        }
        Nodes { outer, inner, keys, trust: Arc::new(trust) }
    }

    fn at(&self, zone: Zone) -> (Zone, &SigningKey) {
        if zone == self.outer { (self.inner, &self.keys[0]) } else { (self.outer, &self.keys[1]) }
    }

    fn setup(&self, root: &Path, zone: Zone, disk: Disk, now: Timestamp) -> Setup {
        let crossings = [(self.outer, self.inner), (self.inner, self.outer)];
        Setup {
            root: root.join(zone.name()),
            node: name(zone),
            zone,
            key: self.at(zone).1.clone().into(),
            disk,
            routes: Vec::new(),
            crossings: crossings.into_iter().filter_map(|(from, to)| Crossing::between(from, to)).collect(),
            now,
            index_cache_bytes: 1 << 20,
        }
    }

    pub(crate) fn create(&self, root: &Path, zone: Zone) {
        spool::create(&self.setup(root, zone, Disk::real(), START)).expect("a tree");
    }

    /// A process of a node: nothing where its disk dies as it starts.
    pub(crate) fn open(&self, root: &Path, zone: Zone, disk: Disk, now: Timestamp) -> Option<Link> {
        let spool = Spool::open(self.setup(root, zone, disk, now)).ok()?;
        spool.set_floor(spool::Floor { bytes: 0, inodes: 0 });
        let (peer, key) = self.at(zone);
        Some(Link {
            spool,
            outbound: Crossing::between(zone, peer),
            inbound: Crossing::between(peer, zone),
            key: key.clone().into(),
            peer: name(peer),
            trust: self.trust.clone(),
        })
    }
}

/// The id of a number, for a test to find either by the other.
pub(crate) fn id_of(sequence: u64) -> BundleId {
    let mut id = [7; 16];
    id[..8].copy_from_slice(&sequence.to_be_bytes());
    Octets(id)
}

pub(crate) fn sequence_of(id: &BundleId) -> u64 {
    id.as_bytes().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// The outer form of a bundle; what is in it is for admission to judge.
pub(crate) fn bundle_like(crossing: Crossing, sequence: u64, payload: usize) -> Vec<u8> {
    let octets = |n| OctetString::new(vec![7; n]).expect("short");
    let envelope = Envelope {
        version: protocol::parcel::VERSION,
        suite: Suite::Std,
        bundle: id_of(sequence),
        crossing,
        epoch: 1,
        sequence,
        source: name(crossing.source()),
        target: name(crossing.target()),
        priority: Priority::Normal,
        payload_bytes: payload as u64,
        sealed: START,
        signer: Octets([1; 32]),
        recipient: Octets([2; 32]),
        wrapped_key: octets(80),
        kept_key: octets(80),
        statement: octets(300),
        custody: Vec::new(),
    };
    let head = envelope.to_bytes();
    let mut bytes = b"TRILOCK1".to_vec();
    bytes.extend_from_slice(&u32::try_from(head.len()).expect("short").to_be_bytes());
    bytes.extend_from_slice(&head);
    bytes.extend((0..payload).map(|n| n.to_be_bytes()[7] ^ sequence.to_be_bytes()[7]));
    bytes.extend_from_slice(&[0, 0, 0, 9]);
    bytes.extend_from_slice(b"signature");
    bytes
}

/// A batch of receipts that has none.
pub(crate) fn batch(link: &Link, crossing: Crossing, sequence: u64) -> Vec<u8> {
    let (source, target) = (link.spool.node().clone(), link.peer.clone());
    let stated = HeadStatement::first(&source, &target, link.key.suite(), START, Head::default());
    let batch = ReceiptBatch {
        version: 1,
        batch: id_of(sequence),
        crossing,
        source,
        target,
        epoch: 1,
        sequence,
        at: START,
        stated: stated.sign_by(&link.key).expect("a key in memory signs"),
        receipts: Vec::new(),
        gap_reports: Vec::new(),
        withdrawn: Vec::new(),
    };
    Signed::make_by(&link.key, &batch).expect("a key in memory signs").to_bytes()
}

/// Into the outbox, as a station commits it. False where its disk died; again is fine.
pub(crate) fn commit(link: &Link, crossing: Crossing, sequence: u64, kind: EntryKind, bytes: &[u8]) -> bool {
    let id = id_of(sequence);
    let staged = link.spool.layout().sealing().join(id.to_string());
    Disk::real().write(&staged, bytes).expect("written");
    let outbox = link.spool.outbox(crossing);
    outbox.commit(&staged, &id, kind, Priority::Normal, 1, sequence).is_ok()
}

/// What admission records of an arrival. False where its disk died; the file stays for whoever counts.
pub(crate) fn admit(link: &Link, crossing: Crossing, entry: &Entry) -> bool {
    let mut record = Record::new(Event::Arrived, START);
    (record.parcel, record.bundle) = (Some(entry.id), Some(entry.id));
    (record.origin, record.peer) = (Some(link.peer.clone()), Some(link.peer.clone()));
    (record.crossing, record.epoch, record.sequence) = (Some(crossing), Some(1), Some(sequence_of(&entry.id)));
    link.spool.record(record, Local::none()).is_ok()
}

/// A little noise: the same from the same seed.
pub(crate) struct Noise(u64);

impl Noise {
    pub(crate) fn new(seed: u64) -> Noise {
        Noise(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub(crate) fn one_in(&mut self, of: u64) -> bool {
        of > 0 && self.below(of) == 0
    }

    pub(crate) fn shuffle<T>(&mut self, things: &mut [T]) {
        for at in (1..things.len()).rev() {
            things.swap(at, usize::try_from(self.below(at as u64 + 1)).unwrap_or(0));
        }
    }
}

/// Where disks of tests stand: memory where the machine has it, because a story syncs some thousand times.
pub(crate) fn ground() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}
