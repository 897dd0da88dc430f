//! Parity of a volume on its medium: written beside the pieces, held against them when the medium is read back, and used
//! to restore what a scratch took. Nothing here is believed: what was restored counts when the waybill's digest fits.
//!
//! Sectors that cannot be read and sectors that are other than their digest are the same: missing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use protocol::Suite;
use protocol::parity::{
    BlockDecoder, BlockEncoder, CHUNK_BYTES, CHUNK_SECTORS, CodeError, DIGESTS_A_SECTOR, SECTOR_BYTES, SectorDigest,
    Shape, index_sector, read_index_sector, sector_digest,
};
use protocol::suite::Digest;
use protocol::volume::PART_BYTES_MAX;
use spool::disk::Disk;

use crate::copying::{CopyError, Span, write_error};
use crate::crew;
use crate::folder::Folder;

/// The copies of the index: before the pieces, between them and the parity, behind both. One scratch takes one.
pub(crate) const INDEXES: [&str; 3] = ["0.sectors", "m.sectors", "z.sectors"];
const SECTOR: u64 = SECTOR_BYTES as u64;

/// Blocks that are encoded at once, 100 MiB each.
const TOGETHER: usize = 4;

/// What stops parity from being made or used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ParityError {
    /// A file on its way.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// Our own bug.
    #[error(transparent)]
    Code(#[from] CodeError),
}

/// A medium's parity: whose it is, and of which volume.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parity<'a> {
    /// How sectors and blocks belong together.
    pub(crate) shape: &'a Shape,
    /// Digest of the signed waybill.
    pub(crate) waybill: &'a Digest,
    /// Which volume.
    pub(crate) number: u8,
}

/// The parity files of a shape, with their sizes.
fn files(shape: &Shape) -> impl Iterator<Item = (String, u64)> {
    let bytes = shape.parity_sectors() * SECTOR;
    (0..bytes.div_ceil(PART_BYTES_MAX))
        .map(move |file| (format!("parity.{:03}", file + 1), (bytes - file * PART_BYTES_MAX).min(PART_BYTES_MAX)))
}

/// Every file of the parity.
pub(crate) fn names(shape: &Shape) -> Vec<String> {
    files(shape).map(|(name, _)| name).chain(INDEXES.map(str::to_owned)).collect()
}

/// Bytes of all of them.
pub(crate) fn bytes(shape: &Shape) -> u64 {
    (shape.parity_sectors() + INDEXES.len() as u64 * shape.index_sectors()) * SECTOR
}

/// Files that are read as one row of sectors, each beginning with a sector of its own.
struct Row<'a> {
    folder: &'a Folder,
    spans: &'a [Span],
    /// The first sector of each span.
    firsts: Vec<u64>,
    /// The file that was read last: files are read more often one after the other than not.
    open: Option<(usize, File)>,
}

impl<'a> Row<'a> {
    fn new(folder: &'a Folder, spans: &'a [Span]) -> Row<'a> {
        let firsts = spans.iter().scan(0, |next, span| {
            let first = *next;
            *next += span.size.div_ceil(SECTOR);
            Some(first)
        });
        Row { folder, spans, firsts: firsts.collect(), open: None }
    }

    /// The span that holds a sector, and the sector's place in it.
    fn find(&self, sector: u64) -> Option<(usize, u64)> {
        let mut place = self.firsts.partition_point(|first| *first <= sector).checked_sub(1)?;
        // Empty files begin where the next one does.
        while self.spans.get(place)?.size == 0 {
            place = place.checked_sub(1)?;
        }
        Some((place, sector - self.firsts.get(place)?))
    }

    /// Fills whole sectors from the row, with zeros behind the end of each file and of the row.
    fn read(&mut self, mut sector: u64, into: &mut [u8]) -> Result<(), CopyError> {
        into.fill(0);
        let mut rest = into;
        while !rest.is_empty() {
            let Some((place, inside)) = self.find(sector) else { return Ok(()) };
            let Some(span) = self.spans.get(place) else { return Ok(()) };
            let left = span.size.saturating_sub(inside * SECTOR);
            if left == 0 {
                return Ok(());
            }
            let sectors = left.div_ceil(SECTOR).min((rest.len() / SECTOR_BYTES) as u64);
            let (now, later) = rest.split_at_mut(usize::try_from(sectors * SECTOR).unwrap_or(rest.len()));
            let bytes = usize::try_from(left).unwrap_or(usize::MAX).min(now.len());
            let (content, _) = now.split_at_mut(bytes);
            self.file(place)?
                .read_exact_at(content, span.offset + inside * SECTOR)
                .map_err(|cause| CopyError::Read { path: self.folder.path().join(&span.name), cause })?;
            (rest, sector) = (later, sector + sectors);
        }
        Ok(())
    }

    fn file(&mut self, place: usize) -> Result<&File, CopyError> {
        let name = self.spans.get(place).map(|span| span.name.as_str()).unwrap_or_default();
        let open = match self.open.take() {
            Some(open) if open.0 == place => open,
            _ => (place, self.folder.file(name)?.0),
        };
        Ok(&self.open.insert(open).1)
    }
}

