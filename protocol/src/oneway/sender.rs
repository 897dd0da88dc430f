//! The sending end: which block, which symbol, which round. Told the time and the outbox, it answers with frames.
//!
//! ```text
//! set_outbox -> wants() -> [driver reads the pieces] -> supply() -> next_frame() … left() -> round done -> due again later
//! round 1: source symbols and the first recovery symbols; round 2: the recovery symbols not sent yet;
//! then whole rounds, each twice as late as the one before, behind everything that was never sent.
//! ```
//! It never learns what arrived. An entry leaves when the station takes it out of the outbox; a block that loses an
//! entry can no longer be built, so it is retired and the ranges of its other entries are cut into a new one.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::beacon::{self, BeaconError, Pulse};
use super::block::{self, Piece};
use super::code::{CodeError, Encoder};
use super::frame::Header;
use super::gap::Ranges;
use super::plan::{Lane, Plan, Planner, Waiting};
use super::{BlockId, Moment};
use crate::aead::Aead;
use crate::id::BundleId;
use crate::suite::Suite;
use crate::zone::Crossing;

/// A beacon a second tells the receiver that the link lives; more would only fill the wire.
pub const BEACON_EVERY: Moment = Moment::from_secs(1);
/// A fresh start introduces itself more often at first: without a beacon every frame is dropped at the other end.
const FIRST_BEACONS: u32 = 10;
const FIRST_BEACON_EVERY: Moment = Moment::from_millis(100);
/// Blocks that may be in the air beyond the interleave when something urgent comes.
const URGENT_EXTRA: usize = 2;
/// Memory of blocks that is kept for the next ones: two end in one batch at most, but for short ones.
const EMPTIED_MAX: usize = 2;
/// Doubling stops here whatever the setting says, so that no shift overflows.
const DOUBLINGS_MAX: u32 = 16;

/// The sender's numbers.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// Bytes of a block at most, 1-4 MiB.
    pub block_bytes: u32,
    /// Bytes of a symbol, from [`super::geometry::symbol_bytes_for`].
    pub symbol_bytes: u16,
    /// Recovery symbols that exist, in percent of K.
    pub repair_percent: u16,
    /// How many of them, in percent of K, go with the first round.
    pub repair_first_percent: u16,
    /// Blocks in the air at once, their symbols interleaved.
    pub interleave: usize,
    /// Between the first round and the second.
    pub round_every: Moment,
    /// The gap between rounds doubles up to this.
    pub round_every_max: Moment,
}

/// Something the driver may want to keep or show.
#[derive(Clone, Debug)]
pub enum Note {
    /// A block was cut; a driver that keeps plans keeps this one.
    Cut(Arc<Plan>),
    /// A round of a block is out.
    Round {
        /// Which block.
        block: BlockId,
        /// Rounds it has had.
        sent: u32,
    },
    /// All of an entry has been out so many times.
    EntryRound {
        /// Which entry.
        entry: BundleId,
        /// Rounds that every range of it has had.
        rounds: u32,
    },
    /// The block will not be sent again.
    Retired(BlockId),
}

struct Kept {
    plan: Arc<Plan>,
    /// Rounds of this block.
    sent: u32,
    /// Rounds its ranges had in blocks before it.
    before: u32,
    due: Moment,
    /// A frame of this round did not leave the machine: the round does not count.
    void: bool,
}

/// A frame that was given out; nobody has said yet whether it left.
struct Given {
    block: BlockId,
    /// It ends its block's round.
    last: bool,
}

/// What became of an entry so far.
#[derive(Default)]
struct Course {
    blocks: BTreeSet<BlockId>,
    /// Bytes of it that stand in those blocks.
    cut_bytes: u64,
    rounds: u32,
}

struct Airborne {
    header: Header,
    lane: Lane,
    source: Vec<u8>,
    recovery: Vec<u8>,
    next: u32,
    end: u32,
}

