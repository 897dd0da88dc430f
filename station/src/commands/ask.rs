//! Commands that ask the running daemon through its desk, or the spool itself where no daemon runs.

use std::path::PathBuf;

use protocol::der_types::Octets;
use protocol::parcel::{Label, VERSION};
use protocol::request::Request;
use protocol::{Digest, Name, Signed, Timestamp, Zone, keys};
use serde_json::Value;
use spool::Layout;

use super::{Exit, Links, Words, page};
use crate::alarm::Alarm;
use crate::clock;
use crate::config::Config;
use crate::keyring::Keyring;
use crate::reserve;
use crate::station::{Plan, Station};

/// A request to a daemon at work is answered within a step of its desk; a busy disk may take longer.
const ANSWER_WITHIN_MS: u64 = 20_000;

/// A daemon at work publishes its snapshot every second. One that has not for so long cannot write it.
const STALE_S: u64 = 15;

/// Asks and prints.
pub(super) fn ask<L: Links, const N: usize>(
    config: &Config<L>,
    zone: Zone,
    action: &str,
    arguments: [(&str, Option<String>); N],
    out: &Words,
) -> Exit {
    ask_then(config, zone, action, arguments, out, |answer| {
        let nothing = answer.details.is_null();
        let said = if nothing { serde_json::json!({ "code": answer.code }) } else { answer.details.clone() };
        out.result(&said, || {
            if nothing {
                return out.pick(&answer.message_en, &answer.message_zh).to_owned();
            }
            let listed = page::acts(&answer.details, out).or_else(|| page::parcels(&answer.details, out));
            listed.unwrap_or_else(|| table(&answer.details))
        });
        Exit::Done
    })
}

/// The month as one HTML file.
pub(super) fn report<L: Links>(
    config: &Config<L>,
    zone: Zone,
    month: &str,
    file: Option<PathBuf>,
    out: &Words,
) -> Exit {
    if crate::report::Month::parse(month).is_none() {
        out.error("--month takes YYYY-MM", "for example --month 2026-11", "例如 --month 2026-11");
        return Exit::Config;
    }
    let file = file.unwrap_or_else(|| PathBuf::from(format!("{}-{month}.html", config.node.name)));
    ask_then(config, zone, "report", [("month", Some(month.to_owned()))], out, |answer| {
        let details = &answer.details;
        let page = details.get("html").and_then(Value::as_str).unwrap_or_default();
        if let Err(error) = spool::Disk::real().write(&file, page.as_bytes()) {
            out.error(
                &format!("{}: {error}", file.display()),
                "name another file with --out",
                "请用 --out 指定其他文件",
            );
            return Exit::Disk;
        }
        let figures = details.get("figures").cloned().unwrap_or_default();
        out.result(&serde_json::json!({ "file": file, "figures": figures }), || {
            format!("{}: {}", out.pick("written", "已写入"), file.display())
        });
        Exit::Done
    })
}

fn ask_then<L: Links, const N: usize>(
    config: &Config<L>,
    zone: Zone,
    action: &str,
    arguments: [(&str, Option<String>); N],
    out: &Words,
    told: impl FnOnce(&spool::Answer) -> Exit,
) -> Exit {
    let mut labels = Vec::new();
    for (name, value) in arguments {
        if let (Ok(name), Some(value)) = (Name::new(name), value) {
            labels.push(Label { name, value });
        }
    }
    let request = match request(config, action, labels) {
        Ok(request) => request,
        Err(words) => {
            out.error(&words, "run this as root or as the daemon's user", "请以 root 或守护进程用户运行");
            return Exit::Config;
        }
    };
    tell(answer(config, zone, &request), out, told)
}

