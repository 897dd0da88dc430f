//! Whatever a document is made of, and however it is broken: what strip lets go is clean and holds no part of the corner
//! that was put in; what was clean goes as it is, to the byte; what is signed is never rewritten.

use std::collections::BTreeMap;
use std::io::Cursor;

use calamine::{Reader, Xlsx};
use guard::{DetectVerdict, detect};
use protocol::Reason;
use tests::office_papers::{letter, paragraph, table, word_table};
use tests::papers::Noise;
use tests::samples;
use tests::stripping::{Fate, fate, outward};
use tests::{disguise, office_day};

/// Documents of each kind that are made in one run.
const CASES: u64 = 60;
/// Broken copies of each.
const BROKEN: u64 = 6;

/// North and east, to the millimetre.
type Corner = (String, String);

/// A corner of this run.
fn corner(noise: &mut Noise) -> Corner {
    let metres = |from: u64, noise: &mut Noise| format!("{}.{:03}", from + noise.below(90_000), 1 + noise.below(999));
    (metres(4_500_000, noise), metres(40_480_000, noise))
}

/// A word or a number as papers of the office hold them: areas, amounts, codes, names.
fn word(noise: &mut Noise) -> String {
    match noise.below(6) {
        0 => format!("{}.{:02}", 20 + noise.below(300), noise.below(100)),
        1 => format!("{}.00", 100_000 + noise.below(900_000)),
        2 => format!("652901001001GB00018F0003{:04}", noise.below(10_000)),
        3 => ["张三", "李四", "王五 & 赵六", "甲<乙"][usize::try_from(noise.below(4)).expect("four")].to_owned(),
        4 => noise.below(60).to_string(),
        _ => "2026-11-21".to_owned(),
    }
}

