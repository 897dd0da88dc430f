//! What `status` prints for a person: alarms first, each with the first command to type, then what waits and whether that
//! is normal. Aligned by the width that characters have on a screen.

use serde_json::Value;

use super::words::Words;

/// Lines of one part of the page; the rest is in `--json`.
const LINES_MAX: usize = 40;

/// Columns that a text takes on a screen: Chinese characters and their punctuation take two.
fn width(text: &str) -> usize {
    let wide = |c: char| matches!(c, '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}' | '\u{f900}'..='\u{faff}' | '\u{fe30}'..='\u{fe6f}' | '\u{ff00}'..='\u{ff60}' | '\u{ffe0}'..='\u{ffe6}');
    text.chars().map(|c| if wide(c) { 2 } else { 1 }).sum()
}

/// Rows under one another, each column as wide as its widest cell.
pub(super) fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns)
        .map(|at| rows.iter().filter_map(|row| row.get(at)).map(|cell| width(cell)).max().unwrap_or(0))
        .collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, wide)| format!("{cell}{}", " ".repeat(wide - width(cell))));
        format!("  {}", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// So long, in the two largest units.
pub(super) fn span(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m"),
        (0, ..) => format!("{hours}h{minutes:02}m"),
        _ => format!("{days}d{hours:02}h"),
    }
}

/// So many bytes, in a unit that leaves three digits.
fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut at) = (bytes, 0);
    while value >= 10_000 && at + 1 < units.len() {
        (value, at) = (value / 1024, at + 1);
    }
    format!("{value} {}", units.get(at).unwrap_or(&"B"))
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_default()
}

fn rows<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn part(page: &mut Vec<String>, title: &str, mut lines: Vec<Vec<String>>, more: &str) {
    let left = lines.len().saturating_sub(LINES_MAX);
    lines.truncate(LINES_MAX);
    page.push(format!("{title}\n{}", aligned(&lines)));
    if left > 0 {
        page.push(format!("  … {left} {more}"));
    }
}

/// What is normal in a queue, behind how much of it the disk does not give.
fn normal(row: &Value, out: &Words) -> String {
    let said = out.pick(row["normal_en"].as_str().unwrap_or_default(), row["normal_zh"].as_str().unwrap_or_default());
    match number(row, "unread") {
        0 => said.to_owned(),
        unread => format!("{unread} {}; {said}", out.pick("CANNOT BE READ", "件无法读取")),
    }
}

