//! Nights of the office: when one begins, all that waits for a receipt gets a round at once, for the wire is idle. Rounds
//! between nights go by time that passed; only this asks what time it is, so it is told nothing where that is in doubt.

use crate::time::Timestamp;

/// China has one time zone, and no summer time.
const OFFICE_AHEAD_OF_UTC_S: u64 = 8 * 3_600;
const DAY_S: u64 = 86_400;
/// A sender that learns the time later than this after the hour lets the night go: it is one that was set, not one that came.
const BEGINS_WITHIN_S: u64 = 3_600;

/// Watches for the hour.
#[derive(Clone, Copy, Debug)]
pub struct Nights {
    from_h: u8,
    last: Option<u64>,
}

impl Nights {
    /// Nights that begin at this hour of the office's day.
    #[must_use]
    pub fn from_hour(from_h: u8) -> Nights {
        Nights { from_h, last: None }
    }

    /// Has a night begun since it was asked last? `wall` is nothing while the clock is in doubt: then none begins, and the
    /// first look after it only tells which night it is. A clock that goes back brings no night a second time.
    pub fn begins(&mut self, wall: Option<Timestamp>) -> bool {
        let Some(wall) = wall else {
            self.last = None;
            return false;
        };
        let since = (wall.seconds() + OFFICE_AHEAD_OF_UTC_S + DAY_S).saturating_sub(u64::from(self.from_h) * 3_600);
        let (night, into_s) = (since / DAY_S, since % DAY_S);
        let Some(last) = self.last else {
            self.last = Some(night);
            return false;
        };
        self.last = Some(last.max(night));
        night > last && into_s < BEGINS_WITHIN_S
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-22, at an hour and minute in UTC.
    fn at(day: u64, hour: u64, minute: u64) -> Option<Timestamp> {
        Some(Timestamp((1_795_305_600 + day * DAY_S + hour * 3_600 + minute * 60) * 1_000))
    }

    #[test]
    fn a_night_begins_once_at_the_hour_of_the_office() {
        let mut nights = Nights::from_hour(22);
        // 22:00 in China is 14:00 in UTC.
        assert!(!nights.begins(at(0, 13, 58)) && !nights.begins(at(0, 13, 59)));
        assert!(nights.begins(at(0, 14, 0)));
        assert!(!nights.begins(at(0, 14, 1)) && !nights.begins(at(0, 18, 0)) && !nights.begins(at(1, 13, 59)));
        assert!(nights.begins(at(1, 14, 0)));
        let mut midnight = Nights::from_hour(0);
        assert!(!midnight.begins(at(0, 15, 59)) && midnight.begins(at(0, 16, 0)));
    }

    #[test]
    fn a_start_in_the_night_a_clock_in_doubt_and_a_clock_that_is_set_begin_none() {
        let mut nights = Nights::from_hour(22);
        assert!(!nights.begins(at(0, 15, 0)), "a start");
        assert!(!nights.begins(None) && !nights.begins(at(1, 14, 5)), "the night began in doubt");
        assert!(!nights.begins(at(0, 10, 0)) && !nights.begins(at(1, 14, 6)), "it went back and came again");
        assert!(!nights.begins(at(5, 9, 0)), "set to the middle of another day");
        assert!(nights.begins(at(5, 14, 0)), "and from there on it goes by the hour");
    }
}