/// Makes the parity files of a volume beside its pieces. `spans` are the pieces, in their order, where they are read from.
/// Gives the names and plain SHA-256 of what was written; nothing is synced yet.
pub(crate) fn write(
    disk: &Disk,
    parity: Parity<'_>,
    from: &Folder,
    spans: &[Span],
    to: &Path,
    bar: &ProgressBar,
) -> Result<Vec<(String, Digest)>, ParityError> {
    let shape = parity.shape;
    let mut made = Vec::new();
    for (name, bytes) in files(shape) {
        let path = to.join(&name);
        let file = disk.create(&path).map_err(|cause| write_error(&path, cause))?;
        disk.truncate(&file, bytes).map_err(|cause| write_error(&path, cause))?;
        made.push((path, file));
    }
    let mut digests = vec![SectorDigest::default(); usize::try_from(shape.digests()).unwrap_or_default()];
    let blocks: Vec<u64> = (0..shape.blocks()).collect();
    for some in blocks.chunks(TOGETHER) {
        for (block, done) in
            some.iter().zip(crew::each(some, |block| encode(disk, shape, *block, from, spans, &made, bar)))
        {
            let (data, recovery) = done?;
            let mut set = |sector: u64, digest| {
                if let Some(place) = usize::try_from(sector).ok().and_then(|sector| digests.get_mut(sector)) {
                    *place = digest;
                }
            };
            for (place, digest) in (0..).zip(data) {
                let sector = shape.sector(*block, place);
                if sector < shape.sectors() {
                    set(sector, digest);
                }
            }
            (0..).zip(recovery).for_each(|(place, digest)| set(shape.sectors() + shape.sector(*block, place), digest));
        }
    }
    let mut sums = Vec::new();
    let folder = Folder::open(to).map_err(CopyError::from)?;
    for (path, _) in made {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let sum = folder.sum(&name).map_err(CopyError::from)?;
        sums.push((path, sum));
    }
    for name in INDEXES {
        let path = to.join(name);
        let failed = |cause| write_error(&path, cause);
        let mut file = disk.create(&path).map_err(failed)?;
        let mut sha256 = Suite::Std.hasher();
        let a_sector = usize::try_from(DIGESTS_A_SECTOR).unwrap_or(1);
        for (place, some) in (0..).zip(digests.chunks(a_sector)) {
            let sector = index_sector(parity.waybill, parity.number, place, some);
            sha256.update(&sector);
            disk.append(&mut file, &sector).map_err(failed)?;
        }
        sums.push((path, sha256.finish()));
    }
    let name = |path: PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(sums.into_iter().map(|(path, sum)| (name(path), sum)).collect())
}

type Digests = Vec<SectorDigest>;

