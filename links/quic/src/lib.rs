//! The gateway carrier: sealed entries between two nodes over QUIC, both ways on one connection, mutual TLS 1.3.
//!
//! It takes entries from the outbox of a crossing and commits what comes to the arrivals of the way back. It opens
//! nothing, inspects nothing and keeps no state of its own on disk: it may die between any two lines, because an
//! entry leaves an outbox only after the peer has it durably, and a partial arrival is resumed by its offset.
//! Arrivals have no order; numbers inside the envelopes do.
//!
//! ```text
//!   run()  thread quic-link: one current-thread runtime     thread quic-link-bell: waits on the spool's bell
//!     listen -> session <- dial        a connection           threads quic-link-disk: reads and writes of files
//!                 |  |
//!              send  receive           a stream an entry, protocol::exchange says what comes next
//! ```
//! Async ends here: [`run`] gives back a plain thread handle.
#![cfg_attr(test, allow(clippy::cast_possible_truncation, reason = "numbers in tests are small by construction"))]

mod dial;
mod hub;
mod listen;
mod pace;
mod peer;
mod prefix;
mod receive;
mod send;
mod session;
mod settings;
mod status;
mod stop;
mod tls;
mod wire;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use protocol::keys::SigningKey;
use protocol::{Name, Trust, Zone};
use quinn::{Endpoint, EndpointConfig, IdleTimeout, TokioRuntime, TransportConfig, VarInt};
use spool::{Entry, Spool};
use tokio::sync::watch;

pub use prefix::{BadPrefix, Prefix};
pub use settings::{BadSetting, PeerSettings, Settings};
pub use status::{LinkStatus, PeerStatus, Trouble};
pub use stop::Stop;

use hub::Hub;
use peer::{BadPeer, Peer, lock};

/// Bytes a stream may have under way: a 30 ms line at half a gigabit.
const STREAM_WINDOW_BYTES: u32 = 2 << 20;
/// Threads for files: as many fsyncs can share a group, and a bounded number of stacks.
const DISK_THREADS_MAX: usize = 16;
/// The bell thread looks at the stop flag this often.
const BELL_WAIT: Duration = Duration::from_millis(200);
/// Peers get to hear that this node is going; no longer than this.
const GOODBYE: Duration = Duration::from_secs(1);
/// A write under way when the link stops may end.
const LAST_WRITES: Duration = Duration::from_secs(10);

/// Says which node an outbox entry is for, from its clear envelope. Called on a disk thread at every listing.
pub type Addressee = Arc<dyn Fn(&spool::Outbox, &Entry) -> Option<Name> + Send + Sync>;

/// What the link works with.
#[derive(Clone)]
pub struct Link {
    /// This node's spool.
    pub spool: Spool,
    /// This node's zone; with a peer's zone it gives the crossings out and back.
    pub zone: Zone,
    /// This node's name, as on its own key card.
    pub node: Name,
    /// This node's link key. Ed25519: TLS here has no SM2.
    pub key: SigningKey,
    /// The cards: every card of a peer with use `link` and role `node` is pinned.
    pub trust: Arc<Trust>,
    /// Needed only where several peers share one outbox (province, city, county): without it every entry of a
    /// crossing goes to the one peer of that crossing, and two of them are refused.
    pub addressee: Option<Addressee>,
    /// What the daemon sees.
    pub status: Arc<Mutex<LinkStatus>>,
}

impl Link {
    /// A link of this spool's node, with an empty status.
    #[must_use]
    pub fn new(spool: Spool, key: SigningKey, trust: Arc<Trust>) -> Link {
        let (zone, node) = (spool.zone(), spool.node().clone());
        Link { spool, zone, node, key, trust, addressee: None, status: Arc::default() }
    }
}

