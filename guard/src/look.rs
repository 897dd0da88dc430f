//! One look at one file: the dispatcher that walks containers, keeps the budget and gathers the evidence.
//!
//! Two kinds of evidence: findings (coordinates) and obstacles (why nobody could look). Either is enough to stop.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::finding::{Finding, RuleClass, Word};
use crate::kind::Kind;
use crate::known::{Cost, Known, Member};
use crate::octets::{Set, head};
use crate::window::{self, Window};
use crate::{
    buried, dbf, encoded, font, geodata, mail, media, ole, packed, pdf, picture, rtf, scan, seven, table, tar, text,
    tiff, xlsb, xml, zip,
};

/// Boxes in boxes: an application folder holds a mail with a zip with a docx with a sheet. Eight is twice that.
pub(crate) const DEPTH_MAX: u8 = 8;
/// Everything that comes out of one file together. Eight times the largest file that is read at all.
const EXPANDED_BYTES_MAX: usize = 512 << 20;
/// Members of all containers of one file together; a bundle carries at most 50,000 files.
const MEMBERS_MAX: u32 = 60_000;
/// Pieces of evidence kept; a survey file would give one per line.
const EVIDENCE_MAX: usize = 64;
/// Messages escaped in messages: JSON in JSON in XML is three.
const ESCAPES_MAX: u32 = 8;
/// What one packed run of a text expands to.
const ZLIB_BYTES_MAX: usize = 64 << 20;
/// Characters around a hit that become its sample.
const SAMPLE_BYTES: usize = 40;

/// Ends the place of what was found in a name; the offset stands behind it.
pub(crate) const NAME_MARK: &str = " (name)";

/// A kind of file that stands inside another, and where the first of it stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Inner {
    pub kind: Kind,
    pub at: String,
}

pub(crate) struct Look {
    pub findings: Vec<Finding>,
    pub obstacles: Vec<Finding>,
    /// A signature stands in it: its bytes must not be changed.
    pub signed: bool,
    /// Kinds of the files inside it, each with the first place of its kind.
    pub inside: Vec<Inner>,
    /// A picture stands in it in letters, as messages carry them.
    pub has_written_picture: bool,
    /// Inside a drawing, `x` and `y` and lone pairs are ink; only runs and grids are evidence.
    drawing: bool,
    /// Inside the settings of an office document, where printers keep what only they know.
    settings: bool,
    /// Inside a workbook: the strings that its cells share.
    strings: Option<Vec<String>>,
    known: Known,
    /// The grids of the office's cities.
    windows: Vec<Window>,
    expanded_left: usize,
    members_left: u32,
}

impl Look {
    pub(crate) fn new() -> Self {
        Look {
            findings: Vec::new(),
            obstacles: Vec::new(),
            signed: false,
            inside: Vec::new(),
            has_written_picture: false,
            drawing: false,
            settings: false,
            strings: None,
            known: Known::default(),
            windows: Vec::new(),
            expanded_left: EXPANDED_BYTES_MAX,
            members_left: MEMBERS_MAX,
        }
    }

    /// The same, for an office that has said where its cities' grids lie.
    pub(crate) fn within(windows: &[Window]) -> Self {
        Look { windows: windows.to_vec(), ..Look::new() }
    }

    /// A file of this kind is a member of what is looked at: whoever takes the container takes it too.
    pub(crate) fn stands_inside(&mut self, kind: Kind, at: &str) {
        // As many as there are words for kinds; nothing is of no kind.
        if kind != Kind::Empty && !self.inside.iter().any(|known| known.kind.name() == kind.name()) {
            self.inside.push(Inner { kind, at: at.to_owned() });
        }
    }

