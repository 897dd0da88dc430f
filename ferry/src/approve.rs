//! Approve: a person reads what leaves and puts their signature to it. The signature lies in the desk, where the daemon
//! counts it, and on the medium, where the receiver must find it.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use protocol::parcel::VERSION;
use protocol::signer::SignError;
use protocol::trust::Role;
use protocol::waybill::{Approval, LineKind};
use protocol::{Signed, Timestamp};
use serde_json::json;
use spool::disk::Disk;

use crate::copies::places_there;
use crate::copying::write_error;
use crate::desk::{self, ASK_WAIT_MS, DESK_FILE, Desk, DeskError};
use crate::folder::{Folder, FolderError};
use crate::keyfile::{KeyFileError, KeyFrom, Person};
use crate::medium::{MEDIUM_FILE, Medium, MediumError};
use crate::papers::{APPROVALS, Papers, PapersError, approval_file, read_approval};
use crate::words::{Voice, groups, say, size};

/// What stops an approval.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApproveError {
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The desk.
    #[error(transparent)]
    Desk(#[from] DeskError),
    /// The medium, or the papers.
    #[error(transparent)]
    Medium(#[from] MediumError),
    /// This person may not.
    #[error("{person} has role {role}; only an approver countersigns")]
    NotAnApprover { person: String, role: Role },
    /// The medium carries other papers than the desk.
    #[error("the waybill of trip {trip} on the medium is not the one in the desk")]
    OtherWaybill { trip: u64 },
    /// The person said no.
    #[error("not signed")]
    SaidNo,
}

impl From<PapersError> for ApproveError {
    fn from(error: PapersError) -> Self {
        ApproveError::Medium(error.into())
    }
}

/// `ferry approve`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Approve {
    /// The node's spool
    #[arg(long, value_name = "DIR")]
    pub(crate) spool: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) key: KeyFrom,
    /// Which trip
    #[arg(long)]
    pub(crate) trip: u64,
    /// Also onto this medium, where it can still be written
    #[arg(long, value_name = "DIR")]
    pub(crate) medium: Option<PathBuf>,
    /// Sign without being asked on the terminal
    #[arg(long)]
    pub(crate) yes: bool,
}

impl Approve {
    /// Shows, signs, asks.
    pub(crate) fn run(&self, voice: Voice, now: Timestamp) -> Result<(), ApproveError> {
        let desk = Desk::open(self.spool.as_deref())?;
        let place = desk.staged(self.trip);
        let staged = Folder::open(&place).map_err(MediumError::from)?;
        let papers = Papers::read(&staged)?;
        let medium = self.medium.as_deref().map(Medium::open).transpose()?;
        let on_medium = medium.map(|medium| medium.trip(self.trip)).transpose()?;
        if on_medium.as_ref().is_some_and(|(_, there)| there.bytes != papers.bytes) {
            return Err(ApproveError::OtherWaybill { trip: self.trip });
        }
        let person = self.key.open(voice.language.pick("passphrase", "口令"))?;
        if person.card.role != Role::Approver {
            return Err(ApproveError::NotAnApprover { person: person.card.holder.to_string(), role: person.card.role });
        }
        show(voice, &papers);
        self.agree(voice, &person)?;

        let file = approval_file(&person.card.holder);
        let already = read_approval(&staged, &file).map_err(MediumError::from)?;
        let own = already.filter(|bytes| is_ours(&papers, &person, bytes, &file));
        let new = own.is_none();
        let bytes = own.map_or_else(|| sign(&papers, &person, now).map_err(DeskError::from), Ok)?;
        // The same checks the daemon will make, so that the person hears it from us in their language.
        papers.check_approval(&bytes, &file, None)?;
        let disk = Disk::real();
        put(&disk, &place, &file, &bytes, DESK_FILE)?;
        let about = [("trip", self.trip.to_string())];
        let asked = voice.during(voice.waiting(), || desk.ask(&person, "approve", &about, now, ASK_WAIT_MS));
        let answer = match asked {
            Err(DeskError::Refused(answer)) if new => {
                // A signature the daemon refused must not lie beside those that count.
                let path = place.join(APPROVALS).join(&file);
                disk.remove_file(&path).map_err(|cause| MediumError::Copy(write_error(&path, cause)))?;
                return Err(DeskError::Refused(answer).into());
            }
            done => done?,
        };
        if let Some((folder, _)) = &on_medium {
            for place in places_there(folder.path()) {
                put(&disk, &place, &file, &bytes, MEDIUM_FILE)?;
            }
        }
        let (have, needed) = (desk::number(&answer, "approve", "have")?, desk::number(&answer, "approve", "needed")?);
        self.tell(voice, &person, have, needed);
        Ok(())
    }

