//! What a page draws: the strings of its text operators, and the maps that turn glyph numbers into characters.
//!
//! Not a renderer. Where the pen moves, a separator stands; where it moves no further than the characters just drawn
//! are wide, a second reading leaves it out, because many writers place every digit by itself.

use std::borrow::Cow;
use std::collections::HashMap;

use super::coding::Coding;
use super::object::{Lexer, Object, is_delimiter, is_space, literal, name_of};
use crate::octets::{head, tail};

/// Numbers before an operator; a matrix has six.
const OPERANDS_MAX: usize = 8;
/// A gap in a TJ array, in thousandths of the font's size, from which on it is a space.
const SPACE_FROM: f64 = 180.0;
/// Digits are half as wide as the font is high, with a little play.
const DIGIT_WIDTH: f64 = 0.56;
/// Glyph numbers of one document that are kept until all maps are known; more is no document for people.
pub(super) const CODES_MAX: usize = 32 << 20;

/// Strings as they were drawn.
#[derive(Default)]
pub(super) struct Drawn {
    /// With a separator at every move.
    pub text: String,
    /// Without those between neighbours; empty where there are none.
    pub joined: String,
    /// Comments, and pixels that are letters: what no viewer shows and every editor does.
    pub asides: String,
    /// Words that are operators of a page, and words that are none.
    operators: u32,
    strangers: u32,
    codes: Vec<u8>,
    /// Ends of strings in `codes`.
    cuts: Vec<Cut>,
    /// Names of fonts as pages call them.
    fonts: Vec<Vec<u8>>,
    /// More fonts than are kept apart.
    pub crowded: bool,
}

struct Cut {
    end: usize,
    behind: Option<char>,
    font: usize,
}

/// Names of fonts in one document; pages name a handful.
const FONTS_MAX: usize = 4_096;
/// Of so many operators one may be a word nobody knows: broken writers glue two together.
const STRANGERS_ONE_IN: u32 = 20;

/// The operators of a page, and the words that stand for values.
const OPERATORS: &[&str] = &[
    "b", "B", "b*", "B*", "BDC", "BI", "BMC", "BT", "BX", "c", "cm", "CS", "cs", "d", "d0", "d1", "Do", "DP", "EI",
    "EMC", "ET", "EX", "f", "F", "f*", "G", "g", "gs", "h", "i", "ID", "j", "J", "K", "k", "l", "m", "M", "MP", "n",
    "q", "Q", "re", "RG", "rg", "ri", "s", "S", "SC", "sc", "SCN", "scn", "sh", "T*", "Tc", "Td", "TD", "Tf", "Tj",
    "TJ", "TL", "Tm", "Tr", "Ts", "Tw", "Tz", "v", "w", "W", "W*", "y", "'", "\"", "true", "false", "null",
];

/// How a font's bytes become characters.
pub(super) enum Reading<'m> {
    Map(&'m UnicodeMap),
    Coding(Coding),
}

impl Drawn {
    /// Nothing that only a map could read.
    pub(super) fn is_plain(&self) -> bool {
        self.codes.is_empty()
    }

    /// Operators stand in it, and hardly another word: then its strings are its text, and its numbers are ink.
    pub(super) fn is_page(&self) -> bool {
        self.operators > 0 && self.strangers <= self.operators / STRANGERS_ONE_IN
    }

    pub(super) fn append(&mut self, other: &mut Drawn) -> bool {
        let base = self.codes.len();
        self.crowded |= other.crowded;
        if base + other.codes.len() > CODES_MAX {
            return false;
        }
        self.codes.append(&mut other.codes);
        let fonts: Vec<usize> = other.fonts.iter().map(|name| self.font(name)).collect();
        for cut in other.cuts.drain(..) {
            let font = fonts.get(cut.font).copied().unwrap_or(0);
            self.cuts.push(Cut { end: base + cut.end, font, ..cut });
        }
        true
    }

