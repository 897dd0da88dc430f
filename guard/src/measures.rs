//! What stands below the columns of a listed table: a list of names says nothing of values, and corners of a grid of the
//! city's own are as long as areas are. Three things tell them apart. A part is no larger than its whole. Areas and prices
//! have two decimals, a survey three. And rows of a table do not lie beside each other in two columns at once, as corners
//! do. Judges values only, and tells of columns and rows, never of a value.

use std::collections::{BTreeMap, VecDeque};

/// Areas that are parts of 建筑面积. 分摊面积 is not among them: in many a table it is a share of the land.
const PARTS: [&str; 4] = ["套内面积", "套内建筑面积", "专有建筑面积", "分摊建筑面积"];
const WHOLE: &str = "建筑面积";
/// What rounding, or a correction by hand, makes of a part.
const SLACK: f64 = 0.05;
/// A whole from which on one row is enough: a unit of this size is rare, a coordinate of it is not.
const LARGE: f64 = 1_000.0;
/// Below it so many rows are asked for, and this part of all of them: every register has some slips of the pen.
const SLIPS_MIN: usize = 3;
const SLIPS_OF: usize = 10;

/// A measure that may be a coordinate.
const MEASURE_MIN: f64 = 1_000.0;
/// Digits of a survey behind the point.
const FINE_DECIMALS: usize = 3;
/// Areas as large as this may be coordinates that were rounded to the centimetre.
const COARSE_MIN: f64 = 10_000.0;
/// Measures of one row that are looked at in pairs. No office's table has so many that are long and fine.
const FINE_CELLS_MAX: usize = 16;
/// Rows that are held against the next: corners of two parcels may take turns.
const LAST_MAX: usize = 8;

/// Follows the rows of one table.
pub(crate) struct Measures {
    names: Vec<String>,
    whole: Option<usize>,
    parts: Vec<usize>,
    areas: Vec<usize>,
    rows: usize,
    /// Rows in which a part is larger than its whole, and the first of them.
    slips: usize,
    first_slip: Option<String>,
    /// The last points of each pair of columns.
    fine: BTreeMap<(usize, usize), VecDeque<(f64, f64)>>,
    coarse: BTreeMap<(usize, usize), VecDeque<(f64, f64)>>,
}

/// How near to each other, and how many, points of a kind have to be.
struct Nearness {
    /// Of a value, so much is near.
    part: f64,
    metres_max: f64,
    /// Others beside the newest.
    others: usize,
}

/// To the millimetre.
const FINE: Nearness = Nearness { part: 0.1, metres_max: 2_000.0, others: 2 };
/// To the centimetre: four buildings of one size are rarer than three.
const COARSE: Nearness = Nearness { part: 0.02, metres_max: 500.0, others: 3 };

impl Measures {
    pub(crate) fn of(names: &[&str]) -> Measures {
        let at =
            |is: &dyn Fn(&str) -> bool| names.iter().enumerate().filter(|(_, n)| is(n)).map(|(at, _)| at).collect();
        Measures {
            whole: names.iter().position(|name| *name == WHOLE),
            parts: at(&|name| PARTS.contains(&name)),
            areas: at(&|name| name.ends_with("面积")),
            names: names.iter().map(|&name| name.to_owned()).collect(),
            rows: 0,
            slips: 0,
            first_slip: None,
            fine: BTreeMap::new(),
            coarse: BTreeMap::new(),
        }
    }

