//! What is due now and then: snapshots for `status`, alarms for what waits too long, retention, the end of trips.
//! Everything here can be left out for a day and done twice.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use protocol::ledger::{Event, Local, Record};
use protocol::{BundleId, Crossing, Timestamp};
use serde_json::{Value, json};
use spool::{Disk, NoticeState, ParcelState, SpoolError, State};

use crate::alarm::Alarm;
use crate::clock::is_due;
use crate::config::{Carrier, Confirm};
use crate::keyring::{self, Meets};
use crate::station::{Station, StationError};
use crate::{backup, by_hand, desk, missing, receipts, reserve, trips, waiting, witness};

/// Snapshots are written at most this often.
const PUBLISH_EVERY_MS: u64 = 1_000;
/// Queues are looked at this often, and one second less often for every so many entries that wait: 100,000 of them are
/// looked at within 200 ms, and that costs a few percent of a core.
const LOOK_EVERY_MS: u64 = 5_000;
const ENTRIES_A_SECOND: u64 = 10_000;
/// Items that fail again and again, shown in `status`.
const RETRIES_SHOWN: usize = 20;
/// A reserve that was given up is taken again no sooner: a quota that is used up shows in no figure of free bytes, and what
/// had to be given up is not asked for at once.
const RESERVE_EVERY_MS: u64 = 60_000;
/// Retention walks folders; once an hour is plenty.
const RETAIN_EVERY_MS: u64 = 60 * 60 * 1000;
pub(crate) const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// A node that never rests is scrubbed as well, at a tenth of the pace: some milliseconds in ten seconds.
const SCRUB_EVERY_LOOKS: u64 = 10;
/// Days removed in one pass.
const DAYS_A_PASS: usize = 64;
/// Notices removed in one pass: a second's work.
const NOTICES_A_PASS: usize = 10_000;

/// What was done when.
#[derive(Default)]
pub struct Housekeeping {
    /// The first step of this process.
    began: Timestamp,
    published: Timestamp,
    looked: Timestamp,
    reserved: Timestamp,
    /// Records at the last look, and how often was looked.
    records: u64,
    looks: u64,
    retained: Timestamp,
    /// Is the doubt about the clock that stands on record?
    doubted: bool,
    queues: Vec<Value>,
    last: BTreeMap<PathBuf, Vec<u8>>,
    /// Rounds that the origin's notices already tell of.
    told: BTreeMap<BundleId, u32>,
}

impl Housekeeping {
    /// Does what is due. Never reports work done: nothing waits for it.
    pub fn step(&mut self, station: &Station, now: Timestamp) -> Result<usize, StationError> {
        let waiting: u64 = outward(station).map(|crossing| station.spool.outbox(crossing).load().0 as u64).sum();
        let slower_ms = waiting.saturating_mul(1_000) / ENTRIES_A_SECOND;
        // Each by itself, and what failed is told at the end: a ledger that cannot be scrubbed must not keep what is over.
        let (mut done, mut minded, mut published) = (Ok(()), Ok(()), Ok(()));
        if is_due(now, self.looked, LOOK_EVERY_MS + slower_ms) {
            self.looked = now;
            done = self.look_around(station, now);
        }
        if is_due(now, self.published, PUBLISH_EVERY_MS) {
            self.published = now;
            floor(station, now);
            minded = self.mind(station, now);
            // The snapshot last, and whatever else failed: it says which alarms stand.
            published = self.publish(station, now);
        }
        if is_due(now, self.retained, RETAIN_EVERY_MS) && station.clock.may_end_things() {
            self.retained = now;
            let looked = missing::look(station, now);
            let tidied = desk::tidy(station, now);
            let retained = retain(station, now);
            retained.and(looked).and(tidied)?;
        }
        published.and(minded).and(done).map(|()| 0)
    }

    fn look_around(&mut self, station: &Station, now: Timestamp) -> Result<(), StationError> {
        if is_due(now, self.reserved, RESERVE_EVERY_MS) {
            self.reserved = now;
            reserve::keep(&station.spool);
        }
        // Each by itself: what one of them meets must not switch off the watch.
        let trips = trips::step(station, now).map(drop);
        let watched = watch(station, now);
        let missed = missing::watch(station, now);
        let told = self.tell_rounds(station, now);
        self.queues = waiting::queues(station, now)?;
        trips.and(watched).and(missed).and(told)
    }

