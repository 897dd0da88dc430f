//! How a trip is laid out on its media: which files, or which parts of them, lie on which volume, and how much parity
//! stands beside them. Planned here before the first byte is written, and read here from the signed paper of a volume.

use std::collections::HashSet;
use std::str::FromStr;

use protocol::parity::{SECTOR_BYTES, Shape};
use protocol::suite::Digest;
use protocol::trust::Role;
use protocol::volume::{PART_BYTES_MAX, PARTS_MAX, Piece, VOLUMES_MAX, Volume, piece_file_name};
use protocol::waybill::{WAYBILL_BYTES_MAX, line_file_name};
use protocol::{Signed, Trust};

use crate::copies::TIMES;
use crate::copying::Span;
use crate::folder::{Folder, FolderError};
use crate::papers::Papers;
use crate::parity;

/// The file of a volume's paper.
pub(crate) const VOLUME: &str = "volume";
/// FAT and ISO 9660 end here; a larger file is written in parts.
const FILE_BYTES_MAX: u64 = (4 << 30) - 1;
/// Parts begin where leaves of the tree digest do.
const CUT_BYTES: u64 = 65_536;
/// What a file costs beside its sectors: its names in three trees of a disc, its lines in the papers.
const FILE_COSTS_BYTES: u64 = 4_096;
/// What a volume costs beside its files: the file system's own blocks and the run-out of a disc.
const VOLUME_COSTS_BYTES: u64 = 1 << 20;

/// How large a volume is: `cd`, `dvd`, `bd25`, or bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capacity(pub(crate) u64);

impl FromStr for Capacity {
    type Err = String;
    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let bytes = match word {
            // 80 minutes; the smaller of the two layers in use (DVD+R); BD-R without spare areas.
            "cd" => 360_000 * 2_048,
            "dvd" => 2_295_104 * 2_048,
            "bd25" => 12_219_392 * 2_048,
            _ => word.parse().map_err(|_| "cd, dvd, bd25, or a number of bytes".to_owned())?,
        };
        Ok(Capacity(bytes))
    }
}

/// How a trip shall be laid out.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted {
    /// Bytes of a volume; one volume as large as it must be otherwise.
    pub(crate) capacity: Option<Capacity>,
    /// Of every hundred sectors so many are parity.
    pub(crate) parity: u8,
}

/// A trip that cannot be laid out so.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    /// Not even the papers and a little content.
    #[error("a volume of {has} bytes is too small for trip {trip}: its papers and one piece need {needs}")]
    SmallVolume { trip: u64, needs: u64, has: u64 },
    /// More media than anybody carries.
    #[error("trip {trip} needs more than {VOLUMES_MAX} volumes of {has} bytes")]
    ManyVolumes { trip: u64, has: u64 },
    /// More than parity is made for.
    #[error("a volume with parity holds at most 128 GiB; name its size with --volume")]
    LargeParity,
}

/// A file or a part of one, before it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Which line of the waybill.
    pub(crate) line: usize,
    /// 0 for the whole file.
    pub(crate) part: u64,
    /// Where in the line's file.
    pub(crate) offset: u64,
    /// Bytes.
    pub(crate) size: u64,
}

/// A volume before it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Its files, in the order of their names.
    pub(crate) cuts: Vec<Cut>,
    sectors: u64,
}

impl Plan {
    /// The shape of its parity.
    pub(crate) fn shape(&self, parity: u8) -> Result<Option<Shape>, PlanError> {
        if parity == 0 || self.sectors == 0 {
            return Ok(None);
        }
        Shape::of(self.sectors, parity).map(Some).map_err(|_| PlanError::LargeParity)
    }

    /// Bytes that it takes on a medium, with so many more of content in one more file.
    fn costs(&self, more: u64, parity: u8, papers: &Papers) -> Option<u64> {
        let grown = Plan { sectors: self.sectors + sectors_of(more), cuts: Vec::new() };
        let shape = grown.shape(parity).ok()?;
        let (data, files) = (grown.sectors * SECTOR_BYTES as u64, self.cuts.len() as u64 + 1);
        let beside = shape.as_ref().map_or(0, parity::bytes);
        Some(data + beside + files * FILE_COSTS_BYTES + papers.bytes.len() as u64 * TIMES + VOLUME_COSTS_BYTES)
    }

    fn take(&mut self, cut: Cut) {
        self.sectors += sectors_of(cut.size);
        self.cuts.push(cut);
    }
}

fn sectors_of(bytes: u64) -> u64 {
    bytes.div_ceil(SECTOR_BYTES as u64)
}

