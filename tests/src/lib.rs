//! What the demo, the scenarios and the benchmarks share: an office of three nodes on this machine, its documents,
//! and the things between the networks. Nothing here is shipped.
#![allow(clippy::disallowed_methods, reason = "a test makes and removes files as an app or a person would")]

pub mod gate;
pub mod office;
pub mod pair;
pub mod papers;
pub mod programs;
pub mod relay;
pub mod world;
