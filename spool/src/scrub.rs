//! The background scrub: compares every record with its leaf and every digest of the tree with the two below it, a
//! bounded step at a time, from the first record to the last and then again.
//!
//! A record that is not what its leaf says is damage: its segment is set aside, a new one begins, the loss is recorded.
//! A digest of the tree that disagrees with whole records below it is written anew from them. Dying anywhere is safe: a
//! segment that was set aside and not yet reported is reported by the next start, and a digest is written in place with
//! what it had before the disk spoiled it. Where the disk takes none there, the next start is asked for another tree.

use std::fs::File;
use std::io;

use protocol::Timestamp;
use protocol::ledger;
use protocol::receipt::{Head, Range};
use protocol::suite::Digest;
use protocol::tree;

use crate::carried::reports;
use crate::disk::is_unreadable;
use crate::ledger::{Damage, Ledger};
use crate::levels::Levels;
use crate::ranges::Ranges;
use crate::segment::{self, Found, Frames, Health, Segment};
use crate::spool::{SpoolError, locked};

/// Bytes read at once: some thousand records, and always more than the largest one.
const WINDOW_BYTES: usize = 1 << 20;

/// A disk that reads nothing for a while, because a cable or a path to it is away, has lost nothing: what cannot be read is
/// damage only when it still cannot after this.
pub const UNREAD_MS: u64 = 10 * 60 * 1000;

/// How far the scrub is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The next record to be compared.
    pub next: u64,
    /// Where this pass ends.
    pub of: u64,
    /// Passes that ended.
    pub passes: u64,
    /// When the last one did.
    pub ended: Option<Timestamp>,
    /// Records found damaged by this process.
    pub damaged: u64,
    /// Digests of the tree written anew by this process.
    pub mended: u64,
    /// The tree on disk does not have the root of the ledger, or a bad sector cannot be written over: the next start begins
    /// it anew.
    pub unsound: bool,
}

/// The leaf of every record in a row that can be read, with the segment it lies in.
type Leaves = Vec<(Option<Digest>, Segment)>;

/// Where the next step goes on.
#[derive(Default)]
pub(crate) struct Scrub {
    pub(crate) progress: Progress,
    /// The root that the tree must have at the end of this pass.
    root: Digest,
    /// The segment and byte where the next record begins.
    place: Option<(u64, u64)>,
    /// What cannot be read of segments that were set aside before.
    rotten: Ranges,
    /// What the ledger says is lost.
    reported: Ranges,
    /// Since when the next records cannot be read.
    unread: Option<Timestamp>,
}

/// What one step found.
#[derive(Debug, Default)]
pub(crate) struct Step {
    /// Segments in use that hold records which are not what they were.
    pub(crate) damaged: Vec<Segment>,
    /// Records of segments that were set aside before, lost since, and not reported.
    pub(crate) unreported: Vec<Range>,
}

impl Scrub {
    /// Compares the next records, or none where they cannot be read just now. Nothing is set aside here.
    pub(crate) fn step(&mut self, ledger: &Ledger, now: Timestamp) -> Result<Step, SpoolError> {
        let at = |source| SpoolError::disk(&ledger.dir, source);
        if self.progress.next >= self.progress.of {
            let head = ledger.head();
            locked(&ledger.writer).levels.try_again();
            (self.progress.next, self.progress.of, self.root, self.place) = (0, head.size, head.root, None);
            self.rotten = Ranges::default();
        }
        let from = self.progress.next;
        let to = self.progress.of.min(((from >> ledger.sizes.scrub_level) + 1) << ledger.sizes.scrub_level);
        let mut step = Step::default();
        let (read, lost) = self.read(ledger, from, to).map_err(at)?;
        let mut writer = locked(&ledger.writer);
        let (kept, unread) = writer.levels.read_each(0, from, to - from);
        if (lost || unread) && now.since(*self.unread.get_or_insert(now)) < UNREAD_MS {
            self.place = None;
            return Ok(step);
        }
        self.unread = None;
        let (mut leaves, mut bad) = (Vec::new(), Ranges::default());
        for (index, (found, segment)) in (from..to).zip(&read) {
            let place = usize::try_from(index - from).unwrap_or(usize::MAX);
            let kept = kept.get(place).copied().flatten();
            let sibling = usize::try_from((index ^ 1).wrapping_sub(from)).unwrap_or(usize::MAX);
            let sibling = read.get(sibling).and_then(|(found, _)| *found);
            let right = match *found {
                Some(found) if kept == Some(found) => Right::Leaf(found),
                Some(found) => is_right(&writer.levels, ledger, index, found, sibling),
                None => Right::Wrong,
            };
            let leaf = match right {
                Right::Leaf(leaf) => leaf,
                Right::Record(leaf) => {
                    self.progress.mended += u64::from(writer.levels.mend(0, index, leaf).map_err(at)?);
                    leaf
                }
                // A record is not taken for lost because the tree cannot be read: one that is made anew says more.
                Right::Unread(leaf) if kept.is_none() => {
                    writer.levels.is_beyond_mending();
                    leaf
                }
                Right::Unread(_) | Right::Wrong => {
                    bad.insert(index, index);
                    match segment.health {
                        Health::Sealed => drop(self.rotten.insert(index, index)),
                        _ if step.damaged.contains(segment) => {}
                        _ => step.damaged.push(segment.clone()),
                    }
                    kept.unwrap_or_default()
                }
            };
            leaves.push(leaf);
        }
        self.progress.mended += mend(&mut writer.levels, ledger, from, to, leaves, &bad).map_err(at)?;
        self.progress.next = to;
        if to == self.progress.of {
            self.progress.passes += 1;
            self.progress.ended = Some(now);
            let stands = writer.levels.root_at(to).is_ok_and(|root| root == self.root) && !writer.levels.is_stubborn();
            self.progress.unsound = to > 0 && !stands;
            // Where the disk refuses the mark the next pass asks again.
            let levels = &writer.levels;
            let _noted = if self.progress.unsound { levels.ask_for_new() } else { levels.forget_asking() };
            for range in self.rotten.iter() {
                step.unreported.extend(self.reported.missing(range.from, range.to));
            }
        }
        Ok(step)
    }

