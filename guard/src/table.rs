//! Tables: a row or a column of keys that name two axes, and the numbers under or beside them.
//!
//! City-local grids have four to six digits and fall into no range: here the header is the evidence, and that the
//! points lie near each other. Lists over the whole country lie nowhere near: there the header alone must do.

use std::collections::HashSet;

use crate::axis::{self, Axis};
use crate::finding::RuleClass;
use crate::measures::Measures;
use crate::pairs::Windows;
use crate::sheet;
use crate::sql;
use crate::written::Written;
use crate::xml::PICTURE_FIELDS;

/// Cells that are read below the headers of one text. The largest sheet has a million rows; a text that asks for more
/// was made to.
const CELLS_MAX: usize = 20_000_000;
/// The word for a text that asks for more: nobody can look at it in full.
pub(crate) const SPENT: &str = "too-many-headers";
/// A row of keys is not longer than this.
const HEADER_BYTES_MAX: usize = 4_096;
/// Columns of one table.
const COLUMNS_MAX: usize = 256;
/// Pairs of columns of one table that may be positions; corners side by side make a few dozen.
const PAIRS_MAX: usize = 300;
/// Rows that are judged together: the first corners may stand below a page of nothing.
const ROWS_MAX: usize = 48;
/// Lines that are no rows, before a table and within it: units, dashes, the foot of a page.
const GAP_MAX: usize = 48;
/// Points of one job lie within this many metres.
const NEAR: f64 = 20_000.0;
/// Points that make a local grid: two may be a coincidence.
const LOCAL_POINTS_MIN: usize = 3;

/// What a table was found to hold.
pub(crate) struct TableHit {
    pub rule: &'static str,
    pub class: RuleClass,
    pub at: usize,
}

/// How a line is divided into cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Divider {
    One(char),
    /// One that divides nothing inside quotes.
    Quoted(char),
    Blanks,
}

impl Divider {
    const ALL: [Divider; 9] = [
        Divider::One('\t'),
        Divider::One(','),
        Divider::One(';'),
        Divider::One('|'),
        Divider::One('，'),
        Divider::One('、'),
        Divider::Blanks,
        Divider::Quoted(','),
        Divider::Quoted(';'),
    ];

    /// The one that a header is divided by.
    pub(crate) fn of_header(header: &str) -> Divider {
        let told = ['\t', ',', ';', '|'].into_iter().find(|divider| header.contains(*divider));
        told.map_or(Divider::Blanks, Divider::Quoted)
    }

    /// Does it stand in the line at all?
    fn may_divide(self, line: &str) -> bool {
        match self {
            Divider::One(divider) | Divider::Quoted(divider) => line.contains(divider),
            Divider::Blanks => true,
        }
    }

    pub(crate) fn cells(self, line: &str) -> Vec<&str> {
        let mut cells = Vec::new();
        self.any(line, |cell| {
            cells.push(cell);
            false
        });
        cells
    }

    /// Is it true of any cell?
    fn any<'l>(self, line: &'l str, is: impl FnMut(&'l str) -> bool) -> bool {
        match self {
            Divider::One(divider) => line.split(divider).map(clean).take(COLUMNS_MAX).any(is),
            Divider::Quoted(divider) => quoted_cells(line, divider).map(clean).take(COLUMNS_MAX).any(is),
            Divider::Blanks => line.split_whitespace().map(clean).take(COLUMNS_MAX).any(is),
        }
    }
}

/// A cell without its quotes, and the blanks around them.
fn clean(cell: &str) -> &str {
    // Most begin and end with a letter or digit, and need no table of all white space to say so.
    match cell.as_bytes() {
        [first, .., last] if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() => cell,
        _ => cell.trim_matches(|c: char| c.is_whitespace() || c == '"'),
    }
}

/// Cells as they are written, quotes and all; a divider inside quotes divides nothing.
pub(crate) fn quoted_cells(row: &str, divider: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    row.split(move |c: char| {
        quoted ^= c == '"';
        c == divider && !quoted
    })
}

/// Lines above the header at most: what an export is called, and when it was made.
const TITLES_MAX: usize = 2;
/// Characters and digits of such a line at most: a date and a time of day have fourteen.
const TITLE_CHARS_MAX: usize = 64;
const TITLE_DIGITS_MAX: usize = 14;

/// Has a table these columns and no other, each once and in any order, and no row more cells than its header? A unit
/// may stand in brackets behind a name, a title above the header, and an empty column at the end. What stands below the
/// names is held to be what they say: measures.rs.
///
/// # Errors
/// The first column, or the first row by its number, that is not listed.
pub(crate) fn columns_of(text: &str, listed: &[String]) -> Result<(), String> {
    if listed.is_empty() {
        return Ok(());
    }
    let text = text.trim_start_matches('\u{feff}');
    if text.bytes().filter(|b| *b == b'"').count() % 2 == 1 {
        return Err("\"".to_owned());
    }
    // Line ends inside quotes end no row.
    let mut quoted = false;
    let rows = text.split(|c: char| {
        quoted ^= c == '"';
        c == '\n' && !quoted
    });
    let mut rows = rows.filter(|row| !row.trim().is_empty()).enumerate().peekable();
    // What Excel writes to say how it divides.
    let told = rows.peek().and_then(|(_, row)| row.trim().strip_prefix("sep=")).and_then(single);
    if told.is_some() {
        rows.next();
    }
    let mut titles = 0;
    let mut first_fault = None;
    let mut header = None;
    for (nth, row) in rows.by_ref() {
        let divider = told.unwrap_or_else(|| divider_of(row));
        match header_of(nth, row, divider, listed) {
            Ok(columns) => {
                header = Some((divider, columns));
                break;
            }
            Err(fault) if titles < TITLES_MAX && is_title(row, divider) => {
                titles += 1;
                first_fault.get_or_insert(fault);
            }
            Err(fault) => return Err(first_fault.filter(|_| is_title(row, divider)).unwrap_or(fault)),
        }
    }
    let Some((divider, names)) = header else { return first_fault.map_or(Ok(()), Err) };
    let mut measures = Measures::of(&names);
    for (nth, row) in rows {
        let mut rest = quoted_cells(row, divider);
        let cells: Vec<&str> = rest.by_ref().take(names.len()).collect();
        if cells.iter().any(|cell| hides_cells(cell, divider)) || rest.any(|cell| !cell.trim().is_empty()) {
            return Err(format!("row {}", nth + 1));
        }
        if let Some(fault) = measures.fault(nth + 1, &cells) {
            return Err(fault);
        }
    }
    measures.fault_of_all().map_or(Ok(()), Err)
}

/// The only character of a word.
fn single(word: &str) -> Option<char> {
    let mut chars = word.chars();
    chars.next().filter(|_| chars.next().is_none())
}

fn divider_of(header: &str) -> char {
    [',', '\t', ';', '|'].into_iter().find(|divider| header.contains(*divider)).unwrap_or(',')
}

fn bare(cell: &str) -> &str {
    cell.trim().trim_matches('"').trim()
}

