//! The daemon: stages in named threads around one station, until a signal. Each thread waits on the spool's bell, so
//! work is taken up at once and an idle node sleeps.

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use protocol::Timestamp;
use protocol::ledger::{Event, Local, Record};
use protocol::parcel::Priority;
use protocol::signer::{SignError, Signer as _};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use spool::SpoolError;

use crate::admission::Admission;
use crate::alarm::Alarm;
use crate::clock;
use crate::housekeeping::Housekeeping;
use crate::intake::Intake;
use crate::life::{Life, ran_ns};
use crate::receipts::Receipts;
use crate::station::{Station, StationError};

/// A stage looks at least this often, whatever the bell says: settle times, gathering receipts, file systems that
/// tell nobody of a change.
const IDLE: Duration = Duration::from_millis(250);
/// Threads that judge and seal the drops of one group. More would only wait for the disk.
const INTAKE_WORKERS_MAX: usize = 8;
/// After an error a stage waits this long, so that a full disk does not fill the log.
const AFTER_ERROR: Duration = Duration::from_secs(2);

/// The watchdog's units are minutes; this is often enough and costs nothing.
const WATCH_EVERY: Duration = Duration::from_secs(5);

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
        if signal_hook::low_level::raise(SIGTERM).is_err() {
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

/// What stages fail with, so that an alarm clears when the last of them goes on.
type Failing = Arc<Mutex<BTreeMap<&'static str, Alarm>>>;

/// Starts the stages of a station. Those that did start are among the threads after an error too.
pub fn start(
    station: &Arc<Station>,
    stop: &Stop,
    life: &Life,
    threads: &mut Vec<JoinHandle<()>>,
) -> Result<(), StationError> {
    let now = station.clock.see(clock::read());
    station.spool.record(Record::new(Event::NodeStarted, now), Local::none())?;
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(INTAKE_WORKERS_MAX);
    let mut admission = Admission::with_workers(workers);
    let mut receipts = Receipts::default();
    let mut housekeeping = Housekeeping::default();
    // Snapshots stand before the first request can be asked. Where they cannot, parcels are carried all the same, and
    // housekeeping fails with an alarm until they can.
    if let Err(error) = housekeeping.publish(station, now) {
        tracing::error!(%error, "the status cannot be shown");
    }
    let all = Stages { station, stop, life, failing: Failing::default() };
    for priority in Priority::ALL {
        let name = match priority {
            Priority::Urgent => "intake-urgent",
            Priority::Normal => "intake-normal",
            Priority::Bulk => "intake-bulk",
        };
        let mut intake = Intake::of(station, priority, workers)?;
        if !intake.is_empty() {
            threads
                .push(all.stage(name, move |station, now| signed(station).and_then(|()| intake.step(station, now)))?);
        }
    }
    threads
        .push(all.stage("admission", move |station, now| signed(station).and_then(|()| admission.step(station, now)))?);
    threads.push(all.stage("receipts", move |station, now| receipts.step(station, now))?);
    threads.push(all.stage("desk", crate::desk::step)?);
    threads.push(all.stage("housekeeping", move |station, now| housekeeping.step(station, now))?);
    Ok(())
}

/// Nothing is looked into that could not be signed for afterwards, again and again while a device is away.
fn signed(station: &Station) -> Result<(), StationError> {
    if station.keyring.signing.is_away() {
        return Err(SignError::Failed("the device with this node's key does not sign at present".to_owned()).into());
    }
    Ok(())
}

/// What every stage of a daemon is given.
struct Stages<'a> {
    station: &'a Arc<Station>,
    stop: &'a Stop,
    life: &'a Life,
    failing: Failing,
}

