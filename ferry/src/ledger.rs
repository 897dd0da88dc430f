//! A node's ledger read by an auditor: every record from its segments, the Merkle root computed anew from them, and the
//! signed checkpoint it must equal. Never writes, and needs no running node.
//!
//! 1. segments follow each other without a hole;
//! 2. each record's frame is whole, its bytes are a leaf;
//! 3. a local part fits the salted digest in its record;
//! 4. the root over the first `size` leaves is the checkpoint's;
//! 5. with a trust folder, a signing key of the node signed the checkpoint;
//! 6. any older checkpoint given with `--checkpoint` is on the way;
//! 7. after a restore: every log before this one holds by itself, and the first record of each names the head of the one
//!    before, under an operator's signature.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use protocol::keys::VerifyingKey;
use protocol::ledger::{Checkpoint, Event, FIRST_LOG, NOTE_BYTES_MAX, leaf};
use protocol::request::Request;
use protocol::suite::Digest;
use protocol::tree::node;
use protocol::trust::{Role, Use};
use protocol::{ParcelId, Signed, Statement as _, Suite, Trust};
use serde_json::{Map, Value, json};
use spool::segment::{self, Found, Frames, Stored};

use crate::folder::{self, FolderError};
use crate::trustdir::{self, TrustDirError};
use crate::words::{Voice, groups, prefix, say};

/// The checkpoint beside the segments.
const CHECKPOINT: &str = "checkpoint";
/// The logs before this one, and beside each the request by which the next began.
const FORMER: &str = "former";
const SUCCESSION: &str = "succession";
/// A restore every month for twenty years.
const FORMER_MAX: usize = 256;
/// The leaves of records, 32 bytes each: the only trace of a record that the disk lost.
const LEAVES: &str = "level-0";
const DIGEST_BYTES: u64 = 32;
/// A segment closes at 16 MiB, some 50,000 records; a hole larger than the largest segment is a missing file.
const HOLE_RECORDS_MAX: u64 = 1 << 22;
/// Older checkpoints to hold the ledger against: what neighbours kept over the years, a few at a time.
const CHECKPOINTS_MAX: usize = 256;

/// What is wrong with a ledger, or with reading it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LedgerError {
    /// A folder or file.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The trust folder.
    #[error(transparent)]
    Trust(#[from] TrustDirError),
    /// The disk.
    #[error("read error at {}: {cause}", path.display())]
    Read { path: PathBuf, cause: io::Error },
    /// No ledger there.
    #[error("{} holds no ledger segments", path.display())]
    NoLedger { path: PathBuf },
    /// It is there and does not hold.
    #[error("{}: {cause}", path.display())]
    Broken { path: PathBuf, cause: String },
}

/// `ferry ledger …`.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Ledger {
    /// Recompute the Merkle root from the records and hold it against the signed checkpoint
    Verify(LedgerVerify),
    /// Print records, a line each
    Show(LedgerShow),
}

/// `ferry ledger verify`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct LedgerVerify {
    /// The ledger folder, or the spool that holds it
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Key cards; without them the checkpoint's signature is not checked
    #[arg(long, value_name = "DIR")]
    pub(crate) trust: Option<PathBuf>,
    /// An older checkpoint of this ledger, kept elsewhere; may be given several times
    #[arg(long, value_name = "FILE")]
    pub(crate) checkpoint: Vec<PathBuf>,
}

/// `ferry ledger show`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct LedgerShow {
    /// The ledger folder, or the spool that holds it
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Key cards; then the ledger is verified first, and nothing of a broken one is shown
    #[arg(long, value_name = "DIR")]
    pub(crate) trust: Option<PathBuf>,
    /// With names and labels, which belong to the zone
    #[arg(long)]
    pub(crate) local: bool,
    /// Only records of this parcel
    #[arg(long, value_name = "ID", value_parser = parcel_id)]
    pub(crate) parcel: Option<ParcelId>,
}

fn parcel_id(text: &str) -> Result<ParcelId, String> {
    ParcelId::from_hex(text).ok_or_else(|| "a parcel id is 32 lower-case hex digits".to_owned())
}

/// A checkpoint that the ledger must pass through.
#[derive(Clone)]
struct Mark {
    path: PathBuf,
    checkpoint: Checkpoint,
    signer: Option<Digest>,
}

