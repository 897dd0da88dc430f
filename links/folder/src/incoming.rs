//! The side that takes files from the gate. Told the time; a file is taken when two passes in a row see it unchanged and
//! its own bytes say that it is whole.
//!
//! ```text
//! new or changed -> wait      unchanged, not whole -> wait (the gate still writes), "stuck" after an hour
//! unchanged, whole -> copied into the arrivals, then gone from the folder      admitted before -> gone from the folder
//! ```
//! Copied, not moved: the gate may have the file open still, and what was admitted must not change any more. It may die
//! anywhere: the rename in the arrivals is the commit, and a file seen again is a duplicate. Whether a file is genuine is
//! found out at admission; here it only has to be complete, so that nothing half ever counts.
//!
//! Whoever can write into the folder can lay anything there. A pass takes several steps where much lies there, a step
//! does a bounded amount, and what is none of ours is counted, never touched, and holds up nothing.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs::{File, Metadata, ReadDir};
use std::hash::BuildHasher as _;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use protocol::oneway::FolderBeacon;
use protocol::receipt::ReceiptBatch;
use protocol::signed::{Signed, Statement as _};
use protocol::{BundleId, Crossing, Name, Timestamp, Trust};
use spool::disk::{Disk, open_plain};
use spool::{Begin, EntryKind, Spool, SpoolError};

use crate::Link;
use crate::clock::apart_ms;
use crate::heard::{Heard, Told, Worth};
use crate::names::Named;
use crate::settings::{BadSettings, Settings};
use crate::stop::Stop;
use crate::whole::{self, Whole};

/// Names read in one step, so that the stop flag is seen and nobody waits for a folder of a million.
const NAMES_A_STEP_MAX: usize = 16_384;
/// Files taken in one step: each costs syncs.
const TAKEN_A_STEP_MAX: usize = 256;
/// Bytes read in one step, of files that changed meanwhile too, and the rest of the file that passes them.
const BYTES_A_STEP_MAX: u64 = 256 << 20;
/// Files of ours that are kept an eye on: some 16 MB of names. More of them are taken once these are.
const SEEN_MAX: usize = 65_536;
/// Files known to be none of ours though their names might be anything, and those of ours that were stuck where too many
/// lie: 8 bytes each. More are opened again and again.
const STRANGERS_MAX: usize = 262_144;
/// A file that is not whole is opened again after 1, 2, 4 ... looks, and at least every so many.
const LOOKS_MAX: u32 = 64;
/// A file that is not whole for so long is shown as stuck. It stays: the gate may be slow, and it is not ours to judge.
const STUCK_AFTER_MS: u64 = 3_600_000;
/// What is named as a beacon and is none for so long is removed, for another one comes soon.
const BEACON_KEPT_MS: u64 = 60_000;
/// Signatures of beacons checked in one pass. One beacon in ten seconds is what a sender makes; a folder full of forged
/// ones is worked off without holding up anything else.
const SIGNATURES_A_PASS_MAX: usize = 32;
/// No beacon for so long is silence: eighteen of the default interval, for a gate may work in batches.
const SILENCE_AFTER_MS: u64 = 180_000;
/// Bytes copied at once.
const PIECE_BYTES: usize = 256 * 1024;

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
    /// Files of ours that are not whole or not stable yet, at the last whole pass; so the next five.
    pub waiting: u64,
    /// Of these, files that have not changed for an hour.
    pub stuck: u64,
    /// Files larger than `bytes_max`; they stay.
    pub too_large: u64,
    /// Files and folders that are not ours, but for those whose names begin with a dot; they stay.
    pub foreign: u64,
    /// Files that could not be opened, read or removed.
    pub unreadable: u64,
    /// Files of ours beyond what is kept an eye on.
    pub crowded: u64,
    /// Beacons believed that said something new.
    pub beacons: u64,
    /// Beacons that nobody here believes.
    pub beacons_refused: u64,
    /// Genuine beacons of a start of the sender before the newest.
    pub beacons_earlier: u64,
    /// Signatures of beacons that were checked.
    pub beacons_checked: u64,
    /// The start of the sender that was heard last, 0 where none was.
    pub epoch: u32,
    /// When its last beacon was taken, by our clock.
    pub last_beacon: Option<Timestamp>,
    /// How far the sender's clock is ahead, less the way through the gate.
    pub skew_ms: i64,
    /// No beacon for three minutes.
    pub silent: bool,
    /// Two senders with the same keys spoke since the last start of one.
    pub two_senders: bool,
    /// The last step ended in an error that is not about one file.
    pub failing: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Look {
    bytes: u64,
    changed: Option<SystemTime>,
}

