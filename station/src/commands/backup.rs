//! `backup` and `restore`: what they are told and how they answer. A running daemon makes its backup itself, beside its
//! stages; the command waits for the end of it. A restore needs a spool that nobody owns.

use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::keys::KEY_FILE_BYTES_MAX;
use protocol::{Zone, keys};
use serde_json::{Value, json};
use spool::device::PASSPHRASE_ENV;
use spool::{Disk, Layout};

use super::ask::{FOREIGN, is_foreign, request, running};
use super::{Exit, Links, Words};
use crate::backup::{BackupError, BackupState, Good, Job};
use crate::clock;
use crate::config::Config;
use crate::desk::read_small;
use crate::keyring::{self, Keyring};
use crate::restore::{self, RestoreError, RestorePlan};
use crate::station::{self, Plan, Station};

/// A daemon begins a backup within a step of its desk.
const BEGINS_WITHIN_MS: u64 = 20_000;
/// How often the end is looked for.
const LOOK_MS: u64 = 200;

/// `restore …`.
#[derive(Debug, clap::Args)]
pub(super) struct RestoreArguments {
    /// The backup. 备份文件
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// The private key that it is sealed to. 备份封装密钥的私钥
    #[arg(long, value_name = "KEYFILE")]
    key: PathBuf,
    /// The private key of the operator who answers for the restore. 负责恢复的操作员私钥
    #[arg(long, value_name = "KEYFILE")]
    operator: PathBuf,
    /// A file whose first line is the passphrase of encrypted keys; otherwise TRILOCK_PASSPHRASE. 口令文件
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// A neighbour's evidence folder or receipt batch, to learn what was lost; several may be given. 邻居节点的存证目录或回执批
    #[arg(long, value_name = "PATH")]
    witness: Vec<PathBuf>,
    /// The last ferry trip of this node that the other side knows (`ferry trips` there). 对方已知的最后批次号
    #[arg(long, value_name = "N", default_value_t = 0)]
    last_trip: u64,
}

/// Makes a backup.
pub(super) fn backup<L: Links>(config: &Config<L>, zone: Zone, out: &Words) -> Exit {
    if config.backup.is_none() {
        out.error(
            &BackupError::NotSetUp.to_string(),
            "add [backup] with a folder on another disk; see \"Backup\" in docs/operations.md",
            "请在配置中加入 [backup]，目录须在另一磁盘；参见 docs/operations.md 的“备份”一节",
        );
        return Exit::Config;
    }
    let layout = Layout::new(&config.node.spool);
    let made = if running(&layout) { ask_and_wait(config, &layout) } else { alone(config, zone, &layout) };
    match made {
        Ok(good) => {
            out.result(&json!(good), || {
                format!(
                    "{}: {}\n  {} {}, {} {}, {} {}{}{}{}{}",
                    out.pick("backup made, read back and verified", "备份已完成并回读校验"),
                    good.file.display(),
                    good.bytes,
                    out.pick("bytes", "字节"),
                    good.files,
                    out.pick("files", "个文件"),
                    good.records,
                    out.pick("records", "条记录"),
                    if good.left_out == 0 {
                        String::new()
                    } else {
                        format!(
                            "\n  {}: {}",
                            out.pick(
                                "left out (links among claimed drops, or gone meanwhile)",
                                "未包含（已领取投递件中的链接或期间消失的文件）"
                            ),
                            good.left_out
                        )
                    },
                    if good.spoiled == 0 {
                        String::new()
                    } else {
                        format!(
                            "\n  {}: {}",
                            out.pick(
                                "files of which the disk did not read everything, zeros stand there (the log names them); replace the disk",
                                "磁盘无法完整读出的文件，缺失处以零填充（日志列出文件名）；请更换磁盘"
                            ),
                            good.spoiled
                        )
                    },
                    if good.records_lost == 0 {
                        String::new()
                    } else {
                        format!(
                            "\n  {}: {}",
                            out.pick("records of the ledger that are lost", "审计账中已丢失的记录"),
                            good.records_lost
                        )
                    },
                    good.not_restorable.as_ref().map_or_else(String::new, |words| {
                        format!(
                            "\n  {}: {words}",
                            out.pick(
                                "NOTHING CAN BE RESTORED FROM IT, older backups are kept; see backup-failed in docs/operations.md",
                                "此备份无法恢复，旧备份均已保留；参见 docs/operations.md 的 backup-failed"
                            )
                        )
                    })
                )
            });
            Exit::Done
        }
        Err((exit, words)) => {
            out.error(
                &words,
                "nothing of it counts, and older backups stay; see backup-failed in docs/operations.md",
                "本次备份无效，已有备份保留；参见 docs/operations.md 的 backup-failed",
            );
            exit
        }
    }
}

