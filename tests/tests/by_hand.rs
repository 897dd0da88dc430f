//! Sealing and opening by hand: inward, where a carrier does not work, once and on record; and never out of the internal
//! zone. Somebody there who holds the node's own keys, seals by hand whatever they like, and lays it wherever files lie on
//! the way of a trip, gets nothing past the ferry and the guard.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a story stops at the first surprise")]
#![allow(clippy::disallowed_methods, reason = "a test makes and removes files as an enemy would")]

use std::fs;
use std::path::{Path, PathBuf};

use protocol::bundle::{self, SealPlan};
use protocol::der_types::Octets;
use protocol::id::new_id;
use protocol::keys::{self, OpeningKey, SigningKey};
use protocol::ledger::{Event, Record};
use protocol::parcel::{CustodyEntry, FileEntry, Label, Manifest, ParcelStatement, Priority, VERSION};
use protocol::request::Request;
use protocol::tree;
use protocol::trust::Role;
use protocol::waybill::{Approval, LineKind, Waybill, WaybillLine};
use protocol::{BundleId, Crossing, Digest, Reason, Signed, Suite, Timestamp, Verdict, Zone};
use spool::{Answer, Disk, Fuse, Power};
use station::alarm::Alarm;
use station::backup::Job;
use station::restore::{RestorePlan, restore};
use station::trips;
use tests::papers;
use tests::twins::{self, Member, OPERATOR, Running, START, found, name, names};

const OUTWARD: Crossing = Crossing::IntranetToExtranet;
const INWARD: Crossing = Crossing::ExtranetToIntranet;
const DISC: &str = "disc-0001";
const APPROVERS: [&str; 2] = ["approver-li", "approver-zhao"];
/// What must never be seen outside.
const SURVEY: &str = "{\"XZB\": \"4851490.4193\", \"YZB\": \"29546865.2760\"}";

/// Two nodes that allow it.
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
        let ([mut extranet, mut intranet], operator, safe) = found(folder.path(), [Zone::Extranet, Zone::Intranet]);
        (extranet.config.node.manual, intranet.config.node.manual) = (true, true);
        let approvers =
            APPROVERS.iter().map(|who| twins::person(&[&extranet, &intranet], who, Role::Approver)).collect();
        Office { _folder: folder, extranet, intranet, operator, approvers, safe }
    }

    /// Lays a request as the machine's own command line does, with what is meant beside it.
    fn lay_by_hand(
        &self,
        member: &Member,
        action: &str,
        route: Option<&str>,
        given: (&str, &[u8]),
        now: Timestamp,
    ) -> Digest {
        let arguments = route.into_iter().map(|route| Label { name: name("route"), value: route.to_owned() }).collect();
        let request = Request {
            version: VERSION,
            id: Octets(keys::random()),
            node: member.config.node.name.clone(),
            action: name(action),
            person: name("administrator"),
            at: now,
            arguments,
        };
        let own = member.layout().desk_own();
        let beside = own.join(format!("{}.given", request.id));
        fs::create_dir(&beside).unwrap();
        fs::write(beside.join(given.0), given.1).unwrap();
        let signed = Signed::make_by(&member.keyring().signing, &request).unwrap().to_bytes();
        fs::write(own.join(spool::desk::request_name(&request.id)), signed).unwrap();
        request.id
    }

    /// Asks, and gives the answer and what was made.
    fn by_hand(
        &self,
        member: &Member,
        running: &Running,
        action: &str,
        route: Option<&str>,
        given: (&str, &[u8]),
        now: Timestamp,
    ) -> (Answer, PathBuf) {
        let id = self.lay_by_hand(member, action, route, given, now);
        station::desk::step(&running.station, now).unwrap();
        (twins::answer(running, &id), member.layout().desk_own().join(format!("{id}.made")))
    }

    fn seal(&self, member: &Member, running: &Running, route: &str, text: &str, now: Timestamp) -> (Answer, PathBuf) {
        self.by_hand(member, running, "seal", Some(route), ("message.xml", text.as_bytes()), now)
    }

    fn open(&self, member: &Member, running: &Running, bundle: &[u8], now: Timestamp) -> (Answer, PathBuf) {
        self.by_hand(member, running, "open", None, ("bundle", bundle), now)
    }

    fn ask(&self, running: &Running, action: &str, arguments: &[(&str, &str)], now: Timestamp) -> Answer {
        twins::ask(running, &self.operator, OPERATOR, action, arguments, now)
    }

    fn import(&self, running: &Running, trip: u64, now: Timestamp) -> Answer {
        self.ask(running, "import", &[("trip", &trip.to_string()), ("crossing", OUTWARD.name())], now)
    }

    /// Where a trip's files lie at the extranet's desk.
    fn incoming(&self, trip: u64) -> PathBuf {
        self.extranet.layout().desk_incoming().join(format!("{OUTWARD}-{trip}"))
    }

    /// Two people sign, and a person lays the trip at the other desk.
    fn lay(&self, trip: u64, waybill: &[u8], approvers: &[(&str, &SigningKey)], files: &[(String, Vec<u8>)]) {
        let to = self.incoming(trip);
        let _before = fs::remove_dir_all(&to);
        fs::create_dir_all(to.join("approvals")).unwrap();
        fs::write(to.join("waybill"), waybill).unwrap();
        let digest = Signed::parse::<Waybill>(waybill).unwrap().digest();
        for (person, key) in approvers {
            let approval = Approval { version: VERSION, waybill: digest, trip, person: name(person), at: START };
            fs::write(to.join("approvals").join(format!("{person}.approval")), Signed::make(key, &approval).to_bytes())
                .unwrap();
        }
        for (file, bytes) in files {
            fs::write(to.join(file), bytes).unwrap();
        }
    }

    fn both(&self) -> Vec<(&str, &SigningKey)> {
        APPROVERS.into_iter().zip(&self.approvers).collect()
    }
}

