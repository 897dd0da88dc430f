//! A node loses its disk. What was in the last backup goes on; what came after it is named; no number is used again and
//! nothing is delivered twice.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a state that does not come back ends the test")]
#![allow(clippy::disallowed_methods, reason = "a test makes and removes files as an app or a person would")]

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use protocol::backup::BackupReader;
use protocol::keys::{OpeningKey, SigningKey};
use protocol::ledger::{Event, Local, Record};
use protocol::parcel::{Label, VERSION};
use protocol::request::Request;
use protocol::{Crossing, ParcelId, Signed, Suite, Timestamp, Zone};
use spool::{Disk, Filter, Fuse, Power, SpoolError, State};
use station::backup::{Good, Job};
use station::restore::{RestoreError, RestorePlan, Restored, restore};
use tests::twins::{Member, Running, START, found, name, names};

const INWARD: Crossing = Crossing::InternetToExtranet;
const HOUR_MS: u64 = 3_600_000;

struct Office {
    _folder: tempfile::TempDir,
    internet: Member,
    extranet: Member,
    operator: SigningKey,
    safe: OpeningKey,
}

fn office() -> Office {
    let folder = tempfile::tempdir().unwrap();
    let ([internet, extranet], operator, safe) = found(folder.path(), [Zone::Internet, Zone::Extranet]);
    Office { _folder: folder, internet, extranet, operator, safe }
}

fn back_up(running: &Running, now: Timestamp) -> Good {
    Job::of(&running.station, protocol::der_types::Octets([1; 32])).run(|| now).unwrap()
}

fn restore_from(
    office: &Office,
    member: &Member,
    from: &Path,
    witnesses: &[PathBuf],
    disk: Disk,
    now: Timestamp,
) -> Result<Restored, RestoreError> {
    restore(&RestorePlan {
        from,
        key: &office.safe,
        operator: &office.operator,
        setup: &member.setup(disk, now),
        trust: &member.trust(),
        witnesses,
        last_trip: 0,
    })
}

/// Both nodes work, and everything that can cross crosses.
fn together(from: &mut Running, to: &mut Running, now: &mut Timestamp) {
    for _ in 0..3 {
        from.turn(now).unwrap();
        from.carry_to(to);
        to.turn(now).unwrap();
        to.carry_to(from);
    }
    from.turn(now).unwrap();
}

/// Both ends, where one application was delivered and another came and was not looked at yet.
fn one_delivered_one_arrived(internet: &Member, extranet: &Member, now: &mut Timestamp) -> (Running, Running) {
    let (mut from, mut to) = (internet.open(*now).unwrap(), extranet.open(*now).unwrap());
    internet.drop_application(1);
    together(&mut from, &mut to, now);
    internet.drop_application(2);
    from.turn(now).unwrap();
    from.carry_to(&to);
    (from, to)
}

/// The app takes what stands in the outlet.
fn pick_up(member: &Member, picked: &mut Vec<String>) {
    let outlet = member.layout().outlet(&name("applications"));
    for file in names(&outlet) {
        fs::remove_dir_all(outlet.join(&file)).unwrap();
        picked.push(file);
    }
}

fn wipe(member: &Member) {
    if member.layout().root().exists() {
        fs::remove_dir_all(member.layout().root()).unwrap();
    }
}

fn in_state(running: &Running, state: State) -> Vec<ParcelId> {
    let filter = Filter { state: Some(state), ..Filter::default() };
    running.station.spool.parcels(&filter, 100).unwrap().into_iter().map(|state| state.parcel).collect()
}

/// The node's own command line asks at its desk about a parcel.
fn ask(member: &Member, running: &Running, action: &str, parcel: &ParcelId, now: Timestamp) -> spool::Answer {
    ask_with(member, running, action, &[("parcel", parcel.to_string())], now)
}

fn ask_with(
    member: &Member,
    running: &Running,
    action: &str,
    arguments: &[(&str, String)],
    now: Timestamp,
) -> spool::Answer {
    let request = Request {
        version: VERSION,
        id: protocol::der_types::Octets(protocol::keys::random()),
        node: member.config.node.name.clone(),
        action: name(action),
        person: name("administrator"),
        at: now,
        arguments: arguments.iter().map(|(what, value)| Label { name: name(what), value: value.clone() }).collect(),
    };
    let layout = member.layout();
    let signed = Signed::make_by(&member.keyring().signing, &request).unwrap().to_bytes();
    fs::write(layout.desk_own().join(format!("{}.req", request.id)), signed).unwrap();
    station::desk::step(&running.station, now).unwrap();
    serde_json::from_slice(&fs::read(layout.desk_answers().join(format!("{}.json", request.id))).unwrap()).unwrap()
}

