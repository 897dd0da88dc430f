//! A spool made from a backup: files are put in place, then a new log begins whose first record names the head of the old
//! one. Knows nothing of archives and keys.
//!
//! **Dying anywhere is safe.** The file `restoring` is written before anything else, and only where no state of a node
//! stands; while it is there no daemon opens the spool, and a restore that runs again takes everything away that an
//! earlier one put there and begins anew. It goes when all is synced. What apps dropped, what is claimed and what an earlier
//! restore set aside of it is never taken away: an inlet may have outlived the disk that the spool was on, and the older
//! backup that is tried next may not hold the drop.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use protocol::ledger::{self, Local, NOTE_BYTES_MAX, Record};
use protocol::receipt::Head;
use protocol::signer::Signatory;
use protocol::suite::Suite;
use protocol::{Name, Timestamp};

use crate::carried::{Carried, Holding};
use crate::disk::Disk;
use crate::inlet::split_id;
use crate::layout::{CLAIMED, Layout};
use crate::ledger::{CHECKPOINT, FORMER, Ledger, STARTS, Sizes, suite_of_ledger};
use crate::segment::{self, Found, Frames, Health, KeptLeaves};
use crate::spool::{SpoolError, children, take_lock};
use crate::version;

/// Bytes read and written at once.
const PIECE_BYTES: usize = 256 * 1024;

/// A restore under way. Holds the lock of the spool.
pub struct Restoring {
    layout: Layout,
    disk: Disk,
    node: Name,
    /// The log in the backup.
    log: u64,
    /// A folder is made once.
    made: std::collections::HashSet<PathBuf>,
    _lock: File,
}

/// How the new log begins.
pub struct Succession<'a> {
    /// Signs its checkpoints.
    pub key: &'a Signatory,
    /// Its number, and the epoch above which all numbers of crossings are new.
    pub log: u64,
    /// The first record, `log-begun`, then others that belong to the restore.
    pub records: Vec<(Record, Local)>,
    /// The papers that begin it, by the node and by an operator ([`protocol::witness::LogStart`]).
    pub starts: [&'a [u8]; 2],
    /// The form of the state that was put in place.
    pub state_version: u32,
}

/// In a backup: the claimed drops of which the disk did not give everything, by their paths, with a zero byte between them.
pub const SPOILED_DROPS: &str = "config/spoiled-drops";

/// The claimed drop that a file or folder of a spool belongs to, by its path below the spool's root.
#[must_use]
pub fn claimed_drop(path: &Path) -> Option<PathBuf> {
    let parts: Vec<Component<'_>> = path.components().take(4).collect();
    let [Component::Normal(inlet), _, Component::Normal(claimed), Component::Normal(_)] = parts.as_slice() else {
        return None;
    };
    (*inlet == "inlet" && *claimed == CLAIMED).then(|| parts.iter().collect())
}

impl Restoring {
    /// Takes the spool below `root`, which holds no state, or that of a restore that did not come to its end.
    pub fn begin(root: &Path, node: &Name, log: u64, disk: &Disk) -> Result<Restoring, SpoolError> {
        let layout = Layout::new(root);
        let at = |source| SpoolError::disk(root, source);
        disk.create_dir_all(root).map_err(at)?;
        let lock = take_lock(disk, &layout.lock())?;
        let marker = layout.restoring();
        if !marker.exists() {
            if let Some(path) = state_in(&layout)? {
                return Err(SpoolError::NotEmpty { path });
            }
            disk.write(&marker, b"a restore was begun here and has not come to its end; run it again\n").map_err(at)?;
        }
        let desk = [layout.desk_trips(), layout.desk_incoming(), layout.desk_answers()];
        let mut gone = vec![layout.queues(), layout.ledger(), layout.index(), layout.evidence(), layout.quarantine()];
        gone.extend(desk);
        gone.extend(["config", "outlet"].map(|of_it| layout.restored().join(of_it)));
        gone.extend([layout.status(), layout.rules_in_force(), root.join(version::ABOUT)]);
        for path in gone {
            disk.remove_tree(&path).map_err(|source| SpoolError::disk(&path, source))?;
        }
        let made = std::collections::HashSet::new();
        Ok(Restoring { layout, disk: disk.clone(), node: node.clone(), log, made, _lock: lock })
    }

