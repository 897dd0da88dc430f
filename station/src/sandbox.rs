//! Where content is parsed: in worker processes of this same program, behind locks, without keys, files or network.
//!
//! The daemon reads a parcel's bytes, keeps their digest, and hands the bytes themselves to a worker through a socket:
//! what is parsed is a private copy that no app can change any more, and exactly what the digest is of. What comes back
//! is judged here, by the guard. A worker that dies, is late or talks nonsense has looked at nothing; where a second one
//! dies or is late as well, the parcel is not inspectable. One that cannot be started says nothing of the parcel, and the
//! stage tries again.
//!
//! Whom a worker may see: parcels of one crossing only; none after a hit, a strip or an error; toward a lower zone one
//! parcel and no other.

mod cell;
mod frame;
mod lock;
mod worker;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use guard::{Answer, Examiner, InProcess, Silence};
use protocol::Crossing;

use worker::Worker;

pub use cell::{ARGUMENT, run_if_asked};
pub use lock::{Landlock, Layers};

/// A parcel of any size may take this long to be looked at...
const BUDGET_BASE: Duration = Duration::from_secs(10);
/// ...and as long as so many bytes a second take: a fifth of what the slowest parser was measured at.
const BUDGET_BYTES_A_SECOND: u64 = 20_000_000;
/// Workers that wait for their first question. Starting one takes a few milliseconds, which nobody has to wait for.
const SPARE: usize = 4;
/// Workers of one crossing that wait for their next question, at a few MiB each.
const IDLE_MAX: usize = 8;
/// A worker answers so many questions and works so long; then another takes its place, and whatever the parsers left
/// in its memory is gone.
const ANSWERS_MAX: u32 = 10_000;
const WORKED_MAX: Duration = Duration::from_secs(30);
/// A worker that was handed more than this has grown, and goes: a start costs less than reading so much.
const KEPT_BYTES_MAX: usize = 1 << 20;
/// Whoever needs a worker waits so long for one to be started; then the stage stops and tries again.
const WORKER_WITHIN: Duration = Duration::from_secs(30);
/// Pause after a worker could not be started.
const AFTER_FAILED_START: Duration = Duration::from_millis(500);

/// Where the content of parcels is parsed.
#[derive(Clone)]
pub struct Sandbox {
    workers: Option<Arc<Workers>>,
}

/// How workers are started. The default is the daemon's way; tests have another program, and leave locks out.
#[derive(Clone, Debug)]
pub struct Start {
    /// The program; by default this one, even where its file was replaced meanwhile.
    pub program: PathBuf,
    /// Words behind [`ARGUMENT`].
    pub more: Vec<String>,
    /// What every parcel is allowed, however small; see the constants of this module.
    pub budget_base: Duration,
}

impl Default for Start {
    fn default() -> Self {
        Start { program: PathBuf::from("/proc/self/exe"), more: Vec::new(), budget_base: BUDGET_BASE }
    }
}

impl Sandbox {
    /// Workers of this program, started when they are first needed.
    #[must_use]
    pub fn locked() -> Sandbox {
        Sandbox::started_by(Start::default())
    }

    /// Workers started in a way of one's own.
    #[must_use]
    pub fn started_by(start: Start) -> Sandbox {
        let pool =
            Arc::new(Pool { start, state: Mutex::default(), changed: Condvar::new(), failures: AtomicU64::new(0) });
        Sandbox { workers: Some(Arc::new(Workers { pool, keeper: OnceLock::new() })) }
    }

    /// No workers: content is parsed in this process. For the simulated world, whose machines are no processes.
    #[must_use]
    pub fn in_process() -> Sandbox {
        Sandbox { workers: None }
    }

    /// Which locks hold. Starts a worker where none has spoken yet.
    ///
    /// # Errors
    /// No worker can be started, or none speaks.
    pub fn layers(&self) -> io::Result<Option<Layers>> {
        let Some(workers) = &self.workers else { return Ok(None) };
        if let Some(layers) = workers.pool.lock().layers {
            return Ok(Some(layers));
        }
        let worker = workers.fresh()?;
        let layers = worker.layers;
        workers.pool.lock().fresh.push_front(worker);
        Ok(layers)
    }

