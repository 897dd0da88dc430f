//! Stories of parcels at a border: what crosses, what is stripped, what is refused, and that nothing hostile hurts.

use std::io::{Cursor, Write};

use guard::{DetectVerdict, FileFacts, Judgement, Moment, Parcel, Question, ReadSeek, Rules, detect, inspect};
use protocol::{Name, Reason, Suite, Verdict};

struct Drop {
    name: String,
    facts: Vec<FileFacts>,
    contents: Vec<Vec<u8>>,
}

impl Drop {
    fn of(name: &str, files: &[(&str, &[u8])]) -> Self {
        Drop {
            name: name.to_owned(),
            facts: files.iter().map(|(p, b)| FileFacts { path: (*p).to_owned(), size: b.len() as u64 }).collect(),
            contents: files.iter().map(|(_, b)| b.to_vec()).collect(),
        }
    }
}

impl Parcel for Drop {
    fn name(&self) -> &str {
        &self.name
    }
    fn files(&self) -> &[FileFacts] {
        &self.facts
    }
    fn open(&self, index: usize) -> std::io::Result<Box<dyn ReadSeek + '_>> {
        let bytes = self.contents.get(index).ok_or(std::io::ErrorKind::NotFound)?;
        Ok(Box::new(Cursor::new(bytes)))
    }
}

