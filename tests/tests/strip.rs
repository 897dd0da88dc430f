//! What may be stripped becomes clean and keeps everything else, or is refused. Workbooks are read again by calamine,
//! letters by Python's own zip and XML readers; neither is ours.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::io::{Cursor, Write};
use std::process::{Command, Stdio};

use calamine::{Data, Reader, Xlsx};
use guard::{DetectVerdict, detect};
use protocol::Reason;
use tests::office_papers::{Parts, Sheet, letter, paragraph, relate, rows, story, table, word_table, workbook};
use tests::stripping::{Fate, fate, outward};

const NORTH: &str = "4563112.347";
const EAST: &str = "40512233.118";

/// Every cell that is not empty: sheet, row, column, what stands there.
fn cells(bytes: &[u8]) -> Vec<(String, usize, usize, String)> {
    let mut book: Xlsx<_> = Xlsx::new(Cursor::new(bytes)).expect("calamine opens it");
    let mut out = Vec::new();
    for title in book.sheet_names() {
        let range = book.worksheet_range(&title).expect("calamine reads its sheets");
        let (top, left) = range.start().unwrap_or_default();
        for (row, column, value) in range.used_cells().filter(|(_, _, value)| **value != Data::Empty) {
            let (row, column) = (row + usize::try_from(top).unwrap(), column + usize::try_from(left).unwrap());
            out.push((title.clone(), row, column, value.to_string()));
        }
    }
    out
}

/// The paragraphs of a letter's parts, as Python's standard library reads them; `None` where there is no Python.
fn paragraphs(bytes: &[u8]) -> Option<Vec<String>> {
    const SCRIPT: &str = "
import io, sys, zipfile, xml.etree.ElementTree as tree
w = '{http://schemas.openxmlformats.org/wordprocessingml/2006/main}'
box = zipfile.ZipFile(io.BytesIO(sys.stdin.buffer.read()))
assert box.testzip() is None
for name in sorted(box.namelist()):
    if name.endswith('.xml') or name.endswith('.rels'):
        root = tree.fromstring(box.read(name))
        for p in root.iter(w + 'p'):
            text = ''.join(t.text or '' for t in p.iter(w + 't'))
            if text: print(text)
";
    let mut python =
        match Command::new("python3").args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() {
            Ok(python) => python,
            Err(_) => {
                println!("SKIPPED: python3 is not installed, the letters were not read by a second reader");
                return None;
            }
        };
    python.stdin.take().unwrap().write_all(bytes).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "python does not read the letter");
    Some(String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect())
}

#[track_caller]
fn stripped(name: &str, bytes: &[u8]) -> (Vec<u8>, Vec<(String, u32)>) {
    assert_ne!(detect(name, bytes).verdict, DetectVerdict::Clean, "{name} carries nothing to begin with");
    match fate(&outward(""), name, bytes) {
        Fate::Stripped(bytes, removed) => (bytes, removed),
        other => panic!(
            "{name}: {other:?}, {:?}",
            detect(name, bytes).findings.iter().map(|f| (f.rule, &f.at)).collect::<Vec<_>>()
        ),
    }
}

#[track_caller]
fn refused(name: &str, bytes: &[u8], reason: Reason) {
    assert_ne!(detect(name, bytes).verdict, DetectVerdict::Clean, "{name} carries nothing to begin with");
    let fate = fate(&outward(""), name, bytes);
    assert!(matches!(fate, Fate::Refused(given) if given == reason), "{name}: {fate:?}");
}

fn number_of(removed: &[(String, u32)], what: &str) -> u32 {
    removed.iter().find(|(kind, _)| kind == what).map_or(0, |(_, count)| *count)
}

fn contains(haystack: &[u8], needle: &str) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle.as_bytes())
}

