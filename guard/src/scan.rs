//! One pass over a decoded text: words, numbers, and what they say together. No allocation but for hits.
//!
//! ```text
//! word    letters, digits behind letters, '_' and everything beyond ASCII but its signs; the word before a number is its key
//! number  digits, '.', digits, perhaps an exponent; a number inside a word is no number
//! ```
//! Knows nothing of files. Bounds: a fixed window of numbers, and [`HITS_MAX`] hits.

use crate::axis::{self, Axis};
use crate::finding::RuleClass;
use crate::pairs::{self, AxisRun, Number, PairKind, Trail, Windows};
use crate::rooms::{self, Rooms};
use crate::sexagesimal;
use crate::sheet;
use crate::words;

/// After this many hits a text is what it is; scanning on would only cost time.
const HITS_MAX: usize = 8;
/// A key stands at most so many bytes before its number: `": "`, `="`, `>`, a bracket or two.
const KEY_GAP_MAX: usize = 16;

/// Neighbours of one point on a grid of the city's own: three points in all.
const LOCAL_RUN: u32 = 2;

/// One hit in a text.
pub(crate) struct Hit {
    pub rule: &'static str,
    pub class: RuleClass,
    pub at: usize,
    in_degrees: bool,
}

/// Is it a single pair in degrees, which on a sheet of paper is a place on the paper?
pub(crate) fn is_lone(hit: &Hit) -> bool {
    hit.in_degrees
}

/// What a text was found to be.
pub(crate) struct Scanned {
    pub hits: Vec<Hit>,
    /// Digits that stand one by one with spaces between: worth a second look without the spaces.
    pub spaced_digits: bool,
}

/// Looks at a text once.
pub(crate) fn scan(text: &str) -> Scanned {
    let mut scan = Scan::new(text);
    scan.run();
    Scanned { hits: scan.hits, spaced_digits: scan.spaced_run_max >= 6 }
}

const OTHER: u8 = 0;
const DIGIT: u8 = 1;
const LETTER: u8 = 2;
const HIGH: u8 = 3;
/// Begins a sign beyond ASCII, or a letter.
const LEAD: u8 = 4;

const CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [OTHER; 256];
    let mut b = 0;
    while b < 256 {
        table[b] = match b {
            0x30..=0x39 => DIGIT,
            0x41..=0x5A | 0x61..=0x7A | 0x5F => LETTER,
            0xC2 | 0xE2 | 0xE3 | 0xEF => LEAD,
            0x80..=0xFF => HIGH,
            _ => OTHER,
        };
        b += 1;
    }
    table
}

fn class(byte: u8) -> u8 {
    CLASS.get(usize::from(byte)).copied().unwrap_or(OTHER)
}

/// The name stands at most so many bytes before the key of its value.
const VALUE_NAME_MAX: usize = 96;
/// The other two ways that a flat may face stand within so many bytes of the first two.
const FRONTS_REACH: usize = 160;
/// Characters of a key that is written with blanks between them.
const SPACED_KEY_MAX: usize = 40;

/// How long the sign beyond ASCII is that stands here; nought for a letter. Brackets, quotes, commas and dashes of a
/// Chinese text part words as those of ASCII do.
fn wide_sign(bytes: &[u8], at: usize) -> usize {
    match bytes.get(at..).unwrap_or_default() {
        [0xC2, 0xB7, ..] => 2,
        // U+3007 is a nought.
        [0xE3, 0x80, 0x87, ..] => 0,
        [0xE3, 0x80, ..]
        | [0xE2, 0x80, 0x90..=0xA7, ..]
        | [0xEF, 0xBC, 0x81..=0x8F | 0x9A..=0xA0 | 0xBB..=0xBF, ..]
        | [0xEF, 0xBD, 0x80 | 0x9B..=0xA5, ..] => 3,
        _ => 0,
    }
}

/// Nothing but blanks?
fn is_blank(between: &[u8]) -> bool {
    between.len() <= KEY_GAP_MAX
        && std::str::from_utf8(between).is_ok_and(|text| text.chars().all(|c| matches!(c, ' ' | '\t' | '\u{3000}')))
}

/// A bracket opens, and nothing else stands there.
fn is_opening(between: &[u8]) -> bool {
    matches!(between, b"(" | b"[" | b" (" | b" [") || ["（", "【", "［"].iter().any(|sign| between == sign.as_bytes())
}

/// A comma, or a sign beyond ASCII, stands between two words of one list.
fn is_list(between: &[u8]) -> bool {
    (1..=6).contains(&between.len())
        && between.iter().all(|b| matches!(b, b' ' | b',' | b'/' | b';' | b'"' | 0x80..=0xFF))
}

/// A value in degrees, minutes and seconds.
#[derive(Clone, Copy)]
struct Dms {
    degrees: f64,
    end: usize,
    fine: bool,
    /// A hemisphere stands before or behind it.
    named: bool,
}

impl Dms {
    fn is_east(&self) -> bool {
        (73.0..=136.0).contains(&self.degrees)
    }
    fn is_north(&self) -> bool {
        (3.0..=54.0).contains(&self.degrees)
    }
}

/// The other axis of a position stands at most so many numbers away; `z`, a name or a price may lie between.
const KEYED_MAX: usize = 4;

/// A number under a key that names an axis.
#[derive(Clone, Copy)]
struct Keyed {
    axis: Axis,
    key: (usize, usize),
    number: Number,
    index: u64,
}

struct Scan<'a> {
    text: &'a str,
    bytes: &'a [u8],
    hits: Vec<Hit>,
    index: u64,
    key: Option<(usize, usize)>,
    /// Where what belongs to the key ends: `X坐标（米）为`.
    key_reach: usize,
    /// Two axes named one behind the other, and the second of them while its number has not come.
    listed: Option<(usize, usize)>,
    hemisphere: Option<(Axis, u64)>,
    last: [Number; 3],
    keyed: [Option<Keyed>; KEYED_MAX],
    last_dms: Option<Dms>,
    tile: Option<(u32, Option<Keyed>)>,
    trails: [Trail; 8],
    axis_north: AxisRun,
    axis_east: AxisRun,
    plain_east: AxisRun,
    local: Trail,
    /// The first of two numbers behind the name of a corner.
    corner: Option<Number>,
    sexagesimal: sexagesimal::Rows,
    rooms: Rooms,
    spaced_run: u32,
    spaced_run_max: u32,
    spaced_at: usize,
}

