//! The beacon: once a second the sender says that it lives, what it has numbered, and under which key it speaks.
//!
//! ```text
//! magic "TLBN" version(1) suite(1) crossing(1) zero(1) | link epoch(4) | link sequence(8)
//! introduction bytes(2) | pulse bytes(2) | introduction (Signed, DER) | pulse (DER) | tag(16)
//! ```
//! The introduction is made and signed once a start: it names both ends and carries the link key, wrapped to the
//! receiver. The pulse changes each second. The tag covers all of it under that link key (nonce
//! `"B" 0 0 0 | link sequence`), so a receiver that knows the epoch checks one tag and no signature.

use der::asn1::OctetString;

use super::frame::nonce;
use super::octets::Octets;
use crate::aead::{Aead, TAG_BYTES};
use crate::der_types::{self, DerError};
use crate::keys::{KeyError, SealingKey, SigningKey};
use crate::name::Name;
use crate::receipt::Head;
use crate::signed::{Signed, Statement};
use crate::signer::{SignError, Signer};
use crate::suite::Suite;
use crate::time::Timestamp;
use crate::zone::Crossing;

const MAGIC: [u8; 4] = *b"TLBN";
const VERSION: u8 = 1;
/// A beacon fits the smallest MTU we take (1,200) with either IP version.
pub const BEACON_BYTES_MAX: usize = 1_152;
/// Epochs of the crossing named in one beacon: the newest. Older ones were announced when they were new.
pub const EPOCHS_MAX: usize = 8;
/// Bytes of an introduction, its signature included.
const INTRODUCTION_BYTES_MAX: usize = 800;

/// Who speaks on the link from now on, and under which key. Signed by the sender's node key.
#[derive(Clone, Debug, PartialEq, Eq, der::Sequence)]
pub struct Introduction {
    /// 1.
    pub version: u8,
    /// The crossing.
    pub crossing: Crossing,
    /// The sender.
    pub source: Name,
    /// The receiver the key is wrapped to.
    pub target: Name,
    /// Of frames, tags and block digests.
    pub suite: Suite,
    /// The link epoch; later starts have larger ones.
    pub epoch: u32,
    /// When the sender started, by its clock.
    pub started: Timestamp,
    /// The link key.
    pub wrapped: OctetString,
}

impl Statement for Introduction {
    const DOMAIN: &'static str = "trilock-v1-link-key";
    const WHAT: &'static str = "link key";
    const BYTES_MAX: usize = INTRODUCTION_BYTES_MAX;
    fn version(&self) -> u8 {
        self.version
    }
}

/// The next number of one epoch of the crossing: everything below it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, der::Sequence)]
pub struct NextNumber {
    /// The crossing's epoch, not the link's.
    pub epoch: u64,
    /// The first sequence that is not used yet.
    pub next: u64,
}

/// What the sender says each second.
#[derive(Clone, Debug, PartialEq, Eq, der::Sequence)]
pub struct Pulse {
    /// The sender's clock. The receiver shows the skew and sets nothing.
    pub at: Timestamp,
    /// What exists on the crossing.
    pub next: Vec<NextNumber>,
    /// The sender's ledger.
    pub head: Head,
}

/// The same word where only files travel: signed each time, and without a key, for files are not tagged.
#[derive(Clone, Debug, PartialEq, Eq, der::Sequence)]
pub struct FolderBeacon {
    /// 1.
    pub version: u8,
    /// The crossing.
    pub crossing: Crossing,
    /// Who speaks.
    pub source: Name,
    /// To whom.
    pub target: Name,
    /// The start of the speaker; later starts have larger ones.
    pub epoch: u32,
    /// Counted from 1 in that epoch, so that files may come in any order.
    pub number: u64,
    /// What is said.
    pub pulse: Pulse,
}

impl Statement for FolderBeacon {
    const DOMAIN: &'static str = "trilock-v1-folder-beacon";
    const WHAT: &'static str = "folder beacon";
    const BYTES_MAX: usize = 4_096;
    fn version(&self) -> u8 {
        self.version
    }
}