/// All parts of an archive one behind the other, unpacked by the zip crate.
fn unpacked(bytes: &[u8]) -> (Vec<String>, Vec<u8>) {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).expect("the zip crate opens it");
    let (mut names, mut all) = (Vec::new(), Vec::new());
    for n in 0..archive.len() {
        let mut member = archive.by_index(n).unwrap();
        names.push(member.name().unwrap().into_owned());
        std::io::copy(&mut member, &mut all).unwrap();
    }
    (names, all)
}

const HOUSES: &[&[&str]] = &[
    &["幢号", "房号", "建筑面积", "单价", "总价", "登记日期"],
    &["3", "501", "112.38", "7697.10", "865000.08", "46347"],
    &["3", "502", "98.20", "7700.00", "756140.00", "46348"],
];

#[test]
fn a_workbook_loses_its_axes_and_keeps_every_other_cell() {
    let with: &[&[&str]] = &[
        &["宗地", "X坐标", "Y坐标", "面积", "备注"],
        &["甲", NORTH, EAST, "112.38", "a < b & c"],
        &["乙", "4563150.001", "40512270.500", "98.20", ""],
    ];
    let (bytes, removed) = stripped("a.xlsx", &table(with).zip());
    let expected: Vec<(String, usize, usize, String)> = with
        .iter()
        .enumerate()
        .flat_map(|(row, cells)| cells.iter().enumerate().map(move |(column, cell)| (row, column, *cell)))
        .filter(|(_, column, cell)| !(cell.is_empty() || *column == 1 || *column == 2))
        .map(|(row, column, cell)| {
            let shown = cell.parse::<f64>().map_or_else(|_| cell.to_owned(), |n| n.to_string());
            ("Sheet1".to_owned(), row, column, shown)
        })
        .collect();
    assert_eq!(cells(&bytes), expected);
    assert_eq!(number_of(&removed, "cell"), 6);
    assert!(
        removed.iter().all(|(what, _)| what.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')),
        "no values: {removed:?}"
    );
}

#[test]
fn whatever_hides_in_a_workbook_goes_and_the_houses_stay() {
    let clean = table(HOUSES);
    let before = cells(&clean.zip());
    let point = format!("{NORTH} {EAST}");
    let sheet = |rows: &str, more: &str| {
        format!(
            "<worksheet xmlns=\"http://schemas.openxmlformats.org/spreadsheetml/2006/main\"><sheetData>{rows}</sheetData>{more}</worksheet>"
        )
    };
    let mut strings = Vec::new();
    let houses = rows(HOUSES, &mut strings);
    let hidden = rows(&[&["J1", NORTH, EAST]], &mut strings);
    let mut places: Vec<(&str, Parts, &str)> = Vec::new();
    let mut two = workbook(
        &[
            Sheet { title: "Sheet1", hidden: false, rows: houses.clone() },
            Sheet { title: "x", hidden: true, rows: hidden },
        ],
        &strings,
    );
    two.put("docProps/thumbnail.jpeg", tests::papers::scanned_page(3, 32, 32));
    places.push(("hidden-sheet", two, "hidden sheet"));
    let mut add = |kind: &'static str, name: &str, content: String| {
        let mut parts = clean.clone();
        parts.put(name, content);
        places.push((kind, parts, "part"));
    };
    add("document-property", "docProps/custom.xml", format!("<Properties><p>{point}</p></Properties>"));
    add("document-property", "docProps/core.xml", format!("<p>{point}</p>"));
    add("custom-xml", "customXml/item1.xml", format!("<a>{point}</a>"));
    add("comment", "xl/comments1.xml", format!("<comments><t>{point}</t></comments>"));
    add("external-link", "xl/externalLinks/externalLink1.xml", format!("<l><v>{NORTH}</v> <v>{EAST}</v></l>"));
    add("cached-value", "xl/pivotCache/pivotCacheRecords1.xml", format!("<r><n v=\"{NORTH}\"/><n v=\"{EAST}\"/></r>"));
    add("embedded-object", "xl/embeddings/oleObject1.bin", format!("界址点 {point} {point}"));
    add("office-setting", "xl/calcChain.xml", format!("<c>{point}</c>"));
    let names =
        format!("<definedNames><definedName name=\"p\">{{{NORTH},{EAST}}}</definedName></definedNames></workbook>");
    let mut named = clean.clone();
    let book = String::from_utf8(unpacked_part(&clean, "xl/workbook.xml")).unwrap();
    named.put("xl/workbook.xml", book.replace("</workbook>", &names));
    places.push(("defined-name", named, "name"));
    let mut validated = clean.clone();
    let list =
        format!("<dataValidations><dataValidation><formula1>\"{point}\"</formula1></dataValidation></dataValidations>");
    validated.put("xl/worksheets/sheet1.xml", sheet(&houses_rows(&clean), &list));
    places.push(("", validated, "validation"));
    let mut unused = clean.clone();
    let shared = String::from_utf8(unpacked_part(&clean, "xl/sharedStrings.xml")).unwrap();
    unused.put("xl/sharedStrings.xml", shared.replace("</sst>", &format!("<si><t>{point}</t></si></sst>")));
    places.push(("", unused, "string that no cell shows"));
    for (kind, parts, what) in places {
        let (bytes, removed) = stripped("a.xlsx", &parts.zip());
        assert_eq!(cells(&bytes), before, "{kind} {what}");
        assert!(kind.is_empty() || number_of(&removed, kind) >= 1, "{kind} {what}: {removed:?}");
        let (names, all) = unpacked(&bytes);
        assert!(!contains(&all, NORTH) && !contains(&all, EAST), "{kind} {what}");
        assert!(names.iter().all(|name| !name.contains("docProps") && !name.contains("embeddings")), "{names:?}");
    }
}

