//! Sealed, numbered entries waiting to cross. A large one is a file, and the rename into the outbox is its commit; small
//! ones share segments, and one sync commits a group of them.
//!
//! Dying anywhere is safe. A file: before the rename it is thrown away at the next start and its number withdrawn, after
//! it the entry is there and its number counts as used. A small entry is staged first (durable, and seen by nobody),
//! then recorded, then published; at a start the ledger says which of the staged ones were recorded. Removing is
//! recorded before, so an entry that a power cut brings back is only sent once more.

mod segment;
mod unread;

pub(crate) use segment::Known;
pub use segment::{SMALL_BYTES_MAX, Small};

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use protocol::BundleId;
use protocol::parcel::Priority;

use crate::bell::Bell;
use crate::disk::Disk;
use crate::entry::{Content, Entry, EntryKind, Notes};
use crate::outbox::segment::Segments;
use crate::outbox::unread::{Piece, Unread};
use crate::spool::{SpoolError, locked};

/// Entries that one listing gives: more than a medium can list, and still quick to copy.
pub const OUTBOX_LIST_MAX: usize = 100_000;

/// An entry that got a second name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Linked {
    /// Its mode was another before, and is durable once the file is synced.
    pub opened: bool,
}

/// A second name that is only tried.
const TRIAL: &str = ".tmp-second-name";

type Place = (Priority, u64, u64, BundleId);

#[derive(Default)]
struct Shelf {
    /// Rounds of a one-way link.
    rounds: HashMap<BundleId, (u32, u32)>,
    /// To be sent again.
    asked: std::collections::BTreeSet<BundleId>,
    /// Durable and not yet recorded: seen by nobody.
    staged: HashMap<BundleId, Entry>,
    entries: BTreeMap<Place, Entry>,
    places: HashMap<BundleId, Place>,
    bytes: u64,
    /// What the disk did not give.
    unread: Unread,
}

pub(crate) struct Shelves {
    dir: PathBuf,
    disk: Disk,
    bell: Arc<Bell>,
    shelf: Mutex<Shelf>,
    /// Taken before the shelf where both are.
    segments: Mutex<Segments>,
}

/// The outbox of one crossing. This process is its only writer, so what it holds is known in memory.
#[derive(Clone)]
pub struct Outbox(pub(crate) Arc<Shelves>);

impl Outbox {
    /// Reads the directory once. `known` says whether the ledger has recorded a small entry.
    pub(crate) fn open(
        disk: &Disk,
        dir: &Path,
        bell: &Arc<Bell>,
        known: &dyn Fn(&Entry) -> Result<Known, SpoolError>,
    ) -> Result<Outbox, SpoolError> {
        struct Broken(SpoolError);
        impl From<std::io::Error> for Broken {
            fn from(source: std::io::Error) -> Broken {
                Broken(SpoolError::disk(Path::new(""), source))
            }
        }
        let at = |source| SpoolError::disk(dir, source);
        let mut shelf = Shelf::default();
        for file in fs::read_dir(dir).map_err(at)? {
            let path = file.map_err(at)?.path();
            let size = fs::metadata(&path).map_err(at)?.len();
            if let Some(entry) = Entry::from_outbox(&path, size) {
                shelf.put(entry);
            }
        }
        let mut segments = Segments::new(disk, dir, segment::SEGMENT_BYTES);
        let found = segments.load(&|entry| known(entry).map_err(Broken)).map_err(|Broken(error)| match error {
            SpoolError::Disk { source, .. } => at(source),
            other => other,
        })?;
        found.into_iter().for_each(|entry| shelf.put(entry));
        Ok(Outbox::with(disk, dir, bell, shelf, segments))
    }

    /// The outbox of a crossing that was not set up: always empty; committing fails on the missing directory.
    pub(crate) fn none(disk: &Disk, dir: &Path, bell: &Arc<Bell>) -> Outbox {
        Outbox::with(disk, dir, bell, Shelf::default(), Segments::new(disk, dir, segment::SEGMENT_BYTES))
    }

    fn with(disk: &Disk, dir: &Path, bell: &Arc<Bell>, shelf: Shelf, segments: Segments) -> Outbox {
        Outbox(Arc::new(Shelves {
            dir: dir.to_owned(),
            disk: disk.clone(),
            bell: bell.clone(),
            shelf: Mutex::new(shelf),
            segments: Mutex::new(segments),
        }))
    }