/// What somebody with the node's keys seals by hand, past every desk and guard.
#[derive(Clone, Copy)]
struct Forged<'a> {
    crossing: Crossing,
    route: &'a str,
    kind: &'a str,
    number: (u64, u64),
    text: &'a str,
}

/// As a result that goes out, but by hand.
const FORGED: Forged<'static> =
    Forged { crossing: OUTWARD, route: "review-results", kind: "review-result", number: (0, 0), text: SURVEY };

impl Forged<'_> {
    fn seal(&self, office: &Office) -> (BundleId, Vec<u8>) {
        let (from, keyring) = (name("intranet"), office.intranet.keyring());
        let target = name("extranet");
        let (size, digest) = tree::root_of_reader(Suite::Std, &mut self.text.as_bytes()).unwrap();
        let path = "result.json".to_owned();
        let file = FileEntry { path: path.clone(), original: None, size, digest, executable: false, modified_s: 0 };
        let salt = Octets(keys::random());
        let manifest =
            Manifest { salt, version: VERSION, name: path, folder: false, files: vec![file], labels: Vec::new() };
        let statement = ParcelStatement {
            version: VERSION,
            parcel: new_id(START, keys::random()),
            origin: from.clone(),
            route: name(self.route),
            target: target.clone(),
            parcel_type: name(self.kind),
            priority: Priority::Normal,
            accepted: START,
            manifest: Suite::Std.digest(&manifest.to_bytes()),
        };
        let statement = Signed::make_by(&keyring.signing, &statement).unwrap();
        let entry = CustodyEntry {
            version: VERSION,
            statement: statement.digest(),
            previous: statement.digest(),
            node: from.clone(),
            crossing: self.crossing,
            rules: "2026-11-22.1".to_owned(),
            verdict: Verdict::Released,
            at: START,
        };
        let bundle = new_id(START, keys::random());
        let plan = SealPlan {
            bundle,
            crossing: self.crossing,
            epoch: self.number.0,
            sequence: self.number.1,
            source: &from,
            target: &target,
            priority: Priority::Normal,
            now: START,
            key: &keyring.signing,
            recipient: &office.intranet.trust().sealing_key(&target).unwrap(),
            keeper: &keyring.opening.public(),
            statement: &statement,
            custody: &[Signed::make_by(&keyring.signing, &entry).unwrap()],
            manifest: &manifest,
        };
        let mut bytes = Vec::new();
        bundle::seal(&plan, &mut bytes, |_| Ok(self.text.as_bytes())).unwrap();
        (bundle, bytes)
    }
}

fn records(running: &Running, event: Event) -> Vec<Record> {
    let all = running.station.spool.records(0, 10_000).unwrap();
    all.into_iter().map(|stored| stored.record).filter(|record| record.event == event).collect()
}

/// The refusals on record, each with its bundle and reason.
fn refusals(running: &Running) -> Vec<(Option<BundleId>, Option<Reason>)> {
    let refused = records(running, Event::Refused).into_iter().chain(records(running, Event::Incident));
    refused.map(|record| (record.bundle, record.reason)).collect()
}

/// Refused last, for this reason, and not under the id that the file claims: an entry of an outbox would count by that.
#[track_caller]
fn unproven(running: &Running, id: &BundleId, reason: Reason) {
    assert_eq!(refusals(running).pop().unwrap(), (None, Some(reason)));
    assert!(!running.station.spool.bundle_recorded(id).unwrap());
}

#[track_caller]
fn is(answer: &Answer, code: &str, words: &str) {
    assert!(!answer.done && answer.code == code && answer.message_en.contains(words), "{answer:?}");
}

