//! The second reader: looks at what a strip made, and must not see a coordinate where the first saw none.
//!
//! Another way on purpose. Archives are opened by the zip crate, text is flattened by hand, every number is read by hand,
//! and what makes a position is decided by simpler and harsher rules: one pair in range and fine enough is enough, with no
//! regard to coherence. Shares nothing with the first reader but the integer and slice helpers of the standard library:
//! not its archive reader, XML reader, tokenizer, windows, keys or decoders. It says yes or no, and no evidence.
//!
//! What it cannot look into it does not agree to.

use std::io::{Cursor, Read};

/// Archives and encoded runs in each other.
const DEPTH_MAX: u8 = 4;
/// Everything that is unpacked or decoded together.
const BYTES_MAX: u64 = 256 << 20;
/// Members of an archive.
const MEMBERS_MAX: usize = 8_192;
/// Shorter runs of letters and digits are words.
const RUN_BYTES_MIN: usize = 40;
/// The two halves of a position stand at most so many numbers apart...
const APART_NUMBERS: usize = 8;
/// ...and so many bytes.
const APART_BYTES: usize = 512;
/// Values of one axis alone that lie near each other, after which it is an axis.
const AXIS_RUN: u32 = 4;
/// Metres between two corners of one job.
const NEAR: f64 = 10_000.0;

/// Does nothing in these bytes look like a coordinate, or like something that cannot be looked into?
pub(crate) fn agrees(bytes: &[u8]) -> bool {
    let mut left = BYTES_MAX;
    agrees_within(bytes, 0, &mut left)
}

fn agrees_within(bytes: &[u8], depth: u8, left: &mut u64) -> bool {
    let paid = left.checked_sub(bytes.len() as u64);
    let (Some(rest), true) = (paid, depth <= DEPTH_MAX) else { return false };
    *left = rest;
    // Kinds that hold things in ways that are not undone here.
    const CLOSED: [&[u8]; 8] =
        [b"%PDF", b"\xD0\xCF\x11\xE0", b"\x1F\x8B", b"7z\xBC\xAF", b"Rar!", b"\xFD7zXZ", b"BZh", b"\x28\xB5\x2F\xFD"];
    if CLOSED.iter().any(|magic| bytes.starts_with(magic)) {
        return false;
    }
    if bytes.starts_with(b"PK\x03\x04") {
        return archive(bytes, depth, left);
    }
    if bytes.starts_with(b"\x89PNG") {
        return png(bytes) && !tells_place(bytes);
    }
    let film = bytes.get(4..8).is_some_and(|word| word == b"ftyp" || word == b"moov");
    if bytes.starts_with(b"\xFF\xD8\xFF") || (film && std::str::from_utf8(bytes).is_err()) {
        return !tells_place(bytes);
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => text_agrees(text, depth, left),
        // A binary inside something else: what can be read of it as letters.
        Err(_) if depth > 0 => !tells_place(bytes) && text_agrees(&letters(bytes), depth, left),
        Err(_) => false,
    }
}

fn archive(bytes: &[u8], depth: u8, left: &mut u64) -> bool {
    let Ok(mut archive) = zip::ZipArchive::new(Cursor::new(bytes)) else { return false };
    if archive.len() > MEMBERS_MAX {
        return false;
    }
    for index in 0..archive.len() {
        let Ok(member) = archive.by_index(index) else { return false };
        let Ok(name) = member.name().map(std::borrow::Cow::into_owned) else { return false };
        let mut content = Vec::new();
        let limit = *left;
        let read = member.take(limit.saturating_add(1)).read_to_end(&mut content);
        if read.is_err() || content.len() as u64 > limit {
            return false;
        }
        let mut scanner = Scanner::default();
        scanner.read(&name);
        if scanner.objects || !agrees_within(&content, depth + 1, left) {
            return false;
        }
    }
    true
}

/// Words in front of a number that say what it is, whatever the number. ASCII in capitals.
const KEYS: [&str; 17] = [
    "XZB",
    "YZB",
    "XZBZ",
    "YZBZ",
    "NORTHING",
    "EASTING",
    "GPSLATITUDE",
    "GPSLONGITUDE",
    "COORDINATES",
    "POSLIST",
    "北坐标",
    "东坐标",
    "纵坐标",
    "横坐标",
    "POINT",
    "POLYGON",
    "LINESTRING",
];
/// Elements that have no other purpose.
const ELEMENTS: [&str; 5] = ["<ZD_K_103", "<ZH_K_105", "<KTT_GY_JZD", "<KTT_GY_JZX", "<KTF_ZH_YHYDZB"];

