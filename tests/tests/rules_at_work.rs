//! What rules let out and hold back, at two nodes at work: budgets over trips, days and restarts; exceptions from the
//! first word to the slip, their end and their being taken back; a scanner that finds, and one that is dead.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a story stops at the first surprise")]
#![allow(clippy::disallowed_methods, reason = "a test makes and removes files as an app or a person would")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use protocol::endorsement::{Endorsement, file_name};
use protocol::keys::SigningKey;
use protocol::parcel::VERSION;
use protocol::trust::Role;
use protocol::{Crossing, Signed, Suite, Timestamp, Zone};
use serde_json::Value;
use spool::Answer;
use station::config::{IntakeWord, ScannerSettings, ScannerWay};
use station::trips::{self, Trip};
use tests::programs::repository;
use tests::twins::{self, Member, OPERATOR, Running, START, found, name, names};

const OUTWARD: Crossing = Crossing::IntranetToExtranet;
const ROUTE: &str = "review-results";
const DAY_MS: u64 = 24 * 60 * 60 * 1000;
const OFFICER: &str = "officer-qian";
const APPROVER: &str = "approver-li";
/// Two numbers as fine as a survey's, which are none: the guard cannot know.
const METERS: &str = "{\"readings\": \"4851490.4193 29546865.2760\"}";
/// A key with its value: nobody excepts that.
const POINT: &str = "{\"XZB\": \"4851490.4193\", \"YZB\": \"29546865.2760\"}";

struct Office {
    folder: tempfile::TempDir,
    extranet: Member,
    intranet: Member,
    officer: SigningKey,
    approver: SigningKey,
    operator: SigningKey,
}

impl Office {
    /// Two nodes under rules of their own, which two people have signed: one type, and what is said of it besides.
    fn under(said: &str) -> Office {
        let folder = tempfile::tempdir().unwrap();
        let ([mut extranet, mut intranet], operator, _) = found(folder.path(), [Zone::Extranet, Zone::Intranet]);
        let officer = twins::person(&[&extranet, &intranet], OFFICER, Role::Security);
        let approver = twins::person(&[&extranet, &intranet], APPROVER, Role::Approver);
        let rules = folder.path().join("rules");
        fs::create_dir(&rules).unwrap();
        for entry in fs::read_dir(repository().join("config/rules")).unwrap().map(Result::unwrap) {
            fs::copy(entry.path(), rules.join(entry.file_name())).unwrap();
        }
        let text = format!(
            "crossing = \"{OUTWARD}\"\nversion = \"2027-01-01.1\"\n[[type]]\nname = \"review-result\"\nkinds = [\"json\"]\n\
             bytes_max = 1000\n{said}\n"
        );
        fs::write(rules.join(format!("{OUTWARD}.toml")), &text).unwrap();
        for (person, key) in [(OFFICER, &officer), (APPROVER, &approver)] {
            let word = Endorsement {
                version: VERSION,
                crossing: OUTWARD,
                rules: "2027-01-01.1".to_owned(),
                digest: Suite::Std.digest(text.as_bytes()),
                person: name(person),
                at: START,
            };
            fs::write(rules.join(file_name(OUTWARD, &name(person))), Signed::make(key, &word).to_bytes()).unwrap();
        }
        for member in [&mut extranet, &mut intranet] {
            member.config.node.rules = rules.clone();
        }
        Office { folder, extranet, intranet, officer, approver, operator }
    }

    fn drop_in(&self, running: &mut Running, file: &str, text: &str, now: &mut Timestamp) {
        self.intranet.drop_file(ROUTE, file, text.as_bytes());
        running.turn(now).unwrap();
    }

    /// State and reason of the newest notice about a drop.
    fn notice(&self, file: &str) -> (String, Value) {
        let folder = self.intranet.layout().notices(&name(ROUTE));
        let found = names(&folder).into_iter().filter(|found| found.starts_with(file)).collect::<Vec<_>>();
        let newest = found.iter().max_by_key(|found| fs::metadata(folder.join(found)).unwrap().modified().unwrap());
        let newest = newest.unwrap_or_else(|| panic!("no notice about {file}"));
        let notice: Value = serde_json::from_slice(&fs::read(folder.join(newest)).unwrap()).unwrap();
        (notice["state"].as_str().unwrap().to_owned(), notice)
    }

