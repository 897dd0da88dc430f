//! One trip from the intranet's desk over a medium to the extranet's desk, and what stops it on the way.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "what a test breaks on purpose need not survive a power cut")]

mod world;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use protocol::Signed;
use protocol::Suite;
use protocol::waybill::{LineKind, Waybill};
use world::{Daemon, Office, PASSPHRASE, expect, json_lines, stranger};

struct Stage {
    office: Office,
    inner: Daemon,
    outer: Daemon,
    operator: String,
    first: String,
    second: String,
    importer: String,
    medium: PathBuf,
}

impl Stage {
    fn new(test: &str, suite: Suite) -> Stage {
        let mut office = Office::new(test, suite);
        let operator = office.person("zhao", "operator", "intranet");
        let first = office.person("qian", "approver", "intranet");
        let second = office.person("sun", "approver", "intranet");
        let importer = office.person("li", "operator", "extranet");
        let mut waiting: Vec<_> = [(1, vec![7; 200_000]), (2, b"a small result".to_vec())]
            .into_iter()
            .map(|(sequence, content)| office.bundle(sequence, &content))
            .map(|made| (LineKind::Bundle, made.id, made.sequence, made.bytes))
            .collect();
        let (id, bytes) = office.batch(3);
        waiting.push((LineKind::Receipts, id, 3, bytes));
        let inner = Daemon::start(&office, "intranet", waiting);
        let outer = Daemon::start(&office, "extranet", Vec::new());
        let medium = office.dir.join("medium");
        fs::create_dir_all(&medium).unwrap();
        Stage { office, inner, outer, operator, first, second, importer, medium }
    }

    fn medium(&self) -> &str {
        self.medium.to_str().unwrap()
    }

    fn export(&self) {
        let slip = self.office.dir.to_str().unwrap();
        let text = expect(
            0,
            &[
                "export",
                "--spool",
                self.inner.spool(),
                "--key",
                &self.operator,
                "--medium-id",
                "disc-0042",
                "--carrier",
                "wu",
                "--medium",
                self.medium(),
                "--slip",
                slip,
            ],
        );
        assert!(text.contains("trip 17: 3 files") && text.contains("ferry approve --trip 17"), "{text}");
    }

    fn approve(&self, code: i32, key: &str) -> String {
        expect(code, &["approve", "--spool", self.inner.spool(), "--key", key, "--trip", "17"])
    }

    fn confirm(&self, code: i32) -> String {
        let arguments = [
            "confirm",
            "--spool",
            self.inner.spool(),
            "--key",
            &self.operator,
            "--medium",
            self.medium(),
            "--trip",
            "17",
        ];
        expect(code, &[&arguments[..], &["--trust", self.office.trust_path()]].concat())
    }

    fn import(&self, code: i32) -> String {
        let arguments = ["import", "--spool", self.outer.spool(), "--key", &self.importer, "--medium", self.medium()];
        expect(code, &[&arguments[..], &["--trust", self.office.trust_path()]].concat())
    }

    fn ready(&self) {
        self.export();
        self.approve(0, &self.first);
        self.approve(0, &self.second);
        self.confirm(0);
    }

    fn trip(&self) -> PathBuf {
        self.medium.join("TRILOCK/17")
    }

    /// A verifier that shares no code with ferry judges the medium as ferry does.
    #[track_caller]
    fn stranger(&self, holds: bool) {
        if let Some((found, text)) = world::stranger(self.medium(), self.office.trust_path()) {
            assert_eq!(found, holds, "{text}");
        }
    }

