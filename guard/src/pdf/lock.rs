//! The standard security of PDF, opened with the empty password that every viewer tries first.
//!
//! A document that only its owner password protects (no printing, no copying) can be read by everybody, so it is
//! read here. Any other lock stays closed. ISO 32000-2, 7.6.

use aes::cipher::{Block, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use md5::{Digest, Md5};
use sha2::{Sha256, Sha384, Sha512};

use super::object::{Dictionary, Object};
use crate::octets::{head, slice, tail};

/// What stands in for a password that is shorter than 32 bytes: the whole of an empty one.
const PADDING: [u8; 32] = [
    0x28, 0xBF, 0x4E, 0x5E, 0x4E, 0x75, 0x8A, 0x41, 0x64, 0x00, 0x4E, 0x56, 0xFF, 0xFA, 0x01, 0x08, 0x2E, 0x2E, 0x00,
    0xB6, 0xD0, 0x68, 0x3E, 0x80, 0x2F, 0x0C, 0xA9, 0xFE, 0x64, 0x53, 0x69, 0x7A,
];
/// Rounds of the key derivation of revision 6 go on until a byte says so; 64 at least, a few hundred at most.
const ROUNDS_MAX: u32 = 2_048;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cipher {
    None,
    Rc4,
    /// AES-128 with a key for each object.
    Aes128,
    /// AES-256 with one key.
    Aes256,
}

/// An open lock.
#[derive(Debug)]
pub(super) struct Lock {
    key: Vec<u8>,
    streams: Cipher,
    texts: Cipher,
    /// Is the XMP packet locked as well?
    metadata: bool,
}

impl Lock {
    /// Opens with the empty user password; `None`: another is needed, or the scheme is unknown.
    pub(super) fn open(encrypt: &Dictionary<'_>, id: &[u8]) -> Option<Lock> {
        if !encrypt.is(b"Filter", b"Standard") {
            return None;
        }
        let version = encrypt.whole(b"V").unwrap_or(0);
        let revision = encrypt.whole(b"R")?;
        let metadata = !matches!(encrypt.get(b"EncryptMetadata"), Some(Object::Word(b"false")));
        let (streams, texts) = match version {
            1 | 2 => (Cipher::Rc4, Cipher::Rc4),
            4 | 5 => (method(encrypt, b"StmF")?, method(encrypt, b"StrF")?),
            _ => return None,
        };
        let key = match revision {
            2..=4 => key_by_md5(encrypt, id, version, revision, metadata)?,
            5 | 6 => key_by_sha(encrypt, revision)?,
            _ => return None,
        };
        Some(Lock { key, streams, texts, metadata })
    }

    pub(super) fn stream(&self, number: u32, generation: u32, bytes: &[u8], metadata: bool) -> Option<Vec<u8>> {
        let cipher = if metadata && !self.metadata { Cipher::None } else { self.streams };
        self.undo(cipher, number, generation, bytes)
    }

    pub(super) fn text(&self, number: u32, generation: u32, bytes: &[u8]) -> Option<Vec<u8>> {
        self.undo(self.texts, number, generation, bytes)
    }

    fn undo(&self, cipher: Cipher, number: u32, generation: u32, bytes: &[u8]) -> Option<Vec<u8>> {
        match cipher {
            Cipher::None => Some(bytes.to_vec()),
            Cipher::Rc4 => Some(rc4(&self.object_key(number, generation, b""), bytes)),
            Cipher::Aes128 => cbc_open::<aes::Aes128>(&self.object_key(number, generation, b"sAlT"), bytes),
            Cipher::Aes256 => cbc_open::<aes::Aes256>(&self.key, bytes),
        }
    }

    fn object_key(&self, number: u32, generation: u32, salt: &[u8]) -> Vec<u8> {
        let digest = Md5::new()
            .chain_update(&self.key)
            .chain_update(head(&number.to_le_bytes(), 3))
            .chain_update(head(&generation.to_le_bytes(), 2))
            .chain_update(salt)
            .finalize();
        head(&digest, (self.key.len() + 5).min(16)).to_vec()
    }
}

/// What the crypt filter of streams or strings does.
fn method(encrypt: &Dictionary<'_>, which: &[u8]) -> Option<Cipher> {
    let Some(Object::Name(name)) = encrypt.get(which) else { return Some(Cipher::None) };
    if name.as_ref() == b"Identity" {
        return Some(Cipher::None);
    }
    let filter = encrypt.dictionary(b"CF")?.dictionary(name)?;
    match filter.get(b"CFM")? {
        Object::Name(method) => match method.as_ref() {
            b"None" => Some(Cipher::None),
            b"V2" => Some(Cipher::Rc4),
            b"AESV2" => Some(Cipher::Aes128),
            b"AESV3" => Some(Cipher::Aes256),
            _ => None,
        },
        _ => None,
    }
}

/// Revisions 2 to 4: algorithm 2, and algorithms 4 and 5 to see whether the password was right.
fn key_by_md5(encrypt: &Dictionary<'_>, id: &[u8], version: usize, revision: usize, metadata: bool) -> Option<Vec<u8>> {
    let owner = slice(encrypt.text(b"O")?, 0, 32)?;
    let user = slice(encrypt.text(b"U")?, 0, 32)?;
    let bits = if version == 4 { 128 } else { encrypt.whole(b"Length").unwrap_or(40) };
    let width = if revision == 2 { 5 } else { (bits / 8).clamp(5, 16) };
    let mut digest = Md5::new().chain_update(PADDING).chain_update(owner);
    digest.update(permissions(encrypt)?);
    digest.update(id);
    if revision >= 4 && !metadata {
        digest.update([0xFF; 4]);
    }
    let mut key = digest.finalize().to_vec();
    if revision >= 3 {
        for _ in 0..50 {
            key = Md5::digest(head(&key, width)).to_vec();
        }
    }
    key.truncate(width);
    let right = if revision == 2 {
        rc4(&key, &PADDING) == user
    } else {
        let mut check = Md5::new().chain_update(PADDING).chain_update(id).finalize().to_vec();
        for round in 0..20_u8 {
            let turned: Vec<u8> = key.iter().map(|b| b ^ round).collect();
            check = rc4(&turned, &check);
        }
        head(user, 16) == check
    };
    right.then_some(key)
}

/// `/P` is a signed number of 32 bits; some write it unsigned.
fn permissions(encrypt: &Dictionary<'_>) -> Option<[u8; 4]> {
    let value = encrypt.number(b"P")?;
    #[expect(clippy::cast_possible_truncation, reason = "the range was checked before")]
    let value = ((-2_147_483_648.0..4_294_967_296.0).contains(&value)).then_some(value as i64)?;
    let [a, b, c, d, ..] = value.to_le_bytes();
    Some([a, b, c, d])
}

/// Revisions 5 and 6: algorithm 2.A with an empty password.
fn key_by_sha(encrypt: &Dictionary<'_>, revision: usize) -> Option<Vec<u8>> {
    let user = encrypt.text(b"U")?;
    let (hash, check_salt, key_salt) = (slice(user, 0, 32)?, slice(user, 32, 8)?, slice(user, 40, 8)?);
    let derived = |salt: &[u8]| if revision == 5 { Some(Sha256::digest(salt).to_vec()) } else { hardened(salt) };
    if derived(check_salt)? != hash {
        return None;
    }
    let wrapped = slice(encrypt.text(b"UE")?, 0, 32)?;
    cbc_blocks::<aes::Aes256>(&derived(key_salt)?, &[0; 16], wrapped)
}

/// Algorithm 2.B with an empty password and no user key.
fn hardened(salt: &[u8]) -> Option<Vec<u8>> {
    let mut key = Sha256::digest(salt).to_vec();
    for round in 0..ROUNDS_MAX {
        let locked = cbc_seal(slice(&key, 0, 16)?, slice(&key, 16, 16)?, &key.repeat(64))?;
        let remainder = head(&locked, 16).iter().map(|b| u32::from(*b)).sum::<u32>() % 3;
        key = match remainder {
            0 => Sha256::digest(&locked).to_vec(),
            1 => Sha384::digest(&locked).to_vec(),
            _ => Sha512::digest(&locked).to_vec(),
        };
        if round >= 63 && u32::from(*locked.last()?) <= round - 31 {
            key.truncate(32);
            return Some(key);
        }
    }
    None
}

fn rc4(key: &[u8], bytes: &[u8]) -> Vec<u8> {
    let mut state: [u8; 256] = std::array::from_fn(|i| u8::try_from(i).unwrap_or(0));
    let at = |state: &[u8; 256], i: u8| state.get(usize::from(i)).copied().unwrap_or(0);
    let mut j = 0_u8;
    for (i, k) in (0..=255_u8).zip(key.iter().cycle()) {
        j = j.wrapping_add(at(&state, i)).wrapping_add(*k);
        state.swap(usize::from(i), usize::from(j));
    }
    let (mut i, mut j) = (0_u8, 0_u8);
    bytes
        .iter()
        .map(|byte| {
            i = i.wrapping_add(1);
            j = j.wrapping_add(at(&state, i));
            state.swap(usize::from(i), usize::from(j));
            byte ^ at(&state, at(&state, i).wrapping_add(at(&state, j)))
        })
        .collect()
}

/// The first block is the start vector; padding ends it. A length that is no whole number of blocks is cut.
fn cbc_open<C: KeyInit + BlockCipherDecrypt>(key: &[u8], bytes: &[u8]) -> Option<Vec<u8>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let mut out = cbc_blocks::<C>(key, slice(bytes, 0, 16)?, tail(bytes, 16))?;
    let padding = usize::from(out.last().copied().unwrap_or(0));
    if (1..=16).contains(&padding) {
        out.truncate(out.len().saturating_sub(padding));
    }
    Some(out)
}

