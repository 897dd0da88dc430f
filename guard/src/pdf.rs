//! PDF: every stream undone within bounds, the text that pages draw, pictures and attachments as what they are.
//!
//! Not a renderer: objects are found by their keywords, wherever the cross-reference says they are, so that an
//! object nobody points to is looked at as well.

use std::io::Read;

use crate::look::Look;
use crate::octets::{head, tail};

/// Streams in one document; a scanned land file of a thousand pages has five thousand.
const STREAMS_MAX: u32 = 60_000;
/// One stream expands to this; page contents and tables of objects are far smaller.
const STREAM_BYTES_MAX: usize = 64 << 20;
/// A stream's dictionary stands within this many bytes before it.
const DICTIONARY_BYTES_MAX: usize = 8192;
/// Filters that may be chained.
const FILTERS_MAX: usize = 6;

/// Looks at the objects, streams and attachments.
pub(crate) fn look(look: &mut Look, bytes: &[u8], at: &str, depth: u8) {
    if memchr::memmem::rfind(bytes, b"%%EOF").is_none() && memchr::memmem::rfind(bytes, b"startxref").is_none() {
        look.obstacle("malformed-pdf", at);
    }
    let mut pdf = Pdf { look, at, depth, text: String::new(), maps: Vec::new(), hex: Vec::new() };
    let mut outside = Vec::new();
    let mut position = 0;
    let mut left = STREAMS_MAX;
    while let Some(found) = memchr::memmem::find(tail(bytes, position), b"stream") {
        let keyword = position + found;
        let between = bytes.get(position..keyword).unwrap_or_default();
        outside.extend_from_slice(between);
        let start = keyword + 6;
        let body = tail(bytes, start);
        let skip = match body {
            [b'\r', b'\n', ..] => 2,
            [b'\n' | b'\r', ..] => 1,
            _ => {
                position = start;
                continue; // the word in a text, or the end of "endstream"
            }
        };
        let body = tail(body, skip);
        let Some(end) = memchr::memmem::find(body, b"endstream") else {
            pdf.look.obstacle("malformed-pdf", at);
            break;
        };
        let dictionary = dictionary(between);
        left -= 1;
        if left == 0 {
            pdf.look.obstacle("too-many-members", at);
            break;
        }
        pdf.stream(dictionary, body.get(..end).unwrap_or_default(), keyword);
        position = start + skip + end + 9;
    }
    outside.extend_from_slice(tail(bytes, position));
    pdf.objects(&outside);
    pdf.finish();
}

/// The dictionary that ends right before the keyword: from the last `obj`.
fn dictionary(before: &[u8]) -> &[u8] {
    let near = tail(before, before.len().saturating_sub(DICTIONARY_BYTES_MAX));
    memchr::memmem::rfind(near, b"obj").map_or(near, |at| tail(near, at))
}

struct Pdf<'a> {
    look: &'a mut Look,
    at: &'a str,
    depth: u8,
    text: String,
    maps: Vec<UnicodeMap>,
    hex: Vec<String>,
}

fn has(dictionary: &[u8], word: &[u8]) -> bool {
    memchr::memmem::find(dictionary, word).is_some()
}

