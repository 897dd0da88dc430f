//! Keys, verification, inspection, ledger and intake through the built binary.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "what a test breaks on purpose need not survive a power cut")]

mod world;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use protocol::keys::VerifyingKey;
use protocol::ledger::{Checkpoint, Event, Local, Record, leaf};
use protocol::parcel::Label;
use protocol::receipt::Head;
use protocol::request::Request;
use protocol::tree::node;
use protocol::trust::Role;
use protocol::{Signed, Suite, Timestamp, Zone};
use spool::segment::{self, Health};
use world::{Daemon, Office, expect, ferry, json_lines, name, out, scratch};

#[test]
fn keygen_makes_a_private_file_and_a_card_and_never_overwrites() {
    for suite in ["std", "gm"] {
        let dir = scratch(&format!("keygen-{suite}"));
        let to = dir.to_str().unwrap();
        let arguments =
            ["keygen", "--zone", "intranet", "--role", "approver", "--holder", "qian", "--suite", suite, "--out", to];
        let text = expect(0, &arguments);
        assert!(text.contains("fingerprint"), "{text}");
        let private = dir.join("qian.key.pem");
        assert_eq!(fs::metadata(&private).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(fs::read_to_string(&private).unwrap().starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
        let card = fs::read_to_string(dir.join("qian.pub.pem")).unwrap();
        assert!(card.contains("Role: approver") && card.contains(&format!("Suite: {suite}")));
        let before = fs::read(&private).unwrap();
        assert!(expect(1, &arguments).contains("never overwritten"));
        assert_eq!(fs::read(&private).unwrap(), before);
    }
}

#[test]
fn keygen_refuses_short_passphrases_opening_keys_and_missing_folders() {
    let dir = scratch("keygen-refused");
    let to = dir.to_str().unwrap();
    let short = dir.join("short");
    fs::write(&short, "1234\n").unwrap();
    let arguments =
        ["keygen", "--zone", "intranet", "--role", "operator", "--holder", "zhao", "--suite", "std", "--out", to];
    let text = expect(2, &[&arguments[..], &["--passphrase-file", short.to_str().unwrap()]].concat());
    assert!(text.contains("4 characters"), "{text}");
    assert!(expect(2, &[&arguments[..], &["--use", "seal"]].concat()).contains("init"));
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
    let nowhere = dir.join("nowhere");
    expect(
        3,
        &[
            "keygen",
            "--zone",
            "intranet",
            "--role",
            "operator",
            "--holder",
            "z",
            "--suite",
            "std",
            "--out",
            nowhere.to_str().unwrap(),
        ],
    );
    expect(2, &["keygen", "--zone", "moon"]);
    assert!(expect(2, &["export", "--key", "k", "--medium-id", "d", "--carrier", "c"]).contains("no trip was opened"));
    assert!(expect(2, &["--spool", "/tmp", "trips"]).contains("write it behind"));
}

#[test]
fn a_medium_is_disposed_of_by_an_operator_or_by_a_witness_never_by_both_in_one_word() {
    let asked = ["dispose", "--key", "x", "--medium-id", "d", "--reason", "shredded"];
    assert!(expect(2, &asked).contains("--witness"));
    let both = [&asked[..], &["--witness", "a", "--operator", "b"]].concat();
    assert!(expect(2, &both).contains("cannot be used with"));

    let mut office = Office::new("dispose", Suite::Gm);
    let operator = office.person("zhao", "operator", "intranet");
    let witness = office.person("qian", "auditor", "intranet");
    let node = Daemon::start(&office, "intranet", Vec::new());
    let say = |key: &str, whom: [&str; 2]| {
        let arguments =
            ["dispose", "--spool", node.spool(), "--medium-id", "disc-0042", "--reason", "shredded", "--key", key];
        expect(0, &[&arguments[..], &whom].concat())
    };
    let said = say(&operator, ["--witness", "qian"]);
    assert!(said.contains("within seven days qian says the same") && said.contains("--operator zhao"), "{said}");
    let media = || expect(0, &["media", "--spool", node.spool()]);
    assert!(media().contains("medium disc-0042 (out): not used yet"));
    assert!(say(&witness, ["--operator", "zhao"]).contains("medium disc-0042 is disposed of"));
    assert!(media().contains("medium disc-0042 (out): disposed of, 2026-11-21T23:59:59"));
    assert!(expect(0, &["--lang", "zh", "media", "--spool", node.spool()]).contains("已销毁"));
}

#[test]
fn verify_says_what_was_checked_by_which_key_and_that_evidence_has_no_content() {
    for suite in Suite::ALL {
        let office = Office::new(&format!("verify-{suite}"), suite);
        let made = office.bundle(1, &[9; 100_000]);
        let papers = office.dir.join("papers/2026/11/22");
        fs::create_dir_all(&papers).unwrap();
        fs::write(papers.join("a.bundle"), &made.bytes).unwrap();
        fs::write(papers.join("a.proof"), &made.evidence).unwrap();
        fs::write(papers.join("a.receipt"), &made.receipt).unwrap();
        fs::write(papers.join("b.receipts"), office.batch(2).1).unwrap();
        fs::write(papers.join("notes.txt"), b"not ours").unwrap();
        let root = office.dir.join("papers");
        let text = expect(0, &["verify", root.to_str().unwrap(), "--trust", office.trust_path()]);
        assert!(text.contains("content not present") && text.contains("3 papers, 1 hops, one statement"), "{text}");
        assert!(text.contains("intranet [") && text.contains("other files passed over 1"), "{text}");
        let lines = json_lines(&["verify", root.to_str().unwrap(), "--trust", office.trust_path()]);
        assert_eq!(lines.last().unwrap()["summary"]["checked"], 4);
        assert!(
            lines
                .iter()
                .any(|line| line["what"] == "evidence" && line["facts"]["receipts"][0]["outcome"] == "delivered")
        );
    }
}

#[test]
fn deliveries_of_nothing_are_not_proven_by_a_batch_of_receipts() {
    let office = Office::new("proofs-nothing", Suite::Std);
    let papers = office.dir.join("papers");
    fs::create_dir_all(&papers).unwrap();
    fs::write(papers.join("b.receipts"), office.batch(2).1).unwrap();
    let arguments = ["verify", papers.to_str().unwrap(), "--trust", office.trust_path()];
    expect(0, &arguments);
    let text = expect(1, &[&arguments[..], &["--delivered"]].concat());
    assert!(text.contains("no paper of any parcel was found"), "{text}");
}

#[test]
fn inspect_cuts_out_receipts_and_papers_that_stand_alone() {
    for suite in Suite::ALL {
        let office = Office::new(&format!("inspect-papers-{suite}"), suite);
        let made = office.bundle(1, b"words");
        for (name, bytes, part, key) in [
            ("a.proof", made.evidence, "receipt-1", &office.extranet),
            ("a.receipt", made.receipt, "footer", &office.extranet),
            ("b.receipts", office.batch(2).1, "footer", &office.intranet),
        ] {
            let at = |name: &str| office.dir.join(name).to_str().unwrap().to_owned();
            fs::write(at(name), bytes).unwrap();
            let (message, signature, signer) = (at("msg"), at("sig"), at("pem"));
            let asked = ["--signed-bytes", &message, "--signature", &signature, "--signer", &signer];
            let file = at(name);
            let text =
                expect(0, &[&["inspect", &file, "--part", part, "--trust", office.trust_path()], &asked[..]].concat());
            assert!(text.contains("openssl"), "{text}");
            let read = VerifyingKey::from_pem(&fs::read_to_string(&signer).unwrap()).unwrap();
            assert_eq!(read.id(), key.public().id(), "{name}");
            assert!(read.verify(&fs::read(&message).unwrap(), &fs::read(&signature).unwrap()).is_ok(), "{name}");
        }
        let proof = office.dir.join("a.proof");
        let text = expect(2, &["inspect", proof.to_str().unwrap(), "--part", "receipt-2"]);
        assert!(text.contains("1 receipts"), "{text}");
    }
}

#[test]
fn verify_names_the_broken_file_and_the_unknown_signer() {
    let office = Office::new("verify-broken", Suite::Std);
    let made = office.bundle(1, b"words");
    let path = office.dir.join("x.bundle");
    let at = path.to_str().unwrap();
    for broken in [made.bytes.len() / 2, made.bytes.len() - 2] {
        let mut bytes = made.bytes.clone();
        bytes[broken] ^= 1;
        fs::write(&path, bytes).unwrap();
        let text = expect(1, &["verify", at, "--trust", office.trust_path()]);
        assert!(text.contains("FAIL") && text.contains("x.bundle"), "{text}");
    }
    fs::write(&path, &made.bytes).unwrap();
    expect(0, &["verify", at, "--trust", office.trust_path()]);
    fs::remove_file(office.trust_dir.join("intranet.pub.pem")).unwrap();
    assert!(expect(1, &["verify", at, "--trust", office.trust_path()]).contains("on no card"));
    let missing = office.dir.join("nothing-here");
    assert!(expect(1, &["verify", missing.to_str().unwrap(), "--trust", office.trust_path()]).contains("nothing-here"));
}

#[test]
fn papers_of_one_parcel_that_tell_of_two_statements_fail() {
    let office = Office::new("two-statements", Suite::Std);
    let parcel = protocol::id::new_id(Timestamp(5), [3; 10]);
    let dir = office.dir.join("evidence");
    fs::create_dir_all(&dir).unwrap();
    for (at, content) in [b"first".as_slice(), b"other"].into_iter().enumerate() {
        fs::write(dir.join(format!("{at}.proof")), office.bundle_of(parcel, at as u64 + 1, content).evidence).unwrap();
    }
    let text = expect(1, &["verify", dir.to_str().unwrap(), "--trust", office.trust_path()]);
    assert!(text.contains("another parcel statement"), "{text}");
}

#[test]
fn stock_openssl_verifies_every_signature_of_a_bundle() {
    let installed = Command::new("openssl").arg("version").output().is_ok();
    if !installed {
        eprintln!("SKIPPED: openssl is not installed");
        return;
    }
    for suite in Suite::ALL {
        let office = Office::new(&format!("openssl-{suite}"), suite);
        let made = office.bundle(1, b"a result");
        for (file, bytes) in [("x.bundle", &made.bytes), ("x.proof", &made.evidence)] {
            let path = office.dir.join(file);
            fs::write(&path, bytes).unwrap();
            for part in ["footer", "statement", "custody-1"] {
                let [signed, signature, signer] = ["signed.bin", "sig.der", "signer.pem"].map(|f| office.dir.join(f));
                let [signed, signature, signer] = [&signed, &signature, &signer].map(|p| p.to_str().unwrap());
                let arguments = [
                    "inspect",
                    path.to_str().unwrap(),
                    "--part",
                    part,
                    "--signed-bytes",
                    signed,
                    "--signature",
                    signature,
                ];
                let text = expect(0, &[&arguments[..], &["--signer", signer, "--trust", office.trust_path()]].concat());
                let command = text.lines().find_map(|line| line.trim().strip_prefix("openssl ")).unwrap().to_owned();
                let run = || Command::new("openssl").args(command.split(' ')).output().unwrap();
                assert!(run().status.success(), "{suite} {part}: openssl {command}\n{}", out(&run()));
                let mut changed = fs::read(signed).unwrap();
                *changed.last_mut().unwrap() ^= 1;
                fs::write(signed, changed).unwrap();
                assert!(!run().status.success(), "{suite} {part}: a changed byte must not verify");
            }
        }
    }
}

#[test]
fn inspect_says_that_nothing_is_proven_and_refuses_what_is_no_bundle() {
    let office = Office::new("inspect", Suite::Std);
    let path = office.dir.join("x.bundle");
    fs::write(&path, office.bundle(7, b"x").bytes).unwrap();
    let at = path.to_str().unwrap();
    let text = expect(0, &["inspect", at]);
    assert!(text.contains("Nothing of this is proven") && text.contains("1/7"), "{text}");
    expect(2, &["inspect", at, "--part", "custody-2"]);
    expect(2, &["inspect", at, "--part", "seal"]);
    fs::write(&path, b"TRILOCK1\xff\xff\xff\xff").unwrap();
    expect(1, &["inspect", at]);
    fs::write(&path, b"hello").unwrap();
    expect(1, &["inspect", at]);
}

/// A ledger of two segments with a signed checkpoint, as a node writes it.
fn ledger(office: &Office, dir: &Path, records: u64) {
    let _ = fs::remove_dir_all(dir);
    fs::create_dir_all(dir).unwrap();
    let suite = office.suite;
    let (mut leaves, mut segments) = (Vec::new(), [segment::header(0), segment::header(3)]);
    for index in 0..records {
        let local = Local {
            name: Some("secret-drop".to_owned()),
            labels: vec![Label { name: name("region"), value: "350802".to_owned() }],
        };
        let salt = [7; 32];
        let mut record = Record::new(Event::Claimed, Timestamp(1_790_000_000_000 + index));
        record.route = Some(name("results"));
        record.local = Some(local.digest(suite, &salt));
        let bytes = record.to_bytes();
        leaves.push(leaf(suite, &bytes));
        let kept = [&salt[..], &local.to_bytes()].concat();
        segments[usize::from(index >= 3)].extend(segment::frame(&bytes, &kept));
    }
    fs::write(dir.join(segment::name(0, Health::Sound)), &segments[0]).unwrap();
    fs::write(dir.join(segment::name(3, Health::Sound)), &segments[1]).unwrap();
    // Five leaves: ((0 1)(2 3)) 4
    let pair = |a: usize, b: usize| node(suite, &leaves[a], &leaves[b]);
    let root = node(suite, &node(suite, &pair(0, 1), &pair(2, 3)), &leaves[4]);
    let note = Checkpoint { node: name("intranet"), head: Head { log: 1, size: 5, root } }.sign(&office.intranet);
    fs::write(dir.join("checkpoint"), note).unwrap();
}

#[test]
fn a_ledger_holds_against_its_checkpoint_and_no_changed_one_does() {
    for suite in Suite::ALL {
        let office = Office::new(&format!("ledger-{suite}"), suite);
        let dir = office.dir.join("spool/ledger");
        let spool = office.dir.join("spool");
        let arguments = ["ledger", "verify", "--dir", spool.to_str().unwrap(), "--trust", office.trust_path()];
        ledger(&office, &dir, 5);
        let text = expect(0, &arguments);
        assert!(text.contains("5 records") && text.contains("checkpoint signed by intranet"), "{text}");
        assert!(expect(0, &arguments[..4]).contains("not checked"));
        ledger(&office, &dir, 6);
        assert!(expect(0, &arguments).contains("1 records follow"));

        let show = expect(0, &["ledger", "show", "--dir", dir.to_str().unwrap()]);
        assert!(show.contains("claimed") && !show.contains("secret-drop"), "{show}");
        let local = json_lines(&["ledger", "show", "--dir", dir.to_str().unwrap(), "--local"]);
        assert_eq!((local.len(), &local[0]["labels"]["region"]), (6, &"350802".into()));

        // A record taken away from the end: the frames are whole, the checkpoint is not reached.
        ledger(&office, &dir, 5);
        let last = dir.join(segment::name(3, Health::Sound));
        fs::write(&last, segment::header(3)).unwrap();
        assert!(expect(1, &arguments).contains("records were removed"));
        // A record rewritten with a good checksum.
        ledger(&office, &dir, 5);
        let forged = Record::new(Event::Delivered, Timestamp(1)).to_bytes();
        let mut bytes = segment::header(3);
        bytes.extend(segment::frame(&forged, b""));
        bytes.extend(segment::frame(&forged, b""));
        fs::write(&last, bytes).unwrap();
        assert!(expect(1, &arguments).contains("a record was changed"));
        // The checkpoint signed by somebody else.
        ledger(&office, &dir, 5);
        fs::remove_file(office.trust_dir.join("intranet.pub.pem")).unwrap();
        assert!(expect(1, &arguments).contains("no signing key"));
    }
}

#[test]
fn intake_brings_a_folder_whole_and_refuses_links() {
    let mut office = Office::new("intake", Suite::Std);
    let (operator, approver) =
        (office.person("zhao", "operator", "intranet"), office.person("qian", "approver", "intranet"));
    let node = Daemon::start(&office, "intranet", Vec::new());
    let dir = office.dir.clone();
    let (stick, inlet) = (dir.join("stick"), node.layout.inlet(&protocol::Name::new("survey").unwrap()));
    fs::create_dir_all(stick.join("case-7/权籍")).unwrap();
    fs::create_dir_all(&inlet).unwrap();
    fs::write(stick.join("case-7/权籍/parcel.shp"), b"raw survey bytes").unwrap();
    fs::write(stick.join("case-7/readme"), b"x").unwrap();
    let (from, to, list) = (stick.join("case-7"), inlet.to_str().unwrap(), dir.join("list.sha256"));
    // What anybody who opened or ran it would trip over: an archive that is none, an image, a program.
    let odd: [(&str, &[u8]); 3] = [
        ("a.zip", b"PK\x03\x04 and nothing"),
        ("disk.iso", &[0; 40_000]),
        ("run.sh", b"#!/bin/sh\ntouch \"$0.ran\"\n"),
    ];
    for (name, bytes) in odd {
        fs::write(from.join(name), bytes).unwrap();
        fs::set_permissions(from.join(name), fs::Permissions::from_mode(0o777)).unwrap();
    }
    let by = |key: &str| {
        let spool = ["--spool", node.spool(), "--key", key, "--inlet", to, "--listing", list.to_str().unwrap()];
        [&["intake", from.to_str().unwrap()][..], &spool].concat().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let run = |code: i32, key: &str| expect(code, &by(key).iter().map(String::as_str).collect::<Vec<_>>());
    symlink("/etc/passwd", from.join("link")).unwrap();
    assert!(run(1, &operator).contains("symbolic link"));
    fs::remove_file(from.join("link")).unwrap();
    // Whoever is no operator brings nothing in, and leaves no listing behind.
    assert!(run(1, &approver).contains("qian is approver; survey files are taken in by an operator"));
    assert_eq!((fs::read_dir(&inlet).unwrap().count(), list.exists()), (0, false));
    // A folder that is no inlet of the node's, and a listing that the node would take for a drop.
    let elsewhere = dir.join("survey");
    fs::create_dir(&elsewhere).unwrap();
    let common = ["intake", from.to_str().unwrap(), "--spool", node.spool(), "--key", &operator];
    expect(2, &[&common[..], &["--inlet", elsewhere.to_str().unwrap()]].concat());
    let inside = inlet.join("case-7.sha256");
    let said = expect(2, &[&common[..], &["--route", "survey", "--listing", inside.to_str().unwrap()]].concat());
    assert!(said.contains("would lie in an inlet"), "{said}");
    // Where its papers cannot be written nobody is asked, and nothing is left: the name of the signature is too long.
    let long = dir.join("x".repeat(253));
    expect(3, &[&common[..], &["--route", "survey", "--listing", long.to_str().unwrap()]].concat());
    let asked = || fs::read_dir(node.layout.desk_answers()).unwrap().count();
    assert_eq!((asked(), fs::read_dir(&inlet).unwrap().count(), long.exists()), (0, 0, false));
    let said = run(0, &operator);
    assert!(said.contains("signed   by zhao"), "{said}");
    assert_eq!(fs::read(inlet.join("case-7/权籍/parcel.shp")).unwrap(), b"raw survey bytes");
    assert_eq!(fs::metadata(inlet.join("case-7")).unwrap().permissions().mode() & 0o777, 0o770);
    for (name, bytes) in odd {
        let copy = inlet.join("case-7").join(name);
        assert_eq!(fs::read(&copy).unwrap(), bytes, "{name} is what it was");
        assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o660, "{name} cannot be run");
    }
    assert_eq!(fs::read_dir(&from).unwrap().count(), 5, "the medium is as it was");
    assert_eq!(fs::read_dir(inlet.join("case-7")).unwrap().count(), 5);
    // The listing has every file's digest, and the operator's signature is of exactly that listing.
    let text = fs::read(&list).unwrap();
    let lines = String::from_utf8(text.clone()).unwrap();
    let digest = Suite::Std.digest(b"raw survey bytes");
    assert!(lines.lines().count() == 5 && lines.contains(&format!("{digest}  权籍/parcel.shp\n")), "{lines}");
    let signed = Signed::parse::<Request>(&fs::read(dir.join("list.sha256.sig")).unwrap()).unwrap();
    let (said, card) = office.trust.verify::<Request>(&signed).unwrap();
    assert_eq!((said.person.as_str(), card.role, said.action.as_str()), ("zhao", Role::Operator, "intake"));
    assert_eq!(said.argument("listing"), Some(Suite::Std.digest(&text).to_string().as_str()));
    let facts = ["name", "route", "files"].map(|what| said.argument(what));
    assert_eq!(facts, [Some("case-7"), Some("survey"), Some("5")]);
    assert!(run(0, &operator).contains("already taken in"));
    // Anybody with the cards sees later that it is this listing and whose; another listing, a signature of other bytes, and
    // a listing that is gone are refused.
    let (trust, signature) = (office.trust_dir.to_str().unwrap(), dir.join("list.sha256.sig"));
    let verify = |code: i32| expect(code, &["verify", signature.to_str().unwrap(), "--trust", trust]);
    assert!(verify(0).contains("is the listing that was signed"));
    fs::write(&list, lines.replacen('0', "1", 1)).unwrap();
    assert!(verify(1).contains("is not the listing that was signed"));
    fs::remove_file(&list).unwrap();
    assert!(verify(1).contains("list.sha256"));
    fs::write(&list, &text).unwrap();
    let mut bytes = fs::read(&signature).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&signature, bytes).unwrap();
    assert!(verify(1).contains("FAIL"));
    // Another medium's listing is not written over, nor its signature alone.
    let named = |name: &'static str, list: &str, code: i32| {
        let named = ["intake", "--medium", from.to_str().unwrap(), "--name", name, "--inlet", to, "--listing", list];
        expect(code, &[&named[..], &["--spool", node.spool(), "--key", &operator]].concat())
    };
    for gone in [None, Some(&list)] {
        gone.inspect(|path| fs::remove_file(path).unwrap());
        assert!(named("case-8", list.to_str().unwrap(), 1).contains("is there already"));
    }
    assert!(!inlet.join("case-8").exists());
    let other = dir.join("other.sha256");
    named("case-8", other.to_str().unwrap(), 0);
    assert!(inlet.join("case-8/run.sh").is_file());
    // Asked, and nobody knows the answer: what was copied is not lost, and its papers are what the node may have recorded.
    let third = dir.join("third.sha256");
    let said = named("unreadable", third.to_str().unwrap(), 3);
    let mut hidden = fs::read_dir(&inlet).unwrap().map(|entry| entry.unwrap().path());
    let aside = hidden.find(|path| path.to_str().unwrap().contains(".set-ferry-")).unwrap();
    assert!(aside.join("run.sh").is_file() && said.contains(aside.to_str().unwrap()), "{said}");
    assert!(third.is_file() && dir.join("third.sha256.sig").is_file() && !inlet.join("unreadable").exists());
    let key = ["--spool", node.spool(), "--key", &operator];
    expect(2, &[&["intake", from.to_str().unwrap(), "--inlet", "/nonexistent"][..], &key].concat());
    expect(2, &["intake", from.to_str().unwrap(), "--inlet", to]);
}

