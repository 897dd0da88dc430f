//! What the office sets for a gate that moves files.

use std::path::PathBuf;

use serde::Deserialize;

/// `[link]` of a crossing whose carrier is `folder`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The directory that the gate takes files from. Absent: this end only receives.
    #[serde(default)]
    pub outgoing: Option<PathBuf>,
    /// The directory that the gate puts files into. Absent: this end only sends. Files that were taken are removed.
    #[serde(default)]
    pub incoming: Option<PathBuf>,
    /// What the gate wants file names to end with, such as `.dat`; default nothing. Same at both ends; letters, digits,
    /// dots and dashes, at most 16.
    #[serde(default)]
    pub suffix: String,
    /// Does the gate give files other names, by a map of its own? Then a file that came is known by its bytes and not by
    /// its name; what is named `.…`, `….part` or `….tmp` is still being written. Default false.
    #[serde(default)]
    pub any_name: bool,
    /// The largest file the gate passes, in bytes, 65,536 to 1 TiB; default 2 GiB - 1. A larger entry cannot go this
    /// way: it stays in the outbox, and the status counts it.
    #[serde(default = "defaults::bytes_max")]
    pub bytes_max: u64,
    /// Milliseconds between looks at both directories, 100 to 60,000; default 1,000. A file is taken when two looks in
    /// a row see the same size and time, so it waits one to two of them.
    #[serde(default = "defaults::scan_ms")]
    pub scan_ms: u64,
    /// Seconds after the gate took a file until it is written again, 1 to 604,800; default 3,600. Doubles with every
    /// round up to a day. Two-way, custody usually comes back long before.
    #[serde(default = "defaults::round_every_s")]
    pub round_every_s: u64,
    /// Seconds between beacons, 1 to 3,600; default 10. Only the newest one lies in `outgoing`.
    #[serde(default = "defaults::beacon_every_s")]
    pub beacon_every_s: u64,
}

mod defaults {
    pub(super) fn bytes_max() -> u64 {
        (1 << 31) - 1
    }
    pub(super) fn scan_ms() -> u64 {
        1_000
    }
    pub(super) fn round_every_s() -> u64 {
        3_600
    }
    pub(super) fn beacon_every_s() -> u64 {
        10
    }
}

/// A setting that cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSettings {
    /// Outside its ends.
    #[error("{setting} = {value} is not between {from} and {to}")]
    Range {
        /// Which.
        setting: &'static str,
        /// What it is.
        value: u64,
        /// The least it may be.
        from: u64,
        /// The most it may be.
        to: u64,
    },
    /// Not a suffix that every gate and file system bears.
    #[error("suffix \"{0}\" is more than 16 letters, digits, dots and dashes")]
    Suffix(String),
    /// Nothing to do.
    #[error("neither outgoing nor incoming is set")]
    NoFolder,
    /// A file written would come straight back.
    #[error("outgoing and incoming are the same directory {0}")]
    SameFolder(PathBuf),
    /// A folder without the crossing it belongs to: the caller's mistake.
    #[error("{0} is set but the link has no crossing for it")]
    NoCrossing(&'static str),
}

fn within(setting: &'static str, value: u64, from: u64, to: u64) -> Result<(), BadSettings> {
    if (from..=to).contains(&value) { Ok(()) } else { Err(BadSettings::Range { setting, value, from, to }) }
}

impl Settings {
    /// All defaults between two directories.
    #[must_use]
    pub fn between(outgoing: Option<PathBuf>, incoming: Option<PathBuf>) -> Settings {
        Settings {
            outgoing,
            incoming,
            suffix: String::new(),
            any_name: false,
            bytes_max: defaults::bytes_max(),
            scan_ms: defaults::scan_ms(),
            round_every_s: defaults::round_every_s(),
            beacon_every_s: defaults::beacon_every_s(),
        }
    }

    /// The first setting that cannot be meant.
    pub fn check(&self) -> Result<(), BadSettings> {
        within("bytes_max", self.bytes_max, 65_536, 1 << 40)?;
        within("scan_ms", self.scan_ms, 100, 60_000)?;
        within("round_every_s", self.round_every_s, 1, 604_800)?;
        within("beacon_every_s", self.beacon_every_s, 1, 3_600)?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'-';
        if self.suffix.len() > 16 || !self.suffix.bytes().all(plain) {
            return Err(BadSettings::Suffix(self.suffix.chars().filter(|c| !c.is_control()).take(40).collect()));
        }
        match (&self.outgoing, &self.incoming) {
            (None, None) => Err(BadSettings::NoFolder),
            (Some(out), Some(back)) if out == back => Err(BadSettings::SameFolder(out.clone())),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_meant_is_named() {
        let good = Settings::between(Some("/a".into()), None);
        assert_eq!(good.check(), Ok(()));
        assert_eq!(Settings { outgoing: None, ..good.clone() }.check(), Err(BadSettings::NoFolder));
        assert!(matches!(Settings { suffix: "/../x".to_owned(), ..good.clone() }.check(), Err(BadSettings::Suffix(_))));
        assert!(matches!(Settings { scan_ms: 1, ..good }.check(), Err(BadSettings::Range { setting: "scan_ms", .. })));
    }
}