    /// The index of a font's name.
    fn font(&mut self, name: &[u8]) -> usize {
        self.fonts.iter().position(|known| known == name).unwrap_or_else(|| {
            if self.fonts.len() < FONTS_MAX {
                self.fonts.push(name.to_vec());
            } else {
                self.crowded = true;
            }
            self.fonts.len() - 1
        })
    }

    fn aside(&mut self, bytes: &[u8]) {
        self.asides.push_str(&String::from_utf8_lossy(bytes));
        self.asides.push('\n');
    }

    fn word(&mut self, word: &[u8]) {
        if OPERATORS.iter().any(|known| known.as_bytes() == word) {
            self.operators += 1;
        } else {
            self.strangers += 1;
        }
    }

    fn cut(&mut self, behind: Option<char>, font: usize) {
        let end = self.codes.len();
        match (self.cuts.last_mut(), behind) {
            (Some(last), Some(_)) if last.end == end => last.behind = behind,
            _ => self.cuts.push(Cut { end, behind, font }),
        }
    }

    /// Bytes that one reading of everything takes.
    pub(super) fn bytes(&self) -> usize {
        self.codes.len()
    }

    /// What the strings say, when each font reads by the nth of its readings, or plainly where it has none.
    pub(super) fn read_by(&self, readings: &[Vec<Reading<'_>>], nth: usize) -> String {
        let mut out = String::new();
        let mut start = 0;
        for cut in &self.cuts {
            let string = self.codes.get(start..cut.end).unwrap_or_default();
            match readings.get(cut.font).and_then(|readings| readings.get(nth).or_else(|| readings.last())) {
                Some(Reading::Map(map)) => map.read(string, &mut out),
                Some(Reading::Coding(coding)) => coding.read(string, &mut out),
                None => out.push_str(&plain(string)),
            }
            out.extend(cut.behind);
            start = cut.end;
        }
        out
    }

    pub(super) fn fonts(&self) -> &[Vec<u8>] {
        &self.fonts
    }
}

struct Pen {
    x: f64,
    y: f64,
    size: f64,
    scale: f64,
    /// Where the line of text runs to.
    toward: (f64, f64),
    /// Width of what was drawn since the pen last moved, in ems.
    drawn: f64,
    joins: u32,
    font: usize,
}

/// Reads a content stream.
pub(super) fn read(content: &[u8]) -> Drawn {
    let mut drawn = Drawn::default();
    let mut pen = Pen { x: 0.0, y: 0.0, size: 1.0, scale: 1.0, toward: (1.0, 0.0), drawn: 0.0, joins: 0, font: 0 };
    pen.font = drawn.font(b"");
    let mut name: &[u8] = b"";
    let mut operands: Vec<f64> = Vec::with_capacity(OPERANDS_MAX);
    let mut at = 0;
    let mut in_array = false;
    let mut in_picture = false;
    while let Some(byte) = content.get(at) {
        match byte {
            b'(' => {
                let (string, used) = literal(tail(content, at + 1));
                show(&mut drawn, &mut pen, &string);
                at += used + 1;
            }
            b'<' if content.get(at + 1) == Some(&b'<') => at += 2,
            b'<' => {
                if let Some(Object::Text(string)) = Lexer::new(content, at).object() {
                    show(&mut drawn, &mut pen, &string);
                }
                let rest = tail(content, at);
                at += memchr::memchr(b'>', rest).map_or(rest.len(), |n| n + 1);
            }
            b'[' => {
                in_array = true;
                at += 1;
            }
            b']' => {
                in_array = false;
                at += 1;
            }
            b'+' | b'-' | b'.' | b'0'..=b'9' => {
                let end = word_end(content, at);
                let value = content.get(at..end).and_then(|w| std::str::from_utf8(w).ok()?.parse().ok()).unwrap_or(0.0);
                if in_array && value < -SPACE_FROM {
                    space(&mut drawn, &pen, ' ');
                }
                if operands.len() == OPERANDS_MAX {
                    operands.remove(0);
                }
                operands.push(value);
                at = end.max(at + 1);
            }
            b'%' => {
                let rest = tail(content, at);
                let end = rest.iter().position(|b| matches!(b, b'\n' | b'\r')).unwrap_or(rest.len());
                drawn.aside(head(rest, end));
                at += end;
            }
            b if b.is_ascii_alphabetic() || matches!(b, b'\'' | b'"') => {
                let end = word_end(content, at).max(at + 1);
                let word = content.get(at..end).unwrap_or_default();
                at = end;
                drawn.word(word);
                if word == b"ID" && in_picture {
                    let pixels = head(tail(content, at), inline_picture(tail(content, at)));
                    if pixels.iter().all(|b| (0x20..0x7F).contains(b) || is_space(*b)) {
                        drawn.aside(pixels);
                    }
                    at += pixels.len();
                    in_picture = false;
                } else if word == b"BI" {
                    in_picture = true;
                } else if word == b"Tf" && !operands.is_empty() {
                    pen.size = operands.last().copied().unwrap_or(1.0).abs().max(0.01);
                    pen.font = drawn.font(&name_of(name));
                } else {
                    operator(&mut drawn, &mut pen, word, &operands);
                }
                operands.clear();
            }
            b'/' => {
                let end = word_end(content, at + 1);
                name = content.get(at + 1..end).unwrap_or_default();
                at = end;
            }
            _ => at += 1,
        }
    }
    if pen.joins == 0 {
        drawn.joined.clear();
    }
    drawn
}

fn word_end(content: &[u8], at: usize) -> usize {
    at + tail(content, at).iter().take_while(|b| !is_space(**b) && !is_delimiter(**b)).count()
}

/// Pixels in the page's own stream, up to the `EI` that stands alone.
fn inline_picture(content: &[u8]) -> usize {
    memchr::memmem::find_iter(content, b"EI")
        .find(|at| {
            at.checked_sub(1).and_then(|i| content.get(i)).is_none_or(|b| is_space(*b))
                && content.get(at + 2).is_none_or(|b| is_space(*b) || is_delimiter(*b))
        })
        .map_or(content.len(), |at| at + 2)
}

fn is_control(byte: &u8) -> bool {
    *byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r')
}

/// A string as it stands. Control bytes show nothing, and separate nothing.
fn plain(string: &[u8]) -> Cow<'_, str> {
    if string.iter().any(is_control) {
        let shown: Vec<u8> = string.iter().copied().filter(|b| !is_control(b)).collect();
        Cow::Owned(String::from_utf8_lossy(&shown).into_owned())
    } else {
        String::from_utf8_lossy(string)
    }
}

