//! The one-way gate: sockets and threads around the state machines of [`protocol::oneway`].
//!
//! ```text
//! outbox -> diode-send -> UDP ===> diode-read -> diode-work -> diode-keep-0..3 -> arrivals
//!           (never reads)          (drains the    (tags, code,  (pieces of
//!                                   socket)        digests)      entries)
//! ```
//! Takes sealed bundles from one spool and commits them to another; sees no plaintext, knows no rule. The receiving
//! side opens a socket and never sends on it, the sending side never reads. What the link keeps for itself lies under
//! `queues/links/diode-<crossing>/` and may be lost at the cost of sending again.
#![cfg_attr(test, allow(clippy::cast_possible_truncation, reason = "numbers in tests are small by construction"))]

use std::sync::Arc;

use protocol::keys::OpeningKey;
use protocol::signer::Signatory;
use protocol::{Crossing, Name, Suite, Timestamp, Trust};
use spool::Spool;

mod assembly;
mod clock;
mod drops;
mod epoch;
mod line;
pub mod line_test;
pub mod odds;
mod plan_book;
mod receiving;
mod sending;
pub mod settings;
mod socket;
pub mod status;
mod stop;
mod symbol_files;

pub use line::{LineEar, LineSent, send_line_test};
pub use receiving::{Receiving, receive};
pub use sending::{Sending, send};
pub use settings::{BadSettings, ReceiverSettings, SenderSettings};
pub use socket::Offload;
pub use status::{ReceiverStatus, SenderStatus};
pub use stop::Stop;

/// What time it is, where that is believed.
pub type Wall = Arc<dyn Fn() -> Option<Timestamp> + Send + Sync>;

/// One end of the link and the node it belongs to.
#[derive(Clone)]
pub struct Link {
    /// Takes from its outbox, or commits to its arrivals.
    pub spool: Spool,
    /// The crossing that this link carries.
    pub crossing: Crossing,
    /// The suite of tags and block digests; the same at both ends.
    pub suite: Suite,
    /// The node's signing key: signs the introduction of the sender.
    pub key: Signatory,
    /// The node at the other end.
    pub peer: Name,
    /// Keys of others.
    pub trust: Arc<Trust>,
    /// The time of the last look at the clock, or nothing while it is in doubt: by it a sender's nights begin.
    pub wall: Wall,
    /// Take the link key out; the receiver needs one or, while keys change, more of them, the sender none.
    pub opening: Vec<OpeningKey>,
}

impl Link {
    /// Where this link keeps what it may lose.
    fn folder(&self) -> std::path::PathBuf {
        self.spool.layout().links().join(format!("diode-{}", self.crossing))
    }
}
