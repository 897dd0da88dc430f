//! One object proven with public keys alone: what it is, what was checked, by whose keys, at what times. Says what holds
//! and never more: evidence holds without its content, and a retired key's signature without a witness is only that.

use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use protocol::bundle::{self, MAGIC};
use protocol::envelope::Envelope;
use protocol::evidence::{self, Evidence, Proven};
use protocol::parcel::{Custody, FILES_MAX, ParcelStatement, link_digest};
use protocol::receipt::{BATCH_RECEIPTS_MAX, GapReport, Receipt, ReceiptBatch};
use protocol::request::{ARGUMENTS_MAX, Request};
use protocol::suite::Digest;
use protocol::tree::Tree;
use protocol::trust::Role;
use protocol::waybill::{Approval, LineKind, WAYBILL_BYTES_MAX, Waybill};
use protocol::witness::HeadStatement;
use protocol::{BundleId, Crossing, Name, Signed, Statement, Suite, Timestamp, Trust};
use serde_json::{Value, json};

use crate::as_of::{self, Dated};
use crate::folder::open_file;
use crate::journeys::{Hop, Journey, Said};
use crate::lone;
use crate::papers::Papers;
use crate::words::{Language, prefix, say, shown, size};

/// Envelope, footer and 64 receipts of at most 1 MiB; real evidence has a few KiB.
const EVIDENCE_BYTES_MAX: u64 = 66 << 20;

/// A listing of as many files as a parcel may have: a digest of 64 digits and a path of 512 bytes on each line.
const LISTING_BYTES_MAX: u64 = FILES_MAX as u64 * (64 + 2 + 512 + 1);

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Bundle,
    Evidence,
    Waybill,
    Approval,
    Receipts,
    Receipt,
    GapReport,
    Head,
    Request,
    Rollover,
    TrustList,
    Volume,
    LogStart,
    Endorsement,
    FolderBeacon,
    Introduction,
    Unknown,
}

impl What {
    /// The word in tables and JSON.
    pub(crate) fn word(self) -> &'static str {
        match self {
            What::Bundle => "bundle",
            What::Evidence => "evidence",
            What::Waybill => "waybill",
            What::Approval => "approval",
            What::Receipts => "receipts",
            What::Receipt => "receipt",
            What::GapReport => "gap-report",
            What::Head => "head",
            What::Request => "request",
            What::Rollover => "rollover",
            What::TrustList => "trust-list",
            What::Volume => "volume",
            What::LogStart => "log-start",
            What::Endorsement => "endorsement",
            What::FolderBeacon => "folder-beacon",
            What::Introduction => "introduction",
            What::Unknown => "unknown",
        }
    }
}

/// What was proven of one object, or why not.
#[derive(Clone, Debug)]
pub(crate) struct Proof {
    /// What it is.
    pub(crate) what: What,
    /// What holds, a sentence each.
    pub(crate) holds: Vec<String>,
    /// What should be known beside it; no failure.
    pub(crate) notes: Vec<String>,
    /// Why it fails, if it does.
    pub(crate) failure: Option<String>,
    /// The parcel and its statement, for comparing across files.
    pub(crate) journeys: Vec<Journey>,
    /// Facts for scripts.
    pub(crate) facts: Value,
    /// For a file on a medium: what its waybill line must say.
    pub(crate) stamp: Option<Stamp>,
    /// Its size and tree digest, where a suite was given and it was read to its end.
    pub(crate) digest: Option<(u64, Digest)>,
}

/// What a waybill line must agree with, of a file that was proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) kind: LineKind,
    pub(crate) id: BundleId,
    pub(crate) epoch: u64,
    pub(crate) sequence: u64,
    pub(crate) crossing: Crossing,
    pub(crate) source: Name,
    pub(crate) target: Name,
}

/// Hands bytes on and takes their tree digest, so that a file on a slow disc is read once.
struct Witnessed<R> {
    inner: R,
    tree: Option<Tree>,
}

impl<R: Read> Read for Witnessed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        if let (Some(tree), Some(bytes)) = (&mut self.tree, buffer.get(..read)) {
            tree.update(bytes);
        }
        Ok(read)
    }
}

impl Proof {
    /// A proof that failed.
    pub(crate) fn failed(what: What, cause: String) -> Proof {
        Proof {
            what,
            holds: Vec::new(),
            notes: Vec::new(),
            failure: Some(cause),
            journeys: Vec::new(),
            facts: Value::Null,
            stamp: None,
            digest: None,
        }
    }

