//! The shared files of an outbox: small entries one after the other, many made durable by one sync. Appends only; the
//! one byte that is ever written again says that an entry went.
//!
//! ```text
//! <number, 16 hex digits>.seg          numbers are big-endian
//! "TRILOCKO" (8) number (8) | frame | frame | …
//! frame = stands (1) | kind (1) priority (1) epoch (8) sequence (8) id (16) size (4) | crc32 over the six (4) | bytes
//! ```
//! Dying anywhere is safe. A group counts once it is synced, and only then its entries are recorded in the ledger; what
//! a start finds here and the ledger does not know was promised to nobody. A process never appends to a segment that an
//! earlier one left, so a torn tail stays behind. A lost "went" has an entry sent once more. The bytes need no checksum:
//! a bundle proves itself.
//!
//! A disk that loses bytes loses the frames whose heads they were and none beside them. A file in which a start cannot
//! read something is removed only when the ledger says that nothing is missing.

use std::collections::{BTreeMap, HashSet, btree_map};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::BundleId;
use protocol::parcel::Priority;

use crate::disk::{Disk, SyncClass, is_unreadable};
use crate::entry::{Entry, EntryKind};

/// A larger entry gets a file of its own: copying it into a segment would cost more than its sync.
pub const SMALL_BYTES_MAX: usize = 256 * 1024;
/// A segment is closed above this: what one stuck entry may hold back, until the rest of it is moved.
pub(crate) const SEGMENT_BYTES: u64 = 16 << 20;
/// What one group writes before it syncs, so that an urgent entry behind a bulk group waits for no more than this.
const GROUP_BYTES_MAX: usize = 4 << 20;
/// Of a closed segment with less than one part in so many still standing, that part is moved and the file goes.
const SPARSE: u64 = 4;
const SUFFIX: &str = "seg";
/// Of a file that was kept, and of which an operator has said that nobody waits for it.
const ASIDE: &str = "aside";
const MAGIC: &[u8; 8] = b"TRILOCKO";
const HEADER_BYTES: usize = 16;
const HEAD_BYTES: usize = 43;
const STANDS: u8 = 1;
const WENT: u8 = 0;
/// A damaged segment is searched for its next head in pieces of this size.
const SEARCHED_BYTES: usize = 256 * 1024;

/// A small entry on its way into an outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Small {
    /// Its id.
    pub id: BundleId,
    /// Its kind.
    pub kind: EntryKind,
    /// How soon it matters.
    pub priority: Priority,
    /// The epoch of its number.
    pub epoch: u64,
    /// Its number.
    pub sequence: u64,
    /// All of it; at most [`SMALL_BYTES_MAX`].
    pub bytes: Vec<u8>,
}

/// What the ledger says of an entry that a start finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// It is recorded: it waits.
    Recorded,
    /// It was never recorded: promised to nobody.
    Never,
    /// Records of its time are lost, and its own may be one of them: it is kept, and nobody sends it.
    Perhaps,
}

/// What a closed or open segment holds.
#[derive(Default)]
struct Load {
    entries: u64,
    bytes: u64,
    end: u64,
    /// Something in it could not be read, so nobody knows that nothing else stands in it: it is kept.
    doubt: bool,
    /// An entry in it may be one whose record is lost: it is kept, whatever else is known.
    perhaps: bool,
    /// What is left in it could not be read when it was to be moved: it is not tried with every entry that goes.
    stuck: bool,
    /// The newest epoch of all that stands or stood in it: the process that wrote it was no older.
    epoch: u64,
}

impl Load {
    fn is_kept(&self) -> bool {
        self.doubt || self.perhaps
    }
}

/// What became of a segment that was to be emptied.
pub(crate) struct Moved {
    /// Where the entries stand now.
    pub(crate) moved: Vec<Entry>,
    /// Those that could not be read, and stand where they stood.
    pub(crate) unread: Vec<Entry>,
}

struct Open {
    number: u64,
    path: Arc<Path>,
    file: File,
    end: u64,
}

/// The segments of one outbox.
pub(crate) struct Segments {
    disk: Disk,
    dir: PathBuf,
    /// A segment is closed above this.
    bytes_max: u64,
    open: Option<Open>,
    next: u64,
    loads: BTreeMap<u64, Load>,
}