#[test]
fn only_an_operators_intake_is_a_signature_of_a_listing() {
    let mut office = Office::new("listing", Suite::Std);
    let (list, text) = (office.dir.join("case.sha256"), b"00  a\n");
    fs::write(&list, text).unwrap();
    let signature = office.dir.join("case.sha256.sig");
    for (holder, role, action, code) in [
        ("zhao", Role::Operator, "intake", 0),
        ("qian", Role::Approver, "intake", 1),
        ("sun", Role::Operator, "export", 1),
    ] {
        let key = protocol::keys::SigningKey::generate(Suite::Std);
        office.card(holder, Zone::Intranet, role, &key);
        let request = Request {
            version: 1,
            id: Suite::Std.digest(b"id"),
            node: name("intranet"),
            action: name(action),
            person: name(holder),
            at: Timestamp(1_795_305_600_000),
            arguments: vec![Label { name: name("listing"), value: Suite::Std.digest(text).to_string() }],
        };
        fs::write(&signature, Signed::make(&key, &request).to_bytes()).unwrap();
        let said =
            expect(code, &["verify", signature.to_str().unwrap(), "--trust", office.trust_dir.to_str().unwrap()]);
        assert_eq!(said.contains("is the listing that was signed"), code == 0, "{said}");
    }
}

