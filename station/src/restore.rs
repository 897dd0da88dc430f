//! A node's state out of a backup, for a machine whose spool is gone. First everything is proven, then files are put in
//! place, then a new log begins that names the head of the old one, under the node's and an operator's signature.
//!
//! Why it may die anywhere: until the spool is touched nothing was changed, and from then on a marker keeps every daemon
//! away until the restore has come to its end (`spool::restore`). Run again, it begins anew.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use protocol::backup::{self, BackupReader, Verified};
use protocol::bundle::BundleError;
use protocol::keys::{self, OpeningKey, SigningKey};
use protocol::ledger::{Checkpoint, Event, Local, Record};
use protocol::parcel::VERSION;
use protocol::receipt::{Head, Range};
use protocol::trust::{Role, Use};
use protocol::witness::LogStart;
use protocol::{Name, ParcelId, Signed, Timestamp, Trust};
use serde_json::{Value, json};
use spool::restore::{Restoring, Succession, epoch_above};
use spool::{STATE_VERSION, Setup, SpoolError};
use zeroize::Zeroizing;

use crate::backup::{count, missing, ranges};
use crate::losses::Losses;

const BUFFER_BYTES: usize = 1 << 20;
/// Lost parcels shown in the answer; all of them are in the ledger and in `list --state lost`.
const LOST_SHOWN: usize = 1_000;

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The file, a key or a paper.
    #[error("{path}: {cause}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// The backup does not prove itself, or does not open.
    #[error("the backup {path}: {cause}")]
    Backup {
        /// Which.
        path: PathBuf,
        /// Why not.
        cause: BundleError,
    },
    /// A backup of somebody else.
    #[error("the backup is of node {found}, this is {expected}")]
    OtherNode {
        /// Whose.
        found: Name,
        /// Who asks.
        expected: Name,
    },
    /// Made by a newer program.
    #[error(
        "the backup holds a state of version {found}; this program reads up to {supported}: install the newer program"
    )]
    TooNew {
        /// In the backup.
        found: u32,
        /// The newest.
        supported: u32,
    },
    /// Whoever signs is no operator.
    #[error("the restore must be signed by an operator: {cause}")]
    NoOperator {
        /// Why not.
        cause: String,
    },
    /// An entry that no backup of ours has.
    #[error("the backup holds {path}, which is neither file nor folder")]
    OddEntry {
        /// Its path.
        path: PathBuf,
    },
    /// The records do not make the ledger that the backup's head names.
    #[error(
        "nothing can be restored from this backup: {missing}; restore an older one, and keep the old disk and this backup for whoever can read more of them"
    )]
    OtherLedger {
        /// What of it is lost.
        missing: String,
    },
    /// The note over the ledger in it is another than its head names, or none.
    #[error("the checkpoint in the backup is not over the {} records that its head names", named.size)]
    OtherCheckpoint {
        /// From the head.
        named: Head,
    },
    /// The spool.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

/// What a restore is done with.
pub struct RestorePlan<'a> {
    /// The backup.
    pub from: &'a Path,
    /// Opens it.
    pub key: &'a OpeningKey,
    /// The operator who answers for it.
    pub operator: &'a SigningKey,
    /// How the spool is to be made.
    pub setup: &'a Setup,
    /// Whom the node believes.
    pub trust: &'a Trust,
    /// Neighbours' evidence folders and receipt batches.
    pub witnesses: &'a [PathBuf],
    /// The last trip of the ferry that the other side knows; 0 where the backup knows all.
    pub last_trip: u64,
}

/// What a restore did.
#[derive(Debug)]
pub struct Restored {
    /// What was in it.
    pub backup: Verified,
    /// Files put in place.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The number of the new log.
    pub log: u64,
    /// What the papers told.
    pub told: Losses,
    /// Parcels that were here after the backup.
    pub lost: Vec<Record>,
    /// Records of the old log that are lost, reported by it before or not.
    pub records_lost: Vec<Range>,
    /// Claimed drops that are not whole in the backup: where they lie now, for a person to look at.
    pub spoiled_drops: Vec<PathBuf>,
}

