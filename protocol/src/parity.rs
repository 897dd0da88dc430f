//! Parity of a volume: Reed-Solomon over the 2 KiB sectors of its files, so that a scratched disc still imports.
//!
//! ```text
//! sectors       0 .. S      of the pieces in the order of their names; the last one of each filled up with zeros
//! chunks        16 sectors side by side; chunk q belongs to block q mod B, and is the (q / B)-th of it
//! block         K sectors of data (those past S are zero and stand nowhere), R of recovery
//! parity files  B * R sectors, in chunks of 16 that go round the blocks the same way
//! index sector  check(8) | 255 digests of 8 bytes: of the S sectors, then of the B * R
//! ```
//! Whatever lies side by side is spread over all blocks, so that one long scratch costs each block as much as random
//! damage of the same size. Digests only find damage; what was repaired is believed by the waybill.

use reed_solomon_simd::{ReedSolomonDecoder, ReedSolomonEncoder};

use crate::suite::{Digest, Suite};

/// A sector of every optical disc. Damage comes in sectors.
pub const SECTOR_BYTES: usize = 2_048;
/// Sectors that stay together are read at once; small enough that one run still meets all blocks alike.
pub const CHUNK_BYTES: usize = 32_768;
/// 16 of them.
pub const CHUNK_SECTORS: u64 = (CHUNK_BYTES / SECTOR_BYTES) as u64;
/// Sectors of one block, its recovery rounded up to a power of two: what a decoder holds at once is 64 MiB.
pub const BLOCK_SECTORS_MAX: u64 = 32_768;
/// Of every hundred sectors so many can be parity. Half is as much as writing everything twice.
pub const PERCENT_MAX: u8 = 50;
/// Sectors of data on a volume with parity: 128 GiB, the largest disc there is.
pub const SECTORS_MAX: u64 = 1 << 26;
/// Sectors of data and of parity on a volume: at most as much parity as data. Their digests are held at once, 1.2 GiB at
/// the very most and in proportion to what the paper's pieces say.
pub const DIGESTS_MAX: u64 = 2 * SECTORS_MAX;
/// Bytes of the digest of a sector: enough to find damage, which is not out to deceive.
pub const DIGEST_BYTES: usize = 8;
/// Digests in an index sector.
pub const DIGESTS_A_SECTOR: u64 = 255;
const PAYLOAD_BYTES: usize = SECTOR_BYTES - DIGEST_BYTES;

/// The digest of one sector.
pub type SectorDigest = [u8; DIGEST_BYTES];

/// Numbers that no parity has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no parity over {sectors} sectors has {blocks} blocks with {recovery} sectors of recovery")]
pub struct BadShape {
    sectors: u64,
    blocks: u64,
    recovery: u64,
}

/// How sectors and blocks belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    sectors: u64,
    blocks: u64,
    recovery: u64,
}

impl Shape {
    /// Takes numbers from a paper, if a volume may have them.
    pub fn new(sectors: u64, blocks: u64, recovery: u64) -> Result<Shape, BadShape> {
        let shape = Shape { sectors, blocks, recovery };
        let chunks = sectors.div_ceil(CHUNK_SECTORS);
        let fits = (1..=SECTORS_MAX).contains(&sectors)
            && (1..=chunks).contains(&blocks)
            && (1..=shape.data()).contains(&recovery)
            && recovery.is_multiple_of(CHUNK_SECTORS)
            && recovery.next_power_of_two() + shape.data() <= BLOCK_SECTORS_MAX
            && shape.digests() <= DIGESTS_MAX;
        if fits { Ok(shape) } else { Err(BadShape { sectors, blocks, recovery }) }
    }

