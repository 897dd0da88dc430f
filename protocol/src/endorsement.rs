//! One person's signature of a rule file, beside the file. Says nothing by itself: two of them, by the right people, let
//! the rules of a crossing come into force.

use crate::name::Name;
use crate::signed::Statement;
use crate::suite::Digest;
use crate::time::Timestamp;
use crate::zone::Crossing;

/// One signed endorsement has some 300 bytes.
pub const ENDORSEMENT_BYTES_MAX: usize = 4 * 1024;

/// What a person says of a rule file.
#[derive(Clone, Debug, PartialEq, Eq, der::Sequence)]
pub struct Endorsement {
    /// [`crate::parcel::VERSION`].
    pub version: u8,
    /// Whose rules.
    pub crossing: Crossing,
    /// Their version, for the person who reads what they sign.
    pub rules: String,
    /// Digest of the file's bytes, in the suite of the signature.
    pub digest: Digest,
    /// Who.
    pub person: Name,
    /// When.
    pub at: Timestamp,
}

impl Statement for Endorsement {
    const DOMAIN: &'static str = "trilock-v1-endorsement";
    const WHAT: &'static str = "endorsement of rules";
    const BYTES_MAX: usize = ENDORSEMENT_BYTES_MAX;
    fn version(&self) -> u8 {
        self.version
    }
}

/// The name of the file beside `<crossing>.toml`.
#[must_use]
pub fn file_name(crossing: Crossing, person: &Name) -> String {
    format!("{crossing}.{person}.sig")
}