    fn stage(&self, running: &Running, now: Timestamp) -> Result<Trip, String> {
        let staged = trips::stage(
            &running.station,
            &name("disc-0001"),
            &name("sun"),
            &name(OPERATOR),
            None,
            &trips::Choice::default(),
            now,
        );
        staged.unwrap().map_err(|refusal| refusal.code.to_owned())
    }

    fn word(&self, running: &Running, person: &str, action: &str, rule: &str, text: &str, now: Timestamp) -> Answer {
        let digest = protocol::tree::root_of(Suite::Std, text.as_bytes()).to_string();
        let key = if person == OFFICER { &self.officer } else { &self.approver };
        let arguments =
            [("rule", rule), ("file", &digest), ("crossing", OUTWARD.name()), ("days", "7"), ("reason", "meters")];
        twins::ask(running, key, person, action, &arguments, now)
    }

    fn both_except(&self, running: &Running, rule: &str, text: &str, now: Timestamp) {
        for (person, stands) in [(OFFICER, false), (APPROVER, true)] {
            let answer = self.word(running, person, "except", rule, text, now);
            assert!(answer.done && answer.details["stands"] == stands, "{answer:?}");
        }
    }
}

/// Every finding of a drop, by its rule.
fn rules_found(text: &str) -> Vec<&'static str> {
    let mut rules: Vec<&str> = guard::detect("a.json", text.as_bytes()).findings.iter().map(|f| f.rule).collect();
    rules.sort_unstable();
    rules.dedup();
    rules
}

#[test]
fn a_trip_carries_what_its_budget_allows_and_the_rest_goes_with_the_next() {
    let (office, mut now) = (Office::under("budget = { per = \"trip\", parcels_max = 2 }"), START);
    let mut running = office.intranet.open(now).unwrap();
    for number in 1..=5 {
        office.drop_in(&mut running, &format!("{number}.json"), "{}", &mut now);
    }
    let alarm = |running: &Running| running.station.alarms.standing().iter().any(|(a, ..)| a.code() == "export-budget");
    let mut carried = 0;
    for (bundles, held) in [(2, 3), (2, 1), (1, 0)] {
        let trip = office.stage(&running, now).unwrap();
        assert_eq!((trip.bundles, trip.held.get("review-result").copied().unwrap_or_default()), (bundles, held));
        assert_eq!(alarm(&running), held > 0);
        carried += trip.bundles;
        // What was counted is on record, and a start forgets nothing of it.
        drop(running);
        running = office.intranet.open(now).unwrap();
    }
    assert_eq!(carried, 5, "each parcel, and each once: what travels is not taken again");
}

#[test]
fn a_budget_of_a_day_holds_over_trips_and_restarts_and_ends_with_the_day() {
    let said = "budget = { per = \"day\", parcels_max = 9, bytes_max = 1000 }";
    let (office, mut now) = (Office::under(said), START);
    let mut running = office.intranet.open(now).unwrap();
    let large = format!("{{\"text\": \"{}\"}}", "a".repeat(588));
    assert_eq!(large.len(), 600);
    for number in 1..=3 {
        office.drop_in(&mut running, &format!("{number}.json"), &large, &mut now);
    }
    assert_eq!(office.stage(&running, now).unwrap().bundles, 1, "two of 600 bytes are over 1,000");
    drop(running);
    let mut running = office.intranet.open(now).unwrap();
    assert_eq!(office.stage(&running, now).unwrap_err(), "over-budget", "the same day, after a restart");
    office.drop_in(&mut running, "small.json", "{}", &mut now);
    assert_eq!(office.stage(&running, now).unwrap().bundles, 1, "what there is room for still goes");
    now = now.plus_ms(DAY_MS);
    running.turn(&mut now).unwrap();
    assert_eq!(office.stage(&running, now).unwrap().bundles, 1, "another day");
}

