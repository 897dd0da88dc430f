//! The state of a running node as it was at one moment, for a backup. Writes nothing that a node reads.
//!
//! The disk is frozen for as long as it takes to give every file of the queues a second name: what is seen then is what a
//! power cut at that moment would leave, and a restore is a start after one. Ledger segments only grow, so their length
//! at that moment is enough. Evidence is too much for that and needs it less: its names are listed before, those that
//! came meanwhile in the frozen moment, and none that is newer than the ledger; a file may have gained receipts since.
//!
//! Dying anywhere is safe: second names and lists lie in `queues/backup`, which is cleared when a snapshot begins and when
//! the spool is opened. Memory is bounded: what was found stands in a list on disk.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, BufWriter, Write};
use std::iter;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use protocol::Crossing;
use protocol::ledger::Checkpoint;
use protocol::receipt::Head;

use crate::carried::level_of;
use crate::disk::Frozen;
use crate::layout::CLAIMED;
use crate::spool::{Spool, SpoolError};
use crate::version::STATE_VERSION;
use crate::{ledger, segment};

/// Folders in folders below one queue; a claimed parcel has at most 32.
const DEPTH_MAX: u32 = 64;
/// Files of claimed drops held open: far below the 1,024 that a process may have by default.
const HELD_MAX: usize = 256;
/// File times are coarse, and a clock may be stepped a little while the names of evidence are listed.
const TIMES_COARSE_S: i64 = 2;

/// One thing of the snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Where it belongs, below the spool's root.
    pub path: PathBuf,
    /// Where its bytes are now.
    pub source: PathBuf,
    /// A folder that is kept although it may be empty.
    pub folder: bool,
    /// How many of its bytes belong to the moment; all of them where the file is only ever replaced whole.
    pub bytes: Option<u64>,
}

/// A node's state at one moment. Dropping it takes the second names away.
pub struct Snapshot {
    spool: Spool,
    /// The ledger at that moment.
    pub head: Head,
    /// The signed note over it.
    pub checkpoint: String,
    /// Claimed drops that hold something that is neither file nor folder, or more files than are held open: they are not
    /// in it.
    pub left_out: u64,
    /// Files of claimed drops, which may be removed before they are read.
    _held: Vec<File>,
}

impl Spool {
    /// Takes a snapshot. One at a time: the second names of another would be cleared away.
    pub fn snapshot(&self) -> Result<Snapshot, SpoolError> {
        let (disk, layout) = (self.disk(), self.layout());
        let dir = layout.snapshot();
        let at = |source| SpoolError::disk(&dir, source);
        disk.remove_tree(&dir).map_err(at)?;
        disk.create_dir_private(&dir).map_err(at)?;
        let list = disk.create(&dir.join(LIST)).map_err(at)?;
        // The file system's own clock, by which the ages of evidence are told.
        let since = list.metadata().map_err(at)?.mtime() - TIMES_COARSE_S;
        let mut lister =
            Lister { root: layout.root(), list: BufWriter::new(list), held: Vec::new(), links: 0, dir: &dir };
        lister.days(&layout.evidence(), i64::MIN).map_err(at)?;
        lister.former(&layout.ledger())?;
        let mut left_out = 0;
        let moment = |head| {
            let frozen = disk.freeze();
            lister.moment(self, &frozen, since, &mut left_out).map(|()| head)
        };
        // First the ledger, then the disk: whoever appends holds them in this order too.
        let head = self.ledger().at_rest(moment).map_err(at)?;
        lister.list.flush().map_err(at)?;
        let checkpoint = Checkpoint { node: self.node().clone(), head }.sign_by(self.signing_key());
        let checkpoint = checkpoint.map_err(|error| at(error.into()))?;
        let held = lister.held;
        Ok(Snapshot { spool: self.clone(), head, checkpoint, left_out, _held: held })
    }
}