    /// Where a path of the backup belongs; none where no backup of ours holds such a path.
    fn place(&self, path: &Path) -> Option<PathBuf> {
        let mut parts = Vec::new();
        for part in path.components() {
            match part {
                Component::Normal(part) => parts.push(part),
                _ => return None,
            }
        }
        let first = parts.first()?.to_str()?;
        let second = parts.get(1).and_then(|part| part.to_str());
        let root = self.layout.root();
        let below = |top: PathBuf, skip: usize| parts.iter().skip(skip).fold(top, |path, part| path.join(part));
        match (first, second) {
            // The log in the backup becomes a former one; a new one takes its place.
            ("ledger", Some(FORMER)) => Some(below(root.to_owned(), 0)),
            ("ledger", Some(_)) => Some(below(self.former(), 1)),
            ("inlet", Some(_)) => {
                (parts.get(2).is_some_and(|part| *part == CLAIMED)).then(|| below(root.to_owned(), 0))
            }
            // Whether the app has taken it since, only a person can find out.
            ("config" | "outlet", _) => Some(below(self.layout.restored(), 0)),
            ("queues" | "desk" | "evidence" | "quarantine" | "notices" | "status", _) => {
                Some(below(root.to_owned(), 0))
            }
            ("rules.json", None) => Some(self.layout.rules_in_force()),
            _ => None,
        }
    }

    fn former(&self) -> PathBuf {
        self.layout.ledger().join(FORMER).join(self.log.to_string())
    }

    /// Makes a folder that may stay empty.
    pub fn folder(&mut self, path: &Path) -> Result<(), SpoolError> {
        let Some(place) = self.place(path) else { return Err(SpoolError::Foreign { path: path.to_owned() }) };
        self.make(&place)
    }

    fn make(&mut self, place: &Path) -> Result<(), SpoolError> {
        if self.made.contains(place) || place.is_dir() {
            return Ok(());
        }
        self.disk.create_dir_private(place).map_err(|source| SpoolError::disk(place, source))?;
        self.made.insert(place.to_owned());
        Ok(())
    }

    /// Puts a file in place, with its time and its executable bit, which a claimed drop still needs. Not synced: all of it
    /// is, at the end, before the spool may be opened.
    pub fn file(
        &mut self,
        path: &Path,
        content: &mut dyn Read,
        modified_s: u64,
        executable: bool,
    ) -> Result<u64, SpoolError> {
        let Some(place) = self.place(path) else { return Err(SpoolError::Foreign { path: path.to_owned() }) };
        if let Some(folder) = place.parent() {
            self.make(folder)?;
        }
        let at = |source| SpoolError::disk(&place, source);
        // The same name twice is evidence that was written again while the backup was made; the later one is newer.
        self.disk.remove_file(&place).map_err(at)?;
        let mut file = self.disk.create(&place).map_err(at)?;
        let mut piece = vec![0; PIECE_BYTES];
        let mut bytes = 0;
        loop {
            match content.read(&mut piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(at(error)),
                Ok(0) => break,
                Ok(read) => {
                    let (now, _) = piece.split_at(read);
                    self.disk.append(&mut file, now).map_err(at)?;
                    bytes += read as u64;
                }
            }
        }
        file.set_modified(UNIX_EPOCH + Duration::from_secs(modified_s)).map_err(at)?;
        if executable {
            self.disk.set_mode(&place, 0o770).map_err(at)?;
        }
        Ok(bytes)
    }

