//! Stories of bytes that some program shows or unpacks and that belong to nothing a reader walks: gaps of an archive,
//! tails of pictures and fonts, kinds whose body nobody reads, and limits that somebody fills on purpose.

use std::io::Write;

use guard::{DetectVerdict, detect};

use DetectVerdict::{Clean, Coordinates, Uninspectable};

const TABLE: &str = "J1,4851490.419,29546865.276\nJ2,4851357.613,29546783.929\nJ3,4851300.101,29546701.122\n";
/// A city's own grid: nothing without the names of its columns.
const LOCAL: [(&str, &str); 4] =
    [("34512.417", "51203.882"), ("34498.120", "51233.004"), ("34477.871", "51228.690"), ("34460.102", "51201.333")];

fn verdict(name: &str, bytes: &[u8]) -> DetectVerdict {
    detect(name, bytes).verdict
}

fn rules(name: &str, bytes: &[u8]) -> Vec<&'static str> {
    detect(name, bytes).findings.iter().map(|f| f.rule).collect()
}

fn le16(value: usize) -> [u8; 2] {
    u16::try_from(value).expect("small").to_le_bytes()
}

fn le32(value: usize) -> [u8; 4] {
    u32::try_from(value).expect("small").to_le_bytes()
}

fn be32(value: usize) -> [u8; 4] {
    u32::try_from(value).expect("small").to_be_bytes()
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).expect("into memory");
    encoder.finish().expect("into memory")
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_usize, |n, b| n << 8 | usize::from(*b)) << (8 * (3 - group.len()));
        for n in 0..4 {
            let letter = char::from(LETTERS[bits >> (18 - 6 * n) & 63]);
            out.push(if n > group.len() { '=' } else { letter });
        }
    }
    out
}

/// One member as it lies in an archive, with everything that may be said beside it.
#[derive(Clone, Default)]
struct Member {
    name: String,
    raw: Vec<u8>,
    size: usize,
    crc: u32,
    method: usize,
    extra: Vec<u8>,
    comment: Vec<u8>,
    /// Behind the data, with the flag that announces it.
    descriptor: Vec<u8>,
}

fn member(name: &str, content: &[u8]) -> Member {
    let (raw, size, crc) = (deflated(content), content.len(), crc(content));
    Member { name: name.to_owned(), raw, size, crc, method: 8, ..Member::default() }
}

/// An archive; `gap` lies between the directory and the end.
fn archive(members: &[Member], gap: &[u8], comment: &[u8]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for m in members {
        let streamed = !m.descriptor.is_empty();
        let offset = out.len();
        let known: [&[u8]; 3] = [&m.crc.to_le_bytes(), &le32(m.raw.len()), &le32(m.size)];
        let front: [&[u8]; 4] = [&[20, 0], &le16(if streamed { 8 } else { 0 }), &le16(m.method), &[0, 0, 0x21, 0]];
        let told = if streamed { vec![0; 12] } else { known.concat() };
        let (name, extra) = (le16(m.name.len()), le16(m.extra.len()));
        for part in [b"PK\x03\x04", &front.concat()[..], &told, &name, &extra, m.name.as_bytes(), &m.extra, &m.raw] {
            out.extend_from_slice(part);
        }
        out.extend_from_slice(&m.descriptor);
        let parts: [&[u8]; 12] = [
            b"PK\x01\x02\x14\0",
            &front.concat(),
            &known.concat(),
            &name,
            &extra,
            &le16(m.comment.len()),
            &[0; 8],
            &le32(offset),
            m.name.as_bytes(),
            &m.extra,
            &m.comment,
            &[],
        ];
        directory.extend_from_slice(&parts.concat());
    }
    let (start, count) = (le32(out.len()), le16(members.len()));
    out.extend_from_slice(&directory);
    out.extend_from_slice(gap);
    let end: [&[u8]; 8] =
        [b"PK\x05\x06\0\0\0\0", &count, &count, &le32(directory.len()), &start, &le16(comment.len()), comment, &[]];
    out.extend_from_slice(&end.concat());
    out
}

fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let members: Vec<Member> = members.iter().map(|(name, content)| member(name, content)).collect();
    archive(&members, b"", b"")
}

fn points_in_a_zip() -> Vec<u8> {
    zip(&[("p.csv", TABLE.as_bytes())])
}

fn ofd(name: &str, content: &[u8]) -> Vec<u8> {
    let root = b"<?xml version=\"1.0\"?><ofd:OFD xmlns:ofd=\"http://www.ofdspec.org/2016\"/>";
    zip(&[("OFD.xml", root), (name, content)])
}