/// One block: reads its data, writes its recovery, and gives the digests of both.
fn encode(
    disk: &Disk,
    shape: &Shape,
    block: u64,
    from: &Folder,
    spans: &[Span],
    to: &[(PathBuf, File)],
    bar: &ProgressBar,
) -> Result<(Digests, Digests), ParityError> {
    let mut row = Row::new(from, spans);
    let mut encoder = BlockEncoder::new(shape)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut data = Vec::with_capacity(usize::try_from(shape.data()).unwrap_or_default());
    for place in (0..shape.data()).step_by(usize::try_from(CHUNK_SECTORS).unwrap_or(1)) {
        row.read(shape.sector(block, place), &mut chunk)?;
        for sector in chunk.chunks_exact(SECTOR_BYTES) {
            encoder.add(sector)?;
            data.push(sector_digest(sector));
        }
        bar.inc(chunk.len() as u64);
    }
    let (mut recovery, mut written) = (Vec::new(), Ok(()));
    chunk.clear();
    encoder.recovery(&mut |place, sector| {
        recovery.push(sector_digest(sector));
        chunk.extend_from_slice(sector);
        if chunk.len() == CHUNK_BYTES && written.is_ok() {
            let first = shape.sector(block, place / CHUNK_SECTORS * CHUNK_SECTORS) * SECTOR;
            let file = usize::try_from(first / PART_BYTES_MAX).ok().and_then(|file| to.get(file));
            written = file.map_or(Ok(()), |(path, file)| {
                disk.write_at(file, &chunk, first % PART_BYTES_MAX).map_err(|cause| write_error(path, cause))
            });
            chunk.clear();
        }
    })?;
    written?;
    Ok((data, recovery))
}

/// Digests of sectors as the index of a medium says; those of lost index sectors are not known.
pub(crate) struct Index {
    digests: Vec<Option<SectorDigest>>,
    /// Index sectors that could not be read, over all copies.
    pub(crate) lost: u64,
}

impl Index {
    /// Reads all copies: of each index sector, one that is whole is enough.
    pub(crate) fn read(folder: &Folder, parity: Parity<'_>) -> Index {
        let shape = parity.shape;
        let mut index = Index { digests: Vec::new(), lost: 0 };
        let copies: Vec<Option<File>> =
            INDEXES.iter().map(|name| folder.file(name).ok().map(|(file, _)| file)).collect();
        let mut sector = vec![0; SECTOR_BYTES];
        for place in 0..shape.index_sectors() {
            let mut found = None;
            for copy in &copies {
                let read = copy.as_ref().and_then(|file| file.read_exact_at(&mut sector, place * SECTOR).ok());
                let whole = read.and_then(|()| read_index_sector(parity.waybill, parity.number, place, &sector));
                index.lost += u64::from(whole.is_none());
                found = found.or(whole);
            }
            let left = shape.digests() - place * DIGESTS_A_SECTOR;
            let some = usize::try_from(left.min(DIGESTS_A_SECTOR)).unwrap_or_default();
            match found {
                Some(digests) => index.digests.extend(digests.into_iter().take(some).map(Some)),
                None => index.digests.resize(index.digests.len() + some, None),
            }
        }
        index
    }

    fn known(&self, sector: u64) -> Option<SectorDigest> {
        usize::try_from(sector).ok().and_then(|sector| self.digests.get(sector)).copied().flatten()
    }

    /// Is the sector what was written?
    fn holds(&self, sector: u64, bytes: &[u8]) -> bool {
        self.known(sector).is_some_and(|known| known == sector_digest(bytes))
    }

    /// May it be what was written, for all that is left of the index? What could not be read is zeros, and zeros are never
    /// taken at their word: what is sealed has no sector of them.
    fn may_hold(&self, sector: u64, bytes: &[u8]) -> bool {
        self.known(sector).is_none() && bytes.iter().any(|byte| *byte != 0)
    }
}

/// How sectors are taken whose index sector is lost in every copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unknown {
    /// As missing: so is nothing restored from what may be wrong.
    Missing,
    /// As they were read, where the block is out of reach otherwise: 255 neighbours are more than the parity of a small volume
    /// has to spare. If one of them is wrong, the digest of its piece says so.
    AsRead,
}

/// Sectors of a file that are missing or were restored: how many, and where the first of them lies.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Damage {
    /// The file on the medium.
    pub(crate) file: String,
    /// How many of its sectors.
    pub(crate) sectors: u64,
    /// The first of them, from 0.
    pub(crate) first: u64,
    /// The last of them.
    pub(crate) last: u64,
}

