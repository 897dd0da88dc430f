//! A small office for tests of the built binary: keys, cards, sealed bundles, and a daemon that answers its desk. Seals to
//! public keys only; nothing here can open a bundle, as ferry cannot.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot set its stage has failed")]
#![allow(clippy::disallowed_methods, reason = "a stage for a test need not survive a power cut")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use protocol::bundle::{self, SealPlan};
use protocol::evidence::Evidence;
use protocol::id::new_id;
use protocol::keys::{SealingKey, SigningKey, random};
use protocol::parcel::{CustodyEntry, FileEntry, Manifest, OctetString, ParcelStatement, Priority, VERSION};
use protocol::receipt::{Head, Outcome, Receipt, ReceiptBatch};
use protocol::request::Request;
use protocol::tree::root_of;
use protocol::trust::{KeyCard, Role, Use};
use protocol::waybill::{Approval, LineKind, Waybill, WaybillLine, line_file_name};
use protocol::witness::HeadStatement;
use protocol::{BundleId, Crossing, Name, ParcelId, Signed, Suite, Timestamp, Trust, Verdict, Zone};
use serde_json::{Value, json};
use spool::desk::{Answer, answer_name};
use spool::{Disk, Layout};

pub(crate) const PASSPHRASE: &str = "four unrelated words";

