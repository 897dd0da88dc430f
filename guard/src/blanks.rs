//! What stands in a message without being listed, because nothing stands in it: shells that a strip leaves, members that
//! software writes as null, comments. None of them has a value, so that none may be one either: all their names together
//! have fewer digits than a point in metres.

use std::collections::HashSet;

use crate::xml::{NATIONAL_ELEMENTS, PICTURE_FIELDS};

/// Digits of one name at most.
const DIGITS_MAX: usize = 4;
/// Digits of all names and comments of one message at most; a point to the metre has ten or more.
const DIGITS_ALL_MAX: usize = 8;
/// Characters of one comment at most.
const TEXT_CHARS_MAX: usize = 256;

/// Counts them over one message.
#[derive(Default)]
pub(crate) struct Blanks {
    /// Those that have digits: what stands there twice says nothing the second time.
    known: HashSet<String>,
    digits: usize,
}

impl Blanks {
    /// May an element, attribute or member of this name stand there empty, beside the others?
    pub(crate) fn take(&mut self, name: &str) -> bool {
        let emptied = NATIONAL_ELEMENTS.contains(&name) || PICTURE_FIELDS.contains(&name);
        emptied || !could_be_a_value(name) && self.counts(name)
    }

    /// May a comment or what is like it stand there, beside the others?
    pub(crate) fn take_text(&mut self, text: &str) -> bool {
        text.chars().count() <= TEXT_CHARS_MAX && self.counts(text)
    }

    fn counts(&mut self, text: &str) -> bool {
        let digits = digits(text);
        if digits > 0 && !self.known.contains(text) {
            self.digits = self.digits.saturating_add(digits);
            if self.digits <= DIGITS_ALL_MAX {
                self.known.insert(text.to_owned());
            }
        }
        self.digits <= DIGITS_ALL_MAX
    }
}

/// A name with so many digits may be a number in disguise.
fn could_be_a_value(name: &str) -> bool {
    digits(name) > DIGITS_MAX
}

/// Digits as anybody writes them.
fn digits(text: &str) -> usize {
    const WRITTEN: &str = "〇零一二三四五六七八九壹贰叁肆伍陆柒捌玖";
    text.chars().filter(|c| c.is_numeric() || WRITTEN.contains(*c)).count()
}
