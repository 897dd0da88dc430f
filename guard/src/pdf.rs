//! PDF: every object undone within bounds, the text that pages draw, pictures and attachments as what they are.
//!
//! Objects are read where they lie, from the first byte to the last, and not only where the cross-reference leads: an
//! object that nobody points to is looked at, and an object that only the cross-reference shows, inside the bytes of
//! another, is looked at too. So no viewer sees what was not seen here. Not a renderer.

mod coding;
mod filter;
mod glyphs;
mod lock;
mod object;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use coding::Coding;
use filter::Filter;
pub(crate) use filter::inflate_zlib;
use glyphs::{Drawn, Reading, UnicodeMap};
use lock::Lock;
use object::{Dictionary, Lexer, Object, whole};

use crate::finding::RuleClass;
use crate::kind::Kind;
use crate::look::Look;
use crate::octets::{head, slice, tail};

/// Objects in one document; a scanned land file of a thousand pages has ten thousand.
const OBJECTS_MAX: usize = 400_000;
/// Objects that only the cross-reference shows. An honest file has none; a broken table points anywhere.
const HIDDEN_MAX: usize = 512;
/// A cross-reference stream with so many entries is held to lead to objects.
const TABLE_FROM: usize = 4;
/// A dictionary that says it is a cross-reference stands within so many bytes.
const DICTIONARY_BYTES_MAX: usize = 8192;
/// Typed strings are looked at in portions of this size.
const TYPED_BYTES: usize = 1 << 20;
/// All readings of a document's glyphs together: a merged file of a thousand pages, each with a font of its own under
/// the same name, has a thousand readings of a megabyte.
const READ_BYTES_MAX: usize = 1 << 30;
/// Names of resources that are kept: as many as there may be objects, and some of them twice.
const NAMES_MAX: usize = 1_000_000;
/// Names are no longer by the standard; what is longer is told apart by its front.
const NAME_BYTES_MAX: usize = 127;
/// From a font to its descendant, to what that says of its collection, each in an object of its own.
const HOPS_MAX: u8 = 6;
/// Text of all pages together that is looked at once more as one; beyond it each stream has been looked at by itself.
const SHOWN_BYTES_MAX: usize = 64 << 20;
/// Numbers in an array that may be a measured place: corners of pages and widths of letters are smaller.
const MEASURED_FROM: f64 = 10_000.0;
/// The header stands within the first kilobyte, or it is no PDF to any viewer.
const HEADER_WITHIN: usize = 1024;
/// Fewer stray bytes than this are what broken writers leave; a place does not fit into them.
const STRAY_BYTES_MAX: usize = 8;
/// Front of a bitmap that is undone, to see that it is no text under a wrong name.
const BITMAP_FRONT: usize = 1 << 16;

/// Looks at the objects, streams and attachments.
pub(crate) fn look(look: &mut Look, bytes: &[u8], at: &str, depth: u8) {
    let marked =
        memchr::memmem::rfind(bytes, b"%%EOF").is_some() || memchr::memmem::rfind(bytes, b"startxref").is_some();
    if !marked {
        look.obstacle("malformed-pdf", at);
    }
    let header = memchr::memmem::find(head(bytes, HEADER_WITHIN), b"%PDF-").unwrap_or(0);
    leading(look, head(bytes, header), at, depth);
    let body = head(bytes, body_end(bytes));
    let mut pdf = Pdf {
        look,
        bytes: body,
        header,
        at,
        depth,
        places: places(body),
        starts: BTreeSet::new(),
        pointed: BTreeMap::new(),
        lock: None,
        locked: false,
        typed: String::new(),
        stray: Vec::new(),
        number: 0,
        maps: BTreeMap::new(),
        says: BTreeMap::new(),
        names: BTreeMap::new(),
        names_left: NAMES_MAX,
        direct: u32::MAX,
        drawn: Drawn::default(),
        shown: String::new(),
        pages: 0,
        attached: BTreeSet::new(),
        wanted: BTreeSet::new(),
        files: BTreeSet::new(),
    };
    pdf.unlock();
    if !pdf.locked {
        pdf.walk();
        pdf.hidden();
        pdf.finish();
    }
    trailing(look, tail(bytes, body.len()), at, depth);
}

/// Up to the last mark of an end, unless objects follow it.
fn body_end(bytes: &[u8]) -> usize {
    let Some(mark) = memchr::memmem::rfind(bytes, b"%%EOF") else { return bytes.len() };
    let end = mark + 5;
    if memchr::memmem::find(tail(bytes, end), b" obj").is_some() { bytes.len() } else { end }
}

