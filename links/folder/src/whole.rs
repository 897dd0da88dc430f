//! What a file of the gate is by its own bytes, and whether all of it is here. Nothing is verified: that it is genuine
//! is found out at admission, and of a beacon before it is believed. Looks at an open file, so that what is looked at is
//! what is taken, whoever exchanges names in the folder meanwhile.

use std::fs::File;
use std::io::{self, BufReader, Read as _};
use std::os::unix::fs::FileExt as _;

use protocol::oneway::FolderBeacon;
use protocol::receipt::ReceiptBatch;
use protocol::signed::{Signed, Statement};
use protocol::{BundleId, bundle};
use spool::EntryKind;

use crate::names::Named;

/// The first bytes of every bundle.
const BUNDLE: [u8; 8] = *b"TRILOCK1";

/// A whole file.
pub(crate) enum Whole {
    /// An entry.
    Entry(BundleId, EntryKind),
    /// A beacon, as it came.
    Beacon(Vec<u8>),
}

/// A file by its bytes alone. None where it is not whole, or none of ours.
pub(crate) fn by_content(file: &File, bytes: u64) -> io::Result<Option<Whole>> {
    let mut start = [0; 8];
    if bytes >= 8 {
        file.read_exact_at(&mut start, 0)?;
    }
    if start == BUNDLE {
        return Ok(bundle_of(file, bytes)?.map(|id| Whole::Entry(id, EntryKind::Bundle)));
    }
    if let Some(beacon) = beacon_of(file, bytes)? {
        return Ok(Some(Whole::Beacon(beacon)));
    }
    Ok(batch_of(file, bytes)?.map(|id| Whole::Entry(id, EntryKind::Receipts)))
}

/// The same for a file whose name says what it has to be.
pub(crate) fn by_name(file: &File, bytes: u64, named: Named) -> io::Result<Option<Whole>> {
    Ok(match named {
        Named::Entry(id, kind @ EntryKind::Bundle) => {
            bundle_of(file, bytes)?.filter(|found| *found == id).map(|id| Whole::Entry(id, kind))
        }
        Named::Entry(id, kind @ EntryKind::Receipts) => {
            batch_of(file, bytes)?.filter(|found| *found == id).map(|id| Whole::Entry(id, kind))
        }
        Named::Beacon { epoch, number } => beacon_of(file, bytes)?
            .filter(|bytes| said_in(bytes).is_some_and(|said| (said.epoch, said.number) == (epoch, number)))
            .map(Whole::Beacon),
    })
}

/// What the bytes of a beacon say, believed by nobody yet.
pub(crate) fn said_in(bytes: &[u8]) -> Option<FolderBeacon> {
    Signed::parse::<FolderBeacon>(bytes).ok()?.read_unverified().ok()
}

fn beacon_of(file: &File, bytes: u64) -> io::Result<Option<Vec<u8>>> {
    Ok(read_small(file, bytes, FolderBeacon::BYTES_MAX)?.filter(|bytes| said_in(bytes).is_some()))
}

fn batch_of(file: &File, bytes: u64) -> io::Result<Option<BundleId>> {
    let Some(bytes) = read_small(file, bytes, ReceiptBatch::BYTES_MAX)? else { return Ok(None) };
    let batch = Signed::parse::<ReceiptBatch>(&bytes).ok().and_then(|signed| signed.read_unverified().ok());
    Ok(batch.map(|batch: ReceiptBatch| batch.batch))
}

/// `"TRILOCK1" | length(4) | envelope | payload | length(4) | footer`: the envelope states the payload, and the foot
/// ends where the file ends.
fn bundle_of(file: &File, bytes: u64) -> io::Result<Option<BundleId>> {
    let Ok(envelope) = bundle::peek(&mut BufReader::new(From { file, at: 0 })) else { return Ok(None) };
    let mut length = [0; 4];
    file.read_exact_at(&mut length, BUNDLE.len() as u64)?;
    let foot = envelope.payload_bytes.checked_add(12 + u64::from(u32::from_be_bytes(length)));
    let Some(foot) = foot.filter(|foot| foot.checked_add(4).is_some_and(|end| end <= bytes)) else { return Ok(None) };
    file.read_exact_at(&mut length, foot)?;
    Ok((foot + 4 + u64::from(u32::from_be_bytes(length)) == bytes).then_some(envelope.bundle))
}

/// The whole file, unless it is larger than such a thing may be, or grew while it was read.
fn read_small(file: &File, bytes: u64, limit: usize) -> io::Result<Option<Vec<u8>>> {
    if bytes > limit as u64 {
        return Ok(None);
    }
    let mut found = Vec::new();
    From { file, at: 0 }.take(bytes + 1).read_to_end(&mut found)?;
    Ok((found.len() as u64 == bytes).then_some(found))
}

/// A file read from a place of our own, wherever its handle stands.
pub(crate) struct From<'a> {
    pub(crate) file: &'a File,
    pub(crate) at: u64,
}

impl io::Read for From<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(into, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}