/// What was answered, or why there is no answer.
pub(super) fn tell(
    answer: Result<spool::Answer, String>,
    out: &Words,
    told: impl FnOnce(&spool::Answer) -> Exit,
) -> Exit {
    match answer {
        Ok(answer) if answer.done => told(&answer),
        Ok(answer) => {
            let remedy = |key: &str| answer.details[key].as_str();
            out.error(
                &format!("{}: {}", answer.code, out.pick(&answer.message_en, &answer.message_zh)),
                remedy("remedy_en").unwrap_or("nothing was changed"),
                remedy("remedy_zh").unwrap_or("未作任何更改"),
            );
            Exit::Refused
        }
        Err(error) => {
            out.error(&error, "see `status` and the daemon's log", "请查看 status 与守护进程日志");
            Exit::Disk
        }
    }
}

/// What the daemon at work answers, or the spool itself where none runs.
pub(super) fn answer<L: Links>(
    config: &Config<L>,
    zone: Zone,
    request: &(Digest, Vec<u8>),
) -> Result<spool::Answer, String> {
    answer_within(config, zone, request, ANSWER_WITHIN_MS)
}

/// The same for what takes longer.
pub(super) fn answer_within<L: Links>(
    config: &Config<L>,
    zone: Zone,
    (id, signed): &(Digest, Vec<u8>),
    wait_ms: u64,
) -> Result<spool::Answer, String> {
    let layout = Layout::new(&config.node.spool);
    if running(&layout) {
        spool::ask_own(&layout, id, signed, wait_ms).map_err(|e| e.to_string())
    } else {
        alone(config, zone, &layout, id, signed)
    }
}

/// A request of the node's own command line, signed with the node's key. Its id and its bytes.
pub(super) fn request<L: Links>(
    config: &Config<L>,
    action: &str,
    arguments: Vec<Label>,
) -> Result<(Digest, Vec<u8>), String> {
    let keyring = Keyring::of(&config.node).map_err(|error| error.to_string())?;
    let word = |word: &str| Name::new(word).map_err(|error| error.to_string());
    let request = Request {
        version: VERSION,
        id: Octets(keys::random()),
        node: config.node.name.clone(),
        action: word(action)?,
        person: word("administrator")?,
        at: clock::now(),
        arguments,
    };
    let signed = Signed::make_by(&keyring.signing, &request).map_err(|error| error.to_string())?;
    Ok((request.id, signed.to_bytes()))
}

/// Does a daemon own the spool?
pub(super) fn running(layout: &Layout) -> bool {
    use rustix::fs::{FlockOperation, flock};
    let Ok(file) = std::fs::File::open(layout.lock()) else { return false };
    flock(&file, FlockOperation::NonBlockingLockExclusive).is_err()
}

/// Opening the spool as root would leave files that the daemon's user cannot write.
pub(super) fn is_foreign(layout: &Layout) -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(layout.root()).is_ok_and(|meta| meta.uid() != rustix::process::geteuid().as_raw())
}

pub(super) const FOREIGN: &str = "no daemon is running, and the spool belongs to another user: run this as that user, for example runuser -u trilock -- ... / 守护进程未运行且存转区属于其他用户，请以该用户运行，例如 runuser -u trilock";

/// No daemon: take the spool, answer the one request, let go.
fn alone<L: Links>(
    config: &Config<L>,
    zone: Zone,
    layout: &Layout,
    request: &Digest,
    signed: &[u8],
) -> Result<spool::Answer, String> {
    if is_foreign(layout) {
        return Err(FOREIGN.to_owned());
    }
    let plan = Plan::from_config(config, zone).map_err(|e| e.to_string())?;
    let station = Station::open(plan, clock::now()).map_err(|e| e.to_string())?;
    let path = layout.desk_own().join(format!("{request}.req"));
    station.spool.disk().write(&path, signed).map_err(|e| e.to_string())?;
    crate::desk::step(&station, station.clock.see(clock::read())).map_err(|e| e.to_string())?;
    let answer = layout.desk_answers().join(format!("{request}.json"));
    let bytes = std::fs::read(&answer).map_err(|e| e.to_string())?;
    serde_json::from_slice(&bytes).map_err(|e| e.to_string())
}

