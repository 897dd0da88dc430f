//! What time it is, and whether anything may end by it. The one place that asks the machine's clocks; everything else is
//! told.
//!
//! Two clocks are read: the wall clock, which somebody can set, and the boot clock, which only runs. Where they disagree
//! by more than five minutes while the daemon runs, or where the wall stands more than thirty days from the last record
//! of the ledger at its start, the wall is in doubt. Then nothing expires, retires or is refused for time, and the node
//! reckons: the last moment that was believed, and what the boot clock has run since. So records, ids and timers go on
//! in small steps whatever somebody sets the wall to, and a restart meets the same doubt again. It ends when the wall
//! agrees with the reckoning again, when a neighbour's clock agrees with the wall, or when an operator says so.

use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::Timestamp;
use spool::START_DOUBT_MS;

/// How far the wall may leave the boot clock. A time server corrects a healthy clock by seconds; leap seconds and a
/// first correction after the start stay far below.
pub const STEP_DOUBT_MS: u64 = 5 * 60 * 1000;

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Milliseconds since 1970, as the machine believes.
    pub wall: Timestamp,
    /// Milliseconds since the machine started, sleep included.
    pub boot_ms: u64,
}

/// Now, by the machine's wall clock.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place that asks")]
pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Both clocks, now.
#[must_use]
pub fn read() -> Reading {
    let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let ms = |part: i64| u64::try_from(part).unwrap_or_default();
    Reading { wall: now(), boot_ms: ms(boot.tv_sec) * 1000 + ms(boot.tv_nsec) / 1_000_000 }
}

/// Why the wall is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It stood far from the last record when the daemon started.
    FarFromLedger,
    /// It was set while the daemon ran.
    Stepped,
}

impl Why {
    /// The code word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Why::FarFromLedger => "far-from-ledger",
            Why::Stepped => "stepped",
        }
    }

    /// The wall agrees again when it is no further than this from the reckoning: what would not have raised the doubt.
    const fn agrees_within_ms(self) -> u64 {
        match self {
            Why::FarFromLedger => START_DOUBT_MS,
            Why::Stepped => STEP_DOUBT_MS,
        }
    }
}

/// A doubt that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// Why.
    pub why: Why,
    /// Since when, by the reckoning.
    pub since: Timestamp,
}

/// What is believed. Pure: readings go in, the time comes out.
#[derive(Clone, Debug)]
pub struct Reckoning {
    /// A believed moment, and what the boot clock said then; nothing before the first reading.
    base: Base,
    doubt: Option<Doubt>,
}

#[derive(Clone, Copy, Debug)]
enum Base {
    /// The boot clock was not read yet.
    At(Timestamp),
    /// This moment stood at this reading of the boot clock.
    Ran(Timestamp, u64),
}

impl Reckoning {
    /// At the start of a daemon whose ledger's last record bears `last`; none in a new ledger.
    #[must_use]
    pub fn start(wall: Timestamp, last: Option<Timestamp>) -> Reckoning {
        match last.filter(|last| wall.0.abs_diff(last.0) > START_DOUBT_MS) {
            Some(last) => {
                Reckoning { base: Base::At(last), doubt: Some(Doubt { why: Why::FarFromLedger, since: last }) }
            }
            None => Reckoning { base: Base::At(wall), doubt: None },
        }
    }

    /// What the believed moment and the boot clock give.
    fn reckoned(&self, reading: Reading) -> Timestamp {
        match self.base {
            Base::At(moment) => moment,
            Base::Ran(moment, boot_ms) => moment.plus_ms(reading.boot_ms.saturating_sub(boot_ms)),
        }
    }

    /// Takes a reading and answers the time to go by: the wall where it is believed, else the reckoning.
    pub fn see(&mut self, reading: Reading) -> Timestamp {
        if let Base::At(moment) = self.base {
            let moment = if self.doubt.is_some() { moment } else { reading.wall };
            self.base = Base::Ran(moment, reading.boot_ms);
        }
        let reckoned = self.reckoned(reading);
        let apart = reading.wall.0.abs_diff(reckoned.0);
        match self.doubt {
            None if apart > STEP_DOUBT_MS => {
                self.doubt = Some(Doubt { why: Why::Stepped, since: reckoned });
                reckoned
            }
            None => reading.wall,
            Some(doubt) if apart <= doubt.why.agrees_within_ms() => self.confirm(reading),
            Some(_) => reckoned,
        }
    }

