//! Gathering a trip from its volumes, in any order: each piece is copied to its place in the file that it belongs to, so
//! that a bundle in parts is joined without a second copy. What a scratch took is restored from the volume's parity; what
//! cannot be restored is named, and what is whole is kept for the next attempt.
//!
//! Why it may die anywhere: the trip grows in a folder of its own beside those that count. A volume is noted there once
//! all of it is durable; a piece that is there is known again by its digest. The last volume's rename is the commit, and
//! the notes go after it.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use protocol::parity::SECTOR_BYTES;
use protocol::tree::Tree;
use protocol::volume::Piece;
use protocol::waybill::{WAYBILL_BYTES_MAX, WaybillLine, line_file_name};
use spool::disk::Disk;

use crate::copying::{CopyError, Span, read_line, read_span, room, write_error};
use crate::desk::{DESK_FILE, DESK_FOLDER};
use crate::folder::{Folder, FolderError};
use crate::papers::{Papers, WAYBILL};
use crate::parity::{self, Damage, Parity, ParityError, Repair};
use crate::volume::Layout;

/// Read at once from a medium; where that fails, each sector by itself.
const PIECE_BYTES: usize = 1 << 20;
/// Files that a message names.
const NAMED_MAX: usize = 20;

/// What stops a volume from being gathered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GatherError {
    /// A file on its way.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// The code of the parity.
    #[error(transparent)]
    Parity(ParityError),
    /// More is damaged than the parity restores, or there is none. Where every sector could be read, no scratch did it.
    #[error("volume {number} of trip {trip}: {} files cannot be restored", lost.len())]
    Beyond { trip: u64, number: u8, lost: Vec<Lost>, kept: usize, unread: u64 },
    /// A file of the waybill that proves something else, or nothing.
    #[error("{file}: {cause}")]
    NotAuthentic { file: String, cause: String },
}

impl From<ParityError> for GatherError {
    fn from(error: ParityError) -> Self {
        match error {
            ParityError::Copy(error) => GatherError::Copy(error),
            error => GatherError::Parity(error),
        }
    }
}

impl From<FolderError> for GatherError {
    fn from(error: FolderError) -> Self {
        GatherError::Copy(error.into())
    }
}

/// A piece that is gone.
#[derive(Clone, Debug)]
pub(crate) struct Lost {
    /// Its file on the medium.
    pub(crate) file: String,
    /// Sectors of it that are missing; 0 where that is not known, for there is no parity.
    pub(crate) sectors: u64,
}

/// How a list of lost files is said.
pub(crate) fn lost_words(lost: &[Lost]) -> String {
    let named = lost.iter().take(NAMED_MAX).map(|lost| match lost.sectors {
        0 => lost.file.clone(),
        sectors => format!("{} ({sectors})", lost.file),
    });
    let more = if lost.len() > NAMED_MAX { format!(", … (+{})", lost.len() - NAMED_MAX) } else { String::new() };
    named.collect::<Vec<_>>().join(", ") + &more
}

/// What came of a volume.
#[derive(Debug)]
pub(crate) struct Gathered {
    /// Files with sectors that were restored.
    pub(crate) restored: Vec<Damage>,
    /// Volumes that are still missing.
    pub(crate) missing: Vec<u8>,
}

/// One volume on its way into the desk.
pub(crate) struct Gathering<'a> {
    /// Where everything is written.
    pub(crate) disk: &'a Disk,
    /// The volume.
    pub(crate) medium: &'a Folder,
    /// The trip's papers.
    pub(crate) papers: &'a Papers,
    /// What lies on the volume.
    pub(crate) layout: &'a Layout,
    /// Where the trip grows.
    pub(crate) aside: &'a Path,
    /// Progress.
    pub(crate) bar: &'a ProgressBar,
    /// Whether a file of the waybill, in a folder, proves itself.
    pub(crate) proves: &'a dyn Fn(&Folder, &WaybillLine) -> Result<(), String>,
}

