//! A number as it stands in a cell: with a unit, in quotes, with a comma for a point, in degrees and minutes. Knows
//! nothing of what it means.

/// A number in a cell.
#[derive(Clone, Copy)]
pub(crate) struct Written {
    /// Its size without sign; degrees, minutes and seconds as degrees.
    pub value: f64,
    /// Digits before the point.
    pub whole: usize,
    /// Digits behind it; of degrees in minutes and seconds, as many as they are worth.
    pub decimals: usize,
}

/// Seconds are a four-thousandth of a degree.
const SECONDS_DECIMALS: usize = 4;

impl Written {
    /// Reads a cell, if a number and nothing else stands in it.
    pub(crate) fn of(cell: &str) -> Option<Written> {
        // ="34512.417" and '34512.417 keep a spreadsheet from rounding.
        let cell = cell.trim_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '=' | '‘' | '’'));
        let digits = cell.trim_start_matches(['-', '+']).trim_end_matches(['m', '°', '米', '度']);
        Written::decimal(digits).or_else(|| Written::sexagesimal(digits))
    }

    fn decimal(digits: &str) -> Option<Written> {
        let (whole, fraction) = digits.split_once(['.', ',', '·', '。']).unwrap_or((digits, ""));
        if whole.is_empty() || whole.len() > 16 || !all_digits(whole) || !all_digits(fraction) {
            return None;
        }
        let significant = whole.trim_start_matches('0').len().max(1);
        if significant > 12 {
            return None;
        }
        let value = format!("{whole}.{fraction}").parse().ok()?;
        Some(Written { value, whole: significant, decimals: fraction.len() })
    }

    /// `113-20-51.99`, `113:20:51.99`, `113 20 51.99`, `113°20′51.99″`.
    fn sexagesimal(digits: &str) -> Option<Written> {
        let digits = digits.trim_end_matches(['″', '"', '”', '秒', 'N', 'E', ' ']);
        let mut parts = digits.split(['-', ':', ' ', '°', '′', '\'', '度', '分']);
        let (degrees, minutes, seconds) = (parts.next()?, parts.next()?, parts.next()?);
        let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
        let sized =
            (2..=3).contains(&degrees.len()) && (1..=2).contains(&minutes.len()) && (1..=2).contains(&whole.len());
        if !sized || parts.next().is_some() || ![degrees, minutes, whole, fraction].iter().all(|part| all_digits(part))
        {
            return None;
        }
        let number = |part: &str| part.parse::<f64>().ok();
        let (minutes, seconds) = (number(minutes)?, number(seconds)?);
        let value = number(degrees)? + minutes / 60.0 + seconds / 3600.0;
        (minutes < 60.0 && seconds < 60.0).then_some(Written {
            value,
            whole: degrees.len(),
            decimals: SECONDS_DECIMALS + fraction.len(),
        })
    }
}

fn all_digits(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_a_number_in_every_spelling() {
        for (cell, value) in [
            ("34512.417", 34_512.417),
            ("=\"34512.417\"", 34_512.417),
            ("'34512.417", 34_512.417),
            ("34512,417", 34_512.417),
            ("0034512.417m", 34_512.417),
            ("113-20-51.99", 113.347_775),
            ("23:08:22.43", 23.139_563_888_9),
        ] {
            let written = Written::of(cell).expect(cell);
            assert!((written.value - value).abs() < 1e-6, "{cell}: {}", written.value);
        }
        for cell in ["", "-", "2024-07-04", "1.2.3", "甲", "113-60-00", "12,345,678"] {
            assert!(Written::of(cell).is_none(), "{cell}");
        }
    }
}
