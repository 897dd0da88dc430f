//! A key's life on record: a card that came into the trust folder, was given a last day or was taken out, and a private key
//! that was made or destroyed. Cards and keys are files that people change while the daemon runs or sleeps, so what is on
//! record is compared with what is there at each start and reload.

use std::collections::BTreeMap;
use std::path::PathBuf;

use protocol::ledger::{Event, Local, Record};
use protocol::{Digest, Name, Timestamp};
use serde_json::{Value, json};

use crate::desk::{self, Refusal};
use crate::reseal;
use crate::station::{Station, StationError};

/// The holder of a key and, where its card has one, its last day. A private key of the node bears a word instead.
type Known = BTreeMap<(Digest, bool), (Name, String)>;

/// What stands for the last day of a card without one.
const OPEN: &str = "-";

/// Records what changed since the last start, then remembers what is there. Dying between the two records it twice.
pub(crate) fn record(station: &Station, now: Timestamp) -> Result<(), StationError> {
    let (before, present) = (read(station), present(station));
    let mut records = Vec::new();
    let mut say = |event, key: &Digest, holder: &Name| {
        let mut record = Record::new(event, now);
        (record.digest, record.peer) = (Some(*key), Some(holder.clone()));
        records.push((record, Local::none()));
    };
    for ((key, own), (holder, until)) in &present {
        match (own, before.get(&(*key, *own))) {
            (true, None) => say(Event::KeyMade, key, holder),
            (true, Some(_)) => {}
            (false, known) => {
                if known.is_none() {
                    say(Event::KeyTrusted, key, holder);
                }
                let said = known.map_or(OPEN, |known| known.1.as_str());
                if until != OPEN && until != said {
                    say(Event::KeyRetired, key, holder);
                }
            }
        }
    }
    for ((key, own), (holder, _)) in before.iter().filter(|(id, _)| !present.contains_key(id)) {
        say(if *own { Event::KeyDropped } else { Event::KeyRemoved }, key, holder);
    }
    if before == present {
        return Ok(());
    }
    station.spool.record_all(records)?;
    let line = |((key, own), (holder, until)): (&(Digest, bool), &(Name, String))| {
        format!("{key}\t{}\t{holder}\t{until}\n", if *own { "own" } else { "card" })
    };
    let text: String = present.iter().map(line).collect();
    let path = file(station);
    station.spool.disk().write(&path, text.as_bytes()).map_err(|cause| StationError::Io { path, cause })
}

fn file(station: &Station) -> PathBuf {
    station.layout().status().join("keys-on-record")
}

fn present(station: &Station) -> Known {
    let cards = station.trust.cards().map(|card| {
        let until = card.until.clone().unwrap_or_else(|| OPEN.to_owned());
        ((card.id(), false), (card.holder.clone(), until))
    });
    let keys = &station.keyring;
    let own = [keys.signing.public().id(), keys.link.public().id()].into_iter();
    let own = own.chain(keys.opening_keys().map(|key| key.public().id()));
    cards.chain(own.map(|id| ((id, true), (station.node.clone(), OPEN.to_owned())))).collect()
}

fn read(station: &Station) -> Known {
    let text = std::fs::read_to_string(file(station)).unwrap_or_default();
    let parse = |line: &str| {
        let mut fields = line.split('\t');
        let key = Digest::from_hex(fields.next()?)?;
        let own = fields.next()? == "own";
        Some(((key, own), (Name::new(fields.next()?).ok()?, fields.next()?.to_owned())))
    };
    text.lines().filter_map(parse).collect()
}

/// Of each sealing key of this node: how many bundles here still need it, and whether the overlap is over by its card. And
/// which signing keys the daemon believes to be its own.
pub(crate) fn needed(station: &Station) -> Result<Result<Value, Refusal>, StationError> {
    let mut rows = Vec::new();
    for key in station.keyring.opening_keys() {
        let id = key.public().id();
        let until = station.trust.card(&id).and_then(|card| card.until.clone());
        rows.push(json!({ "id": id.to_string(), "bundles": reseal::needed(station, key)?, "until": until }));
    }
    let signing: Vec<String> = desk::own_keys(station).map(|id| id.to_string()).collect();
    Ok(Ok(json!({ "sealing": rows, "signing": signing })))
}
