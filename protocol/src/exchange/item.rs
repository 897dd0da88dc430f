//! One entry of an outbox as the two ends speak of it: what an offer says, and nothing of what is inside.

use crate::der_types::impl_der_code;
use crate::id::BundleId;
use crate::parcel::Priority;

/// What the file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A sealed parcel. It stays in the outbox until `arrived` is receipted.
    Bundle = 1,
    /// A signed batch of receipts. It has done its work once it is stored.
    Receipts = 2,
}

impl Kind {
    /// Both.
    pub const ALL: [Kind; 2] = [Kind::Bundle, Kind::Receipts];
}

impl_der_code!(Kind, Kind::ALL);

/// An entry, as it is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its id.
    pub id: BundleId,
    /// What it is.
    pub kind: Kind,
    /// How soon it matters.
    pub priority: Priority,
    /// The sender's epoch.
    pub epoch: u64,
    /// Its number in that epoch and crossing.
    pub sequence: u64,
    /// Its bytes.
    pub size: u64,
}