#[test]
fn an_ordinary_archive_is_clean() {
    let note = member("note.txt", b"hello");
    let timed = Member { extra: b"UT\x05\0\x03\x01\x02\x03\x04".to_vec(), ..note.clone() };
    let descriptor = [&b"PK\x07\x08"[..], &note.crc.to_le_bytes(), &le32(note.raw.len()), &le32(note.size)].concat();
    let streamed = Member { descriptor: descriptor.clone(), ..note.clone() };
    let unsigned = Member { descriptor: descriptor[4..].to_vec(), ..note.clone() };
    let folder = Member { name: "d/".to_owned(), ..Member::default() };
    for member in [note, timed, streamed, unsigned, folder] {
        assert_eq!(verdict("a.zip", &archive(&[member], b"", b"made by hand")), Clean);
    }
}

#[test]
fn bytes_of_an_archive_that_belong_to_no_member_are_not_let_by() {
    let note = member("note.txt", b"hello");
    let glued = |tail: &[u8]| Member { raw: [&note.raw[..], tail].concat(), ..note.clone() };
    let folder = |raw: &[u8]| Member { name: "d/".to_owned(), raw: raw.to_vec(), ..Member::default() };
    let inner = points_in_a_zip();
    for (place, bytes) in [
        ("a text between directory and end", archive(std::slice::from_ref(&note), TABLE.as_bytes(), b"")),
        ("an archive between directory and end", archive(std::slice::from_ref(&note), &inner, b"")),
        ("a text behind the packed stream", archive(&[glued(TABLE.as_bytes())], b"", b"")),
        ("an archive behind the packed stream", archive(&[glued(&inner)], b"", b"")),
        ("the content of a folder", archive(&[folder(&inner)], b"", b"")),
        ("the stored content of a folder", archive(&[folder(TABLE.as_bytes())], b"", b"")),
        (
            "a descriptor that describes another",
            archive(&[Member { descriptor: b"4851490.4192".to_vec(), ..note.clone() }], b"", b""),
        ),
    ] {
        assert_ne!(verdict("a.zip", &bytes), Clean, "{place}");
    }
}

#[test]
fn what_an_archive_says_beside_its_members_is_read() {
    let note = member("note.txt", b"hello");
    let field = |id: usize, body: &[u8]| [&le16(id)[..], &le16(body.len()), body].concat();
    let with = |extra: Vec<u8>| archive(&[Member { extra, ..note.clone() }], b"", b"");
    for (place, bytes) in [
        ("the archive's comment", archive(std::slice::from_ref(&note), b"", TABLE.as_bytes())),
        ("a member's comment", archive(&[Member { comment: TABLE.as_bytes().to_vec(), ..note.clone() }], b"", b"")),
        ("a field nobody knows", with(field(0x707E, TABLE.as_bytes()))),
    ] {
        assert_eq!(verdict("a.zip", &bytes), Coordinates, "{place}");
    }
    assert_ne!(verdict("a.zip", &with(field(0x707E, &points_in_a_zip()))), Clean, "an archive in a field");
}

/// A page of words, each at its place in millimetres.
fn page(words: &[(f64, f64, &str)]) -> Vec<u8> {
    let objects: String = words
        .iter()
        .map(|(x, y, word)| {
            format!(
                "<ofd:TextObject ID=\"9\" Boundary=\"{x} {y} 20 5\" Font=\"1\" Size=\"4\"><ofd:TextCode X=\"0\" Y=\"3.4\">{word}</ofd:TextCode></ofd:TextObject>"
            )
        })
        .collect();
    content(&objects)
}

fn content(objects: &str) -> Vec<u8> {
    let page = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ofd:Page xmlns:ofd=\"http://www.ofdspec.org/2016\"><ofd:Content><ofd:Layer>{objects}</ofd:Layer></ofd:Content></ofd:Page>"
    );
    ofd("Doc_0/Pages/Page_0/Content.xml", page.as_bytes())
}

#[test]
fn an_ordinary_page_of_an_ofd_is_clean() {
    let bytes = page(&[(20.0, 20.0, "面积"), (60.0, 20.0, "120.35"), (20.0, 30.0, "价格"), (60.0, 30.0, "3580000.00")]);
    assert_eq!(verdict("a.ofd", &bytes), Clean);
}

