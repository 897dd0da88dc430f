//! What should be here and is not: numbers announced, taken and withdrawn, and the ranges between them.
//!
//! ```text
//! announced: next = 8      taken: 1 2 . 4 . . 7      withdrawn: 5      gaps: 3, 6
//! ```

use std::collections::BTreeMap;

use super::beacon::{EPOCHS_MAX, NextNumber};
use crate::receipt::{EpochGaps, GAP_RANGES_MAX, Range};

/// Epochs remembered. A crossing gets a new one when its node is restored or renumbered: a handful in its life.
const EPOCHS_KEPT_MAX: usize = 1_024;

/// Numbers, kept as disjoint half-open ranges that never touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges {
    by_start: BTreeMap<u64, u64>,
}

impl Ranges {
    /// Adds `from..to`.
    pub fn insert(&mut self, mut from: u64, mut to: u64) {
        if from >= to {
            return;
        }
        while let Some((&start, &end)) = self.by_start.range(..=to).next_back() {
            if end < from {
                break;
            }
            self.by_start.remove(&start);
            from = from.min(start);
            to = to.max(end);
        }
        self.by_start.insert(from, to);
    }

    /// Is all of `from..to` here?
    #[must_use]
    pub fn covers(&self, from: u64, to: u64) -> bool {
        from >= to || self.by_start.range(..=from).next_back().is_some_and(|(_, end)| *end >= to)
    }

    /// What of `from..to` is not here, ascending.
    #[must_use]
    pub fn missing(&self, from: u64, to: u64) -> Vec<(u64, u64)> {
        let mut missing = Vec::new();
        let mut at = from;
        for (&start, &end) in &self.by_start {
            if end <= at {
                continue;
            }
            if start >= to {
                break;
            }
            if start > at {
                missing.push((at, start));
            }
            at = end;
        }
        if at < to {
            missing.push((at, to));
        }
        missing
    }

    /// The ranges, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.by_start.iter().map(|(from, to)| (*from, *to))
    }

    /// Numbers in all ranges together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_start.iter().map(|(from, to)| to - from).sum()
    }

    /// How many ranges.
    #[must_use]
    pub fn count(&self) -> usize {
        self.by_start.len()
    }
}

/// The numbers of one crossing, as a receiver knows them. Sequences count from 1.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    epochs: BTreeMap<u64, Epoch>,
}

#[derive(Clone, Debug, Default)]
struct Epoch {
    next: u64,
    settled: Ranges,
}

impl Numbers {
    /// A beacon says: everything below `next` exists. Never goes back.
    pub fn announce(&mut self, number: NextNumber) {
        if let Some(epoch) = self.epoch(number.epoch) {
            epoch.next = epoch.next.max(number.next);
        }
    }

    /// This one came.
    pub fn take(&mut self, epoch: u64, sequence: u64) {
        if let Some(epoch) = self.epoch(epoch) {
            epoch.settled.insert(sequence, sequence.saturating_add(1));
            epoch.next = epoch.next.max(sequence.saturating_add(1));
        }
    }

    /// The sender says these will never come.
    pub fn withdraw(&mut self, gaps: &EpochGaps) {
        if let Some(epoch) = self.epoch(gaps.epoch) {
            for range in &gaps.missing {
                epoch.settled.insert(range.from, range.to.saturating_add(1));
            }
        }
    }

    /// What is missing, by epoch, ascending; at most [`GAP_RANGES_MAX`] ranges, the rest in the next report.
    #[must_use]
    pub fn gaps(&self) -> Vec<EpochGaps> {
        let mut room = GAP_RANGES_MAX;
        let mut gaps = Vec::new();
        for (number, epoch) in &self.epochs {
            let missing: Vec<Range> = epoch
                .settled
                .missing(1, epoch.next)
                .into_iter()
                .take(room)
                .map(|(from, to)| Range { from, to: to - 1 })
                .collect();
            room -= missing.len();
            if !missing.is_empty() {
                gaps.push(EpochGaps { epoch: *number, through: epoch.next - 1, missing });
            }
        }
        gaps
    }

    /// The newest epochs and their next numbers, as a beacon names them.
    #[must_use]
    pub fn next(&self) -> Vec<NextNumber> {
        let newest = self.epochs.iter().rev().take(EPOCHS_MAX);
        newest.map(|(epoch, state)| NextNumber { epoch: *epoch, next: state.next }).collect()
    }

    fn epoch(&mut self, epoch: u64) -> Option<&mut Epoch> {
        if self.epochs.len() >= EPOCHS_KEPT_MAX && !self.epochs.contains_key(&epoch) {
            return None;
        }
        Some(self.epochs.entry(epoch).or_insert_with(|| Epoch { next: 1, settled: Ranges::default() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_merge_and_name_what_is_missing() {
        let mut ranges = Ranges::default();
        for (from, to) in [(10, 20), (30, 40), (20, 25), (5, 11), (50, 50), (24, 30)] {
            ranges.insert(from, to);
        }
        assert_eq!(ranges.iter().collect::<Vec<_>>(), [(5, 40)]);
        assert_eq!(ranges.missing(0, 50), [(0, 5), (40, 50)]);
        assert!(ranges.covers(5, 40) && !ranges.covers(4, 6) && ranges.covers(7, 7));
    }

    #[test]
    fn what_was_announced_and_neither_came_nor_was_withdrawn_is_a_gap() {
        let mut numbers = Numbers::default();
        [1, 2, 4, 7].into_iter().for_each(|sequence| numbers.take(3, sequence));
        numbers.withdraw(&EpochGaps { epoch: 3, through: 7, missing: vec![Range { from: 5, to: 5 }] });
        numbers.announce(NextNumber { epoch: 3, next: 9 });
        numbers.announce(NextNumber { epoch: 3, next: 2 });
        let missing = vec![Range { from: 3, to: 3 }, Range { from: 6, to: 6 }, Range { from: 8, to: 8 }];
        assert_eq!(numbers.gaps(), [EpochGaps { epoch: 3, through: 8, missing }]);
        assert_eq!(numbers.next(), [NextNumber { epoch: 3, next: 9 }]);
    }
}
