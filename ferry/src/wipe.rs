//! Wipe: takes a trip that the node has taken in off the medium that brought it. Every file that the trip's papers name is
//! overwritten once and removed; what else lies there stays and is told. On flash a block that is overwritten may live on
//! elsewhere in the medium: nothing here makes a medium fit for another hand, `ferry dispose` is for that.
//!
//! Why it may die anywhere: the waybill goes last, so that whoever comes again knows which trip it is, and what is gone
//! already is passed over.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use indicatif::ProgressBar;
use protocol::volume::PART_BYTES_MAX;
use rustix::fs::{StatVfsMountFlags, major, stat, statvfs};
use spool::disk::Disk;

use crate::copies::COPIES;
use crate::copying::{CopyError, write_error};
use crate::folder::{Folder, FolderError, Kind};
use crate::medium::{BESIDE_MAX, README, SUMS, strangers};
use crate::papers::{APPROVAL_SUFFIX, APPROVALS, Papers, WAYBILL};
use crate::volume::{Layout, VOLUME};

/// Zeros that are written at once.
const ZEROS_BYTES: usize = 1 << 20;
/// The drives of discs, by the kernel's number.
const DISC_DRIVES: u32 = 11;

/// What became of the trip on the medium.
#[derive(Debug, Default)]
pub(crate) struct Wiped {
    /// Files that were removed.
    pub(crate) files: u64,
    /// Bytes that were overwritten before.
    pub(crate) bytes: u64,
    /// Files of which only the name went: what they held has another name somewhere, or the medium had no room to be
    /// written over.
    pub(crate) not_overwritten: u64,
    /// What is none of ours and stays.
    pub(crate) left: Vec<String>,
}

impl Wiped {
    fn count(&mut self, whole: bool, bytes: u64) {
        self.bytes += bytes;
        self.not_overwritten += u64::from(!whole);
    }
}

/// Can nothing be removed from the medium? A disc is not overwritten, whatever its drive would do.
pub(crate) fn is_fixed(medium: &Path) -> bool {
    let read_only = statvfs(medium).is_ok_and(|facts| facts.f_flag.contains(StatVfsMountFlags::RDONLY));
    read_only || stat(medium).is_ok_and(|about| major(about.st_dev) == DISC_DRIVES)
}

/// A medium's trip that goes.
pub(crate) struct Wipe<'a> {
    /// Where it is removed.
    pub(crate) disk: &'a Disk,
    /// The trip's folder on the medium.
    pub(crate) folder: &'a Folder,
    /// Its papers.
    pub(crate) papers: &'a Papers,
    /// What lies on this volume.
    pub(crate) layout: &'a Layout,
    /// Progress.
    pub(crate) bar: &'a ProgressBar,
}

