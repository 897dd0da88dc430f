//! The desk: signed requests of people and tools, answered by the daemon. A request is acted on once; its answer is a
//! file. What a person may ask depends on the role on their key card; the node's own command line signs with the
//! node's key in a folder that only the daemon's user can write.
//!
//! Why it may die anywhere: every action is safe to repeat, and the request file goes only after its answer is durable.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use protocol::ledger::{Event, Local, Record};
use protocol::parcel::{Label, Priority};
use protocol::receipt::{EpochGaps, Range};
use protocol::request::{ARGUMENTS_MAX, Request};
use protocol::trust::{KeyCard, Role, Use};
use protocol::{Crossing, Digest, Name, ParcelId, Signed, Timestamp};
use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};
use spool::desk::Answer;
use spool::extract::Wanted;
use spool::{Act, ActAt, ActFilter, Kept};

use crate::alarm::Alarm;
use crate::config::{IntakeWord, RouteSettings};
use crate::exceptions::Word;
use crate::export::{self, ExportError};
use crate::housekeeping::DAY_MS;
use crate::station::{Off, Station, StationError};
use crate::trips::{self, Choice, Holds, Meant, Order, VolumeRead};
use crate::{
    admission, backup, by_hand, disposal, held, housekeeping, key_life, last_day, receipts, release, report, reseal,
    retries,
};

/// Requests answered in one step; the rest waits its turn.
const REQUESTS_A_STEP: usize = 64;
/// Requests that cannot be read and wait for a better moment: a desk has a handful of any kind.
const UNREAD_REQUESTS_MAX: usize = 64;
/// One that still cannot be read after this is refused: its person has asked again by then, or has gone.
const UNREAD_MS_MAX: u64 = HOUR_MS;
/// Where a request fails, in the list of what is tried again.
const STAGE: &str = "desk";
/// The day bounds replay of an old request file; answered ids are remembered by their answers until then.
const OLDEST_MS: u64 = 24 * 60 * 60 * 1000;
/// Names looked at in one step: a desk has a handful, and whoever floods it waits himself.
const REQUESTS_LOOKED_AT_MAX: usize = 4_096;
/// A request with all its arguments is far below this.
pub(crate) const REQUEST_BYTES_MAX: u64 = 64 * 1024;
/// A label has at most 256 bytes; a longer argument is none.
const LABEL_BYTES_MAX: usize = 256;
/// A local part holds 32 of them.
const LABELS_MAX: usize = 32;
/// Rows of one list answer.
const LIST_ROWS_MAX: usize = 10_000;
/// Acts of one answer; the next page begins behind the last.
const ACTS_MAX: usize = 1_000;
const HOUR_MS: u64 = 60 * 60 * 1000;
/// What an operator signs who wants the same survey files to enter a second time.
const AGAIN: &str = "again";
const AGAIN_YES: &str = "yes";
/// Lines of waybills that one answer looks into: some full discs.
const LINES_MAX: usize = 100_000;

/// A request that is not carried out, or is done with nothing to do.
#[derive(Debug)]
pub struct Refusal {
    /// Done all the same?
    pub done: bool,
    /// By code.
    pub code: &'static str,
    /// In English.
    pub english: String,
    /// In Chinese.
    pub chinese: String,
    /// What to do, in English and in Chinese.
    pub remedy: Option<Box<(String, String)>>,
    /// What it is about, for the program that asked.
    pub about: Option<Value>,
    /// An honest mistake that changes nothing: told to whoever asked, and an alarm to nobody.
    pub quiet: bool,
}

impl Refusal {
    /// A refusal.
    #[must_use]
    pub fn new(code: &'static str, english: &str, chinese: &str) -> Refusal {
        Refusal {
            done: false,
            code,
            english: english.to_owned(),
            chinese: chinese.to_owned(),
            remedy: None,
            about: None,
            quiet: false,
        }
    }

    /// With what to do about it.
    #[must_use]
    pub fn with_remedy(self, english: &str, chinese: &str) -> Refusal {
        Refusal { remedy: Some(Box::new((english.to_owned(), chinese.to_owned()))), ..self }
    }

    /// What the program that asked can read of it.
    fn details(&self) -> Value {
        let mut details = self.about.clone().unwrap_or(Value::Null);
        if let Some((english, chinese)) = self.remedy.as_deref() {
            let Value::Object(more) = json!({ "remedy_en": english, "remedy_zh": chinese }) else { return details };
            match &mut details {
                Value::Object(all) => all.extend(more),
                none => *none = Value::Object(more),
            }
        }
        details
    }
}

type Outcome = Result<Result<Value, Refusal>, StationError>;

/// Answers what lies at the desk. Returns how many requests came to an end.
pub fn step(station: &Station, now: Timestamp) -> Result<usize, StationError> {
    let (mut done, mut first) = (0, None);
    for (folder, own) in [(station.layout().desk_own(), true), (station.layout().desk_requests(), false)] {
        let io = |cause| StationError::Io { path: folder.clone(), cause };
        let mut looked_at = 0;
        for path in waiting(&folder).map_err(io)? {
            let item = retries::item_of(&path);
            if !station.retries.is_due(&item, now) {
                continue;
            }
            // One that cannot be answered or cleared away must not keep everybody else's waiting: the desk is a folder
            // that people write in, so only what went counts.
            match answer_file(station, &path, own, now) {
                Ok(true) => looked_at += 1,
                Ok(false) => {}
                Err(error) => first = first.or(Some(error)),
            }
            if looked_at >= REQUESTS_A_STEP {
                break;
            }
        }
        done += looked_at;
    }
    // What its person, or whoever tidies the desk, took away.
    let places = [station.layout().desk_own(), station.layout().desk_requests()];
    station.retries.forget(STAGE, |item| places.iter().any(|place| place.join(item).symlink_metadata().is_ok()));
    first.map_or(Ok(done), Err)
}

/// The requests in a folder, as they were laid down: the request of a command that died is carried out before the one with
/// which its person asks again, so that the second answer is the one that stands.
fn waiting(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if path.extension().is_none_or(|suffix| suffix != "req") {
            // Whatever else people lay there keeps no request waiting.
            continue;
        }
        // One that went meanwhile has no time and is missed when it is read.
        let laid = entry.metadata().and_then(|about| about.modified()).unwrap_or(UNIX_EPOCH);
        found.push((laid, path));
        if found.len() >= REQUESTS_LOOKED_AT_MAX {
            break;
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// Did it come to an end? One that the disk does not give waits, and is tried again at a growing pause: what a person
/// asked is not answered by what a bad sector makes of it. The others go on, also those that were laid after it.
fn answer_file(station: &Station, path: &Path, own: bool, now: Timestamp) -> Result<bool, StationError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |cause| StationError::Io { path, cause }
    };
    let id = path.file_stem().and_then(|stem| stem.to_str()).and_then(Digest::from_hex);
    if id.is_some_and(|id| station.layout().desk_answers().join(format!("{id}.json")).exists()) {
        // Answered before we died, or an old request laid down again: never acted on twice.
        return station.spool.disk().remove_file(path).map_err(io(path)).map(|()| true);
    }
    let item = retries::item_of(path);
    let read = station.spool.disk().read_plain(path, REQUEST_BYTES_MAX);
    if let Err(error) = &read
        && id.is_some()
        && spool::disk::is_unreadable(error)
        && may_wait(station, &item, now)
    {
        tracing::error!(request = item, %error, "a request at the desk cannot be read; it waits and is tried again");
        station.retries.failed(STAGE, &item, error, now);
        return Ok(false);
    }
    station.retries.done(&item);
    let answer = match (id, read) {
        (Some(_), Err(error)) if spool::disk::is_unreadable(&error) => Err(unreadable()),
        (Some(id), Ok(bytes)) => match admit(station, &id, &bytes, own, now) {
            Ok((request, role)) => carry_out(station, &request, role, &bytes, now)?,
            Err(refusal) => Err(refusal),
        },
        _ => Err(Refusal::new("malformed", "the request file is not a request", "请求文件格式不正确")),
    };
    if let Some(id) = id {
        let answer = match answer {
            Ok(details) => Answer {
                done: true,
                code: "done".to_owned(),
                message_en: "done".to_owned(),
                message_zh: "已完成".to_owned(),
                details,
            },
            Err(refusal) => {
                if !refusal.done {
                    tracing::warn!(code = refusal.code, "{}", refusal.english);
                }
                if !refusal.done && !refusal.quiet {
                    station.alarms.raise(now, Alarm::RequestRefused);
                }
                let details = refusal.details();
                Answer {
                    done: refusal.done,
                    code: refusal.code.to_owned(),
                    message_en: refusal.english,
                    message_zh: refusal.chinese,
                    details,
                }
            }
        };
        let target = station.layout().desk_answers().join(format!("{id}.json"));
        let text =
            serde_json::to_vec(&answer).map_err(|e| StationError::Io { path: target.clone(), cause: e.into() })?;
        station.spool.disk().write(&target, &text).map_err(io(&target))?;
    }
    // A tree: somebody may have laid a folder under the name of a request.
    station.spool.disk().remove_tree(path).map_err(io(path)).map(|()| true)
}

