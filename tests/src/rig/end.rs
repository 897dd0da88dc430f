//! One end of the one-way link as a process: a spool, the link, and a line a moment about what became of it. It is
//! started, killed and started again by the rig. It ends by itself when its standard input is closed.
//!
//! ```text
//! link-end send    ROOT TARGET [setting=value]…     {"sent":..,"datagrams":..,"bytes":..,"rss_mib":..,"cpu_s":..}
//! link-end receive ROOT LISTEN [setting=value]…     {"whole":[..],"wrong":[..],"missing":[[from,to]..],"next":.. …}
//! link-end relay   LISTEN EXIT [mischief=value]…    {"passed":..,"lost":..}
//! link-end forge   ROOT TARGET rate=… epochs_off=…  frames whose tags do not fit, of an epoch so far from the sender's
//! link-end plain-send    - TARGET bytes=… size=…    a loop of send(2), and nothing else
//! link-end plain-receive - LISTEN                   a loop of recv(2), and nothing else
//! on standard input of a sender: "again 3-7"        what a gap report asked for
//!                                "urgent 1000000"   an urgent entry of 10 KiB with this number, now
//! ```

use std::cell::RefCell;
use std::collections::HashSet;
use std::fs;
use std::io::{self, BufRead as _, Write as _};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use diode_link::{Link, ReceiverSettings, SenderSettings, Stop};
use protocol::aead::{self, Aead};
use protocol::ledger::{Event, Local, Record};
use protocol::oneway::{BlockId, Geometry, Header, geometry};
use protocol::parcel::Priority;
use protocol::{Suite, tree};
use serde_json::json;
use spool::{Entry, Spool};

use super::{CROSSING, Side, sequence_of};
use crate::papers::Noise;
use crate::relay::{Mischief, Relay};

/// Urgent entries have numbers from here on.
pub(super) const URGENT_FROM: u64 = 1_000_000;
const URGENT_BYTES: usize = 10 * 1024;
/// Forged frames leave in groups, so many groups a second.
const FORGED_GROUPS_PER_S: u64 = 500;
/// A line is said this often.
const SAY_EVERY: Duration = Duration::from_millis(50);

/// Runs the end that the arguments name.
pub fn run(arguments: &[String]) -> io::Result<()> {
    let [role, first, second, settings @ ..] = arguments else {
        return Err(io::Error::other("link-end send|receive ROOT ADDRESS, or relay ADDRESS ADDRESS, then name=value"));
    };
    let settings: Vec<(&str, u64)> = settings
        .iter()
        .map(|text| setting(text))
        .collect::<Option<_>>()
        .ok_or_else(|| io::Error::other("name=value"))?;
    let address = |text: &str| text.parse::<SocketAddr>().map_err(io::Error::other);
    match role.as_str() {
        "send" => send(Path::new(first), address(second)?, &settings),
        "receive" => receive(Path::new(first), address(second)?, &settings),
        "forge" => forge(Path::new(first), address(second)?, &settings),
        "plain-send" => plain_send(address(second)?, &settings),
        "plain-receive" => plain_receive(address(second)?),
        "relay" => relay(address(first)?, address(second)?, &settings),
        other => Err(io::Error::other(format!("no end is called {other}"))),
    }
}

fn setting(text: &str) -> Option<(&str, u64)> {
    let (name, value) = text.split_once('=')?;
    Some((name, value.parse().ok()?))
}

fn unknown(name: &str) -> io::Error {
    io::Error::other(format!("no setting is called {name}"))
}

fn narrow<T: TryFrom<u64>>(value: u64) -> io::Result<T> {
    T::try_from(value).map_err(|_| io::Error::other("a setting out of range"))
}

/// Lines of standard input; the channel closes with it.
fn orders() -> io::Result<mpsc::Receiver<String>> {
    let (sender, orders) = mpsc::sync_channel(16);
    std::thread::Builder::new().name("orders".to_owned()).spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    })?;
    Ok(orders)
}

/// Says a line each moment until standard input is closed.
fn talk(mut order: impl FnMut(&str), mut line: impl FnMut() -> io::Result<serde_json::Value>) -> io::Result<()> {
    let orders = orders()?;
    loop {
        match orders.recv_timeout(SAY_EVERY) {
            Ok(text) => order(&text),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(()),
        }
        let mut out = io::stdout().lock();
        writeln!(out, "{}", line()?)?;
        out.flush()?;
    }
}

