//! A bundle that waits here, addressed to another key of the same node: where the key it was sealed to is gone.
//!
//! The sealing node kept the content key for itself. So the bundle is opened by that, looked at by the guard like
//! anything that is sealed, and sealed anew with a fresh content key under a new number; the old number is withdrawn.
//!
//! Why it may die anywhere: before the record nothing has happened but waste; the record says that the parcel leaves in the
//! new bundle and that the old number will never come; the old bundle goes after it, or at the next start ([`let_go`]).

use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use guard::{Judgement, Moment, Question};
use protocol::bundle::{self, BundleError};
use protocol::keys::SealingKey;
use protocol::ledger::{Event, Local, Record};
use protocol::trust::{KeyCard, Role, Use};
use protocol::{Crossing, Digest, ParcelId, Timestamp, Verdict};
use serde_json::{Value, json};
use spool::{Entry, EntryKind, NoticeState};

use crate::config::{Hop, NameEncoding};
use crate::desk::Refusal;
use crate::drop::{self, Drop};
use crate::opening::Staging;
use crate::receipts;
use crate::sealing::{self, Papers};
use crate::station::{Station, StationError};

type Outcome = Result<Result<Value, Refusal>, StationError>;

/// Addresses the bundle of a parcel to the key with this id.
pub(crate) fn reseal(station: &Station, parcel: &ParcelId, to: &Digest, now: Timestamp) -> Outcome {
    let Some(state) = station.spool.parcel(parcel)? else { return Ok(Err(none("no such parcel here"))) };
    let Some(sent) = state.sent.clone() else { return Ok(Err(none("nothing of it is sent on from here"))) };
    let outbox = station.spool.outbox(sent.crossing);
    let Some(entry) = outbox.find(&sent.bundle)? else {
        return Ok(Err(none("its bundle is no longer held here: custody has passed")));
    };
    let io_at = |path: &PathBuf| {
        let path = path.clone();
        move |cause| StationError::Io { path, cause }
    };
    let at = entry.path.to_path_buf();
    let envelope = bundle::peek(&mut outbox.content(&entry).map_err(io_at(&at))?).map_err(StationError::Seal)?;
    let Some(card) = station.trust.card(to).filter(|card| seals_for(card, &envelope.target)) else {
        return Ok(Err(Refusal::new(
            "no-such-key",
            &format!("key {to} is on no sealing card of {} here", envelope.target),
            "信任库中没有该节点的这把封装密钥",
        )
        .with_remedy(
            "copy the node's new card into the trust folder, or `ferry trust import` its rollover; then reload",
            "请将该节点的新公钥卡放入信任库，或用 ferry trust import 导入换钥声明，然后 reload",
        )));
    };
    if envelope.recipient == *to {
        return Ok(Err(none("it is sealed to that key already; `resend` sends it again")));
    }
    let recipient = SealingKey::from_spki(&card.spki).map_err(|cause| StationError::Trust(cause.into()))?;
    let Some(keeper) = station.keyring.opening_keys().find(|key| bundle::is_kept_by(&envelope, *key)) else {
        return Ok(Err(none("the key that its content key was kept with is gone from this node too")
            .with_remedy("the origin's app drops the parcel again", "请由来源应用重新投递")));
    };

    let place = station.layout().opening().join(format!("{parcel}.reseal"));
    let wipe = || station.spool.disk().remove_tree(&place).map_err(io_at(&place));
    wipe()?;
    let content = BufReader::new(outbox.content(&entry).map_err(io_at(&at))?);
    let sealed = opened(station, content, keeper, &place).and_then(|(manifest, held)| {
        let Some(peer) = station.peer(&envelope.target).cloned() else {
            return Ok(Err(none("the node it goes to is no peer any more")));
        };
        let hop = Hop { crossing: sent.crossing, peer };
        let mut custody = envelope.signed_custody().map_err(|error| StationError::Seal(error.into()))?;
        let last = custody.pop();
        let was_stripped = last
            .and_then(|entry| entry.read_unverified::<protocol::parcel::CustodyEntry>().ok())
            .is_some_and(|entry| entry.verdict == Verdict::Stripped);
        let released = match look(station, &state.parcel_type, sent.crossing, was_stripped, held, now)? {
            Judgement::Released(released) => released,
            Judgement::Refused { reason, .. } | Judgement::Quarantine { reason, .. } => {
                return Ok(Err(none(&format!("today's rules let it pass no more: {}", reason.name()))));
            }
            Judgement::Strip { .. } => return Ok(Err(none("today's rules would change it"))),
        };
        let statement = envelope.signed_statement().map_err(|error| StationError::Seal(error.into()))?;
        let papers =
            Papers { statement: &statement, custody: &custody, manifest: &manifest, priority: envelope.priority };
        let staged = sealing::seal_to(station, &recipient, &released, &papers, &hop, now)?;
        let ready = sealing::ready(Event::Resent, staged, &statement, &manifest, now)?;
        Ok(Ok(ready.excepting(released.excepted().len())))
    });
    let ready = match sealed {
        Ok(Ok(ready)) => ready,
        other => {
            wipe()?;
            return other.map(|refused| refused.map(|_| Value::Null));
        }
    };
    let withdrawn = Record {
        crossing: Some(sent.crossing),
        epoch: Some(entry.epoch),
        sequence: Some(entry.sequence),
        through: Some(entry.sequence),
        ..Record::new(Event::SequencesWithdrawn, now)
    };
    let committed = sealing::commit(station, vec![(withdrawn, Local::none())], vec![ready], now);
    wipe()?;
    committed?;
    outbox.remove(&entry)?;
    if state.origin == station.node {
        receipts::notify(station, &state, NoticeState::Resent, None, Value::Null, now)?;
    }
    Ok(Ok(json!({ "resealed": 1, "to": to.to_string() })))
}

