//! Where apps drop. Finds what is whole, takes it out by one rename, and looks at no content (but see [`crate::settle`]).
//!
//! A hint from the kernel only says when to look; every look lists the whole directory, so a lost hint, an overflow or a
//! share that gives none (SMB, NFS) costs time and nothing else. What a look lists is worked off in portions, each drop
//! looked at when its turn comes, before there is another look: a hundred thousand drops are listed once.
//!
//! ```text
//! list    names behind the mark, at most NAMES_MAX --> queue; the mark goes on to the last of them, at the end to the front
//! poll    queue --> looked at --> whole: handed out | cannot be taken: its app is told, and nobody behind it waits
//! ```
//! Dying anywhere is safe: the rename to `.claimed/<parcel>.<name>` is the claim. Before it the drop is in the inlet,
//! after it [`Inlet::claimed`] finds it at the next start. Both directories are synced before anything is done with a
//! claim: else a power cut could bring the drop back under another id when its bundle has long been sent. A ready marker
//! goes first and comes back if the drop did not follow, so that no later drop of the same name is taken on an old
//! marker's word.
//!
//! ```text
//! .claimed/<parcel, 32 hex>.<name>            a drop
//! .claimed/<parcel, 32 hex>-<name of marker>  its ready marker
//! .claimed/<parcel, 32 hex>/<name>            a drop whose name leaves no room for an id; its marker in .marker/
//! ```

use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use protocol::parcel::{FILES_MAX, PATH_DEPTH_MAX, check_path};
use protocol::{Name, ParcelId, Reason, Timestamp};

use crate::disk::Disk;
use crate::hints::Hints;
use crate::litter::is_passed_over;
use crate::notice::Wait;
use crate::settle::{self, Settling, Stand};
use crate::spool::{Spool, SpoolError, children};

/// Names one look at an inlet remembers; of a directory with more, each look takes the next so many.
const NAMES_MAX: usize = 100_000;
/// A name must still fit into 255 bytes with ` (10000)` in the outlet, or a parcel's id and `.quarantined.json`.
const NAME_BYTES_MAX: usize = 200;
/// How often a directory is looked at without a hint.
const POLL_MS: u64 = 5_000;
/// Entries of the last look for which one millisecond passes before a hint brings another: a look costs some
/// microseconds an entry, and an app that writes one large file gives thousands of hints.
const LISTED_A_MS: u64 = 50;
/// Drops handed out at once: what a stage takes in one step.
const HANDED_MAX: usize = 64;
/// Drops looked at for one portion, so that litter of one route does not hold up the other routes.
const LOOKS_MAX: usize = 4_096;
/// Drops that cannot be taken and are handed out all the same, once a look, so that somebody is woken.
const STUCK_SHOWN: usize = 8;
/// Drops whose apps are told that they wait; nobody reads more.
const TOLD_MAX: usize = 1_000;
/// The folder in a claim of its own folder that holds the ready marker.
const MARKER: &str = ".marker";
/// A parcel's id as text.
const ID_CHARS: usize = 32;
/// A file's name on every file system of ours.
const FILE_NAME_BYTES_MAX: usize = 255;

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
    /// As it was when it was looked at.
    sight: Sight,
}

/// A drop that is ours now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The id it got.
    pub parcel: ParcelId,
    /// Its name, byte for byte.
    pub name: OsString,
    /// Where it is, in `.claimed`.
    pub path: PathBuf,
}

/// What a look saw of a drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sight {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    /// The newest change, seconds and nanoseconds.
    pub(crate) changed: (i64, i64),
    pub(crate) inode: u64,
}

/// What a look saw of a whole inlet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InletLook {
    /// When.
    pub at: Timestamp,
    /// Names in it, litter and markers included.
    pub entries: u64,
    /// Names passed over: `Thumbs.db`, `desktop.ini`, `~$…`, `*.part` and the like.
    pub ignored: u64,
    /// Drops whose apps were told that they cannot be taken yet.
    pub waiting: u64,
    /// Does the kernel give hints? Otherwise it is looked at every five seconds, and nobody can say who still writes.
    pub watched: bool,
}

