//! What is kept of a bundle for the auditor, by day: `evidence/YYYY/MM/DD/<name>`. Written once, never changed here.
//! Dying anywhere is safe: the file appears whole or not at all, and keeping it again is fine. A process that died
//! between making a day's folder and syncing its name left one that the next process would take for durable; so
//! [`settle`] at every start.

use std::path::{Path, PathBuf};

use protocol::Timestamp;

use crate::disk::Disk;
use crate::spool::SpoolError;

/// The folder of a day.
pub(crate) fn day(top: &Path, at: Timestamp) -> PathBuf {
    let civil = at.to_string();
    let day = civil.split('T').next().unwrap_or("1970-01-01");
    day.split('-').fold(top.to_owned(), |dir, part| dir.join(part))
}

pub(crate) fn keep(disk: &Disk, top: &Path, at: Timestamp, evidence: &[u8], name: &str) -> Result<(), SpoolError> {
    let dir = day(top, at);
    let path = dir.join(name);
    let broken = |source| SpoolError::disk(&path, source);
    if path.parent() != Some(&dir) || name.starts_with('.') {
        return Err(broken(std::io::ErrorKind::InvalidInput.into()));
    }
    disk.create_dir_private(&dir).map_err(broken)?;
    // What a death leaves must not lie among an auditor's files.
    disk.write_by_way_of(top, &path, evidence).map_err(broken)
}

/// Syncs the names of the newest year, month and day.
pub(crate) fn settle(disk: &Disk, dir: &Path) -> Result<(), SpoolError> {
    let mut here = dir.to_owned();
    for _ in ["year", "month", "day"] {
        disk.sync_dir(&here).map_err(|source| SpoolError::disk(&here, source))?;
        match crate::spool::children(&here)?.into_iter().filter(|path| path.is_dir()).max() {
            Some(newest) => here = newest,
            None => break,
        }
    }
    Ok(())
}