/// May a request that cannot be read wait? Not for long, because what its person asked since then is done before it, and
/// no more of them than a desk has.
fn may_wait(station: &Station, item: &str, now: Timestamp) -> bool {
    station.retries.of(item).map_or_else(
        || station.retries.waiting_in(STAGE) < UNREAD_REQUESTS_MAX,
        |failed| now.since(failed.since) <= UNREAD_MS_MAX,
    )
}

fn unreadable() -> Refusal {
    Refusal::new("unreadable", "the disk does not give this request, and will not", "磁盘始终无法读出该请求")
        .with_remedy("ask again with the same command; look at the disk", "请重新执行同一命令；并检查磁盘")
}

/// Reads a small file out of a folder that a group may write: a link is not followed, a pipe not waited for, and no
/// more is read than was agreed.
pub(crate) fn read_small(path: &Path, bytes_max: u64) -> std::io::Result<Vec<u8>> {
    spool::disk::read_plain(path, bytes_max)
}

/// The signing keys of this node that it would believe: those on its own cards whose last day is not over. (The one it
/// signs with itself it knows without a card.)
pub(crate) fn own_keys(station: &Station, now: Timestamp) -> impl Iterator<Item = Digest> {
    let own = move |card: &&KeyCard| {
        card.holder == station.node
            && card.usage == Use::Sign
            && card.role == Role::Node
            && !last_day::is_over(station, card, now)
    };
    station.trust.cards().filter(own).map(KeyCard::id)
}

/// Reads a request and checks who asks.
fn admit(station: &Station, id: &Digest, bytes: &[u8], own: bool, now: Timestamp) -> Result<(Request, Role), Refusal> {
    let refuse = |words: &str| Refusal::new("not-authentic", words, "请求签名或内容无效");
    let signed = Signed::parse::<Request>(bytes).map_err(|e| refuse(&e.to_string()))?;
    let (request, role) = if own && signed.signer == station.keyring.signing.public().id() {
        (signed.verify::<Request>(&station.keyring.signing.public()).map_err(|e| refuse(&e.to_string()))?, Role::Node)
    } else if own && own_keys(station, now).any(|id| id == signed.signer) {
        // Between the change of its signing key and the reload the command line has the next key already.
        let request = station.trust.verify_from_node::<Request>(&signed, &station.node);
        (request.map_err(|e| refuse(&e.to_string()))?, Role::Node)
    } else {
        let (request, card) = station.trust.verify::<Request>(&signed).map_err(|e| refuse(&e.to_string()))?;
        if last_day::is_over(station, card, now) {
            return Err(last_day::refusal(card, now));
        }
        if card.holder != request.person || card.role == Role::Node {
            return Err(refuse("the request is not signed by the person it names"));
        }
        (request, card.role)
    };
    if request.id != *id || request.node != station.node || request.arguments.len() > ARGUMENTS_MAX {
        return Err(refuse("the request is for another node, or not the one its file name says"));
    }
    if station.clock.may_end_things() && now.0.abs_diff(request.at.0) > OLDEST_MS {
        return Err(Refusal::new(
            "too-old",
            "the request is older than a day, or the clocks differ by more",
            "请求已超过一天，或两机时钟相差过大",
        ));
    }
    Ok((request, role))
}

fn carry_out(station: &Station, request: &Request, role: Role, signed: &[u8], now: Timestamp) -> Outcome {
    let changes = !matches!(
        request.action.as_str(),
        "list" | "show" | "gaps" | "trips" | "keys" | "report" | "ledger-export" | "held" | "dispose-word"
    );
    if changes {
        let mut record = Record::new(Event::RequestAnswered, now);
        record.person = Some(request.person.clone());
        record.digest = Some(request.id);
        station.spool.record(record, Local::none())?;
    }
    let may = |allowed: &[Role]| role == Role::Node || allowed.contains(&role);
    let person = &request.person;
    match request.action.as_str() {
        "export" if may(&[Role::Operator]) => export(station, request, None, now),
        "reexport" if may(&[Role::Operator]) => export(station, request, number(request, "trip"), now),
        "approve" if may(&[Role::Approver]) => match number(request, "trip") {
            Some(trip) => or_disk_error(trips::approve(station, trip, person, now).map(|approved| {
                approved.map(|trip| json!({ "trip": trip.trip, "have": trip.approvals.len(), "needed": trip.needed }))
            })),
            None => Ok(Err(missing("trip"))),
        },
        "confirm" if may(&[Role::Operator]) => match (number(request, "trip"), name(request, "medium")) {
            (Some(trip), Some(medium)) => match volume_of(request, signed) {
                Ok(volume) => or_disk_error(
                    trips::confirm(station, trip, &medium, volume.as_ref(), person, now).map(|confirmed| {
                        confirmed.map(|(trip, missing)| json!({ "trip": trip.trip, "files": trip.files, "bytes": trip.bytes, "missing": missing }))
                    }),
                ),
                Err(refusal) => Ok(Err(refusal)),
            },
            _ => Ok(Err(missing("trip, medium"))),
        },
        "import" if may(&[Role::Operator]) => {
            let crossing = request.argument("crossing").and_then(|word| word.parse::<Crossing>().ok());
            let (Some(trip), Some(crossing)) = (number(request, "trip"), crossing) else {
                return Ok(Err(missing("trip, crossing")));
            };
            or_disk_error(trips::import(station, crossing, trip, person, request.at, now).map(|imported| {
                imported.map(|(trip, order)| json!({ "trip": trip.trip, "bundles": trip.bundles, "receipts": trip.files - trip.bundles, "bytes": trip.bytes, "skipped": order == Order::Skips, "late": order == Order::Late }))
            }))
        }
        "turned-away" if may(&[Role::Operator]) => turned_away(station, request, now),
        "resend" if may(&[Role::Operator]) => resend(station, request, now),
        "reseal" if may(&[Role::Operator]) => {
            let parcel = request.argument("parcel").and_then(ParcelId::from_hex);
            let key = request.argument("to").and_then(|word| Digest::from_hex(&word.replace(' ', "").to_lowercase()));
            match (parcel, key) {
                (Some(parcel), Some(key)) => or_disk_error(reseal::reseal(station, &parcel, &key, now)),
                _ => Ok(Err(missing("parcel, to").with_remedy(
                    "reseal PARCEL --to FINGERPRINT, as it stands on the node's sealing card",
                    "reseal 投递件编号 --to 指纹（见该节点封装公钥卡）",
                ))),
            }
        }
        "keys" if may(&[Role::KeyAdmin]) => key_life::needed(station, now),
        "backup" if may(&[Role::Operator]) => Ok(backup::start(station, request.id)),
        "gap-close" if may(&[Role::Operator]) => close_gap(station, request),
        "outbox-aside" if may(&[Role::Operator]) => or_disk_error(set_kept_aside(station, request, now)),
        "duplicate-admit" | "duplicate-close" if may(&[Role::Operator]) => duplicate(station, request, now),
        "route-enable" | "route-disable" if may(&[Role::Operator]) => switch(station, request, now),
        // Two people's own words, and never the node's: its key lies on this machine.
        "except" if matches!(role, Role::Security | Role::Approver) => except(station, request, signed, now),
        "except-revoke" if matches!(role, Role::Security | Role::Approver) => revoke(station, request, signed, now),
        "held" if matches!(role, Role::Security | Role::Approver) => {
            let shown = release::held(station, request, now)?;
            let rows = shown.as_ref().ok().and_then(|shown| shown.get("findings")?.as_array()).map_or(0, Vec::len);
            was_read(station, request, rows as u64, now)?;
            Ok(shown)
        }
        // What is in the clear in no answer and in no folder of the desk: an officer's own word, never the node's.
        "held-take" if role == Role::Security => held::hand_over(station, request, now),
        "release" if matches!(role, Role::Security | Role::Approver) => release::release(station, request, signed, now),
        "intake" if role == Role::Operator => brought(station, request, signed, now),
        "dispose" if role != Role::Node => disposal::dispose(station, request, role, signed, now),
        "dispose-word" if role != Role::Node => disposal::waiting(station, request, now),
        // What is laid beside the request, and made there, is in the folder of this machine's own account.
        "seal" if may(&[]) => or_disk_error(by_hand::seal(station, request, now)),
        "open" if may(&[]) => or_disk_error(by_hand::open(station, request, now)),
        // Who may say what time it is decides what may be thrown away: only who works on this machine.
        "clock-confirm" if may(&[]) => confirm_clock(station, request),
        "list" => list(station, request, now),
        "show" => show(station, request, now),
        "report" if may(&[Role::Auditor, Role::Security, Role::Operator]) => report(station, request, now),
        "ledger-export" if may(&[Role::Auditor, Role::Security]) => ledger_export(station, request, now),
        "gaps" => Ok(Ok(housekeeping::gaps(station))),
        "trips" => Ok(Ok(json!(trips::list(station)?))),
        "export" | "reexport" | "approve" | "confirm" | "import" | "turned-away" | "resend" | "reseal" | "keys" | "route-enable"
        | "route-disable" | "except" | "except-revoke" | "held" | "held-take" | "release" | "dispose" | "dispose-word" | "intake" | "seal" | "open" | "backup" | "gap-close" | "outbox-aside"
        | "duplicate-admit" | "duplicate-close" | "clock-confirm" | "report" | "ledger-export" => Ok(Err(
            Refusal::new("role", "the role on the key card may not ask for this", "密钥卡上的角色无权提出该请求"),
        )),
        other => {
            Ok(Err(Refusal::new("unknown-action", &format!("this node knows no request \"{other}\""), "未知请求")))
        }
    }
}

