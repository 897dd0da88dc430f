//! The spool of one node, owned by one process. Everything a daemon's stages and links share, and nothing they decide.
//!
//! Opening finishes what a death left: the ledger is recovered and the index brought up to it; `sealing` and `opening`
//! are emptied, because an interrupted seal or opening is thrown away; files written aside go; numbers reserved by the
//! dead process and not used are recorded as withdrawn; a new epoch begins. Each of these steps may itself be
//! interrupted and is done again by the next opening.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use protocol::ledger::{Event, Local, Record};
use protocol::receipt::{EpochGaps, Head, Range};
use protocol::signer::Signatory;
use protocol::suite::{Digest, Suite};
use protocol::witness::{HeadLink, Stated};
use protocol::{BundleId, Crossing, Name, ParcelId, Timestamp, Zone};

use crate::acts::{Act, ActFilter, TripOnRecord, Way};
use crate::arrivals::{self, Arrivals};
use crate::bell::Bell;
use crate::disk::{ASIDE, Disk, Free};
use crate::entry::Entry;
use crate::evidence::Kept;
use crate::gaps::Seen;
use crate::index::{Filter, Index};
use crate::inlet::InletLook;
use crate::layout::{Layout, STAGING};
use crate::ledger::{Ledger, Sizes};
use crate::neighbours::StatedTo;
use crate::notice::{self, Notice, Wait};
use crate::numbers::Numbers;
use crate::outbox::{Known, Outbox};
use crate::outlet::ITEM;
use crate::scrub::{self, Progress};
use crate::segment::{Health, Stored};
use crate::state::{ParcelState, Sent, State};
use crate::version;

/// Of `desk/trips`, in which the group of the ferry may add and move away nothing of the daemon's.
pub const DESK_TRIPS_MODE: u32 = 0o3770;
/// Room kept so that the node can still record, refuse and answer when apps have filled the disk.
const FREE_BYTES_MIN: u64 = 256 << 20;
/// A parcel of 50,000 files must not take the last inode from the ledger.
const FREE_INODES_MIN: u64 = 4_096;
/// A wall clock further than this from the ledger's last record is not believed at a start: nobody leaves an exchange
/// switched off for a month without knowing it.
pub const START_DOUBT_MS: u64 = 30 * 24 * 60 * 60 * 1000;
/// Epochs of ours that a peer is told about: all that are kept, some 30 KB of a batch at the worst. A start that
/// reserved nothing is none of them.
const WITHDRAWN_EPOCHS_MAX: usize = 1_024;
/// Bundles offered again that are remembered until the stage looks: what is more is offered once more with the next
/// connection.
const OFFERED_AGAIN_MAX: usize = 4_096;
/// Parcels of which it is remembered that nobody was told of them yet. Of one that is forgotten a former notice is looked for.
const UNTOLD_MAX: usize = 4_096;
/// Records in a row that are a day too late before a walk by time ends.
const LATE_RECORDS: usize = 10_000;
/// The snapshot of announcements is written anew when a number crosses a multiple of this: a few bytes lost cost nothing.
const ANNOUNCED_EVERY: u64 = 64;

/// What stops the spool. Named for whoever must act: mostly the disk.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The disk said no.
    #[error("{path}: {source}")]
    Disk {
        /// What was touched.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The floor of free space is reached; nothing more is taken until there is room.
    #[error(
        "{path} has {bytes_free} bytes and {inodes_free} inodes left; {bytes_needed} bytes were asked for and {bytes_floor} bytes and {inodes_floor} inodes are kept"
    )]
    Full {
        /// The spool.
        path: PathBuf,
        /// Left.
        bytes_free: u64,
        /// Left.
        inodes_free: u64,
        /// Asked for.
        bytes_needed: u64,
        /// Kept.
        bytes_floor: u64,
        /// Kept.
        inodes_floor: u64,
    },
    /// Another process owns this spool.
    #[error("{path} is held by another running daemon")]
    Locked {
        /// The lock.
        path: PathBuf,
    },
    /// The disk was full when a record was written; it was taken back and may be tried again.
    #[error("no room for a record in {path}")]
    LedgerFull {
        /// The ledger.
        path: PathBuf,
    },
    /// A write or sync of the ledger failed before: nothing is recorded until the daemon starts again.
    #[error("the ledger {path} takes no record until the daemon is started again: {cause}")]
    Poisoned {
        /// The ledger.
        path: PathBuf,
        /// What failed.
        cause: String,
    },
    /// The state was written by a newer program.
    #[error(
        "{path} says that this state is of version {found}, written by a newer program; this one reads up to version {supported}. Install the newer program again, or restore a backup that this one made"
    )]
    TooNew {
        /// The file that says so.
        path: PathBuf,
        /// What it says.
        found: u32,
        /// The newest this program reads.
        supported: u32,
    },
    /// A restore was begun here and died.
    #[error("a restore into this spool has not come to its end ({path}); run the same restore again")]
    Unfinished {
        /// The file that says so.
        path: PathBuf,
    },
    /// A restore is asked for where a node's state stands.
    #[error(
        "the spool is not empty: {path} is there. A restore never writes over a state; move the whole spool aside first, and keep it"
    )]
    NotEmpty {
        /// The first thing found.
        path: PathBuf,
    },
    /// A path in a backup that no backup of ours holds.
    #[error("the backup names {path}, which belongs nowhere in a spool")]
    Foreign {
        /// The path.
        path: PathBuf,
    },
    /// Records and their digests are gone.
    #[error(
        "the ledger {path} holds {readable} records but {promised} were promised, and their digests are gone; restore it from a backup"
    )]
    LedgerLost {
        /// The ledger.
        path: PathBuf,
        /// By its own checkpoint.
        promised: u64,
        /// What can be shown.
        readable: u64,
    },
    /// A record over its limit.
    #[error("a ledger record of {bytes} bytes is over the limit")]
    RecordTooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The spool belongs to another node.
    #[error("{path} belongs to node {found}, not to {expected}")]
    OtherNode {
        /// The file that says so.
        path: PathBuf,
        /// Whose it is.
        found: Name,
        /// Who asks.
        expected: Name,
    },
    /// The index cannot be read or written. The ledger has everything; `index rebuild` makes it anew.
    #[error("the index {path}: {cause}")]
    Index {
        /// The index.
        path: PathBuf,
        /// Its words.
        cause: String,
    },
    /// A crossing or route that was not set up.
    #[error("{what} is not set up in this spool")]
    NotSetUp {
        /// Which.
        what: String,
    },
    /// Somebody else is writing this bundle at the moment.
    #[error("bundle {bundle} is being received over another connection")]
    Busy {
        /// Which.
        bundle: BundleId,
    },
    /// More bytes came than were announced.
    #[error("{path} was announced with {size} bytes and {got} came")]
    TooMany {
        /// The partial file.
        path: PathBuf,
        /// Announced.
        size: u64,
        /// Came.
        got: u64,
    },
    /// Finished before all bytes were there.
    #[error("{path} was announced with {size} bytes and only {got} are here")]
    TooFew {
        /// The partial file.
        path: PathBuf,
        /// Announced.
        size: u64,
        /// Here.
        got: u64,
    },
    /// A drop that cannot be moved: a folder without write permission for the daemon's group.
    #[error("{path} cannot be taken; a folder needs group write (umask 0002): {source}")]
    CannotClaim {
        /// The drop.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
}

