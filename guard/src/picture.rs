//! JPEG, PNG, WebP, GIF and BMP: metadata, comments, and what is glued behind the last pixel.

use crate::finding::RuleClass;
use crate::kind::Kind;
use crate::look::Look;
use crate::octets::{length, slice, tail, u16_be, u32_be, u32_le};
use crate::tiff;

/// Chunks or segments of one picture; a large PNG has tens of thousands of IDAT.
const SEGMENTS_MAX: u32 = 200_000;

/// Fewer bytes than one double behind the end of a picture.
const STRAY_BYTES_MAX: usize = 8;

/// Segment by segment to the end of image, then whatever follows.
pub(crate) fn jpeg(look: &mut Look, bytes: &[u8], at: &str, depth: u8) {
    match jpeg_end(look, bytes, at, depth) {
        Some(end) => trailer(look, tail(bytes, end), at, depth),
        None => look.obstacle("malformed-jpeg", at),
    }
}

fn jpeg_end(look: &mut Look, bytes: &[u8], at: &str, depth: u8) -> Option<usize> {
    let mut position = 2;
    for _ in 0..SEGMENTS_MAX {
        // Fill bytes before a marker are allowed.
        while bytes.get(position) == Some(&0xFF) && bytes.get(position + 1) == Some(&0xFF) {
            position += 1;
        }
        if *bytes.get(position)? != 0xFF {
            return None;
        }
        let marker = *bytes.get(position + 1)?;
        match marker {
            0xD9 => return Some(position + 2),
            0x01 | 0xD0..=0xD8 => position += 2,
            _ => {
                let size = usize::from(u16_be(bytes, position + 2)?);
                let body = slice(bytes, position + 4, size.checked_sub(2)?)?;
                if matches!(marker, 0xE0..=0xEF | 0xFE) {
                    segment(look, marker, body, at, depth);
                }
                position += 2 + size;
                if marker == 0xDA {
                    position += entropy_bytes(tail(bytes, position))?;
                }
            }
        }
    }
    None
}

/// Coded pixels up to the next marker that is neither stuffing nor a restart.
fn entropy_bytes(data: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr::memchr(0xFF, tail(data, at))?;
        match data.get(at + 1)? {
            0x00 | 0xD0..=0xD7 => at += 2,
            0xFF => at += 1,
            _ => return Some(at),
        }
    }
}

fn segment(look: &mut Look, marker: u8, body: &[u8], at: &str, depth: u8) {
    if let Some(exif) = body.strip_prefix(b"Exif\0") {
        tiff::look(look, tail(exif, 1), at, false);
    } else if body.starts_with(b"http://ns.adobe.com/xap/1.0/\0")
        || body.starts_with(b"http://ns.adobe.com/xmp/extension/\0")
    {
        look.raw_text(tail(body, 29), &format!("{at} (XMP)"), depth + 1);
    } else if body.starts_with(b"ICC_PROFILE\0") || body.starts_with(b"JFIF\0") || body.starts_with(b"Adobe") {
        // Colours and thumbnails.
    } else if marker == 0xFE {
        look.raw_text(body, &format!("{at} (comment)"), depth + 1);
    } else {
        look.strings(body, &format!("{at} (segment {marker:02x})"));
    }
}

/// Bytes behind the end. Padding is nothing; a second picture is looked at; the rest no viewer shows.
fn trailer(look: &mut Look, rest: &[u8], at: &str, depth: u8) {
    let blank = rest.iter().take_while(|b| matches!(**b, 0 | b'\r' | b'\n' | b' ' | 0x1A)).count();
    let rest = tail(rest, blank);
    // A few stray bytes are what broken writers leave; a place does not fit into them.
    if rest.len() < STRAY_BYTES_MAX {
        return;
    }
    let place = format!("{at} (behind the end)");
    if rest.starts_with(b"\xFF\xD8\xFF") && depth < crate::look::DEPTH_MAX {
        // A camera's preview, or the second of a pair of pictures.
        return jpeg(look, rest, &place, depth + 1);
    }
    match Kind::of_magic(rest) {
        Some(_) => {
            look.file("", rest, &place, depth + 1);
        }
        None => look.raw_text(rest, &place, depth + 1),
    }
    look.obstacle("trailing-bytes", at);
}