impl Look {
    fn at(about: &Metadata) -> Look {
        Look { bytes: about.len(), changed: about.modified().ok() }
    }
}

/// A file that is kept an eye on.
#[derive(Clone, Copy)]
struct Seen {
    look: Look,
    since: Timestamp,
    looks: u32,
}

/// What became of a file that was opened.
enum Fate {
    Taken,
    /// Not whole.
    Waits,
    /// There is more to do with it than this pass may.
    Later,
    Stranger,
}

/// One walk over the folder.
struct Pass {
    listing: ReadDir,
    seen: HashMap<OsString, Seen>,
    strangers: HashSet<u64>,
    signatures: usize,
    counts: IncomingStatus,
}

/// The taking side.
pub struct Incoming {
    spool: Spool,
    crossing: Crossing,
    peer: Name,
    trust: Arc<Trust>,
    folder: PathBuf,
    settings: Settings,
    /// Of the last whole pass.
    seen: HashMap<OsString, Seen>,
    strangers: HashSet<u64>,
    hashes: RandomState,
    pass: Option<Pass>,
    heard: Heard,
    since: Timestamp,
    status: IncomingStatus,
    /// Bytes read in this step.
    read: u64,
    stop: Stop,
}

impl Incoming {
    /// Looks at nothing of the gate yet.
    pub fn open(link: &Link, settings: &Settings, now: Timestamp) -> Result<Incoming, IncomingError> {
        let (folder, crossing) = match (&settings.incoming, link.inbound) {
            (Some(folder), Some(crossing)) => (folder.clone(), crossing),
            _ => return Err(at(Path::new("incoming"))(io::Error::other(BadSettings::NoCrossing("incoming")))),
        };
        let own = link.folder(crossing);
        let heard = Heard::open(link.spool.disk().clone(), &own).map_err(at(&own))?;
        Ok(Incoming {
            spool: link.spool.clone(),
            crossing,
            peer: link.peer.clone(),
            trust: link.trust.clone(),
            folder,
            settings: settings.clone(),
            seen: HashMap::new(),
            strangers: HashSet::new(),
            hashes: RandomState::new(),
            pass: None,
            status: IncomingStatus { epoch: heard.epoch(), ..IncomingStatus::default() },
            heard,
            since: now,
            read: 0,
            stop: Stop::new(),
        })
    }

    /// Sees this flag in the middle of a step and of a file.
    #[must_use]
    pub fn until(self, stop: &Stop) -> Incoming {
        Incoming { stop: stop.clone(), ..self }
    }

    /// Looks at the next files of the folder. True where more of this pass are left, to be looked at without waiting.
    pub fn step(&mut self, now: Timestamp) -> Result<bool, IncomingError> {
        let stepped = self.walk(now);
        self.status.failing = stepped.is_err();
        self.status.silent = apart_ms(now, self.status.last_beacon.unwrap_or(self.since)) >= SILENCE_AFTER_MS;
        stepped
    }

    /// What it shows of itself.
    #[must_use]
    pub fn status(&self) -> IncomingStatus {
        self.status
    }

