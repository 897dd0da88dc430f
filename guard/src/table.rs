//! Tables: a row or a column of keys that name two axes, and the numbers under or beside them.
//!
//! City-local grids have four to six digits and fall into no range: here the header is the evidence, and that the
//! points lie near each other. Lists over the whole country lie nowhere near: there the header alone must do.

use crate::axis::{self, Axis};
use crate::finding::RuleClass;
use crate::pairs::is_sheet_number;

/// Header rows of one text that are held against the rows below them; a report has a few dozen tables.
const HEADERS_MAX: usize = 2_000;
/// A row of keys is not longer than this.
const HEADER_BYTES_MAX: usize = 4_096;
/// Columns of one table.
const COLUMNS_MAX: usize = 256;
/// Columns of one table that may name an axis; a list of corners side by side has a few.
const AXES_MAX: usize = 24;
/// Rows below a header that are read.
const ROWS_MAX: usize = 48;
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

#[derive(Clone, Copy)]
enum Divider {
    One(char),
    Blanks,
}

impl Divider {
    const ALL: [Divider; 7] = [
        Divider::One('\t'),
        Divider::One(','),
        Divider::One(';'),
        Divider::One('|'),
        Divider::One('，'),
        Divider::One('、'),
        Divider::Blanks,
    ];

    fn cells(self, line: &str) -> Vec<&str> {
        fn clean(cell: &str) -> &str {
            cell.trim_matches(|c: char| c.is_whitespace() || c == '"')
        }
        match self {
            Divider::One(divider) => line.split(divider).map(clean).take(COLUMNS_MAX).collect(),
            Divider::Blanks => line.split_whitespace().map(clean).take(COLUMNS_MAX).collect(),
        }
    }
}

/// Looks at every row that may be a header. The first that proves something decides.
pub(crate) fn look(text: &str) -> Option<TableHit> {
    let mut left = HEADERS_MAX;
    let mut at = 0;
    let mut before: Option<&str> = None;
    for line in text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        if left > 0 && may_be_keys(line) {
            for divider in Divider::ALL {
                let cells = divider.cells(line);
                if cells.len() < 2 || !cells.iter().any(|cell| is_axis(cell) || is_sheet_key(cell)) {
                    continue;
                }
                let below = text.get(at..).unwrap_or("");
                let hit = under(&cells, divider, below).or_else(|| beside(before, &cells, divider));
                if let Some((rule, class)) = hit {
                    return Some(TableHit { rule, class, at: start });
                }
            }
            left -= 1;
        }
        // Paragraphs leave empty lines between the rows.
        before = if line.trim().is_empty() { before } else { Some(line) };
    }
    None
}

/// Words rather than numbers, or a first word that names an axis.
fn may_be_keys(line: &str) -> bool {
    let bytes = line.as_bytes();
    if bytes.len() < 3 || bytes.len() > HEADER_BYTES_MAX {
        return false;
    }
    // Every key of an axis has one of these in it; nearly every line of prose fails here or at the digits.
    let first = bytes.iter().copied().find(|b| !matches!(b, b' ' | b'\t' | b'"' | b'|' | b','));
    if first.is_some_and(|b| matches!(b, b'x' | b'X' | b'y' | b'Y') || b >= 0x80) && is_axis(first_word(line)) {
        return true;
    }
    let digits = bytes.iter().filter(|b| b.is_ascii_digit()).count();
    digits * 5 <= bytes.len()
        && bytes.iter().any(|b| matches!(b, b',' | b'\t' | b';' | b'|' | b' ' | 0xE3 | 0xEF))
        && mentions_axis(bytes)
}

