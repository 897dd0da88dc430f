//! A copy of the node's state, sealed to a key and read back: a tar archive of one moment inside a sealed stream. Holds
//! ledger, queues, claimed drops, what stands in outlets, evidence, quarantine, trips, notices, switches and the config;
//! never a private key, nor the index, which is made again.
//!
//! Why it may die anywhere: it is written under a name that does not count, synced, renamed, and read back from the disk;
//! only then does the ledger say that it was made, and only then do older ones go, never the last that was read back.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use protocol::backup::{self, BackupPlan, BackupWriter, Verified};
use protocol::bundle::BundleError;
use protocol::id::new_id;
use protocol::keys::{self, SealingKey};
use protocol::ledger::{Event, Local, Record};
use protocol::receipt::{Head, Range};
use protocol::signer::Signatory;
use protocol::trust::{TrustError, Use};
use protocol::{Digest, Name, Timestamp, Trust};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use spool::disk::{PAGE_BYTES, is_unreadable};
use spool::restore::{SPOILED_DROPS, claimed_drop};
use spool::{Carried, Disk, Holding, Item, Spool, SpoolError};

use crate::alarm::{Alarm, Alarms};
use crate::clock::{Clock, is_due};
use crate::config::BackupSettings;
use crate::desk::{Refusal, read_small};
use crate::housekeeping::DAY_MS;
use crate::station::Station;

/// The suffix of a backup that counts, and of one that does not yet.
pub const SUFFIX: &str = "trilock-backup";
const UNFINISHED: &str = "part";
/// Written and read in pieces of this size.
const BUFFER_BYTES: usize = 1 << 20;
/// The state of backups is a few lines.
const STATE_BYTES_MAX: u64 = 64 * 1024;
/// Config, rules and cards: small files that people wrote.
const CONFIG_BYTES_MAX: u64 = 1 << 20;
/// Files of a folder of rules or cards.
const CONFIG_FILES_MAX: usize = 4_096;
const HOUR_MS: u64 = 60 * 60 * 1000;

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The config has no table for it.
    #[error("the config has no table [backup]")]
    NotSetUp,
    /// The folder is not there: perhaps a disk that is not mounted. It is never made, or the backup would land on the
    /// disk it is to be safe from.
    #[error("the backup folder {path} is not there; mount its disk or make it")]
    NoFolder {
        /// The folder.
        path: PathBuf,
    },
    /// The key.
    #[error("the backup key \"{key}\": {cause}")]
    Key {
        /// As the config names it.
        key: String,
        /// Why not.
        cause: String,
    },
    /// The spool.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// A file.
    #[error("{path}: {cause}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// Sealing, or reading it back.
    #[error("{path}: {cause}")]
    Sealed {
        /// Which.
        path: PathBuf,
        /// Why not.
        cause: BundleError,
    },
    /// What was read back is another backup than was written.
    #[error("{path} reads back as backup {found}, written was {written}; the disk lies")]
    Other {
        /// The file.
        path: PathBuf,
        /// Its head's digest.
        found: Digest,
        /// What was written.
        written: Digest,
    },
    /// The daemon is stopping.
    #[error("the daemon stopped before the backup was done; nothing of it counts")]
    Stopped,
}

/// One backup that was written and read back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Good {
    /// The file.
    pub file: PathBuf,
    /// The moment it shows.
    pub at_ms: u64,
    /// Bytes.
    pub bytes: u64,
    /// Records of the ledger in it.
    pub records: u64,
    /// Files in it.
    pub files: u64,
    /// How long it took.
    pub took_ms: u64,
    /// The digest of its head, as the ledger names it.
    pub digest: String,
    /// Claimed drops and files that are not in it: links among them, or gone before they were read from a mount that
    /// gives no second names.
    pub left_out: u64,
    /// Files in it of which the disk did not read everything: zeros stand there, or the file is not in it.
    #[serde(default)]
    pub spoiled: u64,
    /// Records of the ledger in it that are lost: nobody can read them, or they are not what the tree says.
    #[serde(default)]
    pub records_lost: u64,
    /// Why nothing can be restored from it, where that is so: its ledger does not give the head that its checkpoint names.
    #[serde(default)]
    pub not_restorable: Option<String>,
}

