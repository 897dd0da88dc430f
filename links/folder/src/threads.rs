//! The two threads: one a direction. They wait on the spool's bell, with the scan interval as its end. What they show is
//! kept beside them, so that whoever asks never waits for a step that copies a large file.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use protocol::Timestamp;

use crate::clock::wall;
use crate::settings::BadSettings;
use crate::{Incoming, IncomingStatus, Link, Outgoing, OutgoingStatus, Settings, Stop, Trouble};

/// Threads look at the stop flag at least this often.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The bell rings with every record; the outbox is looked at no more often than this.
const APART: Duration = Duration::from_millis(50);
/// The same complaint is told once a minute.
const COMPLAIN_EVERY_MS: u64 = 60_000;

/// What both sides showed after their last step, where they run.
#[derive(Default)]
struct Shown {
    outgoing: Option<OutgoingStatus>,
    incoming: Option<IncomingStatus>,
}

/// The running link.
pub struct Running {
    /// End when the stop flag is raised.
    pub threads: Vec<JoinHandle<()>>,
    shown: Arc<Mutex<Shown>>,
}

impl Running {
    /// What both sides show of themselves, where they run.
    #[must_use]
    pub fn status(&self) -> (Option<OutgoingStatus>, Option<IncomingStatus>) {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        (shown.outgoing, shown.incoming)
    }

    /// How much there is of a trouble.
    #[must_use]
    pub fn count(&self, trouble: Trouble) -> u64 {
        let (outgoing, incoming) = self.status();
        trouble.count(outgoing.as_ref(), incoming.as_ref())
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
    let mut running = Running { threads: Vec::new(), shown: Arc::default() };
    let every = Duration::from_millis(settings.scan_ms);
    if settings.outgoing.is_some() {
        let mut side = Outgoing::open(link, settings, wall()).map_err(io::Error::other)?.until(stop);
        let shown = Arc::clone(&running.shown);
        let step = move |now| {
            let stepped = side.step(now).map_err(|error| error.to_string());
            shown.lock().unwrap_or_else(PoisonError::into_inner).outgoing = Some(side.status());
            (stepped, troubles(Some(&side.status()), None))
        };
        running.threads.push(spawn("folder-send", link, stop, every, true, step)?);
    }
    if settings.incoming.is_some() {
        let mut side = Incoming::open(link, settings, wall()).map_err(io::Error::other)?.until(stop);
        let shown = Arc::clone(&running.shown);
        let step = move |now| {
            let stepped = side.step(now).map_err(|error| error.to_string());
            shown.lock().unwrap_or_else(PoisonError::into_inner).incoming = Some(side.status());
            (stepped, troubles(None, Some(&side.status())))
        };
        running.threads.push(spawn("folder-receive", link, stop, every, false, step)?);
    }
    Ok(running)
}

type Troubles = [u64; Trouble::ALL.len()];

fn troubles(outgoing: Option<&OutgoingStatus>, incoming: Option<&IncomingStatus>) -> Troubles {
    Trouble::ALL.map(|trouble| trouble.count(outgoing, incoming))
}

fn spawn(
    name: &'static str,
    link: &Link,
    stop: &Stop,
    every: Duration,
    by_bell: bool,
    mut step: impl FnMut(Timestamp) -> (Result<bool, String>, Troubles) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let (spool, stop) = (link.spool.clone(), stop.clone());
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        let mut journal = Journal::default();
        while !stop.is_raised() {
            let rung = spool.bell().generation();
            let now = wall();
            let (stepped, troubles) = step(now);
            journal.note(now, stepped.as_ref().err().map(String::as_str), &troubles);
            if stepped != Ok(true) {
                rest(&spool, &stop, rung, every, by_bell);
            }
        }
    })
}

/// Tells the journal of each trouble where it begins, once a minute where there is more of it, and where it ends.
#[derive(Default)]
struct Journal {
    known: Troubles,
    told: [Option<Timestamp>; Trouble::ALL.len()],
}

impl Journal {
    fn note(&mut self, now: Timestamp, error: Option<&str>, troubles: &Troubles) {
        let kept = self.known.iter_mut().zip(&mut self.told);
        for (trouble, (count, (known, told))) in Trouble::ALL.into_iter().zip(troubles.iter().zip(kept)) {
            let (code, words) = (trouble.code(), trouble.words());
            if *count == 0 && *known > 0 {
                tracing::info!(code, "over: {words}");
                (*known, *told) = (0, None);
            } else if count > known && told.is_none_or(|at| now.since(at) >= COMPLAIN_EVERY_MS) {
                let error = error.filter(|_| trouble == Trouble::Folder).unwrap_or_default();
                tracing::error!(code, count, error, "{words}");
                (*known, *told) = (*count, Some(now));
            }
        }
    }
}

/// The outbox rings, a directory does not: the taking side looks at its own pace whatever rings.
fn rest(spool: &spool::Spool, stop: &Stop, rung: u64, every: Duration, by_bell: bool) {
    let mut left = every;
    while !left.is_zero() && !stop.is_raised() {
        let part = left.min(LOOK_EVERY);
        if !by_bell {
            std::thread::park_timeout(part);
        } else if spool.bell().wait(rung, part) != rung {
            return std::thread::park_timeout(APART);
        }
        left = left.saturating_sub(part);
    }
}
