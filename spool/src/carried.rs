//! The ledger that a backup carries: which head its records and its tree give, and what of it is lost. For a ledger that no
//! daemon has open. Knows nothing of archives and keys, and writes only into a folder that a restore has just made.
//!
//! A record that cannot be read keeps the leaf that `level-0` has of it. Where that is gone as well the leaf is unknown:
//! above it stand the digests that the higher levels keep, up to the first that can be computed again. A page that nobody
//! could read is zeros, in a segment and in a level, and 32 zeros are no digest. Nothing of this is believed by itself:
//! only the head that was signed says whether all of it is right.
//!
//! A backup from before the levels were carried has `level-0` alone, and gives its head unless a leaf is unknown.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use protocol::ledger::{self, Event};
use protocol::receipt::{Head, Range};
use protocol::suite::{Digest, Suite};
use protocol::tree;

use crate::disk::{Disk, PAGE_BYTES};
use crate::levels::{LEVELS_MAX, UNKNOWN};
use crate::ranges::Ranges;
use crate::segment::{self, DIGEST_BYTES, Found, Frames, Health, SEGMENT_READ_BYTES_MAX, Segment};
use crate::snapshot::Item;
use crate::spool::SpoolError;

/// A file of it.
struct Part {
    source: PathBuf,
    /// How many of its bytes belong to it.
    bytes: Option<u64>,
    /// Pages for which zeros were written, whatever another reading gives.
    spoiled: BTreeSet<u64>,
}

/// The files of a ledger as they lie in a backup.
#[derive(Default)]
pub struct Carried {
    segments: Vec<(Segment, Part)>,
    levels: BTreeMap<u32, Part>,
}

/// What they give.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// Size and root.
    pub head: Head,
    /// Records that cannot be read, or are not what their digest says.
    pub lost: Vec<Range>,
    /// Those of them that no record of this ledger reports.
    pub unreported: Vec<Range>,
    /// Those of which the digest is gone as well.
    pub unknown: Vec<Range>,
}

/// One level of the tree, a page at a time.
struct Column {
    file: File,
    bytes: u64,
    spoiled: BTreeSet<u64>,
    /// The page that was read last, and its number.
    page: Option<(u64, Vec<u8>)>,
}

impl Column {
    fn open(disk: &Disk, part: Part, mend: bool) -> io::Result<Column> {
        let file = if mend { disk.open_rw(&part.source)? } else { File::open(&part.source)? };
        let length = file.metadata()?.len();
        let bytes = part.bytes.map_or(length, |bytes| bytes.min(length));
        Ok(Column { file, bytes: bytes - bytes % DIGEST_BYTES, spoiled: part.spoiled, page: None })
    }

    fn digests(&self) -> u64 {
        self.bytes / DIGEST_BYTES
    }

    /// What stands at a place, 32 zeros included.
    fn raw(&mut self, disk: &Disk, index: u64) -> io::Result<Option<Digest>> {
        let at = index.saturating_mul(DIGEST_BYTES);
        if at >= self.bytes {
            return Ok(None);
        }
        let number = at / PAGE_BYTES;
        if self.page.as_ref().is_none_or(|(page, _)| *page != number) {
            let from = number * PAGE_BYTES;
            let many = usize::try_from((self.bytes - from).min(PAGE_BYTES)).map_err(io::Error::other)?;
            let mut page = vec![0; many];
            if !self.spoiled.contains(&number) {
                disk.read_around(&self.file, &mut page, from)?;
            }
            self.page = Some((number, page));
        }
        let within = usize::try_from(at % PAGE_BYTES).map_err(io::Error::other)?;
        Ok(self.page.as_ref().and_then(|(_, page)| Digest::from_slice(page.get(within..within + 32)?)))
    }

    /// The digest at a place, where there is one.
    fn known(&mut self, disk: &Disk, index: u64) -> io::Result<Option<Digest>> {
        Ok(self.raw(disk, index)?.filter(|digest| *digest != UNKNOWN))
    }

    /// Writes it there where something else stands.
    fn put(&mut self, disk: &Disk, index: u64, digest: Digest) -> io::Result<()> {
        if self.raw(disk, index)? == Some(digest) {
            return Ok(());
        }
        let at = index.saturating_mul(DIGEST_BYTES);
        disk.write_at(&self.file, &digest.0, at)?;
        (self.bytes, self.page) = (self.bytes.max(at + DIGEST_BYTES), None);
        Ok(())
    }
}

