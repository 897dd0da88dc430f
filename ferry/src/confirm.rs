//! Confirm: reads the written medium back, byte for byte, and tells the daemon that the trip may leave. What was
//! written and what can be read are two things, on discs above all.

use std::path::PathBuf;

use protocol::Timestamp;
use protocol::waybill::line_file_name;
use serde_json::json;
use spool::disk::{ASIDE, Disk};

use crate::approve::put;
use crate::copying::{forget, read_line};
use crate::desk::{ASK_WAIT_MS, Desk, DeskError};
use crate::folder::{Folder, Kind};
use crate::keyfile::{KeyFileError, KeyFrom};
use crate::medium::{self, BESIDE_MAX, MEDIUM_FILE, Medium, MediumError};
use crate::papers::{APPROVALS, Papers, PapersError, read_approval};
use crate::trustdir::{self, TrustDirError};
use crate::words::{Voice, groups, say, size};

/// What stops a confirmation.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfirmError {
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The desk.
    #[error(transparent)]
    Desk(#[from] DeskError),
    /// The medium, or the papers.
    #[error(transparent)]
    Medium(#[from] MediumError),
    /// The trust folder.
    #[error(transparent)]
    Trust(#[from] TrustDirError),
    /// The medium carries other papers than the desk.
    #[error("the waybill of trip {trip} on the medium is not the one in the desk")]
    OtherWaybill { trip: u64 },
    /// A write-once medium was closed before everybody had signed.
    #[error("countersignature {file} is in the desk and not on the medium, and the medium cannot be written: {cause}")]
    Closed { trip: u64, file: String, cause: String },
    /// Something else lies there.
    #[error("the medium holds {count} things of trip {trip} that are not on its waybill: {first}")]
    Strangers { trip: u64, count: usize, first: String },
}

impl From<PapersError> for ConfirmError {
    fn from(error: PapersError) -> Self {
        ConfirmError::Medium(error.into())
    }
}

/// `ferry confirm`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Confirm {
    /// The node's spool
    #[arg(long, value_name = "DIR")]
    pub(crate) spool: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) key: KeyFrom,
    /// The written medium, put in and mounted
    #[arg(long, value_name = "DIR")]
    pub(crate) medium: PathBuf,
    /// Which trip
    #[arg(long)]
    pub(crate) trip: u64,
    /// Key cards; then ferry checks every signature itself, besides the daemon
    #[arg(long, value_name = "DIR")]
    pub(crate) trust: Option<PathBuf>,
}

impl Confirm {
    /// Completes the papers, reads back, asks.
    pub(crate) fn run(&self, voice: Voice, now: Timestamp) -> Result<(), ConfirmError> {
        let language = voice.language;
        let trip = self.trip;
        let desk = Desk::open(self.spool.as_deref())?;
        let trust = self.trust.as_deref().map(trustdir::read).transpose()?;
        let staged = Folder::open(&desk.staged(trip)).map_err(MediumError::from)?;
        let papers = Papers::read(&staged)?;
        let (folder, there) = Medium::open(&self.medium)?.trip(trip)?;
        if there.bytes != papers.bytes {
            return Err(ConfirmError::OtherWaybill { trip });
        }
        if let Some(trust) = &trust {
            papers.prove(trust)?;
        }
        papers.enough(&papers.approvals(&staged, trust.as_ref())?)?;
        self.complete(&staged, &folder, &papers)?;
        let person = self.key.open(language.pick("passphrase", "口令"))?;

        // Until the kernel has forgotten them, reading the files back would read our own memory.
        let forgotten = papers.waybill.lines.iter().filter(|line| forget(&folder, &line_file_name(line))).count();
        let bar = voice.bar(papers.total(), say!(language, "reading back trip {trip}", "回读批次 {trip}"));
        for line in &papers.waybill.lines {
            read_line(&folder, line, papers.signed.suite, &bar, &mut |_| Ok(())).map_err(MediumError::from)?;
        }
        bar.finish_and_clear();
        let approvals = papers.approvals(&folder, trust.as_ref())?;
        papers.enough(&approvals)?;
        let strangers = medium::strangers(&folder, &papers).map_err(MediumError::from)?;
        if let Some(first) = strangers.first() {
            return Err(ConfirmError::Strangers { trip, count: strangers.len(), first: first.clone() });
        }

        let arguments = [("trip", trip.to_string()), ("medium", papers.waybill.medium.to_string())];
        let answer = desk.ask(&person, "confirm", &arguments, now, ASK_WAIT_MS)?;
        let (files, amount, digest) = (papers.waybill.lines.len(), size(papers.total()), groups(&papers.digest));
        voice.object(&json!({
            "trip": trip, "code": answer.code, "files": files, "bytes": papers.total(), "waybill": papers.digest.to_string(),
            "approvals": approvals.iter().map(|a| a.person.to_string()).collect::<Vec<_>>(), "caches_dropped": forgotten,
            "signatures_checked_here": trust.is_some(),
        }));
        voice.line(&say!(
            language,
            "trip {trip}: confirmed. {files} files, {amount} read back and equal to the waybill.",
            "批次 {trip}：已确认。回读 {files} 个文件，{amount}，与运单一致。"
        ));
        voice.line(&say!(language, "waybill  {digest}", "运单  {digest}"));
        for approval in &approvals {
            let (who, at) = (&approval.person, approval.at);
            voice.line(&say!(language, "signed   {who}  {at}", "会签  {who}  {at}"));
        }
        if trust.is_none() {
            voice.line(language.pick(
                "The signatures were checked by the node; with --trust DIR ferry checks them too.",
                "签名由节点核对；加 --trust DIR 则本程序也核对。",
            ));
        }
        voice.line(language.pick(
            "Next: carry it, and import it with `ferry import --medium DIR`.",
            "下一步：携带介质，到对端执行 ferry import --medium DIR。",
        ));
        Ok(())
    }

    /// Copies countersignatures that the desk has and the medium lacks.
    fn complete(&self, staged: &Folder, medium: &Folder, papers: &Papers) -> Result<(), ConfirmError> {
        let disk = Disk::real();
        for approval in papers.approvals(staged, None)? {
            let file = approval.file;
            let in_desk = read_approval(staged, &file).map_err(MediumError::from)?;
            let on_medium = read_approval(medium, &file).map_err(MediumError::from)?;
            if let Some(bytes) = in_desk.filter(|bytes| on_medium.as_ref() != Some(bytes)) {
                put(&disk, medium.path(), &file, &bytes, MEDIUM_FILE).map_err(|error| ConfirmError::Closed {
                    trip: self.trip,
                    file: file.clone(),
                    cause: error.to_string(),
                })?;
            }
        }
        sweep(&disk, medium);
        Ok(())
    }
}

/// A countersignature that was being put onto the medium when its command died left a file aside. Nobody puts one there
/// now; where the medium cannot be written any more it stays, and is listed as a stranger.
fn sweep(disk: &Disk, medium: &Folder) {
    let Ok(items) = medium.sub(APPROVALS).and_then(|folder| folder.list(BESIDE_MAX)) else { return };
    for item in items
        .iter()
        .filter(|item| item.kind == Kind::File && item.name.as_encoded_bytes().starts_with(ASIDE.as_bytes()))
    {
        let _left = disk.remove_file(&medium.path().join(APPROVALS).join(&item.name));
    }
}
