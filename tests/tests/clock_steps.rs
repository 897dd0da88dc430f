//! Clocks that step, by seconds, hours, days and years, back and forward, while a node runs and while it is down: at a drop
//! that waits, a claim that waits to be sealed, a bundle and a receipt on their way, what is held and kept for its days, a
//! staged trip, a backup. Nothing ends by a clock in doubt, everything goes on meanwhile, and once the clock is right
//! again nothing waits for longer than it would have.
#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test fail as a test does")]
#![allow(clippy::disallowed_methods, reason = "a test makes and removes files as an app or a person would")]

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use protocol::ledger::Event;
use protocol::{Crossing, Suite, Timestamp, Zone};
use spool::Fuse;
use station::alarm::Alarm;
use station::backup::Job;
use station::clock::Reading;
use station::trips::{self, TripState};
use tests::pair::{HERE, Pair, THERE};
use tests::papers;
use tests::twins::{Running, START, found, name, names};
use tests::world::{Office, ground};

const HOUR_MS: i64 = 60 * 60 * 1000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// What steps by no more than five minutes is no doubt to anybody.
const STEPS_MS: [i64; 12] = [
    20_000,
    -20_000,
    4 * 60_000,
    -4 * 60_000,
    3 * HOUR_MS,
    -3 * HOUR_MS,
    10 * DAY_MS,
    -10 * DAY_MS,
    400 * DAY_MS,
    -400 * DAY_MS,
    3_650 * DAY_MS,
    -3_650 * DAY_MS,
];
const DOUBTED_MS: i64 = 5 * 60_000;

fn office() -> &'static Office {
    static OFFICE: OnceLock<Office> = OnceLock::new();
    OFFICE.get_or_init(|| Office::found(Suite::Std).unwrap())
}

fn files_below(folder: &Path) -> usize {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries.map(|entry| entry.unwrap().path()).map(|path| if path.is_dir() { files_below(&path) } else { 1 }).sum()
}

/// An office whose parcels expire and whose held parcels go after a day, with something at every stage: what is held, a
/// bundle that waits for its receipt since the beginning, another whose receipt is made and waits, a drop.
struct Day<'a> {
    pair: Pair<'a>,
    waits: String,
    receipted: String,
    dropped: String,
    held: usize,
}

impl Day<'_> {
    fn new(root: &Path) -> Day<'static> {
        let mut pair = Pair::found(office(), root, "expire_days = 1").unwrap();
        pair.drop_bytes("forms", "review.xml", papers::review_result(1).as_bytes()).unwrap();
        let receipted = pair.drop_form("urgent-forms").unwrap();
        // It crosses at the end of the turn; what the other node says of it stays there.
        pair.minutes(1).unwrap();
        pair.joined = false;
        pair.minutes(1).unwrap();
        let waits = pair.drop_form("bulk-forms").unwrap();
        pair.minutes(1).unwrap();
        assert_eq!(pair.told("urgent-forms", &receipted).as_deref(), Some("accepted"));
        assert_eq!(pair.outlet("urgent-forms").len(), 1);
        let held = files_below(&pair.station(HERE).layout().quarantine());
        assert!(held > 0);
        let dropped = pair.drop_form("forms").unwrap();
        Day { pair, waits, receipted, dropped, held }
    }

    fn nothing_ended(&self, what: &str) {
        assert_eq!(self.pair.recorded(HERE, Event::Expired).unwrap(), 0, "{what}");
        assert_eq!(files_below(&self.pair.station(HERE).layout().quarantine()), self.held, "{what}");
        assert!(files_below(&self.pair.station(THERE).layout().evidence()) > 0, "{what}");
    }

    /// The gateway is up: everything is delivered and everybody told within minutes.
    fn all_arrive(&mut self, what: &str) {
        self.pair.joined = true;
        self.pair.minutes(3).unwrap();
        for (route, file) in [("bulk-forms", &self.waits), ("urgent-forms", &self.receipted), ("forms", &self.dropped)]
        {
            assert_eq!(self.pair.told(route, file).as_deref(), Some("delivered"), "{what}: {file}");
        }
    }

    fn doubts(&self) -> [bool; 2] {
        [HERE, THERE].map(|at| self.pair.station(at).clock.doubt().is_some())
    }
}

