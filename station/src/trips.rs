//! Ferry trips, as the node sees them: staged for the next medium, countersigned, confirmed, settled; and those that
//! come in. `ferry` carries the files between the desk and a medium; only the daemon stages, admits and records.
//!
//! Which trips there are, how far each is, and which was imported, the ledger says; what is on one its waybill says, where
//! its digest is the one on record. `trip.json` beside them is a note for people and tools: the desk's group can write it,
//! so nothing is decided by it.
//!
//! Why it may die anywhere: the waybill is kept under `evidence`, where only the daemon writes, before the record names it,
//! and laid to the desk after; where it is not there, or another, the next look lays it again. The entries it names stay
//! in the outbox until their receipts come, so a trip that is lost is staged again.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::{ErrorKind, Read as _, Seek as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, TryLockError};

use protocol::id::moment_of;
use protocol::ledger::{Event, Local, Record};
use protocol::parcel::{Priority, VERSION};
use protocol::receipt::Range;
use protocol::request::Request;
use protocol::tree::{Tree, root_of_reader};
use protocol::trust::Role;
use protocol::waybill::{Approval, LineKind, WAYBILL_LINES_MAX, Waybill, WaybillLine, line_file_name};
use protocol::{BundleId, Crossing, Digest, Name, Signed, Statement, Timestamp};
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use spool::disk::open_plain;
use spool::{Entry, EntryKind, Incoming, Kept, Outbox, SpoolError, TripOnRecord, TripStage, Way};

use crate::alarm::Alarm;
use crate::budget::{self, Budgets};
use crate::config::{Carrier, Direction};
use crate::desk::{REQUEST_BYTES_MAX, Refusal, read_small};
use crate::disposal;
use crate::last_day;
use crate::missing;
use crate::parallel::in_parallel;
use crate::receipts;
use crate::station::{Station, StationError};
use crate::witness;

/// Trips of one way and crossing in the list: years of daily trips.
const TRIPS_MAX: usize = 10_000;
/// Trips of a direction on the status page that are over: a year of an office that goes every other day.
const TRIPS_SHOWN: usize = 200;
/// Approvals read from one trip's folder, of as many as every reader takes.
const APPROVALS_MAX: usize = 64;
/// A trip of as many lines as a waybill can have, each an id of 32 digits.
const TRIP_BYTES_MAX: u64 = 8 << 20;
/// Of a trip's folder. Sticky: the group may add what is its own, and move away nothing of ours.
const TRIP_MODE: u32 = 0o3770;
/// Of its approvals, which are signed: whoever has laid a file under another's name keeps nobody from approving.
const APPROVALS_MODE: u32 = 0o2770;
/// Of a copy in it, whatever the mask of the process: its group carries it to a medium, and writes to none of it.
const COPY_MODE: u32 = 0o640;
/// The waybill's file name, at the desk as on a medium.
const WAYBILL: &str = "waybill";
/// Bundles that are digested at once: reading and digesting keep two cores busy, and the other stages have a node to run.
const DIGESTS_AT_ONCE: usize = 2;
/// Files of a trip that share their syncs when they are taken in.
const TAKEN_AT_ONCE: usize = 64;
/// Of an entry that is copied: more than the largest that shares a segment.
const COPIED_AT_ONCE: usize = 1 << 20;
/// The refusal after which the same medium is simply read again.
const FILE_MISSING: &str = "file-missing";
/// An approval is a few hundred bytes.
const APPROVAL_BYTES_MAX: u64 = 16 * 1024;

/// Where a trip stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TripState {
    /// Its files wait at the desk.
    Staged,
    /// Enough people have countersigned.
    Approved,
    /// It was read back from the written medium.
    Confirmed,
    /// Every bundle of it is receipted.
    Settled,
    /// Nobody confirmed it in time; its bundles wait for the next.
    Expired,
    /// It came in here.
    Imported,
}

/// One trip, as it is kept and shown.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Trip {
    /// Its number on the crossing.
    pub trip: u64,
    /// Which border.
    pub crossing: String,
    /// `out` or `in`.
    pub direction: String,
    /// Where it stands.
    pub state: TripState,
    /// The medium.
    pub medium: String,
    /// Who carries it.
    pub carrier: String,
    /// Who asked for it.
    pub exporter: String,
    /// Files on it.
    pub files: u64,
    /// Bytes on it.
    pub bytes: u64,
    /// Who has countersigned.
    pub approvals: Vec<String>,
    /// How many must.
    pub needed: u8,
    /// Bundles receipted so far.
    pub settled: u64,
    /// Bundles on it.
    pub bundles: u64,
    /// Hex digest of the signed waybill.
    pub waybill: String,
    /// When it was staged or imported, milliseconds since 1970.
    pub at_ms: u64,
    /// The ids of its bundles.
    pub ids: Vec<String>,
    /// Findings in its parcels that two people let pass as exceptions.
    #[serde(default)]
    pub exceptions: u64,
    /// Parcels that a budget kept back when it was staged, by type.
    #[serde(default)]
    pub held: BTreeMap<String, u64>,
}

/// Where a trip lies at the desk.
fn place(station: &Station, crossing: Crossing, way: Way, trip: u64) -> PathBuf {
    match way {
        Way::Out => station.layout().desk_trips().join(trip.to_string()),
        Way::In => station.layout().desk_incoming().join(format!("{crossing}-{trip}")),
    }
}

fn place_of(station: &Station, known: &TripOnRecord) -> PathBuf {
    place(station, known.crossing, known.stage.way(), known.trip)
}

fn io_at(path: &Path) -> impl FnOnce(std::io::Error) -> StationError + '_ {
    |cause| StationError::Io { path: path.to_owned(), cause }
}

fn save(station: &Station, place: &Path, trip: &Trip) -> Result<(), StationError> {
    let path = place.join("trip.json");
    let text = serde_json::to_vec_pretty(trip).map_err(|e| StationError::Io { path: path.clone(), cause: e.into() })?;
    let disk = station.spool.disk();
    if path.is_dir() {
        // Somebody's folder under the name would hold up every look at the trips.
        disk.remove_tree(&path).map_err(io_at(&path))?;
    }
    disk.write(&path, &text).map_err(io_at(&path))
}

fn load(place: &Path) -> Option<Trip> {
    serde_json::from_slice(&read_small(&place.join("trip.json"), TRIP_BYTES_MAX).ok()?).ok()
}

/// Every trip known here, newest first.
pub fn list(station: &Station) -> Result<Vec<Trip>, StationError> {
    those(station, |_, _| true)
}

/// The same for the status page, which is written every second: what is under way, and of what is over the newest. What
/// each trip holds stands in its own note.
pub fn shown(station: &Station) -> Result<Vec<Value>, StationError> {
    let shown = those(station, |nth, known| nth < TRIPS_SHOWN || !known.stage.is_over())?;
    let line = |trip: Trip| {
        let mut line = json!(trip);
        line.as_object_mut().and_then(|line| line.remove("ids"));
        line
    };
    Ok(shown.into_iter().map(line).collect())
}

fn those(station: &Station, wanted: impl Fn(usize, &TripOnRecord) -> bool) -> Result<Vec<Trip>, StationError> {
    let mut trips = Vec::new();
    for crossing in Crossing::ALL {
        for way in [Way::Out, Way::In] {
            let known = station.spool.trips(crossing, way, TRIPS_MAX)?;
            let known = known.iter().enumerate().filter(|(nth, known)| wanted(*nth, known)).map(|(_, known)| known);
            // What is over is told by its note, or by the ledger alone: years of waybills are not read every second.
            let open = |known: &TripOnRecord| if known.stage.is_over() { None } else { paper(station, &known.record) };
            trips.extend(known.map(|known| on_record(station, known, open(known).as_ref())));
        }
    }
    trips.sort_by_key(|trip| std::cmp::Reverse((trip.at_ms, trip.trip)));
    Ok(trips)
}

/// The trip that this node staged under a number.
pub fn staged(station: &Station, number: u64) -> Result<Option<Trip>, StationError> {
    let Some((crossing, _)) = outward(station) else { return Ok(None) };
    let known = station.spool.trip(crossing, Way::Out, number)?;
    Ok(known.map(|known| on_record(station, &known, paper(station, &known.record).as_ref())))
}

/// The highest number that this node ever staged a trip under.
pub fn last_number(station: &Station) -> Result<u64, StationError> {
    let Some((crossing, _)) = outward(station) else { return Ok(0) };
    Ok(station.spool.trips(crossing, Way::Out, 1)?.first().map_or(0, |trip| trip.trip))
}

