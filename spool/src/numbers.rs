//! Our own numbers: one epoch a start, sequences from 1 on every crossing. Never the same number twice.
//!
//! A batch is reserved in the ledger before its first number is given out. So dying anywhere is safe: at the next start
//! what was reserved and is neither recorded as used nor stands in an outbox is recorded as withdrawn, and a new epoch
//! begins. An epoch is never smaller than the wall clock's seconds: a node restored from an old backup still does not
//! use an epoch again.

use std::collections::HashMap;
use std::sync::Mutex;

use protocol::ledger::{Event, Record};
use protocol::{Crossing, Timestamp};

use crate::spool::{SpoolError, locked};

/// Numbers reserved with one record: one sync for so many parcels, and at most so many numbers withdrawn at a start, by
/// one record as well.
const BATCH: u64 = 512;

#[derive(Clone, Copy, Default)]
struct Counter {
    next: u64,
    reserved: u64,
}

/// Where each crossing stands in this epoch.
pub(crate) struct Numbers {
    epoch: u64,
    counters: Mutex<HashMap<Crossing, Counter>>,
}

impl Numbers {
    /// Counting starts at 1 in an epoch that was recorded as started.
    pub(crate) fn new(epoch: u64) -> Numbers {
        Numbers { epoch, counters: Mutex::default() }
    }

    /// The epoch after all those before.
    pub(crate) fn next_epoch(last: u64, now: Timestamp) -> u64 {
        last.saturating_add(1).max(now.seconds())
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The next number, reserved by `record` where the batch is used up.
    pub(crate) fn next(
        &self,
        crossing: Crossing,
        at: Timestamp,
        record: impl FnOnce(Record) -> Result<u64, SpoolError>,
    ) -> Result<(u64, u64), SpoolError> {
        let mut counters = locked(&self.counters);
        let counter = counters.entry(crossing).or_insert(Counter { next: 1, reserved: 0 });
        if counter.next > counter.reserved {
            let mut reserved = Record::new(Event::SequencesReserved, at);
            reserved.crossing = Some(crossing);
            reserved.epoch = Some(self.epoch);
            reserved.sequence = Some(counter.next);
            reserved.through = Some(counter.reserved + BATCH);
            record(reserved)?;
            counter.reserved += BATCH;
        }
        let sequence = counter.next;
        counter.next += 1;
        Ok((self.epoch, sequence))
    }
}
