//! A sealed parcel as one stream: sealed, verified and opened in one pass and in bounded memory.
//!
//! ```text
//! "TRILOCK1" | length(4) | envelope | payload | length(4) | signed footer | end
//! payload = chunks of 64 KiB of [ length(4) | manifest | file | file … ], each sealed with its tag behind it
//! chunk nonce = 0 (7 bytes) | counter(4) | last(1)        additional data = digest of the envelope
//! ```
//! The last chunk carries the flag `last` and may be short, never empty unless it is the only one. The content key
//! is fresh for every attempt: an interrupted seal is thrown away, never continued.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::thread::{self, Scope};

use der::asn1::OctetString;
use zeroize::Zeroizing;

use crate::aead::{Aead, TAG_BYTES, fresh_key};
use crate::aside::{Aside, Piece};
use crate::der_types::{DerError, OBJECT_BYTES_MAX};
use crate::envelope::{Envelope, Footer};
use crate::id::BundleId;
use crate::keys::{KeyError, SealingKey};
use crate::name::Name;
use crate::parcel::{Custody, MANIFEST_BYTES_MAX, Manifest, ParcelError, Priority, VERSION};
use crate::signed::Signed;
use crate::signer::Signer;
use crate::suite::{Digest, Suite};
use crate::time::Timestamp;
use crate::tree::{BATCH_BYTES, BATCH_LEAVES, LEAF_BYTES, Tree};
use crate::trust::Trust;
use crate::zone::Crossing;

/// The first bytes of every bundle.
pub const MAGIC: &[u8; 8] = b"TRILOCK1";
/// Plaintext bytes of a chunk.
pub const CHUNK_BYTES: usize = 64 * 1024;
const SEALED_CHUNK_BYTES: usize = CHUNK_BYTES + TAG_BYTES;
/// Chunks are read, digested and written so many at a time: they are the leaves of the payload's tree. 1 MiB.
pub(crate) const BATCH_CHUNKS_BYTES: usize = BATCH_LEAVES * SEALED_CHUNK_BYTES;
/// From here on the trees of a seal are computed by threads of their own, where there is a second core: below it, starting
/// them costs more than they save.
const THREADS_FROM_BYTES: u64 = 4 << 20;
/// A counter of 32 bits over 64 KiB chunks: 256 TiB.
pub(crate) const CHUNKS_MAX: u64 = u32::MAX as u64;

/// What is wrong with a bundle, or with making one.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Reading or writing failed; on reading, the bundle may be cut short.
    #[error("reading or writing the bundle: {0}")]
    Io(#[from] io::Error),
    /// It does not begin as a bundle does.
    #[error("this is no bundle: it begins with {found:02x?}")]
    NotABundle {
        /// Its first bytes.
        found: [u8; 8],
    },
    /// It ends too early.
    #[error("the bundle ends within its {part}")]
    CutShort {
        /// Which part.
        part: &'static str,
    },
    /// Something follows the end.
    #[error("bytes follow the end of the bundle")]
    Trailing,
    /// A stated length over its limit.
    #[error("the {part} states {stated} bytes, over the limit of {limit}")]
    TooLarge {
        /// Which part.
        part: &'static str,
        /// What it says.
        stated: u64,
        /// The most allowed.
        limit: u64,
    },
    /// Its papers.
    #[error(transparent)]
    Parcel(#[from] ParcelError),
    /// A key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The foot does not belong to the head or the payload.
    #[error("the signed footer does not fit the {part}")]
    FooterMismatch {
        /// Which part it contradicts.
        part: &'static str,
    },
    /// A chunk was changed.
    #[error("chunk {index} of the payload was changed")]
    ChunkChanged {
        /// Which.
        index: u64,
    },
    /// The manifest is not the one the origin signed for.
    #[error("the manifest is not the one the parcel statement names")]
    OtherManifest,
    /// A file differs from the manifest: on sealing it changed after inspection.
    #[error("file {index} {what}")]
    FileDiffers {
        /// Which.
        index: usize,
        /// In what.
        what: &'static str,
    },
    /// Sealed to somebody else.
    #[error("sealed to key {recipient}, which is not the one offered")]
    OtherRecipient {
        /// The key it is sealed to.
        recipient: Digest,
    },
}

impl From<DerError> for BundleError {
    fn from(error: DerError) -> Self {
        BundleError::Parcel(ParcelError::Der(error))
    }
}

/// Everything a seal needs besides the content.
pub struct SealPlan<'a> {
    /// The new bundle's id.
    pub bundle: BundleId,
    /// Where it goes.
    pub crossing: Crossing,
    /// The crossing's numbers, reserved in the ledger before.
    pub epoch: u64,
    /// See `epoch`.
    pub sequence: u64,
    /// Who seals.
    pub source: &'a Name,
    /// To whom.
    pub target: &'a Name,
    /// How soon it matters.
    pub priority: Priority,
    /// When.
    pub now: Timestamp,
    /// Signs the footer.
    pub key: &'a dyn Signer,
    /// The target's key.
    pub recipient: &'a SealingKey,
    /// The sealing node's own key.
    pub keeper: &'a SealingKey,
    /// The origin's signed statement.
    pub statement: &'a Signed,
    /// The signed custody entries up to and with this node's.
    pub custody: &'a [Signed],
    /// What is sealed. Its digest stands in the statement.
    pub manifest: &'a Manifest,
}