    fn walk(&mut self, now: Timestamp) -> Result<bool, IncomingError> {
        let mut pass = match self.pass.take() {
            Some(pass) => pass,
            None => Pass {
                listing: std::fs::read_dir(&self.folder).map_err(at(&self.folder))?,
                seen: HashMap::new(),
                strangers: HashSet::new(),
                signatures: 0,
                counts: IncomingStatus::default(),
            },
        };
        let taken = self.status.taken;
        self.read = 0;
        let mut trouble = None;
        for _ in 0..NAMES_A_STEP_MAX {
            let Some(file) = pass.listing.next() else {
                self.end(pass);
                return trouble.map_or(Ok(false), Err);
            };
            let name = file.map_err(at(&self.folder))?.file_name();
            match self.look_at(&name, &mut pass, now) {
                Ok(()) => {}
                // What is wrong with one file is told of it, and holds up none behind it.
                Err(IncomingError::Disk { .. }) => pass.counts.unreadable += 1,
                Err(error) => trouble = Some(error),
            }
            let enough = self.status.taken - taken >= TAKEN_A_STEP_MAX as u64 || self.read >= BYTES_A_STEP_MAX;
            if enough || self.stop.is_raised() {
                break;
            }
        }
        self.pass = Some(pass);
        trouble.map_or(Ok(true), Err)
    }

    fn end(&mut self, pass: Pass) {
        let IncomingStatus { waiting, stuck, too_large, foreign, unreadable, crowded, .. } = pass.counts;
        self.status = IncomingStatus { waiting, stuck, too_large, foreign, unreadable, crowded, ..self.status };
        (self.seen, self.strangers) = (pass.seen, pass.strangers);
    }

    fn look_at(&mut self, name: &OsString, pass: &mut Pass, now: Timestamp) -> Result<(), IncomingError> {
        if name.as_encoded_bytes().starts_with(b".") {
            return Ok(());
        }
        let named = name.to_str().and_then(|name| Named::parse(name, &self.settings.suffix));
        if named.is_none() && !(self.settings.any_name && is_done(name)) {
            pass.counts.foreign += 1;
            return Ok(());
        }
        let path = self.folder.join(name);
        let about = match std::fs::symlink_metadata(&path) {
            Ok(about) => about,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(at(&path)(error)),
        };
        let look = Look::at(&about);
        let stranger = self.hashes.hash_one((name, look));
        if !about.is_file() || self.strangers.contains(&stranger) {
            remember(&mut pass.strangers, stranger);
            if about.is_file() && named.is_some() {
                pass.counts.waiting += 1;
                pass.counts.stuck += 1;
            } else {
                pass.counts.foreign += 1;
            }
            return Ok(());
        }
        if look.bytes > self.settings.bytes_max {
            pass.counts.too_large += 1;
            return Ok(());
        }
        let mut seen = match self.seen.get(name) {
            Some(before) if before.look == look => Seen { looks: before.looks.saturating_add(1), ..*before },
            _ => Seen { look, since: now, looks: 0 },
        };
        let mut trouble = None;
        let stuck = apart_ms(now, seen.since) >= STUCK_AFTER_MS;
        if seen.looks > 0 && (seen.looks.is_power_of_two() || seen.looks.is_multiple_of(LOOKS_MAX)) {
            match self.take(named, &path, &seen, pass, now) {
                Ok(Fate::Taken) => return Ok(()),
                // It bears our name and makes no room for what is genuine: it is looked at again when it changes.
                Ok(Fate::Waits) if stuck && named.is_some() && self.status.crowded > 0 => {
                    remember(&mut pass.strangers, stranger);
                    pass.counts.waiting += 1;
                    pass.counts.stuck += 1;
                    return Ok(());
                }
                Ok(Fate::Waits) => {}
                Ok(Fate::Later) => seen.looks = 0,
                Ok(Fate::Stranger) => {
                    remember(&mut pass.strangers, stranger);
                    pass.counts.foreign += 1;
                    return Ok(());
                }
                Err(error) => {
                    // Not the file's fault alone: looked at again in the next pass.
                    seen.looks = 0;
                    trouble = Some(error);
                }
            }
        }
        pass.counts.waiting += 1;
        pass.counts.stuck += u64::from(stuck);
        if pass.seen.len() < SEEN_MAX {
            pass.seen.insert(name.clone(), seen);
        } else {
            pass.counts.crowded += 1;
        }
        trouble.map_or(Ok(()), Err)
    }