impl Good {
    /// Is there nothing wrong with what is in it?
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.spoiled == 0 && self.not_restorable.is_none()
    }
}

/// What was written, before it is read back.
struct Written {
    /// Of the head.
    digest: Digest,
    files: u64,
    left_out: u64,
    spoiled: u64,
    /// The head that the ledger in it must have.
    head: Head,
    /// What its records and its tree give.
    holding: Holding,
}

/// How it stands with backups: `status/backup.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupState {
    /// `running`, `done` or `failed`; empty before the first.
    pub state: String,
    /// The request that asked for the last one.
    pub request: String,
    /// Why it failed.
    pub error: Option<String>,
    /// The last one that was read back.
    pub good: Option<Good>,
    /// The moment of the last one from which something can be restored.
    #[serde(default)]
    pub restorable_at_ms: Option<u64>,
    /// The file of the last one with nothing wrong in it: it stays for as long as the later ones have holes.
    #[serde(default)]
    pub whole: Option<PathBuf>,
}

/// The backups of one station: at most one is made at a time.
pub struct Backups {
    settings: Option<BackupSettings>,
    running: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Backups {
    pub(crate) fn new(settings: Option<BackupSettings>) -> Backups {
        let (running, stop) = (Arc::default(), Arc::default());
        Backups { settings, running, stop, thread: Mutex::default() }
    }
}

impl Drop for Backups {
    fn drop(&mut self) {
        // Its thread holds the spool, and with it the lock that a reload must take again.
        self.stop.store(true, Ordering::SeqCst);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the backup ended in a panic");
        }
    }
}

/// Everything one backup needs, apart from the station it was asked of.
pub struct Job {
    spool: Spool,
    node: Name,
    key: Signatory,
    trust: Arc<Trust>,
    alarms: Alarms,
    clock: Arc<Clock>,
    settings: Option<BackupSettings>,
    rules: PathBuf,
    cards: PathBuf,
    stop: Arc<AtomicBool>,
    request: String,
}

impl Job {
    /// A backup of a station, asked for by a request.
    #[must_use]
    pub fn of(station: &Station, request: Digest) -> Job {
        Job {
            spool: station.spool.clone(),
            node: station.node.clone(),
            key: station.keyring.signing.clone(),
            trust: Arc::clone(&station.trust),
            alarms: station.alarms.clone(),
            clock: Arc::clone(&station.clock),
            settings: station.backups.settings.clone(),
            rules: station.settings.rules.clone(),
            cards: station.settings.trust.clone(),
            stop: Arc::clone(&station.backups.stop),
            request: request.to_string(),
        }
    }

    /// Makes it, and leaves word of it in `status/backup.json`.
    pub fn run(&self, clock: impl Fn() -> Timestamp) -> Result<Good, BackupError> {
        let mut told = read_state(&self.spool);
        (told.state, told.error) = ("running".to_owned(), None);
        if told.whole.is_none() {
            told.whole = told.good.as_ref().filter(|good| good.is_whole()).map(|good| good.file.clone());
        }
        told.request.clone_from(&self.request);
        self.write_state(&told)?;
        match self.make(told.whole.as_deref(), &clock) {
            Ok(good) => {
                self.alarms.stands(clock(), Alarm::BackupFailed, !good.is_whole());
                "done".clone_into(&mut told.state);
                if good.not_restorable.is_none() {
                    told.restorable_at_ms = Some(good.at_ms);
                }
                if good.is_whole() {
                    told.whole = Some(good.file.clone());
                }
                told.good = Some(good.clone());
                self.write_state(&told)?;
                tracing::info!(file = %good.file.display(), bytes = good.bytes, records = good.records, took_ms = good.took_ms, "backup made and read back");
                Ok(good)
            }
            Err(error) => {
                self.alarms.raise(clock(), Alarm::BackupFailed);
                tracing::error!(%error, "no backup was made");
                (told.state, told.error) = ("failed".to_owned(), Some(error.to_string()));
                self.write_state(&told)?;
                Err(error)
            }
        }
    }