/// CPU seconds of the link's own threads: what the rig does beside them does not count.
fn link_cpu_s() -> f64 {
    let Ok(threads) = fs::read_dir("/proc/self/task") else { return 0.0 };
    let of = |folder: &Path| -> Option<f64> {
        let name = fs::read_to_string(folder.join("comm")).ok()?;
        let ran = fs::read_to_string(folder.join("schedstat")).ok()?;
        let nanoseconds: f64 = ran.split(' ').next()?.parse().ok()?;
        name.starts_with("diode-").then_some(nanoseconds / 1e9)
    };
    threads.filter_map(|thread| of(&thread.ok()?.path())).sum()
}

fn link(root: &Path, side: Side) -> io::Result<Link> {
    let seat = super::Seat::load(root, side)?;
    let spool = Spool::open(seat.setup()).map_err(io::Error::other)?;
    Ok(Link {
        spool,
        crossing: CROSSING,
        suite: seat.suite,
        key: seat.key.into(),
        peer: side.other().node(),
        trust: seat.trust,
        // A run that meets the hour is like any other.
        wall: Arc::new(|| None),
        opening: vec![seat.opening],
    })
}

fn send(root: &Path, target: SocketAddr, given: &[(&str, u64)]) -> io::Result<()> {
    let mut settings = SenderSettings::to(target);
    for (name, value) in given {
        match *name {
            "mtu" => settings.mtu = narrow(*value)?,
            "rate_mbit" => settings.rate_mbit = narrow(*value)?,
            "repair_percent" => settings.repair_percent = narrow(*value)?,
            "repair_first_percent" => settings.repair_first_percent = narrow(*value)?,
            "round_every_s" => settings.round_every_s = *value,
            "round_every_max_s" => settings.round_every_max_s = *value,
            "interleave" => settings.interleave = narrow(*value)?,
            "block_kib" => settings.block_kib = narrow(*value)?,
            other => return Err(unknown(other)),
        }
    }
    let link = link(root, Side::Outer)?;
    let link_spool = link.spool.clone();
    let outbox = link_spool.outbox(CROSSING);
    let stop = Stop::new();
    let sending = diode_link::send(link, settings, stop.clone())?;
    let urgent: RefCell<Vec<(u64, u64)>> = RefCell::default();
    let order = |order: &str| {
        if let Some(sequence) = order.strip_prefix("urgent ").and_then(|number| number.parse().ok()) {
            urgent.borrow_mut().extend(put_urgent(&link_spool, sequence));
            return;
        }
        let Some((from, to)) = order.strip_prefix("again ").and_then(|range| range.split_once('-')) else { return };
        let (Ok(from), Ok(to)) = (from.parse::<u64>(), to.parse::<u64>()) else { return };
        let entries = outbox.entries().unwrap_or_default();
        entries.iter().filter(|e| (from..=to).contains(&e.sequence)).for_each(|entry| outbox.ask_again(entry));
    };
    talk(order, || {
        let status = sending.status();
        let sent = outbox.rounds().iter().filter(|(_, round, _)| *round >= 1).count();
        Ok(json!({
            "sent": sent, "datagrams": status.datagrams, "bytes": status.bytes, "errors": status.send_errors,
            "blocks_cut": status.blocks_cut, "batch": status.segments_max, "urgent": *urgent.borrow(),
            "rss_mib": crate::figures::rss_mib(std::process::id()), "cpu_s": link_cpu_s(),
        }))
    })?;
    stop.raise();
    sending.join();
    Ok(())
}

fn receive(root: &Path, listen: SocketAddr, given: &[(&str, u64)]) -> io::Result<()> {
    let mut settings = ReceiverSettings::on(listen);
    for (name, value) in given {
        match *name {
            "rate_mbit" => settings.rate_mbit = narrow(*value)?,
            "socket_mib" => settings.socket_mib = narrow(*value)?,
            "memory_mib" => settings.memory_mib = narrow(*value)?,
            "disk_mib" => settings.disk_mib = *value,
            "silence_s" => settings.silence_s = *value,
            other => return Err(unknown(other)),
        }
    }
    let link = link(root, Side::Inner)?;
    let (spool, suite, expected) = (link.spool.clone(), link.suite, super::expected(root)?);
    let mut arrivals = Arrived { spool, suite, expected, known: HashSet::new(), whole: 0, wrong: 0 };
    let stop = Stop::new();
    let came = watch_urgent(&link.spool)?;
    let receiving = diode_link::receive(link, settings, stop.clone())?;
    talk(
        |_| {},
        || {
            arrivals.look()?;
            let status = receiving.status();
            let counters = status.counters;
            let gaps = arrivals.spool.gaps(&Side::Outer.node(), CROSSING);
            let missing: Vec<(u64, u64)> = gaps.iter().flat_map(|g| g.missing.iter().map(|r| (r.from, r.to))).collect();
            Ok(json!({
                "whole": arrivals.whole, "wrong": arrivals.wrong, "missing": missing,
                "through": gaps.iter().map(|gaps| gaps.through).max(),
                "beacons": counters.beacons, "kernel_drops": status.kernel_drops, "repaired": counters.blocks_repaired,
                "bad": counters.blocks_bad, "evicted": counters.blocks_evicted, "auth_failed": counters.auth_failed,
                "early": counters.frames_early,
                "came": *came.lock().unwrap_or_else(PoisonError::into_inner),
                "silent": status.silent, "socket_bytes": status.socket_bytes,
                "rss_mib": crate::figures::rss_mib(std::process::id()), "cpu_s": link_cpu_s(),
            }))
        },
    )?;
    stop.raise();
    receiving.join();
    Ok(())
}

