//! Bytes of files that are not durable yet, and what stood there before.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use super::Noise;

/// Disks write sectors whole.
const SECTOR_BYTES: u64 = 512;

/// Files with news, by inode.
#[derive(Debug, Default)]
pub(super) struct Contents {
    files: BTreeMap<u64, Dirty>,
    turn: u64,
}

#[derive(Debug)]
struct Dirty {
    /// A handle of its own, so that no lock or position of the process lives on in it.
    file: File,
    /// Files are cut in the order in which they became dirty: inode numbers say nothing.
    turn: u64,
    /// So many bytes from the start are old; what is beyond is news.
    durable: u64,
    /// What stood where something was written over or cut off, oldest first.
    before: Vec<Was>,
    /// A sync failed: the kernel may have dropped what it could not write, and will say yes the next time. Until all of the
    /// file is written over: then every page is news again.
    failed: bool,
}

#[derive(Debug)]
struct Was {
    at: u64,
    bytes: Vec<u8>,
    /// It was cut off, and comes back with the length.
    tail: bool,
}

impl Contents {
    fn dirty(&mut self, file: &File, durable: Option<u64>) -> io::Result<&mut Dirty> {
        let about = file.metadata()?;
        self.turn += 1;
        Ok(match self.files.entry(about.ino()) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => place.insert(Dirty {
                file: own_handle(file)?,
                turn: self.turn,
                durable: durable.unwrap_or(about.len()),
                before: Vec::new(),
                failed: false,
            }),
        })
    }

    /// A new file: all that is ever in it is news, whoever writes it.
    pub(super) fn touch(&mut self, file: &File) -> io::Result<()> {
        self.dirty(file, Some(0)).map(drop)
    }

    pub(super) fn writes(&mut self, file: &File, at: Option<u64>, bytes: usize) -> io::Result<()> {
        let dirty = self.dirty(file, None)?;
        let Some(at) = at else { return Ok(()) };
        if at == 0 && bytes as u64 >= file.metadata()?.len() {
            dirty.failed = false;
        }
        let end = (at + bytes as u64).min(dirty.durable);
        if at < end {
            let was = read(&dirty.file, at, end - at)?;
            dirty.before.push(Was { at, bytes: was, tail: false });
        }
        Ok(())
    }

    pub(super) fn truncates(&mut self, file: &File, bytes: u64) -> io::Result<()> {
        let dirty = self.dirty(file, None)?;
        if bytes < dirty.durable {
            let was = read(&dirty.file, bytes, dirty.durable - bytes)?;
            dirty.before.push(Was { at: bytes, bytes: was, tail: true });
            dirty.durable = bytes;
        }
        Ok(())
    }

    /// All of it is durable now, unless a sync failed before. True where one did.
    pub(super) fn sync(&mut self, file: &File) -> io::Result<bool> {
        let inode = file.metadata()?.ino();
        if self.files.get(&inode).is_some_and(|dirty| dirty.failed) {
            return Ok(true);
        }
        self.files.remove(&inode);
        Ok(false)
    }

    /// The same of every file.
    pub(super) fn sync_all(&mut self) {
        self.files.retain(|_, dirty| dirty.failed);
    }

    pub(super) fn failed(&mut self, file: &File) -> io::Result<()> {
        self.dirty(file, None)?.failed = true;
        Ok(())
    }

    /// Some of it goes. Answers how many pieces.
    pub(super) fn cut(&mut self, noise: &mut Noise) -> io::Result<u64> {
        let mut files: Vec<Dirty> = std::mem::take(&mut self.files).into_values().collect();
        files.sort_by_key(|dirty| dirty.turn);
        let mut undone = 0;
        for dirty in files {
            undone += dirty.cut(noise)?;
        }
        Ok(undone)
    }
}

impl Dirty {
    fn cut(self, noise: &mut Noise) -> io::Result<u64> {
        let (file, mut undone) = (&self.file, 0);
        for was in self.before.iter().rev() {
            if noise.once_in(2) {
                continue;
            }
            undone += 1;
            let (mut at, mut bytes) = (was.at, &was.bytes[..]);
            if !was.tail && noise.once_in(2) {
                // Only the sectors on one side of some place come back.
                let place = (at + noise.below(bytes.len() as u64)).next_multiple_of(SECTOR_BYTES).max(at) - at;
                let (before, after) = bytes.split_at(usize::try_from(place).unwrap_or(0).min(bytes.len()));
                (at, bytes) = if noise.once_in(2) { (at, before) } else { (at + before.len() as u64, after) };
            }
            file.write_all_at(bytes, at)?;
        }
        let length = file.metadata()?.len();
        if length <= self.durable {
            return Ok(undone);
        }
        let from = self.durable + noise.below(length - self.durable + 1);
        let news = usize::try_from(length - from).unwrap_or(0);
        match noise.below(6) {
            0 => return Ok(undone),
            1 | 2 => file.set_len(self.durable)?,
            3 => file.set_len(from)?,
            4 => file.write_all_at(&vec![0; news], from)?,
            _ => {
                let garbage: Vec<u8> = (0..news.div_ceil(8)).flat_map(|_| noise.next().to_le_bytes()).collect();
                file.write_all_at(garbage.get(..news).unwrap_or(&garbage), from)?;
            }
        }
        Ok(undone + 1)
    }
}

fn own_handle(file: &File) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

fn read(file: &File, at: u64, bytes: u64) -> io::Result<Vec<u8>> {
    let mut was = vec![0; usize::try_from(bytes).unwrap_or(0)];
    file.read_exact_at(&mut was, at)?;
    Ok(was)
}
