//! A medium with our trips on it: `TRILOCK/<trip>/` with bundles, receipts, waybill, approvals, `SHA256SUMS`, `README.txt`.
//! Written aside and renamed, so that a trip is on the medium whole or not at all. What is not on the waybill is
//! listed and never opened.

use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use protocol::Suite;
use protocol::waybill::{WAYBILL_LINES_MAX, line_file_name};
use spool::disk::Disk;

use crate::copying::{CopyError, copy_line, read_line, write_error};
use crate::folder::{Folder, FolderError, Item, Kind};
use crate::papers::{APPROVAL_SUFFIX, APPROVALS, Papers, PapersError, WAYBILL};
use crate::words::shown;

/// The folder on a medium that is ours.
pub(crate) const OURS: &str = "TRILOCK";
/// Checked with `sha256sum -c` by anybody.
pub(crate) const SUMS: &str = "SHA256SUMS";
/// For whoever finds the medium.
pub(crate) const README: &str = "README.txt";
/// Trips on one medium: a write-once disc holds one, a stick some.
const TRIPS_MAX: usize = 4096;
/// Names in a trip's folder: every line of the largest waybill, our papers, and some strangers worth naming.
const TRIP_ITEMS_MAX: usize = WAYBILL_LINES_MAX + 1024;
/// Names beside `TRILOCK`: the usual clutter of sticks. More is cut in the listing, nothing of it is read.
pub(crate) const BESIDE_MAX: usize = 4096;
/// Files on a medium: whoever reads it at the other end is another account on another machine.
pub(crate) const MEDIUM_FILE: u32 = 0o644;
const MEDIUM_FOLDER: u32 = 0o755;
/// FAT ends here; larger files cannot stand on a stick as it is bought.
const FAT_FILE_BYTES_MAX: u64 = u32::MAX as u64;
/// `statfs` says this of FAT in all its kinds.
const MSDOS_SUPER_MAGIC: u64 = 0x4d44;

