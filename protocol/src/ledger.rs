//! The ledger as pure functions: what a record says, the Merkle tree over records, and the signed checkpoint.
//! Knows no file and no clock; `spool` keeps the bytes, a neighbour or an auditor verifies them with this page alone.
//!
//! ```text
//! leaf i   = H(0x00 | DER of record i)        node = H(0x01 | left | right)        (RFC 9162, section 2.1)
//! local    = H(salt (32) | DER of Local)      the words stay in the zone, the record only binds them
//!
//! checkpoint note (C2SP tlog-checkpoint over signed-note), every line ends in one 0x0A:
//!   trilock/<node>                            the origin, and the name of the key; after a restore trilock/<node>/<log>
//!   <records, decimal>
//!   <base64 of the root, 32 bytes>
//!   (an empty line; what is signed is everything above it)
//!   U+2014 SP trilock/<node> SP <base64 of: key id (4) | signature>
//! key id    = first 4 bytes of H(trilock/<node> | 0x0A | type | public key)
//!   std: type 0x01, public key = 32 bytes of Ed25519, H = SHA-256, signature = 64 bytes: a standard C2SP note
//!   gm:  type 0xff "trilock-sm2-sm3", public key = DER SPKI, H = SM3, signature = DER SM2 with SM3
//! ```
//! H is the digest of the ledger's suite, fixed when the ledger is made.

use base64ct::{Base64, Encoding};

use crate::der_types::{self, DerError, impl_der_code};
use crate::id::{BundleId, ParcelId};
use crate::keys::{SigningKey, VerifyingKey};
use crate::name::Name;
use crate::parcel::{Label, VERSION};
use crate::receipt::{Head, Outcome};
use crate::signer::{SignError, Signer};
use crate::suite::{Digest, Suite};
use crate::time::Timestamp;
use crate::tree;
use crate::verdict::Reason;
use crate::zone::Crossing;

/// A record is ids, codes and names of at most 48 bytes: a few hundred bytes. More is not a record.
pub const RECORD_BYTES_MAX: usize = 4 * 1024;
/// Thirty-two labels of 256 bytes and one name of 512, with their frames.
pub const LOCAL_BYTES_MAX: usize = 16 * 1024;
/// A path through a tree of 2^64 leaves, and its mirror in a consistency proof.
pub const PROOF_DIGESTS_MAX: usize = 128;
/// Three lines, an empty one and a signature: more is not a checkpoint.
pub const NOTE_BYTES_MAX: usize = 1024;

/// The number of a node's first log. One that follows bears the epoch it began with, so that none repeats even where
/// two restores start from the same backup.
pub const FIRST_LOG: u64 = 1;

const ED25519_TYPE: &[u8] = &[0x01];
const SM2_TYPE: &[u8] = b"\xfftrilock-sm2-sm3";

macro_rules! events {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $name:literal;)*) => {
        /// What happened.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Event { $($(#[$doc])* $variant = $code,)* }
        impl Event {
            /// All events.
            pub const ALL: [Event; [$($code),*].len()] = [$(Event::$variant),*];
            /// The code word in listings.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Event::$variant => $name,)* }
            }
        }
    };
}

