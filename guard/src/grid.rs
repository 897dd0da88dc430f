//! Which cells of a grid carry coordinates. A workbook's sheet is one; a letter is one too: a paragraph is a row of one
//! cell, a row of a table a row of several.
//!
//! Whatever the detector finds goes: in a cell, in a row, in the whole. With it goes what stands beside it and could be
//! the other half, and every number anywhere that lies near it: the tail of a list is too short to be found by itself.
//! Takes too much rather than too little, and never says that the rest is clean; another looks at the result.

use std::collections::BTreeSet;

use crate::look::Look;
use crate::pairs::Windows;
use crate::{scan, table};

/// Row and column.
pub(crate) type Place = (usize, usize);

/// Header rows whose columns are followed; a workbook has a few dozen tables.
const HEADERS_MAX: usize = 64;
/// Times that the whole is looked at again. Each takes something away; a grid that needs more is refused.
const ROUNDS_MAX: usize = 48;
/// Rows above and below a hit in which the other axis may stand: a letter writes X and Y below each other.
const OTHER_AXIS_ROWS: usize = 2;

/// The places that must be emptied, and nothing else; `None` where the detector is not satisfied by any of that.
pub(crate) fn condemned(rows: &[Vec<String>]) -> Option<BTreeSet<Place>> {
    let mut search = Search { rows, gone: BTreeSet::new(), found: Vec::new() };
    search.keys();
    search.cells();
    search.lines();
    for _ in 0..ROUNDS_MAX {
        search.neighbours();
        if !search.whole()? {
            return Some(search.gone);
        }
    }
    None
}

struct Search<'a> {
    rows: &'a [Vec<String>],
    gone: BTreeSet<Place>,
    /// Numbers that went.
    found: Vec<Written>,
}

