//! Receipts and gap reports: what a node says became of what reached it. Codes only; relayed home unchanged.

use der::asn1::OctetString;

use crate::der_types::{DerError, impl_der_code};
use crate::id::{BundleId, ParcelId};
use crate::name::Name;
use crate::signed::{Signed, Statement};
use crate::suite::Digest;
use crate::time::Timestamp;
use crate::verdict::Reason;
use crate::zone::Crossing;

/// Receipts in one batch: a batch stays far below the limit of a DER object.
pub const BATCH_RECEIPTS_MAX: usize = 1_000;
/// Ranges in one gap report; a longer list is cut and said to be so by the next report.
pub const GAP_RANGES_MAX: usize = 4_096;

/// What became of a parcel at a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Outcome {
    /// Admitted and durable: custody passes to the node that signs.
    Arrived = 1,
    /// It stands in the outlet.
    Delivered = 2,
    /// It does not go on; the reason says why.
    Refused = 3,
    /// Held for people to look at.
    Quarantined = 4,
    /// The parcel was here before; nothing was delivered twice.
    Duplicate = 5,
}

impl Outcome {
    /// All outcomes.
    pub const ALL: [Outcome; 5] =
        [Outcome::Arrived, Outcome::Delivered, Outcome::Refused, Outcome::Quarantined, Outcome::Duplicate];
    /// The code word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Arrived => "arrived",
            Outcome::Delivered => "delivered",
            Outcome::Refused => "refused",
            Outcome::Quarantined => "quarantined",
            Outcome::Duplicate => "duplicate",
        }
    }
}

/// Size and root of a ledger at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, der::Sequence)]
pub struct Head {
    /// Which of the node's logs: 1, and a larger one after every restore.
    pub log: u64,
    /// Records.
    pub size: u64,
    /// Merkle root over them.
    pub root: Digest,
}

impl Default for Head {
    fn default() -> Self {
        Head { log: 1, size: 0, root: Digest::default() }
    }
}

/// What one node signs about one parcel.
#[derive(Clone, Debug, PartialEq, Eq, der::Sequence)]
pub struct Receipt {
    /// [`crate::parcel::VERSION`].
    pub version: u8,
    /// The parcel.
    pub parcel: ParcelId,
    /// The digest of its signed statement.
    pub statement: Digest,
    /// Who signs.
    pub node: Name,
    /// What became of it there.
    pub outcome: Outcome,
    /// Why, where it did not go on.
    pub reason: Option<Reason>,
    /// The bundle it came in.
    pub bundle: BundleId,
    /// The crossing it came by.
    pub crossing: Crossing,
    /// The numbers it came under.
    pub epoch: u64,
    /// See `epoch`.
    pub sequence: u64,
    /// When, by the signer's clock.
    pub at: Timestamp,
    /// The signer's ledger at that moment.
    pub head: Head,
}

/// Numbers from one to another, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, der::Sequence)]
pub struct Range {
    /// First.
    pub from: u64,
    /// Last.
    pub to: u64,
}

/// What is missing of one epoch.
#[derive(Clone, Debug, PartialEq, Eq, der::Sequence)]
pub struct EpochGaps {
    /// Which epoch.
    pub epoch: u64,
    /// Everything up to here is known to have been sent.
    pub through: u64,
    /// What is missing of it, ascending.
    pub missing: Vec<Range>,
}

/// What a receiver on a one-way crossing is missing. Importing it causes resends and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, der::Sequence)]
pub struct GapReport {
    /// [`crate::parcel::VERSION`].
    pub version: u8,
    /// Who is missing something.
    pub node: Name,
    /// On which crossing.
    pub crossing: Crossing,
    /// When.
    pub at: Timestamp,
    /// By epoch, ascending.
    pub epochs: Vec<EpochGaps>,
}

/// Receipts on their way home over one crossing. Takes a number of that crossing, as a bundle does, so that a lost
/// batch is a gap like any other.
#[derive(Clone, Debug, PartialEq, Eq, der::Sequence)]
pub struct ReceiptBatch {
    /// [`crate::parcel::VERSION`].
    pub version: u8,
    /// Its own id.
    pub batch: BundleId,
    /// The crossing it travels by.
    pub crossing: Crossing,
    /// Who sends it.
    pub source: Name,
    /// To whom.
    pub target: Name,
    /// Numbers of the crossing.
    pub epoch: u64,
    /// See `epoch`.
    pub sequence: u64,
    /// When.
    pub at: Timestamp,
    /// The sender's ledger: a signed [`crate::witness::HeadStatement`] to the target.
    pub stated: OctetString,
    /// Signed receipts, each as its signer made it.
    pub receipts: Vec<OctetString>,
    /// Signed gap reports of the sender.
    pub gap_reports: Vec<OctetString>,
    /// Numbers of this crossing that will never come: reserved when a process died, or retired.
    pub withdrawn: Vec<EpochGaps>,
}

impl ReceiptBatch {
    /// The signed receipts inside.
    pub fn read_receipts(&self) -> Result<Vec<Signed>, DerError> {
        self.receipts.iter().map(|bytes| Signed::parse::<Receipt>(bytes.as_bytes())).collect()
    }
    /// The signed gap reports inside.
    pub fn read_gap_reports(&self) -> Result<Vec<Signed>, DerError> {
        self.gap_reports.iter().map(|bytes| Signed::parse::<GapReport>(bytes.as_bytes())).collect()
    }
}

impl Statement for Receipt {
    const DOMAIN: &'static str = "trilock-v1-receipt";
    const WHAT: &'static str = "receipt";
    fn version(&self) -> u8 {
        self.version
    }
}
impl Statement for GapReport {
    const DOMAIN: &'static str = "trilock-v1-gap-report";
    const WHAT: &'static str = "gap report";
    fn version(&self) -> u8 {
        self.version
    }
}
impl Statement for ReceiptBatch {
    const DOMAIN: &'static str = "trilock-v1-receipt-batch";
    const WHAT: &'static str = "receipt batch";
    fn version(&self) -> u8 {
        self.version
    }
}

impl_der_code!(Outcome, Outcome::ALL);

impl Default for crate::der_types::Octets<32> {
    fn default() -> Self {
        crate::der_types::Octets([0; 32])
    }
}
