//! Frames on QUIC streams, and the words with which a connection ends. Nothing is allocated for a frame before its
//! head was found possible; every read has an end in time.

use std::io;
use std::time::Duration;

use protocol::exchange::{ExchangeError, FRAME_HEAD_BYTES, Frame, FrameHead, HelloMismatch};
use quinn::{Connection, RecvStream, SendStream, VarInt};

/// A peer on a living connection that sends no byte of a frame for so long is stuck; the stream is given up.
const STALL: Duration = Duration::from_secs(120);

/// Closing: the daemon stops.
pub(crate) const CLOSE_GOING: u32 = 0;
/// Closing: the peer did what no honest peer does.
pub(crate) const CLOSE_PROTOCOL: u32 = 1;
/// Closing: the hellos do not fit, or the address is not allowed.
pub(crate) const CLOSE_REFUSED: u32 = 2;
/// Closing: another connection of the same two nodes is kept.
pub(crate) const CLOSE_REPLACED: u32 = 3;
/// Closing: too many connections.
pub(crate) const CLOSE_OVER_LIMIT: u32 = 4;

/// Why a stream or connection could not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("the peer broke the exchange: {0}")]
    Exchange(#[from] ExchangeError),
    #[error("{0}")]
    Hello(#[from] HelloMismatch),
    #[error("{}", said(.0))]
    Connection(quinn::ConnectionError),
    #[error("the stream broke: {0}")]
    Stream(String),
    #[error("no frame came for {} s", .0.as_secs())]
    Stalled(Duration),
    #[error("the peer's key is on no card of a peer in the settings")]
    UnknownPeer,
    #[error("peer {peer} may not come from {address}")]
    AddressNotAllowed { peer: protocol::Name, address: std::net::IpAddr },
    #[error("peer {peer} already has {connections} connections")]
    TooManyConnections { peer: protocol::Name, connections: usize },
    #[error("another connection of these two nodes is kept")]
    Replaced,
    #[error("entry {id} cannot be read: {cause}")]
    Source { id: protocol::BundleId, cause: io::Error },
    #[error("the spool: {0}")]
    Spool(#[from] spool::SpoolError),
    #[error("a thread for the disk ended early: {0}")]
    Disk(#[from] tokio::task::JoinError),
}

impl From<quinn::ConnectionError> for LinkError {
    fn from(error: quinn::ConnectionError) -> Self {
        LinkError::Connection(error)
    }
}

impl LinkError {
    pub(crate) fn stream(error: impl std::fmt::Display) -> LinkError {
        LinkError::Stream(error.to_string())
    }
}

/// A connection's end in words. What a peer says is escaped and short: it lands in our log.
pub(crate) fn said(error: &quinn::ConnectionError) -> String {
    match error {
        quinn::ConnectionError::ApplicationClosed(close) => {
            let words: String = String::from_utf8_lossy(&close.reason).chars().take(200).collect();
            format!("the peer closed the connection (code {}): {}", close.error_code, words.escape_debug())
        }
        quinn::ConnectionError::ConnectionClosed(close) => {
            let words: String = String::from_utf8_lossy(&close.reason).chars().take(200).collect();
            format!("the peer's transport closed the connection ({}): {}", close.error_code, words.escape_debug())
        }
        other => other.to_string(),
    }
}

/// Ends a connection, saying why.
pub(crate) fn close(connection: &Connection, code: u32, words: &str) {
    connection.close(VarInt::from_u32(code), words.as_bytes());
}

/// Reads one frame's bytes into `body` and returns its head.
pub(crate) async fn read_frame(stream: &mut RecvStream, body: &mut Vec<u8>) -> Result<FrameHead, LinkError> {
    let read = async {
        let mut head = [0; FRAME_HEAD_BYTES];
        stream.read_exact(&mut head).await.map_err(LinkError::stream)?;
        let head = FrameHead::decode(head).map_err(ExchangeError::from)?;
        body.clear();
        body.resize(head.body_bytes(), 0);
        stream.read_exact(body).await.map_err(LinkError::stream)?;
        Ok(head)
    };
    tokio::time::timeout(STALL, read).await.map_err(|_| LinkError::Stalled(STALL))?
}

/// Writes one frame.
pub(crate) async fn write_frame(stream: &mut SendStream, frame: &Frame<'_>) -> Result<(), LinkError> {
    write(stream, &frame.encode()).await
}

/// Writes bytes of a frame.
pub(crate) async fn write(stream: &mut SendStream, bytes: &[u8]) -> Result<(), LinkError> {
    let written = tokio::time::timeout(STALL, stream.write_all(bytes)).await;
    written.map_err(|_| LinkError::Stalled(STALL))?.map_err(LinkError::stream)
}
