//! Tests of tests: what `kills` and `trip_kills` say of a run that went wrong. Daemons that are killed lose nothing that was
//! not synced, so leaving out syncs would show nothing here; instead somebody's hand spoils the state of dead daemons, a
//! medium or an outlet, and the same verdict that passes a good run must name what was done. A run that nobody spoiled
//! passes, within the same time.
#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test fail as a test does")]
#![allow(clippy::disallowed_methods, reason = "a test makes and removes files as an app or a person would")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tests::courier::{LARGE_RESULTS, RESULTS, Step};
use tests::office::{Office, OneWay, Wishes};
use tests::ordeal::{Fault, Ordeal};
use tests::programs::{programs, repository};
use tests::traffic::{Kind, Lane, Traffic};
use tests::twins::names;
use tests::world::ground;

/// A good run comes to rest in a fraction of it; one that lost something takes all of it to say so.
const REST: Duration = Duration::from_secs(8);
/// Each step of a good run takes a fraction of it, on the busiest machine.
const STEP: Duration = Duration::from_secs(60);
const FORMS: Lane = Lane { from: "internet", to: "extranet", route: "applications", ready: false, kind: Kind::Form };
const GATEWAY: [&str; 2] = ["internet", "extranet"];
const FERRY: [&str; 2] = ["extranet", "intranet"];

/// A run with its folder, which goes when the daemons are gone.
struct Site {
    ordeal: Ordeal,
    folder: tempfile::TempDir,
}

impl Site {
    /// Two nodes are up, and nobody is killed but by the story.
    fn new(nodes: &'static [&'static str; 2], lanes: &[Lane]) -> Site {
        let folder = tempfile::Builder::new().prefix("trilock-ordeal-").tempdir_in(ground()).unwrap();
        let wishes = Wishes {
            suite: "std".to_owned(),
            one_way: OneWay::Diode,
            repository: repository(),
            programs: programs().to_owned(),
            round_every_s: 1,
        };
        let office = Office::found(folder.path(), wishes, Ok).unwrap();
        let ordeal = Ordeal::begin(office, Traffic::new(lanes.to_vec(), 1), 1, nodes, REST).unwrap();
        let mut site = Site { ordeal, folder };
        site.ordeal.lives.killing = false;
        site.until(|site| !site.ordeal.lives.is_starting());
        site
    }

    /// Looks until something is so. None of it is a fault.
    fn until(&mut self, so: impl Fn(&Site) -> bool) {
        let until = std::time::Instant::now() + STEP;
        while !so(self) {
            self.ordeal.look().unwrap();
            assert!(std::time::Instant::now() < until, "a good run does not come that far");
        }
    }

    fn spool(&self, node: &str) -> PathBuf {
        self.ordeal.lives.office.spool(node)
    }

    fn drop_on(&mut self, lane: Lane) {
        self.ordeal.traffic.drop_on(&self.ordeal.lives.office, lane).unwrap();
    }

    /// Some drops have an app's notice and wait for a node that is down.
    fn accepted(&mut self) {
        self.ordeal.lives.office.kill("extranet").unwrap();
        (0..3).for_each(|_| self.drop_on(FORMS));
        let told = |site: &Site| site.ordeal.traffic.untold(&site.ordeal.lives.office).is_empty();
        self.until(told);
        self.ordeal.lives.office.kill("internet").unwrap();
    }

    /// The daemons that were killed live again.
    fn live_again(&mut self) -> Result<(), Fault> {
        self.ordeal.restart_all()
    }

    /// Everything was delivered, and the daemons are dead.
    fn delivered(&mut self) {
        (0..3).for_each(|_| self.drop_on(FORMS));
        self.ordeal.come_to_rest().unwrap();
        self.ordeal.restart_all().unwrap();
        self.ordeal.end_all().unwrap();
    }

    /// The commands of a trip, up to one that is not begun.
    fn carry_to(&mut self, step: Step) {
        let until = std::time::Instant::now() + STEP;
        while self.ordeal.courier.step() != step || self.ordeal.courier.is_running() {
            self.ordeal.look().unwrap();
            if !self.ordeal.courier.is_running() && self.ordeal.courier.step() != step {
                self.ordeal.courier.start(&self.ordeal.lives.office).unwrap();
            }
            assert!(std::time::Instant::now() < until, "no trip comes to {step:?}");
        }
    }

    /// Results wait for the ferry.
    fn results(&mut self) {
        self.drop_on(RESULTS);
        self.drop_on(LARGE_RESULTS);
        self.until(|site| site.ordeal.traffic.untold(&site.ordeal.lives.office).is_empty());
    }
}

