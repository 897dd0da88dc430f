//! The receiving end: datagrams in, pieces of entries out. It has nothing to send with.
//!
//! ```text
//! beacon: known epoch -> tag | unknown -> a signature, at most 20 a second ([`super::introductions`]) -> key -> tag
//! frame:  known epoch -> tag -> symbol -> K of K + M -> decode -> digest -> Event::Block
//! a block that falls silent or is too much for memory goes to disk (Event::Spill) and comes back when enough of
//! it is known (Event::Recall); what is too much for the disk is forgotten, and the gap report names its entries
//! ```

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use super::beacon::{self, Beacon, Introduction, Pulse};
use super::block::Block;
use super::code::Decoder;
use super::frame::{self, Unchecked};
use super::geometry::Geometry;
pub use super::introductions::SIGNATURES_PER_S_MAX;
use super::introductions::{Introductions, Purpose};
use super::open_block::{OpenBlock, Symbol};
use super::{BlockId, Moment};
use crate::aead::Aead;
use crate::keys::KeyError;
use crate::name::Name;
use crate::suite::Suite;
use crate::time::Timestamp;
use crate::trust::{Trust, TrustError};
use crate::zone::Crossing;
use zeroize::Zeroizing;

/// A sender that still says beacons so long after a later start of it began, both by the senders' clocks, is a second
/// sender: what was under way then came long ago.
const SECOND_SENDER_AFTER_MS: u64 = 10_000;
/// Link keys kept: the running start of the sender and the one before, whose last frames may still be under way.
const EPOCHS_KEPT: usize = 2;
/// Blocks done that are remembered, so that a repeated round of them costs one look-up: 4 GiB to 16 GiB of content.
const DONE_KEPT_MAX: usize = 4_096;
/// Symbols of a block that fell silent for this long are put on disk: its round is over.
const IDLE_AFTER: Moment = Moment::from_millis(750);
/// How often silent blocks are looked for.
const TICK_EVERY: Moment = Moment::from_millis(100);
/// Memory of blocks that is kept for the next ones: as many as a sender interleaves by default.
const EMPTIED_MAX: usize = 8;

/// The receiver's bounds.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of symbols in memory. At least two blocks are always allowed.
    pub memory_bytes: usize,
    /// Bytes of symbols on disk; 0 keeps nothing across rounds that memory does not hold.
    pub disk_bytes: u64,
    /// Blocks known at once, in memory and on disk.
    pub blocks: usize,
    /// No beacon for so long is silence.
    pub silence_after: Moment,
}

/// Takes the link key out of an introduction, with this node's opening key and [`Introduction::wrap_context`].
pub type Unwrap = Box<dyn Fn(&Introduction) -> Result<Zeroizing<Vec<u8>>, KeyError> + Send>;

/// Who is heard here and by whom.
pub struct Ear {
    /// The crossing.
    pub crossing: Crossing,
    /// The suite of the link; both ends are configured with the same.
    pub suite: Suite,
    /// The only node that may speak on it.
    pub source: Name,
    /// This node.
    pub me: Name,
    /// Keys of others.
    pub trust: Arc<Trust>,
    /// Takes the link key out. A closure, for this crate hands opening keys only to those that ask for them.
    pub unwrap: Unwrap,
}

/// What the driver must do or may show.
#[derive(Debug)]
pub enum Event {
    /// A block is whole and its digest fits: its pieces may be used.
    Block(Block),
    /// Append these symbols to the block's file; make it if it is not there.
    Spill {
        /// Which block.
        id: BlockId,
        /// For the head of the file.
        geometry: Geometry,
        /// For the head of the file.
        digest_head: [u8; 8],
        /// To append.
        symbols: Vec<Symbol>,
    },
    /// Read the block's file and answer with [`Receiver::recalled`].
    Recall(BlockId),
    /// The block's file is of no use any more; it may not exist.
    Forget(BlockId),
    /// The symbols of a block were dropped for want of room. Its entries show up as gaps unless a later round helps.
    Evicted(BlockId),
    /// A new start of the sender introduced itself.
    Epoch(Introduction),
    /// The sender lives, and this is what exists.
    Pulse {
        /// Its link epoch.
        epoch: u32,
        /// What it said.
        pulse: Pulse,
    },
    /// No beacon for too long. Said once until one comes.
    Silence {
        /// Since when.
        since: Moment,
    },
    /// A beacon came after a silence.
    Heard,
    /// Two senders with the same keys speak at once. Said once for each start of the newest.
    TwoSenders {
        /// The link epoch of the one that is not listened to, or that is the older one.
        other: u32,
        /// The newest.
        newest: u32,
    },
}

