//! Who signs and who opens: a key in this memory, or a device that keeps its key to itself and may refuse.
//!
//! Two kinds of device fit behind [`Signer`]: whatever an office's program reaches, a Ukey or a signature server
//! (`spool::device` runs it), and a cryptographic device with the interface of GM/T 0018, by the few operations of [`Sdf`].
//! The latter opens too, behind [`Opener`].

use std::io;
use std::sync::Arc;

use der::asn1::{OctetStringRef, UintRef};
use der::{Decode, Sequence};
use sm2::elliptic_curve::sec1::ToSec1Point;
use zeroize::Zeroizing;

use crate::keys::{KeyError, SM2_USER_ID, SigningKey, VerifyingKey};
#[cfg(feature = "open")]
use crate::keys::{OpeningKey, SealingKey};
use crate::suite::{Digest, Suite};

/// Why nothing was signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The device, or the person at it, says no.
    #[error("the device refuses: {word} {message}")]
    Refused {
        /// A word for scripts: `wrong-pin`, `cancelled`, `no-device` …
        word: String,
        /// In its own words.
        message: String,
    },
    /// It did not answer as agreed.
    #[error("the device: {0}")]
    Failed(String),
    /// What it answered is not by the key on the card.
    #[error("what the device answered is no signature by key {0}")]
    Foreign(Digest),
}

/// Where reading and writing can fail, so can signing: what was meant to be signed is tried again as after a disk's error.
impl From<SignError> for io::Error {
    fn from(error: SignError) -> io::Error {
        io::Error::other(error)
    }
}

/// Was it the signer that failed?
#[must_use]
pub fn is_of_signer(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<SignError>())
}

/// What is signed to see whether a device is there. It is no statement of anything.
pub const PROBE: &[u8] = b"trilock-v1-probe\0";

/// Somebody who signs.
pub trait Signer: Send + Sync {
    /// The public half, as it stands on the card.
    fn public(&self) -> VerifyingKey;

    /// Signs bytes that already carry their domain.
    fn try_sign(&self, bytes: &[u8]) -> Result<Vec<u8>, SignError>;

    /// Asks, where that is not known from a moment ago: does it sign nothing at present?
    fn is_away(&self) -> bool {
        false
    }
}

/// Who signs for a node.
#[derive(Clone)]
pub enum Signatory {
    /// A key in this memory.
    Memory(SigningKey),
    /// A device.
    Device(Arc<dyn Signer>),
}

impl From<SigningKey> for Signatory {
    fn from(key: SigningKey) -> Signatory {
        Signatory::Memory(key)
    }
}

impl Signatory {
    fn signer(&self) -> &dyn Signer {
        match self {
            Signatory::Memory(key) => key,
            Signatory::Device(device) => &**device,
        }
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> VerifyingKey {
        self.signer().public()
    }

    /// Its suite.
    #[must_use]
    pub fn suite(&self) -> Suite {
        self.public().suite()
    }
}

impl Signer for Signatory {
    fn public(&self) -> VerifyingKey {
        self.signer().public()
    }

    fn try_sign(&self, bytes: &[u8]) -> Result<Vec<u8>, SignError> {
        self.signer().try_sign(bytes)
    }

    fn is_away(&self) -> bool {
        self.signer().is_away()
    }
}

impl Signer for SigningKey {
    fn public(&self) -> VerifyingKey {
        SigningKey::public(self)
    }

