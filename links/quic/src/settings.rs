//! What an office may choose about its gateway links. Unknown keys are refused; every default works on a LAN.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use protocol::Name;
use protocol::exchange::IN_FLIGHT_MAX;
use serde::Deserialize;

use crate::prefix::Prefix;

/// The largest reconnect wait that makes sense: an hour without trying looks like a broken node.
const RECONNECT_S_MAX: u64 = 3600;
/// Longer than any reason to keep a dead connection.
const IDLE_S_MAX: u64 = 600;
/// A day of silence about a bundle that the peer says it has.
const REOFFER_S_MAX: u64 = 86_400;

/// The gateway links of one node.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where this node listens (UDP address and port). Default: it does not listen and only dials. Port 0 takes a
    /// free one, which [`crate::LinkStatus::listening`] shows.
    #[serde(default)]
    pub listen: Option<SocketAddr>,
    /// The nodes at the other ends. Default: none, and then the link does nothing.
    #[serde(default)]
    pub peers: Vec<PeerSettings>,
    /// Seconds without a packet after which a connection is dead. Default 30. 1 drops connections on a busy
    /// machine; 600, the most, leaves a dead peer unnoticed for ten minutes.
    #[serde(default = "idle_s")]
    pub idle_s: u64,
    /// Seconds of quiet after which a packet is sent to keep the connection. Default 10; must be below `idle_s`.
    #[serde(default = "keepalive_s")]
    pub keepalive_s: u64,
    /// The longest wait in seconds between two attempts to dial. Default 60. Waits start at 0.2 s and double, with
    /// jitter. 1 dials a dead peer every second; 3600 is the most.
    #[serde(default = "reconnect_s_max")]
    pub reconnect_s_max: u64,
    /// Seconds for which a bundle the peer has is not offered again on one connection while it waits for its receipt.
    /// Default 60. 1 costs a round trip a bundle and second; 86,400 is the most.
    #[serde(default = "reoffer_s")]
    pub reoffer_s: u64,
}

/// One node at the other end.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerSettings {
    /// Its name, as on its key card with `Use: link`. The card also says its zone, and so the crossings.
    pub name: Name,
    /// Where to dial it (UDP address and port). Default: wait until it dials. Both ends may dial; one connection is kept.
    #[serde(default)]
    pub dial: Option<SocketAddr>,
    /// Addresses and ranges it may come from when it dials. Default: any; the pinned key decides in every case.
    #[serde(default)]
    pub allowed: Vec<Prefix>,
    /// Entries under way at once in each direction; urgent ones are counted apart and have as many places again.
    /// Default 8. 1 sends one after another; 256 is the most. The smaller value of both ends holds. Each place may
    /// take 2 MiB of memory at the receiver.
    #[serde(default = "in_flight")]
    pub in_flight: u16,
    /// The largest entry taken from this peer, in bytes. Default 64 GiB. Larger ones are deferred and alarmed.
    #[serde(default = "entry_bytes_max")]
    pub entry_bytes_max: u64,
    /// The sum of sizes of entries this peer has begun and not finished, in bytes. Default 128 GiB; must be at least
    /// `entry_bytes_max`. More is deferred and alarmed.
    #[serde(default = "partial_bytes_max")]
    pub partial_bytes_max: u64,
    /// How fast to send to this peer, in megabits a second. Default: as fast as the line takes. Urgent entries do not
    /// wait for it, but are counted. 1 is the least.
    #[serde(default)]
    pub rate_mbit: Option<u32>,
}

const fn idle_s() -> u64 {
    30
}
const fn keepalive_s() -> u64 {
    10
}
const fn reconnect_s_max() -> u64 {
    60
}
const fn reoffer_s() -> u64 {
    60
}
const fn in_flight() -> u16 {
    8
}
const fn entry_bytes_max() -> u64 {
    64 << 30
}
const fn partial_bytes_max() -> u64 {
    128 << 30
}

/// A value that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSetting {
    /// Outside its bounds.
    #[error("{key} is {value}; {least} to {most} is meant")]
    OutOfBounds {
        /// Which.
        key: &'static str,
        /// Its value.
        value: u64,
        /// The least.
        least: u64,
        /// The most.
        most: u64,
    },
    /// One peer named twice.
    #[error("peer {name} is listed twice")]
    PeerTwice {
        /// Which.
        name: Name,
    },
    /// Neither end would ever dial.
    #[error("peer {name} is not dialled and this node does not listen: set dial or listen")]
    Unreachable {
        /// Which.
        name: Name,
    },
}

impl Settings {
    /// Looks for values that cannot work. `run` does it too.
    pub fn check(&self) -> Result<(), BadSetting> {
        within("idle_s", self.idle_s, 1, IDLE_S_MAX)?;
        within("keepalive_s", self.keepalive_s, 1, self.idle_s.saturating_sub(1).max(1))?;
        within("reconnect_s_max", self.reconnect_s_max, 1, RECONNECT_S_MAX)?;
        within("reoffer_s", self.reoffer_s, 1, REOFFER_S_MAX)?;
        let mut names = BTreeSet::new();
        for peer in &self.peers {
            if !names.insert(&peer.name) {
                return Err(BadSetting::PeerTwice { name: peer.name.clone() });
            }
            if peer.dial.is_none() && self.listen.is_none() {
                return Err(BadSetting::Unreachable { name: peer.name.clone() });
            }
            within("in_flight", peer.in_flight.into(), 1, IN_FLIGHT_MAX.into())?;
            within("entry_bytes_max", peer.entry_bytes_max, 1, u64::MAX)?;
            within("partial_bytes_max", peer.partial_bytes_max, peer.entry_bytes_max, u64::MAX)?;
            within("rate_mbit", peer.rate_mbit.unwrap_or(1).into(), 1, u32::MAX.into())?;
        }
        Ok(())
    }

    pub(crate) fn reconnect_max(&self) -> Duration {
        Duration::from_secs(self.reconnect_s_max)
    }
}

fn within(key: &'static str, value: u64, least: u64, most: u64) -> Result<(), BadSetting> {
    if (least..=most).contains(&value) { Ok(()) } else { Err(BadSetting::OutOfBounds { key, value, least, most }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_needs_a_name_and_a_way_and_has_defaults_for_the_rest() {
        let settings: Settings = toml::from_str("[[peers]]\nname = 'extranet'\ndial = '10.0.0.2:7001'").unwrap();
        assert_eq!(settings.check(), Ok(()));
        let peer = settings.peers.first().unwrap();
        assert_eq!((peer.in_flight, peer.entry_bytes_max, settings.idle_s), (8, 64 << 30, 30));
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let check = |text: &str| toml::from_str::<Settings>(text).map(|settings| settings.check());
        assert!(check("listn = '0.0.0.0:1'").is_err());
        assert!(check("listen = '0.0.0.0:1'\n[[peers]]\nname = 'a'\nallowed = ['10.0.0.0/40']").is_err());
        for text in [
            "[[peers]]\nname = 'a'",
            "idle_s = 0",
            "keepalive_s = 30",
            "listen = '0.0.0.0:1'\n[[peers]]\nname = 'a'\n[[peers]]\nname = 'a'",
            "listen = '0.0.0.0:1'\n[[peers]]\nname = 'a'\nin_flight = 300",
            "listen = '0.0.0.0:1'\n[[peers]]\nname = 'a'\npartial_bytes_max = 5",
            "listen = '0.0.0.0:1'\n[[peers]]\nname = 'a'\nrate_mbit = 0",
        ] {
            assert!(check(text).unwrap().is_err(), "{text}");
        }
    }
}
