//! The end that takes. One per peer, and it outlives connections: what the peer left half-sent still counts against
//! its share of the disk, and an entry that one stream is writing is not given to a second.
//!
//! It never sees a file: it says when to look (`Ask`), where the bytes go (`Write`) and when to make them durable
//! (`Finish`), and is told what came of it.

use std::collections::{BTreeMap, HashMap};

use super::{ExchangeError, Frame, Item, Transfer};
use crate::id::BundleId;
use crate::time::Timestamp;

/// Asked again after this, an entry that is too large may find a larger limit; sooner would only fill the log.
const TOO_LARGE_LATER_S: u32 = 600;
/// The stream that writes it will be done or dead by then.
const BUSY_LATER_S: u32 = 2;
/// Space comes back as entries finish.
const SHARE_LATER_S: u32 = 10;
/// Space comes back when people or retention make it.
const FULL_LATER_S: u32 = 30;
/// A half-sent entry that nobody resumes for this long no longer counts; the spool's own floor still protects the disk.
const ABANDONED_MS: u64 = 3_600_000;
/// Half-sent entries remembered for one peer. An honest one leaves as many as it has places.
const PARTIALS_MAX: usize = 1024;

/// What one peer may ask of us.
#[derive(Clone, Copy, Debug)]
pub struct ReceiverLimits {
    /// Entries under way, as our hello said; urgent ones come on top, so twice as many streams are allowed.
    pub in_flight: u16,
    /// The largest entry.
    pub entry_bytes_max: u64,
    /// The sizes of all entries begun and not finished.
    pub partial_bytes_max: u64,
}

/// What the spool said when it was asked about an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// It is here.
    Have,
    /// It can be written from this offset.
    Partial {
        /// Bytes that are here already.
        offset: u64,
    },
    /// The disk has reached its floor.
    Full,
}

/// Which limit an offer met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// `entry_bytes_max`.
    EntryBytes,
    /// `partial_bytes_max`, or too many half-sent entries.
    PartialBytes,
    /// Another stream is writing this entry. No fault of anybody.
    Busy,
    /// Our own disk.
    SpoolFull,
}

impl Limit {
    /// The code for logs.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Limit::EntryBytes => "entry-bytes-max",
            Limit::PartialBytes => "partial-bytes-max",
            Limit::Busy => "entry-busy",
            Limit::SpoolFull => "spool-full",
        }
    }

    /// When to ask again.
    #[must_use]
    pub const fn later_s(self) -> u32 {
        match self {
            Limit::EntryBytes => TOO_LARGE_LATER_S,
            Limit::PartialBytes => SHARE_LATER_S,
            Limit::Busy => BUSY_LATER_S,
            Limit::SpoolFull => FULL_LATER_S,
        }
    }
}

/// What to do on a transfer now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receiving {
    /// Ask the spool about it, then call [`Receiver::begun`].
    Ask(Item),
    /// Answer `have`; the transfer is over.
    Have,
    /// Answer `want` and read chunks.
    Want {
        /// From here.
        offset: u64,
    },
    /// Append the chunk's bytes; more will come.
    Write,
    /// After the bytes of this chunk, if any, make it durable, then call [`Receiver::stored`] and answer `stored`.
    Finish,
    /// Answer `later`; the transfer is over.
    Later(Limit),
}

#[derive(Clone, Copy, Debug)]
enum State {
    Asked,
    Writing { at: u64 },
    Finishing,
}

#[derive(Clone, Copy, Debug)]
struct Share {
    size: u64,
    /// Being written now, or left alone since then.
    left: Option<Timestamp>,
}

/// The receiving half of one peer.
#[derive(Debug)]
pub struct Receiver {
    limits: ReceiverLimits,
    under_way: BTreeMap<Transfer, (Item, State)>,
    shares: HashMap<BundleId, Share>,
}

impl Receiver {
    /// A receiver that knows of nothing yet.
    #[must_use]
    pub fn new(limits: ReceiverLimits) -> Receiver {
        Receiver { limits, under_way: BTreeMap::new(), shares: HashMap::new() }
    }

