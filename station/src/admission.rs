//! From an arrived bundle to custody, and on: verify, open into a private place, guard, then deliver or relay. All but
//! large bundles go in groups: a sync costs as much for one as for sixty.
//!
//! Why it may die anywhere: a bundle waits in `complete`, or in `checked` where something holds it up, until the ledger
//! says `delivered` or `relayed` and receipts and evidence are durable; only then is it removed. Plaintext lies in places
//! that are wiped at start and is made again from the bundle. A delivery is one rename between two records: after
//! `delivering`, a source that is still staged is renamed, one that is gone was delivered. Evidence is written after the
//! receipts: where it is missing, both are made again.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use guard::{Finding, Judgement, Moment, Question};
use protocol::bundle::BundleError;
use protocol::envelope::Envelope;
use protocol::evidence::Evidence;
use protocol::ledger::{Event, Local, Record};
use protocol::parcel::{ParcelStatement, Priority};
use protocol::receipt::Outcome;
use protocol::{BundleId, Crossing, Name, ParcelId, Reason, Timestamp};
use spool::{Entry, EntryKind, Outlet, ParcelState, Standing, State};

use crate::alarm::Alarm;
use crate::drop::{self, Drop};
use crate::opening::{Admitted, Manner, Obstacle, open, peek};
use crate::outlets;
use crate::parallel::in_parallel;
use crate::receipts::{self, Came, Said};
use crate::retries::item_of;
use crate::sealing::{self, Papers, Proof, Ready, Why};
use crate::station::{Station, StationError};

/// Entries dealt with before what has come meanwhile is looked at: an urgent one waits behind so many small ones.
const SLICE_ENTRIES: usize = 64;
/// Bytes of a slice, unless its first entry alone has more: an urgent one waits behind one large one.
const SLICE_BYTES: u64 = 64 << 20;
/// Bundles of at most this size are admitted in groups, which share their syncs: the papers of an office are scans of some
/// hundred kilobytes, and each by itself costs some twenty syncs.
const GROUPED_BYTES_MAX: u64 = 1 << 20;
/// Bytes of one group: it is on the disk twice before any of it is let go, and what goes on small is in memory once.
const GROUP_BYTES_MAX: u64 = 8 << 20;
/// Of a long queue a slice is this part, so that listing it anew costs little beside the work.
const SLICES_A_LISTING: usize = 32;

/// Held bundles under one id: a neighbour chooses it, and the first that came under it stays as it is.
const HELD_NAMES_MAX: usize = 64;

/// The admission of a node. What it remembers can be read again from the disk.
#[derive(Default)]
pub struct Admission {
    /// Threads that open and look at what came, beside the one that asks.
    helpers: usize,
    /// The outlets in which an earlier process, or an error, may have left something staged; nothing before the first step
    /// and after an error.
    unclear: Option<BTreeSet<Name>>,
    /// What stands in `checked` and is still owed its way on, with the route whose outlet it waits for. Nothing before
    /// the folder was read, and after an error that may have left more in it.
    owed: Option<BTreeMap<PathBuf, Option<Name>>>,
    /// Of what waits: how soon it matters.
    priorities: HashMap<PathBuf, Priority>,
}

/// Something to be dealt with.
#[derive(Clone)]
struct Task {
    rank: u8,
    bytes: u64,
    path: PathBuf,
    /// Where it just came from; nothing for what stands in `checked`.
    fresh: Option<(Crossing, Entry)>,
}

/// How far an entry went.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Went {
    /// As far as this node takes it.
    On,
    /// It stands in `checked`, in our custody, until the app of this route has picked up.
    Waits(Name),
    /// It stands in `checked`, in our custody, until an operator has said whether it was delivered before.
    Asks,
}

/// A bundle that was opened and looked at, and where it goes from here.
struct Bound {
    admitted: Admitted,
    way: Way,
    /// Sealed anew, where it goes on.
    ready: Option<Ready>,
    /// Where the bundle stands: in `complete`, or in `checked` where its arrival is on record.
    path: PathBuf,
    /// What to check in, where it comes from `complete`.
    fresh: Option<(Crossing, Entry)>,
}

enum Way {
    /// Into the outlet of its route, where its plaintext is made ready already.
    Outlet,
    /// Over the next crossing.
    On,
    /// Custody is ours; the outlet is full.
    Full,
    /// Custody is ours; whether it was delivered before only an operator can say.
    Ask,
    /// Made ready and on record as being delivered; its outlet does not take it now.
    Stuck(StationError),
}

/// What a look at one arrival came to.
enum Looked {
    Bound(Box<Bound>),
    /// It is dealt with.
    Went(Went),
}

impl Admission {
    /// An admission that works with so many threads.
    #[must_use]
    pub fn with_workers(workers: usize) -> Admission {
        Admission { helpers: workers.saturating_sub(1), ..Admission::default() }
    }