#[test]
fn an_exception_lets_one_file_out_is_counted_on_the_trip_and_ends() {
    let (office, mut now) = (Office::under("budget = { per = \"trip\", exceptions_max = 1 }"), START);
    let mut running = office.intranet.open(now).unwrap();
    let rules = rules_found(METERS);
    assert_eq!(rules.len(), 1, "the story is about one heuristic rule: {rules:?}");
    let rule = rules[0];

    office.drop_in(&mut running, "a.json", METERS, &mut now);
    assert_eq!(office.notice("a.json").1["reason"], "coordinates");
    office.both_except(&running, rule, METERS, now);
    for file in ["b.json", "c.json"] {
        office.drop_in(&mut running, file, METERS, &mut now);
        let (state, notice) = office.notice(file);
        assert!(state == "accepted" && notice.to_string().contains("excepted"), "{notice}");
    }
    // Another file, or a structural rule whatever is said of it, stays.
    office.drop_in(&mut running, "d.json", &METERS.replace("760", "761"), &mut now);
    assert_eq!(office.notice("d.json").0, "refused");
    for structural in rules_found(POINT) {
        for person in [OFFICER, APPROVER] {
            assert!(office.word(&running, person, "except", structural, POINT, now).done);
        }
    }
    office.drop_in(&mut running, "e.json", POINT, &mut now);
    assert_eq!(office.notice("e.json").1["reason"], "coordinates", "nobody excepts a key with its value");

    // The words stand after a restart; the trip counts what went by them, and its budget keeps the second back.
    drop(running);
    let mut running = office.intranet.open(now).unwrap();
    let trip = office.stage(&running, now).unwrap();
    assert_eq!((trip.bundles, trip.exceptions, trip.held["review-result"]), (1, 1, 1));
    let shown = trips::list(&running.station).unwrap();
    assert_eq!(shown[0].exceptions, 1);
    // Whoever takes the note away, or forges it, changes no count: neither the one that is laid again nor the slip's.
    let note = office.intranet.layout().desk_trips().join("1/trip.json");
    fs::remove_file(&note).unwrap();
    trips::step(&running.station, now).unwrap();
    assert_eq!(trips::list(&running.station).unwrap()[0].exceptions, 1);
    let forged = fs::read_to_string(&note).unwrap().replace("\"exceptions\": 1", "\"exceptions\": 0");
    fs::write(&note, forged).unwrap();
    let (disc, sun, ma) = (name("disc-0001"), name("sun"), name(OPERATOR));
    let stands = trips::standing(&running.station, &disc, &sun, &ma, &trips::Meant::Trip(1)).unwrap().unwrap();
    assert_eq!(stands.exceptions, 1);

    // The node behind the border judges by itself, and is asked by itself.
    let mut extranet = office.extranet.open(now).unwrap();
    running.carry_to(&extranet);
    extranet.turn(&mut now).unwrap();
    assert!(office.extranet.outlet(ROUTE).is_empty(), "nobody excepted it there");

    // It ends by itself, and sooner where one of the people takes it back.
    let taken = office.word(&running, APPROVER, "except-revoke", rule, METERS, now);
    assert!(taken.done && taken.details["taken_back"] == 2, "{taken:?}");
    office.drop_in(&mut running, "f.json", METERS, &mut now);
    assert_eq!(office.notice("f.json").0, "refused", "taken back");
    assert_eq!(office.word(&running, APPROVER, "except-revoke", rule, METERS, now).code, "no-exception");
    now = now.plus_ms(1_000);
    office.both_except(&running, rule, METERS, now);
    now = now.plus_ms(6 * DAY_MS);
    office.drop_in(&mut running, "g.json", METERS, &mut now);
    assert_eq!(office.notice("g.json").0, "accepted");
    now = now.plus_ms(DAY_MS);
    office.drop_in(&mut running, "h.json", METERS, &mut now);
    assert_eq!(office.notice("h.json").0, "refused", "seven days are over");
    assert!(office.folder.path().is_dir());
}

