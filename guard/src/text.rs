//! A text: how its bytes decode, and every way in which numbers hide inside it.
//!
//! Looked at as it stands, without escapes, without full-width forms and spaces between digits, and with the
//! base64 and hex runs inside it decoded.

use std::borrow::Cow;

use crate::octets::head;

/// Characters that are neither printable nor white space, in a thousand, above which bytes are no text.
const STRANGE_PERMILLE_MAX: usize = 10;

/// Decodes bytes that look like text: UTF-8, UTF-16, UTF-32 or GB18030. `None`: these bytes are no text.
pub(crate) fn decode(bytes: &[u8]) -> Option<Cow<'_, str>> {
    if let Some(wide) = decode_wide(bytes) {
        return Some(Cow::Owned(wide));
    }
    let body = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    if let Ok(text) = std::str::from_utf8(body) {
        return is_text(text.as_bytes()).then_some(Cow::Borrowed(text));
    }
    if !is_text(body) {
        return None;
    }
    let (text, _) = encoding_rs::GB18030.decode_without_bom_handling(body);
    // Latin-1 and Big5 land here too; digits and ASCII keys come out the same, and the rest only has to be words.
    Some(Cow::Owned(text.into_owned()))
}

/// Control bytes betray what is no text; a few are allowed, as old exports end in 0x1A.
fn is_text(bytes: &[u8]) -> bool {
    let sample = head(bytes, 65_536);
    let strange =
        sample.iter().filter(|b| **b < 0x20 && !matches!(**b, b'\t' | b'\n' | b'\r' | 0x0C | 0x1A | 0x1B)).count();
    strange * 1000 <= sample.len() * STRANGE_PERMILLE_MAX
}

fn decode_wide(bytes: &[u8]) -> Option<String> {
    let utf16 = |encoding: &'static encoding_rs::Encoding, body: &[u8]| {
        let (text, _) = encoding.decode_without_bom_handling(body);
        Some(text.into_owned())
    };
    match bytes {
        [0xFF, 0xFE, 0, 0, body @ ..] => utf32(body, u32::from_le_bytes),
        [0, 0, 0xFE, 0xFF, body @ ..] => utf32(body, u32::from_be_bytes),
        [0xFF, 0xFE, body @ ..] => utf16(encoding_rs::UTF_16LE, body),
        [0xFE, 0xFF, body @ ..] => utf16(encoding_rs::UTF_16BE, body),
        _ => {
            // Without a mark: every second byte zero is Latin text in UTF-16, three of four in UTF-32.
            let sample = head(bytes, 512);
            if sample.len() < 8 || !sample.len().is_multiple_of(2) {
                return None;
            }
            let zeros = |phase: usize, step: usize| {
                let (all, zero) =
                    sample.iter().skip(phase).step_by(step).fold((0, 0), |(n, z), b| (n + 1, z + usize::from(*b == 0)));
                all > 0 && zero * 10 >= all * 6
            };
            let printable = |phase: usize, step: usize| {
                sample
                    .iter()
                    .skip(phase)
                    .step_by(step)
                    .filter(|b| b.is_ascii_graphic() || b.is_ascii_whitespace())
                    .count()
                    * 2
                    * step
                    >= sample.len()
            };
            match (zeros(0, 2), zeros(1, 2)) {
                (_, true) if zeros(2, 4) && zeros(3, 4) && printable(0, 4) => utf32(bytes, u32::from_le_bytes),
                (true, _) if zeros(0, 4) && zeros(1, 4) && printable(3, 4) => utf32(bytes, u32::from_be_bytes),
                (false, true) if printable(0, 2) => utf16(encoding_rs::UTF_16LE, bytes),
                (true, false) if printable(1, 2) => utf16(encoding_rs::UTF_16BE, bytes),
                _ => None,
            }
        }
    }
}

fn utf32(body: &[u8], read: fn([u8; 4]) -> u32) -> Option<String> {
    let (words, rest) = body.as_chunks::<4>();
    if !rest.is_empty() {
        return None;
    }
    words.iter().map(|w| char::from_u32(read(*w))).collect()
}

/// Full-width forms to ASCII and Chinese numerals to digits, if there are any worth it.
pub(crate) fn narrowed(text: &str) -> Option<String> {
    let wide = memchr::memmem::find_iter(text.as_bytes(), b"\xEF\xBC")
        .any(|at| matches!(text.as_bytes().get(at + 2), Some(0x90..=0x99)));
    let numerals = has_numeral_run(text);
    if !wide && !numerals {
        return None;
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let c = match c {
            '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
            _ if numerals => numeral(c).unwrap_or(c),
            _ => c,
        };
        out.push(c);
    }
    Some(out)
}

/// Seven numerals in a row, one of them the point, are a measured value and no year or street number.
fn has_numeral_run(text: &str) -> bool {
    // 点 is E7 82 B9: without it there is no fraction.
    memchr::memmem::find_iter(text.as_bytes(), "点".as_bytes()).take(10_000).any(|at| {
        let before = text.get(..at).unwrap_or("").chars().rev().take_while(|c| numeral(*c).is_some()).take(9).count();
        let after = text.get(at + 3..).unwrap_or("").chars().take_while(|c| numeral(*c).is_some()).take(9).count();
        before >= 2 && after >= 2 && before + after >= 7
    })
}

