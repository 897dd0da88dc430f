//! The beacons that were heard: which is the newest, whether a second sender speaks, and whether an earlier start of the
//! sender does. Remembered over restarts in one small file that may be lost, so that a beacon of last week, laid down
//! again, ends no silence.
//!
//! ```text
//! newest <epoch> <number> <first heard, ms since 1970, by the sender's clock> <digest>
//! ```

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use protocol::Timestamp;
use protocol::der_types::Octets;
use protocol::oneway::FolderBeacon;
use protocol::suite::Digest;
use spool::disk::{self, Disk};

/// An earlier start of the sender that still speaks so long after a later one was heard, both by the senders' clocks,
/// is a second sender: what the gate held back is from before. As on the wire.
const SECOND_SENDER_AFTER_MS: u64 = 10_000;
/// Beacons of the newest start that are known again by their digest. Two machines that were one while it ran count on
/// from the same number, so they differ within a few.
const KNOWN_MAX: usize = 64;
/// The file has one line of some 130 bytes.
const STATE_BYTES_MAX: u64 = 1_024;

/// What a beacon is before its signature was checked: worth a check, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Worth {
    /// It was heard, or is older than one of the same start that was: says nothing new.
    Nothing,
    /// Only its signature tells.
    ACheck,
}

/// What a beacon is after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// The sender lives.
    News,
    /// Another with the same keys lives beside it.
    SecondSender,
    /// Of a start before the newest: held back by the gate, laid down again, or of a sender whose clock and disk went
    /// back.
    Earlier,
}

#[derive(Clone, Copy)]
struct Newest {
    epoch: u32,
    number: u64,
    first: Timestamp,
}

/// All that is remembered of beacons.
pub(crate) struct Heard {
    disk: Disk,
    path: PathBuf,
    newest: Option<Newest>,
    known: VecDeque<(u64, Digest)>,
}

impl Heard {
    /// Reads what there is.
    pub(crate) fn open(disk: Disk, folder: &Path) -> io::Result<Heard> {
        disk.create_dir_all(folder)?;
        let path = folder.join("incoming.state");
        let bytes = disk::read_plain(&path, STATE_BYTES_MAX).unwrap_or_default();
        let mut heard = Heard { disk, path, newest: None, known: VecDeque::new() };
        // A line that cannot be read is one that was lost.
        let _ = heard.read(&String::from_utf8_lossy(&bytes));
        Ok(heard)
    }

    fn read(&mut self, text: &str) -> Option<()> {
        let mut words = text.strip_prefix("newest ")?.trim_end().split(' ');
        let (epoch, number) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let first = Timestamp(words.next()?.parse().ok()?);
        self.known.push_back((number, Octets::from_hex(words.next()?)?));
        self.newest = Some(Newest { epoch, number, first });
        Some(())
    }

    /// Before its signature is checked.
    pub(crate) fn worth(&self, said: &FolderBeacon, digest: &Digest) -> Worth {
        let Some(newest) = self.newest else { return Worth::ACheck };
        if said.epoch != newest.epoch || said.number > newest.number {
            return Worth::ACheck;
        }
        let known = self.known.iter().find(|(number, _)| *number == said.number);
        if known.is_some_and(|(_, known)| known != digest) { Worth::ACheck } else { Worth::Nothing }
    }

    /// After it was found genuine.
    pub(crate) fn hear(&mut self, said: &FolderBeacon, digest: &Digest) -> io::Result<Told> {
        let at = said.pulse.at;
        let first = match self.newest {
            Some(newest) if said.epoch < newest.epoch => {
                let still = at.0 > newest.first.0.saturating_add(SECOND_SENDER_AFTER_MS);
                return Ok(if still { Told::SecondSender } else { Told::Earlier });
            }
            Some(newest) if said.epoch == newest.epoch => {
                if said.number <= newest.number {
                    return Ok(Told::SecondSender);
                }
                newest.first
            }
            _ => {
                self.known.clear();
                at
            }
        };
        if self.known.len() == KNOWN_MAX {
            self.known.pop_front();
        }
        self.known.push_back((said.number, *digest));
        self.newest = Some(Newest { epoch: said.epoch, number: said.number, first });
        let line = format!("newest {} {} {} {digest}\n", said.epoch, said.number, first.0);
        self.disk.write_lazy(&self.path, line.as_bytes())?;
        Ok(Told::News)
    }

    /// The newest start that was heard; 0 where none was.
    pub(crate) fn epoch(&self) -> u32 {
        self.newest.map_or(0, |newest| newest.epoch)
    }
}
