//! The one-way link alone, outbox to arrivals, between two namespaces: CPU time of both ends, small entries, forged frames
//! beside it, and how long an urgent entry takes while bulk is being sent. Beside them a loop of send and receive.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use protocol::Suite;

use crate::relay::Mischief;
use crate::rig::gate::Gate;
use crate::rig::{Case, Load, Outcome, Rig, Trouble, Wire};

const LARGE: u64 = 1 << 30;
/// As fast as the ends can: the pace does not hold them, and neither drowns the other.
const RATE_MBIT: u64 = 4_000;
const SMALL: u64 = 10_000;
const SMALL_RUNS: u32 = 5;
const FORGED_PER_S: u64 = 100_000;
const URGENT: u64 = 200;
const PATIENCE: Duration = Duration::from_secs(60);

/// Parts of this subject that may be asked for by themselves.
pub const PARTS: [&str; 5] = ["link-1500", "link-9000", "link-small", "link-forged", "link-urgent"];

type Part = fn() -> io::Result<()>;

/// Prints the rows of the parts that are wanted.
pub fn run(wanted: impl Fn(&str) -> bool) -> io::Result<()> {
    if let Err(why) = Gate::build(1_500, true) {
        println!("| the one-way link alone | SKIPPED: no network namespaces here: {why} | |");
        return Ok(());
    }
    touch_memory()?;
    for mtu in [1_500, 9_000].into_iter().filter(|mtu| wanted(&format!("link-{mtu}"))) {
        large(mtu, true)?;
        large(mtu, false)?;
    }
    let parts: [(&str, Part); 3] = [("link-small", small), ("link-forged", forged), ("link-urgent", urgent)];
    parts.into_iter().filter(|(part, _)| wanted(part)).try_for_each(|(_, run)| run())
}

/// A virtual machine gets its memory from its host page by page, at several times the price of everything else here:
/// what a run needs is fetched before it.
fn touch_memory() -> io::Result<()> {
    let mut file = tempfile::tempfile_in("/dev/shm")?;
    let piece = vec![1; 1 << 20];
    (0..(3 * LARGE) >> 20).try_for_each(|_| file.write_all(&piece))
}

fn case(load: Load, rate_mbit: u64) -> Case {
    Case {
        suite: Suite::Std,
        load,
        // Further rounds have their own price and are not part of this one.
        sender: vec![("rate_mbit", rate_mbit), ("round_every_s", 20), ("round_every_max_s", 20)],
        receiver: vec![("rate_mbit", rate_mbit), ("socket_mib", 64)],
        trouble: Trouble::None,
        patience: PATIENCE,
        import_gaps: false,
        forged: None,
    }
}

