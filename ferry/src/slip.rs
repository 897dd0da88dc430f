//! The printable slip of a trip (批次交接单): one self-contained A4 page in both languages, with places to sign. Everything
//! on it stands on the signed waybill, but the count of exceptions, which the node answers, and that of volumes; the digest in large groups lets
//! two people compare paper and screen, and a QR code lets a camera do it.

use protocol::waybill::LineKind;
use qrcodegen::{QrCode, QrCodeEcc};

use crate::account::escape;
use crate::papers::Papers;
use crate::words::{groups, size};

const STYLE: &str = "@page{size:A4;margin:18mm}body{font-family:'Noto Sans CJK SC','Source Han Sans SC',SimSun,sans-serif;font-size:11pt;color:#000}\
h1{font-size:18pt;margin:0 0 2mm}h1 small{font-size:11pt;font-weight:normal}table{border-collapse:collapse;width:100%;margin:4mm 0}\
td,th{border:1px solid #000;padding:2mm 3mm;text-align:left;vertical-align:top}th{width:32%;font-weight:normal}\
.digest{font-family:'DejaVu Sans Mono',Consolas,monospace;font-size:15pt;line-height:1.6;letter-spacing:.04em}\
.sign td{height:18mm;width:33%}.note{font-size:9pt}.qr{float:right;width:34mm;height:34mm;margin:0 0 2mm 6mm}.trip{font-size:30pt}";

/// The page. `exceptions` is what the node answered: findings that two people let pass, in all parcels of the trip.
/// `volumes` is on how many media it was written.
pub(crate) fn page(papers: &Papers, exceptions: Option<u64>, volumes: usize) -> String {
    let bill = &papers.waybill;
    let bundles = bill.lines.iter().filter(|line| line.kind == LineKind::Bundle).count();
    let total = papers.total();
    let excepted = exceptions.map_or_else(|| "—".to_owned(), |count| format!("<b>{count}</b>"));
    let facts = [
        ("批次 / Trip", format!("<b class=\"trip\">{}</b>", bill.trip)),
        (
            "跨区段 / Crossing",
            format!(
                "{} ({} → {})",
                escape(bill.crossing.name()),
                escape(bill.source.as_str()),
                escape(bill.target.as_str())
            ),
        ),
        ("介质 / Medium", escape(bill.medium.as_str())),
        (
            "卷 / Volumes",
            match volumes {
                0 | 1 => "1".to_owned(),
                count => format!(
                    "<b>{count}</b> （1–{count}，每张介质上写明卷号，逐卷清点 number each medium, and count them at every hand-over）"
                ),
            },
        ),
        ("携带人 / Carrier", escape(bill.carrier.as_str())),
        ("导出人 / Exporter", escape(bill.exporter.as_str())),
        ("导出时间 / Exported", escape(&bill.at.to_string())),
        (
            "文件 / Files",
            format!("{} （密封包 bundles {bundles}，回执 receipts {}）", bill.lines.len(), bill.lines.len() - bundles),
        ),
        ("字节 / Bytes", format!("{total} （{}）", size(total))),
        ("例外放行的检出项 / Findings let pass as exceptions", excepted),
        ("会签 / Approvals needed", bill.approvals.to_string()),
    ];
    let rows: String =
        facts.iter().map(|(name, value)| format!("<tr><th>{name}</th><td>{value}</td></tr>\n")).collect();
    let signatures: String = [
        "导出 / Exported",
        "会签一 / Approved 1",
        "会签二 / Approved 2",
        "领取携带 / Carried",
        "导入 / Imported",
        "见证 / Witness",
    ]
    .chunks(3)
    .map(|row| {
        let cells: String = row
            .iter()
            .map(|who| format!("<td>{who}<br><span class=\"note\">签名 Signature　　日期 Date</span></td>"))
            .collect();
        format!("<tr>{cells}</tr>\n")
    })
    .collect();
    format!(
        "<!DOCTYPE html>\n<html lang=\"zh\">\n<head>\n<meta charset=\"utf-8\">\n<title>批次交接单 {trip}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <h1>批次交接单 <small>Trip slip · 三闸 Trilock</small></h1>\n<table>\n{rows}</table>\n\
         <p>运单摘要 / Waybill digest ({suite})</p>\n{qr}<p class=\"digest\">{digest}</p>\n\
         <table class=\"sign\">\n{signatures}</table>\n\
         <p class=\"note\">会签前请核对屏幕与本单上的运单摘要。导入方以 ferry verify 核对。 \
         Compare this digest with the screen before signing. The importing side checks it with `ferry verify`.</p>\n</body>\n</html>\n",
        trip = bill.trip,
        suite = papers.signed.suite,
        digest = groups(&papers.digest),
        qr = qr(&code_words(papers)),
    )
}

