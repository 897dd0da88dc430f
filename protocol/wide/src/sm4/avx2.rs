//! SM4 on AES-NI and AVX2: four groups of eight blocks. The S-box is the last round of AES between two affine maps,
//! each of them two tables of 16 bytes that stay in a register.
#![expect(unsafe_code, reason = "the kernel is entered with a proof, and reads and writes arrays of a vector's size")]

use std::arch::x86_64::*;

use super::{Batch, Counter, RoundKeys};
use crate::kernel::{Kernel, Level};

/// Groups of eight blocks that run side by side, so that one computes while another waits.
const GROUPS: usize = 4;
/// Bytes and blocks that they encipher together: half a batch.
const HALF_BYTES: usize = 512;
const HALF_BLOCKS: u32 = 32;

/// Rows of the map into the basis of AES, the lowest bit first: which bits of the byte add up to it.
const BEFORE: [u8; 8] = [0x4c, 0x28, 0x7d, 0xb9, 0x1a, 0x22, 0x50, 0x5d];
const BEFORE_CONSTANT: u8 = 0x3e;
/// Rows of the map from what AES gives to what SM4 gives; the constant takes that of AES away.
const AFTER: [u8; 8] = [0x48, 0x0e, 0x4c, 0x47, 0x65, 0x1d, 0xba, 0xd3];
const AFTER_CONSTANT: u8 = 0x6c;

/// An affine map by the halves of a byte: `low[x & 15] ^ high[x >> 4]`. Made at compile time, the same for all keys.
struct Halves {
    low: [u8; 16],
    high: [u8; 16],
}

const fn halves(rows: [u8; 8], constant: u8) -> Halves {
    let (mut low, mut high) = ([0; 16], [0; 16]);
    let mut nibble = 0;
    while nibble < 16_u8 {
        let mut bit = 0;
        while bit < 8 {
            low[nibble as usize] |= (((rows[bit] & nibble).count_ones() & 1) as u8) << bit;
            high[nibble as usize] |= (((rows[bit] & nibble << 4).count_ones() & 1) as u8) << bit;
            bit += 1;
        }
        low[nibble as usize] ^= constant;
        nibble += 1;
    }
    Halves { low, high }
}

/// The last round of AES shifts rows; this takes bytes back to their places, turned within their word by some bytes.
const fn unshift(turned: usize) -> [u8; 16] {
    const BACK: [u8; 16] = [0, 13, 10, 7, 4, 1, 14, 11, 8, 5, 2, 15, 12, 9, 6, 3];
    let mut out = [0; 16];
    let mut at = 0;
    while at < 16 {
        out[at] = BACK[at / 4 * 4 + (at % 4 + 4 - turned) % 4];
        at += 1;
    }
    out
}

const INTO: Halves = halves(BEFORE, BEFORE_CONSTANT);
const OUT_OF: Halves = halves(AFTER, AFTER_CONSTANT);
const TURNS: [[u8; 16]; 4] = [unshift(0), unshift(1), unshift(2), unshift(3)];
const BIG_ENDIAN: [u8; 16] = [3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12];

pub(super) fn enter(kernel: Kernel, keys: &RoundKeys, at: Counter, batches: &mut [Batch]) -> Counter {
    assert_eq!(kernel.0, Level::Avx2, "the one caller has looked");
    // SAFETY: a `Kernel` of this level exists only where AVX2 and AES-NI were detected.
    unsafe { apply(keys, at, batches.as_flattened_mut().as_chunks_mut().0) }
}