/// The columns of a header, as they are listed, where all of them are and none stands twice. A comma at the end of every line
/// is a column without a name, and nothing may stand below it.
fn header_of<'a>(nth: usize, row: &'a str, divider: char, listed: &[String]) -> Result<Vec<&'a str>, String> {
    let cells: Vec<&str> = quoted_cells(row, divider).map(bare).collect();
    let columns = cells.iter().rposition(|cell| !cell.is_empty()).map_or(0, |last| last + 1);
    let mut known = HashSet::new();
    let mut names = Vec::new();
    for cell in cells.into_iter().take(columns) {
        let is_listed = |name: &str| listed.iter().any(|word| word == name);
        let name = if is_listed(cell) { cell } else { without_unit(cell) };
        if name.is_empty() {
            return Err(format!("row {}", nth + 1));
        }
        if !is_listed(name) {
            return Err(cell.to_owned());
        }
        if !known.insert(name) {
            return Err(format!("{name}, {name}"));
        }
        names.push(name);
    }
    Ok(names)
}

/// A column's name without the unit in brackets behind it.
pub(crate) fn without_unit(cell: &str) -> &str {
    const UNITS: [&str; 20] = [
        "㎡",
        "m²",
        "m2",
        "M2",
        "平方米",
        "平米",
        "亩",
        "公顷",
        "元",
        "万元",
        "元/㎡",
        "元/平方米",
        "层",
        "套",
        "件",
        "年",
        "米",
        "m",
        "%",
        "人民币元",
    ];
    let inside = cell.strip_suffix(['）', ')']).and_then(|open| open.rsplit_once(['（', '(']));
    match inside {
        Some((name, unit)) if UNITS.contains(&unit.trim()) => name.trim_end(),
        _ => cell,
    }
}

/// Is it what stands above a table: some words in one cell, and no value?
fn is_title(row: &str, divider: char) -> bool {
    let mut cells = quoted_cells(row, divider).map(bare).filter(|cell| !cell.is_empty());
    let Some(title) = cells.next() else { return false };
    let digits = title.chars().filter(|c| c.is_numeric()).count();
    cells.next().is_none()
        && title.chars().count() <= TITLE_CHARS_MAX
        && digits <= TITLE_DIGITS_MAX
        && !title.split(|c: char| !c.is_numeric() && c != '.').any(is_fraction)
}

/// Digits, a point and digits.
fn is_fraction(word: &str) -> bool {
    word.trim().split_once('.').is_some_and(|(whole, part)| {
        let is_number = |digits: &str| !digits.is_empty() && digits.chars().all(char::is_numeric);
        is_number(whole.trim_start_matches(['-', '+'])) && is_number(part)
    })
}

/// Does one cell hold a row of its own? Whoever reads it by another divider sees columns that no header names.
fn hides_cells(cell: &str, divider: char) -> bool {
    let is_quoted = cell.trim().starts_with('"');
    let holds = |other: char| {
        let pieces = || bare(cell).split(other).filter(|piece| !piece.trim().is_empty());
        let most =
            if other == '\t' && !is_quoted { pieces().count() } else { pieces().filter(|p| is_fraction(p)).count() };
        most > 1
    };
    // Its own divider may stand in it where it is quoted: between two measures as long as points are it hides a row too.
    let is_point = |piece: &str| is_fraction(piece) && piece.trim().find('.').is_some_and(|whole| whole > 3);
    let points = || bare(cell).split(divider).filter(|piece| is_point(piece)).count() > 1;
    (is_quoted && points())
        || ['\t', ';', '|', ',', '；', '，']
            .into_iter()
            .any(|other| other != divider && cell.contains(other) && holds(other))
}

