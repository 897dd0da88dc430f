//! What comes over one crossing, until it is whole. Verifies nothing; a whole file is renamed into `complete`, and that
//! rename is the commit.
//!
//! Dying anywhere is safe: a partial file continues where it ends. After a restart of the machine partial files are
//! thrown away when the spool is opened, because a power cut may leave a file longer than what was written to it; they
//! cost a resend and nothing else.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use protocol::{BundleId, Crossing};

use crate::disk::is_unreadable;
use crate::entry::{Entry, EntryKind};
use crate::spool::{Spool, SpoolError, locked};

/// Whole files that one listing gives; the rest comes when these are dealt with.
const COMPLETE_LIST_MAX: usize = 50_000;

/// Ids that are being written at this moment, by crossing.
pub(crate) type Busy = Arc<Mutex<HashSet<(Crossing, BundleId)>>>;

/// The arrivals of one crossing.
#[derive(Clone)]
pub struct Arrivals {
    pub(crate) spool: Spool,
    pub(crate) crossing: Crossing,
}

/// A whole file that is brought from elsewhere.
pub struct Incoming {
    /// Its id.
    pub id: BundleId,
    /// What it is.
    pub kind: EntryKind,
    /// Where it lies.
    pub path: PathBuf,
}

/// What to do with an offer.
pub enum Begin {
    /// It is here, or was here: nothing needs to be sent.
    Have,
    /// Send from its offset on.
    Partial(Partial),
}

impl Arrivals {
    /// Begins or continues a file. Refused when the disk is nearly full ([`SpoolError::Full`]) and while another
    /// connection writes the same one ([`SpoolError::Busy`]).
    pub fn begin(&self, id: &BundleId, kind: EntryKind, size: u64) -> Result<Begin, SpoolError> {
        // Somebody is just bringing it in: its name may stand there and not be durable yet.
        if locked(self.spool.busy()).contains(&(self.crossing, *id)) {
            return Err(SpoolError::Busy { bundle: *id });
        }
        if self.have(id, kind)? {
            if kind == EntryKind::Bundle && self.spool.bundle_taken(id)? {
                self.spool.offered(self.crossing, *id);
            }
            return Ok(Begin::Have);
        }
        let path = self.partial_path(id, kind);
        let held = fs::metadata(&path).map_or(0, |about| about.len());
        self.spool.room(size.saturating_sub(held))?;
        let turn = Turn::take(self.spool.busy(), self.crossing, *id)?;
        let disk = self.spool.disk();
        let at = |source| SpoolError::disk(&path, source);
        let file = disk.open_append(&path).map_err(at)?;
        let mut offset = file.metadata().map_err(at)?.len();
        if offset > size {
            // It was announced with another size before: none of it can be trusted.
            disk.truncate(&file, 0).map_err(at)?;
            offset = 0;
        }
        let target = self.complete_path(id, kind);
        Ok(Begin::Partial(Partial { spool: self.spool.clone(), file, path, target, size, offset, turn }))
    }

    /// Is this file here, or was it here and settled?
    pub fn have(&self, id: &BundleId, kind: EntryKind) -> Result<bool, SpoolError> {
        let checked = self.spool.layout().checked().join(Entry::arrival_name(id, kind));
        Ok(self.complete_path(id, kind).exists() || checked.exists() || self.spool.bundle_taken(id)?)
    }

    fn partial_path(&self, id: &BundleId, kind: EntryKind) -> PathBuf {
        self.spool.layout().partial(self.crossing).join(Entry::arrival_name(id, kind))
    }

    fn complete_path(&self, id: &BundleId, kind: EntryKind) -> PathBuf {
        self.spool.layout().complete(self.crossing).join(Entry::arrival_name(id, kind))
    }

