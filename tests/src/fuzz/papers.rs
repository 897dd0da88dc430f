//! Everything that is signed: the paper as it arrives, and its body.

use protocol::der_types::{self, Octets};
use protocol::endorsement::Endorsement;
use protocol::id::new_id;
use protocol::ledger::Checkpoint;
use protocol::oneway::FolderBeacon;
use protocol::parcel::{CustodyEntry, Label, ParcelStatement, VERSION};
use protocol::parity::{BLOCK_SECTORS_MAX, DIGEST_BYTES, Shape, index_sector, read_index_sector};
use protocol::receipt::{EpochGaps, GapReport, Head, Outcome, Range, Receipt, ReceiptBatch};
use protocol::request::Request;
use protocol::rollover::Rollover;
use protocol::signed::Statement;
use protocol::trust::Use;
use protocol::trust_list::TrustList;
use protocol::volume::{Piece, Volume};
use protocol::waybill::{Approval, LineKind, Waybill, WaybillLine};
use protocol::witness::{HeadLink, HeadStatement, LogStart};
use protocol::{Crossing, Reason, Signed, Timestamp, Verdict};

use super::bundles::Samples;
use super::{Target, both, name, octets, vectors};

/// A signed paper and its body: whatever is taken is canonical, and nothing changed verifies.
pub(super) fn of<T: Statement>(make: impl Fn(&Samples) -> T) -> [Target; 2] {
    let worlds = both();
    let whole: Vec<Vec<u8>> = worlds.iter().map(|w| Signed::make(w.signing(), &make(w)).to_bytes()).collect();
    let bodies: Vec<Vec<u8>> = worlds.iter().map(|w| der_types::encode(&make(w))).collect();
    let samples = whole.clone();
    let paper = Target::new(T::WHAT, 25_000, samples, move |bytes| {
        let Ok(signed) = Signed::parse::<T>(bytes) else { return false };
        assert_eq!(signed.to_bytes(), bytes, "one encoding");
        if let Ok(body) = signed.read_unverified::<T>() {
            assert_eq!(der_types::encode(&body), signed.body.as_bytes(), "one encoding of the body");
        }
        for world in worlds.iter() {
            if let Ok((_, _)) = world.trust().verify::<T>(&signed) {
                assert!(whole.iter().any(|sample| sample == bytes), "a changed paper verifies");
            }
        }
        true
    });
    let body = Target::new(format!("body of {}", T::WHAT), 100_000, bodies, |bytes| {
        let Ok(body) = der_types::parse::<T>(T::WHAT, bytes, T::BYTES_MAX) else { return false };
        assert_eq!(der_types::encode(&body), bytes, "one encoding");
        true
    });
    [paper.beside(vectors(T::WHAT)), body]
}

/// What a refusing node says of a parcel.
pub(super) fn receipt(parcel: Octets<16>, statement: Octets<32>) -> Receipt {
    Receipt {
        version: VERSION,
        parcel,
        statement,
        node: name("internet"),
        outcome: Outcome::Refused,
        reason: Some(Reason::ALL[0]),
        bundle: new_id(Timestamp(2), [2; 10]),
        crossing: Crossing::InternetToExtranet,
        epoch: 1,
        sequence: 7,
        at: Timestamp(1_795_305_600_000),
        head: head(),
    }
}

/// The head of some ledger.
pub(super) fn head() -> Head {
    Head { log: 1, size: 9, root: Octets([3; 32]) }
}

/// The note about that head.
pub(super) fn checkpoint() -> Checkpoint {
    Checkpoint { node: name("internet"), head: Head { size: 4_711, ..head() } }
}

fn parcel_statement(world: &Samples) -> ParcelStatement {
    world.statement.read_unverified().unwrap()
}