fn result(office: &Office, running: &mut Running, number: u32, now: &mut Timestamp) {
    let text = papers::review_result(number);
    office.intranet.drop_file("review-results", &format!("review-{number}.xml"), text.as_bytes());
    running.turn(now).unwrap();
}

/// No plaintext and no bundle of it stands where an app or a carrier of the extranet would take it.
#[track_caller]
fn nothing_went_out(office: &Office, but: usize) {
    assert_eq!(office.extranet.outlet("review-results").len(), but);
    for layout in [office.extranet.layout(), office.intranet.layout()] {
        assert_eq!(names(&layout.desk_own()), Vec::<String>::new(), "nothing is left at the desk");
    }
}

fn clear_given(office: &Office) {
    for layout in [office.extranet.layout(), office.intranet.layout()] {
        for left in names(&layout.desk_own()).iter().filter(|left| left.ends_with(".given")) {
            fs::remove_dir_all(layout.desk_own().join(left)).unwrap();
        }
    }
}

#[test]
fn what_is_sealed_by_hand_inward_is_opened_once_by_the_next_node_and_all_of_it_is_on_record() {
    let (office, now) = (Office::new(), START);
    let (extranet, mut intranet) = (office.extranet.open(now).unwrap(), office.intranet.open(now).unwrap());
    let text = papers::registration_message(1);
    let (sealed, made) = office.seal(&office.extranet, &extranet, "registration", &text, now);
    assert!(sealed.done, "{sealed:?}");
    let bytes = fs::read(&made).unwrap();
    bundle::verify(&mut &bytes[..], &office.intranet.trust()).unwrap();
    let said = records(&extranet, Event::RequestAnswered);
    assert!(said.iter().any(|record| record.crossing == Some(INWARD) && record.bytes == Some(text.len() as u64)));
    assert_eq!(extranet.station.spool.outbox(INWARD).load().0, 0, "no carrier has it");

    // What the guard refuses is not sealed, and that is on record.
    let (refused, made) = office.seal(&office.extranet, &extranet, "registration", "{\"no\": \"message\"}", now);
    assert!(!made.exists());
    is(&refused, "guard-refused", "the guard does not let it cross");
    assert_eq!(refusals(&extranet).len(), 1);

    let (opened, made) = office.open(&office.intranet, &intranet, &bytes, now);
    assert!(opened.done, "{opened:?}");
    assert_eq!(fs::read_to_string(made.join("message.xml")).unwrap(), text);
    assert_eq!((records(&intranet, Event::Arrived).len(), records(&intranet, Event::Delivered).len()), (1, 1));
    // The command takes it from there.
    fs::remove_dir_all(&made).unwrap();
    let (again, made) = office.open(&office.intranet, &intranet, &bytes, now);
    is(&again, "guard-refused", "duplicate");
    assert!(!made.exists() && records(&intranet, Event::Duplicate).len() == 1);

    // No carrier brings it, and what a carrier brings is not opened by hand.
    let id = bundle::peek(&mut &bytes[..]).unwrap().bundle;
    let (other, _) = office.seal(&office.extranet, &extranet, "registration", &papers::registration_message(2), now);
    assert!(other.done);
    let mut later = now;
    let second = names(&office.extranet.layout().desk_own()).into_iter().filter(|left| left.ends_with(".made"));
    let second: Vec<_> = second.map(|left| fs::read(office.extranet.layout().desk_own().join(left)).unwrap()).collect();
    let second = second.iter().find(|one| bundle::peek(&mut &one[..]).unwrap().bundle != id).unwrap();
    let id = bundle::peek(&mut &second[..]).unwrap().bundle;
    fs::write(office.intranet.layout().complete(INWARD).join(format!("{id}.bundle")), second).unwrap();
    intranet.turn(&mut later).unwrap();
    assert_eq!(refusals(&intranet), [(Some(id), Some(Reason::NotAuthentic))]);
    assert!(office.intranet.outlet("registration").is_empty());

    // Switched off, neither is done.
    drop((extranet, intranet));
    let mut shut = Member::at(&office.extranet.root, Zone::Extranet);
    shut.config.node.manual = false;
    let extranet = shut.open(later).unwrap();
    is(&office.seal(&shut, &extranet, "registration", &text, later).0, "by-hand-off", "switched off");
    is(&office.open(&shut, &extranet, &bytes, later).0, "by-hand-off", "switched off");
}