/// What is to go on a trip. A trip that goes again takes what it had. What an export does not know is not left unsaid: who
/// asked for less must not carry more.
fn choice_of(station: &Station, request: &Request, again: Option<u64>) -> Result<Choice, Refusal> {
    const EXPORT: [&str; 7] = ["medium", "carrier", "written", "route", "priority", "older-than-h", "bytes-max"];
    const REEXPORT: [&str; 3] = ["medium", "carrier", "trip"];
    let known = if again.is_some() { &REEXPORT[..] } else { &EXPORT };
    if let Some(other) = request.arguments.iter().find(|label| !known.contains(&label.name.as_str())) {
        let (action, other) = (&request.action, &other.name);
        let words = format!("this node knows no \"{other}\" of {action}");
        return Err(Refusal::new("argument-unknown", &words, &format!("本节点的 {action} 不支持“{other}”"))
            .with_remedy(
                "ferry and daemon are of different versions: install the same",
                "ferry 与守护进程版本不一致，请安装同一版本",
            ));
    }
    let listed =
        |what: &str| request.argument(what).map(|words| words.split(',').collect::<Vec<_>>()).unwrap_or_default();
    let of_number = |what: &'static str| match request.argument(what).map(str::parse::<u64>) {
        Some(Err(_)) => Err(missing(&format!("{what}, as a number"))),
        number => Ok(number.and_then(Result::ok)),
    };
    let mut choice = Choice {
        bytes_max: of_number("bytes-max")?,
        older_than_ms: of_number("older-than-h")?.unwrap_or(0).saturating_mul(HOUR_MS),
        ..Choice::default()
    };
    for word in listed("route") {
        match Name::new(word).ok().filter(|route| station.route(route).is_some()) {
            Some(route) => choice.routes.insert(route),
            None => {
                let word = word.escape_debug();
                return Err(Refusal::new(
                    "no-route",
                    &format!("\"{word}\" is no route of this node"),
                    "本节点没有该路由",
                ));
            }
        };
    }
    for word in listed("priority") {
        match Priority::ALL.into_iter().find(|priority| priority.name() == word) {
            Some(priority) => choice.priorities.push(priority),
            None => return Err(missing("priority: urgent, normal or bulk")),
        }
    }
    Ok(choice)
}