    pub(crate) fn good(what: What, facts: Value) -> Proof {
        Proof {
            what,
            holds: Vec::new(),
            notes: Vec::new(),
            failure: None,
            journeys: Vec::new(),
            facts,
            stamp: None,
            digest: None,
        }
    }

    /// 8.4: notes what is in doubt about the time of one signature.
    pub(crate) fn ask(
        &mut self,
        trust: &Trust,
        what: &str,
        (signer, at): (Digest, Timestamp),
        others: &[Dated],
        language: Language,
    ) {
        let note = as_of::doubt(trust, what, Dated { signer, at }, others, language);
        self.notes.extend(note.filter(|note| !self.notes.contains(note)));
    }
}

/// Proves the file at a path, by what it begins with and not by what it is called. With a suite its tree digest is
/// taken on the way, for the waybill that lists it.
pub(crate) fn of_file(
    path: &Path,
    trust: &Trust,
    suite: Option<Suite>,
    language: Language,
    bar: &indicatif::ProgressBar,
) -> Proof {
    let opened = open_file(path).map_err(|e| e.to_string());
    let (mut file, bytes) = match opened {
        Ok(opened) => opened,
        Err(cause) => return Proof::failed(What::Unknown, cause),
    };
    let mut head = Vec::with_capacity(8);
    let start = Read::by_ref(&mut file).take(8).read_to_end(&mut head).and_then(|_| file.seek(SeekFrom::Start(0)));
    if let Err(cause) = start {
        return Proof::failed(What::Unknown, say!(language, "read error: {cause}", "读错误：{cause}"));
    }
    let mut file = Witnessed { inner: bar.wrap_read(file), tree: suite.map(Tree::new) };
    let evidence = head == evidence::MAGIC;
    let limit = if evidence { EVIDENCE_BYTES_MAX } else { WAYBILL_BYTES_MAX as u64 };
    let mut proof = if head == MAGIC {
        of_bundle(&mut file, trust, language)
    } else if bytes > limit || !(evidence || is_der(&head)) {
        Proof::failed(What::Unknown, unknown(language))
    } else {
        let mut content = Vec::new();
        match Read::by_ref(&mut file).take(limit + 1).read_to_end(&mut content) {
            Err(cause) => Proof::failed(What::Unknown, say!(language, "read error: {cause}", "读错误：{cause}")),
            Ok(_) if evidence => of_evidence(&content, trust, language),
            Ok(_) => of_signed(content, path, trust, language),
        }
    };
    // Only a proof that holds has read to the end.
    if proof.failure.is_none() {
        proof.digest = file.tree.map(|tree| (tree.bytes(), tree.root()));
    }
    proof
}

/// A DER sequence of more than 127 bytes, as all of ours are; no text begins so.
fn is_der(head: &[u8]) -> bool {
    matches!(head, [0x30, 0x81..=0x84, ..])
}

fn unknown(language: Language) -> String {
    language.pick("not an object of ours", "不是本系统的对象").to_owned()
}

/// Does the file begin as one of ours? Others are counted by `verify`, not failed, unless named on the command line.
pub(crate) fn is_candidate(path: &Path) -> bool {
    let Ok((file, _)) = open_file(path) else { return true };
    let mut head = Vec::with_capacity(8);
    // What cannot be read is a candidate: its failure must be heard.
    file.take(8).read_to_end(&mut head).map_or(true, |_| head == MAGIC || head == evidence::MAGIC || is_der(&head))
}

fn of_bundle(file: &mut impl Read, trust: &Trust, language: Language) -> Proof {
    let verified = match bundle::verify(&mut BufReader::new(file), trust) {
        Ok(verified) => verified,
        Err(error) => return Proof::failed(What::Bundle, error.to_string()),
    };
    let envelope = &verified.envelope;
    let mut proof = Proof::good(What::Bundle, envelope_facts(envelope, &verified.custody));
    proof.stamp = Some(Stamp {
        kind: LineKind::Bundle,
        id: envelope.bundle,
        epoch: envelope.epoch,
        sequence: envelope.sequence,
        crossing: envelope.crossing,
        source: envelope.source.clone(),
        target: envelope.target.clone(),
    });
    let amount = size(verified.bytes);
    proof.holds.push(say!(
        language,
        "every byte read: {amount}, equal to the signed tree digest",
        "全部字节已读：{amount}，与签名的树摘要一致"
    ));
    let digest = envelope.suite.digest(&verified.envelope_bytes);
    hold_way(&mut proof, trust, &Way { envelope, digest, custody: &verified.custody, receipts: &[] }, language);
    proof
}

