//! Papers that a forger lays down, or a clumsy archivist, asked of two readers that share no code: what a key signed after
//! its last day is noted, whatever genuine papers lie beside it (FORMAT.md 8.4), and what is no paper by itself is refused.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "a test lays down files as a forger would")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use protocol::der_types::Octets;
use protocol::envelope::{Envelope, Footer};
use protocol::evidence::Evidence;
use protocol::id::new_id;
use protocol::keys::SigningKey;
use protocol::parcel::{CustodyEntry, Label, OctetString, ParcelStatement, Priority, VERSION};
use protocol::receipt::{GapReport, Head, Outcome, Receipt, ReceiptBatch};
use protocol::request::Request;
use protocol::trust::{KeyCard, Role, Use};
use protocol::waybill::Approval;
use protocol::witness::HeadStatement;
use protocol::{BundleId, Crossing, Name, Signed, Statement, Suite, Timestamp, Verdict, Zone};
use serde_json::Value;
use tests::programs::{program, repository, words};

const DAY_MS: u64 = 86_400_000;
/// 2026-11-21, a day of work.
const WORK: Timestamp = Timestamp(1_795_219_200_000);

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn octets(bytes: Vec<u8>) -> OctetString {
    OctetString::new(bytes).unwrap()
}

fn years_later(years: u64) -> Timestamp {
    WORK.plus_ms(years * 366 * DAY_MS)
}

/// Two nodes and an approver, with their keys; what lies in the auditor's folders.
struct Case {
    suite: Suite,
    internet: SigningKey,
    extranet: SigningKey,
    approver: SigningKey,
    folder: tempfile::TempDir,
}

impl Case {
    /// `until` is the last day of the internet's key, `extranet_until` of the extranet's.
    fn new(suite: Suite, until: Option<&str>, extranet_until: Option<&str>) -> Case {
        let [internet, extranet, approver] = [(); 3].map(|()| SigningKey::generate(suite));
        let case = Case { suite, internet, extranet, approver, folder: tempfile::tempdir().unwrap() };
        fs::create_dir(case.path("trust")).unwrap();
        fs::create_dir(case.path("files")).unwrap();
        case.card("internet", Role::Node, Zone::Internet, &case.internet, until);
        case.card("extranet", Role::Node, Zone::Extranet, &case.extranet, extranet_until);
        case.card("approver-li", Role::Approver, Zone::Extranet, &case.approver, Some("2021-01-01"));
        case
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.folder.path().join(inside)
    }

    fn card(&self, holder: &str, role: Role, zone: Zone, key: &SigningKey, until: Option<&str>) {
        let card = KeyCard {
            zone,
            holder: name(holder),
            role,
            usage: Use::Sign,
            suite: self.suite,
            from: "2020-01-01".to_owned(),
            until: until.map(str::to_owned),
            spki: key.public().to_spki(),
        };
        fs::write(self.path("trust").join(format!("{holder}.pem")), card.to_text()).unwrap();
    }

    fn put(&self, file: &str, bytes: &[u8]) {
        fs::write(self.path("files").join(file), bytes).unwrap();
    }

    fn statement(&self) -> Signed {
        let statement = ParcelStatement {
            version: VERSION,
            parcel: new_id(WORK, [1; 10]),
            origin: name("internet"),
            route: name("applications"),
            target: name("extranet"),
            parcel_type: name("application"),
            priority: Priority::Normal,
            accepted: WORK,
            manifest: Octets([7; 32]),
        };
        Signed::make(&self.internet, &statement)
    }

    fn entry(&self, rules: &str) -> Signed {
        let statement = self.statement_kept();
        let entry = CustodyEntry {
            version: VERSION,
            statement: statement.digest(),
            previous: statement.digest(),
            node: name("internet"),
            crossing: Crossing::InternetToExtranet,
            rules: rules.to_owned(),
            verdict: Verdict::Released,
            at: WORK.plus_ms(1_000),
        };
        Signed::make(&self.internet, &entry)
    }

