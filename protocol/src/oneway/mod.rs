//! The one-way link, without sockets: what the sender puts on the wire and what the receiver makes of it.
//!
//! ```text
//! outbox entries -> Planner (blocks, cut once) -> Sender (frames, rounds, shares) -> wire
//! wire -> Receiver (tags, symbols, Reed-Solomon, digest) -> pieces of entries -> arrivals
//!                     beacons -> what should be here     -> gaps
//! ```
//! Nothing here waits for, expects or emits a reply. Every frame is authenticated before any decoder sees it; every
//! block is checked against its digest before a piece of it is handed on; what does not come is named.

use std::time::Duration;

pub mod beacon;
pub mod block;
pub mod code;
pub mod frame;
pub mod gap;
pub mod geometry;
#[cfg(test)]
mod hostile;
mod introductions;
pub mod night;
mod octets;
pub mod open_block;
pub mod pace;
pub mod plan;
pub mod receiver;
pub mod sender;
#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "dice of a simulation, far below any limit")]
mod wire;

pub use beacon::{Beacon, BeaconError, EPOCHS_MAX, FolderBeacon, Introduction, NextNumber, Pulse};
pub use block::{Block, BlockError, Kind, Piece};
pub use frame::{FrameError, Header};
pub use gap::Numbers;
pub use geometry::{BadGeometry, Geometry};
pub use pace::Bucket;
pub use plan::{Plan, Planner, Waiting};
pub use receiver::{Counters, Event, Limits, Receiver, Refused};
pub use sender::{Sender, Tuning};

/// Time since the driver started, from a clock that only goes forward. The wall clock travels apart, in beacons.
pub type Moment = Duration;

/// Names a block for life: the link epoch in which it was cut, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId {
    /// The link epoch in which it was cut; a later epoch may repeat it.
    pub epoch: u32,
    /// Counted from 0 in that epoch.
    pub number: u32,
}

impl std::fmt::Display for BlockId {
    /// Sixteen hex digits: a file name.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:08x}{:08x}", self.epoch, self.number)
    }
}

impl BlockId {
    /// Reads the sixteen hex digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<BlockId> {
        let bytes = crate::der_types::Octets::<8>::from_hex(text)?;
        let [a, b, c, d, e, f, g, h] = bytes.0;
        Some(BlockId { epoch: u32::from_be_bytes([a, b, c, d]), number: u32::from_be_bytes([e, f, g, h]) })
    }
}
