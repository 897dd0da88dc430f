//! A node's ledger read by an auditor: every record from its segments, the Merkle root computed anew from them, and the
//! signed checkpoint it must equal. Never writes, and needs no running node. (12.3 and 12.4 of FORMAT.md.)
//!
//! - 12.3.0 with a trust folder, a signing key of the node signed the checkpoint;
//! - 12.3.1 segments follow each other without a hole;
//! - 12.3.2 each record's frame is whole, its bytes are a leaf;
//! - 12.3.3 a local part fits the salted digest in its record;
//! - 12.3.4 the root over the first `size` leaves is the checkpoint's; the tree on disk, where it is there, follows from
//!   the records;
//! - 12.3.5 every head that others hold (`--head`, `--evidence`, `--checkpoint`) is on the way: only these show a cut tail;
//! - 12.3.6 no more records are lost than the ledger itself reports;
//! - 12.4 after a restore: every log before this one holds by itself, and the papers that begin the next, signed by the
//!   node and by an operator, name its last head.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use protocol::ledger::{Checkpoint, Event, FIRST_LOG, NOTE_BYTES_MAX, Record};
use protocol::receipt::Head;
use protocol::suite::Digest;
use protocol::trust::Role;
use protocol::witness::LogStart;
use protocol::{Name, ParcelId, Signed, Statement as _, Suite, Timestamp, Trust};
use serde_json::{Map, Value, json};
use spool::extract::{Extract, Format, Wanted};
use spool::segment::{self, Stored};

use crate::audit::{self, Audit, walk};
use crate::fetch::{Fetch, FetchError};
use crate::folder::{self, FolderError};
use crate::heads::{self, Heads};
use crate::trustdir::{self, TrustDirError};
use crate::words::{Voice, groups, prefix, say};

/// The checkpoint beside the segments.
const CHECKPOINT: &str = "checkpoint";
/// The logs before this one.
const FORMER: &str = "former";
/// The papers that begin a log after a restore.
const STARTS: [&str; 2] = ["start-by-node", "start-by-operator"];
/// A restore every month for twenty years.
const FORMER_MAX: usize = 256;
/// What is fixed about a ledger.
const ABOUT: &str = "ledger.json";

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
    /// Asking the node for it.
    #[error(transparent)]
    Fetch(#[from] FetchError),
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
    /// Write the records of a period as JSON lines or CSV
    Export(LedgerExport),
    /// Ask the node itself for that, where its ledger's folder may not be read
    Fetch(Fetch),
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
    /// A head that a neighbour holds: a statement, note, receipt, batch or waybill; may be given several times
    #[arg(long, value_name = "FILE")]
    pub(crate) head: Vec<PathBuf>,
    /// A neighbour's evidence or ledger folder, from which every head of this ledger is taken
    #[arg(long, value_name = "DIR")]
    pub(crate) evidence: Vec<PathBuf>,
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
    #[command(flatten)]
    pub(crate) acts: Acts,
}

/// Which days, and how the lines look.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Days {
    /// The first day, YYYY-MM-DD by UTC
    #[arg(long, value_name = "DATE", value_parser = day)]
    pub(crate) from: Timestamp,
    /// The last day, which is still in it
    #[arg(long, value_name = "DATE", value_parser = day)]
    pub(crate) to: Timestamp,
    /// jsonl or csv
    #[arg(long)]
    pub(crate) format: Format,
    #[command(flatten)]
    pub(crate) acts: Acts,
}

/// Whose acts are wanted, or with which medium; all records where nothing is said.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Acts {
    /// Only records that name this person
    #[arg(long, value_name = "NAME")]
    pub(crate) person: Option<Name>,
    /// Only records that name this medium
    #[arg(long, value_name = "ID")]
    pub(crate) medium: Option<Name>,
}

impl Acts {
    fn fit(&self, record: &Record) -> bool {
        (self.person.is_none() || self.person == record.person)
            && (self.medium.is_none() || self.medium == record.medium)
    }
}

/// `ferry ledger export`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct LedgerExport {
    /// The ledger folder, or the spool that holds it
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Key cards; then the ledger is verified first, and nothing of a broken one is written
    #[arg(long, value_name = "DIR")]
    pub(crate) trust: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) days: Days,
    /// With names and labels, which belong to the zone
    #[arg(long)]
    pub(crate) local: bool,
    /// A new file; without it the lines go to standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

fn day(text: &str) -> Result<Timestamp, String> {
    Timestamp::of_day(text).ok_or_else(|| "a day is YYYY-MM-DD".to_owned())
}