    /// The statement is made once: signatures of suite gm differ each time.
    fn statement_kept(&self) -> Signed {
        let kept = self.path("statement");
        if !kept.exists() {
            fs::write(&kept, self.statement().to_bytes()).unwrap();
        }
        Signed::parse::<ParcelStatement>(&fs::read(kept).unwrap()).unwrap()
    }

    fn receipt(&self, bundle: BundleId, sequence: u64, at: Timestamp) -> Vec<u8> {
        let receipt = Receipt {
            version: VERSION,
            parcel: new_id(WORK, [1; 10]),
            statement: self.statement_kept().digest(),
            node: name("extranet"),
            outcome: Outcome::Delivered,
            reason: None,
            bundle,
            crossing: Crossing::InternetToExtranet,
            epoch: 1,
            sequence,
            at,
            head: Head::default(),
        };
        self.signed(&self.extranet, &receipt)
    }

    fn signed<T: Statement>(&self, key: &SigningKey, object: &T) -> Vec<u8> {
        Signed::make(key, object).to_bytes()
    }

    /// Head and foot as the holder of the internet's key seals them, with receipts beside them.
    fn evidence(&self, bundle: BundleId, sequence: u64, entry: &Signed, root: u8, receipts: Vec<Vec<u8>>) -> Vec<u8> {
        let envelope = Envelope {
            version: VERSION,
            suite: self.suite,
            bundle,
            crossing: Crossing::InternetToExtranet,
            epoch: 1,
            sequence,
            source: name("internet"),
            target: name("extranet"),
            priority: Priority::Normal,
            payload_bytes: 500,
            sealed: WORK.plus_ms(2_000),
            signer: self.internet.public().id(),
            recipient: Octets([3; 32]),
            wrapped_key: octets(vec![4; 80]),
            kept_key: octets(vec![5; 80]),
            statement: octets(self.statement_kept().to_bytes()),
            custody: vec![octets(entry.to_bytes())],
        };
        let envelope = envelope.to_bytes();
        let footer = Footer {
            version: VERSION,
            envelope: self.suite.digest(&envelope),
            root: Octets([root; 32]),
            payload_bytes: 500,
        };
        Evidence { footer: self.signed(&self.internet, &footer), envelope, receipts }.to_bytes()
    }

    /// The extranet's batch, on its way to the internet.
    fn batch(&self, receipts: Vec<OctetString>) -> Vec<u8> {
        self.batch_of("extranet", "internet", Crossing::ExtranetToInternet, &self.extranet, receipts)
    }

    fn batch_of(
        &self,
        source: &str,
        target: &str,
        crossing: Crossing,
        key: &SigningKey,
        receipts: Vec<OctetString>,
    ) -> Vec<u8> {
        let batch = ReceiptBatch {
            version: VERSION,
            batch: bundle(8),
            crossing,
            source: name(source),
            target: name(target),
            epoch: 1,
            sequence: 12,
            at: WORK.plus_ms(DAY_MS),
            stated: self.head(source, target, key),
            receipts,
            gap_reports: Vec::new(),
            withdrawn: Vec::new(),
        };
        self.signed(key, &batch)
    }

    fn head(&self, node: &str, target: &str, key: &SigningKey) -> OctetString {
        let head = HeadStatement::first(&name(node), &name(target), self.suite, WORK, Head::default());
        octets(self.signed(key, &head))
    }

    fn ferry(&self) -> Output {
        self.ferry_with(&[])
    }

    fn ferry_with(&self, more: &[String]) -> Output {
        let mut command = Command::new(program("ferry"));
        command.args(["--json", "--lang", "en", "verify"]).arg(self.path("files"));
        command.arg("--trust").arg(self.path("trust")).args(more).output().unwrap()
    }

    /// The verifier of strangers, or none where Python is absent.
    fn stranger(&self) -> Option<Output> {
        self.stranger_with(&[])
    }

    fn stranger_with(&self, more: &[String]) -> Option<Output> {
        let verifier = repository().join("tests/independent/verify.py");
        let mut command = Command::new("python3");
        command.arg("-B").arg(verifier).arg("--trust").arg(self.path("trust")).args(more).arg(self.path("files"));
        let output = command.output();
        if output.is_err() {
            println!("SKIPPED: python3 is not installed, the independent verifier was not asked");
        }
        output.ok()
    }

