//! Keys of both suites: what signs, what seals, and the PEM that stock OpenSSL reads.
//!
//! Private keys are PKCS#8, public ones SPKI. A key's id is the digest of its SPKI in its own suite. Keys are made
//! from the operating system's randomness and from nothing else: a seeded world may replay a wire, never a key.
//! A device that keeps its key to itself signs behind [`crate::signer`].

use der::asn1::{AnyRef, BitStringRef, OctetStringRef};
use der::oid::ObjectIdentifier;
use der::{Decode, Encode};
use pkcs8::{DecodePrivateKey, EncodePrivateKey, EncryptedPrivateKeyInfoRef, PrivateKeyInfoRef};
use rand_core::UnwrapErr;
use sm2::dsa::signature::{Signer, Verifier};
use spki::{AlgorithmIdentifierRef, EncodePublicKey, SubjectPublicKeyInfoRef};
use zeroize::Zeroizing;

use crate::suite::{Digest, Suite};

const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const X25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.110");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const SM2_CURVE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.156.10197.1.301");
/// The user id of GM/T 0009 that every SM2 signature here is made with.
pub const SM2_USER_ID: &str = "1234567812345678";
/// A key file is a few hundred bytes; more is not a key.
pub const KEY_FILE_BYTES_MAX: usize = 16 * 1024;
const WRAP_INFO: &[u8] = b"trilock-v1-wrap";

/// What is wrong with a key or what was done with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not a key file of ours.
    #[error("not a {wanted} in PEM: {cause}")]
    NotAKey {
        /// What was looked for.
        wanted: &'static str,
        /// The decoder's words.
        cause: String,
    },
    /// A key of an algorithm that neither suite knows.
    #[error("a key of algorithm {oid} cannot be a {wanted}")]
    WrongAlgorithm {
        /// The algorithm found.
        oid: String,
        /// What was looked for.
        wanted: &'static str,
    },
    /// The private key file is encrypted and no passphrase was given, or a wrong one.
    #[error("the private key is encrypted and the passphrase does not open it")]
    WrongPassphrase,
    /// The signature does not belong to these bytes and this key.
    #[error("the signature does not verify")]
    BadSignature,
    /// The wrapped key was not wrapped to this key, or was changed.
    #[error("the content key was not wrapped to this key")]
    CannotUnwrap,
}

/// A private key that signs.
#[derive(Clone)]
pub enum SigningKey {
    /// Suite `std`.
    Ed25519(ed25519_dalek::SigningKey),
    /// Suite `gm`.
    Sm2(sm2::dsa::SigningKey),
}

/// A public key that verifies.
#[derive(Clone, Debug)]
pub enum VerifyingKey {
    /// Suite `std`.
    Ed25519(ed25519_dalek::VerifyingKey),
    /// Suite `gm`.
    Sm2(sm2::dsa::VerifyingKey),
}

/// A public key that content keys are wrapped to.
#[derive(Clone, Debug)]
pub enum SealingKey {
    /// Suite `std`.
    X25519([u8; 32]),
    /// Suite `gm`.
    Sm2(sm2::PublicKey),
}

/// A private key that opens what was sealed to it. Compiled only with feature `open`. Nodes hold one; `ferry` never does.
#[cfg(feature = "open")]
#[derive(Clone)]
pub enum OpeningKey {
    /// Suite `std`.
    X25519(Zeroizing<[u8; 32]>),
    /// Suite `gm`.
    Sm2(sm2::SecretKey),
}

/// Fills bytes from the operating system. Its failure is not survivable: a node without randomness must not run.
pub fn fill_random(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the operating system gives randomness or the machine is not fit to run");
}

/// `N` random bytes.
#[must_use]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    fill_random(&mut bytes);
    bytes
}

fn another_encoding(wanted: &'static str) -> KeyError {
    KeyError::NotAKey {
        wanted,
        cause: "not the one encoding of this key; an SM2 point is written uncompressed".to_owned(),
    }
}

