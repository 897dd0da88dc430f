//! Tree digests computed by another thread while this one reads, seals and writes. Pieces go over by move and come back
//! to be filled again, so that what is in flight stays a few of them.
//!
//! ```text
//! sealing thread   read | copy, seal, write | read | …          piece  ──▶ at most one waits, one is worked on
//! digest thread           tree of the piece         | …         piece  ◀── emptied            root ◀── at an end
//! ```

use std::io;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::{Builder, Scope};

use zeroize::Zeroizing;

use crate::suite::{Digest, Suite};
use crate::tree::Tree;

/// Pieces that wait for the digest thread. One keeps it busy; with the one it works on and the one being filled, a seal
/// holds three of a MiB for each of its two trees.
const PIECES_WAITING_MAX: usize = 1;

/// Bytes on their way to and from the digest thread.
pub(crate) type Piece = Zeroizing<Vec<u8>>;

/// The sealing thread's end. Dropped, it ends the thread.
pub(crate) struct Aside {
    /// Pieces; nothing is the end of a tree.
    to: SyncSender<Option<Piece>>,
    used: Receiver<Piece>,
    roots: Receiver<Digest>,
}

impl Aside {
    /// Starts a thread for trees over leaves of so many bytes, one after the other.
    pub(crate) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        name: &str,
        suite: Suite,
        leaf_bytes: usize,
    ) -> io::Result<Aside> {
        let (to, pieces) = mpsc::sync_channel::<Option<Piece>>(PIECES_WAITING_MAX);
        let (give_back, used) = mpsc::channel();
        let (give_root, roots) = mpsc::channel();
        let work = move || {
            let mut tree = Tree::with_leaf(suite, leaf_bytes);
            for piece in pieces {
                // Where nobody takes what is given, the seal was given up, and no more pieces come.
                let _given_up = match piece {
                    Some(piece) => {
                        tree.update(&piece);
                        give_back.send(piece).is_err()
                    }
                    None => {
                        let whole = std::mem::replace(&mut tree, Tree::with_leaf(suite, leaf_bytes));
                        give_root.send(whole.root()).is_err()
                    }
                };
            }
        };
        Builder::new().name(name.to_owned()).spawn_scoped(scope, work)?;
        Ok(Aside { to, used, roots })
    }

    /// Hands a piece over and gives another of its capacity: one that came back, with what is in it, or an empty one.
    pub(crate) fn take(&self, piece: Piece) -> io::Result<Piece> {
        let capacity = piece.capacity();
        self.to.send(Some(piece)).map_err(|_| ended())?;
        // Made as large as it will be: a vector that grows leaves copies of plaintext behind.
        Ok(self.used.try_recv().unwrap_or_else(|_| Zeroizing::new(Vec::with_capacity(capacity))))
    }

    /// Ends a tree and waits for its root.
    pub(crate) fn root(&self) -> io::Result<Digest> {
        self.to.send(None).map_err(|_| ended())?;
        self.roots.recv().map_err(|_| ended())
    }
}

fn ended() -> io::Error {
    io::Error::other("the digest thread ended")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::tree::{BATCH_BYTES, LEAF_BYTES, root_of};

    #[test]
    fn trees_one_after_the_other_have_the_roots_they_would_have_here() {
        let bytes: Vec<u8> = (0..3 * BATCH_BYTES + 777).map(|i| (i % 251) as u8).collect();
        for suite in Suite::ALL {
            std::thread::scope(|scope| {
                let aside = Aside::start(scope, "digest", suite, LEAF_BYTES).unwrap();
                let mut piece = Piece::default();
                for length in [0, 1, BATCH_BYTES, bytes.len()] {
                    for part in bytes[..length].chunks(BATCH_BYTES) {
                        piece.clear();
                        piece.extend_from_slice(part);
                        piece = aside.take(piece).unwrap();
                    }
                    assert_eq!(aside.root().unwrap(), root_of(suite, &bytes[..length]), "{suite}, {length} bytes");
                }
            });
        }
    }

    #[test]
    fn pieces_come_back_so_that_few_are_made() {
        std::thread::scope(|scope| {
            let aside = Aside::start(scope, "digest", Suite::Std, LEAF_BYTES).unwrap();
            let mut piece: Piece = Zeroizing::new(Vec::with_capacity(LEAF_BYTES));
            let mut seen = HashSet::new();
            for _ in 0..200 {
                seen.insert(piece.as_ptr() as usize);
                piece.resize(LEAF_BYTES, 7);
                piece = aside.take(piece).unwrap();
            }
            assert!(seen.len() <= PIECES_WAITING_MAX + 3, "{} pieces were made", seen.len());
        });
    }
}
