//! The month in figures: one HTML page from the ledger, in two languages, with plots as inline SVG. Counts, codes and
//! names of the office; no content, no labels, no name of a drop. Fetches nothing and needs no network to be read.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use protocol::Timestamp;
use protocol::id::moment_of;
use protocol::ledger::{Event, Record};
use protocol::receipt::{Head, Outcome};
use serde_json::{Value, json};

use crate::housekeeping::DAY_MS;
use crate::html::{self, text};
use crate::station::{Station, StationError};
use crate::{housekeeping, witness};

/// Upper ends of the classes of latency, and their words.
const LATENCY: [(u64, &str); 8] = [
    (1_000, "1 s"),
    (10_000, "10 s"),
    (60_000, "1 min"),
    (600_000, "10 min"),
    (3_600_000, "1 h"),
    (DAY_MS, "1 d"),
    (7 * DAY_MS, "7 d"),
    (u64::MAX, "> 7 d"),
];
/// What is drawn a day, by the event that counts.
const STATES: [(&str, &str, &str); 6] = [
    ("accepted", "接收", "#2b6cb0"),
    ("arrived", "到达", "#805ad5"),
    ("delivered", "交付", "#2f855a"),
    ("refused", "拒绝", "#c53030"),
    ("quarantined", "隔离", "#b7791f"),
    ("expired", "超期", "#4a5568"),
];
/// Things that should not happen, as the ledger has them.
const TROUBLE: [(Event, &str, &str); 7] = [
    (Event::Incident, "coordinates from a higher zone", "来自高密级网区的坐标"),
    (Event::Expired, "no receipt in time", "回执超期"),
    (Event::Replayed, "replayed numbers", "重放序号"),
    (Event::GapReported, "gap reports sent", "发出缺号报告"),
    (Event::TripRefused, "trips refused", "批次被拒"),
    (Event::LedgerDamaged, "ledger damaged", "审计账损坏"),
    (Event::HeadContradicted, "a ledger contradicted", "链首矛盾"),
];
const TRIPS: [(Event, &str, &str); 6] = [
    (Event::TripStaged, "staged", "待确认"),
    (Event::TripApproved, "countersigned", "会签"),
    (Event::TripConfirmed, "confirmed", "已确认"),
    (Event::TripImported, "imported", "已导入"),
    (Event::TripSettled, "settled", "已结清"),
    (Event::TripExpired, "expired", "过期"),
];

/// A calendar month, days by UTC as everywhere in the evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Month {
    word: String,
    from: Timestamp,
    days: usize,
}

impl Month {
    /// Reads `YYYY-MM`.
    #[must_use]
    pub fn parse(word: &str) -> Option<Month> {
        let (year, month) = word.split_once('-').filter(|(year, month)| year.len() == 4 && month.len() == 2)?;
        let (year, month): (u64, u64) = (year.parse().ok()?, month.parse().ok()?);
        let from = Timestamp::of_day(&format!("{word}-01"))?;
        let next =
            if month == 12 { format!("{:04}-01-01", year + 1) } else { format!("{year:04}-{:02}-01", month + 1) };
        let days = usize::try_from(Timestamp::of_day(&next)?.since(from) / DAY_MS).ok()?;
        Some(Month { word: word.to_owned(), from, days })
    }

    /// The moment after its last.
    #[must_use]
    pub fn end(&self) -> Timestamp {
        Timestamp(self.from.0.saturating_add(self.days as u64 * DAY_MS))
    }

    fn day(&self, at: Timestamp) -> Option<usize> {
        if at < self.from {
            return None;
        }
        usize::try_from(at.since(self.from) / DAY_MS).ok().filter(|day| *day < self.days)
    }
}

/// The figures of a month.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// By place in [`STATES`], then by day.
    states: Vec<Vec<u64>>,
    bytes_in: Vec<u64>,
    bytes_out: Vec<u64>,
    records: Vec<u64>,
    latency: [u64; LATENCY.len()],
    reasons: BTreeMap<&'static str, u64>,
    events: BTreeMap<Event, u64>,
    read: u64,
}

