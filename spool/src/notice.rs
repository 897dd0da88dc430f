//! What an app is told about its drop: `notices/<route>/<original name>.<state>.json`, one file a parcel, the newest
//! state only. Codes and our own words; nothing that was found inside.
//!
//! Dying anywhere is safe: the new notice is there before the old one goes, and the next notice clears both. An end
//! (delivered, refused …) is synced; steps on the way are not, because an end always follows them.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

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

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoticeState {
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
    pub const ALL: [NoticeState; 10] = [
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
            NoticeState::Accepted => ("Accepted; the file may be forgotten.", "已受理,原文件可不再保留。"),
            NoticeState::Sent => ("Sent on; not yet confirmed by its destination.", "已发出,尚未得到目的地确认。"),
            NoticeState::Delivered => ("Delivered.", "已交付。"),
            NoticeState::Refused => ("Refused; see the reason.", "已拒绝,见原因。"),
            NoticeState::Quarantined => ("Held for a person to look at.", "已隔离,等待人工查看。"),
            NoticeState::Stripped => ("Sent on without the coordinates that were in it.", "已去除测绘坐标后发出。"),
            NoticeState::Duplicate => ("Was sent before; not delivered twice.", "此前已发送,未重复交付。"),
            NoticeState::Expired => {
                ("Not confirmed in time; ask the administrator to resend it.", "逾期未确认,请联系管理员补发。")
            }
            NoticeState::Resent => ("Sent once more.", "已补发。"),
            NoticeState::Withdrawn => ("Taken back by an operator.", "已由操作员撤回。"),
        }
    }

    const fn is_end(self) -> bool {
        !matches!(self, NoticeState::Accepted | NoticeState::Sent | NoticeState::Resent | NoticeState::Stripped)
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
    fn to_json(&self) -> Value {
        let (words_en, words_zh) = self.state.words();
        json!({
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
        })
    }
}

/// Writes the notice and removes the parcel's former one. A step on the way that is told late changes nothing. Where another parcel of the same name has the file's name,
/// the parcel's id is added.
pub(crate) fn put(disk: &Disk, dir: &Path, notice: &Notice) -> Result<(), SpoolError> {
    let parcel = notice.parcel.to_string();
    let stands = |state: NoticeState| {
        [None, Some(parcel.as_str())]
            .into_iter()
            .any(|id| parcel_of(&dir.join(file_name(&notice.name, id, state))).as_deref() == Some(&parcel))
    };
    if !notice.state.is_end() && NoticeState::ALL.into_iter().any(|state| state.is_final() && stands(state)) {
        return Ok(());
    }
    let plain = dir.join(file_name(&notice.name, None, notice.state));
    let taken = fs::symlink_metadata(&plain).is_ok() && parcel_of(&plain).as_deref() != Some(&parcel);
    let path = if taken { dir.join(file_name(&notice.name, Some(&parcel), notice.state)) } else { plain };
    let at = |source| SpoolError::disk(&path, source);
    let mut bytes = serde_json::to_vec_pretty(&notice.to_json()).map_err(|error| at(error.into()))?;
    bytes.push(b'\n');
    let written = if notice.state.is_end() { disk.write(&path, &bytes) } else { disk.write_lazy(&path, &bytes) };
    written.map_err(at)?;
    for state in NoticeState::ALL {
        let with_id = dir.join(file_name(&notice.name, Some(&parcel), state));
        let former = dir.join(file_name(&notice.name, None, state));
        for old in [with_id, former] {
            if old != path && parcel_of(&old).as_deref() == Some(&parcel) {
                disk.remove_file(&old).map_err(at)?;
            }
        }
    }
    Ok(())
}

/// Throws away what a loss of power left or brought back: a notice on the way is written without a sync and may say
/// nothing, and one that was replaced may stand beside what replaced it. Final notices are many, and are not looked at.
pub(crate) fn sweep(disk: &Disk, dir: &Path) -> Result<(), SpoolError> {
    for path in crate::spool::children(dir)? {
        let name = path.file_name().unwrap_or_default().as_bytes();
        let passing = |state: &NoticeState| !state.is_final() && name.ends_with(ending(*state).as_bytes());
        let Some(state) = NoticeState::ALL.into_iter().find(passing) else { continue };
        let gone = match read(&path) {
            Some(notice) => is_replaced(dir, name, state, &notice),
            None => !state.is_end(),
        };
        if gone {
            disk.remove_file(&path).map_err(|source| SpoolError::disk(&path, source))?;
        }
    }
    Ok(())
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

fn read(path: &Path) -> Option<Value> {
    let about = fs::symlink_metadata(path).ok()?;
    if !about.is_file() || about.len() > NOTICE_BYTES_MAX {
        return None;
    }
    serde_json::from_slice(&fs::read(path).ok()?).ok()
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
            put(&Disk::real(), dir.path(), &notice).unwrap();
        }
        let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2);
        assert!(names.iter().all(|name| name.to_str().is_some_and(|name| name.ends_with(".quarantined.json"))));
    }
}