    /// Makes a group of small entries durable with one sync. Nobody sees them before [`Outbox::publish`], and a start
    /// forgets those that the ledger does not know: record them in between.
    pub fn stage(&self, group: &[Small]) -> Result<(), SpoolError> {
        if let Some(large) = group.iter().find(|small| small.bytes.len() > SMALL_BYTES_MAX) {
            let (size, got) = (SMALL_BYTES_MAX as u64, large.bytes.len() as u64);
            return Err(SpoolError::TooMany { path: self.0.dir.clone(), size, got });
        }
        let mut segments = locked(&self.0.segments);
        let staged = segments.append(group).map_err(|source| SpoolError::disk(&self.0.dir, source))?;
        // Still under the lock: a segment that is being emptied must not be taken for one that holds nothing else.
        locked(&self.0.shelf).staged.extend(staged.into_iter().map(|entry| (entry.id, entry)));
        Ok(())
    }

    /// Staged entries were recorded: from now on they wait to cross. Ids of none that is staged change nothing.
    pub fn publish(&self, ids: &[BundleId]) {
        let mut shelf = locked(&self.0.shelf);
        let mut news = false;
        for id in ids {
            if let Some(entry) = shelf.staged.remove(id) {
                shelf.put(entry);
                news = true;
            }
        }
        drop(shelf);
        if news {
            self.0.bell.ring();
        }
    }

