//! When a drop that its app just writes counts as complete: it looks the same for a while, nobody is heard writing it,
//! and every file in it ends as its format says.
//!
//! ```text
//! all files whole                    the quiet time
//! a file of a kind without an end    twice the quiet time
//! an empty file or folder, reserved space      PATIENCE, then as it is: some drops are like that
//! a file that is cut                 PATIENCE, then taken to be refused, so that its app hears of it
//! somebody is writing it             HELD, then as above: an app that hangs holds it open for ever
//! ```
//! Each file is looked into once for one size, time of change and inode. Nothing here is on disk: after a restart every
//! drop is waited for anew.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::Path;

use protocol::Timestamp;
use protocol::parcel::PATH_DEPTH_MAX;
use rustix::fs::{Mode, OFlags};

use crate::inlet::Sight;
use crate::litter::is_litter;
use crate::notice::Wait;
use crate::whole::{Whole, whole};

/// A drop that is not whole is waited for this long at least, and twenty quiet times where those are longer: a lunch
/// break of a machine, and short enough that the app hears of it the same day.
const PATIENCE_MS: u64 = 60 * 60 * 1000;
const PATIENCE_QUIETS: u64 = 20;
/// A drop that somebody holds open for writing and does not write to.
const HELD_MS: u64 = 24 * 60 * 60 * 1000;
/// An app is told that its drop is waited for after this long.
const TOLD_MS: u64 = 60 * 1000;
/// Sights kept at once: four inlets full of names. Beyond it those not seen in the last look begin anew.
const SEEN_MAX: usize = 400_000;

struct Seen {
    sight: Sight,
    since: Timestamp,
    found: Option<Whole>,
}

/// What is known of every drop in an inlet that settles.
pub(crate) struct Settling {
    quiet_ms: u64,
    seen: BTreeMap<OsString, Seen>,
}

/// What is to be done with a drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stand {
    /// To be taken.
    Take,
    /// Not yet, and there is nothing to say of it.
    Settling,
    /// Not yet, and its app should know.
    Waits(Wait),
}

impl Settling {
    pub(crate) fn new(quiet_ms: u64) -> Settling {
        Settling { quiet_ms, seen: BTreeMap::new() }
    }

    /// A drop was seen like this. Has it looked so for the quiet time?
    pub(crate) fn see(&mut self, name: &OsStr, sight: Sight, now: Timestamp) -> bool {
        match self.seen.get(name) {
            // A clock that was set back must not make anything wait until it has caught up.
            Some(seen) if seen.sight == sight && now >= seen.since => now.since(seen.since) >= self.quiet_ms,
            _ => {
                self.seen.insert(name.to_owned(), Seen { sight, since: now, found: None });
                false
            }
        }
    }

    /// Forgets what is gone: names of a look from `first` to `last` that were not in it.
    pub(crate) fn keep(&mut self, listed: &[OsString], all: bool) {
        let span = listed.first().zip(listed.last());
        let crowded = self.seen.len() > SEEN_MAX;
        self.seen.retain(|name, _| {
            let looked_at = all || crowded || span.is_some_and(|(first, last)| name >= first && name <= last);
            !looked_at || listed.binary_search(name).is_ok()
        });
    }

    /// Looks into a drop that has been quiet.
    pub(crate) fn stand(&mut self, name: &OsStr, path: &Path, written: bool, now: Timestamp) -> Stand {
        let patience = self.patience();
        let Some(seen) = self.seen.get_mut(name) else { return Stand::Settling };
        let quiet = now.since(seen.since);
        if quiet < self.quiet_ms {
            return Stand::Settling;
        }
        let waits = |why| if quiet >= TOLD_MS.max(2 * self.quiet_ms) { Stand::Waits(why) } else { Stand::Settling };
        if written && quiet < HELD_MS {
            return waits(Wait::StillOpen);
        }
        let found = match seen.found {
            Some(found) => found,
            // Gone or changed meanwhile: the next look sees it as it is then.
            None => match inside(path) {
                Ok(found) => *seen.found.insert(found),
                Err(_) => return Stand::Settling,
            },
        };
        match found {
            Whole::Yes => Stand::Take,
            Whole::Unknown if quiet >= 2 * self.quiet_ms => Stand::Take,
            Whole::Unknown => Stand::Settling,
            Whole::Hollow | Whole::No(_) if quiet >= patience => Stand::Take,
            Whole::Hollow | Whole::No(_) => waits(Wait::Unfinished),
        }
    }

