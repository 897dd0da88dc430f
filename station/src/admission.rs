//! From an arrived bundle to custody, and on: verify, open into a private place, guard, then deliver or relay.
//!
//! Why it may die anywhere: a bundle waits in `complete` until the ledger says `arrived`, then in `checked` until the
//! ledger says `delivered` or `relayed`; only then is it removed. Plaintext lies in places that are wiped at start and
//! is made again from the bundle. A delivery is one rename between two records: after `delivering`, a source that is
//! still staged is renamed, one that is gone was delivered.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use guard::{Judgement, Moment, Question};
use protocol::envelope::Envelope;
use protocol::ledger::{Event, Local, Record};
use protocol::parcel::Priority;
use protocol::receipt::Outcome;
use protocol::{BundleId, Crossing, Name, Reason, Timestamp};
use spool::{Entry, EntryKind, Outlet, ParcelState, State};

use crate::alarm::Alarm;
use crate::config::Hop;
use crate::drop;
use crate::opening::{Admitted, Obstacle, open, peek};
use crate::outlets;
use crate::receipts::{self, Came};
use crate::sealing::{self, Papers};
use crate::station::{Station, StationError};

/// Entries dealt with before what has come meanwhile is looked at: an urgent one waits behind so many small ones.
const SLICE_ENTRIES: usize = 64;
/// Bytes of a slice, unless its first entry alone has more: an urgent one waits behind one large one.
const SLICE_BYTES: u64 = 64 << 20;
/// Of a long queue a slice is this part, so that listing it anew costs little beside the work.
const SLICES_A_LISTING: usize = 32;

/// The admission of a node. What it remembers can be read again from the disk.
#[derive(Default)]
pub struct Admission {
    /// The outlets in which an earlier process may have left openings; nothing before the first step.
    unclear: Option<BTreeSet<Name>>,
    /// What stands in `checked` and is still owed its way on, with the route whose outlet it waits for. Nothing before
    /// the folder was read, and after an error that may have left more in it.
    owed: Option<BTreeMap<PathBuf, Option<Name>>>,
    /// Of what waits: how soon it matters.
    priorities: HashMap<PathBuf, Priority>,
}

/// Something to be dealt with.
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

