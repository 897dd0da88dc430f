//! What an app is told about its drop: `notices/<route>/<original name>.<state>.json`, one file a parcel, the newest
//! state only. Codes and our own words; nothing that was found inside. Its form is docs/notice.schema.json.
//!
//! ```text
//! notices/<route>/<name>.waiting.json    cannot be taken yet; no parcel. Goes when the drop goes, made anew at a start
//!                 <name>.<state>.json    of the parcel
//!                 <name>.<parcel>.<state>.json   of the second parcel of that name
//! queues/names/<parcel>                  the name byte for byte, where it is not UTF-8. Not where apps can write
//! ```
//! Dying anywhere is safe: the new notice is there before the old one goes, and the next notice clears both. An end
//! (delivered, refused …) is synced; steps on the way are not, because an end always follows them. A name is kept before
//! the first notice under it and goes after the last, so that no later notice goes by another name.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use protocol::{Name, ParcelId, Reason, Timestamp};
use serde_json::{Value, json};

use crate::disk::Disk;
use crate::spool::SpoolError;

/// The version of the file; fields may be added within it.
const VERSION: u8 = 1;
/// Bytes of the drop's name that a notice's name begins with: with an id and the longest state it still fits into the 255
/// of a directory. A drop may have a name that no parcel can have, and its refusal must be told all the same.
const NAME_BYTES_MAX: usize = 200;
/// A notice is under a page; a larger file is not one.
const NOTICE_BYTES_MAX: u64 = 64 * 1024;

/// Why a drop stays in its inlet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wait {
    /// It cannot be renamed or read by this account.
    NoAccess,
    /// With `settle`: a file in it does not end as its format says, or is empty.
    Unfinished,
    /// With `settle`: somebody holds it open for writing.
    StillOpen,
    /// With `ready`: its marker was there before it.
    OldMarker,
    /// Sealed beside it, it would take the room that is kept for the node itself.
    NoRoom,
}

impl Wait {
    /// All of them.
    pub const ALL: [Wait; 5] = [Wait::NoAccess, Wait::Unfinished, Wait::StillOpen, Wait::OldMarker, Wait::NoRoom];

    /// The code word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Wait::NoAccess => "no-access",
            Wait::Unfinished => "unfinished",
            Wait::StillOpen => "still-open",
            Wait::OldMarker => "old-marker",
            Wait::NoRoom => "no-room",
        }
    }

    /// A sentence in English and one in Chinese.
    #[must_use]
    pub const fn words(self) -> (&'static str, &'static str) {
        match self {
            Wait::NoAccess => (
                "Not taken yet: the group cannot read it, or cannot write to a folder of it. Drop with umask 0002.",
                "尚未领取:所属组不可读,或对其中的目录没有写权限。请以 umask 0002 投递。",
            ),
            Wait::Unfinished => (
                "Not taken yet: it does not look complete. It will be refused if it stays like this.",
                "尚未领取:文件看起来不完整。若一直如此,将被拒绝。",
            ),
            Wait::StillOpen => {
                ("Not taken yet: a program still has it open for writing.", "尚未领取:仍有程序以写方式打开该文件。")
            }
            Wait::OldMarker => (
                "Not taken yet: its marker was there before it. Write the marker again, after the drop.",
                "尚未领取:就绪标记早于投递件。请在投递完成之后重新写入标记。",
            ),
            Wait::NoRoom => (
                "Not taken yet: the node has no room for one so large. It is taken as soon as there is room.",
                "尚未领取:节点磁盘空间不足以处理如此大的投递件。一旦有空间即会领取。",
            ),
        }
    }
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoticeState {
    /// It stays in the inlet, for a reason that its app can mend. No parcel yet.
    Waiting,
    /// Taken, sealed and recorded: the app may forget it.
    Accepted,
    /// On its way, or handed to the next node.
    Sent,
    /// It stands in the outlet it was meant for.
    Delivered,
    /// It does not go on; the reason says why.
    Refused,
    /// Held for people to look at.
    Quarantined,
    /// Went on without its coordinates.
    Stripped,
    /// It was sent before.
    Duplicate,
    /// Nobody confirmed it before its retention ended.
    Expired,
    /// Sent once more.
    Resent,
    /// Taken back by an operator.
    Withdrawn,
}