events! {
    /// The daemon opened its spool.
    NodeStarted = 1, "node-started";
    /// The numbers of all crossings start again at 1 under this epoch.
    EpochStarted = 2, "epoch-started";
    /// Numbers `sequence` to `through` of a crossing may now be used.
    SequencesReserved = 3, "sequences-reserved";
    /// Numbers `sequence` to `through` of a crossing of ours will never come.
    SequencesWithdrawn = 4, "sequences-withdrawn";
    /// A drop was taken out of its inlet and given its id.
    Claimed = 5, "claimed";
    /// Accepted at its origin: sealed for its first crossing.
    Accepted = 6, "accepted";
    /// Sealed anew for a next crossing.
    Relayed = 7, "relayed";
    /// The next node receipted: it answers for the parcel now.
    CustodyPassed = 8, "custody-passed";
    /// Admitted here: custody is ours.
    Arrived = 9, "arrived";
    /// About to appear in its outlet.
    Delivering = 10, "delivering";
    /// It stands in its outlet.
    Delivered = 11, "delivered";
    /// It does not go on; the reason says why.
    Refused = 12, "refused";
    /// Held for people to look at.
    Quarantined = 13, "quarantined";
    /// A second bundle of a parcel that was here before.
    Duplicate = 14, "duplicate";
    /// A number below the floor of its sender.
    Replayed = 15, "replayed";
    /// Retention ended before custody passed.
    Expired = 16, "expired";
    /// Coordinates came down from a higher zone.
    Incident = 17, "incident";
    /// A receipt about a parcel of ours came: `peer` signed it.
    ReceiptTaken = 18, "receipt-taken";
    /// A receipt batch came under this number.
    NumberTaken = 19, "number-taken";
    /// A receipt batch of ours took this number.
    ReceiptsSent = 20, "receipts-sent";
    /// We told a peer what is missing.
    GapReported = 21, "gap-reported";
    /// A peer told us what is missing.
    GapReportTaken = 22, "gap-report-taken";
    /// With a parcel: taken back by an operator. With a peer: its numbers `sequence` to `through` will never come.
    Withdrawn = 23, "withdrawn";
    /// Sent once more.
    Resent = 24, "resent";
    /// A trip was written to its staging place.
    TripStaged = 25, "trip-staged";
    /// A person countersigned a trip.
    TripApproved = 26, "trip-approved";
    /// The written medium was read back and is whole.
    TripConfirmed = 27, "trip-confirmed";
    /// A staged trip was never confirmed.
    TripExpired = 28, "trip-expired";
    /// A medium was read in.
    TripImported = 29, "trip-imported";
    /// A medium was turned away.
    TripRefused = 30, "trip-refused";
    /// Everything on it is accounted for.
    TripSettled = 31, "trip-settled";
    /// A route was switched on.
    RouteEnabled = 32, "route-enabled";
    /// A route was switched off.
    RouteDisabled = 33, "route-disabled";
    /// A request of a person or tool was answered.
    RequestAnswered = 34, "request-answered";
    /// The node holds a private key, `digest`, that it did not hold before.
    KeyMade = 35, "key-made";
    /// Records `sequence` to `through` of this ledger cannot be read; their leaves still stand in the tree.
    LedgerDamaged = 36, "ledger-damaged";
    /// A config came into force.
    ConfigLoaded = 37, "config-loaded";
    /// `peer` stated the head `head` in turn `sequence`, and proved that its ledger only grew.
    HeadWitnessed = 38, "head-witnessed";
    /// `peer` signed two things about its ledger that cannot both be true; or `peer` holds a head of ours that cannot.
    HeadContradicted = 39, "head-contradicted";
    /// Somebody read from this ledger: `digest` is the request, `bytes` the number of rows.
    LedgerRead = 40, "ledger-read";
    /// A card of a key, `digest`, of `peer` came into the trust folder: it is believed from here on.
    KeyTrusted = 41, "key-trusted";
    /// The card of the key `digest` of `peer` bears a last day, or another one, from here on.
    KeyRetired = 42, "key-retired";
    /// The card of the key `digest` of `peer` left the trust folder: nothing signed with it is taken any more.
    KeyRemoved = 43, "key-removed";
    /// The node's own private key `digest` is gone from its folder.
    KeyDropped = 44, "key-dropped";
    /// A backup was written and read back: `digest` names its head, `through` is the size of the ledger in it.
    BackupMade = 48, "backup-made";
    /// The first record of a log that follows another: the node was restored by `person`. `head` is the last head
    /// of the log before; no epoch up to `epoch` is ever used again.
    LogBegun = 49, "log-begun";
    /// It came again after a restore, or for the first time: nobody here can know, so it waits for an operator.
    MayBeDuplicate = 50, "may-be-duplicate";
    /// An operator says that it was not delivered before and lets it in.
    DuplicateAdmitted = 51, "duplicate-admitted";
    /// An operator says that it was delivered before.
    DuplicateClosed = 52, "duplicate-closed";
    /// A neighbour's paper names a parcel that this ledger, restored from a backup, knows nothing of.
    LostKnown = 53, "lost-known";
    /// The node's own clock is in doubt: from here on nothing ends by it.
    ClockDoubted = 60, "clock-doubted";
    /// The clock is believed again, by agreement or by the person.
    ClockTrusted = 61, "clock-trusted";
}