    fn take(
        &mut self,
        named: Option<Named>,
        path: &Path,
        seen: &Seen,
        pass: &mut Pass,
        now: Timestamp,
    ) -> Result<Fate, IncomingError> {
        // Somebody may have put a link or a pipe where a file was listed a moment ago.
        let file = open_plain(path).map_err(at(path))?;
        if Look::at(&file.metadata().map_err(at(path))?) != seen.look {
            return Ok(Fate::Waits);
        }
        let bytes = seen.look.bytes;
        // Whatever it is, to find that out no more of it is read than a batch of receipts may have.
        self.read += bytes.min(ReceiptBatch::BYTES_MAX as u64);
        let found = match named.filter(|_| !self.settings.any_name) {
            Some(named) => whole::by_name(&file, bytes, named),
            None => whole::by_content(&file, bytes),
        };
        match (found.map_err(at(path))?, named) {
            (Some(Whole::Entry(id, kind)), _) => self.take_entry(id, kind, &file, &seen.look, path),
            (Some(Whole::Beacon(bytes)), _) => self.take_beacon(&bytes, &file, seen, pass, (path, now)),
            (None, Some(Named::Beacon { .. })) if now.since(seen.since) >= BEACON_KEPT_MS => {
                self.status.beacons_refused += 1;
                remove(self.spool.disk(), &file, &seen.look, path).map(|()| Fate::Taken)
            }
            (None, Some(_)) => Ok(Fate::Waits),
            // Under a name that says nothing it may still be one of ours that is not whole.
            (None, None) if now.since(seen.since) < BEACON_KEPT_MS => Ok(Fate::Waits),
            (None, None) => Ok(Fate::Stranger),
        }
    }

    fn take_entry(
        &mut self,
        id: BundleId,
        kind: EntryKind,
        file: &File,
        look: &Look,
        path: &Path,
    ) -> Result<Fate, IncomingError> {
        let arrivals = self.spool.arrivals(self.crossing);
        if self.is_unverified(&id, kind)? {
            return Ok(Fate::Later);
        }
        // A gate that says things twice and a later round ask for nothing: no receipt is owed for them.
        if !arrivals.have(&id, kind)? {
            let mut partial = match arrivals.begin(&id, kind, look.bytes) {
                Ok(Begin::Partial(partial)) => partial,
                // Somebody else brings it in, or did, at this moment.
                Ok(Begin::Have) | Err(SpoolError::Busy { .. }) => return Ok(Fate::Later),
                Err(error) => return Err(error.into()),
            };
            if partial.offset() > 0 {
                partial.restart()?;
            }
            let mut source = whole::From { file, at: 0 }.take(look.bytes);
            let mut piece = vec![0; PIECE_BYTES];
            loop {
                let read = source.read(&mut piece).map_err(at(path))?;
                match piece.get(..read) {
                    Some([]) | None => break,
                    Some(bytes) => partial.write(bytes)?,
                }
                self.read += read as u64;
                if self.stop.is_raised() {
                    return Ok(Fate::Later);
                }
            }
            let same = Look::at(&file.metadata().map_err(at(path))?) == *look;
            if !same || partial.offset() != look.bytes {
                // The gate wrote on while we read.
                partial.restart()?;
                return Ok(Fate::Waits);
            }
            partial.finish()?;
        }
        self.status.taken += 1;
        remove(self.spool.disk(), file, look, path).map(|()| Fate::Taken)
    }

    /// Does one of the same id wait for admission? It may be found to be a bad copy, and this the good one.
    fn is_unverified(&self, id: &BundleId, kind: EntryKind) -> Result<bool, SpoolError> {
        let complete = self.spool.layout().complete(self.crossing).join(format!("{id}.{}", kind.suffix()));
        Ok(complete.exists() && !self.spool.bundle_taken(id)?)
    }

