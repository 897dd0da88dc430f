//! The second opinion: a bundle as an office really seals it, checked with stock OpenSSL and public keys alone.
#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test fail as a test does")]
#![allow(clippy::disallowed_methods, reason = "a test makes and removes files as an auditor would")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use protocol::Signed;
use protocol::envelope::{Envelope, Footer};
use tests::office::{Office, OneWay, Wishes};
use tests::papers;
use tests::programs::{programs, repository, words};

const STEP: Duration = Duration::from_secs(60);

fn openssl(arguments: &[&str]) -> Option<Output> {
    Command::new("openssl").args(arguments).output().ok()
}

/// OpenSSL 1.1.1 knows SM2 signatures only through other words; what is asked for here came with 3.0.
fn knows_sm2() -> bool {
    let version =
        openssl(&["version"]).map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let curves = openssl(&["ecparam", "-list_curves"]).map(|output| output.stdout).unwrap_or_default();
    let major = version.strip_prefix("OpenSSL ").and_then(|rest| rest.split('.').next()?.parse().ok()).unwrap_or(0);
    major >= 3 && String::from_utf8_lossy(&curves).contains("SM2")
}

/// A bundle in the outbox of an office's first node, whose neighbour is down; too large to share a segment.
fn held_bundle(office: &mut Office) -> PathBuf {
    office.start("internet").unwrap();
    let inlet = office.inlet("internet", "applications");
    assert!(office.await_that(STEP, |_| inlet.is_dir().then_some(())).is_some());
    let form = papers::application_form(1);
    let scan = papers::scanned_page(7, 2_400, 1_800);
    office
        .drop_in("internet", "applications", "case-1", &[("form.json", form.as_bytes()), ("scans/1.jpg", &scan)])
        .unwrap();
    let outbox = office.spool("internet").join("queues/outbox/internet-extranet");
    let found = office.await_that(STEP, |_| {
        let mut entries = fs::read_dir(&outbox).ok()?.filter_map(Result::ok).map(|entry| entry.path());
        entries.find(|path| path.extension().is_some_and(|suffix| suffix == "bundle"))
    });
    found.unwrap_or_else(|| {
        panic!("a bundle in the outbox; the notice is {:?}", office.notice("internet", "applications", "case-1"))
    })
}

fn check_with_openssl(suite: &str) {
    let root = tempfile::tempdir().unwrap();
    let wishes = Wishes {
        suite: suite.to_owned(),
        one_way: OneWay::Folder,
        repository: repository(),
        programs: programs().to_owned(),
        round_every_s: 3,
    };
    let mut office = Office::found(root.path(), wishes, Ok).unwrap();
    let bundle = held_bundle(&mut office);
    let path = |inside: &str| root.path().join(inside).to_string_lossy().into_owned();
    let (bundle, trust) = (bundle.to_string_lossy().into_owned(), path("extranet/trust"));
    let said = office.ferry(&["verify", &bundle, "--trust", &trust]).unwrap();
    assert!(said.contains("ok"), "{said}");

    let (signed, signature, signer) = (path("msg.bin"), path("sig.bin"), path("pk.pem"));
    for part in ["footer", "statement", "custody-1"] {
        let extract = ["--signed-bytes", &signed, "--signature", &signature, "--signer", &signer, "--trust", &trust];
        office.ferry(&[&["inspect", &bundle, "--part", part], &extract[..]].concat()).unwrap();
        let verify = |message: &str| -> Output {
            let national = [
                "dgst",
                "-sm3",
                "-verify",
                &signer,
                "-sigopt",
                "distid:1234567812345678",
                "-signature",
                &signature,
                message,
            ];
            let plain =
                ["pkeyutl", "-verify", "-pubin", "-inkey", &signer, "-rawin", "-in", message, "-sigfile", &signature];
            openssl(if suite == "gm" { &national } else { &plain }).unwrap()
        };
        let good = verify(&signed);
        assert!(good.status.success(), "{suite} {part}: {}", words(&good));
        // A second opinion that says yes to everything is none.
        let mut bytes = fs::read(&signed).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(path("other.bin"), bytes).unwrap();
        assert!(!verify(&path("other.bin")).status.success(), "{suite} {part}: a changed message verifies");
    }
    foot_belongs_to_head(suite, Path::new(&bundle), &path("envelope.der"));
}

/// What the foot says of the head, computed by OpenSSL; and both read as the plain DER they are.
fn foot_belongs_to_head(suite: &str, bundle: &Path, envelope_file: &str) {
    let bytes = fs::read(bundle).unwrap();
    let length = usize::try_from(u32::from_be_bytes(bytes[8..12].try_into().unwrap())).unwrap();
    let envelope_bytes = &bytes[12..12 + length];
    let envelope = Envelope::parse(envelope_bytes).unwrap();
    let foot = 12 + length + usize::try_from(envelope.payload_bytes).unwrap() + 4;
    let footer: Footer = Signed::parse::<Footer>(&bytes[foot..]).unwrap().read_unverified().unwrap();
    fs::write(envelope_file, envelope_bytes).unwrap();
    let digest = if suite == "gm" { "-sm3" } else { "-sha256" };
    let output = openssl(&["dgst", digest, "-r", envelope_file]).unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said.split(' ').next(), Some(footer.envelope.to_string().as_str()), "{}", words(&output));
    let shown = openssl(&["asn1parse", "-inform", "DER", "-in", envelope_file]).unwrap();
    assert!(
        shown.status.success() && String::from_utf8_lossy(&shown.stdout).contains("UTF8STRING        :internet"),
        "{}",
        words(&shown)
    );
}

#[test]
fn a_bundle_of_a_national_office_verifies_with_openssl_alone() {
    if !knows_sm2() {
        println!("SKIPPED: no openssl here that knows SM2 (3.0 or later)");
        return;
    }
    check_with_openssl("gm");
}

#[test]
fn a_bundle_of_a_std_office_verifies_with_openssl_alone() {
    if openssl(&["version"]).is_none() {
        println!("SKIPPED: openssl is not installed");
        return;
    }
    check_with_openssl("std");
}
