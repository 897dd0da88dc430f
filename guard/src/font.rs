//! Fonts: the directory of an sfnt, the words between its outlines, and what lies outside every table.
//!
//! ```text
//! version(4) tables(2) search(6) | per table: tag(4) checksum(4) offset(4) length(4)
//! ttcf version(4) fonts(4) | per font: offset(4)      wOFF flavor(4) length(4) tables(2) …
//! ```
//!
//! Never draws a letter: outlines are pictures.

use crate::look::Look;
use crate::octets::{length, slice, u16_be, u32_be};

/// The richest fonts have some fifty tables.
const TABLES_MAX: u16 = 256;
/// Fonts of one collection.
const FONTS_MAX: u32 = 256;
/// Fewer bytes than this outside of every table are padding; a place does not fit into them.
const STRAY_BYTES_MAX: usize = 8;

/// Tables of outlines, measures and rules: numbers in thousands, and no word.
const OUTLINES: [&[u8]; 14] = [
    b"glyf", b"loca", b"CFF ", b"CFF2", b"hmtx", b"vmtx", b"cmap", b"GSUB", b"GPOS", b"gvar", b"kern", b"hdmx",
    b"sbix", b"EBDT",
];

/// A version, and as many tables with names of four letters as it says.
pub(crate) fn looks_like(bytes: &[u8]) -> bool {
    match bytes.get(..4) {
        Some(b"wOFF") => u32_be(bytes, 8).is_some_and(|size| length(u64::from(size)) <= bytes.len()),
        Some(b"ttcf") => first_of_collection(bytes).is_some_and(|first| tables(bytes, first).is_some()),
        _ => tables(bytes, 0).is_some(),
    }
}

fn first_of_collection(bytes: &[u8]) -> Option<usize> {
    let fonts = u32_be(bytes, 8)?;
    (1..=FONTS_MAX).contains(&fonts).then_some(length(u64::from(u32_be(bytes, 12)?)))
}

struct Table {
    outline: bool,
    from: usize,
    to: usize,
}

/// The tables of the font that begins here.
fn tables(bytes: &[u8], at: usize) -> Option<Vec<Table>> {
    let version = slice(bytes, at, 4)?;
    if !matches!(version, b"\0\x01\0\0" | b"OTTO" | b"true" | b"typ1") {
        return None;
    }
    let count = u16_be(bytes, at.checked_add(4)?)?;
    if !(1..=TABLES_MAX).contains(&count) {
        return None;
    }
    (0..usize::from(count))
        .map(|n| {
            let entry = slice(bytes, at.checked_add(12 + n * 16)?, 16)?;
            let tag = slice(entry, 0, 4).filter(|tag| tag.iter().all(|b| (0x20..0x7F).contains(b)))?;
            let from = length(u64::from(u32_be(entry, 8)?));
            // A font that was cut short still draws its first letters.
            let to = from.checked_add(length(u64::from(u32_be(entry, 12)?)))?.min(bytes.len());
            Some(Table { outline: OUTLINES.contains(&tag), from, to })
        })
        .collect()
}

/// Looks at everything but the outlines.
pub(crate) fn look(look: &mut Look, bytes: &[u8], at: &str) {
    let mut all = Vec::new();
    let mut directory = 0;
    let starts: Vec<usize> = match (bytes.get(..4), u32_be(bytes, 8)) {
        (Some(b"ttcf"), Some(fonts)) => {
            directory = 12 + 4 * length(u64::from(fonts.min(FONTS_MAX)));
            (0..length(u64::from(fonts.min(FONTS_MAX))))
                .filter_map(|n| u32_be(bytes, 12 + 4 * n).map(|v| length(u64::from(v))))
                .collect()
        }
        _ => vec![0],
    };
    for start in starts {
        let Some(found) = tables(bytes, start) else { return look.strings(bytes, at) };
        directory = directory.max(start.saturating_add(12 + 16 * found.len()));
        all.extend(found);
    }
    all.sort_by_key(|table| table.from);
    let mut end = all.first().map_or(directory, |first| directory.min(first.from.max(12)));
    for table in &all {
        if let Some(gap) = bytes.get(end..table.from) {
            stray(look, gap, at);
        }
        if !table.outline {
            look.strings(bytes.get(table.from..table.to).unwrap_or_default(), at);
        }
        end = end.max(table.to);
    }
    stray(look, bytes.get(end..).unwrap_or_default(), at);
}

/// Bytes of no table.
fn stray(look: &mut Look, bytes: &[u8], at: &str) {
    if bytes.iter().filter(|b| **b != 0).count() >= STRAY_BYTES_MAX {
        look.raw_text(bytes, at, crate::look::DEPTH_MAX);
        look.obstacle("trailing-bytes", at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_must_hold_what_it_says() {
        let mut font = b"\0\x01\0\0\0\x01\0\x10\0\0\0\0head\0\0\0\0\0\0\0\x1c\0\0\0\x04abcd".to_vec();
        assert!(looks_like(&font));
        font[13] = 0x81;
        assert!(!looks_like(&font));
        for bad in
            [&b""[..], b"OTTO", b"OTTO\n\xe7\x82\xb9", b"true\0\0", b"\0\x01\0\0\0\x01", b"ttcf\0\0\0\0\0\0\0\x01"]
        {
            assert!(!looks_like(bad));
        }
    }
}
