//! Compound files: doc, xls, ppt, wps, msg. Streams are found through the sector tables; a sheet's cells are read,
//! the rest is searched for text in eight bits and UTF-16.
//!
//! ```text
//! header(512): … sector shift(30) … FAT count(44) directory(48) … mini cutoff(56) miniFAT(60) … DIFAT(68) … FAT(76)
//! directory entry(128): name UTF-16(64) length(2) type(1) … start(116) size(120)
//! ```

use crate::kind::Kind;
use crate::look::Look;
use crate::octets::{f64_le, length, slice, tail, u16_le, u32_le};

const END: u32 = 0xFFFF_FFFE;
const FREE: u32 = 0xFFFF_FFFF;
/// Directory entries; a message with hundreds of attachments stays below.
const ENTRIES_MAX: usize = 10_000;

pub(crate) struct Compound<'a> {
    bytes: &'a [u8],
    sector: usize,
    fat: Vec<u32>,
    mini_fat: Vec<u32>,
    mini: Vec<u8>,
    cutoff: usize,
    pub(crate) entries: Vec<Entry>,
}

pub(crate) struct Entry {
    pub name: String,
    pub stream: bool,
    start: u32,
    size: usize,
}

impl<'a> Compound<'a> {
    pub(crate) fn open(bytes: &'a [u8]) -> Option<Self> {
        let shift = u16_le(bytes, 30)?;
        if !matches!(shift, 9 | 12) {
            return None;
        }
        let mut file = Compound {
            bytes,
            sector: 1 << shift,
            fat: Vec::new(),
            mini_fat: Vec::new(),
            mini: Vec::new(),
            cutoff: length(u64::from(u32_le(bytes, 56)?)),
            entries: Vec::new(),
        };
        file.read_fat()?;
        let directory = file.chain(u32_le(bytes, 48)?, usize::MAX)?;
        // What is beyond the limit would not be looked at.
        if directory.len() / 128 > ENTRIES_MAX {
            return None;
        }
        for raw in directory.chunks_exact(128) {
            let name_bytes = usize::from(u16_le(raw, 64)?).min(64).saturating_sub(2);
            let (name, _) = encoding_rs::UTF_16LE.decode_without_bom_handling(slice(raw, 0, name_bytes)?);
            let kind = *raw.get(66)?;
            let entry = Entry {
                name: name.into_owned(),
                stream: kind == 2,
                start: u32_le(raw, 116)?,
                size: length(u64::from(u32_le(raw, 120)?)),
            };
            if kind == 5 {
                file.mini = file.chain(entry.start, entry.size)?;
            }
            if kind != 0 {
                file.entries.push(entry);
            }
        }
        let mini_fat = u32_le(bytes, 60)?;
        if mini_fat < END {
            let table = file.chain(mini_fat, usize::MAX)?;
            file.mini_fat = words(&table);
        }
        Some(file)
    }

    fn sector_at(&self, index: u32) -> Option<&'a [u8]> {
        let at = usize::try_from(index).ok()?.checked_add(1)?.checked_mul(self.sector)?;
        let rest = self.bytes.get(at..)?;
        // The last sector may be cut.
        Some(rest.get(..self.sector).unwrap_or(rest))
    }

    fn read_fat(&mut self) -> Option<()> {
        let mut sectors: Vec<u32> = (0..109).filter_map(|n| u32_le(self.bytes, 76 + n * 4)).collect();
        let mut next = u32_le(self.bytes, 68)?;
        let mut left = self.bytes.len() / self.sector + 1;
        while next < END && left > 0 {
            let table = words(self.sector_at(next)?);
            let (last, rest) = table.split_last()?;
            sectors.extend_from_slice(rest);
            next = *last;
            left -= 1;
        }
        for index in sectors.into_iter().filter(|s| *s != FREE && *s != END) {
            self.fat.extend(words(self.sector_at(index)?));
            if self.fat.len() > self.bytes.len() {
                return None;
            }
        }
        Some(())
    }

    fn chain(&self, start: u32, size: usize) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let mut next = start;
        let mut left = self.bytes.len() / self.sector + 2;
        while next < END && out.len() < size {
            left = left.checked_sub(1)?; // a chain longer than the file goes in a circle
            out.extend_from_slice(self.sector_at(next)?);
            next = *self.fat.get(usize::try_from(next).ok()?)?;
        }
        out.truncate(size);
        Some(out)
    }

    pub(crate) fn read(&self, entry: &Entry) -> Option<Vec<u8>> {
        if entry.size >= self.cutoff {
            return self.chain(entry.start, entry.size);
        }
        let mut out = Vec::new();
        let mut next = entry.start;
        let mut left = self.mini.len() / 64 + 2;
        while next < END && out.len() < entry.size {
            left = left.checked_sub(1)?;
            out.extend_from_slice(slice(&self.mini, usize::try_from(next).ok()?.checked_mul(64)?, 64)?);
            next = *self.mini_fat.get(usize::try_from(next).ok()?)?;
        }
        out.truncate(entry.size);
        Some(out)
    }
}

fn words(bytes: &[u8]) -> Vec<u32> {
    bytes.as_chunks::<4>().0.iter().map(|w| u32::from_le_bytes(*w)).collect()
}

/// PidTagAttachDataBinary of MS-OXMSG, as bytes.
const ATTACHED: &str = "__substg1.0_37010102";