impl Pdf<'_> {
    fn stream(&mut self, dictionary: &[u8], raw: &[u8], offset: usize) {
        if has(dictionary, b"/Encrypt") && has(dictionary, b"/XRef") {
            self.look.obstacle("encrypted", self.at);
            return;
        }
        let image = has(dictionary, b"/Image") && has(dictionary, b"/Subtype");
        let filters = filters(dictionary);
        let picture = filters.last().is_some_and(|f| matches!(f, Filter::Picture | Filter::Jpeg));
        if image && !picture {
            return; // pixels of a bitmap
        }
        let place = format!("{}:{offset} (stream)", self.at);
        let Some(content) = self.undo(raw, &filters) else {
            return self.look.obstacle("unknown-compression", &place);
        };
        if !self.look.member(content.len(), self.at) {
            return;
        }
        if filters.last() == Some(&Filter::Jpeg) || content.starts_with(b"\xFF\xD8\xFF") {
            let trimmed = content.trim_ascii_end();
            // The word endstream may stand right behind the picture or on a line of its own.
            let content = if trimmed.ends_with(b"\xFF\xD9") { trimmed } else { &content };
            crate::picture::jpeg(self.look, content, &place, self.depth + 1);
        } else if filters.last() == Some(&Filter::Picture) {
            crate::picture::scan_for_exif(self.look, head(&content, 1 << 16), &place);
        } else if has(dictionary, b"/EmbeddedFile") {
            self.look.file("", &content, &place, self.depth + 1);
        } else if has(dictionary, b"/Metadata") || content.starts_with(b"<?xpacket") {
            self.look.raw_text(&content, &place, self.depth + 1);
        } else if has(dictionary, b"/ObjStm") {
            self.objects(&content);
        } else if has(dictionary, b"/XRef")
            || has(dictionary, b"/Length1")
            || has(dictionary, b"/FontFile")
            || has(dictionary, b"Type1C")
            || has(dictionary, b"CIDFontType0C")
            || has(dictionary, b"/OpenType")
        {
            // Tables of offsets and outlines of letters.
        } else if has(&content, b"begincmap") {
            self.maps.push(UnicodeMap::parse(&content));
        } else {
            self.page(&content, &place);
        }
    }

    /// Undoes a chain of filters; `None`: one of them is unknown here.
    fn undo(&self, raw: &[u8], filters: &[Filter]) -> Option<Vec<u8>> {
        let mut content = raw.to_vec();
        for filter in filters.iter().take(FILTERS_MAX) {
            content = match filter {
                Filter::Flate => inflate_zlib(&content, STREAM_BYTES_MAX)?,
                Filter::Ascii85 => ascii85(&content),
                Filter::AsciiHex => {
                    let digits: Vec<u8> = content.iter().copied().filter(u8::is_ascii_hexdigit).collect();
                    crate::encoded::decode_hex(&digits)?
                }
                Filter::RunLength => run_length(&content),
                Filter::Lzw => lzw(&content),
                Filter::Jpeg | Filter::Picture => content,
                Filter::Unknown => return None,
            };
        }
        Some(content)
    }

    /// Objects in the clear: encryption, signatures, and strings that people typed.
    fn objects(&mut self, bytes: &[u8]) {
        if has(bytes, b"/Encrypt") {
            self.look.obstacle("encrypted", self.at);
        }
        if has(bytes, b"/ByteRange") {
            self.look.signed = true;
        }
        let mut typed = String::new();
        strings_of(bytes, |string| {
            if let Some(text) = string.strip_prefix(b"\xFE\xFF") {
                let (text, _) = encoding_rs::UTF_16BE.decode_without_bom_handling(text);
                typed.push_str(&text);
            } else {
                typed.push_str(&String::from_utf8_lossy(string));
            }
            typed.push('\n');
        });
        let place = format!("{} (objects)", self.at);
        self.look.scan_text(&typed, &place);
        // Geospatial PDF: a measure dictionary with its points, or a reference system.
        if has(bytes, b"/GPTS") || has(bytes, b"/LGIDict") {
            self.look.finding("geospatial-pdf", crate::finding::RuleClass::Structural, &place, "");
        }
    }

    /// Text that a page draws.
    fn page(&mut self, content: &[u8], place: &str) {
        if !content.iter().take(2048).any(|b| matches!(b, b'T' | b'(' | b'<')) {
            return;
        }
        let drawn = drawn_text(content, &mut self.hex);
        if drawn.len() > 3 {
            let place = format!("{place} (text)");
            self.look.text(&drawn, &place, self.depth + 1);
            self.text.clear();
        }
    }

    /// Glyph numbers can be read once all character maps are known; with several fonts each map is tried.
    fn finish(&mut self) {
        let place = format!("{} (glyphs)", self.at);
        let hex = std::mem::take(&mut self.hex);
        let maps = std::mem::take(&mut self.maps);
        if hex.is_empty() {
            return;
        }
        for map in maps.iter().take(64) {
            let mut drawn = String::new();
            for string in &hex {
                map.read(string, &mut drawn);
            }
            self.look.scan_text(&drawn, &place);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filter {
    Flate,
    Ascii85,
    AsciiHex,
    RunLength,
    Lzw,
    Jpeg,
    /// JPX, CCITT, JBIG2: pixels.
    Picture,
    Unknown,
}

fn filters(dictionary: &[u8]) -> Vec<Filter> {
    let Some(at) = memchr::memmem::find(dictionary, b"/Filter") else { return Vec::new() };
    let value = tail(dictionary, at + 7);
    let value = value.trim_ascii_start();
    let list = match value.strip_prefix(b"[") {
        Some(list) => list.split(|b| *b == b']').next().unwrap_or_default(),
        None => {
            let end = value.iter().skip(1).position(|b| !b.is_ascii_alphanumeric()).map_or(value.len(), |n| n + 1);
            head(value, end)
        }
    };
    list.split(|b| *b == b'/')
        .map(|name| name.trim_ascii())
        .filter(|name| !name.is_empty())
        .map(|name| match name {
            b"FlateDecode" | b"Fl" => Filter::Flate,
            b"ASCII85Decode" | b"A85" => Filter::Ascii85,
            b"ASCIIHexDecode" | b"AHx" => Filter::AsciiHex,
            b"RunLengthDecode" | b"RL" => Filter::RunLength,
            b"LZWDecode" | b"LZW" => Filter::Lzw,
            b"DCTDecode" | b"DCT" => Filter::Jpeg,
            b"JPXDecode" | b"CCITTFaxDecode" | b"CCF" | b"JBIG2Decode" => Filter::Picture,
            _ => Filter::Unknown,
        })
        .collect()
}

/// Inflates as far as it goes, up to a limit; a stream cut short still shows its front.
pub(crate) fn inflate_zlib(bytes: &[u8], limit: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let result = flate2::read::ZlibDecoder::new(bytes).take(limit as u64).read_to_end(&mut out);
    if result.is_err() && out.is_empty() && !bytes.trim_ascii().is_empty() {
        return None;
    }
    Some(out)
}

fn ascii85(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let (mut group, mut count) = (0_u32, 0);
    for byte in bytes.strip_prefix(b"<~").unwrap_or(bytes) {
        match byte {
            b'~' => break,
            b'z' if count == 0 => out.extend_from_slice(&[0; 4]),
            b'!'..=b'u' => {
                group = group.wrapping_mul(85).wrapping_add(u32::from(byte - b'!'));
                count += 1;
                if count == 5 {
                    out.extend_from_slice(&group.to_be_bytes());
                    (group, count) = (0, 0);
                }
            }
            _ => {}
        }
    }
    if count > 1 {
        for _ in count..5 {
            group = group.wrapping_mul(85).wrapping_add(84);
        }
        out.extend_from_slice(head(&group.to_be_bytes(), count - 1));
    }
    out
}

fn run_length(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = bytes;
    while let [length, body @ ..] = rest {
        if out.len() > STREAM_BYTES_MAX {
            break;
        }
        match length {
            0..=127 => {
                let n = usize::from(*length) + 1;
                out.extend_from_slice(head(body, n));
                rest = tail(body, n);
            }
            128 => break,
            _ => {
                if let Some(byte) = body.first() {
                    out.resize(out.len() + 257 - usize::from(*length), *byte);
                }
                rest = tail(body, 1);
            }
        }
    }
    out
}

/// LZW with early change, as PDF writes it.
fn lzw(bytes: &[u8]) -> Vec<u8> {
    let mut table: Vec<Vec<u8>> = Vec::new();
    let mut out = Vec::new();
    let (mut buffer, mut bits, mut width) = (0_u32, 0_u32, 9_u32);
    let mut last: Option<Vec<u8>> = None;
    for byte in bytes {
        buffer = (buffer << 8) | u32::from(*byte);
        bits += 8;
        if bits < width {
            continue;
        }
        bits -= width;
        let code = usize::try_from(buffer >> bits).unwrap_or(0) & ((1 << width) - 1);
        buffer &= (1 << bits) - 1;
        match code {
            256 => {
                table.clear();
                width = 9;
                last = None;
                continue;
            }
            257 => break,
            _ => {}
        }
        let entry = match (u8::try_from(code), table.get(code.wrapping_sub(258)), &last) {
            (Ok(byte), ..) => vec![byte],
            (_, Some(entry), _) => entry.clone(),
            (_, None, Some(last)) => last.iter().chain(last.first()).copied().collect(),
            _ => break,
        };
        out.extend_from_slice(&entry);
        if out.len() > STREAM_BYTES_MAX {
            break;
        }
        if let (Some(mut grown), Some(first)) = (last.take(), entry.first())
            && table.len() < 4096 - 258
        {
            grown.push(*first);
            table.push(grown);
        }
        width = match table.len() + 259 {
            0..=511 => 9,
            512..=1023 => 10,
            1024..=2047 => 11,
            _ => 12,
        };
        last = Some(entry);
    }
    out
}

/// Every literal string, with its escapes undone.
fn strings_of(bytes: &[u8], mut take: impl FnMut(&[u8])) {
    let mut rest = bytes;
    while let Some(at) = memchr::memchr(b'(', rest) {
        let (string, used) = literal(tail(rest, at + 1));
        take(&string);
        rest = tail(rest, at + 1 + used);
    }
}

/// A literal string behind its bracket, and how many bytes it took.
fn literal(bytes: &[u8]) -> (Vec<u8>, usize) {
    let mut out = Vec::new();
    let (mut at, mut open) = (0, 0);
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b')' if open == 0 => break,
            b')' => open -= 1,
            b'(' => open += 1,
            b'\\' => {
                let escaped = bytes.get(at).copied().unwrap_or(b' ');
                at += 1;
                match escaped {
                    b'n' | b'r' => out.push(b'\n'),
                    b't' => out.push(b'\t'),
                    b'\n' | b'\r' => {}
                    b'0'..=b'7' => {
                        let mut value = u32::from(escaped - b'0');
                        for _ in 0..2 {
                            match bytes.get(at) {
                                Some(d @ b'0'..=b'7') => {
                                    value = value * 8 + u32::from(d - b'0');
                                    at += 1;
                                }
                                _ => break,
                            }
                        }
                        out.push(u8::try_from(value & 0xFF).unwrap_or(0));
                    }
                    other => out.push(other),
                }
                continue;
            }
            _ => {}
        }
        out.push(*byte);
    }
    (out, at)
}

