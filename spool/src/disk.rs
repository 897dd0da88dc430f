//! The one file that renames, links, removes and syncs. Everything durable goes through a [`Disk`], so that a test can
//! take the power away after any effect and look at what is left.
//!
//! Two habits of disks are built in. A rename is durable only when both directories were synced. A failed fsync is
//! never tried again on the same file: the kernel may have dropped the pages and would say yes the second time.
#![allow(clippy::disallowed_methods, reason = "this is the one file that may")]

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags};

/// Folders in folders that [`Disk::remove_tree`] follows; a parcel has at most 32.
const DEPTH_MAX: u32 = 64;

/// What is left of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Free {
    /// Bytes that this process may still write.
    pub bytes: u64,
    /// Files that may still be made; the largest number where the file system does not count them.
    pub inodes: u64,
}

/// A budget of effects for tests. Once it is spent every effect fails, as if the process had died just before it.
#[derive(Clone, Debug)]
pub struct Fuse(Arc<Budget>);

#[derive(Debug)]
struct Budget {
    used: AtomicU64,
    limit: u64,
}

impl Fuse {
    /// Lets so many effects happen.
    #[must_use]
    pub fn after(effects: u64) -> Fuse {
        Fuse(Arc::new(Budget { used: AtomicU64::new(0), limit: effects }))
    }
    /// Has an effect been refused?
    #[must_use]
    pub fn burnt(&self) -> bool {
        self.0.used.load(Ordering::SeqCst) > self.0.limit
    }
    /// Effects asked for so far, the refused ones included.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.0.used.load(Ordering::SeqCst)
    }
    fn blow(&self) -> bool {
        self.0.used.fetch_add(1, Ordering::SeqCst) >= self.0.limit
    }
}

/// What touches the disk. Clones share their fuse and their gate.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    fuse: Option<Fuse>,
    /// Every effect holds it shared for as long as it lasts and never two at once; a snapshot holds it alone. So what a
    /// snapshot sees is what a power cut at that moment would leave, and the argument about those covers it.
    gate: Arc<RwLock<()>>,
}

/// No effect happens while this lives, except through it.
pub struct Frozen<'a> {
    disk: &'a Disk,
    _gate: RwLockWriteGuard<'a, ()>,
}

impl Frozen<'_> {
    /// Gives a file a second name on the same file system, for a moment: not synced, because what a power cut leaves of
    /// it is swept at the next start.
    pub fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.burn()?;
        fs::hard_link(from, to)
    }
}

impl Disk {
    /// The disk.
    #[must_use]
    pub fn real() -> Disk {
        Disk::default()
    }

    /// A disk that dies after a number of effects.
    #[must_use]
    pub fn with_fuse(fuse: Fuse) -> Disk {
        Disk { fuse: Some(fuse), ..Disk::default() }
    }

