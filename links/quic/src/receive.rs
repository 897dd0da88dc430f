//! One entry on its way in: looked up, appended to its partial file, made durable, and only then confirmed.
//!
//! The next chunk is read from the network while the last one is written; two chunks an entry are the memory it takes.
//!
//! Why it may die anywhere: what came lies in the partial file, and its length is where the peer goes on; the entry is in
//! the arrivals by one rename after a sync, and `stored` is said after that. Said or not, an entry that is offered again
//! is looked up first.

use std::sync::Arc;

use protocol::exchange::{Begun, CHUNK_BYTES_MAX, ExchangeError, Frame, Item, Kind, Limit, Receiving, Transfer};
use quinn::{RecvStream, SendStream};
use spool::{Begin, EntryKind, Partial, SpoolError};
use tokio::task::JoinHandle;

use crate::peer::lock;
use crate::session::Session;
use crate::wire::{LinkError, read_frame, write_frame};

/// Takes one entry, and tells the receiver how it ended.
pub(crate) async fn entry(session: Arc<Session>, send: SendStream, receive: RecvStream) {
    let transfer = session.hub.transfer();
    let mut stream = Stream { session: &session, transfer, send, receive, body: Vec::new() };
    let ended = stream.exchange().await;
    let name = session.peer.name();
    if let Err(error) = &ended {
        session.judge(error);
        if session.connection.close_reason().is_none() {
            tracing::warn!(peer = %name, %error, "an entry was not received");
            session.hub.note(name, |status| status.last_error = Some(error.to_string()));
        }
    }
    lock(&session.peer.receiver).closed(session.hub.now(), transfer);
    let receiving = lock(&session.peer.receiver).in_flight();
    session.hub.note(name, |status| status.receiving = receiving);
}

type Writing = JoinHandle<Result<(Partial, Vec<u8>), SpoolError>>;

struct Stream<'a> {
    session: &'a Session,
    transfer: Transfer,
    send: SendStream,
    receive: RecvStream,
    body: Vec<u8>,
}

impl Stream<'_> {
    async fn exchange(&mut self) -> Result<(), LinkError> {
        let item = match self.frame().await? {
            Receiving::Ask(item) => item,
            Receiving::Later(limit) => return self.later(limit).await,
            _ => return Err(ExchangeError::OutOfTurn { found: "chunk", expected: "offer" }.into()),
        };
        let receiving = lock(&self.session.peer.receiver).in_flight();
        self.session.hub.note(self.session.peer.name(), |status| status.receiving = receiving);
        let (begun, partial) = self.begin(item).await?;
        let next = lock(&self.session.peer.receiver).begun(self.transfer, begun);
        match (next, partial) {
            (Receiving::Have, _) => self.answer(&Frame::Have).await,
            (Receiving::Want { offset }, Some(partial)) => {
                self.answer_open(&Frame::Want { offset }).await?;
                let partial = self.write(partial).await?;
                self.finish(partial).await
            }
            (Receiving::Finish, Some(partial)) => self.finish(partial).await,
            (Receiving::Later(limit), _) => self.later(limit).await,
            (_, _) => self.later(Limit::Busy).await,
        }
    }

    /// Reads one frame and hears what to do about it.
    async fn frame(&mut self) -> Result<Receiving, LinkError> {
        let head = read_frame(&mut self.receive, &mut self.body).await?;
        let frame = Frame::decode(head, &self.body).map_err(ExchangeError::from)?;
        Ok(lock(&self.session.peer.receiver).handle_frame(self.session.hub.now(), self.transfer, &frame)?)
    }

    async fn begin(&self, item: Item) -> Result<(Begun, Option<Partial>), LinkError> {
        let arrivals = self.session.hub.spool.arrivals(self.session.peer.back);
        let kind = match item.kind {
            Kind::Bundle => EntryKind::Bundle,
            Kind::Receipts => EntryKind::Receipts,
        };
        match tokio::task::spawn_blocking(move || arrivals.begin(&item.id, kind, item.size)).await? {
            Ok(Begin::Have) => Ok((Begun::Have, None)),
            Ok(Begin::Partial(partial)) => Ok((Begun::Partial { offset: partial.offset() }, Some(partial))),
            Err(SpoolError::Full { .. }) => Ok((Begun::Full, None)),
            Err(error) => Err(error.into()),
        }
    }

    /// Appends chunks until the entry is whole.
    async fn write(&mut self, partial: Partial) -> Result<Partial, LinkError> {
        let mut writing: Writing = tokio::spawn(std::future::ready(Ok((partial, Vec::new()))));
        loop {
            let next = self.frame().await;
            // The write under way ends before anything else, so that no second stream finds the file still open.
            let (mut partial, spare) = writing.await??;
            let next = next?;
            let chunk = std::mem::replace(&mut self.body, spare);
            let bytes = chunk.len().saturating_sub(8) as u64;
            self.session.hub.note(self.session.peer.name(), |status| status.bytes_received += bytes);
            writing = tokio::task::spawn_blocking(move || {
                // The first eight bytes are the offset, which the receiver has checked.
                partial.write(chunk.get(8..).unwrap_or_default())?;
                Ok((partial, chunk))
            });
            if next == Receiving::Finish {
                return Ok(writing.await??.0);
            }
        }
    }

    async fn finish(&mut self, partial: Partial) -> Result<(), LinkError> {
        tokio::task::spawn_blocking(move || partial.finish()).await??;
        lock(&self.session.peer.receiver).stored(self.transfer);
        self.session.hub.note(self.session.peer.name(), |status| status.entries_received += 1);
        self.answer(&Frame::Stored).await
    }

    async fn later(&mut self, limit: Limit) -> Result<(), LinkError> {
        let name = self.session.peer.name();
        if limit == Limit::SpoolFull {
            tracing::warn!(alarm = "spool-full", peer = %name, "an offer was deferred: the disk has reached its floor");
        } else if limit != Limit::Busy {
            tracing::warn!(alarm = "peer-over-limit", peer = %name, limit = limit.code(), "an offer was deferred");
            self.session.hub.note(name, |status| status.over_limit += 1);
            lock(&self.session.hub.status).trouble.over_limit += 1;
        }
        self.answer(&Frame::Later { seconds: limit.later_s() }).await
    }

    async fn answer_open(&mut self, frame: &Frame<'_>) -> Result<(), LinkError> {
        // Room for one whole chunk now; the buffer is handed back and forth from here on.
        self.body.reserve(CHUNK_BYTES_MAX as usize + 8);
        write_frame(&mut self.send, frame).await
    }

    /// The last frame of this stream.
    async fn answer(&mut self, frame: &Frame<'_>) -> Result<(), LinkError> {
        write_frame(&mut self.send, frame).await?;
        let _ = self.send.finish();
        Ok(())
    }
}
