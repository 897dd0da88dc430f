//! Inspect: the clear envelope of a bundle or of evidence, or a signed paper alone in its file, and exactly the bytes that
//! stock OpenSSL needs to check one of its signatures without any program of ours.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use protocol::bundle::MAGIC;
use protocol::der_types::OBJECT_BYTES_MAX;
use protocol::envelope::{Envelope, Footer};
use protocol::evidence::{self, Evidence};
use protocol::keys::{SM2_USER_ID, public_pem};
use protocol::parcel::{CustodyEntry, ParcelStatement};
use protocol::receipt::{GapReport, Receipt, ReceiptBatch};
use protocol::waybill::{Approval, WAYBILL_BYTES_MAX, Waybill};
use protocol::witness::HeadStatement;
use protocol::{Signed, Statement, Suite};
use serde_json::json;

use crate::folder::{FolderError, open_file};
use crate::trustdir::{self, TrustDirError};
use crate::words::{Voice, groups, say, shown, size};

/// Evidence is a few KiB; this is every part at its limit.
const EVIDENCE_BYTES_MAX: u64 = 66 << 20;

/// What stops an inspection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InspectError {
    /// The file.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The trust folder.
    #[error(transparent)]
    Trust(#[from] TrustDirError),
    /// Not a bundle, or a broken one.
    #[error("{}: {cause}", path.display())]
    Broken { path: PathBuf, cause: String },
    /// No such part.
    #[error("there is no part {part}: there are {entries} custody entries and {receipts} receipts")]
    NoPart { part: String, entries: usize, receipts: usize },
    /// The signer is nobody's.
    #[error("key {id} of the {part} is on no card in {}", trust.display())]
    UnknownSigner { id: String, part: String, trust: PathBuf },
    /// Where to find the signer was not said.
    #[error("--signer needs --trust: a bundle names the key that signed it and does not hold it")]
    SignerNeedsTrust,
    /// The disk.
    #[error("writing {}: {cause}", path.display())]
    Write { path: PathBuf, cause: std::io::Error },
}

/// One of the signatures in a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The seal of the node that made the bundle.
    Footer,
    /// The origin's statement.
    Statement,
    /// A hop, from 1.
    Custody(usize),
    /// A receipt in evidence, from 1.
    Receipt(usize),
}

/// What lies in the file.
enum Subject {
    /// A bundle or evidence: envelope, footer, receipts, as they stand there.
    Sealed { envelope: Vec<u8>, footer: Vec<u8>, receipts: Vec<Vec<u8>> },
    /// A signed object: what it is, and the bytes under its signature.
    Paper { what: &'static str, signed: Signed, bytes: Vec<u8> },
}

impl std::str::FromStr for Part {
    type Err = String;
    fn from_str(text: &str) -> Result<Part, String> {
        match text {
            "footer" => Ok(Part::Footer),
            "statement" => Ok(Part::Statement),
            other => {
                let numbered = |word: &str, part: fn(usize) -> Part| {
                    other.strip_prefix(word)?.parse().ok().filter(|number| *number > 0).map(part)
                };
                numbered("custody-", Part::Custody)
                    .or_else(|| numbered("receipt-", Part::Receipt))
                    .ok_or_else(|| "footer, statement, custody-1, custody-2 … or receipt-1 … is meant".to_owned())
            }
        }
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Part::Footer => f.write_str("footer"),
            Part::Statement => f.write_str("statement"),
            Part::Custody(number) => write!(f, "custody-{number}"),
            Part::Receipt(number) => write!(f, "receipt-{number}"),
        }
    }
}