    fn make(&self, whole: Option<&Path>, clock: &impl Fn() -> Timestamp) -> Result<Good, BackupError> {
        let settings = self.settings.as_ref().ok_or(BackupError::NotSetUp)?;
        if !settings.folder.is_dir() {
            return Err(BackupError::NoFolder { path: settings.folder.clone() });
        }
        let recipient = sealing_key(settings, &self.trust)?;
        self.clear_unfinished(settings)?;
        let at = clock();
        let stamp: String = at.to_string().chars().filter(|c| !matches!(c, '-' | ':')).collect();
        let target = settings.folder.join(format!("{}-{stamp}.{SUFFIX}", self.node));
        let aside = target.with_extension(UNFINISHED);
        let written = match self.write(&aside, &recipient, at) {
            Ok(written) => written,
            Err(error) => {
                // What cannot be removed now is cleared before the next one.
                let _left = self.spool.disk().remove_file(&aside);
                return Err(error);
            }
        };
        let io = |cause| BackupError::Io { path: target.clone(), cause };
        self.spool.disk().rename(&aside, &target).map_err(io)?;
        let verified = match self.read_back(&target, &written.digest) {
            Ok(verified) => verified,
            // Written, and read by nobody: the next one clears it away.
            Err(BackupError::Stopped) => {
                self.spool.disk().rename(&target, &aside).map_err(io)?;
                return Err(BackupError::Stopped);
            }
            Err(error) => {
                // Out of the way of whoever looks for the newest backup at night.
                self.spool.disk().rename(&target, &target.with_extension("bad")).map_err(io)?;
                return Err(error);
            }
        };
        let now = clock();
        let mut record = Record::new(Event::BackupMade, now);
        record.digest = Some(verified.digest);
        record.through = Some(written.head.size);
        record.bytes = Some(verified.bytes);
        self.spool.record(record, Local::none())?;
        let not_restorable = not_restorable(&written);
        if let Some(words) = &not_restorable {
            tracing::error!(file = %target.display(), words, "nothing can be restored from this backup; older ones are kept");
        }
        let good = Good {
            file: target,
            at_ms: at.0,
            bytes: verified.bytes,
            records: written.head.size,
            files: written.files,
            took_ms: now.since(at),
            digest: verified.digest.to_string(),
            left_out: written.left_out,
            spoiled: written.spoiled,
            records_lost: count(&written.holding.lost),
            not_restorable,
        };
        // One with holes must not be the reason why the last whole one goes, nor keep all others on a disk that fills.
        match (good.is_whole(), whole.filter(|whole| whole.exists())) {
            (true, _) => self.prune(settings, &[&good.file], now)?,
            (false, Some(whole)) if good.not_restorable.is_none() => {
                self.prune(settings, &[&good.file, whole], now)?;
            }
            (false, _) => {}
        }
        Ok(good)
    }

    /// Writes and syncs.
    fn write(&self, aside: &Path, recipient: &SealingKey, at: Timestamp) -> Result<Written, BackupError> {
        let io = |cause| BackupError::Io { path: aside.to_owned(), cause };
        let sealed = |cause| BackupError::Sealed { path: aside.to_owned(), cause };
        let disk = self.spool.disk();
        let file = disk.create(aside).map_err(io)?;
        rustix::fs::fchmod(&file, rustix::fs::Mode::from_raw_mode(0o600)).map_err(|error| io(error.into()))?;
        let snapshot = self.spool.snapshot()?;
        let plan = BackupPlan {
            id: new_id(at, keys::random()),
            node: &self.node,
            at,
            state_version: snapshot.state_version(),
            ledger: snapshot.head,
            key: &self.key,
            recipient,
        };
        let out = BufWriter::with_capacity(BUFFER_BYTES, file);
        let writer = BackupWriter::begin(&plan, out).map_err(sealed)?;
        let mut archive = Archive {
            tar: tar::Builder::new(writer),
            files: 0,
            gone: 0,
            spoiled: 0,
            drops: BTreeSet::new(),
            at,
            stop: &self.stop,
            disk,
        };
        archive.bytes(Path::new("ledger/checkpoint"), snapshot.checkpoint.as_bytes()).map_err(io)?;
        self.config_into(&mut archive).map_err(io)?;
        let mut ledger = Carried::default();
        snapshot.each(|item| {
            let zeros = archive.item(&item)?;
            ledger.take(&item, &zeros);
            Ok::<(), BackupError>(())
        })?;
        let drops: Vec<&[u8]> = archive.drops.iter().map(|drop| drop.as_os_str().as_bytes()).collect();
        if !drops.is_empty() {
            let list = drops.join(&0);
            archive.bytes(Path::new(SPOILED_DROPS), &list).map_err(io)?;
        }
        let (files, left_out, spoiled) = (archive.files, archive.gone + snapshot.left_out, archive.spoiled);
        let writer = archive.tar.into_inner().map_err(io)?;
        let (out, digest, _) = writer.finish().map_err(sealed)?;
        let file = out.into_inner().map_err(|error| io(error.into_error()))?;
        disk.sync_file(&file).map_err(io)?;
        // As a restore will: whoever seals it cannot open it again.
        let holding = ledger.holds(disk, self.spool.ledger_suite(), &snapshot.head)?;
        Ok(Written { digest, files, left_out, spoiled, head: snapshot.head, holding })
    }

