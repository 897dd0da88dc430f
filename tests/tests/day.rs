//! Day-to-day operation of two stations: clocks that are set wrong, apps that do not pick up, items that fail, parcels
//! that nobody confirms, and what an operator may ask.
#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test fail as a test does")]
#![allow(clippy::disallowed_methods, reason = "a test makes and removes files as an administrator would")]

use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use protocol::ledger::Event;
use protocol::{Crossing, Name, Suite};
use spool::Answer;
use station::alarm::Alarm;
use station::clock::Why;
use tests::pair::{HERE, Pair, THERE};
use tests::papers;
use tests::volume::Volume;
use tests::world::Office;

const YEAR_MS: i64 = 365 * 24 * 60 * 60 * 1000;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

fn office() -> &'static Office {
    static OFFICE: OnceLock<Office> = OnceLock::new();
    OFFICE.get_or_init(|| Office::found(Suite::Std).unwrap())
}

fn pair<'a>(root: &Path, settings: &str) -> Pair<'a> {
    Pair::found(office(), root, settings).unwrap()
}

fn name(word: &str) -> Name {
    Name::new(word).unwrap()
}

fn files_below(folder: &Path) -> usize {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries.map(|entry| entry.unwrap().path()).map(|path| if path.is_dir() { files_below(&path) } else { 1 }).sum()
}

fn refused(answer: &Answer, code: &str) {
    assert!(!answer.done && answer.code == code, "{answer:?}");
    for key in ["remedy_en", "remedy_zh"] {
        assert!(answer.details[key].as_str().is_some_and(|words| !words.is_empty()), "{code} has no {key}");
    }
    assert!(!answer.message_zh.is_ascii(), "{answer:?}");
}

// ---- the clock ----

#[test]
fn a_clock_that_is_set_by_years_while_running_ends_nothing_and_hangs_nothing() {
    for wrong_ms in [10 * YEAR_MS, -10 * YEAR_MS] {
        let root = tempfile::tempdir().unwrap();
        let mut pair = pair(root.path(), "expire_days = 1");
        let held = pair.drop_form("forms").unwrap();
        // Outside the internal zone a refused drop is held sealed, for a day in this office.
        pair.drop_bytes("forms", "review.xml", papers::review_result(1).as_bytes()).unwrap();
        pair.joined = false;
        pair.minutes(2).unwrap();
        let quarantine = pair.station(HERE).layout().quarantine();
        let held_before = files_below(&quarantine);
        assert!(held_before > 0);
        pair.drop_form("urgent-forms").unwrap();
        pair.joined = true;
        pair.minutes(2).unwrap();
        let evidence = pair.station(THERE).layout().evidence();
        let evidence_before = files_below(&evidence);
        assert!(evidence_before > 0);

        let waits = pair.drop_form("bulk-forms").unwrap();
        pair.joined = false;
        pair.wrong_ms = [wrong_ms; 2];
        pair.hours(3).unwrap();
        for at in [HERE, THERE] {
            assert_eq!(pair.station(at).clock.doubt().map(|doubt| doubt.why), Some(Why::Stepped));
            assert!(pair.stands(at, Alarm::ClockDoubt));
            assert_eq!(pair.recorded(at, Event::ClockDoubted).unwrap(), 1);
            assert_eq!(pair.recorded(at, Event::Expired).unwrap(), 0);
        }
        assert_eq!(pair.status(HERE)["clock"]["trusted"], false);
        assert_eq!(files_below(&quarantine), held_before);
        assert_eq!(files_below(&evidence), evidence_before);
        assert_ne!(pair.told("bulk-forms", &waits).as_deref(), Some("expired"));
        // What is asked under the wrong clock is not refused for its time.
        assert!(pair.ask(HERE, "gaps", &[]).unwrap().done);

        // Parcels go on meanwhile, in time: neither receipts nor snapshots wait for the year to come round.
        pair.joined = true;
        let late = pair.drop_form("urgent-forms").unwrap();
        pair.minutes(3).unwrap();
        assert_eq!(pair.told("urgent-forms", &late).as_deref(), Some("delivered"));
        assert_eq!(pair.told("forms", &held).as_deref(), Some("delivered"));
        // Every record bears a time near the true one.
        let last = pair.station(HERE).spool.records(0, usize::MAX).unwrap().last().unwrap().record.at;
        assert!(last.0.abs_diff(pair.now.0) < DAY_MS, "{last}");

        // A restart under the same wrong clock meets the same doubt; the right clock ends it.
        pair.start(HERE).unwrap();
        pair.minutes(1).unwrap();
        assert_eq!(pair.station(HERE).clock.doubt().map(|doubt| doubt.why), Some(Why::FarFromLedger));
        pair.wrong_ms = [0; 2];
        pair.minutes(1).unwrap();
        for at in [HERE, THERE] {
            assert_eq!(pair.station(at).clock.doubt(), None);
            assert!(!pair.stands(at, Alarm::ClockDoubt));
            assert!(pair.recorded(at, Event::ClockTrusted).unwrap() >= 1);
        }
        assert!(files_below(&evidence) >= evidence_before, "nothing went when the doubt ended");
        assert_eq!(files_below(&quarantine), held_before);
    }
}

#[test]
fn a_start_long_after_the_last_record_waits_for_an_operator() {
    let root = tempfile::tempdir().unwrap();
    let mut pair = pair(root.path(), "expire_days = 1");
    pair.joined = false;
    let form = pair.drop_form("forms").unwrap();
    pair.minutes(1).unwrap();
    pair.stop(HERE);
    // Nobody was here for a year. The clock is right, but the node cannot know.
    pair.pass_ms(YEAR_MS.unsigned_abs());
    pair.start(HERE).unwrap();
    pair.minutes(5).unwrap();
    assert!(pair.stands(HERE, Alarm::ClockDoubt));
    assert_eq!(pair.recorded(HERE, Event::Expired).unwrap(), 0);
    let answer = pair.ask(HERE, "clock-confirm", &[("reason", "compared with the radio clock")]).unwrap();
    assert!(answer.done, "{answer:?}");
    pair.minutes(1).unwrap();
    assert!(!pair.stands(HERE, Alarm::ClockDoubt));
    let records = pair.station(HERE).spool.records(0, usize::MAX).unwrap();
    let by_person = records.iter().find(|stored| stored.record.event == Event::ClockTrusted).unwrap();
    assert_eq!(by_person.record.person.as_ref().map(|person| person.as_str()), Some("administrator"));
    // Now the year counts.
    assert_eq!(pair.told("forms", &form).as_deref(), Some("expired"));
    let again = pair.ask(HERE, "clock-confirm", &[]).unwrap();
    assert!(again.done && again.code == "clock-trusted", "{again:?}");
}