fn shipped(crossing: &str) -> Rules {
    let path = format!("{}/../config/rules/{crossing}.toml", env!("CARGO_MANIFEST_DIR"));
    Rules::parse(&std::fs::read_to_string(path).expect("shipped")).expect("loads")
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

/// The reason or verdict, as a word.
fn ask(rules: &Rules, types: &[&str], moment: Moment, stripped: bool, drop: Drop) -> String {
    let types: Vec<Name> = types.iter().map(|t| name(t)).collect();
    let question = Question { rules, suite: Suite::Std, moment, types: &types, stripped };
    match inspect(&question, drop) {
        Judgement::Released(released) => format!("{:?} {}", released.verdict(), released.parcel_type()),
        Judgement::Strip { files, .. } => format!("strip {}", files.len()),
        Judgement::Quarantine { reason, .. } => format!("quarantine {reason}"),
        Judgement::Refused { reason, .. } => format!("refused {reason}"),
    }
}

const CLEAN_MESSAGE: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Message><Head><BizMsgID>440106210123456789</BizMsgID></Head><Data><KTT_ZDJBXX ZDDM=\"440106024056GB81906\" DJ=\"5\" JG=\"7301721.5267\"/></Data></Message>";

fn message_with_points() -> String {
    CLEAN_MESSAGE.replace(
        "</Data>",
        "<KTT_GY_JZD JZDH=\"J1\" XZBZ=\"4851490.4193\" YZBZ=\"29546865.2760\"/><KTT_GY_JZD JZDH=\"J2\" XZBZ=\"4851357.6135\" YZBZ=\"29546783.9291\"/></Data>",
    )
}

#[test]
fn an_application_of_ordinary_files_crosses_inward() {
    let rules = shipped("internet-extranet");
    let drop = Drop::of(
        "case-17",
        &[("form.json", br#"{"ywh": "742751509445", "area": 48.55}"#), ("message.xml", CLEAN_MESSAGE.as_bytes())],
    );
    assert_eq!(ask(&rules, &["application"], Moment::Intake, false, drop), "Released application");
}

#[test]
fn digests_and_labels_come_with_the_release() {
    let rules = shipped("internet-extranet");
    let types = [name("application")];
    let question = Question { rules: &rules, suite: Suite::Gm, moment: Moment::Intake, types: &types, stripped: false };
    let form = br#"{"ywh": "742751509445"}"#;
    let Judgement::Released(released) = inspect(&question, Drop::of("case", &[("form.json", form)])) else {
        unreachable!("an ordinary form is released");
    };
    assert_eq!(released.digests(), [(form.len() as u64, protocol::tree::root_of(Suite::Gm, form))]);
    assert_eq!(released.labels(), [(name("business-number"), "742751509445".to_owned())]);
    assert_eq!(released.rules_version(), rules.version().as_str());
    assert_eq!(released.into_parcel().name(), "case");
}

#[test]
fn points_are_refused_on_every_crossing_that_lands_outside() {
    for (crossing, kind) in
        [("internet-extranet", "application"), ("extranet-internet", "progress"), ("extranet-extranet", "application")]
    {
        let message = message_with_points();
        let drop = Drop::of("m.xml", &[("m.xml", message.as_bytes())]);
        assert_eq!(ask(&shipped(crossing), &[kind], Moment::Intake, false, drop), "refused coordinates", "{crossing}");
    }
}

#[test]
fn coordinates_from_a_higher_zone_are_an_incident_at_admission() {
    let message = message_with_points();
    let drop = Drop::of("m.xml", &[("m.xml", message.as_bytes())]);
    let rules = shipped("intranet-extranet");
    assert_eq!(ask(&rules, &["review-result"], Moment::Admission, false, drop), "refused incident");
}

#[test]
fn a_review_result_is_stripped_and_then_crosses_as_stripped() {
    let rules = shipped("intranet-extranet");
    let types = [name("review-result")];
    let question =
        Question { rules: &rules, suite: Suite::Std, moment: Moment::Intake, types: &types, stripped: false };
    let message = message_with_points();
    let json =
        br#"{"ywh": "1", "shjg": "ok", "geometry": {"type": "Point", "coordinates": [113.3477760, 23.1395638]}}"#;
    let drop = Drop::of("r", &[("m.xml", message.as_bytes()), ("r.json", json)]);
    let Judgement::Strip { mut parcel, files } = inspect(&question, drop) else { unreachable!("it can be stripped") };
    assert_eq!(files.len(), 2);
    for file in files {
        assert!(!file.removed.is_empty());
        let facts = parcel.facts.get_mut(file.index).expect("an index of the parcel");
        facts.size = file.bytes.len() as u64;
        *parcel.contents.get_mut(file.index).expect("an index of the parcel") = file.bytes;
    }
    let again = Question { stripped: true, ..question };
    let Judgement::Released(released) = inspect(&again, parcel) else { unreachable!("stripped is clean") };
    assert_eq!(released.verdict(), Verdict::Stripped);
}

#[test]
fn what_a_route_carries_down_is_the_first_type_that_lists_all_of_it() {
    let rules = shipped("intranet-extranet");
    let types = ["review-result", "registration-message", "response-message", "table-export"];
    for (file, content, word) in [
        ("a.json", r#"{"ywh":"1","shjg":"合格","zdmj":"2846.50"}"#, "Released review-result"),
        ("a.json", r#"{"BizMsgID":"652901261121000002","SuccessFlag":"0"}"#, "Released response-message"),
        ("a.json", r#"{"ywh":"1","zb":"1"}"#, "refused schema-mismatch"),
        ("a.json", r#"{"ywh":"1","geometry":null,"ZDT":""}"#, "Released review-result"),
        ("a.xml", "<RespondMsg><BizMsgID>1</BizMsgID></RespondMsg>", "Released response-message"),
        ("a.xml", "<Message><Head/><Data><QLF_QL_DYAQ YWH=\"1\"/></Data></Message>", "Released registration-message"),
        ("a.xml", "<Message><Head/><Data><KTT_FW_H DJ=\"5\"/></Data></Message>", "refused schema-mismatch"),
        ("a.xml", "<Message><Head/><Data><ZBXX><A/></ZBXX></Data></Message>", "Released review-result"),
        ("a.xml", "<Message><Head/><Data><ZBXX><A>1</A></ZBXX></Data></Message>", "refused schema-mismatch"),
        ("a.csv", "宗地代码,用途\n652901001001GB00018,071\n", "Released table-export"),
        ("a.csv", "宗地代码,周长\n652901001001GB00018,71\n", "refused schema-mismatch"),
    ] {
        let drop = Drop::of(file, &[(file, content.as_bytes())]);
        assert_eq!(ask(&rules, &types, Moment::Intake, false, drop), word, "{content}");
    }
    let types = types.map(name);
    let question =
        Question { rules: &rules, suite: Suite::Std, moment: Moment::Intake, types: &types, stripped: false };
    let drop = Drop::of("a.csv", &[("a.csv", "宗地代码,周长\n1,2\n".as_bytes())]);
    let Judgement::Refused { findings, .. } = inspect(&question, drop) else { unreachable!("it is refused") };
    let told: Vec<_> = findings.iter().map(|f| (f.rule, f.at.as_str(), f.sample.as_str())).collect();
    assert_eq!(told, [("schema-mismatch", "a.csv (table-export)", "周长")], "what is not listed is named");
    // Of JSON the way there, of names alone; said once for all types that say the same.
    let drop = Drop::of("a.json", &[("a.json", r#"{"ywh":"1","zb":[4851490.419]}"#.as_bytes())]);
    let Judgement::Refused { findings, .. } = inspect(&question, drop) else { unreachable!("it is refused") };
    let told: Vec<_> = findings.iter().map(|f| (f.at.as_str(), f.sample.as_str())).collect();
    assert_eq!(told, [("a.json (review-result, response-message)", "/zb")]);
}

#[test]
fn a_name_in_an_archive_that_says_another_kind_is_evidence() {
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
    let plain = &b"a plain text of a few words"[..];
    let disagrees = |name: &str, content: &[u8]| {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        zip.start_file(name, zip::write::SimpleFileOptions::default()).expect("a member");
        zip.write_all(content).expect("it is written");
        let zip = zip.finish().expect("a zip").into_inner();
        let mail = format!(
            "From: a@b\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"x\"\n\n--x\n\
             Content-Type: application/octet-stream; name=\"{name}\"\nContent-Transfer-Encoding: 8bit\n\n{}\n--x--\n",
            String::from_utf8_lossy(content)
        );
        let told = |file: &str, bytes: &[u8]| detect(file, bytes).findings.iter().any(|f| f.rule == "name-disagrees");
        (told("a.zip", &zip), content == plain && told("a.eml", mail.as_bytes()))
    };
    assert_eq!(disagrees("a.pdf", plain), (true, true));
    assert_eq!(disagrees("a.jpg", png), (true, false));
    for good in ["a.txt", "a.csv", "a", "a.unheard-of", "读我.TXT"] {
        assert_eq!(disagrees(good, plain), (false, false), "{good}");
    }
}

#[test]
fn where_the_second_reader_sees_a_corner_the_strip_is_not_used() {
    // A pair to the decimetre, alone: the first reader calls it clean.
    let rest = "<Message><Head/><Data><a>4563112.3</a><b>40512233.1</b></Data></Message>";
    assert_eq!(detect("m.xml", rest.as_bytes()).verdict, DetectVerdict::Clean);
    let message = rest.replace("<Data>", "<Data><KTT_GY_JZD XZBZ=\"4851490.4193\" YZBZ=\"29546865.2760\"/>");
    let rules = shipped("intranet-extranet");
    let types = [name("review-result")];
    let question =
        Question { rules: &rules, suite: Suite::Std, moment: Moment::Intake, types: &types, stripped: false };
    match inspect(&question, Drop::of("m.xml", &[("m.xml", message.as_bytes())])) {
        Judgement::Refused { reason, findings, .. } => {
            assert_eq!(reason, Reason::Coordinates);
            assert_eq!(findings.first().map(|f| f.rule), Some("second-reader"));
        }
        _ => unreachable!("the readers disagree"),
    }
}

#[test]
fn what_was_stripped_once_is_not_stripped_again() {
    let message = message_with_points();
    let drop = Drop::of("m.xml", &[("m.xml", message.as_bytes())]);
    assert_eq!(
        ask(&shipped("intranet-extranet"), &["review-result"], Moment::Intake, true, drop),
        "refused coordinates"
    );
}

#[test]
fn a_signed_message_with_points_must_be_issued_anew() {
    let message = message_with_points().replace("</Data>", "</Data><Signature>AAAA</Signature>");
    let drop = Drop::of("m.xml", &[("m.xml", message.as_bytes())]);
    let rules = shipped("intranet-extranet");
    assert_eq!(ask(&rules, &["review-result"], Moment::Intake, false, drop), "refused signed-needs-reissue");
}

#[test]
fn an_archive_enters_the_internal_zone_uninspected_and_no_other() {
    let secret = b"Salted__\x01\x02\x03\x04";
    let inward = shipped("extranet-intranet");
    let drop = || Drop::of("a.bin", &[("a.bin", secret.as_slice())]);
    assert_eq!(ask(&inward, &["archive"], Moment::Intake, false, drop()), "Kept archive");
    assert_eq!(ask(&inward, &["application"], Moment::Intake, false, drop()), "refused not-inspectable");
    for outward in ["internet-extranet", "extranet-internet", "intranet-extranet", "extranet-extranet"] {
        assert_eq!(ask(&shipped(outward), &["archive"], Moment::Intake, false, drop()), "refused type-not-registered");
    }
}

#[test]
fn what_is_not_registered_does_not_cross() {
    let rules = shipped("internet-extranet");
    let page: &[u8] = b"<html><body>hello</body></html>";
    assert_eq!(
        ask(&rules, &["application"], Moment::Intake, false, Drop::of("p", &[("p.html", page)])),
        "refused kind-not-allowed"
    );
    assert_eq!(
        ask(&rules, &["unheard-of"], Moment::Intake, false, Drop::of("p", &[("p.html", page)])),
        "refused type-not-registered"
    );
    assert_eq!(
        ask(&rules, &["registration-message"], Moment::Intake, false, Drop::of("p.xml", &[("p.xml", b"<a><b/></a>")])),
        "refused schema-mismatch"
    );
    assert_eq!(
        ask(&rules, &["application"], Moment::Intake, false, Drop::of("p", &[("../p.txt", b"x")])),
        "refused bad-name"
    );
    assert_eq!(
        ask(&rules, &["application"], Moment::Intake, false, Drop::of("p", &[("p.pdf", b"{\"a\": 1}")])),
        "refused not-inspectable"
    );
}

#[test]
fn coordinates_in_a_name_are_coordinates() {
    let rules = shipped("internet-extranet");
    let drop = Drop::of("case", &[("4851490.419_29546865.276.txt", b"hello")]);
    assert_eq!(ask(&rules, &["application"], Moment::Intake, false, drop), "refused coordinates");
    let drop = Drop::of("113.3477760,23.1395638", &[("a.txt", b"hello")]);
    assert_eq!(ask(&rules, &["application"], Moment::Intake, false, drop), "refused coordinates");
}

/// Shipped rules, type "application" and "video": refuse and strip make no difference to a citizen's photo.
#[test]
fn where_a_citizen_stood_is_cut_at_the_intake_and_nothing_else_changes() {
    let rules = shipped("internet-extranet");
    let exif = b"II*\0\x08\0\0\0\x01\0\x25\x88\x04\0\x01\0\0\0\x1a\0\0\0\0\0\0\0\x01\0\x02\0\x05\0\x03\0\0\0\x2c\0\0\0\0\0\0\0\x17\0\0\0\x01\0\0\0\x08\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\0\0";
    let boxed = |kind: &[u8; 4], body: &[u8]| {
        [&u32::try_from(body.len() + 8).expect("small").to_be_bytes()[..], kind, body].concat()
    };
    let size = u16::try_from(exif.len() + 8).expect("small").to_be_bytes();
    let scan = b"\xFF\xDA\x00\x02\x01\x02\x03\xFF\xD9";
    let jpeg = [&b"\xFF\xD8\xFF\xE1"[..], &size, b"Exif\0\0", exif, scan].concat();
    let heic = [boxed(b"ftyp", b"heic\0\0\0\0"), boxed(b"mdat", &[&exif[..], &[9; 40]].concat())].concat();
    let place = boxed(b"udta", &boxed(b"\xA9xyz", b"\0\x0c\0\0+23.1+113.3/"));
    let film = [boxed(b"ftyp", b"qt  \0\0\0\0"), boxed(b"moov", &place), boxed(b"mdat", &[7; 99])].concat();
    for (file, bytes, parcel_type, pixels) in [
        ("现场照片.jpg", &jpeg, "application", &scan[..]),
        ("现场照片.heic", &heic, "application", &[9; 40][..]),
        ("现场照片.heic", &heic, "photo", &[9; 40][..]),
        ("视频双录.mov", &film, "video", &[7; 99][..]),
    ] {
        let types = [name(parcel_type)];
        let question =
            Question { rules: &rules, suite: Suite::Std, moment: Moment::Intake, types: &types, stripped: false };
        let Judgement::Strip { files, .. } = inspect(&question, Drop::of(file, &[(file, bytes)])) else {
            unreachable!("{file} tells where it was made, and nothing else")
        };
        let [cut] = files.as_slice() else { unreachable!("one file") };
        assert!(cut.bytes.ends_with(pixels), "{file}: not a byte of what is shown has changed");
        assert!(cut.removed.iter().any(|(_, times)| *times > 0), "{file}");
        assert_eq!(detect(file, &cut.bytes).verdict, DetectVerdict::Clean, "{file}");
        let again = Drop::of(file, &[(file, &cut.bytes)]);
        assert_eq!(ask(&rules, &[parcel_type], Moment::Intake, true, again), format!("Stripped {parcel_type}"));
        let uncut = Drop::of(file, &[(file, bytes)]);
        assert_eq!(ask(&rules, &[parcel_type], Moment::Admission, false, uncut), "refused coordinates", "{file}");
    }
}

#[test]
fn a_file_that_changes_while_it_is_read_is_refused() {
    let mut drop = Drop::of("case", &[("a.txt", b"hello")]);
    drop.facts[0].size = 3;
    assert_eq!(
        ask(&shipped("internet-extranet"), &["application"], Moment::Intake, false, drop),
        format!("refused {}", Reason::Changed)
    );
}

// Detection in depth. Everything below is built here; no file of anybody else stands in this project.

const POINTS: &str =
    "1,J1,5066306.570,42550639.538,26.30\n2,J2,5066268.616,42550627.972,50.96\n3,J3,5066256.538,42550634.383,51.29\n";

/// A ZIP archive with deflated members.
fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut out, mut central) = (Vec::new(), Vec::new());
    for (name, content) in files {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).expect("into memory");
        let packed = encoder.finish().expect("into memory");
        let mut crc = flate2::Crc::new();
        crc.update(content);
        let word = |n: usize| u32::try_from(n).expect("small").to_le_bytes();
        let mut shared = vec![20, 0, 0, 0, 8, 0, 0, 0, 0, 0];
        shared.extend_from_slice(&crc.sum().to_le_bytes());
        shared.extend_from_slice(&word(packed.len()));
        shared.extend_from_slice(&word(content.len()));
        shared.extend_from_slice(&u16::try_from(name.len()).expect("small").to_le_bytes());
        shared.extend_from_slice(&[0, 0]);
        central.extend_from_slice(b"PK\x01\x02\x14\0");
        central.extend_from_slice(&shared);
        central.extend_from_slice(&[0; 10]);
        central.extend_from_slice(&word(out.len()));
        central.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"PK\x03\x04");
        out.extend_from_slice(&shared);
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(&packed);
    }
    let directory = u32::try_from(out.len()).expect("small");
    let count = u16::try_from(files.len()).expect("small").to_le_bytes();
    out.extend_from_slice(&central);
    out.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    out.extend_from_slice(&count);
    out.extend_from_slice(&count);
    out.extend_from_slice(&u32::try_from(central.len()).expect("small").to_le_bytes());
    out.extend_from_slice(&directory.to_le_bytes());
    out.extend_from_slice(&[0, 0]);
    out
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).expect("into memory");
    encoder.finish().expect("into memory")
}

fn docx(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut all: Vec<(&str, &[u8])> = vec![("[Content_Types].xml", b"<Types/>")];
    all.extend_from_slice(members);
    zip(&all)
}

fn verdict(name: &str, bytes: &[u8]) -> DetectVerdict {
    detect(name, bytes).verdict
}

#[test]
fn a_point_hidden_in_a_zip_in_a_docx_is_found() {
    let inner = zip(&[("readme", POINTS.as_bytes())]);
    let document = docx(&[("word/document.xml", b"<d><t>hello</t></d>"), ("word/embeddings/x.bin", &inner)]);
    let detection = detect("letter.docx", &document);
    assert_eq!(detection.verdict, DetectVerdict::Coordinates);
    assert!(detection.findings.iter().any(|f| f.at.contains("word/embeddings/x.bin!readme")));
    assert!(detection.findings.iter().all(|f| !f.sample.contains("42550639")));
}

#[test]
fn a_local_grid_in_a_workbook_is_known_by_its_shared_header() {
    let strings = "<sst><si><t>点号</t></si><si><t>X</t></si><si><t>Y</t></si><si><t>面积</t></si></sst>";
    let sheet = |header: [u8; 3]| {
        let cells = |row: usize, values: [&str; 3]| {
            let cell = |(n, value): (usize, &str)| format!("<c r=\"{}{row}\"><v>{value}</v></c>", ["A", "B", "D"][n]);
            format!("<row r=\"{row}\">{}</row>", values.into_iter().enumerate().map(cell).collect::<String>())
        };
        let head = format!(
            "<row r=\"1\"><c r=\"A1\" t=\"s\"><v>{}</v></c><c r=\"B1\" t=\"s\"><v>{}</v></c><c r=\"D1\" t=\"s\"><v>{}</v></c></row>",
            header[0], header[1], header[2]
        );
        let rows = [["1", "34512.417", "51203.882"], ["2", "34498.12", "51233.004"], ["3", "34477.871", "51228.69"]];
        let rows: String = rows.into_iter().enumerate().map(|(n, row)| cells(n + 2, row)).collect();
        format!("<worksheet><sheetData>{head}{rows}</sheetData></worksheet>")
    };
    let book = |header| {
        let sheet = sheet(header);
        docx(&[
            ("xl/workbook.xml", b"<workbook/>"),
            ("xl/sharedStrings.xml", strings.as_bytes()),
            ("xl/worksheets/sheet1.xml", sheet.as_bytes()),
        ])
    };
    assert_eq!(verdict("a.xlsx", &book([0, 1, 2])), DetectVerdict::Coordinates);
    assert_eq!(verdict("a.xlsx", &book([0, 1, 3])), DetectVerdict::Clean);
    assert_eq!(verdict("a.xlsx", &book([9, 8, 7])), DetectVerdict::Clean);
}

#[test]
fn a_letter_without_points_is_clean() {
    let document = docx(&[("word/document.xml", "<d><t>面积 120.35 平方米，价格 3,580,000.00 元</t></d>".as_bytes())]);
    assert_eq!(verdict("letter.docx", &document), DetectVerdict::Clean);
}

#[test]
fn digits_in_runs_of_their_own_are_read_together() {
    let runs: String = "5066306.570 42550639.538".chars().map(|c| format!("<w:r><w:t>{c}</w:t></w:r>")).collect();
    let body = format!("<w:p xmlns:w=\"w\">{runs}</w:p>");
    assert_eq!(verdict("a.docx", &docx(&[("word/document.xml", body.as_bytes())])), DetectVerdict::Coordinates);
}

#[test]
fn points_are_found_in_gzip_tar_and_every_encoding() {
    assert_eq!(verdict("a.gz", &gzip(POINTS.as_bytes())), DetectVerdict::Coordinates);
    let utf16: Vec<u8> = [0xFEFF].into_iter().chain(POINTS.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    assert_eq!(verdict("a.txt", &utf16), DetectVerdict::Coordinates);
    let wide: String = POINTS
        .chars()
        .map(|c| char::from_u32(u32::from(c) + 0xfee0).filter(|_| c.is_ascii_graphic()).unwrap_or(c))
        .collect();
    assert_eq!(verdict("a.txt", wide.as_bytes()), DetectVerdict::Coordinates);
    let escaped: String = POINTS.chars().map(|c| format!("&#{};", u32::from(c))).collect();
    assert_eq!(verdict("a.xml", format!("<a>{escaped}</a>").as_bytes()), DetectVerdict::Coordinates);
}

#[test]
fn what_cannot_be_read_is_not_clean() {
    let mut locked = zip(&[("a.txt", b"hello hello hello")]);
    locked[6] |= 1;
    let central = locked.windows(4).position(|w| w == b"PK\x01\x02").expect("a directory");
    locked[central + 8] |= 1;
    assert_eq!(verdict("a.zip", &locked), DetectVerdict::Uninspectable);
    let good = zip(&[("a.txt", b"hello")]);
    let mut leading = b"MZ......".to_vec();
    leading.extend_from_slice(&good);
    let mut trailing = good.clone();
    trailing.extend_from_slice(b"more");
    for (name, bytes) in
        [("lead.zip", &leading), ("trail.zip", &trailing), ("cut.zip", &good[..good.len() - 9].to_vec())]
    {
        assert_eq!(verdict(name, bytes), DetectVerdict::Uninspectable, "{name}");
    }
    for magic in [
        &b"7z\xBC\xAF\x27\x1Cxxxx"[..],
        b"Rar!\x1A\x07\x01\0",
        b"BZh91AY&SY",
        b"\xFD7zXZ\0\0",
        b"-----BEGIN PGP MESSAGE-----",
    ] {
        assert_eq!(verdict("a", magic), DetectVerdict::Uninspectable);
    }
    assert_eq!(verdict("a.pdf", b"%PDF-1.4\n1 0 obj<</Encrypt 2 0 R>>endobj\n%%EOF"), DetectVerdict::Uninspectable);
}

#[test]
fn a_name_that_differs_between_the_two_directories_is_not_inspectable() {
    let mut bytes = zip(&[("a.txt", b"hello")]);
    bytes[30] = b'b';
    assert_eq!(verdict("a.zip", &bytes), DetectVerdict::Uninspectable);
}

#[test]
fn a_zip_bomb_is_refused_quickly() {
    let zeros = vec![0_u8; 32 << 20];
    let bomb = zip(&[("0", &zeros), ("1", &zeros), ("2", &zeros)]);
    let start = std::time::Instant::now();
    assert_eq!(verdict("bomb.zip", &bomb), DetectVerdict::Uninspectable);
    assert_eq!(verdict("bomb.gz", &gzip(&zeros)), DetectVerdict::Uninspectable);
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

#[test]
fn a_thousand_nested_archives_end_at_the_bound() {
    let mut nest = POINTS.as_bytes().to_vec();
    for _ in 0..1_000 {
        // Stored, as compressing what is compressed grows by an eighth each time.
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
        encoder.write_all(&nest).expect("into memory");
        nest = encoder.finish().expect("into memory");
    }
    assert_eq!(verdict("a.gz", &nest), DetectVerdict::Uninspectable);
    let deep = "[".repeat(100_000);
    let _ = verdict("a.json", deep.as_bytes());
    let deep = "<a>".repeat(100_000);
    assert_eq!(verdict("a.xml", format!("<?xml version=\"1.0\"?>{deep}").as_bytes()), DetectVerdict::Uninspectable);
}

/// A generator that gives the same bytes every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % sides.max(1)
    }
}

fn fixtures() -> Vec<(&'static str, Vec<u8>)> {
    let tiff = b"II*\0\x08\0\0\0\x01\0\x25\x88\x04\0\x01\0\0\0\x1a\0\0\0\0\0\0\0\x01\0\x02\0\x05\0\x03\0\0\0\x2c\0\0\0\0\0\0\0\x17\0\0\0\x01\0\0\0\x08\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\0\0".to_vec();
    let mut jpeg = b"\xFF\xD8\xFF\xE1".to_vec();
    jpeg.extend_from_slice(&u16::try_from(tiff.len() + 8).expect("small").to_be_bytes());
    jpeg.extend_from_slice(b"Exif\0\0");
    jpeg.extend_from_slice(&tiff);
    jpeg.extend_from_slice(b"\xFF\xDA\x00\x02\x01\x02\x03\xFF\xD9");
    let mut flate = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    flate.write_all(b"BT (5066306.570 42550639.538) Tj ET").expect("into memory");
    let page = flate.finish().expect("into memory");
    let mut pdf = format!("%PDF-1.4\n1 0 obj<</Filter/FlateDecode/Length {}>>\nstream\n", page.len()).into_bytes();
    pdf.extend_from_slice(&page);
    pdf.extend_from_slice(b"\nendstream endobj\ntrailer<<>>\nstartxref\n0\n%%EOF");
    let mut wkb = vec![1, 2, 0, 0, 0, 2, 0, 0, 0];
    for value in [113.34_f64, 23.13, 113.35, 23.14] {
        wkb.extend_from_slice(&value.to_le_bytes());
    }
    let mut film = b"\0\0\0\x10ftypqt  \0\0\0\0\0\0\0\x28moov\0\0\0\x20udta\0\0\0\x18\xA9xyz".to_vec();
    film.extend_from_slice(b"\0\x0c\0\0+23.1+113.3/");
    vec![
        ("a.zip", zip(&[("a.csv", POINTS.as_bytes())])),
        ("a.gz", gzip(POINTS.as_bytes())),
        ("a.xml", message_with_points().into_bytes()),
        ("a.json", br#"{"type":"Point","coordinates":[113.3477760, 23.1395638]}"#.to_vec()),
        ("a.csv", POINTS.as_bytes().to_vec()),
        ("a.tif", tiff),
        ("a.jpg", jpeg),
        ("a.pdf", pdf),
        ("a.wkb", wkb),
        ("a.mov", film),
        ("a.eml", b"From: a@b\r\nTo: c@d\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=31=31=33.3477760, 23.1395638\r\n".to_vec()),
        ("a.rtf", b"{\\rtf1 5066306.5{\\b 70} 42550639.538\\par}".to_vec()),
    ]
}

#[test]
fn every_fixture_is_found() {
    for (name, bytes) in fixtures() {
        assert_eq!(verdict(name, &bytes), DetectVerdict::Coordinates, "{name}");
    }
}

#[test]
fn mutated_and_truncated_files_never_panic_and_never_grow_without_bound() {
    let mut dice = Dice(20_261_121);
    let fixtures = fixtures();
    for (name, bytes) in &fixtures {
        for cut in 0..bytes.len().min(600) {
            assert!(detect(name, &bytes[..cut]).findings.len() <= 200);
        }
    }
    let start = std::time::Instant::now();
    while start.elapsed().as_millis() < 1_000 {
        let (name, bytes) = &fixtures[dice.roll(fixtures.len())];
        let mut bytes = bytes.clone();
        for _ in 0..=dice.roll(6) {
            let at = dice.roll(bytes.len());
            match dice.roll(4) {
                0 => bytes[at] = u8::try_from(dice.roll(256)).expect("a byte"),
                1 => bytes[at] = [0, 0xFF, 0x7F, 0x80][dice.roll(4)],
                2 => bytes.truncate(at + 1),
                _ => bytes.insert(at, u8::try_from(dice.roll(256)).expect("a byte")),
            }
        }
        let detection = detect(name, &bytes);
        assert!(detection.findings.len() <= 200);
        assert!(detection.findings.iter().all(|f| f.rule != "parser-failed"), "{name}");
    }
}

#[test]
fn a_json_file_keeps_to_the_schema_of_its_type_or_the_parcel_is_refused() {
    let schema = r#"{"type": "object", "required": ["ywh"], "additionalProperties": false, "properties":
        {"ywh": {"type": "string", "pattern": "^[0-9-]{1,20}$"}, "state": {"enum": ["办结", "在办"]}}}"#;
    let rules = Rules::parse(&format!(
        "crossing = \"intranet-extranet\"\nversion = \"1\"\n[[type]]\nname = \"t\"\nkinds = [\"json\", \"xml\"]\n\
         files_max = 2\njson_schema = '''{schema}'''\n"
    ))
    .expect("it loads");
    let judged = |files: &[(&str, &[u8])]| ask(&rules, &["t"], Moment::Intake, false, Drop::of("case", files));
    let good = r#"{"ywh": "2026-11", "state": "办结"}"#.as_bytes();
    assert_eq!(judged(&[("a.json", good)]), "Released t");
    assert_eq!(judged(&[("a.json", good), ("b.xml", b"<m/>")]), "Released t");
    for bad in [
        r#"{"state": "办结"}"#,
        r#"{"ywh": "2026-11", "note": ""}"#,
        r#"{"ywh": "2026-11", "ywh": "2026-12"}"#,
        r#"{"ywh": 2026}"#,
        r#"{"ywh": "十一"}"#,
        "[]",
    ] {
        assert_eq!(judged(&[("a.json", bad.as_bytes())]), "refused schema-mismatch", "{bad}");
        assert_eq!(judged(&[("a.json", good), ("b.json", bad.as_bytes())]), "refused schema-mismatch", "{bad}");
    }
}

/// A letter with these paragraphs and these parts beside it.
fn letter(paragraphs: &[&str], more: &[(&str, &str)]) -> Vec<u8> {
    let body: String = paragraphs.iter().map(|text| format!("<w:p><w:r><w:t>{text}</w:t></w:r></w:p>")).collect();
    let word = "http://schemas.openxmlformats.org/wordprocessingml/2006/main";
    let document = format!("<w:document xmlns:w=\"{word}\"><w:body>{body}</w:body></w:document>");
    let mut out = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in [("[Content_Types].xml", "<Types/>"), ("word/document.xml", &document)].iter().chain(more) {
        out.start_file(*name, zip::write::SimpleFileOptions::default()).expect("memory takes it");
        out.write_all(text.as_bytes()).expect("memory takes it");
    }
    out.finish().expect("memory takes it").into_inner()
}

fn outward(kinds: &str, more: &str) -> Rules {
    let text =
        format!("crossing = \"intranet-extranet\"\nversion = \"1\"\n[[type]]\nname = \"t\"\nkinds = {kinds}\n{more}\n");
    Rules::parse(&text).expect("loads")
}

#[test]
fn both_readers_agree_to_a_letter_that_lost_its_corner() {
    let rules = outward("[\"docx\"]", "on_coordinates = \"strip\"");
    let bad = letter(
        &["Area 112.38", "J1 4563112.347 40512233.118"],
        &[("customXml/item1.xml", "<a>4563112.347 40512233.118</a>")],
    );
    let types = [name("t")];
    let question =
        Question { rules: &rules, suite: Suite::Std, moment: Moment::Intake, types: &types, stripped: false };
    match inspect(&question, Drop::of("a.docx", &[("a.docx", &bad)])) {
        Judgement::Strip { files, .. } => {
            let file = files.first().expect("one file");
            for (what, count) in [("paragraph", 1), ("custom-xml", 1), ("rebuilt", 1)] {
                assert!(file.removed.contains(&(what.to_owned(), count)), "{:?}", file.removed);
            }
            assert_eq!(detect("a.docx", &file.bytes).verdict, DetectVerdict::Clean);
        }
        Judgement::Refused { findings, .. } => {
            unreachable!("{:?}", findings.iter().map(|f| f.rule).collect::<Vec<_>>())
        }
        _ => unreachable!("it is stripped"),
    }
}

#[test]
fn a_signed_letter_or_pdf_is_never_rewritten() {
    let rules = outward("[\"docx\", \"pdf\"]", "on_coordinates = \"strip\"\nsignature = \"drop\"");
    let signature = [("_xmlsignatures/sig1.xml", "<Signature><SignatureValue>AAAA</SignatureValue></Signature>")];
    let ask = |name: &str, bytes: &[u8]| ask(&rules, &["t"], Moment::Intake, false, Drop::of(name, &[(name, bytes)]));
    assert_eq!(ask("a.docx", &letter(&["J1 4563112.347 40512233.118"], &signature)), "refused signed-needs-reissue");
    assert_eq!(ask("a.docx", &letter(&["Area 112.38"], &signature)), "Released t");
    let pdf = |text: &str| {
        format!(
            "%PDF-1.4\n1 0 obj\n<</Type/Sig/ByteRange[0 1 2 3]/Reason({text})>>\nendobj\ntrailer\n<</Root 1 0 R>>\n%%EOF\n"
        )
    };
    assert_eq!(ask("a.pdf", pdf("J1 4563112.347 40512233.118").as_bytes()), "refused signed-needs-reissue");
}

#[test]
fn a_signature_goes_only_where_the_type_says_so_and_is_counted() {
    let message =
        message_with_points().replace("</Data>", "</Data><Signature><SignatureValue>A</SignatureValue></Signature>");
    let ask_by = |more: &str| {
        let rules = outward("[\"xml\"]", &format!("on_coordinates = \"strip\"\n{more}"));
        let types = [name("t")];
        let question =
            Question { rules: &rules, suite: Suite::Std, moment: Moment::Intake, types: &types, stripped: false };
        match inspect(&question, Drop::of("m.xml", &[("m.xml", message.as_bytes())])) {
            Judgement::Strip { files, .. } => Ok(files),
            Judgement::Refused { reason, .. } => Err(reason),
            _ => unreachable!("neither held nor released"),
        }
    };
    for more in ["", "signature = \"refuse\""] {
        assert_eq!(ask_by(more), Err(Reason::SignedNeedsReissue));
    }
    let files = ask_by("signature = \"drop\"").expect("the type says so");
    let file = files.first().expect("one file");
    assert!(file.removed.contains(&("signature".to_owned(), 1)), "{:?}", file.removed);
    assert!(!String::from_utf8_lossy(&file.bytes).contains("Signature"));
}

#[test]
fn a_picture_leaves_the_internal_zone_painted_anew_whatever_its_type_says() {
    let mut picture = Vec::new();
    let pixels: Vec<u8> = (0..64 * 64_u32).map(|n| u8::try_from(n / 64 * 3).expect("small")).collect();
    jpeg_encoder::Encoder::new(&mut picture, 95)
        .encode(&pixels, 64, 64, jpeg_encoder::ColorType::Luma)
        .expect("memory takes it");
    let remark = [&picture[..2], b"\xFF\xFE\x00\x0Bremarks 1", &picture[2..]].concat();
    let rules = outward("[\"jpeg\", \"gif\"]", "");
    let types = [name("t")];
    let question =
        Question { rules: &rules, suite: Suite::Std, moment: Moment::Intake, types: &types, stripped: false };
    let Judgement::Strip { files, .. } = inspect(&question, Drop::of("a.jpg", &[("a.jpg", &remark)])) else {
        unreachable!("it is painted anew")
    };
    let file = files.first().expect("one file");
    assert_eq!(file.removed, [("image-re-encoded".to_owned(), 1)]);
    assert!(!file.bytes.windows(6).any(|w| w == b"remark") && file.bytes.ends_with(b"\xFF\xD9"));
    let again = ask(&rules, &["t"], Moment::Intake, true, Drop::of("a.jpg", &[("a.jpg", &file.bytes)]));
    assert_eq!(again, "Stripped t");
    let gif = b"GIF89a\x01\0\x01\0\0\0\0;";
    assert_eq!(
        ask(&rules, &["t"], Moment::Intake, false, Drop::of("a.gif", &[("a.gif", gif)])),
        "refused not-inspectable"
    );
}

/// In a message a picture would leave as it was made; as a file of its own it is painted anew.
#[test]
fn a_picture_in_the_letters_of_a_message_comes_in_and_does_not_leave_unless_it_is_signed() {
    let gray: Vec<u8> = (0..64 * 64_u32).map(|n| u8::try_from(n / 64 * 3).expect("small")).collect();
    let mut picture = Vec::new();
    jpeg_encoder::Encoder::new(&mut picture, 95)
        .encode(&gray, 64, 64, jpeg_encoder::ColorType::Luma)
        .expect("memory takes it");
    let letters: String = picture.iter().map(|b| format!("{b:02x}")).collect();
    let json = format!("{{\"ywh\":\"2026-1\",\"fj\":\"{letters}\"}}");
    let xml = format!("<Message><FJNR>{letters}</FJNR></Message>");
    let signed = format!("<Message><FJNR>{letters}</FJNR><Signature/></Message>");
    let kinds = "[[type]]\nname = \"t\"\nkinds = [\"json\", \"xml\", \"csv\"]\n";
    let by = |crossing: &str, file: &str, content: &str| {
        let rules = Rules::parse(&format!("crossing = \"{crossing}\"\nversion = \"1\"\n{kinds}")).expect("it loads");
        ask(&rules, &["t"], Moment::Intake, false, Drop::of(file, &[(file, content.as_bytes())]))
    };
    for (file, content) in [("a.json", json.as_str()), ("a.xml", &xml)] {
        assert_eq!(by("intranet-extranet", file, content), "refused not-inspectable", "{file}");
        assert_eq!(by("internet-extranet", file, content), "Released t", "{file}");
        let without = content.replace(&letters, "");
        assert_eq!(by("intranet-extranet", file, &without), "Released t", "{file}");
    }
    assert_eq!(by("intranet-extranet", "a.xml", &signed), "Released t", "what is signed goes as it is");
}

#[test]
fn a_citys_window_stops_what_only_its_office_can_know_and_switches_nothing_off() {
    let with = |window: &str| {
        let head = "crossing = \"intranet-extranet\"\nversion = \"1\"\n";
        let kinds = "[[type]]\nname = \"t\"\nkinds = [\"csv\", \"txt\"]\n";
        Rules::parse(&format!("{head}{kinds}{window}")).expect("it loads")
    };
    let window = "[[window]]\nname = \"a city\"\nnorth = [20000, 60000]\neast = [60000, 99000]\n";
    let judged = |rules: &Rules, content: &str| {
        ask(rules, &["t"], Moment::Intake, false, Drop::of("a.csv", &[("a.csv", content.as_bytes())]))
    };
    let local = "a;34512.417;71203.882\nb;51498.102;88210.455\n";
    assert_eq!(judged(&with(""), local), "Released t", "nobody else could know");
    assert_eq!(judged(&with(window), local), "refused coordinates");
    let zipped = Drop::of("34512.417_71203.882_51498.102_88210.455.csv", &[("a.csv", b"1")]);
    assert_eq!(ask(&with(window), &["t"], Moment::Intake, false, zipped), "refused coordinates", "names are content");
    let ring = "POLYGON((113.34 23.13,113.35 23.13,113.35 23.14,113.34 23.13))";
    for point in ["XZB=4851490.4193 YZB=29546865.2760", ring] {
        for rules in [with(""), with(window), with(&window.replace("99000", "60001"))] {
            assert_eq!(judged(&rules, point), "refused coordinates", "{point}");
        }
    }
}

#[test]
fn what_may_not_come_by_itself_does_not_come_in_a_box() {
    let rules = |kinds: &str| {
        let head = "crossing = \"internet-extranet\"\nversion = \"1\"\n[[type]]\nname = \"t\"\n";
        Rules::parse(&format!("{head}kinds = [{kinds}]\n")).expect("it loads")
    };
    let judged = |kinds: &str, name: &str, bytes: &[u8]| {
        ask(&rules(kinds), &["t"], Moment::Intake, false, Drop::of(name, &[(name, bytes)]))
    };
    let page: &[u8] = b"<html><body>words</body></html>";
    let inner = zip(&[("a.txt", b"words of an office"), ("b.html", page)]);
    let outer = zip(&[("a.txt", b"words of an office"), ("inner.zip", &inner)]);
    assert_eq!(judged("\"zip\", \"txt\", \"html\"", "a.zip", &inner), "Released t");
    assert_eq!(judged("\"zip\", \"txt\", \"html\"", "a.zip", &outer), "Released t");
    for (bytes, what) in [(&inner, "a page"), (&outer, "a page in a box in a box")] {
        assert_eq!(judged("\"zip\", \"txt\"", "a.zip", bytes), "refused kind-not-allowed", "{what}");
    }
    let twice = zip(&[("1.zip", &inner), ("2.zip", &inner)]);
    assert_eq!(judged("\"zip\", \"txt\"", "a.zip", &twice), "refused kind-not-allowed");
    let mail = b"From: a@b.cn\r\nTo: c@d.cn\r\nSubject: x\r\nMIME-Version: 1.0\r\n\
        Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nwords\r\n--b\r\n\
        Content-Type: application/json\r\nContent-Transfer-Encoding: base64\r\n\r\neyJhIjogMSwgImIiOiAid29yZHMgb2YgYW4gb2ZmaWNlIn0=\r\n--b--\r\n";
    assert_eq!(judged("\"eml\", \"json\"", "a.eml", mail), "Released t");
    assert_eq!(judged("\"eml\"", "a.eml", mail), "refused kind-not-allowed");
}

/// A compound file with one stream.
fn compound(name: &str, content: &[u8]) -> Vec<u8> {
    const SECTOR: usize = 512;
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let sectors = u32::try_from(content.len().div_ceil(SECTOR)).expect("small");
    // Sector 0 is the table, 1 the directory, and the stream goes from 2 on.
    let mut table = vec![0xFFFF_FFFD, 0xFFFF_FFFE];
    table.extend((2..2 + sectors).map(|n| if n == 1 + sectors { 0xFFFF_FFFE } else { n + 1 }));
    table.resize(SECTOR / 4, 0xFFFF_FFFF);
    let entry = |name: &str, kind: u8, start: u32, size: usize| {
        let mut entry: Vec<u8> = name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
        let name_bytes = u8::try_from(entry.len()).expect("short");
        entry.resize(128, 0);
        (entry[64], entry[66]) = (name_bytes, kind);
        entry[116..120].copy_from_slice(&start.to_le_bytes());
        entry[120..124].copy_from_slice(&u32::try_from(size).expect("small").to_le_bytes());
        entry
    };
    let mut file = b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1".to_vec();
    file.resize(30, 0);
    file.extend([9, 0, 6, 0]);
    file.resize(44, 0);
    // One sector of table; the directory at 1; nothing is small; no lists beyond the header's own.
    file.extend(words(&[1, 1, 0, 0, 0xFFFF_FFFE, 0, 0xFFFF_FFFE, 0, 0]));
    file.resize(SECTOR, 0xFF);
    file.extend(words(&table));
    file.extend(entry("Root Entry", 5, 0xFFFF_FFFE, 0));
    file.extend(entry(name, 2, 2, content.len()));
    file.resize(3 * SECTOR, 0);
    file.extend_from_slice(content);
    file.resize(file.len().next_multiple_of(SECTOR), 0);
    file
}

/// A file as somebody drops it into a document.
fn dropped(name: &str, content: &[u8]) -> Vec<u8> {
    let size = u32::try_from(content.len()).expect("small").to_le_bytes();
    let named = format!("{name}\0{name}\0");
    [&[0; 4][..], &[2, 0], named.as_bytes(), &[0, 0, 3, 0, 1, 0, 0, 0, 0], &size, content].concat()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A message as long as a run that is decoded; its bytes are those of no picture that anybody shows.
fn in_base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let letters = bytes.chunks(3).flat_map(|group| {
        let bits = group.iter().fold(0_usize, |n, byte| n << 8 | usize::from(*byte)) << (8 * (3 - group.len()));
        (0..4).map(move |n| if n > group.len() { '=' } else { char::from(LETTERS[bits >> (18 - 6 * n) & 63]) })
    });
    letters.collect()
}

fn pdf(objects: &[&[u8]]) -> Vec<u8> {
    let mut file = b"%PDF-1.7\n1 0 obj\n<</Type/Catalog>>\nendobj\n".to_vec();
    for (nth, object) in objects.iter().enumerate() {
        file.extend(format!("{} 0 obj\n", nth + 2).bytes());
        file.extend_from_slice(object);
        file.extend(b"\nendobj\n");
    }
    file.extend(b"trailer<</Root 1 0 R>>\nstartxref\n9\n%%EOF\n");
    file
}

fn pdf_stream(dictionary: &str, content: &[u8]) -> Vec<u8> {
    let head = format!("<<{dictionary}/Length {}>>\nstream\n", content.len());
    [head.as_bytes(), content, b"\nendstream"].concat()
}

#[test]
fn what_is_put_into_a_document_is_a_file_of_its_own() {
    let rules = |kinds: &str| {
        let head = "crossing = \"internet-extranet\"\nversion = \"1\"\n[[type]]\nname = \"t\"\n";
        Rules::parse(&format!("{head}kinds = [{kinds}]\n")).expect("it loads")
    };
    let judged =
        |kinds: &str, bytes: &[u8]| ask(&rules(kinds), &["t"], Moment::Intake, false, Drop::of("a", &[("a", bytes)]));
    let workbook = zip(&[("[Content_Types].xml", b"<Types/>"), ("xl/workbook.xml", b"<workbook/>")]);
    let words: &[u8] = b"words of an office, and more of them";
    let filespec: &[u8] = b"<</Type/Filespec/F(a)/EF<</F 3 0 R>>>>";
    let told = pdf_stream("/Type/EmbeddedFile", &workbook);
    let part = |content: &str| {
        format!(
            "From: a@b.cn\r\nTo: c@d.cn\r\nSubject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n{content}\r\n"
        )
    };
    let theme = zip(&[("[Content_Types].xml", b"<Types/>"), ("theme/theme/theme1.xml", b"<theme/>")]);
    let written = |object: &str| format!("{{\\rtf1 words{{\\*\\themedata {}}}{object}}}", hex(&theme)).into_bytes();
    let package = |content: &[u8]| written(&format!("{{\\object{{\\*\\objdata {}}}}}", hex(content)));
    let header = [&[1, 5, 0, 0, 2, 0, 0, 0, 8, 0, 0, 0][..], b"Package\0", &[0; 8]].concat();
    let native =
        |content: &[u8]| [&header[..], &u32::try_from(content.len()).expect("small").to_le_bytes(), content].concat();
    let letter = |name: &str, content: &[u8]| docx(&[("word/document.xml", b"<document/>"), (name, content)]);
    let page: &[u8] = b"<html><body>words</body></html>";
    let json: &[u8] = br#"{"a": "words of an office"}"#;
    for (what, file, kinds, more) in [
        ("attached to a PDF", pdf(&[filespec, &told]), "\"pdf\"", "xlsx"),
        ("attached to a PDF, words", pdf(&[filespec, &pdf_stream("/Type/EmbeddedFile", words)]), "\"pdf\"", "txt"),
        ("attached to a PDF without a word", pdf(&[filespec, &pdf_stream("", words)]), "\"pdf\"", "txt"),
        (
            "attached to a PDF, and named as a script",
            pdf(&[b"<</S/JavaScript/JS 3 0 R>>", &pdf_stream("", words), filespec]),
            "\"pdf\"",
            "txt",
        ),
        ("a stream of a PDF that is none", pdf(&[&pdf_stream("", &workbook)]), "\"pdf\"", "xlsx"),
        (
            "dropped into a compound file",
            compound("\u{1}Ole10Native", &dropped("a.xlsx", &workbook)),
            "\"ole\"",
            "xlsx",
        ),
        ("dropped into it, words", compound("\u{1}Ole10Native", &dropped("a.txt", words)), "\"ole\"", "txt"),
        ("a package of a compound file", compound("Package", &workbook), "\"ole\"", "xlsx"),
        ("attached to a message of an office", compound("__substg1.0_37010102", &workbook), "\"ole\"", "xlsx"),
        ("a record attached to it", compound("__substg1.0_37010102", json), "\"ole\"", "json"),
        ("an object of a rich text", package(&native(&dropped("a.xlsx", &workbook))), "\"rtf\"", "xlsx"),
        ("a document in a rich text", package(&workbook), "\"rtf\"", "xlsx"),
        (
            "a document in the place of a theme",
            format!("{{\\rtf1 words{{\\*\\themedata {}}}}}", hex(&workbook)).into_bytes(),
            "\"rtf\"",
            "xlsx",
        ),
        (
            "a value of a message",
            format!("<m><file>{}</file></m>", in_base64(&workbook)).into_bytes(),
            "\"xml\"",
            "xlsx",
        ),
        ("a value in hexadecimal", format!("{{\"file\": \"{}\"}}", hex(&workbook)).into_bytes(), "\"json\"", "xlsx"),
        ("a text of a mail", part(&in_base64(&workbook)).into_bytes(), "\"eml\"", "xlsx"),
        ("a page in a letter", letter("word/chunk.html", page), "\"docx\"", "html"),
        ("a record in a letter", letter("customXml/item1.json", json), "\"docx\"", "json"),
        ("a table in a letter", letter("word/embeddings/a.csv", b"a,b\n1,2\n"), "\"docx\"", "csv"),
        ("a document in a letter", letter("word/embeddings/a.xlsx", &workbook), "\"docx\"", "xlsx"),
    ] {
        assert_eq!(detect("a", &file).verdict, DetectVerdict::Clean, "{what}");
        assert_eq!(judged(kinds, &file), "refused kind-not-allowed", "{what}");
        assert_eq!(judged(&format!("{kinds}, \"{more}\""), &file), "Released t", "{what}");
    }
}

/// Pictures, fonts, metadata and what a program keeps for itself are what documents are made of.
#[test]
fn what_a_document_is_made_of_is_no_file_of_its_own() {
    let rules = |kind: &str| {
        let head = "crossing = \"internet-extranet\"\nversion = \"1\"\n[[type]]\nname = \"t\"\n";
        Rules::parse(&format!("{head}kinds = [\"{kind}\"]\n")).expect("it loads")
    };
    let theme = zip(&[("[Content_Types].xml", b"<Types/>"), ("theme/theme/theme1.xml", b"<theme/>")]);
    let store = compound("Data", b"<sources/>");
    let script = b"var total = 3; this.getField('sum').value = total;";
    let filespec: &[u8] = b"<</Type/Filespec/F(a)/EF<</F 3 0 R>>>>";
    let message = format!(
        "<m><photo>{}</photo></m>",
        in_base64(b"GIF89a\x01\0\x01\0\x80\0\0\xff\xff\xff\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;")
    );
    for (kind, file) in [
        ("xml", message.into_bytes()),
        (
            "rtf",
            format!("{{\\rtf1 words{{\\*\\themedata {}}}{{\\*\\datastore {}}}}}", hex(&theme), hex(&store))
                .into_bytes(),
        ),
        ("pdf", pdf(&[b"<</S/JavaScript/JS 3 0 R>>", &pdf_stream("", script)])),
        (
            "pdf",
            pdf(&[
                filespec,
                &pdf_stream("/Type/EmbeddedFile", b"<?xml version='1.0'?><invoice><sum>3</sum></invoice>"),
            ]),
        ),
        (
            "pdf",
            pdf(&[&pdf_stream(
                "/Type/Metadata/Subtype/XML",
                b"<?xpacket begin=''?><x:xmpmeta xmlns:x='adobe:ns:meta/'/>",
            )]),
        ),
        (
            "docx",
            docx(&[
                ("word/document.xml", b"<document/>"),
                ("word/media/drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
            ]),
        ),
    ] {
        let judged = ask(&rules(kind), &["t"], Moment::Intake, false, Drop::of("a", &[("a", &file)]));
        assert_eq!(judged, "Released t", "{kind}");
    }
}