    /// Both take every file, and note exactly these things of the one named.
    fn noted(&self, file: &str, expected: &[&str]) {
        let ours = self.ferry();
        assert!(ours.status.success(), "{}", words(&ours));
        let notes = notes_of(&ours, &self.path("files").join(file));
        let short: Vec<String> = notes.iter().map(|note| shortly(note)).collect();
        assert_eq!(short, expected, "{} {file}: {notes:?}", self.suite);
        let Some(theirs) = self.stranger() else { return };
        assert!(theirs.status.success(), "{}", words(&theirs));
        let mut notes = notes_of(&theirs, &self.path("files").join(file));
        notes.sort();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(notes, expected, "{} {file}, the stranger", self.suite);
    }
}

fn row_of(output: &Output, path: &Path) -> Value {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut rows = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let row = rows.find(|row| row["path"].as_str().is_some_and(|shown| Path::new(shown) == path));
    row.unwrap_or_else(|| panic!("{} is not judged: {}", path.display(), words(output)))
}

fn notes_of(output: &Output, path: &Path) -> Vec<String> {
    let row = row_of(output, path);
    row["notes"].as_array().unwrap().iter().map(|note| note.as_str().unwrap().to_owned()).collect()
}

/// `hop 1: key of internet retired on 2026-11-21, time not witnessed` is `unwitnessed hop 1`.
fn shortly(note: &str) -> String {
    let (what, rest) = note.split_once(": ").unwrap();
    let what = what.trim_start_matches("the ").split(" of ").next().unwrap();
    let word = match rest {
        rest if rest.ends_with("time not witnessed") => "unwitnessed",
        rest if rest.contains("is in use from") => "early",
        rest if rest.contains("retired on") => "late",
        rest => panic!("a note of another kind: {rest}"),
    };
    format!("{word} {what}")
}

fn bundle(id: u8) -> BundleId {
    new_id(WORK, [id; 10])
}

#[test]
fn a_thief_of_a_retired_key_gains_no_witness_from_the_receipt_of_another_bundle() {
    for suite in Suite::ALL {
        let case = Case::new(suite, Some("2026-11-21"), None);
        let (entry, receipt) = (case.entry("2026-11-21.1"), case.receipt(bundle(2), 300, WORK.plus_ms(3_000)));
        case.put("genuine.proof", &case.evidence(bundle(2), 300, &entry, 6, vec![receipt.clone()]));
        case.noted("genuine.proof", &[]);
        fs::remove_file(case.path("files/genuine.proof")).unwrap();

        case.put("genuine.proof", &case.evidence(bundle(2), 300, &entry, 6, Vec::new()));
        case.noted("genuine.proof", &["unwitnessed foot", "unwitnessed statement", "unwitnessed hop 1"]);
        fs::remove_file(case.path("files/genuine.proof")).unwrap();

        // Years later: other rules, another id, number and root, and the genuine receipt of the bundle that there was.
        let forged = case.entry("rules-of-the-thief");
        case.put("forged.proof", &case.evidence(bundle(9), 31_337, &forged, 7, vec![receipt.clone()]));
        case.noted("forged.proof", &["unwitnessed foot", "unwitnessed hop 1"]);
        // The id alone, or the number alone, is no witness either.
        case.put("forged.proof", &case.evidence(bundle(2), 31_337, &forged, 7, vec![receipt.clone()]));
        case.noted("forged.proof", &["unwitnessed foot", "unwitnessed hop 1"]);
        case.put("forged.proof", &case.evidence(bundle(9), 300, &forged, 7, vec![receipt]));
        case.noted("forged.proof", &["unwitnessed foot", "unwitnessed hop 1"]);
    }
}

