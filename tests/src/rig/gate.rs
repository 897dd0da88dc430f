//! A light gate between two network namespaces: a veth pair on which nothing comes back. Loss is a rule of nftables, an
//! outage is the far end of the pair down. Needs root, `ip` and `nft`; whoever asks is told in a word what is absent.

use std::io;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

const OUTER: &str = "10.77.0.1";
const INNER: &str = "10.77.0.2";
/// Inside a namespace of its own no port is taken.
const PORT: u16 = 7_000;

/// Two namespaces and the wire between them; gone when dropped.
pub struct Gate {
    outer: String,
    inner: String,
    /// Datagrams cross the wire one by one, as they do on a real one, and not as the batches that veth could hand over.
    single: bool,
    mtu: u16,
}

fn run(program: &str, arguments: &[&str]) -> io::Result<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::other(format!("{program} {}: {words}", arguments.join(" "))))
}

impl Gate {
    /// Makes one. `single` sends every datagram over the wire by itself; without it the kernel may hand whole batches
    /// over, which is what figures of CPU time are compared on.
    pub fn build(mtu: u16, single: bool) -> io::Result<Gate> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("tlk{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let (outer, inner) = (format!("{name}-out"), format!("{name}-in"));
        run("ip", &["netns", "add", &outer])?;
        // From here on dropping it takes away what was made.
        let gate = Gate { outer, inner, single, mtu };
        run("ip", &["netns", "add", &gate.inner])?;
        let pair = ["link", "add", "gate", "netns", &gate.outer, "type", "veth", "peer", "name", "gate", "netns"];
        run("ip", &[pair.as_slice(), &[gate.inner.as_str()]].concat())?;
        for (namespace, address) in [(&gate.outer, OUTER), (&gate.inner, INNER)] {
            run("ip", &["-n", namespace, "addr", "add", &format!("{address}/24"), "dev", "gate"])?;
            run("ip", &["-n", namespace, "link", "set", "lo", "up"])?;
        }
        gate.set_mtu(mtu)?;
        for namespace in [&gate.outer, &gate.inner] {
            run("ip", &["-n", namespace, "link", "set", "gate", "up"])?;
        }
        let segments = if single { "1" } else { "65535" };
        run("ip", &["-n", &gate.outer, "link", "set", "gate", "gso_max_segs", segments])?;
        // Nothing comes back, not even an answer to "who has this address": so the neighbour is written down.
        let about = run("ip", &["-n", &gate.inner, "-j", "link", "show", "gate"])?;
        let links: serde_json::Value = serde_json::from_str(&about)?;
        let hardware = links[0]["address"].as_str().unwrap_or_default();
        run("ip", &["-n", &gate.outer, "neigh", "add", INNER, "lladdr", hardware, "dev", "gate", "nud", "permanent"])?;
        let back = "add table netdev gate; \
                    add chain netdev gate back { type filter hook ingress device gate priority 0; policy drop; }";
        run("ip", &["netns", "exec", &gate.outer, "nft", back])?;
        let wire = "add table netdev gate; \
                    add chain netdev gate wire { type filter hook ingress device gate priority 0; policy accept; }";
        run("ip", &["netns", "exec", &gate.inner, "nft", wire])?;
        Ok(gate)
    }

    /// So many of 10,000 datagrams are lost from now on.
    pub fn lose(&self, of_10_000: u32) -> io::Result<()> {
        let rule = format!(
            "flush chain netdev gate wire; add rule netdev gate wire numgen random mod 10000 < {of_10_000} counter drop"
        );
        let rule = if of_10_000 == 0 { "flush chain netdev gate wire" } else { &rule };
        run("ip", &["netns", "exec", &self.inner, "nft", rule]).map(drop)
    }

    /// Takes the far end down or up.
    pub fn set_up(&self, up: bool) -> io::Result<()> {
        run("ip", &["-n", &self.inner, "link", "set", "gate", if up { "up" } else { "down" }]).map(drop)
    }

    /// The largest packet of the wire.
    pub fn set_mtu(&self, mtu: u16) -> io::Result<()> {
        for namespace in [&self.outer, &self.inner] {
            run("ip", &["-n", namespace, "link", "set", "gate", "mtu", &mtu.to_string()])?;
        }
        Ok(())
    }

    /// The wire behind the sender's own interface is narrower than that: larger packets vanish without a word.
    pub fn narrow(&self, mtu: u16) -> io::Result<()> {
        run("ip", &["-n", &self.inner, "link", "set", "gate", "mtu", &mtu.to_string()]).map(drop)
    }

    /// Datagrams that came out of the wire at the far end and at the near end, by the kernel's counters.
    pub fn packets(&self) -> io::Result<(u64, u64)> {
        let count = |namespace: &str| -> io::Result<u64> {
            let file = "/sys/class/net/gate/statistics/rx_packets";
            Ok(run("ip", &["netns", "exec", namespace, "cat", file])?.trim().parse().unwrap_or(0))
        };
        Ok((count(&self.inner)?, count(&self.outer)?))
    }

    /// What stands before a command that is to run outside.
    #[must_use]
    pub fn outside(&self) -> Vec<String> {
        ["ip", "netns", "exec", &self.outer].map(str::to_owned).to_vec()
    }

    /// What stands before a command that is to run inside.
    #[must_use]
    pub fn inside(&self) -> Vec<String> {
        ["ip", "netns", "exec", &self.inner].map(str::to_owned).to_vec()
    }

    /// Where a receiver listens.
    #[must_use]
    pub fn listen(&self) -> SocketAddr {
        format!("{INNER}:{PORT}").parse().expect("an address of this file")
    }

    /// In words, for a report.
    #[must_use]
    pub fn words(&self) -> String {
        let how = if self.single { "one datagram a packet" } else { "whole batches" };
        format!("veth, MTU {}, {how}", self.mtu)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        for namespace in [&self.outer, &self.inner] {
            // What was never made cannot be taken away.
            let _gone = run("ip", &["netns", "del", namespace]);
        }
    }
}
