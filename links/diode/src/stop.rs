//! A flag that ends threads. Whoever raises it also rings the spool's bell if it wants them to look at once; without
//! that every thread looks within a quarter of a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Shared by everyone who has to end together.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Not raised yet.
    #[must_use]
    pub fn new() -> Stop {
        Stop::default()
    }

    /// Ends everyone who looks at it.
    pub fn raise(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Is it time to end?
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
