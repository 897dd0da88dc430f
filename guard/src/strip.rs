//! Takes coordinates out of XML, JSON, CSV, XLSX and DOCX, and the device's position out of JPEG, PNG, HEIC and films. The
//! rest is carried over as it stands; a workbook or a letter is built anew.
//!
//! Never judges its own work: what comes out is looked at again from the beginning, and a result that is not clean
//! is not used. Never touches a signed file unless its type says so; that is decided by the caller.

use std::collections::{BTreeMap, BTreeSet};

use quick_xml::events::{BytesDecl, BytesStart, Event};
use quick_xml::{Reader, Writer};

use crate::axis::{self, Axis};
use crate::kind::Kind;
use crate::octets::{slice, tail, u16_be};
use crate::pairs::Windows;
use crate::sheet;
use crate::table::{position_columns, quoted_cells};
use crate::xml::{NATIONAL_ELEMENTS, PICTURE_FIELDS};

/// What was taken out, by rule.
pub(crate) type Removed = BTreeMap<&'static str, u32>;

/// Elements and values nest at most this deep; the recursion below is bounded by it.
const DEPTH_MAX: u32 = 96;

/// New bytes, and what is missing from them.
pub(crate) type Stripped = (Vec<u8>, Vec<(String, u32)>);

/// The bytes without coordinates, if this kind of file can be rewritten.
///
/// With a quality, a picture is painted anew instead.
pub(crate) fn strip(kind: Kind, bytes: &[u8], repaint: Option<u8>) -> Option<Stripped> {
    if let Some(quality) = repaint {
        let painted = crate::repaint::repaint(kind, bytes, quality)?;
        return Some((painted, vec![("image-re-encoded".to_owned(), 1)]));
    }
    let mut removed = Removed::new();
    let stripped = match kind {
        Kind::Xml => xml(&crate::text::decode(bytes)?, &mut removed)?,
        Kind::Json => json(&crate::text::decode(bytes)?, &mut removed)?,
        Kind::Csv => csv(&crate::text::decode(bytes)?, &mut removed)?,
        Kind::Xlsx => rebuilt(crate::workbook::strip(bytes, &mut removed)?, &mut removed),
        Kind::Docx => rebuilt(crate::letter::strip(bytes, &mut removed)?, &mut removed),
        Kind::Jpeg => jpeg(bytes, &mut removed)?,
        Kind::Png => device_position(crate::cut::png(bytes)?, &mut removed),
        Kind::Heic | Kind::Media => device_position(crate::cut::media(bytes)?, &mut removed),
        _ => return None,
    };
    (!removed.is_empty()).then(|| (stripped, removed.into_iter().map(|(rule, n)| (rule.to_owned(), n)).collect()))
}

/// What is built anew leaves things behind that nobody counts: comments in the XML, marks, the order of attributes.
fn rebuilt(bytes: Vec<u8>, removed: &mut Removed) -> Vec<u8> {
    count(removed, "rebuilt");
    bytes
}

/// A picture inside a letter, painted anew.
pub(crate) fn picture(kind: Kind, bytes: &[u8], removed: &mut Removed) -> Option<Vec<u8>> {
    let painted = crate::repaint::repaint(kind, bytes, crate::rules::JPEG_QUALITY)?;
    count(removed, "image-re-encoded");
    Some(painted)
}

pub(crate) fn count(removed: &mut Removed, rule: &'static str) {
    *removed.entry(rule).or_insert(0) += 1;
}

fn device_position((bytes, places): (Vec<u8>, u32), removed: &mut Removed) -> Vec<u8> {
    *removed.entry("device-position").or_insert(0) += places;
    bytes
}