fn unpacked_part(parts: &Parts, name: &str) -> Vec<u8> {
    let bytes = parts.zip();
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    let mut out = Vec::new();
    std::io::copy(&mut archive.by_name(name).unwrap(), &mut out).unwrap();
    out
}

fn houses_rows(parts: &Parts) -> String {
    let sheet = String::from_utf8(unpacked_part(parts, "xl/worksheets/sheet1.xml")).unwrap();
    let (_, rows) = sheet.split_once("<sheetData>").unwrap();
    rows.split_once("</sheetData>").unwrap().0.to_owned()
}

#[test]
fn a_formula_becomes_its_value_and_goes_with_the_corner_it_came_from() {
    let (bytes, removed) = stripped(
        "a.xlsx",
        &table(&[
            &["X坐标", "Y坐标", "面积", "合计"],
            &[NORTH, EAST, "112.38", "=C2+C3=210.58"],
            &["4563150.001", "40512270.500", "98.20", "=A2-A3=-37.65"],
            &["", "", "", "=D3*2=-75.31"],
            &["", "", "", "=Sheet2!A1=12.5"],
        ])
        .zip(),
    );
    let left: Vec<String> = cells(&bytes).into_iter().skip(2).map(|(_, _, _, value)| value).collect();
    assert_eq!(left, ["112.38", "210.58", "98.2"]);
    assert_eq!((number_of(&removed, "cell"), number_of(&removed, "formula")), (9, 4));
    assert!(!contains(&unpacked(&bytes).1, "<f>"));
}

