//! Who did what, with which medium, and how far each trip of the ferry is: rows of the index for the few records that name
//! a person, a medium or a trip. They follow from the records alone, so they may be lost with the index and come again
//! with it.
//!
//! ```text
//! acts    kind (1) name | 0 | at (8) log (8) record (8)     to the DER of the record        numbers are big-endian
//! trips   crossing (1) way (1) trip (8)                     to stage (1) and the DER of the record that staged or imported it
//! ```
//! The moment stands before the record's number: "what P did between A and B" is one range, also where a clock was set.

use protocol::ledger::{Event, Record};
use protocol::{Crossing, Name, Timestamp};
use redb::{ReadTransaction, ReadableTable as _, TableDefinition, WriteTransaction};

const ACTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("acts");
const TRIPS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("trips");
/// Rows that one question looks at before it gives up: years of a busy person's acts, a second of reading.
const SCAN_MAX: usize = 1_000_000;
const PERSON: u8 = b'p';
const MEDIUM: u8 = b'm';

/// Where an act stands: acts are told in this order, and a page of them begins behind one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ActAt {
    /// When.
    pub at: Timestamp,
    /// In which of the node's logs.
    pub log: u64,
    /// Which record of it.
    pub record: u64,
}

impl ActAt {
    fn to_bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        for (place, number) in bytes.chunks_exact_mut(8).zip([self.at.0, self.log, self.record]) {
            place.copy_from_slice(&number.to_be_bytes());
        }
        bytes
    }

    fn from_key(key: &[u8]) -> Option<ActAt> {
        let (rest, record) = key.split_last_chunk()?;
        let (rest, log) = rest.split_last_chunk()?;
        let (_, at) = rest.split_last_chunk()?;
        let at = Timestamp(u64::from_be_bytes(*at));
        Some(ActAt { at, log: u64::from_be_bytes(*log), record: u64::from_be_bytes(*record) })
    }
}

/// One record that names a person or a medium.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// Where it stands.
    pub place: ActAt,
    /// What it says.
    pub record: Record,
}

/// Which acts are asked for. Without a person and a medium there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActFilter {
    /// Of this person.
    pub person: Option<Name>,
    /// With this medium.
    pub medium: Option<Name>,
    /// At this moment or later.
    pub since: Option<Timestamp>,
    /// Before this moment.
    pub until: Option<Timestamp>,
    /// Before this act: the next page.
    pub before: Option<ActAt>,
}

/// Which way a trip goes. Two offices may carry trips both ways over one crossing, each with numbers of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Way {
    /// Staged here.
    Out,
    /// Imported here.
    In,
}

/// How far a trip is, as the ledger says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TripStage {
    /// Its files wait at the desk.
    Staged,
    /// It was read back from the written medium.
    Confirmed,
    /// Everything on it is receipted.
    Settled,
    /// Nobody confirmed it in time.
    Expired,
    /// It came in here.
    Imported,
}

impl TripStage {
    const ALL: [TripStage; 5] =
        [TripStage::Staged, TripStage::Confirmed, TripStage::Settled, TripStage::Expired, TripStage::Imported];

    /// Does nothing move it any more, but staging it again?
    #[must_use]
    pub fn is_over(self) -> bool {
        !matches!(self, TripStage::Staged | TripStage::Confirmed)
    }

    /// Which way a trip of this stage goes.
    #[must_use]
    pub fn way(self) -> Way {
        if self == TripStage::Imported { Way::In } else { Way::Out }
    }

    fn of(event: Event) -> Option<TripStage> {
        match event {
            Event::TripStaged => Some(TripStage::Staged),
            Event::TripConfirmed => Some(TripStage::Confirmed),
            Event::TripSettled => Some(TripStage::Settled),
            Event::TripExpired => Some(TripStage::Expired),
            Event::TripImported => Some(TripStage::Imported),
            _ => None,
        }
    }
}

/// A trip of the ferry, as the ledger knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TripOnRecord {
    /// Its number.
    pub trip: u64,
    /// Its crossing.
    pub crossing: Crossing,
    /// How far it is.
    pub stage: TripStage,
    /// The record that staged it, the last time, or imported it: when, by whom, with which waybill and medium.
    pub record: Record,
}

fn trip_key(crossing: Crossing, way: Way, trip: u64) -> Vec<u8> {
    [&[crossing.code(), way as u8][..], &trip.to_be_bytes()].concat()
}

impl TripOnRecord {
    fn read(key: &[u8], row: &[u8]) -> Option<TripOnRecord> {
        let (crossing, key) = key.split_first()?;
        let (_, trip) = key.split_first()?;
        let (stage, record) = row.split_first()?;
        Some(TripOnRecord {
            trip: u64::from_be_bytes(*trip.first_chunk()?),
            crossing: Crossing::from_code(*crossing)?,
            stage: TripStage::ALL.get(usize::from(*stage)).copied()?,
            record: Record::parse(record).ok()?,
        })
    }
}

