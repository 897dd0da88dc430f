//! Keeps one peer dialled: waits while a connection stands, dials when it is lost, backs off while nobody answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::Endpoint;

use crate::hub::Hub;
use crate::peer::Peer;
use crate::session;
use crate::tls::SERVER_NAME;
use crate::wire::LinkError;

/// The first wait; doubled up to the setting's bound.
const WAIT_MIN: Duration = Duration::from_millis(200);
/// A connection that lived this long was a good one: the next wait is the first again.
const GOOD_AFTER: Duration = Duration::from_secs(5);

/// Dials for ever; the link ends it.
pub(crate) async fn keep(hub: Arc<Hub>, peer: Arc<Peer>, endpoint: Endpoint, config: quinn::ClientConfig) {
    let Some(address) = peer.settings.dial else { return };
    let mut wait = WAIT_MIN;
    loop {
        while peer.connected() {
            // The other end dialled us. Looked at again now and then, should a poke be missed.
            let _ = tokio::time::timeout(GOOD_AFTER, peer.lost.notified()).await;
        }
        let began = Instant::now();
        let ended = match dial(&endpoint, &config, address).await {
            Ok(connection) => session::serve(hub.clone(), peer.clone(), connection, true).await,
            Err(error) => error,
        };
        if began.elapsed() >= GOOD_AFTER {
            wait = WAIT_MIN;
        }
        tracing::warn!(peer = %peer.name(), %address, error = %ended, retry_ms = u64::try_from(wait.as_millis()).unwrap_or(0), "gateway link down");
        hub.note(peer.name(), |status| status.last_error = Some(ended.to_string()));
        tokio::time::sleep(jitter(wait)).await;
        wait = (wait * 2).min(hub.settings.reconnect_max());
    }
}

async fn dial(
    endpoint: &Endpoint,
    config: &quinn::ClientConfig,
    address: std::net::SocketAddr,
) -> Result<quinn::Connection, LinkError> {
    Ok(endpoint.connect_with(config.clone(), address, SERVER_NAME).map_err(LinkError::stream)?.await?)
}

/// Between half and one and a half of it, so that two nodes that dial each other do not do it in step.
fn jitter(wait: Duration) -> Duration {
    let [byte] = protocol::keys::random::<1>();
    wait / 2 + wait * u32::from(byte) / 256
}