/// Power goes after every effect of a process, and when it is through.
#[test]
fn what_was_opened_by_hand_is_whole_and_its_evidence_kept_wherever_the_power_goes() {
    let (office, now) = (Office::new(), START);
    let (extranet, own) = (office.extranet.open(now).unwrap(), office.intranet.layout().desk_own());
    let grave = office.intranet.root.join("grave");
    fs::create_dir(&grave).unwrap();
    let power = Power::on(&grave, 7).unwrap();
    let start = |fuse: &Fuse| office.intranet.open_with(Disk::with_power(power.clone(), fuse.clone()), now);
    let mut effects = 0;
    loop {
        let text = papers::registration_message(effects);
        let (_, sealed) = office.seal(&office.extranet, &extranet, "registration", &text, now);
        let sealed = fs::read(sealed).unwrap();
        let id = office.lay_by_hand(&office.intranet, "open", None, ("bundle", &sealed), now);
        let fuse = Fuse::after(effects.into());
        if let Ok(running) = start(&fuse) {
            let _died = station::desk::step(&running.station, now);
        }
        let through = !fuse.burnt();
        power.cut().unwrap();
        let running = start(&Fuse::after(u64::MAX)).unwrap();
        station::desk::step(&running.station, now).unwrap();
        let answer = twins::answer(&running, &id);
        assert!(answer.done, "{effects}: {answer:?}");
        let made = fs::read_to_string(own.join(format!("{id}.made")).join("message.xml"));
        assert_eq!(made.ok().as_deref(), Some(text.as_str()), "after {effects} effects");
        let bundle = bundle::peek(&mut &sealed[..]).unwrap().bundle;
        let parcel = running.station.spool.parcel_of_bundle(&bundle).unwrap().unwrap();
        let kept = station::sealing::evidence_path(&running.station, &parcel, &bundle).exists();
        assert!(kept, "no evidence after {effects} effects");
        let delivered = records(&running, Event::Delivered);
        assert_eq!(delivered.iter().filter(|record| record.parcel == Some(parcel)).count(), 1);
        drop(running);
        if through {
            break;
        }
        effects += 1;
    }
    assert_eq!(power.broken(), None);
}

#[test]
fn a_route_that_an_operator_switched_off_is_not_sealed_for_by_hand_either() {
    let (office, now) = (Office::new(), START);
    let extranet = office.extranet.open(now).unwrap();
    let why = [("route", "registration"), ("reason", "the register moves house")];
    assert!(office.ask(&extranet, "route-disable", &why, now).done);
    let text = papers::registration_message(1);
    let (answer, made) = office.seal(&office.extranet, &extranet, "registration", &text, now);
    is(&answer, "route-off", "switched off");
    assert!(!made.exists());
    assert!(office.ask(&extranet, "route-enable", &why[..1], now.plus_ms(1)).done);
    assert!(office.seal(&office.extranet, &extranet, "registration", &text, now).0.done);
}

#[test]
fn a_node_that_was_restored_opens_nothing_by_hand_that_it_may_have_opened_before() {
    let (office, now) = (Office::new(), START);
    let (extranet, intranet) = (office.extranet.open(now).unwrap(), office.intranet.open(now).unwrap());
    let good = Job::of(&intranet.station, Octets([1; 32])).run(|| now).unwrap();
    let (_, sealed) = office.seal(&office.extranet, &extranet, "registration", &papers::registration_message(1), now);
    let sealed = fs::read(sealed).unwrap();
    assert!(office.open(&office.intranet, &intranet, &sealed, now).0.done);
    drop(intranet);
    fs::remove_dir_all(office.intranet.layout().root()).unwrap();

    let later = now.plus_ms(3_600_000);
    restore(&RestorePlan {
        from: &good.file,
        key: &office.safe,
        operator: &office.operator,
        setup: &office.intranet.setup(Disk::real(), later),
        trust: &office.intranet.trust(),
        witnesses: &[],
        last_trip: 0,
    })
    .unwrap();
    let intranet = office.intranet.open(later).unwrap();
    for turn in 1..3 {
        let (again, made) = office.open(&office.intranet, &intranet, &sealed, later);
        is(&again, "may-be-duplicate", "sealed before this node was restored");
        assert!(!made.exists());
        assert_eq!(refusals(&intranet), vec![(None, Some(Reason::Duplicate)); turn], "on record, by no unproven name");
    }
    assert_eq!(names(&office.intranet.layout().opening()), Vec::<String>::new(), "nothing of it lies in the clear");
    let text = papers::registration_message(2);
    let after = later.plus_ms(120_000);
    let (_, sealed) = office.seal(&office.extranet, &extranet, "registration", &text, after);
    let (opened, made) = office.open(&office.intranet, &intranet, &fs::read(sealed).unwrap(), after);
    assert!(opened.done, "{opened:?}");
    assert_eq!(fs::read_to_string(made.join("message.xml")).unwrap(), text);
}

