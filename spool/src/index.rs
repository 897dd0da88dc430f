//! The lookup over the ledger: parcels, bundles, labels, counts, numbers, acts of people and what they brought, in one redb file. Decides nothing, and may
//! be deleted at any time: the ledger gives it again.
//!
//! Groups of records are committed without a sync and with the number of records applied; now and then a commit is
//! durable. After a crash redb stands at its last durable commit and the ledger supplies the rest. So dying anywhere is
//! safe: applied records and applied-up-to change in one transaction. Where an apply failed (a full disk), the record is
//! durable all the same; the index is behind, and no question is answered before it has caught up.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};

use protocol::ledger::{Event, Local, Record};
use protocol::parcel::Label;
use protocol::receipt::Head;
use protocol::witness::Stated;
use protocol::{BundleId, Crossing, Digest, Name, ParcelId, Timestamp};
use redb::{Database, Durability, ReadableDatabase as _, ReadableTable as _, TableDefinition, WriteTransaction};

use crate::acts::{self, Act, ActFilter, TripOnRecord, Way};
use crate::brought;
use crate::changes::{BUNDLES, Bundle, COUNTS, Changes, Known, LABELS, NUMBERS, PARCELS, label_key};
use crate::disk::Disk;
use crate::gaps::{Book, RowKey};
use crate::index_file::IndexFile;
use crate::ledger::{Item, Ledger};
use crate::neighbours::{self, StatedTo};
use crate::row;
use crate::spool::{SpoolError, locked};
use crate::state::{ParcelState, Sent, State};

/// "version" to its number, "mark" to a [`Mark`].
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

/// Another form of rows: an older index is built anew.
const VERSION: u64 = 5;
/// What an index says until the logs before the present one are all applied.
const NO_LOG: u64 = 0;
/// Records between two durable commits: what a start after a crash applies again, a tenth of a second.
const DURABLE_RECORDS: u64 = 16_384;
/// Records in one transaction while catching up. A parcel whose records lie nearer to each other than this is written
/// once. Bounds memory: some 20 MB where every record is of another parcel.
const CATCH_UP_RECORDS: u64 = 32_768;
/// Records between two durable commits while catching up: what a death in the middle of it loses of the work.
const CATCH_UP_DURABLE: u64 = 16 * CATCH_UP_RECORDS;
/// Records that the reader hands over at once while catching up, and how often it may be ahead; a few MB.
const READ_RECORDS: usize = 512;
const READ_AHEAD: usize = 8;
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
    /// Is this parcel asked for? Apart from the page.
    #[must_use]
    pub fn fits(&self, of: &ParcelState) -> bool {
        self.route.as_ref().is_none_or(|route| *route == of.route)
            && self.state.is_none_or(|state| state == of.state)
            && self.parcel_type.as_ref().is_none_or(|kind| *kind == of.parcel_type)
            && self.since.is_none_or(|since| of.first >= since)
            && self.until.is_none_or(|until| of.first < until)
            && self.label.as_ref().is_none_or(|label| of.labels.contains(label))
    }
}

/// How far the index has followed the ledger; changes in one transaction with the rows.
#[derive(Clone, Copy, Default)]
struct Mark {
    /// Which of the node's logs; [`NO_LOG`] until those before it are applied.
    log: u64,
    /// Records of it applied.
    applied: u64,
    /// The largest epoch this node ever started.
    epoch: u64,
    /// The ledger's root over the records applied: an index of another ledger is known by it.
    root: Digest,
}

impl Mark {
    fn encode(&self) -> Vec<u8> {
        [&self.log.to_be_bytes()[..], &self.applied.to_be_bytes(), &self.epoch.to_be_bytes(), &self.root.0].concat()
    }

    fn decode(row: &[u8]) -> Option<Mark> {
        let (log, rest) = row.split_first_chunk()?;
        let (applied, rest) = rest.split_first_chunk()?;
        let (epoch, root) = rest.split_first_chunk()?;
        let (log, applied) = (u64::from_be_bytes(*log), u64::from_be_bytes(*applied));
        let epoch = u64::from_be_bytes(*epoch);
        Some(Mark { log, applied, epoch, root: Digest::from_slice(root)? })
    }
}