    /// Config, rules and cards: what a new machine needs besides the keys. No file that holds a private key is among
    /// them, whatever folder it was put into.
    fn config_into<W: Write>(&self, archive: &mut Archive<'_, W>) -> io::Result<()> {
        let mut wanted: Vec<(PathBuf, PathBuf)> = Vec::new();
        if let Some(path) = self.settings.as_ref().and_then(|settings| settings.config_file.as_ref()) {
            wanted.push((Path::new("config").join(path.file_name().unwrap_or_default()), path.clone()));
        }
        for (name, folder) in [("rules", &self.rules), ("trust", &self.cards)] {
            // A simulated office has no such folders.
            let Ok(entries) = std::fs::read_dir(folder) else { continue };
            for entry in entries.take(CONFIG_FILES_MAX) {
                let path = entry?.path();
                wanted.push((Path::new("config").join(name).join(path.file_name().unwrap_or_default()), path));
            }
        }
        for (name, path) in wanted {
            let Ok(bytes) = read_small(&path, CONFIG_BYTES_MAX) else { continue };
            if !holds_private_key(&bytes) {
                archive.bytes(&name, &bytes)?;
            }
        }
        Ok(())
    }

    /// Reads the file from the disk, not from memory, and proves it with public keys.
    fn read_back(&self, path: &Path, written: &Digest) -> Result<Verified, BackupError> {
        let io = |cause| BackupError::Io { path: path.to_owned(), cause };
        let file = File::open(path).map_err(io)?;
        // Advice only: where the kernel keeps the pages all the same, the sync has told of errors.
        let _advice = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
        let mut input = BufReader::with_capacity(
            BUFFER_BYTES,
            UntilStopped { file, at: 0, disk: self.spool.disk(), stop: &self.stop },
        );
        let verified = backup::verify(&mut input, &self.trust).map_err(|cause| {
            if self.stop.load(Ordering::SeqCst) {
                BackupError::Stopped
            } else {
                BackupError::Sealed { path: path.to_owned(), cause }
            }
        })?;
        if verified.digest != *written {
            return Err(BackupError::Other { path: path.to_owned(), found: verified.digest, written: *written });
        }
        Ok(verified)
    }

