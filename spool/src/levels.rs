//! The Merkle tree of the ledger on disk: `level-<k>` holds, 32 bytes each, the digests of the complete subtrees of 2^k
//! leaves, so that a root or a proof is O(log n) reads. Written after the records were synced and synced themselves
//! only at checkpoints: what is above the last checkpoint is computed anew from the records when the ledger is opened.
//!
//! **A tree that is begun anew**, because the disk cannot read all of this one, grows in `level-<k>.new` while the old one
//! stays where it is: a leaf whose record is lost stands nowhere else, and where that leaf is lost too the digests above it.
//! Only when it is whole and synced it takes the old one's place, from the highest level down, each by a rename over the old
//! file, and level 0 last. So at every moment each level is whole under its name, the old one or the new, and both say the
//! same wherever they can be read. What was there is `level-<k>.damaged` then. The mark [`RENEW`] asks the next start for
//! it, and stays until somebody was told.
//!
//! **After a failed sync** no later sync of the same files can be believed: the kernel may have dropped what it could not
//! write, and say yes the next time. The next start must begin the tree anew in other files, and it may look up in these
//! whatever it needs: what it reads there, right or not, is only believed where all of it gives the checkpoint's root, and it
//! is written and synced elsewhere before anything is signed over it. It is told by the one digest that can be spared: the
//! level that holds nothing but the root of the largest subtree below the checkpoint goes ([`Levels::is_cut`]). The two below
//! it give it again. A name can still be removed on a disk that takes no bytes any more; that the removal is not durable
//! does not matter, since after a power cut a sync of what the disk still has is honest again.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use protocol::ledger;
use protocol::suite::{Digest, Suite};
use protocol::tree;

use crate::disk::{Disk, is_unreadable};
use crate::segment::DIGEST_BYTES;

