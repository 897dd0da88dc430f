//! The one-way link under loss, disorder, outages and deaths: every entry arrives bit for bit or is named. A short
//! selection in every run; all cases with 1 GiB and 2,000 small entries under `TRILOCK_SOAK=1`, which prints the table
//! of docs/measurements.md:
//!
//! ```sh
//! TRILOCK_SOAK=1 cargo nextest run --release -p tests --test light_gate --no-capture the_whole_table
//! ```
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and says what it skips")]

use std::path::Path;
use std::time::Duration;

use protocol::Suite;
use tests::relay::Mischief;
use tests::rig::gate::Gate;
use tests::rig::{Case, Load, Outcome, Rig, Trouble, Wire, account};

const PROGRAM: &str = env!("CARGO_BIN_EXE_link-end");
/// The rounds of an office come every half minute; a test does not wait for them.
const ROUND_EVERY_S: u64 = 1;
const MTU: u16 = 1_500;

/// A gate, or the word why there is none here.
fn gate(mtu: u16) -> Option<Gate> {
    Gate::build(mtu, true).inspect_err(|why| println!("SKIPPED: no network namespaces here: {why}")).ok()
}

fn small_load() -> Load {
    Load { large: vec![12 << 20, 3 << 20], small: 150, small_bytes: 10_240, ..Load::default() }
}

fn case(load: Load, trouble: Trouble) -> Case {
    Case {
        suite: Suite::Std,
        load,
        sender: vec![("rate_mbit", 200), ("round_every_s", ROUND_EVERY_S), ("round_every_max_s", 4)],
        receiver: vec![("rate_mbit", 200)],
        trouble,
        patience: Duration::from_secs(60),
        import_gaps: false,
        forged: None,
    }
}

fn run(case: &Case, wire: &Wire) -> Outcome {
    // In memory where there is room: what is measured is the link, not a disk.
    let beside = if case.load.bytes() > 1 << 26 { Path::new("/dev/shm") } else { Path::new("/tmp") };
    let root = tempfile::Builder::new().prefix("trilock-rig-").tempdir_in(beside).unwrap();
    Rig::new(root.path(), Path::new(PROGRAM), case, wire).unwrap().run().unwrap()
}

fn assert_all_arrived(outcome: &Outcome) {
    let Outcome { total, delivered, wrong, named, silent, .. } = *outcome;
    assert_eq!((delivered, wrong, named, silent), (total, 0, 0, 0), "{outcome:?}");
}

const DISORDER: Mischief = Mischief { lost: 30, burst: 2, repeated: 300, late: 1_000 };

#[test]
fn behind_a_relay_that_loses_repeats_and_reorders_everything_arrives() {
    assert_all_arrived(&run(&case(small_load(), Trouble::None), &Wire::Relay(DISORDER)));
}

#[test]
fn both_ends_killed_in_the_middle_behind_a_relay_and_everything_arrives() {
    let kill = Trouble::Kill { outer: true, inner: true };
    assert_all_arrived(&run(&case(small_load(), kill), &Wire::Relay(DISORDER)));
}

#[test]
fn through_a_gate_that_loses_one_in_a_hundred_everything_arrives_and_nothing_comes_back() {
    let Some(gate) = gate(MTU) else { return };
    gate.lose(100).unwrap();
    let wire = Wire::Gate(gate, Mischief::default());
    let outcome = run(&case(small_load(), Trouble::None), &wire);
    assert_all_arrived(&outcome);
    let Wire::Gate(gate, _) = &wire else { return };
    let (inner, outer) = gate.packets().unwrap();
    // Neighbour discovery of IPv6 is all that ever knocks at the near end, and the rule drops it.
    assert!(inner > 10_000 && outer < 50, "{inner} datagrams came out, {outer} came back");
}

#[test]
fn an_outage_and_the_death_of_an_end_are_healed_by_later_rounds() {
    for trouble in [
        Trouble::Outage(Duration::from_millis(400)),
        Trouble::Kill { outer: true, inner: false },
        Trouble::Kill { outer: false, inner: true },
    ] {
        let Some(gate) = gate(MTU) else { return };
        assert_all_arrived(&run(&case(small_load(), trouble), &Wire::Gate(gate, Mischief::default())));
    }
}