/// Why a datagram was dropped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Neither frame nor beacon.
    #[error("a datagram of {bytes} bytes is neither frame nor beacon")]
    Foreign {
        /// Its size.
        bytes: usize,
    },
    /// A bad frame.
    #[error(transparent)]
    Frame(#[from] frame::FrameError),
    /// A bad beacon.
    #[error(transparent)]
    Beacon(#[from] beacon::BeaconError),
    /// An introduction that nobody here believes.
    #[error(transparent)]
    Introduction(#[from] TrustError),
    /// The link key is not for us.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A frame of a start that has not introduced itself.
    #[error("no beacon of link epoch {epoch} came yet")]
    EpochUnknown {
        /// Which.
        epoch: u32,
    },
    /// An introduction of an earlier start than the ones we know.
    #[error("link epoch {epoch} is before {newest}")]
    EpochPast {
        /// Which.
        epoch: u32,
        /// The newest known.
        newest: u32,
    },
    /// For another link.
    #[error("meant for crossing {crossing} in suite {suite}, or between other nodes")]
    OtherLink {
        /// The crossing named.
        crossing: Crossing,
        /// The suite named.
        suite: Suite,
    },
    /// An authentic beacon that came before.
    #[error("beacon {sequence} came after {last}")]
    BeaconPast {
        /// Its sequence.
        sequence: u64,
        /// The newest seen.
        last: u64,
    },
    /// Too many unknown beacons of its kind in this second.
    #[error("no more signature checks of its kind in this second")]
    TooManySignatures,
    /// An introduction that was refused when it came first.
    #[error("the same introduction was refused before")]
    RefusedBefore,
    /// One block, two shapes.
    #[error("block {id} comes in another shape than before")]
    ShapeChanged {
        /// Which.
        id: BlockId,
    },
}

/// What passed by, counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames with a new symbol.
    pub frames_good: u64,
    /// Frames whose symbol or block was here already.
    pub frames_duplicate: u64,
    /// Datagrams that were no frames or beacons of ours.
    pub frames_bad: u64,
    /// Frames and beacons whose tag, signature or key did not fit.
    pub auth_failed: u64,
    /// Frames of a start that had not introduced itself.
    pub frames_early: u64,
    /// Beacons taken.
    pub beacons: u64,
    /// Blocks whole and right.
    pub blocks_done: u64,
    /// Of these, blocks that lost source symbols on the way.
    pub blocks_repaired: u64,
    /// Blocks whose digest did not fit after decoding: a bad disk, or a bug of the sender.
    pub blocks_bad: u64,
    /// Blocks dropped for want of room.
    pub blocks_evicted: u64,
}

struct Epoch {
    number: u32,
    key: Arc<Aead>,
    last_beacon: u64,
    /// The latest that its sender's clock said.
    last_at: Timestamp,
    started: Timestamp,
    introduction: Vec<u8>,
}

struct Kept {
    block: OpenBlock,
    touched: u64,
    at: Moment,
    recalling: bool,
}

/// Looked up several times for each frame, and only after its tag: nobody but the sender chooses these numbers, and what
/// it may open is bounded. So a multiplication is enough.
type ById = BuildHasherDefault<Spread>;

#[derive(Clone, Copy, Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32(u32::from(*byte)));
    }
    fn write_u32(&mut self, number: u32) {
        self.0 = (self.0.rotate_left(29) ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// The receiver of one crossing.
pub struct Receiver {
    ear: Ear,
    limits: Limits,
    /// Ascending.
    epochs: Vec<Epoch>,
    open: HashMap<BlockId, Kept, ById>,
    /// By last touch, so that the stalest is found at once.
    stale: BTreeMap<u64, BlockId>,
    touches: u64,
    memory_bytes: usize,
    disk_bytes: u64,
    done: HashSet<BlockId, ById>,
    done_order: VecDeque<BlockId>,
    decoder: Decoder,
    emptied: Vec<Vec<u8>>,
    events: VecDeque<Event>,
    counters: Counters,
    introductions: Introductions,
    /// The newest start beside which another was told of: all it needs is somebody who looks, once.
    two_senders: Option<u32>,
    last_beacon: Moment,
    silent: bool,
    ticked: Moment,
}

impl Receiver {
    /// Hears nothing yet; silence counts from now.
    #[must_use]
    pub fn new(ear: Ear, limits: Limits, now: Moment) -> Receiver {
        Receiver {
            ear,
            limits,
            epochs: Vec::new(),
            open: HashMap::default(),
            stale: BTreeMap::new(),
            touches: 0,
            memory_bytes: 0,
            disk_bytes: 0,
            done: HashSet::default(),
            done_order: VecDeque::new(),
            decoder: Decoder::default(),
            emptied: Vec::new(),
            events: VecDeque::new(),
            counters: Counters::default(),
            introductions: Introductions::default(),
            two_senders: None,
            last_beacon: now,
            silent: false,
            ticked: now,
        }
    }

    /// A block's file from before a restart holds these symbols.
    pub fn restore(&mut self, now: Moment, id: BlockId, geometry: Geometry, digest_head: [u8; 8], on_disk: &[u16]) {
        let mut block = OpenBlock::new(geometry, digest_head);
        on_disk.iter().for_each(|index| block.note_on_disk(*index));
        self.disk_bytes += block.disk_bytes();
        self.insert(now, id, block);
        self.keep_within_limits();
        self.recall_if_enough(id);
    }

    /// Takes a datagram off the wire.
    pub fn handle(&mut self, now: Moment, datagram: &[u8]) -> Result<(), Refused> {
        let done = if frame::is_frame(datagram) {
            self.frame(now, datagram)
        } else if beacon::is_beacon(datagram) {
            self.beacon(now, datagram)
        } else {
            Err(Refused::Foreign { bytes: datagram.len() })
        };
        if let Err(refused) = &done {
            self.count(refused);
        }
        done
    }

    /// The symbols of a block's file, as asked for by [`Event::Recall`].
    pub fn recalled(&mut self, id: BlockId, symbols: &[Symbol]) {
        let Some(kept) = self.open.get_mut(&id) else { return };
        kept.recalling = false;
        if kept.block.is_enough() {
            self.finish(id, symbols);
        }
    }

    /// A block that was handed over is kept, and this is its memory.
    pub fn emptied(&mut self, room: Vec<u8>) {
        if self.emptied.len() < EMPTIED_MAX {
            self.emptied.push(room);
        }
    }

    /// A block that was handed over could not be kept: a later round of it must not be passed over.
    pub fn undo(&mut self, id: BlockId) {
        self.done.remove(&id);
    }

    /// Content of blocks that were handed over was lost, nobody knows of which: every block counts again.
    pub fn undo_all(&mut self) {
        self.done.clear();
        self.done_order.clear();
    }

    /// Lets time pass: silent blocks go to disk, a silent link is said to be one.
    pub fn tick(&mut self, now: Moment) {
        if now < self.ticked + TICK_EVERY {
            return;
        }
        self.ticked = now;
        let idle = |kept: &Kept| kept.block.fresh() > 0 && !kept.recalling && now >= kept.at + IDLE_AFTER;
        let idle: Vec<BlockId> = self.open.iter().filter(|(_, kept)| idle(kept)).map(|(id, _)| *id).collect();
        idle.into_iter().for_each(|id| self.spill(id));
        self.keep_within_limits();
        if !self.silent && now >= self.last_beacon + self.limits.silence_after {
            self.silent = true;
            self.events.push_back(Event::Silence { since: self.last_beacon });
        }
    }

    /// Puts everything on disk: the driver stops.
    pub fn spill_all(&mut self) {
        let fresh: Vec<BlockId> =
            self.open.iter().filter(|(_, kept)| kept.block.fresh() > 0).map(|(id, _)| *id).collect();
        fresh.into_iter().for_each(|id| self.spill(id));
    }

    /// What happened since it was asked last.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// What passed by.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Blocks of which symbols are missing, and the bytes they hold in memory and on disk.
    #[must_use]
    pub fn open_blocks(&self) -> (usize, usize, u64) {
        (self.open.len(), self.memory_bytes, self.disk_bytes)
    }

    /// When the last beacon came; the start where none did.
    #[must_use]
    pub fn last_beacon(&self) -> Moment {
        self.last_beacon
    }

    fn count(&mut self, refused: &Refused) {
        let counter = match refused {
            Refused::Frame(frame::FrameError::Tag { .. })
            | Refused::Beacon(beacon::BeaconError::Tag { .. })
            | Refused::Introduction(_)
            | Refused::Key(_)
            | Refused::TooManySignatures
            | Refused::RefusedBefore => &mut self.counters.auth_failed,
            Refused::EpochUnknown { .. } => &mut self.counters.frames_early,
            Refused::BeaconPast { .. } | Refused::EpochPast { .. } => &mut self.counters.frames_duplicate,
            Refused::Foreign { .. }
            | Refused::Frame(_)
            | Refused::Beacon(_)
            | Refused::OtherLink { .. }
            | Refused::ShapeChanged { .. } => &mut self.counters.frames_bad,
        };
        *counter += 1;
    }

    fn frame(&mut self, now: Moment, datagram: &[u8]) -> Result<(), Refused> {
        let frame = Unchecked::parse(datagram)?;
        let header = frame.header;
        let epoch = self.epochs.iter().find(|epoch| epoch.number == header.link_epoch);
        let epoch = epoch.ok_or(Refused::EpochUnknown { epoch: header.link_epoch })?;
        if header.crossing != self.ear.crossing || header.suite != self.ear.suite {
            return Err(Refused::OtherLink { crossing: header.crossing, suite: header.suite });
        }
        let symbol = frame.check(&epoch.key)?;
        if self.done.contains(&header.block) {
            self.counters.frames_duplicate += 1;
            return Ok(());
        }
        self.symbol(now, &header, symbol)
    }

    fn symbol(&mut self, now: Moment, header: &frame::Header, symbol: &[u8]) -> Result<(), Refused> {
        let id = header.block;
        if !self.open.contains_key(&id) {
            self.insert(now, id, OpenBlock::new(header.geometry, header.digest_head));
        }
        let Some(kept) = self.open.get_mut(&id) else { return Ok(()) };
        if kept.block.geometry != header.geometry || kept.block.digest_head != header.digest_head {
            return Err(Refused::ShapeChanged { id });
        }
        let before = kept.block.memory_bytes();
        let new = kept.block.add(header.index, symbol, &mut self.emptied);
        self.memory_bytes += kept.block.memory_bytes() - before;
        if !new {
            self.counters.frames_duplicate += 1;
            return Ok(());
        }
        self.counters.frames_good += 1;
        self.touch(now, id);
        self.recall_if_enough(id);
        if self.memory_bytes > self.limits.memory_bytes || self.open.len() > self.limits.blocks {
            self.keep_within_limits();
        }
        Ok(())
    }

    fn recall_if_enough(&mut self, id: BlockId) {
        let Some(kept) = self.open.get_mut(&id).filter(|kept| kept.block.is_enough() && !kept.recalling) else {
            return;
        };
        if kept.block.needs_disk() {
            kept.recalling = true;
            self.events.push_back(Event::Recall(id));
        } else {
            self.finish(id, &[]);
        }
    }

    fn finish(&mut self, id: BlockId, recalled: &[Symbol]) {
        let Some(block) = self.remove(id) else { return };
        let (head, had_file) = (block.digest_head, block.needs_disk());
        let repaired = had_file || block.has_recovery();
        let suite = self.ear.suite;
        let opened = match block.decode(&mut self.decoder, recalled) {
            Ok(Some(bytes)) => Block::open(suite, id, &head, bytes).ok(),
            Ok(None) | Err(_) => None,
        };
        if had_file {
            self.events.push_back(Event::Forget(id));
        }
        match opened {
            Some(block) => {
                self.counters.blocks_done += 1;
                self.counters.blocks_repaired += u64::from(repaired);
                self.remember_done(id);
                self.events.push_back(Event::Block(block));
            }
            // Every symbol was authentic when it came: the file was damaged. A later round starts afresh.
            None => self.counters.blocks_bad += 1,
        }
        self.keep_within_limits();
    }

    fn remember_done(&mut self, id: BlockId) {
        if self.done.insert(id) {
            self.done_order.push_back(id);
        }
        if self.done_order.len() > DONE_KEPT_MAX
            && let Some(oldest) = self.done_order.pop_front()
        {
            self.done.remove(&oldest);
        }
    }

    fn beacon(&mut self, now: Moment, datagram: &[u8]) -> Result<(), Refused> {
        let beacon = Beacon::parse(datagram)?;
        let other = Refused::OtherLink { crossing: beacon.crossing, suite: beacon.suite };
        if beacon.crossing != self.ear.crossing || beacon.suite != self.ear.suite {
            return Err(other);
        }
        if self.epochs.iter().any(|epoch| epoch.number == beacon.epoch) {
            return self.known(now, &beacon);
        }
        let newest = self.epochs.last().map_or(0, |epoch| epoch.number);
        if beacon.epoch < newest {
            self.look_for_second(now, &beacon);
            return Err(Refused::EpochPast { epoch: beacon.epoch, newest });
        }
        let (believed, pulse) = self.introductions.open(now, &self.ear, &beacon, Purpose::Start)?;
        let (said, key) = (believed.said.clone(), believed.key.clone());
        let (number, started, last_beacon) = (beacon.epoch, said.started, beacon.sequence);
        let (last_at, introduction) = (pulse.at, beacon.introduction.to_owned());
        self.epochs.push(Epoch { number, key, last_beacon, last_at, started, introduction });
        if self.epochs.len() > EPOCHS_KEPT {
            self.epochs.remove(0);
        }
        self.events.push_back(Event::Epoch(said));
        self.pulse(now, beacon.epoch, true, pulse);
        Ok(())
    }

    /// A beacon that names a start we know: one tag, and no signature.
    fn known(&mut self, now: Moment, beacon: &Beacon<'_>) -> Result<(), Refused> {
        let newest = self.epochs.last().map_or((0, Timestamp(0)), |epoch| (epoch.number, epoch.started));
        let unknown = Refused::EpochUnknown { epoch: beacon.epoch };
        let epoch = self.epochs.iter_mut().find(|epoch| epoch.number == beacon.epoch).ok_or(unknown)?;
        let pulse = match beacon.check(&epoch.key) {
            Ok(pulse) => pulse,
            Err(refused) => {
                if epoch.introduction != beacon.introduction {
                    self.look_for_second(now, beacon);
                }
                return Err(refused.into());
            }
        };
        let newer = pulse.at > epoch.last_at;
        epoch.last_at = epoch.last_at.max(pulse.at);
        if beacon.sequence <= epoch.last_beacon {
            let last = epoch.last_beacon;
            // One sender says a later time under a later number, and what comes late or again says no later time. So
            // this is a copy of the running one, its key in memory included.
            if newer {
                self.second_sender(beacon.epoch, newest.0);
            }
            return Err(Refused::BeaconPast { sequence: beacon.sequence, last });
        }
        epoch.last_beacon = beacon.sequence;
        let is_newest = beacon.epoch == newest.0;
        if !is_newest && pulse.at.0 > newest.1.0.saturating_add(SECOND_SENDER_AFTER_MS) {
            self.second_sender(beacon.epoch, newest.0);
        }
        self.pulse(now, beacon.epoch, is_newest, pulse);
        Ok(())
    }

    /// A beacon that will be refused: is it a second sender's? Its signature comes out of an allowance of its own.
    fn look_for_second(&mut self, now: Moment, beacon: &Beacon<'_>) {
        let Some(newest) = self.epochs.last().map(|epoch| (epoch.number, epoch.started)) else { return };
        if self.two_senders == Some(newest.0) {
            return;
        }
        let Ok((_, pulse)) = self.introductions.open(now, &self.ear, beacon, Purpose::Second) else { return };
        if beacon.epoch == newest.0 || pulse.at.0 > newest.1.0.saturating_add(SECOND_SENDER_AFTER_MS) {
            self.second_sender(beacon.epoch, newest.0);
        }
    }

    fn second_sender(&mut self, other: u32, newest: u32) {
        if self.two_senders.replace(newest) != Some(newest) {
            self.events.push_back(Event::TwoSenders { other, newest });
        }
    }

    fn pulse(&mut self, now: Moment, epoch: u32, newest: bool, pulse: Pulse) {
        self.counters.beacons += 1;
        // Late beacons of an earlier start are true, but they do not show that the sender lives.
        if newest {
            self.last_beacon = now;
            if std::mem::take(&mut self.silent) {
                self.events.push_back(Event::Heard);
            }
        }
        self.events.push_back(Event::Pulse { epoch, pulse });
    }

    fn keep_within_limits(&mut self) {
        while self.memory_bytes > self.limits.memory_bytes {
            let stalest = self
                .stale
                .values()
                .find(|id| self.open.get(id).is_some_and(|kept| kept.block.memory_bytes() > 0 && !kept.recalling));
            let Some(id) = stalest.copied() else { break };
            self.spill(id);
        }
        while self.disk_bytes > self.limits.disk_bytes || self.open.len() > self.limits.blocks.max(1) {
            let over_disk = self.disk_bytes > self.limits.disk_bytes;
            let stalest = self
                .stale
                .values()
                .find(|id| !over_disk || self.open.get(id).is_some_and(|kept| kept.block.needs_disk()));
            let Some(id) = stalest.copied() else { break };
            if self.remove(id).is_some_and(|block| block.needs_disk()) {
                self.events.push_back(Event::Forget(id));
            }
            self.counters.blocks_evicted += 1;
            self.events.push_back(Event::Evicted(id));
        }
    }

    fn spill(&mut self, id: BlockId) {
        let Some(kept) = self.open.get_mut(&id) else { return };
        let (memory, disk) = (kept.block.memory_bytes(), kept.block.disk_bytes());
        let symbols = kept.block.spill();
        self.memory_bytes -= memory;
        self.disk_bytes += kept.block.disk_bytes() - disk;
        let (geometry, digest_head) = (kept.block.geometry, kept.block.digest_head);
        if !symbols.is_empty() {
            self.events.push_back(Event::Spill { id, geometry, digest_head, symbols });
        }
    }

    fn insert(&mut self, now: Moment, id: BlockId, block: OpenBlock) {
        self.touches += 1;
        self.stale.insert(self.touches, id);
        self.open.insert(id, Kept { block, touched: self.touches, at: now, recalling: false });
    }

    fn touch(&mut self, now: Moment, id: BlockId) {
        let Some(kept) = self.open.get_mut(&id) else { return };
        // The order matters between blocks, not between frames: once a block and chunk of the driver is enough.
        if std::mem::replace(&mut kept.at, now) == now {
            return;
        }
        if self.stale.last_key_value().is_some_and(|(_, last)| *last != id) {
            self.stale.remove(&kept.touched);
            self.touches += 1;
            kept.touched = self.touches;
            self.stale.insert(self.touches, id);
        }
    }

    fn remove(&mut self, id: BlockId) -> Option<OpenBlock> {
        let kept = self.open.remove(&id)?;
        self.stale.remove(&kept.touched);
        self.memory_bytes -= kept.block.memory_bytes();
        self.disk_bytes -= kept.block.disk_bytes();
        Some(kept.block)
    }
}

impl Pulse {
    /// How far the sender's clock is ahead of ours (positive) or behind, in milliseconds.
    #[must_use]
    pub fn skew_ms(&self, ours: Timestamp) -> i64 {
        i64::try_from(self.at.0).unwrap_or(i64::MAX).saturating_sub(i64::try_from(ours.0).unwrap_or(i64::MAX))
    }
}