impl SpoolError {
    pub(crate) fn disk(path: &Path, source: io::Error) -> SpoolError {
        SpoolError::Disk { path: path.to_owned(), source }
    }
}

/// The lock of a mutex. A thread that panicked was our own bug; what it left is checked against the ledger anyway.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Which directories a route has here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteDirs {
    /// The route.
    pub route: Name,
    /// Apps drop here.
    pub inlet: bool,
    /// Apps pick up here.
    pub outlet: bool,
}

/// What a spool is made and opened with.
#[derive(Clone)]
pub struct Setup {
    /// Where it stands.
    pub root: PathBuf,
    /// Whose it is.
    pub node: Name,
    /// In which zone.
    pub zone: Zone,
    /// Signs checkpoints; its suite is the ledger's when that is made.
    pub key: Signatory,
    /// What touches the disk.
    pub disk: Disk,
    /// The routes that begin or end here.
    pub routes: Vec<RouteDirs>,
    /// The crossings that begin or end here.
    pub crossings: Vec<Crossing>,
    /// The time, by the daemon's clock. Where the last record stands further away than a clock can be believed
    /// ([`START_DOUBT_MS`]), opening goes by that record.
    pub now: Timestamp,
    /// Memory the index may keep pages in.
    pub index_cache_bytes: usize,
}

/// Room that is kept free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Floor {
    /// Bytes; 256 MiB unless set.
    pub bytes: u64,
    /// Inodes; 4,096 unless set.
    pub inodes: u64,
}

/// How the present log followed another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// When.
    pub at: Timestamp,
    /// Trips of the ferry up to this number are not used again.
    pub trip: u64,
}

/// What a scrub of the whole ledger found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scrub {
    /// Records that cannot be read or do not have the digest they had.
    pub unreadable: Vec<Range>,
    /// The head it was done under.
    pub head: Head,
}

/// Makes the tree. Doing it again changes nothing but modes that somebody changed.
pub fn create(setup: &Setup) -> Result<(), SpoolError> {
    let layout = Layout::new(&setup.root);
    let disk = &setup.disk;
    let shared = |path: PathBuf, mode| -> Result<(), SpoolError> {
        let at = |source| SpoolError::disk(&path, source);
        disk.create_dir_all(&path).map_err(at)?;
        match fs::metadata(&path) {
            Ok(about) if std::os::unix::fs::PermissionsExt::mode(&about.permissions()) & 0o7777 == mode => Ok(()),
            _ => disk.set_mode(&path, mode).map_err(at),
        }
    };
    let private = |path: PathBuf| disk.create_dir_private(&path).map_err(|source| SpoolError::disk(&path, source));
    disk.create_dir_all(&setup.root).map_err(|source| SpoolError::disk(&setup.root, source))?;
    version::check(&setup.root, &setup.node)?;
    for routes in ["inlet", "outlet", "notices", "desk"] {
        // Passed through by apps and people of several groups; what they may see is decided one level below.
        shared(setup.root.join(routes), 0o755)?;
    }
    for dirs in &setup.routes {
        if dirs.inlet {
            shared(layout.inlet(&dirs.route), 0o2770)?;
            private(layout.claimed(&dirs.route))?;
        }
        if dirs.outlet {
            shared(layout.outlet(&dirs.route), 0o2770)?;
            private(layout.outlet_staging(&dirs.route))?;
        }
        shared(layout.notices(&dirs.route), 0o2770)?;
    }
    for desk in [layout.desk_requests(), layout.desk_answers(), layout.desk_incoming()] {
        shared(desk, 0o2770)?;
    }
    // Sticky: nobody moves a trip's folder away and another, or a link, into its place.
    shared(layout.desk_trips(), DESK_TRIPS_MODE)?;
    // Written by the daemon alone, read by the group of auditors.
    shared(layout.desk_exports(), 0o2750)?;
    // And by the group of security officers.
    shared(layout.desk_held(), 0o2750)?;
    shared(layout.status(), 0o2750)?;
    for own in [
        layout.desk_own(),
        layout.sealing(),
        layout.opening(),
        layout.checked(),
        layout.links(),
        layout.heads(),
        layout.quarantine(),
        layout.evidence(),
        layout.ledger(),
        layout.index(),
    ] {
        private(own)?;
    }
    for crossing in &setup.crossings {
        for own in [
            layout.outbox(*crossing),
            layout.partial(*crossing),
            layout.complete(*crossing),
            layout.receipts(*crossing),
        ] {
            private(own)?;
        }
    }
    Ok(())
}

struct Inner {
    node: Name,
    zone: Zone,
    layout: Layout,
    disk: Disk,
    bell: Arc<Bell>,
    ledger: Ledger,
    index: Index,
    numbers: Numbers,
    latest: AtomicU64,
    last_before: Option<Timestamp>,
    outboxes: HashMap<Crossing, Outbox>,
    busy: arrivals::Busy,
    /// Bundles that a peer offered although they were taken and settled here long ago.
    offered_again: Mutex<BTreeSet<(Crossing, BundleId)>>,
    floor: RwLock<Floor>,
    restored: Option<Restored>,
    /// Signs checkpoints of snapshots.
    key: Signatory,
    /// Folders of routes that could not be synced at the start: nobody builds on what stands there before they are.
    away: Mutex<BTreeSet<PathBuf>>,
    /// Parcels that this process claimed and told nobody of yet. Held while a notice is written: two stages may tell of one
    /// parcel at once, and which notice is the later one must be clear.
    notices: Mutex<HashSet<ParcelId>>,
    /// What the last looks at the inlets saw; for people, and made anew by the next look.
    inlets: Mutex<BTreeMap<Name, InletLook>>,
    days: crate::evidence::Days,
    scrub: Mutex<scrub::Scrub>,
    wrong_at_start: bool,
    unread_at_start: bool,
    /// Up to when records may be lost, in milliseconds; 0 where none ever were.
    lost_until: AtomicU64,
    /// Held open as long as the spool is: the lock goes with the process, however it ends.
    _lock: File,
}

/// The spool of one node. Clones are the same spool.
#[derive(Clone)]
pub struct Spool(Arc<Inner>);

impl Spool {
    /// Takes the owner lock and opens the spool; the tree must have been made.
    pub fn open(setup: Setup) -> Result<Spool, SpoolError> {
        Spool::open_sized(setup, Sizes::default())
    }

