//! The three networks and the borders between them. A rule hangs on a [`Crossing`], never on a pair of strings.
//!
//! The order of the zones is the order of trust: nothing found out about the ground may move down it.

use std::fmt;
use std::str::FromStr;

use crate::der_types::impl_der_code;

/// One of the three networks of a registration office.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Zone {
    /// 互联网区: where citizens apply.
    Internet = 1,
    /// 电子政务外网区: where cases are worked on.
    Extranet = 2,
    /// 业务内网区: where survey coordinates live, and stay.
    Intranet = 3,
}

impl Zone {
    /// All zones, lowest trust first.
    pub const ALL: [Zone; 3] = [Zone::Internet, Zone::Extranet, Zone::Intranet];

    /// The code word used in config, file names and key cards.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Zone::Internet => "internet",
            Zone::Extranet => "extranet",
            Zone::Intranet => "intranet",
        }
    }

    /// May survey coordinates rest here? Only in the internal zone.
    #[must_use]
    pub const fn may_hold_coordinates(self) -> bool {
        matches!(self, Zone::Intranet)
    }
}

/// One hop over one border in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Crossing {
    /// Through the two-way gateway, inward.
    InternetToExtranet = 1,
    /// Through the two-way gateway, outward.
    ExtranetToInternet = 2,
    /// Through the one-way light gate.
    ExtranetToIntranet = 3,
    /// On a medium a person carries.
    IntranetToExtranet = 4,
    /// Between offices, over the gateway.
    ExtranetToExtranet = 5,
}

impl Crossing {
    /// All crossings, in the order of their codes.
    pub const ALL: [Crossing; 5] = [
        Crossing::InternetToExtranet,
        Crossing::ExtranetToInternet,
        Crossing::ExtranetToIntranet,
        Crossing::IntranetToExtranet,
        Crossing::ExtranetToExtranet,
    ];

    /// The zone it starts in.
    #[must_use]
    pub const fn source(self) -> Zone {
        match self {
            Crossing::InternetToExtranet => Zone::Internet,
            Crossing::ExtranetToInternet | Crossing::ExtranetToIntranet | Crossing::ExtranetToExtranet => {
                Zone::Extranet
            }
            Crossing::IntranetToExtranet => Zone::Intranet,
        }
    }

    /// The zone it ends in.
    #[must_use]
    pub const fn target(self) -> Zone {
        match self {
            Crossing::ExtranetToInternet => Zone::Internet,
            Crossing::InternetToExtranet | Crossing::IntranetToExtranet | Crossing::ExtranetToExtranet => {
                Zone::Extranet
            }
            Crossing::ExtranetToIntranet => Zone::Intranet,
        }
    }

    /// The crossing from one zone to another, where the network has one.
    #[must_use]
    pub fn between(source: Zone, target: Zone) -> Option<Crossing> {
        Crossing::ALL.into_iter().find(|c| c.source() == source && c.target() == target)
    }

    /// The crossing that leads back over the same border.
    #[must_use]
    pub const fn back(self) -> Crossing {
        match self {
            Crossing::InternetToExtranet => Crossing::ExtranetToInternet,
            Crossing::ExtranetToInternet => Crossing::InternetToExtranet,
            Crossing::ExtranetToIntranet => Crossing::IntranetToExtranet,
            Crossing::IntranetToExtranet => Crossing::ExtranetToIntranet,
            Crossing::ExtranetToExtranet => Crossing::ExtranetToExtranet,
        }
    }

    /// Does content land where survey coordinates must not rest?
    #[must_use]
    pub const fn lands_outside(self) -> bool {
        !self.target().may_hold_coordinates()
    }

    /// The code word used in config and file names: `extranet-intranet`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Crossing::InternetToExtranet => "internet-extranet",
            Crossing::ExtranetToInternet => "extranet-internet",
            Crossing::ExtranetToIntranet => "extranet-intranet",
            Crossing::IntranetToExtranet => "intranet-extranet",
            Crossing::ExtranetToExtranet => "extranet-extranet",
        }
    }
}

/// A word that names no zone or crossing.
#[derive(Debug, thiserror::Error)]
#[error("\"{word}\" names no {what}; one of {expected} is meant")]
pub struct UnknownWord {
    word: String,
    what: &'static str,
    expected: &'static str,
}

impl FromStr for Zone {
    type Err = UnknownWord;
    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        Zone::ALL.into_iter().find(|z| z.name() == word).ok_or_else(|| UnknownWord {
            word: word.chars().take(40).collect(),
            what: "zone",
            expected: "internet, extranet, intranet",
        })
    }
}

impl FromStr for Crossing {
    type Err = UnknownWord;
    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        Crossing::ALL.into_iter().find(|c| c.name() == word).ok_or_else(|| UnknownWord {
            word: word.chars().take(40).collect(),
            what: "crossing",
            expected: "internet-extranet, extranet-internet, extranet-intranet, intranet-extranet, extranet-extranet",
        })
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Crossing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl_der_code!(Zone, Zone::ALL);
impl_der_code!(Crossing, Crossing::ALL);
