//! Heads of one node's ledger that others hold: notes and signed statements, receipts, batches, waybills, evidence, and
//! what a neighbour's own ledger says it witnessed. Only gathers; `ledger verify` holds the ledger against them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use protocol::evidence::{self, Evidence};
use protocol::keys::VerifyingKey;
use protocol::ledger::{Checkpoint, Event, NOTE_BYTES_MAX};
use protocol::receipt::{Head, Receipt, ReceiptBatch};
use protocol::suite::Digest;
use protocol::trust::Use;
use protocol::waybill::{WAYBILL_BYTES_MAX, Waybill};
use protocol::witness::HeadStatement;
use protocol::{Name, Signed, Statement, Trust};
use spool::segment::{self, Found, Frames, KeptLeaves};

use crate::audit::is_leaf;
use crate::folder::{self, Folder, FolderError, Kind};
use crate::ledger::LedgerError;

/// Heads of one run: every receipt of a large office in some years.
const HEADS_MAX: usize = 4_000_000;
/// Names in one folder: a day of evidence.
const ITEMS_MAX: usize = 1_000_000;
/// Folders in folders: evidence has four levels.
const DEPTH_MAX: usize = 32;

/// A head that somebody else holds.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    /// Its root.
    pub(crate) root: Digest,
    /// The file that says so.
    pub(crate) path: Rc<Path>,
}

/// Every head of one node that was found, by size.
#[derive(Debug)]
pub(crate) struct Heads<'a> {
    node: Name,
    log: u64,
    trust: Option<&'a Trust>,
    /// One root a size: two are a contradiction by themselves.
    pub(crate) by_size: BTreeMap<u64, Held>,
    /// Files that said something about this ledger.
    pub(crate) papers: u64,
    /// Heads of another log of the node, and which logs those are.
    pub(crate) other_logs: u64,
    pub(crate) logs: BTreeSet<u64>,
    /// Files that are ours and whose signature does not hold, or says it is somebody else's.
    pub(crate) not_believed: Vec<(PathBuf, String)>,
}