    /// Takes what waits, the most urgent first, and looks again after a slice. Returns how many came to an end. What
    /// fails by itself is tried again after a pause, and holds up neither those behind it nor the receipts.
    pub fn step(&mut self, station: &Station, now: Timestamp) -> Result<usize, StationError> {
        self.clear(station, now)?;
        let tasks = self.tasks(station, now)?;
        let slice = SLICE_ENTRIES.max(tasks.len() / SLICES_A_LISTING);
        let (mut done, mut bytes) = (0, 0_u64);
        let mut tasks = tasks.into_iter().take(slice).peekable();
        let (began, within) = (Instant::now(), Duration::from_millis(station.settings.urgent_within_ms.into()));
        while let Some(task) = tasks.next() {
            if bytes > 0 && (bytes.saturating_add(task.bytes) > SLICE_BYTES || began.elapsed() >= within) {
                break;
            }
            let mut group = Group::of(task);
            while let Some(next) = tasks.next_if(|next| group.takes(next)) {
                group.tasks.push(next);
            }
            bytes = bytes.saturating_add(group.bytes().max(1));
            done += self.deal_with(station, &group.tasks, now)?;
        }
        Ok(done)
    }

    /// Outlets are folders of their apps, and may be mounts: one that cannot be reached holds up its own route only.
    fn clear(&mut self, station: &Station, now: Timestamp) -> Result<(), StationError> {
        let all = || outlets::ending(station).map(|route| route.name.clone()).collect();
        let unclear = self.unclear.get_or_insert_with(all);
        for route in unclear.clone() {
            let item = format!("outlet {route}");
            if !station.retries.is_due(&item, now) {
                continue;
            }
            match clear_staging(station, &route) {
                Ok(()) => {
                    station.retries.done(&item);
                    unclear.remove(&route);
                }
                Err(error) if error.concerns_all(&station.spool) => return Err(error),
                Err(error) => {
                    tracing::error!(%route, %error, "an outlet cannot be reached");
                    station.retries.failed("outlet", &item, &error, now);
                }
            }
        }
        Ok(())
    }

    /// Brings a group as far as it goes. Where what they share fails each is tried by itself: what was done is found
    /// done, and one whose disk has a hole holds up no other.
    fn deal_with(&mut self, station: &Station, group: &[Task], now: Timestamp) -> Result<usize, StationError> {
        let Some((first, others)) = group.split_first() else { return Ok(0) };
        let went = went(station, self.helpers + 1, group, now);
        if went.as_ref().map_or(true, |all| all.iter().any(Result::is_err)) {
            // It may have left something staged that nobody asks for again: the mark of a delivery that is on record, or what
            // could not be wiped. The next step looks, as the first one did.
            self.unclear = None;
        }
        match went {
            Ok(all) => {
                let noted = group.iter().zip(all).map(|(task, went)| self.note(station, task, went, now));
                noted.sum()
            }
            Err(error) if others.is_empty() || error.concerns_all(&station.spool) => {
                self.note(station, first, Err(error), now)
            }
            Err(error) => {
                tracing::warn!(%error, bundles = group.len(), "a group failed; each is tried by itself");
                group.chunks(1).map(|task| self.deal_with(station, task, now)).sum()
            }
        }
    }

    /// Notes how far one went. An error that concerns all ends the step.
    fn note(
        &mut self,
        station: &Station,
        task: &Task,
        went: Result<Went, StationError>,
        now: Timestamp,
    ) -> Result<usize, StationError> {
        let item = item_of(&task.path);
        let checked = station.layout().checked().join(&item);
        let owed = self.owed.get_or_insert_default();
        match went {
            Ok(Went::On) => {
                station.retries.done(&item);
                owed.remove(&checked);
                Ok(1)
            }
            // Nothing here changes until the desk is told, and that brings it back to `complete`.
            Ok(Went::Asks) => {
                station.retries.done(&item);
                owed.remove(&checked);
                Ok(0)
            }
            Ok(Went::Waits(route)) => {
                station.retries.done(&item);
                owed.insert(checked, Some(route));
                Ok(0)
            }
            Err(error) if error.concerns_all(&station.spool) => {
                self.owed = None;
                Err(error)
            }
            Err(error) => {
                tracing::error!(entry = item, %error, "an arrival cannot be dealt with yet");
                station.retries.failed(STAGE, &item, &error, now);
                // The error may have come on either side of the rename.
                if checked.exists() {
                    owed.insert(checked, None);
                }
                Ok(0)
            }
        }
    }