    fn try_sign(&self, bytes: &[u8]) -> Result<Vec<u8>, SignError> {
        Ok(self.sign(bytes))
    }
}

/// What an SM2 signature is made over: SM3 of Z and the bytes, where Z binds user id, curve and key (GM/T 0009). None
/// for other keys: Ed25519 signs the bytes themselves.
#[must_use]
pub fn sm2_digest(key: &VerifyingKey, bytes: &[u8]) -> Option<Digest> {
    let VerifyingKey::Sm2(key) = key else { return None };
    let user = SM2_USER_ID.as_bytes();
    let mut z = Suite::Gm.hasher();
    z.update(&u16::try_from(user.len() * 8).ok()?.to_be_bytes());
    z.update(user);
    z.update(&SM2_CURVE_A_B_G);
    let point = key.as_affine().to_sec1_point(false);
    z.update(point.as_bytes().get(1..)?);
    let mut digest = Suite::Gm.hasher();
    digest.update(z.finish().as_bytes());
    digest.update(bytes);
    Some(digest.finish())
}

/// a, b, and the generator's x and y of the curve of GB/T 32918.5.
const SM2_CURVE_A_B_G: [u8; 128] = *b"\
\xff\xff\xff\xfe\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xfc\
\x28\xe9\xfa\x9e\x9d\x9f\x5e\x34\x4d\x5a\x9e\x4b\xcf\x65\x09\xa7\xf3\x97\x89\xf5\x15\xab\x8f\x92\xdd\xbc\xbd\x41\x4d\x94\x0e\x93\
\x32\xc4\xae\x2c\x1f\x19\x81\x19\x5f\x99\x04\x46\x6a\x39\xc9\x94\x8f\xe3\x0b\xbf\xf2\x66\x0b\xe1\x71\x5a\x45\x89\x33\x4c\x74\xc7\
\xbc\x37\x36\xa2\xf4\xf6\x77\x9c\x59\xbd\xce\xe3\x6b\x69\x21\x53\xd0\xa9\x87\x7c\xc6\x2a\x47\x40\x02\xdf\x32\xe5\x21\x39\xf0\xa0";

/// What is asked of a device of GM/T 0018 (SDF), by the index of a key inside it. Whoever has such a device puts its
/// library behind these; here is none, and tests have one in software.
pub trait Sdf: Send + Sync {
    /// `SDF_ExportSignPublicKey_ECC`: x and y of the signing key at an index.
    fn export_sign_public_key(&self, index: u32) -> Result<[u8; 64], SignError>;

    /// `SDF_InternalSign_ECC`: r and s over a digest that was made by [`sm2_digest`].
    fn internal_sign(&self, index: u32, digest: &[u8; 32]) -> Result<[u8; 64], SignError>;

    /// `SDF_ExportEncPublicKey_ECC`: x and y of the encryption key at an index.
    fn export_enc_public_key(&self, index: u32) -> Result<[u8; 64], SignError>;

    /// `SDF_InternalDecrypt_ECC`, or where the standard's edition has none the vendor's own: what an `ECCCipher` holds.
    fn internal_decrypt(&self, index: u32, cipher: &EccCipher<'_>) -> Result<Zeroizing<Vec<u8>>, SignError>;
}

/// An SM2 ciphertext as such devices take it: the point, the SM3 digest over both halves, and the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EccCipher<'a> {
    /// C1.
    pub x: [u8; 32],
    /// C1.
    pub y: [u8; 32],
    /// C3.
    pub m: [u8; 32],
    /// C2.
    pub c: &'a [u8],
}

/// Its form in an envelope, GM/T 0009.
#[derive(Sequence)]
struct Sm2Cipher<'a> {
    x: UintRef<'a>,
    y: UintRef<'a>,
    m: &'a OctetStringRef,
    c: &'a OctetStringRef,
}

impl<'a> EccCipher<'a> {
    /// Reads the DER of a wrapped key.
    #[must_use]
    pub fn from_der(wrapped: &'a [u8]) -> Option<EccCipher<'a>> {
        let read = Sm2Cipher::from_der(wrapped).ok()?;
        let coordinate = |number: UintRef<'_>| {
            let bytes = number.as_bytes();
            let mut out = [0; 32];
            out.get_mut(32_usize.checked_sub(bytes.len())?..)?.copy_from_slice(bytes);
            Some(out)
        };
        let m = read.m.as_bytes().try_into().ok()?;
        Some(EccCipher { x: coordinate(read.x)?, y: coordinate(read.y)?, m, c: read.c.as_bytes() })
    }
}

/// A signing key inside an SDF device.
pub struct SdfKey<D> {
    device: D,
    index: u32,
    public: VerifyingKey,
}

