//! JPEG, PNG, WebP, GIF and BMP: metadata, comments, and what is glued behind the last pixel.

use crate::finding::RuleClass;
use crate::kind::Kind;
use crate::look::Look;
use crate::octets::{head, length, slice, tail, u16_be, u16_le, u32_be, u32_le};
use crate::tiff;

/// Chunks or segments of one picture; a large PNG has tens of thousands of IDAT.
const SEGMENTS_MAX: u32 = 200_000;

/// Blocks of one GIF; a film of an hour has some hundred thousand.
const BLOCKS_MAX: u32 = 2_000_000;

/// A text beside the pixels; drawing programs keep a whole drawing in one.
const TEXT_BYTES_MAX: usize = 64 << 20;

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
                segment(look, marker, body, at, depth);
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
        look.strings(body, &format!("{at} (EXIF)"));
    } else if body.starts_with(b"http://ns.adobe.com/xap/1.0/\0")
        || body.starts_with(b"http://ns.adobe.com/xmp/extension/\0")
    {
        look.raw_text(tail(body, 29), &format!("{at} (XMP)"), depth + 1);
    } else if marker == 0xFE {
        look.raw_text(body, &format!("{at} (comment)"), depth + 1);
    } else {
        look.strings(body, &format!("{at} (segment {marker:02x})"));
    }
}