/// The sender of one crossing in one link epoch.
pub struct Sender {
    tuning: Tuning,
    crossing: Crossing,
    suite: Suite,
    epoch: u32,
    introduction: Vec<u8>,
    key: Aead,
    sequence: u64,
    planner: Planner,
    blocks: HashMap<BlockId, Kept>,
    courses: HashMap<BundleId, Course>,
    schedule: BTreeSet<(Moment, BlockId)>,
    loading: HashMap<BlockId, Lane>,
    air: VecDeque<Airborne>,
    /// As many as the driver puts into one batch, in the order they were given out.
    given: VecDeque<Given>,
    /// Memory of blocks whose round is over.
    emptied: Vec<Vec<u8>>,
    picks: u32,
    encoder: Encoder,
    notes: VecDeque<Note>,
    beacon_due: Moment,
    beacons: u32,
}

impl Sender {
    /// A fresh start. `introduction` is the signed one of this epoch, `key` the key it wraps.
    #[must_use]
    pub fn new(
        tuning: Tuning,
        (crossing, suite, epoch): (Crossing, Suite, u32),
        introduction: Vec<u8>,
        key: Aead,
        now: Moment,
    ) -> Sender {
        Sender {
            tuning,
            crossing,
            suite,
            epoch,
            introduction,
            key,
            sequence: 0,
            planner: Planner::new(epoch, tuning.block_bytes, tuning.symbol_bytes, tuning.repair_percent),
            blocks: HashMap::new(),
            courses: HashMap::new(),
            schedule: BTreeSet::new(),
            loading: HashMap::new(),
            air: VecDeque::new(),
            given: VecDeque::new(),
            emptied: Vec::new(),
            picks: 0,
            encoder: Encoder::default(),
            notes: VecDeque::new(),
            beacon_due: now,
            beacons: 0,
        }
    }

    /// Takes back blocks of an earlier start whose entries are all still in the outbox; says how many. Call it before
    /// the first [`Sender::set_outbox`]. Each keeps the rounds it had; one that had none is due at once. One whose
    /// symbols are larger than ours was cut for a wider wire, and this one would refuse it for ever: it is cut anew.
    pub fn restore(&mut self, now: Moment, outbox: &[Waiting], plans: Vec<(Plan, u32)>) -> usize {
        let live: HashMap<BundleId, &Waiting> = outbox.iter().map(|entry| (entry.id, entry)).collect();
        let mut carried: HashMap<BundleId, Ranges> = HashMap::new();
        let mut taken = 0;
        for (plan, sent) in plans {
            let fits = |piece: &Piece| {
                live.get(&piece.entry).is_some_and(|entry| {
                    (entry.bytes, entry.kind, entry.epoch, entry.sequence)
                        == (piece.entry_bytes, piece.kind, piece.epoch, piece.sequence)
                })
            };
            let named_well = plan.id.epoch < self.epoch && !self.blocks.contains_key(&plan.id);
            let too_wide = plan.geometry.symbol_bytes > self.tuning.symbol_bytes;
            if !named_well || too_wide || !plan.pieces.iter().all(fits) {
                self.notes.push_back(Note::Retired(plan.id));
                continue;
            }
            for piece in &plan.pieces {
                carried.entry(piece.entry).or_default().insert(piece.offset, piece.end());
            }
            let due = if sent == 0 { now } else { now + self.tuning.round_every };
            self.keep(Arc::new(plan), sent, 0, due);
            taken += 1;
        }
        for entry in outbox {
            self.planner.add(*entry, &carried.remove(&entry.id).unwrap_or_default());
            self.count_rounds(entry.id);
        }
        taken
    }

