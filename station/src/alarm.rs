//! Alarms: a code, whether it stands, and one sentence in two languages. A code is what wakes somebody; its page in
//! `docs/operations.md` begins with the first command to type. Codes and counts only, never content.
//!
//! Whoever raises one waits for nobody: the words go into a bounded queue, and a thread of its own carries them to the
//! alarm program and to syslog. What stands is kept in memory and found anew after a restart.

use std::collections::HashMap;
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use protocol::{Name, Timestamp};
use serde_json::{Value, json};

use crate::clock::is_due;
use crate::config::{AlarmSettings, Syslog};
use crate::program;

/// A standing alarm speaks again after this long, often enough to be seen by the next shift; one that tells of an event
/// and not of a state is cleared when nothing of it was seen for as long.
const REPEAT_MS: u64 = 60 * 60 * 1000;
/// Words that wait for the alarm program. There are fewer alarms than this; when more wait, the program hangs, and the
/// log has every word all the same.
const WORDS_MAX: usize = 64;
/// An alarm program that takes longer is killed: a text message is sent in seconds, and the next alarm waits behind it.
const EXEC_WITHIN: Duration = Duration::from_secs(30);
/// A syslog socket whose reader is stuck holds up the words behind it for no longer than this.
const SYSLOG_WITHIN: Duration = Duration::from_secs(1);

macro_rules! alarms {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $command:literal, $en:literal, $zh:literal;)*) => {
        /// What can be wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Alarm { $($(#[$doc])* $variant,)* }
        impl Alarm {
            /// All codes, for the manual and its test.
            pub const ALL: &'static [Alarm] = &[$(Alarm::$variant,)*];
            /// The code.
            #[must_use]
            pub const fn code(self) -> &'static str { match self { $(Alarm::$variant => $code,)* } }
            /// The first command to type; `ZONE` stands for the zone's name.
            #[must_use]
            pub const fn first_command(self) -> &'static str { match self { $(Alarm::$variant => $command,)* } }
            /// English words.
            #[must_use]
            pub const fn english(self) -> &'static str { match self { $(Alarm::$variant => $en,)* } }
            /// Chinese words.
            #[must_use]
            pub const fn chinese(self) -> &'static str { match self { $(Alarm::$variant => $zh,)* } }
        }
    };
}

