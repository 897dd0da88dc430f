//! Words that are evidence by themselves, when the right thing stands behind them.

use crate::finding::RuleClass;
use crate::octets::tail;
use crate::polyline;
use crate::shape::Shapes;

/// What must follow a word before it counts.
#[derive(Clone, Copy)]
enum Behind {
    /// Nothing: the word has no other use.
    Anything,
    /// `<` before it, or `":` behind it: a name of an element or a JSON key, not a mention.
    Markup,
    /// A quote or bracket and then a number.
    Value,
    /// The same, and a list or a second number: `"rings": 3` counts something.
    Positions,
    /// `(`, perhaps `Z` or `M`, and then two numbers with a space between.
    Points,
    /// `(` and at least two numbers with a fraction among them: a call that makes a geometry.
    Arguments,
    /// `": [[` and then a number.
    Lines,
    /// `[` and a quote: a reference system in full.
    Bracket,
    /// `,` and a digit: a sentence of a receiver.
    Comma,
    /// A quote, and then at least six letters and digits.
    Code,
    /// A list of three codes or more that begin alike, each of seven letters and digits or more.
    Codes,
    /// `":` and a text that is a line in the letters of the maps of the web.
    Polyline,
    /// `":` or `="` and two numbers with four decimals: degrees of China, in either order.
    Place,
    /// A belt of 43 to 53 and two numbers behind it: metres east and north.
    Zone,
    /// `":` and a text that is not empty; the word itself in capitals.
    Filled,
}

const WORDS: &[(&str, &str, Behind)] = &[
    ("zd_k_103", "national-element", Behind::Markup),
    ("zh_k_105", "national-element", Behind::Markup),
    ("ktt_gy_jzd", "national-element", Behind::Markup),
    ("ktt_gy_jzx", "national-element", Behind::Markup),
    ("ktf_zh_yhydzb", "national-element", Behind::Markup),
    ("zdt", "parcel-picture", Behind::Filled),
    ("fct", "parcel-picture", Behind::Filled),
    ("fcfht", "parcel-picture", Behind::Filled),
    ("zht", "parcel-picture", Behind::Filled),
    ("qrzdt", "parcel-picture", Behind::Filled),
    ("qrfcfht", "parcel-picture", Behind::Filled),
    ("coordinates", "geometry", Behind::Positions),
    ("poslist", "geometry", Behind::Positions),
    ("encodeoffsets", "encoded-geometry", Behind::Markup),
    ("utf8encoding", "encoded-geometry", Behind::Markup),
    ("arcs", "topojson", Behind::Positions),
    ("rings", "esri-geometry", Behind::Positions),
    ("paths", "esri-geometry", Behind::Lines),
    ("curverings", "esri-geometry", Behind::Lines),
    ("curvepaths", "esri-geometry", Behind::Lines),
    ("gpslatitude", "device-position", Behind::Value),
    ("gpslongitude", "device-position", Behind::Value),
    ("westboundlongitude", "bounding-box", Behind::Markup),
    ("geohash", "geohash", Behind::Code),
    ("geohashes", "geohash", Behind::Codes),
    ("geohashs", "geohash", Behind::Codes),
    ("geohash_list", "geohash", Behind::Codes),
    ("geohashlist", "geohash", Behind::Codes),
    ("polyline", "encoded-geometry", Behind::Polyline),
    ("polylines", "encoded-geometry", Behind::Polyline),
    ("encodedpolyline", "encoded-geometry", Behind::Polyline),
    ("encoded_polyline", "encoded-geometry", Behind::Polyline),
    ("overview_polyline", "encoded-geometry", Behind::Polyline),
    ("encodedpath", "encoded-geometry", Behind::Polyline),
    ("encoded_path", "encoded-geometry", Behind::Polyline),
    ("points", "encoded-geometry", Behind::Polyline),
    ("path", "encoded-geometry", Behind::Polyline),
    ("shape", "encoded-geometry", Behind::Polyline),
    ("geometry", "encoded-geometry", Behind::Polyline),
    ("route", "encoded-geometry", Behind::Polyline),
    ("line", "encoded-geometry", Behind::Polyline),
    ("location", "axis-pair", Behind::Place),
    ("lnglat", "axis-pair", Behind::Place),
    ("lonlat", "axis-pair", Behind::Place),
    ("latlng", "axis-pair", Behind::Place),
    ("latlon", "axis-pair", Behind::Place),
    ("center", "axis-pair", Behind::Place),
    ("centre", "axis-pair", Behind::Place),
    ("centroid", "axis-pair", Behind::Place),
    ("position", "axis-pair", Behind::Place),
    ("utm", "grid-reference", Behind::Zone),
    ("point", "well-known-text", Behind::Points),
    ("linestring", "well-known-text", Behind::Points),
    ("polygon", "well-known-text", Behind::Points),
    ("multipoint", "well-known-text", Behind::Points),
    ("multilinestring", "well-known-text", Behind::Points),
    ("multipolygon", "well-known-text", Behind::Points),
    ("geometrycollection", "well-known-text", Behind::Points),
    ("circularstring", "well-known-text", Behind::Points),
    ("compoundcurve", "well-known-text", Behind::Points),
    ("curvepolygon", "well-known-text", Behind::Points),
    ("polyhedralsurface", "well-known-text", Behind::Points),
    ("triangle", "well-known-text", Behind::Points),
    ("box", "well-known-text", Behind::Points),
    ("box3d", "well-known-text", Behind::Points),
    ("envelope", "well-known-text", Behind::Arguments),
    ("sdo_ordinate_array", "well-known-text", Behind::Arguments),
    ("sdo_point_type", "well-known-text", Behind::Arguments),
    ("st_makepoint", "well-known-text", Behind::Arguments),
    ("st_point", "well-known-text", Behind::Arguments),
    ("st_makeenvelope", "well-known-text", Behind::Arguments),
    ("makepoint", "well-known-text", Behind::Arguments),
    ("projcs", "reference-system", Behind::Bracket),
    ("geogcs", "reference-system", Behind::Bracket),
    ("projcrs", "reference-system", Behind::Bracket),
    ("geogcrs", "reference-system", Behind::Bracket),
    ("gpgga", "receiver-sentence", Behind::Comma),
    ("gngga", "receiver-sentence", Behind::Comma),
    ("bdgga", "receiver-sentence", Behind::Comma),
    ("gbgga", "receiver-sentence", Behind::Comma),
    ("gprmc", "receiver-sentence", Behind::Comma),
    ("gnrmc", "receiver-sentence", Behind::Comma),
    ("gpgll", "receiver-sentence", Behind::Comma),
    ("gngll", "receiver-sentence", Behind::Comma),
    ("cndtf", "vct", Behind::Anything),
    ("cnsdtf", "vct", Behind::Anything),
];

