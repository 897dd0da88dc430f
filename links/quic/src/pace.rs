//! How fast one peer is sent to: a bucket of bytes that fills with time. Told the time; sleeps nowhere.

use std::time::Duration;

use protocol::Timestamp;

/// A rate limit for all streams to one peer.
#[derive(Debug)]
pub(crate) struct Pace {
    bytes_a_second: u64,
    /// Bytes that may go now; below zero after an urgent entry went ahead.
    level: i64,
    filled: Timestamp,
}

impl Pace {
    pub(crate) fn new(rate_mbit: u32, now: Timestamp) -> Pace {
        Pace { bytes_a_second: u64::from(rate_mbit) * 125_000, level: 0, filled: now }
    }

    /// Takes bytes out at once, and says how long to wait before sending them.
    pub(crate) fn take(&mut self, now: Timestamp, bytes: u32) -> Duration {
        let rate = i64::try_from(self.bytes_a_second).unwrap_or(i64::MAX);
        let gained =
            i64::try_from(now.since(self.filled).saturating_mul(self.bytes_a_second) / 1000).unwrap_or(i64::MAX);
        self.filled = now;
        // A tenth of a second may be saved up: enough for a smooth stream, too little for a burst.
        self.level = self.level.saturating_add(gained).min(rate / 10).saturating_sub(i64::from(bytes));
        let owed = u64::try_from(-self.level).unwrap_or(0);
        Duration::from_millis(owed.saturating_mul(1000) / self.bytes_a_second.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_in_a_second_waits_about_a_second_and_idle_time_saves_little() {
        let mut pace = Pace::new(8, Timestamp(0));
        let waited: Vec<_> = (0..4).map(|_| pace.take(Timestamp(0), 250_000).as_millis()).collect();
        assert_eq!(waited, [250, 500, 750, 1000]);
        assert_eq!(pace.take(Timestamp(100_000), 100_000).as_millis(), 0);
        assert_eq!(pace.take(Timestamp(100_000), 1_000_000).as_millis(), 1000);
    }
}