fn words(count: u64, noise: &mut Noise) -> Vec<String> {
    (0..count).map(|_| word(noise)).collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

/// A kind of document: how it is made of words with perhaps a corner in it, and what of it a reader that is not ours reads.
struct Made {
    name: &'static str,
    make: fn(&[String], Option<&Corner>, u64) -> Vec<u8>,
    read: fn(&[u8]) -> Vec<String>,
}

const KINDS: [Made; 5] = [
    Made { name: "a.xml", make: xml, read: read_xml },
    Made { name: "a.json", make: json, read: read_json },
    Made { name: "a.csv", make: csv, read: read_csv },
    Made { name: "a.xlsx", make: xlsx, read: read_xlsx },
    Made { name: "a.docx", make: docx, read: read_docx },
];

fn xml(words: &[String], corner: Option<&Corner>, way: u64) -> Vec<u8> {
    let inside: String = words.iter().map(|w| format!("<Row Name=\"{0}\"><v>{0}</v></Row>", escaped(w))).collect();
    let point = corner.map(|(n, e)| match way % 3 {
        0 => format!("<KTT_GY_JZD XZBZ=\"{n}\" YZBZ=\"{e}\"/>"),
        1 => format!("<p><XZB>{n}</XZB><YZB>{e}</YZB></p>"),
        _ => format!("<ZD_K_103><a>{n}</a><b>{e}</b></ZD_K_103>"),
    });
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><Message>{inside}{}</Message>", point.unwrap_or_default())
        .into_bytes()
}

fn read_xml(bytes: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(bytes).expect("UTF-8");
    let values = text.split("<v>").skip(1).filter_map(|rest| rest.split_once("</v>"));
    values.map(|(value, _)| value.replace("&lt;", "<").replace("&quot;", "\"").replace("&amp;", "&")).collect()
}

fn json(words: &[String], corner: Option<&Corner>, way: u64) -> Vec<u8> {
    let rows: Vec<String> = words.iter().map(|w| serde_json::json!({ "v": w }).to_string()).collect();
    let point = corner.map(|(n, e)| match way % 3 {
        0 => format!(", \"XZB\": {n}, \"YZB\": {e}"),
        1 => format!(", \"geometry\": {{\"type\": \"Point\", \"coordinates\": [{e}, {n}]}}"),
        _ => format!(", \"p\": {{\"北坐标\": \"{n}\", \"东坐标\": \"{e}\"}}"),
    });
    format!("{{\"rows\": [{}]{}}}", rows.join(", "), point.unwrap_or_default()).into_bytes()
}

fn read_json(bytes: &[u8]) -> Vec<String> {
    let value: serde_json::Value = serde_json::from_slice(bytes).expect("JSON");
    let rows = value["rows"].as_array().expect("rows");
    rows.iter().map(|row| row["v"].as_str().expect("a word").to_owned()).collect()
}

fn csv(words: &[String], corner: Option<&Corner>, _: u64) -> Vec<u8> {
    let mut out = format!("序号,值{}\r\n", if corner.is_some() { ",X坐标,Y坐标" } else { "" });
    for (n, word) in words.iter().enumerate() {
        let point = corner.map(|(n, e)| format!(",{n},{e}")).unwrap_or_default();
        out.push_str(&format!("{n},\"{word}\"{point}\r\n"));
    }
    out.into_bytes()
}

fn read_csv(bytes: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(bytes).expect("UTF-8");
    text.lines()
        .skip(1)
        .filter_map(|line| line.split(',').nth(1))
        .map(|cell| cell.trim_matches('"').to_owned())
        .collect()
}

fn xlsx(words: &[String], corner: Option<&Corner>, way: u64) -> Vec<u8> {
    let mut rows: Vec<Vec<&str>> = words.iter().map(|word| vec!["户", word.as_str()]).collect();
    let mut joined = String::new();
    if let Some((n, e)) = corner {
        joined.push_str(&format!("界址点 {n} {e}"));
        rows.push(if way.is_multiple_of(2) { vec!["J1", "", n, e] } else { vec!["备注", "", &joined] });
    }
    let rows: Vec<&[&str]> = rows.iter().map(Vec::as_slice).collect();
    table(&rows).zip()
}

fn read_xlsx(bytes: &[u8]) -> Vec<String> {
    let mut book: Xlsx<_> = Xlsx::new(Cursor::new(bytes)).expect("calamine opens it");
    let range = book.worksheet_range("Sheet1").expect("its sheet");
    let second = |row: &[calamine::Data]| row.get(1).map(ToString::to_string).unwrap_or_default();
    range.rows().map(second).filter(|value| !value.is_empty()).collect()
}

fn docx(words: &[String], corner: Option<&Corner>, way: u64) -> Vec<u8> {
    let mut body: String = words.iter().map(|word| paragraph(&[word])).collect();
    if let Some((n, e)) = corner {
        body.push_str(&match way % 3 {
            0 => paragraph(&[&format!("界址点 {n} {e}")]),
            1 => word_table(&[&["", n, e]]),
            _ => paragraph(&["界址点 ", &n[..3], &n[3..], " ", &e[..5], &e[5..]]),
        });
    }
    letter(&body).zip()
}

fn read_docx(bytes: &[u8]) -> Vec<String> {
    let document = member(bytes, "word/document.xml");
    let plain = |paragraph: &str| -> String {
        let texts = paragraph.split("<w:t ").skip(1).filter_map(|t| t.split_once('>')?.1.split_once("</w:t>"));
        texts.map(|(text, _)| text.replace("&lt;", "<").replace("&quot;", "\"").replace("&amp;", "&")).collect()
    };
    document.split("</w:p>").map(plain).filter(|text| !text.is_empty()).collect()
}

fn member(bytes: &[u8], name: &str) -> String {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).expect("an archive");
    std::io::read_to_string(archive.by_name(name).expect("its part")).expect("UTF-8")
}

/// Everything in a file, unpacked if it is an archive.
fn everything(bytes: &[u8]) -> Vec<u8> {
    let Ok(mut archive) = zip::ZipArchive::new(Cursor::new(bytes)) else { return bytes.to_vec() };
    let mut all = Vec::new();
    for n in 0..archive.len() {
        std::io::copy(&mut archive.by_index(n).expect("a part"), &mut all).expect("memory takes it");
    }
    all
}

fn holds(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|window| window == word.as_bytes())
}

/// Numbers as a spreadsheet reads them.
fn shown(words: &[String], name: &str) -> Vec<String> {
    let number = |w: &String| if w.len() < 15 { w.parse::<f64>().ok() } else { None };
    words.iter().map(|w| number(w).filter(|_| name == "a.xlsx").map_or_else(|| w.clone(), |n| n.to_string())).collect()
}

