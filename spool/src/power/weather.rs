//! What a disk refuses for a while, without anybody dying.

use std::io;

use rustix::io::Errno;

use super::Noise;
use crate::disk::Effect;

/// How a disk fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No blocks or no inodes left: making, moving and writing fail, a write possibly half way (ENOSPC).
    Full,
    /// The same for this account only (EDQUOT).
    Quota,
    /// Anything may fail, reading too (EIO); only a name can still be removed. On a disk that refuses that as well, no
    /// later sync succeeds before the file system is mounted anew.
    Broken,
    /// Only syncs fail (EIO): everything looks well until then.
    Unsynced,
    /// Only reading fails (EIO).
    Unreadable,
    /// The file system was remounted read-only after an error (EROFS).
    ReadOnly,
    /// Only a second name is refused, with this error: another mount (EXDEV), a file system that knows none or a file of
    /// somebody else (EPERM), too many of one file (EMLINK), a damaged file (EIO).
    NoLinks(i32),
    /// Only a mode cannot be set: a file of somebody else (EPERM), or one that has just gone (ENOENT).
    NoModes(i32),
}

impl Fault {
    /// Every way in which a disk that was well fails.
    pub const ALL: [Fault; 6] =
        [Fault::Full, Fault::Quota, Fault::Broken, Fault::Unsynced, Fault::Unreadable, Fault::ReadOnly];

    fn hits(self, effect: Effect) -> bool {
        match self {
            Fault::Full | Fault::Quota => {
                matches!(effect, Effect::Make | Effect::Link | Effect::Write | Effect::Rename)
            }
            Fault::Broken => effect != Effect::Remove,
            Fault::Unsynced => effect == Effect::Sync,
            Fault::Unreadable => effect == Effect::Read,
            Fault::ReadOnly => !matches!(effect, Effect::Read | Effect::Sync),
            Fault::NoLinks(_) => effect == Effect::Link,
            Fault::NoModes(_) => effect == Effect::Mode,
        }
    }

    fn error(self) -> io::Error {
        let errno = match self {
            Fault::Full => Errno::NOSPC,
            Fault::Quota => Errno::DQUOT,
            Fault::Broken | Fault::Unsynced | Fault::Unreadable => Errno::IO,
            Fault::ReadOnly => Errno::ROFS,
            Fault::NoLinks(errno) | Fault::NoModes(errno) => Errno::from_raw_os_error(errno),
        };
        errno.into()
    }
}

/// A span in which effects fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weather {
    /// How.
    pub fault: Fault,
    /// Of the effects that this hits one in so many fails; 1 is all of them.
    pub one_in: u64,
}

impl Weather {
    pub(super) fn refuses(&self, effect: Effect, noise: &mut Noise) -> Option<io::Error> {
        (self.fault.hits(effect) && noise.once_in(self.one_in)).then(|| self.fault.error())
    }
}
