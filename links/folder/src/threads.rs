//! The two threads: one a direction. They wait on the spool's bell, with the scan interval as its end.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use protocol::{BundleId, Timestamp};

use crate::clock::wall;
use crate::settings::BadSettings;
use crate::{Incoming, IncomingStatus, Link, Outgoing, OutgoingStatus, Settings, Stop};

/// Threads look at the stop flag at least this often.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The same complaint is told once a minute.
const COMPLAIN_EVERY_MS: u64 = 60_000;

/// The running link.
pub struct Running {
    /// End when the stop flag is raised.
    pub threads: Vec<JoinHandle<()>>,
    outgoing: Option<Arc<Mutex<Outgoing>>>,
    incoming: Option<Arc<Mutex<Incoming>>>,
}

impl Running {
    /// What both sides show of themselves, where they run.
    #[must_use]
    pub fn status(&self) -> (Option<OutgoingStatus>, Option<IncomingStatus>) {
        let outgoing = self.outgoing.as_ref().map(|side| side.lock().unwrap_or_else(PoisonError::into_inner).status());
        let incoming = self.incoming.as_ref().map(|side| side.lock().unwrap_or_else(PoisonError::into_inner).status());
        (outgoing, incoming)
    }

    /// How often the gate took an entry's file.
    #[must_use]
    pub fn rounds(&self, entry: &BundleId) -> u32 {
        self.outgoing.as_ref().map_or(0, |side| side.lock().unwrap_or_else(PoisonError::into_inner).rounds(entry))
    }

    /// Waits until its threads have ended.
    pub fn join(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the folder link ended in a panic");
            }
        }
    }
}

/// Starts one thread for each directory that is set.
pub fn start(link: &Link, settings: &Settings, stop: &Stop) -> io::Result<Running> {
    let invalid = |bad: BadSettings| io::Error::new(io::ErrorKind::InvalidInput, bad);
    settings.check().map_err(invalid)?;
    let mut running = Running { threads: Vec::new(), outgoing: None, incoming: None };
    let every = Duration::from_millis(settings.scan_ms);
    if settings.outgoing.is_some() {
        let side = Outgoing::open(link, settings, wall()).map_err(io::Error::other)?;
        let side = running.outgoing.insert(Arc::new(Mutex::new(side))).clone();
        let step = move |now| side.lock().unwrap_or_else(PoisonError::into_inner).step(now).map_err(|e| e.to_string());
        running.threads.push(spawn("folder-send", link, stop, every, true, step)?);
    }
    if settings.incoming.is_some() {
        let side = Incoming::open(link, settings, wall()).map_err(io::Error::other)?;
        let side = running.incoming.insert(Arc::new(Mutex::new(side))).clone();
        let step = move |now| side.lock().unwrap_or_else(PoisonError::into_inner).step(now).map_err(|e| e.to_string());
        running.threads.push(spawn("folder-receive", link, stop, every, false, step)?);
    }
    Ok(running)
}

fn spawn(
    name: &'static str,
    link: &Link,
    stop: &Stop,
    every: Duration,
    by_bell: bool,
    mut step: impl FnMut(Timestamp) -> Result<(), String> + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let (spool, stop) = (link.spool.clone(), stop.clone());
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        let mut complained: Option<Timestamp> = None;
        while !stop.is_raised() {
            let rung = spool.bell().generation();
            let now = wall();
            if let Err(error) = step(now)
                && complained.is_none_or(|at| now.since(at) >= COMPLAIN_EVERY_MS)
            {
                complained = Some(now);
                tracing::error!(error, "the folder gate cannot be served; tried again with the next scan");
            }
            rest(&spool, &stop, rung, every, by_bell);
        }
    })
}

/// The outbox rings, a directory does not: the taking side looks at its own pace whatever rings.
fn rest(spool: &spool::Spool, stop: &Stop, rung: u64, every: Duration, by_bell: bool) {
    let mut left = every;
    while !left.is_zero() && !stop.is_raised() {
        let part = left.min(LOOK_EVERY);
        if by_bell {
            if spool.bell().wait(rung, part) != rung {
                return;
            }
        } else {
            std::thread::park_timeout(part);
        }
        left = left.saturating_sub(part);
    }
}