#[test]
fn ferry_alone_prints_help_or_the_overview_and_a_named_spool_that_is_none_is_an_error() {
    assert!(expect(3, &["--spool", "/nonexistent"]).contains("not there"));
    assert!(out(&ferry(&["--help"])).contains("verify"));
    let error = ferry(&["trips", "--spool", "/nonexistent", "--json"]);
    let line: serde_json::Value = serde_json::from_slice(&error.stdout).unwrap();
    assert_eq!((error.status.code(), &line["error"]["exit"]), (Some(3), &3.into()));
}

/// A log of two records that follows the five of `ledger`, as a restore leaves it.
fn restored(office: &mut Office, dir: &Path, by: &str, role: Role) {
    restored_with(office, dir, by, role, |_| None);
}

/// The same, with what else the new log says.
fn restored_with(office: &mut Office, dir: &Path, by: &str, role: Role, more: impl Fn(Head) -> Option<Record>) {
    use protocol::witness::LogStart;
    const SECOND: u64 = 1_795_392_000;
    ledger(office, dir, 5);
    let old = Checkpoint::parse_unverified(&fs::read_to_string(dir.join("checkpoint")).unwrap());
    let old = old.unwrap().head;
    let former = dir.join("former/1");
    fs::create_dir_all(&former).unwrap();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
        fs::rename(entry.path(), former.join(entry.file_name())).unwrap();
    }
    let suite = office.suite;
    let key = protocol::keys::SigningKey::generate(suite);
    office.card(by, Zone::Intranet, role, &key);
    let start = LogStart {
        version: 1,
        node: name("intranet"),
        log: SECOND,
        previous: old,
        person: name(by),
        at: Timestamp(1_795_305_600_000),
    };
    for (file, key) in [("start-by-node", &office.intranet), ("start-by-operator", &key)] {
        fs::write(dir.join(file), protocol::Signed::make(key, &start).to_bytes()).unwrap();
    }
    let mut begun = Record::new(Event::LogBegun, start.at);
    (begun.head, begun.epoch, begun.person) = (Some(old), Some(SECOND), Some(name(by)));
    let started = Record::new(Event::NodeStarted, start.at);
    let mut bytes = segment::header(0);
    let mut records = vec![begun.to_bytes(), started.to_bytes()];
    records.extend(more(old).map(|record| record.to_bytes()));
    records.iter().for_each(|record| bytes.extend(segment::frame(record, b"")));
    fs::write(dir.join(segment::name(0, Health::Sound)), bytes).unwrap();
    let pair = node(suite, &leaf(suite, &records[0]), &leaf(suite, &records[1]));
    let (size, root) = match records.get(2) {
        None => (2, pair),
        Some(third) => (3, node(suite, &pair, &leaf(suite, third))),
    };
    let note = Checkpoint { node: name("intranet"), head: Head { log: SECOND, size, root } }.sign(&office.intranet);
    fs::write(dir.join("checkpoint"), note).unwrap();
}