    /// The ledger says from now on that these are lost.
    pub(crate) fn reported(&mut self, records: &[Range]) {
        for range in records {
            self.reported.insert(range.from, range.to);
            self.progress.damaged += range.to.saturating_sub(range.from).saturating_add(1);
        }
    }

    /// The leaf of every record that can be read, with the segment it lies in.
    fn read(&mut self, ledger: &Ledger, from: u64, to: u64) -> io::Result<(Leaves, bool)> {
        let mut unread = false;
        let segments = segment::list(&ledger.dir)?;
        let mut leaves = Leaves::new();
        let mut index = from;
        while index < to {
            let place = segments.partition_point(|one| one.first <= index);
            let Some(one) = place.checked_sub(1).and_then(|place| segments.get(place)) else {
                return Err(io::ErrorKind::NotFound.into());
            };
            let end = segments.get(place).map_or(to, |next| next.first).min(to);
            let known = self.place.filter(|(first, _)| *first == one.first && index == from).map(|(_, byte)| byte);
            let file = File::open(&one.path)?;
            let mut byte = known.unwrap_or(0);
            // From the start of the segment where the place is not known: after a start of the daemon, once.
            let mut at = if known.is_some() || index == one.first { index } else { one.first };
            let is_at = |place: u64, record: &[u8]| ledger.is_at(place, record);
            while at < end {
                let (bytes, lost) = segment::read_from(&ledger.disk, &file, byte, WINDOW_BYTES)?;
                // What was set aside for it is not waited for again.
                unread |= lost && one.health == Health::Sound;
                let last = bytes.len() < WINDOW_BYTES;
                let frames = if byte == 0 { Frames::new(&bytes, one.first) } else { Frames::amid(&bytes, at) };
                let mut frames = frames.known_by(&is_at);
                let before = at;
                let mut used = 0;
                while at < end
                    && let Some(found) = frames.next()
                {
                    let leaf = match found {
                        Found::Record(stored) => {
                            if let Some(range) = reports(&stored.record) {
                                self.reported.insert(range.from, range.to);
                            }
                            Some(ledger::leaf(ledger.suite, &stored.bytes))
                        }
                        Found::Unreadable { .. } => None,
                        // The window may have cut a record: the next one begins with it.
                        Found::Broken { .. } => break,
                    };
                    used = frames.position();
                    if at >= index {
                        leaves.push((leaf, one.clone()));
                    }
                    at += 1;
                }
                byte += used as u64;
                if at == before || (last && at < end) {
                    // From here to the end of the segment nothing can be read.
                    leaves.extend((at.max(index)..end).map(|_| (None, one.clone())));
                    at = end;
                    byte = 0;
                }
            }
            index = end;
            self.place = (byte > 0).then_some((one.first, byte));
        }
        Ok((leaves, unread))
    }
}

