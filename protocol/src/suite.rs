//! The two cryptographic suites. Its number stands in every signed object; everything else asks here.
//!
//! | | `std` | `gm` (国密) |
//! |---|---|---|
//! | signature | Ed25519 | SM2 with SM3, user id `1234567812345678`, DER |
//! | wrap | HPKE: X25519, HKDF-SHA-256, AES-256-GCM (RFC 9180) | SM2 encryption, C1C3C2, DER |
//! | payload | AES-256-GCM | SM4-GCM |
//! | digest | SHA-256 | SM3 |
//! | frame tag | AES-256-GMAC | SM4-GMAC |

use std::fmt;
use std::str::FromStr;

use sha2::Digest as _;
use wide::leaves::Hash;

use crate::der_types::{Octets, impl_der_code};

/// A digest of either suite: both are 32 bytes long.
pub type Digest = Octets<32>;

/// A set of algorithms; the number stands in every signed object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Suite {
    /// Ed25519, X25519, AES-256-GCM, SHA-256.
    Std = 1,
    /// SM2, SM3, SM4.
    Gm = 2,
}

impl Suite {
    /// Both suites.
    pub const ALL: [Suite; 2] = [Suite::Std, Suite::Gm];

    /// The word in config and key cards.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Suite::Std => "std",
            Suite::Gm => "gm",
        }
    }

    /// A running digest.
    #[must_use]
    pub fn hasher(self) -> Hasher {
        match self {
            Suite::Std => Hasher::Sha256(sha2::Sha256::new()),
            Suite::Gm => Hasher::Sm3(sm3::Sm3::new()),
        }
    }

    /// The digest of bytes at hand.
    #[must_use]
    pub fn digest(self, bytes: &[u8]) -> Digest {
        let mut hasher = self.hasher();
        hasher.update(bytes);
        hasher.finish()
    }

    /// The function by which many leaves of a tree are digested at once.
    pub(crate) const fn leaf_hash(self) -> Hash {
        match self {
            Suite::Std => Hash::Sha256,
            Suite::Gm => Hash::Sm3,
        }
    }

    /// Length of a content key.
    #[must_use]
    pub const fn key_bytes(self) -> usize {
        match self {
            Suite::Std => 32,
            Suite::Gm => 16,
        }
    }
}

/// A running digest of one suite.
#[derive(Clone)]
pub enum Hasher {
    /// SHA-256.
    Sha256(sha2::Sha256),
    /// SM3.
    Sm3(sm3::Sm3),
}

impl Hasher {
    /// Takes more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(h) => h.update(bytes),
            Hasher::Sm3(h) => h.update(bytes),
        }
    }

    /// The digest of all bytes taken.
    #[must_use]
    pub fn finish(self) -> Digest {
        match self {
            Hasher::Sha256(h) => Octets(h.finalize().into()),
            Hasher::Sm3(h) => Octets(h.finalize().into()),
        }
    }
}

/// A word that names no suite.
#[derive(Debug, thiserror::Error)]
#[error("\"{0}\" names no suite; std or gm is meant")]
pub struct UnknownSuite(String);

impl FromStr for Suite {
    type Err = UnknownSuite;
    fn from_str(word: &str) -> Result<Self, UnknownSuite> {
        Suite::ALL
            .into_iter()
            .find(|s| s.name() == word)
            .ok_or_else(|| UnknownSuite(word.chars().filter(|c| !c.is_control()).take(40).collect()))
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl_der_code!(Suite, Suite::ALL);
