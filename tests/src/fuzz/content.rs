//! What the guard is shown: each of its parsers by itself, the whole engine, a type's schema and strip on its route, and
//! the questions that its workers are asked.

use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::sync::Once;

use guard::{DetectVerdict, Detection, detect};

use super::{Target, hash};
use crate::disguise;
use crate::office_day::{Intake, Judged};
use crate::papers;
use crate::programs::repository;
use crate::samples;

thread_local! {
    static PANICS: Cell<u64> = const { Cell::new(0) };
}

/// The guard catches its own panics and calls the file uninspectable; here each one is a failure all the same.
fn seen(name: &str, bytes: &[u8]) -> Detection {
    static COUNTED: Once = Once::new();
    COUNTED.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.set(PANICS.get() + 1);
            before(info);
        }));
    });
    let before = PANICS.get();
    let seen = detect(name, bytes);
    assert!(PANICS.get() == before, "{name}: the guard panicked");
    assert!(seen.verdict == DetectVerdict::Clean || !seen.findings.is_empty(), "{name}: no evidence");
    seen
}

/// Which parser reads a file of this suffix.
const PARSERS: [(&str, &[&str]); 17] = [
    ("xml", &["xml", "gpx", "kml", "svg"]),
    ("json", &["json", "geojson"]),
    ("text", &["txt", "log", "sql", "vct", "dat"]),
    ("table", &["csv"]),
    ("dxf", &["dxf"]),
    ("zip", &["zip", "docx", "xlsx", "ofd"]),
    ("pdf", &["pdf"]),
    ("picture", &["jpg", "png", "gif", "bmp", "heic"]),
    ("tiff", &["tif"]),
    ("film", &["mp4", "m4a"]),
    ("mail", &["eml"]),
    ("ole", &["doc", "xls", "msg"]),
    ("tar", &["tar"]),
    ("packed", &["gz", "bz2", "xz", "zst"]),
    ("seven", &["7z"]),
    ("dbf", &["dbf"]),
    ("geodata", &["shp", "wkb"]),
];

fn parser_of(name: &str) -> Option<&'static str> {
    let suffix = Path::new(name).extension()?.to_str()?;
    PARSERS.iter().find(|(_, suffixes)| suffixes.contains(&suffix)).map(|(parser, _)| *parser)
}

/// Documents of every kind: the demo's, the sample office's with and without a point, those of the disguises and some
/// in disguise, those that other programs locked and packed, and the beginnings of what nobody here can write.
#[must_use]
pub fn all_documents() -> Vec<(String, Vec<u8>)> {
    let mut documents = vec![
        ("form.json", papers::application_form(1).into_bytes()),
        ("scan.jpg", papers::scanned_page(3, 200, 120)),
        ("ticket.pdf", papers::tax_ticket()),
        ("message.xml", papers::registration_message(4).into_bytes()),
        ("review.xml", papers::review_result(5).into_bytes()),
        ("parcel.shp", papers::shapefile()),
        ("letter.docx", papers::letter_with_hidden_shapefile()),
        ("volume.zip", papers::archive(2_000, 7)),
    ];
    documents.extend(odd_documents());
    documents.extend(disguise::parents());
    documents
        .extend(samples::ALL.iter().flat_map(|sample| [(sample.name, sample.clean()), (sample.name, sample.spiked())]));
    let mut documents: Vec<(String, Vec<u8>)> =
        documents.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect();
    let parent = ("plain.txt", b"J1 3287121.334 606857.921\nJ2 3287144.102 606837.744\n");
    documents.extend(disguise::ALL.iter().filter_map(|disguise| disguise.wear(parent.0, parent.1)));
    let folder = repository().join("guard/tests/vectors");
    let mut vectors: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    vectors.sort();
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    documents.extend(vectors.iter().map(|path| (name(path), fs::read(path).unwrap())));
    documents
}

