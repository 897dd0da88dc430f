//! Filters of PDF streams, undone within bounds. Knows nothing of what comes out.

use std::io::Read;

use super::object::{Dictionary, Object};
use crate::octets::{head, tail};

/// One stream expands to this; page contents and tables of objects are far smaller.
pub(super) const STREAM_BYTES_MAX: usize = 64 << 20;
/// Filters that may be chained.
const FILTERS_MAX: usize = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    Flate,
    Ascii85,
    AsciiHex,
    RunLength,
    Lzw {
        early: bool,
    },
    Jpeg,
    /// JPX, CCITT, JBIG2: pixels.
    Picture,
    /// A crypt filter of this stream's own.
    Crypt,
    Unknown,
}

/// The chain of a stream, in the order in which it is undone; abbreviations are for inline pictures, and seen elsewhere.
pub(super) fn chain(dictionary: &Dictionary<'_>) -> Vec<Filter> {
    let named = |name: &[u8], index: usize| match name {
        // Parameters that stand elsewhere are not looked for: without them rubbish comes out, and a viewer shows text.
        b"FlateDecode" | b"Fl" | b"LZWDecode" | b"LZW" if parameters_elsewhere(dictionary, index) => Filter::Unknown,
        b"FlateDecode" | b"Fl" => Filter::Flate,
        b"ASCII85Decode" | b"A85" => Filter::Ascii85,
        b"ASCIIHexDecode" | b"AHx" => Filter::AsciiHex,
        b"RunLengthDecode" | b"RL" => Filter::RunLength,
        b"LZWDecode" | b"LZW" => {
            Filter::Lzw { early: parameters(dictionary, index).and_then(|p| p.number(b"EarlyChange")) != Some(0.0) }
        }
        b"DCTDecode" | b"DCT" => Filter::Jpeg,
        b"JPXDecode" | b"CCITTFaxDecode" | b"CCF" | b"JBIG2Decode" => Filter::Picture,
        b"Crypt" => Filter::Crypt,
        _ => Filter::Unknown,
    };
    match dictionary.get(b"Filter").or_else(|| dictionary.get(b"F")) {
        Some(Object::Name(name)) => vec![named(name, 0)],
        Some(Object::Array(items)) => items
            .iter()
            .enumerate()
            .map(|(index, item)| match item {
                Object::Name(name) => named(name, index),
                _ => Filter::Unknown,
            })
            .collect(),
        Some(Object::Reference(_)) => vec![Filter::Unknown],
        _ => Vec::new(),
    }
}

fn parameters<'d, 'a>(dictionary: &'d Dictionary<'a>, index: usize) -> Option<&'d Dictionary<'a>> {
    match dictionary.get(b"DecodeParms").or_else(|| dictionary.get(b"DP"))? {
        Object::Dictionary(one) => Some(one),
        Object::Array(items) => match items.get(index)? {
            Object::Dictionary(one) => Some(one),
            _ => None,
        },
        _ => None,
    }
}

/// Does a filter's parameter, or all of them, stand in another object?
fn parameters_elsewhere(dictionary: &Dictionary<'_>, index: usize) -> bool {
    let is_elsewhere = |object: &Object<'_>| match object {
        Object::Reference(_) => true,
        Object::Dictionary(one) => one.0.iter().any(|(_, value)| matches!(value, Object::Reference(_))),
        _ => false,
    };
    match dictionary.get(b"DecodeParms").or_else(|| dictionary.get(b"DP")) {
        Some(Object::Array(items)) => items.get(index).is_some_and(is_elsewhere),
        Some(object) => is_elsewhere(object),
        None => false,
    }
}

