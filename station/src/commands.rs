//! The command line that all three daemons share. Sentences, remedies and exit codes are made here and nowhere below:
//! 0 done, 1 refused or failed to verify, 2 usage or config, 3 disk, medium or I/O.

mod ask;
mod backup;
mod by_hand;
mod check;
mod findings;
mod init;
mod inspect;
mod keys;
mod line;
mod look;
mod moment;
mod page;
mod run;
mod words;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use clap::{Parser, Subcommand};
use protocol::Zone;
use serde::de::DeserializeOwned;
use spool::memory;

use crate::clock;
use crate::config::{Config, Fault, PeerSettings};
use crate::housekeeping::DAY_MS;
use crate::sandbox;
use crate::service::Stop;
use crate::station::Station;

pub use line::{LineAnswer, LineTest};
pub use words::{Lang, Words};

/// What a node's `[link]` table holds, and how its links start. Implemented in each program, the only place that
/// knows both a zone and a transport.
pub trait Links: DeserializeOwned + 'static {
    /// What is wrong with the table, given the peers and their carriers.
    fn faults(&self, zone: Zone, peers: &[PeerSettings]) -> Vec<Fault>;
    /// What the disk says of the links' own places, for `check`: faults, and what only should be known.
    fn look(&self, _peers: &[PeerSettings]) -> (Vec<Fault>, Vec<String>) {
        Default::default()
    }
    /// Starts every link in threads of its own. Those of the links that did start are there after an error too: whoever
    /// gives up waits for them, because they hold the spool.
    fn start(&self, station: &Arc<Station>, stop: &Stop, threads: &mut Vec<JoinHandle<()>>) -> std::io::Result<()>;
    /// Runs this node's end of a test of the one-way wire, while no link runs. `None` where it has no such end.
    fn line_test(&self, _asked: LineTest) -> Option<std::io::Result<LineAnswer>> {
        None
    }
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Refused, or something did not verify.
    Refused = 1,
    /// Wrong usage or config.
    Config = 2,
    /// Disk, medium or I/O.
    Disk = 3,
}

