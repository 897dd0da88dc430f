//! Where apps pick up. A parcel appears whole, by one rename, under a name that nobody has.
//!
//! Dying anywhere is safe: ready in `.staging/<parcel>/` and synced, then recorded as delivering, then renamed, then
//! recorded as delivered. At a restart a parcel that is being delivered and is still staged is renamed now; one that is
//! not staged any more was renamed before. After a power cut, and only then, an app may meet a name again.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use protocol::{Name, ParcelId};

use crate::spool::{Spool, SpoolError, children};

/// Names tried before giving up: an outlet with so many of one name is not being emptied.
const NAMES_MAX: u32 = 10_000;
/// Folders in folders; a parcel has at most 32.
const DEPTH_MAX: u32 = 34;

/// The outlet of one route.
#[derive(Clone)]
pub struct Outlet {
    spool: Spool,
    dir: PathBuf,
    staging: PathBuf,
}

impl Outlet {
    /// The outlet of a route that was set up with one.
    pub fn open(spool: &Spool, route: &Name) -> Result<Outlet, SpoolError> {
        let (dir, staging) = (spool.layout().outlet(route), spool.layout().outlet_staging(route));
        if !staging.is_dir() {
            return Err(SpoolError::NotSetUp { what: format!("the outlet of route {route}") });
        }
        Ok(Outlet { spool: spool.clone(), dir, staging })
    }

    fn staged_at(&self, parcel: &ParcelId) -> PathBuf {
        self.staging.join(parcel.to_string())
    }

    /// An empty folder to make the delivery ready in: exactly one file or folder. What was there goes.
    pub fn stage(&self, parcel: &ParcelId) -> Result<PathBuf, SpoolError> {
        let dir = self.staged_at(parcel);
        let at = |source| SpoolError::disk(&dir, source);
        self.spool.disk().remove_tree(&dir).map_err(at)?;
        self.spool.disk().create_dir_private(&dir).map_err(at)?;
        Ok(dir)
    }

    /// Gives everything staged the modes an app needs (its group comes from the outlet's setgid) and syncs it. To be
    /// called before the record that says delivering.
    pub fn settle(&self, parcel: &ParcelId) -> Result<(), SpoolError> {
        let dir = self.staged_at(parcel);
        let at = |source| SpoolError::disk(&dir, source);
        for path in children(&dir)? {
            self.settle_below(&path, DEPTH_MAX).map_err(at)?;
        }
        self.spool.disk().sync_dir(&dir).map_err(at)
    }

    fn settle_below(&self, path: &Path, depth: u32) -> io::Result<()> {
        let disk = self.spool.disk();
        let about = fs::symlink_metadata(path)?;
        if about.is_dir() && depth > 0 {
            for child in fs::read_dir(path)? {
                self.settle_below(&child?.path(), depth - 1)?;
            }
            disk.set_mode(path, 0o2770)?;
            return disk.sync_dir(path);
        }
        if !about.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let executable = std::os::unix::fs::PermissionsExt::mode(&about.permissions()) & 0o100 != 0;
        disk.set_mode(path, if executable { 0o770 } else { 0o660 })?;
        disk.sync_file(&File::open(path)?)
    }

    /// Is it made ready, whole or in part, and not yet in the outlet?
    ///
    /// # Errors
    /// Where the disk does not say: whoever took that for "gone" would record a delivery that never was.
    pub fn is_staged(&self, parcel: &ParcelId) -> Result<bool, SpoolError> {
        Ok(self.one(parcel)?.is_some())
    }

    /// Every parcel that is staged.
    pub fn staged(&self) -> Result<Vec<ParcelId>, SpoolError> {
        let mut staged = Vec::new();
        for dir in children(&self.staging)? {
            let parcel = dir.file_name().and_then(|name| name.to_str()).and_then(ParcelId::from_hex);
            if let Some(parcel) = parcel
                && self.is_staged(&parcel)?
            {
                staged.push(parcel);
            }
        }
        staged.sort();
        Ok(staged)
    }

    fn one(&self, parcel: &ParcelId) -> Result<Option<PathBuf>, SpoolError> {
        Ok(children(&self.staged_at(parcel))?.into_iter().next())
    }

    /// Renames what is staged into the outlet under its name, or `<stem> (2).<ext>` and so on where that is taken.
    /// Answers the name it got.
    pub fn deliver(&self, parcel: &ParcelId, name: &OsStr) -> Result<OsString, SpoolError> {
        let source = self.one(parcel)?;
        let source = source.ok_or_else(|| SpoolError::disk(&self.staged_at(parcel), io::ErrorKind::NotFound.into()))?;
        // One part, and none that apps do not see.
        let plain = Path::new(name).file_name() == Some(name) && !name.as_encoded_bytes().starts_with(b".");
        if !plain {
            return Err(SpoolError::disk(&source, io::ErrorKind::InvalidInput.into()));
        }
        for turn in 1..=NAMES_MAX {
            let name = numbered(name, turn);
            match self.spool.disk().rename_new(&source, &self.dir.join(&name)) {
                Ok(()) => {
                    self.discard(parcel)?;
                    return Ok(name);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(SpoolError::disk(&source, error)),
            }
        }
        Err(SpoolError::disk(&self.dir.join(name), io::ErrorKind::AlreadyExists.into()))
    }

    /// Throws away what is staged.
    pub fn discard(&self, parcel: &ParcelId) -> Result<(), SpoolError> {
        let dir = self.staged_at(parcel);
        self.spool.disk().remove_tree(&dir).map_err(|source| SpoolError::disk(&dir, source))
    }
}

/// `name`, `name (2)`, `name (3)` … before the last suffix.
fn numbered(name: &OsStr, turn: u32) -> OsString {
    if turn == 1 {
        return name.to_owned();
    }
    let path = Path::new(name);
    let mut numbered = path.file_stem().unwrap_or(name).to_owned();
    numbered.push(format!(" ({turn})"));
    if let Some(suffix) = path.extension() {
        numbered.push(".");
        numbered.push(suffix);
    }
    numbered
}
