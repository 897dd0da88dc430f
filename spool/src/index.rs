//! The lookup over the ledger: parcels, bundles, labels, counts and numbers, in one redb file. Decides nothing, and may
//! be deleted at any time: the ledger gives it again.
//!
//! Groups of records are committed without a sync and with the number of records applied; now and then a commit is
//! durable. After a crash redb stands at its last durable commit and the ledger supplies the rest. So dying anywhere is
//! safe: applied records and applied-up-to change in one transaction. Where an apply failed (a full disk), the record is
//! durable all the same; the index is behind, and no question is answered before it has caught up.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use protocol::ledger::{Event, Local, Record};
use protocol::parcel::Label;
use protocol::receipt::Head;
use protocol::{BundleId, Name, ParcelId, Timestamp};
use redb::{Database, Durability, ReadableDatabase as _, ReadableTable as _, TableDefinition, WriteTransaction};

use crate::gaps::{Book, RowKey, takes_number};
use crate::ledger::{Item, Ledger};
use crate::spool::{SpoolError, locked};
use crate::state::{ParcelState, Row, State};

const PARCELS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("parcels");
/// Bundle id to: was it taken here (0 or 1), then the parcel's id where there is one.
const BUNDLES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("bundles");
/// Label name, 0, value, 0, parcel id.
const LABELS: TableDefinition<'_, &[u8], ()> = TableDefinition::new("labels");
/// "route state" to a number of parcels.
const COUNTS: TableDefinition<'_, &str, u64> = TableDefinition::new("counts");
const NUMBERS: TableDefinition<'_, &[u8], u64> = TableDefinition::new("numbers");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const HEADS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("heads");

/// Another form of rows: an older index is built anew.
const VERSION: u64 = 1;
/// Records between two durable commits: what a start after a crash applies again, well under a second.
const DURABLE_RECORDS: u64 = 2_048;
/// Records in one transaction while catching up; bounds memory.
const CATCH_UP_RECORDS: usize = 4_096;
/// Rows that one listing looks at before it gives up searching; a filter that fits few rows of many is cut there.
const SCAN_MAX: usize = 1_000_000;

/// Which parcels are asked for. Nothing set is all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// On this route.
    pub route: Option<Name>,
    /// In this state.
    pub state: Option<State>,
    /// Of this registered type.
    pub parcel_type: Option<Name>,
    /// First recorded at this moment or later.
    pub since: Option<Timestamp>,
    /// First recorded before this moment.
    pub until: Option<Timestamp>,
    /// With exactly this label.
    pub label: Option<Label>,
    /// Older than this parcel: the next page.
    pub before: Option<ParcelId>,
}

impl Filter {
    fn fits(&self, of: &ParcelState) -> bool {
        self.route.as_ref().is_none_or(|route| *route == of.route)
            && self.state.is_none_or(|state| state == of.state)
            && self.parcel_type.as_ref().is_none_or(|kind| *kind == of.parcel_type)
            && self.since.is_none_or(|since| of.first >= since)
            && self.until.is_none_or(|until| of.first < until)
            && self.label.as_ref().is_none_or(|label| of.labels.contains(label))
    }
}

/// The index of one node.
pub(crate) struct Index {
    path: PathBuf,
    node: Name,
    db: Database,
    book: Mutex<Book>,
    behind: AtomicBool,
    epoch: AtomicU64,
}

impl Index {
    /// Opens the index, or makes it anew where it is missing, damaged, of another form or of another ledger; then
    /// applies what the ledger has more.
    pub(crate) fn open(
        dir: &Path,
        node: &Name,
        cache_bytes: usize,
        ledger: &Ledger,
        disk: &crate::disk::Disk,
    ) -> Result<Index, SpoolError> {
        let path = dir.join("index.redb");
        if let Some(index) = Index::reopen(&path, node, cache_bytes, ledger) {
            return Ok(index);
        }
        // Somebody may have thrown the folder away with the file: all of it can be made again from the ledger.
        disk.create_dir_private(dir).map_err(|source| SpoolError::disk(dir, source))?;
        disk.remove_file(&path).map_err(|source| SpoolError::disk(&path, source))?;
        let index = Index::open_file(&path, node, cache_bytes)?;
        let mut book = locked(&index.book);
        index.apply_former(&mut book, ledger)?;
        index.catch_up(&mut book, ledger)?;
        drop(book);
        Ok(index)
    }

