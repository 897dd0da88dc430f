//! Which axis a word names: the keys under which coordinates are written, and how much each of them proves.

use crate::shape::Shapes;

/// What a key says about the number behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Axis {
    /// Degrees east; nobody calls anything else so.
    Longitude,
    /// Degrees north.
    Latitude,
    /// A survey axis by a name that nothing else has (`XZB`, `北坐标`): any number with a fraction will do.
    SurveyX,
    /// The other survey axis.
    SurveyY,
    /// `x`: means something only beside a `y`, and with a value in range.
    WeakX,
    /// `y`, beside an `x`.
    WeakY,
    /// A geohash: the value is letters.
    Geohash,
    /// Zoom of a map tile; `x` and `y` follow.
    TileZoom,
}

impl Axis {
    /// Do two axes make a position?
    pub(crate) fn completes(self, other: Axis) -> bool {
        use Axis::{Latitude, Longitude, SurveyX, SurveyY, WeakX, WeakY};
        matches!(
            (self, other),
            (Longitude, Latitude)
                | (Latitude, Longitude)
                | (SurveyX, SurveyY)
                | (SurveyY, SurveyX)
                | (WeakX, WeakY)
                | (WeakY, WeakX)
        )
    }
}

impl Axis {
    /// Degrees, whatever the unit.
    pub(crate) fn is_degrees(self) -> bool {
        matches!(self, Axis::Longitude | Axis::Latitude)
    }

    /// A word that names an axis only beside its twin.
    pub(crate) fn is_weak(self) -> bool {
        matches!(self, Axis::WeakX | Axis::WeakY)
    }
}

/// Do two keys of these axes name one position? Many words end in `x` or `y`: `mx` and `my` do, `tax` and `money` never.
pub(crate) fn are_pair(one: (Axis, &str), other: (Axis, &str)) -> bool {
    one.0.completes(other.0) && (!one.0.is_weak() || are_twins(one.1, other.1))
}

/// Two words that differ in nothing but their axis letter.
fn are_twins(one: &str, other: &str) -> bool {
    let (one, other) = (bare(one), bare(other));
    let compass = |a: &str, b: &str| {
        [("north", "east"), ("n", "e")].iter().any(|(n, e)| a.eq_ignore_ascii_case(n) && b.eq_ignore_ascii_case(e))
    };
    if compass(one, other) || compass(other, one) {
        return true;
    }
    let mut differing = one.bytes().zip(other.bytes()).map(|(a, b)| (a.to_ascii_lowercase(), b.to_ascii_lowercase()));
    one.len() == other.len()
        && differing.by_ref().find(|(a, b)| a != b).is_some_and(|pair| matches!(pair, (b'x', b'y') | (b'y', b'x')))
        && differing.all(|(a, b)| a == b)
}

/// The twin of a weak key, in lower case: `point_y` for `POINT_X`. `None`: nothing in it is an axis letter.
pub(crate) fn twin_of(key: &str) -> Option<String> {
    let lower = bare(key).to_ascii_lowercase();
    let swap = |at: usize, letter: char| {
        let (before, after) = lower.split_at_checked(at)?;
        Some(format!("{before}{letter}{}", after.get(1..)?))
    };
    match lower.as_str() {
        "north" => Some("east".to_owned()),
        "east" => Some("north".to_owned()),
        _ if lower.starts_with("x_") => swap(0, 'y'),
        _ if lower.starts_with("y_") => swap(0, 'x'),
        _ if lower.ends_with('x') => swap(lower.len() - 1, 'y'),
        _ if lower.ends_with('y') => swap(lower.len() - 1, 'x'),
        _ if lower.starts_with('x') => swap(0, 'y'),
        _ if lower.starts_with('y') => swap(0, 'x'),
        _ => None,
    }
}

/// `jd`, `dj`, `wd`, `bw`: progress, price, temperature and part have the same letters.
pub(crate) fn is_short(key: &str) -> bool {
    bare(key).len() <= 2
}

/// A key without what ends it: a colon, a full-width bracket.
pub(crate) fn bare(key: &str) -> &str {
    match key.as_bytes().last() {
        // Nearly every key ends in a letter or digit, and needs no table of all characters to say so.
        Some(last) if last.is_ascii_alphanumeric() => key,
        _ => key.trim_end_matches(|c: char| !c.is_alphanumeric()),
    }
}