/// The inlet of one route.
pub struct Inlet {
    spool: Spool,
    route: Name,
    dir: PathBuf,
    claimed: PathBuf,
    mode: IntakeMode,
    hints: Hints,
    looked: Option<Timestamp>,
    look: InletLook,
    /// [`NAMES_MAX`], and fewer in tests.
    names_max: usize,
    /// Entries that the last look cost, those in folders included.
    cost: u64,
    /// The last name of the last look where that could not hold all; the next one goes on behind it.
    mark: OsString,
    more: bool,
    /// Names of the last look whose turn is still to come.
    queue: VecDeque<OsString>,
    stuck: Vec<Candidate>,
    settling: Settling,
    /// Whose app was told to wait, and why.
    told: BTreeMap<OsString, Wait>,
    /// Ready markers that stood without their drop, and what they looked like then.
    lone: BTreeMap<OsString, (u64, i64, i64)>,
}

impl Inlet {
    /// The inlet of a route that was set up with one.
    pub fn open(spool: &Spool, route: &Name, mode: IntakeMode) -> Result<Inlet, SpoolError> {
        let (dir, claimed) = (spool.layout().inlet(route), spool.layout().claimed(route));
        if !claimed.is_dir() {
            return Err(SpoolError::NotSetUp { what: format!("the inlet of route {route}") });
        }
        spool.is_reached(&dir, &claimed)?;
        spool.notice_nobody_waits(route)?;
        let hints = Hints::open(&dir, spool.shared_bell());
        let quiet_ms = match &mode {
            IntakeMode::Settle { quiet_ms } => *quiet_ms,
            _ => 0,
        };
        Ok(Inlet {
            spool: spool.clone(),
            route: route.clone(),
            dir,
            claimed,
            mode,
            hints,
            looked: None,
            look: InletLook::default(),
            names_max: NAMES_MAX,
            cost: 0,
            mark: OsString::new(),
            more: false,
            queue: VecDeque::new(),
            stuck: Vec::new(),
            settling: Settling::new(quiet_ms),
            told: BTreeMap::new(),
            lone: BTreeMap::new(),
        })
    }

    /// The same without hints, as on a share that gives none.
    #[must_use]
    pub fn without_hints(self) -> Inlet {
        Inlet { hints: Hints::deaf(), ..self }
    }