impl Figures {
    fn new(month: &Month) -> Figures {
        let empty = || vec![0; month.days];
        Figures {
            states: vec![empty(); STATES.len()],
            bytes_in: empty(),
            bytes_out: empty(),
            records: empty(),
            ..Figures::default()
        }
    }

    /// Takes one record. Each parcel counts once for each thing that became of it at this node.
    fn take(&mut self, month: &Month, record: &Record) {
        let Some(day) = month.day(record.at) else { return };
        let add = |row: &mut Vec<u64>, by: u64| {
            if let Some(cell) = row.get_mut(day) {
                *cell = cell.saturating_add(by);
            }
        };
        self.read += 1;
        add(&mut self.records, 1);
        *self.events.entry(record.event).or_default() += 1;
        let told = record.outcome.filter(|_| record.event == Event::ReceiptTaken);
        let state = match (record.event, told) {
            (Event::Accepted, _) => Some(0),
            (Event::Arrived, _) => Some(1),
            (Event::Delivered, _) | (_, Some(Outcome::Delivered)) => Some(2),
            (Event::Refused, _) | (_, Some(Outcome::Refused)) => Some(3),
            (Event::Quarantined, _) | (_, Some(Outcome::Quarantined)) => Some(4),
            (Event::Expired, _) => Some(5),
            _ => None,
        };
        if let Some(row) = state.and_then(|state| self.states.get_mut(state)) {
            add(row, 1);
        }
        match record.event {
            Event::Arrived => add(&mut self.bytes_in, record.bytes.unwrap_or(0)),
            Event::Accepted | Event::Relayed => add(&mut self.bytes_out, record.bytes.unwrap_or(0)),
            _ => {}
        }
        if state == Some(2)
            && let Some(parcel) = record.parcel
        {
            // A parcel's id bears the moment at which its origin took it.
            let took = record.at.since(moment_of(&parcel));
            let class = LATENCY.iter().position(|(end, _)| took <= *end).unwrap_or(LATENCY.len() - 1);
            if let Some(class) = self.latency.get_mut(class) {
                *class += 1;
            }
        }
        if state == Some(3) {
            *self.reasons.entry(record.reason.map_or("none", protocol::Reason::name)).or_default() += 1;
        }
    }

    /// Totals, for scripts.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let states: serde_json::Map<String, Value> = STATES
            .iter()
            .zip(&self.states)
            .map(|((word, ..), days)| ((*word).to_owned(), json!(days.iter().sum::<u64>())))
            .collect();
        let latency: serde_json::Map<String, Value> =
            LATENCY.iter().zip(self.latency).map(|((_, word), count)| ((*word).to_owned(), json!(count))).collect();
        let events: serde_json::Map<String, Value> =
            self.events.iter().map(|(event, count)| (event.name().to_owned(), json!(count))).collect();
        json!({
            "states": states, "bytes_in": self.bytes_in.iter().sum::<u64>(), "bytes_out": self.bytes_out.iter().sum::<u64>(),
            "latency": latency, "refusals": self.reasons, "events": events, "records": self.read,
        })
    }
}

/// Reads the month from the ledger and draws it. Gives the page and its figures.
pub fn make(station: &Station, month: &Month, now: Timestamp) -> Result<(String, Figures), StationError> {
    let mut figures = Figures::new(month);
    station.spool.records_between(month.from, month.end(), &mut |record| figures.take(month, record))?;
    let open = Open::of(station)?;
    Ok((page(station, month, now, &figures, &open), figures))
}

