//! The thread that sends: looks at the outbox when the bell rings, reads what the state machine wants, paces what it
//! gives, and says a beacon every second. It may die anywhere: the outbox is the truth, the book of plans a saving.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use protocol::BundleId;
use protocol::aead::{self, Aead};
use protocol::oneway::night::Nights;
use protocol::oneway::sender::Note;
use protocol::oneway::{Bucket, Introduction, Kind, Moment, Piece, Plan, Pulse, Sender, Waiting, block};
use spool::{Content, Entry, EntryKind};

use crate::clock::{self, Clock};
use crate::plan_book::PlanBook;
use crate::settings::SenderSettings;
use crate::socket::Outgoing;
use crate::status::SenderStatus;
use crate::{Link, Stop, epoch};

/// A thread looks at the stop flag at least this often.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The outbox is read again after this even when nothing rang: a ring may be missed, the directory is the truth.
const SCAN_EVERY: Duration = Duration::from_secs(2);
/// Reading a full outbox takes long; at most a tenth of the time goes into it.
const SCAN_SHARE: u32 = 10;
/// What may leave in one go: 2 ms of the rate, but a batch at least and not more than a small buffer bears.
const BURST_BYTES: std::ops::RangeInclusive<u64> = 65_536..=524_288;
/// So much of the rate's time leaves in one system call: a call for each datagram costs more than all the rest.
const BATCHES_PER_S: u64 = 500;
/// A refused datagram is counted; it is told once a minute.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// What may leave in one go at so many bytes a second.
pub(crate) fn burst_bytes(rate: u64) -> u64 {
    (rate / BATCHES_PER_S).clamp(*BURST_BYTES.start(), *BURST_BYTES.end())
}

/// The running sender.
pub struct Sending {
    /// Ends when the stop flag is raised.
    pub threads: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
}

struct Shared {
    status: Mutex<SenderStatus>,
    rounds: Mutex<HashMap<BundleId, u32>>,
    rounds_max: u32,
}

impl Sending {
    /// What it shows of itself.
    #[must_use]
    pub fn status(&self) -> SenderStatus {
        *self.shared.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many times all of an entry has been out, of how many until it counts as sent and unconfirmed.
    #[must_use]
    pub fn rounds(&self, entry: &BundleId) -> (u32, u32) {
        let rounds = self.shared.rounds.lock().unwrap_or_else(PoisonError::into_inner);
        (rounds.get(entry).copied().unwrap_or(0), self.shared.rounds_max)
    }

    /// Waits until its thread has ended.
    pub fn join(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("the sending thread of the one-way link ended in a panic");
            }
        }
    }
}

/// Starts sending what the outbox of the crossing holds.
pub fn send(link: Link, settings: SenderSettings, stop: Stop) -> io::Result<Sending> {
    settings.check().map_err(|bad| io::Error::new(io::ErrorKind::InvalidInput, bad))?;
    let shared = Arc::new(Shared { status: Mutex::default(), rounds: Mutex::default(), rounds_max: settings.rounds });
    let run = Run::start(link, &settings, stop, shared.clone())?;
    let thread = std::thread::Builder::new().name("diode-send".to_owned()).spawn(move || run.forever())?;
    Ok(Sending { threads: vec![thread], shared })
}

struct Run {
    link: Link,
    stop: Stop,
    shared: Arc<Shared>,
    clock: Clock,
    socket: Outgoing,
    sender: Sender,
    nights: Nights,
    bucket: Bucket,
    batch_bytes: usize,
    book: PlanBook,
    outbox: HashMap<BundleId, Entry>,
    open: Option<(BundleId, Content)>,
    buffer: Vec<u8>,
    status: SenderStatus,
    rung: u64,
    scanned: Moment,
    scan_from: Moment,
    complained: Option<Moment>,
}