impl Wipe<'_> {
    /// First all that is sealed, then the papers, the waybill last.
    pub(crate) fn run(&self) -> Result<Wiped, CopyError> {
        let mut wiped = Wiped { left: strangers(self.folder, self.papers, self.layout)?, ..Wiped::default() };
        let mut sealed: Vec<String> =
            self.layout.names(self.papers).into_iter().filter(|name| name != VOLUME).collect();
        sealed.sort();
        sealed.extend([SUMS, README].map(str::to_owned));
        self.clear(self.folder, &sealed, &mut wiped)?;
        for name in COPIES {
            if let Some(copy) = there(self.folder.sub(name))? {
                self.approvals(&copy, &mut wiped)?;
                self.clear(&copy, &[VOLUME, WAYBILL].map(str::to_owned), &mut wiped)?;
                remove_folder(self.disk, self.folder, name)?;
            }
        }
        self.approvals(self.folder, &mut wiped)?;
        self.paper(VOLUME, &mut wiped)?;
        self.paper(WAYBILL, &mut wiped)?;
        forget_folder(self.disk, self.folder.path())?;
        Ok(wiped)
    }

    /// Removed first and overwritten then: one of zeros would say no more which trip it was, and the same command could not
    /// go on.
    fn paper(&self, name: &str, wiped: &mut Wiped) -> Result<(), CopyError> {
        let Some((file, bytes)) = there(self.folder.file_to_write(name))? else { return Ok(()) };
        let failed = |cause| write_error(&self.folder.path().join(name), cause);
        let overwrites = file.metadata().map_err(failed)?.nlink() == 1;
        self.disk.remove_file(&self.folder.held(name)).map_err(failed)?;
        let written = if overwrites { self.overwrite(name, self.folder, &file, bytes)? } else { 0 };
        if overwrites {
            self.disk.sync_file(&file).map_err(failed)?;
        }
        wiped.count(overwrites && written == bytes, written);
        wiped.files += 1;
        Ok(())
    }

    fn approvals(&self, folder: &Folder, wiped: &mut Wiped) -> Result<(), CopyError> {
        let Some(approvals) = there(folder.sub(APPROVALS))? else { return Ok(()) };
        let items = approvals.list(BESIDE_MAX)?.into_iter().filter(|item| item.kind == Kind::File);
        let names = items.filter_map(|item| item.name.into_string().ok());
        let names: Vec<String> = names.filter(|name| name.ends_with(APPROVAL_SUFFIX)).collect();
        self.clear(&approvals, &names, wiped)?;
        remove_folder(self.disk, folder, APPROVALS)
    }

    /// All of them are overwritten, what was written reaches the medium, and then they go. Of a file with another name
    /// somewhere only this name goes: what it holds is somebody else's too.
    fn clear(&self, folder: &Folder, names: &[String], wiped: &mut Wiped) -> Result<(), CopyError> {
        let mut found = Vec::new();
        for name in names {
            // A link or a device under the name of a file is a stranger: it was listed, and it stays.
            let opened = match folder.file_to_write(name) {
                Err(FolderError::NotAFile { .. }) => continue,
                opened => opened,
            };
            if let Some((file, bytes)) = there(opened)? {
                let alone = file.metadata().is_ok_and(|about| about.nlink() == 1);
                let written = if alone { self.overwrite(name, folder, &file, bytes)? } else { 0 };
                wiped.count(alone && written == bytes, written);
                found.push(name);
            }
        }
        if found.is_empty() {
            return Ok(());
        }
        let failed = |cause| write_error(folder.path(), cause);
        self.disk.sync_file_system(folder.path()).map_err(failed)?;
        for name in found {
            self.disk.remove_file(&folder.held(name)).map_err(|cause| write_error(&folder.path().join(name), cause))?;
            wiped.files += 1;
        }
        self.disk.sync_dir(folder.path()).map_err(failed)
    }

    /// Once, with zeros.
    fn overwrite(&self, name: &str, folder: &Folder, file: &File, bytes: u64) -> Result<u64, CopyError> {
        let path = folder.path().join(name);
        let zeros = vec![0; ZEROS_BYTES];
        // None of ours is larger; one that says it is would be written for days.
        let bytes = bytes.min(PART_BYTES_MAX);
        for at in (0..bytes).step_by(ZEROS_BYTES) {
            let some = usize::try_from(bytes - at).unwrap_or(ZEROS_BYTES).min(ZEROS_BYTES);
            match self.disk.write_at(file, zeros.get(..some).unwrap_or_default(), at) {
                // Where a file has holes there is nothing to overwrite, and no room to fill them.
                Err(cause) if cause.kind() == std::io::ErrorKind::StorageFull => return Ok(at),
                written => written.map_err(|cause| write_error(&path, cause))?,
            }
            self.bar.inc(some as u64);
        }
        Ok(bytes)
    }
}

/// The folder of a trip of which nothing is left. One that somebody else has put something into stays.
pub(crate) fn forget_folder(disk: &Disk, place: &Path) -> Result<(), CopyError> {
    let (Some(above), Some(name)) = (place.parent(), place.file_name()) else { return Ok(()) };
    remove_folder(disk, &Folder::open(above)?, name)?;
    disk.sync_dir(above).map_err(|cause| write_error(above, cause))
}

fn remove_folder(disk: &Disk, above: &Folder, name: impl AsRef<OsStr>) -> Result<(), CopyError> {
    match disk.remove_dir(&above.held(name.as_ref())) {
        Err(cause) if cause.kind() == std::io::ErrorKind::DirectoryNotEmpty => Ok(()),
        removed => removed.map_err(|cause| write_error(&above.path().join(name.as_ref()), cause)),
    }
}