/// Undoes a chain, at most to `limit` bytes; `None`: one of the filters is unknown here, or nothing comes out.
pub(super) fn undo(raw: &[u8], dictionary: &Dictionary<'_>, limit: usize) -> Option<Vec<u8>> {
    let filters = chain(dictionary);
    if filters.len() > FILTERS_MAX {
        return None;
    }
    let limit = limit.min(STREAM_BYTES_MAX);
    let mut content = raw.to_vec();
    for (index, filter) in filters.iter().enumerate() {
        content = match filter {
            Filter::Flate => predicted(inflate_zlib(&content, limit)?, parameters(dictionary, index)),
            Filter::Ascii85 => ascii85(&content),
            Filter::AsciiHex => {
                let end = memchr::memchr(b'>', &content).unwrap_or(content.len());
                let digits: Vec<u8> = head(&content, end).iter().copied().filter(u8::is_ascii_hexdigit).collect();
                crate::encoded::decode_hex(&digits)?
            }
            Filter::RunLength => run_length(&content, limit),
            Filter::Lzw { early } => predicted(lzw(&content, *early, limit), parameters(dictionary, index)),
            Filter::Jpeg | Filter::Picture | Filter::Crypt => content,
            Filter::Unknown => return None,
        };
        if content.len() > limit {
            content.truncate(limit);
        }
    }
    Some(content)
}

/// Rows that were written as differences from the row above or the sample before.
fn predicted(content: Vec<u8>, parameters: Option<&Dictionary<'_>>) -> Vec<u8> {
    let Some(parameters) = parameters else { return content };
    let whole = |key: &[u8], default| parameters.whole(key).unwrap_or(default);
    let predictor = whole(b"Predictor", 1);
    let bits = whole(b"Colors", 1).clamp(1, 32) * whole(b"BitsPerComponent", 8).clamp(1, 16);
    let row = (whole(b"Columns", 1).clamp(1, 1 << 20) * bits).div_ceil(8);
    let step = bits.div_ceil(8);
    match predictor {
        2 if bits.is_multiple_of(8) => {
            let mut out = content;
            for row in out.chunks_mut(row) {
                for i in step..row.len() {
                    let before = row.get(i - step).copied().unwrap_or(0);
                    if let Some(byte) = row.get_mut(i) {
                        *byte = byte.wrapping_add(before);
                    }
                }
            }
            out
        }
        10.. => unfiltered(&content, row, step),
        _ => content,
    }
}

/// Inflates as far as it goes, up to a limit; a stream cut short still shows its front.
pub(crate) fn inflate_zlib(bytes: &[u8], limit: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let result = flate2::read::ZlibDecoder::new(bytes).take(limit as u64).read_to_end(&mut out);
    if result.is_err() && out.is_empty() && !bytes.trim_ascii().is_empty() {
        return None;
    }
    Some(out)
}

fn ascii85(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let (mut group, mut count) = (0_u32, 0);
    for byte in bytes.strip_prefix(b"<~").unwrap_or(bytes) {
        match byte {
            b'~' => break,
            b'z' if count == 0 => out.extend_from_slice(&[0; 4]),
            b'!'..=b'u' => {
                group = group.wrapping_mul(85).wrapping_add(u32::from(byte - b'!'));
                count += 1;
                if count == 5 {
                    out.extend_from_slice(&group.to_be_bytes());
                    (group, count) = (0, 0);
                }
            }
            _ => {}
        }
    }
    if count > 1 {
        for _ in count..5 {
            group = group.wrapping_mul(85).wrapping_add(84);
        }
        out.extend_from_slice(head(&group.to_be_bytes(), count - 1));
    }
    out
}

fn run_length(bytes: &[u8], limit: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = bytes;
    while let [length, body @ ..] = rest {
        if out.len() > limit {
            break;
        }
        match length {
            0..=127 => {
                let n = usize::from(*length) + 1;
                out.extend_from_slice(head(body, n));
                rest = tail(body, n);
            }
            128 => break,
            _ => {
                if let Some(byte) = body.first() {
                    out.resize(out.len() + 257 - usize::from(*length), *byte);
                }
                rest = tail(body, 1);
            }
        }
    }
    out
}

