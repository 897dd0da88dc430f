//! Rules on their way into force at a daemon at work: one person's edit changes nothing, two people's does, a step back
//! does not, and no parcel is lost over any of it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test fail as a test does")]
#![allow(clippy::disallowed_methods, reason = "a test makes and removes files as an administrator would")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use serde_json::Value;
use tests::office::{Office, OneWay, Wishes};
use tests::papers;
use tests::programs::{programs, repository, words};

/// Far above what any step here needs; a machine that is busy must not fail a test.
const STEP: Duration = Duration::from_secs(120);
const FILE: &str = "internet-extranet.toml";
const OFFICER: &str = "officer-qian";

/// The internet's node with a folder of rules of its own, and a security officer.
struct Gate {
    office: Office,
    rules: PathBuf,
}

impl Gate {
    fn new(root: &Path) -> Gate {
        let wishes = Wishes {
            suite: "std".to_owned(),
            one_way: OneWay::Folder,
            repository: repository(),
            programs: programs().to_owned(),
            round_every_s: 3,
        };
        let office = Office::found(root, wishes, Ok).unwrap();
        let (people, pass) = (root.join("people"), root.join("passphrase"));
        let keygen = ["keygen", "--zone", "intranet", "--role", "security", "--suite", "std", "--holder", OFFICER];
        let places = ["--out", people.to_str().unwrap(), "--passphrase-file", pass.to_str().unwrap()];
        office.ferry(&[&keygen[..], &places].concat()).unwrap();
        let card = format!("{OFFICER}.pub.pem");
        fs::copy(people.join(&card), root.join("internet/trust").join(&card)).unwrap();
        let rules = root.join("rules");
        fs::create_dir(&rules).unwrap();
        for entry in fs::read_dir(repository().join("config/rules")).unwrap().map(Result::unwrap) {
            fs::copy(entry.path(), rules.join(entry.file_name())).unwrap();
        }
        let config = fs::read_to_string(office.config("internet")).unwrap();
        let from = format!("{:?}", repository().join("config/rules"));
        fs::write(office.config("internet"), config.replace(&from, &format!("{rules:?}"))).unwrap();
        Gate { office, rules }
    }

    fn up(&mut self) {
        self.office.start("internet").unwrap();
        let status = self.office.spool("internet").join("status/status.json");
        assert!(self.office.await_that(STEP, |_| status.exists().then_some(())).is_some());
    }

    /// The shipped rules with a version, and with CSV among what an application may hold where it is said so.
    fn lay(&self, version: &str, csv: bool) {
        let shipped = fs::read_to_string(repository().join("config/rules").join(FILE)).unwrap();
        let line = shipped.lines().find(|line| line.starts_with("version")).unwrap();
        let text = shipped.replace(line, &format!("version = \"{version}\""));
        let changed =
            if csv { text.replacen("kinds = [\"json\",", "kinds = [\"dbf\", \"json\",", 1) } else { text.clone() };
        assert!(!csv || changed != text, "the shipped rules begin the kinds of an application with json");
        fs::write(self.rules.join(FILE), changed).unwrap();
    }

    fn sign(&self, person: &str) -> Output {
        let (key, pass) =
            (self.office.root.join(format!("people/{person}.key.pem")), self.office.root.join("passphrase"));
        let file = self.rules.join(FILE);
        let words =
            [file.to_str().unwrap(), "--key", key.to_str().unwrap(), "--passphrase-file", pass.to_str().unwrap()];
        self.office.ferry_output(&[&["rules", "sign"], &words[..]].concat()).unwrap()
    }

    fn show(&self) -> Output {
        let (file, trust) = (self.rules.join(FILE), self.office.root.join("internet/trust"));
        self.office
            .ferry_output(&["rules", "show", file.to_str().unwrap(), "--trust", trust.to_str().unwrap()])
            .unwrap()
    }

    fn check(&self) -> (Option<i32>, String) {
        let output = self.office.node_output("internet", &["check", "--json"]).unwrap();
        (output.status.code(), words(&output))
    }

    /// Does the alarm of a refused reload stand?
    fn await_alarm(&mut self, stands: bool) {
        let status = self.office.spool("internet").join("status/status.json");
        let found = self.office.await_that(STEP, |_| {
            let text = fs::read_to_string(&status).unwrap_or_default();
            let told: Value = serde_json::from_str(&text).ok()?;
            (told["alarms"].to_string().contains("reload-refused") == stands).then_some(())
        });
        assert!(found.is_some(), "stands: {stands}; {}", fs::read_to_string(status).unwrap());
    }

    fn drop_form(&self, number: u32) -> String {
        let name = format!("form-{number}.json");
        let form = papers::application_form(number);
        self.office.drop_in("internet", "applications", &name, &[(&name, form.as_bytes())]).unwrap();
        name
    }

    fn await_accepted(&mut self, name: &str) {
        let found = self.office.await_that(STEP, |office| {
            let (state, _) = office.notice("internet", "applications", name)?;
            matches!(state.as_str(), "accepted" | "sent").then_some(())
        });
        assert!(found.is_some(), "{name}: {:?}", self.office.notice("internet", "applications", name));
    }

