//! Ferry trips, as the node sees them: staged for the next medium, countersigned, confirmed, settled; and those that
//! come in. `ferry` carries the files between the desk and a medium; only the daemon stages, admits and records.
//!
//! Why it may die anywhere: a trip is a folder under `desk/trips`, whose `trip.json` is written last and replaced whole;
//! the entries it names stay in the outbox until their receipts come, so a trip that is lost is staged again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use protocol::ledger::{Event, Local, Record};
use protocol::parcel::VERSION;
use protocol::receipt::Range;
use protocol::tree::root_of_reader;
use protocol::trust::Role;
use protocol::waybill::{Approval, LineKind, WAYBILL_LINES_MAX, Waybill, WaybillLine, line_file_name};
use protocol::{BundleId, Crossing, Digest, Name, Signed, Statement, Timestamp};
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use spool::EntryKind;

use crate::alarm::Alarm;
use crate::config::{Carrier, Direction};
use crate::desk::{Refusal, read_small};
use crate::receipts;
use crate::station::{Station, StationError};
use crate::witness;

/// Trips kept in the list: years of daily trips.
const TRIPS_MAX: usize = 10_000;
/// Approvals read from one trip's folder.
const APPROVALS_MAX: usize = 16;
/// A trip of as many lines as a waybill can have, each an id of 32 digits.
const TRIP_BYTES_MAX: u64 = 8 << 20;
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
}

fn folder(station: &Station, trip: u64) -> PathBuf {
    station.layout().desk_trips().join(trip.to_string())
}

fn incoming_folder(station: &Station, crossing: Crossing, trip: u64) -> PathBuf {
    station.layout().desk_incoming().join(format!("{crossing}-{trip}"))
}

fn io_at(path: &Path) -> impl FnOnce(std::io::Error) -> StationError + '_ {
    |cause| StationError::Io { path: path.to_owned(), cause }
}

fn save(station: &Station, place: &Path, trip: &Trip) -> Result<(), StationError> {
    let path = place.join("trip.json");
    let text = serde_json::to_vec_pretty(trip).map_err(|e| StationError::Io { path: path.clone(), cause: e.into() })?;
    station.spool.disk().write(&path, &text).map_err(io_at(&path))
}

fn load(place: &Path) -> Option<Trip> {
    serde_json::from_slice(&read_small(&place.join("trip.json"), TRIP_BYTES_MAX).ok()?).ok()
}

/// Every trip known here, newest first.
pub fn list(station: &Station) -> Result<Vec<Trip>, StationError> {
    let mut trips = Vec::new();
    for folder in [station.layout().desk_trips(), station.layout().desk_incoming()] {
        for entry in std::fs::read_dir(&folder).map_err(io_at(&folder))? {
            let path = entry.map_err(io_at(&folder))?.path();
            trips.extend(load(&path));
            if trips.len() > TRIPS_MAX {
                break;
            }
        }
    }
    trips.sort_by_key(|trip| std::cmp::Reverse((trip.at_ms, trip.trip)));
    Ok(trips)
}

/// The peer and crossing that this node's ferry serves, outward.
#[must_use]
pub fn outward(station: &Station) -> Option<(Crossing, Name)> {
    let peer = station.peers.iter().find(|peer| peer.send == Carrier::Ferry)?;
    Some((Crossing::between(station.zone, peer.zone)?, peer.name.clone()))
}