/// What was proven of one table.
type Proof = (&'static str, RuleClass);

/// Looks at every row that may be a header. The first hit of each class is kept: two people may except what is
/// heuristic, and a structural table below it must not go with it.
pub(crate) fn look(text: &str) -> Vec<TableHit> {
    let mut hits = look_at_rows(text);
    let is_key = |cell: &&str| is_axis(cell) || sheet::is_key(cell) || is_picture_key(cell);
    let Some(tables) = sql::tables(text, |header| header.iter().any(is_key)) else {
        hits.push(TableHit { rule: SPENT, class: RuleClass::Structural, at: 0 });
        return hits;
    };
    for table in tables {
        for hit in look_at_rows(&table.text) {
            if !hits.iter().any(|known| known.class == hit.class) {
                hits.push(TableHit { at: table.at, ..hit });
            }
        }
    }
    hits
}

fn look_at_rows(text: &str) -> Vec<TableHit> {
    let mut hits: Vec<TableHit> = Vec::new();
    let mut cells_left = CELLS_MAX;
    let has_quotes = memchr::memchr(b'"', text.as_bytes()).is_some();
    let mut at = 0;
    let mut before: Option<&str> = None;
    let mut instrument = Instrument::default();
    while at < text.len() {
        let start = at;
        at = memchr::memchr(b'\n', text.as_bytes().get(at..).unwrap_or_default())
            .map_or(text.len(), |end| start + end + 1);
        let line = text.get(start..at).unwrap_or("");
        if instrument.takes(line) && !hits.iter().any(|hit| hit.class == RuleClass::Heuristic) {
            hits.push(TableHit { rule: "local-grid", class: RuleClass::Heuristic, at: start });
        }
        if may_be_keys(line) {
            let fits = |divider: &Divider| has_quotes || !matches!(divider, Divider::Quoted(_));
            for divider in Divider::ALL.into_iter().filter(fits).filter(|divider| divider.may_divide(line)) {
                if !divider.any(line, |cell| is_axis(cell) || sheet::is_key(cell) || is_picture_key(cell)) {
                    continue;
                }
                let cells = divider.cells(line);
                if cells.len() < 2 {
                    continue;
                }
                let below = text.get(at..).unwrap_or("");
                let found = [under(&cells, divider, below, &mut cells_left), beside(before, &cells, divider)];
                for (rule, class) in found.into_iter().flatten() {
                    if !hits.iter().any(|hit| hit.class == class) {
                        hits.push(TableHit { rule, class, at: start });
                    }
                }
                if hits.iter().any(|hit| hit.class == RuleClass::Structural) {
                    return hits;
                }
            }
        }
        // Paragraphs leave empty lines between the rows.
        before = if line.trim().is_empty() { before } else { Some(line) };
    }
    hits
}

/// Words rather than numbers, or a first word that names an axis.
fn may_be_keys(line: &str) -> bool {
    let bytes = line.as_bytes();
    if bytes.len() < 3 || bytes.len() > HEADER_BYTES_MAX {
        return false;
    }
    // Nearly every line of prose fails here or at the digits.
    let first = bytes.iter().copied().find(|b| !matches!(b, b' ' | b'\t' | b'"' | b'|' | b','));
    if first.is_some_and(|b| matches!(b, b'x' | b'X' | b'y' | b'Y') || b >= 0x80) && is_axis(first_word(line)) {
        return true;
    }
    let digits = bytes.iter().filter(|b| b.is_ascii_digit()).count();
    (digits * 5 <= bytes.len() || (bytes.len() <= NUMBERED_HEADER_MAX && own_digits(bytes) * 5 <= bytes.len()))
        && bytes.iter().any(|b| matches!(b, b',' | b'\t' | b';' | b'|' | b' ' | 0xE3 | 0xEF))
        && mentions_axis(bytes)
}

/// A header of keys with numbers in them is not longer than this: `id,X_2000,Y_2000`.
const NUMBERED_HEADER_MAX: usize = 160;

/// Digits that stand behind no letter.
fn own_digits(bytes: &[u8]) -> usize {
    let mut named = false;
    let is_own = |b: &&u8| {
        named = b.is_ascii_alphabetic() || **b == b'_' || (named && b.is_ascii_digit());
        !named && b.is_ascii_digit()
    };
    bytes.iter().filter(is_own).count()
}

/// One pass for the letters without which no key is written; the few keys that are longer are looked for where it
/// found their letters.
fn mentions_axis(bytes: &[u8]) -> bool {
    let seen = Letters::of(bytes);
    let has = |word: &str| memchr::memmem::find(bytes, word.as_bytes()).is_some();
    let any = |words: &[&str]| words.iter().any(|word| has(word));
    (seen.has(Letters::X) && seen.has(Letters::Y))
        || (seen.has(Letters::EAST) && seen.has(Letters::NORTH))
        || (seen.has(Letters::LONGITUDE) && any(&["经", "經"]) && any(&["纬", "緯"]))
        || (seen.has(Letters::LONGITUDE) && any(&["纵标", "縱標"]) && any(&["横标", "橫標"]))
        || (seen.has(Letters::GEO) && any(&["ZZB", "zzb"]) && any(&["HZB", "hzb"]))
        || (seen.has(Letters::EASTWARD) && has("东向") && has("北向"))
        || (seen.has(Letters::NAMED) && any(&["坐标", "坐標", "坐 标", "图幅号"]))
        || (seen.has(Letters::N) && has_lone(bytes, b'N') && has_lone(bytes, b'E'))
        || (seen.has(Letters::T) && (has("TFH") || any(&PICTURE_FIELDS)))
        || (seen.has(Letters::ST) && has("ast") && has("orth"))
        || (seen.has(Letters::GEO) && any(&["eohash", "eoHash", "EOHASH"]))
}

/// Which letters and pairs of letters stand in a row, as bits. Of the characters, the first two of three bytes.
#[derive(Clone, Copy)]
struct Letters(u16);

impl Letters {
    const X: u16 = 1;
    const Y: u16 = 1 << 1;
    const N: u16 = 1 << 2;
    /// The ends of a name of a picture or of a map sheet.
    const T: u16 = 1 << 3 | 1 << 4;
    const ST: u16 = 1 << 5;
    /// Two letters of a longitude: lo, ln, jd, dj.
    const EAST: u16 = 1 << 6 | 1 << 7 | 1 << 8;
    /// Two letters of a latitude: la, wd, bw.
    const NORTH: u16 = 1 << 9 | 1 << 10 | 1 << 11;
    /// 经, 經; 纵, 縱.
    const LONGITUDE: u16 = 1 << 12;
    /// 东 of 东向.
    const EASTWARD: u16 = 1 << 13;
    /// 坐 of 坐标, 图 of 图幅号.
    const NAMED: u16 = 1 << 14;

    /// Two letters of a geohash; of ZZB and HZB.
    const GEO: u16 = 1 << 15;

    /// Pairs: the first bytes, the second bytes, the bit of the pair.
    const PAIRS: [(&[u8], &[u8], u16); 14] = [
        (b"DCH", b"T", 1 << 3),
        (b"T", b"F", 1 << 4),
        (b"sS", b"tT", 1 << 5),
        (b"lL", b"oOnN", 1 << 6),
        (b"jJ", b"dD", 1 << 7),
        (b"dD", b"jJ", 1 << 8),
        (b"lL", b"aA", 1 << 9),
        (b"wW", b"dD", 1 << 10),
        (b"bB", b"wW", 1 << 11),
        (b"\xE7", b"\xBB\xB6\xBA\xB8", 1 << 12),
        (b"\xE4", b"\xB8", 1 << 13),
        (b"\xE5", b"\x9D\x9B", 1 << 14),
        (b"eE", b"oO", 1 << 15),
        (b"zZ", b"bB", 1 << 15),
    ];
    const ALONE: [u16; 256] = mark(mark(mark([0; 256], b"xX", Letters::X), b"yY", Letters::Y), b"N", Letters::N);
    const FIRST: [u16; 256] = {
        let mut table = [0; 256];
        let mut rest: &[_] = &Letters::PAIRS;
        while let [(first, _, bit), more @ ..] = rest {
            table = mark(table, first, *bit);
            rest = more;
        }
        table
    };
    const SECOND: [u16; 256] = {
        let mut table = [0; 256];
        let mut rest: &[_] = &Letters::PAIRS;
        while let [(_, second, bit), more @ ..] = rest {
            table = mark(table, second, *bit);
            rest = more;
        }
        table
    };

    fn of(bytes: &[u8]) -> Letters {
        let bits = |table: &[u16; 256], byte: u8| table.get(usize::from(byte)).copied().unwrap_or_default();
        let (mut seen, mut first) = (0, 0);
        for byte in bytes {
            seen |= bits(&Letters::ALONE, *byte) | first & bits(&Letters::SECOND, *byte);
            first = bits(&Letters::FIRST, *byte);
        }
        Letters(seen)
    }

    fn has(self, letters: u16) -> bool {
        self.0 & letters != 0
    }
}

const fn mark(mut table: [u16; 256], bytes: &[u8], bit: u16) -> [u16; 256] {
    let mut rest = bytes;
    while let [byte, more @ ..] = rest {
        table[*byte as usize] |= bit;
        rest = more;
    }
    table
}

/// A letter that is a cell of its own.
fn has_lone(bytes: &[u8], letter: u8) -> bool {
    memchr::memchr_iter(letter, bytes).any(|at| {
        let beside = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_alphanumeric);
        !beside(at.checked_sub(1)) && !beside(Some(at + 1))
    })
}

fn first_word(line: &str) -> &str {
    let line = line.trim_start_matches([' ', '\t', '"', '|', ',']);
    let end = line.find([' ', '\t', ',', ';', '|', '，', '"', '\n', '\r']).unwrap_or(line.len());
    line.get(..end).unwrap_or("")
}

fn is_axis(cell: &str) -> bool {
    named_axis(cell).is_some()
}

/// The axis of a cell: `X(m)`, `纵坐标（米）`, `"lon"`.
pub(crate) fn axis_of(cell: &str) -> Option<Axis> {
    let key = key_of(cell);
    (!key.is_empty() && key.len() <= 40).then(|| axis::of(key)).flatten()
}

/// The word of a header, without its unit.
pub(crate) fn key_of(cell: &str) -> &str {
    let ends = |(at, byte): (usize, &u8)| match byte {
        b'(' | b'[' | b'/' => true,
        0xEF => cell.get(at..).is_some_and(|rest| rest.starts_with('（')),
        _ => false,
    };
    let end = cell.as_bytes().iter().enumerate().position(ends).unwrap_or(cell.len());
    clean(cell.get(..end).unwrap_or(""))
}

/// The axis of a header and the key that names it. In a table `纵(X)` and `N` are keys too.
fn named_axis(cell: &str) -> Option<(Axis, &str)> {
    if let Some(axis) = axis_of(cell) {
        return Some((axis, key_of(cell)));
    }
    match key_of(cell) {
        key @ "N" => Some((Axis::WeakX, key)),
        key @ "E" => Some((Axis::WeakY, key)),
        _ => {
            let inner = cell.split(['(', '（']).nth(1)?.trim_end_matches([')', '）']);
            axis::of(inner).filter(|axis| axis.is_weak()).map(|axis| (axis, inner))
        }
    }
}

