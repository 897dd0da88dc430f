//! One file, packed: gz, bz2, xz, zst. Unpacked within bounds, to its last byte; what follows the packed stream is a
//! place where one reader stops and another goes on, and is not let by.

use std::cell::Cell;
use std::io::{self, BufRead, Read};

use bzip2_rs::decoder::DecoderReader;

use crate::kind::Kind;
use crate::look::Look;
use crate::octets::length;

/// Packers reach more than this on zeros only; small files are let off.
const RATIO_MAX: usize = 400;
const RATIO_FROM_BYTES: usize = 4 << 20;
/// Unpacked at once, between two looks at the ratio.
const PIECE_BYTES: usize = 1 << 16;
/// Memory for a dictionary or window. The strongest preset of `xz` asks for 64 MiB, `zstd --ultra` for 128.
pub(crate) const WINDOW_BYTES_MAX: usize = 64 << 20;
/// Frames of one zst file, or streams of one gzip, of which each is begun anew.
const FRAMES_MAX: u32 = 10_000;

/// Looks at the file inside.
pub(crate) fn look(look: &mut Look, kind: Kind, name: &str, bytes: &[u8], at: &str, depth: u8) {
    let limit = look.expanded_left().min(bytes.len().saturating_mul(RATIO_MAX).max(RATIO_FROM_BYTES));
    let mut out = Vec::new();
    let mut notes = Vec::new();
    let result = unpack(kind, bytes, limit, &mut out, &mut notes);
    look.raw_text(&notes, &format!("{at} (header)"), depth + 1);
    if out.len() > limit || !look.member(out.len(), at) {
        return look.obstacle("expands-too-far", at);
    }
    if let Err(obstacle) = result {
        look.obstacle(obstacle, at);
        if out.is_empty() {
            return;
        }
    }
    let inner = [".gz", ".bz2", ".xz", ".zst"].iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name);
    let place = format!("{at}!{inner}");
    let kind = look.file(inner, &out, &place, depth + 1);
    if inner != name {
        look.named_as(inner, kind, &place);
    }
    look.stands_inside(kind, &place);
}

/// What comes out stays in `out` even where the end is broken: it may be evidence.
fn unpack(kind: Kind, bytes: &[u8], limit: usize, out: &mut Vec<u8>, notes: &mut Vec<u8>) -> Result<(), &'static str> {
    let taken = Cell::new(0);
    let mut packed = Packed { rest: bytes, taken: &taken };
    match kind {
        Kind::Bzip2 => bzip2(bytes, packed, limit, out),
        Kind::Xz => {
            let window = u32::try_from(WINDOW_BYTES_MAX / 1024).unwrap_or(u32::MAX);
            let reader = lzma_rust2::XzReader::new_mem_limit(&mut packed, true, window);
            drain(reader, &taken, limit, out, "malformed-xz")?;
            whole(packed.rest, limit, out)
        }
        Kind::Zstd => zstd(packed, limit, out),
        _ => gzip(packed, limit, out, notes),
    }
}

/// Stream by stream; what their headers say goes into the notes, a line each.
fn gzip(mut packed: Packed<'_, '_>, limit: usize, out: &mut Vec<u8>, notes: &mut Vec<u8>) -> Result<(), &'static str> {
    let taken = packed.taken;
    for _ in 0..FRAMES_MAX {
        let mut stream = flate2::bufread::GzDecoder::new(&mut packed);
        let drained = drain(&mut stream, taken, limit, out, "malformed-gzip");
        if let Some(header) = stream.header() {
            for said in [header.filename(), header.comment(), header.extra()].into_iter().flatten() {
                notes.extend_from_slice(said);
                notes.push(b'\n');
            }
        }
        drained?;
        if packed.rest.is_empty() || out.len() > limit {
            return Ok(());
        }
    }
    Err("too-many-members")
}

/// Packed bytes, and how many were taken: so that a bomb is known by its first megabytes and not by its last.
struct Packed<'a, 'c> {
    rest: &'a [u8],
    taken: &'c Cell<usize>,
}

impl Read for Packed<'_, '_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.rest.read(into)?;
        self.taken.set(self.taken.get() + read);
        Ok(read)
    }
}

impl BufRead for Packed<'_, '_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        Ok(self.rest)
    }

    fn consume(&mut self, count: usize) {
        self.rest = crate::octets::tail(self.rest, count);
        self.taken.set(self.taken.get() + count);
    }
}

fn drain(
    mut reader: impl Read,
    taken: &Cell<usize>,
    limit: usize,
    out: &mut Vec<u8>,
    broken: &'static str,
) -> Result<(), &'static str> {
    let mut piece = vec![0; PIECE_BYTES];
    while out.len() <= limit {
        match reader.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(read) => out.extend_from_slice(crate::octets::head(&piece, read)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::OutOfMemory => return Err("expands-too-far"),
            Err(_) => return Err(broken),
        }
        if out.len() > RATIO_FROM_BYTES && out.len() / RATIO_MAX > taken.get() {
            out.clear();
            return Err("expands-too-far");
        }
    }
    Ok(())
}

/// Zeros pad the end of an xz; anything else behind it was not read.
fn whole(rest: &[u8], limit: usize, out: &[u8]) -> Result<(), &'static str> {
    if out.len() <= limit && rest.iter().any(|b| *b != 0) { Err("trailing-bytes") } else { Ok(()) }
}

fn zstd(mut packed: Packed<'_, '_>, limit: usize, out: &mut Vec<u8>) -> Result<(), &'static str> {
    let taken = packed.taken;
    for _ in 0..FRAMES_MAX {
        if packed.rest.is_empty() || out.len() > limit {
            return Ok(());
        }
        // Between frames may stand frames that every decoder skips: nobody sees them, and so they do not pass.
        let reader = ruzstd::decoding::StreamingDecoder::new_with_max_window_size(&mut packed, WINDOW_BYTES_MAX as u64)
            .map_err(|_| "malformed-zstd")?;
        drain(reader, taken, limit, out, "malformed-zstd")?;
    }
    Err("too-many-members")
}

/// The mark behind the last block, forty-eight bits, wherever a byte begins: the digits of the square root of pi.
const BZIP2_END: u64 = 0x1772_4538_5090;

/// One stream, and it must reach to the last byte: the decoder says nothing of what it left over.
fn bzip2(bytes: &[u8], packed: Packed<'_, '_>, limit: usize, out: &mut Vec<u8>) -> Result<(), &'static str> {
    let taken = packed.taken;
    drain(DecoderReader::new(packed), taken, limit, out, "malformed-bzip2")?;
    if out.len() > limit {
        return Ok(());
    }
    let (mut window, mut bits, mut ends) = (0_u64, 0_u64, Vec::new());
    for byte in bytes {
        for shift in (0..8).rev() {
            window = (window << 1 | u64::from(byte >> shift & 1)) & 0xFFFF_FFFF_FFFF;
            bits += 1;
            if window == BZIP2_END && ends.len() < 2 {
                ends.push(bits);
            }
        }
    }
    // Behind the mark stands a checksum of 32 bits.
    match ends.as_slice() {
        [end] if length((end + 32).div_ceil(8)) == bytes.len() => Ok(()),
        [] => Err("malformed-bzip2"),
        _ => Err("trailing-bytes"),
    }
}