const SHAPES: Shapes = shapes();

const fn shapes() -> Shapes {
    let mut shapes = Shapes::new();
    let mut rest = WORDS;
    while let [(word, ..), more @ ..] = rest {
        shapes = shapes.with(word);
        rest = more;
    }
    shapes
}

/// The rule that a word in this place hits.
pub(crate) fn structural(word: &str, bytes: &[u8], start: usize, end: usize) -> Option<(&'static str, RuleClass)> {
    // Nearly every word of a text fails here.
    if !SHAPES.fit(word.as_bytes()) {
        return None;
    }
    let (_, rule, behind) = WORDS.iter().find(|(known, ..)| word.eq_ignore_ascii_case(known))?;
    let rest = tail(bytes, end);
    let holds = match behind {
        Behind::Anything => true,
        Behind::Markup => is_markup(bytes, start, rest),
        Behind::Value => value_follows(rest).is_some(),
        Behind::Positions => positions_follow(rest),
        Behind::Points => points_follow(rest),
        Behind::Arguments => arguments_follow(rest),
        Behind::Lines => {
            let opened = |at: usize| rest.iter().take(at).filter(|b| **b == b'[').count() >= 2;
            value_follows(rest).is_some_and(opened)
        }
        Behind::Bracket => rest.starts_with(b"[\"") || rest.starts_with(b"[ \"") || rest.starts_with(b"[\\\""),
        Behind::Comma => rest.first() == Some(&b',') && rest.iter().skip(1).take(12).any(u8::is_ascii_digit),
        Behind::Code => code_follows(rest),
        Behind::Codes => codes_follow(rest),
        Behind::Polyline => quoted_value(rest).is_some_and(polyline::stands_at),
        Behind::Place => value_of_key(rest).is_some_and(place_follows),
        Behind::Zone => zone_follows(rest),
        Behind::Filled => word.bytes().all(|b| b.is_ascii_uppercase()) && text_follows(rest),
    };
    holds.then_some((*rule, RuleClass::Structural))
}

