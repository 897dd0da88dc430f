//! What a block carries: pieces of entries, with a directory in front and a digest behind.
//!
//! ```text
//! magic "TLDB" | version(1) | pieces(2) | directory | bytes of the pieces, in order | digest(32)
//! directory entry: entry id(16) kind(1) crossing epoch(8) crossing sequence(8) entry bytes(8) offset(8) length(4)
//! digest = tree root over "trilock-v1-block" 0x00 | block epoch(4) | block number(4) | everything before the digest
//! ```
//! Big-endian. The first 8 bytes of the digest stand in every frame, and every frame is tagged: the node's signature
//! covers the link key, the key covers the frames, the frames carry the digest.

use super::BlockId;
use super::geometry::{BLOCK_BYTES_MAX, SYMBOL_BYTES_MAX};
use super::octets::Octets;
use crate::id::BundleId;
use crate::suite::{Digest, Suite};
use crate::tree::{self, LEAF_BYTES};

const MAGIC: [u8; 4] = *b"TLDB";
const VERSION: u8 = 1;
const HEAD_BYTES: usize = 7;
const DIGEST_BYTES: usize = 32;
/// Bytes of one directory entry.
pub const PIECE_BYTES: usize = 53;
/// Pieces in a block: with entries of 1 KiB a block of 4 MiB would hold about this many.
pub const PIECES_MAX: usize = 4_096;
const DOMAIN: &[u8] = b"trilock-v1-block\0";

/// What an entry of the outbox is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A sealed bundle.
    Bundle = 1,
    /// A signed batch of receipts.
    Receipts = 2,
}

impl Kind {
    fn from_code(code: u8) -> Option<Kind> {
        [Kind::Bundle, Kind::Receipts].into_iter().find(|kind| *kind as u8 == code)
    }
}

/// A range of an entry, as the directory names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Piece {
    /// Whose bytes.
    pub entry: BundleId,
    /// What the entry is.
    pub kind: Kind,
    /// The entry's numbers on the crossing.
    pub epoch: u64,
    /// See `epoch`.
    pub sequence: u64,
    /// Bytes of the whole entry.
    pub entry_bytes: u64,
    /// Where the range starts.
    pub offset: u64,
    /// How long it is.
    pub length: u32,
}

/// What is wrong with a decoded block. Its symbols were authentic, so this is a bad disk or a bug of the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// The digest does not fit.
    #[error("the digest of block {id} does not fit")]
    Digest {
        /// Which block.
        id: BlockId,
    },
    /// The digest fits and the directory makes no sense.
    #[error("the directory of block {id} is not well formed")]
    Directory {
        /// Which block.
        id: BlockId,
    },
}

/// A decoded block whose digest fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Which.
    pub id: BlockId,
    pieces: Vec<Piece>,
    bytes: Vec<u8>,
}

/// Bytes of a block that carries so many pieces of so many bytes together.
#[must_use]
pub fn bytes_for(pieces: usize, content_bytes: u64) -> u64 {
    (HEAD_BYTES + DIGEST_BYTES + pieces * PIECE_BYTES) as u64 + content_bytes
}

/// So many bytes or a few more, so that a block of that size is digested in whole leaves: a last leaf that is short
/// fits no lane and costs five times as much. A few more than the largest block are none.
#[must_use]
pub fn in_whole_leaves(bytes: u32) -> u32 {
    let (domain, leaf) = (DOMAIN.len() + 8, LEAF_BYTES);
    let digested = (bytes as usize + domain).saturating_sub(DIGEST_BYTES);
    let more = (leaf - digested % leaf) % leaf;
    let whole = u32::try_from(bytes as usize + more).unwrap_or(bytes);
    if more <= DIGEST_BYTES && whole <= BLOCK_BYTES_MAX { whole } else { bytes }
}

/// Puts a block together; `read` fills each piece's bytes from its entry. Its error ends the block.
pub fn assemble<E>(
    suite: Suite,
    id: BlockId,
    pieces: &[Piece],
    read: impl FnMut(&Piece, &mut [u8]) -> Result<(), E>,
) -> Result<Vec<u8>, E> {
    assemble_in(Vec::new(), suite, id, pieces, read)
}

