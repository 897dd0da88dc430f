//! The S-box of SM4 as a circuit: no table, so no address depends on a key. Every bit of a byte is a slice, and a slice
//! may hold as many bytes side by side as its type has bits.
//!
//! SM4's S-box is the AES S-box between two affine maps: both invert in GF(2^8), in other bases. The middle is
//! the circuit of 113 gates by Boyar, Peralta and Calik for AES, without its last four negations.

use std::ops::{BitAnd, BitXor, Not};

/// One bit of many bytes.
pub(super) trait Slice: Copy + BitAnd<Output = Self> + BitXor<Output = Self> + Not<Output = Self> {}
impl<T: Copy + BitAnd<Output = T> + BitXor<Output = T> + Not<Output = T>> Slice for T {}

/// Bytes as eight slices, the lowest bit first.
#[inline(always)]
pub(super) fn sbox<T: Slice>(x: [T; 8]) -> [T; 8] {
    let [x0, x1, x2, x3, x4, x5, x6, x7] = x;
    // Into the basis of AES: bits 1 to 5 are negated.
    let u7 = x2 ^ x3 ^ x6;
    let u6 = !(x3 ^ x5);
    let u5 = !(x0 ^ x2 ^ x3 ^ x4 ^ x5 ^ x6);
    let u4 = !(x0 ^ x3 ^ x4 ^ x5 ^ x7);
    let u3 = !(x1 ^ x3 ^ x4);
    let u2 = !(x1 ^ x5);
    let u1 = x4 ^ x6;
    let u0 = x0 ^ x2 ^ x3 ^ x4 ^ x6;
    // The AES S-box, without its constant.
    let y14 = u3 ^ u5;
    let y13 = u0 ^ u6;
    let y12 = y13 ^ y14;
    let t1 = u4 ^ y12;
    let y15 = t1 ^ u5;
    let t2 = y12 & y15;
    let y6 = y15 ^ u7;
    let y20 = t1 ^ u1;
    let y9 = u0 ^ u3;
    let y11 = y20 ^ y9;
    let t12 = y9 & y11;
    let y7 = u7 ^ y11;
    let y8 = u0 ^ u5;
    let t0 = u1 ^ u2;
    let y10 = y15 ^ t0;
    let y17 = y10 ^ y11;
    let t13 = y14 & y17;
    let t14 = t13 ^ t12;
    let y19 = y10 ^ y8;
    let t15 = y8 & y10;
    let t16 = t15 ^ t12;
    let y16 = t0 ^ y11;
    let y21 = y13 ^ y16;
    let t7 = y13 & y16;
    let y18 = u0 ^ y16;
    let y1 = t0 ^ u7;
    let y4 = y1 ^ u3;
    let t5 = y4 & u7;
    let t6 = t5 ^ t2;
    let t18 = t6 ^ t16;
    let t22 = t18 ^ y19;
    let y2 = y1 ^ u0;
    let t10 = y2 & y7;
    let t11 = t10 ^ t7;
    let t20 = t11 ^ t16;
    let t24 = t20 ^ y18;
    let y5 = y1 ^ u6;
    let t8 = y5 & y1;
    let t9 = t8 ^ t7;
    let t19 = t9 ^ t14;
    let t23 = t19 ^ y21;
    let y3 = y5 ^ y8;
    let t3 = y3 & y6;
    let t4 = t3 ^ t2;
    let t17 = t4 ^ y20;
    let t21 = t17 ^ t14;
    let t26 = t21 & t23;
    let t27 = t24 ^ t26;
    let t31 = t22 ^ t26;
    let t25 = t21 ^ t22;
    let t28 = t25 & t27;
    let t29 = t28 ^ t22;
    let z14 = t29 & y2;
    let z5 = t29 & y7;
    let t30 = t23 ^ t24;
    let t32 = t31 & t30;
    let t33 = t32 ^ t24;
    let t35 = t27 ^ t33;
    let t36 = t24 & t35;
    let t38 = t27 ^ t36;
    let t39 = t29 & t38;
    let t40 = t25 ^ t39;
    let t43 = t29 ^ t40;
    let z3 = t43 & y16;
    let tc12 = z3 ^ z5;
    let z12 = t43 & y13;
    let z13 = t40 & y5;
    let z4 = t40 & y1;
    let tc6 = z3 ^ z4;
    let t34 = t23 ^ t33;
    let t37 = t36 ^ t34;
    let t41 = t40 ^ t37;
    let z8 = t41 & y10;
    let z17 = t41 & y8;
    let t44 = t33 ^ t37;
    let z0 = t44 & y15;
    let z9 = t44 & y12;
    let z10 = t37 & y3;
    let z1 = t37 & y6;
    let tc5 = z1 ^ z0;
    let tc11 = tc6 ^ tc5;
    let z11 = t33 & y4;
    let t42 = t29 ^ t33;
    let t45 = t42 ^ t41;
    let z7 = t45 & y17;
    let tc8 = z7 ^ tc6;
    let z16 = t45 & y14;
    let z6 = t42 & y11;
    let tc16 = z6 ^ tc8;
    let z15 = t42 & y9;
    let tc20 = z15 ^ tc16;
    let tc1 = z15 ^ z16;
    let tc2 = z10 ^ tc1;
    let tc21 = tc2 ^ z11;
    let tc3 = z9 ^ tc2;
    let s0 = tc3 ^ tc16;
    let s3 = tc3 ^ tc11;
    let s1 = s3 ^ tc16;
    let tc13 = z13 ^ tc1;
    let z2 = t33 & u7;
    let tc4 = z0 ^ z2;
    let tc7 = z12 ^ tc4;
    let tc9 = z8 ^ tc7;
    let tc10 = tc8 ^ tc9;
    let tc17 = z14 ^ tc10;
    let s5 = tc21 ^ tc17;
    let tc26 = tc17 ^ tc20;
    let s2 = tc26 ^ z17;
    let tc14 = tc4 ^ tc12;
    let tc18 = tc13 ^ tc14;
    let s6 = tc10 ^ tc18;
    let s7 = z12 ^ tc18;
    let s4 = tc14 ^ s3;
    // And back, with the constant of SM4; s0 is the highest bit.
    [
        !(s4 ^ s1),
        !(s6 ^ s5 ^ s4),
        s5 ^ s4 ^ s1,
        s7 ^ s6 ^ s5 ^ s1,
        !(s7 ^ s5 ^ s2 ^ s1),
        s7 ^ s5 ^ s4 ^ s3,
        !(s6 ^ s4 ^ s3 ^ s2 ^ s0),
        !(s7 ^ s6 ^ s3 ^ s1 ^ s0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// GB/T 32907-2016, 6.2: the first and the last row of the table.
    const FIRST: [u8; 16] =
        [0xd6, 0x90, 0xe9, 0xfe, 0xcc, 0xe1, 0x3d, 0xb7, 0x16, 0xb6, 0x14, 0xc2, 0x28, 0xfb, 0x2c, 0x05];
    const LAST: [u8; 16] =
        [0x18, 0xf0, 0x7d, 0xec, 0x3a, 0xdc, 0x4d, 0x20, 0x79, 0xee, 0x5f, 0x3e, 0xd7, 0xcb, 0x39, 0x48];

    fn one(byte: u8) -> u8 {
        let slices = std::array::from_fn(|bit| byte >> bit & 1);
        sbox(slices).iter().enumerate().fold(0, |all, (bit, slice)| all | (slice & 1) << bit)
    }

    #[test]
    fn the_circuit_gives_the_rows_of_the_standard_and_is_a_permutation() {
        assert_eq!(std::array::from_fn::<u8, 16, _>(|i| one(i as u8)), FIRST);
        assert_eq!(std::array::from_fn::<u8, 16, _>(|i| one(0xf0 + i as u8)), LAST);
        let mut all: Vec<u8> = (0..=255).map(one).collect();
        all.sort_unstable();
        assert_eq!(all, (0..=255).collect::<Vec<u8>>());
    }
}
