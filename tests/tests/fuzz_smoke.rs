//! Every decoder of bytes that somebody else may have written, fed with valid samples broken at random. Nothing may
//! panic, and what a strict decoder takes must be the one encoding of what it read.
//!
//! The mutants come from a seed and are counted, not timed, so a run is the same on every machine;
//! `TRILOCK_SOAK=1` makes fifty times as many. The input at work is printed when a test fails.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as a test does")]
#![allow(clippy::cast_possible_truncation, reason = "dice far below any limit")]

use std::fs;
use std::io::Write as _;

use base64ct::{Base64, Encoding};
use protocol::aead::{Aead, fresh_key};
use protocol::backup::{self, BackupPlan, BackupWriter};
use protocol::bundle::{self, SealPlan};
use protocol::der_types::{self, Octets};
use protocol::evidence::Evidence;
use protocol::exchange::{self, FRAME_HEAD_BYTES, FrameHead, Hello, Item};
use protocol::id::new_id;
use protocol::keys::{OpeningKey, SealingKey, SigningKey, VerifyingKey};
use protocol::ledger::{Checkpoint, Event, Local, Record};
use protocol::oneway::beacon::{self, BEACON_BYTES_MAX};
use protocol::oneway::block::{self, Kind, Piece};
use protocol::oneway::frame::{Header, Unchecked};
use protocol::oneway::{Beacon, Block, BlockId, FolderBeacon, Geometry, Introduction, NextNumber, Plan, Pulse};
use protocol::parcel::{CustodyEntry, FileEntry, Label, Manifest, OctetString, ParcelStatement, Priority, VERSION};
use protocol::receipt::{EpochGaps, GapReport, Head, Outcome, Range, Receipt, ReceiptBatch};
use protocol::request::Request;
use protocol::signed::Statement;
use protocol::tree::root_of;
use protocol::trust::{KeyCard, Role, Use};
use protocol::waybill::{Approval, LineKind, Waybill, WaybillLine};
use protocol::witness::{HeadLink, HeadStatement, LogStart};
use protocol::{Crossing, Name, Reason, Signed, Suite, Timestamp, Trust, Verdict, Zone};
use spool::segment;
use tests::papers::{self, Noise};
use tests::programs::repository;

/// Says what was being read when something panicked.
struct AtWork<'a>(&'a str, u64, &'a [u8]);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let hex: String = self.2.iter().take(4_096).map(|byte| format!("{byte:02x}")).collect();
            eprintln!("{}: mutant {} of {} bytes: {hex}", self.0, self.1, self.2.len());
        }
    }
}

/// Breaks a sample in one to four places.
fn mutate(noise: &mut Noise, corpus: &[Vec<u8>]) -> Vec<u8> {
    let one = |noise: &mut Noise| corpus.get(noise.below(corpus.len() as u64) as usize).cloned().unwrap_or_default();
    let mut bytes = one(noise);
    for _ in 0..=noise.below(4) {
        let length = bytes.len() as u64;
        let at = noise.below(length) as usize;
        match noise.below(9) {
            0 | 1 if length > 0 => bytes[at] ^= 1 << noise.below(8),
            2 if length > 0 => bytes[at] = [0, 1, 0x30, 0x7f, 0x80, 0x81, 0x82, 0xff][noise.below(8) as usize],
            3 => bytes.truncate(at),
            4 => {
                let end = (at + noise.below(24) as usize).min(bytes.len());
                bytes.drain(at..end);
            }
            5 => {
                let piece = noise.below(24) as usize;
                let more = noise.bytes(piece);
                bytes.splice(at..at, more);
            }
            6 => {
                let other = one(noise);
                let from = noise.below(other.len() as u64) as usize;
                bytes.truncate(at);
                bytes.extend_from_slice(other.get(from..).unwrap_or_default());
            }
            // A length, of DER or of a fixed layout, a little or very wrong.
            7 if length > 0 => bytes[at] = bytes[at].wrapping_add([1, 255, 2, 254][noise.below(4) as usize]),
            8 => {
                let value =
                    [0_u32, 1, 0xffff, 0x10_000, 0x00ff_ffff, 0x7fff_ffff, 0xffff_ffff][noise.below(7) as usize];
                let wide = value.to_be_bytes();
                let wide = wide.get(noise.below(4) as usize..).unwrap_or_default();
                bytes.iter_mut().skip(at).zip(wide).for_each(|(byte, new)| *byte = *new);
            }
            _ => bytes.extend_from_slice(&one(noise)),
        }
    }
    bytes.truncate(256 * 1024);
    bytes
}

