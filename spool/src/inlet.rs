//! Where apps drop. Finds what is whole, takes it out by one rename, and looks at no content.
//!
//! A hint from the kernel only says when to look; every look lists the whole directory, so a lost hint, an overflow or a
//! share that gives none (SMB, NFS, bind mounts) costs time and nothing else.
//!
//! Dying anywhere is safe: the rename into `.claimed/<parcel>/` is the claim. Before it the drop is in the inlet, after
//! it [`Inlet::claimed`] finds it at the next start. A ready marker goes first and comes back if the drop did not
//! follow, so that no later drop of the same name is taken on an old marker's word.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use notify::Watcher as _;
use protocol::parcel::{FILES_MAX, PATH_DEPTH_MAX, check_path};
use protocol::{Name, ParcelId, Reason, Timestamp};

use crate::spool::{Spool, SpoolError, children};

/// Names one look at an inlet remembers; a directory with more is worked off from its front.
const NAMES_MAX: usize = 100_000;
/// A name must still fit into 255 bytes with ` (10000)` in the outlet, or a parcel's id and `.quarantined.json`.
const NAME_BYTES_MAX: usize = 200;
/// How often a directory is looked at without a hint.
const POLL_MS: u64 = 5_000;
/// The folder in a claim that holds the ready marker.
const MARKER: &str = ".marker";

/// How an inlet knows that a drop is whole. Chosen per route; there is no default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IntakeMode {
    /// The app writes elsewhere and renames into the inlet: what is there is whole.
    Rename,
    /// The app writes a marker `<name><suffix>` after it, such as `.ready`.
    Ready {
        /// With its dot.
        suffix: String,
    },
    /// Size and time of last change stay the same over two looks and so many milliseconds.
    Settle {
        /// Milliseconds.
        quiet_ms: u64,
    },
}

/// A drop that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its name, byte for byte.
    pub name: OsString,
    /// Where it is.
    pub path: PathBuf,
    /// A folder, or one file.
    pub folder: bool,
    /// Bytes of all its files.
    pub bytes: u64,
    /// Who dropped it.
    pub uid: u32,
    /// And its group.
    pub gid: u32,
    /// Why it may not travel, where it may not. It can be claimed all the same, to be put aside.
    pub refused: Option<Reason>,
}

/// A drop that is ours now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The id it got.
    pub parcel: ParcelId,
    /// Its name, byte for byte.
    pub name: OsString,
    /// Where it is: `.claimed/<parcel>/<name>`.
    pub path: PathBuf,
}

/// What a look saw of a drop.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Sight {
    files: u64,
    bytes: u64,
    /// The newest change, seconds and nanoseconds.
    changed: (i64, i64),
    inode: u64,
}

/// The inlet of one route.
pub struct Inlet {
    spool: Spool,
    dir: PathBuf,
    claimed: PathBuf,
    mode: IntakeMode,
    hinted: Arc<AtomicBool>,
    /// Dropping it ends the hints; none where the kernel gives none.
    watcher: Option<notify::RecommendedWatcher>,
    looked: Option<Timestamp>,
    /// What the last look saw, and since when it looks so.
    sights: HashMap<OsString, (Sight, Timestamp)>,
    ignored: u64,
}

impl Inlet {
    /// The inlet of a route that was set up with one.
    pub fn open(spool: &Spool, route: &Name, mode: IntakeMode) -> Result<Inlet, SpoolError> {
        let (dir, claimed) = (spool.layout().inlet(route), spool.layout().claimed(route));
        if !claimed.is_dir() {
            return Err(SpoolError::NotSetUp { what: format!("the inlet of route {route}") });
        }
        let hinted = Arc::new(AtomicBool::new(true));
        let watcher = watch(&dir, hinted.clone(), spool).ok();
        let (looked, sights) = (None, HashMap::new());
        Ok(Inlet { spool: spool.clone(), dir, claimed, mode, hinted, watcher, looked, sights, ignored: 0 })
    }