/// What a seal made.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// Bytes of the whole bundle.
    pub bytes: u64,
    /// The envelope as written.
    pub envelope: Vec<u8>,
    /// The signed footer as written.
    pub footer: Vec<u8>,
}

/// What a bundle proves without being opened.
#[derive(Clone, Debug)]
pub struct Verified {
    /// The clear header.
    pub envelope: Envelope,
    /// Its bytes.
    pub envelope_bytes: Vec<u8>,
    /// The parcel's proven journey.
    pub custody: Custody,
    /// The signed footer's bytes.
    pub footer_bytes: Vec<u8>,
    /// Bytes of the whole bundle.
    pub bytes: u64,
}

/// Bytes of the encrypted payload for so many bytes of plaintext.
#[must_use]
pub fn payload_bytes(plain: u64) -> u64 {
    let chunks = plain.div_ceil(CHUNK_BYTES as u64).max(1);
    plain + chunks * TAG_BYTES as u64
}

pub(crate) fn nonce(counter: u64, last: bool) -> [u8; 12] {
    let mut nonce = [0; 12];
    // Bounded by CHUNKS_MAX before the first chunk is sealed or opened.
    let counter = u32::try_from(counter).unwrap_or(u32::MAX);
    nonce[7..11].copy_from_slice(&counter.to_be_bytes());
    nonce[11] = u8::from(last);
    nonce
}

/// Seals a parcel into `out`. `open_file` gives the bytes of each file of the manifest; whoever inspected them has
/// put their digests there, and a file that reads otherwise now is refused.
pub fn seal<R: Read>(
    plan: &SealPlan<'_>,
    out: &mut impl Write,
    open_file: impl FnMut(usize) -> io::Result<R>,
) -> Result<Sealed, BundleError> {
    let is_large = plan.manifest.content_bytes() >= THREADS_FROM_BYTES;
    let threads = is_large && thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
    thread::scope(|scope| seal_within(plan, out, open_file, threads.then_some(scope)))
}

