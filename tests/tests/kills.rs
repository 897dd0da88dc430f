//! `kill -9` of the real programs at random moments, under a steady stream of drops: the three daemons and every command
//! of `ferry`. A daemon that died is started again at once and must come up by itself; a command that died is run again.
//! In the end every drop was delivered once, byte for byte, and every ledger is sound.
//!
//! The seed is printed; `KILLS_SEED=n` draws the same moments again (the programs' own timing is theirs). A run that
//! fails leaves its folder with spools and logs.
#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test fail as a test does")]
#![allow(clippy::disallowed_methods, reason = "a test makes and removes files as an app or a person would")]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use tests::courier::{Courier, Step};
use tests::lives::Lives;
use tests::office::{Office, OneWay, Wishes};
use tests::programs::{programs, repository};
use tests::traffic::{Traffic, lanes};
use tests::world::ground;

const KILLS: usize = 200;
const KILLS_SOAK: usize = 1_200;
/// Once nobody is killed any more everything comes to rest within this.
const REST: Duration = Duration::from_secs(180);
/// Drops of a route that are on their way at once: enough to hit every stage, few enough to come to rest.
const OUTSTANDING_MAX: usize = 12;
/// Between two looks of the harness.
const LOOK: Duration = Duration::from_millis(5);
const NODES: [&str; 3] = ["internet", "extranet", "intranet"];
const ARCHIVE_BYTES: usize = 2_000_000;

/// Looks once at everything that happens by itself.
fn look(harness: &mut Lives, traffic: &mut Traffic, courier: &mut Courier) {
    for node in NODES {
        harness.look_at(node).unwrap();
    }
    courier.advance(&harness.office).unwrap();
    for node in ["extranet", "intranet"] {
        traffic.pick_up(&harness.office, node).unwrap();
    }
    assert!(traffic.wrong.is_empty(), "{:#?}", traffic.wrong);
    assert!(traffic.again.is_empty(), "delivered twice: {:?}", traffic.again);
    assert!(courier.failed.is_empty(), "{:#?}", courier.failed);
    std::thread::park_timeout(LOOK);
}

fn run(root: &Path, seed: u64, kills: usize, one_way: OneWay) {
    let wishes = Wishes {
        suite: "std".to_owned(),
        one_way,
        repository: repository(),
        programs: programs().to_owned(),
        round_every_s: 1,
    };
    let office = Office::found(root, wishes, Ok).unwrap();
    // One route waits for markers, as `docs` tell apps to do that cannot rename.
    for node in ["internet", "extranet"] {
        let config = fs::read_to_string(office.config(node)).unwrap();
        let (before, after) = config.split_once("name = \"own-files\"").unwrap();
        let after = after.replacen("intake = \"rename\"", "intake = \"ready\"", 1);
        fs::write(office.config(node), format!("{before}name = \"own-files\"{after}")).unwrap();
    }
    let _gate = (one_way == OneWay::Folder).then(|| tests::gate::Gate::start(&office.gate.0, &office.gate.1).unwrap());
    let mut traffic = Traffic::new(lanes(ARCHIVE_BYTES), seed);
    let mut courier = Courier::default();
    let mut harness = Lives::new(office, seed);
    let began = Instant::now();
    NODES.into_iter().for_each(|node| harness.start(node).unwrap());
    let mut next_drop = Instant::now();
    while harness.total() < kills {
        look(&mut harness, &mut traffic, &mut courier);
        let now = Instant::now();
        if now >= next_drop {
            traffic.drop_one(&harness.office, OUTSTANDING_MAX).unwrap();
            next_drop = now + Duration::from_millis(10 + harness.noise.below(60));
        }
        harness.work(&mut courier).unwrap();
    }
    let killed_for = began.elapsed();
    harness.killing = false;
    // Nobody dies any more: what is on its way arrives.
    let until = Instant::now() + REST;
    while !traffic.outstanding().is_empty() || courier.step() != Step::Export || courier.is_running() {
        look(&mut harness, &mut traffic, &mut courier);
        if !courier.is_running() && (courier.step() != Step::Export || !traffic.outstanding().is_empty()) {
            courier.start(&harness.office).unwrap();
        }
        assert!(Instant::now() < until, "not delivered: {:?}, ferry at {:?}", traffic.outstanding(), courier.step());
    }
    // One more start of each, which takes up whatever is left anywhere: it must be nothing that an outlet ever saw.
    for node in NODES {
        harness.office.kill(node).unwrap();
        harness.start(node).unwrap();
    }
    while harness.is_starting() {
        look(&mut harness, &mut traffic, &mut courier);
    }
    traffic.read_notices(&harness.office);
    let forgotten: Vec<_> =
        traffic.parcels().iter().filter(|parcel| !parcel.acknowledged).map(|parcel| &parcel.name).collect();
    assert!(forgotten.is_empty(), "delivered, and their apps were told nothing: {forgotten:?}");
    look(&mut harness, &mut traffic, &mut courier);
    let trust = root.join("extranet/trust").to_string_lossy().into_owned();
    for node in NODES {
        harness.office.kill(node).unwrap();
        for command in [vec!["ledger", "verify", "--dir"], vec!["verify"]] {
            let place = harness.office.spool(node).join(if command.len() == 1 { "evidence" } else { "ledger" });
            let place = place.to_string_lossy().into_owned();
            harness.office.ferry(&[&command[..], &[&place, "--trust", &trust]].concat()).unwrap();
        }
    }
    println!(
        "seed {seed}, {one_way:?}: {} kills in {:.0} s {:?}; {} drops, each delivered once; {} trips; 0 lost, 0 twice, 0 failed starts (slowest {} ms); {:.0} s in all",
        harness.total(),
        killed_for.as_secs_f64(),
        harness.kills,
        traffic.parcels().len(),
        courier.carried,
        harness.slowest_start.as_millis(),
        began.elapsed().as_secs_f64(),
    );
}

/// Keeps the folder of a run that failed.
struct Kept(Option<tempfile::TempDir>);

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(folder) = self.0.take().filter(|_| std::thread::panicking()) {
            println!("spools and logs stay in {}", folder.keep().display());
        }
    }
}

fn killed(kills: usize, one_way: OneWay) {
    let given = std::env::var("KILLS_SEED").ok().and_then(|word| word.parse().ok());
    let seed = given.unwrap_or_else(|| u64::from(std::process::id()) | 1 << 20);
    println!("KILLS_SEED={seed}");
    let folder = tempfile::Builder::new().prefix("trilock-kills-").tempdir_in(ground()).unwrap();
    let root = folder.path().to_owned();
    // Dropped after the office, whose daemons write there.
    let _kept = Kept(Some(folder));
    run(&root, seed, kills, one_way);
}

fn soak() -> bool {
    std::env::var_os("TRILOCK_SOAK").is_some()
}

#[test]
fn programs_that_are_killed_at_any_moment_lose_nothing_and_deliver_nothing_twice() {
    killed(if soak() { KILLS_SOAK } else { KILLS }, OneWay::Diode);
}

#[test]
fn the_same_holds_over_a_gate_that_moves_files() {
    // The daemons are the same; in a normal run the other carrier stands for both.
    if soak() {
        killed(KILLS, OneWay::Folder);
    }
}
