//! A security officer looks at what was held: asked for at the node and on record there, handed over sealed, opened with
//! the key from the safe where no daemon is. Whatever is not right opens nothing and leaves nothing.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a story stops at the first surprise")]
#![allow(clippy::disallowed_methods, reason = "a test makes and removes files as a person would")]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use protocol::keys::{OpeningKey, SigningKey};
use protocol::ledger::Event;
use protocol::trust::{KeyCard, Role, Use};
use protocol::{ParcelId, Suite, Timestamp, Zone};
use spool::Answer;
use station::look::{LookError, look};
use tests::twins::{self, Member, Running, START, found, name, names};

const OFFICER: &str = "officer-qian";
const OTHER: &str = "officer-hu";
/// A key with its value.
const POINT: &str = "{\"XZB\": \"4851490.4193\", \"YZB\": \"29546865.2760\"}";
/// Which cannot be taken out of a text.
const LINE: &str = "XZB=4851490.4193 YZB=29546865.2760\n";

struct Office {
    folder: tempfile::TempDir,
    member: Member,
    officer: SigningKey,
    other: SigningKey,
    approver: SigningKey,
    security: OpeningKey,
}

impl Office {
    fn in_zone(zones: [Zone; 2], at: usize) -> Office {
        let folder = tempfile::tempdir().unwrap();
        let (members, _, security) = found(folder.path(), zones);
        let member = members.into_iter().nth(at).unwrap();
        let officer = twins::person(&[&member], OFFICER, Role::Security);
        let other = twins::person(&[&member], OTHER, Role::Security);
        let approver = twins::person(&[&member], "approver-li", Role::Approver);
        Office { folder, member, officer, other, approver, security }
    }

    fn outside() -> Office {
        Office::in_zone([Zone::Internet, Zone::Extranet], 0)
    }

    fn path(&self, what: &str) -> PathBuf {
        self.folder.path().join(what)
    }

    fn look(&self, bundle: &Path, to: &Path) -> Result<station::look::Look, LookError> {
        look(bundle, &self.security, &self.member.trust(), to)
    }

    /// Does a look end with these words, and leave nothing?
    fn refused(&self, bundle: &Path, to: &Path, words: &str) -> LookError {
        let before = everything(self.folder.path());
        let error = self.look(bundle, to).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(everything(self.folder.path()), before, "{words}: nothing was written");
        error
    }
}

/// Every path below a folder; dot files too.
fn everything(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            found.extend(everything(&entry.path()));
        }
        found.push(entry.path());
    }
    found.sort();
    found
}

fn hold(office: &Office, running: &mut Running, now: &mut Timestamp) -> ParcelId {
    hold_at(office, ("applications", "a.json", POINT), running, now)
}

fn hold_at(
    office: &Office,
    (route, file, text): (&str, &str, &str),
    running: &mut Running,
    now: &mut Timestamp,
) -> ParcelId {
    office.member.drop_file(route, file, text.as_bytes());
    running.turn(now).unwrap();
    let known = running.station.spool.parcels(&spool::Filter::default(), 1).unwrap().remove(0);
    assert_eq!(known.state, spool::State::Refused, "{known:?}");
    known.parcel
}

fn take(running: &Running, key: &SigningKey, person: &str, parcel: &ParcelId, now: Timestamp) -> Answer {
    let asked = [("parcel", &*parcel.to_string()), ("reason", "who put points there")];
    twins::ask(running, key, person, "held-take", &asked, now)
}

fn file(answer: &Answer) -> PathBuf {
    assert!(answer.done, "{answer:?}");
    PathBuf::from(answer.details["file"].as_str().unwrap())
}