    fn patience(&self) -> u64 {
        PATIENCE_MS.max(self.quiet_ms.saturating_mul(PATIENCE_QUIETS))
    }

    /// When the next drop may have waited long enough for something.
    pub(crate) fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let mut steps = [self.quiet_ms, 2 * self.quiet_ms, TOLD_MS, self.patience(), HELD_MS];
        steps.sort_unstable();
        let due = |seen: &Seen| {
            let step = steps.iter().find(|step| now.since(seen.since) < **step)?;
            Some(seen.since.plus_ms(*step))
        };
        self.seen.values().filter_map(due).min()
    }
}

/// What in a drop is not whole, so that it was taken only because its app has to hear of it.
pub(crate) fn cut(path: &Path) -> Option<&'static str> {
    match inside(path) {
        Ok(Whole::No(what)) => Some(what),
        _ => None,
    }
}

/// The worst that stands in a file or folder.
fn inside(path: &Path) -> io::Result<Whole> {
    let mut files = 0;
    let worst = below(path, PATH_DEPTH_MAX, &mut files)?;
    Ok(if files == 0 { worst.max(Whole::Hollow) } else { worst })
}

fn below(path: &Path, depth: usize, files: &mut u64) -> io::Result<Whole> {
    if !std::fs::symlink_metadata(path)?.is_dir() {
        *files += 1;
        return of_file(path);
    }
    let mut worst = Whole::Yes;
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        // What is too deep, no plain file or too much is refused for that, whole or not.
        if !is_litter(&entry.file_name()) && depth > 0 && !matches!(worst, Whole::No(_)) {
            worst = worst.max(below(&entry.path(), depth - 1, files)?);
        }
    }
    Ok(worst)
}