fn damage(row: &Row<'_>, bad: impl Iterator<Item = u64>) -> BTreeMap<usize, Damage> {
    let mut files: BTreeMap<usize, Damage> = BTreeMap::new();
    for (place, inside) in bad.filter_map(|sector| row.find(sector)) {
        let name = row.spans.get(place).map(|span| span.name.clone()).unwrap_or_default();
        let file = files.entry(place).or_insert(Damage { file: name, sectors: 0, first: inside, last: inside });
        (file.sectors, file.last) = (file.sectors + 1, inside);
    }
    files
}

/// What came of a repair.
#[derive(Debug, Default)]
pub(crate) struct Repair {
    /// By the place of the piece, what was restored.
    pub(crate) restored: BTreeMap<usize, Damage>,
    /// By the place of the piece, what is beyond the parity.
    pub(crate) beyond: BTreeMap<usize, Damage>,
}

/// 10.4.1, 10.4.2: restores the sectors of damaged pieces. `spans` are the pieces where they were copied to, in their order and under
/// `copies`: what could not be read of them is zero. Only the `damaged` are looked at; the others were proven whole.
pub(crate) fn repair(
    disk: &Disk,
    parity: Parity<'_>,
    medium: &Folder,
    (copies, spans): (&Folder, &[Span]),
    damaged: &BTreeSet<usize>,
    bar: &ProgressBar,
) -> Result<Repair, ParityError> {
    let shape = parity.shape;
    let index = Index::read(medium, parity);
    let mut row = Row::new(copies, spans);
    let bad = bad_sectors(&mut row, &index, damaged)?;
    // Of each block its places, and of each place whether it is only not known.
    let mut blocks: BTreeMap<u64, BTreeMap<u64, bool>> = BTreeMap::new();
    for (sector, unknown) in &bad {
        let (block, place) = shape.place(*sector);
        blocks.entry(block).or_default().insert(place, *unknown);
    }
    bar.set_length(blocks.len() as u64 * shape.data() * SECTOR);
    let (mut restored, mut beyond) = (Vec::new(), Vec::new());
    for (block, missing) in &blocks {
        let sector = |place: &u64| shape.sector(*block, *place);
        let all = missing.keys().copied().collect();
        let mut reach = |missing: &BTreeSet<u64>, unknown| {
            restore(disk, parity, medium, &index, &mut row, (*block, missing), unknown, bar)
        };
        if reach(&all, Unknown::Missing)? {
            restored.extend(all.iter().map(sector));
            continue;
        }
        beyond.extend(all.iter().map(sector));
        let sure = missing.iter().filter(|(_, unknown)| !**unknown).map(|(place, _)| *place).collect();
        // Both, until the digests of the pieces have said which.
        if reach(&sure, Unknown::AsRead)? {
            restored.extend(sure.iter().map(sector));
        }
    }
    restored.sort_unstable();
    beyond.sort_unstable();
    Ok(Repair { restored: damage(&row, restored.into_iter()), beyond: damage(&row, beyond.into_iter()) })
}

/// The sectors that are not what was written, and whether that is only not known.
fn bad_sectors(row: &mut Row<'_>, index: &Index, damaged: &BTreeSet<usize>) -> Result<Vec<(u64, bool)>, CopyError> {
    let (mut bad, mut chunk) = (Vec::new(), vec![0; CHUNK_BYTES]);
    for place in damaged {
        let (Some(first), Some(span)) = (row.firsts.get(*place).copied(), row.spans.get(*place)) else { continue };
        let end = first + span.size.div_ceil(SECTOR);
        for chunk_first in (first..end).step_by(usize::try_from(CHUNK_SECTORS).unwrap_or(1)) {
            row.read(chunk_first, &mut chunk)?;
            let sectors = (chunk_first..end).zip(chunk.chunks_exact(SECTOR_BYTES));
            let sectors = sectors.filter(|(sector, bytes)| !index.holds(*sector, bytes));
            bad.extend(sectors.map(|(sector, bytes)| (sector, index.may_hold(sector, bytes))));
        }
    }
    Ok(bad)
}