fn of_evidence(bytes: &[u8], trust: &Trust, language: Language) -> Proof {
    let proven = match Evidence::parse(bytes).and_then(|evidence| evidence.prove(trust)) {
        Ok(proven) => proven,
        Err(error) => return Proof::failed(What::Evidence, error.to_string()),
    };
    let mut facts = envelope_facts(&proven.envelope, &proven.custody);
    if let Some(map) = facts.as_object_mut() {
        map.insert("content".to_owned(), json!("not present"));
        map.insert("receipts".to_owned(), proven.receipts.iter().map(receipt_facts).collect());
    }
    let mut proof = Proof::good(What::Evidence, facts);
    proof.holds.push(
        language.pick("head and foot belong together; content not present", "信封与封尾相符；内容不在其中").to_owned(),
    );
    let Proven { envelope, digest, custody, receipts, signers } = proven;
    let receipts: Vec<(Receipt, Digest)> = receipts.into_iter().zip(signers).collect();
    let way = Way { envelope: &envelope, digest, custody: &custody, receipts: &receipts };
    hold_way(&mut proof, trust, &way, language);
    for (receipt, signer) in &receipts {
        proof.holds.push(receipt_sentence(receipt, language));
        // It came later than all else here: nothing in this file is its witness.
        proof.ask(trust, &receipt_words(receipt, language), (*signer, receipt.at), &[], language);
    }
    for journey in &mut proof.journeys {
        journey.said = receipts.iter().map(|(receipt, signer)| said(receipt, signer, trust)).collect();
    }
    proof
}

/// Has it the form of a signed `T`?
pub(crate) fn is<T: Statement>(bytes: &[u8]) -> bool {
    Signed::parse::<T>(bytes).is_ok_and(|signed| signed.read_unverified::<T>().is_ok())
}

/// A signed object of ours stands alone in a file; which one, its form tells.
fn of_signed(bytes: Vec<u8>, path: &Path, trust: &Trust, language: Language) -> Proof {
    if is::<Waybill>(&bytes) {
        return of_waybill(bytes, trust, language);
    }
    if is::<ReceiptBatch>(&bytes) {
        return of_batch(&bytes, trust, language);
    }
    if is::<Receipt>(&bytes) {
        return of_receipt(&bytes, trust, language);
    }
    if is::<Approval>(&bytes) {
        return of_approval(&bytes, trust, language);
    }
    if is::<GapReport>(&bytes) {
        return of_gap_report(&bytes, trust, language);
    }
    if is::<HeadStatement>(&bytes) {
        return of_head(&bytes, trust, language);
    }
    if is::<Request>(&bytes) {
        return of_request(&bytes, path, trust, language);
    }
    lone::of(&bytes, trust, language).unwrap_or_else(|| Proof::failed(What::Unknown, unknown(language)))
}

fn of_waybill(bytes: Vec<u8>, trust: &Trust, language: Language) -> Proof {
    let papers = match Papers::parse(bytes) {
        Ok(papers) => papers,
        Err(cause) => return Proof::failed(What::Waybill, cause),
    };
    if let Err(error) = papers.prove(trust) {
        return Proof::failed(What::Waybill, error.to_string());
    }
    let bill = &papers.waybill;
    let (stated, stating) = match prove_stated(bill.stated.as_bytes(), (&bill.source, &bill.target), trust) {
        Ok(stated) => stated,
        Err(cause) => return Proof::failed(What::Waybill, cause),
    };
    let mut proof = Proof::good(
        What::Waybill,
        json!({"trip": bill.trip, "crossing": bill.crossing.name(), "source": bill.source, "target": bill.target, "medium": bill.medium,
            "carrier": bill.carrier, "exporter": bill.exporter, "at": bill.at.to_string(), "files": bill.lines.len(),
            "bytes": papers.total(), "waybill": papers.digest.to_string(), "approvals_needed": bill.approvals}),
    );
    let (trip, source, at, files, amount) = (bill.trip, &bill.source, bill.at, bill.lines.len(), size(papers.total()));
    let key = who(trust, &papers.signed.signer);
    proof.holds.push(match files {
        0 => say!(
            language,
            "trip {trip} of {source}: an empty waybill, nothing more comes under this number; signed by {key} at {at}",
            "{source} 的批次 {trip}：空运单，该编号下不再运送任何内容；由 {key} 于 {at} 签名"
        ),
        _ => say!(
            language,
            "trip {trip} of {source}: {files} files, {amount}, signed by {key} at {at}",
            "{source} 的批次 {trip}：{files} 个文件，{amount}，由 {key} 于 {at} 签名"
        ),
    });
    proof.holds.push(stated_sentence(&stated, language));
    let what = language.pick("the waybill", "运单");
    proof.ask(trust, what, (papers.signed.signer, bill.at), &[], language);
    proof.ask(trust, head_words(language), (stating, stated.at), &[], language);
    proof
}

