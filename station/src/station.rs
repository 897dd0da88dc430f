//! One node at work: its spool, keys, trust, rules and routes, shared by all stages. Built from a config; holds no
//! state of its own that the spool does not hold better.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use protocol::der_types::Octets;
use protocol::parcel::ParcelStatement;
use protocol::signer::{self, SignError};
use protocol::trust::Use;
use protocol::{BundleId, Crossing, Name, ParcelId, Signed, Statement, Suite, Timestamp, Trust, Zone};
use spool::{Disk, Layout, RouteDirs, Setup, Spool, SpoolError};

use crate::alarm::{Alarm, Alarms};
use crate::backup::Backups;
use crate::clock::Clock;
use crate::config::{BackupSettings, Config, Direction, FerrySettings, Hop, NodeSettings, PeerSettings, RouteSettings};
use crate::disposal::Disposed;
use crate::exceptions::Exceptions;
use crate::keyring::{Keyring, KeyringError, security};
use crate::missing::Missing;
use crate::outlets::Outlets;
use crate::retries::Retries;
use crate::rulebook::{RuleBook, RuleFileError};
use crate::sandbox::Sandbox;
use crate::scanner::Scanner;
use crate::witness::Witness;

/// redb may keep this much of the index in memory; look-ups of a day's parcels fit.
const INDEX_CACHE_BYTES: usize = 32 << 20;

/// Of routes that are off: a line each, with a sentence.
const SWITCHES_BYTES_MAX: u64 = 1 << 20;

/// A neighbour's clock is measured at least this often where it is measured at all.
const LISTEN_AFTER_MS: u64 = 15_000;