/// What is wrong with a medium.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MediumError {
    /// Nothing there.
    #[error("no medium at {}", path.display())]
    NoMedium { path: PathBuf },
    /// A medium, but not one of ours.
    #[error("{} is no medium of ours: it has no folder {OURS}", path.display())]
    NotOurs { path: PathBuf },
    /// One of ours, without this trip.
    #[error("trip {trip} is not on the medium at {}", path.display())]
    NoTrip { path: PathBuf, trip: u64 },
    /// It cannot be written.
    #[error("the medium at {} is read-only", path.display())]
    ReadOnly { path: PathBuf },
    /// It is there already, and other than this one.
    #[error("{} exists and holds something else", path.display())]
    Occupied { path: PathBuf },
    /// A file too large for its file system.
    #[error("{file} has {bytes} bytes; the FAT file system at {} holds at most {FAT_FILE_BYTES_MAX} a file", path.display())]
    Fat { path: PathBuf, file: String, bytes: u64 },
    /// Its waybill names another trip than its folder.
    #[error("folder {} holds the waybill of trip {found}", path.display())]
    OtherTrip { path: PathBuf, found: u64 },
    /// A folder or a file.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The papers.
    #[error(transparent)]
    Papers(#[from] PapersError),
    /// A file on its way.
    #[error(transparent)]
    Copy(#[from] CopyError),
}

/// A medium that is put in.
pub(crate) struct Medium {
    root: Folder,
    ours: Folder,
}

impl Medium {
    /// Opens a medium of ours.
    pub(crate) fn open(path: &Path) -> Result<Medium, MediumError> {
        let root = Folder::open(path).map_err(|error| match error {
            FolderError::Missing { path } | FolderError::NotAFolder { path } => MediumError::NoMedium { path },
            other => MediumError::Folder(other),
        })?;
        let ours = root.sub(OURS).map_err(|error| match error {
            FolderError::Missing { .. } | FolderError::NotAFolder { .. } => {
                MediumError::NotOurs { path: path.to_owned() }
            }
            other => MediumError::Folder(other),
        })?;
        Ok(Medium { root, ours })
    }

    /// The trips on it, lowest first, and what else lies in our folder.
    pub(crate) fn trips(&self) -> Result<(Vec<u64>, Vec<String>), MediumError> {
        let mut trips = Vec::new();
        let mut strangers = Vec::new();
        for item in self.ours.list(TRIPS_MAX)? {
            let number = item.name.to_str().and_then(trip_number).filter(|_| item.kind == Kind::Folder);
            match number {
                Some(trip) => trips.push(trip),
                None => strangers.push(format!("{OURS}/{}", described(&item))),
            }
        }
        trips.sort_unstable();
        Ok((trips, strangers))
    }

    /// What lies beside our folder.
    pub(crate) fn beside(&self) -> Vec<String> {
        let (items, more) = match self.root.first(BESIDE_MAX) {
            Ok(found) => found,
            Err(error) => return vec![format!("({})", shown(error.to_string().as_ref()))],
        };
        let mut names: Vec<_> = items.iter().filter(|item| item.name != OURS).map(described).collect();
        names.extend(more.then(|| format!("(> {BESIDE_MAX})")));
        names
    }

    /// The folder of one trip with its papers; the papers are read, not yet proven.
    pub(crate) fn trip(&self, trip: u64) -> Result<(Folder, Papers), MediumError> {
        let folder = self.ours.sub(trip.to_string()).map_err(|error| match error {
            FolderError::Missing { .. } => MediumError::NoTrip { path: self.root.path().to_owned(), trip },
            other => MediumError::Folder(other),
        })?;
        let papers = Papers::read(&folder)?;
        if papers.waybill.trip != trip {
            return Err(MediumError::OtherTrip { path: folder.path().to_owned(), found: papers.waybill.trip });
        }
        Ok((folder, papers))
    }
}

/// A trip's number as a folder is named after it: no sign, no leading zero.
pub(crate) fn trip_number(name: &str) -> Option<u64> {
    name.parse().ok().filter(|trip: &u64| trip.to_string() == name)
}

/// What lies in a trip's folder and is neither on its waybill nor one of its papers. Never opened.
pub(crate) fn strangers(folder: &Folder, papers: &Papers) -> Result<Vec<String>, FolderError> {
    let listed: std::collections::HashSet<String> = papers.waybill.lines.iter().map(line_file_name).collect();
    let mut found = Vec::new();
    for item in folder.list(TRIP_ITEMS_MAX)? {
        let name = item.name.to_str().unwrap_or_default();
        let paper = item.kind == Kind::File && [WAYBILL, SUMS, README].contains(&name);
        let approvals = item.kind == Kind::Folder && name == APPROVALS;
        if !(paper || approvals || listed.contains(name)) {
            found.push(described(&item));
        }
        if approvals {
            for item in folder.sub(APPROVALS)?.list(BESIDE_MAX)? {
                let name = item.name.to_str().unwrap_or_default();
                if item.kind != Kind::File || !name.ends_with(APPROVAL_SUFFIX) {
                    found.push(format!("{APPROVALS}/{}", described(&item)));
                }
            }
        }
    }
    Ok(found)
}

fn described(item: &Item) -> String {
    let kind = match item.kind {
        Kind::File => "",
        Kind::Folder => "/",
        Kind::Link => " (symbolic link)",
        Kind::Special => " (device, fifo or socket)",
    };
    format!("{}{kind}", shown(&item.name))
}

/// Writes a staged trip onto a medium, or into a folder that will be burnt. Safe to run again: an unfinished copy is a
/// `.tmp-` folder that the next run removes, and the rename at the end is the commit.
pub(crate) fn write_trip(
    disk: &Disk,
    staged: &Folder,
    papers: &Papers,
    medium: &Path,
    bar: &ProgressBar,
) -> Result<PathBuf, MediumError> {
    let trip = papers.waybill.trip;
    let ours = medium.join(OURS);
    let place = ours.join(trip.to_string());
    let failed = |path: &Path, cause| MediumError::Copy(write_error(path, cause));
    if place.symlink_metadata().is_ok() {
        // The same trip again: left where it is whole, written anew where it is not, never written over where it is another.
        let folder = Folder::open(&place)?;
        if !Papers::read(&folder).is_ok_and(|there| there.bytes == papers.bytes) {
            return Err(MediumError::Occupied { path: place });
        }
        let suite = papers.signed.suite;
        if papers.waybill.lines.iter().all(|line| read_line(&folder, line, suite, bar, &mut |_| Ok(())).is_ok()) {
            return Ok(place);
        }
        bar.reset();
    }
    if !medium.is_dir() {
        return Err(MediumError::NoMedium { path: medium.to_owned() });
    }
    match ours.symlink_metadata() {
        // A link on the medium would have us write wherever it points.
        Ok(about) if !about.is_dir() => return Err(FolderError::NotAFolder { path: ours }.into()),
        Ok(_) => {}
        Err(_) => disk.create_dir_all(&ours).map_err(|cause| failed(&ours, cause))?,
    }
    check_file_system(&ours, papers)?;
    crate::copying::room(disk, &ours, papers.total() + papers.bytes.len() as u64)?;

    let aside = ours.join(format!(".tmp-{trip}"));
    disk.remove_tree(&aside).map_err(|cause| failed(&aside, cause))?;
    let approvals = aside.join(APPROVALS);
    disk.create_dir_all(&approvals).map_err(|cause| failed(&approvals, cause))?;
    let mut sums = String::new();
    for line in &papers.waybill.lines {
        let sum = copy_line(staged, line, papers.signed.suite, &aside, disk, bar)?;
        sums.push_str(&format!("{sum}  {}\n", line_file_name(line)));
    }
    let readme = readme(papers);
    let papers_written = [(WAYBILL, papers.bytes.as_slice()), (README, readme.as_bytes())];
    for (name, bytes) in papers_written {
        disk.write(&aside.join(name), bytes).map_err(|cause| failed(&aside.join(name), cause))?;
        sums.push_str(&format!("{}  {name}\n", Suite::Std.digest(bytes)));
    }
    disk.write(&aside.join(SUMS), sums.as_bytes()).map_err(|cause| failed(&aside.join(SUMS), cause))?;
    open_to_all(disk, &aside, papers);
    disk.sync_dir(&aside).map_err(|cause| failed(&aside, cause))?;
    disk.remove_tree(&place).map_err(|cause| failed(&place, cause))?;
    disk.rename(&aside, &place).map_err(|cause| failed(&place, cause))?;
    Ok(place)
}

/// A strict umask at one end must not lock the other end out. Best effort: FAT and ISO 9660 have modes of their own.
fn open_to_all(disk: &Disk, trip: &Path, papers: &Papers) {
    let lines = papers.waybill.lines.iter().map(line_file_name);
    for name in lines.chain([WAYBILL, README, SUMS].map(str::to_owned)) {
        let _ = disk.set_mode(&trip.join(name), MEDIUM_FILE);
    }
    for folder in [trip.join(APPROVALS), trip.to_owned()] {
        let _ = disk.set_mode(&folder, MEDIUM_FOLDER);
    }
}

/// FAT takes no file of 4 GiB; better said before the first byte than after the last.
fn check_file_system(path: &Path, papers: &Papers) -> Result<(), MediumError> {
    let fat = rustix::fs::statfs(path).is_ok_and(|facts| u64::try_from(facts.f_type) == Ok(MSDOS_SUPER_MAGIC));
    let too_large = papers.waybill.lines.iter().find(|line| fat && line.size > FAT_FILE_BYTES_MAX);
    match too_large {
        Some(line) => Err(MediumError::Fat { path: path.to_owned(), file: line_file_name(line), bytes: line.size }),
        None => Ok(()),
    }
}

fn readme(papers: &Papers) -> String {
    let bill = &papers.waybill;
    let (trip, source, target, medium) = (bill.trip, &bill.source, &bill.target, &bill.medium);
    format!(
        "三闸(Trilock) 摆渡介质  批次 {trip}  {source} -> {target}  介质 {medium}\r\n\
         本目录内为密封包, 没有私钥无法读取。如拾获, 请交还不动产登记机构。\r\n\
         sha256sum -c {SUMS} 可核对文件是否完整; ferry verify 可核对签名。\r\n\r\n\
         Trilock ferry medium  trip {trip}  {source} -> {target}  medium {medium}\r\n\
         The files here are sealed and cannot be read without a private key. If found, please return to the registration office.\r\n\
         `sha256sum -c {SUMS}` checks that the files are whole; `ferry verify` checks who signed them.\r\n"
    )
}
