//! What all connections of one node share: the spool, the peers, the clock, the bell and the status.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use protocol::exchange::{EXCHANGE_VERSION, Hello, Transfer};
use protocol::{Name, Timestamp, Zone};
use spool::Spool;
use tokio::sync::watch;

use crate::Addressee;
use crate::peer::{Peer, lock};
use crate::settings::Settings;
use crate::status::{LinkStatus, PeerStatus};

/// Shared by every task of the link.
pub(crate) struct Hub {
    pub(crate) spool: Spool,
    pub(crate) node: Name,
    pub(crate) zone: Zone,
    pub(crate) settings: Settings,
    pub(crate) peers: Vec<Arc<Peer>>,
    pub(crate) addressee: Option<Addressee>,
    pub(crate) status: Arc<Mutex<LinkStatus>>,
    pub(crate) bell: watch::Sender<u64>,
    pub(crate) process: u64,
    pub(crate) started: Instant,
    pub(crate) transfers: AtomicU64,
}

impl Hub {
    /// Milliseconds since the link started: the exchange measures waits and never dates.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// How long until a moment of [`Hub::now`].
    pub(crate) fn until(&self, at: Timestamp) -> Duration {
        Duration::from_millis(at.since(self.now()))
    }

    pub(crate) fn transfer(&self) -> Transfer {
        Transfer(self.transfers.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn hello(&self, peer: &Peer) -> Hello {
        Hello {
            version: EXCHANGE_VERSION,
            zone: self.zone,
            out: peer.out,
            back: peer.back,
            in_flight: peer.settings.in_flight,
            process: self.process,
            node: self.node.clone(),
        }
    }

    /// Changes what the status page shows of a peer.
    pub(crate) fn note(&self, peer: &Name, change: impl FnOnce(&mut PeerStatus)) {
        change(lock(&self.status).peers.entry(peer.clone()).or_default());
    }
}