#[test]
fn nobody_is_a_witness_by_a_key_outside_its_days_nor_for_oneself() {
    for suite in Suite::ALL {
        // Both keys have ended; the receipt says 2031.
        let case = Case::new(suite, Some("2032-01-01"), Some("2026-11-30"));
        let entry = case.entry("2026-11-21.1");
        let late = case.receipt(bundle(2), 300, years_later(5));
        case.put("a.proof", &case.evidence(bundle(2), 300, &entry, 6, vec![late.clone()]));
        let all = ["unwitnessed foot", "unwitnessed statement", "unwitnessed hop 1", "late receipt"];
        case.noted("a.proof", &all);
        case.put("alone.receipts", &late);
        case.noted("alone.receipts", &["late receipt"]);
        // In its days it is a witness, and itself has none.
        let timely = case.receipt(bundle(2), 300, WORK.plus_ms(3_000));
        case.put("a.proof", &case.evidence(bundle(2), 300, &entry, 6, vec![timely.clone()]));
        case.noted("a.proof", &["unwitnessed receipt"]);
        // A receipt that says a day of five digits for the year, or one before the card begins.
        let far = case.receipt(bundle(2), 300, Timestamp(253_402_300_800_000));
        case.put("alone.receipts", &far);
        case.noted("alone.receipts", &["late receipt"]);
        case.put("alone.receipts", &case.receipt(bundle(2), 300, Timestamp(1)));
        case.noted("alone.receipts", &["early receipt"]);
    }
}

#[test]
fn a_witness_after_the_last_day_comes_too_late() {
    let case = Case::new(Suite::Std, Some("2026-11-21"), None);
    let next_day = case.receipt(bundle(2), 300, WORK.plus_ms(DAY_MS));
    case.put("a.proof", &case.evidence(bundle(2), 300, &case.entry("1"), 6, vec![next_day]));
    case.noted("a.proof", &["unwitnessed foot", "unwitnessed statement", "unwitnessed hop 1"]);
}

#[test]
fn every_other_paper_is_asked_for_its_time_and_a_batch_is_the_witness_of_what_it_carries() {
    for suite in Suite::ALL {
        let case = Case::new(suite, Some("2026-11-30"), Some("2026-11-30"));
        let approval = Approval {
            version: VERSION,
            waybill: Octets([1; 32]),
            trip: 4,
            person: name("approver-li"),
            at: Timestamp(1_600_000_000_000),
        };
        case.put("one.receipts", &case.signed(&case.approver, &approval));
        case.noted("one.receipts", &["unwitnessed countersignature"]);
        let report = GapReport {
            version: VERSION,
            node: name("extranet"),
            crossing: Crossing::InternetToExtranet,
            at: WORK,
            epochs: Vec::new(),
        };
        case.put("one.receipts", &case.signed(&case.extranet, &report));
        case.noted("one.receipts", &["unwitnessed gap report"]);
        case.put("one.receipts", case.head("extranet", "internet", &case.extranet).as_bytes());
        case.noted("one.receipts", &["unwitnessed ledger head"]);
        let receipts = vec![octets(case.receipt(bundle(2), 300, WORK))];
        let own = case.batch(receipts.clone());
        case.put("one.receipts", &own);
        case.noted("one.receipts", &["unwitnessed batch", "unwitnessed ledger head", "unwitnessed receipt"]);
        let relayed = case.batch_of("internet", "extranet", Crossing::InternetToExtranet, &case.internet, receipts);
        case.put("one.receipts", &relayed);
        case.noted("one.receipts", &["unwitnessed batch", "unwitnessed ledger head"]);
    }
}

