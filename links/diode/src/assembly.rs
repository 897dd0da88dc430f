//! Pieces of entries on their way to the arrivals. A piece that is the whole entry goes there at once; pieces of a
//! large one come in any order and meet in a file of their own.
//!
//! ```text
//! parts/<entry id>.part     the bytes, each at its place
//! parts/<entry id>.ranges   kind(1) entry bytes(8) | from(8) to(8) …   which of them a sync has made durable
//! ```
//! Why a kill is safe: the ranges are written only after the bytes they name were synced; what was not synced is
//! brought again by a later round, and the move into the arrivals is the commit.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

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
        Ok(Assembly { disk, folder, arrivals, parts: Mutex::new(parts) })
    }

    /// Keeps every piece of a block; says how many entries became whole.
    pub(crate) fn keep(&self, block: &Block) -> Result<u64, KeepError> {
        let mut whole = 0;
        for (piece, bytes) in block.pieces() {
            whole += u64::from(if piece.is_whole() {
                self.keep_whole(piece, bytes)?
            } else {
                self.keep_part(piece, bytes)?
            });
        }
        Ok(whole)
    }

    /// Makes durable what was written: the driver stops.
    pub(crate) fn flush(&self) -> Result<(), KeepError> {
        let parts: Vec<_> = self.lock().values().cloned().collect();
        for part in parts {
            let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
            if part.unsynced > 0 && !part.done {
                self.sync(&mut part)?;
            }
        }
        Ok(())
    }

    fn keep_whole(&self, piece: &Piece, bytes: &[u8]) -> Result<bool, KeepError> {
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

    fn keep_part(&self, piece: &Piece, bytes: &[u8]) -> Result<bool, KeepError> {
        let Some(part) = self.part(piece)? else { return Ok(false) };
        let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
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
        self.lock().remove(&part.id);
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
        let mut parts = self.lock();
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

    /// A thread that died with the lock held left the map as it was between two calls.
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<BundleId, Arc<Mutex<Part>>>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
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
