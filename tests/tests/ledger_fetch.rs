//! An auditor who may not read the ledger's folder asks the node for the records of a period, and gets what is in the
//! ledger, in a file that nobody else's group reads.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a story stops at the first surprise")]
#![allow(clippy::disallowed_methods, reason = "a test makes and removes files as a person would")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use protocol::Zone;
use protocol::ledger::{Event, Local, Record};
use protocol::trust::Role;
use serde_json::Value;
use spool::Answer;
use tests::papers;
use tests::twins::{OPERATOR, START, ask, found, name, names, person};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
const MONTH: [(&str, &str); 3] = [("from", "2026-11-01"), ("to", "2026-11-30"), ("format", "jsonl")];

fn file(answer: &Answer) -> PathBuf {
    PathBuf::from(answer.details["file"].as_str().unwrap())
}

#[test]
fn an_auditor_gets_the_records_of_a_period_and_nobody_else_does() {
    let folder = tempfile::tempdir().unwrap();
    let ([_, intranet], operator, _) = found(folder.path(), [Zone::Extranet, Zone::Intranet]);
    let auditor = person(&[&intranet], "auditor-chen", Role::Auditor);
    let mut now = START;
    let mut running = intranet.open(now).unwrap();
    intranet.drop_file("review-results", "review-1.xml", papers::review_result(1).as_bytes());
    running.turn(&mut now).unwrap();
    let mut act = Record::new(Event::RouteDisabled, now);
    act.person = Some(name("li-ming"));
    let words = Local { name: Some("secret words".to_owned()), labels: Vec::new() };
    running.station.spool.record(act, words).unwrap();
    let mut later = Record::new(Event::RouteEnabled, now.plus_ms(30 * DAY_MS));
    later.person = Some(name("li-ming"));
    running.station.spool.record(later, Local::none()).unwrap();

    let before = running.station.spool.head().size;
    let all = ask(&running, &auditor, "auditor-chen", "ledger-export", &MONTH, now);
    assert!(all.done, "{all:?}");
    let text = fs::read_to_string(file(&all)).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len() as u64, before - 1, "all but the one of December");
    assert_eq!(all.details["lines"].as_u64(), Some(before - 1));
    assert_eq!(all.details["bytes"].as_u64(), Some(text.len() as u64));
    assert!(lines.iter().enumerate().all(|(at, line)| line["index"].as_u64() == Some(at as u64)));
    assert!(!text.contains("secret words") && !text.contains("review-1.xml"), "names of drops stay in the zone");
    let stored = running.station.spool.records(0, 1_000).unwrap();
    let read = stored.iter().rev().find(|stored| stored.record.event == Event::LedgerRead).unwrap();
    assert_eq!((read.record.person.clone(), read.record.bytes), (Some(name("auditor-chen")), Some(before - 1)));

    let folder = intranet.layout().desk_exports();
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o7777, 0o2750, "its group reads, and no more");
    assert_eq!(fs::metadata(file(&all)).unwrap().permissions().mode() & 0o777, 0o640);

    let one = [&MONTH[..2], &[("format", "csv"), ("person", "li-ming")]].concat();
    let one = ask(&running, &auditor, "auditor-chen", "ledger-export", &one, now);
    assert_eq!(fs::read_to_string(file(&one)).unwrap().lines().count(), 2, "a line of names and one act");

    for (key, who, wanted) in [(&operator, OPERATOR, "role"), (&operator, "auditor-chen", "not-authentic")] {
        assert_eq!(ask(&running, key, who, "ledger-export", &MONTH, now).code, wanted);
    }
    for wrong in [("from", "yesterday"), ("format", "xml"), ("person", "Li Ming")] {
        let mut asked = vec![wrong];
        asked.extend(MONTH.iter().filter(|(word, _)| *word != wrong.0));
        assert!(!ask(&running, &auditor, "auditor-chen", "ledger-export", &asked, now).done, "{wrong:?}");
    }
    assert_eq!(names(&folder).len(), 2, "what was refused leaves nothing");
}

#[test]
fn exports_that_nobody_fetches_are_bounded_and_go_by_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let ([_, intranet], _, _) = found(folder.path(), [Zone::Extranet, Zone::Intranet]);
    let auditor = person(&[&intranet], "auditor-chen", Role::Auditor);
    let now = START;
    let running = intranet.open(now).unwrap();
    for _ in 0..8 {
        assert!(ask(&running, &auditor, "auditor-chen", "ledger-export", &MONTH, now).done);
    }
    assert_eq!(ask(&running, &auditor, "auditor-chen", "ledger-export", &MONTH, now).code, "too-many-exports");
    let exports = intranet.layout().desk_exports();
    let written = fs::metadata(exports.join(&names(&exports)[0])).unwrap().modified().unwrap();
    let written = written.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let written = running.station.spool.disk().date(protocol::Timestamp(u64::try_from(written).unwrap()));
    station::desk::tidy(&running.station, written.plus_ms(DAY_MS)).unwrap();
    assert_eq!(names(&exports).len(), 8, "two days are for fetching");
    station::desk::tidy(&running.station, written.plus_ms(3 * DAY_MS)).unwrap();
    assert!(names(&exports).is_empty());
    // A tree that an older program made has no such folder until the next init.
    fs::remove_dir(&exports).unwrap();
    assert_eq!(ask(&running, &auditor, "auditor-chen", "ledger-export", &MONTH, now).code, "not-set-up");
    station::desk::tidy(&running.station, written).unwrap();
    spool::create(&intranet.setup(spool::Disk::real(), now)).unwrap();
    assert!(ask(&running, &auditor, "auditor-chen", "ledger-export", &MONTH, now).done);
}
