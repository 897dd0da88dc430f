//! One peer while the link runs: what the settings and its cards say, what it has half-sent, and which connection is
//! the one in use. Two connections of the same peer are never served at once.
//!
//! **The newest connection wins**: a peer that dials again has lost the old one, whatever our idle timer thinks, so
//! the old one is closed. One exception keeps two nodes that dial each other at the same moment from closing each
//! other's connection for ever: if both connections come from the same two processes and were dialled from opposite
//! ends, both nodes keep the one that the node with the smaller name dialled.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::exchange::{Receiver, ReceiverLimits};
use protocol::trust::{Role, Use};
use protocol::{Crossing, Name, Trust, Zone};
use quinn::Connection;
use tokio::sync::Notify;

use crate::pace::Pace;
use crate::settings::PeerSettings;
use crate::tls::Pin;
use crate::wire;

/// The one in use and its successor.
pub(crate) const CONNECTIONS_MAX: usize = 2;

/// A thread that panicked while holding a lock of ours left plain numbers behind; they are still good.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the trust folder lacks for a peer of the settings.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadPeer {
    #[error("peer {name} has no card with use link and role node in the trust folder")]
    NoCard { name: Name },
    #[error("the link cards of peer {name} say {first} and {second}; a node works in one zone")]
    TwoZones { name: Name, first: Zone, second: Zone },
    #[error("no crossing leads from {ours} to {theirs}, where peer {name} works")]
    NoCrossing { name: Name, ours: Zone, theirs: Zone },
    #[error("peers {first} and {second} share the outbox {crossing}, and nothing says whose an entry is")]
    SharedOutbox { first: Name, second: Name, crossing: Crossing },
}

struct Current {
    connection: Connection,
    process: u64,
    dialled: bool,
}

/// One peer.
pub(crate) struct Peer {
    pub(crate) settings: PeerSettings,
    pub(crate) zone: Zone,
    pub(crate) out: Crossing,
    pub(crate) back: Crossing,
    pub(crate) pins: Vec<Pin>,
    pub(crate) receiver: Mutex<Receiver>,
    pub(crate) pace: Mutex<Option<Pace>>,
    /// Poked when the connection in use ends, so that the dialler dials.
    pub(crate) lost: Notify,
    current: Mutex<Option<Current>>,
    connections: AtomicUsize,
}

/// Counts a connection while it lives.
pub(crate) struct Counted<'a>(&'a Peer);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Peer {
    pub(crate) fn new(settings: PeerSettings, ours: Zone, trust: &Trust) -> Result<Peer, BadPeer> {
        let name = &settings.name;
        let mut zone = None;
        let mut pins = Vec::new();
        for card in trust.cards().filter(|c| c.holder == *name && c.usage == Use::Link && c.role == Role::Node) {
            let first = *zone.get_or_insert(card.zone);
            if first != card.zone {
                return Err(BadPeer::TwoZones { name: name.clone(), first, second: card.zone });
            }
            pins.push(Pin { peer: name.clone(), spki: card.spki.clone() });
        }
        let theirs = zone.ok_or_else(|| BadPeer::NoCard { name: name.clone() })?;
        let out =
            Crossing::between(ours, theirs).ok_or_else(|| BadPeer::NoCrossing { name: name.clone(), ours, theirs })?;
        let limits = ReceiverLimits {
            in_flight: settings.in_flight,
            entry_bytes_max: settings.entry_bytes_max,
            partial_bytes_max: settings.partial_bytes_max,
        };
        let pace = settings.rate_mbit.map(|rate| Pace::new(rate, protocol::Timestamp(0)));
        Ok(Peer {
            settings,
            zone: theirs,
            out,
            back: out.back(),
            pins,
            receiver: Mutex::new(Receiver::new(limits)),
            pace: Mutex::new(pace),
            lost: Notify::new(),
            current: Mutex::new(None),
            connections: AtomicUsize::new(0),
        })
    }

    pub(crate) fn name(&self) -> &Name {
        &self.settings.name
    }

    pub(crate) fn allows(&self, address: std::net::IpAddr) -> bool {
        self.settings.allowed.is_empty() || self.settings.allowed.iter().any(|prefix| prefix.holds(address))
    }

    /// A place for one more connection, where the peer has not too many.
    pub(crate) fn count(&self) -> Result<Counted<'_>, usize> {
        let before = self.connections.fetch_add(1, Ordering::Relaxed);
        let counted = Counted(self);
        if before < CONNECTIONS_MAX { Ok(counted) } else { Err(before) }
    }

    /// Makes this connection the one in use, or says no. The loser is closed.
    pub(crate) fn take_over(&self, connection: &Connection, process: u64, dialled: bool, ours: &Name) -> bool {
        let mut current = lock(&self.current);
        if let Some(old) = current.as_ref().filter(|old| old.connection.close_reason().is_none()) {
            let at_once = old.process == process && old.dialled != dialled;
            if at_once && old.dialled == (ours < self.name()) {
                wire::close(connection, wire::CLOSE_REPLACED, "the connection dialled from the other end is kept");
                return false;
            }
            wire::close(&old.connection, wire::CLOSE_REPLACED, "a newer connection of the same node took over");
        }
        *current = Some(Current { connection: connection.clone(), process, dialled });
        true
    }

    /// Is there a living connection?
    pub(crate) fn connected(&self) -> bool {
        lock(&self.current).as_ref().is_some_and(|current| current.connection.close_reason().is_none())
    }

    /// The connection ended; was it the one in use?
    pub(crate) fn leave(&self, connection: &Connection) -> bool {
        let mut current = lock(&self.current);
        let mine = current.as_ref().is_some_and(|current| current.connection.stable_id() == connection.stable_id());
        if mine {
            *current = None;
            self.lost.notify_one();
        }
        mine
    }
}