#[test]
fn what_was_opened_for_a_command_that_had_gone_is_given_to_the_next_that_asks_and_to_no_third() {
    let (office, mut now) = (Office::new(), START);
    let (extranet, mut intranet) = (office.extranet.open(now).unwrap(), office.intranet.open(now).unwrap());
    let text = papers::registration_message(1);
    let (_, sealed) = office.seal(&office.extranet, &extranet, "registration", &text, now);
    let sealed = fs::read(sealed).unwrap();
    let (_, first) = office.open(&office.intranet, &intranet, &sealed, now);
    assert!(first.exists());
    // While the command that asked first lives, it is nobody else's.
    let alive = fs::File::open(first.with_extension("given")).unwrap();
    alive.lock().unwrap();
    let (answer, second) = office.open(&office.intranet, &intranet, &sealed, now);
    is(&answer, "being-taken", "another command has opened this bundle");
    assert!(first.exists() && !second.exists());
    drop(alive);
    // Two days later it lies there still.
    clear_given(&office);
    now = now.plus_ms(2 * 86_400_000);
    intranet.turn(&mut now).unwrap();
    let left = |running: &Running| running.station.alarms.standing().iter().any(|row| row.0 == Alarm::ByHandLeft);
    assert!(left(&intranet), "and somebody is told");
    let (answer, second) = office.open(&office.intranet, &intranet, &sealed, now);
    assert!(answer.done && answer.details["name"] == "message.xml", "{answer:?}");
    assert_eq!(fs::read_to_string(second.join("message.xml")).unwrap(), text);
    assert!(!first.exists(), "it lies there once");
    assert_eq!(records(&intranet, Event::Delivered).len(), 1);
    // The command takes it, and then it is known and gone.
    fs::remove_dir_all(&second).unwrap();
    let (again, third) = office.open(&office.intranet, &intranet, &sealed, now);
    is(&again, "guard-refused", "duplicate");
    assert!(!third.exists());
    now = now.plus_ms(2 * 3_600_000);
    intranet.turn(&mut now).unwrap();
    assert!(!left(&intranet), "it was taken");
    // What nobody ever asks for goes as what is held does, and that is on record.
    let (_, sealed) = office.seal(&office.extranet, &extranet, "registration", &papers::registration_message(2), now);
    let (opened, left) = office.open(&office.intranet, &intranet, &fs::read(sealed).unwrap(), now);
    assert!(opened.done);
    now = now.plus_ms(u64::from(office.intranet.config.node.quarantine_days + 3) * 86_400_000);
    let before = records(&intranet, Event::RequestAnswered).len();
    intranet.turn(&mut now).unwrap();
    assert!(!left.exists());
    assert_eq!(records(&intranet, Event::RequestAnswered).len(), before + 1);
    clear_given(&office);
    assert_eq!(names(&office.intranet.layout().desk_own()), Vec::<String>::new());
}

#[test]
fn at_no_desk_is_anything_sealed_or_opened_by_hand_over_the_border_out_of_the_internal_zone() {
    let (office, mut now) = (Office::new(), START);
    let (extranet, mut intranet) = (office.extranet.open(now).unwrap(), office.intranet.open(now).unwrap());
    let alone = "by hand nothing ever leaves the internal zone";
    for text in [SURVEY, &papers::review_result(1)] {
        let (answer, made) = office.seal(&office.intranet, &intranet, "review-results", text, now);
        is(&answer, "by-hand-outward", alone);
        assert!(!made.exists());
    }
    for route in ["registration", "applications", "nowhere", "../review-results", ""] {
        let (answer, made) = office.seal(&office.intranet, &intranet, route, SURVEY, now);
        is(&answer, "no-such-route", "no route of that name begins here");
        assert!(!made.exists());
    }
    // A person may not ask at all.
    is(&office.ask(&intranet, "seal", &[("route", "review-results")], now), "role", "may not ask");
    let border: Vec<_> = records(&intranet, Event::Refused);
    assert_eq!(border.len(), 2, "each is on record, with who asked and which border");
    assert!(
        border.iter().all(|record| record.crossing == Some(OUTWARD) && record.person == Some(name("administrator")))
    );

    // At the other side: sealed by hand, under a number, and one that waits for the ferry.
    result(&office, &mut intranet, 1, &mut now);
    let spool = &intranet.station.spool;
    let entry = spool.outbox(OUTWARD).entries().unwrap().pop().unwrap();
    let mut waiting = Vec::new();
    std::io::Read::read_to_end(&mut spool.outbox(OUTWARD).content(&entry).unwrap(), &mut waiting).unwrap();
    let by_hand = FORGED.seal(&office);
    let numbered = Forged { number: (9, 9), ..FORGED }.seal(&office);
    for (id, bytes) in [by_hand, numbered, (entry.id, waiting)] {
        let (answer, made) = office.open(&office.extranet, &extranet, &bytes, now);
        is(&answer, "by-hand-outward", alone);
        assert!(!made.exists());
        unproven(&extranet, &id, Reason::NoRoute);
    }
    // Under the name of another border it comes from nobody who sends over it.
    for crossing in [Crossing::InternetToExtranet, Crossing::ExtranetToExtranet, Crossing::ExtranetToInternet, INWARD] {
        let (id, bytes) = Forged { crossing, ..FORGED }.seal(&office);
        let (answer, made) = office.open(&office.extranet, &extranet, &bytes, now);
        is(&answer, "no-route", "sealed by intranet for extranet over");
        assert!(!made.exists());
        unproven(&extranet, &id, Reason::NoRoute);
    }
    clear_given(&office);
    nothing_went_out(&office, 0);
}