    /// The index as it lies there, if it is sound and belongs to this ledger.
    fn reopen(path: &Path, node: &Name, cache_bytes: usize, ledger: &Ledger) -> Option<Index> {
        fs::metadata(path).ok()?;
        let index = Index::open_file(path, node, cache_bytes).ok()?;
        let (version, applied) = (index.meta("version").ok()?, index.meta("applied").ok()?);
        // An index that says of no log is of the first; one whose former logs are not all applied says of none either.
        let log = index.meta("log").ok()?.max(protocol::ledger::FIRST_LOG);
        let root = index.read(|txn| {
            let heads = txn.open_table(HEADS)?;
            Ok(heads.get("applied")?.map(|root| root.value().to_vec()))
        });
        let root = root.ok()?;
        let of_this_ledger = applied == 0
            || (applied <= ledger.head().size && ledger.root_at(applied).ok().map(|r| r.0.to_vec()) == root);
        if version != VERSION || log != ledger.log() || !of_this_ledger {
            return None;
        }
        let mut book = locked(&index.book);
        index.catch_up(&mut book, ledger).ok()?;
        drop(book);
        Some(index)
    }

    fn open_file(path: &Path, node: &Name, cache_bytes: usize) -> Result<Index, SpoolError> {
        let broken = |error: redb::Error| SpoolError::Index { path: path.to_owned(), cause: error.to_string() };
        let db = Database::builder().set_cache_size(cache_bytes).create(path).map_err(|error| broken(error.into()))?;
        let index = Index {
            path: path.to_owned(),
            node: node.clone(),
            db,
            book: Mutex::default(),
            behind: AtomicBool::new(false),
            epoch: AtomicU64::new(0),
        };
        // Every table exists from now on, so that reading never meets a missing one.
        index.write(true, |txn| {
            txn.open_table(PARCELS)?;
            txn.open_table(BUNDLES)?;
            txn.open_table(LABELS)?;
            txn.open_table(COUNTS)?;
            txn.open_table(NUMBERS)?;
            txn.open_table(HEADS)?;
            let mut meta = txn.open_table(META)?;
            if meta.get("version")?.is_none() {
                meta.insert("version", VERSION)?;
            }
            Ok(())
        })?;
        Ok(index)
    }

    fn fault(&self, error: redb::Error) -> SpoolError {
        SpoolError::Index { path: self.path.clone(), cause: error.to_string() }
    }

    fn read<T>(&self, ask: impl FnOnce(&redb::ReadTransaction) -> Result<T, redb::Error>) -> Result<T, SpoolError> {
        self.db.begin_read().map_err(redb::Error::from).and_then(|txn| ask(&txn)).map_err(|error| self.fault(error))
    }