/// What of the index is in memory. Whoever holds it is the only one that writes.
#[derive(Default)]
struct Follower {
    book: Book,
    mark: Mark,
}

/// The index of one node.
pub(crate) struct Index {
    path: PathBuf,
    node: Name,
    disk: Disk,
    db: Database,
    follower: Mutex<Follower>,
    behind: AtomicBool,
    /// Records that it had taken before this process opened it.
    knew: u64,
}

impl Index {
    /// Opens the index, or makes it anew where it is missing, damaged, of another form or of another ledger; then
    /// applies what the ledger has more.
    pub(crate) fn open(
        dir: &Path,
        node: &Name,
        cache_bytes: usize,
        ledger: &Ledger,
        disk: &Disk,
    ) -> Result<Index, SpoolError> {
        let path = dir.join("index.redb");
        let reopened = catch_unwind(AssertUnwindSafe(|| Index::reopen(&path, node, cache_bytes, ledger, disk)));
        if let Ok(Some(index)) = reopened {
            return Ok(index);
        }
        // Somebody may have thrown the folder away with the file: all of it can be made again from the ledger.
        disk.create_dir_private(dir).map_err(|source| SpoolError::disk(dir, source))?;
        disk.remove_file(&path).map_err(|source| SpoolError::disk(&path, source))?;
        let index = Index::open_file(&path, node, cache_bytes, disk)?;
        index.catch_up(&mut locked(&index.follower), ledger)?;
        Ok(index)
    }

    /// The index as it lies there, if it is sound and belongs to this ledger.
    fn reopen(path: &Path, node: &Name, cache_bytes: usize, ledger: &Ledger, disk: &Disk) -> Option<Index> {
        fs::metadata(path).ok()?;
        let mut index = Index::open_file(path, node, cache_bytes, disk).ok()?;
        let version = index.read(|txn| Ok(txn.open_table(META)?.get("version")?.map(|row| row.value().to_vec())));
        let mark = index.mark().ok()?;
        let of_this_ledger = mark.log == ledger.log()
            && mark.applied <= ledger.head().size
            && ledger.root_at(mark.applied).is_ok_and(|root| root == mark.root);
        if version.ok()? != Some(VERSION.to_be_bytes().to_vec()) || !of_this_ledger {
            return None;
        }
        index.knew = mark.applied;
        let mut follower = locked(&index.follower);
        index.catch_up(&mut follower, ledger).ok()?;
        drop(follower);
        Some(index)
    }

    fn open_file(path: &Path, node: &Name, cache_bytes: usize, disk: &Disk) -> Result<Index, SpoolError> {
        let broken = |error: redb::Error| SpoolError::Index { path: path.to_owned(), cause: error.to_string() };
        let file = IndexFile::open(disk, path).map_err(|source| SpoolError::disk(path, source))?;
        let db = Database::builder().set_cache_size(cache_bytes).create_with_backend(file);
        let db = db.map_err(|error| broken(error.into()))?;
        let index = Index {
            path: path.to_owned(),
            node: node.clone(),
            disk: disk.clone(),
            db,
            follower: Mutex::default(),
            behind: AtomicBool::new(false),
            knew: 0,
        };
        // Every table exists from now on, so that reading never meets a missing one.
        index.write(|txn| {
            txn.open_table(PARCELS)?;
            txn.open_table(BUNDLES)?;
            txn.open_table(LABELS)?;
            txn.open_table(COUNTS)?;
            txn.open_table(NUMBERS)?;
            neighbours::prepare(txn)?;
            acts::prepare(txn)?;
            brought::prepare(txn)?;
            let mut meta = txn.open_table(META)?;
            if meta.get("version")?.is_none() {
                meta.insert("version", &VERSION.to_be_bytes()[..])?;
            }
            Ok(Commit::Durable)
        })?;
        Ok(index)
    }

    /// Of so many of the ledger's first records it knows what they said, also where they can be read no more.
    pub(crate) fn knew(&self) -> u64 {
        self.knew
    }