    /// Looks at an archive that a program writes for itself, at `at`: only documents inside it are files of their own.
    /// What stands at `at` itself is such an archive, or it is a file of its own too.
    pub(crate) fn own_archive(&mut self, at: &str, look: impl FnOnce(&mut Self)) {
        let around = std::mem::take(&mut self.inside);
        look(self);
        let found = std::mem::replace(&mut self.inside, around);
        let is_archive = |inner: &Inner| inner.at == at && matches!(inner.kind, Kind::Zip | Kind::Ole);
        let documents = found.into_iter().filter(|inner| inner.kind.is_document() && !is_archive(inner));
        documents.for_each(|inner| self.stands_inside(inner.kind, &inner.at));
    }

    /// Something is here that may not cross.
    pub(crate) fn finding(&mut self, rule: &'static str, class: RuleClass, at: &str, sample: &str) {
        if self.findings.len() < EVIDENCE_MAX {
            self.findings.push(Finding::new(rule, class, at.to_owned(), sample));
        }
    }

    /// Nobody can look here.
    pub(crate) fn obstacle(&mut self, rule: &'static str, at: &str) {
        if self.obstacles.len() < EVIDENCE_MAX && !self.obstacles.iter().any(|o| o.rule == rule && o.at == at) {
            self.obstacles.push(Finding::new(rule, RuleClass::Structural, at.to_owned(), ""));
        }
    }

    /// Pays for a member before it is unpacked. False: the budget is spent, and that is recorded.
    pub(crate) fn member(&mut self, bytes: usize, at: &str) -> bool {
        self.pay(bytes, 1, at)
    }

    fn pay(&mut self, bytes: usize, members: u32, at: &str) -> bool {
        match (self.expanded_left.checked_sub(bytes), self.members_left.checked_sub(members)) {
            (Some(bytes), Some(members)) => {
                (self.expanded_left, self.members_left) = (bytes, members);
                true
            }
            _ => {
                self.obstacle("expands-too-far", at);
                false
            }
        }
    }

    /// Enters or leaves the settings of an office document.
    pub(crate) fn settings(&mut self, inside: bool) {
        self.settings = inside;
    }

    /// Enters or leaves a workbook; answers the strings of the one outside.
    pub(crate) fn workbook(&mut self, strings: Option<Vec<String>>) -> Option<Vec<String>> {
        std::mem::replace(&mut self.strings, strings)
    }

    pub(crate) fn is_workbook(&self) -> bool {
        self.strings.is_some()
    }

    pub(crate) fn shared_string(&self, index: usize) -> Option<&str> {
        self.strings.as_ref()?.get(index).map(String::as_str)
    }

    /// How many bytes may still come out of a stream that does not say its length.
    pub(crate) fn expanded_left(&self) -> usize {
        self.expanded_left
    }

    /// A name is content: `4851490.419_29546865.276.jpg` carries a corner.
    pub(crate) fn name(&mut self, name: &str, at: &str) {
        let decoded = text::unescaped(name);
        self.scan_text(decoded.as_deref().unwrap_or(name), &format!("{at}{NAME_MARK}"));
    }

    /// A file by its name in an archive or at a mail: whoever takes it out goes by that name.
    pub(crate) fn named_as(&mut self, name: &str, kind: Kind, at: &str) {
        if crate::kind::name_disagrees(name, kind) {
            self.obstacle("name-disagrees", at);
        }
    }

    /// A file, by its content.
    pub(crate) fn file(&mut self, name: &str, bytes: &[u8], at: &str, depth: u8) -> Kind {
        self.member_file(name, bytes, at, depth, false)
    }