    /// The same, with a ledger in parts of another size: for tests, which cannot wait for the usual ones to fill.
    pub fn open_sized(setup: Setup, sizes: Sizes) -> Result<Spool, SpoolError> {
        let layout = Layout::new(&setup.root);
        let disk = setup.disk;
        let lock = take_lock(&disk, &layout.lock())?;
        let version = version::check(&setup.root, &setup.node)?;
        if layout.restoring().exists() {
            return Err(SpoolError::Unfinished { path: layout.restoring() });
        }
        let away = sweep(&disk, &layout, &setup.routes, &setup.crossings)?;
        crate::evidence::settle(&disk, &layout.evidence())?;
        let (ledger, wrong) = Ledger::open(&disk, &layout.ledger(), &setup.node, &setup.key, sizes)?;
        let restored = restored(&ledger)?;
        let index = Index::open(&layout.index(), &setup.node, setup.index_cache_bytes, &ledger, &disk)?;
        let last_before = last_moment(&ledger)?;
        let now = last_before.filter(|last| setup.now.0.abs_diff(last.0) > START_DOUBT_MS).unwrap_or(setup.now);
        let bell = Arc::new(Bell::default());
        let mut outboxes = HashMap::new();
        let lost = LostThrough::new(&ledger, index.epoch());
        for crossing in &setup.crossings {
            let known = |entry: &Entry| {
                if index.recorded(&entry.id, &ledger)? {
                    return Ok(Known::Recorded);
                }
                Ok(if lost.may_hold(entry.epoch)? { Known::Perhaps } else { Known::Never })
            };
            outboxes.insert(*crossing, Outbox::open(&disk, &layout.outbox(*crossing), &bell, &known)?);
        }
        settle_doubt(&outboxes, &index, &ledger, &lost, &layout)?;
        // What stands in an outbox was numbered by a process of which the records may be lost.
        let numbered = outboxes.values().map(Outbox::newest_epoch);
        let epoch = Numbers::next_epoch(numbered.fold(index.epoch(), u64::max), now);
        // What the index had taken before, it still knows.
        let mut lost = wrong.damage.iter().flat_map(|one| &one.records);
        let unread = lost.any(|range| range.to >= index.knew());
        if unread {
            // What the disk did not give at this start it may give at the next, which then looks at all of it. Asked for before
            // the damage counts as reported: a process that dies between the two must not leave an index with holes.
            index.is_to_be_made_anew()?;
        }
        let lost_until = if wrong.damage.is_empty() { ledger.lost_until()?.map_or(0, |until| until.0) } else { now.0 };
        let spool = Spool(Arc::new(Inner {
            node: setup.node,
            zone: setup.zone,
            layout,
            disk,
            bell,
            ledger,
            index,
            numbers: Numbers::new(epoch),
            latest: AtomicU64::new(now.0),
            last_before,
            outboxes,
            busy: arrivals::Busy::default(),
            offered_again: Mutex::default(),
            floor: RwLock::new(Floor { bytes: FREE_BYTES_MIN, inodes: FREE_INODES_MIN }),
            restored,
            key: setup.key,
            notices: Mutex::default(),
            away: Mutex::new(away),
            inlets: Mutex::default(),
            days: crate::evidence::Days::default(),
            scrub: Mutex::default(),
            wrong_at_start: wrong.checkpoint || wrong.tree || !wrong.damage.is_empty(),
            unread_at_start: unread,
            lost_until: AtomicU64::new(lost_until),
            _lock: lock,
        }));
        if wrong.checkpoint {
            // Without a range: no record was lost, but what was signed over them cannot be read any more.
            spool.record(Record::new(Event::LedgerDamaged, now), Local::none())?;
        }
        for one in &wrong.damage {
            if one.records.is_empty() {
                // It could not be read a moment ago, and can be: it stays aside, and somebody looks at the disk.
                spool.record(Record::new(Event::LedgerDamaged, now), Local::none())?;
            }
            spool.record_ranges(Record::new(Event::LedgerDamaged, now), &one.records)?;
            spool.0.ledger.reported(one)?;
        }
        spool.withdraw_left_over(now)?;
        let mut started = Record::new(Event::EpochStarted, now);
        started.epoch = Some(epoch);
        spool.record(started, Local::none())?;
        spool.load_announced();
        spool.0.ledger.tree_is_told()?;
        // All of it was understood; whatever is written from here on may be of our own form.
        version::raise(spool.disk(), spool.layout().root(), spool.node(), version)?;
        Ok(spool)
    }