#[test]
fn a_corner_goes_and_every_word_stays_in_every_kind_of_document() {
    let rules = outward("");
    for kind in &KINDS {
        let (mut stripped, mut refused) = (0, 0);
        for case in 0..CASES {
            let mut noise = Noise::new(1000 + case);
            let text = words(2 + noise.below(12), &mut noise);
            let clean = (kind.make)(&text, None, case);
            assert!(matches!(fate(&rules, kind.name, &clean), Fate::AsItIs), "{} case {case}: clean", kind.name);
            let corner = corner(&mut noise);
            let bad = (kind.make)(&text, Some(&corner), case);
            match fate(&rules, kind.name, &bad) {
                Fate::AsItIs => unreachable!("{} case {case}: it passed with a corner", kind.name),
                Fate::Refused(_) => refused += 1,
                Fate::Stripped(bytes, removed) => {
                    stripped += 1;
                    assert!(!removed.is_empty());
                    assert_eq!((kind.read)(&bytes), shown(&text, kind.name), "{} case {case}", kind.name);
                    let all = everything(&bytes);
                    assert!(
                        !holds(&all, &corner.0) && !holds(&all, &corner.1),
                        "{} case {case}: half of it stayed",
                        kind.name
                    );
                }
            }
        }
        println!("{}: {stripped} of {CASES} stripped and equal, {refused} refused", kind.name);
        assert!(stripped * 10 >= CASES * 9, "{}: {refused} of {CASES} refused", kind.name);
    }
}

#[test]
fn what_is_broken_is_clean_refused_or_untouched_and_never_a_panic() {
    let rules = outward("");
    for kind in &KINDS {
        for case in 0..CASES / 4 {
            let mut noise = Noise::new(9000 + case);
            let text = words(6, &mut noise);
            let corner = corner(&mut noise);
            let bad = (kind.make)(&text, Some(&corner), case);
            for _ in 0..BROKEN {
                let mut broken = bad.clone();
                for _ in 0..=noise.below(3) {
                    let at = usize::try_from(noise.below(broken.len() as u64)).expect("a place");
                    match noise.below(3) {
                        0 => broken[at] ^= 1 << noise.below(8),
                        1 => broken.truncate(at.max(1)),
                        _ => broken.insert(at, b'<'),
                    }
                }
                // `fate` holds what is stripped against the detector; a corner that was not hit must be gone.
                if let Fate::Stripped(bytes, _) = fate(&rules, kind.name, &broken) {
                    let all = everything(&bytes);
                    assert!(!(holds(&all, &corner.0) && holds(&all, &corner.1)), "{} case {case}", kind.name);
                }
            }
        }
    }
}

const SIGNATURE: &str = "<Signature xmlns=\"http://www.w3.org/2000/09/xmldsig#\"><SignedInfo/><SignatureValue>AAAA</SignatureValue></Signature>";

#[test]
fn a_signature_is_dropped_only_where_the_type_says_so_and_the_notice_says_it() {
    for case in 0..CASES / 4 {
        let mut noise = Noise::new(500 + case);
        let (text, corner) = (words(5, &mut noise), corner(&mut noise));
        let signed = |bytes: Vec<u8>, signature: &str| {
            let text = String::from_utf8(bytes).expect("UTF-8");
            text.replace("</Message>", &format!("{signature}</Message>")).into_bytes()
        };
        let clean = signed(xml(&text, None, case), SIGNATURE);
        let bad = signed(xml(&text, Some(&corner), case), SIGNATURE);
        for more in ["", "signature = \"refuse\"", "signature = \"drop\""] {
            assert!(matches!(fate(&outward(more), "a.xml", &clean), Fate::AsItIs), "byte-identical: {more}");
        }
        for more in ["", "signature = \"refuse\""] {
            assert!(matches!(fate(&outward(more), "a.xml", &bad), Fate::Refused(Reason::SignedNeedsReissue)));
        }
        let drop = outward("signature = \"drop\"");
        let Fate::Stripped(bytes, removed) = fate(&drop, "a.xml", &bad) else { unreachable!("the type says so") };
        assert!(removed.iter().any(|(what, count)| what == "signature" && *count == 1), "{removed:?}");
        assert!(!holds(&bytes, "Signature") && read_xml(&bytes) == text);
        // A signed value without its frame, under any prefix, goes too.
        let bare =
            signed(xml(&text, Some(&corner), case), "<x:SignatureValue xmlns:x=\"urn:x\">AAAA</x:SignatureValue>");
        let Fate::Stripped(bytes, _) = fate(&drop, "a.xml", &bare) else { unreachable!("the type says so") };
        assert!(!holds(&bytes, "SignatureValue"));
    }
}

