//! Symbols of blocks that are not whole yet, one append-only file a block: what makes rounds add up across a restart.
//!
//! ```text
//! <block id>.sym:  magic "TLSY" | block bytes(4) K(2) M(2) symbol bytes(2) | digest head(8) | index(2) symbol | …
//! ```
//! Never synced: a torn tail is passed over, and a wrong byte is found by the block's digest, which costs the block
//! one more round. The quota is the receiver's.

use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use protocol::oneway::geometry::BLOCK_BYTES_MAX;
use protocol::oneway::open_block::Symbol;
use protocol::oneway::{BlockId, Geometry};
use spool::disk::Disk;

const MAGIC: [u8; 4] = *b"TLSY";
const HEAD_BYTES: usize = 22;
/// Source and recovery symbols of the largest block, with their indices, fit well below.
const FILE_BYTES_MAX: u64 = 3 * BLOCK_BYTES_MAX as u64;

/// The folder of these files.
pub(crate) struct SymbolFiles {
    disk: Disk,
    folder: PathBuf,
}

/// A block as its file shows it.
pub(crate) struct Found {
    pub(crate) id: BlockId,
    pub(crate) geometry: Geometry,
    pub(crate) digest_head: [u8; 8],
    pub(crate) indices: Vec<u16>,
}

impl SymbolFiles {
    pub(crate) fn open(disk: Disk, folder: PathBuf) -> io::Result<SymbolFiles> {
        disk.create_dir_all(&folder)?;
        Ok(SymbolFiles { disk, folder })
    }

    /// Every block that has a file. Files that make no sense are removed.
    pub(crate) fn found(&self) -> io::Result<Vec<Found>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let id = path
                .file_name()
                .and_then(|name| name.to_str())
                .and_then(|name| BlockId::parse(name.strip_suffix(".sym")?));
            match id.map(|id| scan(&path, id)) {
                Some(Ok(Some(block))) => found.push(block),
                _ => self.disk.remove_file(&path)?,
            }
        }
        Ok(found)
    }

    /// Adds symbols to a block's file.
    pub(crate) fn append(
        &self,
        id: BlockId,
        geometry: &Geometry,
        head: &[u8; 8],
        symbols: &[Symbol],
    ) -> io::Result<()> {
        let mut file = self.disk.open_append(&self.path(id))?;
        let mut bytes = Vec::with_capacity(HEAD_BYTES + symbols.len() * (usize::from(geometry.symbol_bytes) + 2));
        let old = file.metadata()?.len();
        if old < HEAD_BYTES as u64 {
            self.disk.truncate(&file, 0)?;
            write_head(geometry, head, &mut bytes);
        } else {
            // A tail torn by a kill would shift every record after it.
            let record = u64::from(geometry.symbol_bytes) + 2;
            let torn = (old - HEAD_BYTES as u64) % record;
            if torn > 0 {
                self.disk.truncate(&file, old - torn)?;
            }
        }
        for (index, symbol) in symbols {
            bytes.extend_from_slice(&index.to_be_bytes());
            bytes.extend_from_slice(symbol);
        }
        self.disk.append(&mut file, &bytes)
    }

    /// All symbols of a block; empty where the file is gone or damaged.
    pub(crate) fn read(&self, id: BlockId) -> Vec<Symbol> {
        let path = self.path(id);
        if std::fs::metadata(&path).map_or(true, |found| found.len() > FILE_BYTES_MAX) {
            return Vec::new();
        }
        let Ok(bytes) = std::fs::read(&path) else { return Vec::new() };
        let Some((head, records)) = bytes.split_first_chunk::<HEAD_BYTES>() else { return Vec::new() };
        let Some((geometry, _)) = read_head(head) else { return Vec::new() };
        let records = records.chunks_exact(usize::from(geometry.symbol_bytes) + 2);
        records
            .filter_map(|r| r.split_first_chunk().map(|(i, symbol)| (u16::from_be_bytes(*i), symbol.to_vec())))
            .collect()
    }

    pub(crate) fn forget(&self, id: BlockId) -> io::Result<()> {
        self.disk.remove_file(&self.path(id))
    }

    fn path(&self, id: BlockId) -> PathBuf {
        self.folder.join(format!("{id}.sym"))
    }
}

fn write_head(geometry: &Geometry, digest_head: &[u8; 8], out: &mut Vec<u8>) {
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&geometry.block_bytes.to_be_bytes());
    for number in [geometry.source, geometry.recovery, geometry.symbol_bytes] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    out.extend_from_slice(digest_head);
}

fn read_head(head: &[u8; HEAD_BYTES]) -> Option<(Geometry, [u8; 8])> {
    let rest = head.strip_prefix(&MAGIC)?;
    let (block_bytes, rest) = rest.split_first_chunk()?;
    let (source, rest) = rest.split_first_chunk()?;
    let (recovery, rest) = rest.split_first_chunk()?;
    let (symbol_bytes, digest_head) = rest.split_first_chunk()?;
    let [source, recovery, symbol_bytes] = [source, recovery, symbol_bytes].map(|number| u16::from_be_bytes(*number));
    let geometry = Geometry::checked(source, recovery, symbol_bytes, u32::from_be_bytes(*block_bytes)).ok()?;
    Some((geometry, digest_head.try_into().ok()?))
}

fn scan(path: &Path, id: BlockId) -> io::Result<Option<Found>> {
    let file = std::fs::File::open(path)?;
    let bytes = file.metadata()?.len();
    let mut head = [0; HEAD_BYTES];
    if bytes > FILE_BYTES_MAX || file.read_exact_at(&mut head, 0).is_err() {
        return Ok(None);
    }
    let Some((geometry, digest_head)) = read_head(&head) else { return Ok(None) };
    let record = u64::from(geometry.symbol_bytes) + 2;
    let mut indices = Vec::new();
    for n in 0..(bytes - HEAD_BYTES as u64) / record {
        let mut index = [0; 2];
        file.read_exact_at(&mut index, HEAD_BYTES as u64 + n * record)?;
        indices.push(u16::from_be_bytes(index));
    }
    Ok(Some(Found { id, geometry, digest_head, indices }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_come_back_and_a_torn_tail_does_not() {
        let folder = std::env::temp_dir().join(format!("trilock-symbols-{}", std::process::id()));
        let disk = Disk::real();
        let files = SymbolFiles::open(disk.clone(), folder.clone()).expect("a folder");
        let (id, geometry) = (BlockId { epoch: 3, number: 4 }, Geometry::of_block(5_000, 1_408, 15).expect("a shape"));
        let symbol = |n: u16| (n, vec![n.to_be_bytes()[1]; 1_408]);
        files.append(id, &geometry, &[9; 8], &[symbol(0), symbol(3)]).expect("kept");
        let mut torn = disk.open_append(&folder.join(format!("{id}.sym"))).expect("the file");
        disk.append(&mut torn, &[1, 2, 3]).expect("torn");
        files.append(id, &geometry, &[9; 8], &[symbol(5)]).expect("kept");
        assert_eq!(files.read(id), [symbol(0), symbol(3), symbol(5)]);
        let found = files.found().expect("a list");
        assert_eq!(
            (found.len(), found[0].id, found[0].geometry, found[0].indices.clone()),
            (1, id, geometry, vec![0, 3, 5])
        );
        files.forget(id).expect("gone");
        assert!(files.read(id).is_empty());
        disk.remove_tree(&folder).expect("removed");
    }
}
