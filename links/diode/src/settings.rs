//! What the office sets for a one-way link, each with its unit, its default and what happens at the ends. The two
//! ends cannot negotiate, so no setting has to agree across the gate: shapes travel in every frame.

use std::net::SocketAddr;
use std::time::Duration;

use protocol::oneway::block;
use protocol::oneway::geometry::{self, BLOCK_BYTES_MAX, MTU_MAX, MTU_MIN};
use protocol::oneway::receiver::Limits;
use protocol::oneway::sender::Tuning;
use serde::Deserialize;

use crate::socket::Offload;

/// `[link.sender]` of a crossing whose carrier is `diode`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SenderSettings {
    /// Address and port of the receiver behind the gate. A true one-way wire needs a static neighbour entry for it.
    pub target: SocketAddr,
    /// Own address to send from; default: chosen by the kernel.
    #[serde(default)]
    pub bind: Option<SocketAddr>,
    /// Bytes of the largest IP packet the gate passes, 1,200 to 9,000; default 1,500. Datagrams are never fragmented:
    /// too large a value loses everything, too small a one wastes up to 5 %.
    #[serde(default = "defaults::mtu")]
    pub mtu: u16,
    /// Mbit/s on the wire, 1 to 100,000; default 500. Set it below what gate and receiver bear: nothing tells the
    /// sender that it is too fast.
    #[serde(default = "defaults::rate_mbit")]
    pub rate_mbit: u32,
    /// Recovery symbols that exist for a block, in percent, 1 to 100; default 15. The share of a block that may be
    /// lost over all rounds before source symbols have to come again.
    #[serde(default = "defaults::repair_percent")]
    pub repair_percent: u16,
    /// Of these, how many go with the first round, in percent of the block, 1 to `repair_percent`; default 5.
    #[serde(default = "defaults::repair_first_percent")]
    pub repair_first_percent: u16,
    /// Rounds after which an entry without a receipt is shown as sent and unconfirmed, 1 to 100; default 3. Rounds go
    /// on after that, ever more seldom, until the entry leaves the outbox.
    #[serde(default = "defaults::rounds")]
    pub rounds: u32,
    /// Seconds between the first round and the second, 1 to 86,400; default 30. Doubles with every further round.
    #[serde(default = "defaults::round_every_s")]
    pub round_every_s: u64,
    /// Seconds between rounds at most, `round_every_s` to 604,800; default 3,600.
    #[serde(default = "defaults::round_every_max_s")]
    pub round_every_max_s: u64,
    /// Hour of the office's day, 0 to 23, at which all that still waits for a receipt gets a round at once; default 22.
    /// Not while the clock is in doubt: then rounds go by `round_every_s` alone.
    #[serde(default = "defaults::night_from_h")]
    pub night_from_h: u8,
    /// KiB of a block, 64 to 4,096; default 2,048. Larger blocks bear longer bursts; a lost one costs more.
    #[serde(default = "defaults::block_kib")]
    pub block_kib: u32,
    /// Blocks in the air at once, 1 to 32; default 8. More spread a burst wider and take a block of memory each.
    #[serde(default = "defaults::interleave")]
    pub interleave: u32,
    /// Not in the file: for figures and tests.
    #[serde(skip)]
    pub offload: Offload,
}

/// `[link.receiver]` of a crossing whose carrier is `diode`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiverSettings {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// Mbit/s that the sender is set to; default 500. Only used to say whether the socket buffer is large enough.
    #[serde(default = "defaults::rate_mbit")]
    pub rate_mbit: u32,
    /// MiB of socket buffer asked for, 1 to 1,024; default 32. The kernel may give less (`net.core.rmem_max`).
    #[serde(default = "defaults::socket_mib")]
    pub socket_mib: u32,
    /// MiB of symbols held in memory, 16 to 4,096; default 96. What is over goes to disk.
    #[serde(default = "defaults::memory_mib")]
    pub memory_mib: u32,
    /// MiB of symbols kept on disk between rounds, 0 to 1,048,576; default 4,096. What is over is forgotten and stands
    /// in the gap report.
    #[serde(default = "defaults::disk_mib")]
    pub disk_mib: u64,
    /// Seconds without a beacon until the link counts as silent, 2 to 3,600; default 10.
    #[serde(default = "defaults::silence_s")]
    pub silence_s: u64,
    /// Not in the file: for figures and tests.
    #[serde(skip)]
    pub offload: Offload,
}

mod defaults {
    pub(super) fn mtu() -> u16 {
        1_500
    }
    pub(super) fn rate_mbit() -> u32 {
        500
    }
    pub(super) fn repair_percent() -> u16 {
        15
    }
    pub(super) fn repair_first_percent() -> u16 {
        5
    }
    pub(super) fn rounds() -> u32 {
        3
    }
    pub(super) fn round_every_s() -> u64 {
        30
    }
    pub(super) fn round_every_max_s() -> u64 {
        3_600
    }
    pub(super) fn night_from_h() -> u8 {
        22
    }
    pub(super) fn block_kib() -> u32 {
        2_048
    }
    pub(super) fn interleave() -> u32 {
        8
    }
    pub(super) fn socket_mib() -> u32 {
        32
    }
    pub(super) fn memory_mib() -> u32 {
        96
    }
    pub(super) fn disk_mib() -> u64 {
        4_096
    }
    pub(super) fn silence_s() -> u64 {
        10
    }
}

