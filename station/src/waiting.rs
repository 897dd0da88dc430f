//! What waits in every queue of a node: how many, how many bytes, how old the oldest is, and whether that is normal. For
//! the person who looks at `status`; decides nothing. A look is bounded, because a queue of 100,000 is when somebody
//! looks most often.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use protocol::id::moment_of;
use protocol::{Crossing, Timestamp};
use serde_json::{Value, json};

use crate::config::Carrier;
use crate::outlets;
use crate::release::PAPER;
use crate::station::{Station, StationError};
use crate::trips;

/// Entries of a folder that are asked for size and age; the rest is counted. A warm look takes some 30 ms.
const ASKED_MAX: u64 = 20_000;
/// Names counted in one folder. More are shown as "at least".
const COUNTED_MAX: u64 = 1_000_000;

const MINUTE_S: u64 = 60;
const HOUR_S: u64 = 3_600;
const DAY_S: u64 = 24 * HOUR_S;

/// What a folder held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Entries.
    pub entries: u64,
    /// Bytes of the files among those that were asked.
    pub bytes: u64,
    /// The moment of the oldest of those.
    pub oldest: Option<Timestamp>,
    /// There was more than was looked at: bytes and age are at least these.
    pub more: bool,
    /// It could not be looked at.
    pub unreadable: bool,
}

impl Look {
    fn take(&mut self, bytes: u64, moment: Option<Timestamp>) {
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        self.oldest = [self.oldest, moment].into_iter().flatten().min();
    }
}

/// A folder whose names are ids: the id tells the moment.
pub fn look_by_id(folder: &Path) -> Result<Look, StationError> {
    look(folder, |_| true, by_id, ASKED_MAX)
}

fn by_id(path: &Path, _: &std::fs::Metadata) -> Option<Timestamp> {
    // What follows the id may be a name in any encoding.
    let id = path.file_name()?.as_encoded_bytes().get(..32)?;
    protocol::BundleId::from_hex(std::str::from_utf8(id).ok()?).map(|id| moment_of(&id))
}

/// What is held, without what people said of it.
fn look_at_held(folder: &Path) -> Result<Look, StationError> {
    let is_held = |path: &Path| path.extension().is_none_or(|end| end != PAPER);
    look(folder, is_held, by_id, ASKED_MAX)
}

/// A folder of other names: the moment is when the entry came to stand there, by the machine's wall clock. Not when it
/// was last written: an app may drop a file of last year.
pub fn look_by_change(folder: &Path, counts: impl Fn(&Path) -> bool) -> Result<Look, StationError> {
    let moment = |_: &Path, about: &std::fs::Metadata| {
        let ms = about.ctime().checked_mul(1000)?.checked_add(about.ctime_nsec() / 1_000_000)?;
        u64::try_from(ms).ok().map(Timestamp)
    };
    look(folder, counts, moment, ASKED_MAX)
}

fn look(
    folder: &Path,
    counts: impl Fn(&Path) -> bool,
    moment: impl Fn(&Path, &std::fs::Metadata) -> Option<Timestamp>,
    asked_max: u64,
) -> Result<Look, StationError> {
    let io = |cause| StationError::Io { path: folder.to_owned(), cause };
    let (mut look, mut asked) = (Look::default(), 0_u64);
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if !counts(&path) {
            continue;
        }
        if look.entries >= COUNTED_MAX {
            look.more = true;
            break;
        }
        if asked >= asked_max {
            (look.more, look.entries) = (true, look.entries + 1);
            continue;
        }
        asked += 1;
        // What went between the listing and the question does not wait any more.
        if let Ok(about) = std::fs::symlink_metadata(&path) {
            look.take(if about.is_dir() { 0 } else { about.len() }, moment(&path, &about));
        }
    }
    Ok(look)
}