/// Bytes behind the end. Padding is nothing; a second picture is looked at; the rest no viewer shows.
fn trailer(look: &mut Look, rest: &[u8], at: &str, depth: u8) {
    if let Some(blocks) = phone_blocks(rest) {
        return phone(look, &blocks, &format!("{at} (behind the end)"), depth);
    }
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

/// Blocks behind a photograph; phones write a dozen.
const PHONE_BLOCKS_MAX: usize = 256;

/// What the phones of one maker write behind a photograph, from the first byte to the last.
///
/// ```text
/// per block: 0(2) type(2) name length(4) name data | SEFH version(4) count(4) per block: 0(2) type(2) back(4) size(4)
/// | length of the directory(4) SEFT
/// ```
fn phone_blocks(rest: &[u8]) -> Option<Vec<&[u8]>> {
    let end = rest.strip_suffix(b"SEFT")?.len().checked_sub(4)?;
    let directory = end.checked_sub(length(u64::from(u32_le(rest, end)?)))?;
    let entries = slice(rest, directory, end - directory)?;
    let count = entries.strip_prefix(b"SEFH").and_then(|_| u32_le(entries, 8)).map(|n| length(u64::from(n)))?;
    if count > PHONE_BLOCKS_MAX || entries.len() != 12 + count * 12 {
        return None;
    }
    let mut places = Vec::new();
    for n in 0..count {
        let (back, size) = (u32_le(entries, 12 + n * 12 + 4)?, u32_le(entries, 12 + n * 12 + 8)?);
        let start = directory.checked_sub(length(u64::from(back)))?;
        places.push((start, start.checked_add(length(u64::from(size)))?));
    }
    places.sort_unstable();
    // Each begins where the one before ends; the first at the end of the picture.
    let mut expected = 0;
    for (start, end) in &places {
        if *start != expected {
            return None;
        }
        expected = *end;
    }
    let blocks = places.into_iter().map(|(start, end)| rest.get(start..end)).collect::<Option<Vec<_>>>()?;
    (expected == directory).then_some(blocks)
}

/// Names and values, and now and then a film of a second or two.
fn phone(look: &mut Look, blocks: &[&[u8]], at: &str, depth: u8) {
    for block in blocks {
        let name = u32_le(block, 4).map_or(0, |size| length(u64::from(size)));
        let Some(name) = slice(block, 8, name) else { return look.obstacle("trailing-bytes", at) };
        look.raw_text(name, at, depth + 1);
        let value = tail(block, 8 + name.len());
        match Kind::of_magic(value) {
            Some(Kind::Empty) => {}
            Some(_) => {
                look.file("", value, at, depth + 1);
            }
            None => look.raw_text(value, at, depth + 1),
        }
    }
}

/// Chunk by chunk to IEND.
pub(crate) fn png(look: &mut Look, bytes: &[u8], at: &str, depth: u8) {
    let mut position = 8;
    let mut pixels = Vec::new();
    for _ in 0..SEGMENTS_MAX {
        let Some(size) = u32_be(bytes, position).map(|v| length(u64::from(v))) else { break };
        let Some(kind) = slice(bytes, position + 4, 4) else { break };
        let Some(body) = slice(bytes, position + 8, size) else { break };
        let place = || format!("{at} ({})", String::from_utf8_lossy(kind));
        match kind {
            b"IEND" => {
                png_pixels(look, &pixels, at, depth);
                return trailer(look, tail(bytes, position + 12), at, depth);
            }
            b"eXIf" => tiff::look(look, body, at, false),
            b"tEXt" => look.raw_text(body, &place(), depth + 1),
            b"zTXt" | b"iCCP" => png_packed(look, behind_nul(body).map(|rest| tail(rest, 1)), &place(), depth),
            b"iTXt" => {
                look.raw_text(body, &place(), depth + 1);
                // keyword NUL packed(1) method(1) language NUL keyword NUL text
                let text = behind_nul(body).and_then(|rest| behind_nul(tail(rest, 2))).and_then(behind_nul);
                png_packed(look, text, &place(), depth);
            }
            b"IDAT" => pixels.extend_from_slice(body),
            _ => look.strings(body, &place()),
        }
        position += 12 + size;
    }
    look.obstacle("malformed-png", at);
}

fn behind_nul(bytes: &[u8]) -> Option<&[u8]> {
    memchr::memchr(0, bytes).map(|nul| tail(bytes, nul + 1))
}

/// Pixels of one picture: thirty thousand by twenty thousand in colour.
const PIXEL_BYTES_MAX: u64 = 2 << 30;

/// The packed pixels end where their stream ends; what follows in the same chunks nobody draws.
fn png_pixels(look: &mut Look, packed: &[u8], at: &str, depth: u8) {
    let mut stream = flate2::Decompress::new(true);
    let mut drawn = vec![0; 1 << 16];
    loop {
        let before = (stream.total_in(), stream.total_out());
        let rest = tail(packed, length(before.0));
        match stream.decompress(rest, &mut drawn, flate2::FlushDecompress::None) {
            Ok(flate2::Status::StreamEnd) => break,
            _ if before.1 > PIXEL_BYTES_MAX => return look.obstacle("expands-too-far", at),
            Ok(_) if (stream.total_in(), stream.total_out()) != before => {}
            // Cut short or broken: every viewer draws its front.
            _ => return look.strings(packed, at),
        }
    }
    let behind = tail(packed, length(stream.total_in()));
    if behind.len() >= STRAY_BYTES_MAX {
        look.raw_text(behind, at, depth + 1);
        look.obstacle("trailing-bytes", at);
    }
}

/// A text in zlib.
fn png_packed(look: &mut Look, packed: Option<&[u8]>, at: &str, depth: u8) {
    let limit = look.expanded_left().min(TEXT_BYTES_MAX);
    if let Some(plain) = packed.and_then(|packed| crate::pdf::inflate_zlib(packed, limit)) {
        if plain.len() >= limit || !look.member(plain.len(), at) {
            look.obstacle("expands-too-far", at);
        }
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
            Some(b"VP8 " | b"VP8L" | b"ALPH" | b"ANMF") => {}
            _ => look.raw_text(body, at, depth + 1),
        }
        position += 8 + size + size % 2;
    }
    if declared > bytes.len() + 1 {
        return look.obstacle("malformed-webp", at);
    }
    trailer(look, tail(bytes, declared), at, depth);
}

/// Block by block to the trailer.
pub(crate) fn gif(look: &mut Look, bytes: &[u8], at: &str, depth: u8) {
    look.strings(bytes, at);
    match gif_end(look, bytes, at, depth) {
        Some(end) => trailer(look, tail(bytes, end), at, depth),
        None => look.obstacle("malformed-gif", at),
    }
}