#[test]
fn digits_that_an_ofd_places_one_by_one_are_read_together() {
    let letters: Vec<String> = TABLE.chars().map(String::from).collect();
    let (mut x, mut y, mut words) = (20.0, 20.0, Vec::new());
    for letter in &letters {
        match letter.as_str() {
            "\n" => (x, y) = (20.0, y + 6.0),
            "," => x += 12.0,
            letter => {
                words.push((x, y, letter));
                x += 2.1;
            }
        }
    }
    assert_eq!(verdict("a.ofd", &page(&words)), Coordinates, "in the order of reading");
    words.sort_by(|a, b| a.2.cmp(b.2));
    assert_eq!(verdict("a.ofd", &page(&words)), Coordinates, "in any order");
    let same: String = TABLE
        .replace([',', '\n'], " ")
        .chars()
        .map(|c| format!("<ofd:TextObject ID=\"1\" Boundary=\"1 2 3 4\"><ofd:TextCode X=\"0\" Y=\"3.5\">{c}</ofd:TextCode></ofd:TextObject>"))
        .collect();
    assert_eq!(verdict("a.ofd", &content(&same)), Coordinates, "all at one place");
}

#[test]
fn the_cells_of_a_table_in_an_ofd_stand_under_their_header() {
    let mut rows = vec![("点号", "纵坐标", "横坐标")];
    rows.extend(LOCAL.iter().map(|(x, y)| ("J1", *x, *y)));
    let place = |n: usize| 40.0 + 7.0 * f64::from(u8::try_from(n).expect("few"));
    let cells: Vec<(f64, f64, &str)> = rows
        .iter()
        .enumerate()
        .flat_map(|(n, (a, b, c))| [(20.0, place(n), *a), (50.0, place(n), *b), (90.0, place(n), *c)])
        .collect();
    assert_eq!(verdict("a.ofd", &page(&cells)), Coordinates, "a cell an object");
    let mut columns = cells.clone();
    columns.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert_eq!(verdict("a.ofd", &page(&columns)), Coordinates, "column by column");
    let turned: String = cells
        .iter()
        .map(|(x, y, word)| format!("<ofd:TextObject ID=\"9\" Boundary=\"{} {x} 5 20\" CTM=\"0 1 -1 0 0 0\" Size=\"4\"><ofd:TextCode X=\"0\" Y=\"3.4\">{word}</ofd:TextCode></ofd:TextObject>", 200.0 - y))
        .collect();
    assert_eq!(verdict("a.ofd", &content(&turned)), Coordinates, "on a page that lies on its side");
    let lines: String = rows
        .iter()
        .enumerate()
        .map(|(n, (a, b, c))| {
            let advance = |word: &str, then: &str| {
                let one = if word.is_ascii() { "2" } else { "4" };
                format!("{} {then} ", vec![one; word.chars().count() - 1].join(" "))
            };
            let steps = advance(a, "30") + &advance(b, "40") + &advance(c, "");
            format!("<ofd:TextObject ID=\"9\" Boundary=\"20 {} 99 5\" Size=\"4\"><ofd:TextCode X=\"0\" Y=\"3.4\" DeltaX=\"{}\">{a}{b}{c}</ofd:TextCode></ofd:TextObject>", place(n), steps.trim())
        })
        .collect();
    assert_eq!(verdict("a.ofd", &content(&lines)), Coordinates, "a line an object, its gaps in the steps");
}

const GIF: &[u8] = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";

fn tiff() -> Vec<u8> {
    [&b"II*\0\x08\0\0\0\x01\0"[..], &[0, 1, 3, 0, 1, 0, 0, 0, 1, 0, 0, 0], &[0; 4]].concat()
}

fn bmp() -> Vec<u8> {
    let header = [&le32(40)[..], &le32(1), &le32(1), &[1, 0, 24, 0], &[0; 24]].concat();
    [&b"BM"[..], &le32(58), &[0; 4], &le32(54), &header, &[9, 9, 9, 0]].concat()
}

fn jpeg(segments: &[(u8, &[u8])]) -> Vec<u8> {
    let mut out = b"\xFF\xD8".to_vec();
    for (marker, body) in segments {
        let size = u16::try_from(body.len() + 2).expect("small").to_be_bytes();
        out.extend_from_slice(&[&[0xFF, *marker], &size[..], body].concat());
    }
    [&out[..], b"\xFF\xDA\0\x02\x12\x34\xFF\xD9"].concat()
}