alarms! {
    /// The spool cannot be written.
    SpoolFull = "spool-full", "df -h /var/lib/trilock; df -i /var/lib/trilock",
        "the spool is below its floor of free space; the node has stopped taking", "存转区剩余空间低于下限，节点已停止接收";
    /// A file system error.
    DiskError = "disk-error", "journalctl -u trilock-ZONE -p err -n 50",
        "the disk refused an operation; the stage will try again", "磁盘操作失败，稍后重试";
    /// One item fails again and again.
    Retrying = "retrying", "ZONE-node status",
        "an item fails again and again; it is tried with growing pauses and holds up no other", "有条目反复失败；按递增间隔重试，不影响其他条目";
    /// A stage does nothing any more.
    StageStuck = "stage-stuck", "journalctl -u trilock-ZONE -n 100",
        "a stage has shown no life; the watchdog will start the daemon anew", "某个阶段已无响应，看门狗将重新启动守护进程";
    /// The wall clock is not believed.
    ClockDoubt = "clock-in-doubt", "timedatectl; ZONE-node status",
        "the clock is in doubt: nothing expires, retires or is refused for time", "时钟存疑：在此期间不过期、不清退、不因时间拒绝";
    /// The device that signs for the node does not answer, or refuses.
    SignerAway = "signer-away", "ZONE-node check",
        "the device with this node's signing key does not sign; parcels and papers wait for it", "本节点签名密钥所在设备未应答或拒绝签名；投递件与单据等待中";
    /// A key card is missing or its days are over.
    Cards = "key-card", "ZONE-node check",
        "a key card that this node needs is missing, not valid yet or expired", "本节点所需的公钥卡缺失、尚未生效或已过期";
    /// A bundle that does not verify.
    NotAuthentic = "not-authentic", "journalctl -u trilock-ZONE -p warning --since -1h",
        "a bundle or paper did not verify and is held in quarantine", "密封包或单据验证失败，已隔离";
    /// Coordinates came from a higher zone.
    Incident = "incident", "ZONE-node list --state refused --since 1d",
        "survey coordinates were found in a parcel from a higher zone", "来自高密级网区的投递件中发现测绘坐标";
    /// An app's drop was refused.
    Refused = "parcel-refused", "ZONE-node list --state refused --since 1d",
        "parcels were refused; see their notices", "有投递件被拒绝，请查看通知";
    /// A worker that did not answer.
    WorkerFailed = "worker-failed", "journalctl -u trilock-ZONE -p warning --since -1h | grep worker",
        "a worker of the guard died, was late or talked nonsense over a parcel, which counts as not inspectable", "检查岗的解析进程在处理投递件时崩溃、超时或应答异常，该投递件按无法检查处理";
    /// A lock of the workers is missing.
    SandboxWeak = "sandbox-weak", "ZONE-node check",
        "the workers of the guard lack a lock that this kernel or its setup does not give", "检查岗解析进程缺少某层隔离（内核或系统配置不支持）";
    /// A drop that cannot be renamed.
    CannotClaim = "cannot-claim", "ls -l /var/lib/trilock/ZONE/notices/*/*.waiting.json; ls -ld /var/lib/trilock/ZONE/inlet/*/*",
        "a drop cannot be taken: its file or folder is closed to this account (umask 0002 for the app)", "投递件无法领取：其文件或目录对本账户关闭（应用需设 umask 0002）";
    /// Retention ended without a receipt.
    Expired = "parcel-expired", "ZONE-node list --state expired",
        "parcels have waited for a receipt longer than the route allows", "投递件等待回执超过时限";
    /// An app does not empty its outlet.
    NotPickedUp = "outlet-not-picked-up", "ls -ltr /var/lib/trilock/ZONE/outlet/*",
        "deliveries have stood in an outlet longer than the route's pickup_hours", "交付件在交付口停留超过路由规定的 pickup_hours";
    /// An outlet holds what it may hold.
    OutletFull = "outlet-full", "ZONE-node status",
        "an outlet holds as much as its route allows; further deliveries of that route wait", "交付口已达路由上限；该路由的后续交付件等待中";
    /// A one-way link is silent.
    LinkSilent = "link-silent", "journalctl -u trilock-ZONE -n 30",
        "no beacon has come over the one-way link", "单向链路无信标";
    /// A copied machine, or a second daemon with the same keys.
    LinkTwoSenders = "link-two-senders", "journalctl -u trilock-ZONE -p err -n 30",
        "two senders with the same keys speak on the one-way link", "单向链路上有两个发送端使用同一密钥";
    /// Datagrams came and there was no room for them.
    LinkDrops = "link-drops", "sysctl net.core.rmem_max",
        "the kernel dropped datagrams of the one-way link for want of buffer; rounds bring them again", "内核因缓冲不足丢弃单向链路的数据报，后续轮次会补上";
    /// The kernel gives the receiver less than it needs.
    LinkBuffer = "link-buffer", "sysctl net.core.rmem_max",
        "the socket buffer of the one-way link holds less than 100 ms of its rate: raise net.core.rmem_max", "单向链路的套接字缓冲不足 100 毫秒流量：请调大 net.core.rmem_max";
    /// Datagrams did not leave the sender.
    LinkRefused = "link-refused", "ip -s link",
        "the kernel refuses datagrams of the one-way link: its interface is down, or smaller than mtu", "内核拒绝发送单向链路的数据报：接口未启用，或小于 mtu";
    /// The directories of a gate that moves files.
    GateFolder = "gate-folder", "ZONE-node check; journalctl -u trilock-ZONE -p err -n 30",
        "a directory of the gate that moves files cannot be listed, written or emptied", "文件搬运网闸的目录无法列出、写入或清空";
    /// The gate takes nothing.
    GateStalled = "gate-stalled", "ZONE-node check; journalctl -u trilock-ZONE -p err -n 30",
        "the gate that moves files has not taken what has lain for it for a quarter of an hour", "文件搬运网闸超过一刻钟未取走待搬运文件";
    /// More than the gate passes.
    GateTooLarge = "gate-too-large", "ZONE-node check; ZONE-node status",
        "entries are larger than the gate that moves files passes (bytes_max); they wait", "有条目超过文件搬运网闸的单文件上限（bytes_max），等待中";
    /// What lies in the folder and cannot be taken.
    GateFiles = "gate-files", "ZONE-node check; journalctl -u trilock-ZONE -p err -n 30",
        "files lie in the incoming directory of the gate and cannot be taken: never whole, foreign, renamed or unreadable", "网闸接收目录中有无法取走的文件：不完整、非本系统、被改名或不可读";
    /// Forged, or said before.
    GateBeacons = "gate-beacons", "journalctl -u trilock-ZONE -p err -n 30; timedatectl",
        "beacons came through the gate that are forged, of an unknown key, or of an earlier start of the sender", "经网闸到达的信标系伪造、密钥未知或来自发送端较早的一次启动";
    /// Something is missing on a one-way link.
    Gaps = "gaps", "ZONE-node gaps",
        "numbers are missing on a one-way crossing; the next round or gap report closes them", "单向跨区段存在缺号";
    /// Somebody calls with a key that is on no card.
    PeerUnknownKey = "peer-unknown-key", "ZONE-node check",
        "a gateway peer showed a link key that is on no card", "双向光闸对端出示的链路密钥不在信任库";
    /// A peer wants more than it may.
    PeerOverLimit = "peer-over-limit", "journalctl -u trilock-ZONE -p warning -n 50",
        "a gateway peer is over a limit of address, connections or bytes; it was deferred", "双向光闸对端超出地址、连接数或字节限制，已缓发";
    /// A peer speaks another language.
    PeerBrokeExchange = "peer-broke-exchange", "ZONE-node --version",
        "a gateway peer broke the exchange; its connection was closed", "双向光闸对端未按协议交换，连接已关闭";
    /// A trip out of order.
    TripOrder = "trip-order", "ferry trips --spool /var/lib/trilock/ZONE",
        "a ferry trip is missing, repeated or foreign", "摆渡批次缺失、重复或不属于本节点";
    /// A medium with more on it than its waybills name.
    NotOnWaybill = "not-on-waybill", "journalctl -u trilock-ZONE -p warning --since -1h | grep waybill",
        "a medium held things that are on no waybill; they were not opened", "介质上有不在运单上的内容，未打开";
    /// A request that may not be made.
    RequestRefused = "request-refused", "journalctl -u trilock-ZONE -p warning -n 20",
        "a request at the desk was refused", "办理台请求被拒绝";
    /// A budget kept something back.
    ExportBudget = "export-budget", "ZONE-node status; ZONE-node check",
        "the last trip left parcels behind because the budget of their type was spent; they wait for a later one", "上一批次因类型限额用尽而留下投递件；等待以后的批次";
    /// The scanner says nothing.
    ScannerSilent = "scanner-silent", "ZONE-node check; journalctl -u trilock-ZONE -p warning --since -1h | grep scanner",
        "the virus scanner gave no answer; parcels wait and are tried again, none passes unscanned", "病毒扫描程序无应答；投递件等待重试，不会未经扫描放行";
    /// A reload that could not be done.
    ReloadRefused = "reload-refused", "ZONE-node check",
        "a reload found a config, cards or rules that cannot come into force; what was loaded before is still in force", "重新加载时发现配置、公钥卡或规则无法生效；此前加载的内容继续有效";
    /// What was opened by hand lies in the clear and nobody took it.
    ByHandLeft = "by-hand-left", "journalctl -u trilock-ZONE -p warning --since -2h | grep 'opened by hand'",
        "what was opened by hand more than a day ago was never taken away", "手工拆封的内容超过一天仍未取走";
    /// No good backup for too long.
    BackupOverdue = "backup-overdue", "ZONE-node status; ls -l /backup/trilock; systemctl list-timers | grep trilock",
        "the last good backup is older than the config allows", "最近一次有效备份已超过配置时限";
    /// A backup that was not made.
    BackupFailed = "backup-failed", "ZONE-node status; df -h /backup/trilock; journalctl -u trilock-ZONE -n 50",
        "a backup could not be made or did not verify", "备份失败或校验未通过";
    /// Parcels that wait for a word after a restore.
    MayBeDuplicate = "may-be-duplicate", "ZONE-node list --state may-be-duplicate",
        "after a restore, parcels wait for an operator to say whether they were delivered before", "恢复后有投递件待操作员确认是否曾经交付";
    /// A parcel that waits by the ledger and is in no outbox, or cannot be read there.
    BundleMissing = "bundle-missing", "journalctl -u trilock-ZONE -p err -n 50",
        "bundles on record as waiting were lost by the disk, or cannot be read; all others go on", "审计账载明待发的密封包已被磁盘丢失或无法读取；其余照常传送";
    /// A ledger that did not verify.
    LedgerDamaged = "ledger-damaged", "ferry ledger verify --dir /var/lib/trilock/ZONE/ledger --trust /etc/trilock/trust",
        "a segment of the ledger is damaged and was set aside", "审计账分段损坏，已隔离";
    /// A ledger that was shortened or rewritten.
    LedgerContradicted = "ledger-contradicted", "find /var/lib/trilock/ZONE/evidence -name '*.head' -newermt '-1 day'; journalctl -u trilock-ZONE -p err -n 20",
        "a neighbour's signed heads contradict each other or our own ledger: a ledger was shortened or rewritten", "邻居签名的链首相互矛盾或与本节点审计账矛盾：有审计账被截短或重写";
}

