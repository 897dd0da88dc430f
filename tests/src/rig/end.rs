//! One end of the one-way link as a process: a spool, the link, and a line a moment about what became of it. It is
//! started, killed and started again by the rig. It ends by itself when its standard input is closed.
//!
//! ```text
//! link-end send    ROOT TARGET [setting=value]…     {"sent":..,"datagrams":..,"bytes":..,"rss_mib":..,"cpu_s":..}
//! link-end receive ROOT LISTEN [setting=value]…     {"whole":[..],"wrong":[..],"missing":[[from,to]..],"next":.. …}
//! link-end relay   LISTEN EXIT [mischief=value]…    {"passed":..,"lost":..}
//! on standard input of a sender: "again 3-7"        what a gap report asked for
//! ```

use std::collections::HashSet;
use std::fs;
use std::io::{self, BufRead as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use diode_link::{Link, ReceiverSettings, SenderSettings, Stop};
use protocol::ledger::{Event, Local, Record};
use protocol::{Suite, tree};
use serde_json::json;
use spool::{Entry, Spool};

use super::{CROSSING, Side, sequence_of};
use crate::relay::{Mischief, Relay};

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
        key: seat.key,
        peer: side.other().node(),
        trust: seat.trust,
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
    let outbox = link.spool.outbox(CROSSING);
    let stop = Stop::new();
    let sending = diode_link::send(link, settings, stop.clone())?;
    let again = |order: &str| {
        let Some((from, to)) = order.strip_prefix("again ").and_then(|range| range.split_once('-')) else { return };
        let (Ok(from), Ok(to)) = (from.parse::<u64>(), to.parse::<u64>()) else { return };
        let entries = outbox.entries().unwrap_or_default();
        entries.iter().filter(|e| (from..=to).contains(&e.sequence)).for_each(|entry| outbox.ask_again(entry));
    };
    talk(again, || {
        let status = sending.status();
        let sent = outbox.rounds().iter().filter(|(_, round, _)| *round >= 1).count();
        Ok(json!({
            "sent": sent, "datagrams": status.datagrams, "bytes": status.bytes, "errors": status.send_errors,
            "blocks_cut": status.blocks_cut, "batch": status.segments_max,
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
                "silent": status.silent, "socket_bytes": status.socket_bytes,
                "rss_mib": crate::figures::rss_mib(std::process::id()), "cpu_s": link_cpu_s(),
            }))
        },
    )?;
    stop.raise();
    receiving.join();
    Ok(())
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