/// Of what waits for the ferry and no open trip carries: what the next export takes, and what it leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Next {
    /// The trip that lapsed and goes again before any new one; it takes only what it had.
    pub(crate) again: Option<u64>,
    /// Files of the next export.
    pub(crate) files: u64,
    /// And their bytes.
    pub(crate) bytes: u64,
    /// Files that wait for the export after it.
    pub(crate) later: u64,
}

/// What the next export will carry.
pub(crate) fn for_the_next(station: &Station, waiting: &[Entry]) -> Result<Next, StationError> {
    let Some((crossing, _)) = outward(station) else { return Ok(Next::default()) };
    let mine = station.spool.trips(crossing, Way::Out, TRIPS_MAX)?;
    let open = mine.iter().filter(|trip| !trip.stage.is_over()).filter_map(|trip| paper(station, &trip.record));
    let travelling: BTreeSet<BundleId> =
        open.flat_map(|paper| paper.waybill.lines.into_iter().map(|line| line.id)).collect();
    let lapsed = lapsed(station, &mine)?;
    let earlier: Option<BTreeSet<BundleId>> = lapsed.as_ref().map(|lapsed| {
        let paper = lapsed.known.as_ref().and_then(|trip| paper(station, &trip.record));
        paper.into_iter().flat_map(|paper| paper.waybill.lines).map(|line| line.id).collect()
    });
    let mut next = Next { again: lapsed.map(|lapsed| lapsed.number), ..Next::default() };
    for entry in waiting.iter().filter(|entry| !travelling.contains(&entry.id)) {
        if earlier.as_ref().is_none_or(|earlier| earlier.contains(&entry.id)) {
            (next.files, next.bytes) = (next.files + 1, next.bytes.saturating_add(entry.size));
        } else {
            next.later += 1;
        }
    }
    Ok(next)
}

/// Trips with lower numbers that were staged and never confirmed: the far side wants them first.
pub fn staged_before(station: &Station, number: u64) -> Result<Vec<u64>, StationError> {
    let Some((crossing, _)) = outward(station) else { return Ok(Vec::new()) };
    let mine = station.spool.trips(crossing, Way::Out, TRIPS_MAX)?;
    let waiting = mine.iter().rev().filter(|trip| trip.stage == TripStage::Staged && trip.trip < number);
    Ok(waiting.map(|trip| trip.trip).collect())
}

/// A trip as the ledger and its waybill say. The note is asked for who has countersigned and how much is receipted, which
/// only people read; and for the rest of it where a trip is over and its waybill was not looked for.
fn on_record(station: &Station, known: &TripOnRecord, paper: Option<&Paper>) -> Trip {
    let digest = known.record.digest.map(|digest| digest.to_string()).unwrap_or_default();
    let note = load(&place_of(station, known)).filter(|note| note.trip == known.trip && note.waybill == digest);
    let mut trip = match (paper, &note) {
        (Some(paper), _) => of_waybill(station, &paper.waybill, known),
        // Trips from before records named media kept no waybill but the one at the desk, which may be of an older form.
        (None, Some(note)) if known.stage.is_over() || known.record.medium.is_none() => note.clone(),
        _ => bare(known),
    };
    if let Some(note) = note {
        (trip.approvals, trip.settled) = (note.approvals, note.settled.min(trip.bundles));
        (trip.exceptions, trip.held) = (note.exceptions, note.held);
    }
    trip.state = match known.stage {
        TripStage::Staged if trip.approvals.len() >= usize::from(trip.needed) => TripState::Approved,
        TripStage::Staged => TripState::Staged,
        TripStage::Confirmed => TripState::Confirmed,
        TripStage::Settled => TripState::Settled,
        TripStage::Expired => TripState::Expired,
        TripStage::Imported => TripState::Imported,
    };
    (trip.crossing, trip.direction) = (known.crossing.to_string(), direction(known.stage.way()).to_owned());
    trip
}

fn direction(way: Way) -> &'static str {
    match way {
        Way::Out => "out",
        Way::In => "in",
    }
}

/// What the ledger alone says of a trip: its papers are lost.
fn bare(known: &TripOnRecord) -> Trip {
    let record = &known.record;
    let word = |name: &Option<Name>| name.as_ref().map(Name::to_string).unwrap_or_default();
    Trip {
        trip: known.trip,
        crossing: known.crossing.to_string(),
        direction: direction(known.stage.way()).to_owned(),
        state: TripState::Staged,
        medium: word(&record.medium),
        carrier: String::new(),
        exporter: word(&record.person),
        files: 0,
        bytes: 0,
        approvals: Vec::new(),
        needed: u8::MAX,
        settled: 0,
        bundles: 0,
        waybill: record.digest.map(|digest| digest.to_string()).unwrap_or_default(),
        at_ms: record.at.0,
        ids: Vec::new(),
        exceptions: 0,
        held: BTreeMap::new(),
    }
}

fn of_waybill(station: &Station, waybill: &Waybill, known: &TripOnRecord) -> Trip {
    let bundles = waybill.lines.iter().filter(|line| line.kind == LineKind::Bundle).count() as u64;
    Trip {
        medium: waybill.medium.to_string(),
        carrier: waybill.carrier.to_string(),
        exporter: waybill.exporter.to_string(),
        files: waybill.lines.len() as u64,
        bytes: waybill.lines.iter().map(|line| line.size).sum(),
        needed: u8::try_from(needed(station, waybill)).unwrap_or(u8::MAX),
        settled: if known.stage == TripStage::Imported { bundles } else { 0 },
        bundles,
        ids: waybill.lines.iter().map(|line| line.id.to_string()).collect(),
        ..bare(known)
    }
}

/// A waybill that the ledger knows.
struct Paper {
    waybill: Waybill,
    bytes: Vec<u8>,
}

/// The waybill of a record that staged or imported a trip: from evidence, or from the desk. Believed by its digest alone:
/// the record was made when its signature was.
fn paper(station: &Station, record: &Record) -> Option<Paper> {
    let (trip, crossing, digest) = (record.trip?, record.crossing?, record.digest?);
    let way = if record.event == Event::TripImported { Way::In } else { Way::Out };
    let kept = station.spool.evidence_path(record.at, &evidence_name(&digest));
    let at_the_desk = place(station, crossing, way, trip).join(WAYBILL);
    [kept, at_the_desk].iter().find_map(|path| {
        let bytes = read_small(path, Waybill::BYTES_MAX as u64).ok()?;
        let signed = Signed::parse::<Waybill>(&bytes).ok().filter(|signed| signed.digest() == digest)?;
        let waybill: Waybill = signed.read_unverified().ok()?;
        (waybill.trip == trip && waybill.crossing == crossing).then_some(Paper { waybill, bytes })
    })
}

/// The bundles of the trip that a record tells of, as its waybill names them; none where that is lost.
pub fn bundles_of(station: &Station, record: &Record) -> Result<Vec<BundleId>, StationError> {
    let begins = matches!(record.event, Event::TripStaged | Event::TripImported);
    let known = match (record.crossing, record.trip) {
        (Some(crossing), Some(trip)) if !begins => station.spool.trip(crossing, Way::Out, trip)?,
        _ => None,
    };
    let known =
        known.map(|known| known.record).filter(|known| record.digest.is_none() || known.digest == record.digest);
    let lines = paper(station, known.as_ref().unwrap_or(record)).map(|paper| paper.waybill.lines).unwrap_or_default();
    Ok(lines.into_iter().filter(|line| line.kind == LineKind::Bundle).map(|line| line.id).collect())
}

/// Only the daemon writes there. The digest is the name: a trip that is staged again has another waybill.
fn evidence_name(waybill: &Digest) -> String {
    format!("{waybill}.waybill")
}

/// The peer and crossing that this node's ferry serves, outward.
#[must_use]
pub fn outward(station: &Station) -> Option<(Crossing, Name)> {
    let peer = station.peers.iter().find(|peer| peer.send == Carrier::Ferry)?;
    Some((Crossing::between(station.zone, peer.zone)?, peer.name.clone()))
}

/// What goes on a trip, of all that waits: everything, where nothing is said. Papers for home always go.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Only parcels of these routes.
    pub routes: BTreeSet<Name>,
    /// Only bundles of these priorities.
    pub priorities: Vec<Priority>,
    /// Only what was sealed at least so long ago.
    pub older_than_ms: u64,
    /// At most so many bytes: the most urgent first, and of these the oldest, each that there is still room for.
    pub bytes_max: Option<u64>,
}

impl Choice {
    fn wants(&self, station: &Station, entry: &Entry, now: Timestamp) -> Result<bool, StationError> {
        if entry.kind != EntryKind::Bundle {
            return Ok(true);
        }
        let of_priority = self.priorities.is_empty() || self.priorities.contains(&entry.priority);
        if !of_priority || now.since(moment_of(&entry.id)) < self.older_than_ms {
            return Ok(false);
        }
        if self.routes.is_empty() {
            return Ok(true);
        }
        let parcel = station.spool.parcel_of_bundle(&entry.id)?;
        let state = parcel.map(|parcel| station.spool.parcel(&parcel)).transpose()?.flatten();
        Ok(state.is_some_and(|state| self.routes.contains(&state.route)))
    }

