//! Pieces of entries on their way to the arrivals. A piece that is the whole entry goes there at once; pieces of a
//! large one come in any order and meet in a file of their own.
//!
//! ```text
//! parts/<entry id>.part     the bytes, each at its place
//! parts/<entry id>.ranges   kind(1) entry bytes(8) | from(8) to(8) …   which of them a sync has made durable
//! ```
//! Why a kill is safe: the ranges are written only after the bytes they name were synced; what was not synced is
//! brought again by a later round, and the move into the arrivals is the commit.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use protocol::BundleId;
use protocol::oneway::gap::Ranges;
use protocol::oneway::{Block, Kind, Piece};
use spool::disk::Disk;
use spool::{Arrivals, Begin, EntryKind, SpoolError};

/// Bytes written between two syncs of a part: losing them to a kill costs one more round of a few blocks.
const SYNC_EVERY_BYTES: u64 = 32 << 20;
/// Large entries under way at once. The sender interleaves far fewer; beyond this pieces wait for a later round.
const PARTS_MAX: usize = 1_024;
/// Ranges of one part: pieces of at least half a block of an entry of 1 TiB, all apart.
const RANGES_MAX: usize = 1 << 20;

/// Why a piece could not be kept. The next round brings it again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeepError {
    #[error("{0}")]
    Spool(#[from] SpoolError),
    #[error("a part of an entry: {0}")]
    Disk(#[from] io::Error),
    #[error("what came of entry {id} could not be synced and was thrown away: {cause}")]
    Lost { id: BundleId, cause: io::Error },
    #[error("{PARTS_MAX} large entries are under way already")]
    TooMany,
    #[error("entry {id} is announced with {now} bytes and was with {before}")]
    SizeChanged { id: BundleId, before: u64, now: u64 },
}

/// All entries under way.
pub(crate) struct Assembly {
    disk: Disk,
    folder: PathBuf,
    arrivals: Arrivals,
    parts: Mutex<HashMap<BundleId, Arc<Mutex<Part>>>>,
    /// Whole entries that a keeper has in hand: what was asked for again may come in two blocks at once.
    in_hand: Mutex<HashSet<BundleId>>,
    put_down: Condvar,
}

/// A keeper has this entry in hand.
struct InHand<'a>(&'a Assembly, BundleId);

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        locked(&self.0.in_hand).remove(&self.1);
        self.0.put_down.notify_all();
    }
}

/// A thread that died with a lock held left what it guards as it was between two calls.
fn locked<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Part {
    id: BundleId,
    kind: Kind,
    bytes: u64,
    here: Ranges,
    unsynced: u64,
    done: bool,
}

pub(crate) fn entry_kind(kind: Kind) -> EntryKind {
    match kind {
        Kind::Bundle => EntryKind::Bundle,
        Kind::Receipts => EntryKind::Receipts,
    }
}