#[test]
fn signed_certificates_of_the_sample_office_are_never_rewritten() {
    let mut seen = 0;
    for sample in samples::ALL.iter().filter(|sample| sample.name.starts_with("电子证")) {
        for more in ["", "signature = \"drop\""] {
            assert!(matches!(fate(&outward(more), sample.name, &sample.clean()), Fate::AsItIs), "{}", sample.name);
            let spiked = fate(&outward(more), sample.name, &sample.spiked());
            assert!(matches!(spiked, Fate::Refused(Reason::SignedNeedsReissue)), "{}: {spiked:?}", sample.name);
            seen += 1;
        }
    }
    assert_eq!(seen, 6, "two OFD and a PDF, twice");
}

/// What a set became, in words.
fn tally(fates: &mut BTreeMap<String, u32>, fate: &Fate) {
    let word = match fate {
        Fate::AsItIs => "as it is".to_owned(),
        Fate::Stripped(..) => "stripped, clean".to_owned(),
        Fate::Refused(reason) => format!("refused {reason}"),
    };
    *fates.entry(word).or_insert(0) += 1;
}

#[test]
fn none_of_the_spiked_papers_and_none_in_disguise_passes_a_strip_with_its_corner() {
    let rules = outward("");
    let mut fates = BTreeMap::new();
    for sample in samples::ALL {
        let fate = fate(&rules, sample.name, &sample.spiked());
        assert!(!matches!(fate, Fate::AsItIs), "{} passed", sample.name);
        tally(&mut fates, &fate);
        assert!(office_day::judged(sample, sample.spiked()).is_stopped(), "{}", sample.name);
    }
    println!("spiked papers: {fates:?}");
    let mut fates = BTreeMap::new();
    for (name, bytes) in disguise::parents() {
        for one in disguise::ALL {
            let Some((name, worn)) = one.wear(name, &bytes) else { continue };
            if detect(&name, &worn).verdict == DetectVerdict::Clean {
                continue;
            }
            let fate = fate(&rules, &name, &worn);
            assert!(!matches!(fate, Fate::AsItIs), "{name} as {} passed", one.name);
            tally(&mut fates, &fate);
        }
    }
    println!("in disguise: {fates:?}");
}

/// Generated documents of each kind that are put into every disguise: more than three thousand files.
const DISGUISED: u64 = 45;

#[test]
fn three_thousand_in_disguise_are_found_as_their_parents_are_and_a_strip_lets_none_pass() {
    let rules = outward("");
    let (mut made, mut stopped, mut fates, mut passed) = (0_u32, 0_u32, BTreeMap::new(), Vec::new());
    for kind in &KINDS {
        for case in 0..DISGUISED {
            let mut noise = Noise::new(70_000 + case);
            let text = words(3 + noise.below(6), &mut noise);
            let corner = corner(&mut noise);
            let parent = (kind.make)(&text, Some(&corner), case);
            assert_eq!(detect(kind.name, &parent).verdict, DetectVerdict::Coordinates, "{} case {case}", kind.name);
            for one in disguise::ALL {
                let Some((name, worn)) = one.wear(kind.name, &parent) else { continue };
                made += 1;
                if detect(&name, &worn).verdict == DetectVerdict::Clean {
                    passed.push(format!("{name} case {case} as {}", one.name));
                    continue;
                }
                stopped += 1;
                let fate = fate(&rules, &name, &worn);
                assert!(!matches!(fate, Fate::AsItIs), "{name} case {case} as {} passed", one.name);
                if let Fate::Stripped(bytes, _) = &fate {
                    assert_eq!(detect(&name, bytes).verdict, DetectVerdict::Clean, "{name} case {case}");
                    let all = everything(bytes);
                    assert!(!(holds(&all, &corner.0) && holds(&all, &corner.1)), "{name} case {case} as {}", one.name);
                }
                tally(&mut fates, &fate);
            }
        }
    }
    println!("{stopped} of {made} stopped in disguise; of them {fates:?}; clean: {passed:?}");
    assert!(made >= 3_000, "{made} files");
    assert!(stopped * 100 >= made * 99, "{passed:?}");
}
