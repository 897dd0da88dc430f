//! What waits here and the disk does not give: by the ledger it waits and no outbox holds it, because the disk lost it in
//! silence; or it stands in an outbox and cannot be read. Its drop is long gone, so nobody can mend it here; its origin's
//! app still can, if it is told. It expires like any other, and is not looked for then.
//!
//! Whoever reads an entry notes in its outbox what failed: gateway, one-way links and ferry alike. Here it is told.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::{Crossing, ParcelId, Timestamp};
use spool::{Entry, EntryKind, Filter, ParcelState, State};

use crate::alarm::Alarm;
use crate::housekeeping::{self, DAY_MS};
use crate::station::{Station, StationError};

/// Parcels looked for at once; more are found when these are dealt with.
const LOOKED_MAX: usize = 10_000;
/// Named in one line of the log.
const NAMED_MAX: usize = 20;
/// Between its record and its outbox a bundle is in neither for a moment: only older ones are missing.
const SETTLED_MS: u64 = 10 * 60 * 1000;
/// Unreadable entries of one outbox that are named at once; the next ones when these are dealt with.
const ASKED_MAX: usize = 1_000;

/// What was found missing at the last looks.
#[derive(Debug, Default)]
pub(crate) struct Missing(Mutex<Found>);

#[derive(Debug, Default)]
struct Found {
    /// By the ledger it waits, and no outbox holds it.
    lost: bool,
    /// How many entries of an outbox cannot be read, as it was told last.
    unread: BTreeMap<Crossing, usize>,
    /// Which outbox is tried first.
    turn: usize,
}

impl Missing {
    fn held(&self) -> MutexGuard<'_, Found> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of an outbox, so many entries cannot be read and are waited for.
    pub(crate) fn unread(&self, crossing: Crossing) -> usize {
        self.held().unread.get(&crossing).copied().unwrap_or_default()
    }
}

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
    station.missing.held().lost = !missing.is_empty();
    watch(station, now)
}

/// Raises or clears the alarm by what is known: cheap, and done every few seconds. What could not be read is tried again,
/// one bad place at a time.
pub(crate) fn watch(station: &Station, now: Timestamp) -> Result<(), StationError> {
    let mut unread = BTreeMap::new();
    try_again(station);
    for crossing in Crossing::ALL {
        let (waited_for, all) = unread_of(station, crossing)?;
        if !waited_for.is_empty() {
            tell(station, crossing, &waited_for, all);
            unread.insert(crossing, all);
        }
    }
    let kept = !station.spool.kept_unread().is_empty();
    let mut found = station.missing.held();
    for crossing in found.unread.keys().filter(|crossing| !unread.contains_key(crossing)) {
        tracing::info!(%crossing, "every bundle that waits in this outbox can be read again, or has gone");
    }
    found.unread = unread;
    let stands = kept || found.lost || !found.unread.is_empty();
    drop(found);
    station.alarms.stands(now, Alarm::BundleMissing, stands);
    Ok(())
}

/// A bad sector may take its disk a minute, and a stage that shows no life for two is started anew: the first that fails
/// ends the look, and the next one begins with another outbox.
fn try_again(station: &Station) {
    let turn = {
        let mut found = station.missing.held();
        found.turn = found.turn.wrapping_add(1);
        found.turn
    };
    let crossings = Crossing::ALL.iter().cycle().skip(turn % Crossing::ALL.len()).take(Crossing::ALL.len());
    for crossing in crossings {
        if !station.spool.outbox(*crossing).look_at_unread() {
            return;
        }
    }
}

/// Once for every number of them.
fn tell(station: &Station, crossing: Crossing, unread: &[Entry], all: usize) {
    if station.missing.unread(crossing) != all {
        let named: Vec<String> = unread.iter().take(NAMED_MAX).map(|entry| entry.id.to_string()).collect();
        tracing::error!(%crossing, entries = all, first = named.join(" "), "wait in this outbox and cannot be read; the others go on");
    }
}

/// Entries of an outbox that cannot be read and are waited for, and how many: a parcel that has expired, or was confirmed,
/// is waited for no more.
fn unread_of(station: &Station, crossing: Crossing) -> Result<(Vec<Entry>, usize), StationError> {
    let outbox = station.spool.outbox(crossing);
    let (entries, mut all) = outbox.unread(usize::MAX);
    let mut waited_for = Vec::new();
    for entry in entries {
        if entry.kind != EntryKind::Bundle || parcel_of(station, &entry)?.is_none_or(|state| is_waiting(state.state)) {
            waited_for.push(entry);
            if waited_for.len() == ASKED_MAX {
                break;
            }
        } else {
            // Not asked about again until somebody tries to read it again.
            outbox.no_matter(&entry.id);
            all = all.saturating_sub(1);
        }
    }
    Ok((waited_for, all))
}

fn parcel_of(station: &Station, entry: &Entry) -> Result<Option<ParcelState>, StationError> {
    let parcel = station.spool.parcel_of_bundle(&entry.id)?;
    Ok(parcel.map(|parcel| station.spool.parcel(&parcel)).transpose()?.flatten())
}

/// Parcels that wait and whose bundle cannot be read, as far as one look goes.
pub(crate) fn unread_parcels(station: &Station) -> Result<Vec<ParcelState>, StationError> {
    let mut found = Vec::new();
    for crossing in Crossing::ALL {
        for entry in unread_of(station, crossing)?.0.iter().filter(|entry| entry.kind == EntryKind::Bundle) {
            found.extend(parcel_of(station, entry)?);
        }
    }
    Ok(found)
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