impl<'a> Heads<'a> {
    /// None yet.
    pub(crate) fn of(node: &Name, log: u64, trust: Option<&'a Trust>) -> Heads<'a> {
        Heads {
            node: node.clone(),
            log,
            trust,
            by_size: BTreeMap::new(),
            papers: 0,
            other_logs: 0,
            logs: BTreeSet::new(),
            not_believed: Vec::new(),
        }
    }

    /// Takes whatever a folder holds.
    pub(crate) fn folder(&mut self, path: &Path, depth: usize) -> Result<(), LedgerError> {
        if depth > DEPTH_MAX {
            return Err(LedgerError::Broken { path: path.to_owned(), cause: "folders that do not end".to_owned() });
        }
        let folder = Folder::open(path)?;
        let items = folder.list(ITEMS_MAX)?;
        if items.iter().any(|item| item.name == "ledger.json" && item.kind == Kind::File) {
            return self.neighbours_ledger(path);
        }
        for item in items {
            let path = path.join(&item.name);
            match item.kind {
                Kind::Folder => self.folder(&path, depth + 1)?,
                Kind::File => self.file(&path, false)?,
                Kind::Link | Kind::Special => {}
            }
        }
        Ok(())
    }

    /// Takes one file. `named` by a person, it must say something; in a folder others are passed over.
    pub(crate) fn file(&mut self, path: &Path, named: bool) -> Result<(), LedgerError> {
        let (papers, bytes) = (
            self.papers,
            match folder::read_file(path, WAYBILL_BYTES_MAX) {
                // A whole bundle holds no head and may be larger than any paper.
                Err(FolderError::TooLarge { .. }) if !named => return Ok(()),
                other => other?,
            },
        );
        let done = self.paper(path, &bytes);
        if let Err(cause) = done {
            self.not_believed.push((path.to_owned(), cause));
        }
        if named && self.papers == papers && self.not_believed.is_empty() && self.other_logs == 0 {
            let cause = format!("it holds no head of {}", self.node);
            return Err(LedgerError::Broken { path: path.to_owned(), cause });
        }
        if self.by_size.len() > HEADS_MAX {
            let cause = format!("more than {HEADS_MAX} heads; give one year at a time");
            return Err(LedgerError::Broken { path: path.to_owned(), cause });
        }
        Ok(())
    }

    fn paper(&mut self, path: &Path, bytes: &[u8]) -> Result<(), String> {
        let path: Rc<Path> = Rc::from(path);
        if bytes.starts_with(b"trilock/") && bytes.len() <= NOTE_BYTES_MAX {
            let note = String::from_utf8_lossy(bytes);
            let checkpoint = read_note(&note, self.trust)?.0;
            return if checkpoint.node == self.node { self.take(checkpoint.head, &path) } else { Ok(()) };
        }
        if bytes.starts_with(evidence::MAGIC) {
            let evidence = Evidence::parse(bytes).map_err(|e| e.to_string())?;
            return evidence.receipts.iter().try_for_each(|receipt| self.receipt(receipt, &path));
        }
        if let Some(batch) = read::<ReceiptBatch>(bytes) {
            self.believe(&batch.0, &batch.1.source)?;
            self.statement(batch.1.stated.as_bytes(), &path)?;
            return batch.1.receipts.iter().try_for_each(|receipt| self.receipt(receipt.as_bytes(), &path));
        }
        if let Some(bill) = read::<Waybill>(bytes) {
            self.believe(&bill.0, &bill.1.source)?;
            return self.statement(bill.1.stated.as_bytes(), &path);
        }
        if read::<HeadStatement>(bytes).is_some() {
            return self.statement(bytes, &path);
        }
        if read::<Receipt>(bytes).is_some() {
            return self.receipt(bytes, &path);
        }
        Ok(())
    }

    fn believe<T: Statement>(&self, signed: &ReadBack<T>, node: &Name) -> Result<(), String> {
        let Some(trust) = self.trust else { return Ok(()) };
        trust.verify_from_node::<T>(&signed.signed, node).map(drop).map_err(|e| e.to_string())
    }

    fn statement(&mut self, bytes: &[u8], path: &Rc<Path>) -> Result<(), String> {
        let Some((signed, statement)) = read::<HeadStatement>(bytes) else { return Ok(()) };
        if statement.node != self.node {
            return match statement.held {
                // The neighbour says what it holds of this ledger.
                Some(held) if statement.target == self.node => {
                    self.believe(&signed, &statement.node)?;
                    self.take(held, path)
                }
                _ => Ok(()),
            };
        }
        self.believe(&signed, &statement.node)?;
        self.take(statement.head, path)?;
        statement.links.iter().try_for_each(|link| self.take(link.from, path))
    }

    fn receipt(&mut self, bytes: &[u8], path: &Rc<Path>) -> Result<(), String> {
        let Some((signed, receipt)) = read::<Receipt>(bytes) else { return Ok(()) };
        if receipt.node != self.node {
            return Ok(());
        }
        self.believe(&signed, &receipt.node)?;
        self.take(receipt.head, path)
    }

    fn take(&mut self, head: Head, path: &Rc<Path>) -> Result<(), String> {
        if head.log != self.log {
            self.other_logs = self.other_logs.saturating_add(1);
            self.logs.insert(head.log);
            return Ok(());
        }
        self.papers = self.papers.saturating_add(1);
        match self.by_size.get(&head.size) {
            Some(known) if known.root != head.root => Err(format!(
                "at {} records it states another root than {}: {} signed two ledgers",
                head.size,
                known.path.display(),
                self.node
            )),
            Some(_) => Ok(()),
            None => {
                self.by_size.insert(head.size, Held { root: head.root, path: Rc::clone(path) });
                Ok(())
            }
        }
    }

    /// A neighbour's ledger: what it recorded as witnessed or held. Its own truth is another verification.
    fn neighbours_ledger(&mut self, dir: &Path) -> Result<(), LedgerError> {
        let read = |path: &Path, cause| LedgerError::Read { path: path.to_owned(), cause };
        let kept = KeptLeaves::of(dir);
        let is_at = |place: u64, record: &[u8]| kept.leaf(place).is_some_and(|leaf| is_leaf(&leaf, record));
        for one in segment::list(dir).map_err(|cause| read(dir, cause))? {
            let bytes = segment::load(&one.path).map_err(|cause| read(&one.path, cause))?;
            let path: Rc<Path> = Rc::from(one.path.as_path());
            for found in Frames::new(&bytes, one.first).known_by(&is_at) {
                let Found::Record(stored) = found else { continue };
                let record = stored.record;
                if record.event == Event::HeadWitnessed
                    && record.peer.as_ref() == Some(&self.node)
                    && let Some(head) = record.head
                    && let Err(cause) = self.take(head, &path)
                {
                    self.not_believed.push((one.path.clone(), cause));
                }
            }
        }
        Ok(())
    }
}

/// A signed object whose signature is still to be checked.
struct ReadBack<T> {
    signed: Signed,
    _of: std::marker::PhantomData<T>,
}

fn read<T: Statement>(bytes: &[u8]) -> Option<(ReadBack<T>, T)> {
    let signed = Signed::parse::<T>(bytes).ok()?;
    let object = signed.read_unverified::<T>().ok()?;
    Some((ReadBack { signed, _of: std::marker::PhantomData }, object))
}

/// A checkpoint note and the key that signed it. Every signing key the node ever had counts: an old note was signed by
/// an old key. Without a trust folder nobody's signature is checked.
pub(crate) fn read_note(note: &str, trust: Option<&Trust>) -> Result<(Checkpoint, Option<Digest>), String> {
    let claimed = Checkpoint::parse_unverified(note).map_err(|e| e.to_string())?;
    let Some(trust) = trust else { return Ok((claimed, None)) };
    let mut cause = format!("no signing key of {} is in the trust folder", claimed.node);
    for card in trust.cards().filter(|card| card.holder == claimed.node && card.usage == Use::Sign) {
        let key = VerifyingKey::from_spki(&card.spki).map_err(|e| e.to_string())?;
        match Checkpoint::verify(note, &claimed.node, &key) {
            Ok(checkpoint) => return Ok((checkpoint, Some(key.id()))),
            Err(error) => cause = error.to_string(),
        }
    }
    Err(cause)
}