    /// A member; `tolerated` binary settings may be of no known kind, their strings are read all the same. The same bytes
    /// in the same circumstances are not looked at twice, if there was nothing in them.
    pub(crate) fn member_file(&mut self, name: &str, bytes: &[u8], at: &str, depth: u8, tolerated: bool) -> Kind {
        if depth > DEPTH_MAX {
            self.obstacle("nested-too-deep", at);
            return Kind::Unknown;
        }
        // What is read inside a workbook depends on its strings.
        let circumstances = [tolerated, self.drawing, self.settings];
        let member =
            (depth > 0 && self.strings.is_none()).then(|| Member::of(name, bytes, depth, circumstances)).flatten();
        if let Some(known) = member.as_ref().and_then(|member| self.known.cost(member)) {
            self.pay(known.expanded, known.members, at);
            known.inside.iter().for_each(|kind| self.stands_inside(*kind, at));
            self.has_written_picture |= known.has_written_picture;
            return known.kind;
        }
        let before = (self.findings.len(), self.obstacles.len(), self.signed);
        let (expanded, members) = (self.expanded_left, self.members_left);
        let around = std::mem::take(&mut self.inside);
        let picture_around = std::mem::take(&mut self.has_written_picture);
        let kind = self.new_file(name, bytes, at, depth, tolerated);
        let inside: Vec<Kind> = self.inside.iter().map(|inner| inner.kind).collect();
        let found = std::mem::replace(&mut self.inside, around);
        found.into_iter().for_each(|inner| self.stands_inside(inner.kind, &inner.at));
        let has_written_picture = std::mem::replace(&mut self.has_written_picture, picture_around);
        self.has_written_picture |= has_written_picture;
        let is_clean = before == (self.findings.len(), self.obstacles.len(), self.signed);
        // Where evidence is full, nothing is known to be clean.
        let is_told = self.findings.len() < EVIDENCE_MAX && self.obstacles.len() < EVIDENCE_MAX;
        if let Some(member) = member.filter(|_| is_clean && is_told) {
            let (expanded, members) = (expanded - self.expanded_left, members - self.members_left);
            self.known.keep(member, Cost { kind, inside, has_written_picture, expanded, members });
        }
        kind
    }

    fn new_file(&mut self, name: &str, bytes: &[u8], at: &str, depth: u8, tolerated: bool) -> Kind {
        // What reads as a text is one, whatever letters it begins with, if nobody reads that kind from end to end.
        let magic = Kind::of_magic(bytes);
        let text = if magic.is_none_or(Kind::is_passed_over) { text::decode(bytes) } else { None };
        match magic.filter(|_| text.is_none()) {
            Some(kind) => self.known(kind, name, bytes, at, depth),
            None => match text {
                Some(text) => self.text_file(name, &text, bytes, at, depth),
                None => {
                    if geodata::is_wkb(bytes) {
                        self.finding("well-known-binary", RuleClass::Structural, at, "");
                        return Kind::Geodata("wkb");
                    }
                    self.strings(bytes, at);
                    if !tolerated {
                        self.obstacle("unknown-kind", at);
                    }
                    Kind::Unknown
                }
            },
        }
    }

    fn known(&mut self, kind: Kind, name: &str, bytes: &[u8], at: &str, depth: u8) -> Kind {
        match kind {
            Kind::Geodata(what) => self.finding("geodata-format", RuleClass::Structural, at, what),
            Kind::Opaque(what) => {
                if what == "bpg" {
                    picture::scan_for_exif(self, bytes, at);
                }
                self.obstacle(what, at);
            }
            Kind::Encrypted(_) => self.obstacle("encrypted", at),
            Kind::Zip => return zip::look(self, bytes, at, depth),
            Kind::Tar => tar::look(self, bytes, at, depth),
            Kind::Gzip | Kind::Bzip2 | Kind::Xz | Kind::Zstd => packed::look(self, kind, name, bytes, at, depth),
            Kind::SevenZip => seven::look(self, bytes, at, depth),
            Kind::Jpeg => picture::jpeg(self, bytes, at, depth),
            Kind::Png => picture::png(self, bytes, at, depth),
            Kind::Webp => picture::webp(self, bytes, at, depth),
            Kind::Gif => picture::gif(self, bytes, at, depth),
            Kind::Bmp => picture::bmp(self, bytes, at, depth),
            Kind::Tiff => tiff::file(self, bytes, at, depth),
            Kind::Heic | Kind::Media => media::look(self, kind, bytes, at, depth),
            Kind::Audio | Kind::Metafile => self.strings(bytes, at),
            Kind::Font => font::look(self, bytes, at),
            Kind::Signature => self.signature(bytes, at, depth),
            Kind::XlsbPart => xlsb::look(self, bytes, at),
            Kind::Ole => ole::look(self, bytes, at, depth),
            Kind::Pdf => {
                // A signature says in the clear which bytes it covers; that is what makes it one.
                self.signed |= memchr::memmem::find(bytes, b"/ByteRange").is_some();
                pdf::look(self, bytes, at, depth);
            }
            Kind::Rtf => rtf::look(self, bytes, at, depth),
            Kind::Dbf => {
                if let Some(table) = dbf::text(bytes) {
                    self.raw_text(&table, at, depth);
                }
            }
            _ => {}
        }
        if kind.is_passed_over() {
            buried::look(self, bytes, at, depth);
        }
        kind
    }

