//! One file read to its end under the digest that the waybill names, and perhaps written somewhere else on the way.
//! A file that is longer, shorter or other than the waybill says is noticed while it is read, whenever it changed.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use protocol::Suite;
use protocol::suite::Digest;
use protocol::tree::Tree;
use protocol::waybill::{WaybillLine, line_file_name};
use rustix::fs::Advice;
use spool::disk::Disk;

use crate::folder::{Folder, FolderError};

/// Large enough to keep a disc spinning, small beside everything else.
const BUFFER_BYTES: usize = 1 << 20;
/// Left free on a medium: folders, `README.txt`, `SHA256SUMS` and the file system's own blocks.
const SPARE_BYTES: u64 = 8 << 20;

/// What goes wrong with a file on its way.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyError {
    /// It cannot be opened or is no file.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Reading fails in the middle.
    #[error("read error at {}: {cause}", path.display())]
    Read { path: PathBuf, cause: io::Error },
    /// Writing fails.
    #[error("write error at {}: {cause}", path.display())]
    Write { path: PathBuf, cause: io::Error },
    /// No room.
    #[error("{} needs {needs} bytes and has {has}", path.display())]
    Full { path: PathBuf, needs: u64, has: u64 },
    /// Another size.
    #[error("{} has {found} bytes, the waybill says {stated}", path.display())]
    Size { path: PathBuf, stated: u64, found: u64 },
    /// Other bytes.
    #[error("{} is not the file the waybill names: its digest is {found}, not {stated}", path.display())]
    Changed { path: PathBuf, stated: Digest, found: Digest },
}

/// Reads the file of a waybill line, compares it, and hands its bytes on.
pub(crate) fn read_line(
    folder: &Folder,
    line: &WaybillLine,
    suite: Suite,
    bar: &ProgressBar,
    each: &mut dyn FnMut(&[u8]) -> Result<(), CopyError>,
) -> Result<(), CopyError> {
    let name = line_file_name(line);
    let path = folder.path().join(&name);
    let (mut file, bytes) = folder.file(&name)?;
    if bytes != line.size {
        return Err(CopyError::Size { path, stated: line.size, found: bytes });
    }
    let mut tree = Tree::new(suite);
    read_all(&mut file, &path, line.size, &mut |piece| {
        tree.update(piece);
        bar.inc(piece.len() as u64);
        each(piece)
    })?;
    if tree.bytes() != line.size {
        return Err(CopyError::Size { path, stated: line.size, found: tree.bytes() });
    }
    let found = tree.root();
    if found == line.digest { Ok(()) } else { Err(CopyError::Changed { path, stated: line.digest, found }) }
}

/// Copies the file of a waybill line into a new file, synced. Gives its plain SHA-256 for `SHA256SUMS`.
pub(crate) fn copy_line(
    from: &Folder,
    line: &WaybillLine,
    suite: Suite,
    to: &Path,
    disk: &Disk,
    bar: &ProgressBar,
) -> Result<Digest, CopyError> {
    let path = to.join(line_file_name(line));
    let failed = |cause| write_error(&path, cause);
    let mut out = disk.create(&path).map_err(failed)?;
    let mut sha256 = Suite::Std.hasher();
    read_line(from, line, suite, bar, &mut |piece| {
        sha256.update(piece);
        out.write_all(piece).map_err(|cause| write_error(&path, cause))
    })?;
    disk.sync_file(&out).map_err(failed)?;
    Ok(sha256.finish())
}

/// Reads at most `stated` bytes and one more; whoever counts them notices the one.
fn read_all(
    file: &mut File,
    path: &Path,
    stated: u64,
    each: &mut dyn FnMut(&[u8]) -> Result<(), CopyError>,
) -> Result<(), CopyError> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut limited = file.take(stated.saturating_add(1));
    loop {
        match limited.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => each(buffer.get(..read).unwrap_or_default())?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(CopyError::Read { path: path.to_owned(), cause }),
        }
    }
}

/// Asks the kernel to forget what it has in memory of a file, so that the next read comes from the medium. Best effort:
/// dirty or mapped pages stay, and a file system may ignore it.
pub(crate) fn forget(folder: &Folder, name: &str) -> bool {
    folder.file(name).is_ok_and(|(file, _)| rustix::fs::fadvise(&file, 0, None, Advice::DontNeed).is_ok())
}

/// Is there room for so much?
pub(crate) fn room(disk: &Disk, path: &Path, bytes: u64) -> Result<(), CopyError> {
    let free = disk.free(path).map_err(|cause| CopyError::Read { path: path.to_owned(), cause })?;
    let needs = bytes.saturating_add(SPARE_BYTES);
    if free.bytes < needs { Err(CopyError::Full { path: path.to_owned(), needs, has: free.bytes }) } else { Ok(()) }
}

/// A failed write, with the path it failed at.
pub(crate) fn write_error(path: &Path, cause: io::Error) -> CopyError {
    CopyError::Write { path: path.to_owned(), cause }
}