/// The peaks of an RFC 9162 tree under way: one digest a level.
struct Peaks {
    suite: Suite,
    peaks: Vec<(u64, Digest)>,
}

impl Peaks {
    fn new(suite: Suite) -> Peaks {
        Peaks { suite, peaks: Vec::new() }
    }
    fn push(&mut self, leaf: Digest) {
        let mut merged = (1_u64, leaf);
        while let Some((leaves, left)) = self.peaks.pop() {
            if leaves != merged.0 {
                self.peaks.push((leaves, left));
                break;
            }
            merged = (leaves.saturating_mul(2), node(self.suite, &left, &merged.1));
        }
        self.peaks.push(merged);
    }
    fn root(&self) -> Digest {
        let mut right_first = self.peaks.iter().rev().map(|(_, digest)| *digest);
        match right_first.next() {
            None => self.suite.digest(&[]),
            Some(last) => right_first.fold(last, |right, left| node(self.suite, &left, &right)),
        }
    }
}

impl Ledger {
    /// Verifies or shows.
    pub(crate) fn run(&self, voice: Voice) -> Result<(), LedgerError> {
        match self {
            Ledger::Verify(verify) => verify.run(voice),
            Ledger::Show(show) => show.run(voice),
        }
    }
}

/// A log that holds.
struct Log {
    number: u64,
    dir: PathBuf,
    checkpoint: Checkpoint,
    records: u64,
}

impl LedgerVerify {
    fn run(&self, voice: Voice) -> Result<(), LedgerError> {
        let language = voice.language;
        let dir = ledger_dir(&self.dir);
        let trust = self.trust.as_deref().map(trustdir::read).transpose()?;
        let mut older = Vec::new();
        for path in self.checkpoint.iter().take(CHECKPOINTS_MAX) {
            older.push(read_mark(path, trust.as_ref())?);
        }
        let mut before: Option<Log> = None;
        for place in former(&dir)?.into_iter().chain([dir]) {
            let log = verify_log(&place, &older, trust.as_ref(), voice)?;
            older.retain(|mark| mark.checkpoint.log != log.number);
            follows(before.as_ref(), &log, trust.as_ref(), voice)?;
            before = Some(log);
        }
        match older.first() {
            Some(mark) => {
                let number = mark.checkpoint.log;
                let cause =
                    say!(language, "it is of log {number}, which is not here", "它属于账段 {number}，此处没有该账段");
                Err(LedgerError::Broken { path: mark.path.clone(), cause })
            }
            None => Ok(()),
        }
    }
}

/// The logs before this one, oldest first.
fn former(dir: &Path) -> Result<Vec<PathBuf>, LedgerError> {
    let folder = dir.join(FORMER);
    let read = |cause| LedgerError::Read { path: folder.clone(), cause };
    let entries = match std::fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(read)?,
    };
    let mut logs = Vec::new();
    for entry in entries.take(FORMER_MAX) {
        let path = entry.map_err(read)?.path();
        let number = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<u64>().ok());
        logs.extend(number.map(|number| (number, path)));
    }
    logs.sort();
    Ok(logs.into_iter().map(|(_, path)| path).collect())
}