fn not_a(wanted: &'static str) -> impl Fn(der::Error) -> KeyError {
    move |cause| KeyError::NotAKey { wanted, cause: cause.to_string() }
}

fn sm2_secret() -> sm2::SecretKey {
    loop {
        // A scalar of 0 or above the order is refused and drawn again: about one in 2^32.
        let bytes = Zeroizing::new(random::<32>());
        if let Ok(secret) = sm2::SecretKey::from_slice(bytes.as_slice()) {
            return secret;
        }
    }
}

fn sm2_signer(secret: &sm2::SecretKey) -> Result<sm2::dsa::SigningKey, KeyError> {
    sm2::dsa::SigningKey::new(SM2_USER_ID, secret)
        .map_err(|e| KeyError::NotAKey { wanted: "SM2 signing key", cause: e.to_string() })
}

impl SigningKey {
    /// A fresh key.
    #[must_use]
    pub fn generate(suite: Suite) -> Self {
        match suite {
            Suite::Std => SigningKey::Ed25519(ed25519_dalek::SigningKey::from_bytes(&random())),
            Suite::Gm => {
                SigningKey::Sm2(sm2_signer(&sm2_secret()).expect("the user id is short and the scalar in range"))
            }
        }
    }

    /// Reads a PKCS#8 PEM, decrypting it where a passphrase is needed.
    pub fn from_pem(pem: &str, passphrase: Option<&str>) -> Result<Self, KeyError> {
        const WANTED: &str = "signing key";
        let document = private_document(pem, passphrase, WANTED)?;
        let info = PrivateKeyInfoRef::from_der(&document).map_err(not_a(WANTED))?;
        match info.algorithm.oid {
            ED25519 => Ok(SigningKey::Ed25519(ed25519_dalek::SigningKey::from_bytes(&*inner_32(&info, WANTED)?))),
            EC_PUBLIC_KEY => sm2_signer(&sm2_from(&document, WANTED)?).map(SigningKey::Sm2),
            oid => Err(KeyError::WrongAlgorithm { oid: oid.to_string(), wanted: WANTED }),
        }
    }

    /// PKCS#8 PEM, encrypted (PBES2, scrypt, AES-256) where a passphrase is given.
    pub fn to_pem(&self, passphrase: Option<&str>) -> Result<Zeroizing<String>, KeyError> {
        match self {
            SigningKey::Ed25519(key) => curve25519_pem(ED25519, &key.to_bytes(), passphrase),
            SigningKey::Sm2(key) => {
                let secret = sm2::SecretKey::from(key.as_nonzero_scalar());
                sm2_pem(&secret, passphrase)
            }
        }
    }

    /// Its suite.
    #[must_use]
    pub fn suite(&self) -> Suite {
        match self {
            SigningKey::Ed25519(_) => Suite::Std,
            SigningKey::Sm2(_) => Suite::Gm,
        }
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> VerifyingKey {
        match self {
            SigningKey::Ed25519(key) => VerifyingKey::Ed25519(key.verifying_key()),
            SigningKey::Sm2(key) => VerifyingKey::Sm2(key.verifying_key().clone()),
        }
    }

    /// Signs bytes that already carry their domain.
    #[must_use]
    pub fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        match self {
            SigningKey::Ed25519(key) => key.sign(bytes).to_bytes().to_vec(),
            SigningKey::Sm2(key) => {
                let signature: sm2::dsa::Signature = key.sign(bytes);
                signature.to_der().to_vec()
            }
        }
    }
}

