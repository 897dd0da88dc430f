//! The one file that renames, links, removes and syncs. Everything durable goes through a [`Disk`], so that a test can
//! take the power away after any effect and look at what is left.
//!
//! Two habits of disks are built in. A rename is durable only when both directories were synced. A failed fsync is
//! never tried again on the same file: the kernel may have dropped the pages and would say yes the second time.
#![allow(clippy::disallowed_methods, reason = "this is the one file that may")]

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use protocol::Timestamp;

use crate::power::Power;

/// Folders in folders that [`Disk::remove_tree`] follows; a parcel has at most 32.
const DEPTH_MAX: u32 = 64;

/// What the kernel reads at once, and cannot read where one sector of it is bad.
pub const PAGE_BYTES: u64 = 4096;

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
    out: AtomicBool,
}

impl Fuse {
    /// Lets so many effects happen.
    #[must_use]
    pub fn after(effects: u64) -> Fuse {
        Fuse(Arc::new(Budget { used: AtomicU64::new(0), limit: effects, out: AtomicBool::new(false) }))
    }
    /// Burns it now: the process dies between two effects.
    pub fn burn(&self) {
        self.0.out.store(true, Ordering::SeqCst);
    }
    /// Has an effect been refused?
    #[must_use]
    pub fn burnt(&self) -> bool {
        self.0.out.load(Ordering::SeqCst) || self.0.used.load(Ordering::SeqCst) > self.0.limit
    }
    /// Effects asked for so far, the refused ones included.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.0.used.load(Ordering::SeqCst)
    }
    fn blow(&self) -> bool {
        self.0.used.fetch_add(1, Ordering::SeqCst) >= self.0.limit || self.0.out.load(Ordering::SeqCst)
    }
}

/// What is asked of a disk, as far as it decides whether the disk refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Make,
    Link,
    Write,
    Length,
    Rename,
    Remove,
    Mode,
    Sync,
    Read,
}

/// What a sync is for. A test takes one class after the other away, and each time something must be lost, or a ledger
/// call itself damaged after nothing but lost power: a sync that nothing misses is waste. Whoever writes another kind of file whose syncs count by themselves gives it a class here,
/// and writes it through [`Disk::of`] that class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum SyncClass {
    /// Any file.
    #[default]
    File,
    /// Any directory.
    Directory,
    /// Segments of the ledger.
    Ledger,
    /// The levels of the ledger's tree.
    Levels,
    /// The checkpoint over them.
    Checkpoint,
    /// The index.
    Index,
    /// Segments of small entries in an outbox.
    Outbox,
}

/// A file that is to appear whole, by way of a directory of the same file system that is swept at start.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The directory on the way.
    pub by: &'a Path,
    /// Where it is to stand.
    pub path: &'a Path,
    /// What is to stand in it.
    pub bytes: &'a [u8],
}

/// Syncs that wait for the disk at the same time: from here on more of them shorten nothing.
const SYNCS_AT_ONCE: usize = 16;
/// Below this the threads cost more than they save.
const SYNCS_TOGETHER_MIN: usize = 4;