/// A setting outside its ends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting} = {value} is not between {from} and {to}")]
pub struct BadSettings {
    /// Which.
    pub setting: &'static str,
    /// What it is.
    pub value: u64,
    /// The least it may be.
    pub from: u64,
    /// The most it may be.
    pub to: u64,
}

fn within(setting: &'static str, value: impl Into<u64>, from: u64, to: u64) -> Result<(), BadSettings> {
    let value = value.into();
    if (from..=to).contains(&value) { Ok(()) } else { Err(BadSettings { setting, value, from, to }) }
}

impl SenderSettings {
    /// All defaults.
    #[must_use]
    pub fn to(target: SocketAddr) -> SenderSettings {
        SenderSettings {
            target,
            bind: None,
            mtu: defaults::mtu(),
            rate_mbit: defaults::rate_mbit(),
            repair_percent: defaults::repair_percent(),
            repair_first_percent: defaults::repair_first_percent(),
            rounds: defaults::rounds(),
            round_every_s: defaults::round_every_s(),
            round_every_max_s: defaults::round_every_max_s(),
            night_from_h: defaults::night_from_h(),
            block_kib: defaults::block_kib(),
            interleave: defaults::interleave(),
            offload: Offload::default(),
        }
    }

    /// The first setting outside its ends.
    pub fn check(&self) -> Result<(), BadSettings> {
        within("mtu", self.mtu, MTU_MIN.into(), MTU_MAX.into())?;
        within("rate_mbit", self.rate_mbit, 1, 100_000)?;
        within("repair_percent", self.repair_percent, 1, 100)?;
        within("repair_first_percent", self.repair_first_percent, 1, self.repair_percent.into())?;
        within("rounds", self.rounds, 1, 100)?;
        within("round_every_s", self.round_every_s, 1, 86_400)?;
        within("round_every_max_s", self.round_every_max_s, self.round_every_s, 604_800)?;
        within("night_from_h", self.night_from_h, 0, 23)?;
        within("block_kib", self.block_kib, 64, u64::from(BLOCK_BYTES_MAX) >> 10)?;
        within("interleave", self.interleave, 1, 32)
    }

    /// Bytes a second.
    #[must_use]
    pub fn bytes_per_s(&self) -> u64 {
        u64::from(self.rate_mbit) * 125_000
    }

    pub(crate) fn tuning(&self) -> Tuning {
        Tuning {
            block_bytes: block::in_whole_leaves(self.block_kib << 10),
            symbol_bytes: geometry::symbol_bytes_for(self.mtu, self.target.is_ipv6()),
            repair_percent: self.repair_percent,
            repair_first_percent: self.repair_first_percent,
            interleave: usize::try_from(self.interleave).unwrap_or(1),
            round_every: Duration::from_secs(self.round_every_s),
            round_every_max: Duration::from_secs(self.round_every_max_s),
        }
    }
}

impl ReceiverSettings {
    /// All defaults.
    #[must_use]
    pub fn on(listen: SocketAddr) -> ReceiverSettings {
        ReceiverSettings {
            listen,
            rate_mbit: defaults::rate_mbit(),
            socket_mib: defaults::socket_mib(),
            memory_mib: defaults::memory_mib(),
            disk_mib: defaults::disk_mib(),
            silence_s: defaults::silence_s(),
            offload: Offload::default(),
        }
    }

    /// The first setting outside its ends.
    pub fn check(&self) -> Result<(), BadSettings> {
        within("rate_mbit", self.rate_mbit, 1, 100_000)?;
        within("socket_mib", self.socket_mib, 1, 1_024)?;
        within("memory_mib", self.memory_mib, 16, 4_096)?;
        within("disk_mib", self.disk_mib, 0, 1 << 20)?;
        within("silence_s", self.silence_s, 2, 3_600)
    }

    /// What a buffer has to hold so that the receiver may pause for 100 ms.
    #[must_use]
    pub fn buffer_bytes_wanted(&self) -> usize {
        usize::try_from(u64::from(self.rate_mbit) * 12_500).unwrap_or(usize::MAX)
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits {
            memory_bytes: usize::try_from(u64::from(self.memory_mib) << 20).unwrap_or(usize::MAX),
            disk_bytes: self.disk_mib << 20,
            blocks: BLOCKS_MAX,
            silence_after: Duration::from_secs(self.silence_s),
        }
    }
}

/// Open blocks known at once: at 2 MiB each 16 GiB under way, and a kilobyte of memory for each that lies on disk.
const BLOCKS_MAX: usize = 8_192;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_within_their_ends_and_what_is_not_is_named() {
        let address: SocketAddr = "[::1]:7000".parse().expect("an address");
        let mut settings = SenderSettings::to(address);
        assert_eq!(settings.check(), Ok(()));
        assert_eq!(ReceiverSettings::on(address).check(), Ok(()));
        settings.repair_first_percent = 16;
        let bad = settings.check().expect_err("the first round sends more than there is");
        assert_eq!(bad.to_string(), "repair_first_percent = 16 is not between 1 and 15");
    }
}
