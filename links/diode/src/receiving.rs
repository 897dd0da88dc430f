//! The threads that receive: one drains the socket and does nothing else, one runs the state machine, four keep what
//! came whole. Between them stand bounded channels; where all are full the kernel drops, counts, and a later round
//! brings it again. No thread of this file ever sends.
//!
//! May die anywhere: symbols that were only in memory, and pieces that were not synced, are brought by a later round.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use protocol::keys::KeyError;
use protocol::oneway::receiver::Ear;
use protocol::oneway::{Block, BlockId, Event, Introduction, Moment, Pulse, Receiver};
use spool::Spool;

use crate::assembly::{Assembly, KeepError};
use crate::clock::{self, Clock};
use crate::settings::ReceiverSettings;
use crate::socket::{Chunk, Handle, Incoming};
use crate::status::ReceiverStatus;
use crate::symbol_files::SymbolFiles;
use crate::{Link, Stop, drops};

/// Threads look at the stop flag at least this often, and the state machine's clock goes on.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Chunks of about 256 KiB between socket and state machine: 16 MiB, 130 ms at 1 Gbit/s.
const CHUNKS_MAX: usize = 64;
/// Of these, as many as are kept for the next ones: two change hands while all is well.
const CHUNKS_KEPT: usize = 4;
/// Whole blocks waiting to be kept: at most 32 MiB of the largest.
const BLOCKS_WAITING_MAX: usize = 8;
/// Threads that write and sync. A sync waits for the disk, so more of them than cores pay.
const KEEPERS: usize = 4;
/// The status is made anew this often.
const PUBLISH_EVERY: Duration = Duration::from_millis(500);
/// One kind of complaint is told once a minute, and counted always.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// The running receiver.
pub struct Receiving {
    /// End when the stop flag is raised.
    pub threads: Vec<JoinHandle<()>>,
    /// Where it listens: of use where the port was left to the kernel.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    status: Mutex<ReceiverStatus>,
    entries: AtomicU64,
    keep_errors: AtomicU64,
    undone: Mutex<Vec<BlockId>>,
    emptied: Mutex<Vec<Vec<u8>>>,
    undo_all: AtomicBool,
}

impl Shared {
    fn give_back(&self, block: Block) {
        let mut emptied = self.emptied.lock().unwrap_or_else(PoisonError::into_inner);
        if emptied.len() < BLOCKS_WAITING_MAX {
            emptied.push(block.into_room());
        }
    }
}

impl Receiving {
    /// What it shows of itself.
    #[must_use]
    pub fn status(&self) -> ReceiverStatus {
        *self.shared.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until its threads have ended.
    pub fn join(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a receiving thread of the one-way link ended in a panic");
            }
        }
    }
}

/// Starts receiving into the arrivals of the crossing.
pub fn receive(link: Link, settings: ReceiverSettings, stop: Stop) -> io::Result<Receiving> {
    settings.check().map_err(|bad| io::Error::new(io::ErrorKind::InvalidInput, bad))?;
    let disk = link.spool.disk().clone();
    let folder = link.folder();
    let asked = usize::try_from(u64::from(settings.socket_mib) << 20).unwrap_or(usize::MAX);
    let socket = Incoming::open(settings.listen, asked, settings.buffer_bytes_wanted(), settings.offload)?;
    let address = socket.address()?;
    let socket_bytes = socket.buffer_bytes()?;
    warn_of_small_buffer(socket_bytes, settings.buffer_bytes_wanted());
    let files = SymbolFiles::open(disk.clone(), folder.join("symbols"))?;
    let assembly = Arc::new(Assembly::open(disk, folder.join("parts"), link.spool.arrivals(link.crossing))?);
    let clock = Clock::start();
    let mut receiver = Receiver::new(ear(&link)?, settings.limits(), clock.now());
    for found in files.found()? {
        receiver.restore(clock.now(), found.id, found.geometry, found.digest_head, &found.indices);
    }
    let small_buffer = socket_bytes < settings.buffer_bytes_wanted();
    let status = ReceiverStatus { socket_bytes: socket_bytes as u64, small_buffer, ..ReceiverStatus::default() };
    let shared = Arc::new(Shared { status: Mutex::new(status), ..Shared::default() });
    let (chunks, from_socket) = mpsc::sync_channel(CHUNKS_MAX);
    let (blocks, whole) = mpsc::sync_channel::<Block>(BLOCKS_WAITING_MAX);
    let whole = Arc::new(Mutex::new(whole));
    let mut threads = Vec::new();
    for n in 0..KEEPERS {
        let (whole, assembly, shared) = (whole.clone(), assembly.clone(), shared.clone());
        threads.push(named(&format!("diode-keep-{n}"), move || keep(&whole, &assembly, &shared))?);
    }
    let work = Work {
        spool: link.spool.clone(),
        link,
        receiver,
        files,
        blocks,
        shared: shared.clone(),
        clock,
        status,
        address,
        socket: socket.handle()?,
        buffer: (asked, settings.buffer_bytes_wanted()),
        asked: Moment::ZERO,
        published: Moment::ZERO,
        complained: None,
    };
    let used = Arc::new(Mutex::new(Vec::new()));
    let again = used.clone();
    threads.push(named("diode-work", move || work.forever(&from_socket, &used))?);
    threads.push(named("diode-read", move || read(socket, &stop, &chunks, &again))?);
    tracing::info!(%address, socket_bytes, "one-way link listens");
    Ok(Receiving { threads, address, shared })
}

