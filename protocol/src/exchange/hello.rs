//! The first frame each way: who speaks, from which zone, over which crossings. TLS has proven the key by then; the
//! hello catches the honest mistake of a config that pairs the wrong nodes.

use super::EXCHANGE_VERSION;
use crate::name::Name;
use crate::zone::{Crossing, Zone};

/// What a node says of itself when a connection stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// [`EXCHANGE_VERSION`].
    pub version: u16,
    /// Where it works.
    pub zone: Zone,
    /// The crossing it sends.
    pub out: Crossing,
    /// The crossing it receives.
    pub back: Crossing,
    /// How many entries it takes at once; the other end sends the smaller of this and its own bound.
    pub in_flight: u16,
    /// A number drawn when the process started: tells a restarted peer from one that dialled twice.
    pub process: u64,
    /// Its name.
    pub node: Name,
}

/// Why two nodes do not belong together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HelloMismatch {
    /// Another version of the exchange.
    #[error("the peer speaks exchange version {theirs}, this node {ours}: upgrade the older one")]
    Version {
        /// Theirs.
        theirs: u16,
        /// Ours.
        ours: u16,
    },
    /// The key belongs to one name and the hello gives another.
    #[error(
        "the peer's link key is on the card of {pinned}, but it calls itself {theirs}: the card or its config is wrong"
    )]
    Node {
        /// Whose key it is.
        pinned: Name,
        /// What it says.
        theirs: Name,
    },
    /// Another zone than its card says.
    #[error("node {node} says it works in {theirs}, its key card says {carded}")]
    Zone {
        /// Who.
        node: Name,
        /// What it says.
        theirs: Zone,
        /// What the card says.
        carded: Zone,
    },
    /// Its crossings are not ours turned round.
    #[error("node {node} sends {out} and receives {back}; this node receives {expected_out} and sends {expected_back}")]
    Crossings {
        /// Who.
        node: Name,
        /// What it sends.
        out: Crossing,
        /// What it receives.
        back: Crossing,
        /// What we receive.
        expected_out: Crossing,
        /// What we send.
        expected_back: Crossing,
    },
    /// A peer that takes nothing at all, or absurdly much.
    #[error("node {node} allows {in_flight} entries in flight; 1 to {} make sense", super::IN_FLIGHT_MAX)]
    InFlight {
        /// Who.
        node: Name,
        /// How many.
        in_flight: u16,
    },
}

impl Hello {
    /// Does the other end's hello fit this one? `pinned` and `carded` are what the key card of its TLS key says.
    pub fn accepts(&self, theirs: &Hello, pinned: &Name, carded: Zone) -> Result<(), HelloMismatch> {
        let node = theirs.node.clone();
        if theirs.version != EXCHANGE_VERSION {
            return Err(HelloMismatch::Version { theirs: theirs.version, ours: self.version });
        }
        if node != *pinned {
            return Err(HelloMismatch::Node { pinned: pinned.clone(), theirs: node });
        }
        if theirs.zone != carded {
            return Err(HelloMismatch::Zone { node, theirs: theirs.zone, carded });
        }
        if (theirs.out, theirs.back) != (self.back, self.out) {
            return Err(HelloMismatch::Crossings {
                node,
                out: theirs.out,
                back: theirs.back,
                expected_out: self.back,
                expected_back: self.out,
            });
        }
        if !(1..=super::IN_FLIGHT_MAX).contains(&theirs.in_flight) {
            return Err(HelloMismatch::InFlight { node, in_flight: theirs.in_flight });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(zone: Zone, out: Crossing) -> Hello {
        let node = Name::new(zone.name()).unwrap();
        Hello { version: EXCHANGE_VERSION, zone, out, back: out.back(), in_flight: 8, process: 1, node }
    }

    #[test]
    fn two_ends_of_one_border_accept_each_other_and_nothing_else() {
        let ours = hello(Zone::Extranet, Crossing::ExtranetToInternet);
        let good = hello(Zone::Internet, Crossing::InternetToExtranet);
        let name = Name::new("internet").unwrap();
        let verdict = |theirs: &Hello| ours.accepts(theirs, &name, Zone::Internet);
        assert_eq!(verdict(&good), Ok(()));
        let other = Name::new("county").unwrap();
        assert!(matches!(verdict(&Hello { node: other, ..good.clone() }), Err(HelloMismatch::Node { .. })));
        assert!(matches!(verdict(&Hello { version: 2, ..good.clone() }), Err(HelloMismatch::Version { .. })));
        assert!(matches!(verdict(&Hello { zone: Zone::Intranet, ..good.clone() }), Err(HelloMismatch::Zone { .. })));
        assert!(matches!(verdict(&Hello { in_flight: 0, ..good.clone() }), Err(HelloMismatch::InFlight { .. })));
        let turned = Hello { out: good.back, back: good.out, ..good };
        assert!(matches!(verdict(&turned), Err(HelloMismatch::Crossings { .. })));
    }

    #[test]
    fn offices_of_one_zone_share_a_crossing_both_ways() {
        let ours = hello(Zone::Extranet, Crossing::ExtranetToExtranet);
        assert_eq!(ours.accepts(&ours.clone(), &ours.node, Zone::Extranet), Ok(()));
    }
}
