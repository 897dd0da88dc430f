//! Release: what the guard held in the internal zone goes back to its inlet, once two people have excepted what was found
//! in it. It is looked at there like any drop, under the exceptions that stand: nothing leaves by a release that would not
//! leave without it, and nobody releases what is structural.
//!
//! Outside the internal zone there is nothing to release: what is held there is sealed to the office's security key and
//! this node cannot open it. Its app drops it again.
//!
//! Why it may die anywhere: the rename is the release. Before it the drop is held as it was; after it the inlet has it, and
//! an empty folder is left that goes with its days.

use std::path::PathBuf;

use guard::{Finding, Judgement, Moment, Parcel as _, Question, RuleClass};
use protocol::ledger::{Event, Local, Record};
use protocol::parcel::Label;
use protocol::request::Request;
use protocol::trust::Role;
use protocol::{Name, ParcelId, Timestamp};
use serde_json::{Value, json};

use crate::config::{Hop, IntakeWord, RouteSettings};
use crate::desk::Refusal;
use crate::drop::{self, Drop};
use crate::station::{Station, StationError};

type Outcome = Result<Result<Value, Refusal>, StationError>;

/// Findings that are shown; whoever needs more looks at the file with `inspect`.
const FINDINGS_SHOWN: usize = 100;

/// A drop that is held.
struct Held<'a> {
    parcel: ParcelId,
    folder: PathBuf,
    drop: Drop,
    route: &'a RouteSettings,
    hop: Hop,
}

fn none(english: &str, chinese: &str) -> Refusal {
    Refusal::new("nothing-held", english, chinese)
        .with_remedy("`list --state quarantined` and `--state refused` name what is held", "用 list 查看被隔离的投递件")
}

/// Finds what is held of a parcel.
fn find<'a>(station: &'a Station, parcel: ParcelId) -> Result<Result<Held<'a>, Refusal>, StationError> {
    let quarantine = station.layout().quarantine();
    if quarantine.join(format!("{parcel}.bundle")).exists() {
        return Ok(Err(Refusal::new(
            "sealed-away",
            "it is sealed to the office's security key, which is in the internal zone only",
            "该件已用安全密钥封装，仅业务内网可开启",
        )
        .with_remedy(
            "two people `ferry except` what was found, and its app drops it again",
            "由两人用 ferry except 登记例外，再由来源应用重新投递",
        )));
    }
    let Some(state) = station.spool.parcel(&parcel)? else {
        return Ok(Err(none("no such parcel here", "本节点没有该投递件")));
    };
    let route = station.route(&state.route);
    let Some((route, hop)) = route.and_then(|route| Some((route, station.next_hop(route)?))) else {
        return Ok(Err(none("its route is not in the config any more", "配置中已没有其路由")));
    };
    let folder = quarantine.join(parcel.to_string());
    let inside = std::fs::read_dir(&folder).ok().and_then(|mut entries| entries.next()?.ok());
    let Some(place) = inside.map(|entry| entry.path()) else {
        return Ok(Err(none("nothing of it is held here", "此处没有其留存内容")));
    };
    match Drop::read(&place, route.names) {
        Ok(drop) => Ok(Ok(Held { parcel, folder, drop, route, hop })),
        Err(error) => Err(StationError::Io { path: place, cause: std::io::Error::other(error.to_string()) }),
    }
}

/// What the guard says of it now, with the exceptions that stand.
fn judge(station: &Station, held: &Held<'_>, now: Timestamp) -> Result<Judgement<Drop>, StationError> {
    let path = || held.drop.place().to_owned();
    let rules = station.rules.get(&held.hop.crossing);
    let rules = rules.ok_or_else(|| StationError::Io { path: path(), cause: std::io::ErrorKind::NotFound.into() })?;
    let again = Drop::read(held.drop.place(), held.route.names)
        .map_err(|error| StationError::Io { path: path(), cause: std::io::Error::other(error.to_string()) })?;
    let types = &held.route.types;
    let question = Question { rules, suite: station.suite, moment: Moment::Intake, types, stripped: false };
    let standing = station.exceptions.standing(held.hop.crossing, now);
    drop::inspect(&station.sandbox, station.scanner.as_ref(), &question, &standing, again)
}

fn found(judgement: &Judgement<Drop>) -> &[Finding] {
    match judgement {
        Judgement::Refused { findings, .. } | Judgement::Quarantine { findings, .. } => findings,
        Judgement::Released(_) | Judgement::Strip { .. } => &[],
    }
}

