//! Entries of an outbox that the disk did not give: noted by whoever read them, with the place that failed, and looked at
//! again until that can be read or the entry has gone. In memory only: a new process notes them again when it reads them.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;

use protocol::BundleId;

/// Noted at once. More is a disk that gives nothing at all, and what is tried again is noted when there is room.
const NOTED_MAX: usize = 10_000;
/// Tried in one look. A look ends with the first that still cannot be read, because a bad sector may take seconds.
const TRIED_MAX: usize = 1_000;
/// Read at once of a place that failed.
const PIECE_BYTES: u64 = 64 * 1024;

/// Of an entry, the piece that could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Where it begins in the entry.
    pub(crate) at: u64,
    /// Bytes; some of them are behind the bad place.
    pub(crate) bytes: u64,
}

impl Piece {
    /// Does a piece that was read hold all of it?
    pub(crate) fn is_within(self, at: u64, bytes: u64) -> bool {
        at <= self.at && self.at.saturating_add(self.bytes) <= at.saturating_add(bytes)
    }

    /// Reads all of it, in small pieces.
    pub(crate) fn read(self, read: impl Fn(&mut [u8], u64) -> io::Result<()>) -> io::Result<()> {
        let (mut at, end) = (self.at, self.at.saturating_add(self.bytes));
        while at < end {
            let mut piece = vec![0; usize::try_from((end - at).min(PIECE_BYTES)).unwrap_or(0)];
            read(&mut piece, at)?;
            at += piece.len() as u64;
        }
        Ok(())
    }
}

/// Is a failure one of the entry's bytes, or of the file they are in? A missing file has left the outbox, or is found to
/// be lost by whoever looks for it.
pub(crate) fn is_of_disk(error: &io::Error) -> bool {
    !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::Interrupted)
}

/// What was noted.
#[derive(Default)]
pub(crate) struct Unread {
    noted: BTreeMap<BundleId, Piece>,
    /// The last that was tried in vain: the next look begins behind it.
    last: Option<BundleId>,
}

impl Unread {
    pub(crate) fn note(&mut self, id: BundleId, piece: Piece) {
        if self.noted.len() < NOTED_MAX || self.noted.contains_key(&id) {
            self.noted.insert(id, piece);
        }
    }

    pub(crate) fn forget(&mut self, id: &BundleId) {
        self.noted.remove(id);
    }

    pub(crate) fn of(&self, id: &BundleId) -> Option<Piece> {
        self.noted.get(id).copied()
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = &BundleId> {
        self.noted.keys()
    }

    pub(crate) fn len(&self) -> usize {
        self.noted.len()
    }

    /// What one look tries, each in its turn.
    pub(crate) fn turns(&self) -> Vec<(BundleId, Piece)> {
        let behind = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let rest = self.noted.range((behind, Bound::Unbounded));
        let first = self.last.map(|last| self.noted.range(..=last)).into_iter().flatten();
        rest.chain(first).take(TRIED_MAX).map(|(id, piece)| (*id, *piece)).collect()
    }

    pub(crate) fn tried_in_vain(&mut self, id: BundleId) {
        self.last = Some(id);
    }
}
