//! The objects of a PDF: numbers, names, strings, arrays, dictionaries. Borrowed from the file where they can be.
//!
//! Knows nothing of streams, references or keys. Bounded in depth and in count; what is beyond is no object.

use std::borrow::Cow;

use crate::octets::tail;

/// Arrays in dictionaries in arrays: a structure tree written out directly has a dozen.
const DEPTH_MAX: u8 = 48;
/// Objects inside one object. An outline of a land file has thousands; more is an attack on memory.
pub(super) const PARTS_MAX: u32 = 400_000;

/// One value.
#[derive(Debug)]
pub(super) enum Object<'a> {
    /// `null`, `true`, `false`, and words nobody knows.
    Word(&'a [u8]),
    Number(f64),
    Name(Cow<'a, [u8]>),
    Text(Vec<u8>),
    Array(Vec<Object<'a>>),
    Dictionary(Dictionary<'a>),
    /// `12 0 R`
    Reference(u32),
}

#[derive(Debug, Default)]
pub(super) struct Dictionary<'a>(pub Vec<(Cow<'a, [u8]>, Object<'a>)>);

impl<'a> Dictionary<'a> {
    pub(super) fn get(&self, key: &[u8]) -> Option<&Object<'a>> {
        self.0.iter().find(|(known, _)| known.as_ref() == key).map(|(_, value)| value)
    }

    pub(super) fn has(&self, key: &[u8]) -> bool {
        self.get(key).is_some()
    }

    /// Is the value of this key this name?
    pub(super) fn is(&self, key: &[u8], name: &[u8]) -> bool {
        matches!(self.get(key), Some(Object::Name(value)) if value.as_ref() == name)
    }

    pub(super) fn number(&self, key: &[u8]) -> Option<f64> {
        match self.get(key)? {
            Object::Number(value) => Some(*value),
            _ => None,
        }
    }

    /// A whole number that may index something.
    pub(super) fn whole(&self, key: &[u8]) -> Option<usize> {
        self.number(key).and_then(whole)
    }

    pub(super) fn text(&self, key: &[u8]) -> Option<&[u8]> {
        match self.get(key)? {
            Object::Text(value) => Some(value),
            _ => None,
        }
    }

    pub(super) fn dictionary(&self, key: &[u8]) -> Option<&Dictionary<'a>> {
        match self.get(key)? {
            Object::Dictionary(value) => Some(value),
            _ => None,
        }
    }
}

/// A number without fraction that is no larger than any file.
pub(super) fn whole(value: f64) -> Option<usize> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range was checked before")]
    ((0.0..1e12).contains(&value) && value.fract() == 0.0).then_some(value as usize)
}

/// Reads objects one after the other.
pub(super) struct Lexer<'a> {
    bytes: &'a [u8],
    pub(super) at: usize,
    left: u32,
}

pub(super) const fn is_space(byte: u8) -> bool {
    matches!(byte, 0 | b'\t' | b'\n' | 0x0C | b'\r' | b' ')
}

pub(super) const fn is_delimiter(byte: u8) -> bool {
    matches!(byte, b'(' | b')' | b'<' | b'>' | b'[' | b']' | b'{' | b'}' | b'/' | b'%')
}