/// Bytes of all files below the entries of a folder, dot files at its top aside; of at most so many files.
pub fn bytes_below(folder: &Path) -> Result<u64, StationError> {
    let io = |path: &Path, cause| StationError::Io { path: path.to_owned(), cause };
    let (mut bytes, mut asked, mut folders) = (0_u64, 0_u64, vec![folder.to_owned()]);
    while let Some(place) = folders.pop() {
        let entries = match std::fs::read_dir(&place) {
            // Picked up between two looks.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            other => other.map_err(|cause| io(&place, cause))?,
        };
        for entry in entries {
            let path = entry.map_err(|cause| io(&place, cause))?.path();
            let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            let Ok(about) = std::fs::symlink_metadata(&path) else { continue };
            asked += 1;
            if asked > ASKED_MAX || (hidden && place == folder) {
                continue;
            }
            if about.is_dir() {
                folders.push(path);
            } else {
                bytes = bytes.saturating_add(about.len());
            }
        }
    }
    Ok(bytes)
}

/// What kind of queue, and so what is normal in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Inlet,
    InletOff,
    Claimed,
    OutboxGateway,
    OutboxOneWay,
    OutboxFerry,
    Complete,
    Checked,
    Outlet { hours: u32 },
    Receipts,
    ReceiptsFerry,
    Desk,
    Quarantine { days: u32 },
}

impl Kind {
    /// Older than this is late; nothing where age means nothing.
    const fn normal_s(self) -> Option<u64> {
        match self {
            Kind::Inlet | Kind::Claimed | Kind::OutboxGateway | Kind::Complete | Kind::Checked => Some(10 * MINUTE_S),
            Kind::InletOff => None,
            // A trip a week is the slowest that an office plans.
            Kind::OutboxOneWay | Kind::OutboxFerry | Kind::ReceiptsFerry => Some(8 * DAY_S),
            Kind::Outlet { hours } => Some(hours as u64 * HOUR_S),
            Kind::Receipts | Kind::Desk => Some(2 * MINUTE_S),
            Kind::Quarantine { days } => Some((days as u64 + 1) * DAY_S),
        }
    }

    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Kind::Inlet => ("taken within seconds, minutes under load", "数秒内领取，繁忙时数分钟"),
            Kind::InletOff => ("waits while the route is off", "路由停用期间等待"),
            Kind::Claimed => ("seconds; as long as one parcel takes", "数秒；至多一个投递件的处理时间"),
            Kind::OutboxGateway => ("near empty while the peer is up", "对端在线时接近空"),
            Kind::OutboxOneWay => ("kept until the ferry brings receipts", "保留到摆渡带回回执"),
            Kind::OutboxFerry => ("grows until the next export", "在下次导出前增长"),
            Kind::Complete => ("admitted within seconds, minutes under load", "数秒内接纳，繁忙时数分钟"),
            Kind::Checked => ("seconds, unless its outlet is full", "数秒，除非交付口已满"),
            Kind::Outlet { .. } => ("emptied by its app within pickup_hours", "应用应在 pickup_hours 内取走"),
            Kind::Receipts => ("leave within seconds", "数秒内发出"),
            Kind::ReceiptsFerry => ("wait for the next export", "等待下次导出"),
            Kind::Desk => ("answered within seconds", "数秒内答复"),
            Kind::Quarantine { .. } => ("purged after quarantine_days", "quarantine_days 之后清除"),
        }
    }
}

/// A folder that cannot be read is shown as that: the page is read most when something is broken.
fn shown(look: Result<Look, StationError>) -> Look {
    look.unwrap_or_else(|error| {
        tracing::warn!(%error, "a queue cannot be looked at");
        Look { unreadable: true, ..Look::default() }
    })
}

