//! A year later: a delivery proven from folders of evidence with public keys alone, and every piece that is removed or
//! altered named. The commands of docs/auditor.md are run as they stand there.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "a test removes and alters files as a forger would")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use protocol::envelope::Envelope;
use protocol::evidence::Evidence;
use protocol::receipt::Receipt;
use protocol::{Signed, Suite, Zone};
use serde_json::Value;
use tests::programs::{program, programs, repository, words};
use tests::world::{Dangers, Office, World, ground};

/// Evidence of one parcel that went through all three zones, as three nodes kept it, and the cards: nothing else is
/// left of the office.
struct Archive {
    folder: tempfile::TempDir,
}

impl Archive {
    /// One day of an office, whose keys were retired before anybody asks; of its parcels one remains.
    fn new(suite: Suite) -> Archive {
        let office = Office::dated(suite, "2026-11-01", Some("2027-10-31")).unwrap();
        let world_folder = tempfile::Builder::new().prefix("trilock-year-").tempdir_in(ground()).unwrap();
        let root = world_folder.path();
        let mut world = World::new(3, &office, Dangers::Anywhere { deaths: 0 }, &["filing-5"], root).unwrap();
        world.run().unwrap_or_else(|fault| panic!("{}\n{fault}", world.story()));
        drop(world);
        let archive = Archive { folder: tempfile::tempdir().unwrap() };
        office.write_cards(&archive.path("trust")).unwrap();
        // The private halves lie in the folder of the world and in its memory; both are gone now.
        for zone in Zone::ALL {
            let to = archive.path("evidence").join(zone.name());
            fs::create_dir_all(&to).unwrap();
            for file in files(&root.join(zone.name()).join("evidence")) {
                if file.extension().is_some_and(|suffix| suffix == "proof") {
                    fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
                }
            }
        }
        archive
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.folder.path().join(inside)
    }

    fn proofs(&self) -> Vec<PathBuf> {
        files(&self.path("evidence"))
    }

    fn verify(&self, more: &[&str]) -> Output {
        let mut command = Command::new(program("ferry"));
        command.current_dir(self.folder.path()).args(["verify", "evidence", "--trust", "trust", "--delivered"]);
        command.args(more).output().unwrap()
    }

    /// What a verifier that shares no code with us says: does it hold, and what is missing? None without Python.
    fn stranger(&self) -> Option<bool> {
        let verifier = repository().join("tests/independent/verify.py");
        let mut command = Command::new("python3");
        command.current_dir(self.folder.path()).arg("-B").arg(verifier);
        let output = command.args(["--trust", "trust", "--delivered", "evidence"]).output();
        match output {
            Ok(output) => Some(output.status.success()),
            Err(_) => {
                println!("SKIPPED: python3 is not installed, the independent verifier was not asked");
                None
            }
        }
    }