impl<D: Sdf> SdfKey<D> {
    /// Finds the key at an index.
    pub fn at(device: D, index: u32) -> Result<Self, SignError> {
        let point = [&[4_u8][..], &device.export_sign_public_key(index)?].concat();
        let public = sm2::dsa::VerifyingKey::from_sec1_bytes(SM2_USER_ID, &point)
            .map_err(|_| SignError::Failed("the key it exports is no point of the curve".to_owned()))?;
        Ok(SdfKey { device, index, public: VerifyingKey::Sm2(public) })
    }
}

impl<D: Sdf> Signer for SdfKey<D> {
    fn public(&self) -> VerifyingKey {
        self.public.clone()
    }

    fn try_sign(&self, bytes: &[u8]) -> Result<Vec<u8>, SignError> {
        let digest = sm2_digest(&self.public, bytes).ok_or_else(|| SignError::Foreign(self.public.id()))?;
        let raw = self.device.internal_sign(self.index, digest.as_bytes())?;
        let signature = sm2::dsa::Signature::from_bytes((&raw).into())
            .map_err(|_| SignError::Failed("r or s is out of range".to_owned()))?
            .to_der()
            .to_vec();
        checked(&self.public, bytes, signature)
    }
}

/// Why a content key was not taken out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It is not for this key, or not what was wrapped: asking again changes nothing.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The device did not answer: what waits to be opened is tried again.
    #[error(transparent)]
    Device(#[from] SignError),
}

/// Somebody who takes content keys out of envelopes.
#[cfg(feature = "open")]
pub trait Opener: Send + Sync {
    /// The public half, as it stands on the card.
    fn public(&self) -> SealingKey;

    /// Takes a wrapped content key out. `context` must be what it was wrapped with.
    fn try_unwrap(&self, wrapped: &[u8], context: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError>;
}

#[cfg(feature = "open")]
impl Opener for OpeningKey {
    fn public(&self) -> SealingKey {
        OpeningKey::public(self)
    }

    fn try_unwrap(&self, wrapped: &[u8], context: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        Ok(self.unwrap_key(wrapped, context)?)
    }
}

/// An opening key inside an SDF device: suite `gm`, because such devices know no other curve.
#[cfg(feature = "open")]
pub struct SdfOpeningKey<D> {
    device: D,
    index: u32,
    public: SealingKey,
}

#[cfg(feature = "open")]
impl<D: Sdf> SdfOpeningKey<D> {
    /// Finds the key at an index.
    pub fn at(device: D, index: u32) -> Result<Self, SignError> {
        let point = [&[4_u8][..], &device.export_enc_public_key(index)?].concat();
        let public = sm2::PublicKey::from_sec1_bytes(&point)
            .map_err(|_| SignError::Failed("the key it exports is no point of the curve".to_owned()))?;
        Ok(SdfOpeningKey { device, index, public: SealingKey::Sm2(public) })
    }
}

#[cfg(feature = "open")]
impl<D: Sdf> Opener for SdfOpeningKey<D> {
    fn public(&self) -> SealingKey {
        self.public.clone()
    }