fn gap_report() -> GapReport {
    let missing = vec![Range { from: 3, to: 5 }, Range { from: 9, to: 9 }];
    let epochs = vec![EpochGaps { epoch: 1, through: 120, missing }];
    GapReport {
        version: VERSION,
        node: name("internet"),
        crossing: Crossing::ExtranetToIntranet,
        at: Timestamp(4),
        epochs,
    }
}

fn log_start() -> LogStart {
    LogStart {
        version: VERSION,
        node: name("extranet"),
        log: 2,
        previous: Head::default(),
        person: name("operator-ma"),
        at: Timestamp(7),
    }
}

fn statement(world: &Samples) -> HeadStatement {
    let head = |size| Head { log: 2, size, root: world.statement.digest() };
    HeadStatement {
        turn: 3,
        links: vec![HeadLink { from: head(5), proof: vec![world.statement.digest(); 3] }],
        held: Some(head(77)),
        starts: vec![octets(Signed::make(world.signing(), &log_start()).to_bytes())],
        ..HeadStatement::first(&name("extranet"), &name("intranet"), world.suite(), Timestamp(8), head(9))
    }
}

pub(super) fn of_parcels() -> Vec<Target> {
    let entry = |world: &Samples| CustodyEntry {
        version: VERSION,
        statement: world.statement.digest(),
        previous: world.statement.digest(),
        node: name("internet"),
        crossing: Crossing::ExtranetToIntranet,
        rules: "2026-11-21.1".to_owned(),
        verdict: Verdict::Stripped,
        at: Timestamp(5),
    };
    let footer = |world: &Samples| protocol::envelope::Footer {
        version: VERSION,
        envelope: world.statement.digest(),
        root: world.statement.digest(),
        payload_bytes: 65_552,
    };
    [of(parcel_statement), of(entry), of(footer)].into_iter().flatten().collect()
}

pub(super) fn of_trust() -> Vec<Target> {
    let rollover = |world: &Samples| Rollover {
        version: VERSION,
        node: name("extranet"),
        usage: Use::Sign,
        old: world.statement.digest(),
        key: octets(world.signing().public().to_spki()),
        at: Timestamp(9),
        until: Timestamp(10),
    };
    let list = |world: &Samples| TrustList::of(world.trust(), &name("admin-he"), world.suite(), Timestamp(9));
    let endorsement = |world: &Samples| Endorsement {
        version: VERSION,
        crossing: Crossing::IntranetToExtranet,
        rules: "2026-11-21.1".to_owned(),
        digest: world.statement.digest(),
        person: name("security-wu"),
        at: Timestamp(9),
    };
    [of(rollover), of(list), of(endorsement)].into_iter().flatten().collect()
}

pub(super) fn of_ledgers() -> Vec<Target> {
    [of(statement), of(|_| log_start())].into_iter().flatten().collect()
}

pub(super) fn of_receipts() -> Vec<Target> {
    let batch = |world: &Samples| ReceiptBatch {
        version: VERSION,
        batch: new_id(Timestamp(8), [8; 10]),
        crossing: Crossing::ExtranetToIntranet,
        source: name("extranet"),
        target: name("intranet"),
        epoch: 1,
        sequence: 2,
        at: Timestamp(8),
        stated: statement(world).sign(world.signing()),
        receipts: world.evidence.receipts.iter().cloned().map(octets).collect(),
        gap_reports: vec![octets(Signed::make(world.signing(), &gap_report()).to_bytes())],
        withdrawn: gap_report().epochs,
    };
    let receipt = |world: &Samples| receipt(parcel_statement(world).parcel, world.statement.digest());
    [of(receipt), of(|_| gap_report()), of(batch)].into_iter().flatten().collect()
}

