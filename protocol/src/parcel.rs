//! What is said about a parcel: the origin's statement, each node's custody entry, and the manifest sealed inside.
//!
//! The statement is signed once, at the origin, and travels unaltered in every envelope and receipt. Entries chain:
//! each names the statement and the entry before it. The manifest opens with 32 random bytes, so that its digest in
//! the clear statement tells nothing about a small secret.

pub use der::asn1::OctetString;

use crate::der_types::{self, DerError};
use crate::id::ParcelId;
use crate::name::Name;
use crate::signed::{Signed, SignedError, Statement};
use crate::suite::{Digest, Suite};
use crate::time::Timestamp;
use crate::trust::{Role, Trust, TrustError};
use crate::verdict::Verdict;
use crate::zone::{Crossing, Zone};

/// Files in one parcel. A case folder holds tens; more than this is an archive someone should zip.
pub const FILES_MAX: usize = 50_000;
/// Bytes of a path inside a parcel; under the limits of every file system in use.
pub const PATH_BYTES_MAX: usize = 512;
/// Bytes of one part of a path: no file system in use takes a longer name, and a node that cannot write it down would
/// try for ever.
pub const PATH_PART_BYTES_MAX: usize = 255;
/// Folders inside folders.
pub const PATH_DEPTH_MAX: usize = 32;
/// The manifest of 50,000 files with ordinary paths fits; the one object over 1 MiB.
pub const MANIFEST_BYTES_MAX: usize = 12 << 20;
/// Labels of one parcel.
pub const LABELS_MAX: usize = 32;
/// Bytes of a label's value.
pub const LABEL_BYTES_MAX: usize = 256;
/// Hops a parcel may take: there are three zones and two offices.
pub const CUSTODY_MAX: usize = 8;
/// The version of every object of this format.
pub const VERSION: u8 = 1;

/// How soon it matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Priority {
    /// 加急.
    Urgent = 1,
    /// 普通.
    #[default]
    Normal = 2,
    /// 批量.
    Bulk = 3,
}

impl Priority {
    /// All, most urgent first.
    pub const ALL: [Priority; 3] = [Priority::Urgent, Priority::Normal, Priority::Bulk];
    /// The code word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Priority::Urgent => "urgent",
            Priority::Normal => "normal",
            Priority::Bulk => "bulk",
        }
    }
}

/// What the origin signs about a parcel.
#[derive(Clone, Debug, PartialEq, Eq, der::Sequence)]
pub struct ParcelStatement {
    /// [`VERSION`].
    pub version: u8,
    /// Its id.
    pub parcel: ParcelId,
    /// The node where it was accepted.
    pub origin: Name,
    /// The route it takes.
    pub route: Name,
    /// The node where it will be delivered.
    pub target: Name,
    /// Its registered type.
    pub parcel_type: Name,
    /// How soon it matters.
    pub priority: Priority,
    /// When it was accepted, by the origin's clock.
    pub accepted: Timestamp,
    /// The digest of the manifest's bytes.
    pub manifest: Digest,
}

/// What a node signs when it has inspected a parcel and seals it for its next crossing.
#[derive(Clone, Debug, PartialEq, Eq, der::Sequence)]
pub struct CustodyEntry {
    /// [`VERSION`].
    pub version: u8,
    /// The digest of the signed statement.
    pub statement: Digest,
    /// The digest of the signed entry before, or of the statement for the first.
    pub previous: Digest,
    /// Who acts.
    pub node: Name,
    /// The crossing it is sealed for.
    pub crossing: Crossing,
    /// The rules it was inspected by.
    pub rules: String,
    /// What the guard decided.
    pub verdict: Verdict,
    /// When.
    pub at: Timestamp,
}

/// One file of a parcel.
#[derive(Clone, Debug, PartialEq, Eq, der::Sequence)]
pub struct FileEntry {
    /// Relative, `/` between parts, UTF-8.
    pub path: String,
    /// The name as the app wrote it, byte for byte, where it was not this UTF-8.
    #[asn1(context_specific = "0", optional = "true", tag_mode = "IMPLICIT")]
    pub original: Option<OctetString>,
    /// Bytes.
    pub size: u64,
    /// Tree digest of the content.
    pub digest: Digest,
    /// May it be run?
    pub executable: bool,
    /// Last change, seconds since 1970.
    pub modified_s: u64,
}