fn show(drawn: &mut Drawn, pen: &mut Pen, string: &[u8]) {
    if string.is_empty() {
        return;
    }
    let readable = !string.iter().any(is_control);
    let text = plain(string);
    drawn.text.push_str(&text);
    drawn.joined.push_str(&text);
    #[expect(clippy::cast_precision_loss, reason = "the length of a string on a page")]
    let glyphs = if readable { string.len() as f64 } else { string.len() as f64 / 2.0 };
    pen.drawn += glyphs;
    drawn.codes.extend_from_slice(string);
    drawn.cut(None, pen.font);
}

fn space(drawn: &mut Drawn, pen: &Pen, separator: char) {
    drawn.text.push(separator);
    drawn.joined.push(separator);
    drawn.cut(Some(separator), pen.font);
}

fn operator(drawn: &mut Drawn, pen: &mut Pen, word: &[u8], operands: &[f64]) {
    match (word, operands) {
        (b"Td" | b"TD", [.., x, y]) => {
            let ((along, up), (dx, dy)) = (pen.toward, (x * pen.scale, y * pen.scale));
            (pen.x, pen.y) = (pen.x + dx * along - dy * up, pen.y + dx * up + dy * along);
            advance(drawn, pen, dx, dy);
        }
        (b"Tm", [.., a, b, _, _, x, y]) => {
            let scale = a.hypot(*b);
            let (dx, dy) = (x - pen.x, y - pen.y);
            (pen.x, pen.y) = (*x, *y);
            let whole = scale.is_finite() && scale > 0.0;
            (pen.scale, pen.toward) = if whole { (scale, (a / scale, b / scale)) } else { (1.0, (1.0, 0.0)) };
            let (along, up) = pen.toward;
            advance(drawn, pen, dx * along + dy * up, dy * along - dx * up);
        }
        (b"T*" | b"ET" | b"'" | b"\"", _) => {
            space(drawn, pen, '\n');
            pen.drawn = 0.0;
        }
        _ => {}
    }
}