/// Whole words, lower case.
const WORDS: &[(&str, Axis)] = &[
    ("lng", Axis::Longitude),
    ("lon", Axis::Longitude),
    ("long", Axis::Longitude),
    ("longitude", Axis::Longitude),
    ("jingdu", Axis::Longitude),
    ("jd", Axis::Longitude),
    ("dj", Axis::Longitude),
    ("lat", Axis::Latitude),
    ("latitude", Axis::Latitude),
    ("weidu", Axis::Latitude),
    ("wd", Axis::Latitude),
    ("bw", Axis::Latitude),
    ("xzb", Axis::SurveyX),
    ("xzbz", Axis::SurveyX),
    ("zbx", Axis::SurveyX),
    ("x_coord", Axis::SurveyX),
    ("xcoord", Axis::SurveyX),
    ("coord_x", Axis::SurveyX),
    ("xcoordinate", Axis::SurveyX),
    ("northing", Axis::SurveyX),
    ("yzb", Axis::SurveyY),
    ("yzbz", Axis::SurveyY),
    ("zby", Axis::SurveyY),
    ("y_coord", Axis::SurveyY),
    ("ycoord", Axis::SurveyY),
    ("coord_y", Axis::SurveyY),
    ("ycoordinate", Axis::SurveyY),
    ("easting", Axis::SurveyY),
    ("north", Axis::WeakX),
    ("east", Axis::WeakY),
    ("geohash", Axis::Geohash),
    ("z", Axis::TileZoom),
    ("zoom", Axis::TileZoom),
    ("tilezoom", Axis::TileZoom),
];

/// Ends of words in Chinese, which has no spaces: "位于东经" ends in 东经.
const ENDINGS: &[(&str, Axis)] = &[
    ("经度", Axis::Longitude),
    ("东经", Axis::Longitude),
    ("纬度", Axis::Latitude),
    ("北纬", Axis::Latitude),
    ("北坐标", Axis::SurveyX),
    ("N坐标", Axis::SurveyX),
    ("n坐标", Axis::SurveyX),
    ("坐标N", Axis::SurveyX),
    ("北向", Axis::SurveyX),
    ("纵坐标", Axis::SurveyX),
    ("X坐标", Axis::SurveyX),
    ("x坐标", Axis::SurveyX),
    ("坐标X", Axis::SurveyX),
    ("坐标x", Axis::SurveyX),
    ("东坐标", Axis::SurveyY),
    ("E坐标", Axis::SurveyY),
    ("e坐标", Axis::SurveyY),
    ("坐标E", Axis::SurveyY),
    ("东向", Axis::SurveyY),
    ("横坐标", Axis::SurveyY),
    ("Y坐标", Axis::SurveyY),
    ("y坐标", Axis::SurveyY),
    ("坐标Y", Axis::SurveyY),
    ("坐标y", Axis::SurveyY),
    ("坐标", Axis::SurveyX),
];

/// Traditional characters in the keys above.
fn simplified(c: char) -> Option<char> {
    Some(match c {
        '經' => '经',
        '緯' => '纬',
        '縱' => '纵',
        '橫' => '横',
        '標' => '标',
        '東' => '东',
        _ => return None,
    })
}

/// Does any key beyond ASCII end in this character? Nearly every word of a Chinese text fails here.
fn ends_key(last: char) -> bool {
    matches!(last, '度' | '经' | '經' | '纬' | '緯' | '标' | '標' | '向' | '值' | 'N' | 'X' | 'x' | 'E' | 'Y' | 'y')
}

/// Can a word in lower case be a key at all? Nearly every word of a text fails here.
fn may_name(lower: &[u8]) -> bool {
    let is_letter = |b: Option<&u8>| matches!(b, Some(b'x' | b'y'));
    is_letter(lower.first()) || is_letter(lower.last()) || SHAPES.fit(lower) || has_degree_suffix(lower)
}

const SHAPES: Shapes = shapes();

const fn shapes() -> Shapes {
    let mut shapes = Shapes::new();
    let mut rest = WORDS;
    while let [(word, _), more @ ..] = rest {
        shapes = shapes.with(word);
        rest = more;
    }
    shapes
}

/// `latE7`, `gps_lat`, and the longer words for degrees, at their last letters.
fn has_degree_suffix(lower: &[u8]) -> bool {
    matches!(
        lower,
        [.., b'e', b'6' | b'7'] | [.., b'_', b'l', _, _] | [.., b'u', b'd', b'e'] | [.., b'r', b'e', b'e', b's']
    )
}

/// No key is longer than this; a longer word is text.
const KEY_BYTES_MAX: usize = 64;

/// The axis that a word names.
pub(crate) fn of(word: &str) -> Option<Axis> {
    let word = bare(word);
    // 坐标（米）: the unit in brackets is part of the run, as full-width brackets are not ASCII.
    let word = word.strip_suffix("（米").or_else(|| word.strip_suffix("（度")).unwrap_or(word);
    if word.is_empty() || word.len() > KEY_BYTES_MAX {
        return None;
    }
    if !word.is_ascii() {
        if !word.chars().next_back().is_some_and(ends_key) {
            return None;
        }
        let simple: String;
        let word = if word.contains(|c| simplified(c).is_some()) {
            simple = word.chars().map(|c| simplified(c).unwrap_or(c)).collect();
            simple.as_str()
        } else {
            word
        };
        let word = word.strip_suffix('值').unwrap_or(word);
        // Only the last characters can be a key; the run before it is a sentence.
        return ENDINGS.iter().find(|(ending, _)| word.ends_with(ending)).map(|(_, axis)| *axis);
    }
    let mut lower = [0_u8; KEY_BYTES_MAX];
    let lower = lower.get_mut(..word.len())?;
    lower.copy_from_slice(word.as_bytes());
    lower.make_ascii_lowercase();
    let lower = std::str::from_utf8(lower).ok()?;
    may_name(lower.as_bytes()).then(|| named(lower)).flatten()
}

