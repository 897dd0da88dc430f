//! Cuts what waits in the outbox into blocks. A block is cut once and keeps its pieces and shape for life.
//!
//! ```text
//! lane urgent | e1 |            many small entries share a block; of large ones each block takes a part, in turn,
//! lane normal | e2 | e3 ...     so that none waits for another; a range whose block died with another entry goes
//! lane bulk   | e4 (1 GB) |     to the lane "again", behind everything that was never sent
//! ```

use std::collections::{HashMap, VecDeque};

use super::BlockId;
use super::block::{self, Kind, PIECE_BYTES, PIECES_MAX, Piece};
use super::gap::Ranges;
use super::geometry::Geometry;
use super::octets::Octets;
use crate::id::BundleId;
use crate::parcel::Priority;

/// An entry of the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its id.
    pub id: BundleId,
    /// What it is.
    pub kind: Kind,
    /// How urgent.
    pub priority: Priority,
    /// Its numbers on the crossing.
    pub epoch: u64,
    /// See `epoch`.
    pub sequence: u64,
    /// Its size.
    pub bytes: u64,
}

/// Where a block stands in line. Ordered: the first goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// First round, urgent.
    Urgent,
    /// First round, normal.
    Normal,
    /// First round, bulk.
    Bulk,
    /// Further rounds, and ranges cut anew.
    Again,
}

impl Lane {
    /// All, first to last.
    pub const ALL: [Lane; 4] = [Lane::Urgent, Lane::Normal, Lane::Bulk, Lane::Again];
}

impl From<Priority> for Lane {
    fn from(priority: Priority) -> Lane {
        match priority {
            Priority::Urgent => Lane::Urgent,
            Priority::Normal => Lane::Normal,
            Priority::Bulk => Lane::Bulk,
        }
    }
}

/// A cut block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Its name.
    pub id: BlockId,
    /// Its shape.
    pub geometry: Geometry,
    /// What it carries.
    pub pieces: Vec<Piece>,
}

impl Plan {
    /// Bytes that [`Plan::parse`] reads back: for a sender that wants its blocks again after a restart.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(18 + self.pieces.len() * PIECE_BYTES);
        out.extend_from_slice(&self.id.epoch.to_be_bytes());
        out.extend_from_slice(&self.id.number.to_be_bytes());
        out.extend_from_slice(&self.geometry.block_bytes.to_be_bytes());
        for number in [self.geometry.source, self.geometry.recovery, self.geometry.symbol_bytes] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        self.pieces.iter().for_each(|piece| piece.write(&mut out));
        out
    }

    /// Reads a plan that was kept.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Plan> {
        let mut octets = Octets::new(bytes);
        let id = BlockId { epoch: octets.u32()?, number: octets.u32()? };
        let (block_bytes, source, recovery, symbol_bytes) =
            (octets.u32()?, octets.u16()?, octets.u16()?, octets.u16()?);
        let geometry = Geometry::checked(source, recovery, symbol_bytes, block_bytes).ok()?;
        let pieces = octets.rest().chunks(PIECE_BYTES).map(Piece::parse).collect::<Option<Vec<_>>>()?;
        let content = pieces.iter().map(|piece| u64::from(piece.length)).sum();
        let fits = !pieces.is_empty()
            && pieces.len() <= PIECES_MAX
            && block::bytes_for(pieces.len(), content) == u64::from(block_bytes);
        fits.then_some(Plan { id, geometry, pieces })
    }
}

#[derive(Clone, Copy, Debug)]
struct Range {
    entry: BundleId,
    /// Which stay of the entry in the outbox this range is of.
    stay: u64,
    from: u64,
    to: u64,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    waiting: Waiting,
    stay: u64,
}

/// What still has to be cut, and how.
#[derive(Debug)]
pub struct Planner {
    epoch: u32,
    number: u32,
    block_bytes: u32,
    symbol_bytes: u16,
    repair_percent: u16,
    entries: HashMap<BundleId, Known>,
    stays: u64,
    lanes: [VecDeque<Range>; 4],
}