    /// The shape in which of every hundred sectors, those of the parity included, at least `percent` are parity.
    pub fn of(sectors: u64, percent: u8) -> Result<Shape, BadShape> {
        let bad = BadShape { sectors, blocks: 0, recovery: 0 };
        if !(1..=PERCENT_MAX).contains(&percent) || sectors == 0 {
            return Err(bad);
        }
        let recovery = |data: u64| {
            let exact = (data * u64::from(percent)).div_ceil(u64::from(100 - percent));
            exact.next_multiple_of(CHUNK_SECTORS)
        };
        let fits = |data: &u64| recovery(*data).next_power_of_two() + data <= BLOCK_SECTORS_MAX;
        let largest = (1..BLOCK_SECTORS_MAX / CHUNK_SECTORS).map(|chunks| chunks * CHUNK_SECTORS).filter(fits).max();
        let chunks = sectors.div_ceil(CHUNK_SECTORS);
        let blocks = chunks.div_ceil(largest.ok_or(bad)? / CHUNK_SECTORS);
        let data = chunks.div_ceil(blocks) * CHUNK_SECTORS;
        Shape::new(sectors, blocks, recovery(data))
    }

    /// Sectors of data on the volume.
    #[must_use]
    pub fn sectors(&self) -> u64 {
        self.sectors
    }

    /// B.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// R.
    #[must_use]
    pub fn recovery(&self) -> u64 {
        self.recovery
    }

    /// K: sectors of data of a block, those included that stand nowhere.
    #[must_use]
    pub fn data(&self) -> u64 {
        self.sectors.div_ceil(CHUNK_SECTORS).div_ceil(self.blocks.max(1)) * CHUNK_SECTORS
    }

    /// Sectors of all parity files.
    #[must_use]
    pub fn parity_sectors(&self) -> u64 {
        self.blocks * self.recovery
    }

    /// Digests in the index.
    #[must_use]
    pub fn digests(&self) -> u64 {
        self.sectors + self.parity_sectors()
    }

    /// Sectors of one copy of the index.
    #[must_use]
    pub fn index_sectors(&self) -> u64 {
        self.digests().div_ceil(DIGESTS_A_SECTOR)
    }

    /// The sector at a place of a block: of data, or of the parity files where a block's recovery is asked for. It may
    /// lie past the last one.
    #[must_use]
    pub fn sector(&self, block: u64, place: u64) -> u64 {
        (place / CHUNK_SECTORS * self.blocks + block) * CHUNK_SECTORS + place % CHUNK_SECTORS
    }

    /// The block that a sector belongs to, and its place there.
    #[must_use]
    pub fn place(&self, sector: u64) -> (u64, u64) {
        let chunk = sector / CHUNK_SECTORS;
        (chunk % self.blocks.max(1), chunk / self.blocks.max(1) * CHUNK_SECTORS + sector % CHUNK_SECTORS)
    }
}

/// The digest of a sector; one that is short is filled up with zeros.
#[must_use]
pub fn sector_digest(sector: &[u8]) -> SectorDigest {
    let mut hasher = Suite::Std.hasher();
    hasher.update(sector);
    hasher.update(&[0; SECTOR_BYTES][sector.len().min(SECTOR_BYTES)..]);
    first_bytes(&hasher.finish())
}

fn first_bytes(digest: &Digest) -> SectorDigest {
    let mut first = [0; DIGEST_BYTES];
    first.iter_mut().zip(digest.as_bytes()).for_each(|(to, from)| *to = *from);
    first
}

/// An index sector as it stands on a volume: the `place`-th, from 0, of volume `number` of a trip.
#[must_use]
pub fn index_sector(waybill: &Digest, number: u8, place: u64, digests: &[SectorDigest]) -> Vec<u8> {
    let mut payload: Vec<u8> = digests.iter().flatten().copied().collect();
    payload.resize(PAYLOAD_BYTES, 0);
    let mut sector = check(waybill, number, place, &payload).to_vec();
    sector.append(&mut payload);
    sector
}

/// The digests in an index sector, if it is whole and the one that belongs there.
#[must_use]
pub fn read_index_sector(waybill: &Digest, number: u8, place: u64, sector: &[u8]) -> Option<Vec<SectorDigest>> {
    let (found, payload) = sector.split_first_chunk::<DIGEST_BYTES>()?;
    let whole = payload.len() == PAYLOAD_BYTES && *found == check(waybill, number, place, payload);
    let digests = payload.chunks_exact(DIGEST_BYTES).filter_map(|bytes| bytes.try_into().ok());
    whole.then(|| digests.collect())
}