/// Restores.
pub fn restore(plan: &RestorePlan<'_>) -> Result<Restored, RestoreError> {
    let (now, node, disk) = (plan.setup.now, &plan.setup.node, &plan.setup.disk);
    let person = operator(plan)?;
    let verified = prove(plan)?;
    let told = Losses::read(plan.witnesses, plan.trust, node, now)
        .map_err(|cause| RestoreError::Io { path: plan.witnesses.first().cloned().unwrap_or_default(), cause })?;

    let old = &verified.head;
    let mut restoring = Restoring::begin(&plan.setup.root, node, old.ledger.log, disk)?;
    let (files, bytes) = unpack(plan, &mut restoring)?;
    let spoiled_drops = restoring.set_spoiled_drops_aside()?;
    // What was not in the backup because it was empty, and the modes of what apps and people share.
    spool::create(plan.setup)?;
    let note = Checkpoint::parse_unverified(&restoring.old_checkpoint()?);
    if !note.is_ok_and(|note| note.node == *node && note.head == old.ledger) {
        return Err(RestoreError::OtherCheckpoint { named: old.ledger });
    }
    let holding = restoring.old_ledger(old.suite, &old.ledger)?;
    if holding.head != old.ledger {
        return Err(RestoreError::OtherLedger { missing: missing(&holding, &old.ledger) });
    }

    let mut known: BTreeSet<ParcelId> = BTreeSet::new();
    let mut epoch = told.epoch;
    restoring.records(&mut |record| {
        if matches!(record.event, Event::EpochStarted | Event::LogBegun) {
            epoch = epoch.max(record.epoch.unwrap_or(0));
        }
        known.extend(record.parcel.filter(|parcel| told.parcels.contains_key(parcel)));
    })?;
    let lost: Vec<Record> =
        told.parcels.iter().filter(|(parcel, _)| !known.contains(*parcel)).map(|(_, record)| record.clone()).collect();

    let log = epoch_above(epoch, now);
    let start =
        LogStart { version: VERSION, node: node.clone(), log, previous: old.ledger, person: person.clone(), at: now };
    let own = Signed::make_by(&plan.setup.key, &start)
        .map_err(|error| RestoreError::Io { path: "signing key".into(), cause: error.into() })?;
    let papers = [own.to_bytes(), Signed::make(plan.operator, &start).to_bytes()];
    let mut begun = Record::new(Event::LogBegun, now);
    begun.person = Some(person);
    begun.head = Some(old.ledger);
    begun.epoch = Some(log);
    begun.trip = Some(plan.last_trip).filter(|trip| *trip > 0);
    // The log before takes no record any more of what nobody had found by then.
    let unreported = holding.unreported.iter().map(|range| {
        let mut record = Record::new(Event::LedgerDamaged, now);
        (record.sequence, record.through, record.head) = (Some(range.from), Some(range.to), Some(old.ledger));
        record
    });
    let records = std::iter::once(begun).chain(unreported).chain(lost.iter().cloned());
    let records = records.map(|record| (record, Local::none()));
    let succession = Succession {
        key: &plan.setup.key,
        log,
        records: records.collect(),
        starts: papers.each_ref().map(Vec::as_slice),
        state_version: old.state_version,
    };
    restoring.finish(&succession)?;
    Ok(Restored { backup: verified, files, bytes, log, told, lost, records_lost: holding.lost, spoiled_drops })
}

/// Who signs: a card of an operator in the trust folder.
fn operator(plan: &RestorePlan<'_>) -> Result<Name, RestoreError> {
    let id = plan.operator.public().id();
    let no = |cause: String| RestoreError::NoOperator { cause };
    let card = plan.trust.card(&id).ok_or_else(|| no(format!("key {id} is on no card in the trust folder")))?;
    if card.role != Role::Operator || card.usage != Use::Sign {
        return Err(no(format!("{} is a {} and the key is for use {}", card.holder, card.role, card.usage)));
    }
    Ok(card.holder.clone())
}

fn open(path: &Path) -> Result<BufReader<File>, RestoreError> {
    let file = File::open(path).map_err(|cause| RestoreError::Io { path: path.to_owned(), cause })?;
    Ok(BufReader::with_capacity(BUFFER_BYTES, file))
}

/// Everything that can be known before the spool is touched: whose it is, that the key opens it, that it is whole.
fn prove(plan: &RestorePlan<'_>) -> Result<Verified, RestoreError> {
    let bad = |cause| RestoreError::Backup { path: plan.from.to_owned(), cause };
    let head = backup::peek(&mut open(plan.from)?).map_err(bad)?;
    if head.node != plan.setup.node {
        return Err(RestoreError::OtherNode { found: head.node, expected: plan.setup.node.clone() });
    }
    if head.state_version > STATE_VERSION {
        return Err(RestoreError::TooNew { found: head.state_version, supported: STATE_VERSION });
    }
    drop(BackupReader::begin(open(plan.from)?, plan.trust, plan.key).map_err(bad)?);
    backup::verify(&mut open(plan.from)?, plan.trust).map_err(bad)
}

