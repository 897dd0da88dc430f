//! A gate of the simulated kind between two folders: it moves files when it likes, half at first, out of order and
//! twice. Both sides are told the time; nothing sleeps.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use der::asn1::OctetString;
use folder_link::{Incoming, Link, Outgoing, Settings};
use protocol::der_types::Octets;
use protocol::envelope::Envelope;
use protocol::keys::SigningKey;
use protocol::parcel::Priority;
use protocol::receipt::{Head, ReceiptBatch};
use protocol::trust::{KeyCard, Role, Use};
use protocol::witness::HeadStatement;
use protocol::{BundleId, Crossing, Name, Signed, Suite, Timestamp, Trust, Zone};
use spool::disk::Disk;
use spool::{EntryKind, Setup, Spool};

const CROSSING: Crossing = Crossing::ExtranetToIntranet;
const START: Timestamp = Timestamp(1_795_305_600_000);

struct Office {
    root: tempfile::TempDir,
    outside: Link,
    inside: Link,
    settings: Settings,
    now: Timestamp,
}

fn open(root: &Path, zone: Zone, key: &SigningKey) -> Spool {
    let setup = || Setup {
        root: root.join(zone.name()),
        node: Name::new(zone.name()).expect("a zone's word is a name"),
        zone,
        key: key.clone().into(),
        disk: Disk::real(),
        routes: Vec::new(),
        crossings: vec![CROSSING],
        now: START,
        index_cache_bytes: 1 << 20,
    };
    spool::create(&setup()).expect("a tree");
    Spool::open(setup()).expect("a spool")
}

impl Office {
    fn new() -> Office {
        let root = tempfile::tempdir().expect("a folder");
        let key = SigningKey::generate(Suite::Std);
        let card = KeyCard {
            zone: Zone::Extranet,
            holder: Name::new("extranet").expect("a name"),
            role: Role::Node,
            usage: Use::Sign,
            suite: Suite::Std,
            from: "2026-11-21".to_owned(),
            until: None,
            spki: key.public().to_spki(),
        };
        let mut trust = Trust::default();
        trust.add("card.pem", &card.to_text()).expect("a card");
        let trust = Arc::new(trust);
        let link = |zone: Zone, peer: Zone| Link {
            spool: open(root.path(), zone, &key),
            outbound: Some(CROSSING),
            inbound: Some(CROSSING),
            key: key.clone().into(),
            peer: Name::new(peer.name()).expect("a name"),
            trust: trust.clone(),
        };
        let (outside, inside) = (link(Zone::Extranet, Zone::Intranet), link(Zone::Intranet, Zone::Extranet));
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

    fn commit(&self, sequence: u64, kind: EntryKind, bytes: &[u8], id: BundleId) {
        let staged = self.outside.spool.layout().sealing().join(id.to_string());
        Disk::real().write(&staged, bytes).expect("written");
        let outbox = self.outside.spool.outbox(CROSSING);
        outbox.commit(&staged, &id, kind, Priority::Normal, 1, sequence).expect("committed");
    }

    fn bundle(&self, sequence: u64, payload: usize) -> (BundleId, Vec<u8>) {
        let id = Octets([sequence.to_be_bytes()[7]; 16]);
        let bytes = bundle_like(id, sequence, payload);
        self.commit(sequence, EntryKind::Bundle, &bytes, id);
        (id, bytes)
    }

    fn receipts(&self, sequence: u64) -> BundleId {
        let id = Octets([sequence.to_be_bytes()[7]; 16]);
        let (source, target) = (self.outside.spool.node().clone(), self.inside.spool.node().clone());
        let batch = ReceiptBatch {
            version: 1,
            batch: id,
            crossing: CROSSING,
            source,
            target,
            epoch: 1,
            sequence,
            at: START,
            stated: HeadStatement::first(
                self.outside.spool.node(),
                self.inside.spool.node(),
                self.outside.key.suite(),
                START,
                Head::default(),
            )
            .sign_by(&self.outside.key)
            .expect("a key in memory signs"),
            receipts: Vec::new(),
            gap_reports: Vec::new(),
            withdrawn: Vec::new(),
        };
        self.commit(
            sequence,
            EntryKind::Receipts,
            &Signed::make_by(&self.outside.key, &batch).expect("a key in memory signs").to_bytes(),
            id,
        );
        id
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

/// The outer form of a bundle; what is in it is for admission to judge.
fn bundle_like(id: BundleId, sequence: u64, payload: usize) -> Vec<u8> {
    let octets = |n| OctetString::new(vec![7; n]).expect("short");
    let envelope = Envelope {
        version: protocol::parcel::VERSION,
        suite: Suite::Std,
        bundle: id,
        crossing: CROSSING,
        epoch: 1,
        sequence,
        source: Name::new("extranet").expect("a name"),
        target: Name::new("intranet").expect("a name"),
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
    bytes.extend((0..payload).map(|n| n.to_be_bytes()[7]));
    bytes.extend_from_slice(&[0, 0, 0, 9]);
    bytes.extend_from_slice(b"signature");
    bytes
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

    // Twice.
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