pub(super) fn documents() -> Vec<Target> {
    let (names, samples): (Vec<String>, Vec<Vec<u8>>) = all_documents().into_iter().unzip();
    for (name, bytes) in names.iter().zip(&samples) {
        let known = ["review.xml", "parcel.shp", "letter.docx"].contains(&name.as_str());
        assert!(!known || detect(name, bytes).verdict == DetectVerdict::Coordinates, "{name} is what it should be");
    }
    vec![Target::new("document", 60_000, samples, move |bytes| {
        // Under the names of all: what a file claims to be is only a claim. By its bytes, so that it happens again.
        let one = hash(bytes) as usize % names.len();
        seen(&names[one], bytes);
        true
    })]
}

pub(super) fn parsers() -> Vec<Target> {
    let documents = all_documents();
    let of = |parser: &'static str| {
        let mine = documents.iter().filter(|(name, _)| parser_of(name) == Some(parser));
        let (names, samples): (Vec<String>, Vec<Vec<u8>>) = mine.cloned().unzip();
        assert!(!samples.is_empty(), "no document for the parser of {parser}");
        // One suffix is as good as another: kinds go by content. The first document's.
        let name = names.into_iter().next().unwrap_or_default();
        Target::new(format!("guard {parser}"), 6_000, samples, move |bytes| {
            seen(&name, bytes);
            true
        })
    };
    PARSERS.map(|(parser, _)| of(parser)).into()
}

/// One document of each route under that route's rules: kinds, schema, labels, and what a strip makes of it.
pub(super) fn routes() -> Vec<Target> {
    let names = [
        "申请表.json",
        "现场照片.jpg",
        "Biz652901261121000001.xml",
        "楼盘表.csv",
        "权籍审核结果.xml",
        "权籍审核结果.json",
        "成果表.csv",
        "办理进度.xml",
        "补件通知.xml",
    ];
    let samples = samples::ALL.iter().filter(|sample| names.contains(&sample.name));
    let target = |sample: &samples::Sample| {
        let intake = Intake::of(sample);
        let name = sample.name;
        let label = format!(
            "route {} {} {}",
            sample.node,
            sample.route,
            Path::new(name).extension().unwrap_or_default().display()
        );
        let target = Target::new(label, 4_000, vec![sample.clean()], move |bytes| {
            let passes = intake.judged(bytes.to_vec()) == Judged::Passes;
            if passes {
                let verdict = seen(name, bytes).verdict;
                assert_eq!(verdict, DetectVerdict::Clean, "{name} passes with what the detector finds");
            }
            passes
        });
        target.beside(vec![sample.spiked()])
    };
    samples.map(target).collect()
}

/// What a worker is asked: words, a zero byte, and the content they are about.
pub(super) fn questions() -> Vec<Target> {
    let content = papers::registration_message(4);
    let words = [
        r#"{"Look":{"names":["case-17"],"files":[{"path":"message.xml","schema":null}],"windows":[]}}"#,
        r#"{"Strip":{"kind":"Xml","repaint":null}}"#,
        r#"{"Look":{"names":[],"files":[{"path":"4851490.419_29546865.276.jpg","schema":null}],"windows":[]}}"#,
    ];
    let samples = words.map(|words| [words.as_bytes(), b"\0", content.as_bytes()].concat()).to_vec();
    vec![Target::new("question to a worker", 20_000, samples, |bytes| {
        let (words, content) = bytes.iter().position(|byte| *byte == 0).map_or((bytes, &[][..]), |at| {
            let (words, rest) = bytes.split_at(at);
            (words, rest.get(1..).unwrap_or_default())
        });
        let Some(answer) = guard::answer(words, &[content]) else { return false };
        assert!(!answer.words.is_empty() && answer.body.len() <= content.len() + 4_096, "an answer grows");
        true
    })]
}

