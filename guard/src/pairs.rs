//! Numbers that may be positions, and whether they hang together.
//!
//! Money falls into every coordinate range. What separates it is that the corners of a parcel lie within
//! kilometres of each other and prices do not: a run of near neighbours is the evidence, never the range alone.

/// A number as it was written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Number {
    /// Its size without sign.
    pub value: f64,
    /// Digits before the point.
    pub whole: u8,
    /// Digits behind it.
    pub decimals: u8,
    /// Byte offset in the text.
    pub at: usize,
    /// Windows it falls into.
    pub windows: Windows,
}

/// Windows of value that a number falls into, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Windows(u16);

impl Windows {
    const NORTH: u16 = 1;
    const EAST_ZONED: u16 = 2;
    const EAST: u16 = 4;
    const LONGITUDE: u16 = 8;
    const LATITUDE: u16 = 16;
    const DMS_EAST: u16 = 32;
    const DMS_NORTH: u16 = 64;
    const MERCATOR_X: u16 = 128;
    const MERCATOR_Y: u16 = 256;
    const MILLIMETRE_NORTH: u16 = 512;
    const MILLIMETRE_EAST: u16 = 1024;
    const CENTIMETRE_NORTH: u16 = 2048;
    const CENTIMETRE_EAST: u16 = 4096;
    const KILOMETRE_NORTH: u16 = 8192;
    const KILOMETRE_EAST: u16 = 16_384;

    /// No window at all: most numbers.
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn has(self, window: u16) -> bool {
        self.0 & window != 0
    }

    /// Degrees of China, east or north.
    pub(crate) fn is_degrees(self) -> bool {
        self.has(Self::LONGITUDE | Self::LATITUDE)
    }

    /// Metres north on the national grid.
    pub(crate) fn is_northing(self) -> bool {
        self.has(Self::NORTH)
    }

    /// Metres east on it, with the belt or without.
    pub(crate) fn is_easting(self) -> bool {
        self.has(Self::EAST | Self::EAST_ZONED)
    }

    pub(crate) fn is_longitude(self) -> bool {
        self.has(Self::LONGITUDE)
    }

    pub(crate) fn is_latitude(self) -> bool {
        self.has(Self::LATITUDE)
    }

    /// Metres of a national or web grid.
    pub(crate) fn is_grid(self) -> bool {
        self.has(Self::NORTH | Self::EAST_ZONED | Self::EAST | Self::MERCATOR_X | Self::MERCATOR_Y)
    }

    /// Degrees, minutes and seconds packed into one number.
    pub(crate) fn is_packed(self) -> bool {
        self.has(Self::DMS_EAST | Self::DMS_NORTH)
    }

    /// A zoned easting; eight digits whose first two are a belt.
    pub(crate) fn is_zoned(self) -> bool {
        self.has(Self::EAST_ZONED)
    }

    /// The windows of a value with so many decimals.
    pub(crate) fn of(value: f64, whole: u8, decimals: u8) -> Windows {
        let mut bits = 0;
        match whole {
            1..=3 if decimals >= 3 => {
                if (73.0..=135.1).contains(&value) {
                    bits |= Self::LONGITUDE;
                }
                if (3.8..=54.0).contains(&value) {
                    bits |= Self::LATITUDE;
                }
            }
            4 | 5 if decimals >= 5 => {
                if (1_990.982..=5_985.916).contains(&value) {
                    bits |= Self::KILOMETRE_NORTH;
                }
                if is_belt(value, 1e3) {
                    bits |= Self::KILOMETRE_EAST;
                }
            }
            5..=8 => {
                if (1_990_982.0..=5_985_916.0).contains(&value) {
                    bits |= Self::NORTH;
                }
                if (300_000.0..=700_000.0).contains(&value) {
                    bits |= Self::EAST;
                }
                if is_belt(value, 1e6) {
                    bits |= Self::EAST_ZONED;
                }
                if (8_100_000.0..=15_050_000.0).contains(&value) {
                    bits |= Self::MERCATOR_X;
                }
                if (420_000.0..=7_200_000.0).contains(&value) {
                    bits |= Self::MERCATOR_Y;
                }
                let degrees = (value / 1e4).floor();
                let (east, north) = ((73.0..=135.0).contains(&degrees), (3.0..=54.0).contains(&degrees));
                let sexagesimal = || (value / 100.0).floor() % 100.0 < 60.0 && value % 100.0 < 60.0;
                if decimals >= 1 && (east || north) && sexagesimal() {
                    bits |= if east { Self::DMS_EAST } else { Self::DMS_NORTH };
                }
            }
            9..=11 if decimals == 0 => {
                let millimetres = value / 1e3;
                if (1_990_982.0..=5_985_916.0).contains(&millimetres) {
                    bits |= Self::MILLIMETRE_NORTH;
                }
                if is_belt(millimetres, 1e6) || (300_000.0..=700_000.0).contains(&millimetres) {
                    bits |= Self::MILLIMETRE_EAST;
                }
                let centimetres = value / 1e2;
                if (1_990_982.0..=5_985_916.0).contains(&centimetres) {
                    bits |= Self::CENTIMETRE_NORTH;
                }
                if is_belt(centimetres, 1e6) {
                    bits |= Self::CENTIMETRE_EAST;
                }
            }
            _ => {}
        }
        Windows(bits)
    }
}