/// The same in the memory of a block that went before: what is overwritten need not be cleared first.
pub fn assemble_in<E>(
    mut bytes: Vec<u8>,
    suite: Suite,
    id: BlockId,
    pieces: &[Piece],
    mut read: impl FnMut(&Piece, &mut [u8]) -> Result<(), E>,
) -> Result<Vec<u8>, E> {
    let content: u64 = pieces.iter().map(|piece| u64::from(piece.length)).sum();
    let whole = usize::try_from(bytes_for(pieces.len(), content)).unwrap_or_default();
    let mut directory = Vec::with_capacity(HEAD_BYTES + pieces.len() * PIECE_BYTES);
    directory.extend_from_slice(&MAGIC);
    directory.push(VERSION);
    directory.extend_from_slice(&u16::try_from(pieces.len()).expect("the planner keeps to PIECES_MAX").to_be_bytes());
    pieces.iter().for_each(|piece| piece.write(&mut directory));
    // Room for the zeros behind the last symbol too, so that filling them in moves nothing.
    bytes.reserve((whole + usize::from(SYMBOL_BYTES_MAX)).saturating_sub(bytes.len()));
    bytes.resize(whole, 0);
    let (head, mut rest) = bytes.split_at_mut(directory.len());
    head.copy_from_slice(&directory);
    for piece in pieces {
        let (place, after) = rest.split_at_mut(piece.length as usize);
        read(piece, place)?;
        rest = after;
    }
    let body = whole - DIGEST_BYTES;
    let digest = digest(suite, id, bytes.get(..body).unwrap_or_default());
    bytes.get_mut(body..).into_iter().for_each(|place| place.copy_from_slice(digest.as_bytes()));
    Ok(bytes)
}

/// The first bytes of the digest of an assembled block.
#[must_use]
pub fn digest_head(block: &[u8]) -> [u8; 8] {
    block.last_chunk::<DIGEST_BYTES>().and_then(|digest| digest.first_chunk()).copied().unwrap_or_default()
}

fn digest(suite: Suite, id: BlockId, body: &[u8]) -> Digest {
    let head = [DOMAIN, &id.epoch.to_be_bytes(), &id.number.to_be_bytes()].concat();
    tree::root_behind(suite, &head, body)
}

impl Block {
    /// Checks the digest against the block and against the head that stood in its frames, then reads the directory.
    pub fn open(suite: Suite, id: BlockId, head: &[u8; 8], bytes: Vec<u8>) -> Result<Block, BlockError> {
        let (body, carried) = bytes.split_last_chunk::<DIGEST_BYTES>().ok_or(BlockError::Digest { id })?;
        if !carried.starts_with(head) || digest(suite, id, body).as_bytes() != carried {
            return Err(BlockError::Digest { id });
        }
        let pieces = read_directory(body).ok_or(BlockError::Directory { id })?;
        Ok(Block { id, pieces, bytes })
    }

    /// Its directory.
    #[must_use]
    pub fn directory(&self) -> &[Piece] {
        &self.pieces
    }

    /// Every piece with its bytes.
    pub fn pieces(&self) -> impl Iterator<Item = (&Piece, &[u8])> {
        let mut octets =
            Octets::new(self.bytes.get(HEAD_BYTES + self.pieces.len() * PIECE_BYTES..).unwrap_or_default());
        self.pieces.iter().map_while(move |piece| Some((piece, octets.take(piece.length as usize)?)))
    }

    /// Bytes it holds in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Its memory, for a block to come.
    #[must_use]
    pub fn into_room(self) -> Vec<u8> {
        self.bytes
    }
}

fn read_directory(body: &[u8]) -> Option<Vec<Piece>> {
    if body.len() > BLOCK_BYTES_MAX as usize {
        return None;
    }
    let mut octets = Octets::new(body);
    if octets.array()? != MAGIC || octets.u8()? != VERSION {
        return None;
    }
    let count = usize::from(octets.u16()?);
    if count == 0 || count > PIECES_MAX {
        return None;
    }
    let mut directory = Octets::new(octets.take(count * PIECE_BYTES)?);
    let pieces = (0..count).map(|_| Piece::read(&mut directory)).collect::<Option<Vec<_>>>()?;
    let content: u64 = pieces.iter().map(|piece| u64::from(piece.length)).sum();
    (content == octets.rest().len() as u64).then_some(pieces)
}