    fn mind(&mut self, station: &Station, now: Timestamp) -> Result<(), StationError> {
        self.mind_the_clock(station, now)?;
        station.look(now);
        judge_cards(station, now);
        if self.began == Timestamp::default() {
            self.began = now;
        }
        backup::watch(station, self.began, now);
        if station.clock.may_end_things() {
            station.alarms.rest(now);
        }
        station.spool.write_checkpoint()?;
        self.scrub(station, now)
    }

    /// A doubt that begins or ends is on record, and stands as an alarm.
    fn mind_the_clock(&mut self, station: &Station, now: Timestamp) -> Result<(), StationError> {
        station.ask_neighbours(now);
        let doubt = station.clock.doubt();
        if doubt.is_some() != self.doubted {
            let event = if doubt.is_some() { Event::ClockDoubted } else { Event::ClockTrusted };
            station.spool.record(Record::new(event, now), Local::none())?;
            self.doubted = doubt.is_some();
        }
        station.alarms.stands(now, Alarm::ClockDoubt, doubt.is_some());
        Ok(())
    }

    /// A step of the scrub, where nothing was recorded since the last look, or every tenth time. A pass that ended
    /// rests for a day.
    fn scrub(&mut self, station: &Station, now: Timestamp) -> Result<(), StationError> {
        let (before, records) = (station.spool.scrubbed(), station.spool.head().size);
        let idle = std::mem::replace(&mut self.records, records) == records;
        self.looks = self.looks.wrapping_add(1);
        let rests = before.next == before.of && before.ended.is_some_and(|ended| now.since(ended) < DAY_MS);
        if rests || (!idle && !self.looks.is_multiple_of(SCRUB_EVERY_LOOKS)) {
            return Ok(());
        }
        let after = station.spool.scrub_step(now)?;
        if after.damaged > before.damaged || after.unsound {
            station.alarms.raise(now, Alarm::LedgerDamaged);
        }
        if after.mended > before.mended {
            let mended = after.mended - before.mended;
            tracing::warn!(mended, "digests of the ledger's tree were spoiled and written anew; look at the disk");
        }
        Ok(())
    }

    /// One-way crossings answer nothing; what the app may know is how often its parcel went out.
    fn tell_rounds(&mut self, station: &Station, now: Timestamp) -> Result<(), StationError> {
        let (mut told, mut done) = (BTreeMap::new(), Ok(()));
        for peer in station.peers.iter().filter(|peer| !peer.send.is_two_way()) {
            let Some(crossing) = Crossing::between(station.zone, peer.zone) else { continue };
            for (bundle, round, of) in station.spool.outbox(crossing).rounds() {
                let known = self.told.get(&bundle) == Some(&round);
                match if known { Ok(()) } else { tell_round(station, &bundle, round, of, now) } {
                    Ok(()) => drop(told.insert(bundle, round)),
                    // Told with the next look; the others' apps hear of theirs.
                    Err(error) => done = done.and(Err(error)),
                }
            }
        }
        self.told = told;
        done
    }

    /// Writes the snapshots that other programs read, where they changed.
    pub fn publish(&mut self, station: &Station, now: Timestamp) -> Result<(), StationError> {
        let folder = station.layout().status();
        let ferry = trips::outward(station).map(|(crossing, target)| json!({ "crossing": crossing.name(), "target": target, "approvals": station.ferry.approvals }));
        let node =
            json!({ "node": station.node, "zone": station.zone.name(), "suite": station.suite.name(), "ferry": ferry });
        self.write(station, &folder.join("node.json"), &node)?;
        self.write(station, &folder.join("trips.json"), &json!(trips::shown(station)?))?;
        let media: Vec<Value> = station
            .ferry
            .media
            .iter()
            .map(|medium| json!({ "id": medium.id, "direction": if medium.direction == crate::config::Direction::Out { "out" } else { "in" }, "disposed_ms": station.disposed.since(&medium.id).map(|at| at.0) }))
            .collect();
        self.write(station, &folder.join("media.json"), &json!(media))?;
        if self.queues.is_empty() {
            self.queues = waiting::queues(station, now)?;
        }
        let snapshot = self.snapshot(station, now)?;
        self.write(station, &folder.join("status.json"), &snapshot)
    }

