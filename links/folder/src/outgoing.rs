//! The side that writes files for the gate. Told the time; looks at its own directory and at the outbox, nowhere else.
//!
//! ```text
//! in the outbox, never written  -> write     our file is gone: the gate took it -> round + 1, due again later
//! due again                     -> write     left the outbox: remove our file if the gate has not taken it yet
//! ```
//! The directory is listed once a start; after that only what was written is looked for, so whatever else lies there
//! costs nothing. It may die anywhere: a file appears by rename, and one written twice is a duplicate that the other side drops.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::path::PathBuf;

use protocol::oneway::{FolderBeacon, NextNumber, Pulse};
use protocol::signed::Signed;
use protocol::signer::Signatory;
use protocol::{BundleId, Crossing, Name, Timestamp};
use spool::disk::ASIDE;
use spool::{Entry, EntryKind, Spool, SpoolError};

use crate::Link;
use crate::clock::{apart_ms, has_come};
use crate::names::Named;
use crate::settings::{BadSettings, Settings};
use crate::state::{Course, State};
use crate::stop::{Stop, Until};

/// Rounds do not come more seldom than once a day.
const ROUND_EVERY_MAX_MS: u64 = 86_400_000;
/// Rounds after which a notice calls an entry sent and unconfirmed, as on the wire.
const ROUNDS_TOLD: u32 = 3;
/// Files that one step writes, so that a beacon never waits for a whole outbox.
const WRITES_A_STEP_MAX: usize = 256;
/// Bytes that one step writes or tries to, and the rest of the file that passes them: with a beacon before each step.
const BYTES_A_STEP_MAX: u64 = 256 << 20;
/// Writes that may fail in one step: a disk that refuses one file after the other is asked again with the next.
const FAILURES_A_STEP_MAX: usize = 4;
/// Files that are old news removed in one step: where they cannot be, a step costs no more for it.
const REMOVALS_A_STEP_MAX: usize = 256;
/// Files that lie for the gate at once. Each is looked for in every step; a gate that takes none must not have the
/// whole outbox written a second time.
const LYING_MAX: usize = 8_192;
/// Their bytes, or one file where that alone is larger: what a gate that stands still may cost of a disk.
const LYING_BYTES_MAX: u64 = 8 << 30;
/// Left free on the disk of the directory, which may be the spool's own.
const FREE_BYTES_MIN: u64 = 256 << 20;
/// A file that lies for so long was not taken by a gate that works, even in batches.
const STALLED_AFTER_MS: u64 = 900_000;
/// Names read at a start. A directory of more is not the gate's any more.
const NAMES_MAX: usize = 1_000_000;

/// Why a step went wrong. The next one tries again.
#[derive(Debug, thiserror::Error)]
pub enum OutgoingError {
    /// The outbox.
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
    /// It was still being written.
    #[error("{path}: taken while it was being written: the gate must leave names that begin with a dot alone", path = .0.display())]
    TakenHalf(PathBuf),
    /// The directory's disk.
    #[error("{path}: its disk has {free} bytes left, a file of {wanted} would leave too few", path = .path.display())]
    Full {
        /// The directory.
        path: PathBuf,
        /// What is left.
        free: u64,
        /// What was to be written.
        wanted: u64,
    },
}

/// What it shows of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutgoingStatus {
    /// Entries in the outbox at the last step.
    pub entries: u64,
    /// Files that wait for the gate.
    pub waiting: u64,
    /// Entries larger than the gate passes.
    pub too_large: u64,
    /// Files written since the start, beacons apart.
    pub written: u64,
    /// Beacons written since the start.
    pub beacons: u64,
    /// Files that the gate has not taken for a quarter of an hour.
    pub stalled: u64,
    /// The last step ended in an error.
    pub failing: bool,
}

/// A file that lies for the gate.
#[derive(Clone, Copy)]
struct Lying {
    since: Timestamp,
    bytes: u64,
}

/// The writing side.
pub struct Outgoing {
    spool: Spool,
    crossing: Crossing,
    key: Signatory,
    peer: Name,
    folder: PathBuf,
    settings: Settings,
    state: State,
    /// The files that lie in the folder, as far as we know.
    lying: HashMap<BundleId, Lying>,
    listed: bool,
    beacon: u64,
    beacon_due: Timestamp,
    last_beacon: Option<PathBuf>,
    /// Beacons that are old news and what an earlier start was writing, until they are removed.
    stale: VecDeque<PathBuf>,
    status: OutgoingStatus,
    stop: Stop,
}