fn check(waybill: &Digest, number: u8, place: u64, payload: &[u8]) -> SectorDigest {
    let mut hasher = Suite::Std.hasher();
    hasher.update(waybill.as_bytes());
    hasher.update(&[number]);
    hasher.update(&place.to_be_bytes());
    hasher.update(payload);
    first_bytes(&hasher.finish())
}

/// The code refused sectors that were counted before: our own bug, reported instead of a panic.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("the code refused a block: {0}")]
pub struct CodeError(#[from] reed_solomon_simd::Error);

/// Makes the recovery sectors of one block after the other; keeps its memory between them.
pub struct BlockEncoder(ReedSolomonEncoder);

impl BlockEncoder {
    /// For blocks of this shape.
    pub fn new(shape: &Shape) -> Result<BlockEncoder, CodeError> {
        Ok(BlockEncoder(ReedSolomonEncoder::new(count(shape.data()), count(shape.recovery()), SECTOR_BYTES)?))
    }

    /// Takes the next of the block's K sectors, whole.
    pub fn add(&mut self, sector: &[u8]) -> Result<(), CodeError> {
        Ok(self.0.add_original_shard(sector)?)
    }

    /// All R recovery sectors, in order, once K were taken.
    pub fn recovery(&mut self, each: &mut dyn FnMut(u64, &[u8])) -> Result<(), CodeError> {
        let result = self.0.encode()?;
        (0..).zip(result.recovery_iter()).for_each(|(place, sector)| each(place, sector));
        Ok(())
    }
}

/// Restores the sectors of one block after the other.
pub struct BlockDecoder(ReedSolomonDecoder);

impl BlockDecoder {
    /// For blocks of this shape.
    pub fn new(shape: &Shape) -> Result<BlockDecoder, CodeError> {
        Ok(BlockDecoder(ReedSolomonDecoder::new(count(shape.data()), count(shape.recovery()), SECTOR_BYTES)?))
    }

    /// A whole sector of data, by its place in the block.
    pub fn data(&mut self, place: u64, sector: &[u8]) -> Result<(), CodeError> {
        Ok(self.0.add_original_shard(count(place), sector)?)
    }

    /// A whole sector of recovery, by its place among them.
    pub fn recovery(&mut self, place: u64, sector: &[u8]) -> Result<(), CodeError> {
        Ok(self.0.add_recovery_shard(count(place), sector)?)
    }

    /// Every sector of data that was not given, by its place, once K sectors were.
    pub fn restore(&mut self, each: &mut dyn FnMut(u64, &[u8])) -> Result<(), CodeError> {
        let result = self.0.decode()?;
        result.restored_original_iter().for_each(|(place, sector)| each(place as u64, sector));
        Ok(())
    }
}

/// Numbers below [`BLOCK_SECTORS_MAX`].
fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sector_has_one_place_and_a_run_meets_all_blocks_alike() {
        for (sectors, percent) in [(1, 12), (15, 12), (17, 50), (1_000, 12), (100_000, 12), (1_500_000, 25)] {
            let shape = Shape::of(sectors, percent).unwrap();
            let (k, r, b) = (shape.data(), shape.recovery(), shape.blocks());
            assert!(k * b >= sectors && k * b < sectors + CHUNK_SECTORS * b, "{shape:?}");
            assert!(r * 100 >= (k + r) * u64::from(percent), "{shape:?}");
            assert!(r + k <= BLOCK_SECTORS_MAX, "{shape:?}");
            assert!(b == 1 || k > BLOCK_SECTORS_MAX / 4, "blocks are large, so that chance spares none: {shape:?}");
            let step = usize::try_from(sectors / 1_000 + 1).unwrap();
            for sector in (0..sectors).step_by(step) {
                let (block, place) = shape.place(sector);
                assert!(block < b && place < k);
                assert_eq!(shape.sector(block, place), sector);
            }
            let run = sectors / 10;
            let mut met = vec![0_u64; usize::try_from(b).unwrap()];
            (sectors / 3..sectors / 3 + run).for_each(|s| met[usize::try_from(shape.place(s).0).unwrap()] += 1);
            let (low, high) = (met.iter().min().unwrap(), met.iter().max().unwrap());
            assert!(high - low <= 2 * CHUNK_SECTORS, "{shape:?}: {low} to {high}");
        }
    }

    #[test]
    fn numbers_that_no_volume_has_are_refused() {
        for (sectors, blocks, recovery) in [
            (0, 1, 16),
            (100, 0, 16),
            (100, 8, 16),
            (100, 1, 0),
            (100, 1, 17),
            (100, 1, 65_536),
            (1 << 27, 1 << 20, 16),
            (100, 1, 128),
            (1 << 26, 1 << 22, 16_384),
            // As much recovery as data in each block, and most of each block is data that stands nowhere.
            ((1 << 26) - 15, (1 << 21) + 1, 32),
        ] {
            assert!(Shape::new(sectors, blocks, recovery).is_err(), "{sectors} {blocks} {recovery}");
        }
        assert!(Shape::new(u64::MAX, u64::MAX, u64::MAX).is_err());
        assert!(Shape::new(32_768, 1, 16).is_err(), "more than a decoder holds");
        for percent in [0, PERCENT_MAX + 1, 100, 255] {
            assert!(Shape::of(100, percent).is_err());
        }
    }

    #[test]
    fn as_many_sectors_as_there_is_recovery_come_back_and_not_one_more() {
        let shape = Shape::of(300, 12).unwrap();
        let (k, r) = (shape.data(), shape.recovery());
        let block: Vec<Vec<u8>> = (0..k)
            .map(|n| if n < 300 { vec![(n % 251) as u8 + 1; SECTOR_BYTES] } else { vec![0; SECTOR_BYTES] })
            .collect();
        let mut encoder = BlockEncoder::new(&shape).unwrap();
        block.iter().for_each(|sector| encoder.add(sector).unwrap());
        let mut recovery = Vec::new();
        encoder.recovery(&mut |_, sector| recovery.push(sector.to_vec())).unwrap();
        assert_eq!(recovery.len() as u64, r);
        for lost in [0, 1, r, r + 1] {
            let mut decoder = BlockDecoder::new(&shape).unwrap();
            for (place, sector) in (0..).zip(&block).skip(lost as usize) {
                decoder.data(place, sector).unwrap();
            }
            for (place, sector) in (0..).zip(&recovery) {
                decoder.recovery(place, sector).unwrap();
            }
            let mut restored = 0;
            let done = decoder.restore(&mut |place, sector| {
                assert_eq!(sector, block[place as usize]);
                restored += 1;
            });
            assert_eq!((done.is_ok(), restored), if lost <= r { (true, lost) } else { (false, 0) });
        }
    }

    /// Discs that were written years ago must be restored by whatever crate does the arithmetic then.
    #[test]
    fn the_recovery_of_a_block_is_the_frozen_one() {
        for (sectors, percent, frozen) in [
            (300, 12, "b0dd65117cfeeced89993fa9f2c397da9ad5d0002ea29c0b4fcefe77b297f2b0"),
            (5_000, 25, "a14ac0b7be94ea4b66e7dcc5dbdaf8c3381db7ab78660fdb9eb42c9eb497d787"),
        ] {
            let shape = Shape::of(sectors, percent).unwrap();
            let mut encoder = BlockEncoder::new(&shape).unwrap();
            for place in 0..shape.data() {
                let sector: Vec<u8> = (0..SECTOR_BYTES as u64).map(|at| (place * 7 + at * at % 251) as u8).collect();
                encoder.add(&sector).unwrap();
            }
            let mut hasher = Suite::Std.hasher();
            encoder.recovery(&mut |_, sector| hasher.update(sector)).unwrap();
            assert_eq!(hasher.finish().to_string(), frozen);
        }
    }

    /// Elements of the field in the coordinates of section 10.4 of FORMAT.md, with their logarithms.
    struct Field {
        log: Vec<usize>,
        exp: Vec<u16>,
    }

    impl Field {
        fn new() -> Field {
            let basis: [usize; 16] = [
                0x0001, 0xACCA, 0x3C0E, 0x163E, 0xC582, 0xED2E, 0x914C, 0x4012, 0x6C98, 0x10D8, 0x6A72, 0xB900, 0xFDB8,
                0xFB34, 0xFF38, 0x991E,
            ];
            let mut plain = vec![0; 65_536];
            let mut power = 1;
            for log in 0..65_535 {
                plain[power] = log;
                power = if power < 32_768 { power << 1 } else { (power << 1) ^ 0x1_002D };
            }
            let stands = |v: usize| (0..16).filter(|bit| v >> bit & 1 == 1).fold(0, |sum, bit| sum ^ basis[bit]);
            let log: Vec<usize> = (0..65_536).map(|v| plain[stands(v)]).collect();
            let mut exp = vec![0; 65_535];
            (1..=u16::MAX).for_each(|v| exp[log[usize::from(v)]] = v);
            Field { log, exp }
        }

        fn product(&self, from: u64, to: u64) -> usize {
            (from..to).map(|v| self.log[v as usize]).sum::<usize>() % 65_535
        }
    }

    #[test]
    fn the_recovery_is_what_the_format_says() {
        let field = Field::new();
        for (k, r) in [(32, 16), (48, 48), (64, 48), (16, 16)] {
            let shape = Shape::new(k, 1, r).unwrap();
            let mut encoder = BlockEncoder::new(&shape).unwrap();
            let sectors: Vec<Vec<u8>> =
                (0..k).map(|n| (0..SECTOR_BYTES as u64).map(|at| (n * 7 + at * at % 251) as u8).collect()).collect();
            sectors.iter().for_each(|sector| encoder.add(sector).unwrap());
            let mut recovery = Vec::new();
            encoder.recovery(&mut |_, sector| recovery.push(sector.to_vec())).unwrap();
            let element = |sector: &[u8], at: usize| u16::from_le_bytes([sector[at], sector[at + 32]]);
            let low = k.next_power_of_two() == r.next_power_of_two() && k != r;
            let m = if low { k } else { r }.next_power_of_two();
            for (j, at) in [(0, 0), (r - 1, 31), (r / 2, 64), (1, 2_015)] {
                let sum = (0..k).zip(&sectors).fold(0, |sum, (n, sector)| {
                    let d = element(sector, at);
                    let (chunk, between) = if low { (0, (m + j) ^ n) } else { (n / m, j ^ (m + n)) };
                    let c = field.product(m * (chunk + 1), m * (chunk + 2)) + 65_535 - field.product(1, m);
                    let log = field.log[usize::from(d)] + c + 65_535 - field.log[between as usize];
                    sum ^ if d == 0 { 0 } else { field.exp[log % 65_535] }
                });
                assert_eq!(element(&recovery[j as usize], at), sum, "K {k}, R {r}, sector {j}, byte {at}");
            }
        }
    }

    #[test]
    fn an_index_sector_is_believed_whole_and_in_its_own_place_only() {
        let waybill = Suite::Std.digest(b"waybill");
        let digests: Vec<SectorDigest> = (0..255_u8).map(|n| [n; DIGEST_BYTES]).collect();
        let sector = index_sector(&waybill, 2, 7, &digests);
        assert_eq!(sector.len(), SECTOR_BYTES);
        assert_eq!(read_index_sector(&waybill, 2, 7, &sector), Some(digests));
        assert_eq!(read_index_sector(&waybill, 2, 8, &sector), None);
        assert_eq!(read_index_sector(&waybill, 1, 7, &sector), None);
        assert_eq!(read_index_sector(&Suite::Std.digest(b"other"), 2, 7, &sector), None);
        for at in [0, 8, 2_047] {
            let mut broken = sector.clone();
            broken[at] ^= 1;
            assert_eq!(read_index_sector(&waybill, 2, 7, &broken), None);
        }
        assert_eq!(read_index_sector(&waybill, 2, 7, &sector[1..]), None);
        assert_eq!(read_index_sector(&waybill, 2, 7, &[0; SECTOR_BYTES]), None, "zeroed is not whole");
        assert_eq!(sector_digest(&[7; 100]), sector_digest(&[[7; 100].as_slice(), &[0; 1_948]].concat()));
    }
}
