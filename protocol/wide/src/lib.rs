//! The national cipher and the tree's leaves, wide: SM4-GCM, and SM3 and SHA-256 over many leaves at once.
//!
//! | kernel | SM4 | GHASH | leaves |
//! |---|---|---|---|
//! | `avx512` | 64 blocks at once, S-box by GFNI | VPCLMULQDQ | 16 lanes |
//! | `avx2` | 32 blocks at once, S-box by AES-NI | PCLMULQDQ | 8 lanes |
//! | `portable` | 64 blocks bit-sliced | RustCrypto's | RustCrypto's, one after the other |
//!
//! The machine's best kernel is chosen at run time; every kernel that a machine has can be asked for by tests and
//! figures. No kernel looks anything up at an address that depends on a key or on content: S-boxes are instructions, tables
//! of 16 bytes inside a register, or a circuit. On other processors than x86-64 the portable kernel runs.
//!
//! This is the only crate with unsafe code. There are two kinds of it, each argued where it stands: a kernel is entered
//! only by a [`Kernel`] that says the processor has its instructions, and vectors are read from and written to arrays
//! of exactly their size.
#![cfg_attr(test, allow(clippy::cast_possible_truncation, reason = "numbers in tests are small by construction"))]

pub mod gcm;
mod ghash;
mod kernel;
pub mod leaves;
mod sm4;

pub use kernel::Kernel;
