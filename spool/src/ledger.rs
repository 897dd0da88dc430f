//! The ledger on disk: segments of records, the Merkle levels over them, and the last own checkpoint. Appends only.
//!
//! Many threads record at once and one sync serves them all: whoever finds nobody writing takes everything that waits,
//! writes it, syncs it, and wakes the others.
//!
//! **Dying anywhere is safe.** A record is in the ledger when its segment was synced, and only then does `record`
//! return. Levels are written after that and synced at checkpoints; above the last checkpoint they are computed anew.
//! At open the last segment is always written anew, aside and by rename, before anything follows from it: that brings
//! pages that a failed sync may have left only in memory to the disk through another file. A failed sync poisons the
//! ledger until the daemon starts again.
//!
//! **After a restore** a new log begins whose first record names the head of the old one. Old logs lie in `former/<n>`,
//! are only read, and are verified like any other.
//!
//! **Damage.** A record that was once durable (level 0 or the checkpoint knows it) and cannot be read now, or has
//! another digest, is damage: its segment is set aside and a new one starts. Its leaf stays in the tree, so every old
//! head stays provable. Only when records *and* levels are gone does the ledger refuse to open. A bad sector is damage
//! like any other: what stands beside it is read, and a file that cannot be read everywhere is set aside, never written
//! over with what could be read of it.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, RwLock};

use protocol::ledger::{self, Checkpoint, Local, Record};
use protocol::receipt::{Head, Range};
use protocol::signer::{Signatory, is_of_signer};
use protocol::suite::{Digest, Suite};
use protocol::witness::HeadLink;
use protocol::{Name, Timestamp, keys};
use serde::{Deserialize, Serialize};

use crate::disk::{Disk, SyncClass, is_unreadable};
use crate::levels::{Levels, UNKNOWN};
use crate::segment::{self, Found, Frames, Health, KeptLeaves, SEGMENT_BYTES, Segment, Stored};
use crate::spool::{SpoolError, locked};

/// Records that one sync serves. More would let one slow group hold everybody up; they wait for the next.
const GROUP_MAX: usize = 1_024;
pub(crate) const CHECKPOINT: &str = "checkpoint";
/// A checkpoint that could not be read, kept for whoever looks into it.
const CHECKPOINT_DAMAGED: &str = "checkpoint.damaged";
const ABOUT: &str = "ledger.json";
/// The folder of the logs before this one.
pub(crate) const FORMER: &str = "former";
/// Logs of one node: a restore every month for twenty years.
const FORMER_MAX: usize = 256;
/// The signed papers that begin every log but the first, one a file: by the node and by an operator.
pub(crate) const STARTS: [&str; 2] = ["start-by-node", "start-by-operator"];
/// A paper is a few hundred bytes.
const START_BYTES_MAX: u64 = 4 * 1024;

/// How large the parts of a ledger grow. A test makes them small; nobody else has a reason to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// A segment is closed above this.
    pub segment_bytes: usize,
    /// Records between two checkpoints.
    pub checkpoint_records: u64,
    /// A step of the scrub compares 2^this records with the tree.
    pub scrub_level: u32,
}

impl Default for Sizes {
    fn default() -> Self {
        // A checkpoint: what a start after a crash computes anew, a few milliseconds of digests. A step of the scrub: as much.
        Sizes { segment_bytes: SEGMENT_BYTES, checkpoint_records: 4_096, scrub_level: 12 }
    }
}

/// What is fixed when a log is made.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    version: u8,
    node: Name,
    suite: String,
    /// Which of the node's logs this is: a larger one after every restore.
    #[serde(default = "first_log")]
    log: u64,
}

fn first_log() -> u64 {
    ledger::FIRST_LOG
}

/// What opening a ledger found wrong with it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// Segments with records that cannot be read.
    pub(crate) damage: Vec<Damage>,
    /// The checkpoint could not be read.
    pub(crate) checkpoint: bool,
    /// The tree could not be read everywhere, or was not what was signed, and was computed anew in other files.
    pub(crate) tree: bool,
}

/// Records of one damaged segment that cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    pub(crate) segment: Segment,
    pub(crate) records: Vec<Range>,
}

/// A record on its way into the ledger.
struct Prepared {
    frame: Vec<u8>,
    leaf: Digest,
    item: Item,
}

/// A record and its words, as the index takes them.
pub(crate) struct Item {
    pub(crate) record: Record,
    pub(crate) local: Local,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Prepared>,
    /// Tickets handed out, and tickets taken into a group.
    issued: u64,
    taken: u64,
    busy: bool,
    done: HashMap<u64, Result<u64, Failure>>,
}

#[derive(Clone, Debug)]
struct Failure {
    full: bool,
    cause: String,
}

pub(crate) struct Writer {
    pub(crate) disk: Disk,
    dir: PathBuf,
    file: File,
    bytes: usize,
    /// The first record of the segment that is written to.
    first: u64,
    log: u64,
    pub(crate) levels: Levels,
    checkpointed: u64,
    poisoned: Option<String>,
}

/// The ledger of one node.
pub(crate) struct Ledger {
    pub(crate) suite: Suite,
    pub(crate) dir: PathBuf,
    log: u64,
    pub(crate) sizes: Sizes,
    node: Name,
    key: Signatory,
    pub(crate) disk: Disk,
    queue: Mutex<Queue>,
    turn: Condvar,
    pub(crate) writer: Mutex<Writer>,
    head: RwLock<Head>,
}