/// The tree under way.
struct Growing<'a> {
    disk: &'a Disk,
    suite: Suite,
    columns: Vec<Column>,
    /// Roots of complete subtrees, largest first: their level, and the root.
    peaks: Vec<(u32, Digest)>,
    size: u64,
    mend: bool,
    lost: Ranges,
    unknown: Ranges,
}

impl Growing<'_> {
    fn known(&mut self, level: u32, index: u64) -> io::Result<Option<Digest>> {
        let disk = self.disk;
        self.columns.get_mut(level as usize).map_or(Ok(None), |column| column.known(disk, index))
    }

    fn put(&mut self, level: u32, index: u64, digest: Digest) -> io::Result<()> {
        let (disk, mend) = (self.disk, self.mend);
        match self.columns.get_mut(level as usize).filter(|_| mend) {
            Some(column) => column.put(disk, index, digest),
            None => Ok(()),
        }
    }

    /// Record and leaf differ: which of them does the digest above both say is right? Where that is not known, what lies in
    /// a segment that was set aside is not believed, and any other is.
    fn is_right(&mut self, own: Digest, kept: Digest, aside: bool) -> io::Result<bool> {
        let index = self.size;
        let (above, beside) = (self.known(1, index / 2)?, self.known(0, index ^ 1)?);
        let Some((above, beside)) = above.zip(beside) else { return Ok(!aside) };
        let fits = |leaf: Digest| {
            let (left, right) = if index & 1 == 0 { (leaf, beside) } else { (beside, leaf) };
            above == tree::node(self.suite, &left, &right)
        };
        Ok(fits(own) || (!fits(kept) && !aside))
    }

    /// Adds the next record by its digest; none for one that cannot be read.
    fn push(&mut self, own: Option<Digest>, aside: bool) -> io::Result<()> {
        let index = self.size;
        let kept = self.known(0, index)?;
        let leaf = match (own, kept) {
            (Some(own), Some(kept)) if own != kept && !self.is_right(own, kept, aside)? => None,
            (own, _) => own,
        };
        if leaf.is_none() {
            self.lost.insert(index, index);
            if kept.is_none() {
                self.unknown.insert(index, index);
            }
        }
        self.size += 1;
        let (mut digest, mut level, mut place) = (leaf.or(kept).unwrap_or(UNKNOWN), 0, index);
        self.put(level, place, digest)?;
        while let Some((_, left)) = self.peaks.pop_if(|(complete, _)| *complete == level) {
            (level, place) = (level + 1, place / 2);
            digest = if left == UNKNOWN || digest == UNKNOWN {
                self.known(level, place)?.unwrap_or(UNKNOWN)
            } else {
                tree::node(self.suite, &left, &digest)
            };
            self.put(level, place, digest)?;
        }
        self.peaks.push((level, digest));
        Ok(())
    }

    fn root(&self) -> Digest {
        let mut right_first = self.peaks.iter().rev().map(|(_, digest)| *digest);
        match right_first.next() {
            None => self.suite.digest(&[]),
            Some(last) => right_first.fold(last, |right, left| tree::node(self.suite, &left, &right)),
        }
    }
}

impl Carried {
    /// The ledger in a folder.
    pub(crate) fn of(dir: &Path) -> io::Result<Carried> {
        let part = |source: PathBuf| Part { source, bytes: None, spoiled: BTreeSet::new() };
        let segments = segment::list(dir)?.into_iter().map(|one| (one.clone(), part(one.path))).collect();
        let levels = (0..LEVELS_MAX).map(|level| (level, dir.join(format!("level-{level}"))));
        let levels = levels.filter(|(_, path)| path.exists()).map(|(level, path)| (level, part(path))).collect();
        Ok(Carried { segments, levels })
    }

    /// Takes a file of a snapshot, where it is one of its ledger, with the pages for which zeros went into the backup.
    pub fn take(&mut self, item: &Item, spoiled: &[u64]) {
        if item.folder || item.path.parent() != Some(Path::new("ledger")) {
            return;
        }
        let spoiled = spoiled.iter().copied().collect();
        let part = Part { source: item.source.clone(), bytes: item.bytes, spoiled };
        if let Some(one) = segment::named(&item.path) {
            self.segments.push((one, part));
            self.segments.sort_by_key(|(one, _)| segment::order(one));
        } else if let Some(level) = level_of(&item.path) {
            self.levels.insert(level, part);
        }
    }

    /// Which head it gives, where `named` is the one that it should. A file of `level-0` that goes further counts.
    ///
    /// # Errors
    /// The disk, other than by pages that it does not read.
    pub fn holds(self, disk: &Disk, suite: Suite, named: &Head) -> Result<Holding, SpoolError> {
        self.walk(disk, suite, named, false)
    }