    /// What may be tried now, in the order in which it matters.
    fn tasks(&mut self, station: &Station, now: Timestamp) -> Result<Vec<Task>, StationError> {
        if self.owed.is_none() {
            let checked = spool_children(&station.layout().checked())?;
            self.owed = Some(checked.into_iter().map(|path| (path, None)).collect());
        }
        let mut tasks = Vec::new();
        let mut full: BTreeMap<Name, bool> = BTreeMap::new();
        for (path, waits_for) in self.owed.iter().flatten() {
            let held = match waits_for.as_ref().and_then(|route| station.route(route)) {
                Some(route) if !full.contains_key(&route.name) => {
                    // One that cannot be looked at is tried, and fails by itself.
                    let is_full = outlets::is_full(station, route, now).unwrap_or_default();
                    full.insert(route.name.clone(), is_full);
                    is_full
                }
                Some(route) => full.get(&route.name).copied().unwrap_or_default(),
                None => false,
            };
            if !held {
                tasks.push(Task { rank: 0, bytes: 0, path: path.clone(), fresh: None });
            }
        }
        let crossings: BTreeSet<Crossing> =
            station.peers.iter().filter_map(|peer| Crossing::between(peer.zone, station.zone)).collect();
        for crossing in crossings {
            for entry in station.spool.arrivals(crossing).completed()? {
                let (bytes, path) = (entry.size, entry.path.to_path_buf());
                tasks.push(Task { rank: 0, bytes, path, fresh: Some((crossing, entry)) });
            }
        }
        if station.retries.failures() > 0 {
            let held = self.owed.iter().flatten().map(|(path, _)| path);
            let there: HashSet<String> =
                held.chain(tasks.iter().map(|task| &task.path)).map(|path| item_of(path)).collect();
            station.retries.forget(STAGE, |item| there.contains(item));
        }
        tasks.retain(|task| station.retries.is_due(&item_of(&task.path), now));
        let mut known = HashMap::with_capacity(tasks.len());
        for task in &mut tasks {
            let receipts = task.fresh.as_ref().is_some_and(|(_, entry)| entry.kind == EntryKind::Receipts);
            if !receipts {
                // On the word of an envelope that is not proven yet: it decides on the order and on nothing else.
                let priority = self
                    .priorities
                    .remove(&task.path)
                    .unwrap_or_else(|| peek(&task.path).map_or(Priority::Normal, |envelope| envelope.priority));
                task.rank = priority.code();
                known.insert(task.path.clone(), priority);
            }
        }
        self.priorities = known;
        // Within a priority what is ours already goes first, then by id and so by age.
        tasks.sort_by(|a, b| (a.rank, a.fresh.is_some(), &a.path).cmp(&(b.rank, b.fresh.is_some(), &b.path)));
        Ok(tasks)
    }
}

/// Tasks that share their syncs: one of any kind, or several bundles of no great size of which none is about another's parcel or
/// has its number.
struct Group {
    tasks: Vec<Task>,
    parcels: HashSet<ParcelId>,
    numbers: HashSet<(Name, Crossing, u64, u64)>,
}

impl Group {
    fn of(first: Task) -> Group {
        let mut group = Group { tasks: Vec::new(), parcels: HashSet::new(), numbers: HashSet::new() };
        group.enter(&first);
        group.tasks.push(first);
        group
    }

    fn bytes(&self) -> u64 {
        self.tasks.iter().map(|task| task.bytes).sum()
    }

    fn takes(&mut self, next: &Task) -> bool {
        self.tasks.len() < SLICE_ENTRIES
            && !self.parcels.is_empty()
            && self.bytes().saturating_add(next.bytes) <= GROUP_BYTES_MAX
            && self.enter(next)
    }

    /// By what the envelope says, which nobody has proven: it decides on who stands beside whom and on nothing else.
    fn enter(&mut self, task: &Task) -> bool {
        let fresh = task.fresh.as_ref().is_some_and(|(_, entry)| entry.kind == EntryKind::Bundle);
        if !fresh || task.bytes > GROUPED_BYTES_MAX {
            return false;
        }
        let Some(envelope) = peek(&task.path).ok() else { return false };
        let statement = envelope.signed_statement().ok().and_then(|it| it.read_unverified::<ParcelStatement>().ok());
        statement.is_some_and(|statement| {
            self.parcels.insert(statement.parcel)
                && self.numbers.insert((envelope.source, envelope.crossing, envelope.epoch, envelope.sequence))
        })
    }
}

/// The name under which failures of this stage are noted.
const STAGE: &str = "admission";

fn spool_children(folder: &Path) -> Result<Vec<PathBuf>, StationError> {
    let io = |cause| StationError::Io { path: folder.to_owned(), cause };
    std::fs::read_dir(folder).map_err(io)?.map(|entry| entry.map(|entry| entry.path()).map_err(io)).collect()
}

/// Plaintext that a death left in an outlet's staging and that is not being delivered: nobody has looked at it yet, and
/// its bundle, where it is still to come in, is opened anew.
fn clear_staging(station: &Station, route: &Name) -> Result<(), StationError> {
    let outlet = Outlet::open(&station.spool, route)?;
    for parcel in outlet.staged()? {
        if station.spool.parcel(&parcel)?.is_none_or(|known| known.state != State::Delivering) {
            outlet.discard(&parcel)?;
        }
    }
    Ok(())
}

/// Brings several tasks as far as they go: each is opened and looked at by itself, then all are recorded together. An
/// error inside is about one of them, one outside about what they share.
fn went(
    station: &Station,
    workers: usize,
    group: &[Task],
    now: Timestamp,
) -> Result<Vec<Result<Went, StationError>>, StationError> {
    let looked = in_parallel(workers, group, |task| match &task.fresh {
        None => look_again(station, &task.path, now),
        Some((crossing, entry)) if entry.kind == EntryKind::Receipts => {
            receipts::take(station, workers, *crossing, entry, now).map(|()| Looked::Went(Went::On))
        }
        Some((crossing, entry)) => look(station, *crossing, entry, now),
    });
    let (mut bound, mut went) = (Vec::new(), Vec::with_capacity(looked.len()));
    for looked in looked {
        went.push(match looked {
            Ok(Looked::Went(went)) => Some(Ok(went)),
            Ok(Looked::Bound(one)) => {
                bound.push(*one);
                None
            }
            Err(error) => Some(Err(error)),
        });
    }
    let mut brought = bring(station, bound, now)?.into_iter();
    Ok(went.into_iter().filter_map(|known| known.or_else(|| brought.next())).collect())
}

