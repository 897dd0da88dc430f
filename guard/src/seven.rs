//! 7z archives, as far as LZMA goes. Other methods, and locked ones, are not looked into.
//!
//! ```text
//! 7z¼¯'␜(6) version(2) crc(4) | next header: offset(8) size(8) crc(4) | packed streams … next header
//! ```

use std::io::{Cursor, Read};

use sevenz_rust2::{Archive, ArchiveEntry, BlockDecoder, Error, Password};

use crate::look::Look;
use crate::octets::{head, length, slice, tail, u32_le, u64_le};
use crate::packed::WINDOW_BYTES_MAX;

/// Members may hold this together for each packed byte; beyond it is a bomb.
const RATIO_MAX: usize = 400;
const RATIO_FROM_BYTES: usize = 4 << 20;
/// The list of members of an archive.
const HEADER_BYTES_MAX: usize = 4 << 20;
/// More members than a parcel of fifty thousand files has.
const MEMBERS_MAX: usize = 60_000;

/// Looks at every member.
pub(crate) fn look(look: &mut Look, bytes: &[u8], at: &str, depth: u8) {
    if let Err(obstacle) = members(look, bytes, at, depth) {
        look.obstacle(obstacle, at);
    }
}

fn members(look: &mut Look, bytes: &[u8], at: &str, depth: u8) -> Result<(), &'static str> {
    bounds(bytes)?;
    let (mut source, nobodys) = (Cursor::new(bytes), Password::empty());
    let archive = Archive::read(&mut source, &nobodys).map_err(obstacle)?;
    if archive.files.len() > MEMBERS_MAX {
        return Err("too-many-members");
    }
    let coders = || archive.blocks.iter().flat_map(|block| &block.coders);
    if coders().any(|coder| dictionary(coder.encoder_method_id(), coder.properties()) > WINDOW_BYTES_MAX) {
        return Err("expands-too-far");
    }
    let limit = look.expanded_left().min(bytes.len().saturating_mul(RATIO_MAX).max(RATIO_FROM_BYTES));
    let all = archive.files.iter().fold(0_usize, |sum, file| sum.saturating_add(length(file.size)));
    if all > limit {
        return Err("expands-too-far");
    }
    let place = |name: &str| format!("{at}!{name}");
    for file in &archive.files {
        look.name(file.name(), &place(file.name()));
    }
    let mut trouble = None;
    let mut each = |entry: &ArchiveEntry, content: &mut dyn Read| {
        if entry.is_directory() || !entry.has_stream() {
            return Ok(true);
        }
        let mut out = Vec::new();
        content.take(entry.size().saturating_add(1)).read_to_end(&mut out)?;
        if out.len() as u64 != entry.size() || !look.member(out.len(), at) {
            trouble = Some("malformed-7z");
            return Ok(false);
        }
        let kind = look.file(entry.name(), &out, &place(entry.name()), depth + 1);
        look.named_as(entry.name(), kind, &place(entry.name()));
        look.stands_inside(kind, &place(entry.name()));
        Ok(true)
    };
    for block in 0..archive.blocks.len() {
        // Block by block and by one thread: the library's reader asks how many processors there are, for which it opens
        // a file, and starts threads; a locked worker dies of either.
        let decoder = BlockDecoder::new(1, block, &archive, &nobodys, &mut source);
        if !decoder.for_each_entries(&mut each).map_err(obstacle)? {
            break;
        }
    }
    trouble.map_or(Ok(()), Err)
}

/// What must hold before the library may read: the list ends the file, and nobody asks for a huge dictionary.
fn bounds(bytes: &[u8]) -> Result<(), &'static str> {
    let field = |at| u64_le(bytes, at).map(length).ok_or("malformed-7z");
    let (offset, size) = (field(12)?, field(20)?);
    let start = offset.checked_add(32).ok_or("malformed-7z")?;
    let header = slice(bytes, start, size).ok_or("malformed-7z")?;
    if start + size != bytes.len() {
        return Err("trailing-bytes");
    }
    if size > HEADER_BYTES_MAX {
        return Err("expands-too-far");
    }
    // The list may itself be packed; what unpacks it stands here in the clear.
    let asks = |method: &[u8], properties: usize| {
        memchr::memmem::find_iter(header, method).any(|at| {
            let behind = tail(header, at + method.len() + 1);
            dictionary(method, head(behind, properties)) > WINDOW_BYTES_MAX
        })
    };
    if asks(LZMA, 5) || asks(&[LZMA2, LZMA2], 1) { Err("expands-too-far") } else { Ok(()) }
}

const LZMA: &[u8] = b"\x03\x01\x01";
/// One byte, led by its length and kind: `21 21 01`.
const LZMA2: u8 = 0x21;

/// The memory that a method asks for, by its properties.
fn dictionary(method: &[u8], properties: &[u8]) -> usize {
    match (method, properties) {
        (LZMA, [_, size @ ..]) => u32_le(size, 0).map_or(0, |size| length(u64::from(size))),
        // Two and three, doubled: 28 is 64 MiB.
        ([LZMA2, ..], [size, ..]) => length((2 | u64::from(size & 1)) << (size / 2 + 11).min(48)),
        _ => 0,
    }
}

fn obstacle(error: Error) -> &'static str {
    match error {
        Error::PasswordRequired | Error::MaybeBadPassword(_) => "encrypted",
        // 06 F1 07 01 is AES; without the feature it is a method nobody knows.
        Error::UnsupportedCompressionMethod(method) if method.contains("AES") => "encrypted",
        Error::UnsupportedCompressionMethod(_) | Error::Unsupported(_) | Error::ExternalUnsupported => {
            "unknown-compression"
        }
        Error::MaxMemLimited { .. } => "expands-too-far",
        _ => "malformed-7z",
    }
}
