//! Release: what the guard held in the internal zone goes back to its inlet, once two people have excepted what was found
//! in it. It is looked at there like any drop, under the exceptions that stand: nothing leaves by a release that would not
//! leave without it, and nobody releases what is structural.
//!
//! Outside the internal zone there is nothing to release: what is held there is sealed to the office's security key and
//! this node cannot open it. Its app drops it again.
//!
//! Two people say so, and each word is about one parcel: kept beside it as the signed request, verified whenever it is read.
//!
//! Why it may die anywhere: what is about to move is written down first, then recorded, then moved by one rename. Whoever
//! finds the paper and an empty folder knows that the inlet has the drop, and does what is left: its marker, the removals.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use guard::{Finding, Judgement, Moment, Parcel as _, Question, RuleClass, may_be_excepted};
use protocol::ledger::{Event, Local, Record};
use protocol::parcel::Label;
use protocol::request::Request;
use protocol::trust::{Role, is_officer_and_another};
use protocol::{Name, ParcelId, Signed, Timestamp};
use serde_json::{Value, json};
use spool::ActFilter;

use crate::config::{Hop, IntakeWord, RouteSettings};
use crate::desk::{REQUEST_BYTES_MAX, Refusal, is_of_the_disk, read_small};
use crate::drop::{self, Drop};
use crate::exceptions::{DAYS_MAX, hex, unhex};
use crate::housekeeping::DAY_MS;
use crate::sealing;
use crate::station::{Station, StationError};

type Outcome = Result<Result<Value, Refusal>, StationError>;

/// Findings that are shown; whoever needs more looks at the file with `inspect`.
const FINDINGS_SHOWN: usize = 100;
/// People who may speak for one parcel at a time; two are enough.
const WORDS_MAX: usize = 16;
/// Each of them a request in hexadecimal digits on a line, and one line about what moves.
const PAPER_BYTES_MAX: u64 = (WORDS_MAX as u64 + 1) * (2 * REQUEST_BYTES_MAX + 64);
/// Days that a word stands where the request says nothing.
const DAYS: u64 = 7;
/// Newest acts of a person among which a release is looked for that was answered to nobody.
const ACTS_LOOKED_AT: usize = 1_000;
/// The file beside a held drop that says who wants it released, and what moves.
pub(crate) const PAPER: &str = "release";

/// A drop that is held.
pub(crate) struct Held<'a> {
    pub(crate) parcel: ParcelId,
    pub(crate) drop: Drop,
    route: &'a RouteSettings,
    pub(crate) hop: Hop,
}

fn none(english: &str, chinese: &str) -> Refusal {
    Refusal::new("nothing-held", english, chinese)
        .with_remedy("`list --state quarantined` and `--state refused` name what is held", "用 list 查看被隔离的投递件")
}

/// Finds what is held of a parcel.
pub(crate) fn find<'a>(station: &'a Station, parcel: ParcelId) -> Result<Result<Held<'a>, Refusal>, StationError> {
    if sealing::aside_place(station, &parcel).exists() {
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
    let folder = folder_of(station, parcel);
    let inside = std::fs::read_dir(&folder).ok().and_then(|mut entries| entries.next()?.ok());
    let Some(place) = inside.map(|entry| entry.path()) else {
        return Ok(Err(none("nothing of it is held here", "此处没有其留存内容")));
    };
    match Drop::read(&place, route.names) {
        Ok(drop) => Ok(Ok(Held { parcel, drop, route, hop })),
        Err(error) => Err(StationError::Io { path: place, cause: std::io::Error::other(error.to_string()) }),
    }
}