#[test]
fn whatever_a_clock_steps_by_while_a_node_runs_nothing_ends_and_nothing_stands_still() {
    for step_ms in STEPS_MS {
        let what = format!("a step of {step_ms} ms");
        let root = tempfile::tempdir_in(ground()).unwrap();
        let mut day = Day::new(root.path());
        day.pair.wrong_ms = [step_ms; 2];
        day.pair.hours(3).unwrap();
        assert_eq!(day.doubts(), [step_ms.abs() > DOUBTED_MS; 2], "{what}");
        day.nothing_ended(&what);
        // Taken in and sealed meanwhile.
        assert_eq!(day.pair.told("forms", &day.dropped).as_deref(), Some("accepted"), "{what}");
        let believed = day.pair.station(HERE).clock.last();
        assert!(believed.0.abs_diff(day.pair.now.0) <= DOUBTED_MS.unsigned_abs(), "{what}: {believed}");

        // Right again: the doubt ends at once, and what has a day has that day and no more.
        day.pair.wrong_ms = [0; 2];
        day.pair.minutes(1).unwrap();
        assert_eq!(day.doubts(), [false; 2], "{what}");
        day.pair.hours(20).unwrap();
        day.nothing_ended(&what);
        day.pair.hours(3).unwrap();
        assert_eq!(day.pair.recorded(HERE, Event::Expired).unwrap(), 3, "{what}: all three wait for a receipt");
        assert!(day.pair.stands(HERE, Alarm::Expired), "{what}");
        assert_eq!(files_below(&day.pair.station(HERE).layout().quarantine()), 0, "{what}");
        day.all_arrive(&what);
        assert!(!day.pair.stands(HERE, Alarm::Expired), "{what}");
    }
}

#[test]
fn whatever_the_clock_of_a_machine_steps_by_while_its_node_is_down_parcels_go_on_and_it_comes_right_again() {
    for step_ms in STEPS_MS {
        let what = format!("a start with a clock that is wrong by {step_ms} ms");
        let root = tempfile::tempdir_in(ground()).unwrap();
        let mut day = Day::new(root.path());
        day.pair.stop(HERE);
        day.pair.wrong_ms[HERE] = step_ms;
        day.pair.pass_ms(60_000);
        day.pair.start(HERE).unwrap();
        day.pair.minutes(5).unwrap();
        let is_doubted = step_ms.abs() > 30 * DAY_MS;
        assert_eq!(day.doubts()[HERE], is_doubted, "{what}");
        if is_doubted {
            day.nothing_ended(&what);
        }
        let late = day.pair.drop_form("urgent-forms").unwrap();
        day.all_arrive(&what);
        assert_eq!(day.pair.told("urgent-forms", &late).as_deref(), Some("delivered"), "{what}");

        // Somebody sets it right. What was believed until then is now doubted, and the neighbour's clock ends that.
        day.pair.wrong_ms[HERE] = 0;
        day.pair.minutes(2).unwrap();
        let late = day.pair.drop_form("forms").unwrap();
        day.pair.minutes(20).unwrap();
        assert_eq!(day.pair.told("forms", &late).as_deref(), Some("delivered"), "{what}");
        assert_eq!(day.doubts(), [false; 2], "{what}: the doubt outlives the wrong clock");
        let believed = day.pair.station(HERE).clock.last();
        assert!(believed.0.abs_diff(day.pair.now.0) <= DOUBTED_MS.unsigned_abs(), "{what}: {believed}");
        // From here on days are days again, also after another start.
        day.pair.start(HERE).unwrap();
        assert_eq!(day.doubts(), [false; 2], "{what}");
        day.pair.joined = false;
        let waits = day.pair.drop_form("forms").unwrap();
        day.pair.minutes(1).unwrap();
        let before = day.pair.recorded(HERE, Event::Expired).unwrap();
        day.pair.hours(23).unwrap();
        assert_eq!(day.pair.recorded(HERE, Event::Expired).unwrap(), before, "{what}");
        day.pair.hours(2).unwrap();
        assert_eq!(day.pair.told("forms", &waits).as_deref(), Some("expired"), "{what}");
    }
}

/// Housekeeping looks at a wall that is wrong.
fn look(running: &mut Running, now: Timestamp, wrong_ms: i64) -> Timestamp {
    let wall = Timestamp(now.0.saturating_add_signed(wrong_ms));
    let believed = running.station.clock.see(Reading { wall, boot_ms: now.since(START) });
    running.housekeeping.step(&running.station, believed).unwrap();
    believed
}

