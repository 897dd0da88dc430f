//! A text: how its bytes decode, and every way in which numbers hide inside it.
//!
//! Looked at as it stands, without escapes, without full-width forms and spaces between digits, and with the
//! base64 and hex runs inside it decoded.

use std::borrow::Cow;
use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::octets::{Set, head};

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
    // Counted in pieces whose counts fit a byte, so that the processor counts many bytes at once.
    let is_strange = |b: &u8| u8::from(*b < 0x20 && !matches!(*b, b'\t' | b'\n' | b'\r' | 0x0C | 0x1A | 0x1B));
    let strange: usize =
        sample.chunks(255).map(|piece| usize::from(piece.iter().map(is_strange).fold(0, u8::wrapping_add))).sum();
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

/// Full-width forms to ASCII, digits of any script and Chinese numerals to digits, and without what nobody sees, if there
/// is any of it.
pub(crate) fn narrowed(text: &str) -> Option<String> {
    if text.is_ascii() {
        return None;
    }
    let bytes = text.as_bytes();
    let wide = memchr::memchr_iter(0xEF, bytes).any(|at| matches!(bytes.get(at + 1..), Some([0xBC, 0x90..=0x99, ..])));
    let numerals = has_numeral_run(text);
    let unusual = has_unusual(bytes);
    let rings = unusual && has_ring_run(text);
    let foreign = unusual && text.chars().any(|c| is_unseen(c) || c == '\u{a0}' || foreign_digit(c).is_some());
    if !(wide || numerals || rings || foreign) {
        return None;
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let c = match c {
            '\0'..='\x7f' => c,
            '\u{a0}' => ' ',
            _ if is_unseen(c) => continue,
            '\u{ff01}'..='\u{ff5e}' if wide || numerals => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
            _ => foreign_digit(c)
                .or_else(|| ring_digit(c).filter(|_| rings))
                .or_else(|| numeral(c).filter(|_| numerals))
                .unwrap_or(c),
        };
        out.push(c);
    }
    Some(out)
}

/// One pass over the bytes for what begins anything of the kinds below; Chinese text with its own signs has none of it.
fn has_unusual(bytes: &[u8]) -> bool {
    bytes.iter().enumerate().filter(|(_, lead)| UNUSUAL_LEADS.has(**lead)).any(|(at, _)| {
        matches!(
            bytes.get(at..).unwrap_or_default(),
            [0xC2, 0xA0 | 0xAD | 0xB2 | 0xB3 | 0xB9, ..]
                | [0xCD | 0xD9 | 0xDB | 0xDF | 0xE0 | 0xE1 | 0xEA | 0xF0, ..]
                | [0xE2, 0x80, 0x8B..=0x8F, ..]
                | [0xE2, 0x81, 0xA0..=0xBF, ..]
                | [0xE2, 0x82, 0x80..=0x89, ..]
                | [0xE2, 0x91..=0x93 | 0x9D | 0x9E, ..]
                | [0xEF, 0xBB, 0xBF, ..]
        )
    })
}

/// The first bytes of what is unusual.
const UNUSUAL_LEADS: Set = Set::of(&[0xC2, 0xCD, 0xD9, 0xDB, 0xDF, 0xE0, 0xE1, 0xEA, 0xF0, 0xE2, 0xEF]);

/// Word and web pages put them where a line may break, even inside a number.
fn is_unseen(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{180e}' | '\u{34f}')
}

/// The noughts of scripts that have decimal digits of their own; nine digits follow each.
const NOUGHTS: [u32; 33] = [
    0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6, 0xe50, 0xed0, 0xf20,
    0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1b50, 0x1bb0, 0x1c40, 0x1d7ce, 0x1d7d8, 0x1d7e2, 0x1d7ec,
    0x1d7f6, 0x1fbf0, 0xa620,
];

fn foreign_digit(c: char) -> Option<char> {
    let code = u32::from(c);
    if code < 0x660 || (0x2000..0xa620).contains(&code) {
        return None;
    }
    let digit = NOUGHTS.iter().find_map(|nought| code.checked_sub(*nought).filter(|digit| *digit < 10))?;
    char::from_digit(digit, 10)
}

/// Digits in rings, brackets and with dots, raised and lowered: ①, ⑴, ⒈, ❶, ¹, ₁.
fn ring_digit(c: char) -> Option<char> {
    const ONES: [u32; 7] = [0x2460, 0x2474, 0x2488, 0x24f5, 0x2776, 0x2780, 0x278a];
    let code = u32::from(c);
    let digit = match code {
        0x24ea | 0x24ff | 0x2070 => 0,
        0xb9 => 1,
        0xb2 => 2,
        0xb3 => 3,
        0x2074..=0x2079 => code - 0x2070,
        0x2080..=0x2089 => code - 0x2080,
        0x2460..=0x2793 => ONES.iter().find_map(|one| code.checked_sub(*one).filter(|n| *n < 9))? + 1,
        _ => return None,
    };
    char::from_digit(digit, 10)
}

