//! One pass over a ledger's folder: every record, the tree over them computed anew, and held against whatever is known
//! of it: its own checkpoint, the tree on disk, heads that others hold. Reads once, in order, with bounded memory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use protocol::ledger::{Event, leaf};
use protocol::receipt::Head;
use protocol::suite::Digest;
use protocol::tree::node;
use protocol::{Suite, Timestamp};
use spool::segment::{self, Found, Frames, Health, KeptLeaves, Stored};

use crate::heads::Held;
use crate::ledger::LedgerError;

const DIGEST_BYTES: u64 = 32;
/// A ledger of 2^40 records would take a century at 300 a second.
const LEVELS_MAX: u32 = 40;
/// A segment closes at 16 MiB, some 50,000 records; a hole larger than the largest segment is a missing file.
const HOLE_RECORDS_MAX: u64 = 1 << 22;

/// Stands in a level where nobody knows the digest any more: the record is lost, and its leaf with it.
const UNKNOWN: Digest = protocol::der_types::Octets([0; 32]);

/// A level of the tree on disk, read beside the records.
struct Level {
    file: BufReader<File>,
    /// Whole digests in it.
    digests: u64,
    next: u64,
}

impl Level {
    fn open(dir: &Path, level: u32) -> Option<Level> {
        let file = File::open(dir.join(format!("level-{level}"))).ok()?;
        let digests = file.metadata().ok()?.len() / DIGEST_BYTES;
        Some(Level { file: BufReader::with_capacity(1 << 16, file), digests, next: 0 })
    }
    /// The digest at a place; places are asked for in order.
    fn read(&mut self, index: u64) -> Option<Digest> {
        if index >= self.digests || index != self.next {
            return None;
        }
        let mut digest = [0; 32];
        self.next = index.saturating_add(1);
        if self.file.read_exact(&mut digest).is_err() {
            // A bad sector costs what stands in it.
            self.file.seek(SeekFrom::Start(self.next.saturating_mul(DIGEST_BYTES))).ok()?;
            return None;
        }
        Some(protocol::der_types::Octets(digest))
    }
}

/// The tree under way in one suite, and what it met.
pub(crate) struct Tree {
    /// The suite it is computed in.
    pub(crate) suite: Suite,
    peaks: Vec<(u64, Digest)>,
    levels: Vec<Level>,
    size: u64,
    /// The root where the checkpoint stands.
    pub(crate) at_checkpoint: Option<Digest>,
    /// The first head of others that it does not pass through.
    pub(crate) missed: Option<u64>,
    /// Heads of others that it passes through.
    pub(crate) passed: u64,
    /// The first record that is not what its leaf on disk says.
    pub(crate) leaf_differs: Option<u64>,
    /// The first digest of the tree on disk that does not follow from those below it.
    pub(crate) level_differs: Option<(u32, u64)>,
    /// Records that cannot be read, or are not what their leaf says in a segment that was set aside.
    pub(crate) unreadable: u64,
    /// One of them whose leaf is gone as well.
    pub(crate) lost: Option<u64>,
    /// The first record whose local part is not the one it binds.
    pub(crate) wrong_local: Option<u64>,
}

impl Tree {
    fn new(dir: &Path, suite: Suite) -> Tree {
        Tree {
            suite,
            peaks: Vec::new(),
            levels: (0..LEVELS_MAX).map_while(|level| Level::open(dir, level)).collect(),
            size: 0,
            at_checkpoint: None,
            missed: None,
            passed: 0,
            leaf_differs: None,
            level_differs: None,
            unreadable: 0,
            lost: None,
            wrong_local: None,
        }
    }

