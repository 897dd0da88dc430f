//! The wire of a light gate, for one machine: datagrams go one way, some are lost, come twice or late, and there is no
//! way back. The socket toward the receiver is never read, so whatever came back would reach nobody.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::papers::Noise;

/// A datagram with headers at an MTU of 9,000 fits.
const DATAGRAM_BYTES_MAX: usize = 16 * 1024;
/// A late datagram lets fewer than this many pass.
const LATE_BY_MAX: u64 = 200;
/// A burst takes fewer than this many in a row.
const BURST_MAX: u64 = 400;
/// Asked of the kernel, so that the relay itself loses nothing to a late thread.
const SOCKET_BYTES: usize = 8 << 20;

/// What a relay does to datagrams, each out of 10,000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mischief {
    /// Lost, one by one.
    pub lost: u64,
    /// Begins to lose some hundred in a row.
    pub burst: u64,
    /// Passed on twice.
    pub repeated: u64,
    /// Passed on after up to 200 later ones.
    pub late: u64,
}

/// A running relay.
pub struct Relay {
    /// Where the sender aims.
    pub entrance: SocketAddr,
    counts: Arc<Counts>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Counts {
    passed: AtomicU64,
    lost: AtomicU64,
    cut: AtomicBool,
    stop: AtomicBool,
}

struct Run {
    entrance: UdpSocket,
    onward: UdpSocket,
    exit: SocketAddr,
    mischief: Mischief,
    noise: Noise,
    counts: Arc<Counts>,
    burst: u64,
    count: u64,
    /// When each may go on, by the number of datagrams that came.
    held: VecDeque<(u64, Vec<u8>)>,
}

impl Relay {
    /// Starts a relay to `exit` that loses so many of a thousand datagrams, the same ones for the same seed.
    pub fn start(exit: SocketAddr, lost_per_mille: u64, seed: u64) -> io::Result<Relay> {
        let mischief = Mischief { lost: lost_per_mille * 10, ..Mischief::default() };
        Relay::between("127.0.0.1:0".parse().map_err(io::Error::other)?, exit, mischief, seed)
    }

    /// Starts a relay from an address of its own to `exit`.
    pub fn between(entrance: SocketAddr, exit: SocketAddr, mischief: Mischief, seed: u64) -> io::Result<Relay> {
        let socket = UdpSocket::bind(entrance)?;
        // More than the kernel's ceiling where this process may, else what it gives.
        if rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, SOCKET_BYTES).is_err() {
            rustix::net::sockopt::set_socket_recv_buffer_size(&socket, SOCKET_BYTES)?;
        }
        socket.set_read_timeout(Some(Duration::from_millis(20)))?;
        let onward = UdpSocket::bind(if entrance.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
        let entrance = socket.local_addr()?;
        let counts = Arc::new(Counts::default());
        let run = Run {
            entrance: socket,
            onward,
            exit,
            mischief,
            noise: Noise::new(seed),
            counts: Arc::clone(&counts),
            burst: 0,
            count: 0,
            held: VecDeque::new(),
        };
        let thread = std::thread::Builder::new().name("relay".to_owned()).spawn(move || run.forever())?;
        Ok(Relay { entrance, counts, thread: Some(thread) })
    }

    /// Datagrams passed and lost so far.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.counts.passed.load(Ordering::Relaxed), self.counts.lost.load(Ordering::Relaxed))
    }

    /// Loses everything from now on, or no longer.
    pub fn cut(&self, cut: bool) {
        self.counts.cut.store(cut, Ordering::Relaxed);
    }
}

impl Run {
    fn forever(mut self) {
        let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
        while !self.counts.stop.load(Ordering::Relaxed) {
            match self.entrance.recv_from(&mut datagram) {
                Ok((length, _)) => self.take(datagram.get(..length).unwrap_or_default()),
                // Nothing comes: what is held goes on, or the last ones would be lost instead of late.
                Err(_) => self.let_go(u64::MAX),
            }
        }
    }

    fn take(&mut self, datagram: &[u8]) {
        self.count += 1;
        let one_of = |noise: &mut Noise, chance: u64| chance > 0 && noise.below(10_000) < chance;
        if one_of(&mut self.noise, self.mischief.burst) {
            self.burst = self.noise.below(BURST_MAX);
        }
        let in_burst = self.burst > 0;
        self.burst = self.burst.saturating_sub(1);
        if in_burst || one_of(&mut self.noise, self.mischief.lost) || self.counts.cut.load(Ordering::Relaxed) {
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
        } else {
            let copies = if one_of(&mut self.noise, self.mischief.repeated) { 2 } else { 1 };
            for _ in 0..copies {
                if one_of(&mut self.noise, self.mischief.late) {
                    let due = self.count + 1 + self.noise.below(LATE_BY_MAX);
                    self.held.push_back((due, datagram.to_owned()));
                } else {
                    self.pass(datagram);
                }
            }
        }
        self.let_go(self.count);
    }

    fn let_go(&mut self, until: u64) {
        while let Some(at) = self.held.iter().position(|(due, _)| *due <= until) {
            let Some((_, datagram)) = self.held.remove(at) else { return };
            self.pass(&datagram);
        }
    }

    /// A receiver that is down loses what comes; that is what the wire does too.
    fn pass(&self, datagram: &[u8]) {
        if self.onward.send_to(datagram, self.exit).is_ok() {
            self.counts.passed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.counts.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A relay that panicked has nothing more to say.
            let _ended = thread.join();
        }
    }
}
