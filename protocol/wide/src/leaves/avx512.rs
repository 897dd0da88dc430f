//! Sixteen leaves at once, on AVX-512.
#![expect(unsafe_code, reason = "the kernel is entered with a proof, and reads and writes arrays of a vector's size")]

use std::arch::x86_64::*;

use super::{DIGEST_BYTES, Hash, rounds};
use crate::kernel::{Kernel, Level};

/// Leaves at once.
pub(super) const LANES: usize = 16;
type Vector = __m512i;

pub(super) fn enter(kernel: Kernel, hash: Hash, prefix: u8, leaves: [&[u8]; LANES]) -> [[u8; DIGEST_BYTES]; LANES] {
    assert_eq!(kernel.0, Level::Avx512, "the one caller has looked");
    // SAFETY: a `Kernel` of this level exists only where AVX512F and AVX512BW were detected.
    unsafe { digests(hash, prefix, leaves) }
}

rounds::kernel!("avx512f,avx512bw");

#[inline]
#[target_feature(enable = "avx512f")]
fn splat(word: u32) -> Vector {
    _mm512_set1_epi32(word.cast_signed())
}

#[inline]
#[target_feature(enable = "avx512f")]
fn add(a: Vector, b: Vector) -> Vector {
    _mm512_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn xor(a: Vector, b: Vector) -> Vector {
    _mm512_xor_si512(a, b)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn xor3(a: Vector, b: Vector, c: Vector) -> Vector {
    _mm512_ternarylogic_epi32::<0x96>(a, b, c)
}

/// Of each bit the one of b where a has one, else of c.
#[inline]
#[target_feature(enable = "avx512f")]
fn choose(a: Vector, b: Vector, c: Vector) -> Vector {
    _mm512_ternarylogic_epi32::<0xca>(a, b, c)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn majority(a: Vector, b: Vector, c: Vector) -> Vector {
    _mm512_ternarylogic_epi32::<0xe8>(a, b, c)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn rotl<const BITS: i32>(a: Vector) -> Vector {
    _mm512_rol_epi32::<BITS>(a)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn shr<const BITS: u32>(a: Vector) -> Vector {
    _mm512_srli_epi32::<BITS>(a)
}

/// A square of sixteen by sixteen words, transposed.
#[inline]
#[target_feature(enable = "avx512f")]
fn transposed(rows: [Vector; 16]) -> [Vector; 16] {
    let zero = _mm512_setzero_si512();
    let (mut twos, mut fours, mut eights, mut out) = ([zero; 16], [zero; 16], [zero; 16], [zero; 16]);
    for i in 0..8 {
        twos[2 * i] = _mm512_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
        twos[2 * i + 1] = _mm512_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
    }
    // fours[4 i + k]: words k, k + 4, k + 8 and k + 12 of the rows 4 i to 4 i + 3, a quarter of the vector each.
    for i in 0..4 {
        fours[4 * i] = _mm512_unpacklo_epi64(twos[4 * i], twos[4 * i + 2]);
        fours[4 * i + 1] = _mm512_unpackhi_epi64(twos[4 * i], twos[4 * i + 2]);
        fours[4 * i + 2] = _mm512_unpacklo_epi64(twos[4 * i + 1], twos[4 * i + 3]);
        fours[4 * i + 3] = _mm512_unpackhi_epi64(twos[4 * i + 1], twos[4 * i + 3]);
    }
    // Quarters 0 and 2, or 1 and 3, of two of them; then of two such.
    for k in 0..4 {
        eights[k] = _mm512_shuffle_i32x4::<0x88>(fours[k], fours[4 + k]);
        eights[4 + k] = _mm512_shuffle_i32x4::<0xdd>(fours[k], fours[4 + k]);
        eights[8 + k] = _mm512_shuffle_i32x4::<0x88>(fours[8 + k], fours[12 + k]);
        eights[12 + k] = _mm512_shuffle_i32x4::<0xdd>(fours[8 + k], fours[12 + k]);
    }
    for k in 0..4 {
        out[k] = _mm512_shuffle_i32x4::<0x88>(eights[k], eights[8 + k]);
        out[4 + k] = _mm512_shuffle_i32x4::<0x88>(eights[4 + k], eights[12 + k]);
        out[8 + k] = _mm512_shuffle_i32x4::<0xdd>(eights[k], eights[8 + k]);
        out[12 + k] = _mm512_shuffle_i32x4::<0xdd>(eights[4 + k], eights[12 + k]);
    }
    out
}

/// Swaps the bytes of each word.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn big_endian(words: Vector) -> Vector {
    let order = _mm_setr_epi8(3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12);
    _mm512_shuffle_epi8(words, _mm512_broadcast_i32x4(order))
}

/// A block of every lane, as vectors of its words.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn words(blocks: [&[u8; 64]; LANES]) -> [Vector; 16] {
    let mut rows = [_mm512_setzero_si512(); 16];
    for (row, block) in rows.iter_mut().zip(blocks) {
        // SAFETY: the array has the 64 bytes that are read, and the instruction takes any alignment.
        *row = unsafe { _mm512_loadu_si512(block.as_ptr().cast()) };
    }
    let mut words = transposed(rows);
    for word in &mut words {
        *word = big_endian(*word);
    }
    words
}

/// The digest of every lane.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn unwords(state: [Vector; 8]) -> [[u8; DIGEST_BYTES]; LANES] {
    let mut columns = [_mm512_setzero_si512(); 16];
    columns[..8].copy_from_slice(&state);
    let rows = transposed(columns);
    let mut digests = [[0; DIGEST_BYTES]; LANES];
    for (digest, row) in digests.iter_mut().zip(rows) {
        let words = _mm512_castsi512_si256(big_endian(row));
        // SAFETY: the array has the 32 bytes that are written, and the instruction takes any alignment.
        unsafe { _mm256_storeu_si256(digest.as_mut_ptr().cast(), words) };
    }
    digests
}