    fn holds(&self, bytes: u64) -> bool {
        self.bytes_max.is_none_or(|most| bytes <= most)
    }
}

/// Stages everything that waits for the ferry and is chosen, or a trip `again`.
pub fn stage(
    station: &Station,
    medium: &Name,
    carrier: &Name,
    exporter: &Name,
    again: Option<u64>,
    choice: &Choice,
    now: Timestamp,
) -> Result<Result<Trip, Refusal>, StationError> {
    let Some((crossing, target)) = outward(station) else {
        return Ok(Err(Refusal::new(
            "no-ferry",
            "no crossing of this node is carried by ferry",
            "本节点没有以摆渡为载体的跨区段",
        )));
    };
    if let Err(refusal) = check_medium(station, medium, Direction::Out) {
        return Ok(Err(refusal));
    }
    let _turn = station.trips.lock().unwrap_or_else(PoisonError::into_inner);
    let mine = station.spool.trips(crossing, Way::Out, TRIPS_MAX)?;
    // A trip that died between its record and its papers goes before this one: whoever looks must find it.
    for known in mine.iter().filter(|known| !known.stage.is_over()) {
        let paper = paper(station, &known.record);
        let place = place_of(station, known);
        if let Err(error) = mend(station, &place, &on_record(station, known, paper.as_ref()), paper.as_ref()) {
            // The next look tells it by an alarm; a folder that somebody spoiled keeps no other trip.
            tracing::error!(trip = known.trip, %error, "the papers of an open trip cannot be laid down again");
        }
    }
    let asked_again = again.is_some();
    let before = match again {
        None => lapsed(station, &mine)?,
        Some(number) => match before(station, &mine, crossing, number)? {
            Ok(before) => Some(before),
            Err(refusal) => return Ok(Err(refusal)),
        },
    };
    let ids = |trip: &TripOnRecord| on_record(station, trip, paper(station, &trip.record).as_ref()).ids;
    let again = before.as_ref().map(|before| before.number);
    let earlier: Option<BTreeSet<String>> = before.as_ref().map(|before| before.known.iter().flat_map(ids).collect());
    let outbox = station.spool.outbox(crossing);
    let open = |trip: &&TripOnRecord| !trip.stage.is_over() && Some(trip.trip) != again;
    let travelling: BTreeSet<String> = mine.iter().filter(open).flat_map(ids).collect();
    // Nothing new under an old number: where the first medium did arrive, the number is turned away as repeated, and
    // whatever was new would wait for ever.
    let goes = |entry: &Entry| {
        let id = entry.id.to_string();
        !travelling.contains(&id) && earlier.as_ref().is_none_or(|earlier| earlier.contains(&id))
    };
    let today = |trip: &&TripOnRecord| {
        trip.stage != TripStage::Expired && Some(trip.trip) != again && day(trip.record.at) == day(now)
    };
    let bundles = |trip: &TripOnRecord| {
        let lines = paper(station, &trip.record).map(|paper| paper.waybill.lines).unwrap_or_default();
        lines.into_iter().filter(|line| line.kind == LineKind::Bundle).map(|line| line.id)
    };
    let mut budgets = Budgets::new(station, station.rules.get(&crossing), mine.iter().filter(today).flat_map(bundles))?;
    let (mut chosen, mut others, mut left_out, mut total) = (Vec::new(), false, false, 0_u64);
    let unproven = crate::by_hand::still_unproven(station, now)?;
    for entry in outbox.entries()?.into_iter().filter(|entry| !unproven.contains(&entry.id)) {
        if entry.kind == EntryKind::Bundle && arrived(station, &entry.id)? {
            // It passed on, and only its evidence or its removal is owed. A trip of such entries alone would be settled before
            // anybody carried it, and the other side would wait for its number.
            continue;
        }
        others |= !travelling.contains(&entry.id.to_string());
        if !goes(&entry) {
            continue;
        }
        let with = total.saturating_add(entry.size);
        if !choice.holds(with) || !choice.wants(station, &entry, now)? {
            left_out = true;
        } else if entry.kind != EntryKind::Bundle || budgets.lets(&entry.id, asked_again)? {
            total = with;
            chosen.push(entry);
        }
    }
    station.alarms.stands(now, Alarm::ExportBudget, !budgets.held.is_empty());
    // Asked before anything is made: copies that fill the disk would stop the whole node.
    let (desk, going) = (station.layout().desk_trips(), || chosen.iter().take(WAYBILL_LINES_MAX));
    let linked = going().any(|entry| outbox.gives_link(entry, &desk));
    let bytes: u64 = going().filter(|entry| !linked || !outbox.is_own_file(entry)).map(|entry| entry.size).sum();
    if let Err(SpoolError::Full { .. }) = station.spool.room_at(&desk, bytes) {
        return Ok(Err(no_room(bytes)));
    }
    let misses = !station.spool.gaps(&target, crossing.back()).is_empty();
    let papers = misses || receipts::waits(station, crossing, &target, now)?;
    if earlier.is_none() && (!chosen.is_empty() || papers) {
        // Papers for home ride along: receipts, and what is missing on the one-way crossing that leads here.
        if let Some(batch) = receipts::batch(station, crossing, &target, true, now)?
            && let Some(entry) = outbox.find(&batch)?
        {
            total = total.saturating_add(entry.size);
            // For what must make room there is another trip.
            while !choice.holds(total)
                && let Some(last) = chosen.pop()
            {
                total = total.saturating_sub(last.size);
            }
            chosen.insert(0, entry);
        }
    }
    // Under an old number a waybill may be empty: it says that nothing more comes under it, and lets the next trip pass.
    let passes = before.is_some() && (asked_again || others || papers);
    if chosen.is_empty() && left_out && !passes {
        return Ok(Err(none_chosen()));
    }
    if chosen.is_empty() && !passes {
        if !budgets.held.is_empty() {
            return Ok(Err(over_budget(&budgets.held)));
        }
        return Ok(Err(Refusal {
            done: true,
            ..Refusal::new("nothing-waiting", "nothing waits for the ferry", "没有待摆渡的内容")
        }));
    }
    let number = again.unwrap_or_else(|| last_used(station, &mine).saturating_add(1));
    let place = place(station, crossing, Way::Out, number);
    let disk = station.spool.disk();
    disk.remove_tree(&place).map_err(io_at(&place))?;
    let laid = open_place(station, &place).and_then(|()| lay_lines(station, crossing, &place, &chosen, passes, now));
    let laid = laid.inspect_err(|_| {
        // Its room is for others until somebody asks again.
        let _gone = disk.remove_tree(&place);
    });
    let lines = match laid {
        // An entry was thought to need none.
        Err(StationError::Spool(SpoolError::Full { bytes_needed, .. })) => return Ok(Err(no_room(bytes_needed))),
        laid => laid?,
    };
    let (head, stated) = witness::state(station, &target, now)?;
    let waybill = Waybill {
        version: VERSION,
        trip: number,
        crossing,
        source: station.node.clone(),
        target: target.clone(),
        medium: medium.clone(),
        carrier: carrier.clone(),
        exporter: exporter.clone(),
        approvals: station.ferry.approvals,
        at: now,
        stated,
        lines,
    };
    let signed = station.sign(&waybill)?;
    let bytes = signed.to_bytes();
    let kept = Kept { at: now, name: evidence_name(&signed.digest()), bytes: bytes.clone() };
    station.spool.keep_evidence(&[kept])?;
    // Before the waybill can be taken away: a head that leaves is on record.
    let mut staged = trip_record(Event::TripStaged, number, crossing, exporter, medium, Some(signed.digest()), now);
    (staged.peer, staged.head) = (Some(target), Some(head));
    station.spool.record(staged.clone(), Local::none())?;
    let path = place.join(WAYBILL);
    disk.write(&path, &bytes).map_err(io_at(&path))?;
    let known = TripOnRecord { trip: number, crossing, stage: TripStage::Staged, record: staged };
    let exceptions = exceptions(station, &waybill)?;
    let trip = Trip { exceptions, held: budgets.held, ..of_waybill(station, &waybill, &known) };
    save(station, &place, &trip)?;
    Ok(Ok(trip))
}

/// The highest number that is used: after a restore the operator has said which the lost disk may have used.
fn last_used(station: &Station, mine: &[TripOnRecord]) -> u64 {
    let restored = station.spool.restored().map_or(0, |restored| restored.trip);
    mine.first().map_or(0, |trip| trip.trip).max(restored)
}