#[test]
fn a_neighbour_whose_clock_agrees_ends_the_doubt() {
    let root = tempfile::tempdir().unwrap();
    let mut pair = pair(root.path(), "");
    pair.minutes(1).unwrap();
    pair.pass_ms(YEAR_MS.unsigned_abs());
    pair.start(HERE).unwrap();
    pair.start(THERE).unwrap();
    pair.minutes(2).unwrap();
    assert!(pair.stands(HERE, Alarm::ClockDoubt) && pair.stands(THERE, Alarm::ClockDoubt));
    // Two that are in doubt do not vouch for one another.
    pair.drop_form("forms").unwrap();
    pair.minutes(3).unwrap();
    assert!(pair.stands(HERE, Alarm::ClockDoubt), "the neighbour's papers bear its reckoning, not its wall");
    assert!(pair.ask(THERE, "clock-confirm", &[]).unwrap().done);
    pair.drop_form("forms").unwrap();
    pair.minutes(3).unwrap();
    assert_eq!(pair.station(HERE).clock.doubt(), None);
    assert!(!pair.stands(HERE, Alarm::ClockDoubt));
}

// ---- expiry and retention ----

#[test]
fn a_parcel_that_nobody_confirms_expires_with_notice_record_and_alarm_and_is_delivered_all_the_same() {
    let root = tempfile::tempdir().unwrap();
    let mut pair = pair(root.path(), "expire_days = 1");
    pair.joined = false;
    let form = pair.drop_form("forms").unwrap();
    pair.minutes(2).unwrap();
    pair.pass_ms(DAY_MS - 10 * 60 * 1000);
    pair.minutes(1).unwrap();
    assert_eq!(pair.recorded(HERE, Event::Expired).unwrap(), 0);
    pair.minutes(20).unwrap();
    assert_eq!(pair.told("forms", &form).as_deref(), Some("expired"));
    assert_eq!(pair.recorded(HERE, Event::Expired).unwrap(), 1, "once, however often it is looked at");
    assert!(pair.stands(HERE, Alarm::Expired));
    let list = pair.ask(HERE, "list", &[("state", "expired")]).unwrap();
    assert_eq!(list.details.as_array().unwrap().len(), 1);
    pair.joined = true;
    pair.minutes(3).unwrap();
    assert_eq!(pair.told("forms", &form).as_deref(), Some("delivered"));
    assert_eq!(pair.outlet("forms").len(), 1);
    assert!(!pair.stands(HERE, Alarm::Expired));
}

#[test]
fn quarantine_evidence_and_notices_of_ends_go_when_their_days_are_over_and_not_before() {
    let root = tempfile::tempdir().unwrap();
    let mut pair = pair(root.path(), "");
    pair.drop_bytes("forms", "review.xml", papers::review_result(1).as_bytes()).unwrap();
    let form = pair.drop_form("forms").unwrap();
    pair.minutes(3).unwrap();
    let (quarantine, evidence) = (pair.station(HERE).layout().quarantine(), pair.station(THERE).layout().evidence());
    let (held, kept) = (files_below(&quarantine), files_below(&evidence));
    assert!(held > 0 && kept > 0);
    pair.hours(22).unwrap();
    assert_eq!((files_below(&quarantine), files_below(&evidence)), (held, kept));
    pair.hours(5).unwrap();
    assert_eq!((files_below(&quarantine), files_below(&evidence)), (0, kept));
    // In steps that no clock in doubt would take.
    pair.pass_ms(177 * DAY_MS);
    pair.hours(2).unwrap();
    assert_eq!(pair.told("forms", &form).as_deref(), Some("delivered"));
    // 179 days and some hours; then 183, at whatever hour of the day this is run.
    pair.pass_ms(DAY_MS);
    pair.hours(2).unwrap();
    assert_eq!(files_below(&evidence), kept);
    pair.pass_ms(4 * DAY_MS);
    pair.hours(2).unwrap();
    assert_eq!(files_below(&evidence), 0);
    assert_eq!(pair.told("forms", &form), None);
}

#[test]
fn evidence_of_a_parcel_from_a_node_that_lives_in_another_century_is_kept() {
    let root = tempfile::tempdir().unwrap();
    let mut pair = pair(root.path(), "");
    // The neighbour's own clock was wrong from its first day on, so nothing there is in doubt.
    pair.stop(HERE);
    fs::remove_dir_all(root.path().join("internet")).unwrap();
    pair.wrong_ms[HERE] = -40 * YEAR_MS;
    pair.start(HERE).unwrap();
    let form = pair.drop_form("forms").unwrap();
    pair.minutes(3).unwrap();
    assert_eq!(pair.told("forms", &form).as_deref(), Some("delivered"));
    let evidence = pair.station(THERE).layout().evidence();
    assert_eq!(files_below(&evidence), 1);
    pair.hours(3).unwrap();
    assert_eq!(files_below(&evidence), 1, "filed under its claim, kept by when it was filed");
}

// ---- key cards ----

