//! The papers of a trip as they lie in a folder: the signed waybill and its countersignatures.
//!
//! A waybill is read in steps (10.1.1 of FORMAT.md): its outer form; its own limits (lines, ids, sizes); with a trust folder, that the
//! node it names as source signed it. Countersignatures (10.1.3): each names this waybill's digest and this trip, is by a different
//! person, and by neither the exporter nor the carrier; with a trust folder, an approver signed it.

use std::collections::{BTreeSet, HashSet};

use protocol::parcel::VERSION;
use protocol::suite::Digest;
use protocol::trust::{Role, TrustError};
use protocol::waybill::{Approval, WAYBILL_BYTES_MAX, WAYBILL_LINES_MAX, Waybill, line_file_name};
use protocol::{Name, Signed, Timestamp, Trust};

use crate::folder::{Folder, FolderError, Kind};
use crate::words::shown;

/// The waybill's file name in a trip's folder.
pub(crate) const WAYBILL: &str = "waybill";
/// The folder of countersignatures.
pub(crate) const APPROVALS: &str = "approvals";
/// The end of a countersignature's file name.
pub(crate) const APPROVAL_SUFFIX: &str = ".approval";
/// Two are needed, a handful may sign; more is noise from a hostile medium.
pub(crate) const APPROVALS_MAX: usize = 64;
/// A countersignature is some 250 bytes.
pub(crate) const APPROVAL_BYTES_MAX: usize = 4096;

/// What is wrong with a trip's papers.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PapersError {
    /// They cannot be read.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The waybill.
    #[error("the waybill in {folder}: {cause}")]
    Waybill { folder: String, cause: String },
    /// Its signature, or the right to make it.
    #[error("the waybill of trip {trip}: {cause}")]
    Signature { trip: u64, cause: TrustError },
    /// One countersignature.
    #[error("countersignature {file} of trip {trip}: {cause}")]
    Approval { trip: u64, file: String, cause: String },
    /// Too few.
    #[error("trip {trip} has {have} of {needed} countersignatures")]
    Missing { trip: u64, have: usize, needed: u8 },
}

/// The waybill of one trip.
pub(crate) struct Papers {
    /// What it says.
    pub(crate) waybill: Waybill,
    /// With its signature.
    pub(crate) signed: Signed,
    /// As it lies there.
    pub(crate) bytes: Vec<u8>,
    /// What countersignatures name.
    pub(crate) digest: Digest,
}

/// One countersignature that was checked.
#[derive(Clone, Debug)]
pub(crate) struct Countersigned {
    /// By whom.
    pub(crate) person: Name,
    /// When, by their clock.
    pub(crate) at: Timestamp,
    /// By which key.
    pub(crate) signer: Digest,
    /// Its file's name.
    pub(crate) file: String,
    /// As it was signed.
    pub(crate) bytes: Vec<u8>,
}

impl Papers {
    /// Reads the waybill of a trip's folder: form and limits, not yet who signed.
    pub(crate) fn read(folder: &Folder) -> Result<Papers, PapersError> {
        let bytes = folder.read(WAYBILL, WAYBILL_BYTES_MAX)?;
        Papers::parse(bytes)
            .map_err(|cause| PapersError::Waybill { folder: folder.path().display().to_string(), cause })
    }

    /// Takes a waybill's bytes apart.
    pub(crate) fn parse(bytes: Vec<u8>) -> Result<Papers, String> {
        let signed = Signed::parse::<Waybill>(&bytes).map_err(|e| e.to_string())?;
        let waybill: Waybill = signed.read_unverified().map_err(|e| e.to_string())?;
        if waybill.version != VERSION {
            return Err(format!("its version is {}, this program knows {VERSION}", waybill.version));
        }
        if waybill.lines.len() > WAYBILL_LINES_MAX {
            return Err(format!("{} lines are over the limit of {WAYBILL_LINES_MAX}", waybill.lines.len()));
        }
        let mut ids = HashSet::with_capacity(waybill.lines.len());
        let mut total: u64 = 0;
        for line in &waybill.lines {
            if !ids.insert(line_file_name(line)) {
                return Err(format!("{} stands on it twice", line_file_name(line)));
            }
            total = total.checked_add(line.size).ok_or("the sizes on it overflow")?;
        }
        let digest = signed.digest();
        Ok(Papers { waybill, signed, bytes, digest })
    }