    /// Sets claimed drops aside that are not whole in the backup, below `restored/inlet`: zeros must not be sealed for what an
    /// app wrote. Gives the places of all that lie there, those of earlier restores among them; but what this backup had whole
    /// goes its way, and does not lie there any more.
    pub fn set_spoiled_drops_aside(&self) -> Result<Vec<PathBuf>, SpoolError> {
        let restored = self.layout.restored();
        for path in self.spoiled_drops()? {
            let from = self.place(&path).ok_or_else(|| SpoolError::Foreign { path: path.clone() })?;
            let to = restored.join(&path);
            // Of a single file nothing at all could be read, or an earlier go came so far.
            if fs::symlink_metadata(&from).is_ok() {
                self.disk.remove_tree(&to).map_err(|source| SpoolError::disk(&to, source))?;
                self.disk.move_tree(&from, &to).map_err(|source| SpoolError::disk(&from, source))?;
            }
            self.remove_markers(&from)?;
        }
        let mut aside = Vec::new();
        for to in drops_below(&restored.join("inlet")).map_err(|source| SpoolError::disk(&restored, source))? {
            let from = to.strip_prefix(&restored).ok().and_then(|path| self.place(path));
            if from.is_some_and(|from| fs::symlink_metadata(from).is_ok()) {
                self.disk.remove_tree(&to).map_err(|source| SpoolError::disk(&to, source))?;
            } else {
                aside.push(to);
            }
        }
        Ok(aside)
    }

    /// As the backup lists them.
    fn spoiled_drops(&self) -> Result<Vec<PathBuf>, SpoolError> {
        let list = self.layout.restored().join(SPOILED_DROPS);
        let bytes = match fs::read(&list) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            read => read.map_err(|source| SpoolError::disk(&list, source))?,
        };
        let path = |name| {
            let path = PathBuf::from(OsStr::from_bytes(name));
            if claimed_drop(&path).as_ref() == Some(&path) { Ok(path) } else { Err(SpoolError::Foreign { path }) }
        };
        bytes.split(|byte| *byte == 0).map(path).collect()
    }

    /// A marker without its claim would go back, for whatever its app lays there next under that name.
    fn remove_markers(&self, claim: &Path) -> Result<(), SpoolError> {
        let parcel = |path: &Path| path.file_name().and_then(split_id).map(|(parcel, _)| parcel);
        let (Some(claimed), Some(ours)) = (claim.parent(), parcel(claim)) else { return Ok(()) };
        for path in children(claimed)? {
            let marks = path.file_name().and_then(split_id).is_some_and(|(_, rest)| rest.as_bytes().starts_with(b"-"));
            if marks && parcel(&path) == Some(ours) {
                self.disk.remove_file(&path).map_err(|source| SpoolError::disk(&path, source))?;
            }
        }
        Ok(())
    }

    /// What the old log gives, where `named` is the head that it should have. Its levels are written anew where they are not
    /// what they were, and a segment with records that are lost is set aside, so that this log is verified like any other.
    pub fn old_ledger(&self, suite: Suite, named: &Head) -> Result<Holding, SpoolError> {
        let dir = self.former();
        let at = |source| SpoolError::disk(&dir, source);
        // A ledger keeps the suite it was begun in, whatever its node signs in today.
        let suite = suite_of_ledger(&dir).unwrap_or(suite);
        let holding = Carried::of(&dir).map_err(at)?.mended(&self.disk, suite, named)?;
        let segments = segment::list(&dir).map_err(at)?;
        let mut end = holding.head.size;
        for one in segments.iter().rev() {
            let lost = holding.lost.iter().any(|range| range.from < end && range.to >= one.first);
            let sealed = dir.join(segment::name(one.first, Health::Sealed));
            if lost && one.health != Health::Sealed && !sealed.exists() {
                self.disk.rename(&one.path, &sealed).map_err(at)?;
            }
            end = one.first;
        }
        // The end of the last one counts as a write that was never acknowledged, unless another says where it ended.
        let last = segment::list(&dir).map_err(at)?.pop();
        if !holding.lost.is_empty() && last.is_none_or(|last| last.health != Health::Sound) {
            let next = dir.join(segment::name(holding.head.size, Health::Sound));
            self.disk.write(&next, &segment::header(holding.head.size)).map_err(at)?;
        }
        Ok(holding)
    }

    /// The note over the old log that lies in the backup.
    pub fn old_checkpoint(&self) -> Result<String, SpoolError> {
        let path = self.former().join(CHECKPOINT);
        let bytes = crate::disk::read_plain(&path, NOTE_BYTES_MAX as u64);
        let bytes = bytes.map_err(|source| SpoolError::disk(&path, source))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Hands every readable record of the old logs to `take`.
    pub fn records(&self, take: &mut dyn FnMut(&Record)) -> Result<(), SpoolError> {
        for (_, dir) in crate::ledger::former(&self.layout.ledger())? {
            let at = |source| SpoolError::disk(&dir, source);
            let kept = KeptLeaves::of(&dir);
            let is_at = |place: u64, record: &[u8]| {
                let leaf = kept.leaf(place);
                Suite::ALL.into_iter().any(|suite| leaf == Some(ledger::leaf(suite, record)))
            };
            for one in segment::list(&dir).map_err(at)? {
                let bytes = segment::load(&one.path).map_err(at)?;
                for found in Frames::new(&bytes, one.first).known_by(&is_at) {
                    if let Found::Record(stored) = found {
                        take(&stored.record);
                    }
                }
            }
        }
        Ok(())
    }

    /// Begins the new log, syncs everything and lets the spool be opened.
    pub fn finish(self, with: &Succession<'_>) -> Result<Head, SpoolError> {
        let (disk, dir) = (&self.disk, self.layout.ledger());
        crate::ledger::begin(disk, &dir, &self.node, with.key.suite(), with.log)?;
        for (name, bytes) in STARTS.iter().zip(with.starts) {
            let paper = dir.join(name);
            disk.write(&paper, bytes).map_err(|source| SpoolError::disk(&paper, source))?;
        }
        let (ledger, _) = Ledger::open(disk, &dir, &self.node, with.key, Sizes::default())?;
        for (record, local) in &with.records {
            ledger.record(record.clone(), local.clone(), &|_, _, _| ())?;
        }
        ledger.write_checkpoint()?;
        version::say(disk, self.layout.root(), &self.node, with.state_version)?;
        let root = self.layout.root();
        disk.sync_file_system(root).map_err(|source| SpoolError::disk(root, source))?;
        let marker = self.layout.restoring();
        disk.remove_file(&marker).map_err(|source| SpoolError::disk(&marker, source))?;
        disk.sync_dir(root).map_err(|source| SpoolError::disk(root, source))?;
        Ok(ledger.head())
    }
}