    /// The same, and writes what it found into the levels that are there: where a page of them could not be read zeros
    /// stand, and what is above an unknown leaf has then no other place.
    pub(crate) fn mended(self, disk: &Disk, suite: Suite, named: &Head) -> Result<Holding, SpoolError> {
        self.walk(disk, suite, named, true)
    }

    fn walk(self, disk: &Disk, suite: Suite, named: &Head, mend: bool) -> Result<Holding, SpoolError> {
        let mut columns = Vec::new();
        // A level that is missing makes those above it of no use.
        for (part, wanted) in self.levels.into_iter().zip(0..) {
            let (level, part) = part;
            if level != wanted {
                break;
            }
            let path = part.source.clone();
            columns.push(Column::open(disk, part, mend).map_err(|source| SpoolError::disk(&path, source))?);
        }
        let size = columns.first().map_or(0, Column::digests).max(named.size);
        let (lost, unknown, mut reported) = (Ranges::default(), Ranges::default(), Ranges::default());
        let mut tree = Growing { disk, suite, columns, peaks: Vec::new(), size: 0, mend, lost, unknown };
        for (one, part) in &self.segments {
            let at = |source| SpoolError::disk(&part.source, source);
            while tree.size < one.first.min(size) {
                tree.push(None, true).map_err(at)?;
            }
            let aside = one.health != Health::Sound;
            let bytes = bytes_of(disk, part).map_err(at)?;
            for (index, own) in leaves_of(&mut tree, &bytes, one.first, &mut reported) {
                if index == tree.size {
                    tree.push(own, aside).map_err(at)?;
                }
            }
        }
        while tree.size < size {
            tree.push(None, true).map_err(|source| SpoolError::disk(Path::new("level-0"), source))?;
        }
        let unreported = tree.lost.iter().flat_map(|range| reported.missing(range.from, range.to)).collect();
        Ok(Holding {
            head: Head { log: named.log, size: tree.size, root: tree.root() },
            lost: tree.lost.iter().collect(),
            unreported,
            unknown: tree.unknown.iter().collect(),
        })
    }
}

/// Records of its own ledger that a record says are lost; one that names a head tells of the log before.
pub(crate) fn reports(record: &ledger::Record) -> Option<Range> {
    let own = record.event == Event::LedgerDamaged && record.head.is_none();
    let (from, to) = record.sequence.zip(record.through).filter(|_| own)?;
    Some(Range { from, to })
}

/// Which level a file of a ledger is.
pub(crate) fn level_of(path: &Path) -> Option<u32> {
    path.file_name()?.to_str()?.strip_prefix("level-")?.parse().ok().filter(|level| *level < LEVELS_MAX)
}

/// The digests of a segment's records by what they say, and none for those between that cannot be read.
fn leaves_of(tree: &mut Growing<'_>, bytes: &[u8], first: u64, reported: &mut Ranges) -> Vec<(u64, Option<Digest>)> {
    let suite = tree.suite;
    let tree = std::cell::RefCell::new(tree);
    let is_at = |place: u64, record: &[u8]| {
        let known = tree.borrow_mut().known(0, place);
        known.is_ok_and(|known| known == Some(ledger::leaf(suite, record)))
    };
    let mut leaves = Vec::new();
    for found in Frames::new(bytes, first).known_by(&is_at) {
        match found {
            Found::Record(stored) => {
                if let Some(range) = reports(&stored.record) {
                    reported.insert(range.from, range.to);
                }
                leaves.push((stored.index, Some(ledger::leaf(suite, &stored.bytes))));
            }
            Found::Unreadable { index } => leaves.push((index, None)),
            Found::Broken { .. } => {}
        }
    }
    leaves
}

fn bytes_of(disk: &Disk, part: &Part) -> io::Result<Vec<u8>> {
    let file = File::open(&part.source)?;
    let length = file.metadata()?.len();
    let length = part.bytes.map_or(length, |bytes| bytes.min(length));
    if length > SEGMENT_READ_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a ledger segment of {length} bytes")));
    }
    let (mut bytes, _) = segment::read_from(disk, &file, 0, usize::try_from(length).map_err(io::Error::other)?)?;
    let page_bytes = usize::try_from(PAGE_BYTES).unwrap_or(usize::MAX);
    for page in &part.spoiled {
        let from = usize::try_from(page.saturating_mul(PAGE_BYTES)).unwrap_or(usize::MAX);
        bytes.iter_mut().skip(from).take(page_bytes).for_each(|byte| *byte = 0);
    }
    Ok(bytes)
}