/// The axis that a word in lower case names.
fn named(lower: &str) -> Option<Axis> {
    if let Some((_, axis)) = WORDS.iter().find(|(key, _)| *key == lower) {
        return Some(*axis);
    }
    // x0, y1 of a base point; latE7 in ten-millionths.
    let lower = lower.strip_suffix("e7").or_else(|| lower.strip_suffix("e6")).unwrap_or(lower);
    if let Some((_, axis)) = WORDS.iter().find(|(key, axis)| *key == lower && axis.is_degrees()) {
        return Some(*axis);
    }
    // Corners side by side: X1, Y1, X2, Y2.
    let numbered = |letter| {
        let digits = lower.strip_prefix(letter);
        digits.is_some_and(|d| (1..=2).contains(&d.len()) && d.bytes().all(|b| b.is_ascii_digit()))
    };
    if numbered('x') {
        return Some(Axis::WeakX);
    }
    if numbered('y') {
        return Some(Axis::WeakY);
    }
    if lower.ends_with("latitude") || lower.ends_with("latitudedegrees") || lower.ends_with("_lat") {
        return Some(Axis::Latitude);
    }
    if lower.ends_with("longitude")
        || lower.ends_with("longitudedegrees")
        || lower.ends_with("_lng")
        || lower.ends_with("_lon")
    {
        return Some(Axis::Longitude);
    }
    // x, mx, px, point_x: short words that end or begin with the axis letter.
    if lower.len() <= 8 {
        if lower.ends_with('x') || lower.starts_with("x_") {
            return Some(Axis::WeakX);
        }
        if lower.ends_with('y') || lower.starts_with("y_") {
            return Some(Axis::WeakY);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::Chance;

    #[test]
    fn a_word_that_is_passed_over_at_its_ends_is_no_key() {
        let pieces = [
            "x",
            "y",
            "X",
            "Y",
            "n",
            "e",
            "e7",
            "e6",
            "lat",
            "lng",
            "lon",
            "_lat",
            "_lon",
            "_lng",
            "latitude",
            "longitude",
            "degrees",
            "zoom",
            "geohash",
            "coord",
            "_",
            "1",
            "z",
            "t",
            "max",
            "tax",
            "jd",
            "wd",
            "north",
            "east",
            "ing",
        ];
        let mut chance = Chance(3);
        let known = WORDS.iter().map(|(word, _)| (*word).to_owned());
        for word in known.chain((0..40_000).map(|_| chance.row(&pieces, 4).concat())) {
            let lower = word.to_ascii_lowercase();
            assert!(may_name(lower.as_bytes()) || named(&lower).is_none(), "{word}");
        }
        for (ending, _) in ENDINGS {
            assert!(ending.is_ascii() || ending.chars().next_back().is_some_and(ends_key), "{ending}");
            assert!(of(&format!("位于{ending}")).is_some() && of(&format!("位于{ending}值")).is_some(), "{ending}");
        }
        assert_eq!(of("界址縱坐標"), Some(Axis::SurveyX));
    }

    #[test]
    fn a_chinese_key_is_the_end_of_a_sentence() {
        assert_eq!(of("位于东经"), Some(Axis::Longitude));
        assert_eq!(of("界址点X坐标："), Some(Axis::SurveyX));
        assert_eq!(of("申请人住址东经路"), None);
        assert_eq!(of("縱坐標"), Some(Axis::SurveyX));
        assert_eq!(of("Y坐标值"), Some(Axis::SurveyY));
        assert_eq!(of("E坐标"), Some(Axis::SurveyY));
    }

    #[test]
    fn words_that_end_in_an_axis_letter_are_a_pair_only_with_their_twin() {
        let pair = |a: &str, b: &str| match (of(a), of(b)) {
            (Some(x), Some(y)) => are_pair((x, a), (y, b)),
            _ => false,
        };
        for (a, b) in [("x", "y"), ("Y", "X"), ("mx", "my"), ("POINT_X", "point_y"), ("x_min", "y_min"), ("x1", "y1")] {
            assert!(pair(a, b), "{a} {b}");
            assert!(twin_of(a).is_some_and(|twin| twin == b.to_lowercase()), "{a} {b}");
        }
        assert!(pair("north", "east") && pair("lon", "lat") && pair("XZB", "YZB"));
        for (a, b) in [("tax", "money"), ("max", "pay"), ("x", "my"), ("mx", "mx"), ("x1", "y2"), ("SX", "YJFY")] {
            assert!(!pair(a, b), "{a} {b}");
        }
    }

    #[test]
    fn a_grade_is_no_longitude_by_itself() {
        assert_eq!(of("DJSJ"), None);
        assert_eq!(of("DJ"), Some(Axis::Longitude));
    }
}
