//! Mails and web archives: headers, parts, and what the parts are once their transfer encoding is undone.

use crate::encoded;
use crate::look::Look;
use crate::octets::tail;

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

/// Looks at the whole as text, and at each part decoded.
pub(crate) fn look(look: &mut Look, bytes: &[u8], text: &str, at: &str, depth: u8) {
    look.scan_text(text, at);
    let lower = bytes.to_ascii_lowercase();
    let mut parts = 0;
    for header in memchr::memmem::find_iter(&lower, b"content-transfer-encoding:") {
        parts += 1;
        if parts > PARTS_MAX {
            return look.obstacle("too-many-members", at);
        }
        let rest = tail(bytes, header);
        let Some((body_at, body)) = body(rest) else { continue };
        let end = memchr::memmem::find(body, b"\n--").unwrap_or(body.len());
        let body = body.get(..end).unwrap_or(body);
        let encoding = tail(&lower, header + 26);
        let encoding: Vec<u8> = encoding.iter().copied().skip_while(|b| *b == b' ').take(20).collect();
        let decoded = if encoding.starts_with(b"base64") {
            encoded::decode_base64(body)
        } else if encoding.starts_with(b"quoted-printable") {
            encoded::decode_quoted_printable(body)
        } else {
            body.to_vec()
        };
        if decoded.is_empty() || !look.member(decoded.len(), at) {
            continue;
        }
        look.file("", &decoded, &format!("{at}:{}", header + body_at), depth + 1);
    }
    if parts == 0 {
        look.text(text, at, depth);
    }
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