    /// A text is a drawing only if it is one itself, whatever it stands in.
    fn text_file(&mut self, name: &str, text: &str, bytes: &[u8], at: &str, depth: u8) -> Kind {
        let outside = std::mem::replace(&mut self.drawing, is_drawing(text));
        let kind = self.text_of_a_kind(name, text, bytes, at, depth);
        self.drawing = outside;
        kind
    }

    fn text_of_a_kind(&mut self, name: &str, text: &str, bytes: &[u8], at: &str, depth: u8) -> Kind {
        if let Some(format) = geodata::text_format(text) {
            debug_assert!(crate::catalogue::word(format).is_some(), "format {format} is not in the catalogue");
            self.finding("geodata-format", RuleClass::Structural, at, format);
            return Kind::Geodata(format);
        }
        let start = text.trim_start();
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending).to_ascii_lowercase();
        if start.starts_with('<') {
            let opening: String = start.chars().take(1024).flat_map(char::to_lowercase).collect();
            if opening.contains("<html") || opening.starts_with("<!doctype html") {
                self.text(text, at, depth);
                xml::look_as_page(self, text, at);
                return Kind::Html;
            }
            let well_formed = self.markup(text, at, depth, opening.starts_with("<?xml") || ending == "xml");
            if self.drawing {
                return Kind::Svg;
            }
            if well_formed {
                return Kind::Xml;
            }
            return if ending == "xml" || opening.starts_with("<?xml") { Kind::Xml } else { Kind::Text };
        }
        if mail::looks_like(start) {
            mail::look(self, bytes, text, at, depth);
            return Kind::Mail;
        }
        self.text(text, at, depth);
        if start.starts_with(['{', '['])
            && serde_json::from_str::<serde::de::IgnoredAny>(text.trim_start_matches('\u{feff}')).is_ok()
        {
            return Kind::Json;
        }
        if matches!(ending.as_str(), "csv" | "tsv") { Kind::Csv } else { Kind::Text }
    }

    /// XML: as it stands, its elements, and the text a reader would see.
    fn markup(&mut self, text: &str, at: &str, depth: u8, strict: bool) -> bool {
        self.text(text, at, depth);
        let well_formed = xml::look(self, text, at);
        if strict && !well_formed {
            self.obstacle("malformed-xml", at);
        } else if !well_formed {
            // A piece of a page.
            xml::look_as_page(self, text, at);
        }
        well_formed
    }

    /// Bytes that are text if anything, such as a comment inside a picture.
    pub(crate) fn raw_text(&mut self, bytes: &[u8], at: &str, depth: u8) {
        match text::decode(bytes) {
            Some(text) => self.text(&text, at, depth),
            None => self.strings(bytes, at),
        }
    }

    /// A decoded text, with everything that may be encoded inside it.
    pub(crate) fn text(&mut self, text: &str, at: &str, depth: u8) {
        let clear = self.scan_text(text, at);
        let mut inner: Vec<(usize, encoded::Decoded)> = Vec::new();
        if !encoded::runs(clear.as_bytes(), |offset, decoded| inner.push((offset, decoded))) {
            self.obstacle("too-many-members", at);
        }
        if depth >= DEPTH_MAX && !inner.is_empty() {
            return self.obstacle("nested-too-deep", at);
        }
        for (offset, decoded) in inner {
            if !self.member(decoded.bytes().len(), at) {
                return;
            }
            let place = format!("{at}:{offset} (encoded)");
            let known = self.encoded_file(decoded.bytes(), &place, depth + 1);
            if !known && matches!(decoded, encoded::Decoded::Noise(_)) {
                self.strings(decoded.bytes(), &place);
                if !self.settings {
                    self.obstacle("unknown-kind", &place);
                }
            }
        }
    }

    /// False: nobody knows what it is, though it may read as a text in some language.
    fn encoded_file(&mut self, bytes: &[u8], at: &str, depth: u8) -> bool {
        let limit = self.expanded_left.min(ZLIB_BYTES_MAX);
        if geodata::is_wkb(bytes) {
            self.finding("well-known-binary", RuleClass::Structural, at, "");
        } else if let Some(kind) = Kind::of_magic(bytes) {
            let kind = self.known(kind, "", bytes, at, depth);
            self.stands_encoded(kind, at);
        } else if text::decode(bytes).is_some() {
            let kind = self.member_file("", bytes, at, depth, true);
            self.stands_encoded(kind, at);
            return std::str::from_utf8(bytes).is_ok();
        } else if geodata::is_double_array(bytes) {
            self.finding("double-array", RuleClass::Heuristic, at, "");
        } else if let Some(plain) = encoded::inflated(bytes, limit) {
            if plain.len() >= limit || !self.member(plain.len(), at) {
                self.obstacle("expands-too-far", at);
            }
            let place = format!("{at} (inflated)");
            let kind = self.member_file("", &plain, &place, depth + 1, true);
            self.stands_encoded(kind, &place);
        } else {
            return false;
        }
        true
    }

    /// Pages, invoices and messages keep pictures, certificates and fonts in letters, as documents keep them.
    fn stands_encoded(&mut self, kind: Kind, at: &str) {
        if kind.is_document() {
            self.stands_inside(kind, at);
        }
        self.has_written_picture |= kind.is_picture();
    }

    /// Reads a text without escapes, full-width forms and what nobody sees; once more with its numbers in one piece.
    /// Answers what was read.
    pub(crate) fn scan_text<'t>(&mut self, text: &'t str, at: &str) -> Cow<'t, str> {
        let before = self.findings.len();
        let mut clear = Cow::Borrowed(text);
        // An answer inside a message inside a message is escaped as often.
        for level in 0..=ESCAPES_MAX {
            match text::unescaped(&clear) {
                Some(plain) if plain != *clear && level < ESCAPES_MAX => clear = Cow::Owned(plain),
                Some(plain) if plain != *clear => self.obstacle("nested-too-deep", at),
                _ => break,
            }
        }
        if let Some(narrow) = text::narrowed(&clear) {
            clear = Cow::Owned(narrow);
        }
        let spaced_digits = self.reading(&clear, at, &[]);
        if let Some(format) = geodata::mentioned(&clear) {
            self.finding("geodata-format", RuleClass::Structural, at, format);
        }
        let known: Vec<Word> = self.findings.iter().skip(before).map(|finding| finding.rule).collect();
        if let Some(joined) = text::ungrouped(&clear) {
            self.reading(&joined, at, &known);
        }
        if let Some(place) = window::look(&clear, &self.windows).filter(|_| !self.drawing) {
            self.finding("city-window", RuleClass::Heuristic, &format!("{at}:{place}"), sample(&clear, place));
        }
        if spaced_digits {
            self.reading(&text::closed_up(&clear), at, &known);
        }
        clear
    }

    /// One reading of a text; answers whether its digits stand one by one. What another reading found is not told twice.
    fn reading(&mut self, text: &str, at: &str, known: &[Word]) -> bool {
        let scanned = scan::scan(text);
        let drawing = self.drawing;
        let told = |hit: &&scan::Hit| known.contains(&hit.rule) || drawing && scan::is_lone(hit);
        for hit in scanned.hits.iter().filter(|hit| !told(hit)) {
            self.finding(hit.rule, hit.class, &format!("{at}:{}", hit.at), sample(text, hit.at));
        }
        for hit in table::look(text).iter().filter(|hit| !known.contains(&hit.rule)) {
            if hit.rule == table::SPENT {
                self.obstacle(table::SPENT, at);
            } else {
                self.finding(hit.rule, hit.class, &format!("{at}:{}", hit.at), sample(text, hit.at));
            }
        }
        scanned.spaced_digits
    }

    /// Printable runs of a binary: eight bits and UTF-16.
    pub(crate) fn strings(&mut self, bytes: &[u8], at: &str) {
        let narrow = printable_runs(bytes);
        self.scan_text(&narrow, at);
        let wide = printable_wide_runs(bytes);
        self.scan_text(&wide, at);
    }

    /// A signed value or seal: its strings, and the pictures and documents that stand inside it in the clear.
    fn signature(&mut self, bytes: &[u8], at: &str, depth: u8) {
        // 1.2.840.113549.1.7.3 and 1.2.156.10197.6.1.4.2.3: enveloped data, plain and national.
        let enveloped: [&[u8]; 2] =
            [b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03", b"\x2a\x81\x1c\xcf\x55\x06\x01\x04\x02\x03"];
        if enveloped.iter().any(|oid| memchr::memmem::find(crate::octets::head(bytes, 64), oid).is_some()) {
            self.obstacle("encrypted", at);
        }
        self.strings(bytes, at);
        self.octet_strings(bytes, at, depth, 0);
    }

    /// Seals keep their picture, or a whole document, in an octet string.
    fn octet_strings(&mut self, mut bytes: &[u8], at: &str, depth: u8, level: u8) {
        /// Deeper DER is no signature.
        const LEVEL_MAX: u8 = 24;
        while let [tag, first, ..] = bytes {
            let (header, size) = match first {
                0..=0x7F => (2, usize::from(*first)),
                0x80 => (2, bytes.len() - 2),
                0x81..=0x84 => {
                    let width = usize::from(first - 0x80);
                    let field = crate::octets::slice(bytes, 2, width).unwrap_or_default();
                    (2 + width, field.iter().fold(0_usize, |n, b| n << 8 | usize::from(*b)))
                }
                _ => return,
            };
            let Some(body) = crate::octets::slice(bytes, header, size) else { return };
            if level >= LEVEL_MAX {
                return self.obstacle("nested-too-deep", at);
            }
            if tag & 0x20 != 0 {
                self.octet_strings(body, at, depth, level + 1);
            } else if matches!(tag, 0x04 | 0x80) {
                match Kind::of_magic(body) {
                    Some(Kind::Signature) => self.octet_strings(body, at, depth, level + 1),
                    Some(kind) if body.len() >= 64 && !matches!(kind, Kind::Tar | Kind::Dbf | Kind::Font) => {
                        let place = format!("{at} (sealed)");
                        let kind = self.member_file("", body, &place, depth + 1, true);
                        // The picture of a seal is an OFD (GB/T 38540).
                        if kind != Kind::Ofd {
                            self.stands_encoded(kind, &place);
                        }
                    }
                    _ => {}
                }
            }
            bytes = crate::octets::tail(bytes, header + size);
        }
    }
}

