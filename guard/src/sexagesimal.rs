//! Degrees, minutes and seconds in columns of their own: `121,28,12.5031,31,14,5.2210`, row below row.

use crate::pairs::Number;
use crate::rooms::Rooms;

/// Rows in the same degrees that prove it.
const ROWS: u32 = 3;
/// So many where they lie further apart, and nothing calls them angles.
const ROWS_LOOSE: u32 = 4;

/// What three rows in the same degrees prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    /// Seconds as fine as a survey has them, three decimals or more.
    Fine,
    /// Two decimals, and rows in the same minutes or within [`NEAR_SECONDS`] of the one before, as corners of one parcel are.
    /// Areas of one floor may be.
    Near,
    /// Neither: what stands above has to say so.
    Loose,
}

/// Some 900 m: the next corner of a parcel is hardly further away, whether a whole minute lies between them or not. Another
/// floor or unit is a minute further.
const NEAR_SECONDS: f64 = 30.0;
/// Seconds of a survey.
const FINE_DECIMALS: u8 = 3;

/// Three rows of six numbers that may be corners.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    proof: Proof,
    rows: u32,
    /// Where the numbers of the last row begin.
    parts: [usize; 6],
}

impl Run {
    /// Are they, as far as they and what stands above them say? 层, 单元 and 面积 are numbers as small as those, where their
    /// columns are headed so; in a name of another column and in a sentence such a word says nothing of the six.
    pub(crate) fn are_angles(&self, text: &str, rooms: &mut Rooms) -> bool {
        let Some(last) = self.parts.last() else { return false };
        rooms.read_to(text, *last);
        match self.proof {
            Proof::Fine => true,
            Proof::Near => rooms.are_angles_named(*last) || !rooms.are_above(text, self.parts),
            Proof::Loose => {
                rooms.are_angles_named(*last) || self.rows >= ROWS_LOOSE && !rooms.are_above(text, self.parts)
            }
        }
    }
}

/// Rows of six numbers as they come by.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    parts: [f64; 6],
    places: [usize; 6],
    filled: usize,
    last: [f64; 6],
    run: u32,
    /// Decimals of the seconds of the row that is read.
    decimals: u8,
    /// Has a row of the run fine seconds?
    fine: bool,
    /// Rows of the run until here of which each is near the one before.
    near: u32,
}

impl Rows {
    /// Takes the next number; tells of the rows where with it a third one in the same degrees ends.
    pub(crate) fn take(&mut self, number: &Number) -> Option<Run> {
        let Number { value, decimals, at, .. } = *number;
        if !self.fits(value, decimals) {
            self.filled = 0;
            if !self.fits(value, decimals) {
                return None;
            }
        }
        // A nought at the end may be missing: 5.221 is as fine as 12.5031.
        self.decimals = if self.filled == 0 { 0 } else { self.decimals.max(decimals) };
        if let Some(part) = self.parts.get_mut(self.filled) {
            *part = value;
        }
        if let Some(place) = self.places.get_mut(self.filled) {
            *place = at;
        }
        self.filled += 1;
        if self.filled < self.parts.len() {
            return None;
        }
        self.filled = 0;
        let [north, minutes, seconds, east, other_minutes, others] = self.parts;
        let [north_before, minutes_before, seconds_before, east_before, other_before, others_before] = self.last;
        let same = (north, east) == (north_before, east_before);
        let moved = seconds != seconds_before && others != others_before;
        let goes_on = same && moved;
        self.run = if goes_on { self.run + 1 } else { 1 };
        self.fine = (goes_on && self.fine) || self.decimals >= FINE_DECIMALS;
        let apart = |minutes: f64, seconds: f64| (minutes * 60.0 + seconds).abs();
        let level = (minutes, other_minutes) == (minutes_before, other_before);
        let is_near = level
            || apart(minutes - minutes_before, seconds - seconds_before) <= NEAR_SECONDS
                && apart(other_minutes - other_before, others - others_before) <= NEAR_SECONDS;
        self.near = if goes_on && is_near { self.near + 1 } else { 1 };
        self.last = self.parts;
        let proof = match (self.fine, self.near >= ROWS) {
            (true, _) => Proof::Fine,
            (false, true) => Proof::Near,
            (false, false) => Proof::Loose,
        };
        (self.run >= ROWS).then_some(Run { proof, rows: self.run, parts: self.places })
    }