/// What is missing or stands open now.
struct Open {
    alarms: Vec<(&'static str, &'static str, &'static str, Timestamp)>,
    parcels: Vec<(String, u64)>,
    gaps: usize,
    unproven: u64,
    head: Head,
}

impl Open {
    fn of(station: &Station) -> Result<Open, StationError> {
        let mut parcels: BTreeMap<String, u64> = BTreeMap::new();
        for ((_, state), count) in station.spool.counts()? {
            if !state.is_terminal() && state != spool::State::Sent {
                *parcels.entry(state.name().to_owned()).or_default() += count;
            }
        }
        let standing = station.alarms.standing().into_iter();
        let rows = witness::status(station)?;
        let unproven = rows
            .as_array()
            .map_or(0, |rows| rows.iter().filter_map(|row| row.get("unproven_heads").and_then(Value::as_u64)).sum());
        Ok(Open {
            alarms: standing.map(|(a, since, _)| (a.code(), a.english(), a.chinese(), since)).collect(),
            parcels: parcels.into_iter().collect(),
            gaps: housekeeping::gaps(station).as_array().map_or(0, Vec::len),
            unproven,
            head: station.spool.head(),
        })
    }
}

fn page(station: &Station, month: &Month, now: Timestamp, figures: &Figures, open: &Open) -> String {
    let mut out = String::new();
    let (node, word) = (text(station.node.as_str()), text(&month.word));
    out.push_str(&html::head(&format!("{} {}", station.node, month.word)));
    // Writing into a String cannot fail.
    let _ = write!(
        out,
        "<h1>{node} · {word} · 月报 Monthly report</h1><p>生成于 made at {now}，日期按 UTC days by UTC</p>"
    );
    open_items(&mut out, open);
    let days: Vec<String> = (1..=month.days).map(|day| day.to_string()).collect();
    let series: Vec<(String, &str, &[u64])> = STATES
        .iter()
        .zip(&figures.states)
        .map(|((en, zh, colour), row)| (format!("{zh} {en}"), *colour, row.as_slice()))
        .collect();
    plot(&mut out, "每日投递件 Parcels a day, by state", &days, &series);
    let bytes = [
        ("收入 in".to_owned(), "#2b6cb0", figures.bytes_in.as_slice()),
        ("发出 out".to_owned(), "#2f855a", figures.bytes_out.as_slice()),
    ];
    plot(&mut out, "每日字节 Bytes a day", &days, &bytes);
    let classes: Vec<String> = LATENCY
        .iter()
        .map(|(end, word)| if *end == u64::MAX { (*word).to_owned() } else { format!("≤ {word}") })
        .collect();
    let latency = [("投递件 parcels".to_owned(), "#2b6cb0", figures.latency.as_slice())];
    plot(&mut out, "从接收到交付的时长 From accepted to delivered", &classes, &latency);
    let (reasons, counts): (Vec<String>, Vec<u64>) =
        figures.reasons.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).unzip();
    plot(&mut out, "拒绝原因 Refusals by reason", &reasons, &[("次 times".to_owned(), "#c53030", &counts)]);
    events(&mut out, "异常 What should not happen", &TROUBLE, figures);
    events(&mut out, "摆渡批次 Ferry trips", &TRIPS, figures);
    let records = [("记录 records".to_owned(), "#4a5568", figures.records.as_slice())];
    plot(&mut out, "审计账每日新增 Growth of the ledger a day", &days, &records);
    let Head { log, size, root } = open.head;
    let _ = write!(
        out,
        "<h2>链首 Head of the ledger</h2><p>{size} 条记录 records，第 {log} 本 log {log}<br/><code>{root}</code></p>{}",
        html::FOOT
    );
    out
}

/// The top of the page: what somebody has to do something about.
fn open_items(out: &mut String, open: &Open) {
    let mut rows = Vec::new();
    for (code, en, zh, since) in &open.alarms {
        rows.push(format!("<b>{code}</b> {} · {}（{since}）", text(zh), text(en)));
    }
    for (state, count) in &open.parcels {
        rows.push(format!("{count} 个投递件处于 parcels in state <b>{}</b>", text(state)));
    }
    if open.gaps > 0 {
        rows.push(format!("{} 处缺号 places with missing numbers", open.gaps));
    }
    if open.unproven > 0 {
        rows.push(format!("{} 个链首尚未证明 heads of neighbours not yet proven", open.unproven));
    }
    if rows.is_empty() {
        out.push_str("<div class=\"calm\">无缺失，无未结 Nothing is missing, nothing stands open</div>");
        return;
    }
    out.push_str("<div class=\"open\"><b>缺失与未结 Missing or open</b><ul>");
    rows.iter().for_each(|row| {
        let _ = write!(out, "<li>{row}</li>");
    });
    out.push_str("</ul></div>");
}