/// A trip for the next medium: one that stands staged already where that is meant, or a new one, or one staged `again`.
fn export(station: &Station, request: &Request, again: Option<u64>, now: Timestamp) -> Outcome {
    let earlier = again.map(|number| trips::staged(station, number)).transpose()?.flatten();
    let medium = name(request, "medium").or_else(|| earlier.as_ref().and_then(|trip| Name::new(&trip.medium).ok()));
    let carrier = name(request, "carrier").or_else(|| earlier.as_ref().and_then(|trip| Name::new(&trip.carrier).ok()));
    let (Some(medium), Some(carrier)) = (medium, carrier) else { return Ok(Err(missing("medium, carrier"))) };
    let choice = match choice_of(station, request, again) {
        Ok(choice) => choice,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let (person, written) = (&request.person, request.argument("written").map(numbers));
    let meant = again.map(Meant::Trip).or(written.as_deref().map(Meant::NotWritten));
    let stands = match meant.map(|meant| trips::standing(station, &medium, &carrier, person, &meant)).transpose() {
        Err(error) if is_of_the_disk(&error) => return Ok(Err(disk_error(&error))),
        found => found?.flatten(),
    };
    let taken_up = stands.is_some();
    let last = trips::last_number(station)?;
    let staged = match stands {
        Some(trip) => Ok(trip),
        None => match trips::stage(station, &medium, &carrier, person, again, &choice, now) {
            Err(error) if is_of_the_disk(&error) => Err(disk_error(&error)),
            other => other?,
        },
    };
    let first = match &staged {
        Ok(trip) => trips::staged_before(station, trip.trip)?,
        Err(_) => Vec::new(),
    };
    Ok(staged.map(|trip| {
        let folder = station.layout().desk_trips().join(trip.trip.to_string());
        let lapsed = again.is_none() && !taken_up && trip.trip <= last;
        json!({ "trip": trip.trip, "first": first, "lapsed": lapsed, "waybill": trip.waybill, "files": trip.files, "bytes": trip.bytes, "folder": folder, "approvals_needed": trip.needed, "taken_up": taken_up, "exceptions": trip.exceptions, "held": trip.held })
    }))
}

/// Is it the disk's word about one file or folder? The next try is a person's to make.
pub(crate) fn is_of_the_disk(error: &StationError) -> bool {
    use spool::SpoolError::{Disk, Full};
    error.is_of_signer() || matches!(error, StationError::Io { .. } | StationError::Spool(Disk { .. } | Full { .. }))
}

/// The next try is a person's to make.
fn or_disk_error(outcome: Outcome) -> Outcome {
    match outcome {
        Err(error) if is_of_the_disk(&error) || matches!(error, StationError::Seal(_)) => Ok(Err(disk_error(&error))),
        other => other,
    }
}

fn disk_error(error: &StationError) -> Refusal {
    if error.is_of_signer() {
        return Refusal::new("signer-away", &error.to_string(), "签名设备未应答或拒绝签名，未执行")
            .with_remedy("bring the device back, then ask again", "请恢复签名设备后重新申请");
    }
    Refusal::new("disk-error", &error.to_string(), "磁盘或文件读写失败，未执行")
        .with_remedy("look at the disk and at `trips`, then ask again", "请检查磁盘并查看 trips，然后重新申请")
}

/// One of the two words that an exception needs.
fn except(station: &Station, request: &Request, signed: &[u8], now: Timestamp) -> Outcome {
    let Some(word) = Word::read(signed, &station.trust, &station.node) else {
        return Ok(Err(missing("rule, file (64 hex digits), crossing, days (1 to 30)")));
    };
    if !station.rules.contains_key(&word.crossing) {
        return Ok(Err(Refusal::new(
            "no-crossing",
            "this node takes no part in that crossing",
            "本节点不参与该跨区段",
        )));
    }
    if station.exceptions.are_full() {
        return Ok(Err(Refusal::new(
            "too-many",
            "there are as many exceptions as this node keeps: a rule or a type is wrong",
            "例外数量已达上限，应修正规则或报文类型",
        )));
    }
    record_word(station, request, &word, now)?;
    let (rule, digest, crossing) = (word.rule.clone(), word.digest, word.crossing);
    let until = word.until;
    let stands = station.exceptions.add(station, word, now)?;
    Ok(Ok(json!({
        "rule": rule, "file": digest.to_string(), "crossing": crossing.name(), "until": until.to_string(), "stands": stands,
    })))
}

/// Takes an exception back.
fn revoke(station: &Station, request: &Request, signed: &[u8], now: Timestamp) -> Outcome {
    let Some(word) = Word::read_back(signed, &station.trust, &station.node) else {
        return Ok(Err(missing("rule, file (64 hex digits), crossing")));
    };
    record_word(station, request, &word, now)?;
    let gone = station.exceptions.take_back(station, &word)?;
    if gone == 0 {
        return Ok(Err(Refusal {
            done: true,
            ..Refusal::new("no-exception", "nobody has excepted that here", "此处没有该例外")
        }));
    }
    Ok(Ok(json!({
        "rule": word.rule, "file": word.digest.to_string(), "crossing": word.crossing.name(), "taken_back": gone,
    })))
}

/// Who excepted what, or took it back, and why.
fn record_word(station: &Station, request: &Request, word: &Word, now: Timestamp) -> Result<(), StationError> {
    let labels = ["rule", "file", "crossing", "days"].into_iter().filter_map(|what| {
        let value = request.argument(what)?.to_owned();
        Some(Label { name: Name::new(what).ok()?, value })
    });
    let action = Label { name: request.action.clone(), value: word.role.to_string() };
    let mut record = Record::new(Event::RequestAnswered, now);
    record.person = Some(word.person.clone());
    record.crossing = Some(word.crossing);
    record.digest = Some(request.id);
    let reason = request.argument("reason").unwrap_or_default().to_owned();
    station.spool.record(record, Local { name: Some(reason), labels: labels.chain([action]).collect() })?;
    Ok(())
}

/// Did we die between the record of what this request did and its answer? `like` tells that record from the one of the asking.
pub(crate) fn was_recorded(
    station: &Station,
    request: &Request,
    like: impl Fn(&Record) -> bool,
) -> Result<bool, StationError> {
    let asked = ActFilter { person: Some(request.person.clone()), ..ActFilter::default() };
    let acts = station.spool.acts(&asked, ACTS_MAX)?;
    let event = Event::RequestAnswered;
    let mut records = acts.iter().map(|act| &act.record);
    Ok(records.any(|record| record.event == event && record.digest == Some(request.id) && like(record)))
}

/// An operator has copied survey files from a medium that nobody registered, and signs their listing: kept as it was signed,
/// before the drop appears in its inlet. What the drop then is, nobody holds against the listing.
fn brought(station: &Station, request: &Request, signed: &[u8], now: Timestamp) -> Outcome {
    let listing = request.argument("listing").and_then(Digest::from_hex);
    let numbers = number(request, "files").zip(number(request, "bytes"));
    let (Some(_), Some(route), Some(listing), Some((_, bytes))) =
        (request.argument("name"), name(request, "route"), listing, numbers)
    else {
        return Ok(Err(missing("name, route, listing (64 hex digits), files, bytes")));
    };
    let begins_here = |route: &&RouteSettings| route.intake.is_some() && route.path.first() == Some(&station.node);
    let inlet = station.route(&route).filter(begins_here);
    if !station.zone.may_hold_coordinates() || inlet.is_none() {
        return Ok(Err(Refusal::new(
            "no-inlet",
            "survey files are brought to an inlet of the internal zone; no route of that name has one here",
            "权籍成果只能提交到业务内网的投递口；本节点没有该路由的投递口",
        )));
    }
    // Whoever lays the drop lays the marker behind it, where this inlet waits for one.
    let marked = inlet.is_some_and(|route| route.intake == Some(IntakeWord::Ready));
    let marker = marked.then_some(crate::intake::MARKER_SUFFIX);
    let done = Ok(Ok(json!({ "listing": listing.to_string(), "marker": marker })));
    if was_recorded(station, request, |record| record.bytes == Some(bytes))? {
        return done;
    }
    match station.spool.brought(&route, &listing)? {
        Some(earlier) if earlier.digest == Some(request.id) => return done,
        // Run again from another folder, `ferry intake` finds no papers of the first run: the same files would enter twice.
        Some(earlier) if request.argument(AGAIN) != Some(AGAIN_YES) => return Ok(Err(taken_in(&earlier))),
        _ => {}
    }
    let kept = Kept { at: now, name: format!("{}.intake", request.id), bytes: signed.to_vec() };
    station.spool.keep_evidence(&[kept])?;
    let mut record = Record::new(Event::RequestAnswered, now);
    (record.person, record.digest, record.bytes) = (Some(request.person.clone()), Some(request.id), Some(bytes));
    let labels = request.arguments.iter().filter(|label| label.value.len() <= LABEL_BYTES_MAX).take(LABELS_MAX);
    let local = Local { name: Some(request.action.to_string()), labels: labels.cloned().collect() };
    station.spool.record(record, local)?;
    done
}

/// The same files were brought to this route before. What became of them is not asked: they may have been refused, held, or
/// delivered long since, and only whoever wants them twice knows why.
fn taken_in(earlier: &Record) -> Refusal {
    let day = protocol::rollover::day(earlier.at);
    let person = earlier.person.as_ref().map(ToString::to_string).unwrap_or_default();
    let id = earlier.digest.map(|id| id.to_string()).unwrap_or_default();
    let refusal = Refusal::new(
        "taken-in",
        &format!("the same files were taken in for this route on {day} (UTC) by {person}, request {id}"),
        &format!("相同的文件已于 {day}（UTC）由 {person} 提交到该路由，请求 {id}"),
    )
    .with_remedy(
        "look with `list` what became of them; where they were refused, or nothing came of them (a disk was lost, say), repeat the command with --again: that is signed and on record",
        "请用 list 查看其去向；首次被拒绝或未见结果的（例如磁盘损坏后），请加 --again 重复该命令：将签名并登记",
    );
    let about = json!({ "earlier": { "request": id, "day": day, "at_ms": earlier.at.0, "person": person } });
    Refusal { about: Some(about), quiet: true, ..refusal }
}

/// An operator has compared the machine's clock with another and believes it.
fn confirm_clock(station: &Station, request: &Request) -> Outcome {
    let wall = station.clock.wall();
    if station.clock.doubt().is_none() {
        return Ok(Err(Refusal {
            done: true,
            ..Refusal::new(
                "clock-trusted",
                "the clock is not in doubt; nothing was to be done",
                "时钟没有疑问，无需处理",
            )
        }));
    }
    let mut record = Record::new(Event::ClockTrusted, wall);
    record.person = Some(request.person.clone());
    station.spool.record(record, Local { name: request.argument("reason").map(str::to_owned), labels: Vec::new() })?;
    station.clock.confirm();
    Ok(Ok(json!({ "now": wall.to_string() })))
}

pub(crate) fn missing(what: &str) -> Refusal {
    Refusal::new("argument-missing", &format!("the request lacks {what}"), &format!("请求缺少 {what}"))
}

pub(crate) fn name(request: &Request, what: &str) -> Option<Name> {
    request.argument(what).and_then(|word| Name::new(word).ok())
}

fn number(request: &Request, what: &str) -> Option<u64> {
    request.argument(what).and_then(|word| word.parse().ok())
}

/// A list of numbers with commas between them; what is none is left out.
fn numbers(words: &str) -> Vec<u64> {
    words.split(',').filter_map(|word| word.parse().ok()).collect()
}

/// What `ferry import` turned away before this node was asked, or found on a medium and left: told by a code of ours and a
/// number, so nothing of what stands on the medium comes here but ids of a waybill that verified.
const TURNED_AWAY: [(&str, Alarm); 5] = [
    ("foreign-trip", Alarm::TripOrder),
    ("trip-repeated", Alarm::TripOrder),
    ("not-authentic", Alarm::NotAuthentic),
    ("approvals-missing", Alarm::RequestRefused),
    ("not-on-waybill", Alarm::NotOnWaybill),
];

/// Puts on record what was turned away from a medium, by whom it was brought, and raises its alarm.
fn turned_away(station: &Station, request: &Request, now: Timestamp) -> Outcome {
    let code = request.argument("code").unwrap_or_default();
    let Some((code, alarm)) = TURNED_AWAY.into_iter().find(|(known, _)| *known == code) else {
        let codes: Vec<&str> = TURNED_AWAY.iter().map(|(code, _)| *code).collect();
        return Ok(Err(missing(&format!("code, one of {}", codes.join(", ")))));
    };
    let mut record = Record::new(Event::TripRefused, now);
    record.person = Some(request.person.clone());
    record.trip = number(request, "trip");
    record.crossing = request.argument("crossing").and_then(|word| word.parse().ok());
    record.medium = name(request, "medium");
    record.digest = Some(request.id);
    let count = number(request, "count").unwrap_or(1);
    let label = Label { name: Name::new("count").expect("a short word"), value: count.to_string() };
    station.spool.record(record, Local { name: Some(code.to_owned()), labels: vec![label] })?;
    tracing::warn!(code, count, person = %request.person, "turned away from a medium, or left on it: not on a waybill, or no trip for us");
    station.alarms.raise(now, alarm);
    Ok(Ok(json!({ "code": code })))
}

/// The crossings out of this node.
fn outward(station: &Station) -> BTreeSet<Crossing> {
    station.peers.iter().filter_map(|peer| Crossing::between(station.zone, peer.zone)).collect()
}

fn words_of<T: std::fmt::Display>(of: impl IntoIterator<Item = T>) -> String {
    of.into_iter().map(|one| one.to_string()).collect::<Vec<_>>().join(", ")
}

fn no_such_parcel(station: &Station) -> Refusal {
    Refusal::new("no-such-parcel", "no such parcel in this node's ledger", "审计账中没有该投递件").with_remedy(
        &format!("the id has 32 hex digits: {}-node list, or the notice beside the inlet, shows it", station.zone),
        &format!("编号为 32 位十六进制：见 {}-node list 或投递口旁的通知", station.zone),
    )
}

fn resend(station: &Station, request: &Request, now: Timestamp) -> Outcome {
    let all = outward(station);
    let crossings = match request.argument("crossing") {
        None => all,
        Some(word) => match word.parse::<Crossing>().ok().filter(|crossing| all.contains(crossing)) {
            Some(crossing) => BTreeSet::from([crossing]),
            None => {
                return Ok(Err(Refusal::new(
                    "no-crossing",
                    &format!("\"{}\" is no crossing out of this node", word.escape_debug()),
                    "该跨区段不由本节点发出",
                )
                .with_remedy(&format!("one of: {}", words_of(&all)), &format!("可选：{}", words_of(&all)))));
            }
        },
    };
    match (request.argument("parcel"), number(request, "from").zip(number(request, "to"))) {
        (Some(word), _) => match ParcelId::from_hex(word) {
            Some(parcel) => resend_parcel(station, &parcel, &crossings, now),
            None => Ok(Err(no_such_parcel(station))),
        },
        (None, Some((from, to))) => resend_range(station, from, to, &crossings, now),
        (None, None) => Ok(Err(missing("parcel, or from and to").with_remedy(
            "resend PARCEL, or resend --seq A-B --crossing CROSSING",
            "resend 投递件编号，或 resend --seq A-B --crossing 跨区段",
        ))),
    }
}

fn resend_parcel(station: &Station, parcel: &ParcelId, crossings: &BTreeSet<Crossing>, now: Timestamp) -> Outcome {
    let Some(state) = station.spool.parcel(parcel)? else { return Ok(Err(no_such_parcel(station))) };
    if let Some(sent) = state.sent.as_ref().filter(|sent| crossings.contains(&sent.crossing))
        && let Some(entry) = station.spool.outbox(sent.crossing).find(&sent.bundle)?
    {
        receipts::resend(station, sent.crossing, &entry, now)?;
        return Ok(Ok(json!({ "resent": 1 })));
    }
    let held = |english: String, chinese: &str| Refusal::new("nothing-to-resend", &english, chinese);
    let name = state.state.name();
    Ok(Err(match (&state.sent, state.state) {
        (_, spool::State::Refused | spool::State::Quarantined) => held(
            format!("the parcel was {name}, so no bundle of it waits to be sent"),
            "该投递件已被拒绝或隔离，没有待发的密封包",
        )
        .with_remedy(
            "see the reason with show; the app mends the content and drops it again as a new parcel",
            "用 show 查看原因；由应用修正内容后重新投递",
        ),
        (Some(sent), spool::State::Accepted | spool::State::Relayed) if !state.custody_passed => held(
            format!(
                "the parcel waits to cross {}, and its bundle is not in the outbox: the disk lost it",
                sent.crossing
            ),
            "该投递件待发，但其密封包不在发送队列中：磁盘丢失",
        )
        .with_remedy(
            "see the alarm bundle-missing: have it dropped again at its origin; the lost one expires",
            "见告警 bundle-missing：请在来源节点重新投递，丢失的一份到期作废",
        ),
        (Some(sent), _) => {
            let next = words_of(station.peers_receiving(sent.crossing).map(|peer| peer.name.as_str()));
            held(
                format!("the bundle is no longer held here: its custody has passed over {} ({name})", sent.crossing),
                "本节点已不再保留该密封包：责任已转移到下一节点",
            )
            .with_remedy(
                &format!("ask the next node, {next}: show {parcel} there, and resend there if it goes on from it"),
                &format!("请在下一节点 {next} 上执行 show {parcel}；若需继续转发，在该节点补发"),
            )
        }
        (None, _) => held(
            format!("the parcel ends at this node ({name}); nothing of it is sent on"),
            "该投递件以本节点为终点，不再向外发送",
        )
        .with_remedy(
            "look into the outlet and at show; a delivery that waits for its outlet goes on by itself",
            "请查看交付口与 show；等待交付口的投递件会自行继续",
        ),
    }))
}

fn resend_range(station: &Station, from: u64, to: u64, crossings: &BTreeSet<Crossing>, now: Timestamp) -> Outcome {
    let mut resent = 0;
    for crossing in crossings {
        for entry in station.spool.outbox(*crossing).entries()? {
            if (from..=to).contains(&entry.sequence) {
                receipts::resend(station, *crossing, &entry, now)?;
                resent += 1;
            }
        }
    }
    if resent > 0 {
        return Ok(Ok(json!({ "resent": resent })));
    }
    Ok(Err(Refusal::new(
        "nothing-to-resend",
        &format!("no bundle numbered {from} to {to} is held here over {}: custody has passed, or the numbers were never used", words_of(crossings)),
        "本节点不再保留这些序号的密封包：责任已转移，或该序号从未使用",
    )
    .with_remedy(
        "compare the numbers and the crossing with gaps at the receiver; what was withdrawn closes its gap by itself",
        "请与接收端 gaps 核对序号与跨区段；已撤回的序号会自行补全",
    )))
}

fn no_such_route(station: &Station) -> Refusal {
    let names = words_of(station.routes.iter().map(|route| &route.name));
    Refusal::new("no-route", "no such route in this node's config", "配置中没有该路由")
        .with_remedy(&format!("one of: {names}"), &format!("可选：{names}"))
}

/// Files of an outbox in which a start could not read something are kept for whoever can, and the alarm stands; so it does
/// for bundles that cannot be read. An operator says that nobody waits for them: the files only get another name, and the
/// parcels expire before their day, on record and told. What can be read again all the same still goes.
fn set_kept_aside(station: &Station, request: &Request, now: Timestamp) -> Outcome {
    let why = reason(request);
    if why.is_empty() {
        return Ok(Err(Refusal::new(
            "reason-missing",
            "nothing is set aside without saying why",
            "收起文件必须说明原因",
        )
        .with_remedy(
            "add --reason TEXT: the auditor reads it in the ledger",
            "请加 --reason 原因：审计员在审计账中可见",
        )));
    }
    let unread = crate::missing::unread_parcels(station)?;
    if station.spool.kept_unread().is_empty() && unread.is_empty() {
        let refusal = Refusal::new(
            "nothing-kept",
            "no file of an outbox is kept, and every bundle that waits can be read",
            "没有保留的发送队列文件，待发密封包均可读取",
        );
        return Ok(Err(Refusal { done: true, ..refusal }));
    }
    let mut record = Record::new(Event::RequestAnswered, now);
    record.person = Some(request.person.clone());
    station.spool.record(record, Local { name: Some(request.action.to_string()), labels: why })?;
    for parcel in &unread {
        housekeeping::expire(station, parcel, now)?;
    }
    let (aside, left) = station.spool.set_kept_aside()?;
    crate::missing::look(station, now)?;
    if aside > 0 || !unread.is_empty() {
        return Ok(Ok(json!({ "aside": aside, "left": left, "expired": unread.len() })));
    }
    Ok(Err(Refusal::new(
        "still-waiting",
        "bundles that wait to cross stand in the same file",
        "同一文件中仍有待发的密封包",
    )
    .with_remedy("ask again when they have gone", "待其发出后再执行")))
}

/// After a restore: numbers that the lost disk had taken, and whose sender has let them go, are missing for ever. Only what
/// is missing now can be closed, and only at a node that was restored: anywhere else a gap is closed by a resend.
fn close_gap(station: &Station, request: &Request) -> Outcome {
    if station.spool.restored().is_none() {
        return Ok(Err(Refusal::new(
            "not-restored",
            "this node was not restored; what is missing comes by a resend or a gap report",
            "本节点未经恢复；缺号应由补发或缺号报告关闭",
        )));
    }
    let crossing = request.argument("crossing").and_then(|word| word.parse::<Crossing>().ok());
    let range = number(request, "from").zip(number(request, "to")).map(|(from, to)| Range { from, to });
    let (Some(peer), Some(crossing), Some(epoch), Some(range)) =
        (name(request, "peer"), crossing, number(request, "epoch"), range)
    else {
        return Ok(Err(missing("peer, crossing, epoch, from, to")));
    };
    let gaps = station.spool.gaps(&peer, crossing);
    let holes = gaps.iter().filter(|gaps| gaps.epoch == epoch).flat_map(|gaps| &gaps.missing);
    let hit: Vec<Range> = holes
        .map(|hole| Range { from: hole.from.max(range.from), to: hole.to.min(range.to) })
        .filter(|part| part.from <= part.to)
        .collect();
    let Some(last) = hit.last() else {
        return Ok(Err(Refusal::new("no-such-gap", "nothing of that range is missing here", "该范围内没有缺号")));
    };
    let closed: u64 = hit.iter().map(|part| part.to - part.from + 1).sum();
    let through = last.to;
    station.spool.withdraw(&peer, crossing, &[EpochGaps { epoch, through, missing: hit }])?;
    Ok(Ok(json!({ "closed": closed })))
}

/// After a restore: an operator says whether a parcel that waits was delivered before.
fn duplicate(station: &Station, request: &Request, now: Timestamp) -> Outcome {
    let state = match request.argument("parcel").and_then(ParcelId::from_hex) {
        Some(parcel) => station.spool.parcel(&parcel)?,
        None => None,
    };
    let admit = request.action.as_str() == "duplicate-admit";
    // The same word again, after an error between its record and what it owes.
    if let Some(said) = state.as_ref().filter(|state| is_said(state, admit))
        && admission::is_owed(station, said)
    {
        admission::decided(station, said, admit, now)?;
        return Ok(Ok(json!({ "parcel": said.parcel.to_string(), "admitted": admit })));
    }
    let Some(state) = state.filter(|state| state.state == spool::State::MayBeDuplicate) else {
        return Ok(Err(Refusal::new(
            "not-waiting",
            "no such parcel waits as may-be-duplicate; see list --state may-be-duplicate",
            "没有处于“可能重复”状态的该投递件；请查看 list --state may-be-duplicate",
        )));
    };
    let event = if admit { Event::DuplicateAdmitted } else { Event::DuplicateClosed };
    let mut record = Record::new(event, now);
    record.parcel = Some(state.parcel);
    record.origin = Some(state.origin.clone());
    record.person = Some(request.person.clone());
    // The reason is the operator's words: beside the record, as those of a switched route.
    station.spool.record(record, Local { name: None, labels: reason(request) })?;
    admission::decided(station, &state, admit, now)?;
    Ok(Ok(json!({ "parcel": state.parcel.to_string(), "admitted": admit })))
}

/// Which volume of a trip was read back; none where it lies on one medium.
fn volume_of<'a>(request: &Request, signed: &'a [u8]) -> Result<Option<VolumeRead<'a>>, Refusal> {
    let number = |what| request.argument(what).map(|word| word.parse::<u8>().ok().filter(|number| *number > 0));
    match (number("volume"), number("volumes")) {
        (None, None) => Ok(None),
        (Some(Some(number)), Some(Some(count))) if number <= count => match Holds::said(request) {
            Some(holds) => Ok(Some(VolumeRead { number, count, holds, request: signed })),
            None => Err(missing("from and through, the bytes of the trip that the volume holds")),
        },
        _ => Err(missing("volume and volumes, 1 to 255")),
    }
}