impl Search<'_> {
    fn cell(&self, (row, column): Place) -> &str {
        if self.gone.contains(&(row, column)) {
            return "";
        }
        self.rows.get(row).and_then(|cells| cells.get(column)).map_or("", String::as_str)
    }

    /// False: there was nothing to take.
    fn take(&mut self, place: Place) -> bool {
        let text = self.cell(place);
        if text.is_empty() {
            return false;
        }
        let numbers: Vec<Written> = written(text).filter(Written::is_measured).collect();
        self.found.extend(numbers);
        self.gone.insert(place)
    }

    fn columns(&self, row: usize) -> std::ops::Range<usize> {
        0..self.rows.get(row).map_or(0, Vec::len)
    }

    /// Takes the cells of a row that could be part of a position.
    fn take_suspects(&mut self, row: usize) -> bool {
        let mut any = false;
        for column in self.columns(row) {
            if written(self.cell((row, column))).any(|number| number.is_suspect()) {
                any |= self.take((row, column));
            }
        }
        any
    }

    /// Columns and rows whose key names an axis or a map sheet.
    fn keys(&mut self) {
        let mut left = HEADERS_MAX;
        for (row, cells) in self.rows.iter().enumerate() {
            let positions = position_columns(cells);
            let mut header = false;
            for (column, cell) in cells.iter().enumerate() {
                if !positions.contains(&column) {
                    continue;
                }
                header = true;
                let key = table::key_of(cell);
                let beside = column + 1..cells.len();
                let below = row + 1..self.rows.len();
                let before = self.gone.len();
                for place in beside.map(|column| (row, column)).chain(below.map(|row| (row, column))) {
                    if crate::strip::rule_for(key, self.cell(place)).is_some() {
                        self.take(place);
                    }
                }
                // A key without its values would claim whatever stands beside them.
                if self.gone.len() > before {
                    self.take((row, column));
                }
            }
            left -= usize::from(header);
            if left == 0 {
                return;
            }
        }
    }

    /// Cells that are found by themselves, and whatever is encoded in them.
    fn cells(&mut self) {
        for row in 0..self.rows.len() {
            for column in self.columns(row) {
                if !is_clear(self.cell((row, column))) {
                    self.take((row, column));
                    self.take_suspects(row);
                }
            }
        }
    }

    /// Rows that are found by themselves.
    fn lines(&mut self) {
        for row in 0..self.rows.len() {
            if self.columns(row).len() < 2 || is_clear(&self.line(row)) {
                continue;
            }
            if !self.take_suspects(row) {
                for column in self.columns(row) {
                    if self.cell((row, column)).bytes().any(|b| b.is_ascii_digit()) {
                        self.take((row, column));
                    }
                }
            }
        }
    }

    fn line(&self, row: usize) -> String {
        let cells: Vec<&str> = self.columns(row).map(|column| self.cell((row, column))).collect();
        cells.join("\t")
    }

    /// Numbers that lie near one that went.
    fn neighbours(&mut self) {
        let mut known = 0;
        while known < self.found.len() {
            known = self.found.len();
            let mut found = self.found.clone();
            found.sort_by(|a, b| a.value.total_cmp(&b.value));
            for row in 0..self.rows.len() {
                for column in self.columns(row) {
                    if written(self.cell((row, column))).any(|number| number.is_near_any(&found)) {
                        self.take((row, column));
                    }
                }
            }
            self.found.dedup_by(|a, b| a.value.total_cmp(&b.value).is_eq());
        }
    }

    /// Looks at everything together and takes what is found. True: something was; `None`: and could not be taken.
    fn whole(&mut self) -> Option<bool> {
        let (mut text, mut starts) = (String::new(), Vec::new());
        for row in 0..self.rows.len() {
            for column in self.columns(row) {
                starts.push((text.len(), (row, column)));
                text.push_str(self.cell((row, column)));
                text.push('\t');
            }
            text.push('\n');
        }
        let place_of = |at: usize| {
            let after = starts.partition_point(|(start, _)| *start <= at);
            starts.get(after.checked_sub(1)?).map(|(_, place)| *place)
        };
        let hits: Vec<Place> = scan::scan(&text).hits.iter().filter_map(|hit| place_of(hit.at)).collect();
        let tables: Vec<Place> = table::look(&text).into_iter().filter_map(|hit| place_of(hit.at)).collect();
        if hits.is_empty() && tables.is_empty() {
            return if is_clear(&text) { Some(false) } else { None };
        }
        let before = self.gone.len();
        for (row, column) in hits {
            self.take((row, column));
            for row in row.saturating_sub(OTHER_AXIS_ROWS)..=row + OTHER_AXIS_ROWS {
                self.take_suspects(row);
            }
        }
        for (row, _) in tables {
            self.take_table(row);
        }
        (self.gone.len() > before).then_some(true)
    }

    /// Under a row of keys, or beside a key at the head of the row.
    fn take_table(&mut self, header: usize) {
        let Some(cells) = self.rows.get(header) else { return };
        let is_number = |text: &str| written(text).next().is_some();
        let keys = position_columns(cells);
        for column in &keys {
            self.take((header, *column));
            for row in header + 1..self.rows.len() {
                if is_number(self.cell((row, *column))) {
                    self.take((row, *column));
                }
            }
        }
        let first =
            |row: &Vec<String>| row.iter().find(|cell| !cell.is_empty()).is_some_and(|c| table::is_position_key(c));
        for row in header.saturating_sub(OTHER_AXIS_ROWS)..=header {
            if self.rows.get(row).is_some_and(first) {
                for column in self.columns(row) {
                    if is_number(self.cell((row, column))) {
                        self.take((row, column));
                    }
                }
            }
        }
    }
}

/// Nothing found, and nothing that could not be looked at.
fn is_clear(text: &str) -> bool {
    if text.is_empty() {
        return true;
    }
    let mut look = Look::new();
    look.text(text, "", 0);
    look.findings.is_empty() && look.obstacles.is_empty()
}

/// A number as it is written.
#[derive(Clone, Copy)]
struct Written {
    value: f64,
    whole: u8,
    decimals: u8,
}

impl Written {
    fn is_suspect(&self) -> bool {
        self.decimals >= 3 || !Windows::of(self.value, self.whole, self.decimals).is_empty()
    }

    /// Large or fine enough that what lies near it is no coincidence.
    fn is_measured(&self) -> bool {
        (self.whole >= 6 && self.is_suspect()) || (self.whole >= 4 && self.decimals >= 2) || self.decimals >= 3
    }

    /// How far away the next corner of the same job lies, in the unit that the number seems to be in.
    fn reach(&self) -> f64 {
        match self.whole {
            0..=3 => 0.5,
            4 | 5 if self.decimals >= 5 => 20.0,
            4..=8 => 20_000.0,
            _ => 2e7,
        }
    }

