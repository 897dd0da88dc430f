//! A moment, as it stands in signed objects: milliseconds since 1970-01-01 UTC. The protocol is told the time and
//! never asks; expiry, order and replay rest on sequences, so a wrong clock makes a record odd and nothing else.

use std::fmt;

/// Milliseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Whole seconds since 1970.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        self.0 / 1000
    }
    /// Later by so many milliseconds.
    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> Timestamp {
        Timestamp(self.0.saturating_add(ms))
    }
    /// Milliseconds from an earlier moment, 0 where it was not earlier.
    #[must_use]
    pub const fn since(self, earlier: Timestamp) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC, to the second.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = self.seconds() / 86_400;
        let (hour, minute, second) = (self.seconds() / 3600 % 24, self.seconds() / 60 % 60, self.seconds() % 60);
        let (year, month, day) = civil(days);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

/// Days from 1970-01-01 to a day (Hinnant, the same page).
fn days_from_civil(year: u64, month: u64, day: u64) -> Option<u64> {
    let year = if month <= 2 { year.checked_sub(1)? } else { year };
    let (era, yoe) = (year / 400, year % 400);
    let doy = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    (era * 146_097 + doe).checked_sub(719_468)
}

/// Year, month and day of a number of days since 1970-01-01 (Hinnant, "chrono-compatible low-level date algorithms").
fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z / 146_097;
    let doe = z % 146_097;
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + u64::from(month <= 2), month, day)
}

impl der::FixedTag for Timestamp {
    const TAG: der::Tag = der::Tag::Integer;
}
impl der::EncodeValue for Timestamp {
    fn value_len(&self) -> der::Result<der::Length> {
        self.0.value_len()
    }
    fn encode_value(&self, writer: &mut impl der::Writer) -> der::Result<()> {
        self.0.encode_value(writer)
    }
}
impl<'a> der::DecodeValue<'a> for Timestamp {
    type Error = der::Error;
    fn decode_value<R: der::Reader<'a>>(reader: &mut R, header: der::Header) -> der::Result<Self> {
        u64::decode_value(reader, header).map(Timestamp)
    }
}

impl Timestamp {
    /// The first moment of a day, `YYYY-MM-DD` by UTC. None where the calendar has no such day.
    #[must_use]
    pub fn of_day(day: &str) -> Option<Timestamp> {
        let number = |text: &str| if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None };
        let (year, rest) = day.split_once('-')?;
        let (month, date) = rest.split_once('-')?;
        let (year, month, date): (u64, u64, u64) = (number(year)?, number(month)?, number(date)?);
        if day.len() != 10 || !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || date == 0 {
            return None;
        }
        let at = Timestamp(days_from_civil(year, month, date)?.checked_mul(86_400_000)?);
        at.to_string().starts_with(day).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_shown_as_people_write_it() {
        assert_eq!(Timestamp(0).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(Timestamp(1_795_305_599_999).to_string(), "2026-11-21T23:59:59Z");
        assert_eq!(Timestamp(1_709_210_096_000).to_string(), "2024-02-29T12:34:56Z");
    }

    #[test]
    fn every_day_is_read_back_and_no_other_text_is_a_day() {
        for day in (0..40_000).step_by(13) {
            let at = Timestamp(day * 86_400_000);
            assert_eq!(Timestamp::of_day(at.to_string().split('T').next().unwrap()), Some(at));
        }
        for day in [
            "2026-02-29",
            "2026-13-01",
            "2026-00-10",
            "2026-11-00",
            "2026-11-31",
            "26-11-21",
            "2026-11-1",
            "",
            "+026-11-21",
        ] {
            assert_eq!(Timestamp::of_day(day), None, "{day}");
        }
    }
}
