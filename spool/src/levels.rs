//! The Merkle tree of the ledger on disk: `level-<k>` holds, 32 bytes each, the digests of the complete subtrees of 2^k
//! leaves, so that a root or a proof is O(log n) reads. Written after the records were synced and synced themselves
//! only at checkpoints: what is above the last checkpoint is computed anew from the records when the ledger is opened.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use protocol::ledger;
use protocol::suite::{Digest, Suite};
use protocol::tree;

use crate::disk::{Disk, is_unreadable};

const DIGEST_BYTES: u64 = 32;
/// The suffix of levels that could not be read everywhere.
const ASIDE: &str = "damaged";
/// A ledger of 2^40 records would take a century at 300 a second.
const LEVELS_MAX: u32 = 40;

/// The tree up to a size.
pub(crate) struct Levels {
    suite: Suite,
    disk: Disk,
    dir: PathBuf,
    files: Vec<File>,
    /// The newest digest of each level.
    newest: Vec<Digest>,
    size: u64,
    /// Digests not yet written, by level.
    pending: Vec<Vec<u8>>,
    /// Level 0 of a tree that could not be read everywhere.
    old_leaves: Option<File>,
    stubborn: bool,
}

impl Levels {
    /// The tree as it lies on disk; its size is only what level 0 says.
    pub(crate) fn open(disk: &Disk, dir: &Path, suite: Suite) -> io::Result<Levels> {
        let mut levels = Levels {
            suite,
            disk: disk.clone(),
            dir: dir.to_owned(),
            files: Vec::new(),
            newest: Vec::new(),
            size: 0,
            pending: Vec::new(),
            old_leaves: None,
            stubborn: false,
        };
        for level in 0..LEVELS_MAX {
            if !levels.path(level).exists() {
                break;
            }
            levels.file(level)?;
        }
        Ok(levels)
    }

    fn path(&self, level: u32) -> PathBuf {
        self.dir.join(format!("level-{level}"))
    }

