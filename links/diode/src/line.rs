//! The two ends of a line test: sockets around [`crate::line_test`]. The sending end never reads, the receiving end
//! never sends; neither touches a spool or a key.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use protocol::keys;
use protocol::oneway::frame::OVERHEAD_BYTES;
use protocol::oneway::{Bucket, Geometry, Moment};
use serde::Serialize;

use crate::clock::Clock;
use crate::drops;
use crate::line_test::{FRAMES_MAX, Head, Report, SECONDS_MAX, Socket, Tally};
use crate::sending::burst_bytes;
use crate::settings::{ReceiverSettings, SenderSettings};
use crate::socket::{Chunk, Incoming, Outgoing};

/// The socket is looked at at least this often.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What the sending end did.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LineSent {
    /// Datagrams of the run.
    pub frames: u64,
    /// Of these, refused by the kernel. They count as lost at the receiver.
    pub refused: u64,
    /// Bytes of each, without IP and UDP headers.
    pub frame_bytes: usize,
    /// The rate of the config.
    pub rate_mbit: u32,
    /// The rate that was reached.
    pub rate_mbit_reached: f64,
    /// How long it took.
    pub seconds: f64,
}

/// Sends a run of so many seconds at the rate and in the sizes of the link.
pub fn send_line_test(settings: &SenderSettings, seconds: u16) -> io::Result<LineSent> {
    let wrong = |error: &dyn std::fmt::Display| io::Error::new(io::ErrorKind::InvalidInput, error.to_string());
    settings.check().map_err(|bad| wrong(&bad))?;
    let tuning = settings.tuning();
    let shape = Geometry::of_block(tuning.block_bytes, tuning.symbol_bytes, tuning.repair_percent)
        .map_err(|bad| wrong(&bad))?;
    let frame_bytes = usize::from(tuning.symbol_bytes) + OVERHEAD_BYTES;
    let frames = settings.bytes_per_s() * u64::from(seconds) / frame_bytes as u64;
    if !(1..=SECONDS_MAX).contains(&seconds) || !(1..=FRAMES_MAX).contains(&frames) {
        return Err(wrong(&format!(
            "{seconds} seconds are {frames} frames: a test has 1 to {SECONDS_MAX} seconds and at most {FRAMES_MAX} frames"
        )));
    }
    let head = Head {
        run: keys::random(),
        number: 0,
        frames,
        seconds,
        source: shape.source,
        first: shape.first_recovery(settings.repair_first_percent),
        interleave: u16::try_from(settings.interleave).unwrap_or(1),
        rate_mbit: settings.rate_mbit,
    };
    let socket = Outgoing::open(settings.bind, settings.target, settings.offload)?;
    let clock = Clock::start();
    let refused = run(&socket, &head, frame_bytes, settings.bytes_per_s(), &clock);
    let seconds = clock.now().as_secs_f64();
    let bytes = (frames - refused) as f64 * frame_bytes as f64;
    let rate_mbit_reached = bytes * 8e-6 / seconds;
    Ok(LineSent { frames, refused, frame_bytes, rate_mbit: settings.rate_mbit, rate_mbit_reached, seconds })
}

/// Sends every number once, in order, at the rate. How many the kernel refused.
fn run(socket: &Outgoing, head: &Head, frame_bytes: usize, rate: u64, clock: &Clock) -> u64 {
    let mut bucket = Bucket::new(rate, burst_bytes(rate), clock.now());
    let batch = socket.segments_max(frame_bytes) as u64;
    let (mut number, mut refused, mut buffer) = (0, 0, Vec::new());
    while number < head.frames {
        let count = (bucket.available(clock.now()) / frame_bytes as u64).min(batch).min(head.frames - number);
        if count == 0 {
            std::thread::sleep(bucket.wait_for(frame_bytes as u64 * batch).min(LOOK_EVERY));
            continue;
        }
        buffer.clear();
        (number..number + count).for_each(|number| Head { number, ..*head }.write(frame_bytes, &mut buffer));
        bucket.spend(buffer.len() as u64);
        if let Err(error) = socket.send(&buffer, frame_bytes) {
            tracing::debug!(%error, "a batch of the line test was refused");
            refused += count;
        }
        number += count;
    }
    refused
}

/// The receiving end, listening.
pub struct LineEar {
    socket: Incoming,
    address: SocketAddr,
    drops_before: u64,
}

impl LineEar {
    /// Opens the port of the link; [`io::ErrorKind::AddrInUse`] where a receiver has it.
    pub fn open(settings: &ReceiverSettings) -> io::Result<LineEar> {
        settings.check().map_err(|bad| io::Error::new(io::ErrorKind::InvalidInput, bad))?;
        let asked = usize::try_from(u64::from(settings.socket_mib) << 20).unwrap_or(usize::MAX);
        let socket = Incoming::open(settings.listen, asked, settings.buffer_bytes_wanted(), settings.offload)?;
        let address = socket.address()?;
        Ok(LineEar { socket, address, drops_before: drops::of(address) })
    }

    /// Where it listens: of use where the port was left to the kernel.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits so long for the first datagram of a test, then until that test is over; [`io::ErrorKind::TimedOut`] where
    /// none came.
    pub fn hear(mut self, wait: Duration) -> io::Result<Report> {
        let clock = Clock::start();
        let mut chunk = Chunk::default();
        let mut tally: Option<Tally> = None;
        while !over(tally.as_ref(), wait, clock.now()) {
            chunk.clear();
            self.socket.receive(LOOK_EVERY, &mut chunk)?;
            let now = clock.now();
            for datagram in chunk.datagrams() {
                let known = tally.take().or_else(|| Some(Tally::begin(now, Head::parse(datagram)?)));
                tally = known.map(|mut tally| {
                    tally.take(now, datagram);
                    tally
                });
            }
        }
        let drops = drops::of(self.address).saturating_sub(self.drops_before);
        let bytes = self.socket.buffer_bytes()? as u64;
        let tally = tally.ok_or(io::ErrorKind::TimedOut)?;
        Ok(tally.report(Socket { drops, bytes }))
    }
}

fn over(tally: Option<&Tally>, wait: Duration, now: Moment) -> bool {
    tally.map_or(now >= wait, |tally| tally.is_over(now))
}
