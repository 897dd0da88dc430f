//! A bell that stages and links wait on: something changed, look again. Carries no news; the spool is the news.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Rung whenever something was committed.
#[derive(Debug, Default)]
pub struct Bell {
    rung: Mutex<u64>,
    changed: Condvar,
}

impl Bell {
    /// Something changed.
    pub fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.changed.notify_all();
    }

    /// How often it was rung.
    #[must_use]
    pub fn generation(&self) -> u64 {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it was rung after `seen`, or for so long. Answers how often it was rung by then.
    pub fn wait(&self, seen: u64, at_most: Duration) -> u64 {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(rung, at_most, |rung| *rung <= seen);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}