impl Assembly {
    /// Takes up what an earlier start left; parts without ranges, and of entries that came another way, are removed.
    pub(crate) fn open(disk: Disk, folder: PathBuf, arrivals: Arrivals) -> io::Result<Assembly> {
        disk.create_dir_all(&folder)?;
        let mut parts = HashMap::new();
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Some((stem, ending)) = name.rsplit_once('.') else { continue };
            let ranges = folder.join(format!("{stem}.ranges"));
            if ending == "ranges" {
                let part = BundleId::from_hex(stem).and_then(|id| read_ranges(id, &std::fs::read(&path).ok()?));
                match part {
                    Some(part) if !is_here(&arrivals, &part) && folder.join(format!("{stem}.part")).exists() => {
                        parts.insert(part.id, Arc::new(Mutex::new(part)));
                    }
                    _ => {
                        disk.remove_file(&path)?;
                        disk.remove_file(&folder.join(format!("{stem}.part")))?;
                    }
                }
            } else if !ranges.exists() {
                disk.remove_file(&path)?;
            }
        }
        let (in_hand, put_down) = (Mutex::default(), Condvar::new());
        Ok(Assembly { disk, folder, arrivals, parts: Mutex::new(parts), in_hand, put_down })
    }

    /// Keeps every piece of a block that can be kept; says how many entries became whole. A piece that cannot takes none
    /// of the others with it.
    pub(crate) fn keep(&self, block: &Block) -> Result<u64, KeepError> {
        let (mut whole, mut failed) = (0, None);
        for (piece, bytes) in block.pieces() {
            let kept = if piece.is_whole() { self.keep_whole(piece, bytes) } else { self.keep_part(piece, bytes) };
            match kept {
                Ok(is_whole) => whole += u64::from(is_whole),
                // The one that other blocks must hear of, else the first.
                Err(error) if failed.is_none() || matches!(error, KeepError::Lost { .. }) => failed = Some(error),
                Err(_) => {}
            }
        }
        failed.map_or(Ok(whole), Err)
    }

    /// Makes durable what was written: the driver stops.
    pub(crate) fn flush(&self) -> Result<(), KeepError> {
        let parts: Vec<_> = locked(&self.parts).values().cloned().collect();
        for part in parts {
            let mut part = locked(&part);
            if part.unsynced > 0 && !part.done {
                self.sync(&mut part)?;
            }
        }
        Ok(())
    }

    fn keep_whole(&self, piece: &Piece, bytes: &[u8]) -> Result<bool, KeepError> {
        let _in_hand = self.take_in_hand(piece.entry);
        match self.arrivals.begin(&piece.entry, entry_kind(piece.kind), piece.entry_bytes)? {
            Begin::Have => Ok(false),
            Begin::Partial(mut partial) => {
                if partial.offset() > 0 {
                    partial.restart()?;
                }
                partial.write(bytes)?;
                partial.finish()?;
                Ok(true)
            }
        }
    }

    /// Waits while another keeper writes the same entry: as long as one small write and its sync take.
    fn take_in_hand(&self, id: BundleId) -> InHand<'_> {
        let free = self.put_down.wait_while(locked(&self.in_hand), |in_hand| in_hand.contains(&id));
        free.unwrap_or_else(PoisonError::into_inner).insert(id);
        InHand(self, id)
    }

    fn keep_part(&self, piece: &Piece, bytes: &[u8]) -> Result<bool, KeepError> {
        let Some(part) = self.part(piece)? else { return Ok(false) };
        let mut part = locked(&part);
        if part.bytes != piece.entry_bytes {
            return Err(KeepError::SizeChanged { id: piece.entry, before: part.bytes, now: piece.entry_bytes });
        }
        if part.done {
            return Ok(false);
        }
        if !part.here.covers(piece.offset, piece.end()) {
            if part.here.count() >= RANGES_MAX {
                return Err(KeepError::TooMany);
            }
            let file = self.disk.open_rw(&self.path(&piece.entry, "part"))?;
            self.disk.write_at(&file, bytes, piece.offset)?;
            part.here.insert(piece.offset, piece.end());
            part.unsynced += bytes.len() as u64;
        }
        // Also for a piece that came again: the move may have been refused the first time, on a full disk.
        if part.here.covers(0, part.bytes) {
            self.finish(&mut part)?;
            return Ok(true);
        }
        if part.unsynced >= SYNC_EVERY_BYTES {
            self.sync(&mut part)?;
        }
        Ok(false)
    }

    fn finish(&self, part: &mut Part) -> Result<(), KeepError> {
        let path = self.path(&part.id, "part");
        self.sync_bytes(part)?;
        self.arrivals.take_file(&part.id, entry_kind(part.kind), &path)?;
        part.done = true;
        self.disk.remove_file(&self.path(&part.id, "ranges"))?;
        self.disk.remove_file(&path)?;
        locked(&self.parts).remove(&part.id);
        Ok(())
    }

    /// After a failed sync nobody knows what the file holds: it is thrown away and comes again, never synced twice.
    fn sync_bytes(&self, part: &mut Part) -> Result<(), KeepError> {
        if part.unsynced == 0 {
            return Ok(());
        }
        let path = self.path(&part.id, "part");
        let synced = self.disk.open_rw(&path).and_then(|file| self.disk.sync_data(&file));
        part.unsynced = 0;
        let Err(cause) = synced else { return Ok(()) };
        part.here = Ranges::default();
        let removed = self.disk.remove_file(&self.path(&part.id, "ranges")).and_then(|()| self.disk.remove_file(&path));
        if let Err(error) = removed {
            tracing::warn!(%error, entry = %part.id, "a part that could not be synced cannot be removed either");
        }
        Err(KeepError::Lost { id: part.id, cause })
    }

    fn sync(&self, part: &mut Part) -> Result<(), KeepError> {
        self.sync_bytes(part)?;
        let mut out = vec![part.kind as u8];
        out.extend_from_slice(&part.bytes.to_be_bytes());
        for (from, to) in part.here.iter() {
            out.extend_from_slice(&from.to_be_bytes());
            out.extend_from_slice(&to.to_be_bytes());
        }
        Ok(self.disk.write(&self.path(&part.id, "ranges"), &out)?)
    }

    /// The entry's part; `None` where the spool has the entry already.
    fn part(&self, piece: &Piece) -> Result<Option<Arc<Mutex<Part>>>, KeepError> {
        let mut parts = locked(&self.parts);
        if let Some(part) = parts.get(&piece.entry) {
            return Ok(Some(part.clone()));
        }
        if parts.len() >= PARTS_MAX {
            return Err(KeepError::TooMany);
        }
        match self.arrivals.begin(&piece.entry, entry_kind(piece.kind), piece.entry_bytes)? {
            Begin::Have => Ok(None),
            // Its own partial file only takes bytes in order; ours is filled in any.
            Begin::Partial(_) => {
                let (id, kind, bytes) = (piece.entry, piece.kind, piece.entry_bytes);
                let part = Part { id, kind, bytes, here: Ranges::default(), unsynced: 0, done: false };
                let part = Arc::new(Mutex::new(part));
                parts.insert(id, part.clone());
                Ok(Some(part))
            }
        }
    }

    fn path(&self, id: &BundleId, ending: &str) -> PathBuf {
        self.folder.join(format!("{id}.{ending}"))
    }
}