impl Piece {
    /// Is this the whole entry?
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.offset == 0 && u64::from(self.length) == self.entry_bytes
    }

    /// The first byte after it.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset + u64::from(self.length)
    }

    /// Appends the directory entry.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.entry.as_bytes());
        out.push(self.kind as u8);
        for number in [self.epoch, self.sequence, self.entry_bytes, self.offset] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(&self.length.to_be_bytes());
    }

    fn read(octets: &mut Octets<'_>) -> Option<Piece> {
        let piece = Piece {
            entry: crate::der_types::Octets(octets.array()?),
            kind: Kind::from_code(octets.u8()?)?,
            epoch: octets.u64()?,
            sequence: octets.u64()?,
            entry_bytes: octets.u64()?,
            offset: octets.u64()?,
            length: octets.u32()?,
        };
        let end = piece.offset.checked_add(u64::from(piece.length))?;
        (end <= piece.entry_bytes).then_some(piece)
    }

    /// Reads one directory entry of exactly [`PIECE_BYTES`].
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Piece> {
        (bytes.len() == PIECE_BYTES).then(|| Piece::read(&mut Octets::new(bytes)))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::der_types::Octets as Id;

    const ID: BlockId = BlockId { epoch: 1, number: 2 };

    fn pieces() -> Vec<Piece> {
        let piece = |n: u8, offset, length| Piece {
            entry: Id([n; 16]),
            kind: Kind::Bundle,
            epoch: 1,
            sequence: u64::from(n),
            entry_bytes: 5_000,
            offset,
            length,
        };
        vec![piece(1, 0, 5_000), piece(2, 700, 300), piece(3, 5_000, 0)]
    }

    fn assembled(suite: Suite) -> Vec<u8> {
        assemble::<()>(suite, ID, &pieces(), |piece, bytes| {
            bytes.fill(piece.entry.0[0]);
            Ok(())
        })
        .unwrap()
    }

    #[test]
    fn a_block_gives_back_its_pieces_and_any_change_to_it_is_noticed() {
        for suite in Suite::ALL {
            let bytes = assembled(suite);
            assert_eq!(bytes.len() as u64, bytes_for(3, 5_300));
            let head = digest_head(&bytes);
            let block = Block::open(suite, ID, &head, bytes.clone()).unwrap();
            let found: Vec<(Piece, usize)> = block.pieces().map(|(piece, bytes)| (*piece, bytes.len())).collect();
            assert_eq!(found, pieces().into_iter().map(|p| (p, p.length as usize)).collect::<Vec<_>>());
            assert!(block.pieces().all(|(piece, bytes)| bytes.iter().all(|b| *b == piece.entry.0[0])));
            for at in (0..200).chain([bytes.len() - 33, bytes.len() - 1]) {
                let mut bad = bytes.clone();
                bad[at] ^= 1;
                assert!(Block::open(suite, ID, &head, bad).is_err(), "{at}");
            }
            assert!(Block::open(suite, BlockId { epoch: 1, number: 3 }, &head, bytes.clone()).is_err());
            assert!(Block::open(suite, ID, &[0; 8], bytes).is_err());
        }
    }

    #[test]
    fn a_block_of_whole_leaves_is_a_few_bytes_larger_and_never_above_the_largest() {
        for kib in [64_u32, 128, 2_048, 4_032] {
            let bytes = in_whole_leaves(kib << 10);
            assert_eq!(bytes, (kib << 10) + 7);
            assert_eq!((bytes as usize - DIGEST_BYTES + DOMAIN.len() + 8) % LEAF_BYTES, 0);
        }
        assert_eq!((in_whole_leaves(BLOCK_BYTES_MAX), in_whole_leaves(100_000)), (BLOCK_BYTES_MAX, 100_000));
    }

    #[test]
    fn a_directory_that_promises_more_than_the_block_holds_is_refused() {
        let mut list = pieces();
        list[1].length = 301;
        let mut bytes = assemble::<()>(Suite::Std, ID, &list, |_, _| Ok(())).unwrap();
        let cut = bytes.len() - DIGEST_BYTES - 1;
        bytes.truncate(cut);
        let whole = digest(Suite::Std, ID, &bytes);
        bytes.extend_from_slice(whole.as_bytes());
        let head = digest_head(&bytes);
        assert_eq!(Block::open(Suite::Std, ID, &head, bytes), Err(BlockError::Directory { id: ID }));
    }
}
