//! XML and HTML by elements: what is named like coordinates, and the text between tags as a reader sees it.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use crate::finding::RuleClass;
use crate::look::Look;

/// The elements of the national messages that carry boundary points.
pub(crate) const NATIONAL_ELEMENTS: [&str; 5] = ["ZD_K_103", "ZH_K_105", "KTT_GY_JZD", "KTT_GY_JZX", "KTF_ZH_YHYDZB"];
/// Fields that hold a picture of the parcel, as a path or in base64.
pub(crate) const PICTURE_FIELDS: [&str; 6] = ["ZDT", "FCT", "FCFHT", "ZHT", "QRZDT", "QRFCFHT"];

/// Elements whose text is geometry: KML, GML, GeoRSS, GPX, TCX, ISO 19139, DIF.
fn is_geometry(name: &str) -> bool {
    matches!(
        name,
        "coordinates"
            | "posList"
            | "pos"
            | "lowerCorner"
            | "upperCorner"
            | "LatitudeDegrees"
            | "LongitudeDegrees"
            | "westBoundLongitude"
            | "eastBoundLongitude"
            | "southBoundLatitude"
            | "northBoundLatitude"
            | "westbc"
            | "eastbc"
            | "southbc"
            | "northbc"
            | "Southernmost_Latitude"
            | "Northernmost_Latitude"
            | "Westernmost_Longitude"
            | "Easternmost_Longitude"
            | "coord"
            | "Point_Latitude"
            | "Point_Longitude"
    )
}

/// Root elements of formats that exist to carry positions.
const GEODATA_ROOTS: [&str; 5] = ["kml", "gpx", "TrainingCenterDatabase", "osm", "LandXML"];

/// Tags inside a word or number: they separate nothing.
fn is_inline(name: &str) -> bool {
    matches!(
        name,
        "t" | "r"
            | "rPr"
            | "span"
            | "b"
            | "i"
            | "u"
            | "font"
            | "em"
            | "strong"
            | "sup"
            | "sub"
            | "a"
            | "small"
            | "s"
            | "rFonts"
            | "sz"
            | "szCs"
            | "lang"
            | "proofErr"
            | "color"
            | "noProof"
            | "kern"
            | "bookmarkStart"
            | "bookmarkEnd"
            | "lastRenderedPageBreak"
            | "hyperlink"
            | "smartTag"
            | "sdt"
            | "sdtContent"
            | "ins"
            | "del"
            | "fldSimple"
            | "noBreakHyphen"
            | "softHyphen"
            | "permStart"
            | "permEnd"
            | "commentRangeStart"
            | "commentRangeEnd"
            | "commentReference"
            | "mark"
            | "code"
            | "strike"
    )
}

/// What a word processor says about a run, a paragraph or a cell; there is no text in it.
fn is_property(name: &str) -> bool {
    matches!(name, "rPr" | "pPr" | "tcPr" | "trPr" | "tblPr" | "sectPr" | "sdtPr")
}

/// Elements of HTML that have no end.
const VOID: [&str; 14] =
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"];

/// Names deeper than this are not shown in the evidence.
const PATH_DEPTH_SHOWN: usize = 16;
/// Names deeper than this are not kept; pages nest their boxes a few dozen deep, and all nesting is bounded by the size.
const PATH_DEPTH_MAX: usize = 64;
/// Looks at elements, attributes and the text in between. False: not well-formed.
pub(crate) fn look(look: &mut Look, text: &str, at: &str) -> bool {
    let mut walk = Walk::new(look, text, at, false);
    let mut reader = Reader::from_str(text);
    let well_formed = loop {
        match reader.read_event() {
            Ok(Event::Eof) => break walk.depth == 0 && walk.roots == 1 && !walk.has_unknown,
            Ok(event) => walk.event(&event),
            Err(_) => break false,
        }
    };
    walk.finish();
    well_formed
}