/// A number that goes again, and what is known of the trip that had it; nothing where the lost disk alone knew it.
struct Before {
    number: u64,
    known: Option<TripOnRecord>,
}

/// The trip that is asked for again. One of which anything arrived has passed the other side, which wants its number no
/// more.
fn before(
    station: &Station,
    mine: &[TripOnRecord],
    crossing: Crossing,
    number: u64,
) -> Result<Result<Before, Refusal>, StationError> {
    let known = station.spool.trip(crossing, Way::Out, number)?;
    if known.is_none() && (number == 0 || number > last_used(station, mine)) {
        return Ok(Err(Refusal::new("no-such-trip", "no trip of that number was staged here", "没有该编号的批次")));
    }
    if let Some(trip) = known.as_ref().filter(|trip| trip.stage == TripStage::Settled)
        && has_arrived(station, trip)?
    {
        return Ok(Err(Refusal::new(
            "trip-settled",
            "every bundle of that trip is receipted; nothing is to be carried again",
            "该批次已全部回执，无需再次摆渡",
        )));
    }
    Ok(Ok(Before { number, known }))
}

/// The first trip that expired and that the other side still wants, because it takes numbers in order: it goes again before
/// anything new does. What a later trip has arrived over, nobody waits for.
fn lapsed(station: &Station, mine: &[TripOnRecord]) -> Result<Option<Before>, StationError> {
    let mut first = None;
    // Of the lost disk's trips a backup may know only that they were staged, and what became of them the operator has said.
    let restored = station.spool.restored().map_or(0, |restored| restored.trip);
    for trip in mine {
        if trip.trip <= restored || has_arrived(station, trip)? {
            break;
        }
        if trip.stage == TripStage::Expired {
            first = Some(Before { number: trip.trip, known: Some(trip.clone()) });
        }
    }
    Ok(first)
}