/// Restores one block, if its recovery reaches. Says whether it did.
#[expect(clippy::too_many_arguments, reason = "a block in the light of its volume, its index and its medium")]
fn restore(
    disk: &Disk,
    parity: Parity<'_>,
    medium: &Folder,
    index: &Index,
    row: &mut Row<'_>,
    (block, missing): (u64, &BTreeSet<u64>),
    unknown: Unknown,
    bar: &ProgressBar,
) -> Result<bool, ParityError> {
    let shape = parity.shape;
    // None that is sure to be wrong, and yet the piece is: there is nothing to count from.
    if missing.is_empty() {
        return Ok(false);
    }
    if missing.len() as u64 > shape.recovery() {
        return Ok(false);
    }
    let mut decoder = BlockDecoder::new(shape)?;
    let needed = missing.len() as u64;
    if recovery_of(shape, medium, (index, unknown), block, needed, &mut decoder)? < needed {
        return Ok(false);
    }
    let mut chunk = vec![0; CHUNK_BYTES];
    for first in (0..shape.data()).step_by(usize::try_from(CHUNK_SECTORS).unwrap_or(1)) {
        row.read(shape.sector(block, first), &mut chunk)?;
        for (place, sector) in (first..).zip(chunk.chunks_exact(SECTOR_BYTES)) {
            if !missing.contains(&place) {
                decoder.data(place, sector)?;
            }
        }
        bar.inc(chunk.len() as u64);
    }
    let mut found = Vec::with_capacity(missing.len());
    decoder.restore(&mut |place, sector| found.push((place, sector.to_vec())))?;
    for (place, sector) in found {
        put(disk, row, shape.sector(block, place), &sector)?;
    }
    Ok(true)
}

/// Gives the decoder as many whole recovery sectors of a block as are needed, or all there are. Says how many.
fn recovery_of(
    shape: &Shape,
    medium: &Folder,
    (index, unknown): (&Index, Unknown),
    block: u64,
    needed: u64,
    decoder: &mut BlockDecoder,
) -> Result<u64, ParityError> {
    let parts: Vec<Option<File>> = files(shape).map(|(name, _)| medium.file(name).ok().map(|(file, _)| file)).collect();
    let (mut given, mut sector) = (0, vec![0; SECTOR_BYTES]);
    for place in 0..shape.recovery() {
        if given == needed {
            break;
        }
        let stands = shape.sector(block, place);
        let at = stands * SECTOR;
        let part = usize::try_from(at / PART_BYTES_MAX).ok().and_then(|part| parts.get(part)?.as_ref());
        // One that cannot be read is as good as one that is not what it was.
        let read = part.is_some_and(|part| part.read_exact_at(&mut sector, at % PART_BYTES_MAX).is_ok());
        let digest = shape.sectors() + stands;
        let as_read = unknown == Unknown::AsRead && index.may_hold(digest, &sector);
        if read && (index.holds(digest, &sector) || as_read) {
            decoder.recovery(place, &sector)?;
            given += 1;
        }
    }
    Ok(given)
}

/// Writes a restored sector into the copy of its piece.
fn put(disk: &Disk, row: &Row<'_>, sector: u64, bytes: &[u8]) -> Result<(), CopyError> {
    let Some((span, inside)) = row.find(sector).and_then(|(place, inside)| Some((row.spans.get(place)?, inside)))
    else {
        return Ok(());
    };
    let path = row.folder.path().join(&span.name);
    let left = usize::try_from(span.size.saturating_sub(inside * SECTOR)).unwrap_or(usize::MAX);
    let bytes = bytes.get(..left.min(bytes.len())).unwrap_or_default();
    let file = disk.open_write(&path).map_err(|cause| write_error(&path, cause))?;
    disk.write_at(&file, bytes, span.offset + inside * SECTOR).map_err(|cause| write_error(&path, cause))
}

/// What is wrong with a medium that was just written.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Files with sectors that are not what was written.
    pub(crate) damage: Vec<Damage>,
    /// Index sectors that are not whole, over all copies.
    pub(crate) index: u64,
    /// Would an import restore all of it?
    pub(crate) restorable: bool,
}

