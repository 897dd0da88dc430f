//! TIFF directories, as files and as EXIF inside other pictures: where the picture was taken, and GeoTIFF tags.
//!
//! ```text
//! II|MM 42 offset(4)      entry: tag(2) type(2) count(4) value-or-offset(4)
//! II|MM 43 8 0 offset(8)  entry: tag(2) type(2) count(8) value-or-offset(8)
//! ```

use crate::finding::RuleClass;
use crate::look::Look;
use crate::octets::{length, slice, u16_be, u16_le, u32_be, u32_le, u64_be, u64_le};

/// Pages, thumbnails and sub-directories; a scanner's largest batch is below this.
const DIRECTORIES_MAX: usize = 4096;
/// Camera makers use about a hundred.
const ENTRIES_MAX: u64 = 4096;

/// Strips and tiles of one file: a map of a metre's width in tiles of 256 has a few thousand.
const STRIPS_MAX: usize = 1_000_000;
/// Fewer bytes between two strips are padding.
const GAP_BYTES_MIN: usize = 8;

const TAG_GPS: u16 = 0x8825;
const TAG_EXIF: u16 = 0x8769;
const TAG_SUB_IFDS: u16 = 0x014A;
const TAG_XMP: u16 = 700;
const TAG_IPTC: u16 = 33_723;
const TAG_PHOTOSHOP: u16 = 34_377;
/// Scale, tie points, transformation, key directory of GeoTIFF, and the tie points of Intergraph.
const GEO_TAGS: [u16; 5] = [33_550, 33_922, 34_264, 34_735, 33_920];
/// Strings people type: description, maker, model, artist, copyright, document name, comment, GDAL metadata.
const TEXT_TAGS: [u16; 12] = [269, 270, 271, 272, 305, 315, 33_432, 37_510, 40_091, 40_092, 42_112, 42_113];

struct Bytes<'a> {
    bytes: &'a [u8],
    little: bool,
    big_tiff: bool,
    /// Of strips and tiles of pixels.
    starts: Vec<usize>,
    sizes: Vec<usize>,
}

impl Bytes<'_> {
    fn u16(&self, at: usize) -> Option<u16> {
        if self.little { u16_le(self.bytes, at) } else { u16_be(self.bytes, at) }
    }
    fn u32(&self, at: usize) -> Option<u32> {
        if self.little { u32_le(self.bytes, at) } else { u32_be(self.bytes, at) }
    }
    fn u64(&self, at: usize) -> Option<u64> {
        if self.little { u64_le(self.bytes, at) } else { u64_be(self.bytes, at) }
    }
    /// An offset: four bytes, or eight in a BigTIFF.
    fn offset(&self, at: usize) -> Option<usize> {
        if self.big_tiff { self.u64(at).map(length) } else { self.u32(at).map(|v| length(u64::from(v))) }
    }
}

/// A whole TIFF: its directories, and every byte that is no pixel.
pub(crate) fn file(look: &mut Look, bytes: &[u8], at: &str, depth: u8) {
    let mut pixels = walk(look, bytes, at, true);
    if pixels.len() > STRIPS_MAX {
        look.obstacle("too-many-members", at);
    }
    pixels.sort_unstable();
    let mut end = 0;
    let mut between = Vec::new();
    for (from, to) in pixels.into_iter().chain([(bytes.len(), bytes.len())]) {
        if let Some(gap) = bytes.get(end..from).filter(|gap| !gap.is_empty()) {
            between.extend_from_slice(gap);
            between.push(0);
            if gap.len() >= GAP_BYTES_MIN && crate::text::decode(gap).is_some() {
                look.raw_text(gap, at, depth + 1);
            }
        }
        end = end.max(to);
    }
    look.strings(&between, at);
}

/// Looks at every directory of an EXIF; what cannot be read is passed over.
pub(crate) fn look(look: &mut Look, bytes: &[u8], at: &str, file: bool) {
    walk(look, bytes, at, file);
}

/// Looks at every directory, and answers where pixels lie. `file`: what cannot be read is an obstacle.
fn walk(look: &mut Look, bytes: &[u8], at: &str, file: bool) -> Vec<(usize, usize)> {
    let little = bytes.starts_with(b"II");
    let mut tiff = Bytes { bytes, little, big_tiff: false, starts: Vec::new(), sizes: Vec::new() };
    tiff.big_tiff = tiff.u16(2) == Some(43);
    let first = tiff.offset(if tiff.big_tiff { 8 } else { 4 });
    let mut queue: Vec<(usize, bool)> = first.map(|o| (o, false)).into_iter().collect();
    let mut seen = Vec::new();
    let mut readable = 0;
    while let Some((offset, gps)) = queue.pop() {
        if offset == 0 || seen.contains(&offset) {
            continue;
        }
        if seen.len() >= DIRECTORIES_MAX {
            look.obstacle("too-many-members", at);
            break;
        }
        seen.push(offset);
        match directory(look, &mut tiff, offset, gps, at, &mut queue) {
            Some(()) => readable += 1,
            None if file => look.obstacle("malformed-tiff", at),
            None => {}
        }
    }
    if file && readable == 0 {
        look.obstacle("malformed-tiff", at);
    }
    tiff.starts.iter().zip(&tiff.sizes).map(|(start, size)| (*start, start.saturating_add(*size))).collect()
}