    fn try_unwrap(&self, wrapped: &[u8], context: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let cipher = EccCipher::from_der(wrapped).ok_or(KeyError::CannotUnwrap)?;
        let opened = self.device.internal_decrypt(self.index, &cipher)?;
        Ok(crate::keys::bound_to(opened, context)?)
    }
}

/// A device may hold another key than the card says, or fail quietly: what it answers is verified before it counts.
pub fn checked(key: &VerifyingKey, bytes: &[u8], signature: Vec<u8>) -> Result<Vec<u8>, SignError> {
    match key.verify(bytes, &signature) {
        Ok(()) => Ok(signature),
        Err(KeyError::BadSignature) => Err(SignError::Foreign(key.id())),
        Err(other) => Err(SignError::Failed(other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sm2::dsa::signature::hazmat::PrehashSigner;

    /// A device with one key for both uses, at index 3.
    struct Software(sm2::dsa::SigningKey);

    impl Software {
        fn point(&self, index: u32) -> Result<[u8; 64], SignError> {
            if index != 3 {
                return Err(SignError::Refused { word: "no-key".to_owned(), message: format!("index {index}") });
            }
            let point = self.0.verifying_key().as_affine().to_sec1_point(false);
            Ok(point.as_bytes()[1..].try_into().unwrap())
        }
    }

    impl Sdf for Software {
        fn export_sign_public_key(&self, index: u32) -> Result<[u8; 64], SignError> {
            self.point(index)
        }

        fn export_enc_public_key(&self, index: u32) -> Result<[u8; 64], SignError> {
            self.point(index)
        }

        fn internal_decrypt(&self, index: u32, cipher: &EccCipher<'_>) -> Result<Zeroizing<Vec<u8>>, SignError> {
            self.point(index)?;
            let bytes = [&[4_u8][..], &cipher.x, &cipher.y, &cipher.m, cipher.c].concat();
            let key = sm2::SecretKey::from(self.0.as_nonzero_scalar());
            let opened = sm2::pke::DecryptingKey::new(key).decrypt(&bytes);
            opened.map(Zeroizing::new).map_err(|_| SignError::Failed("SDR_SKOPERR".to_owned()))
        }

        fn internal_sign(&self, _: u32, digest: &[u8; 32]) -> Result<[u8; 64], SignError> {
            let signature: sm2::dsa::Signature = self.0.sign_prehash(digest).unwrap();
            Ok(signature.to_bytes().into())
        }
    }

    fn software() -> Software {
        match SigningKey::generate(Suite::Gm) {
            SigningKey::Sm2(key) => Software(key),
            SigningKey::Ed25519(_) => unreachable!("a key of suite gm"),
        }
    }

    #[test]
    fn what_a_device_signs_by_digest_verifies_like_anything_of_suite_gm() {
        let key = SdfKey::at(software(), 3).unwrap();
        let signature = key.try_sign(b"bytes").unwrap();
        assert_eq!(key.public().verify(b"bytes", &signature), Ok(()));
        assert!(key.public().verify(b"byteS", &signature).is_err());
        assert!(matches!(SdfKey::at(software(), 4).err(), Some(SignError::Refused { .. })));
    }

    #[test]
    fn a_device_that_signs_with_another_key_is_found_out() {
        let mut key = SdfKey::at(software(), 3).unwrap();
        key.device = software();
        assert_eq!(key.try_sign(b"bytes"), Err(SignError::Foreign(key.public.id())));
    }

    #[cfg(feature = "open")]
    #[test]
    fn a_device_takes_out_what_was_wrapped_to_its_key_and_only_in_its_context() {
        let key = SdfOpeningKey::at(software(), 3).unwrap();
        for _ in 0..300 {
            // Coordinates with leading zeros, too, which DER leaves out.
            let wrapped = key.public().wrap_key(b"0123456789abcdef", b"envelope 1").unwrap();
            assert_eq!(key.try_unwrap(&wrapped, b"envelope 1").unwrap().as_slice(), b"0123456789abcdef");
        }
        let wrapped = key.public().wrap_key(b"0123456789abcdef", b"envelope 1").unwrap();
        assert_eq!(key.try_unwrap(&wrapped, b"envelope 2"), Err(OpenError::Key(KeyError::CannotUnwrap)));
        for at in 0..wrapped.len() {
            let mut broken = wrapped.clone();
            broken[at] ^= 1;
            assert!(key.try_unwrap(&broken, b"envelope 1").is_err(), "byte {at}");
        }
        let gone = SdfOpeningKey { index: 4, ..key };
        assert!(matches!(gone.try_unwrap(&wrapped, b"envelope 1"), Err(OpenError::Device(_))));
    }

    #[test]
    fn a_signers_error_is_known_among_those_of_the_disk() {
        assert!(is_of_signer(&io::Error::from(SignError::Failed("away".to_owned()))));
        assert!(!is_of_signer(&io::Error::other("disk")));
    }
}
