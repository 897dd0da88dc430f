//! Rich text: the characters between the control words, however they are spelt, and the objects inside.

use crate::encoded;
use crate::kind::Kind;
use crate::look::Look;
use crate::octets::{head, length, slice, tail, u32_le};

/// Groups whose content is a file in hexadecimal.
const FILES: [&[u8]; 4] = [b"objdata", b"pict", b"datastore", b"themedata"];
/// Of them, archives that Word writes for itself.
const OWN: [&[u8]; 2] = [b"datastore", b"themedata"];

/// Looks at the text as a reader shows it, and at every object.
pub(crate) fn look(look: &mut Look, bytes: &[u8], at: &str, depth: u8) {
    let mut reader = Rtf { rest: bytes, ..Rtf::default() };
    while reader.step() {}
    reader.flush();
    reader.close_file();
    look.text(&reader.plain, at, depth);
    for file in reader.files {
        if !look.member(file.bytes.len(), at) {
            return;
        }
        let place = format!("{at} (object)");
        if file.is_own {
            look.own_archive(&place, |look| object(look, &file.bytes, &place, depth));
        } else {
            object(look, &file.bytes, &place, depth);
        }
    }
}

struct File {
    bytes: Vec<u8>,
    /// Written by Word for itself.
    is_own: bool,
}

/// version(4) format(4) class(4+n) topic(4+n) item(4+n) size(4) data, or a picture as it is.
fn object(look: &mut Look, bytes: &[u8], at: &str, depth: u8) {
    if Kind::of_magic(bytes).is_some_and(|kind| kind != Kind::Empty) {
        let kind = look.member_file("", bytes, at, depth + 1, true);
        if !kind.is_ingredient() {
            look.stands_inside(kind, at);
        }
        return;
    }
    let mut start = 8_usize;
    for _ in 0..3 {
        let size = u32_le(bytes, start).map_or(0, |size| length(u64::from(size)));
        start = start.saturating_add(4).saturating_add(size);
    }
    if let Some(data) = slice(bytes, start, 4).map(|_| tail(bytes, start.saturating_add(4))) {
        look.raw_text(data, at, depth + 1);
    }
    let native = if start < bytes.len() { tail(bytes, start) } else { bytes };
    if !crate::ole::embedded(look, native, at, depth) {
        crate::buried::look(look, bytes, at, depth);
    }
}

#[derive(Default)]
struct Rtf<'a> {
    rest: &'a [u8],
    plain: String,
    /// Bytes of characters that are not decoded yet.
    pending: Vec<u8>,
    /// How many characters stand for one that is given by its number, in each group around this one.
    substitutes: Vec<usize>,
    substitutes_now: Option<usize>,
    /// Characters that only stand for another.
    skip: usize,
    /// In a file: the number of groups around it.
    file_from: Option<usize>,
    is_own: bool,
    hex: Vec<u8>,
    files: Vec<File>,
}

