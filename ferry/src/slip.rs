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
    use super::*;

    /// The corners by which a camera finds the code, and the quiet edge, read off the drawing.
    #[test]
    fn the_code_on_the_slip_has_its_three_corners_and_a_quiet_edge() {
        let words = format!("TRILOCK {} GM {}", u64::MAX, "0123456789ABCDEF".repeat(4));
        let drawn = qr(&words);
        let whole: i32 = drawn.split("viewBox=\"0 0 ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        let dark: std::collections::BTreeSet<(i32, i32)> = drawn
            .split('M')
            .skip(1)
            .filter_map(|step| step.split_once('h')?.0.split_once(','))
            .map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap()))
            .collect();
        assert!(dark.iter().all(|(x, y)| (4..whole - 4).contains(x) && (4..whole - 4).contains(y)));
        for (left, top) in [(4, 4), (whole - 11, 4), (4, whole - 11)] {
            for at in 0..7 {
                assert!(dark.contains(&(left + at, top)) && dark.contains(&(left, top + at)));
            }
            assert!(!dark.contains(&(left + 1, top + 1)) && dark.contains(&(left + 3, top + 3)));
        }
        assert!(drawn.contains(&format!("aria-label=\"{words}\"")));
    }
}