fn directory(
    look: &mut Look,
    tiff: &mut Bytes<'_>,
    offset: usize,
    gps: bool,
    at: &str,
    queue: &mut Vec<(usize, bool)>,
) -> Option<()> {
    let (count, head, size) =
        if tiff.big_tiff { (tiff.u64(offset)?, 8, 20) } else { (u64::from(tiff.u16(offset)?), 2, 12) };
    if count > ENTRIES_MAX {
        return None;
    }
    let count = length(count);
    for n in 0..count {
        let entry = offset.checked_add(head + n * size)?;
        entry_of(look, tiff, entry, gps, at, queue)?;
    }
    // A missing next offset is common in EXIF of old cameras.
    if let Some(next) = offset.checked_add(head + count * size).and_then(|o| tiff.offset(o)) {
        queue.push((next, false));
    }
    Some(())
}

fn entry_of(
    look: &mut Look,
    tiff: &mut Bytes<'_>,
    entry: usize,
    gps: bool,
    at: &str,
    queue: &mut Vec<(usize, bool)>,
) -> Option<()> {
    let tag = tiff.u16(entry)?;
    let kind = tiff.u16(entry + 2)?;
    let (values, field) = if tiff.big_tiff {
        (length(tiff.u64(entry + 4)?), entry + 12)
    } else {
        (length(u64::from(tiff.u32(entry + 4)?)), entry + 8)
    };
    let width = match kind {
        1 | 2 | 6 | 7 => 1,
        3 | 8 => 2,
        5 | 10 | 12 | 16..=18 => 8,
        _ => 4,
    };
    let bytes = values.saturating_mul(width);
    let inline = bytes <= if tiff.big_tiff { 8 } else { 4 };
    let data = if inline { field } else { tiff.offset(field)? };
    if gps {
        // 1 to 4 are latitude and longitude; 19 to 22 the destination.
        if matches!(tag, 2 | 4 | 20 | 22) && slice(tiff.bytes, data, bytes).is_some_and(|v| v.iter().any(|b| *b != 0)) {
            look.finding("device-position", RuleClass::Structural, &format!("{at} (EXIF GPS tag {tag})"), "");
        }
        return Some(());
    }
    match tag {
        TAG_GPS => queue.push((pointer(tiff, kind, field)?, true)),
        TAG_EXIF => queue.push((pointer(tiff, kind, field)?, false)),
        TAG_SUB_IFDS => {
            for n in 0..values.min(16) {
                let place = if inline { field } else { data + n * width };
                if let Some(offset) = pointer(tiff, kind, place) {
                    queue.push((offset, false));
                }
            }
        }
        // Strips, tiles, and the picture in JPEG of old scanners: where they begin, and how long they are.
        273 | 324 | 513 => tiff.starts.extend(values_of(tiff, kind, data, values)),
        279 | 325 | 514 => tiff.sizes.extend(values_of(tiff, kind, data, values)),
        TAG_XMP | TAG_IPTC | TAG_PHOTOSHOP => {
            if let Some(value) = slice(tiff.bytes, data, bytes) {
                look.raw_text(value, &format!("{at} (tag {tag})"), 6);
            }
        }
        _ if GEO_TAGS.contains(&tag) => {
            look.finding("geotiff-tag", RuleClass::Structural, &format!("{at} (tag {tag})"), "");
        }
        _ if TEXT_TAGS.contains(&tag) => {
            if let Some(value) = slice(tiff.bytes, data, bytes.min(1 << 20)) {
                look.raw_text(value, &format!("{at} (tag {tag})"), 6);
            }
        }
        _ => {}
    }
    Some(())
}

/// Whole numbers of two, four or eight bytes.
fn values_of(tiff: &Bytes<'_>, kind: u16, at: usize, count: usize) -> Vec<usize> {
    let one = |n: usize| match kind {
        3 => tiff.u16(at.checked_add(n * 2)?).map(usize::from),
        4 | 13 => tiff.u32(at.checked_add(n * 4)?).map(|v| length(u64::from(v))),
        16 | 18 => tiff.u64(at.checked_add(n * 8)?).map(length),
        _ => None,
    };
    (0..count.min(STRIPS_MAX + 1)).map_while(one).collect()
}

fn pointer(tiff: &Bytes<'_>, kind: u16, at: usize) -> Option<usize> {
    if tiff.big_tiff && matches!(kind, 16..=18) {
        tiff.u64(at).map(length)
    } else {
        tiff.u32(at).map(|v| length(u64::from(v)))
    }
}