fn none(english: &str) -> Refusal {
    Refusal::new("nothing-to-reseal", english, "没有可重新封装的密封包")
        .with_remedy("`show PARCEL` says where it is", "用 show 查看该投递件所在位置")
}

fn seals_for(card: &KeyCard, node: &protocol::Name) -> bool {
    card.holder == *node && card.usage == Use::Seal && card.role == Role::Node
}

fn opened(
    station: &Station,
    mut content: impl std::io::Read,
    keeper: &protocol::keys::OpeningKey,
    place: &std::path::Path,
) -> Result<(protocol::parcel::Manifest, Drop), StationError> {
    let io = |cause| StationError::Io { path: place.to_owned(), cause };
    let opened =
        bundle::open_kept(&mut content, &station.trust, keeper, &mut Staging::new(station.spool.disk(), place));
    let opened = opened.map_err(|error| match error {
        BundleError::Io(cause) => io(cause),
        other => StationError::Seal(other),
    })?;
    let held = Drop::read_as(place, opened.manifest.name.as_ref(), NameEncoding::Utf8)
        .map_err(|error| io(std::io::Error::other(error.to_string())))?;
    Ok((opened.manifest, held))
}

/// As at any sealing: only what the guard releases is sealed.
fn look(
    station: &Station,
    parcel_type: &protocol::Name,
    crossing: Crossing,
    stripped: bool,
    held: Drop,
    now: Timestamp,
) -> Result<Judgement<Drop>, StationError> {
    let types = [parcel_type.clone()];
    match station.rules.get(&crossing) {
        Some(rules) => drop::inspect(
            &station.sandbox,
            station.scanner.as_ref(),
            &Question { rules, suite: station.suite, moment: Moment::Intake, types: &types, stripped },
            &station.exceptions.standing(crossing, now),
            held,
        ),
        None => {
            Ok(Judgement::Refused { parcel: held, reason: protocol::Reason::TypeNotRegistered, findings: Vec::new() })
        }
    }
}

/// Bundles whose parcel leaves in another one since they were resealed, and which we died before letting go. For the start.
pub(crate) fn let_go(station: &Station) -> Result<(), StationError> {
    for peer in &station.peers {
        let Some(crossing) = Crossing::between(station.zone, peer.zone) else { continue };
        let outbox = station.spool.outbox(crossing);
        let withdrawn = station.spool.withdrawn(crossing);
        let is_withdrawn = |entry: &Entry| {
            withdrawn.iter().any(|epoch| {
                epoch.epoch == entry.epoch
                    && epoch.missing.iter().any(|range| (range.from..=range.to).contains(&entry.sequence))
            })
        };
        for entry in outbox.entries()?.iter().filter(|entry| entry.kind == EntryKind::Bundle && is_withdrawn(entry)) {
            let Some(parcel) = station.spool.parcel_of_bundle(&entry.id)? else { continue };
            let leaves = station.spool.parcel(&parcel)?.and_then(|state| state.sent);
            let Some(sent) = leaves.filter(|sent| sent.bundle != entry.id) else { continue };
            // The new one may lie where it was sealed, and not be readable now: then the old one is all there is.
            if station.spool.outbox(sent.crossing).find(&sent.bundle)?.is_some() {
                outbox.remove(entry)?;
            }
        }
    }
    Ok(())
}

/// How many bundles here still need a key that opens: sealed to it and not yet opened, or kept by it and not yet receipted.
pub(crate) fn needed(station: &Station, key: &protocol::keys::OpeningKey) -> Result<u64, StationError> {
    let id = key.public().id();
    let mut count = 0;
    let named =
        |path: &std::path::Path| File::open(path).ok().and_then(|file| bundle::peek(&mut BufReader::new(file)).ok());
    let (zone, peers) = (station.zone, &station.peers);
    let inward = peers.iter().filter_map(|peer| Crossing::between(peer.zone, zone));
    for crossing in inward.collect::<BTreeSet<_>>() {
        for entry in station.spool.arrivals(crossing).completed()? {
            count += u64::from(named(&entry.path).is_some_and(|envelope| envelope.recipient == id));
        }
    }
    let outward = peers.iter().filter_map(|peer| Crossing::between(zone, peer.zone));
    for crossing in outward.collect::<BTreeSet<_>>() {
        let outbox = station.spool.outbox(crossing);
        for entry in outbox.entries()?.iter().filter(|entry| entry.kind == EntryKind::Bundle) {
            let Ok(mut content) = outbox.content(entry) else { continue };
            count += u64::from(bundle::peek(&mut content).is_ok_and(|envelope| bundle::is_kept_by(&envelope, key)));
        }
    }
    for entry in station.spool.checked()? {
        count += u64::from(named(&entry.path).is_some_and(|envelope| envelope.recipient == id));
    }
    Ok(count)
}