/// What is right of a record and its leaf.
enum Right {
    /// Both: they are the same.
    Leaf(Digest),
    /// The record, by the digest above, which has this leaf.
    Record(Digest),
    /// Nobody knows: the tree cannot be read there. The record has this leaf.
    Unread(Digest),
    /// Not the record.
    Wrong,
}

/// Record and leaf differ: does the digest above them say that the record is right?
fn is_right(levels: &Levels, ledger: &Ledger, index: u64, found: Digest, sibling: Option<Digest>) -> Right {
    let said = |is_so: bool| if is_so { Right::Record(found) } else { Right::Wrong };
    let not_said = |error: &io::Error| if is_unreadable(error) { Right::Unread(found) } else { Right::Wrong };
    if index | 1 >= levels.size() {
        // The last leaf has no digest above it; what this process computed when it was recorded is in memory.
        return said(levels.newest(0) == Some(found));
    }
    let above = match levels.read(1, index / 2) {
        Ok(above) => above,
        Err(error) => return not_said(&error),
    };
    let fits = |sibling: Digest| {
        let (left, right) = if index & 1 == 0 { (found, sibling) } else { (sibling, found) };
        above == tree::node(ledger.suite, &left, &right)
    };
    if sibling.is_some_and(fits) {
        return Right::Record(found);
    }
    levels.read(0, index ^ 1).map_or_else(|error| not_said(&error), |sibling| said(fits(sibling)))
}

/// Holds every digest above these leaves, as far as it is complete, against the two below it.
fn mend(
    levels: &mut Levels,
    ledger: &Ledger,
    from: u64,
    to: u64,
    mut below: Vec<Digest>,
    bad: &Ranges,
) -> io::Result<u64> {
    let mut mended = 0;
    for level in 1..=ledger.sizes.scrub_level {
        let first = from >> level;
        let pairs: Vec<Digest> =
            below.as_chunks().0.iter().map(|[left, right]| tree::node(ledger.suite, left, right)).collect();
        let kept = levels.read_many(level, first, pairs.len() as u64).unwrap_or_default();
        for (index, (at, digest)) in (first..).zip(pairs.iter().enumerate()) {
            // Below a record that is lost the leaf cannot be checked: then the digest above it is what is left.
            let span = Range { from: index << level, to: ((index + 1) << level) - 1 };
            let whole = bad.missing(span.from, span.to) == [span];
            if kept.get(at) != Some(digest) && whole {
                mended += u64::from(levels.mend(level, index, *digest)?);
            }
        }
        below = pairs;
    }
    // Above one step's worth of records: a digest is due when its last one was compared.
    let mut level = ledger.sizes.scrub_level + 1;
    while to.is_multiple_of(1 << level) && to > from {
        let index = (to >> level) - 1;
        let pair = levels.read_many(level - 1, index * 2, 2).unwrap_or_default();
        if let [left, right] = pair[..] {
            let digest = tree::node(ledger.suite, &left, &right);
            if levels.read(level, index).ok() != Some(digest) {
                mended += u64::from(levels.mend(level, index, digest)?);
            }
        }
        level += 1;
    }
    Ok(mended)
}

/// Every record that cannot be read or is not what its leaf says, reported or not.
pub(crate) fn whole(ledger: &Ledger) -> Result<(Vec<Range>, Head), SpoolError> {
    let head = ledger.head();
    let mut good = Ranges::default();
    ledger.read_from(0, &mut |stored| {
        if ledger.is_leaf(&stored) {
            good.insert(stored.index, stored.index);
        }
        Ok(std::ops::ControlFlow::Continue(()))
    })?;
    Ok((if head.size == 0 { Vec::new() } else { good.missing(0, head.size - 1) }, head))
}

/// What cannot be read of one segment that was set aside.
pub(crate) fn damage_of(ledger: &Ledger, one: &Segment) -> Result<Damage, SpoolError> {
    let at = |source| SpoolError::disk(&one.path, source);
    let segments = segment::list(&ledger.dir).map_err(at)?;
    let end = segments.iter().map(|next| next.first).find(|first| *first > one.first);
    let end = end.unwrap_or_else(|| ledger.head().size);
    let mut good = Ranges::default();
    let is_at = |place: u64, record: &[u8]| ledger.is_at(place, record);
    for found in Frames::new(&segment::load_by(&ledger.disk, &one.path).map_err(at)?.0, one.first).known_by(&is_at) {
        if let Found::Record(stored) = found
            && ledger.is_leaf(&stored)
        {
            good.insert(stored.index, stored.index);
        }
    }
    let records = if end > one.first { good.missing(one.first, end - 1) } else { Vec::new() };
    Ok(Damage { segment: one.clone(), records })
}