fn gif_end(look: &mut Look, bytes: &[u8], at: &str, depth: u8) -> Option<usize> {
    let colours = |flags: u8| if flags & 0x80 == 0 { 0 } else { 3 << (usize::from(flags & 7) + 1) };
    let mut position = 13 + colours(*bytes.get(10)?);
    for _ in 0..BLOCKS_MAX {
        match bytes.get(position) {
            Some(0x3B) => return Some(position + 1),
            // Cut off between two blocks: nothing is behind it.
            None if position == bytes.len() => return Some(position),
            Some(0x21) => {
                let (content, end) = blocks(bytes, position + 2)?;
                look.raw_text(&content, &format!("{at} (extension)"), depth + 1);
                position = end;
            }
            Some(0x2C) => {
                let data = position + 10 + colours(*bytes.get(position + 9)?) + 1;
                position = blocks(bytes, data)?.1;
            }
            _ => return None,
        }
    }
    None
}

/// Pieces of at most 255 bytes, each behind its length, to the empty one; and where they end.
fn blocks(bytes: &[u8], mut at: usize) -> Option<(Vec<u8>, usize)> {
    let mut content = Vec::new();
    loop {
        let size = usize::from(*bytes.get(at)?);
        if size == 0 {
            return Some((content, at + 1));
        }
        content.extend_from_slice(slice(bytes, at + 1, size)?);
        at += 1 + size;
    }
}

/// The header, the palette, and what lies behind the last row of pixels.
pub(crate) fn bmp(look: &mut Look, bytes: &[u8], at: &str, depth: u8) {
    let (Some(pixels), Some(end)) = (u32_le(bytes, 10).map(|v| length(u64::from(v))), bmp_end(bytes)) else {
        look.raw_text(bytes, at, depth + 1);
        return look.obstacle("malformed-bmp", at);
    };
    let declared = u32_le(bytes, 2).map_or(0, |v| length(u64::from(v)));
    if declared > bytes.len() || end > bytes.len() {
        look.obstacle("malformed-bmp", at);
    }
    look.strings(head(bytes, pixels), at);
    let behind = tail(bytes, end);
    if behind.iter().filter(|b| **b != 0).count() >= STRAY_BYTES_MAX {
        look.raw_text(behind, at, depth + 1);
        // The last version of the header keeps a profile of colours there.
        if u32_le(bytes, 14) != Some(124) || declared < bytes.len() {
            look.obstacle("trailing-bytes", at);
        }
    }
}

/// Where the last row ends.
fn bmp_end(bytes: &[u8]) -> Option<usize> {
    let pixels = length(u64::from(u32_le(bytes, 10)?));
    let header = u32_le(bytes, 14)?;
    let (width, height, bits, packed, told) = match header {
        12 => (u64::from(u16_le(bytes, 18)?), u64::from(u16_le(bytes, 20)?), u16_le(bytes, 24)?, 0, 0),
        16 | 40 | 52 | 56 | 64 | 108 | 124 => (
            u64::from(u32_le(bytes, 18)?),
            u64::from(u32_le(bytes, 22)?.cast_signed().unsigned_abs()),
            u16_le(bytes, 28)?,
            u32_le(bytes, 30)?,
            u32_le(bytes, 34)?,
        ),
        _ => return None,
    };
    let row = width.checked_mul(u64::from(bits))?.div_ceil(32) * 4;
    // Packed rows are as long as the header says; plain ones as long as they are.
    let size = if matches!(packed, 0 | 3 | 6) || header == 16 { row.checked_mul(height)? } else { u64::from(told) };
    (pixels >= 14 + 12).then(|| pixels.checked_add(length(size)))?
}

/// Headers of EXIF in one file; the four bytes turn up by chance once in four thousand million.
const HEADERS_MAX: usize = 4_096;

/// EXIF wherever its header stands: HEIC items, BPG extensions, raw profiles.
pub(crate) fn scan_for_exif(look: &mut Look, bytes: &[u8], at: &str) {
    let before = look.findings.len();
    for needle in [&b"II*\0"[..], b"MM\0*"] {
        for (n, offset) in memchr::memmem::find_iter(bytes, needle).enumerate() {
            if n >= HEADERS_MAX {
                look.obstacle("too-many-members", at);
                break;
            }
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