impl VerifyingKey {
    /// Reads an SPKI PEM; text before the first dashes is passed over, as OpenSSL does.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        VerifyingKey::from_spki(&public_document(pem)?)
    }

    /// Reads SPKI DER, in its one encoding (section 3 of FORMAT.md): a key has one id.
    pub fn from_spki(spki: &[u8]) -> Result<Self, KeyError> {
        let key = VerifyingKey::read_spki(spki)?;
        if key.to_spki() == spki { Ok(key) } else { Err(another_encoding("verifying key")) }
    }

    fn read_spki(spki: &[u8]) -> Result<Self, KeyError> {
        const WANTED: &str = "verifying key";
        let info = SubjectPublicKeyInfoRef::from_der(spki).map_err(not_a(WANTED))?;
        let raw = info.subject_public_key.as_bytes().unwrap_or_default();
        let bad = |cause: String| KeyError::NotAKey { wanted: WANTED, cause };
        match info.algorithm.oid {
            ED25519 => {
                let bytes = raw.try_into().map_err(|_| bad(format!("{} bytes instead of 32", raw.len())))?;
                let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|e| bad(e.to_string()))?;
                if key.is_weak() {
                    return Err(bad("a point of small order".to_owned()));
                }
                Ok(VerifyingKey::Ed25519(key))
            }
            EC_PUBLIC_KEY => {
                info.algorithm.assert_parameters_oid(SM2_CURVE).map_err(|e| bad(e.to_string()))?;
                sm2::dsa::VerifyingKey::from_sec1_bytes(SM2_USER_ID, raw)
                    .map(VerifyingKey::Sm2)
                    .map_err(|e| bad(e.to_string()))
            }
            oid => Err(KeyError::WrongAlgorithm { oid: oid.to_string(), wanted: WANTED }),
        }
    }

    /// SPKI DER.
    #[must_use]
    pub fn to_spki(&self) -> Vec<u8> {
        match self {
            VerifyingKey::Ed25519(key) => curve25519_spki(ED25519, key.as_bytes()),
            VerifyingKey::Sm2(key) => sm2_spki(
                &sm2::PublicKey::from_affine(*key.as_affine()).expect("a verifying key is a point of the curve"),
            ),
        }
    }

    /// Its suite.
    #[must_use]
    pub fn suite(&self) -> Suite {
        match self {
            VerifyingKey::Ed25519(_) => Suite::Std,
            VerifyingKey::Sm2(_) => Suite::Gm,
        }
    }

    /// The digest of its SPKI.
    #[must_use]
    pub fn id(&self) -> Digest {
        self.suite().digest(&self.to_spki())
    }

    /// Does this signature belong to these bytes?
    pub fn verify(&self, bytes: &[u8], signature: &[u8]) -> Result<(), KeyError> {
        let good = match self {
            VerifyingKey::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(bytes, &signature).is_ok()),
            VerifyingKey::Sm2(key) => {
                // A DER signature is accepted in its one canonical form only.
                sm2::dsa::Signature::from_der(signature)
                    .is_ok_and(|parsed| parsed.to_der().as_bytes() == signature && key.verify(bytes, &parsed).is_ok())
            }
        };
        if good { Ok(()) } else { Err(KeyError::BadSignature) }
    }
}

#[cfg(feature = "open")]
impl OpeningKey {
    /// A fresh key.
    #[must_use]
    pub fn generate(suite: Suite) -> Self {
        match suite {
            Suite::Std => OpeningKey::X25519(Zeroizing::new(random())),
            Suite::Gm => OpeningKey::Sm2(sm2_secret()),
        }
    }

    /// Reads a PKCS#8 PEM.
    pub fn from_pem(pem: &str, passphrase: Option<&str>) -> Result<Self, KeyError> {
        const WANTED: &str = "opening key";
        let document = private_document(pem, passphrase, WANTED)?;
        let info = PrivateKeyInfoRef::from_der(&document).map_err(not_a(WANTED))?;
        match info.algorithm.oid {
            X25519 => Ok(OpeningKey::X25519(inner_32(&info, WANTED)?)),
            EC_PUBLIC_KEY => sm2_from(&document, WANTED).map(OpeningKey::Sm2),
            oid => Err(KeyError::WrongAlgorithm { oid: oid.to_string(), wanted: WANTED }),
        }
    }