impl Run {
    fn start(link: Link, settings: &SenderSettings, stop: Stop, shared: Arc<Shared>) -> io::Result<Run> {
        let (disk, folder) = (link.spool.disk().clone(), link.folder());
        disk.create_dir_all(&folder)?;
        let clock = Clock::start();
        let wall = clock::wall();
        let epoch = epoch::draw(&disk, &folder, wall)?;
        let what = (link.crossing, link.suite, epoch);
        let sealing = link.trust.sealing_key(&link.peer).map_err(io::Error::other)?;
        let secret = aead::fresh_key(link.suite);
        let introduction = Introduction::make(what, (link.spool.node(), &link.peer), wall, &secret, &sealing)
            .map_err(io::Error::other)?
            .sign_by(&link.key)?;
        let key =
            Aead::new(link.suite, &secret).ok_or_else(|| io::Error::other("a link key of another suite's length"))?;
        let mut sender = Sender::new(settings.tuning(), what, introduction, key, clock.now());
        let book = PlanBook::open(disk, &folder, link.suite)?;
        let socket = Outgoing::open(settings.bind, settings.target, settings.offload)?;
        let rung = link.spool.bell().generation();
        let (outbox, waiting) = read_outbox(&link)?;
        let taken = sender.restore(clock.now(), &waiting, book.plans());
        tracing::info!(crossing = %link.crossing, epoch, blocks = taken, entries = waiting.len(), target = %settings.target, "one-way link sends");
        let rate = settings.bytes_per_s();
        let bucket = Bucket::new(rate, burst_bytes(rate), clock.now());
        let status = SenderStatus { epoch, ..SenderStatus::default() };
        let mut run = Run {
            link,
            stop,
            shared,
            clock,
            socket,
            sender,
            nights: Nights::from_hour(settings.night_from_h),
            bucket,
            batch_bytes: usize::try_from(rate / BATCHES_PER_S).unwrap_or(usize::MAX),
            book,
            outbox,
            open: None,
            buffer: Vec::new(),
            status,
            rung,
            scanned: Moment::ZERO,
            scan_from: Moment::ZERO,
            complained: None,
        };
        run.take_outbox(&waiting);
        Ok(run)
    }

    fn forever(mut self) {
        while !self.stop.is_raised() {
            let now = self.clock.now();
            self.scan(now);
            self.beacon(now);
            let loaded = self.load(now);
            let sent = self.frames(now);
            self.notes();
            if !sent && !loaded {
                self.rest(now);
            }
        }
    }

    fn scan(&mut self, now: Moment) {
        let rung = self.link.spool.bell().generation();
        let wanted = rung != self.rung || now >= self.scanned + SCAN_EVERY;
        if !wanted || now < self.scan_from {
            return;
        }
        self.rung = rung;
        match read_outbox(&self.link) {
            Ok((outbox, waiting)) => {
                self.outbox = outbox;
                self.take_outbox(&waiting);
            }
            Err(error) => tracing::error!(%error, "the outbox cannot be read; tried again in two seconds"),
        }
        let after = self.clock.now();
        self.scanned = after;
        self.scan_from = after + (after - now) * SCAN_SHARE;
    }

    fn take_outbox(&mut self, waiting: &[Waiting]) {
        let again = self.link.spool.outbox(self.link.crossing).asked_again();
        if !again.is_empty() {
            // Gone for a moment, so that they are cut anew and begin with their first round.
            let others: Vec<Waiting> = waiting.iter().filter(|entry| !again.contains(&entry.id)).cloned().collect();
            self.sender.set_outbox(&others);
        }
        self.sender.set_outbox(waiting);
        self.status.entries = waiting.len() as u64;
        for entry in waiting {
            let kept = self.book.number(entry.epoch, entry.sequence);
            self.mind(kept);
        }
        let outbox = &self.outbox;
        let mut rounds = self.shared.rounds.lock().unwrap_or_else(PoisonError::into_inner);
        rounds.retain(|id, _| outbox.contains_key(id));
    }