    fn a_bundle(&self) -> PathBuf {
        let mut bundles: Vec<_> = fs::read_dir(self.trip()).unwrap().map(|e| e.unwrap().path()).collect();
        bundles.retain(|path| path.extension().is_some_and(|e| e == "bundle"));
        bundles.sort();
        bundles.remove(0)
    }
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_trip_goes_from_desk_to_desk_with_two_signatures_in_both_suites() {
    for suite in Suite::ALL {
        let stage = Stage::new(&format!("trip-{suite}"), suite);
        stage.export();
        let slip = fs::read_to_string(stage.office.dir.join("slip-17.html")).unwrap();
        assert!(slip.contains("批次交接单") && slip.contains("disc-0042") && slip.contains("wu"));
        for name in ["waybill", "SHA256SUMS", "README.txt"] {
            assert!(stage.trip().join(name).is_file(), "{name}");
        }
        let overview = expect(0, &["--spool", stage.inner.spool()]);
        assert!(overview.contains("the next trip is 18") && overview.contains("ferry approve --trip 17"), "{overview}");

        let text = stage.confirm(1);
        assert!(text.contains("0 of 2 countersignatures"), "{text}");
        let text = stage.approve(1, &stage.operator);
        assert!(text.contains("only an approver"), "{text}");
        let text = stage.approve(0, &stage.first);
        assert!(text.contains("You sign: trip 17") && text.contains("1 of 2"), "{text}");
        stage.approve(0, &stage.first);
        let text = stage.confirm(1);
        assert!(text.contains("1 of 2"), "one person counts once: {text}");
        stage.approve(0, &stage.second);
        let text = stage.confirm(0);
        assert!(text.contains("read back and equal to the waybill") && text.contains("qian"), "{text}");
        assert!(stage.trip().join("approvals/sun.approval").is_file());

        let text = expect(0, &["verify", stage.medium(), "--trust", stage.office.trust_path()]);
        assert!(text.contains("countersigned by qian"), "{text}");
        // Without its waybill nobody can say what is missing.
        let (waybill, aside) = (stage.trip().join("waybill"), stage.office.dir.join("waybill"));
        fs::rename(&waybill, &aside).unwrap();
        let text = expect(1, &["verify", stage.medium(), "--trust", stage.office.trust_path()]);
        assert!(text.contains("a trip without its waybill"), "{text}");
        fs::rename(aside, waybill).unwrap();
        stage.stranger(true);
        let sums =
            std::process::Command::new("sha256sum").args(["-c", "SHA256SUMS"]).current_dir(stage.trip()).output();
        assert!(sums.is_err() || sums.unwrap().status.success(), "sha256sum -c agrees, where it is installed");
        let text = stage.import(0);
        assert!(text.contains("trip 17 from intranet: imported. 3 files"), "{text}");
        assert!(stage.import(0).contains("Nothing new"), "the daemon's snapshot says it is done");
        let told = fs::read_to_string(stage.outer.layout.status().join("turned-away")).unwrap();
        let last = told.lines().last().unwrap_or_default();
        assert_eq!(last, "trip-repeated 17 disc-0042 1", "the node hears of it: {told}");
        let again = [
            "import",
            "--spool",
            stage.outer.spool(),
            "--key",
            &stage.importer,
            "--medium",
            stage.medium(),
            "--trip",
            "17",
        ];
        let text = expect(1, &[&again[..], &["--trust", stage.office.trust_path()]].concat());
        assert!(text.contains("trip-repeated") && text.contains("imported before"), "{text}");
        let trips = json_lines(&["trips", "--spool", stage.outer.spool()]);
        assert_eq!(trips[0]["state"], "imported");
    }
}

/// The program of the documentation stands for a device; the key in it is the one of the card.
#[test]
fn a_person_countersigns_with_a_key_that_stays_in_a_device() {
    let tool = |tool: &str| std::process::Command::new(tool).arg("--help").output().is_ok();
    if !tool("openssl") || !tool("python3") {
        println!("SKIPPED: openssl or python3 is not installed, no device could be played");
        return;
    }
    for suite in Suite::ALL {
        let stage = Stage::new(&format!("device-{suite}"), suite);
        stage.export();
        stage.approve(0, &stage.first);
        let (inside, program) = (stage.office.dir.join("inside.pem"), stage.office.dir.join("device"));
        let opened = std::process::Command::new("openssl")
            .args(["pkey", "-in", &stage.second, "-passin", &format!("pass:{PASSPHRASE}"), "-out"])
            .arg(&inside)
            .status();
        assert!(opened.unwrap().success(), "OpenSSL opens a key that ferry made");
        let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/samples/exec-key.py");
        let text = format!("#!/bin/sh\nEXEC_KEY_FILE={inside:?} exec python3 -B {sample:?}\n");
        fs::write(&program, text).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let card = stage.office.trust_dir.join("sun.pub.pem");
        let key = format!("exec:{}", program.display());
        let asked = ["approve", "--spool", stage.inner.spool(), "--key", &key, "--trip", "17"];
        let text = expect(0, &[&asked[..], &["--card", card.to_str().unwrap()]].concat());
        assert!(text.contains("2 of 2"), "{text}");
        stage.confirm(0);
        fs::remove_file(&inside).unwrap();
        let text = expect(1, &[&asked[..], &["--card", card.to_str().unwrap()]].concat());
        assert!(text.contains("not signed: the device refuses: no-device"), "{text}");
    }
}

#[test]
fn nothing_waiting_opens_no_trip() {
    let stage = Stage::new("nothing", Suite::Std);
    let arguments = [
        "export",
        "--spool",
        stage.outer.spool(),
        "--key",
        &stage.importer,
        "--medium-id",
        "d",
        "--carrier",
        "wu",
        "--medium",
    ];
    let text = expect(0, &[&arguments[..], &[stage.medium()]].concat());
    assert!(text.contains("Nothing waits"), "{text}");
}

#[test]
fn a_bit_flipped_on_the_medium_stops_confirm_verify_and_import() {
    let stage = Stage::new("flipped", Suite::Std);
    stage.ready();
    let bundle = stage.a_bundle();
    let named = bundle.file_name().unwrap().to_str().unwrap().to_owned();
    let length = fs::read(&bundle).unwrap().len();
    flip(&bundle, length / 2);
    for text in [
        stage.confirm(1),
        stage.import(1),
        expect(1, &["verify", stage.medium(), "--trust", stage.office.trust_path()]),
    ] {
        assert!(text.contains(&named), "the file is named: {text}");
    }
    stage.stranger(false);
    assert_eq!(fs::read_dir(stage.outer.layout.desk_incoming()).unwrap().count(), 0, "nothing stays in the desk");
}

#[test]
fn a_shortened_waybill_file_or_a_missing_one_is_said_before_it_is_read() {
    let stage = Stage::new("short", Suite::Std);
    stage.ready();
    let bundle = stage.a_bundle();
    let bytes = fs::read(&bundle).unwrap();
    fs::write(&bundle, &bytes[..bytes.len() - 1]).unwrap();
    assert!(stage.import(1).contains("the waybill says"));
    stage.stranger(false);
    fs::remove_file(&bundle).unwrap();
    assert!(stage.import(3).contains("is not there"));
    stage.stranger(false);
}

#[test]
fn what_systems_leave_on_every_stick_is_shown_and_no_alarm() {
    let stage = Stage::new("clutter", Suite::Std);
    stage.ready();
    for folder in ["System Volume Information", "$Recycle.Bin", "lost+found", ".Trashes"] {
        fs::create_dir(stage.medium.join(folder)).unwrap();
    }
    let text = stage.import(0);
    let told = stage.outer.layout.status().join("turned-away");
    assert!(text.contains("lost+found") && !text.contains("on no waybill") && !told.exists(), "{text}");
    // Nothing new, nothing to tell: nobody is asked for a key. A file of such a name is what somebody put there.
    fs::remove_dir(stage.medium.join("lost+found")).unwrap();
    fs::write(stage.medium.join("lost+found"), b"MZ").unwrap();
    let text = stage.import(0);
    assert!(text.contains("1 things that are on no waybill"), "{text}");
    assert!(fs::read_to_string(told).unwrap().contains("not-on-waybill"));
}

#[test]
fn links_and_strangers_on_a_medium_are_listed_and_never_followed() {
    let stage = Stage::new("strangers", Suite::Std);
    stage.ready();
    symlink("/etc/passwd", stage.trip().join("passwd")).unwrap();
    fs::write(stage.trip().join("virus.exe"), b"MZ").unwrap();
    fs::write(stage.medium.join("autorun.inf"), b"x").unwrap();
    let text = stage.confirm(1);
    assert!(text.contains("not on its waybill"), "{text}");
    let text = expect(1, &["verify", stage.medium(), "--trust", stage.office.trust_path()]);
    assert!(text.contains("not on the waybill"), "{text}");
    stage.stranger(false);
    let text = stage.import(0);
    assert!(
        text.contains("virus.exe") && text.contains("passwd (symbolic link)") && text.contains("autorun.inf"),
        "{text}"
    );
    let incoming = stage.outer.layout.desk_incoming();
    let kept = incoming.join("intranet-extranet-17");
    let mut names: Vec<_> = fs::read_dir(kept).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["approvals", "trip.json", "waybill"], "the daemon took the files; nothing else was copied");
}