#[test]
fn a_log_that_follows_a_restore_names_the_head_of_the_old_one_under_an_operators_signature() {
    let mut office = Office::new("ledger-chain", Suite::Std);
    let dir = office.dir.join("spool/ledger");
    restored(&mut office, &dir, "operator-ma", Role::Operator);
    let (place, trust) = (dir.to_str().unwrap().to_owned(), office.trust_path().to_owned());
    let arguments = ["ledger", "verify", "--dir", &place, "--trust", &trust];
    let text = expect(0, &arguments);
    assert!(text.contains("follows log 1 at 5 records: a restore by operator-ma"), "{text}");
    assert_eq!(
        json_lines(&arguments).iter().map(|line| line["log"].as_u64()).collect::<Vec<_>>(),
        [Some(1), Some(1_795_392_000)]
    );
    // A checkpoint that a neighbour kept of the old log still stands on the way.
    let kept = office.dir.join("kept");
    fs::copy(dir.join("former/1/checkpoint"), &kept).unwrap();
    expect(0, &[&arguments[..], &["--checkpoint", kept.to_str().unwrap()]].concat());

    let paper = dir.join("start-by-operator");
    let good = fs::read(&paper).unwrap();
    let mut broken = good.clone();
    *broken.last_mut().unwrap() ^= 1;
    fs::write(&paper, &broken).unwrap();
    assert!(expect(1, &arguments).contains("start-by-operator"));
    fs::write(&paper, &good).unwrap();
    // A record more, or one less, in the old log.
    let tail = dir.join("former/1").join(segment::name(3, Health::Sound));
    let bytes = fs::read(&tail).unwrap();
    let more = segment::frame(&Record::new(Event::NodeStarted, Timestamp(1)).to_bytes(), b"");
    fs::write(&tail, [&bytes[..], &more].concat()).unwrap();
    assert!(expect(1, &arguments).contains("ended at 5 records"));
    fs::write(&tail, &bytes).unwrap();
    expect(0, &arguments);
    fs::rename(dir.join("former"), office.dir.join("taken")).unwrap();
    assert!(expect(1, &arguments).contains("no log before it"));
}

