//! Degrees, minutes and seconds in columns of their own: `121,28,12.5031,31,14,5.2210`, row below row.

/// Rows in the same degrees that prove it.
const ROWS: u32 = 3;

/// Rows of six numbers as they come by.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    parts: [f64; 6],
    filled: usize,
    last: [f64; 6],
    run: u32,
}

impl Rows {
    /// Takes the next number; true when with it a third row in the same degrees ends.
    pub(crate) fn take(&mut self, value: f64, decimals: u8) -> bool {
        if !self.fits(value, decimals) {
            self.filled = 0;
            if !self.fits(value, decimals) {
                return false;
            }
        }
        if let Some(part) = self.parts.get_mut(self.filled) {
            *part = value;
        }
        self.filled += 1;
        if self.filled < self.parts.len() {
            return false;
        }
        self.filled = 0;
        let [north, _, seconds, east, _, others] = self.parts;
        let [north_before, _, seconds_before, east_before, _, others_before] = self.last;
        let same = (north, east) == (north_before, east_before);
        let moved = seconds != seconds_before && others != others_before;
        self.run = if same && moved { self.run + 1 } else { 1 };
        self.last = self.parts;
        self.run >= ROWS
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