/// A named value read from a parcel.
#[derive(Clone, Debug, PartialEq, Eq, der::Sequence)]
pub struct Label {
    /// Which.
    pub name: Name,
    /// What.
    pub value: String,
}

/// What a parcel holds. Sealed with it; never in clear outside a zone.
#[derive(Clone, Debug, PartialEq, Eq, der::Sequence)]
pub struct Manifest {
    /// Random, so that the digest of this object tells nothing.
    pub salt: Digest,
    /// [`VERSION`].
    pub version: u8,
    /// The name of the drop.
    pub name: String,
    /// A folder, or one file.
    pub folder: bool,
    /// The files, in the order their bytes follow.
    pub files: Vec<FileEntry>,
    /// Values for look-up.
    pub labels: Vec<Label>,
}

impl Statement for ParcelStatement {
    const DOMAIN: &'static str = "trilock-v1-parcel-statement";
    const WHAT: &'static str = "parcel statement";
    fn version(&self) -> u8 {
        self.version
    }
}

impl Statement for CustodyEntry {
    const DOMAIN: &'static str = "trilock-v1-custody-entry";
    const WHAT: &'static str = "custody entry";
    fn version(&self) -> u8 {
        self.version
    }
}

der_types::impl_der_code!(Priority, Priority::ALL);

/// What is wrong with a parcel's papers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParcelError {
    /// An object that is not canonical DER of its kind, or too large.
    #[error(transparent)]
    Der(#[from] DerError),
    /// A signature or the right to make it.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// A version this reader does not know.
    #[error("{what} is of version {found}; this reader knows {VERSION}")]
    Version {
        /// Which object.
        what: &'static str,
        /// Its version.
        found: u8,
    },
    /// A count or length over its limit.
    #[error("{what} {found} is over the limit of {limit}")]
    OverLimit {
        /// What was counted.
        what: &'static str,
        /// How much there was.
        found: u64,
        /// The most allowed.
        limit: u64,
    },
    /// A path that must not travel.
    #[error("file {index} has a path that {cause}")]
    BadPath {
        /// Which file.
        index: usize,
        /// What is wrong with it.
        cause: &'static str,
    },
    /// Two files of one path.
    #[error("files {first} and {second} have the same path")]
    SamePath {
        /// One.
        first: usize,
        /// The other.
        second: usize,
    },
    /// The papers do not belong together.
    #[error("{0}")]
    Disagree(&'static str),
}

impl From<SignedError> for ParcelError {
    fn from(error: SignedError) -> Self {
        ParcelError::Trust(TrustError::Signed(error))
    }
}

/// Why a path may not travel, if it may not.
pub fn check_path(path: &str) -> Result<(), &'static str> {
    if path.is_empty() {
        return Err("is empty");
    }
    if path.len() > PATH_BYTES_MAX {
        return Err("is longer than 512 bytes");
    }
    if path.chars().any(|c| c.is_control() || c == '\\') {
        return Err("has a control character or a backslash");
    }
    let mut depth = 0;
    for part in path.split('/') {
        depth += 1;
        match part {
            "" => return Err("is absolute or has an empty part"),
            "." | ".." => return Err("climbs with . or .."),
            _ if part.len() > PATH_PART_BYTES_MAX => return Err("has a part longer than 255 bytes"),
            _ => {}
        }
    }
    if depth > PATH_DEPTH_MAX {
        return Err("is deeper than 32 folders");
    }
    Ok(())
}