    /// Whose spool it is.
    #[must_use]
    pub fn node(&self) -> &Name {
        &self.0.node
    }
    /// In which zone.
    #[must_use]
    pub fn zone(&self) -> Zone {
        self.0.zone
    }
    /// Its paths.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.0.layout
    }
    /// What touches its disk.
    #[must_use]
    pub fn disk(&self) -> &Disk {
        &self.0.disk
    }
    /// Rung at every commit.
    #[must_use]
    pub fn bell(&self) -> &Bell {
        &self.0.bell
    }
    pub(crate) fn shared_bell(&self) -> Arc<Bell> {
        self.0.bell.clone()
    }
    /// The epoch of this start.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.0.numbers.epoch()
    }
    /// The digest suite of the ledger, fixed when it was made.
    #[must_use]
    pub fn ledger_suite(&self) -> Suite {
        self.0.ledger.suite()
    }
    /// Which of the node's logs the ledger writes.
    #[must_use]
    pub fn log(&self) -> u64 {
        self.0.ledger.log()
    }
    /// When this node was last restored from a backup; never, mostly.
    #[must_use]
    pub fn restored(&self) -> Option<Restored> {
        self.0.restored
    }
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.0.ledger
    }
    pub(crate) fn signing_key(&self) -> &Signatory {
        &self.0.key
    }
    /// A peer that offers what we settled has not got our receipt: its disk may have been put back to an older state.
    pub(crate) fn offered(&self, crossing: Crossing, bundle: BundleId) {
        let mut again = locked(&self.0.offered_again);
        if again.len() < OFFERED_AGAIN_MAX && again.insert((crossing, bundle)) {
            drop(again);
            self.0.bell.ring();
        }
    }
    /// What was offered again since the last call.
    #[must_use]
    pub fn offered_again(&self) -> Vec<(Crossing, BundleId)> {
        std::mem::take(&mut *locked(&self.0.offered_again)).into_iter().collect()
    }
    /// What the last record bore when the spool was opened; none in a new ledger.
    #[must_use]
    pub fn last_before(&self) -> Option<Timestamp> {
        self.0.last_before
    }
    pub(crate) fn busy(&self) -> &arrivals::Busy {
        &self.0.busy
    }

    /// Appends a record. On return it is durable and the index knows it. Many threads share one sync.
    pub fn record(&self, record: Record, local: Local) -> Result<u64, SpoolError> {
        let inner = &self.0;
        inner.latest.fetch_max(record.at.0, Ordering::Relaxed);
        let apply = |first, items: &[_], head| inner.index.apply(first, items, head, &inner.ledger);
        let index = inner.ledger.record(record, local, &apply)?;
        inner.bell.ring();
        Ok(index)
    }

    /// Appends several records with as few syncs as they need. Where it fails, some of them may be durable all the same:
    /// ask the index before doing anything again.
    pub fn record_all(&self, records: Vec<(Record, Local)>) -> Result<(), SpoolError> {
        // No news: whoever waits on the bell must not be woken by itself.
        if records.is_empty() {
            return Ok(());
        }
        let inner = &self.0;
        let latest = records.iter().map(|(record, _)| record.at.0).max().unwrap_or(0);
        inner.latest.fetch_max(latest, Ordering::Relaxed);
        let apply = |first, items: &[_], head| inner.index.apply(first, items, head, &inner.ledger);
        inner.ledger.record_all(records, &apply)?;
        inner.bell.ring();
        Ok(())
    }

    fn record_ranges(&self, record: Record, ranges: &[Range]) -> Result<(), SpoolError> {
        for range in ranges {
            let mut one = record.clone();
            (one.sequence, one.through) = (Some(range.from), Some(range.to));
            self.record(one, Local::none())?;
        }
        Ok(())
    }

    /// Durable size and root of the ledger.
    #[must_use]
    pub fn head(&self) -> Head {
        self.0.ledger.head()
    }

    /// The present head, and the proof that it only added to the one at `old` records.
    pub fn consistency(&self, old: u64) -> Result<(Head, Vec<Digest>), SpoolError> {
        self.0.ledger.consistency(old)
    }

    /// The present head, and the proof that record `index` stands in it.
    pub fn inclusion(&self, index: u64) -> Result<(Head, Vec<Digest>), SpoolError> {
        self.0.ledger.inclusion(index)
    }

    /// The records from one on, in order, at most `limit`; those that cannot be read are left out.
    pub fn records(&self, from: u64, limit: usize) -> Result<Vec<Stored>, SpoolError> {
        let mut found = Vec::new();
        self.0.ledger.read_from(from, &mut |stored| {
            if found.len() < limit {
                found.push(stored);
            }
            Ok(if found.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        Ok(found)
    }

    /// Hands every readable record of a time on, in the ledger's order. Segments that lie a day before or behind it are
    /// not read: records are in the order of their times, but for a clock that was set.
    pub fn records_between(
        &self,
        from: Timestamp,
        until: Timestamp,
        take: &mut dyn FnMut(&Record),
    ) -> Result<(), SpoolError> {
        self.present_between(from, until, &mut |stored| {
            take(&stored.record);
            ControlFlow::Continue(())
        })
    }

    /// The same with everything that is stored, and of the logs before this one too, until `take` has enough.
    pub fn stored_between(
        &self,
        from: Timestamp,
        until: Timestamp,
        take: &mut dyn FnMut(&Stored) -> ControlFlow<()>,
    ) -> Result<(), SpoolError> {
        let mut enough = ControlFlow::Continue(());
        self.0.ledger.read_former(&mut |_, stored| {
            if enough.is_continue() && (from..until).contains(&stored.record.at) {
                enough = take(&stored);
            }
            Ok(())
        })?;
        if enough.is_break() {
            return Ok(());
        }
        self.present_between(from, until, take)
    }

    fn present_between(
        &self,
        from: Timestamp,
        until: Timestamp,
        take: &mut dyn FnMut(&Stored) -> ControlFlow<()>,
    ) -> Result<(), SpoolError> {
        let first = self.0.ledger.first_about(from)?;
        const DAY_MS: u64 = 24 * 60 * 60 * 1000;
        let mut late = 0_usize;
        self.0.ledger.read_from(first, &mut |stored| {
            let at = stored.record.at;
            if (from..until).contains(&at) && take(&stored).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            late = if at.0 > until.0.saturating_add(DAY_MS) { late + 1 } else { 0 };
            // A segment's worth of records that are all too late: what follows is later still.
            Ok(if late < LATE_RECORDS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })
    }

    /// Compares every record with its digest in the tree, at once. Slow: [`Spool::scrub_step`] is for a node at work.
    pub fn scrub(&self) -> Result<Scrub, SpoolError> {
        let (unreadable, head) = scrub::whole(&self.0.ledger)?;
        Ok(Scrub { unreadable, head })
    }

    /// Compares the next few thousand records with the tree. A segment with damage is set aside and its loss recorded.
    pub fn scrub_step(&self, now: Timestamp) -> Result<Progress, SpoolError> {
        let mut scrub = locked(&self.0.scrub);
        self.0.ledger.is_sound()?;
        let step = scrub.step(&self.0.ledger, now)?;
        for one in &step.damaged {
            let aside = self.0.ledger.set_aside(one)?;
            let damage = scrub::damage_of(&self.0.ledger, &aside)?;
            self.record_ranges(Record::new(Event::LedgerDamaged, now), &damage.records)?;
            self.0.ledger.reported(&damage)?;
            self.0.lost_until.fetch_max(now.0, Ordering::SeqCst);
            scrub.reported(&damage.records);
        }
        self.record_ranges(Record::new(Event::LedgerDamaged, now), &step.unreported)?;
        scrub.reported(&step.unreported);
        Ok(scrub.progress)
    }

    /// How far the scrub is.
    #[must_use]
    pub fn scrubbed(&self) -> Progress {
        locked(&self.0.scrub).progress
    }

    /// Did opening find damage in the ledger? It is recorded; somebody has to be told.
    #[must_use]
    pub fn was_damaged(&self) -> bool {
        self.0.wrong_at_start
    }

    /// Were there records that opening could not read, and that the index did not know either? The next start looks at all of
    /// them once more, and may find them: until then nobody can say of a parcel that it was never here.
    #[must_use]
    pub fn records_may_return(&self) -> bool {
        self.0.unread_at_start
    }

    /// May a record of that moment be among those that the ledger lost?
    #[must_use]
    pub fn may_have_lost(&self, at: Timestamp) -> bool {
        at.0 <= self.0.lost_until.load(Ordering::SeqCst)
    }

    /// Files of outboxes that the start kept although nothing that it could read stands in them, or not all of them could
    /// be read: something that was promised may be lost in them. Somebody has to be told.
    #[must_use]
    pub fn kept_unread(&self) -> Vec<PathBuf> {
        let mut kept: Vec<PathBuf> = self.0.outboxes.values().flat_map(Outbox::kept).collect();
        kept.sort();
        kept
    }

    /// Those of them in which nothing waits get another name beside the outbox's own, and no start looks into them again.
    /// Gives how many, and how many are left.
    pub fn set_kept_aside(&self) -> Result<(usize, usize), SpoolError> {
        let before = self.kept_unread().len();
        self.0.outboxes.values().try_for_each(Outbox::set_kept_aside)?;
        let left = self.kept_unread().len();
        Ok((before - left, left))
    }

    /// The durable head, with a proof from each of these earlier heads, and how many it does not pass through.
    ///
    /// # Errors
    /// The tree cannot be read, or is not what it was: nothing is to be said now. The next start begins it anew.
    pub fn links(&self, from: &[Head]) -> Result<(Head, Vec<HeadLink>, usize), SpoolError> {
        self.0.ledger.links(from)
    }
    /// Was the tree of the ledger to be begun anew at this start, in vain? Another start would end no better.
    #[must_use]
    pub fn cannot_renew_tree(&self) -> bool {
        self.0.ledger.cannot_renew()
    }
    /// Does our ledger pass through that head?
    pub fn passes_through(&self, head: &Head) -> Result<bool, SpoolError> {
        self.0.ledger.passes_through(head)
    }
    /// The signed papers that begin this log; none for the first.
    pub fn log_starts(&self) -> Result<Vec<Vec<u8>>, SpoolError> {
        self.0.ledger.starts()
    }
    /// What a neighbour was told about our ledger.
    pub fn stated_to(&self, peer: &Name) -> Result<StatedTo, SpoolError> {
        self.0.index.stated_to(peer, &self.0.ledger)
    }
    /// The last head that a neighbour has proven of its own ledger.
    pub fn witnessed(&self, peer: &Name) -> Result<Option<Stated>, SpoolError> {
        self.0.index.witnessed(peer, &self.0.ledger)
    }

    /// The signed C2SP note over the durable head.
    pub fn checkpoint(&self) -> Result<String, SpoolError> {
        self.0.ledger.checkpoint()
    }

    /// Leaves a checkpoint beside the ledger, where the last one is older than the head.
    pub fn write_checkpoint(&self) -> Result<(), SpoolError> {
        self.0.ledger.write_checkpoint()
    }

    /// What is known of a parcel.
    pub fn parcel(&self, id: &ParcelId) -> Result<Option<ParcelState>, SpoolError> {
        self.0.index.parcel(id, &self.0.ledger)
    }
    /// Parcels that fit, newest first.
    pub fn parcels(&self, filter: &Filter, limit: usize) -> Result<Vec<ParcelState>, SpoolError> {
        self.0.index.parcels(filter, limit, &self.0.ledger)
    }
    /// Records that name a person or a medium and fit, newest first.
    pub fn acts(&self, filter: &ActFilter, limit: usize) -> Result<Vec<Act>, SpoolError> {
        self.0.index.acts(filter, limit, &self.0.ledger)
    }
    /// The record of the survey files that were last brought to a route with this listing.
    pub fn brought(&self, route: &Name, listing: &Digest) -> Result<Option<Record>, SpoolError> {
        self.0.index.brought(route, listing, &self.0.ledger)
    }
    /// A trip of the ferry that was staged or imported here.
    pub fn trip(&self, crossing: Crossing, way: Way, trip: u64) -> Result<Option<TripOnRecord>, SpoolError> {
        self.0.index.trip(crossing, way, trip, &self.0.ledger)
    }
    /// Trips of a crossing that were staged or imported here, the highest number first.
    pub fn trips(&self, crossing: Crossing, way: Way, limit: usize) -> Result<Vec<TripOnRecord>, SpoolError> {
        self.0.index.trips(crossing, way, limit, &self.0.ledger)
    }
    /// Whose bundle this is.
    pub fn parcel_of_bundle(&self, id: &BundleId) -> Result<Option<ParcelId>, SpoolError> {
        Ok(self.0.index.bundle(id, &self.0.ledger)?.1)
    }
    /// Does a record of this node's own doing name this bundle?
    pub fn bundle_recorded(&self, id: &BundleId) -> Result<bool, SpoolError> {
        self.0.index.recorded(id, &self.0.ledger)
    }
    /// Was this bundle (or batch) taken here and settled?
    pub fn bundle_taken(&self, id: &BundleId) -> Result<bool, SpoolError> {
        Ok(self.0.index.bundle(id, &self.0.ledger)?.0)
    }
    /// How many parcels stand where, by route.
    pub fn counts(&self) -> Result<BTreeMap<(Name, State), u64>, SpoolError> {
        self.0.index.counts(&self.0.ledger)
    }
    /// Makes the index anew from the ledger.
    pub fn rebuild_index(&self) -> Result<(), SpoolError> {
        self.0.index.rebuild(&self.0.ledger)
    }

    /// Did this number of a peer come before?
    pub fn seen(&self, peer: &Name, crossing: Crossing, epoch: u64, sequence: u64) -> Result<Seen, SpoolError> {
        self.0.index.book(&self.0.ledger, |book| book.seen(peer, crossing, epoch, sequence))
    }

    /// A beacon said that numbers below `next_sequence` exist. Kept in memory and a snapshot; may be lost, the next
    /// beacon says it again.
    pub fn announce(&self, peer: &Name, crossing: Crossing, epoch: u64, next_sequence: u64) {
        let news = self.0.index.book(&self.0.ledger, |book| {
            let news = book.announce(peer, crossing, epoch, next_sequence);
            (news && next_sequence.is_multiple_of(ANNOUNCED_EVERY)).then(|| announced_json(book))
        });
        if let Ok(Some(json)) = news {
            // A snapshot that cannot be written is as good as one that was lost.
            let _lost = self.0.disk.write_lazy(&self.announced_path(), json.to_string().as_bytes());
        }
    }

    fn announced_path(&self) -> PathBuf {
        self.0.layout.queues().join("announced.json")
    }

    fn load_announced(&self) {
        type Lines = Vec<(Name, u8, u64, u64)>;
        let lines = fs::read(self.announced_path()).ok().and_then(|bytes| serde_json::from_slice::<Lines>(&bytes).ok());
        for (peer, crossing, epoch, next) in lines.unwrap_or_default() {
            if let Some(crossing) = Crossing::from_code(crossing) {
                let _known = self.0.index.book(&self.0.ledger, |book| book.announce(&peer, crossing, epoch, next));
            }
        }
    }

    /// The peer says that these numbers of its will never come; recorded, each only once.
    pub fn withdraw(&self, peer: &Name, crossing: Crossing, epochs: &[EpochGaps]) -> Result<(), SpoolError> {
        for gaps in epochs {
            for range in gaps.missing.iter().filter(|range| range.from > 0 && range.from <= range.to) {
                let news = self
                    .0
                    .index
                    .book(&self.0.ledger, |book| book.not_yet_withdrawn(peer, crossing, gaps.epoch, *range))?;
                let mut record = Record::new(Event::Withdrawn, self.latest());
                record.peer = Some(peer.clone());
                record.crossing = Some(crossing);
                record.epoch = Some(gaps.epoch);
                self.record_ranges(record, &news)?;
            }
            self.announce(peer, crossing, gaps.epoch, gaps.through.saturating_add(1));
        }
        Ok(())
    }

    /// What is missing of a peer's numbers: announced or below the highest seen, and not withdrawn.
    #[must_use]
    pub fn gaps(&self, peer: &Name, crossing: Crossing) -> Vec<EpochGaps> {
        self.0.index.book(&self.0.ledger, |book| book.gaps(peer, crossing)).unwrap_or_default()
    }

    /// How far every epoch of a peer is known, with what is missing of it: what a gap report says.
    #[must_use]
    pub fn progress(&self, peer: &Name, crossing: Crossing) -> Vec<EpochGaps> {
        self.0.index.book(&self.0.ledger, |book| book.progress(peer, crossing)).unwrap_or_default()
    }

    /// The next number of a crossing of ours: its epoch and its sequence.
    pub fn next_number(&self, crossing: Crossing) -> Result<(u64, u64), SpoolError> {
        self.0.numbers.next(crossing, self.latest(), |record| self.record(record, Local::none()))
    }

    /// The spool is told no time after its start: what it records by itself bears the latest time it was given.
    fn latest(&self) -> Timestamp {
        Timestamp(self.0.latest.load(Ordering::Relaxed))
    }

    /// Our own numbers that will never come, to tell the peer.
    #[must_use]
    pub fn withdrawn(&self, crossing: Crossing) -> Vec<EpochGaps> {
        let ask = |book: &mut crate::gaps::Book| book.withdrawn(crossing, WITHDRAWN_EPOCHS_MAX);
        self.0.index.book(&self.0.ledger, ask).unwrap_or_default()
    }

    /// Up to which epoch records of this ledger are lost, where any are: of what a process of that time left behind nobody can
    /// say that it was never recorded. Reads the whole ledger where a segment of it was set aside.
    pub fn lost_through(&self) -> Result<Option<u64>, SpoolError> {
        LostThrough::new(&self.0.ledger, self.epoch()).look()
    }

    /// Numbers that a dead process reserved: what stands in an outbox was used, the rest will never come.
    fn withdraw_left_over(&self, now: Timestamp) -> Result<(), SpoolError> {
        let left = self.0.index.book(&self.0.ledger, |book| book.left_over())?;
        let mut held: HashMap<Crossing, std::collections::HashSet<(u64, u64)>> = HashMap::new();
        for (crossing, epoch, range) in left {
            let held = held
                .entry(crossing)
                .or_insert_with(|| self.0.outboxes.get(&crossing).map(Outbox::numbers).unwrap_or_default());
            let mut unused = crate::ranges::Ranges::default();
            for sequence in range.from..=range.to {
                if !held.contains(&(epoch, sequence)) {
                    unused.insert(sequence, sequence);
                }
            }
            let mut record = Record::new(Event::SequencesWithdrawn, now);
            record.crossing = Some(crossing);
            record.epoch = Some(epoch);
            self.record_ranges(record, &unused.iter().collect::<Vec<_>>())?;
        }
        Ok(())
    }

    /// After a restore: of the numbers that a peer misses, those of epochs that this ledger knows nothing of were used by
    /// a process whose records are lost. They will never come.
    pub fn withdraw_unknown(&self, crossing: Crossing, epochs: &[EpochGaps], now: Timestamp) -> Result<(), SpoolError> {
        if self.0.restored.is_none() {
            return Ok(());
        }
        for gaps in epochs.iter().filter(|gaps| gaps.epoch < self.epoch()) {
            let mut record = Record::new(Event::SequencesWithdrawn, now);
            record.crossing = Some(crossing);
            record.epoch = Some(gaps.epoch);
            for range in &gaps.missing {
                let ask = |book: &mut crate::gaps::Book| book.never_reserved(crossing, gaps.epoch, *range);
                let unknown = self.0.index.book(&self.0.ledger, ask)?;
                self.record_ranges(record.clone(), &unknown)?;
            }
        }
        Ok(())
    }

    /// The outbox of a crossing. One that was not set up is empty and takes nothing.
    #[must_use]
    pub fn outbox(&self, crossing: Crossing) -> Outbox {
        self.0
            .outboxes
            .get(&crossing)
            .cloned()
            .unwrap_or_else(|| Outbox::none(&self.0.disk, &self.0.layout.outbox(crossing), &self.0.bell))
    }

    /// The arrivals of a crossing.
    #[must_use]
    pub fn arrivals(&self, crossing: Crossing) -> Arrivals {
        Arrivals { spool: self.clone(), crossing }
    }

    /// Parcels in our custody that are still to be delivered or relayed.
    pub fn checked(&self) -> Result<Vec<Entry>, SpoolError> {
        arrivals::list(&self.0.layout.checked())
    }

    /// Is there room for so many bytes above the floor?
    pub fn room(&self, bytes: u64) -> Result<(), SpoolError> {
        let floor = *self.0.floor.read().unwrap_or_else(PoisonError::into_inner);
        let root = self.0.layout.root();
        let Free { bytes: bytes_free, inodes: inodes_free } =
            self.0.disk.free(root).map_err(|source| SpoolError::disk(root, source))?;
        if bytes_free >= floor.bytes.saturating_add(bytes) && inodes_free >= floor.inodes {
            return Ok(());
        }
        Err(SpoolError::Full {
            path: root.to_owned(),
            bytes_free,
            inodes_free,
            bytes_needed: bytes,
            bytes_floor: floor.bytes,
            inodes_floor: floor.inodes,
        })
    }

    /// The same for what is to be written below `place`. A mount of its own has a room of its own: whoever fills that
    /// learns it by itself, and takes nothing from the ledger.
    pub fn room_at(&self, place: &Path, bytes: u64) -> Result<(), SpoolError> {
        use std::os::unix::fs::MetadataExt as _;
        let device = |path: &Path| fs::metadata(path).map(|about| about.dev()).ok();
        let own = device(place).is_none_or(|device_there| device(self.0.layout.root()) == Some(device_there));
        if own { self.room(bytes) } else { Ok(()) }
    }

    /// Sets the floor of free space.
    pub fn set_floor(&self, floor: Floor) {
        *self.0.floor.write().unwrap_or_else(PoisonError::into_inner) = floor;
    }

    /// Sees to it that what stands in a folder of a route is durable, where the start could not.
    pub(crate) fn is_reached(&self, folder: &Path, own: &Path) -> Result<(), SpoolError> {
        let mut away = locked(&self.0.away);
        if away.contains(folder) {
            sync_folder(&self.0.disk, folder, own)?;
            away.remove(folder);
        }
        Ok(())
    }

    /// Tells the app what became of its drop.
    pub fn notice(&self, route: &Name, notice: &Notice) -> Result<(), SpoolError> {
        let mut untold = locked(&self.0.notices);
        let first = untold.remove(&notice.parcel);
        notice::put(&self.0.disk, &self.0.layout.notices(route), &self.0.layout.names(), notice, first)
    }

    /// Does a claim or a notice of a parcel say that this, byte for byte, was the name of its drop?
    #[must_use]
    pub fn was_dropped_as(&self, route: &Name, parcel: ParcelId, name: &OsStr) -> bool {
        crate::inlet::stands(&self.0.layout.claimed(route), parcel, name)
            || notice::stands(&self.0.layout.notices(route), name, parcel)
    }

    /// A parcel was claimed under an id that was drawn a moment ago: no notice of it can stand.
    pub(crate) fn nobody_was_told_of(&self, parcel: ParcelId) {
        let mut untold = locked(&self.0.notices);
        if untold.len() >= UNTOLD_MAX {
            untold.clear();
        }
        untold.insert(parcel);
    }

    /// Removes notices of ends that have rested and are dated before a day, at most so many; those of parcels under way
    /// stay. Answers how many went.
    pub fn forget_notices(
        &self,
        route: &Name,
        before: Timestamp,
        has_rested: &dyn Fn(&Path) -> bool,
        at_most: usize,
    ) -> Result<usize, SpoolError> {
        let _turn = locked(&self.0.notices);
        notice::forget(&self.0.disk, &self.0.layout.notices(route), before, has_rested, at_most)
    }

    /// Tells the app that its drop stays in the inlet.
    pub(crate) fn notice_waiting(
        &self,
        route: &Name,
        name: &OsStr,
        why: Wait,
        now: Timestamp,
    ) -> Result<(), SpoolError> {
        let _turn = locked(&self.0.notices);
        notice::put_waiting(&self.0.disk, &self.0.layout.notices(route), route, name, why, now)
    }

    /// It does not stay there any more.
    pub(crate) fn notice_taken(&self, route: &Name, name: &OsStr) -> Result<(), SpoolError> {
        let _turn = locked(&self.0.notices);
        notice::end_waiting(&self.0.disk, &self.0.layout.notices(route), name)
    }

    /// Nobody is said to wait.
    pub(crate) fn notice_nobody_waits(&self, route: &Name) -> Result<(), SpoolError> {
        let _turn = locked(&self.0.notices);
        notice::end_all_waiting(&self.0.disk, &self.0.layout.notices(route))
    }

    /// What the last looks at the inlets saw, by route.
    #[must_use]
    pub fn inlets(&self) -> BTreeMap<Name, InletLook> {
        locked(&self.0.inlets).clone()
    }

    pub(crate) fn saw_inlet(&self, route: &Name, look: InletLook) {
        locked(&self.0.inlets).insert(route.clone(), look);
    }

    /// Keeps what the auditor needs, each file under the day it happened. Keeping the same again is fine.
    pub fn keep_evidence(&self, kept: &[Kept]) -> Result<(), SpoolError> {
        crate::evidence::keep(&self.0.disk, &self.0.layout.evidence(), &self.0.days, kept)
    }

    /// Evidence of that day that stands there lasts from now on, also where a process died before it knew that.
    pub fn evidence_lasts(&self, at: Timestamp) -> Result<(), SpoolError> {
        self.0.days.last(&self.0.disk, &self.0.layout.evidence(), at)
    }

    /// Where a piece of evidence of that moment is kept.
    #[must_use]
    pub fn evidence_path(&self, at: Timestamp, name: &str) -> PathBuf {
        crate::evidence::day(&self.0.layout.evidence(), at).join(name)
    }
}

/// Of segments that could not be read everywhere: is anything missing that the ledger says waits? Where nothing is, it was
/// the torn end of what nobody was promised. Where records are lost the ledger does not know all that it promised, and
/// only what was written after that is known for what it is.
fn settle_doubt(
    outboxes: &HashMap<Crossing, Outbox>,
    index: &Index,
    ledger: &Ledger,
    lost: &LostThrough<'_>,
    layout: &Layout,
) -> Result<(), SpoolError> {
    let is_missing = |sent: &Sent| {
        let stands = outboxes.get(&sent.crossing).is_some_and(|outbox| outbox.holds(&sent.bundle));
        // Recorded, and its rename into the outbox is still owed.
        let owed = || layout.sealing().join(format!("{}.bundle", sent.bundle)).exists();
        !stands && !owed()
    };
    if outboxes.values().all(|outbox| outbox.in_doubt().is_empty()) || index.any_waiting(ledger, &is_missing)? {
        return Ok(());
    }
    let through = lost.through()?;
    outboxes.values().try_for_each(|outbox| outbox.nothing_is_missing(through))
}

/// Up to which epoch records are lost: of what a process of that time left behind nobody can say any more that it was
/// never recorded. What came after is known again. Asked for rarely, and only then looked up.
struct LostThrough<'a> {
    ledger: &'a Ledger,
    /// The epoch of the process before this one.
    newest: u64,
    found: std::cell::OnceCell<Option<u64>>,
}

impl<'a> LostThrough<'a> {
    fn new(ledger: &'a Ledger, newest: u64) -> Self {
        LostThrough { ledger, newest, found: std::cell::OnceCell::new() }
    }

    fn may_hold(&self, epoch: u64) -> Result<bool, SpoolError> {
        Ok(self.through()?.is_some_and(|through| epoch <= through))
    }

    fn through(&self) -> Result<Option<u64>, SpoolError> {
        if let Some(found) = self.found.get() {
            return Ok(*found);
        }
        let found = self.look()?;
        Ok(*self.found.get_or_init(|| found))
    }

    fn look(&self) -> Result<Option<u64>, SpoolError> {
        let at = |source| SpoolError::disk(&self.ledger.dir, source);
        let segments = crate::segment::list(&self.ledger.dir).map_err(at)?;
        if segments.iter().any(|one| one.health == Health::Damaged) {
            // Found by this start, and not on record yet. Which processes' records they were nobody can say.
            return Ok(Some(u64::MAX));
        }
        let mut all_sound = segments.iter().all(|one| one.health == Health::Sound);
        // What a restore brought back was staged under the logs before.
        for (_, dir) in crate::ledger::former(&self.ledger.dir)? {
            let segments = crate::segment::list(&dir).map_err(|source| SpoolError::disk(&dir, source))?;
            all_sound &= segments.iter().all(|one| one.health == Health::Sound);
        }
        if all_sound {
            return Ok(None);
        }
        let (mut through, mut lost, mut told) = (None, false, false);
        let log = self.ledger.log();
        let mut take = |record: &Record| match record.event {
            // Whatever was lost before it is of a process before it; the record that names that one may be lost as well.
            Event::EpochStarted if std::mem::take(&mut lost) => {
                through = through.max(record.epoch.and_then(|epoch| epoch.checked_sub(1)));
            }
            // A restore found it: any of what it brought back may be on none of the records that are left.
            Event::LedgerDamaged if record.head.is_some() => through = through.max(log.checked_sub(1)),
            Event::LedgerDamaged => {
                told = true;
                lost |= record.sequence.is_some();
            }
            _ => {}
        };
        self.ledger.read_former(&mut |_, stored| {
            take(&stored.record);
            Ok(())
        })?;
        self.ledger.read_from(0, &mut |stored| {
            take(&stored.record);
            Ok(ControlFlow::Continue(()))
        })?;
        if lost {
            through = through.max(Some(self.newest));
        }
        Ok(through.or((!told).then_some(self.newest)))
    }
}

/// What the first record of a log that follows another says.
fn restored(ledger: &Ledger) -> Result<Option<Restored>, SpoolError> {
    let mut found = None;
    if ledger.log() != protocol::ledger::FIRST_LOG {
        ledger.read_from_until(0, 1, &mut |stored| {
            if stored.record.event == Event::LogBegun {
                found = Some(Restored { at: stored.record.at, trip: stored.record.trip.unwrap_or(0) });
            }
            Ok(ControlFlow::Break(()))
        })?;
    }
    Ok(found)
}

/// A lock that is held is asked for again so often, a fiftieth of a second apart: a daemon that is killed while it starts
/// a worker leaves a child behind that holds the lock until it becomes the worker, some milliseconds later.
const LOCK_TURNS: u32 = 50;

pub(crate) fn take_lock(disk: &Disk, path: &Path) -> Result<File, SpoolError> {
    let at = |source| SpoolError::disk(path, source);
    let file = disk.open_rw(path).map_err(at)?;
    for _ in 0..LOCK_TURNS {
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) => std::thread::park_timeout(std::time::Duration::from_millis(20)),
            Err(error) => return Err(at(error.into())),
        }
    }
    Err(SpoolError::Locked { path: path.to_owned() })
}