    /// Takes a frame of a stream. An error ends the connection.
    pub fn handle_frame(
        &mut self,
        now: Timestamp,
        transfer: Transfer,
        frame: &Frame<'_>,
    ) -> Result<Receiving, ExchangeError> {
        let out_of_turn = |expected| ExchangeError::OutOfTurn { found: frame.name(), expected };
        match (self.under_way.get_mut(&transfer), frame) {
            (None, Frame::Offer(item)) => self.offered(now, transfer, *item),
            (None, _) => Err(out_of_turn("offer")),
            (Some((item, State::Writing { at })), Frame::Chunk { offset, bytes }) => {
                if offset != at {
                    return Err(ExchangeError::WrongOffset { found: *offset, expected: *at });
                }
                let reached = at.saturating_add(bytes.len() as u64);
                if reached > item.size {
                    return Err(ExchangeError::PastTheEnd { size: item.size, reached });
                }
                *at = reached;
                if reached < item.size {
                    return Ok(Receiving::Write);
                }
                self.set(transfer, State::Finishing);
                Ok(Receiving::Finish)
            }
            (Some((_, State::Writing { .. })), _) => Err(out_of_turn("chunk")),
            (Some(_), _) => Err(out_of_turn("nothing until the answer")),
        }
    }

    fn offered(&mut self, now: Timestamp, transfer: Transfer, item: Item) -> Result<Receiving, ExchangeError> {
        // Urgent entries have places of their own. An old connection's streams may still be dying beside a new one's.
        let allowed = 4 * usize::from(self.limits.in_flight.max(1));
        if self.under_way.len() >= allowed {
            return Err(ExchangeError::TooManyInFlight { found: self.under_way.len() + 1, allowed });
        }
        if let Some(limit) = self.limit(now, &item) {
            return Ok(Receiving::Later(limit));
        }
        self.under_way.insert(transfer, (item, State::Asked));
        self.shares.insert(item.id, Share { size: item.size, left: None });
        Ok(Receiving::Ask(item))
    }

    fn limit(&mut self, now: Timestamp, item: &Item) -> Option<Limit> {
        if item.size > self.limits.entry_bytes_max {
            return Some(Limit::EntryBytes);
        }
        self.shares.retain(|_, share| share.left.is_none_or(|left| now.since(left) < ABANDONED_MS));
        match self.shares.get(&item.id) {
            Some(Share { left: None, .. }) => return Some(Limit::Busy),
            Some(_) => return None,
            None => {}
        }
        let begun = self.partial_bytes();
        let over = begun.saturating_add(item.size) > self.limits.partial_bytes_max || self.shares.len() >= PARTIALS_MAX;
        over.then_some(Limit::PartialBytes)
    }

    /// Tells what the spool said to an `Ask`, and hears what to answer.
    pub fn begun(&mut self, transfer: Transfer, begun: Begun) -> Receiving {
        let Some(&(item, _)) = self.under_way.get(&transfer) else { return Receiving::Later(Limit::Busy) };
        match begun {
            Begun::Have => {
                self.forget(transfer);
                Receiving::Have
            }
            Begun::Full => {
                self.forget(transfer);
                Receiving::Later(Limit::SpoolFull)
            }
            Begun::Partial { offset } if offset >= item.size => {
                self.set(transfer, State::Finishing);
                Receiving::Finish
            }
            Begun::Partial { offset } => {
                self.set(transfer, State::Writing { at: offset });
                Receiving::Want { offset }
            }
        }
    }

    /// The entry is durable: its share is free again.
    pub fn stored(&mut self, transfer: Transfer) {
        self.forget(transfer);
    }

    /// The stream broke or our disk failed. What was written stays and counts until it is resumed or forgotten.
    pub fn closed(&mut self, now: Timestamp, transfer: Transfer) {
        if let Some((item, _)) = self.under_way.remove(&transfer)
            && let Some(share) = self.shares.get_mut(&item.id)
        {
            share.left = Some(now);
        }
    }

    fn set(&mut self, transfer: Transfer, state: State) {
        if let Some((_, held)) = self.under_way.get_mut(&transfer) {
            *held = state;
        }
    }

    fn forget(&mut self, transfer: Transfer) {
        if let Some((item, _)) = self.under_way.remove(&transfer) {
            self.shares.remove(&item.id);
        }
    }

    /// Entries under way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.under_way.len()
    }

    /// Bytes of entries begun and not finished, by their full size.
    #[must_use]
    pub fn partial_bytes(&self) -> u64 {
        self.shares.values().map(|share| share.size).sum()
    }
}
