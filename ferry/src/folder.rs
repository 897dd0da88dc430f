//! A folder that may be hostile: a medium, or a desk that others write to. Everything is opened relative to a held
//! descriptor, without following a link, and only regular files are ever read. Every listing and read is bounded.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use protocol::{Digest, Suite};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

/// What lies under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A device, fifo or socket.
    Special,
}

/// One name in a folder.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// As the file system gives it.
    pub(crate) name: OsString,
    /// What it is.
    pub(crate) kind: Kind,
}

/// What goes wrong when a folder or a file in it is read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
    /// Nothing there.
    #[error("{} is not there", path.display())]
    Missing { path: PathBuf },
    /// Something else than a folder, or a link to one.
    #[error("{} is no folder", path.display())]
    NotAFolder { path: PathBuf },
    /// Something else than a regular file.
    #[error("{} is no regular file but a {what}", path.display())]
    NotAFile { path: PathBuf, what: &'static str },
    /// More names than can be right.
    #[error("{} holds more than {limit} entries", path.display())]
    TooMany { path: PathBuf, limit: usize },
    /// A larger file than can be right.
    #[error("{} has {bytes} bytes, over the limit of {limit}", path.display())]
    TooLarge { path: PathBuf, bytes: u64, limit: u64 },
    /// The operating system says no.
    #[error("read error at {}: {cause}", path.display())]
    Read { path: PathBuf, cause: io::Error },
}

impl FolderError {
    /// Is the thing simply not there?
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, FolderError::Missing { .. })
    }
}

/// An open folder.
#[derive(Debug)]
pub(crate) struct Folder {
    fd: OwnedFd,
    path: PathBuf,
}

impl Folder {
    /// Opens a folder that a person named. The path itself may lead over links; what lies below may not.
    pub(crate) fn open(path: &Path) -> Result<Folder, FolderError> {
        let fd = rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| folder_error(path.to_owned(), errno))?;
        Ok(Folder { fd, path: path.to_owned() })
    }

    /// Where it is, for messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The way to a name in this very folder, under whatever name the folder lies by now: what is removed by it is removed
    /// here and nowhere else.
    pub(crate) fn held(&self, name: impl AsRef<OsStr>) -> PathBuf {
        Path::new("/proc/self/fd").join(self.fd.as_raw_fd().to_string()).join(name.as_ref())
    }

    /// A folder inside, never through a link.
    pub(crate) fn sub(&self, name: impl AsRef<OsStr>) -> Result<Folder, FolderError> {
        let path = self.path.join(name.as_ref());
        plain(&path, name.as_ref())?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, name.as_ref(), flags, Mode::empty())
            .map_err(|errno| folder_error(path.clone(), errno))?;
        Ok(Folder { fd, path })
    }

    /// Opens a regular file inside and says its size. A fifo does not hang it, a device is not touched.
    pub(crate) fn file(&self, name: impl AsRef<OsStr>) -> Result<(File, u64), FolderError> {
        self.regular(name, OFlags::RDONLY)
    }

    /// The same, to write in place.
    pub(crate) fn file_to_write(&self, name: impl AsRef<OsStr>) -> Result<(File, u64), FolderError> {
        self.regular(name, OFlags::RDWR)
    }

    fn regular(&self, name: impl AsRef<OsStr>, how: OFlags) -> Result<(File, u64), FolderError> {
        let path = self.path.join(name.as_ref());
        plain(&path, name.as_ref())?;
        // Looked at before it is opened: opening alone can make a device act.
        let stat = rustix::fs::statat(&self.fd, name.as_ref(), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| file_error(&path, errno))?;
        only_files(&path, FileType::from_raw_mode(stat.st_mode))?;
        let flags = how | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, name.as_ref(), flags, Mode::empty())
            .map_err(|errno| file_error(&path, errno))?;
        let stat = rustix::fs::fstat(&fd).map_err(|errno| file_error(&path, errno))?;
        only_files(&path, FileType::from_raw_mode(stat.st_mode))?;
        Ok((File::from(fd), u64::try_from(stat.st_size).unwrap_or(0)))
    }

    /// A whole small file.
    pub(crate) fn read(&self, name: impl AsRef<OsStr>, limit: usize) -> Result<Vec<u8>, FolderError> {
        let path = self.path.join(name.as_ref());
        let (file, bytes) = self.file(name)?;
        read_bounded(file, bytes, &path, limit)
    }

    /// Plain SHA-256 of a file, however large.
    pub(crate) fn sum(&self, name: &str) -> Result<Digest, FolderError> {
        let path = self.path.join(name);
        let (mut file, _) = self.file(name)?;
        let (mut sha256, mut piece) = (Suite::Std.hasher(), vec![0; 1 << 20]);
        loop {
            match file.read(&mut piece) {
                Ok(0) => return Ok(sha256.finish()),
                Ok(read) => sha256.update(piece.get(..read).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(FolderError::Read { path, cause }),
            }
        }
    }

    /// Everything in it, in the order of names.
    pub(crate) fn list(&self, limit: usize) -> Result<Vec<Item>, FolderError> {
        match self.first(limit)? {
            (items, false) => Ok(items),
            (_, true) => Err(FolderError::TooMany { path: self.path.clone(), limit }),
        }
    }

    /// So many names in it as they come, put in order, and whether there are more.
    pub(crate) fn first(&self, limit: usize) -> Result<(Vec<Item>, bool), FolderError> {
        let read = |errno: Errno| FolderError::Read { path: self.path.clone(), cause: errno.into() };
        let (mut items, mut more) = (Vec::new(), false);
        for entry in Dir::read_from(&self.fd).map_err(read)? {
            let entry = entry.map_err(read)?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes()).to_owned();
            if name == "." || name == ".." {
                continue;
            }
            if items.len() == limit {
                more = true;
                break;
            }
            let file_type = match entry.file_type() {
                FileType::Unknown => rustix::fs::statat(&self.fd, &name, AtFlags::SYMLINK_NOFOLLOW)
                    .map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode)),
                known => known,
            };
            let kind = match file_type {
                FileType::RegularFile => Kind::File,
                FileType::Directory => Kind::Folder,
                FileType::Symlink => Kind::Link,
                _ => Kind::Special,
            };
            items.push(Item { name, kind });
        }
        items.sort_by(|a, b| a.name.cmp(&b.name));
        Ok((items, more))
    }
}