/// A table without the columns whose header names an axis or a map sheet. What stands in other columns stays, and is
/// looked at again.
fn csv(text: &str, removed: &mut Removed) -> Option<Vec<u8>> {
    let header = text.trim_start_matches('\u{feff}').lines().find(|line| !line.trim().is_empty())?;
    let divider = [',', '\t', ';'].into_iter().find(|divider| header.contains(*divider))?;
    let goes = position_columns(&quoted_cells(header, divider).collect::<Vec<_>>());
    if !goes.contains(&true) {
        return None;
    }
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let row = line.trim_end_matches(['\r', '\n']);
        let kept: Vec<&str> = quoted_cells(row, divider)
            .enumerate()
            .filter(|(n, _)| !goes.get(*n).copied().unwrap_or(false))
            .map(|(_, cell)| cell)
            .collect();
        out.push_str(&kept.join(&divider.to_string()));
        out.push_str(line.get(row.len()..).unwrap_or(""));
    }
    *removed.entry("axis-table").or_insert(0) += u32::try_from(goes.iter().filter(|gone| **gone).count()).unwrap_or(0);
    Some(out.into_bytes())
}

/// Elements and keys that are geometry, if a number stands in them.
const GEOMETRY_NAMES: [&str; 13] = [
    "coordinates",
    "geometry",
    "bbox",
    "arcs",
    "rings",
    "geohash",
    "posList",
    "pos",
    "lowerCorner",
    "upperCorner",
    "wkt",
    "encodeOffsets",
    "boundedBy",
];
/// What no longer holds once something is missing.
const SIGNATURE_NAMES: [&str; 3] = ["Signature", "SignedInfo", "SignatureValue"];

/// Why a named value goes, if it goes.
pub(crate) fn rule_for(name: &str, value: &str) -> Option<&'static str> {
    if NATIONAL_ELEMENTS.contains(&name) {
        return Some("national-element");
    }
    if SIGNATURE_NAMES.contains(&name) {
        return Some("signature");
    }
    if GEOMETRY_NAMES.contains(&name) {
        // 职务 is a pos too, and 户型 a geometry.
        let is_nested = value.trim_start().starts_with(['{', '[']);
        return (is_nested || value.bytes().any(|b| b.is_ascii_digit())).then_some("geometry");
    }
    // What is no sheet of a small scale may be a corner in a spelling of the office's own.
    if sheet::is_key(name) && value.bytes().any(|b| b.is_ascii_digit()) && !sheet::is_coarse(value) {
        return Some("sheet-number");
    }
    let axis = axis::of(name)?;
    let written = Written::read(value)?;
    let goes = match axis {
        // Short keys mean other things too: 等级 is DJ as well.
        Axis::Longitude | Axis::Latitude => {
            written.decimals >= 3 || !written.windows.is_empty() || (name.len() > 4 && written.value <= 180.0)
        }
        Axis::SurveyX | Axis::SurveyY => true,
        Axis::WeakX | Axis::WeakY => written.windows.is_grid() || written.decimals >= 4,
        Axis::Geohash => true,
        Axis::TileZoom => false,
    };
    goes.then_some("axis-key")
}

/// Why a named value goes, asked of one message: a key that only ends like an axis goes where its twin stands too, or a
/// message would lose its `tax` and `money` with its corners.
fn rule_among(keys: &Keys, name: &str, value: &str) -> Option<&'static str> {
    let rule = rule_for(name, value)?;
    let stays = rule == "axis-key" && keys.is_alone(name, value);
    (!stays).then_some(rule)
}

/// The words of a message that may be one half of a pair of axes.
struct Keys(BTreeSet<String>);

impl Keys {
    fn of(text: &str) -> Keys {
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let half = |word: &&str| axis::of(word).is_some_and(|axis| axis.is_weak() || axis.is_degrees());
        Keys(words.filter(|word| !word.is_empty()).filter(half).map(str::to_ascii_lowercase).collect())
    }

    fn is_alone(&self, name: &str, value: &str) -> bool {
        match axis::of(name) {
            Some(axis) if axis.is_weak() => !axis::twin_of(name).is_some_and(|twin| self.0.contains(&twin)),
            // 单价 is a DJ and 进度 a jd: as a longitude they stand beside a latitude, and look like one.
            Some(axis) if axis.is_degrees() && axis::is_short(name) => {
                let other = |word: &String| axis::of(word).is_some_and(|other| axis.completes(other));
                !self.0.iter().any(other) || Written::read(value).is_none_or(|written| written.windows.is_empty())
            }
            _ => false,
        }
    }
}