/// Why a node cannot start or a stage cannot go on. A stage's error means: try again, nothing is lost.
#[derive(Debug, thiserror::Error)]
pub enum StationError {
    /// The spool.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// Keys or cards.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// A file.
    #[error("{path}: {cause}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// A rule file.
    #[error(transparent)]
    Rules(#[from] RuleFileError),
    /// A bundle could not be sealed for a reason of ours.
    #[error("sealing: {0}")]
    Seal(protocol::bundle::BundleError),
    /// A record whose bundle is nowhere.
    #[error(
        "parcel {parcel} is on record as sealed in bundle {bundle}, which is in no outbox and not at the next node; its source is kept (see show {parcel})"
    )]
    NotInOutbox {
        /// Whose.
        parcel: ParcelId,
        /// Which.
        bundle: BundleId,
    },
    /// A parcel or bundle that is not on record, at a start that could not read all records.
    #[error(
        "{id} is not on record, and this start could not read all records: what came about it waits for the next start (see ledger-damaged in docs/operations.md)"
    )]
    RecordUnread {
        /// Of the parcel, or of the bundle where that is all that is known.
        id: Octets<16>,
    },
    /// Nobody signs.
    #[error("signing: {0}")]
    Signer(#[from] SignError),
    /// A key that is needed is not in the trust folder.
    #[error(transparent)]
    Trust(#[from] protocol::trust::TrustError),
}

impl StationError {
    /// Was it the device that signs for this node? What was to be signed is tried again.
    #[must_use]
    pub fn is_of_signer(&self) -> bool {
        match self {
            StationError::Signer(_) => true,
            StationError::Io { cause, .. } | StationError::Spool(SpoolError::Disk { source: cause, .. }) => {
                signer::is_of_signer(cause)
            }
            _ => false,
        }
    }

    /// Would the next parcel meet it as well? The spool's own disk full, a ledger or index that takes nothing. Everything
    /// else may be about one parcel or one route only, and must not hold up those behind it: folders of apps may be
    /// mounts with a room of their own.
    #[must_use]
    pub fn concerns_all(&self, spool: &Spool) -> bool {
        let whole = |path: &Path, cause: &io::Error| {
            is_no_room(cause) && (!spool.layout().is_shared(path) || spool.room(0).is_err())
        };
        match self {
            error if error.is_of_signer() => true,
            StationError::Spool(SpoolError::Disk { path, source }) => whole(path, source),
            // Not enough for one that is large is enough for others.
            StationError::Spool(SpoolError::Full { .. }) => spool.room(0).is_err(),
            StationError::Spool(
                SpoolError::LedgerFull { .. } | SpoolError::Poisoned { .. } | SpoolError::Index { .. },
            ) => true,
            StationError::Io { path, cause } => whole(path, cause),
            _ => false,
        }
    }
}

/// Did a disk take nothing, for want of room or of leave?
pub(crate) fn is_no_room(cause: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(cause.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem)
}

/// What a station is built from.
#[derive(Clone)]
pub struct Plan {
    /// The node's settings.
    pub node: NodeSettings,
    /// Its zone, given by the program.
    pub zone: Zone,
    /// Its neighbours.
    pub peers: Vec<PeerSettings>,
    /// Its routes.
    pub routes: Vec<RouteSettings>,
    /// The hand ferry.
    pub ferry: FerrySettings,
    /// Where copies of the state go.
    pub backup: Option<BackupSettings>,
    /// Every crossing it takes part in.
    pub crossings: Vec<Crossing>,
    /// Its keys.
    pub keyring: Keyring,
    /// Whom it believes.
    pub trust: Trust,
    /// Rules by crossing.
    pub rules: RuleBook,
    /// Where alarms go.
    pub alarms: Alarms,
    /// The disk, or one with a fuse.
    pub disk: Disk,
    /// Where content is parsed.
    pub sandbox: Sandbox,
    /// Who else is asked about it.
    pub scanner: Option<Scanner>,
}

/// One node at work.
pub struct Station {
    /// The spool, where stages and links meet.
    pub spool: Spool,
    /// This node.
    pub node: Name,
    /// Its zone.
    pub zone: Zone,
    /// The office's suite.
    pub suite: Suite,
    /// Its keys.
    pub keyring: Keyring,
    /// Whom it believes.
    pub trust: Arc<Trust>,
    /// Rules by crossing.
    pub rules: RuleBook,
    /// Where content is parsed.
    pub sandbox: Sandbox,
    /// The office's virus scanner.
    pub scanner: Option<Scanner>,
    /// What two people let pass.
    pub exceptions: Exceptions,
    /// The media that were destroyed.
    pub disposed: Disposed,
    /// Its routes.
    pub routes: Vec<RouteSettings>,
    /// Its neighbours.
    pub peers: Vec<PeerSettings>,
    /// The hand ferry.
    pub ferry: FerrySettings,
    /// Its settings.
    pub settings: NodeSettings,
    /// Copies of its state.
    pub backups: Backups,
    /// Where alarms go.
    pub alarms: Alarms,
    /// What failed, and when it is tried again.
    pub retries: Retries,
    /// What the outlets hold.
    pub outlets: Outlets,
    /// Whoever changes a trip holds it: the desk and housekeeping both do.
    pub(crate) trips: Mutex<()>,
    /// What stands in an outbox out of the internal zone and could not be read when it was to be proven: on no trip yet.
    pub(crate) unproven: Mutex<std::collections::BTreeSet<BundleId>>,
    /// What time it is, and whether anything may end by it.
    pub clock: Arc<Clock>,
    /// What neighbours said about their ledgers.
    pub witness: Witness,
    /// What else is to be watched: links and other things this crate does not know.
    watches: Mutex<Vec<Watch>>,
    neighbours: Mutex<Vec<Neighbour>>,
    /// Peers whose ferried papers came in: a gap report tells them how far they are known. At start everybody is told.
    pub owed_reports: Mutex<std::collections::BTreeSet<Name>>,
    /// Batches of receipts that wait for the next start, which may read records that this one could not.
    pub(crate) unread_batches: Mutex<std::collections::BTreeSet<BundleId>>,
    /// Batches of receipts that are recorded and could not enter their outbox yet.
    pub owed_batches: Mutex<Vec<std::path::PathBuf>>,
    /// Routes that an operator has switched off.
    switched_off: Mutex<BTreeMap<Name, Off>>,
    /// What waits and the disk does not give.
    pub(crate) missing: Missing,
}

/// Since when a route is off, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Off {
    /// Since when; the beginning of time where an older version wrote it down without.
    pub since: Timestamp,
    /// Who switched it off.
    pub person: String,
    /// In their words.
    pub reason: String,
}

