//! A parcel in the clear on this machine's disk: what an app dropped, or what was opened from a bundle. It lists what
//! is there within bounds, follows no link, and hands its bytes to the guard and to the seal.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use guard::{Ahead, Exception, FileFacts, Judgement, Parcel, Question, ReadSeek};
use protocol::Reason;
use protocol::parcel::{FILES_MAX, PATH_DEPTH_MAX, check_path};
use rustix::fs::{Mode, OFlags};

use crate::config::NameEncoding;
use crate::sandbox::Sandbox;
use crate::scanner::{Scanned, Scanner};
use crate::station::StationError;

/// A parcel in the clear.
#[derive(Debug)]
pub struct Drop {
    /// The file or folder itself.
    place: PathBuf,
    original: OsString,
    name: String,
    folder: bool,
    facts: Vec<FileFacts>,
    files: Vec<DropFile>,
    trouble: Trouble,
}

/// The first error of the disk that a reader of the parcel met.
type Trouble = Arc<Mutex<Option<io::Error>>>;

/// What a manifest says of a file besides its bytes.
#[derive(Clone, Debug)]
pub struct DropFile {
    /// Where it lies.
    pub place: PathBuf,
    /// Its name as bytes, where they are not the UTF-8 of its path.
    pub original: Option<Vec<u8>>,
    /// May it be run?
    pub executable: bool,
    /// Last change, seconds since 1970.
    pub modified_s: u64,
}

/// Why a drop cannot become a parcel.
#[derive(Debug, thiserror::Error)]
pub enum DropError {
    /// The disk. Try again.
    #[error("reading {place}: {cause}")]
    Io {
        /// What was read.
        place: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// It will never do; the app must drop something else.
    #[error("{reason}: {what}")]
    Unfit {
        /// By code.
        reason: Reason,
        /// In words, for the notice in the same zone.
        what: String,
    },
}

impl Drop {
    /// Lists the one file or folder that stands at `place`, under the name it has there.
    pub fn read(place: &Path, encoding: NameEncoding) -> Result<Drop, DropError> {
        Drop::read_as(place, place.file_name().unwrap_or_default(), encoding)
    }

    /// The same under another name: a claimed drop stands under its parcel's id.
    pub fn read_as(place: &Path, name_bytes: &OsStr, encoding: NameEncoding) -> Result<Drop, DropError> {
        let (name, _) = decode(name_bytes, encoding)?;
        let meta = place.symlink_metadata().map_err(|cause| DropError::Io { place: place.to_owned(), cause })?;
        let mut drop = Drop {
            place: place.to_owned(),
            original: name_bytes.to_owned(),
            name: name.clone(),
            folder: meta.is_dir(),
            facts: Vec::new(),
            files: Vec::new(),
            trouble: Trouble::default(),
        };
        if meta.is_dir() {
            drop.walk(place, "", 1, encoding)?;
            drop.sort();
        } else {
            drop.add(place, name, name_bytes, &meta)?;
        }
        Ok(drop)
    }