/// Does a log begin where the one before it ended, and does an operator answer for that?
fn follows(before: Option<&Log>, log: &Log, trust: Option<&Trust>, voice: Voice) -> Result<(), LedgerError> {
    let language = voice.language;
    let broken = |cause: String| LedgerError::Broken { path: log.dir.clone(), cause };
    let Some(before) = before else {
        if log.number == FIRST_LOG {
            return Ok(());
        }
        let number = log.number;
        return Err(broken(say!(
            language,
            "it is log {number}, and no log before it is here",
            "这是账段 {number}，此处没有它之前的账段"
        )));
    };
    let head = before.checkpoint.head;
    if before.records != head.size {
        let (found, stated) = (before.records, head.size);
        return Err(LedgerError::Broken {
            path: before.dir.clone(),
            cause: say!(
                language,
                "it ended at {stated} records and {found} are here",
                "该账段止于 {stated} 条记录，此处有 {found} 条"
            ),
        });
    }
    let mut first = Vec::new();
    walk(&log.dir, &mut |index, stored| {
        if index < 2 {
            first.extend(stored.map(|stored| stored.record));
        }
        Ok(())
    })?;
    let [begun, answered, ..] = first.as_slice() else {
        return Err(broken(language.pick("its first records are missing", "缺少最初的记录").to_owned()));
    };
    let names = begun.event == Event::LogBegun
        && begun.through == Some(before.number)
        && begun.sequence == Some(head.size)
        && begun.digest == Some(head.root);
    if !names {
        let number = before.number;
        return Err(broken(say!(
            language,
            "its first record does not name the head of log {number}",
            "首条记录未指明账段 {number} 的链首"
        )));
    }
    let paper = before.dir.join(SUCCESSION);
    let unsigned = |cause: String| LedgerError::Broken { path: paper.clone(), cause };
    let bytes = folder::read_file(&paper, Request::BYTES_MAX)?;
    let signed = Signed::parse::<Request>(&bytes).map_err(|e| unsigned(e.to_string()))?;
    let request = match trust {
        None => signed.read_unverified::<Request>().map_err(|e| unsigned(e.to_string()))?,
        Some(trust) => {
            let (request, card) = trust.verify::<Request>(&signed).map_err(|e| unsigned(e.to_string()))?;
            if card.role != Role::Operator || card.holder != request.person {
                return Err(unsigned(format!("signed by {}, a {}", card.holder, card.role)));
            }
            request
        }
    };
    let says = |what: &str, value: String| request.argument(what) == Some(value.as_str());
    let fits = answered.event == Event::RequestAnswered
        && answered.digest == Some(request.id)
        && begun.person.as_ref() == Some(&request.person)
        && request.node == log.checkpoint.node
        && request.action.as_str() == "restore"
        && says("log", log.number.to_string())
        && says("former", before.number.to_string())
        && says("size", head.size.to_string())
        && says("root", head.root.to_string());
    if !fits {
        let number = log.number;
        return Err(unsigned(say!(
            language,
            "it is not the request by which log {number} began",
            "它不是账段 {number} 开始时的请求"
        )));
    }
    let (person, number, old, size) = (&request.person, log.number, before.number, head.size);
    voice.line(&say!(
        language,
        "  + log {number} follows log {old} at {size} records: a restore by {person}",
        "  + 账段 {number} 接续账段 {old}（{size} 条记录）：由 {person} 恢复"
    ));
    Ok(())
}