/// A number in a value, as the scanner would see it.
struct Written {
    value: f64,
    decimals: u8,
    windows: Windows,
}

impl Written {
    fn read(value: &str) -> Option<Written> {
        let plain: String = value.trim().chars().filter(|c| !matches!(c, ',' | ' ')).collect();
        let number: f64 = plain.parse().ok()?;
        let digits = plain.trim_start_matches(['-', '+']);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let size = |s: &str| u8::try_from(s.len().min(20)).unwrap_or(20);
        let value = number.abs();
        Some(Written { value, decimals: size(fraction), windows: Windows::of(value, size(whole), size(fraction)) })
    }
}

fn xml(text: &str, removed: &mut Removed) -> Option<Vec<u8>> {
    let keys = Keys::of(text);
    let mut reader = Reader::from_str(text);
    let mut writer = Writer::new(Vec::new());
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None))).ok()?;
    // Depth of the element that is being dropped; everything below goes with it.
    let mut dropping: Option<u32> = None;
    let mut emptying: Option<u32> = None;
    let mut depth = 0_u32;
    // A leaf is judged by its text, so its start tag waits for it.
    let mut waiting: Option<BytesStart<'static>> = None;
    let mut leaf = String::new();
    loop {
        let event = reader.read_event().ok()?;
        let skip = dropping.is_some() || emptying.is_some_and(|at| depth > at);
        match event {
            Event::Eof => break,
            Event::Decl(_) => {}
            // Nobody reads these downstream, and they hide things.
            Event::DocType(_) | Event::PI(_) | Event::Comment(_) => {}
            Event::Start(start) => {
                if !skip {
                    flush(&mut writer, &mut waiting, &mut leaf)?;
                    let name = start.local_name().as_ref().to_owned();
                    let inside = tail_of(text, reader.buffer_position());
                    if let Some(rule) = container_rule(&name, inside) {
                        count(removed, rule);
                        dropping = Some(depth);
                    } else {
                        if PICTURE_FIELDS.contains(&name.as_str()) {
                            emptying = Some(depth);
                            count(removed, "parcel-picture");
                        }
                        waiting = Some(attributes(&start, &keys, removed));
                    }
                }
                depth += 1;
                if depth > DEPTH_MAX {
                    return None;
                }
            }
            Event::Empty(start) => {
                if !skip {
                    flush(&mut writer, &mut waiting, &mut leaf)?;
                    match container_rule(start.local_name().as_ref(), "") {
                        Some(rule) => count(removed, rule),
                        None => writer.write_event(Event::Empty(attributes(&start, &keys, removed))).ok()?,
                    }
                }
            }
            Event::End(end) => {
                depth = depth.checked_sub(1)?;
                if dropping.is_some() {
                    dropping = dropping.filter(|at| *at != depth);
                    continue;
                }
                if emptying.is_some_and(|at| depth > at) {
                    continue;
                }
                emptying = emptying.filter(|at| *at != depth);
                let name = end.local_name();
                if waiting.is_some()
                    && let Some(rule) = rule_among(&keys, name.as_ref(), &leaf)
                {
                    count(removed, rule);
                    waiting = None;
                    leaf.clear();
                    continue;
                }
                flush(&mut writer, &mut waiting, &mut leaf)?;
                writer.write_event(Event::End(end)).ok()?;
            }
            Event::Text(_) | Event::CData(_) | Event::GeneralRef(_) if skip || emptying.is_some() => {}
            Event::Text(text) if waiting.is_some() => leaf.push_str(&text),
            Event::Text(text) => writer.write_event(Event::Text(text)).ok()?,
            Event::GeneralRef(reference) if waiting.is_some() => {
                leaf.push('&');
                leaf.push_str(&reference);
                leaf.push(';');
            }
            other => {
                flush(&mut writer, &mut waiting, &mut leaf)?;
                writer.write_event(other).ok()?;
            }
        }
    }
    (depth == 0).then(|| writer.into_inner())
}