impl Segments {
    /// No segment yet.
    pub(crate) fn new(disk: &Disk, dir: &Path, bytes_max: u64) -> Segments {
        Segments {
            disk: disk.of(SyncClass::Outbox),
            dir: dir.to_owned(),
            bytes_max,
            open: None,
            next: 1,
            loads: BTreeMap::new(),
        }
    }

    /// Reads what an earlier process left. `known` says whether the ledger has recorded an entry; one that it has not,
    /// or that went, is passed over, and a segment without any other is removed; but none in which anything could not be read.
    pub(crate) fn load<E: From<io::Error>>(
        &mut self,
        known: &dyn Fn(&Entry) -> Result<Known, E>,
    ) -> Result<Vec<Entry>, E> {
        let mut numbers: Vec<u64> = Vec::new();
        for file in std::fs::read_dir(&self.dir)? {
            let path = file?.path();
            numbers.extend(number_of(&path));
            // No number is given twice, or the second file could not be set aside.
            let aside = number_named(&path, ASIDE);
            self.next = self.next.max(aside.map_or(1, |number| number.saturating_add(1)));
        }
        numbers.sort_unstable();
        let mut found: BTreeMap<BundleId, Entry> = BTreeMap::new();
        for number in numbers {
            self.next = self.next.max(number + 1);
            let path: Arc<Path> = self.path(number).into();
            let end = std::fs::metadata(&path)?.len();
            let read = frames(&self.disk, &path, number, end)?;
            self.loads.insert(number, Load { end, doubt: read.doubt, epoch: read.epoch, ..Load::default() });
            for entry in read.standing {
                match known(&entry)? {
                    Known::Recorded => {}
                    Known::Never => continue,
                    Known::Perhaps => {
                        if let Some(load) = self.loads.get_mut(&number) {
                            load.perhaps = true;
                        }
                        continue;
                    }
                }
                // Standing twice, it was being moved when the process died, or the sync of that failed. The older place goes
                // only when the newer one is durable: of the two, the newer one may be torn.
                if let btree_map::Entry::Vacant(free) = found.entry(entry.id) {
                    let entry = free.insert(entry).clone();
                    self.count(&entry, 1);
                }
            }
        }
        self.drop_empty()?;
        Ok(found.into_values().collect())
    }

    fn drop_empty(&mut self) -> io::Result<()> {
        let is_empty = |load: &Load| load.entries == 0 && !load.is_kept();
        let empty: Vec<u64> = self.loads.iter().filter(|(_, load)| is_empty(load)).map(|(number, _)| *number).collect();
        empty.into_iter().try_for_each(|number| self.drop_file(number))
    }

    /// Files in which something could not be read, or was not whole.
    pub(crate) fn in_doubt(&self) -> Vec<PathBuf> {
        self.files(|load| load.doubt)
    }

    /// The newest epoch that stands in a file.
    pub(crate) fn newest_epoch(&self) -> u64 {
        self.loads.values().map(|load| load.epoch).max().unwrap_or(0)
    }

    /// Files that are kept for what may stand in them.
    pub(crate) fn kept(&self) -> Vec<PathBuf> {
        self.files(Load::is_kept)
    }

    fn files(&self, which: impl Fn(&Load) -> bool) -> Vec<PathBuf> {
        self.loads.iter().filter(|(_, load)| which(load)).map(|(number, _)| self.path(*number)).collect()
    }

    /// All that was promised stands where it can be read: what could not be was a torn end. Where records up to an epoch
    /// are lost, that is known only of files that a later process wrote: those with something newer in them, or in a file
    /// before them.
    pub(crate) fn nothing_is_missing(&mut self, lost_through: Option<u64>) -> io::Result<()> {
        let mut newest = 0;
        for load in self.loads.values_mut() {
            newest = newest.max(load.epoch);
            load.doubt &= lost_through.is_some_and(|through| newest <= through);
        }
        self.drop_empty()
    }