/// The strings of Tj, TJ, ' and ", with a break where the text position moves; hex strings are kept apart.
fn drawn_text(content: &[u8], hex: &mut Vec<String>) -> String {
    let mut out = String::new();
    let mut at = 0;
    let mut word_start = None;
    while let Some(byte) = content.get(at) {
        match byte {
            b'(' => {
                let (string, used) = literal(tail(content, at + 1));
                if string.contains(&0) || string.starts_with(b"\xFE\xFF") {
                    hex.push(string.iter().map(|b| format!("{b:02x}")).collect());
                } else {
                    out.push_str(&String::from_utf8_lossy(&string));
                }
                at += used + 1;
                word_start = None;
                continue;
            }
            b'<' if content.get(at + 1) != Some(&b'<') => {
                let body = tail(content, at + 1);
                let end = memchr::memchr(b'>', body).unwrap_or(body.len());
                let digits: String =
                    head(body, end).iter().filter(|b| b.is_ascii_hexdigit()).map(|b| char::from(*b)).collect();
                // Two digits a character is a plain font: read it here as well.
                let bytes = crate::encoded::decode_hex(digits.as_bytes()).unwrap_or_default();
                if !bytes.is_empty() && bytes.iter().all(|b| (0x20..0x7F).contains(b)) {
                    out.push_str(&String::from_utf8_lossy(&bytes));
                }
                hex.push(digits);
                at += end + 2;
                word_start = None;
                continue;
            }
            b if b.is_ascii_alphabetic() || *b == b'*' || *b == b'\'' || *b == b'"' => {
                if word_start.is_none() {
                    word_start = Some(at);
                }
            }
            _ => {
                if let Some(start) = word_start.take() {
                    match content.get(start..at).unwrap_or_default() {
                        b"Td" | b"TD" | b"T*" | b"Tm" | b"ET" | b"'" | b"\"" => {
                            out.push('\n');
                            hex.push(String::new());
                        }
                        _ => {}
                    }
                }
            }
        }
        at += 1;
    }
    out
}