/// Runs on a folder in memory: what is measured is the link, not a disk.
fn on<T>(case: &Case, wire: &Wire, run: impl FnOnce(Rig<'_>) -> io::Result<T>) -> io::Result<T> {
    let root = tempfile::Builder::new().prefix("trilock-link-").tempdir_in("/dev/shm")?;
    let program = std::env::current_exe()?.with_file_name("link-end");
    run(Rig::new(root.path(), Path::new(&program), case, wire)?)
}

fn cpu(outcome: &Outcome) -> String {
    let gigabytes = outcome.bytes as f64 / 1e9;
    let (send, receive) = (outcome.cpu_s.0 / gigabytes, outcome.cpu_s.1 / gigabytes);
    format!("{:.2} CPU s/GB ({send:.2} + {receive:.2})", send + receive)
}

fn large(mtu: u16, single: bool) -> io::Result<()> {
    let mut case = case(Load { large: vec![LARGE], ..Load::default() }, RATE_MBIT);
    case.sender.push(("mtu", mtu.into()));
    let wire = Wire::Gate(Gate::build(mtu, single)?, Mischief::default());
    let outcome = on(&case, &wire, |rig| rig.run())?;
    let datagram = u64::from(protocol::oneway::geometry::symbol_bytes_for(mtu, false)) + 64;
    let (came, send, receive) = on(&case, &wire, |rig| rig.plain(LARGE, datagram))?;
    let Wire::Gate(gate, _) = &wire else { return Ok(()) };
    println!(
        "| 1 GiB, one entry, {} | {}, {:.0} MB/s; {} of {} arrived, {} blocks repaired, {} dropped by the kernel, peak RSS {} / {} MiB | plain send / recv loop: {send:.2} + {receive:.2} CPU s/GB, {:.0} % came |",
        gate.words(),
        cpu(&outcome),
        outcome.bytes as f64 / 1e6 / outcome.all_s,
        outcome.delivered,
        outcome.total,
        outcome.last.1["repaired"],
        outcome.last.1["kernel_drops"],
        outcome.rss_mib.0,
        outcome.rss_mib.1,
        came as f64 * 100.0 / LARGE as f64,
    );
    Ok(())
}

fn small() -> io::Result<()> {
    let mut runs = Vec::new();
    for _ in 0..SMALL_RUNS {
        let load = Load { small: SMALL, small_bytes: 10 * 1024, ..Load::default() };
        let wire = Wire::Gate(Gate::build(1_500, true)?, Mischief::default());
        runs.push(on(&case(load, 500), &wire, |rig| rig.run())?);
    }
    let each = |of: fn(&Outcome) -> String| runs.iter().map(of).collect::<Vec<_>>().join(", ");
    println!(
        "| {SMALL} x 10 KiB, outbox to arrivals, 500 Mbit/s, MTU 1500 | {} s; {} delivered; {}; peak RSS {} MiB | |",
        each(|run| format!("{:.1}", run.all_s)),
        each(|run| run.delivered.to_string()),
        runs.last().map(cpu).unwrap_or_default(),
        each(|run| format!("{} / {}", run.rss_mib.0, run.rss_mib.1)),
    );
    Ok(())
}

/// Who forges: nobody, one who does not know the link epoch, and one who listens to the link and names it.
const FORGERS: [(&str, Option<u64>); 3] = [("no forged frame", None), ("BLIND", Some(1)), ("LISTENING", Some(0))];
/// Each of them takes its turn so often, for the machine is another from minute to minute.
const FORGED_TURNS: usize = 3;

fn forged() -> io::Result<()> {
    let mut costs: [Vec<f64>; 3] = Default::default();
    for _ in 0..FORGED_TURNS {
        for (costs, (words, forger)) in costs.iter_mut().zip(FORGERS) {
            costs.push(beside(words, forger)?);
        }
    }
    let median = |costs: &[f64]| {
        let mut sorted = costs.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    };
    let [quiet, blind, listening] = costs.map(|costs| median(&costs));
    println!(
        "| {FORGED_PER_S} forged frames a second: the receiver's CPU s/GB, median of {FORGED_TURNS}, {quiet:.2} without them, rise by | a forger who does not know the link epoch: {:.0} %; one who listens and does: {:.0} % | |",
        (blind / quiet - 1.0) * 100.0,
        (listening / quiet - 1.0) * 100.0,
    );
    Ok(())
}

/// The receiver's CPU s/GB beside such a forger.
fn beside(words: &str, forger: Option<u64>) -> io::Result<f64> {
    let mut case = case(Load { large: vec![LARGE], ..Load::default() }, 2_400);
    case.forged = forger.map(|epochs_off| (FORGED_PER_S, epochs_off));
    let wire = Wire::Gate(Gate::build(1_500, true)?, Mischief::default());
    let outcome = on(&case, &wire, |rig| rig.run())?;
    let cost = outcome.cpu_s.1 / (outcome.bytes as f64 / 1e9);
    println!(
        "| 1 GiB at 2,400 Mbit/s, forger: {words} | receiver {cost:.2} CPU s/GB; {} tags refused, {} of an unknown epoch; {} of {} arrived, {} blocks repaired, {} dropped by the kernel | |",
        outcome.last.1["auth_failed"],
        outcome.last.1["early"],
        outcome.delivered,
        outcome.total,
        outcome.last.1["repaired"],
        outcome.last.1["kernel_drops"],
    );
    Ok(cost)
}

fn urgent() -> io::Result<()> {
    let load = Load { large: vec![10 << 30], hollow: true, ..Load::default() };
    let wire = Wire::Gate(Gate::build(1_500, true)?, Mischief::default());
    let mut waits = on(&case(load, 500), &wire, |rig| rig.urgent(URGENT))?;
    waits.sort_unstable();
    let at = |percent: usize| waits.get(waits.len() * percent / 100).map_or(0.0, |wait| wait.as_secs_f64() * 1e3);
    println!(
        "| {URGENT} urgent entries of 10 KiB, outbox to arrivals, while one of 10 GiB is sent at 500 Mbit/s | median {:.1} ms, p99 {:.1} ms, most {:.1} ms | |",
        at(50),
        at(99),
        waits.last().map_or(0.0, |wait| wait.as_secs_f64() * 1e3)
    );
    Ok(())
}