/// The daemon's last snapshot.
pub(super) fn status<L: Links>(config: &Config<L>, out: &Words) -> Exit {
    let layout = Layout::new(&config.node.spool);
    let path = layout.status().join("status.json");
    let value: Option<Value> = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let Some(value) = value else {
        out.error(
            &format!("no snapshot at {}", path.display()),
            "start the daemon: systemctl start trilock-ZONE",
            "请启动守护进程：systemctl start trilock-ZONE",
        );
        return Exit::Disk;
    };
    let mut value = value;
    let alive = running(&layout);
    let age_s = clock::now().seconds().saturating_sub(value.get("at_s").and_then(Value::as_u64).unwrap_or(0));
    if alive && age_s > STALE_S {
        // On a full or read-only disk no snapshot can say so; that there is none does.
        let since = Timestamp(value.get("at_s").and_then(Value::as_u64).unwrap_or(0).saturating_mul(1_000));
        reserve::also(&mut value, Alarm::DiskError, since);
    }
    if let Some(object) = value.as_object_mut() {
        object.insert("running".to_owned(), Value::Bool(alive));
    }
    out.result(&value, || page::status(&value, alive, clock::now().seconds(), out));
    Exit::Done
}

/// Rebuilds the index from the ledger.
pub(super) fn rebuild<L: Links>(config: &Config<L>, zone: Zone, out: &Words) -> Exit {
    let layout = Layout::new(&config.node.spool);
    if running(&layout) {
        out.error(
            "the daemon is running and owns the index",
            "stop it first: systemctl stop trilock-ZONE",
            "请先停止守护进程",
        );
        return Exit::Refused;
    }
    if is_foreign(&layout) {
        out.error(FOREIGN, "nothing was changed", "未作任何更改");
        return Exit::Refused;
    }
    let done = spool::Disk::real()
        .remove_tree(&layout.index())
        .map_err(|e| e.to_string())
        .and_then(|()| Plan::from_config(config, zone).map_err(|e| e.to_string()))
        .and_then(|plan| Station::open(plan, clock::now()).map_err(|e| e.to_string()));
    match done {
        Ok(station) => {
            let records = station.spool.head().size;
            out.result(&serde_json::json!({ "records": records }), || {
                format!("{records} {}", out.pick("records read; the index is rebuilt", "条记录已读取，索引已重建"))
            });
            Exit::Done
        }
        Err(error) => {
            out.error(&error, "see the message", "请根据提示处理");
            Exit::Disk
        }
    }
}

/// JSON as lines that a person reads: one row a parcel, one line a value.
pub(super) fn table(value: &Value) -> String {
    fn cell(value: &Value) -> String {
        match value {
            Value::String(text) => text.clone(),
            Value::Null => "-".to_owned(),
            Value::Array(items) if items.iter().all(|item| !item.is_object()) => {
                items.iter().map(cell).collect::<Vec<_>>().join(", ")
            }
            other => other.to_string(),
        }
    }
    fn line(object: &serde_json::Map<String, Value>) -> String {
        object
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| format!("{key}={}", cell(value)))
            .collect::<Vec<_>>()
            .join("  ")
    }
    match value {
        Value::Array(rows) if rows.is_empty() => "-".to_owned(),
        Value::Array(rows) => {
            rows.iter().map(|row| row.as_object().map_or_else(|| cell(row), line)).collect::<Vec<_>>().join("\n")
        }
        Value::Object(object) => object
            .iter()
            .map(|(key, value)| match value {
                Value::Array(rows) if rows.iter().any(Value::is_object) => {
                    let rows: Vec<String> = rows
                        .iter()
                        .map(|row| format!("    {}", row.as_object().map_or_else(|| cell(row), line)))
                        .collect();
                    format!("{key}:\n{}", rows.join("\n"))
                }
                other => format!("{key}: {}", cell(other)),
            })
            .collect::<Vec<_>>()
            .join("\n"),
        other => cell(other),
    }
}
