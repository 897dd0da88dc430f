//! The papers of a ferry trip: what lies on the medium, who carries it, who agreed. Codes and register ids, no free text.

use der::asn1::OctetString;

use crate::der_types::impl_der_code;
use crate::id::BundleId;
use crate::name::Name;
use crate::signed::Statement;
use crate::suite::Digest;
use crate::time::Timestamp;
use crate::zone::Crossing;

/// A 25 GB disc of 1 MiB bundles holds about 24,000. More than this is an attack or a bug.
pub const WAYBILL_LINES_MAX: usize = 65_536;
/// Bytes of a waybill: 65,536 lines of about 130 bytes.
pub const WAYBILL_BYTES_MAX: usize = 10 << 20;

/// What a line of a waybill names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum LineKind {
    /// A sealed bundle.
    Bundle = 1,
    /// A signed batch of receipts and gap reports.
    Receipts = 2,
}

impl LineKind {
    /// Both.
    pub const ALL: [LineKind; 2] = [LineKind::Bundle, LineKind::Receipts];
}

/// One file on the medium.
#[derive(Clone, Debug, PartialEq, Eq, der::Sequence)]
pub struct WaybillLine {
    /// What it is.
    pub kind: LineKind,
    /// Its id.
    pub id: BundleId,
    /// Bytes.
    pub size: u64,
    /// Tree digest of the whole file.
    pub digest: Digest,
    /// The numbers it takes on the crossing.
    pub epoch: u64,
    /// See `epoch`.
    pub sequence: u64,
}

/// What the sending node signs about a trip.
#[derive(Clone, Debug, PartialEq, Eq, der::Sequence)]
pub struct Waybill {
    /// [`crate::parcel::VERSION`].
    pub version: u8,
    /// The trip's number on this crossing, from 1, without gaps.
    pub trip: u64,
    /// Which border.
    pub crossing: Crossing,
    /// From which node.
    pub source: Name,
    /// To which node.
    pub target: Name,
    /// The medium's id in the register.
    pub medium: Name,
    /// The carrier's register id.
    pub carrier: Name,
    /// Who asked for it.
    pub exporter: Name,
    /// How many countersignatures the receiver must find.
    pub approvals: u8,
    /// When.
    pub at: Timestamp,
    /// The source's ledger: a signed [`crate::witness::HeadStatement`] to the target.
    pub stated: OctetString,
    /// Everything on the medium.
    pub lines: Vec<WaybillLine>,
}

/// One person's countersignature.
#[derive(Clone, Debug, PartialEq, Eq, der::Sequence)]
pub struct Approval {
    /// [`crate::parcel::VERSION`].
    pub version: u8,
    /// Digest of the signed waybill.
    pub waybill: Digest,
    /// The trip, for the person who reads what they sign.
    pub trip: u64,
    /// Who.
    pub person: Name,
    /// When.
    pub at: Timestamp,
}

impl Statement for Waybill {
    const DOMAIN: &'static str = "trilock-v1-waybill";
    const WHAT: &'static str = "waybill";
    const BYTES_MAX: usize = WAYBILL_BYTES_MAX;
    fn version(&self) -> u8 {
        self.version
    }
}
impl Statement for Approval {
    const DOMAIN: &'static str = "trilock-v1-approval";
    const WHAT: &'static str = "approval";
    fn version(&self) -> u8 {
        self.version
    }
}

impl_der_code!(LineKind, LineKind::ALL);

/// The file name of a line on a medium: at most 64 ASCII characters, the same on every file system.
#[must_use]
pub fn line_file_name(line: &WaybillLine) -> String {
    let suffix = match line.kind {
        LineKind::Bundle => "bundle",
        LineKind::Receipts => "receipts",
    };
    format!("{}.{suffix}", line.id)
}
