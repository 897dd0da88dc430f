//! A node's state as one sealed stream: written while the node runs, verified with public keys alone, opened with the key
//! it was sealed to. Knows nothing of files; what is inside is an archive that stock tools read.
//!
//! ```text
//! "TRILBACK" | length(4) | signed head | chunk | chunk | … | length(4) | signed foot | end
//! chunk = length(4) of 0 to 65,536 | so many bytes, sealed | tag(16)     the last is shorter than 65,536, perhaps empty
//! ```
//! Unlike a bundle it does not state its length in front: a backup is written in one pass over what it finds. Nonces,
//! additional data, tree and signature are those of a bundle.

use std::io::{self, Read, Write};

use der::asn1::OctetString;
use zeroize::Zeroizing;

use crate::aead::{Aead, TAG_BYTES, fresh_key};
use crate::bundle::{
    BATCH_CHUNKS_BYTES, BundleError, CHUNK_BYTES, CHUNKS_MAX, nonce, part_length, read_object, read_part, read_some,
};
use crate::der_types::OBJECT_BYTES_MAX;
use crate::id::BundleId;
use crate::keys::SealingKey;
use crate::name::Name;
use crate::parcel::{ParcelError, VERSION};
use crate::receipt::Head;
use crate::signed::{Signed, Statement};
use crate::signer::Signatory;
use crate::suite::{Digest, Suite};
use crate::time::Timestamp;
use crate::tree::Tree;
use crate::trust::Trust;

/// The first bytes of every backup.
pub const MAGIC: &[u8; 8] = b"TRILBACK";
const SEALED_CHUNK_BYTES: usize = CHUNK_BYTES + TAG_BYTES;

/// What a backup says of itself, signed by its node.
#[derive(Clone, Debug, PartialEq, Eq, der::Sequence)]
pub struct BackupHead {
    /// [`VERSION`].
    pub version: u8,
    /// The suite of everything in it.
    pub suite: Suite,
    /// Its own id.
    pub id: BundleId,
    /// Whose state.
    pub node: Name,
    /// The moment it shows.
    pub at: Timestamp,
    /// The form of the state inside.
    pub state_version: u32,
    /// The ledger at that moment.
    pub ledger: Head,
    /// The key it is sealed to.
    pub recipient: Digest,
    /// The content key, wrapped to it.
    pub wrapped_key: OctetString,
}

/// What closes a backup, signed by its node.
#[derive(Clone, Debug, PartialEq, Eq, der::Sequence)]
pub struct BackupFoot {
    /// [`VERSION`].
    pub version: u8,
    /// The digest of the signed head.
    pub head: Digest,
    /// Tree digest over the sealed chunks.
    pub root: Digest,
    /// Their bytes.
    pub bytes: u64,
}

impl Statement for BackupHead {
    const DOMAIN: &'static str = "trilock-v1-backup-head";
    const WHAT: &'static str = "head of a backup";
    fn version(&self) -> u8 {
        self.version
    }
}
impl Statement for BackupFoot {
    const DOMAIN: &'static str = "trilock-v1-backup-foot";
    const WHAT: &'static str = "foot of a backup";
    fn version(&self) -> u8 {
        self.version
    }
}

/// What a backup is made with.
pub struct BackupPlan<'a> {
    /// Its id.
    pub id: BundleId,
    /// Whose state.
    pub node: &'a Name,
    /// The moment it shows.
    pub at: Timestamp,
    /// The form of the state inside.
    pub state_version: u32,
    /// The ledger at that moment.
    pub ledger: Head,
    /// Signs.
    pub key: &'a Signatory,
    /// Opens it again.
    pub recipient: &'a SealingKey,
}

/// What a backup proves without being opened.
#[derive(Clone, Debug)]
pub struct Verified {
    /// What it says of itself.
    pub head: BackupHead,
    /// The digest of its signed head: its name in the ledger.
    pub digest: Digest,
    /// Bytes of the whole backup.
    pub bytes: u64,
}

fn wrap_context(id: BundleId) -> Vec<u8> {
    [&b"trilock-v1-backup-key\0"[..], id.as_bytes()].concat()
}

/// A backup under way: what is written into it is sealed into `out`.
pub struct BackupWriter<W: Write> {
    out: W,
    suite: Suite,
    aead: Aead,
    key: Signatory,
    digest: Digest,
    /// Sealed chunks with their tags, and behind them the one that is being filled.
    batch: Zeroizing<Vec<u8>>,
    /// Plaintext bytes at the end of the batch.
    open: usize,
    counter: u64,
    tree: Tree,
    bytes: u64,
    head_bytes: u64,
}