#[target_feature(enable = "avx2,aes")]
fn apply(keys: &RoundKeys, mut at: Counter, batches: &mut [[u8; HALF_BYTES]]) -> Counter {
    // Lane 4 l + j of a word becomes word l of block 2 j + l when four words are transposed: its count is 2 j + l.
    let lanes = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
    let low_nibbles = _mm256_set1_epi8(15);
    let (into_low, into_high) = (twice(&INTO.low), twice(&INTO.high));
    let (out_low, out_high) = (twice(&OUT_OF.low), twice(&OUT_OF.high));
    let [turn0, turn8, turn16, turn24] = [twice(&TURNS[0]), twice(&TURNS[1]), twice(&TURNS[2]), twice(&TURNS[3])];
    for batch in batches {
        let mut x = [[_mm256_setzero_si256(); GROUPS]; 4];
        for (group, first) in (0..GROUPS).zip((0..).step_by(8)) {
            for (word, nonce) in x.iter_mut().zip(at.nonce) {
                word[group] = _mm256_set1_epi32(nonce.cast_signed());
            }
            let count = at.count.wrapping_add(first).cast_signed();
            x[3][group] = _mm256_add_epi32(_mm256_set1_epi32(count), lanes);
        }
        macro_rules! affine {
            ($x:expr, $low:ident, $high:ident) => {{
                let low = _mm256_shuffle_epi8($low, _mm256_and_si256($x, low_nibbles));
                let above = _mm256_and_si256(_mm256_srli_epi32::<4>($x), low_nibbles);
                _mm256_xor_si256(low, _mm256_shuffle_epi8($high, above))
            }};
        }
        macro_rules! round {
            ($a:literal, $b:literal, $c:literal, $d:literal, $key:expr) => {
                let key = _mm256_set1_epi32($key.cast_signed());
                for g in 0..GROUPS {
                    let t = _mm256_xor_si256(_mm256_xor_si256(x[$b][g], x[$c][g]), _mm256_xor_si256(x[$d][g], key));
                    let t = affine!(t, into_low, into_high);
                    // AES-NI of this level takes 128 bits at a time.
                    let lower = _mm_aesenclast_si128(_mm256_castsi256_si128(t), _mm_setzero_si128());
                    let upper = _mm_aesenclast_si128(_mm256_extracti128_si256::<1>(t), _mm_setzero_si128());
                    let t = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(lower), upper);
                    let t = affine!(t, out_low, out_high);
                    let s = _mm256_shuffle_epi8(t, turn0);
                    let eights = _mm256_xor_si256(_mm256_shuffle_epi8(t, turn8), _mm256_shuffle_epi8(t, turn16));
                    // Turned by 2, 10 and 18: together, by 2.
                    let u = _mm256_xor_si256(s, eights);
                    let u = _mm256_or_si256(_mm256_slli_epi32::<2>(u), _mm256_srli_epi32::<30>(u));
                    let s = _mm256_xor_si256(s, _mm256_shuffle_epi8(t, turn24));
                    x[$a][g] = _mm256_xor_si256(x[$a][g], _mm256_xor_si256(s, u));
                }
            };
        }
        for quad in keys.as_chunks::<4>().0 {
            round!(0, 1, 2, 3, quad[0]);
            round!(1, 2, 3, 0, quad[1]);
            round!(2, 3, 0, 1, quad[2]);
            round!(3, 0, 1, 2, quad[3]);
        }
        let (quarters, _) = batch.as_chunks_mut::<32>();
        for g in 0..GROUPS {
            // The words leave in reverse order.
            let (ab0, ab1) = (_mm256_unpacklo_epi32(x[3][g], x[2][g]), _mm256_unpackhi_epi32(x[3][g], x[2][g]));
            let (cd0, cd1) = (_mm256_unpacklo_epi32(x[1][g], x[0][g]), _mm256_unpackhi_epi32(x[1][g], x[0][g]));
            let out = [
                _mm256_unpacklo_epi64(ab0, cd0),
                _mm256_unpackhi_epi64(ab0, cd0),
                _mm256_unpacklo_epi64(ab1, cd1),
                _mm256_unpackhi_epi64(ab1, cd1),
            ];
            for (j, stream) in out.into_iter().enumerate() {
                add(&mut quarters[4 * g + j], _mm256_shuffle_epi8(stream, twice(&BIG_ENDIAN)));
            }
        }
        at = at.after(HALF_BLOCKS);
    }
    at
}

/// A table in both halves of a vector.
#[inline]
#[target_feature(enable = "avx2")]
fn twice(table: &[u8; 16]) -> __m256i {
    // SAFETY: the array has the 16 bytes that are read, and the instruction takes any alignment.
    _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(table.as_ptr().cast()) })
}

#[inline]
#[target_feature(enable = "avx2")]
fn add(bytes: &mut [u8; 32], stream: __m256i) {
    // SAFETY: the array has the 32 bytes that are read, and the instruction takes any alignment.
    let text = unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) };
    let out = _mm256_xor_si256(text, stream);
    // SAFETY: the same 32 bytes, borrowed to be written.
    unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), out) };
}