#[test]
fn what_a_restore_found_lost_of_the_log_before_is_reported_in_the_one_that_follows() {
    // Which record it says is lost, of which log.
    for (told, holds) in [(None, false), (Some((1, false)), false), (Some((1, true)), true)] {
        let suite = Suite::Std;
        let mut office = Office::new(&format!("ledger-lost-{holds}-{}", told.is_some()), suite);
        let dir = office.dir.join("spool/ledger");
        restored_with(&mut office, &dir, "operator-ma", Role::Operator, |old| {
            let (lost, of_the_old) = told?;
            let mut record = Record::new(Event::LedgerDamaged, Timestamp(1_795_305_600_000));
            (record.sequence, record.through) = (Some(lost), Some(lost));
            record.head = Some(old).filter(|_| of_the_old);
            Some(record)
        });
        let former = dir.join("former/1");
        let mut leaves = Vec::new();
        for first in [0, 3] {
            let bytes = fs::read(former.join(segment::name(first, Health::Sound))).unwrap();
            for found in segment::Frames::new(&bytes, first) {
                if let segment::Found::Record(stored) = found {
                    leaves.extend(leaf(suite, &stored.bytes).0);
                }
            }
        }
        fs::write(former.join("level-0"), leaves).unwrap();
        let (sound, sealed) = (segment::name(0, Health::Sound), segment::name(0, Health::Sealed));
        let mut bytes = fs::read(former.join(&sound)).unwrap();
        let second = segment::header(0).len() + (bytes.len() - segment::header(0).len()) / 3;
        bytes[second + 20] ^= 1;
        fs::write(former.join(sealed), bytes).unwrap();
        fs::remove_file(former.join(sound)).unwrap();
        let arguments = ["ledger", "verify", "--dir", dir.to_str().unwrap(), "--trust", office.trust_path()];
        let text = expect(i32::from(!holds), &arguments);
        assert_eq!(text.contains("1 records cannot be read and no record reports their loss"), !holds, "{text}");
    }
}