impl Snapshot {
    /// Gives every item, then the notices as they stand now: they only tell what the ledger says, and one of a parcel
    /// that came later tells of what a restore would lose.
    pub fn each<E: From<SpoolError>>(&self, mut take: impl FnMut(Item) -> Result<(), E>) -> Result<(), E> {
        let layout = self.spool.layout();
        let list = layout.snapshot().join(LIST);
        let at = |source| E::from(SpoolError::disk(&list, source));
        let mut lines = BufReader::new(File::open(&list).map_err(at)?);
        loop {
            let mut field = || -> io::Result<Option<Vec<u8>>> {
                let mut bytes = Vec::new();
                lines.read_until(0, &mut bytes)?;
                Ok(bytes.pop().map(|_| bytes))
            };
            let Some(path) = field().map_err(at)? else { break };
            let (source, size) = (field().map_err(at)?.unwrap_or_default(), field().map_err(at)?.unwrap_or_default());
            let size = String::from_utf8_lossy(&size).into_owned();
            take(Item {
                path: OsString::from_vec(path).into(),
                source: OsString::from_vec(source).into(),
                folder: size == FOLDER,
                bytes: size.parse().ok(),
            })?;
        }
        for route in crate::spool::children(&layout.root().join("notices"))? {
            for source in crate::spool::children(&route)? {
                let Ok(about) = fs::symlink_metadata(&source) else { continue };
                let Ok(path) = source.strip_prefix(layout.root()).map(Path::to_owned) else { continue };
                if about.is_file() && !hidden(&source) {
                    take(Item { path, source, folder: false, bytes: None })?;
                }
            }
        }
        Ok(())
    }

    /// The form of the state in it.
    #[must_use]
    pub fn state_version(&self) -> u32 {
        STATE_VERSION
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next snapshot or start.
        let _left = self.spool.disk().remove_tree(&self.spool.layout().snapshot());
    }
}

const LIST: &str = "list";
/// In the list instead of a size: a folder, and a file that is read to its end.
const FOLDER: &str = "-";
const WHOLE: &str = "*";

struct Lister<'a> {
    root: &'a Path,
    dir: &'a Path,
    list: BufWriter<File>,
    held: Vec<File>,
    links: u64,
}