impl Stages<'_> {
    fn stage(
        &self,
        name: &'static str,
        mut step: impl FnMut(&Station, Timestamp) -> Result<usize, StationError> + Send + 'static,
    ) -> Result<JoinHandle<()>, StationError> {
        let (station, stop, failing) = (Arc::clone(self.station), self.stop.clone(), Arc::clone(&self.failing));
        let pulse = self.life.begin(name, clock::read().boot_ms);
        let run = move || {
            while !stop.is_set() {
                pulse.beat();
                // Read before the step: what rings during it is not slept through.
                let heard = station.spool.bell().generation();
                let now = station.clock.see(clock::read());
                // A thread that ended in a panic would do nothing any more while its fellows go on.
                let stepped = catch_unwind(AssertUnwindSafe(|| step(&station, now))).unwrap_or_else(|_| {
                    let cause = io::Error::other("panicked; this is a bug of ours");
                    Err(StationError::Io { path: name.into(), cause })
                });
                match stepped {
                    Ok(done) => {
                        goes_on(&station, &failing, name, now);
                        if done == 0 {
                            station.spool.bell().wait(heard, IDLE);
                        }
                    }
                    Err(StationError::Spool(error @ (SpoolError::Poisoned { .. } | SpoolError::Index { .. }))) => {
                        // Only a fresh start reads the ledger from the disk again, or opens an index that has met an
                        // error (redb takes nothing more then); systemd gives one.
                        tracing::error!(stage = name, %error, "the daemon ends so that it can start anew");
                        let index = matches!(error, SpoolError::Index { .. });
                        station.alarms.raise(now, if index { Alarm::DiskError } else { Alarm::LedgerDamaged });
                        stop.fail();
                    }
                    Err(error) => {
                        let alarm = match &error {
                            error if error.is_of_signer() => Alarm::SignerAway,
                            StationError::Spool(SpoolError::Full { .. }) => Alarm::SpoolFull,
                            _ => Alarm::DiskError,
                        };
                        tracing::error!(stage = name, %error, "the stage stopped at an error and will try again");
                        fails(&station, &failing, name, alarm, now);
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
}

/// A stage fails with this, and with what it failed before no more.
fn fails(station: &Station, failing: &Failing, stage: &'static str, alarm: Alarm, now: Timestamp) {
    let before = failing.lock().unwrap_or_else(PoisonError::into_inner).get(stage).copied();
    if before != Some(alarm) {
        goes_on(station, failing, stage, now);
        failing.lock().unwrap_or_else(PoisonError::into_inner).insert(stage, alarm);
    }
    station.alarms.raise(now, alarm);
}

/// A stage does not fail any more with what it failed with. The alarm stands while another still does.
fn goes_on(station: &Station, failing: &Failing, stage: &str, now: Timestamp) {
    let mut failing = failing.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(alarm) = failing.remove(stage).filter(|alarm| !failing.values().any(|other| other == alarm)) {
        station.alarms.clear(now, alarm);
    }
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

/// What a daemon is told by, from here to the end of its process: a signal that comes while it starts anew after a reload
/// is acted on when it serves.
///
/// # Errors
/// The system gives no handlers or pipe.
pub fn signals() -> io::Result<Signals> {
    Signals::new([SIGTERM, SIGINT, SIGHUP])
}

/// Waits for a signal. Meanwhile systemd's watchdog is fed, as long as every stage shows life: a stage that hangs takes
/// the daemon with it, and the next one finishes what this one began.
pub fn wait_for_signal(station: &Arc<Station>, life: &Life, signals: &mut Signals) -> io::Result<Ended> {
    notify(&[sd_notify::NotifyState::Ready]);
    let ended = Arc::new(AtomicBool::new(false));
    let (flag, station, life) = (Arc::clone(&ended), Arc::clone(station), life.clone());
    let beat = std::thread::Builder::new().name("watchdog".to_owned()).spawn(move || {
        while !flag.load(Ordering::SeqCst) {
            let reading = clock::read();
            let still = life.still(reading.boot_ms, ran_ns);
            // A stage that hangs may hold any lock but the alarms' own, which is never held while waiting.
            if still.is_empty() {
                notify(&[sd_notify::NotifyState::Watchdog]);
            } else {
                tracing::error!(stages = still.join(", "), "no life; the watchdog is not fed");
            }
            station.alarms.stands(reading.wall, Alarm::StageStuck, !still.is_empty());
            std::thread::park_timeout(WATCH_EVERY);
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