/// Takes up what stands in `checked`: custody is ours, the way on is still owed.
fn look_again(station: &Station, path: &Path, now: Timestamp) -> Result<Looked, StationError> {
    let on = |()| Looked::Went(Went::On);
    let envelope = match peek(path) {
        Ok(envelope) => envelope,
        // A disk that cannot read it now says nothing about what it is.
        Err(BundleError::Io(cause)) => return Err(StationError::Io { path: path.to_owned(), cause }),
        Err(error) => {
            tracing::error!(bundle = item_of(path), %error, "a bundle in our custody is damaged; it is held");
            station.alarms.raise(now, Alarm::NotAuthentic);
            return hold_arrival(station, path, Reason::Malformed, None, now).map(on);
        }
    };
    let parcel = station.spool.parcel_of_bundle(&envelope.bundle)?;
    let Some(known) = parcel.map(|parcel| station.spool.parcel(&parcel)).transpose()?.flatten() else {
        if station.spool.records_may_return() {
            station.alarms.raise(now, Alarm::LedgerDamaged);
            return Err(StationError::RecordUnread { id: envelope.bundle });
        }
        return hold_arrival(station, path, Reason::Malformed, None, now).map(on);
    };
    match known.state {
        State::Arrived => {}
        // An operator's word is awaited.
        State::MayBeDuplicate => return Ok(Looked::Went(Went::Asks)),
        // About to be delivered when the backup was made: whether it was, only the lost disk knew.
        State::Delivering if station.spool.restored().is_some_and(|restored| known.last < restored.at) => {
            return wait_for_a_word(station, &known, now).map(Looked::Went);
        }
        State::Delivering => {
            // The records on both sides of the rename tell where we died.
            let Some(came) = known.came.as_ref().map(|came| Came::of_state(&known, came)) else {
                return hold_arrival(station, path, Reason::Malformed, None, now).map(on);
            };
            let outlet = Outlet::open(&station.spool, &known.route)?;
            let name = known.name.clone().unwrap_or_else(|| known.parcel.to_string());
            match outlet.standing(&known.parcel)? {
                Standing::Staged => {
                    for delivered in outlet.deliver(&[(known.parcel, name.as_ref())])? {
                        delivered?;
                    }
                }
                Standing::Renamed => outlet.sync_renamed()?,
                // Another folder stands where it was made ready: only a person can look whether it was delivered.
                Standing::Unknown => return wait_for_a_word(station, &known, now).map(Looked::Went),
            }
            station.outlets.delivered(&known.route, known.bytes);
            station.spool.record(came.record(Event::Delivered, now), Local::none())?;
            outlet.forget(&known.parcel)?;
            tell(station, &came, path, Some((Outcome::Delivered, None)), now)?;
            return remove(station, path).map(on);
        }
        // Relayed, delivered or refused: only the outbox or the receipts may be owed, and the removal.
        _ => {
            sealing::finish_sent(station, &known)?;
            wipe(station, &station.layout().opening().join(known.parcel.to_string()))?;
            if let Some(came) = known.came.as_ref().map(|came| Came::of_state(&known, came)) {
                let ended = match known.state {
                    // What the nodes behind us did with it is theirs to say.
                    _ if known.sent.is_some() => None,
                    State::Delivered => Some((Outcome::Delivered, None)),
                    State::Duplicate => Some((Outcome::Duplicate, Some(Reason::Duplicate))),
                    State::Refused => Some((Outcome::Refused, known.reason)),
                    _ => None,
                };
                tell(station, &came, path, ended, now)?;
            }
            if known.state == State::Refused && known.sent.is_none() {
                // An incident's bundle is never sealed away, whatever else stands here of its parcel.
                let sealed =
                    known.reason != Some(Reason::Incident) && sealing::aside_place(station, &known.parcel).exists();
                return put_away(station, sealed, path).map(on);
            }
            return remove(station, path).map(on);
        }
    }
    // Before it is opened: its plaintext would only be thrown away again.
    let here = station.route(&known.route).filter(|route| station.next_hop(route).is_none());
    if let Some(route) = here
        && outlets::is_full(station, route, now)?
    {
        return Ok(Looked::Went(Went::Waits(route.name.clone())));
    }
    match open(station, envelope.crossing, path, Manner::Carried, now) {
        Ok(admitted) => bind(station, admitted, path, None, now),
        Err(Obstacle::Later(error)) => Err(error),
        // Custody is ours and the node before has let go: whatever is wrong now, the parcel ends and its origin is told.
        Err(Obstacle::Bundle(reason, words)) => match known.came.as_ref().map(|came| Came::of_state(&known, came)) {
            Some(came) => {
                tracing::error!(parcel = %came.parcel, reason = reason.name(), "{words}");
                refuse(station, &came, reason, false, path, now).map(on)
            }
            None => hold_arrival(station, path, reason, None, now).map(on),
        },
        Err(Obstacle::Parcel(about)) if about.1 == Reason::Duplicate => {
            // It was delivered, and the record of that is lost: its evidence tells.
            let closed = about.0.record(Event::DuplicateClosed, now);
            let records = [may_be_duplicate(known.parcel, &known.origin, now), closed];
            station.spool.record_all(records.map(|record| (record, Local::none())).into())?;
            receipts::make(station, &about.0, Outcome::Duplicate, Some(Reason::Duplicate), now)?;
            remove(station, path).map(on)
        }
        Err(Obstacle::Parcel(about)) => refuse(station, &about.0, about.1, about.2, path, now).map(on),
    }
}

