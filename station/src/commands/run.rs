//! `run`: the daemon. A reload builds everything anew from the config and carries on with the same spool.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use protocol::Zone;
use signal_hook::iterator::Signals;
use spool::{Layout, SpoolError, memory};

use super::ask::{is_foreign, running};
use super::{Exit, Links, Words, check};
use crate::alarm::Alarm;
use crate::clock::{self, Reckoning};
use crate::config::Config;
use crate::life::Life;
use crate::reserve;
use crate::sandbox::Layers;
use crate::service::{self, Ended, Stop};
use crate::station::{Plan, Station, StationError};
use protocol::signer::Signer as _;

/// An alarm that was raised last is still carried to its program, where that does not take longer.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// The command.
pub(super) fn run<L: Links>(zone: Zone, path: &Path, mut config: Config<L>, out: &Words) -> Exit {
    log_to();
    let guarded = memory::guard();
    if guarded.holds() {
        tracing::info!("keys: {guarded}");
    } else {
        tracing::warn!("keys: {guarded}; compare the unit with the shipped one");
    }
    let mut reckoning = None;
    // What was read once is what is served, and is served again where a later reading is not fit: the keys, cards and
    // rules on the disk may be half written, or unsigned, at that moment.
    let mut plan = match Plan::from_config(&config, zone) {
        Ok(plan) => plan,
        Err(error) => return fail(&error, out),
    };
    let mut signals = match service::signals() {
        Ok(signals) => signals,
        Err(cause) => return fail(&StationError::Io { path: "signals".into(), cause }, out),
    };
    let mut reload_refused = false;
    // What was served before a reload, until what came after it is served too.
    let mut before: Option<(Config<L>, Plan)> = None;
    loop {
        let mut served = false;
        let ended = serve(&config, plan.clone(), reload_refused, &mut reckoning, &mut signals, &mut served);
        if served {
            before = None;
        }
        match ended {
            Ok(Ended::Terminate) => {
                service::notify(&[sd_notify::NotifyState::Stopping]);
                tracing::info!("stopped");
                return Exit::Done;
            }
            Ok(Ended::Reload) => {
                service::notify(&[sd_notify::NotifyState::Reloading]);
                match Config::<L>::load(path) {
                    Ok((read, text)) => {
                        let faults = check::faults(zone, &read);
                        reload_refused = true;
                        match Plan::from_config(&read, zone) {
                            Err(error) => {
                                tracing::error!(%error, "keys, cards or rules of the new config cannot be used; the old one stays in force");
                            }
                            Ok(_) if !faults.is_empty() => {
                                check::print_faults(path, &text, &faults, out);
                                tracing::error!(
                                    faults = faults.len(),
                                    "the new config has faults; the old one stays in force"
                                );
                            }
                            Ok(read_again) => {
                                tracing::info!("config read again");
                                before = Some((
                                    std::mem::replace(&mut config, read),
                                    std::mem::replace(&mut plan, read_again),
                                ));
                                reload_refused = false;
                            }
                        }
                    }
                    Err(error) => {
                        reload_refused = true;
                        tracing::error!(%error, "the new config cannot be read; the old one stays in force");
                    }
                }
            }
            Err(error) => match before.take() {
                // Some faults only show when the node starts on it: an address that is taken, a card that is not there.
                Some(was) => {
                    tracing::error!(%error, "the new config cannot be served; the old one goes on");
                    ((config, plan), reload_refused) = (was, true);
                }
                None => {
                    last_words(&Layout::new(&config.node.spool), &error);
                    return fail(&error, out);
                }
            },
        }
    }
}

/// Whoever asks for the status of a node that ended over its disk reads why, where a byte can be had for it.
fn last_words(layout: &Layout, error: &StationError) {
    let Some(alarm) = of_disk(layout, error) else { return };
    // A daemon at work says for itself what is wrong.
    if is_foreign(layout) || running(layout) {
        return;
    }
    if let Err(error) = reserve::last_words(layout, alarm, clock::now()) {
        tracing::error!(%error, "the status cannot say why");
    }
}

/// The alarm of an end that came by the spool's disk. A link, a worker or a signal that does not begin is none of it.
fn of_disk(layout: &Layout, error: &StationError) -> Option<Alarm> {
    let by = |path: &Path, cause: &io::Error| {
        let full = cause.kind() == io::ErrorKind::StorageFull;
        path.starts_with(layout.root()).then_some(if full { Alarm::SpoolFull } else { Alarm::DiskError })
    };
    match error {
        StationError::Spool(SpoolError::Full { .. } | SpoolError::LedgerFull { .. }) => Some(Alarm::SpoolFull),
        StationError::Spool(SpoolError::Poisoned { .. } | SpoolError::Index { .. }) => Some(Alarm::DiskError),
        StationError::Spool(SpoolError::Disk { path, source }) => by(path, source),
        StationError::Io { path, cause } => by(path, cause),
        _ => None,
    }
}