/// The frozen vectors of a kind, broken ones among them: what lies right beside valid, found by people.
fn vectors(kind: &str) -> Vec<Vec<u8>> {
    let folder = repository().join("protocol/tests/vectors");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|suffix| suffix == "vector"));
    paths.sort();
    let texts = paths.iter().map(|path| fs::read_to_string(path).unwrap());
    let of_kind = texts.filter_map(|text| {
        let (head, body) = text.split_once("\n\n")?;
        let found = head.lines().find_map(|line| line.strip_prefix("kind: ")).unwrap_or("bundle");
        let body: String = body.split_whitespace().collect();
        (found == kind).then(|| Base64::decode_vec(&body).unwrap())
    });
    of_kind.collect()
}

/// So many mutants of a corpus, and the corpus itself, through a decoder. Says how many it took.
fn fuzz(what: &str, corpus: &[Vec<u8>], mutants: u64, read: impl FnMut(&[u8]) -> bool) {
    fuzz_beside(what, corpus, &[], mutants, read);
}

/// The same, with seeds that need not be valid.
fn fuzz_beside(what: &str, corpus: &[Vec<u8>], seeds: &[Vec<u8>], mutants: u64, mut read: impl FnMut(&[u8]) -> bool) {
    let soak = if std::env::var_os("TRILOCK_SOAK").is_some() { 50 } else { 1 };
    let seed = what
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    for (index, sample) in corpus.iter().enumerate() {
        let at_work = AtWork(what, index as u64, sample);
        assert!(read(sample), "{what}: sample {index} is valid and refused");
        drop(at_work);
    }
    for (index, seed) in seeds.iter().enumerate() {
        let at_work = AtWork(what, index as u64, seed);
        let _either_way = read(seed);
        drop(at_work);
    }
    let corpus = [corpus, seeds].concat();
    let mut noise = Noise::new(seed);
    let mut taken = 0_u64;
    for number in 0..mutants * soak {
        let mutant = mutate(&mut noise, &corpus);
        let at_work = AtWork(what, number, &mutant);
        taken += u64::from(read(&mutant));
        drop(at_work);
    }
    println!("{what}: {} mutants, {taken} well formed", mutants * soak);
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn octets(bytes: Vec<u8>) -> OctetString {
    OctetString::new(bytes).unwrap()
}

/// Keys, and one of every paper, in one suite.
struct Samples {
    suite: Suite,
    trust: Trust,
    card: String,
    signing: SigningKey,
    opening: OpeningKey,
    statement: Signed,
    manifest: Manifest,
    bundle: Vec<u8>,
    evidence: Evidence,
}

const FILES: [(&str, &[u8]); 2] = [("form.json", b"{}"), ("scans/1.txt", b"page one")];

fn receipt(parcel: Octets<16>, statement: Octets<32>) -> Receipt {
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
        head: Head { log: 1, size: 9, root: Octets([3; 32]) },
    }
}

impl Samples {
    fn new(suite: Suite) -> Samples {
        let (signing, opening) = (SigningKey::generate(suite), OpeningKey::generate(suite));
        let card = KeyCard {
            zone: Zone::Internet,
            holder: name("internet"),
            role: Role::Node,
            usage: Use::Sign,
            suite,
            from: "2026-11-21".to_owned(),
            until: Some("2027-11-21".to_owned()),
            spki: signing.public().to_spki(),
        }
        .to_text();
        let mut trust = Trust::default();
        trust.add("internet.pub.pem", &card).unwrap();
        let files = FILES.iter().map(|(path, bytes)| FileEntry {
            path: (*path).to_owned(),
            original: Some(octets(vec![0xc0, 0xba])),
            size: bytes.len() as u64,
            digest: root_of(suite, bytes),
            executable: false,
            modified_s: 1_700_000_000,
        });
        let manifest = Manifest {
            salt: Octets([7; 32]),
            version: VERSION,
            name: "案卷-1".to_owned(),
            folder: true,
            files: files.collect(),
            labels: vec![Label { name: name("area-code"), value: "652901".to_owned() }],
        };
        let parcel = new_id(Timestamp(1), [1; 10]);
        let statement = Signed::make(
            &signing,
            &ParcelStatement {
                version: VERSION,
                parcel,
                origin: name("internet"),
                route: name("applications"),
                target: name("extranet"),
                parcel_type: name("application"),
                priority: Priority::Normal,
                accepted: Timestamp(1),
                manifest: suite.digest(&manifest.to_bytes()),
            },
        );
        let entry = Signed::make(
            &signing,
            &CustodyEntry {
                version: VERSION,
                statement: statement.digest(),
                previous: statement.digest(),
                node: name("internet"),
                crossing: Crossing::InternetToExtranet,
                rules: "2026-11-21.1".to_owned(),
                verdict: Verdict::Released,
                at: Timestamp(2),
            },
        );
        let mut bundle = Vec::new();
        let plan = SealPlan {
            bundle: new_id(Timestamp(2), [2; 10]),
            crossing: Crossing::InternetToExtranet,
            epoch: 1,
            sequence: 1,
            source: &name("internet"),
            target: &name("extranet"),
            priority: Priority::Normal,
            now: Timestamp(3),
            key: &signing,
            recipient: &opening.public(),
            keeper: &opening.public(),
            statement: &statement,
            custody: std::slice::from_ref(&entry),
            manifest: &manifest,
        };
        let sealed = bundle::seal(&plan, &mut bundle, |index| Ok(FILES[index].1)).unwrap();
        let receipts = vec![Signed::make(&signing, &receipt(parcel, statement.digest())).to_bytes()];
        let evidence = Evidence { envelope: sealed.envelope, footer: sealed.footer, receipts };
        Samples { suite, trust, card, signing, opening, statement, manifest, bundle, evidence }
    }