/// An easting with the number of its belt in front, in a unit of which a belt is so many.
fn is_belt(value: f64, unit: f64) -> bool {
    let belt = (value / unit).floor();
    (13.0..=45.0).contains(&belt) && (0.166..=0.834).contains(&(value / unit - belt))
}

/// A kind of position that two numbers can make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PairKind {
    /// Gauss-Kruger with the belt in front.
    Zoned,
    /// Gauss-Kruger without.
    Plain,
    /// Degrees.
    Degrees,
    /// DDDMMSS.ss.
    Packed,
    /// Gauss-Kruger in millimetres.
    Millimetre,
    /// In centimetres, with the belt.
    Centimetre,
    /// In kilometres, with the belt.
    Kilometre,
    /// Metres of the maps of the web.
    Mercator,
}

impl PairKind {
    pub(crate) const ALL: [PairKind; 8] = [
        PairKind::Zoned,
        PairKind::Plain,
        PairKind::Degrees,
        PairKind::Packed,
        PairKind::Millimetre,
        PairKind::Centimetre,
        PairKind::Kilometre,
        PairKind::Mercator,
    ];

    /// How near two corners of one job are, in the pair's own unit: 3 km, or its like in degrees.
    fn near(self) -> f64 {
        match self {
            PairKind::Zoned | PairKind::Plain | PairKind::Mercator => 3_000.0,
            PairKind::Degrees => 0.03,
            PairKind::Packed => 110.0,
            PairKind::Millimetre => 3_000_000.0,
            PairKind::Centimetre => 300_000.0,
            PairKind::Kilometre => 3.0,
        }
    }

    /// How many neighbours in a row prove it. Fewer decimals need more.
    fn run_needed(self, decimals: u8) -> u32 {
        match (self, decimals) {
            (PairKind::Zoned, 3..) => 1,
            (PairKind::Zoned, _) => 3,
            (PairKind::Plain, 3..) => 2,
            (PairKind::Plain, 1..) => 4,
            (PairKind::Plain, 0) => 12,
            (PairKind::Degrees, 6..) => 1,
            (PairKind::Degrees, 5) => 2,
            (PairKind::Degrees, 4) => 5,
            (PairKind::Degrees, _) => 12,
            (PairKind::Packed, 2..) => 2,
            (PairKind::Packed, _) => 5,
            (PairKind::Millimetre | PairKind::Centimetre, _) => 3,
            (PairKind::Kilometre, _) => 1,
            (PairKind::Mercator, 2..) => 4,
            (PairKind::Mercator, _) => 12,
        }
    }
}

/// What two numbers in a row make, first and second in the order north, east.
pub(crate) fn pair_of(a: &Number, b: &Number) -> Option<(PairKind, f64, f64)> {
    let either = |first: u16, second: u16| {
        if a.windows.has(first) && b.windows.has(second) {
            Some((a.value, b.value))
        } else if a.windows.has(second) && b.windows.has(first) {
            Some((b.value, a.value))
        } else {
            None
        }
    };
    let kinds = [
        (PairKind::Zoned, Windows::NORTH, Windows::EAST_ZONED),
        (PairKind::Plain, Windows::NORTH, Windows::EAST),
        (PairKind::Degrees, Windows::LATITUDE, Windows::LONGITUDE),
        (PairKind::Packed, Windows::DMS_NORTH, Windows::DMS_EAST),
        (PairKind::Millimetre, Windows::MILLIMETRE_NORTH, Windows::MILLIMETRE_EAST),
        (PairKind::Centimetre, Windows::CENTIMETRE_NORTH, Windows::CENTIMETRE_EAST),
        (PairKind::Kilometre, Windows::KILOMETRE_NORTH, Windows::KILOMETRE_EAST),
        (PairKind::Mercator, Windows::MERCATOR_Y, Windows::MERCATOR_X),
    ];
    kinds.into_iter().find_map(|(kind, north, east)| either(north, east).map(|(n, e)| (kind, n, e)))
}

/// Pairs are compared with this many before them: corners follow each other, and other rings may lie between.
const NEIGHBOURS: usize = 6;

/// Two steps that differ by less are the same one, written in decimals.
const SAME: f64 = 1e-6;