/// One pass for the letters without which no key is written.
fn mentions_axis(bytes: &[u8]) -> bool {
    let lower = |b: &u8| b.to_ascii_lowercase();
    let letter = bytes.iter().any(|b| matches!(lower(b), b'x')) && bytes.iter().any(|b| matches!(lower(b), b'y'));
    let has = |word: &[u8]| memchr::memmem::find(bytes, word).is_some();
    letter
        || (has("经".as_bytes()) && has("纬".as_bytes()))
        || has("坐标".as_bytes())
        || has("图幅号".as_bytes())
        || has(b"TFH")
        || (has_pair(bytes, &[b"lo", b"ln", b"jd", b"dj"]) && has_pair(bytes, &[b"la", b"wd", b"bw"]))
        || (has(b"ast") && has(b"orth"))
}

fn has_pair(bytes: &[u8], pairs: &[&[u8; 2]]) -> bool {
    bytes.windows(2).any(|window| pairs.iter().any(|pair| window.eq_ignore_ascii_case(*pair)))
}

fn first_word(line: &str) -> &str {
    let line = line.trim_start_matches([' ', '\t', '"', '|', ',']);
    let end = line.find([' ', '\t', ',', ';', '|', '，', '"', '\n', '\r']).unwrap_or(line.len());
    line.get(..end).unwrap_or("")
}

fn is_axis(cell: &str) -> bool {
    axis_of(cell).is_some()
}

/// The axis of a cell: `X(m)`, `纵坐标（米）`, `"lon"`.
pub(crate) fn axis_of(cell: &str) -> Option<Axis> {
    let key = key_of(cell);
    (!key.is_empty() && key.len() <= 40).then(|| axis::of(key)).flatten()
}

/// The word of a header, without its unit.
pub(crate) fn key_of(cell: &str) -> &str {
    cell.split(['(', '（', '[', '/']).next().unwrap_or("").trim_matches(|c: char| c.is_whitespace() || c == '"')
}

/// A header whose column holds a position or a part of one.
pub(crate) fn is_position_key(cell: &str) -> bool {
    is_axis(cell) || is_sheet_key(cell.trim_matches(|c: char| c.is_whitespace() || c == '"'))
}

fn is_sheet_key(cell: &str) -> bool {
    cell == "TFH" || cell.ends_with("图幅号")
}

/// Columns under a row of keys.
fn under(header: &[&str], divider: Divider, below: &str) -> Option<(&'static str, RuleClass)> {
    if let Some(column) = header.iter().position(|cell| is_sheet_key(cell)) {
        let sheet = below
            .lines()
            .take(ROWS_MAX)
            .any(|line| divider.cells(line).get(column).is_some_and(|cell| is_sheet_number(cell)));
        if sheet {
            return Some(("sheet-number", RuleClass::Structural));
        }
    }
    let axes: Vec<(usize, Axis)> =
        header.iter().enumerate().filter_map(|(n, cell)| Some((n, axis_of(cell)?))).take(AXES_MAX).collect();
    let pairs = || {
        let second = |first: usize| axes.iter().skip(first + 1);
        axes.iter().enumerate().flat_map(move |(n, a)| second(n).map(move |b| (a, b)))
    };
    if !pairs().any(|(a, b)| a.1.completes(b.1)) {
        return None;
    }
    let written = below.lines().take(ROWS_MAX * 2).filter(|line| !line.trim().is_empty());
    let rows: Vec<Vec<&str>> = written.take(ROWS_MAX).map(|line| divider.cells(line)).collect();
    pairs().filter(|(a, b)| a.1.completes(b.1)).find_map(|((i, axis), (j, _))| {
        let mut points = Vec::new();
        for cells in &rows {
            let value = |n: usize| cells.get(n).and_then(|cell| Written::of(cell));
            match (value(*i), value(*j)) {
                (Some(a), Some(b)) => points.push((a, b)),
                // A line of dashes, of units or of nothing.
                _ if points.is_empty() => {}
                _ => break,
            }
        }
        proof(*axis, &points)
    })
}