/// `ferry inspect`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Inspect {
    /// A bundle, a piece of evidence, or a signed paper: waybill, approval, receipts, stated head
    #[arg(value_name = "BUNDLE")]
    pub(crate) path: PathBuf,
    /// Write the bytes under the signature here
    #[arg(long, value_name = "FILE")]
    pub(crate) signed_bytes: Option<PathBuf>,
    /// Write the signature here: DER for gm, 64 bytes for std
    #[arg(long, value_name = "FILE")]
    pub(crate) signature: Option<PathBuf>,
    /// Write the signer's public key here, PEM; needs --trust
    #[arg(long, value_name = "FILE", requires = "trust")]
    pub(crate) signer: Option<PathBuf>,
    /// Key cards
    #[arg(long, value_name = "DIR")]
    pub(crate) trust: Option<PathBuf>,
    /// Which signature of a bundle or of evidence: footer, statement, custody-N, receipt-N
    #[arg(long, default_value = "footer")]
    pub(crate) part: Part,
}

impl Inspect {
    /// Prints the envelope, and writes what was asked for.
    pub(crate) fn run(&self, voice: Voice) -> Result<(), InspectError> {
        let broken = |cause: String| InspectError::Broken { path: self.path.clone(), cause };
        let (signed, bytes) = match read(&self.path)? {
            Subject::Sealed { envelope, footer, receipts } => {
                let envelope = Envelope::parse(&envelope).map_err(|e| broken(e.to_string()))?;
                let (signed, bytes) = self.signed(&envelope, &footer, &receipts)?;
                self.tell(voice, &envelope, &signed).map_err(broken)?;
                (signed, bytes)
            }
            Subject::Paper { what, signed, bytes } => {
                tell_paper(voice, what, &signed);
                (signed, bytes)
            }
        };
        if let Some(path) = &self.signed_bytes {
            write(path, &bytes)?;
        }
        if let Some(path) = &self.signature {
            write(path, signed.signature.as_bytes())?;
        }
        if let Some(path) = &self.signer {
            let folder = self.trust.as_deref().ok_or(InspectError::SignerNeedsTrust)?;
            let trust = trustdir::read(folder)?;
            let card = trust.card(&signed.signer).ok_or_else(|| InspectError::UnknownSigner {
                id: signed.signer.to_string(),
                part: self.part.to_string(),
                trust: folder.to_owned(),
            })?;
            write(path, public_pem(&card.spki).as_bytes())?;
        }
        if let (Some(bytes), Some(signature)) = (&self.signed_bytes, &self.signature) {
            let key = self.signer.clone().unwrap_or_else(|| PathBuf::from("SIGNER.pem"));
            let command = command(signed.suite, &key, signature, bytes);
            voice.line(&say!(voice.language, "check it with:\n  {command}", "核对命令：\n  {command}"));
        }
        Ok(())
    }

    fn signed(
        &self,
        envelope: &Envelope,
        footer: &[u8],
        receipts: &[Vec<u8>],
    ) -> Result<(Signed, Vec<u8>), InspectError> {
        let broken = |cause: protocol::der_types::DerError| InspectError::Broken {
            path: self.path.clone(),
            cause: cause.to_string(),
        };
        match self.part {
            Part::Footer => {
                let signed = Signed::parse::<Footer>(footer).map_err(broken)?;
                let bytes = signed.signed_bytes::<Footer>();
                Ok((signed, bytes))
            }
            Part::Statement => {
                let signed = envelope.signed_statement().map_err(broken)?;
                let bytes = signed.signed_bytes::<ParcelStatement>();
                Ok((signed, bytes))
            }
            Part::Custody(number) => {
                let entries = envelope.signed_custody().map_err(broken)?;
                let found = entries.get(number.saturating_sub(1)).cloned();
                let signed = found.ok_or_else(|| self.no_part(entries.len(), receipts.len()))?;
                let bytes = signed.signed_bytes::<CustodyEntry>();
                Ok((signed, bytes))
            }
            Part::Receipt(number) => {
                let found = receipts.get(number.saturating_sub(1));
                let found = found.ok_or_else(|| self.no_part(envelope.custody.len(), receipts.len()))?;
                let signed = Signed::parse::<Receipt>(found).map_err(broken)?;
                let bytes = signed.signed_bytes::<Receipt>();
                Ok((signed, bytes))
            }
        }
    }