/// What is held of a parcel, and why: for whoever is to say whether it may go. Samples are masked.
pub(crate) fn held(station: &Station, request: &Request, now: Timestamp) -> Outcome {
    let held = match asked_for(station, request)? {
        Ok(held) => held,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let judgement = judge(station, &held, now)?;
    let mut rows = Vec::new();
    for finding in found(&judgement).iter().take(FINDINGS_SHOWN) {
        let index = file_of(&held.drop, finding);
        let digest = index.map(|index| digest(station, &held.drop, index)).transpose()?;
        rows.push(json!({
            "rule": finding.rule, "class": finding.class.name(), "at": finding.at, "sample": finding.sample, "file": digest,
        }));
    }
    Ok(Ok(json!({
        "parcel": held.parcel.to_string(), "name": held.drop.original_name().to_string_lossy(), "route": held.route.name,
        "crossing": held.hop.crossing.name(), "findings": rows,
    })))
}

/// The file that a finding stands in: the longest path that its place begins with.
fn file_of(drop: &Drop, finding: &Finding) -> Option<usize> {
    let begins = drop.files().iter().enumerate().filter(|(_, facts)| finding.at.starts_with(&facts.path));
    begins.max_by_key(|(_, facts)| facts.path.len()).map(|(index, _)| index)
}

fn digest(station: &Station, drop: &Drop, index: usize) -> Result<String, StationError> {
    let io = |cause| StationError::Io { path: drop.place().to_owned(), cause };
    let mut file = drop.open_file(index).map_err(io)?;
    let (_, digest) = protocol::tree::root_of_reader(station.suite, &mut file).map_err(io)?;
    Ok(digest.to_string())
}

fn asked_for<'a>(station: &'a Station, request: &Request) -> Result<Result<Held<'a>, Refusal>, StationError> {
    match request.argument("parcel").and_then(ParcelId::from_hex) {
        Some(parcel) => find(station, parcel),
        None => Ok(Err(Refusal::new("argument-missing", "the request lacks parcel", "请求缺少 parcel"))),
    }
}

/// Puts a held drop back into its inlet, if what stands lets it pass.
pub(crate) fn release(station: &Station, request: &Request, role: Role, now: Timestamp) -> Outcome {
    let held = match asked_for(station, request)? {
        Ok(held) => held,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let judgement = judge(station, &held, now)?;
    if !matches!(judgement, Judgement::Released(_)) {
        if let Some(fixed) = found(&judgement).iter().find(|finding| finding.class == RuleClass::Structural) {
            let english = format!("{} is structural: nobody releases it", fixed.rule);
            return Ok(Err(Refusal::new("structural", &english, "结构类命中，任何人不得放行")));
        }
        let left = found(&judgement).len();
        return Ok(Ok(json!({ "parcel": held.parcel.to_string(), "released": false, "findings_left": left })));
    }
    record(station, request, &held, role, now)?;
    put_back(station, &held)
}

fn record(
    station: &Station,
    request: &Request,
    held: &Held<'_>,
    role: Role,
    now: Timestamp,
) -> Result<(), StationError> {
    let mut record = Record::new(Event::RequestAnswered, now);
    record.person = Some(request.person.clone());
    record.crossing = Some(held.hop.crossing);
    record.digest = Some(request.id);
    let said = [("parcel", held.parcel.to_string()), ("release", role.to_string())];
    let labels = said.into_iter().filter_map(|(what, value)| Some(Label { name: Name::new(what).ok()?, value }));
    let reason = request.argument("reason").unwrap_or_default().to_owned();
    station.spool.record(record, Local { name: Some(reason), labels: labels.collect() })?;
    Ok(())
}

fn put_back(station: &Station, held: &Held<'_>) -> Outcome {
    let disk = station.spool.disk();
    let target = station.layout().inlet(&held.route.name).join(held.drop.original_name());
    let io = |cause| StationError::Io { path: target.clone(), cause };
    match disk.rename_new(held.drop.place(), &target) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Ok(Err(Refusal::new(
                "name-taken",
                "a drop of that name waits in its inlet; ask again when it is gone",
                "入口中已有同名投递，待其处理后再申请",
            )));
        }
        Err(error) => return Err(io(error)),
    }
    if held.route.intake == Some(IntakeWord::Ready) {
        let mut marker = held.drop.original_name().to_owned();
        marker.push(".ready");
        disk.write(&target.with_file_name(marker), b"").map_err(io)?;
    }
    disk.remove_tree(&held.folder).map_err(io)?;
    station.spool.bell().ring();
    Ok(Ok(json!({ "parcel": held.parcel.to_string(), "released": true, "route": held.route.name })))
}
