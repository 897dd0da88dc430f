//! `kill -9` of the real programs at random moments, under a steady stream of drops: the three daemons and every command
//! of `ferry`. A daemon that died is started again at once and must come up by itself; a command that died is run again.
//! In the end every drop was delivered once, byte for byte, is proven at every node, and every ledger is sound.
//!
//! The seed is printed; `KILLS_SEED=n` draws the same moments again (the programs' own timing is theirs). A run that
//! fails leaves its folder with spools and logs.
#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test fail as a test does")]
#![allow(clippy::disallowed_methods, reason = "a test makes and removes files as an app or a person would")]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use tests::lives::Lives;
use tests::office::{Office, OneWay, Wishes};
use tests::ordeal::{Fault, Ordeal};
use tests::programs::{programs, repository};
use tests::traffic::{Traffic, lanes};
use tests::world::ground;

const KILLS: usize = 200;
const KILLS_SOAK: usize = 1_200;
/// Once nobody is killed any more everything comes to rest within this.
const REST: Duration = Duration::from_secs(180);
/// Between two drops, in milliseconds.
const PAUSE_MS: (u64, u64) = (10, 70);
const NODES: [&str; 3] = ["internet", "extranet", "intranet"];
const ARCHIVE_BYTES: usize = 2_000_000;

fn run(root: &Path, seed: u64, kills: usize, one_way: OneWay) -> Result<(), Fault> {
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
    let began = Instant::now();
    let mut ordeal = Ordeal::begin(office, Traffic::new(lanes(ARCHIVE_BYTES), seed), seed, &NODES, REST)?;
    ordeal.kill(kills, Lives::total, PAUSE_MS)?;
    let killed_for = began.elapsed();
    ordeal.come_to_rest()?;
    ordeal.restart_all()?;
    ordeal.tell()?;
    ordeal.verify()?;
    println!(
        "seed {seed}, {one_way:?}: {} kills in {:.0} s {:?}; {} drops, each delivered once; {} trips; 0 lost, 0 twice, 0 failed starts (slowest {} ms); {:.0} s in all",
        ordeal.lives.total(),
        killed_for.as_secs_f64(),
        ordeal.lives.kills,
        ordeal.traffic.parcels().len(),
        ordeal.courier.carried,
        ordeal.lives.slowest_start.as_millis(),
        began.elapsed().as_secs_f64(),
    );
    Ok(())
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
    run(&root, seed, kills, one_way).unwrap();
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
