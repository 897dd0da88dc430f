//! Geodata by what it is: formats that carry coordinates by definition are named here and need no parser.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::octets::{Set, head, slice, tail, u32_be, u32_le};

/// Formats by their first bytes.
const MAGICS: &[(&[u8], &str)] = &[
    (b"SQLite format 3\0", "sqlite"),
    (b"fgb\x03fgb", "flatgeobuf"),
    (b"PAR1", "parquet"),
    (b"PARE", "parquet"),
    (b"ARROW1\0\0", "arrow"),
    (b"FEA1", "feather"),
    (b"LASF", "las"),
    (b"\x89HDF\r\n\x1a\n", "hdf"),
    (b"\x0e\x03\x13\x01", "hdf4"),
    (b"CDF\x01", "netcdf"),
    (b"CDF\x02", "netcdf"),
    (b"CDF\x05", "netcdf"),
    (b"GRIB", "grib"),
    (b"BUFR", "bufr"),
    (b"AutoCAD Binary DXF", "dxf"),
    (b"!table", "mapinfo-tab"),
    (b"PMTiles", "pmtiles"),
    (b"EHFA_HEADER_TAG", "erdas-img"),
    (b"\x08\x09\xfe\x02", "dgn"),
    (b"\x08\x09\xfe\x03", "dgn"),
    (b"\xc8\x09\xfe\x02", "dgn"),
];

/// What they begin with.
const FIRSTS: Set = Set::of_firsts(MAGICS);

/// The words of all of them.
#[cfg(test)]
pub(crate) fn magic_words() -> impl Iterator<Item = &'static str> {
    MAGICS.iter().map(|(_, name)| *name)
}

/// The name of the geodata format that these bytes open, if they open one.
pub(crate) fn magic(bytes: &[u8]) -> Option<&'static str> {
    if bytes.first().is_some_and(|first| FIRSTS.has(*first)) {
        for (magic, name) in MAGICS {
            if bytes.starts_with(magic) {
                return Some(name);
            }
        }
    }
    if is_geopackage_blob(bytes) {
        return Some("geopackage-blob");
    }
    if is_dwg(bytes) {
        return Some("dwg");
    }
    if is_shape(bytes) {
        return Some("shapefile");
    }
    if is_osm_pbf(bytes) {
        return Some("osm-pbf");
    }
    if is_iso8211_raster(bytes) {
        return Some("iso8211");
    }
    if is_vector_tile(bytes) {
        return Some("vector-tile");
    }
    if is_jp2_geo(bytes) {
        return Some("geo-jpeg2000");
    }
    None
}

/// "AC10nn", "AC1.nn", "AC2.nn": drawing files of every age.
fn is_dwg(bytes: &[u8]) -> bool {
    let Some(version) = slice(bytes, 0, 6) else { return false };
    version.starts_with(b"AC")
        && tail(version, 4).iter().all(u8::is_ascii_digit)
        && matches!(version.get(2..4), Some(b"10" | b"1." | b"2."))
        && bytes.get(6).is_some_and(|b| *b < 0x20)
}

/// File code 9994 big-endian, five zero words, the file length, then version 1000 little-endian. SHX is the same.
fn is_shape(bytes: &[u8]) -> bool {
    u32_be(bytes, 0) == Some(9994) && u32_le(bytes, 28) == Some(1000)
}

fn is_osm_pbf(bytes: &[u8]) -> bool {
    u32_be(bytes, 0).is_some_and(|n| n < 64) && slice(bytes, 4, 11) == Some(b"\x0a\x09OSMHeader")
}

/// ISO 8211 opens with a 24-byte leader; S-57 charts, SRP and SDTS are carried by it.
fn is_iso8211_raster(bytes: &[u8]) -> bool {
    let Some(leader) = slice(bytes, 0, 24) else { return false };
    let digits = |from: usize, to: usize| leader.get(from..to).is_some_and(|d| d.iter().all(u8::is_ascii_digit));
    digits(0, 5) && leader.get(6) == Some(&b'L') && digits(10, 17) && digits(20, 24)
}

/// A protobuf `Tile`: layer(3) with version(15) = 1 or 2 and a name(1) of printable bytes.
fn is_vector_tile(bytes: &[u8]) -> bool {
    if bytes.first() != Some(&0x1a) {
        return false;
    }
    let layer = tail(bytes, 1);
    let varint = layer.iter().take(4).position(|b| b & 0x80 == 0).map_or(0, |n| n + 1);
    let body = head(tail(layer, varint), 24);
    let versioned = |b: &[u8]| b.starts_with(b"\x78\x01") || b.starts_with(b"\x78\x02");
    if versioned(body) && body.get(2) == Some(&0x0a) {
        return true;
    }
    let Some(name_length) = body.get(1).map(|n| usize::from(*n)) else { return false };
    body.first() == Some(&0x0a)
        && name_length > 0
        && slice(body, 2, name_length.min(22)).is_some_and(|n| n.iter().all(|b| b.is_ascii_graphic() || *b >= 0x80))
        && varint > 0
        && bytes.len() > name_length + 4
        && tail(bytes, 3 + varint + name_length).first().is_some_and(|b| matches!(b, 0x12 | 0x1a | 0x22 | 0x28 | 0x78))
}