#[derive(Parser)]
#[command(version, about = "Trilock 三闸: the exchange node of one zone / 一个网区的交换节点")]
struct Cli {
    /// Language of messages: en or zh; by default from LANG. 消息语言
    #[arg(long, global = true)]
    lang: Option<String>,
    /// Answers as JSON. 以 JSON 输出
    #[arg(long, global = true)]
    json: bool,
    /// The config file. 配置文件
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until SIGTERM; SIGHUP reads the config again. 运行
    Run,
    /// Say everything that is wrong with the config. 检查配置
    Check {
        /// `gm`: also list every primitive in use that is not national, and exit 1. 国密合规检查
        #[arg(long)]
        profile: Option<String>,
    },
    /// Make the tree, groups and keys if absent; print the public keys to exchange. 初始化
    Init,
    /// What is where, and since when. 状态
    Status,
    /// Parcels, newest first. 投递件列表
    List {
        /// Only of this route.
        #[arg(long)]
        route: Option<String>,
        /// Only in this state.
        #[arg(long)]
        state: Option<String>,
        /// Only first recorded since: 2026-11-21, 2026-11-21T08:30 (UTC), 90m, 3h, 2d, or milliseconds since 1970.
        #[arg(long)]
        since: Option<String>,
        /// Only first recorded up to this day, which is still in it.
        #[arg(long)]
        until: Option<String>,
        /// Only of this parcel type.
        #[arg(long = "type")]
        parcel_type: Option<String>,
        /// Only with this label, NAME=VALUE; a region is a label.
        #[arg(long)]
        label: Option<String>,
        /// What this person did, and the parcels of it; --since and --until are then the time of the acts. 按经办人
        #[arg(long)]
        person: Option<String>,
        /// What was done with this medium, and the parcels on it. 按介质
        #[arg(long)]
        medium: Option<String>,
        /// The next page of acts: what stands under `next`. 下一页
        #[arg(long, value_name = "NEXT")]
        before: Option<String>,
    },
    /// Everything about one parcel. 查看投递件
    Show {
        /// Its id.
        parcel: String,
    },
    /// What is missing on one-way crossings. 缺号
    Gaps {
        /// After a restore: these numbers, A-B, came to the disk that was lost and will not come again. 恢复后关闭缺号
        #[arg(long, value_name = "A-B", requires = "epoch", requires = "crossing", requires = "peer")]
        close: Option<String>,
        /// Their epoch.
        #[arg(long)]
        epoch: Option<u64>,
        /// Their crossing.
        #[arg(long)]
        crossing: Option<String>,
        /// Who sent them.
        #[arg(long)]
        peer: Option<String>,
    },
    /// Send again what is still held: a parcel, or a range of numbers. 补发
    Resend {
        /// The parcel's id.
        parcel: Option<String>,
        /// Numbers A-B of a crossing.
        #[arg(long)]
        seq: Option<String>,
        /// The crossing of those numbers.
        #[arg(long)]
        crossing: Option<String>,
    },
    /// Address a bundle to another key. 重新封装
    Reseal {
        /// The parcel's id.
        parcel: String,
        /// The fingerprint on the target's other sealing card.
        #[arg(long)]
        to: String,
    },
    /// The node's own keys: which there are, the next one, the change to it, and when an old one may go. 节点密钥
    Keys(keys::KeysArguments),
    /// Switch a route. 启用或停用路由
    Route {
        /// `enable` or `disable`.
        switch: String,
        /// The route.
        route: String,
        /// Why; kept in the ledger.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// The clock, where it is in doubt: `confirm` says that the machine's clock is right. 时钟存疑时予以确认
    Clock {
        /// `confirm`.
        action: String,
        /// How it was compared; kept in the ledger.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Would this cross? 这些文件能否通过
    Inspect {
        /// The route it would take; without it every crossing from here is asked.
        #[arg(long)]
        route: Option<String>,
        /// The detector alone, without the list of registered types.
        #[arg(long)]
        detect: bool,
        /// Also write what was found as a page, in Chinese and English. 检查报告（HTML）
        #[arg(long, value_name = "FILE")]
        report: Option<PathBuf>,
        /// Files or folders.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    /// Seal by hand for the next node, where the config allows it; never out of the internal zone. 手工封装
    Seal {
        /// The route.
        #[arg(long)]
        route: String,
        /// What to seal.
        path: PathBuf,
        /// The bundle to write; must not exist.
        #[arg(long)]
        out: PathBuf,
    },
    /// Open a bundle that was sealed by hand for this node, where the config allows it; with --key, look at what a node held:
    /// inside the internal zone, without a daemon. 手工拆封；指定 --key 时查看隔离件
    Open {
        /// The bundle.
        bundle: PathBuf,
        /// The folder that what is in it is written into.
        #[arg(long)]
        out: PathBuf,
        /// The office's security key, for what `ferry held` gave; --out is then a folder that is not there yet. 安全密钥私钥
        #[arg(long, value_name = "KEYFILE")]
        key: Option<PathBuf>,
        /// Key cards, by which it is proven who held it. 信任库
        #[arg(long, value_name = "DIR", requires = "key")]
        trust: Option<PathBuf>,
        /// A file whose first line is the passphrase of an encrypted key; otherwise TRILOCK_PASSPHRASE. 口令文件
        #[arg(long, value_name = "FILE", requires = "key")]
        passphrase_file: Option<PathBuf>,
    },
    /// The look-up index. 索引
    Index {
        /// `rebuild`.
        action: String,
    },
    /// Copy the state, sealed to a key, and read it back; a running daemon goes on meanwhile. 备份
    Backup,
    /// Start from a backup where the state is gone. 恢复
    Restore(backup::RestoreArguments),
    /// Say that nobody waits for what a start could not read of an outbox and kept (alarm bundle-missing); the files only
    /// get another name. 收起读不出的发送队列文件
    Outbox {
        /// `aside`.
        word: String,
        /// How that is known; kept in the ledger.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// After a restore: say whether a parcel that waits was delivered before. 恢复后确认可能重复的投递件
    Duplicate {
        /// `admit`: it was not, deliver it. `close`: it was.
        word: String,
        /// The parcel's id.
        parcel: String,
        /// How that is known; kept in the ledger.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Test the one-way wire while the daemons at both ends are stopped: the internal zone's node listens and reports,
    /// the extranet's sends. Start the listener first. 单向线路测试
    DiodeTest {
        /// How long to send, in seconds, 1 to 3600. 发送秒数
        #[arg(long, default_value_t = 10)]
        seconds: u16,
        /// How long to wait for the first frame, in seconds. 等待首帧的秒数
        #[arg(long, default_value_t = 120)]
        wait: u16,
    },
    /// The month in figures. 月报
    Report {
        /// YYYY-MM.
        #[arg(long)]
        month: String,
        /// The HTML file to write; by default NODE-YYYY-MM.html here. 输出文件
        #[arg(long)]
        out: Option<PathBuf>,
    },
}

/// The whole program of a node.
#[must_use]
pub fn main<L: Links>(zone: Zone) -> ExitCode {
    if let Some(ended) = sandbox::run_if_asked() {
        return ended;
    }
    // Before any key is read; `check` says what came of it, and so does the daemon's log.
    let _guarded = memory::guard();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let help = !error.use_stderr();
            // Nothing is left to say where even that cannot be printed.
            let _printed = error.print();
            return ExitCode::from(if help { 0 } else { 2 });
        }
    };
    let lang = Lang::choose(cli.lang.as_deref());
    let path = cli.config.clone().unwrap_or_else(|| PathBuf::from(format!("/etc/trilock/{zone}.toml")));
    let out = Words::new(lang, cli.json);
    let exit = dispatch::<L>(zone, &path, cli.command, &out);
    ExitCode::from(exit as u8)
}

fn dispatch<L: Links>(zone: Zone, path: &std::path::Path, command: Command, out: &Words) -> Exit {
    if let Command::Inspect { route: None, detect: true, report, paths } = &command {
        // The detector needs no config: it is asked about files, not about a border.
        return inspect::detect(paths, report.as_deref(), out);
    }
    if let Command::Open { bundle, out: folder, key: Some(key), trust, passphrase_file } = &command {
        let (trust, passphrase_file) = (trust.as_deref(), passphrase_file.as_deref());
        return look::open(zone, &look::Brought { bundle, key, trust, passphrase_file, folder }, out);
    }
    let (config, text) = match Config::<L>::load(path) {
        Ok(read) => read,
        Err(error) => {
            out.error(
                &error.to_string(),
                "mend the file, or name another with --config",
                "请修正配置文件，或用 --config 指定其他文件",
            );
            return Exit::Config;
        }
    };
    match command {
        Command::Check { profile } => return check::check(zone, path, &config, &text, profile.as_deref(), out),
        Command::Init => return init::init(zone, &config, out),
        _ => {}
    }
    let faults = check::faults(zone, &config);
    if !faults.is_empty() {
        check::print_faults(path, &text, &faults, out);
        return Exit::Config;
    }
    match command {
        Command::Run => run::run(zone, path, config, out),
        Command::Inspect { route, detect: false, report, paths } => {
            inspect::inspect(&config, zone, route.as_deref(), &paths, report.as_deref(), out)
        }
        Command::Inspect { report, paths, .. } => inspect::detect(&paths, report.as_deref(), out),
        Command::Status => ask::status(&config, out),
        Command::List { route, state, since, until, parcel_type, label, person, medium, before } => {
            let moments = [("since", since), ("until", until)].map(|(what, text)| {
                let Some(text) = text else { return Ok((what, None)) };
                // A day that is named as the last one is still in it.
                let day = protocol::Timestamp::of_day(&text).filter(|_| what == "until").map(|day| day.plus_ms(DAY_MS));
                let moment = day.or_else(|| moment::parse(&text, clock::now())).ok_or((what, text))?;
                Ok((what, Some(moment.0.to_string())))
            });
            let [Ok(since), Ok(until)] = moments else {
                for (what, text) in moments.into_iter().filter_map(Result::err) {
                    out.error(
                        &format!("--{what} {text:?} is no moment"),
                        &format!("write {}", moment::FORMS),
                        &format!("写作 {}", moment::FORMS),
                    );
                }
                return Exit::Config;
            };
            let arguments = [
                ("route", route),
                ("state", state),
                since,
                until,
                ("type", parcel_type),
                ("label", label),
                ("person", person),
                ("medium", medium),
                ("before", before),
            ];
            ask::ask(&config, zone, "list", arguments, out)
        }
        Command::Show { parcel } => ask::ask(&config, zone, "show", [("parcel", Some(parcel))], out),
        Command::Gaps { close: None, .. } => ask::ask(&config, zone, "gaps", [], out),
        Command::Gaps { close: Some(range), epoch, crossing, peer } => {
            let Some((from, to)) = read_range(&range) else {
                out.error("--close takes A-B, two numbers", "for example --close 4-7", "例如 --close 4-7");
                return Exit::Config;
            };
            let epoch = epoch.map(|epoch| epoch.to_string());
            let arguments =
                [("from", Some(from)), ("to", Some(to)), ("epoch", epoch), ("crossing", crossing), ("peer", peer)];
            ask::ask(&config, zone, "gap-close", arguments, out)
        }
        Command::Resend { parcel, seq, crossing } => {
            let range = seq.as_deref().map(read_range);
            if range == Some(None) {
                out.error("--seq takes A-B, two numbers", "for example --seq 4-7", "例如 --seq 4-7");
                return Exit::Config;
            }
            let range = range.flatten();
            let (from, to) = range.unzip();
            ask::ask(
                &config,
                zone,
                "resend",
                [("parcel", parcel), ("crossing", crossing), ("from", from), ("to", to)],
                out,
            )
        }
        Command::Reseal { parcel, to } => {
            ask::ask(&config, zone, "reseal", [("parcel", Some(parcel)), ("to", Some(to))], out)
        }
        Command::Keys(asked) => keys::keys(&config, zone, &asked, out),
        Command::Clock { action, reason } if action == "confirm" => {
            ask::ask(&config, zone, "clock-confirm", [("reason", Some(reason))], out)
        }
        Command::Clock { .. } => {
            out.error("clock takes confirm", "clock confirm --reason TEXT", "clock confirm --reason 原因");
            Exit::Config
        }
        Command::Route { switch, route, reason } if switch == "enable" || switch == "disable" => {
            let action = if switch == "enable" { "route-enable" } else { "route-disable" };
            ask::ask(&config, zone, action, [("route", Some(route)), ("reason", Some(reason))], out)
        }
        Command::Route { .. } => {
            out.error(
                "route takes enable or disable",
                "route disable NAME --reason TEXT",
                "route disable 名称 --reason 原因",
            );
            Exit::Config
        }
        Command::Backup => backup::backup(&config, zone, out),
        Command::Restore(asked) => backup::restore(&config, zone, &asked, out),
        Command::Outbox { word, reason } if word == "aside" => {
            ask::ask(&config, zone, "outbox-aside", [("reason", Some(reason))], out)
        }
        Command::Outbox { .. } => {
            out.error("outbox takes aside", "outbox aside --reason TEXT", "outbox aside --reason 原因");
            Exit::Config
        }
        Command::Duplicate { word, parcel, reason } if word == "admit" || word == "close" => {
            let action = format!("duplicate-{word}");
            ask::ask(&config, zone, &action, [("parcel", Some(parcel)), ("reason", Some(reason))], out)
        }
        Command::Duplicate { .. } => {
            out.error(
                "duplicate takes admit or close",
                "duplicate admit PARCEL --reason TEXT",
                "duplicate admit 投递件 --reason 原因",
            );
            Exit::Config
        }
        Command::DiodeTest { seconds, wait } => {
            line::test(&config, zone, LineTest { seconds, wait: Duration::from_secs(wait.into()) }, out)
        }
        Command::Report { month, out: file } => ask::report(&config, zone, &month, file, out),
        Command::Index { action } if action == "rebuild" => ask::rebuild(&config, zone, out),
        Command::Seal { .. } | Command::Open { .. } if !config.node.manual => {
            out.error(
                "sealing and opening by hand is switched off here (node.manual = false)",
                "drop into an inlet; by hand nothing ever leaves the internal zone",
                "请使用投递口；业务内网的内容从不允许手工带出",
            );
            Exit::Refused
        }
        Command::Seal { route, path, out: bundle } => by_hand::seal(&config, zone, &route, &path, &bundle, out),
        Command::Open { bundle, out: folder, .. } => by_hand::open(&config, zone, &bundle, &folder, out),
        Command::Index { .. } => {
            out.error("index takes rebuild", "index rebuild", "index rebuild");
            Exit::Config
        }
        Command::Check { .. } | Command::Init => Exit::Done,
    }
}

/// `A-B`, or one number for both.
fn read_range(words: &str) -> Option<(String, String)> {
    let (from, to) = words.split_once('-').unwrap_or((words, words));
    (from.parse::<u64>().is_ok() && to.parse::<u64>().is_ok()).then(|| (from.to_owned(), to.to_owned()))
}