/// Is the first element a drawing? Comments and declarations before it say nothing.
fn is_drawing(text: &str) -> bool {
    let mut rest = text.trim_start_matches('\u{feff}').trim_start();
    loop {
        let ends = [("<!--", "-->"), ("<?", "?>"), ("<!", ">")];
        let Some((_, end)) = ends.iter().find(|(start, _)| rest.starts_with(start)) else { break };
        let Some(at) = rest.find(end) else { return false };
        rest = rest.get(at + end.len()..).unwrap_or("").trim_start();
    }
    let name: String =
        rest.chars().skip(1).take_while(|c| !c.is_whitespace() && !matches!(c, '>' | '/')).take(64).collect();
    rest.starts_with('<') && name.rsplit(':').next().is_some_and(|local| local.eq_ignore_ascii_case("svg"))
}

/// The text around a hit, cut at characters.
fn sample(text: &str, at: usize) -> &str {
    let floor = |mut i: usize| {
        while !text.is_char_boundary(i) {
            i -= 1;
        }
        i
    };
    let at = at.min(text.len());
    text.get(floor(at)..floor((at + SAMPLE_BYTES).min(text.len()))).unwrap_or("")
}

/// Shorter runs in a binary are chance.
const STRING_BYTES_MIN: usize = 5;