    /// PKCS#8 PEM.
    pub fn to_pem(&self, passphrase: Option<&str>) -> Result<Zeroizing<String>, KeyError> {
        match self {
            OpeningKey::X25519(secret) => curve25519_pem(X25519, secret, passphrase),
            OpeningKey::Sm2(secret) => sm2_pem(secret, passphrase),
        }
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> SealingKey {
        match self {
            OpeningKey::X25519(secret) => {
                let secret = x25519_dalek::StaticSecret::from(**secret);
                SealingKey::X25519(x25519_dalek::PublicKey::from(&secret).to_bytes())
            }
            OpeningKey::Sm2(secret) => SealingKey::Sm2(secret.public_key()),
        }
    }

    /// Takes a wrapped content key out. `context` must be what it was wrapped with.
    pub fn unwrap_key(&self, wrapped: &[u8], context: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        use hpke::Deserializable;
        match self {
            OpeningKey::X25519(secret) => {
                type Kem = hpke::kem::X25519HkdfSha256;
                let (encapped, sealed) = wrapped.split_at_checked(32).ok_or(KeyError::CannotUnwrap)?;
                let secret = <Kem as hpke::Kem>::PrivateKey::from_bytes(secret.as_slice())
                    .map_err(|_| KeyError::CannotUnwrap)?;
                let encapped =
                    <Kem as hpke::Kem>::EncappedKey::from_bytes(encapped).map_err(|_| KeyError::CannotUnwrap)?;
                hpke::single_shot_open::<hpke::aead::AesGcm256, hpke::kdf::HkdfSha256, Kem>(
                    &hpke::OpModeR::Base,
                    &secret,
                    &encapped,
                    WRAP_INFO,
                    sealed,
                    context,
                )
                .map(Zeroizing::new)
                .map_err(|_| KeyError::CannotUnwrap)
            }
            OpeningKey::Sm2(secret) => {
                // SM2 encryption binds no context: the key is wrapped together with the context's SM3 digest.
                let opened = sm2::pke::DecryptingKey::new(secret.clone())
                    .decrypt_der(wrapped)
                    .map_err(|_| KeyError::CannotUnwrap)?;
                bound_to(Zeroizing::new(opened), context)
            }
        }
    }
}

/// What SM2 decryption gave: the key, where it was wrapped with this context.
#[cfg(feature = "open")]
pub(crate) fn bound_to(opened: Zeroizing<Vec<u8>>, context: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let (bound, key) = opened.split_at_checked(32).ok_or(KeyError::CannotUnwrap)?;
    if bound != Suite::Gm.digest(context).as_bytes() {
        return Err(KeyError::CannotUnwrap);
    }
    Ok(Zeroizing::new(key.to_vec()))
}

impl SealingKey {
    /// Reads an SPKI PEM.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        SealingKey::from_spki(&public_document(pem)?)
    }

    /// Reads SPKI DER, in its one encoding.
    pub fn from_spki(spki: &[u8]) -> Result<Self, KeyError> {
        let key = SealingKey::read_spki(spki)?;
        if key.to_spki() == spki { Ok(key) } else { Err(another_encoding("sealing key")) }
    }

    fn read_spki(spki: &[u8]) -> Result<Self, KeyError> {
        const WANTED: &str = "sealing key";
        let info = SubjectPublicKeyInfoRef::from_der(spki).map_err(not_a(WANTED))?;
        let raw = info.subject_public_key.as_bytes().unwrap_or_default();
        let bad = |cause: String| KeyError::NotAKey { wanted: WANTED, cause };
        match info.algorithm.oid {
            X25519 => {
                raw.try_into().map(SealingKey::X25519).map_err(|_| bad(format!("{} bytes instead of 32", raw.len())))
            }
            EC_PUBLIC_KEY => {
                info.algorithm.assert_parameters_oid(SM2_CURVE).map_err(|e| bad(e.to_string()))?;
                sm2::PublicKey::from_sec1_bytes(raw).map(SealingKey::Sm2).map_err(|e| bad(e.to_string()))
            }
            oid => Err(KeyError::WrongAlgorithm { oid: oid.to_string(), wanted: WANTED }),
        }
    }