/// Every number that the ledgers of a node ever gave to a bundle or batch, old logs included.
fn numbers_used(member: &Member) -> Vec<(Crossing, u64, u64)> {
    let ledger = member.layout().ledger();
    let mut logs: Vec<PathBuf> =
        names(&ledger.join("former")).iter().map(|log| ledger.join("former").join(log)).collect();
    logs.push(ledger);
    let mut used = Vec::new();
    for dir in logs {
        for one in spool::segment::list(&dir).unwrap() {
            let bytes = spool::segment::load(&one.path).unwrap();
            for found in spool::segment::Frames::new(&bytes, one.first) {
                let spool::segment::Found::Record(stored) = found else { continue };
                let record = stored.record;
                if matches!(record.event, Event::Accepted | Event::Relayed | Event::ReceiptsSent) {
                    used.push((record.crossing.unwrap(), record.epoch.unwrap(), record.sequence.unwrap()));
                }
            }
        }
    }
    used
}

#[test]
fn a_receiver_put_back_delivers_nothing_twice_names_what_it_lost_and_goes_on() {
    let office = office();
    let (internet, extranet) = (&office.internet, &office.extranet);
    let mut now = START;
    let mut picked = Vec::new();
    let (mut from, mut to) = (internet.open(now).unwrap(), extranet.open(now).unwrap());
    internet.drop_application(1);
    together(&mut from, &mut to, &mut now);
    pick_up(extranet, &mut picked);
    // The second has arrived and nobody has looked at it when the backup is made.
    internet.drop_application(2);
    from.turn(&mut now).unwrap();
    from.carry_to(&to);
    let good = back_up(&to, now);
    assert_eq!(names(&extranet.root.join("backups")), [good.file.file_name().unwrap().to_string_lossy()]);
    let before = to.station.spool.epoch();

    // After it: the second and a third are delivered and receipted; a fourth is sealed and has not left.
    internet.drop_application(3);
    together(&mut from, &mut to, &mut now);
    pick_up(extranet, &mut picked);
    assert_eq!(picked, ["case-1", "case-2", "case-3"]);
    internet.drop_application(4);
    from.turn(&mut now).unwrap();
    let last_epoch = to.station.spool.epoch();
    let mut used: BTreeSet<_> = numbers_used(extranet).into_iter().collect();
    drop(to);
    let to = extranet.open(now).unwrap();
    used.extend(numbers_used(extranet));
    let lost_epoch = to.station.spool.epoch();
    assert!(lost_epoch > last_epoch);
    drop(to);

    // The disk is gone. The neighbour's evidence tells of the second and the third.
    wipe(extranet);
    now = now.plus_ms(HOUR_MS);
    let restored =
        restore_from(&office, extranet, &good.file, &[internet.layout().evidence()], Disk::real(), now).unwrap();
    assert_eq!(restored.backup.head.ledger.size, good.records);
    let delivered = in_state(&from, State::Delivered);
    assert_eq!(restored.lost.len(), 2);
    assert!(restored.lost.iter().all(|record| delivered.contains(&record.parcel.unwrap())));
    assert!(restored.told.head.size > good.records, "the neighbour knows how far the ledger had come");

    let mut to = extranet.open(now).unwrap();
    assert!(to.station.spool.epoch() > lost_epoch && to.station.spool.epoch() > before);
    assert_eq!(to.station.spool.restored().unwrap().at, now);
    let mut lost: Vec<_> = restored.lost.iter().filter_map(|record| record.parcel).collect();
    lost.sort_by(|one, other| other.cmp(one));
    assert_eq!(in_state(&to, State::Lost), lost);
    // The second is in the backup as arrived, and a paper says that it was delivered; the fourth comes now and was
    // sealed before: nobody here can know.
    together(&mut from, &mut to, &mut now);
    pick_up(extranet, &mut picked);
    assert_eq!(picked.len(), 3, "nothing was delivered without a word: {picked:?}");
    let waiting = in_state(&to, State::MayBeDuplicate);
    assert_eq!(waiting.len(), 1);
    assert!(names(&extranet.layout().complete(INWARD)).is_empty(), "the second is known by the paper");
    assert!(to.station.alarms.standing().iter().any(|row| row.0.code() == "may-be-duplicate"));
    // They wait across a restart.
    drop(to);
    let mut to = extranet.open(now).unwrap();
    together(&mut from, &mut to, &mut now);
    assert_eq!(in_state(&to, State::MayBeDuplicate), waiting);

    // The operator looks: it was not delivered.
    let fourth = waiting.first().unwrap();
    // The word came on record once before, and then the disk moved nothing.
    let mut said = Record::new(Event::DuplicateAdmitted, now);
    said.parcel = Some(*fourth);
    to.station.spool.record(said, Local::none()).unwrap();
    assert!(ask(extranet, &to, "duplicate-admit", fourth, now).done);
    assert_eq!(ask(extranet, &to, "duplicate-close", fourth, now).code, "not-waiting");
    together(&mut from, &mut to, &mut now);
    pick_up(extranet, &mut picked);
    assert_eq!(picked, ["case-1", "case-2", "case-3", "case-4"]);
    assert!(names(&extranet.layout().checked()).is_empty());

    // What is sealed from now on flows by itself, and neighbours agree: nothing waits, nothing is missing.
    internet.drop_application(5);
    together(&mut from, &mut to, &mut now);
    pick_up(extranet, &mut picked);
    assert_eq!(picked.last().map(String::as_str), Some("case-5"));
    assert_eq!(from.station.spool.outbox(INWARD).load().0, 0, "everything is receipted");
    assert_eq!(to.station.spool.gaps(&name("internet"), INWARD), [], "what was lost closes its gap by the paper");
    let counts = to.station.spool.counts().unwrap();
    to.station.spool.rebuild_index().unwrap();
    assert_eq!(to.station.spool.counts().unwrap(), counts, "the index is made from the old log and the new one");
    assert!(to.station.spool.scrub().unwrap().unreadable.is_empty());
    // The old log's numbers are in the lost process's ledger too; what is new is new to both.
    let now_used = numbers_used(extranet);
    assert_eq!(now_used.iter().collect::<BTreeSet<_>>().len(), now_used.len(), "no number stands twice");
    assert!(now_used.iter().filter(|number| !used.contains(*number)).all(|number| number.1 > lost_epoch));
}