    /// A neighbour's clock, read a moment ago. Two machines do not go wrong alike: where it agrees with the wall, the
    /// wall is believed.
    pub fn hear(&mut self, reading: Reading, theirs: Timestamp) {
        if self.doubt.is_some() && reading.wall.0.abs_diff(theirs.0) <= STEP_DOUBT_MS {
            self.confirm(reading);
        }
    }

    /// An operator says that the wall is right.
    pub fn confirm(&mut self, reading: Reading) -> Timestamp {
        self.base = match self.base {
            Base::At(_) => Base::At(reading.wall),
            Base::Ran(..) => Base::Ran(reading.wall, reading.boot_ms),
        };
        self.doubt = None;
        reading.wall
    }

    /// The doubt that stands.
    #[must_use]
    pub fn doubt(&self) -> Option<Doubt> {
        self.doubt
    }
}

/// The reckoning that all threads of a node share.
#[derive(Debug)]
pub struct Clock(Mutex<(Reckoning, Reading)>);

impl Clock {
    /// A clock at the start of a daemon.
    #[must_use]
    pub fn start(wall: Timestamp, last: Option<Timestamp>) -> Clock {
        Clock(Mutex::new((Reckoning::start(wall, last), Reading { wall, boot_ms: 0 })))
    }

    /// What is believed at this moment, for the clock that follows this one in the same process.
    #[must_use]
    pub fn reckoning(&self) -> Reckoning {
        self.held().0.clone()
    }

    /// Goes on with what was believed before a reload: the boot clock ran through it.
    pub fn carry_on(&self, before: Reckoning) {
        self.held().0 = before;
    }

    fn held(&self) -> MutexGuard<'_, (Reckoning, Reading)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a reading, answers the time to go by.
    pub fn see(&self, reading: Reading) -> Timestamp {
        let mut held = self.held();
        held.1 = reading;
        held.0.see(reading)
    }

    /// What a neighbour's clock said a moment ago.
    pub fn hear(&self, theirs: Timestamp) {
        let mut held = self.held();
        let reading = held.1;
        held.0.hear(reading, theirs);
    }

    /// An operator believes the wall of the last reading, which is answered.
    pub fn confirm(&self) -> Timestamp {
        let mut held = self.held();
        let reading = held.1;
        held.0.confirm(reading)
    }

    /// The time to go by at the last reading, for whoever works beside the stages that read.
    #[must_use]
    pub fn last(&self) -> Timestamp {
        let held = self.held();
        held.0.clone().see(held.1)
    }

    /// The wall at the last reading: what the kernel dates files by.
    #[must_use]
    pub fn wall(&self) -> Timestamp {
        self.held().1.wall
    }

    /// The doubt that stands.
    #[must_use]
    pub fn doubt(&self) -> Option<Doubt> {
        self.held().0.doubt()
    }

    /// May anything expire, retire or be refused for its time?
    #[must_use]
    pub fn may_end_things(&self) -> bool {
        self.doubt().is_none()
    }
}

/// Is something due that is done every so often? A clock that went back makes it due at once, and never hangs it.
#[must_use]
pub fn is_due(now: Timestamp, last: Timestamp, every_ms: u64) -> bool {
    now.0.abs_diff(last.0) >= every_ms
}

#[cfg(test)]
mod tests {
    use super::*;

    const YEAR_MS: u64 = 365 * 24 * 60 * 60 * 1000;
    const NOON: Timestamp = Timestamp(1_795_348_800_000);

    fn reading(wall: u64, boot_ms: u64) -> Reading {
        Reading { wall: Timestamp(wall), boot_ms }
    }

    #[test]
    fn a_wall_that_is_set_while_running_is_reckoned_past_until_it_agrees_again() {
        for step in [YEAR_MS, 10 * YEAR_MS, STEP_DOUBT_MS + 1] {
            for wrong in [NOON.0 + step, NOON.0 - step] {
                let mut clock = Reckoning::start(NOON, Some(NOON));
                assert_eq!(clock.see(reading(NOON.0, 1_000)), NOON);
                assert_eq!(clock.see(reading(wrong + 10, 1_010)), NOON.plus_ms(10));
                assert_eq!(clock.doubt(), Some(Doubt { why: Why::Stepped, since: NOON.plus_ms(10) }));
                assert_eq!(clock.see(reading(wrong + 5_000, 6_000)), NOON.plus_ms(5_000));
                // Set right again, with a small error left.
                let right = NOON.0 + 9_000 - STEP_DOUBT_MS;
                assert_eq!(clock.see(reading(right, 10_000)), Timestamp(right));
                assert_eq!(clock.doubt(), None);
            }
        }
    }

