//! One frame of the exchange, to bytes and back. Knows the length of everything before it asks for memory.
//!
//! ```text
//!  kind(1) length(4) | body of that length, big-endian throughout
//!  hello  1 | version(2) zone(1) out(1) back(1) in_flight(2) process(8) name(1..=48)
//!  offer  2 | id(16) kind(1) priority(1) epoch(8) sequence(8) size(8)
//!  want   3 | offset(8)
//!  chunk  4 | offset(8) bytes(1..=262144)
//!  have   5 |
//!  stored 6 |
//!  later  7 | seconds(4)
//! ```
//!
//! Every frame has one encoding. A kind, code or length that is not in this picture ends the connection.

use super::hello::Hello;
use super::item::{Item, Kind};
use crate::id::BundleId;
use crate::name::{NAME_BYTES_MAX, Name};
use crate::parcel::Priority;
use crate::zone::{Crossing, Zone};

/// Bytes before a body.
pub const FRAME_HEAD_BYTES: usize = 5;
/// Bytes before a chunk's content: the head and the offset.
pub const CHUNK_HEAD_BYTES: usize = FRAME_HEAD_BYTES + 8;
/// Content of one chunk: large enough that a thread switch a chunk costs nothing, small enough that eight entries
/// under way hold a few MiB.
pub const CHUNK_BYTES_MAX: u32 = 256 * 1024;

const HELLO_FIXED_BYTES: u32 = 15;
const OFFER_BYTES: u32 = 42;
/// The longest name, as a length on the wire.
const HELLO_NAME_BYTES_MAX: u32 = 48;
const _: () = assert!(HELLO_NAME_BYTES_MAX as usize == NAME_BYTES_MAX);

/// What a peer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Who speaks. The first frame each way.
    Hello(Hello),
    /// An entry can be had.
    Offer(Item),
    /// Send it from here.
    Want {
        /// The first byte that is missing.
        offset: u64,
    },
    /// A piece of it.
    Chunk {
        /// Where it belongs.
        offset: u64,
        /// The piece, never empty.
        bytes: &'a [u8],
    },
    /// It is here already.
    Have,
    /// It is durable here now.
    Stored,
    /// Not now: over a limit.
    Later {
        /// Offer it again after so long.
        seconds: u32,
    },
}

/// Bytes that are no frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// No frame has this code.
    #[error("frame kind {code} is not known")]
    UnknownKind {
        /// The code.
        code: u8,
    },
    /// A length that this kind cannot have.
    #[error("a {kind} frame cannot have a body of {bytes} bytes")]
    BadLength {
        /// Which frame.
        kind: &'static str,
        /// Its length.
        bytes: u64,
    },
    /// A field with a value that means nothing.
    #[error("a {kind} frame has {field} {value}, which means nothing")]
    BadField {
        /// Which frame.
        kind: &'static str,
        /// Which field.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// The node's name in a hello has not the form of a name.
    #[error("a hello frame names a node in {bytes} bytes that are no name")]
    BadName {
        /// How long it was; the bytes are not repeated.
        bytes: usize,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum FrameKind {
    Hello = 1,
    Offer = 2,
    Want = 3,
    Chunk = 4,
    Have = 5,
    Stored = 6,
    Later = 7,
}

impl FrameKind {
    const ALL: [FrameKind; 7] = [
        FrameKind::Hello,
        FrameKind::Offer,
        FrameKind::Want,
        FrameKind::Chunk,
        FrameKind::Have,
        FrameKind::Stored,
        FrameKind::Later,
    ];

    const fn name(self) -> &'static str {
        match self {
            FrameKind::Hello => "hello",
            FrameKind::Offer => "offer",
            FrameKind::Want => "want",
            FrameKind::Chunk => "chunk",
            FrameKind::Have => "have",
            FrameKind::Stored => "stored",
            FrameKind::Later => "later",
        }
    }

    /// The lengths a body may have.
    fn lengths(self) -> std::ops::RangeInclusive<u32> {
        match self {
            FrameKind::Hello => HELLO_FIXED_BYTES + 1..=HELLO_FIXED_BYTES + HELLO_NAME_BYTES_MAX,
            FrameKind::Offer => OFFER_BYTES..=OFFER_BYTES,
            FrameKind::Want => 8..=8,
            FrameKind::Chunk => 9..=8 + CHUNK_BYTES_MAX,
            FrameKind::Have | FrameKind::Stored => 0..=0,
            FrameKind::Later => 4..=4,
        }
    }
}

/// The first five bytes of a frame, found possible: only now may the body be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    kind: FrameKind,
    length: u32,
}