#[test]
fn a_daemon_whose_neighbours_card_is_missing_or_expired_says_so_and_serves_the_rest() {
    for (from, until, wrong) in [
        ("2020-01-01", Some("2021-01-01"), true),
        ("2020-01-01", Some("2199-12-31"), false),
        ("2199-01-01", None, true),
        ("2020-01-01", None, false),
    ] {
        let root = tempfile::tempdir().unwrap();
        let office = Office::dated(Suite::Std, from, until).unwrap();
        let mut pair = Pair::found(&office, root.path(), "").unwrap();
        let form = pair.drop_form("forms").unwrap();
        pair.minutes(3).unwrap();
        for at in [HERE, THERE] {
            assert_eq!(pair.stands(at, Alarm::Cards), wrong, "{from} to {until:?}");
        }
        assert_eq!(pair.told("forms", &form).as_deref(), Some("delivered"), "a card's days stop no parcel");
        // Where nobody knows what day it is, days are not judged.
        pair.wrong_ms = [20 * YEAR_MS; 2];
        pair.minutes(1).unwrap();
        assert!(!pair.stands(HERE, Alarm::Cards));
    }
}

#[test]
fn a_bundle_and_a_receipt_signed_by_a_key_whose_card_comes_later_wait_for_it() {
    let root = tempfile::tempdir().unwrap();
    let mut pair = pair(root.path(), "");
    for (at, held) in [(THERE, "a bundle"), (HERE, "its receipts")] {
        pair.cardless[at] = Some(name(["extranet", "internet"][at]));
        pair.start(at).unwrap();
        let form = pair.drop_form("forms").unwrap();
        // Longer than any pause between two tries.
        pair.minutes(30).unwrap();
        assert_ne!(pair.told("forms", &form).as_deref(), Some("delivered"), "{held}");
        assert!(pair.stands(at, Alarm::Retrying), "{held}: {:#}", pair.status(at));
        assert!(pair.status(at).to_string().contains("on no card in the trust folder"), "{held}");
        assert_eq!(files_below(&pair.station(at).layout().quarantine()), 0, "{held}");
        let delivered = pair.outlet("forms").len();

        pair.cardless[at] = None;
        pair.start(at).unwrap();
        pair.minutes(3).unwrap();
        assert_eq!(pair.told("forms", &form).as_deref(), Some("delivered"), "{held}");
        assert!(!pair.stands(at, Alarm::Retrying), "{held}");
        assert_eq!(pair.outlet("forms").len(), if at == THERE { delivered + 1 } else { delivered }, "{held}");
    }
    assert_eq!(pair.outlet("forms").len(), 2);
}

// ---- the outlet ----

#[test]
fn a_full_outlet_makes_its_own_route_wait_and_loses_nothing() {
    let root = tempfile::tempdir().unwrap();
    let mut pair = pair(root.path(), "outlet_entries = 2\npickup_hours = 3");
    let forms: Vec<String> = (0..5).map(|_| pair.drop_form("forms").unwrap()).collect();
    pair.minutes(4).unwrap();
    assert_eq!(pair.outlet("forms").len(), 2);
    assert_eq!(files_below(&pair.station(THERE).layout().checked()), 3);
    assert!(pair.stands(THERE, Alarm::OutletFull));
    // No plaintext lies about meanwhile, and custody has passed: the origin is told that they went on.
    assert_eq!(files_below(&root.path().join("extranet/outlet/forms/.staging")), 0);
    let told: Vec<_> = forms.iter().map(|form| pair.told("forms", form).unwrap()).collect();
    assert_eq!(told.iter().filter(|state| *state == "delivered").count(), 2, "{told:?}");
    assert_eq!(told.iter().filter(|state| *state == "sent").count(), 3, "{told:?}");
    // Other routes go on.
    let other = pair.drop_form("bulk-forms").unwrap();
    pair.minutes(3).unwrap();
    assert_eq!(pair.told("bulk-forms", &other).as_deref(), Some("delivered"));
    let status = pair.status(THERE);
    let row = status["queues"].as_array().unwrap().iter().find(|row| row["queue"] == "checked").unwrap().clone();
    assert_eq!(row["entries"], 3);
    // A restart remembers nothing and finds the same.
    pair.start(THERE).unwrap();
    pair.minutes(2).unwrap();
    assert_eq!((pair.outlet("forms").len(), files_below(&pair.station(THERE).layout().checked())), (2, 3));
    // After hours the app has still not come.
    assert!(!pair.stands(THERE, Alarm::NotPickedUp));
    pair.hours(3).unwrap();
    assert!(pair.stands(THERE, Alarm::NotPickedUp));
    // The app comes, again and again: everything is there, once.
    let mut picked = Vec::new();
    for _ in 0..3 {
        for path in pair.outlet("forms") {
            picked.push(path.file_name().unwrap().to_string_lossy().into_owned());
            fs::remove_file(path).unwrap();
        }
        pair.minutes(3).unwrap();
    }
    picked.sort();
    assert_eq!(picked, forms);
    for path in pair.outlet("bulk-forms") {
        fs::remove_file(path).unwrap();
    }
    pair.minutes(2).unwrap();
    assert!(!pair.stands(THERE, Alarm::OutletFull) && !pair.stands(THERE, Alarm::NotPickedUp));
    assert_eq!(files_below(&pair.station(THERE).layout().checked()), 0);
}

#[test]
fn an_outlet_may_be_bounded_by_size() {
    let root = tempfile::tempdir().unwrap();
    let mut pair = pair(root.path(), "outlet_mib = 1");
    let standing = root.path().join("extranet/outlet/forms/left-by-the-app");
    fs::create_dir(&standing).unwrap();
    fs::write(standing.join("large"), vec![0; 2 << 20]).unwrap();
    let form = pair.drop_form("forms").unwrap();
    pair.minutes(3).unwrap();
    assert_eq!(pair.told("forms", &form).as_deref(), Some("sent"));
    fs::remove_dir_all(standing).unwrap();
    pair.minutes(3).unwrap();
    assert_eq!(pair.told("forms", &form).as_deref(), Some("delivered"));
}

