//! Names that were made, moved or removed and are not durable yet.
//!
//! Directories are held by handle and told apart by inode, because a directory with news in it may itself be moved.
//! What is removed or replaced is moved into the graveyard, so that it can come back with its content and its inode.
#![allow(clippy::disallowed_methods, reason = "this is below spool::Disk")]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

use super::Noise;

#[derive(Debug)]
struct Folder {
    inode: u64,
    handle: OwnedFd,
}

/// A name in a directory.
#[derive(Clone, Debug)]
struct Spot {
    folder: Arc<Folder>,
    name: OsString,
}

/// Something in the graveyard.
#[derive(Debug)]
struct Buried {
    name: OsString,
    inode: u64,
}

#[derive(Debug)]
enum Change {
    Made { at: Spot },
    Moved { from: Spot, to: Spot, replaced: Option<Buried> },
    Removed { at: Spot, buried: Buried, folder: bool },
}

/// A change that a power cut may take back.
#[derive(Debug)]
struct Pending {
    change: Change,
    /// Of what was made, moved or removed.
    inode: u64,
    /// Directories that were not synced since.
    unsynced: BTreeSet<u64>,
}

/// What two changes can have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    /// A name in a directory.
    Name(u64, OsString),
    /// Where something is to be found.
    Place(u64),
    /// That something is there at all.
    Being(u64),
    /// That something went out of a directory.
    Leaving(u64),
}

#[derive(Debug)]
pub(super) struct Names {
    graveyard: PathBuf,
    grave: OwnedFd,
    folders: BTreeMap<u64, Arc<Folder>>,
    pending: Vec<Pending>,
    buried: u64,
}

impl Names {
    pub(super) fn new(graveyard: &Path) -> io::Result<Names> {
        let grave = open_folder(CWD, graveyard)?;
        let (folders, pending) = (BTreeMap::new(), Vec::new());
        Ok(Names { graveyard: graveyard.to_owned(), grave, folders, pending, buried: 0 })
    }

    fn folder(&mut self, handle: OwnedFd) -> io::Result<Arc<Folder>> {
        let inode = rustix::fs::fstat(&handle)?.st_ino;
        Ok(Arc::clone(self.folders.entry(inode).or_insert_with(|| Arc::new(Folder { inode, handle }))))
    }