/// The pen moves along its line, and up from it.
fn advance(drawn: &mut Drawn, pen: &mut Pen, dx: f64, dy: f64) {
    let em = pen.size * pen.scale;
    if dy.abs() > em * 0.3 {
        space(drawn, pen, '\n');
    } else {
        let near = pen.drawn > 0.0 && dx > 0.0 && dx <= em * (pen.drawn * DIGIT_WIDTH + 0.1);
        drawn.text.push(' ');
        if near {
            pen.joins += 1;
        } else {
            drawn.joined.push(' ');
            drawn.cut(Some(' '), pen.font);
        }
    }
    pen.drawn = 0.0;
}

/// A ToUnicode map: glyph numbers to characters.
pub(super) struct UnicodeMap {
    single: HashMap<u32, char>,
    /// Glyphs that mean several characters.
    several: HashMap<u32, String>,
    /// From, to, first character; sorted.
    ranges: Vec<(u32, u32, u32)>,
    bytes: usize,
    /// More entries than are kept.
    pub crowded: bool,
}

/// Entries of one map; a Chinese font has at most 30,000.
const MAP_ENTRIES_MAX: usize = 70_000;

impl UnicodeMap {
    pub(super) fn parse(content: &[u8]) -> Self {
        let mut map = UnicodeMap {
            single: HashMap::new(),
            several: HashMap::new(),
            ranges: Vec::new(),
            bytes: 2,
            crowded: false,
        };
        let mut lexer = Lexer::new(content, 0);
        let mut section: &[u8] = b"";
        let mut pending: Vec<Object<'_>> = Vec::new();
        while let Some(object) = lexer.object() {
            if map.single.len() + map.several.len() + map.ranges.len() > MAP_ENTRIES_MAX {
                map.crowded = true;
                break;
            }
            match object {
                Object::Word(word) => {
                    section = word;
                    pending.clear();
                }
                other => {
                    pending.push(other);
                    if map.take(section, &pending) {
                        pending.clear();
                    }
                    pending.truncate(4);
                }
            }
        }
        map.ranges.sort_unstable();
        map
    }

