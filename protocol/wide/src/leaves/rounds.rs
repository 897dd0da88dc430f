//! SM3 and SHA-256 over vectors of lanes, written once for all widths. A module that uses [`kernel`] has the type
//! `Vector` with a word of every lane, and the operations on it.

/// What the two functions begin with, and the constants of their rounds.
pub(super) struct Start {
    pub(super) words: [u32; 8],
    pub(super) constants: [[u32; 16]; 4],
}

/// GB/T 32905-2016, 4.1 and 4.2; each constant already turned by the number of its round.
pub(super) static SM3: Start = Start {
    words: [0x7380_166f, 0x4914_b2b9, 0x1724_42d7, 0xda8a_0600, 0xa96f_30bc, 0x1631_38aa, 0xe38d_ee4d, 0xb0fb_0e4e],
    constants: {
        let mut all = [[0; 16]; 4];
        let (mut round, mut turns) = (0, 0);
        while round < 64 {
            let constant: u32 = if round < 16 { 0x79cc_4519 } else { 0x7a87_9d8a };
            all[round / 16][round % 16] = constant.rotate_left(turns);
            round += 1;
            turns = (turns + 1) % 32;
        }
        all
    },
};

/// FIPS 180-4, 4.2.2 and 5.3.3.
#[rustfmt::skip]
pub(super) static SHA256: Start = Start {
    words: [
        0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19,
    ],
    constants: [
        [
            0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
            0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
        ],
        [
            0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
            0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
        ],
        [
            0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
            0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
        ],
        [
            0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
            0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
        ],
    ],
};

