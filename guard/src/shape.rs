//! The shapes of a list of words: first letter, last letter, length. Nearly every word of a text has another shape than
//! all of a list, and needs not be compared with any.

/// Lengths, as bits, by the first and the last letter; a letter is the same in either case.
pub(crate) struct Shapes([[u32; 32]; 32]);

const fn letter(byte: u8) -> usize {
    (byte & 0x1F) as usize
}

impl Shapes {
    pub(crate) const fn new() -> Shapes {
        Shapes([[0; 32]; 32])
    }

    /// The same with one word more, of at most 31 bytes of ASCII.
    pub(crate) const fn with(mut self, word: &str) -> Shapes {
        let word = word.as_bytes();
        self.0[letter(word[0])][letter(word[word.len() - 1])] |= 1 << word.len();
        self
    }

    /// May this word, in whatever case, be one of the list?
    pub(crate) fn fit(&self, word: &[u8]) -> bool {
        let (Some(first), Some(last)) = (word.first(), word.last()) else { return false };
        let lengths = self.0.get(letter(*first)).and_then(|row| row.get(letter(*last))).copied().unwrap_or_default();
        word.len() < 32 && lengths & (1 << word.len()) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::Shapes;

    const LIST: Shapes = Shapes::new().with("z").with("lat").with("x_coord");

    #[test]
    fn every_word_of_a_list_fits_in_any_case_and_others_do_not() {
        assert!(["z", "Z", "lat", "LAT", "lot", "X_coord"].iter().all(|word| LIST.fit(word.as_bytes())));
        assert!(["", "a", "zz", "late", "x_coorD_", "Lat7", "\u{4e00}"].iter().all(|word| !LIST.fit(word.as_bytes())));
        assert!(!LIST.fit(&[b'l'; 64]));
    }
}