/// The tables exist from now on.
pub(crate) fn prepare(txn: &WriteTransaction) -> Result<(), redb::Error> {
    txn.open_table(ACTS)?;
    txn.open_table(TRIPS)?;
    Ok(())
}

/// Nothing is known any more.
pub(crate) fn clear(txn: &WriteTransaction) -> Result<(), redb::Error> {
    txn.delete_table(ACTS)?;
    txn.delete_table(TRIPS)?;
    prepare(txn)
}

/// Takes one record; most name nobody and nothing of this.
pub(crate) fn apply(txn: &WriteTransaction, log: u64, number: u64, record: &Record) -> Result<(), redb::Error> {
    if record.person.is_none() && record.medium.is_none() && record.trip.is_none() {
        return Ok(());
    }
    let bytes = record.to_bytes();
    let place = ActAt { at: record.at, log, record: number };
    for (kind, name) in [(PERSON, &record.person), (MEDIUM, &record.medium)] {
        if let Some(name) = name {
            txn.open_table(ACTS)?.insert(&act_key(kind, name, place)[..], &bytes[..])?;
        }
    }
    let (Some(trip), Some(crossing), Some(stage)) = (record.trip, record.crossing, TripStage::of(record.event)) else {
        return Ok(());
    };
    let key = trip_key(crossing, stage.way(), trip);
    let mut trips = txn.open_table(TRIPS)?;
    let begins = matches!(stage, TripStage::Staged | TripStage::Imported);
    // What follows moves the trip that its record names; after it was staged again, only the new one.
    let row = match trips.get(&key[..])? {
        _ if begins => Some(bytes),
        None => None,
        Some(row) => TripOnRecord::read(&key, row.value())
            .filter(|trip| record.digest.is_none() || record.digest == trip.record.digest)
            .map(|trip| trip.record.to_bytes()),
    };
    if let Some(row) = row {
        trips.insert(&key[..], &[&[stage as u8], &row[..]].concat()[..])?;
    }
    Ok(())
}

fn act_key(kind: u8, name: &Name, place: ActAt) -> Vec<u8> {
    [&[kind], name.as_str().as_bytes(), &[0], &place.to_bytes()].concat()
}

/// Acts that fit, newest first.
pub(crate) fn acts(txn: &ReadTransaction, filter: &ActFilter, limit: usize) -> Result<Vec<Act>, redb::Error> {
    let mut found = Vec::new();
    // A medium is named in fewer records than a person.
    let (kind, name) = match (&filter.medium, &filter.person) {
        (Some(medium), _) => (MEDIUM, medium),
        (None, Some(person)) => (PERSON, person),
        (None, None) => return Ok(found),
    };
    let moment = |at| ActAt { at, ..ActAt::default() };
    let last = ActAt { at: Timestamp(u64::MAX), log: u64::MAX, record: u64::MAX };
    let until = filter.until.map_or(last, moment).min(filter.before.unwrap_or(last));
    let since = moment(filter.since.unwrap_or_default());
    if since >= until {
        return Ok(found);
    }
    let (low, high) = (act_key(kind, name, since), act_key(kind, name, until));
    for row in txn.open_table(ACTS)?.range(&low[..]..&high[..])?.rev().take(SCAN_MAX) {
        if found.len() >= limit {
            break;
        }
        let (key, row) = row?;
        let act = ActAt::from_key(key.value()).zip(Record::parse(row.value()).ok());
        let fits = |record: &Record| filter.person.is_none() || filter.person == record.person;
        found.extend(act.filter(|(_, record)| fits(record)).map(|(place, record)| Act { place, record }));
    }
    Ok(found)
}

/// One trip.
pub(crate) fn trip(
    txn: &ReadTransaction,
    crossing: Crossing,
    way: Way,
    trip: u64,
) -> Result<Option<TripOnRecord>, redb::Error> {
    let key = trip_key(crossing, way, trip);
    Ok(txn.open_table(TRIPS)?.get(&key[..])?.and_then(|row| TripOnRecord::read(&key, row.value())))
}

/// Trips of a crossing, the highest number first.
pub(crate) fn trips(
    txn: &ReadTransaction,
    crossing: Crossing,
    way: Way,
    limit: usize,
) -> Result<Vec<TripOnRecord>, redb::Error> {
    let (low, high) = (trip_key(crossing, way, 0), trip_key(crossing, way, u64::MAX));
    let mut found = Vec::new();
    for row in txn.open_table(TRIPS)?.range(&low[..]..=&high[..])?.rev().take(limit) {
        let (key, row) = row?;
        found.extend(TripOnRecord::read(key.value(), row.value()));
    }
    Ok(found)
}
