//! The papers of a trip lie three times on its medium. No parity covers them: they say how the parity lies, and people sign
//! after it was made. A medium may lose any two copies; a person can put one back with `cp`.
//!
//! What is read here proves itself by its signature, so no copy is believed more than another: the first that is sound
//! counts, and the others are held against it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use protocol::Trust;
use protocol::volume::PIECES_MAX;
use protocol::waybill::WAYBILL_BYTES_MAX;

use crate::folder::{Folder, FolderError, Kind};
use crate::medium::MediumError;
use crate::papers::{
    APPROVAL_BYTES_MAX, APPROVAL_SUFFIX, APPROVALS, APPROVALS_MAX, Countersigned, Papers, PapersError, WAYBILL,
    distinct,
};
use crate::volume::{Layout, VOLUME, VolumeError};
use crate::words::shown;

/// The folders of the second and third copy, inside the trip's own, which holds the first.
pub(crate) const COPIES: [&str; 2] = ["copy-2", "copy-3"];
/// What a paper costs on a medium, in its own size.
pub(crate) const TIMES: u64 = 1 + COPIES.len() as u64;
const _: () = assert!(PIECES_MAX > COPIES.len(), "names of copies fit beside pieces in a listing");

/// The folders that hold a trip's papers, as far as they can be opened.
pub(crate) struct Copies<'a> {
    own: &'a Folder,
    others: Vec<(&'static str, Folder)>,
    /// Papers of which a copy is damaged, missing or unreadable, by the path in the trip's folder.
    damaged: BTreeSet<String>,
}

/// A copy of a paper as it was read, behind its path in the trip's folder.
type Read = (String, Result<Vec<u8>, FolderError>);

/// The papers of one trip, each from whichever copy was sound.
pub(crate) struct Found {
    /// The waybill, signed by its source.
    pub(crate) papers: Papers,
    /// What lies on this volume.
    pub(crate) layout: Layout,
    /// Who countersigned.
    pub(crate) approvals: Vec<Countersigned>,
    /// Copies that were not used because they are damaged, missing or unreadable.
    pub(crate) damaged: Vec<String>,
}

/// All of a trip's papers, proven.
pub(crate) fn read(folder: &Folder, trip: u64, trust: &Trust) -> Result<Found, MediumError> {
    let mut copies = Copies::of(folder);
    let papers = copies.waybill(trip, trust)?;
    let approvals = copies.approvals(&papers, trust)?;
    let layout = copies.layout(&papers, trust)?;
    Ok(Found { papers, layout, approvals, damaged: copies.damaged.into_iter().collect() })
}

/// The waybill alone, proven.
pub(crate) fn waybill(folder: &Folder, trip: u64, trust: &Trust) -> Result<Papers, MediumError> {
    Copies::of(folder).waybill(trip, trust)
}

/// The waybill and what lies on this volume, proven; whoever countersigned.
pub(crate) fn laid(folder: &Folder, trip: u64, trust: &Trust) -> Result<(Papers, Layout), MediumError> {
    let mut copies = Copies::of(folder);
    let papers = copies.waybill(trip, trust)?;
    let layout = copies.layout(&papers, trust)?;
    Ok((papers, layout))
}

/// Where the papers of a trip are written.
pub(crate) fn places(trip: &Path) -> Vec<PathBuf> {
    std::iter::once(trip.to_owned()).chain(COPIES.map(|copy| trip.join(copy))).collect()
}

/// Those of them that are there, and no links.
pub(crate) fn places_there(trip: &Path) -> Vec<PathBuf> {
    let there = |place: &PathBuf| place.symlink_metadata().is_ok_and(|about| about.is_dir());
    places(trip).into_iter().filter(there).collect()
}

