//! One key follows another: the node says so itself, under the key that is believed already. Whoever believes the old card
//! takes the new one from this paper, and knows until when the old one counts.

use der::asn1::OctetString;

use crate::keys::{SealingKey, VerifyingKey};
use crate::name::Name;
use crate::parcel::ParcelError;
use crate::signed::{Signed, Statement};
use crate::suite::Digest;
use crate::time::Timestamp;
use crate::trust::{KeyCard, Role, Trust, TrustError, Use};

/// A node's word that one of its keys follows another.
#[derive(Clone, Debug, PartialEq, Eq, der::Sequence)]
pub struct Rollover {
    /// [`crate::parcel::VERSION`].
    pub version: u8,
    /// Whose keys.
    pub node: Name,
    /// What they are for.
    pub usage: Use,
    /// The key that goes.
    pub old: Digest,
    /// The key that comes, SPKI DER.
    pub key: OctetString,
    /// When the new key was made: its first day.
    pub at: Timestamp,
    /// The last day of the old one.
    pub until: Timestamp,
}

impl Statement for Rollover {
    const DOMAIN: &'static str = "trilock-v1-rollover";
    const WHAT: &'static str = "rollover";
    const BYTES_MAX: usize = 4 * 1024;
    fn version(&self) -> u8 {
        self.version
    }
}

/// What a trust folder holds once a rollover was taken.
#[derive(Clone, Debug)]
pub struct Rolled {
    /// The card of the old key, with its last day.
    pub old: KeyCard,
    /// The card of the new one.
    pub new: KeyCard,
}

/// The day of a moment, as cards write it.
#[must_use]
pub fn day(at: Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}

impl Rollover {
    /// Reads a signed rollover by the cards that are believed: the steps of 4.2 in FORMAT.md.
    pub fn verify(bytes: &[u8], trust: &Trust) -> Result<Rolled, ParcelError> {
        let signed = Signed::parse::<Rollover>(bytes)?;
        let claimed: Rollover = signed.read_unverified()?;
        // 4.2.1
        let said: Rollover = trust.verify_from_node(&signed, &claimed.node)?;
        // 4.2.2
        let old = trust.card(&said.old).ok_or(TrustError::UnknownKey { what: Self::WHAT, id: said.old })?;
        if old.holder != said.node || old.role != Role::Node || old.usage != said.usage {
            return Err(other_keys(old, &said).into());
        }
        // 4.2.3
        if said.usage == Use::Sign && signed.signer != said.old {
            return Err(other_keys(old, &said).into());
        }
        // 4.2.4
        let (spki, suite) = match said.usage {
            Use::Seal => SealingKey::from_spki(said.key.as_bytes()).map(|key| (key.to_spki(), key.suite())),
            Use::Sign | Use::Link => {
                VerifyingKey::from_spki(said.key.as_bytes()).map(|key| (key.to_spki(), key.suite()))
            }
        }
        .map_err(|_| ParcelError::Disagree("the new key is no key for that use"))?;
        if suite != old.suite {
            return Err(ParcelError::Disagree("the new key is of another suite than the old one"));
        }
        let new = KeyCard { from: day(said.at), until: None, spki, ..old.clone() };
        if new.id() == said.old {
            return Err(ParcelError::Disagree("the new key is the old one"));
        }
        // 4.2.5
        if said.until < said.at {
            return Err(ParcelError::Disagree("the old key ends before the new one begins"));
        }
        Ok(Rolled { old: KeyCard { until: Some(day(said.until)), ..old.clone() }, new })
    }
}

fn other_keys(old: &KeyCard, said: &Rollover) -> TrustError {
    TrustError::WrongRole {
        what: Rollover::WHAT,
        holder: old.holder.clone(),
        found: old.role,
        zone: old.zone,
        expected: format!("{}'s own {} key", said.node, said.usage),
    }
}