#[test]
fn any_mtu_between_1200_and_9000_carries_and_a_wire_that_is_narrower_names_what_it_lost() {
    for mtu in [1_200, 1_400, 9_000] {
        let Some(gate) = gate(mtu) else { return };
        let mut case =
            case(Load { large: vec![2 << 20], small: 20, small_bytes: 10_240, ..Load::default() }, Trouble::None);
        case.sender.push(("mtu", mtu.into()));
        assert_all_arrived(&run(&case, &Wire::Gate(gate, Mischief::default())));
    }
    // Datagrams are never fragmented: where they do not fit only beacons do, and those say what is missing.
    let Some(gate) = gate(MTU) else { return };
    gate.narrow(1_200).unwrap();
    let mut case =
        case(Load { large: vec![2 << 20], small: 20, small_bytes: 10_240, ..Load::default() }, Trouble::None);
    case.patience = Duration::from_secs(3);
    let outcome = run(&case, &Wire::Gate(gate, Mischief::default()));
    assert_eq!((outcome.delivered, outcome.named, outcome.silent), (0, 21, 0), "{outcome:?}");
}

/// A wire that is down for all of the first round, and no second round within the hour: the harness must see that
/// nothing came, and all of it must be named. Then the gap report is carried back.
#[test]
fn without_later_rounds_what_is_lost_stands_in_the_gap_report_and_comes_when_that_is_carried_back() {
    let load = Load { large: Vec::new(), small: 300, small_bytes: 10_240, ..Load::default() };
    let mut case = case(load, Trouble::DownForRoundOne);
    // Slow enough for a machine that is busy with other things: what its own buffers lose, nobody would send again.
    case.sender = vec![("rate_mbit", 50), ("round_every_s", 3_600), ("round_every_max_s", 3_600)];
    case.patience = Duration::from_secs(4);
    case.import_gaps = true;
    let outcome = run(&case, &Wire::Relay(Mischief::default()));
    assert_eq!((outcome.delivered, outcome.named, outcome.silent), (0, 300, 0), "{outcome:?}");
    assert_eq!(outcome.delivered_after_import, Some(300), "{outcome:?}");
}

#[test]
fn what_is_neither_here_nor_named_counts_as_lost_in_silence() {
    assert_eq!(account(10, 7, &[(3, 4)]), (2, 1));
    assert_eq!(account(10, 10, &[]), (0, 0));
    assert_eq!(account(10, 0, &[]), (0, 10));
}

/// Repair of 1 %, no second round within the hour, and a wire that loses one in five: what a block lost stays lost.
#[test]
fn a_link_that_is_not_allowed_to_repair_loses_and_says_so() {
    let load = Load { large: Vec::new(), small: 1_000, small_bytes: 10_240, ..Load::default() };
    let mut case = case(load, Trouble::None);
    let small = [("repair_percent", 1), ("repair_first_percent", 1), ("block_kib", 64), ("interleave", 1)];
    let never = [("rate_mbit", 200), ("round_every_s", 3_600), ("round_every_max_s", 3_600)];
    case.sender = [never.as_slice(), small.as_slice()].concat();
    case.patience = Duration::from_secs(4);
    let outcome = run(&case, &Wire::Relay(Mischief { lost: 100, ..Mischief::default() }));
    assert!(outcome.named > 0 && outcome.delivered > 0 && outcome.silent == 0, "{outcome:?}");
    assert_eq!(outcome.delivered + outcome.named, 1_000, "{outcome:?}");
}

/// One line of the table: how the wire is, what happens, and within how many seconds all must be there.
struct Line {
    name: &'static str,
    lost_of_10_000: u32,
    mischief: Mischief,
    trouble: Trouble,
    within_s: u64,
}

