//! What is kept of a bundle for the auditor, by day: `evidence/YYYY/MM/DD/<name>`. Written once, never changed here.
//! Dying anywhere is safe: the file appears whole or not at all, and keeping it again is fine. A process that died
//! between making a day's folder and syncing its name left one that the next process would take for durable; so
//! [`settle`] at every start.

use std::path::{Path, PathBuf};

use protocol::Timestamp;

use crate::disk::{Disk, Wanted};
use crate::spool::SpoolError;

/// The folder of a day.
pub(crate) fn day(top: &Path, at: Timestamp) -> PathBuf {
    let civil = at.to_string();
    let day = civil.split('T').next().unwrap_or("1970-01-01");
    day.split('-').fold(top.to_owned(), |dir, part| dir.join(part))
}

/// One file to be kept.
#[derive(Clone, Debug)]
pub struct Kept {
    /// When it happened.
    pub at: Timestamp,
    /// Its name, of one part.
    pub name: String,
    /// What stands in it.
    pub bytes: Vec<u8>,
}

pub(crate) fn keep(disk: &Disk, dir: &Path, kept: &[Kept]) -> Result<(), SpoolError> {
    let mut paths = Vec::with_capacity(kept.len());
    for one in kept {
        let folder = day(dir, one.at);
        let path = folder.join(&one.name);
        let broken = |source| SpoolError::disk(&path, source);
        if path.parent() != Some(&folder) || one.name.starts_with('.') {
            return Err(broken(std::io::ErrorKind::InvalidInput.into()));
        }
        disk.create_dir_private(&folder).map_err(broken)?;
        paths.push(path);
    }
    // What a death leaves must not lie among an auditor's files.
    let files: Vec<Wanted<'_>> =
        kept.iter().zip(&paths).map(|(one, path)| Wanted { by: dir, path, bytes: &one.bytes }).collect();
    disk.write_all(&files).map_err(|source| SpoolError::disk(dir, source))
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