fn is_markup(bytes: &[u8], start: usize, rest: &[u8]) -> bool {
    let before = start.checked_sub(1).and_then(|i| bytes.get(i)).copied().unwrap_or(0);
    before == b'<' || before == b':' || rest.starts_with(b"\":") || rest.starts_with(b"\" :")
}

/// A closing quote or bracket directly behind, then only brackets, quotes, colons and spaces, then a number or `@@`.
fn value_follows(rest: &[u8]) -> Option<usize> {
    if !matches!(rest.first(), Some(b'"' | b'>' | b'=' | b'\'' | b':' | b'\\')) {
        return None;
    }
    for (at, byte) in rest.iter().take(VALUE_GAP_MAX).enumerate() {
        match byte {
            b'0'..=b'9' | b'@' => return Some(at),
            b'"' | b'>' | b'=' | b'\'' | b':' | b'[' | b' ' | b'\t' | b'\n' | b'\r' | b'-' | b'\\' | b'{' => {}
            _ => return None,
        }
    }
    None
}

fn positions_follow(rest: &[u8]) -> bool {
    let Some(at) = value_follows(rest) else { return false };
    let (before, value) = rest.split_at(at);
    let number = value.iter().take_while(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'e' | b'E')).count();
    let behind = tail(value, number);
    let gap = behind
        .iter()
        .take(24)
        .take_while(|b| b.is_ascii_whitespace() || matches!(b, b',' | b';' | b'-' | b'+'))
        .count();
    before.contains(&b'[') || number == 0 || (gap > 0 && behind.get(gap).is_some_and(u8::is_ascii_digit))
}

/// Indentation of pretty-printed GeoJSON stands between the key and its first number.
const VALUE_GAP_MAX: usize = 160;

fn points_follow(rest: &[u8]) -> bool {
    let text: &[u8] = crate::octets::head(rest, 64);
    let Some(open) = text.iter().position(|b| *b == b'(') else { return false };
    // Between the keyword and the bracket only Z, M or ZM.
    let (between, inside) = text.split_at(open);
    if !between.iter().all(|b| matches!(b, b' ' | b'Z' | b'M' | b'z' | b'm' | b'\n' | b'\t' | b'\r')) {
        return false;
    }
    let skip = inside.iter().take_while(|b| matches!(b, b'(' | b' ' | b'\n' | b'\t' | b'\r')).count();
    let inside = tail(inside, skip);
    if inside.first().is_some_and(u8::is_ascii_alphabetic) {
        return inside.contains(&b'('); // a collection names its first member
    }
    let number = inside.iter().take_while(|b| matches!(b, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E')).count();
    let rest = tail(inside, number);
    number > 0
        && rest.first().is_some_and(u8::is_ascii_whitespace)
        && rest.get(1).is_some_and(|b| matches!(b, b'0'..=b'9' | b'-' | b'.' | b' '))
}

/// `(114.13, 30.62`: two numbers, neither of them a mere nought, one of them with a fraction.
fn arguments_follow(rest: &[u8]) -> bool {
    let text = crate::octets::head(rest, 96);
    let Some(inside) = text.trim_ascii_start().strip_prefix(b"(") else { return false };
    let mut numbers = inside.split(|b| matches!(b, b',' | b')')).map(<[u8]>::trim_ascii);
    let is_number = |n: &[u8]| {
        n.iter().any(|b| matches!(b, b'1'..=b'9')) && n.iter().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'-' | b'+'))
    };
    let (Some(one), Some(other)) = (numbers.next(), numbers.next()) else { return false };
    is_number(one) && is_number(other) && (one.contains(&b'.') || other.contains(&b'.'))
}

/// `":"a`, `": ["a`: a member of a message with something in it.
fn text_follows(rest: &[u8]) -> bool {
    let Some(rest) = rest.strip_prefix(b"\"") else { return false };
    let gap = rest
        .iter()
        .take(VALUE_GAP_MAX)
        .take_while(|b| matches!(b, b':' | b'[' | b'{') || b.is_ascii_whitespace())
        .count();
    let (before, value) = rest.split_at(gap);
    let is_filled = |b: &u8| !matches!(b, b'"' | b']' | b'}' | b',') && !b.is_ascii_whitespace();
    before.contains(&b':') && value.first() == Some(&b'"') && value.get(1).is_some_and(is_filled)
}