/// A ToUnicode map: glyph numbers to characters.
struct UnicodeMap {
    single: std::collections::HashMap<u32, char>,
    ranges: Vec<(u32, u32, u32)>,
    width: usize,
}

/// Entries of one map; a Chinese font has at most 30,000.
const MAP_ENTRIES_MAX: usize = 70_000;

impl UnicodeMap {
    fn parse(content: &[u8]) -> Self {
        let text = String::from_utf8_lossy(content);
        let mut map = UnicodeMap { single: std::collections::HashMap::new(), ranges: Vec::new(), width: 4 };
        let mut section = "";
        let mut pending: Vec<&str> = Vec::new();
        for token in text
            .split(|c: char| c.is_ascii_whitespace() || matches!(c, '<' | '>' | '[' | ']'))
            .filter(|t| !t.is_empty())
        {
            match token {
                "beginbfchar" | "beginbfrange" | "begincodespacerange" => {
                    section = token;
                    pending.clear();
                }
                "endbfchar" | "endbfrange" | "endcodespacerange" => section = "",
                _ if section.is_empty() || map.single.len() + map.ranges.len() > MAP_ENTRIES_MAX => {}
                _ => {
                    pending.push(token);
                    map.take(section, &mut pending);
                }
            }
        }
        map
    }

