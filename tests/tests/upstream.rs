//! What an application developer is told in docs/upstream-apps.md, done to real nodes over loopback.
#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test fail as a test does")]
#![allow(clippy::disallowed_methods, reason = "a test makes and removes files as an app would")]

use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::office::{Office, OneWay, Wishes};
use tests::papers;
use tests::programs::{programs, repository, words};

/// Far above what any step here needs; a machine that is busy must not fail a test.
const STEP: Duration = Duration::from_secs(120);

fn office(root: &Path) -> Office {
    let wishes = Wishes {
        suite: "std".to_owned(),
        one_way: OneWay::Folder,
        repository: repository(),
        programs: programs().to_owned(),
        round_every_s: 3,
    };
    Office::found(root, wishes, Ok).unwrap()
}

fn up(office: &mut Office, node: &'static str) {
    office.start(node).unwrap();
    let status = office.spool(node).join("status/status.json");
    assert!(office.await_that(STEP, |_| status.exists().then_some(())).is_some(), "{node} starts");
}

fn told(office: &mut Office, node: &str, route: &str, name: &str, states: &[&str]) -> Value {
    let found = office.await_that(STEP, |office| {
        let (state, notice) = office.notice(node, route, name)?;
        states.contains(&state.as_str()).then_some(notice)
    });
    found.unwrap_or_else(|| panic!("{name} is {:?}, not {states:?}", office.notice(node, route, name)))
}

/// The code blocks of one language in a document.
fn blocks(document: &str, language: &str) -> Vec<String> {
    let text = fs::read_to_string(repository().join("docs").join(document)).unwrap();
    let (begin, mut found, mut block) = (format!("```{language}"), Vec::new(), None::<String>);
    for line in text.lines() {
        match &mut block {
            None if line == begin => block = Some(String::new()),
            Some(_) if line == "```" => found.extend(block.take()),
            Some(block) => *block += &format!("{line}\n"),
            None => {}
        }
    }
    found
}

#[test]
fn both_languages_show_the_same_examples() {
    for language in ["python", "java", "powershell", "ini", "sh"] {
        let (english, chinese) = (blocks("upstream-apps.md", language), blocks("upstream-apps.zh-CN.md", language));
        assert!(!english.is_empty(), "no {language} in the document");
        assert!(english == chinese, "the {language} examples differ between the two languages");
    }
}

#[test]
fn the_documents_name_every_state_and_every_reason() {
    for document in ["upstream-apps.md", "upstream-apps.zh-CN.md"] {
        let text = fs::read_to_string(repository().join("docs").join(document)).unwrap();
        let states = spool::NoticeState::ALL.map(|state| state.name()).to_vec();
        let waits = spool::Wait::ALL.map(|why| why.name()).to_vec();
        let reasons = protocol::Reason::ALL.map(|reason| reason.name()).to_vec();
        for word in [states, waits, reasons].concat() {
            assert!(text.contains(&format!("| `{word}` |")), "{document} has no line about {word}");
        }
    }
}

/// The example as the document prints it, run by the Python of this machine.
fn python(script: &Path, arguments: &[&Path]) -> Output {
    Command::new("python3").arg(script).args(arguments).env("PYTHONDONTWRITEBYTECODE", "1").output().unwrap()
}

#[test]
fn the_python_example_drops_waits_for_delivered_and_hears_of_a_refusal() {
    if !Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success()) {
        println!("SKIPPED: python3 is not installed");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let mut office = office(root.path());
    up(&mut office, "internet");
    up(&mut office, "extranet");
    let script = root.path().join("drop_and_wait.py");
    fs::write(&script, blocks("upstream-apps.md", "python").concat()).unwrap();
    let inlet = office.inlet("internet", "applications");
    let notices = office.spool("internet").join("notices/applications");

    let form = root.path().join("申请-1.json");
    fs::write(&form, papers::application_form(1)).unwrap();
    let case = root.path().join("case-2");
    fs::create_dir_all(case.join("scans")).unwrap();
    fs::write(case.join("form.json"), papers::application_form(2)).unwrap();
    fs::write(case.join("scans/1.jpg"), papers::scanned_page(3, 168, 80)).unwrap();
    for source in [&form, &case] {
        let output = python(&script, &[&inlet, &notices, source]);
        assert_eq!(output.status.code(), Some(0), "{}", words(&output));
        let notice: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(notice["state"], "delivered");
        // It stands where it was meant for, byte for byte, under the name that the example gave it.
        let delivered = office.outlet("extranet", "applications").join(notice["name"].as_str().unwrap());
        if source == &form {
            assert_eq!(fs::read(&delivered).unwrap(), fs::read(&form).unwrap());
        } else {
            assert_eq!(fs::read(delivered.join("scans/1.jpg")).unwrap(), fs::read(case.join("scans/1.jpg")).unwrap());
        }
    }

    let letter = root.path().join("letter.docx");
    fs::write(&letter, papers::letter_with_hidden_shapefile()).unwrap();
    let output = python(&script, &[&inlet, &notices, &letter]);
    assert_eq!(output.status.code(), Some(1), "{}", words(&output));
    let notice: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(["refused", "quarantined"].contains(&notice["state"].as_str().unwrap()));
    assert!(notice["reason"].is_string());
    assert_eq!(fs::read_dir(office.outlet("extranet", "applications")).unwrap().count(), 3, "two parcels and .staging");
}