#[test]
fn what_an_approval_that_died_left_on_the_medium_stops_nobody() {
    let stage = Stage::new("died", Suite::Std);
    stage.export();
    stage.approve(0, &stage.first);
    stage.approve(0, &stage.second);
    let left = stage.trip().join("approvals/.tmp-4711-2");
    fs::write(&left, b"half a countersignature").unwrap();
    stage.confirm(0);
    assert!(!left.exists(), "it is cleared away before the medium is read back");
    stage.import(0);
}

#[test]
fn a_listed_file_that_is_a_link_is_refused() {
    let stage = Stage::new("link", Suite::Std);
    stage.ready();
    let bundle = stage.a_bundle();
    let elsewhere = stage.office.dir.join("elsewhere");
    fs::rename(&bundle, &elsewhere).unwrap();
    symlink(&elsewhere, &bundle).unwrap();
    assert!(stage.import(3).contains("symbolic link"));
}

#[test]
fn a_countersignature_that_is_missing_copied_or_changed_does_not_count() {
    let stage = Stage::new("countersign", Suite::Std);
    stage.ready();
    // A medium without copies of its papers is read like any.
    for copy in ["copy-2", "copy-3"] {
        fs::remove_dir_all(stage.trip().join(copy)).unwrap();
    }
    let approvals = stage.trip().join("approvals");
    fs::remove_file(approvals.join("sun.approval")).unwrap();
    assert!(stage.import(1).contains("1 of 2"));
    // The same signature under another name is the same person.
    fs::copy(approvals.join("qian.approval"), approvals.join("sun.approval")).unwrap();
    assert!(stage.import(1).contains("1 of 2"));
    let at = fs::read(approvals.join("sun.approval")).unwrap().len() - 1;
    flip(&approvals.join("sun.approval"), at);
    assert!(stage.import(1).contains("countersignature sun.approval"));
}