    fn file(&mut self, level: u32) -> io::Result<&File> {
        let at = level as usize;
        while self.files.len() <= at {
            let next = u32::try_from(self.files.len()).unwrap_or(LEVELS_MAX);
            let file = self.disk.open_rw(&self.path(next))?;
            self.files.push(file);
        }
        self.files.get(at).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Leaves that level 0 holds on disk, whether or not they can be trusted.
    pub(crate) fn leaves_on_disk(&self) -> io::Result<u64> {
        self.files.first().map_or(Ok(0), |file| Ok(file.metadata()?.len() / DIGEST_BYTES))
    }

    /// A digest as it lies on disk.
    pub(crate) fn read(&self, level: u32, index: u64) -> io::Result<Digest> {
        let mut digest = Digest::default();
        let file = self.files.get(level as usize).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.disk.read_sectors(file, &mut digest.0, index * DIGEST_BYTES)?;
        Ok(digest)
    }

    /// Digests of one level that stand side by side.
    pub(crate) fn read_many(&self, level: u32, first: u64, count: u64) -> io::Result<Vec<Digest>> {
        let bytes = usize::try_from(count.saturating_mul(DIGEST_BYTES)).map_err(io::Error::other)?;
        let mut digests = vec![0; bytes];
        let file = self.files.get(level as usize).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.disk.read_sectors(file, &mut digests, first * DIGEST_BYTES)?;
        Ok(digests.chunks_exact(32).filter_map(Digest::from_slice).collect())
    }

    /// The newest digest of a level, as it was computed and not as the disk gives it.
    pub(crate) fn newest(&self, level: u32) -> Option<Digest> {
        self.newest.get(level as usize).copied()
    }

    /// Writes a digest anew that the disk has spoiled. False where the disk takes none there: what stands beside it on the
    /// same page cannot be read.
    pub(crate) fn mend(&mut self, level: u32, index: u64, digest: Digest) -> io::Result<bool> {
        let disk = self.disk.clone();
        match disk.write_at(self.file(level)?, &digest.0, index * DIGEST_BYTES) {
            Err(error) if is_unreadable(&error) => {
                self.stubborn = true;
                Ok(false)
            }
            done => done.map(|()| true),
        }
    }

    /// Is there a digest that is wrong on disk and could not be written anew?
    pub(crate) fn is_stubborn(&self) -> bool {
        self.stubborn
    }

    /// Begins the tree anew in other files, because the disk cannot read all of these: it takes no bytes beside a bad
    /// sector. The old ones are kept, and leaves of records that cannot be read are looked up in them.
    pub(crate) fn renew(&mut self) -> io::Result<()> {
        let mut old = std::mem::take(&mut self.files);
        let paths: Vec<PathBuf> = (0..LEVELS_MAX).take(old.len()).map(|level| self.path(level)).collect();
        for path in &paths {
            self.disk.rename(path, &path.with_extension(ASIDE))?;
        }
        self.old_leaves = (!old.is_empty()).then(|| old.swap_remove(0));
        self.reset(0)
    }

    /// The leaf of a record as it lay on disk before the records were read again.
    pub(crate) fn kept_leaf(&self, index: u64) -> Option<Digest> {
        let Some(file) = &self.old_leaves else { return self.read(0, index).ok() };
        let mut leaf = Digest::default();
        self.disk.read_sectors(file, &mut leaf.0, index * DIGEST_BYTES).is_ok().then_some(leaf)
    }

    /// The root over the first `size` leaves, all of which must be written.
    pub(crate) fn root_at(&self, size: u64) -> io::Result<Digest> {
        ledger::root(self.suite, size, &mut |level, index| self.read(level, index))
    }

    /// Goes back (or forward, where the disk has it) to a size that is trusted.
    pub(crate) fn reset(&mut self, size: u64) -> io::Result<()> {
        self.pending.clear();
        self.newest.clear();
        self.size = size;
        for level in 0..LEVELS_MAX {
            let nodes = size >> level;
            if nodes > 0 {
                self.file(level)?;
                self.newest.push(self.read(level, nodes - 1)?);
            }
        }
        Ok(())
    }

    /// Cuts what lies on disk above the size; called once nothing there is needed any more.
    pub(crate) fn trim(&self) -> io::Result<()> {
        for (level, file) in self.files.iter().enumerate() {
            let bytes = (self.size >> level) * DIGEST_BYTES;
            if file.metadata()?.len() > bytes {
                self.disk.truncate(file, bytes)?;
            }
        }
        Ok(())
    }

    /// Adds a leaf in memory.
    pub(crate) fn push(&mut self, leaf: Digest) {
        let (mut digest, mut index, mut level) = (leaf, self.size, 0);
        self.size += 1;
        loop {
            let left = self.newest.get(level).copied();
            match self.newest.get_mut(level) {
                Some(newest) => *newest = digest,
                None => self.newest.push(digest),
            }
            if self.pending.len() <= level {
                self.pending.push(Vec::new());
            }
            if let Some(pending) = self.pending.get_mut(level) {
                pending.extend_from_slice(&digest.0);
            }
            match left {
                Some(left) if index & 1 == 1 => digest = tree::node(self.suite, &left, &digest),
                _ => return,
            }
            index >>= 1;
            level += 1;
        }
    }

    /// Writes what was pushed.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        for (level, bytes) in (0..).zip(std::mem::take(&mut self.pending)) {
            if !bytes.is_empty() {
                let end = (self.size >> level) * DIGEST_BYTES;
                let disk = self.disk.clone();
                disk.write_at(self.file(level)?, &bytes, end - bytes.len() as u64)?;
            }
        }
        Ok(())
    }

    /// Syncs every level; afterwards a checkpoint over this size may be written.
    ///
    /// # Errors
    /// No later sync of these files can be believed. They go, and the next opening computes them anew from the records.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.files.iter().try_for_each(|file| self.disk.sync_data(file)).inspect_err(|_| {
            for level in (0..LEVELS_MAX).take(self.files.len()) {
                let _gone = self.disk.remove_file(&self.path(level));
            }
        })
    }

    /// Leaves.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The root over everything pushed, from memory.
    pub(crate) fn root(&self) -> Digest {
        let newest = &mut |level: u32, _| self.newest.get(level as usize).copied().ok_or(());
        ledger::root(self.suite, self.size, newest).unwrap_or_default()
    }
}