fn cbc_blocks<C: KeyInit + BlockCipherDecrypt>(key: &[u8], start: &[u8], bytes: &[u8]) -> Option<Vec<u8>> {
    let cipher = C::new_from_slice(key).ok()?;
    let mut before: Vec<u8> = start.to_vec();
    let mut out = Vec::with_capacity(bytes.len());
    for piece in bytes.chunks_exact(16) {
        let mut block = Block::<C>::try_from(piece).ok()?;
        cipher.decrypt_block(&mut block);
        out.extend(block.iter().zip(&before).map(|(a, b)| a ^ b));
        before.clear();
        before.extend_from_slice(piece);
    }
    Some(out)
}

fn cbc_seal(key: &[u8], start: &[u8], bytes: &[u8]) -> Option<Vec<u8>> {
    let cipher = aes::Aes128::new_from_slice(key).ok()?;
    let mut before: Vec<u8> = start.to_vec();
    let mut out = Vec::with_capacity(bytes.len());
    for piece in bytes.chunks_exact(16) {
        let mixed: Vec<u8> = piece.iter().zip(&before).map(|(a, b)| a ^ b).collect();
        let mut block = Block::<aes::Aes128>::try_from(mixed.as_slice()).ok()?;
        cipher.encrypt_block(&mut block);
        before.clear();
        before.extend_from_slice(&block);
        out.extend_from_slice(&block);
    }
    Some(out)
}
