//! What is due now and then: snapshots for `status`, alarms for what waits too long, retention, the end of trips.
//! Everything here can be left out for a day and done twice.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use protocol::ledger::{Event, Local, Record};
use protocol::{BundleId, Crossing, Timestamp};
use serde_json::{Value, json};
use spool::{NoticeState, ParcelState, State};

use crate::alarm::Alarm;
use crate::config::{Carrier, Confirm};
use crate::station::{Station, StationError};
use crate::{backup, desk, receipts, trips};

/// Snapshots are written at most this often.
const PUBLISH_EVERY_MS: u64 = 1_000;
/// Retention walks folders; once an hour is plenty.
const RETAIN_EVERY_MS: u64 = 60 * 60 * 1000;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// Days removed in one pass.
const DAYS_A_PASS: usize = 64;

/// What was done when.
#[derive(Default)]
pub struct Housekeeping {
    /// The first step of this process.
    began: Timestamp,
    published: Timestamp,
    retained: Timestamp,
    last: BTreeMap<PathBuf, Vec<u8>>,
    /// Rounds that the origin's notices already tell of.
    told: BTreeMap<BundleId, u32>,
}

impl Housekeeping {
    /// Does what is due. Never reports work done: nothing waits for it.
    pub fn step(&mut self, station: &Station, now: Timestamp) -> Result<usize, StationError> {
        if now.since(self.published) >= PUBLISH_EVERY_MS {
            self.published = now;
            trips::step(station, now)?;
            watch(station, now)?;
            if self.began == Timestamp::default() {
                self.began = now;
            }
            backup::watch(station, self.began, now)?;
            station.look(now);
            station.alarms.rest(now);
            station.spool.write_checkpoint()?;
            self.tell_rounds(station, now)?;
            self.publish(station, now)?;
        }
        if now.since(self.retained) >= RETAIN_EVERY_MS {
            self.retained = now;
            desk::tidy(station, now)?;
            retain(station, now)?;
        }
        Ok(0)
    }

    /// One-way crossings answer nothing; what the app may know is how often its parcel went out.
    fn tell_rounds(&mut self, station: &Station, now: Timestamp) -> Result<(), StationError> {
        let mut waiting = BTreeMap::new();
        for peer in station.peers.iter().filter(|peer| !peer.send.is_two_way()) {
            let Some(crossing) = Crossing::between(station.zone, peer.zone) else { continue };
            for (bundle, round, of) in station.spool.outbox(crossing).rounds() {
                waiting.insert(bundle, round);
                if self.told.get(&bundle) == Some(&round) {
                    continue;
                }
                let parcel = station.spool.parcel_of_bundle(&bundle)?;
                let Some(state) = parcel.map(|parcel| station.spool.parcel(&parcel)).transpose()?.flatten() else {
                    continue;
                };
                if state.origin == station.node && !state.custody_passed {
                    let details = json!({ "round": round, "of": of, "confirmed": false });
                    receipts::notify(station, &state, NoticeState::Sent, None, details, now)?;
                }
            }
        }
        self.told = waiting;
        Ok(())
    }

    /// Writes the snapshots that other programs read, where they changed.
    pub fn publish(&mut self, station: &Station, now: Timestamp) -> Result<(), StationError> {
        let folder = station.layout().status();
        let ferry = trips::outward(station).map(|(crossing, target)| json!({ "crossing": crossing.name(), "target": target, "approvals": station.ferry.approvals }));
        let node =
            json!({ "node": station.node, "zone": station.zone.name(), "suite": station.suite.name(), "ferry": ferry });
        self.write(station, &folder.join("node.json"), &node)?;
        self.write(station, &folder.join("trips.json"), &json!(trips::list(station)?))?;
        let media: Vec<Value> = station
            .ferry
            .media
            .iter()
            .map(|medium| json!({ "id": medium.id, "direction": if medium.direction == crate::config::Direction::Out { "out" } else { "in" } }))
            .collect();
        self.write(station, &folder.join("media.json"), &json!(media))?;
        self.write(station, &folder.join("status.json"), &snapshot(station, now)?)
    }

    fn write(&mut self, station: &Station, path: &Path, value: &Value) -> Result<(), StationError> {
        let io = |cause| StationError::Io { path: path.to_owned(), cause };
        let text = serde_json::to_vec_pretty(value).map_err(|e| io(e.into()))?;
        if self.last.get(path) != Some(&text) {
            station.spool.disk().write(path, &text).map_err(io)?;
            self.last.insert(path.to_owned(), text);
        }
        Ok(())
    }
}

