//! From an arrived bundle to custody, and on: verify, open into a private place, guard, then deliver or relay.
//!
//! Why it may die anywhere: a bundle waits in `complete` until the ledger says `arrived`, then in `checked` until the
//! ledger says `delivered` or `relayed`; only then is it removed. Plaintext lies in places that are wiped at start and
//! is made again from the bundle. A delivery is one rename between two records: after `delivering`, a source that is
//! still staged is renamed, one that is gone was delivered.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use guard::{Judgement, Moment, Parcel, Question, Released};
use protocol::bundle::{self, BundleError, Sink};
use protocol::envelope::Envelope;
use protocol::evidence::Evidence;
use protocol::keys::KeyError;
use protocol::ledger::{Event, Local, Record};
use protocol::parcel::{Manifest, ParcelError, Priority};
use protocol::receipt::Outcome;
use protocol::trust::TrustError;
use protocol::{BundleId, Crossing, Name, Reason, Signed, Timestamp};
use spool::{Entry, EntryKind, Outlet, ParcelState, Seen, State};

use crate::alarm::Alarm;
use crate::config::{Hop, NameEncoding, RouteSettings};
use crate::drop::{self, Drop, DropError};
use crate::outlets;
use crate::receipts::{self, Came};
use crate::sealing::{self, Papers};
use crate::station::{Station, StationError};
use spool::is_litter;

/// A bundle is read in pieces of this size.
const READ_BUFFER_BYTES: usize = 256 * 1024;

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

/// An opened and inspected bundle.
struct Admitted {
    envelope: Envelope,
    manifest: Manifest,
    statement: Signed,
    custody: Vec<Signed>,
    came: Came,
    route: RouteSettings,
    released: Released<Drop>,
    evidence: Evidence,
    place: PathBuf,
}

/// Why a bundle is not admitted.
enum Obstacle {
    /// The disk, or something else of ours: try again.
    Later(StationError),
    /// The bundle itself, before its origin is proven: nobody can be told.
    Bundle(Reason, String),
    /// The parcel inside: the nodes before are told.
    Parcel(Box<(Came, Reason)>),
}

impl From<StationError> for Obstacle {
    fn from(error: StationError) -> Self {
        Obstacle::Later(error)
    }
}