#[test]
fn excepted_on_both_sides_it_arrives() {
    let (office, mut now) = (Office::under(""), START);
    let mut intranet = office.intranet.open(now).unwrap();
    let mut extranet = office.extranet.open(now).unwrap();
    let rule = rules_found(METERS)[0];
    for running in [&intranet, &extranet] {
        office.both_except(running, rule, METERS, now);
    }
    office.drop_in(&mut intranet, "a.json", METERS, &mut now);
    intranet.carry_to(&extranet);
    extranet.turn(&mut now).unwrap();
    assert_eq!(office.extranet.outlet(ROUTE), ["a.json"]);
    let operators = twins::ask(&intranet, &office.operator, OPERATOR, "except-revoke", &[], now);
    assert_eq!(operators.code, "role", "whoever may not except may not take back");
}

/// The only thing that is held of a parcel.
fn held(member: &Member) -> Vec<String> {
    names(&member.layout().quarantine())
}

#[test]
fn what_is_held_goes_back_when_two_have_released_it_and_never_what_is_structural() {
    let (office, mut now) = (Office::under("on_coordinates = \"quarantine\""), START);
    let mut running = office.intranet.open(now).unwrap();
    office.drop_in(&mut running, "a.json", METERS, &mut now);
    let (state, notice) = office.notice("a.json");
    assert_eq!(state, "quarantined");
    let parcel = notice["parcel"].as_str().unwrap().to_owned();
    let asks = |running: &Running, person: &str, action: &str, parcel: &str, now| {
        let key = if person == OFFICER { &office.officer } else { &office.approver };
        twins::ask(running, key, person, action, &[("parcel", parcel), ("reason", "meters")], now)
    };
    let operators = twins::ask(&running, &office.operator, OPERATOR, "release", &[("parcel", &parcel)], now);
    assert_eq!(operators.code, "role");

    // What a person is shown is what the exception is about, and no digit more than a mask leaves.
    let shown = asks(&running, OFFICER, "held", &parcel, now);
    let finding = &shown.details["findings"][0];
    let digest = protocol::tree::root_of(Suite::Std, METERS.as_bytes()).to_string();
    assert_eq!((finding["class"].as_str(), finding["file"].as_str()), (Some("heuristic"), Some(digest.as_str())));
    assert!(!shown.details.to_string().contains("4851490"), "{shown:?}");

    let rule = rules_found(METERS)[0];
    let first = asks(&running, OFFICER, "release", &parcel, now);
    assert!(first.done && first.details["released"] == false, "{first:?}");
    assert!(office.word(&running, OFFICER, "except", rule, METERS, now).done);
    assert_eq!(asks(&running, OFFICER, "release", &parcel, now).details["released"], false, "one person");
    assert!(office.word(&running, APPROVER, "except", rule, METERS, now).done);
    // While a backup is made, what it holds a second name of would be taken for a link.
    let backup = running.station.spool.snapshot().unwrap();
    let second = asks(&running, APPROVER, "release", &parcel, now);
    assert!(second.done && second.details["released"] == true, "{second:?}");
    assert!(held(&office.intranet).is_empty());
    running.turn(&mut now).unwrap();
    drop(backup);
    let (state, notice) = office.notice("a.json");
    assert!(state == "accepted" && notice["parcel"] != parcel.as_str(), "{notice}");
    assert_eq!(asks(&running, OFFICER, "release", &parcel, now).code, "nothing-held");

    // A key with its value; and a word that is over.
    office.drop_in(&mut running, "b.json", POINT, &mut now);
    let parcel = office.notice("b.json").1["parcel"].as_str().unwrap().to_owned();
    for rule in rules_found(POINT) {
        office.word(&running, OFFICER, "except", rule, POINT, now);
        office.word(&running, APPROVER, "except", rule, POINT, now);
    }
    assert_eq!(asks(&running, OFFICER, "release", &parcel, now).code, "structural");
    assert_eq!(held(&office.intranet), [parcel]);
    let other = METERS.replace("readings", "meters");
    office.drop_in(&mut running, "c.json", &other, &mut now);
    let parcel = office.notice("c.json").1["parcel"].as_str().unwrap().to_owned();
    office.both_except(&running, rule, &other, now);
    now = now.plus_ms(7 * DAY_MS);
    assert_eq!(asks(&running, OFFICER, "release", &parcel, now).details["released"], false, "seven days are over");
}

