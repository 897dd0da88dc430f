//! The wire of a light gate, for one machine: datagrams go one way, some are lost, and there is no way back. The
//! socket toward the receiver is never read, so whatever came back would reach nobody.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::papers::Noise;

/// A datagram with headers at an MTU of 9,000 fits.
const DATAGRAM_BYTES_MAX: usize = 16 * 1024;

/// A running relay.
pub struct Relay {
    /// Where the sender aims.
    pub entrance: SocketAddr,
    counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Counts {
    passed: AtomicU64,
    lost: AtomicU64,
}

impl Relay {
    /// Starts a relay to `exit` that loses so many of a thousand datagrams, the same ones for the same seed.
    pub fn start(exit: SocketAddr, lost_per_mille: u64, seed: u64) -> io::Result<Relay> {
        let entrance = UdpSocket::bind("127.0.0.1:0")?;
        entrance.set_read_timeout(Some(Duration::from_millis(100)))?;
        let onward = UdpSocket::bind("127.0.0.1:0")?;
        let address = entrance.local_addr()?;
        let (counts, stop) = (Arc::new(Counts::default()), Arc::new(AtomicBool::new(false)));
        let (counting, stopping) = (Arc::clone(&counts), Arc::clone(&stop));
        let thread = std::thread::Builder::new().name("relay".to_owned()).spawn(move || {
            let mut noise = Noise::new(seed);
            let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
            while !stopping.load(Ordering::Relaxed) {
                let Ok((length, _)) = entrance.recv_from(&mut datagram) else { continue };
                if noise.below(1000) < lost_per_mille {
                    counting.lost.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                // A receiver that is down loses what comes; that is what the wire does too.
                if datagram.get(..length).is_some_and(|bytes| onward.send_to(bytes, exit).is_ok()) {
                    counting.passed.fetch_add(1, Ordering::Relaxed);
                }
            }
        })?;
        Ok(Relay { entrance: address, counts, stop, thread: Some(thread) })
    }

    /// Datagrams passed and lost so far.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.counts.passed.load(Ordering::Relaxed), self.counts.lost.load(Ordering::Relaxed))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A relay that panicked has nothing more to say.
            let _ended = thread.join();
        }
    }
}