    /// The right to one effect. Held while it lasts; never asked for while another is held, or a waiting snapshot and
    /// this thread would wait for each other.
    fn spend(&self) -> io::Result<RwLockReadGuard<'_, ()>> {
        let turn = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        self.burn()?;
        Ok(turn)
    }

    fn burn(&self) -> io::Result<()> {
        match &self.fuse {
            Some(fuse) if fuse.blow() => Err(io::Error::other("fuse burnt")),
            _ => Ok(()),
        }
    }

    /// Waits until no effect is under way and lets none begin.
    #[must_use]
    pub fn freeze(&self) -> Frozen<'_> {
        Frozen { disk: self, _gate: self.gate.write().unwrap_or_else(PoisonError::into_inner) }
    }

    /// Syncs everything on the file system that a path stands on: once, where a sync of each of a million new files would
    /// take longer than a restore may.
    pub fn sync_file_system(&self, path: &Path) -> io::Result<()> {
        let _turn = self.spend()?;
        Ok(rustix::fs::syncfs(File::open(path)?)?)
    }

    /// Makes a directory and those above it, and syncs the parent of each that was missing.
    pub fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.make_dirs(path, 0o777)
    }

    /// Makes a directory (and those above it) that only this user may enter. A setgid bit is inherited, so that files
    /// made inside an outlet's staging still get the outlet's group.
    pub fn create_dir_private(&self, path: &Path) -> io::Result<()> {
        self.make_dirs(path, 0o700)
    }

    fn make_dirs(&self, path: &Path, mode: u32) -> io::Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        let parent = parent(path);
        if !parent.is_dir() {
            self.make_dirs(parent, mode)?;
        }
        let turn = self.spend()?;
        let made = fs::DirBuilder::new().mode(mode).create(path);
        drop(turn);
        match made {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => self.sync_dir(parent),
        }
    }

    /// Sets the mode of a directory or file, setgid included.
    pub fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        let _turn = self.spend()?;
        Ok(rustix::fs::chmod(path, Mode::from_raw_mode(mode))?)
    }

    /// Puts a whole file in place: written aside, synced, renamed, its directory synced.
    pub fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let aside = aside(path);
        let mut file = self.create_aside(&aside)?;
        self.append(&mut file, bytes)?;
        self.sync_file(&file)?;
        drop(file);
        self.rename(&aside, path)
    }

    /// As [`Disk::write`], by way of another directory of the same file system: one that is swept at start, where the
    /// target's own is one of too many to look through.
    pub fn write_by_way_of(&self, dir: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let aside = aside(&dir.join(ASIDE));
        let mut file = self.create_aside(&aside)?;
        self.append(&mut file, bytes)?;
        self.sync_file(&file)?;
        drop(file);
        self.move_over(&aside, path)?;
        // Not the other directory: where a power cut brings the name back there, the next start sweeps it.
        self.sync_dir(parent(path))
    }

    /// As [`Disk::write`] without a sync: appears whole or not at all, but a power cut may take it away again.
    pub fn write_lazy(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let aside = aside(path);
        let mut file = self.create_aside(&aside)?;
        self.append(&mut file, bytes)?;
        drop(file);
        self.move_over(&aside, path)
    }

    fn move_over(&self, from: &Path, to: &Path) -> io::Result<()> {
        let _turn = self.spend()?;
        fs::rename(from, to)
    }

    /// Never through what stands there: in a folder that a group may write, somebody could have laid a link under the
    /// name aside, and the daemon would write wherever it leads.
    fn create_aside(&self, path: &Path) -> io::Result<File> {
        let _turn = self.spend()?;
        let create = || OpenOptions::new().write(true).create_new(true).open(path);
        match create() {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(path)?;
                create()
            }
            done => done,
        }
    }

    /// A new file; one of that name must not exist.
    pub fn create(&self, path: &Path) -> io::Result<File> {
        let _turn = self.spend()?;
        OpenOptions::new().read(true).write(true).create_new(true).open(path)
    }

    /// A file to write on at its end, made where it is missing.
    pub fn open_append(&self, path: &Path) -> io::Result<File> {
        let _turn = self.spend()?;
        OpenOptions::new().read(true).append(true).create(true).open(path)
    }

    /// A file to read and write anywhere, made where it is missing.
    pub fn open_rw(&self, path: &Path) -> io::Result<File> {
        let _turn = self.spend()?;
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
    }

    /// Writes where the file stands. A burning fuse leaves half of the bytes, as a power cut does.
    pub fn append(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        let turn = self.spend();
        if let Err(error) = turn {
            if self.fuse.as_ref().is_some_and(|fuse| fuse.used() == fuse.0.limit + 1) {
                let (half, _) = bytes.split_at(bytes.len() / 2);
                file.write_all(half)?;
            }
            return Err(error);
        }
        file.write_all(bytes)
    }

    /// Writes at a place in the file.
    pub fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        let _turn = self.spend()?;
        file.write_all_at(bytes, offset)
    }

    /// Cuts a file to a length. Its content is durable only after a sync.
    pub fn truncate(&self, file: &File, bytes: u64) -> io::Result<()> {
        let _turn = self.spend()?;
        file.set_len(bytes)
    }

    /// Syncs content and size and everything else. Not to be tried again where it failed.
    pub fn sync_file(&self, file: &File) -> io::Result<()> {
        let _turn = self.spend()?;
        file.sync_all()
    }

    /// Syncs content and size. Not to be tried again where it failed.
    pub fn sync_data(&self, file: &File) -> io::Result<()> {
        let _turn = self.spend()?;
        file.sync_data()
    }

    /// Syncs a directory: what was made, renamed or removed in it is durable.
    pub fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let _turn = self.spend()?;
        File::open(path)?.sync_all()
    }

    /// Renames, over what was there, then syncs both directories.
    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.move_over(from, to)?;
        self.sync_both(from, to)
    }

    /// Renames unless the name is taken ([`io::ErrorKind::AlreadyExists`]), then syncs both directories.
    pub fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        let turn = self.spend()?;
        match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // NFS and some FUSE file systems do not know the flag. The daemon alone writes in these directories.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP) => {
                if fs::symlink_metadata(to).is_ok() {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                fs::rename(from, to)?;
            }
            other => other?,
        }
        drop(turn);
        self.sync_both(from, to)
    }

    fn sync_both(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (source, target) = (parent(from), parent(to));
        self.sync_dir(target)?;
        if source != target {
            self.sync_dir(source)?;
        }
        Ok(())
    }

    /// Copies a file's content under a name that must not exist: written aside, synced, renamed, directory synced.
    pub fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        let aside = aside(to);
        let mut file = self.create_aside(&aside)?;
        io::copy(&mut File::open(from)?, &mut file)?;
        self.sync_file(&file)?;
        self.rename_new(&aside, to)
    }

    /// Moves a file under a name that must not exist, by rename or, across file systems, by copy and removal.
    pub fn move_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        match self.rename_new(from, to) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                self.copy(from, to)?;
                self.remove_file(from)
            }
            other => other,
        }
    }

    /// Removes a file; a missing one is fine. A power cut may bring it back, and every stage lives with that.
    pub fn remove_file(&self, path: &Path) -> io::Result<()> {
        let _turn = self.spend()?;
        gone(fs::remove_file(path))
    }

    /// Removes an empty directory; a missing one is fine.
    pub fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let _turn = self.spend()?;
        gone(fs::remove_dir(path))
    }

    /// Removes a file or a directory with all that is in it; a missing one is fine. Walks by handles: an app that still
    /// holds a folder of its drop and puts a link into it removes nothing elsewhere.
    pub fn remove_tree(&self, path: &Path) -> io::Result<()> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        match rustix::fs::open(parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
            Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
            Ok(parent) => self.remove_at(parent.as_fd(), name, DEPTH_MAX),
        }
    }

    fn remove_at(&self, above: BorrowedFd<'_>, name: &OsStr, depth: u32) -> io::Result<()> {
        let about = match rustix::fs::statat(above, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(rustix::io::Errno::NOENT) => return Ok(()),
            other => other?,
        };
        if FileType::from_raw_mode(about.st_mode) != FileType::Directory {
            let _turn = self.spend()?;
            return gone(rustix::fs::unlinkat(above, name, AtFlags::empty()).map_err(Into::into));
        }
        if depth == 0 {
            // Deeper than any parcel of ours: the library's own walk, which follows no link either.
            let _turn = self.spend()?;
            let through = Path::new("/proc/self/fd").join(above.as_raw_fd().to_string()).join(name);
            return gone(fs::remove_dir_all(through));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let here = rustix::fs::openat(above, name, flags, Mode::empty())?;
        for child in rustix::fs::Dir::read_from(&here)? {
            let child = child?;
            let child = OsStr::from_bytes(child.file_name().to_bytes());
            if child != "." && child != ".." {
                self.remove_at(here.as_fd(), child, depth - 1)?;
            }
        }
        let _turn = self.spend()?;
        gone(rustix::fs::unlinkat(above, name, AtFlags::REMOVEDIR).map_err(Into::into))
    }

    /// What is left of the file system a path stands on.
    pub fn free(&self, path: &Path) -> io::Result<Free> {
        let about = rustix::fs::statvfs(path)?;
        // btrfs and some network file systems count no inodes and say 0 of 0.
        let inodes = if about.f_files == 0 { u64::MAX } else { about.f_favail };
        Ok(Free { bytes: about.f_bavail.saturating_mul(about.f_frsize), inodes })
    }
}

