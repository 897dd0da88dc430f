//! GHASH by carry-less multiplication: PCLMULQDQ, one block at a time, or VPCLMULQDQ, four.
#![expect(unsafe_code, reason = "the kernels are entered with a proof, and read arrays of a vector's size")]

use std::arch::x86_64::*;

use zeroize::{Zeroize, Zeroizing};

use super::{BLOCK_BYTES, Block};
use crate::kernel::{Kernel, Level};

/// Blocks that are summed before one reduction.
const BLOCKS: usize = 16;
/// x^127 + x^126 + x^121 + 1: what x^128 is in the field of POLYVAL.
const X_128: u128 = 0xc200_0000_0000_0000_0000_0000_0000_0001;
/// The upper half of the same, for the reduction.
const FOLD: i64 = 0xc200_0000_0000_0000_u64.cast_signed();

/// The hash key's powers, the sixteenth first.
pub(super) struct Powers {
    kernel: Kernel,
    powers: [Block; BLOCKS],
}

impl Drop for Powers {
    fn drop(&mut self) {
        self.powers.zeroize();
    }
}

/// A product of 256 bits, not reduced: low, middle (64 bits up) and high.
#[derive(Clone, Copy)]
struct Product {
    low: __m128i,
    middle: __m128i,
    high: __m128i,
}

impl Powers {
    pub(super) fn new(kernel: Kernel, key: &Block) -> Powers {
        assert_ne!(kernel.0, Level::Portable, "the one caller has looked");
        let mut powers = Powers { kernel, powers: [[0; BLOCK_BYTES]; BLOCKS] };
        // SAFETY: a `Kernel` of these levels exists only where PCLMULQDQ and AVX2, which has SSSE3, were detected.
        unsafe { fill(&mut powers.powers, u128::from_be_bytes(*key)) }
        powers
    }

    /// The digest of these pieces, each filled up with zeros to whole blocks.
    pub(super) fn digest(&self, pieces: &[&[u8]]) -> Block {
        // SAFETY: a `Kernel` of these levels exists only where PCLMULQDQ and AVX2, which has SSSE3, were detected.
        unsafe { digest(self, pieces) }
    }
}

#[target_feature(enable = "pclmulqdq,avx2")]
fn fill(powers: &mut [Block; BLOCKS], key: u128) {
    // Times x, without a branch on the bit that falls out.
    let mut first = Zeroizing::new(key << 1 ^ X_128 & 0_u128.wrapping_sub(key >> 127));
    let first_vector = load(&first.to_le_bytes());
    first.zeroize();
    let mut power = first_vector;
    for place in powers.iter_mut().rev() {
        store(place, power);
        power = reduce(multiply(power, first_vector));
    }
}

#[target_feature(enable = "pclmulqdq,avx2")]
fn digest(powers: &Powers, pieces: &[&[u8]]) -> Block {
    let mut sum = _mm_setzero_si128();
    for piece in pieces {
        let (blocks, rest) = piece.as_chunks::<BLOCK_BYTES>();
        let (groups, few) = blocks.as_chunks::<BLOCKS>();
        sum = match powers.kernel.0 {
            // SAFETY: a `Kernel` of this level exists only where AVX512F, AVX512BW and VPCLMULQDQ were detected.
            Level::Avx512 => unsafe { absorb_wide(&powers.powers, sum, groups) },
            _ => groups.iter().fold(sum, |sum, group| absorb(&powers.powers, sum, group)),
        };
        if !few.is_empty() {
            sum = absorb(&powers.powers, sum, few);
        }
        if !rest.is_empty() {
            let mut last = [0; BLOCK_BYTES];
            last[..rest.len()].copy_from_slice(rest);
            sum = absorb(&powers.powers, sum, &[last]);
        }
    }
    let mut out = [0; BLOCK_BYTES];
    store(&mut out, reversed(sum));
    out
}

/// At most sixteen blocks: the first times the highest power, with the sum so far added to it.
#[inline]
#[target_feature(enable = "pclmulqdq,avx2")]
fn absorb(powers: &[Block; BLOCKS], sum: __m128i, blocks: &[Block]) -> __m128i {
    let zero = _mm_setzero_si128();
    let mut all = Product { low: zero, middle: zero, high: zero };
    let mut carried = sum;
    let powers = powers.iter().skip(BLOCKS.saturating_sub(blocks.len()));
    for (block, power) in blocks.iter().zip(powers) {
        let one = multiply(_mm_xor_si128(reversed(load(block)), carried), load(power));
        carried = zero;
        all.low = _mm_xor_si128(all.low, one.low);
        all.middle = _mm_xor_si128(all.middle, one.middle);
        all.high = _mm_xor_si128(all.high, one.high);
    }
    reduce(all)
}