    /// Workers that died, were late or talked nonsense, since the start.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.workers.as_ref().map_or(0, |workers| workers.pool.failures.load(Ordering::Relaxed))
    }

    /// May one worker look at several parcels of this crossing, as long as nothing is met?
    #[must_use]
    pub fn is_shared(crossing: Crossing) -> bool {
        crossing.source() <= crossing.target()
    }

    /// Somebody to look at one parcel that makes this crossing, or at several where that [may be](Sandbox::is_shared).
    #[must_use]
    pub fn visit(&self, crossing: Crossing) -> Visit {
        Visit { workers: self.workers.clone(), crossing, worker: None, handed: 0, spent: Duration::ZERO, absent: None }
    }
}

/// One parcel's way through the workers.
pub struct Visit {
    workers: Option<Arc<Workers>>,
    crossing: Crossing,
    worker: Option<Worker>,
    handed: u64,
    spent: Duration,
    absent: Option<io::Error>,
}

impl Visit {
    /// Why there was no worker to ask. What was judged meanwhile is no verdict on the parcel.
    pub fn trouble(&mut self) -> Option<io::Error> {
        self.absent.take()
    }

    /// Asks a worker, and where that one has ended or is late a fresh one, once: what ended an idle worker, or stopped
    /// the machine for a while, is nothing that this parcel has to answer for. The second silence counts.
    fn ask_workers(&mut self, workers: &Workers, words: &[u8], contents: &[&[u8]]) -> Result<Answer, Silence> {
        let bytes = contents.iter().fold(0_u64, |sum, content| sum.saturating_add(content.len() as u64));
        self.handed = self.handed.saturating_add(bytes);
        let first = match self.worker.take().map_or_else(|| workers.take(self.crossing), Ok) {
            Ok(worker) => self.ask_one(workers, worker, words, contents),
            Err(error) => return Err(self.without(error)),
        };
        match first {
            Err(Silence::Died | Silence::Late) => match workers.fresh() {
                Ok(worker) => self.ask_one(workers, worker, words, contents),
                Err(error) => Err(self.without(error)),
            },
            told => told,
        }
    }

    fn without(&mut self, error: io::Error) -> Silence {
        self.absent = Some(error);
        Silence::Absent
    }

    fn ask_one(
        &mut self,
        workers: &Workers,
        mut worker: Worker,
        words: &[u8],
        contents: &[&[u8]],
    ) -> Result<Answer, Silence> {
        let began = Instant::now();
        let budget =
            workers.pool.start.budget_base + Duration::from_micros(self.handed / (BUDGET_BYTES_A_SECOND / 1_000_000));
        match worker.ask(words, contents, began + budget.saturating_sub(self.spent)) {
            Ok(answer) => {
                self.spent += began.elapsed();
                self.worker = Some(worker);
                Ok(answer)
            }
            Err(silence) => {
                workers.pool.failures.fetch_add(1, Ordering::Relaxed);
                let (answered, ended) = (worker.answered, worker.end());
                tracing::warn!(crossing = %self.crossing, rule = silence.rule(), bytes = self.handed, answered, ended, "a worker gave no answer");
                Err(silence)
            }
        }
    }
}

impl Examiner for Visit {
    fn ask(&mut self, words: &[u8], contents: &[&[u8]]) -> Result<Answer, Silence> {
        match self.workers.clone() {
            Some(workers) => self.ask_workers(&workers, words, contents),
            None => InProcess.ask(words, contents),
        }
    }

    fn retire(&mut self) {
        self.worker = None;
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if let (Some(workers), Some(worker)) = (&self.workers, self.worker.take())
            && !is_used_up(self.crossing, &worker)
        {
            workers.give_back(self.crossing, worker);
        }
    }
}

/// Has it seen what the next parcel must not be near, or too much?
fn is_used_up(crossing: Crossing, worker: &Worker) -> bool {
    !Sandbox::is_shared(crossing)
        || worker.answered >= ANSWERS_MAX
        || worker.worked >= WORKED_MAX
        || worker.largest > KEPT_BYTES_MAX
}

/// The workers of a daemon.
struct Workers {
    pool: Arc<Pool>,
    keeper: OnceLock<Option<JoinHandle<()>>>,
}

/// What the keeper and the visits share.
struct Pool {
    start: Start,
    state: Mutex<State>,
    changed: Condvar,
    failures: AtomicU64,
}