#[test]
fn an_officer_takes_what_is_held_and_sees_it_and_the_ledger_knew_before() {
    // What is outside is sealed already; inside it lies in the clear. The officer sees the same.
    let inside = Office::in_zone([Zone::Extranet, Zone::Intranet], 1);
    let stories = [(Office::outside(), "applications", "a.json", POINT), (inside, "review-results", "a.txt", LINE)];
    for (office, route, dropped, text) in stories {
        let mut now = START;
        let mut running = office.member.open(now).unwrap();
        let parcel = hold_at(&office, (route, dropped, text), &mut running, &mut now);
        let bundle = file(&take(&running, &office.officer, OFFICER, &parcel, now));
        assert!(!String::from_utf8_lossy(&fs::read(&bundle).unwrap()).contains("4851490"), "{route}: sealed");
        assert_eq!(fs::metadata(&bundle).unwrap().permissions().mode() & 0o777, 0o640, "its folder's group reads it");
        let folder = office.member.layout().desk_held();
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o7777, 0o2750);
        assert!(
            names(&office.member.layout().opening()).is_empty() && names(&office.member.layout().sealing()).is_empty()
        );

        let stored = running.station.spool.records(0, 1_000).unwrap();
        let read = stored.iter().find(|stored| {
            let record = &stored.record;
            (record.event, record.parcel) == (Event::RequestAnswered, Some(parcel))
        });
        assert_eq!(read.unwrap().record.person, Some(name(OFFICER)));

        let to = office.path("seen");
        let seen = office.look(&bundle, &to).unwrap();
        assert_eq!(fs::read_to_string(to.join(dropped)).unwrap(), text);
        assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(to.join(dropped)).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!((seen.statement.parcel, &seen.statement.origin), (parcel, &running.station.node));
        assert_eq!(seen.label("reason"), Some("coordinates"), "{route}");
        let findings: Vec<&str> = seen.findings().collect();
        assert!(findings.iter().any(|finding| finding.contains(dropped)), "{route}: where, by its path: {findings:?}");
        assert!(!findings.concat().contains("4851490.4193"), "masked: {findings:?}");
        assert_eq!(names(office.folder.path()).iter().filter(|name| name.starts_with(".held")).count(), 0);
        // It is held as before.
        assert_eq!(names(&office.member.layout().quarantine()).len(), 1);
    }
}

#[test]
fn only_officers_get_it_each_on_record_and_no_more_than_a_desk_takes() {
    let office = Office::outside();
    let mut now = START;
    let mut running = office.member.open(now).unwrap();
    let parcel = hold(&office, &mut running, &mut now);
    let looks = |running: &Running, who: &str| {
        let stored = running.station.spool.records(0, 1_000).unwrap();
        let records = stored.into_iter().map(|stored| stored.record);
        records.filter(|record| record.person == Some(name(who)) && record.parcel == Some(parcel)).count()
    };
    assert_eq!(take(&running, &office.approver, "approver-li", &parcel, now).code, "role");
    assert_eq!(looks(&running, "approver-li"), 0);
    // A name that cannot travel is kept by nobody.
    office.member.drop_file("applications", "a\u{1b}[2J\n.json", b"{}");
    running.turn(&mut now).unwrap();
    let unkept = running.station.spool.parcels(&spool::Filter::default(), 2).unwrap();
    let unkept = unkept.iter().find(|known| known.parcel != parcel).unwrap().parcel;
    assert_eq!(take(&running, &office.officer, OFFICER, &unkept, now).code, "nothing-held");
    let unknown = protocol::id::new_id(now, protocol::keys::random());
    assert_eq!(take(&running, &office.officer, OFFICER, &unknown, now).code, "nothing-held");
    assert_eq!(looks(&running, OFFICER), 0);
    let both = [(&office.officer, OFFICER), (&office.other, OTHER)];
    let [one, two] = both.map(|(key, who)| file(&take(&running, key, who, &parcel, now)));
    assert_ne!(one, two);
    assert_eq!((looks(&running, OFFICER), looks(&running, OTHER)), (1, 1));
    office.look(&one, &office.path("one")).unwrap();
    office.look(&two, &office.path("two")).unwrap();
    for _ in 2..8 {
        file(&take(&running, &office.officer, OFFICER, &parcel, now));
    }
    assert_eq!(take(&running, &office.officer, OFFICER, &parcel, now).code, "too-many-held");
    let written = running.station.spool.disk().date(machine_now());
    station::desk::tidy(&running.station, written.plus_ms(3 * 24 * 60 * 60 * 1000)).unwrap();
    assert!(names(&office.member.layout().desk_held()).is_empty(), "what nobody took goes");
    fs::remove_dir(office.member.layout().desk_held()).unwrap();
    assert_eq!(take(&running, &office.officer, OFFICER, &parcel, now).code, "not-set-up");
}