fn events(out: &mut String, title: &str, which: &[(Event, &str, &str)], figures: &Figures) {
    let _ = write!(out, "<h2>{}</h2><table>", text(title));
    for (event, en, zh) in which {
        let count = figures.events.get(event).copied().unwrap_or(0);
        let _ = write!(out, "<tr><td>{} {}</td><td class=\"n\">{count}</td></tr>", text(zh), text(en));
    }
    out.push_str("</table>");
}

/// Stacked bars with their totals in the legend and in a title of each bar.
fn plot(out: &mut String, title: &str, labels: &[String], series: &[(String, &str, &[u64])]) {
    const HEIGHT: u64 = 160;
    const WIDTH: u64 = 860;
    let _ = write!(out, "<h2>{}</h2>", text(title));
    let cell = |row: &[u64], at: usize| row.get(at).copied().unwrap_or(0);
    let total = |at: usize| series.iter().map(|(_, _, row)| cell(row, at)).fold(0, u64::saturating_add);
    let highest = (0..labels.len()).map(total).max().unwrap_or(0);
    if highest == 0 {
        out.push_str("<p>无 none</p>");
        return;
    }
    let step = WIDTH / (labels.len() as u64).max(1);
    let scaled = |value: u64| u64::try_from(u128::from(value) * u128::from(HEIGHT) / u128::from(highest)).unwrap_or(0);
    let _ = write!(out, "<svg width=\"{WIDTH}\" height=\"{}\" role=\"img\">", HEIGHT + 36);
    let _ = write!(out, "<text x=\"0\" y=\"10\">{highest}</text>");
    for (at, label) in labels.iter().enumerate() {
        let (x, mut below) = (at as u64 * step, 0_u64);
        for (word, colour, row) in series {
            let value = cell(row, at);
            if value == 0 {
                continue;
            }
            let (low, high) = (scaled(below), scaled(below.saturating_add(value)).max(scaled(below) + 1));
            let _ = write!(
                out,
                "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{colour}\"><title>{} {}: {value}</title></rect>",
                x + 1,
                (HEIGHT + 14).saturating_sub(high),
                step.saturating_sub(2).max(1),
                high - low,
                text(label),
                text(word),
            );
            below = below.saturating_add(value);
        }
        let _ = write!(out, "<text x=\"{}\" y=\"{}\">{}</text>", x + 1, HEIGHT + 30, text(label));
    }
    out.push_str("</svg><p>");
    for (word, colour, row) in series {
        let sum = row.iter().fold(0, |sum: u64, value| sum.saturating_add(*value));
        let _ = write!(out, "<span style=\"color:{colour}\">■</span> {}: {sum} &#160; ", text(word));
    }
    out.push_str("</p>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_has_its_days_and_nothing_else_is_one() {
        for (word, days) in [("2026-11", 30), ("2026-12", 31), ("2024-02", 29), ("2026-02", 28)] {
            let month = Month::parse(word).unwrap();
            assert_eq!(month.days, days);
            assert_eq!(month.from.to_string(), format!("{word}-01T00:00:00Z"));
            assert_eq!(month.day(Timestamp(month.end().0 - 1)), Some(days - 1));
            assert_eq!((month.day(month.end()), month.day(Timestamp(month.from.0 - 1))), (None, None));
        }
        for word in ["2026", "2026-13", "2026-00", "26-11", "2026-1", "+026-11", "2026-11-01", ""] {
            assert_eq!(Month::parse(word), None, "{word}");
        }
    }
}