/// Writes the start tag and text that were waiting for their end.
fn flush(writer: &mut Writer<Vec<u8>>, waiting: &mut Option<BytesStart<'static>>, leaf: &mut String) -> Option<()> {
    if let Some(start) = waiting.take() {
        writer.write_event(Event::Start(start)).ok()?;
        // The text is carried over still escaped, as it was read.
        writer.write_event(Event::Text(quick_xml::events::BytesText::from_escaped(std::mem::take(leaf)))).ok()?;
    }
    Some(())
}

/// Elements that go whole. One that holds a text and no other element is judged by its text, at its end.
fn container_rule(name: &str, inside: &str) -> Option<&'static str> {
    if NATIONAL_ELEMENTS.contains(&name) {
        return Some("national-element");
    }
    if SIGNATURE_NAMES.contains(&name) {
        return Some("signature");
    }
    let is_leaf =
        memchr::memchr(b'<', inside.as_bytes()).is_none_or(|at| tail(inside.as_bytes(), at).starts_with(b"</"));
    (GEOMETRY_NAMES.contains(&name) && !is_leaf).then_some("geometry")
}

fn tail_of(text: &str, at: u64) -> &str {
    usize::try_from(at).ok().and_then(|at| text.get(at..)).unwrap_or("")
}

fn attributes(start: &BytesStart<'_>, keys: &Keys, removed: &mut Removed) -> BytesStart<'static> {
    let name: String = start.name().as_ref().to_owned();
    let mut kept = BytesStart::new(name);
    for attribute in start.attributes().with_checks(false).flatten() {
        let key: &str = attribute.key.as_ref();
        if PICTURE_FIELDS.contains(&key) && !attribute.value.trim().is_empty() {
            count(removed, "parcel-picture");
            kept.push_attribute((key, ""));
        } else if let Some(rule) = rule_among(keys, key, &attribute.value) {
            count(removed, rule);
        } else {
            kept.push_attribute(attribute);
        }
    }
    kept
}

/// Copies JSON token by token and leaves out what goes; what stays keeps its spelling, digits and order.
fn json(text: &str, removed: &mut Removed) -> Option<Vec<u8>> {
    let text = text.trim_start_matches('\u{feff}');
    // A strict reader first: the copier below may then trust the grammar.
    serde_json::from_str::<serde::de::IgnoredAny>(text).ok()?;
    let mut copier = Copier { text, at: 0, keys: Keys::of(text), removed };
    let mut out = String::with_capacity(text.len());
    copier.value(&mut out, 0)?;
    out.push_str(copier.text.get(copier.at..).unwrap_or(""));
    Some(out.into_bytes())
}

struct Copier<'a, 'r> {
    text: &'a str,
    at: usize,
    keys: Keys,
    removed: &'r mut Removed,
}

impl<'a> Copier<'a, '_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) -> &'a str {
        let start = self.at;
        while self.peek().is_some_and(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
        self.text.get(start..self.at).unwrap_or("")
    }

    fn token(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn string(&mut self) -> Option<&'a str> {
        let start = self.at;
        self.token(b'"')?;
        loop {
            match self.peek()? {
                b'\\' => self.at += 2,
                b'"' => {
                    self.at += 1;
                    return self.text.get(start..self.at);
                }
                _ => self.at += 1,
            }
        }
    }

    fn value(&mut self, out: &mut String, depth: u32) -> Option<()> {
        if depth > DEPTH_MAX {
            return None;
        }
        out.push_str(self.space());
        match self.peek()? {
            b'{' => self.object(out, depth),
            b'[' => self.array(out, depth),
            b'"' => {
                out.push_str(self.string()?);
                Some(())
            }
            _ => {
                let start = self.at;
                while self.peek().is_some_and(|b| !matches!(b, b',' | b']' | b'}' | b' ' | b'\t' | b'\r' | b'\n')) {
                    self.at += 1;
                }
                out.push_str(self.text.get(start..self.at)?);
                Some(())
            }
        }
    }

    fn array(&mut self, out: &mut String, depth: u32) -> Option<()> {
        self.token(b'[')?;
        out.push('[');
        loop {
            out.push_str(self.space());
            if self.token(b']').is_some() {
                out.push(']');
                return Some(());
            }
            if self.token(b',').is_some() {
                out.push(',');
            }
            self.value(out, depth + 1)?;
        }
    }

    fn object(&mut self, out: &mut String, depth: u32) -> Option<()> {
        self.token(b'{')?;
        out.push('{');
        let mut members = 0;
        let opening = self.space();
        loop {
            let before = self.space();
            if self.token(b'}').is_some() {
                out.push_str(before);
                out.push('}');
                return Some(());
            }
            let _ = self.token(b',');
            let indent = self.space();
            let key = self.string()?;
            let between = self.space();
            self.token(b':')?;
            let mut value = String::new();
            self.value(&mut value, depth + 1)?;
            let name: String = serde_json::from_str(key).ok()?;
            let replaced = self.replaced(&name, &value);
            let Some(value) = replaced else { continue };
            if members > 0 {
                out.push(',');
            }
            out.push_str(if members == 0 { opening } else { indent });
            out.push_str(key);
            out.push_str(between);
            out.push(':');
            out.push_str(&value);
            members += 1;
        }
    }

    /// The value that stays, an empty one in its place, or nothing.
    fn replaced(&mut self, name: &str, value: &str) -> Option<String> {
        let plain = value.trim();
        let unquoted = plain.trim_matches('"');
        if PICTURE_FIELDS.contains(&name) && !unquoted.is_empty() && plain != "null" {
            count(self.removed, "parcel-picture");
            return Some(" \"\"".to_owned());
        }
        match rule_among(&self.keys, name, unquoted) {
            Some(_) if plain == "null" => Some(value.to_owned()),
            // A feature without geometry says so.
            Some(rule) if name == "geometry" => {
                count(self.removed, rule);
                Some(" null".to_owned())
            }
            Some(rule) => {
                count(self.removed, rule);
                None
            }
            None => Some(value.to_owned()),
        }
    }
}

/// Cuts EXIF, XMP and IPTC out of a JPEG; the coded pixels stay as they are, and so does the way up.
fn jpeg(bytes: &[u8], removed: &mut Removed) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes.len());
    out.extend_from_slice(slice(bytes, 0, 2)?);
    let mut at = 2;
    loop {
        let marker = *bytes.get(at + 1)?;
        if *bytes.get(at)? != 0xFF {
            return None;
        }
        if marker == 0xFF {
            at += 1;
            continue;
        }
        if marker == 0xDA || marker == 0xD9 {
            out.extend_from_slice(tail(bytes, at));
            return Some(out);
        }
        let size = usize::from(u16_be(bytes, at + 2)?);
        let segment = slice(bytes, at, size + 2)?;
        let body = tail(segment, 4);
        match marker {
            0xE1 | 0xED | 0xFE => {
                count(removed, "device-position");
                if let Some(turn) = body.strip_prefix(b"Exif\0\0").and_then(orientation) {
                    out.extend_from_slice(&upright(turn));
                }
            }
            _ => out.extend_from_slice(segment),
        }
        at += size + 2;
    }
}