/// A header whose column holds a position or a part of one.
pub(crate) fn is_position_key(cell: &str) -> bool {
    let key = cell.trim_matches(|c: char| c.is_whitespace() || c == '"');
    axis_of(cell).is_some() || sheet::is_key(key) || is_picture_key(key)
}

/// A field that holds a picture of the parcel.
fn is_picture_key(cell: &str) -> bool {
    PICTURE_FIELDS.contains(&cell)
}

/// Which columns of a header hold a position or a part of one: a key that only ends like an axis does beside its twin.
pub(crate) fn position_columns(header: &[&str]) -> Vec<bool> {
    let has_twin =
        |one: (Axis, &str)| header.iter().filter_map(|cell| named_axis(cell)).any(|other| axis::are_pair(one, other));
    let goes = |cell: &&str| {
        let is_alone = named_axis(cell).is_some_and(|axis| axis.0.is_weak() && !has_twin(axis));
        (named_axis(cell).is_some() || is_position_key(cell)) && !is_alone
    };
    header.iter().map(goes).collect()
}

/// A cell of a geohash is its letters: six of them are a kilometre, twelve a hand.
fn is_geohash(cell: &str) -> bool {
    let letter = |b: u8| matches!(b, b'0'..=b'9' | b'b'..=b'h' | b'j' | b'k' | b'm' | b'n' | b'p'..=b'z');
    (5..=12).contains(&cell.len())
        && cell.bytes().map(|b| b.to_ascii_lowercase()).all(letter)
        && cell.bytes().any(|b| b.is_ascii_digit())
        && cell.bytes().any(|b| b.is_ascii_alphabetic())
}

/// Rows as an instrument writes them, without a header: `number,code,east,north,height`, the code empty more often than
/// not. Money has two decimals, an instrument three. A row whose last number is what its other two differ by is a sum:
/// two readings of a meter and what was used, two areas and their share.
#[derive(Default)]
struct Instrument {
    /// The last rows in sequence: the first may be a station that stands nowhere near.
    points: Vec<(Written, Written)>,
    /// How many of the last rows are sums.
    sums: usize,
}

impl Instrument {
    const DECIMALS: usize = 3;

    /// Takes the next line; true where three rows in sequence are corners of a grid.
    fn takes(&mut self, line: &str) -> bool {
        let Some([east, north, height]) = Self::row(line) else {
            if !line.trim().is_empty() {
                *self = Instrument::default();
            }
            return false;
        };
        self.sums = if is_sum(&east, &north, &height) { self.sums + 1 } else { 0 };
        if self.points.len() == LOCAL_POINTS_MIN {
            self.points.remove(0);
        }
        self.points.push((east, north));
        self.points.len() == LOCAL_POINTS_MIN && self.sums < LOCAL_POINTS_MIN && local(&self.points)
    }

    fn row(line: &str) -> Option<[Written; 3]> {
        /// The longest: a number of the point, a code, and three measures.
        const BYTES_MAX: usize = 96;
        let line = line.trim_end();
        let ends = line.as_bytes().first()?.is_ascii_alphanumeric() && line.as_bytes().last()?.is_ascii_digit();
        if line.len() > BYTES_MAX || !ends || memchr::memchr_iter(b',', line.as_bytes()).count() != 4 {
            return None;
        }
        let mut cells = line.split(',').map(str::trim);
        let (name, code) = (cells.next()?, cells.next()?);
        let (east, north, height) = (cells.next()?, cells.next()?, Written::of(cells.next()?)?);
        let is_name = name.len() <= 12 && name.bytes().any(|b| b.is_ascii_digit()) && !name.contains('.');
        let is_code =
            code.len() <= 12 && !code.contains('.') && code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let measured = |cell: &str| Written::of(cell).filter(|w| w.whole >= 4 && w.decimals >= Self::DECIMALS);
        let (east, north) = (measured(east)?, measured(north)?);
        (is_name && is_code && height.whole <= 4 && height.decimals >= 1).then_some([east, north, height])
    }
}

/// Do two numbers differ by the third, as it is rounded?
fn is_sum(one: &Written, other: &Written, third: &Written) -> bool {
    let unit = 0.1_f64.powi(i32::try_from(third.decimals).unwrap_or(i32::MAX));
    ((one.value - other.value).abs() - third.value).abs() < unit
}

/// How an empty cell is written.
fn is_nothing(cell: &str) -> bool {
    matches!(cell, "" | "-" | "--" | "/" | "—" | "null" | "NULL" | "无")
}

/// Two columns of one table, and the points in them.
struct Columns {
    first: usize,
    second: usize,
    axis: Axis,
    short: bool,
    /// The keys without a number behind them, in lower case: corners side by side have the same.
    keys: (String, String),
    /// The ways a flat may face: beside 南向 and 西向 only what is as long or as fine as a survey is a position.
    fronts: bool,
    points: Vec<(Written, Written)>,
    /// Pages of points that proved nothing.
    pages: u32,
    ended: bool,
}

/// What a line below a header is to two columns.
enum Row {
    Point(Written, Written),
    /// Its cells are empty, or nought: no corner lies there.
    Empty,
    /// The header again: it is read for itself.
    Header,
    Other,
}

impl Columns {
    fn row(&self, cells: &[&str]) -> Row {
        let (Some(a), Some(b)) = (cells.get(self.first), cells.get(self.second)) else { return Row::Other };
        match (Written::of(a), Written::of(b)) {
            (Some(a), Some(b)) if a.value > 0.0 || b.value > 0.0 => Row::Point(a, b),
            (None, _) if !a.is_empty() && a.parse::<f64>().is_err() && is_axis(a) => Row::Header,
            (a_value, b_value) => {
                let empty =
                    |cell: &str, value: Option<Written>| value.is_some_and(|w| w.value == 0.0) || is_nothing(cell);
                if empty(a, a_value) && empty(b, b_value) { Row::Empty } else { Row::Other }
            }
        }
    }

    /// What the points so far prove; they are let go.
    fn proof(&mut self) -> Option<Proof> {
        let mut points = std::mem::take(&mut self.points);
        if self.fronts {
            let fine = |w: &Written| w.decimals >= 3 || is_grid(w);
            points.retain(|(a, b)| fine(a) && fine(b));
        }
        // The last lines of a long table lie near each other by chance.
        let is_rest = self.pages > 0 && points.len() * 2 < ROWS_MAX;
        self.pages += 1;
        if self.axis.is_weak() && is_rest { None } else { proof(self.axis, self.short, &points) }
    }
}

/// Pairs of columns that name a position. `None`: more than any table has.
fn columns(header: &[&str]) -> Option<Vec<Columns>> {
    let axes: Vec<(usize, (Axis, &str))> =
        header.iter().enumerate().filter_map(|(n, cell)| Some((n, named_axis(cell)?))).collect();
    let fronts = header.iter().any(|cell| axis::OTHER_FRONTS.iter().any(|front| key_of(cell).ends_with(front)));
    let mut pairs = Vec::new();
    for (n, (first, one)) in axes.iter().enumerate() {
        for (second, other) in axes.iter().skip(n + 1).filter(|(_, other)| axis::are_pair(*one, *other)) {
            let short = one.0.is_degrees() && (axis::is_short(one.1) || axis::is_short(other.1));
            let (first, second) = (*first, *second);
            let keys = (unnumbered(one.1), unnumbered(other.1));
            let fronts = fronts && axis::is_front(one.1) && axis::is_front(other.1);
            let axis = one.0;
            pairs.push(Columns {
                first,
                second,
                axis,
                short,
                keys,
                fronts,
                points: Vec::new(),
                pages: 0,
                ended: false,
            });
        }
        if pairs.len() > PAIRS_MAX {
            return None;
        }
    }
    Some(pairs)
}