fn lines() -> Vec<Line> {
    let line = |name, lost_of_10_000, trouble, within_s| Line {
        name,
        lost_of_10_000,
        mischief: Mischief::default(),
        trouble,
        within_s,
    };
    let outage = |ms| Trouble::Outage(Duration::from_millis(ms));
    let kill = |outer, inner| Trouble::Kill { outer, inner };
    let disorder = Mischief { repeated: 100, late: 500, ..Mischief::default() };
    vec![
        line("no loss", 0, Trouble::None, 10),
        line("0.1 % lost", 10, Trouble::None, 10),
        line("1 % lost", 100, Trouble::None, 10),
        Line { mischief: disorder, ..line("5 % late by up to 200 datagrams, 1 % twice", 0, Trouble::None, 10) },
        line("100 ms outage", 0, outage(100), 10),
        line("5 % lost", 500, Trouble::None, 120),
        line("2 s outage", 0, outage(2_000), 120),
        line("kill -9 of the sender", 0, kill(true, false), 120),
        line("kill -9 of the receiver", 0, kill(false, true), 120),
        line("kill -9 of both", 0, kill(true, true), 120),
    ]
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// 1 GiB and 2,000 entries of 10 KiB. `RUNS`, `RATE` (Mbit/s) and `MIB` change the size of it, `LINE` picks one.
#[test]
fn the_whole_table() {
    if std::env::var_os("TRILOCK_SOAK").is_none() {
        return;
    }
    let (runs, rate, mib) = (number("RUNS", 5), number("RATE", 1_000), number("MIB", 1_024));
    println!(
        "| {mib} MiB and 2,000 x 10 KiB at {rate} Mbit/s, {runs} runs | delivered | lost in silence | named at the end | s after round 1, least to most | blocks repaired | CPU s/GB both ends | RSS MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let picked = std::env::var("LINE").ok();
    for line in lines().into_iter().filter(|line| picked.as_ref().is_none_or(|name| line.name.contains(name.as_str())))
    {
        let outcomes: Vec<Outcome> = (0..runs).filter_map(|_| one_of_the_table(&line, rate, mib)).collect();
        if outcomes.is_empty() {
            return;
        }
        println!("{}", row(&line, &outcomes));
        outcomes.iter().for_each(assert_all_arrived);
    }
}

fn one_of_the_table(line: &Line, rate: u64, mib: u64) -> Option<Outcome> {
    let gate = gate(MTU)?;
    gate.lose(line.lost_of_10_000).unwrap();
    let load = Load { large: vec![mib << 20], small: 2_000, small_bytes: 10_240, ..Load::default() };
    let mut case = case(load, line.trouble);
    case.sender = vec![("rate_mbit", rate), ("round_every_s", ROUND_EVERY_S), ("round_every_max_s", 30)];
    case.receiver = vec![("rate_mbit", rate)];
    case.patience = Duration::from_secs(line.within_s);
    let outcome = run(&case, &Wire::Gate(gate, line.mischief));
    println!("    {}: {outcome:?}", line.name);
    Some(outcome)
}

fn row(line: &Line, outcomes: &[Outcome]) -> String {
    let sum = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    let after = outcomes.iter().filter_map(|outcome| outcome.seconds_after_round_one);
    let least = after.clone().fold(f64::INFINITY, f64::min);
    let most = after.fold(0.0, f64::max);
    let cpu = |o: &Outcome| (o.cpu_s.0 + o.cpu_s.1) / (o.bytes as f64 / 1e9);
    let cpu: Vec<String> = outcomes.iter().map(|outcome| format!("{:.2}", cpu(outcome))).collect();
    let repaired: Vec<String> = outcomes.iter().map(|o| o.last.1["repaired"].to_string()).collect();
    format!(
        "| {} | {} of {} | {} | {} | {least:.1} to {most:.1} | {} | {} | {} / {} |",
        line.name,
        sum(|o| o.delivered),
        sum(|o| o.total),
        sum(|o| o.silent),
        sum(|o| o.named),
        repaired.join(", "),
        cpu.join(", "),
        outcomes.iter().map(|o| o.rss_mib.0).max().unwrap_or(0),
        outcomes.iter().map(|o| o.rss_mib.1).max().unwrap_or(0),
    )
}
