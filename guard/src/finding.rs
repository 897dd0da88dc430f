//! What was found and where. Evidence stays in its zone: `Debug` never prints the sample, and the sample is masked.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

/// Characters of a sample that are kept at most; enough to recognise the line, too little to rebuild a parcel.
const SAMPLE_CHARS_MAX: usize = 40;

/// May anybody except it?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RuleClass {
    /// A known element, a geometry format, a coordinate key with its value, a CRS: nobody can except it outward.
    Structural,
    /// Number ranges and coherence: two people may except one file for a while.
    Heuristic,
}

impl RuleClass {
    /// The code word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            RuleClass::Structural => "structural",
            RuleClass::Heuristic => "heuristic",
        }
    }
}

/// A code word of the guard's own, such as a rule's name.
pub type Word = &'static str;

/// One reason why content is not clean.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The rule's code word, such as `national-element` or `encrypted`.
    #[serde(deserialize_with = "known_word")]
    pub rule: Word,
    /// Its class.
    pub class: RuleClass,
    /// Path inside containers, then offset, element or cell.
    pub at: String,
    /// What stood there, masked.
    pub sample: String,
}

impl Finding {
    /// A finding whose sample is masked here, so that no caller can forget to.
    pub(crate) fn new(rule: &'static str, class: RuleClass, at: String, sample: &str) -> Self {
        debug_assert!(crate::catalogue::is_known(rule, class), "rule {rule} is not in the catalogue");
        Finding { rule, class, at, sample: masked(sample) }
    }
}

impl fmt::Debug for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Finding").field("rule", &self.rule).field("class", &self.class).finish_non_exhaustive()
    }
}

/// A code word out of an examiner's answer: one of the catalogue's, and nothing of what was said is kept. An examiner
/// that lost its mind cannot fill the memory here, nor take the place of a word that another needs.
pub(crate) fn known_word<'de, D: Deserializer<'de>>(answer: D) -> Result<Word, D::Error> {
    let text = String::deserialize(answer)?;
    crate::catalogue::word(&text).ok_or_else(|| serde::de::Error::custom("no code word"))
}

/// Keeps the first two digits and the last of every run of digits; the rest become `#`.
fn masked(sample: &str) -> String {
    let chars: Vec<char> =
        sample.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SAMPLE_CHARS_MAX).collect();
    let digits = chars.iter().filter(|c| c.is_numeric()).count();
    let mut seen = 0;
    chars
        .into_iter()
        .map(|c| {
            if !c.is_numeric() {
                return c;
            }
            seen += 1;
            if seen <= 2 || seen == digits { c } else { '#' }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_keeps_two_digits_and_the_last() {
        assert_eq!(masked("X=4851490.4193"), "X=48#####.###3");
    }

    #[test]
    fn only_words_of_the_catalogue_are_taken_from_an_answer() {
        let answer = |rule: &str| format!(r#"{{"rule":"{rule}","class":"Structural","at":"a","sample":""}}"#);
        let read: Finding = serde_json::from_str(&answer("encrypted")).expect("a rule of ours");
        assert_eq!(read.rule, "encrypted");
        for n in 0..2_000 {
            assert!(serde_json::from_str::<Finding>(&answer(&format!("rubbish-{n}"))).is_err());
        }
        assert!(serde_json::from_str::<Finding>(&answer("unknown-kind")).is_ok(), "rubbish took no place");
    }

    #[test]
    fn debug_does_not_print_the_sample() {
        let finding = Finding::new("precise-pair", RuleClass::Heuristic, "a.csv:1".into(), "113.5, 23.1");
        let shown = format!("{finding:?}");
        assert!(!shown.contains("113") && !shown.contains("a.csv"), "{shown}");
    }
}