    /// The state of the node in one object: what `status` prints. Keys are added, never changed: scripts read it.
    fn snapshot(&self, station: &Station, now: Timestamp) -> Result<Value, StationError> {
        let counts: Vec<Value> = station
            .spool
            .counts()?
            .into_iter()
            .map(|((route, state), count)| json!({ "route": route, "state": state.name(), "count": count }))
            .collect();
        let zone = station.zone.name();
        let alarms: Vec<Value> =
            station.alarms.standing().into_iter().map(|(alarm, since, count)| alarm.row(since, count, zone)).collect();
        let (retries, all) = station.retries.waiting(RETRIES_SHOWN);
        let retries: Vec<Value> = retries
            .into_iter()
            .map(|(item, failed)| json!({ "item": item, "stage": failed.stage, "times": failed.times, "since_ms": failed.since.0, "pause_s": failed.pause_ms() / 1000, "error": failed.words }))
            .collect();
        let head = station.spool.head();
        let scrubbed = station.spool.scrubbed();
        let scrub = json!({ "next": scrubbed.next, "of": scrubbed.of, "passes": scrubbed.passes, "ended_s": scrubbed.ended.map(Timestamp::seconds), "damaged": scrubbed.damaged, "mended": scrubbed.mended, "unsound": scrubbed.unsound });
        let off: Vec<&protocol::Name> =
            station.routes.iter().map(|route| &route.name).filter(|name| station.is_off(name)).collect();
        let routes: Vec<Value> = station
            .routes
            .iter()
            .map(|route| {
                let off = station.off(&route.name);
                json!({ "route": route.name, "enabled": off.is_none(), "off_since_ms": off.as_ref().map(|off| off.since.0), "off_by": off.as_ref().map(|off| &off.person), "off_reason": off.as_ref().map(|off| &off.reason) })
            })
            .collect();
        let doubt = station.clock.doubt();
        Ok(json!({
            "node": station.node,
            "zone": zone,
            "suite": station.suite.name(),
            "at_s": now.seconds(),
            "clock": { "trusted": doubt.is_none(), "why": doubt.map(|doubt| doubt.why.name()), "doubted_since_ms": doubt.map(|doubt| doubt.since.0), "wall_s": station.clock.wall().seconds() },
            "ledger": { "log": head.log, "records": head.size, "root": head.root.to_string() },
            "scrub": scrub,
            "neighbours": witness::status(station)?,
            "inlets": inlets(station),
            "queues": self.queues,
            "parcels": counts,
            "retries": retries,
            "retries_all": all,
            "gaps": gaps(station),
            "backup": backup::snapshot(station, now),
            "exceptions": station.exceptions.shown(now),
            "alarms": alarms,
            "routes": routes,
            "routes_off": off,
        }))
    }

    fn write(&mut self, station: &Station, path: &Path, value: &Value) -> Result<(), StationError> {
        let io = |cause| StationError::Io { path: path.to_owned(), cause };
        let text = serde_json::to_vec_pretty(value).map_err(|e| io(e.into()))?;
        if self.last.get(path) != Some(&text) {
            reserve::write(station.spool.disk(), station.layout(), path, &text).map_err(io)?;
            self.last.insert(path.to_owned(), text);
        }
        Ok(())
    }
}

fn tell_round(station: &Station, bundle: &BundleId, round: u32, of: u32, now: Timestamp) -> Result<(), StationError> {
    let parcel = station.spool.parcel_of_bundle(bundle)?;
    let state = parcel.map(|parcel| station.spool.parcel(&parcel)).transpose()?.flatten();
    match state.filter(|state| state.origin == station.node && !state.custody_passed) {
        Some(state) => {
            let details = json!({ "round": round, "of": of, "confirmed": false });
            receipts::notify(station, &state, NoticeState::Sent, None, details, now)
        }
        None => Ok(()),
    }
}

/// What the last looks at the inlets saw. Without the time of the look: the snapshot is written where it changed.
fn inlets(station: &Station) -> Value {
    let row = |(route, look): (protocol::Name, spool::InletLook)| json!({ "route": route, "entries": look.entries, "ignored": look.ignored, "waiting": look.waiting, "watched": look.watched });
    station.spool.inlets().into_iter().map(row).collect()
}

/// What is missing on every one-way crossing that leads here.
#[must_use]
pub fn gaps(station: &Station) -> Value {
    let mut rows = Vec::new();
    for peer in station.peers.iter().filter(|peer| !peer.receive.is_two_way()) {
        let Some(crossing) = Crossing::between(peer.zone, station.zone) else { continue };
        for epoch in station.spool.gaps(&peer.name, crossing) {
            let missing: Vec<String> = epoch.missing.iter().map(trips::range_words).collect();
            rows.push(json!({ "peer": peer.name, "crossing": crossing.name(), "epoch": epoch.epoch, "through": epoch.through, "missing": missing }));
        }
    }
    Value::Array(rows)
}

