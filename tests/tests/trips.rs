//! Numbers of ferry trips, and what was imported, are the ledger's: whoever takes away or forges what lies at the desk, and
//! wherever a process dies, no number is given twice and none is left out. And what people did with which medium is found
//! again.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a story stops at the first surprise")]
#![allow(clippy::disallowed_methods, reason = "a test makes and removes files as an app or a person would")]

use std::fs;
use std::path::{Path, PathBuf};

use protocol::keys::{OpeningKey, SigningKey};
use protocol::ledger::{Event, Record};
use protocol::parcel::VERSION;
use protocol::trust::Role;
use protocol::waybill::{Approval, LineKind, Waybill, WaybillLine};
use protocol::{Crossing, Signed, Timestamp, Zone};
use serde_json::{Value, json};
use spool::{Answer, Disk, Fault, Fuse, Power, Weather};
use station::alarm::Alarm;
use station::backup::Job;
use station::restore::{RestorePlan, restore};
use station::trips::{self, Choice, Trip, TripState};
use tests::papers;
use tests::twins::{self, Member, OPERATOR, Running, START, ahead_ms, found, name, names};

const OUTWARD: Crossing = Crossing::IntranetToExtranet;
const DISC: &str = "disc-0001";
const DAY_MS: u64 = 24 * 60 * 60 * 1000;
const APPROVERS: [&str; 2] = ["approver-li", "approver-zhao"];

/// Two nodes, and people who may ask.
struct Office {
    _folder: tempfile::TempDir,
    extranet: Member,
    intranet: Member,
    operator: SigningKey,
    approvers: Vec<SigningKey>,
    safe: OpeningKey,
}

impl Office {
    fn new() -> Office {
        let folder = tempfile::tempdir().unwrap();
        let ([extranet, intranet], operator, safe) = found(folder.path(), [Zone::Extranet, Zone::Intranet]);
        let approvers =
            APPROVERS.iter().map(|who| twins::person(&[&extranet, &intranet], who, Role::Approver)).collect();
        Office { _folder: folder, extranet, intranet, operator, approvers, safe }
    }

    /// What a person asks through the desk.
    fn ask(&self, running: &Running, action: &str, arguments: &[(&str, &str)], now: Timestamp) -> Answer {
        twins::ask(running, &self.operator, OPERATOR, action, arguments, now)
    }

    /// Two people sign a trip, and its folder is copied into the other desk as `ferry` does.
    fn carry(&self, number: u64, now: Timestamp) -> PathBuf {
        let from = self.intranet.layout().desk_trips().join(number.to_string());
        let waybill = Signed::parse::<Waybill>(&fs::read(from.join("waybill")).unwrap()).unwrap().digest();
        for (person, key) in APPROVERS.iter().zip(&self.approvers) {
            let approval = Approval { version: VERSION, waybill, trip: number, person: name(person), at: now };
            let file = from.join("approvals").join(format!("{person}.approval"));
            fs::write(file, Signed::make(key, &approval).to_bytes()).unwrap();
        }
        let to = self.extranet.layout().desk_incoming().join(format!("{OUTWARD}-{number}"));
        for part in ["", "approvals"] {
            fs::create_dir_all(to.join(part)).unwrap();
            for file in names(&from.join(part)).iter().filter(|file| *file != "trip.json" && *file != "approvals") {
                fs::copy(from.join(part).join(file), to.join(part).join(file)).unwrap();
            }
        }
        to
    }

    fn import(&self, running: &Running, number: u64, now: Timestamp) -> Answer {
        self.ask(running, "import", &[("trip", &number.to_string()), ("crossing", OUTWARD.name())], now)
    }
}

fn stage(running: &Running, now: Timestamp) -> Trip {
    trips::stage(&running.station, &name(DISC), &name("sun"), &name(OPERATOR), None, &Choice::default(), now)
        .unwrap()
        .unwrap()
}

/// An app in the internal zone drops a result, and it is sealed.
fn result(office: &Office, running: &mut Running, number: u32, now: &mut Timestamp) {
    let text = papers::review_result(number);
    office.intranet.drop_file("review-results", &format!("review-{number}.xml"), text.as_bytes());
    running.turn(now).unwrap();
}

/// The same, larger than what shares a segment.
fn large_result(office: &Office, running: &mut Running, now: &mut Timestamp) {
    let mut text = papers::review_result_without_points(1).into_bytes();
    text.resize(spool::SMALL_BYTES_MAX * 2, b'\n');
    office.intranet.drop_file("review-results", "review-1.xml", &text);
    running.turn(now).unwrap();
}

/// The lines of the waybill in a trip's folder, each file of which is what its line says.
fn lines_laid(place: &Path) -> Vec<(WaybillLine, fs::Metadata)> {
    let bytes = fs::read(place.join("waybill")).unwrap();
    let bill: Waybill = Signed::parse::<Waybill>(&bytes).unwrap().read_unverified().unwrap();
    let sound = |line: WaybillLine| {
        let path = place.join(protocol::waybill::line_file_name(&line));
        let mut file = fs::File::open(&path).unwrap();
        let (size, digest) = protocol::tree::root_of_reader(protocol::Suite::Std, &mut file).unwrap();
        assert_eq!((size, digest), (line.size, line.digest));
        (line, file.metadata().unwrap())
    };
    bill.lines.into_iter().map(sound).collect()
}

fn records(running: &Running, event: Event) -> Vec<Record> {
    let all = running.station.spool.records(0, 10_000).unwrap();
    all.into_iter().map(|stored| stored.record).filter(|record| record.event == event).collect()
}

fn forged(trip: u64, direction: &str, state: &str) -> Vec<u8> {
    let note = json!({
        "trip": trip, "crossing": OUTWARD.name(), "direction": direction, "state": state, "medium": DISC, "carrier": "sun",
        "exporter": "ma", "files": 1, "bytes": 1, "approvals": [], "needed": 2, "settled": 0, "bundles": 1,
        "waybill": "", "at_ms": 1, "ids": [],
    });
    serde_json::to_vec(&note).unwrap()
}