    fn take(&mut self, section: &str, pending: &mut Vec<&str>) {
        let hex = |t: &&str| u32::from_str_radix(t.get(..t.len().min(8)).unwrap_or(""), 16).ok();
        match (section, pending.as_slice()) {
            ("beginbfchar", [code, target]) => {
                let target = target.get(..target.len().min(4)).unwrap_or("");
                if let (Some(code), Some(c)) = (hex(code), hex(&target).and_then(char::from_u32)) {
                    self.single.insert(code, c);
                }
                pending.clear();
            }
            ("beginbfrange", [from, to, target]) => {
                if let (Some(from), Some(to), Some(target)) = (hex(from), hex(to), hex(target)) {
                    self.ranges.push((from, to, target));
                }
                pending.clear();
            }
            ("begincodespacerange", [from, _]) => {
                self.width = from.len().clamp(2, 8);
                pending.clear();
            }
            _ => {}
        }
    }

    fn read(&self, digits: &str, out: &mut String) {
        if digits.is_empty() {
            out.push('\n');
            return;
        }
        for code in digits.as_bytes().chunks(self.width) {
            let code = std::str::from_utf8(code).ok().and_then(|c| u32::from_str_radix(c, 16).ok()).unwrap_or(0);
            let c = self.single.get(&code).copied().or_else(|| {
                let (from, _, target) = self.ranges.iter().find(|(from, to, _)| (from..=to).contains(&&code))?;
                char::from_u32(target.checked_add(code - from)?)
            });
            out.extend(c);
        }
    }
}
