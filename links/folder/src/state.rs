//! What the sending side remembers across its restarts: its epoch, the numbers announced, and the round of each entry.
//! One small text file, appearing whole; where it is lost entries are written once more than needed.
//!
//! ```text
//! epoch <n>
//! suffix <what file names ended with>
//! next <crossing epoch> <next sequence>
//! round <entry id> <rounds> <due, ms since 1970>
//! ```

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use protocol::{BundleId, Timestamp};
use spool::disk::Disk;

/// An outbox lists far fewer entries; a longer file is damaged.
const STATE_BYTES_MAX: u64 = 64 << 20;

/// The round of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Course {
    /// How often the gate took its file.
    pub(crate) rounds: u32,
    /// When the next file is due.
    pub(crate) due: Timestamp,
}

/// The file and what stands in it.
pub(crate) struct State {
    disk: Disk,
    path: PathBuf,
    pub(crate) epoch: u32,
    pub(crate) next: BTreeMap<u64, u64>,
    pub(crate) courses: BTreeMap<BundleId, Course>,
    /// With what the files were written that may still lie for the gate.
    pub(crate) suffix: String,
}

impl State {
    /// Reads what there is and draws an epoch larger than any before; durable on return.
    pub(crate) fn open(disk: Disk, folder: &Path, now: Timestamp) -> io::Result<State> {
        disk.create_dir_all(folder)?;
        let path = folder.join("outgoing.state");
        let text = match std::fs::metadata(&path) {
            Ok(found) if found.len() <= STATE_BYTES_MAX => std::fs::read_to_string(&path).unwrap_or_default(),
            _ => String::new(),
        };
        let mut state =
            State { disk, path, epoch: 0, next: BTreeMap::new(), courses: BTreeMap::new(), suffix: String::new() };
        for line in text.lines() {
            // A line that cannot be read costs one round of one entry.
            let _ = state.read(line);
        }
        // A clock past 2106 is wrong, and its epoch would be the last of all.
        let clock = u32::try_from(now.seconds()).unwrap_or(0);
        state.epoch =
            clock.max(state.epoch.checked_add(1).ok_or_else(|| io::Error::other("the link epochs are used up"))?);
        state.disk.write(&state.path, state.to_text().as_bytes())?;
        Ok(state)
    }

    /// Keeps it.
    pub(crate) fn keep(&self) -> io::Result<()> {
        self.disk.write_lazy(&self.path, self.to_text().as_bytes())
    }

    /// This number of the crossing exists; says whether that is news.
    pub(crate) fn number(&mut self, epoch: u64, sequence: u64) -> bool {
        let next = sequence.saturating_add(1);
        let known = self.next.entry(epoch).or_insert(1);
        let news = *known < next;
        *known = next.max(*known);
        while self.next.len() > protocol::oneway::beacon::EPOCHS_MAX {
            self.next.pop_first();
        }
        news
    }

    fn read(&mut self, line: &str) -> Option<()> {
        let mut words = line.split(' ');
        match words.next()? {
            "epoch" => self.epoch = words.next()?.parse().ok()?,
            "suffix" => self.suffix = words.next()?.to_owned(),
            "next" => drop(self.next.insert(words.next()?.parse().ok()?, words.next()?.parse().ok()?)),
            "round" => {
                let id = BundleId::from_hex(words.next()?)?;
                let course =
                    Course { rounds: words.next()?.parse().ok()?, due: Timestamp(words.next()?.parse().ok()?) };
                self.courses.insert(id, course);
            }
            _ => return None,
        }
        Some(())
    }

    fn to_text(&self) -> String {
        let mut text = format!("epoch {}\nsuffix {}\n", self.epoch, self.suffix);
        for (epoch, next) in &self.next {
            text.push_str(&format!("next {epoch} {next}\n"));
        }
        for (id, course) in &self.courses {
            text.push_str(&format!("round {id} {} {}\n", course.rounds, course.due.0));
        }
        text
    }
}
