//! The side that takes files from the gate. Told the time; a file is taken when two looks in a row see it unchanged
//! and its own bytes say that it is whole.
//!
//! ```text
//! new or changed -> wait      unchanged, not whole -> wait (the gate still writes), "stuck" after an hour
//! unchanged, whole -> arrivals, then gone from the folder      here already -> gone from the folder
//! ```
//! It may die anywhere: the move into the arrivals is the commit, and a file seen again is a duplicate. Whether a
//! file is genuine is found out at admission; here it only has to be complete, so that nothing half ever counts.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use protocol::oneway::FolderBeacon;
use protocol::receipt::ReceiptBatch;
use protocol::signed::{Signed, Statement};
use protocol::{BundleId, Crossing, Name, Timestamp, Trust, bundle};
use spool::{EntryKind, Spool, SpoolError};

use crate::Link;
use crate::names::Named;
use crate::settings::{BadSettings, Settings};

/// Files looked at in one step. A gate that piles up more is taken from in turns.
const LISTING_MAX: usize = 65_536;
/// A file that is not whole for so long is shown as stuck. It stays: the gate may be slow, and it is not ours to judge.
const STUCK_AFTER_MS: u64 = 3_600_000;
/// A beacon that cannot be believed for so long is removed, for another one comes soon.
const BEACON_KEPT_MS: u64 = 60_000;
/// No beacon for so long is silence: eighteen of the default interval, for a gate may work in batches.
const SILENCE_AFTER_MS: u64 = 180_000;

/// Why a step went wrong. The next one tries again.
#[derive(Debug, thiserror::Error)]
pub enum IncomingError {
    /// The arrivals.
    #[error("{0}")]
    Spool(#[from] SpoolError),
    /// A directory or file.
    #[error("{path}: {cause}", path = .path.display())]
    Disk {
        /// Which.
        path: PathBuf,
        /// The system's words.
        cause: io::Error,
    },
}

/// What it shows of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IncomingStatus {
    /// Files of entries taken since the start, those that were here already among them.
    pub taken: u64,
    /// Files of ours that are not whole or not stable yet.
    pub waiting: u64,
    /// Of these, files that have not changed for an hour.
    pub stuck: u64,
    /// Files larger than `bytes_max`; they stay.
    pub too_large: u64,
    /// Files and folders that are not ours; they stay.
    pub foreign: u64,
    /// Beacons believed.
    pub beacons: u64,
    /// Beacons that nobody here believes.
    pub beacons_refused: u64,
    /// When the last one was taken, by our clock.
    pub last_beacon: Option<Timestamp>,
    /// How far the sender's clock is ahead, less the way through the gate.
    pub skew_ms: i64,
    /// No beacon for three minutes.
    pub silent: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Look {
    bytes: u64,
    changed: Option<SystemTime>,
}

/// The taking side.
pub struct Incoming {
    spool: Spool,
    crossing: Crossing,
    peer: Name,
    trust: Arc<Trust>,
    folder: PathBuf,
    settings: Settings,
    seen: HashMap<String, (Look, Timestamp)>,
    newest: (u32, u64),
    since: Timestamp,
    status: IncomingStatus,
}

impl Incoming {
    /// Looks at nothing yet.
    pub fn open(link: &Link, settings: &Settings, now: Timestamp) -> Result<Incoming, IncomingError> {
        let (folder, crossing) = match (&settings.incoming, link.inbound) {
            (Some(folder), Some(crossing)) => (folder.clone(), crossing),
            _ => return Err(at(Path::new("incoming"))(io::Error::other(BadSettings::NoCrossing("incoming")))),
        };
        Ok(Incoming {
            spool: link.spool.clone(),
            crossing,
            peer: link.peer.clone(),
            trust: link.trust.clone(),
            folder,
            settings: settings.clone(),
            seen: HashMap::new(),
            newest: (0, 0),
            since: now,
            status: IncomingStatus::default(),
        })
    }

    /// One look at the folder.
    pub fn step(&mut self, now: Timestamp) -> Result<(), IncomingError> {
        let mut seen = HashMap::new();
        (self.status.waiting, self.status.stuck, self.status.too_large, self.status.foreign) = (0, 0, 0, 0);
        let listing = std::fs::read_dir(&self.folder).map_err(at(&self.folder))?;
        let mut trouble = None;
        for file in listing.take(LISTING_MAX) {
            let file = file.map_err(at(&self.folder))?;
            let path = file.path();
            let about = match std::fs::symlink_metadata(&path) {
                Ok(about) => about,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(at(&path)(error)),
            };
            let name = file.file_name().into_string().ok();
            let named = name.as_deref().and_then(|name| Named::parse(name, &self.settings.suffix));
            let (Some(name), Some(named)) = (name, named.filter(|_| about.is_file())) else {
                self.status.foreign += 1;
                continue;
            };
            let look = Look { bytes: about.len(), changed: about.modified().ok() };
            if look.bytes > self.settings.bytes_max {
                self.status.too_large += 1;
                continue;
            }
            let (stable, since) = match self.seen.get(&name) {
                Some((before, since)) if *before == look => (true, *since),
                _ => (false, now),
            };
            match if stable { self.take(named, &path, now, since) } else { Ok(false) } {
                Ok(true) => continue,
                Ok(false) => {}
                // One bad file must not hold up those behind it.
                Err(error) => trouble = Some(error),
            }
            self.status.waiting += 1;
            self.status.stuck += u64::from(now.since(since) >= STUCK_AFTER_MS);
            seen.insert(name, (look, since));
        }
        self.seen = seen;
        self.status.silent = now.since(self.status.last_beacon.unwrap_or(self.since)) >= SILENCE_AFTER_MS;
        trouble.map_or(Ok(()), Err)
    }

