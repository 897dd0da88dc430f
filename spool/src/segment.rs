//! One file of ledger records, as bytes. Reads and frames; never writes, never repairs.
//!
//! ```text
//! <first record, 16 hex digits>.seg          .damaged: set aside, not yet reported    .sealed: set aside, reported
//! "TRILOCKL" (8) first record (8) | frame | frame | …                      numbers are big-endian
//! frame   = length of payload (4) crc32 over length and payload (4) | payload
//! payload = length of record (4) | record, DER | nothing, or salt (32) and Local, DER
//! ```
//! Records have no numbers of their own: behind a page that was lost they are known again by the digests in `level-0`.
//! The checksum finds torn tails and tired disks. Only the Merkle tree says that nobody changed a record.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use protocol::Timestamp;
use protocol::ledger::{LOCAL_BYTES_MAX, Local, RECORD_BYTES_MAX, Record};
use protocol::suite::Digest;

use crate::disk::Disk;

/// A segment is closed above this: small enough to be written anew at every start, some 50,000 records.
pub const SEGMENT_BYTES: usize = 16 << 20;
/// A segment may grow over [`SEGMENT_BYTES`] by one group of records; a larger file is none of ours.
pub const SEGMENT_READ_BYTES_MAX: u64 = 256 << 20;
/// Of a record's leaf, as the tree's files keep it.
pub(crate) const DIGEST_BYTES: u64 = 32;
const MAGIC: &[u8; 8] = b"TRILOCKL";
const SALT_BYTES: usize = 32;
/// Unreadable records in a row that are stepped over: a spoiled page of 4 KiB holds fewer.
const UNREADABLE_MAX: u64 = 64;
const PAYLOAD_BYTES_MAX: usize = 4 + RECORD_BYTES_MAX + SALT_BYTES + LOCAL_BYTES_MAX;
/// The smallest frame there can be: an event and a time, in DER, are more than this.
const FRAME_BYTES_MIN: usize = 20;
/// How far behind what cannot be read the next whole record is looked for: more than a disk loses at once.
const HOLE_BYTES_MAX: usize = 1 << 20;
/// Bytes of which a checksum or a digest is made to find places again, for one segment: bytes that only look like frames,
/// or records whose digests are lost as well, do not cost more than that.
const LOOKING_BYTES_MAX: usize = 256 << 20;
/// Records in a row that must fit the digests of their places, where there are so many: two records may say the same.
const FITTING: u64 = 8;

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

/// The digest of each record that a ledger's folder keeps beside its segments, looked up one by one.
pub struct KeptLeaves(Option<fs::File>);

impl KeptLeaves {
    /// Those of a folder, where it has any.
    #[must_use]
    pub fn of(ledger: &Path) -> KeptLeaves {
        KeptLeaves(fs::File::open(ledger.join("level-0")).ok())
    }

    /// The digest of the record at a place, where it can be read.
    #[must_use]
    pub fn leaf(&self, place: u64) -> Option<Digest> {
        let mut leaf = Digest::default();
        let at = place.checked_mul(DIGEST_BYTES)?;
        self.0.as_ref()?.read_exact_at(&mut leaf.0, at).ok()?;
        Some(leaf)
    }
}

/// Says whether a record, by its bytes, is the one at a place of the ledger.
pub type IsAt<'a> = dyn Fn(u64, &[u8]) -> bool + 'a;

/// Walks the records of a segment's bytes. Ends after the last record or after [`Found::Broken`].
pub struct Frames<'a> {
    bytes: &'a [u8],
    at: usize,
    index: u64,
    headed: bool,
    ended: bool,
    is_at: Option<&'a IsAt<'a>>,
    /// Within what cannot be read: the place of the next whole record, and the byte where it begins.
    hole: Option<(u64, usize)>,
    /// What may still be spent on looking.
    looking: usize,
}

impl<'a> Frames<'a> {
    /// Over the whole content of the segment that starts with record `first`.
    #[must_use]
    pub fn new(bytes: &'a [u8], first: u64) -> Self {
        let expected = header(first);
        let headed = bytes.starts_with(&expected);
        Frames {
            bytes,
            at: if headed { expected.len() } else { 0 },
            index: first,
            headed,
            ended: false,
            is_at: None,
            hole: None,
            looking: LOOKING_BYTES_MAX,
        }
    }