    fn walk(&mut self, folder: &Path, above: &str, depth: usize, encoding: NameEncoding) -> Result<(), DropError> {
        if depth > PATH_DEPTH_MAX {
            return Err(DropError::Unfit {
                reason: Reason::TooLarge,
                what: format!("folders deeper than {PATH_DEPTH_MAX}"),
            });
        }
        let io = |cause| DropError::Io { place: folder.to_owned(), cause };
        for entry in std::fs::read_dir(folder).map_err(io)? {
            let entry = entry.map_err(io)?;
            let bytes = entry.file_name();
            if spool::is_litter(&bytes) {
                continue;
            }
            let (part, _) = decode(&bytes, encoding)?;
            let path = if above.is_empty() { part } else { format!("{above}/{part}") };
            let place = entry.path();
            let meta = place.symlink_metadata().map_err(|cause| DropError::Io { place: place.clone(), cause })?;
            if meta.is_dir() {
                self.walk(&place, &path, depth + 1, encoding)?;
            } else {
                self.add(&place, path, &bytes, &meta)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, place: &Path, path: String, name: &OsStr, meta: &std::fs::Metadata) -> Result<(), DropError> {
        if !meta.is_file() {
            return Err(DropError::Unfit {
                reason: Reason::NotAFile,
                what: format!("{path} is a link, device, fifo or socket"),
            });
        }
        if meta.nlink() > 1 {
            return Err(DropError::Unfit {
                reason: Reason::NotAFile,
                what: format!("{path} is a hard link: it could change under us"),
            });
        }
        if self.files.len() >= FILES_MAX {
            return Err(DropError::Unfit { reason: Reason::TooLarge, what: format!("more than {FILES_MAX} files") });
        }
        check_path(&path)
            .map_err(|cause| DropError::Unfit { reason: Reason::BadName, what: format!("a path {cause}") })?;
        let utf8 = path.rsplit('/').next().unwrap_or_default();
        self.files.push(DropFile {
            place: place.to_owned(),
            original: (name.as_bytes() != utf8.as_bytes()).then(|| name.as_bytes().to_vec()),
            executable: meta.permissions().mode() & 0o100 != 0,
            modified_s: u64::try_from(meta.mtime()).unwrap_or(0),
        });
        self.facts.push(FileFacts { path, size: meta.len() });
        Ok(())
    }

    /// One order for one content, whatever the file system lists first.
    fn sort(&mut self) {
        let mut both: Vec<_> = self.facts.drain(..).zip(self.files.drain(..)).collect();
        both.sort_by(|a, b| a.0.path.cmp(&b.0.path));
        (self.facts, self.files) = both.into_iter().unzip();
    }

    /// A folder, or one file?
    #[must_use]
    pub fn is_folder(&self) -> bool {
        self.folder
    }

    /// The name it was dropped under, byte for byte.
    #[must_use]
    pub fn original_name(&self) -> &OsStr {
        &self.original
    }

    /// Where it lies.
    #[must_use]
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// What the manifest says of each file besides its bytes, in the order of [`Parcel::files`].
    #[must_use]
    pub fn details(&self) -> &[DropFile] {
        &self.files
    }

    /// Opens a file of it for reading, following no link.
    pub fn open_file(&self, index: usize) -> io::Result<File> {
        let file = self.files.get(index).ok_or_else(|| io::Error::other("no such file in the parcel"))?;
        // The parent of a bare name is the empty path.
        let holder = self.place.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let name = OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let below = file.place.strip_prefix(holder).unwrap_or(&file.place);
        // Part by part, none through a link: an app that kept one of its folders open could put a link in the place of
        // another and have us read what only we may.
        let mut at = rustix::fs::open(holder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        for folder in below.parent().into_iter().flat_map(Path::components) {
            at = rustix::fs::openat(&at, folder.as_os_str(), OFlags::PATH | OFlags::DIRECTORY | name, Mode::empty())?;
        }
        let last = below.file_name().unwrap_or_default();
        let opened = rustix::fs::openat(&at, last, OFlags::RDONLY | OFlags::NONBLOCK | name, Mode::empty())?;
        let opened = File::from(opened);
        if !opened.metadata()?.is_file() {
            return Err(io::Error::other("no longer a regular file"));
        }
        Ok(opened)
    }
}

impl Parcel for Drop {
    fn name(&self) -> &str {
        &self.name
    }
    fn files(&self) -> &[FileFacts] {
        &self.facts
    }
    fn open(&self, index: usize) -> io::Result<Box<dyn ReadSeek + '_>> {
        let file = self.open_file(index).map_err(|error| noted(&self.trouble, error))?;
        Ok(Box::new(Watched { file, trouble: Arc::clone(&self.trouble) }))
    }
}

/// A file whose errors are remembered.
struct Watched {
    file: File,
    trouble: Trouble,
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer).map_err(|error| noted(&self.trouble, error))
    }
}

impl Seek for Watched {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to).map_err(|error| noted(&self.trouble, error))
    }
}

/// Remembers what the system says about the disk. What it says about the drop (closed to us, gone, no plain file) is the
/// guard's to judge.
fn noted(trouble: &Trouble, error: io::Error) -> io::Error {
    use io::ErrorKind::{InvalidInput, NotADirectory, NotFound, PermissionDenied};
    let about_the_drop = matches!(error.kind(), PermissionDenied | NotFound | NotADirectory | InvalidInput);
    // A link in the place of a file is what somebody put there.
    let link = error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
    if let Some(code) = error.raw_os_error().filter(|_| !about_the_drop && !link) {
        let mut first = trouble.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(|| io::Error::from_raw_os_error(code));
    }
    error
}

/// Asks the guard about several parcels; see [`inspect`]. Where one worker may see more than one of them, the small ones
/// are looked at together.
pub fn inspect_all(
    sandbox: &Sandbox,
    scanner: Option<&Scanner>,
    question: &Question<'_>,
    exceptions: &[Exception],
    drops: Vec<Drop>,
) -> Vec<Result<Judgement<Drop>, StationError>> {
    let crossing = question.rules.crossing();
    let ahead = if Sandbox::is_shared(crossing) {
        // Where nobody could be asked, each parcel asks again by itself, and hears why.
        guard::look_ahead(&mut sandbox.visit(crossing), question, drops)
    } else {
        drops.into_iter().map(Ahead::from).collect()
    };
    ahead.into_iter().map(|drop| inspect(sandbox, scanner, question, exceptions, drop)).collect()
}