    /// What it shows of itself.
    #[must_use]
    pub fn status(&self) -> IncomingStatus {
        self.status
    }

    /// True when the file is dealt with and gone.
    fn take(&mut self, named: Named, path: &Path, now: Timestamp, since: Timestamp) -> Result<bool, IncomingError> {
        match named {
            Named::Entry(id, kind) => self.take_entry(id, kind, path),
            Named::Beacon { epoch, number } => self.take_beacon((epoch, number), path, now, since),
        }
    }

    fn take_entry(&mut self, id: BundleId, kind: EntryKind, path: &Path) -> Result<bool, IncomingError> {
        if !is_whole(id, kind, path).map_err(at(path))? {
            return Ok(false);
        }
        // One that is here already is only removed: a duplicate costs nothing else.
        self.spool.arrivals(self.crossing).take_file(&id, kind, path)?;
        self.spool.disk().remove_file(path).map_err(at(path))?;
        self.status.taken += 1;
        Ok(true)
    }

    fn take_beacon(
        &mut self,
        named: (u32, u64),
        path: &Path,
        now: Timestamp,
        since: Timestamp,
    ) -> Result<bool, IncomingError> {
        let believed = match read_small(path, FolderBeacon::BYTES_MAX).map_err(at(path))? {
            Some(bytes) => self.believe(&bytes).filter(|said| (said.epoch, said.number) == named),
            None => None,
        };
        let Some(said) = believed else {
            if now.since(since) < BEACON_KEPT_MS {
                return Ok(false);
            }
            self.status.beacons_refused += 1;
            self.spool.disk().remove_file(path).map_err(at(path))?;
            return Ok(true);
        };
        for number in &said.pulse.next {
            self.spool.announce(&self.peer, self.crossing, number.epoch, number.next);
        }
        if named > self.newest {
            self.newest = named;
            self.status.beacons += 1;
            self.status.last_beacon = Some(now);
            self.status.skew_ms = said.pulse.skew_ms(now);
        }
        self.spool.disk().remove_file(path).map_err(at(path))?;
        Ok(true)
    }

    fn believe(&self, bytes: &[u8]) -> Option<FolderBeacon> {
        let signed = Signed::parse::<FolderBeacon>(bytes).ok()?;
        let said: FolderBeacon = self.trust.verify_from_node(&signed, &self.peer).ok()?;
        let ours = said.version == 1
            && said.crossing == self.crossing
            && said.source == self.peer
            && said.target == *self.spool.node();
        ours.then_some(said)
    }
}

/// Do the file's own bytes say that all of it is here, under the right name?
fn is_whole(id: BundleId, kind: EntryKind, path: &Path) -> io::Result<bool> {
    match kind {
        EntryKind::Receipts => {
            let Some(bytes) = read_small(path, ReceiptBatch::BYTES_MAX)? else { return Ok(false) };
            let batch = Signed::parse::<ReceiptBatch>(&bytes).ok().and_then(|signed| signed.read_unverified().ok());
            Ok(batch.is_some_and(|batch: ReceiptBatch| batch.batch == id))
        }
        EntryKind::Bundle => bundle_is_whole(id, path),
    }
}

/// `"TRILOCK1" | length(4) | envelope | payload | length(4) | footer`: the envelope states the payload, and the foot
/// ends where the file ends.
fn bundle_is_whole(id: BundleId, path: &Path) -> io::Result<bool> {
    let bytes = std::fs::metadata(path)?.len();
    let mut head = BufReader::new(File::open(path)?);
    let Ok(envelope) = bundle::peek(&mut head) else { return Ok(false) };
    let mut file = File::open(path)?;
    let mut start = [0; 12];
    file.read_exact(&mut start)?;
    let [.., a, b, c, d] = start;
    let foot = envelope.payload_bytes.checked_add(12 + u64::from(u32::from_be_bytes([a, b, c, d])));
    let Some(foot) = foot.filter(|foot| foot.checked_add(4).is_some_and(|end| end <= bytes)) else { return Ok(false) };
    let mut length = [0; 4];
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut length, foot)?;
    Ok(envelope.bundle == id && foot + 4 + u64::from(u32::from_be_bytes(length)) == bytes)
}

/// The whole file, unless it is larger than such a thing may be.
fn read_small(path: &Path, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() <= limit).then_some(bytes))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> IncomingError + use<> {
    let path = path.to_owned();
    move |cause| IncomingError::Disk { path, cause }
}
