//! The clock of one machine, which may step away from the time of the world for a while.

use protocol::Timestamp;

use crate::papers::Noise;

const HOUR_MS: u64 = 3_600_000;
/// How far a clock goes back: some hours, some days, a mistyped year, a dead battery.
const BACK_MS: [u64; 4] = [3 * HOUR_MS, 9 * 24 * HOUR_MS, 400 * 24 * HOUR_MS, 3_000 * 24 * HOUR_MS];
/// How far it goes forward. What is kept for days is believed to be old on a clock that goes further.
const FORWARD_MS: [u64; 2] = [3 * HOUR_MS, 20 * HOUR_MS];

/// A clock that may be wrong.
#[derive(Debug, Default)]
pub(super) struct Clock {
    ahead_ms: u64,
    behind_ms: u64,
    rounds: u64,
}

impl Clock {
    /// Steps, for some rounds.
    pub(super) fn step(&mut self, noise: &mut Noise) {
        let far = if noise.below(2) == 0 { &FORWARD_MS[..] } else { &BACK_MS[..] };
        let far_ms = far[usize::try_from(noise.below(far.len() as u64)).unwrap_or(0)];
        (self.ahead_ms, self.behind_ms) = if far.len() == FORWARD_MS.len() { (far_ms, 0) } else { (0, far_ms) };
        self.rounds = 1 + noise.below(6);
    }

    /// A round is over.
    pub(super) fn tick(&mut self) {
        self.rounds = self.rounds.saturating_sub(1);
        if self.rounds == 0 {
            *self = Clock::default();
        }
    }

    /// What it shows.
    pub(super) fn shows(&self, now: Timestamp) -> Timestamp {
        Timestamp((now.0 + self.ahead_ms).saturating_sub(self.behind_ms))
    }
}