#[test]
fn what_somebody_lays_into_the_outbox_is_held_and_on_no_trip() {
    let (office, mut now) = (Office::new(), START);
    let mut intranet = office.intranet.open(now).unwrap();
    result(&office, &mut intranet, 1, &mut now);
    let ours = intranet.station.spool.outbox(OUTWARD).entries().unwrap().pop().unwrap();
    let outbox = office.intranet.layout().outbox(OUTWARD);
    let (mut laid, mut files) = (Vec::new(), Vec::new());
    for number in [(0, 0), (ours.epoch, ours.sequence + 1), (ours.epoch, ours.sequence), (9, 9)] {
        let (id, bytes) = Forged { number, ..FORGED }.seal(&office);
        files.push((format!("1-{:08x}-{:016x}-{id}.bundle", number.0, number.1), bytes));
        laid.push(id);
    }
    // Anything may be called a batch of receipts.
    let id = new_id(now, keys::random());
    files.push((format!("0-00000009-0000000000000009-{id}.receipts"), SURVEY.as_bytes().to_vec()));
    laid.push(id);
    laid.sort();
    for (file, bytes) in &files {
        fs::write(outbox.join(file), bytes).unwrap();
    }
    // While the daemon is at work it looks at no file that it did not put there; its next start looks at all.
    assert_eq!(intranet.station.spool.outbox(OUTWARD).load().0, 1);
    drop(intranet);
    let intranet = office.intranet.open(now).unwrap();
    let mut told = refusals(&intranet);
    told.sort();
    assert_eq!(told, laid.iter().map(|id| (Some(*id), Some(Reason::NotAuthentic))).collect::<Vec<_>>());
    let held = names(&office.intranet.layout().quarantine());
    assert!(laid.iter().all(|id| held.iter().any(|name| name.contains(&id.to_string()))), "{held:?}");
    let trip = trips::stage(
        &intranet.station,
        &name(DISC),
        &name("sun"),
        &name(OPERATOR),
        None,
        &trips::Choice::default(),
        now,
    )
    .unwrap()
    .unwrap();
    assert_eq!(trip.bundles, 1, "what the guard released goes, and nothing else");
    assert!(trip.ids.contains(&ours.id.to_string()) && !laid.iter().any(|id| trip.ids.contains(&id.to_string())));
    // Laid again, now that a record names them: held again.
    drop(intranet);
    for (file, bytes) in &files {
        fs::write(outbox.join(file), bytes).unwrap();
    }
    let intranet = office.intranet.open(now).unwrap();
    assert_eq!(refusals(&intranet).len(), 2 * laid.len());
    drop(intranet);
    assert_eq!(refusals(&office.intranet.open(now).unwrap()).len(), 2 * laid.len(), "and then they are gone");
}

#[test]
fn what_cannot_be_read_for_a_while_is_neither_held_nor_on_a_trip_before_it_is_proven() {
    let (office, mut now) = (Office::new(), START);
    let mut intranet = office.intranet.open(now).unwrap();
    result(&office, &mut intranet, 1, &mut now);
    let id = new_id(now, keys::random());
    let file = office.intranet.layout().outbox(OUTWARD).join(format!("0-00000009-0000000000000009-{id}.receipts"));
    fs::write(&file, SURVEY.as_bytes()).unwrap();
    drop(intranet);
    // Held, and therefore named by a record; then it is laid there again.
    let intranet = office.intranet.open(now).unwrap();
    assert_eq!(refusals(&intranet).len(), 1);
    drop(intranet);
    fs::write(&file, SURVEY.as_bytes()).unwrap();
    let grave = tempfile::tempdir_in(office._folder.path()).unwrap();
    let power = Power::on(grave.path(), 7).unwrap();
    power.spoil(&file, 0).unwrap();
    let intranet = office.intranet.open_with(Disk::with_power(power.clone(), Fuse::after(u64::MAX)), now).unwrap();
    assert!(file.exists() && refusals(&intranet).len() == 1, "nobody saw what it is");
    let stage = |medium| {
        trips::stage(
            &intranet.station,
            &name(medium),
            &name("sun"),
            &name(OPERATOR),
            None,
            &trips::Choice::default(),
            now,
        )
    };
    let trip = stage(DISC).unwrap().unwrap();
    assert!(!trip.ids.contains(&id.to_string()), "{:?}", trip.ids);
    assert!(file.exists() && refusals(&intranet).len() == 1);
    // A look that ends early has proven nothing.
    let (folder, away) = (office.intranet.layout().outbox(OUTWARD), grave.path().join("away"));
    fs::rename(&folder, &away).unwrap();
    stage(DISC).unwrap_err();
    fs::rename(&away, &folder).unwrap();
    let _nothing_more_waits = stage(DISC).unwrap().unwrap_err();
    assert!(file.exists() && refusals(&intranet).len() == 1);
    power.heal();
    let _nothing_more_waits = stage(DISC).unwrap();
    assert!(!file.exists() && refusals(&intranet).len() == 2, "now it is known for what it is");
    drop(intranet);
    fs::create_dir(&file).unwrap();
    let intranet = office.intranet.open(now).unwrap();
    assert!(!file.exists() && refusals(&intranet).len() == 3, "what is no file is held like any other stranger");
}

