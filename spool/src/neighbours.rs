//! What each neighbour was told about our ledger, what it holds of it, and what it proved of its own: a few rows of the
//! index. They follow from the records alone, so they may be lost with the index and come again with it.

use protocol::Name;
use protocol::ledger::{Event, Record};
use protocol::receipt::{Head, Range};
use protocol::suite::Digest;
use protocol::witness::{LINKS_MAX, Stated};
use redb::{ReadTransaction, ReadableTable as _, TableDefinition, WriteTransaction};

use crate::carried::reports;

/// "stated <peer>", "held <peer>", "witnessed <peer>": a turn and heads; "lost": a number of records.
const NEIGHBOURS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("neighbours");
/// Records that were lost to damage. Any of them may have been a statement, so that many turns are passed over: no turn
/// is ever used for two heads.
const LOST: &str = "lost";
const HEAD_BYTES: usize = 48;

/// What a neighbour was told about our ledger, and what it says it holds of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatedTo {
    /// The turn of the next statement.
    pub next_turn: u64,
    /// The last heads stated, newest first.
    pub heads: Vec<Head>,
    /// The last head that the neighbour has proven.
    pub held: Option<Head>,
}

#[derive(Default)]
struct Row {
    turn: u64,
    heads: Vec<Head>,
}

impl Row {
    fn read(bytes: &[u8]) -> Row {
        let Some((turn, rest)) = bytes.split_first_chunk::<8>() else { return Row::default() };
        let head = |bytes: &[u8]| {
            let (log, rest) = bytes.split_first_chunk::<8>()?;
            let (size, root) = rest.split_first_chunk::<8>()?;
            let root = Digest::from_slice(root)?;
            Some(Head { log: u64::from_be_bytes(*log), size: u64::from_be_bytes(*size), root })
        };
        Row { turn: u64::from_be_bytes(*turn), heads: rest.chunks(HEAD_BYTES).filter_map(head).collect() }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.turn.to_be_bytes().to_vec();
        for head in &self.heads {
            bytes.extend_from_slice(&head.log.to_be_bytes());
            bytes.extend_from_slice(&head.size.to_be_bytes());
            bytes.extend_from_slice(&head.root.0);
        }
        bytes
    }
}

/// The table exists from now on.
pub(crate) fn prepare(txn: &WriteTransaction) -> Result<(), redb::Error> {
    txn.open_table(NEIGHBOURS)?;
    Ok(())
}

/// Nothing is known any more.
pub(crate) fn clear(txn: &WriteTransaction) -> Result<(), redb::Error> {
    txn.delete_table(NEIGHBOURS)?;
    prepare(txn)
}

/// Takes one record; most say nothing about heads.
pub(crate) fn apply(txn: &WriteTransaction, record: &Record) -> Result<(), redb::Error> {
    let kind = match record.event {
        Event::ReceiptsSent | Event::TripStaged => "stated",
        Event::NumberTaken => "held",
        Event::HeadWitnessed => "witnessed",
        Event::LedgerDamaged => {
            // Of the log before nobody counts turns any more.
            if let Some(Range { from, to }) = reports(record) {
                let mut table = txn.open_table(NEIGHBOURS)?;
                let mut row = table.get(LOST)?.map(|row| Row::read(row.value())).unwrap_or_default();
                row.turn = row.turn.saturating_add(to.saturating_sub(from).saturating_add(1));
                table.insert(LOST, &row.to_bytes()[..])?;
            }
            return Ok(());
        }
        Event::LogBegun => return begin(txn),
        _ => return Ok(()),
    };
    let (Some(peer), Some(head)) = (&record.peer, record.head) else { return Ok(()) };
    let key = format!("{kind} {peer}");
    let mut table = txn.open_table(NEIGHBOURS)?;
    let mut row = table.get(key.as_str())?.map(|row| Row::read(row.value())).unwrap_or_default();
    if kind == "stated" {
        row.turn = row.turn.saturating_add(1);
        row.heads.insert(0, head);
        row.heads.truncate(LINKS_MAX - 1);
    } else {
        row.turn = record.sequence.unwrap_or(0);
        row.heads = vec![head];
    }
    table.insert(key.as_str(), &row.to_bytes()[..])?;
    Ok(())
}

/// Turns count the heads of one log, and no head of the log before is proven by this one. What neighbours proved of
/// their own ledgers stays.
fn begin(txn: &WriteTransaction) -> Result<(), redb::Error> {
    txn.open_table(NEIGHBOURS)?.retain(|key, _| key.starts_with("witnessed "))?;
    Ok(())
}

fn row(txn: &ReadTransaction, key: &str) -> Result<Option<Row>, redb::Error> {
    Ok(txn.open_table(NEIGHBOURS)?.get(key)?.map(|row| Row::read(row.value())))
}

/// What a neighbour was told.
pub(crate) fn stated_to(txn: &ReadTransaction, peer: &Name) -> Result<StatedTo, redb::Error> {
    let lost = row(txn, LOST)?.map_or(0, |row| row.turn);
    let stated = row(txn, &format!("stated {peer}"))?.unwrap_or_default();
    let held = row(txn, &format!("held {peer}"))?.and_then(|row| row.heads.first().copied());
    Ok(StatedTo { next_turn: stated.turn.saturating_add(lost).saturating_add(1), heads: stated.heads, held })
}

/// The last head that a neighbour has proven of its own ledger.
pub(crate) fn witnessed(txn: &ReadTransaction, peer: &Name) -> Result<Option<Stated>, redb::Error> {
    let row = row(txn, &format!("witnessed {peer}"))?;
    Ok(row.and_then(|row| Some(Stated { turn: row.turn, head: *row.heads.first()? })))
}