/// The first sign of a node's state, where there is one.
fn state_in(layout: &Layout) -> Result<Option<PathBuf>, SpoolError> {
    let at = |path: &Path, source| SpoolError::disk(path, source);
    let dir = layout.ledger();
    if dir.join(FORMER).exists() {
        return Ok(Some(dir.join(FORMER)));
    }
    if dir.exists() {
        for one in segment::list(&dir).map_err(|source| at(&dir, source))? {
            let bytes = segment::load(&one.path).map_err(|source| at(&one.path, source))?;
            if bytes.len() > segment::header(one.first).len() {
                return Ok(Some(one.path));
            }
        }
    }
    for place in [layout.queues(), layout.evidence(), layout.quarantine(), layout.desk_trips()] {
        if let Some(path) = first_file(&place).map_err(|source| at(&place, source))? {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Every claimed drop that lies below a folder of inlets.
fn drops_below(inlets: &Path) -> io::Result<Vec<PathBuf>> {
    let mut drops = Vec::new();
    let routes = match fs::read_dir(inlets) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(drops),
        other => other?,
    };
    for route in routes {
        match fs::read_dir(route?.path().join(CLAIMED)) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            claimed => {
                for drop in claimed? {
                    drops.push(drop?.path());
                }
            }
        }
    }
    drops.sort();
    Ok(drops)
}

fn first_file(dir: &Path) -> io::Result<Option<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        let found = if entry.file_type()?.is_dir() { first_file(&entry.path())? } else { Some(entry.path()) };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// The epoch above everything that a lost disk may have used: above what is known of it, above the clock, and a day
/// more, for starts within one second and a clock that was ahead.
#[must_use]
pub fn epoch_above(known: u64, now: Timestamp) -> u64 {
    const DAY_S: u64 = 24 * 60 * 60;
    (known + 1).max(now.seconds()) + DAY_S
}