impl Ledger {
    /// Opens or makes the ledger in a directory that exists.
    pub(crate) fn open(
        disk: &Disk,
        dir: &Path,
        node: &Name,
        key: &Signatory,
        sizes: Sizes,
    ) -> Result<(Ledger, Wrong), SpoolError> {
        let at = |source| SpoolError::disk(dir, source);
        let (suite, log) = about(disk, dir, node, key.suite())?;
        let mut levels = Levels::open(&disk.of(SyncClass::Levels), dir, suite).map_err(at)?;
        let (checkpoint, unreadable) = read_checkpoint(disk, dir, node, log)?;
        settle_last(&disk.of(SyncClass::Ledger), dir).map_err(at)?;
        let tree = recover(disk, dir, suite, key, node, checkpoint.as_ref(), &mut levels)?;
        let damage = damage(disk, dir, &levels, suite).map_err(at)?;
        let (file, bytes, first) = last_segment(&disk.of(SyncClass::Ledger), dir, levels.size()).map_err(at)?;
        let head = Head { log, size: levels.size(), root: levels.root() };
        let mut writer = Writer {
            disk: disk.of(SyncClass::Ledger),
            dir: dir.to_owned(),
            file,
            bytes,
            first,
            log,
            levels,
            checkpointed: checkpoint.map_or(0, |checkpoint| checkpoint.head.size),
            poisoned: None,
        };
        if head.size > writer.checkpointed {
            or_later(writer.checkpoint(node, key)).map_err(at)?;
        }
        let ledger = Ledger {
            suite,
            dir: dir.to_owned(),
            log,
            sizes,
            node: node.clone(),
            key: key.clone(),
            disk: disk.clone(),
            queue: Mutex::default(),
            turn: Condvar::new(),
            writer: Mutex::new(writer),
            head: RwLock::new(head),
        };
        Ok((ledger, Wrong { damage, checkpoint: unreadable, tree }))
    }

    /// The digest suite, fixed when the ledger was made.
    pub(crate) fn suite(&self) -> Suite {
        self.suite
    }

    /// Could this start not begin the tree anew, so that no other will?
    pub(crate) fn cannot_renew(&self) -> bool {
        locked(&self.writer).levels.cannot_renew()
    }

    /// Which of the node's logs it is.
    pub(crate) fn log(&self) -> u64 {
        self.log
    }

    /// Runs `look` while nothing is appended: every record of the head is in its segment, and nothing above it is.
    pub(crate) fn at_rest<T>(&self, look: impl FnOnce(Head) -> T) -> T {
        let _writer = locked(&self.writer);
        look(self.head())
    }