fn of_batch(bytes: &[u8], trust: &Trust, language: Language) -> Proof {
    match prove_batch(bytes, trust) {
        Err(cause) => Proof::failed(What::Receipts, cause),
        Ok(ProvenBatch { batch, signed, receipts, gap_reports, stated }) => {
            let mut proof = Proof::good(
                What::Receipts,
                json!({"batch": batch.batch.to_string(), "crossing": batch.crossing.name(), "source": batch.source, "target": batch.target,
                    "epoch": batch.epoch, "sequence": batch.sequence, "at": batch.at.to_string(),
                    "receipts": receipts.iter().map(|(receipt, _)| receipt_facts(receipt)).collect::<Vec<_>>(), "gap_reports": gap_reports.len()}),
            );
            proof.stamp = Some(Stamp {
                kind: LineKind::Receipts,
                id: batch.batch,
                epoch: batch.epoch,
                sequence: batch.sequence,
                crossing: batch.crossing,
                source: batch.source.clone(),
                target: batch.target.clone(),
            });
            let (source, at, key, reports) = (&batch.source, batch.at, who(trust, &signed.signer), gap_reports.len());
            let count = receipts.len();
            proof.holds.push(say!(
                language,
                "batch of {source}: {count} receipts and {reports} gap reports, each signature checked; the batch signed by {key} at {at}",
                "{source} 的回执批：{count} 份回执、{reports} 份缺号报告，签名逐一核对；整批由 {key} 于 {at} 签名"
            ));
            proof.holds.push(stated_sentence(&stated.0, language));
            let what = language.pick("the batch", "回执批");
            proof.ask(trust, what, (signed.signer, batch.at), &[], language);
            proof.ask(trust, head_words(language), (stated.1, stated.0.at), &[], language);
            // The batch is the witness of what it carries for others.
            let batch = [Dated { signer: signed.signer, at: batch.at }];
            for (receipt, signer) in &receipts {
                proof.ask(trust, &receipt_words(receipt, language), (*signer, receipt.at), &batch, language);
            }
            for (report, signer) in &gap_reports {
                proof.ask(trust, gap_words(language), (*signer, report.at), &batch, language);
            }
            proof.journeys = receipts.iter().map(|(receipt, signer)| told_by(receipt, signer, trust)).collect();
            proof
        }
    }
}

/// 12.1.5: the head that a paper carries is stated by its source to its target, and proves itself. With the key that did.
fn prove_stated(
    bytes: &[u8],
    (source, target): (&Name, &Name),
    trust: &Trust,
) -> Result<(HeadStatement, Digest), String> {
    let stated = HeadStatement::verify(bytes, source, trust).map_err(|e| e.to_string())?;
    let stated = stated.map_err(|refused| format!("the ledger head of {source}: {}", refused.1))?;
    if stated.target != *target {
        return Err(format!("the ledger head in it was stated to {}, not to {target}", stated.target));
    }
    let signer = Signed::parse::<HeadStatement>(bytes).map_err(|e| e.to_string())?.signer;
    Ok((stated, signer))
}

fn stated_sentence(stated: &HeadStatement, language: Language) -> String {
    let (node, size, links) = (&stated.node, stated.head.size, stated.links.len());
    say!(
        language,
        "the ledger of {node} has {size} records and only grew since {links} earlier heads",
        "{node} 的审计账有 {size} 条记录，自此前 {links} 个链首以来只增不改"
    )
}

/// A batch, with the keys that signed what is in it.
struct ProvenBatch {
    batch: ReceiptBatch,
    signed: Signed,
    receipts: Vec<(Receipt, Digest)>,
    gap_reports: Vec<(GapReport, Digest)>,
    stated: (HeadStatement, Digest),
}

