//! Stories of PDF: what hides where, what only looks locked, and what is broken in exactly one way.
//! The files under `vectors/` were locked and packed by another program (qpdf's library), from content of this project.

use std::io::Write;

use guard::{DetectVerdict, detect};

use DetectVerdict::{Clean, Coordinates, Uninspectable};

const POINTS: &str = "J1 4851490.419 29546865.276 J2 4851357.613 29546783.929";

fn verdict(bytes: &[u8]) -> DetectVerdict {
    detect("a.pdf", bytes).verdict
}

fn rules(bytes: &[u8]) -> Vec<&'static str> {
    detect("a.pdf", bytes).findings.iter().map(|f| f.rule).collect()
}

/// A whole document around some objects, with a cross-reference that is right.
fn pdf(objects: &[Vec<u8>]) -> Vec<u8> {
    with_trailer(objects, "")
}

fn with_trailer(objects: &[Vec<u8>], more: &str) -> Vec<u8> {
    let mut out = b"%PDF-1.7\n".to_vec();
    let mut offsets = Vec::new();
    for (n, object) in objects.iter().enumerate() {
        offsets.push(out.len());
        out.extend_from_slice(format!("{} 0 obj\n", n + 1).as_bytes());
        out.extend_from_slice(object);
        out.extend_from_slice(b"\nendobj\n");
    }
    let table = out.len();
    out.extend_from_slice(format!("xref\n0 {}\n0000000000 65535 f \n", offsets.len() + 1).as_bytes());
    for offset in &offsets {
        out.extend_from_slice(format!("{offset:010} 00000 n \n").as_bytes());
    }
    let size = offsets.len() + 1;
    out.extend_from_slice(
        format!("trailer\n<</Size {size}/Root 1 0 R{more}>>\nstartxref\n{table}\n%%EOF\n").as_bytes(),
    );
    out
}

