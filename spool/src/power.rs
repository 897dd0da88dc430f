//! The power of one machine, for tests: remembers every effect on its disk that is not durable yet, with what undoes
//! it, and takes some of them back when the power is cut. Works on the real file system; what was removed or replaced
//! rests in a graveyard beside the spool until it is durable that it went.
//!
//! The model is strict, and no stricter than file systems may be:
//! - a name that was made, moved or removed is durable once its directory was synced (a move: both directories). At a
//!   cut every other one stays or goes by chance; a move is never half done; what built on something lost is lost too;
//! - bytes are durable once their file was synced. At a cut what was appended stays, is cut anywhere, reads as zeros or
//!   as anything; what was written over comes back, whole or in part; what was cut off comes back;
//! - a sync that failed has lost the file's chance: no later sync of the same file counts, and asking for one is an
//!   error of ours that [`Power::broken`] tells. But for the ledger's levels: they go after a failed sync, a disk may
//!   refuse even that, and the next process, which cannot know, goes on with them. At a cut they are lost all the same,
//!   and must be computed anew from the records.
//!
//! Not played: modes and times (a mode may be lost with the power), and files that apps write past [`crate::Disk`], which
//! count as durable at once.

mod content;
mod names;
mod weather;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use content::Contents;
use names::Names;
pub use weather::{Fault, Weather};

use crate::disk::{Effect, PAGE_BYTES, SyncClass};

/// The power of one machine. Clones are the same machine; it outlives its processes.
#[derive(Clone, Debug)]
pub struct Power(Arc<Mutex<Machine>>);

#[derive(Debug)]
struct Machine {
    names: Names,
    contents: Contents,
    weather: Option<Weather>,
    /// Pages of files that cannot be read, by inode, which no other file gets while it is open here.
    spoiled: BTreeMap<(u64, u64), File>,
    without: Option<SyncClass>,
    noise: Noise,
    cuts: u64,
    undone: u64,
    faults: u64,
    broken: Option<String>,
}

impl Power {
    /// A machine under power. Its graveyard is an empty directory on the spool's file system and outside the spool.
    pub fn on(graveyard: &Path, seed: u64) -> io::Result<Power> {
        Ok(Power(Arc::new(Mutex::new(Machine {
            names: Names::new(graveyard)?,
            contents: Contents::default(),
            weather: None,
            spoiled: BTreeMap::new(),
            without: None,
            noise: Noise::new(seed),
            cuts: 0,
            undone: 0,
            faults: 0,
            broken: None,
        }))))
    }

    /// Cuts the power: what was not durable stays or goes by chance, and what is left is durable. No process of this
    /// machine may be running.
    pub fn cut(&self) -> io::Result<()> {
        let mut machine = self.machine();
        let Machine { names, contents, noise, undone, cuts, .. } = &mut *machine;
        *undone += names.cut(noise)? + contents.cut(noise)?;
        *cuts += 1;
        machine.weather = None;
        Ok(())
    }

    /// From now on effects fail as the weather says; none ends it.
    pub fn set_weather(&self, weather: Option<Weather>) {
        self.machine().weather = weather;
    }

    /// A sector goes bad: from now on the page of a file at this place cannot be read. Where all of it is written anew the
    /// disk takes another sector.
    pub fn spoil(&self, path: &Path, at: u64) -> io::Result<()> {
        let file = File::open(path)?;
        self.machine().spoiled.insert((file.metadata()?.ino(), at / PAGE_BYTES), file);
        Ok(())
    }

    /// Every sector can be read again: a cable was loose.
    pub fn heal(&self) {
        self.machine().spoiled.clear();
    }

    /// A machine that lies about one class of sync: says done and does nothing. A test of the tests.
    pub fn lie_about(&self, class: SyncClass) {
        self.machine().without = Some(class);
    }

    /// Cuts so far.
    #[must_use]
    pub fn cuts(&self) -> u64 {
        self.machine().cuts
    }

    /// Effects that cuts have taken back so far.
    #[must_use]
    pub fn undone(&self) -> u64 {
        self.machine().undone
    }