/// Starts the link on a thread of its own and returns at once. Fails where a setting, card, key or address cannot
/// work; afterwards nothing ends it but `stop`.
pub fn run(link: Link, settings: Settings, stop: Stop) -> io::Result<JoinHandle<()>> {
    settings.check().map_err(invalid)?;
    let peers = peers(&link, &settings)?;
    let identity = tls::Identity::new(&link.key, &link.status).map_err(invalid)?;
    let mut sockets = Vec::new();
    for peer in &peers {
        if let Some(address) = peer.settings.dial {
            let unspecified: SocketAddr =
                if address.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
            let tls = identity.client(peer.pins.clone()).map_err(invalid)?;
            let mut config = quinn::ClientConfig::new(Arc::new(tls));
            config.transport_config(transport(&settings, peer.settings.in_flight));
            sockets.push((peer.clone(), UdpSocket::bind(unspecified)?, config));
        }
    }
    let listening = match settings.listen {
        Some(address) => {
            let pins = peers.iter().flat_map(|peer| peer.pins.clone()).collect();
            let mut config = quinn::ServerConfig::with_crypto(Arc::new(identity.server(pins).map_err(invalid)?));
            let most = peers.iter().map(|peer| peer.settings.in_flight).max().unwrap_or(1);
            config.transport_config(transport(&settings, most));
            // A peer is where it is: a packet from elsewhere is no move, it is somebody else.
            config.migration(false);
            Some((UdpSocket::bind(address)?, config))
        }
        None => None,
    };
    let bound = listening.as_ref().map(|(socket, _)| socket.local_addr()).transpose()?;
    {
        let mut status = lock(&link.status);
        status.listening = bound;
        status.peers = peers.iter().map(|peer| (peer.name().clone(), PeerStatus::default())).collect();
    }
    let hub = Arc::new(Hub {
        spool: link.spool,
        node: link.node,
        zone: link.zone,
        settings,
        peers,
        addressee: link.addressee,
        status: link.status,
        bell: watch::channel(0).0,
        process: u64::from_be_bytes(protocol::keys::random()),
        started: Instant::now(),
        transfers: AtomicU64::new(0),
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_name("quic-link-disk")
        .max_blocking_threads(DISK_THREADS_MAX)
        .build()?;
    let bell = bell(&hub, &stop)?;
    std::thread::Builder::new().name("quic-link".to_owned()).spawn(move || {
        runtime.block_on(serve(&hub, sockets, listening, &stop));
        runtime.shutdown_timeout(LAST_WRITES);
        // It looks at the flag several times a second; a panic in it has been logged by then.
        let _ = bell.join();
    })
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

fn peers(link: &Link, settings: &Settings) -> io::Result<Vec<Arc<Peer>>> {
    let mut peers: Vec<Arc<Peer>> = Vec::new();
    let mut outboxes: BTreeMap<protocol::Crossing, Name> = BTreeMap::new();
    for one in &settings.peers {
        let peer = match Peer::new(one.clone(), link.zone, &link.trust) {
            // The others are served all the same; what is for this one waits. The daemon alarms about the card.
            Err(error @ BadPeer::NoCard { .. }) => {
                tracing::error!(%error, "this peer is left out until its card is there and the config is read again");
                continue;
            }
            other => other.map_err(invalid)?,
        };
        if let Some(first) = outboxes.insert(peer.out, peer.name().clone()).filter(|_| link.addressee.is_none()) {
            return Err(invalid(BadPeer::SharedOutbox { first, second: peer.name().clone(), crossing: peer.out }));
        }
        peers.push(Arc::new(peer));
    }
    Ok(peers)
}

/// The bounds of one connection. The windows of the connection hold those of all its streams, so that bulk entries
/// which fill theirs never keep an urgent one from sending.
fn transport(settings: &Settings, in_flight: u16) -> Arc<TransportConfig> {
    let streams = 2 * u32::from(in_flight) + 2;
    let window = u64::from(STREAM_WINDOW_BYTES) * u64::from(streams);
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(streams))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u64(window).unwrap_or(VarInt::MAX))
        .send_window(2 * window)
        .keep_alive_interval(Some(Duration::from_secs(settings.keepalive_s)))
        .max_idle_timeout(IdleTimeout::try_from(Duration::from_secs(settings.idle_s)).ok());
    Arc::new(config)
}

/// Carries the spool's rings into the runtime.
fn bell(hub: &Arc<Hub>, stop: &Stop) -> io::Result<JoinHandle<()>> {
    let (hub, stop) = (hub.clone(), stop.clone());
    std::thread::Builder::new().name("quic-link-bell".to_owned()).spawn(move || {
        let mut seen = hub.spool.bell().generation();
        while !stop.is_stopped() {
            let rung = hub.spool.bell().wait(seen, BELL_WAIT);
            if rung != seen {
                seen = rung;
                hub.bell.send_replace(rung);
            }
        }
    })
}

type Listening = Option<(UdpSocket, quinn::ServerConfig)>;

async fn serve(
    hub: &Arc<Hub>,
    sockets: Vec<(Arc<Peer>, UdpSocket, quinn::ClientConfig)>,
    listening: Listening,
    stop: &Stop,
) {
    let endpoint = |config, socket| Endpoint::new(EndpointConfig::default(), config, socket, Arc::new(TokioRuntime));
    let mut endpoints = Vec::new();
    for (peer, socket, config) in sockets {
        match endpoint(None, socket) {
            Ok(endpoint) => {
                endpoints.push(endpoint.clone());
                tokio::spawn(dial::keep(hub.clone(), peer, endpoint, config));
            }
            Err(error) => tracing::error!(peer = %peer.name(), %error, "no socket to dial from"),
        }
    }
    if let Some((socket, config)) = listening {
        match endpoint(Some(config), socket) {
            Ok(endpoint) => {
                endpoints.push(endpoint.clone());
                tokio::spawn(listen::accept(hub.clone(), endpoint));
            }
            Err(error) => tracing::error!(%error, "the listening socket cannot be used"),
        }
    }
    stop.stopped().await;
    for endpoint in &endpoints {
        endpoint.close(VarInt::from_u32(wire::CLOSE_GOING), b"the node is stopping");
    }
    let goodbyes = async {
        for endpoint in &endpoints {
            endpoint.wait_idle().await;
        }
    };
    let _ = tokio::time::timeout(GOODBYE, goodbyes).await;
}