/// Is this word of an operator's about the parcel on record?
fn is_said(state: &spool::ParcelState, admit: bool) -> bool {
    if admit { state.admitted && state.state == spool::State::Arrived } else { state.state == spool::State::Duplicate }
}

/// Why, as a label of a record.
pub(crate) fn reason(request: &Request) -> Vec<Label> {
    // As long as a label may be; the rest of a novel is in the request.
    let words = request.argument("reason").map(|words| words.chars().take(80).collect::<String>());
    words
        .filter(|words| !words.is_empty())
        .and_then(|words| Some(Label { name: Name::new("reason").ok()?, value: words.to_owned() }))
        .into_iter()
        .collect()
}

fn switch(station: &Station, request: &Request, now: Timestamp) -> Outcome {
    let off = request.action.as_str() == "route-disable";
    let reason = request.argument("reason").unwrap_or_default();
    let Some(route) = name(request, "route").filter(|route| station.route(route).is_some()) else {
        return Ok(Err(no_such_route(station)));
    };
    if off && reason.trim().is_empty() {
        return Ok(Err(Refusal::new(
            "reason-missing",
            "a route is not switched off without saying why",
            "停用路由必须说明原因",
        )
        .with_remedy(
            "add --reason TEXT: the next shift reads it in status, the auditor in the ledger",
            "请加 --reason 原因：接班人员在 status 中、审计员在审计账中可见",
        )));
    }
    if off == station.is_off(&route) {
        let (english, chinese) = if off {
            ("the route is off already", "该路由已处于停用状态")
        } else {
            ("the route is on already", "该路由已处于启用状态")
        };
        return Ok(Err(Refusal { done: true, ..Refusal::new("route-as-it-was", english, chinese) }));
    }
    let mut record = Record::new(if off { Event::RouteDisabled } else { Event::RouteEnabled }, now);
    record.route = Some(route.clone());
    record.person = Some(request.person.clone());
    station.spool.record(record, Local { name: Some(reason.to_owned()), labels: Vec::new() })?;
    let why = Off { since: now, person: request.person.to_string(), reason: reason.to_owned() };
    station.switch(&route, off.then_some(why))?;
    Ok(Ok(json!({ "route": route, "enabled": !off })))
}

