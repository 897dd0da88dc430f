//! What is kept of a bundle for the auditor: head, foot and receipts, without the content.
//!
//! ```text
//! "TRIPROOF" | length(4) | envelope | length(4) | signed footer | count(2) | { length(4) | signed receipt } *
//! ```
//! It proves origin and every hop with public keys alone, years later, and says "content not present".

use crate::bundle;
use crate::der_types::OBJECT_BYTES_MAX;
use crate::envelope::{Envelope, Footer};
use crate::parcel::{Custody, ParcelError};
use crate::receipt::Receipt;
use crate::signed::Signed;
use crate::suite::Digest;
use crate::trust::Trust;

/// The first bytes of a piece of evidence.
pub const MAGIC: &[u8; 8] = b"TRIPROOF";
/// Receipts kept with one bundle: each node on its way signs at most a few.
pub const RECEIPTS_MAX: usize = 64;

/// Head, foot and receipts of one bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The envelope's bytes.
    pub envelope: Vec<u8>,
    /// The signed footer's bytes.
    pub footer: Vec<u8>,
    /// Signed receipts.
    pub receipts: Vec<Vec<u8>>,
}

/// What evidence proves.
#[derive(Clone, Debug)]
pub struct Proven {
    /// The clear header.
    pub envelope: Envelope,
    /// The journey up to this bundle.
    pub custody: Custody,
    /// What the next nodes signed.
    pub receipts: Vec<Receipt>,
    /// The keys that did, in the same order.
    pub signers: Vec<Digest>,
    /// The digest of the envelope, in its suite: two bundles of one id differ in it.
    pub digest: Digest,
}

impl Evidence {
    /// The bytes of the file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        let mut part = |object: &[u8]| {
            let length = u32::try_from(object.len()).expect("objects are at most 1 MiB");
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(object);
        };
        part(&self.envelope);
        part(&self.footer);
        let kept = self.receipts.len().min(RECEIPTS_MAX);
        let mut tail = u16::try_from(kept).expect("at most 64").to_be_bytes().to_vec();
        for receipt in self.receipts.iter().take(kept) {
            tail.extend_from_slice(&u32::try_from(receipt.len()).expect("objects are at most 1 MiB").to_be_bytes());
            tail.extend_from_slice(receipt);
        }
        bytes.extend_from_slice(&tail);
        bytes
    }

    /// 8.1.1: reads the form; nothing is proven yet.
    pub fn parse(bytes: &[u8]) -> Result<Evidence, ParcelError> {
        const BROKEN: ParcelError = ParcelError::Disagree("the evidence file is cut short or not well formed");
        let mut rest = bytes.strip_prefix(MAGIC).ok_or(ParcelError::Disagree("the file is no evidence"))?;
        let envelope = take_part(&mut rest).ok_or(BROKEN)?;
        let footer = take_part(&mut rest).ok_or(BROKEN)?;
        let (count, tail) = rest.split_first_chunk::<2>().ok_or(BROKEN)?;
        rest = tail;
        let count = usize::from(u16::from_be_bytes(*count));
        if count > RECEIPTS_MAX {
            return Err(ParcelError::OverLimit {
                what: "number of receipts",
                found: count as u64,
                limit: RECEIPTS_MAX as u64,
            });
        }
        let receipts = (0..count).map(|_| take_part(&mut rest).ok_or(BROKEN)).collect::<Result<_, _>>()?;
        if rest.is_empty() { Ok(Evidence { envelope, footer, receipts }) } else { Err(BROKEN) }
    }

    /// 8.1.2, 8.1.3: proves origin, every hop up to this bundle, the seal of its head, and every receipt.
    pub fn prove(&self, trust: &Trust) -> Result<Proven, ParcelError> {
        let envelope = Envelope::parse(&self.envelope)?;
        if bundle::check_payload(envelope.payload_bytes).is_err() {
            return Err(ParcelError::Disagree("the envelope states a payload of a length that no payload has"));
        }
        let custody = envelope.prove(trust)?;
        let signed = Signed::parse::<Footer>(&self.footer)?;
        if signed.signer != envelope.signer || signed.suite != envelope.suite {
            return Err(ParcelError::Disagree("the footer is by another key than the envelope names"));
        }
        let footer: Footer = trust.verify_from_node(&signed, &envelope.source)?;
        let digest = envelope.suite.digest(&self.envelope);
        if footer.envelope != digest {
            return Err(ParcelError::Disagree("the footer belongs to another envelope"));
        }
        if footer.payload_bytes != envelope.payload_bytes {
            return Err(ParcelError::Disagree("the footer states another length than the envelope"));
        }
        let (mut receipts, mut signers) = (Vec::with_capacity(self.receipts.len()), Vec::new());
        for bytes in &self.receipts {
            let signed = Signed::parse::<Receipt>(bytes)?;
            let claimed: Receipt = signed.read_unverified()?;
            let receipt: Receipt = trust.verify_from_node(&signed, &claimed.node)?;
            if receipt.parcel != custody.statement.parcel || receipt.statement != custody.statement_digest {
                return Err(ParcelError::Disagree("a receipt belongs to another parcel"));
            }
            receipts.push(receipt);
            signers.push(signed.signer);
        }
        Ok(Proven { envelope, custody, receipts, signers, digest })
    }
}

fn take_part(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let (length, tail) = rest.split_first_chunk::<4>()?;
    let length = u32::from_be_bytes(*length) as usize;
    if length > OBJECT_BYTES_MAX {
        return None;
    }
    let (part, tail) = tail.split_at_checked(length)?;
    *rest = tail;
    Some(part.to_vec())
}