fn leading(look: &mut Look, bytes: &[u8], at: &str, depth: u8) {
    if bytes.trim_ascii().len() < STRAY_BYTES_MAX {
        return;
    }
    look.raw_text(bytes, &format!("{at} (before the header)"), depth + 1);
    if Kind::of_magic(bytes).is_some() || crate::text::decode(bytes).is_none() {
        look.obstacle("leading-bytes", at);
    }
}

fn trailing(look: &mut Look, rest: &[u8], at: &str, depth: u8) {
    let blank = rest.iter().take_while(|b| object::is_space(**b) || **b == 0x1A).count();
    let rest = tail(rest, blank);
    if rest.len() < STRAY_BYTES_MAX {
        return;
    }
    let place = format!("{at} (behind the end)");
    let read = match Kind::of_magic(rest) {
        Some(_) => {
            look.file("", rest, &place, depth + 1);
            false
        }
        None => {
            look.raw_text(rest, &place, depth + 1);
            rest.iter().all(|b| *b == 0) || crate::text::decode(rest).is_some()
        }
    };
    if !read {
        look.obstacle("trailing-bytes", at);
    }
}

/// Where `12 0 obj` stands, in streams or not: number and offset of its first digit.
fn places(bytes: &[u8]) -> Vec<(u32, usize)> {
    let mut places = Vec::new();
    for keyword in memchr::memmem::find_iter(bytes, b"obj") {
        let before = head(bytes, keyword);
        let back = |from: usize, digit: bool| {
            let run = head(before, from).iter().rev().take(12);
            from - run.take_while(|b| if digit { b.is_ascii_digit() } else { object::is_space(**b) }).count()
        };
        let generation_end = back(keyword, false);
        let generation = back(generation_end, true);
        let number_end = back(generation, false);
        let number = back(number_end, true);
        if generation < generation_end
            && number < number_end
            && number_end < generation
            && let Some(value) = before.get(number..number_end).and_then(|d| std::str::from_utf8(d).ok()?.parse().ok())
        {
            places.push((value, number));
        }
        if places.len() >= OBJECTS_MAX {
            break;
        }
    }
    places
}

struct Pdf<'l, 'a> {
    look: &'l mut Look,
    bytes: &'a [u8],
    header: usize,
    at: &'l str,
    depth: u8,
    places: Vec<(u32, usize)>,
    /// Offsets of objects that were looked at.
    starts: BTreeSet<usize>,
    /// Offsets that a cross-reference names; true: a stream of them does.
    pointed: BTreeMap<usize, bool>,
    lock: Option<Lock>,
    locked: bool,
    typed: String,
    stray: Vec<u8>,
    /// The object that is looked at.
    number: u32,
    /// Maps by the number of their stream; of an object that was written anew, each.
    maps: BTreeMap<u32, Vec<UnicodeMap>>,
    /// What fonts, and the objects they point to, say of their characters.
    says: BTreeMap<u32, BTreeSet<Says>>,
    /// What pages call an object; fonts among them.
    names: BTreeMap<Vec<u8>, BTreeSet<u32>>,
    names_left: usize,
    /// Numbers for fonts that stand where they are used and have none; downward.
    direct: u32,
    drawn: Drawn,
    /// The text of all pages.
    shown: String,
    pages: u32,
    /// Numbers of streams that were looked at; true: as files.
    attached: BTreeSet<(u32, bool)>,
    /// Numbers of embedded files and scripts that somebody names.
    wanted: BTreeSet<u32>,
    /// Files among them. A stream that is named as a script too is one of these all the same.
    files: BTreeSet<u32>,
}

/// How the glyphs of a font become characters, or who says it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Says {
    Map(u32),
    Coding(Coding),
    See(u32),
}

/// Whose strings and streams these are: the key of a lock depends on it. `None`: they stand in the clear.
type Owner = Option<(u32, u32)>;