/// Four in a row are a number; one is the mark of a list, or a square metre.
fn has_ring_run(text: &str) -> bool {
    let mut run = 0;
    text.chars().any(|c| {
        run = if ring_digit(c).is_some() { run + 1 } else { 0 };
        run >= 4
    })
}

/// The text with its numbers in one piece, if any of them is written in groups of three: `4,851,490.419`,
/// `4 851 490.419`, `4'851'490.419`. A second reading: behind commas the same signs may be columns.
pub(crate) fn ungrouped(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let mut out = String::new();
    let (mut copied, mut at) = (0, 0);
    while let Some(skipped) = bytes.get(at..).and_then(|rest| rest.iter().position(u8::is_ascii_digit)) {
        at += skipped;
        let start = at;
        while digit(at) {
            at += 1;
        }
        let before = start.checked_sub(1).and_then(|i| bytes.get(i)).copied().unwrap_or(b'\n');
        if at - start > 3 || before.is_ascii_alphanumeric() || matches!(before, b'.' | b',' | b'_') {
            continue;
        }
        let Some((groups, end)) = groups(bytes, start, at) else { continue };
        out.push_str(text.get(copied..start).unwrap_or(""));
        out.extend(groups.iter().filter(|b| b.is_ascii_digit()).map(|b| char::from(*b)));
        (copied, at) = (end, end);
    }
    out.push_str(text.get(copied..).unwrap_or(""));
    (copied > 0).then_some(out)
}

/// Signs that part groups of three digits: GB/T 15835 has a thin space, Excel a comma, a Swiss instrument a high comma.
const GROUP_SIGNS: [&str; 8] = [",", " ", "'", "\u{2009}", "\u{202f}", "\u{2019}", "，", "\u{2007}"];

/// What they begin with.
const GROUP_FIRSTS: Set = Set::of(b", '\xE2\xEF");

/// The groups of a number whose first ends at `at`, without its fraction.
fn groups(bytes: &[u8], start: usize, at: usize) -> Option<(&[u8], usize)> {
    let rest = |at: usize| bytes.get(at..).unwrap_or_default();
    // Nearly every number ends here.
    if !rest(at).first().is_some_and(|b| GROUP_FIRSTS.has(*b)) {
        return None;
    }
    let sign = GROUP_SIGNS.iter().find(|sign| rest(at).starts_with(sign.as_bytes()))?.as_bytes();
    let is_group = |at: usize| {
        rest(at).strip_prefix(sign).and_then(|b| b.get(..3)).is_some_and(|b| b.iter().all(u8::is_ascii_digit))
            && !rest(at).get(sign.len() + 3).is_some_and(u8::is_ascii_digit)
    };
    let (mut count, mut end) = (0, at);
    while count < 4 && is_group(end) {
        count += 1;
        end += sign.len() + 3;
    }
    let fraction = match rest(end) {
        [b'.', fraction @ ..] => fraction.iter().take_while(|b| b.is_ascii_digit()).count(),
        _ => 0,
    };
    let behind = rest(end + usize::from(fraction > 0) + fraction);
    // Columns of three digits go on behind it.
    let goes_on = behind.strip_prefix(sign).is_some_and(|b| b.first().is_some_and(u8::is_ascii_digit));
    let holds = match sign {
        b"," => !goes_on && (count >= 2 || (count == 1 && (1..=4).contains(&fraction))),
        b" " => fraction > 0 && (count >= 2 || (count == 1 && fraction <= 4 && !goes_on)),
        _ => count >= 2 || (count == 1 && fraction > 0),
    };
    holds.then(|| (bytes.get(start..end).unwrap_or_default(), end))
}