/// Stages everything that waits for the ferry.
pub fn stage(
    station: &Station,
    medium: &Name,
    carrier: &Name,
    exporter: &Name,
    again: Option<u64>,
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
    let known = list(station)?;
    let mine: Vec<&Trip> = known.iter().filter(|trip| trip.direction == "out").collect();
    if let Some(number) = again {
        match mine.iter().find(|trip| trip.trip == number) {
            None => {
                return Ok(Err(Refusal::new(
                    "no-such-trip",
                    "no trip of that number was staged here",
                    "没有该编号的批次",
                )));
            }
            Some(trip) if trip.state == TripState::Settled => {
                return Ok(Err(Refusal::new(
                    "trip-settled",
                    "every bundle of that trip is receipted; nothing is to be carried again",
                    "该批次已全部回执，无需再次摆渡",
                )));
            }
            Some(_) => {}
        }
    }
    let earlier: Option<BTreeSet<String>> =
        mine.iter().find(|trip| Some(trip.trip) == again).map(|trip| trip.ids.iter().cloned().collect());
    let waits = !station.spool.outbox(crossing).entries()?.is_empty();
    let misses = !station.spool.gaps(&target, crossing.back()).is_empty();
    if earlier.is_none() && (waits || misses || receipts::waits(station, crossing, &target)?) {
        // Papers for home ride along: receipts, and what is missing on the one-way crossing that leads here.
        receipts::batch(station, crossing, &target, true, now)?;
    }
    let open =
        |trip: &&&Trip| !matches!(trip.state, TripState::Settled | TripState::Expired) && Some(trip.trip) != again;
    let travelling: BTreeSet<&String> = mine.iter().filter(open).flat_map(|trip| trip.ids.iter()).collect();
    // After a restore the operator has said which numbers the lost disk may have used.
    let used = station.spool.restored().map_or(0, |restored| restored.trip);
    let number = again.unwrap_or_else(|| mine.iter().map(|trip| trip.trip).max().unwrap_or(0).max(used) + 1);
    let place = folder(station, number);
    let disk = station.spool.disk();
    clear(station, &place)?;
    disk.create_dir_all(&place.join("approvals")).map_err(io_at(&place))?;
    open_to_group(&place.join("approvals")).map_err(io_at(&place))?;
    open_to_group(&place).map_err(io_at(&place))?;

    let mut lines = Vec::new();
    let outbox = station.spool.outbox(crossing);
    for entry in outbox.entries()? {
        let id = entry.id.to_string();
        // Nothing new under an old number: where the first medium did arrive, the number is turned away as repeated, and
        // whatever was new would wait for ever.
        let new = earlier.as_ref().is_some_and(|earlier| !earlier.contains(&id));
        if new || travelling.contains(&id) || lines.len() >= WAYBILL_LINES_MAX {
            continue;
        }
        let kind = match entry.kind {
            EntryKind::Bundle => LineKind::Bundle,
            EntryKind::Receipts => LineKind::Receipts,
        };
        let digest =
            digest_of(station, &mut outbox.content(&entry).map_err(io_at(&entry.path))?).map_err(io_at(&entry.path))?;
        let line =
            WaybillLine { kind, id: entry.id, size: entry.size, digest, epoch: entry.epoch, sequence: entry.sequence };
        let copy = place.join(line_file_name(&line));
        // A copy, not a link: the desk's group may read it, and whoever writes to it leaves the outbox's own untouched.
        disk.copy_from(&mut outbox.content(&entry).map_err(io_at(&entry.path))?, &copy).map_err(io_at(&copy))?;
        lines.push(line);
    }
    if lines.is_empty() {
        // A number that was given out once is not forgotten.
        if again.is_none() {
            disk.remove_tree(&place).map_err(io_at(&place))?;
        }
        return Ok(Err(Refusal {
            done: true,
            ..Refusal::new("nothing-waiting", "nothing waits for the ferry", "没有待摆渡的内容")
        }));
    }
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
    let signed = Signed::make(&station.keyring.signing, &waybill);
    // Before the waybill can be taken away: a head that leaves is on record.
    let mut staged = trip_record(Event::TripStaged, number, crossing, exporter, Some(signed.digest()), now);
    (staged.peer, staged.head) = (Some(target), Some(head));
    station.spool.record(staged, Local::none())?;
    let path = place.join("waybill");
    disk.write(&path, &signed.to_bytes()).map_err(io_at(&path))?;
    let bundles: Vec<&WaybillLine> = waybill.lines.iter().filter(|line| line.kind == LineKind::Bundle).collect();
    let trip = Trip {
        trip: number,
        crossing: crossing.to_string(),
        direction: "out".to_owned(),
        state: TripState::Staged,
        medium: medium.to_string(),
        carrier: carrier.to_string(),
        exporter: exporter.to_string(),
        files: waybill.lines.len() as u64,
        bytes: waybill.lines.iter().map(|line| line.size).sum(),
        approvals: Vec::new(),
        needed: station.ferry.approvals,
        settled: 0,
        bundles: bundles.len() as u64,
        waybill: signed.digest().to_string(),
        at_ms: now.0,
        ids: waybill.lines.iter().map(|line| line.id.to_string()).collect(),
    };
    save(station, &place, &trip)?;
    Ok(Ok(trip))
}