/// 8.3: where the receipt lies matters nothing, only that it is there.
#[test]
fn a_receipt_in_a_batch_makes_a_delivery_whole_and_one_of_another_statement_contradicts_it() {
    for suite in Suite::ALL {
        let case = Case::new(suite, None, None);
        let entry = case.entry("2026-11-21.1");
        case.put("a.proof", &case.evidence(bundle(2), 300, &entry, 6, Vec::new()));
        let whole = |case: &Case| {
            let arguments = ["--delivered".to_owned()];
            let ours = case.ferry_with(&arguments).status.success();
            (ours, case.stranger_with(&arguments).map(|output| output.status.success()))
        };
        let (ours, theirs) = whole(&case);
        assert!(!ours && theirs != Some(true), "{suite}: nothing says how it ended");
        let receipt = case.receipt(bundle(2), 300, WORK.plus_ms(3_000));
        case.put("one.receipts", &case.batch(vec![octets(receipt.clone())]));
        let (ours, theirs) = whole(&case);
        assert!(ours && theirs != Some(false), "{suite}: the batch holds the receipt");
        let mut other: Receipt = Signed::parse::<Receipt>(&receipt).unwrap().read_unverified().unwrap();
        other.statement = Octets([9; 32]);
        let both = [receipt, case.signed(&case.extranet, &other)].map(octets).to_vec();
        case.put("one.receipts", &case.batch(both));
        let (ours, theirs) = whole(&case);
        assert!(!ours && theirs != Some(true), "{suite}: a receipt in the batch names another statement");
    }
}

/// 4: a foot, a statement, a custody entry say nothing without what they belong to; and one such file ends no run.
#[test]
fn what_is_no_paper_by_itself_is_refused_and_the_next_file_is_read() {
    for suite in Suite::ALL {
        let case = Case::new(suite, None, None);
        let entry = case.entry("2026-11-21.1");
        let evidence = case.evidence(bundle(2), 300, &entry, 6, Vec::new());
        case.put("a-foot.receipts", &Evidence::parse(&evidence).unwrap().footer);
        case.put("a-statement.receipts", &case.statement_kept().to_bytes());
        case.put("an-entry.receipts", &entry.to_bytes());
        case.put("b.proof", &evidence);
        let alone = |output: &Output| {
            let path = case.path("files");
            ["a-foot.receipts", "a-statement.receipts", "an-entry.receipts", "b.proof"]
                .map(|file| row_of(output, &path.join(file))["ok"].as_bool().unwrap())
        };
        assert_eq!(alone(&case.ferry()), [false, false, false, true], "{suite}");
        let Some(theirs) = case.stranger() else { return };
        assert_eq!(alone(&theirs), [false, false, false, true], "{suite}: {}", words(&theirs));
    }
}

/// 10.2: what an approver signed of a rule file, kept beside the evidence.
#[test]
fn an_endorsement_alone_is_a_paper_of_whoever_may_endorse() {
    for suite in Suite::ALL {
        let case = Case::new(suite, None, None);
        let endorsement = |person: &str| protocol::endorsement::Endorsement {
            version: VERSION,
            crossing: Crossing::InternetToExtranet,
            rules: "2020-09-13.1".to_owned(),
            digest: Octets([8; 32]),
            person: name(person),
            at: Timestamp(1_600_000_000_000),
        };
        case.put("one.receipts", &case.signed(&case.approver, &endorsement("approver-li")));
        case.noted("one.receipts", &["unwitnessed endorsement"]);
        for (signer, person) in [(&case.extranet, "extranet"), (&case.approver, "approver-wu")] {
            case.put("one.receipts", &case.signed(signer, &endorsement(person)));
            assert!(!case.ferry().status.success(), "{suite}: {person}");
            assert!(case.stranger().is_none_or(|output| !output.status.success()), "{suite}: {person}");
        }
    }
}