#[test]
fn an_outlet_on_another_file_system_gets_its_parcels_whole() {
    let root = tempfile::tempdir().unwrap();
    let Ok(elsewhere) = tempfile::tempdir_in("/dev/shm") else {
        println!("SKIPPED: there is no /dev/shm");
        return;
    };
    let device = |path: &Path| fs::metadata(path).unwrap().dev();
    if device(elsewhere.path()) == device(root.path()) {
        println!("SKIPPED: /dev/shm is the file system of the temporary folders");
        return;
    }
    let mut pair = pair(root.path(), "");
    // As a mount stands there; a link in its place needs no privilege.
    let outlet = root.path().join("extranet/outlet/forms");
    fs::remove_dir_all(&outlet).unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), &outlet).unwrap();
    pair.start(THERE).unwrap();
    let form = pair.drop_form("forms").unwrap();
    pair.minutes(3).unwrap();
    assert_eq!(pair.told("forms", &form).as_deref(), Some("delivered"));
    let delivered = pair.outlet("forms");
    assert_eq!(delivered.len(), 1);
    assert_eq!(fs::read_to_string(&delivered[0]).unwrap(), papers::application_form(1));
    assert_eq!(device(&delivered[0]), device(elsewhere.path()));
    assert_eq!(files_below(&elsewhere.path().join(".staging")), 0);
}

// ---- order and failures ----

#[test]
fn an_urgent_parcel_is_admitted_before_the_bulk_that_came_first() {
    let root = tempfile::tempdir().unwrap();
    let mut pair = pair(root.path(), "");
    pair.stop(THERE);
    for _ in 0..90 {
        pair.drop_form("bulk-forms").unwrap();
    }
    pair.minutes(2).unwrap();
    pair.drop_form("urgent-forms").unwrap();
    pair.minutes(1).unwrap();
    pair.start(THERE).unwrap();
    pair.carry(HERE, THERE).unwrap();
    let reading = pair.reading(THERE);
    let machine = pair.machine(THERE);
    let now = machine.station.clock.see(reading);
    let done = machine.admission.step(&machine.station, now).unwrap();
    assert_eq!(pair.outlet("urgent-forms").len(), 1, "in the first slice");
    assert!(done < 90, "one slice is not all of it: {done}");
    // One that comes in the middle waits for no more than the next slice.
    pair.drop_form("urgent-forms").unwrap();
    let there = pair.reading(THERE);
    pair.joined = false;
    let left = 91 - pair.outlet("bulk-forms").len() - 1;
    assert!(left > 0);
    pair.pass_ms(10);
    pair.turn().unwrap();
    pair.carry(HERE, THERE).unwrap();
    let machine = pair.machine(THERE);
    let now = machine.station.clock.see(there);
    machine.admission.step(&machine.station, now).unwrap();
    pair.joined = true;
    pair.minutes(2).unwrap();
    assert_eq!((pair.outlet("urgent-forms").len(), pair.outlet("bulk-forms").len()), (2, 90));
}

#[test]
fn an_item_that_fails_again_and_again_is_tried_with_growing_pauses_and_holds_up_no_other() {
    let root = tempfile::tempdir().unwrap();
    let mut pair = pair(root.path(), "");
    // The staging of one outlet cannot be reached.
    let staging = root.path().join("extranet/outlet/forms/.staging");
    fs::remove_dir_all(&staging).unwrap();
    fs::write(&staging, "no folder").unwrap();
    let stuck = pair.drop_form("forms").unwrap();
    pair.turn().unwrap();
    let mut others = Vec::new();
    for _ in 0..600 {
        pair.pass_ms(1_000);
        if others.len() < 5 {
            others.push(pair.drop_form("bulk-forms").unwrap());
        }
        pair.turn().unwrap();
    }
    for other in &others {
        assert_eq!(pair.told("bulk-forms", other).as_deref(), Some("delivered"));
    }
    let tries = pair.station(THERE).retries.failures();
    // The outlet itself, which is to be cleared, and the parcel for it.
    assert!((14..=24).contains(&tries), "2, 4, 8 … seconds: {tries} tries of two items in ten minutes");
    assert!(pair.stands(THERE, Alarm::Retrying) && !pair.stands(THERE, Alarm::DiskError));
    let status = pair.status(THERE);
    assert_eq!(status["retries_all"], 2, "{status}");
    assert!(status["retries"][0]["pause_s"].as_u64().unwrap() >= 128, "{status}");
    assert!(status["retries"][0]["error"].as_str().unwrap().contains("outlet"), "{status}");
    // Mended: it goes on by itself within the longest pause, and the alarm clears.
    fs::remove_file(&staging).unwrap();
    fs::create_dir(&staging).unwrap();
    pair.minutes(12).unwrap();
    assert_eq!(pair.told("forms", &stuck).as_deref(), Some("delivered"));
    assert_eq!(pair.outlet("forms").len(), 1);
    assert!(!pair.stands(THERE, Alarm::Retrying));
    assert_eq!(pair.status(THERE)["retries_all"], 0);
}

// ---- a disk that cannot be read for a while ----

/// Puts something in the place of a file that is there and that nobody can open, and takes it away again.
struct Unreadable {
    place: PathBuf,
    aside: PathBuf,
}

impl Unreadable {
    fn make(place: &Path) -> Unreadable {
        let aside = place.parent().unwrap().with_extension("aside");
        fs::rename(place, &aside).unwrap();
        std::os::unix::fs::symlink(place, place).unwrap();
        assert!(fs::read(place).is_err_and(|error| error.kind() != std::io::ErrorKind::NotFound));
        Unreadable { place: place.to_owned(), aside }
    }

    /// Nobody has touched it meanwhile.
    fn mend(self) {
        fs::remove_file(&self.place).unwrap();
        fs::rename(&self.aside, &self.place).unwrap();
    }
}

