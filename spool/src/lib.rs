//! Durable directories, ledger, index and desk of one node. Knows no zone's rule, no link and no content; holds the
//! one argument why nothing is lost and nothing happens twice.
//!
//! The spool is the interface: stages and links never call one another, each takes from one queue and commits to
//! another. One process owns a spool, by a lock; other programs put signed requests into its desk and wait for the
//! answer file.
//!
//! # Why nothing is lost and nothing happens twice
//!
//! Whoever holds a parcel holds it in exactly one of these forms, and each step makes the next form durable before it
//! lets go of the one before. So after a death, or a power cut, the older form or both are there, never neither; and
//! where both are, the ledger says which of them counts.
//!
//! | form | type | where | it counts from | let go when |
//! |---|---|---|---|---|
//! | drop | [`Candidate`] | `inlet/<route>/` | the app's rename, marker or silence | it is claimed |
//! | claimed drop | [`Claim`] | `.claimed/` | its rename, and both directories synced | the ledger says accepted, refused or quarantined, and what that promises is durable |
//! | staged bundle | [`Small`], or a file under `queues/sealing` | a segment of the outbox, or `sealing` | nothing yet: without a record it is waste | a start finds no record of it; its number is withdrawn |
//! | waiting bundle | [`Entry`] | `queues/outbox/<crossing>` | the record `accepted` or `relayed`, [`State::Accepted`] or [`State::Relayed`] | a receipt says that custody passed, and that is recorded |
//! | partial bundle | [`Partial`] | `arrivals/<crossing>/partial` | nothing: it may be lost at the cost of resending | it is whole |
//! | whole bundle | [`Entry`] | `arrivals/<crossing>/complete` | its sync and rename | it is recorded as delivered or relayed and its receipts and evidence are durable; as arrived, where it has to wait (and then stands in `checked`); as refused (`quarantine`) or a duplicate |
//! | bundle in custody | [`Entry`] | `arrivals/checked` | the record `arrived`, [`State::Arrived`] | the record `relayed` or `delivered`, and what that promises is durable |
//! | delivery | [`Outlet`] | `outlet/<route>/.staging/<parcel>.item`, a mark beside it | the record `delivering`, [`State::Delivering`]; before it, it is plaintext that is wiped | its rename into the outlet; then the record `delivered`, and the mark goes |
//!
//! The rules behind it:
//!
//! - **Only [`Disk`] changes the disk**, and a rename is durable only when both directories are synced. A failed sync is
//!   never tried again on the same file.
//! - **The ledger is the journal.** A record is durable when [`Spool::record`] returns; [`State`] is what the records
//!   say, and no file's presence says more than that something is still to be done.
//! - **Every step may be done twice.** A receipt or a piece of evidence made twice is one; a bundle sent twice is dropped
//!   by its parcel's id; a number is never used twice, because it was reserved before and what is not used is withdrawn.
//! - **What a power cut brings back is known**: files and marks whose removal was not synced. An entry is then sent once
//!   more, a claim finished once more, and a delivered name may stand in the outlet once more, which the consumer
//!   contract says.
//! - **What cannot be read is not gone.** A bad sector costs what stands in it: whatever lies beside it is read and used.
//!   No file is removed in which something could not be read, unless the ledger says that nothing it promised is missing;
//!   and the node starts, and says so.
//! - **A start syncs before it builds.** What stands in a folder that a dead process renamed into counts when that folder
//!   is synced. Where a route's folder is a share that is away, the route waits for that, and the node does not.
//! - **Groups share syncs, never promises.** All of a group is durable in one form before any of it takes the next.
//!
//! Without the feature `owner` only the layout, the desk and the reading of ledger segments are left: what `ferry`
//! and a person's tools need.
#![cfg_attr(test, allow(clippy::cast_possible_truncation, reason = "numbers in tests are small by construction"))]

pub mod desk;
pub mod device;
pub mod disk;
pub mod extract;
pub mod layout;
pub mod memory;
pub mod power;
pub mod segment;

pub use desk::{Answer, DeskError, ask, ask_own};
pub use disk::{Disk, Free, Fuse, SyncClass, Wanted};
pub use layout::Layout;
pub use power::{Fault, Power, Weather};

#[cfg(feature = "owner")]
mod acts;
#[cfg(feature = "owner")]
mod arrivals;
#[cfg(feature = "owner")]
mod bell;
#[cfg(feature = "owner")]
mod brought;
#[cfg(feature = "owner")]
mod carried;
#[cfg(feature = "owner")]
mod changes;
#[cfg(feature = "owner")]
mod entry;
#[cfg(feature = "owner")]
mod evidence;
#[cfg(feature = "owner")]
mod gaps;
#[cfg(feature = "owner")]
mod hints;
#[cfg(feature = "owner")]
mod index;
#[cfg(feature = "owner")]
mod index_file;
#[cfg(feature = "owner")]
mod inlet;
#[cfg(feature = "owner")]
mod ledger;
#[cfg(feature = "owner")]
mod levels;
#[cfg(feature = "owner")]
mod litter;
#[cfg(feature = "owner")]
mod neighbours;
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
mod row;
#[cfg(feature = "owner")]
mod scrub;
#[cfg(feature = "owner")]
mod settle;
#[cfg(feature = "owner")]
mod snapshot;
#[cfg(feature = "owner")]
mod spool;
#[cfg(feature = "owner")]
mod state;
#[cfg(feature = "owner")]
mod version;
#[cfg(feature = "owner")]
mod whole;

#[cfg(feature = "owner")]
pub use crate::{
    acts::{Act, ActAt, ActFilter, TripOnRecord, TripStage, Way},
    arrivals::{Arrivals, Begin, Incoming, Partial},
    bell::Bell,
    carried::{Carried, Holding},
    entry::{Content, Entry, EntryKind},
    evidence::Kept,
    gaps::Seen,
    hints::remote_file_system,
    index::Filter,
    inlet::{Candidate, Claim, Inlet, InletLook, IntakeMode},
    ledger::{Sizes, suite_of_ledger},
    litter::is_litter,
    neighbours::StatedTo,
    notice::{Notice, NoticeState, Wait},
    outbox::{Linked, OUTBOX_LIST_MAX, Outbox, SMALL_BYTES_MAX, Small},
    outlet::{Outlet, Standing},
    scrub::{Progress, UNREAD_MS},
    snapshot::{Item, Snapshot},
    spool::{DESK_TRIPS_MODE, Floor, Restored, RouteDirs, START_DOUBT_MS, Scrub, Setup, Spool, SpoolError, create},
    state::{Came, ParcelState, Sent, State},
    version::STATE_VERSION,
};

#[cfg(all(test, feature = "owner"))]
mod ledger_tests;
#[cfg(all(test, feature = "owner"))]
mod tests;
