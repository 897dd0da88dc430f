//! Heads of ledgers, exchanged with neighbours: stated with proofs when papers leave, held against everything the
//! neighbour said before when papers come.
//!
//! Why it may die anywhere: a statement leaves only after the record of it, so no turn is used for two heads. One that
//! came is filed before it is recorded, and taking it again changes nothing. Files of proven statements may be lost: the
//! proven head itself is in our own ledger; they are what an auditor is shown if the neighbour ever contradicts itself.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use protocol::ledger::{Event, Local, Record};
use protocol::parcel::OctetString;
use protocol::receipt::Head;
use protocol::witness::{Fault, HeadStatement, Taken, Watch};
use protocol::{Name, Timestamp};
use serde_json::{Value, json};
use spool::{Kept, SpoolError, UNREAD_MS};

use crate::alarm::Alarm;
use crate::station::{Station, StationError};

/// Files of one neighbour that are read at start: twice what is kept, for files that a death left behind.
const FILES_MAX: usize = 2 * protocol::witness::SAID_MAX;

/// What every neighbour said about its ledger.
#[derive(Default)]
pub struct Witness {
    watches: Mutex<BTreeMap<Name, Watch>>,
    /// Since when the tree of our own ledger cannot be read for a paper to a neighbour: another's proof may need less of it.
    unread: Mutex<BTreeMap<Name, Timestamp>>,
}

/// What is signed about our ledger for a paper that is about to leave. The caller records `head` with the paper's own
/// record before the paper leaves.
pub fn state(station: &Station, peer: &Name, now: Timestamp) -> Result<(Head, OctetString), StationError> {
    let told = station.spool.stated_to(peer)?;
    let mut from = told.heads;
    from.extend(told.held.filter(|held| !from.contains(held)));
    let (head, links, left_out) = station.spool.links(&from).map_err(|error| unread(station, peer, error, now))?;
    station.witness.unread.lock().unwrap_or_else(PoisonError::into_inner).remove(peer);
    if left_out > 0 {
        tracing::error!(%peer, left_out, "the ledger cannot prove that it continues heads which this neighbour was told");
        station.alarms.raise(now, Alarm::LedgerDamaged);
    }
    let octets = |bytes| OctetString::new(bytes).ok();
    let statement = HeadStatement {
        turn: told.next_turn,
        links,
        held: station.spool.witnessed(peer)?.map(|stated| stated.head),
        starts: station.spool.log_starts()?.into_iter().filter_map(octets).collect(),
        ..HeadStatement::first(&station.node, peer, station.spool.ledger_suite(), now, head)
    };
    Ok((head, statement.sign_by(&station.keyring.signing)?))
}

/// The tree cannot be read, or is not what it was. A head that is not linked to the one before would be called a
/// contradiction, so the paper waits and is made again; where that goes on, only a fresh start helps, which begins the tree
/// anew, unless this start has tried that already.
fn unread(station: &Station, peer: &Name, error: SpoolError, now: Timestamp) -> StationError {
    tracing::error!(%error, "the tree of the ledger cannot be read, and no paper leaves without a proof from it");
    station.alarms.raise(now, Alarm::LedgerDamaged);
    let mut unread = station.witness.unread.lock().unwrap_or_else(PoisonError::into_inner);
    let since = *unread.entry(peer.clone()).or_insert(now);
    if now.since(since) < UNREAD_MS || station.spool.cannot_renew_tree() {
        return error.into();
    }
    SpoolError::Poisoned { path: station.layout().ledger(), cause: error.to_string() }.into()
}