impl Outgoing {
    /// Draws an epoch; writes nothing for the gate yet.
    pub fn open(link: &Link, settings: &Settings, now: Timestamp) -> Result<Outgoing, OutgoingError> {
        let disk = link.spool.disk().clone();
        let (folder, crossing) = match (&settings.outgoing, link.outbound) {
            (Some(folder), Some(crossing)) => (folder.clone(), crossing),
            _ => return Err(at(PathBuf::from("outgoing"))(io::Error::other(BadSettings::NoCrossing("outgoing")))),
        };
        let own = link.folder(crossing);
        let state = State::open(disk, &own, now).map_err(at(own))?;
        Ok(Outgoing {
            spool: link.spool.clone(),
            crossing,
            key: link.key.clone(),
            peer: link.peer.clone(),
            folder,
            settings: settings.clone(),
            state,
            lying: HashMap::new(),
            listed: false,
            beacon: 0,
            beacon_due: now,
            last_beacon: None,
            stale: VecDeque::new(),
            status: OutgoingStatus::default(),
            stop: Stop::new(),
        })
    }

    /// Sees this flag in the middle of a step and of a file.
    #[must_use]
    pub fn until(self, stop: &Stop) -> Outgoing {
        Outgoing { stop: stop.clone(), ..self }
    }

    /// One look at outbox and folder. True where more could be written at once.
    pub fn step(&mut self, now: Timestamp) -> Result<bool, OutgoingError> {
        let stepped = self.serve(now);
        self.status.failing = stepped.is_err();
        stepped
    }

    fn serve(&mut self, now: Timestamp) -> Result<bool, OutgoingError> {
        if !self.listed {
            self.list(now)?;
            self.listed = true;
        }
        let entries = self.spool.outbox(self.crossing).entries()?;
        // What is wrong with one file holds up no other, and the beacon goes all the same.
        let mut trouble = None;
        let mut changed = self.forget_departed(&entries, &mut trouble);
        for entry in &entries {
            changed |= self.state.number(entry.epoch, entry.sequence);
        }
        trouble = self.say_beacon(now).err().or(trouble);
        self.status.entries = entries.len() as u64;
        (self.status.too_large, self.status.waiting, self.status.stalled) = (0, 0, 0);
        for id in self.spool.outbox(self.crossing).asked_again() {
            if let Some(course) = self.state.courses.get_mut(&id) {
                course.due = now;
            }
        }
        let (mut writes, mut failures, mut copied, mut held) = (0, 0, 0, false);
        let stalled = |lying: &Lying| apart_ms(now, lying.since) >= STALLED_AFTER_MS;
        let moving = !self.lying.values().any(stalled);
        let mut bytes: u64 = self.lying.values().map(|lying| lying.bytes).sum();
        for entry in &entries {
            if entry.size > self.settings.bytes_max {
                self.status.too_large += 1;
                continue;
            }
            match self.took(entry, now) {
                Ok(took) => changed |= took,
                Err(error) => trouble = Some(error),
            }
            let course = self.state.courses.get(&entry.id);
            let due = course.is_none_or(|course| has_come(now, course.due, self.wait_ms(course.rounds)));
            if !due || self.lying.contains_key(&entry.id) {
                continue;
            }
            let fits = self.may_lie(entry, bytes);
            // What waits for room gets it: nothing behind it, all of it less urgent or later, goes before it, as long as
            // the gate takes what lies there.
            held |= !fits && moving;
            let may = writes < WRITES_A_STEP_MAX && failures < FAILURES_A_STEP_MAX && copied < BYTES_A_STEP_MAX;
            if fits && !held && may && !self.stop.is_raised() {
                copied = entry.size.saturating_add(copied);
                match self.write(entry, now) {
                    Ok(wrote) => {
                        changed |= wrote;
                        writes += 1;
                        bytes = bytes.saturating_add(entry.size);
                    }
                    // That is no trouble: the next start writes it.
                    Err(_) if self.stop.is_raised() => {}
                    Err(error) => {
                        failures += 1;
                        trouble = Some(error);
                    }
                }
            }
        }
        self.status.waiting = self.lying.len() as u64;
        self.status.stalled = self.lying.values().filter(|lying| stalled(lying)).count() as u64;
        if changed && let Err(cause) = self.state.keep() {
            trouble = Some(at(self.folder.clone())(cause));
        }
        trouble = self.clear_away().err().or(trouble);
        trouble.map_or(Ok(writes == WRITES_A_STEP_MAX || copied >= BYTES_A_STEP_MAX), Err)
    }

