//! A token bucket: how many bytes may leave now. Without it a burst of segments overruns any buffer on the way.

use super::Moment;

/// Fills with the rate, holds at most the burst.
#[derive(Clone, Debug)]
pub struct Bucket {
    bytes_per_s: u64,
    burst_bytes: u64,
    /// In byte-nanoseconds per second, so that nothing is lost to rounding at any rate.
    credit: u128,
    filled: Moment,
}

const NANOS: u128 = 1_000_000_000;

impl Bucket {
    /// A full bucket. A burst is at least one datagram, or nothing would ever leave.
    #[must_use]
    pub fn new(bytes_per_s: u64, burst_bytes: u64, now: Moment) -> Bucket {
        let burst_bytes = burst_bytes.max(u64::from(super::geometry::MTU_MAX));
        Bucket { bytes_per_s: bytes_per_s.max(1), burst_bytes, credit: u128::from(burst_bytes) * NANOS, filled: now }
    }

    /// Bytes that may leave now.
    pub fn available(&mut self, now: Moment) -> u64 {
        let passed = now.saturating_sub(self.filled).as_nanos();
        self.filled = self.filled.max(now);
        self.credit = (self.credit + passed * u128::from(self.bytes_per_s)).min(u128::from(self.burst_bytes) * NANOS);
        u64::try_from(self.credit / NANOS).unwrap_or(u64::MAX)
    }

    /// So many left.
    pub fn spend(&mut self, bytes: u64) {
        self.credit = self.credit.saturating_sub(u128::from(bytes) * NANOS);
    }

    /// How long until so many may leave.
    #[must_use]
    pub fn wait_for(&self, bytes: u64) -> Moment {
        let wanted = u128::from(bytes.min(self.burst_bytes)) * NANOS;
        let nanos = wanted.saturating_sub(self.credit).div_ceil(u128::from(self.bytes_per_s));
        Moment::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lets_the_rate_through_and_no_more() {
        let mut bucket = Bucket::new(1_000_000, 10_000, Moment::ZERO);
        let (mut now, mut sent) = (Moment::ZERO, 0);
        while now < Moment::from_secs(1) {
            while bucket.available(now) >= 1_472 {
                bucket.spend(1_472);
                sent += 1_472;
            }
            now += bucket.wait_for(1_472);
        }
        assert!((990_000..=1_012_000).contains(&sent), "{sent}");
    }
}