impl<W: Write> BackupWriter<W> {
    /// Writes the head.
    pub fn begin(plan: &BackupPlan<'_>, mut out: W) -> Result<BackupWriter<W>, BundleError> {
        let suite = plan.recipient.suite();
        let key = fresh_key(suite);
        let wrapped = plan.recipient.wrap_key(&key, &wrap_context(plan.id))?;
        let head = BackupHead {
            version: VERSION,
            suite,
            id: plan.id,
            node: plan.node.clone(),
            at: plan.at,
            state_version: plan.state_version,
            ledger: plan.ledger,
            recipient: plan.recipient.id(),
            wrapped_key: OctetString::new(wrapped).expect("bounded far below the limit of DER lengths"),
        };
        let head = Signed::make_by(plan.key, &head).map_err(io::Error::from)?.to_bytes();
        out.write_all(MAGIC)?;
        out.write_all(&part_length("head", head.len(), OBJECT_BYTES_MAX)?.to_be_bytes())?;
        out.write_all(&head)?;
        Ok(BackupWriter {
            out,
            suite,
            aead: Aead::new(suite, &key).expect("the key was made for the suite"),
            key: plan.key.clone(),
            digest: suite.digest(&head),
            batch: Zeroizing::new(Vec::with_capacity(BATCH_CHUNKS_BYTES)),
            open: 0,
            counter: 0,
            tree: Tree::with_leaf(suite, SEALED_CHUNK_BYTES),
            bytes: 0,
            head_bytes: 12 + head.len() as u64,
        })
    }

    /// Seals the chunk that was being filled.
    fn close(&mut self, last: bool) -> io::Result<()> {
        if self.counter > CHUNKS_MAX {
            return Err(io::Error::other("a backup holds at most 256 TiB"));
        }
        let at = self.batch.len() - self.open;
        let (_, chunk) = self.batch.split_at_mut(at);
        let tag = self.aead.seal(nonce(self.counter, last), self.digest.as_bytes(), chunk);
        self.batch.extend_from_slice(&tag);
        self.open = 0;
        self.counter += 1;
        if last || self.batch.len() >= BATCH_CHUNKS_BYTES { self.pass_on() } else { Ok(()) }
    }

    /// Digests a batch of sealed chunks, in lanes, and writes them, each behind its length.
    fn pass_on(&mut self) -> io::Result<()> {
        self.tree.update(&self.batch);
        self.bytes += self.batch.len() as u64;
        for chunk in self.batch.chunks(SEALED_CHUNK_BYTES) {
            let length = u32::try_from(chunk.len() - TAG_BYTES).map_err(io::Error::other)?;
            self.out.write_all(&length.to_be_bytes())?;
            self.out.write_all(chunk)?;
        }
        self.batch.clear();
        Ok(())
    }

    /// Seals the last chunk and writes the foot. Returns where it was written, the digest of the head, and all bytes.
    pub fn finish(mut self) -> Result<(W, Digest, u64), BundleError> {
        self.close(true)?;
        let root = std::mem::replace(&mut self.tree, Tree::new(self.suite)).root();
        let foot = BackupFoot { version: VERSION, head: self.digest, root, bytes: self.bytes };
        let foot = Signed::make_by(&self.key, &foot).map_err(io::Error::from)?.to_bytes();
        self.out.write_all(&part_length("foot", foot.len(), OBJECT_BYTES_MAX)?.to_be_bytes())?;
        self.out.write_all(&foot)?;
        let bytes = self.head_bytes + self.bytes + 4 * self.counter + 4 + foot.len() as u64;
        Ok((self.out, self.digest, bytes))
    }
}

impl<W: Write> Write for BackupWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (now, _) = bytes.split_at(bytes.len().min(CHUNK_BYTES - self.open));
        self.batch.extend_from_slice(now);
        self.open += now.len();
        // A full chunk is never the last: the last is shorter, so that a reader knows it without looking ahead.
        if self.open == CHUNK_BYTES {
            self.close(false)?;
        }
        Ok(now.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads head, chunks and foot, and checks what public keys can check.
struct Walk<'a, R: Read> {
    input: R,
    trust: &'a Trust,
    signed: Signed,
    head: BackupHead,
    digest: Digest,
    counter: u64,
    tree: Tree,
    /// Sealed chunks that were read and digested together, and how far they were handed out.
    batch: Vec<u8>,
    at: usize,
    bytes: u64,
    head_bytes: u64,
    ended: bool,
}