/// Printable bytes, white space among them.
const PRINTABLE: Set = {
    let mut set = Set::of(b"\t\n\r");
    let mut byte = 0x20;
    while byte < 0x7F {
        set = set.with(byte);
        byte += 1;
    }
    set
};

/// Runs of printable bytes. A run of the least length covers every fifth byte, so most bytes of a binary are not looked at.
fn printable_runs(bytes: &[u8]) -> String {
    let mut out = String::new();
    let mut from = 0;
    while let Some(ahead) = bytes.get(from..from + STRING_BYTES_MIN) {
        if ahead.last().is_some_and(|last| !PRINTABLE.has(*last)) {
            from += STRING_BYTES_MIN;
            continue;
        }
        let before = ahead.iter().rev().take_while(|b| PRINTABLE.has(**b)).count();
        let start = from + STRING_BYTES_MIN - before;
        let rest = bytes.get(start..).unwrap_or_default();
        let run = head(rest, rest.iter().position(|b| !PRINTABLE.has(*b)).unwrap_or(rest.len()));
        if run.len() >= STRING_BYTES_MIN {
            out.push_str(&String::from_utf8_lossy(run));
            out.push('\n');
        }
        from = start + run.len() + 1;
    }
    out
}

/// Runs of characters of two bytes, wherever they begin. Most bytes begin none, and only a run with a digit is written
/// out: the runs between one digit and the next are passed over.
fn printable_wide_runs(bytes: &[u8]) -> String {
    let mut out = String::new();
    let mut from = 0;
    loop {
        let digit = wide_digit(bytes, from).unwrap_or(bytes.len().saturating_sub(1));
        from = run_start(bytes, from, digit);
        while from <= digit {
            let run = wide_run(bytes, from);
            let units = bytes.get(from..run.end).unwrap_or_default();
            if run.end + 2 > bytes.len() {
                push_wide(&mut out, units);
                return out;
            }
            if run.written >= STRING_BYTES_MIN && run.digits {
                push_wide(&mut out, units);
                out.push('\n');
            }
            // A run may begin at an odd offset.
            from = run.end + 1;
        }
    }
}