fn last_moment(ledger: &Ledger) -> Result<Option<Timestamp>, SpoolError> {
    let mut last = None;
    ledger.read_from(ledger.head().size.saturating_sub(1), &mut |stored| {
        last = Some(stored.record.at);
        Ok(std::ops::ControlFlow::Continue(()))
    })?;
    Ok(last)
}

/// Throws away what an interrupted process left half made. `queues/sealing` is not swept here: a bundle in it may be
/// recorded and only its rename owed, and whoever seals knows that.
/// Gives the folders of routes that cannot be reached.
fn sweep(
    disk: &Disk,
    layout: &Layout,
    routes: &[RouteDirs],
    crossings: &[Crossing],
) -> Result<BTreeSet<PathBuf>, SpoolError> {
    let second_names = layout.snapshot();
    disk.remove_tree(&second_names).map_err(|source| SpoolError::disk(&second_names, source))?;
    for path in children(&layout.opening())? {
        disk.remove_tree(&path).map_err(|source| SpoolError::disk(&path, source))?;
    }
    let mut swept = vec![layout.ledger(), layout.queues(), layout.status(), layout.checked()];
    swept.extend([layout.evidence(), layout.heads()]);
    // The group of the ferry writes here too: what it lays there, and we cannot clear away, keeps no node from starting.
    let _left = sweep_aside(disk, &layout.desk_answers());
    for dirs in routes {
        // Waste of a share that is away waits for a start that finds it.
        let _left = sweep_aside(disk, &layout.notices(&dirs.route));
    }
    for crossing in crossings {
        swept.extend([layout.outbox(*crossing), layout.complete(*crossing), layout.receipts(*crossing)]);
    }
    swept.iter().try_for_each(|dir| sweep_aside(disk, dir))?;
    // A process may have died between a rename and its sync, and what follows builds on what stands in these: a delivery
    // that is not staged any more is recorded as delivered.
    let mut built_on = vec![layout.sealing(), layout.checked(), layout.quarantine(), layout.desk_answers()];
    for one in crossings {
        built_on.extend([layout.outbox(*one), layout.complete(*one), layout.receipts(*one), layout.partial(*one)]);
    }
    for dir in built_on {
        disk.sync_dir(&dir).map_err(|source| SpoolError::disk(&dir, source))?;
    }
    // A bundle moved out of a trip's folder is gone from there only when that folder says so. What operators laid among
    // them, and the daemon cannot open, it never moved anything out of.
    for trip in children(&layout.desk_incoming())?.iter().filter(|path| is_folder(path)) {
        match disk.sync_dir(trip) {
            Err(error) if !matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound) => {
                return Err(SpoolError::disk(trip, error));
            }
            _ => {}
        }
    }
    // A share that is not there yet holds up its own route and not the node.
    let mut away = BTreeSet::new();
    for dirs in routes {
        let inlet = dirs.inlet.then(|| (layout.inlet(&dirs.route), layout.claimed(&dirs.route)));
        let outlet = dirs.outlet.then(|| (layout.outlet(&dirs.route), layout.outlet_staging(&dirs.route)));
        for (folder, own) in inlet.into_iter().chain(outlet) {
            if sync_folder(disk, &folder, &own).is_err() {
                away.insert(folder);
            }
        }
    }
    sweep_after_boot(disk, layout, routes, crossings)?;
    Ok(away)
}