/// The state of the node in one object: what `status` prints.
pub fn snapshot(station: &Station, now: Timestamp) -> Result<Value, StationError> {
    let mut queues = Vec::new();
    let mut crossings: Vec<Crossing> =
        station.peers.iter().filter_map(|peer| Crossing::between(station.zone, peer.zone)).collect();
    crossings.sort_unstable();
    crossings.dedup();
    for crossing in crossings {
        let entries = station.spool.outbox(crossing).entries()?;
        let oldest = entries.iter().map(|entry| now.since(protocol::id::moment_of(&entry.id)) / 1000).max();
        queues.push(json!({ "queue": format!("outbox {crossing}"), "entries": entries.len(), "bytes": entries.iter().map(|e| e.size).sum::<u64>(), "oldest_s": oldest }));
    }
    let counts: Vec<Value> = station
        .spool
        .counts()?
        .into_iter()
        .map(|((route, state), count)| json!({ "route": route, "state": state.name(), "count": count }))
        .collect();
    let alarms: Vec<Value> = station
        .alarms
        .standing()
        .into_iter()
        .map(|(alarm, since, count)| json!({ "code": alarm.code(), "since_ms": since.0, "count": count, "en": alarm.english(), "zh": alarm.chinese() }))
        .collect();
    let head = station.spool.head();
    let off: Vec<&protocol::Name> =
        station.routes.iter().map(|route| &route.name).filter(|name| station.is_off(name)).collect();
    Ok(json!({
        "node": station.node,
        "zone": station.zone.name(),
        "suite": station.suite.name(),
        "at_s": now.seconds(),
        "ledger": { "log": station.spool.log(), "records": head.size, "root": head.root.to_string() },
        "queues": queues,
        "parcels": counts,
        "gaps": gaps(station),
        "backup": backup::snapshot(station, now),
        "alarms": alarms,
        "routes_off": off,
    }))
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
        if station.spool.counts()?.iter().any(|(key, count)| waits(key) && *count > 0) {
            station.alarms.raise(now, Alarm::MayBeDuplicate);
        } else {
            station.alarms.clear(now, Alarm::MayBeDuplicate);
        }
    }
    if missing {
        station.alarms.raise(now, Alarm::Gaps);
    } else {
        station.alarms.clear(now, Alarm::Gaps);
    }
    let shortest = station.routes.iter().map(|route| u64::from(route.expire_days)).min().unwrap_or(30) * DAY_MS;
    let mut expired = false;
    for peer in &station.peers {
        let Some(crossing) = Crossing::between(station.zone, peer.zone) else { continue };
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
    if expired {
        station.alarms.raise(now, Alarm::Expired);
    } else {
        station.alarms.clear(now, Alarm::Expired);
    }
    Ok(())
}

/// Retention ended without a receipt: on record and told, never removed. A receipt that still comes wins.
fn expire(station: &Station, state: &ParcelState, now: Timestamp) -> Result<(), StationError> {
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

/// Removes evidence and quarantine past their days. A day of evidence goes whole.
fn retain(station: &Station, now: Timestamp) -> Result<(), StationError> {
    let disk = station.spool.disk();
    let oldest_kept = Timestamp(now.0.saturating_sub(u64::from(station.settings.evidence_days) * DAY_MS)).to_string();
    let oldest_kept = oldest_kept.get(..10).unwrap_or_default().to_owned();
    let mut removed = 0;
    for year in folders(&station.layout().evidence())? {
        for month in folders(&year)? {
            for day in folders(&month)? {
                let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let date = format!("{}-{}-{}", name(&year), name(&month), name(&day));
                if date.len() == 10 && date < oldest_kept && removed < DAYS_A_PASS {
                    disk.remove_tree(&day).map_err(|cause| StationError::Io { path: day.clone(), cause })?;
                    removed += 1;
                }
            }
        }
    }
    let folder = station.layout().quarantine();
    let io = |cause| StationError::Io { path: folder.clone(), cause };
    for entry in std::fs::read_dir(&folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let id = path.file_stem().and_then(|stem| stem.to_str()).and_then(protocol::ParcelId::from_hex);
        let old = id.is_some_and(|id| {
            now.since(protocol::id::moment_of(&id)) > u64::from(station.settings.quarantine_days) * DAY_MS
        });
        if old {
            disk.remove_tree(&path).map_err(io)?;
        }
    }
    Ok(())
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