fn text_agrees(text: &str, depth: u8, left: &mut u64) -> bool {
    let open = opened(&opened(text));
    if ELEMENTS.iter().any(|element| open.contains(element)) {
        return false;
    }
    let mut scanner = Scanner::default();
    scanner.read(&open);
    if open.contains('<') {
        let mut flat = Scanner::default();
        flat.read(&flattened(&open));
        scanner.objects |= flat.objects;
    }
    !scanner.objects && runs(&open).all(|run| decoded(run).iter().all(|inner| agrees_within(inner, depth + 1, left)))
}

/// Character references and escapes resolved, full-width signs narrowed.
fn opened(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let (read, bytes) = reference(rest).unwrap_or((c, c.len_utf8()));
        let narrow = match u32::from(read) {
            wide @ 0xFF01..=0xFF5E => char::from_u32(wide - 0xFEE0).unwrap_or(read),
            _ => read,
        };
        out.push(narrow);
        rest = rest.get(bytes..).unwrap_or("");
    }
    out
}

fn reference(text: &str) -> Option<(char, usize)> {
    if let Some(number) = text.strip_prefix("&#") {
        let (number, _) = number.get(..number.len().min(9)).unwrap_or(number).split_once(';')?;
        let value = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => number.parse().ok()?,
        };
        return Some((char::from_u32(value)?, number.len() + 3));
    }
    let hex = text.strip_prefix("\\u")?.get(..4)?;
    Some((char::from_u32(u32::from_str_radix(hex, 16).ok()?)?, 6))
}