/// Opens and judges what came. Nothing about it is recorded yet, unless it goes no further.
fn look(station: &Station, crossing: Crossing, entry: &Entry, now: Timestamp) -> Result<Looked, StationError> {
    let (path, on) = (&entry.path, |()| Looked::Went(Went::On));
    // Known before: either we died between the records and the end of it, or it came a second time.
    if let Some(parcel) = station.spool.parcel_of_bundle(&entry.id)?
        && let Some(known) = station.spool.parcel(&parcel)?
        && let Some(came) = known.came.as_ref().filter(|came| came.bundle == entry.id)
    {
        let under_way = matches!(known.state, State::Arrived | State::Delivering | State::MayBeDuplicate);
        // Whoever finds the evidence knows that the receipts were made.
        if under_way || !sealing::evidence_path(station, &parcel, &entry.id).exists() {
            let checked = station.spool.arrivals(crossing).check_in(entry)?.path;
            return look_again(station, &checked, now);
        }
        let came = Came::of_state(&known, came);
        receipts::make(station, &came, Outcome::Duplicate, Some(Reason::Duplicate), now)?;
        let evidence = Evidence { envelope: Vec::new(), footer: Vec::new(), receipts: Vec::new() };
        sealing::keep_evidence(station, vec![Proof { parcel, bundle: entry.id, evidence }])?;
        return remove(station, path).map(on);
    }
    match open(station, crossing, path, Manner::Carried, now) {
        Ok(admitted) => bind(station, admitted, path, Some((crossing, entry.clone())), now),
        Err(Obstacle::Later(error)) => Err(error),
        Err(Obstacle::Bundle(reason, words)) => {
            tracing::warn!(bundle = %entry.id, %crossing, reason = reason.name(), "{words}");
            station.alarms.raise(now, Alarm::NotAuthentic);
            hold_arrival(station, path, reason, Some(crossing), now).map(on)
        }
        Err(Obstacle::Parcel(about)) if about.1 == Reason::Duplicate => {
            let mut record = about.0.record(Event::Duplicate, now);
            record.reason = Some(Reason::Duplicate);
            station.spool.record(record, Local::none())?;
            receipts::make(station, &about.0, Outcome::Duplicate, Some(Reason::Duplicate), now)?;
            remove(station, path).map(on)
        }
        Err(Obstacle::Parcel(about)) => refuse(station, &about.0, about.1, about.2, path, now).map(on),
    }
}

/// Where an opened bundle goes from here. On an error its plaintext does not wait for the next look: it is made again
/// from the bundle.
fn bind(
    station: &Station,
    admitted: Admitted,
    path: &Path,
    fresh: Option<(Crossing, Entry)>,
    now: Timestamp,
) -> Result<Looked, StationError> {
    let place = admitted.place.clone();
    bind_on(station, admitted, path, fresh, now).inspect_err(|_| {
        if let Err(error) = wipe(station, &place) {
            tracing::error!(%error, "what was opened could not be wiped; the next start does");
        }
    })
}

/// Into its outlet, or sealed for the next crossing.
fn bind_on(
    station: &Station,
    admitted: Admitted,
    path: &Path,
    fresh: Option<(Crossing, Entry)>,
    now: Timestamp,
) -> Result<Looked, StationError> {
    let path_of = path.to_owned();
    let bound = |admitted, way, ready| Looked::Bound(Box::new(Bound { admitted, way, ready, path: path_of, fresh }));
    let Some(hop) = station.next_hop(&admitted.route) else {
        let known = station.spool.parcel(&admitted.came.parcel)?;
        let may_be_known =
            sealed_before_a_restore(station, &admitted.envelope) && known.is_none_or(|known| !known.admitted);
        return Ok(bound(admitted, if may_be_known { Way::Ask } else { Way::Outlet }, None));
    };
    let refused = |reason, drop: Option<&Drop>, findings: &[Finding]| {
        let why = Why { reason: Some(reason), findings };
        let sealed = match drop {
            Some(drop) => sealing::set_aside(station, admitted.came.parcel, drop, hop.crossing, &why, now)?,
            None => false,
        };
        wipe(station, &admitted.place)?;
        refuse(station, &admitted.came, reason, sealed, path, now).map(|()| Looked::Went(Went::On))
    };
    let Some(rules) = station.rules.get(&hop.crossing) else { return refused(Reason::NoRoute, None, &[]) };
    // The next border has its own rules: what was let in is looked at again before it goes on.
    let types = [admitted.came.parcel_type.clone()];
    let question =
        Question { rules, suite: admitted.envelope.suite, moment: Moment::Intake, types: &types, stripped: false };
    let released = match drop::inspect(
        &station.sandbox,
        station.scanner.as_ref(),
        &question,
        &station.exceptions.standing(hop.crossing, now),
        admitted.released.into_parcel(),
    )? {
        Judgement::Released(released) => released,
        Judgement::Refused { parcel, reason, findings } | Judgement::Quarantine { parcel, reason, findings } => {
            return refused(reason, Some(&parcel), &findings);
        }
        Judgement::Strip { parcel, .. } => return refused(Reason::Coordinates, Some(&parcel), &[]),
    };
    let papers = Papers {
        statement: &admitted.statement,
        custody: &admitted.custody,
        manifest: &admitted.manifest,
        priority: admitted.envelope.priority,
    };
    let staged = match sealing::seal(station, &released, &papers, &hop, now) {
        Ok(staged) => staged,
        Err(StationError::Seal(_)) => return refused(Reason::Changed, None, &[]),
        Err(error) => return Err(error),
    };
    let ready = sealing::ready(Event::Relayed, staged, &admitted.statement, &admitted.manifest, now)?
        .excepting(released.excepted().len());
    Ok(bound(Admitted { released, ..admitted }, Way::On, Some(ready)))
}