/// JPEG 2000 with a GeoJP2 box or GML in its XML.
fn is_jp2_geo(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\0\0\0\x0cjP  \r\n\x87\n")
        && (memchr::memmem::find(bytes, b"\xB1\x4B\xF8\xBD\x08\x3D\x4B\x43").is_some()
            || memchr::memmem::find(bytes, b"gml").is_some())
}

/// "GP", version 0, flags, the number of a grid, perhaps an envelope, and a geometry to the last byte.
fn is_geopackage_blob(bytes: &[u8]) -> bool {
    if !bytes.starts_with(b"GP\0") {
        return false;
    }
    let Some(flags) = bytes.get(3) else { return false };
    let envelope = match flags >> 1 & 7 {
        0 => 0,
        1 => 32,
        2 | 3 => 48,
        4 => 64,
        _ => return false,
    };
    flags & 0xC0 == 0 && is_plain_wkb(tail(bytes, 8 + envelope))
}

/// The number of a grid before the geometry, as MySQL keeps it. Nobody has numbered a million grids.
fn is_numbered_wkb(bytes: &[u8]) -> bool {
    const GRIDS_MAX: u32 = 1_000_000;
    u32_le(bytes, 0).is_some_and(|grid| grid < GRIDS_MAX) && is_plain_wkb(tail(bytes, 4))
}

/// Bytes that are one whole geometry, as databases keep it.
pub(crate) fn is_wkb(bytes: &[u8]) -> bool {
    is_plain_wkb(bytes) || is_numbered_wkb(bytes) || is_geopackage_blob(bytes)
}

/// One whole WKB geometry: the counts must consume everything, and the numbers must be finite.
fn is_plain_wkb(bytes: &[u8]) -> bool {
    let mut wkb = Wkb { bytes, at: 0, finite: 0, plausible: 0 };
    bytes.len() >= 21
        && wkb.geometry(0).is_some()
        && wkb.at == bytes.len()
        && wkb.finite > 0
        && wkb.plausible == wkb.finite
}

struct Wkb<'a> {
    bytes: &'a [u8],
    at: usize,
    finite: u32,
    plausible: u32,
}

/// Collections of collections are not drawn by anybody; eight levels are plenty.
const WKB_DEPTH_MAX: u8 = 8;

impl Wkb<'_> {
    fn geometry(&mut self, depth: u8) -> Option<()> {
        if depth > WKB_DEPTH_MAX {
            return None;
        }
        let little = match self.bytes.get(self.at)? {
            0 => false,
            1 => true,
            _ => return None,
        };
        self.at += 1;
        let code = self.word(little)?;
        if code & 0x2000_0000 != 0 {
            self.word(little)?; // EWKB: the SRID
        }
        let flags = u32::from(code & 0x8000_0000 != 0) + u32::from(code & 0x4000_0000 != 0);
        let plain = code & 0x0fff_ffff;
        let iso = match plain / 1000 {
            0 => 0,
            1 | 2 => 1,
            3 => 2,
            _ => return None,
        };
        let dimensions = 2 + flags.max(iso);
        match plain % 1000 {
            1 => self.point(little, dimensions),
            2 | 8 => self.points(little, dimensions),
            3 | 17 => {
                for _ in 0..self.count(little)? {
                    self.points(little, dimensions)?;
                }
                Some(())
            }
            4..=7 | 9..=12 | 15 | 16 => {
                for _ in 0..self.count(little)? {
                    self.geometry(depth + 1)?;
                }
                Some(())
            }
            _ => None,
        }
    }

    fn points(&mut self, little: bool, dimensions: u32) -> Option<()> {
        for _ in 0..self.count(little)? {
            self.point(little, dimensions)?;
        }
        Some(())
    }

    fn point(&mut self, little: bool, dimensions: u32) -> Option<()> {
        for _ in 0..dimensions {
            let raw = slice(self.bytes, self.at, 8)?;
            let raw: [u8; 8] = raw.try_into().ok()?;
            let value = if little { f64::from_le_bytes(raw) } else { f64::from_be_bytes(raw) };
            self.at += 8;
            self.finite += 1;
            // Coordinates on earth in any unit: a random double is almost never between a nanometre and a light-second.
            let size = value.abs();
            self.plausible += u32::from(size == 0.0 || (1e-9..1e9).contains(&size));
        }
        Some(())
    }

    fn word(&mut self, little: bool) -> Option<u32> {
        let value = if little { u32_le(self.bytes, self.at) } else { u32_be(self.bytes, self.at) };
        self.at += 4;
        value
    }

    /// A count that could not fit into what is left is refused before it is looped over.
    fn count(&mut self, little: bool) -> Option<u32> {
        let count = self.word(little)?;
        (usize::try_from(count).ok()? <= self.bytes.len() / 4).then_some(count)
    }
}