    /// Does the kernel give hints for this directory? Otherwise it is looked at every five seconds.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.hints.are_given()
    }

    #[cfg(test)]
    pub(crate) fn set_names_max(&mut self, names_max: usize) {
        self.names_max = names_max;
    }

    #[cfg(test)]
    pub(crate) fn hints_say_written(&self, name: &OsStr) -> bool {
        self.hints.is_written(name)
    }

    #[cfg(test)]
    pub(crate) fn answer_hints(&self) {
        self.hints.answer();
    }

    #[cfg(test)]
    pub(crate) fn hints_say_anything(&self) -> bool {
        self.hints.any()
    }

    /// Names passed over in the last look: dot files, `Thumbs.db`, `desktop.ini`, `~$…`.
    #[must_use]
    pub fn ignored(&self) -> u64 {
        self.look.ignored
    }

    /// The next portion of what is whole. Looks anew once the last look is worked off and there is reason to: a hint,
    /// something that may have settled, or five seconds gone.
    pub fn poll(&mut self, now: Timestamp) -> Result<Vec<Candidate>, SpoolError> {
        self.hints.answer();
        if self.queue.is_empty() && self.is_due(now) {
            self.list(now)?;
        }
        Ok(self.hand_out(now, HANDED_MAX, LOOKS_MAX))
    }

    /// Lists the inlet and gives all that is whole, in the order of names.
    pub fn scan(&mut self, now: Timestamp) -> Result<Vec<Candidate>, SpoolError> {
        self.list(now)?;
        Ok(self.hand_out(now, usize::MAX, usize::MAX))
    }

    fn is_due(&self, now: Timestamp) -> bool {
        let Some(looked) = self.looked.filter(|looked| *looked <= now) else { return true };
        let settled = || self.settling.next(looked).is_some_and(|at| now >= at);
        let passed = now.since(looked);
        passed >= POLL_MS || (passed >= self.cost / LISTED_A_MS && (self.more || self.hints.any() || settled()))
    }

    fn list(&mut self, now: Timestamp) -> Result<(), SpoolError> {
        // Before the look, so that what comes during it brings another.
        self.hints.forget();
        self.looked = Some(now);
        let mut listed = self.names()?;
        if listed.is_empty() && !self.mark.is_empty() {
            self.mark.clear();
            listed = self.names()?;
        }
        let all = self.mark.is_empty() && !self.more;
        self.mark = if self.more { listed.last().cloned().unwrap_or_default() } else { OsString::new() };
        self.stuck.clear();
        self.cost = self.look.entries;
        self.queue = match self.mode {
            IntakeMode::Rename => listed.into(),
            IntakeMode::Ready { .. } => {
                self.lone.retain(|name, _| !all || listed.binary_search(name).is_ok());
                listed.into()
            }
            IntakeMode::Settle { .. } => {
                self.settling.keep(&listed, all);
                listed.into_iter().filter(|name| self.see(name, now)).collect()
            }
        };
        let ready = matches!(self.mode, IntakeMode::Ready { .. });
        let gone = |name: &&OsString| {
            fs::symlink_metadata(self.dir.join(name)).is_err() || (ready && self.marker_of(name).is_none())
        };
        let gone: Vec<OsString> = self.told.keys().filter(gone).cloned().collect();
        gone.iter().for_each(|name| self.waits_no_more(name));
        self.look.at = now;
        self.publish();
        Ok(())
    }

    /// With `settle`: has this drop looked the same for the quiet time?
    fn see(&mut self, name: &OsStr, now: Timestamp) -> bool {
        // Gone since the listing: the next look sees it again if it is still there.
        let Ok((_, sight)) = self.look(name) else { return false };
        self.cost += sight.files;
        self.settling.see(name, sight, now)
    }

    /// The first so many names behind the mark, in order; with `ready` those that have a marker.
    fn names(&mut self) -> Result<Vec<OsString>, SpoolError> {
        let at = |source| SpoolError::disk(&self.dir, source);
        let (mut entries, mut ignored, mut more) = (0, 0, false);
        let mut names = BinaryHeap::new();
        for entry in fs::read_dir(&self.dir).map_err(at)? {
            let entry = entry.map_err(at)?;
            let mut name = entry.file_name();
            if name == crate::layout::CLAIMED {
                continue;
            }
            entries += 1;
            if let IntakeMode::Ready { suffix } = &self.mode {
                // A folder or a link of that name marks nothing.
                let plain = || entry.file_type().is_ok_and(|kind| kind.is_file());
                match name.as_bytes().strip_suffix(suffix.as_bytes()) {
                    Some(drop) if !drop.is_empty() && plain() => name = OsStr::from_bytes(drop).to_owned(),
                    _ => {
                        ignored += u64::from(is_passed_over(&name));
                        continue;
                    }
                }
            }
            if is_passed_over(&name) {
                ignored += 1;
            } else if name > self.mark {
                names.push(name);
                if names.len() > self.names_max {
                    names.pop();
                    more = true;
                }
            }
        }
        (self.look.entries, self.look.ignored, self.more) = (entries, ignored, more);
        Ok(names.into_sorted_vec())
    }

    /// Looks at what has its turn, until there is enough of it.
    fn hand_out(&mut self, now: Timestamp, most: usize, mut looks: usize) -> Vec<Candidate> {
        let mut whole = Vec::new();
        while whole.len() < most && looks > 0 {
            let Some(name) = self.queue.pop_front() else {
                whole.append(&mut self.stuck);
                break;
            };
            looks -= 1;
            let Ok((candidate, sight)) = self.look(&name) else {
                if fs::symlink_metadata(self.dir.join(&name)).is_err() {
                    self.note_lone(&name);
                }
                continue;
            };
            match self.stand(&candidate, sight, now) {
                Stand::Take if self.is_too_large_now(&candidate) => self.waits(&name, Wait::NoRoom, now),
                Stand::Take => {
                    self.waits_no_more(&name);
                    whole.push(candidate);
                }
                Stand::Settling => {}
                Stand::Waits(why) => {
                    self.waits(&name, why, now);
                    if why == Wait::NoAccess && self.stuck.len() < STUCK_SHOWN {
                        self.stuck.push(candidate);
                    }
                }
            }
        }
        self.publish();
        whole
    }

    /// Is there room, but not for this one? Once claimed its app could not take it back, and sealing it would fill the disk
    /// again and again. Where there is no room at all, the stage stops by itself.
    fn is_too_large_now(&self, candidate: &Candidate) -> bool {
        let full = |bytes| matches!(self.spool.room(bytes), Err(SpoolError::Full { .. }));
        full(candidate.bytes) && !full(0)
    }

    fn stand(&mut self, candidate: &Candidate, sight: Sight, now: Timestamp) -> Stand {
        let name = &candidate.name;
        if let IntakeMode::Settle { .. } = self.mode
            && !self.settling.see(name, sight, now)
        {
            return Stand::Settling;
        }
        match candidate.refused {
            Some(Reason::Unreadable) => Stand::Waits(Wait::NoAccess),
            Some(_) => Stand::Take,
            None => match self.mode {
                IntakeMode::Rename => Stand::Take,
                IntakeMode::Ready { .. }
                    if self.lone.get(name).is_some_and(|lone| self.marker_of(name) == Some(*lone)) =>
                {
                    Stand::Waits(Wait::OldMarker)
                }
                IntakeMode::Ready { .. } => Stand::Take,
                IntakeMode::Settle { .. } => {
                    self.settling.stand(name, &candidate.path, self.hints.is_written(name), now)
                }
            },
        }
    }

    /// With `ready`: a marker that stands without its drop says nothing of the one that comes later, half written.
    fn note_lone(&mut self, name: &OsStr) {
        if let Some(marker) = self.marker_of(name)
            && self.lone.len() < NAMES_MAX
        {
            self.lone.insert(name.to_owned(), marker);
        }
    }

    /// The marker of a drop, so that one that is written again is told from one that was not.
    fn marker_of(&self, name: &OsStr) -> Option<(u64, i64, i64)> {
        let IntakeMode::Ready { suffix } = &self.mode else { return None };
        let about = fs::symlink_metadata(self.dir.join(marker(name, suffix))).ok()?;
        about.is_file().then(|| (about.ino(), about.ctime(), about.ctime_nsec()))
    }

    // A notice that cannot be written holds up no drop: it is tried again at the next look, and that the disk takes
    // nothing shows in everything else.

    fn waits(&mut self, name: &OsStr, why: Wait, now: Timestamp) {
        let news = self.told.get(name) != Some(&why) && (self.told.len() < TOLD_MAX || self.told.contains_key(name));
        if news && self.spool.notice_waiting(&self.route, name, why, now).is_ok() {
            self.told.insert(name.to_owned(), why);
        }
    }

    fn waits_no_more(&mut self, name: &OsStr) {
        if self.told.contains_key(name) && self.spool.notice_taken(&self.route, name).is_ok() {
            self.told.remove(name);
        }
    }

    fn publish(&mut self) {
        self.look.waiting = self.told.len() as u64;
        self.look.watched = self.is_watched();
        self.spool.saw_inlet(&self.route, self.look);
    }

    /// With `settle`: what in a claim is cut, so that it was taken only for its app to hear of it. Asked of the claim and
    /// not of what was seen before, so that a death in between changes nothing.
    #[must_use]
    pub fn cut(&self, claim: &Claim) -> Option<&'static str> {
        if matches!(self.mode, IntakeMode::Settle { .. }) { settle::cut(&claim.path) } else { None }
    }

    fn look(&self, name: &OsStr) -> io::Result<(Candidate, Sight)> {
        let path = self.dir.join(name);
        let about = fs::symlink_metadata(&path)?;
        let mut sight = Sight::of(&about);
        let wrong = match survey(self.spool.disk(), &path, &about, &mut sight) {
            // Its app is still at it: the next look sees what it has become.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(error),
            // It stays where it is, and its app is told.
            Err(_) => Some(Reason::Unreadable),
            Ok(wrong) => wrong,
        };
        let refused = if travels(name) { wrong } else { Some(Reason::BadName) };
        let (folder, uid, gid) = (about.is_dir(), about.uid(), about.gid());
        Ok((Candidate { name: name.to_owned(), path, folder, bytes: sight.bytes, uid, gid, refused, sight }, sight))
    }

    /// Takes a candidate out of the inlet under a parcel id.
    pub fn claim(&self, candidate: &Candidate, parcel: ParcelId) -> Result<Claim, SpoolError> {
        let mut claims = self.claim_all(&[(candidate, parcel)])?;
        claims.pop().unwrap_or(Err(SpoolError::NotSetUp { what: "the claim".to_owned() }))
    }

    /// Takes candidates out of the inlet: the renames are the claims, and both directories are synced once for all. One
    /// that cannot be taken ([`SpoolError::CannotClaim`]) holds up no other; where the syncs fail, nothing may be done
    /// with any of them, and [`Inlet::claimed`] finds them again.
    pub fn claim_all(&self, wanted: &[(&Candidate, ParcelId)]) -> Result<Vec<Result<Claim, SpoolError>>, SpoolError> {
        let disk = self.spool.disk();
        let sync = |path: &Path| disk.sync_dir(path).map_err(|source| SpoolError::disk(path, source));
        let mut markers: Vec<Result<(), SpoolError>> =
            wanted.iter().map(|(candidate, _)| self.is_as_seen(candidate)).collect();
        if let IntakeMode::Ready { suffix } = &self.mode {
            for ((candidate, parcel), taken) in wanted.iter().zip(&mut markers) {
                *taken = self.take_marker(&marker(&candidate.name, suffix), *parcel);
            }
            sync(&self.claimed)?;
            sync(&self.dir)?;
        }
        let wanted = wanted.iter().zip(markers);
        let claims: Vec<_> =
            wanted.map(|((candidate, parcel), taken)| taken.and_then(|()| self.take(candidate, *parcel))).collect();
        if let Err(error) = sync(&self.claimed).and_then(|()| sync(&self.dir)) {
            // Each goes back, as far as such a disk still does anything; one that does not is claimed, and listed.
            for claim in claims.iter().flatten() {
                let _taken_back = disk.rename_new_unsynced(&claim.path, &self.dir.join(&claim.name));
            }
            return Err(error);
        }
        claims.iter().flatten().for_each(|claim| self.spool.nobody_was_told_of(claim.parcel));
        Ok(claims)
    }

    /// With `settle` nothing but its rest says that a drop is whole, and minutes may have gone since it was handed out: a
    /// full disk, a route that was off, large drops before it. What its app has begun anew is left to the next look.
    fn is_as_seen(&self, candidate: &Candidate) -> Result<(), SpoolError> {
        let same = || self.look(&candidate.name).is_ok_and(|(_, sight)| sight == candidate.sight);
        if !matches!(self.mode, IntakeMode::Settle { .. }) || same() {
            return Ok(());
        }
        Err(SpoolError::CannotClaim { path: candidate.path.clone(), source: io::ErrorKind::NotFound.into() })
    }

    /// Where the ready marker of a claim stands.
    fn marker_place(&self, marker: &OsStr, parcel: ParcelId) -> PathBuf {
        if ID_CHARS + 1 + marker.len() > FILE_NAME_BYTES_MAX {
            return self.claimed.join(parcel.to_string()).join(MARKER).join(marker);
        }
        self.claimed.join(with_id(parcel, "-", marker))
    }

    /// Takes the marker of one drop. One that cannot be taken, or is none, leaves its drop in the inlet.
    fn take_marker(&self, marker: &OsStr, parcel: ParcelId) -> Result<(), SpoolError> {
        let disk = self.spool.disk();
        let (stood, kept) = (self.dir.join(marker), self.marker_place(marker, parcel));
        let own = kept.parent().filter(|folder| *folder != self.claimed);
        if let Some(folder) = own {
            disk.create_dir_private(folder).map_err(|source| SpoolError::disk(folder, source))?;
        }
        let cannot = |source| {
            let _undone = self.give_back(parcel);
            Err(SpoolError::CannotClaim { path: stood.clone(), source })
        };
        match disk.rename_new_unsynced(&stood, &kept) {
            // One that was withdrawn marks nothing: its app is at the drop again.
            Err(error) => return cannot(error),
            // Looked at again where its app cannot exchange it any more.
            Ok(()) if !fs::symlink_metadata(&kept).is_ok_and(|about| about.is_file()) => {
                let _taken_back = disk.rename_new_unsynced(&kept, &stood);
                return cannot(io::ErrorKind::InvalidInput.into());
            }
            Ok(()) => {}
        }
        own.map_or(Ok(()), |folder| disk.sync_dir(folder).map_err(|source| SpoolError::disk(folder, source)))
    }

    fn take(&self, candidate: &Candidate, parcel: ParcelId) -> Result<Claim, SpoolError> {
        let disk = self.spool.disk();
        let name = candidate.name.clone();
        let home = self.claimed.join(parcel.to_string());
        let path = if ID_CHARS + 1 + name.len() > FILE_NAME_BYTES_MAX {
            disk.create_dir_private(&home).map_err(|source| SpoolError::disk(&home, source))?;
            home.join(&name)
        } else {
            self.claimed.join(with_id(parcel, ".", &name))
        };
        if let Err(source) = disk.rename_new_unsynced(&candidate.path, &path) {
            // Nothing was taken: the marker goes back. If even that fails, the next start does it.
            let _undone = self.give_back(parcel);
            return Err(SpoolError::CannotClaim { path: candidate.path.clone(), source });
        }
        if path.starts_with(&home) {
            disk.sync_dir(&home).map_err(|source| SpoolError::disk(&home, source))?;
        }
        Ok(Claim { parcel, name, path })
    }

    /// What may have changed between the look and the claim: is it still a plain file or folder?
    ///
    /// # Errors
    /// Nobody knows: the disk or the share would not say, or an app that still holds the folder took something out of it
    /// at this moment. The claim is to be looked at again, and never to be refused for that.
    pub fn refused(&self, claim: &Claim) -> Result<Option<Reason>, SpoolError> {
        let disk = self.spool.disk();
        let look = || {
            let about = disk.about(&claim.path)?;
            if !travels(&claim.name) {
                return Ok(Some(Reason::BadName));
            }
            survey(disk, &claim.path, &about, &mut Sight::of(&about))
        };
        match look() {
            // A claim's path is longer than the drop's was, and what an app lets nobody list it lets nobody list tomorrow.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NAMETOOLONG.raw_os_error()) => {
                Ok(Some(Reason::BadName))
            }
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Ok(Some(Reason::Unreadable)),
            looked => looked.map_err(|source| SpoolError::disk(&claim.path, source)),
        }
    }

    /// Everything that is claimed and not yet done with, oldest first. Markers whose drop did not follow go back.
    pub fn claimed(&self) -> Result<Vec<Claim>, SpoolError> {
        let mut claims = Vec::new();
        let mut homes = BTreeSet::new();
        for path in children(&self.claimed)? {
            let Some((parcel, rest)) = path.file_name().and_then(split_id) else { continue };
            match rest.as_bytes().split_first() {
                Some((b'.', name)) => claims.push(Claim { parcel, name: OsStr::from_bytes(name).to_owned(), path }),
                None => {
                    homes.insert(parcel);
                    let inside = children(&path)?;
                    let drop = inside.iter().filter_map(|path| path.file_name()).find(|name| *name != MARKER);
                    claims.extend(drop.map(|name| Claim { parcel, name: name.to_owned(), path: path.join(name) }));
                }
                _ => drop(homes.insert(parcel)),
            }
        }
        if !claims.is_empty() {
            // Whoever claimed them may have died between the rename and its sync.
            for dir in [&self.claimed, &self.dir] {
                self.spool.disk().sync_dir(dir).map_err(|source| SpoolError::disk(dir, source))?;
            }
        }
        let taken: BTreeSet<ParcelId> = claims.iter().map(|claim| claim.parcel).collect();
        homes.difference(&taken).try_for_each(|parcel| self.give_back(*parcel))?;
        claims.sort_by_key(|claim| claim.parcel);
        Ok(claims)
    }

    /// Clears away a claim that holds no drop. Its marker returns only where its drop still waits for it.
    fn give_back(&self, parcel: ParcelId) -> Result<(), SpoolError> {
        let IntakeMode::Ready { suffix } = &self.mode else { return self.clear(parcel) };
        let kept = children(&self.claimed.join(parcel.to_string()).join(MARKER))?;
        let kept = kept.into_iter().filter_map(|path| Some((path.file_name()?.to_owned(), path)));
        let beside = children(&self.claimed)?.into_iter().filter_map(|path| {
            let (other, rest) = path.file_name().and_then(split_id)?;
            let marker = rest.as_bytes().strip_prefix(b"-").filter(|_| other == parcel)?;
            Some((OsStr::from_bytes(marker).to_owned(), path.clone()))
        });
        for (marker, path) in kept.chain(beside) {
            let drop = marker.as_bytes().strip_suffix(suffix.as_bytes()).map(OsStr::from_bytes);
            if drop.is_some_and(|drop| fs::symlink_metadata(self.dir.join(drop)).is_ok()) {
                match self.spool.disk().rename_new(&path, &self.dir.join(&marker)) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                        return Err(SpoolError::disk(&path, error));
                    }
                    _ => {}
                }
            }
        }
        self.clear(parcel)
    }

    /// Removes what else there is of a claim: its marker, its own folder.
    fn clear(&self, parcel: ParcelId) -> Result<(), SpoolError> {
        let disk = self.spool.disk();
        let home = self.claimed.join(parcel.to_string());
        disk.remove_tree(&home).map_err(|source| SpoolError::disk(&home, source))?;
        if self.mode != IntakeMode::Rename {
            for path in children(&self.claimed)? {
                let marker = path.file_name().and_then(split_id);
                if marker.is_some_and(|(other, rest)| other == parcel && rest.as_bytes().starts_with(b"-")) {
                    disk.remove_tree(&path).map_err(|source| SpoolError::disk(&path, source))?;
                }
            }
        }
        Ok(())
    }

    /// Lets a drop go for good, once its bundle is durable and recorded, or its refusal is.
    pub fn discard(&self, claim: &Claim) -> Result<(), SpoolError> {
        let disk = self.spool.disk();
        let remove = |path: &Path| disk.remove_tree(path).map_err(|source| SpoolError::disk(path, source));
        let home = self.claimed.join(claim.parcel.to_string());
        // The marker first: without its drop it would go back, for the next one of the same name.
        if let IntakeMode::Ready { suffix } = &self.mode {
            remove(&self.marker_place(&marker(&claim.name, suffix), claim.parcel))?;
        }
        remove(&claim.path)?;
        remove(&home)
    }
}