/// Takes custody of what was looked at and lets it go on, all of it together: plaintext durable in the staging of its
/// outlet, or sealed in the outbox's; the records of arrival and of the way on; the renames; the records of delivery;
/// receipts, then evidence; and only then the bundles go.
fn bring(
    station: &Station,
    mut bound: Vec<Bound>,
    now: Timestamp,
) -> Result<Vec<Result<Went, StationError>>, StationError> {
    let ready: Vec<Ready> = bound.iter_mut().filter_map(|one| one.ready.take()).collect();
    let outlets = keep_out_of_full_outlets(station, &mut bound, now).and_then(|()| settle(station, &bound));
    let outlets = match outlets {
        Ok(outlets) => outlets,
        Err(error) => {
            sealing::give_up(station, ready, now)?;
            return Err(error);
        }
    };
    let records = bound.iter().flat_map(|one| one.records(now)).collect();
    sealing::commit(station, records, ready, now)?;
    for (route, outlet) in &outlets {
        let here: Vec<&mut Bound> = bound.iter_mut().filter(|one| one.lands_in(route)).collect();
        let named: Vec<_> =
            here.iter().map(|one| (one.admitted.came.parcel, one.admitted.manifest.name.as_ref())).collect();
        let delivered = outlet.deliver(&named)?;
        for (one, delivered) in here.into_iter().zip(delivered) {
            match delivered {
                Ok(_) => station.outlets.delivered(route, one.admitted.manifest.content_bytes()),
                Err(error) => one.way = Way::Stuck(error.into()),
            }
        }
    }
    let delivered = bound.iter().filter(|one| matches!(one.way, Way::Outlet));
    let delivered = delivered.map(|one| (one.admitted.came.record(Event::Delivered, now), Local::none()));
    station.spool.record_all(delivered.collect())?;
    for (route, outlet) in &outlets {
        bound.iter().filter(|one| one.lands_in(route)).try_for_each(|one| outlet.forget(&one.admitted.came.parcel))?;
    }
    tell_all(station, &bound, now)?;
    Ok(bound.into_iter().map(|one| one.finish(station, now)).collect())
}

impl Bound {
    fn lands_in(&self, route: &Name) -> bool {
        matches!(self.way, Way::Outlet) && self.admitted.route.name == *route
    }

    /// Its arrival, where that is not on record, and what follows at once.
    fn records(&self, now: Timestamp) -> Vec<(Record, Local)> {
        let Admitted { came, manifest, .. } = &self.admitted;
        let mut records = Vec::with_capacity(2);
        if self.fresh.is_some() {
            let mut record = came.record(Event::Arrived, now);
            record.bytes = Some(manifest.content_bytes());
            records.push((record, Local { name: Some(manifest.name.clone()), labels: manifest.labels.clone() }));
        }
        match self.way {
            Way::Outlet => {
                let mut record = came.record(Event::Delivering, now);
                record.bytes = Some(manifest.content_bytes());
                records.push((record, Local::none()));
            }
            Way::Ask => records.push((may_be_duplicate(came.parcel, &came.origin, now), Local::none())),
            Way::On | Way::Full | Way::Stuck(_) => {}
        }
        records
    }

    /// All of it is on record and told: what is no longer needed goes.
    fn finish(self, station: &Station, now: Timestamp) -> Result<Went, StationError> {
        let Bound { admitted, way, path, fresh, .. } = self;
        if !matches!(way, Way::Outlet | Way::Stuck(_)) {
            wipe(station, &admitted.place)?;
        }
        match (&way, fresh) {
            (Way::Outlet | Way::On, _) => remove(station, &path)?,
            (Way::Full | Way::Ask | Way::Stuck(_), Some((crossing, entry))) => {
                station.spool.arrivals(crossing).check_in(&entry)?;
            }
            (Way::Full | Way::Ask | Way::Stuck(_), None) => {}
        }
        match way {
            Way::Outlet | Way::On => Ok(Went::On),
            Way::Full => Ok(Went::Waits(admitted.route.name)),
            Way::Ask => {
                station.alarms.raise(now, Alarm::MayBeDuplicate);
                Ok(Went::Asks)
            }
            Way::Stuck(error) => Err(error),
        }
    }
}