#[test]
fn a_trip_for_another_node_is_foreign_and_another_medium_is_no_medium_of_ours() {
    let stage = Stage::new("foreign", Suite::Std);
    stage.ready();
    let back = ["import", "--spool", stage.inner.spool(), "--key", &stage.operator, "--medium", stage.medium()];
    let text = expect(1, &[&back[..], &["--trust", stage.office.trust_path()]].concat());
    assert!(text.contains("this is intranet"), "{text}");
    let empty = stage.office.dir.join("empty");
    fs::create_dir_all(&empty).unwrap();
    for (path, words) in [(empty.to_str().unwrap(), "no medium of ours"), ("/nonexistent", "no medium at")] {
        let arguments = ["import", "--spool", stage.outer.spool(), "--key", &stage.importer, "--medium", path];
        let text = expect(3, &[&arguments[..], &["--trust", stage.office.trust_path()]].concat());
        assert!(text.contains(words) && text.contains("what to do"), "{text}");
    }
}

#[test]
fn an_unfinished_or_damaged_copy_is_written_again_and_another_trip_is_never_overwritten() {
    let stage = Stage::new("again", Suite::Std);
    let aside = stage.medium.join("TRILOCK/.tmp-17");
    fs::create_dir_all(&aside).unwrap();
    fs::write(aside.join("half"), b"half").unwrap();
    stage.export();
    assert!(!aside.exists());
    let again = [
        "reexport",
        "--spool",
        stage.inner.spool(),
        "--key",
        &stage.operator,
        "--trip",
        "17",
        "--medium",
        stage.medium(),
    ];
    let again = [&again[..], &["--slip", stage.office.dir.to_str().unwrap()]].concat();
    let bundle = stage.a_bundle();
    let whole = fs::read(&bundle).unwrap();
    flip(&bundle, whole.len() / 2);
    expect(0, &again);
    assert_eq!(fs::read(&bundle).unwrap(), whole, "the damaged copy was replaced");
    let waybill = stage.trip().join("waybill");
    flip(&waybill, 60);
    let before = fs::read(&waybill).unwrap();
    assert!(expect(1, &again).contains("holds trip 17 with waybill"));
    assert_eq!(fs::read(&waybill).unwrap(), before);
}

