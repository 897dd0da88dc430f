//! Takes connections from outside: the address first, then the key, then the hello. Whoever fails costs little.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use quinn::{Endpoint, Incoming};

use crate::hub::Hub;
use crate::peer::lock;
use crate::session;
use crate::tls;
use crate::wire::{self, LinkError};

/// Handshakes at once. A node has a handful of peers; more than this is a flood, and flooders must prove an address.
const HANDSHAKES_MAX: usize = 16;
/// From the first packet to a proven key.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// Accepts until the endpoint is closed.
pub(crate) async fn accept(hub: Arc<Hub>, endpoint: Endpoint) {
    let under_way = Arc::new(AtomicUsize::new(0));
    while let Some(incoming) = endpoint.accept().await {
        let address = incoming.remote_address().ip();
        if !hub.peers.iter().any(|peer| peer.allows(address)) {
            tracing::warn!(alarm = "peer-over-limit", limit = "allowed", %address, "a connection from an address of no peer was refused");
            let mut status = lock(&hub.status);
            (status.refused, status.trouble.over_limit) = (status.refused + 1, status.trouble.over_limit + 1);
            drop(status);
            incoming.ignore();
            continue;
        }
        if under_way.load(Ordering::Relaxed) >= HANDSHAKES_MAX {
            lock(&hub.status).refused += 1;
            incoming.refuse();
            continue;
        }
        under_way.fetch_add(1, Ordering::Relaxed);
        let (hub, under_way) = (hub.clone(), under_way.clone());
        tokio::spawn(async move {
            let shaken = tokio::time::timeout(HANDSHAKE_WITHIN, handshake(incoming)).await;
            under_way.fetch_sub(1, Ordering::Relaxed);
            let ended = match shaken {
                Ok(Ok(connection)) => admit(&hub, connection).await,
                Ok(Err(error)) => {
                    lock(&hub.status).refused += 1;
                    error
                }
                Err(_) => LinkError::Stalled(HANDSHAKE_WITHIN),
            };
            tracing::warn!(%address, error = %ended, "a gateway connection ended");
        });
    }
}

async fn handshake(incoming: Incoming) -> Result<quinn::Connection, LinkError> {
    Ok(incoming.accept()?.await?)
}

/// Finds whose key it is, and serves the peer from an address it may come from.
async fn admit(hub: &Arc<Hub>, connection: quinn::Connection) -> LinkError {
    let spki = tls::peer_spki(&connection).unwrap_or_default();
    let found = hub.peers.iter().find(|peer| peer.pins.iter().any(|pin| pin.spki == spki));
    let Some(peer) = found else {
        wire::close(&connection, wire::CLOSE_REFUSED, "unknown key");
        return LinkError::UnknownPeer;
    };
    let address = connection.remote_address().ip();
    if !peer.allows(address) {
        let error = LinkError::AddressNotAllowed { peer: peer.name().clone(), address };
        tracing::warn!(alarm = "peer-over-limit", limit = "allowed", peer = %peer.name(), %address, "a peer came from an address it may not use");
        lock(&hub.status).trouble.over_limit += 1;
        wire::close(&connection, wire::CLOSE_REFUSED, &error.to_string());
        hub.note(peer.name(), |status| status.last_error = Some(error.to_string()));
        return error;
    }
    session::serve(hub.clone(), peer.clone(), connection, false).await
}