#[test]
fn a_sender_put_back_sends_what_its_outbox_held_and_its_neighbour_knows_it_again() {
    let office = office();
    let (internet, extranet) = (&office.internet, &office.extranet);
    let mut now = START;
    let mut picked = Vec::new();
    let (mut from, mut to) = (internet.open(now).unwrap(), extranet.open(now).unwrap());
    internet.drop_application(1);
    from.turn(&mut now).unwrap();
    assert_eq!(from.station.spool.outbox(INWARD).load().0, 1);
    let good = back_up(&from, now);
    internet.drop_application(2);
    together(&mut from, &mut to, &mut now);
    pick_up(extranet, &mut picked);
    assert_eq!(picked, ["case-1", "case-2"]);
    let used: BTreeSet<_> = numbers_used(internet).into_iter().collect();
    let epoch = from.station.spool.epoch();
    drop(from);

    let rules = fs::read(internet.layout().rules_in_force()).unwrap();
    wipe(internet);
    now = now.plus_ms(HOUR_MS);
    // Without any paper it is put back too; a late receipt then names what was lost.
    let restored = restore_from(&office, internet, &good.file, &[], Disk::real(), now).unwrap();
    assert!(restored.lost.is_empty());
    assert_eq!(fs::read(internet.layout().rules_in_force()).unwrap(), rules, "it takes no older rules than before");
    let mut from = internet.open(now).unwrap();
    assert!(from.station.spool.epoch() > epoch);
    assert_eq!(from.station.spool.outbox(INWARD).load().0, 1, "the first waits again");
    together(&mut from, &mut to, &mut now);
    pick_up(extranet, &mut picked);
    assert_eq!(picked, ["case-1", "case-2"], "the neighbour knew it again");
    assert_eq!(from.station.spool.outbox(INWARD).load().0, 0, "and sent its receipts once more");
    assert_eq!(in_state(&from, State::Delivered).len(), 1);

    internet.drop_application(3);
    together(&mut from, &mut to, &mut now);
    pick_up(extranet, &mut picked);
    assert_eq!(picked, ["case-1", "case-2", "case-3"]);
    let new: Vec<_> = numbers_used(internet).into_iter().filter(|number| !used.contains(number)).collect();
    assert!(!new.is_empty() && new.iter().all(|number| number.1 > epoch));
    // With the neighbour's evidence the second would have been named at once.
    drop(from);
    fs::rename(internet.layout().root(), internet.root.join("aside")).unwrap();
    let restored =
        restore_from(&office, internet, &good.file, &[extranet.layout().evidence()], Disk::real(), now).unwrap();
    assert_eq!(restored.lost.len(), 2, "the second and the third");
    assert!(restored.log > epoch && restored.log > START.seconds() + HOUR_MS / 1000);
}

#[test]
fn without_a_paper_what_the_lost_disk_had_taken_is_a_gap_that_a_person_closes() {
    let office = office();
    let (internet, extranet) = (&office.internet, &office.extranet);
    let mut now = START;
    let (mut from, mut to) = (internet.open(now).unwrap(), extranet.open(now).unwrap());
    internet.drop_application(1);
    together(&mut from, &mut to, &mut now);
    let good = back_up(&to, now);
    internet.drop_application(2);
    together(&mut from, &mut to, &mut now);
    drop(to);
    wipe(extranet);
    now = now.plus_ms(HOUR_MS);
    restore_from(&office, extranet, &good.file, &[], Disk::real(), now).unwrap();
    let mut to = extranet.open(now).unwrap();
    now = now.plus_ms(HOUR_MS);
    internet.drop_application(3);
    together(&mut from, &mut to, &mut now);
    assert_eq!(extranet.outlet("applications"), ["case-3"]);
    let gaps = to.station.spool.gaps(&name("internet"), INWARD);
    let (epoch, range) = (gaps[0].epoch, gaps[0].missing[0]);
    let close = |running: &Running, to: u64| {
        let said = [
            ("peer", "internet".to_owned()),
            ("crossing", INWARD.to_string()),
            ("epoch", epoch.to_string()),
            ("from", "1".to_owned()),
            ("to", to.to_string()),
        ];
        ask_with(extranet, running, "gap-close", &said, now)
    };
    assert_eq!(close(&to, range.from - 1).code, "no-such-gap", "what came is not closed over");
    assert!(close(&to, 1_000).done);
    assert_eq!(to.station.spool.gaps(&name("internet"), INWARD), []);
    let own = ask_with(internet, &from, "gap-close", &[("peer", "extranet".to_owned())], now);
    assert_eq!(own.code, "not-restored");
}