/// Takes what a neighbour states with a paper whose signature was checked. Gives the head of ours that it holds, where
/// that is news for the record of the paper.
pub fn take(
    station: &Station,
    source: &Name,
    stated: &OctetString,
    now: Timestamp,
) -> Result<Option<Head>, StationError> {
    let bytes = stated.as_bytes();
    let read = match HeadStatement::verify(bytes, source, &station.trust) {
        Ok(Ok(statement)) if statement.target == station.node => Ok(statement),
        Ok(Err(refused)) if refused.0.target == station.node => Err(refused),
        _ => {
            tracing::warn!(node = %source, "a statement about a ledger did not verify; not taken");
            station.alarms.raise(now, Alarm::NotAuthentic);
            return Ok(None);
        }
    };
    let mut watches = station.witness.watches.lock().unwrap_or_else(PoisonError::into_inner);
    if !watches.contains_key(source) {
        watches.insert(source.clone(), load(station, source)?);
    }
    let Some(watch) = watches.get_mut(source) else { return Ok(None) };
    let statement = match read {
        Ok(statement) => statement,
        Err(refused) => {
            let (statement, fault) = *refused;
            contradicted(station, source, &statement, bytes, fault, now)?;
            return Ok(None);
        }
    };
    let before = watch.last();
    match watch.take(&statement) {
        Taken::Contradiction(fault) => contradicted(station, source, &statement, bytes, fault, now)?,
        Taken::Known => {}
        Taken::Unproven => file(station, source, &statement, bytes, true)?,
        Taken::Proven(last) => {
            file(station, source, &statement, bytes, false)?;
            keep_daily(station, source, &statement, bytes, now)?;
            if before.map(|before| before.head) != Some(last.head) {
                let mut record = Record::new(Event::HeadWitnessed, now);
                record.peer = Some(source.clone());
                record.sequence = Some(last.turn);
                record.head = Some(last.head);
                station.spool.record(record, Local::none())?;
            }
            tidy(station, source, watch)?;
        }
    }
    held(station, source, &statement, bytes, now)
}

/// The neighbour says which head of ours it holds: either our ledger passes through it, or ours is not what it was.
fn held(
    station: &Station,
    source: &Name,
    statement: &HeadStatement,
    bytes: &[u8],
    now: Timestamp,
) -> Result<Option<Head>, StationError> {
    // A head of a log before ours is no matter of ours any more; one of a log after ours cannot be.
    let Some(held) = statement.held.filter(|held| held.log >= station.spool.head().log) else { return Ok(None) };
    let passes = match station.spool.passes_through(&held) {
        Ok(passes) => passes,
        // Nobody knows; the paper it came with must not wait for a sector that may never be read again.
        Err(error) => {
            tracing::error!(node = %source, %error, "the tree cannot be read at a head that a neighbour holds");
            station.alarms.raise(now, Alarm::LedgerDamaged);
            return Ok(None);
        }
    };
    if !passes {
        contradicted(station, source, statement, bytes, Fault::NotOnTheWay { size: held.size }, now)?;
        return Ok(None);
    }
    Ok(Some(held).filter(|held| station.spool.stated_to(source).is_ok_and(|told| told.held != Some(*held))))
}

/// Alarm, record, and both halves of the evidence.
fn contradicted(
    station: &Station,
    source: &Name,
    statement: &HeadStatement,
    bytes: &[u8],
    fault: Fault,
    now: Timestamp,
) -> Result<(), StationError> {
    tracing::error!(node = %source, %fault, "two signed statements about a ledger cannot both be true");
    station.alarms.raise(now, Alarm::LedgerContradicted);
    let (log, turn) = (statement.head.log, statement.turn);
    let name = |turn: u64, word: &str| format!("{source}-{log}-{turn}-{word}.head");
    let keep = |name, bytes: &[u8]| station.spool.keep_evidence(&[Kept { at: now, name, bytes: bytes.to_vec() }]);
    keep(name(turn, "contradiction"), bytes)?;
    let earlier = fault.against().map(|turn| (turn, path(station, source, log, turn)));
    if let Some((against, path)) = earlier
        && let Ok(earlier) = crate::desk::read_small(&path, HEAD_BYTES_MAX)
    {
        keep(name(against, "contradicted"), &earlier)?;
    }
    let mut record = Record::new(Event::HeadContradicted, now);
    record.peer = Some(source.clone());
    record.sequence = Some(turn);
    record.head = Some(statement.head);
    station.spool.record(record, Local::none())?;
    Ok(())
}

const HEAD_BYTES_MAX: u64 = <HeadStatement as protocol::Statement>::BYTES_MAX as u64;

fn path(station: &Station, source: &Name, log: u64, turn: u64) -> PathBuf {
    // Turns sort as text.
    station.layout().heads().join(format!("{source}.{log}-{turn:020}.head"))
}

