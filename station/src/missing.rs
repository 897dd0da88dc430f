//! What the ledger says waits here and no outbox holds: a disk that lost it in silence. Its drop is long gone, so nobody
//! can mend it here; its origin's app still can, if it is told. It expires like any other, and is not looked for then.

use protocol::{Crossing, ParcelId, Timestamp};
use spool::{EntryKind, Filter, State};

use crate::alarm::Alarm;
use crate::housekeeping::{self, DAY_MS};
use crate::station::{Station, StationError};

/// Parcels looked for at once; more are found when these are dealt with.
const LOOKED_MAX: usize = 10_000;
/// Named in one line of the log.
const NAMED_MAX: usize = 20;
/// Between its record and its outbox a bundle is in neither for a moment: only older ones are missing.
const SETTLED_MS: u64 = 10 * 60 * 1000;

/// Looks whether everything that waits by the ledger stands in an outbox, and raises or clears the alarm. Costs a count,
/// unless the counts differ.
pub(crate) fn look(station: &Station, now: Timestamp) -> Result<(), StationError> {
    let counts = station.spool.counts()?;
    let waiting: u64 = counts.iter().filter(|((_, state), _)| is_waiting(*state)).map(|(_, count)| count).sum();
    let mut standing = 0;
    for crossing in Crossing::ALL {
        let entries = station.spool.outbox(crossing).entries()?;
        standing += entries.iter().filter(|entry| entry.kind == EntryKind::Bundle).count() as u64;
    }
    let missing = if waiting > standing { missing(station, now)? } else { Vec::new() };
    if !missing.is_empty() {
        let named: Vec<String> = missing.iter().take(NAMED_MAX).map(ToString::to_string).collect();
        tracing::error!(parcels = missing.len(), first = named.join(" "), "on record as waiting, and in no outbox");
    }
    let kept = !station.spool.kept_unread().is_empty();
    station.alarms.stands(now, Alarm::BundleMissing, kept || !missing.is_empty());
    Ok(())
}

fn is_waiting(state: State) -> bool {
    matches!(state, State::Accepted | State::Relayed)
}

fn missing(station: &Station, now: Timestamp) -> Result<Vec<ParcelId>, StationError> {
    let mut missing = Vec::new();
    for state in [State::Accepted, State::Relayed] {
        let filter = Filter { state: Some(state), ..Filter::default() };
        for parcel in station.spool.parcels(&filter, LOOKED_MAX)? {
            let Some(sent) = parcel.sent.clone().filter(|_| now.since(parcel.last) > SETTLED_MS) else { continue };
            if station.spool.outbox(sent.crossing).find(&sent.bundle)?.is_some() {
                continue;
            }
            let route = station.route(&parcel.route);
            let waits_ms =
                route.map_or(housekeeping::shortest_ms(station), |route| u64::from(route.expire_days) * DAY_MS);
            if station.clock.may_end_things() && now.since(protocol::id::moment_of(&sent.bundle)) > waits_ms {
                housekeeping::expire(station, &parcel, now)?;
            } else {
                missing.push(parcel.parcel);
            }
        }
    }
    Ok(missing)
}
