//! SM4 on AVX-512 with GFNI: four groups of sixteen blocks; the S-box is two instructions.
#![expect(unsafe_code, reason = "the kernel is entered with a proof, and reads and writes arrays of a vector's size")]

use std::arch::x86_64::*;

use super::{BATCH_BLOCKS, Batch, Counter, RoundKeys};
use crate::kernel::{Kernel, Level};

/// Groups of sixteen blocks that run side by side, so that one computes while another waits.
const GROUPS: usize = 4;
/// The S-box is an affine map, an inversion in the field of AES and another affine map. Matrices as the instruction
/// takes them, with their constants.
const BEFORE: i64 = 0x4c28_7db9_1a22_505d;
const BEFORE_CONSTANT: i32 = 0x3e;
const AFTER: i64 = 0xf3ab_34a9_74a6_b589_u64.cast_signed();
const AFTER_CONSTANT: i32 = 0xd3;

pub(super) fn enter(kernel: Kernel, keys: &RoundKeys, at: Counter, batches: &mut [Batch]) -> Counter {
    assert_eq!(kernel.0, Level::Avx512, "the one caller has looked");
    // SAFETY: a `Kernel` of this level exists only where AVX512F, AVX512BW and GFNI were detected.
    unsafe { apply(keys, at, batches) }
}

#[target_feature(enable = "avx512f,avx512bw,gfni")]
fn apply(keys: &RoundKeys, mut at: Counter, batches: &mut [Batch]) -> Counter {
    let before = _mm512_set1_epi64(BEFORE);
    let after = _mm512_set1_epi64(AFTER);
    // Lane 4 l + j of a word becomes word l of block 4 j + l when four words are transposed: its count is 4 j + l.
    let lanes = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    let big_endian = _mm512_broadcast_i32x4(_mm_setr_epi8(3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12));
    for batch in batches {
        let mut x = [[_mm512_setzero_si512(); GROUPS]; 4];
        for (group, first) in (0..GROUPS).zip((0..).step_by(16)) {
            for (word, nonce) in x.iter_mut().zip(at.nonce) {
                word[group] = _mm512_set1_epi32(nonce.cast_signed());
            }
            let count = at.count.wrapping_add(first).cast_signed();
            x[3][group] = _mm512_add_epi32(_mm512_set1_epi32(count), lanes);
        }
        macro_rules! round {
            ($a:literal, $b:literal, $c:literal, $d:literal, $key:expr) => {
                let key = _mm512_set1_epi32($key.cast_signed());
                for g in 0..GROUPS {
                    let t = _mm512_xor_si512(_mm512_ternarylogic_epi32::<0x96>(x[$b][g], x[$c][g], x[$d][g]), key);
                    let t = _mm512_gf2p8affine_epi64_epi8::<BEFORE_CONSTANT>(t, before);
                    let s = _mm512_gf2p8affineinv_epi64_epi8::<AFTER_CONSTANT>(t, after);
                    let r = _mm512_rol_epi32::<10>(s);
                    let r = _mm512_ternarylogic_epi32::<0x96>(s, _mm512_rol_epi32::<2>(s), r);
                    let q = _mm512_rol_epi32::<24>(s);
                    let q = _mm512_ternarylogic_epi32::<0x96>(x[$a][g], _mm512_rol_epi32::<18>(s), q);
                    x[$a][g] = _mm512_xor_si512(r, q);
                }
            };
        }
        for quad in keys.as_chunks::<4>().0 {
            round!(0, 1, 2, 3, quad[0]);
            round!(1, 2, 3, 0, quad[1]);
            round!(2, 3, 0, 1, quad[2]);
            round!(3, 0, 1, 2, quad[3]);
        }
        let (quarters, _) = batch.as_chunks_mut::<64>();
        for g in 0..GROUPS {
            // The words leave in reverse order.
            let (ab0, ab1) = (_mm512_unpacklo_epi32(x[3][g], x[2][g]), _mm512_unpackhi_epi32(x[3][g], x[2][g]));
            let (cd0, cd1) = (_mm512_unpacklo_epi32(x[1][g], x[0][g]), _mm512_unpackhi_epi32(x[1][g], x[0][g]));
            let out = [
                _mm512_unpacklo_epi64(ab0, cd0),
                _mm512_unpackhi_epi64(ab0, cd0),
                _mm512_unpacklo_epi64(ab1, cd1),
                _mm512_unpackhi_epi64(ab1, cd1),
            ];
            for (j, stream) in out.into_iter().enumerate() {
                add(&mut quarters[4 * g + j], _mm512_shuffle_epi8(stream, big_endian));
            }
        }
        at = at.after(BATCH_BLOCKS);
    }
    at
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn add(bytes: &mut [u8; 64], stream: __m512i) {
    // SAFETY: the array has the 64 bytes that are read, and the instruction takes any alignment.
    let text = unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) };
    let out = _mm512_xor_si512(text, stream);
    // SAFETY: the same 64 bytes, borrowed to be written.
    unsafe { _mm512_storeu_si512(bytes.as_mut_ptr().cast(), out) };
}