/// The lines of a waybill in the order in which their files are cut: that of their names, which stand beside them.
pub(crate) fn order(papers: &Papers) -> Vec<(String, usize)> {
    let lines = papers.waybill.lines.iter().enumerate();
    let mut order: Vec<_> = lines.map(|(place, line)| (line_file_name(line), place)).collect();
    order.sort();
    order
}

/// Lays a trip out: in the order of file names, each file whole where a volume holds it.
pub(crate) fn plan(papers: &Papers, wanted: Wanted) -> Result<Vec<Plan>, PlanError> {
    let mut planner = Planner { papers, wanted, done: Vec::new(), volume: Plan::default() };
    for (_, line) in order(papers) {
        let size = papers.waybill.lines.get(line).map_or(0, |line| line.size);
        planner.place(line, size)?;
    }
    planner.done.push(planner.volume);
    Ok(planner.done)
}

struct Planner<'a> {
    papers: &'a Papers,
    wanted: Wanted,
    done: Vec<Plan>,
    volume: Plan,
}

impl Planner<'_> {
    fn place(&mut self, line: usize, size: u64) -> Result<(), PlanError> {
        let whole = Cut { line, part: 0, offset: 0, size };
        if size <= FILE_BYTES_MAX {
            if self.fits(&self.volume, size) {
                self.volume.take(whole);
                return Ok(());
            }
            if !self.volume.cuts.is_empty() && self.fits(&Plan::default(), size) {
                self.next()?;
                self.volume.take(whole);
                return Ok(());
            }
        }
        let (mut offset, mut part) = (0, 1);
        while offset < size {
            let most = (size - offset).min(PART_BYTES_MAX);
            match self.room(most) {
                _ if part > PARTS_MAX => return Err(self.too_small()),
                0 if self.volume.cuts.is_empty() => return Err(self.too_small()),
                0 => self.next()?,
                room => {
                    self.volume.take(Cut { line, part, offset, size: room });
                    (offset, part) = (offset + room, part + 1);
                }
            }
        }
        Ok(())
    }

    fn fits(&self, volume: &Plan, bytes: u64) -> bool {
        let costs = volume.costs(bytes, self.wanted.parity, self.papers);
        costs.is_some_and(|costs| self.wanted.capacity.is_none_or(|capacity| costs <= capacity.0))
    }

    /// How much of so many bytes the volume still holds: all, or whole leaves.
    fn room(&self, bytes: u64) -> u64 {
        if self.fits(&self.volume, bytes) {
            return bytes;
        }
        let (mut holds, mut too_much) = (0, bytes.div_ceil(CUT_BYTES));
        while too_much - holds > 1 {
            let middle = holds.midpoint(too_much);
            if self.fits(&self.volume, middle * CUT_BYTES) { holds = middle } else { too_much = middle }
        }
        holds * CUT_BYTES
    }

    fn next(&mut self) -> Result<(), PlanError> {
        // Nobody asked for several: only the parity ends a volume that may be as large as it must be.
        if self.wanted.capacity.is_none() {
            return Err(PlanError::LargeParity);
        }
        if self.done.len() + 1 >= usize::from(VOLUMES_MAX) {
            return Err(PlanError::ManyVolumes { trip: self.papers.waybill.trip, has: self.capacity() });
        }
        self.done.push(std::mem::take(&mut self.volume));
        Ok(())
    }

    fn too_small(&self) -> PlanError {
        match (self.wanted.capacity, Plan::default().costs(CUT_BYTES, self.wanted.parity, self.papers)) {
            (Some(has), Some(needs)) => PlanError::SmallVolume { trip: self.papers.waybill.trip, needs, has: has.0 },
            _ => PlanError::LargeParity,
        }
    }

    fn capacity(&self) -> u64 {
        self.wanted.capacity.map_or(u64::MAX, |capacity| capacity.0)
    }
}

/// What is wrong with the paper of a volume.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VolumeError {
    /// It cannot be read.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Its form, its signature, or what it says.
    #[error("the paper of the volume in {folder}: {cause}")]
    Paper { folder: String, cause: String },
}

/// What lies on one volume.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// Which volume, from 1.
    pub(crate) number: u8,
    /// Of how many.
    pub(crate) count: u8,
    /// Its files, in the order of their names.
    pub(crate) pieces: Vec<Piece>,
    /// Of its parity.
    pub(crate) shape: Option<Shape>,
    /// The signed paper, where there is one: a trip on one medium, without parts and parity, needs none.
    pub(crate) paper: Option<Vec<u8>>,
}

impl Layout {
    /// As the volume's paper says; everything on the waybill where there is none. With a trust folder, the exporter
    /// signed it.
    pub(crate) fn read(folder: &Folder, papers: &Papers, trust: Option<&Trust>) -> Result<Layout, VolumeError> {
        let bytes = match folder.read(VOLUME, WAYBILL_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.is_missing() => return Ok(Layout::plain(papers)),
            Err(error) => return Err(error.into()),
        };
        let shown = folder.path().display().to_string();
        Layout::parse(bytes, papers, trust).map_err(|cause| VolumeError::Paper { folder: shown, cause })
    }

