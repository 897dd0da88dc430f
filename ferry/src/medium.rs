//! A medium with our trips on it: `TRILOCK/<trip>/` with bundles, receipts, waybill, approvals, `SHA256SUMS`, `README.txt`.
//! Written aside and renamed, so that a trip is on the medium whole or not at all. What is not on the waybill is
//! listed and never opened.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use protocol::parcel::VERSION;
use protocol::parity::Shape;
use protocol::signer::SignError;
use protocol::suite::Digest;
use protocol::volume::{Piece, Volume, VolumeFault};
use protocol::waybill::WAYBILL_LINES_MAX;
use protocol::{Signed, Suite, Timestamp};
use spool::disk::{ASIDE, Disk};

use crate::copies::{self, COPIES, TIMES};
use crate::copying::{CopyError, Span, copy_span, read_line, read_span, write_error};
use crate::crew;
use crate::folder::{Folder, FolderError, Item, Kind};
use crate::keyfile::Person;
use crate::papers::{APPROVAL_SUFFIX, APPROVALS, Papers, PapersError, WAYBILL};
use crate::parity::{self, Parity, ParityError};
use crate::presence::Presence;
use crate::volume::{Cut, Layout, Plan, PlanError, VOLUME, VolumeError, cut_name, cut_span, piece};
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
/// Folders that systems lay on every stick by themselves. Shown, and no alarm: nothing of it is read here either.
const CLUTTER: [&str; 7] = [
    "System Volume Information",
    "$RECYCLE.BIN",
    "lost+found",
    ".Trashes",
    ".fseventsd",
    ".Spotlight-V100",
    ".Trash-1000",
];
/// What the names of sealed files and of their parity have in them.
const SEALED: [&str; 4] = [".bundle", ".receipts", "parity", "sectors"];
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
    /// The same number, staged at another time.
    #[error("{} holds trip {trip} with waybill {found}, not {wanted}", path.display())]
    OtherPaper { path: PathBuf, trip: u64, found: Digest, wanted: Digest },
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
    /// It cannot be laid out so.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The paper of a volume.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// The parity.
    #[error(transparent)]
    Parity(ParityError),
    /// The exporter's device does not sign.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// Whoever writes is not the exporter of the waybill.
    #[error("the paper of the volume: {0}")]
    OtherExporter(VolumeFault),
    /// Not enough media named.
    #[error("trip {trip} needs {needs} volumes, {named} media are named")]
    FewMedia { trip: u64, needs: usize, named: usize },
}

impl From<ParityError> for MediumError {
    fn from(error: ParityError) -> Self {
        match error {
            ParityError::Copy(error) => MediumError::Copy(error),
            error => MediumError::Parity(error),
        }
    }
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

    /// The same in two: what no system lays there by itself, and what one does.
    pub(crate) fn beside_and_clutter(&self) -> (Vec<String>, Vec<String>) {
        let clutter = |name: &String| CLUTTER.iter().any(|one| name.eq_ignore_ascii_case(&format!("{one}/")));
        let (clutter, beside) = self.beside().into_iter().partition(clutter);
        (beside, clutter)
    }

    /// Is a numbered folder no trip: without a waybill in any copy, and without anything sealed? A wipe leaves it so where
    /// somebody else had put a file into it. What cannot be read is not known to be none.
    pub(crate) fn is_no_trip(&self, trip: u64) -> bool {
        let Ok(folder) = self.folder(trip) else { return false };
        let lacks = |folder: &Folder| folder.file(WAYBILL).is_err_and(|error| error.is_missing());
        let copy_lacks = |name: &&str| match folder.sub(*name) {
            Ok(copy) => lacks(&copy),
            Err(error) => error.is_missing(),
        };
        let sealed = |item: &Item| {
            let name = item.name.to_string_lossy();
            name == VOLUME || SEALED.iter().any(|part| name.contains(part))
        };
        let items = folder.list(TRIP_ITEMS_MAX);
        lacks(&folder) && COPIES.iter().all(copy_lacks) && items.is_ok_and(|items| !items.iter().any(sealed))
    }

    /// The folder of one trip with its papers; the papers are read, not yet proven.
    pub(crate) fn trip(&self, trip: u64) -> Result<(Folder, Papers), MediumError> {
        let folder = self.folder(trip)?;
        let papers = Papers::read(&folder)?;
        if papers.waybill.trip != trip {
            return Err(MediumError::OtherTrip { path: folder.path().to_owned(), found: papers.waybill.trip });
        }
        Ok((folder, papers))
    }

