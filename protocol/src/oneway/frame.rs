//! One datagram of a block. Knows nothing of sockets; a frame that fails its tag is dropped before the code sees it.
//!
//! ```text
//!  0 magic "TLDF"   4 version 1   5 suite   6 crossing   7 zero
//!  8 link epoch(4) 12 block epoch(4) 16 link sequence(8)
//! 24 block number(4) 28 block bytes(4) 32 K(2) 34 M(2) 36 symbol index(2) 38 symbol bytes(2)
//! 40 first 8 bytes of the block's digest | symbol | tag(16)
//! ```
//! Big-endian. The tag is a GMAC over everything before it, under the link key of the link epoch; its nonce is
//! `"F" 0 0 0 | link sequence`, and a sequence is used once. A block repeated by a later start of the sender keeps its
//! block epoch and is tagged under the new link epoch. The index counts source symbols first, then recovery symbols.

use super::BlockId;
use super::geometry::{BadGeometry, Geometry};
use super::octets::Octets;
use crate::aead::{Aead, NONCE_BYTES, TAG_BYTES};
use crate::suite::Suite;
use crate::zone::Crossing;

const MAGIC: [u8; 4] = *b"TLDF";
const VERSION: u8 = 1;
/// Bytes before the symbol.
pub const HEADER_BYTES: usize = 48;
/// Bytes of a frame that are not symbol.
pub const OVERHEAD_BYTES: usize = HEADER_BYTES + TAG_BYTES;

/// Everything a receiver needs to know about a symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Of tag and digest.
    pub suite: Suite,
    /// Which crossing.
    pub crossing: Crossing,
    /// The start of the sender whose key made the tag.
    pub link_epoch: u32,
    /// Counts what that key has tagged.
    pub link_sequence: u64,
    /// The block.
    pub block: BlockId,
    /// Its shape.
    pub geometry: Geometry,
    /// Which symbol: below K a source symbol, then recovery symbols.
    pub index: u16,
    /// The first bytes of the block's digest, so that symbols of two blocks never meet.
    pub digest_head: [u8; 8],
}

/// What is wrong with a datagram that should have been a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Not one of ours, or cut off.
    #[error("a datagram of {bytes} bytes is no frame")]
    NotAFrame {
        /// Its size.
        bytes: usize,
    },
    /// A code nobody here knows.
    #[error("a frame of version {version}, suite {suite}, crossing {crossing}")]
    Unknown {
        /// Version byte.
        version: u8,
        /// Suite byte.
        suite: u8,
        /// Crossing byte.
        crossing: u8,
    },
    /// A shape no block has.
    #[error(transparent)]
    Geometry(#[from] BadGeometry),
    /// Longer or shorter than its symbol.
    #[error("a frame of {bytes} bytes for a symbol of {symbol_bytes}")]
    Length {
        /// Its size.
        bytes: usize,
        /// What it says.
        symbol_bytes: u16,
    },
    /// A symbol that the block does not have.
    #[error("symbol {index} of {symbols}")]
    Index {
        /// Which.
        index: u16,
        /// How many there are.
        symbols: u32,
    },
    /// Forged or damaged.
    #[error("the tag of frame {link_epoch}/{link_sequence} does not fit")]
    Tag {
        /// The key it names.
        link_epoch: u32,
        /// Its number.
        link_sequence: u64,
    },
}

/// Is this datagram meant to be a frame?
#[must_use]
pub fn is_frame(datagram: &[u8]) -> bool {
    datagram.starts_with(&MAGIC)
}

/// A frame taken apart, its tag not yet checked.
#[derive(Clone, Copy, Debug)]
pub struct Unchecked<'a> {
    /// What it says.
    pub header: Header,
    symbol: &'a [u8],
    tagged: &'a [u8],
    tag: &'a [u8; TAG_BYTES],
}

impl<'a> Unchecked<'a> {
    /// Takes a datagram apart.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, FrameError> {
        let bytes = datagram.len();
        let not_a_frame = FrameError::NotAFrame { bytes };
        let (tagged, tag) = datagram.split_last_chunk::<TAG_BYTES>().ok_or(not_a_frame)?;
        let mut octets = Octets::new(tagged);
        let header = Header::read(&mut octets).ok_or(not_a_frame)??;
        let symbol = octets.rest();
        if symbol.len() != usize::from(header.geometry.symbol_bytes) {
            return Err(FrameError::Length { bytes, symbol_bytes: header.geometry.symbol_bytes });
        }
        Ok(Unchecked { header, symbol, tagged, tag })
    }

    /// The symbol, if the tag fits.
    pub fn check(&self, key: &Aead) -> Result<&'a [u8], FrameError> {
        let Header { link_epoch, link_sequence, .. } = self.header;
        key.check(nonce(b'F', link_sequence), self.tagged, self.tag)
            .map_err(|_| FrameError::Tag { link_epoch, link_sequence })?;
        Ok(self.symbol)
    }
}

