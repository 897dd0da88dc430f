//! The index's file as redb sees it: every effect goes through [`Disk`], so that a test can refuse it, tear it or take
//! it back. Locks nothing: the spool has one owner already.
//!
//! Dying anywhere is redb's to survive, and where it cannot, the index is made anew from the ledger. A sync that failed
//! is never tried again on the same file: its name goes, and the next opening makes another one.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use redb::StorageBackend;

use crate::disk::{Disk, SyncClass};

#[derive(Debug)]
pub(crate) struct IndexFile {
    disk: Disk,
    path: PathBuf,
    file: File,
}

impl IndexFile {
    /// Opens the file, or makes an empty one.
    pub(crate) fn open(disk: &Disk, path: &Path) -> io::Result<IndexFile> {
        let disk = disk.of(SyncClass::Index);
        let file = disk.open_rw(path)?;
        Ok(IndexFile { disk, path: path.to_owned(), file })
    }
}

impl StorageBackend for IndexFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.read_at(&self.file, out, offset)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.truncate(&self.file, len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.disk.sync_data(&self.file).inspect_err(|_| {
            let _gone = self.disk.remove_file(&self.path);
        })
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.write_at(&self.file, data, offset)
    }
}