#[test]
fn a_staged_trip_and_old_backups_outlast_a_wrong_clock_and_end_in_their_time_after_it() {
    for step_ms in STEPS_MS {
        let what = format!("a step of {step_ms} ms");
        let folder = tempfile::tempdir_in(ground()).unwrap();
        let ([_, intranet], ..) = found(folder.path(), [Zone::Extranet, Zone::Intranet]);
        let mut now = START;
        let mut running = intranet.open(now).unwrap();
        let backups = intranet.root.join("backups");
        let back_up = |running: &Running, at: Timestamp| {
            let id = protocol::der_types::Octets(protocol::keys::random());
            Job::of(&running.station, id).run(|| at).unwrap();
        };
        let keep = i64::from(intranet.config.backup.as_ref().unwrap().keep_days) * DAY_MS;
        let made = |folder: &Path| names(folder).iter().filter(|name| name.ends_with(".trilock-backup")).count();
        back_up(&running, Timestamp(now.0.saturating_add_signed(HOUR_MS - keep)));
        intranet.drop_file("review-results", "review-1.xml", papers::review_result(1).as_bytes());
        running.turn(&mut now).unwrap();
        let (disc, sun, ma) = (name("disc-0001"), name("sun"), name("ma"));
        trips::stage(&running.station, &disc, &sun, &ma, None, &trips::Choice::default(), now).unwrap().unwrap();
        let state = |running: &Running| trips::list(&running.station).unwrap()[0].state;
        let hours = i64::from(intranet.config.ferry.trip_hours);

        for _ in 0..hours - 1 {
            now = now.plus_ms(HOUR_MS.unsigned_abs());
            let believed = look(&mut running, now, step_ms);
            assert!(believed.0.abs_diff(now.0) <= DOUBTED_MS.unsigned_abs(), "{what}: {believed}");
            assert_eq!(state(&running), TripState::Staged, "{what}");
        }
        let doubted = running.station.clock.doubt().is_some();
        assert_eq!(doubted, step_ms.abs() > DOUBTED_MS, "{what}");
        // A backup is made as ever, and dated by what is believed.
        let believed = running.station.clock.last();
        back_up(&running, believed);
        assert_eq!(
            made(&backups),
            if doubted { 2 } else { 1 },
            "{what}: one is over its days, by a clock that is believed"
        );

        let believed = look(&mut running, now, 0);
        assert_eq!((believed, running.station.clock.doubt()), (now, None), "{what}");
        back_up(&running, now.plus_ms(HOUR_MS.unsigned_abs()));
        assert_eq!(made(&backups), 2, "{what}: that of long ago has gone");
        assert_eq!(state(&running), TripState::Staged, "{what}");
        now = now.plus_ms(2 * HOUR_MS.unsigned_abs());
        look(&mut running, now, 0);
        assert_eq!(state(&running), TripState::Expired, "{what}");
        assert!(!running.station.alarms.standing().iter().any(|(alarm, ..)| *alarm == Alarm::BackupOverdue), "{what}");
        let again =
            trips::stage(&running.station, &disc, &sun, &ma, None, &trips::Choice::default(), now).unwrap().unwrap();
        assert_eq!((again.trip, again.bundles), (1, 1), "{what}: what it carried travels again, under its number");
    }
}

#[test]
fn a_claim_that_waits_to_be_sealed_is_sealed_by_a_node_that_starts_with_any_clock() {
    for step_ms in STEPS_MS {
        let what = format!("a start with a clock that is wrong by {step_ms} ms");
        let folder = tempfile::tempdir_in(ground()).unwrap();
        let ([_, intranet], ..) = found(folder.path(), [Zone::Extranet, Zone::Intranet]);
        let claims = intranet.layout().claimed(&name("review-results"));
        intranet.drop_file("review-results", "review-1.xml", papers::review_result(1).as_bytes());
        let mut now = START;
        for effects in 1.. {
            assert!(effects < 2_000, "no death leaves a claim");
            now = now.plus_ms(6_000);
            if let Ok(mut running) = intranet.open_until(&Fuse::after(effects), now) {
                let _died = running.intake.step(&running.station, now.plus_ms(6_000));
            }
            if !names(&claims).is_empty() {
                break;
            }
        }
        let wall = |now: Timestamp| Timestamp(now.0.saturating_add_signed(step_ms));
        let mut running = intranet.open(wall(now)).unwrap();
        for _ in 0..3 {
            now = now.plus_ms(60_000);
            let believed = running.station.clock.see(Reading { wall: wall(now), boot_ms: now.since(START) });
            running.intake.step(&running.station, believed).unwrap();
        }
        assert!(names(&claims).is_empty(), "{what}");
        assert_eq!(running.station.spool.outbox(Crossing::IntranetToExtranet).load().0, 1, "{what}");
    }
}
