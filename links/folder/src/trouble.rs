//! What can be wrong with a gate that moves files, as far as a person has to know. A code each, which is the code of an
//! alarm; whoever runs the link brings the two together.

use crate::{IncomingStatus, OutgoingStatus};

/// One kind of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// A directory cannot be listed, written or emptied.
    Folder,
    /// The gate does not take what lies for it.
    Stalled,
    /// Larger than the gate passes.
    TooLarge,
    /// Files that lie in the directory and cannot be taken.
    Files,
    /// Beacons that nobody believes, or of an earlier start.
    Beacons,
    /// No beacon.
    Silent,
    /// Two senders with the same keys.
    TwoSenders,
}

impl Trouble {
    /// All of them.
    pub const ALL: [Trouble; 7] = [
        Trouble::Folder,
        Trouble::Stalled,
        Trouble::TooLarge,
        Trouble::Files,
        Trouble::Beacons,
        Trouble::Silent,
        Trouble::TwoSenders,
    ];

    /// The code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Trouble::Folder => "gate-folder",
            Trouble::Stalled => "gate-stalled",
            Trouble::TooLarge => "gate-too-large",
            Trouble::Files => "gate-files",
            Trouble::Beacons => "gate-beacons",
            Trouble::Silent => "link-silent",
            Trouble::TwoSenders => "link-two-senders",
        }
    }

    /// For the journal, where it begins.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Trouble::Folder => "the folder gate cannot be served; tried again with the next scan",
            Trouble::Stalled => "the gate has not taken files that have lain for it for a quarter of an hour",
            Trouble::TooLarge => {
                "entries are larger than bytes_max, the largest file the gate passes: they cannot go this way"
            }
            Trouble::Files => "files lie in the incoming directory and cannot be taken",
            Trouble::Beacons => {
                "beacons came that are not believed: forged, of an unknown key, laid down again, or of a sender whose clock and disk went back"
            }
            Trouble::Silent => "no beacon of the sender has come through the gate",
            Trouble::TwoSenders => "two senders with the same keys speak through the gate: stop one of them",
        }
    }

    /// How much of it there is; of beacons, how many since the start.
    #[must_use]
    pub fn count(self, outgoing: Option<&OutgoingStatus>, incoming: Option<&IncomingStatus>) -> u64 {
        let out = |of: fn(&OutgoingStatus) -> u64| outgoing.map_or(0, of);
        let back = |of: fn(&IncomingStatus) -> u64| incoming.map_or(0, of);
        match self {
            Trouble::Folder => out(|side| side.failing.into()) + back(|side| side.failing.into()),
            Trouble::Stalled => out(|side| side.stalled),
            Trouble::TooLarge => out(|side| side.too_large) + back(|side| side.too_large),
            Trouble::Files => back(|side| side.stuck + side.unreadable + side.foreign + side.crowded),
            Trouble::Beacons => back(|side| side.beacons_refused + side.beacons_earlier),
            Trouble::Silent => back(|side| side.silent.into()),
            Trouble::TwoSenders => back(|side| side.two_senders.into()),
        }
    }
}
