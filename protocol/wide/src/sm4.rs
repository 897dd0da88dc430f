//! SM4 in counter mode (GB/T 32907-2016), many blocks at a time.
//!
//! ```text
//! counter block = nonce(12) | counter(4), counted modulo 2^32       batch = 64 blocks = 1,024 bytes
//! ```
//! Each kernel enciphers whole batches; what is left goes through a batch of its own. One block more costs nothing that
//! is worth a second way of enciphering.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod sbox;
mod sliced;

use zeroize::{Zeroize, Zeroizing};

use crate::kernel::{Kernel, Level};
use sbox::sbox;

/// Bytes of a key.
pub(crate) const KEY_BYTES: usize = 16;
/// Bytes that a kernel enciphers at once.
pub(crate) const BATCH_BYTES: usize = 1024;
/// Blocks of a batch.
const BATCH_BLOCKS: u32 = 64;

type Batch = [u8; BATCH_BYTES];
type RoundKeys = [u32; 32];

/// A key, expanded for the rounds. Leaves memory when dropped.
pub(crate) struct Sm4 {
    keys: RoundKeys,
    kernel: Kernel,
}

impl Drop for Sm4 {
    fn drop(&mut self) {
        self.keys.zeroize();
    }
}

/// Where a stream of counter blocks stands.
#[derive(Clone, Copy)]
struct Counter {
    nonce: [u32; 3],
    count: u32,
}

impl Counter {
    fn after(self, blocks: u32) -> Counter {
        Counter { count: self.count.wrapping_add(blocks), ..self }
    }
}

impl Sm4 {
    pub(crate) fn new(kernel: Kernel, key: &[u8; KEY_BYTES]) -> Sm4 {
        Sm4 { keys: expand(key), kernel }
    }

    /// Adds the key stream from this counter on: enciphers and deciphers.
    pub(crate) fn apply(&self, nonce: &[u8; 12], count: u32, bytes: &mut [u8]) {
        let word = |at: usize| u32::from_be_bytes([nonce[at], nonce[at + 1], nonce[at + 2], nonce[at + 3]]);
        let mut at = Counter { nonce: [word(0), word(4), word(8)], count };
        let (batches, rest) = bytes.as_chunks_mut::<BATCH_BYTES>();
        at = self.apply_batches(at, batches);
        if !rest.is_empty() {
            let mut last = Zeroizing::new([0; BATCH_BYTES]);
            let (used, _) = last.split_at_mut(rest.len());
            used.copy_from_slice(rest);
            self.apply_batches(at, std::slice::from_mut(&mut last));
            rest.copy_from_slice(&last[..rest.len()]);
        }
    }

    /// Gives the counter behind them.
    fn apply_batches(&self, at: Counter, batches: &mut [Batch]) -> Counter {
        match self.kernel.0 {
            Level::Portable => sliced::apply(&self.keys, at, batches),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => avx2::enter(self.kernel, &self.keys, at, batches),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => avx512::enter(self.kernel, &self.keys, at, batches),
        }
    }
}

/// The system parameter FK.
const FK: [u32; 4] = [0xa3b1_bac6, 0x56aa_3350, 0x677d_9197, 0xb270_22dc];

/// GB/T 32907-2016, 7.3. By the circuit, four bytes at a time: constant time, and once a key.
fn expand(key: &[u8; KEY_BYTES]) -> RoundKeys {
    let (words, _) = key.as_chunks::<4>();
    let mut k: [u32; 4] = std::array::from_fn(|i| u32::from_be_bytes(words[i]) ^ FK[i]);
    let mut keys = [0; 32];
    for (round, key) in (0_u32..).zip(&mut keys) {
        let ck = u32::from_be_bytes([0, 1, 2, 3].map(|byte| ((4 * round + byte) * 7 % 256).to_le_bytes()[0]));
        let b = tau(k[1] ^ k[2] ^ k[3] ^ ck);
        *key = k[0] ^ b ^ b.rotate_left(13) ^ b.rotate_left(23);
        k = [k[1], k[2], k[3], *key];
    }
    k.zeroize();
    keys
}

