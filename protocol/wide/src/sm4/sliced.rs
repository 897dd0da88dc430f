//! SM4 bit-sliced: 64 blocks side by side, one bit of each in a slice. The linear map of a round is a choice of
//! slices; the S-box is the circuit. For every processor, and in constant time.

use super::sbox::sbox;
use super::{BATCH_BLOCKS, Batch, Counter, RoundKeys};

/// One bit of a word, in 64 blocks.
type Slice = u64;
/// A word of 64 blocks, the lowest bit first.
type Word = [Slice; 32];

pub(super) fn apply(keys: &RoundKeys, mut at: Counter, batches: &mut [Batch]) -> Counter {
    for batch in batches {
        let counts = sliced(&std::array::from_fn(|block| u64::from(at.count.wrapping_add(low(block)))));
        let (count, _) = counts.split_first_chunk::<32>().expect("a transposed square has 64 rows");
        let [a, b, c] = at.nonce.map(everywhere);
        let out = rounds(keys, [a, b, c, *count]);
        // The words leave in reverse order, each with its high byte first.
        let (first, second) = (blocks_of(&out[3], &out[2]), blocks_of(&out[1], &out[0]));
        for ((bytes, first), second) in batch.as_chunks_mut::<16>().0.iter_mut().zip(first).zip(second) {
            let stream = u128::from(first) << 64 | u128::from(second);
            *bytes = (u128::from_be_bytes(*bytes) ^ stream).to_be_bytes();
        }
        at = at.after(BATCH_BLOCKS);
    }
    at
}

fn low(block: usize) -> u32 {
    u32::try_from(block).unwrap_or(0)
}

/// The same word in all blocks.
fn everywhere(word: u32) -> Word {
    std::array::from_fn(|bit| all_or_none(word >> bit))
}

/// All ones where the lowest bit is set. Arithmetic, not a branch: key bits come through here.
fn all_or_none(bit: u32) -> Slice {
    0_u64.wrapping_sub(u64::from(bit & 1))
}

fn rounds(keys: &RoundKeys, mut x: [Word; 4]) -> [Word; 4] {
    let (quads, _) = keys.as_chunks::<4>();
    for quad in quads {
        let [a, b, c, d] = &mut x;
        round(a, b, c, d, quad[0]);
        round(b, c, d, a, quad[1]);
        round(c, d, a, b, quad[2]);
        round(d, a, b, c, quad[3]);
    }
    x
}

fn round(x0: &mut Word, x1: &Word, x2: &Word, x3: &Word, key: u32) {
    let mut s: Word = [0; 32];
    for byte in 0..4 {
        let t = std::array::from_fn(|bit| {
            let bit = 8 * byte + bit;
            x1[bit] ^ x2[bit] ^ x3[bit] ^ all_or_none(key >> bit)
        });
        s[8 * byte..8 * byte + 8].copy_from_slice(&sbox(t));
    }
    for (bit, slice) in x0.iter_mut().enumerate() {
        let rotated = |by: usize| s[(bit + 32 - by) % 32];
        *slice ^= s[bit] ^ rotated(2) ^ rotated(10) ^ rotated(18) ^ rotated(24);
    }
}

/// Of each block eight bytes: one word above another.
fn blocks_of(high: &Word, low: &Word) -> [u64; 64] {
    let mut rows = [0; 64];
    rows[..32].copy_from_slice(low);
    rows[32..].copy_from_slice(high);
    sliced(&rows)
}

/// A square of bits, transposed: bit j of row i becomes bit i of row j. Exchanges ever smaller quarters.
fn sliced(rows: &[u64; 64]) -> [u64; 64] {
    let mut m = *rows;
    let mut width = 32;
    let mut mask = u64::MAX >> 32;
    while width > 0 {
        for row in (0..64).filter(|row| row & width == 0) {
            let moved = (m[row] >> width ^ m[row + width]) & mask;
            m[row] ^= moved << width;
            m[row + width] ^= moved;
        }
        width /= 2;
        mask ^= mask << width;
    }
    m
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_square_of_bits_is_transposed() {
        let rows: [u64; 64] = std::array::from_fn(|i| 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(i as u64 + 1));
        let columns = sliced(&rows);
        for (i, row) in rows.iter().enumerate() {
            for (j, column) in columns.iter().enumerate() {
                assert_eq!(row >> j & 1, column >> i & 1);
            }
        }
        assert_eq!(sliced(&columns), rows);
    }
}