    /// Ours in the folder, by name and so by time.
    fn own(&self, settings: &BackupSettings, suffix: &str) -> Result<Vec<PathBuf>, BackupError> {
        let io = |cause| BackupError::Io { path: settings.folder.clone(), cause };
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&settings.folder).map_err(io)? {
            let path = entry.map_err(io)?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            let ours = stem.rsplit_once('-').is_some_and(|(node, _)| node == self.node.as_str());
            if ours && path.extension().is_some_and(|found| found == suffix) {
                found.push(path);
            }
        }
        found.sort();
        Ok(found)
    }

    fn clear_unfinished(&self, settings: &BackupSettings) -> Result<(), BackupError> {
        for path in self.own(settings, UNFINISHED)? {
            self.spool.disk().remove_file(&path).map_err(|cause| BackupError::Io { path, cause })?;
        }
        Ok(())
    }

    /// Removes what is older than it is to be kept, unless the clock is in doubt. These stay, whatever the clock says.
    fn prune(&self, settings: &BackupSettings, stay: &[&Path], now: Timestamp) -> Result<(), BackupError> {
        if !self.clock.may_end_things() {
            return Ok(());
        }
        for path in self.own(settings, SUFFIX)?.into_iter().filter(|path| !stay.contains(&path.as_path())) {
            let io = |cause| BackupError::Io { path: path.clone(), cause };
            let made = File::open(&path).map_err(io)?;
            // By its own word, not by a file time that a copy changes; what cannot be read is left for a person.
            let Ok(head) = backup::peek(&mut BufReader::new(made)) else { continue };
            if now.since(head.at) > u64::from(settings.keep_days) * DAY_MS {
                self.spool.disk().remove_file(&path).map_err(io)?;
            }
        }
        Ok(())
    }

    fn write_state(&self, state: &BackupState) -> Result<(), BackupError> {
        let path = state_file(&self.spool);
        let io = |cause| BackupError::Io { path: path.clone(), cause };
        let text = serde_json::to_vec_pretty(state).map_err(|error| io(error.into()))?;
        self.spool.disk().write(&path, &text).map_err(io)
    }
}

/// Says why no restore of it can come to its end, where that is so.
fn not_restorable(written: &Written) -> Option<String> {
    let (found, named) = (&written.holding.head, &written.head);
    (found != named).then(|| missing(&written.holding, named))
}

/// What a ledger lacks that does not give the head that is named.
pub(crate) fn missing(holding: &Holding, named: &Head) -> String {
    let (found, size) = (holding.head.size, named.size);
    if found != size {
        return format!("its ledger has {found} records, its checkpoint names {size}");
    }
    if holding.unknown.is_empty() {
        return format!(
            "the root over its {size} records is not the checkpoint's, and no record is known to be lost: one of them was changed, or a digest of one that is lost"
        );
    }
    let lost = ranges(&holding.unknown);
    format!("records {lost} cannot be read, and neither can enough of the tree above them")
}

/// How many records.
pub(crate) fn count(ranges: &[Range]) -> u64 {
    ranges.iter().map(|range| range.to.saturating_sub(range.from).saturating_add(1)).sum()
}

/// In words, the first few.
pub(crate) fn ranges(all: &[Range]) -> String {
    const SHOWN: usize = 8;
    let one = |range: &Range| {
        if range.from == range.to { range.from.to_string() } else { format!("{}-{}", range.from, range.to) }
    };
    let shown: Vec<String> = all.iter().take(SHOWN).map(one).collect();
    let more = all.len().saturating_sub(SHOWN);
    shown.join(", ") + &if more == 0 { String::new() } else { format!(" and {more} more stretches") }
}

fn holds_private_key(bytes: &[u8]) -> bool {
    const MARK: &[u8] = b"PRIVATE KEY-----";
    bytes.windows(MARK.len()).any(|window| window == MARK)
}

/// The key that the config names: a holder's newest sealing card, or the card in a file.
pub fn sealing_key(settings: &BackupSettings, trust: &Trust) -> Result<SealingKey, BackupError> {
    let bad = |cause: String| BackupError::Key { key: settings.key.clone(), cause };
    let of_card = |trust: &Trust, holder: &Name| {
        let card = trust.current(holder, Use::Seal).map_err(|error: TrustError| bad(error.to_string()))?;
        SealingKey::from_spki(&card.spki).map_err(|error| bad(error.to_string()))
    };
    if !settings.key.contains('/') {
        return of_card(trust, &Name::new(&settings.key).map_err(|error| bad(error.to_string()))?);
    }
    let bytes = read_small(Path::new(&settings.key), protocol::keys::KEY_FILE_BYTES_MAX as u64);
    let text =
        String::from_utf8(bytes.map_err(|error| bad(error.to_string()))?).map_err(|error| bad(error.to_string()))?;
    let mut alone = Trust::default();
    alone.add(&settings.key, &text).map_err(|error| bad(error.to_string()))?;
    let holder = alone.cards().next().map(|card| card.holder.clone());
    of_card(&alone, &holder.ok_or_else(|| bad("it is no key card".to_owned()))?)
}