    /// Takes the next row. What is wrong with it, by the names of its columns.
    pub(crate) fn fault(&mut self, nth: usize, cells: &[&str]) -> Option<String> {
        self.rows += 1;
        let read: Vec<Vec<Measure>> = cells.iter().map(|cell| Measure::all(cell)).collect();
        let told = |what: &str| Some(format!("row {nth}: {what}"));
        let name = |column: usize| self.names.get(column).map_or("", String::as_str);
        let unexplained = |measures: &[Measure]| measures.iter().filter(|m| m.is_long()).skip(1).any(|m| !m.explained);
        if let Some(column) = self.areas.iter().find(|column| read.get(**column).is_some_and(|all| unexplained(all))) {
            return told(&format!("{}, {}", name(*column), name(*column)));
        }
        let single: Vec<Option<Measure>> = read.iter().map(|all| Measure::of_cell(all)).collect();
        let one = |column: usize| single.get(column).copied().flatten();
        if let Some(whole) = self.whole.and_then(one).filter(|whole| whole.value > 0.0) {
            let larger = |part: &&usize| one(**part).is_some_and(|part| part.value > whole.value + SLACK);
            if let Some(part) = self.parts.iter().find(larger) {
                let slip = format!("row {nth}: {} > {WHOLE}", name(*part));
                if whole.value >= LARGE {
                    return Some(slip);
                }
                self.slips += 1;
                self.first_slip.get_or_insert(slip);
            }
        }
        let fine: Vec<(usize, Measure)> = (0..single.len())
            .filter_map(|column| one(column).map(|measure| (column, measure)))
            .filter(|(_, m)| m.value >= MEASURE_MIN && m.decimals >= FINE_DECIMALS)
            .collect();
        if fine.len() > FINE_CELLS_MAX {
            return told("too many measures to the millimetre");
        }
        let is_fine = |a: &Measure, b: &Measure| a.significant.max(b.significant) >= FINE_DECIMALS;
        let within = within(&read, |m| m.value >= MEASURE_MIN && m.decimals >= FINE_DECIMALS);
        let pairs = pairs(&fine).chain(within).filter(|(_, a, b)| is_fine(a, b));
        if let Some((a, b)) = first_near(&mut self.fine, pairs, &FINE) {
            return told(&format!("{}, {}", name(a), name(b)));
        }
        let areas = self.areas.iter().take(FINE_CELLS_MAX);
        let coarse: Vec<(usize, Measure)> = areas
            .filter_map(|column| one(*column).map(|measure| (*column, measure)))
            .filter(|(_, m)| m.value >= COARSE_MIN && m.decimals > 0)
            .collect();
        let within = self::within(&read, |m| m.value >= COARSE_MIN && m.decimals > 0);
        let within = within.filter(|((column, _), ..)| self.areas.contains(column));
        let (a, b) = first_near(&mut self.coarse, self::pairs(&coarse).chain(within), &COARSE)?;
        told(&format!("{}, {}", name(a), name(b)))
    }

    /// What is wrong with all rows together.
    pub(crate) fn fault_of_all(self) -> Option<String> {
        self.first_slip.filter(|_| self.slips >= SLIPS_MIN && self.slips * SLIPS_OF >= self.rows)
    }
}

/// Each cell with each behind it.
fn pairs(cells: &[(usize, Measure)]) -> impl Iterator<Item = ((usize, usize), Measure, Measure)> + '_ {
    cells
        .iter()
        .enumerate()
        .flat_map(|(n, (first, a))| cells.iter().skip(n + 1).map(|(second, b)| ((*first, *second), *a, *b)))
}

/// Two and two numbers of a kind in one cell.
fn within(
    row: &[Vec<Measure>],
    is_one: impl Fn(&Measure) -> bool,
) -> impl Iterator<Item = ((usize, usize), Measure, Measure)> {
    let mut points = Vec::new();
    for (column, cell) in row.iter().enumerate() {
        let long: Vec<Measure> = cell.iter().copied().filter(&is_one).collect();
        points.extend(long.chunks_exact(2).filter_map(|two| match two {
            [a, b] => Some(((column, column), *a, *b)),
            _ => None,
        }));
    }
    points.into_iter()
}

/// The first two columns in which the newest row and some before it are corners.
fn first_near(
    known: &mut BTreeMap<(usize, usize), VecDeque<(f64, f64)>>,
    pairs: impl Iterator<Item = ((usize, usize), Measure, Measure)>,
    nearness: &Nearness,
) -> Option<(usize, usize)> {
    let mut found = None;
    for (columns, a, b) in pairs.filter(|(_, a, b)| (a.value - b.value).abs() > SLACK) {
        let last = known.entry(columns).or_default();
        let newest = (a.value, b.value);
        if last.contains(&newest) {
            continue;
        }
        if are_corners(newest, last, nearness) {
            found = found.or(Some(columns));
        }
        if last.len() == LAST_MAX {
            last.pop_front();
        }
        last.push_back(newest);
    }
    found
}