/// The steps of 12a.1 in FORMAT.md.
impl<'a, R: Read> Walk<'a, R> {
    /// 1. magic, length within its limit; 2. the head is signed by the node it names, and of a version we know.
    fn begin(mut input: R, trust: &'a Trust) -> Result<Self, BundleError> {
        let (bytes, signed, head) = read_head(&mut input)?;
        let head: BackupHead = trust.verify_from_node(&signed, &head.node).map_err(ParcelError::from)?;
        Ok(Walk {
            input,
            trust,
            digest: head.suite.digest(&bytes),
            counter: 0,
            tree: Tree::with_leaf(head.suite, SEALED_CHUNK_BYTES),
            batch: Vec::new(),
            at: 0,
            bytes: 0,
            head_bytes: 12 + bytes.len() as u64,
            ended: false,
            signed,
            head,
        })
    }

    /// 3. The next sealed chunk with its tag, its counter, and whether it is the last.
    fn chunk(&mut self, chunk: &mut Vec<u8>) -> Result<Option<(u64, bool)>, BundleError> {
        if self.at == self.batch.len() {
            if self.ended {
                return Ok(None);
            }
            self.read_batch()?;
        }
        let rest = self.batch.get(self.at..).unwrap_or_default();
        let (next, _) = rest.split_at(rest.len().min(SEALED_CHUNK_BYTES));
        chunk.clear();
        chunk.extend_from_slice(next);
        self.at += next.len();
        self.counter += 1;
        // Only the last is short, and nothing is read behind it.
        Ok(Some((self.counter - 1, next.len() < SEALED_CHUNK_BYTES)))
    }

    /// As many chunks as are digested at once, or those that are left.
    fn read_batch(&mut self) -> Result<(), BundleError> {
        self.batch.clear();
        self.at = 0;
        while !self.ended && self.batch.len() < BATCH_CHUNKS_BYTES {
            let mut length = [0; 4];
            read_part(&mut self.input, &mut length, "payload")?;
            let length = u32::from_be_bytes(length) as usize;
            let have = self.batch.len();
            let read_before = self.counter + (have / SEALED_CHUNK_BYTES) as u64;
            if length > CHUNK_BYTES || read_before > CHUNKS_MAX {
                let (stated, limit) = (length as u64, CHUNK_BYTES as u64);
                return Err(BundleError::TooLarge { part: "chunk", stated, limit });
            }
            self.batch.resize(have + length + TAG_BYTES, 0);
            read_part(&mut self.input, self.batch.get_mut(have..).unwrap_or_default(), "payload")?;
            self.ended = length < CHUNK_BYTES;
        }
        self.tree.update(&self.batch);
        self.bytes += self.batch.len() as u64;
        Ok(())
    }

    /// 4. The foot is signed by the same key and covers head, root and length; 5. nothing follows.
    fn finish(mut self) -> Result<Verified, BundleError> {
        let foot_bytes = read_object(&mut self.input, "foot", OBJECT_BYTES_MAX)?;
        let signed = Signed::parse::<BackupFoot>(&foot_bytes)?;
        if signed.signer != self.signed.signer {
            return Err(BundleError::FooterMismatch { part: "signer of the head" });
        }
        let foot: BackupFoot = self.trust.verify_from_node(&signed, &self.head.node).map_err(ParcelError::from)?;
        if foot.head != self.digest {
            return Err(BundleError::FooterMismatch { part: "head" });
        }
        if foot.bytes != self.bytes || foot.root != self.tree.root() {
            return Err(BundleError::FooterMismatch { part: "payload" });
        }
        if read_some(&mut self.input, &mut [0])? != 0 {
            return Err(BundleError::Trailing);
        }
        let bytes = self.head_bytes + self.bytes + 4 * self.counter + 4 + foot_bytes.len() as u64;
        Ok(Verified { head: self.head, digest: self.digest, bytes })
    }
}

