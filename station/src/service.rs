//! The daemon: stages in named threads around one station, until a signal. Each thread waits on the spool's bell, so
//! work is taken up at once and an idle node sleeps.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use protocol::Timestamp;
use protocol::ledger::{Event, Local, Record};
use spool::SpoolError;

use crate::admission::Admission;
use crate::alarm::Alarm;
use crate::clock;
use crate::housekeeping::Housekeeping;
use crate::intake::Intake;
use crate::receipts::Receipts;
use crate::station::{Station, StationError};

/// A stage looks at least this often, whatever the bell says: settle times, gathering receipts, file systems that
/// tell nobody of a change.
const IDLE: Duration = Duration::from_millis(250);
/// After an error a stage waits this long, so that a full disk does not fill the log.
const AFTER_ERROR: Duration = Duration::from_secs(2);

/// Tells every thread to end. A link that has its own form of this hangs it on with [`Stop::also`].
#[derive(Clone, Default)]
pub struct Stop {
    inner: Arc<StopInner>,
}

#[derive(Default)]
struct StopInner {
    flag: AtomicBool,
    failed: AtomicBool,
    also: Mutex<Vec<Box<dyn FnOnce() + Send>>>,
}

impl Stop {
    /// From now on [`Stop::is_set`].
    pub fn set(&self) {
        self.inner.flag.store(true, Ordering::SeqCst);
        let also = std::mem::take(&mut *self.inner.also.lock().unwrap_or_else(PoisonError::into_inner));
        also.into_iter().for_each(|tell| tell());
    }

    /// Is it time to end?
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.inner.flag.load(Ordering::SeqCst)
    }

    /// Ends the daemon because it cannot go on: `run` exits with an error.
    pub fn fail(&self) {
        self.inner.failed.store(true, Ordering::SeqCst);
        if signal_hook::low_level::raise(signal_hook::consts::SIGTERM).is_err() {
            self.set();
        }
    }

    /// Did it end for that?
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.inner.failed.load(Ordering::SeqCst)
    }

    /// Tells somebody else too, at once where it is already time.
    pub fn also(&self, tell: impl FnOnce() + Send + 'static) {
        self.inner.also.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(tell));
        if self.is_set() {
            self.set();
        }
    }
}

/// Starts the stages of a station.
pub fn start(station: &Arc<Station>, stop: &Stop) -> Result<Vec<JoinHandle<()>>, StationError> {
    station.spool.record(Record::new(Event::NodeStarted, clock::now()), Local::none())?;
    let mut intake = Intake::new(station)?;
    let mut admission = Admission::default();
    let mut receipts = Receipts::default();
    let mut housekeeping = Housekeeping::default();
    // Snapshots stand before the first request can be asked.
    housekeeping.publish(station, clock::now())?;
    Ok(vec![
        stage("intake", station, stop, move |station, now| intake.step(station, now))?,
        stage("admission", station, stop, move |station, now| admission.step(station, now))?,
        stage("receipts", station, stop, move |station, now| receipts.step(station, now))?,
        stage("desk", station, stop, crate::desk::step)?,
        stage("housekeeping", station, stop, move |station, now| housekeeping.step(station, now))?,
    ])
}

fn stage(
    name: &'static str,
    station: &Arc<Station>,
    stop: &Stop,
    mut step: impl FnMut(&Station, Timestamp) -> Result<usize, StationError> + Send + 'static,
) -> Result<JoinHandle<()>, StationError> {
    let (station, stop) = (Arc::clone(station), stop.clone());
    let run = move || {
        let mut failing = false;
        while !stop.is_set() {
            // Read before the step: what rings during it is not slept through.
            let heard = station.spool.bell().generation();
            // A thread that ended in a panic would be missed by nobody while the watchdog still hears the others.
            let stepped = catch_unwind(AssertUnwindSafe(|| step(&station, clock::now()))).unwrap_or_else(|_| {
                Err(StationError::Io { path: name.into(), cause: io::Error::other("panicked; this is a bug of ours") })
            });
            match stepped {
                Ok(0) => {
                    station.spool.bell().wait(heard, IDLE);
                }
                Ok(_) => {
                    if failing {
                        failing = false;
                        station.alarms.clear(clock::now(), Alarm::DiskError);
                        station.alarms.clear(clock::now(), Alarm::SpoolFull);
                    }
                }
                Err(StationError::Spool(error @ (SpoolError::Poisoned { .. } | SpoolError::Index { .. }))) => {
                    // Only a fresh start reads the ledger from the disk again, or opens an index that has met an error
                    // (redb takes nothing more then); systemd gives one.
                    tracing::error!(stage = name, %error, "the daemon ends so that it can start anew");
                    let index = matches!(error, SpoolError::Index { .. });
                    station.alarms.raise(clock::now(), if index { Alarm::DiskError } else { Alarm::LedgerDamaged });
                    stop.fail();
                }
                Err(error) => {
                    failing = true;
                    let alarm = match &error {
                        StationError::Spool(SpoolError::Full { .. }) => Alarm::SpoolFull,
                        _ => Alarm::DiskError,
                    };
                    tracing::error!(stage = name, %error, "the stage stopped at an error and will try again");
                    station.alarms.raise(clock::now(), alarm);
                    pause(&stop, AFTER_ERROR);
                }
            }
        }
    };
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map_err(|cause| StationError::Io { path: name.into(), cause })
}

fn pause(stop: &Stop, at_most: Duration) {
    let pieces = 20;
    for _ in 0..pieces {
        if stop.is_set() {
            return;
        }
        std::thread::park_timeout(at_most / pieces);
    }
}

/// Why the daemon's loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// SIGTERM or SIGINT.
    Terminate,
    /// SIGHUP: read the config again.
    Reload,
}

/// Waits for a signal, feeding systemd's watchdog meanwhile.
pub fn wait_for_signal() -> io::Result<Ended> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    notify(&[sd_notify::NotifyState::Ready]);
    let watchdog = std::thread::Builder::new();
    let ended = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&ended);
    let beat = watchdog.name("watchdog".to_owned()).spawn(move || {
        while !flag.load(Ordering::SeqCst) {
            notify(&[sd_notify::NotifyState::Watchdog]);
            std::thread::park_timeout(Duration::from_secs(5));
        }
    })?;
    let signal = signals.forever().next();
    ended.store(true, Ordering::SeqCst);
    beat.thread().unpark();
    if beat.join().is_err() {
        tracing::warn!("the watchdog thread ended in a panic");
    }
    Ok(if signal == Some(SIGHUP) { Ended::Reload } else { Ended::Terminate })
}

/// Tells systemd, where it listens.
pub fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not told");
    }
}