/// Did the other side take this trip in? It has receipted one of its bundles, or papers that went alone.
fn has_arrived(station: &Station, trip: &TripOnRecord) -> Result<bool, StationError> {
    let lines = paper(station, &trip.record).map(|paper| paper.waybill.lines).unwrap_or_default();
    let mut bundles = lines.iter().filter(|line| line.kind == LineKind::Bundle).peekable();
    if bundles.peek().is_none() {
        return Ok(trip.stage == TripStage::Settled && !lines.is_empty());
    }
    for line in bundles {
        if arrived(station, &line.id)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Which of the trips that are staged already is meant.
pub enum Meant<'a> {
    /// This one.
    Trip(u64),
    /// The first that is none of those that `ferry` finds written, whole.
    NotWritten(&'a [u64]),
}

/// A trip that is staged and whole for this medium and these people, as it stands: whose command died before its medium was
/// written goes on with the same paper. None where something of it is gone, from the desk or, as what was sealed to another
/// key since, from the outbox: that is staged again.
pub fn standing(
    station: &Station,
    medium: &Name,
    carrier: &Name,
    exporter: &Name,
    meant: &Meant<'_>,
) -> Result<Option<Trip>, StationError> {
    let Some((crossing, _)) = outward(station) else { return Ok(None) };
    if check_medium(station, medium, Direction::Out).is_err() {
        // Whoever stages says why not.
        return Ok(None);
    }
    let _turn = station.trips.lock().unwrap_or_else(PoisonError::into_inner);
    let is_meant = |known: &&TripOnRecord| match meant {
        Meant::Trip(number) => known.trip == *number,
        Meant::NotWritten(written) => !written.contains(&known.trip),
    };
    for known in station.spool.trips(crossing, Way::Out, TRIPS_MAX)?.iter().rev().filter(is_meant) {
        let Some(paper) = paper(station, &known.record).filter(|_| known.stage == TripStage::Staged) else { continue };
        let bill = &paper.waybill;
        let asked = (&bill.medium, &bill.carrier, &bill.exporter) == (medium, carrier, exporter);
        if asked && is_whole(station, known, &paper)? {
            let mut trip = on_record(station, known, Some(&paper));
            // The slip is printed from it, and whoever writes at the desk can write the note.
            trip.exceptions = exceptions(station, &paper.waybill)?;
            mend(station, &place_of(station, known), &trip, Some(&paper))?;
            return Ok(Some(trip));
        }
    }
    Ok(None)
}

/// Is everything of a staged trip at the desk, and ours to send? Of several volumes none was read back: those are written,
/// and who writes them again may cut them otherwise.
fn is_whole(station: &Station, known: &TripOnRecord, paper: &Paper) -> Result<bool, StationError> {
    if known.record.digest.is_none_or(|digest| any_volume_read_back(station, known.record.at, &digest)) {
        return Ok(false);
    }
    let (place, outbox) = (place_of(station, known), station.spool.outbox(known.crossing));
    for line in &paper.waybill.lines {
        let laid = std::fs::symlink_metadata(place.join(line_file_name(line)));
        if !laid.is_ok_and(|about| about.is_file() && about.len() == line.size) || outbox.find(&line.id)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Days are by UTC, as everywhere in the evidence.
fn day(at: Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}

fn no_room(bytes: u64) -> Refusal {
    let words = format!("copies of what waits need {bytes} bytes, which this disk does not have");
    Refusal::new("no-room", &words, "磁盘空间不足，无法导出待摆渡内容")
        .with_remedy("make room on the disk of the spool, then ask again", "请先释放节点磁盘空间，然后重新申请")
}

fn none_chosen() -> Refusal {
    Refusal::new(
        "nothing-chosen",
        "something waits for the ferry, and nothing of it is what was asked for",
        "有待摆渡的内容，但没有符合所选条件的",
    )
    .with_remedy(
        "ask for more routes or priorities, for younger parcels, or for more bytes than the smallest that waits has",
        "请放宽路由、优先级、时间条件，或提高字节上限（不小于最小的待摆渡文件）",
    )
}

fn over_budget(held: &BTreeMap<String, u64>) -> Refusal {
    let each: Vec<String> = held.iter().map(|(kind, count)| format!("{kind} x {count}")).collect();
    let each = each.join(", ");
    Refusal::new(
        "over-budget",
        &format!("everything that waits is over the budget of its type: {each}"),
        &format!("待摆渡的内容均超出其类型的限额：{each}"),
    )
    .with_remedy(
        "it goes with a later trip or day; for more, the budget in the rules is changed and signed by two people",
        "将随以后的批次或次日运出；如需提高限额，须修改规则并由两人签署",
    )
}

/// Lays what goes on a trip into its folder, and digests it. One entry that the disk does not give stays in the outbox and
/// keeps no other from the only carrier of its crossing.
///
/// A large entry gets a second name there, which costs nothing: bundles are never changed, the group may read them and cannot
/// write to them. What shares a segment, or lies on another disk, is copied. All of it is durable before this returns.
fn lay_lines(
    station: &Station,
    crossing: Crossing,
    place: &Path,
    chosen: &[Entry],
    may_be_empty: bool,
    now: Timestamp,
) -> Result<Vec<WaybillLine>, StationError> {
    let (outbox, disk) = (station.spool.outbox(crossing), station.spool.disk());
    let (mut laid, mut unsynced, mut unread) = (Vec::new(), Vec::new(), None);
    let mut stays = |entry: &Entry, cause: std::io::Error| {
        // Gone since it was listed: a receipt came. Only what is there and cannot be read is told.
        if cause.kind() != std::io::ErrorKind::NotFound {
            tracing::error!(entry = %entry.id, %cause, "a bundle cannot be read and stays behind");
            unread.get_or_insert_with(|| io_at(&entry.path)(cause));
        }
        let path = laid_path(place, entry);
        disk.remove_file(&path).map_err(io_at(&path))
    };
    for entry in chosen.iter().take(WAYBILL_LINES_MAX) {
        let path = laid_path(place, entry);
        match outbox.link(entry, &path).map_err(io_at(&path))? {
            Some(linked) => {
                unsynced.extend(linked.opened.then_some(path));
                laid.push((entry, None));
            }
            None => match copy_entry(station, &outbox, entry, &path)? {
                Ok(digest) => {
                    unsynced.push(path);
                    laid.push((entry, Some(digest)));
                }
                Err(cause) => stays(entry, cause)?,
            },
        }
    }
    // By the second name: the first goes when a receipt comes.
    let digests = in_parallel(DIGESTS_AT_ONCE, &laid, |(entry, copied)| match copied {
        Some(digest) => Ok(*digest),
        None => {
            let mut file = open_plain(&laid_path(place, entry)).inspect_err(|_| outbox.not_read(entry, 0, 1))?;
            digest_of(station, &mut file).inspect_err(|_| {
                // What failed begins where the reading stands.
                outbox.not_read(entry, file.stream_position().unwrap_or(0), COPIED_AT_ONCE as u64);
            })
        }
    });
    let mut lines = Vec::new();
    for ((entry, _), digest) in laid.iter().zip(digests) {
        match digest {
            Ok(digest) => lines.push(line_of(entry, digest)),
            Err(cause) => {
                stays(entry, cause)?;
                let path = laid_path(place, entry);
                unsynced.retain(|other| *other != path);
            }
        }
    }
    disk.sync_all(&unsynced).and_then(|()| disk.sync_dir(place)).map_err(io_at(place))?;
    if unread.is_some() {
        missing::watch(station, now)?;
    }
    // Nothing waits is something else than nothing can be read.
    match unread.filter(|_| lines.is_empty() && !may_be_empty) {
        Some(error) => Err(error),
        None => Ok(lines),
    }
}

fn laid_path(place: &Path, entry: &Entry) -> PathBuf {
    place.join(format!("{}.{}", entry.id, entry.kind.suffix()))
}

fn line_of(entry: &Entry, digest: Digest) -> WaybillLine {
    let kind = match entry.kind {
        EntryKind::Bundle => LineKind::Bundle,
        EntryKind::Receipts => LineKind::Receipts,
    };
    WaybillLine { kind, id: entry.id, size: entry.size, digest, epoch: entry.epoch, sequence: entry.sequence }
}

/// Copies an entry into a new file, which is not yet synced, and digests it on the way. Within: the entry cannot be read.
fn copy_entry(
    station: &Station,
    outbox: &Outbox,
    entry: &Entry,
    path: &Path,
) -> Result<std::io::Result<Digest>, StationError> {
    if outbox.is_own_file(entry) {
        // It was thought to need no room.
        station.spool.room_at(path.parent().unwrap_or(path), entry.size)?;
    }
    let disk = station.spool.disk();
    let mut out = disk.create(path).map_err(io_at(path))?;
    disk.set_mode(path, COPY_MODE).map_err(io_at(path))?;
    let mut content = match outbox.content(entry) {
        Ok(content) => content,
        Err(cause) => return Ok(Err(cause)),
    };
    let (mut tree, mut piece) = (Tree::new(station.suite), vec![0; COPIED_AT_ONCE]);
    loop {
        let read = match content.read(&mut piece) {
            Err(cause) if cause.kind() == ErrorKind::Interrupted => continue,
            Err(cause) => return Ok(Err(cause)),
            Ok(read) => read,
        };
        let Some(bytes) = piece.get(..read).filter(|bytes| !bytes.is_empty()) else { return Ok(Ok(tree.root())) };
        tree.update(bytes);
        disk.append(&mut out, bytes).map_err(io_at(path))?;
    }
}

/// Makes a trip's folders, or sees to it that they are ours. `ferry` runs as a person in the desk's group, reads here
/// and puts approvals here. The group may write beside them, so another thing may stand in their place, such as a link to
/// a folder that nobody may read; that is left alone.
fn open_place(station: &Station, place: &Path) -> Result<(), StationError> {
    for (folder, mode) in [(place, TRIP_MODE), (&place.join("approvals"), APPROVALS_MODE)] {
        station.spool.disk().create_dir_all(folder).map_err(io_at(folder))?;
        open_to_group(folder, mode).map_err(io_at(folder))?;
    }
    Ok(())
}

fn open_to_group(place: &Path, mode: u32) -> std::io::Result<()> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = std::fs::File::from(rustix::fs::open(place, flags, Mode::empty())?);
    let about = folder.metadata()?;
    if about.uid() != rustix::process::geteuid().as_raw() {
        return Err(std::io::ErrorKind::PermissionDenied.into());
    }
    if about.mode() & 0o7777 != mode {
        folder.set_permissions(std::fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

fn check_medium(station: &Station, medium: &Name, wanted: Direction) -> Result<(), Refusal> {
    match station.medium_direction(medium) {
        None => Err(medium_unknown()),
        Some(found) if found != wanted => Err(Refusal::new(
            "medium-direction",
            "the medium is registered for the other direction",
            "介质登记的方向与本次摆渡相反",
        )),
        Some(_) => disposal::refusal(station, medium).map_or(Ok(()), Err),
    }
}

pub(crate) fn medium_unknown() -> Refusal {
    Refusal::new(
        "medium-unknown",
        "the medium is not in the register ([[ferry.medium]])",
        "介质未登记（见配置 [[ferry.medium]]）",
    )
}

/// A trip that is under way on a medium: ours that is not over, or one of which a part was brought and that is not taken in.
pub(crate) fn open_on(station: &Station, medium: &Name) -> Result<Option<u64>, StationError> {
    let open = |known: &TripOnRecord| !known.stage.is_over() && known.record.medium.as_ref() == Some(medium);
    for crossing in Crossing::ALL {
        if let Some(known) = station.spool.trips(crossing, Way::Out, TRIPS_MAX)?.into_iter().find(open) {
            return Ok(Some(known.trip));
        }
    }
    half_brought(station, medium)
}

/// Looks through what `ferry import` laid down: `CROSSING-TRIP`, behind `.vol-` while volumes of it are missing.
fn half_brought(station: &Station, medium: &Name) -> Result<Option<u64>, StationError> {
    let incoming = station.layout().desk_incoming();
    for entry in std::fs::read_dir(&incoming).map_err(io_at(&incoming))?.take(TRIPS_MAX) {
        let path = entry.map_err(io_at(&incoming))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some((crossing, trip)) = name.trim_start_matches(".vol-").rsplit_once('-') else { continue };
        let (Ok(crossing), Ok(trip)) = (crossing.parse::<Crossing>(), trip.parse::<u64>()) else { continue };
        // Most were taken in long ago.
        if station.spool.trip(crossing, Way::In, trip)?.is_none()
            && Brought::open(station, &path).is_some_and(|brought| brought.waybill.medium == *medium)
        {
            return Ok(Some(trip));
        }
    }
    Ok(None)
}

/// Is this the name of a trip that `ferry import` laid down and that was never taken in? What was taken in is the memory of
/// it, and stays.
pub(crate) fn was_never_taken(station: &Station, name: &OsStr) -> bool {
    let named = name.to_str().and_then(|name| name.rsplit_once('-'));
    let parsed = named.and_then(|(crossing, trip)| Some((crossing.parse().ok()?, trip.parse().ok()?)));
    parsed.is_some_and(|(crossing, trip)| matches!(station.spool.trip(crossing, Way::In, trip), Ok(None)))
}

fn trip_record(
    event: Event,
    trip: u64,
    crossing: Crossing,
    person: &Name,
    medium: &Name,
    digest: Option<Digest>,
    now: Timestamp,
) -> Record {
    let mut record = Record::new(event, now);
    record.trip = Some(trip);
    record.crossing = Some(crossing);
    record.person = Some(person.clone());
    record.medium = Some(medium.clone());
    record.digest = digest;
    record
}

fn file_digest(station: &Station, path: &Path) -> Result<Digest, StationError> {
    // In the desk somebody may have put a link or a pipe where a file was listed a moment ago.
    let mut file = open_plain(path).map_err(io_at(path))?;
    digest_of(station, &mut file).map_err(io_at(path))
}

fn digest_of(station: &Station, content: &mut impl std::io::Read) -> std::io::Result<Digest> {
    root_of_reader(station.suite, content).map(|(_, digest)| digest)
}

/// The people who have validly countersigned a waybill: approvers, each once, neither exporter nor carrier.
fn approvers(
    station: &Station,
    place: &Path,
    waybill: &Waybill,
    digest: &Digest,
) -> Result<BTreeSet<Name>, StationError> {
    let folder = place.join("approvals");
    let mut people = BTreeSet::new();
    let Ok(entries) = std::fs::read_dir(&folder) else { return Ok(people) };
    // Other files count for nothing, so none of them takes the place of one.
    for entry in entries.filter(|entry| entry.as_ref().map_or(true, is_approval)).take(APPROVALS_MAX) {
        let path = entry.map_err(io_at(&folder))?.path();
        let Ok(bytes) = read_small(&path, APPROVAL_BYTES_MAX) else { continue };
        let Ok(signed) = Signed::parse::<Approval>(&bytes) else { continue };
        let Ok((approval, card)) = station.trust.verify::<Approval>(&signed) else { continue };
        let fits = card.role == Role::Approver
            && last_day::may_approve(station, card, approval.at, waybill)
            && card.holder == approval.person
            && approval.waybill == *digest
            && approval.trip == waybill.trip
            && approval.person != waybill.exporter
            && approval.person != waybill.carrier;
        if fits {
            people.insert(approval.person);
        }
    }
    Ok(people)
}

fn is_approval(entry: &std::fs::DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy().into_owned();
    name.ends_with(".approval") && !name.starts_with('.')
}

fn read_waybill(station: &Station, place: &Path) -> Option<(Waybill, Digest)> {
    let bytes = read_small(&place.join(WAYBILL), Waybill::BYTES_MAX as u64).ok()?;
    let signed = Signed::parse::<Waybill>(&bytes).ok()?;
    let claimed: Waybill = signed.read_unverified().ok()?;
    let waybill = station.trust.verify_from_node::<Waybill>(&signed, &claimed.source).ok()?;
    Some((waybill, signed.digest()))
}

/// A trip that was laid into `desk/incoming`, in a folder that its people may exchange at any moment for a link to one of
/// ours: what was read is dealt with in the folder it was read in.
struct Brought {
    waybill: Waybill,
    digest: Digest,
    place: PathBuf,
    /// Open as long as `place` leads to it.
    _folder: OwnedFd,
}

impl Brought {
    fn open(station: &Station, place: &Path) -> Option<Brought> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = rustix::fs::open(place, flags, Mode::empty()).ok()?;
        let place = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string());
        let (waybill, digest) = read_waybill(station, &place)?;
        Some(Brought { waybill, digest, place, _folder: folder })
    }
}

/// How many people must have agreed: what this node is set to, or what the paper says where that is more. Never what a
/// note in the desk says, which the desk's group can write.
fn needed(station: &Station, waybill: &Waybill) -> usize {
    usize::from(station.ferry.approvals.max(waybill.approvals))
}

/// A trip of this node's own, with its waybill.
struct Mine {
    trip: Trip,
    waybill: Waybill,
    digest: Digest,
    place: PathBuf,
}

fn mine(station: &Station, number: u64) -> Result<Option<Mine>, StationError> {
    let Some((crossing, _)) = outward(station) else { return Ok(None) };
    let Some(known) = station.spool.trip(crossing, Way::Out, number)? else { return Ok(None) };
    let Some((paper, digest)) = paper(station, &known.record).zip(known.record.digest) else { return Ok(None) };
    let trip = on_record(station, &known, Some(&paper));
    Ok(Some(Mine { trip, waybill: paper.waybill, digest, place: place_of(station, &known) }))
}

/// It is staged again with another waybill, so its medium must not be carried.
fn expired() -> Refusal {
    Refusal::new(
        "trip-expired",
        "the trip was not confirmed in time and has expired; the next export stages it again under its number",
        "该批次未在期限内确认，已失效；下一次导出将以原编号重新暂存",
    )
}

/// Counts the countersignatures that lie at the desk.
pub fn approve(
    station: &Station,
    number: u64,
    person: &Name,
    now: Timestamp,
) -> Result<Result<Trip, Refusal>, StationError> {
    let _turn = station.trips.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(Mine { mut trip, waybill, digest, place }) = mine(station, number)? else {
        return Ok(Err(Refusal::new("no-such-trip", "no trip of that number is staged here", "没有该编号的在办批次")));
    };
    if trip.state == TripState::Expired {
        return Ok(Err(expired()));
    }
    let people = approvers(station, &place, &waybill, &digest)?;
    if !people.contains(person) {
        return Ok(Err(Refusal::new(
            "approval-invalid",
            "the approval is not valid: it must be signed by an approver who is neither exporter nor carrier",
            "会签无效：须由导出人、承运人以外的审批人签署",
        )));
    }
    trip.approvals = people.iter().map(Name::to_string).collect();
    if people.len() >= needed(station, &waybill) && trip.state == TripState::Staged {
        trip.state = TripState::Approved;
    }
    let (crossing, medium) = (waybill.crossing, &waybill.medium);
    let approved = trip_record(Event::TripApproved, number, crossing, person, medium, Some(digest), now);
    station.spool.record(approved, Local::none())?;
    save(station, &place, &trip)?;
    Ok(Ok(trip))
}

/// One volume of several that was read back, in the words of the person who did.
pub struct VolumeRead<'a> {
    /// Which, from 1.
    pub number: u8,
    /// Of how many.
    pub count: u8,
    /// What of the trip it holds.
    pub holds: Holds,
    /// The signed request that says so.
    pub request: &'a [u8],
}

/// What a volume holds: from which byte to which, of all files of the waybill one behind another. A trip that was written
/// twice may have been cut twice, and only volumes of one cutting are a trip together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holds {
    /// The first byte.
    pub from: u64,
    /// The one behind the last.
    pub through: u64,
}

impl Holds {
    /// As a request says it.
    #[must_use]
    pub fn said(request: &Request) -> Option<Holds> {
        let number = |what| request.argument(what)?.parse::<u64>().ok();
        let (from, through) = number("from").zip(number("through"))?;
        (from <= through).then_some(Holds { from, through })
    }
}

/// The operator has read everything back from the written medium, or from one volume of it. Gives the volumes that nobody
/// has read back yet: the trip is confirmed when there are none.
pub fn confirm(
    station: &Station,
    number: u64,
    medium: &Name,
    volume: Option<&VolumeRead<'_>>,
    person: &Name,
    now: Timestamp,
) -> Result<Result<(Trip, Vec<u8>), Refusal>, StationError> {
    if let Some(refusal) = disposal::refusal(station, medium) {
        return Ok(Err(refusal));
    }
    let _turn = station.trips.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(Mine { mut trip, waybill, digest, place }) = mine(station, number)? else {
        return Ok(Err(Refusal::new("no-such-trip", "no trip of that number is staged here", "没有该编号的在办批次")));
    };
    if trip.state == TripState::Expired {
        return Ok(Err(expired()));
    }
    if waybill.medium != *medium {
        return Ok(Err(Refusal::new(
            "medium-other",
            "the trip was staged for another medium",
            "该批次登记的是另一介质",
        )));
    }
    let people = approvers(station, &place, &waybill, &digest)?;
    if people.len() < needed(station, &waybill) {
        return Ok(Err(Refusal::new(
            "approvals-missing",
            "not enough people have countersigned; use ferry approve",
            "会签人数不足，请使用 ferry approve",
        )));
    }
    trip.approvals = people.iter().map(Name::to_string).collect();
    let missing = match volume.filter(|volume| volume.count > 1) {
        Some(volume) => match read_back(station, Timestamp(trip.at_ms), &waybill, &digest, volume)? {
            Ok(missing) => missing,
            Err(refusal) => return Ok(Err(refusal)),
        },
        None => Vec::new(),
    };
    if missing.is_empty() && matches!(trip.state, TripState::Staged | TripState::Approved) {
        trip.state = TripState::Confirmed;
        let confirmed = trip_record(Event::TripConfirmed, number, waybill.crossing, person, medium, Some(digest), now);
        station.spool.record(confirmed, Local::none())?;
        save(station, &place, &trip)?;
    }
    Ok(Ok((trip, missing)))
}

fn volume_name(waybill: &Digest, number: u8, count: u8) -> String {
    format!("{waybill}.volume-{number}-of-{count}.confirmed")
}

fn any_volume_read_back(station: &Station, staged: Timestamp, waybill: &Digest) -> bool {
    let day = station.spool.evidence_path(staged, &evidence_name(waybill));
    let kept = day.parent().and_then(|day| std::fs::read_dir(day).ok());
    let start = format!("{waybill}.volume-");
    kept.into_iter().flatten().flatten().any(|entry| entry.file_name().as_encoded_bytes().starts_with(start.as_bytes()))
}

/// Keeps what a person says of one volume among the evidence, beside the waybill, where only the daemon writes. Gives the
/// volumes of which nothing is kept yet, or only of another cutting: what is read back last counts. A trip that is staged
/// again has another waybill, and begins anew.
fn read_back(
    station: &Station,
    staged: Timestamp,
    waybill: &Waybill,
    digest: &Digest,
    volume: &VolumeRead<'_>,
) -> Result<Result<Vec<u8>, Refusal>, StationError> {
    let total = waybill.lines.iter().map(|line| line.size).fold(0, u64::saturating_add);
    let (first, last) = (volume.number == 1, volume.number == volume.count);
    let fits = (volume.holds.from == 0) == first && (volume.holds.through == total) == last;
    if !fits || volume.holds.through > total {
        return Ok(Err(Refusal::new(
            "volume-other",
            "what the volume holds is no such part of the trip",
            "该卷所含内容与其卷号不符",
        )));
    }
    let name = |number: u8| volume_name(digest, number, volume.count);
    let kept = Kept { at: staged, name: name(volume.number), bytes: volume.request.to_vec() };
    station.spool.keep_evidence(&[kept])?;
    let read = |number: u8| {
        let bytes = read_small(&station.spool.evidence_path(staged, &name(number)), REQUEST_BYTES_MAX).ok()?;
        let said: Request = Signed::parse::<Request>(&bytes).ok()?.read_unverified().ok()?;
        Holds::said(&said)
    };
    let all: Vec<Option<Holds>> = (1..=volume.count).map(read).collect();
    Ok(Ok(other_volumes(&all, volume.number)))
}

/// The volumes that are missing beside the one that was read back last, or are of another cutting: all of one cutting meet
/// end to end.
fn other_volumes(all: &[Option<Holds>], number: u8) -> Vec<u8> {
    let (below, rest) = all.split_at_checked(usize::from(number).saturating_sub(1)).unwrap_or((all, &[]));
    let Some((Some(mine), above)) = rest.split_first() else { return (1..=u8::MAX).take(all.len()).collect() };
    let mut other = Vec::new();
    // Behind one that is missing only the order is known.
    let mut walk = |volumes: &mut dyn Iterator<Item = (u8, &Option<Holds>)>, start: u64, down: bool| {
        let (mut edge, mut joined) = (start, true);
        for (volume, holds) in volumes {
            let (near, far) = match holds {
                Some(holds) if down => (holds.through, Some(holds.from)),
                Some(holds) => (holds.from, Some(holds.through)),
                None => (edge, None),
            };
            let meets = if joined {
                near == edge
            } else if down {
                near <= edge
            } else {
                near >= edge
            };
            match far.filter(|_| meets) {
                Some(far) => (edge, joined) = (far, true),
                None => {
                    joined = false;
                    other.push(volume);
                }
            }
        }
    };
    walk(&mut (1..number).zip(below).rev(), mine.from, true);
    walk(&mut (number.saturating_add(1)..=u8::MAX).zip(above), mine.through, false);
    other.sort_unstable();
    other
}

/// How a trip that was taken in stands to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The next one.
    InTurn,
    /// One or more before it never came.
    Skips,
    /// It fills a hole: later ones came before it.
    Late,
}

/// Takes a trip that `ferry` has laid into `desk/incoming`. One that is turned away is on record, with its medium where
/// the waybill could be believed. `asked` is when the person asked.
pub fn import(
    station: &Station,
    crossing: Crossing,
    number: u64,
    person: &Name,
    asked: Timestamp,
    now: Timestamp,
) -> Result<Result<(Trip, Order), Refusal>, StationError> {
    let _turn = station.trips.lock().unwrap_or_else(PoisonError::into_inner);
    let paper = Brought::open(station, &place(station, crossing, Way::In, number));
    let taken = take(station, crossing, number, paper.as_ref(), person, asked, now)?;
    // Where a file of a known waybill is missing it is not turned away: ferry brings it again.
    if let Err(refusal) = &taken
        && (refusal.code != FILE_MISSING || paper.is_none())
    {
        let mut refused = Record::new(Event::TripRefused, now);
        (refused.trip, refused.crossing, refused.person) = (Some(number), Some(crossing), Some(person.clone()));
        refused.medium = paper.as_ref().map(|paper| paper.waybill.medium.clone());
        refused.digest = paper.map(|paper| paper.digest);
        station.spool.record(refused, Local::none())?;
    }
    Ok(taken)
}

fn is_missing() -> Refusal {
    Refusal::new(
        FILE_MISSING,
        "a file of the waybill is not in the desk; run ferry import again with the medium",
        "运单所列文件不在办理台，请放入介质后重新执行 ferry import",
    )
}

fn take(
    station: &Station,
    crossing: Crossing,
    number: u64,
    paper: Option<&Brought>,
    person: &Name,
    asked: Timestamp,
    now: Timestamp,
) -> Result<Result<(Trip, Order), Refusal>, StationError> {
    let Some(Brought { waybill, digest, place, .. }) = paper else {
        let laid = self::place(station, crossing, Way::In, number).join(WAYBILL);
        let is_gone = std::fs::symlink_metadata(laid).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
        return Ok(Err(match is_gone {
            // A process before this one found that something is missing, and died before it said so.
            true => is_missing(),
            false => {
                let words = "the waybill does not verify against the trust folder";
                Refusal::new("not-authentic", words, "运单未通过验证")
            }
        }));
    };
    if waybill.trip != number
        || waybill.crossing != crossing
        || waybill.target != station.node
        || !station.peers_sending(crossing).any(|peer| peer.name == waybill.source)
    {
        station.alarms.raise(now, Alarm::TripOrder);
        return Ok(Err(Refusal::new("foreign-trip", "the trip is not for this node", "该批次不是发往本节点的")));
    }
    if let Some(known) = station.spool.trip(crossing, Way::In, number)? {
        let trip = on_record(station, &known, self::paper(station, &known.record).as_ref());
        // Its note is gone, or was never written; what ferry laid down meanwhile is nobody's.
        drop_files(station, place, &trip)?;
        save(station, place, &trip)?;
        // We died before we could answer: whoever asked before it was on record asked for this very import.
        let same = known.record.digest == Some(*digest) && known.record.person.as_ref() == Some(person);
        if same && asked <= known.record.at {
            return Ok(Ok((trip, Order::InTurn)));
        }
        station.alarms.raise(now, Alarm::TripOrder);
        return Ok(Err(Refusal::new(
            "trip-repeated",
            "this trip was imported before; nothing was taken twice",
            "该批次已导入过，未重复接收",
        )));
    }
    // What came from it before it was destroyed stays taken.
    if let Err(refusal) = check_medium(station, &waybill.medium, Direction::In) {
        return Ok(Err(refusal));
    }
    let last = station.spool.trips(crossing, Way::In, 1)?.first().map_or(0, |last| last.trip);
    let order = match number {
        _ if number <= last => Order::Late,
        _ if number == last.saturating_add(1) => Order::InTurn,
        _ => Order::Skips,
    };
    if order == Order::Skips {
        station.alarms.raise(now, Alarm::TripOrder);
        if station.ferry.strict_order {
            return Ok(Err(trip_skipped(last, number)));
        }
    }
    let people = approvers(station, place, waybill, digest)?;
    if people.len() < needed(station, waybill) {
        return Ok(Err(Refusal::new(
            "approvals-missing",
            "the trip carries too few valid countersignatures",
            "运单会签不足",
        )));
    }
    for lines in waybill.lines.chunks(TAKEN_AT_ONCE) {
        if let Err(refusal) = take_lines(station, crossing, place, lines)? {
            return Ok(Err(refusal));
        }
    }
    witness::take(station, &waybill.source, &waybill.stated, now)?;
    let imported = trip_record(Event::TripImported, number, crossing, person, &waybill.medium, Some(*digest), now);
    station.spool.record(imported.clone(), Local::none())?;
    let known = TripOnRecord { trip: number, crossing, stage: TripStage::Imported, record: imported };
    let mut trip = of_waybill(station, waybill, &known);
    (trip.state, trip.approvals) = (TripState::Imported, people.iter().map(Name::to_string).collect());
    save(station, place, &trip)?;
    if skips_none(station, crossing)? {
        station.alarms.clear(now, Alarm::TripOrder);
    }
    station.spool.bell().ring();
    Ok(Ok((trip, order)))
}

/// Does no number below the last one that came lack its trip?
fn skips_none(station: &Station, crossing: Crossing) -> Result<bool, StationError> {
    let came = station.spool.trips(crossing, Way::In, TRIPS_MAX)?;
    let pairs = came.iter().zip(came.iter().skip(1));
    let in_a_row = |(later, earlier): (&TripOnRecord, &TripOnRecord)| later.trip == earlier.trip.saturating_add(1);
    // Years of trips are more than are looked at; the first that was ever taken is number 1.
    let from_the_first = came.len() >= TRIPS_MAX || came.last().is_none_or(|first| first.trip == 1);
    Ok(from_the_first && pairs.into_iter().all(in_a_row))
}

fn trip_skipped(last: u64, number: u64) -> Refusal {
    let missing = range_words(&Range { from: last.saturating_add(1), to: number.saturating_sub(1) });
    Refusal::new(
        "trip-skipped",
        &format!("trip {missing} was never imported here and comes before trip {number}"),
        &format!("批次 {missing} 尚未导入，须先于批次 {number}"),
    )
    .with_remedy(
        "import the trip before it first; if its medium is lost, or it expired, the sender runs `ferry reexport --trip N`, \
         which writes it again, empty where nothing of it is left",
        "请先导入前一批次；若介质遗失或该批次已失效，请发送方执行 ferry reexport --trip N 重写（其内容已无剩余时为空批次）",
    )
}

/// Takes the files of some lines in, each of which is what its line says.
fn take_lines(
    station: &Station,
    crossing: Crossing,
    place: &Path,
    lines: &[WaybillLine],
) -> Result<Result<(), Refusal>, StationError> {
    let arrivals = station.spool.arrivals(crossing);
    let mut incoming = Vec::new();
    for line in lines {
        let path = place.join(line_file_name(line));
        let kind = match line.kind {
            LineKind::Bundle => EntryKind::Bundle,
            LineKind::Receipts => EntryKind::Receipts,
        };
        let Ok(meta) = std::fs::symlink_metadata(&path) else {
            // Taken before we died: then the arrivals know its id, or it was put aside since.
            let aside = station.layout().quarantine().join(line_file_name(line));
            if arrivals.have(&line.id, kind)? || aside.exists() {
                continue;
            }
            // Without its waybill the trip counts as not laid, and ferry copies all of it again.
            let paper = place.join(WAYBILL);
            station.spool.disk().remove_file(&paper).map_err(io_at(&paper))?;
            return Ok(Err(is_missing()));
        };
        incoming.push((meta.is_file() && meta.len() == line.size, line.digest, Incoming { id: line.id, kind, path }));
    }
    let same = in_parallel(DIGESTS_AT_ONCE, &incoming, |(fits, digest, file)| {
        Ok::<_, StationError>(*fits && file_digest(station, &file.path)? == *digest)
    });
    let same = same.into_iter().collect::<Result<Vec<bool>, _>>()?;
    if same.contains(&false) {
        return Ok(Err(Refusal::new(
            "not-authentic",
            "a file differs from the waybill; nothing more was taken",
            "文件与运单不符",
        )));
    }
    let files: Vec<Incoming> = incoming.into_iter().map(|(.., file)| file).collect();
    arrivals.take_files(&files)?;
    Ok(Ok(()))
}

/// Settles trips whose bundles are all receipted, dissolves those nobody confirmed, and lays papers that are gone from the
/// desk again.
pub fn step(station: &Station, now: Timestamp) -> Result<usize, StationError> {
    let Some((crossing, _)) = outward(station) else { return Ok(0) };
    // Somebody stages or imports at this moment: the next look is soon enough.
    let _turn = match station.trips.try_lock() {
        Ok(turn) => turn,
        Err(TryLockError::Poisoned(turn)) => turn.into_inner(),
        Err(TryLockError::WouldBlock) => return Ok(0),
    };
    let (mut changed, mut failed) = (0, None);
    for known in station.spool.trips(crossing, Way::Out, TRIPS_MAX)? {
        if !known.stage.is_over() {
            match look(station, &known, now) {
                Ok(looked) => changed += usize::from(looked),
                // One whose folder was spoiled keeps no other from its end.
                Err(error) => failed = failed.or(Some(error)),
            }
        }
    }
    failed.map_or(Ok(changed), Err)
}

/// Looks at one open trip. Did anything change?
fn look(station: &Station, known: &TripOnRecord, now: Timestamp) -> Result<bool, StationError> {
    let (place, crossing) = (place_of(station, known), known.crossing);
    let paper = paper(station, &known.record);
    let mut trip = on_record(station, known, paper.as_ref());
    let before = trip.settled;
    let ids: Vec<BundleId> = trip.ids.iter().filter_map(|id| BundleId::from_hex(id)).collect();
    trip.settled = 0;
    for id in &ids {
        trip.settled += u64::from(passed(station, id)?);
    }
    // Papers alone are confirmed by the far side's gap report, which takes them out of the outbox.
    let outbox = station.spool.outbox(crossing);
    let papers_gone = || ids.iter().all(|id| outbox.find(id).is_ok_and(|entry| entry.is_none()));
    // An empty waybill holds a number and nothing else: it is carried, and there is nothing to wait for.
    let all = match (trip.bundles, ids.is_empty()) {
        (0, true) => paper.is_some(),
        (0, false) => papers_gone(),
        (bundles, _) => bundles == trip.settled,
    };
    // Staged again while its first medium arrived after all: nothing of it is to be carried any more.
    let done = all && (trip.state == TripState::Confirmed || has_arrived(station, known)?);
    let age = now.since(Timestamp(trip.at_ms));
    let old = station.clock.may_end_things() && age > u64::from(station.ferry.trip_hours) * 3_600_000;
    let event = if done {
        trip.state = TripState::Settled;
        Some(Event::TripSettled)
    } else if old && trip.state != TripState::Confirmed {
        trip.state = TripState::Expired;
        Some(Event::TripExpired)
    } else {
        None
    };
    let Some(event) = event else {
        let mended = mend(station, &place, &trip, paper.as_ref())?;
        if before != trip.settled {
            save(station, &place, &trip)?;
        }
        return Ok(mended || before != trip.settled);
    };
    // Before the state that nobody looks at again, and so that no cut of power brings them back after it.
    remove_receipts_of(station, crossing, &trip, done)?;
    let ours = is_ours(&place);
    if ours {
        drop_files(station, &place, &trip)?;
        station.spool.disk().sync_dir(&place).map_err(io_at(&place))?;
    }
    let mut over = Record::new(event, now);
    (over.trip, over.crossing, over.person) = (Some(trip.trip), Some(crossing), Some(station.node.clone()));
    over.medium = Name::new(&trip.medium).ok();
    over.digest = known.record.digest;
    station.spool.record(over, Local::none())?;
    if ours {
        save(station, &place, &trip)?;
    }
    Ok(true)
}

/// Is it a folder that this account made, and no link to one?
fn is_ours(place: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let own = rustix::process::geteuid().as_raw();
    std::fs::symlink_metadata(place).is_ok_and(|about| about.is_dir() && about.uid() == own)
}

/// Has the other side receipted this very bundle, and not another of its parcel?
fn arrived(station: &Station, id: &BundleId) -> Result<bool, StationError> {
    let Some(parcel) = station.spool.parcel_of_bundle(id)? else { return Ok(false) };
    let state = station.spool.parcel(&parcel)?;
    Ok(state.is_some_and(|state| state.custody_passed && state.sent.is_some_and(|sent| sent.bundle == *id)))
}

/// Is the bundle not ours to carry any more?
fn passed(station: &Station, id: &BundleId) -> Result<bool, StationError> {
    let Some(parcel) = station.spool.parcel_of_bundle(id)? else { return Ok(false) };
    let state = station.spool.parcel(&parcel)?;
    Ok(state.is_some_and(|state| state.custody_passed || state.sent.is_none_or(|sent| sent.bundle != *id)))
}

/// Lays down again what the desk has lost of an open trip's papers: we died before they stood there, or somebody took
/// or changed them.
fn mend(station: &Station, place: &Path, trip: &Trip, paper: Option<&Paper>) -> Result<bool, StationError> {
    let Some(paper) = paper else { return Ok(false) };
    let disk = station.spool.disk();
    let waybill = place.join(WAYBILL);
    let stands = read_small(&waybill, Waybill::BYTES_MAX as u64).is_ok_and(|bytes| bytes == paper.bytes);
    let noted = load(place).is_some_and(|note| note.trip == trip.trip && note.waybill == trip.waybill);
    if stands && noted {
        return Ok(false);
    }
    open_place(station, place)?;
    if !stands {
        disk.remove_tree(&waybill).map_err(io_at(&waybill))?;
        disk.write(&waybill, &paper.bytes).map_err(io_at(&waybill))?;
    }
    let exceptions = if noted { trip.exceptions } else { exceptions(station, &paper.waybill)? };
    save(station, place, &Trip { exceptions, ..trip.clone() })?;
    Ok(true)
}

/// Findings let pass in what a waybill names.
fn exceptions(station: &Station, waybill: &Waybill) -> Result<u64, StationError> {
    let bundles = waybill.lines.iter().filter(|line| line.kind == LineKind::Bundle);
    budget::exceptions(station, bundles.map(|line| &line.id))
}

/// The receipt batches of a settled trip arrived with it.
fn remove_receipts_of(station: &Station, crossing: Crossing, trip: &Trip, settled: bool) -> Result<(), StationError> {
    if !settled {
        return Ok(());
    }
    let outbox = station.spool.outbox(crossing);
    for entry in outbox.entries()? {
        if entry.kind == EntryKind::Receipts && trip.ids.contains(&entry.id.to_string()) {
            outbox.remove(&entry)?;
        }
    }
    Ok(())
}

/// Bundles leave a trip's folder when it is over; its papers stay.
fn drop_files(station: &Station, place: &Path, trip: &Trip) -> Result<(), StationError> {
    for id in &trip.ids {
        for suffix in ["bundle", "receipts"] {
            let path = place.join(format!("{id}.{suffix}"));
            station.spool.disk().remove_file(&path).map_err(io_at(&path))?;
        }
    }
    Ok(())
}

/// Numbers as people write them: `4-7`.
#[must_use]
pub fn range_words(range: &Range) -> String {
    if range.from == range.to { range.from.to_string() } else { format!("{}-{}", range.from, range.to) }
}