/// With threads for the trees, where a scope for them is given.
fn seal_within<'scope, R: Read>(
    plan: &SealPlan<'_>,
    out: &mut impl Write,
    mut open_file: impl FnMut(usize) -> io::Result<R>,
    scope: Option<&'scope Scope<'scope, '_>>,
) -> Result<Sealed, BundleError> {
    plan.manifest.check()?;
    let suite = plan.recipient.suite();
    let manifest = plan.manifest.to_bytes();
    let manifest_length = part_length("manifest", manifest.len(), MANIFEST_BYTES_MAX)?;
    let plain = 4 + manifest.len() as u64 + plan.manifest.content_bytes();
    let payload = payload_bytes(plain);
    limit_payload(payload)?;

    let key = fresh_key(suite);
    let context = wrap_context(plan.bundle, plan.crossing);
    let octets = |bytes: Vec<u8>| OctetString::new(bytes).expect("bounded far below the limit of DER lengths");
    let envelope = Envelope {
        version: VERSION,
        suite,
        bundle: plan.bundle,
        crossing: plan.crossing,
        epoch: plan.epoch,
        sequence: plan.sequence,
        source: plan.source.clone(),
        target: plan.target.clone(),
        priority: plan.priority,
        payload_bytes: payload,
        sealed: plan.now,
        signer: plan.key.public().id(),
        recipient: plan.recipient.id(),
        wrapped_key: octets(plan.recipient.wrap_key(&key, &context)?),
        kept_key: octets(plan.keeper.wrap_key(&key, &context)?),
        statement: octets(plan.statement.to_bytes()),
        custody: plan.custody.iter().map(|entry| octets(entry.to_bytes())).collect(),
    }
    .to_bytes();
    let envelope_length = part_length("envelope", envelope.len(), OBJECT_BYTES_MAX)?;
    let envelope_digest = suite.digest(&envelope);

    out.write_all(MAGIC)?;
    out.write_all(&envelope_length.to_be_bytes())?;
    out.write_all(&envelope)?;

    let mut chunks = ChunkSealer {
        aead: Aead::new(suite, &key).expect("the key was made for the suite"),
        additional: envelope_digest,
        batch: Zeroizing::new(Vec::with_capacity(at_most(payload, BATCH_CHUNKS_BYTES))),
        open: 0,
        counter: 0,
        tree: Tree::with_leaf(suite, SEALED_CHUNK_BYTES),
        aside: digest_thread(scope, "digest-sealed", suite, SEALED_CHUNK_BYTES)?,
        out,
    };
    let largest = plan.manifest.files.iter().map(|file| file.size).max().unwrap_or(0);
    let mut contents = Contents {
        suite,
        piece: Zeroizing::new(vec![0; at_most(largest.max(1), BATCH_BYTES)]),
        aside: digest_thread(scope, "digest-content", suite, LEAF_BYTES)?,
    };
    chunks.take(&manifest_length.to_be_bytes())?;
    chunks.take(&manifest)?;
    for (index, file) in plan.manifest.files.iter().enumerate() {
        let differs = |what| BundleError::FileDiffers { index, what };
        let digest = contents.pass(&mut open_file(index)?, file.size, &mut chunks)?.map_err(differs)?;
        if digest != file.digest {
            return Err(differs("changed after it was inspected"));
        }
    }
    let root = chunks.finish()?;

    let footer = Signed::make_by(
        plan.key,
        &Footer { version: VERSION, envelope: envelope_digest, root, payload_bytes: payload },
    )
    .map_err(io::Error::from)?
    .to_bytes();
    let footer_length = part_length("footer", footer.len(), OBJECT_BYTES_MAX)?;
    out.write_all(&footer_length.to_be_bytes())?;
    out.write_all(&footer)?;
    let bytes = 8 + 4 + envelope.len() as u64 + payload + 4 + footer.len() as u64;
    Ok(Sealed { bytes, envelope, footer })
}

fn digest_thread<'scope>(
    scope: Option<&'scope Scope<'scope, '_>>,
    name: &str,
    suite: Suite,
    leaf_bytes: usize,
) -> io::Result<Option<Aside>> {
    scope.map(|scope| Aside::start(scope, name, suite, leaf_bytes)).transpose()
}