/// Looks at a page as a browser reads it: ends may be missing, and what is no tag is passed over.
pub(crate) fn look_as_page(look: &mut Look, text: &str, at: &str) {
    let text = tags_alone(text);
    let mut walk = Walk::new(look, &text, at, true);
    let mut reader = Reader::from_str(&text);
    let config = reader.config_mut();
    (config.check_end_names, config.allow_unmatched_ends, config.allow_dangling_amp) = (false, true, true);
    loop {
        match reader.read_event() {
            Ok(Event::Eof) => break,
            Ok(event) => walk.event(&event),
            // A tag that is never closed: to a browser it reaches to the end. Here the rest is text.
            Err(_) => {
                let stopped = usize::try_from(reader.error_position()).unwrap_or(0);
                walk.seen.push_str(text.get(stopped..).unwrap_or(""));
                break;
            }
        }
    }
    walk.finish();
}

/// A page without what is no tag: `<![if !vml]>`, `<?xml:namespace … />`, the sign in `1 < 2`.
fn tags_alone(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'<', rest.as_bytes()) {
        let (before, tag) = rest.split_at(at);
        out.push_str(before);
        let behind = tag.get(1..).unwrap_or("");
        let is_comment = behind.starts_with("!--") && !behind.starts_with("!-->") && !behind.starts_with("!--->");
        let is_declaration = is_comment
            || behind.starts_with("![CDATA[")
            || behind.get(..8).is_some_and(|word| word.eq_ignore_ascii_case("!doctype"));
        rest = match behind.as_bytes().first() {
            Some(b'!' | b'?') if !is_declaration => {
                memchr::memchr(b'>', behind.as_bytes()).and_then(|end| behind.get(end + 1..)).unwrap_or("")
            }
            Some(first) if first.is_ascii_alphabetic() || matches!(first, b'/' | b'!') => {
                out.push('<');
                behind
            }
            _ => {
                out.push(' ');
                behind
            }
        };
    }
    out.push_str(rest);
    out
}

struct Walk<'a> {
    look: &'a mut Look,
    at: &'a str,
    path: Vec<String>,
    seen: String,
    depth: usize,
    roots: u32,
    /// Read as a browser does.
    page: bool,
    /// A reference to something that is declared elsewhere, or nowhere.
    has_unknown: bool,
    /// Inside properties: how deep they began, and what would separate a text in them from the one before.
    properties: Option<(usize, String)>,
    /// Inside a field that holds a picture of the parcel: how deep it began.
    picture: Option<usize>,
    /// In a cell of a sheet that keeps its value beside what it shows: the value.
    stored: Option<String>,
    /// In a sheet of a workbook: where the next cell stands, and whether its value is the number of a shared string.
    sheet: Option<Cell>,
}

#[derive(Default)]
struct Cell {
    column: usize,
    shared: bool,
}

/// Columns of a sheet, as every program has them.
const COLUMNS_MAX: usize = 16_384;

/// `BC12`: the column, from nought.
fn column_of(place: &str) -> Option<usize> {
    let letters = place.bytes().take_while(u8::is_ascii_uppercase).take(4);
    let number = letters.fold(0_usize, |n, letter| n * 26 + usize::from(letter - b'A') + 1);
    number.checked_sub(1).filter(|column| *column < COLUMNS_MAX)
}