/// Two rows, each led by its key.
fn beside(before: Option<&str>, second: &[&str], divider: Divider) -> Option<(&'static str, RuleClass)> {
    let first = divider.cells(before?);
    // `| X | 1 | 2 |` begins with an empty cell.
    let lead = usize::from(second.first().is_some_and(|cell| cell.is_empty()));
    let axis = |cells: &[&str]| cells.get(lead).and_then(|cell| axis_of(cell));
    let (a, b) = (axis(&first)?, axis(second)?);
    if !a.completes(b) {
        return None;
    }
    let points: Vec<(Written, Written)> =
        first.iter().zip(second).skip(lead + 1).filter_map(|(a, b)| Some((Written::of(a)?, Written::of(b)?))).collect();
    proof(a, &points)
}

/// A number in a cell.
#[derive(Clone, Copy)]
struct Written {
    value: f64,
    whole: usize,
    decimals: usize,
}

impl Written {
    fn of(cell: &str) -> Option<Written> {
        let digits = cell.trim_start_matches(['-', '+']).trim_end_matches(['m', '°', '米', '度']);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || whole.len() > 12 || !all(whole) || !all(fraction) {
            return None;
        }
        Some(Written { value: digits.parse().ok()?, whole: whole.len(), decimals: fraction.len() })
    }
}

/// Are these points of a position, under keys of this sort?
fn proof(axis: Axis, points: &[(Written, Written)]) -> Option<(&'static str, RuleClass)> {
    match axis {
        Axis::Longitude | Axis::Latitude => {
            let good = points.iter().filter(|(a, b)| degrees(a, b) || degrees(b, a)).count();
            (good > 0 && good * 5 >= points.len() * 4).then_some(("axis-table", RuleClass::Structural))
        }
        Axis::SurveyX | Axis::SurveyY => {
            let measured = |w: &Written| w.whole >= 3 && (w.decimals >= 1 || w.whole >= 6);
            let good = points.iter().filter(|(a, b)| measured(a) && measured(b)).count();
            (good > 0 && good * 5 >= points.len() * 4).then_some(("axis-table", RuleClass::Structural))
        }
        Axis::WeakX | Axis::WeakY => local(points).then_some(("local-grid", RuleClass::Heuristic)),
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

/// Points in metres or kilometres of a grid of the city's own: near each other, each its own, measured.
fn local(points: &[(Written, Written)]) -> bool {
    let metres = |w: &Written| w.whole >= 4 && w.decimals >= 2;
    let kilometres = |w: &Written| w.whole >= 2 && w.decimals >= 5;
    let good: Vec<_> = points
        .iter()
        .filter(|(a, b)| (metres(a) && metres(b)) || (kilometres(a) && kilometres(b)))
        .map(|(a, b)| (a.value, b.value))
        .collect();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Option<&'static str> {
        look(text).map(|hit| hit.rule)
    }

    #[test]
    fn a_header_makes_a_local_grid_speak() {
        for text in [
            "点号,X,Y\nJ1,34512.417,51203.882\nJ2,34498.120,51233.004\nJ3,34477.871,51228.690\n",
            "界址点号\tX(m)\tY(m)\nJ1\t3451.41\t5120.88\nJ2\t3449.12\t5123.00\nJ3\t3447.87\t5122.69",
            "| 点 | X | Y |\n|---|---|---|\n| J1 | 34512.417 | 51203.882 |\n| J2 | 34498.120 | 51233.004 |\n| J3 | 34477.871 | 51228.690 |",
            "表一\nX,34512.417,34498.120,34477.871\nY,51203.882,51233.004,51228.690",
            "点,X(km),Y(km)\n1,4851.490419,29546.865276\n2,4851.357613,29546.783929\n3,4851.300001,29546.701122",
        ] {
            assert_eq!(rule(text), Some("local-grid"), "{text}");
        }
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
        ] {
            assert_eq!(rule(text), Some("axis-table"), "{text}");
        }
        assert_eq!(rule("宗地,图幅号\n1,51.50-46.25"), Some("sheet-number"));
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
            "",
            "X\nY",
        ] {
            assert_eq!(rule(text), None, "{text}");
        }
    }
}