/// Files on their way in: digested as they are read, against what inspection said of them.
struct Contents {
    suite: Suite,
    piece: Piece,
    aside: Option<Aside>,
}

impl Contents {
    /// Passes a file on and gives its digest, or says in which way it is not of the size that is known of it.
    fn pass(
        &mut self,
        reader: &mut impl Read,
        size: u64,
        chunks: &mut ChunkSealer<'_, impl Write>,
    ) -> io::Result<Result<Digest, &'static str>> {
        // A file of one piece is digested here: the other thread would only be waited for.
        let aside = self.aside.as_ref().filter(|_| size > BATCH_BYTES as u64);
        let (mut tree, mut bytes) = (Tree::new(self.suite), 0);
        loop {
            let read = read_all(reader, &mut self.piece)?;
            let Some(now) = self.piece.get(..read).filter(|now| !now.is_empty()) else { break };
            bytes += read as u64;
            if bytes > size {
                return Ok(Err("grew after it was inspected"));
            }
            chunks.take(now)?;
            let Some(aside) = aside else {
                tree.update(now);
                continue;
            };
            let whole = self.piece.len();
            let mut piece = std::mem::take(&mut self.piece);
            piece.truncate(read);
            self.piece = aside.take(piece)?;
            self.piece.resize(whole, 0);
        }
        if bytes < size {
            return Ok(Err("shrank after it was inspected"));
        }
        let root = aside.map_or_else(|| Ok(tree.root()), Aside::root)?;
        Ok(Ok(root))
    }
}

/// Chunks on their way out: sealed one by one, digested and written a batch at a time.
struct ChunkSealer<'a, W> {
    aead: Aead,
    additional: Digest,
    /// Sealed chunks with their tags, and behind them the one that is being filled.
    batch: Piece,
    /// Plaintext bytes at the end of the batch.
    open: usize,
    counter: u64,
    /// The payload's tree, where no other thread computes it.
    tree: Tree,
    aside: Option<Aside>,
    out: &'a mut W,
}

impl<W: Write> ChunkSealer<'_, W> {
    fn take(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            // A full chunk waits until more comes: only then is it known not to be the last.
            if self.open == CHUNK_BYTES {
                self.close(false)?;
            }
            let (now, rest) = bytes.split_at(bytes.len().min(CHUNK_BYTES - self.open));
            self.batch.extend_from_slice(now);
            self.open += now.len();
            bytes = rest;
        }
        Ok(())
    }

    fn close(&mut self, last: bool) -> io::Result<()> {
        let at = self.batch.len() - self.open;
        let (_, chunk) = self.batch.split_at_mut(at);
        let tag = self.aead.seal(nonce(self.counter, last), self.additional.as_bytes(), chunk);
        self.batch.extend_from_slice(&tag);
        self.open = 0;
        self.counter += 1;
        if self.batch.len() >= BATCH_CHUNKS_BYTES {
            self.pass_on()?;
        }
        Ok(())
    }

    /// Writes the batch and has it digested.
    fn pass_on(&mut self) -> io::Result<()> {
        self.out.write_all(&self.batch)?;
        match &self.aside {
            Some(aside) => self.batch = aside.take(std::mem::take(&mut self.batch))?,
            None => self.tree.update(&self.batch),
        }
        self.batch.clear();
        Ok(())
    }

    fn finish(mut self) -> io::Result<Digest> {
        self.close(true)?;
        self.pass_on()?;
        match &self.aside {
            Some(aside) => aside.root(),
            None => Ok(self.tree.root()),
        }
    }
}

/// Verifies a bundle with public keys alone: the steps of 7.1 in FORMAT.md, by their numbers in `walk`.
pub fn verify(input: &mut impl Read, trust: &Trust) -> Result<Verified, BundleError> {
    let (verified, _) = walk(input, trust, &mut |_, _, _| Ok(()))?;
    Ok(verified)
}