    fn no_part(&self, entries: usize, receipts: usize) -> InspectError {
        InspectError::NoPart { part: self.part.to_string(), entries, receipts }
    }

    fn tell(&self, voice: Voice, envelope: &Envelope, signed: &Signed) -> Result<(), String> {
        let statement: ParcelStatement =
            envelope.signed_statement().and_then(|signed| signed.read_unverified()).map_err(|e| e.to_string())?;
        let mut hops = Vec::new();
        for entry in envelope.signed_custody().map_err(|e| e.to_string())? {
            let read: CustodyEntry = entry.read_unverified().map_err(|e| e.to_string())?;
            hops.push((read, entry.signer));
        }
        voice.object(&json!({
            "proven": false, "bundle": envelope.bundle.to_string(), "suite": envelope.suite.name(), "crossing": envelope.crossing.name(),
            "epoch": envelope.epoch, "sequence": envelope.sequence, "source": envelope.source, "target": envelope.target,
            "priority": envelope.priority.name(), "payload_bytes": envelope.payload_bytes, "sealed": envelope.sealed.to_string(),
            "signer": envelope.signer.to_string(), "recipient": envelope.recipient.to_string(),
            "parcel": statement.parcel.to_string(), "origin": statement.origin, "route": statement.route, "final_target": statement.target,
            "type": statement.parcel_type, "accepted": statement.accepted.to_string(), "manifest": statement.manifest.to_string(),
            "custody": hops.iter().map(|(entry, signer)| json!({"node": entry.node, "crossing": entry.crossing.name(),
                "rules": shown(entry.rules.as_ref()), "at": entry.at.to_string(), "signer": signer.to_string()})).collect::<Vec<_>>(),
            "part": self.part.to_string(), "part_signer": signed.signer.to_string(),
        }));
        let language = voice.language;
        let rows = [
            (language.pick("bundle", "密封包"), envelope.bundle.to_string()),
            (language.pick("suite", "套件"), envelope.suite.to_string()),
            (
                language.pick("crossing", "跨区段"),
                format!("{}, {} -> {}", envelope.crossing, envelope.source, envelope.target),
            ),
            (language.pick("number", "序号"), format!("{}/{}", envelope.epoch, envelope.sequence)),
            (language.pick("priority", "优先级"), envelope.priority.name().to_owned()),
            (
                language.pick("payload", "密文"),
                format!("{} ({})", envelope.payload_bytes, size(envelope.payload_bytes)),
            ),
            (language.pick("sealed", "封装时间"), envelope.sealed.to_string()),
            (language.pick("signer", "签名密钥"), groups(&envelope.signer)),
            (language.pick("recipient", "收件密钥"), groups(&envelope.recipient)),
            (language.pick("parcel", "投递件"), statement.parcel.to_string()),
            (language.pick("origin", "起点"), format!("{}, {}", statement.origin, statement.accepted)),
            (
                language.pick("route", "路由"),
                format!("{} -> {}, {}", statement.route, statement.target, statement.parcel_type),
            ),
            (language.pick("manifest", "清单摘要"), statement.manifest.to_string()),
        ];
        for (name, value) in rows {
            voice.line(&format!("{name:<10} {value}"));
        }
        for (at, (entry, signer)) in hops.iter().enumerate() {
            voice.line(&format!(
                "custody-{}  {} {} {} [{}]",
                at + 1,
                entry.node,
                entry.crossing,
                entry.at,
                groups(signer)
            ));
        }
        voice.line(language.pick(
            "Nothing of this is proven here; `ferry verify` proves it.",
            "以上内容未经证明；请用 ferry verify 校验。",
        ));
        Ok(())
    }
}

fn tell_paper(voice: Voice, what: &'static str, signed: &Signed) {
    let (suite, signer, digest) = (signed.suite, groups(&signed.signer), groups(&signed.digest()));
    voice.object(&json!({"proven": false, "what": what, "suite": suite.name(), "signer": signed.signer.to_string(),
        "digest": signed.digest().to_string()}));
    voice.line(&say!(
        voice.language,
        "{what} ({suite})\nsigner     {signer}\ndigest     {digest}",
        "{what}（{suite}）\n签名密钥   {signer}\n摘要       {digest}"
    ));
    voice.line(voice.language.pick(
        "Nothing of this is proven here; `ferry verify` proves it.",
        "以上内容未经证明；请用 ferry verify 校验。",
    ));
}

