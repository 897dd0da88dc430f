//! Digests of many leaves of one length: `H(prefix | leaf)`, a leaf a lane.
//!
//! ```text
//! block b of every lane:  leaf 0 [64 b - 1 .. 64 b + 63]   leaf 1 [ … ]   …       the prefix stands before all
//!                         16 loads, transposed: word w of block b of all leaves stands in one vector
//! ```
//! Which is faster, lanes or one leaf after the other, is a measurement (docs/measurements.md), and depends on how many
//! leaves there are: lanes that have none are computed all the same.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod rounds;

use sha2::Digest as _;

use crate::kernel::{Kernel, Level};

/// Bytes of a digest of either function.
pub const DIGEST_BYTES: usize = 32;
/// The most lanes that a kernel has: handed so many leaves, each kernel does its best.
pub const LANES_MAX: usize = 16;

/// A digest function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// FIPS 180-4.
    Sha256,
    /// GB/T 32905-2016.
    Sm3,
}

impl Hash {
    /// Both.
    pub const ALL: [Hash; 2] = [Hash::Sha256, Hash::Sm3];
}

/// The digest of a prefix and each whole leaf of `bytes`, in order. What is left behind the last whole leaf is not
/// looked at.
///
/// # Panics
/// For leaves of no bytes.
#[must_use]
pub fn digests(kernel: Kernel, hash: Hash, prefix: u8, leaf_bytes: usize, bytes: &[u8]) -> Vec<[u8; DIGEST_BYTES]> {
    assert!(leaf_bytes > 0, "a leaf holds at least one byte");
    digests_of(kernel, hash, prefix, &bytes.chunks_exact(leaf_bytes).collect::<Vec<_>>())
}

/// The same for leaves that need not stand side by side.
///
/// # Panics
/// For leaves that are not all of one length.
#[must_use]
pub fn digests_of(kernel: Kernel, hash: Hash, prefix: u8, leaves: &[&[u8]]) -> Vec<[u8; DIGEST_BYTES]> {
    assert!(leaves.windows(2).all(|two| matches!(two, [a, b] if a.len() == b.len())), "lanes run in step");
    let mut out = Vec::with_capacity(leaves.len());
    let lanes = Lanes::of(kernel, hash);
    for group in leaves.chunks(lanes.count) {
        if group.len() >= lanes.worth {
            lanes.run(prefix, group, &mut out);
        } else {
            out.extend(group.iter().map(|leaf| alone(hash, prefix, leaf)));
        }
    }
    out
}

/// One leaf by itself.
fn alone(hash: Hash, prefix: u8, leaf: &[u8]) -> [u8; DIGEST_BYTES] {
    match hash {
        Hash::Sha256 => sha2::Sha256::new().chain_update([prefix]).chain_update(leaf).finalize().into(),
        Hash::Sm3 => sm3::Sm3::new().chain_update([prefix]).chain_update(leaf).finalize().into(),
    }
}

/// How many leaves run together, and from how many on that is faster than one after the other.
struct Lanes {
    kernel: Kernel,
    hash: Hash,
    count: usize,
    worth: usize,
}

impl Lanes {
    /// Measured where SHA-NI computes one leaf at 2.0 GB/s and RustCrypto's SM3 at 0.5: sixteen lanes give 5.0 and 4.7,
    /// eight lanes 2.0 and 1.7, and lanes that are not filled give as much less. So eight lanes of SHA-256 are for
    /// processors without SHA-NI only.
    fn of(kernel: Kernel, hash: Hash) -> Lanes {
        let (count, worth) = match (kernel.0, hash) {
            (Level::Portable, _) => (LANES_MAX, usize::MAX),
            #[cfg(target_arch = "x86_64")]
            (Level::Avx2, Hash::Sm3) => (avx2::LANES, 3),
            #[cfg(target_arch = "x86_64")]
            (Level::Avx2, Hash::Sha256) => (avx2::LANES, if has_sha_ni() { usize::MAX } else { 3 }),
            #[cfg(target_arch = "x86_64")]
            (Level::Avx512, Hash::Sm3) => (avx512::LANES, 2),
            #[cfg(target_arch = "x86_64")]
            (Level::Avx512, Hash::Sha256) => (avx512::LANES, if has_sha_ni() { 7 } else { 2 }),
        };
        Lanes { kernel, hash, count, worth }
    }