/// Reads the clear header only, for showing and for finding the right keys.
pub fn peek(input: &mut impl Read) -> Result<Envelope, BundleError> {
    let (_, envelope) = read_head(input)?;
    Ok(envelope)
}

/// Head and foot of a bundle as they stand, for the evidence; the payload is passed over and nothing is verified. For
/// the one who made it, or verified it before.
pub fn papers(input: &mut (impl Read + Seek)) -> Result<(Vec<u8>, Vec<u8>), BundleError> {
    let (head, envelope) = read_head(input)?;
    let payload = i64::try_from(envelope.payload_bytes).unwrap_or(i64::MAX);
    input.seek(SeekFrom::Current(payload))?;
    let foot = read_object(input, "footer", OBJECT_BYTES_MAX)?;
    Ok((head, foot))
}

type OnChunk<'a> = dyn FnMut(u64, bool, &mut [u8]) -> Result<(), BundleError> + 'a;

/// The shared walk of [`verify`] and `open`: every chunk is handed over sealed, after it entered the digest.
fn walk(input: &mut impl Read, trust: &Trust, on_chunk: &mut OnChunk<'_>) -> Result<(Verified, Digest), BundleError> {
    // 7.1.1, 7.1.2
    let (envelope_bytes, envelope) = read_head(input)?;
    // 7.1.3
    let custody = envelope.prove(trust)?;
    let suite = envelope.suite;
    let envelope_digest = suite.digest(&envelope_bytes);

    // 7.1.4
    let mut tree = Tree::with_leaf(suite, SEALED_CHUNK_BYTES);
    let mut left = envelope.payload_bytes;
    // Whoever opens deciphers in here.
    let mut batch = Zeroizing::new(Vec::new());
    let mut index = 0;
    while left > 0 {
        batch.resize(at_most(left, BATCH_CHUNKS_BYTES), 0);
        read_part(input, &mut batch, "payload")?;
        tree.update(&batch);
        for chunk in batch.chunks_mut(SEALED_CHUNK_BYTES) {
            left -= chunk.len() as u64;
            on_chunk(index, left == 0, chunk)?;
            index += 1;
        }
    }
    let root = tree.root();

    // 7.1.5
    let footer_bytes = read_object(input, "footer", OBJECT_BYTES_MAX)?;
    let signed = Signed::parse::<Footer>(&footer_bytes)?;
    if signed.signer != envelope.signer || signed.suite != suite {
        return Err(BundleError::FooterMismatch { part: "envelope's signer" });
    }
    let footer: Footer = trust.verify_from_node(&signed, &envelope.source).map_err(ParcelError::from)?;
    // 7.1.6
    if footer.envelope != envelope_digest {
        return Err(BundleError::FooterMismatch { part: "envelope" });
    }
    if footer.payload_bytes != envelope.payload_bytes || footer.root != root {
        return Err(BundleError::FooterMismatch { part: "payload" });
    }
    // 7.1.7
    if read_some(input, &mut [0])? != 0 {
        return Err(BundleError::Trailing);
    }
    let bytes = 8 + 4 + envelope_bytes.len() as u64 + envelope.payload_bytes + 4 + footer_bytes.len() as u64;
    Ok((Verified { envelope, envelope_bytes, custody, footer_bytes, bytes }, envelope_digest))
}

fn read_head(input: &mut impl Read) -> Result<(Vec<u8>, Envelope), BundleError> {
    let mut magic = [0; 8];
    read_part(input, &mut magic, "magic")?;
    if &magic != MAGIC {
        return Err(BundleError::NotABundle { found: magic });
    }
    let bytes = read_object(input, "envelope", OBJECT_BYTES_MAX)?;
    let envelope = Envelope::parse(&bytes)?;
    check_payload(envelope.payload_bytes)?;
    Ok((bytes, envelope))
}