impl Found {
    /// Nothing.
    pub(crate) fn is_clean(&self) -> bool {
        self.damage.is_empty() && self.index == 0
    }
}

/// Holds the sectors of a piece against the index while it is read for another reason.
pub(crate) struct Watch<'a> {
    index: &'a Index,
    sector: u64,
    begun: Vec<u8>,
    /// How many were other than the index says.
    pub(crate) bad: u64,
}

impl<'a> Watch<'a> {
    /// From this sector on.
    pub(crate) fn new(index: &'a Index, first: u64) -> Watch<'a> {
        Watch { index, sector: first, begun: Vec::with_capacity(SECTOR_BYTES), bad: 0 }
    }

    /// The next bytes of the piece.
    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.begun.is_empty() && bytes.len() >= SECTOR_BYTES {
                let (now, later) = bytes.split_at(SECTOR_BYTES);
                self.hold(now);
                bytes = later;
                continue;
            }
            let (now, later) = bytes.split_at(bytes.len().min(SECTOR_BYTES - self.begun.len()));
            self.begun.extend_from_slice(now);
            bytes = later;
            if self.begun.len() == SECTOR_BYTES {
                self.end();
            }
        }
    }

    /// The piece ends here. The next one begins a sector of its own.
    pub(crate) fn end(&mut self) {
        if !self.begun.is_empty() {
            let begun = std::mem::take(&mut self.begun);
            self.hold(&begun);
        }
    }

    fn hold(&mut self, sector: &[u8]) {
        self.bad += u64::from(!self.index.holds(self.sector, sector));
        self.sector += 1;
    }
}

/// Which rows of a medium are held against the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rows {
    /// The parity alone: the pieces were watched while they were read.
    Parity,
    /// The pieces as well.
    Both,
}

