//! Archives and documents buried in bytes that nobody reads: pixels, outlines, frames, fields of an archive.
//!
//! A program that unpacks looks for the mark of an archive wherever it stands; a viewer passes over it. Chance hits are
//! kept out by what must follow the mark.

use std::io::Read;

use crate::look::Look;
use crate::octets::{head, slice, tail, u16_le};

/// Marks in one file that are held to what follows them; noise has one in sixteen million places.
const MARKS_MAX: usize = 100_000;
/// So much must come out of a gzip that is one.
const GZIP_BYTES_MIN: usize = 16;

type Mark = (&'static [u8], fn(&[u8]) -> bool);

const MARKS: [Mark; 8] = [
    (b"PK\x03\x04", is_member),
    (b"%PDF-", |bytes| bytes.get(5).is_some_and(u8::is_ascii_digit) && bytes.get(6) == Some(&b'.')),
    (b"\x1F\x8B\x08", is_gzip),
    (b"Rar!\x1A\x07", |_| true),
    (b"7z\xBC\xAF\x27\x1C", |_| true),
    (b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1", |_| true),
    (b"\xFD7zXZ\0", |_| true),
    (b"SQLite format 3\0", |_| true),
];

/// Looks at what begins inside these bytes; it is no part of them, whatever it is.
pub(crate) fn look(look: &mut Look, bytes: &[u8], at: &str, depth: u8) {
    for (mark, is_one) in MARKS {
        let mut marks = memchr::memmem::find_iter(tail(bytes, 1), mark).map(|place| place + 1);
        let found = marks.by_ref().take(MARKS_MAX).find(|place| is_one(tail(bytes, *place)));
        if let Some(place) = found {
            look.file("", tail(bytes, place), &format!("{at}:{place} (buried)"), depth + 1);
        }
        if found.is_some() || marks.next().is_some() {
            look.obstacle("trailing-bytes", at);
        }
    }
}

/// The header of a member: a version, a method, and a name that can be read.
fn is_member(bytes: &[u8]) -> bool {
    let method = u16_le(bytes, 8);
    let name = u16_le(bytes, 26).map(usize::from).and_then(|size| slice(bytes, 30, size));
    u16_le(bytes, 4).is_some_and(|version| version & 0xFF <= 63)
        && method.is_some_and(|method| method <= 20 || matches!(method, 93..=99))
        && name.is_some_and(|name| !name.is_empty() && name.iter().all(|b| *b >= 0x20 && *b != 0x7F))
}

fn is_gzip(bytes: &[u8]) -> bool {
    if bytes.get(3).is_none_or(|flags| flags & 0xE0 != 0) {
        return false;
    }
    let mut out = [0; GZIP_BYTES_MIN];
    let mut decoder = flate2::read::GzDecoder::new(bytes);
    let mut read = 0;
    while let Ok(count @ 1..) = decoder.read(out.get_mut(read..).unwrap_or_default()) {
        read += count;
    }
    // A short one must be whole.
    read == GZIP_BYTES_MIN || (read > 0 && decoder.read(&mut [0]).is_ok() && !head(bytes, 18).is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_alone_is_chance() {
        for chance in [
            &b"....PK\x03\x04\xF7\x91\x82\x83...................................................."[..],
            b"....%PDF-pixels",
            b"....\x1F\x8B\x08\xFF\x01\x02\x03\x04",
            b"....\x1F\x8B\x08\0\0\0\0\0\0\x03\xFF\xFF\xFF\xFF\xFF\xFF",
            b"%PDF-1.4 at the front it is the file itself",
        ] {
            let mut found = Look::new();
            look(&mut found, chance, "a", 0);
            assert!(found.obstacles.is_empty() && found.findings.is_empty());
        }
    }
}