/// Decimals of metres that were measured or designed; money has two.
const MILLIMETRES: u8 = 3;

/// Pairs of one kind as they come by.
#[derive(Clone, Debug)]
pub(crate) struct Trail {
    kind: PairKind,
    last: [(f64, f64); NEIGHBOURS],
    filled: usize,
    next: usize,
    run: u32,
    decimals: u8,
    steps: [(f64, f64); 2],
    /// The last step of each axis.
    trend: (f64, f64),
    /// A step went the other way than the one before it.
    turned: bool,
}

impl Trail {
    pub(crate) fn new(kind: PairKind) -> Self {
        Trail {
            kind,
            last: [(0.0, 0.0); NEIGHBOURS],
            filled: 0,
            next: 0,
            run: 0,
            decimals: 0,
            steps: [(0.0, 0.0); 2],
            trend: (0.0, 0.0),
            turned: false,
        }
    }

    /// Neighbours in a row so far.
    pub(crate) fn run(&self) -> u32 {
        self.run
    }

    /// Takes a pair; true when with it the trail is a survey.
    pub(crate) fn take(&mut self, north: f64, east: f64, decimals: u8) -> bool {
        let near = self.kind.near();
        let mut neighbour = false;
        for (n, e) in self.last.iter().take(self.filled) {
            let (dn, de) = ((n - north).abs(), (e - east).abs());
            // The same pair again is a table that repeats a row, not a second corner.
            let distinct = dn > 0.0 && de > 0.0;
            neighbour |= dn < near && de < near && distinct;
        }
        let before = (self.next + NEIGHBOURS - 1) % NEIGHBOURS;
        let (n, e) = self.last.get(before).copied().unwrap_or_default();
        let step = (north - n, east - e);
        let may_be_filled =
            matches!(self.kind, PairKind::Plain | PairKind::Mercator | PairKind::Millimetre | PairKind::Centimetre);
        if may_be_filled && self.filled > 0 && step.0.abs() < SAME && step.1.abs() < SAME {
            // A corner that is written twice, as the end of one line and the start of the next, is no step at all.
            return false;
        }
        let mut is_even = false;
        if matches!(self.kind, PairKind::Millimetre | PairKind::Centimetre) {
            // Whole numbers that grow by the same steps are serial numbers, as no boundary runs so.
            neighbour &= !self.steps.contains(&step);
        }
        if self.kind == PairKind::Mercator || (self.kind == PairKind::Plain && decimals < MILLIMETRES) {
            // So is a table of amounts that somebody filled by a formula. To the millimetre it is none: stakes that are
            // set out from a design stand in even steps.
            let same = |last: &(f64, f64)| (step.0 - last.0).abs() < SAME && (step.1 - last.1).abs() < SAME;
            is_even = self.steps.iter().any(same);
        }
        let [last, _] = self.steps;
        self.steps = [step, last];
        let turns = self.turns(step);
        if neighbour && is_even {
            // It proves nothing, and takes nothing away from what other steps have proved.
        } else if neighbour {
            self.run += 1;
            self.decimals = self.decimals.max(decimals);
            self.turned |= turns;
        } else {
            self.run = 0;
            self.decimals = 0;
            self.turned = false;
        }
        if let Some(slot) = self.last.get_mut(self.next) {
            *slot = (north, east);
        }
        self.next = (self.next + 1) % NEIGHBOURS;
        self.filled = (self.filled + 1).min(NEIGHBOURS);
        let may_be_money = self.kind == PairKind::Mercator || (self.kind == PairKind::Plain && self.decimals < 3);
        self.run > 0 && self.run >= self.kind.run_needed(self.decimals) && (self.turned || !may_be_money)
    }
}

impl Trail {
    /// Does this step go back, on one axis at least? A boundary does; what is paid off and what is left run on and on.
    fn turns(&mut self, step: (f64, f64)) -> bool {
        if step.0.abs() >= self.kind.near() || step.1.abs() >= self.kind.near() {
            self.trend = (0.0, 0.0);
            return false;
        }
        let turns = self.trend.0 * step.0 < 0.0 || self.trend.1 * step.1 < 0.0;
        // Every number is paired with the one before it and the one behind: only one of the two changes at a time.
        for (trend, step) in [(&mut self.trend.0, step.0), (&mut self.trend.1, step.1)] {
            *trend = if step == 0.0 { *trend } else { step };
        }
        turns
    }
}

/// One axis alone: a column or a transposed row of one coordinate. Only values with three decimals speak here.
#[derive(Clone, Debug)]
pub(crate) struct AxisRun {
    last: f64,
    step: f64,
    run: u32,
    distinct: u32,
    fine: u32,
}