/// Chunk by chunk to IEND.
pub(crate) fn png(look: &mut Look, bytes: &[u8], at: &str, depth: u8) {
    let mut position = 8;
    for _ in 0..SEGMENTS_MAX {
        let Some(size) = u32_be(bytes, position).map(|v| length(u64::from(v))) else { break };
        let Some(kind) = slice(bytes, position + 4, 4) else { break };
        let Some(body) = slice(bytes, position + 8, size) else { break };
        let place = || format!("{at} ({})", String::from_utf8_lossy(kind));
        match kind {
            b"IEND" => return trailer(look, tail(bytes, position + 12), at, depth),
            b"eXIf" => tiff::look(look, body, at, false),
            b"tEXt" => look.raw_text(body, &place(), depth + 1),
            b"zTXt" => png_packed(look, body, 1, &place(), depth),
            b"iTXt" => {
                look.raw_text(body, &place(), depth + 1);
                png_packed(look, body, 3, &place(), depth);
            }
            b"IDAT" | b"PLTE" | b"iCCP" => {}
            _ => look.strings(body, &place()),
        }
        position += 12 + size;
    }
    look.obstacle("malformed-png", at);
}

/// Keyword, NUL, some bytes, then zlib.
fn png_packed(look: &mut Look, body: &[u8], skip: usize, at: &str, depth: u8) {
    let Some(nul) = memchr::memchr(0, body) else { return };
    if let Some(plain) = crate::pdf::inflate_zlib(tail(body, nul + 1 + skip), 1 << 20) {
        look.raw_text(&plain, at, depth + 1);
        // ImageMagick writes raw profiles as hex.
        if memchr::memmem::find(&plain, b"exif").is_some() {
            let digits: Vec<u8> = plain.iter().copied().filter(u8::is_ascii_hexdigit).collect();
            scan_for_exif(look, &crate::encoded::decode_hex(&digits).unwrap_or_default(), at);
            scan_for_exif(look, &crate::encoded::decode_hex(tail(&digits, 1)).unwrap_or_default(), at);
        }
    }
}

/// RIFF chunks.
pub(crate) fn webp(look: &mut Look, bytes: &[u8], at: &str, depth: u8) {
    let declared = u32_le(bytes, 4).map_or(0, |v| length(u64::from(v)).saturating_add(8));
    let mut position = 12;
    while position + 8 <= bytes.len().min(declared) {
        let Some(size) = u32_le(bytes, position + 4).map(|v| length(u64::from(v))) else { break };
        let Some(body) = slice(bytes, position + 8, size) else { return look.obstacle("malformed-webp", at) };
        match slice(bytes, position, 4) {
            Some(b"EXIF") => tiff::look(look, body.strip_prefix(b"Exif\0\0").unwrap_or(body), at, false),
            Some(b"XMP ") => look.raw_text(body, &format!("{at} (XMP)"), depth + 1),
            _ => {}
        }
        position += 8 + size + size % 2;
    }
    if declared > bytes.len() + 1 {
        return look.obstacle("malformed-webp", at);
    }
    trailer(look, tail(bytes, declared), at, depth);
}

/// GIF and BMP hold comments at most.
pub(crate) fn plain(look: &mut Look, kind: Kind, bytes: &[u8], at: &str) {
    if kind == Kind::Bmp {
        let declared = u32_le(bytes, 2).map_or(0, |v| length(u64::from(v)));
        if declared < bytes.len() && declared >= 26 {
            look.raw_text(tail(bytes, declared), at, 7);
            look.obstacle("trailing-bytes", at);
        } else if declared > bytes.len() {
            look.obstacle("malformed-bmp", at);
        }
        return;
    }
    look.strings(bytes, at);
}

/// EXIF wherever its header stands: HEIC items, BPG extensions, raw profiles.
pub(crate) fn scan_for_exif(look: &mut Look, bytes: &[u8], at: &str) {
    let before = look.findings.len();
    for needle in [&b"II*\0"[..], b"MM\0*"] {
        for offset in memchr::memmem::find_iter(bytes, needle).take(16) {
            tiff::look(look, tail(bytes, offset), at, false);
        }
    }
    if look.findings.len() == before
        && let Some(xmp) = memchr::memmem::find(bytes, b"<x:xmpmeta")
    {
        let packet = tail(bytes, xmp);
        let end = memchr::memmem::find(packet, b"</x:xmpmeta>").unwrap_or(packet.len());
        let packet = packet.get(..end).unwrap_or_default();
        if memchr::memmem::find(packet, b"GPSLatitude").is_some() {
            look.finding("device-position", RuleClass::Structural, &format!("{at} (XMP)"), "");
        }
    }
}