fn only_file(folder: &Path) -> PathBuf {
    let files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

#[test]
fn a_recorded_bundle_that_cannot_be_read_at_the_start_is_kept_and_so_is_its_source() {
    let root = tempfile::tempdir().unwrap();
    let mut pair = pair(root.path(), "");
    // The outbox takes nothing, so that a large one stays where it was sealed, on record.
    let outbox = pair.station(HERE).layout().outbox(protocol::Crossing::InternetToExtranet);
    fs::rename(&outbox, outbox.with_extension("aside")).unwrap();
    let mut large = papers::application_form(1).into_bytes();
    large.resize(400 * 1024, b' ');
    pair.drop_bytes("forms", "large.json", &large).unwrap();
    assert!(pair.turn().is_err());
    assert_eq!(pair.recorded(HERE, Event::Accepted).unwrap(), 1);
    let sealing = pair.station(HERE).layout().sealing();
    pair.stop(HERE);
    fs::rename(outbox.with_extension("aside"), &outbox).unwrap();
    let unreadable = Unreadable::make(&only_file(&sealing));
    pair.start(HERE).unwrap();
    pair.pass_ms(5_000);
    assert!(pair.turn().is_err(), "it says so");
    let claimed = pair.station(HERE).layout().claimed(&protocol::Name::new("forms").unwrap());
    assert_eq!(files_below(&claimed), 1, "the drop is kept");
    unreadable.mend();
    pair.minutes(5).unwrap();
    assert_eq!(pair.told("forms", "large.json").as_deref(), Some("delivered"));
    assert_eq!((pair.outlet("forms").len(), files_below(&claimed)), (1, 0));
}

#[test]
fn a_bundle_in_our_custody_that_cannot_be_read_is_tried_again_and_not_held() {
    let root = tempfile::tempdir().unwrap();
    let mut pair = pair(root.path(), "outlet_entries = 1");
    let forms: Vec<String> = (0..2).map(|_| pair.drop_form("forms").unwrap()).collect();
    pair.minutes(3).unwrap();
    let checked = only_file(&pair.station(THERE).layout().checked());
    let unreadable = Unreadable::make(&checked);
    fs::remove_file(&pair.outlet("forms")[0]).unwrap();
    pair.minutes(3).unwrap();
    assert_eq!(files_below(&pair.station(THERE).layout().quarantine()), 0);
    assert!(pair.stands(THERE, Alarm::Retrying) || pair.station(THERE).retries.failures() > 0);
    unreadable.mend();
    pair.minutes(12).unwrap();
    assert_eq!(pair.outlet("forms").len(), 1);
    assert!(forms.iter().all(|form| pair.told("forms", form).as_deref() == Some("delivered")));
}

#[test]
fn a_bundle_that_the_disk_lost_in_silence_is_named_and_costs_no_other() {
    let root = tempfile::tempdir().unwrap();
    let mut pair = pair(root.path(), "expire_days = 1");
    pair.joined = false;
    let forms: Vec<String> = (0..3).map(|_| pair.drop_form("forms").unwrap()).collect();
    pair.minutes(2).unwrap();
    let outbox = pair.station(HERE).layout().outbox(protocol::Crossing::InternetToExtranet);
    pair.stop(HERE);
    // Some byte of the second head: its sum does not fit any more.
    let segment = only_file(&outbox);
    let mut bytes = fs::read(&segment).unwrap();
    let second = bytes.windows(8).enumerate().skip(100).find(|(_, window)| *window == b"TRILOCK1").unwrap().0;
    let second = bytes.windows(8).enumerate().skip(second + 8).find(|(_, window)| *window == b"TRILOCK1").unwrap().0;
    bytes[second - 20] ^= 1;
    fs::write(&segment, bytes).unwrap();
    pair.start(HERE).unwrap();
    pair.hours(2).unwrap();
    assert!(pair.stands(HERE, Alarm::BundleMissing));
    pair.joined = true;
    pair.minutes(3).unwrap();
    assert_eq!(pair.outlet("forms").len(), 2);
    let told = forms.iter().filter(|form| pair.told("forms", form).as_deref() == Some("delivered")).count();
    assert_eq!(told, 2);
    assert!(pair.stands(HERE, Alarm::BundleMissing));
    let lost = pair.ask(HERE, "list", &[("state", "accepted")]).unwrap().details[0]["parcel"].clone();
    let answer = pair.ask(HERE, "resend", &[("parcel", lost.as_str().unwrap())]).unwrap();
    assert!(!answer.done && answer.message_en.contains("the disk lost it"), "{}", answer.message_en);
    // It expires like one that stands there, and its app is told.
    pair.hours(26).unwrap();
    let told = forms.iter().filter(|form| pair.told("forms", form).as_deref() == Some("expired")).count();
    assert_eq!((told, pair.recorded(HERE, Event::Expired).unwrap()), (1, 1));
    // The file in which it stood is kept until somebody says why not.
    assert!(pair.stands(HERE, Alarm::BundleMissing) && segment.exists());
    assert!(!pair.ask(HERE, "outbox-aside", &[]).unwrap().done);
    assert!(pair.ask(HERE, "outbox-aside", &[("reason", "it was dropped again")]).unwrap().done);
    assert!(!pair.stands(HERE, Alarm::BundleMissing) && segment.with_extension("aside").exists());
}

/// Lets both forms be delivered in one trip of receipts, with something in the way of the first one's notice.
fn two_delivered_of_which_one_cannot_be_told<'a>(root: &Path) -> (Pair<'a>, [String; 2], [PathBuf; 2]) {
    let mut pair = pair(root, "");
    pair.joined = false;
    let told = pair.drop_form("forms").unwrap();
    pair.minutes(1).unwrap();
    let parcel = pair.ask(HERE, "list", &[]).unwrap().details[0]["parcel"].as_str().unwrap().to_owned();
    let other = pair.drop_form("bulk-forms").unwrap();
    pair.minutes(1).unwrap();
    let notices = root.join("internet/notices/forms");
    let in_the_way = [format!("{told}.delivered.json"), format!("{told}.{parcel}.delivered.json")];
    let in_the_way = in_the_way.map(|name| notices.join(name));
    in_the_way.iter().for_each(|place| fs::create_dir(place).unwrap());
    pair.joined = true;
    pair.minutes(6).unwrap();
    (pair, [told, other], in_the_way)
}