impl<'a> Lexer<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Lexer { bytes, at, left: PARTS_MAX }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// White space and comments.
    pub(super) fn space(&mut self) {
        while let Some(byte) = self.peek() {
            if is_space(byte) {
                self.at += 1;
            } else if byte == b'%' {
                while self.peek().is_some_and(|b| b != b'\n' && b != b'\r') {
                    self.at += 1;
                }
            } else {
                return;
            }
        }
    }

    /// A run of regular characters: a keyword or a number.
    fn regular(&mut self) -> &'a [u8] {
        let start = self.at;
        while self.peek().is_some_and(|b| !is_space(b) && !is_delimiter(b)) {
            self.at += 1;
        }
        self.bytes.get(start..self.at).unwrap_or_default()
    }

    /// Does this keyword stand here? Then it is passed.
    pub(super) fn keyword(&mut self, word: &[u8]) -> bool {
        self.space();
        let here = tail(self.bytes, self.at).starts_with(word)
            && self.bytes.get(self.at + word.len()).is_none_or(|b| is_space(*b) || is_delimiter(*b));
        if here {
            self.at += word.len();
        }
        here
    }

    /// `12 0 obj`: the number and generation.
    pub(super) fn header(&mut self) -> Option<(u32, u32)> {
        let number = self.natural()?;
        let generation = self.natural()?;
        self.space();
        tail(self.bytes, self.at).starts_with(b"obj").then(|| self.at += 3)?;
        Some((number, generation))
    }

    pub(super) fn natural(&mut self) -> Option<u32> {
        self.space();
        let start = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        std::str::from_utf8(self.bytes.get(start..self.at)?).ok()?.parse().ok()
    }

    pub(super) fn object(&mut self) -> Option<Object<'a>> {
        self.value(0)
    }

    fn value(&mut self, depth: u8) -> Option<Object<'a>> {
        self.left = self.left.checked_sub(1)?;
        if depth > DEPTH_MAX {
            return None;
        }
        self.space();
        match self.peek()? {
            b'/' => Some(Object::Name(self.name())),
            b'(' => {
                let (text, used) = literal(tail(self.bytes, self.at + 1));
                self.at += used + 1;
                Some(Object::Text(text))
            }
            b'<' if self.bytes.get(self.at + 1) == Some(&b'<') => {
                self.at += 2;
                self.pairs(depth).map(Object::Dictionary)
            }
            b'<' => {
                self.at += 1;
                let rest = tail(self.bytes, self.at);
                let end = memchr::memchr(b'>', rest)?;
                let digits = rest.get(..end)?;
                self.at += end + 1;
                Some(Object::Text(hex_text(digits)))
            }
            b'[' => {
                self.at += 1;
                let mut items = Vec::new();
                loop {
                    self.space();
                    if self.peek()? == b']' {
                        self.at += 1;
                        return Some(Object::Array(items));
                    }
                    items.push(self.value(depth + 1)?);
                }
            }
            b'+' | b'-' | b'.' | b'0'..=b'9' => self.number(),
            b')' | b'>' | b']' | b'{' | b'}' => None,
            _ => {
                let word = self.regular();
                // The end of an object stands where its value should.
                (!matches!(word, b"endobj" | b"obj" | b"stream" | b"endstream")).then_some(Object::Word(word))
            }
        }
    }

    fn pairs(&mut self, depth: u8) -> Option<Dictionary<'a>> {
        let mut pairs = Vec::new();
        loop {
            self.space();
            match self.peek()? {
                b'>' => {
                    self.at += 1;
                    (self.peek()? == b'>').then(|| self.at += 1)?;
                    return Some(Dictionary(pairs));
                }
                b'/' => {
                    let key = self.name();
                    self.space();
                    // `/Key >>` leaves its value out; old writers do.
                    if self.peek()? == b'>' {
                        pairs.push((key, Object::Word(b"")));
                        continue;
                    }
                    let value = self.value(depth + 1)?;
                    pairs.push((key, value));
                }
                _ => {
                    // Something between the pairs that is no key: passed over as viewers do, but it must be an object.
                    self.value(depth + 1)?;
                }
            }
        }
    }

    /// A name, with `#xx` resolved.
    fn name(&mut self) -> Cow<'a, [u8]> {
        self.at += 1;
        name_of(self.regular())
    }

    /// A number, or a reference `12 0 R`.
    fn number(&mut self) -> Option<Object<'a>> {
        let word = self.regular();
        let text = std::str::from_utf8(word).ok()?;
        let value = text.parse::<f64>().unwrap_or(0.0);
        if !word.iter().all(u8::is_ascii_digit) {
            return Some(Object::Number(value));
        }
        let back = self.at;
        let reference = self.natural().is_some() && self.keyword(b"R");
        if reference {
            return Some(text.parse().map_or(Object::Word(word), Object::Reference));
        }
        self.at = back;
        Some(Object::Number(value))
    }
}