/// The archive under way.
struct Archive<'a, W: Write> {
    tar: tar::Builder<W>,
    files: u64,
    gone: u64,
    spoiled: u64,
    /// Claimed drops that are not whole in it.
    drops: BTreeSet<PathBuf>,
    at: Timestamp,
    stop: &'a AtomicBool,
    disk: &'a Disk,
}

impl<W: Write> Archive<'_, W> {
    fn header(&self, kind: tar::EntryType, bytes: u64, mode: u32) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(bytes);
        header.set_mode(mode);
        header.set_mtime(self.at.seconds());
        header
    }

    fn bytes(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut header = self.header(tar::EntryType::Regular, bytes.len() as u64, 0o600);
        self.files += 1;
        self.tar.append_data(&mut header, path, bytes)
    }

    /// Answers for which of its pages zeros were written.
    fn item(&mut self, item: &Item) -> Result<Vec<u64>, BackupError> {
        use io::ErrorKind::{InvalidData, NotFound};
        if self.stop.load(Ordering::SeqCst) {
            return Err(BackupError::Stopped);
        }
        let io = |cause| BackupError::Io { path: item.source.clone(), cause };
        if item.folder {
            let mut header = self.header(tar::EntryType::Directory, 0, 0o700);
            return self.tar.append_data(&mut header, &item.path, io::empty()).map_err(io).map(|()| Vec::new());
        }
        let file = match open_listed(item) {
            Err(error) if is_unreadable(&error) => {
                self.spoil(item);
                return Ok(Vec::new());
            }
            // What stands there now is another thing than was listed: a link, a pipe.
            Err(error) if matches!(error.kind(), NotFound | InvalidData) => {
                self.gone += 1;
                return Ok(Vec::new());
            }
            other => other.map_err(io)?,
        };
        let meta = file.metadata().map_err(io)?;
        let bytes = item.bytes.unwrap_or(meta.len());
        let mut header =
            self.header(tar::EntryType::Regular, bytes, if meta.mode() & 0o100 == 0 { 0o600 } else { 0o700 });
        header.set_mtime(u64::try_from(meta.mtime()).unwrap_or(0));
        self.files += 1;
        let file = UntilStopped { file, at: 0, disk: self.disk, stop: self.stop };
        let mut content = Exactly { file, left: bytes, at: 0, short: false, zeros: Vec::new() };
        self.tar
            .append_data(&mut header, &item.path, &mut content)
            .map_err(|cause| if self.stop.load(Ordering::SeqCst) { BackupError::Stopped } else { io(cause) })?;
        if !content.zeros.is_empty() {
            self.spoil(item);
        } else if content.short {
            self.drops.extend(claimed_drop(&item.path));
        }
        Ok(content.zeros)
    }

    /// One bad sector must not end every backup just when the disk dies: the rest is what a backup is for.
    fn spoil(&mut self, item: &Item) {
        self.spoiled += 1;
        self.drops.extend(claimed_drop(&item.path));
        tracing::error!(path = %item.path.display(), "a backup has zeros for what the disk does not read any more");
    }
}

