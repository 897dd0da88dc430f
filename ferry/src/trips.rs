//! What the daemon tells of trips and media, as tables, and the overview that `ferry` alone prints.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::desk::{Desk, DeskError, TripLine};
use crate::words::{Voice, say, size};

/// `ferry trips` and `ferry media`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Look {
    /// The node's spool
    #[arg(long, value_name = "DIR")]
    pub(crate) spool: Option<PathBuf>,
}

impl Look {
    /// Every trip, newest first.
    pub(crate) fn trips(&self, voice: Voice) -> Result<(), DeskError> {
        let mut trips = Desk::open(self.spool.as_deref())?.trips()?;
        trips.sort_by_key(|line| std::cmp::Reverse(line.trip));
        for line in &trips {
            voice.object(&serde_json::to_value(line).unwrap_or(Value::Null));
            voice.line(&trip_line(voice, line));
        }
        if trips.is_empty() {
            voice.line(voice.language.pick("No trips yet.", "尚无批次。"));
        }
        Ok(())
    }

    /// Every medium in the register.
    pub(crate) fn media(&self, voice: Voice) -> Result<(), DeskError> {
        let media = Desk::open(self.spool.as_deref())?.media()?;
        for medium in &media {
            voice.object(medium);
            let words: Vec<String> = medium
                .as_object()
                .map(|fields| fields.iter().map(|(name, value)| format!("{name} {}", plain(value))).collect())
                .unwrap_or_default();
            voice.line(&words.join("  "));
        }
        if media.is_empty() {
            voice.line(voice.language.pick("No media in the register.", "介质登记为空。"));
        }
        Ok(())
    }

    /// What waits, and what comes next. `None` where no node is in sight: then the caller prints help.
    pub(crate) fn overview(&self, voice: Voice) -> Option<()> {
        let desk = Desk::open(self.spool.as_deref()).ok()?;
        let language = voice.language;
        let trips = desk.trips().ok()?;
        let open: Vec<&TripLine> = trips.iter().filter(|line| next_step(voice, line).is_some()).collect();
        let next = trips
            .iter()
            .filter(|line| line.direction == "out")
            .map(|line| line.trip)
            .max()
            .unwrap_or(0)
            .saturating_add(1);
        voice.object(&json!({
            "node": desk.node, "zone": desk.zone.name(), "ferry": desk.ferry.as_ref().map(|f| f.crossing.clone()),
            "next_trip": next, "open": open,
        }));
        let (node, zone) = (&desk.node, desk.zone);
        match &desk.ferry {
            Some(ferry) => {
                let (target, needed) = (&ferry.target, ferry.approvals);
                voice.line(&say!(
                    language,
                    "{node} ({zone}), ferry to {target}; the next trip is {next}, {needed} countersignatures",
                    "{node}（{zone}），摆渡至 {target}；下一批次 {next}，需 {needed} 人会签"
                ));
            }
            None => voice.line(&say!(
                language,
                "{node} ({zone}), no ferry crossing of its own",
                "{node}（{zone}），本节点不导出"
            )),
        }
        for line in &open {
            voice.line(&trip_line(voice, line));
            if let Some(step) = next_step(voice, line) {
                voice.line(&format!("      -> {step}"));
            }
        }
        if open.is_empty() {
            voice.line(language.pick("No trip is under way.", "没有进行中的批次。"));
        }
        Some(())
    }
}

fn trip_line(voice: Voice, line: &TripLine) -> String {
    let language = voice.language;
    let (trip, files, amount) = (line.trip, line.files, size(line.bytes));
    let way = match line.direction.as_str() {
        "in" => language.pick("in ", "入"),
        _ => language.pick("out", "出"),
    };
    let state = language.pick(line.state.as_str(), state_zh(&line.state));
    let medium = line.medium.as_deref().unwrap_or("-");
    let carrier = line.carrier.as_deref().unwrap_or("-");
    let at = line.at_ms.map_or_else(|| plain(&line.at), |at| protocol::Timestamp(at).to_string());
    let settled = match &line.settled {
        Value::Null => String::new(),
        _ if line.direction == "in" => String::new(),
        value => {
            let (done, of) = (plain(value), line.bundles.map(|all| format!("/{all}")).unwrap_or_default());
            say!(language, ", settled {done}{of}", "，已销账 {done}{of}")
        }
    };
    let (approvals, needed) = (line.signed(), line.needed);
    say!(
        language,
        "trip {trip:>5} {way} {state:<9} {files} files, {amount}, medium {medium}, carrier {carrier}, {approvals}/{needed} signed{settled}  {at}",
        "批次 {trip:>5} {way} {state} {files} 个文件，{amount}，介质 {medium}，携带人 {carrier}，会签 {approvals}/{needed}{settled}  {at}"
    )
}

fn state_zh(state: &str) -> &str {
    match state {
        "staged" => "已暂存",
        "approved" => "已会签",
        "confirmed" => "已确认",
        "settled" => "已销账",
        "imported" => "已导入",
        "expired" => "已过期",
        other => other,
    }
}

/// The command that moves a trip on, where a person has to.
fn next_step(voice: Voice, line: &TripLine) -> Option<String> {
    let (trip, left) = (line.trip, line.needed.saturating_sub(line.signed()));
    if line.direction == "in" {
        return None;
    }
    match line.state.as_str() {
        "staged" => Some(say!(
            voice.language,
            "ferry approve --trip {trip} --key FILE   ({left} more)",
            "ferry approve --trip {trip} --key FILE（还差 {left} 人）"
        )),
        "approved" => Some(format!("ferry confirm --trip {trip} --medium DIR --key FILE")),
        "confirmed" => Some(say!(
            voice.language,
            "on its way; the other side runs `ferry import --medium DIR`",
            "运送中；对端执行 ferry import --medium DIR"
        )),
        _ => None,
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.chars().filter(|c| !c.is_control()).collect(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}