impl Admission {
    /// Takes what waits, the most urgent first, and looks again after a slice. Returns how many came to an end. What
    /// fails by itself is tried again after a pause, and holds up neither those behind it nor the receipts.
    pub fn step(&mut self, station: &Station, now: Timestamp) -> Result<usize, StationError> {
        self.clear(station, now)?;
        let tasks = self.tasks(station, now)?;
        let slice = SLICE_ENTRIES.max(tasks.len() / SLICES_A_LISTING);
        let (mut done, mut bytes) = (0, 0_u64);
        for task in tasks.into_iter().take(slice) {
            if bytes > 0 && bytes.saturating_add(task.bytes) > SLICE_BYTES {
                break;
            }
            bytes = bytes.saturating_add(task.bytes.max(1));
            done += self.deal_with(station, task, now)?;
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
                Err(error) if error.concerns_all() => return Err(error),
                Err(error) => {
                    tracing::error!(%route, %error, "an outlet cannot be reached");
                    station.retries.failed("outlet", &item, &error, now);
                }
            }
        }
        Ok(())
    }

    fn deal_with(&mut self, station: &Station, task: Task, now: Timestamp) -> Result<usize, StationError> {
        let item = item_of(&task.path);
        let went = match &task.fresh {
            None => forward_checked(station, &task.path, now),
            Some((crossing, entry)) if entry.kind == EntryKind::Receipts => {
                receipts::take(station, *crossing, entry, now).map(|()| Went::On)
            }
            Some((crossing, entry)) => admit(station, *crossing, entry, now),
        };
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
            Err(error) if error.concerns_all() => {
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

/// The name under which failures of this stage are noted.
const STAGE: &str = "admission";

/// What an entry is called in `complete` and in `checked` alike.
fn item_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

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

/// Takes up what stands in `checked`: custody is ours, the way on is still owed.
fn forward_checked(station: &Station, path: &Path, now: Timestamp) -> Result<Went, StationError> {
    let Ok(envelope) = peek(path) else {
        return hold(station, path, Reason::Malformed, None, now).map(|()| Went::On);
    };
    let Some(parcel) = station.spool.parcel_of_bundle(&envelope.bundle)? else {
        return hold(station, path, Reason::Malformed, None, now).map(|()| Went::On);
    };
    let Some(known) = station.spool.parcel(&parcel)? else {
        return hold(station, path, Reason::Malformed, None, now).map(|()| Went::On);
    };
    match known.state {
        State::Arrived => {
            // Before it is opened: its plaintext would only be thrown away again.
            let here = station.route(&known.route).filter(|route| station.next_hop(route).is_none());
            if let Some(route) = here
                && outlets::is_full(station, route, now)?
            {
                return Ok(Went::Waits(route.name.clone()));
            }
        }
        // An operator's word is awaited.
        State::MayBeDuplicate => return Ok(Went::Asks),
        // About to be delivered when the backup was made: whether it was, only the lost disk knew.
        State::Delivering if station.spool.restored().is_some_and(|restored| known.last < restored.at) => {
            return wait_for_a_word(station, &known, now);
        }
        State::Delivering => {
            // The records on both sides of the rename tell where we died.
            let Some(came) = known.came.as_ref().map(|came| Came::of_state(&known, came)) else {
                return hold(station, path, Reason::Malformed, None, now).map(|()| Went::On);
            };
            let outlet = Outlet::open(&station.spool, &known.route)?;
            let name = known.name.clone().unwrap_or_else(|| parcel.to_string());
            if outlet.is_staged(&parcel)? {
                outlet.deliver(&parcel, name.as_ref())?;
            } else {
                // Renamed before we died; the empty folder it stood in may be left.
                outlet.discard(&parcel)?;
            }
            station.outlets.delivered(&known.route, known.bytes);
            return delivered(station, &came, path, now).map(|()| Went::On);
        }
        // Relayed, delivered or refused: only the outbox or the receipt may be owed, and the removal.
        _ => {
            sealing::finish_sent(station, &known)?;
            wipe(station, &station.layout().opening().join(parcel.to_string()))?;
            if let Some(came) = known.came.as_ref().map(|came| Came::of_state(&known, came)) {
                let receipt = match known.state {
                    // What the nodes behind us did with it is theirs to say.
                    _ if known.sent.is_some() => receipts::make(station, &came, Outcome::Arrived, None, now)?,
                    State::Delivered => receipts::make(station, &came, Outcome::Delivered, None, now)?,
                    State::Duplicate => {
                        receipts::make(station, &came, Outcome::Duplicate, Some(Reason::Duplicate), now)?
                    }
                    State::Refused => receipts::make(station, &came, Outcome::Refused, known.reason, now)?,
                    _ => receipts::make(station, &came, Outcome::Arrived, None, now)?,
                };
                sealing::add_receipt(station, &came.parcel, &came.bundle, receipt)?;
            }
            if known.state == State::Refused && known.sent.is_none() {
                return hold_file(station, path).map(|()| Went::On);
            }
            return remove(station, path).map(|()| Went::On);
        }
    }
    match open(station, envelope.crossing, path) {
        Ok(admitted) => {
            arrive(station, &admitted, now)?;
            forward(station, admitted, path, now)
        }
        Err(Obstacle::Later(error)) => Err(error),
        // Custody is ours and the node before has let go: whatever is wrong now, the parcel ends and its origin is told.
        Err(Obstacle::Bundle(reason, words)) => match known.came.as_ref().map(|came| Came::of_state(&known, came)) {
            Some(came) => {
                tracing::error!(parcel = %came.parcel, reason = reason.name(), "{words}");
                refuse(station, &came, reason, path, now).map(|()| Went::On)
            }
            None => hold(station, path, reason, None, now).map(|()| Went::On),
        },
        Err(Obstacle::Parcel(about)) => refuse(station, &about.0, about.1, path, now).map(|()| Went::On),
    }
}

fn admit(station: &Station, crossing: Crossing, entry: &Entry, now: Timestamp) -> Result<Went, StationError> {
    let path = &entry.path;
    // Known before: either we died between the record and the rename, or it came a second time.
    if let Some(parcel) = station.spool.parcel_of_bundle(&entry.id)?
        && let Some(known) = station.spool.parcel(&parcel)?
        && let Some(came) = known.came.as_ref().filter(|came| came.bundle == entry.id)
    {
        if matches!(known.state, State::Arrived | State::Delivering | State::MayBeDuplicate) {
            let checked = station.spool.arrivals(crossing).check_in(entry)?.path;
            return forward_checked(station, &checked, now);
        }
        receipts::make(station, &Came::of_state(&known, came), Outcome::Duplicate, Some(Reason::Duplicate), now)?;
        return remove(station, path).map(|()| Went::On);
    }
    match open(station, crossing, path) {
        Ok(admitted) => {
            record_arrived(station, &admitted, now)?;
            arrive(station, &admitted, now)?;
            let checked = station.spool.arrivals(crossing).check_in(entry)?.path;
            forward(station, admitted, &checked, now)
        }
        Err(Obstacle::Later(error)) => Err(error),
        Err(Obstacle::Bundle(reason, words)) => {
            tracing::warn!(bundle = %entry.id, %crossing, reason = reason.name(), "{words}");
            station.alarms.raise(now, Alarm::NotAuthentic);
            hold(station, path, reason, Some(crossing), now).map(|()| Went::On)
        }
        Err(Obstacle::Parcel(about)) if about.1 == Reason::Duplicate => {
            let mut record = about.0.record(Event::Duplicate, now);
            record.reason = Some(Reason::Duplicate);
            station.spool.record(record, Local::none())?;
            receipts::make(station, &about.0, Outcome::Duplicate, Some(Reason::Duplicate), now)?;
            remove(station, path).map(|()| Went::On)
        }
        Err(Obstacle::Parcel(about)) => refuse(station, &about.0, about.1, path, now).map(|()| Went::On),
    }
}

fn record_arrived(station: &Station, admitted: &Admitted, now: Timestamp) -> Result<(), StationError> {
    let mut record = admitted.came.record(Event::Arrived, now);
    record.bytes = Some(admitted.manifest.content_bytes());
    let local = Local { name: Some(admitted.manifest.name.clone()), labels: admitted.manifest.labels.clone() };
    station.spool.record(record, local)?;
    Ok(())
}

/// Custody is ours: the receipt that says so, then the evidence. Whoever finds the evidence knows that both are there.
fn arrive(station: &Station, admitted: &Admitted, now: Timestamp) -> Result<(), StationError> {
    let Came { parcel, bundle, .. } = &admitted.came;
    if sealing::evidence_path(station, parcel, bundle).exists() {
        return Ok(());
    }
    let mut evidence = admitted.evidence.clone();
    evidence.receipts.push(receipts::make(station, &admitted.came, Outcome::Arrived, None, now)?);
    sealing::keep_evidence(station, parcel, bundle, evidence)
}

/// On from here: into the outlet, or sealed for the next crossing.
fn forward(station: &Station, admitted: Admitted, checked: &Path, now: Timestamp) -> Result<Went, StationError> {
    match station.next_hop(&admitted.route) {
        Some(hop) => return relay(station, admitted, &hop, checked, now).map(|()| Went::On),
        None if sealed_before_a_restore(station, &admitted.envelope) => {
            let known = station.spool.parcel(&admitted.came.parcel)?;
            if let Some(known) = known.filter(|known| !known.admitted) {
                wipe(station, &admitted.place)?;
                return wait_for_a_word(station, &known, now);
            }
        }
        None => {}
    }
    if outlets::is_full(station, &admitted.route, now)? {
        // It arrived and is ours; its plaintext waits nowhere.
        wipe(station, &admitted.place)?;
        return Ok(Went::Waits(admitted.route.name));
    }
    deliver(station, &admitted, checked, now).map(|()| Went::On)
}

fn relay(station: &Station, admitted: Admitted, hop: &Hop, checked: &Path, now: Timestamp) -> Result<(), StationError> {
    let Some(rules) = station.rules.get(&hop.crossing) else {
        return refuse(station, &admitted.came, Reason::NoRoute, checked, now);
    };
    // The next border has its own rules: what was let in is looked at again before it goes on.
    let types = [admitted.came.parcel_type.clone()];
    let question =
        Question { rules, suite: admitted.envelope.suite, moment: Moment::Intake, types: &types, stripped: false };
    let released = match drop::inspect(&question, admitted.released.into_parcel())? {
        Judgement::Released(released) => released,
        Judgement::Refused { reason, .. } | Judgement::Quarantine { reason, .. } => {
            return refuse(station, &admitted.came, reason, checked, now);
        }
        Judgement::Strip { .. } => return refuse(station, &admitted.came, Reason::Coordinates, checked, now),
    };
    let papers = Papers {
        statement: &admitted.statement,
        custody: &admitted.custody,
        manifest: &admitted.manifest,
        priority: admitted.envelope.priority,
    };
    let staged = match sealing::seal(station, &released, &papers, hop, now) {
        Ok(staged) => staged,
        Err(StationError::Seal(_)) => return refuse(station, &admitted.came, Reason::Changed, checked, now),
        Err(error) => return Err(error),
    };
    let ready = sealing::ready(Event::Relayed, staged, &admitted.statement, &admitted.manifest, now)?;
    sealing::commit(station, vec![ready], now)?;
    wipe(station, &admitted.place)?;
    remove(station, checked)
}

/// A node that was restored knows nothing of what it delivered after the backup. What was sealed later is proven new; by
/// its sender's clock, so a minute is added.
fn sealed_before_a_restore(station: &Station, envelope: &Envelope) -> bool {
    const SKEW_MS: u64 = 60_000;
    station.spool.restored().is_some_and(|restored| envelope.sealed < restored.at.plus_ms(SKEW_MS))
}

/// Custody is ours, and the bundle stays in `checked` until an operator says whether it was delivered before. (Relaying
/// needs no such word: the next node knows the parcel again.)
fn wait_for_a_word(station: &Station, known: &ParcelState, now: Timestamp) -> Result<Went, StationError> {
    let mut record = Record::new(Event::MayBeDuplicate, now);
    record.parcel = Some(known.parcel);
    record.origin = Some(known.origin.clone());
    station.spool.record(record, Local::none())?;
    station.alarms.raise(now, Alarm::MayBeDuplicate);
    Ok(Went::Asks)
}

/// The operator's word is on record. Dying before the end of this is safe: the next start finds the bundle in `checked`
/// and the parcel arrived, or closed.
pub(crate) fn decided(station: &Station, known: &ParcelState, admit: bool, now: Timestamp) -> Result<(), StationError> {
    let Some(came) = &known.came else { return Ok(()) };
    let path = station.layout().checked().join(format!("{}.bundle", came.bundle));
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

fn deliver(station: &Station, admitted: &Admitted, checked: &Path, now: Timestamp) -> Result<(), StationError> {
    let mut record = admitted.came.record(Event::Delivering, now);
    record.bytes = Some(admitted.manifest.content_bytes());
    station.spool.record(record, Local::none())?;
    Outlet::open(&station.spool, &admitted.route.name)?
        .deliver(&admitted.came.parcel, admitted.manifest.name.as_ref())?;
    station.outlets.delivered(&admitted.route.name, admitted.manifest.content_bytes());
    delivered(station, &admitted.came, checked, now)
}

/// The rename is done: record, receipt, and the bundle goes.
fn delivered(station: &Station, came: &Came, checked: &Path, now: Timestamp) -> Result<(), StationError> {
    station.spool.record(came.record(Event::Delivered, now), Local::none())?;
    let receipt = receipts::make(station, came, Outcome::Delivered, None, now)?;
    sealing::add_receipt(station, &came.parcel, &came.bundle, receipt)?;
    remove(station, checked)
}

/// A parcel does not go on: its bundle stays sealed in quarantine, and the nodes before are told by code.
fn refuse(station: &Station, came: &Came, reason: Reason, path: &Path, now: Timestamp) -> Result<(), StationError> {
    // The receipt before the record: what is recorded is not done again, and making a receipt twice makes it once.
    let receipt = receipts::make(station, came, Outcome::Refused, Some(reason), now)?;
    sealing::add_receipt(station, &came.parcel, &came.bundle, receipt)?;
    let event = if reason == Reason::Incident { Event::Incident } else { Event::Refused };
    let mut record = came.record(event, now);
    record.reason = Some(reason);
    station.spool.record(record, Local::none())?;
    station.alarms.raise(now, if reason == Reason::Incident { Alarm::Incident } else { Alarm::Refused });
    wipe(station, &station.layout().opening().join(came.parcel.to_string()))?;
    hold_file(station, path)
}

/// A bundle that proves nothing: recorded, held, nobody is told.
fn hold(
    station: &Station,
    path: &Path,
    reason: Reason,
    crossing: Option<Crossing>,
    now: Timestamp,
) -> Result<(), StationError> {
    let mut record = Record::new(Event::Refused, now);
    record.crossing = crossing;
    record.reason = Some(reason);
    record.bundle = path.file_stem().and_then(|stem| stem.to_str()).and_then(BundleId::from_hex);
    station.spool.record(record, Local::none())?;
    hold_file(station, path)
}

fn hold_file(station: &Station, path: &Path) -> Result<(), StationError> {
    let target = station.layout().quarantine().join(path.file_name().unwrap_or_default());
    move_file(station, path, &target)
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