    /// The whole files, oldest id first; priority and numbers are not known yet. At most 50,000. One that somebody is
    /// just bringing in is none yet: its name may stand there and not be durable, and nobody may record its arrival.
    pub fn completed(&self) -> Result<Vec<Entry>, SpoolError> {
        let mut found = list(&self.spool.layout().complete(self.crossing))?;
        // Asked afterwards: whoever came to an end in between has made it durable.
        let busy = locked(self.spool.busy());
        found.retain(|entry| !busy.contains(&(self.crossing, entry.id)));
        Ok(found)
    }

    /// Whole files from one folder elsewhere become complete, with one sync of both folders for all of them. None counts as
    /// complete before that. One that the disk does not give lies where it lay, and one of which no sync can be believed is
    /// gone; either costs no other, and is told when those are complete. After any other error each lies where it lay.
    pub fn take_files(&self, files: &[Incoming]) -> Result<(), SpoolError> {
        let (disk, target) = (self.spool.disk(), self.spool.layout().complete(self.crossing));
        let (mut turns, mut opened, mut going, mut failed) = (Vec::new(), Vec::new(), Vec::new(), None);
        for Incoming { id, kind, path } in files {
            let at = |source| SpoolError::disk(path, source);
            if going.iter().any(|(same, _)| *same == path) {
                continue;
            }
            if self.have(id, *kind)? {
                disk.remove_file(path).map_err(at)?;
                continue;
            }
            let file = match crate::disk::open_plain(path) {
                Err(error) if is_unreadable(&error) => {
                    failed.get_or_insert(at(error));
                    continue;
                }
                other => other.map_err(at)?,
            };
            turns.push(Turn::take(self.spool.busy(), self.crossing, *id)?);
            opened.push(file);
            going.push((path, self.complete_path(id, *kind)));
        }
        let Some((first, _)) = going.first() else { return failed.map_or(Ok(()), Err) };
        let folder = first.parent().unwrap_or(&target).to_owned();
        self.spool.room(0)?;
        let mut synced = disk.sync_files(&opened).into_iter();
        going.retain(|(path, _)| match synced.next() {
            Some(Err(error)) => {
                let _gone = disk.remove_file(path);
                failed.get_or_insert(SpoolError::disk(path, error));
                false
            }
            _ => true,
        });
        let mut moved = Vec::new();
        let put = going.iter().try_for_each(|(path, to)| match disk.rename_new_unsynced(path, to) {
            Ok(()) => {
                moved.push((*path, to));
                Ok(())
            }
            // One that is here already, or another file system, which has no group to share a sync with.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => disk.remove_file(path),
            Err(error) if error.kind() == std::io::ErrorKind::CrossesDevices => disk.move_new(path, to),
            Err(error) => Err(error),
        });
        let synced = put.and_then(|()| disk.sync_dir(&target)).and_then(|()| disk.sync_dir(&folder));
        if let Err(error) = synced {
            for (path, to) in moved {
                let _taken_back = disk.rename_new_unsynced(to, path);
            }
            return Err(SpoolError::disk(&folder, error));
        }
        drop(turns);
        self.spool.bell().ring();
        failed.map_or(Ok(()), Err)
    }

    /// A whole file from elsewhere becomes complete: moved, or copied and synced across file systems. One that is here
    /// already is removed from there.
    pub fn take_file(&self, id: &BundleId, kind: EntryKind, path: &Path) -> Result<(), SpoolError> {
        let disk = self.spool.disk();
        let at = |source| SpoolError::disk(path, source);
        if self.have(id, kind)? {
            return disk.remove_file(path).map_err(at);
        }
        let turn = Turn::take(self.spool.busy(), self.crossing, *id)?;
        // Somebody may have put a link or a pipe where a file was listed a moment ago.
        let file = crate::disk::open_plain(path).map_err(at)?;
        self.spool.room(0)?;
        if let Err(error) = disk.sync_file(&file) {
            // No later sync of this file can be believed: it goes, and whoever brought it brings it again.
            let _gone = disk.remove_file(path);
            return Err(at(error));
        }
        match disk.move_new(path, &self.complete_path(id, kind)) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => disk.remove_file(path).map_err(at)?,
            other => other.map_err(at)?,
        }
        drop(turn);
        self.spool.bell().ring();
        Ok(())
    }

    /// A whole file was verified and its arrival recorded: from now on it lies in `checked` until it is relayed or
    /// delivered. Dying before the rename is safe: the record says that it arrived, and doing it again is fine.
    pub fn check_in(&self, entry: &Entry) -> Result<Entry, SpoolError> {
        let target = self.spool.layout().checked().join(Entry::arrival_name(&entry.id, entry.kind));
        self.spool.disk().rename(&entry.path, &target).map_err(|source| SpoolError::disk(&entry.path, source))?;
        self.spool.bell().ring();
        Ok(Entry { path: target.into(), ..entry.clone() })
    }
}