/// Opens a regular file that a person named by its path; a link in the last place is refused.
pub(crate) fn open_file(path: &Path) -> Result<(File, u64), FolderError> {
    let above = match path.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    };
    let name = path.file_name().ok_or_else(|| FolderError::NotAFile { path: path.to_owned(), what: "folder" })?;
    Folder::open(above)
        .map_err(|e| if e.is_missing() { FolderError::Missing { path: path.to_owned() } } else { e })?
        .file(name)
}

/// A whole small file that a person named.
pub(crate) fn read_file(path: &Path, limit: usize) -> Result<Vec<u8>, FolderError> {
    let (file, bytes) = open_file(path)?;
    read_bounded(file, bytes, path, limit)
}

fn read_bounded(file: File, bytes: u64, path: &Path, limit: usize) -> Result<Vec<u8>, FolderError> {
    let limit = limit as u64;
    let too_large = |bytes| FolderError::TooLarge { path: path.to_owned(), bytes, limit };
    if bytes > limit {
        return Err(too_large(bytes));
    }
    // As long as it says it is: a key that is read leaves no shorter copy behind.
    let mut content = Vec::with_capacity(usize::try_from(bytes).unwrap_or_default() + 1);
    // A file that grows while it is read ends here too.
    file.take(limit + 1)
        .read_to_end(&mut content)
        .map_err(|cause| FolderError::Read { path: path.to_owned(), cause })?;
    if content.len() as u64 > limit { Err(too_large(content.len() as u64)) } else { Ok(content) }
}

/// One part of a path and nothing that climbs.
fn plain(path: &Path, name: &OsStr) -> Result<(), FolderError> {
    let bytes = name.as_bytes();
    let climbs = bytes.is_empty() || name == "." || name == ".." || bytes.contains(&b'/') || bytes.contains(&0);
    if climbs { Err(FolderError::NotAFile { path: path.to_owned(), what: "path that climbs" }) } else { Ok(()) }
}

fn only_files(path: &Path, found: FileType) -> Result<(), FolderError> {
    let what = match found {
        FileType::RegularFile => return Ok(()),
        FileType::Directory => "folder",
        FileType::Symlink => "symbolic link",
        FileType::Fifo => "fifo",
        FileType::Socket => "socket",
        _ => "device",
    };
    Err(FolderError::NotAFile { path: path.to_owned(), what })
}

fn folder_error(path: PathBuf, errno: Errno) -> FolderError {
    match errno {
        Errno::NOENT => FolderError::Missing { path },
        Errno::NOTDIR | Errno::LOOP => FolderError::NotAFolder { path },
        other => FolderError::Read { path, cause: other.into() },
    }
}

fn file_error(path: &Path, errno: Errno) -> FolderError {
    match errno {
        Errno::NOENT => FolderError::Missing { path: path.to_owned() },
        Errno::LOOP => FolderError::NotAFile { path: path.to_owned(), what: "symbolic link" },
        other => FolderError::Read { path: path.to_owned(), cause: other.into() },
    }
}
