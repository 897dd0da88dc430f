//! A node with a past of a million parcels: how fast the index is built anew, how soon it starts, how much memory it
//! takes, and what one record and one question cost it.
//!
//! Every step is a process of its own, this program started once more, so that the memory of one is not the memory of
//! another and a start after `kill -9` is one.

use std::ffi::OsStr;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use protocol::keys::SigningKey;
use protocol::ledger::Local;
use protocol::receipt::Outcome;
use protocol::{Suite, Timestamp};
use spool::{Bell, Filter, Seen, Spool, SpoolError, State};

use crate::history;

/// The past that the figures are asked for.
const PARCELS: u64 = 1_000_000;
/// Parcels accepted before the receipts of one come.
const LAG: u64 = 200;
/// The first argument that makes this program a step.
pub const STEP: &str = "figures-history";
/// How long the daemon of the memory figure lives.
const LIVE: Duration = Duration::from_secs(15);
/// Records a second while it does.
const RATE: u64 = 1_000;
/// Threads that record in it, as the stages and links of a daemon do.
const RECORDERS: u64 = 16;

/// Prints the rows. `PARCELS=n` and `LAG=n` in the environment make another past. The load of the machine stands beside
/// what took wall time: on a busy one the CPU seconds are what can be compared.
pub fn run() -> io::Result<()> {
    let dir = tempfile::tempdir()?;
    let began = Instant::now();
    let made = step("make", dir.path())?;
    println!("| a past of {} parcels, written | {made} in {:.1} s | |", parcels(), began.elapsed().as_secs_f64());
    println!("| first start with it: levels and index from the records | {} | |", step("start", dir.path())?);
    println!("| index rebuilt | {} | >= 100,000 parcels/s |", step("rebuild", dir.path())?);
    println!("| start after a clean stop | {} | <= 2 s |", step("start", dir.path())?);
    println!("| {RATE} records/s with look-ups and listings | {} | RSS <= 200 MB |", step("live", dir.path())?);
    println!("| records one after the other, and from 64 threads | {} | |", step("record", dir.path())?);
    println!("| start after kill -9 under that load | {} | <= 2 s |", killed(dir.path())?);
    Ok(())
}

/// This program as one step of the figures, where it was started as such.
#[must_use]
pub fn is_step() -> Option<io::Result<()>> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != STEP {
        return None;
    }
    let (what, dir) = (arguments.next()?, arguments.next()?);
    Some(do_step(&what, Path::new(&dir)).map(|said| println!("{said}")))
}

fn command(what: &str, dir: &Path) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(STEP).arg(what).arg(dir);
    Ok(command)
}

fn step(what: &str, dir: &Path) -> io::Result<String> {
    let output = command(what, dir)?.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("{what}: {}", output.status)));
    }
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok(said.lines().last().unwrap_or_default().to_owned())
}

/// Kills a living daemon in the middle of its records, then starts the next one.
fn killed(dir: &Path) -> io::Result<String> {
    let mut child = command("live", dir)?.env("UNTIL_KILLED", (5 * RATE).to_string()).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    if let Some(said) = child.stdout.take() {
        BufReader::new(said).read_line(&mut line)?;
    }
    child.kill()?;
    child.wait()?;
    step("start", dir)
}