/// The S-box on each byte of a word.
fn tau(word: u32) -> u32 {
    const LOWEST: u32 = 0x0101_0101;
    let slices = sbox(std::array::from_fn(|bit| word >> bit & LOWEST));
    (0..8).zip(slices).fold(0, |all, (bit, slice)| all | (slice & LOWEST) << bit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gcm::tests::{Noise, hex};

    const KEY: &str = "0123456789abcdeffedcba9876543210";

    /// One block: the key stream at a counter that is the block.
    fn encipher(kernel: Kernel, key: &[u8; 16], block: [u8; 16]) -> [u8; 16] {
        let (nonce, count) = block.split_first_chunk::<12>().unwrap();
        let mut out = [0; 16];
        Sm4::new(kernel, key).apply(nonce, u32::from_be_bytes(count.try_into().unwrap()), &mut out);
        out
    }

    #[test]
    fn every_kernel_gives_the_answers_of_gb_t_32907() {
        let key: [u8; 16] = hex(KEY).try_into().unwrap();
        for kernel in Kernel::all() {
            assert_eq!(encipher(kernel, &key, key).to_vec(), hex("681edf34d206965e86b3e94f536e4246"), "{kernel:?}");
        }
    }

    #[test]
    fn a_million_times_gives_the_answer_of_gb_t_32907() {
        let key: [u8; 16] = hex(KEY).try_into().unwrap();
        // The best kernel only: a million times over a whole batch each.
        let sm4 = Sm4::new(Kernel::chosen(), &key);
        let mut block = key;
        for _ in 0..1_000_000 {
            let (nonce, count) = block.split_first_chunk::<12>().unwrap();
            let mut out = [0; 16];
            sm4.apply(nonce, u32::from_be_bytes(count.try_into().unwrap()), &mut out);
            block = out;
        }
        assert_eq!(block.to_vec(), hex("595298c7c6fd271f0402f804c33d3f66"));
    }

    #[test]
    fn every_kernel_agrees_with_rustcrypto_on_any_block_and_key() {
        use sm4::cipher::{BlockCipherEncrypt as _, KeyInit as _};
        let mut noise = Noise(11);
        for _ in 0..300 {
            let (key, block) = (noise.array::<16>(), noise.array::<16>());
            let mut expected = block.into();
            sm4::Sm4::new(&key.into()).encrypt_block(&mut expected);
            for kernel in Kernel::all() {
                assert_eq!(encipher(kernel, &key, block), <[u8; 16]>::from(expected), "{kernel:?}");
            }
        }
    }

    #[test]
    fn every_kernel_agrees_with_rustcrypto_over_lengths_and_counters_that_wrap() {
        use sm4::cipher::{BlockCipherEncrypt as _, KeyInit as _};
        let mut noise = Noise(12);
        for round in 0..60_u32 {
            let (key, nonce) = (noise.array::<16>(), noise.array::<12>());
            let length = noise.below(5_000);
            // Every second one wraps within the stream, and one exactly at the edge of a batch.
            let count = match round % 4 {
                0 => 0_u32.wrapping_sub(noise.below(300) as u32),
                1 => 0_u32.wrapping_sub(64),
                _ => u32::from_be_bytes(noise.array()),
            };
            let text = noise.bytes(length);
            let stock = sm4::Sm4::new(&key.into());
            let mut expected = text.clone();
            for (index, piece) in (0..).zip(expected.chunks_mut(16)) {
                let mut block = [0; 16];
                block[..12].copy_from_slice(&nonce);
                block[12..].copy_from_slice(&count.wrapping_add(index).to_be_bytes());
                let mut block = block.into();
                stock.encrypt_block(&mut block);
                piece.iter_mut().zip(block.iter()).for_each(|(byte, key)| *byte ^= key);
            }
            for kernel in Kernel::all() {
                // At any offset in memory: nothing may ask for alignment.
                let offset = noise.below(64);
                let mut bytes = vec![0; offset + length];
                bytes[offset..].copy_from_slice(&text);
                Sm4::new(kernel, &key).apply(&nonce, count, &mut bytes[offset..]);
                assert_eq!(bytes[offset..], expected, "{kernel:?}, {length} bytes from {count:#x}");
            }
        }
    }
}
