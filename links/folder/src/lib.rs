//! A purchased gate that only moves files between two directories: entries of the outbox become files on one side,
//! files on the other side become arrivals.
//!
//! ```text
//! outgoing/<id>.bundle   <id>.receipts   beacon-<epoch>-<n>.tl     each with the gate's suffix, appears by rename
//! incoming/…             the same names, in any order, twice, late, or cut off while the gate still writes them
//! ```
//! One-way, nothing answers: a file that the gate took is written again in rounds until the entry leaves the outbox.
//! Two-way, the same runs in both directions and custody comes back the way the bundle went. Sealed files only; sees
//! no plaintext and knows no rule.
#![cfg_attr(test, allow(clippy::cast_possible_truncation, reason = "numbers in tests are small by construction"))]

use std::sync::Arc;

use protocol::signer::Signatory;
use protocol::{Crossing, Name, Trust};
use spool::Spool;

mod clock;
mod heard;
pub mod incoming;
mod look;
mod names;
pub mod outgoing;
pub mod settings;
mod state;
mod stop;
mod threads;
pub mod trouble;
mod whole;

pub use incoming::{Incoming, IncomingStatus};
pub use look::Finding;
pub use outgoing::{Outgoing, OutgoingStatus};
pub use settings::{BadSettings, Settings};
pub use stop::Stop;
pub use threads::{Running, start};
pub use trouble::Trouble;

/// One end of the gate and the node it belongs to.
#[derive(Clone)]
pub struct Link {
    /// Takes from its outbox, commits to its arrivals.
    pub spool: Spool,
    /// The crossing that leaves through `outgoing`; needed where that is set.
    pub outbound: Option<Crossing>,
    /// The crossing that comes through `incoming`; needed where that is set.
    pub inbound: Option<Crossing>,
    /// The node's signing key: signs beacons.
    pub key: Signatory,
    /// The node at the other end.
    pub peer: Name,
    /// Keys of others.
    pub trust: Arc<Trust>,
}

impl Link {
    /// Where this link keeps what it may lose.
    fn folder(&self, crossing: Crossing) -> std::path::PathBuf {
        self.spool.layout().links().join(format!("folder-{crossing}"))
    }
}