fn parcel_id(text: &str) -> Result<ParcelId, String> {
    ParcelId::from_hex(text).ok_or_else(|| "a parcel id is 32 lower-case hex digits".to_owned())
}

impl Ledger {
    /// Verifies or shows.
    pub(crate) fn run(&self, voice: Voice, now: Timestamp) -> Result<(), LedgerError> {
        match self {
            Ledger::Verify(verify) => verify.run(voice),
            Ledger::Show(show) => show.run(voice),
            Ledger::Export(export) => export.run(voice),
            Ledger::Fetch(fetch) => Ok(fetch.run(voice, now)?),
        }
    }
}

impl LedgerVerify {
    fn run(&self, voice: Voice) -> Result<(), LedgerError> {
        self.check(voice, true)
    }

    /// Verifies; says what holds only where that is wanted.
    fn check(&self, voice: Voice, tells: bool) -> Result<(), LedgerError> {
        let trust = self.trust.as_deref().map(trustdir::read).transpose()?;
        let mut before: Option<Log> = None;
        let (mut here, mut named) = (BTreeSet::new(), BTreeSet::new());
        let dirs = logs(&self.dir)?;
        for (at, dir) in (1..).zip(&dirs) {
            let log = self.check_log(dir.clone(), trust.as_ref(), voice, tells, at == dirs.len())?;
            follows(before.as_ref(), &log, trust.as_ref(), voice, tells)?;
            if let Some(before) = &before {
                is_reported(before, log.reported_before, voice)?;
            }
            here.insert(log.head.log);
            named.extend(&log.others);
            before = Some(log);
        }
        match named.difference(&here).next() {
            None => Ok(()),
            Some(number) => Err(LedgerError::Broken {
                path: ledger_dir(&self.dir),
                cause: say!(
                    voice.language,
                    "others hold a head of log {number}, which is not here",
                    "他方持有账段 {number} 的链首，此处没有该账段"
                ),
            }),
        }
    }

    /// One log by itself.
    fn check_log(
        &self,
        dir: PathBuf,
        trust: Option<&Trust>,
        voice: Voice,
        tells: bool,
        is_last: bool,
    ) -> Result<Log, LedgerError> {
        let language = voice.language;
        let broken = |cause: String| LedgerError::Broken { path: dir.clone(), cause };
        let own = dir.join(CHECKPOINT);
        let note = folder::read_file(&own, NOTE_BYTES_MAX)?;
        let (checkpoint, signer) = heads::read_note(&String::from_utf8_lossy(&note), trust)
            .map_err(|cause| LedgerError::Broken { path: own.clone(), cause })?;
        let (name, head) = (&checkpoint.node, checkpoint.head);
        let mut heads = Heads::of(name, head.log, trust);
        self.head.iter().chain(&self.checkpoint).try_for_each(|path| heads.file(path, true))?;
        self.evidence.iter().try_for_each(|path| heads.folder(path, 0))?;
        if let Some((path, cause)) = heads.not_believed.first() {
            return Err(LedgerError::Broken { path: path.clone(), cause: cause.clone() });
        }
        let audit = audit_of(&dir, &head, &heads, voice)?;
        let size = audit.size;
        if size < head.size {
            let stated = head.size;
            return Err(broken(say!(
                language,
                "{size} records are here, the checkpoint was signed over {stated}: records were removed",
                "此处有 {size} 条记录，检查点签的是 {stated} 条：有记录被删除"
            )));
        }
        let Some(tree) = audit.fits(&head) else {
            let at = head.size;
            let first = audit.trees.iter().find_map(|tree| tree.lost.or(tree.leaf_differs)).map(|index| {
                say!(
                    language,
                    "; record {index} is the first that is not what it was",
                    "；首条与原摘要不符的记录为第 {index} 条"
                )
            });
            let first = first.unwrap_or_default();
            return Err(broken(say!(
                language,
                "the root over the first {at} records is not the checkpoint's: a record was changed{first}",
                "前 {at} 条记录的根与检查点不符：有记录被改动{first}"
            )));
        };
        if let Some((at, held)) = heads.by_size.iter().find(|(at, _)| **at > size) {
            let shown = held.path.display();
            return Err(broken(say!(
                language,
                "{shown} holds a head of {at} records and only {size} are here: the tail was cut",
                "{shown} 持有 {at} 条记录的链首，此处只有 {size} 条：尾部被截去"
            )));
        }
        if let Some((at, held)) = tree.missed.and_then(|at| heads.by_size.get_key_value(&at)) {
            let shown = held.path.display();
            return Err(broken(say!(
                language,
                "it does not pass through the head in {shown} at {at} records: it was rewritten",
                "它不经过 {shown} 所持的链首（{at} 条）：审计账被重写"
            )));
        }
        if audit.leaves > size {
            let leaves = audit.leaves;
            return Err(broken(say!(
                language,
                "{size} records are here and the tree holds leaves of {leaves}: the tail was cut",
                "此处有 {size} 条记录，树中有 {leaves} 条的摘要：尾部被截去"
            )));
        }
        if let Some(index) = tree.leaf_differs {
            let signed = head.size;
            return Err(broken(say!(
                language,
                "record {index} and its digest in level-0 differ (the checkpoint covers the first {signed} records)",
                "第 {index} 条记录与 level-0 中的摘要不符（检查点覆盖前 {signed} 条）"
            )));
        }
        if let Some((level, index)) = tree.level_differs {
            return Err(broken(say!(
                language,
                "digest {index} of level-{level} does not follow from those below it: the tree on disk is damaged, the records are not; a running node mends it",
                "level-{level} 的第 {index} 个摘要与其下层不符：磁盘上的树损坏，记录完好；运行中的节点会自行修复"
            )));
        }
        if let Some(index) = tree.wrong_local {
            return Err(broken(say!(
                language,
                "the local part of record {index} was changed",
                "第 {index} 条记录的本地部分被改动"
            )));
        }
        let log = Log {
            node: checkpoint.node.clone(),
            head,
            records: size,
            others: heads.logs.clone(),
            unreported: tree.unreadable.saturating_sub(audit.reported),
            reported_before: audit.reported_before,
            dir: dir.clone(),
        };
        if is_last {
            is_reported(&log, 0, voice)?;
        }
        if tells {
            tell(voice, &checkpoint, signer, &audit, tree, &heads);
        }
        Ok(log)
    }
}