impl NoticeState {
    /// All states.
    pub const ALL: [NoticeState; 11] = [
        NoticeState::Waiting,
        NoticeState::Accepted,
        NoticeState::Sent,
        NoticeState::Delivered,
        NoticeState::Refused,
        NoticeState::Quarantined,
        NoticeState::Stripped,
        NoticeState::Duplicate,
        NoticeState::Expired,
        NoticeState::Resent,
        NoticeState::Withdrawn,
    ];

    /// The code word, also in the file's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            NoticeState::Waiting => "waiting",
            NoticeState::Accepted => "accepted",
            NoticeState::Sent => "sent",
            NoticeState::Delivered => "delivered",
            NoticeState::Refused => "refused",
            NoticeState::Quarantined => "quarantined",
            NoticeState::Stripped => "stripped",
            NoticeState::Duplicate => "duplicate",
            NoticeState::Expired => "expired",
            NoticeState::Resent => "resent",
            NoticeState::Withdrawn => "withdrawn",
        }
    }

    /// A sentence in English and one in Chinese.
    #[must_use]
    pub const fn words(self) -> (&'static str, &'static str) {
        match self {
            NoticeState::Waiting => ("Not taken yet; see the reason.", "尚未领取,见原因。"),
            NoticeState::Accepted => ("Accepted; the file may be forgotten.", "已受理,原文件可不再保留。"),
            NoticeState::Sent => ("Sent on; not yet confirmed by its destination.", "已发出,尚未得到目的地确认。"),
            NoticeState::Delivered => ("Delivered.", "已交付。"),
            NoticeState::Refused => ("Refused; see the reason.", "已拒绝,见原因。"),
            NoticeState::Quarantined => ("Held for a person to look at.", "已隔离,等待人工查看。"),
            NoticeState::Stripped => (
                "Sent on rewritten: without the coordinates that were in it, or its pictures encoded anew. The details count what changed.",
                "已改写后发出：去除其中的测绘坐标，或重新编码图片。明细列出改动的种类和数量。",
            ),
            NoticeState::Duplicate => ("Was sent before; not delivered twice.", "此前已发送,未重复交付。"),
            NoticeState::Expired => {
                ("Not confirmed in time; ask the administrator to resend it.", "逾期未确认,请联系管理员补发。")
            }
            NoticeState::Resent => ("Sent once more.", "已补发。"),
            NoticeState::Withdrawn => ("Taken back by an operator.", "已由操作员撤回。"),
        }
    }

    const fn is_end(self) -> bool {
        !matches!(
            self,
            NoticeState::Waiting
                | NoticeState::Accepted
                | NoticeState::Sent
                | NoticeState::Resent
                | NoticeState::Stripped
        )
    }

    /// Known from the one who decides; no step on the way may be told after it. An expired parcel may still be sent
    /// again, a quarantined one released.
    const fn is_final(self) -> bool {
        matches!(self, NoticeState::Delivered | NoticeState::Refused | NoticeState::Withdrawn)
    }
}

/// One notice.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// About which parcel.
    pub parcel: ParcelId,
    /// The name of the drop, byte for byte.
    pub name: OsString,
    /// On which route.
    pub route: Name,
    /// What became of it.
    pub state: NoticeState,
    /// Why, where it did not go on.
    pub reason: Option<Reason>,
    /// When it was taken out of the inlet.
    pub claimed: Timestamp,
    /// When it came to this state.
    pub at: Timestamp,
    /// More for the app, by key: rounds sent, digests of what was cut. Never content.
    pub details: Value,
}

impl Notice {
    /// `original` is the name byte for byte.
    fn to_json(&self, original: &OsStr) -> Value {
        let (words_en, words_zh) = self.state.words();
        let mut value = json!({
            "version": VERSION,
            "parcel": self.parcel.to_string(),
            "route": self.route,
            "name": self.name.to_string_lossy(),
            "state": self.state.name(),
            "reason": self.reason.map(Reason::name),
            "message_en": words_en,
            "message_zh": words_zh,
            "claimed": self.claimed.to_string(),
            "at": self.at.to_string(),
            "details": self.details,
        });
        add_bytes(&mut value, original);
        value
    }
}

/// JSON has no other strings than UTF-8: what the file is called says `name_bytes`, in hex.
fn add_bytes(value: &mut Value, name: &OsStr) {
    if let (None, Some(fields)) = (name.to_str(), value.as_object_mut()) {
        let hex: String = name.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        fields.insert("name_bytes".to_owned(), hex.into());
    }
}