#[test]
fn a_notice_that_cannot_be_written_holds_up_no_other_receipt_and_is_recorded_once() {
    let root = tempfile::tempdir().unwrap();
    let (mut pair, [told, other], in_the_way) = two_delivered_of_which_one_cannot_be_told(root.path());
    assert_eq!(pair.told("bulk-forms", &other).as_deref(), Some("delivered"), "of another route, in the same batch");
    assert!(pair.station(HERE).spool.outbox(Crossing::InternetToExtranet).entries().unwrap().is_empty());
    let records =
        |pair: &Pair<'_>| (pair.recorded(HERE, Event::ReceiptTaken), pair.recorded(HERE, Event::CustodyPassed));
    let once = records(&pair);
    let size = pair.station(HERE).spool.head().size;
    pair.minutes(60).unwrap();
    assert_eq!(format!("{:?}", records(&pair)), format!("{once:?}"), "an hour of retries");
    assert!(pair.station(HERE).spool.head().size - size < 10);
    assert!(pair.stands(HERE, Alarm::Retrying));
    in_the_way.iter().for_each(|place| fs::remove_dir(place).unwrap());
    pair.start(HERE).unwrap();
    pair.minutes(2).unwrap();
    assert_eq!(pair.told("forms", &told).as_deref(), Some("delivered"), "it was kept until it could be told");
    assert_eq!(files_below(&pair.station(HERE).layout().complete(Crossing::ExtranetToInternet)), 0);
}

#[test]
fn a_receipt_that_cannot_be_read_keeps_no_other_back() {
    let root = tempfile::tempdir().unwrap();
    let mut pair = pair(root.path(), "");
    let bad = pair.station(THERE).layout().receipts(Crossing::ExtranetToInternet).join("internet.0.extranet.x.receipt");
    fs::create_dir(&bad).unwrap();
    let form = pair.drop_form("forms").unwrap();
    pair.minutes(10).unwrap();
    assert_eq!(pair.told("forms", &form).as_deref(), Some("delivered"));
    assert!(pair.stands(THERE, Alarm::Retrying) && bad.exists());
    fs::remove_dir(&bad).unwrap();
    pair.minutes(12).unwrap();
    assert!(!pair.stands(THERE, Alarm::Retrying));
}