fn font(tables: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let mut out = [&b"\0\x01\0\0\0"[..], &[u8::try_from(tables.len()).expect("few")], &[0, 16, 0, 0, 0, 0]].concat();
    let mut offset = 12 + 16 * tables.len();
    for (tag, body) in tables {
        out.extend_from_slice(&[&tag[..], &[0; 4], &be32(offset), &be32(body.len())].concat());
        offset += body.len().next_multiple_of(4);
    }
    for (_, body) in tables {
        out.extend_from_slice(body);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    out
}

fn plain_font() -> Vec<u8> {
    font(&[(b"head", &[1; 54]), (b"maxp", &[0, 1, 0, 0, 0, 9]), (b"glyf", &[0x81; 90])])
}

fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    [&be32(body.len() + 8)[..], kind, body].concat()
}

fn film(frames: &[u8]) -> Vec<u8> {
    [boxed(b"ftyp", b"isom\0\0\0\0"), boxed(b"moov", &boxed(b"mvhd", &[0; 100])), boxed(b"mdat", frames)].concat()
}

fn webp(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let mut body = b"WEBP".to_vec();
    for (kind, chunk) in chunks {
        body.extend_from_slice(&[&kind[..], &le32(chunk.len()), chunk].concat());
        body.resize(body.len().next_multiple_of(2), 0);
    }
    [&b"RIFF"[..], &le32(body.len()), &body].concat()
}

fn mp3() -> Vec<u8> {
    [&b"ID3\x03\0\0\0\0\0\x0A"[..], &[0; 10], b"\xFF\xFB\x90\x00", &[0; 413]].concat()
}

