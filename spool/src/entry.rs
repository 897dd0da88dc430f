//! A sealed file in a queue and how its name says what it is.
//!
//! ```text
//! outbox    <priority digit>-<epoch, 8 hex>-<sequence, 16 hex>-<id, 32 hex>.<bundle|receipts>
//! arrivals  <id, 32 hex>.<bundle|receipts>
//! ```

use std::path::{Path, PathBuf};

use protocol::BundleId;
use protocol::parcel::Priority;

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

/// A sealed file in a queue.
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
    /// Where it is.
    pub path: PathBuf,
}

impl Entry {
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
        let entry = Entry { id, kind, priority, epoch, sequence, size, path: path.to_owned() };
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
        Some(Entry { id, kind, priority: Priority::Normal, epoch: 0, sequence: 0, size, path: path.to_owned() })
    }
}
