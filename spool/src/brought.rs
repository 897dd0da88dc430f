//! What operators took in from media, by route and listing: rows of the index, so that the same survey files are known when
//! they are brought again. They follow from the records alone, so they may be lost with the index and come again with it.
//!
//! ```text
//! brought   listing (32) route     to the DER of the last record that put it on record
//! ```
//! The listing's digest stands in the local part of that record, under the action's name, beside the route.

use protocol::ledger::{Event, Local, Record};
use protocol::{Digest, Name};
use redb::{ReadTransaction, TableDefinition, WriteTransaction};

const BROUGHT: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("brought");
/// The action that puts a listing on record, and the labels of its record.
const ACTION: &str = "intake";
const LISTING: &str = "listing";
const ROUTE: &str = "route";

fn key(route: &str, listing: &Digest) -> Vec<u8> {
    [&listing.0[..], route.as_bytes()].concat()
}

/// The table exists from now on.
pub(crate) fn prepare(txn: &WriteTransaction) -> Result<(), redb::Error> {
    txn.open_table(BROUGHT)?;
    Ok(())
}

/// Nothing is known any more.
pub(crate) fn clear(txn: &WriteTransaction) -> Result<(), redb::Error> {
    txn.delete_table(BROUGHT)?;
    prepare(txn)
}

/// Takes one record; few are of this.
pub(crate) fn apply(txn: &WriteTransaction, record: &Record, local: &Local) -> Result<(), redb::Error> {
    if record.event != Event::RequestAnswered || local.name.as_deref() != Some(ACTION) {
        return Ok(());
    }
    let said = |word: &str| local.labels.iter().find(|label| label.name.as_str() == word).map(|label| &*label.value);
    if let (Some(route), Some(listing)) = (said(ROUTE), said(LISTING).and_then(Digest::from_hex)) {
        txn.open_table(BROUGHT)?.insert(&key(route, &listing)[..], &record.to_bytes()[..])?;
    }
    Ok(())
}

/// The last record of a listing that was brought to this route.
pub(crate) fn last(txn: &ReadTransaction, route: &Name, listing: &Digest) -> Result<Option<Record>, redb::Error> {
    let row = txn.open_table(BROUGHT)?.get(&key(route.as_str(), listing)[..])?;
    Ok(row.and_then(|row| Record::parse(row.value()).ok()))
}
