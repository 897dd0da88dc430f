//! How much stands in the outlets, as their apps leave it there: whether a delivery may still be added, and how long the
//! oldest has waited. Removes nothing; an app that never comes costs waiting, not loss.
//!
//! What an outlet holds is looked up on the disk, because apps take from it without a word, and remembered for a few
//! seconds, because it may be 100,000 names.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::{Name, Timestamp};

use crate::clock::is_due;
use crate::config::RouteSettings;
use crate::station::{Station, StationError};
use crate::waiting::{self, Look};

/// A look is believed for so long. An app that picks up is noticed within it.
const LOOK_MS: u64 = 5_000;

/// What the outlets held at the last look.
#[derive(Debug, Default)]
pub struct Outlets {
    seen: Mutex<BTreeMap<Name, (Timestamp, Look)>>,
}

impl Outlets {
    fn held(&self) -> MutexGuard<'_, BTreeMap<Name, (Timestamp, Look)>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more was delivered since the look.
    pub fn delivered(&self, route: &Name, bytes: u64) {
        if let Some((_, look)) = self.held().get_mut(route) {
            look.entries += 1;
            look.bytes = look.bytes.saturating_add(bytes);
        }
    }
}

/// What an outlet of this node holds.
pub fn look(station: &Station, route: &RouteSettings, now: Timestamp) -> Result<Look, StationError> {
    if let Some((at, look)) = station.outlets.held().get(&route.name)
        && !is_due(now, *at, LOOK_MS)
    {
        return Ok(*look);
    }
    let outlet = station.layout().outlet(&route.name);
    let mut found = waiting::look_by_change(&outlet, |path| !is_hidden(path))?;
    if route.outlet_mib.is_some() {
        found.bytes = waiting::bytes_below(&outlet)?;
    }
    station.outlets.held().insert(route.name.clone(), (now, found));
    Ok(found)
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// Does an outlet hold as much as its route allows?
pub fn is_full(station: &Station, route: &RouteSettings, now: Timestamp) -> Result<bool, StationError> {
    is_full_with(station, route, 0, 0, now)
}

/// Will it, with so much that is about to be delivered?
pub fn is_full_with(
    station: &Station,
    route: &RouteSettings,
    entries: u64,
    bytes: u64,
    now: Timestamp,
) -> Result<bool, StationError> {
    let held = look(station, route, now)?;
    let over = route.outlet_mib.is_some_and(|mib| held.bytes.saturating_add(bytes) >= u64::from(mib) << 20);
    Ok(over || held.entries.saturating_add(entries) >= u64::from(route.outlet_entries))
}

/// The routes that end here.
pub fn ending(station: &Station) -> impl Iterator<Item = &RouteSettings> {
    station.routes.iter().filter(|route| route.path.last() == Some(&station.node))
}

/// Is a delivery of this route older than its app may leave it? Files are dated by the wall clock; while that is in
/// doubt their age says nothing.
pub fn is_late(station: &Station, route: &RouteSettings, look: &Look) -> bool {
    let allowed = u64::from(route.pickup_hours) * 3_600_000;
    station.clock.may_end_things() && look.oldest.is_some_and(|oldest| station.clock.wall().since(oldest) > allowed)
}
