//! GHASH (NIST SP 800-38D): blocks as polynomials over GF(2^128), sixteen summed before one reduction.
//!
//! Computed as POLYVAL, its mirror image (RFC 8452, appendix A), whose reduction needs no bit reversed:
//! `GHASH(H, X) = reverse(POLYVAL(x * reverse(H), reverse(X)))`, where `reverse` turns the order of 16 bytes.

#[cfg(target_arch = "x86_64")]
mod carryless;

use ::ghash::GHash;
use ::ghash::universal_hash::UniversalHash as _;

use crate::kernel::{Kernel, Level};

/// Bytes of a block.
pub(crate) const BLOCK_BYTES: usize = 16;
type Block = [u8; BLOCK_BYTES];

/// A hash key, made ready. Leaves memory when dropped.
pub(crate) struct Ghash {
    key: Key,
}

enum Key {
    Stock(Box<GHash>),
    #[cfg(target_arch = "x86_64")]
    Carryless(Box<carryless::Powers>),
}

impl Ghash {
    pub(crate) fn new(kernel: Kernel, key: &Block) -> Ghash {
        let key = match kernel.0 {
            Level::Portable => Key::Stock(Box::new(GHash::new(key.into()))),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 | Level::Avx512 => Key::Carryless(Box::new(carryless::Powers::new(kernel, key))),
        };
        Ghash { key }
    }

    /// The digest of additional data and ciphertext: each filled up with zeros, and their lengths in bits.
    pub(crate) fn digest(&self, additional: &[u8], text: &[u8]) -> Block {
        let bits = |bytes: &[u8]| (bytes.len() as u64 * 8).to_be_bytes();
        let mut lengths = [0; BLOCK_BYTES];
        lengths[..8].copy_from_slice(&bits(additional));
        lengths[8..].copy_from_slice(&bits(text));
        match &self.key {
            Key::Stock(key) => {
                let mut hash = GHash::clone(key);
                hash.update_padded(additional);
                hash.update_padded(text);
                hash.update_padded(&lengths);
                hash.finalize().into()
            }
            #[cfg(target_arch = "x86_64")]
            Key::Carryless(powers) => powers.digest(&[additional, text, &lengths]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gcm::tests::{Noise, hex};

    #[test]
    fn every_kernel_gives_the_answer_of_the_mode_s_own_paper() {
        // McGrew and Viega, "The Galois/Counter Mode of Operation", appendix B, test case 2.
        let key: Block = hex("66e94bd4ef8a2c3b884cfa59ca342b2e").try_into().unwrap();
        let text = hex("0388dace60b6a392f328c2b971b2fe78");
        for kernel in Kernel::all() {
            let digest = Ghash::new(kernel, &key).digest(&[], &text);
            assert_eq!(digest.to_vec(), hex("f38cbb1ad69223dcc3457ae5b6b0f885"), "{kernel:?}");
        }
    }

    #[test]
    fn every_kernel_agrees_over_all_lengths() {
        let mut noise = Noise(21);
        for length in (0..700).chain([4_096, 65_536, 65_537]) {
            let (key, additional, text) = (noise.array(), noise.bytes(length % 77), noise.bytes(length));
            let digests: Vec<Block> =
                Kernel::all().map(|kernel| Ghash::new(kernel, &key).digest(&additional, &text)).collect();
            // The portable kernel, the last, is RustCrypto's.
            assert!(digests.iter().all(|digest| digest == &digests[digests.len() - 1]), "{length} bytes");
        }
    }
}
