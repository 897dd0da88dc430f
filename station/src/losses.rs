//! What neighbours' papers tell a node that lost its disk: evidence and receipt batches name parcels that were here, the
//! epochs it used, and how far its ledger had come. Everything is proven with key cards before it is believed.
//!
//! Pure apart from reading the files; decides nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use protocol::evidence::{Evidence, MAGIC};
use protocol::ledger::{Event, Record};
use protocol::receipt::{Head, Outcome, Receipt, ReceiptBatch};
use protocol::{Name, ParcelId, Signed, Statement as _, Timestamp, Trust};

use crate::desk::read_small;

/// Papers looked at: the evidence of a busy day has some tens of thousands.
const PAPERS_MAX: usize = 1_000_000;
/// Folders in folders: `evidence/YYYY/MM/DD` is four.
const DEPTH_MAX: u32 = 8;
/// Names of entries hold eight hex digits of an epoch; a larger one is none of ours.
const EPOCH_MAX: u64 = u32::MAX as u64;

/// What the papers say.
#[derive(Debug, Default)]
pub struct Losses {
    /// Papers that were proven.
    pub proven: u64,
    /// Files that were no paper, or did not prove anything.
    pub passed_over: u64,
    /// The newest epoch of this node that a paper names.
    pub epoch: u64,
    /// The largest head of this node's ledger that it ever signed in a receipt.
    pub head: Head,
    /// Parcels that were here, each as the record that says so.
    pub parcels: BTreeMap<ParcelId, Record>,
}

impl Losses {
    /// Reads files and folders.
    pub fn read(paths: &[PathBuf], trust: &Trust, node: &Name, now: Timestamp) -> std::io::Result<Losses> {
        let mut losses = Losses::default();
        for path in paths {
            losses.take(path, trust, node, now, DEPTH_MAX)?;
        }
        Ok(losses)
    }

    /// Records that the ledger had and that a head of it does not cover, at least.
    #[must_use]
    pub fn lost_records(&self, head: &Head) -> u64 {
        if self.head.log > head.log { self.head.size } else { self.head.size.saturating_sub(head.size) }
    }

    fn take(&mut self, path: &Path, trust: &Trust, node: &Name, now: Timestamp, depth: u32) -> std::io::Result<()> {
        if std::fs::metadata(path)?.is_dir() {
            if depth > 0 {
                for entry in std::fs::read_dir(path)? {
                    self.take(&entry?.path(), trust, node, now, depth - 1)?;
                }
            }
            return Ok(());
        }
        if self.parcels.len() >= PAPERS_MAX {
            return Err(std::io::Error::other(format!("more than {PAPERS_MAX} parcels in the papers")));
        }
        let known = read_small(path, ReceiptBatch::BYTES_MAX as u64).ok().and_then(|bytes| {
            if bytes.starts_with(MAGIC) {
                self.evidence(&bytes, trust, node, now)
            } else {
                self.batch(&bytes, trust, node, now)
            }
        });
        match known {
            Some(()) => self.proven += 1,
            None => self.passed_over += 1,
        }
        Ok(())
    }

    /// A bundle between this node and a neighbour, with the receipts for it.
    fn evidence(&mut self, bytes: &[u8], trust: &Trust, node: &Name, now: Timestamp) -> Option<()> {
        let proven = Evidence::parse(bytes).ok()?.prove(trust).ok()?;
        let (envelope, statement) = (&proven.envelope, &proven.custody.statement);
        let mut record = Record::new(Event::LostKnown, now);
        record.parcel = Some(statement.parcel);
        record.bundle = Some(envelope.bundle);
        record.origin = Some(statement.origin.clone());
        record.route = Some(statement.route.clone());
        record.parcel_type = Some(statement.parcel_type.clone());
        record.crossing = Some(envelope.crossing);
        record.digest = Some(proven.custody.statement_digest);
        if envelope.source == *node {
            self.epoch = self.epoch.max(envelope.epoch);
            record.peer = Some(envelope.target.clone());
            record.outcome = last(&proven.receipts);
            self.known(record);
        } else if envelope.target == *node {
            let own: Vec<Receipt> = proven.receipts.into_iter().filter(|receipt| receipt.node == *node).collect();
            for receipt in &own {
                if (receipt.head.log, receipt.head.size) > (self.head.log, self.head.size) {
                    self.head = receipt.head;
                }
            }
            // Without our receipt it was never ours: it comes again by itself.
            if !own.is_empty() {
                record.peer = Some(envelope.source.clone());
                record.epoch = Some(envelope.epoch);
                record.sequence = Some(envelope.sequence);
                record.outcome = last(&own);
                self.known(record);
            }
        }
        Some(())
    }

    /// Receipts of neighbours for what went on from here.
    fn batch(&mut self, bytes: &[u8], trust: &Trust, node: &Name, now: Timestamp) -> Option<()> {
        let signed = Signed::parse::<ReceiptBatch>(bytes).ok()?;
        let claimed: ReceiptBatch = signed.read_unverified().ok()?;
        let batch: ReceiptBatch = trust.verify_from_node(&signed, &claimed.source).ok()?;
        if batch.target != *node {
            return None;
        }
        for signed in batch.read_receipts().ok()? {
            let Ok(claimed) = signed.read_unverified::<Receipt>() else { continue };
            let Ok(receipt) = trust.verify_from_node::<Receipt>(&signed, &claimed.node) else { continue };
            if receipt.node != batch.source {
                continue;
            }
            self.epoch = self.epoch.max(receipt.epoch.min(EPOCH_MAX));
            let mut record = Record::new(Event::LostKnown, now);
            record.parcel = Some(receipt.parcel);
            record.bundle = Some(receipt.bundle);
            record.peer = Some(receipt.node);
            record.crossing = Some(receipt.crossing);
            record.outcome = Some(receipt.outcome);
            record.reason = receipt.reason;
            record.digest = Some(receipt.statement);
            self.known(record);
        }
        Some(())
    }

    /// How a parcel came says more than how it went: it has numbers, and they close gaps.
    fn known(&mut self, record: Record) {
        let Some(parcel) = record.parcel else { return };
        let better = self.parcels.get(&parcel).is_none_or(|before| {
            (before.sequence.is_none(), before.route.is_none()) > (record.sequence.is_none(), record.route.is_none())
        });
        if better {
            self.parcels.insert(parcel, record);
        }
    }
}

/// What became of it: the end, where a receipt tells of one.
fn last(receipts: &[Receipt]) -> Option<Outcome> {
    let ended = |receipt: &&Receipt| !matches!(receipt.outcome, Outcome::Arrived | Outcome::Duplicate);
    receipts.iter().find(ended).or_else(|| receipts.first()).map(|receipt| receipt.outcome)
}