#[test]
fn whoever_carries_a_trip_cannot_countersign_it() {
    let mut stage = Stage::new("carrier", Suite::Std);
    stage.export();
    let carrier = stage.office.person("wu", "approver", "intranet");
    assert!(stage.approve(1, &carrier).contains("carries the trip"));
    let approvals = stage.inner.layout.desk_trips().join("17/approvals");
    assert_eq!(fs::read_dir(approvals).unwrap().count(), 0, "nothing was written");
}

#[test]
fn what_is_copied_into_the_desk_can_be_read_and_removed_by_the_daemons_group() {
    let stage = Stage::new("modes", Suite::Std);
    stage.ready();
    let approval = stage.inner.layout.desk_trips().join("17/approvals/qian.approval");
    assert_eq!(fs::metadata(approval).unwrap().permissions().mode() & 0o777, 0o660);
}

#[test]
fn sentences_are_chinese_where_the_session_is() {
    let stage = Stage::new("zh", Suite::Gm);
    let arguments = [
        "--lang",
        "zh",
        "import",
        "--spool",
        stage.outer.spool(),
        "--key",
        &stage.importer,
        "--medium",
        "/nonexistent",
    ];
    let text = expect(3, &[&arguments[..], &["--trust", stage.office.trust_path()]].concat());
    assert!(text.contains("没有介质") && text.contains("处理办法"), "{text}");
}

impl Stage {
    fn reexport(&self, code: i32) -> String {
        let asked = ["reexport", "--spool", self.inner.spool(), "--key", &self.operator, "--trip", "17", "--medium"];
        expect(code, &[&asked[..], &[self.medium(), "--slip", self.office.dir.to_str().unwrap()]].concat())
    }

    /// The medium as an export leaves it that dies before its last step.
    fn half_written(&self) -> PathBuf {
        self.export();
        let aside = self.medium.join("TRILOCK/.tmp-17");
        fs::rename(self.trip(), &aside).unwrap();
        for gone in ["SHA256SUMS", "README.txt"] {
            fs::remove_file(aside.join(gone)).unwrap();
        }
        aside
    }
}

fn sealed_in(folder: &Path) -> Vec<PathBuf> {
    let all = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = all.filter(|path| path.extension().is_some()).collect();
    found.sort();
    found
}

