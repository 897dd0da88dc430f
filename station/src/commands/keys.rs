//! `keys`: the node's own keys. They lie where only an administrator can write, so this works on the files; the daemon is
//! asked what still needs them.

use protocol::trust::Use;
use protocol::{Digest, Zone, keys};
use serde_json::{Value, json};

use super::{Exit, Links, Words, ask};
use crate::clock;
use crate::config::Config;
use crate::keyring::{Keyring, KeyringError, NEXT};
use crate::rotation::{Held, Place};

/// How long neighbours may go on with the old key: a carrier that calls every week, and time to import.
const OVERLAP_DAYS: u32 = 30;

/// What is asked.
#[derive(Debug, clap::Args)]
pub(super) struct KeysArguments {
    #[command(subcommand)]
    act: Option<Act>,
}

#[derive(Debug, clap::Subcommand)]
enum Act {
    /// Make the next key of a use, and the rollover that names it to the neighbours. 生成下一把密钥
    Next {
        /// sign, seal or link.
        #[arg(long = "use")]
        usage: Use,
        /// Days until the old key ends.
        #[arg(long, default_value_t = OVERLAP_DAYS)]
        overlap_days: u32,
    },
    /// Take the next key into use, once the neighbours have it. 启用下一把密钥
    Switch {
        /// sign, seal or link.
        #[arg(long = "use")]
        usage: Use,
    },
    /// Destroy an old private key that nothing needs any more. 销毁旧私钥
    Drop {
        /// Its fingerprint, or the beginning of it.
        key: String,
    },
}

/// The command.
pub(super) fn keys<L: Links>(config: &Config<L>, zone: Zone, asked: &KeysArguments, out: &Words) -> Exit {
    let place = Place { folder: &config.node.keys, node: &config.node.name, zone, suite: config.node.suite };
    let done = match &asked.act {
        None => return list(config, zone, &place, out),
        Some(Act::Drop { key }) => return drop_old(config, zone, &place, key, out),
        Some(Act::Next { usage: Use::Sign, .. } | Act::Switch { usage: Use::Sign }) if config.node.signer().is_some() => {
            out.error(
                "the signing key is in a device, which makes its own next key",
                "make its card with ferry keygen --public-key, carry it to the neighbours by hand, then put it in place here and reload",
                "请在设备中生成新密钥，用 ferry keygen --public-key 制作公钥卡，人工送达各邻居节点后放入本机并重新加载",
            );
            return Exit::Refused;
        }
        Some(Act::Next { usage, overlap_days }) => Keyring::of(&config.node).and_then(|keyring| {
            place.next(*usage, *overlap_days, &keyring.signing, clock::now())
        }).map(|named| {
            let (id, file) = (keys::fingerprint(&named.id), named.rollover.display().to_string());
            out.result(&json!({ "next": named.id.to_string(), "fingerprint": id, "rollover": file }), || {
                let (en, zh) = (
                    format!("the next {usage} key: {id}\n1. reload this node's daemon, so that it knows the key\n2. give {file} to the neighbours' administrators: ferry trust import {file} --trust DIR, there and here, then reload\n3. when all have it: keys switch --use {usage}, then reload"),
                    format!("下一把 {usage} 密钥：{id}\n1. 重新加载本节点守护进程\n2. 将 {file} 交给各邻居节点管理员，在对方与本机执行 ferry trust import {file} --trust DIR 并重新加载\n3. 全部完成后：keys switch --use {usage}，再重新加载"),
                );
                out.pick(&en, &zh).to_owned()
            });
        }),
        Some(Act::Switch { usage }) => match believed(config, &place, *usage) {
            Ok(Some(next)) if *usage == Use::Sign && !daemon_knows(config, zone, &next) => {
                out.error(
                    "the daemon has not read the card of the next key yet, so it would refuse this node's own commands",
                    "reload it after ferry trust import, then switch",
                    "导入换钥声明后请先重新加载守护进程，再切换",
                );
                return Exit::Refused;
            }
            Ok(Some(_)) => place.switch(*usage).map(|id| {
                out.result(&json!({ "present": id.to_string(), "fingerprint": keys::fingerprint(&id) }), || {
                    let id = keys::fingerprint(&id);
                    let en = format!("the {usage} key is now {id}; reload the daemon at once, or restart its unit where keys are credentials");
                    let zh = format!("{usage} 密钥现为 {id}；请立即重新加载守护进程（私钥为 systemd 凭据时须重启服务单元）");
                    out.pick(&en, &zh).to_owned()
                });
            }),
            Ok(None) => {
                out.error(
                    "the next key is on no card in this node's own trust folder, so it would not believe itself",
                    "ferry trust import the rollover here too",
                    "请先在本机用 ferry trust import 导入换钥声明",
                );
                return Exit::Refused;
            }
            Err(error) => Err(error),
        },
    };
    match done {
        Ok(()) => Exit::Done,
        Err(error) => failed(&error, out),
    }
}

