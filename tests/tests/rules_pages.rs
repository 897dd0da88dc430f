//! The pages about the rules and the rules themselves: each explains the other, in both languages.

use std::collections::BTreeSet;
use std::fs;

use guard::RuleClass;
use guard::catalogue::{FINDINGS, OBSTACLES};
use tests::programs::repository;

/// Words in the first column of the tables, with the rest of their row.
fn explained(page: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(repository().join("docs").join(page)).expect("the page");
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    rows.flat_map(|row| {
        let (words, rest) = row.trim_start_matches("| ").split_once(" | ").expect("two columns");
        let rest = rest.to_owned();
        words.split('`').skip(1).step_by(2).map(move |word| (word.to_owned(), rest.clone())).collect::<Vec<_>>()
    })
    .collect()
}

#[test]
fn every_rule_stands_in_both_pages_with_its_class_and_no_other_does() {
    for (page, structural, heuristic) in
        [("rules.md", "structural", "heuristic"), ("rules.zh-CN.md", "结构类", "启发类")]
    {
        let rows = explained(page);
        for (rule, class) in FINDINGS {
            let word = if *class == RuleClass::Structural { structural } else { heuristic };
            let row = rows.iter().find(|(known, _)| known == rule);
            assert!(row.is_some_and(|(_, rest)| rest.starts_with(word)), "{page}: {rule} is {word}");
        }
        let all: BTreeSet<&str> = FINDINGS.iter().map(|(rule, _)| *rule).chain(OBSTACLES.iter().copied()).collect();
        let told: BTreeSet<&str> = rows.iter().map(|(rule, _)| rule.as_str()).collect();
        assert_eq!(told, all, "{page}");
        assert_eq!(rows.len(), all.len(), "{page} explains a rule twice");
    }
}

#[test]
fn every_rule_that_the_code_names_is_in_the_catalogue() {
    let source = repository().join("guard/src");
    let mut named = BTreeSet::new();
    for folder in [source.clone(), source.join("pdf")] {
        for entry in fs::read_dir(folder).expect("the guard's source") {
            let path = entry.expect("an entry").path();
            if path.extension().is_none_or(|ending| ending != "rs") {
                continue;
            }
            let text = fs::read_to_string(&path).expect("source");
            for call in ["obstacle(", "finding(", ".hit(", "lone_hit(", "Err(", "unread(", "ok_or(", "Opaque("] {
                for (at, _) in text.match_indices(call) {
                    let behind = text[at + call.len()..].trim_start();
                    let word = behind.strip_prefix('"').and_then(|rest| rest.split_once('"')).map(|(word, _)| word);
                    named.extend(
                        word.filter(|w| w.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'))
                            .map(str::to_owned),
                    );
                }
            }
        }
    }
    assert!(named.len() > 60, "{} words were found in the source", named.len());
    for rule in named {
        assert!(FINDINGS.iter().any(|(known, _)| *known == rule) || OBSTACLES.contains(&rule.as_str()), "{rule}");
    }
}