#[test]
fn an_export_that_died_is_taken_up_and_what_is_whole_on_the_medium_is_not_written_again() {
    let stage = Stage::new("taken-up", Suite::Std);
    let aside = stage.half_written();
    let files = sealed_in(&aside);
    assert_eq!(files.len(), 3);
    // Whoever has another name still is the same file.
    let names = |path: &Path| std::os::unix::fs::MetadataExt::nlink(&fs::metadata(path).unwrap());
    let (whole, torn, gone) = (&files[0], &files[1], &files[2]);
    for (file, name) in [(whole, "whole"), (torn, "torn")] {
        fs::hard_link(file, stage.office.dir.join(name)).unwrap();
    }
    // Right in its size and wrong in a byte: only its digest says that it is not whole.
    flip(torn, 40);
    fs::remove_file(gone).unwrap();
    fs::write(aside.join("parity.001"), b"of another wish").unwrap();
    fs::create_dir(aside.join("copy-9")).unwrap();
    let other = stage.medium.join("TRILOCK/.tmp-16");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("waybill"), b"another trip's").unwrap();
    let text = stage.reexport(0);
    assert!(text.contains("trip 17: 3 files"), "{text}");
    let at = |path: &Path| stage.trip().join(path.file_name().unwrap());
    assert_eq!((names(&at(whole)), names(&at(torn))), (2, 1), "the one is not written again, the other is");
    assert!(!aside.exists() && other.join("waybill").is_file(), "another trip's folder is left as it is");
    stage.approve(0, &stage.first);
    stage.approve(0, &stage.second);
    fs::remove_dir_all(&other).unwrap();
    assert!(stage.confirm(0).contains("3 files"));
    assert!(stage.import(0).contains("imported. 3 files"));
}

#[test]
fn another_waybill_under_the_same_number_is_refused_with_what_to_do_whole_or_half_written() {
    let stage = Stage::new("other-paper", Suite::Std);
    let mut other = Stage::new("other-paper-theirs", Suite::Std);
    let theirs = other.half_written();
    other.medium = stage.medium.clone();
    for name in [".tmp-17", "17"] {
        let place = stage.medium.join("TRILOCK").join(name);
        fs::create_dir_all(&place).unwrap();
        for file in ["waybill"].map(|name| theirs.join(name)).iter().chain(&sealed_in(&theirs)) {
            fs::copy(file, place.join(file.file_name().unwrap())).unwrap();
        }
        let asked = [
            "export",
            "--spool",
            stage.inner.spool(),
            "--key",
            &stage.operator,
            "--medium-id",
            "disc-0042",
            "--carrier",
            "wu",
            "--medium",
            stage.medium(),
        ];
        let text = if name == ".tmp-17" { expect(1, &asked) } else { stage.reexport(1) };
        let remedy = format!("run `rm -r -- '{}'` and the same command again", place.display());
        assert!(text.contains("holds trip 17 with waybill") && text.contains(&remedy), "{text}");
        assert_eq!(sealed_in(&place).len(), 3, "nothing of it was touched");
        fs::remove_dir_all(&place).unwrap();
    }
    assert!(stage.reexport(0).contains("trip 17: 3 files"));
}

impl Stage {
    fn import_and_wipe(&self, code: i32) -> String {
        let arguments = ["import", "--spool", self.outer.spool(), "--key", &self.importer, "--medium", self.medium()];
        expect(code, &[&arguments[..], &["--wipe", "--trust", self.office.trust_path()]].concat())
    }
}

#[test]
fn what_is_imported_is_wiped_off_a_medium_where_it_can_be_and_nobody_calls_that_secure() {
    let stage = Stage::new("wipe", Suite::Std);
    stage.ready();
    // A second name of a bundle somewhere on the medium is somebody else's; so is what lies beside our folder.
    let (bundle, kept) = (stage.a_bundle(), stage.medium.join("kept"));
    fs::hard_link(&bundle, &kept).unwrap();
    fs::write(stage.medium.join("holiday.jpg"), b"somebody's").unwrap();
    let before = fs::read(&kept).unwrap();
    let text = stage.import_and_wipe(0);
    assert!(text.contains("trip 17 from intranet: imported"), "{text}");
    assert!(text.contains("overwritten once") && text.contains("no secure deletion"), "{text}");
    assert!(text.contains("1 of them were removed and not overwritten"), "{text}");
    assert!(!stage.trip().exists());
    assert_eq!(fs::read(&kept).unwrap(), before);
    assert_eq!(fs::read(stage.medium.join("holiday.jpg")).unwrap(), b"somebody's");
    assert!(stage.import_and_wipe(0).contains("Nothing new on this medium"));
}