/// Asks the daemon, then looks at what it says of its backups until this one has come to its end.
fn ask_and_wait<L: Links>(config: &Config<L>, layout: &Layout) -> Result<Good, (Exit, String)> {
    let (id, signed) = request(config, "backup", Vec::new()).map_err(|words| (Exit::Config, words))?;
    let answer =
        spool::ask_own(layout, &id, &signed, BEGINS_WITHIN_MS).map_err(|error| (Exit::Disk, error.to_string()))?;
    if !answer.done {
        return Err((Exit::Refused, format!("{}: {} / {}", answer.code, answer.message_en, answer.message_zh)));
    }
    let path = layout.status().join("backup.json");
    loop {
        let state: BackupState =
            std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        let ours = state.request == id.to_string();
        match (state.state.as_str(), state.good) {
            ("done", Some(good)) if ours => return Ok(good),
            ("failed", _) if ours => return Err((Exit::Disk, state.error.unwrap_or_default())),
            _ if !running(layout) => {
                return Err((Exit::Disk, "the daemon ended before the backup was done".to_owned()));
            }
            _ => std::thread::sleep(Duration::from_millis(LOOK_MS)),
        }
    }
}

/// No daemon: takes the spool, makes the backup, lets go.
fn alone<L: Links>(config: &Config<L>, zone: Zone, layout: &Layout) -> Result<Good, (Exit, String)> {
    if is_foreign(layout) {
        return Err((Exit::Refused, FOREIGN.to_owned()));
    }
    let plan = Plan::from_config(config, zone).map_err(|error| (Exit::Config, error.to_string()))?;
    let station = Station::open(plan, clock::now()).map_err(|error| (Exit::Disk, error.to_string()))?;
    let job = Job::of(&station, protocol::der_types::Octets(keys::random()));
    job.run(|| station.clock.see(clock::read())).map_err(|error| {
        let exit = match error {
            BackupError::NotSetUp | BackupError::Key { .. } => Exit::Config,
            _ => Exit::Disk,
        };
        (exit, error.to_string())
    })
}

/// Restores.
pub(super) fn restore<L: Links>(config: &Config<L>, zone: Zone, asked: &RestoreArguments, out: &Words) -> Exit {
    let layout = Layout::new(&config.node.spool);
    if running(&layout) {
        out.error(
            "a daemon owns this spool",
            "a restore is for a machine whose state is gone; stop the daemon and move its spool aside first",
            "恢复仅用于状态已丢失的机器；请先停止守护进程并移走其存转区",
        );
        return Exit::Refused;
    }
    if layout.root().exists() && is_foreign(&layout) {
        out.error(FOREIGN, "nothing was changed", "未作任何更改");
        return Exit::Refused;
    }
    let (keyring, trust) = match (Keyring::of(&config.node), keyring::believed(&config.node)) {
        (Ok(keyring), Ok(trust)) => (keyring, trust),
        (Err(error), _) | (_, Err(error)) => {
            out.error(
                &error.to_string(),
                "keys and cards are not in a backup of the state; put them back from their own copies first",
                "密钥与信任库不在状态备份中；请先从各自的副本放回",
            );
            return Exit::Config;
        }
    };
    // What is made is for the daemon and its groups, as in `run`.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o007));
    let now = clock::now();
    let crossings = config.crossings(zone);
    let setup = station::setup(&config.node, zone, &config.routes, &crossings, &keyring, Disk::real(), now);
    let done = passphrase(asked.passphrase_file.as_deref()).and_then(|passphrase| {
        let plan = RestorePlan {
            from: &asked.from,
            key: &restore::opening_key(&asked.key, passphrase.as_deref())?,
            operator: &restore::signing_key(&asked.operator, passphrase.as_deref())?,
            setup: &setup,
            trust: &trust,
            witnesses: &asked.witness,
            last_trip: asked.last_trip,
        };
        restore::restore(&plan)
    });
    match done {
        Ok(restored) => {
            let value = restored.to_json(now);
            out.result(&value, || told(&value, out));
            Exit::Done
        }
        Err(error) => {
            let exit = match &error {
                RestoreError::Io { .. } | RestoreError::Spool(_) => Exit::Disk,
                _ => Exit::Refused,
            };
            let exit = if matches!(&error, RestoreError::Spool(spool::SpoolError::NotEmpty { .. })) {
                Exit::Refused
            } else {
                exit
            };
            out.error(
                &error.to_string(),
                "see \"Restoring\" in docs/operations.md; an interrupted restore is simply run again",
                "参见 docs/operations.md 的“恢复”一节；中断的恢复可直接重新执行",
            );
            exit
        }
    }
}