/// The page. `now_s` is when it is looked at; the snapshot says when it was written.
pub(super) fn status(value: &Value, alive: bool, now_s: u64, out: &Words) -> String {
    let mut page = Vec::new();
    let age = now_s.saturating_sub(number(value, "at_s"));
    let life = if alive {
        out.pick("running", "运行中").to_owned()
    } else {
        format!("{} ({})", out.pick("NOT running; its last word", "未运行；以下为最后状态"), span(age))
    };
    page.push(format!("{} ({}, {}): {life}", text(value, "node"), text(value, "zone"), text(value, "suite")));
    let clock = &value["clock"];
    if clock["trusted"] == false {
        page.push(format!(
            "{}: {}",
            out.pick("CLOCK IN DOUBT", "时钟存疑"),
            out.pick(
                "nothing expires meanwhile; compare it, set it right, or: clock confirm --reason TEXT",
                "在此期间不会过期；请核对并校正，或执行 clock confirm --reason 原因"
            )
        ));
    }
    let since = |row: &Value| span(number(value, "at_s").saturating_sub(number(row, "since_ms") / 1000));
    let alarms = rows(value, "alarms");
    if alarms.is_empty() {
        page.push(out.pick("alarms: none", "告警：无").to_owned());
    } else {
        let lines = alarms.iter().flat_map(|row| {
            let said = out.pick(row["en"].as_str().unwrap_or_default(), row["zh"].as_str().unwrap_or_default());
            [
                vec![text(row, "code"), since(row), format!("x {}", number(row, "count")), said.to_owned()],
                vec![String::new(), String::new(), String::new(), format!("$ {}", text(row, "command"))],
            ]
        });
        part(&mut page, out.pick("alarms:", "告警："), lines.collect(), out.pick("more", "条"));
    }
    let queue = |row: &Value| {
        let more = if row["more"] == true { "+" } else { "" };
        vec![
            text(row, "queue"),
            format!("{}{more}", number(row, "entries")),
            size(number(row, "bytes")),
            row["oldest_s"].as_u64().map_or_else(|| "-".to_owned(), span),
            match row["verdict"].as_str() {
                Some("late") => out.pick("LATE", "超时"),
                Some("unreadable") => out.pick("UNREADABLE", "不可读"),
                _ => out.pick("ok", "正常"),
            }
            .to_owned(),
            normal(row, out),
        ]
    };
    let head = ["queue", "waits", "bytes", "oldest", "verdict", "what is normal"];
    let head_zh = ["队列", "条目", "字节", "最久", "判断", "正常情况"];
    let mut lines: Vec<Vec<String>> =
        vec![head.iter().zip(head_zh).map(|(en, zh)| out.pick(en, zh).to_owned()).collect()];
    lines.extend(rows(value, "queues").iter().map(queue));
    part(&mut page, out.pick("what waits:", "等待中："), lines, out.pick("more", "条"));
    let off: Vec<Vec<String>> = rows(value, "routes")
        .iter()
        .filter(|row| row["enabled"] == false)
        .map(|row| {
            let since = protocol::Timestamp(number(row, "off_since_ms")).to_string();
            vec![text(row, "route"), since, text(row, "off_by"), text(row, "off_reason")]
        })
        .collect();
    if !off.is_empty() {
        part(
            &mut page,
            out.pick("routes that are off, since when, by whom, why:", "已停用的路由、起始时间、操作人、原因："),
            off,
            out.pick("more", "条"),
        );
    }
    let retries: Vec<Vec<String>> = rows(value, "retries")
        .iter()
        .map(|row| {
            let pause = format!("{} {}", out.pick("every", "每"), span(number(row, "pause_s")));
            vec![
                text(row, "item"),
                text(row, "stage"),
                format!("x {}", number(row, "times")),
                pause,
                text(row, "error"),
            ]
        })
        .collect();
    if !retries.is_empty() {
        part(&mut page, out.pick("failing, tried again:", "失败并重试："), retries, out.pick("more", "条"));
    }
    let gaps: Vec<Vec<String>> = rows(value, "gaps")
        .iter()
        .map(|row| {
            let missing: Vec<String> =
                rows(row, "missing").iter().filter_map(Value::as_str).map(str::to_owned).collect();
            vec![text(row, "crossing"), text(row, "peer"), number(row, "epoch").to_string(), missing.join(", ")]
        })
        .filter(|row| row.last().is_some_and(|missing| !missing.is_empty()))
        .collect();
    if !gaps.is_empty() {
        part(&mut page, out.pick("missing numbers:", "缺号："), gaps, out.pick("more", "条"));
    }
    let parcels: Vec<Vec<String>> = rows(value, "parcels")
        .iter()
        .map(|row| vec![text(row, "route"), text(row, "state"), number(row, "count").to_string()])
        .collect();
    if !parcels.is_empty() {
        part(&mut page, out.pick("parcels since the ledger began:", "投递件累计："), parcels, out.pick("more", "条"));
    }
    page.join("\n")
}

/// What a person did or was done with a medium, one act a line, then the parcels of it.
pub(super) fn acts(value: &Value, out: &Words) -> Option<String> {
    let found = value["acts"].as_array()?;
    let mut page = Vec::new();
    if found.is_empty() {
        page.push(out.pick("no act fits", "没有符合条件的操作").to_owned());
    } else {
        let head = [
            ("time", "时间"),
            ("event", "事件"),
            ("person", "经办人"),
            ("medium", "介质"),
            ("trip", "批次"),
            ("route", "路由"),
            ("parcel", "投递件"),
        ];
        let mut lines: Vec<Vec<String>> = vec![head.map(|(en, zh)| out.pick(en, zh).to_owned()).to_vec()];
        lines.extend(found.iter().map(|row| {
            let at = protocol::Timestamp(number(row, "at_ms")).to_string();
            let trip = row["trip"].as_u64().map(|trip| format!("{} {trip}", text(row, "crossing"))).unwrap_or_default();
            let words = ["event", "person", "medium"].map(|word| text(row, word));
            [at].into_iter().chain(words).chain([trip, text(row, "route"), text(row, "parcel")]).collect()
        }));
        page.push(aligned(&lines));
    }
    if let Some(next) = value["next"].as_str() {
        page.push(format!("  … {} --before {next}", out.pick("more:", "更多：")));
    }
    page.extend(parcels(&value["parcels"], out));
    if value["parcels_cut"] == true {
        page.push(format!("  … {}", out.pick("more parcels; ask for a shorter time", "投递件过多，请缩短时间范围")));
    }
    Some(page.join("\n"))
}

