//! Signs of life of the stages. The watchdog is fed only while every stage shows them: it has taken a turn, or its
//! thread has run since the last look. So a stage that reads 20 GiB is alive, one that waits for a lock that nobody
//! gives back is not, and one that turns in circles for hours is not either.
//!
//! A stage may have workers; their threads bear its name in front (`intake-1`), and their work is its life.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Without a turn and without having run for so long, a stage hangs. Longer than any disk takes to answer one call.
const STILL_MS: u64 = 2 * 60 * 1000;
/// A step that is still going on after so long never ends: the largest parcel takes an hour on the slowest machine.
const STEP_MS: u64 = 6 * 60 * 60 * 1000;
/// A stage that took a turn within this is not looked at closer.
const FRESH_MS: u64 = 10 * 1000;
/// The kernel keeps so many bytes of a thread's name.
const COMM_BYTES: usize = 15;

/// The turns of one stage.
#[derive(Clone, Debug, Default)]
pub struct Pulse(Arc<AtomicU64>);

impl Pulse {
    /// The stage took a turn.
    pub fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Watched {
    stage: &'static str,
    pulse: Pulse,
    turns: u64,
    turned_ms: u64,
    ran_ns: Option<u64>,
    lived_ms: u64,
}

/// Every stage of a daemon.
#[derive(Clone, Debug, Default)]
pub struct Life(Arc<Mutex<Vec<Watched>>>);

impl Life {
    /// A stage that begins now, by the boot clock.
    #[must_use]
    pub fn begin(&self, stage: &'static str, boot_ms: u64) -> Pulse {
        let pulse = Pulse::default();
        let watched =
            Watched { stage, pulse: pulse.clone(), turns: 0, turned_ms: boot_ms, ran_ns: None, lived_ms: boot_ms };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(watched);
        pulse
    }

    /// The stages that show no life. `ran_ns` says how long the threads of a name have run; nothing where it cannot be
    /// told, and then a stage is judged by its turns alone, generously.
    pub fn still(&self, boot_ms: u64, ran_ns: impl Fn(&str) -> Option<u64>) -> Vec<&'static str> {
        let mut still = Vec::new();
        for watched in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            let turns = watched.pulse.0.load(Ordering::Relaxed);
            if turns != watched.turns {
                (watched.turns, watched.turned_ms, watched.lived_ms) = (turns, boot_ms, boot_ms);
            } else if boot_ms.saturating_sub(watched.turned_ms) >= FRESH_MS {
                let ran = ran_ns(watched.stage);
                // Less counts too: a worker that ended takes its time with it.
                if ran.is_none() || ran != watched.ran_ns {
                    watched.lived_ms = boot_ms;
                }
                watched.ran_ns = ran;
            }
            if boot_ms.saturating_sub(watched.lived_ms) >= STILL_MS
                || boot_ms.saturating_sub(watched.turned_ms) >= STEP_MS
            {
                still.push(watched.stage);
            }
        }
        still
    }
}

/// Nanoseconds that the threads of this process whose name begins so have run, by the scheduler's books.
#[must_use]
pub fn ran_ns(stage: &str) -> Option<u64> {
    let stage = stage.get(..COMM_BYTES).unwrap_or(stage);
    let mut found = None;
    for task in fs::read_dir("/proc/self/task").ok()? {
        let task = task.ok()?.path();
        // A thread that ended meanwhile is no reason to know nothing.
        let Ok(name) = fs::read_to_string(task.join("comm")) else { continue };
        if !name.starts_with(stage) {
            continue;
        }
        let Ok(books) = fs::read_to_string(task.join("schedstat")) else { continue };
        let ran: u64 = books.split_whitespace().next()?.parse().ok()?;
        found = Some(found.unwrap_or(0_u64).saturating_add(ran));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn a_stage_that_turns_or_works_is_alive_and_one_that_hangs_is_not() {
        let life = Life::default();
        let pulse = life.begin("admission", 0);
        let _desk = life.begin("desk", 0);
        let mut ran = 0;
        for second in 1..600 {
            let now = second * 1000;
            pulse.beat();
            ran += 1;
            // The desk does not turn, but works: twenty gigabytes.
            assert_eq!(life.still(now, |stage| (stage == "desk").then_some(ran)), [""; 0], "{second}");
        }
        let hangs = |now| life.still(now, |_| Some(ran));
        let looks = |from: u64, to: u64| (from..to).step_by(5_000);
        assert!(looks(600_000, 600_000 + STILL_MS - 5_000).all(|now| hangs(now).is_empty()));
        let end = 600_000 + STILL_MS + FRESH_MS + 10_000;
        let last = looks(600_000 + STILL_MS - 5_000, end).map(hangs).last();
        assert_eq!(last, Some(vec!["admission", "desk"]));
        pulse.beat();
        assert_eq!(hangs(end), ["desk"], "it came back");
    }

    #[test]
    fn a_stage_that_turns_in_circles_in_one_step_ends_up_still() {
        let life = Life::default();
        let _admission = life.begin("admission", 0);
        for minute in 1..STEP_MS / 60_000 {
            assert_eq!(life.still(minute * 60_000, |_| Some(minute)), [""; 0]);
        }
        assert_eq!(life.still(STEP_MS, |_| Some(u64::MAX)), ["admission"]);
    }

    #[test]
    fn the_scheduler_knows_whether_a_thread_or_its_worker_has_run() {
        let (ask, work) = channel::<()>();
        let (done, waits) = channel();
        let worker = std::thread::Builder::new().name("life-test-1".to_owned()).spawn(move || {
            while work.recv().is_ok() {
                let mut sum = 0_u64;
                (0..20_000_000_u64).for_each(|n| sum = std::hint::black_box(sum.wrapping_add(n)));
                done.send(sum).unwrap();
            }
        });
        // A turn, so that the thread is there and waits.
        ask.send(()).unwrap();
        waits.recv().unwrap();
        let Some(before) = ran_ns("life-test") else {
            println!("SKIPPED: this kernel keeps no books of threads");
            return;
        };
        ask.send(()).unwrap();
        waits.recv().unwrap();
        assert!(ran_ns("life-test").unwrap() > before);
        assert_eq!(ran_ns("no-such-stage"), None);
        drop(ask);
        worker.unwrap().join().unwrap();
    }
}
