//! Lines in letters, as the maps of the web write them: each number is the step from the one before it in hundred
//! thousandths of a degree, or in millionths, five bits a letter, latitude first.

/// Letters that are read of one line; a longer one has shown what it is.
const LETTERS_MAX: usize = 4_096;
/// Fewer points are chance.
const POINTS_MIN: usize = 3;
/// Corners of one line are not farther from each other, in hundred thousandths of a degree.
const STEP_MAX: i64 = 100_000;

/// Does a line over China stand here, up to the end of its text?
pub(crate) fn stands_at(text: &[u8]) -> bool {
    [1, 10].into_iter().any(|finer| stands_in(text, finer))
}

/// The same, in a unit so many times finer than hundred thousandths of a degree.
fn stands_in(text: &[u8], finer: i64) -> bool {
    let mut letters = Letters { text, at: 0 };
    let (mut north, mut east, mut points) = (0_i64, 0_i64, 0);
    while letters.at < LETTERS_MAX && !letters.is_end() {
        let (Some(up), Some(right)) = (letters.number(), letters.number()) else { return false };
        if points > 0 && (up.abs() > STEP_MAX * finer || right.abs() > STEP_MAX * finer) {
            return false;
        }
        (north, east) = (north + up, east + right);
        if !(380_000 * finer..=5_400_000 * finer).contains(&north)
            || !(7_300_000 * finer..=13_510_000 * finer).contains(&east)
        {
            return false;
        }
        points += 1;
    }
    points >= POINTS_MIN
}

struct Letters<'a> {
    text: &'a [u8],
    at: usize,
}

impl Letters<'_> {
    fn is_end(&self) -> bool {
        self.text.get(self.at).is_none_or(|b| matches!(b, b'"' | b'\'' | b'<' | b'&' | b' ' | b'\r' | b'\n'))
    }

    /// The next number. A backslash in a message stands there twice.
    fn number(&mut self) -> Option<i64> {
        const LETTERS: u32 = 7;
        let mut value = 0_i64;
        for nth in 0..LETTERS {
            let letter = self.text.get(self.at).copied().filter(|b| (63..=126).contains(b))?;
            self.at += 1;
            if letter == b'\\' && self.text.get(self.at) == Some(&b'\\') {
                self.at += 1;
            }
            let bits = letter - 63;
            value |= i64::from(bits & 0x1F) << (5 * nth);
            if bits < 0x20 {
                return Some(if value & 1 == 1 { !(value >> 1) } else { value >> 1 });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(points: &[(i64, i64)]) -> String {
        let mut out = String::new();
        let mut last = (0, 0);
        for (north, east) in points {
            for step in [north - last.0, east - last.1] {
                let mut rest = if step < 0 { !(step << 1) } else { step << 1 };
                while rest >= 0x20 {
                    out.push(char::from(u8::try_from((rest & 0x1F | 0x20) + 63).expect("a letter")));
                    rest >>= 5;
                }
                out.push(char::from(u8::try_from(rest + 63).expect("a letter")));
            }
            last = (*north, *east);
        }
        out
    }

    const SHANGHAI: [(i64, i64); 4] =
        [(3_123_470, 12_147_030), (3_123_512, 12_147_101), (3_123_390, 12_147_188), (3_123_333, 12_147_002)];

    #[test]
    fn the_documented_line_reads_as_documented() {
        // From the format's own page: (38.5, -120.2), (40.7, -120.95), (43.252, -126.453).
        let text = "_p~iF~ps|U_ulLnnqC_mqNvxq`@";
        assert_eq!(written(&[(3_850_000, -12_020_000), (4_070_000, -12_095_000), (4_325_200, -12_645_300)]), text);
        let mut letters = Letters { text: text.as_bytes(), at: 0 };
        assert_eq!((letters.number(), letters.number()), (Some(3_850_000), Some(-12_020_000)));
        assert!(!stands_at(text.as_bytes()), "it is not over China");
    }

    #[test]
    fn a_line_over_china_is_one_and_words_are_none() {
        let line = written(&SHANGHAI);
        assert!(stands_at(line.as_bytes()) && stands_at(format!("{line}\" rest").as_bytes()));
        assert!(stands_at(line.replace('\\', "\\\\").as_bytes()));
        let message = format!("{{\"id\": 7, \"polyline\": \"{}\"}}", line.replace('\\', "\\\\"));
        assert!(!crate::scan::scan(&message).hits.is_empty(), "{message}");
        for text in ["", "none", "_source", "aGVsbG8gd29ybGQgdGhpcyBpcyBh", "M10 10L20 20", "a/b/c", "~~~~~~~~~~~~"] {
            assert!(!stands_at(text.as_bytes()), "{text}");
        }
        let finer = written(&SHANGHAI.map(|(north, east)| (north * 10 + 3, east * 10 + 7)));
        assert!(stands_at(finer.as_bytes()), "six decimals");
        for key in ["geometry", "route", "line"] {
            let message = format!("{{\"{key}\": \"{}\"}}", finer.replace('\\', "\\\\"));
            assert!(!crate::scan::scan(&message).hits.is_empty(), "{message}");
        }
        assert!(!stands_at(written(&SHANGHAI[..2]).as_bytes()), "two points are chance");
        let far = [SHANGHAI[0], (3_423_512, 12_147_101), (3_123_390, 12_147_188)];
        assert!(!stands_at(written(&far).as_bytes()), "corners of no line");
    }
}