impl Gathering<'_> {
    /// Copies, restores, verifies, and notes the volume.
    pub(crate) fn run(&self) -> Result<Gathered, GatherError> {
        let copies = self.open()?;
        let joined: Vec<Span> = self.layout.pieces.iter().map(|piece| self.layout.joined(self.papers, piece)).collect();
        let there: BTreeSet<usize> = (0..joined.len()).filter(|place| self.stands(&copies, &joined, *place)).collect();
        let needed = |place: &usize| !there.contains(place);
        let bytes = (0..).zip(&joined).filter(|(place, _)| needed(place)).map(|(_, span)| span.size).sum();
        room(self.disk, self.aside, bytes)?;
        let (mut damaged, mut unread) = (BTreeSet::new(), 0);
        for (place, (piece, span)) in self.layout.pieces.iter().zip(&joined).enumerate() {
            if there.contains(&place) {
                self.bar.inc(span.size);
            } else if let Some(sectors) = self.copy(piece, span)? {
                damaged.insert(place);
                unread += sectors;
            }
        }
        let (restored, lost) = self.restore(&copies, &joined, &damaged)?;
        for (place, piece) in self.layout.pieces.iter().enumerate() {
            // 10.3.7, 10.4.3. What stands may have been copied by an attempt that died before it was proven.
            if piece.part == 0 && !lost.iter().any(|(lost, _)| *lost == place) {
                self.prove(&copies, piece)?;
            }
        }
        self.disk.sync_file_system(self.aside).map_err(|cause| write_error(self.aside, cause))?;
        if !lost.is_empty() {
            let (trip, number, kept) = (self.papers.waybill.trip, self.layout.number, joined.len() - lost.len());
            let lost = lost.into_iter().map(|(_, lost)| lost).collect();
            return Err(GatherError::Beyond { trip, number, lost, kept, unread });
        }
        self.note()?;
        let missing: Vec<u8> = (1..=self.layout.count).filter(|number| !self.marker(*number).exists()).collect();
        if missing.is_empty() {
            self.close(&copies)?;
        }
        Ok(Gathered { restored, missing })
    }

    /// The folder in which the trip grows. One of another waybill of the same trip keeps its files: those that are the
    /// same are known by their digests.
    fn open(&self) -> Result<Folder, GatherError> {
        let failed = |cause| GatherError::Copy(write_error(self.aside, cause));
        if self.aside.symlink_metadata().is_ok_and(|about| !about.is_dir()) {
            self.disk.remove_tree(self.aside).map_err(failed)?;
        }
        if self.aside.symlink_metadata().is_err() {
            self.disk.create_dir_all(self.aside).map_err(failed)?;
            // Whoever of the group brings the next volume goes on here.
            self.disk.set_mode(self.aside, DESK_FOLDER).map_err(failed)?;
        }
        let folder = Folder::open(self.aside)?;
        if folder.read(WAYBILL, WAYBILL_BYTES_MAX).is_ok_and(|bytes| bytes == self.papers.bytes) {
            return Ok(folder);
        }
        forget_volumes(self.disk, self.aside)?;
        self.put(&self.aside.join(WAYBILL), &self.papers.bytes)?;
        Ok(folder)
    }

    fn marker(&self, number: u8) -> PathBuf {
        marker(self.aside, number)
    }

    fn note(&self) -> Result<(), GatherError> {
        self.put(&self.marker(self.layout.number), b"")
    }

    fn put(&self, path: &Path, bytes: &[u8]) -> Result<(), GatherError> {
        let written = self.disk.write(path, bytes).and_then(|()| self.disk.set_mode(path, DESK_FILE));
        Ok(written.map_err(|cause| write_error(path, cause))?)
    }

    /// Is a piece there already, from an earlier attempt?
    fn stands(&self, copies: &Folder, joined: &[Span], place: usize) -> bool {
        let quiet = ProgressBar::hidden();
        joined
            .get(place)
            .is_some_and(|span| read_span(copies, span, self.papers.signed.suite, &quiet, &mut |_| Ok(())).is_ok())
    }

    /// Copies one piece to its place. Where it is not what it was, says how many sectors could not be read; they are zero.
    fn copy(&self, piece: &Piece, joined: &Span) -> Result<Option<u64>, GatherError> {
        let name = self.layout.span(self.papers, piece).name;
        let path = self.aside.join(&joined.name);
        let failed = |cause| write_error(&path, cause);
        if path.symlink_metadata().is_ok_and(|about| !about.is_file() || about.len() != joined.file_bytes) {
            self.disk.remove_tree(&path).map_err(failed)?;
        }
        let new = path.symlink_metadata().is_err();
        let out = self.disk.open_rw(&path).map_err(failed)?;
        if new {
            self.disk.set_mode(&path, DESK_FILE).map_err(failed)?;
        }
        self.disk.truncate(&out, joined.file_bytes).map_err(failed)?;
        let source = match self.medium.file(&name) {
            Ok(source) => Some(source),
            // No scratch makes a link or a device of a file.
            Err(error @ FolderError::NotAFile { .. }) => return Err(error.into()),
            Err(_) => None,
        };
        let whole = source.as_ref().is_some_and(|(_, bytes)| *bytes == piece.size);
        let mut tree = Tree::new(self.papers.signed.suite);
        let mut at = joined.offset;
        let mut read = |offset: u64, into: &mut [u8]| match &source {
            Some((file, _)) => file.read_exact_at(into, offset),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        let unread = salvage(&mut read, piece.size, &mut |bytes| {
            tree.update(bytes);
            self.bar.inc(bytes.len() as u64);
            self.disk.write_at(&out, bytes, at).map_err(failed)?;
            at += bytes.len() as u64;
            Ok(())
        })?;
        let stands = whole && unread == 0 && tree.root() == piece.digest;
        Ok((!stands).then_some(unread))
    }

    /// 10.4.1, 10.4.2: restores what is damaged. Gives what was, and the pieces that are still other than they should be.
    #[expect(clippy::type_complexity, reason = "two lists, named in the sentence above")]
    fn restore(
        &self,
        copies: &Folder,
        joined: &[Span],
        damaged: &BTreeSet<usize>,
    ) -> Result<(Vec<Damage>, Vec<(usize, Lost)>), GatherError> {
        let repair = match &self.layout.shape {
            Some(shape) if !damaged.is_empty() => {
                let parity = Parity { shape, waybill: &self.papers.digest, number: self.layout.number };
                parity::repair(self.disk, parity, self.medium, (copies, joined), damaged, self.bar)?
            }
            _ => Repair::default(),
        };
        let (mut restored, mut lost) = (Vec::new(), Vec::new());
        for place in damaged {
            let Some(piece) = self.layout.pieces.get(*place) else { continue };
            let file = self.layout.span(self.papers, piece).name;
            if self.stands(copies, joined, *place) {
                restored.extend(repair.restored.get(place).map(|damage| Damage { file, ..damage.clone() }));
                continue;
            }
            let sectors = repair.beyond.get(place).map_or(0, |damage| damage.sectors);
            lost.push((*place, Lost { file, sectors }));
            if let (0, Some(span)) = (piece.part, joined.get(*place)) {
                let path = self.aside.join(&span.name);
                self.disk.remove_file(&path).map_err(|cause| write_error(&path, cause))?;
            }
        }
        Ok((restored, lost))
    }

    fn prove(&self, copies: &Folder, piece: &Piece) -> Result<(), GatherError> {
        let line = usize::try_from(piece.line).ok().and_then(|place| self.papers.waybill.lines.get(place));
        line.map_or(Ok(()), |line| self.prove_line(copies, line))
    }

    fn prove_line(&self, copies: &Folder, line: &WaybillLine) -> Result<(), GatherError> {
        let file = line_file_name(line);
        (self.proves)(copies, line).map_err(|cause| {
            // What proves nothing does not stay; that it cannot be removed is the lesser evil.
            let _ = self.disk.remove_file(&self.aside.join(&file));
            GatherError::NotAuthentic { file, cause }
        })
    }

    /// 10.3.8. All volumes are here: what came in parts is verified as a whole, and nothing of the waybill is missing.
    fn close(&self, copies: &Folder) -> Result<(), GatherError> {
        // Files that came whole on this volume were verified a moment ago; the others lay in the desk meanwhile.
        let here = self.layout.names(self.papers);
        for line in &self.papers.waybill.lines {
            if here.contains(&line_file_name(line)) {
                continue;
            }
            self.bar.inc_length(line.size);
            let whole = read_line(copies, line, self.papers.signed.suite, self.bar, &mut |_| Ok(()));
            let proven = whole.map_err(GatherError::from).and_then(|()| self.prove_line(copies, line));
            if let Err(error) = proven {
                // The volumes promised it and do not hold it: what counted as gathered did not.
                forget_volumes(self.disk, self.aside)?;
                return Err(error);
            }
        }
        Ok(())
    }
}