impl<'a> Pdf<'_, 'a> {
    /// Finds the dictionary that says how the rest is locked, and tries the empty password.
    fn unlock(&mut self) {
        let mut trailers: Vec<usize> =
            memchr::memmem::find_iter(self.bytes, b"trailer").map(|at| at + 7).take(1024).collect();
        for (_, place) in &self.places {
            let near = head(tail(self.bytes, *place), DICTIONARY_BYTES_MAX);
            let near = memchr::memmem::find(near, b"stream").map_or(near, |end| head(near, end));
            let table = memchr::memmem::find(near, b"XRef").is_some() || near.contains(&b'#');
            let mut lexer = Lexer::new(self.bytes, *place);
            if table && lexer.header().is_some() {
                trailers.push(lexer.at);
            }
        }
        for place in trailers {
            let Some(Object::Dictionary(trailer)) = Lexer::new(self.bytes, place).object() else { continue };
            if !trailer.has(b"Encrypt") {
                continue;
            }
            let id = match trailer.get(b"ID") {
                Some(Object::Array(ids)) => ids.first().and_then(|id| match id {
                    Object::Text(id) => Some(id.clone()),
                    _ => None,
                }),
                _ => None,
            };
            let lock =
                self.dictionary_of(trailer.get(b"Encrypt")).and_then(|d| Lock::open(&d, &id.unwrap_or_default()));
            if lock.is_none() {
                self.look.obstacle("encrypted", self.at);
                self.locked = true;
                return;
            }
            self.lock = lock;
        }
    }

    /// A dictionary that stands here or is pointed to.
    fn dictionary_of(&self, object: Option<&Object<'a>>) -> Option<Dictionary<'a>> {
        match object? {
            Object::Reference(number) => self.resolved(*number).find_map(|object| match object {
                Object::Dictionary(found) => Some(found),
                _ => None,
            }),
            Object::Dictionary(_) => {
                // It was borrowed from the file; reading it again is simpler than sharing it.
                let start = memchr::memmem::rfind(self.bytes, b"/Encrypt")? + 8;
                match Lexer::new(self.bytes, start).object()? {
                    Object::Dictionary(found) => Some(found),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// Every object of this number, the last in the file first.
    fn resolved(&self, number: u32) -> impl Iterator<Item = Object<'a>> {
        let bytes = self.bytes;
        self.places.iter().rev().filter(move |(n, _)| *n == number).take(16).filter_map(move |(_, place)| {
            let mut lexer = Lexer::new(bytes, *place);
            lexer.header()?;
            lexer.object()
        })
    }

    /// From object to object, and what lies between them.
    fn walk(&mut self) {
        let places: Vec<usize> = self.places.iter().map(|(_, place)| *place).collect();
        if places.is_empty() || places.len() >= OBJECTS_MAX {
            self.look.obstacle(if places.is_empty() { "malformed-pdf" } else { "too-many-members" }, self.at);
        }
        let mut position = self.header;
        for place in places {
            if place < position {
                continue; // inside a stream that was looked at
            }
            self.between(self.bytes.get(position..place).unwrap_or_default(), position);
            position = self.object(place);
        }
        self.between(tail(self.bytes, position), position);
    }

    /// One object with its stream; answers where it ends.
    fn object(&mut self, place: usize) -> usize {
        self.starts.insert(place);
        let mut lexer = Lexer::new(self.bytes, place);
        let Some((number, generation)) = lexer.header() else { return place + 1 };
        let Some(object) = lexer.object() else {
            // `1 0 obj endobj` is an empty object; anything else that cannot be read stays between the objects.
            return lexer.at.min(place + 16);
        };
        let owner = Some((number, generation));
        self.number = number;
        let end = lexer.at;
        self.comments(self.bytes.get(place..end).unwrap_or_default());
        let Object::Dictionary(dictionary) = object else {
            self.coding_elsewhere(&object);
            self.value(&object, owner);
            return end;
        };
        let mut lexer = Lexer::new(self.bytes, end);
        if !lexer.keyword(b"stream") {
            self.value(&Object::Dictionary(dictionary), owner);
            return end;
        }
        let Some((raw, end)) = self.extent(lexer.at, &dictionary) else {
            self.look.obstacle("malformed-pdf", self.at);
            return self.bytes.len();
        };
        self.stream(&dictionary, raw, place, (number, generation));
        self.value(&Object::Dictionary(dictionary), owner);
        end
    }

    /// The bytes of a stream by its length, or to the word that ends it; and where the object goes on.
    fn extent(&self, keyword_end: usize, dictionary: &Dictionary<'a>) -> Option<(&'a [u8], usize)> {
        let start = keyword_end
            + match tail(self.bytes, keyword_end) {
                [b'\r', b'\n', ..] => 2,
                [b'\n' | b'\r', ..] => 1,
                _ => 0,
            };
        let fits = |length: usize| {
            let end = start.checked_add(length)?;
            let mut lexer = Lexer::new(self.bytes, end);
            lexer.keyword(b"endstream").then_some((self.bytes.get(start..end)?, lexer.at))
        };
        let by_length = match dictionary.get(b"Length") {
            Some(Object::Number(length)) => whole(*length).and_then(fits),
            Some(Object::Reference(number)) => self.resolved(*number).find_map(|object| match object {
                Object::Number(length) => whole(length).and_then(fits),
                _ => None,
            }),
            _ => None,
        };
        by_length.or_else(|| {
            let rest = tail(self.bytes, start);
            let (end, word) = match memchr::memmem::find(rest, b"endstream") {
                Some(end) => (end, 9),
                None => (memchr::memmem::find(rest, b"endobj")?, 0),
            };
            Some((head(rest, end), start + end + word))
        })
    }

    /// The bytes of a stream without its lock; recorded, if it has one that does not open.
    fn unlocked<'r>(
        &mut self,
        dictionary: &Dictionary<'a>,
        raw: &'r [u8],
        owner: (u32, u32),
        place: &str,
    ) -> Option<Cow<'r, [u8]>> {
        match &self.lock {
            Some(lock) if !dictionary.is(b"Type", b"XRef") && !filter::chain(dictionary).contains(&Filter::Crypt) => {
                let opened = lock.stream(owner.0, owner.1, raw, dictionary.is(b"Type", b"Metadata"));
                if opened.is_none() {
                    self.look.obstacle("malformed-pdf", place);
                }
                opened.map(Cow::Owned)
            }
            _ => Some(Cow::Borrowed(raw)),
        }
    }

    fn stream(&mut self, dictionary: &Dictionary<'a>, raw: &[u8], offset: usize, owner: (u32, u32)) {
        let place = format!("{}:{offset} (stream)", self.at);
        if dictionary.has(b"F") && !matches!(dictionary.get(b"F"), Some(Object::Name(_))) {
            return self.look.obstacle("content-elsewhere", &place);
        }
        let table = dictionary.is(b"Type", b"XRef");
        let filters = filter::chain(dictionary);
        let Some(raw) = self.unlocked(dictionary, raw, owner, &place) else { return };
        let file = dictionary.is(b"Type", b"EmbeddedFile");
        let coded = matches!(filters.last(), Some(Filter::Jpeg | Filter::Picture));
        let bitmap = dictionary.is(b"Subtype", b"Image") && !coded && !file;
        let limit = if bitmap { BITMAP_FRONT } else { self.look.expanded_left() };
        let Some(content) = filter::undo(&raw, dictionary, limit) else {
            return self.look.obstacle("unknown-compression", &place);
        };
        if !bitmap && content.len() >= filter::STREAM_BYTES_MAX.min(limit) && !filters.is_empty() && !coded {
            return self.look.obstacle("expands-too-far", &place);
        }
        if !self.look.member(content.len(), self.at) {
            return;
        }
        self.attached.insert((owner.0, file));
        if file {
            self.attachment(&content, &place);
        } else if filters.last() == Some(&Filter::Jpeg) || content.starts_with(b"\xFF\xD8\xFF") {
            self.jpeg(&content, &place);
        } else if filters.last() == Some(&Filter::Picture) {
            crate::picture::scan_for_exif(self.look, head(&content, 1 << 16), &place);
        } else if bitmap {
            // Pixels are no text; a text that calls itself pixels is read.
            if content.len() > 64 && content.iter().all(|b| (0x20..0x7F).contains(b) || object::is_space(*b)) {
                self.look.raw_text(&raw, &place, self.depth + 1);
                self.look.raw_text(&content, &place, self.depth + 1);
            }
        } else if dictionary.is(b"Type", b"ObjStm") {
            self.packed(dictionary, &content, &place);
        } else if table {
            self.table(dictionary, &content);
        } else if glyph_program(&content) {
            // Outlines of letters, and words between them.
            self.look.strings(&content, &place);
        } else if memchr::memmem::find(&content, b"begincmap").is_some() {
            let map = UnicodeMap::parse(&content);
            if map.crowded {
                self.look.obstacle("too-many-members", &place);
            }
            self.maps.entry(owner.0).or_default().push(map);
            self.look.raw_text(&content, &place, self.depth + 1);
        } else {
            self.content(&content, &place);
        }
    }

    fn jpeg(&mut self, content: &[u8], place: &str) {
        let trimmed = content.trim_ascii_end();
        // The word endstream may stand right behind the picture or on a line of its own.
        let content = if trimmed.ends_with(b"\xFF\xD9") { trimmed } else { content };
        crate::picture::jpeg(self.look, content, place, self.depth + 1);
    }

    /// A page, a form, a script, a packet of metadata, or a file that does not say that it is one.
    fn content(&mut self, content: &[u8], place: &str) {
        let mut drawn = glyphs::read(content);
        for text in [&drawn.text, &drawn.joined] {
            if text.len() > 3 {
                self.look.text(text, &format!("{place} (text)"), self.depth + 1);
            }
        }
        self.typed.push_str(&drawn.asides);
        if drawn.is_page() {
            self.pages += 1;
            let shown = if drawn.joined.is_empty() { &drawn.text } else { &drawn.joined };
            if self.shown.len() + shown.len() <= SHOWN_BYTES_MAX {
                self.shown.push_str(shown);
                self.shown.push('\n');
            }
        }
        let page = drawn.is_page();
        if !drawn.is_plain() && !self.drawn.append(&mut drawn) {
            self.look.obstacle("expands-too-far", place);
        }
        let opening = content.trim_ascii_start();
        if opening.starts_with(b"<") || content.starts_with(b"\xEF\xBB\xBF") || !page {
            match Kind::of_magic(content) {
                Some(Kind::Empty) => {}
                Some(_) => {
                    let kind = self.look.member_file("", content, place, self.depth + 1, true);
                    if kind.is_document() {
                        self.look.stands_inside(kind, place);
                    }
                }
                None => self.look.raw_text(content, place, self.depth + 1),
            }
        }
    }

    /// A stream that somebody attaches or runs, but that did not say what it is: looked at once more, as a file.
    fn as_file(&mut self, number: u32) {
        let places: Vec<usize> = self.places.iter().filter(|(n, _)| *n == number).map(|(_, place)| *place).collect();
        for offset in places {
            let mut lexer = Lexer::new(self.bytes, offset);
            let (Some(owner), Some(Object::Dictionary(dictionary))) = (lexer.header(), lexer.object()) else {
                continue;
            };
            if !lexer.keyword(b"stream") {
                continue;
            }
            let place = format!("{}:{offset} (attached)", self.at);
            let Some((raw, _)) = self.extent(lexer.at, &dictionary) else { continue };
            let Some(raw) = self.unlocked(&dictionary, raw, owner, &place) else { continue };
            let Some(content) = filter::undo(&raw, &dictionary, self.look.expanded_left()) else { continue };
            if !self.look.member(content.len(), self.at) {
                return;
            }
            if self.files.contains(&number) {
                self.attachment(&content, &place);
            } else {
                self.look.file("", &content, &place, self.depth + 1);
            }
        }
    }

    /// A file that is taken out as a file, whatever it is. Invoices and certificates carry their own data as XML, which
    /// was looked at as any other.
    fn attachment(&mut self, content: &[u8], place: &str) {
        let kind = self.look.file("", content, place, self.depth + 1);
        if kind != Kind::Xml {
            self.look.stands_inside(kind, place);
        }
    }

    /// Objects in a stream: pairs of number and offset, then the objects.
    fn packed(&mut self, dictionary: &Dictionary<'a>, content: &[u8], place: &str) {
        let (Some(count), Some(first)) = (dictionary.whole(b"N"), dictionary.whole(b"First")) else {
            return self.look.obstacle("malformed-pdf", place);
        };
        let mut pairs = Lexer::new(content, 0);
        for _ in 0..count.min(OBJECTS_MAX) {
            let (Some(number), Some(offset)) = (pairs.natural(), pairs.natural()) else {
                return self.look.obstacle("malformed-pdf", place);
            };
            let Some(at) = usize::try_from(offset).ok().and_then(|o| o.checked_add(first)) else { continue };
            match Lexer::new(content, at).object() {
                // Strings in here are not locked by themselves: the whole stream was.
                Some(object) => {
                    self.number = number;
                    self.coding_elsewhere(&object);
                    self.value(&object, None);
                }
                None => self.look.raw_text(tail(content, at), place, self.depth + 1),
            }
        }
    }

    /// The offsets of a cross-reference stream.
    fn table(&mut self, dictionary: &Dictionary<'a>, content: &[u8]) {
        let Some(Object::Array(widths)) = dictionary.get(b"W") else { return };
        let widths: Vec<usize> = widths
            .iter()
            .filter_map(|w| match w {
                Object::Number(width) => whole(*width).filter(|w| *w <= 8),
                _ => None,
            })
            .collect();
        let [kind, offset, rest] = widths.as_slice() else { return };
        let row = kind + offset + rest;
        if row == 0 {
            return;
        }
        let field = |bytes: &[u8]| bytes.iter().fold(0_u64, |n, b| n << 8 | u64::from(*b));
        for entry in content.chunks_exact(row).take(OBJECTS_MAX) {
            let (first, behind) = entry.split_at(*kind);
            if (*kind == 0 || field(first) == 1) && self.pointed.len() < OBJECTS_MAX {
                self.pointed.insert(crate::octets::length(field(head(behind, *offset))), true);
            }
        }
    }

    /// What lies between objects: tables, trailers, comments, and what belongs to nothing.
    fn between(&mut self, bytes: &'a [u8], base: usize) {
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            let rest = tail(bytes, at);
            if object::is_space(*byte) {
                at += 1;
            } else if *byte == b'%' {
                let end = rest.iter().position(|b| matches!(b, b'\n' | b'\r')).unwrap_or(rest.len());
                self.typed.push_str(&String::from_utf8_lossy(head(rest, end)));
                self.typed.push('\n');
                at += end;
            } else if let Some(word) =
                [&b"endobj"[..], b"endstream", b"startxref"].iter().find(|word| rest.starts_with(word))
            {
                at += word.len();
            } else if rest.starts_with(b"trailer") {
                let mut lexer = Lexer::new(self.bytes, base + at + 7);
                if let Some(object) = lexer.object() {
                    self.comments(self.bytes.get(base + at..lexer.at).unwrap_or_default());
                    self.value(&object, None);
                }
                at = lexer.at.saturating_sub(base).max(at + 7);
            } else if rest.starts_with(b"xref") {
                at += 4;
            } else {
                let end = rest.iter().position(|b| object::is_space(*b)).unwrap_or(rest.len());
                self.entry(head(rest, 20), head(rest, end));
                at += end;
            }
        }
        self.flush(TYPED_BYTES);
    }

    /// `0000000017 00000 n`, or a word that belongs to nothing.
    fn entry(&mut self, line: &[u8], word: &[u8]) {
        if !word.iter().all(u8::is_ascii_digit) && !matches!(word, b"n" | b"f") {
            self.stray.extend_from_slice(word);
            self.stray.push(b' ');
        } else if word.len() == 10
            && slice(line, 17, 1) == Some(b"n")
            && self.pointed.len() < OBJECTS_MAX
            && let Some(offset) = std::str::from_utf8(word).ok().and_then(|w| w.parse().ok())
        {
            self.pointed.entry(offset).or_insert(false);
        }
    }

    /// Objects where a cross-reference points and nothing was read: inside the bytes of another.
    fn hidden(&mut self) {
        let pointed = std::mem::take(&mut self.pointed);
        if pointed.len() >= OBJECTS_MAX {
            self.look.obstacle("too-many-members", self.at);
        }
        let (mut found, mut nowhere) = (0, 0);
        let all = pointed.values().filter(|streamed| **streamed).count();
        for (offset, streamed) in pointed {
            let before = found;
            let mut known = false;
            for place in [offset, offset.saturating_add(self.header)] {
                let mut lexer = Lexer::new(self.bytes, place);
                lexer.space();
                let start = lexer.at;
                // A pointer into the middle of a number finds its second half: `2 0 obj` of `12 0 obj`.
                let inside_number =
                    start.checked_sub(1).and_then(|i| self.bytes.get(i)).is_some_and(u8::is_ascii_digit);
                known |= self.starts.contains(&start);
                if inside_number || known || lexer.header().is_none() {
                    continue;
                }
                found += 1;
                if found > HIDDEN_MAX {
                    return self.look.obstacle("too-many-members", self.at);
                }
                self.object(start);
            }
            nowhere += usize::from(streamed && !known && found == before);
        }
        // Tables in the clear are often wrong, and every viewer repairs them alike. A stream of offsets that leads nowhere
        // is repaired by some and refused by others: nobody knows what is shown.
        if all >= TABLE_FROM && nowhere * 2 > all {
            self.look.obstacle("malformed-pdf", self.at);
        }
    }

    /// Every string, and the keys that say something by themselves.
    fn value(&mut self, object: &Object<'_>, owner: Owner) {
        match object {
            Object::Text(text) => self.string(text, owner),
            Object::Name(name) => self.word(name),
            Object::Array(items) => {
                self.measured(items);
                for item in items {
                    self.value(item, owner);
                }
            }
            Object::Dictionary(dictionary) => self.dictionary(dictionary, owner),
            Object::Word(_) | Object::Number(_) | Object::Reference(_) => {}
        }
    }

    /// Numbers beside each other that are too large for a page.
    fn measured(&mut self, items: &[Object<'_>]) {
        let number = |object: &Object<'_>| match object {
            Object::Number(value) => Some(*value),
            _ => None,
        };
        let large = |pair: &[Object<'_>]| {
            let mut numbers = pair.iter().filter_map(number);
            numbers.clone().count() == 2 && numbers.all(|value| value.abs() >= MEASURED_FROM)
        };
        if items.windows(2).any(large) {
            for value in items.iter().filter_map(number) {
                crate::geodata::print_number(value, &mut self.typed);
                self.typed.push(' ');
            }
            self.typed.push('\n');
        }
    }

    fn dictionary(&mut self, dictionary: &Dictionary<'_>, owner: Owner) {
        if dictionary.has(b"Encrypt") && self.lock.is_none() {
            self.look.obstacle("encrypted", self.at);
        }
        // Geospatial PDF: a measure dictionary with its points, or a reference system.
        if dictionary.has(b"GPTS") || dictionary.has(b"LGIDict") || dictionary.is(b"Subtype", b"GEO") {
            self.look.finding("geospatial-pdf", RuleClass::Structural, &format!("{} (objects)", self.at), "");
        }
        if dictionary.is(b"Subtype", b"FileAttachment") && !dictionary.has(b"FS") {
            self.look.obstacle("attachment-missing", self.at);
        }
        if let Some(files) = dictionary.dictionary(b"EF") {
            for (_, file) in &files.0 {
                match file {
                    Object::Reference(number) => {
                        self.wanted.insert(*number);
                        self.files.insert(*number);
                    }
                    _ => self.look.obstacle("attachment-missing", self.at),
                }
            }
        }
        if let Some(Object::Reference(script)) = dictionary.get(b"JS") {
            self.wanted.insert(*script);
        }
        let said = self.font(dictionary, owner);
        if !said.is_empty() {
            self.says.entry(self.number).or_default().extend(said);
        }
        self.names(dictionary, owner);
        let signature = dictionary.has(b"ByteRange");
        self.look.signed |= signature;
        for (key, value) in &dictionary.0 {
            self.word(key);
            match value {
                // A signed value is padded with zeros; it is never locked.
                Object::Text(sealed) if signature && key.as_ref() == b"Contents" => {
                    let place = format!("{} (signature)", self.at);
                    self.look.member_file("", der_front(sealed), &place, self.depth + 1, true);
                }
                other => self.value(other, owner),
            }
        }
        self.flush(TYPED_BYTES);
    }

    /// Comments inside an object mean nothing to viewers, and are read all the same.
    fn comments(&mut self, object: &[u8]) {
        if memchr::memchr(b'%', object).is_some() {
            self.typed.push_str(&String::from_utf8_lossy(object));
            self.typed.push('\n');
        }
    }

    /// What a font, its descendant, its collection or a map says of characters.
    fn font(&self, dictionary: &Dictionary<'_>, owner: Owner) -> Vec<Says> {
        let mut said = Vec::new();
        match dictionary.get(b"ToUnicode") {
            Some(Object::Reference(map)) => said.push(Says::Map(*map)),
            // The codes are characters already.
            Some(Object::Name(_)) => said.push(Says::Coding(Coding::Utf16)),
            _ => {}
        }
        for key in [&b"Encoding"[..], b"UseCMap", b"CIDSystemInfo"] {
            match dictionary.get(key) {
                Some(Object::Name(name)) => said.extend(Coding::of(name).map(Says::Coding)),
                Some(Object::Reference(number)) => said.push(Says::See(*number)),
                Some(Object::Dictionary(inner)) => said.extend(self.font(inner, owner)),
                _ => {}
            }
        }
        match dictionary.get(b"DescendantFonts") {
            Some(Object::Reference(number)) => said.push(Says::See(*number)),
            Some(Object::Array(fonts)) => said.extend(self.descendants(fonts, owner)),
            _ => {}
        }
        if let Some(ordering) = dictionary.text(b"Ordering") {
            let opened = self.opened(ordering, owner);
            said.extend(Coding::of_collection(&opened).map(Says::Coding));
        }
        said
    }

    fn descendants(&self, fonts: &[Object<'_>], owner: Owner) -> Vec<Says> {
        let one = |font: &Object<'_>| match font {
            Object::Reference(number) => vec![Says::See(*number)],
            Object::Dictionary(font) => self.font(font, owner),
            _ => Vec::new(),
        };
        fonts.iter().flat_map(one).collect()
    }

    /// The encoding of a font, or the list of its descendants, as an object of its own.
    fn coding_elsewhere(&mut self, object: &Object<'_>) {
        let said = match object {
            Object::Name(name) => Coding::of(name).map(Says::Coding).into_iter().collect(),
            Object::Array(fonts) if fonts.len() == 1 => self.descendants(fonts, None),
            _ => return,
        };
        self.says.entry(self.number).or_default().extend(said);
    }

    /// What names a page may call an object by. A font that stands in the page's own dictionary counts as one.
    fn names(&mut self, dictionary: &Dictionary<'_>, owner: Owner) {
        for (key, value) in &dictionary.0 {
            let number = match value {
                Object::Reference(number) => *number,
                Object::Dictionary(font) if font.has(b"ToUnicode") || font.has(b"Encoding") => {
                    let said = self.font(font, owner);
                    self.direct -= 1;
                    self.says.insert(self.direct, said.into_iter().collect());
                    self.direct
                }
                _ => continue,
            };
            if self.names_left == 0 {
                return self.look.obstacle("too-many-members", self.at);
            }
            if self.names.entry(head(key, NAME_BYTES_MAX).to_vec()).or_default().insert(number) {
                self.names_left -= 1;
            }
        }
    }

    /// Every way in which the strings of a font may read.
    fn readings<'m>(&self, name: &[u8], maps: &'m BTreeMap<u32, Vec<UnicodeMap>>) -> Vec<Reading<'m>> {
        let mut said = BTreeSet::new();
        let mut asked: BTreeSet<u32> = self.names.get(head(name, NAME_BYTES_MAX)).cloned().unwrap_or_default();
        for _ in 0..HOPS_MAX {
            let answers = asked.iter().filter_map(|number| self.says.get(number)).flatten();
            let answers: BTreeSet<Says> = answers.copied().collect();
            asked =
                answers.iter().filter_map(|s| if let Says::See(number) = s { Some(*number) } else { None }).collect();
            said.extend(answers);
        }
        let read = |says: Says| -> Vec<Reading<'m>> {
            match says {
                Says::Map(stream) => maps.get(&stream).into_iter().flatten().map(Reading::Map).collect(),
                Says::Coding(coding) => vec![Reading::Coding(coding)],
                Says::See(_) => Vec::new(),
            }
        };
        said.into_iter().flat_map(read).collect()
    }

    fn word(&mut self, name: &[u8]) {
        if name.iter().filter(|b| b.is_ascii_digit()).count() >= 5 {
            self.typed.push_str(&String::from_utf8_lossy(name));
            self.typed.push('\n');
        }
    }

    /// A string without its lock.
    fn opened<'t>(&self, text: &'t [u8], owner: Owner) -> Cow<'t, [u8]> {
        let opened = match (&self.lock, owner) {
            (Some(lock), Some((number, generation))) => lock.text(number, generation, text),
            _ => None,
        };
        opened.map_or(Cow::Borrowed(text), Cow::Owned)
    }

    fn string(&mut self, text: &[u8], owner: Owner) {
        let text = self.opened(text, owner);
        match crate::text::decode(&text) {
            Some(text) => self.typed.push_str(&text),
            None => self.typed.push_str(&String::from_utf8_lossy(&text)),
        }
        self.typed.push('\n');
    }

    /// Looks at what was typed, once there is enough of it.
    fn flush(&mut self, from: usize) {
        if self.typed.len() >= from.max(1) {
            let typed = std::mem::take(&mut self.typed);
            self.look.text(&typed, &format!("{} (objects)", self.at), self.depth + 1);
        }
    }

    /// Strings of glyph numbers, in every reading that their fonts allow.
    fn glyphs(&mut self) {
        let place = format!("{} (glyphs)", self.at);
        let (drawn, maps) = (std::mem::take(&mut self.drawn), std::mem::take(&mut self.maps));
        let readings: Vec<Vec<Reading<'_>>> = drawn.fonts().iter().map(|name| self.readings(name, &maps)).collect();
        let all = readings.iter().map(Vec::len).max().unwrap_or(0);
        if drawn.crowded || all.saturating_mul(drawn.bytes()) > READ_BYTES_MAX {
            return self.look.obstacle("expands-too-far", &place);
        }
        for nth in 0..all {
            let read = drawn.read_by(&readings, nth);
            self.look.scan_text(&read, &place);
        }
    }

    /// What can only be said at the end: glyphs once all maps are known, attachments that are not there, stray bytes.
    fn finish(&mut self) {
        self.flush(1);
        self.glyphs();
        if self.pages > 1 {
            // A row may be drawn by two streams of one page.
            let shown = std::mem::take(&mut self.shown);
            self.look.scan_text(&shown, &format!("{} (all pages)", self.at));
        }
        for number in std::mem::take(&mut self.wanted) {
            if self.attached.contains(&(number, false)) {
                self.as_file(number);
            } else if !self.attached.contains(&(number, true)) && self.files.contains(&number) {
                self.look.obstacle("attachment-missing", self.at);
            }
        }
        if self.stray.len() >= STRAY_BYTES_MAX {
            let stray = std::mem::take(&mut self.stray);
            let place = format!("{} (between objects)", self.at);
            self.look.raw_text(&stray, &place, self.depth + 1);
            if crate::text::decode(&stray).is_none() {
                self.look.obstacle("bytes-between-members", self.at);
            }
        }
    }
}

/// TrueType, OpenType, collections, Type 1 and bare CFF.
fn glyph_program(content: &[u8]) -> bool {
    let openings: [&[u8]; 4] = [b"%!PS-AdobeFont", b"%!FontType", b"\x80\x01", b"\x01\0\x04"];
    crate::font::looks_like(content) || openings.iter().any(|opening| content.starts_with(opening))
}

/// A DER value without what pads it.
fn der_front(bytes: &[u8]) -> &[u8] {
    let size = match bytes {
        [_, short @ 0..=0x7F, ..] => usize::from(*short) + 2,
        [_, width @ 0x81..=0x84, ..] => {
            let width = usize::from(width - 0x80);
            let field = slice(bytes, 2, width).unwrap_or_default();
            field.iter().fold(0_usize, |n, b| n << 8 | usize::from(*b)).saturating_add(2 + width)
        }
        _ => bytes.len(),
    };
    head(bytes, size)
}
