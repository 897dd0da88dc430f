//! ISO media boxes: HEIC pictures, MP4 and QuickTime films. Where the camera stood is written in a few known boxes.

use crate::finding::RuleClass;
use crate::look::Look;
use crate::octets::{head, length, slice, tail, u32_be, u64_be};
use crate::picture;

/// Boxes inside boxes: moov/udta/meta/ilst is four.
const DEPTH_MAX: u8 = 12;
/// Boxes walked in one film.
const BOXES_MAX: u32 = 100_000;

/// Walks the boxes; pictures are searched for EXIF as well.
pub(crate) fn look(look: &mut Look, bytes: &[u8], at: &str) {
    let mut left = BOXES_MAX;
    if boxes(look, bytes, at, 0, &mut left).is_none() {
        look.obstacle("malformed-media", at);
    }
    picture::scan_for_exif(look, without_pixels(bytes), at);
}

/// EXIF of a HEIC stands at the front of its data; films can be long.
fn without_pixels(bytes: &[u8]) -> &[u8] {
    head(bytes, 8 << 20)
}

fn boxes(look: &mut Look, mut bytes: &[u8], at: &str, depth: u8, left: &mut u32) -> Option<()> {
    while !bytes.is_empty() {
        *left = left.checked_sub(1)?;
        let short = u32_be(bytes, 0)?;
        let kind = slice(bytes, 4, 4)?;
        let (size, header) = match short {
            0 if depth > 0 => return Some(()), // a terminating zero of QuickTime's user data
            0 => (bytes.len(), 8),
            1 => (length(u64_be(bytes, 8)?), 16),
            _ => (length(u64::from(short)), 8),
        };
        let body = slice(bytes, header, size.checked_sub(header)?)?;
        match kind {
            b"moov" | b"udta" | b"trak" | b"mdia" | b"minf" | b"stbl" | b"ilst" | b"meco" if depth < DEPTH_MAX => {
                boxes(look, body, at, depth + 1, left)?;
            }
            b"meta" if depth < DEPTH_MAX => {
                // A full box in MP4, a plain one in QuickTime.
                let inner = if slice(body, 4, 4) == Some(b"hdlr") { body } else { tail(body, 4) };
                if boxes(look, inner, at, depth + 1, left).is_none() {
                    look.strings(body, at);
                }
                iso6709(look, body, at);
            }
            b"\xA9xyz" | b"loci" => {
                look.finding(
                    "device-position",
                    RuleClass::Structural,
                    &format!("{at} (box {})", String::from_utf8_lossy(kind)),
                    "",
                );
            }
            b"mdat" | b"free" | b"skip" | b"wide" | b"ftyp" => {}
            _ if depth <= 4 => iso6709(look, body, at),
            _ => {}
        }
        bytes = tail(bytes, size);
    }
    Some(())
}

/// `+23.1395+113.3477/` behind a key that names a location.
fn iso6709(look: &mut Look, body: &[u8], at: &str) {
    let sample = head(body, 1 << 20);
    if memchr::memmem::find(sample, b"location.ISO6709").is_some()
        || memchr::memmem::find(sample, b"GPSLatitude").is_some()
    {
        look.finding("device-position", RuleClass::Structural, &format!("{at} (location key)"), "");
        return;
    }
    let digits = |b: &[u8]| b.iter().take_while(|b| b.is_ascii_digit() || **b == b'.').count();
    for plus in memchr::memchr2_iter(b'+', b'-', sample).take(4096) {
        let latitude = tail(sample, plus + 1);
        let n = digits(latitude);
        let longitude = tail(latitude, n + 1);
        let m = digits(longitude);
        let signed = latitude.get(n).is_some_and(|b| matches!(b, b'+' | b'-'));
        if signed && n >= 5 && m >= 6 && longitude.get(m).is_some_and(|b| matches!(b, b'/' | b'+' | b'-')) {
            look.finding("device-position", RuleClass::Structural, &format!("{at} (ISO 6709)"), "");
            return;
        }
    }
}
