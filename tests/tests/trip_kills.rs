//! `kill -9` at random moments of exports, countersignatures, confirmations and imports, and of both daemons under them, with
//! the real programs and a steady stream of results that leave the internal zone, on one medium and on several volumes, with
//! parity and without. Whoever was killed is run again, on the media as they are. In the
//! end nothing was lost, nothing came twice, and no trip stands half marked: each that was carried is settled in the
//! internal zone's ledger, by receipts that came home through the light gate and no second medium. Intakes of survey files at
//! the same desk are killed too: each folder comes in once, whole, as its signed listing says.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a story stops at the first surprise")]
#![allow(clippy::disallowed_methods, reason = "a test writes a config as an administrator would")]

use std::time::{Duration, Instant};

use tests::courier::{LARGE_RESULTS, RESULTS};
use tests::lives::Lives;
use tests::office::{Office, OneWay, Wishes};
use tests::ordeal::{Fault, Ordeal};
use tests::programs::{programs, repository};
use tests::surveyor::{ROUTE, Surveyor};
use tests::traffic::Traffic;
use tests::world::ground;

/// Of exports, confirmations and imports; those of daemons and of countersignatures come on top.
const KILLS: usize = 60;
const KILLS_SOAK: usize = 1_000;
/// The commands that are counted; a reexport is an export.
const COUNTED: [&str; 4] = ["ferry export", "ferry reexport", "ferry confirm", "ferry import"];
const NODES: [&str; 2] = ["extranet", "intranet"];
/// Once nobody is killed any more everything is settled within this.
const REST: Duration = Duration::from_secs(180);
/// Between two drops, in milliseconds.
const PAUSE_MS: (u64, u64) = (20, 120);

/// Kills of the commands that are counted.
fn counted(lives: &Lives) -> usize {
    COUNTED.iter().filter_map(|command| lives.kills.get(*command)).sum()
}

fn run(office: Office, seed: u64, kills: usize) -> Result<(), Fault> {
    let began = Instant::now();
    let mut ordeal = Ordeal::begin(office, Traffic::new(vec![RESULTS, LARGE_RESULTS], seed), seed, &NODES, REST)?;
    // Survey files come in meanwhile, at the same desk.
    ordeal.surveyor = Some(Surveyor::new(seed));
    // Mostly the commands: what their daemons make of being killed, another test counts.
    (ordeal.lives.daemon_ms, ordeal.lives.command_ms) = ((300, 3_000), 250);
    ordeal.kill(kills, counted, PAUSE_MS)?;
    let killed = &ordeal.lives.kills;
    let each =
        ["ferry confirm", "ferry import", "ferry intake"].into_iter().chain(NODES).all(|who| killed.contains_key(who));
    assert!(each, "nobody killed these: {killed:?}");
    ordeal.come_to_rest()?;
    let trips = ordeal.settle()?;
    ordeal.tell()?;
    ordeal.tidy()?;
    ordeal.verify()?;
    let taken = ordeal.surveyor.as_ref().map_or(0, |surveyor| surveyor.taken);
    assert!(taken > 0, "nothing was taken in");
    println!(
        "seed {seed}: {taken} folders of survey files taken in, each whole, listed and signed; {} kills of exports, confirmations and imports, {} in all, in {:.0} s {:?}; {} results, each delivered once; {} trips on {} media, each settled; {} exports taken up; 0 lost, 0 twice, 0 half marked",
        counted(&ordeal.lives),
        ordeal.lives.total(),
        began.elapsed().as_secs_f64(),
        ordeal.lives.kills,
        ordeal.traffic.parcels().len(),
        trips,
        ordeal.courier.media,
        ordeal.courier.taken_up,
    );
    Ok(())
}

#[test]
fn exports_confirmations_and_imports_that_are_killed_lose_double_and_half_mark_nothing() {
    let kills = if std::env::var_os("TRILOCK_SOAK").is_some() { KILLS_SOAK } else { KILLS };
    let given = std::env::var("KILLS_SEED").ok().and_then(|word| word.parse().ok());
    let seed: u64 = given.unwrap_or_else(|| u64::from(std::process::id()) | 1 << 21);
    println!("KILLS_SEED={seed}");
    let folder = tempfile::Builder::new().prefix("trilock-trip-kills-").tempdir_in(ground()).unwrap();
    let wishes = Wishes {
        suite: "std".to_owned(),
        one_way: OneWay::Diode,
        repository: repository(),
        programs: programs().to_owned(),
        round_every_s: 1,
    };
    let office = Office::found(folder.path(), wishes, Ok).unwrap();
    // A drop that is not yet still for long enough stays where it is, to be looked at.
    let config = office.config("intranet");
    let text = std::fs::read_to_string(&config).unwrap();
    let (before, after) = text.split_once(ROUTE).unwrap();
    std::fs::write(
        config,
        format!("{before}{ROUTE}{}", after.replacen("\"rename\"", "\"settle\"\nsettle_s = 4_000_000", 1)),
    )
    .unwrap();
    run(office, seed, kills).unwrap();
}