/// What the camera reads: the trip and the digest, as `ferry verify` prints it. Capitals and digits make the densest code.
fn code_words(papers: &Papers) -> String {
    format!("TRILOCK {} {} {}", papers.waybill.trip, papers.signed.suite, papers.digest).to_uppercase()
}

/// A QR code as a drawing inside the page; nothing where the words do not fit, because a slip without it is a slip.
fn qr(words: &str) -> String {
    // A quarter of a folded or stained paper may be unreadable.
    let Ok(code) = QrCode::encode_text(words, QrCodeEcc::Quartile) else { return String::new() };
    let (size, quiet) = (code.size(), 4);
    let dark = (0..size).flat_map(|y| (0..size).map(move |x| (x, y))).filter(|(x, y)| code.get_module(*x, *y));
    let path: String = dark.map(|(x, y)| format!("M{},{}h1v1h-1z", x + quiet, y + quiet)).collect();
    let whole = size + 2 * quiet;
    format!(
        "<svg class=\"qr\" viewBox=\"0 0 {whole} {whole}\" role=\"img\" aria-label=\"{words}\"><path d=\"{path}\"/></svg>\n"
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use protocol::keys::SigningKey;
    use protocol::parcel::{OctetString, VERSION};
    use protocol::waybill::{Waybill, WaybillLine};
    use protocol::{Crossing, Name, Signed, Suite, Timestamp};

    use super::*;

    const SAMPLE: &str = include_str!("../../docs/samples/slip.svg");

    fn papers(bundles: u64) -> Papers {
        let name = |word: &str| Name::new(word).unwrap();
        let line = |sequence: u64| WaybillLine {
            kind: LineKind::Bundle,
            id: protocol::der_types::Octets(u128::from(sequence).to_be_bytes()),
            size: 3_000,
            digest: Suite::Std.digest(&sequence.to_be_bytes()),
            epoch: 1,
            sequence,
        };
        let waybill = Waybill {
            version: VERSION,
            trip: 17,
            crossing: Crossing::IntranetToExtranet,
            source: name("intranet"),
            target: name("extranet"),
            medium: name("disc-0042"),
            carrier: name("wu"),
            exporter: name("zhao"),
            approvals: 2,
            at: Timestamp(1),
            stated: OctetString::new(Vec::new()).unwrap(),
            lines: (1..=bundles).map(line).collect(),
        };
        Papers::parse(Signed::make(&SigningKey::generate(Suite::Std), &waybill).to_bytes()).unwrap()
    }

    /// The modules of a drawing, its quiet edge among them: each step is a bar one high.
    fn modules(drawing: &str) -> BTreeSet<(usize, usize)> {
        let path = drawing.split(" d=\"").nth(1).unwrap().split('"').next().unwrap();
        let bars = path.split('M').skip(1).map(|step| {
            let numbers: Vec<usize> = step.split([',', ' ', 'h', 'v']).take(3).map(|n| n.parse().unwrap()).collect();
            let [x, y, long] = numbers[..] else { panic!("{step}") };
            (x..x + long).map(move |x| (x, y))
        });
        bars.flatten().collect()
    }

    /// What another author's decoder reads off it, at a few pixels a module.
    fn read(dark: &BTreeSet<(usize, usize)>) -> String {
        const PIXELS: usize = 4;
        let whole = PIXELS * (dark.iter().map(|(x, _)| x).max().unwrap() + 5);
        let shade = |x, y| if dark.contains(&(x / PIXELS, y / PIXELS)) { 0 } else { 255 };
        let mut picture = rqrr::PreparedImage::prepare_from_greyscale(whole, whole, shade);
        let found = picture.detect_grids();
        assert_eq!(found.len(), 1, "one code on the slip");
        found[0].decode().unwrap().1
    }

    fn drawn(page: &str) -> &str {
        page.split("<svg class=\"qr\"").nth(1).unwrap().split("</svg>").next().unwrap()
    }

    /// Between these two, wherever they stand.
    fn between<'a>(text: &'a str, start: &str, end: &str) -> Vec<&'a str> {
        text.split(start).skip(1).map(|rest| rest.split(end).next().unwrap()).collect()
    }

    #[test]
    fn a_camera_reads_the_trip_and_the_digest_of_its_waybill() {
        let papers = papers(2);
        let page = page(&papers, Some(0), 1);
        let wanted = format!("TRILOCK 17 STD {}", papers.digest).to_uppercase();
        assert_eq!(read(&modules(drawn(&page))), wanted);
        assert!(page.contains(&format!("<p class=\"digest\">{}</p>", groups(&papers.digest))));
        let longest = format!("TRILOCK {} STD {}", u64::MAX, "0123456789ABCDEF".repeat(4));
        let dark = modules(&qr(&longest));
        assert_eq!(read(&dark), longest);
        assert!(dark.iter().all(|(x, y)| *x >= 4 && *y >= 4), "a quiet edge");
    }

    #[test]
    fn the_slip_counts_exceptions_and_says_where_there_are_none_or_nobody_told() {
        let of = |exceptions| {
            let page = page(&papers(2), exceptions, 1);
            between(&page, "exceptions</th><td>", "</td>").concat()
        };
        assert_eq!([of(Some(2)), of(Some(0)), of(None)], ["<b>2</b>", "<b>0</b>", "—"]);
    }

    /// Files are counted on it and not listed: what is not on the page stands on the waybill, whose digest is.
    #[test]
    fn a_trip_of_four_thousand_bundles_is_one_a4_page_like_one_of_a_single_bundle() {
        let (small, large) = (page(&papers(1), Some(0), 1), page(&papers(4_000), Some(0), 1));
        assert!(large.contains("@page{size:A4;"));
        assert_eq!(large.matches("<tr>").count(), small.matches("<tr>").count());
        assert_eq!(large.matches("<tr>").count(), 11 + 2, "facts, and places to sign");
        assert!(large.contains("<td>4000 （密封包 bundles 4000，回执 receipts 0）</td>"));
        assert!(large.contains("<td>12000000 （"));
        assert!(large.len() < 40_000, "{} bytes", large.len());
    }

    /// The picture on the operator's page is what is printed: the same words in both languages, in the same order.
    #[test]
    fn the_sample_on_the_operators_page_has_the_fields_of_a_slip() {
        let page = page(&papers(2), Some(0), 1);
        let facts = between(&page, "<th>", "</th>");
        let signed = between(&page, "<td>", "<br>");
        let texts: Vec<&str> =
            between(SAMPLE, "<text ", "</text>").iter().map(|t| t.split_once('>').unwrap().1).collect();
        let at = |wanted: &str| {
            texts.iter().position(|text| *text == wanted).unwrap_or_else(|| panic!("{wanted} is not on the sample"))
        };
        let signed: Vec<&str> = signed.iter().map(|cell| cell.rsplit("<td>").next().unwrap()).collect();
        let note = between(&page, "<p class=\"note\">", "</p>");
        let digest = ["运单摘要 / Waybill digest (std)"];
        assert!(page.contains(digest[0]));
        let wanted = [&facts[..], &digest, &signed[signed.len() - 6..]].concat();
        let places: Vec<usize> = wanted.iter().map(|words| at(words)).collect();
        assert!(places.is_sorted(), "{wanted:?}: {places:?}");
        assert_eq!(texts.iter().filter(|text| text.contains(" / ")).count(), wanted.len(), "no field that no slip has");
        let (chinese, english) = note[0].split_once(" Compare").unwrap();
        let last = [chinese.to_owned(), format!("Compare{}", english.replace('`', ""))];
        assert!(texts.ends_with(&last.each_ref().map(String::as_str)), "{last:?}");
        let digest = between(SAMPLE, "Consolas,monospace\">", "</text>").concat().replace(' ', "");
        let code = SAMPLE.split("<g transform").nth(1).unwrap();
        assert_eq!(read(&modules(code)), format!("TRILOCK 17 STD {digest}").to_uppercase());
    }
}
