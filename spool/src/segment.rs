//! One file of ledger records, as bytes. Reads and frames; never writes, never repairs.
//!
//! ```text
//! <first record, 16 hex digits>.seg          .damaged: set aside, not yet reported    .sealed: set aside, reported
//! "TRILOCKL" (8) first record (8) | frame | frame | …                      numbers are big-endian
//! frame   = length of payload (4) crc32 over length and payload (4) | payload
//! payload = length of record (4) | record, DER | nothing, or salt (32) and Local, DER
//! ```
//! The checksum finds torn tails and tired disks. Only the Merkle tree says that nobody changed a record.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use protocol::Timestamp;
use protocol::ledger::{LOCAL_BYTES_MAX, Local, RECORD_BYTES_MAX, Record};

use crate::disk::Disk;

/// A segment is closed above this: small enough to be written anew at every start, some 50,000 records.
pub const SEGMENT_BYTES: usize = 16 << 20;
/// A segment may grow over [`SEGMENT_BYTES`] by one group of records; a larger file is none of ours.
pub const SEGMENT_READ_BYTES_MAX: u64 = 256 << 20;
const MAGIC: &[u8; 8] = b"TRILOCKL";
const SALT_BYTES: usize = 32;
/// Unreadable records in a row that are stepped over: a spoiled page of 4 KiB holds fewer.
const UNREADABLE_MAX: usize = 64;
const PAYLOAD_BYTES_MAX: usize = 4 + RECORD_BYTES_MAX + SALT_BYTES + LOCAL_BYTES_MAX;

/// The state of a segment file, as its name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// In use.
    Sound,
    /// Set aside; its unreadable records are not yet reported in the ledger.
    Damaged,
    /// Set aside and reported.
    Sealed,
}

impl Health {
    const ALL: [Health; 3] = [Health::Sound, Health::Damaged, Health::Sealed];
    const fn suffix(self) -> &'static str {
        match self {
            Health::Sound => "seg",
            Health::Damaged => "damaged",
            Health::Sealed => "sealed",
        }
    }
}

/// A segment in its directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The index of its first record.
    pub first: u64,
    /// Its state.
    pub health: Health,
    /// Where it is.
    pub path: PathBuf,
}

/// The segments of a ledger directory, in order.
pub fn list(ledger: &Path) -> io::Result<Vec<Segment>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(ledger)? {
        found.extend(named(&entry?.path()));
    }
    found.sort_by_key(order);
    Ok(found)
}

/// The segment that a path names.
pub(crate) fn named(path: &Path) -> Option<Segment> {
    let (stem, suffix) = path.file_name()?.to_str()?.split_once('.')?;
    let health = Health::ALL.into_iter().find(|health| health.suffix() == suffix)?;
    let first = u64::from_str_radix(stem, 16).ok().filter(|_| stem.len() == 16)?;
    Some(Segment { first, health, path: path.to_owned() })
}

/// Their order. Of a segment that was set aside before anything of it could be read, and the one that begins at the same
/// record, the one in use is the last.
pub(crate) fn order(one: &Segment) -> (u64, bool) {
    (one.first, one.health == Health::Sound)
}

/// The file name of a segment.
#[must_use]
pub fn name(first: u64, health: Health) -> String {
    format!("{first:016x}.{}", health.suffix())
}

/// What a segment starts with.
#[must_use]
pub fn header(first: u64) -> Vec<u8> {
    [&MAGIC[..], &first.to_be_bytes()].concat()
}

/// One record as it is written. `local` is empty, or the salt and the DER of the local part.
#[must_use]
pub fn frame(record: &[u8], local: &[u8]) -> Vec<u8> {
    let length = u32::try_from(4 + record.len() + local.len()).unwrap_or(u32::MAX).to_be_bytes();
    let inner = u32::try_from(record.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut crc = crc32fast::Hasher::new();
    for part in [&length[..], &inner, record, local] {
        crc.update(part);
    }
    [&length[..], &crc.finalize().to_be_bytes(), &inner, record, local].concat()
}

/// A record as it lies in its segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its place in the ledger.
    pub index: u64,
    /// Its bytes, the leaf of the tree.
    pub bytes: Vec<u8>,
    /// What they say.
    pub record: Record,
    /// The salt and the local part, where there is one.
    pub local: Option<([u8; SALT_BYTES], Local)>,
}