fn named(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run)
}

fn warn_of_small_buffer(found: usize, wanted: usize) {
    if found < wanted {
        tracing::warn!(
            socket_bytes = found,
            wanted_bytes = wanted,
            "the socket buffer holds less than 100 ms of the rate: raise net.core.rmem_max, or datagrams will be lost under load"
        );
    }
}

fn ear(link: &Link) -> io::Result<Ear> {
    let opening = link.opening.clone();
    if opening.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a one-way receiver needs the node's opening key"));
    }
    Ok(Ear {
        crossing: link.crossing,
        suite: link.suite,
        source: link.peer.clone(),
        me: link.spool.node().clone(),
        trust: link.trust.clone(),
        unwrap: Box::new(move |said: &Introduction| {
            let unwrapped = opening.iter().map(|key| key.unwrap_key(said.wrapped.as_bytes(), &said.wrap_context()));
            unwrapped.reduce(|before, next| before.or(next)).unwrap_or(Err(KeyError::CannotUnwrap))
        }),
    })
}

/// Chunks that were worked off, the last one on top: what is still in the cache is written to next.
type Used = Mutex<Vec<Chunk>>;

/// Ends when the stop flag is raised; the others end when this channel closes.
fn read(mut socket: Incoming, stop: &Stop, chunks: &SyncSender<Chunk>, used: &Used) {
    while !stop.is_raised() {
        let mut chunk = used.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        chunk.clear();
        if let Err(error) = socket.receive(LOOK_EVERY, &mut chunk) {
            tracing::error!(%error, "the one-way socket cannot be read; tried again");
            std::thread::sleep(LOOK_EVERY);
        }
        if !chunk.lengths.is_empty() && chunks.send(chunk).is_err() {
            return;
        }
    }
}

fn keep(whole: &Mutex<mpsc::Receiver<Block>>, assembly: &Assembly, shared: &Shared) {
    loop {
        let next = whole.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(block) = next else { break };
        match assembly.keep(&block) {
            Ok(entries) => {
                shared.entries.fetch_add(entries, Ordering::Relaxed);
                shared.give_back(block);
            }
            Err(error) => {
                if matches!(error, KeepError::Lost { .. }) {
                    // Pieces of blocks that were done before went with it.
                    shared.undo_all.store(true, Ordering::Release);
                }
                shared.undone.lock().unwrap_or_else(PoisonError::into_inner).push(block.id);
                if shared.keep_errors.fetch_add(1, Ordering::Relaxed).is_multiple_of(256) {
                    tracing::error!(%error, block = %block.id, "what came over the one-way link cannot be kept; a later round brings it again");
                }
            }
        }
    }
    if let Err(error) = assembly.flush() {
        tracing::warn!(%error, "parts of large entries were not synced; a later round brings them again");
    }
}

struct Work {
    link: Link,
    spool: Spool,
    receiver: Receiver,
    files: SymbolFiles,
    blocks: SyncSender<Block>,
    shared: Arc<Shared>,
    clock: Clock,
    status: ReceiverStatus,
    address: SocketAddr,
    socket: Handle,
    /// Bytes asked of the kernel, and bytes that hold 100 ms of the rate.
    buffer: (usize, usize),
    /// When it was asked last.
    asked: Moment,
    published: Moment,
    complained: Option<Moment>,
}

