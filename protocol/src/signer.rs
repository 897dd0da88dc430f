//! Who signs: a key in this memory, or a device that keeps its key to itself and may refuse.
//!
//! Two kinds of device fit behind [`Signer`]: whatever a person's program reaches, a Ukey or a signature server (`ferry`
//! runs it), and a cryptographic device with the interface of GM/T 0018, by the few operations of [`Sdf`].

use sm2::elliptic_curve::sec1::ToSec1Point;

use crate::keys::{KeyError, SM2_USER_ID, SigningKey, VerifyingKey};
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

/// Somebody who signs.
pub trait Signer {
    /// The public half, as it stands on the card.
    fn public(&self) -> VerifyingKey;

    /// Signs bytes that already carry their domain.
    fn try_sign(&self, bytes: &[u8]) -> Result<Vec<u8>, SignError>;
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
pub trait Sdf {
    /// `SDF_ExportSignPublicKey_ECC`: x and y of the signing key at an index.
    fn export_sign_public_key(&self, index: u32) -> Result<[u8; 64], SignError>;

    /// `SDF_InternalSign_ECC`: r and s over a digest that was made by [`sm2_digest`].
    fn internal_sign(&self, index: u32, digest: &[u8; 32]) -> Result<[u8; 64], SignError>;
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

    /// A device with one key, at index 3.
    struct Software(sm2::dsa::SigningKey);

    impl Sdf for Software {
        fn export_sign_public_key(&self, index: u32) -> Result<[u8; 64], SignError> {
            if index != 3 {
                return Err(SignError::Refused { word: "no-key".to_owned(), message: format!("index {index}") });
            }
            let point = self.0.verifying_key().as_affine().to_sec1_point(false);
            Ok(point.as_bytes()[1..].try_into().unwrap())
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
}