/// Lie some of the last points near the newest, along both axes and not in one proportion? Units of one building have one
/// share of what they hold in common, and their areas one proportion.
fn are_corners(newest: (f64, f64), last: &VecDeque<(f64, f64)>, nearness: &Nearness) -> bool {
    /// As exact as a proportion of two measures to the millimetre is.
    const PROPORTION: f64 = 2e-6;
    let step = |value: f64| (value * nearness.part).min(nearness.metres_max);
    let near: Vec<(f64, f64)> = last
        .iter()
        .copied()
        .filter(|p| (p.0 - newest.0).abs() <= step(newest.0) && (p.1 - newest.1).abs() <= step(newest.1))
        .collect();
    let moves = |pick: fn(&(f64, f64)) -> f64| near.iter().any(|p| (pick(p) - pick(&newest)).abs() > SLACK);
    let proportion = newest.0 / newest.1;
    let in_proportion = near.iter().all(|p| (p.0 / p.1 / proportion - 1.0).abs() < PROPORTION);
    near.len() >= nearness.others && moves(|p| p.0) && moves(|p| p.1) && !in_proportion
}

/// A number in a cell.
#[derive(Clone, Copy)]
struct Measure {
    value: f64,
    /// Digits behind the point.
    decimals: usize,
    /// Those of them that are not noughts at the end.
    significant: usize,
    /// Between the number before it and this one stands what kind of measure the one or the other is.
    explained: bool,
}

impl Measure {
    fn is_long(&self) -> bool {
        self.value >= MEASURE_MIN && self.decimals > 0
    }

    /// The measure that a cell holds, whatever else is counted or named in it; none where it holds several.
    fn of_cell(all: &[Measure]) -> Option<Measure> {
        let mut long = all.iter().filter(|m| m.is_long());
        match (long.next(), long.next()) {
            (Some(one), None) => Some(*one),
            (Some(_), Some(_)) => None,
            (None, _) => all.iter().copied().max_by(|a, b| a.value.total_cmp(&b.value)),
        }
    }

    /// The numbers of a cell, whatever stands around them: a unit, a sign, a comma between thousands.
    fn all(cell: &str) -> Vec<Measure> {
        /// Of one cell: corners enough to be known by.
        const NUMBERS_MAX: usize = 64;
        const WORDS: [&str; 14] = [
            "面积",
            "其中",
            "地下",
            "地上",
            "阳台",
            "分摊",
            "公摊",
            "专有",
            "㎡",
            "m²",
            "平方米",
            "平米",
            "亩",
            "公顷",
        ];
        let mut all: Vec<Measure> = Vec::new();
        if !cell.chars().any(char::is_numeric) {
            return all;
        }
        let plain: String = cell.chars().map(narrow).collect();
        let mut rest = plain.as_str();
        let mut has_unit = false;
        while let Some((before, from)) =
            rest.find(|c: char| c.is_ascii_digit()).and_then(|at| rest.split_at_checked(at))
        {
            let (measure, behind) = Measure::read(from);
            let (unit, behind) = behind.split_at(unit_of(behind));
            if let Some(measure) = measure {
                let explained = has_unit || WORDS.iter().any(|word| before.contains(word));
                all.push(Measure { explained, ..measure });
            }
            if all.len() == NUMBERS_MAX {
                break;
            }
            (rest, has_unit) = (behind, !unit.is_empty());
        }
        all
    }