/// 7.1.2: the length of a stream of whole chunks and one short one, which holds at least a tag and a manifest's length.
pub(crate) fn check_payload(stated: u64) -> Result<(), BundleError> {
    limit_payload(stated)?;
    let tail = stated % SEALED_CHUNK_BYTES as u64;
    if stated < TAG_BYTES as u64 + 4 || (1..=TAG_BYTES as u64).contains(&tail) {
        return Err(BundleError::FooterMismatch { part: "stated payload length" });
    }
    Ok(())
}

fn limit_payload(stated: u64) -> Result<(), BundleError> {
    let limit = CHUNKS_MAX * SEALED_CHUNK_BYTES as u64;
    if stated > limit { Err(BundleError::TooLarge { part: "payload", stated, limit }) } else { Ok(()) }
}

pub(crate) fn part_length(part: &'static str, bytes: usize, limit: usize) -> Result<u32, BundleError> {
    u32::try_from(bytes).ok().filter(|_| bytes <= limit).ok_or(BundleError::TooLarge {
        part,
        stated: bytes as u64,
        limit: limit as u64,
    })
}

/// A length and so many bytes; the length is checked before anything is allocated.
pub(crate) fn read_object(input: &mut impl Read, part: &'static str, limit: usize) -> Result<Vec<u8>, BundleError> {
    let mut length = [0; 4];
    read_part(input, &mut length, part)?;
    let stated = u32::from_be_bytes(length) as usize;
    if stated > limit {
        return Err(BundleError::TooLarge { part, stated: stated as u64, limit: limit as u64 });
    }
    let mut bytes = vec![0; stated];
    read_part(input, &mut bytes, part)?;
    Ok(bytes)
}

pub(crate) fn read_part(input: &mut impl Read, bytes: &mut [u8], part: &'static str) -> Result<(), BundleError> {
    input.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => BundleError::CutShort { part },
        _ => BundleError::Io(error),
    })
}

/// Fills the place, unless the end comes first: then so many bytes of it.
fn read_all(input: &mut impl Read, bytes: &mut [u8]) -> io::Result<usize> {
    let mut have = 0;
    while let Some(room) = bytes.get_mut(have..).filter(|room| !room.is_empty()) {
        match read_some(input, room)? {
            0 => break,
            more => have += more,
        }
    }
    Ok(have)
}

/// A length that fits memory, because the limit does.
fn at_most(bytes: u64, limit: usize) -> usize {
    usize::try_from(bytes).map_or(limit, |bytes| bytes.min(limit))
}