    /// Where a trip lies on it, for messages.
    pub(crate) fn place(&self, trip: u64) -> PathBuf {
        self.ours.path().join(trip.to_string())
    }

    /// The folder of one trip, its papers not yet read.
    pub(crate) fn folder(&self, trip: u64) -> Result<Folder, MediumError> {
        self.ours.sub(trip.to_string()).map_err(|error| match error {
            FolderError::Missing { .. } => MediumError::NoTrip { path: self.root.path().to_owned(), trip },
            other => MediumError::Folder(other),
        })
    }
}

/// A trip's number as a folder is named after it: no sign, no leading zero.
pub(crate) fn trip_number(name: &str) -> Option<u64> {
    name.parse().ok().filter(|trip: &u64| trip.to_string() == name)
}

/// 10.1.5: what lies in a trip's folder and is neither on its waybill nor one of its papers. Never opened.
pub(crate) fn strangers(folder: &Folder, papers: &Papers, layout: &Layout) -> Result<Vec<String>, FolderError> {
    let listed = layout.names(papers);
    let mut found = Vec::new();
    for item in folder.list(TRIP_ITEMS_MAX)? {
        let name = item.name.to_str().unwrap_or_default();
        let paper = item.kind == Kind::File && [WAYBILL, SUMS, README].contains(&name);
        let approvals = item.kind == Kind::Folder && name == APPROVALS;
        let piece = item.kind == Kind::File && listed.contains(name);
        let copy = item.kind == Kind::Folder && COPIES.contains(&name);
        if !(paper || approvals || piece || copy) {
            found.push(described(&item));
        }
        if approvals {
            found.extend(beside_approvals(folder, "")?);
        }
        if copy {
            found.extend(beside_copy(folder, name, layout)?);
        }
    }
    Ok(found)
}

fn beside_approvals(folder: &Folder, path: &str) -> Result<Vec<String>, FolderError> {
    let strange =
        |item: &Item| item.kind != Kind::File || !item.name.to_str().unwrap_or_default().ends_with(APPROVAL_SUFFIX);
    let items = folder.sub(APPROVALS)?.list(BESIDE_MAX)?;
    Ok(items.iter().filter(|item| strange(item)).map(|item| format!("{path}{APPROVALS}/{}", described(item))).collect())
}