/// A point cloud or array of raw doubles with nothing else: at least eight, all in one axis window, pairwise coherent.
pub(crate) fn is_double_array(bytes: &[u8]) -> bool {
    if bytes.len() < 64 || !bytes.len().is_multiple_of(8) {
        return false;
    }
    let doubles = || head(bytes, 4096).as_chunks::<8>().0.iter();
    are_axes(doubles().map(|raw| f64::from_le_bytes(*raw))) || are_axes(doubles().map(|raw| f64::from_be_bytes(*raw)))
}

fn are_axes(values: impl Iterator<Item = f64>) -> bool {
    let (mut all, mut inside) = (0, 0);
    for value in values {
        let size = value.abs();
        let axis = (73.0..135.1).contains(&size)
            || (3.8..54.0).contains(&size)
            || (1.9e6..6.0e6).contains(&size)
            || (1.3e7..4.6e7).contains(&size)
            || (3.4e5..6.6e5).contains(&size);
        all += 1;
        inside += u32::from(axis);
    }
    all >= 8 && inside * 10 >= all * 6
}

/// A text that opens a survey or CAD format: the first lines decide.
pub(crate) fn text_format(text: &str) -> Option<&'static str> {
    let start = text.trim_start_matches('\u{feff}');
    let opening: String = start.chars().take(2048).collect();
    let mut lines = opening.lines().map(str::trim).filter(|l| !l.is_empty());
    let (first, second) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""));
    if (first == "0" && second == "SECTION") || (first == "999" && opening.contains("SECTION")) {
        return Some("dxf");
    }
    let lower = first.to_ascii_lowercase();
    if lower.starts_with("ncols") && second.to_ascii_lowercase().starts_with("nrows") {
        return Some("ascii-grid");
    }
    if first == "HeadBegin" || opening.contains("DataMark") && opening.contains("VCT") {
        return Some("vct");
    }
    if lower.starts_with("version")
        && (opening.contains("Columns") && opening.contains("Delimiter") || opening.contains("CoordSys"))
    {
        return Some("mapinfo-mif");
    }
    if lower.starts_with("!table") {
        return Some("mapinfo-tab");
    }
    if start.contains("[地块坐标]") || start.contains("[界址点坐标]") {
        return Some("land-survey-text");
    }
    if is_gsi(first) {
        return Some("leica-gsi");
    }
    if opening.contains("RINEX VERSION / TYPE") || opening.contains("APPROX POSITION XYZ") {
        return Some("rinex");
    }
    if is_world_file(start) {
        return Some("world-file");
    }
    None
}

/// `*110001+0000000000000001 81..10+0000029546865276`: words of an instrument, the point's number first.
fn is_gsi(line: &str) -> bool {
    let is_word = |word: &str| {
        let Some((code, value)) = word.split_once(['+', '-']) else { return false };
        code.len() == 6 && code.bytes().all(|b| b.is_ascii_digit() || b == b'.') && value.len() >= 8
    };
    let mut words = line.trim_start_matches('*').split_whitespace();
    words.next().is_some_and(|word| word.starts_with("11") && is_word(word)) && words.next().is_some_and(is_word)
}

/// A survey or CAD format inside another text: a paragraph of a letter, a page, a value of a message.
pub(crate) fn mentioned(text: &str) -> Option<&'static str> {
    /// Made once: a workbook asks for each of its strings.
    static WORDS: LazyLock<[Finder<'static>; 5]> =
        LazyLock::new(|| ["SECTION", "ncols", "NCOLS", "[地块坐标]", "[界址点坐标]"].map(Finder::new));
    let bytes = text.as_bytes();
    let [section, ncols, ncols_upper, parcels, corners] = &*WORDS;
    for at in section.find_iter(bytes) {
        let before = text.get(..at).unwrap_or("").trim_end_matches([' ', '\t']);
        let group = before.trim_end_matches(['\r', '\n']).trim_end_matches([' ', '\t']);
        let code = group.strip_suffix('0').map(|rest| rest.trim_end_matches([' ', '\t']));
        if before.ends_with('\n') && code.is_some_and(|rest| rest.is_empty() || rest.ends_with(['\n', '"', '>'])) {
            return Some("dxf");
        }
    }
    if let Some(at) = ncols.find(bytes).or_else(|| ncols_upper.find(bytes)) {
        let behind = text.get(at..).unwrap_or("").lines().skip(1).find(|line| !line.trim().is_empty()).unwrap_or("");
        if behind.trim_start().to_ascii_lowercase().starts_with("nrows") {
            return Some("ascii-grid");
        }
    }
    if parcels.find(bytes).is_some() || corners.find(bytes).is_some() {
        return Some("land-survey-text");
    }
    is_world_file(text.trim()).then_some("world-file")
}