fn do_step(what: &OsStr, dir: &Path) -> io::Result<String> {
    match what.to_str() {
        Some("make") => make(dir),
        Some("start") => start(dir),
        Some("rebuild") => rebuild(dir),
        Some("live") => live(dir),
        Some("record") => record(dir),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

fn number_of(variable: &str, or: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(or)
}

fn parcels() -> u64 {
    number_of("PARCELS", PARCELS)
}

fn lag() -> u64 {
    number_of("LAG", LAG)
}

fn now() -> Timestamp {
    history::moment(parcels() + 2 * lag())
}

fn key(dir: &Path) -> io::Result<SigningKey> {
    let path = dir.join("key.pem");
    if !path.exists() {
        std::fs::write(&path, SigningKey::generate(Suite::Std).to_pem(None).map_err(io::Error::other)?)?;
    }
    SigningKey::from_pem(&std::fs::read_to_string(&path)?, None).map_err(io::Error::other)
}

fn make(dir: &Path) -> io::Result<String> {
    let setup = history::setup(dir, &key(dir)?, now());
    spool::create(&setup).map_err(io::Error::other)?;
    let past = history::write(dir, Suite::Std, parcels(), lag())?;
    Ok(format!("{} records, {} MB", past.records, past.bytes / 1_000_000))
}

fn open(dir: &Path) -> io::Result<(Spool, f64)> {
    let setup = history::setup(dir, &key(dir)?, now());
    let began = Instant::now();
    let spool = Spool::open(setup).map_err(io::Error::other)?;
    Ok((spool, began.elapsed().as_secs_f64()))
}

fn start(dir: &Path) -> io::Result<String> {
    let (spool, seconds) = open(dir)?;
    let counted: u64 = spool.counts().map_err(io::Error::other)?.values().sum();
    drop(spool);
    Ok(format!("{seconds:.2} s ({counted} parcels, {})", used()))
}

fn rebuild(dir: &Path) -> io::Result<String> {
    let (spool, _) = open(dir)?;
    let before = spool.counts().map_err(io::Error::other)?;
    println!("begun");
    let (began, cpu) = (Instant::now(), cpu_seconds());
    spool.rebuild_index().map_err(io::Error::other)?;
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    if spool.counts().map_err(io::Error::other)? != before {
        return Err(io::Error::other("the index rebuilt says something else than the one before"));
    }
    let counted: u64 = before.values().sum();
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let rate = counted as f64 / seconds;
    Ok(format!("{rate:.0} parcels/s ({seconds:.2} s, {cpu:.1} CPU s, {})", used()))
}

/// Acceptances recorded as fast as they come, by one thread and by many: what one costs beside its sync.
fn record(dir: &Path) -> io::Result<String> {
    const RECORDS: u64 = 2_000;
    let (spool, _) = open(dir)?;
    let next = AtomicU64::new(parcels() + spool.head().size);
    let some = &|| {
        for _ in 0..RECORDS {
            let number = next.fetch_add(1, Ordering::SeqCst);
            let record = history::accepted(number, now(), spool.epoch(), number);
            spool.record(record, history::words(number)).map_err(io::Error::other)?;
        }
        Ok::<(), io::Error>(())
    };
    let told = |what: &str, records: u64, began: Instant, cpu: f64| {
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let (rate, cost) = (records as f64 / began.elapsed().as_secs_f64(), cpu / records as f64 * 1e6);
        format!("{what}: {rate:.0}/s, {cost:.0} CPU µs each")
    };
    let (began, cpu) = (Instant::now(), cpu_seconds());
    some()?;
    let one = told("one thread", RECORDS, began, cpu_seconds() - cpu);
    let (began, cpu) = (Instant::now(), cpu_seconds());
    std::thread::scope(|scope| {
        let threads = (1..=64)
            .map(|place| std::thread::Builder::new().name(format!("recorder-{place}")).spawn_scoped(scope, some));
        let threads = threads.collect::<io::Result<Vec<_>>>()?;
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| io::Error::other("a thread died"))?)
    })?;
    let many = told("64 threads", 64 * RECORDS, began, cpu_seconds() - cpu);
    // The same bytes with the same syncs and nothing else.
    let mut plain = std::fs::File::create(dir.join("plain"))?;
    let began = Instant::now();
    for _ in 0..RECORDS / 4 {
        plain.write_all(&[0; 400])?;
        plain.sync_data()?;
    }
    let sync = began.elapsed() / u32::try_from(RECORDS / 4).unwrap_or(u32::MAX);
    Ok(format!("{one}; {many}; a plain append and sync {} µs; {}", sync.as_micros(), used()))
}

/// CPU seconds, peak and present memory of this process, and the machine's load.
fn used() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mib = |field: &str| {
        let line = status.lines().find(|line| line.starts_with(field)).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
    };
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default().to_owned();
    format!("{:.1} CPU s in all, {} MiB at its peak, load {load}", cpu_seconds(), mib("VmHWM"))
}

fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = text.rsplit(") ").next().unwrap_or_default().to_owned();
    let ticks: f64 = after.split(' ').skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    ticks / 100.0
}

/// What calls of one kind took.
#[derive(Default)]
struct Costs(Vec<u64>);