    fn spot(&mut self, path: &Path) -> io::Result<Spot> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        let handle = open_folder(CWD, crate::disk::parent(path))?;
        Ok(Spot { folder: self.folder(handle)?, name })
    }

    fn push(&mut self, change: Change, inode: u64) {
        let unsynced = match &change {
            Change::Made { at } | Change::Removed { at, .. } => BTreeSet::from([at.folder.inode]),
            Change::Moved { from, to, .. } => BTreeSet::from([from.folder.inode, to.folder.inode]),
        };
        self.pending.push(Pending { change, inode, unsynced });
    }

    pub(super) fn made(&mut self, path: &Path) -> io::Result<()> {
        let at = self.spot(path)?;
        let inode = at.stat()?.ok_or(io::ErrorKind::NotFound)?.st_ino;
        self.push(Change::Made { at }, inode);
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path, replace: bool) -> io::Result<()> {
        let (from, to) = (self.spot(from)?, self.spot(to)?);
        let moved = from.stat()?.ok_or(io::ErrorKind::NotFound)?;
        let there = to.stat()?;
        if there.is_some() && !replace {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let replaced = match there {
            Some(there) if !is_folder(&there) && !is_folder(&moved) && there.st_ino != moved.st_ino => {
                Some(self.bury(&to, there.st_ino)?)
            }
            _ => None,
        };
        rustix::fs::renameat(&from.folder.handle, &from.name, &to.folder.handle, &to.name)?;
        self.push(Change::Moved { from, to, replaced }, moved.st_ino);
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let at = self.spot(path)?;
        self.take(at)
    }

    pub(super) fn remove_at(&mut self, above: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
        let handle = open_folder(above, Path::new("."))?;
        let at = Spot { folder: self.folder(handle)?, name: name.to_owned() };
        self.take(at)
    }

    fn take(&mut self, at: Spot) -> io::Result<()> {
        let there = at.stat()?.ok_or(io::ErrorKind::NotFound)?;
        let folder = is_folder(&there);
        if folder && !is_empty(open_folder(at.folder.handle.as_fd(), Path::new(&at.name))?)? {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let buried = self.bury(&at, there.st_ino)?;
        self.push(Change::Removed { at, buried, folder }, there.st_ino);
        Ok(())
    }

    fn bury(&mut self, at: &Spot, inode: u64) -> io::Result<Buried> {
        self.buried += 1;
        let name = OsString::from(self.buried.to_string());
        rustix::fs::renameat(&at.folder.handle, &at.name, &self.grave, &name)?;
        Ok(Buried { name, inode })
    }

    /// What is in a directory is durable now, and with it whatever that built on.
    pub(super) fn sync(&mut self, path: &Path) -> io::Result<()> {
        let inode = rustix::fs::stat(path)?.st_ino;
        for pending in &mut self.pending {
            pending.unsynced.remove(&inode);
        }
        let mut needed = BTreeSet::new();
        let mut left = Vec::new();
        for pending in std::mem::take(&mut self.pending).into_iter().rev() {
            if pending.unsynced.is_empty() || pending.leaves().iter().any(|key| needed.contains(key)) {
                needed.extend(pending.holds());
                if let Change::Removed { buried, .. } | Change::Moved { replaced: Some(buried), .. } = &pending.change {
                    self.destroy(buried)?;
                }
            } else {
                left.push(pending);
            }
        }
        left.reverse();
        self.pending = left;
        let used: BTreeSet<u64> = self.pending.iter().flat_map(Pending::folders).collect();
        self.folders.retain(|inode, _| used.contains(inode));
        Ok(())
    }

    /// Everything is durable now.
    pub(super) fn sync_all(&mut self) -> io::Result<()> {
        for pending in std::mem::take(&mut self.pending) {
            if let Change::Removed { buried, .. } | Change::Moved { replaced: Some(buried), .. } = &pending.change {
                self.destroy(buried)?;
            }
        }
        self.folders.clear();
        Ok(())
    }

    fn destroy(&self, buried: &Buried) -> io::Result<()> {
        let path = self.graveyard.join(&buried.name);
        match std::fs::symlink_metadata(&path) {
            Ok(about) if about.is_dir() => std::fs::remove_dir_all(path),
            Ok(_) => std::fs::remove_file(path),
            // It came back.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Takes some of it back, by chance. Answers how many changes.
    pub(super) fn cut(&mut self, noise: &mut Noise) -> io::Result<u64> {
        // Some cuts lose nearly everything, some next to nothing.
        let odds = [1, 1, 2, 2, 8].get(usize::try_from(noise.below(5)).unwrap_or(0)).copied().unwrap_or(2);
        let mut lost_keys = BTreeSet::new();
        let mut lost = Vec::new();
        for pending in &self.pending {
            let built_on_lost = pending.needs().iter().any(|key| lost_keys.contains(key));
            let goes = noise.once_in(odds) || built_on_lost;
            if goes {
                lost_keys.extend(pending.leaves());
            }
            lost.push(goes);
        }
        // Where an app or a person has built on a change since, it was durable.
        let mut kept_keys = BTreeSet::new();
        let mut undone = 0;
        let pending = std::mem::take(&mut self.pending);
        for (one, goes) in pending.iter().zip(lost).rev() {
            let pinned = one.leaves().iter().any(|key| kept_keys.contains(key));
            if !goes {
                continue;
            }
            if pinned || !self.undo(one)? {
                kept_keys.extend(one.holds());
            } else {
                undone += 1;
            }
        }
        self.folders.clear();
        for left in std::fs::read_dir(&self.graveyard)? {
            let name = left?.file_name();
            self.destroy(&Buried { name, inode: 0 })?;
        }
        Ok(undone)
    }

    /// False where it cannot be taken back any more.
    fn undo(&mut self, pending: &Pending) -> io::Result<bool> {
        match &pending.change {
            Change::Made { at } => {
                if at.inode()? != Some(pending.inode) {
                    return Ok(false);
                }
                self.bury(at, pending.inode).map(|_| true)
            }
            Change::Moved { from, to, replaced } => {
                if to.inode()? != Some(pending.inode) || !return_to(&to.folder.handle, &to.name, from)? {
                    return Ok(false);
                }
                match replaced {
                    Some(buried) => return_to(&self.grave, &buried.name, to),
                    None => Ok(true),
                }
            }
            Change::Removed { at, buried, .. } => return_to(&self.grave, &buried.name, at),
        }
    }
}

/// Moves something back to where it was. False where that place is taken, or gone.
fn return_to(from: &OwnedFd, name: &OsStr, to: &Spot) -> io::Result<bool> {
    match rustix::fs::renameat_with(from, name, &to.folder.handle, &to.name, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST | Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

impl Spot {
    fn stat(&self) -> io::Result<Option<Stat>> {
        match rustix::fs::statat(&self.folder.handle, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(None),
            other => Ok(Some(other?)),
        }
    }
    fn inode(&self) -> io::Result<Option<u64>> {
        Ok(self.stat()?.map(|about| about.st_ino))
    }
    fn key(&self) -> Key {
        Key::Name(self.folder.inode, self.name.clone())
    }
}

impl Pending {
    fn folders(&self) -> Vec<u64> {
        match &self.change {
            Change::Made { at } | Change::Removed { at, .. } => vec![at.folder.inode],
            Change::Moved { from, to, .. } => vec![from.folder.inode, to.folder.inode],
        }
    }

    /// What is another way once this is lost.
    fn leaves(&self) -> Vec<Key> {
        let mut keys = vec![Key::Place(self.inode)];
        match &self.change {
            Change::Made { at } => keys.extend([at.key(), Key::Being(self.inode)]),
            Change::Removed { at, .. } => keys.extend([at.key(), Key::Leaving(at.folder.inode)]),
            Change::Moved { from, to, replaced } => {
                keys.extend([from.key(), to.key(), Key::Leaving(from.folder.inode)]);
                keys.extend(replaced.iter().map(|buried| Key::Place(buried.inode)));
            }
        }
        keys
    }

    /// A directory that is removed is empty first.
    fn emptied(&self) -> Option<Key> {
        matches!(self.change, Change::Removed { folder: true, .. }).then_some(Key::Leaving(self.inode))
    }

    /// What stays as it is where this stays: that something else left the same directory is nothing to this change,
    /// unless it removes the directory.
    fn holds(&self) -> Vec<Key> {
        let mut keys = self.leaves();
        keys.retain(|key| !matches!(key, Key::Leaving(_)));
        keys.extend(self.emptied());
        keys
    }

    /// What this is lost with.
    fn needs(&self) -> Vec<Key> {
        let mut keys = self.holds();
        keys.extend(self.folders().into_iter().map(Key::Being));
        keys
    }
}

fn is_folder(about: &Stat) -> bool {
    FileType::from_raw_mode(about.st_mode) == FileType::Directory
}

fn open_folder(at: BorrowedFd<'_>, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(at, path, flags, Mode::empty())?)
}

fn is_empty(folder: OwnedFd) -> io::Result<bool> {
    let readable =
        rustix::fs::openat(&folder, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    for entry in rustix::fs::Dir::read_from(&readable)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}