/// Where a digit of two bytes stands next.
fn wide_digit(bytes: &[u8], from: usize) -> Option<usize> {
    /// As many bytes as are asked together.
    const STEP: usize = 64;
    let is_digit = |low: u8, high: u8| low.wrapping_sub(b'0') < 10 && high == 0;
    let mut at = from;
    while let Some(lows) = bytes.get(at..) {
        let lows = head(lows, STEP);
        let highs = bytes.get(at + 1..)?;
        let pairs = || lows.iter().zip(highs);
        if pairs().fold(false, |any, (low, high)| any | is_digit(*low, *high)) {
            return pairs().position(|(low, high)| is_digit(*low, *high)).map(|n| at + n);
        }
        at += STEP;
    }
    None
}

/// The last place not behind `before` at which a run surely begins: two bytes that begin no unit stand before it,
/// and whatever ran until there has ended. Else where it was begun.
fn run_start(bytes: &[u8], from: usize, before: usize) -> usize {
    let begins = |at: usize| matches!(bytes.get(at..at + 2), Some([low, high]) if written_bytes(*low, *high) > 0);
    let mut behind = true;
    for at in (from..before).rev() {
        let here = begins(at);
        if !here && !behind {
            return at + 2;
        }
        behind = here;
    }
    from
}

/// Units from a place on that are written out: where they end, how many bytes they make, and whether a digit is among
/// them.
struct WideRun {
    end: usize,
    written: usize,
    digits: bool,
}