/// What a name says behind its slash, with `#xx` resolved.
pub(super) fn name_of(raw: &[u8]) -> Cow<'_, [u8]> {
    if !raw.contains(&b'#') {
        return Cow::Borrowed(raw);
    }
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let [byte, more @ ..] = rest {
        let hex = (*byte == b'#')
            .then(|| crate::encoded::decode_hex(more.get(..2)?).and_then(|b| b.first().copied()))
            .flatten();
        out.push(hex.unwrap_or(*byte));
        rest = tail(more, if hex.is_some() { 2 } else { 0 });
    }
    Cow::Owned(out)
}

fn hex_text(digits: &[u8]) -> Vec<u8> {
    let mut digits: Vec<u8> = digits.iter().copied().filter(u8::is_ascii_hexdigit).collect();
    if !digits.len().is_multiple_of(2) {
        digits.push(b'0');
    }
    crate::encoded::decode_hex(&digits).unwrap_or_default()
}

/// A literal string behind its bracket, and how many bytes it took.
pub(super) fn literal(bytes: &[u8]) -> (Vec<u8>, usize) {
    let mut out = Vec::new();
    let (mut at, mut open) = (0, 0);
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b')' if open == 0 => break,
            b')' => open -= 1,
            b'(' => open += 1,
            b'\\' => {
                let escaped = bytes.get(at).copied().unwrap_or(b' ');
                at += 1;
                match escaped {
                    b'n' | b'r' => out.push(b'\n'),
                    b't' => out.push(b'\t'),
                    b'b' => out.push(8),
                    b'f' => out.push(12),
                    b'\r' if bytes.get(at) == Some(&b'\n') => at += 1,
                    b'\n' | b'\r' => {}
                    b'0'..=b'7' => {
                        let mut value = u32::from(escaped - b'0');
                        for _ in 0..2 {
                            match bytes.get(at) {
                                Some(d @ b'0'..=b'7') => {
                                    value = value * 8 + u32::from(d - b'0');
                                    at += 1;
                                }
                                _ => break,
                            }
                        }
                        out.push(u8::try_from(value & 0xFF).unwrap_or(0));
                    }
                    other => out.push(other),
                }
                continue;
            }
            _ => {}
        }
        out.push(*byte);
    }
    (out, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<Object<'_>> {
        Lexer::new(text.as_bytes(), 0).object()
    }

    #[test]
    fn an_object_is_read_with_its_escapes() {
        let Some(Object::Dictionary(read)) =
            parse("<< /E#6ecrypt 12 0 R % a comment\n/L[1 -2.5 (a\\051\\(b\\)) <4a4B>] /N null >>")
        else {
            unreachable!("a dictionary")
        };
        assert!(matches!(read.get(b"Encrypt"), Some(Object::Reference(12))));
        let Some(Object::Array(items)) = read.get(b"L") else { unreachable!("an array") };
        assert!(matches!(items.as_slice(), [Object::Number(_), Object::Number(n), Object::Text(a), Object::Text(b)]
            if *n == -2.5 && a == b"a)(b)" && b == b"JK"));
    }

    #[test]
    fn what_is_broken_is_no_object() {
        for bad in ["", "<<", "<</A", "[1 2", "<</A 1>", ">>", "endobj", "<4a", &"[".repeat(5_000), "(", "<< ) >>"] {
            let read = parse(bad);
            assert!(read.is_none() || bad == "(", "{bad:.20}");
        }
    }

    #[test]
    fn an_array_without_end_costs_no_memory() {
        assert!(parse(&format!("[{}]", "1 ".repeat(PARTS_MAX as usize + 10))).is_none());
    }
}