pub(super) fn of_trips() -> Vec<Target> {
    let line =
        |kind| WaybillLine { kind, id: Octets([5; 16]), size: 1 << 33, digest: Octets([6; 32]), epoch: 1, sequence: 4 };
    let waybill = move |world: &Samples| Waybill {
        version: VERSION,
        trip: 17,
        crossing: Crossing::IntranetToExtranet,
        source: name("intranet"),
        target: name("extranet"),
        medium: name("disc-0001"),
        carrier: name("carrier-sun"),
        exporter: name("operator-ma"),
        approvals: 2,
        at: Timestamp(6),
        stated: statement(world).sign(world.signing()),
        lines: [LineKind::Bundle, LineKind::Receipts].map(line).to_vec(),
    };
    let approval = |world: &Samples| Approval {
        version: VERSION,
        waybill: world.statement.digest(),
        trip: 17,
        person: name("approver-li"),
        at: Timestamp(7),
    };
    let piece = |line, part| Piece { line, part, offset: 0, size: 1 << 20, digest: Octets([6; 32]) };
    let volume = move |world: &Samples| Volume {
        version: VERSION,
        waybill: world.statement.digest(),
        trip: 17,
        person: name("operator-ma"),
        at: Timestamp(7),
        number: 2,
        count: 3,
        blocks: 1,
        recovery: 144,
        pieces: vec![piece(0, 2), piece(1, 0)],
    };
    let request = |world: &Samples| Request {
        version: VERSION,
        id: world.statement.digest(),
        node: name("intranet"),
        action: name("export"),
        person: name("operator-ma"),
        at: Timestamp(7),
        arguments: vec![Label { name: name("medium"), value: "disc-0001".to_owned() }],
    };
    let papers = [of(waybill), of(approval), of(volume), of(request)];
    papers.into_iter().flatten().chain([shapes(), index_sectors()]).collect()
}

/// Numbers of a volume's parity: whatever shape is taken has a place for every sector, and one only.
fn shapes() -> Target {
    let sample = |sectors: u64, blocks: u64, recovery: u64| {
        [sectors, blocks, recovery].iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<u8>>()
    };
    let samples = vec![sample(300, 1, 48), sample(100_000, 4, 3_424), sample(1, 1, 16)];
    Target::new("shape of a parity", 100_000, samples, |bytes| {
        let (numbers, rest) = bytes.as_chunks::<8>();
        let [sectors, blocks, recovery] = *numbers else { return false };
        let Ok(shape) =
            Shape::new(u64::from_be_bytes(sectors), u64::from_be_bytes(blocks), u64::from_be_bytes(recovery))
        else {
            return false;
        };
        let last = shape.sectors() - 1;
        for sector in [0, last / 2, last] {
            let (block, place) = shape.place(sector);
            assert!(block < shape.blocks() && place < shape.data());
            assert_eq!(shape.sector(block, place), sector);
        }
        assert!(shape.data() * shape.blocks() >= shape.sectors());
        assert!(shape.data() + shape.recovery() <= BLOCK_SECTORS_MAX);
        rest.is_empty()
    })
}

/// Sectors of a volume's index: one that is taken is written the same.
fn index_sectors() -> Target {
    let waybill = Octets([7; 32]);
    let digests = vec![[9; DIGEST_BYTES]; 255];
    let samples = vec![index_sector(&waybill, 3, 5, &digests), index_sector(&waybill, 3, 5, &digests[..9])];
    Target::new("index sector", 50_000, samples, move |bytes| {
        let Some(read) = read_index_sector(&waybill, 3, 5, bytes) else { return false };
        assert_eq!(index_sector(&waybill, 3, 5, &read), bytes, "one encoding");
        true
    })
}

pub(super) fn of_links() -> Vec<Target> {
    let beacon = |world: &Samples| FolderBeacon {
        version: VERSION,
        crossing: Crossing::ExtranetToIntranet,
        source: name("extranet"),
        target: name("intranet"),
        epoch: 3,
        number: 77,
        pulse: world.pulse(),
    };
    let introduction = |world: &Samples| world.introduction(&protocol::aead::fresh_key(world.suite()));
    let mut targets: Vec<Target> = [of(introduction), of(beacon)].into_iter().flatten().collect();
    targets.extend(super::links::beacons());
    targets
}