/// What touches the disk. Clones share their fuse, their power and their gate.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    fuse: Option<Fuse>,
    power: Option<Power>,
    class: SyncClass,
    /// Every effect holds it shared for as long as it lasts and never two at once; a snapshot holds it alone. So what a
    /// snapshot sees is what a power cut at that moment would leave, and the argument about those covers it.
    gate: Arc<RwLock<()>>,
    /// A test whose nodes live at a time of its own reads the times of files as theirs.
    ahead_ms: i64,
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
        self.disk.burn(Effect::Link)?;
        fs::hard_link(from, to)?;
        self.disk.power.as_ref().map_or(Ok(()), |power| power.made(to))
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

    /// The disk of a process that dies after a number of effects, in a machine that may lose power.
    #[must_use]
    pub fn with_power(power: Power, fuse: Fuse) -> Disk {
        Disk { fuse: Some(fuse), power: Some(power), ..Disk::default() }
    }

    /// The same disk in a machine whose clock is so many milliseconds ahead of that which dates its files.
    #[must_use]
    pub fn dated_ahead(self, ahead_ms: i64) -> Disk {
        Disk { ahead_ms, ..self }
    }

    /// A time that a file bears, by the clock of the machine.
    #[must_use]
    pub fn date(&self, of_file: Timestamp) -> Timestamp {
        Timestamp(of_file.0.saturating_add_signed(self.ahead_ms))
    }

    /// The same disk for files of which the syncs are of this class.
    #[must_use]
    pub fn of(&self, class: SyncClass) -> Disk {
        Disk { class, ..self.clone() }
    }

    /// The right to one effect. Held while it lasts; never asked for while another is held, or a waiting snapshot and
    /// this thread would wait for each other.
    fn spend(&self, effect: Effect) -> io::Result<RwLockReadGuard<'_, ()>> {
        let turn = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        self.burn(effect)?;
        Ok(turn)
    }

    fn burn(&self, effect: Effect) -> io::Result<()> {
        match &self.fuse {
            Some(fuse) if fuse.blow() => return Err(io::Error::other("fuse burnt")),
            _ => {}
        }
        self.power.as_ref().map_or(Ok(()), |power| power.allows(effect))
    }

    /// Waits until no effect is under way and lets none begin.
    #[must_use]
    pub fn freeze(&self) -> Frozen<'_> {
        Frozen { disk: self, _gate: self.gate.write().unwrap_or_else(PoisonError::into_inner) }
    }

    /// Of a write that is refused, how many bytes reach the file: those before the power went or the disk was full.
    fn part(&self, error: &io::Error, bytes: usize) -> usize {
        let burning = self.fuse.as_ref().is_some_and(|fuse| fuse.0.limit.checked_add(1) == Some(fuse.used()));
        let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        match &self.power {
            Some(power) if burning || full => power.part(bytes),
            None if burning => bytes / 2,
            _ => 0,
        }
    }

    /// Which start of the machine this is: another one after every loss of power.
    #[must_use]
    pub fn boot(&self) -> Vec<u8> {
        match &self.power {
            Some(power) => format!("{} cuts", power.cuts()).into_bytes(),
            None => fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default(),
        }
    }

    fn move_name(&self, from: &Path, to: &Path) -> io::Result<()> {
        let _turn = self.spend(Effect::Rename)?;
        match &self.power {
            Some(power) => power.rename(from, to, true),
            None => fs::rename(from, to),
        }
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
        let turn = self.spend(Effect::Make)?;
        match fs::DirBuilder::new().mode(mode).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Err(_) => {}
            Ok(()) => self.power.as_ref().map_or(Ok(()), |power| power.made(path))?,
        }
        drop(turn);
        self.sync_dir(parent).inspect_err(|_| {
            // Or the next to come by would find it there, and believe that it lasts.
            let _gone = self.remove_dir(path);
        })
    }

    /// Makes one directory without a sync: for what is waste after a death, or is synced with others before it counts.
    pub fn create_dir_lazy(&self, path: &Path) -> io::Result<()> {
        let _turn = self.spend(Effect::Make)?;
        fs::DirBuilder::new().mode(0o700).create(path)?;
        self.power.as_ref().map_or(Ok(()), |power| power.made(path))
    }

    /// Sets the mode of a directory or file, setgid included.
    pub fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        let _turn = self.spend(Effect::Mode)?;
        Ok(rustix::fs::chmod(path, Mode::from_raw_mode(mode))?)
    }

    /// Puts a whole file in place: written aside, synced, renamed, its directory synced.
    pub fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.write_by(&aside(path), path, bytes, true)
    }

    /// Waste goes at once, as far as the disk lets it: where it is full, every byte counts.
    fn write_by(&self, aside: &Path, path: &Path, bytes: &[u8], durable: bool) -> io::Result<()> {
        let mut file = self.create_aside(aside)?;
        let written = self.append(&mut file, bytes);
        let written = if durable { written.and_then(|()| self.sync_file(&file)) } else { written };
        drop(file);
        let moved = written.and_then(|()| if durable { self.rename(aside, path) } else { self.move_name(aside, path) });
        moved.inspect_err(|_| {
            let _gone = self.remove_file(aside);
        })
    }

    /// Puts several whole files in place, which share their syncs. In the order given: none appears before those in front
    /// of it. Where it fails, some of them may be there, each whole, and it is not known which of them last.
    pub fn write_all(&self, files: &[Wanted<'_>]) -> io::Result<()> {
        let asides: Vec<PathBuf> = files.iter().map(|file| aside(&file.by.join(ASIDE))).collect();
        let written = files.iter().zip(&asides).try_for_each(|(file, path)| {
            let mut made = self.create_aside(path)?;
            self.append(&mut made, file.bytes)
        });
        let (mut targets, mut ways) = (BTreeSet::new(), BTreeSet::new());
        let moved = written.and_then(|()| self.sync_all(&asides)).and_then(|()| {
            for (file, path) in files.iter().zip(&asides) {
                self.move_name(path, file.path)?;
                targets.insert(parent(file.path));
                ways.insert(file.by);
            }
            targets.iter().chain(ways.difference(&targets)).try_for_each(|folder| self.sync_dir(folder))
        });
        moved.inspect_err(|_| {
            for path in &asides {
                let _gone = self.remove_file(path);
            }
        })
    }

    /// As [`Disk::write`] without a sync: appears whole or not at all, but a power cut may take it away again, or leave
    /// anything under its name.
    pub fn write_lazy(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.write_by(&aside(path), path, bytes, false)
    }

    /// Never through what stands there: in a folder that a group may write, somebody could have laid a link under the
    /// name aside, and the daemon would write wherever it leads.
    fn create_aside(&self, path: &Path) -> io::Result<File> {
        let _turn = self.spend(Effect::Make)?;
        let create = || OpenOptions::new().write(true).create_new(true).open(path);
        let file = match create() {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.unlink(path)?;
                create()
            }
            done => done,
        }?;
        self.made_file(path, &file)?;
        Ok(file)
    }

    fn made_file(&self, path: &Path, file: &File) -> io::Result<()> {
        self.power.as_ref().map_or(Ok(()), |power| power.made_file(path, file))
    }

    /// A new file; one of that name must not exist.
    pub fn create(&self, path: &Path) -> io::Result<File> {
        let _turn = self.spend(Effect::Make)?;
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        self.made_file(path, &file)?;
        Ok(file)
    }

    /// A file to write on at its end, made where it is missing.
    pub fn open_append(&self, path: &Path) -> io::Result<File> {
        self.open_or_make(path, OpenOptions::new().read(true).append(true).create(true))
    }

    /// A file to read and write anywhere, made where it is missing.
    pub fn open_rw(&self, path: &Path) -> io::Result<File> {
        self.open_or_make(path, OpenOptions::new().read(true).write(true).create(true).truncate(false))
    }

    /// A file that is there, to write in place.
    pub fn open_write(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().write(true).open(path)
    }

    fn open_or_make(&self, path: &Path, how: &OpenOptions) -> io::Result<File> {
        let _turn = self.spend(Effect::Make)?;
        let missing = self.power.is_some() && fs::symlink_metadata(path).is_err();
        let file = how.open(path)?;
        if missing {
            self.made_file(path, &file)?;
        }
        Ok(file)
    }

    /// Writes where the file stands, which is its end. A burning fuse leaves some of the bytes, as a power cut does.
    pub fn append(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        let turn = self.spend(Effect::Write);
        if let Err(error) = turn {
            let (some, _) = bytes.split_at(self.part(&error, bytes.len()));
            self.before_write(file, None, some.len())?;
            file.write_all(some)?;
            return Err(error);
        }
        self.before_write(file, None, bytes.len())?;
        file.write_all(bytes)
    }

    /// Writes at a place in the file. A burning fuse leaves some of the bytes.
    pub fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        let turn = self.spend(Effect::Write);
        if let Err(error) = turn {
            let (some, _) = bytes.split_at(self.part(&error, bytes.len()));
            self.before_write(file, Some(offset), some.len())?;
            file.write_all_at(some, offset)?;
            return Err(error);
        }
        self.before_write(file, Some(offset), bytes.len())?;
        file.write_all_at(bytes, offset)
    }

    fn before_write(&self, file: &File, at: Option<u64>, bytes: usize) -> io::Result<()> {
        match &self.power {
            Some(power) if bytes > 0 => power.writes(file, at, bytes),
            _ => Ok(()),
        }
    }

    /// Fills a buffer from a place in the file.
    pub fn read_at(&self, file: &File, into: &mut [u8], offset: u64) -> io::Result<()> {
        if let Some(power) = &self.power {
            power.reads(file, offset, into.len())?;
        }
        file.read_exact_at(into, offset)
    }

    /// As many bytes as there are at a place in the file, as one read gives them: those in front of a page that the disk
    /// does not read, and an error only where that page is the first.
    pub fn read_some(&self, file: &File, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let Some(power) = &self.power else { return file.read_at(into, offset) };
        let many = power.reads_some(file, offset, into.len())?;
        let (into, _) = into.split_at_mut(many.min(into.len()));
        file.read_at(into, offset)
    }

    /// [`Disk::read_at`] of a file whose reads no weather is about: only its own bad sectors.
    #[cfg(feature = "owner")]
    pub(crate) fn read_sectors(&self, file: &File, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.power.as_ref().map_or(Ok(()), |power| power.reads_sectors(file, offset, into.len()))?;
        file.read_exact_at(into, offset)
    }

    /// [`read_plain`] of a disk that a test may spoil.
    pub fn read_plain(&self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
        let bytes = read_plain(path, bytes_max)?;
        self.power.as_ref().map_or(Ok(()), |power| power.reads(&open_plain(path)?, 0, bytes.len()))?;
        Ok(bytes)
    }

    /// What stands at a path, without following a link.
    pub fn about(&self, path: &Path) -> io::Result<fs::Metadata> {
        self.power.as_ref().map_or(Ok(()), |power| power.allows(Effect::Read))?;
        fs::symlink_metadata(path)
    }

    /// As [`Disk::read_at`], with zeros for the pages that the disk cannot read: one bad sector costs what stands in it and nothing
    /// beside it. Answers whether there was one.
    pub fn read_around(&self, file: &File, into: &mut [u8], offset: u64) -> io::Result<bool> {
        match self.read_at(file, into, offset) {
            Err(error) if is_unreadable(&error) => {}
            other => return other.map(|()| false),
        }
        let (mut at, mut rest, mut lost) = (offset, into, false);
        while !rest.is_empty() {
            let to_the_next = PAGE_BYTES - at % PAGE_BYTES;
            let many = usize::try_from(to_the_next).unwrap_or(usize::MAX).min(rest.len());
            let (page, behind) = rest.split_at_mut(many);
            match self.read_at(file, page, at) {
                Err(error) if is_unreadable(&error) => {
                    page.fill(0);
                    lost = true;
                }
                other => other?,
            }
            (at, rest) = (at + many as u64, behind);
        }
        Ok(lost)
    }

    /// Sets the length of a file. Durable only after a sync.
    pub fn truncate(&self, file: &File, bytes: u64) -> io::Result<()> {
        let _turn = self.spend(Effect::Length)?;
        self.power.as_ref().map_or(Ok(()), |power| power.truncates(file, bytes))?;
        file.set_len(bytes)
    }

    /// Syncs content and size and everything else. Not to be tried again where it failed.
    pub fn sync_file(&self, file: &File) -> io::Result<()> {
        self.sync(file, File::sync_all)
    }

    /// Syncs content and size. Not to be tried again where it failed.
    pub fn sync_data(&self, file: &File) -> io::Result<()> {
        self.sync(file, File::sync_data)
    }

    fn sync(&self, file: &File, sync: fn(&File) -> io::Result<()>) -> io::Result<()> {
        let allowed = self.spend(Effect::Sync);
        match &self.power {
            None => allowed.and_then(|_turn| sync(file)),
            Some(power) if allowed.is_ok() => power.sync(file, self.class),
            // A process that is dead has asked for nothing.
            Some(_) if self.fuse.as_ref().is_some_and(Fuse::burnt) => allowed.map(drop),
            Some(power) => power.sync_failed(file).and(allowed.map(drop)),
        }
    }

    /// Syncs a directory: what was made, renamed or removed in it is durable.
    pub fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let _turn = self.spend(Effect::Sync)?;
        match &self.power {
            Some(power) => power.sync_dir(path),
            None => File::open(path)?.sync_all(),
        }
    }

    /// Syncs several files: content, size and everything else. A journal that is asked by many at once writes once for
    /// all of them (64 new files of 10 KiB on ext4: 180 ms one after the other, 5 ms by 16 threads). Not to be tried
    /// again on the same files where it failed.
    pub fn sync_all(&self, files: &[PathBuf]) -> io::Result<()> {
        self.sync_together(files, |file| self.sync_file(&File::open(file)?))
    }

    /// The same with files that are open, and what became of each: one that fails costs no other.
    pub fn sync_files(&self, files: &[File]) -> Vec<io::Result<()>> {
        self.sync_each(files, |file| self.sync_file(file))
    }

    fn sync_together<T: Sync>(&self, files: &[T], sync: impl Fn(&T) -> io::Result<()> + Sync) -> io::Result<()> {
        // A disk that may lose power keeps count of what happens after what.
        if files.len() < SYNCS_TOGETHER_MIN || self.power.is_some() || self.fuse.is_some() {
            return files.iter().try_for_each(sync);
        }
        self.sync_each(files, sync).into_iter().collect()
    }

    fn sync_each<T: Sync>(&self, files: &[T], sync: impl Fn(&T) -> io::Result<()> + Sync) -> Vec<io::Result<()>> {
        if files.len() < SYNCS_TOGETHER_MIN || self.power.is_some() || self.fuse.is_some() {
            return files.iter().map(sync).collect();
        }
        let (share, sync) = (files.len().div_ceil(SYNCS_AT_ONCE), &sync);
        std::thread::scope(|scope| {
            let others: Vec<_> = files
                .chunks(share)
                .map(|share| {
                    let named = std::thread::Builder::new().name("sync".to_owned());
                    (share, named.spawn_scoped(scope, move || share.iter().map(sync).collect::<Vec<_>>()))
                })
                .collect();
            // All are waited for: an error must not leave one of them at work on files that are given up.
            others
                .into_iter()
                .flat_map(|(share, other)| match other {
                    Ok(other) => other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                    Err(_) => share.iter().map(sync).collect(),
                })
                .collect()
        })
    }

    /// Syncs everything on the file system that a path stands on: once, where a sync of each of a million new files would
    /// take longer than a restore may.
    pub fn sync_file_system(&self, path: &Path) -> io::Result<()> {
        let _turn = self.spend(Effect::Sync)?;
        match &self.power {
            Some(power) => power.sync_all(),
            None => {
                rustix::fs::syncfs(File::open(path)?)?;
                // syncfs(2): before Linux 5.8 it told of no error of writing back.
                let told = rustix::system::uname().release().to_str().is_ok_and(tells_of_errors);
                if told { Ok(()) } else { self.sync_tree(path) }
            }
        }
    }

    /// Syncs every file and directory of a tree, one by one.
    pub fn sync_tree(&self, top: &Path) -> io::Result<()> {
        let mut folders = vec![top.to_owned()];
        while let Some(folder) = folders.pop() {
            let mut files = Vec::new();
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                let kind = entry.file_type()?;
                if kind.is_dir() {
                    folders.push(entry.path());
                } else if kind.is_file() {
                    files.push(entry.path());
                }
            }
            self.sync_all(&files)?;
            self.sync_dir(&folder)?;
        }
        Ok(())
    }

    /// Renames, over what was there, then syncs both directories.
    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.move_name(from, to)?;
        self.sync_both(from, to)
    }

    /// Renames unless the name is taken ([`io::ErrorKind::AlreadyExists`]), then syncs both directories. Where a sync
    /// fails the name goes back, as far as such a disk still does anything: an error means that nothing was moved.
    pub fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.rename_new_unsynced(from, to)?;
        self.sync_both(from, to).inspect_err(|_| {
            let _taken_back = self.rename_new_unsynced(to, from);
        })
    }

    /// One rename of several, before whoever makes them syncs the directories of all.
    pub fn rename_new_unsynced(&self, from: &Path, to: &Path) -> io::Result<()> {
        let _turn = self.spend(Effect::Rename)?;
        if let Some(power) = &self.power {
            return power.rename(from, to, false);
        }
        match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // NFS and some FUSE file systems do not know the flag. The daemon alone writes in these directories.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP) => {
                if fs::symlink_metadata(to).is_ok() {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                fs::rename(from, to)
            }
            other => Ok(other?),
        }
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
        self.copy_from(&mut File::open(from)?, to)
    }

    /// The same with bytes from anywhere.
    pub fn copy_from(&self, from: &mut impl io::Read, to: &Path) -> io::Result<()> {
        let aside = aside(to);
        let written = self.create_aside(&aside).and_then(|mut file| {
            io::copy(from, &mut file)?;
            self.sync_file(&file)?;
            self.rename_new(&aside, to)
        });
        written.inspect_err(|_| {
            // Nobody else would: the folder may be a share, and it may be full.
            let _gone = self.remove_file(&aside);
        })
    }

    /// Gives a file a second name on the same file system, which must not be taken. One of several, before whoever makes them
    /// syncs their directory.
    pub fn link_unsynced(&self, from: &Path, to: &Path) -> io::Result<()> {
        let _turn = self.spend(Effect::Link)?;
        fs::hard_link(from, to)?;
        self.power.as_ref().map_or(Ok(()), |power| power.made(to))
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

    /// Moves a file, or a folder with the files and folders in it, to a name that must not exist, by rename or, across file
    /// systems, file by file. What is neither stays behind, and is gone with the folder.
    pub fn move_tree(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.create_dir_private(parent(to))?;
        match self.rename_new(from, to) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {}
            other => return other,
        }
        if fs::symlink_metadata(from)?.is_file() {
            return self.move_new(from, to);
        }
        self.create_dir_private(to)?;
        for entry in fs::read_dir(from)? {
            let (entry, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
            let name = entry.file_name().unwrap_or_default();
            if kind.is_dir() || kind.is_file() {
                self.move_tree(&entry, &to.join(name))?;
            }
        }
        self.remove_tree(from)
    }

    /// Removes a file; a missing one is fine. A power cut may bring it back, and every stage lives with that.
    pub fn remove_file(&self, path: &Path) -> io::Result<()> {
        let _turn = self.spend(Effect::Remove)?;
        gone(self.unlink(path))
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        match &self.power {
            Some(power) => power.remove(path),
            None => fs::remove_file(path),
        }
    }

    /// Removes an empty directory; a missing one is fine.
    pub fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let _turn = self.spend(Effect::Remove)?;
        gone(match &self.power {
            Some(power) => power.remove(path),
            None => fs::remove_dir(path),
        })
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
            return self.unlink_at(above, name, AtFlags::empty());
        }
        if depth == 0 {
            // Deeper than any parcel of ours: the library's own walk, which follows no link either.
            let _turn = self.spend(Effect::Remove)?;
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
        self.unlink_at(above, name, AtFlags::REMOVEDIR)
    }

    fn unlink_at(&self, above: BorrowedFd<'_>, name: &OsStr, flags: AtFlags) -> io::Result<()> {
        let _turn = self.spend(Effect::Remove)?;
        gone(match &self.power {
            Some(power) => power.remove_at(above, name),
            None => rustix::fs::unlinkat(above, name, flags).map_err(Into::into),
        })
    }

    /// What is left of the file system a path stands on.
    pub fn free(&self, path: &Path) -> io::Result<Free> {
        let about = rustix::fs::statvfs(path)?;
        // btrfs and some network file systems count no inodes and say 0 of 0.
        let inodes = if about.f_files == 0 { u64::MAX } else { about.f_favail };
        Ok(Free { bytes: about.f_bavail.saturating_mul(about.f_frsize), inodes })
    }
}