    /// Over bytes that begin in the middle of a segment, with the frame of record `index`.
    #[must_use]
    pub fn amid(bytes: &'a [u8], index: u64) -> Self {
        Frames { bytes, at: 0, index, headed: true, ended: false, is_at: None, hole: None, looking: LOOKING_BYTES_MAX }
    }

    /// With somebody who knows the digests: then the records behind a page that cannot be read find their places again.
    #[must_use]
    pub fn known_by(mut self, is_at: &'a IsAt<'a>) -> Self {
        self.is_at = Some(is_at);
        self
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

impl Frames<'_> {
    /// Is one of the records that begin here at its place, if the first has this one? Where nobody knows, it is believed.
    fn counts(&self, mut bytes: &[u8], first: u64) -> bool {
        let Some(is_at) = self.is_at else { return true };
        for place in first..first + FITTING {
            let Some((found, length)) = read(bytes, 0) else { return false };
            if is_at(place, &found.bytes) {
                return true;
            }
            bytes = bytes.get(length..).unwrap_or_default();
        }
        false
    }

    /// The place of the next whole record that has one in the ledger, and the byte where it begins.
    fn over_the_hole(&mut self) -> Option<(u64, usize)> {
        let is_at = self.is_at?;
        for passed in 1..HOLE_BYTES_MAX {
            let bytes = self.bytes.get(self.at + passed..)?;
            self.looking = self.looking.checked_sub(length_of(bytes).unwrap_or_default())?;
            let Some((found, length)) = read(bytes, 0) else { continue };
            // At least one record is lost where there is a header, and no more than there was room for.
            let most = (passed / FRAME_BYTES_MIN).max(1);
            self.looking = self.looking.checked_sub(most.saturating_mul(length))?;
            let places = (u64::from(self.headed)..=most as u64).map(|lost| self.index + lost);
            let places = places.filter(|place| is_at(*place, &found.bytes));
            let best = places.max_by_key(|place| (fitting(bytes, *place, is_at), std::cmp::Reverse(*place)));
            if let Some(place) = best {
                return Some((place, self.at + passed));
            }
        }
        None
    }
}

/// How many records in a row, from here on, are those of these places; it does not count beyond [`FITTING`].
fn fitting(mut bytes: &[u8], place: u64, is_at: &IsAt<'_>) -> u64 {
    for many in 0..FITTING {
        match read(bytes, 0).filter(|(found, _)| is_at(place + many, &found.bytes)) {
            Some((_, length)) => bytes = bytes.get(length..).unwrap_or_default(),
            None => return many,
        }
    }
    FITTING
}

impl Iterator for Frames<'_> {
    type Item = Found;
    fn next(&mut self) -> Option<Found> {
        let rest = self.bytes.get(self.at..)?;
        if self.ended || (rest.is_empty() && self.headed) {
            return None;
        }
        let index = self.index;
        if self.headed
            && self.hole.is_none()
            && let Some((stored, length)) = read(rest, index)
        {
            (self.at, self.index) = (self.at + length, index + 1);
            return Some(Found::Record(Box::new(stored)));
        }
        // The length may still be right: then one record is lost, or a few in a row, and not the rest.
        let by_length = if self.headed && self.hole.is_none() { goes_on(rest) } else { None };
        let counts = by_length.is_some_and(|(steps, bytes)| self.counts(bytes, index + steps));
        if !counts && let Some((place, at)) = self.hole.take().or_else(|| self.over_the_hole()) {
            if place == index {
                // Of the header alone.
                (self.at, self.headed) = (at, true);
                return self.next();
            }
            self.index = index + 1;
            if self.index == place {
                (self.at, self.headed) = (at, true);
            } else {
                self.hole = Some((place, at));
            }
            return Some(Found::Unreadable { index });
        }
        if by_length.is_some()
            && let Some(length) = length_of(rest)
        {
            (self.at, self.index) = (self.at + length, index + 1);
            return Some(Found::Unreadable { index });
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
    // Zeros, which is what a page reads like that cannot be read, are no frame.
    (FRAME_BYTES_MIN - 8..=PAYLOAD_BYTES_MAX).contains(&payload).then_some(8 + payload)
}

/// Bytes of the frame that starts here, if its checksum says that it is whole.
fn whole(bytes: &[u8]) -> Option<usize> {
    let length = length_of(bytes)?;
    let mut crc = crc32fast::Hasher::new();
    crc.update(bytes.get(..4)?);
    crc.update(bytes.get(8..length)?);
    (number(bytes, 4)? == crc.finalize()).then_some(length)
}

/// The next whole record, if the lengths are right: how many frames on, and the bytes from there.
fn goes_on(mut bytes: &[u8]) -> Option<(u64, &[u8])> {
    for steps in 1..=UNREADABLE_MAX {
        bytes = bytes.get(length_of(bytes)?..)?;
        if read(bytes, 0).is_some() {
            return Some((steps, bytes));
        }
    }
    None
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

    #[test]
    fn behind_a_page_of_zeros_every_record_that_is_known_finds_its_place_again() {
        let record = |at: u64| Record::new(Event::NodeStarted, Timestamp(at)).to_bytes();
        let (mut bytes, mut ends) = (header(1000), Vec::new());
        for at in 0..500_u64 {
            // Two by two they say the same.
            bytes.extend(frame(&record(at / 2), b""));
            ends.push(bytes.len());
        }
        let is_at = |place: u64, found: &[u8]| place < 1500 && found == record((place - 1000) / 2);
        let pages = [(0, 4096), (4096, 4096), (ends[200] - 7, 4096), (ends[300], 512), (bytes.len() - 100, 100)];
        for broken in [&pages[..], &pages[..1], &pages[1..2], &pages[2..3], &pages[3..4], &pages[4..]] {
            let mut bytes = bytes.clone();
            for (from, many) in broken {
                bytes[*from..from + many].fill(0);
            }
            let is_whole = |at: usize| {
                let (start, end) = (if at == 0 { 16 } else { ends[at - 1] }, ends[at]);
                broken.iter().all(|(from, many)| end <= *from || from + many <= start)
            };
            let mut frames = Frames::new(&bytes, 1000).known_by(&is_at);
            let found: Vec<Found> = frames.by_ref().collect();
            for (at, found) in found.iter().enumerate() {
                let place = 1000 + at as u64;
                match found {
                    Found::Record(stored) => assert!(stored.index == place && is_whole(at)),
                    Found::Unreadable { index } => assert!(*index == place && !is_whole(at)),
                    Found::Broken { index, .. } => assert!(*index == place && (at..500).all(|at| !is_whole(at))),
                }
            }
            let whole = found.iter().filter(|found| matches!(found, Found::Record(_))).count();
            assert_eq!(whole, (0..500).filter(|at| is_whole(*at)).count());
        }
    }

    #[test]
    fn a_spoiled_header_alone_costs_no_record() {
        let (mut bytes, _) = three();
        bytes[3] ^= 1;
        let is_at = |place: u64, found: &[u8]| {
            (10..13).contains(&place) && found == Record::new(Event::NodeStarted, Timestamp(place - 10)).to_bytes()
        };
        let found: Vec<Found> = Frames::new(&bytes, 10).known_by(&is_at).collect();
        assert_eq!(found.len(), 3);
        assert!(found.iter().all(|found| matches!(found, Found::Record(_))));
    }

    #[test]
    fn bytes_that_look_like_frames_without_end_are_given_up() {
        // Every four bytes a length that is credible, and never a checksum that fits.
        let bytes = [header(0), [0, 0, 0x80, 0].repeat(4 << 20)].concat();
        let asked = std::cell::Cell::new(0);
        let is_at = |_: u64, _: &[u8]| {
            asked.set(asked.get() + 1);
            true
        };
        let mut frames = Frames::new(&bytes, 0).known_by(&is_at);
        assert!(matches!(frames.next(), Some(Found::Broken { index: 0, sound: 16 })));
        assert_eq!((frames.next(), asked.get()), (None, 0));
    }
}
