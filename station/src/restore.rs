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
use protocol::der_types::Octets;
use protocol::keys::{self, OpeningKey, SigningKey};
use protocol::ledger::{Event, Local, Record};
use protocol::parcel::{Label, VERSION};
use protocol::receipt::Head;
use protocol::request::Request;
use protocol::trust::{Role, Use};
use protocol::{Name, ParcelId, Signed, Timestamp, Trust};
use serde_json::{Value, json};
use spool::restore::{Restoring, Succession, epoch_above};
use spool::{STATE_VERSION, Setup, SpoolError};

use crate::witness::Witness;

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
    #[error("the ledger in the backup has {} records, its head names {}, and their roots differ or their numbers do", found.size, named.size)]
    OtherLedger {
        /// From the records.
        found: Head,
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
    pub witness: Witness,
    /// Parcels that were here after the backup.
    pub lost: Vec<Record>,
}

/// Restores.
pub fn restore(plan: &RestorePlan<'_>) -> Result<Restored, RestoreError> {
    let (now, node, disk) = (plan.setup.now, &plan.setup.node, &plan.setup.disk);
    let person = operator(plan)?;
    let verified = prove(plan)?;
    let witness = Witness::read(plan.witnesses, plan.trust, node, now)
        .map_err(|cause| RestoreError::Io { path: plan.witnesses.first().cloned().unwrap_or_default(), cause })?;

    let old = &verified.head;
    let mut restoring = Restoring::begin(&plan.setup.root, node, old.log, disk)?;
    let (files, bytes) = unpack(plan, &mut restoring)?;
    // What was not in the backup because it was empty, and the modes of what apps and people share.
    spool::create(plan.setup)?;
    let found = restoring.old_head(old.suite)?;
    if found != old.ledger {
        return Err(RestoreError::OtherLedger { found, named: old.ledger });
    }

    let mut known: BTreeSet<ParcelId> = BTreeSet::new();
    let mut epoch = witness.epoch;
    restoring.records(&mut |record| {
        if matches!(record.event, Event::EpochStarted | Event::LogBegun) {
            epoch = epoch.max(record.epoch.unwrap_or(0));
        }
        known.extend(record.parcel.filter(|parcel| witness.parcels.contains_key(parcel)));
    })?;
    let lost: Vec<Record> = witness
        .parcels
        .iter()
        .filter(|(parcel, _)| !known.contains(*parcel))
        .map(|(_, record)| record.clone())
        .collect();

    let log = epoch_above(epoch, now);
    let request = request(plan, &person, &verified, log);
    let mut begun = Record::new(Event::LogBegun, now);
    begun.person = Some(person.clone());
    begun.through = Some(old.log);
    begun.sequence = Some(old.ledger.size);
    begun.digest = Some(old.ledger.root);
    begun.epoch = Some(log);
    begun.trip = Some(plan.last_trip).filter(|trip| *trip > 0);
    let mut answered = Record::new(Event::RequestAnswered, now);
    answered.person = Some(person);
    answered.digest = Some(request.0);
    let records = [begun, answered].into_iter().chain(lost.iter().cloned()).map(|record| (record, Local::none()));
    let succession = Succession {
        key: &plan.setup.key,
        log,
        records: records.collect(),
        request: &request.1,
        state_version: old.state_version,
    };
    restoring.finish(&succession)?;
    Ok(Restored { backup: verified, files, bytes, log, witness, lost })
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

/// The operator's word, as at any desk: what is restored, from what, and how the new log follows.
fn request(plan: &RestorePlan<'_>, person: &Name, verified: &Verified, log: u64) -> (protocol::Digest, Vec<u8>) {
    let old = &verified.head;
    let arguments = [
        ("log", log.to_string()),
        ("former", old.log.to_string()),
        ("size", old.ledger.size.to_string()),
        ("root", old.ledger.root.to_string()),
        ("backup", verified.digest.to_string()),
    ];
    let arguments =
        arguments.into_iter().filter_map(|(name, value)| Some(Label { name: Name::new(name).ok()?, value }));
    let request = Request {
        version: VERSION,
        id: Octets(keys::random()),
        node: plan.setup.node.clone(),
        action: Name::new("restore").expect("the word is a well-formed name"),
        person: person.clone(),
        at: plan.setup.now,
        arguments: arguments.collect(),
    };
    (request.id, Signed::make(plan.operator, &request).to_bytes())
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
            "former_log": old.log,
            "log": self.log,
            "papers": self.witness.proven,
            "papers_passed_over": self.witness.passed_over,
            "records_lost_at_least": self.witness.head.size.saturating_sub(old.ledger.size),
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

fn key_text(path: &Path) -> Result<String, RestoreError> {
    let io = |cause| RestoreError::Io { path: path.to_owned(), cause };
    let mut text = String::new();
    let file = File::open(path).map_err(io)?;
    file.take(keys::KEY_FILE_BYTES_MAX as u64).read_to_string(&mut text).map_err(io)?;
    Ok(text)
}