#[test]
fn a_backup_holds_every_queue_opens_as_a_plain_archive_and_no_private_key_is_in_it() {
    let office = office();
    let (internet, extranet) = (&office.internet, &office.extranet);
    let mut now = START;
    let (mut from, mut to) = (internet.open(now).unwrap(), extranet.open(now).unwrap());
    internet.drop_application(1);
    together(&mut from, &mut to, &mut now);
    // A careless administrator left a private key among the cards.
    let key = fs::read(extranet.config.node.keys.join("extranet.sign.key.pem")).unwrap();
    let (trust, left_behind) = (extranet.trust(), extranet.config.node.trust.join("left-behind.pem"));
    fs::write(&left_behind, &key).unwrap();
    let good = back_up(&to, now);
    fs::remove_file(&left_behind).unwrap();

    let file = fs::File::open(&good.file).unwrap();
    let mut reader = BackupReader::begin(file, &trust, &office.safe).unwrap();
    let mut paths = BTreeSet::new();
    for entry in tar::Archive::new(&mut reader).entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        assert!(!content.windows(11).any(|window| window == b"PRIVATE KEY"), "{:?}", entry.path());
        paths.insert(entry.path().unwrap().to_string_lossy().into_owned());
    }
    reader.finish().unwrap();
    for wanted in [
        "ledger/checkpoint",
        "ledger/0000000000000000.seg",
        "ledger/level-0",
        "config/trust/operator.pub.pem",
        "rules.json",
    ] {
        assert!(paths.contains(wanted), "{wanted} is missing: {paths:?}");
    }
    assert!(paths.iter().any(|path| path.starts_with("evidence/2026/11/22/") && path.ends_with(".proof")));
    assert!(!paths.iter().any(|path| path.starts_with("index") || path.contains("left-behind")));
    assert!(!extranet.layout().snapshot().exists(), "second names are taken away");
    // An old one goes, the newest stays whatever the clock says.
    let later = now.plus_ms(40 * 24 * HOUR_MS);
    let newer = back_up(&to, later);
    assert_eq!(names(&extranet.root.join("backups")), [newer.file.file_name().unwrap().to_string_lossy()]);
    let state = station::backup::read_state(&to.station.spool);
    assert_eq!((state.state.as_str(), state.good.unwrap()), ("done", newer));
}

#[test]
fn a_backup_that_is_damaged_cut_or_for_another_key_is_refused_before_anything_is_touched() {
    let office = office();
    let (internet, extranet) = (&office.internet, &office.extranet);
    let mut now = START;
    let (mut from, mut to) = (internet.open(now).unwrap(), extranet.open(now).unwrap());
    internet.drop_application(1);
    together(&mut from, &mut to, &mut now);
    let good = back_up(&to, now);
    // Where a state stands it is refused, whatever else is right.
    drop(to);
    match restore_from(&office, extranet, &good.file, &[], Disk::real(), now) {
        Err(RestoreError::Spool(SpoolError::NotEmpty { path })) => {
            assert!(path.starts_with(extranet.layout().ledger()))
        }
        other => panic!("{:?}", other.map(|restored| restored.files)),
    }
    assert!(extranet.open(now).is_ok(), "and stands as before");

    wipe(extranet);
    let bytes = fs::read(&good.file).unwrap();
    let broken = extranet.root.join("broken");
    for at in [9, 200, bytes.len() / 3, bytes.len() / 2, bytes.len() - 80] {
        let mut flipped = bytes.clone();
        flipped[at] ^= 4;
        fs::write(&broken, &flipped).unwrap();
        assert!(restore_from(&office, extranet, &broken, &[], Disk::real(), now).is_err(), "byte {at} flipped");
        fs::write(&broken, &bytes[..at]).unwrap();
        assert!(restore_from(&office, extranet, &broken, &[], Disk::real(), now).is_err(), "cut at {at}");
    }
    let stranger = Office { safe: OpeningKey::generate(Suite::Std), ..self::office() };
    let other_key = Office { safe: stranger.safe.clone(), operator: office.operator.clone(), ..stranger };
    let refused = restore_from(&other_key, extranet, &good.file, &[], Disk::real(), now);
    assert!(matches!(refused, Err(RestoreError::Backup { .. })));
    let nobody = Office { safe: office.safe.clone(), operator: SigningKey::generate(Suite::Std), ..self::office() };
    let refused = restore_from(&nobody, extranet, &good.file, &[], Disk::real(), now);
    assert!(matches!(refused, Err(RestoreError::NoOperator { .. })));
    let refused = restore_from(&office, internet, &good.file, &[], Disk::real(), now);
    assert!(matches!(refused, Err(RestoreError::OtherNode { .. })));
    assert!(!extranet.layout().root().exists(), "nothing was touched");
    restore_from(&office, extranet, &good.file, &[], Disk::real(), now).unwrap();
}