/// What would be one too many for its outlet waits with us: it arrived and is ours; its plaintext waits nowhere.
fn keep_out_of_full_outlets(station: &Station, bound: &mut [Bound], now: Timestamp) -> Result<(), StationError> {
    let mut coming: BTreeMap<Name, (u64, u64)> = BTreeMap::new();
    for one in bound.iter_mut().filter(|one| matches!(one.way, Way::Outlet)) {
        let route = &one.admitted.route;
        let (entries, bytes) = coming.entry(route.name.clone()).or_default();
        if outlets::is_full_with(station, route, *entries, *bytes, now)? {
            one.way = Way::Full;
        } else {
            *entries += 1;
            *bytes = bytes.saturating_add(one.admitted.manifest.content_bytes());
        }
    }
    Ok(())
}

/// Makes everything that is about to be delivered durable in the staging of its outlet.
fn settle(station: &Station, bound: &[Bound]) -> Result<Vec<(Name, Outlet)>, StationError> {
    let landing = bound.iter().filter(|one| matches!(one.way, Way::Outlet));
    let routes: BTreeSet<&Name> = landing.map(|one| &one.admitted.route.name).collect();
    let settle = |route: &Name| {
        let outlet = Outlet::open(&station.spool, route)?;
        let here = bound.iter().filter(|one| one.lands_in(route));
        outlet.settle(&here.map(|one| one.admitted.came.parcel).collect::<Vec<_>>())?;
        Ok((route.clone(), outlet))
    };
    routes.into_iter().map(settle).collect()
}

/// Receipts of what is on record now, then evidence with them. Whoever finds the evidence knows that both are there.
fn tell_all(station: &Station, bound: &[Bound], now: Timestamp) -> Result<(), StationError> {
    let mut said = Vec::with_capacity(2 * bound.len());
    for one in bound {
        let Came { parcel, bundle, .. } = &one.admitted.came;
        if !sealing::evidence_path(station, parcel, bundle).exists() {
            said.push((one, Outcome::Arrived));
        }
        if matches!(one.way, Way::Outlet) {
            said.push((one, Outcome::Delivered));
        }
    }
    let receipts: Vec<Said<'_>> =
        said.iter().map(|(one, outcome)| Said { came: &one.admitted.came, outcome: *outcome, reason: None }).collect();
    let receipts = receipts::make_all(station, &receipts, now)?;
    let mut receipts = said.iter().zip(receipts).peekable();
    let proofs = bound.iter().map(|one| {
        let (Came { parcel, bundle, .. }, mut evidence) = (&one.admitted.came, one.admitted.evidence.clone());
        while let Some((_, receipt)) = receipts.next_if(|((of, _), _)| std::ptr::eq(*of, one)) {
            evidence.receipts.push(receipt);
        }
        Proof { parcel: *parcel, bundle: *bundle, evidence }
    });
    let proofs = proofs.collect();
    sealing::keep_evidence(station, proofs)
}

/// The same for one whose records were made before: what ended it, and its arrival where nobody can know that this was
/// said.
fn tell(
    station: &Station,
    came: &Came,
    path: &Path,
    ended: Option<(Outcome, Option<Reason>)>,
    now: Timestamp,
) -> Result<(), StationError> {
    let kept = sealing::evidence_path(station, &came.parcel, &came.bundle).exists();
    let arrived = (!kept || ended.is_none()).then_some((Outcome::Arrived, None));
    let said: Vec<Said<'_>> =
        arrived.into_iter().chain(ended).map(|(outcome, reason)| Said { came, outcome, reason }).collect();
    let receipts = receipts::make_all(station, &said, now)?;
    let (envelope, footer) = if kept {
        (Vec::new(), Vec::new())
    } else {
        let io = |cause| StationError::Io { path: path.to_owned(), cause };
        sealing::papers(&mut File::open(path).map_err(io)?, path)?
    };
    let evidence = Evidence { envelope, footer, receipts };
    sealing::keep_evidence(station, vec![Proof { parcel: came.parcel, bundle: came.bundle, evidence }])
}

/// A node that was restored knows nothing of what it delivered after the backup. What was sealed later is proven new; by
/// its sender's clock, so a minute is added.
pub(crate) fn sealed_before_a_restore(station: &Station, envelope: &Envelope) -> bool {
    const SKEW_MS: u64 = 60_000;
    station.spool.restored().is_some_and(|restored| envelope.sealed < restored.at.plus_ms(SKEW_MS))
}

/// Custody is ours, and the bundle stays in `checked` until an operator says whether it was delivered before. (Relaying
/// needs no such word: the next node knows the parcel again.)
fn wait_for_a_word(station: &Station, known: &ParcelState, now: Timestamp) -> Result<Went, StationError> {
    station.spool.record(may_be_duplicate(known.parcel, &known.origin, now), Local::none())?;
    station.alarms.raise(now, Alarm::MayBeDuplicate);
    Ok(Went::Asks)
}

