//! The vectors that are no bundles: every other object of FORMAT.md, alone in a file. [`judge`] walks the steps of its
//! section as a reader does and gives the word for what is wrong; `list` makes the files.

use protocol::backup;
use protocol::bundle::BundleError;
use protocol::endorsement::Endorsement;
use protocol::evidence::Evidence;
use protocol::exchange::{FRAME_HEAD_BYTES, Frame, FrameHead};
use protocol::ledger::{Checkpoint, NoteError, Record};
use protocol::oneway::{FolderBeacon, Introduction};
use protocol::parcel::{Manifest, ParcelError};
use protocol::receipt::{BATCH_RECEIPTS_MAX, GapReport, Receipt, ReceiptBatch};
use protocol::request::{ARGUMENTS_MAX, Request};
use protocol::rollover::Rollover;
use protocol::signed::{SignedError, Statement};
use protocol::trust::{Role, TrustError, Use};
use protocol::trust_list::TrustList;
use protocol::volume::{PIECES_MAX, Volume};
use protocol::waybill::{Approval, WAYBILL_LINES_MAX, Waybill, line_file_name};
use protocol::witness::{Fault, HeadStatement, LogStart};
use protocol::{Name, Signed, Trust};

use crate::word;

type Judged<T> = Result<T, String>;

fn said(error: impl Into<TrustError>) -> String {
    word(&BundleError::Parcel(ParcelError::Trust(error.into())))
}

fn signed<T: Statement>(bytes: &[u8]) -> Judged<Signed> {
    Signed::parse::<T>(bytes).map_err(|e| said(SignedError::from(e)))
}

/// A signed object by a node that it names.
fn by_node<T: Statement>(bytes: &[u8], trust: &Trust, who: fn(&T) -> &Name) -> Judged<T> {
    let signed = signed::<T>(bytes)?;
    let claimed: T = signed.read_unverified().map_err(|e| said(SignedError::from(e)))?;
    trust.verify_from_node(&signed, who(&claimed)).map_err(said)
}

/// A signed object by a person that it names, in one of these roles.
fn by_person<T: Statement>(bytes: &[u8], trust: &Trust, who: fn(&T) -> &Name, role: fn(Role) -> bool) -> Judged<T> {
    let (object, card) = trust.verify::<T>(&signed::<T>(bytes)?).map_err(said)?;
    if role(card.role) && card.holder == *who(&object) { Ok(object) } else { Err(format!("wrong-signer {}", T::WHAT)) }
}

/// 12.1
fn stated(bytes: &[u8], trust: &Trust, node: Option<&Name>, target: Option<&Name>) -> Judged<()> {
    let claimed = signed::<HeadStatement>(bytes)?;
    let claimed: HeadStatement = claimed.read_unverified().map_err(|e| said(SignedError::from(e)))?;
    let read = HeadStatement::verify(bytes, node.unwrap_or(&claimed.node), trust).map_err(said)?;
    let statement = read.map_err(|refused| match refused.1 {
        Fault::Form => "contradiction form".to_owned(),
        Fault::Proof { .. } => "contradiction proof".to_owned(),
        Fault::NewLog { .. } => "contradiction log".to_owned(),
        other => format!("contradiction {other}"),
    })?;
    if target.is_none_or(|target| statement.target == *target) { Ok(()) } else { Err("disagree".to_owned()) }
}

fn evidence(bytes: &[u8], trust: &Trust) -> Judged<()> {
    let read = Evidence::parse(bytes).and_then(|evidence| evidence.prove(trust).map(drop));
    read.map_err(|error| match error {
        ParcelError::Disagree("the file is no evidence") => "not-evidence".to_owned(),
        ParcelError::Disagree("the evidence file is cut short or not well formed") => "malformed evidence".to_owned(),
        ParcelError::Disagree("the footer is by another key than the envelope names") => {
            "footer-mismatch envelope's signer".to_owned()
        }
        ParcelError::Disagree("the footer belongs to another envelope") => "footer-mismatch envelope".to_owned(),
        other => word(&BundleError::Parcel(other)),
    })
}

/// Section 12: any signing key of the node counts.
fn checkpoint(bytes: &[u8], trust: &Trust) -> Judged<()> {
    let note = std::str::from_utf8(bytes).map_err(|_| "malformed checkpoint".to_owned())?;
    let fault = |error: &NoteError| match error {
        NoteError::TooLarge { .. } => "too-large checkpoint",
        NoteError::Malformed { .. } => "malformed checkpoint",
        NoteError::OtherNode { .. } => "disagree",
        NoteError::BadSignature { .. } => "bad-signature checkpoint",
    };
    let node = Checkpoint::parse_unverified(note).map_err(|error| fault(&error).to_owned())?.node;
    let cards = trust.cards().filter(|card| card.holder == node && card.usage == Use::Sign);
    let keys = cards.filter_map(|card| protocol::keys::VerifyingKey::from_spki(&card.spki).ok());
    let mut read: Vec<_> = keys.map(|key| Checkpoint::verify(note, &node, &key)).collect();
    read.sort_by_key(Result::is_err);
    match read.first() {
        Some(Ok(_)) => Ok(()),
        Some(Err(error)) => Err(fault(error).to_owned()),
        None => Err("bad-signature checkpoint".to_owned()),
    }
}

fn exchange_frame(bytes: &[u8]) -> Option<()> {
    let (head, body) = bytes.split_first_chunk::<FRAME_HEAD_BYTES>()?;
    let frame = Frame::decode(FrameHead::decode(*head).ok()?, body).ok()?;
    assert_eq!(frame.encode(), bytes, "one encoding");
    Some(())
}

/// How a reader that follows FORMAT.md ends with an object of this kind.
pub(crate) fn judge(kind: &str, bytes: &[u8], trust: &Trust) -> String {
    match walk(kind, bytes, trust) {
        Ok(()) => "ok".to_owned(),
        Err(word) => word,
    }
}