    fn agree(&self, voice: Voice, person: &Person) -> Result<(), ApproveError> {
        if self.yes || voice.json || !std::io::stdin().is_terminal() {
            return Ok(());
        }
        let who = &person.card.holder;
        let question = say!(voice.language, "Sign this as {who}? [y/N] ", "以 {who} 的身份会签？[y/N] ");
        let _ = write!(std::io::stderr(), "{question}");
        let mut said = String::new();
        let read = std::io::stdin().read_line(&mut said);
        let yes = read.is_ok() && matches!(said.trim(), "y" | "Y" | "yes" | "是");
        if yes { Ok(()) } else { Err(ApproveError::SaidNo) }
    }

    fn tell(&self, voice: Voice, person: &Person, have: u64, needed: u64) {
        let (trip, who) = (self.trip, &person.card.holder);
        voice.object(&json!({"code": "approved", "trip": trip, "person": who, "have": have, "needed": needed}));
        voice.line(&say!(
            voice.language,
            "trip {trip}: signed by {who}, {have} of {needed}",
            "批次 {trip}：{who} 已会签，{have}/{needed}"
        ));
        if have >= needed {
            voice.line(&say!(
                voice.language,
                "Next: write the medium, then `ferry confirm --trip {trip} --medium DIR --key FILE`.",
                "下一步：写好介质后执行 ferry confirm --trip {trip} --medium DIR --key FILE。"
            ));
        }
    }
}

/// What is about to be signed, for the person who answers for it.
fn show(voice: Voice, papers: &Papers) {
    let language = voice.language;
    let bill = &papers.waybill;
    let bundles = bill.lines.iter().filter(|line| line.kind == LineKind::Bundle).count();
    let receipts = bill.lines.len() - bundles;
    let (trip, source, target, amount, digest) =
        (bill.trip, &bill.source, &bill.target, size(papers.total()), groups(&papers.digest));
    let (medium, carrier, exporter, at) = (&bill.medium, &bill.carrier, &bill.exporter, bill.at);
    voice.line(&say!(
        language,
        "You sign: trip {trip}, {source} -> {target}",
        "您将会签：批次 {trip}，{source} -> {target}"
    ));
    voice.line(&say!(
        language,
        "  {bundles} bundles and {receipts} receipt batches, {amount}",
        "  密封包 {bundles} 个，回执 {receipts} 批，共 {amount}"
    ));
    voice.line(&say!(
        language,
        "  medium {medium}, carried by {carrier}, exported by {exporter} at {at}",
        "  介质 {medium}，携带人 {carrier}，导出人 {exporter}，时间 {at}"
    ));
    voice.line(&say!(language, "  waybill {digest}", "  运单 {digest}"));
}

fn is_ours(papers: &Papers, person: &Person, bytes: &[u8], file: &str) -> bool {
    let signed = Signed::parse::<Approval>(bytes);
    papers.check_approval(bytes, file, None).is_ok()
        && signed.is_ok_and(|signed| {
            signed.verify::<Approval>(&person.key.public()).is_ok_and(|a| a.person == person.card.holder)
        })
}

fn sign(papers: &Papers, person: &Person, now: Timestamp) -> Result<Vec<u8>, SignError> {
    let approval = Approval {
        version: VERSION,
        waybill: papers.digest,
        trip: papers.waybill.trip,
        person: person.card.holder.clone(),
        at: now,
    };
    Ok(Signed::make_by(&*person.key, &approval)?.to_bytes())
}

/// Puts a countersignature into a trip's folder; whole or not at all.
pub(crate) fn put(disk: &Disk, trip: &Path, file: &str, bytes: &[u8], mode: u32) -> Result<(), MediumError> {
    let folder = trip.join(APPROVALS);
    let failed = |path: &Path, cause| MediumError::Copy(write_error(path, cause));
    match folder.symlink_metadata() {
        // A link planted there would have us write wherever it points.
        Ok(about) if !about.is_dir() => return Err(FolderError::NotAFolder { path: folder }.into()),
        Ok(_) => {}
        Err(_) => disk.create_dir_all(&folder).map_err(|cause| failed(&folder, cause))?,
    }
    let path = folder.join(file);
    disk.write(&path, bytes).map_err(|cause| failed(&path, cause))?;
    // FAT knows no modes and needs none.
    let _ = disk.set_mode(&path, mode);
    Ok(())
}