    /// A staged entry could not be recorded and never will be. One that was published stays.
    pub fn forget(&self, id: &BundleId) -> Result<(), SpoolError> {
        let mut segments = locked(&self.0.segments);
        let staged = locked(&self.0.shelf).staged.remove(id);
        staged.map_or(Ok(()), |entry| self.take_out(&mut segments, &entry))
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
        let mut entry = Entry { id: *id, kind, priority, epoch, sequence, size, path: staged.into(), offset: 0 };
        entry.path = self.0.dir.join(entry.outbox_name()).into();
        if let Err(source) = self.0.disk.rename(staged, &entry.path) {
            // Where only its sync failed the rename is done, and nobody would look for the entry there before a restart.
            // Without a sync of its own: one that fails as well would put the entry where it must not be. A start finds it
            // in either place.
            let _taken_back = self.0.disk.rename_new_unsynced(&entry.path, staged);
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
        Ok(locked(&self.0.shelf).now_at(id))
    }

    /// The bytes of an entry, wherever they are by now: one that was listed a while ago may have been moved. What of them
    /// the disk does not give is noted ([`Outbox::unread`]), whoever reads.
    ///
    /// # Errors
    /// [`std::io::ErrorKind::NotFound`] where it has left the outbox.
    pub fn content(&self, entry: &Entry) -> io::Result<Content> {
        let mut entry = entry.clone();
        loop {
            match entry.open_on(&self.0.disk) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    let now = locked(&self.0.shelf).now_at(&entry.id).ok_or(error)?;
                    if now.path == entry.path {
                        return Err(std::io::ErrorKind::NotFound.into());
                    }
                    entry = now;
                }
                Err(error) => {
                    if unread::is_of_disk(&error) {
                        self.not_read(&entry, 0, 1);
                    }
                    return Err(error);
                }
                Ok(content) => {
                    let before = locked(&self.0.shelf).unread.of(&entry.id);
                    return Ok(content.with_notes(Reader { outbox: self.clone(), id: entry.id, before }));
                }
            }
        }
    }

    /// So many bytes of an entry could not be read from there on, under whatever name. One that has left the outbox is not
    /// noted.
    pub fn not_read(&self, entry: &Entry, at: u64, bytes: u64) {
        let mut shelf = locked(&self.0.shelf);
        if shelf.places.contains_key(&entry.id) && at < entry.size {
            shelf.unread.note(entry.id, Piece { at, bytes: bytes.clamp(1, entry.size - at) });
        }
    }

    /// Entries that stand here and that the disk did not give when somebody last read them, at most so many; and how many
    /// there are.
    #[must_use]
    pub fn unread(&self, limit: usize) -> (Vec<Entry>, usize) {
        let shelf = locked(&self.0.shelf);
        (shelf.unread.ids().filter_map(|id| shelf.now_at(id)).take(limit).collect(), shelf.unread.len())
    }

    /// Did the disk not give this one when somebody last read it?
    #[must_use]
    pub fn is_unread(&self, id: &BundleId) -> bool {
        locked(&self.0.shelf).unread.of(id).is_some()
    }

    /// Nobody waits for this one any more: that it could not be read is forgotten until somebody tries again.
    pub fn no_matter(&self, id: &BundleId) {
        locked(&self.0.shelf).unread.forget(id);
    }

    /// Tries those again where they failed, until the first that fails again: what can be read is not noted any more. Says
    /// whether none failed.
    pub fn look_at_unread(&self) -> bool {
        let turns = locked(&self.0.shelf).unread.turns();
        for (id, piece) in turns {
            let Some(entry) = locked(&self.0.shelf).now_at(&id) else { continue };
            let tried =
                entry.open_on(&self.0.disk).and_then(|content| piece.read(|into, at| content.read_exact_at(into, at)));
            let mut shelf = locked(&self.0.shelf);
            match tried {
                Ok(()) => shelf.unread.forget(&id),
                Err(_) => {
                    shelf.unread.tried_in_vain(id);
                    return false;
                }
            }
        }
        true
    }

    /// Is an entry a file of its own, and no part of a segment?
    #[must_use]
    pub fn is_own_file(&self, entry: &Entry) -> bool {
        segment::number_of(&entry.path).is_none()
    }

    /// Gives an entry a second name, which must not be taken, so that nothing of it is copied: the bytes, which nobody changes,
    /// last as long as one of the names does. None where that cannot be; neither the name nor the mode is synced.
    ///
    /// Whoever may enter the folder of that name may read it, and only this account may write to it: the folder decides who
    /// comes there, so the file is open to readers, and no group has to be given away.
    pub fn link(&self, entry: &Entry, to: &Path) -> io::Result<Option<Linked>> {
        use std::os::unix::fs::MetadataExt as _;
        if !self.is_own_file(entry) {
            return Ok(None);
        }
        let Ok(about) = fs::symlink_metadata(&entry.path) else { return Ok(None) };
        let mode = about.mode() & 0o7777;
        let wanted = (mode & !0o022) | 0o444;
        // Gone since it was looked at, of another account, or damaged: whoever copies it learns which.
        if mode != wanted && self.0.disk.set_mode(&entry.path, wanted).is_err() {
            return Ok(None);
        }
        match self.0.disk.link_unsynced(&entry.path, to) {
            Ok(()) => Ok(Some(Linked { opened: mode != wanted })),
            Err(error) if is_no_link(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Does a folder take a second name of an entry? Tried, because a disk tells it in no other way, and taken away again.
    #[must_use]
    pub fn gives_link(&self, entry: &Entry, folder: &Path) -> bool {
        // What a death leaves of a trial the next takes away.
        let (disk, trial) = (&self.0.disk, folder.join(TRIAL));
        let linked = || disk.remove_file(&trial).and_then(|()| disk.link_unsynced(&entry.path, &trial));
        self.is_own_file(entry) && linked().and_then(|()| disk.remove_file(&trial)).is_ok()
    }

    /// Does it hold this entry?
    pub(crate) fn holds(&self, id: &BundleId) -> bool {
        locked(&self.0.shelf).places.contains_key(id)
    }

    /// Segments in which this start could not read something, and which are therefore kept.
    pub(crate) fn in_doubt(&self) -> Vec<PathBuf> {
        locked(&self.0.segments).in_doubt()
    }

    /// Segments that are kept for what may stand in them.
    pub(crate) fn kept(&self) -> Vec<PathBuf> {
        locked(&self.0.segments).kept()
    }

    /// All that the ledger promises stands somewhere: what could not be read was promised to nobody. Where records up to
    /// an epoch are lost, that is said of later files only.
    pub(crate) fn nothing_is_missing(&self, lost_through: Option<u64>) -> Result<(), SpoolError> {
        locked(&self.0.segments)
            .nothing_is_missing(lost_through)
            .map_err(|source| SpoolError::disk(&self.0.dir, source))
    }

    /// Files that are kept and hold nothing that waits get another name, which no start looks at.
    pub(crate) fn set_kept_aside(&self) -> Result<(), SpoolError> {
        locked(&self.0.segments).set_kept_aside().map_err(|source| SpoolError::disk(&self.0.dir, source))
    }

    /// The newest epoch of what waits here or is kept here.
    pub(crate) fn newest_epoch(&self) -> u64 {
        let kept = locked(&self.0.segments).newest_epoch();
        locked(&self.0.shelf).entries.keys().map(|place| place.1).fold(kept, u64::max)
    }

    /// Every number of ours that waits here.
    pub(crate) fn numbers(&self) -> HashSet<(u64, u64)> {
        locked(&self.0.shelf).entries.keys().map(|place| (place.1, place.2)).collect()
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

    /// Lets an entry go, after what allows it was recorded. One that is gone already is fine.
    pub fn remove(&self, entry: &Entry) -> Result<(), SpoolError> {
        let mut segments = locked(&self.0.segments);
        if segment::number_of(&entry.path).is_none() {
            self.0.disk.remove_file(&entry.path).map_err(|source| SpoolError::disk(&entry.path, source))?;
            locked(&self.0.shelf).take(entry);
            return Ok(());
        }
        // As it stands now: it may have been moved since it was listed.
        let Some(entry) = self.find(&entry.id)? else { return Ok(()) };
        self.take_out(&mut segments, &entry)
    }

    /// Marks a small entry as gone, and moves what is left of a segment that holds hardly anything else.
    fn take_out(&self, segments: &mut Segments, entry: &Entry) -> Result<(), SpoolError> {
        let at = |source| SpoolError::disk(&entry.path, source);
        let sparse = segments.remove(entry).map_err(at)?;
        let mut shelf = locked(&self.0.shelf);
        shelf.take(entry);
        let Some(sparse) = sparse else { return Ok(()) };
        let within = |other: &&Entry| segment::number_of(&other.path) == Some(sparse);
        if shelf.staged.values().any(|staged| within(&staged)) {
            return Ok(());
        }
        let standing: Vec<Entry> = shelf.entries.values().filter(within).cloned().collect();
        let segment::Moved { moved, unread } = segments.move_out(sparse, &standing).map_err(at)?;
        moved.into_iter().for_each(|moved| shelf.put(moved));
        for left in unread {
            shelf.unread.note(left.id, Piece { at: 0, bytes: left.size });
        }
        drop(shelf);
        self.0.bell.ring();
        Ok(())
    }
}

/// Whoever reads an entry of an outbox, as far as the outbox is told of it.
struct Reader {
    outbox: Outbox,
    id: BundleId,
    /// What was noted when it began.
    before: Option<Piece>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("id", &self.id).field("before", &self.before).finish_non_exhaustive()
    }
}

impl Notes for Reader {
    fn read(&self, at: u64, bytes: u64, failed: Option<&io::Error>) {
        match failed {
            Some(error) if unread::is_of_disk(error) => {
                let entry = locked(&self.outbox.0.shelf).now_at(&self.id);
                if let Some(entry) = entry {
                    self.outbox.not_read(&entry, at, bytes);
                }
            }
            // Gone since, which costs nothing, or noted with another piece meanwhile, which stands.
            None if self.before.is_some_and(|before| before.is_within(at, bytes)) => {
                let mut shelf = locked(&self.outbox.0.shelf);
                if shelf.unread.of(&self.id) == self.before {
                    shelf.unread.forget(&self.id);
                }
            }
            _ => {}
        }
    }
}

/// Another disk, one that knows no second names or has no more of them for this file, one that cannot write to this file
/// any more, or the entry has gone.
fn is_no_link(error: &io::Error) -> bool {
    use io::ErrorKind::{CrossesDevices, NotFound, PermissionDenied, TooManyLinks, Unsupported};
    matches!(error.kind(), CrossesDevices | NotFound | PermissionDenied | TooManyLinks | Unsupported)
        || error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

impl Shelf {
    fn now_at(&self, id: &BundleId) -> Option<Entry> {
        self.places.get(id).and_then(|place| self.entries.get(place)).cloned()
    }
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
                self.unread.forget(&entry.id);
            }
        }
    }
}

fn place(entry: &Entry) -> Place {
    (entry.priority, entry.epoch, entry.sequence, entry.id)
}
