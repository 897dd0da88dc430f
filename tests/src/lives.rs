//! Daemons that are killed at random moments and must come up by themselves, and the same for the commands of people. The
//! harness of tests that kill; the moments come from a seed.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::time::{Duration, Instant};

use crate::courier::Courier;
use crate::office::Office;
use crate::papers::Noise;
use crate::surveyor::Surveyor;

/// A daemon is killed so long after it was ready, in milliseconds, where a test sets nothing else.
const DAEMON_MS: (u64, u64) = (20, 400);
/// Every which start is killed before it is through.
const STILLBORN_OF: u64 = 8;
/// A start takes a fraction of a second; a busy machine must not fail a test.
const START: Duration = Duration::from_secs(60);
/// A command of `ferry` is killed so soon after its start, in milliseconds: early, or when it is through with the key and at
/// the desk.
const COMMAND_MS: u64 = 900;

/// A daemon's present life.
#[derive(Clone, Copy, Debug)]
enum Life {
    /// Started; not ready yet. To be killed before it is, where a moment is set.
    Starting { since: Instant, dies: Option<Instant> },
    /// Ready, until a moment.
    Ready { dies: Instant },
}

/// Daemons with their deaths.
pub struct Lives {
    /// Whose daemons they are.
    pub office: Office,
    /// Where the moments come from.
    pub noise: Noise,
    /// Is anybody killed at present?
    pub killing: bool,
    /// A daemon is killed so many milliseconds after it was ready: at least, at most.
    pub daemon_ms: (u64, u64),
    /// A command is killed so many milliseconds after its start, at most.
    pub command_ms: u64,
    /// A start takes no longer than this.
    pub start_within: Duration,
    /// Kills so far, by daemon or command.
    pub kills: BTreeMap<String, usize>,
    /// The longest that a start took.
    pub slowest_start: Duration,
    lives: BTreeMap<&'static str, Life>,
    command_dies: Option<Instant>,
    intake_dies: Option<Instant>,
}

impl Lives {
    /// Nobody lives yet.
    #[must_use]
    pub fn new(office: Office, seed: u64) -> Lives {
        let noise = Noise::new(seed ^ 0x5eed);
        let (kills, lives) = (BTreeMap::new(), BTreeMap::new());
        let (daemon_ms, command_ms) = (DAEMON_MS, COMMAND_MS);
        Lives {
            office,
            noise,
            killing: true,
            daemon_ms,
            command_ms,
            start_within: START,
            kills,
            slowest_start: Duration::ZERO,
            lives,
            command_dies: None,
            intake_dies: None,
        }
    }

    /// A new life of a daemon.
    pub fn start(&mut self, node: &'static str) -> io::Result<()> {
        // The snapshot of the life before: a new one says that this life has begun.
        let snapshot = self.office.spool(node).join("status/status.json");
        if snapshot.exists() {
            fs::remove_file(snapshot)?;
        }
        self.office.start(node)?;
        let stillborn = self.killing && self.noise.below(STILLBORN_OF) == 0;
        let dies = stillborn.then(|| Instant::now() + Duration::from_millis(self.noise.below(150)));
        self.lives.insert(node, Life::Starting { since: Instant::now(), dies });
        Ok(())
    }

    /// `kill -9`, and up again.
    pub fn kill(&mut self, node: &'static str) -> io::Result<()> {
        self.office.kill(node)?;
        *self.kills.entry(node.to_owned()).or_default() += 1;
        self.start(node)
    }

    /// One look at a daemon: it must not have ended by itself, and dies when its moment has come.
    pub fn look_at(&mut self, node: &'static str) -> io::Result<()> {
        if let Some(status) = self.office.ended(node) {
            return Err(io::Error::other(format!("{node} ended by itself: {status}")));
        }
        let now = Instant::now();
        match self.lives.get(node).copied() {
            Some(Life::Starting { since, dies }) => {
                if self.office.spool(node).join("status/status.json").exists() {
                    self.slowest_start = self.slowest_start.max(since.elapsed());
                    let lives = self.daemon_ms.0 + self.noise.below(self.daemon_ms.1 - self.daemon_ms.0);
                    self.lives.insert(node, Life::Ready { dies: now + Duration::from_millis(lives) });
                } else if self.killing && dies.is_some_and(|dies| now >= dies) {
                    self.kill(node)?;
                } else if since.elapsed() > self.start_within {
                    return Err(io::Error::other(format!("{node} does not come up")));
                }
            }
            Some(Life::Ready { dies }) if self.killing && now >= dies => self.kill(node)?,
            _ => {}
        }
        Ok(())
    }

    /// Is a start under way?
    #[must_use]
    pub fn is_starting(&self) -> bool {
        self.lives.values().any(|life| matches!(life, Life::Starting { .. }))
    }

    /// Starts the next command of the courier, or kills the present one when its moment has come: two of three are killed.
    pub fn work(&mut self, courier: &mut Courier) -> io::Result<()> {
        if !courier.is_running() {
            courier.start(&self.office)?;
            let dies = self.noise.below(3) < 2;
            // As many in the first moments as in all others.
            let within = if self.noise.below(2) == 0 { self.command_ms / 10 } else { self.command_ms };
            self.command_dies = dies.then(|| Instant::now() + Duration::from_millis(self.noise.below(within)));
        } else if self.command_dies.is_some_and(|dies| Instant::now() >= dies) {
            let step = courier.step();
            if courier.kill()? {
                *self.kills.entry(format!("ferry {}", step.command())).or_default() += 1;
            }
            self.command_dies = None;
        }
        Ok(())
    }

    /// The same for whoever takes survey files in.
    pub fn survey(&mut self, surveyor: &mut Surveyor) -> io::Result<()> {
        if !surveyor.is_running() {
            surveyor.start(&self.office)?;
            let dies = self.killing && self.noise.below(3) < 2;
            self.intake_dies = dies.then(|| Instant::now() + Duration::from_millis(self.noise.below(self.command_ms)));
        } else if self.intake_dies.is_some_and(|dies| Instant::now() >= dies) {
            if surveyor.kill()? {
                *self.kills.entry("ferry intake".to_owned()).or_default() += 1;
            }
            self.intake_dies = None;
        }
        Ok(())
    }

    /// Kills so far.
    #[must_use]
    pub fn total(&self) -> usize {
        self.kills.values().sum()
    }
}