/// A name in `.claimed`.
fn with_id(parcel: ParcelId, joint: &str, name: &OsStr) -> OsString {
    let mut full = OsString::from(parcel.to_string());
    full.push(joint);
    full.push(name);
    full
}

/// Does the claim of a parcel stand in `.claimed` under this name?
pub(crate) fn stands(claimed: &Path, parcel: ParcelId, name: &OsStr) -> bool {
    let own = claimed.join(parcel.to_string()).join(name);
    [claimed.join(with_id(parcel, ".", name)), own].iter().any(|place| fs::symlink_metadata(place).is_ok())
}

/// The id a name in `.claimed` begins with, and what follows it.
pub(crate) fn split_id(name: &OsStr) -> Option<(ParcelId, &OsStr)> {
    let (id, rest) = name.as_bytes().split_at_checked(ID_CHARS)?;
    Some((ParcelId::from_hex(std::str::from_utf8(id).ok()?)?, OsStr::from_bytes(rest)))
}

fn marker(name: &OsStr, suffix: &str) -> OsString {
    let mut marker = name.to_owned();
    marker.push(suffix);
    marker
}

impl Sight {
    fn of(about: &Metadata) -> Sight {
        Sight { files: 0, bytes: 0, changed: (0, 0), inode: about.ino() }
    }
}

