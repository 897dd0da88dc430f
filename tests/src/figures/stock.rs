//! What a seal cost with the crates as they stand in the registry: 64 KiB at a time, one leaf after the other. The
//! baseline of the figures, and used nowhere else. It makes no bundle: papers and signatures are left out, which favours it.

use std::hint::black_box;

use aes_gcm::aead::{AeadInOut as _, KeyInit as _};
use sm3::Digest as _;

const CHUNK_BYTES: usize = 64 * 1024;

type Sm4Gcm = aes_gcm::AesGcm<sm4::Sm4, aes_gcm::aead::consts::U12>;

/// SM3 of the plaintext's leaf, SM4-GCM, SM3 of the ciphertext's leaf.
pub fn seal_gm(content: &[u8], out: &mut Vec<u8>) {
    let cipher = Sm4Gcm::new(&[7; 16].into());
    for (index, chunk) in (0_u64..).zip(content.chunks(CHUNK_BYTES)) {
        black_box(leaf_gm(chunk));
        let at = out.len();
        out.extend_from_slice(chunk);
        let (_, sealed) = out.split_at_mut(at);
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&index.to_be_bytes());
        let tag = cipher.encrypt_inout_detached(&nonce.into(), &[3; 32], sealed.into());
        out.extend_from_slice(&tag.expect("a chunk is far below the limit of GCM"));
        black_box(leaf_gm(out.get(at..).unwrap_or_default()));
    }
}

/// SM3 of the ciphertext's leaves: all that a verifier computes besides signatures.
pub fn verify_gm(sealed: &[u8]) {
    sealed.chunks(CHUNK_BYTES + 16).for_each(|chunk| {
        black_box(leaf_gm(chunk));
    });
}

fn leaf_gm(bytes: &[u8]) -> [u8; 32] {
    sm3::Sm3::new().chain_update([0]).chain_update(bytes).finalize().into()
}
