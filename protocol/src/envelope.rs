//! The clear head of a bundle, and its foot. What is here every carrier may see; nothing of the content is.

use der::asn1::OctetString;

use crate::der_types::{self, DerError, OBJECT_BYTES_MAX};
use crate::id::BundleId;
use crate::name::Name;
use crate::parcel::{Custody, CustodyEntry, ParcelError, ParcelStatement, Priority, VERSION};
use crate::signed::{Signed, Statement};
use crate::suite::{Digest, Suite};
use crate::time::Timestamp;
use crate::trust::Trust;
use crate::zone::Crossing;

/// The clear header of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, der::Sequence)]
pub struct Envelope {
    /// [`VERSION`].
    pub version: u8,
    /// The suite of the payload, the digests and the foot's signature.
    pub suite: Suite,
    /// This bundle.
    pub bundle: BundleId,
    /// The crossing it is sealed for.
    pub crossing: Crossing,
    /// The crossing's numbers.
    pub epoch: u64,
    /// See `epoch`.
    pub sequence: u64,
    /// The node that sealed it.
    pub source: Name,
    /// The node it is sealed to.
    pub target: Name,
    /// How soon it matters.
    pub priority: Priority,
    /// Bytes of the encrypted payload.
    pub payload_bytes: u64,
    /// When it was sealed.
    pub sealed: Timestamp,
    /// Id of the key that signs the foot.
    pub signer: Digest,
    /// Id of the key the content key is wrapped to.
    pub recipient: Digest,
    /// The content key, wrapped.
    pub wrapped_key: OctetString,
    /// The content key wrapped to the sealing node itself, so that it can address another key.
    pub kept_key: OctetString,
    /// The origin's signed statement, as it was made.
    pub statement: OctetString,
    /// The signed custody entries, in order.
    pub custody: Vec<OctetString>,
}

/// The signed foot of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, der::Sequence)]
pub struct Footer {
    /// [`VERSION`].
    pub version: u8,
    /// Digest of the envelope's bytes.
    pub envelope: Digest,
    /// Tree digest of the encrypted payload; a leaf is one sealed chunk.
    pub root: Digest,
    /// Bytes of the encrypted payload.
    pub payload_bytes: u64,
}

impl Statement for Footer {
    const DOMAIN: &'static str = "trilock-v1-footer";
    const WHAT: &'static str = "footer";
    fn version(&self) -> u8 {
        self.version
    }
}

impl Envelope {
    /// Reads an envelope. Nothing in it is proven yet.
    pub fn parse(bytes: &[u8]) -> Result<Envelope, ParcelError> {
        let envelope: Envelope = der_types::parse("envelope", bytes, OBJECT_BYTES_MAX)?;
        if envelope.version != VERSION {
            return Err(ParcelError::Version { what: "envelope", found: envelope.version });
        }
        Ok(envelope)
    }

    /// The bytes that stand in the bundle.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        der_types::encode(self)
    }

    /// The signed statement inside.
    pub fn signed_statement(&self) -> Result<Signed, DerError> {
        Signed::parse::<ParcelStatement>(self.statement.as_bytes())
    }

    /// The signed custody entries inside.
    pub fn signed_custody(&self) -> Result<Vec<Signed>, DerError> {
        self.custody.iter().map(|bytes| Signed::parse::<CustodyEntry>(bytes.as_bytes())).collect()
    }

    /// 7.1.3: the journey is proven, it begins with the origin, and the last entry is by the source for this crossing.
    pub fn prove(&self, trust: &Trust) -> Result<Custody, ParcelError> {
        let custody = Custody::prove(trust, &self.signed_statement()?, &self.signed_custody()?)?;
        let last = custody.entries.last().ok_or(ParcelError::Disagree("the envelope has no custody entry"))?;
        if last.node != self.source {
            return Err(ParcelError::Disagree("the last custody entry is not by the node that sealed the bundle"));
        }
        if last.crossing != self.crossing {
            return Err(ParcelError::Disagree("the last custody entry is for another crossing"));
        }
        let first = custody.entries.first().ok_or(ParcelError::Disagree("the envelope has no custody entry"))?;
        if first.node != custody.statement.origin {
            return Err(ParcelError::Disagree("the first custody entry is not by the origin"));
        }
        Ok(custody)
    }
}
