//! What `inspect` found, as a page for an administrator's file: path, verdict, findings, masked values. In two languages,
//! without a script, with nothing from elsewhere. It stays in the zone, as all evidence does.

use std::fmt::Write as _;
use std::path::Path;

use guard::{Finding, RuleClass};
use protocol::Timestamp;

use crate::html::{self, text};

/// Paths that passed, told of one by one. A page with more opens in no browser.
const PASSED_MAX: usize = 2_000;
/// Paths that did not pass, told of one by one; the sums count all.
const STOPPED_MAX: usize = 10_000;

/// A page under way.
#[derive(Default)]
pub(super) struct Page {
    passed: Vec<String>,
    stopped: String,
    told: usize,
    sums: std::collections::BTreeMap<String, u64>,
}

/// A verdict in two languages; what is not here is a reason, by its code.
fn words(verdict: &str) -> &'static str {
    match verdict {
        "clean" => "通过 passes",
        "stripped" => "去除坐标后通过 passes without its coordinates",
        "coordinates" => "检出测绘坐标 survey coordinates",
        "uninspectable" | "not-inspectable" => "无法检查 cannot be inspected",
        "signed-needs-reissue" => "已签名，须去除坐标后重新签发 signed: to be issued anew without coordinates",
        "kind-not-allowed" | "type-not-registered" => "类型未登记 no registered type takes it",
        "schema-mismatch" => "不符合类型模式 does not keep to the schema of its type",
        _ => "拒绝 refused",
    }
}

impl Page {
    /// One path.
    pub(super) fn take(&mut self, path: &Path, verdict: &str, findings: &[Finding]) {
        *self.sums.entry(verdict.to_owned()).or_default() += 1;
        let shown = text(&path.to_string_lossy());
        if verdict == "clean" {
            if self.passed.len() < PASSED_MAX {
                self.passed.push(shown);
            }
            return;
        }
        self.told += 1;
        if self.told > STOPPED_MAX {
            return;
        }
        // Writing into a String cannot fail.
        let out = &mut self.stopped;
        let _ = write!(out, "<h2><code>{shown}</code></h2><p><b>{}</b> {}</p>", text(verdict), words(verdict));
        if findings.is_empty() {
            return;
        }
        out.push_str("<table><tr><th>规则 rule</th><th>类别 class</th><th>位置 place</th><th>样本（已遮蔽）masked sample</th></tr>");
        for finding in findings {
            let class = match finding.class {
                RuleClass::Structural => "结构类 structural",
                RuleClass::Heuristic => "启发类 heuristic",
            };
            let _ = write!(
                out,
                "<tr><td><code>{}</code></td><td>{class}</td><td>{}</td><td><code>{}</code></td></tr>",
                text(finding.rule),
                text(&finding.at),
                text(&finding.sample)
            );
        }
        out.push_str("</table>");
    }

    /// The whole page. `asked` says what was asked: the detector alone, or a route.
    pub(super) fn finish(self, asked: &str, now: Timestamp) -> String {
        let mut out = html::head("检查报告 Report of an inspection");
        let version = env!("CARGO_PKG_VERSION");
        let _ = write!(
            out,
            "<h1>检查报告 Report of an inspection</h1><p>三闸 Trilock {version}，{now}，{}</p><p>规则的含义与剩余风险见 what each rule means, and what no rule sees: docs/rules.md。\
样本中的数字已遮蔽；本页属于本网区，不得带出。Digits of samples are masked; this page stays in its zone.</p><table><tr><th>判定 verdict</th><th>数量 paths</th></tr>",
            text(asked)
        );
        for (verdict, count) in &self.sums {
            let _ = write!(
                out,
                "<tr><td><code>{}</code> {}</td><td class=\"n\">{count}</td></tr>",
                text(verdict),
                words(verdict)
            );
        }
        out.push_str("</table>");
        out.push_str(&self.stopped);
        if let Some(more) = self.told.checked_sub(STOPPED_MAX).filter(|more| *more > 0) {
            let _ = write!(out, "<p>另有 {more} 个未列出 {more} more are only counted</p>");
        }
        let clean = self.sums.get("clean").copied().unwrap_or_default();
        if clean > 0 {
            let _ = write!(out, "<details><summary>通过 pass: {clean}</summary><ul>");
            self.passed.iter().for_each(|path| {
                let _ = write!(out, "<li><code>{path}</code></li>");
            });
            out.push_str("</ul></details>");
        }
        out.push_str(html::FOOT);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_names_what_stops_a_path_and_runs_nothing() {
        // As the guard hands it out: masked. What a place says is only escaped.
        let found = Finding {
            rule: "axis-key",
            class: RuleClass::Structural,
            at: "a.zip/<script>.xml:17".to_owned(),
            sample: "XZB=48#####.###3".to_owned(),
        };
        let mut page = Page::default();
        page.take(Path::new("in/<img src=x>.txt"), "coordinates", std::slice::from_ref(&found));
        page.take(Path::new("in/good.txt"), "clean", &[]);
        let page = page.finish("--detect", Timestamp(1_795_262_400_000));
        let row = "<tr><td><code>axis-key</code></td><td>结构类 structural</td><td>a.zip/&lt;script&gt;.xml:17</td><td><code>XZB=48#####.###3</code></td></tr>";
        assert!(page.contains(row), "{page}");
        assert!(page.contains("in/&lt;img src=x&gt;.txt") && page.contains("in/good.txt"), "{page}");
        for never in ["<img", "<script", "http"] {
            assert!(!page.contains(never), "{never}");
        }
        assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>"));
    }
}
