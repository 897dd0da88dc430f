//! The folder in an inlet in which an intake grows, named by the id of its request. While it is copied it is
//! `.tmp-ferry-<id>`; once its signature lies beside the listing it is `.set-ferry-<id>`, and from then on only the same
//! intake touches it. A name with a dot in front is no drop to the node.
//!
//! Whoever works on one holds a lock on the folder, which leaves nothing behind and ends with the command however that
//! dies: so what nobody holds and nobody signed is taken away by whoever comes next.

use std::fs::File;
use std::path::{Path, PathBuf};

use protocol::suite::Digest;
use rustix::fs::{FlockOperation, flock};
use spool::disk::Disk;

use crate::copying::{CopyError, write_error};
use crate::desk::DESK_FOLDER;

const COPYING: &str = ".tmp-ferry-";
const SET: &str = ".set-ferry-";

/// One that is held.
#[derive(Debug)]
pub(crate) struct Aside {
    path: PathBuf,
    set: PathBuf,
    _held: File,
}

/// What an earlier command left.
pub(crate) enum Left {
    /// Nothing.
    Nothing,
    /// It is not over: another command holds it.
    Held,
    /// A folder that is ours now.
    Here(Aside),
}

impl Aside {
    /// A new one.
    pub(crate) fn begin(disk: &Disk, inlet: &Path, id: &Digest) -> Result<Aside, CopyError> {
        let path = inlet.join(format!("{COPYING}{id}"));
        let failed = |cause| write_error(&path, cause);
        disk.create_dir_all(&path).map_err(failed)?;
        // The node renames the folder and takes the files away: its group must be able to.
        disk.set_mode(&path, DESK_FOLDER).map_err(failed)?;
        let held = File::open(&path).map_err(failed)?;
        flock(&held, FlockOperation::NonBlockingLockExclusive).map_err(|errno| failed(errno.into()))?;
        Ok(Aside { set: inlet.join(format!("{SET}{id}")), path, _held: held })
    }

    /// What is left of an intake that was signed.
    pub(crate) fn left(inlet: &Path, id: &Digest) -> Left {
        let set = inlet.join(format!("{SET}{id}"));
        for path in [inlet.join(format!("{COPYING}{id}")), set.clone()] {
            match hold(&path) {
                None => {}
                Some(Err(_)) => return Left::Held,
                Some(Ok(held)) => return Left::Here(Aside { path, set, _held: held }),
            }
        }
        Left::Nothing
    }

    /// From now on only the same intake touches it.
    pub(crate) fn keep(&mut self, disk: &Disk) -> Result<(), CopyError> {
        if self.path != self.set {
            disk.rename(&self.path, &self.set).map_err(|cause| write_error(&self.set, cause))?;
            self.path.clone_from(&self.set);
        }
        Ok(())
    }

    /// Where it lies.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Takes away what others left when they died while they copied. Gives how many; what cannot be removed, the next one tries.
pub(crate) fn sweep(disk: &Disk, inlet: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(inlet) else { return 0 };
    let abandoned = entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix(COPYING));
        name.and_then(Digest::from_hex).is_some()
    });
    abandoned
        .filter(|path| match hold(path) {
            Some(Ok(_held)) => disk.remove_tree(path).is_ok(),
            _ => false,
        })
        .count()
}

/// The first, by id, of those that were signed, are not in their place, and that no command is at work on.
pub(crate) fn stuck(inlet: &Path) -> Option<(Digest, PathBuf)> {
    let entries = std::fs::read_dir(inlet).ok()?;
    let signed = entries.filter_map(Result::ok).map(|entry| entry.path()).filter_map(|path| {
        let id = path.file_name()?.to_str()?.strip_prefix(SET).and_then(Digest::from_hex)?;
        Some((id, path))
    });
    signed.filter(|(_, path)| matches!(hold(path), Some(Ok(_held)))).min_by(|(_, one), (_, other)| one.cmp(other))
}

/// None where there is no such folder; an error where somebody holds it.
fn hold(path: &Path) -> Option<Result<File, rustix::io::Errno>> {
    let folder = path.symlink_metadata().is_ok_and(|about| about.is_dir());
    let file = folder.then(|| File::open(path).ok())??;
    Some(flock(&file, FlockOperation::NonBlockingLockExclusive).map(|()| file))
}