#[test]
fn a_file_that_changes_between_inspection_and_sealing_is_refused_and_never_sealed() {
    let root = tempfile::tempdir().unwrap();
    let mut office = office(root.path());
    up(&mut office, "internet");
    let name = "lines.txt";
    let aside = root.path().join(name);
    let mut app = File::options().read(true).write(true).create_new(true).open(&aside).unwrap();
    // Large enough that sealing still reads when its last byte changes; inspected whole before.
    let line = b"words that say nothing of any place\n".repeat(29_000);
    let mut bytes = 0;
    while bytes < 60_000_000 {
        app.write_all(&line).unwrap();
        bytes += line.len() as u64;
    }
    fs::rename(&aside, office.inlet("internet", "own-files").join(name)).unwrap();
    // A seal in the making says that inspection is over. If the change came too late, or were not seen, the parcel
    // would be accepted, and this test fail.
    let sealing = office.spool("internet").join("queues/sealing");
    let until = Instant::now() + STEP;
    while fs::read_dir(&sealing).unwrap().next().is_none() {
        assert!(Instant::now() < until && office.notice("internet", "own-files", name).is_none(), "never sealed");
        std::hint::spin_loop();
    }
    app.write_all_at(b"!", bytes - 1).unwrap();
    let notice = told(&mut office, "internet", "own-files", name, &["refused", "accepted", "sent"]);
    assert_eq!((&notice["state"], &notice["reason"]), (&"refused".into(), &"changed-while-read".into()), "{notice}");
    let outbox = office.spool("internet").join("queues/outbox/internet-extranet");
    assert_eq!(fs::read_dir(outbox).unwrap().count(), 0);
}

#[test]
fn a_drop_of_one_byte_is_delivered_and_an_empty_file_is_told_what_it_is() {
    let root = tempfile::tempdir().unwrap();
    let mut office = office(root.path());
    up(&mut office, "internet");
    up(&mut office, "extranet");
    for (name, bytes) in [("one.txt", b"1".as_slice()), ("none.txt", b"")] {
        office.drop_in("internet", "own-files", name, &[(name, bytes)]).unwrap();
    }
    told(&mut office, "internet", "own-files", "one.txt", &["delivered"]);
    assert_eq!(fs::read(office.outlet("extranet", "own-files").join("one.txt")).unwrap(), b"1");
    let notice = told(&mut office, "internet", "own-files", "none.txt", &["delivered", "refused", "quarantined"]);
    assert_eq!(notice["state"], "refused", "{notice}");
}

/// Kilobytes of memory that a process held at its peak.
fn peak_kb(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_drop_of_twenty_gib_is_taken_with_bounded_memory() {
    if std::env::var_os("TRILOCK_SOAK").is_none() {
        println!("SKIPPED: writes 20 GiB; set TRILOCK_SOAK=1");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let mut office = office(root.path());
    up(&mut office, "extranet");
    let aside: PathBuf = root.path().join("volume.bin");
    let mut volume = File::create(&aside).unwrap();
    volume.set_len(20 << 30).unwrap();
    volume.seek(SeekFrom::Start((20 << 30) - 4)).unwrap();
    volume.write_all(b"last").unwrap();
    drop(volume);
    let pid = office.nodes["extranet"].pid().unwrap();
    let before = peak_kb(pid);
    fs::rename(&aside, office.inlet("extranet", "archives").join("volume.bin")).unwrap();
    let begun = Instant::now();
    let found = office.await_that(Duration::from_secs(3_600), |office| {
        office.notice("extranet", "archives", "volume.bin").filter(|(state, _)| state != "waiting")
    });
    let (state, notice) = found.unwrap();
    assert!(["accepted", "sent"].contains(&state.as_str()), "{notice}");
    let after = peak_kb(pid);
    println!("20 GiB in {:?}, {before} kB before, {after} kB at the peak", begun.elapsed());
    assert!(after < before + (64 << 10), "memory grew from {before} to {after} kB");
    let mut bundle = Vec::new();
    for entry in fs::read_dir(office.spool("extranet").join("queues/outbox/extranet-intranet")).unwrap() {
        bundle.push(entry.unwrap().metadata().unwrap().len());
    }
    assert!(bundle.iter().any(|size| *size > 20 << 30), "{bundle:?}");
}