pub(crate) fn read_some(input: &mut impl Read, bytes: &mut [u8]) -> io::Result<usize> {
    loop {
        match input.read(bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// What a content key is bound to, besides its recipient: this bundle on this crossing.
fn wrap_context(bundle: BundleId, crossing: Crossing) -> Vec<u8> {
    let mut context = b"trilock-v1-content-key\0".to_vec();
    context.extend_from_slice(bundle.as_bytes());
    context.push(crossing.code());
    context
}

#[cfg(feature = "open")]
pub use opening::{Opened, Sink, is_kept_by, open, open_kept};

/// Opening needs the target's private key, so it is compiled only where a node asks for it.
#[cfg(feature = "open")]
mod opening {
    use super::{
        Aead, BATCH_BYTES, BundleError, Digest, MANIFEST_BYTES_MAX, Manifest, ParcelError, Read, Suite, TAG_BYTES,
        Tree, Trust, Verified, Zeroizing, at_most, io, nonce, read_head, walk, wrap_context,
    };
    use crate::envelope::Envelope;
    use crate::keys::KeyError;
    use crate::signer::{OpenError, Opener};

    impl From<OpenError> for BundleError {
        fn from(error: OpenError) -> BundleError {
            match error {
                OpenError::Key(error) => BundleError::Key(error),
                OpenError::Device(error) => BundleError::Io(error.into()),
            }
        }
    }

    /// Where the plaintext goes. It must stay private until `open` has returned: only then is the last byte proven.
    pub trait Sink {
        /// The manifest was read and is the one the origin signed for.
        fn manifest(&mut self, manifest: &Manifest) -> io::Result<()>;
        /// A file begins.
        fn begin(&mut self, index: usize) -> io::Result<()>;
        /// More of its bytes.
        fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
        /// It ended, and its digest is right.
        fn end(&mut self, index: usize) -> io::Result<()>;
    }

    /// An opened bundle.
    #[derive(Clone, Debug)]
    pub struct Opened {
        /// What it proves.
        pub verified: Verified,
        /// What it held.
        pub manifest: Manifest,
    }

    /// Opens a bundle in one pass: every step of [`super::verify`], and every chunk, file and digest inside.
    pub fn open(
        input: &mut impl Read,
        trust: &Trust,
        key: &dyn Opener,
        sink: &mut dyn Sink,
    ) -> Result<Opened, BundleError> {
        open_by(input, trust, sink, |envelope| {
            if envelope.recipient != key.public().id() {
                return Err(BundleError::OtherRecipient { recipient: envelope.recipient });
            }
            let context = wrap_context(envelope.bundle, envelope.crossing);
            Ok(key.try_unwrap(envelope.wrapped_key.as_bytes(), &context)?)
        })
    }

    /// The same for the node that sealed it, by the content key that it kept for itself.
    pub fn open_kept(
        input: &mut impl Read,
        trust: &Trust,
        key: &dyn Opener,
        sink: &mut dyn Sink,
    ) -> Result<Opened, BundleError> {
        open_by(input, trust, sink, |envelope| Ok(kept_key(envelope, key)?))
    }

    /// Is the content key that the sealing node kept wrapped to this key?
    #[must_use]
    pub fn is_kept_by(envelope: &Envelope, key: &dyn Opener) -> bool {
        kept_key(envelope, key).is_ok()
    }

    fn kept_key(envelope: &Envelope, key: &dyn Opener) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        key.try_unwrap(envelope.kept_key.as_bytes(), &wrap_context(envelope.bundle, envelope.crossing))
    }

    fn open_by(
        input: &mut impl Read,
        trust: &Trust,
        sink: &mut dyn Sink,
        content_key: impl FnOnce(&Envelope) -> Result<Zeroizing<Vec<u8>>, BundleError>,
    ) -> Result<Opened, BundleError> {
        let (head, envelope) = read_head(input)?;
        let content_key = content_key(&envelope)?;
        let aead = Aead::new(envelope.suite, &content_key).ok_or(BundleError::Key(KeyError::CannotUnwrap))?;
        let additional = envelope.suite.digest(&head);
        let wanted = envelope.prove(trust)?.statement.manifest;
        let mut reader = PlainReader {
            suite: envelope.suite,
            wanted,
            state: State::Length(Vec::with_capacity(4)),
            manifest: None,
            pending: Zeroizing::new(Vec::new()),
            sink,
        };

        // The head was read to find the key; the walk reads it again from memory.
        let mut again = super::MAGIC.to_vec();
        again.extend_from_slice(&u32::try_from(head.len()).unwrap_or(u32::MAX).to_be_bytes());
        again.extend_from_slice(&head);
        let mut whole = io::Read::chain(again.as_slice(), input);
        let (verified, _) = walk(&mut whole, trust, &mut |index, last, chunk| {
            let tag_at = chunk.len().checked_sub(TAG_BYTES).ok_or(BundleError::ChunkChanged { index })?;
            let (bytes, tag) = chunk.split_at_mut(tag_at);
            let tag: &[u8; TAG_BYTES] = (&*tag).try_into().map_err(|_| BundleError::ChunkChanged { index })?;
            aead.open(nonce(index, last), additional.as_bytes(), bytes, tag)
                .map_err(|_| BundleError::ChunkChanged { index })?;
            reader.take(bytes)
        })?;
        let manifest = reader.finish()?;
        Ok(Opened { verified, manifest })
    }

    enum State {
        Length(Vec<u8>),
        Manifest { length: usize, bytes: Vec<u8> },
        File { index: usize, tree: Tree },
        End,
    }

    struct PlainReader<'a> {
        suite: Suite,
        wanted: Digest,
        state: State,
        manifest: Option<Manifest>,
        /// Bytes of the present file that are not digested yet: whole leaves lie side by side in here.
        pending: Zeroizing<Vec<u8>>,
        sink: &'a mut dyn Sink,
    }

    impl PlainReader<'_> {
        fn take(&mut self, mut bytes: &[u8]) -> Result<(), BundleError> {
            loop {
                match &mut self.state {
                    State::Length(have) => {
                        let (now, rest) = bytes.split_at(bytes.len().min(4 - have.len()));
                        have.extend_from_slice(now);
                        bytes = rest;
                        let Ok(length) = <[u8; 4]>::try_from(have.as_slice()) else { return Ok(()) };
                        let stated = u32::from_be_bytes(length) as usize;
                        if stated > MANIFEST_BYTES_MAX {
                            return Err(BundleError::TooLarge {
                                part: "manifest",
                                stated: stated as u64,
                                limit: MANIFEST_BYTES_MAX as u64,
                            });
                        }
                        self.state = State::Manifest { length: stated, bytes: Vec::new() };
                    }
                    State::Manifest { length, bytes: have } => {
                        let (now, rest) = bytes.split_at(bytes.len().min(*length - have.len()));
                        have.extend_from_slice(now);
                        bytes = rest;
                        if have.len() < *length {
                            return Ok(());
                        }
                        if self.suite.digest(have) != self.wanted {
                            return Err(BundleError::OtherManifest);
                        }
                        let manifest = Manifest::parse(have)?;
                        self.sink.manifest(&manifest)?;
                        self.manifest = Some(manifest);
                        self.begin(0)?;
                    }
                    State::File { index, tree } => {
                        let index = *index;
                        let size = self.manifest.as_ref().and_then(|m| m.files.get(index)).map_or(0, |file| file.size);
                        // What is missing of the file, or of a full batch.
                        let room = at_most(size - tree.bytes(), BATCH_BYTES) - self.pending.len();
                        let (now, rest) = bytes.split_at(bytes.len().min(room));
                        self.pending.reserve_exact(room);
                        self.pending.extend_from_slice(now);
                        bytes = rest;
                        if now.len() < room {
                            return Ok(());
                        }
                        tree.update(&self.pending);
                        self.sink.write(&self.pending)?;
                        self.pending.clear();
                        if tree.bytes() == size {
                            self.end(index)?;
                            self.begin(index + 1)?;
                        }
                    }
                    State::End if bytes.is_empty() => return Ok(()),
                    State::End => return Err(BundleError::Trailing),
                }
            }
        }

        fn begin(&mut self, index: usize) -> Result<(), BundleError> {
            let files = self.manifest.as_ref().map_or(0, |manifest| manifest.files.len());
            self.state = if index < files {
                self.sink.begin(index)?;
                State::File { index, tree: Tree::new(self.suite) }
            } else {
                State::End
            };
            Ok(())
        }

        fn end(&mut self, index: usize) -> Result<(), BundleError> {
            let State::File { tree, .. } = std::mem::replace(&mut self.state, State::End) else { return Ok(()) };
            let expected = self.manifest.as_ref().and_then(|m| m.files.get(index)).map(|file| file.digest);
            if expected != Some(tree.root()) {
                return Err(BundleError::FileDiffers { index, what: "does not have the digest of the manifest" });
            }
            self.sink.end(index)?;
            Ok(())
        }

        fn finish(self) -> Result<Manifest, BundleError> {
            match (self.state, self.manifest) {
                (State::End, Some(manifest)) => Ok(manifest),
                _ => Err(ParcelError::Disagree("the payload ends before the last file of its manifest").into()),
            }
        }
    }
}