impl<'a> Walk<'a> {
    fn new(look: &'a mut Look, text: &str, at: &'a str, page: bool) -> Self {
        Walk {
            look,
            at,
            path: Vec::new(),
            seen: String::with_capacity(text.len() / 2),
            depth: 0,
            roots: 0,
            page,
            has_unknown: false,
            properties: None,
            picture: None,
            stored: None,
            sheet: None,
        }
    }

    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Start(start) => {
                let empty = self.page && VOID.iter().any(|name| start.local_name().as_ref().eq_ignore_ascii_case(name));
                self.open(start, empty);
            }
            Event::Empty(start) => self.open(start, true),
            Event::End(end) => self.close(end.local_name().as_ref()),
            Event::Text(text) => self.text(text),
            Event::CData(text) => self.text(text),
            Event::GeneralRef(reference) => match (reference.resolve_char_ref(), &**reference) {
                (Ok(Some(c)), _) => self.seen.push(c),
                (_, "amp") => self.seen.push('&'),
                (_, "lt") => self.seen.push('<'),
                (_, "gt") => self.seen.push('>'),
                (_, "quot") => self.seen.push('"'),
                (_, "apos") => self.seen.push('\''),
                _ if self.page => self.seen.push(' '),
                _ => self.has_unknown = true,
            },
            // Entities put a number together where it is shown; nobody in this trade declares any.
            Event::DocType(declared) if declared.contains("<!ENTITY") => self.look.obstacle("malformed-xml", self.at),
            _ => {}
        }
    }

    fn finish(self) {
        self.look.scan_text(&self.seen, &format!("{} (text)", self.at));
    }

    fn open(&mut self, start: &BytesStart<'_>, empty: bool) {
        let local = start.local_name();
        let name: &str = local.as_ref();
        if self.depth == 0 {
            self.roots += 1;
            if name == "worksheet" && self.look.is_workbook() {
                self.sheet = Some(Cell::default());
            }
            if GEODATA_ROOTS.contains(&name) {
                self.look.finding("geodata-format", RuleClass::Structural, &format!("{}/{name}", self.at), name);
            }
        }
        if NATIONAL_ELEMENTS.contains(&name) {
            self.look.finding("national-element", RuleClass::Structural, &self.place(name), name);
        }
        if name == "Signature" || name == "SignatureValue" {
            self.look.signed = true;
        }
        self.pictures(start, name);
        if self.properties.is_none() && !empty && is_property(name) {
            self.properties = Some((self.depth, String::new()));
        }
        if !empty && self.picture.is_none() && PICTURE_FIELDS.contains(&name) {
            self.picture = Some(self.depth);
        }
        if self.sheet.is_some() && matches!(name, "c" | "v" | "is" | "row" | "f") {
            self.cell(start, name);
        } else {
            self.separate(name);
        }
        if name == "table-cell" {
            self.stored_value(start, empty);
        }
        if !empty {
            if self.path.len() < PATH_DEPTH_MAX {
                self.path.push(name.to_owned());
            }
            self.depth += 1;
        }
    }

    /// A cell shows 34512 and keeps 34512.417.
    fn stored_value(&mut self, start: &BytesStart<'_>, empty: bool) {
        let of = |found: &quick_xml::events::attributes::Attribute<'_>| found.key.local_name().as_ref() == "value";
        let value = start.attributes().with_checks(false).flatten().find(of);
        self.stored = value.map(|value| value.value.trim().to_owned()).filter(|value| value.parse::<f64>().is_ok());
        if empty && let Some(value) = self.stored.take() {
            self.seen.push_str(&value);
        }
    }

    /// Cells of a sheet stand in their columns, as a person sees them.
    fn cell(&mut self, start: &BytesStart<'_>, name: &str) {
        let Some(cell) = &mut self.sheet else { return };
        match name {
            "row" => {
                *cell = Cell::default();
                self.seen.push('\n');
            }
            "c" => {
                let attribute = |key: &str| start.try_get_attribute(key).ok().flatten();
                let column = attribute("r").and_then(|place| column_of(&place.value)).unwrap_or(cell.column + 1);
                for _ in cell.column..column {
                    self.seen.push('\t');
                }
                cell.column = column;
                cell.shared = attribute("t").is_some_and(|kind| kind.value.as_ref() == "s");
            }
            "f" => self.seen.push(' '),
            _ => {}
        }
    }

    /// `ZDT="…"` holds a picture of the parcel.
    fn pictures(&mut self, start: &BytesStart<'_>, name: &str) {
        for attribute in start.attributes().with_checks(false).flatten() {
            let key: &str = attribute.key.as_ref();
            if PICTURE_FIELDS.contains(&key) && !attribute.value.trim().is_empty() {
                let place = format!("{}/@{key}", self.place(name));
                self.look.finding("parcel-picture", RuleClass::Structural, &place, "");
            }
        }
    }

    fn close(&mut self, name: &str) {
        if self.page {
            // An end closes what was left open inside.
            if let Some(at) = self.path.iter().rposition(|open| open == name) {
                self.path.truncate(at);
            }
            self.depth = self.path.len();
        } else {
            if self.depth <= self.path.len() {
                self.path.pop();
            }
            self.depth = self.depth.saturating_sub(1);
        }
        let depth = self.depth;
        if name == "table-cell"
            && let Some(value) = self.stored.take()
        {
            self.seen.push_str(&value);
        }
        self.picture = self.picture.filter(|began| *began < depth);
        if self.sheet.is_some() && matches!(name, "c" | "v" | "is" | "row" | "f") {
            if name == "f" {
                self.seen.push(' ');
            }
        } else {
            self.separate(name);
        }
        if self.properties.as_ref().is_some_and(|(began, _)| *began >= depth) {
            self.properties = None;
        }
    }

    /// Parts what stands before and behind a tag. Properties part nothing, as long as there is no text in them.
    fn separate(&mut self, name: &str) {
        if is_inline(name) || is_property(name) {
            return;
        }
        let separator = self.separator(name);
        match &mut self.properties {
            Some((_, waiting)) => waiting.push(separator),
            None => self.seen.push(separator),
        }
    }

    /// Paragraphs stand below each other, but for those of one cell. In a cell of an office document nothing ends a row
    /// but a row of a table inside it; a page lays itself out in cells, and there only the cell's own box ends none.
    fn separator(&self, name: &str) -> char {
        let is_cell = |n: &String| matches!(n.as_str(), "tc" | "td" | "th" | "table-cell");
        let innermost = self.path.iter().rev().find(|n| is_cell(n) || matches!(n.as_str(), "tr" | "table-row"));
        let in_office_cell = innermost.is_some_and(|n| matches!(n.as_str(), "tc" | "table-cell"));
        match name {
            "p" if !self.path.iter().any(is_cell) => '\n',
            "tc" | "table-cell" | "p" | "tab" | "tr" | "table-row" => separator(name),
            _ if in_office_cell => ' ',
            "div" if self.path.last().is_some_and(is_cell) => ' ',
            _ => separator(name),
        }
    }

    fn text(&mut self, text: &str) {
        let is_blank = text.trim().is_empty();
        // One field is one finding, however many pieces its text comes in.
        if !is_blank && self.picture.take().is_some() {
            let place = self.place("");
            self.look.finding("parcel-picture", RuleClass::Structural, &place, "");
        }
        if let Some((_, waiting)) = self.properties.as_mut().filter(|_| !is_blank) {
            self.seen.push_str(waiting);
            waiting.clear();
        }
        if let Some(name) = self.path.last() {
            // Bounding boxes nest the number one element deeper.
            let inside = |name: &String| is_geometry(name);
            let above = self.path.iter().rev().nth(1).is_some_and(inside);
            let number = text
                .trim_start()
                .bytes()
                .next()
                .is_some_and(|b| b.is_ascii_digit() || b == b'-' || b == b'.' || b == b'+');
            if number && self.depth <= PATH_DEPTH_MAX && (inside(name) || above) && self.is_position(text) {
                let place = self.place("");
                self.look.finding("geometry", RuleClass::Structural, &place, text.trim());
            }
        }
        if let Some(stored) = self.stored.take_if(|stored| shows(text, stored)) {
            self.seen.push_str(&stored);
            return;
        }
        let shared = self.sheet.as_ref().is_some_and(|cell| cell.shared) && self.path.last().is_some_and(|n| n == "v");
        match text.trim().parse().ok().filter(|_| shared).and_then(|index| self.look.shared_string(index)) {
            Some(string) => self.seen.push_str(string),
            None => self.seen.push_str(text),
        }
    }

    /// `pos` and `coord` mean other things too, and `coordinates` may be counted: then two numbers must stand there, and
    /// one of them be measured.
    fn is_position(&self, text: &str) -> bool {
        let loose = self.path.last().is_some_and(|n| matches!(n.as_str(), "pos" | "coord" | "coordinates"));
        let numbers = || text.split([' ', ',', '\t', '\n', '\r']).filter(|p| p.parse::<f64>().is_ok());
        !loose || (numbers().count() >= 2 && numbers().any(|p| p.contains('.') || p.len() >= 4))
    }

    fn place(&self, name: &str) -> String {
        let mut place = self.at.to_owned();
        for part in self.path.iter().take(PATH_DEPTH_SHOWN).map(String::as_str).chain([name]).filter(|p| !p.is_empty())
        {
            place.push('/');
            place.push_str(part);
        }
        place
    }
}