fn unnumbered(key: &str) -> String {
    key.trim_end_matches(|c: char| c.is_ascii_digit() || c == '_').to_lowercase()
}

/// Corners side by side: a short table may hold one or two below each pair of columns, and a parcel in all of them.
fn pooled(pairs: &[Columns]) -> Option<Proof> {
    let is_open = |pair: &&Columns| pair.axis.is_weak() && pair.pages == 0 && pair.first + 1 == pair.second;
    let mut beside: Vec<&Columns> = pairs.iter().filter(is_open).collect();
    let first = beside.first()?;
    beside.retain(|pair| pair.keys == first.keys);
    let points: Vec<(Written, Written)> = beside.iter().flat_map(|pair| pair.points.iter().copied()).collect();
    (beside.len() > 1).then(|| proof(Axis::WeakX, false, &points)).flatten()
}

/// Columns under a row of keys.
fn under(header: &[&str], divider: Divider, below: &str, cells_left: &mut usize) -> Option<Proof> {
    let spent = Some((SPENT, RuleClass::Structural));
    let numbered = header.iter().position(|cell| sheet::is_key(cell));
    let Some(mut pairs) = columns(header) else { return spent };
    let picture = header.iter().position(|cell| is_picture_key(cell) && divider != Divider::Blanks);
    let geohash = header.iter().position(|cell| axis_of(cell) == Some(Axis::Geohash));
    let single = numbered.or(picture).or(geohash);
    if single.is_none() && pairs.is_empty() {
        return None;
    }
    let mut heuristic = None;
    let mut gap = 0;
    for line in below.lines().filter(|line| !line.trim().is_empty()) {
        let cells = divider.cells(line);
        let Some(left) = cells_left.checked_sub(cells.len() + pairs.len()) else { return spent };
        *cells_left = left;
        let named = numbered.and_then(|column| cells.get(column)).copied();
        if named.is_some_and(sheet::is_large_scale) {
            return Some(("sheet-number", RuleClass::Structural));
        }
        let hashed = geohash.and_then(|column| cells.get(column)).copied();
        if hashed.is_some_and(is_geohash) {
            return Some(("geohash", RuleClass::Structural));
        }
        let pictured = picture.and_then(|column| cells.get(column)).copied();
        if cells.len() == header.len() && pictured.is_some_and(|cell| !is_nothing(cell)) {
            return Some(("parcel-picture", RuleClass::Structural));
        }
        let mut is_row = named.or(pictured).or(hashed).is_some_and(is_nothing);
        for pair in pairs.iter_mut().filter(|pair| !pair.ended) {
            match pair.row(&cells) {
                Row::Point(a, b) => {
                    pair.points.push((a, b));
                    is_row = true;
                }
                Row::Empty => is_row = true,
                Row::Header => pair.ended = true,
                Row::Other => {}
            }
            if pair.points.len() >= ROWS_MAX || pair.ended {
                let proof = pair.proof();
                if proof.is_some_and(|(_, class)| class == RuleClass::Structural) {
                    return proof;
                }
                heuristic = heuristic.or(proof);
            }
        }
        gap = if is_row { 0 } else { gap + 1 };
        if gap > GAP_MAX || (single.is_none() && pairs.iter().all(|pair| pair.ended)) {
            break;
        }
    }
    heuristic = heuristic.or_else(|| pooled(&pairs));
    let rest: Vec<Proof> = pairs.iter_mut().filter_map(Columns::proof).collect();
    rest.iter().copied().find(|(_, class)| *class == RuleClass::Structural).or(heuristic).or(rest.first().copied())
}

/// Two rows, each led by its key.
fn beside(before: Option<&str>, second: &[&str], divider: Divider) -> Option<Proof> {
    let first = divider.cells(before?);
    // `| X | 1 | 2 |` begins with an empty cell.
    let lead = usize::from(second.first().is_some_and(|cell| cell.is_empty()));
    let (a, b) = (named_axis(first.get(lead)?)?, named_axis(second.get(lead)?)?);
    if !axis::are_pair(a, b) {
        return None;
    }
    let points: Vec<(Written, Written)> =
        first.iter().zip(second).skip(lead + 1).filter_map(|(a, b)| Some((Written::of(a)?, Written::of(b)?))).collect();
    proof(a.0, a.0.is_degrees() && axis::is_short(a.1), &points)
}

/// Are these points of a position, under keys of this sort?
fn proof(axis: Axis, short: bool, points: &[(Written, Written)]) -> Option<Proof> {
    match axis {
        Axis::Longitude | Axis::Latitude => {
            // 进度 and 温度 are a jd and a wd: degrees have three decimals.
            let fine = |w: &Written| !short || w.decimals >= 3 || w.whole >= 8;
            let good = points.iter().filter(|(a, b)| fine(a) && fine(b) && (degrees(a, b) || degrees(b, a))).count();
            (good > 0 && good * 5 >= points.len() * 4).then_some(("axis-table", RuleClass::Structural))
        }
        Axis::SurveyX | Axis::SurveyY => {
            let measured = |w: &Written| w.whole >= 3 && (w.decimals >= 1 || w.whole >= 6);
            let good = points.iter().filter(|(a, b)| measured(a) && measured(b)).count();
            (good > 0 && good * 5 >= points.len() * 4).then_some(("axis-table", RuleClass::Structural))
        }
        Axis::WeakX | Axis::WeakY => {
            (local(points) || national(points)).then_some(("local-grid", RuleClass::Heuristic))
        }
        Axis::Geohash | Axis::TileZoom => None,
    }
}

/// Degrees of China, as fractions, in millionths or in ten-millionths.
fn degrees(longitude: &Written, latitude: &Written) -> bool {
    [(1.0, true), (1e6, false), (1e7, false)].into_iter().any(|(unit, fraction)| {
        (73.0..136.0).contains(&(longitude.value / unit))
            && (3.8..54.0).contains(&(latitude.value / unit))
            && (!fraction || longitude.decimals + latitude.decimals >= 2)
            && (fraction || longitude.decimals + latitude.decimals == 0)
    })
}

fn windows(number: &Written) -> Windows {
    let size = |n: usize| u8::try_from(n).unwrap_or(u8::MAX);
    Windows::of(number.value, size(number.whole), size(number.decimals))
}

fn is_grid(number: &Written) -> bool {
    windows(number).is_grid()
}

/// Points on the national grid to the metre: near each other, each its own.
fn national(points: &[(Written, Written)]) -> bool {
    let is_point = |(a, b): &&(Written, Written)| {
        let (one, other) = (windows(a), windows(b));
        (one.is_northing() && other.is_easting()) || (one.is_easting() && other.is_northing())
    };
    let good: Vec<(f64, f64)> = points.iter().filter(is_point).map(|(a, b)| (a.value, b.value)).collect();
    let pairs = || good.iter().zip(good.iter().skip(1));
    let near = pairs().filter(|(p, q)| {
        let step = ((p.0 - q.0).abs(), (p.1 - q.1).abs());
        step.0 > 0.0 && step.1 > 0.0 && step.0 < NEAR && step.1 < NEAR
    });
    good.len() >= 2 && good.len() * 4 >= points.len() * 3 && near.count() * 2 >= pairs().count()
}

