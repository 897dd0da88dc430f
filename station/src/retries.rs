//! Items that failed, and when each is tried again. One bundle that cannot be dealt with costs its stage a growing pause
//! for that bundle, never a hot loop, and never those behind it.
//!
//! Kept in memory only: a new process tries everything at once, and forgetting a pause loses nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::Timestamp;

use crate::clock::is_due;

/// The pause after the first failure. It doubles with each.
const FIRST_PAUSE_MS: u64 = 2_000;
/// The longest pause: an item that can go on again does so within this.
const PAUSE_MS_MAX: u64 = 10 * 60 * 1000;
/// Failures after which it counts as failing again and again.
const STUBBORN: u32 = 3;
/// Items remembered, some 3 MB. More than this is a broken disk, which stops the stages by itself; what is not
/// remembered is tried with every step.
const ITEMS_MAX: usize = 10_000;
/// Of an error's words, so much is kept to be shown.
const WORDS_CHARS_MAX: usize = 240;

/// Of things that wait for somebody, so many wait at once: more is a neighbour that has gone astray, and what cannot wait
/// is held in quarantine.
const WAITING_MAX: usize = 1_000;

/// What an entry is called, in `complete` and in `checked` alike.
pub(crate) fn item_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// One item that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Where.
    pub stage: &'static str,
    /// How often.
    pub times: u32,
    /// When first.
    pub since: Timestamp,
    /// When last.
    pub at: Timestamp,
    /// What was said last: paths and causes, never content.
    pub words: String,
}

impl Failed {
    /// From the last failure to the next try.
    #[must_use]
    pub fn pause_ms(&self) -> u64 {
        let doubled = FIRST_PAUSE_MS.checked_shl(self.times.saturating_sub(1).min(20));
        doubled.unwrap_or(PAUSE_MS_MAX).min(PAUSE_MS_MAX)
    }

    /// Does it fail again and again?
    #[must_use]
    pub fn is_stubborn(&self) -> bool {
        self.times >= STUBBORN
    }
}

/// What failed in this process, by item: a file's name or a parcel's id.
#[derive(Debug, Default)]
pub struct Retries {
    failed: Mutex<(BTreeMap<String, Failed>, u64)>,
}

impl Retries {
    fn held(&self) -> MutexGuard<'_, (BTreeMap<String, Failed>, u64)> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// May it be tried now?
    #[must_use]
    pub fn is_due(&self, item: &str, now: Timestamp) -> bool {
        self.held().0.get(item).is_none_or(|failed| is_due(now, failed.at, failed.pause_ms()))
    }

    /// It failed.
    pub fn failed(&self, stage: &'static str, item: &str, error: &dyn std::fmt::Display, now: Timestamp) {
        let mut held = self.held();
        held.1 += 1;
        let words: String = error.to_string().chars().take(WORDS_CHARS_MAX).collect();
        if let Some(failed) = held.0.get_mut(item) {
            failed.times = failed.times.saturating_add(1);
            (failed.stage, failed.at, failed.words) = (stage, now, words);
        } else if held.0.len() < ITEMS_MAX {
            held.0.insert(item.to_owned(), Failed { stage, times: 1, since: now, at: now, words });
        }
    }

    /// May it wait for what a person has yet to do?
    #[must_use]
    pub fn may_wait(&self, item: &str) -> bool {
        let held = self.held();
        held.0.len() < WAITING_MAX || held.0.contains_key(item)
    }

    /// How many wait for their next try at a stage.
    #[must_use]
    pub fn waiting_in(&self, stage: &str) -> usize {
        self.held().0.values().filter(|failed| failed.stage == stage).count()
    }

    /// It is dealt with, or gone.
    pub fn done(&self, item: &str) {
        self.held().0.remove(item);
    }

    /// Forgets what a stage does not have any more: somebody took it away by hand.
    pub fn forget(&self, stage: &str, is_there: impl Fn(&str) -> bool) {
        self.held().0.retain(|item, failed| failed.stage != stage || is_there(item));
    }

    /// What waits for its next try, the most stubborn first, at most so many; and how many there are.
    #[must_use]
    pub fn waiting(&self, limit: usize) -> (Vec<(String, Failed)>, usize) {
        let held = self.held();
        let mut rows: Vec<(String, Failed)> =
            held.0.iter().map(|(item, failed)| (item.clone(), failed.clone())).collect();
        drop(held);
        let all = rows.len();
        rows.sort_by_key(|(_, failed)| (std::cmp::Reverse(failed.times), failed.since));
        rows.truncate(limit);
        (rows, all)
    }

    /// One item, where it failed.
    #[must_use]
    pub fn of(&self, item: &str) -> Option<Failed> {
        self.held().0.get(item).cloned()
    }

    /// Does anything fail again and again?
    #[must_use]
    pub fn is_stubborn(&self) -> bool {
        self.held().0.values().any(Failed::is_stubborn)
    }

    /// Failures since the start.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.held().1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_end_with_success() {
        let retries = Retries::default();
        let (mut now, mut pauses) = (Timestamp(1_000_000_000), Vec::new());
        for _ in 0..12 {
            assert!(retries.is_due("a", now));
            retries.failed("admission", "a", &"no", now);
            assert!(!retries.is_due("a", now) && retries.is_due("b", now), "only the one that failed waits");
            let pause = retries.of("a").unwrap().pause_ms();
            assert!(!retries.is_due("a", now.plus_ms(pause - 1)));
            pauses.push(pause);
            now = now.plus_ms(pause);
        }
        assert_eq!(pauses[..4], [2_000, 4_000, 8_000, 16_000]);
        assert_eq!(pauses[11], PAUSE_MS_MAX);
        assert!(retries.is_stubborn());
        retries.forget("intake", |_| false);
        retries.forget("admission", |item| item == "a");
        assert!(retries.is_stubborn(), "it is still there");
        retries.done("a");
        assert!(retries.is_due("a", now) && !retries.is_stubborn());
        assert_eq!(retries.waiting(10), (Vec::new(), 0));
    }

    #[test]
    fn a_clock_that_went_back_by_years_makes_nothing_wait_for_years() {
        let retries = Retries::default();
        retries.failed("admission", "a", &"no", Timestamp(1_795_305_600_000));
        assert!(retries.is_due("a", Timestamp(1_000_000_000_000)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let retries = Retries::default();
        (0..ITEMS_MAX + 50).for_each(|n| retries.failed("admission", &n.to_string(), &"x".repeat(9_000), Timestamp(1)));
        let (rows, all) = retries.waiting(usize::MAX);
        assert_eq!((rows.len(), all), (ITEMS_MAX, ITEMS_MAX));
        assert!(rows.iter().all(|(_, failed)| failed.words.len() == WORDS_CHARS_MAX));
    }
}