    /// Takes the bytes of a paper apart.
    pub(crate) fn parse(bytes: Vec<u8>, papers: &Papers, trust: Option<&Trust>) -> Result<Layout, String> {
        // 10.3.1
        let signed = Signed::parse::<Volume>(&bytes).map_err(|e| e.to_string())?;
        let volume: Volume = match trust {
            None => signed.read_unverified().map_err(|e| e.to_string())?,
            Some(trust) => {
                let (volume, card) = trust.verify::<Volume>(&signed).map_err(|e| e.to_string())?;
                if card.role == Role::Node || card.holder != volume.person {
                    return Err(format!("signed by {}; exporter {} is required", card.holder, volume.person));
                }
                volume
            }
        };
        if volume.version != protocol::parcel::VERSION {
            return Err(format!("its version is {}", volume.version));
        }
        // 10.3.2 to 10.3.6
        volume.fits(&papers.waybill, &papers.digest).map_err(|e| e.to_string())?;
        let shape = volume.shape().map_err(|e| e.to_string())?;
        Ok(Layout { number: volume.number, count: volume.count, pieces: volume.pieces, shape, paper: Some(bytes) })
    }

    /// Everything whole, in the order of the waybill.
    pub(crate) fn plain(papers: &Papers) -> Layout {
        let pieces = (0..)
            .zip(&papers.waybill.lines)
            .map(|(place, line)| Piece { line: place, part: 0, offset: 0, size: line.size, digest: line.digest })
            .collect();
        Layout { number: 1, count: 1, pieces, shape: None, paper: None }
    }

    /// Bytes of its pieces.
    pub(crate) fn bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.size).sum()
    }

    /// The piece as the file it is on this volume.
    pub(crate) fn span(&self, papers: &Papers, piece: &Piece) -> Span {
        Span {
            name: piece.name(&papers.waybill).unwrap_or_default(),
            file_bytes: piece.size,
            offset: 0,
            size: piece.size,
            digest: Some(piece.digest),
        }
    }

    /// The piece as a part of the file that it will be joined to.
    pub(crate) fn joined(&self, papers: &Papers, piece: &Piece) -> Span {
        let line = usize::try_from(piece.line).ok().and_then(|place| papers.waybill.lines.get(place));
        Span {
            name: line.map(line_file_name).unwrap_or_default(),
            file_bytes: line.map_or(0, |line| line.size),
            offset: piece.offset,
            size: piece.size,
            digest: Some(piece.digest),
        }
    }

    /// Every file of ours that belongs on the volume besides waybill, sums and `README.txt`.
    pub(crate) fn names(&self, papers: &Papers) -> HashSet<String> {
        let pieces = self.pieces.iter().filter_map(|piece| piece.name(&papers.waybill));
        let paper = self.paper.iter().map(|_| VOLUME.to_owned());
        let parity = self.shape.iter().flat_map(parity::names);
        pieces.chain(paper).chain(parity).collect()
    }
}

/// The name under which a cut is written.
pub(crate) fn cut_name(papers: &Papers, cut: &Cut) -> String {
    let line = papers.waybill.lines.get(cut.line).map(line_file_name).unwrap_or_default();
    piece_file_name(&line, cut.part)
}

/// The cut as a part of the staged file.
pub(crate) fn cut_span(papers: &Papers, cut: &Cut) -> Span {
    let line = papers.waybill.lines.get(cut.line);
    Span {
        name: line.map(line_file_name).unwrap_or_default(),
        file_bytes: line.map_or(0, |line| line.size),
        offset: cut.offset,
        size: cut.size,
        digest: line.map(|line| line.digest).filter(|_| cut.part == 0),
    }
}

/// The piece that was made of a cut.
pub(crate) fn piece(cut: &Cut, digest: Digest) -> Piece {
    Piece { line: cut.line as u64, part: cut.part, offset: cut.offset, size: cut.size, digest }
}

#[cfg(test)]
mod tests {
    use protocol::keys::SigningKey;
    use protocol::parcel::{OctetString, VERSION};
    use protocol::suite::Suite;
    use protocol::waybill::{LineKind, Waybill, WaybillLine};
    use protocol::{Crossing, Name, Timestamp};

    use super::*;

    const GIB: u64 = 1 << 30;