/// What is needed to join later papers is written durably, what is evidence only is not worth a sync: the next
/// statement is evidence as well.
fn file(
    station: &Station,
    source: &Name,
    statement: &HeadStatement,
    bytes: &[u8],
    durable: bool,
) -> Result<(), StationError> {
    // An older spool has no such folder yet.
    let (disk, folder) = (station.spool.disk(), station.layout().heads());
    disk.create_dir_private(&folder).map_err(|cause| StationError::Io { path: folder, cause })?;
    let path = path(station, source, statement.head.log, statement.turn);
    let written = if durable { disk.write(&path, bytes) } else { disk.write_lazy(&path, bytes) };
    written.map_err(|cause| StationError::Io { path, cause })
}

/// The first proven statement of a day goes where auditors look, and stays as long as other evidence does.
fn keep_daily(
    station: &Station,
    source: &Name,
    statement: &HeadStatement,
    bytes: &[u8],
    now: Timestamp,
) -> Result<(), StationError> {
    let name = format!("{source}-{}.head", statement.head.log);
    let civil = now.to_string();
    let day = civil.split('T').next().unwrap_or_default();
    let path = day.split('-').fold(station.layout().evidence(), |path, part| path.join(part)).join(&name);
    if !path.exists() {
        station.spool.keep_evidence(&[Kept { at: now, name, bytes: bytes.to_vec() }])?;
    }
    Ok(())
}

fn files(station: &Station, source: &Name) -> Result<Vec<PathBuf>, StationError> {
    let (folder, prefix) = (station.layout().heads(), format!("{source}."));
    let io = |cause| StationError::Io { path: folder.clone(), cause };
    let entries = match std::fs::read_dir(&folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(io)?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(io)?.path();
        let ours = |name: &str| name.starts_with(&prefix) && name.ends_with(".head");
        if path.file_name().and_then(|name| name.to_str()).is_some_and(ours) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The last proven head is in the ledger; what joins nothing yet lies in files.
fn load(station: &Station, source: &Name) -> Result<Watch, StationError> {
    let mut watch = Watch::from(station.spool.witnessed(source)?);
    for path in files(station, source)?.iter().take(FILES_MAX) {
        let Ok(bytes) = crate::desk::read_small(path, HEAD_BYTES_MAX) else { continue };
        if let Ok(Ok(statement)) = HeadStatement::verify(&bytes, source, &station.trust) {
            // Each was taken before: at worst it is known.
            let _taken = watch.take(&statement);
        }
    }
    Ok(watch)
}

/// Files of statements that nothing is held against any more go.
fn tidy(station: &Station, source: &Name, watch: &Watch) -> Result<(), StationError> {
    for path in files(station, source)? {
        let stem = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.split_once('.'));
        let stem = stem.and_then(|(_, place)| place.split_once('-'));
        let place = stem.and_then(|(log, turn)| Some((log.parse().ok()?, turn.parse().ok()?)));
        if !place.is_some_and(|(log, turn)| watch.keeps(log, turn)) {
            station.spool.disk().remove_file(&path).map_err(|cause| StationError::Io { path, cause })?;
        }
    }
    Ok(())
}

/// Every neighbour's ledger as `status` shows it: how far it is proven, and what is not.
pub fn status(station: &Station) -> Result<Value, StationError> {
    let mut watches = station.witness.watches.lock().unwrap_or_else(PoisonError::into_inner);
    let mut rows = Vec::new();
    for peer in &station.peers {
        if !watches.contains_key(&peer.name) {
            watches.insert(peer.name.clone(), load(station, &peer.name)?);
        }
        let Some(watch) = watches.get(&peer.name) else { continue };
        let last = watch.last();
        let unproven: Vec<u64> = watch.unproven().map(|stated| stated.head.size).collect();
        let held = station.spool.stated_to(&peer.name)?.held;
        rows.push(json!({
            "peer": peer.name,
            "log": last.map(|last| last.head.log),
            "records_proven": last.map(|last| last.head.size),
            "root": last.map(|last| last.head.root.to_string()),
            "unproven_heads": unproven.len(),
            "unproven_up_to": unproven.iter().max(),
            "holds_of_ours": held.map(|held| held.size),
        }));
    }
    Ok(Value::Array(rows))
}