/// Does a disk say that it cannot read what stands in one place? Everything else is said of the disk or of us.
pub fn is_unreadable(error: &io::Error) -> bool {
    // Of a medium that failed, of bytes that failed the device's own check, and of a file system that checks them.
    let said = [Errno::IO, Errno::NODATA, Errno::ILSEQ, Errno::BADMSG, Errno::UCLEAN];
    said.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Opens a plain file in a folder that others may write: a link is not followed, a pipe not waited for.
pub fn open_plain(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Err(rustix::io::Errno::LOOP) => return Err(io::ErrorKind::InvalidData.into()),
        other => File::from(other?),
    };
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// A link, a pipe, or what is too large, is [`io::ErrorKind::InvalidData`]. Reads a small plain file there, and no more than was agreed.
pub fn read_plain(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let file = open_plain(path)?;
    if file.metadata()?.len() > bytes_max {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, bytes_max), &mut bytes)?;
    Ok(bytes)
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

pub(crate) fn parent(path: &Path) -> &Path {
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

/// Does syncfs of a kernel of this release say what went wrong since the last?
fn tells_of_errors(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|word| word.parse::<u32>().ok());
    let (major, minor) = (numbers.next().flatten(), numbers.next().flatten());
    major.zip(minor).is_some_and(|release| release >= (5, 8))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::power::{Fault, Weather};

    #[test]
    fn a_folder_is_moved_whole_also_to_another_file_system() {
        let other = Path::new("/dev/shm");
        let from = tempfile::tempdir_in(if other.is_dir() { other } else { Path::new(".") }).unwrap();
        let to = tempfile::tempdir().unwrap();
        // Where both are one file system the rename is tested.
        let (drop, place) = (from.path().join("drop"), to.path().join("aside/drop"));
        fs::create_dir_all(drop.join("below/empty")).unwrap();
        fs::write(drop.join("one"), "1").unwrap();
        fs::write(drop.join("below/two"), "2").unwrap();
        Disk::real().move_tree(&drop, &place).unwrap();
        assert!(!drop.exists() && place.join("below/empty").is_dir());
        assert_eq!(fs::read(place.join("one")).unwrap(), b"1");
        assert_eq!(fs::read(place.join("below/two")).unwrap(), b"2");
        let file = from.path().join("file");
        fs::write(&file, "3").unwrap();
        Disk::real().move_tree(&file, &to.path().join("file")).unwrap();
        assert!(!file.exists() && fs::read(to.path().join("file")).unwrap() == b"3");
        assert_eq!(fs::read_dir(to.path()).unwrap().count(), 2, "nothing half moved is left");
    }

    #[test]
    fn a_kernel_that_tells_of_no_errors_has_every_file_of_a_tree_synced() {
        for (release, tells) in [
            ("4.19.90-24.4.v2101.ky10.x86_64", false),
            ("5.8.0", true),
            ("5.7.19-1", false),
            ("6.1", true),
            ("x", false),
        ] {
            assert_eq!(tells_of_errors(release), tells, "{release}");
        }
        for seed in 1..9 {
            let dir = tempfile::tempdir().unwrap();
            let (top, grave) = (dir.path().join("top"), dir.path().join("grave"));
            fs::create_dir_all(top.join("below")).unwrap();
            fs::create_dir(&grave).unwrap();
            let power = Power::on(&grave, seed).unwrap();
            let disk = Disk::with_power(power.clone(), Fuse::after(u64::MAX));
            for place in ["one", "below/two"] {
                let mut file = disk.create(&top.join(place)).unwrap();
                disk.append(&mut file, b"all of it").unwrap();
            }
            power.set_weather(Some(Weather { fault: Fault::Unsynced, one_in: 1 }));
            let failed = seed % 2 == 0 && disk.sync_tree(&top).is_err();
            power.set_weather(None);
            assert_eq!(failed, seed % 2 == 0);
            if !failed {
                disk.sync_tree(&top).unwrap();
                power.cut().unwrap();
                for place in ["one", "below/two"] {
                    assert_eq!(fs::read(top.join(place)).unwrap(), b"all of it", "{place}, seed {seed}");
                }
            }
        }
    }

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