    fn papers(sizes: &[u64]) -> Papers {
        let name = |word: &str| Name::new(word).unwrap();
        let line = |(place, size): (u8, &u64)| WaybillLine {
            kind: LineKind::Bundle,
            id: protocol::der_types::Octets([place; 16]),
            size: *size,
            digest: Suite::Std.digest(&[place]),
            epoch: 1,
            sequence: 1,
        };
        let waybill = Waybill {
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
        };
        Papers::parse(Signed::make(&SigningKey::generate(Suite::Std), &waybill).to_bytes()).unwrap()
    }

    /// Every byte of every line lies on one volume, once, in order; no file and no volume is too large.
    fn check(papers: &Papers, plans: &[Plan], wanted: Wanted) {
        let mut reached = vec![0; papers.waybill.lines.len()];
        for plan in plans {
            let names: Vec<String> = plan.cuts.iter().map(|cut| cut_name(papers, cut)).collect();
            assert!(names.is_sorted(), "{names:?}");
            let costs = plan.costs(0, wanted.parity, papers).unwrap();
            assert!(wanted.capacity.is_none_or(|capacity| costs <= capacity.0 + FILE_COSTS_BYTES));
            for cut in &plan.cuts {
                assert!(cut.size <= FILE_BYTES_MAX && cut_name(papers, cut).len() <= 64);
                assert!(cut.offset == reached[cut.line] && cut.offset % CUT_BYTES == 0, "{cut:?}");
                reached[cut.line] += cut.size;
            }
        }
        let sizes: Vec<u64> = papers.waybill.lines.iter().map(|line| line.size).collect();
        assert_eq!(reached, sizes);
    }

    #[test]
    fn a_bundle_is_written_in_parts_from_four_gib_on_and_not_before() {
        let papers = papers(&[4 * GIB - 1, 4 * GIB, 9 * GIB + 7, 1]);
        let wanted = Wanted::default();
        let plans = plan(&papers, wanted).unwrap();
        check(&papers, &plans, wanted);
        assert_eq!(plans.len(), 1);
        let parts: Vec<(usize, u64)> = plans[0].cuts.iter().map(|cut| (cut.line, cut.part)).collect();
        assert_eq!(parts, [(0, 0), (1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (3, 0)]);
    }

    #[test]
    fn volumes_are_full_and_none_is_too_full() {
        let sizes: Vec<u64> = (0..200).map(|n| n * 7_919_111 % 300_000_000).chain([6 * GIB]).collect();
        let papers = papers(&sizes);
        let content: u64 = sizes.iter().sum();
        for word in ["cd", "dvd", "bd25", "1000000000"] {
            for parity in [0, 12, 50] {
                let wanted = Wanted { capacity: Some(word.parse().unwrap()), parity };
                let plans = plan(&papers, wanted).unwrap();
                check(&papers, &plans, wanted);
                let holds = wanted.capacity.unwrap().0 * u64::from(100 - parity) / 100;
                let least = content.div_ceil(holds);
                // A file that does not fit leaves its room to nobody.
                assert!((plans.len() as u64) <= least * 2 + 1, "{word}, {parity} %: {} for {least}", plans.len());
            }
        }
    }

    /// Receipts stand first on a waybill and are the youngest, so their name comes last.
    #[test]
    fn what_the_volumes_of_a_trip_hold_meets_end_to_end_whatever_the_order_of_its_waybill() {
        let mut papers = papers(&[400_000, 1_000, 700_000, 300_000, 2_000]);
        papers.waybill.lines.reverse();
        if let Some(line) = papers.waybill.lines.first_mut() {
            line.kind = LineKind::Receipts;
        }
        let wanted = Wanted { capacity: Some(Capacity(1_200_000)), parity: 0 };
        let plans = plan(&papers, wanted).unwrap();
        assert!(plans.len() > 1);
        let mut end = 0;
        for made in &plans {
            let pieces = made.cuts.iter().map(|cut| piece(cut, Suite::Std.digest(b""))).collect();
            let layout = Layout { pieces, ..Layout::plain(&papers) };
            let (from, through) = crate::confirm::holds(&papers, &layout);
            assert_eq!(from, end);
            end = through;
        }
        assert_eq!(end, papers.waybill.lines.iter().map(|line| line.size).sum::<u64>());
    }

    #[test]
    fn a_volume_that_holds_nothing_and_a_trip_of_too_many_are_refused() {
        let papers = papers(&[GIB]);
        let plan_of = |bytes, parity| plan(&papers, Wanted { capacity: Some(Capacity(bytes)), parity });
        assert!(matches!(plan_of(1 << 20, 0), Err(PlanError::SmallVolume { .. })));
        assert!(matches!(plan_of((1 << 20) + 200_000, 0), Err(PlanError::ManyVolumes { .. })));
        assert!(matches!(
            plan(&self::papers(&[4 * GIB - 1; 40]), Wanted { capacity: None, parity: 12 }),
            Err(PlanError::LargeParity)
        ));
    }
}