/// Eight-digit values with a belt, three decimals and within 3 km of the one before: five in a row are no prices.
const AXIS_RUN_ZONED: u32 = 4;
/// Seven-digit northings have no belt to recognise them by.
const AXIS_RUN_NORTH: u32 = 6;

impl AxisRun {
    pub(crate) fn new() -> Self {
        AxisRun { last: 0.0, step: 0.0, run: 0, distinct: 0, fine: 0 }
    }

    /// Takes a number; true when the run has become an axis.
    pub(crate) fn take(&mut self, number: &Number) -> bool {
        if !number.windows.has(Windows::NORTH | Windows::EAST_ZONED) {
            return false;
        }
        let step = (number.value - self.last).abs();
        self.last = number.value;
        if step >= 3_000.0 {
            (self.run, self.distinct, self.fine) = (0, 0, 0);
            return false;
        }
        // A column that grows by the same whole step was filled by a formula; stakes stand in even steps as well.
        let is_whole = (step - step.round()).abs() < SAME;
        let is_even = (step - self.step).abs() < SAME && (is_whole || number.decimals < MILLIMETRES);
        self.step = step;
        self.run += 1;
        self.distinct += u32::from(step > 0.0 && !is_even);
        self.fine += u32::from(number.decimals >= 3);
        let needed = if number.windows.is_zoned() { AXIS_RUN_ZONED } else { AXIS_RUN_NORTH };
        self.distinct >= needed && self.fine * 2 >= self.run
    }

    /// Takes an easting without belt, for the second row of a transposed table.
    pub(crate) fn take_east(&mut self, number: &Number) {
        if number.windows.has(Windows::EAST) {
            let step = (number.value - self.last).abs();
            self.last = number.value;
            let near = step < 3_000.0;
            self.run = if near { self.run + 1 } else { 0 };
            self.distinct = if near { self.distinct + u32::from(step > 0.0) } else { 0 };
            self.fine = if near { self.fine + u32::from(number.decimals >= 3) } else { 0 };
        }
    }

    /// Three steps to a millimetre: with such a row of the other axis it is a table of points.
    pub(crate) fn is_row(&self) -> bool {
        self.distinct >= 3 && self.fine >= 3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(value: f64, whole: u8, decimals: u8) -> Number {
        Number { value, whole, decimals, at: 0, windows: Windows::of(value, whole, decimals) }
    }

    #[test]
    fn corners_of_a_parcel_hang_together() {
        let mut trail = Trail::new(PairKind::Zoned);
        assert!(!trail.take(4_851_490.419, 29_546_865.276, 3));
        assert!(trail.take(4_851_357.613, 29_546_783.929, 3));
    }

    #[test]
    fn prices_in_the_same_range_do_not() {
        let mut trail = Trail::new(PairKind::Plain);
        for (n, e) in [(2_272_092.39, 341_072.19), (2_680_912.62, 534_297.60), (3_575_022.86, 589_466.69)] {
            assert!(!trail.take(n, e, 2));
        }
    }

    #[test]
    fn what_is_paid_off_and_what_is_left_are_no_boundary() {
        let mut trail = Trail::new(PairKind::Plain);
        for month in 0..60 {
            let paid = 1_234.56 * f64::from(month);
            assert!(!trail.take(2_000_000.0 + paid, 650_000.0 - paid, 2));
        }
    }

    #[test]
    fn a_table_that_was_filled_by_a_formula_is_no_boundary() {
        let mut trail = Trail::new(PairKind::Plain);
        for n in 0..60 {
            assert!(!trail.take(3_000_000.0 + 1_000.5 * f64::from(n), 400_000.0 + 500.25 * f64::from(n), 2));
        }
        // To the millimetre it is a row of stakes, even or not.
        let mut trail = Trail::new(PairKind::Plain);
        let stakes = [0.0, 1.0, 2.0].map(|n| trail.take(3_389_512.4 + 7.2 * n, 512_844.8 + 9.6 * n, 3));
        assert_eq!(stakes, [false, false, true]);
        let mut trail = Trail::new(PairKind::Plain);
        let corners = [(3_000_000.0, 400_000.0), (3_001_000.501, 400_500.25), (3_002_001.0, 401_000.502)];
        assert_eq!(corners.map(|(n, e)| trail.take(n, e, 3)), [false, false, true]);
    }

    #[test]
    fn order_does_not_matter() {
        let (n, e) = (number(5_066_306.57, 7, 2), number(42_550_639.538, 8, 3));
        assert_eq!(pair_of(&n, &e), pair_of(&e, &n));
        assert_eq!(pair_of(&n, &e).map(|p| p.0), Some(PairKind::Zoned));
    }

    #[test]
    fn a_unit_code_is_in_no_window() {
        assert!(Windows::of(650_102_006_046.0, 12, 0).is_empty());
    }
}