fn read_head(input: &mut impl Read) -> Result<(Vec<u8>, Signed, BackupHead), BundleError> {
    let mut magic = [0; 8];
    read_part(input, &mut magic, "magic")?;
    if &magic != MAGIC {
        return Err(BundleError::NotABundle { found: magic });
    }
    let bytes = read_object(input, "head", OBJECT_BYTES_MAX)?;
    let signed = Signed::parse::<BackupHead>(&bytes)?;
    let head: BackupHead = signed.read_unverified()?;
    if head.version != VERSION {
        return Err(ParcelError::Version { what: "backup", found: head.version }.into());
    }
    Ok((bytes, signed, head))
}

/// Reads the head without checking who signed it, for showing.
pub fn peek(input: &mut impl Read) -> Result<BackupHead, BundleError> {
    Ok(read_head(input)?.2)
}

/// Verifies a backup with public keys alone, in one pass and in bounded memory.
pub fn verify(input: &mut impl Read, trust: &Trust) -> Result<Verified, BundleError> {
    let mut walk = Walk::begin(input, trust)?;
    let mut chunk = Vec::with_capacity(SEALED_CHUNK_BYTES);
    while walk.chunk(&mut chunk)?.is_some() {}
    walk.finish()
}

#[cfg(feature = "open")]
pub use opening::BackupReader;

#[cfg(feature = "open")]
mod opening {
    use super::{
        Aead, BundleError, Read, SEALED_CHUNK_BYTES, TAG_BYTES, Trust, Verified, Walk, io, nonce, wrap_context,
    };
    use crate::keys::{KeyError, OpeningKey};
    use zeroize::Zeroizing;

    /// A backup being opened. Every chunk is authentic when it is handed out; that none is missing is known only when
    /// [`BackupReader::finish`] has returned.
    pub struct BackupReader<'a, R: Read> {
        walk: Walk<'a, R>,
        aead: Aead,
        chunk: Zeroizing<Vec<u8>>,
        at: usize,
    }

    impl<'a, R: Read> BackupReader<'a, R> {
        /// Reads the head and unwraps the key.
        pub fn begin(input: R, trust: &'a Trust, key: &OpeningKey) -> Result<Self, BundleError> {
            let walk = Walk::begin(input, trust)?;
            let recipient = walk.head.recipient;
            if recipient != key.public().id() {
                return Err(BundleError::OtherRecipient { recipient });
            }
            let content = key.unwrap_key(walk.head.wrapped_key.as_bytes(), &wrap_context(walk.head.id))?;
            let aead = Aead::new(walk.head.suite, &content).ok_or(BundleError::Key(KeyError::CannotUnwrap))?;
            Ok(BackupReader { walk, aead, chunk: Zeroizing::new(Vec::with_capacity(SEALED_CHUNK_BYTES)), at: 0 })
        }

        /// Reads what is left, and checks the foot.
        pub fn finish(mut self) -> Result<Verified, BundleError> {
            while self.next()? {}
            self.walk.finish()
        }

        fn next(&mut self) -> Result<bool, BundleError> {
            let Some((index, last)) = self.walk.chunk(&mut self.chunk)? else { return Ok(false) };
            let length = self.chunk.len() - TAG_BYTES;
            let (bytes, tag) = self.chunk.split_at_mut(length);
            let tag: &[u8; TAG_BYTES] = (&*tag).try_into().map_err(|_| BundleError::ChunkChanged { index })?;
            self.aead
                .open(nonce(index, last), self.walk.digest.as_bytes(), bytes, tag)
                .map_err(|_| BundleError::ChunkChanged { index })?;
            self.chunk.truncate(length);
            self.at = 0;
            Ok(true)
        }
    }

    impl<R: Read> Read for BackupReader<'_, R> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            while self.at == self.chunk.len() {
                if !self.next().map_err(io::Error::other)? {
                    return Ok(0);
                }
            }
            let rest = self.chunk.get(self.at..).unwrap_or_default();
            let many = rest.len().min(out.len());
            let (from, _) = rest.split_at(many);
            out.get_mut(..many).unwrap_or_default().copy_from_slice(from);
            self.at += many;
            Ok(many)
        }
    }
}

#[cfg(test)]
#[cfg(feature = "open")]
mod tests {
    use super::*;
    use crate::keys::{OpeningKey, SigningKey};
    use crate::trust::{KeyCard, Role, Use};
    use crate::zone::Zone;

    struct Office {
        key: SigningKey,
        opening: OpeningKey,
        trust: Trust,
    }