fn failed(error: &KeyringError, out: &Words) -> Exit {
    out.error(&error.to_string(), "run `keys` as root or as the keys' owner", "请以 root 或密钥所有者身份运行 keys");
    match error {
        KeyringError::Credential { .. } => Exit::Refused,
        KeyringError::Io { cause, .. } if cause.kind() == std::io::ErrorKind::AlreadyExists => Exit::Refused,
        KeyringError::Io { .. } => Exit::Disk,
        _ => Exit::Config,
    }
}

/// The next key, where it is on a card in the node's own trust folder.
fn believed<L: Links>(config: &Config<L>, place: &Place<'_>, usage: Use) -> Result<Option<Digest>, KeyringError> {
    let trust = crate::keyring::believed(&config.node)?;
    let next = place.held()?.into_iter().find(|held| held.usage == usage && held.word == NEXT);
    let Some(next) = next else { return Err(place.no_next(usage)) };
    Ok(Some(next.id).filter(|id| trust.card(id).is_some()))
}

/// Would a daemon that is at work take this key's word for this node's? One that does not answer is asked for nothing else.
fn daemon_knows<L: Links>(config: &Config<L>, zone: Zone, key: &Digest) -> bool {
    if !ask::running(&spool::Layout::new(&config.node.spool)) {
        return true;
    }
    let said = needed(config, zone).unwrap_or_default();
    said["signing"].as_array().into_iter().flatten().any(|id| *id == json!(key.to_string()))
}

/// Asks the daemon, or the spool where none runs, what the sealing keys are still needed for.
fn needed<L: Links>(config: &Config<L>, zone: Zone) -> Result<Value, String> {
    let request = ask::request(config, "keys", Vec::new())?;
    ask::answer(config, zone, &request).map(|answer| answer.details)
}

fn row(held: &Held, needed: &Value) -> Value {
    let id = held.id.to_string();
    let known = needed["sealing"].as_array().into_iter().flatten().find(|row| row["id"] == json!(id));
    let (bundles, until) =
        known.map_or((Value::Null, Value::Null), |row| (row["bundles"].clone(), row["until"].clone()));
    let over = until.as_str().is_some_and(|until| until < protocol::rollover::day(clock::now()).as_str());
    let may_go = held.word == "old" && (held.usage != Use::Seal || (bundles == json!(0) && over));
    json!({
        "use": held.usage.to_string(), "state": held.word, "fingerprint": keys::fingerprint(&held.id),
        "bundles": bundles, "until": until, "may_go": may_go,
    })
}

fn list<L: Links>(config: &Config<L>, zone: Zone, place: &Place<'_>, out: &Words) -> Exit {
    let held = match place.held() {
        Ok(held) => held,
        Err(error) => return failed(&error, out),
    };
    let needed = needed(config, zone).unwrap_or_default();
    let rows: Vec<Value> = held.iter().map(|held| row(held, &needed)).collect();
    out.result(&json!(rows), || ask::table(&json!(rows)));
    Exit::Done
}

fn drop_old<L: Links>(config: &Config<L>, zone: Zone, place: &Place<'_>, key: &str, out: &Words) -> Exit {
    let wanted = key.replace(' ', "").to_lowercase();
    let held = match place.held() {
        Ok(held) => held,
        Err(error) => return failed(&error, out),
    };
    let mut fitting = held.iter().filter(|held| !wanted.is_empty() && held.id.to_string().starts_with(&wanted));
    let (Some(one), None) = (fitting.next(), fitting.next()) else {
        out.error("no key, or more than one, begins so", "`keys` lists them", "用 keys 查看");
        return Exit::Config;
    };
    let row = match needed(config, zone) {
        Ok(needed) => row(one, &needed),
        Err(words) => {
            out.error(&words, "see `status` and the daemon's log", "请查看 status 与守护进程日志");
            return Exit::Disk;
        }
    };
    if row["may_go"] != json!(true) {
        out.error(
            &format!("it is still needed: {}", ask::table(&row)),
            "an old sealing key goes when no bundle here needs it and the last day on its card is over; a key in use never",
            "旧封装密钥须待本机无密封包需要它且其卡上的最后一日已过；在用密钥不得销毁",
        );
        return Exit::Refused;
    }
    match place.drop_old(one) {
        Ok(()) => {
            out.result(&json!({ "dropped": one.id.to_string() }), || {
                out.pick("destroyed; reload the daemon, which records it", "已销毁；请重新加载守护进程，由其记入审计账")
                    .to_owned()
            });
            Exit::Done
        }
        Err(error) => failed(&error, out),
    }
}