/// Six lines, each one number: the affine transform of an image; two of the first four may be zero.
fn is_world_file(text: &str) -> bool {
    if text.len() > 400 {
        return false;
    }
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let values: Vec<f64> = lines.iter().filter_map(|l| l.parse().ok()).collect();
    let [a, d, b, e, _, _] = values.as_slice() else { return false };
    let small = |v: &f64| v.abs() < 1e5;
    values.len() == lines.len()
        && small(a) && small(d) && small(b) && small(e)
        && *a != 0.0 && *e != 0.0
        // pixel height runs down: of the opposite sign to pixel width, and of its size
        && a * e < 0.0
        && (0.02..50.0).contains(&(a / e).abs())
}

/// A BIFF, DBF or raw cell printed as a person would type it.
pub(crate) fn print_number(value: f64, out: &mut String) {
    use std::fmt::Write;
    // Writing into a String does not fail.
    let _ = if value.abs() < 1e15 { write!(out, "{value}") } else { write!(out, "{value:e}") };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(x: f64, y: f64) -> Vec<u8> {
        let mut bytes = vec![1, 1, 0, 0, 0];
        bytes.extend_from_slice(&x.to_le_bytes());
        bytes.extend_from_slice(&y.to_le_bytes());
        bytes
    }

    #[test]
    fn words_of_an_instrument_are_a_format() {
        let text = "*110001+0000000000000001 81..10+0000029546865276 82..10+0000004851490419\n";
        assert_eq!(text_format(text), Some("leica-gsi"));
        assert_eq!(text_format("110001 81..10 1\n"), None);
        assert_eq!(text_format("  -2267749.0000  5009154.0000  3221290.0000   APPROX POSITION XYZ\n"), Some("rinex"));
    }

    #[test]
    fn wkb_must_parse_to_its_last_byte() {
        let mut bytes = point(113.5, 23.25);
        assert!(is_wkb(&bytes));
        bytes.push(0);
        assert!(!is_wkb(&bytes));
    }

    #[test]
    fn a_geometry_is_known_behind_the_header_that_a_database_puts_before_it() {
        let point = point(113.5, 23.25);
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let numbered = |grid: u32| [&grid.to_le_bytes()[..], &point].concat();
        let blob = |flags: u8, envelope: usize| {
            [&[b'G', b'P', 0, flags][..], &4490_u32.to_le_bytes(), &vec![0; envelope], &point].concat()
        };
        for bytes in [numbered(0), numbered(4490), blob(1, 0), blob(3, 32), blob(5, 48), blob(9, 64)] {
            assert!(is_wkb(&bytes));
            for text in [
                format!("INSERT INTO zd VALUES (1,'{}');", hex(&bytes)),
                format!("INSERT INTO zd VALUES (1,0x{});", hex(&bytes).to_uppercase()),
            ] {
                let found = crate::detect("a.sql", text.as_bytes());
                assert!(!found.findings.is_empty(), "{text}");
            }
        }
        for bytes in [numbered(u32::MAX), blob(1, 32), blob(11, 0), blob(0xC1, 0), [&numbered(0)[..], &[0]].concat()] {
            assert!(!is_wkb(&bytes));
        }
    }

    #[test]
    fn random_bytes_behind_a_point_header_are_no_point() {
        let mut bytes = vec![1, 1, 0, 0, 0];
        bytes.extend_from_slice(&[
            0x6f, 0xd2, 0x0f, 0x76, 0xb1, 0x18, 0xc0, 0x1a, 0xf2, 0xec, 0xa5, 0x40, 0x7e, 0xf3, 0x8f, 0x3a,
        ]);
        assert!(!is_wkb(&bytes));
    }

    #[test]
    fn six_lines_of_an_affine_transform_are_a_world_file() {
        assert_eq!(text_format("0.5\n0\n0\n-0.5\n500000.1\n3000000.2\n"), Some("world-file"));
        assert_eq!(text_format("1\n2\n3\n4\n5\n6\n"), None);
    }
}