#[test]
fn a_node_that_dies_while_it_makes_a_backup_starts_again_and_nothing_half_made_counts() {
    let office = office();
    let (internet, extranet) = (&office.internet, &office.extranet);
    let mut now = START;
    let (mut from, to) = one_delivered_one_arrived(internet, extranet, &mut now);
    drop(to);
    let folder = extranet.root.join("backups");
    let mut deaths = 0;
    for effects in (0..).step_by(4) {
        now = now.plus_ms(2_000);
        let fuse = Fuse::after(effects);
        let Ok(to) = extranet.open_until(&fuse, now) else { continue };
        let made = Job::of(&to.station, protocol::der_types::Octets([3; 32])).run(|| now);
        drop(to);
        let counted = names(&folder).into_iter().filter(|file| file.ends_with(".trilock-backup"));
        for file in counted {
            let mut input = fs::File::open(folder.join(&file)).unwrap();
            protocol::backup::verify(&mut input, &extranet.trust()).unwrap();
            fs::remove_file(folder.join(file)).unwrap();
        }
        if !fuse.burnt() {
            made.unwrap();
            break;
        }
        deaths += 1;
    }
    assert!(deaths > 8, "{deaths} deaths");
    let mut to = extranet.open(now).unwrap();
    assert!(!extranet.layout().snapshot().exists());
    together(&mut from, &mut to, &mut now);
    assert_eq!(extranet.outlet("applications"), ["case-1", "case-2"]);
    back_up(&to, now);
    assert!(!names(&folder).iter().any(|file| file.ends_with(".part")), "what was half made is cleared away");
}

#[test]
fn a_restore_that_dies_after_any_effect_keeps_the_daemon_away_and_is_simply_run_again() {
    let office = office();
    let (internet, extranet) = (&office.internet, &office.extranet);
    let mut now = START;
    let (mut from, to) = one_delivered_one_arrived(internet, extranet, &mut now);
    let good = back_up(&to, now);
    drop(to);
    wipe(extranet);
    now = now.plus_ms(HOUR_MS);
    let mut deaths = 0;
    let stride = if std::env::var_os("TRILOCK_SOAK").is_some() { 1 } else { 7 };
    for effects in (0..).step_by(stride) {
        let fuse = Fuse::after(effects);
        let restored = restore_from(&office, extranet, &good.file, &[], Disk::with_fuse(fuse.clone()), now);
        if !fuse.burnt() {
            restored.unwrap();
            break;
        }
        deaths += 1;
        // The last effects come after the marker went, and are synced by whoever opens it.
        if extranet.layout().restoring().exists() {
            assert!(matches!(
                extranet.open(now),
                Err(station::station::StationError::Spool(SpoolError::Unfinished { .. }))
            ));
        }
        if effects % 5 == 0 {
            wipe(extranet);
        } else if !extranet.layout().restoring().exists() && extranet.layout().ledger().join("former").exists() {
            let again = restore_from(&office, extranet, &good.file, &[], Disk::real(), now);
            assert!(matches!(again, Err(RestoreError::Spool(SpoolError::NotEmpty { .. }))), "it had come to its end");
            wipe(extranet);
        }
    }
    assert!(deaths > 15, "{deaths} deaths");
    let mut to = extranet.open(now).unwrap();
    assert_eq!(in_state(&to, State::Delivered).len(), 1);
    // Without a paper it has to wait; the operator knows that it was delivered, and it is not delivered again.
    to.turn(&mut now).unwrap();
    let waiting = in_state(&to, State::MayBeDuplicate);
    assert_eq!(waiting.len(), 1);
    assert!(ask(extranet, &to, "duplicate-close", &waiting[0], now).done);
    together(&mut from, &mut to, &mut now);
    assert_eq!(in_state(&to, State::Duplicate), waiting);
    // The first stood in the outlet; whether its app took it since, a person must find out.
    assert_eq!(extranet.outlet("applications"), Vec::<String>::new());
    assert_eq!(names(&extranet.layout().restored().join("outlet/applications")), ["case-1"]);
    assert!(names(&extranet.layout().checked()).is_empty());
    assert_eq!(from.station.spool.outbox(INWARD).load().0, 0, "its sender is told");
}

