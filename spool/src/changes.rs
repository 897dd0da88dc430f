//! What a group of records changes in the index. Gathered in memory first, so that a row is read once and written once
//! however many records of the group tell of it, and written in the order of the keys, which is the cheapest there is.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use protocol::der_types::Octets;
use protocol::ledger::{Event, Local, Record};
use protocol::parcel::Label;
use protocol::{Name, ParcelId};
use redb::{CursorError, ReadableTable as _, Table, TableDefinition, WriteTransaction};

use crate::gaps::{Book, takes_number};
use crate::row;
use crate::state::{ParcelState, State};

/// Parcel id to [`row`].
pub(crate) const PARCELS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("parcels");
/// Bundle id to: was it taken here (0 or 1), then the parcel's id where there is one.
pub(crate) const BUNDLES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("bundles");
/// Label name, 0, value, 0, parcel id; nothing behind it.
pub(crate) const LABELS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("labels");
/// "route state" to a number of parcels.
pub(crate) const COUNTS: TableDefinition<'_, &str, u64> = TableDefinition::new("counts");
/// A range of numbers, see [`crate::gaps::RowKey`], to its last.
pub(crate) const NUMBERS: TableDefinition<'_, &[u8], u64> = TableDefinition::new("numbers");

type Rows<'t> = Table<'t, &'static [u8], &'static [u8]>;

/// What a bundle's row says.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Bundle {
    /// Taken here and settled.
    pub(crate) taken: bool,
    /// Whose it is.
    pub(crate) parcel: Option<ParcelId>,
}

impl Bundle {
    fn encode(&self) -> Vec<u8> {
        let mut row = vec![u8::from(self.taken)];
        row.extend(self.parcel.iter().flat_map(|parcel| parcel.0));
        row
    }

    pub(crate) fn decode(row: &[u8]) -> Bundle {
        Bundle { taken: row.first() == Some(&1), parcel: row.get(1..).and_then(ParcelId::from_slice) }
    }
}

/// A row as the table has it, and as it will be.
struct Change<T> {
    before: Option<T>,
    now: T,
}

/// The rows that records are looked up in while their changes are gathered.
pub(crate) struct Known<'t> {
    parcels: Rows<'t>,
    bundles: Rows<'t>,
    /// The last keys. Ids ascend with time, so most that are new are not even looked for.
    last_parcel: Vec<u8>,
    last_bundle: Vec<u8>,
}

impl<'t> Known<'t> {
    pub(crate) fn open(txn: &'t WriteTransaction) -> Result<Known<'t>, redb::Error> {
        let (parcels, bundles) = (txn.open_table(PARCELS)?, txn.open_table(BUNDLES)?);
        let (last_parcel, last_bundle) = (last_key(&parcels)?, last_key(&bundles)?);
        Ok(Known { parcels, bundles, last_parcel, last_bundle })
    }
}

fn last_key(rows: &Rows<'_>) -> Result<Vec<u8>, redb::Error> {
    Ok(rows.last()?.map(|(key, _)| key.value().to_vec()).unwrap_or_default())
}

/// The changes of one transaction.
#[derive(Default)]
pub(crate) struct Changes {
    parcels: BTreeMap<[u8; 16], Change<Box<ParcelState>>>,
    bundles: BTreeMap<[u8; 16], Change<Bundle>>,
    numbers: BTreeMap<Vec<u8>, Option<u64>>,
}

impl Changes {
    /// Takes the next record. The node is the origin of parcels whose records name none.
    pub(crate) fn take(
        &mut self,
        known: &Known<'_>,
        book: &mut Book,
        node: &Name,
        record: &Record,
        local: &Local,
    ) -> Result<(), redb::Error> {
        for (key, to) in book.apply(record) {
            self.numbers.insert(key.to_bytes(), to);
        }
        if let Some(bundle) = record.bundle {
            self.take_bundle(known, bundle, record)?;
        }
        let Some(parcel) = record.parcel else { return Ok(()) };
        if let Some(change) = self.parcels.get_mut(&parcel.0) {
            change.now.apply(record, local);
            return Ok(());
        }
        let before = if known.last_parcel.as_slice() < &parcel.0[..] {
            None
        } else {
            known.parcels.get(&parcel.0[..])?.and_then(|found| row::decode(parcel, found.value()))
        };
        if let Some(mut now) = before.clone().or_else(|| ParcelState::first(record, node)) {
            now.apply(record, local);
            self.parcels.insert(parcel.0, Change { before: before.map(Box::new), now: Box::new(now) });
        }
        Ok(())
    }