    /// Gives files that are kept, and hold nothing that waits, the name of what nobody looks at.
    pub(crate) fn set_kept_aside(&mut self) -> io::Result<()> {
        let is_over = |load: &Load| load.is_kept() && load.entries == 0;
        let over: Vec<u64> = self.loads.iter().filter(|(_, load)| is_over(load)).map(|(number, _)| *number).collect();
        for number in over {
            let path = self.path(number);
            self.disk.rename_new(&path, &path.with_extension(ASIDE))?;
            self.loads.remove(&number);
        }
        Ok(())
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:016x}.{SUFFIX}"))
    }

    fn count(&mut self, entry: &Entry, by: i64) {
        if let Some(load) = number_of(&entry.path).and_then(|number| self.loads.get_mut(&number)) {
            load.entries = load.entries.saturating_add_signed(by);
            load.bytes = load.bytes.saturating_add_signed(by.saturating_mul(i64::try_from(entry.size).unwrap_or(0)));
        }
    }

    /// Appends a group and syncs it. Where that fails none of it counts, and the segment is not written to again: after
    /// a failed sync nobody knows what of it is on the disk.
    pub(crate) fn append(&mut self, group: &[Small]) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::with_capacity(group.len());
        let mut waiting = group.iter().peekable();
        while waiting.peek().is_some() {
            let mut bytes = Vec::new();
            let mut piece = Vec::new();
            let (path, begin) = self.room()?;
            while let Some(small) = waiting.next_if(|small| bytes.is_empty() || fits(&bytes, small)) {
                bytes.extend_from_slice(&head(small));
                piece.push(Entry {
                    id: small.id,
                    kind: small.kind,
                    priority: small.priority,
                    epoch: small.epoch,
                    sequence: small.sequence,
                    size: small.bytes.len() as u64,
                    path: path.clone(),
                    offset: begin + bytes.len() as u64,
                });
                bytes.extend_from_slice(&small.bytes);
            }
            if let Err(error) = self.write(&bytes) {
                // Of a group all counts or nothing: what was written before holds back no segment.
                entries.iter().for_each(|entry| self.count(entry, -1));
                self.abandon();
                return Err(error);
            }
            piece.iter().for_each(|entry| self.count(entry, 1));
            entries.append(&mut piece);
        }
        Ok(entries)
    }

    /// The segment to append to, and where it ends.
    fn room(&mut self) -> io::Result<(Arc<Path>, u64)> {
        if self.open.as_ref().is_some_and(|open| open.end >= self.bytes_max) {
            self.open = None;
        }
        if let Some(open) = &self.open {
            return Ok((open.path.clone(), open.end));
        }
        let number = self.next;
        self.next += 1;
        let path: Arc<Path> = self.path(number).into();
        let made = self.disk.create(&path).and_then(|mut file| {
            self.disk.append(&mut file, &header(number))?;
            self.disk.sync_dir(&self.dir)?;
            Ok(file)
        });
        let file = match made {
            Ok(file) => file,
            Err(error) => {
                // A full disk must not be left with one more file at every attempt. What cannot go now goes at the start.
                let _left = self.disk.remove_file(&path);
                return Err(error);
            }
        };
        self.loads.insert(number, Load { end: HEADER_BYTES as u64, ..Load::default() });
        self.open = Some(Open { number, path: path.clone(), file, end: HEADER_BYTES as u64 });
        Ok((path, HEADER_BYTES as u64))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(open) = &mut self.open else { return Err(io::ErrorKind::NotFound.into()) };
        self.disk.append(&mut open.file, bytes)?;
        self.disk.sync_data(&open.file)?;
        open.end += bytes.len() as u64;
        if let Some(load) = self.loads.get_mut(&open.number) {
            load.end = open.end;
        }
        Ok(())
    }

    /// What was written and not synced stays behind; a file that holds nothing else goes, so that a full disk is not left
    /// with one more at every attempt.
    fn abandon(&mut self) {
        let Some(open) = self.open.take() else { return };
        if self.loads.get(&open.number).is_some_and(|load| load.entries == 0) {
            let _kept_until_the_next_start = self.drop_file(open.number);
        }
    }

    /// An entry went. Answers the number of its segment where little is left standing in it.
    pub(crate) fn remove(&mut self, entry: &Entry) -> io::Result<Option<u64>> {
        let Some(number) = number_of(&entry.path).filter(|number| self.loads.contains_key(number)) else {
            return Ok(None);
        };
        let place = head_of(entry);
        let marked = match self.open.as_ref().filter(|open| open.number == number) {
            Some(open) => self.disk.write_at(&open.file, &[WENT], place),
            None => self.disk.open_write(&entry.path).and_then(|file| self.disk.write_at(&file, &[WENT], place)),
        };
        // Beside a bad sector a byte cannot be written, because the kernel must read the rest of its page. What allows the
        // entry to go is on record, and a start that finds it standing asks there.
        marked.or_else(|error| if is_unreadable(&error) { Ok(()) } else { Err(error) })?;
        self.count(entry, -1);
        let is_open = self.open.as_ref().is_some_and(|open| open.number == number);
        let Some(load) = self.loads.get(&number).filter(|load| !load.is_kept()) else { return Ok(None) };
        if load.entries == 0 && (!is_open || load.end >= self.bytes_max / 4) {
            if is_open {
                self.open = None;
            }
            self.drop_file(number)?;
            return Ok(None);
        }
        Ok((!is_open && !load.stuck && load.bytes.saturating_mul(SPARSE) < load.end).then_some(number))
    }

    /// Moves what stands in a segment to the open one and removes the file. What cannot be read stays there, keeps the file
    /// and no other entry, and is not tried again by this process. Answers where everything is now.
    pub(crate) fn move_out(&mut self, number: u64, standing: &[Entry]) -> io::Result<Moved> {
        let (mut group, mut unread) = (Vec::new(), Vec::new());
        for entry in standing {
            match read(&self.disk, entry) {
                Ok(small) => group.push(small),
                Err(error) if is_unreadable(&error) => unread.push(entry.clone()),
                Err(error) => return Err(error),
            }
        }
        let moved = self.append(&group)?;
        if unread.is_empty() {
            self.drop_file(number)?;
            return Ok(Moved { moved, unread });
        }
        let went = moved.iter().map(|entry| entry.id).collect::<HashSet<_>>();
        let file = self.disk.open_write(&self.path(number)).ok();
        for entry in standing.iter().filter(|entry| went.contains(&entry.id)) {
            // Standing twice it is sent once more by a start that finds it here, and costs no more than that.
            let _marked = file.as_ref().map(|file| self.disk.write_at(file, &[WENT], head_of(entry)));
            self.count(entry, -1);
        }
        if let Some(load) = self.loads.get_mut(&number) {
            load.stuck = true;
        }
        Ok(Moved { moved, unread })
    }

    fn drop_file(&mut self, number: u64) -> io::Result<()> {
        self.disk.remove_file(&self.path(number))?;
        self.loads.remove(&number);
        Ok(())
    }
}