impl_der_code!(Event, Event::ALL);

/// One line of the ledger. Ids, codes and names of the office; never content.
#[derive(Clone, Debug, PartialEq, Eq, der::Sequence)]
pub struct Record {
    /// [`VERSION`].
    pub version: u8,
    /// When, by the node's own clock.
    pub at: Timestamp,
    /// What happened.
    pub event: Event,
    /// To which parcel.
    #[asn1(context_specific = "0", optional = "true", tag_mode = "IMPLICIT")]
    pub parcel: Option<ParcelId>,
    /// In which bundle.
    #[asn1(context_specific = "1", optional = "true", tag_mode = "IMPLICIT")]
    pub bundle: Option<BundleId>,
    /// Where the parcel was accepted.
    #[asn1(context_specific = "2", optional = "true", tag_mode = "IMPLICIT")]
    pub origin: Option<Name>,
    /// Its route.
    #[asn1(context_specific = "3", optional = "true", tag_mode = "IMPLICIT")]
    pub route: Option<Name>,
    /// Its registered type.
    #[asn1(context_specific = "4", optional = "true", tag_mode = "IMPLICIT")]
    pub parcel_type: Option<Name>,
    /// The other node.
    #[asn1(context_specific = "5", optional = "true", tag_mode = "IMPLICIT")]
    pub peer: Option<Name>,
    /// The hop.
    #[asn1(context_specific = "6", optional = "true", tag_mode = "IMPLICIT")]
    pub crossing: Option<Crossing>,
    /// The epoch of the number.
    #[asn1(context_specific = "7", optional = "true", tag_mode = "IMPLICIT")]
    pub epoch: Option<u64>,
    /// The number, or the first of a range.
    #[asn1(context_specific = "8", optional = "true", tag_mode = "IMPLICIT")]
    pub sequence: Option<u64>,
    /// The last number of a range that starts at `sequence`.
    #[asn1(context_specific = "9", optional = "true", tag_mode = "IMPLICIT")]
    pub through: Option<u64>,
    /// Statement, waybill, key or config, by event.
    #[asn1(context_specific = "10", optional = "true", tag_mode = "IMPLICIT")]
    pub digest: Option<Digest>,
    /// What a receipt said.
    #[asn1(context_specific = "11", optional = "true", tag_mode = "IMPLICIT")]
    pub outcome: Option<Outcome>,
    /// Why.
    #[asn1(context_specific = "12", optional = "true", tag_mode = "IMPLICIT")]
    pub reason: Option<Reason>,
    /// Who acted, where a person did.
    #[asn1(context_specific = "13", optional = "true", tag_mode = "IMPLICIT")]
    pub person: Option<Name>,
    /// The ferry's trip.
    #[asn1(context_specific = "14", optional = "true", tag_mode = "IMPLICIT")]
    pub trip: Option<u64>,
    /// How many bytes.
    #[asn1(context_specific = "15", optional = "true", tag_mode = "IMPLICIT")]
    pub bytes: Option<u64>,
    /// The salted digest of the [`Local`] part, which is kept beside the record and never exported by default.
    #[asn1(context_specific = "16", optional = "true", tag_mode = "IMPLICIT")]
    pub local: Option<Digest>,
    /// The ledger's head that was stated to `peer`, that `peer` stated, or that `peer` holds of us.
    #[asn1(context_specific = "17", optional = "true", tag_mode = "IMPLICIT", constructed = "true")]
    pub head: Option<Head>,
    /// The ferry's medium, by its id in the register.
    #[asn1(context_specific = "18", optional = "true", tag_mode = "IMPLICIT")]
    pub medium: Option<Name>,
}