/// A node that holds a.json, whose finding two have excepted; the officer has said that it may go.
fn one_has_spoken(word: IntakeWord) -> (Office, Timestamp, String) {
    let (mut office, mut now) = (Office::under("on_coordinates = \"quarantine\""), START);
    for route in office.intranet.config.routes.iter_mut().filter(|route| route.intake.is_some()) {
        route.intake = Some(word);
    }
    let mut running = office.intranet.open(now).unwrap();
    office.intranet.drop_file(ROUTE, "a.json", METERS.as_bytes());
    if word == IntakeWord::Ready {
        office.intranet.drop_file(ROUTE, "a.json.ready", b"");
    }
    running.turn(&mut now).unwrap();
    let parcel = office.notice("a.json").1["parcel"].as_str().unwrap().to_owned();
    office.both_except(&running, rules_found(METERS)[0], METERS, now);
    for _ in 0..2 {
        let said = [("parcel", parcel.as_str()), ("reason", "meters")];
        let one = twins::ask(&running, &office.officer, OFFICER, "release", &said, now);
        assert!(one.done && one.details["released"] == false, "one person, however often: {one:?}");
    }
    assert!(held(&office.intranet).contains(&parcel));
    (office, now, parcel)
}

fn second_word(office: &Office, running: &Running, parcel: &str, now: Timestamp) -> protocol::Digest {
    let said = [("parcel", parcel), ("reason", "meters")];
    twins::lay(running, &office.approver, APPROVER, "release", &said, now)
}

#[test]
fn one_person_releases_nothing_and_a_word_that_is_over_or_about_another_parcel_counts_for_none() {
    let (office, now, parcel) = one_has_spoken(IntakeWord::Rename);
    let running = office.intranet.open(now).unwrap();
    // What a person lays beside a held drop is no word.
    let paper = office.intranet.layout().quarantine().join(format!("{parcel}.release"));
    let kept = fs::read_to_string(&paper).unwrap();
    assert_eq!(kept.lines().count(), 1, "each person's word once");
    let mut forged = kept.clone();
    forged.push_str("word 00\n");
    fs::write(&paper, &forged).unwrap();
    let said = [("parcel", parcel.as_str()), ("days", "31")];
    let much = twins::ask(&running, &office.approver, APPROVER, "release", &said, now);
    assert_eq!(much.code, "argument-missing");
    let later = now.plus_ms(8 * DAY_MS);
    drop(running);
    let running = office.intranet.open(later).unwrap();
    office.both_except(&running, rules_found(METERS)[0], METERS, later);
    let said = [("parcel", parcel.as_str()), ("reason", "meters")];
    let alone = twins::ask(&running, &office.approver, APPROVER, "release", &said, later);
    assert!(alone.done && alone.details["released"] == false, "the officer's word is over: {alone:?}");
    let both = twins::ask(&running, &office.officer, OFFICER, "release", &said, later);
    assert!(both.details["released"] == true, "{both:?}");
    assert!(held(&office.intranet).is_empty());
}