    /// Effects that the weather has refused so far.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.machine().faults
    }

    /// What we did that no program may do on a disk, in words.
    #[must_use]
    pub fn broken(&self) -> Option<String> {
        self.machine().broken.clone()
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does the weather let this happen?
    pub(crate) fn allows(&self, effect: Effect) -> io::Result<()> {
        let mut machine = self.machine();
        let Machine { weather, noise, faults, .. } = &mut *machine;
        let Some(error) = weather.as_ref().and_then(|weather| weather.refuses(effect, noise)) else { return Ok(()) };
        *faults += 1;
        Err(error)
    }

    /// Can so many bytes be read at a place?
    pub(crate) fn reads(&self, file: &File, at: u64, bytes: usize) -> io::Result<()> {
        self.allows(Effect::Read)?;
        self.reads_sectors(file, at, bytes)
    }

    /// How many of so many bytes one read gives: those in front of a bad page.
    pub(crate) fn reads_some(&self, file: &File, at: u64, bytes: usize) -> io::Result<usize> {
        self.allows(Effect::Read)?;
        let mut machine = self.machine();
        if machine.spoiled.is_empty() || bytes == 0 {
            return Ok(bytes);
        }
        let (inode, last) = (file.metadata()?.ino(), at + bytes as u64 - 1);
        let first = machine.spoiled.range((inode, at / PAGE_BYTES)..=(inode, last / PAGE_BYTES)).next();
        let Some((_, page)) = first.map(|(place, _)| *place) else { return Ok(bytes) };
        match usize::try_from((page * PAGE_BYTES).saturating_sub(at)) {
            Ok(before) if before > 0 => Ok(before),
            _ => {
                machine.faults += 1;
                Err(rustix::io::Errno::IO.into())
            }
        }
    }

    /// The same as [`Power::reads`], whatever the weather.
    pub(crate) fn reads_sectors(&self, file: &File, at: u64, bytes: usize) -> io::Result<()> {
        let mut machine = self.machine();
        if machine.spoiled.is_empty() || bytes == 0 {
            return Ok(());
        }
        let (inode, last) = (file.metadata()?.ino(), at + bytes as u64 - 1);
        if machine.spoiled.range((inode, at / PAGE_BYTES)..=(inode, last / PAGE_BYTES)).next().is_none() {
            return Ok(());
        }
        machine.faults += 1;
        Err(rustix::io::Errno::IO.into())
    }

    /// Of so many bytes that are being written when everything ends, how many reach the file.
    pub(crate) fn part(&self, bytes: usize) -> usize {
        let part = self.machine().noise.below(bytes as u64 + 1);
        usize::try_from(part).unwrap_or(bytes)
    }

    /// A file or directory was made.
    pub(crate) fn made(&self, path: &Path) -> io::Result<()> {
        self.machine().names.made(path)
    }

    /// A file was made, and everything that will be written to it is news.
    pub(crate) fn made_file(&self, path: &Path, file: &File) -> io::Result<()> {
        let mut machine = self.machine();
        machine.names.made(path)?;
        machine.contents.touch(file)
    }

    /// So many bytes are about to be written, at a place or at the end.
    pub(crate) fn writes(&self, file: &File, at: Option<u64>, bytes: usize) -> io::Result<()> {
        let mut machine = self.machine();
        if let Some(at) = at.filter(|_| !machine.spoiled.is_empty()) {
            let about = file.metadata()?;
            let (inode, end) = (about.ino(), at + bytes as u64);
            let pages = (inode, at / PAGE_BYTES)..=(inode, end.saturating_sub(1) / PAGE_BYTES);
            for (_, page) in machine.spoiled.range(pages).map(|(place, _)| *place).collect::<Vec<_>>() {
                // To write a part of it the kernel must read the rest.
                if page * PAGE_BYTES < at || end < ((page + 1) * PAGE_BYTES).min(about.len()) {
                    machine.faults += 1;
                    return Err(rustix::io::Errno::IO.into());
                }
                machine.spoiled.remove(&(inode, page));
            }
        }
        machine.contents.writes(file, at, bytes)
    }

    /// A file is about to be cut.
    pub(crate) fn truncates(&self, file: &File, bytes: u64) -> io::Result<()> {
        self.machine().contents.truncates(file, bytes)
    }

    /// Moves a name.
    pub(crate) fn rename(&self, from: &Path, to: &Path, replace: bool) -> io::Result<()> {
        self.machine().names.rename(from, to, replace)
    }

    /// Removes a file's or an empty directory's name.
    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        self.machine().names.remove(path)
    }

    /// The same, by its directory's handle.
    pub(crate) fn remove_at(&self, above: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
        self.machine().names.remove_at(above, name)
    }

    /// Syncs a file.
    pub(crate) fn sync(&self, file: &File, class: SyncClass) -> io::Result<()> {
        let mut machine = self.machine();
        if machine.without == Some(class) {
            return Ok(());
        }
        let again = machine.contents.sync(file)?;
        if again && class != SyncClass::Levels {
            let inode = file.metadata()?.ino();
            let path = std::fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(file)));
            let path = path.unwrap_or_default();
            machine.broken = Some(format!("{} ({inode}) was synced again after its sync failed", path.display()));
        }
        Ok(())
    }

    /// A sync of this file failed.
    pub(crate) fn sync_failed(&self, file: &File) -> io::Result<()> {
        self.machine().contents.failed(file)
    }

    /// Syncs everything.
    pub(crate) fn sync_all(&self) -> io::Result<()> {
        let mut machine = self.machine();
        machine.contents.sync_all();
        machine.names.sync_all()
    }

    /// Syncs a directory.
    pub(crate) fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut machine = self.machine();
        if machine.without == Some(SyncClass::Directory) {
            return Ok(());
        }
        machine.names.sync(path)
    }
}