    /// Hands every readable record of the logs before this one to `take`, log by log.
    pub(crate) fn read_former(
        &self,
        take: &mut dyn FnMut(u64, Stored) -> Result<(), SpoolError>,
    ) -> Result<(), SpoolError> {
        for (log, dir) in former(&self.dir)? {
            let at = |source| SpoolError::disk(&dir, source);
            let kept = KeptLeaves::of(&dir);
            let is_at = |place: u64, record: &[u8]| kept.leaf(place) == Some(ledger::leaf(self.suite, record));
            for one in segment::list(&dir).map_err(at)? {
                let (bytes, _) = segment::load_by(&self.disk, &one.path).map_err(at)?;
                for found in Frames::new(&bytes, one.first).known_by(&is_at) {
                    if let Found::Record(stored) = found
                        && (one.health == Health::Sound || is_at(stored.index, &stored.bytes))
                    {
                        take(log, *stored)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Durable size and root.
    pub(crate) fn head(&self) -> Head {
        *self.head.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Makes a record durable and gives its index. `apply` is called once a group, by one of the threads, with the
    /// index of the group's first record, the records, and the head after them.
    pub(crate) fn record(
        &self,
        record: Record,
        local: Local,
        apply: &dyn Fn(u64, &[Item], Head),
    ) -> Result<u64, SpoolError> {
        Ok(self.record_all(vec![(record, local)], apply)?.first().copied().unwrap_or(0))
    }

    /// The same for several, which are next to each other in the ledger unless there are more than one sync serves.
    /// None is written where one of them is too large.
    pub(crate) fn record_all(
        &self,
        records: Vec<(Record, Local)>,
        apply: &dyn Fn(u64, &[Item], Head),
    ) -> Result<Vec<u64>, SpoolError> {
        let prepared: Vec<Prepared> =
            records.into_iter().map(|(record, local)| self.prepare(record, local)).collect::<Result<_, _>>()?;
        let mut queue = locked(&self.queue);
        let tickets = queue.issued..queue.issued + prepared.len() as u64;
        queue.issued = tickets.end;
        queue.waiting.extend(prepared);
        let mut indices = Vec::new();
        for ticket in tickets {
            loop {
                if let Some(done) = queue.done.remove(&ticket) {
                    indices.push(done);
                    break;
                }
                if queue.busy {
                    queue = self.turn.wait(queue).unwrap_or_else(std::sync::PoisonError::into_inner);
                    continue;
                }
                queue.busy = true;
                let many = queue.waiting.len().min(GROUP_MAX);
                let group: Vec<Prepared> = queue.waiting.drain(..many).collect();
                let first_ticket = queue.taken;
                queue.taken += many as u64;
                drop(queue);
                let result = self.commit(group, apply);
                queue = locked(&self.queue);
                for (at, ticket) in (first_ticket..).take(many).enumerate() {
                    queue.done.insert(ticket, result.clone().map(|first| first + at as u64));
                }
                queue.busy = false;
                self.turn.notify_all();
            }
        }
        drop(queue);
        indices.into_iter().map(|done| done.map_err(|failure| self.failed(failure))).collect()
    }

    fn prepare(&self, mut record: Record, local: Local) -> Result<Prepared, SpoolError> {
        let kept = if local.is_empty() {
            Vec::new()
        } else {
            let salt = keys::random::<32>();
            record.local = Some(local.digest(self.suite, &salt));
            [&salt[..], &local.to_bytes()].concat()
        };
        let bytes = record.to_bytes();
        if bytes.len() > ledger::RECORD_BYTES_MAX || kept.len() > 32 + ledger::LOCAL_BYTES_MAX {
            return Err(SpoolError::RecordTooLarge { bytes: bytes.len() + kept.len() });
        }
        let frame = segment::frame(&bytes, &kept);
        Ok(Prepared { frame, leaf: ledger::leaf(self.suite, &bytes), item: Item { record, local } })
    }

    fn failed(&self, failure: Failure) -> SpoolError {
        if failure.full {
            SpoolError::LedgerFull { path: self.dir.clone() }
        } else {
            SpoolError::Poisoned { path: self.dir.clone(), cause: failure.cause }
        }
    }

    fn commit(&self, group: Vec<Prepared>, apply: &dyn Fn(u64, &[Item], Head)) -> Result<u64, Failure> {
        let mut writer = locked(&self.writer);
        let first = writer.levels.size();
        writer.append(&group.iter().flat_map(|prepared| &prepared.frame).copied().collect::<Vec<u8>>())?;
        // From here on the group is durable and nothing below may take it back: a failure only stops the next one.
        for prepared in &group {
            writer.levels.push(prepared.leaf);
        }
        let head = Head { log: self.log, size: writer.levels.size(), root: writer.levels.root() };
        if let Err(error) = writer.levels.flush() {
            writer.poisoned = Some(error.to_string());
        }
        *self.head.write().unwrap_or_else(std::sync::PoisonError::into_inner) = head;
        if let Err(error) = self.housekeeping(&mut writer) {
            writer.poisoned = Some(error.to_string());
        }
        drop(writer);
        let items: Vec<Item> = group.into_iter().map(|prepared| prepared.item).collect();
        apply(first, &items, head);
        Ok(first)
    }

    fn housekeeping(&self, writer: &mut Writer) -> io::Result<()> {
        if writer.poisoned.is_some() {
            return Ok(());
        }
        if writer.bytes >= self.sizes.segment_bytes {
            writer.next_segment()?;
        }
        if writer.levels.size() >= writer.checkpointed + self.sizes.checkpoint_records {
            or_later(writer.checkpoint(&self.node, &self.key))?;
        }
        Ok(())
    }

    /// Does it take records? After a failed write or sync its files say less than they should, and are not to be judged.
    pub(crate) fn is_sound(&self) -> Result<(), SpoolError> {
        self.sound(&locked(&self.writer))
    }

    fn sound(&self, writer: &Writer) -> Result<(), SpoolError> {
        match &writer.poisoned {
            Some(cause) => Err(SpoolError::Poisoned { path: self.dir.clone(), cause: cause.clone() }),
            None => Ok(()),
        }
    }

    /// The signed note over the durable head.
    pub(crate) fn checkpoint(&self) -> Result<String, SpoolError> {
        let checkpoint = Checkpoint { node: self.node.clone(), head: self.head() };
        checkpoint.sign_by(&self.key).map_err(|error| SpoolError::disk(&self.dir, error.into()))
    }

    /// Syncs the levels and leaves a checkpoint, where the last one is older than the head.
    pub(crate) fn write_checkpoint(&self) -> Result<(), SpoolError> {
        self.is_sound()?;
        let mut writer = locked(&self.writer);
        if writer.levels.size() == writer.checkpointed {
            return Ok(());
        }
        writer.checkpoint(&self.node, &self.key).map_err(|source| SpoolError::disk(&self.dir, source))
    }

    /// The root over the first `size` records, where there are so many.
    pub(crate) fn root_at(&self, size: u64) -> Result<Digest, SpoolError> {
        let writer = locked(&self.writer);
        writer.levels.root_at(size).map_err(|source| SpoolError::disk(&self.dir, source))
    }

    /// The proof that the durable ledger only added to what it was at `old` records, and the head it leads to.
    pub(crate) fn consistency(&self, old: u64) -> Result<(Head, Vec<Digest>), SpoolError> {
        let writer = locked(&self.writer);
        let head = self.head();
        let proof =
            ledger::consistency_proof(self.suite, old, head.size, &mut |level, index| writer.levels.read(level, index));
        proof.map(|proof| (head, proof)).map_err(|source| SpoolError::disk(&self.dir, source))
    }

    /// The durable head, with a proof from each of these earlier ones that this ledger really passed through. One that
    /// it did not pass through is left out and counted.
    ///
    /// # Errors
    /// The tree cannot be read, or is not what it was: nothing is to be said now. The next start begins it anew.
    pub(crate) fn links(&self, from: &[Head]) -> Result<(Head, Vec<HeadLink>, usize), SpoolError> {
        let writer = locked(&self.writer);
        self.sound(&writer)?;
        let head = self.head();
        let mut links: Vec<HeadLink> = Vec::new();
        let mut left_out = 0;
        for old in from {
            match self.proof_from(&writer, old) {
                Ok(Some(proof)) => links.push(HeadLink { from: *old, proof }),
                Ok(None) => left_out += 1,
                Err(error) => {
                    // Where the disk refuses the mark, whoever is refused next asks again.
                    let _noted = writer.levels.ask_for_new();
                    return Err(SpoolError::disk(&self.dir, error));
                }
            }
        }
        Ok((head, links, left_out))
    }

    /// The proof that this ledger passed through a head on its way to the present one; none where it did not.
    ///
    /// # Errors
    /// The tree cannot be read there, or is not what it was, which says nothing of the head.
    fn proof_from(&self, writer: &Writer, old: &Head) -> io::Result<Option<Vec<Digest>>> {
        let head = self.head();
        if old.log != self.log || old.size > head.size {
            return Ok(None);
        }
        let mut read = |level, index| writer.levels.read(level, index);
        let proof = ledger::consistency_proof(self.suite, old.size, head.size, &mut read)?;
        if ledger::verify_consistency(self.suite, old, &head, &proof) {
            return Ok(Some(proof));
        }
        // Of a head that is not on the way the tree itself must prove another one. A digest that the disk has spoiled must
        // not leave as a proof, nor be the reason why there is none: the neighbour would call either a contradiction.
        let own = Head { root: writer.levels.root_at(old.size)?, ..*old };
        let is_whole = ledger::verify_consistency(self.suite, &own, &head, &proof);
        if is_whole { Ok(None) } else { Err(io::ErrorKind::InvalidData.into()) }
    }

    /// Does this ledger pass through that head?
    ///
    /// # Errors
    /// The tree cannot be read there, or is not what it was, which says nothing of the head.
    pub(crate) fn passes_through(&self, head: &Head) -> Result<bool, SpoolError> {
        let writer = locked(&self.writer);
        self.sound(&writer)?;
        let proof = self.proof_from(&writer, head);
        proof.map(|proof| proof.is_some()).map_err(|source| SpoolError::disk(&self.dir, source))
    }

    /// The signed papers that begin this log; none for a node's first.
    pub(crate) fn starts(&self) -> Result<Vec<Vec<u8>>, SpoolError> {
        if self.log == ledger::FIRST_LOG {
            return Ok(Vec::new());
        }
        let read = |name: &str| {
            let path = self.dir.join(name);
            let read = || {
                if fs::metadata(&path)?.len() > START_BYTES_MAX {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                fs::read(&path)
            };
            read().map_err(|source| SpoolError::disk(&path, source))
        };
        STARTS.iter().map(|name| read(name)).collect()
    }

    /// The proof that record `index` stands in the durable ledger, and the head it leads to.
    pub(crate) fn inclusion(&self, index: u64) -> Result<(Head, Vec<Digest>), SpoolError> {
        let writer = locked(&self.writer);
        let head = self.head();
        let proof =
            ledger::inclusion_proof(self.suite, index, head.size, &mut |level, index| writer.levels.read(level, index));
        proof.map(|proof| (head, proof)).map_err(|source| SpoolError::disk(&self.dir, source))
    }

    /// The first record of the last segment that begins a day or more before a moment.
    pub(crate) fn first_about(&self, at: Timestamp) -> Result<u64, SpoolError> {
        const DAY_MS: u64 = 24 * 60 * 60 * 1000;
        let mut first = 0;
        for one in segment::list(&self.dir).map_err(|source| SpoolError::disk(&self.dir, source))? {
            match segment::first_time(&one) {
                Some(time) if time.0.saturating_add(DAY_MS) <= at.0 => first = one.first,
                Some(_) => break,
                None => {}
            }
        }
        Ok(first)
    }

    /// Hands every readable durable record from `from` on to `take`, in order, until it has enough.
    pub(crate) fn read_from(
        &self,
        from: u64,
        take: &mut dyn FnMut(Stored) -> Result<ControlFlow<()>, SpoolError>,
    ) -> Result<(), SpoolError> {
        self.read_from_until(from, u64::MAX, take)
    }

    /// The same, up to a record that is not handed on any more.
    pub(crate) fn read_from_until(
        &self,
        from: u64,
        until: u64,
        take: &mut dyn FnMut(Stored) -> Result<ControlFlow<()>, SpoolError>,
    ) -> Result<(), SpoolError> {
        let at = |source| SpoolError::disk(&self.dir, source);
        let size = self.head().size.min(until);
        let segments = segment::list(&self.dir).map_err(at)?;
        for (place, one) in segments.iter().enumerate() {
            let end = segments.get(place + 1).map_or(size, |next| next.first).min(size);
            if end <= from || one.first >= size {
                continue;
            }
            let (one, bytes) = &self.load(one).map_err(at)?;
            let is_at = |place: u64, record: &[u8]| self.is_at(place, record);
            let mut frames = Frames::new(bytes, one.first).known_by(&is_at);
            frames.skip_to(from);
            for found in frames {
                if let Found::Record(stored) = found
                    && (from..end).contains(&stored.index)
                    && (one.health == Health::Sound || self.is_leaf(&stored))
                    && take(*stored)?.is_break()
                {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// A moment before which all records were made that may be lost; none where no segment was ever set aside. It is that of
    /// the first record behind the last such segment.
    pub(crate) fn lost_until(&self) -> Result<Option<Timestamp>, SpoolError> {
        let segments = segment::list(&self.dir).map_err(|source| SpoolError::disk(&self.dir, source))?;
        let Some(last) = segments.iter().rposition(|one| one.health != Health::Sound) else { return Ok(None) };
        let mut until = None;
        if let Some(next) = segments.get(last + 1) {
            self.read_from(next.first, &mut |stored| {
                until = Some(stored.record.at);
                Ok(ControlFlow::Break(()))
            })?;
        }
        Ok(until)
    }

    /// A segment and its bytes. It may have been set aside since it was listed, and then has another name.
    pub(crate) fn load(&self, one: &Segment) -> io::Result<(Segment, Vec<u8>)> {
        match segment::load_by(&self.disk, &one.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let again = segment::list(&self.dir)?.into_iter().find(|again| again.first == one.first);
                let one = again.ok_or(error)?;
                let (bytes, _) = segment::load_by(&self.disk, &one.path)?;
                Ok((one, bytes))
            }
            other => other.map(|(bytes, _)| (one.clone(), bytes)),
        }
    }

    /// Sets a segment aside in which damage was found while the node runs. Where it is the one that is written to, a new
    /// one begins. Its records are still to be reported, by whoever calls or by the next start.
    pub(crate) fn set_aside(&self, one: &Segment) -> Result<Segment, SpoolError> {
        let at = |source| SpoolError::disk(&one.path, source);
        let mut writer = locked(&self.writer);
        if one.health != Health::Sound {
            return Ok(one.clone());
        }
        if writer.first == one.first {
            writer.next_segment().map_err(at)?;
        }
        let aside = self.dir.join(segment::name(one.first, Health::Damaged));
        writer.disk.rename(&one.path, &aside).map_err(at)?;
        Ok(Segment { first: one.first, health: Health::Damaged, path: aside })
    }

    /// Out of a segment that was set aside only records whose digest stands in the tree are believed.
    pub(crate) fn is_leaf(&self, stored: &Stored) -> bool {
        self.is_at(stored.index, &stored.bytes)
    }

    /// Does the digest of a place say that this is its record?
    pub(crate) fn is_at(&self, place: u64, record: &[u8]) -> bool {
        locked(&self.writer).levels.read(0, place).is_ok_and(|leaf| leaf == ledger::leaf(self.suite, record))
    }

    /// Somebody is told now that the tree was computed anew.
    pub(crate) fn tree_is_told(&self) -> Result<(), SpoolError> {
        locked(&self.writer).levels.forget_asking().map_err(|source| SpoolError::disk(&self.dir, source))
    }

    /// A damaged segment was reported in the ledger: from now on it is only kept.
    pub(crate) fn reported(&self, damage: &Damage) -> Result<(), SpoolError> {
        let writer = locked(&self.writer);
        let sealed = self.dir.join(segment::name(damage.segment.first, Health::Sealed));
        writer.disk.rename(&damage.segment.path, &sealed).map_err(|source| SpoolError::disk(&sealed, source))
    }
}

impl Writer {
    /// Closes the segment and begins the next.
    fn next_segment(&mut self) -> io::Result<()> {
        (self.file, self.bytes, self.first) = new_segment(&self.disk, &self.dir, self.levels.size())?;
        Ok(())
    }

    /// Appends and syncs. On failure nothing of it counts.
    fn append(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if let Some(cause) = &self.poisoned {
            return Err(Failure { full: false, cause: cause.clone() });
        }
        if let Err(error) = self.disk.append(&mut self.file, bytes) {
            // Nothing was synced, so nothing was promised: what was written is taken back, and the next may try.
            let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
            if let Err(error) = self.disk.truncate(&self.file, self.bytes as u64) {
                self.poisoned = Some(error.to_string());
            }
            return Err(Failure { full, cause: error.to_string() });
        }
        if let Err(error) = self.disk.sync_data(&self.file) {
            self.poisoned = Some(error.to_string());
            return Err(Failure { full: false, cause: error.to_string() });
        }
        self.bytes += bytes.len();
        Ok(())
    }

    /// Syncs the levels, then writes the note that says so.
    fn checkpoint(&mut self, node: &Name, key: &Signatory) -> io::Result<()> {
        if let Err(error) = self.levels.sync(self.checkpointed) {
            self.poisoned = Some(error.to_string());
            return Err(error);
        }
        let head = Head { log: self.log, size: self.levels.size(), root: self.levels.root() };
        let note = Checkpoint { node: node.clone(), head }.sign_by(key)?;
        self.disk.of(SyncClass::Checkpoint).write(&self.dir.join(CHECKPOINT), note.as_bytes())?;
        self.checkpointed = head.size;
        Ok(())
    }
}

/// A checkpoint that nobody signs now is signed later: until then opening looks at more records, and that is all. What the
/// disk says stays.
fn or_later(done: io::Result<()>) -> io::Result<()> {
    done.or_else(|error| if is_of_signer(&error) { Ok(()) } else { Err(error) })
}

/// The logs before this one, oldest first, with their numbers.
pub(crate) fn former(dir: &Path) -> Result<Vec<(u64, PathBuf)>, SpoolError> {
    let mut logs: Vec<(u64, PathBuf)> = crate::spool::children(&dir.join(FORMER))?
        .into_iter()
        .filter_map(|path| Some((path.file_name()?.to_str()?.parse().ok()?, path)))
        .collect();
    logs.sort();
    logs.truncate(FORMER_MAX);
    Ok(logs)
}

/// Fixes the number and suite of a log that is to begin in an empty directory.
pub(crate) fn begin(disk: &Disk, dir: &Path, node: &Name, suite: Suite, log: u64) -> Result<(), SpoolError> {
    let path = dir.join(ABOUT);
    let at = |source| SpoolError::disk(&path, source);
    let about = About { version: 1, node: node.clone(), suite: suite.name().to_owned(), log };
    let bytes = serde_json::to_vec_pretty(&about).map_err(|error| at(error.into()))?;
    disk.write(&path, &bytes).map_err(at)
}

/// The digest suite of the ledger in a folder, where there is one.
#[must_use]
pub fn suite_of_ledger(dir: &Path) -> Option<Suite> {
    let about: About = serde_json::from_slice(&fs::read(dir.join(ABOUT)).ok()?).ok()?;
    about.suite.parse().ok()
}

/// Reads or writes what is fixed about a ledger.
fn about(disk: &Disk, dir: &Path, node: &Name, suite: Suite) -> Result<(Suite, u64), SpoolError> {
    let path = dir.join(ABOUT);
    let at = |source| SpoolError::disk(&path, source);
    match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            begin(disk, dir, node, suite, ledger::FIRST_LOG)?;
            Ok((suite, ledger::FIRST_LOG))
        }
        Err(error) => Err(at(error)),
        Ok(bytes) => {
            let about: About = serde_json::from_slice(&bytes).map_err(|error| at(error.into()))?;
            if about.node != *node {
                return Err(SpoolError::OtherNode { path, found: about.node, expected: node.clone() });
            }
            let suite = about.suite.parse().map_err(|_| at(io::ErrorKind::InvalidData.into()))?;
            Ok((suite, about.log))
        }
    }
}

/// The last checkpoint, and whether one is there that says nothing. That costs no record: everything is then computed
/// from the records and held against level 0. The spoiled note is kept, and that it was spoiled is recorded.
fn read_checkpoint(disk: &Disk, dir: &Path, node: &Name, log: u64) -> Result<(Option<Checkpoint>, bool), SpoolError> {
    let (path, aside) = (dir.join(CHECKPOINT), dir.join(CHECKPOINT_DAMAGED));
    let bytes = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((None, false)),
        // As good as one that says nothing.
        Err(error) if is_unreadable(&error) => Vec::new(),
        other => other.map_err(|source| SpoolError::disk(&path, source))?,
    };
    // Whose key signed it does not matter here: a key may have been rotated, and either way the root must agree.
    let read = String::from_utf8(bytes).ok().and_then(|note| Checkpoint::parse_unverified(&note).ok());
    match read.filter(|checkpoint| checkpoint.node == *node && checkpoint.head.log == log) {
        Some(checkpoint) => Ok((Some(checkpoint), false)),
        None => {
            disk.rename(&path, &aside).map_err(|source| SpoolError::disk(&aside, source))?;
            Ok((None, true))
        }
    }
}

/// Where computing the tree from the records begins, and what is believed of the one that lies there.
struct Ground<'a> {
    disk: &'a Disk,
    dir: &'a Path,
    suite: Suite,
    checkpoint: Option<Head>,
    /// The first record that is looked at.
    start: u64,
    /// Records of which level 0 knows.
    known: u64,
    /// Below the checkpoint the leaf is right and the record is compared.
    believed: bool,
    /// But where nothing says which of them is right, the record is.
    records_first: bool,
}

/// Brings levels and segments to one state: every record that was ever promised has its leaf.
///
/// 1. The levels up to the checkpoint must have its root; else they are computed from all records and must have it then.
/// 2. Records above it give their leaves again. One that level 0 knows and that cannot be read keeps the leaf it had.
/// 3. Segments with such records are set aside. A torn tail that level 0 does not know was promised to nobody.
///
/// A tree that is not what was signed, or cannot be read or written, is computed anew beside what is left of it. Gives
/// whether somebody has to be told.
fn recover(
    disk: &Disk,
    dir: &Path,
    suite: Suite,
    key: &Signatory,
    node: &Name,
    checkpoint: Option<&Checkpoint>,
    levels: &mut Levels,
) -> Result<bool, SpoolError> {
    let at = |source| SpoolError::disk(dir, source);
    let checkpoint = checkpoint.map(|checkpoint| checkpoint.head);
    let promised = checkpoint.map_or(0, |head| head.size);
    let on_disk = levels.leaves_on_disk().map_err(at)?;
    // A checkpoint that our present key did not sign is compared, but nothing is skipped because of it.
    let note = fs::read_to_string(dir.join(CHECKPOINT)).unwrap_or_default();
    let own = Checkpoint::verify(&note, node, &key.public()).is_ok();
    let root = levels.root_at(promised.min(on_disk));
    // A tree that can be read no more is no tree that is wrong: its leaves are still believed, as far as they go.
    let unread = root.as_ref().is_err_and(is_unreadable);
    let agrees = checkpoint.is_none_or(|head| on_disk >= promised && root.is_ok_and(|root| root == head.root));
    let start = if agrees && own { promised } else { 0 };
    // What a failed sync has left is right as far as it can be read, and nothing more is written into it.
    let cut = levels.is_cut(promised);
    let stands = agrees && !cut && levels.reset(start).is_ok();
    let known = if stands && !levels.is_none() { on_disk } else { on_disk.max(levels.leaves_aside()) };
    let ground =
        Ground { disk, dir, suite, checkpoint, start, known, believed: agrees || unread, records_first: false };
    let (wanted, told) = (levels.is_to_be_renewed(), cut);
    let in_place = |levels: &mut Levels| {
        levels.reset(start).map_err(at)?;
        rebuild(&ground, levels)?;
        levels.trim().map_err(at)
    };
    let done = if levels.is_none() || (stands && !wanted) {
        match in_place(levels) {
            // It takes no bytes beside a bad sector.
            Err(SpoolError::Disk { source, .. }) if is_unreadable(&source) && !levels.is_none() => None,
            done => Some(done),
        }
    } else {
        None
    };
    if let Some(done) = done {
        return done.map(|()| false);
    }
    // Two rounds: what a failed sync or a cut of power left of level 0 may be wrong where nothing above it can be read.
    let mut made = Ok(false);
    for records_first in [false, true] {
        let begun = levels.renew().map_err(at);
        made = begun.and_then(|()| rebuild(&Ground { start: 0, records_first, ..ground }, levels));
        if !matches!(made, Err(SpoolError::LedgerLost { .. })) {
            break;
        }
        levels.give_up().map_err(at)?;
    }
    match made.and_then(|unknown| levels.sync_new().map(|()| unknown).map_err(at)) {
        Ok(unknown) => levels.take_place(unknown).map_err(at)?,
        // Another tree is asked for, and none can be made: this one still does.
        Err(_) if stands => {
            levels.keep_old().map_err(at)?;
            in_place(levels)?;
        }
        Err(error) => return Err(error),
    }
    Ok(wanted || !told)
}

/// Computes the tree from the records, and sets segments aside in which some are not what they were. Says whether it now has
/// a leaf that nobody knows: another would have it as well.
fn rebuild(ground: &Ground<'_>, levels: &mut Levels) -> Result<bool, SpoolError> {
    let Ground { disk, dir, start, known, .. } = *ground;
    let at = |source| SpoolError::disk(dir, source);
    let promised = ground.checkpoint.map_or(0, |head| head.size);
    let lost = |readable| SpoolError::LedgerLost { path: dir.to_owned(), promised, readable };
    let mut segments = segment::list(dir).map_err(at)?;
    if segments.first().is_none_or(|first| first.first > 0) && known > 0 {
        // The oldest segment is gone as a whole: its place is kept, so that the damage is seen and reported.
        let path = dir.join(segment::name(0, Health::Damaged));
        disk.write(&path, b"").map_err(at)?;
        segments.insert(0, Segment { first: 0, health: Health::Damaged, path });
    }
    let (mut unknown, mut aside) = (None, Vec::new());
    for (place, one) in segments.iter().enumerate() {
        let end = segments.get(place + 1).map(|next| next.first);
        if end.is_some_and(|end| end <= start) {
            continue;
        }
        let mut broken = false;
        let leaves = leaves_of(ground, levels, one, end).map_err(at)?;
        for &(index, leaf) in &leaves {
            let kept = if index < known { levels.kept_leaf(index) } else { None };
            // Below the checkpoint the tree is right and the record is compared; above it the record is right. A leaf is a
            // digest like any other, and may be what is spoiled: the digest above them says which.
            let beside = |leaf| levels.above(index, leaf, leaf_at(&leaves, index ^ 1));
            let leaf = match (leaf, kept) {
                (Some(leaf), Some(kept)) if ground.believed && index < promised && leaf != kept => {
                    if beside(leaf) == Some(true) || (ground.records_first && beside(kept) != Some(true)) {
                        leaf
                    } else {
                        broken = true;
                        kept
                    }
                }
                (Some(leaf), _) => leaf,
                (None, Some(kept)) if index >= promised || beside(kept) != Some(false) => {
                    broken = true;
                    kept
                }
                // Record and leaf are gone, but the tree above them may stand, and have the checkpoint's root.
                (None, _) if index < promised => {
                    broken = true;
                    unknown = unknown.or(Some(index));
                    UNKNOWN
                }
                (None, _) => return Err(lost(index)),
            };
            if index == levels.size() {
                levels.push(leaf);
            }
        }
        levels.flush().map_err(at)?;
        if broken && one.health == Health::Sound {
            aside.push(one);
        }
    }
    let readable = unknown.unwrap_or(levels.size());
    match ground.checkpoint {
        Some(_) if levels.size() < promised => return Err(lost(readable.min(levels.size()))),
        Some(head) if levels.root_at(promised).map_err(at)? != head.root => return Err(lost(readable)),
        _ => {}
    }
    // Only now: what a wrong leaf says of a record is no reason.
    for one in aside {
        disk.rename(&one.path, &dir.join(segment::name(one.first, Health::Damaged))).map_err(at)?;
    }
    Ok(unknown.is_some())
}

/// The digest of a record by what it says, out of those of one segment.
fn leaf_at(leaves: &[(u64, Option<Digest>)], index: u64) -> Option<Digest> {
    let (first, _) = leaves.first()?;
    let place = usize::try_from(index.checked_sub(*first)?).ok()?;
    leaves.get(place).filter(|(at, _)| *at == index)?.1
}

/// The records of a segment by what they say, and none for those that must be there and cannot be read.
fn leaves_of(
    ground: &Ground<'_>,
    levels: &Levels,
    one: &Segment,
    end: Option<u64>,
) -> io::Result<Vec<(u64, Option<Digest>)>> {
    let (bytes, _) = segment::load_by(ground.disk, &one.path)?;
    let is_at = |place: u64, record: &[u8]| {
        place < ground.known && levels.kept_leaf(place) == Some(ledger::leaf(ground.suite, record))
    };
    let mut next = one.first;
    let mut leaves: Vec<(u64, Option<Digest>)> = Vec::new();
    for found in Frames::new(&bytes, one.first).known_by(&is_at) {
        match found {
            Found::Record(stored) => {
                next = stored.index + 1;
                leaves.push((stored.index, Some(ledger::leaf(ground.suite, &stored.bytes))));
            }
            Found::Unreadable { index } if index < ground.known => {
                next = index + 1;
                leaves.push((index, None));
            }
            Found::Unreadable { .. } | Found::Broken { .. } => break,
        }
    }
    // Up to where the next segment starts, or level 0 knows of records, all must be there.
    leaves.extend((next..end.unwrap_or(ground.known.max(next))).map(|missing| (missing, None)));
    Ok(leaves)
}

/// What cannot be read of each segment that was set aside and not yet reported.
fn damage(disk: &Disk, dir: &Path, levels: &Levels, suite: Suite) -> io::Result<Vec<Damage>> {
    let segments = segment::list(dir)?;
    let mut all = Vec::new();
    for (place, one) in segments.iter().enumerate().filter(|(_, one)| one.health == Health::Damaged) {
        let end = segments.get(place + 1).map_or(levels.size(), |next| next.first);
        let (bytes, _) = segment::load_by(disk, &one.path)?;
        let is_at =
            |place: u64, record: &[u8]| levels.read(0, place).is_ok_and(|leaf| leaf == ledger::leaf(suite, record));
        let mut good = crate::ranges::Ranges::default();
        for found in Frames::new(&bytes, one.first).known_by(&is_at) {
            if let Found::Record(stored) = found
                && is_at(stored.index, &stored.bytes)
            {
                good.insert(stored.index, stored.index);
            }
        }
        let records = if end > one.first { good.missing(one.first, end - 1) } else { Vec::new() };
        all.push(Damage { segment: one.clone(), records });
    }
    Ok(all)
}

/// Writes the last segment anew, aside and by rename, as it reads. After a failed sync its last pages may stand in memory
/// only, and nothing may follow from records that a power cut still takes: a leaf that outlives its record would be
/// damage for ever.
///
/// One that cannot be read everywhere is set aside instead: what it reads like now must not take the place of what
/// another reading may still give.
fn settle_last(disk: &Disk, dir: &Path) -> io::Result<()> {
    let Some(last) = segment::list(dir)?.pop().filter(|last| last.health == Health::Sound) else { return Ok(()) };
    match segment::load_by(disk, &last.path)? {
        (_, true) => disk.rename(&last.path, &dir.join(segment::name(last.first, Health::Damaged))),
        (bytes, false) => disk.write(&last.path, &bytes),
    }
}

/// The segment to append to: the last sound one, without its torn tail, or a new one.
fn last_segment(disk: &Disk, dir: &Path, size: u64) -> io::Result<(File, usize, u64)> {
    match segment::list(dir)?.pop() {
        Some(last) if last.health == Health::Sound => {
            let (bytes, lost) = segment::load_by(disk, &last.path)?;
            if lost {
                // It could be read a moment ago; the next start begins with that.
                return Err(rustix::io::Errno::IO.into());
            }
            let mut frames = Frames::new(&bytes, last.first);
            let mut sound = segment::header(last.first).len();
            while let Some(Found::Record(_)) = frames.next() {
                sound = frames.position();
            }
            match bytes.get(..sound) {
                // A segment that died before its header was whole holds nothing.
                None => disk.write(&last.path, &segment::header(last.first))?,
                Some(_) if sound == bytes.len() => {}
                Some(sound) => disk.write(&last.path, sound)?,
            }
            Ok((disk.open_append(&last.path)?, sound, last.first))
        }
        _ => new_segment(disk, dir, size),
    }
}

fn new_segment(disk: &Disk, dir: &Path, first: u64) -> io::Result<(File, usize, u64)> {
    let path = dir.join(segment::name(first, Health::Sound));
    let header = segment::header(first);
    disk.write(&path, &header)?;
    Ok((disk.open_append(&path)?, header.len(), first))
}