    fn office(suite: Suite) -> Office {
        let key = SigningKey::generate(suite);
        let (zone, holder) = (Zone::Extranet, Name::new("extranet").unwrap());
        let from = "2026-11-21".to_owned();
        let spki = key.public().to_spki();
        let card = KeyCard { zone, holder, role: Role::Node, usage: Use::Sign, suite, from, until: None, spki };
        let mut trust = Trust::default();
        trust.add("card", &card.to_text()).unwrap();
        Office { key, opening: OpeningKey::generate(suite), trust }
    }

    fn sealed(office: &Office, content: &[u8]) -> Vec<u8> {
        let plan = BackupPlan {
            id: crate::der_types::Octets([7; 16]),
            node: &Name::new("extranet").unwrap(),
            at: Timestamp(1_795_305_600_000),
            state_version: 1,
            ledger: Head { log: 1, size: 9, root: crate::der_types::Octets([3; 32]) },
            key: &office.key.clone().into(),
            recipient: &office.opening.public(),
        };
        let mut writer = BackupWriter::begin(&plan, Vec::new()).unwrap();
        writer.write_all(content).unwrap();
        let (bytes, _, length) = writer.finish().unwrap();
        assert_eq!(bytes.len() as u64, length);
        bytes
    }

    fn opened(office: &Office, bytes: &[u8]) -> Result<Vec<u8>, BundleError> {
        let mut reader = BackupReader::begin(bytes, &office.trust, &office.opening)?;
        let mut content = Vec::new();
        reader.read_to_end(&mut content)?;
        reader.finish().map(|_| content)
    }

    #[test]
    fn a_backup_of_any_length_comes_back_whole() {
        for suite in Suite::ALL {
            let office = office(suite);
            for length in [
                0,
                1,
                CHUNK_BYTES - 1,
                CHUNK_BYTES,
                CHUNK_BYTES + 1,
                3 * CHUNK_BYTES,
                16 * CHUNK_BYTES,
                33 * CHUNK_BYTES + 5,
            ] {
                let content: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
                let bytes = sealed(&office, &content);
                let proven = verify(&mut bytes.as_slice(), &office.trust).unwrap();
                assert_eq!((proven.bytes, proven.head.ledger.size), (bytes.len() as u64, 9));
                assert_eq!(opened(&office, &bytes).unwrap(), content);
            }
        }
    }

    #[test]
    fn a_flipped_byte_a_cut_a_tail_and_another_key_are_all_refused() {
        let office = office(Suite::Std);
        let bytes = sealed(&office, &vec![5; CHUNK_BYTES + 100]);
        let refused = |bytes: &[u8]| {
            let verified = verify(&mut &*bytes, &office.trust).is_err();
            assert_eq!(verified, opened(&office, bytes).is_err());
            verified
        };
        for at in (0..700).chain((700..bytes.len()).step_by(997)).chain(bytes.len() - 700..bytes.len()) {
            let mut broken = bytes.clone();
            broken[at] ^= 1;
            assert!(refused(&broken), "byte {at}");
            assert!(refused(&bytes[..at]), "cut at {at}");
        }
        assert!(refused(&[&bytes[..], &[0]].concat()));
        let stranger = Office { opening: OpeningKey::generate(Suite::Std), ..self::office(Suite::Std) };
        assert!(verify(&mut bytes.as_slice(), &stranger.trust).is_err(), "signed by nobody it knows");
        let other = Office { opening: stranger.opening, key: office.key.clone(), trust: office.trust.clone() };
        assert!(matches!(opened(&other, &bytes), Err(BundleError::OtherRecipient { .. })));
    }

    #[test]
    fn two_chunks_cannot_change_places() {
        let office = office(Suite::Std);
        let mut content = vec![1; CHUNK_BYTES];
        content.extend(vec![2; CHUNK_BYTES]);
        let bytes = sealed(&office, &content);
        let start = 12 + u32::from_be_bytes(bytes[8..12].try_into().unwrap()) as usize;
        let step = 4 + SEALED_CHUNK_BYTES;
        let mut swapped = bytes[..start].to_vec();
        swapped.extend_from_slice(&bytes[start + step..start + 2 * step]);
        swapped.extend_from_slice(&bytes[start..start + step]);
        swapped.extend_from_slice(&bytes[start + 2 * step..]);
        assert!(verify(&mut swapped.as_slice(), &office.trust).is_err());
        assert!(matches!(opened(&office, &swapped), Err(BundleError::Io(_))));
    }
}