/// What waits in each queue, in the order of a parcel's way.
pub fn queues(station: &Station, now: Timestamp) -> Result<Vec<Value>, StationError> {
    let mut rows = Vec::new();
    let (wall, trusted) = (station.clock.wall(), station.clock.may_end_things());
    // Files are dated by the wall: while that is in doubt, their age is not known.
    let by_change = |name: String, kind: Kind, look: Result<Look, StationError>| {
        let look = shown(look);
        let age = look.oldest.filter(|_| trusted).map(|oldest| wall.since(oldest));
        row(&name, kind, look, age)
    };
    let by_id = |name: String, kind: Kind, look: Result<Look, StationError>| {
        let look = shown(look);
        row(&name, kind, look, look.oldest.map(|oldest| now.since(oldest)))
    };
    let layout = station.layout();
    for route in station.routes.iter().filter(|route| route.path.first() == Some(&station.node)) {
        let kind = if station.is_off(&route.name) { Kind::InletOff } else { Kind::Inlet };
        let look = look_by_change(&layout.inlet(&route.name), is_a_drop);
        rows.push(by_change(format!("inlet {}", route.name), kind, look));
        let look = look_by_id(&layout.claimed(&route.name));
        rows.push(by_id(format!("claimed {}", route.name), Kind::Claimed, look));
    }
    for (crossing, carrier) in crossings(station) {
        let kind = match carrier {
            Carrier::Quic => Kind::OutboxGateway,
            Carrier::Diode | Carrier::Folder => Kind::OutboxOneWay,
            Carrier::Ferry => Kind::OutboxFerry,
        };
        let outbox = station.spool.outbox(crossing);
        let (entries, bytes) = outbox.load();
        let listed = outbox.entries()?;
        let oldest = listed.iter().map(|entry| moment_of(&entry.id)).min();
        let look = Look { entries: entries as u64, bytes, oldest, more: listed.len() < entries, unreadable: false };
        rows.push(by_id(format!("outbox {crossing}"), kind, Ok(look)));
        let unread = station.missing.unread(crossing);
        if unread > 0
            && let Some(row) = rows.last_mut().and_then(Value::as_object_mut)
        {
            row.insert("unread".to_owned(), json!(unread));
        }
        if carrier == Carrier::Ferry
            && let Some(row) = rows.last_mut().and_then(Value::as_object_mut)
        {
            let next = trips::for_the_next(station, &listed)?;
            row.insert("next_entries".to_owned(), json!(next.files));
            row.insert("next_bytes".to_owned(), json!(next.bytes));
            if let Some(trip) = next.again {
                row.insert("next_again".to_owned(), json!(trip));
                row.insert("later_entries".to_owned(), json!(next.later));
            }
        }
        let kind = if carrier == Carrier::Ferry { Kind::ReceiptsFerry } else { Kind::Receipts };
        let look = look_by_change(&layout.receipts(crossing), |_| true);
        rows.push(by_change(format!("receipts {crossing}"), kind, look));
    }
    let mut inward: Vec<Crossing> =
        station.peers.iter().filter_map(|peer| Crossing::between(peer.zone, station.zone)).collect();
    inward.sort_unstable();
    inward.dedup();
    for crossing in inward {
        // By the file and not by the id: sealed at the other side some time ago, it may have come a moment ago.
        let look = look_by_change(&layout.complete(crossing), |_| true);
        rows.push(by_change(format!("complete {crossing}"), Kind::Complete, look));
    }
    rows.push(by_change("checked".to_owned(), Kind::Checked, look_by_change(&layout.checked(), |_| true)));
    for route in outlets::ending(station) {
        let kind = Kind::Outlet { hours: route.pickup_hours };
        rows.push(by_change(format!("outlet {}", route.name), kind, outlets::look(station, route, now)));
    }
    rows.push(by_change("desk".to_owned(), Kind::Desk, look_by_change(&layout.desk_requests(), |_| true)));
    let kind = Kind::Quarantine { days: station.settings.quarantine_days };
    rows.push(by_id("quarantine".to_owned(), kind, look_at_held(&layout.quarantine())));
    Ok(rows)
}

fn is_a_drop(path: &Path) -> bool {
    path.file_name().is_some_and(|name| !spool::is_litter(name))
}

