//! One volume of a trip: which files of the waybill, or which parts of them, lie on this medium, and what repairs them.
//!
//! The waybill says what travels; this says how it is laid out, and is signed by the person who wrote the medium. It can
//! promise nothing: what is read is believed by the digests of the waybill alone.

use crate::name::Name;
use crate::parity::{BadShape, Shape};
use crate::signed::Statement;
use crate::suite::Digest;
use crate::time::Timestamp;
use crate::waybill::{WAYBILL_BYTES_MAX, WAYBILL_LINES_MAX, Waybill, line_file_name};

/// Volumes of one trip: its number has a byte. 255 discs are more than one person carries.
pub const VOLUMES_MAX: u8 = u8::MAX;
/// Pieces of one volume: every line of the largest waybill, and a part of a large bundle at each end and between.
pub const PIECES_MAX: usize = WAYBILL_LINES_MAX + 1_024;
/// Parts of one bundle: three digits of a file name, 4 TiB.
pub const PARTS_MAX: u64 = 999;
/// FAT and ISO 9660 hold files of 4 GiB - 1; a part has whole leaves of the tree digest.
pub const PART_BYTES_MAX: u64 = (4 << 30) - 65_536;

/// One file on a volume.
#[derive(Clone, Debug, PartialEq, Eq, der::Sequence)]
pub struct Piece {
    /// Which line of the waybill, from 0.
    pub line: u64,
    /// 0 for the whole file, else which part of it, from 1.
    pub part: u64,
    /// Where in the file of the line it begins.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
    /// Its tree digest.
    pub digest: Digest,
}

/// What the exporter signs about one volume.
#[derive(Clone, Debug, PartialEq, Eq, der::Sequence)]
pub struct Volume {
    /// [`crate::parcel::VERSION`].
    pub version: u8,
    /// Digest of the signed waybill.
    pub waybill: Digest,
    /// The trip, for people.
    pub trip: u64,
    /// The exporter of the waybill.
    pub person: Name,
    /// When.
    pub at: Timestamp,
    /// Which volume, from 1.
    pub number: u8,
    /// Of how many.
    pub count: u8,
    /// Blocks of the parity; 0 where there is none.
    pub blocks: u64,
    /// Recovery sectors of each block.
    pub recovery: u64,
    /// What lies on it, in the order of file names.
    pub pieces: Vec<Piece>,
}

impl Statement for Volume {
    const DOMAIN: &'static str = "trilock-v1-volume";
    const WHAT: &'static str = "volume";
    const BYTES_MAX: usize = WAYBILL_BYTES_MAX;
    fn version(&self) -> u8 {
        self.version
    }
}

/// Why a volume is none of a waybill's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VolumeFault {
    /// Of another trip, or written by somebody else than the exporter.
    #[error("it belongs to another waybill or person")]
    Foreign,
    /// Its own number.
    #[error("volume {number} of {count} cannot be")]
    Number {
        /// Which.
        number: u8,
        /// Of how many.
        count: u8,
    },
    /// More than there can be.
    #[error("{found} pieces are over the limit of {PIECES_MAX}")]
    TooMany {
        /// How many.
        found: usize,
    },
    /// A piece of nothing, of another size or digest than its line, or out of order.
    #[error("piece {place} does not fit the waybill")]
    Piece {
        /// Which, from 0.
        place: usize,
    },
    /// The only volume of a trip lacks a line, or bytes of one, or has them twice.
    #[error("line {line} of the waybill is not whole on the only volume")]
    Gap {
        /// Which, from 0.
        line: usize,
    },
    /// The parity.
    #[error(transparent)]
    Shape(#[from] BadShape),
}

impl Volume {
    /// Steps 2 to 6 of section 10.3 of FORMAT.md: does it fit this waybill?
    pub fn fits(&self, waybill: &Waybill, digest: &Digest) -> Result<(), VolumeFault> {
        // 10.3.2
        if self.waybill != *digest || self.trip != waybill.trip || self.person != waybill.exporter {
            return Err(VolumeFault::Foreign);
        }
        // 10.3.3
        if self.number == 0 || self.number > self.count {
            return Err(VolumeFault::Number { number: self.number, count: self.count });
        }
        // 10.3.4
        if self.pieces.len() > PIECES_MAX {
            return Err(VolumeFault::TooMany { found: self.pieces.len() });
        }
        // 10.3.5
        let mut before = String::new();
        for (place, piece) in self.pieces.iter().enumerate() {
            let name = piece.name(waybill).filter(|name| *name > before && piece.fits(waybill));
            before = name.ok_or(VolumeFault::Piece { place })?;
        }
        if self.count == 1 {
            self.covers(waybill)?;
        }
        // 10.3.6
        self.shape()?;
        Ok(())
    }

    /// The pieces of each line, in their order, are all of it and nothing twice: the only volume holds the whole trip.
    fn covers(&self, waybill: &Waybill) -> Result<(), VolumeFault> {
        let mut reached = vec![None; waybill.lines.len()];
        for piece in &self.pieces {
            let line = usize::try_from(piece.line).unwrap_or(usize::MAX);
            let Some(reached) = reached.get_mut(line) else { return Err(VolumeFault::Gap { line }) };
            if reached.unwrap_or(0) != piece.offset {
                return Err(VolumeFault::Gap { line });
            }
            *reached = piece.offset.checked_add(piece.size);
        }
        let gap = reached.iter().zip(&waybill.lines).position(|(reached, line)| *reached != Some(line.size));
        gap.map_or(Ok(()), |line| Err(VolumeFault::Gap { line }))
    }