/// A parcel as `list` and `show` print it.
#[must_use]
pub fn row(state: &spool::ParcelState) -> Value {
    json!({
        "parcel": state.parcel.to_string(),
        "route": state.route,
        "type": state.parcel_type,
        "origin": state.origin,
        "state": state.state.name(),
        "reason": state.reason.map(protocol::Reason::name),
        "name": state.name,
        "bytes": state.bytes,
        "first_ms": state.first.0,
        "last_ms": state.last.0,
        "custody_passed": state.custody_passed,
        "came": state.came.as_ref().map(|came| json!({ "peer": came.peer, "crossing": came.crossing.name(), "bundle": came.bundle.to_string(), "epoch": came.epoch, "sequence": came.sequence })),
        "sent": state.sent.as_ref().map(|sent| json!({ "crossing": sent.crossing.name(), "bundle": sent.bundle.to_string(), "epoch": sent.epoch, "sequence": sent.sequence })),
    })
}

fn wrong(what: &str, english: &str, chinese: &str) -> Refusal {
    Refusal::new("filter", &format!("{what} is not what it should be"), &format!("{what} 不正确"))
        .with_remedy(english, chinese)
}

/// What `list` may ask for. What is misspelt is refused: a filter that is quietly left out shows the wrong list.
fn filter_of(station: &Station, request: &Request) -> Result<spool::Filter, Refusal> {
    let mut filter = spool::Filter::default();
    if let Some(word) = request.argument("route") {
        // A route that was taken out of the config still has its parcels.
        filter.route = Some(Name::new(word).map_err(|_| no_such_route(station))?);
    }
    if let Some(word) = request.argument("state") {
        let states = words_of(spool::State::ALL.map(spool::State::name));
        let state = spool::State::from_name(word);
        filter.state =
            Some(state.ok_or_else(|| wrong("state", &format!("one of: {states}"), &format!("可选：{states}")))?);
    }
    if let Some(word) = request.argument("since") {
        let since = word.parse().ok().map(Timestamp);
        filter.since = Some(since.ok_or_else(|| wrong("since", "milliseconds since 1970", "自 1970 年起的毫秒数"))?);
    }
    if let Some(word) = request.argument("until") {
        let until = word.parse().ok().map(Timestamp);
        filter.until = Some(until.ok_or_else(|| wrong("until", "milliseconds since 1970", "自 1970 年起的毫秒数"))?);
    }
    if let Some(word) = request.argument("type") {
        let kind = Name::new(word).map_err(|_| wrong("type", "a registered parcel type", "已登记的报文类型"))?;
        filter.parcel_type = Some(kind);
    }
    if let Some(word) = request.argument("label") {
        let label = word
            .split_once('=')
            .and_then(|(name, value)| Some(Label { name: Name::new(name).ok()?, value: value.to_owned() }));
        filter.label = Some(label.ok_or_else(|| wrong("label", "NAME=VALUE", "名称=值"))?);
    }
    Ok(filter)
}