/// Leaves no byte of a small disk.
fn fill(place: &Path) {
    let filled = fs::write(place.join("fill"), vec![0; 1 << 20]);
    assert_eq!(filled.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
}

#[test]
fn a_full_share_of_one_outlet_holds_up_its_own_route_only() {
    let Ok(root) = tests::volume::ground("outlet") else {
        eprintln!("SKIPPED: needs root and mounts");
        return;
    };
    let mut pair = pair(root.path(), "");
    let outlet = root.path().join("extranet/outlet/forms");
    let share = Volume::memory(&outlet, 64 << 10, 16).unwrap();
    fs::create_dir(outlet.join(".staging")).unwrap();
    fill(&outlet);
    let stuck = pair.drop_form("forms").unwrap();
    pair.minutes(1).unwrap();
    let others: Vec<_> = (0..3).map(|_| pair.drop_form("bulk-forms").unwrap()).collect();
    pair.minutes(4).unwrap();
    for other in &others {
        assert_eq!(pair.told("bulk-forms", other).as_deref(), Some("delivered"));
    }
    assert_ne!(pair.told("forms", &stuck).as_deref(), Some("delivered"));
    fs::remove_file(outlet.join("fill")).unwrap();
    pair.minutes(12).unwrap();
    assert_eq!(pair.told("forms", &stuck).as_deref(), Some("delivered"));
    drop(share);
}

#[test]
fn a_full_share_of_one_notices_folder_holds_up_its_own_route_only() {
    let Ok(root) = tests::volume::ground("notices") else {
        eprintln!("SKIPPED: needs root and mounts");
        return;
    };
    let mut pair = pair(root.path(), "");
    pair.drop_form("forms").unwrap();
    pair.minutes(1).unwrap();
    let notices = root.path().join("internet/notices/forms");
    let share = Volume::memory(&notices, 64 << 10, 16).unwrap();
    fill(&notices);
    let other = pair.drop_form("bulk-forms").unwrap();
    pair.minutes(6).unwrap();
    assert_eq!(pair.told("bulk-forms", &other).as_deref(), Some("delivered"));
    assert!(pair.station(HERE).spool.outbox(Crossing::InternetToExtranet).entries().unwrap().is_empty());
    drop(share);
}

#[test]
fn a_node_starts_while_the_shares_of_one_route_are_away_and_serves_the_others() {
    let root = tempfile::tempdir().unwrap();
    let mut pair = pair(root.path(), "");
    pair.joined = false;
    let before = pair.drop_form("forms").unwrap();
    pair.minutes(1).unwrap();
    pair.carry(HERE, THERE).unwrap();
    let shares = ["internet/inlet/forms", "internet/notices/forms", "extranet/outlet/forms"];
    let (shares, aside) = (shares.map(|share| root.path().join(share)), root.path().join("aside"));
    fs::create_dir(&aside).unwrap();
    for (number, share) in shares.iter().enumerate() {
        fs::rename(share, aside.join(number.to_string())).unwrap();
    }
    pair.joined = true;
    for node in [HERE, THERE] {
        pair.stop(node);
        pair.restart(node).unwrap();
    }
    let other = pair.drop_form("bulk-forms").unwrap();
    pair.minutes(8).unwrap();
    assert_eq!(pair.told("bulk-forms", &other).as_deref(), Some("delivered"));
    assert!(pair.stands(HERE, Alarm::Retrying) && pair.stands(THERE, Alarm::Retrying));
    for (number, share) in shares.iter().enumerate() {
        fs::rename(aside.join(number.to_string()), share).unwrap();
    }
    pair.minutes(12).unwrap();
    let after = pair.drop_form("forms").unwrap();
    pair.minutes(12).unwrap();
    for form in [before, after] {
        assert_eq!(pair.told("forms", &form).as_deref(), Some("delivered"));
    }
    assert_eq!(pair.outlet("forms").len(), 2);
    assert!(!pair.stands(HERE, Alarm::Retrying) && !pair.stands(THERE, Alarm::Retrying));
}

#[test]
fn a_folder_laid_among_the_answers_keeps_nothing_from_being_forgotten() {
    let root = tempfile::tempdir().unwrap();
    let mut pair = pair(root.path(), "");
    let answers = pair.station(HERE).layout().desk_answers();
    for old in ["a", "b/c"] {
        fs::create_dir_all(answers.join(old)).unwrap();
    }
    for old in ["a", "b"] {
        let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_millis(pair.now.0 - 3 * DAY_MS);
        fs::File::open(answers.join(old)).unwrap().set_modified(long_ago).unwrap();
    }
    pair.hours(2).unwrap();
    assert_eq!(files_below(&answers), 0);
    assert_eq!(fs::read_dir(&answers).unwrap().count(), 0);
}

#[test]
fn a_pipe_in_the_status_folder_holds_up_no_start() {
    let root = tempfile::tempdir().unwrap();
    let mut pair = pair(root.path(), "");
    for file in ["routes-off", "exceptions"] {
        let path = pair.station(HERE).layout().status().join(file);
        assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    }
    pair.start(HERE).unwrap();
    let form = pair.drop_form("forms").unwrap();
    pair.minutes(3).unwrap();
    assert_eq!(pair.told("forms", &form).as_deref(), Some("delivered"));
}

// ---- what may be asked ----

#[test]
fn a_resend_of_what_is_not_held_says_why_and_where_to_ask() {
    let root = tempfile::tempdir().unwrap();
    let mut pair = pair(root.path(), "");
    pair.drop_form("forms").unwrap();
    pair.drop_bytes("forms", "review.xml", papers::review_result(1).as_bytes()).unwrap();
    pair.minutes(4).unwrap();
    let parcel = |answer: Answer| answer.details[0]["parcel"].as_str().unwrap().to_owned();
    let delivered = parcel(pair.ask(HERE, "list", &[("state", "delivered")]).unwrap());
    let passed = pair.ask(HERE, "resend", &[("parcel", &delivered)]).unwrap();
    refused(&passed, "nothing-to-resend");
    assert!(passed.details["remedy_en"].as_str().unwrap().contains("extranet"), "{passed:?}");
    let ends = pair.ask(THERE, "resend", &[("parcel", &delivered)]).unwrap();
    refused(&ends, "nothing-to-resend");
    assert!(ends.message_en.contains("ends at this node"), "{ends:?}");
    let quarantined = parcel(pair.ask(HERE, "list", &[("type", "unknown")]).unwrap());
    let gone = pair.ask(HERE, "resend", &[("parcel", &quarantined)]).unwrap();
    refused(&gone, "nothing-to-resend");
    assert!(gone.details["remedy_en"].as_str().unwrap().contains("drops it again"), "{gone:?}");
    refused(&pair.ask(HERE, "resend", &[("parcel", "nonsense")]).unwrap(), "no-such-parcel");
    refused(&pair.ask(HERE, "resend", &[("from", "1"), ("to", "9")]).unwrap(), "nothing-to-resend");
    refused(
        &pair.ask(HERE, "resend", &[("from", "1"), ("to", "9"), ("crossing", "intranet-extranet")]).unwrap(),
        "no-crossing",
    );
    refused(&pair.ask(HERE, "resend", &[]).unwrap(), "argument-missing");
    // What is held goes out once more.
    pair.joined = false;
    pair.drop_form("forms").unwrap();
    pair.minutes(1).unwrap();
    let held = parcel(pair.ask(HERE, "list", &[("state", "accepted")]).unwrap());
    assert_eq!(pair.ask(HERE, "resend", &[("parcel", &held)]).unwrap().details["resent"], 1);
    assert_eq!(pair.ask(HERE, "resend", &[("from", "1"), ("to", "9")]).unwrap().details["resent"], 1);
}

#[test]
fn a_list_with_a_misspelt_filter_is_refused_and_not_shown_whole() {
    let root = tempfile::tempdir().unwrap();
    let mut pair = pair(root.path(), "");
    pair.drop_form("forms").unwrap();
    pair.minutes(3).unwrap();
    for (what, word) in
        [("state", "deliverd"), ("since", "yesterday"), ("type", "no type"), ("label", "no-value"), ("route", "?")]
    {
        let answer = pair.ask(HERE, "list", &[(what, word)]).unwrap();
        refused(&answer, if what == "route" { "no-route" } else { "filter" });
    }
    assert_eq!(pair.ask(HERE, "list", &[("state", "delivered")]).unwrap().details.as_array().unwrap().len(), 1);
    assert_eq!(pair.ask(HERE, "list", &[("route", "bulk-forms")]).unwrap().details.as_array().unwrap().len(), 0);
    refused(&pair.ask(HERE, "show", &[("parcel", "0123456789abcdef0123456789abcdef")]).unwrap(), "no-such-parcel");
}

#[test]
fn a_route_that_is_off_says_since_when_by_whom_and_why() {
    let root = tempfile::tempdir().unwrap();
    let mut pair = pair(root.path(), "");
    refused(&pair.ask(HERE, "route-disable", &[("route", "unheard-of"), ("reason", "x")]).unwrap(), "no-route");
    refused(&pair.ask(HERE, "route-disable", &[("route", "forms")]).unwrap(), "reason-missing");
    assert!(pair.ask(HERE, "route-disable", &[("route", "forms"), ("reason", "stock\ttaking\n")]).unwrap().done);
    let since = pair.now;
    let twice = pair.ask(HERE, "route-disable", &[("route", "forms"), ("reason", "again")]).unwrap();
    assert!(twice.done && twice.code == "route-as-it-was", "{twice:?}");
    let form = pair.drop_form("forms").unwrap();
    pair.minutes(3).unwrap();
    pair.start(HERE).unwrap();
    pair.minutes(1).unwrap();
    let status = pair.status(HERE);
    let row = status["routes"].as_array().unwrap().iter().find(|row| row["route"] == "forms").unwrap();
    assert_eq!((&row["enabled"], row["off_since_ms"].as_u64()), (&false.into(), Some(since.0)), "{row}");
    assert_eq!((row["off_by"].as_str(), row["off_reason"].as_str()), (Some("administrator"), Some("stock taking ")));
    assert_eq!(status["routes_off"][0], "forms");
    assert_eq!(pair.told("forms", &form), None, "it waits in the inlet");
    assert!(pair.ask(HERE, "route-enable", &[("route", "forms")]).unwrap().done);
    pair.minutes(3).unwrap();
    assert_eq!(pair.told("forms", &form).as_deref(), Some("delivered"));
    assert_eq!(pair.ask(HERE, "route-enable", &[("route", "forms")]).unwrap().code, "route-as-it-was");
}

#[test]
fn every_queue_of_a_node_is_in_its_status_with_what_is_normal() {
    let root = tempfile::tempdir().unwrap();
    let mut pair = pair(root.path(), "pickup_hours = 1");
    pair.joined = false;
    pair.drop_form("forms").unwrap();
    pair.minutes(20).unwrap();
    let queues = |status: &serde_json::Value| status["queues"].as_array().unwrap().clone();
    let (here, there) = (queues(&pair.status(HERE)), queues(&pair.status(THERE)));
    let names = |rows: &[serde_json::Value]| {
        rows.iter().map(|row| row["queue"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for queue in [
        "inlet forms",
        "claimed forms",
        "outbox internet-extranet",
        "receipts internet-extranet",
        "complete extranet-internet",
        "checked",
        "desk",
        "quarantine",
    ] {
        assert!(names(&here).iter().any(|name| name == queue), "{queue}: {:?}", names(&here));
    }
    assert!(names(&there).iter().any(|name| name == "outlet forms"), "{:?}", names(&there));
    let outbox = here.iter().find(|row| row["queue"] == "outbox internet-extranet").unwrap();
    assert_eq!((outbox["entries"].as_u64(), outbox["verdict"].as_str()), (Some(1), Some("late")), "{outbox}");
    for row in here.iter().chain(&there) {
        assert!(
            !row["normal_en"].as_str().unwrap().is_empty() && !row["normal_zh"].as_str().unwrap().is_ascii(),
            "{row}"
        );
    }
    pair.joined = true;
    pair.minutes(3).unwrap();
    let here = queues(&pair.status(HERE));
    assert!(here.iter().all(|row| row["verdict"] == "ok" && row["entries"] == 0), "{here:?}");
}

// ---- names that are not UTF-8 ----

/// What the notices of a route are called, byte for byte, as far as they tell of a parcel.
fn notices(root: &Path) -> Vec<Vec<u8>> {
    let folder = root.join("internet/notices/forms");
    let mut names: Vec<Vec<u8>> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_vec()).collect();
    names.sort();
    names
}

/// An app that writes GBK looks for its notice under the bytes that it wrote, whatever died on the way.
#[test]
fn a_drop_with_a_gbk_name_is_told_under_that_name_wherever_the_process_dies() {
    let root = tempfile::tempdir().unwrap();
    let mut pair = pair(root.path(), "names = \"gb18030\"");
    let (mut died, mut expected) = (0_u32, Vec::new());
    for turn in 0_u32..2 {
        // In the first round it dies between the drop and its first notice, in the second one while its end is told.
        for effects in (0..).step_by(2) {
            let dry = spool::Fuse::after(u64::MAX);
            let restart = |pair: &mut Pair<'_>, disk: spool::Disk| {
                pair.stop(HERE);
                pair.disks[HERE] = disk;
                pair.restart(HERE)
            };
            let name = [b"\xc9\xea\xc7\xeb-", format!("{turn}-{effects}.json").as_bytes()].concat();
            let lay = |pair: &Pair<'_>| {
                let inlet = pair.station(HERE).layout().inlet(&self::name("forms"));
                let aside = root.path().join("aside.json");
                fs::write(&aside, papers::application_form(turn * 10_000 + effects)).unwrap();
                fs::rename(aside, inlet.join(std::ffi::OsStr::from_bytes(&name))).unwrap();
            };
            pair.joined = true;
            let mut laid = turn == 1;
            if laid {
                lay(&pair);
                // It is delivered there, and its receipt waits there.
                pair.turn().unwrap();
                pair.joined = false;
                pair.pass_ms(60_000);
                pair.turn().unwrap();
                pair.joined = true;
                pair.carry(THERE, HERE).unwrap();
            }
            pair.joined = false;
            restart(&mut pair, spool::Disk::with_fuse(dry.clone())).unwrap();
            let fuse = spool::Fuse::after(dry.used() + u64::from(effects));
            if restart(&mut pair, spool::Disk::with_fuse(fuse.clone())).is_ok() {
                if !laid {
                    lay(&pair);
                    laid = true;
                }
                let _dies = pair.turn();
            }
            let burnt = fuse.burnt();
            restart(&mut pair, spool::Disk::real()).unwrap();
            if !laid {
                lay(&pair);
            }
            if turn == 0 {
                // What it was told of by others comes before it looks at what it had claimed.
                pair.carry(HERE, THERE).unwrap();
                pair.take_in(THERE).unwrap();
                pair.carry(THERE, HERE).unwrap();
                pair.take_in(HERE).unwrap();
            }
            pair.joined = true;
            for _ in 0..3 {
                pair.pass_ms(60_000);
                pair.turn().unwrap();
            }
            expected.push([&name[..], b".delivered.json"].concat());
            died += u32::from(burnt);
            if !burnt || effects >= 200 {
                break;
            }
        }
    }
    let found = notices(root.path());
    let other = |of: &[Vec<u8>], than: &[Vec<u8>]| -> Vec<String> {
        of.iter().filter(|name| !than.contains(name)).map(|name| name.escape_ascii().to_string()).collect()
    };
    assert_eq!((other(&found, &expected), other(&expected, &found)), (vec![], vec![]));
    assert_eq!(found.len(), expected.len());
    assert!(died > 20, "{died}");
}