/// The signed object that these bytes are: its form tells.
fn paper(bytes: &[u8]) -> Option<Subject> {
    fn is<T: Statement>(bytes: &[u8]) -> Option<Subject> {
        let signed = Signed::parse::<T>(bytes).ok()?;
        signed.read_unverified::<T>().ok()?;
        let bytes = signed.signed_bytes::<T>();
        Some(Subject::Paper { what: T::WHAT, signed, bytes })
    }
    is::<Waybill>(bytes)
        .or_else(|| is::<ReceiptBatch>(bytes))
        .or_else(|| is::<Receipt>(bytes))
        .or_else(|| is::<Approval>(bytes))
        .or_else(|| is::<GapReport>(bytes))
        .or_else(|| is::<HeadStatement>(bytes))
}

/// What to type.
fn command(suite: Suite, key: &Path, signature: &Path, bytes: &Path) -> String {
    let (key, signature, bytes) = (key.display(), signature.display(), bytes.display());
    match suite {
        Suite::Gm => {
            format!("openssl dgst -sm3 -verify {key} -sigopt distid:{SM2_USER_ID} -signature {signature} {bytes}")
        }
        Suite::Std => format!("openssl pkeyutl -verify -pubin -inkey {key} -rawin -in {bytes} -sigfile {signature}"),
    }
}

/// What lies in a file; a payload is passed over.
fn read(path: &Path) -> Result<Subject, InspectError> {
    let broken = |cause: String| InspectError::Broken { path: path.to_owned(), cause };
    let io = |cause: std::io::Error| broken(cause.to_string());
    let (mut file, bytes) = open_file(path)?;
    let mut magic = [0; 8];
    file.read_exact(&mut magic).map_err(io)?;
    if &magic == evidence::MAGIC {
        let mut content = magic.to_vec();
        file.take(EVIDENCE_BYTES_MAX).read_to_end(&mut content).map_err(io)?;
        let evidence = Evidence::parse(&content).map_err(|e| broken(e.to_string()))?;
        let Evidence { envelope, footer, receipts } = evidence;
        return Ok(Subject::Sealed { envelope, footer, receipts });
    }
    if &magic != MAGIC {
        let mut content = magic.to_vec();
        file.take(WAYBILL_BYTES_MAX as u64).read_to_end(&mut content).map_err(io)?;
        return paper(&content).ok_or_else(|| broken("this is no bundle, no evidence and no signed paper".to_owned()));
    }
    let envelope_bytes = object(&mut file).map_err(io)?;
    let envelope = Envelope::parse(&envelope_bytes).map_err(|e| broken(e.to_string()))?;
    let footer_at = (MAGIC.len() as u64 + 4 + envelope_bytes.len() as u64).saturating_add(envelope.payload_bytes);
    if footer_at >= bytes {
        return Err(broken("the bundle ends before its footer".to_owned()));
    }
    file.seek(SeekFrom::Start(footer_at)).map_err(io)?;
    let footer = object(&mut file).map_err(io)?;
    Ok(Subject::Sealed { envelope: envelope_bytes, footer, receipts: Vec::new() })
}

/// A length and so many bytes; the length is checked before anything is allocated.
fn object(file: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 4];
    file.read_exact(&mut length)?;
    let length = u64::from(u32::from_be_bytes(length));
    if length > OBJECT_BYTES_MAX as u64 {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, format!("an object of {length} bytes")));
    }
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == length { Ok(bytes) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), InspectError> {
    let mut file = std::fs::File::create(path).map_err(|cause| InspectError::Write { path: path.to_owned(), cause })?;
    file.write_all(bytes).map_err(|cause| InspectError::Write { path: path.to_owned(), cause })
}