/// Holds the sectors of a medium against the index. `spans` are the pieces on it.
pub(crate) fn check(
    medium: &Folder,
    parity: Parity<'_>,
    index: &Index,
    spans: &[Span],
    rows: Rows,
    bar: &ProgressBar,
) -> Found {
    let shape = parity.shape;
    let parts: Vec<Span> = files(shape)
        .map(|(name, bytes)| Span { name, file_bytes: bytes, offset: 0, size: bytes, digest: None })
        .collect();
    let mut both = vec![(Row::new(medium, &parts), shape.sectors(), shape.parity_sectors())];
    if rows == Rows::Both {
        both.insert(0, (Row::new(medium, spans), 0, shape.sectors()));
    }
    let mut found = Found { index: index.lost, ..Found::default() };
    let mut missing: BTreeMap<u64, u64> = BTreeMap::new();
    let all: u64 = both.iter().map(|(_, _, sectors)| sectors).sum();
    bar.inc_length(all.saturating_mul(SECTOR_BYTES as u64));
    for (row, base, sectors) in &mut both {
        let mut bad = Vec::new();
        let mut chunk = vec![0; CHUNK_BYTES];
        for first in (0..*sectors).step_by(usize::try_from(CHUNK_SECTORS).unwrap_or(1)) {
            let whole = row.read(first, &mut chunk).is_ok();
            for (place, bytes) in (first..*sectors).zip(chunk.chunks_exact_mut(SECTOR_BYTES)) {
                // Of a chunk with a read error, each sector by itself.
                let read = whole || row.read(place, bytes).is_ok();
                if !read || !index.holds(*base + place, bytes) {
                    bad.push(place);
                    *missing.entry(shape.place(place).0).or_default() += 1;
                }
                bar.inc(bytes.len() as u64);
            }
        }
        found.damage.extend(damage(row, bad.into_iter()).into_values());
    }
    found.restorable = missing.values().all(|lost| *lost <= shape.recovery());
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test writes and damages files as a disc would")]
    use std::fs;

    use super::*;

    /// A generator of which the seed tells everything.
    struct Noise(u64);

    impl Noise {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }

        /// So many different ones of `all`.
        fn some(&mut self, all: u64, many: u64) -> BTreeSet<u64> {
            let mut some = BTreeSet::new();
            while (some.len() as u64) < many {
                some.insert(self.next() % all);
            }
            some
        }
    }

    struct Volume {
        medium: PathBuf,
        spans: Vec<Span>,
        shape: Shape,
        waybill: Digest,
    }

    fn volume(root: &Path, bytes: u64) -> Volume {
        let medium = root.join("medium");
        fs::create_dir_all(&medium).unwrap();
        let mut noise = Noise(bytes | 1);
        let spans: Vec<Span> = [bytes / 3, bytes / 2, bytes - bytes / 3 - bytes / 2]
            .into_iter()
            .zip(["a.bundle", "b.bundle", "c.bundle"])
            .map(|(size, name)| {
                let content: Vec<u8> = (0..size.div_ceil(8)).flat_map(|_| noise.next().to_le_bytes()).collect();
                fs::write(medium.join(name), content.get(..usize::try_from(size).unwrap()).unwrap()).unwrap();
                Span { name: name.to_owned(), file_bytes: size, offset: 0, size, digest: None }
            })
            .collect();
        let sectors = spans.iter().map(|span| span.size.div_ceil(SECTOR)).sum();
        let (shape, waybill) = (Shape::of(sectors, 12).unwrap(), Suite::Std.digest(b"waybill"));
        let (from, parity) = (Folder::open(&medium).unwrap(), Parity { shape: &shape, waybill: &waybill, number: 1 });
        write(&Disk::real(), parity, &from, &spans, &medium, &ProgressBar::hidden()).unwrap();
        Volume { medium, spans, shape, waybill }
    }

    fn zero(path: &Path, sectors: &BTreeSet<u64>) {
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        let bytes = file.metadata().unwrap().len();
        for at in sectors.iter().map(|sector| sector * SECTOR).filter(|at| *at < bytes) {
            let zeros = vec![0; usize::try_from((bytes - at).min(SECTOR)).unwrap()];
            file.write_all_at(&zeros, at).unwrap();
        }
    }

    /// Zeroes a tenth of the sectors of every file, and one index sector in every copy; is all of it restored?
    fn is_restored(root: &Path, volume: &Volume, seed: u64) -> bool {
        let (hurt, mut noise) = (root.join("hurt"), Noise(seed));
        let _gone = fs::remove_dir_all(&hurt);
        fs::create_dir_all(&hurt).unwrap();
        let lost = noise.next() % volume.shape.index_sectors();
        for entry in fs::read_dir(&volume.medium).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            fs::copy(&path, hurt.join(&name)).unwrap();
            let sectors = fs::metadata(&path).unwrap().len().div_ceil(SECTOR);
            let mut some = noise.some(sectors, sectors / 10);
            some.extend(INDEXES.contains(&name.as_str()).then_some(lost));
            zero(&hurt.join(name), &some);
        }
        let (folder, bar) = (Folder::open(&hurt).unwrap(), ProgressBar::hidden());
        let parity = Parity { shape: &volume.shape, waybill: &volume.waybill, number: 1 };
        let damaged = (0..volume.spans.len()).collect();
        repair(&Disk::real(), parity, &folder, (&folder, &volume.spans), &damaged, &bar).unwrap();
        volume
            .spans
            .iter()
            .all(|span| fs::read(hurt.join(&span.name)).unwrap() == fs::read(volume.medium.join(&span.name)).unwrap())
    }

    #[test]
    fn a_small_volume_that_lost_a_tenth_and_every_copy_of_an_index_sector_is_restored() {
        for (megabytes, seeds) in [(1, 40), (2, 20), (5, 10), (11, 4), (20, 2), (60, 1)] {
            let root = std::env::temp_dir().join(format!("trilock-parity-{megabytes}-{}", std::process::id()));
            let volume = volume(&root, megabytes * 1_000_000 + 77);
            for seed in 1..=seeds {
                assert!(is_restored(&root, &volume, seed * 7_919), "{megabytes} MB, seed {seed}");
            }
            fs::remove_dir_all(&root).unwrap();
        }
    }
}