/// Parcels, one a line, for `list`.
pub(super) fn parcels(value: &Value, out: &Words) -> Option<String> {
    let found = value.as_array().filter(|rows| rows.iter().all(|row| row["parcel"].is_string()))?;
    if found.is_empty() {
        return Some(out.pick("no parcel fits", "没有符合条件的投递件").to_owned());
    }
    let moment = |row: &Value| protocol::Timestamp(number(row, "last_ms")).to_string();
    let mut lines: Vec<Vec<String>> = vec![
        [
            ("parcel", "投递件"),
            ("route", "路由"),
            ("state", "状态"),
            ("last", "最后变化"),
            ("bytes", "字节"),
            ("name", "名称"),
        ]
        .map(|(en, zh)| out.pick(en, zh).to_owned())
        .to_vec(),
    ];
    lines.extend(found.iter().map(|row| {
        let reason = row["reason"].as_str().map(|reason| format!(" ({reason})")).unwrap_or_default();
        vec![
            text(row, "parcel"),
            text(row, "route"),
            format!("{}{reason}", text(row, "state")),
            moment(row),
            number(row, "bytes").to_string(),
            // A name is the app's: what would move the cursor does not reach the screen.
            text(row, "name").chars().map(|c| if c.is_control() { '?' } else { c }).collect(),
        ]
    }));
    Some(aligned(&lines))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::Lang;
    use serde_json::json;

    #[test]
    fn columns_stand_under_one_another_in_both_languages() {
        let rows = [vec!["投递口 a".to_owned(), "1".to_owned()], vec!["b".to_owned(), "22".to_owned()]];
        assert_eq!(aligned(&rows), "  投递口 a  1\n  b         22");
    }

    #[test]
    fn a_span_and_a_size_are_short() {
        assert_eq!([5, 65, 3_725, 90_000].map(span), ["5s", "1m", "1h02m", "1d01h"]);
        assert_eq!([5, 20_480, 5 << 30].map(size), ["5 B", "20 KiB", "5120 MiB"]);
    }

    #[test]
    fn the_page_says_what_is_wrong_since_when_and_what_to_type() {
        let value = json!({
            "node": "extranet", "zone": "extranet", "suite": "std", "at_s": 10_000,
            "clock": { "trusted": false },
            "alarms": [{ "code": "gaps", "since_ms": 9_940_000, "count": 3, "command": "extranet-node gaps", "en": "numbers are missing", "zh": "存在缺号" }],
            "queues": [{ "queue": "inlet window", "entries": 4, "bytes": 9, "more": true, "oldest_s": 7_200, "verdict": "late", "normal_en": "seconds", "normal_zh": "数秒" }],
            "routes": [{ "route": "window", "enabled": false, "off_since_ms": 0, "off_by": "administrator", "off_reason": "stocktaking" }],
            "retries": [{ "item": "ab.bundle", "stage": "admission", "times": 4, "pause_s": 16, "error": "no space" }],
        });
        let english = status(&value, true, 10_001, &Words::new(Lang::En, false));
        for words in [
            "gaps  1m  x 3",
            "$ extranet-node gaps",
            "inlet window",
            "2h00m",
            "LATE",
            "seconds",
            "CLOCK IN DOUBT",
            "stocktaking",
            "every 16s",
            "4+",
        ] {
            assert!(english.contains(words), "{words} is missing:\n{english}");
        }
        assert!(english.lines().all(|line| width(line) <= 160), "{english}");
        let chinese = status(&value, false, 10_001, &Words::new(Lang::Zh, false));
        for words in ["存在缺号", "超时", "数秒", "未运行", "时钟存疑"] {
            assert!(chinese.contains(words), "{words} is missing:\n{chinese}");
        }
    }
}
