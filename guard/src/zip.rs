//! ZIP archives and everything that is one: docx, xlsx, ofd, odf, kmz.
//!
//! Read twice: the central directory says what is there, each local header must agree, and the members must
//! cover the file from its first byte to the directory. What lies outside would be seen by one reader and not by
//! another. Knows nothing of what members mean.
//!
//! ```text
//! local header(30) name extra data …  central header(46) name extra comment …  [zip64]  end record(22) comment
//! ```

use std::io::Read;
use std::ops::Range;

use crate::kind::Kind;
use crate::look::Look;
use crate::octets::{head, length, slice, tail, u16_le, u32_le, u64_le};

/// One member may expand to this: a day of scans in one XML. Beyond it is a bomb.
const MEMBER_BYTES_MAX: u64 = 128 << 20;
/// Deflate cannot do better than 1,032 : 1, but honest documents stay far below; small members are let off.
const RATIO_MAX: u64 = 400;
const RATIO_FROM_BYTES: u64 = 4 << 20;
/// More entries than a fifty-thousand-file parcel may have.
const ENTRIES_MAX: usize = 60_000;
/// An extra field that nobody here knows may be so long: an owner, a time, a checksum.
const FIELD_BYTES_MAX: usize = 64;
/// End record of a ZIP64 without anything of somebody's own, and the locator behind it.
const ZIP64_RECORD_BYTES: u64 = 44;
const ZIP64_END_BYTES: usize = 56 + 20;

pub(crate) struct Entry {
    pub name: String,
    flags: u16,
    method: u16,
    compressed: usize,
    pub size: u64,
    local: usize,
    crc: u32,
    /// Extra fields and comment, where the directory keeps them.
    extra: Range<usize>,
    comment: Range<usize>,
}

/// Why an archive cannot be looked into; the words are rule names.
type Obstacle = &'static str;

/// The directory of an archive, checked against what lies in the file.
pub(crate) fn directory(bytes: &[u8]) -> Result<Vec<Entry>, Obstacle> {
    let end = end_record(bytes).ok_or("malformed-zip")?;
    let comment = usize::from(u16_le(bytes, end + 20).ok_or("malformed-zip")?);
    if end + 22 + comment != bytes.len() {
        return Err("trailing-bytes");
    }
    let mut count = usize::from(u16_le(bytes, end + 10).ok_or("malformed-zip")?);
    let mut start = length(u64::from(u32_le(bytes, end + 16).ok_or("malformed-zip")?));
    if !matches!(u16_le(bytes, end + 4), Some(0 | 0xFFFF)) {
        return Err("split-zip");
    }
    if start == 0xFFFF_FFFF || count == 0xFFFF {
        let locator = end.checked_sub(20).ok_or("malformed-zip")?;
        if slice(bytes, locator, 4) == Some(b"PK\x06\x07") {
            let record = length(u64_le(bytes, locator + 8).ok_or("malformed-zip")?);
            count = length(u64_le(bytes, record.saturating_add(32)).ok_or("malformed-zip")?);
            start = length(u64_le(bytes, record.saturating_add(48)).ok_or("malformed-zip")?);
        }
    }
    if count > ENTRIES_MAX {
        return Err("too-many-members");
    }
    let mut entries = Vec::new();
    let mut at = start;
    for _ in 0..count {
        let (entry, next) = central(bytes, at).ok_or("malformed-zip")?;
        entries.push(entry);
        at = next;
    }
    covers(bytes, &entries, start)?;
    if at != end && !is_zip64_end(bytes, at, end) {
        return Err("bytes-between-members");
    }
    Ok(entries)
}

/// Between the directory and the end record may stand the end record of a ZIP64, and nothing else.
fn is_zip64_end(bytes: &[u8], at: usize, end: usize) -> bool {
    at.checked_add(ZIP64_END_BYTES) == Some(end)
        && slice(bytes, at, 4) == Some(b"PK\x06\x06")
        && u64_le(bytes, at + 4) == Some(ZIP64_RECORD_BYTES)
        && slice(bytes, at + 56, 4) == Some(b"PK\x06\x07")
}

fn end_record(bytes: &[u8]) -> Option<usize> {
    let from = bytes.len().saturating_sub(22 + 65_535);
    memchr::memmem::rfind(tail(bytes, from), b"PK\x05\x06").map(|at| from + at)
}