/// One log by itself.
fn verify_log(dir: &Path, older: &[Mark], trust: Option<&Trust>, voice: Voice) -> Result<Log, LedgerError> {
    let language = voice.language;
    let dir = dir.to_owned();
    let broken = |cause: String| LedgerError::Broken { path: dir.clone(), cause };
    let mut marks = vec![read_mark(&dir.join(CHECKPOINT), trust)?];
    let number = marks.first().map_or(FIRST_LOG, |mark| mark.checkpoint.log);
    let of_this = older.iter().filter(|mark| mark.checkpoint.log == number);
    marks.extend(of_this.cloned());
    let name = marks.first().map(|mark| mark.checkpoint.node.clone());
    if let Some(other) = marks.iter().find(|mark| Some(&mark.checkpoint.node) != name.as_ref()) {
        return Err(LedgerError::Broken {
            path: other.path.clone(),
            cause: format!("it is of node {}", other.checkpoint.node),
        });
    }

    // The suite is fixed for a ledger's life; without the key's card both are tried against the checkpoint.
    let known = trust.zip(marks.first()).and_then(|(trust, mark)| trust.card(&mark.signer?)).map(|card| card.suite);
    let mut trees: Vec<Peaks> =
        Suite::ALL.into_iter().filter(|suite| known.is_none_or(|k| k == *suite)).map(Peaks::new).collect();
    let mut passed: Vec<Vec<bool>> = vec![vec![false; marks.len()]; trees.len()];
    let mut unreadable = 0_u64;
    let mut reported = 0_u64;
    let mut wrong_local: Vec<Option<u64>> = vec![None; trees.len()];
    let (mut first_at, mut last_at) = (None, None);
    let note = |trees: &[Peaks], passed: &mut [Vec<bool>], size: u64| {
        for (tree, passed) in trees.iter().zip(passed.iter_mut()) {
            for (mark, passed) in marks.iter().zip(passed.iter_mut()) {
                *passed |= mark.checkpoint.head.size == size && mark.checkpoint.head.root == tree.root();
            }
        }
    };
    note(&trees, &mut passed, 0);
    let size = walk(&dir, &mut |index, stored| {
        for tree in &mut trees {
            let digest = match &stored {
                Some(stored) => leaf(tree.suite, &stored.bytes),
                None => kept_leaf(&dir, index)?,
            };
            tree.push(digest);
        }
        note(&trees, &mut passed, index.saturating_add(1));
        let Some(stored) = stored else {
            unreadable = unreadable.saturating_add(1);
            return Ok(());
        };
        let record = &stored.record;
        first_at = first_at.or(Some(record.at));
        last_at = Some(record.at);
        if record.event == Event::LedgerDamaged {
            let (from, to) = (record.sequence.unwrap_or(0), record.through.unwrap_or(0));
            reported = reported.saturating_add(to.saturating_sub(from).saturating_add(1));
        }
        // A local part that was taken away leaves the record whole; one that is there must fit it.
        if let Some((salt, local)) = &stored.local {
            for (tree, wrong) in trees.iter().zip(&mut wrong_local) {
                if record.local != Some(local.digest(tree.suite, salt)) {
                    wrong.get_or_insert(index);
                }
            }
        }
        Ok(())
    })?;

    let Some(mark) = marks.first() else { return Err(LedgerError::NoLedger { path: dir }) };
    let head = mark.checkpoint.head;
    if size < head.size {
        let stated = head.size;
        return Err(broken(say!(
            language,
            "{size} records are here, the checkpoint was signed over {stated}: records were removed",
            "此处有 {size} 条记录，检查点签的是 {stated} 条：有记录被删除"
        )));
    }
    let fits = trees.iter().zip(&passed).zip(&wrong_local).find(|((_, passed), _)| passed.first() == Some(&true));
    let Some(((tree, passed), wrong_local)) = fits else {
        let at = head.size;
        return Err(broken(say!(
            language,
            "the root over the first {at} records is not the checkpoint's: a record was changed",
            "前 {at} 条记录的根与检查点不符：有记录被改动"
        )));
    };
    let suite = tree.suite;
    if let Some((mark, _)) = marks.iter().zip(passed).find(|(_, passed)| !**passed) {
        let (shown, at) = (mark.path.display(), mark.checkpoint.head.size);
        return Err(broken(say!(
            language,
            "it does not pass through the checkpoint {shown} at {at} records: it was rewritten",
            "它不经过检查点 {shown}（{at} 条）：审计账被重写"
        )));
    }
    if let Some(index) = wrong_local {
        return Err(broken(say!(
            language,
            "the local part of record {index} was changed",
            "第 {index} 条记录的本地部分被改动"
        )));
    }
    if unreadable > reported {
        let lost = unreadable.saturating_sub(reported);
        return Err(broken(say!(
            language,
            "{lost} records cannot be read and no record reports their loss",
            "有 {lost} 条记录无法读取，且账中无报告"
        )));
    }
    let name = &mark.checkpoint.node;
    let signer = mark.signer.map(|id| prefix(&id));
    let later = size.saturating_sub(head.size);
    voice.object(&json!({
            "ok": true, "node": name, "log": number, "records": size, "checkpoint": head.size, "root": head.root.to_string(), "suite": suite.name(),
            "signature": signer.as_deref().unwrap_or("not checked"), "checkpoints": marks.len(), "unreadable_but_reported": unreadable,
            "first": first_at.map(|at| at.to_string()), "last": last_at.map(|at| at.to_string()),
        }));
    let (checked, root, suite) = (head.size, groups(&head.root), suite.name());
    voice.line(&say!(
        language,
        "ledger of {name}: {size} records ({suite})",
        "{name} 的审计账：{size} 条记录（{suite}）"
    ));
    voice.line(&say!(
        language,
        "  + root recomputed from {checked} records: {root}",
        "  + 由 {checked} 条记录重算的根：{root}"
    ));
    match signer {
        Some(key) => {
            voice.line(&say!(language, "  + checkpoint signed by {name} [{key}]", "  + 检查点由 {name} [{key}] 签名"))
        }
        None => voice.line(
            language
                .pick("  ! signature of the checkpoint not checked: no --trust", "  ! 未核对检查点签名：未给 --trust"),
        ),
    }
    if let (Some(first), Some(last)) = (first_at, last_at) {
        voice.line(&say!(language, "  + from {first} to {last}", "  + 自 {first} 至 {last}"));
    }
    if marks.len() > 1 {
        let older = marks.len().saturating_sub(1);
        voice.line(&say!(language, "  + passes through {older} further checkpoints", "  + 经过另外 {older} 个检查点"));
    }
    if later > 0 {
        voice.line(&say!(
            language,
            "  ! {later} records follow the checkpoint, not yet signed",
            "  ! 检查点之后有 {later} 条记录，尚未签名"
        ));
    }
    if unreadable > 0 {
        voice.line(&say!(
            language,
            "  ! {unreadable} records were lost to damage; the ledger reports it and keeps their leaves",
            "  ! {unreadable} 条记录因损坏丢失；账中已有报告并保留其摘要"
        ));
    }
    let checkpoint = mark.checkpoint.clone();
    Ok(Log { number, dir, checkpoint, records: size })
}