    /// SPKI DER.
    #[must_use]
    pub fn to_spki(&self) -> Vec<u8> {
        match self {
            SealingKey::X25519(bytes) => curve25519_spki(X25519, bytes),
            SealingKey::Sm2(key) => sm2_spki(key),
        }
    }

    /// Its suite.
    #[must_use]
    pub fn suite(&self) -> Suite {
        match self {
            SealingKey::X25519(_) => Suite::Std,
            SealingKey::Sm2(_) => Suite::Gm,
        }
    }

    /// The digest of its SPKI.
    #[must_use]
    pub fn id(&self) -> Digest {
        self.suite().digest(&self.to_spki())
    }

    /// Wraps a content key so that only the private half takes it out, bound to `context`.
    pub fn wrap_key(&self, key: &[u8], context: &[u8]) -> Result<Vec<u8>, KeyError> {
        use hpke::{Deserializable, Serializable};
        let mut random = UnwrapErr(getrandom::SysRng);
        match self {
            SealingKey::X25519(public) => {
                type Kem = hpke::kem::X25519HkdfSha256;
                let public = <Kem as hpke::Kem>::PublicKey::from_bytes(public).map_err(|_| KeyError::CannotUnwrap)?;
                let (encapped, sealed) = hpke::single_shot_seal_with_rng::<
                    hpke::aead::AesGcm256,
                    hpke::kdf::HkdfSha256,
                    Kem,
                >(
                    &hpke::OpModeS::Base, &public, WRAP_INFO, key, context, &mut random
                )
                .map_err(|_| KeyError::CannotUnwrap)?;
                let mut wrapped = encapped.to_bytes().to_vec();
                wrapped.extend_from_slice(&sealed);
                Ok(wrapped)
            }
            SealingKey::Sm2(public) => {
                let mut bound = Zeroizing::new(Suite::Gm.digest(context).as_bytes().to_vec());
                bound.extend_from_slice(key);
                sm2::pke::EncryptingKey::new(*public)
                    .encrypt_der(&mut random, &bound)
                    .map_err(|_| KeyError::CannotUnwrap)
            }
        }
    }
}

/// A public key's id in groups that two people can read to each other over the telephone.
#[must_use]
pub fn fingerprint(id: &Digest) -> String {
    let hex = id.to_string();
    let groups: Vec<&str> = (0..hex.len()).step_by(4).filter_map(|at| hex.get(at..at + 4)).collect();
    groups.join(" ")
}

/// SPKI PEM.
#[must_use]
pub fn public_pem(spki: &[u8]) -> String {
    der::pem::encode_string("PUBLIC KEY", der::pem::LineEnding::LF, spki).expect("an SPKI is short")
}

fn public_document(pem: &str) -> Result<Vec<u8>, KeyError> {
    const WANTED: &str = "public key";
    let start = pem
        .find("-----BEGIN")
        .ok_or_else(|| KeyError::NotAKey { wanted: WANTED, cause: "no BEGIN line".to_owned() })?;
    let body = pem.get(start..).unwrap_or_default();
    let bad = |cause: String| KeyError::NotAKey { wanted: WANTED, cause };
    let (label, document) = der::pem::decode_vec(body.as_bytes()).map_err(|e| bad(e.to_string()))?;
    if label != "PUBLIC KEY" {
        return Err(bad(format!("the label is {label:?}")));
    }
    Ok(document)
}