/// Whose acts `list` is asked for, or with which medium; nobody's, mostly.
fn acts_of(request: &Request) -> Result<ActFilter, Refusal> {
    let name = |what: &str, english: &str, chinese: &str| {
        let word = request.argument(what);
        word.map(|word| Name::new(word).map_err(|_| wrong(what, english, chinese))).transpose()
    };
    let before = request.argument("before").map(|word| {
        read_place(word)
            .ok_or_else(|| wrong("before", "the word under \"next\" of the page before", "上一页“next”所示的值"))
    });
    Ok(ActFilter {
        person: name("person", "as on the key card", "与公钥卡上的持有人一致")?,
        medium: name("medium", "an id of the register, [[ferry.medium]]", "介质登记中的编号")?,
        before: before.transpose()?,
        ..ActFilter::default()
    })
}

/// Where a page ends, as one word.
fn place_word(place: &ActAt) -> String {
    format!("{}-{}-{}", place.at.0, place.log, place.record)
}

fn read_place(word: &str) -> Option<ActAt> {
    let mut numbers = word.split('-').map(|number| number.parse::<u64>().ok());
    let place = ActAt { at: Timestamp(numbers.next()??), log: numbers.next()??, record: numbers.next()?? };
    numbers.next().is_none().then_some(place)
}

/// What a person did, or was done with a medium, newest first; and the parcels of it, by name or on a waybill.
fn list_acts(
    station: &Station,
    request: &Request,
    mut parcels: spool::Filter,
    mut asked: ActFilter,
    now: Timestamp,
) -> Outcome {
    // The time asked for is that of the acts; a parcel may be much older than its trip.
    (asked.since, asked.until) = (parcels.since.take(), parcels.until.take());
    let mut acts = station.spool.acts(&asked, ACTS_MAX + 1)?;
    let more = acts.len() > ACTS_MAX;
    acts.truncate(ACTS_MAX);
    let next = acts.last().filter(|_| more).map(|act| place_word(&act.place));
    let (mut ids, mut waybills, mut lines) = (BTreeSet::new(), BTreeSet::new(), 0);
    for record in acts.iter().map(|act| &act.record) {
        ids.extend(record.parcel);
        if record.trip.is_none() || lines >= LINES_MAX || !waybills.insert(record.digest.map(|digest| digest.0)) {
            continue;
        }
        for bundle in trips::bundles_of(station, record)? {
            lines += 1;
            ids.extend(station.spool.parcel_of_bundle(&bundle)?);
        }
    }
    let mut rows = Vec::new();
    // Ids ascend with time.
    for id in ids.iter().rev() {
        rows.extend(station.spool.parcel(id)?.filter(|state| parcels.fits(state)).as_ref().map(row));
        if rows.len() >= LIST_ROWS_MAX {
            break;
        }
    }
    let acts: Vec<Value> = acts.iter().map(act_row).collect();
    was_read(station, request, (acts.len() + rows.len()) as u64, now)?;
    Ok(Ok(
        json!({ "acts": acts, "next": next, "parcels": rows, "parcels_cut": rows.len() >= LIST_ROWS_MAX || lines >= LINES_MAX }),
    ))
}