impl Alarm {
    /// The alarm of a code, for whoever knows troubles by their code: a link.
    #[must_use]
    pub fn of_code(code: &str) -> Option<Alarm> {
        Alarm::ALL.iter().copied().find(|alarm| alarm.code() == code)
    }

    /// As `status` shows it.
    pub(crate) fn row(self, since: Timestamp, count: u64, zone: &str) -> Value {
        let command = self.first_command().replace("ZONE", zone);
        json!({ "code": self.code(), "since_ms": since.0, "count": count, "command": command, "en": self.english(), "zh": self.chinese() })
    }

    /// Does it tell of something that happened, and not of something that is so?
    #[must_use]
    pub const fn is_event(self) -> bool {
        matches!(
            self,
            Alarm::NotAuthentic
                | Alarm::Incident
                | Alarm::Refused
                | Alarm::WorkerFailed
                | Alarm::CannotClaim
                | Alarm::ScannerSilent
                | Alarm::RequestRefused
                | Alarm::TripOrder
                | Alarm::NotOnWaybill
                | Alarm::LedgerDamaged
                | Alarm::BackupFailed
                | Alarm::LinkDrops
                | Alarm::LinkRefused
                | Alarm::GateBeacons
                | Alarm::PeerUnknownKey
                | Alarm::PeerOverLimit
                | Alarm::PeerBrokeExchange
                | Alarm::LedgerContradicted
        )
    }
}

