//! A set of numbers as ranges that neither touch nor overlap. Pure; says what changed, so that a table can follow.

use std::collections::BTreeMap;

use protocol::receipt::Range;

/// The set: first to last, both included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges(BTreeMap<u64, u64>);

/// What an insertion did to the rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// Rows, by their first number, that went.
    pub(crate) gone: Vec<u64>,
    /// The row that came or grew; none where everything was there already.
    pub(crate) row: Option<Range>,
}

impl Ranges {
    /// Adds the numbers `from` to `to`.
    pub(crate) fn insert(&mut self, from: u64, to: u64) -> Change {
        let (mut from, mut to) = (from, to.max(from));
        if let Some((_, end)) = self.0.range(..=from).next_back()
            && *end >= to
        {
            return Change::default();
        }
        let mut gone = Vec::new();
        if let Some((start, end)) = self.0.range(..from).next_back().map(|(start, end)| (*start, *end))
            && end.saturating_add(1) >= from
        {
            from = start;
        }
        let touched: Vec<(u64, u64)> =
            self.0.range(from..=to.saturating_add(1)).map(|(start, end)| (*start, *end)).collect();
        for (start, end) in touched {
            to = to.max(end);
            self.0.remove(&start);
            if start != from {
                gone.push(start);
            }
        }
        self.0.insert(from, to);
        Change { gone, row: Some(Range { from, to }) }
    }

    /// Is the number in it?
    pub(crate) fn contains(&self, number: u64) -> bool {
        self.0.range(..=number).next_back().is_some_and(|(_, end)| *end >= number)
    }

    /// The largest number in it.
    pub(crate) fn last(&self) -> Option<u64> {
        self.0.values().next_back().copied()
    }

    /// Ranges.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The ranges, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Range> {
        self.0.iter().map(|(from, to)| Range { from: *from, to: *to })
    }

    /// What of `from..=through` is not in it.
    pub(crate) fn missing(&self, from: u64, through: u64) -> Vec<Range> {
        let mut missing = Vec::new();
        let mut next = from;
        for range in self.iter() {
            if range.from > through {
                break;
            }
            if range.from > next {
                missing.push(Range { from: next, to: range.from - 1 });
            }
            next = next.max(range.to.saturating_add(1));
        }
        if next <= through {
            missing.push(Range { from: next, to: through });
        }
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ranges_and_their_rows_agree_with_a_plain_set_in_any_order() {
        let mut seed = 42_u64;
        let mut draw = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        for _ in 0..200 {
            let (mut ranges, mut set, mut rows) = (Ranges::default(), BTreeSet::new(), BTreeMap::new());
            for _ in 0..40 {
                let from = draw(80) + 1;
                let to = from + draw(4);
                let change = ranges.insert(from, to);
                set.extend(from..=to);
                change.gone.iter().for_each(|gone| assert!(rows.remove(gone).is_some()));
                if let Some(row) = change.row {
                    rows.insert(row.from, row.to);
                }
                assert_eq!(rows, ranges.0);
            }
            for number in 0..100 {
                assert_eq!(ranges.contains(number), set.contains(&number));
            }
            let missing: BTreeSet<u64> = ranges.missing(1, 90).iter().flat_map(|range| range.from..=range.to).collect();
            assert_eq!(missing, (1..=90).filter(|number| !set.contains(number)).collect());
            assert!(ranges.iter().zip(ranges.iter().skip(1)).all(|(a, b)| a.to + 1 < b.from));
        }
    }
}