fn private_document(pem: &str, passphrase: Option<&str>, wanted: &'static str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let (label, document) = der::pem::decode_vec(pem.trim_start().as_bytes())
        .map_err(|e| KeyError::NotAKey { wanted, cause: e.to_string() })?;
    let document = Zeroizing::new(document);
    match label {
        "PRIVATE KEY" => Ok(document),
        "ENCRYPTED PRIVATE KEY" => {
            let encrypted = EncryptedPrivateKeyInfoRef::from_der(&document).map_err(not_a(wanted))?;
            let opened = encrypted.decrypt(passphrase.unwrap_or_default()).map_err(|_| KeyError::WrongPassphrase)?;
            Ok(Zeroizing::new(opened.as_bytes().to_vec()))
        }
        other => Err(KeyError::NotAKey { wanted, cause: format!("the label is {other:?}") }),
    }
}

/// The 32 bytes of a curve25519 key: an OCTET STRING inside the OCTET STRING (RFC 8410).
fn inner_32(info: &PrivateKeyInfoRef<'_>, wanted: &'static str) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let inner = <&OctetStringRef>::from_der(info.private_key.as_bytes()).map_err(not_a(wanted))?;
    let bytes =
        inner.as_bytes().try_into().map_err(|_| KeyError::NotAKey { wanted, cause: "not 32 bytes".to_owned() })?;
    Ok(Zeroizing::new(bytes))
}

fn sm2_from(document: &[u8], wanted: &'static str) -> Result<sm2::SecretKey, KeyError> {
    sm2::SecretKey::from_pkcs8_der(document).map_err(|e| KeyError::NotAKey { wanted, cause: e.to_string() })
}

fn private_pem(document: &[u8], passphrase: Option<&str>) -> Result<Zeroizing<String>, KeyError> {
    let bad = |cause: String| KeyError::NotAKey { wanted: "private key", cause };
    let (label, bytes) = match passphrase {
        None => ("PRIVATE KEY", Zeroizing::new(document.to_vec())),
        Some(passphrase) => {
            let info = PrivateKeyInfoRef::from_der(document).map_err(not_a("private key"))?;
            let encrypted =
                info.encrypt_with_rng(&mut UnwrapErr(getrandom::SysRng), passphrase).map_err(|e| bad(e.to_string()))?;
            ("ENCRYPTED PRIVATE KEY", Zeroizing::new(encrypted.as_bytes().to_vec()))
        }
    };
    der::pem::encode_string(label, der::pem::LineEnding::LF, &bytes).map(Zeroizing::new).map_err(|e| bad(e.to_string()))
}