    /// What stands in the outbox now: new entries are cut when there is room, departed ones are forgotten.
    pub fn set_outbox(&mut self, outbox: &[Waiting]) {
        let live: HashSet<BundleId> = outbox.iter().map(|entry| entry.id).collect();
        let departed: Vec<BundleId> = self.planner.entries().map(|e| e.id).filter(|id| !live.contains(id)).collect();
        departed.iter().for_each(|id| self.planner.remove(id));
        let gone: Vec<Course> = departed.iter().filter_map(|id| self.courses.remove(id)).collect();
        let retired: BTreeSet<BlockId> = gone.into_iter().flat_map(|course| course.blocks).collect();
        retired.into_iter().for_each(|id| self.retire(id));
        for entry in outbox {
            if self.planner.entry(&entry.id).is_none() {
                self.planner.add(*entry, &Ranges::default());
            }
        }
    }

    /// A night begins: every block that waits for its next round has it now, behind all that was
    /// never sent. How long it waits after that goes on as before.
    pub fn night(&mut self, now: Moment) {
        let waiting = std::mem::take(&mut self.schedule);
        for (due, id) in waiting {
            let due = due.min(now);
            self.blocks.get_mut(&id).into_iter().for_each(|kept| kept.due = due);
            self.schedule.insert((due, id));
        }
    }

    /// The next block to read, if there is room in the air. The driver answers with `supply` or `unreadable`.
    pub fn wants(&mut self, now: Moment) -> Option<Arc<Plan>> {
        let busy = self.air.len() + self.loading.len();
        let room = busy < self.tuning.interleave.max(1);
        for lane in [Lane::Urgent, Lane::Normal, Lane::Bulk] {
            let extra = lane == Lane::Urgent && busy < self.tuning.interleave.max(1) + URGENT_EXTRA;
            if (room || extra) && self.planner.waits(lane) {
                return self.cut(lane, now);
            }
        }
        if !room {
            return None;
        }
        if let Some((due, id)) = self.schedule.first().copied().filter(|(due, _)| *due <= now) {
            self.schedule.remove(&(due, id));
            let plan = self.blocks.get(&id)?.plan.clone();
            self.loading.insert(id, Lane::Again);
            return Some(plan);
        }
        self.planner.waits(Lane::Again).then(|| self.cut(Lane::Again, now))?
    }

    /// Memory for the next block; what stands in it is of no use.
    #[must_use]
    pub fn room(&mut self) -> Vec<u8> {
        self.emptied.pop().unwrap_or_default()
    }

    /// A block that was wanted, assembled by [`block::assemble`].
    pub fn supply(&mut self, id: BlockId, mut bytes: Vec<u8>) -> Result<(), CodeError> {
        let (Some(lane), Some(kept)) = (self.loading.remove(&id), self.blocks.get(&id)) else { return Ok(()) };
        let geometry = kept.plan.geometry;
        debug_assert_eq!(bytes.len(), geometry.block_bytes as usize, "a block is assembled from its own plan");
        let digest_head = block::digest_head(&bytes);
        bytes.resize(geometry.source_bytes(), 0);
        let recovery = self.encoder.recovery(&geometry, &bytes)?;
        let (source, all) = (u32::from(geometry.source), geometry.symbols());
        let first = source + u32::from(geometry.first_recovery(self.tuning.repair_first_percent));
        let (next, end) = match kept.sent {
            0 => (0, first),
            1 if first < all => (first, all),
            _ => (0, all),
        };
        let header = Header {
            suite: self.suite,
            crossing: self.crossing,
            link_epoch: self.epoch,
            link_sequence: 0,
            block: id,
            geometry,
            index: 0,
            digest_head,
        };
        self.air.push_back(Airborne { header, lane, source: bytes, recovery, next, end });
        Ok(())
    }

    /// A block whose entries could not be read: tried again with the next round, or retired when they are gone.
    pub fn unreadable(&mut self, now: Moment, id: BlockId) {
        self.loading.remove(&id);
        if let Some(kept) = self.blocks.get_mut(&id) {
            kept.due = now + self.tuning.round_every.max(BEACON_EVERY);
            self.schedule.insert((kept.due, id));
        }
    }

