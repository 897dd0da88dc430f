//! Eight leaves at once, on AVX2.
#![expect(unsafe_code, reason = "the kernel is entered with a proof, and reads and writes arrays of a vector's size")]

use std::arch::x86_64::*;

use super::{DIGEST_BYTES, Hash, rounds};
use crate::kernel::{Kernel, Level};

/// Leaves at once.
pub(super) const LANES: usize = 8;
type Vector = __m256i;

pub(super) fn enter(kernel: Kernel, hash: Hash, prefix: u8, leaves: [&[u8]; LANES]) -> [[u8; DIGEST_BYTES]; LANES] {
    assert_eq!(kernel.0, Level::Avx2, "the one caller has looked");
    // SAFETY: a `Kernel` of this level exists only where AVX2 was detected.
    unsafe { digests(hash, prefix, leaves) }
}

rounds::kernel!("avx2");

#[inline]
#[target_feature(enable = "avx2")]
fn splat(word: u32) -> Vector {
    _mm256_set1_epi32(word.cast_signed())
}

#[inline]
#[target_feature(enable = "avx2")]
fn add(a: Vector, b: Vector) -> Vector {
    _mm256_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx2")]
fn xor(a: Vector, b: Vector) -> Vector {
    _mm256_xor_si256(a, b)
}

#[inline]
#[target_feature(enable = "avx2")]
fn xor3(a: Vector, b: Vector, c: Vector) -> Vector {
    xor(xor(a, b), c)
}

/// Of each bit the one of b where a has one, else of c.
#[inline]
#[target_feature(enable = "avx2")]
fn choose(a: Vector, b: Vector, c: Vector) -> Vector {
    xor(_mm256_and_si256(a, xor(b, c)), c)
}

#[inline]
#[target_feature(enable = "avx2")]
fn majority(a: Vector, b: Vector, c: Vector) -> Vector {
    _mm256_or_si256(_mm256_and_si256(a, b), _mm256_and_si256(c, _mm256_or_si256(a, b)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn rotl<const BITS: i32>(a: Vector) -> Vector {
    let (up, down) = (_mm_cvtsi32_si128(BITS), _mm_cvtsi32_si128(32 - BITS));
    _mm256_or_si256(_mm256_sll_epi32(a, up), _mm256_srl_epi32(a, down))
}

#[inline]
#[target_feature(enable = "avx2")]
fn shr<const BITS: u32>(a: Vector) -> Vector {
    _mm256_srl_epi32(a, _mm_cvtsi32_si128(BITS.cast_signed()))
}

/// A square of eight by eight words, transposed.
#[inline]
#[target_feature(enable = "avx2")]
fn transposed(rows: [Vector; 8]) -> [Vector; 8] {
    let zero = _mm256_setzero_si256();
    let (mut twos, mut fours, mut out) = ([zero; 8], [zero; 8], [zero; 8]);
    for i in 0..4 {
        twos[2 * i] = _mm256_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
        twos[2 * i + 1] = _mm256_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
    }
    // fours[4 i + k]: words k and k + 4 of the rows 4 i to 4 i + 3, a half of the vector each.
    for i in 0..2 {
        fours[4 * i] = _mm256_unpacklo_epi64(twos[4 * i], twos[4 * i + 2]);
        fours[4 * i + 1] = _mm256_unpackhi_epi64(twos[4 * i], twos[4 * i + 2]);
        fours[4 * i + 2] = _mm256_unpacklo_epi64(twos[4 * i + 1], twos[4 * i + 3]);
        fours[4 * i + 3] = _mm256_unpackhi_epi64(twos[4 * i + 1], twos[4 * i + 3]);
    }
    for k in 0..4 {
        out[k] = _mm256_permute2x128_si256::<0x20>(fours[k], fours[4 + k]);
        out[4 + k] = _mm256_permute2x128_si256::<0x31>(fours[k], fours[4 + k]);
    }
    out
}

/// Swaps the bytes of each word.
#[inline]
#[target_feature(enable = "avx2")]
fn big_endian(words: Vector) -> Vector {
    let order = _mm_setr_epi8(3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12);
    _mm256_shuffle_epi8(words, _mm256_broadcastsi128_si256(order))
}

/// A block of every lane, as vectors of its words.
#[inline]
#[target_feature(enable = "avx2")]
fn words(blocks: [&[u8; 64]; LANES]) -> [Vector; 16] {
    let mut words = [_mm256_setzero_si256(); 16];
    for half in 0..2 {
        let mut rows = [_mm256_setzero_si256(); 8];
        for (row, block) in rows.iter_mut().zip(blocks) {
            let bytes = &block.as_chunks::<32>().0[half];
            // SAFETY: the array has the 32 bytes that are read, and the instruction takes any alignment.
            *row = unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) };
        }
        for (word, row) in words[8 * half..].iter_mut().zip(transposed(rows)) {
            *word = big_endian(row);
        }
    }
    words
}

/// The digest of every lane.
#[inline]
#[target_feature(enable = "avx2")]
fn unwords(state: [Vector; 8]) -> [[u8; DIGEST_BYTES]; LANES] {
    let mut digests = [[0; DIGEST_BYTES]; LANES];
    for (digest, row) in digests.iter_mut().zip(transposed(state)) {
        let words = big_endian(row);
        // SAFETY: the array has the 32 bytes that are written, and the instruction takes any alignment.
        unsafe { _mm256_storeu_si256(digest.as_mut_ptr().cast(), words) };
    }
    digests
}