fn wide_run(bytes: &[u8], from: usize) -> WideRun {
    let mut run = WideRun { end: from, written: 0, digits: false };
    while let Some([low, high]) = bytes.get(run.end..run.end + 2) {
        let written = written_bytes(*low, *high);
        if written == 0 {
            break;
        }
        run.written += written;
        run.digits |= *high == 0 && low.is_ascii_digit();
        run.end += 2;
    }
    run
}

/// How many bytes of UTF-8 a unit of UTF-16 makes, if it is printable, Chinese or a sign of a place.
fn written_bytes(low: u8, high: u8) -> usize {
    match (low, high) {
        (0x20..=0x7E | b'\t' | b'\n' | b'\r', 0) => 1,
        // °
        (0xB0, 0) => 2,
        // ′ ″ 。 ， ：
        (_, 0x4E..=0x9F) | (0x32 | 0x33, 0x20) | (0x02, 0x30) | (0x0C | 0x1A, 0xFF) => 3,
        _ => 0,
    }
}

fn push_wide(out: &mut String, units: &[u8]) {
    let (units, _) = units.as_chunks::<2>();
    out.extend(units.iter().filter_map(|unit| char::from_u32(u32::from(u16::from_le_bytes(*unit)))));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::Chance;

    /// Byte by byte.
    fn runs_plainly(bytes: &[u8]) -> String {
        let is_printable = |b: &u8| matches!(b, 0x20..=0x7E | b'\t' | b'\n' | b'\r');
        let runs = bytes.split(|b| !is_printable(b)).filter(|run| run.len() >= STRING_BYTES_MIN);
        runs.map(|run| format!("{}\n", String::from_utf8_lossy(run))).collect()
    }

    /// From the first byte on; one that begins no character is passed over.
    fn wide_runs_plainly(bytes: &[u8]) -> String {
        let mut out = String::new();
        let mut from = 0;
        while from + 2 <= bytes.len() {
            let run = wide_run(bytes, from);
            let is_last = run.end + 2 > bytes.len();
            if is_last || (run.written >= STRING_BYTES_MIN && run.digits) {
                push_wide(&mut out, &bytes[from..run.end]);
                out.push_str(if is_last { "" } else { "\n" });
            }
            from = if is_last { bytes.len() } else { run.end + 1 };
        }
        out
    }

    #[test]
    fn runs_in_a_binary_are_the_same_however_fast_they_are_found() {
        let pieces = [b'1', b'7', b'a', b' ', b'\n', 0, 0, 0, 0xFF, 0x80, 0x4E, 0x20, 0x32, 0x30, 0x02];
        let mut chance = Chance(7);
        for _ in 0..40_000 {
            let bytes = chance.row(&pieces, 90);
            assert_eq!(printable_runs(&bytes), runs_plainly(&bytes), "{bytes:?}");
            assert_eq!(printable_wide_runs(&bytes), wide_runs_plainly(&bytes), "{bytes:?}");
        }
        for most in [1_usize, 70, 300, 3_000] {
            let bytes: Vec<u8> = (0..most).map(|_| u8::try_from(chance.below(256)).unwrap_or(0)).collect();
            assert_eq!(printable_runs(&bytes), runs_plainly(&bytes));
            assert_eq!(printable_wide_runs(&bytes), wide_runs_plainly(&bytes));
        }
    }

    #[test]
    fn wide_characters_are_read_at_even_and_odd_places_and_a_run_without_a_digit_is_not() {
        let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        for front in [&[][..], &[0xFF], &[0xFF, 0xFE, 0x01]] {
            let mut bytes = front.to_vec();
            bytes.extend(wide("界址点 X=4851490.4193，23°07′55″"));
            bytes.extend([0xFF; 3]);
            bytes.extend(wide("仅有文字没有数"));
            bytes.extend([0xFF; 3]);
            bytes.extend(wide("末"));
            assert_eq!(printable_wide_runs(&bytes), "界址点 X=4851490.4193，23°07′55″\n末");
        }
    }
}
