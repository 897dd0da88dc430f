//! Authenticated encryption of both suites: chunks of a payload, and tags of diode frames.
//!
//! AES-256-GCM runs in aws-lc-rs (10 GB/s a core here), SM4-GCM in our own `wide` (4.7 GB/s with AVX-512, 1.0 GB/s with
//! AES-NI; RustCrypto 0.1). A key seals one payload and is thrown away, so a counter as nonce never repeats.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use crate::keys;
use crate::suite::Suite;
use wide::gcm::Sm4Gcm;
use zeroize::Zeroizing;

/// Bytes of a tag.
pub const TAG_BYTES: usize = 16;
/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 12;

/// The tag did not fit: the bytes, the nonce, the additional data or the key are not those that were sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the authentication tag does not fit")]
pub struct TagMismatch;

/// A content or frame key, ready for use.
pub struct Aead {
    inner: Inner,
}

enum Inner {
    Aes(Box<LessSafeKey>),
    Sm4(Box<Sm4Gcm>),
}

/// A fresh content key of the suite's length.
#[must_use]
pub fn fresh_key(suite: Suite) -> Zeroizing<Vec<u8>> {
    let mut key = Zeroizing::new(vec![0; suite.key_bytes()]);
    keys::fill_random(&mut key);
    key
}

impl Aead {
    /// Takes a key of exactly the suite's length.
    #[must_use]
    pub fn new(suite: Suite, key: &[u8]) -> Option<Aead> {
        let inner = match suite {
            Suite::Std => Inner::Aes(Box::new(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).ok()?))),
            Suite::Gm => Inner::Sm4(Box::new(Sm4Gcm::new(key.try_into().ok()?))),
        };
        Some(Aead { inner })
    }

    /// Encrypts in place and returns the tag. Fails only above 64 GiB under one nonce, which no caller reaches.
    #[must_use]
    pub fn seal(&self, nonce: [u8; NONCE_BYTES], additional: &[u8], bytes: &mut [u8]) -> [u8; TAG_BYTES] {
        match &self.inner {
            Inner::Aes(key) => {
                let tag = key
                    .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(additional), bytes)
                    .expect("a chunk is far below the limit of GCM");
                tag.as_ref().try_into().expect("a GCM tag has 16 bytes")
            }
            Inner::Sm4(key) => key.seal(&nonce, additional, bytes),
        }
    }

    /// Decrypts in place; on a mismatch the bytes are worthless and must not be used.
    pub fn open(
        &self,
        nonce: [u8; NONCE_BYTES],
        additional: &[u8],
        bytes: &mut [u8],
        tag: &[u8; TAG_BYTES],
    ) -> Result<(), TagMismatch> {
        match &self.inner {
            Inner::Aes(key) => key
                .open_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(additional), tag, bytes)
                .map(|_| ())
                .map_err(|_| TagMismatch),
            Inner::Sm4(key) => key.open(&nonce, additional, bytes, tag).map_err(|_| TagMismatch),
        }
    }

    /// A tag over bytes that stay in clear (GMAC).
    #[must_use]
    pub fn tag(&self, nonce: [u8; NONCE_BYTES], bytes: &[u8]) -> [u8; TAG_BYTES] {
        self.seal(nonce, bytes, &mut [])
    }

    /// Checks such a tag.
    pub fn check(&self, nonce: [u8; NONCE_BYTES], bytes: &[u8], tag: &[u8; TAG_BYTES]) -> Result<(), TagMismatch> {
        self.open(nonce, bytes, &mut [], tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::der_types::Octets;

    #[test]
    fn sm4_gcm_gives_the_answer_of_rfc_8998() {
        let key = Octets::<16>::from_hex("0123456789abcdeffedcba9876543210").unwrap();
        let nonce = Octets::<12>::from_hex("00001234567800000000abcd").unwrap();
        let aad = Octets::<20>::from_hex("feedfacedeadbeeffeedfacedeadbeefabaddad2").unwrap();
        let mut text = Vec::new();
        for byte in [0xaa_u8, 0xbb, 0xcc, 0xdd, 0xee, 0xff, 0xee, 0xaa] {
            text.extend([byte; 8]);
        }
        let tag = Aead::new(Suite::Gm, key.as_bytes()).unwrap().seal(nonce.0, aad.as_bytes(), &mut text);
        assert_eq!(
            Octets::<64>::from_slice(&text).unwrap().to_string(),
            "17f399f08c67d5ee19d0dc9969c4bb7d5fd46fd3756489069157b282bb200735d82710ca5c22f0ccfa7cbf93d496ac15a56834cbcf98c397b4024a2691233b8d"
        );
        assert_eq!(Octets(tag).to_string(), "83de3541e4c2b58177e065a9bf7b62ec");
    }

    #[test]
    fn a_changed_bit_anywhere_is_noticed() {
        for suite in Suite::ALL {
            let aead = Aead::new(suite, &fresh_key(suite)).unwrap();
            let mut bytes = b"some content".to_vec();
            let tag = aead.seal([1; 12], b"context", &mut bytes);
            let mut good = bytes.clone();
            assert_eq!(aead.open([1; 12], b"context", &mut good, &tag), Ok(()));
            assert_eq!(good, b"some content");
            let mut changed = bytes.clone();
            changed[3] ^= 4;
            assert_eq!(aead.open([1; 12], b"context", &mut changed, &tag), Err(TagMismatch));
            assert_eq!(aead.open([2; 12], b"context", &mut bytes.clone(), &tag), Err(TagMismatch));
            assert_eq!(aead.open([1; 12], b"contexT", &mut bytes.clone(), &tag), Err(TagMismatch));
            let frame_tag = aead.tag([3; 12], b"frame");
            assert_eq!(aead.check([3; 12], b"frame", &frame_tag), Ok(()));
            assert_eq!(aead.check([3; 12], b"framE", &frame_tag), Err(TagMismatch));
        }
    }
}