    #[test]
    fn corrections_of_minutes_raise_no_doubt_but_their_sum_does() {
        let mut clock = Reckoning::start(NOON, None);
        clock.see(reading(NOON.0, 0));
        assert_eq!(clock.see(reading(NOON.0 + STEP_DOUBT_MS, 0)), NOON.plus_ms(STEP_DOUBT_MS));
        assert_eq!(clock.doubt(), None);
        clock.see(reading(NOON.0 + STEP_DOUBT_MS + 60_000, 0));
        assert_eq!(clock.doubt().map(|doubt| doubt.why), Some(Why::Stepped));
    }

    #[test]
    fn a_start_far_from_the_last_record_goes_on_from_that_record() {
        for wrong in [NOON.0 + YEAR_MS, 0, NOON.0 - START_DOUBT_MS - 1] {
            let mut clock = Reckoning::start(Timestamp(wrong), Some(NOON));
            assert_eq!(clock.doubt(), Some(Doubt { why: Why::FarFromLedger, since: NOON }));
            assert_eq!(clock.see(reading(wrong, 50)), NOON);
            assert_eq!(clock.see(reading(wrong + 7, 57)), NOON.plus_ms(7));
            // The time server comes up: within what a start would have believed.
            let right = NOON.0 + 20 * 24 * 60 * 60 * 1000;
            assert_eq!(clock.see(reading(right, 60)), Timestamp(right));
            assert_eq!(clock.doubt(), None);
            // From now on the boot clock holds it.
            clock.see(reading(right + YEAR_MS, 70));
            assert_eq!(clock.doubt().map(|doubt| doubt.why), Some(Why::Stepped));
        }
        assert_eq!(Reckoning::start(NOON.plus_ms(START_DOUBT_MS), Some(NOON)).doubt(), None);
        assert_eq!(Reckoning::start(NOON, None).doubt(), None);
    }

    #[test]
    fn a_neighbour_who_agrees_or_an_operator_ends_the_doubt() {
        let away = NOON.0 + YEAR_MS;
        let mut clock = Reckoning::start(Timestamp(away), Some(NOON));
        clock.see(reading(away, 0));
        clock.hear(reading(away, 1), NOON);
        assert!(clock.doubt().is_some(), "a neighbour who tells another time agrees with nobody");
        clock.hear(reading(away, 1), Timestamp(away - STEP_DOUBT_MS));
        assert_eq!(clock.doubt(), None);
        assert_eq!(clock.see(reading(away + 5, 6)), Timestamp(away + 5));

        let mut clock = Reckoning::start(Timestamp(away), Some(NOON));
        clock.see(reading(away, 0));
        assert_eq!(clock.confirm(reading(away, 1)), Timestamp(away));
        assert_eq!(clock.see(reading(away + 5, 6)), Timestamp(away + 5));
        assert_eq!(clock.doubt(), None);
    }

    #[test]
    fn a_reload_goes_on_with_the_doubt_it_met() {
        let clock = Clock::start(NOON, None);
        clock.see(reading(NOON.0, 0));
        let wrong = NOON.0 + 10 * 24 * 60 * 60 * 1000;
        clock.see(reading(wrong, 1));
        // By itself a new clock would believe it: ten days are less than thirty.
        let after = Clock::start(Timestamp(wrong), Some(NOON.plus_ms(1)));
        assert!(after.may_end_things());
        after.carry_on(clock.reckoning());
        assert_eq!(after.see(reading(wrong + 9, 10)), NOON.plus_ms(10));
        assert!(!after.may_end_things());
    }

    #[test]
    fn a_timer_goes_on_whichever_way_the_clock_went() {
        assert!(!is_due(NOON, NOON, 1));
        assert!(is_due(NOON.plus_ms(1), NOON, 1));
        assert!(is_due(Timestamp(0), NOON, 60_000));
        assert!(is_due(NOON, Timestamp(0), 60_000));
    }

    #[test]
    fn the_boot_clock_runs_beside_the_wall() {
        let (one, two) = (read(), read());
        assert!(one.boot_ms > 0 && two.boot_ms >= one.boot_ms);
    }
}