    fn beacon(&mut self, now: Moment) {
        if !self.sender.beacon_is_due(now) {
            return;
        }
        if self.nights.begins((self.link.wall)()) {
            tracing::info!(blocks = self.sender.blocks(), "night: all that waits for a receipt is sent once more");
            self.sender.night(now);
        }
        let pulse = Pulse { at: clock::wall(), next: self.book.next(), head: self.link.spool.head() };
        match self.sender.beacon(now, &pulse) {
            Ok(datagram) => {
                self.status.beacons += 1;
                let length = datagram.len();
                // One that was refused is followed by another in a second.
                let _left = self.put(now, &datagram, length);
            }
            Err(error) => tracing::error!(%error, "no beacon this second"),
        }
        self.publish();
    }

    /// Reads one block a turn, so that frames of the others keep flowing meanwhile.
    fn load(&mut self, now: Moment) -> bool {
        let Some(plan) = self.sender.wants(now) else { return false };
        match self.assemble(&plan) {
            Ok(bytes) => {
                if let Err(error) = self.sender.supply(plan.id, bytes) {
                    tracing::error!(%error, block = %plan.id, "a block could not be encoded");
                }
            }
            Err(error) => {
                // Not found: the entry has just left the outbox, and the next look at it retires the block.
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::error!(%error, block = %plan.id, "an entry of the outbox cannot be read; those beside it go without it");
                    // Noted by whoever read it, it is left out at the next look.
                    self.scanned = Moment::ZERO;
                }
                self.open = None;
                self.sender.unreadable(now, plan.id);
            }
        }
        true
    }

    fn assemble(&mut self, plan: &Plan) -> io::Result<Vec<u8>> {
        let room = self.sender.room();
        let Run { link, outbox, open, .. } = self;
        block::assemble_in(room, link.suite, plan.id, &plan.pieces, |piece, place| {
            read_piece(link, outbox, open, piece, place)
        })
    }

    fn frames(&mut self, now: Moment) -> bool {
        let Some(length) = self.sender.next_frame_bytes() else { return false };
        let count = self.batch(length);
        if self.bucket.available(now) < (count * length) as u64 {
            return false;
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let mut segment = 0;
        for _ in 0..count {
            let Some(bytes) = self.sender.next_frame(&mut buffer) else { break };
            if segment != 0 && bytes != segment {
                // A block of another MTU from before a restart: its frames go by themselves.
                let (before, other) = buffer.split_at(buffer.len() - bytes);
                self.put_frames(now, before, segment);
                self.put_frames(now, other, bytes);
                buffer.clear();
                segment = 0;
                continue;
            }
            segment = bytes;
        }
        self.put_frames(now, &buffer, segment);
        self.buffer = buffer;
        true
    }

    /// Datagrams of so many bytes that leave together: 2 ms of the rate, one at least.
    fn batch(&self, length: usize) -> usize {
        (self.batch_bytes / length).clamp(1, self.socket.segments_max(length))
    }

    /// Frames of one size, and word to the sender of what became of these and no others.
    fn put_frames(&mut self, now: Moment, frames: &[u8], segment: usize) {
        let all = self.put(now, frames, segment);
        self.sender.left(now, frames.len() / segment.max(1), all);
    }

    /// False where the kernel refused some of it.
    fn put(&mut self, now: Moment, datagrams: &[u8], segment: usize) -> bool {
        if datagrams.is_empty() {
            return true;
        }
        let count = datagrams.len().div_ceil(segment.max(1)) as u64;
        self.bucket.spend(datagrams.len() as u64);
        let sent = self.socket.send(datagrams, segment);
        match &sent {
            Ok(()) => {
                self.status.datagrams += count;
                self.status.bytes += datagrams.len() as u64;
            }
            Err(error) => {
                self.status.send_errors += count;
                if self.complained.is_none_or(|at| now >= at + COMPLAIN_EVERY) {
                    self.complained = Some(now);
                    tracing::error!(%error, bytes = segment, "the kernel refuses datagrams; is mtu above the interface's, or the link down?");
                }
            }
        }
        self.status.segments_max = self.socket.segments_max(segment) as u64;
        sent.is_ok()
    }

    fn notes(&mut self) {
        while let Some(note) = self.sender.poll_note() {
            let kept = match note {
                Note::Cut(plan) => {
                    self.status.blocks_cut += 1;
                    self.book.cut(&plan)
                }
                Note::Round { block, sent } => self.book.round(block, sent),
                Note::Retired(id) => self.book.retired(id),
                Note::EntryRound { entry, rounds } => {
                    self.link.spool.outbox(self.link.crossing).went(&entry, rounds, self.shared.rounds_max);
                    self.shared.rounds.lock().unwrap_or_else(PoisonError::into_inner).insert(entry, rounds);
                    Ok(())
                }
            };
            self.mind(kept);
        }
    }

    /// The book is a saving: a disk that refuses it costs sending again after a restart.
    fn mind(&mut self, kept: io::Result<()>) {
        if let Err(error) = kept {
            let now = self.clock.now();
            if self.complained.is_none_or(|at| now >= at + COMPLAIN_EVERY) {
                self.complained = Some(now);
                tracing::warn!(%error, "the book of plans cannot be written; a restart will send blocks anew");
            }
        }
    }

    fn publish(&mut self) {
        self.status.blocks = self.sender.blocks() as u64;
        self.status.idle = self.sender.is_idle();
        *self.shared.status.lock().unwrap_or_else(PoisonError::into_inner) = self.status;
    }

    fn rest(&mut self, now: Moment) {
        match self.sender.next_frame_bytes() {
            // Something is in the air: only the pace holds it.
            Some(length) => {
                let batch = (length * self.batch(length)) as u64;
                std::thread::sleep(self.bucket.wait_for(batch).min(LOOK_EVERY));
            }
            None => {
                self.publish();
                let idle = self.sender.due().saturating_sub(now).min(LOOK_EVERY);
                if self.link.spool.bell().generation() == self.rung {
                    self.link.spool.bell().wait(self.rung, idle);
                } else {
                    // It rang, and the outbox may not be read again yet: the bell would not hold us.
                    std::thread::sleep(idle.min(self.scan_from.saturating_sub(now)));
                }
            }
        }
    }
}