    /// What it shows of itself.
    #[must_use]
    pub fn status(&self) -> OutgoingStatus {
        self.status
    }

    /// How often the gate took all of an entry.
    #[must_use]
    pub fn rounds(&self, entry: &BundleId) -> u32 {
        self.state.courses.get(entry).map_or(0, |course| course.rounds)
    }

    /// What an earlier start left: files for the gate, beacons that are old news, and what it was writing as it died.
    fn list(&mut self, now: Timestamp) -> Result<(), OutgoingError> {
        self.lying.clear();
        self.stale.clear();
        let before = self.state.suffix.clone();
        if before != self.settings.suffix {
            // A gate that wanted another suffix took none of them: all are written anew.
            self.state.courses.clear();
        }
        for file in std::fs::read_dir(&self.folder).map_err(at(self.folder.clone()))?.take(NAMES_MAX) {
            let file = file.map_err(at(self.folder.clone()))?;
            let name = file.file_name();
            let waste = match name.to_str().and_then(|name| Named::parse(name, &self.settings.suffix)) {
                Some(Named::Entry(id, _)) => {
                    let bytes = file.metadata().map_or(0, |about| about.len());
                    self.lying.insert(id, Lying { since: now, bytes });
                    false
                }
                Some(Named::Beacon { epoch, .. }) => epoch < self.state.epoch,
                None => {
                    let name = name.to_str().unwrap_or_default();
                    name.starts_with(ASIDE) || (before != self.settings.suffix && Named::parse(name, &before).is_some())
                }
            };
            if waste {
                self.stale.push_back(self.folder.join(&name));
            }
        }
        self.state.suffix.clone_from(&self.settings.suffix);
        self.state.keep().map_err(at(self.folder.clone()))
    }

    /// Says whether the state changed. A file that cannot be removed lies there still, and is tried again.
    fn forget_departed(&mut self, entries: &[Entry], trouble: &mut Option<OutgoingError>) -> bool {
        let live: HashSet<BundleId> = entries.iter().map(|entry| entry.id).collect();
        let before = self.state.courses.len();
        self.state.courses.retain(|id, _| live.contains(id));
        let departed: Vec<BundleId> = self.lying.keys().filter(|id| !live.contains(id)).copied().collect();
        for id in departed {
            let removed = [EntryKind::Bundle, EntryKind::Receipts].into_iter().try_for_each(|kind| {
                let path = self.path(id, kind);
                self.spool.disk().remove_file(&path).map_err(at(path))
            });
            match removed {
                Ok(()) => drop(self.lying.remove(&id)),
                Err(error) => *trouble = Some(error),
            }
        }
        self.state.courses.len() != before
    }

    fn path(&self, id: BundleId, kind: EntryKind) -> PathBuf {
        self.folder.join(Named::Entry(id, kind).file_name(&self.settings.suffix))
    }

    /// Our file lay there and is gone: a round is done.
    fn took(&mut self, entry: &Entry, now: Timestamp) -> Result<bool, OutgoingError> {
        if !self.lying.contains_key(&entry.id) {
            return Ok(false);
        }
        let path = self.path(entry.id, entry.kind);
        match std::fs::symlink_metadata(&path) {
            Ok(_) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(at(path)(error)),
        }
        self.lying.remove(&entry.id);
        let rounds = self.rounds(&entry.id).saturating_add(1);
        self.state.courses.insert(entry.id, Course { rounds, due: now.plus_ms(self.wait_ms(rounds)) });
        self.spool.outbox(self.crossing).went(&entry.id, rounds, ROUNDS_TOLD);
        Ok(true)
    }