/// What is wrong with a datagram that should have been a beacon.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BeaconError {
    /// Not one of ours, or cut off.
    #[error("a datagram of {bytes} bytes is no beacon")]
    NotABeacon {
        /// Its size.
        bytes: usize,
    },
    /// Its DER.
    #[error(transparent)]
    Der(#[from] DerError),
    /// Forged or damaged.
    #[error("the tag of beacon {epoch}/{sequence} does not fit")]
    Tag {
        /// Link epoch.
        epoch: u32,
        /// Link sequence.
        sequence: u64,
    },
    /// Too large for one datagram: our own bug, or names of unheard-of length.
    #[error("a beacon of {bytes} bytes is over the limit of {BEACON_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
}

/// What the wrapped link key is bound to: it cannot be moved to another link, epoch or pair of nodes.
#[must_use]
pub fn wrap_context(crossing: Crossing, source: &Name, target: &Name, suite: Suite, epoch: u32) -> Vec<u8> {
    let mut context = b"trilock-v1-link-key\0".to_vec();
    context.extend_from_slice(&[crossing.code(), suite.code()]);
    context.extend_from_slice(&epoch.to_be_bytes());
    context.extend_from_slice(source.as_str().as_bytes());
    context.push(0);
    context.extend_from_slice(target.as_str().as_bytes());
    context
}

impl Introduction {
    /// Wraps a link key to the receiver. The caller draws the key and keeps it for the frames.
    pub fn make(
        (crossing, suite, epoch): (Crossing, Suite, u32),
        (source, target): (&Name, &Name),
        started: Timestamp,
        secret: &[u8],
        sealing: &SealingKey,
    ) -> Result<Introduction, KeyError> {
        let wrapped = sealing.wrap_key(secret, &wrap_context(crossing, source, target, suite, epoch))?;
        let wrapped = OctetString::new(wrapped).map_err(|_| KeyError::CannotUnwrap)?;
        Ok(Introduction {
            version: VERSION,
            crossing,
            source: source.clone(),
            target: target.clone(),
            suite,
            epoch,
            started,
            wrapped,
        })
    }

    /// The signed bytes that every beacon of the epoch carries.
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> Vec<u8> {
        Signed::make(key, self).to_bytes()
    }

    /// The same by somebody who may refuse: a device.
    pub fn sign_by(&self, signer: &dyn Signer) -> Result<Vec<u8>, SignError> {
        Ok(Signed::make_by(signer, self)?.to_bytes())
    }

    /// The context its key was wrapped with.
    #[must_use]
    pub fn wrap_context(&self) -> Vec<u8> {
        wrap_context(self.crossing, &self.source, &self.target, self.suite, self.epoch)
    }
}

/// A beacon taken apart, nothing checked yet.
#[derive(Clone, Copy, Debug)]
pub struct Beacon<'a> {
    /// Which start of the sender.
    pub epoch: u32,
    /// Its place in what the link key has tagged.
    pub sequence: u64,
    /// The suite of the tag.
    pub suite: Suite,
    /// The crossing.
    pub crossing: Crossing,
    /// The signed introduction.
    pub introduction: &'a [u8],
    pulse: &'a [u8],
    tagged: &'a [u8],
    tag: &'a [u8; TAG_BYTES],
}

/// Is this datagram meant to be a beacon?
#[must_use]
pub fn is_beacon(datagram: &[u8]) -> bool {
    datagram.starts_with(&MAGIC)
}

