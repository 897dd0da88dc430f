//! A moment as a person types it: a day, a day and a time, so long ago, or milliseconds since 1970. Days and times are
//! UTC, as everything that the programs print.

use protocol::Timestamp;

use crate::housekeeping::DAY_MS;

/// What may be typed, for a message.
pub(super) const FORMS: &str = "2026-11-21, 2026-11-21T08:30, 90m, 3h, 2d, or milliseconds since 1970";

const MINUTE_MS: u64 = 60 * 1000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
/// Longer ago than any ledger.
const DAYS_MAX: u64 = 100_000;

/// Reads one.
pub(super) fn parse(text: &str, now: Timestamp) -> Option<Timestamp> {
    let text = text.trim();
    if !text.is_ascii() {
        return None;
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        // A bare year or a count of days is a slip of the hand; milliseconds of this century have thirteen digits.
        let ms = text.parse().ok()?;
        return (ms == 0 || text.len() >= 12).then_some(Timestamp(ms));
    }
    if let Some((number, unit)) = text.split_at_checked(text.len() - 1).filter(|(_, unit)| "smhd".contains(unit)) {
        let unit_ms = match unit {
            "s" => 1000,
            "m" => MINUTE_MS,
            "h" => HOUR_MS,
            _ => DAY_MS,
        };
        let ago: u64 = number.parse().ok()?;
        return Some(Timestamp(now.0.saturating_sub(ago.checked_mul(unit_ms)?)));
    }
    let (day, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00"));
    let days = day_number(day)?;
    let mut parts = time.trim_end_matches('Z').splitn(3, ':').map(two_digits);
    let (hour, minute) = (parts.next()??, parts.next()??);
    let second = parts.next().map_or(Some(0), |part| part)?;
    let fits = hour < 24 && minute < 60 && second < 60 && days < DAYS_MAX;
    fits.then_some(Timestamp(days * DAY_MS + hour * HOUR_MS + minute * MINUTE_MS + second * 1000))
}

fn two_digits(part: &str) -> Option<u64> {
    if part.len() == 2 { part.parse().ok() } else { None }
}

/// The number of a day since 1970, found by asking what each day is called: the calendar stands in one place only.
fn day_number(day: &str) -> Option<u64> {
    let year: u64 = day.get(..4)?.parse().ok()?;
    if day.len() != 10 || !(1970..2200).contains(&year) {
        return None;
    }
    let first = (year - 1970) * 365;
    // Leap days until then, and the days of the year itself.
    (first..first + 60 + 366).find(|number| Timestamp(number * DAY_MS).to_string().get(..10) == Some(day))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_795_305_599_000);

    #[test]
    fn a_moment_is_read_as_people_type_it() {
        let read = |text: &str| parse(text, NOW).map(|moment| moment.to_string());
        let is = |text: &str| Some(text.to_owned());
        assert_eq!(read("2026-11-21"), is("2026-11-21T00:00:00Z"));
        assert_eq!(read("2024-02-29"), is("2024-02-29T00:00:00Z"));
        assert_eq!(read("2026-12-31T23:59"), is("2026-12-31T23:59:00Z"));
        assert_eq!(read("2026-11-21T08:30:15Z"), is("2026-11-21T08:30:15Z"));
        assert_eq!(read("3h"), is("2026-11-21T20:59:59Z"));
        assert_eq!(read("2d"), is("2026-11-19T23:59:59Z"));
        assert_eq!(read("90m"), is("2026-11-21T22:29:59Z"));
        assert_eq!(parse("1795305599000", NOW), Some(NOW));
        assert_eq!(parse("0", NOW), Some(Timestamp(0)));
    }

    #[test]
    fn what_is_no_moment_is_not_taken_for_one() {
        for text in [
            "",
            "h",
            "-3h",
            "yesterday",
            "2026",
            "2026-13-01",
            "2026-02-30",
            "2023-02-29",
            "21.11.2026",
            "2026-11-21T25:00",
            "2026-11-21T8",
            "3 h",
            "99999999999999999999d",
            "昨天",
            "2026-11-2",
            "1969-12-31",
        ] {
            assert_eq!(parse(text, NOW), None, "{text:?}");
        }
    }
}