impl From<spool::SpoolError> for Obstacle {
    fn from(error: spool::SpoolError) -> Self {
        Obstacle::Later(error.into())
    }
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
    match open(station, envelope.crossing, path, now) {
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
    match open(station, crossing, path, now) {
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

/// Every step between a file and an inspected parcel.
fn open(station: &Station, crossing: Crossing, path: &Path, now: Timestamp) -> Result<Admitted, Obstacle> {
    let envelope = peek(path).map_err(|error| obstacle(path, error))?;
    if envelope.crossing != crossing
        || envelope.target != station.node
        || !station.peers_sending(crossing).any(|peer| peer.name == envelope.source)
    {
        return Err(Obstacle::Bundle(
            Reason::NoRoute,
            format!("sealed by {} for {} over {}", envelope.source, envelope.target, envelope.crossing),
        ));
    }
    if path.file_stem().is_none_or(|stem| *stem != *envelope.bundle.to_string()) {
        return Err(Obstacle::Bundle(
            Reason::NotAuthentic,
            "its envelope names another bundle than it came as".to_owned(),
        ));
    }
    let custody = envelope.prove(&station.trust).map_err(|error| obstacle(path, error.into()))?;
    let statement = &custody.statement;
    let came = Came {
        parcel: statement.parcel,
        statement: custody.statement_digest,
        origin: statement.origin.clone(),
        route: statement.route.clone(),
        parcel_type: statement.parcel_type.clone(),
        peer: envelope.source.clone(),
        crossing,
        bundle: envelope.bundle,
        epoch: envelope.epoch,
        sequence: envelope.sequence,
    };
    if let Some(answer) = answered(station, &envelope, &came)? {
        prove_whole(station, path)?;
        return Err(answer);
    }
    let Some(route) = station.fits(statement, &envelope.source) else {
        prove_whole(station, path)?;
        return Err(Obstacle::Parcel(Box::new((came, Reason::NoRoute))));
    };
    let Some(rules) = station.rules.get(&crossing) else {
        prove_whole(station, path)?;
        return Err(Obstacle::Parcel(Box::new((came, Reason::NoRoute))));
    };

    let parcel = statement.parcel;
    let outlet = if statement.target == station.node { Some(Outlet::open(&station.spool, &route.name)?) } else { None };
    let place = match &outlet {
        Some(outlet) => outlet.stage(&parcel)?,
        None => station.layout().opening().join(parcel.to_string()),
    };
    let io_at = |path: &Path| {
        let path = path.to_owned();
        move |cause| Obstacle::Later(StationError::Io { path, cause })
    };
    station.spool.disk().remove_tree(&place).map_err(io_at(&place))?;
    station.spool.disk().create_dir_private(&place).map_err(io_at(&place))?;
    let wipe = |obstacle: Obstacle| match station.spool.disk().remove_tree(&place) {
        Ok(()) => obstacle,
        Err(cause) => Obstacle::Later(StationError::Io { path: place.clone(), cause }),
    };

    let file = File::open(path).map_err(io_at(path))?;
    let mut staging = Staging::new(station, &place, outlet.is_some());
    let opened = bundle::open(
        &mut BufReader::with_capacity(READ_BUFFER_BYTES, file),
        &station.trust,
        &station.keyring.opening,
        &mut staging,
    )
    .map_err(|error| wipe(obstacle(path, error)))?;
    match &outlet {
        // Modes for the app, and everything synced, before the ledger says delivering.
        Some(outlet) => outlet.settle(&parcel).map_err(|error| wipe(error.into()))?,
        None => staging.sync().map_err(|cause| wipe(io_at(&place)(cause)))?,
    }

    let held = Drop::read(&place.join(&opened.manifest.name), NameEncoding::Utf8).map_err(|error| match error {
        DropError::Io { place, cause } => wipe(Obstacle::Later(StationError::Io { path: place, cause })),
        DropError::Unfit { reason, .. } => wipe(Obstacle::Parcel(Box::new((came.clone(), reason)))),
    })?;
    if !is_all(&opened.manifest, &held) {
        return Err(wipe(Obstacle::Parcel(Box::new((came, Reason::BadName)))));
    }
    if crossing.lands_outside()
        && let Some(reason) =
            look_at_labels(station, crossing, &opened.manifest).map_err(|error| wipe(Obstacle::Later(error)))?
    {
        return Err(wipe(Obstacle::Parcel(Box::new((came, incident(crossing, reason))))));
    }
    let types = [statement.parcel_type.clone()];
    let question = Question { rules, suite: envelope.suite, moment: Moment::Admission, types: &types, stripped: false };
    let released = match drop::inspect(&station.sandbox, &question, &station.exceptions.standing(crossing, now), held)
        .map_err(|error| wipe(Obstacle::Later(error)))?
    {
        Judgement::Released(released) => released,
        Judgement::Refused { reason, .. } | Judgement::Quarantine { reason, .. } => {
            return Err(wipe(Obstacle::Parcel(Box::new((came, incident(crossing, reason))))));
        }
        Judgement::Strip { .. } => {
            return Err(wipe(Obstacle::Parcel(Box::new((came, incident(crossing, Reason::Coordinates))))));
        }
    };
    let papers = |error: protocol::der_types::DerError| obstacle(path, BundleError::from(error));
    Ok(Admitted {
        statement: envelope.signed_statement().map_err(papers)?,
        custody: envelope.signed_custody().map_err(papers)?,
        route: route.clone(),
        manifest: opened.manifest,
        evidence: Evidence {
            envelope: opened.verified.envelope_bytes,
            footer: opened.verified.footer_bytes,
            receipts: Vec::new(),
        },
        envelope,
        came,
        released,
        place,
    })
}

/// What is to be said of a parcel or a number that is known here already.
fn answered(station: &Station, envelope: &Envelope, came: &Came) -> Result<Option<Obstacle>, StationError> {
    let parcel = |reason| Ok(Some(Obstacle::Parcel(Box::new((came.clone(), reason)))));
    let known = station.spool.parcel(&came.parcel)?;
    if known.as_ref().is_some_and(|known| known.state == State::Lost && !known.custody_passed) {
        // It was here before the disk was lost, and nobody can say that it was delivered: it comes in and waits.
        return Ok(None);
    }
    let ours =
        known.as_ref().is_some_and(|known| known.came.as_ref().is_some_and(|came| came.bundle == envelope.bundle));
    if !ours {
        match station.spool.seen(&envelope.source, envelope.crossing, envelope.epoch, envelope.sequence)? {
            Seen::New => {}
            // We died between the record of a refusal and the end of it: it is refused once more, not a duplicate.
            Seen::Before
                if known.as_ref().is_some_and(|known| known.state == State::Refused && known.came.is_none()) =>
            {
                let reason = known.and_then(|known| known.reason).unwrap_or(Reason::NoRoute);
                return parcel(reason);
            }
            Seen::Before | Seen::BelowFloor if known.is_some() => {
                return parcel(Reason::Duplicate);
            }
            Seen::Before | Seen::BelowFloor => {
                return Ok(Some(Obstacle::Bundle(Reason::Replayed, "its number was used before".to_owned())));
            }
        }
        if known.is_some() {
            return parcel(Reason::Duplicate);
        }
    }
    Ok(None)
}

/// Id and numbers stand in the envelope, and only the foot proves the envelope: statement and entries can be copied from
/// the head of any bundle. Nothing is recorded under a number, and no receipt signed, on the word of such a copy.
fn prove_whole(station: &Station, path: &Path) -> Result<(), Obstacle> {
    let file = File::open(path).map_err(|error| obstacle(path, error.into()))?;
    let mut input = BufReader::with_capacity(READ_BUFFER_BYTES, file);
    bundle::verify(&mut input, &station.trust).map(drop).map_err(|error| obstacle(path, error))
}

/// Is what stands on the disk, and was looked at, all that the manifest names and nothing else? A walk passes over what
/// desktops leave behind, so a node that names a file so would have it delivered without a look.
fn is_all(manifest: &Manifest, held: &Drop) -> bool {
    let hidden = |path: &str| path.split('/').any(|part| is_litter(part.as_ref()));
    let mut named: Vec<(&str, u64)> = manifest.files.iter().map(|file| (file.path.as_str(), file.size)).collect();
    named.sort_unstable();
    !hidden(&manifest.name)
        && !manifest.files.iter().any(|file| hidden(&file.path))
        && held.files().iter().map(|file| (file.path.as_str(), file.size)).eq(named)
}

/// Labels and the bytes of names travel in the manifest, beside the files: they are content too.
fn look_at_labels(station: &Station, crossing: Crossing, manifest: &Manifest) -> Result<Option<Reason>, StationError> {
    let labels = manifest.labels.iter().map(|label| format!("{}={}\n", label.name, label.value));
    let names = manifest.files.iter().filter_map(|file| file.original.as_ref());
    let names = names.map(|name| format!("{}\n", encoding_rs::GB18030.decode(name.as_bytes()).0));
    let text: String = labels.chain(names).collect();
    if text.is_empty() {
        return Ok(None);
    }
    let mut visit = station.sandbox.visit(crossing);
    let found = guard::detect_by(&mut visit, "labels.txt", text.as_bytes());
    match (visit.trouble(), found.map(|found| found.verdict)) {
        (Some(cause), _) => Err(StationError::Io { path: "sandbox".into(), cause }),
        (None, Ok(guard::DetectVerdict::Coordinates)) => Ok(Some(Reason::Coordinates)),
        (None, Ok(_)) => Ok(None),
        (None, Err(_)) => Ok(Some(Reason::NotInspectable)),
    }
}

/// Coordinates that come down from a higher zone are not a refusal but an incident.
fn incident(crossing: Crossing, reason: Reason) -> Reason {
    let from_above = crossing.source() > crossing.target();
    if reason == Reason::Coordinates && from_above { Reason::Incident } else { reason }
}

fn obstacle(path: &Path, error: BundleError) -> Obstacle {
    let words = error.to_string();
    match error {
        BundleError::Io(cause) => Obstacle::Later(StationError::Io { path: path.to_owned(), cause }),
        BundleError::OtherRecipient { .. }
        | BundleError::Key(KeyError::CannotUnwrap)
        | BundleError::Parcel(ParcelError::Trust(TrustError::UnknownKey { .. })) => {
            Obstacle::Bundle(Reason::UnknownKey, words)
        }
        BundleError::NotABundle { .. }
        | BundleError::CutShort { .. }
        | BundleError::Trailing
        | BundleError::TooLarge { .. }
        | BundleError::Parcel(ParcelError::Der(_)) => Obstacle::Bundle(Reason::Malformed, words),
        _ => Obstacle::Bundle(Reason::NotAuthentic, words),
    }
}

fn peek(path: &Path) -> Result<Envelope, BundleError> {
    bundle::peek(&mut BufReader::new(File::open(path)?))
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
    let released = match drop::inspect(
        &station.sandbox,
        &question,
        &station.exceptions.standing(hop.crossing, now),
        admitted.released.into_parcel(),
    )? {
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

/// Plaintext of a bundle on its way into a private folder.
struct Staging<'a> {
    station: &'a Station,
    root: PathBuf,
    files: Vec<(PathBuf, bool)>,
    folders: HashSet<PathBuf>,
    out: Option<BufWriter<File>>,
    /// The outlet syncs what is staged in it.
    synced_later: bool,
}

impl<'a> Staging<'a> {
    fn new(station: &'a Station, root: &Path, synced_later: bool) -> Self {
        Staging {
            station,
            root: root.to_owned(),
            files: Vec::new(),
            folders: HashSet::from([root.to_owned()]),
            out: None,
            synced_later,
        }
    }

    /// Names below the root: the manifest was checked, so no path climbs.
    fn make_folder(&mut self, folder: &Path) -> io::Result<()> {
        if self.folders.contains(folder) || !folder.starts_with(&self.root) {
            return Ok(());
        }
        if let Some(above) = folder.parent() {
            self.make_folder(above)?;
        }
        self.station.spool.disk().create_dir_all(folder)?;
        self.folders.insert(folder.to_owned());
        Ok(())
    }

    /// Files were synced as they ended; the folders that name them follow.
    fn sync(&self) -> io::Result<()> {
        self.folders.iter().try_for_each(|folder| self.station.spool.disk().sync_dir(folder))
    }
}

impl Sink for Staging<'_> {
    fn manifest(&mut self, manifest: &Manifest) -> io::Result<()> {
        let top = self.root.join(&manifest.name);
        if manifest.folder {
            self.make_folder(&top)?;
        }
        self.files = manifest
            .files
            .iter()
            .map(|file| (if manifest.folder { top.join(&file.path) } else { top.clone() }, file.executable))
            .collect();
        Ok(())
    }

    fn begin(&mut self, index: usize) -> io::Result<()> {
        let (path, _) = self.files.get(index).cloned().ok_or_else(|| io::Error::other("no such file"))?;
        if let Some(folder) = path.parent() {
            self.make_folder(folder)?;
        }
        self.out = Some(BufWriter::with_capacity(READ_BUFFER_BYTES, self.station.spool.disk().create(&path)?));
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.as_mut().map_or(Ok(()), |out| out.write_all(bytes))
    }

    fn end(&mut self, index: usize) -> io::Result<()> {
        let Some(out) = self.out.take() else { return Ok(()) };
        let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        if self.files.get(index).is_some_and(|(_, executable)| *executable) {
            file.set_permissions(std::fs::Permissions::from_mode(0o770))?;
        }
        if self.synced_later { Ok(()) } else { self.station.spool.disk().sync_file(&file) }
    }
}