fn may_be_duplicate(parcel: ParcelId, origin: &Name, now: Timestamp) -> Record {
    let mut record = Record::new(Event::MayBeDuplicate, now);
    record.parcel = Some(parcel);
    record.origin = Some(origin.clone());
    record
}

fn checked_place(station: &Station, bundle: &BundleId) -> PathBuf {
    station.layout().checked().join(format!("{bundle}.bundle"))
}

/// Does its bundle still stand where an operator's word was awaited?
pub(crate) fn is_owed(station: &Station, known: &ParcelState) -> bool {
    known.came.as_ref().is_some_and(|came| checked_place(station, &came.bundle).exists())
}

/// The operator's word is on record. Dying before the end of this is safe: the next start finds the bundle in `checked`
/// and the parcel arrived, or closed.
pub(crate) fn decided(station: &Station, known: &ParcelState, admit: bool, now: Timestamp) -> Result<(), StationError> {
    let Some(came) = &known.came else { return Ok(()) };
    let path = checked_place(station, &came.bundle);
    if !path.exists() {
        return Ok(());
    }
    if admit {
        // Back to where the stage looks at every step.
        let name = path.file_name().unwrap_or_default();
        let target = station.layout().complete(came.crossing).join(name);
        move_file(station, &path, &target)?;
        station.spool.bell().ring();
        return Ok(());
    }
    let came = Came::of_state(known, came);
    receipts::make(station, &came, Outcome::Duplicate, Some(Reason::Duplicate), now)?;
    remove(station, &path)
}

/// A parcel does not go on: its bundle stays sealed in quarantine, and the nodes before are told by code.
fn refuse(
    station: &Station,
    came: &Came,
    reason: Reason,
    sealed: bool,
    path: &Path,
    now: Timestamp,
) -> Result<(), StationError> {
    // The record before anybody is told: a second look, with other rules or a worker that is not late, could decide
    // otherwise. Whoever died between the two finds the parcel refused, and tells of it.
    let event = if reason == Reason::Incident { Event::Incident } else { Event::Refused };
    let mut record = came.record(event, now);
    record.reason = Some(reason);
    station.spool.record(record, Local::none())?;
    let receipts = vec![receipts::make(station, came, Outcome::Refused, Some(reason), now)?];
    let evidence = Evidence { envelope: Vec::new(), footer: Vec::new(), receipts };
    sealing::keep_evidence(station, vec![Proof { parcel: came.parcel, bundle: came.bundle, evidence }])?;
    station.alarms.raise(now, if reason == Reason::Incident { Alarm::Incident } else { Alarm::Refused });
    wipe(station, &station.layout().opening().join(came.parcel.to_string()))?;
    put_away(station, sealed, path)
}

/// The bundle of a refused parcel is held, or goes where its content was sealed to the office's security key.
fn put_away(station: &Station, sealed: bool, path: &Path) -> Result<(), StationError> {
    if sealed { remove(station, path) } else { hold_file(station, path) }
}

/// An arrival that proves nothing.
fn hold_arrival(
    station: &Station,
    path: &Path,
    reason: Reason,
    crossing: Option<Crossing>,
    now: Timestamp,
) -> Result<(), StationError> {
    let id = path.file_stem().and_then(|stem| stem.to_str()).and_then(BundleId::from_hex);
    hold(station, path, id, reason, crossing, now)
}

/// A bundle that proves nothing: recorded, held, nobody is told.
pub(crate) fn hold(
    station: &Station,
    path: &Path,
    id: Option<BundleId>,
    reason: Reason,
    crossing: Option<Crossing>,
    now: Timestamp,
) -> Result<(), StationError> {
    let mut record = Record::new(Event::Refused, now);
    (record.crossing, record.reason, record.bundle) = (crossing, Some(reason), id);
    station.spool.record(record, Local::none())?;
    hold_file(station, path)
}

fn hold_file(station: &Station, path: &Path) -> Result<(), StationError> {
    let first = station.layout().quarantine().join(path.file_name().unwrap_or_default());
    let numbered = (2..=HELD_NAMES_MAX).map(|number| first.with_extension(format!("bundle-{number}")));
    for target in std::iter::once(first.clone()).chain(numbered) {
        match station.spool.disk().rename_new(path, &target) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            other => return other.map_err(|cause| StationError::Io { path: target, cause }),
        }
    }
    // Under one id more than this never came by accident; the first of them stay.
    move_file(station, path, &first.with_extension(format!("bundle-{HELD_NAMES_MAX}")))
}

fn move_file(station: &Station, from: &Path, to: &Path) -> Result<(), StationError> {
    station.spool.disk().rename(from, to).map_err(|cause| StationError::Io { path: to.to_owned(), cause })
}

fn remove(station: &Station, path: &Path) -> Result<(), StationError> {
    station.spool.disk().remove_file(path).map_err(|cause| StationError::Io { path: path.to_owned(), cause })
}

fn wipe(station: &Station, place: &Path) -> Result<(), StationError> {
    station.spool.disk().remove_tree(place).map_err(|cause| StationError::Io { path: place.to_owned(), cause })
}