impl Record {
    /// A record of which only the event and the moment are known yet; callers set what else there is to say.
    #[must_use]
    pub fn new(event: Event, at: Timestamp) -> Record {
        Record {
            version: VERSION,
            at,
            event,
            parcel: None,
            bundle: None,
            origin: None,
            route: None,
            parcel_type: None,
            peer: None,
            crossing: None,
            epoch: None,
            sequence: None,
            through: None,
            digest: None,
            outcome: None,
            reason: None,
            person: None,
            trip: None,
            bytes: None,
            local: None,
            head: None,
            medium: None,
        }
    }

    /// Reads one record.
    pub fn parse(bytes: &[u8]) -> Result<Record, DerError> {
        const WHAT: &str = "ledger record";
        let record: Record = der_types::parse(WHAT, bytes, RECORD_BYTES_MAX)?;
        // Another version may mean anything: a reader of this one cannot read it.
        let cause = || der::ErrorKind::Value { tag: der::Tag::Integer }.into();
        if record.version == VERSION { Ok(record) } else { Err(DerError::Malformed { what: WHAT, cause: cause() }) }
    }

    /// The bytes that are a leaf of the tree.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        der_types::encode(self)
    }
}

/// The words that belong to a record and stay in the zone.
#[derive(Clone, Debug, Default, PartialEq, Eq, der::Sequence)]
pub struct Local {
    /// The name of the drop.
    pub name: Option<String>,
    /// Values read from the parcel.
    pub labels: Vec<Label>,
}

impl Local {
    /// Nothing to say.
    #[must_use]
    pub fn none() -> Local {
        Local::default()
    }

    /// Is there nothing in it?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.name.is_none() && self.labels.is_empty()
    }

    /// Reads a local part.
    pub fn parse(bytes: &[u8]) -> Result<Local, DerError> {
        der_types::parse("local part of a ledger record", bytes, LOCAL_BYTES_MAX)
    }

    /// Its bytes, as they are kept beside the record.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        der_types::encode(self)
    }

    /// What the record binds: without the salt nobody can guess a short name from it.
    #[must_use]
    pub fn digest(&self, suite: Suite, salt: &[u8; 32]) -> Digest {
        let mut hasher = suite.hasher();
        hasher.update(salt);
        hasher.update(&self.to_bytes());
        hasher.finish()
    }
}

/// The leaf of one record's bytes.
#[must_use]
pub fn leaf(suite: Suite, record: &[u8]) -> Digest {
    let mut hasher = suite.hasher();
    hasher.update(&[0]);
    hasher.update(record);
    hasher.finish()
}

/// The root over the first `size` leaves. `read(level, index)` gives the digest of the complete subtree of
/// `2^level` leaves that starts at leaf `index * 2^level`; it is asked O(log size) times.
pub fn root<E>(suite: Suite, size: u64, read: &mut dyn FnMut(u32, u64) -> Result<Digest, E>) -> Result<Digest, E> {
    if size == 0 { Ok(suite.digest(&[])) } else { span(suite, 0, size, read) }
}