/// The files below a folder whose names end so, sorted.
fn files(folder: &Path, suffix: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path, suffix));
        } else if path.to_string_lossy().ends_with(suffix) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Flips a bit in the middle.
fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn copy_all(from: &Path, to: &Path) {
    let copied = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
}

#[test]
fn a_run_that_nobody_spoiled_passes() {
    let mut site = Site::new(&GATEWAY, &[FORMS]);
    site.accepted();
    site.live_again().unwrap();
    site.ordeal.come_to_rest().unwrap();
    site.ordeal.restart_all().unwrap();
    site.ordeal.tell().unwrap();
    site.ordeal.verify().unwrap();
}

#[test]
fn a_parcel_whose_bundle_was_taken_from_the_outbox_is_lost() {
    let mut site = Site::new(&GATEWAY, &[FORMS]);
    site.accepted();
    let outbox = site.spool("internet").join("queues/outbox/internet-extranet");
    let bundles = files(&outbox, "");
    assert!(!bundles.is_empty());
    bundles.iter().for_each(|path| fs::remove_file(path).unwrap());
    site.live_again().unwrap();
    match site.ordeal.come_to_rest() {
        Err(Fault::Lost(routes, Step::Export)) => {
            assert_eq!(routes.into_iter().collect::<Vec<_>>(), [("applications", 3)])
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn machines_that_are_put_back_to_an_older_disk_deliver_twice() {
    let mut site = Site::new(&GATEWAY, &[FORMS]);
    site.accepted();
    let kept = site.folder.path().join("kept");
    fs::create_dir(&kept).unwrap();
    GATEWAY.iter().for_each(|node| copy_all(&site.spool(node), &kept.join(node)));
    site.live_again().unwrap();
    site.ordeal.come_to_rest().unwrap();
    site.ordeal.end_all().unwrap();
    for node in GATEWAY {
        fs::remove_dir_all(site.spool(node)).unwrap();
        copy_all(&kept.join(node), &site.spool(node));
    }
    let mut looked = site.live_again();
    for _ in 0..STEP.as_millis() / 5 {
        if looked.is_err() {
            break;
        }
        looked = site.ordeal.look();
    }
    assert!(matches!(&looked, Err(Fault::Twice(again)) if again[0].starts_with("form-")), "{looked:?}");
}

#[test]
fn a_delivery_with_another_byte_or_that_nobody_dropped_is_wrong() {
    let mut site = Site::new(&GATEWAY, &[FORMS]);
    site.drop_on(FORMS);
    let outlet = site.ordeal.lives.office.outlet("extranet", "applications");
    let stands = |_: &Office| (!names(&outlet).is_empty()).then_some(());
    site.ordeal.lives.office.await_that(STEP, stands).unwrap();
    flip(&outlet.join(&names(&outlet)[0]));
    fs::write(outlet.join("nobodys.json"), "{}").unwrap();
    match site.ordeal.look() {
        Err(Fault::Wrong(wrong)) => {
            let both = |word: &str| wrong.iter().any(|line| line.contains(word));
            assert!(wrong.len() == 2 && both("form-0.json on applications has other bytes") && both("nobodys.json"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_daemon_that_refuses_its_state_or_hangs_fails_to_start() {
    let mut site = Site::new(&GATEWAY, &[FORMS]);
    site.ordeal.end_all().unwrap();
    let about = site.spool("extranet").join("spool.json");
    let good = fs::read(&about).unwrap();
    fs::write(&about, r#"{ "version": 99, "node": "extranet" }"#).unwrap();
    let started = site.live_again();
    let Err(Fault::Start(words)) = &started else { panic!("{started:?}") };
    assert!(words.contains("extranet ended by itself"), "{words}");

    fs::write(&about, good).unwrap();
    site.ordeal.lives.start_within = Duration::from_secs(1);
    site.ordeal.lives.start("extranet").unwrap();
    site.ordeal.lives.office.signal("extranet", "STOP").unwrap();
    let until = std::time::Instant::now() + STEP;
    let hung = loop {
        match site.ordeal.look() {
            Ok(()) => assert!(std::time::Instant::now() < until, "nobody waits for it"),
            Err(fault) => break fault,
        }
    };
    assert_eq!(hung, Fault::Start("extranet does not come up".to_owned()));
}

#[test]
fn a_notice_or_evidence_that_was_taken_away_is_missed() {
    let mut site = Site::new(&GATEWAY, &[FORMS]);
    site.delivered();
    site.ordeal.tell().unwrap();
    let proof = files(&site.spool("extranet").join("evidence"), ".proof").remove(0);
    let aside = site.folder.path().join("proof");
    fs::rename(&proof, &aside).unwrap();
    site.ordeal.restart_all().unwrap();
    let told = site.ordeal.tell();
    assert!(
        matches!(&told, Err(Fault::Unproven(which)) if which.len() == 1 && which[0].ends_with(" at extranet")),
        "{told:?}"
    );
    fs::rename(&aside, &proof).unwrap();
    site.ordeal.tell().unwrap();

    site.ordeal.end_all().unwrap();
    let notice = files(&site.spool("internet").join("notices/applications"), ".json").remove(1);
    fs::remove_file(notice).unwrap();
    site.ordeal.restart_all().unwrap();
    assert_eq!(site.ordeal.tell(), Err(Fault::Untold(vec!["form-1.json".to_owned()])));
}

#[test]
fn a_ledger_that_was_cut_or_changed_and_evidence_that_was_changed_do_not_verify() {
    let mut site = Site::new(&GATEWAY, &[FORMS]);
    site.delivered();
    site.ordeal.verify().unwrap();
    let ledger = site.spool("extranet").join("ledger");
    let kept = site.folder.path().join("kept");
    let segment = files(&ledger, ".seg").pop().unwrap();
    let proof = files(&site.spool("internet").join("evidence"), ".proof").remove(0);
    let cut = |path: &Path| {
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_len(file.metadata().unwrap().len() - 40).unwrap();
    };
    for (path, is_cut) in [(&segment, true), (&segment, false), (&proof, false)] {
        fs::copy(path, &kept).unwrap();
        if is_cut {
            cut(path)
        } else {
            flip(path)
        }
        let verdict = site.ordeal.verify();
        let place = if *path == proof { "evidence" } else { "extranet/spool/ledger" };
        assert!(matches!(&verdict, Err(Fault::Unsound(words)) if words.contains(place)), "{verdict:?}");
        fs::copy(&kept, path).unwrap();
        site.ordeal.verify().unwrap();
    }
}

#[test]
fn a_medium_that_lost_a_file_fails_its_command() {
    let mut site = Site::new(&FERRY, &[RESULTS]);
    site.results();
    site.carry_to(Step::Confirm);
    let disc = site.ordeal.lives.office.root.join("disc");
    fs::remove_file(files(&disc, ".bundle").remove(0)).unwrap();
    match site.ordeal.come_to_rest() {
        Err(Fault::Command(failed)) => assert!(failed[0].starts_with("ferry confirm of trip 1:"), "{failed:?}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_trip_that_is_marked_and_never_imported_is_half_marked_and_one_that_was_carried_is_not() {
    let mut site = Site::new(&FERRY, &[RESULTS]);
    site.results();
    site.carry_to(Step::Import);
    // The medium lies in a drawer.
    let disc = site.ordeal.lives.office.root.join("disc");
    let drawer = site.folder.path().join("drawer");
    fs::rename(&disc, &drawer).unwrap();
    match site.ordeal.settle() {
        Err(Fault::HalfMarked(told)) => assert!(told.contains("confirmed"), "{told}"),
        other => panic!("{other:?}"),
    }
    fs::rename(&drawer, &disc).unwrap();
    site.ordeal.come_to_rest().unwrap();
    site.ordeal.settle().unwrap();
    site.ordeal.tidy().unwrap();
    site.ordeal.tell().unwrap();

    // What each node says and keeps of a trip that is over.
    site.ordeal.end_all().unwrap();
    let papers = site.spool("intranet").join("desk/trips/1");
    fs::write(papers.join("left.bundle"), "sealed").unwrap();
    assert!(matches!(site.ordeal.tidy(), Err(Fault::Leftover(words)) if words.contains("left.bundle")));
    fs::remove_file(papers.join("left.bundle")).unwrap();
    let half = site.spool("extranet").join("desk/incoming/.tmp-1");
    fs::create_dir(&half).unwrap();
    assert!(matches!(site.ordeal.tidy(), Err(Fault::Leftover(words)) if words.contains(".tmp-1")));
    fs::remove_dir(&half).unwrap();
    for (node, state) in [("intranet", "settled"), ("extranet", "imported")] {
        let told = site.spool(node).join("status/trips.json");
        fs::write(&told, format!(r#"[{{ "trip": 1, "state": "{state}" }}, {{ "trip": 3, "state": "{state}" }}]"#))
            .unwrap();
    }
    assert!(matches!(site.ordeal.settle(), Err(Fault::HalfMarked(words)) if words.contains("[1, 3]")));
    site.ordeal.verify().unwrap();
}