#[test]
fn what_somebody_lays_into_a_shared_file_of_the_outbox_is_held_although_a_refusal_names_it() {
    let (office, mut now) = (Office::new(), START);
    let mut intranet = office.intranet.open(now).unwrap();
    result(&office, &mut intranet, 1, &mut now);
    let batch = new_id(now, keys::random());
    let (bundle, bytes) = Forged { number: (9, 9), ..FORGED }.seal(&office);
    let small = |id, kind, sequence, bytes: &[u8]| {
        let mut record = Record::new(Event::Refused, now);
        record.bundle = Some(id);
        intranet.station.spool.record(record, protocol::ledger::Local::none()).unwrap();
        spool::Small { id, kind, priority: Priority::Normal, epoch: 9, sequence, bytes: bytes.to_vec() }
    };
    let laid = [
        small(bundle, spool::EntryKind::Bundle, 9, &bytes),
        small(batch, spool::EntryKind::Receipts, 10, SURVEY.as_bytes()),
    ];
    intranet.station.spool.outbox(OUTWARD).stage(&laid).unwrap();
    drop(intranet);
    let intranet = office.intranet.open(now).unwrap();
    assert_eq!(intranet.station.spool.outbox(OUTWARD).load().0, 1, "our own stays");
    let held = names(&office.intranet.layout().quarantine());
    assert_eq!(held.len(), 2, "{held:?}");
    assert!([bundle, batch].iter().all(|id| held.iter().any(|name| name.contains(&id.to_string()))), "{held:?}");
    let trip = trips::stage(
        &intranet.station,
        &name(DISC),
        &name("sun"),
        &name(OPERATOR),
        None,
        &trips::Choice::default(),
        now,
    )
    .unwrap()
    .unwrap();
    assert_eq!(trip.bundles, 1);
    drop(intranet);
    let refused = |running: &Running| records(running, Event::Refused).len();
    let before = refused(&office.intranet.open(now).unwrap());
    assert_eq!(refused(&office.intranet.open(now).unwrap()), before, "and then they are gone");
}