fn numeral(c: char) -> Option<char> {
    Some(match c {
        '〇' | '零' | '○' => '0',
        '一' | '壹' => '1',
        '二' | '贰' => '2',
        '三' | '叁' => '3',
        '四' | '肆' => '4',
        '五' | '伍' => '5',
        '六' | '陆' => '6',
        '七' | '柒' => '7',
        '八' | '捌' => '8',
        '九' | '玖' => '9',
        '点' => '.',
        _ => return None,
    })
}

/// Entities, `\u` escapes and percent escapes resolved, if there are any that hide a digit or a letter.
pub(crate) fn unescaped(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let finder = |needle: &[u8]| memchr::memmem::find(bytes, needle).is_some();
    if !finder(b"\\n")
        && !finder(b"\\t")
        && !finder(b"&#")
        && !finder(b"\\u00")
        && !finder(b"%2")
        && !finder(b"%3")
        && !finder(b"\\\"")
        && !finder(b"&quot;")
    {
        return None;
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memchr3(b'&', b'\\', b'%', rest.as_bytes()) {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        match one_escape(escape) {
            Some((c, length)) => {
                out.push(c);
                rest = escape.get(length..).unwrap_or("");
            }
            None => {
                // The escape sign itself is one byte of ASCII.
                out.push_str(escape.get(..1).unwrap_or(""));
                rest = escape.get(1..).unwrap_or("");
            }
        }
    }
    out.push_str(rest);
    Some(out)
}

fn one_escape(escape: &str) -> Option<(char, usize)> {
    let hex = |digits: &str| u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
    if let Some(body) = escape.strip_prefix("&#") {
        let end = body.bytes().take(9).position(|b| b == b';')?;
        let digits = body.get(..end)?;
        let c = match digits.strip_prefix(['x', 'X']) {
            Some(digits) => hex(digits)?,
            None => char::from_u32(digits.parse().ok()?)?,
        };
        return Some((c, end + 3));
    }
    for (name, c) in [("&quot;", '"'), ("&lt;", '<'), ("&gt;", '>'), ("&amp;", '&'), ("&apos;", '\''), ("&nbsp;", ' ')]
    {
        if escape.starts_with(name) {
            return Some((c, name.len()));
        }
    }
    if let Some(body) = escape.strip_prefix("\\u") {
        return Some((hex(body.get(..4)?)?, 6));
    }
    if let Some(body) = escape.strip_prefix('\\') {
        let c = match body.chars().next()? {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            c @ ('"' | '/' | '\\' | '\'') => c,
            _ => return None,
        };
        return Some((c, 2));
    }
    let body = escape.strip_prefix('%')?;
    let c = hex(body.get(..2)?)?;
    c.is_ascii_graphic().then_some((c, 3))
}

/// The text without spaces between single characters of numbers.
pub(crate) fn closed_up(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut alone = true;
    while let Some(c) = chars.next() {
        out.push(c);
        let part = c.is_ascii_digit() || c == '.';
        if part && alone && chars.peek() == Some(&' ') {
            let mut ahead = chars.clone();
            ahead.next();
            let next = ahead.next();
            let after = ahead.next();
            let single = next.is_some_and(|n| n.is_ascii_digit() || n == '.')
                && after.is_none_or(|a| !(a.is_ascii_digit() || a == '.'));
            if single {
                chars.next();
                continue;
            }
        }
        alone = !part;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_encoding_of_the_office_is_read() {
        let text = "界址点 X=4851490.4193 坐标";
        let (gb, ..) = encoding_rs::GB18030.encode(text);
        assert_eq!(decode(&gb).as_deref(), Some(text));
        let utf16: Vec<u8> = [0xFEFF].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        assert_eq!(decode(&utf16).as_deref(), Some(text));
        let utf32: Vec<u8> = "123,456.5\n99".chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
        assert_eq!(decode(&utf32).as_deref(), Some("123,456.5\n99"));
        assert_eq!(decode(&[0, 1, 2, 3, 4, 5, 6, 7, 0x80, 0xFF]), None);
    }

    #[test]
    fn escapes_are_resolved() {
        assert_eq!(unescaped("&#52;&#x38;\\u0035%2C").as_deref(), Some("485,"));
        assert_eq!(unescaped("nothing here"), None);
    }

    #[test]
    fn wide_digits_and_numerals_become_digits() {
        assert_eq!(narrowed("Ｘ＝４８５１").as_deref(), Some("X=4851"));
        assert_eq!(narrowed("北坐标三二八六九六九点〇二").as_deref(), Some("北坐标3286969.02"));
        assert_eq!(narrowed("二〇二四年三点一刻"), None);
    }

    #[test]
    fn spaced_digits_close_up() {
        assert_eq!(closed_up("2 7 9 3 0 4 0 . 0 4 3   ,   3 7 4"), "2793040.043   ,   374");
    }
}