fn fail(error: &StationError, out: &Words) -> Exit {
    let (exit, en, zh) = match error {
        StationError::Spool(_) | StationError::Io { .. } => (
            Exit::Disk,
            "see the message; run `check`, and make sure no other daemon owns the spool",
            "请根据提示处理；运行 check，并确认没有其他守护进程占用存转区",
        ),
        _ => (Exit::Config, "run `check`: it names everything that is wrong", "请运行 check 查看全部问题"),
    };
    out.error(&error.to_string(), en, zh);
    exit
}

fn serve<L: Links>(
    config: &Config<L>,
    plan: Plan,
    reload_refused: bool,
    reckoning: &mut Option<Reckoning>,
    signals: &mut Signals,
    served: &mut bool,
) -> Result<Ended, StationError> {
    // What the daemon makes is for itself and its groups, whatever the shell's mask was.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o007));
    // After a reload the spool is opened by the time that was believed before it.
    let now = reckoning.as_mut().map_or_else(clock::now, |reckoning| reckoning.see(clock::read()));
    let station = Arc::new(Station::take(plan, now)?);
    if let Some(before) = reckoning.as_ref() {
        station.clock.carry_on(before.clone());
    }
    station.alarms.stands(now, Alarm::ReloadRefused, reload_refused);
    watch_sandbox(&station)?;
    let stop = Stop::default();
    let life = Life::default();
    let mut threads = Vec::new();
    let started = config
        .link
        .start(&station, &stop, &mut threads)
        .map_err(|cause| StationError::Io { path: "link".into(), cause })
        .and_then(|()| {
            // From here on what is served is on record, and nobody goes back to what was before.
            *served = true;
            station.come_into_force(now)
        })
        .and_then(|()| service::start(&station, &stop, &life, &mut threads));
    if let Err(error) = started {
        end(&station, &stop, threads);
        return Err(error);
    }
    tracing::info!(node = %station.node, zone = %station.zone, suite = %station.suite, "serving");
    let ended = service::wait_for_signal(&station, &life, signals);
    end(&station, &stop, threads);
    *reckoning = Some(station.clock.reckoning());
    if stop.has_failed() {
        return Err(StationError::Io {
            path: station.layout().ledger(),
            cause: std::io::Error::other("the ledger took no more records; see the log"),
        });
    }
    ended.map_err(|cause| StationError::Io { path: "signals".into(), cause })
}

/// A node whose guard has no workers can judge nothing, and says so at once; one whose workers lack a lock goes on, loudly.
fn watch_sandbox(station: &Arc<Station>) -> Result<(), StationError> {
    let layers = station.sandbox.layers().map_err(|cause| StationError::Io { path: "sandbox".into(), cause })?;
    let weak = layers.is_some_and(Layers::are_weak);
    station.watch(Alarm::SandboxWeak, move || weak);
    if let Some(scanner) = station.scanner.clone() {
        station.watch_count(Alarm::ScannerSilent, move || scanner.silences());
    }
    let signing = station.keyring.signing.clone();
    station.watch(Alarm::SignerAway, move || signing.is_away());
    let sandbox = station.sandbox.clone();
    station.watch_count(Alarm::WorkerFailed, move || sandbox.failures());
    Ok(())
}

fn end(station: &Arc<Station>, stop: &Stop, threads: Vec<std::thread::JoinHandle<()>>) {
    stop.set();
    station.spool.bell().ring();
    for thread in threads {
        thread.thread().unpark();
        let name = thread.thread().name().unwrap_or("unnamed").to_owned();
        if thread.join().is_err() {
            tracing::error!(thread = name, "ended in a panic");
        }
    }
    station.alarms.settle(LAST_WORDS);
}

/// To journald where there is one, else to stderr. `RUST_LOG` chooses; `info` by default.
fn log_to() {
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::util::SubscriberInitExt;
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let under_systemd = std::env::var_os("JOURNAL_STREAM").is_some();
    let journal = if under_systemd { tracing_journald::layer().ok() } else { None };
    let plain =
        journal.is_none().then(|| tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false));
    if tracing_subscriber::registry().with(filter).with(journal).with(plain).try_init().is_err() {
        tracing::debug!("a subscriber was set before");
    }
}
