//! A tree digest over 64 KiB leaves: one root names a file or a ciphertext of any size, computed while it streams.
//!
//! ```text
//! leaf = H(0x00 | bytes of the leaf)      node = H(0x01 | left | right)      an odd node rises unchanged
//! root of nothing = H()                   (RFC 9162, section 2.1, over fixed-size leaves)
//! ```
//! Whole leaves that lie side by side in one piece are digested in lanes, many at once; [`BATCH_BYTES`] fill them all.
//! The length is always stated beside the root by whoever signs it, so that no inner node can pose as a leaf.

use std::io::{self, Read};

use wide::Kernel;
use wide::leaves::{self, LANES_MAX};

use crate::der_types::Octets;
use crate::suite::{Digest, Hasher, Suite};

/// Bytes of a leaf of plaintext. Small enough to hash in cache, large enough that the tree costs under 0.1 %.
pub const LEAF_BYTES: usize = 64 * 1024;
/// Leaves that are digested at once where they are handed over together.
pub const BATCH_LEAVES: usize = LANES_MAX;
/// Pieces of this size, from the beginning on, are digested as fast as this machine can. 1 MiB.
pub const BATCH_BYTES: usize = BATCH_LEAVES * LEAF_BYTES;
/// What stands before the bytes of a leaf.
const LEAF_PREFIX: u8 = 0;

/// A tree digest under way. Memory: one digest a level, one running leaf.
pub struct Tree {
    suite: Suite,
    leaf_bytes: usize,
    leaf: Hasher,
    in_leaf: usize,
    /// Roots of complete subtrees, largest first: `(leaves, root)`.
    peaks: Vec<(u64, Digest)>,
    bytes: u64,
}

impl Tree {
    /// A tree over leaves of [`LEAF_BYTES`].
    #[must_use]
    pub fn new(suite: Suite) -> Self {
        Tree::with_leaf(suite, LEAF_BYTES)
    }

    /// A tree over leaves of another size, such as sealed chunks with their tags.
    #[must_use]
    pub fn with_leaf(suite: Suite, leaf_bytes: usize) -> Self {
        assert!(leaf_bytes > 0, "a leaf holds at least one byte");
        Tree { suite, leaf_bytes, leaf: leaf_hasher(suite), in_leaf: 0, peaks: Vec::new(), bytes: 0 }
    }

    /// Takes more bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            if self.in_leaf == 0 && bytes.len() >= self.leaf_bytes {
                bytes = self.take_whole(bytes);
                continue;
            }
            let take = bytes.len().min(self.leaf_bytes - self.in_leaf);
            let (now, rest) = bytes.split_at(take);
            self.leaf.update(now);
            self.in_leaf += take;
            bytes = rest;
            if self.in_leaf == self.leaf_bytes {
                self.close_leaf();
            }
        }
    }

    /// Bytes taken so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The root over everything taken.
    #[must_use]
    pub fn root(mut self) -> Digest {
        if self.in_leaf > 0 {
            self.close_leaf();
        }
        let suite = self.suite;
        let mut peaks = self.peaks.into_iter().rev().map(|(_, digest)| digest);
        match peaks.next() {
            None => suite.digest(&[]),
            Some(last) => peaks.fold(last, |right, left| node(suite, &left, &right)),
        }
    }

    /// Takes the whole leaves that the bytes begin with, and gives what is left.
    fn take_whole<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let (whole, rest) = bytes.split_at(bytes.len() - bytes.len() % self.leaf_bytes);
        // In groups, so that the list of their digests stays short.
        for group in whole.chunks(self.leaf_bytes * BATCH_LEAVES) {
            let digests =
                leaves::digests(Kernel::chosen(), self.suite.leaf_hash(), LEAF_PREFIX, self.leaf_bytes, group);
            digests.into_iter().for_each(|digest| self.add_leaf(Octets(digest)));
        }
        rest
    }

    fn close_leaf(&mut self) {
        let digest = std::mem::replace(&mut self.leaf, leaf_hasher(self.suite)).finish();
        self.in_leaf = 0;
        self.add_leaf(digest);
    }

    fn add_leaf(&mut self, digest: Digest) {
        let mut merged = (1, digest);
        while let Some((leaves, left)) = self.peaks.pop() {
            if leaves != merged.0 {
                self.peaks.push((leaves, left));
                break;
            }
            merged = (leaves * 2, node(self.suite, &left, &merged.1));
        }
        self.peaks.push(merged);
    }
}

/// The root over bytes at hand.
#[must_use]
pub fn root_of(suite: Suite, bytes: &[u8]) -> Digest {
    let mut tree = Tree::new(suite);
    tree.update(bytes);
    tree.root()
}

