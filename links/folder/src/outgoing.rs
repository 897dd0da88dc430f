//! The side that writes files for the gate. Told the time; looks at its own directory and at the outbox, nowhere else.
//!
//! ```text
//! in the outbox, never written  -> write     our file is gone: the gate took it -> round + 1, due again later
//! due again                     -> write     left the outbox: remove our file if the gate has not taken it yet
//! ```
//! It may die anywhere: a file appears by rename, and one written twice is a duplicate that the other side drops.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;

use protocol::oneway::{FolderBeacon, NextNumber, Pulse};
use protocol::signed::Signed;
use protocol::signer::Signatory;
use protocol::{BundleId, Crossing, Name, Timestamp};
use spool::{Entry, Spool, SpoolError};

use crate::Link;
use crate::names::Named;
use crate::settings::{BadSettings, Settings};
use crate::state::{Course, State};

/// Rounds do not come more seldom than once a day.
const ROUND_EVERY_MAX_MS: u64 = 86_400_000;
/// Rounds after which a notice calls an entry sent and unconfirmed, as on the wire.
const ROUNDS_TOLD: u32 = 3;
/// Files that one step writes, so that a beacon never waits for a whole outbox.
const WRITES_A_STEP_MAX: usize = 256;

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
    /// Ids whose file lies in the folder, as far as we know.
    lying: HashSet<BundleId>,
    beacon: u64,
    beacon_due: Timestamp,
    last_beacon: Option<PathBuf>,
    status: OutgoingStatus,
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
            lying: HashSet::new(),
            beacon: 0,
            beacon_due: now,
            last_beacon: None,
            status: OutgoingStatus::default(),
        })
    }

    /// One look at outbox and folder.
    pub fn step(&mut self, now: Timestamp) -> Result<(), OutgoingError> {
        let entries = self.spool.outbox(self.crossing).entries()?;
        let there = self.there()?;
        let mut changed = self.forget_departed(&entries, &there)?;
        (self.status.entries, self.status.too_large, self.status.waiting) = (entries.len() as u64, 0, 0);
        for id in self.spool.outbox(self.crossing).asked_again() {
            if let Some(course) = self.state.courses.get_mut(&id) {
                course.due = now;
            }
        }
        let mut writes = 0;
        for entry in &entries {
            changed |= self.state.number(entry.epoch, entry.sequence);
            if entry.size > self.settings.bytes_max {
                self.status.too_large += 1;
                continue;
            }
            if there.contains(&entry.id) {
                self.lying.insert(entry.id);
                self.status.waiting += 1;
                continue;
            }
            changed |= self.took(entry.id, now);
            let due = self.state.courses.get(&entry.id).is_none_or(|course| now >= course.due);
            if due && writes < WRITES_A_STEP_MAX {
                changed |= self.write(entry, now)?;
                writes += 1;
            }
        }
        if changed {
            self.state.keep().map_err(at(self.folder.clone()))?;
        }
        self.say_beacon(now)
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

    fn there(&self) -> Result<HashSet<BundleId>, OutgoingError> {
        let mut there = HashSet::new();
        for file in std::fs::read_dir(&self.folder).map_err(at(self.folder.clone()))? {
            let name = file.map_err(at(self.folder.clone()))?.file_name();
            match name.to_str().and_then(|name| Named::parse(name, &self.settings.suffix)) {
                Some(Named::Entry(id, _)) => drop(there.insert(id)),
                // Left by an earlier start: what it said is old news.
                Some(Named::Beacon { epoch, .. }) if epoch < self.state.epoch => {
                    let path = self.folder.join(&name);
                    self.spool.disk().remove_file(&path).map_err(at(path))?;
                }
                _ => {}
            }
        }
        Ok(there)
    }

    fn forget_departed(&mut self, entries: &[Entry], there: &HashSet<BundleId>) -> Result<bool, OutgoingError> {
        let live: HashSet<BundleId> = entries.iter().map(|entry| entry.id).collect();
        let before = self.state.courses.len();
        self.state.courses.retain(|id, _| live.contains(id));
        self.lying.retain(|id| live.contains(id));
        for id in there.difference(&live) {
            for kind in [spool::EntryKind::Bundle, spool::EntryKind::Receipts] {
                let path = self.folder.join(Named::Entry(*id, kind).file_name(&self.settings.suffix));
                self.spool.disk().remove_file(&path).map_err(at(path))?;
            }
        }
        Ok(self.state.courses.len() != before)
    }

    /// Our file lay there and is gone: a round is done.
    fn took(&mut self, id: BundleId, now: Timestamp) -> bool {
        if !self.lying.remove(&id) {
            return false;
        }
        let rounds = self.rounds(&id).saturating_add(1);
        self.state.courses.insert(id, Course { rounds, due: now.plus_ms(self.wait_ms(rounds)) });
        self.spool.outbox(self.crossing).went(&id, rounds, ROUNDS_TOLD);
        true
    }

    /// After so many rounds.
    fn wait_ms(&self, rounds: u32) -> u64 {
        let first = self.settings.round_every_s.saturating_mul(1_000);
        first.saturating_mul(1 << rounds.saturating_sub(1).min(16)).min(ROUND_EVERY_MAX_MS.max(first))
    }

    /// Says whether the state changed. An entry written keeps its turn across a restart: whether the gate took the
    /// file meanwhile cannot be known then, so it is written again when the next round would have been due.
    fn write(&mut self, entry: &Entry, now: Timestamp) -> Result<bool, OutgoingError> {
        let path = self.folder.join(Named::Entry(entry.id, entry.kind).file_name(&self.settings.suffix));
        let outbox = self.spool.outbox(self.crossing);
        match outbox.content(entry).and_then(|mut content| self.spool.disk().copy_from(&mut content, &path)) {
            Ok(()) => {
                self.lying.insert(entry.id);
                self.status.written += 1;
                self.status.waiting += 1;
                let rounds = self.rounds(&entry.id);
                self.state.courses.insert(entry.id, Course { rounds, due: now.plus_ms(self.wait_ms(rounds)) });
                Ok(true)
            }
            // It left the outbox this moment, or the file was there after all: the next step sees it right.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists) => Ok(false),
            Err(error) => Err(at(path)(error)),
        }
    }

    fn say_beacon(&mut self, now: Timestamp) -> Result<(), OutgoingError> {
        if now < self.beacon_due {
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
        if let Some(before) = self.last_beacon.replace(path) {
            disk.remove_file(&before).map_err(at(before))?;
        }
        self.beacon_due = now.plus_ms(self.settings.beacon_every_s * 1_000);
        self.status.beacons += 1;
        Ok(())
    }
}

fn at(path: PathBuf) -> impl FnOnce(io::Error) -> OutgoingError {
    move |cause| OutgoingError::Disk { path, cause }
}