/// Seven numerals in a row, one of them the point, are a measured value and no year or street number.
fn has_numeral_run(text: &str) -> bool {
    /// Made once: a workbook asks for each of its strings.
    static POINT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("点"));
    // 点 is E7 82 B9: without it there is no fraction.
    POINT.find_iter(text.as_bytes()).take(10_000).any(|at| {
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
    if !has_escape(text.as_bytes()) {
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

/// Is there an escape that hides a digit, a letter or a quote? Others stand in every web address and every page.
fn has_escape(bytes: &[u8]) -> bool {
    memchr::memchr3_iter(b'&', b'\\', b'%', bytes).any(|at| {
        matches!(
            bytes.get(at..).unwrap_or_default(),
            [b'\\', b'n' | b't' | b'"', ..]
                | [b'\\', b'u', b'0', b'0', ..]
                | [b'&', b'#', ..]
                | [b'%', b'2' | b'3', ..]
                | [b'&', b'q', b'u', b'o', b't', b';', ..]
        )
    })
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
    let bytes = text.as_bytes();
    let part = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(|b| b.is_ascii_digit() || *b == b'.');
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    for space in memchr::memchr_iter(b' ', bytes) {
        let alone_before = part(space.checked_sub(1)) && !part(space.checked_sub(2));
        if alone_before && part(Some(space + 1)) && !part(Some(space + 2)) {
            out.push_str(text.get(copied..space).unwrap_or(""));
            copied = space + 1;
        }
    }
    out.push_str(text.get(copied..).unwrap_or(""));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::Chance;

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
    fn what_nobody_sees_and_digits_of_other_scripts_are_read() {
        assert_eq!(narrowed("4851\u{200b}490.\u{ad}419\u{a0}m").as_deref(), Some("4851490.419 m"));
        assert_eq!(narrowed("٤٨٥١٤٩٠.𝟒𝟏𝟗").as_deref(), Some("4851490.419"));
        assert_eq!(narrowed("④⑧⑤①④⑨⓪.④").as_deref(), Some("4851490.4"));
        for all in (0x80..0x2_0000).filter_map(char::from_u32) {
            let is_one = is_unseen(all) || all == '\u{a0}' || foreign_digit(all).is_some() || ring_digit(all).is_some();
            assert!(!is_one || has_unusual(all.to_string().as_bytes()), "{:x}", u32::from(all));
        }
        assert_eq!(narrowed("① 面积 120.5m²，② 价格"), None);
    }

    /// Character by character, as a person would do it.
    fn closed_up_plainly(text: &str) -> String {
        let chars: Vec<char> = text.chars().collect();
        let part = |at: usize| chars.get(at).is_some_and(|c| c.is_ascii_digit() || *c == '.');
        let mut out = String::new();
        for (at, c) in chars.iter().enumerate() {
            let between = at > 0 && part(at - 1) && part(at + 1);
            let alone = [at.checked_sub(2), Some(at + 2)].into_iter().flatten().all(|beyond| !part(beyond));
            if *c != ' ' || !between || !alone {
                out.push(*c);
            }
        }
        out
    }

    #[test]
    fn spaces_go_from_between_single_digits_and_from_nowhere_else() {
        assert_eq!(closed_up("4 8 5 1 . 4 m, 12 3 4 5  6"), "4851.4 m, 12 345  6");
        let mut chance = Chance(1);
        for _ in 0..20_000 {
            let text: String = chance.row(&['1', '2', '.', ' ', ' ', 'a', '界', '\n'], 24).into_iter().collect();
            assert_eq!(closed_up(&text), closed_up_plainly(&text), "{text}");
        }
    }

    #[test]
    fn what_is_looked_for_first_is_how_every_sign_between_groups_begins() {
        assert!(GROUP_SIGNS.iter().all(|sign| GROUP_FIRSTS.has(sign.as_bytes()[0])));
    }

    #[test]
    fn a_few_control_characters_make_no_text_of_a_binary_nor_a_binary_of_a_text() {
        for (strange, of, expected) in [(0, 70_000, true), (10, 1_000, true), (11, 1_000, false), (656, 65_536, false)]
        {
            let mut bytes = vec![b'a'; of];
            (0..strange).for_each(|n| bytes[n * of / (strange + 1)] = 1);
            assert_eq!(is_text(&bytes), expected, "{strange} of {of}");
        }
    }

    #[test]
    fn groups_of_three_are_one_number_and_columns_are_not() {
        for (text, plain) in [
            ("J1,\"4,851,490.419\",\"546,865.276\"", "J1,\"4851490.419\",\"546865.276\""),
            ("J1\t4,851,490.419\t546,865.276\n", "J1\t4851490.419\t546865.276\n"),
            ("4 851 490.419  29 546 865.276", "4851490.419  29546865.276"),
            ("X 4'851'490.419", "X 4851490.419"),
            ("4\u{2009}851\u{2009}490.419", "4851490.419"),
            ("3,790,806", "3790806"),
        ] {
            assert_eq!(ungrouped(text).as_deref(), Some(plain), "{text}");
        }
        for text in [
            "1,113.347776,23.139564",
            "J1,851,490.419",
            "J1 851 490",
            "a 1 113.347 23.139",
            "2024,851,490",
            "13,636,119,653,1",
            "10.0.100.200",
        ] {
            assert_eq!(ungrouped(text), None, "{text}");
        }
    }

    #[test]
    fn spaced_digits_close_up() {
        assert_eq!(closed_up("2 7 9 3 0 4 0 . 0 4 3   ,   3 7 4"), "2793040.043   ,   374");
    }
}
