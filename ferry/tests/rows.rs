//! What scripts read of the commands of a trip: one object a line on standard output, with the fields of the table in
//! `docs/ferry-operator.md`, for success, for a refusal and for a medium that fails. A field that goes or is renamed breaks them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "what a test breaks on purpose need not survive a power cut")]

mod world;

use std::fs;
use std::path::{Path, PathBuf};

use protocol::Suite;
use protocol::waybill::LineKind;
use serde_json::Value;
use world::{Daemon, Office, ferry, out};

struct Stage {
    office: Office,
    inner: Daemon,
    outer: Daemon,
    keys: [String; 4],
    medium: PathBuf,
}

/// The rows of a command, and how it ended. To a script nothing is said beside them but warnings, each an object too.
#[track_caller]
fn rows(code: i32, arguments: &[&str]) -> Vec<Value> {
    let all = [arguments, &["--json"]].concat();
    let output = ferry(&all);
    assert_eq!(output.status.code(), Some(code), "ferry {all:?}\n{}", out(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert!(rows.iter().all(Value::is_object), "{text}");
    rows
}

fn fields(row: &Value) -> String {
    let mut names: Vec<_> = row.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    names.join(" ")
}

/// A command that ends otherwise than well says so in one last row of one form.
#[track_caller]
fn ends(exit: i32, code: &str, arguments: &[&str]) {
    let rows = rows(exit, arguments);
    let last = rows.last().unwrap();
    assert_eq!((fields(last).as_str(), fields(&last["error"]).as_str()), ("error", "code exit message remedy"));
    let error = &last["error"];
    assert_eq!((error["code"].as_str(), error["exit"].as_i64()), (Some(code), Some(i64::from(exit))), "{error}");
    assert!(!error["message"].as_str().unwrap().is_empty() && !error["remedy"].as_str().unwrap().is_empty(), "{error}");
}

/// The last row, its code and its fields.
#[track_caller]
fn says(arguments: &[&str], code: &str, wanted: &str) -> Value {
    let rows = rows(0, arguments);
    let row = rows.last().unwrap();
    assert_eq!((row["code"].as_str(), fields(row).as_str()), (Some(code), wanted), "{arguments:?}: {row}");
    row.clone()
}

impl Stage {
    fn new(test: &str) -> Stage {
        let mut office = Office::new(test, Suite::Std);
        let keys = [
            ("zhao", "operator", "intranet"),
            ("qian", "approver", "intranet"),
            ("sun", "approver", "intranet"),
            ("li", "operator", "extranet"),
        ]
        .map(|(holder, role, zone)| office.person(holder, role, zone));
        let made = office.bundle(1, &[7; 90_000]);
        let (id, bytes) = office.batch(2);
        let outbox = vec![(LineKind::Bundle, made.id, made.sequence, made.bytes), (LineKind::Receipts, id, 2, bytes)];
        let inner = Daemon::start(&office, "intranet", outbox);
        let outer = Daemon::start(&office, "extranet", Vec::new());
        let medium = office.dir.join("medium");
        fs::create_dir_all(&medium).unwrap();
        Stage { office, inner, outer, keys, medium }
    }

    fn medium(&self) -> &str {
        self.medium.to_str().unwrap()
    }

    fn trust(&self) -> [&str; 2] {
        ["--trust", self.office.trust_path()]
    }

    fn inside<'a>(&'a self, command: &'a str, person: usize) -> Vec<&'a str> {
        vec![command, "--spool", self.inner.spool(), "--key", &self.keys[person]]
    }

    fn outside<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let begin = ["import", "--spool", self.outer.spool(), "--key", &self.keys[3], "--medium", self.medium()];
        [&begin[..], &self.trust(), more].concat()
    }
}

const EXPORTED: &str = "approvals_needed bytes carrier code exceptions files first held lapsed medium parity slip taken_up trip volumes waybill written";

#[test]
fn the_rows_of_a_trip_have_the_fields_that_scripts_were_promised() {
    let stage = Stage::new("rows-trip");
    let (medium, trust) = (stage.medium(), stage.trust());
    let slip = stage.office.dir.to_str().unwrap();
    let nowhere = stage.office.dir.join("nowhere").to_str().unwrap().to_owned();

    let none = rows(0, &["trips", "--spool", stage.inner.spool()]);
    assert_eq!((none.len(), fields(&none[0]).as_str()), (1, "trips"));
    let none = rows(0, &["media", "--spool", stage.inner.spool()]);
    assert_eq!((none.len(), fields(&none[0]).as_str()), (1, "media"));
    ends(2, "which-spool", &["trips"]);
    ends(3, "missing", &["trips", "--spool", &nowhere]);
    ends(3, "missing", &["media", "--spool", &nowhere]);

    let to = |place: &'static str| ["--medium-id", "disc-0042", "--carrier", "wu", place];
    ends(2, "no-place", &[&stage.inside("export", 0)[..], &to("--json")[..4]].concat());
    ends(3, "no-medium", &[&stage.inside("export", 0)[..], &to("--medium"), &[&nowhere]].concat());
    let row = says(
        &[&stage.inside("export", 0)[..], &to("--medium"), &[medium, "--slip", slip]].concat(),
        "staged",
        EXPORTED,
    );
    assert_eq!((&row["trip"], &row["files"], &row["medium"]), (&17.into(), &2.into(), &"disc-0042".into()));
    says(&[&stage.inside("export", 0)[..], &to("--medium"), &[medium]].concat(), "nothing-waiting", "code files");
    let row = says(
        &[&stage.inside("reexport", 0)[..], &["--trip", "17", "--medium", medium, "--slip", slip]].concat(),
        "staged",
        EXPORTED,
    );
    assert_eq!(row["waybill"].as_str().unwrap().len(), 64);
    ends(3, "no-medium", &[&stage.inside("reexport", 0)[..], &["--trip", "17", "--medium", &nowhere]].concat());

    let confirm = [&stage.inside("confirm", 0)[..], &["--trip", "17", "--medium", medium], &trust].concat();
    ends(1, "approvals-missing", &confirm);
    ends(1, "not-an-approver", &[&stage.inside("approve", 0)[..], &["--trip", "17"]].concat());
    ends(3, "no-medium", &[&stage.inside("approve", 1)[..], &["--trip", "17", "--medium", &nowhere]].concat());
    for (person, have) in [(1, 1), (2, 2)] {
        let row = says(
            &[&stage.inside("approve", person)[..], &["--trip", "17"]].concat(),
            "approved",
            "code have needed person trip",
        );
        assert_eq!((&row["have"], &row["needed"]), (&have.into(), &2.into()));
    }
    ends(3, "no-medium", &[&stage.inside("confirm", 0)[..], &["--trip", "17", "--medium", &nowhere]].concat());
    let row = says(
        &confirm,
        "confirmed",
        "approvals bytes caches_dropped code files not_yet_confirmed parity_sectors signatures_checked_here trip volume volumes waybill",
    );
    assert_eq!(row["approvals"], serde_json::json!(["qian", "sun"]));

    let trips = rows(0, &["trips", "--spool", stage.inner.spool()]);
    assert_eq!(
        fields(&trips[0]),
        "approvals at at_ms bundles bytes carrier crossing direction files medium needed settled state trip waybill"
    );
}

#[test]
fn the_rows_of_a_medium_have_the_fields_that_scripts_were_promised() {
    let stage = Stage::new("rows-medium");
    let (medium, trust) = (stage.medium(), stage.trust());
    let to = ["--medium-id", "disc-0042", "--carrier", "wu", "--slip", stage.office.dir.to_str().unwrap()];
    rows(0, &[&stage.inside("export", 0)[..], &to, &["--medium", medium]].concat());
    for person in [1, 2] {
        rows(0, &[&stage.inside("approve", person)[..], &["--trip", "17"]].concat());
    }
    rows(0, &[&stage.inside("confirm", 0)[..], &["--trip", "17", "--medium", medium], &trust].concat());

    let verified = rows(0, &[&["verify", medium][..], &trust].concat());
    let (last, each) = verified.split_last().unwrap();
    assert_eq!((fields(last).as_str(), &last["code"]), ("code summary", &"verified".into()));
    assert_eq!(fields(&last["summary"]), "checked failed notes parcels passed_over");
    for row in each.iter().filter(|row| row.get("path").is_some()) {
        assert_eq!(
            (fields(row).as_str(), &row["code"]),
            ("cause checked code facts notes ok path what", &"proven".into())
        );
    }
    let empty = stage.office.dir.join("empty");
    fs::create_dir_all(&empty).unwrap();
    ends(2, "nothing", &[&["verify", empty.to_str().unwrap()][..], &trust].concat());
    ends(3, "missing", &["verify", medium, "--trust", "/nonexistent"]);

    let trip = stage.medium.join("TRILOCK/17");
    let bundle = fs::read_dir(&trip).unwrap().map(|entry| entry.unwrap().path());
    let bundle = bundle.into_iter().find(|path| path.extension().is_some_and(|end| end == "bundle")).unwrap();
    let whole = fs::read(&bundle).unwrap();
    let mut broken = whole.clone();
    broken[whole.len() / 2] ^= 1;
    fs::write(&bundle, broken).unwrap();
    ends(1, "failed", &[&["verify", medium][..], &trust].concat());
    ends(1, "digest-differs", &stage.outside(&[]));
    fs::remove_file(&bundle).unwrap();
    ends(3, "missing", &stage.outside(&[]));
    fs::write(&bundle, whole).unwrap();

    fs::write(stage.medium.join("holiday.jpg"), b"somebody's").unwrap();
    let imported = rows(0, &stage.outside(&["--wipe"]));
    let of =
        |code: &str| imported.iter().find(|row| row["code"] == code).unwrap_or_else(|| panic!("{code}: {imported:?}"));
    assert_eq!(fields(of("not-on-waybill")), "alarm code count names");
    assert_eq!(fields(of("imported")), "approvals bytes code crossing details files not_on_waybill trip waybill");
    assert_eq!(fields(of("wiped")), "bytes code files left not_overwritten secure trip");
    assert_eq!(of("wiped")["secure"], false);
    says(&stage.outside(&[]), "nothing-new", "code trips");
    ends(3, "no-trip", &stage.outside(&["--trip", "18"]));

    for (person, other, who) in [(0, "--witness", "qian"), (1, "--operator", "zhao")] {
        let words = ["--medium-id", "disc-0042", other, who, "--reason", "shredded"];
        let row = says(&[&stage.inside("dispose", person)[..], &words].concat(), "done", "code details medium");
        assert_eq!(row["details"]["disposed"], person == 1);
    }
    let media = rows(0, &["media", "--spool", stage.inner.spool()]);
    assert_eq!(fields(&media[0]), "direction disposed_ms id last_state last_trip");
}

#[test]
fn the_rows_of_an_intake_have_the_fields_that_scripts_were_promised() {
    let stage = Stage::new("rows-intake");
    let inlet = stage.inner.layout.inlet(&protocol::Name::new("survey").unwrap());
    fs::create_dir_all(&inlet).unwrap();
    let from = stage.office.dir.join("case-7");
    fs::create_dir_all(&from).unwrap();
    fs::write(from.join("a.shp"), b"points").unwrap();
    let listing = stage.office.dir.join("list");
    let intake = |from: &Path, person: usize| -> Vec<String> {
        let words = ["--route", "survey", "--listing", listing.to_str().unwrap(), from.to_str().unwrap()];
        stage.inside("intake", person).into_iter().chain(words).map(str::to_owned).collect()
    };
    let run =
        |words: Vec<String>, check: &dyn Fn(&[&str])| check(&words.iter().map(String::as_str).collect::<Vec<_>>());
    run(intake(&stage.office.dir.join("nowhere"), 0), &|words| ends(3, "missing", words));
    run(intake(&from, 1), &|words| ends(1, "role", words));
    run(intake(&from, 0), &|words| {
        let row = says(words, "taken-in", "before bytes code earlier files inlet listing operator signature");
        assert_eq!((fields(&row["files"][0]), &row["before"]), ("bytes path sha256".to_owned(), &false.into()));
    });
    run(intake(&from, 0), &|words| {
        let row = says(words, "taken-in", "before bytes code earlier files inlet listing operator signature");
        assert_eq!((&row["before"], row["earlier"].is_null()), (&true.into(), true));
    });
}