/// 11.2
#[test]
fn a_listing_that_was_changed_under_its_signature_is_refused() {
    for suite in Suite::ALL {
        let case = Case::new(suite, None, None);
        let operator = SigningKey::generate(suite);
        case.card("operator-ma", Role::Operator, Zone::Intranet, &operator, None);
        let listing = b"00aa  survey/parcel-1.txt\n";
        let request = |action: &str, key: &SigningKey, person: &str| {
            let request = Request {
                version: VERSION,
                id: Octets([4; 32]),
                node: name("intranet"),
                action: name(action),
                person: name(person),
                at: WORK,
                arguments: vec![Label { name: name("listing"), value: Suite::Std.digest(listing).to_string() }],
            };
            case.signed(key, &request)
        };
        let both = || (case.ferry().status.success(), case.stranger().map(|output| output.status.success()));
        case.put("survey.sha256", listing);
        case.put("survey.sha256.sig", &request("intake", &operator, "operator-ma"));
        let (ours, theirs) = both();
        assert!(ours && theirs != Some(false), "{suite}: it is the listing that was signed");
        for (what, paper) in [
            ("not of an intake", request("export", &operator, "operator-ma")),
            ("not an operator's", request("intake", &case.approver, "approver-li")),
        ] {
            case.put("survey.sha256.sig", &paper);
            let (ours, theirs) = both();
            assert!(!ours && theirs != Some(true), "{suite}: {what}");
        }
        case.put("survey.sha256.sig", &request("intake", &operator, "operator-ma"));
        case.put("survey.sha256", b"00ab  survey/parcel-1.txt\n");
        let (ours, theirs) = both();
        assert!(!ours && theirs != Some(true), "{suite}: one digit is another");
        fs::remove_file(case.path("files/survey.sha256")).unwrap();
        let (ours, theirs) = both();
        assert!(!ours && theirs != Some(true), "{suite}: the listing is not there");
    }
}

/// Section 3: with such a key anybody's signature would hold.
#[test]
fn a_card_with_a_key_of_small_order_makes_the_folder_unusable() {
    let case = Case::new(Suite::Std, None, None);
    case.put("a.proof", &case.evidence(bundle(2), 300, &case.entry("1"), 6, Vec::new()));
    case.noted("a.proof", &[]);
    // The neutral element: y = 1.
    let mut spki = case.internet.public().to_spki();
    let at = spki.len() - 32;
    spki[at..].fill(0);
    spki[at] = 1;
    let card = KeyCard {
        zone: Zone::Internet,
        holder: name("nobody"),
        role: Role::Node,
        usage: Use::Sign,
        suite: Suite::Std,
        from: "2020-01-01".to_owned(),
        until: None,
        spki,
    };
    fs::write(case.path("trust/nobody.pem"), card.to_text()).unwrap();
    assert!(!case.ferry().status.success(), "{}", words(&case.ferry()));
    assert!(case.stranger().is_none_or(|output| !output.status.success()), "a stranger believes the folder");
}

/// 12.4: a log that is not read is missed by nobody who reads the others.
#[test]
fn more_former_logs_than_are_read_are_refused_and_not_passed_over() {
    let case = Case::new(Suite::Std, None, None);
    for number in 1..=257 {
        fs::create_dir_all(case.path(&format!("ledger/former/{number}"))).unwrap();
    }
    let mut command = Command::new(program("ferry"));
    let output = command.args(["--lang", "en", "ledger", "verify", "--dir"]);
    let output = output.arg(case.path("ledger")).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", words(&output));
    assert!(words(&output).contains("more than 256 logs"), "{}", words(&output));
}

/// 8.2: one bundle has one envelope.
#[test]
fn two_envelopes_under_one_bundle_id_contradict_each_other() {
    for suite in Suite::ALL {
        let case = Case::new(suite, None, None);
        let (entry, receipt) = (case.entry("2026-11-21.1"), case.receipt(bundle(2), 300, WORK.plus_ms(3_000)));
        case.put("a.proof", &case.evidence(bundle(2), 300, &entry, 6, vec![receipt.clone()]));
        // The same bundle, as its two nodes keep it, is no contradiction.
        case.put("b.proof", &fs::read(case.path("files/a.proof")).unwrap());
        case.noted("b.proof", &[]);
        case.put("b.proof", &case.evidence(bundle(2), 31_337, &entry, 7, vec![receipt]));
        let ours = case.ferry();
        assert!(!ours.status.success(), "{suite}: {}", words(&ours));
        assert!(words(&ours).contains("another envelope bears the id of its bundle"), "{}", words(&ours));
        let Some(theirs) = case.stranger() else { return };
        assert!(!theirs.status.success(), "{suite}: {}", words(&theirs));
        let said = words(&theirs);
        assert!(said.contains("\"failed\": 2") && said.contains("\"one_statement\": false"), "{suite}: {said}");
    }
}