/// Where the head of an entry's frame begins.
fn head_of(entry: &Entry) -> u64 {
    entry.offset.saturating_sub(HEAD_BYTES as u64)
}

fn fits(bytes: &[u8], small: &Small) -> bool {
    bytes.len() + HEAD_BYTES + small.bytes.len() <= GROUP_BYTES_MAX
}

/// The number of a segment, by its name.
pub(crate) fn number_of(path: &Path) -> Option<u64> {
    number_named(path, SUFFIX)
}

fn number_named(path: &Path, with: &str) -> Option<u64> {
    let (stem, suffix) = path.file_name()?.to_str()?.split_once('.')?;
    (suffix == with && stem.len() == 16).then(|| u64::from_str_radix(stem, 16).ok())?
}

fn header(number: u64) -> Vec<u8> {
    [&MAGIC[..], &number.to_be_bytes()].concat()
}

fn head(small: &Small) -> Vec<u8> {
    let kind = match small.kind {
        EntryKind::Bundle => 0,
        EntryKind::Receipts => 1,
    };
    let mut head = vec![STANDS, kind];
    head.push(small.priority.code());
    head.extend_from_slice(&small.epoch.to_be_bytes());
    head.extend_from_slice(&small.sequence.to_be_bytes());
    head.extend_from_slice(&small.id.0);
    head.extend_from_slice(&u32::try_from(small.bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    let crc = crc32fast::hash(head.get(1..).unwrap_or_default());
    head.extend_from_slice(&crc.to_be_bytes());
    head
}

/// What a segment holds, as far as it can be read.
struct Read {
    /// Entries that stand.
    standing: Vec<Entry>,
    /// Something in it is no frame of ours or cannot be read: a torn end, or a disk that lost what was promised. Whoever
    /// knows what was promised says which.
    doubt: bool,
    /// The newest epoch of all that stands or stood in it.
    epoch: u64,
}

/// Reads a segment. A frame whose head is not whole is the torn end of what was being written, or a disk that has lost
/// some bytes in the middle: the next head that is whole goes on. So it is where the segment's own header is spoiled.
fn frames(disk: &Disk, path: &Arc<Path>, number: u64, end: u64) -> io::Result<Read> {
    let file = File::open(path)?;
    let mut read = Read { standing: Vec::new(), doubt: false, epoch: 0 };
    if end < (HEADER_BYTES + HEAD_BYTES) as u64 {
        // Too short for any frame: it died before there was one.
        return Ok(read);
    }
    let mut start = [0; HEADER_BYTES];
    disk.read_around(&file, &mut start, 0)?;
    let mut at = HEADER_BYTES as u64;
    if start[..] != header(number) {
        read.doubt = true;
        at = next_head(disk, &file, path, 0, end)?.unwrap_or(end);
    }
    let mut frame = [0; HEAD_BYTES];
    while at + HEAD_BYTES as u64 <= end {
        disk.read_around(&file, &mut frame, at)?;
        let whole = parse(&frame, path).filter(|(_, entry)| at + HEAD_BYTES as u64 + entry.size <= end);
        let Some((stands, mut entry)) = whole else {
            read.doubt = true;
            at = next_head(disk, &file, path, at + 1, end)?.unwrap_or(end);
            continue;
        };
        entry.offset = at + HEAD_BYTES as u64;
        at = entry.offset + entry.size;
        read.epoch = read.epoch.max(entry.epoch);
        if stands {
            read.standing.push(entry);
        }
    }
    read.doubt |= at < end;
    Ok(read)
}

/// Where the next whole head stands, from here to the end.
fn next_head(disk: &Disk, file: &File, path: &Arc<Path>, from: u64, end: u64) -> io::Result<Option<u64>> {
    let is_head = |window: &[u8]| window.try_into().is_ok_and(|frame: &[u8; HEAD_BYTES]| parse(frame, path).is_some());
    let mut at = from;
    while at + HEAD_BYTES as u64 <= end {
        let mut piece = vec![0; usize::try_from(end - at).unwrap_or(usize::MAX).min(SEARCHED_BYTES)];
        disk.read_around(file, &mut piece, at)?;
        if let Some(next) = piece.windows(HEAD_BYTES).position(is_head) {
            return Ok(Some(at + next as u64));
        }
        at += (piece.len() - HEAD_BYTES + 1) as u64;
    }
    Ok(None)
}

fn parse(frame: &[u8; HEAD_BYTES], path: &Arc<Path>) -> Option<(bool, Entry)> {
    let (said, crc) = frame.split_last_chunk::<4>()?;
    let (went, said) = said.split_first()?;
    if crc32fast::hash(said) != u32::from_be_bytes(*crc) {
        return None;
    }
    let ([kind, priority], rest) = said.split_first_chunk::<2>()?;
    let (epoch, rest) = rest.split_first_chunk::<8>()?;
    let (sequence, rest) = rest.split_first_chunk::<8>()?;
    let (id, rest) = rest.split_first_chunk::<16>()?;
    let size = u32::from_be_bytes(rest.try_into().ok()?);
    let entry = Entry {
        id: protocol::der_types::Octets(*id),
        kind: *EntryKind::ALL.get(usize::from(*kind))?,
        priority: Priority::from_code(*priority)?,
        epoch: u64::from_be_bytes(*epoch),
        sequence: u64::from_be_bytes(*sequence),
        size: u64::from(size),
        path: path.clone(),
        offset: 0,
    };
    (size as usize <= SMALL_BYTES_MAX).then_some((*went != WENT, entry))
}

/// An entry as it is to be appended elsewhere.
fn read(disk: &Disk, entry: &Entry) -> io::Result<Small> {
    let mut bytes = vec![0; usize::try_from(entry.size).unwrap_or(0).min(SMALL_BYTES_MAX)];
    entry.open_on(disk)?.read_exact_at(&mut bytes, 0)?;
    let Entry { id, kind, priority, epoch, sequence, .. } = entry;
    Ok(Small { id: *id, kind: *kind, priority: *priority, epoch: *epoch, sequence: *sequence, bytes })
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, clippy::disallowed_methods, reason = "a story plays the broken disk")]
mod tests {
    use super::*;
    use crate::disk::Fuse;
    use std::collections::BTreeSet;

    fn small(n: u64) -> Small {
        let mut id = [0; 16];
        id[8..].copy_from_slice(&n.to_be_bytes());
        let bytes = vec![n as u8; 50 + (n as usize * 37) % 300];
        let (kind, priority) = (EntryKind::ALL[n as usize % 2], Priority::ALL[n as usize % 3]);
        Small { id: protocol::der_types::Octets(id), kind, priority, epoch: 7, sequence: n, bytes }
    }

    fn is(entry: &Entry, small: &Small) -> bool {
        let about = (entry.kind, entry.priority, entry.epoch, entry.sequence);
        about == (small.kind, small.priority, small.epoch, small.sequence)
            && read(&Disk::real(), entry).unwrap().bytes == small.bytes
    }

    fn within(known: &BTreeSet<BundleId>) -> impl Fn(&Entry) -> io::Result<Known> {
        |entry| Ok(if known.contains(&entry.id) { Known::Recorded } else { Known::Never })
    }

    fn reload(dir: &Path, known: &BTreeSet<BundleId>) -> Vec<Entry> {
        Segments::new(&Disk::real(), dir, 2_000).load::<io::Error>(&within(known)).unwrap()
    }

    /// Stages in groups, records most of them, lets most of those go, and moves what is left of sparse segments.
    fn live(disk: &Disk, dir: &Path, known: &mut BTreeSet<BundleId>, gone: &mut BTreeSet<BundleId>) -> io::Result<()> {
        let mut segments = Segments::new(disk, dir, 2_000);
        let mut standing: Vec<Entry> = segments.load::<io::Error>(&within(known))?;
        for turn in 0..12_u64 {
            let group: Vec<Small> = (0..1 + turn % 4).map(|n| small(turn * 10 + n)).collect();
            let staged = segments.append(&group)?;
            for entry in staged {
                // One of them could not be recorded: it is let go again.
                if entry.sequence % 5 == 4 {
                    segments.remove(&entry)?;
                } else {
                    known.insert(entry.id);
                    standing.push(entry);
                }
            }
            while standing.len() > 6 {
                let one = standing.remove((turn as usize * 3) % standing.len());
                gone.insert(one.id);
                if let Some(sparse) = segments.remove(&one)? {
                    let within = |entry: &Entry| number_of(&entry.path) == Some(sparse);
                    let (left, rest): (Vec<Entry>, Vec<Entry>) = standing.into_iter().partition(within);
                    standing = rest;
                    standing.extend(segments.move_out(sparse, &left)?.moved);
                }
            }
        }
        Ok(())
    }

    #[test]
    fn a_damaged_head_costs_its_own_entry_and_none_behind_it() {
        let dir = tempfile::tempdir().unwrap();
        let known: BTreeSet<BundleId> = (0..20).map(|n| small(n).id).collect();
        let group: Vec<Small> = (0..20).map(small).collect();
        let written = Segments::new(&Disk::real(), dir.path(), 1 << 20).append(&group).unwrap();
        let path = written[0].path.clone();
        let whole = std::fs::read(&path).unwrap();
        for (broken, entry) in written.iter().enumerate() {
            for flipped in [0, 1, 5, HEAD_BYTES - 1] {
                let mut bytes = whole.clone();
                bytes[entry.offset as usize - HEAD_BYTES + flipped] ^= 0x55;
                std::fs::write(&path, bytes).unwrap();
                // Its first byte says only whether it went, and one that is neither word has not.
                let lost = Some(broken as u64).filter(|_| flipped > 0);
                let left: BTreeSet<u64> = Segments::new(&Disk::real(), dir.path(), 1 << 20)
                    .load::<io::Error>(&within(&known))
                    .unwrap()
                    .into_iter()
                    .map(|entry| entry.sequence)
                    .collect();
                assert_eq!(left, (0..20).filter(|n| Some(*n) != lost).collect(), "byte {flipped} of head {broken}");
            }
        }
    }

    #[test]
    fn a_start_that_cannot_read_the_header_of_a_segment_finds_every_entry_and_removes_nothing() {
        let (dir, graveyard) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let group: Vec<Small> = (0..60).map(small).collect();
        let written = Segments::new(&Disk::real(), dir.path(), 1 << 20).append(&group).unwrap();
        let path = written[0].path.clone();
        let whole = std::fs::read(&path).unwrap();
        let found = |disk: &Disk, word: Known| {
            let mut segments = Segments::new(disk, dir.path(), 1 << 20);
            let found = segments.load::<io::Error>(&|_| Ok(word)).unwrap();
            (found.into_iter().map(|entry| entry.sequence).collect::<BTreeSet<u64>>(), segments)
        };
        for at in 0..HEADER_BYTES {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x08;
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(found(&Disk::real(), Known::Recorded).0, (0..60).collect(), "byte {at}");
            // Even one in which nothing is known to wait is kept until it is said that nothing is missing.
            let (none, mut segments) = found(&Disk::real(), Known::Never);
            assert!(none.is_empty() && std::fs::read(&path).unwrap() == bytes, "byte {at}");
            assert_eq!(segments.in_doubt(), [path.to_path_buf()]);
            segments.nothing_is_missing(None).unwrap();
            assert!(!path.exists());
        }
        std::fs::write(&path, &whole).unwrap();
        let power = crate::power::Power::on(graveyard.path(), 1).unwrap();
        let disk = Disk::with_power(power.clone(), Fuse::after(u64::MAX));
        power.set_weather(Some(crate::power::Weather { fault: crate::power::Fault::Unreadable, one_in: 1 }));
        assert!(found(&disk, Known::Recorded).0.is_empty() && std::fs::read(&path).unwrap() == whole);
        power.set_weather(None);
        for page in [0, 4096] {
            power.spoil(&path, page).unwrap();
            let on_page = |entry: &&Entry| {
                let head = entry.offset - HEAD_BYTES as u64;
                head < page + 4096 && entry.offset > page
            };
            let lost: BTreeSet<u64> = written.iter().filter(on_page).map(|entry| entry.sequence).collect();
            assert!(!lost.is_empty());
            let (left, segments) = found(&disk, Known::Recorded);
            assert!(left.is_disjoint(&lost) && segments.in_doubt() == [path.to_path_buf()]);
            if page == 0 {
                assert_eq!(left.len() + lost.len(), 60, "one page costs what stands in it");
            }
        }
        assert_eq!(std::fs::read(&path).unwrap(), whole);
    }

    #[test]
    fn an_entry_that_goes_takes_no_file_with_it_in_which_something_could_not_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let written = Segments::new(&Disk::real(), dir.path(), 1 << 20).append(&[small(1), small(2)]).unwrap();
        let path = written[0].path.clone();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[written[0].offset as usize - 1] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let mut segments = Segments::new(&Disk::real(), dir.path(), 1 << 20);
        let left = segments.load::<io::Error>(&|_| Ok(Known::Recorded)).unwrap();
        assert_eq!(left.len(), 1);
        assert_eq!(segments.remove(&left[0]).unwrap(), None);
        assert!(path.exists());
    }

    #[test]
    fn what_was_recorded_and_not_let_go_is_found_whole_whatever_effect_the_process_died_at() {
        for effects in 0.. {
            let dir = tempfile::tempdir().unwrap();
            let fuse = Fuse::after(effects);
            let (mut known, mut gone) = (BTreeSet::new(), BTreeSet::new());
            let lived = live(&Disk::with_fuse(fuse.clone()), dir.path(), &mut known, &mut gone);
            assert_eq!(lived.is_err(), fuse.burnt());
            for _ in 0..2 {
                let found = reload(dir.path(), &known);
                assert!(found.iter().all(|entry| known.contains(&entry.id) && is(entry, &small(entry.sequence))));
                let found: BTreeSet<BundleId> = found.iter().map(|entry| entry.id).collect();
                assert!(known.difference(&gone).all(|id| found.contains(id)), "after {effects} effects");
            }
            if lived.is_ok() {
                let found = reload(dir.path(), &known).len();
                assert_eq!(found, known.difference(&gone).count(), "what went does not come back without a power cut");
                assert!(effects > 60, "the story is long enough to die in");
                return;
            }
        }
    }

    #[test]
    fn a_segment_cut_or_flipped_anywhere_gives_nothing_that_was_not_put_there() {
        let dir = tempfile::tempdir().unwrap();
        let mut segments = Segments::new(&Disk::real(), dir.path(), 1 << 20);
        let group: Vec<Small> = (1..6).map(small).collect();
        segments.append(&group).unwrap();
        let path = dir.path().join("0000000000000001.seg");
        let bytes = std::fs::read(&path).unwrap();
        let all: BTreeSet<BundleId> = group.iter().map(|small| small.id).collect();
        for cut in 0..bytes.len() {
            std::fs::write(&path, &bytes[..cut]).unwrap();
            assert!(reload(dir.path(), &all).iter().all(|entry| is(entry, &small(entry.sequence))), "cut at {cut}");
            std::fs::write(&path, &bytes).unwrap();
        }
        for at in 0..bytes.len() {
            let mut broken = bytes.clone();
            broken[at] ^= 0x10;
            std::fs::write(&path, &broken).unwrap();
            for entry in reload(dir.path(), &all) {
                let one = small(entry.sequence);
                // A flipped byte of a bundle is the bundle's to notice.
                let about = (entry.kind, entry.priority, entry.epoch, entry.sequence, entry.size);
                assert_eq!(about, (one.kind, one.priority, one.epoch, one.sequence, one.bytes.len() as u64));
            }
            std::fs::write(&path, &bytes).unwrap();
        }
    }

    #[test]
    fn an_entry_whose_move_was_not_synced_is_read_where_it_stood_before() {
        let dir = tempfile::tempdir().unwrap();
        let mut segments = Segments::new(&Disk::real(), dir.path(), 1);
        segments.append(&[small(1)]).unwrap();
        // What a loss of power may leave of the second place: the head of the frame, and zeros for its bytes.
        let torn = [header(2), head(&small(1)), vec![0; small(1).bytes.len()]].concat();
        std::fs::write(dir.path().join(format!("{:016x}.{SUFFIX}", 2)), torn).unwrap();
        let mut again = Segments::new(&Disk::real(), dir.path(), 1);
        let found = again.load::<io::Error>(&|_| Ok(Known::Recorded)).unwrap();
        assert!(found.len() == 1 && is(&found[0], &small(1)));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "the torn place is thrown away");
    }

    #[test]
    fn a_disk_that_is_full_for_a_while_is_left_with_no_file_for_every_attempt() {
        let (dir, graveyard) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for seed in 0..20 {
            let power = crate::power::Power::on(graveyard.path(), seed).unwrap();
            let mut segments =
                Segments::new(&Disk::with_power(power.clone(), crate::disk::Fuse::after(u64::MAX)), dir.path(), 2_000);
            let kept = segments.append(&[small(1)]).unwrap();
            power.set_weather(Some(crate::power::Weather { fault: crate::power::Fault::Full, one_in: 3 }));
            let stood = (0..60).filter(|_| segments.append(&(2..20).map(small).collect::<Vec<_>>()).is_err()).count();
            power.set_weather(None);
            assert!(stood > 5, "the disk was full now and then");
            let open = segments.open.as_ref().map(|open| open.number);
            assert!(segments.loads.iter().all(|(number, load)| load.entries > 0 || Some(*number) == open));
            let files = std::fs::read_dir(dir.path()).unwrap().count();
            assert_eq!(files, segments.loads.len(), "seed {seed}: no file that nothing is known of");
            assert!(is(&kept[0], &small(1)));
            std::fs::read_dir(dir.path()).unwrap().for_each(|file| std::fs::remove_file(file.unwrap().path()).unwrap());
        }
    }

    #[test]
    fn a_segment_goes_with_its_last_entry_and_a_sparse_one_is_emptied() {
        let dir = tempfile::tempdir().unwrap();
        let mut segments = Segments::new(&Disk::real(), dir.path(), 2_000);
        let entries: Vec<Entry> = (0..40).flat_map(|n| segments.append(&[small(n)]).unwrap()).collect();
        let files = || std::fs::read_dir(dir.path()).unwrap().count();
        assert!(files() > 3);
        let (last, others) = entries.split_last().unwrap();
        let mut moved = Vec::new();
        for entry in others.iter().filter(|entry| entry.sequence % 10 != 0) {
            if let Some(sparse) = segments.remove(entry).unwrap() {
                let left: Vec<Entry> = entries
                    .iter()
                    .filter(|other| other.sequence % 10 == 0 && number_of(&other.path) == Some(sparse))
                    .cloned()
                    .collect();
                moved.extend(segments.move_out(sparse, &left).unwrap().moved);
            }
        }
        assert!(!moved.is_empty() && moved.iter().all(|entry| is(entry, &small(entry.sequence))));
        assert!(files() <= 3, "{} files", files());
        assert!(is(last, &small(39)));
    }
}