/// Chance that a seed decides (splitmix64).
#[derive(Debug)]
struct Noise(u64);

impl Noise {
    fn new(seed: u64) -> Noise {
        Noise(seed)
    }
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let one = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let two = (one ^ (one >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        two ^ (two >> 31)
    }
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }
    /// Once in so many times.
    fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test looks at the disk past the spool")]

    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::disk::{Disk, Fuse};

    /// A directory on a machine that may lose power. Everything the test does stands below `dir`.
    struct Bench {
        _root: tempfile::TempDir,
        dir: PathBuf,
        power: Power,
        disk: Disk,
    }

    fn bench(seed: u64) -> Bench {
        let root = tempfile::tempdir().unwrap();
        let (dir, grave) = (root.path().join("dir"), root.path().join("grave"));
        fs::create_dir(&dir).unwrap();
        fs::create_dir(&grave).unwrap();
        let power = Power::on(&grave, seed).unwrap();
        let disk = Disk::with_power(power.clone(), Fuse::after(u64::MAX));
        Bench { _root: root, dir, power, disk }
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// What a story leaves after the cut, over many seeds.
    fn ends<T: Ord>(story: impl Fn(&Bench), look: impl Fn(&Bench) -> T) -> std::collections::BTreeSet<T> {
        let tell = |seed| {
            let bench = bench(seed);
            story(&bench);
            bench.power.cut().unwrap();
            look(&bench)
        };
        (0..200).map(tell).collect()
    }

    #[test]
    fn what_was_synced_survives_every_cut() {
        let left = ends(
            |b| b.disk.write(&b.dir.join("file"), b"whole").unwrap(),
            |b| (names(&b.dir), fs::read(b.dir.join("file")).unwrap()),
        );
        assert_eq!(left.into_iter().collect::<Vec<_>>(), [(vec!["file".to_owned()], b"whole".to_vec())]);
    }

    #[test]
    fn a_lazy_file_may_be_gone_old_or_anything_of_its_length_but_never_two() {
        let left = ends(
            |b| {
                b.disk.write(&b.dir.join("file"), b"old").unwrap();
                b.disk.write_lazy(&b.dir.join("file"), b"new and longer").unwrap();
            },
            |b| {
                let kept = fs::read(b.dir.join("file")).unwrap();
                (names(&b.dir).len(), kept == b"old", kept == b"new and longer", kept.is_empty())
            },
        );
        assert!(left.contains(&(1, true, false, false)), "the replaced file comes back: {left:?}");
        assert!(left.contains(&(1, false, true, false)) && left.contains(&(1, false, false, true)), "{left:?}");
        // Aside and old, where only the move was lost; never none.
        assert!(left.iter().all(|(names, ..)| (1..=2).contains(names)), "{left:?}");
    }

    #[test]
    fn a_move_between_directories_is_never_half_done() {
        let story = |b: &Bench| {
            b.disk.create_dir_all(&b.dir.join("a")).unwrap();
            b.disk.create_dir_all(&b.dir.join("b")).unwrap();
            b.disk.write(&b.dir.join("a/file"), b"1").unwrap();
            b.power.rename(&b.dir.join("a/file"), &b.dir.join("b/file"), true).unwrap();
            b.disk.sync_dir(&b.dir.join("b")).unwrap();
        };
        let left = ends(story, |b| (names(&b.dir.join("a")).len(), names(&b.dir.join("b")).len()));
        assert_eq!(left.into_iter().collect::<Vec<_>>(), [(0, 1), (1, 0)]);
    }

    #[test]
    fn a_removed_tree_comes_back_from_its_root_down() {
        let story = |b: &Bench| {
            b.disk.create_dir_all(&b.dir.join("tree/below")).unwrap();
            b.disk.write(&b.dir.join("tree/below/file"), b"1").unwrap();
            b.disk.remove_tree(&b.dir.join("tree")).unwrap();
            assert!(names(&b.dir).is_empty());
        };
        let left = ends(story, |b| ["tree", "tree/below", "tree/below/file"].map(|path| b.dir.join(path).exists()));
        assert!(left.contains(&[true; 3]) && left.contains(&[false; 3]));
        assert!(left.iter().all(|[tree, below, file]| tree >= below && below >= file), "{left:?}");
    }

    #[test]
    fn a_synced_name_in_a_directory_whose_own_name_was_not_synced_goes_with_it() {
        let story = |b: &Bench| {
            fs::create_dir(b.dir.join("new")).unwrap();
            b.power.made(&b.dir.join("new")).unwrap();
            b.disk.write(&b.dir.join("new/file"), b"1").unwrap();
        };
        let left = ends(story, |b| (b.dir.join("new").exists(), b.dir.join("new/file").exists()));
        assert_eq!(left.into_iter().collect::<Vec<_>>(), [(false, false), (true, true)]);
    }

    #[test]
    fn bytes_written_over_come_back_and_appended_ones_go() {
        let story = |b: &Bench| {
            b.disk.write(&b.dir.join("file"), &[1; 2_048]).unwrap();
            let mut file = b.disk.open_append(&b.dir.join("file")).unwrap();
            b.disk.append(&mut file, &[2; 100]).unwrap();
            drop(file);
            let file = b.disk.open_rw(&b.dir.join("file")).unwrap();
            b.disk.write_at(&file, &[3; 1_024], 512).unwrap();
        };
        let left = ends(story, |b| {
            let kept = fs::read(b.dir.join("file")).unwrap();
            assert_eq!((&kept[..512], &kept[1_536..2_048]), (&[1; 512][..], &[1; 512][..]));
            (kept[512], kept[1_535], kept.len())
        });
        let over: std::collections::BTreeSet<_> = left.iter().map(|(first, last, _)| (*first, *last)).collect();
        assert_eq!(over.into_iter().collect::<Vec<_>>(), [(1, 1), (1, 3), (3, 1), (3, 3)]);
        assert!(left.iter().any(|(.., length)| *length == 2_048) && left.iter().any(|(.., length)| *length == 2_148));
    }

    #[test]
    fn a_second_sync_after_a_failed_one_is_told_and_keeps_nothing() {
        let story = |b: &Bench| {
            let mut file = b.disk.create(&b.dir.join("file")).unwrap();
            b.disk.append(&mut file, b"bytes").unwrap();
            b.disk.sync_dir(&b.dir).unwrap();
            b.power.set_weather(Some(Weather { fault: Fault::Unsynced, one_in: 1 }));
            b.disk.sync_file(&file).unwrap_err();
            b.power.set_weather(None);
            assert_eq!(b.power.broken(), None);
            b.disk.sync_file(&file).unwrap();
            assert!(b.power.broken().is_some_and(|words| words.contains("synced again")));
        };
        let left = ends(story, |b| fs::read(b.dir.join("file")).unwrap());
        assert!(left.contains(&b"bytes"[..]) && left.contains(&b""[..]));
    }

    #[test]
    fn a_file_whose_sync_failed_is_durable_once_all_of_it_was_written_over_and_synced() {
        for (over, durable) in [(&b"other"[..], true), (b"oth", false)] {
            let story = |b: &Bench| {
                let path = b.dir.join("file");
                let mut file = b.disk.create(&path).unwrap();
                b.disk.append(&mut file, b"bytes").unwrap();
                b.disk.sync_dir(&b.dir).unwrap();
                b.power.set_weather(Some(Weather { fault: Fault::Unsynced, one_in: 1 }));
                b.disk.sync_file(&file).unwrap_err();
                b.power.set_weather(None);
                let file = b.disk.open_rw(&path).unwrap();
                b.disk.write_at(&file, over, 0).unwrap();
                b.disk.sync_file(&file).unwrap();
                assert_eq!(b.power.broken().is_none(), durable);
            };
            let left = ends(story, |b| fs::read(b.dir.join("file")).unwrap());
            assert_eq!(left.iter().all(|bytes| *bytes == b"other"), durable);
        }
    }

    #[test]
    fn weather_refuses_what_it_is_about_and_ends() {
        let b = bench(1);
        for fault in Fault::ALL {
            b.power.set_weather(Some(Weather { fault, one_in: 1 }));
            let made = b.disk.write(&b.dir.join("file"), b"1");
            assert_eq!(made.is_ok(), fault == Fault::Unreadable, "{fault:?}");
            b.power.set_weather(None);
            b.disk.write(&b.dir.join("file"), b"1").unwrap();
        }
        assert!(b.power.faults() >= 5);
    }

    #[test]
    fn a_rename_to_a_new_name_that_cannot_be_synced_has_not_happened() {
        let b = bench(1);
        b.disk.write(&b.dir.join("one"), b"1").unwrap();
        b.power.set_weather(Some(Weather { fault: Fault::Unsynced, one_in: 1 }));
        b.disk.rename_new(&b.dir.join("one"), &b.dir.join("two")).unwrap_err();
        assert_eq!(names(&b.dir), ["one"]);
    }
}
