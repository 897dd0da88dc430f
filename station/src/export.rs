//! Records of a period for somebody who may not read the ledger's folder: one file in `desk/exports`, which only the group of
//! auditors reads. Ids, codes and names of the office; what a record keeps beside it for the zone never leaves this way.
//!
//! Why it may die anywhere: it is written aside, synced and renamed before the answer; what a death leaves is written over
//! when the same request is answered again, or goes with the other old ones.

use std::fs::File;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use protocol::suite::{Digest, Hasher};
use serde_json::{Value, json};
use spool::extract::{Extract, Format, Wanted};

use crate::station::{Station, StationError};

/// A year of three million records is about as much. More is asked for by the month.
const BYTES_MAX: u64 = 1 << 30;
/// Exports that lie in the desk at once: each goes after two days.
const FILES_MAX: usize = 8;
/// Written to the disk in pieces of this size; before each the node looks whether there is room.
const PIECE_BYTES: usize = 1 << 20;

/// Why there is no export.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Somebody forgot to fetch earlier ones.
    #[error("{found} exports lie in the desk, which takes {FILES_MAX}; each goes after two days")]
    TooMany {
        /// How many.
        found: usize,
    },
    /// A spool that an older program made.
    #[error("{path} is not there yet")]
    NotSetUp {
        /// The folder.
        path: PathBuf,
    },
    /// Longer than a desk holds.
    #[error("the records are more than {BYTES_MAX} bytes")]
    TooLong,
    /// The node.
    #[error(transparent)]
    Station(#[from] StationError),
}

/// Writes the records that are wanted. `id` names the file: the same request gives the same one.
pub fn make(station: &Station, id: &Digest, wanted: &Wanted, format: Format) -> Result<(Value, u64), ExportError> {
    let folder = station.layout().desk_exports();
    let path = folder.join(format!("{id}.{}", format.name()));
    let aside = folder.join(format!(".{id}"));
    if !folder.exists() {
        return Err(ExportError::NotSetUp { path: folder });
    }
    let found = lying(&folder).map_err(|cause| at(&folder, cause))?.len();
    if found >= FILES_MAX && !path.exists() {
        return Err(ExportError::TooMany { found });
    }
    let disk = station.spool.disk();
    disk.remove_tree(&aside).map_err(|cause| at(&aside, cause))?;
    let made = write(station, &aside, wanted, format);
    if made.is_err() {
        // What came of it is nothing to anybody; that it cannot be removed is the lesser evil.
        let _gone = disk.remove_file(&aside);
    }
    let (lines, bytes, digest) = made?;
    disk.rename(&aside, &path).map_err(|cause| at(&path, cause))?;
    Ok((json!({ "file": path, "lines": lines, "bytes": bytes, "digest": digest.to_string() }), lines))
}

fn at(path: &Path, cause: io::Error) -> ExportError {
    ExportError::Station(StationError::Io { path: path.to_owned(), cause })
}

fn write(station: &Station, path: &Path, wanted: &Wanted, format: Format) -> Result<(u64, u64, Digest), ExportError> {
    let failed = |cause: io::Error| match cause.kind() {
        io::ErrorKind::FileTooLarge => ExportError::TooLong,
        _ => at(path, cause),
    };
    let disk = station.spool.disk();
    let file = disk.create(path).map_err(failed)?;
    // The folder gives it its group.
    disk.set_mode(path, 0o640).map_err(failed)?;
    let piece = Vec::with_capacity(PIECE_BYTES);
    let out = Bounded { station, file, piece, bytes: 0, hasher: station.suite.hasher() };
    let mut extract = Extract::begin(out, format, false).map_err(failed)?;
    let mut stopped = None;
    station
        .spool
        .stored_between(wanted.from, wanted.until, &mut |stored| match extract.take(wanted, stored) {
            Ok(()) => ControlFlow::Continue(()),
            Err(cause) => {
                stopped = Some(cause);
                ControlFlow::Break(())
            }
        })
        .map_err(StationError::from)?;
    stopped.map_or(Ok(()), |cause| Err(failed(cause)))?;
    let lines = extract.lines;
    let out = extract.end().map_err(failed)?;
    disk.sync_file(&out.file).map_err(failed)?;
    Ok((lines, out.bytes, out.hasher.finish()))
}

/// Where the lines go: counted, bounded, and only as long as there is room.
struct Bounded<'a> {
    station: &'a Station,
    file: File,
    piece: Vec<u8>,
    bytes: u64,
    hasher: Hasher,
}

impl Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        if self.bytes > BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // What is kept free is for what the node must record.
        self.station.spool.room(self.piece.len() as u64).map_err(|_| io::ErrorKind::StorageFull)?;
        self.station.spool.disk().append(&mut self.file, &self.piece)?;
        self.hasher.update(&self.piece);
        self.piece.clear();
        Ok(())
    }
}

/// Exports in the desk, finished and not.
fn lying(folder: &Path) -> io::Result<Vec<PathBuf>> {
    std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect()
}
