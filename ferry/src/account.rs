//! The auditor's account of a verification: one self-contained HTML page that states positively what was checked, by
//! which key, witnessed when, and what was not. Written as the run goes on; no script, nothing from elsewhere.

use std::io::{self, Write};
use std::path::Path;

use protocol::{Timestamp, Trust};

use crate::journeys::Parcel;
use crate::proof::Proof;
use crate::words::{Language, groups, say};

/// Objects and parcels told of in full; a page with more opens in no browser. What fails is always told of.
const TOLD_MAX: usize = 5_000;
const STYLE: &str = "body{font-family:'Noto Sans CJK SC','Source Han Sans SC','Microsoft YaHei',sans-serif;max-width:62em;margin:2em auto;padding:0 1em;color:#111}\
table{border-collapse:collapse;width:100%;margin:.8em 0}td,th{border:1px solid #999;padding:.3em .6em;text-align:left;vertical-align:top;font-size:90%}\
th{background:#eee;font-weight:normal}.good{border-left:.6em solid #2a7a2a;padding:.6em 1em;background:#eef7ee}.bad{border-left:.6em solid #a22;padding:.6em 1em;background:#fbeeee}\
code{font-family:'DejaVu Sans Mono',Consolas,monospace;font-size:90%;overflow-wrap:anywhere}details{margin:.3em 0}summary{cursor:pointer}li.no{color:#a22}li.note{color:#850}";

/// A page under way.
pub(crate) struct Account<W: Write> {
    out: W,
    language: Language,
    told: usize,
    left_out: usize,
    section: bool,
}

/// What stands at the foot of the page.
pub(crate) struct Sums<'a> {
    pub(crate) checked: usize,
    pub(crate) failed: usize,
    pub(crate) parcels: usize,
    pub(crate) passed_over: usize,
    /// Kind, how many, how many of them failed.
    pub(crate) kinds: Vec<(&'a str, usize, usize)>,
    /// Path and cause.
    pub(crate) failures: Vec<(&'a str, &'a str)>,
}

impl<W: Write> Account<W> {
    /// The head of the page: when, what, by whose keys.
    pub(crate) fn begin(
        mut out: W,
        language: Language,
        now: Timestamp,
        paths: &[std::path::PathBuf],
        (folder, trust): (&Path, &Trust),
    ) -> io::Result<Account<W>> {
        let (lang, title) = language.pick(("en", "Account of a verification"), ("zh", "校验报告"));
        writeln!(
            out,
            "<!DOCTYPE html>\n<html lang=\"{lang}\">\n<head>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>"
        )?;
        writeln!(out, "<h1>{title} <small>三闸 Trilock</small></h1>")?;
        let version = env!("CARGO_PKG_VERSION");
        let by = say!(
            language,
            "Made by ferry {version} at {now} (clock of this machine), with public keys alone: no private key was at hand, nobody was asked.",
            "由 ferry {version} 于 {now}（本机时钟）生成，仅使用公钥：未接触任何私钥，未询问任何节点。"
        );
        writeln!(out, "<p>{}</p>\n<ul>", escape(&by))?;
        for path in paths {
            writeln!(out, "<li><code>{}</code></li>", escape(&crate::words::shown(path.as_os_str())))?;
        }
        writeln!(out, "</ul>\n<h2>{}</h2>", language.pick("Keys that were believed", "采信的公钥"))?;
        let shown = escape(&crate::words::shown(folder.as_os_str()));
        let whose = language.pick("key cards in", "公钥卡目录");
        writeln!(out, "<p>{whose} <code>{shown}</code></p>\n<table>")?;
        let heads = language.pick(
            ["holder", "role", "zone", "use", "suite", "from", "until", "fingerprint"],
            ["持有者", "角色", "网区", "用途", "套件", "启用", "停用", "指纹"],
        );
        writeln!(out, "<tr>{}</tr>", heads.map(|head| format!("<th>{head}</th>")).concat())?;
        let mut cards: Vec<_> = trust.cards().collect();
        cards.sort_by_key(|card| (card.holder.clone(), card.usage, card.from.clone(), card.id()));
        for card in cards {
            let until = card.until.as_deref().unwrap_or("–");
            writeln!(
                out,
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td><code>{}</code></td></tr>",
                card.holder,
                card.role,
                card.zone,
                card.usage,
                card.suite,
                escape(&card.from),
                escape(until),
                groups(&card.id())
            )?;
        }
        writeln!(out, "</table>\n<h2>{}</h2>", language.pick("Objects", "对象"))?;
        Ok(Account { out, language, told: 0, left_out: 0, section: false })
    }

    /// One object: everything that holds of it, or why it does not.
    pub(crate) fn object(&mut self, path: &str, proof: &Proof) -> io::Result<()> {
        let good = proof.failure.is_none();
        if good && self.full() {
            return Ok(());
        }
        let (open, mark) = if good { ("", "✓") } else { (" open", "✗") };
        let what = proof.what.word();
        writeln!(self.out, "<details{open}><summary>{mark} {what} <code>{}</code></summary><ul>", escape(path))?;
        for held in &proof.holds {
            writeln!(self.out, "<li>{}</li>", escape(held))?;
        }
        for note in &proof.notes {
            writeln!(self.out, "<li class=\"note\">{}</li>", escape(note))?;
        }
        if let Some(cause) = &proof.failure {
            writeln!(self.out, "<li class=\"no\">{}</li>", escape(cause))?;
        }
        writeln!(self.out, "</ul></details>")
    }