#[test]
fn a_backup_made_while_parcels_flow_loses_none_that_was_accepted_before_it() {
    const CASES: u32 = 60;
    let office = office();
    let (internet, extranet) = (&office.internet, &office.extranet);
    let mut now = station::clock::now();
    let from = internet.open(now).unwrap();
    let mut to = extranet.open(now).unwrap();
    // Its stages run in threads of their own, as in a daemon; the neighbour is stepped here.
    let Running { station, .. } = from;
    let station = std::sync::Arc::new(station);
    let stop = station::service::Stop::default();
    let mut threads = Vec::new();
    station::service::start(&station, &stop, &station::life::Life::default(), &mut threads).unwrap();
    let mut backup: Option<std::thread::JoinHandle<Good>> = None;
    let mut dropped_before = 0;
    let ends = std::time::Instant::now() + std::time::Duration::from_secs(240);
    let mut dropped = 0;
    let flows = |to: &mut Running, now: &mut Timestamp| {
        tests::twins::carry(&station.spool, &to.station.spool, INWARD);
        to.turn(now).unwrap();
        tests::twins::carry(&to.station.spool, &station.spool, INWARD.back());
    };
    while in_state(&to, State::Delivered).len() < CASES as usize {
        assert!(std::time::Instant::now() < ends, "{} of {dropped} arrived", in_state(&to, State::Delivered).len());
        for _ in 0..3 {
            if dropped < CASES {
                dropped += 1;
                internet.drop_application(dropped);
            }
        }
        if dropped >= CASES / 3 && backup.is_none() {
            dropped_before = dropped;
            let job = Job::of(&station, protocol::der_types::Octets([2; 32]));
            backup = Some(std::thread::spawn(move || job.run(station::clock::now).unwrap()));
        }
        flows(&mut to, &mut now);
    }
    let good = backup.unwrap().join().unwrap();
    stop.set();
    station.spool.bell().ring();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    drop(station);

    // The sender is put back to the moment in the middle, its neighbour has everything.
    let delivered = extranet.outlet("applications");
    wipe(internet);
    let now = &mut station::clock::now();
    let restored =
        restore_from(&office, internet, &good.file, &[extranet.layout().evidence()], Disk::real(), *now).unwrap();
    let mut from = internet.open(*now).unwrap();
    together(&mut from, &mut to, now);
    assert_eq!(extranet.outlet("applications"), delivered, "nothing came twice");
    let spool = &from.station.spool;
    assert_eq!(spool.outbox(INWARD).entries().unwrap(), []);
    // Every one of the sixty is known: by the backup, or by its neighbour's paper.
    let states = spool.parcels(&Filter::default(), 1_000).unwrap();
    let odd: Vec<_> =
        states.iter().filter(|s| !matches!(s.state, State::Delivered | State::Lost | State::Sent)).collect();
    assert!(odd.is_empty(), "{odd:?}");
    assert_eq!(states.len(), CASES as usize);
    assert!(restored.lost.len() < CASES as usize, "some were in the backup, {dropped_before} were dropped by then");
}

/// A node with a few hundred records, on a machine whose disk begins to die: one page of the ledger's segment, and the
/// first of so many levels of its tree.
fn on_a_dying_disk(member: &Member, now: Timestamp) -> (Running, Power) {
    let grave = member.root.join("grave");
    fs::create_dir_all(&grave).unwrap();
    let power = Power::on(&grave, 1).unwrap();
    let running = member.open_with(Disk::with_power(power.clone(), Fuse::after(u64::MAX)), now).unwrap();
    for n in 0..400 {
        running.station.spool.record(Record::new(Event::ConfigLoaded, now.plus_ms(n)), Local::none()).unwrap();
    }
    (running, power)
}

fn spoil(member: &Member, power: &Power, levels: std::ops::Range<u32>) {
    let ledger = member.layout().ledger();
    power.spoil(&ledger.join("0000000000000000.seg"), 4096).unwrap();
    levels.for_each(|level| power.spoil(&ledger.join(format!("level-{level}")), 0).unwrap());
}

fn has_failed(running: &Running) -> bool {
    running.station.alarms.standing().iter().any(|row| row.0.code() == "backup-failed")
}