#[test]
fn a_wipe_follows_no_link_and_leaves_what_others_put_into_the_folder() {
    let stage = Stage::new("wipe-strangers", Suite::Std);
    stage.ready();
    let elsewhere = stage.office.dir.join("elsewhere");
    fs::write(&elsewhere, b"not on the medium").unwrap();
    symlink(&elsewhere, stage.trip().join("link")).unwrap();
    symlink(stage.office.dir.join("keys"), stage.trip().join("approvals/folder.approval")).unwrap();
    fs::write(stage.trip().join("virus.exe"), b"MZ").unwrap();
    fs::write(stage.trip().join("copy-2/approvals/note.txt"), b"a note").unwrap();
    let text = stage.import_and_wipe(0);
    assert!(text.contains("are none of ours and stay there"), "{text}");
    assert_eq!(fs::read(&elsewhere).unwrap(), b"not on the medium");
    assert_eq!(fs::read(stage.trip().join("virus.exe")).unwrap(), b"MZ");
    assert_eq!(fs::read(stage.trip().join("copy-2/approvals/note.txt")).unwrap(), b"a note");
    assert!(stage.trip().join("link").is_symlink() && stage.trip().join("approvals/folder.approval").is_symlink());
    assert!(sealed_in(&stage.trip()).iter().all(|path| path.ends_with("virus.exe")), "{:?}", sealed_in(&stage.trip()));
    assert!(!stage.trip().join("waybill").exists() && !stage.trip().join("copy-3").exists());
}

#[test]
fn what_a_wipe_left_of_a_trip_stops_no_other_trip_on_the_medium_and_is_told_at_the_end() {
    let stage = Stage::new("wipe-left", Suite::Std);
    stage.ready();
    let left = stage.medium.join("TRILOCK/16");
    fs::create_dir_all(left.join("copy-2/approvals")).unwrap();
    fs::write(left.join("copy-2/approvals/note.txt"), b"a note").unwrap();
    fs::write(left.join("holiday.jpg"), b"somebody's").unwrap();
    let text = stage.import(1);
    assert!(text.contains("trip 17 from intranet: imported"), "{text}");
    assert!(text.contains("TRILOCK/16") && text.contains("everything else on it was dealt with"), "{text}");
    let text = stage.import_and_wipe(1);
    assert!(!stage.trip().exists() && text.contains("TRILOCK/16"), "{text}");
    assert_eq!(fs::read(left.join("holiday.jpg")).unwrap(), b"somebody's");
    // A trip that lost its waybill and holds sealed files is one: it is heard as that.
    fs::write(left.join("00112233445566778899aabbccddeeff.bundle"), b"sealed").unwrap();
    let text = stage.import(3);
    assert!(!text.contains("everything else"), "{text}");
}

#[test]
fn a_trip_that_the_node_refused_is_not_wiped_and_one_that_it_took_before_is() {
    let stage = Stage::new("wipe-later", Suite::Gm);
    stage.ready();
    let at = fs::read(stage.a_bundle()).unwrap().len() / 2;
    flip(&stage.a_bundle(), at);
    let names = sealed_in(&stage.trip());
    stage.import_and_wipe(1);
    assert_eq!(sealed_in(&stage.trip()), names);
    flip(&stage.a_bundle(), at);
    stage.import(0);
    assert_eq!(sealed_in(&stage.trip()), names);
    // Died after it removed some of it.
    fs::remove_file(stage.a_bundle()).unwrap();
    fs::remove_dir_all(stage.trip().join("copy-2")).unwrap();
    assert!(stage.import_and_wipe(0).contains("files removed from the medium"));
    assert!(!stage.trip().exists());
    // And before the very last step.
    fs::create_dir(stage.trip()).unwrap();
    stage.import_and_wipe(0);
    assert!(!stage.trip().exists());
}