fn code_follows(rest: &[u8]) -> bool {
    // A full-width colon or equals sign is one as well.
    let wide = if rest.starts_with("：".as_bytes()) || rest.starts_with("＝".as_bytes()) { 3 } else { 0 };
    let behind = crate::octets::head(tail(rest, wide), 6);
    let skip =
        wide + behind.iter().take_while(|b| matches!(b, b'"' | b':' | b' ' | b'=' | b'>' | b'\'' | b',')).count();
    let value = tail(rest, skip);
    let length = value.iter().take(13).take_while(|b| b.is_ascii_alphanumeric()).count();
    let digit = value.iter().take(length).any(u8::is_ascii_digit);
    skip > 0
        && (6..=12).contains(&length)
        && digit
        && !value.iter().take(length).any(|b| matches!(b, b'a' | b'i' | b'l' | b'o'))
}

/// What stands behind `":` or `="`, without its quotes and brackets.
fn value_of_key(rest: &[u8]) -> Option<&[u8]> {
    let gap = rest.iter().take(VALUE_GAP_MAX).take_while(|b| b" \t\r\n\"'\\:=[({".contains(b)).count();
    let (before, value) = rest.split_at(gap);
    (before.contains(&b':') || before.contains(&b'=')).then_some(value)
}

/// The same, of a text in quotes, from its first letter, which may be a bracket itself.
fn quoted_value(rest: &[u8]) -> Option<&[u8]> {
    let sign = crate::octets::head(rest, 4).iter().position(|b| matches!(b, b':' | b'='))?;
    let value = tail(rest, sign + 1);
    let gap = value.iter().take(VALUE_GAP_MAX).take_while(|b| **b == b'[' || b.is_ascii_whitespace()).count();
    let is_quote = |b: &u8| matches!(b, b'"' | b'\'');
    value.get(gap).is_some_and(is_quote).then(|| tail(value, gap + 1))
}

/// `"wtw3sjq", "wtw3sjr", "wtw3skp"`: cells over China near each other.
fn codes_follow(rest: &[u8]) -> bool {
    const ALIKE: usize = 3;
    const CODES: usize = 3;
    let is_code = |code: &[u8]| {
        (7..=12).contains(&code.len())
            && code.iter().all(|b| matches!(b, b'0'..=b'9' | b'b'..=b'h' | b'j' | b'k' | b'm' | b'n' | b'p'..=b'z'))
            && code.iter().any(u8::is_ascii_digit)
            && matches!(code.first(), Some(b't' | b'w' | b'x' | b'y'))
    };
    let Some(list) = value_of_key(rest) else { return false };
    let mut codes = crate::octets::head(list, 256)
        .split(|b| !b.is_ascii_alphanumeric())
        .filter(|code| !code.is_empty())
        .take_while(|code| is_code(code));
    let Some(first) = codes.next().and_then(|code| code.get(..ALIKE)) else { return false };
    codes.filter(|code| code.starts_with(first)).take(CODES - 1).count() == CODES - 1
}

/// A number as it is written, its decimals, and what stands behind it.
fn leading_number(text: &[u8]) -> Option<(f64, usize, &[u8])> {
    let length = text.iter().take(24).take_while(|b| b.is_ascii_digit() || **b == b'.').count();
    let (number, rest) = text.split_at(length);
    let number = std::str::from_utf8(number).ok()?;
    let decimals = number.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    Some((number.parse().ok()?, decimals, rest))
}

/// `121.4703,31.2347`: a longitude and a latitude of China.
fn place_follows(value: &[u8]) -> bool {
    const DECIMALS_MIN: usize = 4;
    let Some((one, fine, rest)) = leading_number(value) else { return false };
    let gap =
        rest.iter().take(24).take_while(|b| matches!(b, b',' | b';' | b'"' | b'\\') || b.is_ascii_whitespace()).count();
    let Some((other, finer, _)) = leading_number(tail(rest, gap)) else { return false };
    let (north, east) = if one < other { (one, other) } else { (other, one) };
    gap > 0 && fine.min(finer) >= DECIMALS_MIN && (3.8..=54.0).contains(&north) && (73.0..=135.1).contains(&east)
}

