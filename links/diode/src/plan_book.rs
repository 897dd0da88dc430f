//! How the blocks of the sender were cut, so that a restarted one repeats the same blocks and the symbols that the
//! receiver has already keep their worth. Appended without a sync: a book that is lost or torn costs sending again.
//!
//! ```text
//! magic "TLPB" version(1) suite(1) | records: length(4) kind(1) body check(8)
//! kind 1: a plan   kind 2: block epoch(4) number(4) rounds(4)   kind 3: retired: epoch(4) number(4)
//! kind 4: numbers announced: epoch(8) next(8)
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::Suite;
use protocol::oneway::{BlockId, NextNumber, Plan};
use spool::disk::Disk;

/// A book beyond this is written anew, if that makes it smaller, or left alone until a restart.
const BOOK_BYTES_MAX: u64 = 64 << 20;
/// Epochs of the crossing remembered; there is one for each restore of the node.
const EPOCHS_MAX: usize = 64;

/// The book, open for appending.
pub(crate) struct PlanBook {
    disk: Disk,
    path: PathBuf,
    suite: Suite,
    file: File,
    bytes: u64,
    live: BTreeMap<BlockId, (Arc<Plan>, u32)>,
    next: BTreeMap<u64, u64>,
}

impl PlanBook {
    /// Reads what there is and writes it anew. A book of another suite is not read: its digests would differ.
    pub(crate) fn open(disk: Disk, folder: &Path, suite: Suite) -> io::Result<PlanBook> {
        let path = folder.join("plans");
        let bytes = match std::fs::metadata(&path) {
            Ok(found) if found.len() <= 4 * BOOK_BYTES_MAX => std::fs::read(&path)?,
            _ => Vec::new(),
        };
        let (live, next) = parse(&bytes, suite);
        let (file, bytes) = rewrite(&disk, &path, suite, &live, &next)?;
        Ok(PlanBook { disk, path, suite, file, bytes, live, next })
    }

    /// Plans and the rounds they had.
    pub(crate) fn plans(&self) -> Vec<(Plan, u32)> {
        self.live.values().map(|(plan, sent)| ((**plan).clone(), *sent)).collect()
    }

    /// A block was cut.
    pub(crate) fn cut(&mut self, plan: &Arc<Plan>) -> io::Result<()> {
        self.live.insert(plan.id, (plan.clone(), 0));
        self.append(1, &plan.to_bytes())
    }

    /// A round of it is out.
    pub(crate) fn round(&mut self, id: BlockId, sent: u32) -> io::Result<()> {
        if let Some(kept) = self.live.get_mut(&id) {
            kept.1 = sent;
        }
        self.append(2, &[id_bytes(id).as_slice(), &sent.to_be_bytes()].concat())
    }

    /// It will not be sent again.
    pub(crate) fn retired(&mut self, id: BlockId) -> io::Result<()> {
        if self.live.remove(&id).is_none() {
            return Ok(());
        }
        self.append(3, &id_bytes(id))
    }

    /// This number of the crossing exists.
    pub(crate) fn number(&mut self, epoch: u64, sequence: u64) -> io::Result<()> {
        let next = sequence.saturating_add(1);
        if self.next.get(&epoch).is_some_and(|known| *known >= next) {
            return Ok(());
        }
        self.next.insert(epoch, next);
        if self.next.len() > EPOCHS_MAX {
            self.next.pop_first();
        }
        self.append(4, &[epoch.to_be_bytes(), next.to_be_bytes()].concat())
    }

    /// What a beacon names: the newest epochs.
    pub(crate) fn next(&self) -> Vec<NextNumber> {
        let newest = self.next.iter().rev().take(protocol::oneway::beacon::EPOCHS_MAX);
        newest.map(|(epoch, next)| NextNumber { epoch: *epoch, next: *next }).collect()
    }

    fn append(&mut self, kind: u8, body: &[u8]) -> io::Result<()> {
        if self.bytes > BOOK_BYTES_MAX {
            let (file, bytes) = rewrite(&self.disk, &self.path, self.suite, &self.live, &self.next)?;
            (self.file, self.bytes) = (file, bytes);
            if bytes > BOOK_BYTES_MAX / 2 {
                return Ok(());
            }
        }
        let record = record(self.suite, kind, body);
        self.disk.append(&mut self.file, &record)?;
        self.bytes += record.len() as u64;
        Ok(())
    }
}

type Live = BTreeMap<BlockId, (Arc<Plan>, u32)>;

fn head(suite: Suite) -> Vec<u8> {
    [b"TLPB".as_slice(), &[1, suite.code()]].concat()
}

fn id_bytes(id: BlockId) -> [u8; 8] {
    (u64::from(id.epoch) << 32 | u64::from(id.number)).to_be_bytes()
}