impl Planner {
    /// Blocks of at most `block_bytes`, cut in link epoch `epoch`.
    #[must_use]
    pub fn new(epoch: u32, block_bytes: u32, symbol_bytes: u16, repair_percent: u16) -> Planner {
        let floor = u32::from(symbol_bytes) * 4;
        let block_bytes = block_bytes.clamp(floor, super::geometry::BLOCK_BYTES_MAX);
        Planner {
            epoch,
            number: 0,
            block_bytes,
            symbol_bytes,
            repair_percent,
            entries: HashMap::new(),
            stays: 0,
            lanes: Default::default(),
        }
    }

    /// An entry to send, except for ranges that blocks from before carry already.
    pub fn add(&mut self, entry: Waiting, carried: &Ranges) {
        if self.entries.contains_key(&entry.id) {
            return;
        }
        let stay = self.stays;
        self.stays += 1;
        self.entries.insert(entry.id, Known { waiting: entry, stay });
        // An entry of no bytes still travels: as a piece of length 0, or it would be missing for ever.
        let ranges = if entry.bytes == 0 { vec![(0, 0)] } else { carried.missing(0, entry.bytes) };
        let queue = self.lane(Lane::from(entry.priority));
        queue.extend(ranges.into_iter().map(|(from, to)| Range { entry: entry.id, stay, from, to }));
    }

    /// A range whose block is gone has to be cut again.
    pub fn again(&mut self, piece: &Piece) {
        let Some(stay) = self.entries.get(&piece.entry).map(|known| known.stay) else { return };
        self.lane(Lane::Again).push_back(Range { entry: piece.entry, stay, from: piece.offset, to: piece.end() });
    }

    /// The entry left the outbox. Its ranges are passed over when their turn comes, also where it is back by then: what
    /// comes back is cut from its first byte.
    pub fn remove(&mut self, id: &BundleId) {
        self.entries.remove(id);
    }

    /// The entry, while it is in the outbox.
    #[must_use]
    pub fn entry(&self, id: &BundleId) -> Option<&Waiting> {
        self.entries.get(id).map(|known| &known.waiting)
    }

    /// All entries.
    pub fn entries(&self) -> impl Iterator<Item = &Waiting> {
        self.entries.values().map(|known| &known.waiting)
    }

    /// Does anything wait in this lane?
    pub fn waits(&mut self, lane: Lane) -> bool {
        self.drop_departed(lane);
        !self.lane(lane).is_empty()
    }

    /// Cuts the next block of a lane.
    pub fn cut(&mut self, lane: Lane) -> Option<Plan> {
        let mut pieces = Vec::new();
        let mut content = 0_u64;
        let mut rest = Vec::new();
        loop {
            self.drop_departed(lane);
            let crowded = self.lane(lane).len() > 1;
            let used = block::bytes_for(pieces.len() + 1, content);
            let Some(room) = u64::from(self.block_bytes).checked_sub(used).filter(|room| *room > 0) else { break };
            if pieces.len() >= PIECES_MAX {
                break;
            }
            let Some(range) = self.lane(lane).pop_front() else { break };
            let Some(entry) = self.entries.get(&range.entry).filter(|known| known.stay == range.stay) else { continue };
            let entry = entry.waiting;
            // Where others wait, a large entry takes half of what is left: neither starves the other.
            let share = if crowded { (room / 2).max(u64::from(self.symbol_bytes)).min(room) } else { room };
            let whole = range.to - range.from;
            let length = if whole <= room { whole } else { share };
            pieces.push(piece_of(&entry, range.from, length));
            content += length;
            if length < whole {
                rest.push(Range { from: range.from + length, ..range });
            }
        }
        self.lane(lane).extend(rest);
        self.name(pieces, content)
    }

    fn name(&mut self, pieces: Vec<Piece>, content: u64) -> Option<Plan> {
        if pieces.is_empty() {
            return None;
        }
        let bytes = u32::try_from(block::bytes_for(pieces.len(), content)).ok()?;
        let geometry = Geometry::of_block(bytes, self.symbol_bytes, self.repair_percent).ok()?;
        let id = BlockId { epoch: self.epoch, number: self.number };
        self.number = self.number.checked_add(1).expect("four billion blocks of one start are a century");
        Some(Plan { id, geometry, pieces })
    }