/// Nanoseconds of the clock that both ends share.
fn now_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).unwrap_or(0)
}

/// Puts an urgent entry into the outbox; its number, and when that was.
fn put_urgent(spool: &Spool, sequence: u64) -> Option<(u64, u64)> {
    let staged = spool.layout().sealing().join(format!("urgent-{sequence}"));
    fs::write(&staged, Noise::new(sequence).bytes(URGENT_BYTES)).ok()?;
    let at = now_ns();
    let outbox = spool.outbox(CROSSING);
    let (id, kind) = (super::id_of(sequence), spool::EntryKind::Bundle);
    outbox.commit(&staged, &id, kind, Priority::Urgent, super::EPOCH, sequence).ok()?;
    Some((sequence, at))
}

/// Numbers, and when each came.
type Noted = Arc<Mutex<Vec<(u64, u64)>>>;

/// Notes when urgent entries come.
fn watch_urgent(spool: &Spool) -> io::Result<Noted> {
    let came = Noted::default();
    let (noted, spool) = (Arc::clone(&came), spool.clone());
    std::thread::Builder::new().name("watch".to_owned()).spawn(move || {
        let mut rung = 0;
        loop {
            rung = spool.bell().wait(rung, Duration::from_secs(1));
            let at = now_ns();
            for entry in spool.arrivals(CROSSING).completed().unwrap_or_default() {
                let sequence = sequence_of(&entry.id);
                let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
                if sequence >= URGENT_FROM && !noted.iter().any(|(known, _)| *known == sequence) {
                    noted.push((sequence, at));
                }
            }
        }
    })?;
    Ok(came)
}

/// What arrived, looked at bit for bit and recorded as a station records it.
struct Arrived {
    spool: Spool,
    suite: Suite,
    expected: super::Expected,
    known: HashSet<protocol::BundleId>,
    whole: u64,
    wrong: u64,
}

impl Arrived {
    fn look(&mut self) -> io::Result<()> {
        let entries = self.spool.arrivals(CROSSING).completed().map_err(io::Error::other)?;
        let mut records = Vec::new();
        for entry in entries {
            if !self.known.insert(entry.id) {
                continue;
            }
            if self.is_right(&entry)? {
                self.whole += 1;
            } else {
                self.wrong += 1;
            }
            // Recorded by an earlier start, where there was one.
            if self.spool.bundle_taken(&entry.id).map_err(io::Error::other)? {
                continue;
            }
            let mut record = Record::new(Event::Arrived, super::wall());
            let node = Some(Side::Outer.node());
            (record.parcel, record.bundle, record.origin, record.peer) =
                (Some(entry.id), Some(entry.id), node.clone(), node);
            (record.crossing, record.epoch, record.sequence) =
                (Some(CROSSING), Some(super::EPOCH), Some(sequence_of(&entry.id)));
            records.push((record, Local::none()));
        }
        if !records.is_empty() {
            self.spool.record_all(records).map_err(io::Error::other)?;
        }
        Ok(())
    }

    fn is_right(&self, entry: &Entry) -> io::Result<bool> {
        let (_, root) = tree::root_of_reader(self.suite, &mut fs::File::open(&entry.path)?)?;
        Ok(self.expected.get(&sequence_of(&entry.id)).is_some_and(|digest| *digest == root))
    }
}

fn relay(listen: SocketAddr, exit: SocketAddr, given: &[(&str, u64)]) -> io::Result<()> {
    let mut mischief = Mischief::default();
    let mut seed = 1;
    for (name, value) in given {
        match *name {
            "lost" => mischief.lost = *value,
            "burst" => mischief.burst = *value,
            "repeated" => mischief.repeated = *value,
            "late" => mischief.late = *value,
            "seed" => seed = *value,
            other => return Err(unknown(other)),
        }
    }
    let relay = Relay::between(listen, exit, mischief, seed)?;
    talk(
        |_| {},
        || {
            let (passed, lost) = relay.counts();
            Ok(json!({ "passed": passed, "lost": lost }))
        },
    )
}