/// 9.1.3: the batch, the head it states, and each receipt and gap report in it.
fn prove_batch(bytes: &[u8], trust: &Trust) -> Result<ProvenBatch, String> {
    let (batch, signed) = by_node(bytes, trust, |batch: &ReceiptBatch| &batch.source)?;
    let stated = prove_stated(batch.stated.as_bytes(), (&batch.source, &batch.target), trust)?;
    if batch.receipts.len() > BATCH_RECEIPTS_MAX {
        return Err(format!("{} receipts are over the limit of {BATCH_RECEIPTS_MAX}", batch.receipts.len()));
    }
    let receipts = batch.receipts.iter().map(|bytes| prove_receipt(bytes.as_bytes(), trust)).collect::<Result<_, _>>();
    let reports = batch.gap_reports.iter().map(|bytes| prove_gap_report(bytes.as_bytes(), trust));
    let (receipts, gap_reports) = (receipts?, reports.collect::<Result<_, _>>()?);
    Ok(ProvenBatch { batch, signed, receipts, gap_reports, stated })
}

/// 9.1.1
fn prove_receipt(bytes: &[u8], trust: &Trust) -> Result<(Receipt, Digest), String> {
    by_node(bytes, trust, |receipt: &Receipt| &receipt.node).map(|(receipt, signed)| (receipt, signed.signer))
}

/// 9.1.2
fn prove_gap_report(bytes: &[u8], trust: &Trust) -> Result<(GapReport, Digest), String> {
    by_node(bytes, trust, |report: &GapReport| &report.node).map(|(report, signed)| (report, signed.signer))
}

/// 4.1: an object that the node named in it has signed.
pub(crate) fn by_node<T: Statement>(
    bytes: &[u8],
    trust: &Trust,
    named: fn(&T) -> &Name,
) -> Result<(T, Signed), String> {
    let signed = Signed::parse::<T>(bytes).map_err(|e| e.to_string())?;
    let claimed: T = signed.read_unverified().map_err(|e| e.to_string())?;
    let object: T = trust.verify_from_node(&signed, named(&claimed)).map_err(|e| e.to_string())?;
    Ok((object, signed))
}

fn of_receipt(bytes: &[u8], trust: &Trust, language: Language) -> Proof {
    match prove_receipt(bytes, trust) {
        Err(cause) => Proof::failed(What::Receipt, cause),
        Ok((receipt, signer)) => {
            let mut proof = Proof::good(What::Receipt, receipt_facts(&receipt));
            let key = who(trust, &signer);
            proof.holds.push(format!("{} ({key})", receipt_sentence(&receipt, language)));
            proof.ask(trust, &receipt_words(&receipt, language), (signer, receipt.at), &[], language);
            proof.journeys.push(told_by(&receipt, &signer, trust));
            proof
        }
    }
}

fn of_approval(bytes: &[u8], trust: &Trust, language: Language) -> Proof {
    let read = Signed::parse::<Approval>(bytes).map_err(|e| e.to_string()).and_then(|signed| {
        let (approval, card) = trust.verify::<Approval>(&signed).map_err(|e| e.to_string())?;
        let fits = card.holder == approval.person && card.role == Role::Approver;
        if fits { Ok((approval, signed.signer)) } else { Err(format!("signed by {}, role {}", card.holder, card.role)) }
    });
    match read {
        Err(cause) => Proof::failed(What::Approval, cause),
        Ok((approval, signer)) => {
            let mut proof = Proof::good(
                What::Approval,
                json!({"trip": approval.trip, "person": approval.person, "at": approval.at.to_string(), "waybill": approval.waybill.to_string()}),
            );
            let (trip, at, key) = (approval.trip, approval.at, who(trust, &signer));
            proof.holds.push(say!(
                language,
                "trip {trip} countersigned by {key} at {at}",
                "批次 {trip} 由 {key} 于 {at} 会签"
            ));
            proof.ask(trust, approval_words(language), (signer, at), &[], language);
            proof
        }
    }
}

