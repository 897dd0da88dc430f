//! A key's life on record: a card that came into the trust folder, was given a last day or was taken out, and a private key
//! that was made or destroyed. Cards and keys are files that people change while the daemon runs or sleeps, so what is on
//! record is compared with what is there at each start and reload.

use std::collections::BTreeMap;
use std::path::PathBuf;

use protocol::ledger::{Event, Local, Record};
use protocol::trust::KeyCard;
use protocol::{Digest, Name, Suite, Timestamp};
use serde_json::{Value, json};

use crate::desk::{self, Refusal};
use crate::reseal;
use crate::station::{Station, StationError};

/// Keys by id, the node's own private ones (`true`) beside the cards.
type Known = BTreeMap<(Digest, bool), Seen>;

/// What was seen of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    holder: Name,
    /// Its last day, where its card has one.
    until: String,
    /// The digest of all else on its card; nothing of a private key, and of a card seen before this was remembered.
    rest: String,
}

impl Seen {
    fn of(card: &KeyCard) -> Seen {
        let open = KeyCard { until: None, ..card.clone() };
        let rest = Suite::Std.digest(open.to_text().as_bytes()).to_string();
        Seen { holder: card.holder.clone(), until: card.until.clone().unwrap_or_else(|| OPEN.to_owned()), rest }
    }

    /// Is it the same card as before, but for a last day that was set, or set earlier?
    fn follows(&self, before: &Seen) -> bool {
        let rest = before.rest == OPEN || before.rest == self.rest;
        let earlier = before.until == OPEN || (self.until != OPEN && self.until <= before.until);
        before.holder == self.holder && rest && earlier
    }
}

/// What stands for the last day of a card without one, and for what was not seen.
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
    for ((key, own), seen) in &present {
        match (own, before.get(&(*key, *own))) {
            (true, None) => say(Event::KeyMade, key, &seen.holder),
            (true, Some(_)) => {}
            (false, Some(known)) if seen.follows(known) => {
                if seen.until != known.until {
                    say(Event::KeyRetired, key, &seen.holder);
                }
            }
            // Another card of the key: what was believed of it is no more, and something else is.
            (false, known) => {
                if let Some(known) = known {
                    say(Event::KeyRemoved, key, &known.holder);
                }
                say(Event::KeyTrusted, key, &seen.holder);
                if seen.until != OPEN {
                    say(Event::KeyRetired, key, &seen.holder);
                }
            }
        }
    }
    for ((key, own), seen) in before.iter().filter(|(id, _)| !present.contains_key(id)) {
        say(if *own { Event::KeyDropped } else { Event::KeyRemoved }, key, &seen.holder);
    }
    if before == present {
        return Ok(());
    }
    station.spool.record_all(records)?;
    let line = |((key, own), Seen { holder, until, rest }): (&(Digest, bool), &Seen)| {
        format!("{key}\t{}\t{holder}\t{until}\t{rest}\n", if *own { "own" } else { "card" })
    };
    let text: String = present.iter().map(line).collect();
    let path = file(station);
    station.spool.disk().write(&path, text.as_bytes()).map_err(|cause| StationError::Io { path, cause })
}

fn file(station: &Station) -> PathBuf {
    station.layout().status().join("keys-on-record")
}

fn present(station: &Station) -> Known {
    let cards = station.trust.cards().map(|card| ((card.id(), false), Seen::of(card)));
    let keys = &station.keyring;
    let own = [keys.signing.public().id(), keys.link.public().id()].into_iter();
    let own = own.chain(keys.opening_keys().map(|key| key.public().id()));
    let private = || Seen { holder: station.node.clone(), until: OPEN.to_owned(), rest: OPEN.to_owned() };
    cards.chain(own.map(|id| ((id, true), private()))).collect()
}

fn read(station: &Station) -> Known {
    let text = std::fs::read_to_string(file(station)).unwrap_or_default();
    let parse = |line: &str| {
        let mut fields = line.split('\t');
        let key = Digest::from_hex(fields.next()?)?;
        let own = fields.next()? == "own";
        let (holder, until) = (Name::new(fields.next()?).ok()?, fields.next()?.to_owned());
        Some(((key, own), Seen { holder, until, rest: fields.next().unwrap_or(OPEN).to_owned() }))
    };
    text.lines().filter_map(parse).collect()
}

/// Of each sealing key of this node: how many bundles here still need it, and whether the overlap is over by its card. And
/// which signing keys the daemon believes to be its own.
pub(crate) fn needed(station: &Station, now: Timestamp) -> Result<Result<Value, Refusal>, StationError> {
    let mut rows = Vec::new();
    for key in station.keyring.opening_keys() {
        let id = key.public().id();
        let until = station.trust.card(&id).and_then(|card| card.until.clone());
        rows.push(json!({ "id": id.to_string(), "bundles": reseal::needed(station, key)?, "until": until }));
    }
    let signing: Vec<String> = desk::own_keys(station, now).map(|id| id.to_string()).collect();
    Ok(Ok(json!({ "sealing": rows, "signing": signing })))
}
