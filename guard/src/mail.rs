//! Mails and web archives: headers, parts, and what the parts are once their transfer encoding is undone.

use crate::encoded;
use crate::kind::Kind;
use crate::look::Look;
use crate::octets::{head, slice, tail};

/// A text that opens with mail headers.
pub(crate) fn looks_like(text: &str) -> bool {
    let opening: String = text.chars().take(4096).collect();
    let mut lines = opening.lines();
    let first = lines.next().unwrap_or("");
    let header = |line: &str| {
        let name = line.split(':').next().unwrap_or("").to_ascii_lowercase();
        matches!(
            name.as_str(),
            "from"
                | "to"
                | "subject"
                | "date"
                | "received"
                | "return-path"
                | "message-id"
                | "mime-version"
                | "content-type"
                | "delivered-to"
                | "content-transfer-encoding"
                | "reply-to"
                | "x-priority"
                | "snapshot-content-location"
        )
    };
    (first.starts_with("From ") || header(first)) && lines.take(40).filter(|l| header(l)).count() >= 1
}

/// Parts that are looked at; a mailbox of a year has fewer.
const PARTS_MAX: usize = 10_000;

/// Boundaries that one mail declares; each level of parts has one.
const BOUNDARIES_MAX: usize = 1_000;

/// Headers of a part are not longer.
const HEADERS_MAX: usize = 4_096;

/// The name of a part, which stands in the lines around its encoding, above its body. A name in code words says nothing.
fn name<'a>(bytes: &'a [u8], lower: &[u8], header: usize, body: usize) -> Option<&'a str> {
    let least = header.saturating_sub(HEADERS_MAX);
    let before = lower.get(least..header)?;
    let blank = [&b"\n\n"[..], b"\n\r\n"].into_iter().filter_map(|blank| memchr::memmem::rfind(before, blank)).max();
    let from = least + blank.unwrap_or(0);
    let at = from + memchr::memmem::find(lower.get(from..body)?, b"name=\"")? + 6;
    let name = tail(head(bytes, body), at);
    let name = head(name, memchr::memchr(b'"', name)?);
    std::str::from_utf8(name).ok().filter(|name| !name.contains("=?"))
}

/// Looks at the whole as text, and at each part decoded.
pub(crate) fn look(look: &mut Look, bytes: &[u8], text: &str, at: &str, depth: u8) {
    look.scan_text(text, at);
    look.raw_text(&encoded_words(bytes), &format!("{at} (headers)"), depth + 1);
    let lower = bytes.to_ascii_lowercase();
    let Some(ends) = ends(bytes, &lower) else { return look.obstacle("too-many-members", at) };
    let (mut parts, mut rest, mut from) = (0, Vec::new(), 0);
    for header in memchr::memmem::find_iter(&lower, b"content-transfer-encoding:") {
        parts += 1;
        if parts > PARTS_MAX {
            return look.obstacle("too-many-members", at);
        }
        let Some((body_at, body)) = body(tail(bytes, header)) else { continue };
        // Only a declared boundary ends a part; decoders pass over every other line of dashes.
        let start = header + body_at;
        let next = ends.partition_point(|end| *end < start);
        let body = ends.get(next).map_or(body, |end| head(body, end - start));
        let encoding = tail(&lower, header + 26).trim_ascii_start();
        let decoded = if encoding.starts_with(b"base64") {
            // What is decoded here is not decoded once more below.
            rest.extend_from_slice(bytes.get(from..start).unwrap_or_default());
            from = from.max(start + body.len());
            let letters = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
            encoded::decode_base64(&body.iter().copied().filter(letters).collect::<Vec<u8>>())
        } else if encoding.starts_with(b"quoted-printable") {
            encoded::decode_quoted_printable(body)
        } else {
            body.to_vec()
        };
        if decoded.is_empty() || !look.member(decoded.len(), at) {
            continue;
        }
        let place = format!("{at}:{start}");
        let kind = look.file("", &decoded, &place, depth + 1);
        if let Some(name) = name(bytes, &lower, header, start) {
            look.named_as(name, kind, &place);
        }
        // What is no text, page or message is attached; whose signature it is belongs to the mail.
        if !kind.is_words() && kind != Kind::Signature {
            look.stands_inside(kind, &place);
        }
    }
    // A part that does not say how it is encoded may be so all the same.
    rest.extend_from_slice(tail(bytes, from));
    look.raw_text(&rest, at, depth);
}

/// Where lines of a declared boundary begin, in order. `None`: more boundaries than any mail has.
fn ends(bytes: &[u8], lower: &[u8]) -> Option<Vec<usize>> {
    let mut boundaries = Vec::new();
    for word in memchr::memmem::find_iter(lower, b"boundary=") {
        let value = tail(bytes, word + 9);
        let (quoted, value) = value.strip_prefix(b"\"").map_or((false, value), |value| (true, value));
        let ends = |b: &u8| if quoted { matches!(b, b'"' | b'\n') } else { b.is_ascii_whitespace() || *b == b';' };
        let value = head(value, value.iter().position(ends).unwrap_or(value.len()));
        if !value.is_empty() && !boundaries.contains(&value) {
            boundaries.push(value);
        }
        if boundaries.len() > BOUNDARIES_MAX {
            return None;
        }
    }
    let dashes = memchr::memmem::find_iter(bytes, b"\n--");
    Some(dashes.filter(|at| boundaries.iter().any(|boundary| tail(bytes, at + 3).starts_with(boundary))).collect())
}

/// `=?UTF-8?B?…?=` and `=?GBK?Q?…?=`: what headers say in other letters than ASCII. Neighbours make one word.
fn encoded_words(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = bytes;
    while let Some(start) = memchr::memmem::find(rest, b"=?") {
        let between = head(rest, start);
        rest = tail(rest, start + 2);
        let Some((coding, data, used)) = encoded_word(rest) else { continue };
        if !between.iter().all(u8::is_ascii_whitespace) {
            out.push(b'\n');
        }
        match coding {
            b'B' | b'b' => out.extend(encoded::decode_base64(data)),
            _ => {
                let spaced: Vec<u8> = data.iter().map(|b| if *b == b'_' { b' ' } else { *b }).collect();
                out.extend(encoded::decode_quoted_printable(&spaced));
            }
        }
        rest = tail(rest, used);
    }
    out
}

/// charset ? B or Q ? data ?=
fn encoded_word(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    /// Seventy-five by the standard; some programs write whole lines.
    const WORD_BYTES_MAX: usize = 4_096;
    let bytes = head(bytes, WORD_BYTES_MAX);
    let charset = memchr::memchr(b'?', bytes)?;
    let coding = *bytes.get(charset + 1)?;
    let data = charset + 3;
    if !matches!(coding, b'B' | b'b' | b'Q' | b'q') || bytes.get(charset + 2) != Some(&b'?') {
        return None;
    }
    let size = memchr::memmem::find(tail(bytes, data), b"?=")?;
    Some((coding, slice(bytes, data, size)?, data + size + 2))
}

/// What stands behind the empty line.
fn body(rest: &[u8]) -> Option<(usize, &[u8])> {
    let crlf = memchr::memmem::find(rest, b"\r\n\r\n").map(|i| i + 4);
    let lf = memchr::memmem::find(rest, b"\n\n").map(|i| i + 2);
    let start = match (crlf, lf) {
        (Some(a), Some(b)) => a.min(b),
        (a, b) => a.or(b)?,
    };
    Some((start, tail(rest, start)))
}