fn walk(kind: &str, bytes: &[u8], trust: &Trust) -> Judged<()> {
    let over = |what: &str, found: usize, limit: usize| {
        if found > limit { Err(format!("over-limit {what}")) } else { Ok(()) }
    };
    match kind {
        "receipt" => by_node::<Receipt>(bytes, trust, |it| &it.node).map(drop),
        "gap report" => by_node::<GapReport>(bytes, trust, |it| &it.node).map(drop),
        "receipt batch" => {
            let batch = by_node::<ReceiptBatch>(bytes, trust, |it| &it.source)?;
            stated(batch.stated.as_bytes(), trust, Some(&batch.source), Some(&batch.target))?;
            over("receipts", batch.receipts.len(), BATCH_RECEIPTS_MAX)?;
            batch.receipts.iter().try_for_each(|one| walk("receipt", one.as_bytes(), trust))?;
            batch.gap_reports.iter().try_for_each(|one| walk("gap report", one.as_bytes(), trust))
        }
        "waybill" => {
            let bill = by_node::<Waybill>(bytes, trust, |it| &it.source)?;
            over("lines", bill.lines.len(), WAYBILL_LINES_MAX)?;
            let names: std::collections::HashSet<String> = bill.lines.iter().map(line_file_name).collect();
            if names.len() != bill.lines.len() {
                return Err("disagree".to_owned());
            }
            stated(bill.stated.as_bytes(), trust, Some(&bill.source), Some(&bill.target))
        }
        "approval" => by_person::<Approval>(bytes, trust, |it| &it.person, |role| role == Role::Approver).map(drop),
        // What 10.3 asks of the paper alone; the rest needs its waybill.
        "volume" => {
            let volume = by_person::<Volume>(bytes, trust, |it| &it.person, |role| role != Role::Node)?;
            over("pieces", volume.pieces.len(), PIECES_MAX)?;
            let fits = (1..=volume.count).contains(&volume.number) && volume.shape().is_ok();
            if fits { Ok(()) } else { Err("disagree".to_owned()) }
        }
        "request" => {
            let request = by_person::<Request>(bytes, trust, |it| &it.person, |role| role != Role::Node)?;
            over("arguments", request.arguments.len(), ARGUMENTS_MAX)
        }
        "endorsement of rules" => {
            let may = |role| matches!(role, Role::Security | Role::Approver);
            by_person::<Endorsement>(bytes, trust, |it| &it.person, may).map(drop)
        }
        "manifest" => Manifest::parse(bytes).map(drop).map_err(|error| match error {
            ParcelError::BadPath { .. } | ParcelError::SamePath { .. } => "disagree".to_owned(),
            other => word(&BundleError::Parcel(other)),
        }),
        "trust list" => TrustList::verify(bytes, trust).map(drop).map_err(said),
        "rollover" => Rollover::verify(bytes, trust).map(drop).map_err(|error| {
            word(&BundleError::Parcel(match error {
                ParcelError::Der(cause) => ParcelError::Trust(SignedError::from(cause).into()),
                other => other,
            }))
        }),
        "ledger head" => stated(bytes, trust, None, None),
        "start of a log" => trust.verify::<LogStart>(&signed::<LogStart>(bytes)?).map(drop).map_err(said),
        "link key" => by_node::<Introduction>(bytes, trust, |it| &it.source).map(drop),
        "folder beacon" => by_node::<FolderBeacon>(bytes, trust, |it| &it.source).map(drop),
        "evidence" => evidence(bytes, trust),
        "backup" => backup::verify(&mut &*bytes, trust).map(drop).map_err(|error| word(&error)),
        "checkpoint" => checkpoint(bytes, trust),
        "ledger record" => {
            Record::parse(bytes).map(drop).map_err(|error| word(&BundleError::Parcel(ParcelError::Der(error))))
        }
        "exchange frame" => exchange_frame(bytes).ok_or_else(|| "malformed exchange frame".to_owned()),
        other => Err(format!("{other} is no kind of vector")),
    }
}

#[cfg(feature = "open")]
pub(crate) use make::list;

#[cfg(feature = "open")]
mod make {
    use std::io::Write as _;

    use protocol::backup::{BackupPlan, BackupWriter};
    use protocol::der_types::{self, Octets};
    use protocol::exchange::{self, Frame, Hello, Item};
    use protocol::id::new_id;
    use protocol::keys::{OpeningKey, SigningKey};
    use protocol::ledger::{self, Event};
    use protocol::oneway::{NextNumber, Pulse};
    use protocol::parcel::{FileEntry, Label, Priority, VERSION};
    use protocol::receipt::{EpochGaps, Head, Outcome, Range};
    use protocol::tree;
    use protocol::volume::Piece;
    use protocol::waybill::{LineKind, WaybillLine};
    use protocol::witness::HeadLink;
    use protocol::{Crossing, Digest, Reason, Suite, Timestamp, Zone};

    use super::*;
    use crate::with_keys::{Keys, name, octets};

    const AT: Timestamp = Timestamp(1_795_219_210_000);

    /// One vector: its name, kind, what is expected, what it is, its bytes.
    pub(crate) type Made = (&'static str, &'static str, &'static str, &'static str, Vec<u8>);

    fn sign<T: Statement>(key: &SigningKey, object: &T) -> Vec<u8> {
        Signed::make(key, object).to_bytes()
    }

    /// The same object with a body that our own encoder would not write, validly signed.
    fn sign_body<T: Statement>(key: &SigningKey, body: Vec<u8>) -> Vec<u8> {
        let signature = key.sign(&protocol::signed::signed_bytes(T::DOMAIN, &body));
        let signed =
            Signed { suite: key.suite(), signer: key.public().id(), body: octets(body), signature: octets(signature) };
        signed.to_bytes()
    }

    /// Some bytes in the place of as many others.
    fn replaced(body: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
        let at = body.windows(old.len()).position(|window| window == old).expect("the bytes are there");
        assert_eq!(old.len(), new.len(), "lengths stay as they are");
        [&body[..at], new, &body[at + old.len()..]].concat()
    }