    fn is_near_any(&self, sorted: &[Written]) -> bool {
        let from = sorted.partition_point(|other| other.value < self.value - self.reach());
        let until = self.value + self.reach();
        self.is_measured()
            && sorted.iter().skip(from).take_while(|o| o.value <= until).any(|other| other.whole == self.whole)
    }
}

/// Every number of a text, in its order: digits, perhaps a point and more digits. Full-width digits count as digits.
fn written(text: &str) -> impl Iterator<Item = Written> {
    let narrow = crate::text::narrowed(text).unwrap_or_else(|| text.to_owned());
    let runs: Vec<Written> = narrow
        .split(|c: char| !c.is_ascii_digit() && c != '.')
        .filter_map(|run| {
            let run = run.trim_matches('.');
            let (whole, fraction) = run.split_once('.').unwrap_or((run, ""));
            let size = |s: &str| u8::try_from(s.len().min(20)).unwrap_or(20);
            Some(Written { value: run.parse().ok()?, whole: size(whole), decimals: size(fraction) })
        })
        .collect();
    runs.into_iter()
}

/// The columns of a header that hold a position or a part of one.
fn position_columns(cells: &[String]) -> Vec<usize> {
    let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
    let goes = table::position_columns(&cells);
    goes.iter().enumerate().filter(|(_, goes)| **goes).map(|(column, _)| column).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<Vec<String>> {
        text.lines().map(|line| line.split('|').map(str::to_owned).collect()).collect()
    }

    /// The grid with `-` for what was taken.
    fn emptied(text: &str) -> Option<String> {
        let rows = rows(text);
        let gone = condemned(&rows)?;
        let lines = rows.iter().enumerate().map(|(row, cells)| {
            let cell = |(column, cell): (usize, &String)| {
                if gone.contains(&(row, column)) { "-".to_owned() } else { cell.clone() }
            };
            cells.iter().enumerate().map(cell).collect::<Vec<_>>().join("|")
        });
        Some(lines.collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn a_table_of_rooms_loses_nothing() {
        for text in [
            "房号|建筑面积|单价|总价\n101|112.38|7697.10|865000.08\n102|98.20|7700.00|756140.00",
            "姓名|份额|证件号\n张三|50|11010119900307721X\n李四|50|110101199003077213",
            "情况说明\n建筑面积 112.38 平方米，套内面积 96.20 平方米。",
            "",
        ] {
            assert_eq!(emptied(text).as_deref(), Some(text), "{text}");
        }
    }

    #[test]
    fn columns_of_axes_are_emptied_and_the_rest_stays() {
        assert_eq!(
            emptied("宗地|X坐标|Y坐标|面积\n1|4563112.347|40512233.118|112.38\n2|4563150.001|40512270.500|98.20")
                .as_deref(),
            Some("宗地|-|-|面积\n1|-|-|112.38\n2|-|-|98.20")
        );
        assert_eq!(
            emptied("点号|X|Y|备注\nJ1|34512.417|51203.882|甲\nJ2|34498.120|51233.004|乙\nJ3|34477.871|51228.690|丙")
                .as_deref(),
            Some("点号|-|-|备注\nJ1|-|-|甲\nJ2|-|-|乙\nJ3|-|-|丙")
        );
    }

    #[test]
    fn the_tail_of_a_list_goes_with_its_head() {
        let text = "J1|5066306.570|42550639.538|26.30\nJ2|5066268.616|42550627.972|50.96\n说明\nJ3|5066256.538|-\n甲|42550634.38";
        assert_eq!(emptied(text).as_deref(), Some("J1|-|-|26.30\nJ2|-|-|50.96\n说明\nJ3|-|-\n甲|-"));
    }

    #[test]
    fn a_sentence_with_a_corner_goes_whole_and_so_does_its_other_half() {
        assert_eq!(
            emptied("委托书\n界址点 J1 4563112.347 40512233.118\n2026年11月21日").as_deref(),
            Some("委托书\n-\n2026年11月21日")
        );
        assert_eq!(
            emptied("北坐标：4563112.347\n东坐标：40512233.118\n面积 112.38").as_deref(),
            Some("-\n-\n面积 112.38")
        );
        assert_eq!(emptied("位于东经113度19分0.51秒，北纬23度7分55.53秒。\n甲").as_deref(), Some("-\n甲"));
    }
}