#[test]
fn a_backup_of_a_ledger_that_lost_records_and_their_leaves_is_restored_and_says_which() {
    let office = office();
    let extranet = &office.extranet;
    let (to, power) = on_a_dying_disk(extranet, START);
    let whole = back_up(&to, START);
    assert_eq!((whole.spoiled, whole.records_lost, whole.not_restorable.clone()), (0, 0, None));
    assert!(!has_failed(&to));
    // As an earlier version left word of it.
    let told = extranet.layout().status().join("backup.json");
    let mut word: serde_json::Value = serde_json::from_slice(&fs::read(&told).unwrap()).unwrap();
    assert!(word.as_object_mut().unwrap().remove("whole").is_some());
    fs::write(&told, word.to_string()).unwrap();
    spoil(extranet, &power, 0..1);
    // So late that an older one would go, were this one whole.
    let now = START.plus_ms(40 * 24 * HOUR_MS);
    let good = back_up(&to, now);
    assert!(good.spoiled >= 2 && good.records_lost > 100 && good.not_restorable.is_none(), "{good:?}");
    assert!(has_failed(&to) && whole.file.exists());
    // A disk that stays so must not keep every backup; the whole one stays.
    let far = now.plus_ms(40 * 24 * HOUR_MS);
    let next = back_up(&to, far);
    assert!(next.spoiled > 0 && next.file.exists() && whole.file.exists() && !good.file.exists());
    let good = next;
    drop(to);
    wipe(extranet);
    let restored = restore_from(&office, extranet, &good.file, &[], Disk::real(), now).unwrap();
    let (old, lost) = (restored.backup.head.ledger, &restored.records_lost);
    assert_eq!(old.size, good.records);
    assert_eq!(lost.iter().map(|range| range.to - range.from + 1).sum::<u64>(), good.records_lost);
    let told = restored.to_json(now);
    assert_eq!(told["ledger_records_lost"], good.records_lost);
    assert!(told["ledger_lost"].as_str().unwrap().contains(&lost[0].from.to_string()), "{told}");
    // The log before takes no record any more; the new one says what was lost of it, and none of its own.
    let to = extranet.open(now).unwrap();
    let records = to.station.spool.records(0, 100).unwrap();
    let said: Vec<_> = records.iter().filter(|stored| stored.record.event == Event::LedgerDamaged).collect();
    let ranges = said.iter().map(|stored| (stored.record.sequence.unwrap(), stored.record.through.unwrap()));
    assert!(ranges.eq(lost.iter().map(|range| (range.from, range.to))));
    assert!(said.iter().all(|stored| stored.record.head == Some(old)));
    assert!(to.station.spool.scrub().unwrap().unreadable.is_empty());
    assert!(!to.station.spool.was_damaged());
}

#[test]
fn a_backup_whose_ledger_gives_another_head_is_kept_told_and_takes_no_older_one_with_it() {
    let office = office();
    let extranet = &office.extranet;
    let (to, power) = on_a_dying_disk(extranet, START);
    let whole = back_up(&to, START);
    spoil(extranet, &power, 0..9);
    let now = START.plus_ms(40 * 24 * HOUR_MS);
    let bad = back_up(&to, now);
    let words = bad.not_restorable.clone().unwrap();
    assert!(words.contains("records ") && words.contains("cannot be read"), "{words}");
    assert!(has_failed(&to) && whole.file.exists() && bad.file.exists());
    let shown = station::backup::read_state(&to.station.spool).good.unwrap();
    assert_eq!(shown.not_restorable, bad.not_restorable);
    // One from which nothing comes back is none, when it is asked how old the last one is.
    let state = station::backup::read_state(&to.station.spool);
    assert_eq!((state.restorable_at_ms, state.whole.as_ref()), (Some(START.0), Some(&whole.file)));
    drop(to);
    wipe(extranet);
    let refused = restore_from(&office, extranet, &bad.file, &[], Disk::real(), now);
    match refused {
        Err(error @ RestoreError::OtherLedger { .. }) => assert!(error.to_string().contains(&words), "{error}"),
        other => panic!("{:?}", other.map(|restored| restored.files)),
    }
    // It is simply run again with the older one.
    restore_from(&office, extranet, &whole.file, &[], Disk::real(), now).unwrap();
    extranet.open(now).unwrap();
}

#[test]
fn a_claimed_drop_that_a_backup_could_not_read_whole_is_never_sealed_by_a_node_put_back() {
    let office = office();
    let internet = &office.internet;
    let (from, power) = on_a_dying_disk(internet, START);
    let claimed = internet.layout().claimed(&name("applications"));
    let form = || {
        let mut form = tests::papers::application_form(1).into_bytes();
        form.resize(3 * 4096, b' ');
        form
    };
    let (lost, folder, kept) = (
        format!("{}.a.json", "a1".repeat(16)),
        format!("{}.case", "b2".repeat(16)),
        format!("{}.c.json", "c3".repeat(16)),
    );
    fs::create_dir(claimed.join(&folder)).unwrap();
    let inside = format!("{folder}/application.json");
    for file in [&lost, &inside, &kept] {
        fs::write(claimed.join(file), form()).unwrap();
    }
    fs::write(claimed.join(lost.replacen(".a", "-a", 1) + ".ready"), "").unwrap();
    for file in [&lost, &inside] {
        power.spoil(&claimed.join(file), 4096).unwrap();
    }
    let good = back_up(&from, START);
    assert_eq!((good.spoiled, has_failed(&from)), (2, true));
    drop(from);
    wipe(internet);
    let restored = restore_from(&office, internet, &good.file, &[], Disk::real(), START).unwrap();
    assert_eq!(names(&claimed), [kept], "nor its marker, which would go back for the next drop of that name");
    let aside: Vec<&str> =
        restored.spoiled_drops.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(aside, [&lost, &folder]);
    assert!(restored.spoiled_drops.iter().all(|path| path.exists() && path.starts_with(internet.layout().restored())));
    assert_eq!(restored.to_json(START)["spoiled_drops"].as_array().unwrap().len(), 2);
    internet.open(START).unwrap();
}

