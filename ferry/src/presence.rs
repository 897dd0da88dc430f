//! Is the medium still in? Asked when something on it failed: of a disc that was taken out the system says "input/output
//! error", which sends a person to look for scratches. Reads no file of the medium.

use std::path::{Path, PathBuf};

use rustix::fs::{major, minor, stat};
use rustix::io::Errno;

/// Where the system tells of disks and drives, by number.
const BLOCK_DEVICES: &str = "/sys/dev/block";

/// A medium as it was when a command began.
#[derive(Debug)]
pub(crate) struct Presence {
    path: PathBuf,
    device: u64,
    inode: u64,
    /// The disk or drive under it, where it is one.
    drive: Option<PathBuf>,
}

impl Presence {
    /// What is at a path now; nothing where there is nothing.
    pub(crate) fn of(path: &Path) -> Option<Presence> {
        let about = stat(path).ok()?;
        let drive = Path::new(BLOCK_DEVICES).join(format!("{}:{}", major(about.st_dev), minor(about.st_dev)));
        let drive = Some(drive).filter(|drive| drive.exists());
        Some(Presence { path: path.to_owned(), device: about.st_dev, inode: about.st_ino, drive })
    }

    /// Was it pulled out, ejected, unmounted or exchanged since?
    pub(crate) fn is_gone(&self) -> bool {
        let other = match stat(&self.path) {
            Ok(about) => (about.st_dev, about.st_ino) != (self.device, self.inode),
            Err(errno) => [Errno::NOENT, Errno::NOTDIR, Errno::NODEV, Errno::NXIO, Errno::STALE].contains(&errno),
        };
        other || self.drive.as_deref().is_some_and(|drive| !drive.exists() || is_empty(drive))
    }

    /// Where it was.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// An empty drive, or a reader whose card was taken, stays and has no size.
fn is_empty(drive: &Path) -> bool {
    std::fs::read_to_string(drive.join("size")).is_ok_and(|size| size.trim() == "0")
}

/// Does a path lie on the disk that this machine runs from? Then nothing is mounted there.
pub(crate) fn is_own_disk(path: &Path) -> bool {
    matches!((stat(path), stat("/")), (Ok(there), Ok(root)) if there.st_dev == root.st_dev)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test makes and removes folders as a person would")]
    use super::*;
    use std::fs;

    #[test]
    fn a_folder_that_vanished_or_was_exchanged_is_gone_and_one_that_stands_is_not() {
        let folder = std::env::temp_dir().join(format!("trilock-presence-{}", std::process::id()));
        let (place, other) = (folder.join("medium"), folder.join("other"));
        fs::create_dir_all(&place).unwrap();
        fs::create_dir_all(&other).unwrap();
        let presence = Presence::of(&place).unwrap();
        fs::write(place.join("a file"), "changes nothing").unwrap();
        assert!(!presence.is_gone());
        fs::rename(&place, folder.join("aside")).unwrap();
        assert!(presence.is_gone());
        fs::rename(&other, &place).unwrap();
        assert!(presence.is_gone());
        assert!(Presence::of(&folder.join("nowhere")).is_none());
        fs::remove_dir_all(folder).unwrap();
    }
}