impl Manifest {
    /// Reads a manifest and checks every limit and path.
    pub fn parse(bytes: &[u8]) -> Result<Manifest, ParcelError> {
        let manifest: Manifest = der_types::parse("manifest", bytes, MANIFEST_BYTES_MAX)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Checks every limit and path.
    pub fn check(&self) -> Result<(), ParcelError> {
        if self.version != VERSION {
            return Err(ParcelError::Version { what: "manifest", found: self.version });
        }
        over("number of files", self.files.len(), FILES_MAX)?;
        over("number of labels", self.labels.len(), LABELS_MAX)?;
        for label in &self.labels {
            over("length of a label", label.value.len(), LABEL_BYTES_MAX)?;
        }
        if self.name.contains('/') {
            return Err(ParcelError::Disagree("the name of the parcel is a path"));
        }
        check_path(&self.name).map_err(|_| ParcelError::Disagree("the name of the parcel cannot be a file name"))?;
        if !self.folder && (self.files.len() != 1 || self.files.first().is_none_or(|file| file.path != self.name)) {
            return Err(ParcelError::Disagree("a parcel that is no folder holds exactly the file it is named after"));
        }
        let mut seen = std::collections::HashMap::with_capacity(self.files.len());
        let mut total: u64 = 0;
        for (index, file) in self.files.iter().enumerate() {
            check_path(&file.path).map_err(|cause| ParcelError::BadPath { index, cause })?;
            if let Some(first) = seen.insert(file.path.as_str(), index) {
                return Err(ParcelError::SamePath { first, second: index });
            }
            total = total.checked_add(file.size).ok_or(ParcelError::Disagree("the sizes of the files overflow"))?;
        }
        for path in seen.keys() {
            let is_also_a_folder =
                path.match_indices('/').any(|(at, _)| path.get(..at).is_some_and(|above| seen.contains_key(above)));
            if is_also_a_folder {
                return Err(ParcelError::Disagree("a path is both a file and a folder"));
            }
        }
        Ok(())
    }

    /// The bytes that are sealed.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        der_types::encode(self)
    }

    /// Bytes of all files together.
    #[must_use]
    pub fn content_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }
}

fn over(what: &'static str, found: usize, limit: usize) -> Result<(), ParcelError> {
    if found > limit { Err(ParcelError::OverLimit { what, found: found as u64, limit: limit as u64 }) } else { Ok(()) }
}

/// The proven journey of a parcel: its statement and the entries up to now, every signature checked.
#[derive(Clone, Debug)]
pub struct Custody {
    /// What the origin said.
    pub statement: ParcelStatement,
    /// By what digest others refer to it.
    pub statement_digest: Digest,
    /// Each hop, in order.
    pub entries: Vec<CustodyEntry>,
    /// The digest of the last link, which a next entry must name.
    pub last: Digest,
}

impl Custody {
    /// Walks the chain: the origin's statement first, then every entry in order. The steps are those of 6.1 in FORMAT.md.
    pub fn prove(trust: &Trust, statement: &Signed, entries: &[Signed]) -> Result<Custody, ParcelError> {
        // 6.1.1
        over("number of custody entries", entries.len(), CUSTODY_MAX)?;
        // 6.1.2
        let suite = statement.suite;
        let (read, _) = node_object(trust, statement, |s: &ParcelStatement| &s.origin)?;
        let statement_digest = statement.digest();
        let mut last = statement_digest;
        let mut walked = Vec::with_capacity(entries.len());
        for entry in entries {
            // 6.1.3
            let (step, zone) = node_object(trust, entry, |e: &CustodyEntry| &e.node)?;
            // 6.1.4
            if step.statement != statement_digest {
                return Err(ParcelError::Disagree("a custody entry belongs to another parcel's statement"));
            }
            if step.previous != last {
                return Err(ParcelError::Disagree("a custody entry does not follow the one before it"));
            }
            // 6.1.5. A card says where its holder stands: a node of one zone cannot let a parcel out of another.
            if zone != step.crossing.source() {
                return Err(ParcelError::Disagree(
                    "a custody entry is for a crossing that does not begin where its node stands",
                ));
            }
            if walked.last().is_some_and(|before: &CustodyEntry| before.crossing.target() != zone) {
                return Err(ParcelError::Disagree(
                    "a custody entry begins in another zone than the one before it ended in",
                ));
            }
            last = link_digest(suite, entry);
            walked.push(step);
        }
        Ok(Custody { statement: read, statement_digest, entries: walked, last })
    }
}

/// The digest by which the next custody entry names this one: always in the suite of the statement.
#[must_use]
pub fn link_digest(statement_suite: Suite, entry: &Signed) -> Digest {
    statement_suite.digest(&entry.to_bytes())
}

/// The object, and the zone of the node that signed it.
fn node_object<T: Statement>(
    trust: &Trust,
    signed: &Signed,
    who: impl Fn(&T) -> &Name,
) -> Result<(T, Zone), ParcelError> {
    let (object, card) = trust.verify::<T>(signed)?;
    if card.role != Role::Node || card.holder != *who(&object) {
        return Err(ParcelError::Trust(TrustError::WrongRole {
            what: T::WHAT,
            holder: card.holder.clone(),
            found: card.role,
            zone: card.zone,
            expected: format!("node {}", who(&object)),
        }));
    }
    Ok((object, card.zone))
}