/// Below the floor of free space nothing is taken, by whichever door it comes. Whoever looks must see that at once, and
/// that it is over as well.
fn floor(station: &Station, now: Timestamp) {
    match station.spool.room(0) {
        Err(SpoolError::Full { .. }) => station.alarms.raise(now, Alarm::SpoolFull),
        _ => station.alarms.clear(now, Alarm::SpoolFull),
    }
}

/// The crossings out of this node, each once.
fn outward(station: &Station) -> impl Iterator<Item = Crossing> {
    let crossings: std::collections::BTreeSet<Crossing> =
        station.peers.iter().filter_map(|peer| Crossing::between(station.zone, peer.zone)).collect();
    crossings.into_iter()
}

/// Raises and clears what follows from the state of the spool.
fn watch(station: &Station, now: Timestamp) -> Result<(), StationError> {
    let mut missing = false;
    for peer in station.peers.iter().filter(|peer| matches!(peer.receive, Carrier::Diode | Carrier::Folder)) {
        if let Some(crossing) = Crossing::between(peer.zone, station.zone) {
            missing |= station.spool.gaps(&peer.name, crossing).iter().any(|epoch| !epoch.missing.is_empty());
        }
    }
    if station.spool.restored().is_some() {
        let waits = |(_, state): &(protocol::Name, State)| *state == State::MayBeDuplicate;
        let some = station.spool.counts()?.iter().any(|(key, count)| waits(key) && *count > 0);
        station.alarms.stands(now, Alarm::MayBeDuplicate, some);
    }
    station.alarms.stands(now, Alarm::Gaps, missing);
    station.alarms.stands(now, Alarm::Retrying, station.retries.is_stubborn());
    let (late, full) = waiting::outlet_alarms(station, now);
    station.alarms.stands(now, Alarm::NotPickedUp, late);
    station.alarms.stands(now, Alarm::OutletFull, full);
    if station.clock.may_end_things() { expire_old(station, now) } else { Ok(()) }
}

/// The same questions that `check` asks: a card may expire while the daemon runs. Whoever can still be served is.
fn judge_cards(station: &Station, now: Timestamp) {
    let meets = Meets { zone: station.zone, suite: station.suite, peers: &station.peers, routes: &station.routes };
    let now_if_known = station.clock.may_end_things().then_some(now);
    let faults = keyring::card_faults(&station.trust, &meets, now_if_known);
    if !faults.is_empty() && !station.alarms.standing().iter().any(|(alarm, ..)| *alarm == Alarm::Cards) {
        for fault in &faults {
            tracing::warn!(at = fault.at, remedy = fault.remedy, "{}", fault.what);
        }
    }
    station.alarms.stands(now, Alarm::Cards, !faults.is_empty());
}

/// How long what no route is known of any more waits for its receipt.
pub(crate) fn shortest_ms(station: &Station) -> u64 {
    station.routes.iter().map(|route| u64::from(route.expire_days)).min().unwrap_or(30) * DAY_MS
}

/// What has waited for its receipt longer than its route allows.
fn expire_old(station: &Station, now: Timestamp) -> Result<(), StationError> {
    let shortest = shortest_ms(station);
    let mut expired = false;
    for crossing in outward(station) {
        for entry in station.spool.outbox(crossing).entries()? {
            let age = now.since(protocol::id::moment_of(&entry.id));
            if entry.kind != spool::EntryKind::Bundle || age <= shortest {
                continue;
            }
            let parcel = station.spool.parcel_of_bundle(&entry.id)?;
            let state = parcel.map(|parcel| station.spool.parcel(&parcel)).transpose()?.flatten();
            let route = state.as_ref().and_then(|state| station.route(&state.route));
            // A route that ends with its rounds waits for no receipt.
            let late = route
                .is_none_or(|route| route.confirm == Confirm::Receipt && age > u64::from(route.expire_days) * DAY_MS);
            expired |= late;
            if let Some(state) =
                state.filter(|state| late && state.state != State::Expired && !state.state.is_terminal())
            {
                expire(station, &state, now)?;
            }
        }
    }
    station.alarms.stands(now, Alarm::Expired, expired);
    Ok(())
}