#[test]
fn a_release_whose_name_is_taken_moves_nothing_and_is_not_on_record() {
    let (office, mut now, parcel) = one_has_spoken(IntakeWord::Rename);
    let mut running = office.intranet.open(now).unwrap();
    office.intranet.drop_file(ROUTE, "a.json", b"{}");
    let id = second_word(&office, &running, &parcel, now);
    station::desk::step(&running.station, now).unwrap();
    assert_eq!(twins::answer(&running, &id).code, "name-taken");
    let about = |running: &Running| {
        let asked = spool::ActFilter { person: Some(name(APPROVER)), ..spool::ActFilter::default() };
        let acts = running.station.spool.acts(&asked, 1_000).unwrap();
        acts.iter().filter(|act| act.record.parcel.is_some_and(|about| about.to_string() == parcel)).count()
    };
    assert_eq!(about(&running), 0, "the ledger says nothing that did not happen");
    running.turn(&mut now).unwrap();
    let id = second_word(&office, &running, &parcel, now);
    station::desk::step(&running.station, now).unwrap();
    assert_eq!(twins::answer(&running, &id).details["released"], true);
    assert_eq!(about(&running), 1);
    // An operator's reason is not the name of the parcel.
    let id = protocol::ParcelId::from_hex(&parcel).unwrap();
    assert_eq!(running.station.spool.parcel(&id).unwrap().unwrap().name.as_deref(), Some("a.json"));
}

#[test]
fn a_release_dies_anywhere_and_the_drop_goes_on_once_and_its_person_hears_of_it() {
    for (word, stride) in [(IntakeWord::Ready, 1), (IntakeWord::Rename, 3)] {
        let (office, now, parcel) = one_has_spoken(word);
        let fuse = spool::Fuse::after(u64::MAX);
        let running = office.intranet.open_until(&fuse, now).unwrap();
        let opened = fuse.used();
        second_word(&office, &running, &parcel, now);
        station::desk::step(&running.station, now).unwrap();
        let effects = fuse.used() - opened;
        assert!(effects > 10, "{effects}");
        for effect in (0..effects).step_by(stride) {
            let (office, mut now, parcel) = one_has_spoken(word);
            let fuse = spool::Fuse::after(opened + effect);
            let running = office.intranet.open_until(&fuse, now).unwrap();
            let id = second_word(&office, &running, &parcel, now);
            let _died = station::desk::step(&running.station, now);
            drop(running);
            let mut running = office.intranet.open(now).unwrap();
            station::desk::step(&running.station, now).unwrap();
            let answer = twins::answer(&running, &id);
            assert_eq!(answer.details["released"], true, "after {effect} of {effects}, {word:?}: {answer:?}");
            running.turn(&mut now).unwrap();
            let (state, notice) = office.notice("a.json");
            assert_eq!(state, "accepted", "after {effect} of {effects}, {word:?}: {notice}");
            assert!(held(&office.intranet).is_empty(), "after {effect} of {effects}");
            assert_eq!(running.station.spool.outbox(OUTWARD).entries().unwrap().len(), 1);
        }
    }
}

#[test]
fn while_nobody_can_judge_a_release_is_refused_and_not_tried_for_ever() {
    let (mut office, now, parcel) = one_has_spoken(IntakeWord::Rename);
    let by = ScannerWay::Exec(office.folder.path().join("no-such-scanner"));
    office.intranet.config.scanner = Some(ScannerSettings { by, within_s: 5, mib_max: 64 });
    let running = office.intranet.open(now).unwrap();
    let id = second_word(&office, &running, &parcel, now);
    station::desk::step(&running.station, now).unwrap();
    assert_eq!(twins::answer(&running, &id).code, "not-now");
    assert!(names(&office.intranet.layout().desk_requests()).is_empty());
    assert!(held(&office.intranet).contains(&parcel));
}