impl LedgerShow {
    fn run(&self, voice: Voice) -> Result<(), LedgerError> {
        if self.trust.is_some() {
            LedgerVerify { dir: self.dir.clone(), trust: self.trust.clone(), checkpoint: Vec::new() }.run(voice)?;
        }
        let dir = ledger_dir(&self.dir);
        walk(&dir, &mut |index, stored| {
            let Some(stored) = stored else {
                voice.object(&json!({"index": index, "unreadable": true}));
                voice.line(&say!(voice.language, "{index:>9}  (unreadable)", "{index:>9}  （无法读取）"));
                return Ok(());
            };
            if self.parcel.is_none() || self.parcel == stored.record.parcel {
                let fields = fields(&stored, self.local);
                let words: Vec<String> = fields
                    .iter()
                    .filter(|(name, _)| !matches!(name.as_str(), "index" | "at" | "event"))
                    .map(|(name, value)| format!("{name}={}", value.as_str().map_or_else(|| value.to_string(), plain)))
                    .collect();
                voice.line(&format!(
                    "{index:>9}  {}  {:<20} {}",
                    stored.record.at,
                    stored.record.event.name(),
                    words.join(" ")
                ));
                voice.object(&Value::Object(fields));
            }
            Ok(())
        })?;
        Ok(())
    }
}

/// A record's fields that say something.
fn fields(stored: &Stored, local: bool) -> Map<String, Value> {
    let record = &stored.record;
    let text = |value: &dyn std::fmt::Display| Value::String(value.to_string());
    let all = [
        ("index", Some(json!(stored.index))),
        ("at", Some(text(&record.at))),
        ("event", Some(json!(record.event.name()))),
        ("parcel", record.parcel.as_ref().map(|v| text(v))),
        ("bundle", record.bundle.as_ref().map(|v| text(v))),
        ("origin", record.origin.as_ref().map(|v| text(v))),
        ("route", record.route.as_ref().map(|v| text(v))),
        ("type", record.parcel_type.as_ref().map(|v| text(v))),
        ("peer", record.peer.as_ref().map(|v| text(v))),
        ("crossing", record.crossing.as_ref().map(|v| text(v))),
        ("epoch", record.epoch.map(|v| json!(v))),
        ("sequence", record.sequence.map(|v| json!(v))),
        ("through", record.through.map(|v| json!(v))),
        ("digest", record.digest.as_ref().map(|v| text(v))),
        ("outcome", record.outcome.map(|v| json!(v.name()))),
        ("reason", record.reason.map(|v| json!(v.name()))),
        ("person", record.person.as_ref().map(|v| text(v))),
        ("trip", record.trip.map(|v| json!(v))),
        ("bytes", record.bytes.map(|v| json!(v))),
        ("local", record.local.as_ref().map(|v| text(v))),
    ];
    let mut fields: Map<String, Value> =
        all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    if let Some((_, words)) = stored.local.as_ref().filter(|_| local) {
        fields.insert("name".to_owned(), json!(words.name));
        let labels: Map<String, Value> = words.labels.iter().map(|l| (l.name.to_string(), json!(l.value))).collect();
        fields.insert("labels".to_owned(), Value::Object(labels));
    }
    fields
}

fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