impl Work {
    fn forever(mut self, chunks: &mpsc::Receiver<Chunk>, used: &Used) {
        self.events();
        loop {
            match chunks.recv_timeout(LOOK_EVERY) {
                Ok(chunk) => {
                    self.chunk(&chunk);
                    let mut used = used.lock().unwrap_or_else(PoisonError::into_inner);
                    if used.len() < CHUNKS_KEPT {
                        used.push(chunk);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let now = self.clock.now();
            self.receiver.tick(now);
            self.events();
            self.publish(now);
        }
        self.receiver.spill_all();
        self.events();
        self.publish(self.clock.now() + PUBLISH_EVERY);
    }

    fn chunk(&mut self, chunk: &Chunk) {
        let now = self.clock.now();
        for room in self.shared.emptied.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            self.receiver.emptied(room);
        }
        for datagram in chunk.datagrams() {
            if let Err(refused) = self.receiver.handle(now, datagram) {
                tracing::debug!(%refused, "datagram dropped");
            }
            self.events();
        }
    }

    fn events(&mut self) {
        while let Some(event) = self.receiver.poll_event() {
            match event {
                // Waits where the disk is slower than the wire; meanwhile the kernel's buffer fills, and says so.
                Event::Block(block) => drop(self.blocks.send(block)),
                Event::Spill { id, geometry, digest_head, symbols } => {
                    let kept = self.files.append(id, &geometry, &digest_head, &symbols);
                    self.mind(kept);
                }
                Event::Recall(id) => {
                    let symbols = self.files.read(id);
                    self.receiver.recalled(id, &symbols);
                }
                Event::Forget(id) => {
                    let gone = self.files.forget(id);
                    self.mind(gone);
                }
                Event::Evicted(id) => {
                    tracing::warn!(block = %id, "no room for the symbols of a block; the gap report will name its entries")
                }
                Event::Epoch(said) => {
                    self.status.two_senders = false;
                    tracing::info!(epoch = said.epoch, started = %said.started, source = %said.source, "the sender introduced itself")
                }
                Event::Pulse { epoch, pulse } => self.pulse(epoch, &pulse),
                Event::Silence { since } => {
                    self.status.silent = true;
                    let seconds = self.clock.now().saturating_sub(since).as_secs();
                    tracing::error!(seconds, source = %self.link.peer, "the one-way link is silent: no beacon");
                }
                Event::TwoSenders { other, newest } => {
                    self.status.two_senders = true;
                    tracing::error!(other, newest, source = %self.link.peer, "two senders with the same keys speak on the one-way link: stop one of them");
                }
                Event::Heard => {
                    self.status.silent = false;
                    tracing::info!(source = %self.link.peer, "the one-way link is heard again");
                }
            }
        }
    }

    /// A buffer that is too small is asked for again once a minute, so that raising the kernel's ceiling is enough.
    fn widen(&mut self, now: Moment) {
        let (asked, wanted) = self.buffer;
        if !self.status.small_buffer || now < self.asked + COMPLAIN_EVERY {
            return;
        }
        self.asked = now;
        match self.socket.ask_for_buffer(asked) {
            Ok(bytes) => {
                self.status.socket_bytes = bytes as u64;
                self.status.small_buffer = bytes < wanted;
                if !self.status.small_buffer {
                    tracing::info!(socket_bytes = bytes, "the socket buffer now holds 100 ms of the rate");
                }
            }
            Err(error) => tracing::warn!(%error, "the kernel cannot be asked for a larger socket buffer"),
        }
    }

    fn pulse(&mut self, epoch: u32, pulse: &Pulse) {
        self.status.epoch = self.status.epoch.max(epoch);
        self.status.skew_ms = pulse.skew_ms(clock::wall());
        for number in &pulse.next {
            self.spool.announce(&self.link.peer, self.link.crossing, number.epoch, number.next);
        }
    }

    fn mind(&mut self, kept: io::Result<()>) {
        if let Err(error) = kept {
            let now = self.clock.now();
            if self.complained.is_none_or(|at| now >= at + COMPLAIN_EVERY) {
                self.complained = Some(now);
                tracing::warn!(%error, "symbols cannot be kept on disk; rounds do not add up until that is mended");
            }
        }
    }

    fn publish(&mut self, now: Moment) {
        if self.shared.undo_all.swap(false, Ordering::AcqRel) {
            self.receiver.undo_all();
        }
        for id in self.shared.undone.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            self.receiver.undo(id);
        }
        if now < self.published + PUBLISH_EVERY {
            return;
        }
        self.published = now;
        self.widen(now);
        let (open, memory, disk) = self.receiver.open_blocks();
        self.status.counters = self.receiver.counters();
        self.status.kernel_drops = drops::of(self.address);
        self.status.open_blocks = open as u64;
        self.status.open_memory_bytes = memory as u64;
        self.status.open_disk_bytes = disk;
        self.status.entries = self.shared.entries.load(Ordering::Relaxed);
        self.status.keep_errors = self.shared.keep_errors.load(Ordering::Relaxed);
        let age = now.saturating_sub(self.receiver.last_beacon()).as_millis();
        self.status.last_beacon_age_ms = u64::try_from(age).unwrap_or(u64::MAX);
        *self.shared.status.lock().unwrap_or_else(PoisonError::into_inner) = self.status;
    }
}