/// Is a text the stored value, rounded as a cell shows it?
fn shows(text: &str, stored: &str) -> bool {
    let plain: String = text.trim().chars().filter(|c| !matches!(c, ',' | ' ' | '\u{a0}')).collect();
    match (plain.parse::<f64>(), stored.parse::<f64>()) {
        (Ok(shown), Ok(stored)) => (shown - stored).abs() <= 1.0,
        _ => false,
    }
}

/// Cells stand beside each other, everything else below.
fn separator(name: &str) -> char {
    if matches!(name, "c" | "v" | "td" | "th" | "tc" | "table-cell" | "is" | "p" | "tab") { '\t' } else { '\n' }
}

/// The strings that the cells of a workbook share, in order.
pub(crate) fn shared_strings(text: &str) -> Vec<String> {
    /// A register of a district; more strings than this are looked at without their places.
    const STRINGS_MAX: usize = 1_000_000;
    let mut reader = Reader::from_str(text);
    let mut strings = Vec::new();
    let mut current: Option<String> = None;
    while let Ok(event) = reader.read_event() {
        match event {
            Event::Start(start) if start.local_name().as_ref() == "si" => current = Some(String::new()),
            Event::Empty(start) if start.local_name().as_ref() == "si" => strings.push(String::new()),
            Event::Text(text) => {
                if let Some(current) = &mut current {
                    current.push_str(&text);
                }
            }
            Event::End(end) if end.local_name().as_ref() == "si" => strings.extend(current.take()),
            Event::Eof => break,
            _ => {}
        }
        if strings.len() >= STRINGS_MAX {
            break;
        }
    }
    strings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Vec<String> {
        crate::detect("a.xml", text.as_bytes()).findings.iter().map(|finding| finding.rule.to_owned()).collect()
    }

    #[test]
    fn a_number_split_over_runs_of_a_letter_is_one_number() {
        let run = |properties: &str, text: &str| format!("<w:r><w:rPr>{properties}</w:rPr><w:t>{text}</w:t></w:r>");
        for properties in
            ["<w:bCs/>", "<w:highlight w:val=\"yellow\"/>", "<w:rStyle w:val=\"a\"/>", "<w:spacing w:val=\"1\"/>"]
        {
            let number = |a: &str, b: &str| run(properties, a) + "<w:bookmarkEnd/>" + &run(properties, b);
            let text = format!(
                "<?xml version=\"1.0\"?><w:p>{}<w:r><w:tab/></w:r>{}</w:p>",
                number("4851", "490.419"),
                number("29546", "865.276")
            );
            assert!(rules(&text).contains(&"precise-pair".to_owned()), "{text}");
        }
        let hidden = "<?xml version=\"1.0\"?><a><rPr><x>4851490.419</x><y>29546865.276</y></rPr></a>";
        assert!(!rules(hidden).is_empty(), "a text in properties is read as any other");
    }

    #[test]
    fn a_field_with_a_picture_of_the_parcel_is_found_by_its_name() {
        for text in [
            "<?xml version=\"1.0\"?><Message><ZDT>iVBORw0K</ZDT></Message>",
            "<?xml version=\"1.0\"?><Message><ZDT><![CDATA[a/b.png]]></ZDT></Message>",
            "<?xml version=\"1.0\"?><Message><Parcel ZDT=\"a/b.png\"/></Message>",
        ] {
            assert_eq!(rules(text), ["parcel-picture"], "{text}");
        }
        assert!(rules("<?xml version=\"1.0\"?><Message><ZDT> </ZDT><FCT/><P ZDT=\"\"/><A>1</A></Message>").is_empty());
    }

    #[test]
    fn entities_are_not_looked_through() {
        let text = "<?xml version=\"1.0\"?><!DOCTYPE m [<!ENTITY a \"4851\">]><m>&a;490.419</m>";
        assert_eq!(rules(text), ["malformed-xml"]);
        assert_eq!(rules("<?xml version=\"1.0\"?><m>&a;490.419</m>"), ["malformed-xml"]);
        assert!(rules("<?xml version=\"1.0\"?><m>&amp;&lt;&#52;</m>").is_empty());
    }

    #[test]
    fn a_page_is_read_as_a_browser_reads_it() {
        let cell = |text: &str| {
            format!("<td style='mso-style-parent:style0;padding:0cm 5.4pt;border:solid windowtext 1.0pt'>{text}")
        };
        let row = |a: &str, b: &str, c: &str| format!("<tr>{}{}{}", cell(a), cell(b), cell(c));
        let page = format!(
            "<html><head><meta charset=utf-8></head><body><![if !vml]><p>a & b&nbsp;<br><table>{}{}</table></body></html>",
            row("点号", "纵坐标", "横坐标"),
            row("J1", "34512.417", "51203.882")
        );
        let found = crate::detect("a.html", page.as_bytes());
        assert!(found.findings.iter().any(|finding| finding.rule == "axis-table"), "{:?}", found.findings);
        let marked = format!("<html><?xml:namespace prefix = o />1 < 2 <!x>{}", page.trim_start_matches("<html>"));
        assert!(!crate::detect("a.html", marked.as_bytes()).findings.is_empty());
        let plain = crate::detect("a.html", b"<html><body><p>1 < 2 & <3<br><!-- open");
        assert!(plain.findings.is_empty(), "{:?}", plain.findings);
    }

    #[test]
    fn a_cell_of_a_slide_ends_no_row() {
        let cell = |text: &str| {
            format!(
                "<a:tc><a:txBody><a:bodyPr/><a:lstStyle/><a:p><a:r><a:rPr lang=\"zh\"/><a:t>{text}</a:t></a:r><a:endParaRPr/></a:p></a:txBody><a:tcPr marL=\"1\"><a:lnL/></a:tcPr></a:tc>"
            )
        };
        let row = |cells: [&str; 3]| format!("<a:tr h=\"1\">{}</a:tr>", cells.map(cell).concat());
        let rows = [
            ["点号", "X", "Y"],
            ["P1", "34512.417", "27881.335"],
            ["P2", "34548.902", "27888.874"],
            ["P3", "34541.336", "27936.018"],
        ];
        let slide = format!("<?xml version=\"1.0\"?><p:sld><a:tbl>{}</a:tbl></p:sld>", rows.map(row).concat());
        assert_eq!(rules(&slide), ["local-grid"]);
        let boxed = |text: &str| format!("<td><div>{text}</div></td>");
        let row = |cells: [&str; 3]| format!("<tr>{}</tr>", cells.map(boxed).concat());
        let page = format!("<html><body><table>{}</table></body></html>", rows.map(row).concat());
        assert!(!crate::detect("a.html", page.as_bytes()).findings.is_empty());
    }

    #[test]
    fn what_a_cell_keeps_is_read_where_it_shows_less() {
        let cell = |shown: &str, stored: &str| {
            format!(
                "<table:table-cell office:value-type=\"float\" office:value=\"{stored}\"><text:p>{shown}</text:p></table:table-cell>"
            )
        };
        let word = |text: &str| format!("<table:table-cell><text:p>{text}</text:p></table:table-cell>");
        let head = ["点号", "X", "Y"].map(word).concat();
        let row = |n: &str, x: &str, y: &str| {
            let shown = |v: &str| v.split('.').next().unwrap_or("").to_owned();
            format!("<table:table-row>{}{}{}</table:table-row>", word(n), cell(&shown(x), x), cell(&shown(y), y))
        };
        let sheet = format!(
            "<?xml version=\"1.0\"?><table:table><table:table-row>{head}</table:table-row>{}{}{}</table:table>",
            row("P1", "34512.417", "27881.335"),
            row("P2", "34548.902", "27888.874"),
            row("P3", "34541.336", "27936.018")
        );
        assert_eq!(rules(&sheet), ["local-grid"]);
    }

    #[test]
    fn cells_have_columns() {
        assert_eq!(column_of("A1"), Some(0));
        assert_eq!(column_of("BC12"), Some(54));
        assert_eq!(column_of("ZZZZ1"), None);
        assert_eq!(column_of("12"), None);
    }

    #[test]
    fn shared_strings_keep_their_order_and_their_gaps() {
        let text = "<sst><si><t>点号</t></si><si/><si><r><t>X</t></r><r><t>坐标</t></r></si></sst>";
        assert_eq!(shared_strings(text), ["点号", "", "X坐标"]);
        assert!(shared_strings("<sst><si><t>a").is_empty());
    }
}