/// Names that [`Disk::write`] makes on its way; what is left of them after a death may be thrown away.
pub const ASIDE: &str = ".tmp-";

fn aside(path: &Path) -> std::path::PathBuf {
    /// Two threads that write the same file must not share the file aside.
    static TURN: AtomicU64 = AtomicU64::new(0);
    let turn = TURN.fetch_add(1, Ordering::Relaxed);
    // Not built from the target's name: that may already be as long as a name can be.
    let mut name = OsString::from(ASIDE);
    name.push(format!("{}-{turn}", std::process::id()));
    path.with_file_name(name)
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_happens_on_a_frozen_disk_until_it_thaws() {
        let dir = tempfile::tempdir().unwrap();
        let (path, second) = (dir.path().join("file"), dir.path().join("second"));
        let disk = Disk::real();
        disk.write(&path, b"old").unwrap();
        let frozen = disk.freeze();
        let (tell, told) = std::sync::mpsc::channel();
        let (other, place) = (disk.clone(), path.clone());
        let writer = std::thread::spawn(move || {
            tell.send(()).unwrap();
            other.write(&place, b"new").unwrap();
        });
        told.recv().unwrap();
        frozen.link(&path, &second).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert!(!dir.path().read_dir().unwrap().any(|e| e.unwrap().file_name().as_bytes().starts_with(b".tmp-")));
        drop(frozen);
        writer.join().unwrap();
        assert_eq!((fs::read(&path).unwrap(), fs::read(&second).unwrap()), (b"new".to_vec(), b"old".to_vec()));
    }

    #[test]
    fn a_burnt_fuse_leaves_the_old_file_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        Disk::real().write(&path, b"old").unwrap();
        for effects in 0..5 {
            let fuse = Fuse::after(effects);
            let written = Disk::with_fuse(fuse.clone()).write(&path, b"new and longer");
            assert!(written.is_err() && fuse.burnt());
            let found = fs::read(&path).unwrap();
            // Effect 4 is the sync of the directory: the new file is there, whole.
            assert_eq!(found, if effects < 4 { &b"old"[..] } else { &b"new and longer"[..] });
        }
        Disk::with_fuse(Fuse::after(5)).write(&path, b"new").unwrap();
    }

    #[test]
    fn a_link_laid_under_a_name_aside_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (link, treasure) = (dir.path().join(".tmp-1-1"), dir.path().join("treasure"));
        fs::write(&treasure, b"kept").unwrap();
        std::os::unix::fs::symlink(&treasure, &link).unwrap();
        Disk::real().create_aside(&link).unwrap();
        assert_eq!(fs::read(&treasure).unwrap(), b"kept");
        assert!(fs::symlink_metadata(&link).unwrap().is_file());
    }

    #[test]
    fn a_taken_name_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        let disk = Disk::real();
        disk.write(&one, b"1").unwrap();
        disk.write(&two, b"2").unwrap();
        assert_eq!(disk.rename_new(&one, &two).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(disk.copy(&one, &two).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&two).unwrap(), b"2");
    }

    #[test]
    fn a_tree_goes_without_its_links_being_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, kept) = (dir.path().join("tree"), dir.path().join("kept"));
        let disk = Disk::real();
        disk.create_dir_all(&tree.join("a/b")).unwrap();
        disk.write(&kept, b"kept").unwrap();
        std::os::unix::fs::symlink(&kept, tree.join("a/link")).unwrap();
        disk.remove_tree(&tree).unwrap();
        disk.remove_tree(&tree).unwrap();
        assert!(!tree.exists() && kept.exists());
    }
}
