//! Sealed, numbered files waiting to cross. The rename into it is the commit; nothing here is ever written in place.
//!
//! Dying anywhere is safe: before the rename the staged file is thrown away at the next start and its number withdrawn,
//! after it the entry is there and its number counts as used. Removing is recorded before, so an entry that a power cut
//! brings back is only sent once more.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use protocol::BundleId;
use protocol::parcel::Priority;

use crate::bell::Bell;
use crate::disk::Disk;
use crate::entry::{Entry, EntryKind};
use crate::spool::{SpoolError, locked};

/// Entries that one listing gives: more than a medium can list, and still quick to copy.
pub const OUTBOX_LIST_MAX: usize = 100_000;

type Place = (Priority, u64, u64, BundleId);

#[derive(Default)]
struct Shelf {
    /// Rounds of a one-way link.
    rounds: HashMap<BundleId, (u32, u32)>,
    /// To be sent again.
    asked: std::collections::BTreeSet<BundleId>,
    entries: BTreeMap<Place, Entry>,
    places: HashMap<BundleId, Place>,
    bytes: u64,
}

pub(crate) struct Shelves {
    dir: PathBuf,
    disk: Disk,
    bell: Arc<Bell>,
    shelf: Mutex<Shelf>,
}

/// The outbox of one crossing. This process is its only writer, so what it holds is known in memory.
#[derive(Clone)]
pub struct Outbox(pub(crate) Arc<Shelves>);

impl Outbox {
    /// Reads the directory once.
    pub(crate) fn open(disk: &Disk, dir: &Path, bell: &Arc<Bell>) -> Result<Outbox, SpoolError> {
        let at = |source| SpoolError::disk(dir, source);
        let mut shelf = Shelf::default();
        for file in fs::read_dir(dir).map_err(at)? {
            let path = file.map_err(at)?.path();
            let size = fs::metadata(&path).map_err(at)?.len();
            if let Some(entry) = Entry::from_outbox(&path, size) {
                shelf.put(entry);
            }
        }
        let shelves = Shelves { dir: dir.to_owned(), disk: disk.clone(), bell: bell.clone(), shelf: Mutex::new(shelf) };
        Ok(Outbox(Arc::new(shelves)))
    }

    /// The outbox of a crossing that was not set up: always empty; committing fails on the missing directory.
    pub(crate) fn none(disk: &Disk, dir: &Path, bell: &Arc<Bell>) -> Outbox {
        let shelves = Shelves { dir: dir.to_owned(), disk: disk.clone(), bell: bell.clone(), shelf: Mutex::default() };
        Outbox(Arc::new(shelves))
    }

    /// Commits a staged file, which is already synced: the rename is the commit. Committing the same id and number
    /// again is fine.
    pub fn commit(
        &self,
        staged: &Path,
        id: &BundleId,
        kind: EntryKind,
        priority: Priority,
        epoch: u64,
        sequence: u64,
    ) -> Result<Entry, SpoolError> {
        let size = fs::metadata(staged).map_err(|source| SpoolError::disk(staged, source))?.len();
        let mut entry = Entry { id: *id, kind, priority, epoch, sequence, size, path: PathBuf::new() };
        entry.path = self.0.dir.join(entry.outbox_name());
        if let Err(source) = self.0.disk.rename(staged, &entry.path) {
            // Where only its sync failed the rename is done, and nobody would look for the entry there before a restart.
            let _taken_back = self.0.disk.rename_new(&entry.path, staged);
            return Err(SpoolError::disk(&entry.path, source));
        }
        locked(&self.0.shelf).put(entry.clone());
        self.0.bell.ring();
        Ok(entry)
    }

    /// The entries, most urgent first, then by number; at most [`OUTBOX_LIST_MAX`].
    pub fn entries(&self) -> Result<Vec<Entry>, SpoolError> {
        Ok(locked(&self.0.shelf).entries.values().take(OUTBOX_LIST_MAX).cloned().collect())
    }

    /// How many entries there are, and their bytes.
    #[must_use]
    pub fn load(&self) -> (usize, u64) {
        let shelf = locked(&self.0.shelf);
        (shelf.entries.len(), shelf.bytes)
    }

    /// The entry of an id.
    pub fn find(&self, id: &BundleId) -> Result<Option<Entry>, SpoolError> {
        let shelf = locked(&self.0.shelf);
        Ok(shelf.places.get(id).and_then(|place| shelf.entries.get(place)).cloned())
    }

    /// Is this number of ours waiting here?
    pub(crate) fn holds(&self, epoch: u64, sequence: u64) -> bool {
        locked(&self.0.shelf).entries.keys().any(|place| (place.1, place.2) == (epoch, sequence))
    }

    /// Asks the link to send an entry as if it had never been sent. Kept in memory only: a link that starts anew sends
    /// everything anew.
    pub fn ask_again(&self, entry: &Entry) {
        locked(&self.0.shelf).asked.insert(entry.id);
        self.0.bell.ring();
    }

    /// A one-way link has sent all of an entry for the n-th time, of so many until it counts as sent and unconfirmed.
    pub fn went(&self, id: &BundleId, round: u32, of: u32) {
        let mut shelf = locked(&self.0.shelf);
        if shelf.places.contains_key(id) {
            shelf.rounds.insert(*id, (round, of));
            drop(shelf);
            self.0.bell.ring();
        }
    }

    /// How often each waiting entry went over a one-way link in this process, and of how many.
    #[must_use]
    pub fn rounds(&self) -> Vec<(BundleId, u32, u32)> {
        locked(&self.0.shelf).rounds.iter().map(|(id, (round, of))| (*id, *round, *of)).collect()
    }

    /// What was asked for again since the last call.
    #[must_use]
    pub fn asked_again(&self) -> Vec<BundleId> {
        std::mem::take(&mut locked(&self.0.shelf).asked).into_iter().collect()
    }

    /// Lets an entry go, after what allows it was recorded.
    pub fn remove(&self, entry: &Entry) -> Result<(), SpoolError> {
        self.0.disk.remove_file(&entry.path).map_err(|source| SpoolError::disk(&entry.path, source))?;
        locked(&self.0.shelf).take(entry);
        Ok(())
    }
}

impl Shelf {
    fn put(&mut self, entry: Entry) {
        let place = place(&entry);
        self.places.insert(entry.id, place);
        self.bytes += entry.size;
        if let Some(before) = self.entries.insert(place, entry) {
            self.bytes = self.bytes.saturating_sub(before.size);
        }
    }
    fn take(&mut self, entry: &Entry) {
        let place = place(entry);
        if let Some(gone) = self.entries.remove(&place) {
            self.bytes = self.bytes.saturating_sub(gone.size);
            if self.places.get(&entry.id) == Some(&place) {
                self.places.remove(&entry.id);
                self.rounds.remove(&entry.id);
            }
        }
    }
}

fn place(entry: &Entry) -> Place {
    (entry.priority, entry.epoch, entry.sequence, entry.id)
}