/// Where alarms go, and which stand.
#[derive(Clone)]
pub struct Alarms {
    inner: Arc<Inner>,
}

struct Inner {
    voice: Option<SyncSender<Words>>,
    /// Words that are queued or being carried.
    under_way: Arc<(Mutex<usize>, Condvar)>,
    standing: Mutex<HashMap<Alarm, Standing>>,
}

#[derive(Clone, Copy)]
struct Standing {
    since: Timestamp,
    spoken: Timestamp,
    last: Timestamp,
    count: u64,
}

/// One thing to say.
struct Words {
    alarm: Alarm,
    raised: bool,
    at: Timestamp,
    since: Timestamp,
    count: u64,
}

impl Words {
    const fn state(&self) -> &'static str {
        if self.raised { "raised" } else { "cleared" }
    }
}

impl Alarms {
    /// Alarms of one node.
    #[must_use]
    pub fn new(node: &Name, settings: &AlarmSettings) -> Alarms {
        Alarms::with(node, settings, EXEC_WITHIN)
    }

    fn with(node: &Name, settings: &AlarmSettings, exec_within: Duration) -> Alarms {
        let under_way = Arc::new((Mutex::new(0), Condvar::new()));
        let carrier = Carrier {
            node: node.clone(),
            exec: settings.exec.clone(),
            exec_within,
            syslog: settings.syslog.as_ref().and_then(Sink::open),
        };
        let voice = if carrier.exec.is_some() || carrier.syslog.is_some() {
            let (queue, words) = sync_channel(WORDS_MAX);
            let done = Arc::clone(&under_way);
            let thread = std::thread::Builder::new().name("alarms".to_owned());
            match thread.spawn(move || carrier.carry(&words, &done)) {
                Ok(_) => Some(queue),
                Err(error) => {
                    tracing::error!(%error, "no thread for alarms: they go to the log only");
                    None
                }
            }
        } else {
            None
        };
        Alarms { inner: Arc::new(Inner { voice, under_way, standing: Mutex::default() }) }
    }