/// The crossings out of this node, each with its carrier.
fn crossings(station: &Station) -> Vec<(Crossing, Carrier)> {
    let mut found: Vec<(Crossing, Carrier)> = station
        .peers
        .iter()
        .filter_map(|peer| Some((Crossing::between(station.zone, peer.zone)?, peer.send)))
        .collect();
    found.sort_unstable_by_key(|(crossing, _)| *crossing);
    found.dedup_by_key(|(crossing, _)| *crossing);
    found
}

fn row(queue: &str, kind: Kind, look: Look, age_ms: Option<u64>) -> Value {
    let (normal_en, normal_zh) = kind.words();
    let oldest_s = age_ms.map(|ms| ms / 1000);
    let late = oldest_s.zip(kind.normal_s()).is_some_and(|(oldest, normal)| oldest > normal);
    json!({
        "queue": queue,
        "entries": look.entries,
        "bytes": look.bytes,
        "more": look.more,
        "oldest_s": oldest_s,
        "normal_s": kind.normal_s(),
        "verdict": if look.unreadable { "unreadable" } else if late { "late" } else { "ok" },
        "normal_en": normal_en,
        "normal_zh": normal_zh,
    })
}

/// Does a route that ends here have deliveries that its app leaves standing too long; does one hold what it may?
pub fn outlet_alarms(station: &Station, now: Timestamp) -> (bool, bool) {
    let (mut late, mut full) = (false, false);
    for route in outlets::ending(station) {
        // What cannot be looked at is shown so, and whatever is delivered there fails by itself.
        late |= outlets::look(station, route, now).is_ok_and(|look| outlets::is_late(station, route, &look));
        full |= outlets::is_full(station, route, now).unwrap_or_default();
    }
    (late, full)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_said_of_a_held_parcel_is_not_held_itself() {
        let folder = tempfile::tempdir().unwrap();
        let disk = spool::Disk::real();
        let id = protocol::id::new_id(Timestamp(1_000), [7; 10]);
        disk.create_dir_private(&folder.path().join(id.to_string())).unwrap();
        disk.write(&folder.path().join(format!("{id}.{}", PAPER)), b"word 00\n").unwrap();
        let other = protocol::id::new_id(Timestamp(2_000), [7; 10]);
        disk.create(&folder.path().join(format!("{other}.aside"))).unwrap();
        assert_eq!(look_at_held(folder.path()).unwrap().entries, 2);
    }

    #[test]
    fn a_look_counts_everything_and_asks_only_so_many() {
        let folder = tempfile::tempdir().unwrap();
        let disk = spool::Disk::real();
        for n in 0..40u64 {
            let id = protocol::id::new_id(Timestamp(1_000 + n), [7; 10]);
            disk.create(&folder.path().join(format!("{id}.bundle"))).unwrap();
        }
        let found = look_by_id(folder.path()).unwrap();
        assert_eq!(
            found,
            Look { entries: 40, bytes: 0, oldest: Some(Timestamp(1_000)), more: false, unreadable: false }
        );
        let found = look(folder.path(), |_| true, by_id, 39).unwrap();
        assert_eq!((found.entries, found.more), (40, true));
    }

    #[test]
    fn age_over_what_is_normal_is_late_and_nothing_else_is() {
        let look = Look { entries: 1, bytes: 5, oldest: None, more: false, unreadable: false };
        let verdict = |kind, age_ms| row("q", kind, look, age_ms)["verdict"].as_str().map(str::to_owned);
        assert_eq!(verdict(Kind::Outlet { hours: 24 }, Some(24 * 3_600_000)).as_deref(), Some("ok"));
        assert_eq!(verdict(Kind::Outlet { hours: 24 }, Some(24 * 3_600_000 + 1000)).as_deref(), Some("late"));
        assert_eq!(verdict(Kind::InletOff, Some(u64::MAX)).as_deref(), Some("ok"));
        assert_eq!(verdict(Kind::Inlet, None).as_deref(), Some("ok"));
    }
}
