//! One file read to its end under the digest that the waybill names, and perhaps written somewhere else on the way.
//! A file that is longer, shorter or other than the waybill says is noticed while it is read, whenever it changed.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
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

/// What is read of a file, and what it must be.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    /// The file's name.
    pub(crate) name: String,
    /// How long the file must be.
    pub(crate) file_bytes: u64,
    /// Where to begin.
    pub(crate) offset: u64,
    /// How much.
    pub(crate) size: u64,
    /// Its tree digest, where it is known.
    pub(crate) digest: Option<Digest>,
}

impl Span {
    /// The whole file of a waybill line.
    pub(crate) fn of_line(line: &WaybillLine) -> Span {
        Span {
            name: line_file_name(line),
            file_bytes: line.size,
            offset: 0,
            size: line.size,
            digest: Some(line.digest),
        }
    }
}

/// Reads the file of a waybill line, compares it, and hands its bytes on.
pub(crate) fn read_line(
    folder: &Folder,
    line: &WaybillLine,
    suite: Suite,
    bar: &ProgressBar,
    each: &mut dyn FnMut(&[u8]) -> Result<(), CopyError>,
) -> Result<(), CopyError> {
    read_span(folder, &Span::of_line(line), suite, bar, each).map(drop)
}

/// Reads a file or a part of one, compares it, and hands its bytes on. Gives its digest.
pub(crate) fn read_span(
    folder: &Folder,
    span: &Span,
    suite: Suite,
    bar: &ProgressBar,
    each: &mut dyn FnMut(&[u8]) -> Result<(), CopyError>,
) -> Result<Digest, CopyError> {
    let path = folder.path().join(&span.name);
    let (mut file, bytes) = folder.file(&span.name)?;
    if bytes != span.file_bytes {
        return Err(CopyError::Size { path, stated: span.file_bytes, found: bytes });
    }
    file.seek(SeekFrom::Start(span.offset)).map_err(|cause| CopyError::Read { path: path.clone(), cause })?;
    let last = span.offset.saturating_add(span.size) == span.file_bytes;
    let mut tree = Tree::new(suite);
    // One byte more than is stated: a file that grows is noticed.
    read_all(&mut file, &path, span.size.saturating_add(u64::from(last)), &mut |piece| {
        tree.update(piece);
        bar.inc(piece.len() as u64);
        each(piece)
    })?;
    if tree.bytes() != span.size {
        return Err(CopyError::Size { path, stated: span.size, found: tree.bytes() });
    }
    let found = tree.root();
    match span.digest.filter(|stated| *stated != found) {
        None => Ok(found),
        Some(stated) => Err(CopyError::Changed { path, stated, found }),
    }
}

/// Copies the file of a waybill line into a new file, which is not yet synced.
pub(crate) fn copy_line(
    from: &Folder,
    line: &WaybillLine,
    suite: Suite,
    to: &Path,
    disk: &Disk,
    bar: &ProgressBar,
) -> Result<(), CopyError> {
    let path = to.join(line_file_name(line));
    let mut out = disk.create(&path).map_err(|cause| write_error(&path, cause))?;
    read_line(from, line, suite, bar, &mut |piece| {
        disk.append(&mut out, piece).map_err(|cause| write_error(&path, cause))
    })
}

/// Copies a file or a part of one into a new file, which is not yet synced. Gives its tree digest, and its plain SHA-256
/// for `SHA256SUMS`.
pub(crate) fn copy_span(
    from: &Folder,
    span: &Span,
    suite: Suite,
    path: &Path,
    disk: &Disk,
    bar: &ProgressBar,
) -> Result<(Digest, Digest), CopyError> {
    let mut out = disk.create(path).map_err(|cause| write_error(path, cause))?;
    let mut sha256 = Suite::Std.hasher();
    let digest = read_span(from, span, suite, bar, &mut |piece| {
        sha256.update(piece);
        disk.append(&mut out, piece).map_err(|cause| write_error(path, cause))
    })?;
    Ok((digest, sha256.finish()))
}

/// Reads at most so many bytes.
fn read_all(
    file: &mut File,
    path: &Path,
    bytes: u64,
    each: &mut dyn FnMut(&[u8]) -> Result<(), CopyError>,
) -> Result<(), CopyError> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut limited = file.take(bytes);
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