    /// The shape of its parity, where it has one.
    pub fn shape(&self) -> Result<Option<Shape>, BadShape> {
        if self.blocks == 0 && self.recovery == 0 {
            return Ok(None);
        }
        let sectors = self.pieces.iter().map(Piece::sectors).fold(0, u64::saturating_add);
        Shape::new(sectors, self.blocks, self.recovery).map(Some)
    }
}

impl Piece {
    /// Its file name, where the waybill has its line.
    #[must_use]
    pub fn name(&self, waybill: &Waybill) -> Option<String> {
        let line = waybill.lines.get(usize::try_from(self.line).ok()?)?;
        Some(piece_file_name(&line_file_name(line), self.part))
    }

    /// Sectors that it fills, the last one perhaps in part.
    #[must_use]
    pub fn sectors(&self) -> u64 {
        self.size.div_ceil(crate::parity::SECTOR_BYTES as u64)
    }

    fn fits(&self, waybill: &Waybill) -> bool {
        let line = usize::try_from(self.line).ok().and_then(|place| waybill.lines.get(place));
        line.is_some_and(|line| match self.part {
            0 => (self.offset, self.size, self.digest) == (0, line.size, line.digest),
            1..=PARTS_MAX => {
                let end = self.offset.checked_add(self.size);
                self.size > 0 && end.is_some_and(|end| end <= line.size)
            }
            _ => false,
        })
    }
}

/// The file name of a line, or of a part of it: at most 64 ASCII characters.
#[must_use]
pub fn piece_file_name(line: &str, part: u64) -> String {
    if part == 0 { line.to_owned() } else { format!("{line}.{part:03}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::der_types::Octets;
    use crate::parcel::{OctetString, VERSION};
    use crate::suite::Suite;
    use crate::waybill::{LineKind, WaybillLine};
    use crate::zone::Crossing;

    fn waybill(sizes: &[u64]) -> Waybill {
        let name = |word: &str| Name::new(word).unwrap();
        let line = |(place, size): (u8, &u64)| WaybillLine {
            kind: LineKind::Bundle,
            id: Octets([place; 16]),
            size: *size,
            digest: Suite::Std.digest(&[place]),
            epoch: 1,
            sequence: 1,
        };
        Waybill {
            version: VERSION,
            trip: 17,
            crossing: Crossing::IntranetToExtranet,
            source: name("intranet"),
            target: name("extranet"),
            medium: name("disc"),
            carrier: name("wu"),
            exporter: name("ma"),
            approvals: 2,
            at: Timestamp(1),
            stated: OctetString::new(Vec::new()).unwrap(),
            lines: (1..).zip(sizes).map(line).collect(),
        }
    }

    fn fits(bill: &Waybill, count: u8, pieces: &[(u64, u64, u64, u64)]) -> Result<(), VolumeFault> {
        let digest = Suite::Std.digest(b"waybill");
        let piece = |(line, part, offset, size): &(u64, u64, u64, u64)| Piece {
            line: *line,
            part: *part,
            offset: *offset,
            size: *size,
            digest: Suite::Std.digest(&[u8::try_from(*line).unwrap() + 1]),
        };
        let pieces = pieces.iter().map(piece).collect();
        let (person, at) = (bill.exporter.clone(), Timestamp(2));
        let (trip, number, blocks, recovery) = (bill.trip, 1, 0, 0);
        Volume { version: VERSION, waybill: digest, trip, person, at, number, count, blocks, recovery, pieces }
            .fits(bill, &digest)
    }

    #[test]
    fn the_only_volume_holds_every_byte_of_every_line_once() {
        let bill = waybill(&[10, 0, 7]);
        let whole = [(0, 0, 0, 10), (1, 0, 0, 0), (2, 0, 0, 7)];
        assert_eq!(fits(&bill, 1, &whole), Ok(()));
        assert_eq!(fits(&bill, 1, &[(0, 1, 0, 4), (0, 2, 4, 6), (1, 0, 0, 0), (2, 0, 0, 7)]), Ok(()));
        for (line, pieces) in [
            (0, &[][..]),
            (0, &whole[1..]),
            (1, &[whole[0], whole[2]][..]),
            (2, &whole[..2]),
            (0, &[(0, 1, 0, 4), whole[1], whole[2]][..]),
            (0, &[(0, 1, 1, 9), whole[1], whole[2]][..]),
            (0, &[(0, 1, 0, 4), (0, 2, 5, 5), whole[1], whole[2]][..]),
            (0, &[(0, 1, 0, 4), (0, 2, 3, 7), whole[1], whole[2]][..]),
            (0, &[whole[0], (0, 1, 0, 10), whole[1], whole[2]][..]),
        ] {
            assert_eq!(fits(&bill, 1, pieces), Err(VolumeFault::Gap { line }), "{pieces:?}");
            assert!(fits(&bill, 2, pieces).is_ok(), "the rest of it may lie on another: {pieces:?}");
        }
    }
}