impl<'a> Scan<'a> {
    fn new(text: &'a str) -> Self {
        Scan {
            text,
            bytes: text.as_bytes(),
            hits: Vec::new(),
            index: 0,
            key: None,
            key_reach: 0,
            listed: None,
            hemisphere: None,
            last: [Number::default(); 3],
            keyed: [None; KEYED_MAX],
            last_dms: None,
            tile: None,
            trails: PairKind::ALL.map(Trail::new),
            axis_north: AxisRun::new(),
            axis_east: AxisRun::new(),
            plain_east: AxisRun::new(),
            local: Trail::new(PairKind::Plain),
            corner: None,
            sexagesimal: sexagesimal::Rows::default(),
            rooms: Rooms::default(),
            spaced_run: 0,
            spaced_run_max: 0,
            spaced_at: 0,
        }
    }

    fn run(&mut self) {
        let mut at = 0;
        while let Some(skipped) = self.bytes.get(at..).and_then(|rest| rest.iter().position(|b| class(*b) != OTHER)) {
            at += skipped;
            at = if class(self.byte(at)) == DIGIT { self.number(at) } else { self.word(at) };
            if self.hits.len() >= HITS_MAX {
                return;
            }
        }
    }

    fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }

    fn hit(&mut self, rule: &'static str, class: RuleClass, at: usize) {
        if !self.hits.iter().any(|h| h.rule == rule) {
            self.hits.push(Hit { rule, class, at, in_degrees: false });
        }
    }

    fn lone_hit(&mut self, rule: &'static str, class: RuleClass, at: usize, in_degrees: bool) {
        if !self.hits.iter().any(|h| h.rule == rule && h.in_degrees == in_degrees) {
            self.hits.push(Hit { rule, class, at, in_degrees });
        }
    }

    /// A word from `start`; answers where to go on.
    fn word(&mut self, start: usize) -> usize {
        if class(self.byte(start)) == LEAD {
            let sign = wide_sign(self.bytes, start);
            if sign > 0 {
                return start + sign;
            }
        }
        let letters = |at: usize| {
            let rest = self.bytes.get(at..).unwrap_or_default();
            rest.iter().position(|b| class(*b) != LETTER).unwrap_or(rest.len())
        };
        let mut at = start + letters(start);
        // Where the letters and digits of ASCII begin that the word ends in.
        let mut plain = if at > start { Some(start) } else { None };
        while let Some(byte) = self.bytes.get(at) {
            match (class(*byte), plain) {
                (LETTER, _) => plain = plain.or(Some(at)),
                (LEAD, _) if wide_sign(self.bytes, at) > 0 => break,
                (HIGH | LEAD, _) => plain = None,
                (DIGIT, Some(from)) => {
                    if self.is_glued(from, at) {
                        break; // X5071467.377, XZB5071467.377: a key and its number
                    }
                    if at - from == 1 && matches!(self.byte(from), b'N' | b'E') && self.is_sexagesimal(at) {
                        break; // N23-07-55.53
                    }
                }
                _ => break,
            }
            at += 1;
        }
        if self.is_national_sheet(start, at) {
            self.hit("sheet-number", RuleClass::Structural, start);
        }
        self.name(start, at);
        if let Some(start) = plain.filter(|start| at - start >= 3) {
            if let Some(word) = self.text.get(start..at)
                && let Some((rule, class)) = words::structural(word, self.bytes, start, at)
            {
                self.hit(rule, class, start);
            }
            if self.byte(at) == b'+' && words::is_plus_code(self.bytes, start, at) {
                self.hit("plus-code", RuleClass::Structural, start);
            }
        }
        at
    }

    /// Makes a word the key of what follows, or lets it say more about the key before it.
    fn name(&mut self, start: usize, end: usize) {
        let unit = end - start == 1 && start > 0 && self.byte(start - 1) == b'(';
        let Some((from, to)) = self.key else {
            self.listed = None;
            if !unit {
                (self.key, self.key_reach) = (Some((start, end)), end);
            }
            return;
        };
        let between = self.bytes.get(self.key_reach..start).unwrap_or_default();
        let word = self.text.get(start..end).unwrap_or("");
        let wide = matches!(class(self.byte(start)), HIGH | LEAD);
        if unit || (wide && between.len() <= KEY_GAP_MAX && axis::is_link(word)) {
            self.key_reach = end;
        } else if end - from <= SPACED_KEY_MAX && wide && is_blank(between) && axis::goes_on(word) {
            // X 坐标, 纵 坐 标
            (self.key, self.key_reach) = (Some((from, end)), end);
        } else if is_opening(between) && self.is_closed(end) && self.text.get(from..to).and_then(axis::of).is_some() {
            // 经度（E）, X（CGCS2000）
            self.key_reach = end;
        } else {
            self.listed = is_list(between).then_some((from, to));
            (self.key, self.key_reach) = (Some((start, end)), end);
        }
    }

    /// Does a bracket close here?
    fn is_closed(&self, at: usize) -> bool {
        matches!(self.byte(at), b')' | b']')
            || self.text.get(at..).is_some_and(|rest| rest.starts_with(['）', '】', '］']))
    }

    /// Does a number begin here, right behind a letter or two or behind the name of an axis?
    fn is_glued(&self, start: usize, at: usize) -> bool {
        let is_key = || {
            class(self.byte(at - 1)) == LETTER
                && self.text.get(start..at).and_then(axis::of).is_some_and(|axis| !axis.is_weak())
        };
        at > start && self.is_fraction(at) && (at - start <= 2 || is_key())
    }

    /// Do the digits here have a point and a digit behind them?
    fn is_fraction(&self, start: usize) -> bool {
        let mut at = start;
        while self.byte(at).is_ascii_digit() && at - start < 12 {
            at += 1;
        }
        self.byte(at) == b'.' && self.byte(at + 1).is_ascii_digit() && at - start >= 2
    }

    /// Do degrees stand here, with minutes behind them?
    fn is_sexagesimal(&self, start: usize) -> bool {
        let digits = |from: usize, most: usize| {
            self.bytes.get(from..).unwrap_or_default().iter().take(most).take_while(|b| b.is_ascii_digit()).count()
        };
        let whole = digits(start, 4);
        let at = start + whole;
        let minutes = digits(at + 1, 3);
        let signed = matches!(self.separator(at), Some(Separator::Sign | Separator::Letter));
        let dashed = matches!(self.byte(at), b'-' | b':')
            && (1..=2).contains(&minutes)
            && self.byte(at + 1 + minutes) == self.byte(at);
        (1..=3).contains(&whole) && (signed || dashed)
    }

    /// A number from `start`; answers where to go on.
    fn number(&mut self, start: usize) -> usize {
        let (mut mantissa, mut whole, mut decimals, mut at) = (0_u64, 0_u8, 0_u8, start);
        while self.byte(at).is_ascii_digit() {
            // 00004851490.419 is as large as without its noughts.
            whole = if mantissa == 0 { 1 } else { whole.saturating_add(1) };
            mantissa = push_digit(mantissa, self.byte(at));
            at += 1;
        }
        let point = self.point(start, at);
        if point > 0 {
            at += point;
            while self.byte(at).is_ascii_digit() {
                // Digits beyond a double's precision carry no position.
                if whole + decimals < 17 {
                    mantissa = push_digit(mantissa, self.byte(at));
                    decimals += 1;
                }
                at += 1;
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "a measured value; sixteen digits are enough")]
        let mut value = mantissa as f64 / ten_to(decimals);
        let next = self.byte(at);
        if matches!(next, b'e' | b'E')
            && let Some((exponent, end)) = self.exponent(at + 1)
        {
            value *= 10_f64.powi(exponent);
            let shift = i32::from(decimals) - exponent;
            decimals = u8::try_from(shift.clamp(0, 17)).unwrap_or(0);
            whole = digits_of(value);
            at = end;
        }
        // 3.2km, 23d07m, 5m: a unit behind it. Any other letter makes it a code.
        let kilometres = self.byte(at) == b'k' && self.byte(at + 1) == b'm';
        let sexagesimal =
            whole <= 3 && decimals == 0 && matches!(self.byte(at), b'd' | b'D') && self.byte(at + 1).is_ascii_digit();
        let unit = kilometres || sexagesimal || self.byte(at) == b'_' || self.is_unit(at);
        if class(self.byte(at)) == LETTER && !unit {
            return self.code(start, at);
        }
        self.spaced(start, at);
        let number = Number { value, whole, decimals, at: start, windows: Windows::of(value, whole, decimals) };
        let end = self.take(number, at);
        self.key = None;
        end
    }

    /// How long the sign of a fraction is that stands here: a point, or what a reader of pictures makes of one.
    fn point(&self, start: usize, at: usize) -> usize {
        let signs: [&[u8]; 4] = [b".", "·".as_bytes(), "。".as_bytes(), b" . "];
        let digits = |at: usize| {
            self.bytes.get(at..).unwrap_or_default().iter().take_while(|b| b.is_ascii_digit()).take(5).count()
        };
        // Behind metres a reader of pictures makes such a sign of a point and no more digits than a survey has; with more
        // of them it stands between a northing and an easting.
        let fits = |behind: usize| behind >= 2 && (behind <= 4 || at - start <= 5);
        match self.byte(at) {
            b'.' => usize::from(self.byte(at + 1).is_ascii_digit()),
            b' ' | 0xC2 | 0xE3 => {
                let rest = self.bytes.get(at..).unwrap_or_default();
                let sign = signs.iter().find(|sign| rest.starts_with(sign)).map_or(0, |sign| sign.len());
                if sign > 0 && at - start >= 2 && fits(digits(at + sign)) { sign } else { 0 }
            }
            _ => 0,
        }
    }

    fn exponent(&self, start: usize) -> Option<(i32, usize)> {
        let mut at = start;
        let negative = self.byte(at) == b'-';
        if matches!(self.byte(at), b'+' | b'-') {
            at += 1;
        }
        let digits = at;
        let mut value = 0_i32;
        while self.byte(at).is_ascii_digit() && at - digits < 3 {
            value = value * 10 + i32::from(self.byte(at) - b'0');
            at += 1;
        }
        (at > digits && class(self.byte(at)) == OTHER).then_some((if negative { -value } else { value }, at))
    }

    /// A lone letter behind a number is a unit or a hemisphere.
    fn is_unit(&self, at: usize) -> bool {
        matches!(self.byte(at), b'm' | b'M' | b'N' | b'E' | b'S' | b'W' | b'L' | b'Y' | b'X' | b'C' | b'Z' | b'B')
            && (matches!(class(self.byte(at + 1)), OTHER | HIGH | LEAD)
                || (matches!(self.byte(at), b'L' | b'Y' | b'X' | b'C' | b'N' | b'E' | b'B')
                    && self.byte(at + 1).is_ascii_digit()
                    && self.is_fraction(at + 1)))
    }

    /// Letters inside digits: a code of some sort, perhaps a grid reference.
    fn code(&mut self, start: usize, mut at: usize) -> usize {
        while matches!(class(self.byte(at)), LETTER | DIGIT) {
            at += 1;
        }
        if words::is_grid_reference(self.bytes, start, at) {
            self.hit("grid-reference", RuleClass::Structural, start);
        }
        if self.byte(at) == b'+' && words::is_plus_code(self.bytes, start, at) {
            self.hit("plus-code", RuleClass::Structural, start);
        }
        self.key = None;
        at
    }

    fn spaced(&mut self, start: usize, end: usize) {
        let single = end == start + 1;
        if single && start == self.spaced_at + 1 && self.byte(self.spaced_at) == b' ' {
            self.spaced_run += 1;
            self.spaced_run_max = self.spaced_run_max.max(self.spaced_run);
        } else {
            self.spaced_run = u32::from(single);
        }
        self.spaced_at = end;
    }

    /// `J1,34512.417,51203.882;J2,`: the name of a corner, and two numbers to the millimetre behind it.
    fn corner(&mut self, number: &Number) {
        let label = self.key.filter(|key| number.at - key.1 <= KEY_GAP_MAX);
        let is_fine = number.decimals >= 3;
        match (label, self.corner.take()) {
            (Some(label), _) if is_fine && rooms::is_corner(self.text_of(label)) => self.corner = Some(*number),
            (None, Some(first)) if is_fine && self.key.is_none() => self.local(&first, number),
            _ => {}
        }
    }

    fn take(&mut self, number: Number, end: usize) -> usize {
        self.index += 1;
        self.corner(&number);
        if self.receiver(&number, end) {
            self.hit("receiver-sentence", RuleClass::Structural, number.at);
        }
        let end = self.degrees(&number, end);
        if number.whole <= 3
            && let Some(run) = self.sexagesimal.take(&number)
            && run.are_angles(self.text, &mut self.rooms)
        {
            self.hit("coherent-pairs", RuleClass::Heuristic, number.at);
        }
        // Most numbers fall into no window and have no key near: they only move the window on.
        let keyed = self.key.filter(|_| number.at - self.key_reach <= KEY_GAP_MAX).map(|key| self.name_of_value(key));
        if keyed.is_some() || self.listed.is_some() {
            self.under_keys(keyed, number);
        }
        self.beside_hemisphere(&number, end);
        if let Some((from, to)) = keyed
            && self.text.get(from..to).is_some_and(sheet::is_key)
            && self.is_sheet(number.at)
        {
            self.hit("sheet-number", RuleClass::Structural, number.at);
        }
        if !number.windows.is_empty() {
            self.pairs(&number);
            let run = if number.windows.is_zoned() { &mut self.axis_east } else { &mut self.axis_north };
            if run.take(&number) {
                self.hit("axis-column", RuleClass::Heuristic, number.at);
            }
            self.plain_east.take_east(&number);
            if self.axis_north.is_row() && self.plain_east.is_row() {
                self.hit("axis-column", RuleClass::Heuristic, number.at);
            }
        }
        let [a, b, _] = self.last;
        self.last = [number, a, b];
        end
    }

    /// `{"name":"XZB","type":"double","value":34512.417}`, `"x":{"v":34512.417}`: the key that a key of values belongs to.
    fn name_of_value(&self, key: (usize, usize)) -> (usize, usize) {
        if !axis::is_value_key(self.text_of(key)) {
            return key;
        }
        let mut from = key.0.saturating_sub(VALUE_NAME_MAX);
        while !self.text.is_char_boundary(from) {
            from += 1;
        }
        let before = self.text.get(from..key.0).unwrap_or("");
        // What ended before belongs to something else.
        let before = before.rsplit(['}', ';', '\n']).next().unwrap_or("");
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        let words = before.rsplit(|c: char| !is_part(c)).filter(|word| !word.is_empty());
        let named = words
            .take(6)
            .filter(|word| axis::of(word).is_some())
            .map(|word| {
                let start = word.as_ptr().addr() - self.text.as_ptr().addr();
                (start, start + word.len())
            })
            .find(|word| !self.has_own_value(word.1));
        named.unwrap_or(key)
    }

    /// `{"坐标":"有","name":"面积","value":512844.23}`: what has a value of its own, and no list or object for one, is not
    /// what a key of values behind it belongs to.
    fn has_own_value(&self, end: usize) -> bool {
        let rest = self.bytes.get(end..).unwrap_or_default();
        let is_blank = |b: &&u8| b.is_ascii_whitespace() || matches!(b, b'"' | b'\'' | b'\\');
        let mut rest = rest.iter().take(KEY_GAP_MAX).skip_while(is_blank);
        if !matches!(rest.next(), Some(b':' | b'=')) {
            return false;
        }
        rest.find(|b| !is_blank(b)).is_some_and(|b| b.is_ascii_alphanumeric() || *b >= 0x80)
    }

    /// A number under its key, or under the one of two keys whose turn it is.
    fn under_keys(&mut self, keyed: Option<(usize, usize)>, number: Number) {
        let axis_of = |key: (usize, usize)| self.text.get(key.0..key.1).and_then(axis::of);
        let this = |key: (usize, usize), axis: Axis| Keyed { axis, key, number, index: self.index };
        let (found, turn) = match (self.listed, keyed) {
            // 坐标（X，Y）：3389512.417，512844.231
            (Some(first), Some(second)) => match (axis_of(first), axis_of(second)) {
                (Some(one), Some(other))
                    if !self.is_line_between(second.1, number.at)
                        && axis::are_pair((one, self.text_of(first)), (other, self.text_of(second))) =>
                {
                    (Some(this(first, one)), Some(second))
                }
                (_, other) => (other.map(|axis| this(second, axis)), None),
            },
            (Some(second), None) => (axis_of(second).map(|axis| this(second, axis)), None),
            (None, Some(key)) => (axis_of(key).map(|axis| this(key, axis)), None),
            (None, None) => (None, None),
        };
        self.listed = turn;
        if let Some(found) = found {
            self.keyed(found);
        }
    }

    fn is_line_between(&self, from: usize, to: usize) -> bool {
        self.bytes.get(from..to).is_some_and(|between| between.contains(&b'\n'))
    }

    fn text_of(&self, key: (usize, usize)) -> &'a str {
        self.text.get(key.0..key.1).unwrap_or("")
    }

    /// `E114.1337，N30.6254`, `30.6254°N 114.1337°E`.
    fn beside_hemisphere(&mut self, number: &Number, end: usize) {
        if !number.windows.is_degrees() {
            return;
        }
        let before = self.key.filter(|key| number.at - key.1 <= 3).map_or("", |key| self.text_of(key));
        let letter = match before {
            "E" | "e" => Some(b'E'),
            "N" | "n" => Some(b'N'),
            _ => self.letter_after(end),
        };
        let axis = match letter {
            Some(b'E') if number.windows.is_longitude() => Axis::Longitude,
            Some(b'N') if number.windows.is_latitude() => Axis::Latitude,
            _ => return,
        };
        if self.hemisphere.is_some_and(|(other, index)| other.completes(axis) && self.index - index == 1) {
            self.hit("axis-pair", RuleClass::Structural, number.at);
        }
        self.hemisphere = Some((axis, self.index));
    }

    /// `51.50-46.25` behind the key of a map sheet.
    fn is_sheet(&self, start: usize) -> bool {
        let rest = self.text.get(start..).unwrap_or("");
        let end = rest.bytes().take(24).take_while(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-')).count();
        sheet::is_large_scale(rest.get(..end).unwrap_or(""))
    }

    /// `J50K01230456` behind the key of a map sheet.
    fn is_national_sheet(&self, start: usize, end: usize) -> bool {
        // Nearly every word of a text fails here.
        matches!(end - start, 10 | 12)
            && matches!(self.byte(start + 3), b'I'..=b'K')
            && self
                .key
                .is_some_and(|key| start.saturating_sub(key.1) <= KEY_GAP_MAX && sheet::is_key(self.text_of(key)))
            && self.text.get(start..end).is_some_and(sheet::is_large_scale)
    }

    /// `2513.7993,N,11020.1137,E`: degrees and minutes in one number, as receivers say it.
    fn receiver(&self, number: &Number, end: usize) -> bool {
        if end.saturating_sub(number.at) != 5 + usize::from(number.decimals) || number.decimals < 3 {
            return false;
        }
        let rest = self.bytes.get(end..).unwrap_or_default();
        let Some([b',', b'N', b',', rest @ ..]) = rest.get(..rest.len().min(24)) else { return false };
        let digits = |b: &[u8]| b.iter().take_while(|b| b.is_ascii_digit()).count();
        let whole = digits(rest);
        let [b'.', fraction @ ..] = rest.get(whole..).unwrap_or_default() else { return false };
        let decimals = digits(fraction);
        whole == 5 && decimals >= 3 && fraction.get(decimals..).is_some_and(|b| b.starts_with(b",E"))
    }

    /// Pairs the number with one of the two before it.
    fn pairs(&mut self, number: &Number) {
        for back in 0..2 {
            let Some(earlier) = self.last.get(back).copied() else { continue };
            if earlier.windows.is_empty() || number.at.saturating_sub(earlier.at) > 96 {
                continue;
            }
            let Some((kind, north, east)) = pairs::pair_of(&earlier, number) else { continue };
            let decimals = if kind == PairKind::Degrees {
                earlier.decimals.min(number.decimals).max(earlier.decimals.max(number.decimals).saturating_sub(2))
            } else {
                earlier.decimals.min(number.decimals)
            };
            if let Some(slot) = self.last.get_mut(back) {
                slot.windows = Windows::default();
            }
            if kind == PairKind::Degrees && is_whole(north + east, decimals) {
                return;
            }
            let trail = self.trails.iter_mut().zip(PairKind::ALL).find(|(_, k)| *k == kind);
            let survey = trail.is_some_and(|(trail, _)| trail.take(north, east, decimals));
            let alone = match kind {
                PairKind::Zoned => decimals >= 3,
                // Places are surveyed to a millimetre, which is nine digits; plots and charts are printed with fifteen.
                PairKind::Degrees => {
                    (6..=10).contains(&decimals)
                        && back == 0
                        && north >= 18.0
                        && !(self.is_share(&earlier) && self.is_share(number))
                }
                _ => false,
            };
            if survey {
                self.hit("coherent-pairs", RuleClass::Heuristic, earlier.at);
            } else if alone {
                self.lone_hit("precise-pair", RuleClass::Heuristic, earlier.at, kind == PairKind::Degrees);
            }
            return;
        }
    }

    /// `33.333333`, `16.666667`: a share in percent, as thirds and sixths are written.
    fn is_share(&self, number: &Number) -> bool {
        let written = self.bytes.get(number.at..).unwrap_or_default().iter().take(24).copied();
        let fraction: Vec<u8> = written.skip_while(u8::is_ascii_digit).skip(1).take_while(u8::is_ascii_digit).collect();
        let Some((last, rest)) = fraction.split_last() else { return false };
        let digit = rest.first().copied().unwrap_or_default();
        matches!(digit, b'3' | b'6') && rest.iter().all(|b| *b == digit) && matches!(last, b'3' | b'6' | b'7')
    }

    fn keyed(&mut self, this: Keyed) {
        self.tile(this);
        let Keyed { axis, number, .. } = this;
        let alone = match axis {
            Axis::Longitude | Axis::Latitude => {
                number.decimals >= 4 && number.windows.is_degrees() && !self.is_short(this)
            }
            Axis::SurveyX | Axis::SurveyY => number.windows.is_grid() && number.decimals >= 2,
            _ => false,
        };
        if alone {
            self.hit("axis-key", RuleClass::Structural, number.at);
        }
        let near = |earlier: &&Keyed| this.index - earlier.index <= KEYED_MAX as u64;
        let beside =
            |earlier: &&Keyed| axis::are_pair((earlier.axis, self.key_of(**earlier)), (axis, self.key_of(this)));
        let partner = self.keyed.iter().flatten().filter(near).find(beside).copied();
        if let Some(earlier) = partner {
            let short = self.is_short(earlier) || self.is_short(this);
            let excused = self.is_drawn(&earlier) || self.is_front(&earlier, &this);
            if plausible(axis, &earlier.number, &number, short) && !excused {
                let drawn = axis.is_weak() && number.windows.is_degrees();
                self.lone_hit("axis-pair", RuleClass::Structural, earlier.number.at, drawn);
            }
            if axis.is_weak() && this.index - earlier.index == 1 {
                self.local(&earlier.number, &number);
            }
        }
        self.keyed.rotate_right(1);
        if let Some(slot) = self.keyed.first_mut() {
            *slot = Some(this);
        }
    }

    /// `<a:off x="2466109" y="512844"/>`: whole numbers in attributes are how office programs place a box on a page.
    fn is_drawn(&self, earlier: &Keyed) -> bool {
        let is_attribute = self.bytes.get(earlier.key.1..).is_some_and(|rest| rest.starts_with(b"=\""));
        let number = &earlier.number;
        earlier.axis.is_weak() && is_attribute && number.decimals == 0 && !number.windows.is_zoned()
    }

    /// `东向：12800.50，南向：13100.00，北向：12100.00`: the ways a flat may face. Beside them 东向 and 北向 are axes only of what
    /// is as long or as fine as a survey. 南向为人民路 is no such way: it has no number like theirs.
    fn is_front(&self, earlier: &Keyed, this: &Keyed) -> bool {
        let numbers = [earlier.number, this.number];
        let are_fronts = axis::is_front(self.key_of(*earlier))
            && axis::is_front(self.key_of(*this))
            && numbers.iter().all(|n| n.decimals < 3 && !n.windows.is_grid());
        let is_like = |whole: usize, decimals: usize| {
            numbers.iter().any(|n| usize::from(n.whole).abs_diff(whole) <= 1 && usize::from(n.decimals) == decimals)
        };
        let from = earlier.key.0.saturating_sub(FRONTS_REACH);
        let to = this.number.at.saturating_add(FRONTS_REACH).min(self.bytes.len());
        let around = self.bytes.get(from..to).unwrap_or_default();
        let has_number = |front: &str| {
            memchr::memmem::find_iter(around, front.as_bytes()).any(|at| {
                let behind = self.text.get(from + at + front.len()..).unwrap_or("");
                let mut gap = behind.char_indices().take(KEY_GAP_MAX);
                let number = gap
                    .find(|(_, c)| c.is_alphanumeric() && !"为是约".contains(*c))
                    .and_then(|(gap, _)| behind.get(gap..));
                let (whole, decimals) = length_of(number.unwrap_or(""));
                whole > 0 && is_like(whole, decimals)
            })
        };
        are_fronts && axis::OTHER_FRONTS.iter().any(|front| has_number(front))
    }

    fn key_of(&self, keyed: Keyed) -> &'a str {
        self.text.get(keyed.key.0..keyed.key.1).unwrap_or("")
    }

    fn is_short(&self, keyed: Keyed) -> bool {
        keyed.axis.is_degrees() && axis::is_short(self.key_of(keyed))
    }

    /// `{"x": 34512.417, "y": 51203.882}` again and again: a grid of the city's own. On a drawing it is ink.
    fn local(&mut self, a: &Number, b: &Number) {
        let measured = |n: &Number| (4..=6).contains(&n.whole) && (2..=4).contains(&n.decimals);
        if measured(a) && measured(b) {
            self.local.take(a.value, b.value, 2);
        }
        if self.local.run() >= LOCAL_RUN {
            self.lone_hit("local-grid", RuleClass::Heuristic, a.at, true);
        }
    }

    /// `z`, `x`, `y` of a map tile over China.
    fn tile(&mut self, this: Keyed) {
        let number = this.number;
        if number.decimals > 0 {
            return;
        }
        match (this.axis, self.tile) {
            (Axis::TileZoom, _) if (10.0..=23.0).contains(&number.value) => {
                let mut zoom = 0;
                while f64::from(zoom) < number.value {
                    zoom += 1;
                }
                self.tile = Some((zoom, None));
            }
            (Axis::WeakX, Some((zoom, None))) => self.tile = Some((zoom, Some(this))),
            (Axis::WeakY, Some((zoom, Some(x)))) => {
                let side = 2_f64.powi(i32::try_from(zoom).unwrap_or(0));
                if (0.70..0.88).contains(&(x.number.value / side))
                    && (0.32..0.49).contains(&(number.value / side))
                    && axis::are_pair((x.axis, self.key_of(x)), (this.axis, self.key_of(this)))
                {
                    self.hit("map-tile", RuleClass::Structural, number.at);
                }
                self.tile = None;
            }
            _ => {}
        }
    }

    /// Degrees, minutes, seconds behind this number: 113°19′0.51″, 113度19.5分, 110:22:35.15, 23d07m55s, E 87 37 53.79.
    fn degrees(&mut self, number: &Number, end: usize) -> usize {
        if number.decimals > 0 || number.value > 136.0 || number.whole > 3 {
            return end;
        }
        let Some(separator) = self.separator(end) else { return end };
        let Some(mut dms) = self.dms(number.value, end, separator) else { return end };
        let hemisphere = self.hemisphere_before(number.at) || self.hemisphere_after(dms.end);
        if matches!(separator, Separator::Space | Separator::Dash) && !hemisphere {
            return end;
        }
        dms.named = hemisphere;
        if let Some(earlier) = self.last_dms {
            let crosses = (earlier.is_east() && dms.is_north()) || (earlier.is_north() && dms.is_east());
            let named = hemisphere && earlier.named;
            if crosses
                && number.at.saturating_sub(earlier.end) <= 48
                && (earlier.fine && dms.fine || hemisphere || named)
            {
                self.hit("degrees-minutes-seconds", RuleClass::Structural, number.at);
            }
        }
        if hemisphere && dms.fine && separator == Separator::Sign && (dms.is_east() || dms.is_north()) {
            self.hit("degrees-minutes-seconds", RuleClass::Structural, number.at);
        }
        self.last_dms = Some(dms);
        dms.end
    }

    /// `E`, 东经, or the key of a longitude or latitude.
    fn hemisphere_before(&self, number_at: usize) -> bool {
        self.key.is_some_and(|(from, to)| {
            let gap = number_at - to;
            gap <= KEY_GAP_MAX
                && self.text.get(from..to).is_some_and(|key| {
                    let near = gap <= 3 && matches!(key, "E" | "N" | "e" | "n");
                    near || axis::of(key).is_some_and(|axis| axis.is_degrees() && !axis::is_short(key))
                })
        })
    }

    /// `23 07 55.53 N`, `113°19'0.51"E`.
    fn hemisphere_after(&self, end: usize) -> bool {
        self.letter_after(end).is_some()
    }

    fn letter_after(&self, end: usize) -> Option<u8> {
        let rest = self.text.get(end..).unwrap_or("");
        let rest = rest.trim_start_matches(['″', '"', '”', '秒', '\'', '′', 's', ' ', '分', '°', '度']);
        let mut letters = rest.bytes();
        let letter = letters.next().filter(|b| matches!(b, b'N' | b'E'))?;
        (!letters.next().is_some_and(|b| b.is_ascii_alphanumeric())).then_some(letter)
    }

    fn separator(&self, at: usize) -> Option<Separator> {
        let rest = self.bytes.get(at..)?;
        match rest {
            [b':', ..] => Some(Separator::Colon),
            [b' ', ..] => Some(Separator::Space),
            [b'-', ..] => Some(Separator::Dash),
            [b'd' | b'D', digit, ..] if digit.is_ascii_digit() => Some(Separator::Letter),
            [0xC2, ..] if rest.starts_with("°".as_bytes()) || rest.starts_with("º".as_bytes()) => {
                Some(Separator::Sign)
            }
            [0xE5, ..] if rest.starts_with("度".as_bytes()) => Some(Separator::Sign),
            [b'&', ..] if rest.starts_with(b"&deg;") => Some(Separator::Sign),
            _ => None,
        }
    }

    fn dms(&self, degrees: f64, at: usize, separator: Separator) -> Option<Dms> {
        let signs: [&[&str]; 2] = match separator {
            Separator::Sign => [&["°", "º", "度", "&deg;"], &["′", "'", "’", "分", "&#39;"]],
            Separator::Colon => [&[":"], &[":"]],
            Separator::Space => [&[" "], &[" "]],
            Separator::Dash => [&["-"], &["-"]],
            Separator::Letter => [&["d", "D"], &["m", "M"]],
        };
        let spaced = separator == Separator::Sign;
        let mut at = at;
        let mut decimals = 0;
        for (n, sign) in signs.iter().enumerate() {
            let rest = self.text.get(at..)?;
            let after = sign.iter().find_map(|s| rest.strip_prefix(s));
            // Minutes with a fraction have no seconds: 19.0085′
            let Some(after) = after.filter(|_| n == 0 || decimals == 0) else {
                return (n == 1 && decimals >= 2 && spaced).then_some(Dms {
                    degrees,
                    end: at,
                    fine: true,
                    named: false,
                });
            };
            let after = if spaced { after.trim_start_matches(' ') } else { after };
            let length: usize = after.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').take(12).count();
            let digits = after.get(..length)?;
            let value: f64 = match (n, digits) {
                // 38°55′ ends here.
                (1, "") => return None,
                _ => digits.parse().ok()?,
            };
            if value >= 60.0 {
                return None;
            }
            decimals = digits.split_once('.').map_or(0, |(_, d)| d.len());
            at = self.bytes.len() - after.len() + length;
            if n == 0 && decimals >= 2 && spaced {
                return Some(Dms { degrees, end: at, fine: true, named: false });
            }
        }
        let fine = decimals >= 1 || matches!(separator, Separator::Sign | Separator::Letter);
        Some(Dms { degrees, end: at, fine, named: false })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Separator {
    Sign,
    Colon,
    Space,
    Dash,
    Letter,
}

/// Can these two values stand under their keys as a position?
/// Short keys mean other things too: there, both must be degrees of China as a survey writes them.
fn plausible(axis: Axis, a: &Number, b: &Number, short: bool) -> bool {
    let grid = || pairs::pair_of(a, b).is_some_and(|(kind, ..)| matches!(kind, PairKind::Zoned | PairKind::Plain));
    let packed = || a.windows.is_packed() && b.windows.is_packed() && pairs::pair_of(a, b).is_some();
    // 0.000 is how a field is written that nobody filled.
    if a.value <= 0.0 || b.value <= 0.0 {
        return false;
    }
    match axis {
        Axis::Longitude | Axis::Latitude => {
            let degrees = |n: &Number| n.value <= 180.0 && n.decimals >= 1 && (!short || n.windows.is_degrees());
            let scaled = |unit: f64| {
                let (low, high) = if a.value < b.value { (a.value, b.value) } else { (b.value, a.value) };
                a.decimals + b.decimals == 0
                    && (3.8..54.0).contains(&(low / unit))
                    && (73.0..136.0).contains(&(high / unit))
            };
            if scaled(1e6) || scaled(1e7) {
                return true;
            }
            (degrees(a) && degrees(b) && a.decimals + b.decimals >= 3) || grid() || packed()
        }
        Axis::SurveyX | Axis::SurveyY => {
            let measured = |n: &Number| n.whole >= 5 || n.decimals >= 3 || (n.whole >= 3 && n.decimals >= 1);
            measured(a) && measured(b)
        }
        Axis::WeakX | Axis::WeakY => {
            let fine = a.decimals >= 1 && b.decimals >= 1;
            let mercator = || a.windows.is_grid() && b.windows.is_grid() && a.whole.max(b.whole) >= 8;
            // To the metre: 3389512, 512844. What is rounded to hundreds is an amount.
            let metre = |n: &Number| n.decimals == 0 && n.value % 100.0 > 0.0;
            let exact = |n: &Number| (5..=10).contains(&n.decimals);
            let degrees = || exact(a) && exact(b) && pairs::pair_of(a, b).is_some();
            (grid() && (fine || (metre(a) && metre(b)) || a.windows.is_zoned() || b.windows.is_zoned()))
                || (fine && mercator())
                || degrees()
        }
        Axis::Geohash | Axis::TileZoom => false,
    }
}

/// Two shares of a hundred. Where a longitude and a latitude of China make a hundred there is none of China: its west at
/// 73 to 82 degrees lies north of 27.
fn is_whole(sum: f64, decimals: u8) -> bool {
    (sum - 100.0).abs() * ten_to(decimals) < 1.5
}

/// Powers of ten as doubles hold them exactly, as many as digits behind a point are read.
const TENS: [f64; 18] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17];