/// The path from leaf `index` to the root over `size` leaves (RFC 9162, 2.1.3.1). Empty where there is no such leaf.
pub fn inclusion_proof<E>(
    suite: Suite,
    index: u64,
    size: u64,
    read: &mut dyn FnMut(u32, u64) -> Result<Digest, E>,
) -> Result<Vec<Digest>, E> {
    let mut proof = Vec::new();
    let (mut low, mut high) = (0, size);
    if index >= size {
        return Ok(proof);
    }
    while high - low > 1 {
        let middle = low + split(high - low);
        if index < middle {
            proof.push(span(suite, middle, high, read)?);
            high = middle;
        } else {
            proof.push(span(suite, low, middle, read)?);
            low = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// What a holder of the root over `old` leaves needs to see that the root over `new` leaves only added to it
/// (RFC 9162, 2.1.4.1). Empty where `old` is 0, equal to `new`, or larger.
pub fn consistency_proof<E>(
    suite: Suite,
    old: u64,
    new: u64,
    read: &mut dyn FnMut(u32, u64) -> Result<Digest, E>,
) -> Result<Vec<Digest>, E> {
    let mut proof = Vec::new();
    if old == 0 || old >= new {
        return Ok(proof);
    }
    let (mut low, mut high, mut whole) = (0, new, true);
    while old < high {
        let middle = low + split(high - low);
        if old <= middle {
            proof.push(span(suite, middle, high, read)?);
            high = middle;
        } else {
            proof.push(span(suite, low, middle, read)?);
            low = middle;
            whole = false;
        }
    }
    if !whole {
        proof.push(span(suite, low, high, read)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Is this the leaf at `index` of the tree with this head? (RFC 9162, 2.1.3.2)
#[must_use]
pub fn verify_inclusion(suite: Suite, leaf: &Digest, index: u64, head: &Head, proof: &[Digest]) -> bool {
    if index >= head.size || proof.len() > PROOF_DIGESTS_MAX {
        return false;
    }
    let (mut at, mut last, mut root) = (index, head.size - 1, *leaf);
    for step in proof {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            root = tree::node(suite, step, &root);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            root = tree::node(suite, &root, step);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && root == head.root
}

/// Did the ledger only grow between these two heads? (RFC 9162, 2.1.4.2) An empty old ledger is a part of every one.
#[must_use]
pub fn verify_consistency(suite: Suite, old: &Head, new: &Head, proof: &[Digest]) -> bool {
    if old.log != new.log || old.size > new.size || proof.len() > PROOF_DIGESTS_MAX {
        return false;
    }
    if old.size == 0 {
        return proof.is_empty() && old.root == suite.digest(&[]);
    }
    if old.size == new.size {
        return proof.is_empty() && old.root == new.root;
    }
    // 2. where the old size is a power of two, the old root is the first digest of the path.
    let mut steps = proof.iter();
    let first = if old.size.is_power_of_two() { Some(&old.root) } else { steps.next() };
    let Some(first) = first else { return false };
    // 3. and 4.
    let (mut at, mut last) = (old.size - 1, new.size - 1);
    while at & 1 == 1 {
        at >>= 1;
        last >>= 1;
    }
    // 5. and 6.
    let (mut old_root, mut new_root) = (*first, *first);
    for step in steps {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            old_root = tree::node(suite, step, &old_root);
            new_root = tree::node(suite, step, &new_root);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            new_root = tree::node(suite, &new_root, step);
        }
        at >>= 1;
        last >>= 1;
    }
    // 7.
    last == 0 && old_root == old.root && new_root == new.root
}

/// The largest power of two below `leaves`, which are at least two.
fn split(leaves: u64) -> u64 {
    1 << (63 - (leaves - 1).leading_zeros())
}

/// The root over leaves `low..high` where `low` is a multiple of the largest power of two not above their number.
fn span<E>(
    suite: Suite,
    low: u64,
    high: u64,
    read: &mut dyn FnMut(u32, u64) -> Result<Digest, E>,
) -> Result<Digest, E> {
    let leaves = high - low;
    if leaves.is_power_of_two() {
        let level = leaves.trailing_zeros();
        return read(level, low >> level);
    }
    let middle = low + split(leaves);
    let left = span(suite, low, middle, read)?;
    let right = span(suite, middle, high, read)?;
    Ok(tree::node(suite, &left, &right))
}

/// What is wrong with a checkpoint note.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Too long to be one.
    #[error("a checkpoint of {bytes} bytes is over the limit of {NOTE_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Not of the form.
    #[error("the checkpoint's {line} is not well formed")]
    Malformed {
        /// Which line.
        line: &'static str,
    },
    /// Of another node.
    #[error("the checkpoint is of node {found}, not of {expected}")]
    OtherNode {
        /// Whose it is.
        found: Name,
        /// Whose it should be.
        expected: Name,
    },
    /// Signed by another key, or not by any.
    #[error("the checkpoint of {node} at {size} records is not signed by key {key}")]
    BadSignature {
        /// Whose it says it is.
        node: Name,
        /// At what size.
        size: u64,
        /// The key it was checked with.
        key: Digest,
    },
}

/// A ledger's size and root, as a note that stands for itself on paper or disc.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Whose ledger.
    pub node: Name,
    /// Its size and root.
    pub head: Head,
}

impl Checkpoint {
    /// The note with its signature.
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> String {
        let text = self.text();
        let signature = key.sign(text.as_bytes());
        self.note(&text, &key.public(), &signature)
    }

    /// The same by somebody who may refuse: a device.
    pub fn sign_by(&self, signer: &dyn Signer) -> Result<String, SignError> {
        let text = self.text();
        let signature = signer.try_sign(text.as_bytes())?;
        Ok(self.note(&text, &signer.public(), &signature))
    }

    fn note(&self, text: &str, key: &VerifyingKey, signature: &[u8]) -> String {
        let line = [&key_id(&self.origin(), key)[..], signature].concat();
        format!("{text}\n\u{2014} {} {}\n", self.origin(), Base64::encode_string(&line))
    }

    /// Reads a note without checking who signed it.
    pub fn parse_unverified(note: &str) -> Result<Checkpoint, NoteError> {
        if note.len() > NOTE_BYTES_MAX {
            return Err(NoteError::TooLarge { bytes: note.len() });
        }
        let bad = |line| NoteError::Malformed { line };
        let (text, _) = note.split_once("\n\n").ok_or(bad("empty line before the signature"))?;
        let mut lines = text.split('\n');
        let (node, log) = lines.next().and_then(read_origin).ok_or(bad("origin"))?;
        let size = lines.next().and_then(decimal).ok_or(bad("size"))?;
        let root =
            lines.next().and_then(|line| Base64::decode_vec(line).ok()).and_then(|root| Digest::from_slice(&root));
        let root = root.ok_or(bad("root"))?;
        if lines.next().is_some() {
            return Err(bad("fourth line"));
        }
        Ok(Checkpoint { node, head: Head { log, size, root } })
    }

    /// Reads a note that this node must have signed with this key. Lines signed by others (witnesses) are passed over.
    pub fn verify(note: &str, node: &Name, key: &VerifyingKey) -> Result<Checkpoint, NoteError> {
        let checkpoint = Checkpoint::parse_unverified(note)?;
        if checkpoint.node != *node {
            return Err(NoteError::OtherNode { found: checkpoint.node, expected: node.clone() });
        }
        let text = checkpoint.text();
        let prefix = format!("\u{2014} {} ", checkpoint.origin());
        let id = key_id(&checkpoint.origin(), key);
        let signatures = note.strip_prefix(&text).and_then(|rest| rest.strip_prefix('\n')).unwrap_or_default();
        let signed = signatures.lines().filter_map(|line| line.strip_prefix(&prefix)).any(|line| {
            Base64::decode_vec(line).is_ok_and(|bytes| {
                bytes.strip_prefix(&id).is_some_and(|signature| key.verify(text.as_bytes(), signature).is_ok())
            })
        });
        if signed {
            Ok(checkpoint)
        } else {
            Err(NoteError::BadSignature { node: node.clone(), size: checkpoint.head.size, key: key.id() })
        }
    }

    /// The log's name: that of its node, and its number where it is not the node's first.
    fn origin(&self) -> String {
        match self.head.log {
            FIRST_LOG => format!("trilock/{}", self.node),
            log => format!("trilock/{}/{log}", self.node),
        }
    }

    /// What is signed.
    fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin(), self.head.size, Base64::encode_string(self.head.root.as_bytes()))
    }
}

fn read_origin(line: &str) -> Option<(Name, u64)> {
    let (name, log) = match line.strip_prefix("trilock/")?.split_once('/') {
        Some((name, log)) => (name, decimal(log).filter(|log| *log > FIRST_LOG)?),
        None => (line.strip_prefix("trilock/")?, FIRST_LOG),
    };
    Some((Name::new(name).ok()?, log))
}

/// A number as the note writes it: no sign, no leading zero.
fn decimal(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number: &u64| number.to_string() == text)
}

/// The four bytes by which a signature line names its key.
fn key_id(origin: &str, key: &VerifyingKey) -> [u8; 4] {
    let (kind, public) = match key {
        VerifyingKey::Ed25519(key) => (ED25519_TYPE, key.as_bytes().to_vec()),
        VerifyingKey::Sm2(_) => (SM2_TYPE, key.to_spki()),
    };
    let mut hasher = key.suite().hasher();
    hasher.update(origin.as_bytes());
    hasher.update(b"\n");
    hasher.update(kind);
    hasher.update(&public);
    let [a, b, c, d, ..] = hasher.finish().0;
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::der_types::Octets;

    fn leaves(suite: Suite, count: u64) -> Vec<Digest> {
        (0..count).map(|i| leaf(suite, &i.to_be_bytes())).collect()
    }

    /// Every complete subtree computed from the leaves, slowly.
    fn reader(suite: Suite, leaves: &[Digest]) -> impl FnMut(u32, u64) -> Result<Digest, ()> {
        fn at(suite: Suite, leaves: &[Digest], level: u32, index: u64) -> Option<Digest> {
            match level {
                0 => leaves.get(usize::try_from(index).ok()?).copied(),
                _ => Some(tree::node(
                    suite,
                    &at(suite, leaves, level - 1, index * 2)?,
                    &at(suite, leaves, level - 1, index * 2 + 1)?,
                )),
            }
        }
        move |level, index| at(suite, leaves, level, index).ok_or(())
    }

    fn head(suite: Suite, leaves: &[Digest], size: u64) -> Head {
        Head { log: 1, size, root: root(suite, size, &mut reader(suite, leaves)).unwrap() }
    }

    #[test]
    fn every_record_of_every_small_ledger_is_proven_and_no_other_leaf_is() {
        let suite = Suite::Std;
        let all = leaves(suite, 40);
        for size in 1..=40 {
            let head = head(suite, &all, size);
            for index in 0..size {
                let proof = inclusion_proof(suite, index, size, &mut reader(suite, &all)).unwrap();
                let own = all[index as usize];
                assert!(verify_inclusion(suite, &own, index, &head, &proof), "{index} of {size}");
                let other = all[(index as usize + 1) % 40];
                assert!(!verify_inclusion(suite, &other, index, &head, &proof));
                assert!(!verify_inclusion(suite, &own, index + 1, &head, &proof));
                let mut longer = proof.clone();
                longer.push(own);
                assert!(!verify_inclusion(suite, &own, index, &head, &longer));
            }
        }
    }

    #[test]
    fn an_old_head_is_consistent_with_every_later_one_and_with_no_rewritten_one() {
        for suite in Suite::ALL {
            let all = leaves(suite, 36);
            let mut rewritten = all.clone();
            rewritten[3] = leaf(suite, b"something else");
            for old in 0..=36 {
                for new in old..=36 {
                    let proof = consistency_proof(suite, old, new, &mut reader(suite, &all)).unwrap();
                    let (before, after) = (head(suite, &all, old), head(suite, &all, new));
                    assert!(verify_consistency(suite, &before, &after, &proof), "{old} to {new}");
                    if old > 3 {
                        let proof = consistency_proof(suite, old, new, &mut reader(suite, &rewritten)).unwrap();
                        assert!(!verify_consistency(suite, &before, &head(suite, &rewritten, new), &proof));
                    }
                    if old != new {
                        assert!(!verify_consistency(suite, &after, &before, &proof), "a ledger never shrinks");
                    }
                }
            }
        }
    }

    #[test]
    fn a_record_survives_its_bytes_with_every_field_and_with_none() {
        let bare = Record::new(Event::NodeStarted, Timestamp(7));
        assert_eq!(Record::parse(&bare.to_bytes()).unwrap(), bare);
        let name = |text| Some(Name::new(text).unwrap());
        let full = Record {
            parcel: Some(Octets([1; 16])),
            bundle: Some(Octets([2; 16])),
            origin: name("a"),
            route: name("b"),
            parcel_type: name("c"),
            peer: name("d"),
            crossing: Some(Crossing::IntranetToExtranet),
            epoch: Some(u64::MAX),
            sequence: Some(1),
            through: Some(64),
            digest: Some(Octets([3; 32])),
            outcome: Some(Outcome::Quarantined),
            reason: Some(Reason::Coordinates),
            person: name("e"),
            trip: Some(17),
            bytes: Some(0),
            local: Some(Octets([4; 32])),
            head: Some(Head { log: 2, size: u64::MAX, root: Octets([5; 32]) }),
            medium: name("disc-0017"),
            ..bare
        };
        let bytes = full.to_bytes();
        assert_eq!(Record::parse(&bytes).unwrap(), full);
        assert!(bytes.len() < RECORD_BYTES_MAX / 4);
        assert!(Record::parse(&[&bytes[..], &[0]].concat()).is_err(), "a trailing byte is refused");
        assert!((0..bytes.len()).all(|end| Record::parse(&bytes[..end]).is_err()));
    }

    #[test]
    fn a_checkpoint_is_believed_only_whole_and_from_its_node_and_key() {
        for suite in Suite::ALL {
            let key = SigningKey::generate(suite);
            let node = Name::new("extranet-1").unwrap();
            let checkpoint =
                Checkpoint { node: node.clone(), head: Head { log: 1, size: 1234, root: Octets([9; 32]) } };
            let note = checkpoint.sign(&key);
            assert!(note.starts_with("trilock/extranet-1\n1234\n"));
            assert_eq!(Checkpoint::verify(&note, &node, &key.public()).unwrap(), checkpoint);
            let other = SigningKey::generate(suite).public();
            assert!(matches!(Checkpoint::verify(&note, &node, &other), Err(NoteError::BadSignature { .. })));
            let elsewhere = Name::new("extranet-2").unwrap();
            assert!(matches!(Checkpoint::verify(&note, &elsewhere, &key.public()), Err(NoteError::OtherNode { .. })));
            for (from, to) in [("1234", "1235"), ("1234", "01234"), ("\n\n", "\n"), ("CQkJ", "CQkK"), ("\u{2014}", "-")]
            {
                assert!(Checkpoint::verify(&note.replacen(from, to, 1), &node, &key.public()).is_err(), "{from} {to}");
            }
            let witnessed = format!("{note}\u{2014} witness.example AAAA\n");
            assert!(Checkpoint::verify(&witnessed, &node, &key.public()).is_ok());
            // The log after a restore has a name of its own, and no signature of one fits the other.
            let second = Checkpoint { head: Head { log: 2, ..checkpoint.head }, ..checkpoint.clone() };
            let note = second.sign(&key);
            assert!(note.starts_with("trilock/extranet-1/2\n1234\n"));
            assert_eq!(Checkpoint::verify(&note, &node, &key.public()).unwrap(), second);
            for other in ["extranet-1", "extranet-1/1", "extranet-1/02", "extranet-1/3"] {
                let forged = note.replace("extranet-1/2", other);
                assert!(Checkpoint::verify(&forged, &node, &key.public()).is_err(), "{other}");
            }
        }
    }
}