/// The two compression functions and the walk over leaves, for processors with the named instructions.
macro_rules! kernel {
    ($features:literal) => {
        /// The digests of a prefix and each leaf; all leaves are of one length.
        #[target_feature(enable = $features)]
        fn digests(hash: $crate::leaves::Hash, prefix: u8, leaves: [&[u8]; LANES]) -> [[u8; 32]; LANES] {
            let length = leaves[0].len();
            assert!(leaves.iter().all(|leaf| leaf.len() == length), "lanes go in step");
            let start = match hash {
                $crate::leaves::Hash::Sm3 => &$crate::leaves::rounds::SM3,
                $crate::leaves::Hash::Sha256 => &$crate::leaves::rounds::SHA256,
            };
            let mut state = start.words.map(|word| splat(word));
            let mut take = |blocks: [&[u8; 64]; LANES]| match hash {
                $crate::leaves::Hash::Sm3 => sm3(&mut state, words(blocks)),
                $crate::leaves::Hash::Sha256 => sha256(&mut state, words(blocks)),
            };
            // Behind the prefix every block begins one byte before a multiple of 64. What does not fill a block at the
            // end is copied, with the padding behind it.
            let mut ends = [[0_u8; 128]; LANES];
            let mut rest = 1;
            if length < 63 {
                ends.iter_mut().for_each(|end| end[0] = prefix);
                ends.iter_mut().zip(leaves).for_each(|(end, leaf)| end[1..=length].copy_from_slice(leaf));
                rest += length;
            } else {
                let mut first = [[prefix; 64]; LANES];
                first.iter_mut().zip(leaves).for_each(|(first, leaf)| first[1..].copy_from_slice(&leaf[..63]));
                take(std::array::from_fn(|lane| &first[lane]));
                let split = leaves.map(|leaf| leaf[63..].as_chunks::<64>());
                for block in 0..split[0].0.len() {
                    take(std::array::from_fn(|lane| &split[lane].0[block]));
                }
                rest = split[0].1.len();
                ends.iter_mut().zip(split).for_each(|(end, (_, left))| end[..rest].copy_from_slice(left));
            }
            let closing = if rest < 56 { 64 } else { 128 };
            let bits = (length as u64 + 1) * 8;
            for end in &mut ends {
                end[rest] = 0x80;
                end[closing - 8..closing].copy_from_slice(&bits.to_be_bytes());
            }
            let split = ends.each_ref().map(|end| end[..closing].as_chunks::<64>().0);
            for block in 0..closing / 64 {
                take(std::array::from_fn(|lane| &split[lane][block]));
            }
            unwords(state)
        }

        /// GB/T 32905-2016, 5.3.
        #[inline]
        #[target_feature(enable = $features)]
        fn sm3(state: &mut [Vector; 8], mut w: [Vector; 16]) {
            let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
            // W' of a round is W plus the W four rounds on, which is made here where it is not of the message.
            macro_rules! round {
                ($j:literal, $ff:ident, $gg:ident, $constants:ident) => {
                    let a12 = rotl::<12>(a);
                    let ss1 = rotl::<7>(add(add(a12, e), splat($constants[$j])));
                    let tt1 = add(add($ff(a, b, c), d), add(xor(ss1, a12), xor(w[$j], w[($j + 4) % 16])));
                    let tt2 = add(add($gg(e, f, g), h), add(ss1, w[$j]));
                    (d, c, b, a) = (c, rotl::<9>(b), a, tt1);
                    (h, g, f, e) = (g, rotl::<19>(f), e, xor3(tt2, rotl::<9>(tt2), rotl::<17>(tt2)));
                };
            }
            // A round uses the word of four rounds later, too: it is made just before, in the place of an old one.
            macro_rules! made {
                ($j:literal, $ff:ident, $gg:ident, $constants:ident) => {
                    let x = xor3(w[($j + 4) % 16], w[($j + 11) % 16], rotl::<15>(w[($j + 1) % 16]));
                    let x = xor3(x, rotl::<15>(x), rotl::<23>(x));
                    w[($j + 4) % 16] = xor3(x, rotl::<7>(w[($j + 7) % 16]), w[($j + 14) % 16]);
                    round!($j, $ff, $gg, $constants);
                };
            }
            macro_rules! four {
                ($one:ident, $j:literal $k:literal $l:literal $m:literal, $ff:ident, $gg:ident, $constants:ident) => {
                    $one!($j, $ff, $gg, $constants);
                    $one!($k, $ff, $gg, $constants);
                    $one!($l, $ff, $gg, $constants);
                    $one!($m, $ff, $gg, $constants);
                };
            }
            let [first, others @ ..] = &$crate::leaves::rounds::SM3.constants;
            four!(round, 0 1 2 3, xor3, xor3, first);
            four!(round, 4 5 6 7, xor3, xor3, first);
            four!(round, 8 9 10 11, xor3, xor3, first);
            four!(made, 12 13 14 15, xor3, xor3, first);
            for constants in others {
                four!(made, 0 1 2 3, majority, choose, constants);
                four!(made, 4 5 6 7, majority, choose, constants);
                four!(made, 8 9 10 11, majority, choose, constants);
                four!(made, 12 13 14 15, majority, choose, constants);
            }
            let after = [a, b, c, d, e, f, g, h];
            state.iter_mut().zip(after).for_each(|(before, after)| *before = xor(*before, after));
        }

        /// FIPS 180-4, 6.2.2.
        #[inline]
        #[target_feature(enable = $features)]
        fn sha256(state: &mut [Vector; 8], mut w: [Vector; 16]) {
            let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
            macro_rules! round {
                ($j:literal, $constants:ident) => {
                    let s1 = xor3(rotl::<26>(e), rotl::<21>(e), rotl::<7>(e));
                    let t1 = add(add(h, s1), add(choose(e, f, g), add(w[$j], splat($constants[$j]))));
                    let s0 = xor3(rotl::<30>(a), rotl::<19>(a), rotl::<10>(a));
                    let t2 = add(s0, majority(a, b, c));
                    (h, g, f, e) = (g, f, e, add(d, t1));
                    (d, c, b, a) = (c, b, a, add(t1, t2));
                };
            }
            macro_rules! made {
                ($j:literal, $constants:ident) => {
                    let (x, y) = (w[($j + 1) % 16], w[($j + 14) % 16]);
                    let x = xor3(rotl::<25>(x), rotl::<14>(x), shr::<3>(x));
                    let y = xor3(rotl::<15>(y), rotl::<13>(y), shr::<10>(y));
                    w[$j] = add(add(w[$j], x), add(w[($j + 9) % 16], y));
                    round!($j, $constants);
                };
            }
            macro_rules! four {
                ($one:ident, $j:literal $k:literal $l:literal $m:literal, $constants:ident) => {
                    $one!($j, $constants);
                    $one!($k, $constants);
                    $one!($l, $constants);
                    $one!($m, $constants);
                };
            }
            let [first, others @ ..] = &$crate::leaves::rounds::SHA256.constants;
            four!(round, 0 1 2 3, first);
            four!(round, 4 5 6 7, first);
            four!(round, 8 9 10 11, first);
            four!(round, 12 13 14 15, first);
            for constants in others {
                four!(made, 0 1 2 3, constants);
                four!(made, 4 5 6 7, constants);
                four!(made, 8 9 10 11, constants);
                four!(made, 12 13 14 15, constants);
            }
            let after = [a, b, c, d, e, f, g, h];
            state.iter_mut().zip(after).for_each(|(before, after)| *before = add(*before, after));
        }
    };
}
pub(super) use kernel;