/// Makes durable what stands in a folder of apps, and in what the daemon keeps there: claims, or deliveries made ready.
fn sync_folder(disk: &Disk, folder: &Path, own: &Path) -> Result<(), SpoolError> {
    let sync = |dir: &Path| disk.sync_dir(dir).map_err(|source| SpoolError::disk(dir, source));
    sync(folder)?;
    sync(own)?;
    let staging = own.ends_with(STAGING);
    let below = if staging { children(own)? } else { Vec::new() };
    below.iter().filter(|path| is_folder(path)).try_for_each(|path| sync(path))
}

fn is_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|about| about.is_dir())
}

/// Removes files written aside. Names are looked at one by one and not kept: where nobody takes notices away, there is
/// one for every parcel that ever was.
fn sweep_aside(disk: &Disk, dir: &Path) -> Result<(), SpoolError> {
    let at = |source| SpoolError::disk(dir, source);
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(at)?,
    };
    for entry in entries {
        let entry = entry.map_err(at)?;
        if entry.file_name().as_encoded_bytes().starts_with(ASIDE.as_bytes()) {
            // Nothing of ours aside is a folder; somebody's may be.
            disk.remove_tree(&entry.path()).map_err(|source| SpoolError::disk(&entry.path(), source))?;
        }
    }
    Ok(())
}