    /// The number that a text begins with, and what is behind it. A date with points is none.
    fn read(text: &str) -> (Option<Measure>, &str) {
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let split = |text, at| str::split_at_checked(text, at).unwrap_or((text, ""));
        let (whole, mut rest) = split(text, digits(text));
        let mut written = whole.to_owned();
        while let Some(group) = rest.strip_prefix(',').filter(|group| written.len() <= 3 * 5 && digits(group) == 3) {
            if whole.len() > 3 {
                break;
            }
            let (group, behind) = split(group, 3);
            written.push_str(group);
            rest = behind;
        }
        let mut decimals = 0;
        let mut significant = 0;
        if let Some(fraction) = rest.strip_prefix('.').filter(|fraction| digits(fraction) > 0) {
            let (fraction, behind) = split(fraction, digits(fraction));
            (decimals, significant) = (fraction.len(), fraction.trim_end_matches('0').len());
            written = format!("{written}.{fraction}");
            rest = behind;
            if rest.strip_prefix('.').is_some_and(|more| digits(more) > 0) {
                return (None, rest.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit()));
            }
        }
        if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
            let sign = usize::from(exponent.starts_with(['+', '-']));
            let length = exponent.get(sign..).map_or(0, digits);
            let (exponent, behind) = split(exponent, sign + length);
            if let Some(power) = exponent.parse::<i32>().ok().filter(|_| (1..=3).contains(&length)) {
                written = format!("{written}e{power}");
                let left = |digits: usize| {
                    usize::try_from(i32::try_from(digits).unwrap_or(i32::MAX).saturating_sub(power)).unwrap_or(0)
                };
                (decimals, significant) = (left(decimals), left(significant));
                rest = behind;
            }
        }
        let value = written.parse().ok().filter(|value: &f64| value.is_finite());
        (value.map(|value| Measure { value, decimals, significant, explained: false }), rest)
    }
}

/// How long the unit is that a text begins with, where it has a digit in it: `m2`.
fn unit_of(text: &str) -> usize {
    let unit = text.trim_start();
    if unit.starts_with("m2") || unit.starts_with("M2") { text.len() - unit.len() + 2 } else { 0 }
}

