//! Tar archives, read strictly: each header's checksum must hold, and nothing but zeros follows the end.

use crate::look::Look;
use crate::octets::{head, slice, tail};

const BLOCK: usize = 512;

/// Is the first block a tar header, by its checksum? Old archives have no magic number.
pub(crate) fn looks_like(bytes: &[u8]) -> bool {
    bytes.len() >= BLOCK && bytes.first().is_some_and(|b| *b != 0) && header(bytes).is_some()
}

struct Header {
    /// With the folder that newer archives keep in a field of its own.
    name: String,
    link: String,
    size: usize,
    kind: u8,
}

fn header(block: &[u8]) -> Option<Header> {
    let block = slice(block, 0, BLOCK)?;
    let sum: u64 =
        block.iter().enumerate().map(|(i, b)| if (148..156).contains(&i) { 32 } else { u64::from(*b) }).sum();
    if octal(block.get(148..156)?)? != sum {
        return None;
    }
    let text = |from: usize, to: usize| {
        let field = block.get(from..to).unwrap_or_default().split(|b| *b == 0).next().unwrap_or_default();
        String::from_utf8_lossy(field).into_owned()
    };
    let (name, prefix) = (text(0, 100), text(345, 500));
    let ustar = block.get(257..262) == Some(b"ustar") && !prefix.is_empty();
    Some(Header {
        name: if ustar { format!("{prefix}/{name}") } else { name },
        link: text(157, 257),
        size: usize::try_from(octal(block.get(124..136)?)?).ok()?,
        kind: *block.get(156)?,
    })
}

fn octal(field: &[u8]) -> Option<u64> {
    if let [first, rest @ ..] = field
        && *first & 0x80 != 0
    {
        return Some(rest.iter().fold(0_u64, |n, b| n.wrapping_shl(8) | u64::from(*b)));
    }
    let digits: Vec<u8> = field.iter().copied().filter(|b| !matches!(b, b' ' | 0)).collect();
    u64::from_str_radix(std::str::from_utf8(&digits).ok()?, 8).ok()
}

/// Looks at every member.
pub(crate) fn look(look: &mut Look, bytes: &[u8], at: &str, depth: u8) {
    let mut rest = bytes;
    let mut members = 0;
    while rest.first().is_some_and(|b| *b != 0) {
        let Some(header) = header(rest) else { return look.obstacle("malformed-tar", at) };
        let Some(content) = slice(rest, BLOCK, header.size) else { return look.obstacle("malformed-tar", at) };
        if !look.member(content.len(), at) {
            return;
        }
        members += 1;
        let place = format!("{at}!{}", header.name);
        look.name(&header.name, &place);
        look.name(&header.link, &place);
        match header.kind {
            0 | b'0' | b'7' => {
                let kind = look.file(&header.name, content, &place, depth + 1);
                look.named_as(&header.name, kind, &place);
                look.stands_inside(kind, &place);
            }
            // Long names and extended headers are texts like any other.
            b'L' | b'K' | b'x' | b'g' => look.raw_text(content, &place, depth + 1),
            // Folders and links are names; some programs pass over the content of one, and some unpack it.
            b'1' | b'2' | b'5' if content.is_empty() => {}
            b'1' | b'2' | b'5' => {
                look.file(&header.name, content, &place, depth + 1);
                look.obstacle("bytes-between-members", &place);
            }
            _ => look.obstacle("unknown-tar-member", &place),
        }
        let padded = header.size.div_ceil(BLOCK) * BLOCK;
        let padding = slice(rest, BLOCK + header.size, padded - header.size).unwrap_or_default();
        if padding.iter().any(|b| *b != 0) {
            look.raw_text(padding, &place, depth + 1);
            look.obstacle("trailing-bytes", &place);
        }
        rest = tail(rest, BLOCK + padded);
    }
    if members == 0 || head(rest, rest.len()).iter().any(|b| *b != 0) {
        look.obstacle("trailing-bytes", at);
    }
}