/// Frames as the sender of the outer spool would send them, but for the key.
fn forge(root: &Path, target: SocketAddr, given: &[(&str, u64)]) -> io::Result<()> {
    let of = |wanted: &str| given.iter().find(|(name, _)| *name == wanted).map_or(0, |(_, value)| *value);
    let (rate, epochs_off) = (of("rate"), narrow::<u32>(of("epochs_off"))?);
    let seat = super::Seat::load(root, Side::Outer)?;
    let layout = spool::Layout::new(&seat.setup().root);
    let text = fs::read_to_string(layout.links().join(format!("diode-{CROSSING}")).join("epoch"))?;
    let link_epoch = text.trim().parse::<u32>().map_err(io::Error::other)?.wrapping_add(epochs_off);
    let key = Aead::new(seat.suite, &aead::fresh_key(seat.suite)).ok_or_else(|| io::Error::other("a key"))?;
    let symbol_bytes = geometry::symbol_bytes_for(1_500, target.is_ipv6());
    let geometry = Geometry::of_block(2 << 20, symbol_bytes, 15).map_err(io::Error::other)?;
    let block = BlockId { epoch: link_epoch, number: u32::MAX };
    let header = Header {
        suite: seat.suite,
        crossing: CROSSING,
        link_epoch,
        link_sequence: 1,
        block,
        geometry,
        index: 0,
        digest_head: [0; 8],
    };
    let mut frame = Vec::new();
    header.seal(&key, &vec![0x5a; usize::from(symbol_bytes)], &mut frame);
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(target)?;
    let sent = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counted = Arc::clone(&sent);
    std::thread::Builder::new().name("forge".to_owned()).spawn(move || {
        let began = std::time::Instant::now();
        for group in 0_u32.. {
            for _ in 0..rate / FORGED_GROUPS_PER_S {
                counted.fetch_add(u64::from(socket.send(&frame).is_ok()), std::sync::atomic::Ordering::Relaxed);
            }
            let due = Duration::from_secs(1) * group / u32::try_from(FORGED_GROUPS_PER_S).unwrap_or(1);
            std::thread::park_timeout(due.saturating_sub(began.elapsed()));
        }
    })?;
    talk(|_| {}, || Ok(json!({ "forged": sent.load(std::sync::atomic::Ordering::Relaxed) })))
}

/// What the kernel alone costs: datagrams of the same size, each by a system call of its own.
fn plain_send(target: SocketAddr, given: &[(&str, u64)]) -> io::Result<()> {
    let of = |wanted: &str| given.iter().find(|(name, _)| *name == wanted).map_or(0, |(_, value)| *value);
    let (bytes, size) = (of("bytes"), of("size"));
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(target)?;
    let datagram = vec![0x5a; narrow(size)?];
    let (done, cpu) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(0.0)));
    let (count, spent) = (Arc::clone(&done), Arc::clone(&cpu));
    std::thread::Builder::new().name("diode-plain".to_owned()).spawn(move || {
        let mut sent = 0;
        while sent < bytes {
            sent += socket.send(&datagram).map_or(0, |length| length as u64);
        }
        *spent.lock().unwrap_or_else(PoisonError::into_inner) = link_cpu_s();
        *count.lock().unwrap_or_else(PoisonError::into_inner) = sent;
    })?;
    talk(
        |_| {},
        || {
            let done = *done.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(json!({ "bytes": done, "cpu_s": *cpu.lock().unwrap_or_else(PoisonError::into_inner) }))
        },
    )
}

fn plain_receive(listen: SocketAddr) -> io::Result<()> {
    let socket = UdpSocket::bind(listen)?;
    let _as_much_as_may_be = rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, 32 << 20);
    let received = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counted = Arc::clone(&received);
    std::thread::Builder::new().name("diode-plain".to_owned()).spawn(move || {
        let mut datagram = vec![0; 1 << 16];
        while let Ok(length) = socket.recv(&mut datagram) {
            counted.fetch_add(length as u64, std::sync::atomic::Ordering::Relaxed);
        }
    })?;
    let count = move || received.load(std::sync::atomic::Ordering::Relaxed);
    talk(|_| {}, || Ok(json!({ "bytes": count(), "cpu_s": link_cpu_s() })))
}