impl Header {
    /// Appends the whole frame: header, symbol, tag. `symbol` has exactly the bytes the geometry says.
    pub fn seal(&self, key: &Aead, symbol: &[u8], out: &mut Vec<u8>) {
        debug_assert_eq!(symbol.len(), usize::from(self.geometry.symbol_bytes), "a symbol has the size of its block");
        let start = out.len();
        self.write(out);
        out.extend_from_slice(symbol);
        let tag = key.tag(nonce(b'F', self.link_sequence), out.get(start..).unwrap_or_default());
        out.extend_from_slice(&tag);
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[VERSION, self.suite.code(), self.crossing.code(), 0]);
        out.extend_from_slice(&self.link_epoch.to_be_bytes());
        out.extend_from_slice(&self.block.epoch.to_be_bytes());
        out.extend_from_slice(&self.link_sequence.to_be_bytes());
        out.extend_from_slice(&self.block.number.to_be_bytes());
        out.extend_from_slice(&self.geometry.block_bytes.to_be_bytes());
        out.extend_from_slice(&self.geometry.source.to_be_bytes());
        out.extend_from_slice(&self.geometry.recovery.to_be_bytes());
        out.extend_from_slice(&self.index.to_be_bytes());
        out.extend_from_slice(&self.geometry.symbol_bytes.to_be_bytes());
        out.extend_from_slice(&self.digest_head);
    }

    /// `None` where bytes are missing or the magic is another.
    fn read(octets: &mut Octets<'_>) -> Option<Result<Header, FrameError>> {
        if octets.array()? != MAGIC {
            return None;
        }
        let (version, suite, crossing, zero) = (octets.u8()?, octets.u8()?, octets.u8()?, octets.u8()?);
        let (link_epoch, block_epoch, link_sequence) = (octets.u32()?, octets.u32()?, octets.u64()?);
        let (number, block_bytes) = (octets.u32()?, octets.u32()?);
        let (source, recovery, index, symbol_bytes) = (octets.u16()?, octets.u16()?, octets.u16()?, octets.u16()?);
        let digest_head = octets.array()?;
        let unknown = FrameError::Unknown { version, suite, crossing };
        let (Some(suite), Some(crossing)) = (Suite::from_code(suite), Crossing::from_code(crossing)) else {
            return Some(Err(unknown));
        };
        if version != VERSION || zero != 0 {
            return Some(Err(unknown));
        }
        let geometry = match Geometry::checked(source, recovery, symbol_bytes, block_bytes) {
            Ok(geometry) => geometry,
            Err(bad) => return Some(Err(bad.into())),
        };
        if u32::from(index) >= geometry.symbols() {
            return Some(Err(FrameError::Index { index, symbols: geometry.symbols() }));
        }
        let block = BlockId { epoch: block_epoch, number };
        Some(Ok(Header { suite, crossing, link_epoch, link_sequence, block, geometry, index, digest_head }))
    }
}

/// Frames and beacons draw from one sequence; the letter keeps their nonces apart all the same.
pub(super) fn nonce(letter: u8, sequence: u64) -> [u8; NONCE_BYTES] {
    let mut nonce = [0; NONCE_BYTES];
    let (head, tail) = nonce.split_at_mut(4);
    head.copy_from_slice(&[letter, 0, 0, 0]);
    tail.copy_from_slice(&sequence.to_be_bytes());
    nonce
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(suite: Suite) -> Header {
        Header {
            suite,
            crossing: Crossing::ExtranetToIntranet,
            link_epoch: 9,
            link_sequence: 0x0102_0304_0506_0708,
            block: BlockId { epoch: 7, number: 3 },
            geometry: Geometry::of_block(10_000, 1_408, 15).unwrap(),
            index: 8,
            digest_head: [5; 8],
        }
    }

    #[test]
    fn a_frame_is_read_back_and_encodes_to_the_same_bytes() {
        for suite in Suite::ALL {
            let key = Aead::new(suite, &crate::aead::fresh_key(suite)).unwrap();
            let symbol = vec![0xa5; 1_408];
            let mut bytes = Vec::new();
            header(suite).seal(&key, &symbol, &mut bytes);
            assert_eq!(bytes.len(), 1_472);
            let frame = Unchecked::parse(&bytes).unwrap();
            assert_eq!(frame.header, header(suite));
            assert_eq!(frame.check(&key).unwrap(), symbol);
            let mut again = Vec::new();
            frame.header.seal(&key, &symbol, &mut again);
            assert_eq!(again, bytes);
        }
    }

    #[test]
    fn a_frame_with_one_bit_changed_is_refused_wherever_the_bit_is() {
        let key = Aead::new(Suite::Std, &[3; 32]).unwrap();
        let mut good = Vec::new();
        header(Suite::Std).seal(&key, &[1; 1_408], &mut good);
        for at in (0..HEADER_BYTES).chain([100, 1_455, 1_456, 1_471]) {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                assert!(
                    Unchecked::parse(&bad).and_then(|f| f.check(&key).map(<[u8]>::to_vec)).is_err(),
                    "byte {at} bit {bit}"
                );
            }
        }
        for length in 0..good.len() {
            assert!(Unchecked::parse(&good[..length]).is_err(), "cut to {length}");
        }
    }
}