impl<'a> Copies<'a> {
    fn of(own: &'a Folder) -> Copies<'a> {
        let mut copies = Copies { own, others: Vec::new(), damaged: BTreeSet::new() };
        for name in COPIES {
            match own.sub(name) {
                Ok(folder) => copies.others.push((name, folder)),
                Err(error) if error.is_missing() => {}
                Err(_) => drop(copies.damaged.insert(format!("{name}/"))),
            }
        }
        // A medium of before there were copies lacks none; one that has lost one says so.
        if let [(only, _)] = copies.others.as_slice() {
            let other = COPIES.into_iter().find(|copy| copy != only).unwrap_or_default();
            copies.damaged.insert(format!("{other}/"));
        }
        copies
    }

    /// Each folder with the path to it.
    fn folders(&self) -> impl Iterator<Item = (String, &Folder)> {
        let own = std::iter::once((String::new(), self.own));
        own.chain(self.others.iter().map(|(name, folder)| (format!("{name}/"), folder)))
    }

    /// The first sound copy of a paper. None where no folder has it; where none of them is sound, what is wrong with the first.
    fn pick<T>(
        &mut self,
        name: &str,
        bytes_max: usize,
        mut sound: impl FnMut(&[u8]) -> Result<T, MediumError>,
    ) -> Result<Option<T>, MediumError> {
        let read: Vec<Read> =
            self.folders().map(|(path, folder)| (path + name, folder.read(name, bytes_max))).collect();
        if read.iter().all(|(_, bytes)| bytes.as_ref().is_err_and(FolderError::is_missing)) {
            return Ok(None);
        }
        let (mut chosen, mut first) = (None, None);
        for (_, bytes) in &read {
            let Ok(bytes) = bytes else { continue };
            match sound(bytes) {
                Ok(paper) => {
                    chosen = Some((paper, bytes));
                    break;
                }
                Err(error) => first = first.or(Some(error)),
            }
        }
        let Some((paper, bytes)) = chosen else {
            let unread = read.into_iter().find_map(|(_, bytes)| bytes.err());
            return Err(first.or(unread.map(Into::into)).unwrap_or_else(|| missing(self.own.path().join(name))));
        };
        let other = read.iter().filter(|(_, copy)| copy.as_ref().ok() != Some(bytes)).map(|(path, _)| path.clone());
        self.damaged.extend(other);
        Ok(Some(paper))
    }

    fn waybill(&mut self, trip: u64, trust: &Trust) -> Result<Papers, MediumError> {
        let path = self.own.path().to_owned();
        let papers = self.pick(WAYBILL, WAYBILL_BYTES_MAX, |bytes| {
            let cause = |cause| PapersError::Waybill { folder: path.display().to_string(), cause };
            let papers = Papers::parse(bytes.to_vec()).map_err(cause)?;
            if papers.waybill.trip != trip {
                return Err(MediumError::OtherTrip { path: path.clone(), found: papers.waybill.trip });
            }
            papers.prove(trust)?;
            Ok(papers)
        })?;
        papers.ok_or_else(|| missing(path.join(WAYBILL)))
    }

    fn layout(&mut self, papers: &Papers, trust: &Trust) -> Result<Layout, MediumError> {
        let folder = self.own.path().display().to_string();
        let layout = self.pick(VOLUME, WAYBILL_BYTES_MAX, |bytes| {
            let layout = Layout::parse(bytes.to_vec(), papers, Some(trust));
            Ok(layout.map_err(|cause| VolumeError::Paper { folder: folder.clone(), cause })?)
        })?;
        Ok(layout.unwrap_or_else(|| Layout::plain(papers)))
    }

    /// All countersignatures, distinct by person. One of which every copy is wrong is an error, as it is in one folder.
    fn approvals(&mut self, papers: &Papers, trust: &Trust) -> Result<Vec<Countersigned>, MediumError> {
        // By their names as they are: one that would move a cursor is shown in another way than it is read.
        let mut files: BTreeMap<OsString, Vec<Read>> = BTreeMap::new();
        let (mut listed, mut broken) = (Vec::new(), None);
        for (path, folder) in self.folders() {
            let names = folder.sub(APPROVALS).and_then(|approvals| {
                let names = approvals.list(APPROVALS_MAX)?;
                Ok((approvals, names))
            });
            match names {
                Ok((approvals, items)) => listed.push((path, approvals, items)),
                Err(error) if error.is_missing() => {}
                Err(error) => broken = broken.or(Some((format!("{path}{APPROVALS}/"), error))),
            }
        }
        if let Some((path, error)) = broken {
            if listed.is_empty() {
                return Err(error.into());
            }
            self.damaged.insert(path);
        }
        let named = |item: &crate::folder::Item| {
            let file = shown(&item.name);
            let counts = item.kind == Kind::File && file.ends_with(APPROVAL_SUFFIX) && !file.starts_with('.');
            counts.then(|| item.name.clone())
        };
        let names: BTreeSet<OsString> = listed.iter().flat_map(|(.., items)| items.iter().filter_map(named)).collect();
        for (path, approvals, _) in &listed {
            for name in &names {
                let copy = (format!("{path}{APPROVALS}/{}", shown(name)), approvals.read(name, APPROVAL_BYTES_MAX));
                files.entry(name.clone()).or_default().push(copy);
            }
        }
        let mut all = Vec::new();
        for (name, copies) in files {
            all.push(self.approval(papers, trust, &shown(&name), copies)?);
        }
        Ok(distinct(all))
    }

    fn approval(
        &mut self,
        papers: &Papers,
        trust: &Trust,
        name: &str,
        copies: Vec<Read>,
    ) -> Result<Countersigned, MediumError> {
        let (mut chosen, mut first) = (None, None);
        for (_, bytes) in &copies {
            match bytes.as_ref().map(|bytes| papers.check_approval(bytes, name, Some(trust))) {
                Ok(Ok(approval)) => {
                    chosen = Some(approval);
                    break;
                }
                Ok(Err(error)) => first = first.or(Some(MediumError::from(error))),
                Err(_) => {}
            }
        }
        let Some(approval) = chosen else {
            let unread = copies.into_iter().find_map(|(_, bytes)| bytes.err());
            return Err(first.or(unread.map(Into::into)).unwrap_or_else(|| missing(self.own.path().join(name))));
        };
        let other = copies.iter().filter(|(_, copy)| copy.as_ref().ok() != Some(&approval.bytes));
        self.damaged.extend(other.map(|(path, _)| path.clone()));
        Ok(approval)
    }
}

fn missing(path: PathBuf) -> MediumError {
    PapersError::Folder(FolderError::Missing { path }).into()
}
