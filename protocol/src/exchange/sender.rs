//! The end that offers. Told what the outbox holds and what the peer answered, it says what to offer next and from
//! where to send. Holds no file; a new connection gets a new sender, so everything unconfirmed is offered again.
//!
//! Urgent entries have places of their own and bulk ones leave the last place to normal ones: however much bulk is
//! under way, an urgent entry is offered in the same step in which it is listed.

use std::collections::{BTreeMap, HashMap};

use super::{ExchangeError, Frame, Item, Kind, Transfer};
use crate::id::BundleId;
use crate::parcel::Priority;
use crate::time::Timestamp;

/// A peer that says "later" is asked again within the hour at the latest, whatever it says.
const LATER_S_MAX: u32 = 3600;
/// After a transfer failed on a living connection: doubled each time, up to [`RETRY_MS_MAX`].
const RETRY_MS_MIN: u64 = 500;
const RETRY_MS_MAX: u64 = 60_000;
/// Doublings worth counting.
const ATTEMPTS_MAX: u32 = 8;

/// What a sender keeps to.
#[derive(Clone, Copy, Debug)]
pub struct SenderLimits {
    /// Entries under way at once, urgent ones and all others counted apart. The smaller of both ends' bounds.
    pub in_flight: u16,
    /// A bundle that the peer has is not offered again on this connection for so long.
    pub reoffer_ms: u64,
}

/// What to do on a transfer now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sending {
    /// Send chunks from this offset to the end, then wait for `stored`.
    From {
        /// The first byte the peer lacks.
        offset: u64,
    },
    /// The peer holds it durably. Receipts leave the outbox now; a bundle waits there for its receipt.
    Done {
        /// Remove it from the outbox?
        remove: bool,
    },
    /// The peer is over a limit and will be asked again.
    Deferred {
        /// After so long.
        seconds: u32,
    },
}

/// A transfer that ended without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Which entry.
    pub item: Item,
    /// How often in a row.
    pub attempts: u32,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Offered,
    Streaming { at: u64 },
}

#[derive(Clone, Copy, Debug)]
struct Quiet {
    until: Timestamp,
    attempts: u32,
}

/// The sending half of one connection.
#[derive(Debug)]
pub struct Sender {
    limits: SenderLimits,
    waiting: BTreeMap<(Priority, bool, usize), Item>,
    under_way: BTreeMap<Transfer, (Item, State)>,
    quiet: HashMap<BundleId, Quiet>,
}

impl Sender {
    /// A sender for a connection whose hellos fit.
    #[must_use]
    pub fn new(limits: SenderLimits) -> Sender {
        Sender { limits, waiting: BTreeMap::new(), under_way: BTreeMap::new(), quiet: HashMap::new() }
    }

    /// Takes the whole outbox as it is now, in its own order; what it no longer holds is forgotten.
    pub fn list(&mut self, now: Timestamp, items: &[Item]) {
        let held: std::collections::HashSet<BundleId> = items.iter().map(|item| item.id).collect();
        let busy: std::collections::HashSet<BundleId> = self.under_way.values().map(|(item, _)| item.id).collect();
        self.quiet.retain(|id, _| held.contains(id));
        self.waiting.clear();
        for (order, item) in items.iter().enumerate() {
            let quiet = self.quiet.get(&item.id);
            if busy.contains(&item.id) || quiet.is_some_and(|quiet| quiet.until > now) {
                continue;
            }
            // What was offered before comes after what never was.
            self.waiting.insert((item.priority, quiet.is_some(), order), *item);
        }
    }

    /// The next entry to offer on a stream of its own, where there is one and a place for it.
    pub fn offer(&mut self, transfer: Transfer) -> Option<Item> {
        let key = *self.waiting.keys().find(|(priority, _, _)| self.has_place(*priority))?;
        let item = self.waiting.remove(&key)?;
        self.under_way.insert(transfer, (item, State::Offered));
        Some(item)
    }