/// Empties a trip's folder, but for what says that there is such a trip: a number that was given out once and then
/// forgotten would be missing at the other side for ever.
fn clear(station: &Station, place: &Path) -> Result<(), StationError> {
    let Ok(entries) = std::fs::read_dir(place) else { return Ok(()) };
    for entry in entries {
        let path = entry.map_err(io_at(place))?.path();
        if path.file_name().is_none_or(|name| name != "trip.json") {
            station.spool.disk().remove_tree(&path).map_err(io_at(&path))?;
        }
    }
    Ok(())
}

/// `ferry` runs as a person in the desk's group and puts approvals here.
fn open_to_group(place: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(place, std::fs::Permissions::from_mode(0o2770))
}

fn check_medium(station: &Station, medium: &Name, wanted: Direction) -> Result<(), Refusal> {
    match station.medium_direction(medium) {
        None => Err(Refusal::new(
            "medium-unknown",
            "the medium is not in the register ([[ferry.medium]])",
            "介质未登记（见配置 [[ferry.medium]]）",
        )),
        Some(found) if found != wanted => Err(Refusal::new(
            "medium-direction",
            "the medium is registered for the other direction",
            "介质登记的方向与本次摆渡相反",
        )),
        Some(_) => Ok(()),
    }
}

fn record(
    station: &Station,
    event: Event,
    trip: u64,
    crossing: Crossing,
    person: &Name,
    digest: Option<Digest>,
    now: Timestamp,
) -> Result<(), StationError> {
    station.spool.record(trip_record(event, trip, crossing, person, digest, now), Local::none())?;
    Ok(())
}

fn trip_record(
    event: Event,
    trip: u64,
    crossing: Crossing,
    person: &Name,
    digest: Option<Digest>,
    now: Timestamp,
) -> Record {
    let mut record = Record::new(event, now);
    record.trip = Some(trip);
    record.crossing = Some(crossing);
    record.person = Some(person.clone());
    record.digest = digest;
    record
}

