//! Alarms: a code, whether it stands, and one sentence in two languages. A code is what wakes somebody; its page in
//! `docs/operations.md` begins with the first command to type. Codes and counts only, never content.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use protocol::{Name, Timestamp};

use crate::config::AlarmSettings;

/// A standing alarm speaks again after this long, often enough to be seen by the next shift; one that tells of an event
/// and not of a state is cleared when nothing of it was seen for as long.
const REPEAT_MS: u64 = 60 * 60 * 1000;

macro_rules! alarms {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $en:literal, $zh:literal;)*) => {
        /// What can be wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Alarm { $($(#[$doc])* $variant,)* }
        impl Alarm {
            /// All codes, for the manual and its test.
            pub const ALL: &'static [Alarm] = &[$(Alarm::$variant,)*];
            /// The code.
            #[must_use]
            pub const fn code(self) -> &'static str { match self { $(Alarm::$variant => $code,)* } }
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
    SpoolFull = "spool-full", "the spool is below its floor of free space; the node has stopped taking", "存转区剩余空间低于下限，节点已停止接收";
    /// A file system error.
    DiskError = "disk-error", "the disk refused an operation; the stage will try again", "磁盘操作失败，稍后重试";
    /// A bundle that does not verify.
    NotAuthentic = "not-authentic", "a bundle or paper did not verify and is held in quarantine", "密封包或单据验证失败，已隔离";
    /// Coordinates came from a higher zone.
    Incident = "incident", "survey coordinates were found in a parcel from a higher zone", "来自高密级网区的投递件中发现测绘坐标";
    /// An app's drop was refused.
    Refused = "parcel-refused", "parcels were refused; see their notices", "有投递件被拒绝，请查看通知";
    /// A drop that cannot be renamed.
    CannotClaim = "cannot-claim", "a drop cannot be taken: the folder lacks group write (umask 0002 for the app)", "投递件无法领取：目录缺少组写权限（应用需设 umask 0002）";
    /// Retention ended without a receipt.
    Expired = "parcel-expired", "parcels have waited for a receipt longer than the route allows", "投递件等待回执超过时限";
    /// A one-way link is silent.
    LinkSilent = "link-silent", "no beacon has come over the one-way link", "单向链路无信标";
    /// Something is missing on a one-way link.
    Gaps = "gaps", "numbers are missing on a one-way crossing; the next round or gap report closes them", "单向跨区段存在缺号";
    /// A trip out of order.
    TripOrder = "trip-order", "a ferry trip is missing, repeated or foreign", "摆渡批次缺失、重复或不属于本节点";
    /// A request that may not be made.
    RequestRefused = "request-refused", "a request at the desk was refused", "办理台请求被拒绝";
    /// No good backup for too long.
    BackupOverdue = "backup-overdue", "the last good backup is older than the config allows", "最近一次有效备份已超过配置时限";
    /// A backup that was not made.
    BackupFailed = "backup-failed", "a backup could not be made or did not verify", "备份失败或校验未通过";
    /// Parcels that wait for a word after a restore.
    MayBeDuplicate = "may-be-duplicate", "after a restore, parcels wait for an operator to say whether they were delivered before", "恢复后有投递件待操作员确认是否曾经交付";
    /// A ledger that did not verify.
    LedgerDamaged = "ledger-damaged", "a segment of the ledger is damaged and was set aside", "审计账分段损坏，已隔离";
}

impl Alarm {
    /// Does it tell of something that happened, and not of something that is so?
    #[must_use]
    pub const fn is_event(self) -> bool {
        matches!(
            self,
            Alarm::NotAuthentic
                | Alarm::Incident
                | Alarm::Refused
                | Alarm::CannotClaim
                | Alarm::RequestRefused
                | Alarm::TripOrder
                | Alarm::LedgerDamaged
                | Alarm::BackupFailed
        )
    }
}

/// Where alarms go, and which stand.
#[derive(Clone)]
pub struct Alarms {
    inner: Arc<Inner>,
}

struct Inner {
    node: Name,
    exec: Option<PathBuf>,
    syslog: Option<(UdpSocket, SocketAddr)>,
    standing: Mutex<HashMap<Alarm, Standing>>,
}

#[derive(Clone, Copy)]
struct Standing {
    since: Timestamp,
    spoken: Timestamp,
    last: Timestamp,
    count: u64,
}

impl Alarms {
    /// Alarms of one node.
    #[must_use]
    pub fn new(node: &Name, settings: &AlarmSettings) -> Alarms {
        let syslog = settings.syslog.and_then(|target| {
            let any = if target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            UdpSocket::bind(any).ok().map(|socket| (socket, target))
        });
        let inner = Inner { node: node.clone(), exec: settings.exec.clone(), syslog, standing: Mutex::default() };
        Alarms { inner: Arc::new(inner) }
    }

    /// Something is wrong now. Speaks at once when it is new, then once an hour while it stands.
    pub fn raise(&self, now: Timestamp, alarm: Alarm) {
        let mut standing = self.inner.standing.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = standing.entry(alarm).or_insert(Standing { since: now, spoken: Timestamp(0), last: now, count: 0 });
        entry.count += 1;
        entry.last = now;
        if entry.count == 1 || now.since(entry.spoken) >= REPEAT_MS {
            entry.spoken = now;
            let count = entry.count;
            drop(standing);
            self.inner.speak(now, alarm, "raised", count);
        }
    }

    /// It is right again.
    pub fn clear(&self, now: Timestamp, alarm: Alarm) {
        let gone = self.inner.standing.lock().unwrap_or_else(PoisonError::into_inner).remove(&alarm);
        if let Some(standing) = gone {
            self.inner.speak(now, alarm, "cleared", standing.count);
        }
    }

    /// Clears what tells of events and has been quiet for an hour.
    pub fn rest(&self, now: Timestamp) {
        let quiet: Vec<Alarm> = {
            let standing = self.inner.standing.lock().unwrap_or_else(PoisonError::into_inner);
            standing
                .iter()
                .filter(|(alarm, s)| alarm.is_event() && now.since(s.last) >= REPEAT_MS)
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
        rows.sort_unstable_by_key(|row| row.1);
        rows
    }
}

impl Inner {
    fn speak(&self, now: Timestamp, alarm: Alarm, state: &str, count: u64) {
        if state == "raised" {
            tracing::warn!(alarm = alarm.code(), state, count, "{} / {}", alarm.english(), alarm.chinese());
        } else {
            tracing::info!(alarm = alarm.code(), state, count, "{}", alarm.english());
        }
        if let Some(program) = &self.exec {
            let run = Command::new(program)
                .args([alarm.code(), state, alarm.english(), alarm.chinese()])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn();
            match run {
                Ok(mut child) => {
                    // Reaped by a thread of its own: an alarm program that hangs must not hold up a stage.
                    let waiter = std::thread::Builder::new().name("alarm-exec".to_owned());
                    if waiter.spawn(move || child.wait()).is_err() {
                        tracing::warn!("no thread for the alarm program");
                    }
                }
                Err(error) => tracing::warn!(program = %program.display(), %error, "the alarm program did not start"),
            }
        }
        if let Some((socket, target)) = &self.syslog {
            let severity = if state == "raised" { 4 } else { 5 };
            // RFC 5424: facility 16 (local0), no structured data.
            let line = format!(
                "<{}>1 {now} {} trilock - {} - {state} {}",
                16 * 8 + severity,
                self.node,
                alarm.code(),
                alarm.english()
            );
            if let Err(error) = socket.send_to(line.as_bytes(), target) {
                tracing::warn!(%target, %error, "the syslog receiver cannot be reached");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_reaches_syslog_once_when_raised_and_once_when_cleared() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        receiver.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
        let settings = AlarmSettings { exec: None, syslog: receiver.local_addr().ok() };
        let alarms = Alarms::new(&Name::new("extranet").unwrap(), &settings);
        let heard = || {
            let mut line = [0; 512];
            let length = receiver.recv(&mut line).unwrap();
            String::from_utf8_lossy(&line[..length]).into_owned()
        };
        let now = Timestamp(1_795_305_599_000);
        alarms.raise(now, Alarm::Gaps);
        alarms.raise(now, Alarm::Gaps);
        assert_eq!(
            heard(),
            "<132>1 2026-11-21T23:59:59Z extranet trilock - gaps - raised numbers are missing on a one-way crossing; the next round or gap report closes them"
        );
        assert_eq!(alarms.standing(), [(Alarm::Gaps, now, 2)]);
        alarms.clear(now, Alarm::Gaps);
        assert!(heard().contains("- gaps - cleared"));
        assert_eq!(alarms.standing(), []);
    }

    #[test]
    fn an_event_rests_after_a_quiet_hour_and_a_state_does_not() {
        let alarms = Alarms::new(&Name::new("extranet").unwrap(), &AlarmSettings::default());
        alarms.raise(Timestamp(0), Alarm::Refused);
        alarms.raise(Timestamp(0), Alarm::SpoolFull);
        alarms.rest(Timestamp(REPEAT_MS));
        assert_eq!(alarms.standing().into_iter().map(|row| row.0).collect::<Vec<_>>(), [Alarm::SpoolFull]);
    }

    #[test]
    fn the_alarm_program_is_told_code_and_state() {
        let folder = tempfile::tempdir().unwrap();
        let (program, said) = (folder.path().join("alarm"), folder.path().join("said"));
        let text = format!("#!/bin/sh\necho \"$1 $2\" > {0}.part && mv {0}.part {0}\n", said.display());
        spool::Disk::real().write(&program, text.as_bytes()).unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let settings = AlarmSettings { exec: Some(program), syslog: None };
        Alarms::new(&Name::new("extranet").unwrap(), &settings).raise(Timestamp(0), Alarm::Incident);
        let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while !said.exists() && std::time::Instant::now() < until {
            std::thread::park_timeout(std::time::Duration::from_millis(5));
        }
        assert_eq!(std::fs::read_to_string(said).unwrap(), "incident raised\n");
    }
}