/// A trip that lapsed and of which nothing is left goes again under its number with no lines.
#[test]
fn an_empty_waybill_goes_the_whole_way_and_is_told_as_one_by_ferry_and_by_a_stranger() {
    let stage = Stage::new("empty", Suite::Std);
    stage.export();
    fs::remove_dir_all(stage.trip()).unwrap();
    let staged = stage.inner.layout.desk_trips().join("17");
    let bytes = fs::read(staged.join("waybill")).unwrap();
    let bill: Waybill = Signed::parse::<Waybill>(&bytes).unwrap().read_unverified().unwrap();
    let empty = Signed::make(&stage.office.intranet, &Waybill { lines: Vec::new(), ..bill });
    for entry in sealed_in(&staged) {
        fs::remove_file(entry).unwrap();
    }
    fs::write(staged.join("waybill"), empty.to_bytes()).unwrap();
    let again = ["reexport", "--spool", stage.inner.spool(), "--key", &stage.operator, "--trip", "17", "--medium"];
    let slip = ["--slip", stage.office.dir.to_str().unwrap()];
    assert!(expect(0, &[&again[..], &[stage.medium()], &slip].concat()).contains("trip 17: 0 files"));
    stage.approve(0, &stage.first);
    stage.approve(0, &stage.second);
    stage.confirm(0);

    // On its medium, and as it is kept in evidence.
    let evidence = stage.office.dir.join("evidence");
    fs::create_dir_all(&evidence).unwrap();
    fs::copy(staged.join("waybill"), evidence.join(format!("{}.waybill", empty.digest()))).unwrap();
    let medium = expect(0, &["verify", stage.medium(), "--trust", stage.office.trust_path()]);
    assert!(medium.contains("its waybill is empty and nothing else lies here"), "{medium}");
    let kept = expect(0, &["verify", evidence.to_str().unwrap(), "--trust", stage.office.trust_path()]);
    assert!(kept.contains("an empty waybill, nothing more comes under this number"), "{kept}");
    for place in [stage.medium(), evidence.to_str().unwrap()] {
        if let Some((holds, words)) = stranger(place, stage.office.trust_path()) {
            assert!(holds && words.contains("empty waybill"), "{words}");
        }
    }
    // What lies beside it is no part of it.
    fs::write(stage.trip().join("0123456789abcdef0123456789abcdef.bundle"), b"MZ").unwrap();
    expect(1, &["verify", stage.medium(), "--trust", stage.office.trust_path()]);
    fs::remove_file(stage.trip().join("0123456789abcdef0123456789abcdef.bundle")).unwrap();
    assert!(stage.import(0).contains("trip 17 from intranet: imported. 0 files"));
}

#[test]
fn the_overview_names_a_trip_that_lapsed_as_the_next_with_what_it_takes_and_what_it_leaves() {
    let stage = Stage::new("lapsed", Suite::Std);
    let queue = |more: &str| {
        let row = format!(
            r#"{{"queue": "outbox intranet-extranet", "entries": 3, "bytes": 5000, "next_entries": 1, "next_bytes": 2000{more}}}"#
        );
        fs::write(stage.inner.layout.status().join("status.json"), format!(r#"{{"queues": [{row}]}}"#)).unwrap();
        let trips = r#"[{"trip": 1, "direction": "out", "state": "expired"}, {"trip": 2, "direction": "out", "state": "expired"}]"#;
        fs::write(stage.inner.layout.status().join("trips.json"), trips).unwrap();
        expect(0, &["--spool", stage.inner.spool()])
    };
    let said = queue(r#", "next_again": 1, "later_entries": 2"#);
    assert!(said.contains("the next trip is 1,"), "{said}");
    assert!(said.contains("the next export is trip 1 again, which lapsed: 1 files"), "{said}");
    assert!(said.contains("2 files wait for the one after it") && !said.contains("for the next trip:"), "{said}");
    let said = queue("");
    assert!(said.contains("the next trip is 3,") && said.contains("for the next trip: 1 files"), "{said}");
}