/// What is gone already was wiped before.
fn there<T>(found: Result<T, FolderError>) -> Result<Option<T>, CopyError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test writes and removes files as a person would")]
    use std::fs;

    use protocol::keys::SigningKey;
    use protocol::parcel::{OctetString, VERSION};
    use protocol::waybill::{LineKind, Waybill, WaybillLine, line_file_name};
    use protocol::{Crossing, Name, Signed, Suite, Timestamp};
    use spool::Fuse;

    use super::*;

    fn papers() -> Papers {
        let name = |word: &str| Name::new(word).unwrap();
        let line = |place: u8| WaybillLine {
            kind: LineKind::Bundle,
            id: protocol::der_types::Octets([place; 16]),
            size: 3_000,
            digest: Suite::Std.digest(&[place]),
            epoch: 1,
            sequence: u64::from(place),
        };
        let waybill = Waybill {
            version: VERSION,
            trip: 17,
            crossing: Crossing::IntranetToExtranet,
            source: name("intranet"),
            target: name("extranet"),
            medium: name("stick"),
            carrier: name("wu"),
            exporter: name("ma"),
            approvals: 2,
            at: Timestamp(1),
            stated: OctetString::new(Vec::new()).unwrap(),
            lines: (1..4).map(line).collect(),
        };
        Papers::parse(Signed::make(&SigningKey::generate(Suite::Std), &waybill).to_bytes()).unwrap()
    }

    fn lay(place: &Path, papers: &Papers) {
        for folder in ["approvals", "copy-2/approvals", "copy-3/approvals"] {
            fs::create_dir_all(place.join(folder)).unwrap();
            fs::write(place.join(folder).join("qian.approval"), "signed").unwrap();
        }
        for folder in ["", "copy-2", "copy-3"] {
            fs::write(place.join(folder).join(WAYBILL), &papers.bytes).unwrap();
        }
        for line in &papers.waybill.lines {
            fs::write(place.join(line_file_name(line)), [7; 3_000]).unwrap();
        }
        fs::write(place.join(SUMS), "sums").unwrap();
        fs::write(place.join(README), "read me").unwrap();
    }

    #[test]
    fn a_wipe_that_is_killed_anywhere_knows_its_trip_when_it_is_run_again_and_ends_with_nothing_left() {
        let root = std::env::temp_dir().join(format!("trilock-wipe-{}", std::process::id()));
        let (papers, place) = (papers(), root.join("17"));
        let layout = Layout::plain(&papers);
        let wipe = |disk: &Disk| {
            let folder = Folder::open(&place)?;
            let bar = ProgressBar::hidden();
            Wipe { disk, folder: &folder, papers: &papers, layout: &layout, bar: &bar }.run()
        };
        let mut kills = 0;
        loop {
            let _gone = fs::remove_dir_all(&root);
            lay(&place, &papers);
            let fuse = Fuse::after(kills);
            let killed = wipe(&Disk::with_fuse(fuse.clone()));
            if !fuse.burnt() {
                assert_eq!(killed.unwrap().files, 11);
                break;
            }
            // Whoever comes again finds the waybill, or nothing that would need one.
            if place.exists() && fs::read(place.join(WAYBILL)).map_or(true, |bytes| bytes != papers.bytes) {
                assert_eq!(fs::read_dir(&place).unwrap().count(), 0, "killed at {kills}");
            }
            if place.exists() {
                wipe(&Disk::real()).unwrap();
            }
            assert!(!place.exists(), "killed at {kills}");
            kills += 1;
        }
        assert!(kills > 30, "{kills} places to die at");
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn a_file_is_zeros_before_its_name_goes() {
        let root = std::env::temp_dir().join(format!("trilock-wipe-zeros-{}", std::process::id()));
        let (papers, place) = (papers(), root.join("17"));
        lay(&place, &papers);
        let held = fs::File::open(place.join(line_file_name(papers.waybill.lines.first().unwrap()))).unwrap();
        let (layout, folder, bar) = (Layout::plain(&papers), Folder::open(&place).unwrap(), ProgressBar::hidden());
        let disk = Disk::real();
        let wiped = Wipe { disk: &disk, folder: &folder, papers: &papers, layout: &layout, bar: &bar }.run().unwrap();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut &held, &mut bytes).unwrap();
        assert_eq!(bytes, [0; 3_000]);
        assert!(wiped.bytes >= 9_000 + 3 * papers.bytes.len() as u64 && wiped.left.is_empty());
        fs::remove_dir_all(&root).unwrap();
    }
}