/// A folder of copies that cannot be listed holds nothing that anybody opens.
fn beside_copy(folder: &Folder, copy: &str, layout: &Layout) -> Result<Vec<String>, FolderError> {
    let Ok((folder, items)) = folder.sub(copy).and_then(|inside| inside.list(BESIDE_MAX).map(|items| (inside, items)))
    else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for item in items {
        let name = item.name.to_str().unwrap_or_default();
        match item.kind {
            Kind::File if name == WAYBILL || (name == VOLUME && layout.paper.is_some()) => {}
            Kind::Folder if name == APPROVALS => found.extend(beside_approvals(&folder, &format!("{copy}/"))?),
            _ => found.push(format!("{copy}/{}", described(&item))),
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

/// Who writes a volume: it is signed by the exporter.
pub(crate) struct Writer<'a> {
    /// Where everything is written.
    pub(crate) disk: &'a Disk,
    /// The staged trip.
    pub(crate) staged: &'a Folder,
    /// Its papers.
    pub(crate) papers: &'a Papers,
    /// The exporter.
    pub(crate) person: &'a Person,
    /// When.
    pub(crate) now: Timestamp,
    /// Of every hundred sectors so many are parity.
    pub(crate) parity: u8,
    /// Progress.
    pub(crate) bar: &'a ProgressBar,
}

/// A volume to write: its plan, its number, of how many.
pub(crate) type Numbered<'a> = (&'a Plan, u8, u8);

impl Writer<'_> {
    /// The staged files that will be written in parts are what the waybill names: a part alone has no digest there.
    pub(crate) fn prove_cut(&self, volumes: &[Plan]) -> Result<(), MediumError> {
        let cuts = volumes.iter().flat_map(|volume| &volume.cuts).filter(|cut| cut.part > 0);
        let cut: BTreeSet<usize> = cuts.map(|cut| cut.line).collect();
        for line in cut.into_iter().filter_map(|place| self.papers.waybill.lines.get(place)) {
            self.bar.inc_length(line.size);
            read_line(self.staged, line, self.papers.signed.suite, self.bar, &mut |_| Ok(()))?;
        }
        Ok(())
    }

    /// Writes a volume of a staged trip onto a medium, or into a folder that will be burnt. Safe to run again: an unfinished
    /// copy is a `.tmp-` folder that begins with the waybill, the next run of the same waybill goes on there, and the rename
    /// at the end is the commit.
    pub(crate) fn write(&self, volume: Numbered<'_>, medium: &Path) -> Result<PathBuf, MediumError> {
        let (disk, papers) = (self.disk, self.papers);
        let trip = papers.waybill.trip;
        let ours = medium.join(OURS);
        let place = ours.join(trip.to_string());
        let present = Presence::of(medium);
        let failed = |path: &Path, cause| MediumError::Copy(write_error(path, cause));
        if place.symlink_metadata().is_ok() {
            // The same trip again: left where it is whole, written anew where it is not, never written over where it is another.
            let folder = Folder::open(&place)?;
            self.same_paper(&folder)?;
            if self.stands(&folder, volume) {
                return Ok(place);
            }
            self.bar.reset();
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
        let aside = ours.join(format!("{ASIDE}{trip}"));
        let shape = volume.0.shape(self.parity)?;
        let content: u64 = volume.0.cuts.iter().map(|cut| cut.size).sum();
        let beside = shape.as_ref().map_or(0, parity::bytes);
        let all = content + beside + papers.bytes.len() as u64 * TIMES;
        // Before anything is written, where nothing was begun.
        if aside.symlink_metadata().is_err() {
            crate::copying::room(disk, &ours, all)?;
        }
        let there = self.begun(volume.0, &aside)?;
        crate::copying::room(disk, &ours, all.saturating_sub(there))?;
        self.fill(volume, shape.as_ref(), &aside)?;
        // One sync for all: thousands of files, each synced by itself, take a stick minutes.
        disk.sync_file_system(&aside).map_err(|cause| failed(&aside, cause))?;
        // Under a medium that was unmounted meanwhile lies a folder of this machine's disk, and takes what is left.
        if present.is_some_and(|present| present.is_gone()) {
            disk.remove_tree(&aside).map_err(|cause| failed(&aside, cause))?;
            return Err(MediumError::NoMedium { path: medium.to_owned() });
        }
        disk.remove_tree(&place).map_err(|cause| failed(&place, cause))?;
        disk.rename(&aside, &place).map_err(|cause| failed(&place, cause))?;
        Ok(place)
    }

    /// Does a place hold this trip and nothing else, whole or begun?
    pub(crate) fn is_ours_alone(&self, medium: &Path) -> bool {
        let trip = self.papers.waybill.trip.to_string();
        let names = [format!("{ASIDE}{trip}"), trip];
        let ours = |item: &Item| item.kind == Kind::Folder && names.iter().any(|name| item.name == name.as_str());
        let held = Medium::open(medium).and_then(|medium| {
            let items = medium.ours.list(TRIPS_MAX)?;
            let alone = medium.beside().is_empty() && items.iter().all(ours);
            Ok(alone
                && items.iter().all(|item| medium.ours.sub(&item.name).is_ok_and(|at| self.same_paper(&at).is_ok())))
        });
        held.unwrap_or(false)
    }

    /// Is the waybill in a folder of our number ours? Another, or none, is somebody's to look at.
    fn same_paper(&self, folder: &Folder) -> Result<(), MediumError> {
        let (papers, path) = (self.papers, folder.path().to_owned());
        match Papers::read(folder) {
            Ok(there) if there.bytes == papers.bytes => Ok(()),
            Ok(there) if there.waybill.trip == papers.waybill.trip => {
                let (trip, found, wanted) = (papers.waybill.trip, there.digest, papers.digest);
                Err(MediumError::OtherPaper { path, trip, found, wanted })
            }
            _ => Err(MediumError::Occupied { path }),
        }
    }

    /// Makes the folder in which the trip grows, with its waybill, or takes up the one that an export of the same waybill left
    /// when it died: files of this volume stay, and count where they are whole. Gives the bytes of those.
    fn begun(&self, plan: &Plan, aside: &Path) -> Result<u64, MediumError> {
        let disk = self.disk;
        let failed = |path: &Path, cause| MediumError::Copy(write_error(path, cause));
        let begun = Folder::open(aside).ok().filter(|folder| !is_link(aside) && folder.file(WAYBILL).is_ok());
        let mut bytes = 0;
        if let Some(folder) = begun {
            self.same_paper(&folder)?;
            let sizes: BTreeMap<String, u64> =
                plan.cuts.iter().map(|cut| (cut_name(self.papers, cut), cut.size)).collect();
            for item in folder.list(TRIP_ITEMS_MAX)? {
                let size = item.name.to_str().and_then(|name| sizes.get(name));
                let found = folder.file(&item.name).map_or(0, |(_, bytes)| bytes);
                if item.kind == Kind::File && (item.name == WAYBILL || size == Some(&found)) {
                    bytes += found;
                    continue;
                }
                let path = aside.join(&item.name);
                disk.remove_tree(&path).map_err(|cause| failed(&path, cause))?;
            }
        } else {
            disk.remove_tree(aside).map_err(|cause| failed(aside, cause))?;
            disk.create_dir_all(aside).map_err(|cause| failed(aside, cause))?;
            let paper = aside.join(WAYBILL);
            disk.write(&paper, &self.papers.bytes).map_err(|cause| failed(&paper, cause))?;
        }
        let approvals = aside.join(APPROVALS);
        disk.create_dir_all(&approvals).map_err(|cause| failed(&approvals, cause))?;
        Ok(bytes)
    }

    /// One file of the volume: as an export that died left it, where it is whole, or copied. Gives its tree digest and its
    /// plain SHA-256.
    fn file(&self, cut: &Cut, aside: &Path) -> Result<(Digest, Digest), CopyError> {
        let (name, span) = (cut_name(self.papers, cut), cut_span(self.papers, cut));
        let (suite, path) = (self.papers.signed.suite, aside.join(&name));
        if path.symlink_metadata().is_ok() {
            // A part alone has no digest on the waybill: the staged bytes say what it is.
            let quiet = ProgressBar::hidden();
            let wanted = match span.digest {
                Some(digest) => Ok(digest),
                None => read_span(self.staged, &span, suite, &quiet, &mut |_| Ok(())),
            }?;
            let there = Span { name, file_bytes: cut.size, offset: 0, size: cut.size, digest: Some(wanted) };
            let mut sha256 = Suite::Std.hasher();
            let read = Folder::open(aside).map_err(CopyError::from).and_then(|folder| {
                read_span(&folder, &there, suite, &quiet, &mut |piece| {
                    sha256.update(piece);
                    Ok(())
                })
            });
            if let Ok(digest) = read {
                self.bar.inc(cut.size);
                return Ok((digest, sha256.finish()));
            }
            self.disk.remove_tree(&path).map_err(|cause| write_error(&path, cause))?;
        }
        copy_span(self.staged, &span, suite, &path, self.disk, self.bar)
    }

    /// Is the same volume there, and whole?
    fn stands(&self, folder: &Folder, (plan, number, count): Numbered<'_>) -> bool {
        let (papers, suite) = (self.papers, self.papers.signed.suite);
        let Ok(layout) = Layout::read(folder, papers, None) else { return false };
        let same = (layout.number, layout.count, layout.pieces.len()) == (number, count, plan.cuts.len())
            && plan.shape(self.parity).is_ok_and(|shape| shape == layout.shape)
            // Its parity is held against its index by confirm; here it is enough that all of it is there.
            && layout.shape.iter().flat_map(parity::names).all(|name| folder.file(name).is_ok());
        let quiet = |_: &[u8]| Ok(());
        same && layout.pieces.iter().all(|piece| {
            let span = layout.span(papers, piece);
            read_span(folder, &span, suite, self.bar, &mut { quiet }).is_ok()
        })
    }

    fn fill(
        &self,
        (plan, number, count): Numbered<'_>,
        shape: Option<&Shape>,
        aside: &Path,
    ) -> Result<(), MediumError> {
        let (disk, papers) = (self.disk, self.papers);
        let failed = |path: &Path, cause| MediumError::Copy(write_error(path, cause));
        let copied = crew::each(&plan.cuts, |cut| {
            let made = self.file(cut, aside);
            made.map(|(digest, sha256)| (cut_name(papers, cut), cut_span(papers, cut), piece(cut, digest), sha256))
        });
        let (mut sums, mut spans, mut pieces) = (Vec::new(), Vec::new(), Vec::new());
        for made in copied {
            let (name, span, piece, sha256) = made?;
            sums.push((name, sha256));
            spans.push(span);
            pieces.push(piece);
        }
        if let Some(shape) = shape {
            let parity = Parity { shape, waybill: &papers.digest, number };
            sums.extend(parity::write(disk, parity, self.staged, &spans, aside, self.bar)?);
        }
        let readme = readme(papers, number, count);
        let mut small = vec![(WAYBILL, papers.bytes.clone()), (README, readme.into_bytes())];
        // A trip on one medium, each file whole, needs no more paper than its waybill.
        if shape.is_some() || count > 1 || pieces.iter().any(|piece| piece.part > 0) {
            small.push((VOLUME, self.sign((number, count), shape, pieces)?));
        }
        for copy in COPIES.map(|copy| aside.join(copy)) {
            disk.create_dir_all(&copy).map_err(|cause| failed(&copy, cause))?;
        }
        for (name, bytes) in small {
            let copied = if name == README { &[][..] } else { &COPIES[..] };
            let names = copied.iter().map(|copy| format!("{copy}/{name}"));
            for name in std::iter::once(name.to_owned()).chain(names) {
                disk.write(&aside.join(&name), &bytes).map_err(|cause| failed(&aside.join(&name), cause))?;
                sums.push((name, Suite::Std.digest(&bytes)));
            }
        }
        let text: String = sums.iter().map(|(name, sum)| format!("{sum}  {name}\n")).collect();
        disk.write(&aside.join(SUMS), text.as_bytes()).map_err(|cause| failed(&aside.join(SUMS), cause))?;
        open_to_all(disk, aside, sums.iter().map(|(name, _)| name.as_str()).chain([SUMS]));
        Ok(())
    }

    fn sign(
        &self,
        (number, count): (u8, u8),
        shape: Option<&Shape>,
        pieces: Vec<Piece>,
    ) -> Result<Vec<u8>, MediumError> {
        let volume = Volume {
            version: VERSION,
            waybill: self.papers.digest,
            trip: self.papers.waybill.trip,
            person: self.person.card.holder.clone(),
            at: self.now,
            number,
            count,
            blocks: shape.map_or(0, Shape::blocks),
            recovery: shape.map_or(0, Shape::recovery),
            pieces,
        };
        volume.fits(&self.papers.waybill, &self.papers.digest).map_err(MediumError::OtherExporter)?;
        Ok(Signed::make_by(&*self.person.key, &volume)?.to_bytes())
    }
}

fn is_link(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|about| about.is_symlink())
}

