//! One connection from its hello to its end: it offers what the outbox holds and takes what the peer offers.
//!
//! Why it may die anywhere: it keeps nothing of its own. What was offered, taken or put off is in memory for as long as the
//! connection lives; the next one begins from outbox and arrivals.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use protocol::exchange::{ExchangeError, Frame, Hello, Item, Kind, Sender, SenderLimits};
use quinn::Connection;
use spool::{Entry, EntryKind};
use tokio::sync::Notify;

use crate::hub::Hub;
use crate::peer::{Peer, lock};
use crate::wire::{self, LinkError, read_frame, write_frame};
use crate::{receive, send};

/// A peer that proved its key says hello within this, or leaves.
const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// Listing a long outbox takes a while; it may not take more than a fifth of the time.
const LISTING_SHARE: u32 = 4;
/// The bounds of the pause after a listing.
const PAUSE_MIN: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Without a ring and without a silence to end, the outbox is looked at this often all the same.
const LISTING_EVERY: Duration = Duration::from_secs(30);

/// Serves a connection whose key is this peer's, until it ends. Says why it ended.
pub(crate) async fn serve(hub: Arc<Hub>, peer: Arc<Peer>, connection: Connection, dialled: bool) -> LinkError {
    let ended = served(&hub, &peer, &connection, dialled).await;
    let code = match &ended {
        LinkError::Exchange(_) => wire::CLOSE_PROTOCOL,
        LinkError::TooManyConnections { .. } => wire::CLOSE_OVER_LIMIT,
        LinkError::Replaced => wire::CLOSE_REPLACED,
        LinkError::Hello(_) | LinkError::AddressNotAllowed { .. } => wire::CLOSE_REFUSED,
        _ => wire::CLOSE_GOING,
    };
    // A connection that is closed already keeps its first reason.
    wire::close(&connection, code, &ended.to_string());
    if peer.leave(&connection) {
        hub.note(peer.name(), |status| {
            status.connected = false;
            status.since = Some(Instant::now());
        });
    }
    hub.note(peer.name(), |status| status.last_error = Some(ended.to_string()));
    ended
}

async fn served(hub: &Arc<Hub>, peer: &Arc<Peer>, connection: &Connection, dialled: bool) -> LinkError {
    let counted = match peer.count() {
        Ok(counted) => counted,
        Err(connections) => {
            tracing::warn!(alarm = "peer-over-limit", peer = %peer.name(), limit = "connections", "a connection too many");
            lock(&hub.status).trouble.over_limit += 1;
            return LinkError::TooManyConnections { peer: peer.name().clone(), connections };
        }
    };
    let theirs = match tokio::time::timeout(HELLO_WITHIN, hello(hub, peer, connection, dialled)).await {
        Ok(Ok(theirs)) => theirs,
        Ok(Err(error)) => return error,
        Err(_) => return LinkError::Stalled(HELLO_WITHIN),
    };
    if !peer.take_over(connection, theirs.process, dialled, &hub.node) {
        return LinkError::Replaced;
    }
    hub.note(peer.name(), |status| {
        status.connected = true;
        status.since = Some(Instant::now());
        status.address = Some(connection.remote_address());
        status.connections += 1;
    });
    tracing::info!(peer = %peer.name(), address = %connection.remote_address(), dialled, "gateway link up");
    let limits = SenderLimits {
        in_flight: peer.settings.in_flight.min(theirs.in_flight),
        reoffer_ms: hub.settings.reoffer_s.saturating_mul(1000),
    };
    let session = Arc::new(Session {
        hub: hub.clone(),
        peer: peer.clone(),
        connection: connection.clone(),
        sender: Mutex::new(Sender::new(limits)),
        freed: Notify::new(),
    });
    let offering = tokio::spawn(offer(session.clone()));
    let ended = take(&session).await;
    offering.abort();
    drop(counted);
    ended
}

/// What the tasks of one connection share.
pub(crate) struct Session {
    pub(crate) hub: Arc<Hub>,
    pub(crate) peer: Arc<Peer>,
    pub(crate) connection: Connection,
    pub(crate) sender: Mutex<Sender>,
    /// Poked when an entry is no longer under way.
    pub(crate) freed: Notify,
}

impl Session {
    /// Ends the connection if the peer broke the exchange; any other failure ends only its stream.
    pub(crate) fn judge(&self, error: &LinkError) {
        if let LinkError::Exchange(broken) = error {
            tracing::warn!(alarm = "peer-broke-exchange", peer = %self.peer.name(), error = %broken, "closing the connection");
            lock(&self.hub.status).trouble.broke_exchange += 1;
            wire::close(&self.connection, wire::CLOSE_PROTOCOL, &broken.to_string());
        }
    }
}