    /// Computes a group of at most `count` leaves of one length, in lanes where the kernel has some.
    fn run(&self, prefix: u8, group: &[&[u8]], out: &mut Vec<[u8; DIGEST_BYTES]>) {
        match self.kernel.0 {
            Level::Portable => out.extend(group.iter().map(|leaf| alone(self.hash, prefix, leaf))),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => {
                out.extend(avx2::enter(self.kernel, self.hash, prefix, filled(group)).iter().take(group.len()));
            }
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => {
                out.extend(avx512::enter(self.kernel, self.hash, prefix, filled(group)).iter().take(group.len()));
            }
        }
    }
}

/// Does `sha2` run on instructions made for it?
#[cfg(target_arch = "x86_64")]
fn has_sha_ni() -> bool {
    std::is_x86_feature_detected!("sha")
}

/// Lanes that have no leaf compute the first one again.
#[cfg(target_arch = "x86_64")]
fn filled<'a, const LANES: usize>(group: &[&'a [u8]]) -> [&'a [u8]; LANES] {
    let first = group.first().copied().unwrap_or_default();
    std::array::from_fn(|lane| group.get(lane).copied().unwrap_or(first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gcm::tests::{Noise, hex};

    /// In lanes, however few leaves there are and whatever is faster.
    fn in_lanes(kernel: Kernel, hash: Hash, prefix: u8, leaf_bytes: usize, bytes: &[u8]) -> Vec<[u8; DIGEST_BYTES]> {
        let lanes = Lanes::of(kernel, hash);
        let mut out = Vec::new();
        let leaves: Vec<&[u8]> = bytes.chunks_exact(leaf_bytes).collect();
        leaves.chunks(lanes.count).for_each(|group| lanes.run(prefix, group, &mut out));
        out
    }

    /// The digest in every lane of every kernel.
    fn everywhere(hash: Hash, message: &[u8]) -> Vec<[u8; DIGEST_BYTES]> {
        let (prefix, leaf) = message.split_first().unwrap();
        let sixteen = leaf.repeat(LANES_MAX);
        Kernel::all().flat_map(|kernel| in_lanes(kernel, hash, *prefix, leaf.len(), &sixteen)).collect()
    }

    #[test]
    fn every_lane_of_every_kernel_gives_the_answers_of_the_standards() {
        // GB/T 32905-2016, A.1 and A.2; FIPS 180-4, the examples of NIST.
        let sm3 = [
            ("abc".to_owned(), "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"),
            ("abcd".repeat(16), "debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732"),
        ];
        let sha256 = [
            ("abc".to_owned(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq".to_owned(),
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
            ),
        ];
        for (hash, answers) in [(Hash::Sm3, sm3), (Hash::Sha256, sha256)] {
            for (message, answer) in answers {
                let digests = everywhere(hash, message.as_bytes());
                assert_eq!(digests.len(), LANES_MAX * Kernel::all().count());
                assert!(digests.iter().all(|digest| digest.to_vec() == hex(answer)), "{hash:?} of {message}");
            }
        }
    }

    #[test]
    fn every_kernel_agrees_with_rustcrypto_over_lengths_numbers_and_offsets() {
        let mut noise = Noise(31);
        // Every length around the edges of blocks and of the padding, and others.
        let lengths =
            (1..200).chain((0..60).map(|_| 200 + noise.below(3_000)).collect::<Vec<_>>()).chain([65_536, 65_552]);
        for length in lengths {
            let leaves = if length > 60_000 { 33 } else { 1 + noise.below(40) };
            let (offset, behind) = (noise.below(64), noise.below(length));
            let room = noise.bytes(offset + leaves * length + behind);
            let prefix = noise.array::<1>()[0];
            for hash in Hash::ALL {
                let expected: Vec<_> =
                    room[offset..].chunks_exact(length).map(|leaf| alone(hash, prefix, leaf)).collect();
                for kernel in Kernel::all() {
                    for way in [digests, in_lanes] {
                        let found = way(kernel, hash, prefix, length, &room[offset..]);
                        assert_eq!(found, expected, "{hash:?}, {kernel:?}, {leaves} leaves of {length}");
                    }
                }
            }
        }
    }
}