/// The orientation tag of the first directory.
pub(crate) fn orientation(tiff: &[u8]) -> Option<u8> {
    use crate::octets::{u16_le, u32_be, u32_le};
    let little = tiff.starts_with(b"II");
    let short = |at| if little { u16_le(tiff, at) } else { u16_be(tiff, at) };
    let first = usize::try_from(if little { u32_le(tiff, 4) } else { u32_be(tiff, 4) }?).ok()?;
    let entries = usize::from(short(first)?);
    let entry = (0..entries.min(512)).map(|n| first + 2 + n * 12).find(|entry| short(*entry) == Some(0x0112))?;
    u8::try_from(short(entry + 8)?).ok().filter(|turn| (2..=8).contains(turn))
}

/// An EXIF segment that holds the orientation and nothing else.
fn upright(turn: u8) -> Vec<u8> {
    let mut segment = b"\xFF\xE1\x00\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    segment.extend_from_slice(&[turn, 0, 0, 0, 0, 0, 0]);
    segment
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(kind: Kind, input: &str) -> String {
        let (bytes, _) = strip(kind, input.as_bytes(), None).expect("something to strip");
        String::from_utf8(bytes).expect("text in, text out")
    }

    #[test]
    fn boundary_points_leave_a_message_and_the_rest_stays() {
        let out = text(
            Kind::Xml,
            "<?xml version=\"1.0\" encoding=\"GBK\"?><Message><Data><KTT_ZDJBXX ZL=\"人民路&amp;1号\" DJ=\"三级\" ZDT=\"QUJD\" TFH=\"50.25-30.75\"/>\
             <ZD_K_103 XZB=\"4851490.4193\" YZB=\"29546865.2760\"/><KTT_GY_JZD><XZBZ>1</XZBZ></KTT_GY_JZD>\
             <A>1 &lt; 2</A><XZBZ>5065296.702</XZBZ></Data></Message>",
        );
        assert_eq!(
            out,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Message><Data><KTT_ZDJBXX ZL=\"人民路&amp;1号\" DJ=\"三级\" ZDT=\"\"/>\
             <A>1 &lt; 2</A></Data></Message>"
        );
    }

    #[test]
    fn json_keeps_its_digits_and_order() {
        let out = text(
            Kind::Json,
            r#"{"z": 1.10, "北坐标": 4854009.34, "a": [1, {"lon": 113.347776, "b": "x"}], "geometry": {"type": "Point", "coordinates": [1,2]}, "n": 123456789012345678901}"#,
        );
        assert_eq!(out, r#"{"z": 1.10, "a": [1, {"b": "x"}], "geometry": null, "n": 123456789012345678901}"#);
        assert!(serde_json::from_str::<serde_json::Value>(&out).is_ok());
    }

    #[test]
    fn a_stripped_message_keeps_its_tax_its_price_and_its_soap() {
        let out = text(
            Kind::Json,
            r#"{"XZB": 34512.417, "YZB": 51203.882, "money": 1500000, "tax": 450000.5, "index": 3200000, "DJ": 5000000.00, "pos": "所长", "mx": 12277426.55, "my": 2875421.22}"#,
        );
        assert_eq!(out, r#"{"money": 1500000, "tax": 450000.5, "index": 3200000, "DJ": 5000000.00, "pos": "所长"}"#);
        let out = text(
            Kind::Xml,
            "<s:Envelope><Body Tax=\"418535.29\"><pos>所长</pos><geometry>方正</geometry><Pay>2866334.60</Pay>\
             <XZB>34512.417</XZB><pos>3.5 12.25</pos><geometry><a>1</a></geometry></Body></s:Envelope>",
        );
        assert_eq!(
            out,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><s:Envelope><Body Tax=\"418535.29\"><pos>所长</pos>\
             <geometry>方正</geometry><Pay>2866334.60</Pay></Body></s:Envelope>"
        );
    }

    #[test]
    fn a_table_loses_the_columns_of_its_axes_and_keeps_its_spelling() {
        let out = text(
            Kind::Csv,
            "点号,\"X坐标\",纵坐标,备注,图幅号\r\nJ1,4851490.419,1,\"a,b\",50.25-30.75\r\nJ2,2,3,,\r\n",
        );
        assert_eq!(out, "点号,备注\r\nJ1,\"a,b\"\r\nJ2,\r\n");
        assert_eq!(text(Kind::Csv, "x,tax,y,money,index\n1,2,3,4,5\n"), "tax,money,index\n2,4,5\n");
        assert!(strip(Kind::Csv, "房号,面积\n1,2\n".as_bytes(), None).is_none());
        assert!(strip(Kind::Csv, b"", None).is_none());
    }

    #[test]
    fn a_photo_keeps_its_pixels_and_its_way_up() {
        let mut photo =
            b"\xFF\xD8\xFF\xE1\x00\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0".to_vec();
        let pixels = b"\xFF\xDA\x00\x02\x12\x34\xFF\xD9";
        photo.extend_from_slice(pixels);
        let (out, removed) = strip(Kind::Jpeg, &photo, None).expect("metadata");
        assert!(out.ends_with(pixels));
        assert_eq!(out, photo);
        assert_eq!(removed, [("device-position".to_owned(), 1)]);
    }
}