impl Costs {
    fn of<T>(&mut self, call: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let done = call();
        self.0.push(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
        done
    }
    fn words(mut self, what: &str) -> String {
        self.0.sort_unstable();
        let at = |percent: usize| self.0.get(self.0.len().saturating_sub(1) * percent / 100).copied().unwrap_or(0);
        format!("{what} {}/{} µs", at(50), at(99))
    }
}

/// A daemon in small, for a while, or until it is killed after so many records: threads that record about new parcels at a fixed rate, and one that asks.
fn live(dir: &Path) -> io::Result<String> {
    let (spool, _) = open(dir)?;
    let ready = number_of("UNTIL_KILLED", 0);
    let (over, recorded) = (Bell::default(), AtomicU64::new(0));
    let began = Instant::now();
    let said = std::thread::scope(|scope| {
        for place in 0..RECORDERS {
            let (spool, over, recorded) = (&spool, &over, &recorded);
            std::thread::Builder::new()
                .name(format!("recorder-{place}"))
                .spawn_scoped(scope, move || records(spool, place, began, over, recorded))?;
        }
        let said = asks(&spool, began, ready, &recorded);
        over.ring();
        said
    })?;
    let rate = recorded.load(Ordering::SeqCst) / LIVE.as_secs();
    Ok(format!("{rate} records/s; median/p99: {said}; {}", used()))
}

fn records(spool: &Spool, place: u64, began: Instant, over: &Bell, recorded: &AtomicU64) {
    let outcomes = [None, Some(Outcome::Arrived), Some(Outcome::Delivered)];
    // Beyond the past, and beyond what an earlier step added to it.
    let first = parcels() + spool.head().size;
    let mut turn = 0;
    loop {
        for outcome in outcomes {
            let due = began + Duration::from_micros(turn * RECORDERS * 1_000_000 / RATE);
            if over.wait(0, due.saturating_duration_since(Instant::now())) > 0 {
                return;
            }
            let number = first + (turn / 3) * RECORDERS + place;
            let (record, local) = match outcome {
                None => (history::accepted(number, now(), spool.epoch(), number), history::words(number)),
                Some(outcome) => (history::receipt(number, now(), outcome), Local::none()),
            };
            if spool.record(record, local).is_ok() {
                recorded.fetch_add(1, Ordering::SeqCst);
            }
            turn += 1;
        }
    }
}

fn asks(spool: &Spool, began: Instant, ready: u64, recorded: &AtomicU64) -> io::Result<String> {
    let (mut parcel, mut bundle, mut seen, mut counts) =
        (Costs::default(), Costs::default(), Costs::default(), Costs::default());
    let (mut newest, mut label, mut refused, mut rare) =
        (Costs::default(), Costs::default(), Costs::default(), Costs::default());
    let (mut turn, mut told) = (0_u64, false);
    while ready > 0 || began.elapsed() < LIVE {
        let heard = spool.bell().generation();
        turn += 1;
        let number = turn.wrapping_mul(0x9e37_79b9_7f4a_7c15) % parcels();
        let fail = |error| io::Error::other::<SpoolError>(error);
        let wrong = |words: &str| io::Error::other(words.to_owned());
        let found = parcel.of(|| spool.parcel(&history::parcel(number))).map_err(fail)?;
        let found = found.and_then(|found| found.sent).ok_or_else(|| wrong("a parcel of the past is not known"))?;
        bundle.of(|| spool.bundle_taken(&found.bundle)).map_err(fail)?;
        let known = seen.of(|| spool.seen(&history::extranet(), history::OUT.back(), 5, 1)).map_err(fail)?;
        if known != Seen::Before {
            return Err(wrong("a number of the past is not known"));
        }
        if turn.is_multiple_of(10) {
            counts.of(|| spool.counts()).map_err(fail)?;
            newest.of(|| spool.parcels(&Filter::default(), 100)).map_err(fail)?;
            let wanted = Filter { label: Some(history::case(number & !1)), ..Filter::default() };
            let rows = label.of(|| spool.parcels(&wanted, 100)).map_err(fail)?;
            if rows.len() != 1 {
                return Err(wrong("a label of the past finds not exactly its parcel"));
            }
            let wanted = Filter { state: Some(State::Refused), ..Filter::default() };
            refused.of(|| spool.parcels(&wanted, 100)).map_err(fail)?;
        }
        if turn == 50 {
            // Finds nothing: the longest that a listing can take.
            let wanted = Filter { state: Some(State::Withdrawn), ..Filter::default() };
            rare.of(|| spool.parcels(&wanted, 100)).map_err(fail)?;
        }
        if ready > 0 && !told && recorded.load(Ordering::SeqCst) >= ready {
            println!("ready");
            told = true;
        }
        // Asked anew whenever something was recorded.
        spool.bell().wait(heard, LIVE);
    }
    let all = [
        parcel.words("parcel"),
        bundle.words("bundle"),
        seen.words("seen"),
        counts.words("counts"),
        newest.words("newest 100"),
        label.words("by label"),
        refused.words("100 refused"),
        rare.words("a search in vain"),
    ];
    Ok(all.join(", "))
}