fn tell(
    voice: Voice,
    checkpoint: &Checkpoint,
    signer: Option<Digest>,
    audit: &Audit,
    tree: &audit::Tree,
    heads: &Heads<'_>,
) {
    let (language, name, head, size) = (voice.language, &checkpoint.node, checkpoint.head, audit.size);
    let signer = signer.map(|id| prefix(&id));
    let (held, papers, up_to) = (tree.passed, heads.papers, heads.by_size.keys().next_back().copied());
    let unreadable = tree.unreadable;
    voice.object(&json!({
        "ok": true, "node": name, "log": head.log, "records": size, "checkpoint": head.size, "root": head.root.to_string(), "suite": tree.suite.name(),
        "signature": signer.as_deref().unwrap_or("not checked"), "heads_of_others": held, "papers_of_others": papers, "heads_up_to": up_to,
        "heads_of_other_logs": heads.other_logs, "unreadable_but_reported": unreadable,
        "first": audit.first_at.map(|at| at.to_string()), "last": audit.last_at.map(|at| at.to_string()),
    }));
    let (checked, root, suite) = (head.size, groups(&head.root), tree.suite.name());
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
        None => voice.line(language.pick("  ! signatures not checked: no --trust", "  ! 未核对签名：未给 --trust")),
    }
    if let (Some(first), Some(last)) = (audit.first_at, audit.last_at) {
        voice.line(&say!(language, "  + from {first} to {last}", "  + 自 {first} 至 {last}"));
    }
    match up_to {
        Some(up_to) => voice.line(&say!(
            language,
            "  + passes through {held} heads that others hold, the last over {up_to} records",
            "  + 经过他方持有的 {held} 个链首，最后一个覆盖 {up_to} 条记录"
        )),
        None => voice.line(language.pick(
            "  ! not held against any neighbour's head (--head, --evidence): a cut tail would not be seen",
            "  ! 未与任何相邻节点持有的链首比对（--head、--evidence）：尾部被截去时看不出来",
        )),
    }
    let later = size.saturating_sub(head.size);
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
}

/// A log that holds.
struct Log {
    node: Name,
    head: Head,
    records: u64,
    /// Logs of which others hold heads.
    others: BTreeSet<u64>,
    /// Lost records that no record of it reports; a restore that found them reports them in the log that follows.
    unreported: u64,
    /// Lost records of the log before that it reports.
    reported_before: u64,
    dir: PathBuf,
}