/// The root over a short head and a body, as if they stood in one piece. Their first leaf is put together aside: so the
/// head does not push whole leaves of the body out of the lanes.
#[must_use]
pub fn root_behind(suite: Suite, head: &[u8], body: &[u8]) -> Digest {
    let mut tree = Tree::new(suite);
    let Some((first, behind)) = LEAF_BYTES.checked_sub(head.len()).and_then(|room| body.split_at_checked(room)) else {
        tree.update(head);
        tree.update(body);
        return tree.root();
    };
    let first = [head, first].concat();
    let whole = behind.chunks_exact(LEAF_BYTES);
    let rest = whole.remainder();
    let leaves: Vec<&[u8]> = std::iter::once(first.as_slice()).chain(whole).collect();
    for group in leaves.chunks(BATCH_LEAVES) {
        tree.bytes += (group.len() * LEAF_BYTES) as u64;
        let digests = leaves::digests_of(Kernel::chosen(), suite.leaf_hash(), LEAF_PREFIX, group);
        digests.into_iter().for_each(|digest| tree.add_leaf(Octets(digest)));
    }
    tree.update(rest);
    tree.root()
}

/// The length and the root of all that a reader gives: read once, in bounded memory, and in pieces that fill the lanes.
pub fn root_of_reader(suite: Suite, input: &mut impl Read) -> io::Result<(u64, Digest)> {
    let mut tree = Tree::new(suite);
    let mut piece = Vec::new();
    loop {
        piece.clear();
        if input.by_ref().take(BATCH_BYTES as u64).read_to_end(&mut piece)? == 0 {
            return Ok((tree.bytes(), tree.root()));
        }
        tree.update(&piece);
    }
}

/// The digest of an inner node.
#[must_use]
pub fn node(suite: Suite, left: &Digest, right: &Digest) -> Digest {
    let mut hasher = suite.hasher();
    hasher.update(&[1]);
    hasher.update(left.as_bytes());
    hasher.update(right.as_bytes());
    hasher.finish()
}

fn leaf_hasher(suite: Suite) -> Hasher {
    let mut hasher = suite.hasher();
    hasher.update(&[LEAF_PREFIX]);
    hasher
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_does_not_depend_on_how_bytes_arrive() {
        let bytes: Vec<u8> = (0..2_700_001_u32).map(|i| (i % 251) as u8).collect();
        for suite in Suite::ALL {
            let whole = root_of(suite, &bytes);
            assert_eq!(root_of_reader(suite, &mut bytes.as_slice()).unwrap(), (bytes.len() as u64, whole));
            let mut tree = Tree::new(suite);
            bytes.chunks(777).for_each(|piece| tree.update(piece));
            assert_eq!(tree.root(), whole);
            // Leaf by leaf, in lanes that are full and that are not, and out of step with the leaves.
            for first in [0, 1, LEAF_BYTES, 5 * LEAF_BYTES + 9] {
                let (head, tail) = bytes.split_at(first);
                let mut tree = Tree::new(suite);
                tree.update(head);
                tree.update(tail);
                assert_eq!(tree.root(), whole, "{suite}, {first} bytes first");
            }
        }
    }

    #[test]
    fn a_head_and_a_body_have_the_root_of_both_in_one_piece() {
        let bytes: Vec<u8> = (0..1_500_000_u32).map(|i| (i % 253) as u8).collect();
        for suite in Suite::ALL {
            for head in [0, 25, LEAF_BYTES, LEAF_BYTES + 1] {
                for behind in [0, LEAF_BYTES - 26, LEAF_BYTES - 25, 3 * LEAF_BYTES - 25, 20 * LEAF_BYTES + 7] {
                    let (head, rest) = bytes.split_at(head);
                    let body = &rest[..behind];
                    assert_eq!(root_behind(suite, head, body), root_of(suite, &[head, body].concat()), "{suite}");
                }
            }
        }
    }

    #[test]
    fn three_leaves_make_the_tree_of_the_standard() {
        let suite = Suite::Std;
        let leaf = |b: &[u8]| {
            let mut h = leaf_hasher(suite);
            h.update(b);
            h.finish()
        };
        let mut tree = Tree::with_leaf(suite, 2);
        tree.update(b"aabbc");
        let expected = node(suite, &node(suite, &leaf(b"aa"), &leaf(b"bb")), &leaf(b"c"));
        assert_eq!(tree.root(), expected);
    }

    #[test]
    fn nothing_has_the_digest_of_the_empty_string() {
        assert_eq!(
            root_of(Suite::Std, b"").to_string(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }
}