impl Lister<'_> {
    /// Everything that must be of one moment.
    fn moment(&mut self, spool: &Spool, frozen: &Frozen<'_>, since: i64, left_out: &mut u64) -> io::Result<()> {
        let layout = spool.layout();
        for route in dirs(&layout.root().join("inlet"))? {
            for claim in entries(&route.join(CLAIMED))? {
                match plain(&claim, DEPTH_MAX)? {
                    Some(files) if self.held.len() + files <= HELD_MAX => self.hold(&claim, DEPTH_MAX)?,
                    _ => *left_out += 1,
                }
            }
        }
        // Delivered and not yet taken away. A restore never lays it out again by itself: the app may have it by then.
        for route in dirs(&layout.root().join("outlet"))? {
            for delivered in entries(&route)?.into_iter().filter(|path| !begins_with_a_point(path)) {
                self.tree(&delivered, Some(frozen), DEPTH_MAX)?;
            }
        }
        for crossing in Crossing::ALL {
            for place in [layout.outbox(crossing), layout.complete(crossing), layout.receipts(crossing)] {
                self.tree(&place, Some(frozen), DEPTH_MAX)?;
            }
        }
        for place in [layout.sealing(), layout.checked(), layout.quarantine(), layout.heads(), layout.names()] {
            self.tree(&place, Some(frozen), DEPTH_MAX)?;
        }
        for place in [layout.desk_trips(), layout.desk_incoming(), layout.desk_answers()] {
            self.tree(&place, Some(frozen), DEPTH_MAX)?;
        }
        for path in entries(&layout.status())?
            .into_iter()
            .filter(|path| path.ends_with("routes-off") || path.ends_with("exceptions"))
        {
            self.file(&path, Some(frozen))?;
        }
        // Without it a restored node would take an older version of its rules.
        if layout.rules_in_force().exists() {
            self.file(&layout.rules_in_force(), Some(frozen))?;
        }
        self.days(&layout.evidence(), since)?;
        for one in segment::list(&layout.ledger())? {
            self.file(&one.path, Some(frozen))?;
        }
        for path in entries(&layout.ledger())?.into_iter().filter(|path| {
            level_of(path).is_some()
                || iter::once(&"ledger.json").chain(&ledger::STARTS).any(|name| path.ends_with(name))
        }) {
            self.file(&path, Some(frozen))?;
        }
        Ok(())
    }

    /// Logs before this one do not change any more.
    fn former(&mut self, ledger: &Path) -> Result<(), SpoolError> {
        for (_, dir) in ledger::former(ledger)? {
            self.tree(&dir, None, DEPTH_MAX).map_err(|source| SpoolError::disk(&dir, source))?;
        }
        Ok(())
    }

    /// Evidence of every day on which something was written since.
    fn days(&mut self, evidence: &Path, since: i64) -> io::Result<()> {
        for year in dirs(evidence)? {
            for month in dirs(&year)? {
                for day in dirs(&month)? {
                    if fs::metadata(&day)?.mtime() < since {
                        continue;
                    }
                    for entry in fs::read_dir(&day)? {
                        let path = entry?.path();
                        if hidden(&path) || (since > i64::MIN && fs::metadata(&path)?.mtime() < since) {
                            continue;
                        }
                        self.file(&path, None)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// A claimed drop, by open handles: intake takes a second name for a link that an app laid, and refuses the drop.
    fn hold(&mut self, place: &Path, depth: u32) -> io::Result<()> {
        if fs::symlink_metadata(place)?.is_dir() {
            self.line(place, place, FOLDER)?;
            return match depth {
                0 => Ok(()),
                _ => entries(place)?.iter().try_for_each(|path| self.hold(path, depth - 1)),
            };
        }
        let file = File::open(place)?;
        let size = file.metadata()?.len().to_string();
        let source = Path::new("/proc/self/fd").join(file.as_raw_fd().to_string());
        self.held.push(file);
        self.line(place, &source, &size)
    }

    fn tree(&mut self, place: &Path, frozen: Option<&Frozen<'_>>, depth: u32) -> io::Result<()> {
        if depth == 0 {
            return Ok(());
        }
        match fs::symlink_metadata(place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(about) if about.is_dir() => {
                self.line(place, place, FOLDER)?;
                entries(place)?.iter().try_for_each(|path| self.tree(path, frozen, depth - 1))
            }
            // A bundle of a staged trip stands in the outbox too, and a trip can be exported again.
            Ok(_) if of_a_trip(self.root, place) => Ok(()),
            Ok(about) if about.is_file() && !hidden(place) => self.file(place, frozen),
            Ok(_) => Ok(()),
        }
    }

    /// A file by a second name; by its own where the file system gives none (an inlet may be a mount of its own). One
    /// that is not of the moment is read as it is by then.
    fn file(&mut self, path: &Path, frozen: Option<&Frozen<'_>>) -> io::Result<()> {
        let Some(frozen) = frozen else { return self.line(path, path, WHOLE) };
        let second = self.dir.join(self.links.to_string());
        // Apps pick up at any moment, and people take from the desk: no gate of ours stops them.
        let theirs = ["outlet", "desk"].iter().any(|folder| path.starts_with(self.root.join(folder)));
        let picked_up = |error: &io::Error| error.kind() == io::ErrorKind::NotFound && theirs;
        let size = match fs::symlink_metadata(path) {
            Err(error) if picked_up(&error) => return Ok(()),
            about => about?.len().to_string(),
        };
        // What is held may be released into its inlet meanwhile, and intake takes a second name for a link that an app
        // laid. Nothing is ever written into it.
        if path.starts_with(self.root.join("quarantine")) {
            return self.line(path, path, &size);
        }
        match frozen.link(path, &second) {
            Ok(()) => {
                self.links += 1;
                self.line(path, &second, &size)
            }
            Err(error) if refuses_links(&error) => self.line(path, path, &size),
            Err(error) if picked_up(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn line(&mut self, path: &Path, source: &Path, size: &str) -> io::Result<()> {
        let path = path.strip_prefix(self.root).map_err(io::Error::other)?;
        for field in [path.as_os_str().as_bytes(), source.as_os_str().as_bytes(), size.as_bytes()] {
            self.list.write_all(field)?;
            self.list.write_all(&[0])?;
        }
        Ok(())
    }
}

/// Another mount, a file system without links, too many of them, or a file of somebody else's.
fn refuses_links(error: &io::Error) -> bool {
    use io::ErrorKind::{CrossesDevices, PermissionDenied, TooManyLinks, Unsupported};
    matches!(error.kind(), CrossesDevices | PermissionDenied | TooManyLinks | Unsupported)
}

/// How many files, where there is nothing but files and folders.
fn plain(path: &Path, depth: u32) -> io::Result<Option<usize>> {
    let about = fs::symlink_metadata(path)?;
    if !about.is_dir() {
        return Ok(about.is_file().then_some(1));
    }
    let mut files = 0;
    for child in entries(path)? {
        match plain(&child, depth.saturating_sub(1))?.filter(|_| depth > 0) {
            Some(more) => files += more,
            None => return Ok(None),
        }
    }
    Ok(Some(files))
}

fn of_a_trip(root: &Path, path: &Path) -> bool {
    path.strip_prefix(root.join("desk/trips")).is_ok()
        && path.extension().is_some_and(|suffix| suffix == "bundle" || suffix == "receipts")
}

fn begins_with_a_point(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(crate::disk::ASIDE.as_bytes()))
}

fn entries(dir: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other?.map(|entry| entry.map(|entry| entry.path())).collect(),
    }
}

fn dirs(dir: &Path) -> io::Result<Vec<PathBuf>> {
    Ok(entries(dir)?.into_iter().filter(|path| path.is_dir()).collect())
}
