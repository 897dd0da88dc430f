//! The gateway's exchange: how sealed entries move between two nodes that both answer. No socket, file or clock.
//!
//! One connection, two directions, each with a sender and a receiver. Every entry has a two-way stream of its own,
//! so a lost packet of one never holds up another; the hellos have one stream, the first.
//!
//! ```text
//!   sender                         receiver
//!     | ---- offer ------------------> |   id, kind, priority, number, size
//!     | <--- have ---------------------|   it is here already: done
//!     | <--- later(seconds) -----------|   over a limit: done for now
//!     | <--- want(offset) -------------|   send from here; what is before it has come already
//!     | ---- chunk … chunk ----------> |
//!     | <--- stored -------------------|   durable: written, synced, renamed
//! ```
//!
//! [`Frame`] is the wire, [`Hello`] the handshake, [`Sender`] and [`Receiver`] the two ends. Any of them may vanish
//! between two frames: what was stored is stored, what was partial is resumed by its offset, and a lost `stored` is
//! answered with `have` when the entry is offered again.

mod frame;
mod hello;
mod item;
mod receiver;
mod sender;
#[cfg(test)]
mod tests;

pub use frame::{CHUNK_BYTES_MAX, CHUNK_HEAD_BYTES, FRAME_HEAD_BYTES, Frame, FrameError, FrameHead, chunk_head};
pub use hello::{Hello, HelloMismatch};
pub use item::{Item, Kind};
pub use receiver::{Begun, Limit, Receiver, ReceiverLimits, Receiving};
pub use sender::{Failed, Sender, SenderLimits, Sending};

/// The version of these frames. The two ends must agree on it; there is no negotiation to confuse.
pub const EXCHANGE_VERSION: u16 = 1;

/// Entries one direction of one connection may have under way. Eight fill a gigabit with room to spare; a thousand
/// is where a peer's setting turns into an attack on memory.
pub const IN_FLIGHT_MAX: u16 = 256;

/// One stream of one connection, by whatever number its owner gives it; never reused while the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Transfer(pub u64);

/// What a peer did that no honest peer does. The connection ends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// Bytes that are no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A frame that does not belong here.
    #[error("a {found} frame came where {expected} was expected")]
    OutOfTurn {
        /// What came.
        found: &'static str,
        /// What could have come.
        expected: &'static str,
    },
    /// A chunk that does not continue where the last one ended.
    #[error("a chunk at offset {found} came where offset {expected} was next")]
    WrongOffset {
        /// Where it says it belongs.
        found: u64,
        /// Where the entry is.
        expected: u64,
    },
    /// More bytes than were offered.
    #[error("an entry offered with {size} bytes reaches {reached}")]
    PastTheEnd {
        /// What was offered.
        size: u64,
        /// How far the peer went.
        reached: u64,
    },
    /// More streams than the hello allowed.
    #[error("{found} entries are under way where the hello allowed {allowed}")]
    TooManyInFlight {
        /// How many.
        found: usize,
        /// How many may be.
        allowed: usize,
    },
}