fn unpack(plan: &RestorePlan<'_>, restoring: &mut Restoring) -> Result<(u64, u64), RestoreError> {
    let bad = |cause| RestoreError::Backup { path: plan.from.to_owned(), cause };
    let io = |cause: io::Error| RestoreError::Io { path: plan.from.to_owned(), cause };
    let mut reader = BackupReader::begin(open(plan.from)?, plan.trust, plan.key).map_err(bad)?;
    let (mut files, mut bytes) = (0, 0);
    {
        let mut archive = tar::Archive::new(&mut reader);
        for entry in archive.entries().map_err(io)? {
            let mut entry = entry.map_err(io)?;
            let path = entry.path().map_err(io)?.into_owned();
            match entry.header().entry_type() {
                tar::EntryType::Directory => restoring.folder(&path)?,
                tar::EntryType::Regular => {
                    let (modified_s, mode) = (entry.header().mtime().map_err(io)?, entry.header().mode().map_err(io)?);
                    bytes += restoring.file(&path, &mut entry, modified_s, mode & 0o100 != 0)?;
                    files += 1;
                }
                _ => return Err(RestoreError::OddEntry { path }),
            }
        }
    }
    // The end of the archive is not the end of the stream: the foot proves that nothing is missing.
    io::copy(&mut Read::by_ref(&mut reader), &mut io::sink()).map_err(io)?;
    reader.finish().map_err(bad)?;
    Ok((files, bytes))
}

impl Restored {
    /// As the command prints it.
    #[must_use]
    pub fn to_json(&self, now: Timestamp) -> Value {
        let old = &self.backup.head;
        let rows: Vec<Value> = self
            .lost
            .iter()
            .take(LOST_SHOWN)
            .map(|record| {
                json!({
                    "parcel": record.parcel.map(|id| id.to_string()),
                    "route": record.route,
                    "peer": record.peer,
                    "crossing": record.crossing.map(|crossing| crossing.name()),
                    "outcome": record.outcome.map(|outcome| outcome.name()),
                })
            })
            .collect();
        json!({
            "backup_of": old.at.to_string(),
            "age_h": now.since(old.at) / 3_600_000,
            "files": self.files,
            "bytes": self.bytes,
            "records": old.ledger.size,
            "former_log": old.ledger.log,
            "log": self.log,
            "papers": self.told.proven,
            "papers_passed_over": self.told.passed_over,
            "records_lost_at_least": self.told.lost_records(&old.ledger),
            "ledger_records_lost": count(&self.records_lost),
            "ledger_lost": ranges(&self.records_lost),
            "spoiled_drops": self.spoiled_drops,
            "lost": self.lost.len(),
            "lost_parcels": rows,
        })
    }
}

/// Reads the key that opens the backup.
pub fn opening_key(path: &Path, passphrase: Option<&str>) -> Result<OpeningKey, RestoreError> {
    let io = |cause| RestoreError::Io { path: path.to_owned(), cause };
    OpeningKey::from_pem(&key_text(path)?, passphrase).map_err(|error| io(io::Error::other(error.to_string())))
}

/// Reads the operator's key.
pub fn signing_key(path: &Path, passphrase: Option<&str>) -> Result<SigningKey, RestoreError> {
    let io = |cause| RestoreError::Io { path: path.to_owned(), cause };
    SigningKey::from_pem(&key_text(path)?, passphrase).map_err(|error| io(io::Error::other(error.to_string())))
}

fn key_text(path: &Path) -> Result<Zeroizing<String>, RestoreError> {
    let io = |cause| RestoreError::Io { path: path.to_owned(), cause };
    // As long as it may get, so that reading leaves no shorter copy behind.
    let mut text = Zeroizing::new(String::with_capacity(keys::KEY_FILE_BYTES_MAX));
    let file = File::open(path).map_err(io)?;
    file.take(keys::KEY_FILE_BYTES_MAX as u64).read_to_string(&mut text).map_err(io)?;
    Ok(text)
}