#[test]
fn ordinary_pictures_fonts_and_sounds_are_clean() {
    for (name, bytes) in [
        ("a.gif", GIF.to_vec()),
        ("a.tif", tiff()),
        ("a.bmp", bmp()),
        ("a.jpg", jpeg(&[(0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0"), (0xDB, &[0x31; 65])])),
        ("a.ttf", plain_font()),
        ("a.mp4", film(&[0x81; 500])),
        ("a.webp", webp(&[(b"VP8L", &[0x2F; 30])])),
        ("a.mp3", mp3()),
    ] {
        assert_eq!(verdict(name, &bytes), Clean, "{name}: {:?}", rules(name, &bytes));
        let member = ofd("Doc_0/Res/x.bin", &bytes);
        assert_eq!(verdict("a.ofd", &member), Clean, "{name} in a document");
    }
}

#[test]
fn an_archive_behind_a_picture_a_font_or_a_sound_is_seen() {
    let inner = points_in_a_zip();
    for (name, front) in [
        ("a.gif", GIF.to_vec()),
        ("a.tif", tiff()),
        ("a.bmp", bmp()),
        ("a.jpg", jpeg(&[])),
        ("a.ttf", plain_font()),
        ("no font", b"\0\x01\0\0\0\x01".to_vec()),
        ("a.mp4", film(&[0x81; 99])),
        ("no film", boxed(b"mdat", &inner)),
        ("a.mp4", film(&inner)),
        ("a.webp", webp(&[(b"VP8 ", &inner)])),
        ("a.mp3", mp3()),
        ("no sound", b"ID3\x03".to_vec()),
        ("glyphs", font(&[(b"head", &[1; 54]), (b"glyf", &inner)])),
    ] {
        let bytes = [&front[..], &inner].concat();
        assert_ne!(verdict("x.bin", &bytes), Clean, "{name}");
        let bytes = if front.windows(4).any(|w| w == b"p.cs") { front } else { bytes };
        assert_ne!(verdict("a.ofd", &ofd("Doc_0/Res/x", &bytes)), Clean, "{name} in a document");
    }
}

#[test]
fn a_text_inside_a_picture_or_behind_it_is_read() {
    let text = TABLE.as_bytes();
    let local =
        format!("点号,纵坐标,横坐标\n{}", LOCAL.iter().map(|(x, y)| format!("J1,{x},{y}\n")).collect::<String>());
    for (name, bytes) in [
        ("behind a gif", [GIF, text].concat()),
        (
            "a comment of a gif",
            [&GIF[..19], b"!\xFE", &[u8::try_from(text.len()).expect("short")], text, &[0], &GIF[19..]].concat(),
        ),
        ("behind a tiff", [&tiff(), text].concat()),
        ("behind a bmp", [&bmp(), text].concat()),
        ("a bitmap that says nothing of its size", [&b"BM\0\0\0\0\0\0\0\0"[..], text].concat()),
        ("the front of a jpeg", jpeg(&[(0xE0, &[b"JFIF\0", text].concat())])),
        ("the colours of a jpeg", jpeg(&[(0xE2, &[b"ICC_PROFILE\0", text].concat())])),
        ("the word of a program in a jpeg", jpeg(&[(0xEE, &[b"Adobe", text].concat())])),
        ("the tables of a jpeg", jpeg(&[(0xDB, text)])),
        ("the colours of a webp", webp(&[(b"VP8L", &[0x2F; 30]), (b"ICCP", text)])),
        ("a font in name only", [b"OTTO\n", local.as_bytes()].concat()),
        ("another font in name only", [b"wOFF", local.as_bytes()].concat()),
        ("a sound in name only", [b"OggS", local.as_bytes()].concat()),
        ("frames that are a text", film(local.as_bytes())),
        ("a film without frames", boxed(b"mdat", text)),
        ("the free room of a film", [film(&[0x81; 99]), boxed(b"free", text)].concat()),
        ("the names of a font", font(&[(b"head", &[1; 54]), (b"name", text)])),
        ("between the tables of a font", {
            let mut bytes = plain_font();
            bytes.extend_from_slice(text);
            bytes
        }),
    ] {
        assert_ne!(verdict("x.bin", &bytes), Clean, "{name}");
        assert_ne!(verdict("a.ofd", &ofd("Doc_0/Res/x", &bytes)), Clean, "{name} in a document");
    }
}

#[test]
fn a_veiled_font_stands_in_an_office_document_and_nowhere_else() {
    let veiled: Vec<u8> = (0..200_u8).map(|n| n.wrapping_mul(151) ^ 0x5A).collect();
    assert_eq!(verdict("a.ofd", &ofd("Doc_0/f.odttf", &veiled)), Uninspectable);
    let types = b"<?xml version=\"1.0\"?><Types/>";
    let document = zip(&[("[Content_Types].xml", types), ("word/fonts/font1.odttf", &veiled)]);
    assert_eq!(verdict("a.docx", &document), Clean);
}

/// What phones of one maker write behind a photograph: blocks with names, then their directory.
fn photo_with_blocks(blocks: &[(&str, &[u8])], shift: usize) -> Vec<u8> {
    let (mut out, mut places) = (Vec::new(), Vec::new());
    for (name, data) in blocks {
        places.push((out.len(), 8 + name.len() + data.len()));
        out.extend_from_slice(&[&[0, 0, 1, 0x0A][..], &le32(name.len()), name.as_bytes(), data].concat());
    }
    let all = out.len();
    let mut directory = [&b"SEFH"[..], &le32(106), &le32(blocks.len())].concat();
    for (at, size) in places {
        directory.extend_from_slice(&[&[0, 0, 1, 0x0A][..], &le32(all - at + shift), &le32(size)].concat());
    }
    [&jpeg(&[])[..], &out, &directory, &le32(directory.len()), b"SEFT"].concat()
}

#[test]
fn a_photograph_keeps_what_its_phone_writes_behind_it() {
    let ordinary = photo_with_blocks(&[("Image_UTC_Data", b"1700000000000"), ("MCC_Data", b"460")], 0);
    assert_eq!(verdict("a.jpg", &ordinary), Clean, "{:?}", rules("a.jpg", &ordinary));
    for (place, bytes, expected) in [
        ("points in a block", photo_with_blocks(&[("Note", TABLE.as_bytes())], 0), Coordinates),
        ("an archive in a block", photo_with_blocks(&[("Note", &points_in_a_zip())], 0), Coordinates),
        ("a directory that points elsewhere", photo_with_blocks(&[("Note", b"1700000000000")], 4), Uninspectable),
        (
            "bytes that no block covers",
            [&jpeg(&[])[..], b"\x01\x02\x03\x04\x05\x06\x07\x08", &ordinary[jpeg(&[]).len()..]].concat(),
            Uninspectable,
        ),
    ] {
        assert_eq!(verdict("a.jpg", &bytes), expected, "{place}");
    }
}

#[test]
fn a_base64_nine_deep_is_not_clean() {
    let mut nested = TABLE.to_owned();
    for depth in 1..=12 {
        nested = base64(nested.as_bytes());
        assert_ne!(verdict("a.txt", nested.as_bytes()), Clean, "{depth} deep");
    }
}

#[test]
fn escapes_of_escapes_are_undone_or_not_clean() {
    let mut escaped =
        format!("{{\"d\":\"{}\"}}", TABLE.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect::<String>());
    for depth in 1..=10 {
        escaped = serde_json::json!({ "m": escaped }).to_string();
        assert_ne!(verdict("a.json", escaped.as_bytes()), Clean, "{depth} deep");
    }
}

#[test]
fn a_long_table_of_numbers_does_not_switch_off_the_decoding() {
    let rows: String = (0..20_001).map(|n| format!("4401060060{n:05}GB00001F0000{:04},90.1\n", n % 10_000)).collect();
    assert_eq!(verdict("a.csv", format!("不动产单元号,面积\n{rows}").as_bytes()), Clean);
    let hidden = base64(TABLE.as_bytes());
    assert_eq!(verdict("a.csv", format!("不动产单元号,面积\n{rows}\n附件,{hidden}\n").as_bytes()), Coordinates);
    let noise = |n: u32| (0..8).map(|k| format!("{:08x}", (n * 8 + k).wrapping_mul(2_654_435_761))).collect::<String>();
    let digests: String = (0..20_001).map(|n| format!("{{\"s\":\"{}\"}},\n", noise(n))).collect();
    assert_ne!(verdict("a.json", format!("{digests}{{\"n\":\"{hidden}\"}}").as_bytes()), Clean);
}

fn rtf(body: &str) -> Vec<u8> {
    format!("{{\\rtf1\\ansi\\ansicpg936\\deff0 {body}}}").into_bytes()
}

fn in_gb18030(text: &str) -> String {
    encoding_rs::GB18030.encode(text).0.iter().map(|b| format!("\\'{b:02x}")).collect()
}

#[test]
fn a_rich_text_is_read_as_its_reader_shows_it() {
    assert_eq!(verdict("a.rtf", &rtf(&format!("{}\\par 120.35", in_gb18030("面积")))), Clean);
    let lines = |spell: &dyn Fn(&str) -> String| TABLE.lines().map(|l| spell(l) + "\\par\r\n").collect::<String>();
    let by_number = |l: &str| l.chars().map(|c| format!("\\u{} ?", u32::from(c))).collect::<String>();
    let local: String = LOCAL.iter().map(|(x, y)| format!("J1\\cell {x}\\cell {y}\\cell\\row ")).collect();
    let header = ["点号", "纵坐标", "横坐标"].map(|word| in_gb18030(word) + "\\cell ").concat();
    let wide = ["点号", "纵坐标", "横坐标"]
        .map(|word| {
            word.encode_utf16().map(|unit| format!("\\u{}?", unit.cast_signed())).collect::<String>() + "\\cell "
        })
        .concat();
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join("\r\n");
    let object = |bytes: &[u8]| {
        let front = [&b"\x01\x05\0\0\x02\0\0\0\x08\0\0\0Package\0"[..], &[0; 8], &le32(bytes.len()), bytes].concat();
        rtf(&format!("{{\\object\\objemb{{\\*\\objclass Package}}{{\\*\\objdata {}}}}}", hex(&front)))
    };
    for (place, bytes) in [
        ("as it stands", rtf(&lines(&|l| l.to_owned()))),
        ("digits as bytes in hex", rtf(&lines(&in_gb18030))),
        ("digits as numbers of characters", rtf(&lines(&by_number))),
        ("a header in hex", rtf(&format!("{header}\\row {local}"))),
        ("a header as numbers", rtf(&format!("\\uc1 {wide}\\row {local}"))),
        ("a text that was dropped in", object(TABLE.as_bytes())),
        ("an archive that was dropped in", object(&points_in_a_zip())),
        ("bytes as they are", [b"{\\rtf1 {\\object{\\*\\objdata \\bin9999 ", &points_in_a_zip()[..], b"}}}"].concat()),
    ] {
        assert_eq!(verdict("a.rtf", &bytes), Coordinates, "{place}");
    }
}

fn tar_header(name: &str, prefix: &str, kind: u8, size: usize, link: &str) -> Vec<u8> {
    let mut block = vec![0; 512];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, &[kind]);
    put(157, link.as_bytes());
    put(257, b"ustar\x0000");
    put(345, prefix.as_bytes());
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

fn tar(header: Vec<u8>, content: &[u8]) -> Vec<u8> {
    let mut out = [header, content.to_vec()].concat();
    out.resize(out.len().next_multiple_of(512) + 1024, 0);
    out
}

#[test]
fn every_field_of_a_tar_is_looked_at() {
    assert_eq!(verdict("a.tar", &tar(tar_header("a.txt", "case", b'0', 2, ""), b"hi")), Clean);
    assert_eq!(verdict("a.tar", &tar(tar_header("d/", "", b'5', 0, ""), b"")), Clean);
    let text = TABLE.as_bytes();
    let place = "4851490.419_29546865.276";
    for (story, bytes) in [
        ("a file", tar(tar_header("a.txt", "", b'0', text.len(), ""), text)),
        ("the content of a folder", tar(tar_header("d/", "", b'5', text.len(), ""), text)),
        ("the content of a link", tar(tar_header("d", "", b'1', text.len(), "x"), text)),
        ("where a link leads", tar(tar_header("d", "", b'2', 0, place), b"")),
        ("the folder a name stands in", tar(tar_header("a.txt", place, b'0', 0, ""), b"")),
        ("the padding of a member", tar(tar_header("a.txt", "", b'0', 2, ""), &[b"hi", text].concat())),
    ] {
        assert_ne!(verdict("a.tar", &bytes), Clean, "{story}");
    }
}

#[test]
fn what_a_gzip_says_of_itself_is_read() {
    let packed = |build: flate2::GzBuilder| {
        let mut encoder = build.write(Vec::new(), flate2::Compression::best());
        encoder.write_all(b"hi").expect("into memory");
        encoder.finish().expect("into memory")
    };
    let plain = packed(flate2::GzBuilder::new().filename("note.txt"));
    assert_eq!(verdict("a.gz", &plain), Clean);
    for (place, build) in [
        ("its name", flate2::GzBuilder::new().filename("4851490.419_29546865.276.txt")),
        ("its comment", flate2::GzBuilder::new().comment(TABLE)),
        ("its extra field", flate2::GzBuilder::new().extra(TABLE)),
    ] {
        let bytes = packed(build);
        assert_eq!(verdict("a.gz", &bytes), Coordinates, "{place}");
        assert_eq!(verdict("a.gz", &[&plain[..], &bytes].concat()), Coordinates, "{place}, in the second of two");
    }
}

#[test]
fn a_mail_ends_a_part_where_it_said_and_its_subject_is_read() {
    let mail = |subject: &str, body: &str| {
        format!(
            "From: a@b\r\nTo: c@d\r\nSubject: {subject}\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"BB\"\r\n\r\n--BB\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: 7bit\r\n\r\nhi\r\n--BB\r\nContent-Type: text/csv; name=a.csv\r\nContent-Transfer-Encoding: base64\r\n\r\n{body}\r\n--BB--\r\n"
        )
    };
    assert_eq!(verdict("a.eml", mail("x", "aGVsbG8=").as_bytes()), Clean);
    let table = base64(TABLE.repeat(4).as_bytes());
    assert_eq!(verdict("a.eml", mail("x", &table).as_bytes()), Coordinates);
    assert_eq!(
        verdict("a.eml", mail("x", &format!("QUJD\r\n--\r\n{table}")).as_bytes()),
        Coordinates,
        "a line of dashes"
    );
    assert_eq!(
        verdict("a.eml", mail("x", &format!("QUJD\r\n--..\r\n{table}")).as_bytes()),
        Coordinates,
        "half a boundary"
    );
    let subject = format!("=?UTF-8?B?{}?=", base64("界址点 4851490.419 29546865.276".as_bytes()));
    assert_eq!(verdict("a.eml", mail(&subject, "aGVsbG8=").as_bytes()), Coordinates, "a subject in base64");
    let subject = "=?UTF-8?Q?4851490=2E419_29546865=2E276?=";
    assert_eq!(verdict("a.eml", mail(subject, "aGVsbG8=").as_bytes()), Coordinates, "a subject, quoted");
}

/// Bytes without any order, the same ones every time.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..count).map(|_| next()).collect()
}

#[test]
fn a_large_encoded_file_that_nobody_knows_is_not_clean() {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let folded = |text: &str| text.as_bytes().chunks(76).map(String::from_utf8_lossy).collect::<Vec<_>>().join("\r\n");
    let message = |value: &str| format!("<?xml version=\"1.0\"?><Message><FJ_F_100 FJNR=\"{value}\"/></Message>");
    let turned: Vec<u8> = TABLE.repeat(200).bytes().map(|b| b ^ 0xA5).collect();
    for (place, value) in [
        ("noise in base64", base64(&noise(20_000))),
        ("noise in hex", hex(&noise(20_000))),
        ("noise in folded lines", folded(&base64(&noise(20_000)))),
        ("a table under a cipher of one's own", base64(&turned)),
    ] {
        assert_eq!(verdict("a.xml", message(&value).as_bytes()), Uninspectable, "{place}");
    }
    let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(TABLE.as_bytes()).expect("into memory");
    let packed = packed.finish().expect("into memory");
    assert_eq!(verdict("a.xml", message(&base64(&packed)).as_bytes()), Coordinates, "packed by a program");
    let doubles: Vec<u8> =
        [4_851_490.419_f64, 29_546_865.276].iter().cycle().take(12).flat_map(|d| d.to_be_bytes()).collect();
    assert_eq!(verdict("a.xml", message(&base64(&doubles)).as_bytes()), Coordinates, "doubles, the great end first");
    // Digests, signatures, a certificate's length of noise, and a long list of digests are ordinary.
    let list: Vec<String> = noise(64_000).chunks(32).map(|digest| format!("\"{}\"", hex(digest))).collect();
    for (place, text) in [
        ("a signature", message(&base64(&noise(256)))),
        ("an envelope", message(&base64(&noise(3_000)))),
        ("a list of digests", format!("{{\"digests\": [{}]}}", list.join(", "))),
        ("a file of digests", list.join("\n").replace('"', "")),
    ] {
        let name = if text.starts_with('{') { "a.json" } else { "a.txt" };
        assert_eq!(verdict(name, text.as_bytes()), Clean, "{place}");
    }
    // What a printer keeps in the settings of a document is no content.
    let settings = format!("<?xml version=\"1.0\"?><s><i name=\"PrinterSetup\">{}</i></s>", base64(&noise(9_000)));
    let kind = b"application/vnd.oasis.opendocument.text";
    let stored = Member { raw: kind.to_vec(), method: 0, ..member("mimetype", kind) };
    let document = |name: &str| archive(&[stored.clone(), member(name, settings.as_bytes())], b"", b"");
    assert_eq!(verdict("a.odt", &document("settings.xml")), Clean);
    assert_eq!(verdict("a.odt", &document("content.xml")), Uninspectable);
}

fn png(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, body) in
        [(b"IHDR", &[0, 0, 0, 4, 0, 0, 0, 4, 8, 0, 0, 0, 0][..])].iter().chain(chunks).chain([&(b"IEND", &b""[..])])
    {
        let sum = crc(&[&kind[..], body].concat()).to_be_bytes();
        out.extend_from_slice(&[&be32(body.len())[..], &kind[..], body, &sum].concat());
    }
    out
}

#[test]
fn a_text_in_any_chunk_of_a_png_is_read() {
    let zlib = |bytes: &[u8]| {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).expect("into memory");
        encoder.finish().expect("into memory")
    };
    let pixels = zlib(b"\0abcd\0abcd\0abcd\0abcd");
    let text = TABLE.as_bytes();
    assert_eq!(verdict("a.png", &png(&[(b"IDAT", &pixels)])), Clean);
    let long = zlib(&[&b"abc def ghi jkl mn\n".repeat(60_000), text].concat());
    for (place, bytes) in [
        ("behind the pixels", png(&[(b"IDAT", &pixels), (b"IDAT", text)])),
        ("the colours", png(&[(b"iCCP", &[b"x\0\0", &zlib(text)[..]].concat()), (b"IDAT", &pixels)])),
        ("a long note", png(&[(b"zTXt", &[b"k\0\0", &long[..]].concat()), (b"IDAT", &pixels)])),
        (
            "a note in a language",
            png(&[(b"iTXt", &[b"k\0\x01\0en\0kk\0", &zlib(text)[..]].concat()), (b"IDAT", &pixels)]),
        ),
    ] {
        assert_ne!(verdict("a.png", &bytes), Clean, "{place}");
    }
}

#[test]
fn a_drawing_is_what_draws_and_not_what_mentions_one() {
    let rows: String = LOCAL.iter().map(|(x, y)| format!("<p><x>{x}</x><y>{y}</y></p>")).collect();
    for opening in ["", "<!-- <svg -->", "<!-- <svg> -->\n<?note <svg ?>"] {
        let text = format!("<?xml version=\"1.0\"?>{opening}<r>{rows}</r>");
        assert_eq!(verdict("a.xml", text.as_bytes()), Coordinates, "{opening}");
    }
    let drawing = "<?xml version=\"1.0\"?><!-- by hand --><svg xmlns=\"http://www.w3.org/2000/svg\"><rect x=\"12.25\" y=\"40.5\"/></svg>";
    assert_eq!(verdict("a.svg", drawing.as_bytes()), Clean);
}
