//! The wall clock of this link. Rounds are counted in minutes, and they outlive a restart, so only the wall clock can
//! count them: one that jumps, ahead or back, makes a round early and puts nothing off.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use protocol::Timestamp;

/// Has a moment come that was set for at most so many milliseconds ahead? One that is further away was set by a clock that
/// has gone back since.
pub(crate) fn has_come(now: Timestamp, due: Timestamp, wait_ms: u64) -> bool {
    due.since(now) == 0 || due.since(now) > wait_ms
}

/// Milliseconds between two moments, whichever the clock calls the later.
pub(crate) fn apart_ms(one: Timestamp, other: Timestamp) -> u64 {
    one.0.abs_diff(other.0)
}

/// Now.
#[expect(clippy::disallowed_methods, reason = "the one place of this crate that asks what time it is")]
pub(crate) fn wall() -> Timestamp {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Timestamp(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX))
}
