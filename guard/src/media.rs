//! ISO media boxes: HEIC pictures, MP4 and QuickTime films. Where the camera stood is written in a few known boxes.

use crate::finding::RuleClass;
use crate::kind::Kind;
use crate::look::Look;
use crate::octets::{length, slice, tail, u32_be, u64_be};
use crate::picture;

/// Boxes inside boxes: moov/udta/meta/ilst is four.
const DEPTH_MAX: u8 = 12;
/// Boxes walked in one film.
const BOXES_MAX: u32 = 100_000;

/// Walks the boxes; pictures are searched for EXIF as well.
pub(crate) fn look(look: &mut Look, kind: Kind, bytes: &[u8], at: &str, depth: u8) {
    let mut left = BOXES_MAX;
    let film = kind == Kind::Media;
    // Without a description of its frames nobody plays it.
    if boxes(look, bytes, at, 0, &mut left).is_none() || (film && !is_described(bytes)) {
        look.obstacle("malformed-media", at);
    }
    frames(look, bytes, at, depth);
    picture::scan_for_exif(look, bytes, at);
}

/// Does a box of the outermost level describe the frames?
fn is_described(bytes: &[u8]) -> bool {
    outermost(bytes).any(|(kind, _)| matches!(kind, b"moov" | b"moof"))
}

/// Frames and free room are no text; what reads as one is one.
fn frames(look: &mut Look, bytes: &[u8], at: &str, depth: u8) {
    for (kind, body) in outermost(bytes) {
        if matches!(kind, b"mdat" | b"free" | b"skip" | b"wide") && crate::text::decode(body).is_some() {
            look.raw_text(body, at, depth + 1);
        }
    }
}

/// Kinds and bodies of the boxes that stand in no other.
fn outermost(bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let (short, kind) = (u32_be(bytes, at)?, slice(bytes, at + 4, 4)?);
        let (size, header) = match short {
            0 => (bytes.len() - at, 8),
            1 => (length(u64_be(bytes, at + 8)?), 16),
            _ => (length(u64::from(short)), 8),
        };
        let body = slice(bytes, at.checked_add(header)?, size.checked_sub(header)?)?;
        at = at.checked_add(size)?;
        Some((kind, body))
    })
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
            b"mdat" => {}
            b"free" | b"skip" | b"wide" | b"ftyp" => look.strings(body, at),
            _ if depth <= 4 => {
                iso6709(look, body, at);
                look.strings(body, at);
            }
            // Tables of times and sizes.
            _ => {}
        }
        bytes = tail(bytes, size);
    }
    Some(())
}

/// `+23.1395+113.3477/` behind a key that names a location.
fn iso6709(look: &mut Look, body: &[u8], at: &str) {
    let sample = body;
    if memchr::memmem::find(sample, b"location.ISO6709").is_some()
        || memchr::memmem::find(sample, b"GPSLatitude").is_some()
    {
        look.finding("device-position", RuleClass::Structural, &format!("{at} (location key)"), "");
        return;
    }
    let digits = |b: &[u8]| b.iter().take_while(|b| b.is_ascii_digit() || **b == b'.').count();
    for plus in memchr::memchr2_iter(b'+', b'-', sample) {
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