/// The text without its tags. Runs of a letter join, everything else stands apart.
fn flattened(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, tag)) = rest.split_once('<') {
        out.push_str(before);
        let (tag, after) = tag.split_once('>').unwrap_or((tag, ""));
        let name = tag.trim_start_matches('/').split([' ', '/', '\n', '\t']).next().unwrap_or("");
        let joins = name.starts_with("w:") && !matches!(name, "w:p" | "w:tc" | "w:tr" | "w:tab" | "w:br" | "w:cr");
        if !joins {
            out.push(' ');
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

#[derive(Clone, Copy, Default)]
struct Number {
    value: f64,
    whole: usize,
    decimals: usize,
    at: usize,
}

impl Number {
    fn north(&self) -> bool {
        self.whole == 7 && (1_900_000.0..6_000_000.0).contains(&self.value)
    }
    /// With the number of its belt in front.
    fn zoned(&self) -> bool {
        self.whole == 8 && belt(self.value)
    }
    fn east(&self) -> bool {
        self.whole == 6 && (166_000.0..834_000.0).contains(&self.value)
    }
    fn longitude(&self) -> bool {
        (73.0..136.0).contains(&self.value)
    }
    fn latitude(&self) -> bool {
        (3.0..54.0).contains(&self.value)
    }

    fn makes_a_position_with(&self, other: &Number) -> bool {
        let fine = |decimals| self.decimals >= decimals && other.decimals >= decimals;
        let either = |a: fn(&Number) -> bool, b: fn(&Number) -> bool| (a(self) && b(other)) || (b(self) && a(other));
        let millimetres_north = |n: &Number| n.whole == 10 && (1.9e9..6e9).contains(&n.value);
        // Belts below 25 are left out: mobile numbers begin with 13 to 19.
        let millimetres_east = |n: &Number| n.whole == 11 && n.value >= 25e9 && belt(n.value / 1e3);
        (fine(3) && either(Number::north, Number::east))
            || (fine(1) && either(Number::north, Number::zoned))
            || (fine(4) && either(Number::longitude, Number::latitude))
            || either(millimetres_north, millimetres_east)
    }
}

fn belt(metres: f64) -> bool {
    let number = (metres / 1e6).floor();
    (13.0..=45.0).contains(&number) && (166_000.0..834_000.0).contains(&(metres - number * 1e6))
}

/// Reads every number of a text once.
#[derive(Default)]
struct Scanner {
    last: [Number; APART_NUMBERS],
    next: usize,
    north_run: (f64, u32),
    zoned_run: (f64, u32),
    degrees: (bool, bool),
    objects: bool,
}

impl Scanner {
    fn read(&mut self, text: &str) {
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() && !self.objects {
            if !bytes.get(at).is_some_and(u8::is_ascii_digit) {
                at += 1;
                continue;
            }
            let start = at;
            let digits = |from: usize| bytes.iter().skip(from).take_while(|b| b.is_ascii_digit()).count();
            let whole = digits(at);
            at += whole;
            let decimals = if bytes.get(at) == Some(&b'.') { digits(at + 1) } else { 0 };
            at += if decimals > 0 { decimals + 1 } else { 0 };
            if let Some(value) = text.get(start..at).filter(|_| whole <= 12).and_then(|n| n.parse().ok()) {
                self.number(Number { value, whole, decimals, at: start });
                self.named(text, start, whole);
                self.sexagesimal(text, at, value);
            }
        }
    }

    fn number(&mut self, number: Number) {
        let near = |other: &Number| number.at.saturating_sub(other.at) <= APART_BYTES;
        self.objects |= self.last.iter().any(|other| near(other) && number.makes_a_position_with(other));
        if let Some(slot) = self.last.get_mut(self.next) {
            *slot = number;
        }
        self.next = (self.next + 1) % APART_NUMBERS;
        if number.decimals >= 3 && number.north() {
            self.objects |= runs_on(&mut self.north_run, number.value);
        }
        if number.decimals >= 3 && number.zoned() {
            self.objects |= runs_on(&mut self.zoned_run, number.value);
        }
    }

    /// A key right in front of a number of at least two digits.
    fn named(&mut self, text: &str, at: usize, whole: usize) {
        /// `": "`, `="`, `>`, brackets: nothing that is a word.
        const GAP_BYTES: usize = 8;
        let before = text.get(..at).unwrap_or("");
        let key = before.trim_end_matches(|c: char| !c.is_alphanumeric());
        if whole < 2 || before.len() - key.len() > GAP_BYTES {
            return;
        }
        let ends_with = |word: &str| {
            let tail = key.len().checked_sub(word.len()).and_then(|from| key.get(from..));
            let ends = tail.is_some_and(|tail| tail.eq_ignore_ascii_case(word));
            let begins = key
                .get(..key.len() - word.len().min(key.len()))
                .is_none_or(|k| !k.ends_with(|c: char| c.is_ascii_alphanumeric()));
            ends && (begins || !word.is_ascii())
        };
        self.objects |= KEYS.iter().any(|word| ends_with(word));
    }

    /// Degrees with minutes behind them, once east and once north.
    fn sexagesimal(&mut self, text: &str, end: usize, value: f64) {
        let Some(minutes) = text.get(end..).and_then(|rest| rest.strip_prefix(['°', '度', 'º'])) else { return };
        let minutes = minutes.trim_start();
        let digits = minutes.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
        let sign = minutes.get(digits..).and_then(|rest| rest.chars().next());
        if digits > 0 && matches!(sign, Some('\'' | '′' | '’' | '分')) {
            self.degrees.0 |= (73.0..136.0).contains(&value);
            self.degrees.1 |= (3.0..54.0).contains(&value);
            self.objects |= self.degrees == (true, true);
        }
    }
}

/// Another value near the last one of its axis, and not the same; true when that makes an axis.
fn runs_on(run: &mut (f64, u32), value: f64) -> bool {
    let step = (value - run.0).abs();
    let count = if step > NEAR { 1 } else { run.1 + u32::from(step > 0.0) };
    *run = (value, count);
    count >= AXIS_RUN
}

/// Runs that may be something encoded.
fn runs(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '/')))
        .filter(|run| run.len() >= RUN_BYTES_MIN)
}

/// What a run holds if it is hex, and if it is base64.
fn decoded(run: &str) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    if run.len().is_multiple_of(2) && run.bytes().all(|b| b.is_ascii_hexdigit()) {
        let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok()).unwrap_or(0);
        let (pairs, _) = run.as_bytes().as_chunks::<2>();
        out.push(pairs.iter().map(|[high, low]| digit(*high) << 4 | digit(*low)).collect());
    }
    let mut bytes = Vec::with_capacity(run.len() / 4 * 3);
    let (mut word, mut bits) = (0_u32, 0);
    for letter in run.bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            _ => 63,
        };
        word = word << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(word >> bits & 0xFF).unwrap_or(0));
        }
    }
    out.push(bytes);
    out
}

/// The printable characters of a binary; the rest are gaps.
fn letters(bytes: &[u8]) -> String {
    bytes.iter().map(|b| if b.is_ascii_graphic() { char::from(*b) } else { ' ' }).collect()
}