    /// 10.1.1: the source node signed it.
    pub(crate) fn prove(&self, trust: &Trust) -> Result<(), PapersError> {
        trust
            .verify_from_node::<Waybill>(&self.signed, &self.waybill.source)
            .map(|_| ())
            .map_err(|cause| PapersError::Signature { trip: self.waybill.trip, cause })
    }

    /// Bytes of all files on it.
    pub(crate) fn total(&self) -> u64 {
        self.waybill.lines.iter().map(|line| line.size).sum()
    }

    /// 10.1.3: checks one countersignature; without a trust folder its signature is left to the daemon.
    pub(crate) fn check_approval(
        &self,
        bytes: &[u8],
        file: &str,
        trust: Option<&Trust>,
    ) -> Result<Countersigned, PapersError> {
        let wrong = |cause: String| PapersError::Approval { trip: self.waybill.trip, file: file.to_owned(), cause };
        let signed = Signed::parse::<Approval>(bytes).map_err(|e| wrong(e.to_string()))?;
        let approval: Approval = match trust {
            None => signed.read_unverified().map_err(|e| wrong(e.to_string()))?,
            Some(trust) => {
                let (approval, card) = trust.verify::<Approval>(&signed).map_err(|e| wrong(e.to_string()))?;
                if card.role != Role::Approver || card.holder != approval.person {
                    return Err(wrong(format!(
                        "signed by {}, role {}; approver {} is required",
                        card.holder, card.role, approval.person
                    )));
                }
                approval
            }
        };
        if approval.waybill != self.digest || approval.trip != self.waybill.trip {
            return Err(wrong("it belongs to another waybill".to_owned()));
        }
        if approval.person == self.waybill.exporter {
            return Err(wrong(format!("{} exported the trip and may not countersign it", approval.person)));
        }
        if approval.person == self.waybill.carrier {
            return Err(wrong(format!("{} carries the trip and may not countersign it", approval.person)));
        }
        let (file, bytes) = (file.to_owned(), bytes.to_vec());
        Ok(Countersigned { person: approval.person, at: approval.at, signer: signed.signer, file, bytes })
    }

    /// All countersignatures of a trip's folder, distinct by person. A folder without any is an empty list.
    pub(crate) fn approvals(&self, folder: &Folder, trust: Option<&Trust>) -> Result<Vec<Countersigned>, PapersError> {
        let approvals = match folder.sub(APPROVALS) {
            Ok(approvals) => approvals,
            Err(error) if error.is_missing() => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut checked = Vec::new();
        for item in approvals.list(APPROVALS_MAX)? {
            let file = shown(&item.name);
            if item.kind != Kind::File || !file.ends_with(APPROVAL_SUFFIX) || file.starts_with('.') {
                continue;
            }
            let bytes = approvals.read(&item.name, APPROVAL_BYTES_MAX)?;
            checked.push(self.check_approval(&bytes, &file, trust)?);
        }
        Ok(distinct(checked))
    }

    /// 10.1.4: are there enough?
    pub(crate) fn enough(&self, approvals: &[Countersigned]) -> Result<(), PapersError> {
        let needed = self.waybill.approvals;
        if approvals.len() >= usize::from(needed) {
            return Ok(());
        }
        Err(PapersError::Missing { trip: self.waybill.trip, have: approvals.len(), needed })
    }
}

/// 10.1.3: one person, or one key, counts once whatever the files are called.
pub(crate) fn distinct(mut approvals: Vec<Countersigned>) -> Vec<Countersigned> {
    let (mut people, mut signers) = (BTreeSet::new(), BTreeSet::new());
    approvals.retain(|approval| people.insert(approval.person.clone()) && signers.insert(approval.signer));
    approvals
}

/// The file name of a person's countersignature.
pub(crate) fn approval_file(person: &Name) -> String {
    format!("{person}{APPROVAL_SUFFIX}")
}

/// The raw bytes of a countersignature in a trip's folder, where it is there.
pub(crate) fn read_approval(folder: &Folder, file: &str) -> Result<Option<Vec<u8>>, FolderError> {
    match folder.sub(APPROVALS).and_then(|approvals| approvals.read(file, APPROVAL_BYTES_MAX)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}
