//! A name pattern: `*` for any run of characters, `?` for one. No classes, no escapes, no backtracking beyond one star.

/// Longer patterns are a mistake.
pub(crate) const PATTERN_CHARS_MAX: usize = 200;

/// A pattern that a parcel's name is held against. Letters match without regard to ASCII case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern(Vec<char>);

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|c| write!(f, "{c}"))
    }
}

impl Pattern {
    /// `None`: empty or too long.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let chars: Vec<char> = text.chars().map(|c| c.to_ascii_lowercase()).collect();
        (!chars.is_empty() && chars.len() <= PATTERN_CHARS_MAX).then_some(Pattern(chars))
    }

    /// Does the whole name match? Linear but for the last star: at most pattern times name steps.
    pub(crate) fn matches(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().map(|c| c.to_ascii_lowercase()).collect();
        let (mut p, mut n) = (0, 0);
        let mut star: Option<(usize, usize)> = None;
        while n < name.len() {
            match (self.0.get(p), name.get(n)) {
                (Some('*'), _) => {
                    star = Some((p, n));
                    p += 1;
                }
                (Some('?'), _) => (p, n) = (p + 1, n + 1),
                (Some(a), Some(b)) if a == b => (p, n) = (p + 1, n + 1),
                _ => match star {
                    Some((at, taken)) => {
                        star = Some((at, taken + 1));
                        (p, n) = (at + 1, taken + 1);
                    }
                    None => return false,
                },
            }
        }
        self.0.iter().skip(p).all(|c| *c == '*')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_match() {
        let matches = |p: &str, n: &str| Pattern::new(p).is_some_and(|p| p.matches(n));
        assert!(matches("*", "申请 2024"));
        assert!(matches("Biz*.xml", "biz440106.XML"));
        assert!(matches("a*b*c", "axxbyybzzc"));
        assert!(!matches("a?c", "ac"));
        assert!(!matches("*.xml", "a.xml.exe"));
        assert!(Pattern::new("").is_none());
    }

    #[test]
    fn a_hostile_name_costs_no_time() {
        let pattern = Pattern::new(&"*a".repeat(60)).expect("short enough");
        assert!(!pattern.matches(&"a".repeat(59).chars().chain("b".repeat(5_000).chars()).collect::<String>()));
    }
}