/// What the guard says of it now, with the exceptions that stand.
pub(crate) fn judge(station: &Station, held: &Held<'_>, now: Timestamp) -> Result<Judgement<Drop>, StationError> {
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

/// An error of the disk, the worker or the scanner is no verdict; the next try is a person's to make.
pub(crate) fn or_not_now(outcome: Outcome) -> Outcome {
    match outcome {
        Err(error) if is_of_the_disk(&error) => {
            let refusal =
                Refusal::new("not-now", &error.to_string(), "当前无法判定（磁盘、解析或杀毒程序未应答），未执行");
            Ok(Err(refusal.with_remedy("mend what it says, then ask again", "请排除上述故障后重新申请")))
        }
        other => other,
    }
}

pub(crate) fn asked_for(request: &Request) -> Result<ParcelId, Refusal> {
    let parcel = request.argument("parcel").and_then(ParcelId::from_hex);
    parcel.ok_or_else(|| Refusal::new("argument-missing", "the request lacks parcel", "请求缺少 parcel"))
}

/// What is held of a parcel, and why: for whoever is to say whether it may go. Samples are masked.
pub(crate) fn held(station: &Station, request: &Request, now: Timestamp) -> Outcome {
    match asked_for(request) {
        Ok(parcel) => or_not_now(show(station, parcel, now)),
        Err(refusal) => Ok(Err(refusal)),
    }
}

fn show(station: &Station, parcel: ParcelId, now: Timestamp) -> Outcome {
    let held = match find(station, parcel)? {
        Ok(held) => held,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let judgement = judge(station, &held, now)?;
    let found = found(&judgement);
    let mut rows = Vec::new();
    for finding in found.iter().take(FINDINGS_SHOWN) {
        let index = file_of(&held.drop, finding);
        let digest = index.map(|index| digest(station, &held.drop, index)).transpose()?;
        rows.push(json!({
            "rule": finding.rule, "class": finding.class.name(), "at": finding.at, "sample": finding.sample, "file": digest,
        }));
    }
    // Of all of them: whoever signs for what is shown must not sign for nothing.
    let open = |finding: &Finding| may_be_excepted(finding) && file_of(&held.drop, finding).is_some();
    let refused_otherwise = found.is_empty() && !matches!(judgement, Judgement::Released(_));
    let releasable = found.len() <= FINDINGS_SHOWN && found.iter().all(open) && !refused_otherwise;
    Ok(Ok(json!({
        "parcel": held.parcel.to_string(), "name": held.drop.original_name().to_string_lossy(), "route": held.route.name,
        "crossing": held.hop.crossing.name(), "findings": rows, "releasable": releasable,
    })))
}

/// The one file that a finding stands in: its place is the file's path, or begins with it and goes on inside. Nothing where
/// two fit.
fn file_of(drop: &Drop, finding: &Finding) -> Option<usize> {
    let fits = |path: &str| {
        let inside = finding.at.strip_prefix(path);
        inside.is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/', '!']) || rest.starts_with(" ("))
    };
    let mut fitting = drop.files().iter().enumerate().filter(|(_, facts)| fits(&facts.path));
    let (index, _) = fitting.next()?;
    fitting.next().is_none().then_some(index)
}

fn digest(station: &Station, drop: &Drop, index: usize) -> Result<String, StationError> {
    let io = |cause| StationError::Io { path: drop.place().to_owned(), cause };
    let mut file = drop.open_file(index).map_err(io)?;
    let (_, digest) = protocol::tree::root_of_reader(station.suite, &mut file).map_err(io)?;
    Ok(digest.to_string())
}

/// One person's word that a parcel may go.
#[derive(Clone)]
struct Word {
    person: Name,
    role: Role,
    until: Timestamp,
    signed: Vec<u8>,
}

impl Word {
    /// Nothing where it is no such word about this parcel, or not signed by who may.
    fn read(station: &Station, parcel: ParcelId, signed: &[u8]) -> Option<Word> {
        let parsed = Signed::parse::<Request>(signed).ok()?;
        let (request, card) = station.trust.verify::<Request>(&parsed).ok()?;
        let may = matches!(card.role, Role::Security | Role::Approver) && card.holder == request.person;
        let about = request.argument("parcel").and_then(ParcelId::from_hex);
        if !may || request.node != station.node || request.action.as_str() != "release" || about != Some(parcel) {
            return None;
        }
        let days = request.argument("days").map_or(Some(DAYS), |days| days.parse().ok());
        let days = days.filter(|days| (1..=DAYS_MAX).contains(days))?;
        let until = request.at.plus_ms(days * DAY_MS);
        Some(Word { person: request.person.clone(), role: card.role, until, signed: signed.to_vec() })
    }
}

/// A drop on its way back.
#[derive(Clone)]
struct Going {
    /// The file or folder itself, by which it is known in the inlet.
    inode: u64,
    name: OsString,
}

/// What is written beside a held drop.
#[derive(Default)]
struct Paper {
    words: Vec<Word>,
    going: Option<Going>,
}

fn paper_place(station: &Station, parcel: ParcelId) -> PathBuf {
    station.layout().quarantine().join(format!("{parcel}.{PAPER}"))
}

fn folder_of(station: &Station, parcel: ParcelId) -> PathBuf {
    station.layout().quarantine().join(parcel.to_string())
}

impl Paper {
    /// A line that does not verify any more says nothing.
    fn read(station: &Station, parcel: ParcelId) -> Result<Paper, StationError> {
        let path = paper_place(station, parcel);
        let bytes = match read_small(&path, PAPER_BYTES_MAX) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Paper::default()),
            other => other.map_err(|cause| StationError::Io { path, cause })?,
        };
        let mut paper = Paper::default();
        for line in String::from_utf8_lossy(&bytes).lines().take(WORDS_MAX + 1) {
            let mut parts = line.split(' ');
            match (parts.next(), parts.next(), parts.next()) {
                (Some("word"), Some(signed), None) => {
                    paper.words.extend(unhex(signed).and_then(|signed| Word::read(station, parcel, &signed)));
                }
                (Some("going"), Some(inode), Some(name)) => {
                    let read = inode.parse().ok().zip(unhex(name));
                    paper.going = read.map(|(inode, name)| Going { inode, name: OsString::from_vec(name) });
                }
                _ => {}
            }
        }
        Ok(paper)
    }

    fn write(&self, station: &Station, parcel: ParcelId) -> Result<(), StationError> {
        let words = self.words.iter().map(|word| format!("word {}\n", hex(&word.signed)));
        let going = self.going.iter().map(|going| format!("going {} {}\n", going.inode, hex(going.name.as_bytes())));
        let text: String = words.chain(going).collect();
        let path = paper_place(station, parcel);
        station.spool.disk().write(&path, text.as_bytes()).map_err(|cause| StationError::Io { path, cause })
    }

    /// Adds a word, in the place of the same person's earlier one. What is over goes.
    fn say(&mut self, word: Word, now: Timestamp) {
        self.words.retain(|known| known.until > now && known.person != word.person);
        self.words.push(word);
    }

    fn suffices(&self, now: Timestamp) -> bool {
        let live = self.words.iter().filter(|word| word.until > now);
        is_officer_and_another(live.map(|word| (&word.person, word.role)))
    }

    /// What was about to move and did: nothing is left of it where it was held.
    fn gone(&self, station: &Station, parcel: ParcelId) -> Result<Option<&Going>, StationError> {
        let Some(going) = &self.going else { return Ok(None) };
        let path = folder_of(station, parcel);
        let is_there = match std::fs::read_dir(&path).map(|mut inside| inside.next().transpose()) {
            Ok(first) => first.map(|first| first.is_some()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        };
        let is_there = is_there.map_err(|cause| StationError::Io { path, cause })?;
        Ok((!is_there).then_some(going))
    }
}

/// Puts a held drop back into its inlet, if two people say so and what stands lets it pass.
pub(crate) fn release(station: &Station, request: &Request, signed: &[u8], now: Timestamp) -> Outcome {
    let parcel = match asked_for(request) {
        Ok(parcel) => parcel,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let Some(word) = Word::read(station, parcel, signed) else {
        return Ok(Err(Refusal::new("argument-missing", "days is 1 to 30", "days 须为 1 至 30")));
    };
    or_not_now(decide(station, parcel, word, request, now))
}

fn decide(station: &Station, parcel: ParcelId, word: Word, request: &Request, now: Timestamp) -> Outcome {
    let mut paper = Paper::read(station, parcel)?;
    if let Some(going) = paper.gone(station, parcel)? {
        // We died behind the rename.
        return finish(station, parcel, going).map(Ok);
    }
    let held = match find(station, parcel)? {
        Ok(held) => held,
        // We died before the answer was written.
        Err(_) if is_on_record(station, parcel, request)? => return Ok(Ok(released(parcel))),
        Err(refusal) => return Ok(Err(refusal)),
    };
    let judgement = judge(station, &held, now)?;
    if let Some(fixed) = found(&judgement).iter().find(|finding| finding.class == RuleClass::Structural) {
        let english = format!("{} is structural: nobody releases it", fixed.rule);
        return Ok(Err(Refusal::new("structural", &english, "结构类命中，任何人不得放行")));
    }
    let role = word.role;
    paper.say(word, now);
    if paper.words.len() > WORDS_MAX {
        return Ok(Err(Refusal::new("too-many", "more people have spoken for it than are kept", "已登记人数过多")));
    }
    paper.write(station, parcel)?;
    if !paper.suffices(now) || !matches!(judgement, Judgement::Released(_)) {
        let (left, words) = (found(&judgement).len(), paper.words.len());
        return Ok(Ok(
            json!({ "parcel": parcel.to_string(), "released": false, "findings_left": left, "words": words }),
        ));
    }
    put_back(station, &held, &mut paper, role, request, now)
}

/// Was this parcel released for this request?
fn is_on_record(station: &Station, parcel: ParcelId, request: &Request) -> Result<bool, StationError> {
    let asked = ActFilter { person: Some(request.person.clone()), ..ActFilter::default() };
    let acts = station.spool.acts(&asked, ACTS_LOOKED_AT)?;
    Ok(acts.iter().any(|act| {
        let (record, event) = (&act.record, Event::RequestAnswered);
        record.event == event && record.parcel == Some(parcel) && record.digest == Some(request.id)
    }))
}

/// Who lets it go, and by whose words.
fn record(
    station: &Station,
    held: &Held<'_>,
    paper: &Paper,
    role: Role,
    request: &Request,
    now: Timestamp,
) -> Result<(), StationError> {
    if is_on_record(station, held.parcel, request)? {
        return Ok(());
    }
    let mut record = Record::new(Event::RequestAnswered, now);
    record.parcel = Some(held.parcel);
    record.person = Some(request.person.clone());
    record.crossing = Some(held.hop.crossing);
    record.digest = Some(request.id);
    let words = paper.words.iter().filter(|word| word.until > now);
    let words = words.map(|word| ("word", format!("{} {}", word.role, word.person)));
    let said = std::iter::once(("release", role.to_string())).chain(words);
    let labels = said.filter_map(|(what, value)| Some(Label { name: Name::new(what).ok()?, value }));
    let reason = request.argument("reason").unwrap_or_default().to_owned();
    station.spool.record(record, Local { name: Some(reason), labels: labels.collect() })?;
    Ok(())
}

fn put_back(
    station: &Station,
    held: &Held<'_>,
    paper: &mut Paper,
    role: Role,
    request: &Request,
    now: Timestamp,
) -> Outcome {
    let name_taken = || {
        Ok(Err(Refusal::new(
            "name-taken",
            "a drop of that name waits in its inlet; ask again when it is gone",
            "入口中已有同名投递，待其处理后再申请",
        )))
    };
    let (place, name) = (held.drop.place(), held.drop.original_name());
    let target = inlet_place(station, &held.route.name, name);
    let io = |path: &Path, cause| StationError::Io { path: path.to_owned(), cause };
    if target.symlink_metadata().is_ok() {
        return name_taken();
    }
    let inode = place.symlink_metadata().map_err(|cause| io(place, cause))?.ino();
    let going = Going { inode, name: name.to_owned() };
    paper.going = Some(going.clone());
    paper.write(station, held.parcel)?;
    record(station, held, paper, role, request, now)?;
    match station.spool.disk().rename_new(place, &target) {
        Ok(()) => finish(station, held.parcel, &going).map(Ok),
        // Its app was faster.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            paper.going = None;
            paper.write(station, held.parcel)?;
            name_taken()
        }
        Err(error) => Err(io(&target, error)),
    }
}

fn inlet_place(station: &Station, route: &Name, name: &OsStr) -> PathBuf {
    station.layout().inlet(route).join(name)
}

fn released(parcel: ParcelId) -> Value {
    json!({ "parcel": parcel.to_string(), "released": true })
}

/// The inlet has the drop: its marker, then nothing of it is left here. Safe to repeat.
fn finish(station: &Station, parcel: ParcelId, going: &Going) -> Result<Value, StationError> {
    let disk = station.spool.disk();
    let io = |path: &Path, cause| StationError::Io { path: path.to_owned(), cause };
    let route = station.spool.parcel(&parcel)?.and_then(|state| station.route(&state.route));
    if let Some(route) = route.filter(|route| route.intake == Some(IntakeWord::Ready)) {
        let target = inlet_place(station, &route.name, &going.name);
        let mut marker = going.name.clone();
        marker.push(".ready");
        let marker = target.with_file_name(marker);
        // Only where it is still ours: of what the app writes there now, the app says when it is whole.
        if target.symlink_metadata().is_ok_and(|about| about.ino() == going.inode) {
            disk.write(&marker, b"").map_err(|cause| io(&marker, cause))?;
        }
    }
    let folder = folder_of(station, parcel);
    disk.remove_tree(&folder).map_err(|cause| io(&folder, cause))?;
    let paper = paper_place(station, parcel);
    disk.remove_file(&paper).map_err(|cause| io(&paper, cause))?;
    station.spool.bell().ring();
    Ok(released(parcel))
}

/// Finishes what an earlier process moved. What cannot be finished now is finished when somebody asks again.
pub(crate) fn recover(station: &Station) -> Result<(), StationError> {
    let folder = station.layout().quarantine();
    let io = |cause| StationError::Io { path: folder.clone(), cause };
    for entry in std::fs::read_dir(&folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let parcel = path.file_stem().and_then(|stem| stem.to_str()).and_then(ParcelId::from_hex);
        let Some(parcel) = parcel.filter(|_| path.extension().is_some_and(|end| end == PAPER)) else { continue };
        let done = Paper::read(station, parcel).and_then(|paper| match paper.gone(station, parcel)? {
            Some(going) => finish(station, parcel, going).map(|_| ()),
            None => Ok(()),
        });
        match done {
            Err(error) if error.concerns_all(&station.spool) => return Err(error),
            Err(error) => tracing::error!(%parcel, %error, "a release is left until it can be finished"),
            Ok(()) => {}
        }
    }
    Ok(())
}
