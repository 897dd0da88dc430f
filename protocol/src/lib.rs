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