/// Opens what was listed a while ago. What has no second name of ours lies where its app may exchange it, or the folder
/// it stands in, for a link to anything, a private key among it: it must still stand where it was listed.
fn open_listed(item: &Item) -> io::Result<File> {
    use std::os::fd::AsRawFd as _;
    let opened = Path::new("/proc/self/fd");
    if item.source.starts_with(opened) {
        return File::open(&item.source);
    }
    let file = spool::disk::open_plain(&item.source)?;
    let root = item.source.ancestors().nth(item.path.components().count());
    if let Some(root) = root.filter(|root| root.join(&item.path) == item.source) {
        // Down to here only the node's own account decides what stands there, and it may be a mount or a link to one.
        let top: PathBuf = item.path.components().take(2).collect();
        let below = item.path.strip_prefix(&top).map_err(io::Error::other)?;
        let there = root.join(&top).canonicalize()?.join(below);
        if std::fs::read_link(opened.join(file.as_raw_fd().to_string()))? != there {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    Ok(file)
}

/// As many bytes as were there at the moment: what was appended since is left away, and what is missing (only ever of a
/// bundle that was still being written, which a start throws away) is filled. So is a page that the disk does not read.
struct Exactly<R> {
    file: R,
    left: u64,
    at: u64,
    /// Was there less than there had been?
    short: bool,
    /// The pages that were filled.
    zeros: Vec<u64>,
}

impl<R: Read + Seek> Read for Exactly<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(out.len());
        let Some(out) = out.get_mut(..most).filter(|out| !out.is_empty()) else { return Ok(0) };
        let read = match self.file.read(out) {
            Ok(0) => {
                out.fill(0);
                self.short = true;
                most
            }
            Err(error) if is_unreadable(&error) => {
                let page = PAGE_BYTES - self.at % PAGE_BYTES;
                let page = out.iter_mut().take(usize::try_from(page).unwrap_or(usize::MAX));
                let filled = page.map(|byte| *byte = 0).count();
                self.file.seek(SeekFrom::Start(self.at + filled as u64))?;
                let page = self.at / PAGE_BYTES;
                if self.zeros.last() != Some(&page) {
                    self.zeros.push(page);
                }
                filled
            }
            other => other?,
        };
        (self.left, self.at) = (self.left - read as u64, self.at + read as u64);
        Ok(read)
    }
}

/// A file that a daemon on its way out reads no further: a backup is gigabytes, and systemd waits for seconds.
struct UntilStopped<'a> {
    file: File,
    at: u64,
    disk: &'a Disk,
    stop: &'a AtomicBool,
}

impl Read for UntilStopped<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::SeqCst) {
            return Err(io::Error::other("stopped"));
        }
        let read = self.disk.read_some(&self.file, out, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for UntilStopped<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = self.file.seek(to)?;
        Ok(self.at)
    }
}

fn state_file(spool: &Spool) -> PathBuf {
    spool.layout().status().join("backup.json")
}

