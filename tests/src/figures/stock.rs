//! What a seal cost with the crates as they stand in the registry: 64 KiB at a time, one leaf after the other. The
//! baseline of the figures, and used nowhere else. It makes no bundle: papers and signatures are left out, which favours it.

use std::hint::black_box;
use std::io::{self, Read, Write};

use aes_gcm::aead::{AeadInOut, KeyInit};
use protocol::Suite;
use sm3::Digest;

const CHUNK_BYTES: usize = 64 * 1024;
const TAG_BYTES: usize = 16;

type Sm4Gcm = aes_gcm::AesGcm<sm4::Sm4, aes_gcm::aead::consts::U12>;

/// The digest of the plaintext's leaf, the cipher, the digest of the ciphertext's leaf.
struct Chunks<C, D> {
    cipher: C,
    index: u64,
    digest: std::marker::PhantomData<D>,
}

impl<C: AeadInOut, D: Digest> Chunks<C, D> {
    fn new(cipher: C) -> Self {
        Chunks { cipher, index: 0, digest: std::marker::PhantomData }
    }

    /// Seals what stands behind `at`.
    fn seal(&mut self, out: &mut Vec<u8>, at: usize) {
        let (_, chunk) = out.split_at_mut(at);
        black_box(leaf::<D>(chunk));
        let mut nonce = aes_gcm::aead::Nonce::<C>::default();
        nonce[4..].copy_from_slice(&self.index.to_be_bytes());
        self.index += 1;
        let tag = self.cipher.encrypt_inout_detached(&nonce, &[3; 32], chunk.into());
        out.extend_from_slice(&tag.expect("a chunk is far below the limit of GCM"));
        black_box(leaf::<D>(out.get(at..).unwrap_or_default()));
    }

    fn memory(mut self, content: &[u8], out: &mut Vec<u8>) {
        for chunk in content.chunks(CHUNK_BYTES) {
            let at = out.len();
            out.extend_from_slice(chunk);
            self.seal(out, at);
        }
    }

    fn file(mut self, mut input: impl Read, mut output: impl Write) -> io::Result<()> {
        let mut chunk = Vec::with_capacity(CHUNK_BYTES + TAG_BYTES);
        loop {
            chunk.clear();
            if input.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut chunk)? == 0 {
                return Ok(());
            }
            self.seal(&mut chunk, 0);
            output.write_all(&chunk)?;
        }
    }
}

/// Memory to memory.
pub fn seal(suite: Suite, content: &[u8], out: &mut Vec<u8>) {
    match suite {
        Suite::Std => Chunks::<_, sha2::Sha256>::new(aes_gcm::Aes256Gcm::new(&[7; 32].into())).memory(content, out),
        Suite::Gm => Chunks::<_, sm3::Sm3>::new(Sm4Gcm::new(&[7; 16].into())).memory(content, out),
    }
}

/// File to file.
pub fn seal_file(suite: Suite, input: impl Read, output: impl Write) -> io::Result<()> {
    match suite {
        Suite::Std => Chunks::<_, sha2::Sha256>::new(aes_gcm::Aes256Gcm::new(&[7; 32].into())).file(input, output),
        Suite::Gm => Chunks::<_, sm3::Sm3>::new(Sm4Gcm::new(&[7; 16].into())).file(input, output),
    }
}

/// The digests of the ciphertext's leaves: all that a verifier computes besides signatures.
pub fn verify(suite: Suite, mut sealed: impl Read) -> io::Result<()> {
    let mut chunk = Vec::with_capacity(CHUNK_BYTES + TAG_BYTES);
    loop {
        chunk.clear();
        if sealed.by_ref().take((CHUNK_BYTES + TAG_BYTES) as u64).read_to_end(&mut chunk)? == 0 {
            return Ok(());
        }
        match suite {
            Suite::Std => drop(black_box(leaf::<sha2::Sha256>(&chunk))),
            Suite::Gm => drop(black_box(leaf::<sm3::Sm3>(&chunk))),
        }
    }
}

fn leaf<D: Digest>(bytes: &[u8]) -> Vec<u8> {
    D::new().chain_update([0]).chain_update(bytes).finalize().to_vec()
}
