//! Two people have looked at one file and say that what a heuristic rule found in it is no coordinate. Exactly that rule,
//! on exactly those bytes; everything else about the file is judged as ever.
//!
//! Never of a structural rule, a name (its bytes are not the file's), or a file that could not be looked at in full.

use protocol::Digest;

use crate::detection::Seen;
use crate::examiner::EVIDENCE_MAX;
use crate::finding::{Finding, RuleClass};
use crate::look::NAME_MARK;

/// What two people let pass. Who they are, for which crossing and how long is their node's to check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    /// The rule's code word.
    pub rule: String,
    /// Tree digest of the file, in the office's suite.
    pub digest: Digest,
}

/// Can two people let this finding pass?
#[must_use]
pub fn may_be_excepted(finding: &Finding) -> bool {
    finding.class == RuleClass::Heuristic && !is_in_a_name(finding)
}

/// Takes out of what was seen in a file what is excepted. Returns the rules that were, one for each finding.
pub(crate) fn except(seen: &mut Seen, digest: &Digest, exceptions: &[Exception]) -> Vec<String> {
    // A look keeps so much evidence and no more: behind the last heuristic finding there may have been a structural one.
    let all_is_known = seen.findings.len() < EVIDENCE_MAX && seen.obstacles.is_empty();
    if !all_is_known {
        return Vec::new();
    }
    let mut excepted = Vec::new();
    seen.findings.retain(|finding| {
        let is_excepted =
            may_be_excepted(finding) && exceptions.iter().any(|one| one.rule == finding.rule && one.digest == *digest);
        if is_excepted {
            excepted.push(finding.rule.to_owned());
        }
        !is_excepted
    });
    excepted
}

/// A look writes the offset behind the place: `a.csv (name):0`.
fn is_in_a_name(finding: &Finding) -> bool {
    let place = finding.at.trim_end_matches(|c: char| c.is_ascii_digit());
    place.trim_end_matches(':').ends_with(NAME_MARK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::examine;
    use crate::kind::Kind;

    fn digest(byte: u8) -> Digest {
        Digest::from_slice(&[byte; 32]).expect("32 bytes")
    }

    fn left(findings: Vec<Finding>, obstacles: Vec<Finding>, exceptions: &[Exception]) -> usize {
        let mut seen = Seen {
            kind: Kind::Text,
            findings,
            obstacles,
            signed: false,
            inside: Vec::new(),
            has_written_picture: false,
        };
        let before = seen.findings.len();
        let excepted = except(&mut seen, &digest(1), exceptions);
        assert_eq!(seen.findings.len() + excepted.len(), before);
        seen.findings.len()
    }

    #[test]
    fn exactly_one_rule_on_exactly_one_file_and_never_a_structural_one() {
        let of = |rule: &str, byte| Exception { rule: rule.to_owned(), digest: digest(byte) };
        let found = |rule, class, at: &str| Finding::new(rule, class, at.to_owned(), "");
        let heuristic = || vec![found("precise-pair", RuleClass::Heuristic, "a.csv:1")];
        assert_eq!(left(heuristic(), vec![], &[of("precise-pair", 1)]), 0);
        for other in [of("precise-pair", 2), of("axis-column", 1)] {
            assert_eq!(left(heuristic(), vec![], &[other]), 1);
        }
        let structural = vec![found("axis-pair", RuleClass::Structural, "a.csv:1")];
        assert_eq!(left(structural, vec![], &[of("axis-pair", 1)]), 1);
        let name = || examine("4851490.419 29546865.276.csv", b"a,b\n", &[]).findings;
        assert!(!name().is_empty());
        assert_eq!(left(name(), vec![], &[of("precise-pair", 1)]), name().len(), "a name is not of the file's bytes");
        let unread = vec![found("encrypted", RuleClass::Structural, "a.csv")];
        assert_eq!(left(heuristic(), unread, &[of("precise-pair", 1)]), 1, "part of it was not looked at");
        let many = vec![found("precise-pair", RuleClass::Heuristic, "a.csv:1"); EVIDENCE_MAX];
        assert_eq!(left(many, vec![], &[of("precise-pair", 1)]), EVIDENCE_MAX, "there may have been more, and other");
    }
}