/// Says how far a neighbour's clock is ahead of our wall.
pub type Neighbour = Box<dyn Fn() -> Option<i64> + Send>;
/// Says whether an alarm is to stand.
pub type Watch = (Alarm, Box<dyn FnMut() -> bool + Send>);

/// What a config asks of the disk before anything runs.
#[must_use]
pub fn setup(
    node: &NodeSettings,
    zone: Zone,
    routes: &[RouteSettings],
    crossings: &[Crossing],
    keyring: &Keyring,
    disk: Disk,
    now: Timestamp,
) -> Setup {
    Setup {
        root: node.spool.clone(),
        node: node.name.clone(),
        zone,
        key: keyring.signing.clone(),
        disk,
        routes: routes
            .iter()
            .map(|route| RouteDirs {
                route: route.name.clone(),
                inlet: route.path.first() == Some(&node.name),
                outlet: route.path.last() == Some(&node.name),
            })
            .collect(),
        crossings: crossings.to_vec(),
        now,
        index_cache_bytes: INDEX_CACHE_BYTES,
    }
}

impl Plan {
    /// Reads keys, cards and rules that a config names.
    pub fn from_config<L>(config: &Config<L>, zone: Zone) -> Result<Plan, StationError> {
        let crossings = config.crossings(zone);
        let trust = crate::keyring::believed(&config.node)?;
        let layout = Layout::new(&config.node.spool);
        Ok(Plan {
            keyring: Keyring::of(&config.node)?,
            rules: RuleBook::load(&config.node.rules, &crossings, &trust, config.node.suite, &layout)?,
            trust,
            alarms: Alarms::new(&config.node.name, &config.alarm),
            node: config.node.clone(),
            zone,
            peers: config.peers.clone(),
            routes: config.routes.clone(),
            ferry: config.ferry.clone(),
            backup: config.backup.clone(),
            crossings,
            disk: Disk::real(),
            sandbox: Sandbox::locked(),
            scanner: config.scanner.clone().map(Scanner::new),
        })
    }
}

impl Station {
    /// A station whose rules and keys are in force.
    pub fn open(plan: Plan, now: Timestamp) -> Result<Station, StationError> {
        let station = Station::take(plan, now)?;
        station.come_into_force(now)?;
        Ok(station)
    }

    /// Writes down which rules and keys are in force from now on. Before the first parcel is judged by them, and after
    /// all else that may keep a node from serving: what is on record is not taken back.
    pub(crate) fn come_into_force(&self, now: Timestamp) -> Result<(), StationError> {
        self.rules.come_into_force(self, now)?;
        crate::key_life::record(self, now)
    }

    /// Takes the spool and finishes what an earlier process left half done.
    pub(crate) fn take(plan: Plan, now: Timestamp) -> Result<Station, StationError> {
        if !plan.zone.may_hold_coordinates() {
            // Without it a refused parcel could neither stay in the clear nor be sealed.
            plan.trust.current(&security(), Use::Seal)?;
        }
        let setup = setup(&plan.node, plan.zone, &plan.routes, &plan.crossings, &plan.keyring, plan.disk, now);
        let spool = Spool::open(setup)?;
        let station = Station {
            retries: Retries::default(),
            outlets: Outlets::default(),
            clock: Arc::new(Clock::start(now, spool.last_before())),
            spool,
            node: plan.node.name.clone(),
            zone: plan.zone,
            suite: plan.node.suite,
            keyring: plan.keyring,
            trust: Arc::new(plan.trust),
            rules: plan.rules,
            sandbox: plan.sandbox,
            scanner: plan.scanner,
            exceptions: Exceptions::default(),
            disposed: Disposed::default(),
            routes: plan.routes,
            owed_batches: Mutex::default(),
            unread_batches: Mutex::default(),
            owed_reports: Mutex::new(plan.peers.iter().map(|peer| peer.name.clone()).collect()),
            peers: plan.peers,
            ferry: plan.ferry,
            settings: plan.node,
            backups: Backups::new(plan.backup),
            alarms: plan.alarms,
            trips: Mutex::default(),
            unproven: Mutex::default(),
            witness: Witness::default(),
            watches: Mutex::default(),
            neighbours: Mutex::default(),
            switched_off: Mutex::default(),
            missing: Missing::default(),
        };
        if station.spool.was_damaged() {
            station.alarms.raise(now, Alarm::LedgerDamaged);
        }
        for path in station.spool.kept_unread() {
            tracing::error!(path = %path.display(), "a file of an outbox cannot be read everywhere, and what it may hold is missing; it is kept");
            station.alarms.raise(now, Alarm::BundleMissing);
        }
        station.load_switches();
        station.exceptions.load(&station);
        station.disposed.load(&station)?;
        crate::sealing::recover(&station)?;
        crate::release::recover(&station)?;
        crate::receipts::let_go(&station)?;
        crate::reseal::let_go(&station)?;
        crate::by_hand::turn_out(&station, now)?;
        Ok(station)
    }

