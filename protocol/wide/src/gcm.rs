//! SM4-GCM (RFC 8998; NIST SP 800-38D), with a nonce of 12 bytes and a tag of 16.
//!
//! ```text
//! H = SM4(0)      J = nonce | 1      ciphertext = plaintext + key stream from nonce | 2 on
//! tag = GHASH(H, additional data, ciphertext) + SM4(J)
//! ```
//! Opening computes the tag over the ciphertext first: what does not fit is not deciphered at all.

use zeroize::Zeroizing;

use crate::Kernel;
use crate::ghash::{BLOCK_BYTES, Ghash};
use crate::sm4::{KEY_BYTES, Sm4};

/// Bytes of a tag.
pub const TAG_BYTES: usize = 16;
/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 12;
/// Bytes under one nonce at most: the counter of blocks has 32 bits, and two of them are used otherwise.
pub const TEXT_BYTES_MAX: u64 = ((1 << 32) - 2) * BLOCK_BYTES as u64;

/// The tag does not fit; nothing was deciphered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TagMismatch;

/// A key, ready for use. Leaves memory when dropped.
pub struct Sm4Gcm {
    cipher: Sm4,
    hash: Ghash,
}

impl Sm4Gcm {
    /// With the kernel chosen for this machine.
    #[must_use]
    pub fn new(key: &[u8; KEY_BYTES]) -> Sm4Gcm {
        Sm4Gcm::with(Kernel::chosen(), key)
    }

    /// With a kernel of one's own choice.
    #[must_use]
    pub fn with(kernel: Kernel, key: &[u8; KEY_BYTES]) -> Sm4Gcm {
        let cipher = Sm4::new(kernel, key);
        // The key stream at the counter block zero is SM4(0).
        let mut hash_key = Zeroizing::new([0; BLOCK_BYTES]);
        cipher.apply(&[0; NONCE_BYTES], 0, hash_key.as_mut_slice());
        let hash = Ghash::new(kernel, &hash_key);
        Sm4Gcm { cipher, hash }
    }

    /// Enciphers in place and gives the tag.
    ///
    /// # Panics
    /// Above [`TEXT_BYTES_MAX`]: the key stream would repeat.
    #[must_use]
    pub fn seal(&self, nonce: &[u8; NONCE_BYTES], additional: &[u8], bytes: &mut [u8]) -> [u8; TAG_BYTES] {
        assert!(bytes.len() as u64 <= TEXT_BYTES_MAX, "the key stream of one nonce is used up");
        self.cipher.apply(nonce, 2, bytes);
        self.tag(nonce, additional, bytes)
    }

    /// Deciphers in place if the tag fits; else the bytes stay as they are.
    pub fn open(
        &self,
        nonce: &[u8; NONCE_BYTES],
        additional: &[u8],
        bytes: &mut [u8],
        tag: &[u8; TAG_BYTES],
    ) -> Result<(), TagMismatch> {
        if bytes.len() as u64 > TEXT_BYTES_MAX {
            return Err(TagMismatch);
        }
        // One comparison of 128 bits takes the same time wherever they differ.
        if u128::from_ne_bytes(self.tag(nonce, additional, bytes)) != u128::from_ne_bytes(*tag) {
            return Err(TagMismatch);
        }
        self.cipher.apply(nonce, 2, bytes);
        Ok(())
    }