/// The beginnings of formats that the guard walks and the papers of the demo do not have.
fn odd_documents() -> Vec<(&'static str, Vec<u8>)> {
    let mut tar = vec![0; 1_536];
    tar[..8].copy_from_slice(b"note.txt");
    tar[124..135].copy_from_slice(b"00000000005");
    tar[156] = b'0';
    tar[257..262].copy_from_slice(b"ustar");
    tar[512..517].copy_from_slice(b"hello");
    let mut ole = vec![0; 1_536];
    ole[..8].copy_from_slice(&[0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1]);
    ole[24..34].copy_from_slice(&[0x3e, 0, 3, 0, 0xfe, 0xff, 9, 0, 6, 0]);
    ole[44] = 1;
    ole[48] = 1;
    ole[57] = 0x10;
    ole[76..80].copy_from_slice(&[0, 0, 0, 0]);
    ole[512..524].copy_from_slice(&[0xfd, 0xff, 0xff, 0xff, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    let mut dbf = vec![3, 126, 11, 22, 1, 0, 0, 0, 97, 0, 25, 0];
    dbf.resize(32, 0);
    for field in [b"X_COORD", b"Y_COORD"] {
        let start = dbf.len();
        dbf.extend_from_slice(field);
        dbf.resize(start + 32, 0);
        dbf[start + 11] = b'N';
        dbf[start + 16] = 12;
        dbf[start + 17] = 3;
    }
    dbf.push(0x0d);
    dbf.extend_from_slice(b"  512233.118 4563112.347\x1a");
    let tiff = [
        b"II*\0\x08\0\0\0\x03\0".as_slice(),
        b"\0\x01\x04\0\x01\0\0\0\x10\0\0\0",
        b"\x25\x88\x04\0\x01\0\0\0\x08\0\0\0",
        b"\x0e\x01\x02\0\x04\0\0\0map\0\0\0\0\0",
    ]
    .concat();
    let movie = [
        b"\0\0\0\x14ftypmp42\0\0\0\0mp42".as_slice(),
        b"\0\0\0\x2emoov\0\0\0\x26udta\0\0\0\x1e\xa9xyz\0\x12\x15\xc7+27.5916+086.5640+8850/",
        b"\0\0\0\x0cmdatabcd",
    ]
    .concat();
    let mail = b"From: a@example.org\r\nTo: b@example.org\r\nSubject: =?utf-8?B?5Zyw5Z2A?=\r\nMIME-Version: 1.0\r\n\
        Content-Type: multipart/mixed; boundary=b1\r\n\r\n--b1\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b1\r\n\
        Content-Type: application/json\r\nContent-Transfer-Encoding: base64\r\n\r\neyJ4IjogNDU2MzExMi4zNDd9\r\n--b1--\r\n";
    let utf16: Vec<u8> =
        "\u{feff}界址点 J1 X=4563112.347 Y=40512233.118\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    vec![
        ("case.tar", tar),
        ("old.doc", ole),
        ("points.dbf", dbf),
        ("map.tif", tiff),
        ("visit.mp4", movie),
        ("letter.eml", mail.to_vec()),
        ("points.txt", utf16),
        ("points.csv", b"id,x,y\nJ1,4563112.347,40512233.118\nJ2,4563118.902,40512287.455\n".to_vec()),
        (
            "site.geojson",
            br#"{"type":"Polygon","coordinates":[[[86.1,41.7],[86.2,41.7],[86.2,41.8],[86.1,41.7]]]}"#.to_vec(),
        ),
        ("walk.gpx", br#"<?xml version="1.0"?><gpx version="1.1"><wpt lat="41.7" lon="86.1"/></gpx>"#.to_vec()),
        (
            "plan.dxf",
            b"0\nSECTION\n2\nENTITIES\n0\nLINE\n10\n512233.118\n20\n4563112.347\n0\nENDSEC\n0\nEOF\n".to_vec(),
        ),
        (
            "wkt.txt",
            b"POLYGON((512233.1 4563112.3, 512287.4 4563118.9, 512293.8 4563071.2, 512233.1 4563112.3))".to_vec(),
        ),
    ]
}
