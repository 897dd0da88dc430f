//! `kill -9` at random moments of exports, countersignatures, confirmations and imports, and of both daemons under them, with
//! the real programs and a steady stream of results that leave the internal zone, on one medium and on several volumes, with
//! parity and without. Whoever was killed is run again, on the media as they are. In the
//! end nothing was lost, nothing came twice, and no trip stands half marked: each that was carried is settled in the
//! internal zone's ledger, by receipts that came home through the light gate and no second medium.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a story stops at the first surprise")]

use std::time::{Duration, Instant};

use serde_json::Value;
use tests::courier::{Courier, LARGE_RESULTS, RESULTS, Step};
use tests::lives::Lives;
use tests::office::{Office, OneWay, Wishes};
use tests::programs::{programs, repository};
use tests::traffic::Traffic;
use tests::twins::names;
use tests::world::ground;

const KILLS: usize = 60;
const KILLS_SOAK: usize = 1_000;
const NODES: [&str; 2] = ["extranet", "intranet"];
/// Results on their way at once.
const OUTSTANDING_MAX: usize = 12;
/// Once nobody is killed any more everything is settled within this.
const REST: Duration = Duration::from_secs(180);
const LOOK: Duration = Duration::from_millis(5);

fn look(lives: &mut Lives, traffic: &mut Traffic, courier: &mut Courier) {
    NODES.into_iter().for_each(|node| lives.look_at(node).unwrap());
    courier.advance(&lives.office).unwrap();
    traffic.pick_up(&lives.office, "extranet").unwrap();
    traffic.read_notices(&lives.office);
    assert!(traffic.wrong.is_empty(), "{:#?}", traffic.wrong);
    assert!(traffic.again.is_empty(), "delivered twice: {:?}", traffic.again);
    assert!(courier.failed.is_empty(), "{:#?}", courier.failed);
    std::thread::park_timeout(LOOK);
}

/// What a node tells of its trips, by number; none where it is just writing that down.
fn trips(office: &Office, node: &str) -> Option<Vec<(u64, String)>> {
    let text = std::fs::read(office.spool(node).join("status/trips.json")).ok()?;
    let list: Vec<Value> = serde_json::from_slice(&text).ok()?;
    let mut trips: Vec<_> = list
        .iter()
        .map(|trip| Some((trip.get("trip")?.as_u64()?, trip.get("state")?.as_str()?.to_owned())))
        .collect::<Option<_>>()?;
    trips.sort();
    Some(trips)
}

/// Every trip that was opened is settled inside and imported outside.
fn is_settled(office: &Office) -> bool {
    let all = |node, wanted: &str| {
        let trips = trips(office, node)?;
        trips.iter().all(|(_, state)| state == wanted).then(|| trips.iter().map(|(trip, _)| *trip).collect::<Vec<_>>())
    };
    let (inside, outside) = (all("intranet", "settled"), all("extranet", "imported"));
    inside.is_some() && inside == outside
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
    let (mut traffic, mut courier) = (Traffic::new(vec![RESULTS, LARGE_RESULTS], seed), Courier::default());
    let mut lives = Lives::new(office, seed);
    // Mostly the commands: what their daemons make of being killed, another test counts.
    (lives.daemon_ms, lives.command_ms) = ((300, 3_000), 250);
    let began = Instant::now();
    NODES.into_iter().for_each(|node| lives.start(node).unwrap());
    let mut next_drop = Instant::now();
    while lives.total() < kills {
        look(&mut lives, &mut traffic, &mut courier);
        if Instant::now() >= next_drop {
            traffic.drop_one(&lives.office, OUTSTANDING_MAX).unwrap();
            next_drop = Instant::now() + Duration::from_millis(20 + lives.noise.below(100));
        }
        lives.work(&mut courier).unwrap();
    }
    lives.killing = false;
    let commands: usize = lives.kills.iter().filter(|(who, _)| who.starts_with("ferry")).map(|(_, count)| count).sum();
    assert!(commands * 3 > kills, "commands were killed too seldom: {:?}", lives.kills);
    let until = Instant::now() + REST;
    // Nobody dies any more: what is on its way arrives.
    while !traffic.outstanding().is_empty() || courier.step() != Step::Export || courier.is_running() {
        look(&mut lives, &mut traffic, &mut courier);
        if !courier.is_running() && (courier.step() != Step::Export || !traffic.outstanding().is_empty()) {
            courier.start(&lives.office).unwrap();
        }
        assert!(Instant::now() < until, "not delivered: {:?}, ferry at {:?}", traffic.outstanding(), courier.step());
    }
    while !is_settled(&lives.office) {
        look(&mut lives, &mut traffic, &mut courier);
        let told = NODES.map(|node| trips(&lives.office, node));
        assert!(Instant::now() < until, "not every trip is settled inside and imported outside: {told:?}");
    }
    let told = trips(&lives.office, "intranet").unwrap();
    let numbers: Vec<u64> = told.iter().map(|(trip, _)| *trip).collect();
    assert_eq!(numbers, (1..=told.len() as u64).collect::<Vec<_>>(), "no number is skipped or used twice");
    assert!(traffic.parcels().iter().all(|parcel| parcel.picked == 1 && parcel.acknowledged));
    for node in NODES {
        let spool = lives.office.spool(node);
        let places = ["desk/incoming", "desk/trips"].map(|folder| spool.join(folder));
        for place in places.iter().flat_map(|folder| names(folder).into_iter().map(move |name| folder.join(name))) {
            let left = names(&place);
            let papers = left.iter().all(|name| ["approvals", "trip.json", "waybill"].contains(&name.as_str()));
            assert!(papers, "{} still holds {left:?}", place.display());
        }
    }
    let hidden = std::fs::read_dir(lives.office.spool("extranet").join("desk/incoming")).unwrap();
    let half =
        hidden.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with(".tmp-")).count();
    assert_eq!(half, 0, "a copy that was interrupted is cleared away by the next");
    println!(
        "seed {seed}: {} kills in {:.0} s {:?}; {} results, each delivered once; {} trips on {} media, each settled; {} exports taken up; 0 lost, 0 twice, 0 half marked",
        lives.total(),
        began.elapsed().as_secs_f64(),
        lives.kills,
        traffic.parcels().len(),
        told.len(),
        courier.media,
        courier.taken_up,
    );
}
