//! Where private keys are while a program runs: in memory that is neither dumped, nor read by a debugger, nor written to
//! swap. Asked for once, at the start of a program and before it reads a key.
//!
//! All memory is locked and not only the pages of keys: a key is copied wherever it signs, opens or is read from its file,
//! and so is what it protects. Pages are locked as they are first touched, so nothing is made resident that is not used.

use std::fmt;
use std::io;

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{DumpableBehavior, Resource, Rlimit};

/// What holds, as the kernel says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guarded {
    /// A crash leaves no core file.
    pub no_core: bool,
    /// Nobody of the same account may attach a debugger or read the memory; a core is not written to a program either.
    pub not_dumpable: bool,
    /// Nothing of it is written to swap.
    pub locked: bool,
}

impl Guarded {
    /// Is there nothing missing?
    #[must_use]
    pub fn holds(self) -> bool {
        self.no_core && self.not_dumpable && self.locked
    }
}

/// Asks for all of it, and may be asked again. What the machine refuses is not fatal: whoever runs the program is told by [`Guarded`].
#[must_use]
pub fn guard() -> Guarded {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let no_core = rustix::process::setrlimit(Resource::Core, none).is_ok();
    let not_dumpable = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).is_ok();
    Guarded { no_core, not_dumpable, locked: lock().is_ok() }
}

/// Only where the limit is away: with any limit the memory of tomorrow would be counted against it, and a program that
/// reached it would be refused memory in the middle of its work.
fn lock() -> io::Result<()> {
    let limit = rustix::process::getrlimit(Resource::Memlock);
    if limit.maximum.is_some() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    rustix::process::setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None })?;
    Ok(mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT)?)
}

impl fmt::Display for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |is: bool| if is { "on" } else { "MISSING" };
        let locked = if self.locked { "on" } else { "MISSING (RLIMIT_MEMLOCK is not unlimited)" };
        let (core, dumpable) = (word(self.no_core), word(self.not_dumpable));
        write!(f, "no core dumps {core}, closed to debuggers {dumpable}, locked in memory {locked}")
    }
}