    fn push(&mut self, index: u64, stored: Option<&Stored>, aside: bool) {
        let kept = self.levels.first_mut().and_then(|level| level.read(index));
        let found = stored.map(|stored| leaf(self.suite, &stored.bytes));
        let leaf = match (found, kept) {
            (Some(found), Some(kept)) if found != kept && aside => {
                self.unreadable = self.unreadable.saturating_add(1);
                kept
            }
            (Some(found), kept) => {
                if kept.is_some_and(|kept| kept != found) {
                    self.leaf_differs.get_or_insert(index);
                }
                found
            }
            (None, kept) => {
                self.unreadable = self.unreadable.saturating_add(1);
                if kept.is_none_or(|kept| kept == UNKNOWN) {
                    self.lost.get_or_insert(index);
                }
                kept.unwrap_or(UNKNOWN)
            }
        };
        if let Some(stored) = stored
            && let Some((salt, local)) = &stored.local
            && stored.record.local != Some(local.digest(self.suite, salt))
        {
            self.wrong_local.get_or_insert(index);
        }
        self.size = index.saturating_add(1);
        let (mut leaves, mut digest, mut level) = (1_u64, leaf, 0_usize);
        while let Some((before, left)) = self.peaks.pop() {
            if before != leaves {
                self.peaks.push((before, left));
                break;
            }
            leaves = leaves.saturating_mul(2);
            level = level.saturating_add(1);
            let place = (self.size >> level).saturating_sub(1);
            let kept = self.levels.get_mut(level).and_then(|kept| kept.read(place));
            if left == UNKNOWN || digest == UNKNOWN {
                // What stands above a leaf that is gone can only be looked up. The root says whether it was right.
                digest = kept.unwrap_or(UNKNOWN);
                continue;
            }
            digest = node(self.suite, &left, &digest);
            if kept.is_some_and(|kept| kept != digest) {
                self.level_differs.get_or_insert((u32::try_from(level).unwrap_or(LEVELS_MAX), place));
            }
        }
        self.peaks.push((leaves, digest));
    }

    fn root(&self) -> Digest {
        let mut right_first = self.peaks.iter().rev().map(|(_, digest)| *digest);
        match right_first.next() {
            None => self.suite.digest(&[]),
            Some(last) => right_first.fold(last, |right, left| node(self.suite, &left, &right)),
        }
    }

    fn meet(&mut self, checkpoint: &Head, held: Option<&Held>) {
        if checkpoint.size == self.size {
            self.at_checkpoint = Some(self.root());
        }
        if let Some(held) = held {
            if held.root == self.root() {
                self.passed = self.passed.saturating_add(1);
            } else {
                self.missed.get_or_insert(self.size);
            }
        }
    }
}

/// What a pass over a ledger found.
pub(crate) struct Audit {
    /// One tree for each suite that was tried.
    pub(crate) trees: Vec<Tree>,
    /// Records.
    pub(crate) size: u64,
    /// Leaves that the tree on disk held before the pass began.
    pub(crate) leaves: u64,
    /// Records that the ledger itself reports as lost.
    pub(crate) reported: u64,
    /// Records of the log before that it does, after a restore that found them lost.
    pub(crate) reported_before: u64,
    /// The head that its first record names: of the log before.
    begun: Option<Head>,
    /// Times of the first and last record.
    pub(crate) first_at: Option<Timestamp>,
    pub(crate) last_at: Option<Timestamp>,
}

impl Audit {
    /// The tree whose root is the checkpoint's: its suite is the ledger's.
    pub(crate) fn fits(&self, checkpoint: &Head) -> Option<&Tree> {
        self.trees.iter().find(|tree| tree.at_checkpoint == Some(checkpoint.root))
    }