/// 11.1: what a person asked of a node, as evidence keeps it. Beside a listing of `ferry intake` (its name and `.sig`) it holds for
/// exactly that listing.
fn of_request(bytes: &[u8], path: &Path, trust: &Trust, language: Language) -> Proof {
    let read = Signed::parse::<Request>(bytes).map_err(|e| e.to_string()).and_then(|signed| {
        let (request, card) = trust.verify::<Request>(&signed).map_err(|e| e.to_string())?;
        if card.holder != request.person || card.role == Role::Node {
            return Err(format!("signed by {}, role {}, in the name of {}", card.holder, card.role, request.person));
        }
        if request.arguments.len() > ARGUMENTS_MAX {
            return Err(format!("{} arguments are over the limit of {ARGUMENTS_MAX}", request.arguments.len()));
        }
        Ok((request, signed.signer))
    });
    let (request, signer) = match read {
        Ok(read) => read,
        Err(cause) => return Proof::failed(What::Request, cause),
    };
    let by_operator = trust.card(&signer).is_some_and(|card| card.role == Role::Operator);
    let said: Vec<String> =
        request.arguments.iter().map(|label| format!("{} {}", label.name, shown(label.value.as_ref()))).collect();
    let mut proof = Proof::good(
        What::Request,
        json!({"action": request.action, "node": request.node, "person": request.person, "at": request.at.to_string(), "said": said}),
    );
    let (action, node, at, key, said) =
        (&request.action, &request.node, request.at, who(trust, &signer), said.join(", "));
    proof.holds.push(say!(
        language,
        "{action}, asked of {node} by {key} at {at}: {said}",
        "{key} 于 {at} 向 {node} 提出 {action}：{said}"
    ));
    proof.ask(trust, language.pick("the request", "请求"), (signer, at), &[], language);
    if path.extension().is_some_and(|end| end == "sig") {
        match hold_listing(&request, by_operator, &path.with_extension(""), language) {
            Ok(holds) => proof.holds.push(holds),
            Err(cause) => proof.failure = Some(cause),
        }
    }
    proof
}

/// 11.2: the listing that lies beside its signature.
fn hold_listing(request: &Request, by_operator: bool, listing: &Path, language: Language) -> Result<String, String> {
    let file = shown(listing.as_os_str());
    if request.action.as_str() != "intake" || !by_operator {
        return Err(say!(
            language,
            "this is no operator's signature of a listing ({file})",
            "这不是操作员对清单（{file}）的签名"
        ));
    }
    let (mut input, _) = open_file(listing).map_err(|e| e.to_string())?;
    let mut text = Vec::new();
    let read =
        Read::by_ref(&mut input).take(LISTING_BYTES_MAX + 1).read_to_end(&mut text).map_err(|e| e.to_string())?;
    let signed = request.argument("listing").and_then(Digest::from_hex);
    if read as u64 > LISTING_BYTES_MAX || signed != Some(Suite::Std.digest(&text)) {
        return Err(say!(language, "{file} is not the listing that was signed", "{file} 不是所签署的清单"));
    }
    Ok(say!(language, "{file} is the listing that was signed", "{file} 即所签署的清单"))
}

fn of_gap_report(bytes: &[u8], trust: &Trust, language: Language) -> Proof {
    match prove_gap_report(bytes, trust) {
        Err(cause) => Proof::failed(What::GapReport, cause),
        Ok((report, signer)) => {
            let mut proof = Proof::good(
                What::GapReport,
                json!({"node": report.node, "crossing": report.crossing.name(), "at": report.at.to_string(), "epochs": report.epochs.len()}),
            );
            let (node, crossing, at) = (&report.node, report.crossing, report.at);
            proof.holds.push(say!(
                language,
                "{node} says at {at} what it misses on {crossing}",
                "{node} 于 {at} 报告 {crossing} 的缺号"
            ));
            proof.ask(trust, gap_words(language), (signer, at), &[], language);
            proof
        }
    }
}

fn of_head(bytes: &[u8], trust: &Trust, language: Language) -> Proof {
    let read = Signed::parse::<HeadStatement>(bytes).map_err(|e| e.to_string()).and_then(|signed| {
        let claimed: HeadStatement = signed.read_unverified().map_err(|e| e.to_string())?;
        let read = HeadStatement::verify(bytes, &claimed.node, trust).map_err(|e| e.to_string())?;
        read.map(|statement| (statement, signed.signer)).map_err(|refused| refused.1.to_string())
    });
    match read {
        Err(cause) => Proof::failed(What::Head, cause),
        Ok((statement, signer)) => {
            let head = statement.head;
            let mut proof = Proof::good(
                What::Head,
                json!({"node": statement.node, "target": statement.target, "log": head.log, "records": head.size, "root": head.root.to_string(),
                    "turn": statement.turn, "at": statement.at.to_string(), "links": statement.links.iter().map(|link| link.from.size).collect::<Vec<_>>()}),
            );
            let (node, target, size, at, links) =
                (&statement.node, &statement.target, head.size, statement.at, statement.links.len());
            let key = who(trust, &signer);
            proof.holds.push(say!(
                language,
                "{node} to {target} at {at}: its ledger has {size} records and only grew since {links} earlier heads, signed by {key}",
                "{node} 于 {at} 告知 {target}：其审计账有 {size} 条记录，自此前 {links} 个链首以来只增不改，由 {key} 签名"
            ));
            proof.ask(trust, head_words(language), (signer, at), &[], language);
            proof
        }
    }
}