/// LZW, most significant bit first, with or without the early change of width.
fn lzw(bytes: &[u8], early: bool, limit: usize) -> Vec<u8> {
    let mut table: Vec<Vec<u8>> = Vec::new();
    let mut out = Vec::new();
    let (mut buffer, mut bits, mut width) = (0_u32, 0_u32, 9_u32);
    let mut last: Option<Vec<u8>> = None;
    for byte in bytes {
        buffer = (buffer << 8) | u32::from(*byte);
        bits += 8;
        if bits < width {
            continue;
        }
        bits -= width;
        let code = usize::try_from(buffer >> bits).unwrap_or(0) & ((1 << width) - 1);
        buffer &= (1 << bits) - 1;
        match code {
            256 => {
                table.clear();
                width = 9;
                last = None;
                continue;
            }
            257 => break,
            _ => {}
        }
        let entry = match (u8::try_from(code), table.get(code.wrapping_sub(258)), &last) {
            (Ok(byte), ..) => vec![byte],
            (_, Some(entry), _) => entry.clone(),
            (_, None, Some(last)) => last.iter().chain(last.first()).copied().collect(),
            _ => break,
        };
        out.extend_from_slice(&entry);
        if out.len() > limit {
            break;
        }
        if let (Some(mut grown), Some(first)) = (last.take(), entry.first())
            && table.len() < 4096 - 258
        {
            grown.push(*first);
            table.push(grown);
        }
        width = match table.len() + 258 + usize::from(early) {
            0..=511 => 9,
            512..=1023 => 10,
            1024..=2047 => 11,
            _ => 12,
        };
        last = Some(entry);
    }
    out
}

/// Rows of a PNG without their filters; each is led by the number of its filter.
fn unfiltered(rows: &[u8], row: usize, step: usize) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(rows.len());
    let mut above = vec![0_u8; row];
    for line in rows.chunks(row + 1) {
        let Some((kind, coded)) = line.split_first() else { break };
        let mut current = Vec::with_capacity(row);
        for (i, byte) in coded.iter().enumerate() {
            let pick = |from: &[u8], at: Option<usize>| at.and_then(|at| from.get(at)).copied().unwrap_or(0);
            let (left, up, corner) =
                (pick(&current, i.checked_sub(step)), pick(&above, Some(i)), pick(&above, i.checked_sub(step)));
            current.push(byte.wrapping_add(match kind {
                1 => left,
                2 => up,
                3 => u8::try_from(u16::midpoint(u16::from(left), u16::from(up))).unwrap_or(0),
                4 => paeth(left, up, corner),
                _ => 0,
            }));
        }
        out.extend_from_slice(&current);
        current.resize(row, 0);
        above = current;
    }
    out
}

fn paeth(left: u8, up: u8, corner: u8) -> u8 {
    let (a, b, c) = (i16::from(left), i16::from(up), i16::from(corner));
    let near = a + b - c;
    let (da, db, dc) = ((near - a).abs(), (near - b).abs(), (near - c).abs());
    if da <= db && da <= dc {
        left
    } else if db <= dc {
        up
    } else {
        corner
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_lose_their_filters() {
        let rows = [0, 1, 2, 1, 1, 1, 2, 1, 1, 4, 1, 1];
        assert_eq!(unfiltered(&rows, 2, 1), [1, 2, 1, 2, 2, 3, 3, 4]);
        assert_eq!(unfiltered(&[3, 4], 7, 1), [4]);
        assert!(unfiltered(&[], 1, 1).is_empty());
    }

    #[test]
    fn what_is_packed_badly_comes_out_short_or_not_at_all() {
        assert_eq!(inflate_zlib(b"no zlib", 10), None);
        assert_eq!(ascii85(b"87cURD]i,\"Ebo80~>"), b"Hello World!");
        assert_eq!(run_length(&[2, b'a', b'b', b'c', 254, b'd', 128, 9], 100), b"abcddd");
        assert!(run_length(&[129], 10).is_empty());
        assert_eq!(lzw(&[0x80, 0x0B, 0x60, 0x50, 0x22, 0x0C, 0x0C, 0x85, 0x01], true, 100), b"-----A---B");
        assert!(lzw(&[0xFF; 64], true, 100).len() <= 100);
    }
}