#[test]
fn what_one_restore_set_aside_outlives_the_next_until_a_backup_has_it_whole() {
    let office = office();
    let internet = &office.internet;
    let (from, power) = on_a_dying_disk(internet, START);
    let claimed = internet.layout().claimed(&name("applications"));
    let (early, late) = (format!("{}.a.case", "a1".repeat(16)), format!("{}.b.json", "b2".repeat(16)));
    let inside = claimed.join(&early).join("application.json");
    let form = |n| tests::papers::application_form(n).into_bytes();
    fs::create_dir(claimed.join(&early)).unwrap();
    fs::write(&inside, form(1)).unwrap();
    let before = back_up(&from, START);
    fs::write(claimed.join(&late), form(2)).unwrap();
    for file in [&inside, &claimed.join(&late)] {
        power.spoil(file, 0).unwrap();
    }
    let now = START.plus_ms(HOUR_MS);
    let good = back_up(&from, now);
    drop(from);
    wipe(internet);
    let restored = restore_from(&office, internet, &good.file, &[], Disk::real(), now).unwrap();
    assert_eq!(restored.spoiled_drops.len(), 2);
    // That one died before its last step, and whoever was woken tries it once more, then the backup before it.
    for (backup, aside) in [(&good, vec![&early, &late]), (&before, vec![&late])] {
        fs::write(internet.layout().restoring(), "").unwrap();
        let restored = restore_from(&office, internet, &backup.file, &[], Disk::real(), now).unwrap();
        let found: Vec<_> =
            restored.spoiled_drops.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(found, aside);
        assert!(restored.spoiled_drops.iter().all(|path| path.exists()));
    }
    assert_eq!(names(&claimed), [early]);
    assert_eq!(fs::read(inside).unwrap(), form(1));
}

/// Seconds that a backup and a restore take, printed. `TRILOCK_SOAK=1` makes 10 GiB and a million records of it,
/// `TRILOCK_BACKUP_MIB=1024` a tenth.
#[test]
fn a_large_state_is_backed_up_and_put_back_in_minutes() {
    let asked = std::env::var("TRILOCK_BACKUP_MIB").ok().and_then(|word| word.parse::<u64>().ok());
    let soak = std::env::var_os("TRILOCK_SOAK").is_some();
    let mib = asked.unwrap_or(if soak { 10_240 } else { 64 });
    let (records, bytes) = (mib * 100, mib << 20);
    let office = office();
    let extranet = &office.extranet;
    let now = START;
    let to = extranet.open(now).unwrap();
    // What a first start records of its keys and rules is about no parcel.
    let about_itself = to.station.spool.head().size;
    let threads = 256;
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let spool = &to.station.spool;
            scope.spawn(move || {
                for nth in 0..records / threads {
                    let mut record = protocol::ledger::Record::new(Event::Refused, now.plus_ms(nth));
                    record.parcel =
                        Some(protocol::id::new_id(now.plus_ms(nth * threads + thread), protocol::keys::random()));
                    record.route = Some(name("applications"));
                    spool.record(record, protocol::ledger::Local::none()).unwrap();
                }
            });
        }
    });
    // Half of the bytes in large bundles that wait, half in small papers.
    let noise: Vec<u8> = tests::papers::Noise::new(5).bytes(1 << 20);
    for large in 0..8_u8 {
        let mut file = fs::File::create(extranet.layout().quarantine().join(format!("{:032x}.bundle", large))).unwrap();
        for _ in 0..bytes / 16 / noise.len() as u64 {
            std::io::Write::write_all(&mut file, &noise).unwrap();
        }
    }
    let day = extranet.layout().evidence().join("2026/11/22");
    fs::create_dir_all(&day).unwrap();
    for small in 0..bytes / 2 / 16_384 {
        fs::write(day.join(format!("{small:032x}.proof")), &noise[..16_384]).unwrap();
    }
    let clock = std::time::Instant::now;
    let began = clock();
    let good = back_up(&to, now);
    let made = began.elapsed();
    assert!(good.records >= records - threads && good.bytes > bytes);
    drop(to);
    wipe(extranet);
    let began = clock();
    restore_from(&office, extranet, &good.file, &[], Disk::real(), now).unwrap();
    let put_back = began.elapsed();
    let began = clock();
    let to = extranet.open(now).unwrap();
    let opened = began.elapsed();
    assert_eq!(to.station.spool.counts().unwrap().values().sum::<u64>(), good.records - about_itself);
    println!(
        "{} MiB, {} records, {} files: backup with read-back {:.1} s, restore {:.1} s, first start (index made) {:.1} s",
        good.bytes >> 20,
        good.records,
        good.files,
        made.as_secs_f64(),
        put_back.as_secs_f64(),
        opened.as_secs_f64()
    );
    assert!(made + put_back + opened < std::time::Duration::from_secs(30 * 60));
}