/// After a restart of the machine a partial file may be longer than what was written to it, a notice on the way may say
/// nothing, and an emptied folder may be back.
fn sweep_after_boot(
    disk: &Disk,
    layout: &Layout,
    routes: &[RouteDirs],
    crossings: &[Crossing],
) -> Result<(), SpoolError> {
    let path = layout.queues().join("boot");
    let boot = disk.boot();
    if fs::read(&path).is_ok_and(|before| before == boot) {
        return Ok(());
    }
    for crossing in crossings {
        for partial in children(&layout.partial(*crossing))? {
            disk.remove_file(&partial).map_err(|source| SpoolError::disk(&partial, source))?;
        }
    }
    let swept = routes.iter().map(|dirs| {
        notice::sweep(disk, &layout.notices(&dirs.route)).and(sweep_staging(disk, &layout.outlet_staging(&dirs.route)))
    });
    // Of a share that is away the next start sweeps.
    if swept.filter(Result::is_err).count() > 0 {
        return Ok(());
    }
    disk.write(&path, &boot).map_err(|source| SpoolError::disk(&path, source))
}

/// Removes emptied folders of an older form.
fn sweep_staging(disk: &Disk, staging: &Path) -> Result<(), SpoolError> {
    for staged in children(staging)? {
        let item = staged.as_os_str().as_encoded_bytes().ends_with(ITEM.as_bytes());
        if !item && is_folder(&staged) && children(&staged)?.is_empty() {
            disk.remove_dir(&staged).map_err(|source| SpoolError::disk(&staged, source))?;
        }
    }
    Ok(())
}

/// The paths in a directory; none where it is missing.
pub(crate) fn children(dir: &Path) -> Result<Vec<PathBuf>, SpoolError> {
    let at = |source| SpoolError::disk(dir, source);
    match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(at(error)),
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path()).map_err(at)).collect(),
    }
}

fn announced_json(book: &crate::gaps::Book) -> serde_json::Value {
    book.announced()
        .map(|(peer, crossing, epoch, next)| serde_json::json!([peer, crossing.code(), epoch, next]))
        .collect()
}