/// Tells an app that its drop stays where it is. Nothing durable: the drop itself says the same.
pub(crate) fn put_waiting(
    disk: &Disk,
    dir: &Path,
    route: &Name,
    name: &OsStr,
    why: Wait,
    now: Timestamp,
) -> Result<(), SpoolError> {
    let (words_en, words_zh) = why.words();
    let mut value = json!({
        "version": VERSION,
        "parcel": null,
        "route": route,
        "name": name.to_string_lossy(),
        "state": NoticeState::Waiting.name(),
        "reason": why.name(),
        "message_en": words_en,
        "message_zh": words_zh,
        "claimed": null,
        "at": now.to_string(),
        "details": null,
    });
    add_bytes(&mut value, name);
    let path = dir.join(file_name(name, None, NoticeState::Waiting));
    let at = |source| SpoolError::disk(&path, source);
    let mut bytes = serde_json::to_vec_pretty(&value).map_err(|error| at(error.into()))?;
    bytes.push(b'\n');
    disk.write_lazy(&path, &bytes).map_err(at)
}

/// The drop was taken, or is gone.
pub(crate) fn end_waiting(disk: &Disk, dir: &Path, name: &OsStr) -> Result<(), SpoolError> {
    let path = dir.join(file_name(name, None, NoticeState::Waiting));
    if fs::symlink_metadata(&path).is_err() {
        return Ok(());
    }
    disk.remove_file(&path).map_err(|source| SpoolError::disk(&path, source))
}

/// At a start nothing is known of who waits; whoever does is told again at the first look.
pub(crate) fn end_all_waiting(disk: &Disk, dir: &Path) -> Result<(), SpoolError> {
    let ending = format!(".{}.json", NoticeState::Waiting.name());
    walk(dir, |path| {
        let waits = path.file_name().is_some_and(|name| name.as_bytes().ends_with(ending.as_bytes()));
        if waits && fs::symlink_metadata(path).is_ok_and(|about| about.is_file()) {
            disk.remove_file(path).map_err(|source| SpoolError::disk(path, source))?;
        }
        Ok(())
    })
}

/// Looks at what stands in a folder of notices, one by one: where nobody takes them away there is one for every parcel
/// that ever was, and their names alone would fill the memory.
fn walk(dir: &Path, mut look: impl FnMut(&Path) -> Result<(), SpoolError>) -> Result<(), SpoolError> {
    let at = |source| SpoolError::disk(dir, source);
    match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(at(error)),
        Ok(mut entries) => entries.try_for_each(|entry| look(&entry.map_err(at)?.path())),
    }
}

