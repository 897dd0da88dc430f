//! Commands that ask the running daemon through its desk, or the spool itself where no daemon runs.

use protocol::der_types::Octets;
use protocol::parcel::{Label, VERSION};
use protocol::request::Request;
use protocol::{Digest, Name, Signed, Zone, keys};
use serde_json::Value;
use spool::Layout;

use super::{Exit, Links, Words};
use crate::clock;
use crate::config::Config;
use crate::keyring::Keyring;
use crate::station::{Plan, Station};

/// A request to a daemon at work is answered within a step of its desk; a busy disk may take longer.
const ANSWER_WITHIN_MS: u64 = 20_000;

/// Asks and prints.
pub(super) fn ask<L: Links, const N: usize>(
    config: &Config<L>,
    zone: Zone,
    action: &str,
    arguments: [(&str, Option<String>); N],
    out: &Words,
) -> Exit {
    let mut labels = Vec::new();
    for (name, value) in arguments {
        if let (Ok(name), Some(value)) = (Name::new(name), value) {
            labels.push(Label { name, value });
        }
    }
    let (id, signed) = match request(config, action, labels) {
        Ok(request) => request,
        Err(words) => {
            out.error(&words, "run this as root or as the daemon's user", "请以 root 或守护进程用户运行");
            return Exit::Config;
        }
    };
    let layout = Layout::new(&config.node.spool);
    let answered = if running(&layout) {
        spool::ask_own(&layout, &id, &signed, ANSWER_WITHIN_MS).map_err(|e| e.to_string())
    } else {
        alone(config, zone, &layout, &id, &signed)
    };
    match answered {
        Ok(answer) if answer.done => {
            out.result(&answer.details, || table(&answer.details));
            Exit::Done
        }
        Ok(answer) => {
            out.error(
                &format!("{}: {}", answer.code, out.pick(&answer.message_en, &answer.message_zh)),
                "nothing was changed",
                "未作任何更改",
            );
            Exit::Refused
        }
        Err(error) => {
            out.error(&error, "see `status` and the daemon's log", "请查看 status 与守护进程日志");
            Exit::Disk
        }
    }
}

/// A request of the node's own command line, signed with the node's key. Its id and its bytes.
pub(super) fn request<L: Links>(
    config: &Config<L>,
    action: &str,
    arguments: Vec<Label>,
) -> Result<(Digest, Vec<u8>), String> {
    let keyring = Keyring::load(&config.node.keys, &config.node.name).map_err(|error| error.to_string())?;
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
    Ok((request.id, Signed::make(&keyring.signing, &request).to_bytes()))
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
    crate::desk::step(&station, clock::now()).map_err(|e| e.to_string())?;
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
    let alive = running(&layout);
    out.result(&value, || {
        let line = if alive {
            out.pick("the daemon is running", "守护进程运行中")
        } else {
            out.pick("the daemon is NOT running; this is its last word", "守护进程未运行；以下为最后状态")
        };
        format!("{line}\n{}", table(&value))
    });
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
fn table(value: &Value) -> String {
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
