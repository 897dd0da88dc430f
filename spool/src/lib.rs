//! Durable directories, ledger, index and desk of one node. Knows no zone's rule, no link and no content; holds the
//! one argument why nothing is lost and nothing happens twice.
//!
//! The spool is the interface: stages and links never call one another, each takes from one queue and commits to
//! another, and a commit is one rename. One process owns a spool, by a lock; other programs put signed requests into
//! its desk and wait for the answer file.
//!
//! Without the feature `owner` only the layout, the desk and the reading of ledger segments are left: what `ferry`
//! and a person's tools need.
#![cfg_attr(test, allow(clippy::cast_possible_truncation, reason = "numbers in tests are small by construction"))]

pub mod desk;
pub mod disk;
pub mod layout;
pub mod segment;

pub use desk::{Answer, DeskError, ask, ask_own};
pub use disk::{Disk, Free, Fuse};
pub use layout::Layout;

#[cfg(feature = "owner")]
mod arrivals;
#[cfg(feature = "owner")]
mod bell;
#[cfg(feature = "owner")]
mod entry;
#[cfg(feature = "owner")]
mod evidence;
#[cfg(feature = "owner")]
mod gaps;
#[cfg(feature = "owner")]
mod index;
#[cfg(feature = "owner")]
mod inlet;
#[cfg(feature = "owner")]
mod ledger;
#[cfg(feature = "owner")]
mod levels;
#[cfg(feature = "owner")]
mod notice;
#[cfg(feature = "owner")]
mod numbers;
#[cfg(feature = "owner")]
mod outbox;
#[cfg(feature = "owner")]
mod outlet;
#[cfg(feature = "owner")]
mod ranges;
#[cfg(feature = "owner")]
pub mod restore;
#[cfg(feature = "owner")]
mod snapshot;
#[cfg(feature = "owner")]
mod spool;
#[cfg(feature = "owner")]
mod state;
#[cfg(feature = "owner")]
mod version;

#[cfg(feature = "owner")]
pub use crate::{
    arrivals::{Arrivals, Begin, Partial},
    bell::Bell,
    entry::{Entry, EntryKind},
    gaps::Seen,
    index::Filter,
    inlet::{Candidate, Claim, Inlet, IntakeMode},
    notice::{Notice, NoticeState},
    outbox::{OUTBOX_LIST_MAX, Outbox},
    outlet::Outlet,
    snapshot::{Item, Snapshot},
    spool::{Floor, Restored, RouteDirs, Scrub, Setup, Spool, SpoolError, create},
    state::{Came, ParcelState, Sent, State},
    version::STATE_VERSION,
};

#[cfg(all(test, feature = "owner"))]
mod tests;