/// A digit or sign of full width as everybody else writes it.
fn narrow(c: char) -> char {
    match u32::from(c).checked_sub(0xFF01) {
        Some(above) if above < 0x5E => char::from_u32(0x21 + above).unwrap_or(c),
        _ => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(table: &str) -> Option<String> {
        let mut rows = table.lines();
        let names: Vec<&str> = rows.next().unwrap_or("").split(';').collect();
        let mut measures = Measures::of(&names);
        for (nth, row) in rows.enumerate() {
            let fault = measures.fault(nth + 2, &row.split(';').collect::<Vec<_>>());
            if fault.is_some() {
                return fault;
            }
        }
        measures.fault_of_all()
    }

    #[test]
    fn corners_below_areas_are_no_areas() {
        for (table, told) in [
            ("序号;建筑面积;套内面积\n1;34512.417;51203.882\n2;34498.120;51233.004", "row 2: 套内面积 > 建筑面积"),
            (
                "序号;建筑面积;套内面积\n1;512.417;803.882\n2;498.120;833.004\n3;477.871;828.690",
                "row 2: 套内面积 > 建筑面积",
            ),
            (
                "建筑面积;套内面积\n51203.882;34512.417\n51233.004;34498.120\n51228.690;34477.871",
                "row 4: 建筑面积, 套内面积",
            ),
            (
                "土地面积;面积\n51203.882;34512.417\n99.1;9\n51233.004㎡;\"34,498.120\"\n72233.004;84498.120\n５１２２８.690;34477.871",
                "row 6: 土地面积, 面积",
            ),
            (
                "抵押金额;债权数额\n51203.882;34512.417\n51233.004;34498.120\n51228.690;34477.871",
                "row 4: 抵押金额, 债权数额",
            ),
            (
                "建筑面积;套内面积\n51203.88;34512.42\n51233.00;34498.12\n51228.69;34477.87\n51190.05;34490.11",
                "row 5: 建筑面积, 套内面积",
            ),
            ("面积\n34512.417 51203.882", "row 2: 面积, 面积"),
            ("土地面积\n\"34512.417,51203.882\"", "row 2: 土地面积, 土地面积"),
            ("面积\nX34512.417Y51203.882", "row 2: 面积, 面积"),
            (
                "业务号;建筑面积;套内面积\n1;34512.417m2;51203.882m2\n2;34498.120m2;51233.004m2",
                "row 2: 套内面积 > 建筑面积",
            ),
            (
                "业务号;土地面积;面积\nA;34512.417 M2;51203.882\nB;34498.120 M2;51233.004\nC;34477.871 M2;51228.690",
                "row 4: 土地面积, 面积",
            ),
            (
                "业务号;土地面积;面积\nA;J1 34512.417;51203.882\nB;J2 34498.120;51233.004\nC;J3 34477.871;51228.690",
                "row 4: 土地面积, 面积",
            ),
            (
                "业务号;土地面积;面积\nA;3.4512417E4;5.1203882E4\nB;3.4498120E4;5.1233004e+04\nC;3.4477871E4;5.1228690E4",
                "row 4: 土地面积, 面积",
            ),
            ("备注\n34512.417 51203.882\n34498.120，51233.004\n34477.871/51228.690", "row 4: 备注, 备注"),
            (
                "备注\n界址点坐标：J1,34512.417,51203.882、J2,34498.120,51233.004、J3,34477.871,51228.690",
                "row 2: 备注, 备注",
            ),
            (
                "面积\n宗地面积34512.417㎡ 面积51203.882\n宗地面积34498.120㎡ 面积51233.004\n34477.871㎡ 51228.690",
                "row 4: 面积, 面积",
            ),
        ] {
            assert_eq!(fault(table).as_deref(), Some(told), "{table}");
        }
    }

    #[test]
    fn tables_of_an_office_are_areas() {
        for table in [
            // 楼盘表：同一楼层，套内在建筑之内
            "房号;建筑面积;套内面积;分摊面积\n101;96.12;80.01;16.11\n102;96.12;80.01;16.11\n103;120.55;100.34;20.21",
            // 厂房
            "房号;建筑面积;套内面积\n1;12034.55;11820.10\n2;8034.50;7820.90\n3;22100.05;21890.11\n4;12050.11;11833.70",
            // 一幢之内分摊系数相同，三位小数
            "房号;建筑面积;套内面积\n1;1203.600;1003.000\n2;1263.780;1053.150\n3;1323.960;1103.300\n4;1264.980;1054.150",
            // 同一宗地的各户
            "宗地面积;建筑面积\n34512.417;96.125\n34512.417;1101.337\n34512.417;1102.115\n34512.417;1103.871",
            // 相等的面积
            "宗地面积;使用权面积\n2846.512;2846.512\n2851.177;2851.177\n2840.330;2840.330",
            "面积;成交价格\n96.12;4280000.50\n96.12;4281000.50\n96.12;4290000.50\n97.01;4285000.50",
            "抵押金额;债权数额\n1200.000000;1180.000000\n1210.500000;1190.500000\n1190.000000;1185.000000",
            // 个别笔误
            "建筑面积;套内面积\n96.12;98.01\n96.12;80.01\n0;80.01\n;80.01\n96.12;96.15\n",
            "面积\n96.12（含阳台 3.20）\n约 1200.55 平方米",
            "面积\n共有宗地面积：12846.50㎡/房屋建筑面积：1196.12㎡\n12034.55（其中地下1003.20）\n12,034.55m2 1,196.12m2",
            "备注\n2026.11.23收件，价格1,280,000.00\n面积96.12，套内80.01\n2026.11.24收件",
            "坐落;建筑面积;分摊面积;宗地面积\n标准厂房1号;1203.50;3541.20;34512.40",
        ] {
            assert_eq!(fault(table), None, "{table}");
        }
        let rows = "96.12;80.01\n".repeat(40);
        let slips = "96.12;98.01\n".repeat(3);
        assert_eq!(fault(&format!("建筑面积;套内面积\n{rows}{slips}")), None, "three slips in a register are slips");
    }
}
