//! Where apps pick up. A parcel appears whole, by one rename, under a name that nobody has.
//!
//! Dying anywhere is safe: ready as `.staging/<parcel>.item` with a mark beside it and synced, then recorded as
//! delivering, then renamed, then recorded as delivered; then the mark goes. At a restart a parcel that is being delivered
//! and is still staged is renamed now; one that is gone while its mark stands was renamed before. Where neither stands,
//! this is not the folder in which it was made ready (a share that is not mounted, somebody's rename), and nothing is
//! said. After a power cut, and only then, an app may meet a name again. Several parcels share the syncs of each of
//! these steps.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use protocol::{Name, ParcelId};

use crate::spool::{Spool, SpoolError, children};

/// Names tried before giving up: an outlet with so many of one name is not being emptied.
const NAMES_MAX: u32 = 10_000;
/// Behind a parcel's id: what is made ready for the outlet.
pub(crate) const ITEM: &str = ".item";
/// Behind a parcel's id: the mark that it was made ready in this very folder.
pub(crate) const MARK: &str = ".ready";
/// Folders in folders; a parcel has at most 32.
const DEPTH_MAX: u32 = 34;

/// How far a delivery came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Made ready, whole or in part, and not yet in the outlet.
    Staged,
    /// It was made ready here, and is gone: renamed.
    Renamed,
    /// Nothing here tells of it.
    Unknown,
}

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
        spool.is_reached(&dir, &staging)?;
        Ok(Outlet { spool: spool.clone(), dir, staging })
    }

    /// Where a delivery is made ready.
    fn item(&self, parcel: &ParcelId) -> PathBuf {
        self.staging.join(format!("{parcel}{ITEM}"))
    }

    fn mark(&self, parcel: &ParcelId) -> PathBuf {
        self.staging.join(format!("{parcel}{MARK}"))
    }

    /// Where it was made ready before: a folder that holds it.
    fn former(&self, parcel: &ParcelId) -> PathBuf {
        self.staging.join(parcel.to_string())
    }

    /// Where to make the delivery ready: one file, or one folder, of just this path. What was there goes.
    pub fn stage(&self, parcel: &ParcelId) -> Result<PathBuf, SpoolError> {
        self.discard(parcel)?;
        Ok(self.item(parcel))
    }

    /// Gives everything that is staged of these parcels the modes an app needs (its group comes from the outlet's
    /// setgid) and syncs all of it together. To be called before the record that says delivering.
    pub fn settle(&self, parcels: &[ParcelId]) -> Result<(), SpoolError> {
        let at = |source| SpoolError::disk(&self.staging, source);
        let (mut files, mut folders) = (Vec::new(), Vec::new());
        for parcel in parcels {
            self.settle_below(&self.item(parcel), DEPTH_MAX, &mut files, &mut folders).map_err(at)?;
        }
        let disk = self.spool.disk();
        for parcel in parcels {
            match disk.create(&self.mark(parcel)) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(at(error)),
                _ => {}
            }
        }
        disk.sync_all(&files).map_err(at)?;
        folders.push(self.staging.clone());
        folders.iter().try_for_each(|folder| disk.sync_dir(folder)).map_err(at)
    }

    fn settle_below(
        &self,
        path: &Path,
        depth: u32,
        files: &mut Vec<PathBuf>,
        folders: &mut Vec<PathBuf>,
    ) -> io::Result<()> {
        let disk = self.spool.disk();
        let about = fs::symlink_metadata(path)?;
        if about.is_dir() && depth > 0 {
            for child in fs::read_dir(path)? {
                self.settle_below(&child?.path(), depth - 1, files, folders)?;
            }
            disk.set_mode(path, 0o2770)?;
            folders.push(path.to_owned());
            return Ok(());
        }
        if !about.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let executable = std::os::unix::fs::PermissionsExt::mode(&about.permissions()) & 0o100 != 0;
        disk.set_mode(path, if executable { 0o770 } else { 0o660 })?;
        files.push(path.to_owned());
        Ok(())
    }

    /// How far did its delivery come?
    ///
    /// # Errors
    /// Where the disk does not say: whoever took that for "gone" would record a delivery that never was.
    pub fn standing(&self, parcel: &ParcelId) -> Result<Standing, SpoolError> {
        if self.one(parcel)?.is_some() {
            return Ok(Standing::Staged);
        }
        let mark = self.mark(parcel);
        match fs::symlink_metadata(&mark) {
            Ok(_) => Ok(Standing::Renamed),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Standing::Unknown),
            Err(error) => Err(SpoolError::disk(&mark, error)),
        }
    }

    /// Every parcel of which something stands in the staging.
    pub fn staged(&self) -> Result<BTreeSet<ParcelId>, SpoolError> {
        let parcel = |path: PathBuf| {
            let name = path.file_name()?.to_str()?;
            let id = name.strip_suffix(ITEM).or_else(|| name.strip_suffix(MARK)).unwrap_or(name);
            ParcelId::from_hex(id)
        };
        Ok(children(&self.staging)?.into_iter().filter_map(parcel).collect())
    }

    fn one(&self, parcel: &ParcelId) -> Result<Option<PathBuf>, SpoolError> {
        let item = self.item(parcel);
        match fs::symlink_metadata(&item) {
            Ok(_) => Ok(Some(item)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Ok(children(&self.former(parcel))?.into_iter().next())
            }
            Err(error) => Err(SpoolError::disk(&item, error)),
        }
    }

    /// Renames what is staged of each parcel into the outlet under its name, or `<stem> (2).<ext>` and so on where that
    /// is taken. Answers for each the name it got, or why it stays in the staging: what apps have seen is not taken away
    /// from them because of another parcel.
    ///
    /// # Errors
    /// The folders could not be synced. Everything was taken back, as far as such a disk still does anything.
    pub fn deliver(&self, parcels: &[(ParcelId, &OsStr)]) -> Result<Vec<Result<OsString, SpoolError>>, SpoolError> {
        let mut moved = Vec::new();
        let answers = parcels.iter().map(|(parcel, name)| {
            let source = self.one(parcel)?;
            let source = source.ok_or_else(|| SpoolError::disk(&self.item(parcel), io::ErrorKind::NotFound.into()))?;
            let target = self.rename(&source, name)?;
            let named = target.file_name().unwrap_or_default().to_owned();
            moved.push((*parcel, source, target));
            Ok(named)
        });
        let answers = answers.collect();
        if let Err(error) = self.sync(moved.iter().filter_map(|(_, source, _)| source.parent()).collect()) {
            for (_, source, target) in moved.iter().rev() {
                let _taken_back = self.spool.disk().rename_new_unsynced(target, source);
            }
            return Err(error);
        }
        moved.iter().try_for_each(|(parcel, ..)| self.remove(&self.former(parcel)))?;
        Ok(answers)
    }

    /// Makes what was renamed durable: the outlet's names first, then those it left.
    fn sync<'a>(&'a self, mut left: BTreeSet<&'a Path>) -> Result<(), SpoolError> {
        let disk = self.spool.disk();
        let sync = |folder: &Path| disk.sync_dir(folder).map_err(|source| SpoolError::disk(folder, source));
        left.insert(&self.staging);
        sync(&self.dir).and_then(|()| left.into_iter().try_for_each(sync))
    }

    /// The same for one that an earlier attempt renamed: what is recorded as delivered next is there after a power cut.
    pub fn sync_renamed(&self) -> Result<(), SpoolError> {
        self.sync(BTreeSet::new())
    }

    fn rename(&self, source: &Path, name: &OsStr) -> Result<PathBuf, SpoolError> {
        // One part, and none that apps do not see.
        let plain = Path::new(name).file_name() == Some(name) && !name.as_encoded_bytes().starts_with(b".");
        if !plain {
            return Err(SpoolError::disk(source, io::ErrorKind::InvalidInput.into()));
        }
        for turn in 1..=NAMES_MAX {
            let target = self.dir.join(numbered(name, turn));
            match self.spool.disk().rename_new_unsynced(source, &target) {
                Ok(()) => return Ok(target),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(SpoolError::disk(source, error)),
            }
        }
        Err(SpoolError::disk(&self.dir.join(name), io::ErrorKind::AlreadyExists.into()))
    }

    /// Throws away what stands of it in the staging. The mark goes last.
    pub fn discard(&self, parcel: &ParcelId) -> Result<(), SpoolError> {
        [self.item(parcel), self.former(parcel), self.mark(parcel)].iter().try_for_each(|place| self.remove(place))
    }

    /// Its delivery is on record: nobody will ask again.
    pub fn forget(&self, parcel: &ParcelId) -> Result<(), SpoolError> {
        self.remove(&self.mark(parcel))
    }

    fn remove(&self, place: &Path) -> Result<(), SpoolError> {
        self.spool.disk().remove_tree(place).map_err(|source| SpoolError::disk(place, source))
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