#[test]
fn dates_keep_their_format() {
    let mut parts = table(&[&["日期"], &["46347"], &[&format!("界址点 {NORTH} {EAST}")]]);
    let main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
    parts.put("xl/styles.xml", format!("<styleSheet xmlns=\"{main}\"><numFmts count=\"1\"><numFmt numFmtId=\"164\" formatCode=\"yyyy-mm-dd\"/></numFmts><fonts count=\"1\"><font><sz val=\"11\"/></font></fonts><cellXfs count=\"2\"><xf numFmtId=\"0\"/><xf numFmtId=\"164\" applyNumberFormat=\"1\"/></cellXfs></styleSheet>"));
    let sheet = String::from_utf8(unpacked_part(&parts, "xl/worksheets/sheet1.xml")).unwrap();
    parts.put("xl/worksheets/sheet1.xml", sheet.replace("<c r=\"A2\">", "<c r=\"A2\" s=\"1\">"));
    let related = String::from_utf8(unpacked_part(&parts, "xl/_rels/workbook.xml.rels")).unwrap();
    let styles = "<Relationship Id=\"rIdT\" Type=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships/styles\" Target=\"styles.xml\"/></Relationships>";
    parts.put("xl/_rels/workbook.xml.rels", related.replace("</Relationships>", styles));
    let before = cells(&parts.zip());
    let (bytes, _) = stripped("a.xlsx", &parts.zip());
    assert_eq!(cells(&bytes), before.get(..2).unwrap());
    let mut book: Xlsx<_> = Xlsx::new(Cursor::new(bytes)).unwrap();
    let range = book.worksheet_range("Sheet1").unwrap();
    assert!(matches!(range.get((1, 0)), Some(Data::DateTime(_))), "{:?}", range.get((1, 0)));
}

#[test]
fn what_is_not_rebuilt_is_refused() {
    let bad: &[&[&str]] = &[&["J1", NORTH, EAST]];
    let mut macros = table(bad);
    macros.put("xl/vbaProject.bin", "Attribute VB_Name");
    refused("a.xlsx", &macros.zip(), Reason::Coordinates);
    let mut drawn = table(bad);
    let sheet = String::from_utf8(unpacked_part(&drawn, "xl/worksheets/sheet1.xml")).unwrap();
    drawn.put(
        "xl/worksheets/sheet1.xml",
        sheet.replace("</worksheet>", "<drawing xmlns:r=\"x\" r:id=\"rId1\"/></worksheet>"),
    );
    refused("a.xlsx", &drawn.zip(), Reason::Coordinates);
    let chart = format!("{}<w:p><w:r><w:pict/></w:r></w:p>", paragraph(&[&format!("{NORTH} {EAST}")]));
    refused("a.docx", &letter(&chart).zip(), Reason::Coordinates);
    let mut broken = table(bad);
    broken.put("xl/sharedStrings.xml", "<sst xmlns=\"http://schemas.openxmlformats.org/spreadsheetml/2006/main\"/>");
    refused("a.xlsx", &broken.zip(), Reason::Coordinates);
}

const LETTER: [&str; 3] =
    ["关于补正材料的说明", "建筑面积 112.38 平方米，套内面积 96.20 平方米。", "2026年11月21日 a < b & c"];

fn body() -> String {
    LETTER.iter().map(|line| paragraph(&[line])).collect()
}

#[test]
fn a_letter_loses_its_corners_however_they_are_cut_and_keeps_the_rest() {
    let (n, e) = (NORTH, EAST);
    for (what, bad) in [
        ("a sentence", paragraph(&[&format!("界址点 J1 {n} {e}")])),
        ("cut into runs", paragraph(&["界址点 45", "63112", ".347 405", "12233.118"])),
        ("below each other", paragraph(&[&format!("北坐标：{n}")]) + &paragraph(&[&format!("东坐标：{e}")])),
        ("a table", word_table(&[&["J1", n, e], &["J2", "4563150.001", "40512270.500"]])),
        ("full-width digits", paragraph(&["界址点 ４５６３１１２．３４７ ４０５１２２３３．１１８"])),
        ("degrees", paragraph(&["东经113度19分0.51秒，北纬23度7分55.53秒"])),
    ] {
        let (bytes, removed) = stripped("a.docx", &letter(&(body() + &bad)).zip());
        assert!(number_of(&removed, "paragraph") >= 1, "{what}");
        let Some(read) = paragraphs(&bytes) else { return };
        let left: Vec<&String> = read.iter().filter(|line| !matches!(line.as_str(), "J1" | "J2")).collect();
        assert_eq!(left, LETTER.iter().collect::<Vec<_>>(), "{what}");
    }
}