/// Looks at every stream.
pub(crate) fn look(look: &mut Look, bytes: &[u8], at: &str, depth: u8) {
    let Some(file) = Compound::open(bytes) else {
        look.strings(bytes, at);
        return look.obstacle("malformed-compound-file", at);
    };
    for entry in file.entries.iter().filter(|e| e.stream) {
        let place = format!("{at}!{}", entry.name.trim_start_matches(|c: char| c.is_control()));
        let Some(content) = file.read(entry) else {
            look.obstacle("malformed-compound-file", &place);
            continue;
        };
        if !look.member(content.len(), at) {
            return;
        }
        match entry.name.as_str() {
            "EncryptedPackage" | "EncryptionInfo" | "EncryptedSummary" => look.obstacle("encrypted", &place),
            "Workbook" | "Book" => workbook(look, &content, &place),
            "WordDocument" => {
                // FIB: fEncrypted is bit 8 of the flags at 10.
                if u16_le(&content, 10).is_some_and(|flags| flags & 0x0100 != 0) {
                    look.obstacle("encrypted", &place);
                }
                look.strings(&content, &place);
            }
            "\u{1}Ole10Native" | "Package" | "CONTENTS" => {
                embedded(look, &content, &place, depth);
            }
            "Current User" => {
                // A header token of F3D1C4DF says that the presentation is encrypted.
                if u32_le(&content, 12) == Some(0xF3D1_C4DF) {
                    look.obstacle("encrypted", &place);
                }
            }
            // Attachments of a message lie in streams as they are.
            name if name.starts_with(ATTACHED) => {
                let kind = look.file("", &content, &place, depth + 1);
                if !kind.is_words() {
                    look.stands_inside(kind, &place);
                }
            }
            _ if Kind::of_magic(&content).is_some_and(Kind::is_document) => {
                let kind = look.file("", &content, &place, depth + 1);
                look.stands_inside(kind, &place);
            }
            _ => {
                look.strings(&content, &place);
                pictures(look, &content, &place, depth);
            }
        }
    }
}

/// An object that was dropped into the document: a header of names, then the file. False: no file is known in it.
pub(crate) fn embedded(look: &mut Look, content: &[u8], at: &str, depth: u8) -> bool {
    look.strings(content, at);
    if let Some((name, inner)) = packaged(content) {
        let kind = look.file(&name, inner, at, depth + 1);
        look.named_as(&name, kind, at);
        look.stands_inside(kind, at);
        return true;
    }
    let magics: [&[u8]; 4] = [b"PK\x03\x04", b"%PDF-", b"\xFF\xD8\xFF", b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1"];
    for magic in magics {
        if let Some(start) = memchr::memmem::find(content, magic) {
            let kind = look.file("", tail(content, start), at, depth + 1);
            if !kind.is_ingredient() {
                look.stands_inside(kind, at);
            }
            return true;
        }
    }
    false
}

/// size(4) flags(2) label NUL path NUL reserved(4) length(4) path size(4) file: how Packager wraps a file.
fn packaged(content: &[u8]) -> Option<(String, &[u8])> {
    let mut rest = slice(content, 6, content.len().checked_sub(6)?)?;
    let text = |rest: &mut &'_ [u8]| {
        let end = memchr::memchr(0, rest)?;
        let text = String::from_utf8_lossy(rest.get(..end)?).into_owned();
        *rest = rest.get(end + 1..)?;
        Some(text)
    };
    let name = text(&mut rest)?;
    text(&mut rest)?;
    let path = length(u64::from(u32_le(rest, 4)?));
    let size = length(u64::from(u32_le(rest, 8usize.checked_add(path)?)?));
    Some((name, slice(rest, path.checked_add(12)?, size)?))
}

/// Photographs inside `Data` and `Pictures` streams keep their EXIF.
fn pictures(look: &mut Look, content: &[u8], at: &str, depth: u8) {
    let _ = depth;
    for start in memchr::memmem::find_iter(content, b"Exif\0\0") {
        crate::tiff::look(look, tail(content, start + 6), at, false);
    }
}

/// BIFF records: numbers, small numbers, results of formulas, and the strings between them.
fn workbook(look: &mut Look, stream: &[u8], at: &str) {
    let mut cells = String::new();
    let mut row = None;
    let mut position = 0;
    let mut separate = |cells: &mut String, record: &[u8]| {
        let this = u16_le(record, 0);
        cells.push(if row == this { '\t' } else { '\n' });
        row = this;
    };
    while let (Some(kind), Some(size)) = (u16_le(stream, position), u16_le(stream, position + 2)) {
        let Some(record) = slice(stream, position + 4, usize::from(size)) else { break };
        match kind {
            0x002F => return look.obstacle("encrypted", at),
            0x0203 | 0x0006 => {
                if let Some(value) = f64_le(record, 6) {
                    separate(&mut cells, record);
                    crate::geodata::print_number(value, &mut cells);
                }
            }
            0x027E | 0x007E => {
                if let Some(rk) = u32_le(record, 6) {
                    separate(&mut cells, record);
                    crate::geodata::print_number(rk_value(rk), &mut cells);
                }
            }
            0x00BD => {
                let mut cell = 4;
                while let (Some(rk), true) = (u32_le(record, cell + 2), cell + 6 <= record.len().saturating_sub(2)) {
                    separate(&mut cells, record);
                    crate::geodata::print_number(rk_value(rk), &mut cells);
                    cell += 6;
                }
            }
            _ => {}
        }
        position += 4 + usize::from(size);
    }
    look.scan_text(&cells, &format!("{at} (cells)"));
    look.strings(stream, at);
}

/// RK: thirty bits of an integer or of a double, perhaps in hundredths.
pub(crate) fn rk_value(rk: u32) -> f64 {
    let value =
        if rk & 2 != 0 { f64::from(rk.cast_signed() >> 2) } else { f64::from_bits(u64::from(rk & 0xFFFF_FFFC) << 32) };
    if rk & 1 != 0 { value / 100.0 } else { value }
}