    /// True: these belonged together.
    fn take(&mut self, section: &[u8], pending: &[Object<'_>]) -> bool {
        match (section, pending) {
            (b"begincodespacerange", [Object::Text(from), Object::Text(_)]) => {
                self.bytes = from.len().clamp(1, 4);
                true
            }
            (b"beginbfchar", [Object::Text(code), Object::Text(target)]) => {
                self.means(number(code), target);
                true
            }
            (b"beginbfrange", [Object::Text(from), Object::Text(to), Object::Text(target)]) => {
                // Of several characters the last one counts on; those before it stay.
                match (first_unit(target), target.len()) {
                    (Some(first), ..=2) => self.ranges.push((number(from), number(to), first)),
                    (Some(_), _) => {
                        for (code, step) in (number(from)..=number(to)).zip(0..=RANGE_MAX) {
                            self.means(code, &counted_on(target, step));
                        }
                    }
                    _ => {}
                }
                true
            }
            (b"beginbfrange", [Object::Text(from), Object::Text(_), Object::Array(targets)]) => {
                for (code, target) in (number(from)..).zip(targets) {
                    if let Object::Text(target) = target {
                        self.means(code, target);
                    }
                }
                true
            }
            _ => false,
        }
    }

    /// A glyph and its UTF-16.
    fn means(&mut self, code: u32, target: &[u8]) {
        if target.len() <= 2 {
            if let Some(c) = first_unit(target).and_then(char::from_u32) {
                self.single.insert(code, c);
            }
        } else {
            let (text, _) = encoding_rs::UTF_16BE.decode_without_bom_handling(target);
            self.several.insert(code, text.into_owned());
        }
    }

    fn character(&self, code: u32) -> Option<char> {
        self.single.get(&code).copied().or_else(|| {
            let behind = self.ranges.partition_point(|(from, ..)| *from <= code);
            let (from, to, target) = self.ranges.get(behind.checked_sub(1)?)?;
            (code <= *to).then(|| char::from_u32(target.checked_add(code - from)?)).flatten()
        })
    }

    fn read(&self, string: &[u8], out: &mut String) {
        for code in string.chunks(self.bytes).map(number) {
            match self.several.get(&code) {
                Some(text) => out.push_str(text),
                None => out.extend(self.character(code)),
            }
        }
    }
}

fn number(code: &[u8]) -> u32 {
    head(code, 4).iter().fold(0, |n, b| n << 8 | u32::from(*b))
}

/// Codes of one range that means several characters each; the last byte counts, so there are no more.
const RANGE_MAX: u8 = 255;

/// What a range means that many codes behind its first.
fn counted_on(target: &[u8], step: u8) -> Vec<u8> {
    let mut target = target.to_vec();
    if let Some(last) = target.last_mut() {
        *last = last.wrapping_add(step);
    }
    target
}

/// The first UTF-16 unit of what a glyph means.
fn first_unit(target: &[u8]) -> Option<u32> {
    match target {
        [one] => Some(u32::from(*one)),
        [high, low, ..] => Some(u32::from(*high) << 8 | u32::from(*low)),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_placed_one_by_one_are_read_together() {
        let page = b"BT /F1 10 Tf 1 0 0 1 50 700 Tm (4) Tj 5.5 0 Td (8) Tj 5.5 0 Td (51490.419) Tj 80 0 Td (29546865.276) Tj ET";
        let drawn = read(page);
        assert_eq!(drawn.joined.trim(), "4851490.419 29546865.276");
        let page = b"BT /F1 1 Tf 10 0 0 10 50 700 Tm (4) Tj 10 0 0 10 55.5 700 Tm (8) Tj ET";
        assert_eq!(read(page).joined.trim(), "48");
    }

    #[test]
    fn a_wide_gap_in_an_array_is_a_space_and_a_line_is_a_line() {
        assert_eq!(
            read(b"BT [(4851490.419)-2000(29546865)10(.276)] TJ 0 -12 Td (J2) Tj ET").text,
            "4851490.419 29546865.276\nJ2\n"
        );
    }

    #[test]
    fn pixels_of_the_page_itself_open_no_string() {
        assert_eq!(read(b"BI /W 1 ID \x28\x28\xFF EIx( EI BT (J1) Tj").text, "J1");
    }

    #[test]
    fn glyph_numbers_are_read_by_their_map() {
        let map = UnicodeMap::parse(
            b"1 begincodespacerange <0000> <ffff> endcodespacerange 1 beginbfrange <0010> <0019> <0030> endbfrange 1 beginbfchar <0003> <002E> endbfchar 1 beginbfrange <0020> <0021> [<0041> <0042>] endbfrange",
        );
        let drawn = read(b"BT <001400180003> Tj 0 -9 Td <0021> Tj");
        assert_eq!(drawn.read_by(&[vec![Reading::Map(&map)]], 0), "48.\nB");
    }

    #[test]
    fn broken_maps_and_pages_are_read_as_far_as_they_go() {
        for broken in
            [&b"beginbfrange <00"[..], b"beginbfrange <ffffffff> <ffffffff> <ffff> <0", b"(", b"<", b"[", b"ID"]
        {
            let map = UnicodeMap::parse(broken);
            let _ = read(broken).read_by(&[vec![Reading::Map(&map)]], 0);
        }
    }
}