#[derive(Default)]
struct State {
    /// Started, and asked nothing yet.
    fresh: VecDeque<Worker>,
    /// Asked before, and not used up.
    idle: BTreeMap<Crossing, Vec<Worker>>,
    /// What the last one that spoke said of its locks.
    layers: Option<Layers>,
    /// Why the last one could not be started.
    failed: Option<String>,
    /// Nobody needs any more.
    over: bool,
}

impl Pool {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps some workers ready. A thread of its own does it and lives as long as the pool: a worker dies with the thread
    /// that started it, and stages share their work among threads that end.
    fn keep(&self) {
        let mut state = self.lock();
        while !state.over {
            if state.fresh.len() >= SPARE {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            drop(state);
            let started = Worker::start(&self.start.program, &self.start.more);
            state = self.lock();
            match started {
                Ok(worker) => {
                    state.fresh.push_back(worker);
                    state.failed = None;
                    self.changed.notify_all();
                }
                Err(error) => {
                    tracing::error!(%error, "a worker cannot be started");
                    state.failed = Some(error.to_string());
                    self.changed.notify_all();
                    let waited = self.changed.wait_timeout(state, AFTER_FAILED_START);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
        let gone = (std::mem::take(&mut state.fresh), std::mem::take(&mut state.idle));
        drop(state);
        drop(gone);
    }
}

impl Workers {
    /// One that may look at a parcel of this crossing.
    fn take(&self, crossing: Crossing) -> io::Result<Worker> {
        loop {
            let idle = self.pool.lock().idle.get_mut(&crossing).and_then(Vec::pop);
            let Some(mut worker) = idle else { return self.fresh() };
            if worker.lives() {
                return Ok(worker);
            }
        }
    }

    /// One that has seen nothing, and has said which locks hold.
    fn fresh(&self) -> io::Result<Worker> {
        self.begin()?;
        let until = Instant::now() + WORKER_WITHIN;
        loop {
            let mut worker = self.next(until)?;
            if !worker.lives() {
                continue;
            }
            match worker.greeted() {
                Ok(layers) => {
                    self.note(layers);
                    return Ok(worker);
                }
                Err(error) if Instant::now() >= until => return Err(error),
                Err(error) => {
                    tracing::error!(%error, ended = worker.end(), "a worker did not come up");
                    std::thread::park_timeout(AFTER_FAILED_START);
                }
            }
        }
    }

    /// The next that was started.
    fn next(&self, until: Instant) -> io::Result<Worker> {
        let mut state = self.pool.lock();
        loop {
            if let Some(worker) = state.fresh.pop_front() {
                self.pool.changed.notify_all();
                return Ok(worker);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || state.failed.is_some() {
                let why = state.failed.clone().unwrap_or_else(|| "none was ready in time".to_owned());
                return Err(io::Error::other(format!("no worker to look at a parcel: {why}")));
            }
            let waited = self.pool.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn note(&self, layers: Layers) {
        let before = self.pool.lock().layers.replace(layers);
        if before != Some(layers) {
            if layers.are_weak() {
                tracing::warn!(%layers, "the guard's workers lack a lock that this kernel or its setup does not give");
            } else {
                tracing::info!(%layers, "the guard's workers are locked");
            }
        }
    }

    fn give_back(&self, crossing: Crossing, worker: Worker) {
        let mut state = self.pool.lock();
        let idle = state.idle.entry(crossing).or_default();
        if idle.len() < IDLE_MAX {
            idle.push(worker);
            return;
        }
        drop(state);
        drop(worker);
    }

    /// Starts the keeper, once.
    fn begin(&self) -> io::Result<()> {
        if self.keeper.get().is_some() {
            return Ok(());
        }
        let mut started = Ok(());
        self.keeper.get_or_init(|| {
            let pool = Arc::clone(&self.pool);
            let keeper = std::thread::Builder::new().name("sandbox".to_owned()).spawn(move || pool.keep());
            keeper.map_err(|error| started = Err(error)).ok()
        });
        started
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.pool.lock().over = true;
        self.pool.changed.notify_all();
        // What is over has no worker left: each was ended and waited for. A keeper that panicked has none.
        let _ended = self.keeper.take().flatten().map(JoinHandle::join);
    }
}