    fn take_bundle(&mut self, known: &Known<'_>, bundle: Octets<16>, record: &Record) -> Result<(), redb::Error> {
        let taken = takes_number(record) || record.event == Event::Replayed;
        let update = |now: &mut Bundle| {
            now.taken |= taken;
            now.parcel = now.parcel.or(record.parcel);
        };
        if let Some(change) = self.bundles.get_mut(&bundle.0) {
            update(&mut change.now);
            return Ok(());
        }
        let before = if known.last_bundle.as_slice() < &bundle.0[..] {
            None
        } else {
            known.bundles.get(&bundle.0[..])?.map(|found| Bundle::decode(found.value()))
        };
        let mut now = before.unwrap_or_default();
        update(&mut now);
        self.bundles.insert(bundle.0, Change { before, now });
        Ok(())
    }

    /// Writes what was gathered.
    pub(crate) fn write(self, known: Known<'_>, txn: &WriteTransaction) -> Result<(), redb::Error> {
        let Known { mut parcels, mut bundles, .. } = known;
        self.write_labels(txn)?;
        self.write_counts(txn)?;
        let new = |change: &Change<Box<ParcelState>>| change.before.is_none();
        for (key, change) in self.parcels.iter().filter(|(_, change)| !new(change)) {
            if change.before.as_ref() != Some(&change.now) {
                parcels.insert(&key[..], &row::encode(&change.now)[..])?;
            }
        }
        let rows = self.parcels.iter().filter(|(_, change)| new(change));
        insert_new(&mut parcels, rows.map(|(key, change)| (key, row::encode(&change.now))))?;
        for (key, change) in self.bundles.iter().filter(|(_, change)| change.before.is_some()) {
            if change.before != Some(change.now) {
                bundles.insert(&key[..], &change.now.encode()[..])?;
            }
        }
        let rows = self.bundles.iter().filter(|(_, change)| change.before.is_none());
        insert_new(&mut bundles, rows.map(|(key, change)| (key, change.now.encode())))?;
        if !self.numbers.is_empty() {
            let mut numbers = txn.open_table(NUMBERS)?;
            for (key, to) in &self.numbers {
                match to {
                    Some(to) => drop(numbers.insert(&key[..], to)?),
                    None => drop(numbers.remove(&key[..])?),
                }
            }
        }
        Ok(())
    }

    fn write_counts(&self, txn: &WriteTransaction) -> Result<(), redb::Error> {
        let mut counts: BTreeMap<(&Name, State), i64> = BTreeMap::new();
        for change in self.parcels.values() {
            if let Some(before) = &change.before {
                *counts.entry((&before.route, before.state)).or_default() -= 1;
            }
            *counts.entry((&change.now.route, change.now.state)).or_default() += 1;
        }
        counts.retain(|_, more| *more != 0);
        if counts.is_empty() {
            return Ok(());
        }
        let mut table = txn.open_table(COUNTS)?;
        for ((route, state), more) in counts {
            let key = format!("{route} {}", state.name());
            let count = table.get(key.as_str())?.map_or(0, |count| count.value()).saturating_add_signed(more);
            table.insert(key.as_str(), count)?;
        }
        Ok(())
    }

    fn write_labels(&self, txn: &WriteTransaction) -> Result<(), redb::Error> {
        let (mut gone, mut come) = (BTreeSet::new(), BTreeSet::new());
        for (key, change) in &self.parcels {
            let before = change.before.as_ref().map_or(&[][..], |before| &before.labels);
            if before != change.now.labels {
                gone.extend(before.iter().map(|label| label_key(label, key)));
                come.extend(change.now.labels.iter().map(|label| label_key(label, key)));
            }
        }
        if gone.is_empty() && come.is_empty() {
            return Ok(());
        }
        let mut labels = txn.open_table(LABELS)?;
        for key in gone.difference(&come) {
            labels.remove(&key[..])?;
        }
        insert_new(&mut labels, come.difference(&gone).map(|key| (key, Vec::new())))
    }
}

/// The key of a label's row; without an id the start of all keys of that label.
pub(crate) fn label_key(label: &Label, parcel: &[u8]) -> Vec<u8> {
    [label.name.as_str().as_bytes(), &[0], label.value.as_bytes(), &[0], parcel].concat()
}

/// Inserts rows whose keys ascend and are not in the table. Neighbours go through one cursor, three times as fast as
/// one by one.
fn insert_new<K: AsRef<[u8]>>(
    table: &mut Rows<'_>,
    rows: impl Iterator<Item = (K, Vec<u8>)>,
) -> Result<(), redb::Error> {
    let mut rows = rows.peekable();
    while let Some((key, _)) = rows.peek() {
        let mut cursor = table.lower_bound_mut(Bound::Included(key.as_ref()))?;
        let mut moved = false;
        while let Some((key, row)) = rows.peek() {
            match cursor.insert_before(key.as_ref(), &row[..]) {
                Ok(()) => {}
                // Behind the next key of the table: another gap. In a gap of its own it stands there already.
                Err(CursorError::UnorderedKey) if moved => break,
                Err(CursorError::UnorderedKey) => {}
                Err(error) => return Err(error.into()),
            }
            moved = true;
            rows.next();
        }
        cursor.close()?;
    }
    Ok(())
}