    /// Reads all of it.
    pub(crate) fn of(
        dir: &Path,
        suites: &[Suite],
        checkpoint: &Head,
        heads: &BTreeMap<u64, Held>,
        bar: &indicatif::ProgressBar,
    ) -> Result<Audit, LedgerError> {
        // Before the records: a node at work writes them first.
        let trees: Vec<Tree> = suites.iter().map(|suite| Tree::new(dir, *suite)).collect();
        let leaves = trees.first().and_then(|tree| tree.levels.first()).map_or(0, |level| level.digests);
        let mut audit = Audit {
            trees,
            size: 0,
            leaves,
            reported: 0,
            reported_before: 0,
            begun: None,
            first_at: None,
            last_at: None,
        };
        let mut heads = heads.iter().peekable();
        let mut meet = |trees: &mut [Tree], size: u64| {
            let held = heads.next_if(|(at, _)| **at == size).map(|(_, held)| held);
            trees.iter_mut().for_each(|tree| tree.meet(checkpoint, held));
        };
        meet(&mut audit.trees, 0);
        audit.size = walk(dir, bar, &mut |index, stored, aside| {
            for tree in &mut audit.trees {
                tree.push(index, stored.as_ref(), aside);
            }
            meet(&mut audit.trees, index.saturating_add(1));
            if let Some(record) = stored.map(|stored| stored.record) {
                if index == 0 {
                    audit.begun = record.head.filter(|_| record.event == Event::LogBegun);
                }
                audit.first_at = audit.first_at.or(Some(record.at));
                audit.last_at = Some(record.at);
                if record.event == Event::LedgerDamaged
                    && let Some((from, to)) = record.sequence.zip(record.through)
                {
                    let many = to.saturating_sub(from).saturating_add(1);
                    if record.head.is_none() {
                        audit.reported = audit.reported.saturating_add(many);
                    } else if record.head == audit.begun {
                        audit.reported_before = audit.reported_before.saturating_add(many);
                    }
                }
            }
            Ok(())
        })?;
        Ok(audit)
    }
}

/// Is this the digest of a record, in either suite?
pub(crate) fn is_leaf(digest: &Digest, record: &[u8]) -> bool {
    Suite::ALL.into_iter().any(|suite| *digest == leaf(suite, record))
}

type OnRecord<'a> = dyn FnMut(u64, Option<Stored>, bool) -> Result<(), LedgerError> + 'a;

/// Every record in order, and whether its segment was set aside; `None` for one that cannot be read. Gives how many
/// there are.
pub(crate) fn walk(dir: &Path, bar: &indicatif::ProgressBar, each: &mut OnRecord<'_>) -> Result<u64, LedgerError> {
    let read = |path: &Path, cause: io::Error| LedgerError::Read { path: path.to_owned(), cause };
    let broken = |path: &PathBuf, cause: String| LedgerError::Broken { path: path.clone(), cause };
    let segments = segment::list(dir).map_err(|cause| read(dir, cause))?;
    if segments.is_empty() {
        return Err(LedgerError::NoLedger { path: dir.to_owned() });
    }
    let kept = KeptLeaves::of(dir);
    let is_at = |place: u64, record: &[u8]| kept.leaf(place).is_some_and(|leaf| is_leaf(&leaf, record));
    let mut next = 0_u64;
    let last = segments.len().saturating_sub(1);
    for (at, segment) in segments.iter().enumerate() {
        if segment.first < next {
            return Err(broken(&segment.path, format!("it starts at record {}, where {next} is due", segment.first)));
        }
        if segment.first.saturating_sub(next) > HOLE_RECORDS_MAX {
            return Err(broken(&segment.path, format!("records {next} to {} are not there", segment.first)));
        }
        // A damaged end before this segment: its records are lost, their leaves may be kept.
        while next < segment.first {
            each(next, None, true)?;
            next = next.saturating_add(1);
        }
        let aside = segment.health != Health::Sound;
        let bytes = segment::load(&segment.path).map_err(|cause| read(&segment.path, cause))?;
        for found in Frames::new(&bytes, segment.first).known_by(&is_at) {
            match found {
                Found::Record(stored) => {
                    each(stored.index, Some(*stored), aside)?;
                    next = next.saturating_add(1);
                }
                Found::Unreadable { index } => {
                    each(index, None, aside)?;
                    next = next.saturating_add(1);
                }
                // A torn tail of the newest segment is a write that never was acknowledged.
                Found::Broken { .. } if at == last => {}
                Found::Broken { index, sound }
                    if segments.get(at.saturating_add(1)).is_none_or(|after| after.first < index) =>
                {
                    return Err(broken(
                        &segment.path,
                        format!("after {sound} bytes nothing can be read, at record {index}"),
                    ));
                }
                Found::Broken { .. } => {}
            }
        }
        bar.inc(bytes.len() as u64);
    }
    Ok(next)
}