    /// The versions that the ledger says came into force on this crossing.
    fn recorded(&self) -> usize {
        let dir = self.office.spool("internet").join("ledger");
        let shown = self.office.ferry(&["ledger", "show", "--dir", dir.to_str().unwrap(), "--json"]).unwrap();
        let on_crossing = |line: &&str| line.contains("config-loaded") && line.contains("internet-extranet");
        shown.lines().filter(on_crossing).count()
    }
}

#[test]
fn one_edits_and_nothing_changes_two_sign_and_it_does_and_no_parcel_is_lost() {
    let root = tempfile::tempdir().unwrap();
    let mut gate = Gate::new(root.path());
    let (code, said) = gate.check();
    assert!(code == Some(0) && said.contains("shipped"), "{said}");
    gate.up();
    let mut names = vec![gate.drop_form(1)];

    // An edit nobody signed: `check` names it, a reload refuses it, and the daemon goes on with what it had.
    gate.lay("2026-12-01.1", true);
    let (code, said) = gate.check();
    assert!(code == Some(2) && said.contains("signed by nobody"), "{said}");
    gate.office.signal("internet", "HUP").unwrap();
    names.push(gate.drop_form(2));
    gate.await_alarm(true);
    names.push(gate.drop_form(3));

    // One signature is not enough, an operator's is none, an officer and an approver are two.
    assert_eq!(gate.sign("operator-ma").status.code(), Some(1));
    let signed = gate.sign("approver-li");
    assert!(signed.status.success(), "{}", words(&signed));
    assert_eq!(gate.show().status.code(), Some(1), "{}", words(&gate.show()));
    assert_eq!(gate.check().0, Some(2));
    let signed = gate.sign(OFFICER);
    assert!(signed.status.success(), "{}", words(&signed));
    assert_eq!(gate.show().status.code(), Some(0), "{}", words(&gate.show()));
    let (code, said) = gate.check();
    assert!(code == Some(0) && said.contains("approver-li") && said.contains(OFFICER), "{said}");
    let before = gate.recorded();
    gate.office.signal("internet", "HUP").unwrap();
    (4..12).for_each(|number| names.push(gate.drop_form(number)));
    gate.await_alarm(false);
    assert_eq!(gate.recorded(), before + 1, "the ledger says which version came into force");

    // A step back, well signed, is refused: by `check`, by a reload, and at a start.
    gate.lay("2026-11-30.9", true);
    for person in ["approver-li", OFFICER] {
        assert!(gate.sign(person).status.success());
    }
    let (code, said) = gate.check();
    assert!(code == Some(2) && said.contains("is before 2026-12-01.1"), "{said}");
    gate.office.signal("internet", "HUP").unwrap();
    gate.await_alarm(true);
    names.push(gate.drop_form(12));
    for name in names {
        gate.await_accepted(&name);
    }
    gate.office.kill("internet").unwrap();
    assert_eq!(gate.office.node_output("internet", &["run"]).unwrap().status.code(), Some(2));
}

/// What only shows when the daemon starts on it: a card that it seals to is not there.
#[test]
fn a_reload_that_cannot_be_served_leaves_what_was_in_force() {
    let root = tempfile::tempdir().unwrap();
    let mut gate = Gate::new(root.path());
    gate.up();
    let mut names = vec![gate.drop_form(1)];
    let (card, aside) = (root.path().join("internet/trust/security.seal.pub.pem"), root.path().join("aside.pem"));
    fs::rename(&card, &aside).unwrap();
    gate.office.signal("internet", "HUP").unwrap();
    gate.await_alarm(true);
    names.push(gate.drop_form(2));
    // The node may still be starting on what it had: a signal at that moment is not lost.
    fs::rename(&aside, &card).unwrap();
    gate.office.signal("internet", "HUP").unwrap();
    gate.await_alarm(false);
    names.push(gate.drop_form(3));
    for name in names {
        gate.await_accepted(&name);
    }
}

/// A link that cannot start when others do: an address that somebody has, found only after the gateway's threads run.
#[test]
fn a_reload_whose_link_cannot_start_leaves_what_was_in_force_and_its_rules_off_the_record() {
    let root = tempfile::tempdir().unwrap();
    let mut gate = Gate::new(root.path());
    gate.up();
    let mut names = vec![gate.drop_form(1)];
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let config = fs::read_to_string(gate.office.config("internet")).unwrap();
    let line = config.lines().find(|line| line.starts_with("listen = ")).unwrap();
    let other = format!("listen = \"{}\"", taken.local_addr().unwrap());
    fs::write(gate.office.config("internet"), config.replace(line, &other)).unwrap();
    gate.lay("2026-12-01.1", true);
    for person in ["approver-li", OFFICER] {
        assert!(gate.sign(person).status.success());
    }
    let before = gate.recorded();
    gate.office.signal("internet", "HUP").unwrap();
    gate.await_alarm(true);
    assert_eq!(gate.recorded(), before, "what never served is not on record");
    names.push(gate.drop_form(2));
    drop(taken);
    gate.office.signal("internet", "HUP").unwrap();
    gate.await_alarm(false);
    assert_eq!(gate.recorded(), before + 1);
    names.push(gate.drop_form(3));
    for name in names {
        gate.await_accepted(&name);
    }
}