/// What stands at a place of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A whole record.
    Record(Box<Stored>),
    /// A record that cannot be read, but the one after it can.
    Unreadable {
        /// Its place in the ledger.
        index: u64,
    },
    /// From here on nothing can be read: a torn tail, or damage.
    Broken {
        /// The place in the ledger that would be next.
        index: u64,
        /// Bytes of the segment that are sound.
        sound: usize,
    },
}

/// Walks the records of a segment's bytes. Ends after the last record or after [`Found::Broken`].
pub struct Frames<'a> {
    bytes: &'a [u8],
    at: usize,
    index: u64,
    headed: bool,
    ended: bool,
}

impl<'a> Frames<'a> {
    /// Over the whole content of the segment that starts with record `first`.
    #[must_use]
    pub fn new(bytes: &'a [u8], first: u64) -> Self {
        let expected = header(first);
        let headed = bytes.starts_with(&expected);
        Frames { bytes, at: if headed { expected.len() } else { 0 }, index: first, headed, ended: false }
    }

    /// Over bytes that begin in the middle of a segment, with the frame of record `index`.
    #[must_use]
    pub fn amid(bytes: &'a [u8], index: u64) -> Self {
        Frames { bytes, at: 0, index, headed: true, ended: false }
    }

    /// Passes over records before one, as far as they are whole, without reading what they say.
    pub fn skip_to(&mut self, index: u64) {
        while self.headed
            && self.index < index
            && let Some(length) = self.bytes.get(self.at..).and_then(whole)
        {
            (self.at, self.index) = (self.at + length, self.index + 1);
        }
    }

    /// Bytes up to the end of the last item given.
    #[must_use]
    pub fn position(&self) -> usize {
        self.at
    }
}

impl Iterator for Frames<'_> {
    type Item = Found;
    fn next(&mut self) -> Option<Found> {
        let rest = self.bytes.get(self.at..)?;
        if self.ended || (rest.is_empty() && self.headed) {
            return None;
        }
        let index = self.index;
        if self.headed {
            if let Some((stored, length)) = read(rest, index) {
                (self.at, self.index) = (self.at + length, index + 1);
                return Some(Found::Record(Box::new(stored)));
            }
            // The length may still be right: then one record is lost, or a few in a row, and not the rest.
            if let Some(length) = length_of(rest)
                && goes_on(rest.get(length..).unwrap_or_default())
            {
                (self.at, self.index) = (self.at + length, index + 1);
                return Some(Found::Unreadable { index });
            }
        }
        self.ended = true;
        Some(Found::Broken { index, sound: self.at })
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_be_bytes)
}

/// Bytes of the frame that starts here, if its length is credible.
fn length_of(bytes: &[u8]) -> Option<usize> {
    let payload = usize::try_from(number(bytes, 0)?).ok()?;
    (payload <= PAYLOAD_BYTES_MAX).then_some(8 + payload)
}

/// Bytes of the frame that starts here, if its checksum says that it is whole.
fn whole(bytes: &[u8]) -> Option<usize> {
    let length = length_of(bytes)?;
    let mut crc = crc32fast::Hasher::new();
    crc.update(bytes.get(..4)?);
    crc.update(bytes.get(8..length)?);
    (number(bytes, 4)? == crc.finalize()).then_some(length)
}

/// Does a whole record come soon, if the lengths are right?
fn goes_on(mut bytes: &[u8]) -> bool {
    for _ in 0..UNREADABLE_MAX {
        if read(bytes, 0).is_some() {
            return true;
        }
        match length_of(bytes).and_then(|length| bytes.get(length..)) {
            Some(rest) => bytes = rest,
            None => return false,
        }
    }
    false
}