#[test]
fn a_note_at_the_desk_that_is_gone_or_forged_neither_repeats_nor_skips_a_number() {
    let (office, mut now) = (Office::new(), START);
    let mut running = office.intranet.open(now).unwrap();
    let desk = office.intranet.layout().desk_trips();
    result(&office, &mut running, 1, &mut now);
    let first = stage(&running, now);
    assert_eq!((first.trip, first.bundles), (1, 1));
    let waybill = fs::read(desk.join("1/waybill")).unwrap();

    fs::remove_file(desk.join("1/trip.json")).unwrap();
    result(&office, &mut running, 2, &mut now);
    fs::remove_dir_all(desk.join("1")).unwrap();
    let second = stage(&running, now);
    assert_eq!((second.trip, second.bundles), (2, 1), "what is on trip 1 travels with trip 1, whoever took its papers");

    // A number from nowhere; a trip that is said to be settled, of another digest and without bundles.
    fs::create_dir_all(desk.join("77")).unwrap();
    fs::write(desk.join("77/trip.json"), forged(77, "out", "staged")).unwrap();
    fs::write(desk.join("2/trip.json"), forged(2, "out", "settled")).unwrap();
    result(&office, &mut running, 3, &mut now);
    let third = stage(&running, now);
    assert_eq!((third.trip, third.bundles), (3, 1));
    let known = trips::list(&running.station).unwrap();
    let told: Vec<_> = known.iter().map(|trip| (trip.trip, trip.state, trip.ids.clone())).collect();
    assert_eq!(
        told,
        [(3, TripState::Staged, third.ids), (2, TripState::Staged, second.ids), (1, TripState::Staged, first.ids)]
    );

    // The papers stand at the desk again, after another start too.
    drop(running);
    let mut running = office.intranet.open(now).unwrap();
    fs::write(desk.join("3/waybill"), &waybill).unwrap();
    running.turn(&mut now).unwrap();
    assert_eq!(fs::read(desk.join("1/waybill")).unwrap(), waybill);
    assert_ne!(fs::read(desk.join("3/waybill")).unwrap(), waybill);
    let note: Value = serde_json::from_slice(&fs::read(desk.join("2/trip.json")).unwrap()).unwrap();
    assert_eq!((&note["trip"], &note["state"]), (&json!(2), &json!("staged")));
    let staged = records(&running, Event::TripStaged);
    assert_eq!(staged.iter().map(|record| record.trip.unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(staged.iter().all(|record| record.medium == Some(name(DISC)) && record.person == Some(name(OPERATOR))));
}

#[test]
fn a_trip_that_was_imported_is_turned_away_whatever_the_desk_says_of_it() {
    let (office, mut now) = (Office::new(), START);
    let mut intranet = office.intranet.open(now).unwrap();
    let mut extranet = office.extranet.open(now).unwrap();
    for number in 1..=2 {
        result(&office, &mut intranet, number, &mut now);
        assert_eq!(stage(&intranet, now).trip, u64::from(number));
    }
    extranet.turn(&mut now).unwrap();
    // A note that says otherwise does not make a trip imported.
    let place = office.carry(1, now);
    fs::write(place.join("trip.json"), forged(1, "in", "imported")).unwrap();
    let far = office.extranet.layout().desk_incoming().join(format!("{OUTWARD}-9"));
    fs::create_dir_all(&far).unwrap();
    fs::write(far.join("trip.json"), forged(9, "in", "imported")).unwrap();
    let imported = office.import(&extranet, 1, now);
    assert!(imported.done, "{imported:?}");
    extranet.turn(&mut now).unwrap();
    assert_eq!(office.extranet.outlet("review-results").len(), 1);

    fs::remove_file(place.join("trip.json")).unwrap();
    office.carry(1, now);
    now = now.plus_ms(1_000);
    let again = office.import(&extranet, 1, now);
    assert_eq!((again.done, again.code.as_str()), (false, "trip-repeated"));
    assert_eq!(names(&place), ["approvals", "trip.json", "waybill"], "what was brought again does not stay");
    // The next one is the next one, and is not skipped over.
    office.carry(2, now);
    let second = office.import(&extranet, 2, now);
    assert!(second.done && second.details["skipped"] == false, "{second:?}");
    extranet.turn(&mut now).unwrap();
    assert_eq!(office.extranet.outlet("review-results").len(), 2);

    let taken: Vec<_> = records(&extranet, Event::TripImported).iter().map(|record| record.trip.unwrap()).collect();
    assert_eq!(taken, [1, 2], "each once");
    let refused = records(&extranet, Event::TripRefused);
    let told: Vec<_> = refused.iter().map(|record| (record.trip, record.medium.clone())).collect();
    assert_eq!(told, [(Some(1), Some(name(DISC)))], "who brought which medium in vain is on record");
}

#[test]
fn a_trip_over_several_volumes_is_confirmed_once_each_of_them_was_read_back() {
    let (office, mut now) = (Office::new(), START);
    let mut running = office.intranet.open(now).unwrap();
    result(&office, &mut running, 1, &mut now);
    let trip = stage(&running, now);
    office.carry(1, now);
    // Three pieces of 100 bytes, 100 bytes and the rest.
    let confirm = |running: &Running, now: &mut Timestamp, volume: &str, volumes: &str| {
        *now = now.plus_ms(1);
        let ends = ["0", "100", "200", &trip.bytes.to_string()].map(str::to_owned);
        let nth = volume.parse::<usize>().unwrap_or(1).clamp(1, 3);
        let arguments = [
            ("trip", "1"),
            ("medium", DISC),
            ("volume", volume),
            ("volumes", volumes),
            ("from", &ends[nth - 1]),
            ("through", &ends[nth]),
        ];
        office.ask(running, "confirm", &arguments, *now)
    };
    let state = |running: &Running| trips::list(&running.station).unwrap()[0].state;
    let answer = confirm(&running, &mut now, "2", "3");
    assert!(answer.done, "{answer:?}");
    assert_eq!((&answer.details["missing"], state(&running)), (&json!([1, 3]), TripState::Staged));
    assert_eq!(confirm(&running, &mut now, "2", "3").details["missing"], json!([1, 3]), "twice is once");
    for (volume, volumes) in [("0", "3"), ("4", "3"), ("1", "0"), ("one", "3"), ("1", "256"), ("", "")] {
        assert!(!confirm(&running, &mut now, volume, volumes).done, "{volume} of {volumes}");
    }
    // What was said is kept, and by whom: another start knows it.
    drop(running);
    let mut running = office.intranet.open(now).unwrap();
    running.turn(&mut now).unwrap();
    assert_eq!(confirm(&running, &mut now, "3", "3").details["missing"], json!([1]));
    assert_eq!(records(&running, Event::TripConfirmed).len(), 0);
    assert_eq!(confirm(&running, &mut now, "1", "3").details["missing"], json!([]));
    assert_eq!((records(&running, Event::TripConfirmed).len(), state(&running)), (1, TripState::Confirmed));
    let file = format!("{}.volume-2-of-3.confirmed", trip.waybill);
    let kept = fs::read(running.station.spool.evidence_path(Timestamp(trip.at_ms), &file)).unwrap();
    let signed = Signed::parse::<protocol::request::Request>(&kept).unwrap();
    let said: protocol::request::Request = signed.read_unverified().unwrap();
    assert_eq!((said.person.as_str(), said.argument("volume")), (OPERATOR, Some("2")));

    // Staged again it is another waybill, of which nothing was read back.
    now = now.plus_ms(10);
    let again =
        trips::stage(&running.station, &name(DISC), &name("sun"), &name(OPERATOR), Some(1), &Choice::default(), now);
    again.unwrap().unwrap();
    office.carry(1, now);
    assert_eq!(confirm(&running, &mut now, "1", "3").details["missing"], json!([2, 3]));
}

/// The id of the operator's word that a witness may answer.
fn word_of(running: &Running, (who, key): (&str, &SigningKey), medium: &str, operator: &str, now: Timestamp) -> String {
    let about = [("medium", medium), ("operator", operator)];
    let answer = twins::ask(running, key, who, "dispose-word", &about, now);
    answer.details["word"].as_str().unwrap_or_default().to_owned()
}

/// One of the two words; a witness answers the operator's last.
fn say_of(
    running: &Running,
    (who, key): (&str, &SigningKey),
    medium: &str,
    (role, whom): (&str, &str),
    now: Timestamp,
) -> Answer {
    let word = word_of(running, (who, key), medium, whom, now);
    let answers = (role == "operator").then_some(("answers", word.as_str()));
    let arguments: Vec<_> =
        [("medium", medium), (role, whom), ("reason", "shredded")].into_iter().chain(answers).collect();
    twins::ask(running, key, who, "dispose", &arguments, now)
}

/// A medium that was found again after the operator had said that it is gone: the witness' word of then is no answer to what
/// the operator says later.
#[test]
fn a_witness_word_of_another_day_completes_no_disposal() {
    let (office, mut now) = (Office::new(), START);
    let li = &office.approvers[0];
    let mut running = office.intranet.open(now).unwrap();
    result(&office, &mut running, 1, &mut now);
    let mut operator_says = |running: &Running| {
        now = now.plus_ms(10);
        let said = say_of(running, (OPERATOR, &office.operator), DISC, ("witness", APPROVERS[0]), now);
        assert!(said.done, "{said:?}");
        (word_of(running, (APPROVERS[0], li), DISC, OPERATOR, now.plus_ms(1)), now.plus_ms(2))
    };
    let witness_says = |running: &Running, answers: &[(&str, &str)], now: Timestamp| {
        let words = [&[("medium", DISC), ("operator", OPERATOR), ("reason", "shredded")], answers].concat();
        let answer = twins::ask(running, li, APPROVERS[0], "dispose", &words, now);
        (answer.done, answer.code)
    };
    let (first, _) = operator_says(&running);
    let (second, at) = operator_says(&running);
    assert_ne!(first, second);
    for answers in [&[][..], &[("answers", "")], &[("answers", first.as_str())], &[("answers", "00")]] {
        assert_eq!(witness_says(&running, answers, at), (false, "other-word".to_owned()), "{answers:?}");
    }
    assert_eq!(running.station.disposed.since(&name(DISC)), None);
    assert_eq!(witness_says(&running, &[("answers", &second)], at.plus_ms(1)), (true, "done".to_owned()));
    assert!(running.station.disposed.since(&name(DISC)).is_some());
    let later = twins::ask(
        &running,
        li,
        APPROVERS[0],
        "dispose-word",
        &[("medium", DISC), ("operator", OPERATOR)],
        at.plus_ms(2),
    );
    assert_eq!((later.done, later.code.as_str()), (true, "disposed-already"));
}

/// An operator and a witness, each with their own key; until both have spoken the medium is as it was, and from then on
/// nothing goes onto it or comes from it, after another start too.
#[test]
fn a_medium_that_two_people_disposed_of_is_never_used_again() {
    let (office, mut now) = (Office::new(), START);
    let other = twins::person(&[&office.intranet], "operator-chen", Role::Operator);
    let mut running = office.intranet.open(now).unwrap();
    result(&office, &mut running, 1, &mut now);
    let mut say = |running: &Running, who: &str, key: &SigningKey, medium: &str, role: &str, whom: &str| {
        now = now.plus_ms(1);
        say_of(running, (who, key), medium, (role, whom), now)
    };
    let (li, zhao) = (&office.approvers[0], &office.approvers[1]);
    let refused: [(&str, &SigningKey, &str, &str, &str, &str); 7] = [
        (OPERATOR, &office.operator, DISC, "witness", OPERATOR, "witness-same"),
        (OPERATOR, &office.operator, DISC, "operator", OPERATOR, "witness-same"),
        (OPERATOR, &office.operator, DISC, "witness", "nobody", "witness-unknown"),
        (OPERATOR, &office.operator, DISC, "witness", "intranet", "witness-unknown"),
        (OPERATOR, &office.operator, "disc-0009", "witness", APPROVERS[0], "medium-unknown"),
        (APPROVERS[0], li, DISC, "witness", APPROVERS[1], "role"),
        (APPROVERS[0], li, DISC, "operator", OPERATOR, "not-asked"),
    ];
    for (who, key, medium, role, whom, code) in refused {
        let answer = say(&running, who, key, medium, role, whom);
        assert_eq!((answer.done, answer.code.as_str()), (false, code), "{who} {role} {whom}: {answer:?}");
    }
    let first = say(&running, OPERATOR, &office.operator, DISC, "witness", APPROVERS[0]);
    assert_eq!((first.done, &first.details["disposed"]), (true, &json!(false)), "{first:?}");
    // The operator's last word counts: whom an earlier one named is no witness any more.
    assert!(say(&running, OPERATOR, &office.operator, DISC, "witness", APPROVERS[1]).done);
    assert_eq!(say(&running, APPROVERS[0], li, DISC, "operator", OPERATOR).code, "not-asked");
    assert!(say(&running, OPERATOR, &office.operator, DISC, "witness", APPROVERS[0]).done);
    // Nobody but the named witness completes it, and a second operator who names somebody else has not.
    assert_eq!(say(&running, APPROVERS[1], zhao, DISC, "operator", OPERATOR).code, "not-asked");
    assert!(say(&running, "operator-chen", &other, DISC, "witness", APPROVERS[1]).done);
    assert_eq!(say(&running, APPROVERS[0], li, DISC, "operator", "operator-chen").code, "not-asked");
    let on_disc = |running: &Running| -> Vec<_> {
        let all = records(running, Event::RequestAnswered).into_iter();
        all.filter(|record| record.medium == Some(name(DISC)))
            .map(|record| record.person.unwrap().to_string())
            .collect()
    };
    assert_eq!((on_disc(&running).len(), running.station.disposed.since(&name(DISC))), (0, None));
    // Until both have spoken it is as it was, also after another start. While a trip is under way on it, it cannot go.
    drop(running);
    let mut now = START.plus_ms(60_000);
    let running = office.intranet.open(now).unwrap();
    assert_eq!(stage(&running, now).trip, 1);
    let mut say = |running: &Running, who: &str, key: &SigningKey, role: &str, whom: &str| {
        now = now.plus_ms(1);
        say_of(running, (who, key), DISC, (role, whom), now)
    };
    assert_eq!(say(&running, APPROVERS[0], li, "operator", OPERATOR).code, "medium-in-use");
    drop(running);

    let end = START.plus_ms(76 * 3_600_000);
    let mut later = end;
    let mut running = office.intranet.open(later).unwrap();
    running.turn(&mut later).unwrap();
    let states: Vec<_> = trips::list(&running.station).unwrap().iter().map(|trip| trip.state).collect();
    assert_eq!(states, [TripState::Expired], "nobody confirmed it");
    let ask = |running: &Running, action: &str, arguments: &[(&str, &str)], now| {
        twins::ask(running, &office.operator, OPERATOR, action, arguments, now)
    };
    // Its bundles go with another trip, so nobody is told that this one may be carried.
    assert_eq!(ask(&running, "confirm", &[("trip", "1"), ("medium", DISC)], later).code, "trip-expired");
    assert_eq!(trips::list(&running.station).unwrap()[0].state, TripState::Expired);
    let word = word_of(&running, (APPROVERS[0], li), DISC, OPERATOR, later);
    let words = [("medium", DISC), ("operator", OPERATOR), ("reason", "shredded"), ("answers", &word)];
    let none = twins::ask(&running, &office.approvers[0], APPROVERS[0], "dispose", &words[..2], later);
    assert_eq!(none.code, "reason-missing");
    let done = twins::ask(&running, &office.approvers[0], APPROVERS[0], "dispose", &words, later.plus_ms(1));
    assert_eq!((done.done, &done.details["disposed"]), (true, &json!(true)), "{done:?}");
    assert_eq!(on_disc(&running), [OPERATOR, APPROVERS[0]], "both words stand in the ledger under the medium");
    let words_on_record = records(&running, Event::RequestAnswered);
    for word in words_on_record.iter().filter(|record| record.medium == Some(name(DISC))) {
        let paper = format!("{}.disposal", word.digest.unwrap());
        assert!(running.station.spool.evidence_path(word.at, &paper).is_file(), "under the day of its record");
    }
    let word = words_on_record.last().unwrap();
    let kept = running.station.spool.evidence_path(word.at, &format!("{}.disposal", word.digest.unwrap()));
    let signed = Signed::parse::<protocol::request::Request>(&fs::read(kept).unwrap()).unwrap();
    let said = signed.verify::<protocol::request::Request>(&li.public()).unwrap();
    assert_eq!((said.person.as_str(), said.argument("operator")), (APPROVERS[0], Some(OPERATOR)), "as it was signed");
    for start in 0..2 {
        let at = later.plus_ms(10 + 10 * start);
        let head = running.station.spool.head().size;
        let again = twins::ask(&running, &office.approvers[0], APPROVERS[0], "dispose", &words, at);
        assert_eq!((again.done, again.code.as_str()), (true, "disposed-already"));
        for (nth, action) in ["export", "reexport", "confirm"].into_iter().enumerate() {
            let arguments = [("medium", DISC), ("carrier", "sun"), ("trip", "1")];
            let arguments = &arguments[..if action == "export" { 2 } else { 3 }];
            let answer = ask(&running, action, arguments, at.plus_ms(nth as u64));
            assert_eq!((answer.done, answer.code.as_str()), (false, "medium-disposed"), "{action}");
            assert!(answer.message_en.contains("medium disc-0001 was destroyed before a witness"), "{answer:?}");
        }
        // Four requests that were answered, and nothing else.
        assert_eq!(running.station.spool.head().size - head, 4);
        running.turn(&mut later).unwrap();
        running.housekeeping.publish(&running.station, later).unwrap();
        let media = fs::read(running.station.layout().status().join("media.json")).unwrap();
        let media: Value = serde_json::from_slice(&media).unwrap();
        assert!(media[0]["disposed_ms"].as_u64() > Some(end.0), "{media}");
        drop(running);
        running = office.intranet.open(later).unwrap();
    }
}

/// The register of the side that reads media has a direction and a disposal of its own.
#[test]
fn nothing_is_taken_from_a_medium_that_was_disposed_of() {
    let (office, mut now) = (Office::new(), START);
    let mut intranet = office.intranet.open(now).unwrap();
    let extranet = office.extranet.open(now).unwrap();
    result(&office, &mut intranet, 1, &mut now);
    stage(&intranet, now);
    for (key, who, other) in [
        (&office.operator, OPERATOR, ("witness", APPROVERS[1])),
        (&office.approvers[1], APPROVERS[1], ("operator", OPERATOR)),
    ] {
        now = now.plus_ms(1);
        assert!(say_of(&extranet, (who, key), DISC, other, now).done);
    }
    office.carry(1, now);
    let refused = office.import(&extranet, 1, now);
    assert_eq!((refused.done, refused.code.as_str()), (false, "medium-disposed"));
    assert_eq!(records(&extranet, Event::TripImported).len(), 0);
    let told: Vec<_> = records(&extranet, Event::TripRefused).into_iter().map(|record| record.medium).collect();
    assert_eq!(told, [Some(name(DISC))], "who brought it is on record");
}

/// A part of a trip lies in the desk, and an answer was lost: neither is decided by a disposal that came in between.
#[test]
fn a_medium_of_which_a_part_was_brought_stays_and_what_was_taken_in_before_is_told_as_that() {
    let (office, mut now) = (Office::new(), START);
    let mut intranet = office.intranet.open(now).unwrap();
    let extranet = office.extranet.open(now).unwrap();
    result(&office, &mut intranet, 1, &mut now);
    stage(&intranet, now);
    office.carry(1, now);
    let dispose = |now| {
        let first = say_of(&extranet, (OPERATOR, &office.operator), DISC, ("witness", APPROVERS[1]), now);
        if !first.done {
            return first;
        }
        say_of(&extranet, (APPROVERS[1], &office.approvers[1]), DISC, ("operator", OPERATOR), now)
    };
    let incoming = office.extranet.layout().desk_incoming();
    let (whole, volume) = (incoming.join(format!("{OUTWARD}-1")), incoming.join(format!(".vol-{OUTWARD}-1")));
    assert_eq!(dispose(now).code, "medium-in-use", "it waits for its import");
    fs::rename(&whole, &volume).unwrap();
    assert_eq!(dispose(now).code, "medium-in-use", "other volumes are missing");
    fs::rename(&volume, &whole).unwrap();
    let id = twins::lay(
        &extranet,
        &office.operator,
        OPERATOR,
        "import",
        &[("trip", "1"), ("crossing", OUTWARD.name())],
        now,
    );
    let laid = office.extranet.layout().desk_requests().join(spool::desk::request_name(&id));
    let paper = fs::read(&laid).unwrap();
    station::desk::step(&extranet.station, now).unwrap();
    assert!(twins::answer(&extranet, &id).done);
    assert_eq!(dispose(now).details["disposed"], json!(true));
    // The same request again, of which nobody got the answer.
    fs::remove_file(office.extranet.layout().desk_answers().join(spool::desk::answer_name(&id))).unwrap();
    fs::write(&laid, &paper).unwrap();
    station::desk::step(&extranet.station, now).unwrap();
    let answer = twins::answer(&extranet, &id);
    assert!(answer.done, "{answer:?}");
    assert_eq!(records(&extranet, Event::TripRefused).len(), 0);
}

/// `ferry intake` asks before a drop of survey files appears in its inlet.
#[test]
fn the_listing_of_survey_files_is_kept_under_an_operators_signature_and_nobody_elses() {
    let (office, now) = (Office::new(), START);
    let running = office.intranet.open(now).unwrap();
    let listing = "5e".repeat(32);
    let route = ("route", "review-results");
    let whole = [("name", "案卷-7"), route, ("listing", listing.as_str()), ("files", "3"), ("bytes", "40960")];
    let refused = twins::ask(&running, &office.approvers[0], APPROVERS[0], "intake", &whole, now);
    assert_eq!((refused.done, refused.code.as_str()), (false, "role"));
    // Nobody's key in an operator's name, and a request of which a byte was changed after it was signed.
    let stranger = SigningKey::generate(protocol::Suite::Std);
    let forged = twins::ask(&running, &stranger, OPERATOR, "intake", &whole, now);
    assert_eq!((forged.done, forged.code.as_str()), (false, "not-authentic"));
    let id = twins::lay(&running, &office.operator, OPERATOR, "intake", &whole, now);
    let laid = running.station.layout().desk_requests().join(spool::desk::request_name(&id));
    let changed = fs::read(&laid).unwrap();
    let place = changed.windows(5).position(|five| five == b"40960").unwrap();
    fs::write(&laid, [&changed[..place], b"40961", &changed[place + 5..]].concat()).unwrap();
    station::desk::step(&running.station, now).unwrap();
    assert_eq!(twins::answer(&running, &id).code, "not-authentic");
    let elsewhere = whole.map(|(what, value)| (what, if what == "route" { "nowhere" } else { value }));
    assert_eq!(office.ask(&running, "intake", &elsewhere, now).code, "no-inlet");
    for left_out in 0..whole.len() {
        let less: Vec<_> =
            whole.iter().copied().enumerate().filter(|(nth, _)| *nth != left_out).map(|(_, one)| one).collect();
        assert_eq!(office.ask(&running, "intake", &less, now).code, "argument-missing", "{less:?}");
    }
    let brought = |record: &Record| record.bytes == Some(40_960);
    assert!(!records(&running, Event::RequestAnswered).iter().any(brought), "nothing of theirs is on record");
    // We die once before the answer stands: asked again with the same paper, it is not on record twice.
    let id = twins::lay(&running, &office.operator, OPERATOR, "intake", &whole, now);
    let layout = running.station.layout();
    let laid = layout.desk_requests().join(spool::desk::request_name(&id));
    let paper = fs::read(&laid).unwrap();
    for _ in 0..2 {
        fs::write(&laid, &paper).unwrap();
        station::desk::step(&running.station, now).unwrap();
        assert!(twins::answer(&running, &id).done);
        fs::remove_file(layout.desk_answers().join(spool::desk::answer_name(&id))).unwrap();
    }
    let on_record: Vec<_> = records(&running, Event::RequestAnswered).into_iter().filter(brought).collect();
    assert_eq!(on_record.iter().map(|record| record.person.clone()).collect::<Vec<_>>(), [Some(name(OPERATOR))]);
    let file = format!("{}.intake", on_record[0].digest.unwrap());
    let kept = fs::read(running.station.spool.evidence_path(now, &file)).unwrap();
    let signed = Signed::parse::<protocol::request::Request>(&kept).unwrap();
    let said = signed.verify::<protocol::request::Request>(&office.operator.public()).unwrap();
    assert_eq!((said.person.as_str(), said.argument("listing")), (OPERATOR, Some(listing.as_str())));
}

/// Run again from another folder, `ferry intake` knows nothing of the first run. The node does, by the listing.
#[test]
fn survey_files_on_record_are_not_brought_again_unless_that_is_wanted_whatever_the_node_went_through() {
    let (mut office, now) = (Office::new(), START);
    let second = office.intranet.config.routes.iter().find(|route| route.name == name("review-results")).cloned();
    office.intranet.config.routes.push(station::config::RouteSettings { name: name("survey"), ..second.unwrap() });
    let mut running = office.intranet.open(now).unwrap();
    let listing = "5e".repeat(32);
    let whole = |name, route, listing: &str| {
        [("name", name), ("route", route), ("listing", listing), ("files", "3"), ("bytes", "40960")]
            .map(|(what, value): (&'static str, &str)| (what, value.to_owned()))
    };
    let bring = |running: &Running, arguments: &[(&str, String)], now| {
        let arguments: Vec<(&str, &str)> = arguments.iter().map(|(what, value)| (*what, value.as_str())).collect();
        let id = twins::lay(running, &office.operator, OPERATOR, "intake", &arguments, now);
        station::desk::step(&running.station, now).unwrap();
        (id, twins::answer(running, &id))
    };
    let brought = |running: &Running| {
        records(running, Event::RequestAnswered).iter().filter(|record| record.bytes == Some(40_960)).count()
    };
    let (first, answer) = bring(&running, &whole("case-7", "survey", &listing), now);
    assert!(answer.done, "{answer:?}");
    let next_day = now.plus_ms(DAY_MS);
    for (opened, after) in ["at once", "after a restart", "with an index made anew"].into_iter().enumerate() {
        if opened > 0 {
            drop(running);
            if opened > 1 {
                fs::remove_dir_all(office.intranet.layout().index()).unwrap();
            }
            running = office.intranet.open(next_day).unwrap();
        }
        // Under another name it is the same all the same.
        for called in ["case-7", "case-8"] {
            let (id, answer) = bring(&running, &whole(called, "survey", &listing), next_day);
            assert_eq!((answer.done, answer.code.as_str()), (false, "taken-in"), "{after}");
            let earlier = &answer.details["earlier"];
            assert_eq!(earlier["request"], json!(first.to_string()), "{after}");
            assert_eq!((&earlier["day"], &earlier["person"]), (&json!("2026-11-22"), &json!(OPERATOR)), "{after}");
            assert!(answer.message_en.contains("2026-11-22") && answer.message_zh.contains("2026-11-22"), "{answer:?}");
            assert!(answer.details["remedy_en"].as_str().unwrap().contains("--again"), "{answer:?}");
            let kept = running.station.spool.evidence_path(next_day, &format!("{id}.intake"));
            assert!(!kept.exists() && brought(&running) == 1, "{after}");
        }
    }
    // Another listing, and another route, are other intakes.
    assert!(bring(&running, &whole("case-7", "survey", &"5f".repeat(32)), next_day).1.done);
    assert!(bring(&running, &whole("case-7", "review-results", &listing), next_day).1.done);
    let mut again = whole("case-7", "survey", &listing).to_vec();
    again.push(("again", "yes".to_owned()));
    let (wanted, answer) = bring(&running, &again, next_day);
    assert!(answer.done && brought(&running) == 4, "{answer:?}");
    let kept = fs::read(running.station.spool.evidence_path(next_day, &format!("{wanted}.intake"))).unwrap();
    let said = Signed::parse::<protocol::request::Request>(&kept).unwrap();
    let said = said.verify::<protocol::request::Request>(&office.operator.public()).unwrap();
    assert_eq!(said.argument("again"), Some("yes"), "that it was wanted is signed and kept");
    // The last one that is on record is named.
    let (_, answer) = bring(&running, &whole("case-7", "survey", &listing), next_day);
    assert_eq!(answer.details["earlier"]["request"], json!(wanted.to_string()));
    assert_eq!(answer.details["earlier"]["day"], json!("2026-11-23"));
}

#[test]
fn wherever_staging_dies_the_next_number_is_neither_the_same_nor_one_too_high() {
    let prepared = Office::new();
    let mut now = START;
    let mut running = prepared.intranet.open(now).unwrap();
    result(&prepared, &mut running, 1, &mut now);
    drop(running);
    // How many effects a start has, and staging after it.
    let (mut begins, mut ends) = (0, u64::MAX);
    let (mut died, mut lived) = (0, 0);
    let mut effects = u64::MAX;
    while effects == u64::MAX || effects <= ends {
        let folder = tempfile::tempdir().unwrap();
        copy_tree(&prepared.intranet.root, &folder.path().join("intranet"));
        let intranet = Member::at(&folder.path().join("intranet"), Zone::Intranet);
        let fuse = Fuse::after(effects);
        if let Ok(dying) = intranet.open_until(&fuse, now) {
            let opened = fuse.used();
            let _died = trips::stage(
                &dying.station,
                &name(DISC),
                &name("sun"),
                &name(OPERATOR),
                None,
                &Choice::default(),
                now.plus_ms(500),
            );
            if effects == u64::MAX {
                (begins, ends) = (opened, fuse.used());
            }
        }
        effects = if effects == u64::MAX { begins } else { effects + 1 };
        let mut later = now.plus_ms(10_000);
        let mut running = intranet.open(later).unwrap();
        let known = trips::list(&running.station).unwrap();
        if known.is_empty() {
            died += 1;
            assert_eq!(stage(&running, later).trip, 1, "after {effects} effects");
            continue;
        }
        // Whoever exports again at once must see the trip that goes first, before the node had time to look at it.
        if effects.is_multiple_of(2) {
            let again = trips::stage(
                &running.station,
                &name(DISC),
                &name("sun"),
                &name(OPERATOR),
                None,
                &Choice::default(),
                later,
            )
            .unwrap();
            assert_eq!(again.unwrap_err().code, "nothing-waiting", "after {effects} effects");
        } else {
            running.turn(&mut later).unwrap();
        }
        // Its number is used, so it can be carried: its papers and its files stand at the desk.
        assert_eq!((known.len(), known[0].trip, known[0].state, known[0].bundles), (1, 1, TripState::Staged, 1));
        let place = intranet.layout().desk_trips().join("1");
        assert!(place.join("waybill").exists() && place.join("trip.json").exists(), "after {effects} effects");
        assert!(known[0].ids.iter().any(|id| place.join(format!("{id}.bundle")).exists()), "after {effects} effects");
        assert_eq!(records(&running, Event::TripStaged).len(), 1);
        lived += 1;
    }
    assert!(died > 3 && lived > 3, "{died} deaths before the record, {lived} after it");
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn an_export_names_the_trips_that_go_before_it() {
    let (office, mut now) = (Office::new(), START);
    let mut intranet = office.intranet.open(now).unwrap();
    for number in 1..=2 {
        result(&office, &mut intranet, number, &mut now);
        now = now.plus_ms(1_000);
        let answer = office.ask(&intranet, "export", &[("medium", DISC), ("carrier", "sun")], now);
        assert_eq!((answer.done, &answer.details["trip"]), (true, &json!(number)));
        assert_eq!(answer.details["first"], json!(Vec::from_iter(1..number)), "trip 1 was never confirmed");
    }
    let shown = trips::shown(&intranet.station).unwrap();
    assert_eq!(shown.iter().map(|trip| &trip["trip"]).collect::<Vec<_>>(), [2, 1]);
    assert!(shown.iter().all(|trip| trip.get("ids").is_none()), "written every second: {shown:?}");
}

#[test]
fn what_a_person_did_and_what_was_on_a_medium_is_found_with_its_parcels() {
    let (office, mut now) = (Office::new(), START);
    let mut intranet = office.intranet.open(now).unwrap();
    result(&office, &mut intranet, 1, &mut now);
    let staged = stage(&intranet, now);
    let asked = now;
    now = now.plus_ms(60_000);
    // A parcel that no trip has yet.
    result(&office, &mut intranet, 2, &mut now);
    let mut list = |arguments: &[(&str, &str)]| {
        now = now.plus_ms(1);
        office.ask(&intranet, "list", arguments, now)
    };
    let on_the_disc = list(&[("medium", DISC)]).details;
    let acts = on_the_disc["acts"].as_array().unwrap();
    assert_eq!(acts.len(), 1, "{acts:?}");
    assert_eq!(
        (&acts[0]["event"], &acts[0]["trip"], &acts[0]["person"]),
        (&json!("trip-staged"), &json!(1), &json!(OPERATOR))
    );
    let parcels = on_the_disc["parcels"].as_array().unwrap();
    assert_eq!(parcels.len(), 1, "the parcel on the waybill, and not the one that waits");
    assert!(staged.ids.iter().any(|id| parcels[0]["sent"]["bundle"] == json!(id)));
    assert!(on_the_disc["next"].is_null());

    // The asker's own reading is an act of that person as well; the first page does not know of itself.
    let by_person = list(&[("person", OPERATOR)]).details;
    let events = |value: &Value| -> Vec<String> {
        value["acts"].as_array().unwrap().iter().map(|act| act["event"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(events(&by_person), ["ledger-read", "trip-staged"]);
    assert_eq!(by_person["parcels"], on_the_disc["parcels"]);
    let until = (asked.0 + 1).to_string();
    assert_eq!(events(&list(&[("person", OPERATOR), ("until", &until)]).details), ["trip-staged"]);
    assert_eq!(events(&list(&[("person", OPERATOR), ("since", &until), ("route", "review-results")]).details).len(), 3);
    let none = list(&[("medium", DISC), ("route", "applications")]).details;
    assert_eq!((events(&none).len(), none["parcels"].as_array().unwrap().len()), (1, 0), "filters fit parcels");
    assert_eq!(events(&list(&[("person", "nobody")]).details).len(), 0);
    for (word, value) in [("person", "Nobody Here"), ("medium", ""), ("before", "1-2"), ("before", "1-2-3-4")] {
        assert_eq!(list(&[(word, value)]).code, "filter", "{word} {value:?}");
    }
    // A waybill that is not the one on record names nobody's parcels.
    let digest = Signed::parse::<Waybill>(&fs::read(intranet.station.layout().desk_trips().join("1/waybill")).unwrap());
    let kept = intranet.station.spool.evidence_path(asked, &format!("{}.waybill", digest.unwrap().digest()));
    for path in [kept, intranet.station.layout().desk_trips().join("1/waybill")] {
        fs::write(path, b"something else").unwrap();
    }
    let forged = list(&[("medium", DISC)]).details;
    assert_eq!((events(&forged).len(), forged["parcels"].as_array().unwrap().len()), (1, 0));
    assert_eq!(
        records(&intranet, Event::LedgerRead).len(),
        7,
        "whoever read is on record, and who was refused read nothing"
    );
}

#[test]
fn acts_come_a_page_at_a_time() {
    let (office, now) = (Office::new(), START);
    let intranet = office.intranet.open(now).unwrap();
    let act = |at: u64| {
        let mut record = Record::new(Event::RouteEnabled, Timestamp(START.0 + at));
        record.person = Some(name("sun"));
        (record, protocol::ledger::Local::none())
    };
    intranet.station.spool.record_all((0..1_500).map(act).collect()).unwrap();
    let first = office.ask(&intranet, "list", &[("person", "sun")], now).details;
    let times = |value: &Value| -> Vec<u64> {
        value["acts"].as_array().unwrap().iter().map(|act| act["at_ms"].as_u64().unwrap() - START.0).collect()
    };
    assert_eq!(times(&first), (500..1_500).rev().collect::<Vec<_>>());
    let next = first["next"].as_str().unwrap();
    let second = office.ask(&intranet, "list", &[("person", "sun"), ("before", next)], now).details;
    assert_eq!(times(&second), (0..500).rev().collect::<Vec<_>>());
    assert!(second["next"].is_null());
}

#[test]
fn a_link_in_the_place_of_a_trips_folder_opens_no_folder_of_ours_to_the_group() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let (office, mut now) = (Office::new(), START);
    let mut running = office.intranet.open(now).unwrap();
    result(&office, &mut running, 1, &mut now);
    stage(&running, now);
    let layout = office.intranet.layout();
    let (place, secret) = (layout.desk_trips().join("1"), layout.opening());
    assert_eq!((mode(&layout.desk_trips()), mode(&place), mode(&place.join("approvals"))), (0o3770, 0o3770, 0o2770));
    let before = mode(&secret);
    fs::rename(&place, layout.desk_trips().join("moved")).unwrap();
    std::os::unix::fs::symlink(&secret, &place).unwrap();
    assert!(trips::step(&running.station, now).is_err());
    assert_eq!((mode(&secret), fs::read_dir(&secret).unwrap().count()), (before, 0));
    // One folder deeper.
    fs::remove_file(&place).unwrap();
    fs::create_dir(&place).unwrap();
    std::os::unix::fs::symlink(&secret, place.join("approvals")).unwrap();
    assert!(trips::step(&running.station, now).is_err());
    assert_eq!((mode(&secret), fs::read_dir(&secret).unwrap().count()), (before, 0));
    fs::remove_file(place.join("approvals")).unwrap();
    trips::step(&running.station, now).unwrap();
    assert_eq!((mode(&place), mode(&place.join("approvals"))), (0o3770, 0o2770));
    assert!(place.join("waybill").exists());
}

/// Larger than what shares a segment: it is not written a second time, wherever the process that stages it dies.
#[test]
fn a_large_bundle_is_staged_without_a_copy_and_may_be_staged_again_after_any_death() {
    use std::os::unix::fs::MetadataExt;
    let (office, mut now) = (Office::new(), START);
    let mut running = office.intranet.open(now).unwrap();
    large_result(&office, &mut running, &mut now);
    result(&office, &mut running, 2, &mut now);
    let place = office.intranet.layout().desk_trips().join("1");
    drop(running);
    // Every seventh: a start costs more than the effects between two of them.
    let mut died = 0;
    for effects in (0..400).step_by(7) {
        let fuse = Fuse::after(effects);
        if let Ok(dying) = office.intranet.open_until(&fuse, now) {
            // Whatever it does is forgotten with the process.
            let _died =
                trips::stage(&dying.station, &name(DISC), &name("sun"), &name(OPERATOR), None, &Choice::default(), now);
        }
        died += u32::from(fuse.burnt());
    }
    assert!(died > 10, "{died}");
    let running = office.intranet.open(now).unwrap();
    // Lays the waybill where the last death came before it.
    trips::step(&running.station, now).unwrap();
    let trips: Vec<Trip> = trips::list(&running.station).unwrap();
    assert_eq!(trips.len(), 1, "{trips:?}");
    let mut found = Vec::new();
    for (line, about) in lines_laid(&place) {
        // Numbers that the dead had reserved ride along as a batch of receipts.
        if line.kind == LineKind::Bundle {
            found.push((line.size > spool::SMALL_BYTES_MAX as u64, about.nlink()));
        }
    }
    found.sort_unstable();
    assert_eq!(found, [(false, 1), (true, 2)]);
}

/// `ferry` died before its medium was written, or asks for a trip that is staged and whole: the answer is that trip as it
/// stands, with its waybill and countersignatures. Where something of it is gone, or somebody else asks, it is another.
#[test]
fn a_trip_that_is_staged_and_not_written_is_taken_up_as_it_stands() {
    let (office, mut now) = (Office::new(), START);
    let mut running = office.intranet.open(now).unwrap();
    result(&office, &mut running, 1, &mut now);
    let mut asked = |running: &Running, action: &str, more: &[(&str, &str)]| {
        now = now.plus_ms(10);
        let words = [more, &[("medium", DISC), ("carrier", "sun")]].concat();
        let answer = office.ask(running, action, &words, now);
        let told = |what: &str| answer.details[what].clone();
        (answer.code.clone(), told("trip"), told("waybill"), told("taken_up"))
    };
    let first = asked(&running, "export", &[("written", "none")]);
    assert_eq!((first.0.as_str(), &first.1, &first.3), ("done", &json!(1), &json!(false)));
    let again = ("done".to_owned(), json!(1), first.2.clone(), json!(true));
    assert_eq!(asked(&running, "export", &[("written", "none")]), again);
    assert_eq!(asked(&running, "reexport", &[("trip", "1")]), again);
    // After a kill of the daemon as well.
    drop(running);
    let mut at = START.plus_ms(60_000);
    let mut running = office.intranet.open(at).unwrap();
    assert_eq!(asked(&running, "export", &[("written", "none")]), again);
    // Where it stands on its medium, what waits since goes on the next; and so it does for an older ferry, which says nothing.
    assert_eq!(asked(&running, "export", &[("written", "1")]).0, "nothing-waiting");
    assert_eq!(asked(&running, "export", &[]).0, "nothing-waiting");
    result(&office, &mut running, 2, &mut at);
    assert_eq!(asked(&running, "export", &[("written", "none")]), again, "the first goes first");
    assert_eq!(asked(&running, "export", &[("written", "1")]).1, json!(2));
    assert_eq!(asked(&running, "export", &[("written", "2,1")]).0, "nothing-waiting");
    assert_eq!(asked(&running, "export", &[("written", "1,x")]).1, json!(2));
    // For another carrier it is another paper, and so it is where a file of it is gone.
    let other = asked(&running, "reexport", &[("trip", "1"), ("carrier", "wu")]);
    assert_eq!((other.0.as_str(), &other.1, &other.3), ("done", &json!(1), &json!(false)));
    assert_ne!(other.2, first.2);
    let place = office.intranet.layout().desk_trips().join("2");
    let gone = names(&place).into_iter().find(|file| file.ends_with(".bundle")).unwrap();
    fs::remove_file(place.join(gone)).unwrap();
    let anew = asked(&running, "reexport", &[("trip", "2")]);
    assert_eq!((anew.0.as_str(), &anew.1, &anew.3), ("done", &json!(2), &json!(false)));
}

/// The disk knows no second names, the entry is of another account, or it cannot be written to any more: it is copied like
/// what shares a segment, and its copy is for the group to read and not to write.
#[test]
fn a_large_bundle_that_gets_no_second_name_is_copied() {
    use rustix::io::Errno;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let (office, mut now) = (Office::new(), START);
    let grave = tempfile::tempdir().unwrap();
    let power = Power::on(grave.path(), 1).unwrap();
    let disk = Disk::with_power(power.clone(), Fuse::after(u64::MAX));
    let mut running = office.intranet.open_with(disk, now).unwrap();
    large_result(&office, &mut running, &mut now);
    result(&office, &mut running, 2, &mut now);
    let place = office.intranet.layout().desk_trips().join("1");
    let refused = [Errno::PERM, Errno::XDEV, Errno::MLINK, Errno::IO];
    let mut again = None;
    for errno in refused {
        power.set_weather(Some(Weather { fault: Fault::NoLinks(errno.raw_os_error()), one_in: 1 }));
        now = now.plus_ms(1);
        trips::stage(&running.station, &name(DISC), &name("sun"), &name(OPERATOR), again, &Choice::default(), now)
            .unwrap()
            .unwrap();
        power.set_weather(None);
        again = Some(1);
        let found: Vec<_> =
            lines_laid(&place).iter().map(|(_, about)| (about.nlink(), about.permissions().mode() & 0o777)).collect();
        // With the papers that ride along.
        assert!(found.len() >= 2 && found.iter().all(|copy| *copy == (1, 0o640)), "{errno:?}: {found:?}");
    }
}

/// What nobody would have to copy needs no room; where the disk gives no second names all of it does, and is asked for before
/// anything is made.
#[test]
fn a_disk_without_second_names_is_asked_for_the_room_of_every_copy() {
    let (office, mut now) = (Office::new(), START);
    let grave = tempfile::tempdir().unwrap();
    let power = Power::on(grave.path(), 1).unwrap();
    let disk = Disk::with_power(power.clone(), Fuse::after(u64::MAX));
    let mut running = office.intranet.open_with(disk, now).unwrap();
    large_result(&office, &mut running, &mut now);
    let spool = &running.station.spool;
    spool.set_floor(spool::Floor { bytes: u64::MAX / 2, inodes: 0 });
    let words = |fault: Option<Fault>| {
        power.set_weather(fault.map(|fault| Weather { fault, one_in: 1 }));
        let said =
            trips::stage(&running.station, &name(DISC), &name("sun"), &name(OPERATOR), None, &Choice::default(), now)
                .unwrap();
        power.set_weather(None);
        said.unwrap_err().english
    };
    let size = spool.outbox(OUTWARD).entries().unwrap()[0].size;
    assert!(words(None).contains(" 0 bytes"));
    let without = words(Some(Fault::NoLinks(rustix::io::Errno::PERM.raw_os_error())));
    assert!(without.contains(&format!(" {size} bytes")), "{without}");
    assert!(names(&office.intranet.layout().desk_trips()).is_empty());
}

#[test]
fn what_imports_left_unfinished_goes_after_two_weeks_and_not_while_one_is_running() {
    let (office, now) = (Office::new(), START);
    let running = office.extranet.open(now).unwrap();
    let incoming = office.extranet.layout().desk_incoming();
    let laid = |name: &str, days: u64| {
        let folder = incoming.join(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("waybill"), "half").unwrap();
        // As the machine dates it, whose clock is another.
        let at = (now.0 - days * 24 * 60 * 60 * 1_000).saturating_add_signed(-ahead_ms());
        let at = std::time::UNIX_EPOCH + std::time::Duration::from_millis(at);
        fs::File::open(&folder).unwrap().set_modified(at).unwrap();
    };
    for (name, days) in [
        (".vol-intranet-extranet-1", 15),
        (".tmp-intranet-extranet-2", 15),
        ("intranet-extranet-3", 15),
        ("intranet-extranet-5", 13),
        (".vol-intranet-extranet-4", 13),
    ] {
        laid(name, days);
    }
    let import = fs::File::open(&incoming).unwrap();
    import.lock().unwrap();
    station::desk::tidy(&running.station, now).unwrap();
    assert_eq!(fs::read_dir(&incoming).unwrap().count(), 5);
    import.unlock().unwrap();
    station::desk::tidy(&running.station, now).unwrap();
    let mut left: Vec<_> = fs::read_dir(&incoming).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, [".vol-intranet-extranet-4", "intranet-extranet-5"], "what was turned away rests for as long");
}

#[test]
fn an_export_for_which_there_is_no_room_is_refused_before_anything_is_made() {
    let (office, mut now) = (Office::new(), START);
    let mut running = office.intranet.open(now).unwrap();
    result(&office, &mut running, 1, &mut now);
    let spool = &running.station.spool;
    let arguments = [("medium", DISC), ("carrier", "sun")];
    let before = spool.outbox(OUTWARD).load();
    spool.set_floor(spool::Floor { bytes: u64::MAX / 2, inodes: 0 });
    for _ in 0..3 {
        now = now.plus_ms(1);
        assert_eq!(office.ask(&running, "export", &arguments, now).code, "no-room");
    }
    assert_eq!((spool.outbox(OUTWARD).load(), names(&office.intranet.layout().desk_trips()).len()), (before, 0));
    spool.set_floor(spool::Floor { bytes: 0, inodes: 0 });
    assert!(office.ask(&running, "export", &arguments, now.plus_ms(1)).done);
}

#[test]
fn an_export_that_meets_an_error_of_the_disk_is_answered_and_not_repeated() {
    let (office, mut now) = (Office::new(), START);
    let mut running = office.intranet.open(now).unwrap();
    result(&office, &mut running, 1, &mut now);
    let trips = office.intranet.layout().desk_trips();
    fs::remove_dir(&trips).unwrap();
    fs::write(&trips, "no folder").unwrap();
    let arguments = [("medium", DISC), ("carrier", "sun")];
    assert_eq!(office.ask(&running, "export", &arguments, now).code, "disk-error");
    let size = running.station.spool.head().size;
    for _ in 0..10 {
        now = now.plus_ms(2_000);
        station::desk::step(&running.station, now).unwrap();
    }
    assert_eq!(running.station.spool.head().size, size);
    fs::remove_file(&trips).unwrap();
    fs::create_dir(&trips).unwrap();
    assert!(office.ask(&running, "export", &arguments, now).done);
}

/// A command that was killed leaves its request at a desk whose daemon was away; its person asks again. Whatever the folder
/// gives first, what stands in the end is what the last one was answered.
#[test]
fn requests_are_carried_out_in_the_order_in_which_they_were_laid() {
    let (office, mut now) = (Office::new(), START);
    let mut running = office.intranet.open(now).unwrap();
    result(&office, &mut running, 1, &mut now);
    stage(&running, now);
    let ids: Vec<_> = (0..12_u64)
        .map(|nth| {
            // For another carrier each time: for the same it is answered as it stands.
            let words = [("trip", "1"), ("carrier", if nth % 2 == 0 { "wu" } else { "sun" })];
            let id = twins::lay(&running, &office.operator, OPERATOR, "reexport", &words, now);
            let path = office.intranet.layout().desk_requests().join(spool::desk::request_name(&id));
            let laid = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_790_000_000 + nth);
            fs::File::options().write(true).open(path).unwrap().set_modified(laid).unwrap();
            id
        })
        .collect();
    station::desk::step(&running.station, now).unwrap();
    let bytes = fs::read(office.intranet.layout().desk_trips().join("1/waybill")).unwrap();
    let stands = Signed::parse::<Waybill>(&bytes).unwrap().digest().to_string();
    let answers: Vec<_> = ids.iter().map(|id| twins::answer(&running, id).details["waybill"].clone()).collect();
    assert_eq!(answers.last().unwrap(), &stands);
    assert_eq!(answers.iter().filter(|answer| **answer == stands).count(), 1, "each staging has a waybill of its own");
}

#[test]
fn no_file_beside_the_approvals_takes_the_place_of_one() {
    let (office, mut now) = (Office::new(), START);
    let mut running = office.intranet.open(now).unwrap();
    result(&office, &mut running, 1, &mut now);
    let trip = stage(&running, now);
    let place = office.intranet.layout().desk_trips().join(trip.trip.to_string());
    for number in 0..100 {
        fs::write(place.join("approvals").join(format!("note-{number}")), b"nothing").unwrap();
        fs::write(place.join("approvals").join(format!(".{number}.approval")), b"nothing").unwrap();
    }
    office.carry(trip.trip, now);
    let approved = trips::approve(&running.station, trip.trip, &name(APPROVERS[0]), now).unwrap();
    assert_eq!(approved.map(|trip| trip.approvals).unwrap_or_default(), APPROVERS);
}

#[test]
fn an_approver_whose_last_day_is_over_countersigns_nothing_that_is_still_to_leave() {
    let (office, mut now) = (Office::new(), START);
    let mut running = office.intranet.open(now).unwrap();
    result(&office, &mut running, 1, &mut now);
    let trip = stage(&running, now).trip;
    // Both sign in time; then one of them leaves the office.
    let laid = office.carry(trip, now);
    let signed = now;
    drop(running);
    for member in [&office.intranet, &office.extranet] {
        twins::ends(member, &format!("{}.pub.pem", APPROVERS[1]), signed);
    }
    let there = |now: Timestamp, person: usize| {
        let running = office.intranet.open(now).unwrap();
        trips::approve(&running.station, trip, &name(APPROVERS[person]), now).unwrap().map(|trip| trip.approvals)
    };
    assert_eq!(there(signed, 0).unwrap_or_default(), APPROVERS, "the last day counts");
    let later = signed.plus_ms(2 * DAY_MS);
    assert_eq!(there(later, 0).unwrap_or_default(), APPROVERS[..1], "he may have signed it today");
    assert!(there(later, 1).is_err());
    assert_eq!(there(signed.plus_ms(90 * DAY_MS), 0).unwrap_or_default(), APPROVERS, "not by a clock in doubt");
    // What was on its way when his days ended is taken on the other side.
    assert!(laid.exists());
    let running = office.extranet.open(signed).unwrap();
    drop(running);
    let running = office.extranet.open(later).unwrap();
    let taken = office.import(&running, trip, later);
    assert!(taken.done, "{taken:?}");
}

const HOURS_76_MS: u64 = 76 * 60 * 60 * 1000;

/// Starts a node again after the hours of a trip are over, and lets it look at its trips.
fn three_days_later(office: &Office, running: Running, now: &mut Timestamp) -> Running {
    drop(running);
    *now = now.plus_ms(HOURS_76_MS);
    let mut running = office.intranet.open(*now).unwrap();
    running.turn(now).unwrap();
    running
}

fn states(running: &Running) -> Vec<(u64, TripState)> {
    let mut known: Vec<_> = trips::list(&running.station).unwrap().iter().map(|trip| (trip.trip, trip.state)).collect();
    known.sort_by_key(|(number, _)| *number);
    known
}

fn export(office: &Office, running: &Running, now: &mut Timestamp) -> Answer {
    *now = now.plus_ms(10);
    office.ask(running, "export", &[("medium", DISC), ("carrier", "sun")], *now)
}

/// Countersigned, read back, carried and taken in.
fn leaves(office: &Office, running: &Running, number: u64, now: &mut Timestamp) {
    *now = now.plus_ms(10);
    office.carry(number, *now);
    let confirmed = office.ask(running, "confirm", &[("trip", &number.to_string()), ("medium", DISC)], *now);
    assert!(confirmed.done, "{confirmed:?}");
}

/// The default is that the other side takes trips in order: a number that never left would close the only way out.
#[test]
fn a_trip_that_expired_goes_again_under_its_number_before_what_waits_since() {
    let (office, mut now) = (Office::new(), START);
    let mut intranet = office.intranet.open(now).unwrap();
    result(&office, &mut intranet, 1, &mut now);
    let first = stage(&intranet, now);
    let mut intranet = three_days_later(&office, intranet, &mut now);
    assert_eq!(states(&intranet), [(1, TripState::Expired)]);
    result(&office, &mut intranet, 2, &mut now);
    let again = export(&office, &intranet, &mut now);
    assert_eq!((&again.details["trip"], &again.details["lapsed"]), (&json!(1), &json!(true)), "{again:?}");
    let known = trips::staged(&intranet.station, 1).unwrap().unwrap();
    assert_eq!((known.bundles, known.waybill == first.waybill), (1, false), "nothing new under an old number");
    let second = export(&office, &intranet, &mut now);
    assert_eq!((&second.details["trip"], &second.details["lapsed"]), (&json!(2), &json!(false)), "{second:?}");
    assert_eq!(trips::staged(&intranet.station, 2).unwrap().unwrap().bundles, 1);

    let mut extranet = office.extranet.open(now).unwrap();
    assert!(extranet.station.ferry.strict_order, "as shipped");
    leaves(&office, &intranet, 1, &mut now);
    leaves(&office, &intranet, 2, &mut now);
    let early = office.import(&extranet, 2, now);
    assert_eq!((early.done, early.code.as_str()), (false, "trip-skipped"));
    assert!(early.message_en.starts_with("trip 1 was never imported"), "{early:?}");
    for number in 1..=2 {
        now = now.plus_ms(10);
        let taken = office.import(&extranet, number, now);
        assert!(taken.done && taken.details["skipped"] == false, "{taken:?}");
    }
    extranet.turn(&mut now).unwrap();
    assert_eq!(office.extranet.outlet("review-results").len(), 2);
    extranet.carry_to(&intranet);
    intranet.turn(&mut now).unwrap();
    assert_eq!(states(&intranet), [(1, TripState::Settled), (2, TripState::Settled)]);
    // What the other side has passed is not asked for again.
    result(&office, &mut intranet, 3, &mut now);
    assert_eq!(export(&office, &intranet, &mut now).details["trip"], json!(3));
}

/// Its bundles were retired, or sealed to another key and gone with another trip: the number alone is carried again.
#[test]
fn a_lost_trip_of_which_nothing_is_left_is_carried_again_empty() {
    let (office, mut now) = (Office::new(), START);
    let mut intranet = office.intranet.open(now).unwrap();
    result(&office, &mut intranet, 1, &mut now);
    stage(&intranet, now);
    leaves(&office, &intranet, 1, &mut now);
    fs::remove_dir_all(office.extranet.layout().desk_incoming().join(format!("{OUTWARD}-1"))).unwrap();
    let outbox = intranet.station.spool.outbox(OUTWARD);
    for entry in outbox.entries().unwrap() {
        outbox.remove(&entry).unwrap();
    }
    result(&office, &mut intranet, 2, &mut now);
    assert_eq!(export(&office, &intranet, &mut now).details["trip"], json!(2));
    leaves(&office, &intranet, 2, &mut now);
    let mut extranet = office.extranet.open(now).unwrap();
    assert_eq!(office.import(&extranet, 2, now).code, "trip-skipped");

    now = now.plus_ms(10);
    let again = office.ask(&intranet, "reexport", &[("trip", "1"), ("carrier", "wu")], now);
    assert_eq!(
        (again.done, &again.details["trip"], &again.details["files"]),
        (true, &json!(1), &json!(0)),
        "{again:?}"
    );
    intranet.turn(&mut now).unwrap();
    assert_eq!(states(&intranet), [(1, TripState::Staged), (2, TripState::Confirmed)], "it was not carried yet");
    leaves(&office, &intranet, 1, &mut now);
    intranet.turn(&mut now).unwrap();
    assert_eq!(states(&intranet), [(1, TripState::Settled), (2, TripState::Confirmed)]);
    for number in 1..=2 {
        now = now.plus_ms(10);
        let taken = office.import(&extranet, number, now);
        assert!(taken.done && taken.details["skipped"] == false, "{taken:?}");
    }
    extranet.turn(&mut now).unwrap();
    assert_eq!(office.extranet.outlet("review-results").len(), 1);
    extranet.carry_to(&intranet);
    intranet.turn(&mut now).unwrap();
    assert_eq!(states(&intranet), [(1, TripState::Settled), (2, TripState::Settled)]);
    now = now.plus_ms(10);
    assert_eq!(office.ask(&intranet, "reexport", &[("trip", "2")], now).code, "trip-settled");
    let none = office.ask(&intranet, "reexport", &[("trip", "3"), ("medium", DISC), ("carrier", "sun")], now);
    assert_eq!(none.code, "no-such-trip");
}

/// The receipts of a medium that arrived after all end the trip, whoever staged it again meanwhile.
#[test]
fn a_trip_staged_again_while_its_first_medium_arrives_is_settled_and_never_expires() {
    let (office, mut now) = (Office::new(), START);
    let mut intranet = office.intranet.open(now).unwrap();
    result(&office, &mut intranet, 1, &mut now);
    stage(&intranet, now);
    leaves(&office, &intranet, 1, &mut now);
    let mut extranet = office.extranet.open(now).unwrap();
    assert!(office.import(&extranet, 1, now).done);
    extranet.turn(&mut now).unwrap();
    let again = office.ask(&intranet, "reexport", &[("trip", "1"), ("carrier", "wu")], now);
    assert!(again.done, "{again:?}");
    extranet.carry_to(&intranet);
    intranet.turn(&mut now).unwrap();
    assert_eq!(states(&intranet), [(1, TripState::Settled)]);
    let bundles = names(&office.intranet.layout().desk_trips().join("1"));
    assert!(!bundles.iter().any(|file| file.ends_with(".bundle")), "{bundles:?}");
    let intranet = three_days_later(&office, intranet, &mut now);
    assert_eq!(states(&intranet), [(1, TripState::Settled)]);
}

/// `strict_order = false`: what comes after its turn is taken, and the alarm stands as long as something is missing.
#[test]
fn a_trip_that_was_missed_is_told_until_it_comes_and_is_taken_when_it_does() {
    let (mut office, mut now) = (Office::new(), START);
    office.extranet.config.ferry.strict_order = false;
    let mut intranet = office.intranet.open(now).unwrap();
    for number in 1..=3 {
        result(&office, &mut intranet, number, &mut now);
        assert_eq!(stage(&intranet, now).trip, u64::from(number));
        leaves(&office, &intranet, u64::from(number), &mut now);
    }
    let extranet = office.extranet.open(now).unwrap();
    let alarm = || extranet.station.alarms.standing().iter().any(|(alarm, ..)| *alarm == Alarm::TripOrder);
    let mut import = |number: u64| {
        now = now.plus_ms(10);
        let taken = office.import(&extranet, number, now);
        (taken.done, taken.details["skipped"].clone(), taken.details["late"].clone())
    };
    assert_eq!(import(2), (true, json!(true), json!(false)));
    assert!(alarm(), "trip 1 is missing");
    assert_eq!(import(3), (true, json!(false), json!(false)));
    assert!(alarm(), "it still is");
    assert_eq!(import(1), (true, json!(false), json!(true)));
    assert!(!alarm());
}

/// The operator says which numbers the lost disk may have used; those that never left are carried again empty.
#[test]
fn numbers_that_only_a_lost_disk_knew_can_be_carried_empty() {
    let (office, mut now) = (Office::new(), START);
    let mut intranet = office.intranet.open(now).unwrap();
    result(&office, &mut intranet, 1, &mut now);
    stage(&intranet, now);
    leaves(&office, &intranet, 1, &mut now);
    let mut extranet = office.extranet.open(now).unwrap();
    assert!(office.import(&extranet, 1, now).done);
    extranet.turn(&mut now).unwrap();
    extranet.carry_to(&intranet);
    intranet.turn(&mut now).unwrap();
    let at = now;
    Job::of(&intranet.station, protocol::der_types::Octets([1; 32])).run(|| at).unwrap();
    drop(intranet);
    let backups = office.intranet.root.join("backups");
    let from = names(&backups).into_iter().find(|file| file.ends_with(".trilock-backup")).unwrap();
    fs::remove_dir_all(office.intranet.layout().root()).unwrap();
    now = now.plus_ms(60_000);
    restore(&RestorePlan {
        from: &backups.join(from),
        key: &office.safe,
        operator: &office.operator,
        setup: &office.intranet.setup(Disk::real(), now),
        trust: &office.intranet.trust(),
        witnesses: &[],
        last_trip: 3,
    })
    .unwrap();

    let mut intranet = office.intranet.open(now).unwrap();
    result(&office, &mut intranet, 2, &mut now);
    assert_eq!(export(&office, &intranet, &mut now).details["trip"], json!(4));
    leaves(&office, &intranet, 4, &mut now);
    let refused = office.import(&extranet, 4, now);
    assert_eq!(refused.code, "trip-skipped");
    assert!(refused.message_en.starts_with("trip 2-3 was never imported"), "{refused:?}");
    for (number, code) in [("5", "no-such-trip"), ("0", "no-such-trip"), ("2", "done"), ("3", "done")] {
        now = now.plus_ms(10);
        let again = office.ask(&intranet, "reexport", &[("trip", number), ("medium", DISC), ("carrier", "sun")], now);
        assert_eq!(again.code, code, "{number}: {again:?}");
    }
    leaves(&office, &intranet, 2, &mut now);
    leaves(&office, &intranet, 3, &mut now);
    for number in 2..=4 {
        now = now.plus_ms(10);
        let taken = office.import(&extranet, number, now);
        assert!(taken.done && taken.details["skipped"] == false, "{taken:?}");
    }
    extranet.turn(&mut now).unwrap();
    assert_eq!(office.extranet.outlet("review-results").len(), 2);
}

/// A trip that was written twice was cut twice: one volume of each is no trip, however they are numbered.
#[test]
fn volumes_of_two_cuttings_are_not_confirmed_as_one_trip() {
    let (office, mut now) = (Office::new(), START);
    let mut running = office.intranet.open(now).unwrap();
    result(&office, &mut running, 1, &mut now);
    let all = stage(&running, now).bytes;
    office.carry(1, now);
    let mut confirm = |volume: &str, from: u64, through: u64| {
        now = now.plus_ms(1);
        let (from, through) = (from.to_string(), through.to_string());
        let words = [
            ("trip", "1"),
            ("medium", DISC),
            ("volume", volume),
            ("volumes", "3"),
            ("from", &from),
            ("through", &through),
        ];
        let answer = office.ask(&running, "confirm", &words, now);
        if answer.done { answer.details["missing"].clone() } else { json!(answer.code) }
    };
    for (volume, from, through) in
        [("1", 5, 100), ("1", 0, all), ("2", 0, 100), ("3", 100, 200), ("3", 0, all), ("2", 9, all + 1)]
    {
        assert_eq!(confirm(volume, from, through), json!("volume-other"), "{volume} {from} {through}");
    }
    assert_eq!(confirm("1", 0, 100), json!([2, 3]));
    assert_eq!(confirm("3", 300, all), json!([2]), "in any order");
    assert_eq!(confirm("2", 100, 200), json!([3]), "between 200 and 300 nobody read anything");
    assert_eq!(confirm("3", 250, all), json!([2]), "of a third cutting, which the second does not meet");
    assert_eq!(confirm("2", 90, 250), json!([1]), "and this one begins before the first ends");
    assert_eq!(records(&running, Event::TripConfirmed).len(), 0);
    assert_eq!(confirm("1", 0, 90), json!([]));
    assert_eq!(records(&running, Event::TripConfirmed).len(), 1);
}

/// By route, priority, age and size. Whatever is not known is named and not left unsaid.
#[test]
fn an_export_takes_what_was_chosen_and_the_rest_goes_with_the_next() {
    let (office, mut now) = (Office::new(), START);
    let mut intranet = office.intranet.open(now).unwrap();
    for number in 1..=3 {
        result(&office, &mut intranet, number, &mut now);
    }
    let mut asked = |words: &[(&str, &str)]| {
        now = now.plus_ms(10);
        let words = [words, &[("medium", DISC), ("carrier", "sun")]].concat();
        let answer = office.ask(&intranet, "export", &words, now);
        (
            answer.code.clone(),
            answer.details["trip"].clone(),
            answer.details["bytes"].as_u64().unwrap_or(0),
            answer.message_en,
        )
    };
    for (word, value, code) in [
        ("wait", "yes", "argument-unknown"),
        ("bytes-max", "many", "argument-missing"),
        ("older-than-h", "-1", "argument-missing"),
        ("priority", "soon", "argument-missing"),
        ("route", "nowhere", "no-route"),
        ("priority", "urgent,bulk", "nothing-chosen"),
        ("older-than-h", "1", "nothing-chosen"),
        ("bytes-max", "100", "nothing-chosen"),
    ] {
        let (said, _, _, words) = asked(&[(word, value)]);
        assert_eq!(said, code, "{word} {value}");
        assert!(code != "argument-unknown" || words.contains("\"wait\""), "{words}");
    }
    let waiting = intranet.station.spool.outbox(OUTWARD).entries().unwrap();
    let sizes: Vec<u64> = waiting.iter().map(|entry| entry.size).collect();
    assert_eq!(sizes.len(), 3);
    let two = (sizes[0] + sizes[1] + sizes[2] - 1).to_string();
    let (code, trip, bytes, _) = asked(&[("bytes-max", &two), ("route", "review-results"), ("priority", "normal")]);
    assert_eq!((code.as_str(), trip), ("done", json!(1)));
    assert!(bytes >= sizes[0] + sizes[1] && bytes <= two.parse().unwrap(), "with papers for home: {bytes} of {two}");
    let oldest: Vec<String> = waiting.iter().take(2).map(|entry| entry.id.to_string()).collect();
    let staged = trips::staged(&intranet.station, 1).unwrap().unwrap();
    assert_eq!((staged.bundles, staged.ids.ends_with(&oldest)), (2, true), "the oldest first: {staged:?}");
    let (code, trip, bytes, _) = asked(&[("older-than-h", "0")]);
    assert_eq!((code.as_str(), trip, bytes >= sizes[2]), ("done", json!(2), true));
}

/// The number must go again, or nothing after it is taken; what was not chosen goes later, under another.
#[test]
fn a_trip_that_expired_and_of_which_nothing_is_chosen_is_carried_empty_and_keeps_no_later_one() {
    let (office, mut now) = (Office::new(), START);
    let mut intranet = office.intranet.open(now).unwrap();
    result(&office, &mut intranet, 1, &mut now);
    stage(&intranet, now);
    let intranet = three_days_later(&office, intranet, &mut now);
    let outbox = intranet.station.spool.outbox(OUTWARD);
    let (bundles, papers): (Vec<_>, Vec<_>) =
        outbox.entries().unwrap().into_iter().partition(|entry| entry.kind == spool::EntryKind::Bundle);
    // Papers that rode along would go again.
    papers.iter().for_each(|paper| outbox.remove(paper).unwrap());
    let mut export = |priority: &str| {
        now = now.plus_ms(10);
        let chosen = [("medium", DISC), ("carrier", "sun"), ("priority", priority)];
        let answer = office.ask(&intranet, "export", &chosen, now);
        assert!(answer.done, "{answer:?}");
        leaves(&office, &intranet, answer.details["trip"].as_u64().unwrap(), &mut now);
        (answer.details["trip"].clone(), answer.details["files"].clone())
    };
    assert_eq!(export("urgent"), (json!(1), json!(0)));
    assert_eq!(export("normal").0, json!(2));
    let ids = trips::staged(&intranet.station, 2).unwrap().unwrap().ids;
    assert!(ids.contains(&bundles[0].id.to_string()), "{ids:?}");
}

/// What was taken in is the desk's memory of it; a refused trip keeps neither the disk nor its medium for ever.
#[test]
fn a_trip_that_was_refused_and_not_brought_again_goes_after_two_weeks() {
    let (office, mut now) = (Office::new(), START);
    let mut intranet = office.intranet.open(now).unwrap();
    for number in 1..=3 {
        result(&office, &mut intranet, number, &mut now);
        stage(&intranet, now);
        leaves(&office, &intranet, u64::from(number), &mut now);
    }
    let extranet = office.extranet.open(now).unwrap();
    assert!(office.import(&extranet, 1, now).done);
    assert_eq!(office.import(&extranet, 3, now).code, "trip-skipped");
    let incoming = office.extranet.layout().desk_incoming();
    fs::remove_dir_all(incoming.join(format!("{OUTWARD}-2"))).unwrap();
    let old = std::time::UNIX_EPOCH + std::time::Duration::from_millis(now.0 - 15 * DAY_MS);
    for place in fs::read_dir(&incoming).unwrap() {
        fs::File::open(place.unwrap().path()).unwrap().set_modified(old).unwrap();
    }
    let dispose = |now| say_of(&extranet, (OPERATOR, &office.operator), DISC, ("witness", APPROVERS[1]), now);
    assert_eq!(dispose(now).code, "medium-in-use");
    station::desk::tidy(&extranet.station, now).unwrap();
    assert_eq!(names(&incoming), [format!("{OUTWARD}-1")]);
    assert_eq!(dispose(now.plus_ms(1)).code, "done");
}

/// What `ferry import` turns away by itself, the node records and alarms: by codes it knows, for operators.
#[test]
fn what_an_import_turned_away_without_the_node_is_on_record_and_alarmed() {
    let (office, mut now) = (Office::new(), START);
    let extranet = office.extranet.open(now).unwrap();
    let mut told = |code: &str| {
        now = now.plus_ms(10);
        let words = [("code", code), ("trip", "7"), ("crossing", OUTWARD.name()), ("medium", DISC), ("count", "3")];
        office.ask(&extranet, "turned-away", &words, now).code
    };
    let codes = [
        ("foreign-trip", Alarm::TripOrder),
        ("trip-repeated", Alarm::TripOrder),
        ("not-authentic", Alarm::NotAuthentic),
        ("approvals-missing", Alarm::RequestRefused),
        ("not-on-waybill", Alarm::NotOnWaybill),
    ];
    for (code, alarm) in codes {
        extranet.station.alarms.clear(START, alarm);
        assert_eq!(told(code), "done");
        assert!(extranet.station.alarms.standing().iter().any(|(stands, ..)| *stands == alarm), "{code}");
    }
    assert_eq!(told("资料.dwg"), "argument-missing", "no words of a medium");
    let said: Vec<_> = records(&extranet, Event::TripRefused);
    assert_eq!(said.len(), codes.len());
    assert!(said.iter().all(|record| (record.trip, &record.medium) == (Some(7), &Some(name(DISC)))));
    assert!(said.iter().all(|record| record.person == Some(name(OPERATOR)) && record.crossing == Some(OUTWARD)));
    let asked = [("code", "foreign-trip")];
    let approver = twins::ask(&extranet, &office.approvers[0], APPROVERS[0], "turned-away", &asked, now);
    assert_eq!(approver.code, "role");
}

#[test]
fn what_waits_for_the_next_trip_is_not_what_travels_already() {
    let (office, mut now) = (Office::new(), START);
    let mut intranet = office.intranet.open(now).unwrap();
    let next = |running: &Running, now| {
        let rows = station::waiting::queues(&running.station, now).unwrap();
        let row = rows.into_iter().find(|row| row["queue"] == json!(format!("outbox {OUTWARD}"))).unwrap();
        (row["next_entries"].clone(), row["next_bytes"].as_u64().unwrap() > 0)
    };
    result(&office, &mut intranet, 1, &mut now);
    assert_eq!(next(&intranet, now), (json!(1), true));
    stage(&intranet, now);
    assert!(intranet.station.spool.outbox(OUTWARD).load().0 > 0, "it stays until its receipt");
    assert_eq!(next(&intranet, now), (json!(0), false));
    result(&office, &mut intranet, 2, &mut now);
    assert_eq!(next(&intranet, now), (json!(1), true));
}

#[test]
fn while_a_trip_has_lapsed_the_next_export_is_told_as_that_trip_and_not_as_all_that_waits() {
    let (office, mut now) = (Office::new(), START);
    let mut intranet = office.intranet.open(now).unwrap();
    result(&office, &mut intranet, 1, &mut now);
    stage(&intranet, now);
    let mut intranet = three_days_later(&office, intranet, &mut now);
    (2..4).for_each(|number| result(&office, &mut intranet, number, &mut now));
    let told = |running: &Running, now| {
        let rows = station::waiting::queues(&running.station, now).unwrap();
        let row = rows.into_iter().find(|row| row["queue"] == json!(format!("outbox {OUTWARD}"))).unwrap();
        ["next_again", "next_entries", "later_entries"].map(|field| row[field].clone())
    };
    // Its result, and the papers for home that rode along.
    assert_eq!(told(&intranet, now), [json!(1), json!(2), json!(2)]);
    let again = export(&office, &intranet, &mut now);
    assert_eq!((&again.details["trip"], &again.details["files"]), (&json!(1), &json!(2)), "as it was told");
    // Once it is staged again, the next one is new and takes the rest.
    assert_eq!(told(&intranet, now), [Value::Null, json!(2), Value::Null]);
    let second = export(&office, &intranet, &mut now);
    assert_eq!(second.details["trip"], json!(2));
}
