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
            voice.object(&json!({"trips": 0}));
            voice.line(voice.language.pick("No trips yet.", "尚无批次。"));
        }
        Ok(())
    }

    /// Every medium in the register.
    pub(crate) fn media(&self, voice: Voice) -> Result<(), DeskError> {
        let desk = Desk::open(self.spool.as_deref())?;
        let (media, trips) = (desk.media()?, desk.trips()?);
        for medium in &media {
            let last = last_trip(medium, &trips);
            let mut object = medium.clone();
            if let (Some(fields), Some(last)) = (object.as_object_mut(), last) {
                fields.insert("last_trip".to_owned(), json!(last.trip));
                fields.insert("last_state".to_owned(), json!(last.state));
            }
            voice.object(&object);
            voice.line(&medium_line(voice, medium, last));
        }
        if media.is_empty() {
            voice.object(&json!({"media": 0}));
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
        let (media, waiting) = (desk.media().ok()?, desk.waiting().ok().flatten());
        let outward = trips.iter().filter(|line| line.direction == "out").map(|line| line.trip);
        let new = outward.max().unwrap_or(0).saturating_add(1);
        let again = waiting.as_ref().and_then(|waiting| waiting.next_again);
        let next = again.unwrap_or(new);
        voice.object(&json!({
            "node": desk.node, "zone": desk.zone.name(), "ferry": desk.ferry.as_ref().map(|f| f.crossing.clone()),
            "next_trip": next, "open": open, "waiting": waiting, "media": media,
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
        if let Some((waiting, files)) = waiting.as_ref().and_then(|waiting| Some((waiting, waiting.next_entries?))) {
            let amount = size(waiting.next_bytes);
            let later = waiting.later_entries.unwrap_or_default();
            voice.line(&match waiting.next_again {
                None => say!(
                    language,
                    "for the next trip: {files} files, {amount}, which no trip under way carries",
                    "待下一批次：{files} 个文件，{amount}（不在进行中的批次内）"
                ),
                Some(trip) => say!(
                    language,
                    "the next export is trip {trip} again, which lapsed: {files} files, {amount}; {later} files wait for the one after it",
                    "下一次导出为重办已失效的批次 {trip}：{files} 个文件，{amount}；另有 {later} 个文件待其后的批次"
                ),
            });
        }
        if let Some(waiting) = &waiting {
            let (entries, amount) = (waiting.entries, size(waiting.bytes));
            let (more, hours) = (if waiting.more { "+" } else { "" }, waiting.oldest_s.unwrap_or(0) / 3_600);
            voice.line(&say!(
                language,
                "in the outbox: {entries}{more} files, {amount}, the oldest for {hours} h; a file stays there until its receipt",
                "待发队列：{entries}{more} 个文件，{amount}，最早的已等待 {hours} 小时；收到回执前一直保留"
            ));
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
        for medium in &media {
            voice.line(&medium_line(voice, medium, last_trip(medium, &trips)));
        }
        Some(())
    }
}

/// The newest trip that went by a medium.
fn last_trip<'a>(medium: &Value, trips: &'a [TripLine]) -> Option<&'a TripLine> {
    let id = medium.get("id").and_then(Value::as_str);
    trips.iter().filter(|line| line.medium.as_deref() == id).max_by_key(|line| (line.at_ms, line.trip))
}

/// A medium, its direction, and where it should be now by what its last trip says.
fn medium_line(voice: Voice, medium: &Value, last: Option<&TripLine>) -> String {
    let language = voice.language;
    let field = |name| medium.get(name).map_or_else(|| "-".to_owned(), plain);
    let (id, direction) = (field("id"), field("direction"));
    if let Some(at) = medium.get("disposed_ms").and_then(Value::as_u64).map(protocol::Timestamp) {
        return say!(
            language,
            "medium {id} ({direction}): disposed of, {at}",
            "介质 {id}（{direction}）：已销毁，{at}"
        );
    }
    let place = match last.map(|line| (line.trip, line.state.as_str())) {
        None => language.pick("not used yet".to_owned(), "尚未使用".to_owned()),
        Some((trip, "staged" | "approved")) => {
            say!(language, "here: trip {trip} is being prepared", "在本地：批次 {trip} 办理中")
        }
        Some((trip, "confirmed")) => say!(language, "on its way with trip {trip}", "随批次 {trip} 运送中"),
        Some((trip, "settled")) => say!(language, "arrived with trip {trip}", "已随批次 {trip} 送达"),
        Some((trip, "imported")) => say!(language, "here since trip {trip}", "随批次 {trip} 到达本地"),
        Some((trip, "expired")) => {
            say!(language, "here: trip {trip} was never confirmed", "在本地：批次 {trip} 未确认已过期")
        }
        Some((trip, other)) => say!(language, "trip {trip} {other}", "批次 {trip} {other}"),
    };
    say!(language, "medium {id} ({direction}): {place}", "介质 {id}（{direction}）：{place}")
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