    /// The next start makes it anew from the ledger; this process goes on with the file, which has no name any more.
    pub(crate) fn is_to_be_made_anew(&self) -> Result<(), SpoolError> {
        self.disk.remove_file(&self.path).map_err(|source| SpoolError::disk(&self.path, source))
    }

    fn fault(&self, error: redb::Error) -> SpoolError {
        SpoolError::Index { path: self.path.clone(), cause: error.to_string() }
    }

    fn read<T>(&self, ask: impl FnOnce(&redb::ReadTransaction) -> Result<T, redb::Error>) -> Result<T, SpoolError> {
        self.guarded(|| self.db.begin_read().map_err(redb::Error::from).and_then(|txn| ask(&txn)))
    }

    /// redb panics where a page holds what it never wrote: a tired disk. The file goes, and the next start makes it anew
    /// from the ledger; until then nobody is answered from it.
    fn guarded<T>(&self, act: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, SpoolError> {
        match catch_unwind(AssertUnwindSafe(act)) {
            Ok(done) => done.map_err(|error| self.fault(error)),
            Err(_) => {
                let _gone = self.disk.remove_file(&self.path);
                let cause = "it is spoiled, and is made anew at the next start".to_owned();
                Err(SpoolError::Index { path: self.path.clone(), cause })
            }
        }
    }

    fn write(&self, act: impl FnOnce(&WriteTransaction) -> Result<Commit, redb::Error>) -> Result<(), SpoolError> {
        let run = || {
            let mut txn = self.db.begin_write()?;
            match act(&txn)? {
                // Costs a little here and saves walking the whole file after a crash.
                Commit::Durable => txn.set_quick_repair(true),
                Commit::Soon => txn.set_durability(Durability::None)?,
            }
            Ok::<(), redb::Error>(txn.commit()?)
        };
        self.guarded(run)
    }

    fn mark(&self) -> Result<Mark, SpoolError> {
        self.read(|txn| {
            let row = txn.open_table(META)?.get("mark")?.map(|row| row.value().to_vec());
            Ok(row.and_then(|row| Mark::decode(&row)).unwrap_or_default())
        })
    }

    /// The largest epoch this node ever started.
    pub(crate) fn epoch(&self) -> u64 {
        locked(&self.follower).mark.epoch
    }

    /// Takes a group of records that just became durable. Never fails: an index that could not follow is behind.
    pub(crate) fn apply(&self, first: u64, items: &[Item], head: Head, ledger: &Ledger) {
        let mut follower = locked(&self.follower);
        let done = if follower.mark.applied != first || self.behind.load(Ordering::SeqCst) {
            self.catch_up(&mut follower, ledger)
        } else {
            let end = first + items.len() as u64;
            self.write(|txn| {
                let mut group = Group::begin(txn, &self.node, &mut follower)?;
                for (number, item) in (first..).zip(items) {
                    group.take(head.log, number, &item.record, &item.local)?;
                }
                group.end(Head { size: end, ..head })?;
                Ok(durable_after(first / DURABLE_RECORDS != end / DURABLE_RECORDS))
            })
        };
        self.behind.store(done.is_err(), Ordering::SeqCst);
    }

    /// Reads the numbers from the rows and applies whatever the ledger has more. One thread reads and parses, this one
    /// applies.
    fn catch_up(&self, follower: &mut Follower, ledger: &Ledger) -> Result<(), SpoolError> {
        *follower = Follower { book: self.load_book()?, mark: self.mark()? };
        if follower.mark.log != ledger.log() {
            self.empty()?;
            *follower = Follower::default();
            self.apply_former(follower, ledger)?;
        }
        let (applied, head) = (follower.mark.applied, ledger.head());
        if applied >= head.size {
            return Ok(());
        }
        std::thread::scope(|scope| {
            let (give, take) = mpsc::sync_channel(READ_AHEAD);
            let reader = std::thread::Builder::new()
                .name("index-reader".to_owned())
                .spawn_scoped(scope, move || read_ahead(ledger, applied, head.size, &give))
                .map_err(|source| SpoolError::disk(&self.path, source))?;
            while let Ok(batch) = take.recv() {
                self.apply_read(follower, batch, &take, head, ledger)?;
            }
            reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// One transaction over what the reader hands out, a batch of which is there already.
    fn apply_read(
        &self,
        follower: &mut Follower,
        mut batch: Batch,
        take: &Receiver<Batch>,
        head: Head,
        ledger: &Ledger,
    ) -> Result<(), SpoolError> {
        let first = follower.mark.applied;
        self.write(|txn| {
            let mut group = Group::begin(txn, &self.node, follower)?;
            loop {
                for (number, record, local) in &batch.records {
                    group.take(head.log, *number, record, local)?;
                }
                if batch.through >= first + CATCH_UP_RECORDS {
                    break;
                }
                match take.recv() {
                    Ok(next) => batch = next,
                    Err(_) => break,
                }
            }
            let end = batch.through;
            // Where the tree cannot be read, no root: who dies before the end makes the index anew, and nobody else sees it.
            let root = if end == head.size { head.root } else { ledger.root_at(end).unwrap_or_default() };
            group.end(Head { size: end, log: head.log, root })?;
            Ok(durable_after(end == head.size || first / CATCH_UP_DURABLE != end / CATCH_UP_DURABLE))
        })
    }

    /// Applies the logs before this one to an empty index, then says of which log it is.
    fn apply_former(&self, follower: &mut Follower, ledger: &Ledger) -> Result<(), SpoolError> {
        let mut waiting: Vec<(u64, u64, Record, Local)> = Vec::new();
        let flush = |follower: &mut Follower, waiting: &mut Vec<(u64, u64, Record, Local)>, head: Head| {
            self.write(|txn| {
                let mut group = Group::begin(txn, &self.node, follower)?;
                for (log, number, record, local) in waiting.iter() {
                    group.take(*log, *number, record, local)?;
                }
                group.end(head)?;
                Ok(Commit::Durable)
            })?;
            waiting.clear();
            Ok::<(), SpoolError>(())
        };
        ledger.read_former(&mut |log, stored| {
            let local = stored.local.map(|(_, local)| local).unwrap_or_default();
            waiting.push((log, stored.index, stored.record, local));
            let full = waiting.len() as u64 >= CATCH_UP_RECORDS;
            if full { flush(follower, &mut waiting, Head { log: NO_LOG, ..Head::default() }) } else { Ok(()) }
        })?;
        flush(follower, &mut waiting, Head { log: ledger.log(), size: 0, root: ledger.root_at(0)? })
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

    /// Catches up where an apply failed before.
    fn settle(&self, ledger: &Ledger) -> Result<(), SpoolError> {
        if self.behind.load(Ordering::SeqCst) {
            let mut follower = locked(&self.follower);
            self.catch_up(&mut follower, ledger)?;
            self.behind.store(false, Ordering::SeqCst);
        }
        Ok(())
    }

    /// The numbers.
    pub(crate) fn book<T>(&self, ledger: &Ledger, ask: impl FnOnce(&mut Book) -> T) -> Result<T, SpoolError> {
        self.settle(ledger)?;
        Ok(ask(&mut locked(&self.follower).book))
    }

    pub(crate) fn parcel(&self, id: &ParcelId, ledger: &Ledger) -> Result<Option<ParcelState>, SpoolError> {
        self.settle(ledger)?;
        self.read(|txn| Ok(txn.open_table(PARCELS)?.get(&id.0[..])?.and_then(|row| row::decode(*id, row.value()))))
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
                    let state = parcels.get(&id.0[..])?.and_then(|row| row::decode(id, row.value()));
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
                // Most rows are turned away by their first byte; reading one whole costs ten times as much.
                if filter.state.is_some() && filter.state != row::state_of(row.value()) {
                    continue;
                }
                let id = ParcelId::from_slice(key.value());
                found.extend(id.and_then(|id| row::decode(id, row.value())).filter(|state| filter.fits(state)));
            }
            Ok(found)
        })
    }

    /// Is there a parcel that waits to cross, and is this so of its bundle? Looks at every row: for a start in doubt.
    pub(crate) fn any_waiting(&self, ledger: &Ledger, is_so: &dyn Fn(&Sent) -> bool) -> Result<bool, SpoolError> {
        self.settle(ledger)?;
        self.read(|txn| {
            for row in txn.open_table(PARCELS)?.iter()? {
                let (key, row) = row?;
                if !matches!(row::state_of(row.value()), Some(State::Accepted | State::Relayed)) {
                    continue;
                }
                let state = ParcelId::from_slice(key.value()).and_then(|id| row::decode(id, row.value()));
                let owed = state.filter(|state| !state.custody_passed).and_then(|state| state.sent);
                if owed.is_some_and(|sent| is_so(&sent)) {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    /// Was this bundle taken here, and whose parcel is it?
    pub(crate) fn bundle(&self, id: &BundleId, ledger: &Ledger) -> Result<(bool, Option<ParcelId>), SpoolError> {
        self.settle(ledger)?;
        self.read(|txn| {
            let row = txn.open_table(BUNDLES)?.get(&id.0[..])?.map(|row| Bundle::decode(row.value()));
            Ok(row.map_or((false, None), |row| (row.taken, row.parcel)))
        })
    }

    /// Has any record of this node's own doing named this bundle? A neighbour's paper about a parcel that was lost with a
    /// disk names bundles too: one of them that a backup caught on its way out was never promised by this ledger, and
    /// the neighbour has it.
    pub(crate) fn recorded(&self, id: &BundleId, ledger: &Ledger) -> Result<bool, SpoolError> {
        self.settle(ledger)?;
        self.read(|txn| {
            let Some(row) = txn.open_table(BUNDLES)?.get(&id.0[..])?.map(|row| Bundle::decode(row.value())) else {
                return Ok(false);
            };
            let Some(parcel) = row.parcel else { return Ok(true) };
            let state = txn.open_table(PARCELS)?.get(&parcel.0[..])?.and_then(|row| row::state_of(row.value()));
            Ok(state != Some(State::Lost))
        })
    }

    pub(crate) fn stated_to(&self, peer: &Name, ledger: &Ledger) -> Result<StatedTo, SpoolError> {
        self.settle(ledger)?;
        self.read(|txn| neighbours::stated_to(txn, peer))
    }

    pub(crate) fn witnessed(&self, peer: &Name, ledger: &Ledger) -> Result<Option<Stated>, SpoolError> {
        self.settle(ledger)?;
        self.read(|txn| neighbours::witnessed(txn, peer))
    }

    /// Acts that fit, newest first.
    pub(crate) fn acts(&self, filter: &ActFilter, limit: usize, ledger: &Ledger) -> Result<Vec<Act>, SpoolError> {
        self.settle(ledger)?;
        self.read(|txn| acts::acts(txn, filter, limit))
    }

    /// The record of the survey files that were last brought to a route with this listing.
    pub(crate) fn brought(
        &self,
        route: &Name,
        listing: &Digest,
        ledger: &Ledger,
    ) -> Result<Option<Record>, SpoolError> {
        self.settle(ledger)?;
        self.read(|txn| brought::last(txn, route, listing))
    }

    pub(crate) fn trip(
        &self,
        crossing: Crossing,
        way: Way,
        trip: u64,
        ledger: &Ledger,
    ) -> Result<Option<TripOnRecord>, SpoolError> {
        self.settle(ledger)?;
        self.read(|txn| acts::trip(txn, crossing, way, trip))
    }

    /// Trips of a crossing, the highest number first.
    pub(crate) fn trips(
        &self,
        crossing: Crossing,
        way: Way,
        limit: usize,
        ledger: &Ledger,
    ) -> Result<Vec<TripOnRecord>, SpoolError> {
        self.settle(ledger)?;
        self.read(|txn| acts::trips(txn, crossing, way, limit))
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

    /// Forgets everything and applies all logs anew.
    pub(crate) fn rebuild(&self, ledger: &Ledger) -> Result<(), SpoolError> {
        let mut follower = locked(&self.follower);
        self.behind.store(true, Ordering::SeqCst);
        self.empty()?;
        self.catch_up(&mut follower, ledger)?;
        self.behind.store(false, Ordering::SeqCst);
        Ok(())
    }

    /// Makes it an index of no log.
    fn empty(&self) -> Result<(), SpoolError> {
        self.write(|txn| {
            txn.delete_table(PARCELS)?;
            txn.delete_table(BUNDLES)?;
            txn.delete_table(LABELS)?;
            txn.delete_table(COUNTS)?;
            txn.delete_table(NUMBERS)?;
            neighbours::clear(txn)?;
            acts::clear(txn)?;
            brought::clear(txn)?;
            txn.open_table(PARCELS)?;
            txn.open_table(BUNDLES)?;
            txn.open_table(LABELS)?;
            txn.open_table(COUNTS)?;
            txn.open_table(NUMBERS)?;
            txn.open_table(META)?.remove("mark")?;
            Ok(Commit::Durable)
        })
    }
}

/// Is a transaction on the disk when it is committed, or with a later one?
enum Commit {
    Durable,
    Soon,
}

fn durable_after(it_is_time: bool) -> Commit {
    if it_is_time { Commit::Durable } else { Commit::Soon }
}

/// Records that become visible together: one transaction.
struct Group<'a> {
    txn: &'a WriteTransaction,
    node: &'a Name,
    follower: &'a mut Follower,
    known: Known<'a>,
    changes: Changes,
    epoch: u64,
}

impl<'a> Group<'a> {
    fn begin(txn: &'a WriteTransaction, node: &'a Name, follower: &'a mut Follower) -> Result<Self, redb::Error> {
        let epoch = follower.mark.epoch;
        Ok(Group { txn, node, follower, known: Known::open(txn)?, changes: Changes::default(), epoch })
    }

    fn take(&mut self, log: u64, number: u64, record: &Record, local: &Local) -> Result<(), redb::Error> {
        if matches!(record.event, Event::EpochStarted | Event::LogBegun) {
            self.epoch = self.epoch.max(record.epoch.unwrap_or(0));
        }
        neighbours::apply(self.txn, record)?;
        acts::apply(self.txn, log, number, record)?;
        brought::apply(self.txn, record, local)?;
        self.changes.take(&self.known, &mut self.follower.book, self.node, record, local)
    }

    /// Writes the changes, and the mark after them. What is in memory is ahead where the commit fails; then the index is
    /// behind, and catching up begins with what the tables say.
    fn end(self, head: Head) -> Result<(), redb::Error> {
        self.changes.write(self.known, self.txn)?;
        self.follower.mark = Mark { log: head.log, applied: head.size, epoch: self.epoch, root: head.root };
        self.txn.open_table(META)?.insert("mark", &self.follower.mark.encode()[..])?;
        Ok(())
    }
}

/// Records in order, and up to where nothing was passed over but what cannot be read.
struct Batch {
    records: Vec<(u64, Record, Local)>,
    through: u64,
}

/// Reads the ledger between two records for whoever takes it; ends early where nobody does any more.
fn read_ahead(ledger: &Ledger, from: u64, to: u64, give: &SyncSender<Batch>) -> Result<(), SpoolError> {
    let mut records = Vec::with_capacity(READ_RECORDS);
    ledger.read_from(from, &mut |stored| {
        if stored.index >= to {
            return Ok(ControlFlow::Break(()));
        }
        records.push((stored.index, stored.record, stored.local.map(|(_, local)| local).unwrap_or_default()));
        if records.len() < READ_RECORDS {
            return Ok(ControlFlow::Continue(()));
        }
        let full = std::mem::replace(&mut records, Vec::with_capacity(READ_RECORDS));
        let gone = give.send(Batch { records: full, through: stored.index + 1 }).is_err();
        Ok(if gone { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    // Where nobody takes it any more, what stopped them is the error that counts.
    let _gone = give.send(Batch { records, through: to });
    Ok(())
}
