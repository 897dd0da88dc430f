//! Fetch: an auditor asks the running node for the records of a period, where the ledger's folder may not be read. The daemon
//! writes them into the desk, for the group of auditors alone, and records who asked; ferry copies the file and holds it
//! against the digest in the answer. What is fetched so is believed as far as the node is: only the ledger's own folder
//! proves itself (`ferry ledger verify`).

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use protocol::{Suite, Timestamp};
use serde_json::json;
use spool::Disk;

use crate::desk::{CARRY_WAIT_MS, Desk, DeskError, number};
use crate::folder::{Folder, FolderError};
use crate::keyfile::{KeyFileError, KeyFrom};
use crate::ledger::Days;
use crate::words::{Voice, say};

const ACTION: &str = "ledger-export";
const PIECE_BYTES: usize = 256 * 1024;

/// What stops a fetch.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The desk.
    #[error(transparent)]
    Desk(#[from] DeskError),
    /// The file in the desk.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Reading or writing.
    #[error("{}: {cause}", path.display())]
    Copy { path: PathBuf, cause: io::Error },
    /// Not what the answer says.
    #[error("{} is not what the node's answer says: {found} bytes, {stated} were stated, or another digest", path.display())]
    Differs { path: PathBuf, found: u64, stated: u64 },
}

/// `ferry ledger fetch`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Fetch {
    /// The node's spool
    #[arg(long, value_name = "DIR")]
    pub(crate) spool: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) key: KeyFrom,
    #[command(flatten)]
    pub(crate) days: Days,
    /// A new file
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

impl Fetch {
    /// Asks, copies, compares.
    pub(crate) fn run(&self, voice: Voice, now: Timestamp) -> Result<(), FetchError> {
        let desk = Desk::open(self.spool.as_deref())?;
        let person = self.key.open(voice.language.pick("passphrase", "口令"))?;
        let Days { from, to, format, acts } = &self.days;
        let day = |at: &Timestamp| at.to_string().chars().take_while(|c| *c != 'T').collect::<String>();
        let mut arguments = vec![("from", day(from)), ("to", day(to)), ("format", format.name().to_owned())];
        arguments.extend(acts.person.iter().map(|person| ("person", person.to_string())));
        arguments.extend(acts.medium.iter().map(|medium| ("medium", medium.to_string())));
        let answer = voice.during(voice.waiting(), || desk.ask(&person, ACTION, &arguments, now, CARRY_WAIT_MS))?;
        let lack = |field| DeskError::Answer { action: ACTION, field };
        let word = |field| answer.details.get(field).and_then(|value| value.as_str()).ok_or(lack(field));
        let (lines, stated) = (number(&answer, ACTION, "lines")?, number(&answer, ACTION, "bytes")?);
        let (file, digest) = (PathBuf::from(word("file")?), word("digest")?.to_owned());
        // The name alone: the answer is a file that the desk's group can write.
        let name = file.file_name().ok_or(lack("file"))?;
        let (mut source, _) = Folder::open(&desk.layout.desk_exports())?.file(name)?;
        bring(&mut source, stated, &digest, &self.out)?;
        let shown = self.out.display();
        voice.object(&json!({ "file": self.out, "lines": lines, "bytes": stated, "digest": digest }));
        voice.line(&say!(voice.language, "{lines} records written to {shown}", "已写入 {shown}：{lines} 条记录"));
        Ok(())
    }
}

/// Copies what the daemon laid into the desk to a new file, whole and as its answer says, or not at all.
pub(crate) fn bring(source: &mut impl Read, stated: u64, digest: &str, out: &Path) -> Result<(), FetchError> {
    let failed = |cause| FetchError::Copy { path: out.to_owned(), cause };
    let disk = Disk::real();
    let mut target = disk.create(out).map_err(failed)?;
    let mut hashers = Suite::ALL.map(Suite::hasher);
    let (mut piece, mut found) = (vec![0; PIECE_BYTES], 0_u64);
    // One byte more than stated is enough to differ.
    let mut source = source.take(stated.saturating_add(1));
    loop {
        let read = source.read(&mut piece).map_err(failed)?;
        let Some(bytes) = piece.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        hashers.iter_mut().for_each(|hasher| hasher.update(bytes));
        disk.append(&mut target, bytes).map_err(failed)?;
        found = found.saturating_add(read as u64);
    }
    disk.sync_file(&target).map_err(failed)?;
    if found != stated || !hashers.into_iter().any(|hasher| hasher.finish().to_string() == digest) {
        // It is not what was asked for; that it cannot be removed is the lesser evil.
        let _ = disk.remove_file(out);
        return Err(FetchError::Differs { path: out.to_owned(), found, stated });
    }
    Ok(())
}