    fn drop_departed(&mut self, lane: Lane) {
        let Planner { entries, lanes, .. } = self;
        if let Some(queue) = lanes.get_mut(lane as usize) {
            let stays = |range: &Range| entries.get(&range.entry).is_some_and(|known| known.stay == range.stay);
            while queue.front().is_some_and(|range| !stays(range)) {
                queue.pop_front();
            }
        }
    }

    fn lane(&mut self, lane: Lane) -> &mut VecDeque<Range> {
        let [urgent, normal, bulk, again] = &mut self.lanes;
        match lane {
            Lane::Urgent => urgent,
            Lane::Normal => normal,
            Lane::Bulk => bulk,
            Lane::Again => again,
        }
    }
}

fn piece_of(entry: &Waiting, offset: u64, length: u64) -> Piece {
    Piece {
        entry: entry.id,
        kind: entry.kind,
        epoch: entry.epoch,
        sequence: entry.sequence,
        entry_bytes: entry.bytes,
        offset,
        length: u32::try_from(length).expect("a piece is shorter than a block"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::der_types::Octets as Id;

    fn waiting(n: u8, bytes: u64) -> Waiting {
        Waiting { id: Id([n; 16]), kind: Kind::Bundle, priority: Priority::Normal, epoch: 1, sequence: n.into(), bytes }
    }

    #[test]
    fn small_entries_share_a_block_and_large_ones_take_turns() {
        let mut planner = Planner::new(1, 1 << 20, 1_408, 15);
        planner.add(waiting(1, 5 << 20), &Ranges::default());
        planner.add(waiting(2, 10_000), &Ranges::default());
        planner.add(waiting(3, 5 << 20), &Ranges::default());
        planner.add(waiting(4, 0), &Ranges::default());
        let mut seen: HashMap<BundleId, Ranges> = HashMap::new();
        let first = planner.cut(Lane::Normal).unwrap();
        assert_eq!(first.pieces.len(), 4, "everyone has a place in the first block: {first:?}");
        let mut plans = vec![first];
        plans.extend(std::iter::from_fn(|| planner.cut(Lane::Normal)));
        for plan in &plans {
            assert!(plan.geometry.block_bytes <= 1 << 20);
            assert_eq!(Plan::parse(&plan.to_bytes()).as_ref(), Some(plan));
            for piece in &plan.pieces {
                seen.entry(piece.entry).or_default().insert(piece.offset, piece.end());
            }
        }
        assert!(seen[&Id([1; 16])].covers(0, 5 << 20) && seen[&Id([3; 16])].covers(0, 5 << 20));
        assert!(plans.len() <= 12, "{}", plans.len());
    }

    #[test]
    fn what_left_the_outbox_is_not_cut_and_what_was_carried_is_not_cut_twice() {
        let mut planner = Planner::new(1, 1 << 20, 1_408, 15);
        let mut carried = Ranges::default();
        carried.insert(1_000, 5_000);
        planner.add(waiting(1, 6_000), &carried);
        planner.add(waiting(2, 6_000), &Ranges::default());
        planner.remove(&Id([2; 16]));
        let plan = planner.cut(Lane::Normal).unwrap();
        let ranges: Vec<_> = plan.pieces.iter().map(|p| (p.offset, p.length)).collect();
        assert_eq!(ranges, [(0, 1_000), (5_000, 1_000)]);
        assert_eq!(planner.cut(Lane::Normal), None);
    }

    #[test]
    fn what_left_the_outbox_and_came_back_is_cut_once() {
        let mut planner = Planner::new(1, 1 << 20, 1_408, 15);
        planner.add(waiting(1, 6_000), &Ranges::default());
        planner.add(waiting(2, 6_000), &Ranges::default());
        let shared = planner.cut(Lane::Normal).unwrap();
        // The block died with the first entry; then the second was asked for again before its range was cut anew.
        planner.remove(&Id([1; 16]));
        planner.again(&shared.pieces[1]);
        planner.remove(&Id([2; 16]));
        for n in [1, 2] {
            planner.add(waiting(n, 6_000), &Ranges::default());
        }
        let plan = planner.cut(Lane::Normal).unwrap();
        assert_eq!(plan.pieces.iter().map(|piece| piece.sequence).collect::<Vec<_>>(), [1, 2]);
        assert!(!planner.waits(Lane::Again), "its second time is nobody's");
    }
}