fn of_file(path: &Path) -> io::Result<Whole> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        // A link, a device without a driver, a socket: refused for that.
        Err(rustix::io::Errno::LOOP | rustix::io::Errno::NXIO) => return Ok(Whole::Yes),
        Err(error) => return Err(error.into()),
    };
    let about = file.metadata()?;
    if !about.is_file() {
        return Ok(Whole::Yes);
    }
    let found = whole(path.file_name().unwrap_or_default(), &mut file, about.len())?;
    // Space that was reserved reads as zeros, and the file system can tell it from zeros that were written.
    let hole = || rustix::fs::seek(&file, rustix::fs::SeekFrom::Hole(0)).is_ok_and(|at| at < about.len());
    Ok(if found == Whole::Unknown && hole() { Whole::Hollow } else { found })
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test drops files as an app does")]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write as _;
    use std::os::unix::fs::FileExt as _;

    const QUIET: u64 = 1_000;

    fn sight(inode: u64) -> Sight {
        Sight { files: 1, bytes: 1, changed: (1, 1), inode }
    }

    fn at(ms: u64) -> Timestamp {
        Timestamp(1_000_000 + ms)
    }

    #[test]
    fn each_kind_of_drop_waits_as_long_as_the_table_says() {
        let dir = tempfile::tempdir().unwrap();
        let patience = PATIENCE_MS;
        let cases: [(&str, &[u8], u64); 6] = [
            ("whole.xml", b"<a/>", QUIET),
            ("words.txt", b"words", 2 * QUIET),
            ("empty.txt", b"", patience),
            ("cut.xml", b"<a>", patience),
            ("folder", b"", patience),
            ("case", b"", 2 * QUIET),
        ];
        for (name, bytes, wait) in cases {
            let path = dir.path().join(name);
            match name {
                "folder" => fs::create_dir(&path).unwrap(),
                "case" => {
                    fs::create_dir_all(path.join("scans")).unwrap();
                    fs::write(path.join("a.json"), b"{}").unwrap();
                    fs::write(path.join("scans/notes.txt"), b"words").unwrap();
                    fs::write(path.join("scans/Thumbs.db"), b"").unwrap();
                }
                _ => fs::write(&path, bytes).unwrap(),
            }
            let mut settling = Settling::new(QUIET);
            let name = OsStr::new(name);
            assert!(!settling.see(name, sight(1), at(0)));
            for now in [QUIET - 1, QUIET, 2 * QUIET - 1, 2 * QUIET, TOLD_MS, patience - 1, patience] {
                settling.see(name, sight(1), at(now));
                let stand = settling.stand(name, &path, false, at(now));
                assert_eq!(stand == Stand::Take, now >= wait, "{name:?} after {now} ms: {stand:?}");
            }
        }
    }

    #[test]
    fn an_app_is_told_after_a_minute_that_its_drop_is_not_whole_or_still_open() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cut.zip");
        fs::write(&path, b"PK\x03\x04").unwrap();
        let (mut settling, name) = (Settling::new(QUIET), OsStr::new("cut.zip"));
        settling.see(name, sight(1), at(0));
        assert_eq!(settling.stand(name, &path, false, at(QUIET)), Stand::Settling);
        assert_eq!(settling.stand(name, &path, false, at(TOLD_MS)), Stand::Waits(Wait::Unfinished));
        assert_eq!(settling.stand(name, &path, true, at(PATIENCE_MS)), Stand::Waits(Wait::StillOpen));
        assert_eq!(settling.stand(name, &path, true, at(HELD_MS)), Stand::Take);
        assert_eq!(cut(&path), Some("no zip end record that covers the file"));
    }

    #[test]
    fn a_change_begins_the_wait_anew_and_a_clock_set_back_does_not_make_it_endless() {
        let mut settling = Settling::new(QUIET);
        let name = OsStr::new("a");
        assert!(!settling.see(name, sight(1), at(0)));
        assert!(settling.see(name, sight(1), at(QUIET)));
        assert!(!settling.see(name, sight(2), at(QUIET)), "another file under the same name");
        assert_eq!(settling.next(at(QUIET)), Some(at(2 * QUIET)));
        assert!(!settling.see(name, sight(2), Timestamp(5)), "the clock was set back by years");
        assert!(settling.see(name, sight(2), Timestamp(5 + QUIET)));
        settling.keep(&[], true);
        assert_eq!(settling.next(at(0)), None);
    }

    #[test]
    fn a_file_is_looked_into_once_and_not_at_every_look() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cut.json");
        fs::write(&path, b"[1, 2").unwrap();
        let (mut settling, name) = (Settling::new(QUIET), OsStr::new("cut.json"));
        settling.see(name, sight(1), at(0));
        assert_eq!(settling.stand(name, &path, false, at(QUIET)), Stand::Settling);
        // As if nothing had changed: what is in it now is not read.
        fs::write(&path, b"[1, 2]").unwrap();
        settling.see(name, sight(1), at(2 * QUIET));
        assert_eq!(settling.stand(name, &path, false, at(2 * QUIET)), Stand::Settling);
        settling.see(name, sight(2), at(3 * QUIET));
        assert_eq!(settling.stand(name, &path, false, at(4 * QUIET)), Stand::Take);
    }

    #[test]
    fn reserved_space_is_told_from_a_file_that_is_filled() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("raw.dat");
        let mut file = File::create(&path).unwrap();
        file.set_len(1 << 20).unwrap();
        assert_eq!(inside(&path).unwrap(), Whole::Hollow, "a hole to its end");
        file.write_all_at(b"end", (1 << 20) - 3).unwrap();
        assert_eq!(inside(&path).unwrap(), Whole::Hollow, "as who writes the last byte first");
        file.write_all(&vec![7; 1 << 20]).unwrap();
        assert_eq!(inside(&path).unwrap(), Whole::Unknown);
    }
}