fn act_row(act: &Act) -> Value {
    let Act { place, record } = act;
    json!({
        "at_ms": place.at.0,
        "log": place.log,
        "record": place.record,
        "event": record.event.name(),
        "person": record.person,
        "medium": record.medium,
        "trip": record.trip,
        "crossing": record.crossing.map(Crossing::name),
        "route": record.route,
        "parcel": record.parcel.map(|parcel| parcel.to_string()),
        "digest": record.digest.map(|digest| digest.to_string()),
    })
}

fn list(station: &Station, request: &Request, now: Timestamp) -> Outcome {
    let filters = filter_of(station, request).and_then(|filter| Ok((filter, acts_of(request)?)));
    let (filter, acts) = match filters {
        Ok(filters) => filters,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if acts.person.is_some() || acts.medium.is_some() {
        return list_acts(station, request, filter, acts, now);
    }
    let rows: Vec<Value> = station.spool.parcels(&filter, LIST_ROWS_MAX)?.iter().map(row).collect();
    was_read(station, request, rows.len() as u64, now)?;
    Ok(Ok(Value::Array(rows)))
}

/// Who read what stands in the ledger too: the person, the request, its filter as words of the zone, how many rows.
fn was_read(station: &Station, request: &Request, rows: u64, now: Timestamp) -> Result<(), StationError> {
    let mut record = Record::new(Event::LedgerRead, now);
    record.person = Some(request.person.clone());
    record.digest = Some(request.id);
    record.bytes = Some(rows);
    // The values asked for may be a citizen's number: they stay in the local part, which is bound and never exported.
    let name = Some(request.action.to_string());
    let labels = request.arguments.iter().filter(|label| label.value.len() <= LABEL_BYTES_MAX).take(LABELS_MAX);
    station.spool.record(record, Local { name, labels: labels.cloned().collect() })?;
    Ok(())
}

fn report(station: &Station, request: &Request, now: Timestamp) -> Outcome {
    let Some(month) = request.argument("month").and_then(report::Month::parse) else {
        return Ok(Err(missing("month, as YYYY-MM")));
    };
    let (page, figures) = report::make(station, &month, now)?;
    let figures = figures.to_json();
    let records = figures.get("records").and_then(Value::as_u64).unwrap_or(0);
    was_read(station, request, records, now)?;
    Ok(Ok(json!({ "html": page, "figures": figures })))
}

/// The records of a period as a file that only the group of auditors reads.
fn ledger_export(station: &Station, request: &Request, now: Timestamp) -> Outcome {
    let day = |what: &str| request.argument(what).and_then(Timestamp::of_day);
    let format = request.argument("format").and_then(|word| word.parse().ok());
    let (Some(from), Some(to), Some(format)) = (day("from"), day("to"), format) else {
        return Ok(Err(missing("from and to, as YYYY-MM-DD, and format, jsonl or csv")));
    };
    let acts = match acts_of(request) {
        Ok(acts) => acts,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let wanted = Wanted { from, until: to.plus_ms(DAY_MS), person: acts.person, medium: acts.medium };
    match export::make(station, &request.id, &wanted, format) {
        Ok((answer, lines)) => {
            was_read(station, request, lines, now)?;
            Ok(Ok(answer))
        }
        Err(ExportError::Station(error)) => Err(error),
        Err(error @ ExportError::TooMany { .. }) => {
            Ok(Err(Refusal::new("too-many-exports", &error.to_string(), "办理台中的导出文件过多，两天后自动清除")))
        }
        Err(error @ ExportError::NotSetUp { .. }) => {
            Ok(Err(Refusal::new("not-set-up", &error.to_string(), "尚无导出目录").with_remedy(
                "run init once, as root, so that the folder belongs to group trilock-audit",
                "请以 root 执行一次 init，使该目录属于 trilock-audit 组",
            )))
        }
        Err(error @ ExportError::TooLong) => {
            Ok(Err(Refusal::new("too-long", &error.to_string(), "导出内容过大，请缩短时间范围")))
        }
    }
}

fn show(station: &Station, request: &Request, now: Timestamp) -> Outcome {
    let parcel = request.argument("parcel").and_then(ParcelId::from_hex);
    let state = parcel.map(|parcel| station.spool.parcel(&parcel)).transpose()?.flatten();
    was_read(station, request, u64::from(state.is_some()), now)?;
    let Some(state) = state else {
        return Ok(Err(no_such_parcel(station)));
    };
    let mut shown = row(&state);
    // What fails is known by its bundle's file on its way in, and by its parcel at the inlet.
    let items = state.came.iter().map(|came| format!("{}.bundle", came.bundle)).chain([state.parcel.to_string()]);
    let failed = items.filter_map(|item| station.retries.of(&item)).next();
    if let (Some(failed), Some(object)) = (failed, shown.as_object_mut()) {
        object.insert(
            "retry".to_owned(),
            json!({ "stage": failed.stage, "times": failed.times, "pause_s": failed.pause_ms() / 1000, "error": failed.words }),
        );
    }
    if let (Some(off), Some(object)) = (station.off(&state.route), shown.as_object_mut()) {
        object
            .insert("route_off".to_owned(), json!({ "since_ms": off.since.0, "by": off.person, "reason": off.reason }));
    }
    Ok(Ok(shown))
}

/// Answers older than two days go: their askers are gone, and no request whose clock was up to a day ahead is young
/// enough any more to be laid down again.
pub fn tidy(station: &Station, now: Timestamp) -> Result<(), StationError> {
    const KEPT_MS: u64 = 49 * 60 * 60 * 1000;
    let any = |_: &OsStr| true;
    let answers = tidy_folder(station, &station.layout().desk_answers(), any, KEPT_MS, now);
    let exports = tidy_folder(station, &station.layout().desk_exports(), any, KEPT_MS, now);
    let held = tidy_folder(station, &station.layout().desk_held(), any, KEPT_MS, now);
    answers.and(exports).and(held).and(tidy_incoming(station, now))
}

/// What imports left that nobody ended: copies that were interrupted, volumes of a trip of which the others never came, and
/// trips that were turned away and not brought again.
/// The next import begins anew, and the medium is still there. While one is running nothing is touched.
fn tidy_incoming(station: &Station, now: Timestamp) -> Result<(), StationError> {
    /// Media of one trip leave together and come within days.
    const UNFINISHED_KEPT_MS: u64 = 14 * 24 * 60 * 60 * 1000;
    let folder = station.layout().desk_incoming();
    let Ok(held) = std::fs::File::open(&folder) else { return Ok(()) };
    if flock(&held, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(());
    }
    let begun =
        |name: &OsStr| [".vol-", spool::disk::ASIDE].iter().any(|with| name.as_bytes().starts_with(with.as_bytes()));
    let unfinished = |name: &OsStr| begun(name) || trips::was_never_taken(station, name);
    tidy_folder(station, &folder, unfinished, UNFINISHED_KEPT_MS, now)
}

fn tidy_folder(
    station: &Station,
    folder: &Path,
    goes: impl Fn(&OsStr) -> bool,
    kept_ms: u64,
    now: Timestamp,
) -> Result<(), StationError> {
    let io = |cause| StationError::Io { path: folder.to_owned(), cause };
    if !folder.exists() {
        // The tree of an older program, until the next init.
        return Ok(());
    }
    let mut done = Ok(());
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let modified = entry.metadata().and_then(|meta| meta.modified()).ok();
        let age = modified
            .and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok())
            .map(|at| Timestamp(u64::try_from(at.as_millis()).unwrap_or(u64::MAX)))
            .map_or(0, |at| now.since(station.spool.disk().date(at)));
        if age > kept_ms && goes(&entry.file_name()) {
            // A tree: somebody may have laid a folder there. One that cannot be removed keeps no other.
            let removed = station.spool.disk().remove_tree(&entry.path());
            done = done.and(removed.map_err(io));
        }
    }
    done
}