impl Rtf<'_> {
    /// One character, control word or brace. False: nothing is left.
    fn step(&mut self) -> bool {
        let Some((byte, rest)) = self.rest.split_first() else { return false };
        self.rest = rest;
        match byte {
            b'{' => {
                self.substitutes.push(self.substitutes_now.unwrap_or(1));
                self.skip = 0;
            }
            b'}' => {
                if self.file_from.is_some_and(|groups| self.substitutes.len() <= groups) {
                    self.close_file();
                }
                self.substitutes_now = self.substitutes.pop();
                self.skip = 0;
            }
            b'\\' => self.control(),
            b'\r' | b'\n' => {}
            byte => self.byte(*byte),
        }
        true
    }

    fn byte(&mut self, byte: u8) {
        if self.skip > 0 {
            self.skip -= 1;
        } else if self.file_from == Some(self.substitutes.len()) {
            self.hex.push(byte);
        } else {
            self.pending.push(byte);
        }
    }

    fn control(&mut self) {
        let letters = self.rest.iter().take_while(|b| b.is_ascii_alphabetic()).count();
        if letters == 0 {
            return self.symbol();
        }
        let (word, behind) = self.rest.split_at(letters);
        let sign = usize::from(behind.first() == Some(&b'-'));
        let digits = tail(behind, sign).iter().take_while(|b| b.is_ascii_digit()).take(10).count();
        let number: Option<i64> =
            std::str::from_utf8(head(behind, sign + digits)).ok().filter(|_| digits > 0).and_then(|n| n.parse().ok());
        let behind = tail(behind, if digits > 0 { sign + digits } else { 0 });
        self.rest = behind.strip_prefix(b" ").unwrap_or(behind);
        self.word(word, number);
    }

    fn word(&mut self, word: &[u8], number: Option<i64>) {
        match word {
            b"par" | b"line" | b"row" | b"nestrow" | b"page" | b"sect" => self.separate('\n'),
            b"cell" | b"nestcell" | b"tab" => self.separate('\t'),
            b"uc" => self.substitutes_now = number.and_then(|n| usize::try_from(n).ok()).map(|n| n.min(8)),
            b"u" => {
                // Numbers above 32,767 are written as negative ones.
                let unit = number.map(|n| if n < 0 { n + 65_536 } else { n }).and_then(|n| u32::try_from(n).ok());
                self.flush();
                self.plain.extend(unit.and_then(char::from_u32));
                self.skip = self.substitutes_now.or_else(|| self.substitutes.last().copied()).unwrap_or(1);
            }
            b"bin" => {
                let size = number.and_then(|n| usize::try_from(n).ok()).unwrap_or(0).min(self.rest.len());
                let (file, rest) = self.rest.split_at(size);
                self.files.push(File { bytes: file.to_vec(), is_own: self.file_from.is_some() && self.is_own });
                self.rest = rest;
            }
            _ if FILES.contains(&word) => {
                self.close_file();
                self.file_from = Some(self.substitutes.len());
                self.is_own = OWN.contains(&word);
            }
            _ => {}
        }
    }

    /// `\'hh` is a byte; the rest stand for themselves.
    fn symbol(&mut self) {
        let Some((symbol, rest)) = self.rest.split_first() else { return };
        self.rest = rest;
        match symbol {
            b'\'' => {
                if let Some(byte) = slice(rest, 0, 2).and_then(encoded::decode_hex).and_then(|b| b.first().copied()) {
                    self.rest = tail(rest, 2);
                    self.byte(byte);
                }
            }
            b'\\' | b'{' | b'}' => self.byte(*symbol),
            b'~' => self.byte(b' '),
            b'_' => self.byte(b'-'),
            b'\r' | b'\n' => self.separate('\n'),
            _ => {}
        }
    }

    fn separate(&mut self, separator: char) {
        self.flush();
        self.plain.push(separator);
    }

    /// Bytes are of the code page of the office; a few programs write UTF-8 without saying so.
    fn flush(&mut self) {
        match std::str::from_utf8(&self.pending) {
            Ok(text) => self.plain.push_str(text),
            Err(_) => {
                let (text, _) = encoding_rs::GB18030.decode_without_bom_handling(&self.pending);
                self.plain.push_str(&text);
            }
        }
        self.pending.clear();
    }

    fn close_file(&mut self) {
        self.file_from = None;
        let digits: Vec<u8> = self.hex.drain(..).filter(u8::is_ascii_hexdigit).collect();
        let file = encoded::decode_hex(&digits).unwrap_or_default();
        if !file.is_empty() {
            self.files.push(File { bytes: file, is_own: self.is_own });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        let mut reader = Rtf { rest: text.as_bytes(), ..Rtf::default() };
        while reader.step() {}
        reader.flush();
        reader.plain
    }

    #[test]
    fn characters_come_out_however_they_are_spelt() {
        assert_eq!(plain("{\\rtf1 4\\'38\\u53 ?1\\par\\'bd\\'e7\\{}"), "4851\n界{");
        assert_eq!(plain("{\\uc0\\u52 8{\\uc2\\u53 ab1}\\u-10179 .}"), "4851.");
        assert_eq!(plain("{\\b 48\\b0 51\\cell 2}"), "4851\t2");
    }

    #[test]
    fn what_is_broken_ends_where_it_ends() {
        for broken in ["", "\\", "\\'", "\\'4", "}}}", "\\bin99", "\\u", "\\u99999999999999 ", "{\\*\\objdata 4"] {
            let _ = plain(broken);
        }
    }
}
