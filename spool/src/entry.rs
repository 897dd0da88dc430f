//! Something sealed in a queue: where its bytes are, and how a file's name says what it is. A small entry of an outbox
//! lies in a segment that it shares with others, from an offset on.
//!
//! ```text
//! outbox    <priority digit>-<epoch, 8 hex>-<sequence, 16 hex>-<id, 32 hex>.<bundle|receipts>
//! arrivals  <id, 32 hex>.<bundle|receipts>
//! ```

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use protocol::BundleId;
use protocol::parcel::Priority;

use crate::disk::Disk;

/// What kind of sealed file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryKind {
    /// A sealed parcel.
    Bundle,
    /// A signed batch of receipts.
    Receipts,
}

impl EntryKind {
    /// Both kinds.
    pub const ALL: [EntryKind; 2] = [EntryKind::Bundle, EntryKind::Receipts];
    /// The suffix of its file name.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            EntryKind::Bundle => "bundle",
            EntryKind::Receipts => "receipts",
        }
    }
}

/// Something sealed in a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
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
    /// Bytes.
    pub size: u64,
    /// The file it is in.
    pub path: Arc<Path>,
    /// Where in that file it begins; 0 where the file is its own.
    pub offset: u64,
}

impl Entry {
    /// Its bytes. For an entry of an outbox ask [`crate::Outbox::content`], which knows where they are by now.
    pub fn open(&self) -> io::Result<Content> {
        self.open_on(&Disk::real())
    }

    pub(crate) fn open_on(&self, disk: &Disk) -> io::Result<Content> {
        let file = File::open(&self.path)?;
        Ok(Content { file, disk: disk.clone(), offset: self.offset, size: self.size, at: 0, notes: None })
    }

    pub(crate) fn outbox_name(&self) -> String {
        let Entry { id, kind, priority, epoch, sequence, .. } = self;
        format!("{}-{epoch:08x}-{sequence:016x}-{id}.{}", priority.code(), kind.suffix())
    }

    /// Reads a name in an outbox; size and path as given.
    pub(crate) fn from_outbox(path: &Path, size: u64) -> Option<Entry> {
        let (stem, suffix) = path.file_name()?.to_str()?.split_once('.')?;
        let kind = EntryKind::ALL.into_iter().find(|kind| kind.suffix() == suffix)?;
        let mut parts = stem.split('-');
        let priority = Priority::from_code(parts.next()?.parse().ok()?)?;
        let epoch = u64::from_str_radix(parts.next()?, 16).ok()?;
        let sequence = u64::from_str_radix(parts.next()?, 16).ok()?;
        let id = BundleId::from_hex(parts.next()?)?;
        let entry = Entry { id, kind, priority, epoch, sequence, size, path: path.into(), offset: 0 };
        // One form only: a name that we would not have written is not ours.
        (parts.next().is_none() && path.file_name()?.to_str()? == entry.outbox_name()).then_some(entry)
    }

    pub(crate) fn arrival_name(id: &BundleId, kind: EntryKind) -> String {
        format!("{id}.{}", kind.suffix())
    }

    /// Reads a name in arrivals; the numbers are not known before the envelope is read.
    pub(crate) fn from_arrival(path: &Path, size: u64) -> Option<Entry> {
        let (stem, suffix) = path.file_name()?.to_str()?.split_once('.')?;
        let kind = EntryKind::ALL.into_iter().find(|kind| kind.suffix() == suffix)?;
        let id = BundleId::from_hex(stem)?;
        Some(Entry { id, kind, priority: Priority::Normal, epoch: 0, sequence: 0, size, path: path.into(), offset: 0 })
    }
}

/// Is told what of an entry the disk gave, and what it did not.
pub(crate) trait Notes: std::fmt::Debug + Send + Sync {
    /// Of this piece.
    fn read(&self, at: u64, bytes: u64, failed: Option<&io::Error>);
}

/// The bytes of an entry, wherever they lie.
#[derive(Debug)]
pub struct Content {
    file: File,
    disk: Disk,
    offset: u64,
    size: u64,
    at: u64,
    notes: Option<Box<dyn Notes>>,
}

impl Content {
    /// Reads all of `into` from a place in the entry; past its end there is nothing.
    pub fn read_exact_at(&self, into: &mut [u8], at: u64) -> io::Result<()> {
        if at.checked_add(into.len() as u64).is_none_or(|end| end > self.size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let read = self.disk.read_at(&self.file, into, self.offset + at);
        self.note(at, into.len(), read.as_ref().err());
        read
    }

    pub(crate) fn with_notes(self, notes: impl Notes + 'static) -> Content {
        Content { notes: Some(Box::new(notes)), ..self }
    }

    fn note(&self, at: u64, bytes: usize, failed: Option<&io::Error>) {
        if let Some(notes) = &self.notes {
            notes.read(at, bytes as u64, failed);
        }
    }
}

impl Read for Content {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size - self.at).unwrap_or(usize::MAX);
        let many = into.len().min(left);
        let Some(into) = into.get_mut(..many) else { return Ok(0) };
        let read = self.disk.read_some(&self.file, into, self.offset + self.at).and_then(|read| {
            // A file that ends before its entry does: whoever copies it must not take that for the whole.
            if read == 0 && many > 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(read) }
        });
        self.note(self.at, *read.as_ref().unwrap_or(&many), read.as_ref().err());
        self.at += *read.as_ref().unwrap_or(&0) as u64;
        read
    }
}

impl Seek for Content {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
        };
        // Behind the end stands somebody else's entry.
        self.at = at.filter(|at| *at <= self.size).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