    /// Signs for this node.
    pub fn sign<T: Statement>(&self, object: &T) -> Result<Signed, StationError> {
        Ok(Signed::make_by(&self.keyring.signing, object)?)
    }

    /// The route of a name.
    #[must_use]
    pub fn route(&self, name: &Name) -> Option<&RouteSettings> {
        self.routes.iter().find(|route| route.name == *name)
    }

    /// The neighbour of a name.
    #[must_use]
    pub fn peer(&self, name: &Name) -> Option<&PeerSettings> {
        self.peers.iter().find(|peer| peer.name == *name)
    }

    /// The next hop of a route after this node; none where this node is its target.
    #[must_use]
    pub fn next_hop(&self, route: &RouteSettings) -> Option<Hop> {
        let place = route.path.iter().position(|node| *node == self.node)?;
        let peer = self.peer(route.path.get(place + 1)?)?.clone();
        Some(Hop { crossing: Crossing::between(self.zone, peer.zone)?, peer })
    }

    /// Does a statement fit the route of its name, as this node knows it, when it comes from `source`?
    #[must_use]
    pub fn fits(&self, statement: &ParcelStatement, source: &Name) -> Option<&RouteSettings> {
        let route = self.route(&statement.route)?;
        let place = route.path.iter().position(|node| *node == self.node)?;
        let before = route.path.get(place.checked_sub(1)?)?;
        let fits = route.path.first() == Some(&statement.origin)
            && route.path.last() == Some(&statement.target)
            && before == source
            && route.types.contains(&statement.parcel_type);
        fits.then_some(route)
    }

    /// The peer that sends over a crossing to this node. The file names of arrivals carry the crossing only; the
    /// envelope names the peer, and it must be one of these.
    pub fn peers_sending(&self, crossing: Crossing) -> impl Iterator<Item = &PeerSettings> {
        self.peers.iter().filter(move |peer| Crossing::between(peer.zone, self.zone) == Some(crossing))
    }

    /// The peers this node sends to over a crossing.
    pub fn peers_receiving(&self, crossing: Crossing) -> impl Iterator<Item = &PeerSettings> {
        self.peers.iter().filter(move |peer| Crossing::between(self.zone, peer.zone) == Some(crossing))
    }

    /// The register's direction of a medium.
    #[must_use]
    pub fn medium_direction(&self, id: &Name) -> Option<Direction> {
        self.ferry.media.iter().find(|medium| medium.id == *id).map(|medium| medium.direction)
    }

    /// Has housekeeping look at something: the alarm stands while `is_so` says yes. One that tells of events is raised
    /// when it says yes, and rests by itself.
    pub fn watch(&self, alarm: Alarm, is_so: impl FnMut() -> bool + Send + 'static) {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner).push((alarm, Box::new(is_so)));
    }

    /// The same for a number of troubles that only grows: the alarm is raised when there are more of them than at the
    /// last look.
    pub fn watch_count(&self, alarm: Alarm, count: impl Fn() -> u64 + Send + 'static) {
        let mut seen = 0;
        self.watch(alarm, move || {
            let now = count();
            std::mem::replace(&mut seen, now) < now
        });
    }

