//! Held: what the guard held of a parcel, handed to a security officer as one bundle that the office's security key opens and
//! nothing else. Outside the internal zone it was sealed so when it was refused, and is copied; in the internal zone, where it
//! lies in the clear, it is sealed so now. Nothing in the clear comes to the desk, and this node opens nothing.
//!
//! Who asked is on record before there is anything to take. Why it may die anywhere: the bundle appears by rename and is
//! named after its request; asked again, it is there or is made anew, and what nobody took goes with other old answers.

use std::fs::File;
use std::io;
use std::path::Path;

use protocol::ledger::{Event, Local, Record};
use protocol::parcel::Label;
use protocol::request::Request;
use protocol::trust::Use;
use protocol::{Digest, Name, ParcelId, Reason, Timestamp};
use serde_json::{Value, json};

use guard::{Finding, Judgement};

use crate::desk::{Refusal, was_recorded};
use crate::keyring::security;
use crate::release;
use crate::sealing::{self, Why};
use crate::station::{Station, StationError};

type Outcome = Result<Result<Value, Refusal>, StationError>;

/// Bundles that lie in the desk at once: each may be as large as a parcel, and goes after two days.
const BUNDLES_MAX: usize = 8;
const PIECE_BYTES: usize = 256 * 1024;

fn io_at(path: &Path) -> impl FnOnce(io::Error) -> StationError + '_ {
    |cause| StationError::Io { path: path.to_owned(), cause }
}

/// Puts what is held of a parcel where the group of security officers may take it.
pub(crate) fn hand_over(station: &Station, request: &Request, now: Timestamp) -> Outcome {
    match release::asked_for(request) {
        Ok(parcel) => release::or_not_now(give(station, parcel, request, now)),
        Err(refusal) => Ok(Err(refusal)),
    }
}

fn give(station: &Station, parcel: ParcelId, request: &Request, now: Timestamp) -> Outcome {
    let folder = station.layout().desk_held();
    let (made, aside) = (folder.join(format!("{}.bundle", request.id)), folder.join(format!(".{}", request.id)));
    if let Some(refusal) = no_place(&folder, &made)? {
        return Ok(Err(refusal));
    }
    let disk = station.spool.disk();
    disk.remove_file(&aside).map_err(io_at(&aside))?;
    let sealed = sealing::aside_place(station, &parcel);
    if sealed.exists() {
        on_record(station, parcel, request, now)?;
        let bytes = std::fs::metadata(&sealed).map_err(io_at(&sealed))?.len();
        station.spool.room(bytes)?;
        disk.copy(&sealed, &aside).map_err(io_at(&aside))?;
    } else {
        if let Some(refusal) = incident(station, &parcel)? {
            return Ok(Err(refusal));
        }
        let held = match release::find(station, parcel)? {
            Ok(held) => held,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if station.trust.current(&security(), Use::Seal).is_err() {
            return Ok(Err(no_card()));
        }
        let judgement = release::judge(station, &held, now)?;
        let (reason, findings) = said(&judgement);
        on_record(station, parcel, request, now)?;
        let why = Why { reason, findings };
        sealing::seal_to_security(station, parcel, &held.drop, held.hop.crossing, &why, (&aside, now))?;
    }
    // The folder gives it its group.
    disk.set_mode(&aside, 0o640).map_err(io_at(&aside))?;
    let (bytes, digest) = digest(station, &aside).map_err(io_at(&aside))?;
    disk.rename(&aside, &made).map_err(io_at(&made))?;
    Ok(Ok(json!({ "parcel": parcel.to_string(), "file": made, "bytes": bytes, "digest": digest.to_string() })))
}

fn said<T>(judgement: &Judgement<T>) -> (Option<Reason>, &[Finding]) {
    match judgement {
        Judgement::Refused { reason, findings, .. } | Judgement::Quarantine { reason, findings, .. } => {
            (Some(*reason), findings)
        }
        Judgement::Strip { .. } => (Some(Reason::Coordinates), &[]),
        Judgement::Released(_) => (None, &[]),
    }
}

fn no_place(folder: &Path, made: &Path) -> Result<Option<Refusal>, StationError> {
    if !folder.exists() {
        let refusal = Refusal::new("not-set-up", &format!("{} is not there yet", folder.display()), "尚无该目录");
        return Ok(Some(refusal.with_remedy(
            "run init once, as root, so that the folder belongs to group trilock-sec",
            "请以 root 执行一次 init，使该目录属于 trilock-sec 组",
        )));
    }
    let lying: Result<Vec<_>, _> = std::fs::read_dir(folder).map_err(io_at(folder))?.collect();
    let lying = lying.map_err(io_at(folder))?.into_iter();
    // Not what this very request made before the node died, nor what is just being made.
    let counts =
        |file: &std::fs::DirEntry| !file.file_name().as_encoded_bytes().starts_with(b".") && file.path() != made;
    let found = lying.filter(counts).count();
    Ok((found >= BUNDLES_MAX).then(|| {
        let english = format!("{found} bundles lie in the desk, which takes {BUNDLES_MAX}; each goes after two days");
        Refusal::new("too-many-held", &english, "办理台中待取的隔离件过多，两天后自动清除")
    }))
}

/// What came down with coordinates is the evidence of an incident, and stays as its sender sealed it.
fn incident(station: &Station, parcel: &ParcelId) -> Result<Option<Refusal>, StationError> {
    let known = station.spool.parcel(parcel)?;
    Ok(known.filter(|known| known.reason == Some(Reason::Incident)).map(|_| {
        Refusal::new(
            "incident",
            "it came from a higher zone with coordinates: its bundle is evidence, sealed to this node and to no officer",
            "该件自高密级网区带入坐标：密封包作为证据保留，仅本节点密钥可开启，未封装给安全员",
        )
        .with_remedy("look at the parcel at its origin, with the same command there", "请在起点节点用同一命令查看")
    }))
}

fn no_card() -> Refusal {
    Refusal::new(
        "no-security-card",
        "no card of the office's security key is in this node's trust folder: there is nobody to seal it to",
        "本节点信任库中没有安全密钥的公钥卡，无法封装",
    )
    .with_remedy(
        "copy security.seal.pub.pem into the trust folder and reload",
        "请将 security.seal.pub.pem 复制到信任库并重新加载",
    )
}

/// Who is going to look into which parcel, and why: before there is anything to take.
fn on_record(station: &Station, parcel: ParcelId, request: &Request, now: Timestamp) -> Result<(), StationError> {
    if was_recorded(station, request, |record| record.parcel == Some(parcel))? {
        return Ok(());
    }
    let mut record = Record::new(Event::RequestAnswered, now);
    (record.parcel, record.person, record.digest) = (Some(parcel), Some(request.person.clone()), Some(request.id));
    let label = Name::new("action").map(|name| Label { name, value: request.action.to_string() });
    let reason = request.argument("reason").unwrap_or_default().to_owned();
    station.spool.record(record, Local { name: Some(reason), labels: label.into_iter().collect() })?;
    Ok(())
}

fn digest(station: &Station, path: &Path) -> io::Result<(u64, Digest)> {
    use std::io::Read as _;
    let (mut file, mut hasher, mut bytes) = (File::open(path)?, station.suite.hasher(), 0_u64);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let read = file.read(&mut piece)?;
        let Some(part) = piece.get(..read).filter(|part| !part.is_empty()) else { break };
        hasher.update(part);
        bytes = bytes.saturating_add(read as u64);
    }
    Ok((bytes, hasher.finish()))
}