/// How it stands; nothing where there was never one.
#[must_use]
pub fn read_state(spool: &Spool) -> BackupState {
    let bytes = read_small(&state_file(spool), STATE_BYTES_MAX).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// Starts a backup beside the stages. The answer is only that it began; its end stands in `status/backup.json`.
pub(crate) fn start(station: &Station, request: Digest) -> Result<Value, Refusal> {
    let backups = &station.backups;
    if backups.settings.is_none() {
        return Err(Refusal::new(
            "no-backup",
            "the config has no table [backup]: name a folder on another disk, and a key",
            "配置中没有 [backup]：请指定另一磁盘上的目录与密钥",
        ));
    }
    if backups.running.swap(true, Ordering::SeqCst) {
        return Err(Refusal::new("backup-running", "a backup is being made already", "已有备份正在进行"));
    }
    let job = Job::of(station, request);
    let running = Arc::clone(&backups.running);
    let run = move || {
        // Logged, alarmed and written down there.
        let _made = job.run(|| job.clock.last());
        drop(job);
        running.store(false, Ordering::SeqCst);
    };
    match std::thread::Builder::new().name("backup".to_owned()).spawn(run) {
        Ok(thread) => {
            *backups.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
            Ok(json!({ "started": true, "request": request.to_string() }))
        }
        Err(error) => {
            backups.running.store(false, Ordering::SeqCst);
            Err(Refusal::new("no-thread", &format!("no thread for the backup: {error}"), "无法启动备份线程"))
        }
    }
}

/// For `status`: the last good one with its age, and whether one is due.
pub(crate) fn snapshot(station: &Station, now: Timestamp) -> Value {
    let state = read_state(&station.spool);
    let Some(settings) = &station.backups.settings else { return json!({ "state": "not set up" }) };
    let good = state.good.map(|good| {
        let age_h = now.since(Timestamp(good.at_ms)) / HOUR_MS;
        json!({ "file": good.file, "age_h": age_h, "bytes": good.bytes, "records": good.records, "took_ms": good.took_ms, "spoiled": good.spoiled,
            "records_lost": good.records_lost, "not_restorable": good.not_restorable })
    });
    json!({ "state": state.state, "error": state.error, "last_good": good, "overdue_after_h": settings.overdue_h })
}

/// Raises and clears the alarm about the age of the last good one. A node counts from its start until its first.
pub(crate) fn watch(station: &Station, since: Timestamp, now: Timestamp) {
    let Some(settings) = &station.backups.settings else { return };
    let state = read_state(&station.spool);
    let restorable = state.good.filter(|good| good.not_restorable.is_none()).map(|good| good.at_ms);
    let last = state.restorable_at_ms.or(restorable).map_or(since, Timestamp);
    let overdue = is_due(now, last, u64::from(settings.overdue_h) * HOUR_MS);
    station.alarms.stands(now, Alarm::BackupOverdue, overdue);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a test lays a file")]
    fn a_file_of_any_size_is_read_no_further_once_the_daemon_stops() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("node.backup");
        std::fs::write(&path, [7; 64]).unwrap();
        let stop = AtomicBool::new(false);
        let mut reading = UntilStopped { file: File::open(&path).unwrap(), at: 0, disk: &Disk::real(), stop: &stop };
        let mut piece = [0; 8];
        assert_eq!(reading.read(&mut piece).unwrap(), 8);
        stop.store(true, Ordering::SeqCst);
        assert!(reading.read(&mut piece).is_err());
    }

    /// Bytes of which one page cannot be read.
    struct Worn(io::Cursor<Vec<u8>>, u64);

    impl Read for Worn {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let (at, bad) = (self.0.position(), self.1 * PAGE_BYTES..(self.1 + 1) * PAGE_BYTES);
            if bad.contains(&at) {
                return Err(rustix::io::Errno::IO.into());
            }
            let most = if at < bad.start { bad.start - at } else { u64::MAX };
            let most = usize::try_from(most).unwrap_or(usize::MAX).min(out.len());
            self.0.read(&mut out[..most])
        }
    }

    impl Seek for Worn {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.0.seek(to)
        }
    }

    #[test]
    fn a_page_that_cannot_be_read_costs_itself_and_no_backup() {
        for (bad, buffer) in [(0, 512), (1, 512), (1, 4096), (2, 5000), (2, 100_000)] {
            let bytes = vec![7; 3 * 4096];
            let file = Worn(io::Cursor::new(bytes.clone()), bad);
            let mut content = Exactly { file, left: 3 * PAGE_BYTES, at: 0, short: false, zeros: Vec::new() };
            let (mut all, mut piece) = (Vec::new(), vec![0; buffer]);
            loop {
                match content.read(&mut piece).unwrap() {
                    0 => break,
                    read => all.extend_from_slice(&piece[..read]),
                }
            }
            let mut wanted = bytes;
            wanted[bad as usize * 4096..][..4096].fill(0);
            assert!(all == wanted && content.zeros == [bad], "page {bad} by {buffer} bytes");
        }
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "an app exchanges a folder for a link")]
    fn a_backup_reads_nothing_through_a_link_that_took_the_place_of_what_was_listed() {
        let root = tempfile::tempdir().unwrap();
        let (drop, keys) = (root.path().join("inlet/cases/drop"), root.path().join("keys"));
        for folder in [&drop, &keys] {
            std::fs::create_dir_all(folder).unwrap();
            std::fs::write(folder.join("node.key"), b"1").unwrap();
        }
        let path = PathBuf::from("inlet/cases/drop/node.key");
        let item = Item { source: root.path().join(&path), path, folder: false, bytes: Some(1) };
        open_listed(&item).unwrap();
        std::fs::rename(&drop, root.path().join("inlet/cases/moved")).unwrap();
        std::os::unix::fs::symlink(&keys, &drop).unwrap();
        assert_eq!(open_listed(&item).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let second = Item { source: root.path().join("link"), ..item };
        std::os::unix::fs::symlink(keys.join("node.key"), &second.source).unwrap();
        assert_eq!(open_listed(&second).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