/// A strict umask at one end must not lock the other end out. Best effort: FAT and ISO 9660 have modes of their own.
fn open_to_all<'a>(disk: &Disk, trip: &Path, names: impl Iterator<Item = &'a str>) {
    for name in names {
        let _ = disk.set_mode(&trip.join(name), MEDIUM_FILE);
    }
    for folder in copies::places(trip).into_iter().chain([trip.join(APPROVALS)]) {
        let _ = disk.set_mode(&folder, MEDIUM_FOLDER);
    }
}

fn readme(papers: &Papers, number: u8, count: u8) -> String {
    let bill = &papers.waybill;
    let (trip, source, target, medium) = (bill.trip, &bill.source, &bill.target, &bill.medium);
    format!(
        "三闸(Trilock) 摆渡介质  批次 {trip}  {source} -> {target}  介质 {medium}  第 {number} 卷, 共 {count} 卷\r\n\
         本目录内为密封包, 没有私钥无法读取。如拾获, 请交还不动产登记机构。\r\n\
         sha256sum -c {SUMS} 可核对文件是否完整; ferry verify 可核对签名。parity 与 sectors 文件用于修复损坏扇区。\r\n\r\n\
         Trilock ferry medium  trip {trip}  {source} -> {target}  medium {medium}  volume {number} of {count}\r\n\
         The files here are sealed and cannot be read without a private key. If found, please return to the registration office.\r\n\
         `sha256sum -c {SUMS}` checks that the files are whole; `ferry verify` checks who signed them.\r\n\
         Files called parity and sectors repair damaged sectors.\r\n"
    )
}
