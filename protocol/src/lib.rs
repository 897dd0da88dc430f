//! Every byte that leaves a machine, and both ends' state machines. Holds no file, socket, clock or rule:
//! time, randomness and bytes arrive as arguments. `FORMAT.md` beside this crate says the same in prose.
#![cfg_attr(test, allow(clippy::cast_possible_truncation, reason = "numbers in tests are small by construction"))]

// One bundle: head, payload, foot; and what is kept of it.
pub mod bundle;
pub mod envelope;
pub mod evidence;
pub mod parcel;

// What nodes and people sign about it.
pub mod endorsement;
pub mod parity;
pub mod receipt;
pub mod request;
pub mod volume;
pub mod waybill;
pub mod witness;

// What a node keeps for the day its disk is gone.
pub mod backup;

// Keys, signatures, encryption.
pub mod aead;
mod aside;
pub mod keys;
pub mod rollover;
pub mod signed;
pub mod signer;
pub mod suite;
pub mod tree;
pub mod trust;
pub mod trust_list;

// Words.
pub mod der_types;
pub mod id;
pub mod ledger;
pub mod name;
pub mod time;
pub mod verdict;
pub mod zone;

pub use id::{BundleId, ParcelId};
pub use name::{BadName, Name};
pub use signed::{Signed, Statement};
pub use suite::{Digest, Suite};
pub use time::Timestamp;
pub use trust::Trust;
pub use verdict::{Reason, Verdict};
pub use zone::{Crossing, Zone};
pub mod exchange;
pub mod oneway;