/// Groups of sixteen blocks, four in a vector.
#[target_feature(enable = "avx512f,avx512bw,vpclmulqdq")]
fn absorb_wide(powers: &[Block; BLOCKS], mut sum: __m128i, groups: &[[Block; BLOCKS]]) -> __m128i {
    let reverse = _mm512_broadcast_i32x4(reversal());
    let (quarters, _) = powers.as_chunks::<4>();
    let powers: [__m512i; 4] = std::array::from_fn(|quarter| load_four(&quarters[quarter]));
    for group in groups {
        let zero = _mm512_setzero_si512();
        let (mut low, mut middle, mut high) = (zero, zero, zero);
        let mut carried = _mm512_zextsi128_si512(sum);
        for (blocks, power) in group.as_chunks::<4>().0.iter().zip(powers) {
            let x = _mm512_xor_si512(_mm512_shuffle_epi8(load_four(blocks), reverse), carried);
            carried = zero;
            low = _mm512_xor_si512(low, _mm512_clmulepi64_epi128::<0x00>(x, power));
            high = _mm512_xor_si512(high, _mm512_clmulepi64_epi128::<0x11>(x, power));
            let cross = _mm512_clmulepi64_epi128::<0x01>(x, power);
            middle = _mm512_ternarylogic_epi64::<0x96>(middle, cross, _mm512_clmulepi64_epi128::<0x10>(x, power));
        }
        sum = reduce(Product { low: fold_four(low), middle: fold_four(middle), high: fold_four(high) });
    }
    sum
}

/// The sum of the four quarters.
#[inline]
#[target_feature(enable = "avx512f")]
fn fold_four(x: __m512i) -> __m128i {
    let half = _mm256_xor_si256(_mm512_castsi512_si256(x), _mm512_extracti64x4_epi64::<1>(x));
    _mm_xor_si128(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half))
}

#[inline]
#[target_feature(enable = "pclmulqdq")]
fn multiply(a: __m128i, b: __m128i) -> Product {
    Product {
        low: _mm_clmulepi64_si128::<0x00>(a, b),
        middle: _mm_xor_si128(_mm_clmulepi64_si128::<0x01>(a, b), _mm_clmulepi64_si128::<0x10>(a, b)),
        high: _mm_clmulepi64_si128::<0x11>(a, b),
    }
}

/// Montgomery's reduction: twice, the lowest 64 bits are made zero by a multiple of the field's polynomial.
#[inline]
#[target_feature(enable = "pclmulqdq,avx2")]
fn reduce(product: Product) -> __m128i {
    let fold = _mm_set_epi64x(0, FOLD);
    let high = _mm_xor_si128(product.high, _mm_srli_si128::<8>(product.middle));
    let mut low = _mm_xor_si128(product.low, _mm_slli_si128::<8>(product.middle));
    for _ in 0..2 {
        let folded = _mm_clmulepi64_si128::<0x00>(low, fold);
        low = _mm_xor_si128(_mm_shuffle_epi32::<0b01_00_11_10>(low), folded);
    }
    _mm_xor_si128(high, low)
}

#[inline]
#[target_feature(enable = "avx2")]
fn reversal() -> __m128i {
    _mm_setr_epi8(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)
}

#[inline]
#[target_feature(enable = "avx2")]
fn reversed(block: __m128i) -> __m128i {
    _mm_shuffle_epi8(block, reversal())
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(block: &Block) -> __m128i {
    // SAFETY: the array has the 16 bytes that are read, and the instruction takes any alignment.
    unsafe { _mm_loadu_si128(block.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_four(blocks: &[Block; 4]) -> __m512i {
    // SAFETY: four arrays of 16 bytes lie side by side, 64 in all, and the instruction takes any alignment.
    unsafe { _mm512_loadu_si512(blocks.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(block: &mut Block, value: __m128i) {
    // SAFETY: the array has the 16 bytes that are written, and the instruction takes any alignment.
    unsafe { _mm_storeu_si128(block.as_mut_ptr().cast(), value) };
}
