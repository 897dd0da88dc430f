//! One entry on its way out: offered on a stream of its own, streamed from where the peer wants it, confirmed.
//!
//! The next piece is read while the last one is on its way; two pieces an entry are the memory it takes here.
//!
//! Why it may die anywhere: the outbox keeps the entry until the peer says `stored`, and it says so after its own sync.
//! Whoever died before that offers the entry again and is told from which byte. Of what is stored only receipts go; a
//! bundle stays until its receipt has come.

use std::io;
use std::sync::Arc;

use protocol::exchange::{
    CHUNK_BYTES_MAX, CHUNK_HEAD_BYTES, ExchangeError, Frame, Item, Sending, Transfer, chunk_head,
};
use protocol::parcel::Priority;
use quinn::{RecvStream, SendStream};
use spool::{Content, Entry};
use tokio::task::JoinHandle;

use crate::peer::lock;
use crate::session::Session;
use crate::wire::{LinkError, read_frame, write, write_frame};

/// Sends one entry and tells the sender how it ended.
pub(crate) async fn entry(session: Arc<Session>, transfer: Transfer, item: Item, entry: Entry) {
    let ended = exchange(&session, transfer, item, &entry).await;
    if let Err(error) = &ended {
        session.judge(error);
        let failed = lock(&session.sender).failed(session.hub.now(), transfer);
        if let Some(failed) = failed.filter(|_| session.connection.close_reason().is_none()) {
            tracing::warn!(peer = %session.peer.name(), entry = %item.id, attempts = failed.attempts, %error, "an entry was not sent");
            session.hub.note(session.peer.name(), |status| status.last_error = Some(error.to_string()));
        }
    }
    session.freed.notify_one();
}

async fn exchange(session: &Session, transfer: Transfer, item: Item, entry: &Entry) -> Result<(), LinkError> {
    let (mut send, mut receive) = session.connection.open_bi().await?;
    let _ = send.set_priority(match item.priority {
        Priority::Urgent => 2,
        Priority::Normal => 1,
        Priority::Bulk => 0,
    });
    write_frame(&mut send, &Frame::Offer(item)).await?;
    let mut next = answer(session, transfer, &mut receive).await?;
    if let Sending::From { .. } = next {
        stream(session, transfer, entry, &mut send).await?;
        next = answer(session, transfer, &mut receive).await?;
    }
    let _ = send.finish();
    match next {
        Sending::Done { remove } => {
            session.hub.note(session.peer.name(), |status| status.entries_sent += 1);
            if remove {
                let (outbox, entry) = (session.hub.spool.outbox(session.peer.out), entry.clone());
                tokio::task::spawn_blocking(move || outbox.remove(&entry)).await??;
            }
        }
        Sending::Deferred { seconds } => {
            tracing::info!(peer = %session.peer.name(), entry = %item.id, seconds, "the peer asks to wait");
            session.hub.note(session.peer.name(), |status| status.deferred_by_peer += 1);
        }
        Sending::From { .. } => return Err(ExchangeError::OutOfTurn { found: "want", expected: "stored" }.into()),
    }
    Ok(())
}

async fn answer(session: &Session, transfer: Transfer, receive: &mut RecvStream) -> Result<Sending, LinkError> {
    let mut body = Vec::new();
    let head = read_frame(receive, &mut body).await?;
    let frame = Frame::decode(head, &body).map_err(ExchangeError::from)?;
    Ok(lock(&session.sender).handle_frame(session.hub.now(), transfer, &frame)?)
}

/// Puts everything from the wanted offset on the stream.
async fn stream(session: &Session, transfer: Transfer, entry: &Entry, send: &mut SendStream) -> Result<(), LinkError> {
    let source = |cause| LinkError::Source { id: entry.id, cause };
    let (outbox, wanted) = (session.hub.spool.outbox(session.peer.out), entry.clone());
    let file = Arc::new(tokio::task::spawn_blocking(move || outbox.content(&wanted)).await?.map_err(source)?);
    let mut coming = piece(session, transfer, &file);
    while let Some(reading) = coming.take() {
        let bytes = reading.await?.map_err(source)?;
        coming = piece(session, transfer, &file);
        let length = u32::try_from(bytes.len() - CHUNK_HEAD_BYTES).unwrap_or(u32::MAX);
        wait_for_pace(session, entry.priority, length).await;
        write(send, &bytes).await?;
        session.hub.note(session.peer.name(), |status| status.bytes_sent += u64::from(length));
    }
    Ok(())
}

/// Starts reading the next piece, with the head of its chunk before it.
fn piece(session: &Session, transfer: Transfer, file: &Arc<Content>) -> Option<JoinHandle<io::Result<Vec<u8>>>> {
    let (offset, length) = lock(&session.sender).piece(transfer, CHUNK_BYTES_MAX)?;
    let file = file.clone();
    Some(tokio::task::spawn_blocking(move || {
        let mut bytes = chunk_head(offset, length).to_vec();
        bytes.resize(CHUNK_HEAD_BYTES + length as usize, 0);
        let (_, content) = bytes.split_at_mut(CHUNK_HEAD_BYTES);
        file.read_exact_at(content, offset)?;
        Ok(bytes)
    }))
}

/// Waits its turn under the peer's rate. Urgent entries are counted and do not wait.
async fn wait_for_pace(session: &Session, priority: Priority, bytes: u32) {
    let wait = lock(&session.peer.pace).as_mut().map(|pace| pace.take(session.hub.now(), bytes));
    if let Some(wait) = wait.filter(|wait| priority != Priority::Urgent && !wait.is_zero()) {
        tokio::time::sleep(wait).await;
    }
}