fn record(suite: Suite, kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("a plan has at most 4,096 pieces of 53 bytes");
    let mut out = length.to_be_bytes().to_vec();
    out.push(kind);
    out.extend_from_slice(body);
    let check = suite.digest(&out);
    out.extend(check.as_bytes().iter().take(8));
    out
}

fn rewrite(disk: &Disk, path: &Path, suite: Suite, live: &Live, next: &BTreeMap<u64, u64>) -> io::Result<(File, u64)> {
    let mut out = head(suite);
    for (id, (plan, sent)) in live {
        out.extend(record(suite, 1, &plan.to_bytes()));
        out.extend(record(suite, 2, &[id_bytes(*id).as_slice(), &sent.to_be_bytes()].concat()));
    }
    for (epoch, next) in next {
        out.extend(record(suite, 4, &[epoch.to_be_bytes(), next.to_be_bytes()].concat()));
    }
    disk.write(path, &out)?;
    Ok((disk.open_append(path)?, out.len() as u64))
}

fn parse(bytes: &[u8], suite: Suite) -> (Live, BTreeMap<u64, u64>) {
    let (mut live, mut next) = (Live::new(), BTreeMap::new());
    let Some(mut rest) = bytes.strip_prefix(head(suite).as_slice()) else { return (live, next) };
    while let Some((kind, body, after)) = read_record(rest, suite) {
        rest = after;
        match kind {
            1 => {
                if let Some(plan) = Plan::parse(body) {
                    live.insert(plan.id, (Arc::new(plan), 0));
                }
            }
            2 => {
                if let Some((id, sent)) =
                    body.split_first_chunk::<8>().and_then(|(id, sent)| Some((id, sent.try_into().ok()?)))
                {
                    live.get_mut(&read_id(id)).into_iter().for_each(|kept| kept.1 = u32::from_be_bytes(sent));
                }
            }
            3 => {
                body.first_chunk::<8>().into_iter().for_each(|id| drop(live.remove(&read_id(id))));
            }
            4 => {
                if let Some((epoch, number)) =
                    body.split_first_chunk::<8>().and_then(|(e, n)| Some((e, n.try_into().ok()?)))
                {
                    next.insert(u64::from_be_bytes(*epoch), u64::from_be_bytes(number));
                }
            }
            _ => {}
        }
    }
    (live, next)
}

fn read_id(bytes: &[u8; 8]) -> BlockId {
    let both = u64::from_be_bytes(*bytes);
    let half = |value: u64| u32::try_from(value & u64::from(u32::MAX)).unwrap_or_default();
    BlockId { epoch: half(both >> 32), number: half(both) }
}

/// The next record, or `None` at the end and at the first damage.
fn read_record(bytes: &[u8], suite: Suite) -> Option<(u8, &[u8], &[u8])> {
    let length = usize::try_from(u32::from_be_bytes(*bytes.first_chunk()?)).ok()?;
    let (whole, rest) = bytes.split_at_checked(length.checked_add(5)?)?;
    let (check, rest) = rest.split_at_checked(8)?;
    let good = suite.digest(whole).as_bytes().starts_with(check);
    let (kind, body) = whole.get(4..)?.split_first()?;
    good.then_some((*kind, body, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::oneway::{Planner, Waiting, plan::Lane};

    #[test]
    fn a_book_is_read_back_up_to_where_it_was_torn() {
        let folder = std::env::temp_dir().join(format!("trilock-book-{}", std::process::id()));
        let disk = Disk::real();
        disk.create_dir_all(&folder).expect("a folder");
        let mut planner = Planner::new(7, 65_536, 1_408, 15);
        let entry = Waiting {
            id: protocol::der_types::Octets([1; 16]),
            kind: protocol::oneway::Kind::Bundle,
            priority: protocol::parcel::Priority::Normal,
            epoch: 1,
            sequence: 9,
            bytes: 200_000,
        };
        planner.add(entry, &Default::default());
        let plans: Vec<Arc<Plan>> = std::iter::from_fn(|| planner.cut(Lane::Normal)).map(Arc::new).collect();
        let mut book = PlanBook::open(disk.clone(), &folder, Suite::Std).expect("a book");
        plans.iter().for_each(|plan| book.cut(plan).expect("kept"));
        book.round(plans[0].id, 2).expect("kept");
        book.retired(plans[1].id).expect("kept");
        book.number(1, 9).expect("kept");
        let expected = book.plans();
        let mut torn = disk.open_append(&folder.join("plans")).expect("the book");
        disk.append(&mut torn, &[0, 0, 0, 200, 1, 2, 3]).expect("torn");
        let again = PlanBook::open(disk.clone(), &folder, Suite::Std).expect("a book");
        assert_eq!((again.plans(), again.next()), (expected, vec![NextNumber { epoch: 1, next: 10 }]));
        assert_eq!(again.plans()[0].1, 2);
        assert!(PlanBook::open(disk.clone(), &folder, Suite::Gm).expect("a book").plans().is_empty());
        disk.remove_tree(&folder).expect("removed");
    }
}