    fn take_beacon(
        &mut self,
        bytes: &[u8],
        file: &File,
        Seen { look, .. }: &Seen,
        pass: &mut Pass,
        (path, now): (&Path, Timestamp),
    ) -> Result<Fate, IncomingError> {
        let (Ok(signed), Some(said)) = (Signed::parse::<FolderBeacon>(bytes), whole::said_in(bytes)) else {
            return Ok(Fate::Waits);
        };
        let digest = signed.suite.digest(bytes);
        if self.heard.worth(&said, &digest) == Worth::ACheck {
            if pass.signatures == SIGNATURES_A_PASS_MAX {
                return Ok(Fate::Later);
            }
            pass.signatures += 1;
            self.status.beacons_checked += 1;
            match self.believe(&signed) {
                Some(said) => self.hear(&said, &digest, now)?,
                None => self.status.beacons_refused += 1,
            }
        }
        remove(self.spool.disk(), file, look, path).map(|()| Fate::Taken)
    }

    /// 13.2
    fn believe(&self, signed: &Signed) -> Option<FolderBeacon> {
        let said: FolderBeacon = self.trust.verify_from_node(signed, &self.peer).ok()?;
        let ours = said.crossing == self.crossing && said.source == self.peer && said.target == *self.spool.node();
        ours.then_some(said)
    }

    fn hear(
        &mut self,
        said: &FolderBeacon,
        digest: &protocol::suite::Digest,
        now: Timestamp,
    ) -> Result<(), IncomingError> {
        // Whoever says it and whenever: these numbers were given.
        for number in &said.pulse.next {
            self.spool.announce(&self.peer, self.crossing, number.epoch, number.next);
        }
        let newest = self.heard.epoch();
        match self.heard.hear(said, digest).map_err(at(&self.folder))? {
            Told::News => {
                if said.epoch != newest {
                    self.status.two_senders = false;
                    tracing::info!(epoch = said.epoch, source = %self.peer, "the sender behind the gate is heard");
                }
                self.status.epoch = said.epoch;
                self.status.beacons += 1;
                self.status.last_beacon = Some(now);
                self.status.skew_ms = said.pulse.skew_ms(now);
            }
            Told::SecondSender => {
                if !self.status.two_senders {
                    tracing::error!(other = said.epoch, newest, source = %self.peer, "two senders with the same keys speak through the gate: stop one of them");
                }
                self.status.two_senders = true;
            }
            Told::Earlier => self.status.beacons_earlier += 1,
        }
        Ok(())
    }
}

/// Removes what was read, and not what was put under its name or written into it meanwhile.
fn remove(disk: &Disk, file: &File, look: &Look, path: &Path) -> Result<(), IncomingError> {
    let ours = file.metadata().map_err(at(path))?;
    match std::fs::symlink_metadata(path) {
        Ok(there) if (there.dev(), there.ino()) == (ours.dev(), ours.ino()) && Look::at(&there) == *look => {
            disk.remove_file(path).map_err(at(path))
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(at(path)(error)),
    }
}

fn remember(strangers: &mut HashSet<u64>, stranger: u64) {
    if strangers.len() < STRANGERS_MAX {
        strangers.insert(stranger);
    }
}

/// Gates that rename while they write call it so.
fn is_done(name: &OsString) -> bool {
    let name = name.as_encoded_bytes().to_ascii_lowercase();
    ![b".part".as_slice(), b".tmp", b".temp"].iter().any(|ending| name.ends_with(ending))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> IncomingError + use<> {
    let path = path.to_owned();
    move |cause| IncomingError::Disk { path, cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The gate truncates the file that it wrote and writes its next one into it while the first is synced here.
    #[test]
    fn what_was_written_into_a_file_after_it_was_read_is_not_removed_with_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        let disk = Disk::real();
        disk.write(&path, b"the first").expect("written");
        let file = open_plain(&path).expect("opened");
        let look = Look::at(&file.metadata().expect("looked at"));
        let mut next = disk.open_append(&path).expect("opened");
        disk.truncate(&next, 0).expect("cut");
        disk.append(&mut next, b"and the next one").expect("written");
        remove(&disk, &file, &look, &path).expect("looked at");
        assert_eq!(std::fs::read(&path).expect("it is there"), b"and the next one");
        let look = Look::at(&file.metadata().expect("looked at"));
        remove(&disk, &file, &look, &path).expect("removed");
        assert!(!path.exists());
    }
}