    /// Is there room for one more file between us and a gate that may stand still?
    fn may_lie(&self, entry: &Entry, bytes: u64) -> bool {
        self.lying.is_empty() || (self.lying.len() < LYING_MAX && bytes.saturating_add(entry.size) <= LYING_BYTES_MAX)
    }

    /// After so many rounds.
    fn wait_ms(&self, rounds: u32) -> u64 {
        let first = self.settings.round_every_s.saturating_mul(1_000);
        first.saturating_mul(1 << rounds.saturating_sub(1).min(16)).min(ROUND_EVERY_MAX_MS.max(first))
    }

    /// Says whether the state changed. An entry written keeps its turn across a restart: whether the gate took the
    /// file meanwhile cannot be known then, so it is written again when the next round would have been due.
    fn write(&mut self, entry: &Entry, now: Timestamp) -> Result<bool, OutgoingError> {
        let path = self.path(entry.id, entry.kind);
        let free = self.spool.disk().free(&self.folder).map_err(at(self.folder.clone()))?.bytes;
        if free < entry.size.saturating_add(FREE_BYTES_MIN) {
            return Err(OutgoingError::Full { path: self.folder.clone(), free, wanted: entry.size });
        }
        let outbox = self.spool.outbox(self.crossing);
        match outbox
            .content(entry)
            .and_then(|from| self.spool.disk().copy_from(&mut Until { from, stop: &self.stop }, &path))
        {
            Ok(()) => {
                self.lying.insert(entry.id, Lying { since: now, bytes: entry.size });
                self.status.written += 1;
                let rounds = self.rounds(&entry.id);
                self.state.courses.insert(entry.id, Course { rounds, due: now.plus_ms(self.wait_ms(rounds)) });
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => match outbox.find(&entry.id)? {
                // It left the outbox this moment: the next step sees it right.
                None => Ok(false),
                Some(_) => Err(OutgoingError::TakenHalf(path)),
            },
            // Something lies under its name after all.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.lying.insert(entry.id, Lying { since: now, bytes: entry.size });
                Ok(false)
            }
            Err(error) => Err(at(path)(error)),
        }
    }

    fn say_beacon(&mut self, now: Timestamp) -> Result<(), OutgoingError> {
        let every_ms = self.settings.beacon_every_s * 1_000;
        if !has_come(now, self.beacon_due, every_ms) {
            return Ok(());
        }
        self.beacon += 1;
        let next =
            self.state.next.iter().rev().map(|(epoch, next)| NextNumber { epoch: *epoch, next: *next }).collect();
        let beacon = FolderBeacon {
            version: 1,
            crossing: self.crossing,
            source: self.spool.node().clone(),
            target: self.peer.clone(),
            epoch: self.state.epoch,
            number: self.beacon,
            pulse: Pulse { at: now, next, head: self.spool.head() },
        };
        let named = Named::Beacon { epoch: self.state.epoch, number: self.beacon };
        let path = self.folder.join(named.file_name(&self.settings.suffix));
        let disk = self.spool.disk();
        let signed = Signed::make_by(&self.key, &beacon).map_err(|error| at(path.clone())(error.into()))?;
        disk.write(&path, &signed.to_bytes()).map_err(at(path.clone()))?;
        if let Some(before) = self.last_beacon.replace(path).filter(|_| self.stale.len() < NAMES_MAX) {
            self.stale.push_back(before);
        }
        self.beacon_due = now.plus_ms(every_ms);
        self.status.beacons += 1;
        Ok(())
    }

    /// Removes what is old news. What cannot be removed is tried again with the next step.
    fn clear_away(&mut self) -> Result<(), OutgoingError> {
        let mut trouble = None;
        for _ in 0..self.stale.len().min(REMOVALS_A_STEP_MAX) {
            let Some(path) = self.stale.pop_front() else { break };
            if let Err(cause) = self.spool.disk().remove_file(&path) {
                trouble = Some(at(path.clone())(cause));
                self.stale.push_back(path);
            }
        }
        trouble.map_or(Ok(()), Err)
    }
}

fn at(path: PathBuf) -> impl FnOnce(io::Error) -> OutgoingError {
    move |cause| OutgoingError::Disk { path, cause }
}