fn file_digest(station: &Station, path: &Path) -> Result<Digest, StationError> {
    // In the desk somebody may have put a link or a pipe where a file was listed a moment ago.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| io_at(path)(error.into()))?;
    let mut file = std::fs::File::from(opened);
    if !file.metadata().map_err(io_at(path))?.is_file() {
        return Err(io_at(path)(std::io::ErrorKind::InvalidInput.into()));
    }
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
    for entry in entries.take(APPROVALS_MAX) {
        let path = entry.map_err(io_at(&folder))?.path();
        let Ok(bytes) = read_small(&path, APPROVAL_BYTES_MAX) else { continue };
        let Ok(signed) = Signed::parse::<Approval>(&bytes) else { continue };
        let Ok((approval, card)) = station.trust.verify::<Approval>(&signed) else { continue };
        let fits = card.role == Role::Approver
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

/// The waybill that this node signed for a trip of its own. What lies beside it in the desk is only a note.
fn own_waybill(station: &Station, place: &Path, number: u64) -> Result<Option<(Waybill, Digest)>, StationError> {
    let read = read_waybill(station, place)?;
    Ok(read.filter(|(waybill, _)| waybill.source == station.node && waybill.trip == number))
}

fn read_waybill(station: &Station, place: &Path) -> Result<Option<(Waybill, Digest)>, StationError> {
    let Ok(bytes) = read_small(&place.join("waybill"), Waybill::BYTES_MAX as u64) else { return Ok(None) };
    let read = || -> Option<(Waybill, Digest)> {
        let signed = Signed::parse::<Waybill>(&bytes).ok()?;
        let claimed: Waybill = signed.read_unverified().ok()?;
        let waybill = station.trust.verify_from_node::<Waybill>(&signed, &claimed.source).ok()?;
        Some((waybill, signed.digest()))
    };
    Ok(read())
}

/// How many people must have agreed: what this node is set to, or what the paper says where that is more. Never what a
/// note in the desk says, which the desk's group can write.
fn needed(station: &Station, waybill: &Waybill) -> usize {
    usize::from(station.ferry.approvals.max(waybill.approvals))
}

/// Counts the countersignatures that lie at the desk.
pub fn approve(
    station: &Station,
    number: u64,
    person: &Name,
    now: Timestamp,
) -> Result<Result<Trip, Refusal>, StationError> {
    let place = folder(station, number);
    let (Some(mut trip), Some((waybill, digest))) = (load(&place), own_waybill(station, &place, number)?) else {
        return Ok(Err(Refusal::new("no-such-trip", "no trip of that number is staged here", "没有该编号的在办批次")));
    };
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
    record(station, Event::TripApproved, number, waybill.crossing, person, Some(digest), now)?;
    save(station, &place, &trip)?;
    Ok(Ok(trip))
}

/// The operator has read everything back from the written medium.
pub fn confirm(
    station: &Station,
    number: u64,
    medium: &Name,
    person: &Name,
    now: Timestamp,
) -> Result<Result<Trip, Refusal>, StationError> {
    let place = folder(station, number);
    let (Some(mut trip), Some((waybill, digest))) = (load(&place), own_waybill(station, &place, number)?) else {
        return Ok(Err(Refusal::new("no-such-trip", "no trip of that number is staged here", "没有该编号的在办批次")));
    };
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
    if matches!(trip.state, TripState::Staged | TripState::Approved) {
        trip.state = TripState::Confirmed;
        record(station, Event::TripConfirmed, number, waybill.crossing, person, Some(digest), now)?;
        save(station, &place, &trip)?;
    }
    Ok(Ok(trip))
}

/// Takes a trip that `ferry` has laid into `desk/incoming`.
pub fn import(
    station: &Station,
    crossing: Crossing,
    number: u64,
    person: &Name,
    now: Timestamp,
) -> Result<Result<(Trip, bool), Refusal>, StationError> {
    let place = incoming_folder(station, crossing, number);
    let Some((waybill, digest)) = read_waybill(station, &place)? else {
        return Ok(Err(Refusal::new(
            "not-authentic",
            "the waybill does not verify against the trust folder",
            "运单未通过验证",
        )));
    };
    if waybill.trip != number
        || waybill.crossing != crossing
        || waybill.target != station.node
        || !station.peers_sending(crossing).any(|peer| peer.name == waybill.source)
    {
        station.alarms.raise(now, Alarm::TripOrder);
        return Ok(Err(Refusal::new("foreign-trip", "the trip is not for this node", "该批次不是发往本节点的")));
    }
    if let Err(refusal) = check_medium(station, &waybill.medium, Direction::In) {
        return Ok(Err(refusal));
    }
    let known = list(station)?;
    let imported: BTreeSet<u64> = known
        .iter()
        .filter(|trip| trip.direction == "in" && trip.crossing == crossing.to_string())
        .map(|trip| trip.trip)
        .collect();
    if imported.contains(&number) && load(&place).is_some_and(|trip| trip.state == TripState::Imported) {
        station.alarms.raise(now, Alarm::TripOrder);
        return Ok(Err(Refusal::new(
            "trip-repeated",
            "this trip was imported before; nothing was taken twice",
            "该批次已导入过，未重复接收",
        )));
    }
    let skipped = number != imported.iter().max().map_or(1, |last| last + 1);
    if skipped {
        station.alarms.raise(now, Alarm::TripOrder);
        if station.ferry.strict_order {
            return Ok(Err(Refusal::new(
                "trip-skipped",
                "a trip before this one is missing; import it first, or set ferry.strict_order = false",
                "之前的批次尚未导入",
            )));
        }
    }
    let needed = needed(station, &waybill);
    let people = approvers(station, &place, &waybill, &digest)?;
    if people.len() < needed {
        return Ok(Err(Refusal::new(
            "approvals-missing",
            "the trip carries too few valid countersignatures",
            "运单会签不足",
        )));
    }
    for line in &waybill.lines {
        let path = place.join(line_file_name(line));
        let kind = match line.kind {
            LineKind::Bundle => EntryKind::Bundle,
            LineKind::Receipts => EntryKind::Receipts,
        };
        let Ok(meta) = std::fs::symlink_metadata(&path) else {
            // Taken before we died: then the arrivals know its id, or it was put aside since.
            let aside = station.layout().quarantine().join(line_file_name(line));
            if station.spool.arrivals(crossing).have(&line.id, kind)? || aside.exists() {
                continue;
            }
            // Without its waybill the trip counts as not laid, and ferry copies all of it again.
            let paper = place.join("waybill");
            station.spool.disk().remove_file(&paper).map_err(io_at(&paper))?;
            return Ok(Err(Refusal::new(
                "file-missing",
                "a file of the waybill is not in the desk; run ferry import again with the medium",
                "运单所列文件不在办理台，请放入介质后重新执行 ferry import",
            )));
        };
        if !meta.is_file() || meta.len() != line.size || file_digest(station, &path)? != line.digest {
            return Ok(Err(Refusal::new(
                "not-authentic",
                "a file differs from the waybill; nothing more was taken",
                "文件与运单不符",
            )));
        }
        station.spool.arrivals(crossing).take_file(&line.id, kind, &path)?;
    }
    witness::take(station, &waybill.source, &waybill.stated, now)?;
    record(station, Event::TripImported, number, crossing, person, Some(digest), now)?;
    let bundles = waybill.lines.iter().filter(|line| line.kind == LineKind::Bundle).count() as u64;
    let trip = Trip {
        trip: number,
        crossing: crossing.to_string(),
        direction: "in".to_owned(),
        state: TripState::Imported,
        medium: waybill.medium.to_string(),
        carrier: waybill.carrier.to_string(),
        exporter: waybill.exporter.to_string(),
        files: waybill.lines.len() as u64,
        bytes: waybill.lines.iter().map(|line| line.size).sum(),
        approvals: people.iter().map(Name::to_string).collect(),
        needed: u8::try_from(needed).unwrap_or(u8::MAX),
        settled: bundles,
        bundles,
        waybill: digest.to_string(),
        at_ms: now.0,
        ids: waybill.lines.iter().map(|line| line.id.to_string()).collect(),
    };
    save(station, &place, &trip)?;
    station.alarms.clear(now, Alarm::TripOrder);
    station.spool.bell().ring();
    Ok(Ok((trip, skipped)))
}

/// Settles trips whose bundles are all receipted, and dissolves those nobody confirmed.
pub fn step(station: &Station, now: Timestamp) -> Result<usize, StationError> {
    let Some((crossing, _)) = outward(station) else { return Ok(0) };
    let mut changed = 0;
    for mut trip in list(station)?.into_iter().filter(|trip| trip.direction == "out") {
        let place = folder(station, trip.trip);
        let before = trip.clone();
        match trip.state {
            TripState::Confirmed | TripState::Approved | TripState::Staged => {
                let ids: Vec<BundleId> = trip.ids.iter().filter_map(|id| BundleId::from_hex(id)).collect();
                let mut settled = 0;
                for id in &ids {
                    let parcel = station.spool.parcel_of_bundle(id)?;
                    let passed = match parcel {
                        Some(parcel) => station.spool.parcel(&parcel)?.is_some_and(|state| {
                            state.custody_passed || state.sent.is_none_or(|sent| sent.bundle != *id)
                        }),
                        None => false,
                    };
                    settled += u64::from(passed);
                }
                trip.settled = settled;
                // Papers alone are confirmed by the far side's gap report, which takes them out of the outbox.
                let outbox = station.spool.outbox(crossing);
                let papers_gone = || ids.iter().all(|id| outbox.find(id).is_ok_and(|entry| entry.is_none()));
                let arrived = trip.bundles == settled && (trip.bundles > 0 || papers_gone());
                let done = arrived && trip.state == TripState::Confirmed;
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
                if let Some(event) = event {
                    record(station, event, trip.trip, crossing, &station.node, None, now)?;
                    remove_receipts_of(station, crossing, &trip, done)?;
                }
                if event.is_some() {
                    // Before the state that nobody looks at again.
                    drop_files(station, &place, &trip)?;
                }
                if event.is_some() || before.settled != trip.settled {
                    save(station, &place, &trip)?;
                    changed += 1;
                }
            }
            TripState::Settled | TripState::Expired | TripState::Imported => {}
        }
    }
    Ok(changed)
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