#[test]
fn whatever_hides_in_a_letter_goes_and_its_words_stay() {
    let point = format!("{NORTH} {EAST}");
    let hidden_run = |run: &str| format!("<w:p><w:r>{run}</w:r></w:p>");
    let mut places: Vec<(&str, Parts)> = vec![
        ("hidden-text", letter(&(body() + &hidden_run(&format!("<w:rPr><w:vanish/></w:rPr><w:t>{point}</w:t>"))))),
        (
            "tracked-change",
            letter(&(body() + &format!("<w:p><w:del><w:r><w:delText>{point}</w:delText></w:r></w:del></w:p>"))),
        ),
        ("field", letter(&(body() + &hidden_run(&format!("<w:instrText>DOCVARIABLE {point}</w:instrText>"))))),
        ("field", letter(&(body() + &format!("<w:p><w:fldSimple w:instr=\"{point}\"/></w:p>")))),
        (
            "",
            letter(
                &(body()
                    + &format!(
                        "<w:p w:rsidR=\"{point}\"/><w:sdt><w:sdtPr><w:tag w:val=\"{point}\"/></w:sdtPr><w:sdtContent/></w:sdt>"
                    )),
            ),
        ),
        ("", letter(&(body() + &format!("<!-- {point} --><?x {point}?>")))),
        ("embedded-object", letter(&(body() + &hidden_run(&format!("<w:object>{point}</w:object>"))))),
    ];
    for (kind, name) in [
        ("comment", "word/comments.xml"),
        ("custom-xml", "customXml/item1.xml"),
        ("document-property", "docProps/app.xml"),
        ("office-setting", "word/settings.xml"),
        ("office-setting", "word/glossary/document.xml"),
    ] {
        let mut parts = letter(&body());
        parts.put(name, format!("<a><t>{point}</t></a>"));
        places.push((kind, parts));
    }
    // What its type does not let come by itself does not come inside another either.
    let mut object = letter(&body());
    object.put("word/embeddings/package1.zip", tests::papers::zip_of(&[("a.shp", &tests::papers::shapefile())], false));
    refused("a.docx", &object.zip(), Reason::Coordinates);
    for (kind, parts) in places {
        let (bytes, removed) = stripped("a.docx", &parts.zip());
        assert!(kind.is_empty() || number_of(&removed, kind) >= 1, "{kind}: {removed:?}");
        assert!(!contains(&unpacked(&bytes).1, NORTH), "{kind}");
        if let Some(read) = paragraphs(&bytes) {
            assert_eq!(read, LETTER, "{kind}");
        }
    }
}

#[test]
fn headers_notes_and_pictures_come_along_and_are_stripped_too() {
    let picture = "<w:p><w:r><w:drawing><wp:inline xmlns:wp=\"http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing\"><wp:extent cx=\"900000\" cy=\"600000\"/><wp:docPr id=\"1\" name=\"p\" descr=\"界址 4563112.347 40512233.118\"/><a:graphic xmlns:a=\"http://schemas.openxmlformats.org/drawingml/2006/main\"><a:graphicData uri=\"http://schemas.openxmlformats.org/drawingml/2006/picture\"><pic:pic xmlns:pic=\"http://schemas.openxmlformats.org/drawingml/2006/picture\"><pic:blipFill><a:blip r:embed=\"rId7\"/></pic:blipFill></pic:pic></a:graphicData></a:graphic></wp:inline></w:drawing></w:r></w:p>";
    let section = "<w:sectPr><w:headerReference w:type=\"default\" r:id=\"rId5\"/><w:pgSz w:w=\"11906\" w:h=\"16838\"/></w:sectPr>";
    let mut parts = letter(&(body() + picture + section));
    parts.put(
        "word/header1.xml",
        story("hdr", &(paragraph(&["不动产登记中心"]) + &paragraph(&[&format!("{NORTH} {EAST}")]))),
    );
    parts.put(
        "word/footnotes.xml",
        story("footnotes", &format!("<w:footnote w:id=\"1\">{}</w:footnote>", paragraph(&["脚注"]))),
    );
    parts.put("word/media/image1.jpeg", tests::papers::photo_with_place());
    relate(
        &mut parts,
        "word/document.xml",
        &[
            ("rId5", "header", "header1.xml"),
            ("rId6", "footnotes", "footnotes.xml"),
            ("rId7", "image", "media/image1.jpeg"),
        ],
    );
    let (bytes, removed) = stripped("a.docx", &parts.zip());
    assert!(number_of(&removed, "image-re-encoded") == 1 && number_of(&removed, "paragraph") == 1, "{removed:?}");
    let (names, all) = unpacked(&bytes);
    assert!(names.iter().any(|name| name == "word/media/image1.jpeg") && !contains(&all, "Exif"), "{names:?}");
    let Some(read) = paragraphs(&bytes) else { return };
    assert_eq!(read, [&LETTER[..], &["脚注", "不动产登记中心"]].concat());
}