    /// Does the kernel give hints for this directory? Otherwise it is looked at every five seconds.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.watcher.is_some()
    }

    /// Names passed over in the last look: dot files, `Thumbs.db`, `desktop.ini`, `~$…`.
    #[must_use]
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Looks where there is reason to: a hint, something still settling, or five seconds gone.
    pub fn poll(&mut self, now: Timestamp) -> Result<Vec<Candidate>, SpoolError> {
        let hinted = self.hinted.swap(false, Ordering::SeqCst);
        let settling = matches!(self.mode, IntakeMode::Settle { .. }) && !self.sights.is_empty();
        let due = self.looked.is_none_or(|looked| now.since(looked) >= POLL_MS || now < looked);
        if hinted || settling || due { self.scan(now) } else { Ok(Vec::new()) }
    }

    /// Lists the whole inlet and gives what is whole, in the order of names.
    pub fn scan(&mut self, now: Timestamp) -> Result<Vec<Candidate>, SpoolError> {
        let at = |source| SpoolError::disk(&self.dir, source);
        self.looked = Some(now);
        self.ignored = 0;
        let mut names: Vec<OsString> = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(at)? {
            let name = entry.map_err(at)?.file_name();
            if name == crate::layout::CLAIMED {
                continue;
            }
            if is_ignored(&name) {
                self.ignored += 1;
            } else if names.len() < NAMES_MAX {
                names.push(name);
            }
        }
        names.sort();
        let before = std::mem::take(&mut self.sights);
        let mut whole = Vec::new();
        for name in &names {
            // Gone or unreadable since the listing: the next look sees it again if it is still there.
            let Ok((candidate, sight)) = self.look(name) else { continue };
            let ready = match &self.mode {
                IntakeMode::Rename => true,
                IntakeMode::Ready { suffix } => {
                    !name.as_bytes().ends_with(suffix.as_bytes()) && names.binary_search(&marker(name, suffix)).is_ok()
                }
                IntakeMode::Settle { quiet_ms } => {
                    // A moment that is still to come is of a clock that was wrong: waiting for it could take years.
                    let same = before.get(name).filter(|(seen, since)| *seen == sight && *since <= now);
                    let since = same.map(|(_, since)| *since);
                    self.sights.insert(name.clone(), (sight, since.unwrap_or(now)));
                    since.is_some_and(|since| now.since(since) >= *quiet_ms)
                }
            };
            if ready {
                whole.push(candidate);
            }
        }
        Ok(whole)
    }

    fn look(&self, name: &OsStr) -> io::Result<(Candidate, Sight)> {
        let path = self.dir.join(name);
        let about = fs::symlink_metadata(&path)?;
        let (sight, wrong) = survey(&path, &about);
        let refused = if travels(name) { wrong } else { Some(Reason::BadName) };
        let (folder, uid, gid) = (about.is_dir(), about.uid(), about.gid());
        Ok((Candidate { name: name.to_owned(), path, folder, bytes: sight.bytes, uid, gid, refused }, sight))
    }

    /// Takes a candidate out of the inlet under a parcel id: the rename is the claim, and both directories are synced.
    pub fn claim(&self, candidate: &Candidate, parcel: ParcelId) -> Result<Claim, SpoolError> {
        let home = self.claimed.join(parcel.to_string());
        let disk = self.spool.disk();
        let at = |source| SpoolError::disk(&home, source);
        disk.create_dir_private(&home).map_err(at)?;
        if let IntakeMode::Ready { suffix } = &self.mode {
            let marker = marker(&candidate.name, suffix);
            let kept = home.join(MARKER);
            disk.create_dir_private(&kept).map_err(at)?;
            match disk.rename_new(&self.dir.join(&marker), &kept.join(&marker)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(error)),
                _ => {}
            }
        }
        let path = home.join(&candidate.name);
        if let Err(source) = disk.rename_new(&candidate.path, &path) {
            // Nothing was taken: the marker goes back and the empty folder goes away. If even that fails, the next
            // start does it. A disk that could neither sync the rename nor take it back has left the drop here: it is
            // claimed, whatever else.
            if fs::symlink_metadata(&path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
                let _undone = self.give_back(&home);
            }
            return Err(SpoolError::CannotClaim { path: candidate.path.clone(), source });
        }
        Ok(Claim { parcel, name: candidate.name.clone(), path })
    }

    /// What may have changed between the look and the claim: is it still a plain file or folder?
    #[must_use]
    pub fn refused(claim: &Claim) -> Option<Reason> {
        match fs::symlink_metadata(&claim.path) {
            Ok(_) if !travels(&claim.name) => Some(Reason::BadName),
            Ok(about) => survey(&claim.path, &about).1,
            Err(_) => Some(Reason::Unreadable),
        }
    }

    /// Everything that is claimed and not yet done with, oldest first. Claims that hold nothing are cleared away.
    pub fn claimed(&self) -> Result<Vec<Claim>, SpoolError> {
        let mut claims = Vec::new();
        for home in children(&self.claimed)? {
            let Some(parcel) = home.file_name().and_then(|name| name.to_str()).and_then(ParcelId::from_hex) else {
                continue;
            };
            let drop = children(&home)?.into_iter().find(|path| path.file_name() != Some(OsStr::new(MARKER)));
            match drop.as_deref().and_then(Path::file_name) {
                Some(name) => claims.push(Claim { parcel, name: name.to_owned(), path: home.join(name) }),
                None => self.give_back(&home)?,
            }
        }
        claims.sort_by_key(|claim| claim.parcel);
        Ok(claims)
    }

    /// Empties a claim that holds no drop. Its marker returns only where its drop still waits for it.
    fn give_back(&self, home: &Path) -> Result<(), SpoolError> {
        let disk = self.spool.disk();
        if let IntakeMode::Ready { suffix } = &self.mode {
            for kept in children(&home.join(MARKER))? {
                let Some(marker) = kept.file_name() else { continue };
                let drop = marker.as_bytes().strip_suffix(suffix.as_bytes()).map(OsStr::from_bytes);
                if drop.is_some_and(|drop| fs::symlink_metadata(self.dir.join(drop)).is_ok()) {
                    match disk.rename_new(&kept, &self.dir.join(marker)) {
                        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                            return Err(SpoolError::disk(&kept, error));
                        }
                        _ => {}
                    }
                }
            }
        }
        disk.remove_tree(home).map_err(|source| SpoolError::disk(home, source))
    }

    /// Lets a drop go for good, once its bundle is durable and recorded, or its refusal is.
    pub fn discard(&self, claim: &Claim) -> Result<(), SpoolError> {
        let home = self.claimed.join(claim.parcel.to_string());
        self.spool.disk().remove_tree(&home).map_err(|source| SpoolError::disk(&home, source))
    }
}