#[test]
fn what_is_refused_behind_the_border_is_sealed_to_the_officers_key_and_to_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let ([internet, extranet], _, security) = found(folder.path(), [Zone::Internet, Zone::Extranet]);
    let officer = twins::person(&[&internet], OFFICER, Role::Security);
    let approver = twins::person(&[&internet], APPROVER, Role::Approver);
    let mut now = START;
    let (mut here, mut there) = (internet.open(now).unwrap(), extranet.open(now).unwrap());
    let digest = protocol::tree::root_of(Suite::Std, METERS.as_bytes()).to_string();
    for (key, person) in [(&officer, OFFICER), (&approver, APPROVER)] {
        let rule = rules_found(METERS)[0];
        let said = [("rule", rule), ("file", &digest), ("crossing", "internet-extranet"), ("days", "7")];
        assert!(twins::ask(&here, key, person, "except", &said, now).done);
    }
    internet.drop_file("applications", "a.json", METERS.as_bytes());
    here.turn(&mut now).unwrap();
    // Something is held under the same id as a bundle: a neighbour chooses it, and it is neither touched nor taken for this.
    let sent = here.station.spool.parcels(&spool::Filter::default(), 1).unwrap().remove(0).parcel;
    let decoy = extranet.layout().quarantine().join(format!("{sent}.bundle"));
    fs::write(&decoy, "of an incident").unwrap();
    here.carry_to(&there);
    there.turn(&mut now).unwrap();
    assert_eq!(fs::read(&decoy).unwrap(), b"of an incident");
    fs::remove_file(&decoy).unwrap();
    let kept = held(&extranet);
    assert_eq!(kept.len(), 1, "{kept:?}");
    let place = extranet.layout().quarantine().join(&kept[0]);
    let envelope = protocol::bundle::peek(&mut fs::File::open(&place).unwrap()).unwrap();
    assert_eq!(envelope.recipient, security.public().id());
    assert!(!extranet.keyring().opening_keys().any(|key| key.public().id() == envelope.recipient));
    assert!(!extranet.keyring().opening_keys().any(|key| protocol::bundle::is_kept_by(&envelope, key)));
    assert!(!String::from_utf8_lossy(&fs::read(&place).unwrap()).contains("4851490"));
    let parcel = kept[0].strip_suffix(".aside").expect("no name that a bundle may have").to_owned();
    // It is found by the parcel, and neither arrivals nor staging keep anything of it.
    assert!(here.station.spool.parcel(&protocol::ParcelId::from_hex(&parcel).unwrap()).unwrap().is_some());
    assert!(names(&extranet.layout().checked()).is_empty() && names(&extranet.layout().opening()).is_empty());
    drop(there);
    let mut there = extranet.open(now).unwrap();
    there.turn(&mut now).unwrap();
    assert_eq!(held(&extranet), kept);
    // The last node of a route opens beside its outlet: nothing stays there either.
    assert!(extranet.outlet("applications").is_empty());
}

fn program(folder: &Path) -> PathBuf {
    let path = folder.join("scan");
    fs::write(&path, "#!/bin/sh\nif grep -q virus; then exit 1; fi\nexit 0\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn a_scanner_refuses_what_it_finds_and_while_it_is_dead_a_parcel_waits() {
    let (mut office, mut now) = (Office::under(""), START);
    let path = program(office.folder.path());
    let by = ScannerWay::Exec(path.clone());
    office.intranet.config.scanner = Some(ScannerSettings { by, within_s: 60, mib_max: 64 });
    let mut running = office.intranet.open(now).unwrap();
    office.drop_in(&mut running, "good.json", "{}", &mut now);
    assert_eq!(office.notice("good.json").0, "accepted");
    office.drop_in(&mut running, "bad.json", "{\"a\": \"virus\"}", &mut now);
    let (state, notice) = office.notice("bad.json");
    assert!(state == "refused" && notice["reason"] == "scanner", "{notice}");

    fs::remove_file(&path).unwrap();
    office.intranet.drop_file(ROUTE, "waits.json", b"{}");
    let told = running.turn(&mut now);
    let outbox = |running: &Running| running.station.spool.outbox(OUTWARD).entries().unwrap().len();
    assert_eq!(outbox(&running), 1, "{told:?}");
    assert_eq!(running.station.scanner.as_ref().unwrap().silences(), 1);
    let folder = office.intranet.layout().notices(&name(ROUTE));
    assert!(!names(&folder).iter().any(|file| file.starts_with("waits") && file.contains("refused")));

    program(office.folder.path());
    drop(running);
    let mut running = office.intranet.open(now).unwrap();
    running.turn(&mut now).unwrap();
    assert_eq!(outbox(&running), 2, "the scanner is there again");
    assert_eq!(office.notice("waits.json").0, "accepted");
}