/// A bundle's papers, proven: its envelope, the journey up to it, and what was kept beside it.
struct Way<'a> {
    envelope: &'a Envelope,
    digest: Digest,
    custody: &'a Custody,
    receipts: &'a [(Receipt, Digest)],
}

impl Way<'_> {
    /// 8.4: receipts for this very bundle. One for another bundle of the parcel says nothing of what was sealed here.
    fn receipted(&self) -> impl Iterator<Item = Dated> {
        let envelope = self.envelope;
        let numbers = (envelope.bundle, envelope.crossing, envelope.epoch, envelope.sequence);
        let of_it =
            self.receipts.iter().filter(move |(it, _)| (it.bundle, it.crossing, it.epoch, it.sequence) == numbers);
        of_it.map(|(receipt, signer)| Dated { signer: *signer, at: receipt.at })
    }
}

/// The foot is signed by the node that sealed; then the origin's statement and every hop.
fn hold_way(proof: &mut Proof, trust: &Trust, way: &Way<'_>, language: Language) {
    hold_seal(proof, trust, way, language);
    hold_custody(proof, trust, way, language);
}

fn hold_seal(proof: &mut Proof, trust: &Trust, way: &Way<'_>, language: Language) {
    let envelope = way.envelope;
    let (bundle, source, target, crossing, sealed) =
        (envelope.bundle, &envelope.source, &envelope.target, envelope.crossing, envelope.sealed);
    let (epoch, sequence, key) = (envelope.epoch, envelope.sequence, who(trust, &envelope.signer));
    proof.holds.push(say!(
        language,
        "bundle {bundle}, {source} -> {target} over {crossing}, number {epoch}/{sequence}, sealed by {key} at {sealed}",
        "密封包 {bundle}，{source} -> {target}，经 {crossing}，序号 {epoch}/{sequence}，由 {key} 于 {sealed} 封装"
    ));
    let others: Vec<Dated> = way.receipted().collect();
    proof.ask(trust, language.pick("the foot", "封尾"), (envelope.signer, sealed), &others, language);
}

fn hold_custody(proof: &mut Proof, trust: &Trust, way: &Way<'_>, language: Language) {
    let (envelope, custody) = (way.envelope, way.custody);
    let statement = &custody.statement;
    let origin_key = envelope.signed_statement().map(|signed| signed.signer).ok();
    let key = origin_key.map_or_else(|| statement.origin.to_string(), |id| who(trust, &id));
    let (parcel, route, parcel_type, accepted) =
        (statement.parcel, &statement.route, &statement.parcel_type, statement.accepted);
    proof.holds.push(say!(
        language,
        "parcel {parcel} (route {route}, type {parcel_type}) stated by {key} at {accepted}",
        "投递件 {parcel}（路由 {route}，类型 {parcel_type}）由 {key} 于 {accepted} 声明"
    ));
    // What was proven can be read once more.
    let signed = envelope.signed_custody().unwrap_or_default();
    let entries: Vec<Dated> =
        custody.entries.iter().zip(&signed).map(|(entry, by)| Dated { signer: by.signer, at: entry.at }).collect();
    if let Some(id) = origin_key {
        // Entries and receipts name the statement's digest.
        let receipts = way.receipts.iter().map(|(receipt, signer)| Dated { signer: *signer, at: receipt.at });
        let others: Vec<Dated> = entries.iter().copied().chain(receipts).collect();
        proof.ask(trust, language.pick("the statement", "投递声明"), (id, accepted), &others, language);
    }
    for (at, (entry, Signed { signer, .. })) in custody.entries.iter().zip(&signed).enumerate() {
        let (hop, crossing, key, when, rules) = (at + 1, entry.crossing, who(trust, signer), entry.at, &entry.rules);
        let rules: String = rules.chars().filter(|c| !c.is_control()).take(40).collect();
        let verdict = match entry.verdict {
            protocol::Verdict::Released => "released",
            protocol::Verdict::Stripped => "stripped",
            protocol::Verdict::Kept => "kept",
            protocol::Verdict::Held => "held",
        };
        proof.holds.push(say!(
            language,
            "hop {hop}: {crossing}, {verdict} under rules {rules}, signed by {key} at {when}",
            "第 {hop} 段：{crossing}，按规则 {rules} 判定 {verdict}，由 {key} 于 {when} 签名"
        ));
        // A later entry names the digest of this one; a receipt for the bundle was given over all of them.
        let others: Vec<Dated> = entries.iter().skip(hop).copied().chain(way.receipted()).collect();
        proof.ask(trust, &say!(language, "hop {hop}", "第 {hop} 段"), (*signer, when), &others, language);
    }
    let links = signed.iter().map(|entry| link_digest(Suite::Std, entry)).collect();
    let hop = Hop {
        bundle: envelope.bundle,
        envelope: way.digest,
        target: envelope.target.clone(),
        end: statement.target.clone(),
        way: custody.entries.iter().map(|entry| (entry.node.clone(), entry.crossing)).collect(),
    };
    proof.journeys.push(Journey {
        parcel: statement.parcel,
        statement: custody.statement_digest,
        links,
        hop: Some(Box::new(hop)),
        said: Vec::new(),
    });
}