fn curve25519_pem(
    oid: ObjectIdentifier,
    secret: &[u8; 32],
    passphrase: Option<&str>,
) -> Result<Zeroizing<String>, KeyError> {
    let inner = OctetStringRef::new(secret).map_err(not_a("private key"))?;
    let inner = Zeroizing::new(inner.to_der().map_err(not_a("private key"))?);
    let outer = OctetStringRef::new(&inner).map_err(not_a("private key"))?;
    let info = PrivateKeyInfoRef::new(AlgorithmIdentifierRef { oid, parameters: None::<AnyRef<'_>> }, outer);
    let document = Zeroizing::new(info.to_der().map_err(not_a("private key"))?);
    private_pem(&document, passphrase)
}

fn sm2_pem(secret: &sm2::SecretKey, passphrase: Option<&str>) -> Result<Zeroizing<String>, KeyError> {
    let document =
        secret.to_pkcs8_der().map_err(|e| KeyError::NotAKey { wanted: "private key", cause: e.to_string() })?;
    private_pem(document.as_bytes(), passphrase)
}

fn curve25519_spki(oid: ObjectIdentifier, raw: &[u8; 32]) -> Vec<u8> {
    let info = SubjectPublicKeyInfoRef {
        algorithm: AlgorithmIdentifierRef { oid, parameters: None::<AnyRef<'_>> },
        subject_public_key: BitStringRef::from_bytes(raw).expect("32 bytes make a bit string"),
    };
    info.to_der().expect("a key of 32 bytes encodes")
}

fn sm2_spki(key: &sm2::PublicKey) -> Vec<u8> {
    key.to_public_key_der().expect("a point of the curve encodes").as_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_survives_its_pem_with_and_without_a_passphrase() {
        for suite in Suite::ALL {
            let key = SigningKey::generate(suite);
            for passphrase in [None, Some("三闸 correct horse")] {
                let again = SigningKey::from_pem(&key.to_pem(passphrase).unwrap(), passphrase).unwrap();
                assert_eq!(again.public().id(), key.public().id());
            }
            #[cfg(feature = "open")]
            {
                let opener = OpeningKey::generate(suite);
                let again = OpeningKey::from_pem(&opener.to_pem(None).unwrap(), None).unwrap();
                assert_eq!(again.public().id(), opener.public().id());
            }
        }
    }

    #[test]
    fn a_wrong_passphrase_is_told_apart_from_a_broken_file() {
        let pem = SigningKey::generate(Suite::Std).to_pem(Some("right")).unwrap();
        assert_eq!(SigningKey::from_pem(&pem, Some("wrong")).err(), Some(KeyError::WrongPassphrase));
        assert!(matches!(SigningKey::from_pem("hello", None), Err(KeyError::NotAKey { .. })));
    }

    #[cfg(feature = "open")]
    #[test]
    fn a_wrapped_key_opens_only_with_its_key_and_context() {
        for suite in Suite::ALL {
            let opener = OpeningKey::generate(suite);
            let wrapped = opener.public().wrap_key(b"0123456789abcdef", b"envelope 1").unwrap();
            assert_eq!(opener.unwrap_key(&wrapped, b"envelope 1").unwrap().as_slice(), b"0123456789abcdef");
            assert_eq!(opener.unwrap_key(&wrapped, b"envelope 2").err(), Some(KeyError::CannotUnwrap));
            assert!(OpeningKey::generate(suite).unwrap_key(&wrapped, b"envelope 1").is_err());
            for at in 0..wrapped.len() {
                let mut broken = wrapped.clone();
                broken[at] ^= 1;
                assert!(opener.unwrap_key(&broken, b"envelope 1").is_err(), "{suite} byte {at}");
            }
        }
    }

    #[test]
    fn a_public_key_has_one_encoding_and_so_one_id() {
        let key = SigningKey::generate(Suite::Gm).public();
        let spki = key.to_spki();
        assert_eq!(VerifyingKey::from_spki(&spki).unwrap().id(), key.id());
        // The same point, compressed: 02 or 03 and x.
        let sign = 2 + (spki[spki.len() - 1] & 1);
        let (head, point) = spki.split_at(26);
        let mut compressed = [head, &[sign], &point[1..33]].concat();
        (compressed[1], compressed[24]) = (compressed[1] - 32, compressed[24] - 32);
        assert!(VerifyingKey::read_spki(&compressed).is_ok_and(|same| same.id() == key.id()), "it is a point");
        assert!(VerifyingKey::from_spki(&compressed).is_err());
        assert!(SealingKey::from_spki(&compressed).is_err());
        assert!(SealingKey::from_spki(&spki).is_ok());
    }

    #[test]
    fn a_signature_belongs_to_its_bytes() {
        for suite in Suite::ALL {
            let key = SigningKey::generate(suite);
            let signature = key.sign(b"bytes");
            let public =
                VerifyingKey::from_pem(&format!("Zone: extranet\n{}", public_pem(&key.public().to_spki()))).unwrap();
            assert!(public.verify(b"bytes", &signature).is_ok());
            assert!(public.verify(b"byteS", &signature).is_err());
            let mut longer = signature.clone();
            longer.push(0);
            assert!(public.verify(b"bytes", &longer).is_err());
        }
    }
}
