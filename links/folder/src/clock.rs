//! The wall clock of this link. Rounds are counted in minutes; a clock that jumps makes one early or late, no more.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use protocol::Timestamp;

/// Now.
#[expect(clippy::disallowed_methods, reason = "the one place of this crate that asks what time it is")]
pub(crate) fn wall() -> Timestamp {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Timestamp(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX))
}