    fn pulse(&self) -> Pulse {
        let next = vec![NextNumber { epoch: 1, next: 40 }, NextNumber { epoch: 2, next: 1 }];
        Pulse { at: Timestamp(1_795_305_600_000), next, head: Head { log: 1, size: 9, root: self.suite.digest(b"r") } }
    }

    fn introduction(&self, secret: &[u8]) -> Introduction {
        let what = (Crossing::ExtranetToIntranet, self.suite, 3);
        Introduction::make(what, (&name("extranet"), &name("intranet")), Timestamp(9), secret, &self.opening.public())
            .unwrap()
    }
}

fn both() -> [Samples; 2] {
    Suite::ALL.map(Samples::new)
}

/// A signed paper and its body: whatever is taken is canonical, and nothing changed verifies.
fn fuzz_statement<T: Statement>(make: impl Fn(&Samples) -> T) {
    let worlds = both();
    let whole: Vec<Vec<u8>> = worlds.iter().map(|w| Signed::make(&w.signing, &make(w)).to_bytes()).collect();
    fuzz_beside(T::WHAT, &whole, &vectors(T::WHAT), 25_000, |bytes| {
        let Ok(signed) = Signed::parse::<T>(bytes) else { return false };
        assert_eq!(signed.to_bytes(), bytes, "one encoding");
        if let Ok(body) = signed.read_unverified::<T>() {
            assert_eq!(der_types::encode(&body), signed.body.as_bytes(), "one encoding of the body");
        }
        for world in &worlds {
            if let Ok((_, _)) = world.trust.verify::<T>(&signed) {
                assert!(whole.iter().any(|sample| sample == bytes), "a changed paper verifies");
            }
        }
        true
    });
    let bodies: Vec<Vec<u8>> = worlds.iter().map(|w| der_types::encode(&make(w))).collect();
    fuzz(&format!("body of {}", T::WHAT), &bodies, 100_000, |bytes| {
        match der_types::parse::<T>(T::WHAT, bytes, T::BYTES_MAX) {
            Ok(body) => {
                assert_eq!(der_types::encode(&body), bytes, "one encoding");
                true
            }
            Err(_) => false,
        }
    });
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

#[test]
fn parcel_statements_and_custody_entries() {
    fuzz_statement(parcel_statement);
    fuzz_statement(|world| CustodyEntry {
        version: VERSION,
        statement: world.statement.digest(),
        previous: world.statement.digest(),
        node: name("internet"),
        crossing: Crossing::ExtranetToIntranet,
        rules: "2026-11-21.1".to_owned(),
        verdict: Verdict::Stripped,
        at: Timestamp(5),
    });
    fuzz_statement(|world| protocol::envelope::Footer {
        version: VERSION,
        envelope: world.statement.digest(),
        root: world.statement.digest(),
        payload_bytes: 65_552,
    });
}

fn statement(world: &Samples) -> HeadStatement {
    let head = |size| Head { log: 2, size, root: world.statement.digest() };
    let start = LogStart {
        version: VERSION,
        node: name("extranet"),
        log: 2,
        previous: Head::default(),
        person: name("operator-ma"),
        at: Timestamp(7),
    };
    HeadStatement {
        turn: 3,
        links: vec![HeadLink { from: head(5), proof: vec![world.statement.digest(); 3] }],
        held: Some(head(77)),
        starts: vec![octets(Signed::make(&world.signing, &start).to_bytes())],
        ..HeadStatement::first(&name("extranet"), &name("intranet"), world.suite, Timestamp(8), head(9))
    }
}

#[test]
fn statements_about_a_ledger() {
    fuzz_statement(statement);
    fuzz_statement(|_| LogStart {
        version: VERSION,
        node: name("extranet"),
        log: 2,
        previous: Head::default(),
        person: name("operator-ma"),
        at: Timestamp(7),
    });
}

#[test]
fn receipts_batches_and_gap_reports() {
    fuzz_statement(|world| receipt(parcel_statement(world).parcel, world.statement.digest()));
    fuzz_statement(|_| gap_report());
    fuzz_statement(|world| ReceiptBatch {
        version: VERSION,
        batch: new_id(Timestamp(8), [8; 10]),
        crossing: Crossing::ExtranetToIntranet,
        source: name("extranet"),
        target: name("intranet"),
        epoch: 1,
        sequence: 2,
        at: Timestamp(8),
        stated: statement(world).sign(&world.signing),
        receipts: world.evidence.receipts.iter().cloned().map(octets).collect(),
        gap_reports: vec![octets(Signed::make(&world.signing, &gap_report()).to_bytes())],
        withdrawn: gap_report().epochs,
    });
}

#[test]
fn waybills_approvals_and_requests() {
    fuzz_statement(|world| Waybill {
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
        stated: statement(world).sign(&world.signing),
        lines: [LineKind::Bundle, LineKind::Receipts]
            .map(|kind| WaybillLine {
                kind,
                id: Octets([5; 16]),
                size: 1 << 33,
                digest: Octets([6; 32]),
                epoch: 1,
                sequence: 4,
            })
            .to_vec(),
    });
    fuzz_statement(|world| Approval {
        version: VERSION,
        waybill: world.statement.digest(),
        trip: 17,
        person: name("approver-li"),
        at: Timestamp(7),
    });
    fuzz_statement(|world| Request {
        version: VERSION,
        id: world.statement.digest(),
        node: name("intranet"),
        action: name("export"),
        person: name("operator-ma"),
        at: Timestamp(7),
        arguments: vec![Label { name: name("medium"), value: "disc-0001".to_owned() }],
    });
}

#[test]
fn link_keys_and_beacons() {
    fuzz_statement(|world| world.introduction(&fresh_key(world.suite)));
    fuzz_statement(|world| FolderBeacon {
        version: VERSION,
        crossing: Crossing::ExtranetToIntranet,
        source: name("extranet"),
        target: name("intranet"),
        epoch: 3,
        number: 77,
        pulse: world.pulse(),
    });
    for world in both() {
        let secret = fresh_key(world.suite);
        let key = Aead::new(world.suite, &secret).unwrap();
        let what = (Crossing::ExtranetToIntranet, world.suite, 3);
        let signed = world.introduction(&secret).sign(&world.signing);
        let sample = beacon::seal(what, 12, &signed, &world.pulse(), &key).unwrap();
        fuzz(&format!("beacon {}", world.suite), &[sample], 60_000, |bytes| {
            let Ok(read) = Beacon::parse(bytes) else { return false };
            assert!(bytes.len() <= BEACON_BYTES_MAX);
            if let Ok(pulse) = read.check(&key) {
                let what = (read.crossing, read.suite, read.epoch);
                assert_eq!(beacon::seal(what, read.sequence, read.introduction, &pulse, &key).unwrap(), bytes);
            }
            true
        });
    }
}

#[test]
fn frames_blocks_and_plans_of_the_one_way_link() {
    for world in both() {
        let suite = world.suite;
        let key = Aead::new(suite, &fresh_key(suite)).unwrap();
        let id = BlockId { epoch: 3, number: 9 };
        let piece = |n: u8, offset, length| Piece {
            entry: Octets([n; 16]),
            kind: Kind::Bundle,
            epoch: 1,
            sequence: u64::from(n),
            entry_bytes: 500,
            offset,
            length,
        };
        let pieces = vec![piece(1, 0, 500), piece(2, 100, 300)];
        let bytes = block::assemble::<()>(suite, id, &pieces, |_, out| {
            out.fill(7);
            Ok(())
        })
        .unwrap();
        let geometry = Geometry::of_block(u32::try_from(bytes.len()).unwrap(), 128, 30).unwrap();
        let head = block::digest_head(&bytes);
        let header = Header {
            suite,
            crossing: Crossing::ExtranetToIntranet,
            link_epoch: 3,
            link_sequence: 41,
            block: id,
            geometry,
            index: 1,
            digest_head: head,
        };
        let mut frame = Vec::new();
        header.seal(&key, &bytes[..128], &mut frame);
        fuzz(&format!("one-way frame {suite}"), std::slice::from_ref(&frame), 500_000, |mutant| {
            let Ok(read) = Unchecked::parse(mutant) else { return false };
            if let Ok(symbol) = read.check(&key) {
                let mut again = Vec::new();
                read.header.seal(&key, symbol, &mut again);
                assert_eq!(again, mutant);
                assert_eq!(mutant, frame, "a changed frame passes its tag");
            }
            true
        });
        fuzz(&format!("one-way block {suite}"), std::slice::from_ref(&bytes), 100_000, |mutant| {
            // The digest is computed anew, so that the directory behind it is reached.
            let body = mutant.get(..mutant.len().saturating_sub(32)).unwrap_or_default();
            let _refused = Block::open(suite, id, &head, mutant.to_vec());
            let _refused = Plan::parse(body);
            Block::open(suite, id, &block::digest_head(mutant), mutant.to_vec()).is_ok_and(|read| {
                assert_eq!(mutant, bytes, "a changed block has a right digest");
                read.pieces().count() == read.directory().len()
            })
        });
        let plan = Plan { id, geometry, pieces };
        fuzz(&format!("plan {suite}"), &[plan.to_bytes()], 400_000, |mutant| {
            let Some(read) = Plan::parse(mutant) else { return false };
            assert_eq!(read.to_bytes(), mutant, "one encoding");
            true
        });
    }
}

#[test]
fn frames_of_the_exchange() {
    let hello = Hello {
        version: exchange::EXCHANGE_VERSION,
        zone: Zone::Extranet,
        out: Crossing::ExtranetToInternet,
        back: Crossing::InternetToExtranet,
        in_flight: 8,
        process: 0x0123_4567,
        node: name("extranet"),
    };
    let item = Item {
        id: Octets([9; 16]),
        kind: exchange::Kind::Bundle,
        priority: Priority::Urgent,
        epoch: 1,
        sequence: 2,
        size: 1 << 40,
    };
    let frames = [
        exchange::Frame::Hello(hello),
        exchange::Frame::Offer(item),
        exchange::Frame::Want { offset: 1 << 33 },
        exchange::Frame::Chunk { offset: 5, bytes: b"some bytes" },
        exchange::Frame::Have,
        exchange::Frame::Stored,
        exchange::Frame::Later { seconds: 30 },
    ];
    let corpus: Vec<Vec<u8>> = frames.iter().map(exchange::Frame::encode).collect();
    fuzz_beside("exchange frame", &corpus, &vectors("exchange frame"), 1_500_000, |bytes| {
        let Some((head, body)) = bytes.split_first_chunk::<FRAME_HEAD_BYTES>() else { return false };
        let Ok(head) = FrameHead::decode(*head) else { return false };
        let Some(body) = body.get(..head.body_bytes()) else { return false };
        let Ok(frame) = exchange::Frame::decode(head, body) else { return false };
        assert_eq!(frame.encode(), bytes[..FRAME_HEAD_BYTES + body.len()], "one encoding");
        true
    });
}

#[test]
fn bundles_envelopes_and_evidence() {
    let worlds = both();
    let bundles: Vec<Vec<u8>> = worlds.iter().map(|world| world.bundle.clone()).collect();
    fuzz_beside("bundle", &bundles, &vectors("bundle"), 12_000, |bytes| {
        let peeked = bundle::peek(&mut &*bytes).is_ok();
        for world in &worlds {
            if bundle::verify(&mut &*bytes, &world.trust).is_ok() {
                assert!(peeked && *bytes == world.bundle[..], "a changed bundle verifies");
            }
        }
        peeked
    });
    let envelopes: Vec<Vec<u8>> = worlds.iter().map(|world| world.evidence.envelope.clone()).collect();
    fuzz("envelope", &envelopes, 30_000, |bytes| {
        let Ok(envelope) = protocol::envelope::Envelope::parse(bytes) else { return false };
        assert_eq!(envelope.to_bytes(), bytes, "one encoding");
        let _unproven = (envelope.prove(&worlds[0].trust), envelope.signed_custody());
        true
    });
    let evidence: Vec<Vec<u8>> = worlds.iter().map(|world| world.evidence.to_bytes()).collect();
    fuzz_beside("evidence", &evidence, &vectors("evidence"), 20_000, |bytes| {
        let Ok(read) = Evidence::parse(bytes) else { return false };
        assert_eq!(read.to_bytes(), bytes, "one encoding");
        for (world, sample) in worlds.iter().zip(&evidence) {
            if read.prove(&world.trust).is_ok() {
                // The list of receipts is no part of what is signed: one that is missing proves nothing wrong.
                assert!(read.envelope == world.evidence.envelope && read.footer == world.evidence.footer, "{sample:?}");
            }
        }
        true
    });
    let manifests: Vec<Vec<u8>> = worlds.iter().map(|world| world.manifest.to_bytes()).collect();
    fuzz("manifest", &manifests, 200_000, |bytes| {
        let Ok(manifest) = Manifest::parse(bytes) else { return false };
        assert_eq!(manifest.to_bytes(), bytes, "one encoding");
        true
    });
}

#[test]
fn records_and_checkpoints_of_the_ledger() {
    let mut record = Record::new(Event::ALL[0], Timestamp(1_795_305_600_000));
    record.parcel = Some(Octets([1; 16]));
    record.route = Some(name("applications"));
    record.crossing = Some(Crossing::InternetToExtranet);
    (record.epoch, record.sequence, record.through, record.trip, record.bytes) =
        (Some(1), Some(2), Some(9), Some(17), Some(1 << 40));
    record.head = Some(Head { log: 1, size: 9, root: Octets([3; 32]) });
    (record.outcome, record.reason, record.local) =
        (Some(Outcome::Delivered), Some(Reason::ALL[0]), Some(Octets([4; 32])));
    let corpus = [record.to_bytes(), Record::new(Event::ALL[1], Timestamp(0)).to_bytes()];
    fuzz_beside("ledger record", &corpus, &vectors("ledger record"), 500_000, |bytes| {
        let Ok(read) = Record::parse(bytes) else { return false };
        assert_eq!(read.to_bytes(), bytes, "one encoding");
        true
    });
    let local = Local {
        name: Some("申请.json".to_owned()),
        labels: vec![Label { name: name("area-code"), value: "652901".to_owned() }],
    };
    fuzz("local part", &[local.to_bytes(), Local::none().to_bytes()], 100_000, |bytes| {
        let Ok(read) = Local::parse(bytes) else { return false };
        assert_eq!(read.to_bytes(), bytes, "one encoding");
        true
    });
    for suite in Suite::ALL {
        let key = SigningKey::generate(suite);
        let checkpoint =
            Checkpoint { node: name("internet"), head: Head { log: 1, size: 4_711, root: Octets([5; 32]) } };
        let note = checkpoint.sign(&key);
        fuzz_beside(
            &format!("checkpoint note {suite}"),
            &[note.into_bytes()],
            &vectors("checkpoint"),
            10_000,
            |bytes| {
                let text = String::from_utf8_lossy(bytes);
                if let Ok(read) = Checkpoint::verify(&text, &name("internet"), &key.public()) {
                    assert_eq!(read, checkpoint, "a changed checkpoint verifies");
                }
                Checkpoint::parse_unverified(&text).is_ok()
            },
        );
    }
}

#[test]
fn segments_of_the_ledger() {
    let record = |event| Record::new(event, Timestamp(1_795_305_600_000)).to_bytes();
    let words = Local { name: Some("申请.json".to_owned()), labels: Vec::new() };
    let local = [&[7; 32][..], &words.to_bytes()].concat();
    let first = 40;
    let mut segment = segment::header(first);
    for event in Event::ALL.into_iter().take(6) {
        segment.extend(segment::frame(&record(event), if event.code() % 2 == 0 { &local } else { &[] }));
    }
    fuzz("ledger segment", std::slice::from_ref(&segment), 200_000, |bytes| {
        let mut frames = segment::Frames::new(bytes, first);
        let (mut next, mut whole, mut again) = (first, true, segment::header(first));
        for found in frames.by_ref() {
            let index = match found {
                segment::Found::Record(stored) => {
                    let local = stored.local.map(|(salt, words)| [&salt[..], &words.to_bytes()].concat());
                    again.extend(segment::frame(&stored.bytes, &local.unwrap_or_default()));
                    stored.index
                }
                segment::Found::Unreadable { index } | segment::Found::Broken { index, .. } => {
                    whole = false;
                    index
                }
            };
            assert_eq!(index, next, "records are counted one by one");
            next += 1;
        }
        assert!(frames.position() <= bytes.len());
        if whole && next > first {
            assert_eq!(again, bytes, "one encoding");
        }
        whole
    });
}

#[test]
fn backups() {
    let mut worlds = both();
    let samples: Vec<Vec<u8>> = worlds
        .iter_mut()
        .map(|world| {
            let plan = BackupPlan {
                id: Octets([6; 16]),
                node: &name("internet"),
                at: Timestamp(7),
                state_version: 2,
                ledger: Head { log: 1, size: 9, root: Octets([3; 32]) },
                key: &world.signing,
                recipient: &world.opening.public(),
            };
            let mut writer = BackupWriter::begin(&plan, Vec::new()).unwrap();
            writer.write_all(b"an archive of some bytes").unwrap();
            writer.finish().unwrap().0
        })
        .collect();
    fuzz_beside("backup", &samples, &vectors("backup"), 12_000, |bytes| {
        let mut held = false;
        for (world, sample) in worlds.iter().zip(&samples) {
            if backup::verify(&mut &*bytes, &world.trust).is_ok() {
                assert!(samples.iter().any(|sample| sample == bytes), "a changed backup verifies: {}", sample.len());
                held = true;
            }
        }
        held
    });
}

#[test]
fn keys_and_what_is_wrapped_to_them() {
    for world in both() {
        let suite = world.suite;
        let spki = world.signing.public().to_spki();
        fuzz(&format!("public key {suite}"), std::slice::from_ref(&spki), 20_000, |bytes| {
            let Ok(key) = VerifyingKey::from_spki(bytes) else { return false };
            assert_eq!(key.to_spki(), bytes, "one encoding");
            true
        });
        let seal = world.opening.public().to_spki();
        fuzz(&format!("sealing key {suite}"), &[seal], 20_000, |bytes| {
            let Ok(key) = SealingKey::from_spki(bytes) else { return false };
            assert_eq!(key.to_spki(), bytes, "one encoding");
            true
        });
        let pem = [world.signing.to_pem(None).unwrap(), world.opening.to_pem(None).unwrap()];
        let pem: Vec<Vec<u8>> = pem.iter().map(|pem| pem.as_bytes().to_vec()).collect();
        fuzz(&format!("private key {suite}"), &pem, 10_000, |bytes| {
            let text = String::from_utf8_lossy(bytes);
            SigningKey::from_pem(&text, None).is_ok() | OpeningKey::from_pem(&text, None).is_ok()
        });
        let secret = fresh_key(suite);
        let wrapped = world.opening.public().wrap_key(&secret, b"context").unwrap();
        fuzz(&format!("wrapped key {suite}"), std::slice::from_ref(&wrapped), 4_000, |bytes| {
            let Ok(opened) = world.opening.unwrap_key(bytes, b"context") else { return false };
            assert!(*opened == *secret && bytes == wrapped, "a changed wrap opens");
            true
        });
    }
}

#[test]
fn key_cards() {
    let cards: Vec<Vec<u8>> = both().into_iter().map(|world| world.card.into_bytes()).collect();
    fuzz("key card", &cards, 200_000, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let mut trust = Trust::default();
        let Ok(id) = trust.add("card.pub.pem", &text) else { return false };
        // A card is text for people and has more than one form; what is read of it says the same when written again.
        let again = trust.card(&id).unwrap().to_text();
        assert_eq!(Trust::default().add("again.pub.pem", &again), Ok(id));
        true
    });
}