    /// The same for a link that knows its troubles by the codes of alarms: an event by a number that only grows, anything
    /// else by a number that is above nothing while it is so. A code that is no alarm's is the caller's mistake, and told.
    pub fn watch_code(&self, code: &'static str, count: impl Fn() -> u64 + Send + 'static) {
        match Alarm::of_code(code) {
            Some(alarm) if alarm.is_event() => self.watch_count(alarm, count),
            Some(alarm) => self.watch(alarm, move || count() > 0),
            None => tracing::error!(code, "no alarm has this code"),
        }
    }

    /// Has housekeeping listen to a neighbour's clock: how far it is ahead of our wall, where it was heard just now.
    pub fn listen(&self, ahead_ms: impl Fn() -> Option<i64> + Send + 'static) {
        self.neighbours.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(ahead_ms));
    }

    /// Asks the neighbours' clocks. Not at once: how far they are ahead was measured a moment ago, and before the wall was
    /// set it was nothing.
    pub fn ask_neighbours(&self, now: Timestamp) {
        if self.clock.doubt().is_none_or(|doubt| now.since(doubt.since) < LISTEN_AFTER_MS) {
            return;
        }
        let wall = self.clock.wall();
        for ahead_ms in self.neighbours.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if let Some(theirs) = ahead_ms().and_then(|ahead| wall.0.checked_add_signed(ahead)) {
                self.clock.hear(Timestamp(theirs));
            }
        }
    }

    /// Raises and clears what is watched.
    pub fn look(&self, now: Timestamp) {
        // Two links may watch for one alarm: it stands while either says so.
        let mut standing: BTreeMap<Alarm, bool> = BTreeMap::new();
        for (alarm, is_so) in self.watches.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            *standing.entry(*alarm).or_default() |= is_so();
        }
        for (alarm, stands) in standing {
            if stands {
                self.alarms.raise(now, alarm);
            } else if !alarm.is_event() {
                self.alarms.clear(now, alarm);
            }
        }
    }

    /// The paths of the spool.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        self.spool.layout()
    }

    /// Is a route switched off?
    #[must_use]
    pub fn is_off(&self, route: &Name) -> bool {
        self.off(route).is_some()
    }

    /// Since when a route is switched off, and why.
    #[must_use]
    pub fn off(&self, route: &Name) -> Option<Off> {
        self.switched_off.lock().unwrap_or_else(PoisonError::into_inner).get(route).cloned()
    }

    /// Switches a route off, or on where nothing is given; the choice outlives a restart.
    pub fn switch(&self, route: &Name, off: Option<Off>) -> Result<(), StationError> {
        let text = {
            let mut switched = self.switched_off.lock().unwrap_or_else(PoisonError::into_inner);
            match off {
                Some(off) => drop(switched.insert(route.clone(), off)),
                None => drop(switched.remove(route)),
            }
            // One line a route, its fields by tabs; what people wrote keeps to its line.
            let one_line = |text: &str| text.replace(|c: char| c.is_control(), " ");
            let line = |(name, off): (&Name, &Off)| {
                format!("{name}\t{}\t{}\t{}\n", off.since.0, one_line(&off.person), one_line(&off.reason))
            };
            switched.iter().map(line).collect::<String>()
        };
        let path = self.switch_file();
        self.spool.disk().write(&path, text.as_bytes()).map_err(|cause| StationError::Io { path, cause })
    }

    fn switch_file(&self) -> PathBuf {
        self.layout().status().join("routes-off")
    }

    fn load_switches(&self) {
        let bytes = crate::desk::read_small(&self.switch_file(), SWITCHES_BYTES_MAX).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let read = |line: &str| {
            let mut fields = line.splitn(4, '\t');
            let name = Name::new(fields.next()?).ok()?;
            let since = Timestamp(fields.next().and_then(|ms| ms.parse().ok()).unwrap_or_default());
            let mut word = || fields.next().unwrap_or_default().to_owned();
            Some((name, Off { since, person: word(), reason: word() }))
        };
        let switched = text.lines().filter_map(read);
        self.switched_off.lock().unwrap_or_else(PoisonError::into_inner).extend(switched);
    }
}
