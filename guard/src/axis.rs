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
    let (one, other) = (unlinked(bare(one)), unlinked(bare(other)));
    let compass = |a: &str, b: &str| TWINS.iter().any(|(n, e)| a.eq_ignore_ascii_case(n) && b.eq_ignore_ascii_case(e));
    if compass(one, other) || compass(other, one) {
        return true;
    }
    let lower = |(a, b): (u8, u8)| (a.to_ascii_lowercase(), b.to_ascii_lowercase());
    let mut differing = one.bytes().zip(other.bytes()).map(lower).filter(|(a, b)| a != b);
    // XX and YY differ in both, and both times alike.
    one.len() == other.len()
        && differing
            .next()
            .is_some_and(|first| matches!(first, (b'x', b'y') | (b'y', b'x')) && differing.all(|pair| pair == first))
}

/// Words that differ in more, and name the two axes of one position all the same.
const TWINS: [(&str, &str); 5] = [("north", "east"), ("n", "e"), ("zzb", "hzb"), ("北", "东"), ("纵", "横")];

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
        _ if leads(&lower, 'x') => swap(0, 'y'),
        _ if leads(&lower, 'y') => swap(0, 'x'),
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
    ("longitud", Axis::Longitude),
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
    ("zzb", Axis::SurveyX),
    ("hzb", Axis::SurveyY),
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
    ("坐标B", Axis::Latitude),
    ("坐标L", Axis::Longitude),
    ("坐标", Axis::SurveyX),
    ("纵标", Axis::SurveyX),
    ("横标", Axis::SurveyY),
    ("X轴", Axis::WeakX),
    ("x轴", Axis::WeakX),
    ("Y轴", Axis::WeakY),
    ("y轴", Axis::WeakY),
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
        '座' => '坐',
        '軸' => '轴',
        _ => return None,
    })
}

/// Does any key beyond ASCII end in this character? Nearly every word of a Chinese text fails here.
fn ends_key(last: char) -> bool {
    last.is_ascii_alphanumeric()
        || matches!(
            last,
            '北' | '纵'
                | '縱'
                | '横'
                | '橫'
                | '东'
                | '東'
                | '度'
                | '经'
                | '經'
                | '纬'
                | '緯'
                | '标'
                | '標'
                | '向'
                | '轴'
        )
        || matches!(last, '值' | '为' | '是' | '约' | '在' | '于' | '等' | '大' | '取' | '计')
}

/// Can a word in lower case be a key at all? Nearly every word of a text fails here.
fn may_name(lower: &[u8]) -> bool {
    let is_letter = |b: Option<&u8>| matches!(b, Some(b'x' | b'y'));
    is_letter(lower.first())
        || is_letter(lower.last())
        || SHAPES.fit(lower)
        || has_degree_suffix(lower)
        || matches!(lower, [.., b'x' | b'y', b'z', b'b'])
        || (lower.last().is_some_and(|b| b.is_ascii_digit() || *b == b'_') && may_be_numbered(unnumbered(lower)))
}

/// Can a word with a number behind it be a key?
fn may_be_numbered(whole: &[u8]) -> bool {
    whole.len() >= 3 && (SHAPES.fit(whole) || whole.ends_with(b"zb"))
}

/// A word without the number behind it: `lng84`, `XZB1`, `lat_02`.
fn unnumbered(lower: &[u8]) -> &[u8] {
    let end = lower.iter().rposition(|b| !b.is_ascii_digit() && *b != b'_').map_or(0, |last| last + 1);
    crate::octets::head(lower, end)
}

/// The ways a flat may face that name no axis.
pub(crate) const OTHER_FRONTS: [&str; 2] = ["南向", "西向"];

/// Is it one of those that do?
pub(crate) fn is_front(key: &str) -> bool {
    ["东向", "東向", "北向"].iter().any(|front| key.ends_with(front))
}

/// What stands behind the letter of an axis and is part of its name.
const AXIS_RESTS: [&str; 13] =
    ["pos", "min", "max", "val", "value", "coord", "coords", "coordinate", "center", "zb", "zbz", "zuobiao", "axis"];

/// Does a word begin with the letter of its axis: x, x_min, ymax, y-coord?
fn leads(lower: &str, letter: char) -> bool {
    lower.strip_prefix(letter).is_some_and(|rest| rest.starts_with(['_', '-', '.']) || AXIS_RESTS.contains(&rest))
}

/// What stands before the letter of an axis and is part of its name, in words that are longer than a few letters.
const AXIS_STEMS: [&str; 8] =
    ["coordinate", "coord", "centroid", "center", "location", "position", "point", "geometry"];