    /// Something is wrong now. Speaks at once when it is new, then once an hour while it stands.
    pub fn raise(&self, now: Timestamp, alarm: Alarm) {
        let mut standing = self.inner.standing.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = standing.entry(alarm).or_insert(Standing { since: now, spoken: now, last: now, count: 0 });
        entry.count += 1;
        entry.last = now;
        if entry.count == 1 || is_due(now, entry.spoken, REPEAT_MS) {
            entry.spoken = now;
            let words = Words { alarm, raised: true, at: now, since: entry.since, count: entry.count };
            drop(standing);
            self.inner.speak(words);
        }
    }

    /// It is right again.
    pub fn clear(&self, now: Timestamp, alarm: Alarm) {
        let gone = self.inner.standing.lock().unwrap_or_else(PoisonError::into_inner).remove(&alarm);
        if let Some(gone) = gone {
            self.inner.speak(Words { alarm, raised: false, at: now, since: gone.since, count: gone.count });
        }
    }

    /// Raises or clears.
    pub fn stands(&self, now: Timestamp, alarm: Alarm, is_so: bool) {
        if is_so { self.raise(now, alarm) } else { self.clear(now, alarm) }
    }

    /// Clears what tells of events and has been quiet for an hour.
    pub fn rest(&self, now: Timestamp) {
        let quiet: Vec<Alarm> = {
            let standing = self.inner.standing.lock().unwrap_or_else(PoisonError::into_inner);
            standing
                .iter()
                .filter(|(alarm, s)| alarm.is_event() && is_due(now, s.last, REPEAT_MS))
                .map(|(alarm, _)| *alarm)
                .collect()
        };
        quiet.into_iter().for_each(|alarm| self.clear(now, alarm));
    }

    /// What stands, with since when and how often.
    #[must_use]
    pub fn standing(&self) -> Vec<(Alarm, Timestamp, u64)> {
        let standing = self.inner.standing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rows: Vec<_> = standing.iter().map(|(alarm, s)| (*alarm, s.since, s.count)).collect();
        rows.sort_unstable_by_key(|row| (row.1, row.0));
        rows
    }