/// The note in a folder that all of a volume is there.
fn marker(folder: &Path, number: u8) -> PathBuf {
    folder.join(format!("volume-{number}"))
}

/// Takes the notes of volumes away: the trip stands where it belongs, or must be gathered anew.
pub(crate) fn forget_volumes(disk: &Disk, folder: &Path) -> Result<(), CopyError> {
    for number in 1..=u8::MAX {
        let marker = marker(folder, number);
        if marker.symlink_metadata().is_ok() {
            disk.remove_tree(&marker).map_err(|cause| write_error(&marker, cause))?;
        }
    }
    Ok(())
}

/// Reads so many bytes in pieces and hands them on. What cannot be read, and what the source does not have, is zero. Says
/// how many sectors that were.
fn salvage(
    read: &mut dyn FnMut(u64, &mut [u8]) -> io::Result<()>,
    bytes: u64,
    each: &mut dyn FnMut(&[u8]) -> Result<(), CopyError>,
) -> Result<u64, CopyError> {
    let (mut offset, mut unread) = (0, 0);
    let mut buffer = vec![0; PIECE_BYTES];
    while offset < bytes {
        let now = usize::try_from(bytes - offset).unwrap_or(usize::MAX).min(PIECE_BYTES);
        let Some(piece) = buffer.get_mut(..now) else { break };
        if read(offset, piece).is_err() {
            for (place, sector) in (0..).zip(piece.chunks_mut(SECTOR_BYTES)) {
                let at = offset + place * SECTOR_BYTES as u64;
                if read(at, sector).is_err() {
                    sector.fill(0);
                    unread += 1;
                }
            }
        }
        each(piece)?;
        offset += now as u64;
    }
    Ok(unread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sector_that_cannot_be_read_is_zero_and_costs_no_other() {
        let content: Vec<u8> = (1..=250_u8).cycle().take(PIECE_BYTES * 2 + 777).collect();
        for broken in [0, 5_000, PIECE_BYTES - 1, PIECE_BYTES, content.len() - 1] {
            let mut read = |offset: u64, into: &mut [u8]| {
                let from = usize::try_from(offset).unwrap();
                if (from..from + into.len()).contains(&broken) {
                    return Err(io::Error::from_raw_os_error(5));
                }
                into.copy_from_slice(&content[from..from + into.len()]);
                Ok(())
            };
            let mut found = Vec::new();
            let unread = salvage(&mut read, content.len() as u64, &mut |bytes| {
                found.extend_from_slice(bytes);
                Ok(())
            });
            assert_eq!(unread.unwrap(), 1);
            assert_eq!(found.len(), content.len());
            let first = broken / SECTOR_BYTES * SECTOR_BYTES;
            let end = (first + SECTOR_BYTES).min(content.len());
            assert!(found[first..end].iter().all(|byte| *byte == 0));
            assert!(found[..first] == content[..first] && found[end..] == content[end..], "at {broken}");
        }
    }
}
