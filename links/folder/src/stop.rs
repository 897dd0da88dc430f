//! A flag that ends threads. Whoever raises it also rings the spool's bell if it wants them to look at once; without
//! that every thread looks within a quarter of a second.

use std::io;
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

/// Reads on as long as the flag is not raised.
pub(crate) struct Until<'a, R> {
    pub(crate) from: R,
    pub(crate) stop: &'a Stop,
}

impl<R: io::Read> io::Read for Until<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.stop.is_raised() {
            return Err(io::Error::other("ends before all of it was read"));
        }
        self.from.read(into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn a_copy_ends_where_the_flag_is_raised() {
        let stop = Stop::new();
        let mut from = Until { from: io::repeat(7), stop: &stop };
        from.read_exact(&mut [0; 10]).expect("bytes");
        stop.raise();
        assert!(io::copy(&mut from, &mut io::sink()).is_err());
    }
}