fn read_outbox(link: &Link) -> io::Result<(HashMap<BundleId, Entry>, Vec<Waiting>)> {
    let outbox = link.spool.outbox(link.crossing);
    let mut entries = outbox.entries().map_err(io::Error::other)?;
    // One that the disk does not give would keep the block that it shares with others from being sent. It comes back as
    // soon as the node, which tries it again, has read it.
    entries.retain(|entry| !outbox.is_unread(&entry.id));
    let waiting = entries.iter().map(waiting).collect();
    Ok((entries.into_iter().map(|entry| (entry.id, entry)).collect(), waiting))
}

fn waiting(entry: &Entry) -> Waiting {
    let kind = match entry.kind {
        EntryKind::Bundle => Kind::Bundle,
        EntryKind::Receipts => Kind::Receipts,
    };
    Waiting {
        id: entry.id,
        kind,
        priority: entry.priority,
        epoch: entry.epoch,
        sequence: entry.sequence,
        bytes: entry.size,
    }
}

fn read_piece(
    link: &Link,
    entries: &HashMap<BundleId, Entry>,
    open: &mut Option<(BundleId, Content)>,
    piece: &Piece,
    place: &mut [u8],
) -> io::Result<()> {
    if open.as_ref().is_none_or(|(id, _)| *id != piece.entry) {
        let entry = entries.get(&piece.entry).ok_or(io::ErrorKind::NotFound)?;
        *open = Some((piece.entry, link.spool.outbox(link.crossing).content(entry)?));
    }
    open.as_ref().map_or(Err(io::ErrorKind::NotFound.into()), |(_, file)| file.read_exact_at(place, piece.offset))
}
