//! What holds of the guard whatever it is shown: it says the same twice, the order of members changes nothing, and what
//! was made to cost without end costs less than its limits.
#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test fail as a test does")]
#![allow(clippy::disallowed_methods, reason = "a test writes the program that it starts")]
#![allow(clippy::cast_possible_truncation, reason = "dice far below any limit")]

use std::io::{Cursor, Read};

use guard::{DetectVerdict, Detection, detect};
use protocol::Crossing;
use station::sandbox::{Sandbox, Start};
use tests::bombs;
use tests::fuzz::{all_documents, mutate};
use tests::papers::{Noise, zip_of};
use tests::programs::program;

/// A verdict and its evidence, in an order of its own. Of evidence without end only the verdict is compared: which of
/// it is kept depends on what comes first.
fn said(seen: &Detection) -> (&'static str, Vec<String>) {
    const KEPT_MAX: usize = 64;
    let mut evidence: Vec<String> = seen.findings.iter().map(|finding| format!("{finding:?}")).collect();
    evidence.sort();
    if evidence.len() >= KEPT_MAX {
        evidence.clear();
    }
    (seen.verdict.name(), evidence)
}

#[test]
fn the_same_bytes_are_judged_the_same_twice() {
    let documents = all_documents();
    let corpus: Vec<Vec<u8>> = documents.iter().map(|(_, bytes)| bytes.clone()).collect();
    let mut noise = Noise::new(0x7717);
    let mutants = (0..4_000).map(|_| {
        let one = noise.below(documents.len() as u64) as usize;
        (documents.get(one).unwrap().0.clone(), mutate(&mut noise, &corpus))
    });
    for (name, bytes) in documents.iter().cloned().chain(mutants) {
        let [first, again] = [detect(&name, &bytes), detect(&name, &bytes)];
        let exactly = |seen: &Detection| format!("{} {:?}", seen.verdict.name(), seen.findings);
        assert_eq!(exactly(&first), exactly(&again), "{name}");
    }
}

/// A parser that needs what its locks take away - a file, a thread - is killed by them, and what it reads here in a test
/// nobody reads in an office.
#[test]
fn a_locked_worker_sees_what_is_seen_without_locks() {
    let sandbox = Sandbox::started_by(Start { program: program("intranet-node"), ..Start::default() });
    for (name, bytes) in all_documents() {
        let by_worker = guard::detect_by(&mut sandbox.visit(Crossing::InternetToExtranet), &name, &bytes).unwrap();
        assert_eq!(said(&detect(&name, &bytes)), said(&by_worker), "{name}");
    }
    assert_eq!(sandbox.failures(), 0, "no worker died");
}

fn shuffled<T>(noise: &mut Noise, mut things: Vec<T>) -> Vec<T> {
    for last in (1..things.len()).rev() {
        things.swap(last, noise.below(last as u64 + 1) as usize);
    }
    things
}

fn zipped(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    zip_of(&files, false)
}

/// Any documents side by side in one archive.
#[test]
fn the_order_of_an_archives_members_changes_nothing() {
    let documents = all_documents();
    let mut noise = Noise::new(0x02de);
    for round in 0..120 {
        let some = (0..2 + noise.below(4)).map(|at| {
            let (name, bytes) = documents.get(noise.below(documents.len() as u64) as usize).unwrap();
            (format!("{at}-{name}"), bytes.clone())
        });
        let some: Vec<_> = some.collect();
        let first = said(&detect("case.zip", &zipped(&some)));
        let other = shuffled(&mut noise, some);
        assert_eq!(first, said(&detect("case.zip", &zipped(&other))), "round {round}");
    }
}

fn members(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    let count = archive.len();
    let one = |at| {
        let mut member = archive.by_index(at).unwrap();
        let mut bytes = Vec::new();
        member.read_to_end(&mut bytes).unwrap();
        (member.name().unwrap().into_owned(), bytes)
    };
    (0..count).map(one).collect()
}

/// A workbook whose strings come behind the sheets that share them, a letter whose relations come last.
#[test]
fn the_order_of_the_parts_of_a_document_changes_nothing() {
    let mut noise = Noise::new(0x0f1ce);
    let mut found = 0;
    for (name, bytes) in all_documents() {
        let parts =
            if ["docx", "xlsx"].iter().any(|suffix| name.ends_with(suffix)) { members(&bytes) } else { continue };
        found += 1;
        let first = said(&detect(&name, &zipped(&parts)));
        for _ in 0..12 {
            let other = shuffled(&mut noise, parts.clone());
            let names: Vec<&String> = other.iter().map(|(name, _)| name).collect();
            assert_eq!(first, said(&detect(&name, &zipped(&other))), "{name} as {names:?}");
        }
    }
    assert!(found > 8, "{found} documents have parts");
}

/// The kernel counts, not this test: a worker that asks for more than 64 MiB of memory to write to is refused it and
/// dies, one that computes for more than a second is killed. Either would be an answer by nobody, and fail.
#[test]
fn bombs_are_refused_within_a_second_of_processor_time_and_64_mib() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = bombs::small_sandbox(folder.path(), &program("intranet-node")).unwrap();
    for (name, bytes, rule) in bombs::all() {
        // Outward each question has a worker of its own, so that none lives on what another left of its second.
        let seen = guard::detect_by(&mut sandbox.visit(Crossing::IntranetToExtranet), name, &bytes);
        let seen = seen.unwrap_or_else(|silence| panic!("{name}: {}", silence.rule()));
        let rules: Vec<&str> = seen.findings.iter().map(|finding| finding.rule).collect();
        assert_eq!(seen.verdict, DetectVerdict::Uninspectable, "{name}: {rules:?}");
        assert!(rules.contains(&rule), "{name}: {rules:?}");
    }
    assert_eq!(sandbox.failures(), 0, "no worker died");
}