fn is_here(arrivals: &Arrivals, part: &Part) -> bool {
    matches!(arrivals.begin(&part.id, entry_kind(part.kind), part.bytes), Ok(Begin::Have))
}

fn read_ranges(id: BundleId, bytes: &[u8]) -> Option<Part> {
    let (kind, rest) = bytes.split_first()?;
    let kind = [Kind::Bundle, Kind::Receipts].into_iter().find(|known| *known as u8 == *kind)?;
    let (size, rest) = rest.split_first_chunk()?;
    let mut here = Ranges::default();
    for range in rest.chunks(16) {
        let (from, to) = range.split_first_chunk()?;
        here.insert(u64::from_be_bytes(*from), u64::from_be_bytes(to.try_into().ok()?));
    }
    Some(Part { id, kind, bytes: u64::from_be_bytes(*size), here, unsynced: 0, done: false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::der_types::Octets;
    use protocol::keys::SigningKey;
    use protocol::oneway::{BlockId, block};
    use protocol::{Crossing, Name, Suite, Timestamp, Zone};
    use spool::{Setup, Spool};

    const CROSSING: Crossing = Crossing::ExtranetToIntranet;
    const ENTRY_BYTES: u32 = 1_000;

    fn spool(root: &std::path::Path) -> Spool {
        let setup = || Setup {
            root: root.to_owned(),
            node: Name::new("intranet").expect("a name"),
            zone: Zone::Intranet,
            key: SigningKey::generate(Suite::Std).into(),
            disk: Disk::real(),
            routes: Vec::new(),
            crossings: vec![CROSSING],
            now: Timestamp(1_795_305_600_000),
            index_cache_bytes: 1 << 20,
        };
        spool::create(&setup()).expect("a tree");
        Spool::open(setup()).expect("a spool")
    }

    fn of_whole_entries(number: u32, entries: u8) -> Block {
        let piece = |n: u8| Piece {
            entry: Octets([n; 16]),
            kind: Kind::Bundle,
            epoch: 1,
            sequence: n.into(),
            entry_bytes: ENTRY_BYTES.into(),
            offset: 0,
            length: ENTRY_BYTES,
        };
        let pieces: Vec<Piece> = (1..=entries).map(piece).collect();
        let id = BlockId { epoch: 1, number };
        let fill = |piece: &Piece, place: &mut [u8]| {
            place.fill(piece.entry.0[0]);
            Ok::<(), std::convert::Infallible>(())
        };
        let bytes = block::assemble(Suite::Std, id, &pieces, fill).expect("a block");
        let head = block::digest_head(&bytes);
        Block::open(Suite::Std, id, &head, bytes).expect("a block")
    }

    #[test]
    fn the_same_entries_in_blocks_that_come_at_once_are_kept_once_and_no_block_waits_for_another_round() {
        let folder = tempfile::tempdir().expect("a folder");
        let spool = spool(&folder.path().join("intranet"));
        let arrivals = spool.arrivals(CROSSING);
        let assembly = Assembly::open(Disk::real(), folder.path().join("parts"), arrivals).expect("an assembly");
        let blocks: Vec<Block> = (0..4).map(|number| of_whole_entries(number, 60)).collect();
        let kept = std::thread::scope(|scope| {
            let keepers: Vec<_> = blocks.iter().map(|block| scope.spawn(|| assembly.keep(block))).collect();
            keepers.into_iter().map(|keeper| keeper.join().expect("no panic").expect("kept")).sum::<u64>()
        });
        assert_eq!((kept, spool.arrivals(CROSSING).completed().expect("a list").len()), (60, 60));
    }

    #[test]
    fn an_entry_that_somebody_else_is_bringing_in_takes_no_other_with_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let spool = spool(&folder.path().join("intranet"));
        let arrivals = spool.arrivals(CROSSING);
        let assembly = Assembly::open(Disk::real(), folder.path().join("parts"), arrivals).expect("an assembly");
        let block = of_whole_entries(7, 3);
        let first = block.directory()[0].entry;
        let elsewhere = spool.arrivals(CROSSING).begin(&first, EntryKind::Bundle, ENTRY_BYTES.into()).expect("begun");
        assert!(matches!(assembly.keep(&block), Err(KeepError::Spool(SpoolError::Busy { .. }))));
        assert_eq!(spool.arrivals(CROSSING).completed().expect("a list").len(), 2);
        drop(elsewhere);
        assert_eq!(assembly.keep(&block).expect("kept"), 1);
    }
}
