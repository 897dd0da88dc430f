//! A city's own grid, as an office writes it into its rules: from where to where its northings and eastings lie. Such
//! numbers have four to six digits and look like any others; only who works there can say what they are.
//!
//! A window adds a heuristic rule, `city-window`, and takes nothing away: what the guard looks for without it, it looks
//! for all the same.

use serde::{Deserialize, Serialize};

/// Windows of one crossing. A province has some dozens of cities; an office works in a few.
pub(crate) const WINDOWS_MAX: usize = 16;
/// Bytes between the two numbers of a point: keys, quotes, a separator, perhaps a line's end with its indent.
const GAP_BYTES_MAX: usize = 48;
/// Digits before the point of a number in a local grid; more belong to the national one, which has rules of its own.
const DIGITS_MAX: usize = 8;

/// Where points of one city lie.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Window {
    /// What people call the grid.
    pub(crate) name: String,
    /// Least and greatest northing, in metres.
    pub(crate) north: [f64; 2],
    /// Least and greatest easting.
    pub(crate) east: [f64; 2],
    /// Decimals that both numbers have at least. Default 3: prices have two.
    #[serde(default = "decimals_min")]
    pub(crate) decimals_min: u8,
    /// Points that must stand in one text. Default 2.
    #[serde(default = "points_min")]
    pub(crate) points_min: u8,
}

const fn decimals_min() -> u8 {
    3
}
const fn points_min() -> u8 {
    2
}

impl Window {
    /// What it says, in a line for an administrator.
    pub(crate) fn told(&self) -> String {
        let ([north, norther], [east, easter]) = (self.north, self.east);
        format!(
            "window {}: north {north} to {norther}, east {east} to {easter}, at least {} decimals, {} points",
            self.name, self.decimals_min, self.points_min
        )
    }

    /// What is wrong with it, if anything.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        let ordered = |[least, greatest]: [f64; 2]| least.is_finite() && greatest.is_finite() && least < greatest;
        if !ordered(self.north) || !ordered(self.east) {
            Some("north and east are two numbers each, the smaller one first")
        } else if self.points_min == 0 || self.decimals_min > 6 {
            Some("points_min is at least 1, decimals_min at most 6")
        } else {
            None
        }
    }
}

/// A number with decimals, without its sign, and where it stands.
#[derive(Clone, Copy)]
struct Number {
    value: f64,
    decimals: usize,
    from: usize,
    to: usize,
}

/// Where the first point of a window's grid stands, where there are enough of them.
pub(crate) fn look(text: &str, windows: &[Window]) -> Option<usize> {
    if windows.is_empty() {
        return None;
    }
    let numbers = numbers(text.as_bytes());
    windows.iter().find_map(|window| points(&numbers, window))
}

fn points(numbers: &[Number], window: &Window) -> Option<usize> {
    // A sign may be a separator, and a separator a sign.
    let within = |number: &Number, [least, greatest]: [f64; 2]| {
        [number.value, -number.value].iter().any(|value| (least..=greatest).contains(value))
    };
    let mut first: Option<(usize, f64, f64)> = None;
    let (mut count, mut at) = (0_u32, 0);
    while let Some([a, b]) = numbers.get(at..at + 2) {
        let fine = a.decimals.min(b.decimals) >= usize::from(window.decimals_min);
        let lies =
            within(a, window.north) && within(b, window.east) || within(a, window.east) && within(b, window.north);
        if !(fine && lies && b.from - a.to <= GAP_BYTES_MAX) {
            at += 1;
            continue;
        }
        // The same point twice is one.
        #[expect(clippy::float_cmp, reason = "the same text gives the same number")]
        let again = first.is_some_and(|(_, x, y)| x == a.value && y == b.value);
        count += u32::from(!again);
        let (place, ..) = *first.get_or_insert((a.from, a.value, b.value));
        if count >= u32::from(window.points_min) {
            return Some(place);
        }
        at += 2;
    }
    None
}

fn numbers(bytes: &[u8]) -> Vec<Number> {
    let mut found: Vec<Number> = Vec::new();
    for dot in memchr::memchr_iter(b'.', bytes) {
        let (before, behind) = (bytes.get(..dot).unwrap_or_default(), bytes.get(dot + 1..).unwrap_or_default());
        let whole = before.iter().rev().take(DIGITS_MAX + 1).take_while(|b| b.is_ascii_digit()).count();
        let decimals = behind.iter().take(DIGITS_MAX + 1).take_while(|b| b.is_ascii_digit()).count();
        // 1.2.3 is a version, a date or an address; 1.2.csv is the end of a name.
        let goes_on = matches!(behind.get(decimals..), Some([b'.', digit, ..]) if digit.is_ascii_digit());
        let dotted = before.get(..dot - whole).and_then(<[u8]>::last) == Some(&b'.') || goes_on;
        if whole == 0 || whole > DIGITS_MAX || decimals == 0 || dotted {
            continue;
        }
        let (from, to) = (dot - whole, dot + 1 + decimals);
        let text = bytes.get(from..to).and_then(|text| std::str::from_utf8(text).ok());
        if let Some(value) = text.and_then(|text| text.parse::<f64>().ok()) {
            found.push(Number { value, decimals, from, to });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn xiamen() -> Window {
        Window {
            name: "a city".to_owned(),
            north: [20_000.0, 60_000.0],
            east: [60_000.0, 99_000.0],
            decimals_min: 3,
            points_min: 2,
        }
    }

    #[test]
    fn points_of_the_city_are_found_however_they_are_written_and_other_numbers_are_not() {
        let found = |text: &str| look(text, &[xiamen()]);
        for text in [
            "34512.417,71203.882\n34498.102,71210.455",
            "71203.882 34512.417; 71210.455 34498.102",
            "[[34512.417,\n          71203.882],\n [34498.102,\n  71210.455]]",
            "<p a='34512.417' b='71203.882'/><p a='34498.102' b='71210.455'/>",
        ] {
            assert!(found(text).is_some(), "{text}");
        }
        for text in [
            "",
            "34512.417,71203.882",
            "34512.417,71203.882 34512.417,71203.882",
            "34512.41,71203.88\n34498.10,71210.45",
            "34512.417,11203.882\n34498.102,11210.455",
            "34512 71203 34498 71210",
            "2026.11.22.34512.417.1,71203.882.5",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
        let far = format!("34512.417{}71203.882 34498.102{0}71210.455", " ".repeat(GAP_BYTES_MAX + 1));
        assert_eq!(found(&far), None);
        assert_eq!(look("34512.417,71203.882\n34498.102,71210.455", &[]), None);
    }

    #[test]
    fn one_point_is_enough_where_the_window_says_so_and_the_place_is_that_of_the_first() {
        let window = Window { points_min: 1, north: [-60_000.0, -20_000.0], ..xiamen() };
        assert_eq!(look("a: -34512.417, b: 71203.882", &[xiamen(), window]), Some(4));
    }

    #[test]
    fn a_window_that_means_nothing_is_named() {
        assert_eq!(xiamen().fault(), None);
        for window in [
            Window { north: [2.0, 1.0], ..xiamen() },
            Window { east: [f64::NAN, 1.0], ..xiamen() },
            Window { points_min: 0, ..xiamen() },
            Window { decimals_min: 7, ..xiamen() },
        ] {
            assert!(window.fault().is_some());
        }
    }
}