#[test]
fn a_signed_letter_or_workbook_is_never_rewritten() {
    let signature = "<Signature xmlns=\"http://www.w3.org/2000/09/xmldsig#\"><SignedInfo/><SignatureValue>AAAA</SignatureValue></Signature>";
    for (name, clean, mut bad) in [
        ("a.docx", letter(&body()), letter(&(body() + &paragraph(&[&format!("{NORTH} {EAST}")])))),
        ("a.xlsx", table(HOUSES), table(&[&["J1", NORTH, EAST]])),
    ] {
        for drop in ["", "signature = \"drop\""] {
            bad.put("_xmlsignatures/sig1.xml", signature);
            let fate_of_bad = fate(&outward(drop), name, &bad.zip());
            assert!(matches!(fate_of_bad, Fate::Refused(Reason::SignedNeedsReissue)), "{name} {drop}: {fate_of_bad:?}");
            let mut signed = clean.clone();
            signed.put("_xmlsignatures/sig1.xml", signature);
            assert!(matches!(fate(&outward(drop), name, &signed.zip()), Fate::AsItIs), "{name}");
        }
    }
    // The signature under another name is one all the same.
    let mut renamed = table(&[&["J1", NORTH, EAST]]);
    renamed.put("customXml/item9.xml", signature);
    refused("a.xlsx", &renamed.zip(), Reason::SignedNeedsReissue);
}

#[test]
fn a_picture_leaves_the_internal_zone_as_its_pixels_alone() {
    let rules = |crossing: &str| {
        let text = format!(
            "crossing = \"{crossing}\"\nversion = \"1\"\n[[type]]\nname = \"t\"\nkinds = [\"jpeg\", \"png\", \"bmp\"]\n"
        );
        guard::Rules::parse(&text).unwrap()
    };
    let outward = rules("intranet-extranet");
    let scan = tests::papers::scanned_page(7, 640, 480);
    let mut commented = scan[..2].to_vec();
    commented.extend_from_slice(b"\xFF\xFE\x00\x0Bremarks 1");
    commented.extend_from_slice(&scan[2..]);
    for (what, bytes) in
        [("clean", scan.clone()), ("with a remark", commented), ("with a place", tests::papers::photo_with_place())]
    {
        let Fate::Stripped(new, removed) = fate(&outward, "a.jpg", &bytes) else { panic!("{what}") };
        assert_eq!(removed, [("image-re-encoded".to_owned(), 1)], "{what}");
        assert!(!contains(&new, "Exif") && !contains(&new, "remark"), "{what}");
        assert!(new.ends_with(b"\xFF\xD9"));
    }
    assert!(matches!(fate(&rules("internet-extranet"), "a.jpg", &scan), Fate::AsItIs), "inward it stays as it was");
    let bmp = [&b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x02\0\0\0\x02\0\0\0\x01\0\x18\0\0\0\0\0\x10"[..], &[0; 35]]
        .concat();
    let kept = fate(&outward, "a.bmp", &bmp);
    assert!(matches!(kept, Fate::Refused(Reason::NotInspectable)), "{kept:?}");
}