    fn full(&mut self) -> bool {
        let full = self.told >= TOLD_MAX;
        if full {
            self.left_out = self.left_out.saturating_add(1);
        } else {
            self.told = self.told.saturating_add(1);
        }
        full
    }

    /// One parcel: what all its papers say together.
    pub(crate) fn parcel(&mut self, parcel: &Parcel, asked: bool) -> io::Result<()> {
        if !self.section {
            self.section = true;
            self.told = 0;
            writeln!(self.out, "<h2>{}</h2>", self.language.pick("Parcels", "投递件"))?;
        }
        let good = parcel.whole && (!asked || parcel.missing.is_empty());
        if good && self.full() {
            return Ok(());
        }
        let (id, papers, hops, l) = (parcel.parcel, parcel.papers, parcel.hops, self.language);
        let mark = if good { "✓" } else { "✗" };
        writeln!(
            self.out,
            "<details{}><summary>{mark} <code>{id}</code></summary><ul>",
            if good { "" } else { " open" }
        )?;
        if parcel.whole {
            let text = say!(
                l,
                "{papers} papers and {hops} hops share one statement and one way",
                "{papers} 份凭证、{hops} 段同属一份声明、同一路径"
            );
            writeln!(self.out, "<li>{text}</li>")?;
        }
        if let Some(end) = &parcel.end {
            let (node, outcome, at) = (&end.node, end.outcome.name(), end.at);
            writeln!(
                self.out,
                "<li>{}</li>",
                say!(l, "{outcome}, says {node} at {at}", "{node} 于 {at} 称 {outcome}")
            )?;
        }
        if let Some(witness) = &parcel.witness {
            let (node, at) = (&witness.node, witness.at);
            let text = say!(l, "first witnessed by {node} at {at}", "最早由 {node} 于 {at} 见证");
            writeln!(self.out, "<li>{text}</li>")?;
        }
        for note in parcel.notes.iter().filter(|_| asked) {
            writeln!(self.out, "<li class=\"note\">{}</li>", escape(note))?;
        }
        let class = if asked { "no" } else { "note" };
        for missing in &parcel.missing {
            let text = say!(l, "not there: {missing}", "缺：{missing}");
            writeln!(self.out, "<li class=\"{class}\">{}</li>", escape(&text))?;
        }
        writeln!(self.out, "</ul></details>")
    }

    /// The foot: the sums, what failed, and what a proof like this does not say.
    pub(crate) fn end(mut self, sums: &Sums<'_>) -> io::Result<W> {
        let l = self.language;
        if self.left_out > 0 {
            let (left, told) = (self.left_out, TOLD_MAX);
            let text = say!(
                l,
                "{left} more hold and are counted below; this page tells {told} in full",
                "另有 {left} 个成立，计入下表；本页详列 {told} 个"
            );
            writeln!(self.out, "<p>{text}</p>")?;
        }
        writeln!(self.out, "<h2>{}</h2>", l.pick("Result", "结论"))?;
        let (checked, failed, parcels, passed) = (sums.checked, sums.failed, sums.parcels, sums.passed_over);
        let (class, text) = if failed == 0 {
            let text = say!(
                l,
                "All {checked} objects hold: every signature in them was checked with the keys above, every digest was computed anew. {parcels} parcels each have one statement and one way.",
                "全部 {checked} 个对象成立：其中每个签名均以上列公钥核对，每个摘要均重新计算。{parcels} 个投递件各有唯一声明与唯一路径。"
            );
            ("good", text)
        } else {
            ("bad", say!(l, "{failed} of {checked} objects do not hold.", "{checked} 个对象中有 {failed} 个不成立。"))
        };
        writeln!(self.out, "<p class=\"{class}\">{text}</p>\n<table>")?;
        let heads = l.pick(["what", "checked", "failed"], ["对象", "已校验", "失败"]);
        writeln!(self.out, "<tr>{}</tr>", heads.map(|head| format!("<th>{head}</th>")).concat())?;
        for (what, count, bad) in &sums.kinds {
            writeln!(self.out, "<tr><td>{what}</td><td>{count}</td><td>{bad}</td></tr>")?;
        }
        writeln!(self.out, "</table>")?;
        for (path, cause) in &sums.failures {
            writeln!(self.out, "<p class=\"bad\"><code>{}</code><br>{}</p>", escape(path), escape(cause))?;
        }
        writeln!(
            self.out,
            "<p>{}</p>",
            say!(l, "{passed} other files were passed over.", "略过其他文件 {passed} 个。")
        )?;
        let limits = l.pick(
            "Times are the words of those who signed. When something was is proven by a witness: a receipt, batch or waybill of another node that followed. Evidence holds without its content. That nothing was removed is proven only together with the ledgers of the nodes (ferry ledger verify --evidence).",
            "时间为签名者自述；何时发生由见证证明：其他节点随后出具的回执、回执批或运单。存证不含内容。是否有凭证被移除，需与各节点的审计账一并核对（ferry ledger verify --evidence）。",
        );
        writeln!(self.out, "<p>{limits}</p>\n</body>\n</html>")?;
        self.out.flush()?;
        Ok(self.out)
    }
}

/// Text that is only text in HTML.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
