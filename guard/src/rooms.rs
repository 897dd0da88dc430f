//! What stands above rows of small numbers: words that call them angles, and the header of a table of floors, units and
//! areas. Read once, from the beginning to where the scan is: no byte is looked at twice, however often it is asked.

use crate::table::{Divider, without_unit};

/// A word that calls numbers angles stands within so many bytes of the third row.
const ANGLES_REACH: usize = 1_024;
/// Words that call numbers angles or corners.
const ANGLES: [&str; 10] = ["度", "秒", "经", "纬", "坐标", "界址", "°", "lon", "lat", "点"];

/// A header and a row of such a table are not longer than this.
const LINE_BYTES_MAX: usize = 4_096;
/// Of the six columns so many are headed so: a word by itself may stand above anything.
const HEADED_MIN: usize = 3;
/// Whole cells of a header.
const ROOMS: [&str; 30] = [
    "幢",
    "幢号",
    "栋",
    "栋号",
    "楼",
    "楼号",
    "楼栋",
    "层",
    "层号",
    "层数",
    "总层数",
    "所在层",
    "楼层",
    "名义层",
    "实际层",
    "单元",
    "单元号",
    "室",
    "室号",
    "室数",
    "房号",
    "户号",
    "户数",
    "套数",
    "厅",
    "卫",
    "公摊",
    "分摊",
    "车位",
    "车位数",
];
/// What a cell of a header ends in.
const MEASURES: [&str; 4] = ["面积", "价", "价格", "金额"];

/// Which of the bytes that are looked at do more than pass by.
const PLAIN: u8 = 0;
const LINE_END: u8 = 1;
const LEAD: u8 = 2;
const MARKS: [u8; 256] = marks();

const fn marks() -> [u8; 256] {
    let mut table = [PLAIN; 256];
    table[b'\n' as usize] = LINE_END;
    let mut n = 0;
    while n < ANGLES.len() {
        table[ANGLES[n].as_bytes()[0] as usize] = LEAD;
        n += 1;
    }
    table
}

/// The header of a table of rooms.
#[derive(Debug)]
struct Header {
    divider: Divider,
    /// Which of its columns hold what rooms have.
    rooms: Vec<bool>,
}

/// What was read so far.
#[derive(Debug, Default)]
pub(crate) struct Rooms {
    read: usize,
    line: usize,
    angles_at: Option<usize>,
    header: Option<Header>,
}

impl Rooms {
    /// Reads on, to `at`.
    pub(crate) fn read_to(&mut self, text: &str, at: usize) {
        let bytes = text.as_bytes();
        let is_mark = |byte: &u8| MARKS.get(usize::from(*byte)).is_some_and(|mark| *mark != PLAIN);
        while let Some(skipped) = bytes.get(self.read..at).and_then(|rest| rest.iter().position(is_mark)) {
            let mark = self.read + skipped;
            self.read = mark + 1;
            if bytes.get(mark) == Some(&b'\n') {
                self.take_line(text.get(self.line..mark).unwrap_or(""));
                self.line = mark + 1;
            } else {
                let rest = bytes.get(mark..at).unwrap_or_default();
                if ANGLES.iter().any(|word| rest.starts_with(word.as_bytes())) {
                    self.angles_at = Some(mark);
                }
            }
        }
        self.read = self.read.max(at);
    }

    /// Does a word near above `at` call the numbers angles?
    pub(crate) fn are_angles_named(&self, at: usize) -> bool {
        self.angles_at.is_some_and(|named| at.saturating_sub(named) <= ANGLES_REACH)
    }

    /// Do the six numbers stand in a row of a table whose header says of their columns that they are of rooms? The names of
    /// corners before them say that they are not.
    pub(crate) fn are_above(&self, text: &str, parts: [usize; 6]) -> bool {
        let Some(header) = &self.header else { return false };
        let ([first, .., last], start) = (parts, self.line);
        if first < start || last - start > LINE_BYTES_MAX || is_corner(text.get(start..first).unwrap_or("")) {
            return false;
        }
        let rest = text.as_bytes().get(last..).unwrap_or_default();
        let rest = rest.get(..LINE_BYTES_MAX).unwrap_or(rest);
        let end = last + memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let Some(line) = text.get(start..end) else { return false };
        let cells = header.divider.cells(line);
        let place = |cell: &str| cell.as_ptr().addr() - text.as_ptr().addr();
        let column = |part: &usize| cells.iter().position(|cell| !cell.is_empty() && place(cell) == *part);
        let columns: Vec<usize> = parts.iter().filter_map(column).collect();
        let is_headed = |column: &&usize| header.rooms.get(**column).copied().unwrap_or(false);
        columns.len() == parts.len() && columns.iter().filter(is_headed).count() >= HEADED_MIN
    }

    /// A header of rooms counts until the next row of words.
    fn take_line(&mut self, line: &str) {
        let is_words = |line: &str| !line.bytes().any(|b| b.is_ascii_digit());
        if line.is_ascii() || line.len() > LINE_BYTES_MAX || !(is_words(line) || line.contains(['(', '（'])) {
            return;
        }
        let divider = Divider::of_header(line);
        let cells = divider.cells(line);
        let rooms: Vec<bool> = cells.iter().map(|cell| is_room(cell)).collect();
        if rooms.iter().filter(|is_room| **is_room).count() >= HEADED_MIN {
            self.header = Some(Header { divider, rooms });
        } else if cells.iter().filter(|cell| !cell.is_empty()).count() >= HEADED_MIN && is_words(line) {
            self.header = None;
        }
    }
}

fn is_room(cell: &str) -> bool {
    let name = without_unit(cell);
    ROOMS.contains(&name) || MEASURES.iter().any(|word| name.ends_with(word))
}

/// Ends it in the name of a corner, `J1`, and what parts it from its numbers?
pub(crate) fn is_corner(before: &str) -> bool {
    let is_between =
        |c: char| c.is_whitespace() || matches!(c, ',' | ';' | '|' | '"' | ':' | '(' | '，' | '；' | '：' | '（');
    let before = before.trim_end_matches(is_between);
    let digits = before.bytes().rev().take_while(u8::is_ascii_digit).count();
    let name = before.get(..before.len() - digits).unwrap_or("");
    let Some(rest) = name.strip_suffix(['J', 'j']) else { return false };
    (1..=5).contains(&digits) && !rest.ends_with(|c: char| c.is_ascii_alphanumeric())
}