    fn has_place(&self, priority: Priority) -> bool {
        let places = usize::from(self.limits.in_flight.max(1));
        let urgent = self.under_way.values().filter(|(item, _)| item.priority == Priority::Urgent).count();
        let others = self.under_way.len() - urgent;
        match priority {
            Priority::Urgent => urgent < places,
            Priority::Normal => others < places,
            Priority::Bulk => others + 1 < places || others == 0,
        }
    }

    /// Takes an answer. An error ends the connection; a transfer that is done is forgotten here.
    pub fn handle_frame(
        &mut self,
        now: Timestamp,
        transfer: Transfer,
        frame: &Frame<'_>,
    ) -> Result<Sending, ExchangeError> {
        let out_of_turn = |expected| ExchangeError::OutOfTurn { found: frame.name(), expected };
        let Some((item, state)) = self.under_way.get_mut(&transfer) else {
            return Err(out_of_turn("nothing"));
        };
        let item = *item;
        match (*state, frame) {
            (State::Offered, Frame::Want { offset }) => {
                if *offset >= item.size {
                    return Err(ExchangeError::PastTheEnd { size: item.size, reached: *offset });
                }
                *state = State::Streaming { at: *offset };
                Ok(Sending::From { offset: *offset })
            }
            // `stored` answers an offer whose bytes had all come before the last connection died.
            (State::Offered, Frame::Have | Frame::Stored) => Ok(self.done(now, transfer, &item)),
            (State::Streaming { at }, Frame::Stored) if at == item.size => Ok(self.done(now, transfer, &item)),
            (State::Streaming { at }, Frame::Stored) => {
                Err(ExchangeError::WrongOffset { found: item.size, expected: at })
            }
            (_, Frame::Later { seconds }) => {
                let seconds = (*seconds).clamp(1, LATER_S_MAX);
                self.hush(transfer, &item, now.plus_ms(u64::from(seconds) * 1000), 0);
                Ok(Sending::Deferred { seconds })
            }
            (State::Offered, _) => Err(out_of_turn("want, have, stored or later")),
            (State::Streaming { .. }, _) => Err(out_of_turn("stored or later")),
        }
    }

    fn done(&mut self, now: Timestamp, transfer: Transfer, item: &Item) -> Sending {
        self.hush(transfer, item, now.plus_ms(self.limits.reoffer_ms), 0);
        Sending::Done { remove: item.kind == Kind::Receipts }
    }

    fn hush(&mut self, transfer: Transfer, item: &Item, until: Timestamp, attempts: u32) {
        self.under_way.remove(&transfer);
        self.quiet.insert(item.id, Quiet { until, attempts });
    }

    /// The next piece to put on the stream: offset and length, `None` when all was sent. Counts it as sent.
    pub fn piece(&mut self, transfer: Transfer, bytes_max: u32) -> Option<(u64, u32)> {
        let (item, State::Streaming { at }) = self.under_way.get_mut(&transfer)? else { return None };
        let length = u32::try_from(item.size - *at).unwrap_or(u32::MAX).min(bytes_max);
        let offset = *at;
        *at += u64::from(length);
        (length > 0).then_some((offset, length))
    }

    /// The stream broke, or the file could not be read: the entry is offered again after a growing while.
    pub fn failed(&mut self, now: Timestamp, transfer: Transfer) -> Option<Failed> {
        let (item, _) = *self.under_way.get(&transfer)?;
        let attempts = self.quiet.get(&item.id).map_or(0, |quiet| quiet.attempts).min(ATTEMPTS_MAX) + 1;
        let wait = (RETRY_MS_MIN << (attempts - 1)).min(RETRY_MS_MAX);
        self.hush(transfer, &item, now.plus_ms(wait), attempts);
        Some(Failed { item, attempts })
    }

    /// The entry of a transfer that is under way.
    #[must_use]
    pub fn item(&self, transfer: Transfer) -> Option<Item> {
        self.under_way.get(&transfer).map(|(item, _)| *item)
    }

    /// Entries under way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.under_way.len()
    }

    /// When the outbox should be listed again although nothing rang: the end of the next silence.
    #[must_use]
    pub fn next_wake(&self, now: Timestamp) -> Option<Timestamp> {
        self.quiet.values().map(|quiet| quiet.until).filter(|until| *until > now).min()
    }
}