/// Points in metres or kilometres of a grid of the city's own: near each other, each its own, measured.
fn local(points: &[(Written, Written)]) -> bool {
    let metres = |w: &Written| w.whole >= 4 && w.decimals >= 2;
    let kilometres = |w: &Written| w.whole >= 2 && w.decimals >= 5;
    let measured: Vec<_> =
        points.iter().filter(|(a, b)| (metres(a) && metres(b)) || (kilometres(a) && kilometres(b))).collect();
    let is_fine = measured.iter().all(|(a, b)| a.decimals >= 3 && b.decimals >= 3);
    let good: Vec<_> = measured.iter().map(|(a, b)| (a.value, b.value)).collect();
    // To the millimetre a measured line is uneven in its last digit, and a formula is not.
    let slack = if is_fine { 1e-6 } else { 0.006 };
    if is_even(good.iter().map(|p| p.0), slack) && is_even(good.iter().map(|p| p.1), slack) {
        return false;
    }
    if good.len() < LOCAL_POINTS_MIN || good.len() * 4 < points.len() * 3 {
        return false;
    }
    let spread = |pick: fn(&(f64, f64)) -> f64| {
        let values = good.iter().map(pick);
        values.clone().fold(f64::MIN, f64::max) - values.fold(f64::MAX, f64::min)
    };
    let (a, b) = (spread(|p| p.0), spread(|p| p.1));
    a > 0.0 && b > 0.0 && a < NEAR && b < NEAR
}