impl FrameHead {
    /// Reads a head and refuses what cannot be one.
    pub fn decode(bytes: [u8; FRAME_HEAD_BYTES]) -> Result<FrameHead, FrameError> {
        let [code, length @ ..] = bytes;
        let length = u32::from_be_bytes(length);
        let kind =
            FrameKind::ALL.into_iter().find(|kind| *kind as u8 == code).ok_or(FrameError::UnknownKind { code })?;
        if !kind.lengths().contains(&length) {
            return Err(FrameError::BadLength { kind: kind.name(), bytes: length.into() });
        }
        Ok(FrameHead { kind, length })
    }

    /// Bytes of the body that follows; at most [`CHUNK_BYTES_MAX`] and eight.
    #[must_use]
    pub fn body_bytes(self) -> usize {
        self.length as usize
    }

    /// Does a chunk follow? Its body is the one large one.
    #[must_use]
    pub fn is_chunk(self) -> bool {
        self.kind == FrameKind::Chunk
    }
}

/// The bytes before a chunk's content, so that the content need not be copied behind them.
#[must_use]
pub fn chunk_head(offset: u64, bytes: u32) -> [u8; CHUNK_HEAD_BYTES] {
    let mut head = [0; CHUNK_HEAD_BYTES];
    let (front, place) = head.split_at_mut(FRAME_HEAD_BYTES);
    front.copy_from_slice(&head_bytes(FrameKind::Chunk, 8 + bytes));
    place.copy_from_slice(&offset.to_be_bytes());
    head
}

fn head_bytes(kind: FrameKind, length: u32) -> [u8; FRAME_HEAD_BYTES] {
    let [a, b, c, d] = length.to_be_bytes();
    [kind as u8, a, b, c, d]
}

impl<'a> Frame<'a> {
    /// Reads the body that a head announced.
    pub fn decode(head: FrameHead, body: &'a [u8]) -> Result<Frame<'a>, FrameError> {
        let mut reader = Reader { kind: head.kind.name(), rest: body };
        if body.len() != head.body_bytes() {
            return Err(reader.short(body.len()));
        }
        let frame = match head.kind {
            FrameKind::Hello => reader.hello()?,
            FrameKind::Offer => reader.offer()?,
            FrameKind::Want => Frame::Want { offset: reader.u64()? },
            FrameKind::Chunk => Frame::Chunk { offset: reader.u64()?, bytes: std::mem::take(&mut reader.rest) },
            FrameKind::Have => Frame::Have,
            FrameKind::Stored => Frame::Stored,
            FrameKind::Later => Frame::Later { seconds: u32::from_be_bytes(reader.take()?) },
        };
        if reader.rest.is_empty() { Ok(frame) } else { Err(reader.short(body.len())) }
    }

    /// The bytes of head and body. A chunk longer than [`CHUNK_BYTES_MAX`] is our own bug.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        match self {
            Frame::Hello(hello) => {
                body.extend(hello.version.to_be_bytes());
                body.extend([hello.zone.code(), hello.out.code(), hello.back.code()]);
                body.extend(hello.in_flight.to_be_bytes());
                body.extend(hello.process.to_be_bytes());
                body.extend(hello.node.as_str().as_bytes());
            }
            Frame::Offer(item) => {
                body.extend(item.id.as_bytes());
                body.extend([item.kind.code(), item.priority as u8]);
                for word in [item.epoch, item.sequence, item.size] {
                    body.extend(word.to_be_bytes());
                }
            }
            Frame::Want { offset } => body.extend(offset.to_be_bytes()),
            Frame::Chunk { offset, bytes } => {
                body.extend(offset.to_be_bytes());
                body.extend(*bytes);
            }
            Frame::Have | Frame::Stored => {}
            Frame::Later { seconds } => body.extend(seconds.to_be_bytes()),
        }
        let length = u32::try_from(body.len()).expect("every frame is bounded by its kind, far below 4 GiB");
        let mut out = head_bytes(self.kind(), length).to_vec();
        out.append(&mut body);
        out
    }

    /// Its word, for errors.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.kind().name()
    }

    fn kind(&self) -> FrameKind {
        match self {
            Frame::Hello(_) => FrameKind::Hello,
            Frame::Offer(_) => FrameKind::Offer,
            Frame::Want { .. } => FrameKind::Want,
            Frame::Chunk { .. } => FrameKind::Chunk,
            Frame::Have => FrameKind::Have,
            Frame::Stored => FrameKind::Stored,
            Frame::Later { .. } => FrameKind::Later,
        }
    }
}

