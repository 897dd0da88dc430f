//! Any object of ours under one signature. The bytes are signed and verified as they came, behind a domain string,
//! and never encoded anew in between.
//!
//! ```text
//! Signed ::= SEQUENCE { suite INTEGER, signer OCTET STRING (32), body OCTET STRING, signature OCTET STRING }
//! what is signed = domain string | 0x00 | body
//! ```

use der::asn1::OctetString;

use crate::der_types::{self, DerError, OBJECT_BYTES_MAX};
use crate::keys::{KeyError, SigningKey, VerifyingKey};
use crate::parcel::VERSION;
use crate::signer::{SignError, Signer};
use crate::suite::{Digest, Suite};

/// An object that is only ever read from under a signature.
pub trait Statement: der::Encode + for<'a> der::Decode<'a, Error = der::Error> {
    /// What stands before the body when it is signed, so that no object can pose as another.
    const DOMAIN: &'static str;
    /// Its name in messages.
    const WHAT: &'static str;
    /// The most bytes it may have, signature included.
    const BYTES_MAX: usize = OBJECT_BYTES_MAX;
    /// The version that it says it is of.
    fn version(&self) -> u8;
}

/// An object with its signature, as it travels.
#[derive(Clone, Debug, PartialEq, Eq, der::Sequence)]
pub struct Signed {
    /// The suite of the signature.
    pub suite: Suite,
    /// The id of the key that signed.
    pub signer: Digest,
    /// The object's own bytes.
    pub body: OctetString,
    /// Over the domain and the body.
    pub signature: OctetString,
}

/// What is wrong with a signed object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignedError {
    /// Its bytes.
    #[error(transparent)]
    Der(#[from] DerError),
    /// Its signature.
    #[error("{what} signed by key {signer}: {cause}")]
    Signature {
        /// Which object.
        what: &'static str,
        /// The key it names.
        signer: Digest,
        /// Why not.
        cause: KeyError,
    },
    /// The key offered is not the one it names.
    #[error("{what} names key {named} but was checked with {offered}")]
    OtherKey {
        /// Which object.
        what: &'static str,
        /// The key it names.
        named: Digest,
        /// The key offered.
        offered: Digest,
    },
    /// Signed, and of a version that this program does not know.
    #[error("{what} is of version {found}, this program knows {VERSION}")]
    Version {
        /// Which object.
        what: &'static str,
        /// The version it states.
        found: u8,
    },
}

impl Signed {
    /// Signs an object.
    #[must_use]
    pub fn make<T: Statement>(key: &SigningKey, object: &T) -> Signed {
        let body = der_types::encode(object);
        let signature = key.sign(&signed_bytes(T::DOMAIN, &body));
        Signed::of(&key.public(), body, signature)
    }

    /// The same by somebody who may refuse: a device.
    pub fn make_by<T: Statement>(signer: &dyn Signer, object: &T) -> Result<Signed, SignError> {
        let body = der_types::encode(object);
        let signature = signer.try_sign(&signed_bytes(T::DOMAIN, &body))?;
        Ok(Signed::of(&signer.public(), body, signature))
    }

    fn of(key: &VerifyingKey, body: Vec<u8>, signature: Vec<u8>) -> Signed {
        let octets = |bytes| OctetString::new(bytes).expect("bounded far below the limit of DER lengths");
        Signed { suite: key.suite(), signer: key.id(), body: octets(body), signature: octets(signature) }
    }

    /// Reads the outer form of a signed `T`; nothing is verified yet.
    pub fn parse<T: Statement>(bytes: &[u8]) -> Result<Signed, DerError> {
        der_types::parse(T::WHAT, bytes, T::BYTES_MAX)
    }

    /// The bytes that travel.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        der_types::encode(self)
    }

    /// The digest by which others refer to this object, signature included.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.suite.digest(&self.to_bytes())
    }

    /// The bytes under the signature, for a verifier that shares no code with us.
    #[must_use]
    pub fn signed_bytes<T: Statement>(&self) -> Vec<u8> {
        signed_bytes(T::DOMAIN, self.body.as_bytes())
    }

    /// Checks the signature with a key, then reads the body. Walks 4.1.4 to 4.1.7 of FORMAT.md; what asks for a card
    /// (4.1.3, 4.1.8) is the business of [`crate::Trust`].
    pub fn verify<T: Statement>(&self, key: &VerifyingKey) -> Result<T, SignedError> {
        let offered = key.id();
        if offered != self.signer || key.suite() != self.suite {
            return Err(SignedError::OtherKey { what: T::WHAT, named: self.signer, offered });
        }
        key.verify(&self.signed_bytes::<T>(), self.signature.as_bytes()).map_err(|cause| SignedError::Signature {
            what: T::WHAT,
            signer: self.signer,
            cause,
        })?;
        let object: T = self.read_unverified()?;
        // Another version may mean anything, even where it still has the form of this one.
        match object.version() {
            VERSION => Ok(object),
            found => Err(SignedError::Version { what: T::WHAT, found }),
        }
    }

    /// Reads the body without checking who signed: for showing, and for finding out which key to ask.
    pub fn read_unverified<T: Statement>(&self) -> Result<T, DerError> {
        der_types::parse(T::WHAT, self.body.as_bytes(), T::BYTES_MAX)
    }
}

/// `domain | 0x00 | body`.
#[must_use]
pub fn signed_bytes(domain: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(domain.len() + 1 + body.len());
    bytes.extend_from_slice(domain.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(body);
    bytes
}