fn ten_to(decimals: u8) -> f64 {
    TENS.get(usize::from(decimals)).copied().unwrap_or_else(|| 10_f64.powi(i32::from(decimals)))
}

fn push_digit(mantissa: u64, digit: u8) -> u64 {
    // Beyond nineteen digits it is a serial number, and its value no longer matters.
    mantissa.saturating_mul(10).saturating_add(u64::from(digit.wrapping_sub(b'0')))
}

/// Digits before and behind the point of the number that a text begins with.
fn length_of(text: &str) -> (usize, usize) {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let whole = digits(text);
    let fraction = text.get(whole..).and_then(|rest| rest.strip_prefix('.'));
    (whole, fraction.map_or(0, digits))
}

fn digits_of(value: f64) -> u8 {
    let mut digits = 1;
    let mut limit = 10.0;
    while value >= limit && digits < 20 {
        limit *= 10.0;
        digits += 1;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Vec<&'static str> {
        scan(text).hits.into_iter().map(|h| h.rule).collect()
    }

    #[test]
    fn keys_and_values_are_found_in_every_spelling() {
        for text in [
            r#"{"lon": 113.347776, "lat": 23.139564}"#,
            r#"<P XZB="4851490.4193" YZB="29546865.2760"/>"#,
            "<XZBZ>5065296.702</XZBZ><YZBZ>42552501.864</YZBZ>",
            "北坐标3286969.02东坐标30606035.29",
            "{x: 5071467.377, y: 42548605.450}",
            "dh,jd,wd\n0,1040733.78,303843.62\n1,1040733.49,303843.05\n2,1040735.47,303841.89\n3,1040735.68,303842.02",
            r#""mx": 12277426.55, "my": 2875421.22"#,
            r#"{"z": 18, "x": 213678, "y": 113772}"#,
            r#"{"x": 5071467.377, "index": 3, "max": 7, "y": 42548605.450}"#,
            r#"<P XZB="3451.41" YZB="5120.88"/>"#,
            "<纵坐标>3451.24</纵坐标><横坐标>5120.88</横坐标>",
            r#"{"jd":113.347776,"wd":23.139564}"#,
            r#"{"coordinates": "113.34,23.13"}"#,
            r#"{"坐标":"","name":"XZB","type":"double","value":512844.23}"#,
            r#"{"坐标系":"2000","field":"XZB","value":512844.23}"#,
            r#"{"XZB":{"value":512844.23}}"#,
            "<XZB><value>512844.23</value></XZB>",
            "南向 东向：512844.23，北向：3389512.41",
            "南向 东向：12844.231，北向：89512.417",
            "<KTT_ZDJBXX ZDSZN=\"南向为人民路\" BZ=\"J1东向：51203.88，北向：34512.42；J2东向：51233.00，北向：34498.12\"/>",
            "业务号,备注\n1,南向临街；J1东向51203.88北向34512.42\n",
            "东向：1234.56，北向：2345.67",
            r#"{"TFH":"J50K01230456"}"#,
            "<KTT_ZDJBXX TFH=\"J50I123456\"/>",
            "图幅号：J50J01230456",
            "113.347776,23.139564",
        ] {
            assert!(!rules(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn degrees_minutes_seconds_are_found() {
        for text in [
            "东经113度19分0.51秒，北纬23度7分55.53秒",
            "E 87 37 53.79  N 43 47 59.08",
            "110:22:35.15,20:00:11.16",
            "113°19′0.51″ 23°7′55.53″",
        ] {
            assert!(!rules(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn tables_without_keys_are_found_by_coherence() {
        for text in [
            "1,J1,3287121,30606857,50.92\n2,J2,3287144,30606837,46.74\n3,J3,3287163,30606705,16.70\n4,J4,3287023,30606643,45.64\n5,J5,3286979,30606667,8.49",
            "0,3541077,104,40388684,009\n1,3541056,295,40388641,844\n2,3541011,831,40388616,073\n3,3540959,981,40388621,111\n4,3540909,010,40388704,552",
            "0,4.526314695E+06,3.755550131E+07\n1,4.526318869E+06,3.755549956E+07\n2,4.526321688E+06,3.755546035E+07\n3,4.526315466E+06,3.755545705E+07\n",
            "3392315.526\n35408350.349\n3392314.471\n35408325.382\n",
        ] {
            assert!(!rules(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn ordinary_numbers_are_left_alone() {
        for text in [
            "230102027014GB25194F68847075 13175856482 650102196508197964",
            "2405,2272092.39,341072.19\n3211,2680912.62,534297.60\n2123,3575022.86,589466.69\n2825,2461165.28,441277.38",
            "913,79.6481,44.4776\n3140,125.6348,42.0527\n1586,110.9909,43.0267\n952,97.8237,31.7444",
            "室温 25°C 设定 21°，坡度 38°55′",
            "申请人住址：东经路113号北纬路31号；坐标系统：2000国家大地坐标系",
            "<X>7</X><Y>98.48</Y><Amount>2866334.60</Amount><Tax>418535.29</Tax>",
            "2024-07-04 12:30:45 3.4383% 5341109.36",
            r#"{"ywh":"2024-1","tax":418535.29,"money":2866334.61}"#,
            r#"{"max": 650000.50, "money": 3200000.00}"#,
            r#"[{"tax":1200.55,"salary":15000.25},{"tax":1213.72,"salary":15211.56},{"tax":1226.89,"salary":15422.87}]"#,
            r#"{"DJ":93.125,"BW":12.5}"#,
            r#"{"jd":100.0,"wd":36.65,"note":"进度、温度"}"#,
            r#"{"zoom":12,"max":3344,"money":1700}"#,
            "份额 33.333333 83.333333 66.666667 16.666667",
            r#"{"rings": 3, "arcs": 5, "coordinates": 3}"#,
            "1,21.345678,78.654322\n2,22.100456,77.899544\n3,23.500001,76.499999",
            r#"{"坐标":"有","name":"面积","value":512844.23}"#,
            r#"{"坐标":"有","name":"面积","value":"512844.23"}"#,
            "均价 东向：12800.50，南向：13100.00，西向：12500.00，北向：12100.00",
            "TFH=\"J50G001002\" 图幅号：H50G005010 编号 J50K01230456",
        ] {
            assert_eq!(rules(text), Vec::<&str>::new(), "{text}");
        }
        // Wherever what is looked at around them ends within a character.
        for nth in ["", "1", "12"] {
            let text = format!("均价{nth}：东向12800.50，南向为13100.00，北向12100.00。{}", "以合同为准".repeat(30));
            assert_eq!(rules(&text), Vec::<&str>::new(), "{text}");
        }
    }

    #[test]
    fn names_of_corners_before_two_numbers_to_the_millimetre_make_a_local_grid() {
        let points =
            [(34_512.417, 51_203.882), (34_498.123, 51_233.004), (34_477.871, 51_228.69), (34_470.001, 51_201.33)];
        let written = |of: &dyn Fn(usize, f64, f64) -> String, between: &str| {
            let rows: Vec<String> = points.iter().enumerate().map(|(n, (x, y))| of(n + 1, *x, *y)).collect();
            rows.join(between)
        };
        for (text, found) in [
            (format!("界址点坐标：{}", written(&|n, x, y| format!("J{n},{x:.3},{y:.3}"), ";")), true),
            (format!("<a BZ=\"{}\"/>", written(&|n, x, y| format!("J{n}({x:.3},{y:.3})"), "、")), true),
            (format!("<a BZ=\"{}\"/>", written(&|n, x, y| format!("界址点J{n}：{x:.3}，{y:.3}"), "&#10;")), true),
            // 幢号与面积
            (written(&|n, x, y| format!("J{n}幢 {x:.2} {y:.2}"), "\n"), false),
            (written(&|n, x, y| format!("J{n} 建筑面积 {x:.2}，套内面积 {y:.2}"), "；"), false),
        ] {
            assert_eq!(scan(&text).hits.iter().any(|hit| hit.rule == "local-grid"), found, "{text}");
        }
    }
}