    /// Both refuse, and ours says these words.
    fn refused(&self, what: &str, named: &[&str]) {
        let output = self.verify(&[]);
        let said = words(&output);
        assert!(!output.status.success(), "{what}: {said}");
        named.iter().for_each(|word| assert!(said.contains(word), "{what}: {word} is not named\n{said}"));
        assert_ne!(self.stranger(), Some(true), "{what}: a stranger finds nothing wrong");
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// A proof without what one node receipted; whoever does this needs no key.
fn without_receipts_of(node: &str, proof: &[u8]) -> Vec<u8> {
    let mut evidence = Evidence::parse(proof).unwrap();
    evidence.receipts.retain(|receipt| {
        let receipt: Receipt = Signed::parse::<Receipt>(receipt).unwrap().read_unverified().unwrap();
        receipt.node.as_str() != node
    });
    evidence.to_bytes()
}

/// How many hops a proof tells of.
fn hops(proof: &[u8]) -> usize {
    Envelope::parse(&Evidence::parse(proof).unwrap().envelope).unwrap().custody.len()
}

/// The copies of each piece of evidence, by file name.
fn pieces(archive: &Archive) -> BTreeMap<String, Vec<PathBuf>> {
    let mut pieces: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for path in archive.proofs() {
        pieces.entry(path.file_name().unwrap().to_string_lossy().into_owned()).or_default().push(path);
    }
    pieces
}

/// One copy for every byte, altered there: each is named by its file.
fn every_altered_byte_is_named(archive: &Archive, proof: &[u8]) {
    let folder = archive.path("altered");
    fs::create_dir(&folder).unwrap();
    for at in 0..proof.len() {
        let mut bytes = proof.to_vec();
        bytes[at] ^= 0x20;
        fs::write(folder.join(format!("{at}.proof")), bytes).unwrap();
    }
    let mut command = Command::new(program("ferry"));
    let output = command.current_dir(archive.folder.path()).args(["verify", "altered", "--trust", "trust", "--brief"]);
    let said = words(&output.output().unwrap());
    for at in 0..proof.len() {
        assert!(said.contains(&format!("FAIL  altered/{at}.proof:")), "byte {at} is altered and nobody says so");
    }
    fs::remove_dir_all(folder).unwrap();
}

fn proven_a_year_later(suite: Suite) {
    let archive = Archive::new(suite);
    let output = archive.verify(&[]);
    let said = words(&output);
    assert!(output.status.success(), "{said}");
    for word in
        ["stated by internet [", "hop 1: internet-extranet", "hop 2: extranet-intranet", "delivered, says intranet"]
    {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(said.contains("4 papers, 2 hops, one statement") && said.contains("first witnessed by extranet"), "{said}");
    // Retired keys, and receipts of the time: what was witnessed then is no matter of doubt now. The receipts themselves
    // are the word of nodes whose keys have ended as well.
    for word in ["the statement: key of", "hop 1: key of", "hop 2: key of", "the foot: key of"] {
        assert!(!said.contains(word), "{word}: {said}");
    }
    let last = "the receipt of intranet (delivered): key of intranet retired on 2027-10-31, time not witnessed";
    assert!(said.contains(last), "{said}");
    assert_ne!(archive.stranger(), Some(false));

    let pieces = pieces(&archive);
    assert_eq!(pieces.len(), 2, "two hops");
    for (name, copies) in &pieces {
        assert_eq!(copies.len(), 2, "two nodes keep {name}");
        let kept: Vec<Vec<u8>> = copies.iter().map(|path| fs::read(path).unwrap()).collect();
        let bundle = name.strip_suffix(".proof").unwrap().split_once('-').unwrap().1;
        let mend = || copies.iter().zip(&kept).for_each(|(path, bytes)| fs::write(path, bytes).unwrap());

        // One copy less: the delivery is proven by the other, and which is gone is said.
        fs::remove_file(&copies[0]).unwrap();
        let output = archive.verify(&[]);
        assert!(output.status.success() && words(&output).contains("1 of the 2 copies"), "{}", words(&output));
        fs::remove_file(&copies[1]).unwrap();
        match hops(&kept[0]) {
            1 => archive.refused("no evidence of the first hop", &["the evidence of hop 1", "internet"]),
            _ => archive.refused("no evidence of the last hop", &["the evidence of bundle", bundle]),
        }
        mend();

        every_altered_byte_is_named(&archive, &kept[0]);
    }
    // Every receipt of a node is cut out, wherever it stands.
    for node in ["extranet", "intranet"] {
        let kept: Vec<(PathBuf, Vec<u8>)> =
            archive.proofs().into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect();
        for (path, bytes) in &kept {
            fs::write(path, without_receipts_of(node, bytes)).unwrap();
        }
        archive.refused("no receipts", &["the receipt of", node]);
        kept.iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
    }
    // A card less is a signer less.
    fs::remove_file(archive.path("trust/extranet.sign.pub.pem")).unwrap();
    archive.refused("no card of the extranet", &["on no card"]);
}

#[test]
fn a_delivery_of_a_std_office_is_proven_a_year_later_and_what_is_removed_or_altered_is_named() {
    proven_a_year_later(Suite::Std);
}

#[test]
fn a_delivery_of_a_national_office_is_proven_a_year_later_and_what_is_removed_or_altered_is_named() {
    proven_a_year_later(Suite::Gm);
}

#[test]
fn the_account_is_one_page_in_either_language_that_says_what_was_checked_by_whose_key_and_witnessed_when() {
    let archive = Archive::new(Suite::Std);
    for (language, title, words_of_it) in [
        (
            "en",
            "Account of a verification",
            ["All 5 objects hold", "first witnessed by extranet", "signed by extranet ["],
        ),
        ("zh", "校验报告", ["个对象成立", "最早由 extranet", "签名"]),
    ] {
        let file = format!("account-{language}.html");
        let output = archive.verify(&["--report", &file, "--lang", language]);
        assert!(output.status.success(), "{}", words(&output));
        let page = fs::read_to_string(archive.path(&file)).unwrap();
        assert!(page.contains(title), "{page}");
        words_of_it.iter().for_each(|word| assert!(page.contains(word), "{word}: {page}"));
        let card = fs::read_to_string(archive.path("trust/internet.sign.pub.pem")).unwrap();
        let fingerprint = card.lines().find_map(|line| line.strip_prefix("Fingerprint: ")).unwrap();
        assert!(page.contains(fingerprint), "the keys that were believed stand on it");
        assert!(!page.contains("<script") && !page.contains("http"), "nothing from elsewhere");
        // A page is never written over another one.
        assert_eq!(archive.verify(&["--report", &file]).status.code(), Some(3));
    }
    let victim = archive.proofs().remove(0);
    let mut bytes = fs::read(&victim).unwrap();
    bytes[300] ^= 1;
    fs::write(&victim, bytes).unwrap();
    assert!(!archive.verify(&["--report", "bad.html"]).status.success());
    let page = fs::read_to_string(archive.path("bad.html")).unwrap();
    assert!(page.contains("class=\"bad\"") && page.contains(victim.file_name().unwrap().to_str().unwrap()), "{page}");
    let lines = String::from_utf8(archive.verify(&["--json"]).stdout).unwrap();
    let rows: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(rows.iter().any(|row| row["ok"] == false) && rows.iter().any(|row| row["complete"] == true), "{lines}");
}

/// The commands of a page: those for every suite, and those for this one, in order.
fn commands(page: &str, suite: Suite) -> String {
    let (mut on, mut out) = (false, String::new());
    for line in page.lines() {
        match line.strip_prefix("```") {
            Some("") => on = false,
            Some(word) => on = word == "sh" || word == format!("sh {suite}"),
            None if on => out += &format!("{line}\n"),
            None => {}
        }
    }
    out
}

fn auditors_script(archive: &Archive, suite: Suite) -> Option<Output> {
    let page = fs::read_to_string(repository().join("docs/auditor.md")).unwrap();
    for program in ["openssl", "bash", "python3"] {
        if Command::new(program).arg(if program == "openssl" { "version" } else { "--version" }).output().is_err() {
            println!("SKIPPED: {program} is not installed, the commands of docs/auditor.md were not run");
            return None;
        }
    }
    let path = std::env::join_paths(
        std::iter::once(programs().to_owned()).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let script = format!("set -euo pipefail\n{}", commands(&page, suite));
    let mut command = Command::new("bash");
    command.current_dir(archive.folder.path()).env("PATH", path.unwrap()).env("REPOSITORY", repository());
    Some(command.args(["-c", &script]).output().unwrap())
}

#[test]
fn the_auditors_commands_run_as_they_stand_on_the_page_in_both_suites() {
    for suite in Suite::ALL {
        let archive = Archive::new(suite);
        let Some(output) = auditors_script(&archive, suite) else { return };
        assert!(output.status.success(), "{suite}: {}", words(&output));
        let verified = if suite == Suite::Gm { "Verified OK" } else { "Signature Verified Successfully" };
        assert_eq!(
            words(&output).matches(verified).count(),
            8,
            "four with ferry's help, four by hand: {}",
            words(&output)
        );
        // The same commands find a changed word.
        ["account.html", "account.jsonl"].iter().for_each(|file| fs::remove_file(archive.path(file)).unwrap());
        let victim = archive.proofs().remove(0);
        let mut bytes = fs::read(&victim).unwrap();
        bytes[300] ^= 1;
        fs::write(&victim, bytes).unwrap();
        assert!(!auditors_script(&archive, suite).unwrap().status.success(), "{suite}");
    }
}

#[test]
fn both_pages_for_auditors_have_the_same_commands() {
    let page = |name: &str| fs::read_to_string(repository().join("docs").join(name)).unwrap();
    for suite in Suite::ALL {
        assert_eq!(commands(&page("auditor.md"), suite), commands(&page("auditor.zh-CN.md"), suite));
        assert!(commands(&page("auditor.md"), suite).lines().count() > 40);
    }
}