    fn write<T>(
        &self,
        durable: bool,
        act: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, SpoolError> {
        let run = || {
            let mut txn = self.db.begin_write()?;
            if durable {
                // Costs a little here and saves walking the whole file after a crash.
                txn.set_quick_repair(true);
            } else {
                txn.set_durability(Durability::None)?;
            }
            let done = act(&txn)?;
            txn.commit()?;
            Ok::<T, redb::Error>(done)
        };
        run().map_err(|error| self.fault(error))
    }

    fn meta(&self, key: &str) -> Result<u64, SpoolError> {
        self.read(|txn| Ok(txn.open_table(META)?.get(key)?.map_or(0, |value| value.value())))
    }

    /// The largest epoch this node ever started.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// Takes a group of records that just became durable. Never fails: an index that could not follow is behind.
    pub(crate) fn apply(&self, first: u64, items: &[Item], head: Head, ledger: &Ledger) {
        let mut book = locked(&self.book);
        let done = self.meta("applied").and_then(|applied| {
            if applied != first || self.behind.load(Ordering::SeqCst) {
                return self.catch_up(&mut book, ledger);
            }
            let items: Vec<(&Record, &Local)> = items.iter().map(|item| (&item.record, &item.local)).collect();
            let end = first + items.len() as u64;
            self.apply_items(&mut book, &items, end, head, first / DURABLE_RECORDS != end / DURABLE_RECORDS)
        });
        self.behind.store(done.is_err(), Ordering::SeqCst);
    }

    /// Reads the numbers from the rows and applies whatever the ledger has more.
    fn catch_up(&self, book: &mut Book, ledger: &Ledger) -> Result<(), SpoolError> {
        *book = self.load_book()?;
        self.epoch.store(self.meta("epoch")?, Ordering::SeqCst);
        let applied = self.meta("applied")?;
        let head = ledger.head();
        if applied >= head.size {
            return Ok(());
        }
        let mut waiting: Vec<(Record, Local)> = Vec::new();
        let mut end = applied;
        let mut flush = |waiting: &mut Vec<(Record, Local)>, end: u64| {
            let items: Vec<(&Record, &Local)> = waiting.iter().map(|(record, local)| (record, local)).collect();
            let root = if end == head.size { head.root } else { ledger.root_at(end)? };
            self.apply_items(book, &items, end, Head { size: end, root }, true)?;
            waiting.clear();
            Ok::<(), SpoolError>(())
        };
        ledger.read_from(applied, &mut |stored| {
            if stored.index >= head.size {
                return Ok(());
            }
            waiting.push((stored.record, stored.local.map(|(_, local)| local).unwrap_or_default()));
            end = stored.index + 1;
            if waiting.len() >= CATCH_UP_RECORDS { flush(&mut waiting, end) } else { Ok(()) }
        })?;
        flush(&mut waiting, head.size)
    }

    /// Applies the logs before this one to an empty index, then says that it did.
    fn apply_former(&self, book: &mut Book, ledger: &Ledger) -> Result<(), SpoolError> {
        let none = Head { size: 0, root: ledger.root_at(0)? };
        let mut waiting: Vec<(Record, Local)> = Vec::new();
        let flush = |book: &mut Book, waiting: &mut Vec<(Record, Local)>| {
            let items: Vec<(&Record, &Local)> = waiting.iter().map(|(record, local)| (record, local)).collect();
            self.apply_items(book, &items, 0, none, true)?;
            waiting.clear();
            Ok::<(), SpoolError>(())
        };
        ledger.read_former(&mut |stored| {
            waiting.push((stored.record, stored.local.map(|(_, local)| local).unwrap_or_default()));
            if waiting.len() >= CATCH_UP_RECORDS { flush(book, &mut waiting) } else { Ok(()) }
        })?;
        flush(book, &mut waiting)?;
        self.write(true, |txn| {
            txn.open_table(META)?.insert("log", ledger.log())?;
            Ok(())
        })
    }

    fn load_book(&self) -> Result<Book, SpoolError> {
        self.read(|txn| {
            let mut book = Book::default();
            for row in txn.open_table(NUMBERS)?.iter()? {
                let (key, to) = row?;
                if let Some(key) = RowKey::from_bytes(key.value()) {
                    book.load(&key, to.value());
                }
            }
            Ok(book)
        })
    }

    fn apply_items(
        &self,
        book: &mut Book,
        items: &[(&Record, &Local)],
        end: u64,
        head: Head,
        durable: bool,
    ) -> Result<(), SpoolError> {
        let mut epoch = self.epoch();
        self.write(durable, |txn| {
            let mut numbers = txn.open_table(NUMBERS)?;
            for (record, local) in items {
                self.apply_parcel(txn, record, local)?;
                for (key, to) in book.apply(record) {
                    match to {
                        Some(to) => drop(numbers.insert(&key.to_bytes()[..], to)?),
                        None => drop(numbers.remove(&key.to_bytes()[..])?),
                    }
                }
                if matches!(record.event, Event::EpochStarted | Event::LogBegun) {
                    epoch = epoch.max(record.epoch.unwrap_or(0));
                }
            }
            let mut meta = txn.open_table(META)?;
            meta.insert("applied", end)?;
            meta.insert("epoch", epoch)?;
            txn.open_table(HEADS)?.insert("applied", &head.root.0[..])?;
            Ok(())
        })?;
        self.epoch.store(epoch, Ordering::SeqCst);
        Ok(())
    }

    fn apply_parcel(&self, txn: &WriteTransaction, record: &Record, local: &Local) -> Result<(), redb::Error> {
        if let Some(bundle) = record.bundle {
            let taken = takes_number(record) || record.event == Event::Replayed;
            let mut bundles = txn.open_table(BUNDLES)?;
            let before = bundles.get(&bundle.0[..])?.map(|row| row.value().to_vec()).unwrap_or_default();
            let was_taken = before.first() == Some(&1);
            let parcel = before.get(1..).filter(|parcel| !parcel.is_empty()).map(<[u8]>::to_vec);
            let parcel = parcel.or_else(|| record.parcel.map(|parcel| parcel.0.to_vec())).unwrap_or_default();
            let row = [&[u8::from(was_taken || taken)][..], &parcel].concat();
            if row != before {
                bundles.insert(&bundle.0[..], &row[..])?;
            }
        }
        let Some(parcel) = record.parcel else { return Ok(()) };
        let mut parcels = txn.open_table(PARCELS)?;
        let before = parcels.get(&parcel.0[..])?.and_then(|row| read_row(parcel, row.value()));
        let mut state = match before.clone().or_else(|| ParcelState::first(record, &self.node)) {
            Some(state) => state,
            None => return Ok(()),
        };
        state.apply(record, local);
        if before.as_ref() == Some(&state) {
            return Ok(());
        }
        let row = serde_json::to_vec(&Row::from(&state)).unwrap_or_default();
        parcels.insert(&parcel.0[..], &row[..])?;
        let (old, new) = (before.as_ref().map(count_key), count_key(&state));
        if old.as_ref() != Some(&new) {
            let mut counts = txn.open_table(COUNTS)?;
            if let Some(old) = old {
                let left = counts.get(old.as_str())?.map_or(0, |count| count.value()).saturating_sub(1);
                counts.insert(old.as_str(), left)?;
            }
            let more = counts.get(new.as_str())?.map_or(0, |count| count.value()) + 1;
            counts.insert(new.as_str(), more)?;
        }
        if before.as_ref().is_none_or(|before| before.labels != state.labels) {
            let mut labels = txn.open_table(LABELS)?;
            for label in before.iter().flat_map(|before| &before.labels) {
                labels.remove(&label_key(label, &parcel.0)[..])?;
            }
            for label in &state.labels {
                labels.insert(&label_key(label, &parcel.0)[..], ())?;
            }
        }
        Ok(())
    }

    /// Catches up where an apply failed before.
    fn settle(&self, ledger: &Ledger) -> Result<(), SpoolError> {
        if self.behind.load(Ordering::SeqCst) {
            let mut book = locked(&self.book);
            self.catch_up(&mut book, ledger)?;
            self.behind.store(false, Ordering::SeqCst);
        }
        Ok(())
    }

    /// The numbers.
    pub(crate) fn book<T>(&self, ledger: &Ledger, ask: impl FnOnce(&mut Book) -> T) -> Result<T, SpoolError> {
        self.settle(ledger)?;
        Ok(ask(&mut locked(&self.book)))
    }

    pub(crate) fn parcel(&self, id: &ParcelId, ledger: &Ledger) -> Result<Option<ParcelState>, SpoolError> {
        self.settle(ledger)?;
        self.read(|txn| Ok(txn.open_table(PARCELS)?.get(&id.0[..])?.and_then(|row| read_row(*id, row.value()))))
    }

    pub(crate) fn parcels(
        &self,
        filter: &Filter,
        limit: usize,
        ledger: &Ledger,
    ) -> Result<Vec<ParcelState>, SpoolError> {
        self.settle(ledger)?;
        self.read(|txn| {
            let parcels = txn.open_table(PARCELS)?;
            let mut found = Vec::new();
            let end = filter.before.map_or([0xff; 16], |before| before.0);
            if let Some(label) = &filter.label {
                let (low, high) = (label_key(label, &[]), label_key(label, &end));
                for row in txn.open_table(LABELS)?.range(&low[..]..&high[..])?.rev().take(SCAN_MAX) {
                    let (key, ()) = row.map(|(key, _)| (key, ()))?;
                    let Some(id) = key.value().last_chunk::<16>().map(|id| protocol::der_types::Octets(*id)) else {
                        continue;
                    };
                    let state = parcels.get(&id.0[..])?.and_then(|row| read_row(id, row.value()));
                    found.extend(state.filter(|state| filter.fits(state)));
                    if found.len() >= limit {
                        break;
                    }
                }
                return Ok(found);
            }
            for row in parcels.range::<&[u8]>(..&end[..])?.rev().take(SCAN_MAX) {
                if found.len() >= limit {
                    break;
                }
                let (key, row) = row?;
                let id = ParcelId::from_slice(key.value());
                found.extend(id.and_then(|id| read_row(id, row.value())).filter(|state| filter.fits(state)));
            }
            Ok(found)
        })
    }

    /// Was this bundle taken here, and whose parcel is it?
    pub(crate) fn bundle(&self, id: &BundleId, ledger: &Ledger) -> Result<(bool, Option<ParcelId>), SpoolError> {
        self.settle(ledger)?;
        self.read(|txn| {
            let row = txn.open_table(BUNDLES)?.get(&id.0[..])?.map(|row| row.value().to_vec()).unwrap_or_default();
            Ok((row.first() == Some(&1), row.get(1..).and_then(ParcelId::from_slice)))
        })
    }

    pub(crate) fn counts(&self, ledger: &Ledger) -> Result<BTreeMap<(Name, State), u64>, SpoolError> {
        self.settle(ledger)?;
        self.read(|txn| {
            let mut counts = BTreeMap::new();
            for row in txn.open_table(COUNTS)?.iter()? {
                let (key, count) = row?;
                let words = key.value().split_once(' ');
                let key = words.and_then(|(route, state)| Some((Name::new(route).ok()?, State::from_name(state)?)));
                if let Some(key) = key.filter(|_| count.value() > 0) {
                    counts.insert(key, count.value());
                }
            }
            Ok(counts)
        })
    }

    /// Forgets everything and applies the whole ledger anew.
    pub(crate) fn rebuild(&self, ledger: &Ledger) -> Result<(), SpoolError> {
        let mut book = locked(&self.book);
        self.behind.store(true, Ordering::SeqCst);
        self.write(true, |txn| {
            txn.delete_table(PARCELS)?;
            txn.delete_table(BUNDLES)?;
            txn.delete_table(LABELS)?;
            txn.delete_table(COUNTS)?;
            txn.delete_table(NUMBERS)?;
            txn.open_table(PARCELS)?;
            txn.open_table(BUNDLES)?;
            txn.open_table(LABELS)?;
            txn.open_table(COUNTS)?;
            txn.open_table(NUMBERS)?;
            let mut meta = txn.open_table(META)?;
            meta.insert("applied", 0)?;
            meta.insert("epoch", 0)?;
            // Until the former logs are applied it is an index of no log.
            meta.insert("log", u64::MAX)?;
            Ok(())
        })?;
        *book = Book::default();
        self.epoch.store(0, Ordering::SeqCst);
        self.apply_former(&mut book, ledger)?;
        self.catch_up(&mut book, ledger)?;
        self.behind.store(false, Ordering::SeqCst);
        Ok(())
    }
}

fn read_row(parcel: ParcelId, row: &[u8]) -> Option<ParcelState> {
    serde_json::from_slice::<Row>(row).ok()?.into_state(parcel)
}

fn count_key(of: &ParcelState) -> String {
    format!("{} {}", of.route, of.state.name())
}

fn label_key(label: &Label, parcel: &[u8]) -> Vec<u8> {
    [label.name.as_str().as_bytes(), &[0], label.value.as_bytes(), &[0], parcel].concat()
}