struct Reader<'a> {
    kind: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn short(&self, bytes: usize) -> FrameError {
        FrameError::BadLength { kind: self.kind, bytes: bytes as u64 }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or_else(|| self.short(self.rest.len()))?;
        self.rest = rest;
        Ok(*taken)
    }

    fn u16(&mut self) -> Result<u16, FrameError> {
        self.take().map(u16::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, FrameError> {
        self.take().map(u64::from_be_bytes)
    }

    fn code<T>(&mut self, field: &'static str, known: impl Fn(u8) -> Option<T>) -> Result<T, FrameError> {
        let [code] = self.take()?;
        known(code).ok_or(FrameError::BadField { kind: self.kind, field, value: code.into() })
    }

    fn hello(&mut self) -> Result<Frame<'a>, FrameError> {
        let version = self.u16()?;
        let zone = self.code("zone", Zone::from_code)?;
        let out = self.code("crossing", Crossing::from_code)?;
        let back = self.code("crossing", Crossing::from_code)?;
        let (in_flight, process) = (self.u16()?, self.u64()?);
        let text = std::mem::take(&mut self.rest);
        let node = std::str::from_utf8(text)
            .ok()
            .and_then(|text| Name::new(text).ok())
            .ok_or(FrameError::BadName { bytes: text.len() })?;
        Ok(Frame::Hello(Hello { version, zone, out, back, in_flight, process, node }))
    }

    fn offer(&mut self) -> Result<Frame<'a>, FrameError> {
        let id: [u8; 16] = self.take()?;
        let kind = self.code("kind", Kind::from_code)?;
        let priority = self.code("priority", |code| Priority::ALL.into_iter().find(|known| *known as u8 == code))?;
        let (epoch, sequence, size) = (self.u64()?, self.u64()?, self.u64()?);
        if size == 0 {
            // No bundle is empty; an empty file would be complete before it was wanted.
            return Err(FrameError::BadField { kind: self.kind, field: "size", value: 0 });
        }
        Ok(Frame::Offer(Item {
            id: BundleId::from_slice(&id).expect("16 bytes were taken"),
            kind,
            priority,
            epoch,
            sequence,
            size,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item() -> Item {
        Item {
            id: crate::der_types::Octets([7; 16]),
            kind: Kind::Receipts,
            priority: Priority::Bulk,
            epoch: 3,
            sequence: u64::MAX,
            size: 1,
        }
    }

    fn samples() -> Vec<Vec<u8>> {
        let hello = Hello {
            version: 1,
            zone: Zone::Internet,
            out: Crossing::InternetToExtranet,
            back: Crossing::ExtranetToInternet,
            in_flight: 8,
            process: 0x0102_0304_0506_0708,
            node: Name::new("internet").unwrap(),
        };
        let chunk = vec![0xa5; CHUNK_BYTES_MAX as usize];
        [
            Frame::Hello(hello),
            Frame::Offer(item()),
            Frame::Want { offset: 1 << 40 },
            Frame::Chunk { offset: 9, bytes: &chunk },
            Frame::Chunk { offset: 0, bytes: b"x" },
            Frame::Have,
            Frame::Stored,
            Frame::Later { seconds: 600 },
        ]
        .iter()
        .map(Frame::encode)
        .collect()
    }

    /// What a reader of a stream does: the head, then exactly the body it announces.
    fn decode(bytes: &[u8]) -> Result<Frame<'_>, FrameError> {
        let cut = |bytes: usize| FrameError::BadLength { kind: "cut", bytes: bytes as u64 };
        let (head, body) = bytes.split_first_chunk().ok_or_else(|| cut(bytes.len()))?;
        let head = FrameHead::decode(*head)?;
        Frame::decode(head, body.get(..head.body_bytes()).ok_or_else(|| cut(body.len()))?)
    }

    #[test]
    fn every_frame_is_read_back_and_has_one_encoding() {
        for bytes in samples() {
            assert_eq!(decode(&bytes).unwrap().encode(), bytes);
        }
    }

    #[test]
    fn a_chunks_head_is_the_one_the_whole_frame_has() {
        let whole = Frame::Chunk { offset: 77, bytes: b"hello" }.encode();
        assert_eq!(chunk_head(77, 5).as_slice(), whole.get(..CHUNK_HEAD_BYTES).unwrap());
    }

    #[test]
    fn a_hostile_length_is_refused_before_a_body_is_read() {
        for code in 0..=255u8 {
            for length in [0u32, 1, 7, 9, 41, 43, 64, CHUNK_BYTES_MAX + 9, 1 << 31, u32::MAX] {
                let [a, b, c, d] = length.to_be_bytes();
                if let Ok(head) = FrameHead::decode([code, a, b, c, d]) {
                    assert!((1..=7).contains(&code) && head.body_bytes() <= 8 + CHUNK_BYTES_MAX as usize);
                }
            }
        }
        assert_eq!(FrameHead::decode([9, 0, 0, 0, 0]), Err(FrameError::UnknownKind { code: 9 }));
        assert!(matches!(FrameHead::decode([5, 0, 0, 0, 1]), Err(FrameError::BadLength { kind: "have", bytes: 1 })));
    }

    #[test]
    fn codes_names_and_sizes_that_mean_nothing_are_refused() {
        let samples = samples();
        let broken = |sample: usize, at: usize, value: u8| {
            let mut bytes = samples.get(sample).unwrap().clone();
            *bytes.get_mut(at).unwrap() = value;
            decode(&bytes).map(|frame| frame.encode())
        };
        for (at, what) in [(7, "zone"), (8, "crossing"), (9, "crossing")] {
            assert!(matches!(broken(0, at, 9), Err(FrameError::BadField { field, .. }) if field == what));
        }
        for bad in [b'A', b'/', 0, 0xff] {
            assert_eq!(broken(0, 20, bad), Err(FrameError::BadName { bytes: 8 }));
        }
        assert!(matches!(broken(1, 21, 3), Err(FrameError::BadField { field: "kind", .. })));
        assert!(matches!(broken(1, 22, 0), Err(FrameError::BadField { field: "priority", .. })));
        assert!(matches!(broken(1, 46, 0), Err(FrameError::BadField { field: "size", .. })));
    }

    #[test]
    fn mutated_bytes_never_panic_and_whatever_is_read_is_written_the_same() {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = move |below: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            usize::try_from(seed % below as u64).unwrap()
        };
        let samples: Vec<_> = samples().into_iter().filter(|bytes| bytes.len() < 1000).collect();
        let mut read = 0;
        for _ in 0..200_000 {
            let mut bytes = samples.get(next(samples.len())).unwrap().clone();
            for _ in 0..=next(3) {
                match next(4) {
                    0 => bytes.truncate(next(bytes.len() + 1)),
                    1 => bytes.extend([0, 255].iter().take(next(3))),
                    _ => {
                        let at = next(bytes.len().max(1));
                        if let Some(byte) = bytes.get_mut(at) {
                            *byte ^= 1 << next(8);
                        }
                    }
                }
            }
            if let Ok(frame) = decode(&bytes) {
                let again = frame.encode();
                assert_eq!(bytes.get(..again.len()), Some(again.as_slice()), "seeded with 9e3779b97f4a7c15");
                read += 1;
            }
        }
        assert!(read > 1000, "{read} mutants were still frames");
    }
}