/// The same step from each value to the next: the axis of a chart, or a price that rises. No parcel has such corners.
fn is_even(values: impl Iterator<Item = f64> + Clone, slack: f64) -> bool {
    /// Three corners may lie on a line; six in equal steps do not.
    const VALUES_MIN: usize = 6;
    let mut steps = values.clone().zip(values.clone().skip(1)).map(|(a, b)| b - a);
    values.count() >= VALUES_MIN && steps.next().is_some_and(|first| steps.all(|step| (step - first).abs() < slack))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_listed_columns_has_no_other_and_no_longer_rows() {
        let listed = ["宗地代码", "用途", "note"].map(str::to_owned);
        for good in [
            "宗地代码,用途\r\n1,住宅\r\n",
            "\u{feff}用途;宗地代码\n住宅;1\n",
            "\n\"note\"\t用途\na\tb\t\t\n",
            "note,用途\n\"a,b\nc,d,e\",x\n",
            "note\na\n",
            "用途（平方米）,note(元/㎡)\n1,2\n",
            "某县登记数据导出\n导出时间：2026-11-22 08:30:00\n用途,note\n1,2\n",
            "某县登记数据导出,,\n用途,note,\n1,2,\n",
            "用途,note,\r\n1,张,\r\n",
            "sep=;\n用途;note\n甲路1,乙路2;\"2,580,922.78\"\n",
            "用途,note\n101;102,A|B\n",
            "",
        ] {
            assert_eq!(columns_of(good, &listed), Ok(()), "{good}");
        }
        for (bad, told) in [
            ("宗地代码,X坐标\n1,2\n", "X坐标"),
            ("宗地代码,\n1,2\n", "row 2"),
            ("宗地代码,,用途\n1,2,3\n", "row 1"),
            ("用途,用途,用途\n1,34512.417,51203.882\n", "用途, 用途"),
            ("用途(m2),用途\n1,2\n", "用途, 用途"),
            ("用途(X)\n1\n", "用途(X)"),
            ("note\nJ1\t34512.417\t51203.882\n", "row 2"),
            ("note,用途\n34512.417;51203.882,1\n", "row 2"),
            ("note,用途\n\"34512.417|51203.882\",1\n", "row 2"),
            ("note;用途\n34512.417,51203.882;1\n", "row 2"),
            ("J1 34512.417 51203.882\n用途\n1\n", "J1 34512.417 51203.882"),
            ("一\n二\n三\n用途\n1\n", "一"),
            ("宗地代码,用途\n1,住宅,4851490.419\n", "row 2"),
            ("note,用途\n\"a,b\n1,2,3\n", "\""),
            ("652901,1\n", "652901"),
        ] {
            assert_eq!(columns_of(bad, &listed), Err(told.to_owned()), "{bad}");
        }
        assert_eq!(columns_of("anything,at all\n", &[]), Ok(()));
    }
    use crate::chance::Chance;

    /// By the words themselves.
    fn mentions_plainly(line: &str) -> bool {
        let lower = line.to_ascii_lowercase();
        let any = |words: &[&str]| words.iter().any(|word| lower.contains(word));
        let exactly = |words: &[&str]| words.iter().any(|word| line.contains(word));
        (any(&["x"]) && any(&["y"]))
            || (any(&["lo", "ln", "jd", "dj"]) && any(&["la", "wd", "bw"]))
            || (exactly(&["经", "經"]) && exactly(&["纬", "緯"]))
            || (exactly(&["北向"]) && exactly(&["东向"]))
            || exactly(&["坐标", "坐標", "坐 标", "图幅号"])
            || (has_lone(line.as_bytes(), b'N') && has_lone(line.as_bytes(), b'E'))
            || exactly(&["TFH"])
            || exactly(&PICTURE_FIELDS)
            || (exactly(&["ast"]) && exactly(&["orth"]))
    }

    #[test]
    fn a_row_that_names_an_axis_is_known_by_its_letters() {
        let pieces = [
            "x", "Y", "l", "o", "N", "a", "j", "D", "w", "b", "N", "E", ",", " ", "T", "F", "H", "ZDT", "FC", "s", "t",
            "ast", "orth", "经", "緯", "北", "东", "向", "坐", "标", "標", "图幅", "号", "1", "面积", "上海", "国",
        ];
        let mut chance = Chance(11);
        let mut named = 0;
        for _ in 0..60_000 {
            let line = chance.row(&pieces, 7).concat();
            assert_eq!(mentions_axis(line.as_bytes()), mentions_plainly(&line), "{line}");
            named += u32::from(mentions_plainly(&line));
        }
        assert!((5_000..55_000).contains(&named), "{named}");
    }

    fn rule(text: &str) -> Option<&'static str> {
        look(text).first().map(|hit| hit.rule)
    }

    #[test]
    fn a_structural_table_is_found_below_a_heuristic_one() {
        let corners = "J1,34512.417,51203.882\nJ2,34498.120,51233.004\nJ3,34477.871,51228.690\n";
        let rules = |text: &str| look(text).iter().map(|hit| hit.rule).collect::<Vec<_>>();
        assert_eq!(rules(&format!("点,X,Y\n{corners}\n点号,纵坐标,横坐标\n{corners}")), ["local-grid", "axis-table"]);
        let side_by_side = "点,X,Y,纵坐标,横坐标\n1,34512.417,51203.882,34512.417,51203.882\n2,34498.120,51233.004,34498.120,51233.004\n3,34477.871,51228.690,34477.871,51228.690\n";
        assert_eq!(rules(side_by_side), ["axis-table"]);
    }

    #[test]
    fn no_header_is_too_many_and_no_row_too_deep() {
        let corners = "J1,34512.417,51203.882\nJ2,34498.120,51233.004\nJ3,34477.871,51228.690\n";
        let remarks = "备注 x type, y key 说明\n".repeat(2_500);
        assert_eq!(rule(&format!("{remarks}点号,纵坐标,横坐标\n{corners}")), Some("axis-table"));
        let empty = "甲,0.000,0.000\n乙,,\n".repeat(60);
        assert_eq!(rule(&format!("点号,纵坐标,横坐标\n{empty}{corners}")), Some("axis-table"));
        let small = "甲,1.5,2.5\n".repeat(100);
        assert_eq!(rule(&format!("点号,X,Y\n{small}{corners}")), None, "three of a page are no grid");
        let page = "甲,1.5,2.5\n".repeat(96);
        assert_eq!(rule(&format!("点号,X,Y\n{page}{corners}")), None, "three behind two pages are no grid");
        let page = "J1,34512.417,51203.882\nJ2,34498.120,51233.004\n".repeat(48);
        assert_eq!(rule(&format!("点号,X,Y\n{small}{page}")), Some("local-grid"));
    }

    #[test]
    fn a_text_of_headers_alone_is_not_called_clean() {
        let wide = format!("{}\n", "x,y,".repeat(20));
        assert_eq!(rule(&wide), Some(SPENT));
    }

    #[test]
    fn a_header_makes_a_local_grid_speak() {
        for text in [
            "点号,X,Y\nJ1,34512.417,51203.882\nJ2,34498.120,51233.004\nJ3,34477.871,51228.690\n",
            "界址点号\tX(m)\tY(m)\nJ1\t3451.41\t5120.88\nJ2\t3449.12\t5123.00\nJ3\t3447.87\t5122.69",
            "| 点 | X | Y |\n|---|---|---|\n| J1 | 34512.417 | 51203.882 |\n| J2 | 34498.120 | 51233.004 |\n| J3 | 34477.871 | 51228.690 |",
            "表一\nX,34512.417,34498.120,34477.871\nY,51203.882,51233.004,51228.690",
            "点,N,E\nJ1,34512.417,51203.882\nJ2,34498.120,51233.004\nJ3,34477.871,51228.690",
            "界址点,纵(X),横(Y)\nJ1,34512.417,51203.882\nJ2,34498.120,51233.004\nJ3,34477.871,51228.690",
            "点,X,Y\nJ1,=\"34512.417\",=\"51203.882\"\nJ2,'34498.120,'51233.004\nJ3,34477.871,51228.690",
            "点,说明,X,Y\nJ1,\"甲,乙\",34512.417,51203.882\nJ2,\"甲,乙\",34498.120,51233.004\nJ3,\"甲,乙\",34477.871,51228.690",
            "点,X(km),Y(km)\n1,4851.490419,29546.865276\n2,4851.357613,29546.783929\n3,4851.300001,29546.701122",
        ] {
            assert_eq!(rule(text), Some("local-grid"), "{text}");
        }
    }

    #[test]
    fn statements_of_a_database_are_tables() {
        let corners =
            [("J1", "34512.417", "27881.335"), ("J2", "34548.902", "27888.874"), ("J3", "34541.336", "27936.018")];
        let each = |of: fn(&(&str, &str, &str)) -> String, between: &str| {
            corners.iter().map(of).collect::<Vec<_>>().join(between)
        };
        let tuples = each(|(n, x, y)| format!("('{n}', {x}, {y})"), ",\n");
        let tabs = each(|(n, x, y)| format!("{n}\t{x}\t{y}"), "\n");
        let single = each(|(n, x, y)| format!("INSERT INTO jzd (JZDH,X,Y) VALUES ('{n}',{x},{y});"), "\n");
        for (text, found) in [
            (format!("INSERT INTO ZDJZD (JZDH, XZB, YZB) VALUES {tuples};"), "axis-table"),
            (format!("insert into `zdjzd`(`jzdh`, `x`, `y`) values {tuples};"), "local-grid"),
            (format!("COPY public.zdjzd (jzdh, xzb, yzb) FROM stdin;\n{tabs}\n\\.\n"), "axis-table"),
            (format!("COPY public.zdjzd (jzdh, x, y) FROM stdin;\n{tabs}\n\\.\n"), "local-grid"),
            (single, "local-grid"),
            (
                "id,sql\n1,\"INSERT INTO ZDJZD (JZDH, XZB, YZB) VALUES ('J1', 34512.417, 27881.335)\"".to_owned(),
                "axis-table",
            ),
            ("INSERT INTO P (id, lng, lat) VALUES (2, 114.1437, 30.6354);".to_owned(), "axis-table"),
        ] {
            assert_eq!(rule(&text), Some(found), "{text}");
        }
        for text in [
            "INSERT INTO FW (BDCDYH, FWMJ, JE) VALUES ('1', 34512.417, 27881.335),('2', 34548.902, 27888.874),('3', 34541.336, 27936.018);",
            "INSERT INTO t (x, y) VALUES (1, 2),(3, 4),(5, 6);",
            "INSERT INTO RW (id, jd, wd) VALUES (1, 100.0, 36.65);",
        ] {
            assert_eq!(rule(text), None, "{text}");
        }
    }

    #[test]
    fn corners_side_by_side_are_counted_together() {
        for keys in ["点号,X,Y,点号,X,Y", "点号,X1,Y1,点号,X2,Y2"] {
            let text = format!(
                "{keys}\nJ1,34512.417,51203.882,J2,34498.120,51233.004\nJ3,34477.871,51228.690,J4,34490.118,51199.207\n"
            );
            assert_eq!(rule(&text), Some("local-grid"), "{text}");
        }
        assert_eq!(rule("点号,X,Y\nJ1,34512.417,51203.882\nJ2,34498.120,51233.004\n"), None);
        assert_eq!(rule("批次,X,Y,批次,X,Y\n1,1.5,2.5,2,3.5,4.5\n3,5.5,6.5,4,7.5,8.5\n"), None);
    }

    #[test]
    fn rows_of_an_instrument_need_no_header() {
        for text in [
            "1,,27881.335,34512.417,23.1\n2,,27888.874,34548.902,23.2\n3,,27936.018,34541.336,23.1\n",
            "3\n1,A01,27881.335,34512.417,23.100\n2,A01,27888.874,34548.902,23.200\n3,A02,27936.018,34541.336,23.105\n",
            // A front that runs true to the axis, a station of round numbers, a header of something else.
            "1,,51203.882,34512.417,12.5\n2,,51203.882,34498.120,12.6\n3,,51203.882,34477.871,12.4\n4,,51233.004,34470.118,12.4\n",
            "1,,1000.000,1000.000,12.5\n2,,51203.882,34498.120,12.6\n3,,51228.690,34477.871,12.4\n4,,51233.004,34470.118,12.4\n",
            "序号,用途,建筑面积,套内面积,分摊面积\n1,,51203.882,34512.417,12.5\n2,,51207.114,34498.120,12.6\n3,,51228.690,34477.871,12.4\n",
        ] {
            assert_eq!(rule(text), Some("local-grid"), "{text}");
        }
        for text in [
            "1,,27881.335,34512.417,23.1\n2,,27888.874,34548.902,23.2\n",
            "1,A,27881.33,34512.41,23.1\n2,A,27888.87,34548.90,23.2\n3,A,27936.01,34541.33,23.1\n",
            "1,1.5,2788.335,3451.417,23.1\n2,2.5,2788.874,3454.902,23.2\n3,3.5,2793.018,3454.336,23.1\n",
            // Readings of a meter and what was used; areas and the share of one of them.
            "1001,A12,10234.567,10251.234,16.7\n1002,A13,10318.204,10340.912,22.7\n1003,A14,10277.118,10288.031,10.9\n",
            "水表号,户号,起码,止码,用量\n1001,A12,10234.567,10251.234,16.667\n1002,A13,10318.204,10340.912,22.708\n1003,A14,10277.118,10288.031,10.913\n",
            "序号,房号,建筑面积,套内面积,分摊面积\n1,101,1234.567,1100.234,134.333\n2,102,1310.204,1188.912,121.292\n3,103,1277.118,1140.031,137.087\n",
        ] {
            assert_eq!(rule(text), None, "{text}");
        }
    }

    #[test]
    fn short_names_of_the_two_axes_are_headings() {
        for header in ["点号,纵标,横标", "点号,ZZB,HZB"] {
            assert_eq!(
                rule(&format!("{header}\nJ1,34512.417,51203.882\nJ2,34530.221,51230.114\n")),
                Some("axis-table")
            );
            assert_eq!(rule(&format!("{header}\nJ1,是,否\n")), None);
        }
        let steps: String = (0..30).map(|n| format!("{}.000,{}.000\n", 1_000 + n * 10, 2_000 + n * 10)).collect();
        assert_eq!(rule(&format!("x,y\n{steps}")), None, "filled by a formula");
    }

    #[test]
    fn a_column_of_geohashes_is_a_column_of_places() {
        assert_eq!(rule("id,geohash\n1,wt3mb2k8u\n2,wt3mb2k8v"), Some("geohash"));
        assert_eq!(rule("id,geohash\n1,\n2,wt3mb2k8v"), Some("geohash"));
        assert_eq!(rule("id,GEOHASH\n1,WT3MB2K8U\n2,WT3MB2K8V"), Some("geohash"));
        assert_eq!(rule("id,geohash\n1,\n2,none"), None);
    }

    #[test]
    fn even_steps_to_the_cent_are_the_axis_of_a_chart() {
        let rows = |fraction: &str| {
            (0..10).map(|n| format!("{n},{}.{fraction},{}.{fraction}\n", 1_200 + n, 3_000 + n)).collect::<String>()
        };
        assert_eq!(rule(&format!("宗地,DX,DY\n{}", rows("55"))), None);
        assert_eq!(rule(&format!("宗地,DX,DY\n{}", rows("553"))), None);
        let measured = rows("553").replace("1203.553", "1203.554");
        assert_eq!(rule(&format!("宗地,DX,DY\n{measured}")), Some("local-grid"), "uneven by a millimetre");
    }

    #[test]
    fn names_that_mean_nothing_else_need_one_row() {
        for text in [
            "宗地,纵坐标（米）,横坐标（米）\n1,34512.4,51203.8",
            "点号 J1 J2\n纵坐标 34512.417 34498.120\n横坐标 51203.882 51233.004",
            "dh,xzb,yzb\n1,34512.41,51203.88",
            "名称,经度,纬度\n甲,113.34,23.13\n乙,116.40,39.90",
            "name;lat;lon\nA;23.13;113.34",
            "lon,lat\n113347776,23139564",
            "点號,縱坐標,橫坐標\nJ1,34512.417,51203.882",
            "点号,X坐标值,Y坐标值\nJ1,34512.417,51203.882",
            "点号,N坐标,E坐标\nJ1,34512.417,51203.882",
            "点号;纵坐标;横坐标\nJ1;34512,417;51203,882",
            "点号,经度,纬度\nA,113-20-51.99,23-08-22.43",
            "名称,经度,纬度\na,0,0\nb,113.3412,23.1304\nc,0,0\nd,116.4011,39.9002",
        ] {
            assert_eq!(rule(text), Some("axis-table"), "{text}");
        }
        assert_eq!(rule("宗地,图幅号\n1,51.50-46.25"), Some("sheet-number"));
        assert_eq!(rule("宗地,图幅号\n1,J50K01230456"), Some("sheet-number"));
        for corners in ["J1,34512.417,51203.882,1", "J1,3389512.41,512844.23,1"] {
            assert_eq!(rule(&format!("点,北向,东向,南向\n{corners}")), Some("axis-table"), "{corners}");
        }
        assert_eq!(rule("点,北向,东向\nJ1,4512.41,1203.88"), Some("axis-table"));
        assert_eq!(rule("宗地,ZDT\n1,\n2,a/b.png"), Some("parcel-picture"));
        assert_eq!(rule("宗地,ZDT\n1,\n2,无"), None);
    }

    #[test]
    fn tables_of_other_things_are_left_alone() {
        for text in [
            "x,y\n1,2\n3,4\n5,6",
            "x,y\n12.345,22.331\n13.221,21.001\n14.555,20.1\n",
            "户号,X月,Y月\n1,34512.41,51203.88\n2,34498.12,51233.00\n3,34477.87,51228.69",
            "名称,经度,纬度\n甲,,\n乙,,\n",
            "房号,单价,总价\n101,12800.50,1523400.00\n102,12790.25,1498765.50",
            "x,y\n34512.41,51203.88\n91234.55,2203.10\n1234.55,99203.10",
            "x,y\n34512.41,51203.88\n34512.41,51203.88\n34512.41,51203.88",
            "图幅号,备注\n,无\n",
            "楼号,东向,南向,西向,北向\n1,12800.50,13100.00,12500.00,12100.00\n2,12810.50,13110.00,12510.00,12110.00\n3,12830.50,13120.00,12540.00,12190.00\n",
            "宗地,图幅号\n1,H50G005010\n",
            "姓名,tax,salary\n张,1200.55,15000.25\n王,1213.65,15211.55\n李,1226.75,15422.85",
            "业务号,SX,YJFY\n1,1200.55,15000.25\n2,1213.65,15211.55\n3,1226.75,15422.85",
            "任务,jd,wd\n1,100.0,36.65\n2,95.5,36.70",
            "",
            "X\nY",
        ] {
            assert_eq!(rule(text), None, "{text}");
        }
    }

    #[test]
    fn a_row_is_passed_over_only_where_no_key_can_stand_in_it() {
        for row in [
            "点号,X,Y",
            "a,lon,lat",
            "jd|wd",
            "DJ\tBW",
            "经度,纬度",
            "經度,緯度",
            "坐标一,二",
            "坐標一,二",
            "北向,东向",
            "N E",
            "TFH,a",
            "图幅号,b",
            "Easting,Northing",
            "ZDT,a",
            "a;LNG;LA",
        ] {
            assert!(mentions_axis(row.as_bytes()), "{row}");
        }
        for row in
            ["楼盘,单元号", "tower,number", "NAME,EAR", "北京,东城", "收件人,经办人", "x 1", "best,other", "jl,ad"]
        {
            assert!(!mentions_axis(row.as_bytes()), "{row}");
        }
    }
}