#[test]
fn a_restore_that_no_operator_signed_is_noticed() {
    let mut office = Office::new("ledger-chain-auditor", Suite::Std);
    let dir = office.dir.join("spool/ledger");
    restored(&mut office, &dir, "auditor-wu", Role::Auditor);
    let place = dir.to_str().unwrap().to_owned();
    let trust = office.trust_path().to_owned();
    assert!(expect(1, &["ledger", "verify", "--dir", &place, "--trust", &trust]).contains("auditor"));
}

#[test]
fn every_command_has_a_man_page_that_says_what_its_help_says() {
    let folder = scratch("man").join("man1");
    let text = expect(0, &["man", folder.to_str().unwrap()]);
    assert!(text.contains("man pages in"), "{text}");
    let help = expect(0, &["--help"]);
    let commands: Vec<&str> = help
        .split("Commands:")
        .nth(1)
        .unwrap()
        .split("Options:")
        .next()
        .unwrap()
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next().filter(|word| !word.is_empty()))
        .collect();
    assert!(commands.contains(&"export") && commands.contains(&"intake"), "{commands:?}");
    for command in commands {
        let page = fs::read_to_string(folder.join(format!("ferry-{command}.1"))).unwrap();
        assert!(page.contains(".TH") && page.contains("SYNOPSIS"), "{command}: {page}");
    }
    let page = fs::read_to_string(folder.join("ferry-confirm.1")).unwrap();
    assert!(page.contains("The written medium, put in and mounted"), "{page}");
    assert!(folder.join("ferry-ledger-verify.1").exists() && folder.join("ferry.1").exists());
}