    fn changed(bytes: &[u8], at: usize) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 1;
        bytes
    }

    /// A ledger of seven leaves, its heads and the proofs between them.
    struct Grown {
        suite: Suite,
        leaves: Vec<Digest>,
    }

    impl Grown {
        fn new(suite: Suite) -> Grown {
            Grown { suite, leaves: (0..7_u8).map(|n| ledger::leaf(suite, &[n])).collect() }
        }
        fn read(&self, level: u32, index: u64) -> Digest {
            match level {
                0 => self.leaves[usize::try_from(index).unwrap()],
                _ => tree::node(self.suite, &self.read(level - 1, 2 * index), &self.read(level - 1, 2 * index + 1)),
            }
        }
        fn head(&self, size: u64) -> Head {
            let root = ledger::root::<()>(self.suite, size, &mut |level, index| Ok(self.read(level, index)));
            Head { log: 1, size, root: root.unwrap() }
        }
        fn link(&self, from: u64, to: u64) -> HeadLink {
            let proof =
                ledger::consistency_proof::<()>(self.suite, from, to, &mut |level, index| Ok(self.read(level, index)));
            HeadLink { from: self.head(from), proof: proof.unwrap() }
        }
    }

    /// What everything here is made of.
    struct Office<'a> {
        keys: &'a Keys,
        suite: Suite,
        grown: Grown,
        parcel: Octets<16>,
        statement: Digest,
    }

    impl Office<'_> {
        fn receipt(&self) -> Receipt {
            Receipt {
                version: VERSION,
                parcel: self.parcel,
                statement: self.statement,
                node: name("extranet"),
                outcome: Outcome::Refused,
                reason: Some(Reason::ALL[0]),
                bundle: new_id(Timestamp(1_795_219_202_000), [2; 10]),
                crossing: Crossing::InternetToExtranet,
                epoch: 1,
                sequence: 300,
                at: AT,
                head: self.grown.head(7),
            }
        }

        fn gap_report(&self) -> GapReport {
            GapReport {
                version: VERSION,
                node: name("extranet"),
                crossing: Crossing::InternetToExtranet,
                at: AT,
                epochs: self.gaps(),
            }
        }

        fn gaps(&self) -> Vec<EpochGaps> {
            let missing = vec![Range { from: 3, to: 5 }, Range { from: 9, to: 9 }];
            vec![EpochGaps { epoch: 1, through: 300, missing }]
        }

        fn stated(&self) -> HeadStatement {
            HeadStatement {
                turn: 3,
                links: vec![self.grown.link(5, 7), self.grown.link(4, 7), self.grown.link(0, 7)],
                held: Some(self.grown.head(6)),
                ..HeadStatement::first(&name("extranet"), &name("internet"), self.suite, AT, self.grown.head(7))
            }
        }

        fn batch(&self) -> ReceiptBatch {
            ReceiptBatch {
                version: VERSION,
                batch: new_id(AT, [8; 10]),
                crossing: Crossing::ExtranetToInternet,
                source: name("extranet"),
                target: name("internet"),
                epoch: 1,
                sequence: 12,
                at: AT,
                stated: self.stated().sign(&self.keys.extranet),
                receipts: vec![octets(sign(&self.keys.extranet, &self.receipt()))],
                gap_reports: vec![octets(sign(&self.keys.extranet, &self.gap_report()))],
                withdrawn: self.gaps(),
            }
        }

        fn waybill(&self) -> Waybill {
            let line = |kind| WaybillLine {
                kind,
                id: Octets([5; 16]),
                size: 1 << 33,
                digest: Octets([6; 32]),
                epoch: 1,
                sequence: 4,
            };
            Waybill {
                version: VERSION,
                trip: 17,
                crossing: Crossing::ExtranetToInternet,
                source: name("extranet"),
                target: name("internet"),
                medium: name("disc-0001"),
                carrier: name("carrier-sun"),
                exporter: name("operator-ma"),
                approvals: 2,
                at: AT,
                stated: self.stated().sign(&self.keys.extranet),
                lines: vec![line(LineKind::Bundle), line(LineKind::Receipts)],
            }
        }

        /// The second of three: the end of one bundle and a whole batch, with parity.
        fn volume(&self) -> Volume {
            let piece = |line, part, offset| Piece { line, part, offset, size: 1 << 20, digest: Octets([6; 32]) };
            Volume {
                version: VERSION,
                waybill: self.statement,
                trip: 17,
                person: name("operator-ma"),
                at: AT,
                number: 2,
                count: 3,
                blocks: 1,
                recovery: 144,
                pieces: vec![piece(0, 2, 1 << 32), piece(1, 0, 0)],
            }
        }

        fn approval(&self) -> Approval {
            Approval { version: VERSION, waybill: self.statement, trip: 17, person: name("approver-li"), at: AT }
        }

        fn start(&self) -> LogStart {
            LogStart {
                version: VERSION,
                node: name("extranet"),
                log: 9,
                previous: self.grown.head(7),
                person: name("operator-ma"),
                at: AT,
            }
        }

        fn later_log(&self, papers: Vec<Vec<u8>>) -> Vec<u8> {
            let head = Head { log: 9, ..self.grown.head(1) };
            let statement = HeadStatement {
                starts: papers.into_iter().map(octets).collect(),
                ..HeadStatement::first(&name("extranet"), &name("internet"), self.suite, AT, head)
            };
            sign(&self.keys.extranet, &statement)
        }

        fn request(&self) -> Request {
            Request {
                version: VERSION,
                id: Octets([4; 32]),
                node: name("extranet"),
                action: name("export"),
                person: name("operator-ma"),
                at: AT,
                arguments: vec![Label { name: name("medium"), value: "disc-0001".to_owned() }],
            }
        }

        fn introduction(&self) -> Introduction {
            let secret = vec![3; if self.suite == Suite::Gm { 16 } else { 32 }];
            Introduction::make(
                (Crossing::ExtranetToIntranet, self.suite, 3),
                (&name("extranet"), &name("intranet")),
                AT,
                &secret,
                &self.keys.intranet_seal.public(),
            )
            .unwrap()
        }

        fn beacon(&self) -> FolderBeacon {
            FolderBeacon {
                version: VERSION,
                crossing: Crossing::ExtranetToIntranet,
                source: name("extranet"),
                target: name("intranet"),
                epoch: 3,
                number: 77,
                pulse: Pulse { at: AT, next: vec![NextNumber { epoch: 1, next: 40 }], head: self.grown.head(7) },
            }
        }

        fn backup(&self) -> Vec<u8> {
            let plan = BackupPlan {
                id: new_id(AT, [6; 10]),
                node: &name("extranet"),
                at: AT,
                state_version: 2,
                ledger: self.grown.head(7),
                key: &self.keys.extranet.clone().into(),
                recipient: &self.keys.extranet_seal.public(),
            };
            let mut writer = BackupWriter::begin(&plan, Vec::new()).unwrap();
            writer.write_all(b"an archive").unwrap();
            writer.finish().unwrap().0
        }

        fn record(&self) -> Record {
            let mut record = Record::new(Event::HeadWitnessed, AT);
            record.parcel = Some(self.parcel);
            record.bundle = Some(Octets([2; 16]));
            record.origin = Some(name("internet"));
            record.route = Some(name("applications"));
            record.parcel_type = Some(name("application"));
            record.peer = Some(name("internet"));
            record.crossing = Some(Crossing::InternetToExtranet);
            (record.epoch, record.sequence, record.through) = (Some(1), Some(300), Some(u64::MAX));
            record.digest = Some(self.statement);
            (record.outcome, record.reason) = (Some(Outcome::Refused), Some(Reason::ALL[0]));
            record.person = Some(name("operator-ma"));
            (record.trip, record.bytes) = (Some(17), Some(0));
            record.local = Some(Octets([4; 32]));
            record.head = Some(self.grown.head(7));
            record
        }
    }

    /// Every vector of one suite that is no bundle.
    pub(crate) fn list(keys: &Keys) -> Vec<Made> {
        let parts = keys.parts();
        let signed = parts.read().signed_statement().unwrap();
        let parcel = signed.read_unverified::<protocol::parcel::ParcelStatement>().unwrap().parcel;
        let office =
            Office { keys, suite: keys.suite, grown: Grown::new(keys.suite), parcel, statement: signed.digest() };
        let mut list = receipts(&office);
        list.extend(trips(&office));
        list.extend(volumes(&office));
        list.extend(heads(&office));
        list.extend(desks_and_links(&office));
        list.extend(endorsements(&office));
        list.extend(manifests(keys.manifest()));
        list.extend(rollovers(&office));
        list.extend(trust_lists(&office));
        list.extend(kept(&office, &parts.envelope, &parts.footer));
        list.extend(books(&office));
        list
    }

    fn endorsements(office: &Office<'_>) -> Vec<Made> {
        let (approver, operator) = (&office.keys.approver, &office.keys.operator);
        let said = Endorsement {
            version: VERSION,
            crossing: Crossing::ExtranetToIntranet,
            rules: "2026-11-21.1".to_owned(),
            digest: office.statement,
            person: name("approver-li"),
            at: AT,
        };
        let kind = "endorsement of rules";
        vec![
            ("endorsement-ok", kind, "ok", "An approver's signature of a rule file.", sign(approver, &said)),
            (
                "endorsement-by-an-operator",
                kind,
                "wrong-signer endorsement of rules",
                "An operator signed and is named; neither security nor approver.",
                sign(operator, &Endorsement { person: name("operator-ma"), ..said.clone() }),
            ),
            (
                "endorsement-for-another-person",
                kind,
                "wrong-signer endorsement of rules",
                "It names somebody else than who signed.",
                sign(approver, &Endorsement { person: name("approver-wu"), ..said.clone() }),
            ),
            (
                "endorsement-version-two",
                kind,
                "version endorsement of rules",
                "An endorsement of version 2.",
                sign(approver, &Endorsement { version: 2, ..said.clone() }),
            ),
            (
                "endorsement-too-long",
                kind,
                "too-large endorsement of rules",
                "The version of the rules has 4,096 bytes.",
                sign(approver, &Endorsement { rules: "1".repeat(4_096), ..said }),
            ),
        ]
    }

    /// What is sealed with the content, in clear: whoever opens a bundle reads one.
    fn manifests(good: Manifest) -> Vec<Made> {
        let paths = |paths: &[&str]| {
            let mut manifest = good.clone();
            let file = manifest.files[0].clone();
            manifest.files = paths.iter().map(|path| FileEntry { path: (*path).to_owned(), ..file.clone() }).collect();
            manifest.to_bytes()
        };
        let label = Label { name: name("region"), value: "110101".to_owned() };
        let labels = |labels: Vec<Label>| Manifest { labels, ..good.clone() }.to_bytes();
        let (deep, long) = (["a"; 33].join("/"), "a".repeat(256));
        let made: Vec<(&'static str, &'static str, &'static str, Vec<u8>)> = vec![
            ("manifest-ok", "ok", "A folder of three files.", good.to_bytes()),
            ("manifest-path-climbs", "disagree", "A path with two dots as a part.", paths(&["a/../b"])),
            ("manifest-path-absolute", "disagree", "A path that begins with a slash.", paths(&["/a"])),
            ("manifest-path-backslash", "disagree", "A path with a backslash.", paths(&["a\\b"])),
            ("manifest-path-control", "disagree", "A path with U+0085.", paths(&["a\u{85}b"])),
            ("manifest-path-too-deep", "disagree", "A path of 33 parts.", paths(&[&deep])),
            ("manifest-part-too-long", "disagree", "A part of 256 bytes.", paths(&[&long])),
            ("manifest-path-twice", "disagree", "Two files have one path.", paths(&["a", "b", "a"])),
            ("manifest-file-and-folder", "disagree", "One path is a file and a folder.", paths(&["a/b/c", "a/b"])),
            (
                "manifest-other-name",
                "disagree",
                "It is no folder, and its one file has another name.",
                Manifest { folder: false, files: good.files[..1].to_vec(), ..good.clone() }.to_bytes(),
            ),
            ("manifest-sizes-overflow", "disagree", "The sizes add up to 2^64.", {
                let mut manifest = good.clone();
                (manifest.files[0].size, manifest.files[1].size) = (u64::MAX, 1);
                manifest.to_bytes()
            }),
            (
                "manifest-33-labels",
                "over-limit number of labels",
                "One label more than there may be.",
                labels(vec![label.clone(); 33]),
            ),
            (
                "manifest-label-too-long",
                "over-limit length of a label",
                "A value of 257 bytes.",
                labels(vec![Label { value: "1".repeat(257), ..label }]),
            ),
            (
                "manifest-version-two",
                "version manifest",
                "A manifest of version 2.",
                Manifest { version: 2, ..good.clone() }.to_bytes(),
            ),
            ("manifest-trailing-byte", "malformed manifest", "A byte behind it.", [good.to_bytes(), vec![0]].concat()),
        ];
        made.into_iter().map(|(name, expect, comment, bytes)| (name, "manifest", expect, comment, bytes)).collect()
    }

    fn receipts(office: &Office<'_>) -> Vec<Made> {
        let (node, other, operator) = (&office.keys.extranet, &office.keys.internet, &office.keys.operator);
        let receipt = office.receipt();
        let body = der_types::encode(&receipt);
        let batch = || office.batch();
        let forged = changed(batch().receipts[0].as_bytes(), batch().receipts[0].as_bytes().len() - 1);
        vec![
            ("receipt-ok", "receipt", "ok", "Refused for its coordinates.", sign(node, &receipt)),
            (
                "receipt-without-reason",
                "receipt",
                "ok",
                "Delivered: the optional reason is absent.",
                sign(node, &Receipt { outcome: Outcome::Delivered, reason: None, ..receipt.clone() }),
            ),
            (
                "receipt-by-another-node",
                "receipt",
                "wrong-signer receipt",
                "It names the extranet's node; the internet's signed.",
                sign(other, &receipt),
            ),
            ("receipt-by-a-person", "receipt", "wrong-signer receipt", "An operator signed and is named.", {
                sign(operator, &Receipt { node: name("operator-ma"), ..receipt.clone() })
            }),
            (
                "receipt-by-a-stranger",
                "receipt",
                "unknown-key receipt",
                "Signed by a key on no card.",
                sign(&office.keys.stranger, &receipt),
            ),
            (
                "receipt-version-two",
                "receipt",
                "version receipt",
                "A receipt of version 2.",
                sign(node, &Receipt { version: 2, ..receipt.clone() }),
            ),
            (
                "receipt-outcome-unknown",
                "receipt",
                "malformed receipt",
                "An outcome with the code 9, validly signed.",
                sign_body::<Receipt>(node, replaced(&body, &[2, 1, 3, 2, 1, 1, 4, 16], &[2, 1, 9, 2, 1, 1, 4, 16])),
            ),
            (
                "receipt-reason-zero",
                "receipt",
                "malformed receipt",
                "A reason with the code 0, validly signed.",
                sign_body::<Receipt>(node, replaced(&body, &[2, 1, 3, 2, 1, 1, 4, 16], &[2, 1, 3, 2, 1, 0, 4, 16])),
            ),
            (
                "receipt-in-another-domain",
                "receipt",
                "bad-signature receipt",
                "Signed behind the domain string of a gap report.",
                {
                    let mut signed = Signed::make(node, &receipt);
                    signed.signature =
                        octets(node.sign(&protocol::signed::signed_bytes(GapReport::DOMAIN, signed.body.as_bytes())));
                    signed.to_bytes()
                },
            ),
            (
                "gap-report-ok",
                "gap report",
                "ok",
                "Two ranges are missing in one epoch.",
                sign(node, &office.gap_report()),
            ),
            ("gap-report-version-two", "gap report", "version gap report", "A gap report of version 2.", {
                sign(node, &GapReport { version: 2, ..office.gap_report() })
            }),
            (
                "gap-report-changed",
                "gap report",
                "bad-signature gap report",
                "The last bit of the signature is changed.",
                {
                    let bytes = sign(node, &office.gap_report());
                    changed(&bytes, bytes.len() - 1)
                },
            ),
            (
                "batch-ok",
                "receipt batch",
                "ok",
                "One receipt, one gap report, withdrawn numbers, a stated head.",
                sign(node, &batch()),
            ),
            (
                "batch-receipt-changed",
                "receipt batch",
                "bad-signature receipt",
                "The batch is validly signed; a receipt in it is not.",
                { sign(node, &ReceiptBatch { receipts: vec![octets(forged)], ..batch() }) },
            ),
            (
                "batch-by-another-node",
                "receipt batch",
                "wrong-signer receipt batch",
                "Its source is the extranet's node; the internet's signed.",
                sign(other, &batch()),
            ),
            (
                "batch-head-for-another",
                "receipt batch",
                "disagree",
                "The head in it was stated to the intranet's node.",
                {
                    let stated = HeadStatement { target: name("intranet"), ..office.stated() }.sign(node);
                    sign(node, &ReceiptBatch { stated, ..batch() })
                },
            ),
            (
                "batch-head-of-another",
                "receipt batch",
                "wrong-signer ledger head",
                "The head in it is the internet's.",
                {
                    let stated = HeadStatement { node: name("internet"), ..office.stated() }.sign(other);
                    sign(node, &ReceiptBatch { stated, ..batch() })
                },
            ),
            (
                "batch-version-two",
                "receipt batch",
                "version receipt batch",
                "A batch of version 2.",
                sign(node, &ReceiptBatch { version: 2, ..batch() }),
            ),
        ]
    }

    fn trips(office: &Office<'_>) -> Vec<Made> {
        let (node, other) = (&office.keys.extranet, &office.keys.internet);
        let bill = || office.waybill();
        let body = der_types::encode(&bill());
        vec![
            ("waybill-ok", "waybill", "ok", "A trip of two files.", sign(node, &bill())),
            (
                "waybill-empty-ok",
                "waybill",
                "ok",
                "A trip of no file: it says that nothing more comes under its number.",
                sign(node, &Waybill { lines: Vec::new(), ..bill() }),
            ),
            (
                "waybill-by-another-node",
                "waybill",
                "wrong-signer waybill",
                "Its source is the extranet's node; the internet's signed.",
                sign(other, &bill()),
            ),
            ("waybill-line-twice", "waybill", "disagree", "Two lines name one file.", {
                let mut bill = bill();
                bill.lines.push(bill.lines[0].clone());
                sign(node, &bill)
            }),
            (
                "waybill-head-proof-changed",
                "waybill",
                "contradiction proof",
                "A digest in the proof of the head it states is changed; all signatures hold.",
                {
                    let mut stated = office.stated();
                    stated.links[0].proof[0] = Octets([0; 32]);
                    sign(node, &Waybill { stated: stated.sign(node), ..bill() })
                },
            ),
            ("waybill-line-kind-unknown", "waybill", "malformed waybill", "A line of kind 3, validly signed.", {
                let line = [&[2, 1, 2, 4, 16][..], &[5; 16]].concat();
                let strange = [&[2, 1, 3, 4, 16][..], &[5; 16]].concat();
                sign_body::<Waybill>(node, replaced(&body, &line, &strange))
            }),
            (
                "waybill-version-two",
                "waybill",
                "version waybill",
                "A waybill of version 2.",
                sign(node, &Waybill { version: 2, ..bill() }),
            ),
            (
                "approval-ok",
                "approval",
                "ok",
                "An approver countersigns.",
                sign(&office.keys.approver, &office.approval()),
            ),
            ("approval-by-an-operator", "approval", "wrong-signer approval", "An operator signed and is named.", {
                sign(&office.keys.operator, &Approval { person: name("operator-ma"), ..office.approval() })
            }),
            (
                "approval-for-another-person",
                "approval",
                "wrong-signer approval",
                "It names another approver than the one who signed.",
                { sign(&office.keys.approver, &Approval { person: name("approver-zhao"), ..office.approval() }) },
            ),
            ("approval-version-two", "approval", "version approval", "An approval of version 2.", {
                sign(&office.keys.approver, &Approval { version: 2, ..office.approval() })
            }),
        ]
    }

    fn volumes(office: &Office<'_>) -> Vec<Made> {
        let (exporter, node) = (&office.keys.operator, &office.keys.extranet);
        let volume = || office.volume();
        let body = der_types::encode(&volume());
        vec![
            ("volume-ok", "volume", "ok", "The second of three volumes, with parity.", sign(exporter, &volume())),
            ("volume-without-parity", "volume", "ok", "The only volume, of parts alone.", {
                sign(exporter, &Volume { number: 1, count: 1, blocks: 0, recovery: 0, ..volume() })
            }),
            (
                "volume-by-another-person",
                "volume",
                "wrong-signer volume",
                "It names the operator; the approver signed.",
                { sign(&office.keys.approver, &volume()) },
            ),
            ("volume-by-a-node", "volume", "wrong-signer volume", "A node signed and is named.", {
                sign(node, &Volume { person: name("extranet"), ..volume() })
            }),
            ("volume-of-none", "volume", "disagree", "Volume 0 of 3.", {
                sign(exporter, &Volume { number: 0, ..volume() })
            }),
            ("volume-past-the-last", "volume", "disagree", "Volume 4 of 3.", {
                sign(exporter, &Volume { number: 4, ..volume() })
            }),
            ("volume-recovery-of-seventeen", "volume", "disagree", "17 recovery sectors are no whole chunks.", {
                sign(exporter, &Volume { recovery: 17, ..volume() })
            }),
            ("volume-recovery-without-blocks", "volume", "disagree", "Recovery sectors of no block.", {
                sign(exporter, &Volume { blocks: 0, ..volume() })
            }),
            ("volume-more-blocks-than-chunks", "volume", "disagree", "65 blocks for 64 chunks.", {
                sign(exporter, &Volume { blocks: 65, ..volume() })
            }),
            ("volume-block-too-large", "volume", "disagree", "More recovery than a decoder holds.", {
                sign(exporter, &Volume { recovery: 32_768, ..volume() })
            }),
            ("volume-version-two", "volume", "version volume", "A volume of version 2.", {
                sign(exporter, &Volume { version: 2, ..volume() })
            }),
            ("volume-size-negative", "volume", "malformed volume", "A piece of negative size, validly signed.", {
                sign_body::<Volume>(exporter, replaced(&body, &[2, 3, 0x10, 0, 0], &[2, 3, 0x90, 0, 0]))
            }),
        ]
    }

    /// 2026-12-01, 00:00 UTC.
    const LAST_DAY_ENDS: u64 = 1_796_083_200_000;
    /// 10000-01-01, 00:00 UTC.
    const YEAR_10000: u64 = 253_402_300_800_000;

    fn rollovers(office: &Office<'_>) -> Vec<Made> {
        let (node, other) = (&office.keys.extranet, &office.keys.internet);
        let fresh = SigningKey::generate(office.suite);
        let said = || Rollover {
            version: VERSION,
            node: name("extranet"),
            usage: Use::Sign,
            old: node.public().id(),
            key: octets(fresh.public().to_spki()),
            at: AT,
            until: AT.plus_ms(30 * 24 * 60 * 60 * 1000),
        };
        let seal = |old, spki| Rollover { usage: Use::Seal, old, key: octets(spki), ..said() };
        let (sealing, next) = (office.keys.extranet_seal.public(), OpeningKey::generate(office.suite).public());
        let late = |old: &SigningKey, at| Rollover {
            old: old.public().id(),
            at: Timestamp(at),
            until: Timestamp(at),
            ..said()
        };
        let foreign = SigningKey::generate(if office.suite == Suite::Std { Suite::Gm } else { Suite::Std });
        let ok = sign(node, &said());
        vec![
            ("rollover-ok", "rollover", "ok", "A signing key names its successor.", ok.clone()),
            ("rollover-of-a-sealing-key", "rollover", "ok", "The signing key names the successor of a sealing key.", {
                sign(node, &seal(sealing.id(), next.to_spki()))
            }),
            ("rollover-by-the-new-key", "rollover", "unknown-key rollover", "The new key speaks for itself.", {
                sign(&fresh, &said())
            }),
            ("rollover-by-another-node", "rollover", "wrong-signer rollover", "The internet's node signed.", {
                sign(other, &said())
            }),
            ("rollover-by-a-person", "rollover", "wrong-signer rollover", "An operator signed and is named.", {
                sign(&office.keys.operator, &Rollover { node: name("operator-ma"), ..said() })
            }),
            ("rollover-of-anothers-key", "rollover", "wrong-signer rollover", "The old key is the internet's.", {
                sign(node, &Rollover { old: other.public().id(), ..said() })
            }),
            ("rollover-of-another-use", "rollover", "wrong-signer rollover", "The old key seals, it does not sign.", {
                sign(node, &Rollover { old: sealing.id(), ..said() })
            }),
            ("rollover-of-an-unknown-key", "rollover", "unknown-key rollover", "The old key is on no card.", {
                sign(node, &Rollover { old: Octets([9; 32]), ..said() })
            }),
            ("rollover-to-another-suite", "rollover", "disagree", "The new key is of the other suite.", {
                sign(node, &Rollover { key: octets(foreign.public().to_spki()), ..said() })
            }),
            ("rollover-to-no-key", "rollover", "disagree", "What is to be the new key is none.", {
                sign(node, &Rollover { key: octets(vec![0x30, 0]), ..said() })
            }),
            ("rollover-to-itself", "rollover", "disagree", "The new key is the old one.", {
                sign(node, &Rollover { key: octets(node.public().to_spki()), ..said() })
            }),
            ("rollover-ends-before", "rollover", "disagree", "The old key ends before the new one begins.", {
                sign(node, &Rollover { until: Timestamp(AT.0 - 1), ..said() })
            }),
            ("rollover-on-the-last-day", "rollover", "ok", "Its last millisecond: the card's last day counts.", {
                sign(&office.keys.ended, &late(&office.keys.ended, LAST_DAY_ENDS - 1))
            }),
            ("rollover-by-an-ended-key", "rollover", "disagree", "The day after the last one on its card.", {
                sign(&office.keys.ended, &late(&office.keys.ended, LAST_DAY_ENDS))
            }),
            ("rollover-of-sealing-by-an-ended-key", "rollover", "disagree", "The signer's card has ended.", {
                let said = seal(sealing.id(), next.to_spki());
                let (at, until) = (Timestamp(LAST_DAY_ENDS), Timestamp(LAST_DAY_ENDS));
                sign(&office.keys.ended, &Rollover { at, until, ..said })
            }),
            ("rollover-of-an-ended-sealing-key", "rollover", "disagree", "The old key's card has ended.", {
                let said = seal(office.keys.ended_seal.public().id(), next.to_spki());
                let (at, until) = (Timestamp(LAST_DAY_ENDS), Timestamp(LAST_DAY_ENDS));
                sign(node, &Rollover { at, until, ..said })
            }),
            ("rollover-in-the-year-10000", "rollover", "disagree", "Cards write years with four digits.", {
                sign(node, &Rollover { at: Timestamp(YEAR_10000), until: Timestamp(YEAR_10000), ..said() })
            }),
            ("rollover-until-the-last-day-there-is", "rollover", "ok", "9999-12-31.", {
                sign(node, &Rollover { until: Timestamp(YEAR_10000 - 1), ..said() })
            }),
            ("rollover-to-a-known-key", "rollover", "ok", "The new key is on a card of the same holder and use.", {
                sign(node, &Rollover { key: octets(office.keys.ended.public().to_spki()), ..said() })
            }),
            ("rollover-to-anothers-key", "rollover", "disagree", "The new key is on the internet's card.", {
                sign(node, &Rollover { key: octets(other.public().to_spki()), ..said() })
            }),
            ("rollover-to-a-persons-key", "rollover", "disagree", "The new key is on an operator's card.", {
                sign(node, &Rollover { key: octets(office.keys.operator.public().to_spki()), ..said() })
            }),
            ("rollover-changed", "rollover", "bad-signature rollover", "The last bit of the signature is changed.", {
                changed(&ok, ok.len() - 1)
            }),
            ("rollover-version-two", "rollover", "version rollover", "A rollover of version 2.", {
                sign(node, &Rollover { version: 2, ..said() })
            }),
        ]
    }

    fn trust_lists(office: &Office<'_>) -> Vec<Made> {
        let admin = &office.keys.key_admin;
        let cards = vec![Octets([1; 32]), Octets([2; 32])];
        let said = || TrustList { version: VERSION, person: name("key-admin-he"), at: AT, cards: cards.clone() };
        let ok = sign(admin, &said());
        vec![
            ("trust-list-ok", "trust list", "ok", "A key administrator signs two cards.", ok.clone()),
            (
                "trust-list-by-an-operator",
                "trust list",
                "wrong-signer trust list",
                "An operator signed and is named.",
                { sign(&office.keys.operator, &TrustList { person: name("operator-ma"), ..said() }) },
            ),
            (
                "trust-list-for-another-person",
                "trust list",
                "wrong-signer trust list",
                "It names another administrator than the one who signed.",
                sign(admin, &TrustList { person: name("key-admin-zhou"), ..said() }),
            ),
            (
                "trust-list-changed",
                "trust list",
                "bad-signature trust list",
                "The last bit of the signature is changed.",
                { changed(&ok, ok.len() - 1) },
            ),
            ("trust-list-version-two", "trust list", "version trust list", "A list of version 2.", {
                sign(admin, &TrustList { version: 2, ..said() })
            }),
        ]
    }

    fn heads(office: &Office<'_>) -> Vec<Made> {
        let (node, operator) = (&office.keys.extranet, &office.keys.operator);
        let stated = || office.stated();
        let (by_node, by_operator) = (sign(node, &office.start()), sign(operator, &office.start()));
        let elsewhere = LogStart { previous: office.grown.head(6), ..office.start() };
        vec![
            ("head-first", "ledger head", "ok", "The first head that was stated: no links.", {
                sign(node, &HeadStatement { links: Vec::new(), held: None, turn: 1, ..stated() })
            }),
            (
                "head-ok",
                "ledger head",
                "ok",
                "Links from 5, 4 and 0 records to 7, and a head of the target's.",
                sign(node, &stated()),
            ),
            (
                "head-link-root-changed",
                "ledger head",
                "contradiction proof",
                "The root that a link begins at is another.",
                {
                    let mut stated = stated();
                    stated.links[1].from.root = Octets([1; 32]);
                    sign(node, &stated)
                },
            ),
            (
                "head-link-from-larger",
                "ledger head",
                "contradiction proof",
                "A link begins at more records than the head has.",
                {
                    let mut stated = stated();
                    stated.links[0].from.size = 8;
                    sign(node, &stated)
                },
            ),
            ("head-link-of-another-log", "ledger head", "contradiction proof", "A link begins in another log.", {
                let mut stated = stated();
                stated.links[0].from.log = 2;
                sign(node, &stated)
            }),
            (
                "head-empty-with-proof",
                "ledger head",
                "contradiction proof",
                "The link from the empty ledger has a proof, which it needs not.",
                {
                    let mut stated = stated();
                    stated.links[2].proof = vec![Octets([1; 32])];
                    sign(node, &stated)
                },
            ),
            ("head-five-links", "ledger head", "contradiction form", "Five links, each of which holds.", {
                sign(
                    node,
                    &HeadStatement { links: (1..=5).map(|from| office.grown.link(from, 7)).collect(), ..stated() },
                )
            }),
            (
                "head-signature-changed",
                "ledger head",
                "bad-signature ledger head",
                "The last bit of the signature is changed.",
                {
                    let bytes = sign(node, &stated());
                    changed(&bytes, bytes.len() - 1)
                },
            ),
            (
                "head-version-two",
                "ledger head",
                "version ledger head",
                "A statement of version 2.",
                sign(node, &HeadStatement { version: 2, ..stated() }),
            ),
            ("head-of-a-later-log", "ledger head", "ok", "Log 9, with the two papers that begin it.", {
                office.later_log(vec![by_node.clone(), by_operator.clone()])
            }),
            (
                "head-of-a-later-log-alone",
                "ledger head",
                "contradiction log",
                "Log 9 without papers.",
                office.later_log(Vec::new()),
            ),
            (
                "head-of-a-later-log-without-operator",
                "ledger head",
                "contradiction log",
                "Log 9, begun by the node alone.",
                { office.later_log(vec![by_node.clone(), by_node.clone()]) },
            ),
            (
                "head-of-a-later-log-in-two-words",
                "ledger head",
                "contradiction log",
                "Node and operator name different heads of the log before.",
                { office.later_log(vec![by_node.clone(), sign(operator, &elsewhere)]) },
            ),
            ("log-start-ok", "start of a log", "ok", "By the operator.", by_operator),
            (
                "log-start-changed",
                "start of a log",
                "bad-signature start of a log",
                "The last bit of the signature is changed.",
                { changed(&by_node, by_node.len() - 1) },
            ),
        ]
    }

    fn desks_and_links(office: &Office<'_>) -> Vec<Made> {
        let (node, operator) = (&office.keys.extranet, &office.keys.operator);
        let frames: [Made; 5] = [
            ("exchange-hello", "exchange frame", "ok", "The first frame each way.", {
                Frame::Hello(Hello {
                    version: exchange::EXCHANGE_VERSION,
                    zone: Zone::Extranet,
                    out: Crossing::ExtranetToInternet,
                    back: Crossing::InternetToExtranet,
                    in_flight: 8,
                    process: 0x0123_4567,
                    node: name("extranet"),
                })
                .encode()
            }),
            ("exchange-offer", "exchange frame", "ok", "An entry of 1 TiB is offered.", offer(1 << 40)),
            (
                "exchange-offer-of-nothing",
                "exchange frame",
                "malformed exchange frame",
                "An offer of size 0.",
                offer(0),
            ),
            ("exchange-chunk-empty", "exchange frame", "malformed exchange frame", "A chunk without bytes.", {
                [&[4, 0, 0, 0, 8][..], &[0; 8]].concat()
            }),
            (
                "exchange-kind-unknown",
                "exchange frame",
                "malformed exchange frame",
                "A frame of kind 8.",
                vec![8, 0, 0, 0, 0],
            ),
        ];
        let mut list = vec![
            ("request-ok", "request", "ok", "An operator asks for an export.", sign(operator, &office.request())),
            (
                "request-by-a-node",
                "request",
                "wrong-signer request",
                "A node asks.",
                sign(node, &Request { person: name("extranet"), ..office.request() }),
            ),
            ("request-too-many-words", "request", "over-limit arguments", "Sixty-five arguments.", {
                let word = Label { name: name("a"), value: "b".to_owned() };
                sign(operator, &Request { arguments: vec![word; 65], ..office.request() })
            }),
            (
                "request-version-two",
                "request",
                "version request",
                "A request of version 2.",
                sign(operator, &Request { version: 2, ..office.request() }),
            ),
            (
                "introduction-ok",
                "link key",
                "ok",
                "A link key wrapped to the intranet's node.",
                sign(node, &office.introduction()),
            ),
            (
                "introduction-by-another-node",
                "link key",
                "wrong-signer link key",
                "Its source is the extranet's node; the internet's signed.",
                { sign(&office.keys.internet, &office.introduction()) },
            ),
            ("introduction-too-long", "link key", "too-large link key", "A wrapped key of 700 bytes.", {
                sign(node, &Introduction { wrapped: octets(vec![0; 700]), ..office.introduction() })
            }),
            (
                "introduction-version-two",
                "link key",
                "version link key",
                "An introduction of version 2.",
                sign(node, &Introduction { version: 2, ..office.introduction() }),
            ),
            (
                "folder-beacon-ok",
                "folder beacon",
                "ok",
                "What exists on a crossing where only files travel.",
                sign(node, &office.beacon()),
            ),
            (
                "folder-beacon-version-two",
                "folder beacon",
                "version folder beacon",
                "A beacon of version 2.",
                sign(node, &FolderBeacon { version: 2, ..office.beacon() }),
            ),
        ];
        list.extend(frames);
        list
    }

    fn offer(size: u64) -> Vec<u8> {
        let item = Item {
            id: Octets([9; 16]),
            kind: exchange::Kind::Bundle,
            priority: Priority::Urgent,
            epoch: 1,
            sequence: 2,
            size,
        };
        Frame::Offer(item).encode()
    }

    fn kept(office: &Office<'_>, envelope: &[u8], footer: &[u8]) -> Vec<Made> {
        let node = &office.keys.extranet;
        let with = |receipts: Vec<Vec<u8>>| {
            Evidence { envelope: envelope.to_vec(), footer: footer.to_vec(), receipts }.to_bytes()
        };
        let receipt = sign(node, &office.receipt());
        let good = with(vec![receipt.clone()]);
        let backup = office.backup();
        let other = office.keys.second_hop();
        let inside = |part: &[u8], whole: &[u8]| whole.windows(part.len()).position(|window| window == part).unwrap();
        vec![
            ("evidence-ok", "evidence", "ok", "Envelope, footer and one receipt.", good.clone()),
            ("evidence-without-receipts", "evidence", "ok", "Sent, and nobody has answered yet.", with(Vec::new())),
            ("evidence-magic-other", "evidence", "not-evidence", "The magic is TRIPROOG.", changed(&good, 7)),
            (
                "evidence-cut",
                "evidence",
                "malformed evidence",
                "The last byte of the receipt is missing.",
                good[..good.len() - 1].to_vec(),
            ),
            (
                "evidence-trailing-byte",
                "evidence",
                "malformed evidence",
                "One zero byte follows.",
                [&good[..], &[0]].concat(),
            ),
            (
                "evidence-sixty-five-receipts",
                "evidence",
                "over-limit number of receipts",
                "It says that 65 receipts follow.",
                {
                    let mut bytes = good.clone();
                    let at = 8 + 4 + envelope.len() + 4 + footer.len();
                    bytes[at..at + 2].copy_from_slice(&[0, 65]);
                    bytes
                },
            ),
            (
                "evidence-receipt-of-another-parcel",
                "evidence",
                "disagree",
                "The receipt is validly signed and names another statement.",
                { with(vec![sign(node, &Receipt { statement: Octets([9; 32]), ..office.receipt() })]) },
            ),
            (
                "evidence-receipt-changed",
                "evidence",
                "bad-signature receipt",
                "The last bit of the receipt's signature is changed.",
                { with(vec![changed(&receipt, receipt.len() - 1)]) },
            ),
            (
                "evidence-footer-of-another-bundle",
                "evidence",
                "footer-mismatch envelope's signer",
                "The footer of the second hop, by another node.",
                {
                    Evidence { envelope: envelope.to_vec(), footer: other.footer.clone(), receipts: Vec::new() }
                        .to_bytes()
                },
            ),
            (
                "evidence-envelope-changed",
                "evidence",
                "footer-mismatch envelope",
                "The recipient was changed after the footer was signed.",
                {
                    let recipient = office.keys.extranet_seal.public().id();
                    changed(&good, inside(recipient.as_bytes(), &good))
                },
            ),
            ("backup-ok", "backup", "ok", "A backup of ten bytes.", backup.clone()),
            (
                "backup-payload-changed",
                "backup",
                "footer-mismatch payload",
                "One bit of the sealed archive is changed.",
                {
                    let head = u32::from_be_bytes(backup[8..12].try_into().unwrap());
                    changed(&backup, 12 + usize::try_from(head).unwrap() + 6)
                },
            ),
            (
                "backup-head-changed",
                "backup",
                "bad-signature head of a backup",
                "The last bit of the head's signature is changed.",
                {
                    let head = u32::from_be_bytes(backup[8..12].try_into().unwrap());
                    changed(&backup, 12 + usize::try_from(head).unwrap() - 1)
                },
            ),
            (
                "backup-trailing-byte",
                "backup",
                "trailing",
                "One zero byte follows the foot.",
                [&backup[..], &[0]].concat(),
            ),
            (
                "backup-cut",
                "backup",
                "cut-short foot",
                "The last byte of the foot is missing.",
                backup[..backup.len() - 1].to_vec(),
            ),
        ]
    }

    fn books(office: &Office<'_>) -> Vec<Made> {
        let node = &office.keys.extranet;
        let note = Checkpoint { node: name("extranet"), head: office.grown.head(7) };
        let later = Checkpoint { head: Head { log: 9, ..note.head }, ..note.clone() };
        let text = |note: &Checkpoint| note.sign(node).into_bytes();
        let swap = |from: &str, to: &str| {
            let good = note.sign(node);
            assert!(good.contains(from), "{from}");
            good.replacen(from, to, 1).into_bytes()
        };
        let record = office.record().to_bytes();
        vec![
            ("checkpoint-ok", "checkpoint", "ok", "Seven records of the node's first log.", text(&note)),
            ("checkpoint-of-a-later-log", "checkpoint", "ok", "Seven records of log 9.", text(&later)),
            ("checkpoint-witnessed", "checkpoint", "ok", "A line by another name follows the node's.", {
                [&text(&note)[..], "\u{2014} witness.example AAAA\n".as_bytes()].concat()
            }),
            (
                "checkpoint-size-changed",
                "checkpoint",
                "bad-signature checkpoint",
                "Eight records instead of seven.",
                swap("\n7\n", "\n8\n"),
            ),
            (
                "checkpoint-size-zero-led",
                "checkpoint",
                "malformed checkpoint",
                "The size is written 07.",
                swap("\n7\n", "\n07\n"),
            ),
            (
                "checkpoint-log-one-named",
                "checkpoint",
                "malformed checkpoint",
                "The first log is called by its number.",
                swap("extranet\n", "extranet/1\n"),
            ),
            (
                "checkpoint-without-dash",
                "checkpoint",
                "bad-signature checkpoint",
                "The signature line begins with a hyphen.",
                swap("\u{2014}", "-"),
            ),
            (
                "checkpoint-by-another-node",
                "checkpoint",
                "bad-signature checkpoint",
                "The internet's key signed the extranet's ledger.",
                { note.sign(&office.keys.internet).into_bytes() },
            ),
            ("record-ok", "ledger record", "ok", "Every field is there.", record.clone()),
            (
                "record-bare",
                "ledger record",
                "ok",
                "No optional field is there.",
                Record::new(Event::NodeStarted, AT).to_bytes(),
            ),
            (
                "record-event-unknown",
                "ledger record",
                "malformed ledger record",
                "An event with the code 47.",
                replaced(&record, &[2, 1, 38], &[2, 1, 47]),
            ),
            (
                "record-version-two",
                "ledger record",
                "malformed ledger record",
                "A record of version 2.",
                replaced(&record, &[2, 1, 1, 2, 6], &[2, 1, 2, 2, 6]),
            ),
            (
                "record-fields-swapped",
                "ledger record",
                "malformed ledger record",
                "Trip and bytes stand in the wrong order.",
                { replaced(&record, &[0x8e, 1, 17, 0x8f, 1, 0], &[0x8f, 1, 0, 0x8e, 1, 17]) },
            ),
            ("record-too-long", "ledger record", "too-large ledger record", "4,097 bytes.", vec![0x30; 4_097]),
        ]
    }
}