/// The folder itself, or the `ledger` folder of a spool.
fn ledger_dir(named: &Path) -> PathBuf {
    let inside = named.join("ledger");
    if inside.is_dir() { inside } else { named.to_owned() }
}

type OnRecord<'a> = dyn FnMut(u64, Option<Stored>) -> Result<(), LedgerError> + 'a;

/// Every record in order; `None` for one that cannot be read. Gives how many there are.
fn walk(dir: &Path, each: &mut OnRecord<'_>) -> Result<u64, LedgerError> {
    let read = |path: &Path, cause| LedgerError::Read { path: path.to_owned(), cause };
    let broken = |path: &Path, cause: String| LedgerError::Broken { path: path.to_owned(), cause };
    let segments = segment::list(dir).map_err(|cause| read(dir, cause))?;
    if segments.is_empty() {
        return Err(LedgerError::NoLedger { path: dir.to_owned() });
    }
    let mut next = 0_u64;
    let last = segments.len().saturating_sub(1);
    for (at, segment) in segments.iter().enumerate() {
        if segment.first < next {
            return Err(broken(&segment.path, format!("it starts at record {}, where {next} is due", segment.first)));
        }
        if segment.first.saturating_sub(next) > HOLE_RECORDS_MAX {
            return Err(broken(&segment.path, format!("records {next} to {} are not there", segment.first)));
        }
        // A damaged end before this segment: its records are lost, their leaves may be kept.
        while next < segment.first {
            each(next, None)?;
            next = next.saturating_add(1);
        }
        let bytes = segment::load(&segment.path).map_err(|cause| read(&segment.path, cause))?;
        for found in Frames::new(&bytes, segment.first) {
            match found {
                Found::Record(stored) => {
                    each(stored.index, Some(*stored))?;
                    next = next.saturating_add(1);
                }
                Found::Unreadable { index } => {
                    each(index, None)?;
                    next = next.saturating_add(1);
                }
                // A torn tail of the newest segment is a write that never was acknowledged.
                Found::Broken { .. } if at == last => {}
                Found::Broken { index, sound }
                    if segments.get(at.saturating_add(1)).is_none_or(|after| after.first < index) =>
                {
                    return Err(broken(
                        &segment.path,
                        format!("after {sound} bytes nothing can be read, at record {index}"),
                    ));
                }
                Found::Broken { .. } => {}
            }
        }
    }
    Ok(next)
}

/// The leaf of a lost record, as the tree on disk kept it.
fn kept_leaf(dir: &Path, index: u64) -> Result<Digest, LedgerError> {
    let path = dir.join(LEAVES);
    let lost = |cause: io::Error| LedgerError::Broken {
        path: path.clone(),
        cause: format!("record {index} cannot be read and its leaf is not kept either: {cause}"),
    };
    let mut digest = [0; 32];
    File::open(&path)
        .and_then(|file| file.read_exact_at(&mut digest, index.saturating_mul(DIGEST_BYTES)))
        .map_err(lost)?;
    Ok(protocol::der_types::Octets(digest))
}

fn read_mark(path: &Path, trust: Option<&Trust>) -> Result<Mark, LedgerError> {
    let broken = |cause: String| LedgerError::Broken { path: path.to_owned(), cause };
    let bytes = folder::read_file(path, NOTE_BYTES_MAX)?;
    let text = String::from_utf8(bytes).map_err(|e| broken(e.to_string()))?;
    let claimed = Checkpoint::parse_unverified(&text).map_err(|e| broken(e.to_string()))?;
    let Some(trust) = trust else { return Ok(Mark { path: path.to_owned(), checkpoint: claimed, signer: None }) };
    // Every signing key the node ever had: an old checkpoint was signed by an old key.
    let cards = trust.cards().filter(|card| card.holder == claimed.node && card.usage == Use::Sign);
    let mut cause = format!("no signing key of {} is in the trust folder", claimed.node);
    for card in cards {
        let key = VerifyingKey::from_spki(&card.spki).map_err(|e| broken(e.to_string()))?;
        match Checkpoint::verify(&text, &claimed.node, &key) {
            Ok(checkpoint) => return Ok(Mark { path: path.to_owned(), checkpoint, signer: Some(key.id()) }),
            Err(error) => cause = error.to_string(),
        }
    }
    Err(broken(cause))
}