fn object(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

fn stream(dictionary: &str, content: &[u8]) -> Vec<u8> {
    let mut out = format!("<<{dictionary}/Length {}>>\nstream\n", content.len()).into_bytes();
    out.extend_from_slice(content);
    out.extend_from_slice(b"\nendstream");
    out
}

fn deflated(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(content).expect("into memory");
    encoder.finish().expect("into memory")
}

fn catalog() -> Vec<u8> {
    object("<</Type/Catalog>>")
}

fn page(text: &str) -> Vec<u8> {
    stream("", format!("BT /F1 9 Tf 10 50 Td ({text}) Tj ET").as_bytes())
}

#[test]
fn what_another_program_locked_is_read_with_the_empty_password_and_with_no_other() {
    for (name, expected) in [
        ("owner-r2-points", Coordinates),
        ("owner-r3-points", Coordinates),
        ("owner-r4-aes-points", Coordinates),
        ("owner-r6-points", Coordinates),
        ("owner-r6-clean", Clean),
        ("user-r4-clean", Uninspectable),
        ("user-r6-points", Uninspectable),
        ("object-streams-points", Coordinates),
        ("object-streams-info-points", Coordinates),
    ] {
        let path = format!("{}/tests/vectors/{name}.pdf", env!("CARGO_MANIFEST_DIR"));
        let bytes = std::fs::read(&path).expect("a vector of this project");
        assert_eq!(verdict(&bytes), expected, "{name}");
        // Broken anywhere, it may turn into anything but a panic.
        for at in (0..bytes.len()).step_by(7) {
            let mut broken = bytes.clone();
            broken[at] ^= 0x55;
            assert!(!rules(&broken).contains(&"parser-failed"), "{name} at {at}");
        }
    }
}

#[test]
fn an_ordinary_page_is_clean() {
    assert_eq!(verdict(&pdf(&[catalog(), page("面积 120.35 平方米")])), Clean);
    assert_eq!(verdict(&pdf(&[catalog(), page("area 120.35, price 3,580,000.00")])), Clean);
}

#[test]
fn points_are_found_wherever_they_stand() {
    let wide: String = POINTS.encode_utf16().fold("FEFF".to_owned(), |s, unit| s + &format!("{unit:04x}"));
    let numbers = "7 0 8 4 ";
    let packed = format!("{numbers}(a) <</T({POINTS})>>");
    for (place, bytes) in [
        ("a page", pdf(&[catalog(), page(POINTS)])),
        (
            "a page that is packed",
            pdf(&[catalog(), stream("/Filter/FlateDecode", &deflated(format!("BT ({POINTS}) Tj ET").as_bytes()))]),
        ),
        ("an object nobody points to", pdf(&[catalog(), object(&format!("<</Junk({POINTS})>>"))])),
        ("a title in UTF-16", pdf(&[catalog(), object(&format!("<</Title<{wide}>>>"))])),
        (
            "octal escapes",
            pdf(&[catalog(), object("<</T(\\064851490.419 \\0629546865.276 J2 4851357.613 29546783.929)>>")]),
        ),
        ("a name", pdf(&[catalog(), object("<</4851490.419#2029546865.276#204851357.613#2029546783.929 1>>")])),
        ("a script", pdf(&[catalog(), object(&format!("<</S/JavaScript/JS(var a = \"{POINTS}\")>>"))])),
        (
            "a script in a stream",
            pdf(&[
                catalog(),
                stream("/Filter/FlateDecode", &deflated(format!("var a = [{}];", POINTS.replace(' ', ",")).as_bytes())),
            ]),
        ),
        (
            "a form in XML",
            pdf(&[
                catalog(),
                stream("", format!("<xdp><f XZB=\"4851490.4193\" YZB=\"29546865.2760\">{POINTS}</f></xdp>").as_bytes()),
            ]),
        ),
        (
            "an attachment",
            pdf(&[
                catalog(),
                object("<</Type/Filespec/F(a.txt)/EF<</F 3 0 R>>>>"),
                stream("/Type/EmbeddedFile", POINTS.as_bytes()),
            ]),
        ),
        (
            "an attachment that does not say so",
            pdf(&[catalog(), object("<</Type/Filespec/F(a)/EF<</F 3 0 R>>>>"), stream("", POINTS.as_bytes())]),
        ),
        (
            "an object stream",
            pdf(&[catalog(), stream(&format!("/Type/ObjStm/N 2/First {}", numbers.len()), packed.as_bytes())]),
        ),
        ("a comment between objects", with_trailer(&[catalog()], &format!("\n%{POINTS}\n"))),
        ("a trailer", with_trailer(&[catalog()], &format!("/X({POINTS})"))),
        (
            "a text under the name of a bitmap",
            pdf(&[catalog(), stream("/Subtype/Image/Filter/FlateDecode", &deflated(POINTS.repeat(3).as_bytes()))]),
        ),
        (
            "base64 in a string",
            pdf(&[catalog(), object("<</T(NDg1MTQ5MC40MTksMjk1NDY4NjUuMjc2CjQ4NTEzNTcuNjEzLDI5NTQ2NzgzLjkyOQo=)>>")]),
        ),
        ("a geospatial measure", pdf(&[catalog(), object("<</Type/Measure/Subtype/GEO/GPTS[1 2]>>")])),
    ] {
        assert_eq!(verdict(&bytes), Coordinates, "{place}");
    }
}

#[test]
fn a_picture_keeps_its_place_in_every_filter() {
    let mut jpeg = b"\xFF\xD8\xFF\xE1\x00\x4cExif\0\0".to_vec();
    jpeg.extend_from_slice(b"II*\0\x08\0\0\0\x01\0\x25\x88\x04\0\x01\0\0\0\x1a\0\0\0\0\0\0\0\x01\0\x02\0\x05\0\x03\0\0\0\x2c\0\0\0\0\0\0\0\x17\0\0\0\x01\0\0\0\x08\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\0\0");
    let length = u16::try_from(jpeg.len() - 4).expect("small").to_be_bytes();
    jpeg[4..6].copy_from_slice(&length);
    jpeg.extend_from_slice(b"\xFF\xDA\x00\x02\x01\x02\x03\xFF\xD9");
    let hex: String = jpeg.iter().map(|b| format!("{b:02x}")).collect();
    for (filter, content) in [
        ("/DCTDecode", jpeg.clone()),
        ("[/ASCIIHexDecode /DCTDecode]", format!("{hex}>").into_bytes()),
        ("[/FlateDecode /DCTDecode]", deflated(&jpeg)),
        ("/D#43TDecode", jpeg.clone()),
        ("[/FlateDecode]", deflated(&jpeg)),
    ] {
        let document = pdf(&[catalog(), stream(&format!("/Subtype/Image/Filter {filter}"), &content)]);
        let found = rules(&document);
        assert!(found.contains(&"device-position"), "{filter}: {found:?}");
    }
}

#[test]
fn an_object_that_only_the_cross_reference_shows_is_read() {
    // Object 2 lies inside the bytes of a bitmap, which nobody reads as text.
    let inner = format!("\n2 0 obj <</T({POINTS})>> endobj\n");
    let mut content = b"\x01\0\x04\x01".to_vec();
    content.extend_from_slice(inner.as_bytes());
    let document = pdf(&[catalog(), stream("/Subtype/Image", &content)]);
    let hidden = document.windows(8).position(|w| w == b"2 0 obj ").expect("it lies there");
    let text = String::from_utf8_lossy(&document).into_owned();
    let table = text.find("xref").expect("a table");
    let mut aimed = document.clone();
    let line = table + b"xref\n0 3\n".len() + 40;
    aimed[line..line + 10].copy_from_slice(format!("{hidden:010}").as_bytes());
    assert_eq!(verdict(&document), Clean, "nothing leads there");
    assert_eq!(verdict(&aimed), Coordinates);
}

#[test]
fn a_stream_that_ends_early_hides_nothing() {
    let mut out = b"%PDF-1.4\n1 0 obj<</Length 4>>\nstream\nabcd\nendstream\n".to_vec();
    out.extend_from_slice(POINTS.as_bytes());
    out.extend_from_slice(b"\nendobj\nstartxref\n0\n%%EOF");
    assert_eq!(verdict(&out), Coordinates, "behind the end of a stream");
    let lying = pdf(&[catalog(), object(&format!("<</Length 3>>\nstream\nBT (xxx) Tj ({POINTS}) Tj ET\nendstream"))]);
    assert_eq!(verdict(&lying), Coordinates, "a length that is too short");
    let by_reference = pdf(&[
        catalog(),
        object(&format!("<</Length 3 0 R>>\nstream\nBT (endstream {POINTS}) Tj ET\nendstream")),
        object("83"),
    ]);
    assert_eq!(verdict(&by_reference), Coordinates, "the word inside the stream");
}

#[test]
fn what_cannot_be_seen_is_not_clean() {
    let good = pdf(&[catalog(), page("hello")]);
    let glued = |before: &[u8], after: &[u8]| [before, &good, after].concat();
    for (place, bytes) in [
        ("locked by a scheme of its own", with_trailer(&[catalog(), object("<</Filter/Foo/V 1>>")], "/Encrypt 2 0 R")),
        (
            "locked under an escaped name",
            with_trailer(&[catalog(), object("<</Filter/Standard/V 9/R 9>>")], "/E#6ecrypt 2 0 R"),
        ),
        ("locked by nothing", with_trailer(&[catalog()], "/Encrypt 77 0 R")),
        (
            "locked with a short key",
            with_trailer(&[catalog(), object("<</Filter/Standard/V 1/R 2/O(a)/U(b)/P -4>>")], "/Encrypt 2 0 R"),
        ),
        ("an unknown filter", pdf(&[catalog(), stream("/Filter/Magic", b"abc")])),
        ("a filter that is pointed to", pdf(&[catalog(), stream("/Filter 9 0 R", b"abc")])),
        ("packed, and no such thing", pdf(&[catalog(), stream("/Filter/FlateDecode", b"not zlib at all")])),
        ("too many filters", pdf(&[catalog(), stream(&format!("/Filter[{}]", "/A85".repeat(9)), b"abc")])),
        ("content in another file", pdf(&[catalog(), stream("/F(other.bin)", b"")])),
        ("an attachment without contents", pdf(&[catalog(), object("<</Type/Filespec/F(a)/EF<</F 9 0 R>>>>")])),
        ("an attachment annotation without file", pdf(&[catalog(), object("<</Subtype/FileAttachment>>")])),
        ("objects in a stream that does not say how many", pdf(&[catalog(), stream("/Type/ObjStm", b"1 0 (a)")])),
        ("objects in a stream without numbers", pdf(&[catalog(), stream("/Type/ObjStm/N 5/First 2", b"xx")])),
        (
            "an attachment that is an archive nobody opens",
            pdf(&[catalog(), object("<</EF<</F 3 0 R>>>>"), stream("/Type/EmbeddedFile", b"Rar!\x1A\x07\x01\0")]),
        ),
        ("no object", b"%PDF-1.4\n%%EOF".to_vec()),
        ("no end", b"%PDF-1.4\n1 0 obj<<>>endobj\n".to_vec()),
        ("a stream without end", b"%PDF-1.4\n1 0 obj<<>>stream\nabc\n%%EOF".to_vec()),
        ("a program in front", glued(b"\x7FELF\x02\x01\x01\0\0\0\0\0\0\0\0\0", b"")),
        ("bytes in front", glued(&[0x80, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0xFE], b"")),
        ("an archive behind", glued(b"", b"PK\x03\x04.................")),
        ("bytes behind", glued(b"", &[0x80, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0xFE])),
    ] {
        assert_eq!(verdict(&bytes), Uninspectable, "{place}");
    }
}

#[test]
fn a_text_behind_the_end_is_read_and_line_ends_are_nothing() {
    let good = pdf(&[catalog(), page("hello")]);
    assert_eq!(verdict(&[&good, POINTS.as_bytes()].concat()), Coordinates);
    assert_eq!(verdict(&[&good[..], b"\r\n\0\0\0\0\0\0\0\0\0\0\r\n"].concat()), Clean);
    assert_eq!(verdict(&[b"\r\n\r\n", &good[..]].concat()), Clean);
}

#[test]
fn bombs_end_at_their_bounds() {
    let zeros = vec![b' '; 70 << 20];
    let bomb = pdf(&[catalog(), stream("/Filter/FlateDecode", &deflated(&zeros))]);
    let twice = pdf(&[catalog(), stream("/Filter[/FlateDecode/FlateDecode]", &deflated(&deflated(&zeros)))]);
    let start = std::time::Instant::now();
    for document in [bomb, twice] {
        assert_eq!(verdict(&document), Uninspectable);
    }
    let deep = pdf(&[catalog(), object(&"<</A ".repeat(50_000))]);
    let _ = verdict(&deep);
    let many: Vec<Vec<u8>> = (0..20_000).map(|_| object("<</Length 1 0 R>>\nstream\nx")).collect();
    let _ = verdict(&pdf(&many));
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

#[test]
fn the_same_document_is_judged_the_same_twice() {
    let document = pdf(&[catalog(), page(POINTS), object("<</EF<</F 9 0 R>>>>")]);
    let once: Vec<_> = detect("a.pdf", &document).findings.into_iter().map(|f| (f.rule, f.at)).collect();
    let again: Vec<_> = detect("a.pdf", &document).findings.into_iter().map(|f| (f.rule, f.at)).collect();
    assert_eq!(once, again);
}

/// A page whose font says by its encoding what the bytes are, and no map besides.
fn page_in(encoding: &str, lines: &[Vec<u8>]) -> Vec<u8> {
    let mut content = b"BT /F1 12 Tf 50 700 Td".to_vec();
    for line in lines {
        let hex: String = line.iter().map(|b| format!("{b:02x}")).collect();
        content.extend_from_slice(format!(" <{hex}> Tj 0 -14 Td").as_bytes());
    }
    content.extend_from_slice(b" ET");
    let font = format!("<</Type/Font/Subtype/Type0/BaseFont/STSong-Light/Encoding {encoding}/DescendantFonts[5 0 R]>>");
    let descendant = "<</Type/Font/Subtype/CIDFontType0/BaseFont/STSong-Light/CIDSystemInfo 6 0 R>>";
    pdf(&[
        object("<</Type/Catalog/Resources<</Font<</F1 3 0 R>>>>>>"),
        stream("", &content),
        object(&font),
        object("/UniGB-UCS2-H"),
        object(descendant),
        object("<</Registry(Adobe)/Ordering(GB1)/Supplement 4>>"),
        stream("/Type/CMap/CMapName/Own/UseCMap/UniGB-UTF16-H", b"/CIDInit /ProcSet findresource begin"),
    ])
}

const LOCAL: [&str; 5] = [
    "点号 纵坐标 横坐标",
    "J1 34512.417 51203.882",
    "J2 34498.120 51233.004",
    "J3 34477.871 51228.690",
    "J4 34460.102 51201.333",
];

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

#[test]
fn characters_that_a_font_takes_as_they_are_are_read() {
    let gb = |text: &str| encoding_rs::GB18030.encode(text).0.into_owned();
    let cid = |text: &str| text.bytes().flat_map(|b| u16::from(b - 31).to_be_bytes()).collect::<Vec<u8>>();
    for (encoding, spell) in [
        ("/UniGB-UCS2-H", &wide as &dyn Fn(&str) -> Vec<u8>),
        ("/UniGB-UTF16-H", &wide),
        ("4 0 R", &wide),
        ("7 0 R", &wide),
        ("/GBK-EUC-H", &gb),
        ("/GBKp-EUC-V", &gb),
        ("/UniGB-UTF8-H", &|text| text.as_bytes().to_vec()),
        ("/UniGB-UTF32-H", &|text| text.chars().flat_map(|c| u32::from(c).to_be_bytes()).collect()),
    ] {
        let lines: Vec<Vec<u8>> = LOCAL.iter().map(|line| spell(line)).collect();
        assert_eq!(verdict(&page_in(encoding, &lines)), Coordinates, "{encoding}");
        assert_eq!(verdict(&page_in(encoding, &[spell("面积 120.35"), spell("3580000.00")])), Clean, "{encoding}");
    }
    assert_eq!(verdict(&page_in("/Identity-H", &[cid(POINTS)])), Coordinates, "numbers of a known collection");
    let pair: Vec<u8> = POINTS.bytes().flat_map(|b| [0, b]).collect();
    assert_eq!(verdict(&page_in("/WinAnsiEncoding", &[pair])), Coordinates, "noughts between the digits");
}

#[test]
fn a_long_or_escaped_name_of_a_font_is_still_its_name() {
    let content = |name: &str| {
        let hex: String = wide(POINTS).iter().map(|b| format!("{b:02x}")).collect();
        format!("BT /{name} 12 Tf 50 700 Td <{hex}0001> Tj ET")
    };
    let long = "F".repeat(100);
    for (key, name) in [(long.as_str(), long.as_str()), ("F1", "F#31"), ("F#31", "F1")] {
        let direct = format!("<</Font<</{key} <</Type/Font/Subtype/Type0/Encoding/UniGB-UCS2-H>>>>>>");
        assert_eq!(
            verdict(&pdf(&[object(&direct), stream("", content(name).as_bytes())])),
            Coordinates,
            "{key} {name}"
        );
    }
}

#[test]
fn what_is_attached_is_a_file_whatever_it_says_of_itself() {
    let attached = |dictionary: &str, content: &[u8]| {
        pdf(&[catalog(), object("<</Type/Filespec/F(a)/EF<</F 3 0 R>>>>"), stream(dictionary, content)])
    };
    let note = format!("Corner list, unit: m\n{}", POINTS.replace(' ', ","));
    let long = format!("\x01\n{}", note.repeat(4));
    for (place, bytes) in [
        ("a list with the word of an operator", attached("", note.as_bytes())),
        ("an archive nobody opens", attached("", b"Rar!\x1A\x07\x01\0 BT ET m w")),
        ("a picture in name only", attached("/Type/EmbeddedFile/Subtype/Image", long.as_bytes())),
        ("a font in name only", attached("", format!("true\n{note}").as_bytes())),
        ("a map in name only", attached("", format!("begincmap\n{note}").as_bytes())),
        ("a page in name only", attached("", format!("q 1 0 0 1 0 0 cm {} m Q", note.replace("unit", "")).as_bytes())),
    ] {
        assert_ne!(verdict(&bytes), Clean, "{place}");
    }
    let script = "var w = 3; var pts=[[4851490.419,29546865.276],[4851357.613,29546783.929]];";
    let run = pdf(&[catalog(), object("<</S/JavaScript/JS 3 0 R>>"), stream("", script.as_bytes())]);
    assert_eq!(verdict(&run), Coordinates, "a script");
    assert_eq!(verdict(&pdf(&[catalog(), stream("", format!("true\n{note}").as_bytes())])), Coordinates, "no font");
    assert_eq!(verdict(&pdf(&[catalog(), stream("", note.as_bytes())])), Coordinates, "no page");
}

#[test]
fn parameters_of_a_filter_that_stand_elsewhere_are_not_guessed() {
    let mut rows = Vec::new();
    let mut before = [0_u8; 10];
    for row in format!("BT ({POINTS}) Tj ET").into_bytes().chunks_exact(10) {
        rows.push(2);
        rows.extend(row.iter().zip(before).map(|(byte, above)| byte.wrapping_sub(above)));
        before.copy_from_slice(row);
    }
    let page = |parameters: &str| {
        let dictionary = format!("/Filter/FlateDecode/DecodeParms {parameters}");
        pdf(&[catalog(), stream(&dictionary, &deflated(&rows)), object("<</Predictor 12/Columns 10>>")])
    };
    assert_eq!(verdict(&page("<</Predictor 12/Columns 10>>")), Coordinates);
    assert_eq!(verdict(&page("[<</Predictor 12/Columns 10>>]")), Coordinates);
    for elsewhere in ["3 0 R", "[3 0 R]", "<</Predictor 9 0 R/Columns 10>>", "<</Predictor 12/Columns 9 0 R>>"] {
        assert_eq!(verdict(&page(elsewhere)), Uninspectable, "{elsewhere}");
    }
}

#[test]
fn what_a_page_shows_is_read_in_every_way_of_showing_it() {
    let lines = ["J1 4851490.419 29546865.276", "J2 4851357.613 29546783.929"];
    let shown = |part: usize| {
        lines.map(|line| format!("({}) Tj 0 -14 Td ", line.split(' ').nth(part).expect("three"))).concat()
    };
    let turned = |step: (f64, f64), matrix: &str| {
        let (mut x, mut out) = (50.0, String::from("BT /F1 12 Tf "));
        for line in lines {
            let mut along = 50.0;
            for c in line.chars() {
                let (a, b) = if step.0 > 0.0 { (along, 800.0 - x) } else { (x, along) };
                out += &format!("{matrix} {a:.2} {b:.2} Tm ({c}) Tj ");
                along += 6.67;
            }
            x += 14.0;
        }
        out + "ET"
    };
    for (place, bytes) in [
        (
            "the word for pixels alone",
            pdf(&[catalog(), stream("", format!("BT ID ({}) Tj EI ET", lines.join(" ")).as_bytes())]),
        ),
        (
            "two streams of one page",
            pdf(&[
                object("<</Type/Page/Contents[2 0 R 3 0 R]>>"),
                stream("", format!("BT 50 700 Td {}ET", shown(1)).as_bytes()),
                stream("", format!("BT 150 700 Td {}ET", shown(2)).as_bytes()),
            ]),
        ),
        (
            "a comment on a page",
            pdf(&[catalog(), stream("", format!("q 1 0 0 1 0 0 cm Q\n% {}", lines.join(" ")).as_bytes())]),
        ),
        ("numbers in an array", pdf(&[object("<</Corners[4851490.419 29546865.276 4851357.613 29546783.929]>>")])),
        ("upright, a matrix a letter", pdf(&[catalog(), stream("", turned((1.0, 0.0), "1 0 0 1").as_bytes())])),
        ("on its side, a matrix a letter", pdf(&[catalog(), stream("", turned((0.0, 1.0), "0 1 -1 0").as_bytes())])),
    ] {
        assert_eq!(verdict(&bytes), Coordinates, "{place}");
    }
}

#[test]
fn a_glyph_that_means_two_characters_gives_both() {
    let entries: String =
        (0..100).map(|n| format!("<{:02x}> <{:04x}{:04x}> ", n + 0x21, 48 + n / 10, 48 + n % 10)).collect();
    let map = format!(
        "begincmap 1 begincodespacerange <00> <ff> endcodespacerange 102 beginbfchar {entries}<e0> <002e> <e1> <0020> endbfchar"
    );
    let mut codes = String::new();
    for place in ["04851490.4192", "29546865.2768", "04851357.6132", "29546783.9298"] {
        for half in place.split('.') {
            for pair in half.as_bytes().chunks(2) {
                codes += &format!("{:02x}", 0x21 + (pair[0] - 48) * 10 + (pair[1] - 48));
            }
            codes += if half.len() == 8 { "e0" } else { "e1" };
        }
    }
    let font = "<</Type/Font/Subtype/Type1/ToUnicode 4 0 R>>";
    let page = stream("", format!("BT /F1 12 Tf <{codes}> Tj ET").as_bytes());
    let bytes = pdf(&[object("<</Font<</F1 3 0 R>>>>"), page, object(font), stream("", map.as_bytes())]);
    assert_eq!(verdict(&bytes), Coordinates);
}