/// The suffix of levels that could not be read everywhere.
const ASIDE: &str = "damaged";
/// The suffix of levels that are to take the place of those.
const NEW: &str = "new";
/// Where this stands beside the levels, the next start begins the tree anew.
const RENEW: &str = "renew-levels";
/// Stands for a digest that nobody knows any more: its record cannot be read, nor what the tree said of it.
pub(crate) const UNKNOWN: Digest = protocol::der_types::Octets([0; 32]);
/// A ledger of 2^40 records would take a century at 300 a second.
pub(crate) const LEVELS_MAX: u32 = 40;

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
    /// The levels that these are to take the place of.
    old: Option<Vec<File>>,
    /// Level 0 of a tree whose place was taken before.
    aside: Option<File>,
    stubborn: bool,
    cannot_renew: bool,
    /// Are the files' names durable? Not those that this process made, and nobody knows of those that it found.
    named: bool,
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
            old: None,
            aside: File::open(dir.join("level-0").with_extension(ASIDE)).ok(),
            stubborn: false,
            cannot_renew: false,
            named: false,
        };
        levels.finish_taking_place()?;
        levels.open_files()?;
        Ok(levels)
    }

    fn open_files(&mut self) -> io::Result<()> {
        for level in 0..LEVELS_MAX {
            if !self.path(level).exists() {
                break;
            }
            self.file(level)?;
        }
        Ok(())
    }

    fn path(&self, level: u32) -> PathBuf {
        self.dir.join(format!("level-{level}"))
    }

    fn new_path(&self, level: u32) -> PathBuf {
        self.path(level).with_extension(NEW)
    }

    fn file(&mut self, level: u32) -> io::Result<&File> {
        let at = level as usize;
        while self.files.len() <= at {
            let next = u32::try_from(self.files.len()).unwrap_or(LEVELS_MAX);
            let path = if self.old.is_some() { self.new_path(next) } else { self.path(next) };
            self.named &= path.exists();
            let file = self.disk.open_rw(&path)?;
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

    /// The same, as far as they can be read, and whether the disk refused any.
    pub(crate) fn read_each(&self, level: u32, first: u64, count: u64) -> (Vec<Option<Digest>>, bool) {
        match self.read_many(level, first, count) {
            Ok(all) => (all.into_iter().map(Some).collect(), false),
            Err(_) => {
                let each = (first..first + count).map(|index| self.read(level, index));
                let mut unread = false;
                let each = each.map(|read| read.inspect_err(|error| unread |= is_unreadable(error)).ok()).collect();
                (each, unread)
            }
        }
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

    /// What stands beside a digest cannot be read either, so nobody can say what it was.
    pub(crate) fn is_beyond_mending(&mut self) {
        self.stubborn = true;
    }

    /// Is there a digest that is wrong on disk and could not be written anew?
    pub(crate) fn is_stubborn(&self) -> bool {
        self.stubborn
    }

    /// Forgets it: the disk is asked again.
    pub(crate) fn try_again(&mut self) {
        self.stubborn = false;
    }

    /// Is there no file of a tree?
    pub(crate) fn is_none(&self) -> bool {
        self.files.is_empty()
    }

    /// Is the highest level gone that a checkpoint over so many leaves needs? So a failed sync leaves them.
    pub(crate) fn is_cut(&self, promised: u64) -> bool {
        // All but the lowest: so an earlier program left them.
        let levels = self.files.len();
        promised > 1 && (levels == 1 || levels == promised.ilog2() as usize)
    }

    /// Has somebody asked for a new tree, or has one been begun of which nobody was told yet?
    pub(crate) fn is_to_be_renewed(&self) -> bool {
        self.dir.join(RENEW).exists()
    }

    /// Asks the next start for a new tree.
    pub(crate) fn ask_for_new(&self) -> io::Result<()> {
        if self.is_to_be_renewed() { Ok(()) } else { self.disk.write(&self.dir.join(RENEW), b"") }
    }

    /// Nobody needs to be told any more, or nothing is wrong.
    pub(crate) fn forget_asking(&self) -> io::Result<()> {
        if self.is_to_be_renewed() { self.disk.remove_file(&self.dir.join(RENEW)) } else { Ok(()) }
    }

    /// Begins the tree anew in other files, because the disk cannot read all of these: it takes no bytes beside a bad
    /// sector. What only these hold is looked up in them until the new ones take their place.
    pub(crate) fn renew(&mut self) -> io::Result<()> {
        self.ask_for_new()?;
        self.forget_new()?;
        self.old = Some(std::mem::take(&mut self.files));
        self.reset(0)
    }

    /// Goes back to the old tree: the new one did not come to what was signed.
    pub(crate) fn give_up(&mut self) -> io::Result<()> {
        if let Some(old) = self.old.take() {
            self.files = old;
        }
        self.forget_new()
    }

    /// Goes on with the old tree: none can be made anew, for want of a digest or of room.
    pub(crate) fn keep_old(&mut self) -> io::Result<()> {
        self.cannot_renew = true;
        self.give_up()
    }

    /// Was the tree to be begun anew at this start, and none came of it, or none that proves everything?
    pub(crate) fn cannot_renew(&self) -> bool {
        self.cannot_renew
    }

    /// Syncs a tree that is to take the place of another.
    pub(crate) fn sync_new(&self) -> io::Result<()> {
        self.files.iter().try_for_each(|file| self.disk.sync_data(file))
    }

    /// The new tree, all of it written and synced, takes the old one's place. Where it has a leaf that nobody knows, no other
    /// would prove more.
    pub(crate) fn take_place(&mut self, unknown: bool) -> io::Result<()> {
        self.cannot_renew = unknown;
        for level in (0..LEVELS_MAX).rev() {
            let (path, new) = (self.path(level), self.new_path(level));
            if level > 0 && new.exists() && path.exists() {
                self.keep_aside(&path);
            } else if path.exists() {
                self.disk.rename(&path, &path.with_extension(ASIDE))?;
            }
            if new.exists() {
                self.disk.rename(&new, &path)?;
            }
        }
        self.old = None;
        Ok(())
    }

    /// Gives a level a second name, for whoever looks into what happened: another file is about to be renamed over it. Where
    /// the file system gives no second names nothing is kept, and nothing is lost by that: whatever could be read of it stands
    /// in the other one.
    fn keep_aside(&self, path: &Path) {
        let aside = path.with_extension(ASIDE);
        let _kept = self.disk.remove_file(&aside).and_then(|()| self.disk.link_unsynced(path, &aside));
    }

    /// A process died while one tree took the place of the other. Of a level that is not in its place by then the old file
    /// still stands there, and is begun with again. But for level 0, whose old file is moved away first: only there a leaf of a
    /// tree before may stand, and where it has no name the new one is whole and everything else in its place.
    fn finish_taking_place(&self) -> io::Result<()> {
        let (path, new) = (self.path(0), self.new_path(0));
        if !path.exists() && new.exists() { self.disk.rename(&new, &path) } else { self.forget_new() }
    }

    fn forget_new(&self) -> io::Result<()> {
        let mut new = (0..LEVELS_MAX).map(|level| self.new_path(level)).filter(|path| path.exists());
        new.try_for_each(|path| self.disk.remove_file(&path))
    }

    /// Leaves of a tree whose place was taken before.
    pub(crate) fn leaves_aside(&self) -> u64 {
        let length = self.aside.as_ref().and_then(|file| file.metadata().ok()).map(|about| about.len());
        length.unwrap_or(0) / DIGEST_BYTES
    }

    /// The leaf of a record as it lay on disk before the records were read again.
    pub(crate) fn kept_leaf(&self, index: u64) -> Option<Digest> {
        let aside = || self.aside.as_ref().and_then(|file| self.known(file, index));
        self.kept(0, index).or_else(aside)
    }

    /// Does the digest that lay above a leaf and the one beside it say that it is right? Beside it stands what the record there
    /// says, or what lay on disk. None where nothing is known.
    pub(crate) fn above(&self, index: u64, leaf: Digest, beside: Option<Digest>) -> Option<bool> {
        let above = self.kept(1, index / 2)?;
        let mut known = [beside, self.kept(0, index ^ 1)].into_iter().flatten().peekable();
        known.peek()?;
        Some(known.any(|beside| {
            let (left, right) = if index & 1 == 0 { (leaf, beside) } else { (beside, leaf) };
            above == tree::node(self.suite, &left, &right)
        }))
    }

    /// A digest as it lay on disk before.
    fn kept(&self, level: usize, index: u64) -> Option<Digest> {
        let files = self.old.as_ref().unwrap_or(&self.files);
        files.get(level).and_then(|file| self.known(file, index))
    }

    /// A digest in a file, where it can be read and is one.
    fn known(&self, file: &File, index: u64) -> Option<Digest> {
        let mut digest = Digest::default();
        let read = self.disk.read_sectors(file, &mut digest.0, index * DIGEST_BYTES);
        read.is_ok().then_some(digest).filter(|digest| *digest != UNKNOWN)
    }

    /// The root over the first `size` leaves, all of which must be written.
    pub(crate) fn root_at(&self, size: u64) -> io::Result<Digest> {
        ledger::root(self.suite, size, &mut |level, index| self.read_or_join(level, index))
    }

    /// A digest as it lies on disk; of a level that a failed sync took away, as the two below give it.
    fn read_or_join(&self, level: u32, index: u64) -> io::Result<Digest> {
        match level.checked_sub(1) {
            Some(below) if self.files.len() == level as usize => {
                let (left, right) = (self.read(below, index * 2)?, self.read(below, index * 2 + 1)?);
                if left == UNKNOWN || right == UNKNOWN {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Ok(tree::node(self.suite, &left, &right))
            }
            _ => self.read(level, index),
        }
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

    /// Adds a leaf in memory. Above one that nobody knows stands what stood there before.
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
            let Some(left) = left.filter(|_| index & 1 == 1) else { return };
            (index, level) = (index >> 1, level + 1);
            digest = if left == UNKNOWN || digest == UNKNOWN {
                self.kept(level, index).unwrap_or(UNKNOWN)
            } else {
                tree::node(self.suite, &left, &digest)
            };
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

    /// Syncs every level and its name; afterwards a checkpoint over this size may be written.
    ///
    /// # Errors
    /// No later sync of these files can be believed, and the next opening begins the tree anew in other files.
    pub(crate) fn sync(&mut self, checkpointed: u64) -> io::Result<()> {
        let synced = self.files.iter().try_for_each(|file| self.disk.sync_data(file)).inspect_err(|_| {
            // Without a checkpoint every digest is computed and written again anyway.
            let Some(level) = checkpointed.checked_ilog2().filter(|level| *level > 0) else { return };
            let _told = match self.below(level) {
                true => self.disk.remove_file(&self.path(level)),
                // It may be what is left to say what stands there: where the disk takes the mark, that says it as well.
                false => self.ask_for_new(),
            };
        });
        synced?;
        if !self.named {
            self.disk.sync_dir(&self.dir)?;
            self.named = true;
        }
        Ok(())
    }

    /// Can the first digest of a level be computed from the two below it?
    fn below(&self, level: u32) -> bool {
        let known = |index| self.read(level - 1, index).is_ok_and(|digest| digest != UNKNOWN);
        known(0) && known(1)
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