/// Is every record that is lost on record as lost: in its own log, or by a restore in the one that follows?
fn is_reported(log: &Log, later: u64, voice: Voice) -> Result<(), LedgerError> {
    let lost = log.unreported.saturating_sub(later);
    if lost == 0 {
        return Ok(());
    }
    let cause = say!(
        voice.language,
        "{lost} records cannot be read and no record reports their loss",
        "有 {lost} 条记录无法读取，且账中无报告"
    );
    Err(LedgerError::Broken { path: log.dir.clone(), cause })
}

/// The folders of all logs of a ledger, oldest first; the last is the one that is written to.
fn logs(named: &Path) -> Result<Vec<PathBuf>, LedgerError> {
    let dir = ledger_dir(named);
    let folder = dir.join(FORMER);
    let read = |cause| LedgerError::Read { path: folder.clone(), cause };
    let mut logs = Vec::new();
    match std::fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => {
            for entry in other.map_err(read)? {
                if logs.len() >= FORMER_MAX {
                    let cause = format!("more than {FORMER_MAX} logs; what was not read would be missed by nobody");
                    return Err(LedgerError::Broken { path: folder, cause });
                }
                let path = entry.map_err(read)?.path();
                let number = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<u64>().ok());
                logs.extend(number.map(|number| (number, path)));
            }
        }
    }
    logs.sort();
    Ok(logs.into_iter().map(|(_, path)| path).chain([dir]).collect())
}

/// Does a log begin where the one before it ended, and do its node and an operator answer for that?
fn follows(
    before: Option<&Log>,
    log: &Log,
    trust: Option<&Trust>,
    voice: Voice,
    tells: bool,
) -> Result<(), LedgerError> {
    let language = voice.language;
    let number = log.head.log;
    let broken = |cause: String| LedgerError::Broken { path: log.dir.clone(), cause };
    let Some(before) = before else {
        if number == FIRST_LOG {
            return Ok(());
        }
        return Err(broken(say!(
            language,
            "it is log {number}, and no log before it is here",
            "这是账段 {number}，此处没有它之前的账段"
        )));
    };
    let (old, size) = (before.head.log, before.head.size);
    if before.records != size {
        let found = before.records;
        return Err(LedgerError::Broken {
            path: before.dir.clone(),
            cause: say!(
                language,
                "it ended at {size} records and {found} are here",
                "该账段止于 {size} 条记录，此处有 {found} 条"
            ),
        });
    }
    let mut starts = Vec::new();
    for (name, role) in STARTS.into_iter().zip([Role::Node, Role::Operator]) {
        let path = log.dir.join(name);
        let unsigned = |cause: String| LedgerError::Broken { path: path.clone(), cause };
        let bytes = folder::read_file(&path, LogStart::BYTES_MAX)?;
        let signed = Signed::parse::<LogStart>(&bytes).map_err(|e| unsigned(e.to_string()))?;
        let Some(trust) = trust else {
            starts.push(signed.read_unverified::<LogStart>().map_err(|e| unsigned(e.to_string()))?);
            continue;
        };
        let (start, card) = trust.verify::<LogStart>(&signed).map_err(|e| unsigned(e.to_string()))?;
        let holder = if role == Role::Node { &start.node } else { &start.person };
        if card.role != role || card.holder != *holder {
            return Err(unsigned(format!("signed by {}, a {}", card.holder, card.role)));
        }
        starts.push(start);
    }
    let same = |start: &LogStart| start.node == log.node && start.log == number && start.previous == before.head;
    let person = match starts.as_slice() {
        [by_node, by_operator] if by_node == by_operator && same(by_node) => &by_node.person,
        _ => {
            return Err(broken(say!(
                language,
                "its start papers do not say that it follows log {old} at {size} records",
                "其起始文件未说明它接续账段 {old}（{size} 条记录）"
            )));
        }
    };
    let mut begun = None;
    walk(&log.dir, &indicatif::ProgressBar::hidden(), &mut |index, stored, _| {
        begun = begun.take().or(stored.map(|stored| stored.record).filter(|_| index == 0));
        Ok(())
    })?;
    let names = begun.is_some_and(|begun| {
        begun.event == Event::LogBegun && begun.head == Some(before.head) && begun.person.as_ref() == Some(person)
    });
    if !names {
        return Err(broken(say!(
            language,
            "its first record does not name the head of log {old}",
            "首条记录未指明账段 {old} 的链首"
        )));
    }
    if tells {
        voice.line(&say!(
            language,
            "  + log {number} follows log {old} at {size} records: a restore by {person}",
            "  + 账段 {number} 接续账段 {old}（{size} 条记录）：由 {person} 恢复"
        ));
    }
    Ok(())
}