    /// Waits until all words are carried, no longer than this: the last words of a daemon that ends would go with it.
    pub fn settle(&self, at_most: Duration) {
        let (under_way, changed) = &*self.inner.under_way;
        let held = under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = changed.wait_timeout_while(held, at_most, |words| *words > 0);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

impl Inner {
    fn speak(&self, words: Words) {
        let Words { alarm, count, since, .. } = words;
        let (code, state) = (alarm.code(), words.state());
        if words.raised {
            tracing::warn!(alarm = code, state, count, %since, "{} / {}", alarm.english(), alarm.chinese());
        } else {
            tracing::info!(alarm = code, state, count, %since, "{} / {}", alarm.english(), alarm.chinese());
        }
        let Some(voice) = &self.voice else { return };
        *self.under_way.0.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        if voice.try_send(words).is_err() {
            finished(&self.under_way);
            tracing::warn!(
                alarm = code,
                state,
                "too many alarms wait for the alarm program; this one goes to the log only"
            );
        }
    }
}

fn finished(under_way: &(Mutex<usize>, Condvar)) {
    let mut words = under_way.0.lock().unwrap_or_else(PoisonError::into_inner);
    *words = words.saturating_sub(1);
    under_way.1.notify_all();
}

/// Carries words out of the process, one after the other.
struct Carrier {
    node: Name,
    exec: Option<PathBuf>,
    exec_within: Duration,
    syslog: Option<Sink>,
}

impl Carrier {
    fn carry(&self, queue: &Receiver<Words>, under_way: &(Mutex<usize>, Condvar)) {
        // Ends when the last `Alarms` of this config is dropped.
        while let Ok(words) = queue.recv() {
            // Syslog first: it never takes long.
            if let Some(Err(error)) = self.syslog.as_ref().map(|sink| sink.send(&self.line(&words))) {
                tracing::warn!(%error, "the alarm did not reach syslog");
            }
            if let Some(Err(error)) = self.exec.as_ref().map(|program| self.run(program, &words)) {
                tracing::warn!(%error, "the alarm program failed");
            }
            finished(under_way);
        }
    }

    /// RFC 5424: facility 16 (local0), severity warning or notice, no structured data.
    fn line(&self, words: &Words) -> String {
        let severity = if words.raised { 4 } else { 5 };
        let (Words { alarm, at, since, .. }, state) = (words, words.state());
        format!(
            "<{}>1 {at} {} trilock - {} - {state} since {since}: {}",
            16 * 8 + severity,
            self.node,
            alarm.code(),
            alarm.english()
        )
    }

    /// Runs the program with words as arguments, never through a shell, and not for ever.
    fn run(&self, program: &Path, words: &Words) -> std::io::Result<()> {
        let mut command = Command::new(program);
        command
            .args([words.alarm.code(), words.state(), words.alarm.english(), words.alarm.chinese()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let status = program::run(&mut command, self.exec_within)?;
        if status.success() { Ok(()) } else { Err(std::io::Error::other(status.to_string())) }
    }
}

/// A syslog socket.
enum Sink {
    Local(UnixDatagram, PathBuf),
    Far(UdpSocket, std::net::SocketAddr),
}

impl Sink {
    fn open(target: &Syslog) -> Option<Sink> {
        let open = || match target {
            Syslog::Local(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.set_write_timeout(Some(SYSLOG_WITHIN))?;
                Ok::<_, std::io::Error>(Sink::Local(socket, path.clone()))
            }
            Syslog::Far(address) => {
                let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                Ok(Sink::Far(UdpSocket::bind(any)?, *address))
            }
        };
        open().map_err(|error| tracing::error!(%error, "no socket for syslog: alarms do not go there")).ok()
    }

    fn send(&self, line: &str) -> std::io::Result<()> {
        match self {
            // Looked up each time: a log daemon that was started anew has another socket under the same name.
            Sink::Local(socket, path) => socket.send_to(line.as_bytes(), path),
            Sink::Far(socket, address) => socket.send_to(line.as_bytes(), address),
        }
        .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    const NOON: Timestamp = Timestamp(1_795_305_599_000);
    const LONG: Duration = Duration::from_secs(20);

    fn node() -> Name {
        Name::new("extranet").unwrap()
    }

    /// A program that appends its first two arguments to a file, and the file.
    fn program(folder: &Path, more: &str) -> (PathBuf, PathBuf) {
        let (program, said) = (folder.join("alarm"), folder.join("said"));
        let text = format!("#!/bin/sh\n{more}\necho \"$1 $2 $3 $4\" >> {}\n", said.display());
        spool::Disk::real().write(&program, text.as_bytes()).unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        (program, said)
    }

    #[test]
    fn a_standing_alarm_speaks_once_then_hourly_and_again_when_it_clears() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        receiver.set_read_timeout(Some(LONG)).unwrap();
        let settings = AlarmSettings { exec: None, syslog: Some(Syslog::Far(receiver.local_addr().unwrap())) };
        let alarms = Alarms::new(&node(), &settings);
        let heard = || {
            let mut line = [0; 512];
            let length = receiver.recv(&mut line).unwrap();
            String::from_utf8_lossy(&line[..length]).into_owned()
        };
        alarms.raise(NOON, Alarm::Gaps);
        alarms.raise(NOON, Alarm::Gaps);
        assert_eq!(
            heard(),
            "<132>1 2026-11-21T23:59:59Z extranet trilock - gaps - raised since 2026-11-21T23:59:59Z: numbers are missing on a one-way crossing; the next round or gap report closes them"
        );
        assert_eq!(alarms.standing(), [(Alarm::Gaps, NOON, 2)]);
        alarms.raise(NOON.plus_ms(REPEAT_MS - 1), Alarm::Gaps);
        alarms.raise(NOON.plus_ms(REPEAT_MS), Alarm::Gaps);
        assert!(
            heard()
                .starts_with("<132>1 2026-11-22T00:59:59Z extranet trilock - gaps - raised since 2026-11-21T23:59:59Z")
        );
        // A clock that goes back by years does not silence it.
        alarms.raise(Timestamp(NOON.0 / 2), Alarm::Gaps);
        assert!(heard().contains("- gaps - raised"));
        alarms.clear(NOON, Alarm::Gaps);
        assert!(heard().starts_with("<133>") && alarms.standing().is_empty());
    }

    #[test]
    fn the_local_log_daemon_hears_it_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let daemon = UnixDatagram::bind(&path).unwrap();
        daemon.set_read_timeout(Some(LONG)).unwrap();
        let settings = AlarmSettings { exec: None, syslog: Some(Syslog::Local(path)) };
        Alarms::new(&node(), &settings).raise(NOON, Alarm::Incident);
        let mut line = [0; 512];
        let length = daemon.recv(&mut line).unwrap();
        let line = String::from_utf8_lossy(&line[..length]).into_owned();
        assert!(line.starts_with("<132>1 2026-11-21T23:59:59Z extranet trilock - incident - raised"), "{line}");
    }

    #[test]
    fn an_event_rests_after_a_quiet_hour_and_a_state_does_not() {
        let alarms = Alarms::new(&node(), &AlarmSettings::default());
        alarms.raise(Timestamp(0), Alarm::Refused);
        alarms.raise(Timestamp(0), Alarm::SpoolFull);
        alarms.rest(Timestamp(REPEAT_MS));
        assert_eq!(alarms.standing().into_iter().map(|row| row.0).collect::<Vec<_>>(), [Alarm::SpoolFull]);
    }

    #[test]
    fn the_alarm_program_is_told_code_state_and_words() {
        let folder = tempfile::tempdir().unwrap();
        let (program, said) = program(folder.path(), "");
        let alarms = Alarms::new(&node(), &AlarmSettings { exec: Some(program), syslog: None });
        alarms.raise(NOON, Alarm::Incident);
        alarms.clear(NOON, Alarm::Incident);
        alarms.settle(LONG);
        let words = format!("{} {}", Alarm::Incident.english(), Alarm::Incident.chinese());
        assert_eq!(
            std::fs::read_to_string(said).unwrap(),
            format!("incident raised {words}\nincident cleared {words}\n")
        );
    }

    #[test]
    fn an_alarm_program_that_hangs_holds_up_nobody_and_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let (program, said) = program(folder.path(), "if [ \"$1\" = gaps ]; then sleep 600; fi");
        let settings = AlarmSettings { exec: Some(program), syslog: None };
        let alarms = Alarms::with(&node(), &settings, Duration::from_millis(200));
        let began = Instant::now();
        alarms.raise(NOON, Alarm::Gaps);
        for _ in 0..WORDS_MAX {
            alarms.clear(NOON, Alarm::Gaps);
            alarms.raise(NOON, Alarm::Gaps);
        }
        assert!(began.elapsed() < Duration::from_millis(200) * 60, "raising waits for no program");
        // The first ones were killed before they spoke, and the next program has its turn.
        let alarms = Alarms::with(&node(), &settings, Duration::from_millis(500));
        alarms.raise(NOON, Alarm::Gaps);
        alarms.settle(LONG);
        let alarms = Alarms::with(&node(), &settings, LONG);
        alarms.raise(NOON, Alarm::Incident);
        alarms.settle(LONG);
        let said = std::fs::read_to_string(said).unwrap();
        assert!(said.starts_with("incident raised"), "a hanging one spoke after all: {said}");
    }

    #[test]
    fn every_alarm_has_its_page_with_the_first_command_in_two_languages() {
        let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
        let manual = std::fs::read_to_string(manual).unwrap();
        let pages: HashMap<&str, &str> =
            manual.split("\n### ").skip(1).filter_map(|page| page.split_once('\n')).collect();
        let is_chinese = |line: &str| line.chars().filter(|c| ('\u{4e00}'..='\u{9fff}').contains(c)).count() > 10;
        for alarm in Alarm::ALL {
            let page = pages.get(alarm.code()).unwrap_or_else(|| panic!("no page for {}", alarm.code()));
            let first = page.split_once("```sh\n").and_then(|(_, block)| block.lines().next()).unwrap_or_default();
            assert!(
                first.starts_with(alarm.first_command()),
                "{}: the page begins with \"{first}\", the alarm says \"{}\"",
                alarm.code(),
                alarm.first_command()
            );
            let prose: Vec<&str> = page.rsplit("```").next().unwrap_or_default().lines().collect();
            assert!(prose.iter().any(|line| is_chinese(line)), "{} has no Chinese words", alarm.code());
            assert!(
                prose.iter().any(|line| line.is_ascii() && line.len() > 40),
                "{} has no English words",
                alarm.code()
            );
            let ends = if alarm.is_event() { "Rests after" } else { "Clears" };
            assert!(page.contains(ends) || page.contains("lears"), "{} does not say when it ends", alarm.code());
        }
        let codes: Vec<&str> = Alarm::ALL.iter().map(|alarm| alarm.code()).collect();
        let alarms = manual.split_once("\n## Alarms").and_then(|(_, after)| after.split_once("\n## ")).unwrap().0;
        for page in alarms.split("\n### ").skip(1).filter_map(|page| page.lines().next()) {
            assert!(codes.contains(&page), "the page {page} is about no alarm");
        }
    }
}