/// By the disk, which dates files by the machine's clock.
fn machine_now() -> Timestamp {
    let folder = tempfile::tempdir().unwrap();
    let written = fs::metadata(folder.path()).unwrap().modified().unwrap();
    let written = written.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    Timestamp(u64::try_from(written).unwrap())
}

#[test]
fn nothing_is_opened_into_a_link_a_spool_or_what_is_there() {
    let office = Office::outside();
    let mut now = START;
    let mut running = office.member.open(now).unwrap();
    let parcel = hold(&office, &mut running, &mut now);
    let bundle = file(&take(&running, &office.officer, OFFICER, &parcel, now));
    let (elsewhere, link) = (office.path("elsewhere"), office.path("link"));
    fs::create_dir(&elsewhere).unwrap();
    symlink(&elsewhere, &link).unwrap();
    symlink(office.path("nowhere"), office.path("dangling")).unwrap();
    symlink(office.path("target"), elsewhere.join("a.json")).unwrap();
    for there in ["elsewhere", "link", "dangling"] {
        office.refused(&bundle, &office.path(there), "is there already");
    }
    let outlet = office.member.layout().inlet(&name("applications"));
    office.refused(&bundle, &outlet.join("seen"), "lies in the spool");
    // The long way round is the same place.
    symlink(&outlet, office.path("harmless")).unwrap();
    office.refused(&bundle, &office.path("harmless/seen"), "lies in the spool");
    assert!(fs::read_dir(&elsewhere).unwrap().count() == 1 && !office.path("target").exists());
    assert!(matches!(office.refused(&office.path("none"), &office.path("seen"), "none"), LookError::Io { .. }));
}

#[test]
fn another_key_a_retired_one_another_bundle_and_damage_are_told_apart() {
    let office = Office::outside();
    let mut now = START;
    let mut running = office.member.open(now).unwrap();
    let parcel = hold(&office, &mut running, &mut now);
    let bundle = file(&take(&running, &office.officer, OFFICER, &parcel, now));
    let (to, trust) = (office.path("seen"), office.member.trust());
    let wrong = OpeningKey::generate(Suite::Std);
    // The card that it is sealed to is the office's: whoever has another key has the one after it.
    assert!(matches!(look(&bundle, &wrong, &trust, &to), Err(LookError::RetiredKey { .. })));
    let mut strangers = protocol::trust::Trust::default();
    let others = |card: &&KeyCard| card.role != Role::Security || card.usage != Use::Seal;
    for (index, card) in trust.cards().filter(others).enumerate() {
        strangers.add(&format!("{index}.pub.pem"), &card.to_text()).unwrap();
    }
    assert!(matches!(look(&bundle, &wrong, &strangers, &to), Err(LookError::OtherKey { .. })));
    assert!(
        look(&bundle, &office.security, &protocol::trust::Trust::default(), &to).is_err(),
        "who held it is unknown"
    );

    let whole = fs::read(&bundle).unwrap();
    let harmed = office.path("harmed.bundle");
    for at in [0, 40, whole.len() / 2, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&harmed, &bytes).unwrap();
        let error = office.refused(&harmed, &to, "");
        assert!(!matches!(error, LookError::Io { .. }), "byte {at}: {error}");
    }
    for short in [0, 7, 200, whole.len() / 2, whole.len() - 1] {
        fs::write(&harmed, &whole[..short]).unwrap();
        office.refused(&harmed, &to, "damaged");
    }
    fs::write(&harmed, [&whole[..], b"more"].concat()).unwrap();
    office.refused(&harmed, &to, "damaged");

    // A parcel on its way is none of this command's business, whoever it is sealed to.
    office.member.drop_application(1);
    running.turn(&mut now).unwrap();
    let outbox = running.station.spool.outbox(protocol::Crossing::InternetToExtranet);
    let entry = outbox.entries().unwrap().remove(0);
    let sent = office.path("sent.bundle");
    std::io::copy(&mut outbox.content(&entry).unwrap(), &mut fs::File::create(&sent).unwrap()).unwrap();
    office.refused(&sent, &to, "nothing that was held");
}