/// The id of an operator's word.
const WORD: &str = "2b7e151628aed2a6abf7158809cf4f3c2b7e151628aed2a6abf7158809cf4f3c";

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// An empty folder of this test's own.
pub(crate) fn scratch(test: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

/// Runs the built ferry, in English, with the passphrase in the environment.
pub(crate) fn ferry(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ferry"))
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        .env("TRILOCK_PASSPHRASE", PASSPHRASE)
        .env_remove("TRILOCK_SPOOL")
        .output()
        .unwrap()
}

pub(crate) fn out(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs ferry and expects this exit code.
#[track_caller]
pub(crate) fn expect(code: i32, arguments: &[&str]) -> String {
    let output = ferry(arguments);
    let text = out(&output);
    assert_eq!(output.status.code(), Some(code), "ferry {arguments:?}\n{text}");
    text
}

/// What the verifier that was written from FORMAT.md alone says of a path, and its words; none without Python.
pub(crate) fn stranger(path: &str, trust: &str) -> Option<(bool, String)> {
    let verifier = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/independent/verify.py");
    let Ok(output) = Command::new("python3").arg("-B").arg(verifier).args(["--trust", trust, path]).output() else {
        println!("SKIPPED: python3 is not installed, the independent verifier was not asked");
        return None;
    };
    Some((output.status.success(), out(&output)))
}

/// The JSON lines of a successful run.
#[track_caller]
pub(crate) fn json_lines(arguments: &[&str]) -> Vec<Value> {
    let mut all = arguments.to_vec();
    all.push("--json");
    let output = ferry(&all);
    assert_eq!(output.status.code(), Some(0), "ferry {all:?}\n{}", out(&output));
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Two nodes, a trust folder, and a folder of people's keys.
pub(crate) struct Office {
    pub(crate) dir: PathBuf,
    pub(crate) suite: Suite,
    pub(crate) intranet: SigningKey,
    pub(crate) extranet: SigningKey,
    pub(crate) recipient: SealingKey,
    pub(crate) trust_dir: PathBuf,
    pub(crate) trust: Trust,
}

impl Office {
    pub(crate) fn new(test: &str, suite: Suite) -> Office {
        let dir = scratch(test);
        let trust_dir = dir.join("trust");
        fs::create_dir_all(&trust_dir).unwrap();
        fs::create_dir_all(dir.join("keys")).unwrap();
        let recipient = match suite {
            Suite::Std => SealingKey::X25519(random()),
            Suite::Gm => SealingKey::from_spki(&SigningKey::generate(suite).public().to_spki()).unwrap(),
        };
        let mut office = Office {
            intranet: SigningKey::generate(suite),
            extranet: SigningKey::generate(suite),
            recipient,
            trust: Trust::default(),
            trust_dir,
            suite,
            dir,
        };
        let (a, b) = (office.intranet.clone(), office.extranet.clone());
        office.card("intranet", Zone::Intranet, Role::Node, &a);
        office.card("extranet", Zone::Extranet, Role::Node, &b);
        office
    }

    pub(crate) fn card(&mut self, holder: &str, zone: Zone, role: Role, key: &SigningKey) {
        let card = KeyCard {
            zone,
            holder: name(holder),
            role,
            usage: Use::Sign,
            suite: key.suite(),
            from: "2020-01-01".to_owned(),
            until: None,
            spki: key.public().to_spki(),
        };
        self.trust.add(holder, &card.to_text()).unwrap();
        fs::write(self.trust_dir.join(format!("{holder}.pub.pem")), card.to_text()).unwrap();
    }

    /// A person's key, made by ferry itself; the card goes into the trust folder.
    pub(crate) fn person(&mut self, holder: &str, role: &str, zone: &str) -> String {
        let keys = self.dir.join("keys");
        expect(
            0,
            &[
                "keygen",
                "--zone",
                zone,
                "--role",
                role,
                "--holder",
                holder,
                "--suite",
                self.suite.name(),
                "--out",
                keys.to_str().unwrap(),
            ],
        );
        let card = format!("{holder}.pub.pem");
        let text = fs::read_to_string(keys.join(&card)).unwrap();
        self.trust.add(holder, &text).unwrap();
        fs::write(self.trust_dir.join(card), text).unwrap();
        keys.join(format!("{holder}.key.pem")).to_str().unwrap().to_owned()
    }

    pub(crate) fn trust_path(&self) -> &str {
        self.trust_dir.to_str().unwrap()
    }

    pub(crate) fn statement(&self, parcel: ParcelId, origin: &str, manifest: &Manifest) -> Signed {
        let key = if origin == "intranet" { &self.intranet } else { &self.extranet };
        Signed::make(
            key,
            &ParcelStatement {
                version: VERSION,
                parcel,
                origin: name(origin),
                route: name("results"),
                target: name("extranet"),
                parcel_type: name("result"),
                priority: Priority::Normal,
                accepted: Timestamp(1_790_000_000_000),
                manifest: self.suite.digest(&manifest.to_bytes()),
            },
        )
    }

    /// A sealed bundle from the intranet to the extranet, with its evidence.
    pub(crate) fn bundle(&self, sequence: u64, content: &[u8]) -> Made {
        let parcel = new_id(Timestamp(1_790_000_000_000 + sequence), random());
        self.bundle_of(parcel, sequence, content)
    }

    pub(crate) fn bundle_of(&self, parcel: ParcelId, sequence: u64, content: &[u8]) -> Made {
        let manifest = Manifest {
            salt: protocol::der_types::Octets(random()),
            version: VERSION,
            name: "result.bin".to_owned(),
            folder: false,
            files: vec![FileEntry {
                path: "result.bin".to_owned(),
                original: None,
                size: content.len() as u64,
                digest: root_of(self.suite, content),
                executable: false,
                modified_s: 1_790_000_000,
            }],
            labels: Vec::new(),
        };
        let statement = self.statement(parcel, "intranet", &manifest);
        let entry = Signed::make(
            &self.intranet,
            &CustodyEntry {
                version: VERSION,
                statement: statement.digest(),
                previous: statement.digest(),
                node: name("intranet"),
                crossing: Crossing::IntranetToExtranet,
                rules: "2026-11-21.1".to_owned(),
                verdict: Verdict::Released,
                at: Timestamp(1_790_000_001_000),
            },
        );
        let id = new_id(Timestamp(1_790_000_002_000 + sequence), random());
        let mut bytes = Vec::new();
        let plan = SealPlan {
            bundle: id,
            crossing: Crossing::IntranetToExtranet,
            epoch: 1,
            sequence,
            source: &name("intranet"),
            target: &name("extranet"),
            priority: Priority::Normal,
            now: Timestamp(1_790_000_002_000),
            key: &self.intranet,
            recipient: &self.recipient,
            keeper: &self.recipient,
            statement: &statement,
            custody: std::slice::from_ref(&entry),
            manifest: &manifest,
        };
        let sealed = bundle::seal(&plan, &mut bytes, |_| Ok(content)).unwrap();
        let receipt = Signed::make(
            &self.extranet,
            &Receipt {
                version: VERSION,
                parcel,
                statement: statement.digest(),
                node: name("extranet"),
                outcome: Outcome::Delivered,
                reason: None,
                bundle: id,
                crossing: Crossing::IntranetToExtranet,
                epoch: 1,
                sequence,
                at: Timestamp(1_790_000_100_000),
                head: Head::default(),
            },
        );
        let evidence =
            Evidence { envelope: sealed.envelope, footer: sealed.footer, receipts: vec![receipt.to_bytes()] }
                .to_bytes();
        Made { id, sequence, bytes, evidence, receipt: receipt.to_bytes() }
    }

    pub(crate) fn batch(&self, sequence: u64) -> (BundleId, Vec<u8>) {
        let id = new_id(Timestamp(1_790_000_003_000), random());
        let batch = ReceiptBatch {
            version: VERSION,
            batch: id,
            crossing: Crossing::IntranetToExtranet,
            source: name("intranet"),
            target: name("extranet"),
            epoch: 1,
            sequence,
            at: Timestamp(1_790_000_003_000),
            stated: stated(&self.intranet),
            receipts: Vec::new(),
            gap_reports: Vec::new(),
            withdrawn: Vec::new(),
        };
        (id, Signed::make(&self.intranet, &batch).to_bytes())
    }
}

/// What the node says about its ledger on every paper.
fn stated(key: &SigningKey) -> OctetString {
    let at = Timestamp(1_790_000_003_000);
    HeadStatement::first(&name("intranet"), &name("extranet"), key.suite(), at, Head::default()).sign(key)
}

/// A bundle and what is kept of it.
pub(crate) struct Made {
    pub(crate) id: BundleId,
    pub(crate) sequence: u64,
    pub(crate) bytes: Vec<u8>,
    pub(crate) evidence: Vec<u8>,
    pub(crate) receipt: Vec<u8>,
}

/// A daemon that knows just enough to answer its desk.
pub(crate) struct Daemon {
    pub(crate) root: PathBuf,
    pub(crate) layout: Layout,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

struct Answering {
    layout: Layout,
    node: Name,
    key: SigningKey,
    trust: Trust,
    outbox: Vec<(LineKind, BundleId, u64, Vec<u8>)>,
    approved: Vec<Name>,
    imported: Vec<(u64, String)>,
}

impl Daemon {
    /// Starts a node; `outbox` is what waits for its ferry crossing.
    pub(crate) fn start(office: &Office, node: &str, outbox: Vec<(LineKind, BundleId, u64, Vec<u8>)>) -> Daemon {
        let root = office.dir.join(node);
        let layout = Layout::new(&root);
        for dir in [
            layout.desk_requests(),
            layout.desk_answers(),
            layout.desk_trips(),
            layout.desk_incoming(),
            layout.desk_exports(),
            layout.status(),
        ] {
            fs::create_dir_all(dir).unwrap();
        }
        let ferry = json!({"crossing": "intranet-extranet", "target": "extranet", "approvals": 2});
        let facts = json!({"node": node, "zone": node, "suite": office.suite.name(), "ferry": ferry});
        fs::write(layout.status().join("node.json"), facts.to_string()).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let mut answering = Answering {
            layout: layout.clone(),
            node: name(node),
            key: if node == "intranet" { office.intranet.clone() } else { office.extranet.clone() },
            trust: office.trust.clone(),
            outbox,
            approved: Vec::new(),
            imported: Vec::new(),
        };
        let until = stop.clone();
        let thread = std::thread::Builder::new()
            .name(format!("daemon-{node}"))
            .spawn(move || {
                // Nothing here takes a minute; a test that does has hung.
                let started = Instant::now();
                while !until.load(Ordering::SeqCst) && started.elapsed() < Duration::from_secs(120) {
                    answering.step();
                    std::thread::park_timeout(Duration::from_millis(10));
                }
            })
            .unwrap();
        Daemon { root, layout, stop, thread: Some(thread) }
    }

    pub(crate) fn spool(&self) -> &str {
        self.root.to_str().unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

impl Answering {
    fn step(&mut self) {
        for entry in fs::read_dir(self.layout.desk_requests()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|e| e != "req") {
                continue;
            }
            let signed = Signed::parse::<Request>(&fs::read(&path).unwrap()).unwrap();
            let (request, card) = self.trust.verify::<Request>(&signed).unwrap();
            assert_eq!((&request.person, &request.node), (&card.holder, &self.node));
            let (done, code, details) = self.act(&request);
            let answer = Answer {
                done,
                code: code.to_owned(),
                message_en: format!("{code}."),
                message_zh: format!("{code}。"),
                details,
            };
            let torn = request.argument("name") == Some("unreadable");
            let bytes = if torn { b"{".to_vec() } else { serde_json::to_vec(&answer).unwrap() };
            fs::remove_file(&path).unwrap();
            Disk::real().write(&self.layout.desk_answers().join(answer_name(&request.id)), &bytes).unwrap();
        }
    }

    fn act(&mut self, request: &Request) -> (bool, &'static str, Value) {
        let trip: u64 = request.argument("trip").map_or(17, |text| text.parse().unwrap());
        match request.action.as_str() {
            "export" if self.outbox.is_empty() => (true, "nothing-waiting", json!({"files": 0})),
            "export" => self.export(request, trip),
            "reexport" => {
                let signed = fs::read(self.layout.desk_trips().join(format!("{trip}/waybill"))).unwrap();
                let digest = Signed::parse::<Waybill>(&signed).unwrap().digest();
                (true, "staged", json!({"trip": trip, "waybill": digest.to_string()}))
            }
            "approve" => self.approve(request, trip),
            "confirm" if self.approved.len() < 2 => (false, "approvals-missing", json!({})),
            "confirm" => (true, "confirmed", json!({"trip": trip, "files": 3, "bytes": 0})),
            "import" => self.import(request, trip),
            "turned-away" => {
                let told = |what: &str| request.argument(what).unwrap_or("-").to_owned();
                let line = [told("code"), told("trip"), told("medium"), told("count")].join(" ") + "\n";
                let path = self.layout.status().join("turned-away");
                let before = fs::read_to_string(&path).unwrap_or_default();
                fs::write(path, before + &line).unwrap();
                (true, "done", json!({}))
            }
            "ledger-export" => self.ledger_export(request),
            "dispose" => self.dispose(request),
            "dispose-word" => (true, "done", json!({"word": WORD, "reason": "shredded", "at_ms": 0})),
            "intake" if self.trust.cards().any(|card| card.holder == request.person && card.role != Role::Operator) => {
                (false, "role", json!({}))
            }
            "intake" if request.argument("name") == Some("late") => (false, "too-old", json!({})),
            "intake" if request.argument("route") == Some("marked") => (true, "done", json!({"marker": ".ready"})),
            "intake" => (true, "done", json!({"marker": null})),
            _ => (false, "unknown-action", json!({})),
        }
    }

    /// The second word completes it; the register says so from then on.
    fn dispose(&mut self, request: &Request) -> (bool, &'static str, Value) {
        let gone = request.argument("operator").is_some();
        let disposed = gone.then_some(1_795_305_599_999_u64);
        let media = json!([{"id": request.argument("medium"), "direction": "out", "disposed_ms": disposed}]);
        fs::write(self.layout.status().join("media.json"), media.to_string()).unwrap();
        let complete = request.argument("reason").is_some()
            && gone != request.argument("witness").is_some()
            && request.argument("answers") == gone.then_some(WORD);
        (complete, "done", json!({"disposed": gone}))
    }

    /// Tells what was asked for, two lines of it; of a forged person's export the digest of something else.
    fn ledger_export(&self, request: &Request) -> (bool, &'static str, Value) {
        let asked = |word| request.argument(word).unwrap_or("-");
        let text = format!("{}..{} {}\n{}\n", asked("from"), asked("to"), asked("person"), asked("medium"));
        let file = self.layout.desk_exports().join(format!("{}.{}", request.id, asked("format")));
        fs::write(&file, &text).unwrap();
        let told = if asked("person") == "forged" { "something else" } else { &text };
        let digest = self.key.suite().digest(told.as_bytes()).to_string();
        (true, "done", json!({"file": file, "lines": 2, "bytes": text.len(), "digest": digest}))
    }

    fn export(&mut self, request: &Request, trip: u64) -> (bool, &'static str, Value) {
        let folder = self.layout.desk_trips().join(trip.to_string());
        fs::create_dir_all(folder.join("approvals")).unwrap();
        let mut lines = Vec::new();
        let mut total = 0;
        for (kind, id, sequence, bytes) in self.outbox.drain(..) {
            let line = WaybillLine {
                kind,
                id,
                size: bytes.len() as u64,
                digest: root_of(self.key.suite(), &bytes),
                epoch: 1,
                sequence,
            };
            fs::write(folder.join(line_file_name(&line)), &bytes).unwrap();
            total += line.size;
            lines.push(line);
        }
        let files = lines.len();
        let bill = Waybill {
            version: VERSION,
            trip,
            crossing: Crossing::IntranetToExtranet,
            source: name("intranet"),
            target: name("extranet"),
            medium: name(request.argument("medium").unwrap()),
            carrier: name(request.argument("carrier").unwrap()),
            exporter: request.person.clone(),
            approvals: 2,
            at: request.at,
            stated: stated(&self.key),
            lines,
        };
        let signed = Signed::make(&self.key, &bill);
        fs::write(folder.join("waybill"), signed.to_bytes()).unwrap();
        let trips = json!([{"trip": trip, "crossing": "intranet-extranet", "direction": "out", "state": "staged",
            "medium": bill.medium, "carrier": bill.carrier, "files": files, "bytes": total, "approvals": [], "needed": 2,
            "settled": 0, "bundles": 2, "at_ms": 1_795_305_599_999_u64}]);
        fs::write(self.layout.status().join("trips.json"), trips.to_string()).unwrap();
        let details = json!({"trip": trip, "waybill": signed.digest().to_string(), "files": files, "bytes": total,
            "folder": folder, "approvals_needed": 2});
        (true, "staged", details)
    }

    fn approve(&mut self, request: &Request, trip: u64) -> (bool, &'static str, Value) {
        let path = self.layout.desk_trips().join(format!("{trip}/approvals/{}.approval", request.person));
        let signed = Signed::parse::<Approval>(&fs::read(path).unwrap()).unwrap();
        let (approval, card) = self.trust.verify::<Approval>(&signed).unwrap();
        assert_eq!((card.role, &approval.person), (Role::Approver, &request.person));
        if !self.approved.contains(&request.person) {
            self.approved.push(request.person.clone());
        }
        (true, "approved", json!({"trip": trip, "have": self.approved.len(), "needed": 2}))
    }

    fn import(&mut self, request: &Request, trip: u64) -> (bool, &'static str, Value) {
        let crossing = request.argument("crossing").unwrap().to_owned();
        let noted = self.layout.desk_incoming().join(format!("{crossing}-{trip}/trip.json")).exists();
        assert_eq!(noted, !self.imported.is_empty(), "ferry leaves the daemon's note alone");
        if self.imported.contains(&(trip, crossing.clone())) {
            return (false, "trip-repeated", json!({}));
        }
        let folder = self.layout.desk_incoming().join(format!("{crossing}-{trip}"));
        let signed = Signed::parse::<Waybill>(&fs::read(folder.join("waybill")).unwrap()).unwrap();
        assert_eq!(request.argument("waybill"), Some(signed.digest().to_string().as_str()));
        let bill: Waybill = self.trust.verify_from_node(&signed, &name("intranet")).unwrap();
        let mut bytes = 0;
        for line in &bill.lines {
            bytes += fs::metadata(folder.join(line_file_name(line))).unwrap().len();
        }
        assert_eq!(fs::read_dir(folder.join("approvals")).unwrap().count(), 2);
        // The daemon takes the files away and leaves its note.
        for line in &bill.lines {
            fs::remove_file(folder.join(line_file_name(line))).unwrap();
        }
        fs::write(folder.join("trip.json"), b"{}").unwrap();
        self.imported.push((trip, crossing));
        let trips = json!([{"trip": trip, "crossing": "intranet-extranet", "direction": "in", "state": "imported", "waybill": signed.digest().to_string(), "approvals": ["qian", "sun"]}]);
        fs::write(self.layout.status().join("trips.json"), trips.to_string()).unwrap();
        let bundles = bill.lines.iter().filter(|line| line.kind == LineKind::Bundle).count();
        (
            true,
            "imported",
            json!({"trip": trip, "bundles": bundles, "receipts": bill.lines.len() - bundles, "bytes": bytes}),
        )
    }
}