fn central(bytes: &[u8], at: usize) -> Option<(Entry, usize)> {
    let header = slice(bytes, at, 46)?;
    if !header.starts_with(b"PK\x01\x02") {
        return None;
    }
    let (name_bytes, extra_bytes, comment_bytes) =
        (usize::from(u16_le(header, 28)?), usize::from(u16_le(header, 30)?), usize::from(u16_le(header, 32)?));
    let name = slice(bytes, at + 46, name_bytes)?;
    let extra_at = at + 46 + name_bytes;
    let extra = slice(bytes, extra_at, extra_bytes)?;
    let mut size = u64::from(u32_le(header, 24)?);
    let mut compressed = u64::from(u32_le(header, 20)?);
    let mut local = u64::from(u32_le(header, 42)?);
    zip64(extra, &mut [&mut size, &mut compressed, &mut local]);
    let flags = u16_le(header, 8)?;
    let name = match std::str::from_utf8(name) {
        Ok(name) => name.to_owned(),
        Err(_) => encoding_rs::GB18030.decode_without_bom_handling(name).0.into_owned(),
    };
    let entry = Entry {
        name,
        flags,
        method: u16_le(header, 10)?,
        compressed: length(compressed),
        size,
        local: length(local),
        crc: u32_le(header, 16)?,
        extra: extra_at..extra_at + extra_bytes,
        comment: extra_at + extra_bytes..extra_at + extra_bytes + comment_bytes,
    };
    Some((entry, extra_at + extra_bytes + comment_bytes))
}

/// Field 0x0001 holds, in order, what did not fit into 32 bits.
fn zip64(mut extra: &[u8], fields: &mut [&mut u64]) {
    while let (Some(id), Some(size)) = (u16_le(extra, 0), u16_le(extra, 2)) {
        let body = slice(extra, 4, usize::from(size)).unwrap_or_default();
        if id == 1 {
            let mut at = 0;
            for field in fields.iter_mut() {
                if **field == 0xFFFF_FFFF {
                    **field = u64_le(body, at).unwrap_or(u64::MAX);
                    at += 8;
                }
            }
        }
        extra = tail(extra, 4 + usize::from(size));
    }
}

/// Members, in the order they lie, must follow each other from the first byte to the directory.
fn covers(bytes: &[u8], entries: &[Entry], directory: usize) -> Result<(), Obstacle> {
    let mut order: Vec<&Entry> = entries.iter().collect();
    order.sort_by_key(|e| e.local);
    let (mut expected, mut before) = (0_usize, None);
    for entry in order {
        if entry.local < expected {
            return Err("overlapping-members");
        }
        let gap = slice(bytes, expected, entry.local - expected).ok_or("malformed-zip")?;
        if !is_descriptor(gap, before) {
            return Err(if expected == 0 { "leading-bytes" } else { "bytes-between-members" });
        }
        let local = local(bytes, entry).ok_or("local-header-disagrees")?;
        expected = local.data.checked_add(entry.compressed).ok_or("malformed-zip")?;
        before = Some(entry);
    }
    let gap = directory.checked_sub(expected).and_then(|n| slice(bytes, expected, n)).ok_or("malformed-zip")?;
    let covered = is_descriptor(gap, before);
    if covered { Ok(()) } else { Err(if expected == 0 { "leading-bytes" } else { "bytes-between-members" }) }
}

/// Between members only the descriptor of the one before may stand: 12 to 24 bytes, with or without its signature, or
/// padding.
fn is_descriptor(gap: &[u8], before: Option<&Entry>) -> bool {
    if gap.is_empty() || (gap.len() < 8192 && gap.iter().all(|b| *b == 0)) {
        return true;
    }
    let told = gap.strip_prefix(b"PK\x07\x08").unwrap_or(gap);
    let sizes = match told.len() {
        12 => [u32_le(told, 4).map(u64::from), u32_le(told, 8).map(u64::from)],
        20 => [u64_le(told, 4), u64_le(told, 12)],
        _ => return false,
    };
    before.is_some_and(|entry| {
        u32_le(told, 0) == Some(entry.crc) && sizes == [Some(entry.compressed as u64), Some(entry.size)]
    })
}

/// The local header of a member: where its data begins, and its extra fields.
struct Local {
    data: usize,
    extra: Range<usize>,
}