/// A PNG of pixels alone: no chunk that holds words or a header of EXIF.
fn png(bytes: &[u8]) -> bool {
    let mut rest = bytes.get(8..).unwrap_or_default();
    while let Some((size, after)) = rest.split_first_chunk::<4>() {
        let Some((kind, body)) = after.split_first_chunk::<4>() else { return false };
        if matches!(kind, b"tEXt" | b"zTXt" | b"iTXt" | b"eXIf") {
            return false;
        }
        let Some(next) = usize::try_from(u32::from_be_bytes(*size)).ok().and_then(|n| body.get(n.checked_add(4)?..))
        else {
            return false;
        };
        rest = next;
    }
    rest.is_empty()
}

/// A header of EXIF whose first directory leads to a place, or a film's or picture's words for one.
fn tells_place(bytes: &[u8]) -> bool {
    const WORDS: [&[u8]; 4] = [b"GPSLatitude", b"GPSLongitude", b"location.ISO6709", b"\xA9xyz"];
    let has = |word: &[u8]| bytes.windows(word.len()).any(|window| window == word);
    let header = |window: &[u8]| window == b"II*\0" || window == b"MM\0*";
    WORDS.iter().any(|word| has(word))
        || bytes
            .windows(4)
            .enumerate()
            .any(|(at, window)| header(window) && leads_to_place(bytes.get(at..).unwrap_or_default()))
}

/// Tags 1 to 4 of the directory that tag 0x8825 points at: latitude, longitude and their hemispheres.
fn leads_to_place(tiff: &[u8]) -> bool {
    let little = tiff.starts_with(b"II");
    let field = |at: usize, width: usize| {
        let bytes = tiff.get(at..at.checked_add(width)?)?;
        let fold = |n: usize, b: &u8| n << 8 | usize::from(*b);
        Some(if little { bytes.iter().rev().fold(0, fold) } else { bytes.iter().fold(0, fold) })
    };
    let entries = |from: usize| {
        let count = field(from, 2).unwrap_or(0).min(512);
        (0..count).map(move |n| from.saturating_add(2 + n * 12))
    };
    let Some(first) = field(4, 4) else { return false };
    let pointer = entries(first).find(|at| field(*at, 2) == Some(0x8825)).and_then(|at| field(at + 8, 4));
    pointer.is_some_and(|gps| entries(gps).any(|at| field(at, 2).is_some_and(|tag| (1..=4).contains(&tag))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_seen_however_it_is_written() {
        for text in [
            "J1 4563112.347 40512233.118",
            "<a XZBZ=\"12.5\"/>",
            "<KTT_GY_JZD/>",
            "{\"x\": 512233.118, \"y\": 4563112.347}",
            "113.3477,23.1395",
            "&#52;563112.347 512233.118",
            "\\u0034563112.347 512233.118",
            "４５６３１１２．３４７ 512233.118",
            "<w:r><w:t>45</w:t></w:r><w:r><w:t>63112.347 405</w:t></w:r><w:r><w:t>12233.118</w:t></w:r>",
            "东经113度19分0.51秒，北纬23度7分55.53秒",
            "POINT(113.3 23.1)",
            "4563112347 40512233118",
            "40512233.118\n40512240.001\n40512251.330\n40512260.777",
            "SjEgNDU2MzExMi4zNDcgNDA1MTIyMzMuMTE4IEoxIDQ1NjMxMTIuMzQ3",
            "4a3120343536333131322e3334372034303531323233332e313138",
        ] {
            assert!(!agrees(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn papers_of_the_office_are_agreed_to() {
        for text in [
            "房号,建筑面积,单价,总价\n101,112.38,7697.10,865000.08\n102,98.20,7700.00,4756140.00\n",
            "{\"ywh\": \"742751509445\", \"sqr\": \"张三\", \"dh\": \"13800138000\", \"sj\": \"2026-11-21 10:15:00\"}",
            "<Message><Head><BizMsgID>440106210123456789</BizMsgID></Head><Data><KTT_ZDJBXX ZDDM=\"440106024056GB81906\" DJ=\"5\" JG=\"7301721.5267\"/></Data></Message>",
            "652901001001GB00018F00030501 2846.50",
            "20261121 4563112 600000.00",
            "",
        ] {
            assert!(agrees(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn what_it_cannot_look_into_it_does_not_agree_to() {
        for bytes in [
            &b"%PDF-1.7"[..],
            b"\x1F\x8B\x08",
            b"PK\x03\x04broken",
            b"\xFF\xFE\0",
            b"\x89PNG\r\n\x1a\n\0\0\0\x01tEXtx1234",
        ] {
            assert!(!agrees(bytes), "{bytes:?}");
        }
    }
}
