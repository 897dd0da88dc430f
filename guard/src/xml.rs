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
const GEOMETRY_ELEMENTS: [&str; 22] = [
    "coordinates",
    "posList",
    "pos",
    "lowerCorner",
    "upperCorner",
    "LatitudeDegrees",
    "LongitudeDegrees",
    "westBoundLongitude",
    "eastBoundLongitude",
    "southBoundLatitude",
    "northBoundLatitude",
    "westbc",
    "eastbc",
    "southbc",
    "northbc",
    "Southernmost_Latitude",
    "Northernmost_Latitude",
    "Westernmost_Longitude",
    "Easternmost_Longitude",
    "coord",
    "Point_Latitude",
    "Point_Longitude",
];

/// Root elements of formats that exist to carry positions.
const GEODATA_ROOTS: [&str; 5] = ["kml", "gpx", "TrainingCenterDatabase", "osm", "LandXML"];

/// Tags inside a word or number: they separate nothing.
const INLINE: [&str; 24] = [
    "t",
    "r",
    "rPr",
    "span",
    "b",
    "i",
    "u",
    "font",
    "em",
    "strong",
    "sup",
    "sub",
    "a",
    "small",
    "s",
    "rFonts",
    "sz",
    "szCs",
    "lang",
    "proofErr",
    "color",
    "noProof",
    "kern",
    "bookmarkStart",
];

/// Names deeper than this are not kept for the evidence; the nesting itself is bounded by the file's size.
const PATH_DEPTH_SHOWN: usize = 16;

/// Looks at elements, attributes and the text in between. False: not well-formed.
pub(crate) fn look(look: &mut Look, text: &str, at: &str) -> bool {
    let mut reader = Reader::from_str(text);
    let mut walk = Walk {
        look,
        at,
        path: Vec::new(),
        seen: String::with_capacity(text.len() / 2),
        depth: 0,
        roots: 0,
        sheet: None,
    };
    let well_formed = loop {
        match reader.read_event() {
            Ok(Event::Start(start)) => walk.open(&start, false),
            Ok(Event::Empty(start)) => walk.open(&start, true),
            Ok(Event::End(end)) => walk.close(end.local_name().as_ref()),
            Ok(Event::Text(text)) => walk.text(&text),
            Ok(Event::CData(text)) => walk.text(&text),
            Ok(Event::GeneralRef(reference)) => {
                if let Ok(Some(c)) = reference.resolve_char_ref() {
                    walk.seen.push(c);
                }
            }
            Ok(Event::Eof) => break walk.depth == 0 && walk.roots == 1,
            Ok(_) => {}
            Err(_) => break false,
        }
    };
    let seen = std::mem::take(&mut walk.seen);
    look.scan_text(&seen, &format!("{at} (text)"));
    well_formed
}

struct Walk<'a> {
    look: &'a mut Look,
    at: &'a str,
    path: Vec<String>,
    seen: String,
    depth: usize,
    roots: u32,
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

impl Walk<'_> {
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
        if name.len() <= 3 || name.starts_with("K") || name.contains('_') {
            self.pictures(start, name);
        }
        if self.sheet.is_some() && matches!(name, "c" | "v" | "is" | "row" | "f") {
            self.cell(start, name);
        } else if !INLINE.contains(&name) {
            self.seen.push(self.separator(name));
        }
        if !empty {
            if self.path.len() < PATH_DEPTH_SHOWN {
                self.path.push(name.to_owned());
            }
            self.depth += 1;
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
        if self.depth <= self.path.len() {
            self.path.pop();
        }
        self.depth = self.depth.saturating_sub(1);
        if self.sheet.is_some() && matches!(name, "c" | "v" | "is" | "row" | "f") {
            if name == "f" {
                self.seen.push(' ');
            }
        } else if !INLINE.contains(&name) {
            self.seen.push(self.separator(name));
        }
    }

    /// Paragraphs stand below each other, but for those of one cell.
    fn separator(&self, name: &str) -> char {
        let in_cell = || self.path.iter().any(|n| matches!(n.as_str(), "tc" | "td" | "th" | "table-cell"));
        if name == "p" && !in_cell() { '\n' } else { separator(name) }
    }

    fn text(&mut self, text: &str) {
        if let Some(name) = self.path.last() {
            // Bounding boxes nest the number one element deeper.
            let inside = |name: &String| GEOMETRY_ELEMENTS.contains(&name.as_str());
            let above = self.path.iter().rev().nth(1).is_some_and(inside);
            let number = text
                .trim_start()
                .bytes()
                .next()
                .is_some_and(|b| b.is_ascii_digit() || b == b'-' || b == b'.' || b == b'+');
            if number && self.depth <= PATH_DEPTH_SHOWN && (inside(name) || above) && self.is_position(text) {
                let place = self.place("");
                self.look.finding("geometry", RuleClass::Structural, &place, text.trim());
            }
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
        for part in self.path.iter().map(String::as_str).chain([name]).filter(|p| !p.is_empty()) {
            place.push('/');
            place.push_str(part);
        }
        place
    }
}

/// Cells stand beside each other, everything else below.
fn separator(name: &str) -> char {
    if matches!(name, "c" | "v" | "td" | "th" | "tc" | "table-cell" | "is" | "p") { '\t' } else { '\n' }
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