/// The record that starts here and the bytes of its frame.
fn read(bytes: &[u8], index: u64) -> Option<(Stored, usize)> {
    let length = whole(bytes)?;
    let payload = bytes.get(8..length)?;
    let inner = usize::try_from(number(payload, 0)?).ok()?;
    let (record, local) = payload.get(4..)?.split_at_checked(inner)?;
    let local = match local.split_first_chunk::<SALT_BYTES>() {
        Some((salt, der)) => Some((*salt, Local::parse(der).ok()?)),
        None if local.is_empty() => None,
        None => return None,
    };
    Some((Stored { index, bytes: record.to_vec(), record: Record::parse(record).ok()?, local }, length))
}

/// When the first record of a segment was made, if it can be read. Reads one record.
#[must_use]
pub fn first_time(one: &Segment) -> Option<Timestamp> {
    let mut bytes = Vec::new();
    let first = (MAGIC.len() + 8 + 8 + PAYLOAD_BYTES_MAX) as u64;
    fs::File::open(&one.path).ok()?.take(first).read_to_end(&mut bytes).ok()?;
    match Frames::new(&bytes, one.first).next() {
        Some(Found::Record(stored)) => Some(stored.record.at),
        _ => None,
    }
}

/// The content of a segment file, bounded. Pages that cannot be read are zeros: their records do not count as whole, and
/// those beside them do.
pub fn load(path: &Path) -> io::Result<Vec<u8>> {
    load_by(&Disk::real(), path).map(|(bytes, _)| bytes)
}

/// The same, and whether anything in it could not be read.
pub(crate) fn load_by(disk: &Disk, path: &Path) -> io::Result<(Vec<u8>, bool)> {
    let file = fs::File::open(path)?;
    let length = file.metadata()?.len();
    if length > SEGMENT_READ_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a ledger segment of {length} bytes")));
    }
    read_from(disk, &file, 0, usize::try_from(length).map_err(io::Error::other)?)
}

/// So many bytes of a segment from a place on, or fewer where it ends before.
pub(crate) fn read_from(disk: &Disk, file: &fs::File, at: u64, many: usize) -> io::Result<(Vec<u8>, bool)> {
    let left = file.metadata()?.len().saturating_sub(at);
    let mut bytes = vec![0; usize::try_from(left).unwrap_or(usize::MAX).min(many)];
    let lost = disk.read_around(file, &mut bytes, at)?;
    Ok((bytes, lost))
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::ledger::Event;

    fn three() -> (Vec<u8>, Vec<usize>) {
        let mut bytes = header(10);
        let mut ends = vec![bytes.len()];
        for at in 0..3 {
            let record = Record::new(Event::NodeStarted, Timestamp(at)).to_bytes();
            bytes.extend(frame(&record, b""));
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    #[test]
    fn a_segment_cut_anywhere_gives_its_whole_records_and_then_says_broken() {
        let (bytes, ends) = three();
        for cut in 16..=bytes.len() {
            let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
            let found: Vec<Found> = Frames::new(&bytes[..cut], 10).collect();
            let records = found.iter().filter(|found| matches!(found, Found::Record(_))).count();
            assert_eq!(records, whole, "cut at {cut}");
            assert_eq!(found.len() > whole, !ends.contains(&cut));
        }
    }

    #[test]
    fn a_flipped_bit_costs_one_record() {
        let (bytes, ends) = three();
        for at in ends[1] + 4..ends[2] {
            let mut broken = bytes.clone();
            broken[at] ^= 0x10;
            let found: Vec<Found> = Frames::new(&broken, 10).collect();
            assert!(matches!(found[1], Found::Unreadable { index: 11 }), "byte {at}");
            assert!(matches!(&found[2], Found::Record(stored) if stored.index == 12));
        }
    }

    #[test]
    fn flipped_bits_in_neighbours_cost_these_and_no_others() {
        let mut bytes = header(0);
        let mut ends = vec![bytes.len()];
        for at in 0..100 {
            bytes.extend(frame(&Record::new(Event::NodeStarted, Timestamp(at)).to_bytes(), b""));
            ends.push(bytes.len());
        }
        (20..70).for_each(|at| bytes[ends[at] + 9] ^= 1);
        let found: Vec<Found> = Frames::new(&bytes, 0).collect();
        assert_eq!(found.len(), 100);
        assert_eq!(found.iter().filter(|found| matches!(found, Found::Record(_))).count(), 50);
    }
}