    /// Appends the next frame and says how long it is; `None` when nothing is in the air. Once the frames are with the
    /// kernel, or refused by it, the driver says so by [`Sender::left`].
    pub fn next_frame(&mut self, out: &mut Vec<u8>) -> Option<usize> {
        let at = self.pick()?;
        let mut block = self.air.remove(at)?;
        block.header.index = u16::try_from(block.next).expect("a geometry has fewer than 65,536 symbols");
        block.header.link_sequence = self.sequence;
        self.sequence += 1;
        let start = out.len();
        block.header.seal(&self.key, block.symbol()?, out);
        block.next += 1;
        let last = block.next >= block.end;
        self.given.push_back(Given { block: block.header.block, last });
        if !last {
            // To the back of the line: that is the interleave.
            self.air.push_back(block);
        } else if self.emptied.len() < EMPTIED_MAX {
            self.emptied.push(block.source);
        }
        Some(out.len() - start)
    }

    /// So many of the frames given out, the oldest that were not spoken of yet, left this machine together, or were
    /// refused: an interface that is down, a datagram too large for it. A round of which a frame did not leave does not
    /// count and comes again soon, or an entry would be shown as sent that never was; other blocks lose nothing by it.
    pub fn left(&mut self, now: Moment, frames: usize, all: bool) {
        for _ in 0..frames {
            let Some(Given { block, last }) = self.given.pop_front() else { return };
            let Some(kept) = self.blocks.get_mut(&block) else { continue };
            kept.void |= !all;
            if last && std::mem::take(&mut kept.void) {
                kept.due = now + BEACON_EVERY;
                self.schedule.insert((kept.due, block));
            } else if last {
                self.round_done(now, block);
            }
        }
    }

    /// Bytes of the next frame, for pacing; `None` when nothing is in the air.
    #[must_use]
    pub fn next_frame_bytes(&self) -> Option<usize> {
        let largest = self.air.iter().map(|block| block.header.geometry.symbol_bytes).max()?;
        Some(usize::from(largest) + super::frame::OVERHEAD_BYTES)
    }

    /// When the driver should come back although nothing rings: a block or a beacon is due.
    #[must_use]
    pub fn due(&self) -> Moment {
        self.schedule.first().map_or(self.beacon_due, |(due, _)| self.beacon_due.min(*due))
    }

    /// Is a beacon due?
    #[must_use]
    pub fn beacon_is_due(&self, now: Moment) -> bool {
        now >= self.beacon_due
    }

    /// The beacon's datagram.
    pub fn beacon(&mut self, now: Moment, pulse: &Pulse) -> Result<Vec<u8>, BeaconError> {
        self.beacons = self.beacons.saturating_add(1);
        self.beacon_due = now + if self.beacons < FIRST_BEACONS { FIRST_BEACON_EVERY } else { BEACON_EVERY };
        let sequence = self.sequence;
        self.sequence += 1;
        beacon::seal((self.crossing, self.suite, self.epoch), sequence, &self.introduction, pulse, &self.key)
    }

    /// What happened since it was asked last.
    pub fn poll_note(&mut self) -> Option<Note> {
        self.notes.pop_front()
    }

    /// Rounds that every range of an entry has had.
    #[must_use]
    pub fn rounds(&self, entry: &BundleId) -> u32 {
        self.courses.get(entry).map_or(0, |course| course.rounds)
    }

    /// Blocks it keeps, in the air or waiting for a round.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Has everything in the outbox been out at least once?
    #[must_use]
    pub fn is_idle(&mut self) -> bool {
        self.air.is_empty()
            && self.loading.is_empty()
            && self.given.is_empty()
            && Lane::ALL.into_iter().all(|lane| !self.planner.waits(lane))
    }