impl<'a> Beacon<'a> {
    /// Takes a datagram apart.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, BeaconError> {
        let refused = BeaconError::NotABeacon { bytes: datagram.len() };
        if datagram.len() > BEACON_BYTES_MAX {
            return Err(refused);
        }
        let (tagged, tag) = datagram.split_last_chunk::<TAG_BYTES>().ok_or(refused.clone())?;
        Beacon::read(tagged, tag).ok_or(refused)
    }

    fn read(tagged: &'a [u8], tag: &'a [u8; TAG_BYTES]) -> Option<Self> {
        let mut octets = Octets::new(tagged);
        if octets.array()? != MAGIC || octets.u8()? != VERSION {
            return None;
        }
        let (suite, crossing) = (Suite::from_code(octets.u8()?)?, Crossing::from_code(octets.u8()?)?);
        if octets.u8()? != 0 {
            return None;
        }
        let (epoch, sequence) = (octets.u32()?, octets.u64()?);
        let (introduction_bytes, pulse_bytes) = (octets.u16()?, octets.u16()?);
        let introduction = octets.take(usize::from(introduction_bytes))?;
        let pulse = octets.take(usize::from(pulse_bytes))?;
        octets.rest().is_empty().then_some(Beacon {
            epoch,
            sequence,
            suite,
            crossing,
            introduction,
            pulse,
            tagged,
            tag,
        })
    }

    /// What it says, if the tag fits.
    pub fn check(&self, key: &Aead) -> Result<Pulse, BeaconError> {
        let Beacon { epoch, sequence, .. } = *self;
        key.check(nonce(b'B', sequence), self.tagged, self.tag).map_err(|_| BeaconError::Tag { epoch, sequence })?;
        Ok(der_types::parse("pulse", self.pulse, BEACON_BYTES_MAX)?)
    }
}

/// Makes the datagram.
pub fn seal(
    (crossing, suite, epoch): (Crossing, Suite, u32),
    sequence: u64,
    introduction: &[u8],
    pulse: &Pulse,
    key: &Aead,
) -> Result<Vec<u8>, BeaconError> {
    let pulse = der_types::encode(pulse);
    let bytes = 24 + introduction.len() + pulse.len() + TAG_BYTES;
    let too_large = || BeaconError::TooLarge { bytes };
    if bytes > BEACON_BYTES_MAX {
        return Err(too_large());
    }
    let mut out = Vec::with_capacity(bytes);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[VERSION, suite.code(), crossing.code(), 0]);
    out.extend_from_slice(&epoch.to_be_bytes());
    out.extend_from_slice(&sequence.to_be_bytes());
    for part in [introduction.len(), pulse.len()] {
        out.extend_from_slice(&u16::try_from(part).map_err(|_| too_large())?.to_be_bytes());
    }
    out.extend_from_slice(introduction);
    out.extend_from_slice(&pulse);
    let tag = key.tag(nonce(b'B', sequence), &out);
    out.extend_from_slice(&tag);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::OpeningKey;

    #[test]
    fn a_beacon_fits_one_datagram_and_is_read_back() {
        for suite in Suite::ALL {
            let (signing, opening) = (SigningKey::generate(suite), OpeningKey::generate(suite));
            let name = Name::new(&"n".repeat(crate::name::NAME_BYTES_MAX)).unwrap();
            let what = (Crossing::ExtranetToIntranet, suite, u32::MAX);
            let secret = crate::aead::fresh_key(suite);
            let introduction =
                Introduction::make(what, (&name, &name), Timestamp(u64::MAX / 2), &secret, &opening.public()).unwrap();
            let signed = introduction.sign(&signing);
            let pulse = Pulse {
                at: Timestamp(1 << 50),
                next: vec![NextNumber { epoch: u64::MAX, next: u64::MAX }; EPOCHS_MAX],
                head: Head { log: u64::MAX, size: u64::MAX, root: Default::default() },
            };
            let key = Aead::new(suite, &secret).unwrap();
            let bytes = seal(what, 77, &signed, &pulse, &key).unwrap();
            let beacon = Beacon::parse(&bytes).unwrap();
            assert_eq!(beacon.check(&key), Ok(pulse.clone()));
            let read: Introduction =
                Signed::parse::<Introduction>(beacon.introduction).unwrap().verify(&signing.public()).unwrap();
            assert_eq!(*opening.unwrap_key(read.wrapped.as_bytes(), &read.wrap_context()).unwrap(), *secret);
            assert_eq!(seal(what, 77, beacon.introduction, &pulse, &key).unwrap(), bytes);
            for at in 0..bytes.len() {
                let mut bad = bytes.clone();
                bad[at] ^= 0x10;
                assert!(Beacon::parse(&bad).and_then(|b| b.check(&key)).is_err(), "{at}");
                assert!(Beacon::parse(&bytes[..at]).is_err());
            }
        }
    }
}
