//! Every byte that leaves a machine, and both ends' state machines. Holds no file, socket, clock or rule:
//! time, randomness and bytes arrive as arguments. `FORMAT.md` beside this crate says the same in prose.

pub mod der_types;
pub mod name;
pub mod suite;
pub mod tree;
pub mod verdict;
pub mod zone;

pub use name::Name;
pub use suite::{Digest, Suite};
pub use verdict::{Reason, Verdict};
pub use zone::{Crossing, Zone};
pub mod keys;
pub mod signed;
pub mod trust;
pub mod id;
pub mod parcel;
pub mod receipt;
pub mod request;
pub mod time;
pub mod waybill;

pub use id::{BundleId, ParcelId};
pub use name::BadName;
pub use signed::{Signed, Statement};
pub use time::Timestamp;
pub use trust::Trust;
pub mod aead;
