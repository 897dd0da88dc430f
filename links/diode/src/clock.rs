//! The two clocks of the driver: one that only goes forward, and the wall's, which is only ever shown.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use protocol::Timestamp;
use protocol::oneway::Moment;

/// Counts from when it was made.
#[derive(Clone, Copy)]
pub(crate) struct Clock {
    started: Instant,
}

impl Clock {
    pub(crate) fn start() -> Clock {
        Clock { started: Instant::now() }
    }

    pub(crate) fn now(&self) -> Moment {
        self.started.elapsed()
    }
}

/// The wall clock.
#[expect(clippy::disallowed_methods, reason = "the one place of this crate that asks what time it is")]
pub(crate) fn wall() -> Timestamp {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Timestamp(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX))
}