    fn tag(&self, nonce: &[u8; NONCE_BYTES], additional: &[u8], ciphertext: &[u8]) -> [u8; TAG_BYTES] {
        let mut tag = self.hash.digest(additional, ciphertext);
        self.cipher.apply(nonce, 1, &mut tag);
        tag
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use aes_gcm::aead::{AeadInOut as _, KeyInit as _};

    use super::*;

    type Stock = aes_gcm::AesGcm<sm4::Sm4, aes_gcm::aead::consts::U12>;

    /// Numbers that look random and are the same in every run (splitmix64).
    pub(crate) struct Noise(pub(crate) u64);

    impl Noise {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ z >> 31
        }
        pub(crate) fn below(&mut self, limit: usize) -> usize {
            (self.next() % limit as u64) as usize
        }
        pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
            (0..count).map(|_| self.next() as u8).collect()
        }
        pub(crate) fn array<const N: usize>(&mut self) -> [u8; N] {
            std::array::from_fn(|_| self.next() as u8)
        }
    }

    pub(crate) fn hex(text: &str) -> Vec<u8> {
        text.as_bytes()
            .chunks(2)
            .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
            .collect()
    }

    #[test]
    fn every_kernel_gives_the_answer_of_rfc_8998() {
        let key: [u8; 16] = hex("0123456789abcdeffedcba9876543210").try_into().unwrap();
        let nonce: [u8; 12] = hex("00001234567800000000abcd").try_into().unwrap();
        let additional = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
        let text: Vec<u8> =
            [0xaa_u8, 0xbb, 0xcc, 0xdd, 0xee, 0xff, 0xee, 0xaa].iter().flat_map(|byte| [*byte; 8]).collect();
        for kernel in Kernel::all() {
            let sealer = Sm4Gcm::with(kernel, &key);
            let mut bytes = text.clone();
            let tag = sealer.seal(&nonce, &additional, &mut bytes);
            let expected = "17f399f08c67d5ee19d0dc9969c4bb7d5fd46fd3756489069157b282bb200735\
                            d82710ca5c22f0ccfa7cbf93d496ac15a56834cbcf98c397b4024a2691233b8d";
            assert_eq!(bytes, hex(expected), "{kernel:?}");
            assert_eq!(tag.to_vec(), hex("83de3541e4c2b58177e065a9bf7b62ec"), "{kernel:?}");
            assert_eq!(sealer.open(&nonce, &additional, &mut bytes, &tag), Ok(()));
            assert_eq!(bytes, text);
        }
    }

    #[test]
    fn every_kernel_agrees_with_rustcrypto_over_lengths_keys_and_offsets() {
        let mut noise = Noise(1);
        for round in 0..400 {
            let (key, nonce) = (noise.array::<16>(), noise.array::<12>());
            let length = if round % 40 == 0 { 60_000 + noise.below(10_000) } else { noise.below(1_700) };
            let additional_length = noise.below(100);
            let (text, additional) = (noise.bytes(length), noise.bytes(additional_length));
            let stock = Stock::new(&key.into());
            let mut expected = text.clone();
            let tag: [u8; 16] = stock
                .encrypt_inout_detached(&nonce.into(), &additional, expected.as_mut_slice().into())
                .unwrap()
                .into();
            for kernel in Kernel::all() {
                let sealer = Sm4Gcm::with(kernel, &key);
                let offset = noise.below(64);
                let mut room = vec![0; offset + length];
                let bytes = &mut room[offset..];
                bytes.copy_from_slice(&text);
                assert_eq!(sealer.seal(&nonce, &additional, bytes), tag, "{kernel:?}, {length} bytes");
                assert_eq!(bytes, expected, "{kernel:?}, {length} bytes");
                assert_eq!(sealer.open(&nonce, &additional, bytes, &tag), Ok(()));
                assert_eq!(bytes, text, "{kernel:?}, {length} bytes");
            }
        }
    }

    #[test]
    fn any_flipped_bit_is_refused_and_nothing_is_deciphered() {
        let mut noise = Noise(2);
        for kernel in Kernel::all() {
            let sealer = Sm4Gcm::with(kernel, &noise.array());
            let (nonce, additional) = (noise.array::<12>(), noise.bytes(21));
            for length in [0, 1, 16, 47, 300] {
                let mut sealed = noise.bytes(length);
                let tag = sealer.seal(&nonce, &additional, &mut sealed);
                let flipped = |bytes: &[u8], bit: usize| {
                    let mut bytes = bytes.to_vec();
                    bytes[bit / 8] ^= 1 << (bit % 8);
                    bytes
                };
                let refused = |nonce: &[u8], additional: &[u8], sealed: &[u8], tag: &[u8]| {
                    let mut bytes = sealed.to_vec();
                    let (nonce, tag) = (nonce.try_into().unwrap(), tag.try_into().unwrap());
                    assert_eq!(sealer.open(nonce, additional, &mut bytes, tag), Err(TagMismatch), "{kernel:?}");
                    assert_eq!(bytes, sealed, "no plaintext, not even of the part that fits");
                };
                (0..length * 8).for_each(|bit| refused(&nonce, &additional, &flipped(&sealed, bit), &tag));
                (0..128).for_each(|bit| refused(&nonce, &additional, &sealed, &flipped(&tag, bit)));
                (0..96).for_each(|bit| refused(&flipped(&nonce, bit), &additional, &sealed, &tag));
                (0..21 * 8).for_each(|bit| refused(&nonce, &flipped(&additional, bit), &sealed, &tag));
                // Shorter, longer, and bytes moved between what is sealed and what is only vouched for.
                let longer = [sealed.as_slice(), &[0]].concat();
                refused(&nonce, &additional, &longer, &tag);
                refused(&nonce, &additional[1..], &sealed, &tag);
                if let Some((_, shorter)) = sealed.split_first() {
                    refused(&nonce, &additional, shorter, &tag);
                }
                assert_eq!(sealer.open(&nonce, &additional, &mut sealed, &tag), Ok(()));
            }
        }
    }
}