    /// Can it be the next part of a row?
    fn fits(&self, value: f64, decimals: u8) -> bool {
        let (east, north) = ((73.0..=135.0).contains(&value), (3.0..=53.0).contains(&value));
        match self.filled {
            0 => decimals == 0 && (east || north),
            3 => decimals == 0 && if self.parts[0] >= 73.0 { north } else { east },
            1 | 4 => decimals == 0 && value < 60.0,
            _ => decimals >= 2 && value < 60.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::scan::scan;

    #[test]
    fn corners_to_the_centisecond_are_found_by_their_minutes_or_by_what_stands_above() {
        let level = "121,28,12.50,31,14,5.22\n121,28,13.01,31,14,6.00\n121,28,12.99,31,14,7.11\n";
        let over_a_minute = "121,28,59.50,31,14,59.22\n121,29,3.01,31,15,1.00\n121,28,58.99,31,14,57.11\n";
        let one_far_away = format!("121,28,59.50,31,18,59.22\n{over_a_minute}");
        let loose = "121,28,59.50,31,14,5.22\n121,29,13.01,31,14,6.00\n121,28,52.99,31,13,7.11\n";
        for text in [
            level.to_owned(),
            over_a_minute.to_owned(),
            one_far_away,
            format!("度,分,秒,度,分,秒\n{loose}"),
            format!("界址点\n{loose}"),
            format!("{loose}121,28,12.40,31,13,6.80\n"),
            "<KTF_ZH_YHZK JTYT=\"养殖，38 14 5.22 121 28 12.50；38 14 6.00 121 29 53.01；38 12 7.11 121 29 52.99；38 12 6.80 121 28 12.40\"/>".to_owned(),
        ] {
            assert!(hits(&text), "{text}");
        }
    }

    #[test]
    fn floors_units_and_areas_are_no_angles() {
        let rows = "A,18,1,21.35,98,3,12.50\nA,18,2,22.10,98,1,13.00\nB,18,1,20.15,98,2,12.75\n";
        let same = "A,18,1,21.35,98,3,12.50\nA,18,1,22.10,98,3,13.00\nB,18,1,20.15,98,3,12.75\n";
        for text in [
            rows.to_owned(),
            format!("幢,层,单元,公摊,面积,室,车位\n{rows}"),
            format!("幢,层,单元,公摊,面积,室,车位\n{same}"),
            format!("幢,层,单元,公摊,面积,室,车位\n{}合计,,,,,,\n{same}", rows.repeat(60)),
            format!("幢\t层\t单元\t公摊面积（㎡）\t面积(m2)\t室\t车位\n{}", same.replace(',', "\t")),
        ] {
            assert!(!hits(&text), "{text}");
        }
    }

    #[test]
    fn a_word_of_rooms_excuses_only_the_columns_that_it_heads() {
        let rows = [
            "J1 121 28 12.50 31 14 5.22",
            "J2 121 28 13.01 31 14 6.00",
            "J3 121 28 12.99 31 14 7.11",
            "J4 121 28 12.40 31 14 6.80",
        ];
        let in_a_line = rows.join("；");
        let below = rows.join("\n").replace(' ', ",");
        let plain = rows.map(|row| row.get(3..).unwrap_or("").replace(' ', ",")).join("；");
        for text in [
            format!("不动产单元号,坐落,备注\n652901001001GB00018F00010001,幸福小区1幢1单元101,\"{in_a_line}\"\n"),
            format!("层,单元,公摊,面积,室,车位,备注\n3,1,21.35,98,3,12.50,\"{in_a_line}\"\n"),
            format!("<KTT_ZDJBXX YT=\"071\" BZ=\"宗地面积2846.50；{plain}\"/>"),
            format!("<KTT_ZDJBXX YT=\"071\" BZ=\"共3层。{in_a_line}\"/>"),
            format!("建筑面积,备注,备注,备注,备注,备注,备注\n{below}"),
            format!("不动产单元号,a,b,c,d,e,f\n{below}"),
            format!("号,层,单元,公摊,面积,室,车位\n{below}"),
        ] {
            assert!(hits(&text), "{text}");
        }
    }

    fn hits(text: &str) -> bool {
        !scan(text).hits.is_empty()
    }

    #[test]
    fn corners_in_columns_of_degrees_minutes_and_seconds_are_found() {
        let rows = ["121,28,12.5031,31,14,5.2210", "121,28,13.0172,31,14,6.0023", "121,28,12.9911,31,14,7.1180"];
        for name in ["", "J", "第", "n "] {
            let table: String = rows.iter().enumerate().map(|(n, row)| format!("{name}{n},{row}\n")).collect();
            assert!(hits(&table), "{table}");
            let swapped: String = rows
                .iter()
                .map(|row| format!("{},{}\n", row.get(15..).unwrap_or(""), row.get(..14).unwrap_or("")))
                .collect();
            assert!(hits(&swapped), "{swapped}");
        }
    }

    #[test]
    fn other_tables_of_small_numbers_are_not() {
        for text in [
            "121,28,12.50,31,14,5.22\n121,28,13.01,31,14,6.00\n",
            "121,28,12.50,31,14,5.22\n121,28,12.50,31,14,5.22\n121,28,12.50,31,14,5.22\n",
            "121,28,12.50,31,14,5.22\n98,28,13.01,31,14,6.00\n101,28,12.99,31,14,7.11\n",
            "121,28,12,31,14,5\n121,28,13,31,14,6\n121,28,14,31,14,7\n",
            "121,78,12.50,31,14,5.22\n121,78,13.01,31,14,6.00\n121,78,12.99,31,14,7.11\n",
        ] {
            assert!(!hits(text), "{text}");
        }
    }
}