/// The dialler opens the first stream; each end says hello on it and judges the other's.
async fn hello(hub: &Hub, peer: &Peer, connection: &Connection, dialled: bool) -> Result<Hello, LinkError> {
    let ours = hub.hello(peer);
    let (mut send, mut receive) = if dialled { connection.open_bi().await? } else { connection.accept_bi().await? };
    if dialled {
        write_frame(&mut send, &Frame::Hello(ours.clone())).await?;
    }
    let mut body = Vec::new();
    let head = match read_frame(&mut receive, &mut body).await {
        Ok(head) => head,
        // The connection's own words say more than "connection lost".
        Err(error) => return Err(connection.close_reason().map_or(error, LinkError::from)),
    };
    let frame = Frame::decode(head, &body).map_err(ExchangeError::from)?;
    let Frame::Hello(theirs) = frame else {
        return Err(ExchangeError::OutOfTurn { found: frame.name(), expected: "hello" }.into());
    };
    ours.accepts(&theirs, peer.name(), peer.zone)?;
    if !dialled {
        write_frame(&mut send, &Frame::Hello(ours)).await?;
    }
    let _ = send.finish();
    Ok(theirs)
}

/// Takes the peer's streams until the connection ends.
async fn take(session: &Arc<Session>) -> LinkError {
    loop {
        match session.connection.accept_bi().await {
            Ok((send, receive)) => {
                tokio::spawn(receive::entry(session.clone(), send, receive));
            }
            Err(ended) => return ended.into(),
        }
    }
}

/// Offers what the outbox holds, until the connection ends.
async fn offer(session: Arc<Session>) {
    let hub = &session.hub;
    let mut bell = hub.bell.subscribe();
    while session.connection.close_reason().is_none() {
        let seen = *bell.borrow_and_update();
        let began = Instant::now();
        let entries = match list(&session).await {
            Ok(entries) => entries,
            Err(error) => {
                tracing::error!(peer = %session.peer.name(), %error, "the outbox cannot be listed");
                hub.note(session.peer.name(), |status| status.last_error = Some(error.to_string()));
                HashMap::new()
            }
        };
        let pause = (began.elapsed() * LISTING_SHARE).clamp(PAUSE_MIN, PAUSE_MAX);
        let earliest = tokio::time::Instant::now() + pause;
        loop {
            start(&session, &entries);
            let wake = lock(&session.sender).next_wake(hub.now()).map_or(LISTING_EVERY, |at| hub.until(at));
            let rung = async {
                // An error means that the link is being taken down.
                let _ = bell.wait_for(|generation| *generation != seen).await;
                tokio::time::sleep_until(earliest).await;
            };
            tokio::select! {
                () = session.freed.notified() => {}
                () = rung => break,
                () = tokio::time::sleep(wake.clamp(pause, LISTING_EVERY)) => break,
            }
        }
    }
}

/// The outbox of this peer's crossing, as far as it is for this peer.
async fn list(session: &Session) -> Result<HashMap<protocol::BundleId, Entry>, LinkError> {
    let (outbox, hub, name) =
        (session.hub.spool.outbox(session.peer.out), session.hub.clone(), session.peer.name().clone());
    let listed = tokio::task::spawn_blocking(move || {
        let mut entries = outbox.entries()?;
        if let Some(addressee) = &hub.addressee {
            entries.retain(|entry| addressee(&outbox, entry).is_some_and(|target| target == name));
        }
        Ok::<_, spool::SpoolError>(entries)
    });
    let entries = listed.await??;
    let items: Vec<Item> = entries.iter().map(item).collect();
    lock(&session.sender).list(session.hub.now(), &items);
    Ok(entries.into_iter().map(|entry| (entry.id, entry)).collect())
}

fn item(entry: &Entry) -> Item {
    let kind = match entry.kind {
        EntryKind::Bundle => Kind::Bundle,
        EntryKind::Receipts => Kind::Receipts,
    };
    let Entry { id, priority, epoch, sequence, size, .. } = *entry;
    Item { id, kind, priority, epoch, sequence, size }
}

/// Starts as many offers as have a place.
fn start(session: &Arc<Session>, entries: &HashMap<protocol::BundleId, Entry>) {
    loop {
        let transfer = session.hub.transfer();
        let offered = lock(&session.sender).offer(transfer);
        let Some(item) = offered else { break };
        if let Some(entry) = entries.get(&item.id) {
            tokio::spawn(send::entry(session.clone(), transfer, item, entry.clone()));
        }
    }
    let sending = lock(&session.sender).in_flight();
    session.hub.note(session.peer.name(), |status| status.sending = sending);
}