/// Does a word end with the letter of its axis: mx, point_x, location.x?
fn trails(lower: &str, letter: char) -> bool {
    lower.strip_suffix(letter).is_some_and(|rest| {
        lower.len() <= 8 || rest.ends_with(['_', '-', '.']) || AXIS_STEMS.iter().any(|stem| rest.ends_with(stem))
    })
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
    if word.is_empty() || word.len() > KEY_BYTES_MAX {
        return None;
    }
    if word.is_ascii() { of_letters(word) } else { of_characters(word) }
}

/// Words that stand between a key and its number: 纵坐标约为3389512.417.
const LINKS: [&str; 10] = ["为", "是", "约", "在", "于", "等", "大", "取", "计", "值"];

/// Does a word say nothing but that the number follows?
pub(crate) fn is_link(word: &str) -> bool {
    word.len() <= 12 && unlinked(word).is_empty()
}

fn unlinked(mut word: &str) -> &str {
    while let Some(shorter) = LINKS.iter().find_map(|link| word.strip_suffix(link)) {
        word = shorter;
    }
    word
}

/// Can a word be the rest of a key that is written with blanks: 坐 and 标 of 纵 坐 标, 坐标 of X 坐标?
pub(crate) fn goes_on(word: &str) -> bool {
    let rest = word.trim_end_matches(['值', '为', '是', '约']);
    matches!(rest, "坐" | "座" | "标" | "標" | "坐标" | "座标" | "坐標" | "座標" | "轴" | "度" | "经" | "纬")
}

/// Is it the key of whatever was named before it?
pub(crate) fn is_value_key(key: &str) -> bool {
    const KEYS: [&str; 9] = ["value", "val", "v", "fieldvalue", "attrvalue", "data", "text", "content", "值"];
    key.len() <= 10 && KEYS.iter().any(|known| key.eq_ignore_ascii_case(known))
}

/// The axis that a word beyond ASCII names.
fn of_characters(word: &str) -> Option<Axis> {
    if !word.chars().next_back().is_some_and(ends_key) {
        return None;
    }
    let simple: String;
    let word = if word.contains(|c: char| c.is_whitespace() || simplified(c).is_some()) {
        simple = word.chars().filter(|c| !c.is_whitespace()).map(|c| simplified(c).unwrap_or(c)).collect();
        simple.as_str()
    } else {
        word
    };
    let word = unlinked(word);
    if word.is_ascii() {
        return of_letters(word);
    }
    match word {
        "北" | "纵" => return Some(Axis::WeakX),
        "东" | "横" => return Some(Axis::WeakY),
        "经" => return Some(Axis::Longitude),
        "纬" => return Some(Axis::Latitude),
        _ => {}
    }
    // Only the last characters can be a key; the run before it is a sentence.
    if let Some((_, axis)) = ENDINGS.iter().find(|(ending, _)| word.ends_with(ending)) {
        return Some(*axis);
    }
    // 界址点X, 实测XZB, 纬度B, X坐标m: letters behind the characters are a key of their own, or say which one is meant.
    let (characters, letters) = word.split_at(word.trim_end_matches(|c: char| c.is_ascii()).len());
    match letters {
        "" => None,
        "m" | "M" | "B" | "L" => ENDINGS.iter().find(|(ending, _)| characters.ends_with(ending)).map(|(_, axis)| *axis),
        _ => of_letters(letters),
    }
}