/// Retention ended without a receipt: on record and told, never removed. A receipt that still comes wins.
pub(crate) fn expire(station: &Station, state: &ParcelState, now: Timestamp) -> Result<(), StationError> {
    let mut record = Record::new(Event::Expired, now);
    record.parcel = Some(state.parcel);
    record.origin = Some(state.origin.clone());
    record.route = Some(state.route.clone());
    station.spool.record(record, Local::none())?;
    if state.origin == station.node {
        receipts::notify(station, state, NoticeState::Expired, None, Value::Null, now)?;
    }
    Ok(())
}

/// Removes evidence, quarantine and notices of ends past their days. A day of evidence goes whole.
///
/// The day in a name is the claim of the node where a parcel began, and that node's clock may stand in another century:
/// what the name calls old goes only where the disk says the same of it.
fn retain(station: &Station, now: Timestamp) -> Result<(), StationError> {
    retain_evidence(station, now)
        .and(retain_quarantine(station, now))
        .and(retain_notices(station, now))
        .and(by_hand::clear(station, now))
}

fn retain_evidence(station: &Station, now: Timestamp) -> Result<(), StationError> {
    let disk = station.spool.disk();
    let evidence_ms = u64::from(station.settings.evidence_days) * DAY_MS;
    let oldest_kept = Timestamp(now.0.saturating_sub(evidence_ms)).to_string();
    let oldest_kept = oldest_kept.get(..10).unwrap_or_default().to_owned();
    let mut removed = 0;
    for year in folders(&station.layout().evidence())? {
        for month in folders(&year)? {
            for day in folders(&month)? {
                let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let date = format!("{}-{}-{}", name(&year), name(&month), name(&day));
                let old = date.len() == 10 && date < oldest_kept && has_rested(disk, &day, now, evidence_ms);
                if old && removed < DAYS_A_PASS {
                    disk.remove_tree(&day).map_err(|cause| StationError::Io { path: day.clone(), cause })?;
                    removed += 1;
                }
            }
        }
    }
    Ok(())
}

fn retain_quarantine(station: &Station, now: Timestamp) -> Result<(), StationError> {
    let quarantine_ms = u64::from(station.settings.quarantine_days) * DAY_MS;
    let folder = station.layout().quarantine();
    let io = |cause| StationError::Io { path: folder.clone(), cause };
    let mut done = Ok(());
    for entry in std::fs::read_dir(&folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let id = path.file_stem().and_then(|stem| stem.to_str()).and_then(protocol::ParcelId::from_hex);
        let old = id.is_some_and(|id| now.since(protocol::id::moment_of(&id)) > quarantine_ms);
        if old && has_rested(station.spool.disk(), &path, now, quarantine_ms) {
            // First what is said about it: a release whose drop is gone would be taken for one that was carried out.
            let paper = path.with_extension(crate::release::PAPER);
            done = done.and(station.spool.disk().remove_file(&paper).map_err(io));
            done = done.and(station.spool.disk().remove_tree(&path).map_err(io));
        }
    }
    done
}

fn retain_notices(station: &Station, now: Timestamp) -> Result<(), StationError> {
    let notice_ms = u64::from(station.settings.notice_days) * DAY_MS;
    let mut done = Ok(());
    for route in station.routes.iter().filter(|route| route.path.first() == Some(&station.node)) {
        let has_rested = |path: &Path| has_rested(station.spool.disk(), path, now, notice_ms);
        let before = Timestamp(now.0.saturating_sub(notice_ms));
        let forgotten = station.spool.forget_notices(&route.name, before, &has_rested, NOTICES_A_PASS);
        done = done.and(forgotten.map(drop).map_err(StationError::from));
    }
    done
}

/// Was nothing put into it, renamed or written for so long?
pub(crate) fn has_rested(disk: &Disk, path: &Path, now: Timestamp, for_ms: u64) -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::symlink_metadata(path).is_ok_and(|about| {
        let changed = u64::try_from(about.ctime().max(about.mtime())).unwrap_or_default().saturating_mul(1000);
        now.since(disk.date(Timestamp(changed))) > for_ms
    })
}

fn folders(path: &Path) -> Result<Vec<PathBuf>, StationError> {
    let io = |cause| StationError::Io { path: path.to_owned(), cause };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(io)? {
        let entry = entry.map_err(io)?;
        if entry.file_type().map_err(io)?.is_dir() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}