/// The name that a parcel's drop had, byte for byte. Kept from its first notice on where it is not UTF-8, because
/// everybody behind the intake knows the parcel by its name in UTF-8.
fn original(disk: &Disk, names: &Path, parcel: &str, name: &OsStr) -> Result<OsString, SpoolError> {
    let kept = names.join(parcel);
    let at = |source| SpoolError::disk(&kept, source);
    let known = match fs::read(&kept) {
        Ok(bytes) => Some(OsStr::from_bytes(&bytes).to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(at(error)),
    };
    if let Some(known) = known {
        return Ok(known);
    }
    if name.to_str().is_none() {
        disk.create_dir_private(names).map_err(at)?;
        disk.write(&kept, name.as_bytes()).map_err(at)?;
    }
    Ok(name.to_owned())
}

/// Does a notice of this parcel stand under this name?
pub(crate) fn stands(dir: &Path, name: &OsStr, parcel: ParcelId) -> bool {
    let parcel = parcel.to_string();
    NoticeState::ALL.into_iter().any(|state| {
        let places = [None, Some(parcel.as_str())].map(|id| dir.join(file_name(name, id, state)));
        places.iter().any(|place| parcel_of(place).as_deref() == Some(&parcel))
    })
}

/// Writes the notice and removes the parcel's former one. A step on the way that is told late changes nothing. Where
/// another parcel of the same name has the file's name, the parcel's id is added. For the first of a parcel nothing can
/// stand, and two dozen names need not be looked for.
pub(crate) fn put(disk: &Disk, dir: &Path, names: &Path, notice: &Notice, first: bool) -> Result<(), SpoolError> {
    let parcel = notice.parcel.to_string();
    if first && notice.name.to_str().is_some() {
        return write(disk, dir, &parcel, &notice.name, notice).map(drop);
    }
    let name = original(disk, names, &parcel, &notice.name)?;
    let stands = |state: NoticeState| {
        [None, Some(parcel.as_str())]
            .into_iter()
            .any(|id| parcel_of(&dir.join(file_name(&name, id, state))).as_deref() == Some(&parcel))
    };
    if !notice.state.is_end() && NoticeState::ALL.into_iter().any(|state| state.is_final() && stands(state)) {
        return Ok(());
    }
    let path = write(disk, dir, &parcel, &name, notice)?;
    let at = |source| SpoolError::disk(&path, source);
    for state in NoticeState::ALL {
        let with_id = dir.join(file_name(&name, Some(&parcel), state));
        let former = dir.join(file_name(&name, None, state));
        for old in [with_id, former] {
            if old != path && parcel_of(&old).as_deref() == Some(&parcel) {
                disk.remove_file(&old).map_err(at)?;
            }
        }
    }
    let kept = names.join(&parcel);
    if notice.state.is_final() && name.to_str().is_none() && fs::symlink_metadata(&kept).is_ok() {
        disk.remove_file(&kept).map_err(at)?;
    }
    Ok(())
}

/// Writes a notice under its name, and gives its place.
fn write(disk: &Disk, dir: &Path, parcel: &str, name: &OsStr, notice: &Notice) -> Result<PathBuf, SpoolError> {
    let plain = dir.join(file_name(name, None, notice.state));
    let taken = fs::symlink_metadata(&plain).is_ok() && parcel_of(&plain).as_deref() != Some(parcel);
    let path = if taken { dir.join(file_name(name, Some(parcel), notice.state)) } else { plain };
    let at = |source| SpoolError::disk(&path, source);
    let mut bytes = serde_json::to_vec_pretty(&notice.to_json(name)).map_err(|error| at(error.into()))?;
    bytes.push(b'\n');
    let written = if notice.state.is_end() { disk.write(&path, &bytes) } else { disk.write_lazy(&path, &bytes) };
    written.map_err(at)?;
    Ok(path)
}

/// Throws away what a loss of power left or brought back: a notice on the way is written without a sync and may say
/// nothing, and one that was replaced may stand beside what replaced it. Final notices are many, and are not looked at.
pub(crate) fn sweep(disk: &Disk, dir: &Path) -> Result<(), SpoolError> {
    walk(dir, |path| {
        let name = path.file_name().unwrap_or_default().as_bytes();
        let passing = |state: &NoticeState| !state.is_final() && name.ends_with(ending(*state).as_bytes());
        let Some(state) = NoticeState::ALL.into_iter().find(passing) else { return Ok(()) };
        let gone = match read(path) {
            Some(notice) => is_replaced(dir, name, state, &notice),
            None => !state.is_end(),
        };
        if gone { disk.remove_file(path).map_err(|source| SpoolError::disk(path, source)) } else { Ok(()) }
    })
}

/// Removes final notices that have rested and are dated before a day, at most so many: names are looked at one by one, and
/// most of them stay. Two dates, because a folder of apps may be a share with a clock of its own, and ours may have stood
/// wrong when one was written.
pub(crate) fn forget(
    disk: &Disk,
    dir: &Path,
    before: Timestamp,
    has_rested: &dyn Fn(&Path) -> bool,
    at_most: usize,
) -> Result<usize, SpoolError> {
    let at = |source| SpoolError::disk(dir, source);
    let endings: Vec<String> = NoticeState::ALL.into_iter().filter(|state| state.is_final()).map(ending).collect();
    let entries = match fs::read_dir(dir) {
        // A share that is away: its day comes when it is back.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        other => other.map_err(at)?,
    };
    let mut gone = 0;
    for entry in entries {
        let path = entry.map_err(at)?.path();
        let name = path.file_name().unwrap_or_default().as_bytes();
        if gone >= at_most {
            break;
        }
        let is_old = || dated(&path).is_none_or(|at| at < before.to_string());
        if endings.iter().any(|end| name.ends_with(end.as_bytes())) && has_rested(&path) && is_old() {
            // A tree: whoever laid a folder under such a name must not keep the others from going.
            disk.remove_tree(&path).map_err(|source| SpoolError::disk(&path, source))?;
            gone += 1;
        }
    }
    Ok(gone)
}

/// Does a later notice of the same parcel stand beside this one?
fn is_replaced(dir: &Path, name: &[u8], state: NoticeState, notice: &Value) -> bool {
    let parcel = notice.get("parcel").and_then(Value::as_str).unwrap_or_default();
    let stem = name.strip_suffix(ending(state).as_bytes()).unwrap_or(name);
    let stem = stem.strip_suffix(format!(".{parcel}").as_bytes()).unwrap_or(stem);
    NoticeState::ALL.into_iter().filter(|other| *other != state).any(|other| {
        [ending(other), format!(".{parcel}{}", ending(other))].into_iter().any(|end| {
            let beside = read(&dir.join(OsStr::from_bytes(&[stem, end.as_bytes()].concat())));
            beside.is_some_and(|beside| {
                // Moments are written so that they sort like words.
                let at = |notice: &Value| notice.get("at").and_then(Value::as_str).unwrap_or_default().to_owned();
                beside.get("parcel").and_then(Value::as_str) == Some(parcel)
                    && (other.is_final() || at(&beside) > at(notice))
            })
        })
    })
}

fn ending(state: NoticeState) -> String {
    format!(".{}.json", state.name())
}

fn file_name(name: &OsStr, parcel: Option<&str>, state: NoticeState) -> OsString {
    let mut file = short(name);
    if let Some(parcel) = parcel {
        file.push(".");
        file.push(parcel);
    }
    file.push(ending(state));
    file
}

/// The name, or what of it leaves room for the rest. A name in UTF-8 is cut between two characters.
fn short(name: &OsStr) -> OsString {
    let Some(head) = name.as_bytes().get(..NAME_BYTES_MAX) else { return name.to_owned() };
    let whole = name.to_str().map_or(head.len(), |text| text.floor_char_boundary(NAME_BYTES_MAX));
    OsStr::from_bytes(head.get(..whole).unwrap_or(head)).to_owned()
}

/// The parcel a notice is about; none where there is no notice of ours.
fn parcel_of(path: &Path) -> Option<String> {
    read(path)?.get("parcel")?.as_str().map(str::to_owned)
}

/// Apps may exchange what stands there at any moment: no link is followed, and no pipe waited for.
/// When what a notice tells of came about, in RFC 3339, whose order is that of time; nothing where it does not say.
fn dated(path: &Path) -> Option<String> {
    Some(read(path)?.get("at")?.as_str()?.to_owned())
}

fn read(path: &Path) -> Option<Value> {
    serde_json::from_slice(&crate::disk::read_plain(path, NOTICE_BYTES_MAX).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drop_of_the_longest_name_is_told_of_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        for turn in 0..2 {
            let notice = Notice {
                parcel: protocol::der_types::Octets([turn; 16]),
                name: "图".repeat(85).into(),
                route: Name::new("r").unwrap(),
                state: NoticeState::Quarantined,
                reason: Some(Reason::BadName),
                claimed: Timestamp(1),
                at: Timestamp(2),
                details: Value::Null,
            };
            put(&Disk::real(), dir.path(), &dir.path().join("none"), &notice, false).unwrap();
        }
        let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2);
        assert!(names.iter().all(|name| name.to_str().is_some_and(|name| name.ends_with(".quarantined.json"))));
    }

    /// As much of JSON Schema 2020-12 as docs/notice.schema.json uses; a word beyond it stops the test.
    fn fits(schema: &Value, value: &Value) -> Result<(), String> {
        for (word, rule) in schema.as_object().unwrap() {
            let so = match word.as_str() {
                "$schema" | "$id" | "title" | "description" | "additionalProperties" => true,
                "const" => value == rule,
                "enum" => rule.as_array().unwrap().contains(value),
                "type" => {
                    let kind = match value {
                        Value::Null => "null",
                        Value::Bool(_) => "boolean",
                        Value::Number(_) => "number",
                        Value::String(_) => "string",
                        Value::Array(_) => "array",
                        Value::Object(_) => "object",
                    };
                    rule == kind || rule.as_array().is_some_and(|kinds| kinds.contains(&kind.into()))
                }
                // Of what is no string a pattern says nothing.
                "pattern" => value.as_str().is_none_or(|text| matches(rule.as_str().unwrap(), text)),
                "required" => rule.as_array().unwrap().iter().all(|key| value.get(key.as_str().unwrap()).is_some()),
                "properties" => {
                    for (key, schema) in rule.as_object().unwrap() {
                        value
                            .get(key)
                            .map_or(Ok(()), |value| fits(schema, value))
                            .map_err(|e| format!("{key}: {e}"))?;
                    }
                    true
                }
                other => panic!("the schema says {other}, which this test does not know"),
            };
            if !so {
                return Err(format!("{value} is not {word} {rule}"));
            }
        }
        Ok(())
    }

    fn matches(pattern: &str, text: &str) -> bool {
        let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        match pattern {
            "^[0-9a-f]{32}$" => text.len() == 32 && hex(text),
            "^([0-9a-f]{2})+$" => !text.is_empty() && text.len().is_multiple_of(2) && hex(text),
            "^[a-z0-9][a-z0-9-]*$" => Name::new(text).is_ok(),
            "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$" => {
                let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
                shape == "9999-99-99T99:99:99Z"
            }
            other => panic!("the schema has the pattern {other}, which this test does not know"),
        }
    }

    fn schema() -> Value {
        serde_json::from_str(include_str!("../../docs/notice.schema.json")).unwrap()
    }

    fn all_notices() -> Vec<Value> {
        let dir = tempfile::tempdir().unwrap();
        let (disk, route) = (Disk::real(), Name::new("cases").unwrap());
        let mut number = 0;
        let names: [OsString; 2] = ["申请.xml".into(), OsStr::from_bytes(b"\xb2\xe2.xml").to_owned()];
        for name in &names {
            for why in Wait::ALL {
                let own = dir.path().join(format!("{number}"));
                fs::create_dir(&own).unwrap();
                put_waiting(&disk, &own, &route, name, why, Timestamp(1)).unwrap();
                number += 1;
            }
            let reasons = [None].into_iter().chain(Reason::ALL.map(Some));
            for (state, reason) in NoticeState::ALL[1..].iter().flat_map(|s| reasons.clone().map(move |r| (*s, r))) {
                let own = dir.path().join(format!("{number}"));
                fs::create_dir(&own).unwrap();
                let details = [Value::Null, json!(["rule at place"]), json!({ "round": 1 })][number % 3].clone();
                let (parcel, name, route) = (protocol::der_types::Octets([7; 16]), name.clone(), route.clone());
                let (claimed, at) = (Timestamp(1_795_305_600_000), Timestamp(1_795_305_601_999));
                let notice = Notice { parcel, name, route, state, reason, claimed, at, details };
                put(&disk, &own, &dir.path().join("names"), &notice, false).unwrap();
                number += 1;
            }
        }
        let folders = (0..number).map(|number| dir.path().join(format!("{number}")));
        let files = folders.flat_map(|folder| fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
        files.map(|file| serde_json::from_slice(&fs::read(file).unwrap()).unwrap()).collect()
    }

    #[test]
    fn every_notice_fits_the_published_schema() {
        let (schema, notices) = (schema(), all_notices());
        for notice in &notices {
            assert_eq!(fits(&schema, notice), Ok(()), "{notice}");
        }
        let states = |value: &Value| value["state"].as_str().unwrap().to_owned();
        let told: std::collections::BTreeSet<String> = notices.iter().map(states).collect();
        assert_eq!(told.len(), NoticeState::ALL.len(), "every state was told");
        assert!(notices.iter().any(|notice| notice["name_bytes"] == "b2e22e786d6c"));
    }

    #[test]
    fn the_schema_lists_what_can_be_told_and_nothing_else() {
        let schema = schema();
        let listed = |field: &str| schema["properties"][field]["enum"].as_array().unwrap().clone();
        let states: Vec<Value> = NoticeState::ALL.iter().map(|state| state.name().into()).collect();
        assert_eq!(listed("state"), states);
        let waits = Wait::ALL.iter().map(|why| why.name());
        let reasons = waits.chain(Reason::ALL.iter().map(|reason| reason.name())).map(Value::from);
        assert_eq!(listed("reason"), [Value::Null].into_iter().chain(reasons).collect::<Vec<_>>());
    }

    #[test]
    fn a_notice_that_is_bent_does_not_fit_the_schema() {
        let good = all_notices().pop().unwrap();
        let bent: [(&str, Value); 6] = [
            ("version", 2.into()),
            ("state", "lost".into()),
            ("reason", "because".into()),
            ("parcel", "12".into()),
            ("at", "yesterday".into()),
            ("details", "content".into()),
        ];
        for (field, value) in bent {
            let mut notice = good.clone();
            notice[field] = value;
            assert!(fits(&schema(), &notice).is_err(), "{field}");
            notice.as_object_mut().unwrap().remove(field);
            assert!(fits(&schema(), &notice).is_err(), "without {field}");
        }
    }
}