/// The local header, if it tells the same as the directory.
fn local(bytes: &[u8], entry: &Entry) -> Option<Local> {
    let header = slice(bytes, entry.local, 30)?;
    if !header.starts_with(b"PK\x03\x04") || u16_le(header, 8)? != entry.method {
        return None;
    }
    let flags = u16_le(header, 6)?;
    let name_bytes = usize::from(u16_le(header, 26)?);
    let name = slice(bytes, entry.local + 30, name_bytes)?;
    let same_name = match std::str::from_utf8(name) {
        Ok(name) => name == entry.name,
        Err(_) => encoding_rs::GB18030.decode_without_bom_handling(name).0 == entry.name,
    };
    // With a descriptor the local sizes are zero; without, they must be the directory's.
    let size = u64::from(u32_le(header, 22)?);
    let streamed = flags & 8 != 0 || size == 0xFFFF_FFFF;
    if !same_name || (flags & 1) != (entry.flags & 1) || (!streamed && size != entry.size) {
        return None;
    }
    let extra_bytes = usize::from(u16_le(header, 28)?);
    let extra_at = entry.local + 30 + name_bytes;
    Some(Local { data: extra_at + extra_bytes, extra: extra_at..extra_at + extra_bytes })
}

/// The bytes of a member.
pub(crate) fn content(bytes: &[u8], entry: &Entry) -> Result<Vec<u8>, Obstacle> {
    if entry.flags & 0x2041 != 0 || entry.method == 99 {
        return Err("encrypted");
    }
    let data = local(bytes, entry).ok_or("local-header-disagrees")?.data;
    let raw = slice(bytes, data, entry.compressed).ok_or("malformed-zip")?;
    if entry.size > MEMBER_BYTES_MAX {
        return Err("expands-too-far");
    }
    let out = match entry.method {
        0 => raw.to_vec(),
        8 => inflate(raw, entry.size)?,
        _ => return Err("unknown-compression"),
    };
    let mut crc = flate2::Crc::new();
    crc.update(&out);
    if crc.sum() != entry.crc || out.len() as u64 != entry.size {
        return Err("malformed-zip");
    }
    Ok(out)
}

fn inflate(raw: &[u8], size: u64) -> Result<Vec<u8>, Obstacle> {
    if size > RATIO_FROM_BYTES && size / RATIO_MAX > raw.len() as u64 {
        return Err("expands-too-far");
    }
    // One byte more than promised shows that the promise was a lie; what was promised is bounded above.
    let mut out = Vec::with_capacity(length(size.min(raw.len() as u64 * 16)));
    let mut reader = flate2::read::DeflateDecoder::new(raw).take(size + 1);
    reader.read_to_end(&mut out).map_err(|_| "malformed-zip")?;
    // Behind the end of the packed stream nobody unpacks anything.
    if out.len() as u64 == size && reader.get_ref().total_in() != raw.len() as u64 {
        return Err("trailing-bytes");
    }
    Ok(out)
}

/// What kind of document the archive is, by the names of its members.
pub(crate) fn flavour(entries: &[Entry], bytes: &[u8]) -> Kind {
    let has = |prefix: &str| entries.iter().any(|e| e.name.starts_with(prefix));
    if has("[Content_Types].xml") {
        if has("word/") {
            return Kind::Docx;
        }
        if has("xl/") {
            return Kind::Xlsx;
        }
        if has("ppt/") {
            return Kind::Pptx;
        }
    }
    if has("OFD.xml") {
        return Kind::Ofd;
    }
    if memchr::memmem::find(head(bytes, 128), b"mimetypeapplication/vnd.oasis").is_some() {
        return Kind::Odf;
    }
    Kind::Zip
}

/// Looks at every member, and says what the archive is.
pub(crate) fn look(look: &mut Look, bytes: &[u8], at: &str, depth: u8) -> Kind {
    let entries = match directory(bytes) {
        Ok(entries) => entries,
        Err(obstacle) => {
            look.obstacle(obstacle, at);
            // Whatever can still be read of it may be evidence.
            salvage(look, bytes, at, depth);
            return Kind::Zip;
        }
    };
    let kind = flavour(&entries, bytes);
    look.raw_text(comment(bytes), &format!("{at} (comment)"), depth + 1);
    let outside = look.workbook((kind == Kind::Xlsx).then(|| shared_strings(bytes, &entries)));
    members(look, bytes, &entries, kind, at, depth);
    look.workbook(outside);
    kind
}

/// What the archive says of itself behind its end record.
fn comment(bytes: &[u8]) -> &[u8] {
    end_record(bytes).map(|end| tail(bytes, end + 22)).unwrap_or_default()
}

/// What is said beside a member: its comment, and its extra fields in both directories.
fn beside(look: &mut Look, bytes: &[u8], entry: &Entry, at: &str, depth: u8) {
    look.raw_text(bytes.get(entry.comment.clone()).unwrap_or_default(), &format!("{at} (comment)"), depth + 1);
    let local = local(bytes, entry).map(|local| local.extra).unwrap_or_default();
    for range in [entry.extra.clone(), local] {
        let extra = bytes.get(range).unwrap_or_default();
        if extra.len() > FIELD_BYTES_MAX / 2 {
            look.strings(extra, &format!("{at} (extra field)"));
        }
        if !is_known_extra(extra) {
            look.obstacle("bytes-between-members", at);
        }
    }
}