/// Asks the guard, which has the content parsed in the sandbox, and about what it releases the scanner, where there is one.
/// Where the disk failed while it was reading, or nobody was there to parse or to scan, what it says is no verdict on the
/// parcel: a scan that could not be read is as good as any other, and the stage tries again.
pub fn inspect(
    sandbox: &Sandbox,
    scanner: Option<&Scanner>,
    question: &Question<'_>,
    exceptions: &[Exception],
    drop: impl Into<Ahead<Drop>>,
) -> Result<Judgement<Drop>, StationError> {
    let ahead = drop.into();
    let (trouble, path) = (Arc::clone(&ahead.parcel().trouble), ahead.parcel().place.clone());
    let mut visit = sandbox.visit(question.rules.crossing());
    let judgement = guard::inspect_by(&mut visit, question, exceptions, ahead);
    let disk = trouble.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (disk, visit.trouble()) {
        (Some(cause), _) => Err(StationError::Io { path, cause }),
        (None, Some(cause)) => Err(StationError::Io { path: "sandbox".into(), cause }),
        (None, None) => scanned(scanner, judgement),
    }
}

/// The scanner can only take away.
fn scanned(scanner: Option<&Scanner>, judgement: Judgement<Drop>) -> Result<Judgement<Drop>, StationError> {
    let (Some(scanner), Judgement::Released(released)) = (scanner, &judgement) else { return Ok(judgement) };
    match scanner.scan(released.parcel()) {
        Ok(Scanned::Clean) => Ok(judgement),
        Ok(Scanned::Refused) => match judgement {
            Judgement::Released(released) => {
                Ok(Judgement::Refused { parcel: released.into_parcel(), reason: Reason::Scanner, findings: Vec::new() })
            }
            other => Ok(other),
        },
        Err(cause) => Err(StationError::Io { path: "scanner".into(), cause }),
    }
}

fn decode(name: &OsStr, encoding: NameEncoding) -> Result<(String, bool), DropError> {
    if let Some(text) = name.to_str() {
        return Ok((text.to_owned(), false));
    }
    if encoding == NameEncoding::Gb18030 {
        let (text, _, broken) = encoding_rs::GB18030.decode(name.as_bytes());
        if !broken {
            return Ok((text.into_owned(), true));
        }
    }
    Err(DropError::Unfit {
        reason: Reason::BadName,
        what: "a name is not in the encoding of the route (see `names` in its config)".to_owned(),
    })
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test drops files as an app does")]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    #[test]
    fn links_are_refused_and_desktop_litter_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let case = dir.path().join("case");
        std::fs::create_dir_all(case.join("scans")).unwrap();
        std::fs::write(case.join("scans/2.jpg"), b"2").unwrap();
        std::fs::write(case.join("a.json"), b"{}").unwrap();
        std::fs::write(case.join("Thumbs.db"), b"x").unwrap();
        let drop = Drop::read(&case, NameEncoding::Utf8).unwrap();
        assert_eq!(drop.files().iter().map(|f| f.path.as_str()).collect::<Vec<_>>(), ["a.json", "scans/2.jpg"]);

        std::os::unix::fs::symlink("/etc/passwd", case.join("b")).unwrap();
        assert!(matches!(
            Drop::read(&case, NameEncoding::Utf8),
            Err(DropError::Unfit { reason: Reason::NotAFile, .. })
        ));
        std::fs::remove_file(case.join("b")).unwrap();
        std::fs::hard_link(case.join("a.json"), dir.path().join("other")).unwrap();
        assert!(matches!(
            Drop::read(&case, NameEncoding::Utf8),
            Err(DropError::Unfit { reason: Reason::NotAFile, .. })
        ));
    }

    #[test]
    fn a_folder_that_became_a_link_is_not_read_through() {
        let dir = tempfile::tempdir().unwrap();
        let (case, secret) = (dir.path().join("case"), dir.path().join("secret"));
        std::fs::create_dir_all(case.join("scans")).unwrap();
        std::fs::create_dir_all(&secret).unwrap();
        std::fs::write(case.join("scans/a"), b"a").unwrap();
        std::fs::write(secret.join("a"), b"k").unwrap();
        let drop = Drop::read(&case, NameEncoding::Utf8).unwrap();
        assert!(drop.open_file(0).is_ok());
        std::fs::remove_dir_all(case.join("scans")).unwrap();
        std::os::unix::fs::symlink(&secret, case.join("scans")).unwrap();
        assert!(drop.open_file(0).is_err());
    }

    #[test]
    fn a_gbk_name_travels_as_utf8_and_is_kept_byte_for_byte() {
        let dir = tempfile::tempdir().unwrap();
        let gbk = b"\xb2\xe2\xca\xd4.txt".to_vec();
        let place = dir.path().join(std::ffi::OsString::from_vec(gbk.clone()));
        std::fs::write(&place, b"x").unwrap();
        assert!(matches!(
            Drop::read(&place, NameEncoding::Utf8),
            Err(DropError::Unfit { reason: Reason::BadName, .. })
        ));
        let drop = Drop::read(&place, NameEncoding::Gb18030).unwrap();
        assert_eq!(drop.name(), "测试.txt");
        assert_eq!(drop.details()[0].original.as_deref(), Some(gbk.as_slice()));
    }
}