/// `UTM zone 51R, E 354112.35, N 3456220.87`. The datum may stand before the belt or behind it.
fn zone_follows(rest: &[u8]) -> bool {
    let text = crate::octets::head(rest, 128);
    let mut numbers = [(0.0, 0); 3];
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        let number = if byte.is_ascii_digit() { leading_number(tail(text, at)) } else { None };
        let Some((value, decimals, behind)) = number else {
            at += 1;
            continue;
        };
        let is_glued = at.checked_sub(1).and_then(|before| text.get(before)).is_some_and(u8::is_ascii_alphabetic);
        at = text.len() - behind.len();
        // WGS84, CGCS2000: no belt, and no coordinate either.
        if is_glued && value < 10_000.0 && !ZONES.contains(&value) {
            continue;
        }
        let [_, earlier, last] = numbers;
        numbers = [earlier, last, (value, decimals)];
        if is_zone(numbers) {
            return true;
        }
    }
    false
}

/// Belts of six degrees over China.
const ZONES: std::ops::RangeInclusive<f64> = 43.0..=53.0;

/// A belt, and metres east and north in either order.
fn is_zone([(zone, whole), (one, _), (other, _)]: [(f64, usize); 3]) -> bool {
    let (east, north) = if one < other { (one, other) } else { (other, one) };
    whole == 0
        && ZONES.contains(&zone)
        && (166_000.0..=834_000.0).contains(&east)
        && (420_000.0..=5_990_000.0).contains(&north)
}

/// `8PJ54C8F+2X`: eight characters of the open location code, a plus, two or three more; over China.
pub(crate) fn is_plus_code(bytes: &[u8], start: usize, plus: usize) -> bool {
    let letter = |b: &u8| b"23456789CFGHJMPQRVWX".contains(b);
    let Some(code) = bytes.get(start..plus) else { return false };
    let behind = tail(bytes, plus + 1).iter().take(4).take_while(|b| letter(b)).count();
    let next = bytes.get(plus + 1 + behind);
    code.len() == 8
        && code.iter().all(letter)
        && code.iter().any(u8::is_ascii_alphabetic)
        && matches!(code.first(), Some(b'7' | b'8' | b'9'))
        && matches!(code.get(1), Some(b'M' | b'P' | b'Q' | b'R'))
        && matches!(behind, 2 | 3)
        && !next.is_some_and(u8::is_ascii_alphanumeric)
}

/// `49RGN4823157204` or `50SMC 12345 67890`: zones 43 to 53, bands N to U, an even count of digits.
pub(crate) fn is_grid_reference(bytes: &[u8], start: usize, end: usize) -> bool {
    let Some(code) = bytes.get(start..end) else { return false };
    let Some((zone, rest)) = code.split_at_checked(2) else { return false };
    let zone = std::str::from_utf8(zone).ok().and_then(|z| z.parse::<u32>().ok()).unwrap_or(0);
    let Some((letters, digits)) = rest.split_at_checked(3) else { return false };
    let column_set: &[u8] = match zone % 3 {
        1 => b"ABCDEFGH",
        2 => b"JKLMNPQR",
        _ => b"STUVWXYZ",
    };
    let square = matches!(letters, [b'N' | b'P'..=b'U', column, row]
        if column_set.contains(column) && b"ABCDEFGHJKLMNPQRSTUV".contains(row));
    if !(43..=53).contains(&zone) || !square {
        return false;
    }
    if digits.is_empty() {
        // " 12345 67890"
        let behind = crate::octets::head(tail(bytes, end), 12);
        let mut parts = behind.split(|b| *b == b' ').filter(|p| !p.is_empty());
        let digits = |p: &[u8]| p.iter().take_while(|b| b.is_ascii_digit()).count();
        let first = parts.next().map_or(0, digits);
        return first >= 4 && parts.next().map_or(0, digits) == first;
    }
    digits.iter().all(u8::is_ascii_digit) && matches!(digits.len(), 8 | 10)
}

#[cfg(test)]
mod tests {
    use crate::scan::scan;

