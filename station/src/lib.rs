//! What every node does, whatever its zone: take parcels in, look at them, seal, admit, relay, deliver, receipt.
//! Knows no zone by name and no transport: a zone arrives as a value, a link meets the station in the spool only.
//!
//! Each stage is a `step(now)` that takes from one queue and commits to another; its doc says why it may die between
//! any two lines. `service` runs the stages in named threads; the simulated world calls the same steps by hand.
#![cfg_attr(test, allow(clippy::cast_possible_truncation, reason = "numbers in tests are small by construction"))]

pub mod alarm;
mod budget;
mod by_hand;
pub mod clock;
pub mod config;
pub mod disposal;
pub mod drop;
pub mod exceptions;
mod html;
mod key_life;
pub mod keyring;
mod last_day;
mod missing;
pub mod outlets;
mod program;
pub mod retries;
mod rotation;
pub mod rulebook;
pub mod sandbox;
pub mod scanner;
pub mod station;
pub mod waiting;

pub mod backup;
pub mod losses;
pub mod restore;

pub mod admission;
mod opening;
mod parallel;

pub mod desk;
pub mod export;
mod held;
pub mod housekeeping;
pub mod intake;
pub mod look;
pub mod receipts;
mod release;
mod reseal;
mod reserve;
pub mod sealing;
pub mod trips;
pub mod witness;

pub mod commands;
pub mod life;
pub mod report;
pub mod service;