pub(super) fn passphrase(file: Option<&Path>) -> Result<Option<String>, RestoreError> {
    let Some(path) = file else {
        return Ok(std::env::var(PASSPHRASE_ENV).ok().filter(|said| !said.is_empty()));
    };
    let bytes = read_small(path, KEY_FILE_BYTES_MAX as u64)
        .map_err(|cause| RestoreError::Io { path: path.to_owned(), cause })?;
    Ok(Some(String::from_utf8_lossy(&bytes).lines().next().unwrap_or_default().to_owned()))
}

fn told(value: &Value, out: &Words) -> String {
    let number = |key: &str| value.get(key).and_then(Value::as_u64).unwrap_or(0);
    let mut lines = vec![
        format!(
            "{} {} ({} h): {} {}, {} {}",
            out.pick("restored to the state of", "已恢复到"),
            value.get("backup_of").and_then(Value::as_str).unwrap_or_default(),
            number("age_h"),
            number("files"),
            out.pick("files", "个文件"),
            number("records"),
            out.pick("records", "条记录"),
        ),
        format!(
            "{}: {} -> {}",
            out.pick(
                "a new log of the ledger has begun; the old one stays readable",
                "审计账已开始新账段，旧账段仍可查验"
            ),
            number("former_log"),
            number("log"),
        ),
        format!(
            "{}: {}; {}: {}",
            out.pick("parcels known to be lost with the disk", "已知随磁盘丢失的投递件"),
            number("lost"),
            out.pick("records lost, at least", "至少丢失的记录"),
            number("records_lost_at_least"),
        ),
    ];
    if number("ledger_records_lost") > 0 {
        lines.push(format!(
            "{}: {} ({})",
            out.pick(
                "records of the old log that cannot be read any more; what they told is not known here",
                "旧账段中已无法读取的记录，其内容本节点不再知晓"
            ),
            number("ledger_records_lost"),
            value.get("ledger_lost").and_then(Value::as_str).unwrap_or_default(),
        ));
    }
    let spoiled: Vec<&str> =
        value.get("spoiled_drops").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    if !spoiled.is_empty() {
        lines.push(format!(
            "{}: {}",
            out.pick(
                "drops that the old disk did not give whole when the backup was made; they are not sealed, ask their apps to drop them again",
                "备份时旧磁盘未能完整读出的投递件，不予封装，请业务系统重新投递"
            ),
            spoiled.join(", ")
        ));
    }
    for row in value.get("lost_parcels").and_then(Value::as_array).into_iter().flatten() {
        lines.push(format!("  {row}"));
    }
    lines.push(
        out.pick(
            "next: compare restored/config with the config in force; run init (as root: owners and groups); start the daemon; then list --state may-be-duplicate; what stood in outlets lies in restored/outlet",
            "下一步：核对 restored/config 与现行配置；以 root 运行 init 恢复属主与组；启动守护进程；然后查看 list --state may-be-duplicate；备份时交付口中的文件在 restored/outlet",
        )
        .to_owned(),
    );
    lines.join("\n")
}