/// One pass in the suite that the ledger's own note names; where no root fits in that, another pass in both. The key of the
/// checkpoint says nothing of it: a ledger keeps the suite it was begun in, whatever its node signs in today.
fn audit_of(dir: &Path, head: &Head, heads: &Heads, voice: Voice) -> Result<Audit, LedgerError> {
    let segments = segment::list(dir).unwrap_or_default();
    let bytes: u64 = segments.iter().filter_map(|one| one.path.metadata().ok()).map(|about| about.len()).sum();
    let pass = |suites: &[Suite]| {
        let bar = voice.bar(bytes, voice.language.pick("verifying", "校验中").to_owned());
        let audit = Audit::of(dir, suites, head, &heads.by_size, &bar);
        bar.finish_and_clear();
        audit
    };
    let Some(stated) = stated_suite(dir) else { return pass(&Suite::ALL) };
    let audit = pass(&[stated])?;
    if audit.fits(head).is_some() {
        return Ok(audit);
    }
    let both = pass(&Suite::ALL)?;
    // Where none fits, what the note says explains best what was changed.
    Ok(if both.fits(head).is_some() { both } else { audit })
}

/// The suite as the ledger's own note says. A hint: in another suite no root would fit.
fn stated_suite(dir: &Path) -> Option<Suite> {
    let about: Value = serde_json::from_slice(&folder::read_file(&dir.join(ABOUT), NOTE_BYTES_MAX).ok()?).ok()?;
    about.get("suite")?.as_str()?.parse().ok()
}

impl LedgerShow {
    fn run(&self, voice: Voice) -> Result<(), LedgerError> {
        if self.trust.is_some() {
            let (dir, trust) = (self.dir.clone(), self.trust.clone());
            LedgerVerify { dir, trust, checkpoint: Vec::new(), head: Vec::new(), evidence: Vec::new() }.run(voice)?;
        }
        for dir in logs(&self.dir)? {
            self.show_log(&dir, voice)?;
        }
        Ok(())
    }

    fn show_log(&self, dir: &Path, voice: Voice) -> Result<(), LedgerError> {
        walk(dir, &indicatif::ProgressBar::hidden(), &mut |index, stored, _| {
            let Some(stored) = stored else {
                voice.object(&json!({"index": index, "unreadable": true}));
                voice.line(&say!(voice.language, "{index:>9}  (unreadable)", "{index:>9}  （无法读取）"));
                return Ok(());
            };
            let of_parcel = self.parcel.is_none() || self.parcel == stored.record.parcel;
            if of_parcel && self.acts.fit(&stored.record) {
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

impl LedgerExport {
    fn run(&self, voice: Voice) -> Result<(), LedgerError> {
        if self.trust.is_some() {
            let (dir, trust) = (self.dir.clone(), self.trust.clone());
            // Standard output is for the lines.
            LedgerVerify { dir, trust, checkpoint: Vec::new(), head: Vec::new(), evidence: Vec::new() }
                .check(voice, false)?;
        }
        let target = self.out.clone().unwrap_or_else(|| PathBuf::from("standard output"));
        let failed = |cause| LedgerError::Read { path: target.clone(), cause };
        let out: Box<dyn io::Write> = match &self.out {
            Some(path) => Box::new(io::BufWriter::new(spool::Disk::real().create(path).map_err(failed)?)),
            None => Box::new(io::BufWriter::new(io::stdout().lock())),
        };
        const DAY_MS: u64 = 24 * 60 * 60 * 1000;
        let Days { from, to, format, acts } = self.days.clone();
        let wanted = Wanted { from, until: to.plus_ms(DAY_MS), person: acts.person, medium: acts.medium };
        let mut extract = Extract::begin(out, format, self.local).map_err(failed)?;
        for dir in logs(&self.dir)? {
            walk(&dir, &indicatif::ProgressBar::hidden(), &mut |_, stored, _| match &stored {
                Some(stored) => extract.take(&wanted, stored).map_err(failed),
                None => Ok(()),
            })?;
        }
        let lines = extract.lines;
        extract.end().map_err(failed)?;
        if let Some(path) = &self.out {
            let shown = path.display();
            voice.object(&json!({"file": path, "lines": lines}));
            voice.line(&say!(voice.language, "{lines} records written to {shown}", "已写入 {shown}：{lines} 条记录"));
        }
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
        ("medium", record.medium.as_ref().map(|v| text(v))),
        ("head", record.head.map(|v| json!({"log": v.log, "size": v.size, "root": v.root.to_string()}))),
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