    fn cut(&mut self, lane: Lane, now: Moment) -> Option<Arc<Plan>> {
        let plan = Arc::new(self.planner.cut(lane)?);
        let before = match lane {
            Lane::Again => plan.pieces.iter().map(|piece| self.rounds(&piece.entry)).min().unwrap_or(0),
            Lane::Urgent | Lane::Normal | Lane::Bulk => 0,
        };
        self.keep(plan.clone(), 0, before, now);
        self.schedule.remove(&(now, plan.id));
        self.loading.insert(plan.id, lane);
        self.notes.push_back(Note::Cut(plan.clone()));
        Some(plan)
    }

    fn keep(&mut self, plan: Arc<Plan>, sent: u32, before: u32, due: Moment) {
        for piece in &plan.pieces {
            let course = self.courses.entry(piece.entry).or_default();
            course.blocks.insert(plan.id);
            course.cut_bytes += u64::from(piece.length);
        }
        self.schedule.insert((due, plan.id));
        self.blocks.insert(plan.id, Kept { plan, sent, before, due, void: false });
    }

    fn retire(&mut self, id: BlockId) {
        let Some(kept) = self.blocks.remove(&id) else { return };
        self.schedule.remove(&(kept.due, id));
        self.loading.remove(&id);
        self.air.retain(|block| block.header.block != id);
        for piece in &kept.plan.pieces {
            if self.planner.entry(&piece.entry).is_some() {
                if let Some(course) = self.courses.get_mut(&piece.entry) {
                    course.blocks.remove(&id);
                    course.cut_bytes -= u64::from(piece.length);
                }
                self.planner.again(piece);
            }
        }
        self.notes.push_back(Note::Retired(id));
    }

    fn round_done(&mut self, now: Moment, id: BlockId) {
        let Some(kept) = self.blocks.get_mut(&id) else { return };
        kept.sent = kept.sent.saturating_add(1);
        let doublings = (kept.sent - 1).min(DOUBLINGS_MAX);
        let wait = self.tuning.round_every.saturating_mul(1 << doublings).min(self.tuning.round_every_max);
        kept.due = now + wait.max(self.tuning.round_every);
        self.schedule.insert((kept.due, id));
        self.notes.push_back(Note::Round { block: id, sent: kept.sent });
        let entries: BTreeSet<BundleId> = kept.plan.pieces.iter().map(|piece| piece.entry).collect();
        entries.into_iter().for_each(|entry| self.count_rounds(entry));
    }

    fn count_rounds(&mut self, entry: BundleId) {
        let (Some(waiting), Some(course)) = (self.planner.entry(&entry), self.courses.get_mut(&entry)) else { return };
        if course.cut_bytes != waiting.bytes {
            return;
        }
        let rounds =
            course.blocks.iter().filter_map(|id| self.blocks.get(id)).map(|block| block.before + block.sent).min();
        if let Some(rounds) = rounds.filter(|rounds| *rounds > course.rounds) {
            course.rounds = rounds;
            self.notes.push_back(Note::EntryRound { entry, rounds });
        }
    }

    /// The lanes share the wire: of 16 frames the first lane that has any takes 11, the others at least 3, 1 and 1.
    fn pick(&mut self) -> Option<usize> {
        use Lane::{Again, Bulk, Normal, Urgent};
        self.picks = self.picks.wrapping_add(1);
        let order = match self.picks % 16 {
            15 => [Again, Bulk, Normal, Urgent],
            7 => [Bulk, Normal, Urgent, Again],
            3 | 9 | 12 => [Normal, Urgent, Bulk, Again],
            _ => [Urgent, Normal, Bulk, Again],
        };
        order.into_iter().find_map(|lane| self.air.iter().position(|block| block.lane == lane))
    }
}

impl Airborne {
    fn symbol(&self) -> Option<&[u8]> {
        let size = usize::from(self.header.geometry.symbol_bytes);
        let (index, source) = (usize::from(self.header.index), usize::from(self.header.geometry.source));
        let (bytes, at) = if index < source { (&self.source, index) } else { (&self.recovery, index - source) };
        bytes.get(at * size..(at + 1) * size)
    }
}