/// The axis that a word of ASCII names.
fn of_letters(word: &str) -> Option<Axis> {
    if word.is_empty() {
        return None;
    }
    let mut lower = [0_u8; KEY_BYTES_MAX];
    let lower = lower.get_mut(..word.len())?;
    lower.copy_from_slice(word.as_bytes());
    lower.make_ascii_lowercase();
    let lower = std::str::from_utf8(lower).ok()?;
    may_name(lower.as_bytes()).then(|| named(lower)).flatten().or_else(|| of_parts(word))
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
    // XZB1, lng84: a number behind a whole word.
    let whole = std::str::from_utf8(unnumbered(lower.as_bytes())).unwrap_or(lower);
    let is_numbered = |axis: Axis| !axis.is_weak() && !matches!(axis, Axis::TileZoom | Axis::Geohash);
    if whole.len() >= 3
        && whole.len() < lower.len()
        && let Some((_, axis)) = WORDS.iter().find(|(key, axis)| *key == whole && is_numbered(*axis))
    {
        return Some(*axis);
    }
    // QDXZB, jzd_yzb: a prefix before it.
    if whole.ends_with("xzb") {
        return Some(Axis::SurveyX);
    }
    if whole.ends_with("yzb") {
        return Some(Axis::SurveyY);
    }
    // Corners side by side: X1, Y1, X2, Y2; and the system behind it, X80, Y2000.
    let numbered = |letter| {
        let digits = lower.strip_prefix(letter);
        digits.is_some_and(|d| (1..=4).contains(&d.len()) && d.bytes().all(|b| b.is_ascii_digit()))
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
    // x, xmin, mx, point_x: words that begin or end with the axis letter.
    if leads(lower, 'x') {
        return Some(Axis::WeakX);
    }
    if leads(lower, 'y') {
        return Some(Axis::WeakY);
    }
    if trails(lower, 'x') {
        return Some(Axis::WeakX);
    }
    if trails(lower, 'y') {
        return Some(Axis::WeakY);
    }
    None
}

/// Degrees under a word of several parts: `wgsLon`, `point.lat`, `lng_gcj02`.
fn of_parts(word: &str) -> Option<Axis> {
    // Two parts of three letters, or one of them with a sign between.
    if word.len() < 6 {
        return None;
    }
    let begins_part = |at: usize| {
        let before = at.checked_sub(1).and_then(|before| word.as_bytes().get(before)).copied().unwrap_or_default();
        let here = word.as_bytes().get(at).copied().unwrap_or_default();
        matches!(before, b'_' | b'-' | b'.') || (before.is_ascii_lowercase() && here.is_ascii_uppercase())
    };
    let last = (1..word.len()).rev().find(|at| begins_part(*at))?;
    let first = word.find(['_', '-', '.']).unwrap_or(0);
    let parts = [word.get(last..), word.get(..first)];
    // Whatever is long is no longitude.
    let names = |part: &str, key: &str| part.len() >= 3 && key != "long" && part.eq_ignore_ascii_case(key);
    parts
        .into_iter()
        .flatten()
        .find_map(|part| WORDS.iter().find(|(key, axis)| axis.is_degrees() && names(part, key)).map(|(_, axis)| *axis))
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
        for (a, b) in [
            ("x", "y"),
            ("Y", "X"),
            ("mx", "my"),
            ("POINT_X", "point_y"),
            ("x_min", "y_min"),
            ("x1", "y1"),
            ("xmax", "ymax"),
            ("centroid_x", "centroid_y"),
            ("X80", "Y80"),
            ("location.x", "location.y"),
            ("coordinateX", "coordinateY"),
        ] {
            assert!(pair(a, b), "{a} {b}");
            assert!(twin_of(a).is_some_and(|twin| twin == b.to_lowercase()), "{a} {b}");
        }
        assert!(pair("north", "east") && pair("lon", "lat") && pair("XZB", "YZB"));
        for (a, b) in [
            ("tax", "money"),
            ("max", "pay"),
            ("x", "my"),
            ("mx", "mx"),
            ("x1", "y2"),
            ("SX", "YJFY"),
            ("XMJ", "YMJ"),
            ("x-ray", "y-ray2"),
        ] {
            assert!(!pair(a, b), "{a} {b}");
        }
    }

    #[test]
    fn a_key_has_parts_numbers_and_words_around_it() {
        for (key, axis) in [
            ("X 坐标", Axis::SurveyX),
            ("纵 坐 标", Axis::SurveyX),
            ("Y座标", Axis::SurveyY),
            ("X值", Axis::WeakX),
            ("Y轴", Axis::WeakY),
            ("界址点X", Axis::WeakX),
            ("纬度B", Axis::Latitude),
            ("大地坐标L", Axis::Longitude),
            ("lng84", Axis::Longitude),
            ("wgsLat", Axis::Latitude),
            ("point.lng", Axis::Longitude),
            ("QDXZB", Axis::SurveyX),
            ("YZB1", Axis::SurveyY),
            ("ymax", Axis::WeakY),
            ("HZB", Axis::SurveyY),
            ("横", Axis::WeakY),
            ("纵坐标约为", Axis::SurveyX),
        ] {
            assert_eq!(of(key), Some(axis), "{key}");
        }
        for key in ["isLong", "template", "flat", "J12", "已经", "河北", "XMJ", "公寓X型", "备注"] {
            assert_eq!(of(key), None, "{key}");
        }
    }

    #[test]
    fn a_grade_is_no_longitude_by_itself() {
        assert_eq!(of("DJSJ"), None);
        assert_eq!(of("DJ"), Some(Axis::Longitude));
    }
}