fn watch(dir: &Path, hinted: Arc<AtomicBool>, spool: &Spool) -> notify::Result<notify::RecommendedWatcher> {
    let bell = spool.shared_bell();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Reading is no news; everything else is, an overflow too.
        if !event.is_ok_and(|event| event.kind.is_access()) {
            hinted.store(true, Ordering::SeqCst);
            bell.ring();
        }
    })?;
    watcher.watch(dir, notify::RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

fn marker(name: &OsStr, suffix: &str) -> OsString {
    let mut marker = name.to_owned();
    marker.push(suffix);
    marker
}

/// Names that file managers and editors leave behind.
fn is_ignored(name: &OsStr) -> bool {
    let bytes = name.as_bytes();
    bytes.starts_with(b".")
        || bytes.starts_with(b"~$")
        || bytes.eq_ignore_ascii_case(b"thumbs.db")
        || bytes.eq_ignore_ascii_case(b"desktop.ini")
}

/// Counts a drop without following any link, and says what in it is no plain file or folder.
fn survey(path: &Path, about: &Metadata) -> (Sight, Option<Reason>) {
    let mut sight = Sight { files: 0, bytes: 0, changed: (0, 0), inode: about.ino() };
    let wrong = survey_below(path, about, PATH_DEPTH_MAX, &mut sight);
    (sight, wrong)
}

fn survey_below(path: &Path, about: &Metadata, depth: usize, sight: &mut Sight) -> Option<Reason> {
    sight.changed = sight.changed.max((about.mtime(), about.mtime_nsec()));
    if about.is_file() {
        sight.files += 1;
        sight.bytes = sight.bytes.saturating_add(about.len());
        let readable = || rustix::fs::access(path, rustix::fs::Access::READ_OK).is_ok();
        return if about.nlink() > 1 { Some(Reason::NotAFile) } else { (!readable()).then_some(Reason::Unreadable) };
    }
    if !about.is_dir() {
        return Some(Reason::NotAFile);
    }
    // Without all three it could be claimed and then neither read nor cleared away.
    let ours = rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    if rustix::fs::access(path, ours).is_err() {
        return Some(Reason::Unreadable);
    }
    if depth == 0 {
        return Some(Reason::TooLarge);
    }
    let Ok(entries) = fs::read_dir(path) else { return Some(Reason::Unreadable) };
    let mut wrong = None;
    for entry in entries {
        // Folders count as well here: a parcel of a million empty ones is no parcel.
        sight.files += 1;
        if sight.files > 2 * FILES_MAX as u64 {
            return Some(Reason::TooLarge);
        }
        let about = entry.and_then(|entry| Ok((entry.path(), fs::symlink_metadata(entry.path())?)));
        match about {
            Ok((path, about)) => wrong = wrong.or(survey_below(&path, &about, depth - 1, sight)),
            Err(_) => wrong = wrong.or(Some(Reason::Unreadable)),
        }
    }
    wrong
}

/// Can this name travel? It must be UTF-8 or GB18030 in form, without control characters and backslashes, and short
/// enough for every directory it will stand in. Which of the two encodings a route has, the station knows.
fn travels(name: &OsStr) -> bool {
    match name.to_str() {
        Some(text) => text.len() <= NAME_BYTES_MAX && !text.contains('/') && check_path(text).is_ok(),
        None => gb18030_utf8_bytes(name.as_bytes()).is_some_and(|bytes| bytes <= NAME_BYTES_MAX),
    }
}

/// The most bytes a GB18030 name has in UTF-8; none where it is not of that form. Its second bytes may look like a
/// backslash and are none.
fn gb18030_utf8_bytes(mut rest: &[u8]) -> Option<usize> {
    let mut bytes = 0;
    loop {
        (rest, bytes) = match rest {
            [] => return Some(bytes),
            [0..=0x1f | 0x7f | b'\\' | b'/', ..] => return None,
            [0x20..=0x7e, after @ ..] => (after, bytes + 1),
            [0x81..=0xfe, 0x30..=0x39, 0x81..=0xfe, 0x30..=0x39, after @ ..] => (after, bytes + 4),
            [0x81..=0xfe, 0x40..=0x7e | 0x80..=0xfe, after @ ..] => (after, bytes + 3),
            _ => return None,
        };
    }
}
