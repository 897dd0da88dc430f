//! What is kept of a bundle for the auditor, by day: `evidence/YYYY/MM/DD/<name>`. Written once, never changed here.
//! Dying anywhere is safe: the file appears whole or not at all, and keeping it again is fine. A process that died
//! between making a folder or a file and syncing its name left one that the next process would take for durable; so
//! [`settle`] at every start for the newest day, [`Days`] before anything is kept in a folder that stands there already,
//! and [`Days::last`] before anybody goes by a file that does.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

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

/// Days known at once to last: more than evidence is kept for by default.
const DAYS_MAX: usize = 2_048;

/// Days whose folders' names last, as this process knows: it has synced those above them.
#[derive(Debug, Default)]
pub(crate) struct Days(Mutex<BTreeSet<PathBuf>>);

impl Days {
    /// Makes a day's folder where it is missing. Its name lasts, whoever made it.
    fn make(&self, disk: &Disk, top: &Path, folder: &Path) -> std::io::Result<()> {
        let mut days = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if days.contains(folder) && folder.is_dir() {
            return Ok(());
        }
        disk.create_dir_private(folder)?;
        let above = folder.ancestors().skip(1).take_while(|above| above.starts_with(top));
        above.collect::<Vec<_>>().into_iter().rev().try_for_each(|above| disk.sync_dir(above))?;
        // The days that parcels name are their origins' to choose.
        if days.len() >= DAYS_MAX {
            days.clear();
        }
        days.insert(folder.to_owned());
        Ok(())
    }

    /// What stands in a day's folder lasts from now on.
    pub(crate) fn last(&self, disk: &Disk, top: &Path, at: Timestamp) -> Result<(), SpoolError> {
        let folder = day(top, at);
        let synced = self.make(disk, top, &folder).and_then(|()| disk.sync_dir(&folder));
        synced.map_err(|source| SpoolError::disk(&folder, source))
    }
}

pub(crate) fn keep(disk: &Disk, dir: &Path, days: &Days, kept: &[Kept]) -> Result<(), SpoolError> {
    let mut paths = Vec::with_capacity(kept.len());
    for one in kept {
        let folder = day(dir, one.at);
        let path = folder.join(&one.name);
        let broken = |source| SpoolError::disk(&path, source);
        if path.parent() != Some(&folder) || one.name.starts_with('.') {
            return Err(broken(std::io::ErrorKind::InvalidInput.into()));
        }
        days.make(disk, dir, &folder).map_err(broken)?;
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

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test looks at the disk past the spool")]

    use super::*;
    use crate::disk::Fuse;
    use crate::power::Power;

    const TODAY: Timestamp = Timestamp(1_795_305_600_000);

    fn kept(days_ago: u64, name: &str) -> Kept {
        Kept {
            at: Timestamp(TODAY.0 - days_ago * 24 * 60 * 60 * 1000),
            name: name.to_owned(),
            bytes: b"proof".to_vec(),
        }
    }

    /// A process dies after each effect of keeping something of an older day; the next one, on the same machine, keeps it
    /// too and is told that it lasts; then the power goes.
    #[test]
    fn what_is_kept_in_a_folder_that_a_dead_process_made_lasts_whatever_day_it_is_of() {
        for days_ago in [0, 1, 40, 400] {
            for effects in 0..16 {
                for seed in 0..8 {
                    let root = tempfile::tempdir().unwrap();
                    let (dir, grave) = (root.path().join("evidence"), root.path().join("grave"));
                    std::fs::create_dir(&dir).unwrap();
                    std::fs::create_dir(&grave).unwrap();
                    let power = Power::on(&grave, seed).unwrap();
                    let disk = |effects| Disk::with_power(power.clone(), Fuse::after(effects));
                    keep(&disk(u64::MAX), &dir, &Days::default(), &[kept(0, "newest")]).unwrap();
                    let _died = keep(&disk(effects), &dir, &Days::default(), &[kept(days_ago, "one")]);
                    let next = disk(u64::MAX);
                    settle(&next, &dir).unwrap();
                    keep(&next, &dir, &Days::default(), &[kept(days_ago, "two")]).unwrap();
                    power.cut().unwrap();
                    let path = day(&dir, kept(days_ago, "").at).join("two");
                    assert!(path.exists(), "{days_ago} days ago, {effects} effects, seed {seed}");
                }
            }
        }
    }
}