    #[test]
    fn every_word_is_found_by_its_shape() {
        for (word, ..) in super::WORDS {
            assert!(super::SHAPES.fit(word.as_bytes()) && super::SHAPES.fit(word.to_ascii_uppercase().as_bytes()));
        }
    }

    fn hits(text: &str) -> bool {
        !scan(text).hits.is_empty()
    }

    #[test]
    fn a_mention_is_no_element() {
        assert!(hits("<ZD_K_103 ZDX=\"1\"/>"));
        assert!(!hits("the element ZD_K_103 is dropped"));
    }

    #[test]
    fn well_known_text_is_found_and_a_function_call_is_not() {
        assert!(hits("POLYGON ((600005.4637441012 5204032.296556676, 1 2))"));
        assert!(hits("MULTILINESTRING ( ( 0 0, 1 1), ( 0 0, 1 1) )"));
        assert!(!hits("Point(1, 2)"));
        assert!(hits("SDO_ORDINATE_ARRAY(114.1337512,30.6254871,114.1338291,30.6258163)"));
        assert!(hits("ST_SetSRID(ST_MakePoint(114.13, 30.62), 4490)"));
        assert!(hits("BOX(114.13 30.62,114.14 30.63)") && hits("ENVELOPE(114.13,114.14,30.63,30.62)"));
        assert!(!hits("ST_MakePoint(lon, lat)") && !hits("box(1, 2)"));
        assert!(hits(r#"{"paths":[[[34512.417,27881.335],[34548.902,27888.874]]]}"#));
        assert!(!hits(r#"{"paths":[1, 2]}"#) && !hits(r#"{"paths":["a/b","c"]}"#));
    }

    #[test]
    fn a_picture_of_the_parcel_in_a_message_is_found_and_an_empty_field_is_not() {
        for text in [r#"{"ywh":"1","ZDT":"iVBORw0K"}"#, r#"{"ZDT": ["a/b.png"]}"#, "{\"FCFHT\" :\n \"x\"}"] {
            assert!(hits(text), "{text}");
        }
        for text in
            [r#"{"ZDT":""}"#, r#"{"ZDT":null}"#, r#"{"ZDT": [], "a": "b"}"#, r#"{"zdt":"x"}"#, "the field ZDT: \"x\""]
        {
            assert!(!hits(text), "{text}");
        }
    }

    #[test]
    fn places_under_their_keys_are_found_and_other_pairs_are_not() {
        for text in [
            r#"{"location":"121.4703,31.2347"}"#,
            r#"{"lnglat": [121.4703, 31.2347]}"#,
            r#"<a center="31.23470, 121.47031"/>"#,
            r#"{"position" : "31.2347;121.4703"}"#,
            "UTM zone 51R, E 354112.35, N 3456220.87",
            "UTM 51 354112 3456220",
            "UTM WGS84 zone 51N, E 354112.35, N 3456220.87",
            "UTM zone51N (CGCS2000), E354112.35 N3456220.87",
            r#"{"geohashes":["wtw3sjq","wtw3sjr","wtw3skp"]}"#,
            "geohash_list=wtw3sjq,wtw3sjr,wtw3skp",
        ] {
            assert!(hits(text), "{text}");
        }
        for text in [
            r#"{"location":"121.47,31.23"}"#,
            r#"{"center":"3.5000,12.2500"}"#,
            r#"{"center":["50%","50%"],"position":"left"}"#,
            "the center 121.4703,31.2347",
            "UTM tags in links: utm_source 51, 354112",
            "UTM 51 clicks 120, 3456220 views",
            r#"{"geohashes":["wtw3sjq","dr5regw","u4pruyd"]}"#,
            r#"{"geohashes":["wtw3sjq","wtw3sjr"]}"#,
            r#"{"codes":["wtw3sjq","wtw3sjr","wtw3skp"]}"#,
        ] {
            assert!(!hits(text), "{text}");
        }
    }

    #[test]
    fn other_spellings_of_a_place_are_found() {
        for text in [
            "位置 MGRS 50SMC 12345 67890",
            "49RGN4823157204",
            "中心 8PJ54C8F+2X （",
            "\"geohash\": \"yb4h3f27m\"",
            "$GPGGA,021500.00,2513.7993,N,11020.1137,E,1",
        ] {
            assert!(hits(text), "{text}");
        }
        assert!(!hits("A4B54C8F+2X"));
    }
}