/// Counts a drop without following any link, and says what in it is no plain file or folder, or closed to us.
fn survey(disk: &Disk, path: &Path, about: &Metadata, sight: &mut Sight) -> io::Result<Option<Reason>> {
    survey_below(disk, path, about, PATH_DEPTH_MAX, sight)
}

fn survey_below(
    disk: &Disk,
    path: &Path,
    about: &Metadata,
    depth: usize,
    sight: &mut Sight,
) -> io::Result<Option<Reason>> {
    sight.changed = sight.changed.max((about.mtime(), about.mtime_nsec()));
    if about.is_file() {
        sight.files += 1;
        sight.bytes = sight.bytes.saturating_add(about.len());
        if about.nlink() > 1 {
            return Ok(Some(Reason::NotAFile));
        }
        return Ok((!is_open(path, rustix::fs::Access::READ_OK)?).then_some(Reason::Unreadable));
    }
    if !about.is_dir() {
        return Ok(Some(Reason::NotAFile));
    }
    // Without all three it could be claimed and then neither read nor cleared away.
    let ours = rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    if !is_open(path, ours)? {
        return Ok(Some(Reason::Unreadable));
    }
    if depth == 0 {
        return Ok(Some(Reason::TooLarge));
    }
    let mut wrong = None;
    for entry in fs::read_dir(path)? {
        // Folders count as well here: a parcel of a million empty ones is no parcel.
        sight.files += 1;
        if sight.files > 2 * FILES_MAX as u64 {
            return Ok(Some(Reason::TooLarge));
        }
        let path = entry?.path();
        let below = survey_below(disk, &path, &disk.about(&path)?, depth - 1, sight)?;
        wrong = wrong.or(below);
    }
    Ok(wrong)
}

/// Is it open to this account? Only a clear no is one: whatever else the system says passes, and says nothing of the drop.
fn is_open(path: &Path, how: rustix::fs::Access) -> io::Result<bool> {
    match rustix::fs::access(path, how) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::ACCESS | rustix::io::Errno::PERM) => Ok(false),
        Err(error) => Err(error.into()),
    }
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