thread_local! {
    static PANICS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// The beginnings of formats that the guard walks and the papers of the demo do not have.
fn odd_documents() -> Vec<(&'static str, Vec<u8>)> {
    let mut tar = vec![0; 1_536];
    tar[..8].copy_from_slice(b"note.txt");
    tar[124..135].copy_from_slice(b"00000000005");
    tar[156] = b'0';
    tar[257..262].copy_from_slice(b"ustar");
    tar[512..517].copy_from_slice(b"hello");
    let mut ole = vec![0; 1_536];
    ole[..8].copy_from_slice(&[0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1]);
    ole[24..34].copy_from_slice(&[0x3e, 0, 3, 0, 0xfe, 0xff, 9, 0, 6, 0]);
    ole[44] = 1;
    ole[48] = 1;
    ole[57] = 0x10;
    ole[76..80].copy_from_slice(&[0, 0, 0, 0]);
    ole[512..524].copy_from_slice(&[0xfd, 0xff, 0xff, 0xff, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    let mut dbf = vec![3, 126, 11, 22, 1, 0, 0, 0, 97, 0, 25, 0];
    dbf.resize(32, 0);
    for field in [b"X_COORD", b"Y_COORD"] {
        let start = dbf.len();
        dbf.extend_from_slice(field);
        dbf.resize(start + 32, 0);
        dbf[start + 11] = b'N';
        dbf[start + 16] = 12;
        dbf[start + 17] = 3;
    }
    dbf.push(0x0d);
    dbf.extend_from_slice(b"  512233.118 4563112.347\x1a");
    let tiff = [
        b"II*\0\x08\0\0\0\x03\0".as_slice(),
        b"\0\x01\x04\0\x01\0\0\0\x10\0\0\0",
        b"\x25\x88\x04\0\x01\0\0\0\x08\0\0\0",
        b"\x0e\x01\x02\0\x04\0\0\0map\0\0\0\0\0",
    ]
    .concat();
    let movie = [
        b"\0\0\0\x14ftypmp42\0\0\0\0mp42".as_slice(),
        b"\0\0\0\x2emoov\0\0\0\x26udta\0\0\0\x1e\xa9xyz\0\x12\x15\xc7+27.5916+086.5640+8850/",
        b"\0\0\0\x0cmdatabcd",
    ]
    .concat();
    let mail = b"From: a@example.org\r\nTo: b@example.org\r\nSubject: =?utf-8?B?5Zyw5Z2A?=\r\nMIME-Version: 1.0\r\n\
        Content-Type: multipart/mixed; boundary=b1\r\n\r\n--b1\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b1\r\n\
        Content-Type: application/json\r\nContent-Transfer-Encoding: base64\r\n\r\neyJ4IjogNDU2MzExMi4zNDd9\r\n--b1--\r\n";
    let utf16: Vec<u8> =
        "\u{feff}界址点 J1 X=4563112.347 Y=40512233.118\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    vec![
        ("case.tar", tar),
        ("old.doc", ole),
        ("points.dbf", dbf),
        ("map.tif", tiff),
        ("visit.mp4", movie),
        ("letter.eml", mail.to_vec()),
        ("points.txt", utf16),
        ("points.csv", b"id,x,y\nJ1,4563112.347,40512233.118\nJ2,4563118.902,40512287.455\n".to_vec()),
        (
            "site.geojson",
            br#"{"type":"Polygon","coordinates":[[[86.1,41.7],[86.2,41.7],[86.2,41.8],[86.1,41.7]]]}"#.to_vec(),
        ),
        ("walk.gpx", br#"<?xml version="1.0"?><gpx version="1.1"><wpt lat="41.7" lon="86.1"/></gpx>"#.to_vec()),
        (
            "plan.dxf",
            b"0\nSECTION\n2\nENTITIES\n0\nLINE\n10\n512233.118\n20\n4563112.347\n0\nENDSEC\n0\nEOF\n".to_vec(),
        ),
        (
            "wkt.txt",
            b"POLYGON((512233.1 4563112.3, 512287.4 4563118.9, 512293.8 4563071.2, 512233.1 4563112.3))".to_vec(),
        ),
    ]
}

#[test]
fn documents_before_the_guard() {
    // The guard catches its own panics and calls the file uninspectable; here each one is a failure all the same.
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.set(PANICS.get() + 1);
        before(info);
    }));
    let mut documents = vec![
        ("form.json", papers::application_form(1).into_bytes()),
        ("scan.jpg", papers::scanned_page(3, 200, 120)),
        ("ticket.pdf", papers::tax_ticket()),
        ("message.xml", papers::registration_message(4).into_bytes()),
        ("review.xml", papers::review_result(5).into_bytes()),
        ("parcel.shp", papers::shapefile()),
        ("letter.docx", papers::letter_with_hidden_shapefile()),
        ("volume.zip", papers::archive(2_000, 7)),
    ];
    documents.extend(odd_documents());
    documents.extend(tests::disguise::parents());
    documents.extend(
        tests::samples::ALL.iter().flat_map(|sample| [(sample.name, sample.clean()), (sample.name, sample.spiked())]),
    );
    // Locked and packed by other programs.
    let mut vectors: Vec<_> =
        fs::read_dir(repository().join("guard/tests/vectors")).unwrap().map(|entry| entry.unwrap().path()).collect();
    vectors.sort();
    documents.extend(vectors.iter().map(|path| ("vector", fs::read(path).unwrap())));
    let corpus: Vec<Vec<u8>> = documents.iter().map(|(_, bytes)| bytes.clone()).collect();
    let mut turn = 0;
    fuzz("document", &corpus, 120_000, |bytes| {
        // Under its own name, and under those of others: what a file claims to be is only a claim.
        let (name, _) = &documents[turn % documents.len()];
        turn += 1;
        let seen = guard::detect(name, bytes);
        assert!(PANICS.get() == 0, "{name}: the guard panicked");
        assert!(seen.verdict == guard::DetectVerdict::Clean || !seen.findings.is_empty(), "{name}: no evidence");
        true
    });
    for (name, bytes) in documents.iter().filter(|(name, _)| ["review.xml", "parcel.shp", "letter.docx"].contains(name))
    {
        assert_eq!(guard::detect(name, bytes).verdict, guard::DetectVerdict::Coordinates, "{name}");
    }
    for (name, bytes) in odd_documents() {
        println!("{name}: {}", guard::detect(name, &bytes).verdict.name());
    }
}

fn texts_of(folder: &str) -> Vec<Vec<u8>> {
    let mut paths: Vec<_> =
        fs::read_dir(repository().join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|suffix| suffix == "toml"));
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

#[test]
fn rules_and_configs() {
    fuzz("rules", &texts_of("config/rules"), 40_000, |bytes| {
        let Ok(rules) = guard::Rules::parse(&String::from_utf8_lossy(bytes)) else { return false };
        // No text, however it is written, lets a type keep coordinates where the content lands outside.
        let keeps = rules.type_names().filter_map(|name| rules.parcel_type(name)).any(guard::ParcelType::keep);
        assert!(!keeps || !rules.crossing().lands_outside());
        true
    });
    fuzz("config", &texts_of("config"), 40_000, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let Ok(config) = toml::from_str::<station::config::Config<toml::Table>>(&text) else { return false };
        for zone in Zone::ALL {
            for fault in config.faults(zone) {
                let (line, column) = station::config::place_of(&text, &fault);
                assert!(line > 0 && column > 0);
            }
        }
        true
    });
}
