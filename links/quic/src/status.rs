//! What the daemon can see of its links at any moment, for the status page and the metrics.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use protocol::Name;

/// All links of this node.
#[derive(Clone, Debug, Default)]
pub struct LinkStatus {
    /// The address in use, where this node listens.
    pub listening: Option<SocketAddr>,
    /// Every peer of the settings, connected or not.
    pub peers: BTreeMap<Name, PeerStatus>,
    /// Connections refused before a peer was known: a wrong address, a wrong key, too many at once.
    pub refused: u64,
    /// What somebody should be woken for.
    pub trouble: Trouble,
}

/// What peers did that they should not, counted since the start of the link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trouble {
    /// Showed a key that is on no card.
    pub unknown_keys: u64,
    /// Were over a limit of address, connections, bytes or parcels.
    pub over_limit: u64,
    /// Sent what does not belong to the exchange.
    pub broke_exchange: u64,
}

/// One peer.
#[derive(Clone, Debug, Default)]
pub struct PeerStatus {
    /// Is there a connection whose hellos fit?
    pub connected: bool,
    /// Since when it has been as it is.
    pub since: Option<Instant>,
    /// Where the peer is, or was last.
    pub address: Option<SocketAddr>,
    /// Connections made since the start.
    pub connections: u64,
    /// Content bytes sent.
    pub bytes_sent: u64,
    /// Content bytes received.
    pub bytes_received: u64,
    /// Entries the peer stored, or had.
    pub entries_sent: u64,
    /// Entries stored here.
    pub entries_received: u64,
    /// Entries the peer turned away for now.
    pub deferred_by_peer: u64,
    /// Entries of the peer turned away here because it was over a limit.
    pub over_limit: u64,
    /// Entries being sent now.
    pub sending: usize,
    /// Entries being received now.
    pub receiving: usize,
    /// The last thing that went wrong, in words.
    pub last_error: Option<String>,
}