/// `extranet [1f0c 77ab 3de0]`.
pub(crate) fn who(trust: &Trust, signer: &Digest) -> String {
    let holder = trust.card(signer).map_or_else(|| "?".to_owned(), |card| card.holder.to_string());
    format!("{holder} [{}]", prefix(signer))
}

fn envelope_facts(envelope: &Envelope, custody: &Custody) -> Value {
    let statement: &ParcelStatement = &custody.statement;
    json!({
        "bundle": envelope.bundle.to_string(), "crossing": envelope.crossing.name(), "epoch": envelope.epoch, "sequence": envelope.sequence,
        "source": envelope.source, "target": envelope.target, "sealed": envelope.sealed.to_string(), "suite": envelope.suite.name(),
        "signer": envelope.signer.to_string(), "parcel": statement.parcel.to_string(), "origin": statement.origin,
        "route": statement.route, "type": statement.parcel_type, "statement": custody.statement_digest.to_string(),
        "hops": custody.entries.iter().map(|e| json!({"node": e.node, "crossing": e.crossing.name(), "at": e.at.to_string()})).collect::<Vec<_>>(),
    })
}

fn receipt_facts(receipt: &Receipt) -> Value {
    json!({
        "parcel": receipt.parcel.to_string(), "node": receipt.node, "outcome": receipt.outcome.name(),
        "reason": receipt.reason.map(|r| r.name()), "bundle": receipt.bundle.to_string(), "at": receipt.at.to_string(),
    })
}

/// What a receipt that stands by itself says of its parcel's way.
fn told_by(receipt: &Receipt, signer: &Digest, trust: &Trust) -> Journey {
    Journey {
        parcel: receipt.parcel,
        statement: receipt.statement,
        links: Box::default(),
        hop: None,
        said: vec![said(receipt, signer, trust)],
    }
}

fn said(receipt: &Receipt, signer: &Digest, trust: &Trust) -> Said {
    let dated = as_of::in_its_days(trust, Dated { signer: *signer, at: receipt.at });
    Said { node: receipt.node.clone(), bundle: receipt.bundle, outcome: receipt.outcome, at: receipt.at, dated }
}

fn receipt_words(receipt: &Receipt, language: Language) -> String {
    let (node, outcome) = (&receipt.node, receipt.outcome.name());
    say!(language, "the receipt of {node} ({outcome})", "{node} 的回执（{outcome}）")
}

fn head_words(language: Language) -> &'static str {
    language.pick("the ledger head", "审计账链首")
}

fn gap_words(language: Language) -> &'static str {
    language.pick("the gap report", "缺号报告")
}

pub(crate) fn approval_words(language: Language) -> &'static str {
    language.pick("the countersignature", "会签")
}

fn receipt_sentence(receipt: &Receipt, language: Language) -> String {
    let (node, outcome, parcel, at) = (&receipt.node, receipt.outcome.name(), receipt.parcel, receipt.at);
    let reason = receipt.reason.map(|r| format!(" ({r})")).unwrap_or_default();
    say!(
        language,
        "receipt: {node} says {outcome}{reason} of parcel {parcel} at {at}",
        "回执：{node} 于 {at} 称投递件 {parcel} {outcome}{reason}"
    )
}
