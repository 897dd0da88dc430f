//! What the demo, the scenarios and the benchmarks share: an office of three nodes on this machine, its documents,
//! and the things between the networks. Nothing here is shipped.
#![allow(clippy::disallowed_methods, reason = "a test makes and removes files as an app or a person would")]

pub mod bombs;
pub mod courier;
pub mod disguise;
pub mod figures;
pub mod fuzz;
pub mod gate;
pub mod history;
pub mod lives;
pub mod office;
pub mod office_day;
pub mod office_papers;
pub mod ordeal;
pub mod pair;
pub mod papers;
pub mod programs;
pub mod relay;
pub mod rig;
pub mod samples;
pub mod seals;
pub mod stripping;
pub mod surveyor;
pub mod traffic;
pub mod twins;
pub mod volume;
pub mod world;