/// Fields nobody knows are small, or padding of zeros.
fn is_known_extra(mut extra: &[u8]) -> bool {
    while let (Some(id), Some(size)) = (u16_le(extra, 0), u16_le(extra, 2)) {
        let Some(field) = slice(extra, 4, usize::from(size)) else { return extra.len() <= FIELD_BYTES_MAX };
        // Names and comments once more in Unicode, padding by which a file may grow, and permissions.
        let known = matches!(id, 0x7075 | 0x6375 | 0xA11E | 0xA220 | 0x4453 | 0x0000);
        let zeros = field.iter().skip(4).all(|b| *b == 0);
        if field.len() > FIELD_BYTES_MAX && !known && !zeros {
            return false;
        }
        extra = tail(extra, 4 + field.len());
    }
    true
}

/// The words of a workbook stand in a part of their own; without them its columns have no names.
fn shared_strings(bytes: &[u8], entries: &[Entry]) -> Vec<String> {
    let part = entries.iter().find(|entry| entry.name.ends_with("sharedStrings.xml"));
    let content = part.and_then(|entry| content(bytes, entry).ok()).unwrap_or_default();
    crate::text::decode(&content).map(|text| crate::xml::shared_strings(&text)).unwrap_or_default()
}

fn members(look: &mut Look, bytes: &[u8], entries: &[Entry], kind: Kind, at: &str, depth: u8) {
    let packaged = entries.iter().any(|entry| entry.name == "[Content_Types].xml");
    for entry in entries {
        let place = format!("{at}!{}", entry.name);
        look.name(&entry.name, &place);
        beside(look, bytes, entry, &place, depth);
        if entry.name.ends_with('/') && entry.size == 0 && entry.compressed == 0 {
            continue;
        }
        if !look.member(length(entry.size), at) {
            return;
        }
        if kind == Kind::Ofd && entry.name.contains("Signs/") || entry.name.starts_with("_xmlsignatures/") {
            look.signed = true;
        }
        match content(bytes, entry) {
            Ok(content) => {
                if kind == Kind::Odf
                    && entry.name == "META-INF/manifest.xml"
                    && memchr::memmem::find(&content, b"encryption-data").is_some()
                {
                    look.obstacle("encrypted", &place);
                }
                let tolerated = is_settings(kind, packaged, &entry.name);
                look.settings(kind == Kind::Odf && entry.name == "settings.xml");
                let found = look.member_file(&entry.name, &content, &place, depth + 1, tolerated);
                look.settings(false);
                // Documents name their own parts as they like.
                if kind == Kind::Zip && !packaged {
                    look.named_as(&entry.name, found, &place);
                }
                if kind == Kind::Zip || !found.is_ingredient() {
                    look.stands_inside(found, &place);
                }
                if tolerated {
                    crate::buried::look(look, &content, &place, depth + 1);
                }
                if kind == Kind::Ofd
                    && found == Kind::Xml
                    && let Some(part) = crate::text::decode(&content)
                {
                    crate::ofd::look(look, &part, &place, depth + 1);
                }
            }
            Err(obstacle) => look.obstacle(obstacle, &place),
        }
    }
}

/// Printer settings and the like: binary by nature, written by every office program, shown by none.
fn is_settings(kind: Kind, packaged: bool, name: &str) -> bool {
    match kind {
        Kind::Docx | Kind::Xlsx | Kind::Pptx => name.contains("printerSettings") || name.ends_with(".odttf"),
        Kind::Odf => name == "layout-cache",
        // Fonts of a printed page are veiled as those of a document are.
        _ => packaged && name.ends_with(".odttf"),
    }
}

/// The front of a broken or appended-to archive, as far as its own end record allows.
fn salvage(look: &mut Look, bytes: &[u8], at: &str, depth: u8) {
    let Some(end) = end_record(bytes) else { return };
    let behind = tail(bytes, end + 22);
    look.raw_text(behind, at, depth + 1);
    let whole = head(bytes, end + 22);
    if whole.len() < bytes.len()
        && let Ok(entries) = directory(whole)
    {
        for entry in entries.iter().take(256) {
            if let Ok(content) = content(whole, entry) {
                look.file(&entry.name, &content, &format!("{at}!{}", entry.name), depth + 1);
            }
        }
    }
}