/// The arrivals in a directory, in the order of their ids and so of their sealing.
pub(crate) fn list(dir: &Path) -> Result<Vec<Entry>, SpoolError> {
    let at = |source| SpoolError::disk(dir, source);
    let mut found = Vec::new();
    for file in fs::read_dir(dir).map_err(at)? {
        let file = file.map_err(at)?;
        // Whatever went between listing and looking is dealt with already.
        let Ok(about) = file.metadata() else { continue };
        found.extend(Entry::from_arrival(&file.path(), about.len()));
    }
    found.sort_by_key(|entry| entry.id);
    found.truncate(COMPLETE_LIST_MAX);
    Ok(found)
}

/// The right to write one partial file.
struct Turn(Busy, (Crossing, BundleId));

impl Turn {
    fn take(busy: &Busy, crossing: Crossing, id: BundleId) -> Result<Turn, SpoolError> {
        if locked(busy).insert((crossing, id)) {
            Ok(Turn(busy.clone(), (crossing, id)))
        } else {
            Err(SpoolError::Busy { bundle: id })
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        locked(&self.0).remove(&self.1);
    }
}

/// A file that is not whole yet. Dropping it keeps what came.
pub struct Partial {
    spool: Spool,
    file: File,
    path: PathBuf,
    target: PathBuf,
    size: u64,
    offset: u64,
    turn: Turn,
}

impl Partial {
    /// Bytes that are here.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Takes the next bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), SpoolError> {
        let end = self.offset + bytes.len() as u64;
        if end > self.size {
            return Err(SpoolError::TooMany { path: self.path.clone(), size: self.size, got: end });
        }
        let disk = self.spool.disk().clone();
        if let Err(source) = disk.append(&mut self.file, bytes) {
            // A full disk may have taken some of it; what stands in the file counts.
            self.offset = self.file.metadata().map_or(self.offset, |about| about.len());
            return Err(SpoolError::disk(&self.path, source));
        }
        self.offset = end;
        Ok(())
    }

    /// All bytes are here: synced, renamed into `complete`, and the bell is rung.
    pub fn finish(self) -> Result<(), SpoolError> {
        if self.offset != self.size {
            return Err(SpoolError::TooFew { path: self.path, size: self.size, got: self.offset });
        }
        let disk = self.spool.disk();
        let at = |source| SpoolError::disk(&self.path, source);
        if let Err(error) = disk.sync_data(&self.file) {
            // No later sync of this file can be believed: it goes, and comes again.
            let _gone = disk.remove_file(&self.path);
            return Err(at(error));
        }
        // Whole is only what a power cut does not take back: where the sync fails the name goes back too, and nobody
        // records the arrival of a file that may be partial again.
        match disk.rename_new(&self.path, &self.target) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                disk.remove_file(&self.path).map_err(at)?
            }
            other => other.map_err(at)?,
        }
        drop(self.turn);
        self.spool.bell().ring();
        Ok(())
    }

    /// What came cannot be right: begins again at 0.
    pub fn restart(&mut self) -> Result<(), SpoolError> {
        self.spool.disk().truncate(&self.file, 0).map_err(|source| SpoolError::disk(&self.path, source))?;
        self.offset = 0;
        Ok(())
    }
}