#[test]
fn no_trip_takes_along_what_was_sealed_by_hand() {
    let (office, mut now) = (Office::new(), START);
    let mut intranet = office.intranet.open(now).unwrap();
    let mut extranet = office.extranet.open(now).unwrap();
    result(&office, &mut intranet, 1, &mut now);
    trips::stage(&intranet.station, &name(DISC), &name("sun"), &name(OPERATOR), None, &trips::Choice::default(), now)
        .unwrap()
        .unwrap();
    let desk = office.intranet.layout().desk_trips().join("1");
    let waybill = fs::read(desk.join("waybill")).unwrap();
    let bill: Waybill = Signed::parse::<Waybill>(&waybill).unwrap().read_unverified().unwrap();
    let true_line = bill.lines.iter().find(|line| line.kind == LineKind::Bundle).unwrap();
    let all: Vec<(String, Vec<u8>)> = names(&desk)
        .into_iter()
        .filter(|file| file.ends_with(".bundle") || file.ends_with(".receipts"))
        .map(|file| (file.clone(), fs::read(desk.join(&file)).unwrap()))
        .collect();
    let number = (true_line.epoch, true_line.sequence + 1);
    let (id, forged) = Forged { number, ..FORGED }.seal(&office);
    let refused = |extranet: &Running| records(extranet, Event::TripRefused).len();

    // In the place of what the waybill names, on a trip that two people approved.
    let is_bundle = |file: &str| file == protocol::waybill::line_file_name(true_line);
    let other = |(file, bytes): &(String, Vec<u8>)| {
        (file.clone(), if is_bundle(file) { forged.clone() } else { bytes.clone() })
    };
    office.lay(1, &waybill, &office.both(), &all.iter().map(other).collect::<Vec<_>>());
    is(&office.import(&extranet, 1, now), "not-authentic", "a file differs from the waybill");
    assert_eq!(refused(&extranet), 1);

    // Under a waybill made by hand: signed by a person; by the node, approved by nobody, by the exporter, by strangers.
    let (size, digest) = tree::root_of_reader(Suite::Std, &mut &forged[..]).unwrap();
    let line = WaybillLine { kind: LineKind::Bundle, id, size, digest, epoch: number.0, sequence: number.1 };
    let own = Waybill { lines: vec![line], ..bill.clone() };
    let files = [(format!("{id}.bundle"), forged.clone())];
    let by_person = Signed::make(&office.operator, &own).to_bytes();
    office.lay(1, &by_person, &office.both(), &files);
    now = now.plus_ms(1);
    is(&office.import(&extranet, 1, now), "not-authentic", "the waybill does not verify");
    let stranger = SigningKey::generate(Suite::Std);
    let own = Signed::make_by(&office.intranet.keyring().signing, &own).unwrap().to_bytes();
    let few: [&[(&str, &SigningKey)]; 4] = [
        &[],
        &[(APPROVERS[0], &office.approvers[0])],
        &[(APPROVERS[0], &office.approvers[0]), (OPERATOR, &office.operator)],
        &[(APPROVERS[0], &stranger), (APPROVERS[1], &stranger)],
    ];
    for approvals in few {
        office.lay(1, &own, approvals, &files);
        now = now.plus_ms(1);
        is(&office.import(&extranet, 1, now), "approvals-missing", "too few valid countersignatures");
    }
    // Approvals are of one waybill: those of the true one do not count for it.
    office.lay(1, &waybill, &office.both(), &files);
    fs::write(office.incoming(1).join("waybill"), &own).unwrap();
    now = now.plus_ms(1);
    is(&office.import(&extranet, 1, now), "approvals-missing", "too few valid countersignatures");
    // No waybill at all, under a number of its own.
    fs::create_dir_all(office.incoming(2)).unwrap();
    fs::write(office.incoming(2).join(format!("{id}.bundle")), &forged).unwrap();
    now = now.plus_ms(1);
    is(&office.import(&extranet, 2, now), "file-missing", "run ferry import again");
    assert_eq!(refused(&extranet), 8, "each of them is on record");

    // Beside what an approved trip names: the trip comes in, that does not.
    office.lay(1, &waybill, &office.both(), &[all, files.into()].concat());
    now = now.plus_ms(1);
    assert!(office.import(&extranet, 1, now).done);
    extranet.turn(&mut now).unwrap();
    assert_eq!(records(&extranet, Event::Arrived).len(), 1);
    nothing_went_out(&office, 1);
}

/// Whoever writes as the extranet's daemon, and has the internal zone's keys: the guard of the border still looks.
#[test]
fn what_is_laid_straight_into_the_arrivals_meets_the_border_and_its_guard() {
    let (office, mut now) = (Office::new(), START);
    let mut extranet = office.extranet.open(now).unwrap();
    let lay = |place: &Path, (id, bytes): &(BundleId, Vec<u8>)| {
        fs::write(place.join(format!("{id}.bundle")), bytes).unwrap();
        *id
    };
    let complete = office.extranet.layout().complete(OUTWARD);
    let numbered = Forged { number: (9, 1), ..FORGED };
    let cases = [
        ("no number", FORGED, Reason::NotAuthentic),
        ("coordinates", numbered, Reason::Incident),
        (
            "a route that does not lead here",
            Forged { route: "registration", number: (9, 2), ..FORGED },
            Reason::NoRoute,
        ),
        ("a route of nobody", Forged { route: "shortcut", number: (9, 3), ..FORGED }, Reason::NoRoute),
        (
            "a type that the route does not carry",
            Forged { kind: "application", number: (9, 4), ..FORGED },
            Reason::NoRoute,
        ),
        (
            "another border",
            Forged { crossing: Crossing::InternetToExtranet, number: (9, 5), ..FORGED },
            Reason::NoRoute,
        ),
    ];
    for (what, forged, reason) in cases {
        let sealed = forged.seal(&office);
        let id = lay(&complete, &sealed);
        extranet.turn(&mut now).unwrap();
        assert_eq!(
            refusals(&extranet).into_iter().find(|(bundle, _)| *bundle == Some(id)),
            Some((Some(id), Some(reason))),
            "{what}"
        );
        nothing_went_out(&office, 0);
    }
    // Where another carrier's arrivals lie it is of the wrong border.
    let internet = office.extranet.layout().complete(Crossing::InternetToExtranet);
    let id = lay(&internet, &Forged { number: (9, 6), ..FORGED }.seal(&office));
    extranet.turn(&mut now).unwrap();
    assert!(refusals(&extranet).contains(&(Some(id), Some(Reason::NoRoute))));
    nothing_went_out(&office, 0);
}
