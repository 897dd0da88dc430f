//! A node's keys from the day they are made: where they are read from, what memory they lie in, how one follows another.
#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test fail as a test does")]
#![allow(clippy::disallowed_methods, reason = "a test moves key files as an administrator would")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use protocol::der_types::Octets;
use protocol::keys::{self, OpeningKey, SigningKey};
use protocol::ledger::Event;
use protocol::parcel::{Label, OctetString, VERSION};
use protocol::request::Request;
use protocol::rollover::Rollover;
use protocol::trust::{KeyCard, Role, Use};
use protocol::{Crossing, Digest, ParcelId, Signed, Suite, Timestamp, Zone};
use serde_json::Value;
use spool::{Answer, Fuse};
use tests::office::{Office, OneWay, Wishes};
use tests::papers;
use tests::programs::{program, programs, repository, words};
use tests::twins::{self, Member, OPERATOR, Running, START, found, name};

const STEP: Duration = Duration::from_secs(60);

fn office(root: &Path) -> Office {
    office_of(root, Suite::Std)
}

fn office_of(root: &Path, suite: Suite) -> Office {
    let wishes = Wishes {
        suite: suite.name().to_owned(),
        one_way: OneWay::Folder,
        repository: repository(),
        programs: programs().to_owned(),
        round_every_s: 3,
    };
    Office::found(root, wishes, Ok).unwrap()
}

/// What `check --json` says is active.
fn active(command: &mut Command) -> Vec<String> {
    let output = command.args(["check", "--json"]).env("LANG", "C").output().unwrap();
    assert!(output.status.success(), "{}", words(&output));
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    said["active"].as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned()).collect()
}

/// May this test take the limit of locked memory away, as the shipped unit does?
fn limits_may_go() -> bool {
    let tried = Command::new("prlimit").args(["--memlock=unlimited:unlimited", "true"]).stderr(Stdio::null()).status();
    let may = tried.is_ok_and(|status| status.success());
    if !may {
        println!("SKIPPED: prlimit (util-linux) may not take the limit of locked memory away here");
    }
    may
}

#[test]
fn keys_lie_in_memory_that_is_not_dumped_nor_read_by_debuggers_nor_swapped() {
    let root = tempfile::tempdir().unwrap();
    let office = office(root.path());
    let config = office.config("extranet");
    let limited = Command::new("prlimit")
        .args(["--memlock=65536:65536"])
        .arg(program("extranet-node"))
        .arg("--config")
        .arg(&config)
        .args(["check", "--json"])
        .output();
    let said = limited.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    assert!(said.contains("locked in memory MISSING"), "a limit is not hidden: {said}");
    if !limits_may_go() {
        return;
    }
    let unlimited = |arguments: &[&str]| {
        let mut command = Command::new("prlimit");
        command.args(["--memlock=unlimited:unlimited", "--core=unlimited:unlimited"]);
        command.arg(program("extranet-node")).arg("--config").arg(&config).args(arguments);
        command
    };
    let keys = active(&mut unlimited(&[])).into_iter().find(|line| line.starts_with("keys:")).unwrap();
    assert_eq!(keys, "keys: no core dumps on, closed to debuggers on, locked in memory on");

    let mut daemon = unlimited(&["run"]).stderr(Stdio::null()).spawn().unwrap();
    let status = office.spool("extranet").join("status/status.json");
    let mut office = office;
    let up = office.await_that(STEP, |_| status.exists().then_some(()));
    let of_daemon = |file: &str| fs::read_to_string(format!("/proc/{}/{file}", daemon.id())).unwrap();
    let limits = of_daemon("limits");
    let locked = of_daemon("status").lines().find(|line| line.starts_with("VmLck:")).unwrap().to_owned();
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    assert!(up.is_some(), "it serves");
    let core: Vec<&str> =
        limits.lines().find(|l| l.starts_with("Max core file size")).unwrap().split_whitespace().collect();
    assert_eq!(core[4..6], ["0", "0"], "{limits}");
    let kib: u64 = locked.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(kib > 0, "{locked}");
}

#[test]
fn a_node_takes_its_keys_from_the_units_credentials_where_they_are_laid_out() {
    let root = tempfile::tempdir().unwrap();
    let office = office(root.path());
    let keys = root.path().join("extranet/keys");
    let credentials = root.path().join("credentials");
    fs::create_dir(&credentials).unwrap();
    for usage in ["sign", "seal", "link"] {
        let name = format!("extranet.{usage}.key.pem");
        fs::rename(keys.join(&name), credentials.join(&name)).unwrap();
        // As systemd leaves them: the mask of an access list stands where the group's rights would.
        fs::set_permissions(credentials.join(&name), Permissions::from_mode(0o440)).unwrap();
    }
    let node = || {
        let mut command = Command::new(program("extranet-node"));
        command.arg("--config").arg(office.config("extranet"));
        command
    };
    let without = node().args(["check"]).output().unwrap();
    assert_eq!(without.status.code(), Some(2), "{}", words(&without));
    assert!(!active(node().env("CREDENTIALS_DIRECTORY", &credentials)).is_empty());
    // What everybody may read is no secret, wherever it lies.
    fs::set_permissions(credentials.join("extranet.sign.key.pem"), Permissions::from_mode(0o444)).unwrap();
    let open = node().arg("check").env("CREDENTIALS_DIRECTORY", &credentials).output().unwrap();
    assert_eq!(open.status.code(), Some(2), "{}", words(&open));
}

/// What systemd does with `LoadCredential=keys:FOLDER` when the unit starts.
fn lay_out(folder: &Path, credentials: &Path) {
    let _gone = fs::remove_dir_all(credentials);
    fs::create_dir(credentials).unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let copy = credentials.join(format!("keys_{}", entry.file_name().to_string_lossy()));
        fs::copy(entry.path(), &copy).unwrap();
        fs::set_permissions(&copy, Permissions::from_mode(0o440)).unwrap();
    }
}

#[test]
fn keys_follow_one_another_where_the_daemon_has_them_as_credentials_only() {
    let root = tempfile::tempdir().unwrap();
    let mut office = office(root.path());
    let (keys, credentials) = (root.path().join("extranet/keys"), root.path().join("credentials"));
    // To the daemon the folder is not there: it is root's.
    let config = fs::read_to_string(office.config("extranet")).unwrap();
    let line = config.lines().find(|line| line.starts_with("keys = ")).unwrap();
    let theirs = root.path().join("daemon.toml");
    fs::write(&theirs, config.replace(line, "keys = \"/nowhere/keys\"")).unwrap();
    let daemon = |arguments: &[&str]| {
        let mut command = Command::new(program("extranet-node"));
        command.arg("--config").arg(&theirs).args(arguments).env("CREDENTIALS_DIRECTORY", &credentials);
        command
    };
    let import = |office: &Office, usage: &str| {
        for node in ["internet", "extranet", "intranet"] {
            let (file, trust) = (keys.join(format!("extranet.{usage}.rollover")), root.path().join(node).join("trust"));
            office.ferry(&["trust", "import", &file.to_string_lossy(), "--trust", &trust.to_string_lossy()]).unwrap();
        }
    };
    let held = |command: &mut Command| -> Vec<(String, String)> {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", words(&output));
        let rows: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        let word = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
        rows.iter()
            .filter(|row| row["use"] == "seal")
            .map(|row| (word(row, "state"), word(row, "fingerprint")))
            .collect()
    };
    office.node_command("extranet", &["keys", "next", "--use", "seal"]).unwrap();
    lay_out(&keys, &credentials);
    let before = held(&mut daemon(&["keys", "--json"]));
    assert_eq!(before.iter().map(|(word, _)| word.as_str()).collect::<Vec<_>>(), ["present", "next"]);
    let refused = daemon(&["keys", "switch", "--use", "seal"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(1), "credentials are not ours to change: {}", words(&refused));

    // The neighbour seals to the next key before and after the change, and the daemon opens, restarted or not.
    import(&office, "seal");
    let start = |office: &mut Office| {
        let (status, mut command) = (office.spool("extranet").join("status/status.json"), daemon(&["run"]));
        let _gone = fs::remove_file(&status);
        let child = command.stderr(Stdio::null()).spawn().unwrap();
        assert!(office.await_that(STEP, |_| status.exists().then_some(())).is_some());
        child
    };
    let end = |mut child: std::process::Child| {
        child.kill().unwrap();
        child.wait().unwrap();
    };
    let child = start(&mut office);
    up(&mut office, "internet");
    delivered(&mut office, 1);
    office.node_command("extranet", &["keys", "switch", "--use", "seal"]).unwrap();
    delivered(&mut office, 2);
    end(child);
    lay_out(&keys, &credentials);
    let after = held(&mut daemon(&["keys", "--json"]));
    assert_eq!(after, [("present".to_owned(), before[1].1.clone()), ("old".to_owned(), before[0].1.clone())]);
    let child = start(&mut office);
    delivered(&mut office, 3);
    end(child);
}

#[test]
fn the_nodes_own_commands_work_between_the_change_of_its_signing_key_and_the_reload() {
    let root = tempfile::tempdir().unwrap();
    let mut office = office(root.path());
    up(&mut office, "extranet");
    office.node_command("extranet", &["keys", "next", "--use", "sign"]).unwrap();
    let (file, trust) = (root.path().join("extranet/keys/extranet.sign.rollover"), root.path().join("extranet/trust"));
    office.ferry(&["trust", "import", &file.to_string_lossy(), "--trust", &trust.to_string_lossy()]).unwrap();
    let early = office.node_output("extranet", &["keys", "switch", "--use", "sign"]).unwrap();
    assert_eq!(early.status.code(), Some(1), "the daemon has not read the card: {}", words(&early));
    again(&mut office, "extranet");
    office.node_command("extranet", &["keys", "switch", "--use", "sign"]).unwrap();
    for asked in [&["list"][..], &["gaps"], &["keys"], &["route", "disable", "applications", "--reason", "test"]] {
        office.node_command("extranet", asked).unwrap();
    }
    again(&mut office, "extranet");
    office.node_command("extranet", &["list"]).unwrap();
}

fn up(office: &mut Office, node: &'static str) {
    let status = office.spool(node).join("status/status.json");
    // A daemon that was here before left one.
    let _gone = fs::remove_file(&status);
    office.start(node).unwrap();
    assert!(office.await_that(STEP, |_| status.exists().then_some(())).is_some(), "{node} starts");
}

fn again(office: &mut Office, node: &'static str) {
    office.signal(node, "TERM").unwrap();
    let until = std::time::Instant::now() + STEP;
    while office.ended(node).is_none() {
        assert!(std::time::Instant::now() < until, "{node} ends");
        std::thread::yield_now();
    }
    up(office, node);
}

fn delivered(office: &mut Office, number: u32) {
    let name = format!("form-{number}.json");
    let form = papers::application_form(number);
    office.drop_in("internet", "applications", &name, &[(&name, form.as_bytes())]).unwrap();
    let state = office.await_that(STEP, |office| {
        let (state, _) = office.notice("internet", "applications", &name)?;
        (state == "delivered").then_some(state)
    });
    assert!(state.is_some(), "{name} is {:?}", office.notice("internet", "applications", &name));
    assert!(office.outlet("extranet", "applications").join(&name).exists(), "{name}");
}

fn own_keys(office: &Office, node: &str) -> Vec<Value> {
    serde_json::from_str(&office.node_command(node, &["keys", "--json"]).unwrap()).unwrap()
}

#[test]
fn each_key_of_a_node_is_followed_by_the_next_and_no_parcel_and_no_proof_is_lost() {
    let root = tempfile::tempdir().unwrap();
    let mut office = office(root.path());
    let nodes = ["internet", "extranet"];
    nodes.iter().for_each(|node| up(&mut office, node));
    delivered(&mut office, 1);

    for usage in ["sign", "seal", "link"] {
        let refused = office.node_output("extranet", &["keys", "switch", "--use", usage]).unwrap();
        assert!(!refused.status.success(), "there is no next key yet");
        office.node_command("extranet", &["keys", "next", "--use", usage]).unwrap();
        let twice = office.node_output("extranet", &["keys", "next", "--use", usage]).unwrap();
        assert_eq!(twice.status.code(), Some(1), "{}", words(&twice));
        let early = office.node_output("extranet", &["keys", "switch", "--use", usage]).unwrap();
        assert_eq!(early.status.code(), Some(1), "it would not believe itself: {}", words(&early));
    }
    again(&mut office, "extranet");
    delivered(&mut office, 2);

    for usage in ["sign", "seal", "link"] {
        let rollover = root.path().join(format!("extranet/keys/extranet.{usage}.rollover"));
        let mut forged = fs::read(&rollover).unwrap();
        *forged.last_mut().unwrap() ^= 1;
        let bad = root.path().join("forged.rollover");
        fs::write(&bad, forged).unwrap();
        for node in ["internet", "extranet", "intranet"] {
            let trust = root.path().join(node).join("trust");
            let import = |file: &Path| {
                office
                    .ferry_output(&["trust", "import", &file.to_string_lossy(), "--trust", &trust.to_string_lossy()])
                    .unwrap()
            };
            let refused = import(&bad);
            assert_eq!(refused.status.code(), Some(1), "{}", words(&refused));
            // Once more changes nothing.
            for _ in 0..2 {
                let taken = import(&rollover);
                assert!(taken.status.success(), "{}", words(&taken));
            }
        }
    }
    // Now the internet seals to the next key while the extranet still signs with its present one.
    again(&mut office, "internet");
    // And the extranet knows that its next keys are believed.
    again(&mut office, "extranet");
    delivered(&mut office, 3);
    for usage in ["sign", "seal", "link"] {
        office.node_command("extranet", &["keys", "switch", "--use", usage]).unwrap();
    }
    again(&mut office, "extranet");
    delivered(&mut office, 4);

    let keys = own_keys(&office, "extranet");
    let old = |usage: &str| keys.iter().find(|key| key["use"] == usage && key["state"] == "old").unwrap().clone();
    assert_eq!(keys.len(), 6, "{keys:?}");
    assert_eq!(old("seal")["may_go"], false, "its last day is not over: {keys:?}");
    assert!(old("seal")["until"].is_string() && old("seal")["bundles"] == 0, "{keys:?}");
    assert_eq!(old("link")["may_go"], true, "{keys:?}");
    let drop = |usage: &str| {
        let key = old(usage)["fingerprint"].as_str().unwrap().to_owned();
        office.node_output("extranet", &["keys", "drop", &key]).unwrap().status.code()
    };
    assert_eq!((drop("seal"), drop("link")), (Some(1), Some(0)));
    assert_eq!(own_keys(&office, "extranet").len(), 5);
    again(&mut office, "extranet");
    delivered(&mut office, 5);

    // Everything that either key signed is proven by the folder as it is now, and the ledger tells the keys' lives.
    for node in nodes {
        let (evidence, trust) = (office.spool(node).join("evidence"), root.path().join("internet/trust"));
        office.ferry(&["verify", &evidence.to_string_lossy(), "--trust", &trust.to_string_lossy()]).unwrap();
        let ledger = office.spool(node).join("ledger");
        let told = office.ferry(&["ledger", "show", "--dir", &ledger.to_string_lossy(), "--json"]).unwrap();
        let count = |event: &str| told.matches(&format!("\"{event}\"")).count();
        assert_eq!(count("key-retired"), 3, "{node}: {told}");
        assert!(count("key-trusted") >= 6, "{node}: {told}");
        assert_eq!(count("key-made"), if node == "extranet" { 6 } else { 3 }, "{node}: {told}");
        assert_eq!(count("key-removed"), 0, "{node}");
    }
}

#[test]
fn a_key_that_has_ended_names_no_successor_by_writing_an_earlier_day() {
    let root = tempfile::tempdir().unwrap();
    let trust = root.path().join("trust");
    fs::create_dir(&trust).unwrap();
    let [old, next] = [(); 2].map(|()| SigningKey::generate(Suite::Std));
    let card = trust.join("internet.sign.pub.pem");
    let text = |until: Option<&str>| {
        KeyCard {
            zone: Zone::Internet,
            holder: name("internet"),
            role: Role::Node,
            usage: Use::Sign,
            suite: Suite::Std,
            from: "2024-01-01".to_owned(),
            until: until.map(str::to_owned),
            spki: old.public().to_spki(),
        }
        .to_text()
    };
    let said = |at: &str, until: &str| {
        let said = Rollover {
            version: VERSION,
            node: name("internet"),
            usage: Use::Sign,
            old: old.public().id(),
            key: OctetString::new(next.public().to_spki()).unwrap(),
            at: Timestamp::of_day(at).unwrap(),
            until: Timestamp::of_day(until).unwrap(),
        };
        let path = root.path().join("said.rollover");
        fs::write(&path, Signed::make(&old, &said).to_bytes()).unwrap();
        path
    };
    let import = |paper: &Path| {
        let mut ferry = Command::new(program("ferry"));
        ferry.args(["trust", "import"]).arg(paper).arg("--trust").arg(&trust).env("LANG", "C").output().unwrap()
    };
    for (ended, at, until) in [
        (Some("2025-06-30"), "2024-06-01", "2024-07-01"),
        (Some("2025-06-30"), "2025-06-30", "2099-01-01"),
        (None, "2024-06-01", "2024-07-01"),
    ] {
        fs::write(&card, text(ended)).unwrap();
        let refused = import(&said(at, until));
        assert_eq!(refused.status.code(), Some(1), "{ended:?} {at}: {}", words(&refused));
        assert!(words(&refused).contains("had its last day on 20"), "{}", words(&refused));
        assert_eq!(fs::read_to_string(&card).unwrap(), text(ended), "its end is where it was");
        assert_eq!(fs::read_dir(&trust).unwrap().count(), 1, "nobody else is believed");
    }
    fs::write(&card, text(None)).unwrap();
    let taken = import(&said("2024-06-01", "2099-01-01"));
    assert!(taken.status.success(), "{}", words(&taken));
}

/// A node's signing key goes into a device: a program with the key in a file of its own, away while `away` is there.
fn into_device(office: &Office, root: &Path, node: &str) -> std::path::PathBuf {
    let (folder, keys) = (root.join(format!("device-{node}")), root.join(node).join("keys"));
    fs::create_dir(&folder).unwrap();
    fs::rename(keys.join(format!("{node}.sign.key.pem")), folder.join("key.pem")).unwrap();
    let (program, away) = (folder.join("sign"), folder.join("away"));
    let sample = repository().join("docs/samples/exec-key.py");
    let text = format!(
        "#!/bin/sh\n[ -e {away:?} ] && exec echo '{{\"error\": \"no-device\", \"message\": \"plug it in\"}}'\nEXEC_KEY_FILE={:?} exec python3 {sample:?}\n",
        folder.join("key.pem")
    );
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    let config = office.config(node);
    let with = format!("signing_key = \"exec:{}\"\nspool = ", program.display());
    fs::write(&config, fs::read_to_string(&config).unwrap().replacen("spool = ", &with, 1)).unwrap();
    away
}

fn alarms(office: &Office, node: &str) -> String {
    let status = fs::read(office.spool(node).join("status/status.json")).unwrap_or_default();
    serde_json::from_slice::<Value>(&status).map(|status| status["alarms"].to_string()).unwrap_or_default()
}

#[test]
fn a_device_signs_for_a_node_and_while_it_is_away_everything_waits_and_nothing_is_lost() {
    for tool in ["python3", "openssl"] {
        if Command::new(tool).arg("--help").output().is_err() {
            println!("SKIPPED: {tool} is not installed, no device was played");
            return;
        }
    }
    let root = tempfile::tempdir().unwrap();
    let mut office = office_of(root.path(), Suite::Gm);
    let nodes = ["internet", "extranet"];
    let away = nodes.map(|node| into_device(&office, root.path(), node));
    nodes.iter().for_each(|node| up(&mut office, node));
    delivered(&mut office, 1);

    for (number, (node, away)) in (2_u32..).zip(nodes.iter().zip(&away)) {
        let told = |office: &Office| alarms(office, node).contains("signer-away");
        fs::write(away, "").unwrap();
        let checked = office.node_output(node, &["check"]).unwrap();
        assert_eq!(checked.status.code(), Some(2), "{}", words(&checked));
        assert!(words(&checked).contains("no-device plug it in"), "{}", words(&checked));
        let (name, form) = (format!("form-{number}.json"), papers::application_form(number));
        office.drop_in("internet", "applications", &name, &[(&name, form.as_bytes())]).unwrap();
        assert!(office.await_that(STEP, |office| told(office).then_some(())).is_some(), "{node} has an alarm");
        // It starts without the device, and waits on.
        again(&mut office, node);
        assert!(office.await_that(STEP, |office| told(office).then_some(())).is_some(), "{node} has an alarm again");
        let state = office.notice("internet", "applications", &name).map(|(state, _)| state);
        assert!(state.as_deref() != Some("delivered") && state.as_deref() != Some("refused"), "{state:?}");
        fs::remove_file(away).unwrap();
        let state = office.await_that(STEP, |office| {
            let (state, _) = office.notice("internet", "applications", &name)?;
            (state == "delivered").then_some(state)
        });
        assert!(state.is_some(), "{node}: {:?}", office.notice("internet", "applications", &name));
        let clear = office.await_that(STEP, |office| (!told(office)).then_some(()));
        assert!(clear.is_some(), "{node}: {}", alarms(&office, node));
    }
    office.node_command("extranet", &["list"]).unwrap();
    for node in nodes {
        let (evidence, trust) = (office.spool(node).join("evidence"), root.path().join("internet/trust"));
        office.ferry(&["verify", &evidence.to_string_lossy(), "--trust", &trust.to_string_lossy()]).unwrap();
    }
    let next = office.node_output("extranet", &["keys", "next", "--use", "sign"]).unwrap();
    assert_eq!(next.status.code(), Some(1), "the device makes its own keys: {}", words(&next));
    office.node_command("extranet", &["keys", "next", "--use", "seal"]).unwrap();
}

/// The extranet's node lost its sealing key and has another, whose card both trust folders hold.
fn another_sealing_key(internet: &Member, extranet: &Member) -> Digest {
    let key = OpeningKey::generate(Suite::Std);
    fs::write(extranet.config.node.keys.join("extranet.seal.key.pem"), key.to_pem(None).unwrap().as_bytes()).unwrap();
    let card = KeyCard {
        zone: Zone::Extranet,
        holder: name("extranet"),
        role: Role::Node,
        usage: Use::Seal,
        suite: Suite::Std,
        from: "2026-11-23".to_owned(),
        until: None,
        spki: key.public().to_spki(),
    };
    for member in [internet, extranet] {
        fs::write(member.config.node.trust.join("extranet.seal.2.pub.pem"), card.to_text()).unwrap();
    }
    card.id()
}

/// The operator asks to address a parcel's bundle to a key. None where the daemon died over it.
fn reseal(running: &Running, operator: &SigningKey, parcel: &ParcelId, to: &Digest, now: Timestamp) -> Option<Answer> {
    let arguments = [("parcel", parcel.to_string()), ("to", keys::fingerprint(to))];
    let request = Request {
        version: VERSION,
        id: Octets(keys::random()),
        node: running.station.node.clone(),
        action: name("reseal"),
        person: name(OPERATOR),
        at: now,
        arguments: arguments.map(|(word, value)| Label { name: name(word), value }).to_vec(),
    };
    let layout = running.station.layout();
    let path = layout.desk_requests().join(spool::desk::request_name(&request.id));
    fs::write(&path, Signed::make(operator, &request).to_bytes()).unwrap();
    let stepped = station::desk::step(&running.station, now);
    let _answered = fs::remove_file(path);
    stepped.ok()?;
    let answer = fs::read(layout.desk_answers().join(spool::desk::answer_name(&request.id))).ok()?;
    serde_json::from_slice(&answer).ok()
}

fn only_parcel(running: &Running) -> ParcelId {
    running.station.spool.parcels(&spool::Filter::default(), 10).unwrap()[0].parcel
}

#[test]
fn what_was_sealed_to_a_key_that_is_gone_is_addressed_to_another_and_delivered_once() {
    let folder = tempfile::tempdir().unwrap();
    let ([internet, extranet], operator, _) = found(folder.path(), [Zone::Internet, Zone::Extranet]);
    let mut now = START;
    let mut from = internet.open(now).unwrap();
    internet.drop_application(1);
    from.turn(&mut now).unwrap();
    let parcel = only_parcel(&from);
    drop(from);

    let key = another_sealing_key(&internet, &extranet);
    let mut from = internet.open(now).unwrap();
    let code = |answer: Option<Answer>| answer.unwrap().code;
    let not_of_that_node = from.station.keyring.opening.public().id();
    assert_eq!(code(reseal(&from, &operator, &parcel, &not_of_that_node, now)), "no-such-key");
    assert_eq!(code(reseal(&from, &operator, &Octets([1; 16]), &key, now)), "nothing-to-reseal");
    assert_eq!(code(reseal(&from, &operator, &parcel, &key, now)), "done");
    assert_eq!(code(reseal(&from, &operator, &parcel, &key, now)), "nothing-to-reseal", "it is done once");

    let mut to = extranet.open(now).unwrap();
    for _ in 0..3 {
        from.turn(&mut now).unwrap();
        from.carry_to(&to);
        to.turn(&mut now).unwrap();
        to.carry_to(&from);
    }
    assert_eq!(extranet.outlet("applications"), ["case-1"]);
    let gaps = to.station.spool.gaps(&name("internet"), Crossing::InternetToExtranet);
    assert!(gaps.iter().all(|epoch| epoch.missing.is_empty()), "the old number is withdrawn: {gaps:?}");
    assert_eq!(from.station.spool.outbox(Crossing::InternetToExtranet).entries().unwrap().len(), 0);
}

#[test]
fn a_reseal_that_dies_after_any_effect_leaves_one_bundle_that_can_be_resealed_or_sent() {
    let folder = tempfile::tempdir().unwrap();
    let ([internet, extranet], operator, _) = found(folder.path(), [Zone::Internet, Zone::Extranet]);
    let mut now = START;
    let mut from = internet.open(now).unwrap();
    internet.drop_application(1);
    from.turn(&mut now).unwrap();
    let parcel = only_parcel(&from);
    drop(from);
    let key = another_sealing_key(&internet, &extranet);
    let mut deaths = 0;
    for effects in 0.. {
        now = now.plus_ms(2_000);
        let fuse = Fuse::after(effects);
        let Ok(from) = internet.open_until(&fuse, now) else { continue };
        let _answer = reseal(&from, &operator, &parcel, &key, now);
        drop(from);
        // Whatever happened: the next start finds one bundle of the parcel.
        let from = internet.open(now).unwrap();
        assert_eq!(from.station.spool.outbox(Crossing::InternetToExtranet).entries().unwrap().len(), 1, "{effects}");
        if !fuse.burnt() {
            break;
        }
        deaths += 1;
    }
    assert!(deaths > 8, "{deaths} deaths");
    let (mut from, mut to) = (internet.open(now).unwrap(), extranet.open(now).unwrap());
    for _ in 0..3 {
        from.turn(&mut now).unwrap();
        from.carry_to(&to);
        to.turn(&mut now).unwrap();
        to.carry_to(&from);
    }
    assert_eq!(extranet.outlet("applications"), ["case-1"]);
    assert_eq!(twins::names(&internet.layout().opening()), [""; 0], "no plaintext is left");
}

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

#[test]
fn a_person_asks_at_the_desk_up_to_the_last_day_of_their_key_and_no_longer() {
    let folder = tempfile::tempdir().unwrap();
    let ([internet, _], operator, _) = found(folder.path(), [Zone::Internet, Zone::Extranet]);
    drop(internet.open(START).unwrap());
    twins::ends(&internet, "operator.pub.pem", START.plus_ms(DAY_MS));
    let ask = |now: Timestamp| twins::ask(&internet.open(now).unwrap(), &operator, OPERATOR, "gaps", &[], now);
    assert!(ask(START.plus_ms(DAY_MS)).done, "the last day counts");
    let refused = ask(START.plus_ms(2 * DAY_MS));
    assert_eq!((refused.done, refused.code.as_str()), (false, "key-ended"));
    assert!(refused.message_en.contains("last day on 20") && refused.message_zh.contains("最后有效日"), "{refused:?}");
    assert!(refused.details["remedy_en"].is_string() && refused.details["remedy_zh"].is_string(), "{refused:?}");
    assert!(ask(START.plus_ms(400 * DAY_MS)).done, "a clock in doubt ends nothing");
}

#[test]
fn an_old_key_of_the_node_asks_for_nothing_after_its_last_day() {
    let folder = tempfile::tempdir().unwrap();
    let ([internet, _], _, _) = found(folder.path(), [Zone::Internet, Zone::Extranet]);
    let old = twins::person(&[&internet], "internet", Role::Node);
    let ask = |now: Timestamp| {
        let running = internet.open(now).unwrap();
        let id = twins::lay(&running, &old, "internet", "gaps", &[], now);
        let (layout, file) = (running.station.layout(), spool::desk::request_name(&id));
        fs::rename(layout.desk_requests().join(&file), layout.desk_own().join(&file)).unwrap();
        station::desk::step(&running.station, now).unwrap();
        twins::answer(&running, &id)
    };
    assert!(ask(START).done);
    twins::ends(&internet, "internet.pub.pem", START);
    assert!(ask(START.plus_ms(1)).done, "the last day counts");
    assert_eq!(ask(START.plus_ms(2 * DAY_MS)).code, "key-ended");
}

/// What stands in a node's ledger of a key since so many records, in order.
fn life(running: &Running, since: u64, key: &Digest) -> Vec<Event> {
    let records = running.station.spool.records(since, 10_000).unwrap().into_iter().map(|stored| stored.record);
    let of_keys = [Event::KeyTrusted, Event::KeyRetired, Event::KeyRemoved];
    records.filter(|it| it.digest == Some(*key) && of_keys.contains(&it.event)).map(|it| it.event).collect()
}

#[test]
fn every_change_of_a_card_is_on_record_and_a_start_without_one_records_nothing() {
    use Event::{KeyRemoved as Removed, KeyRetired as Retired, KeyTrusted as Trusted};
    let folder = tempfile::tempdir().unwrap();
    let ([internet, _], operator, _) = found(folder.path(), [Zone::Internet, Zone::Extranet]);
    let (path, key) = (internet.config.node.trust.join("operator.pub.pem"), operator.public().id());
    let made = fs::read_to_string(&path).unwrap();
    let until = |day: &str| made.replacen("Fingerprint:", &format!("Until: {day}\nFingerprint:"), 1);
    let role = made.replacen("Role: operator", "Role: approver", 1);
    let mut since = 0;
    let mut after = |text: Option<String>| {
        match text {
            Some(text) => fs::write(&path, text).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        let running = internet.open(START).unwrap();
        let told = life(&running, since, &key);
        since = running.station.spool.head().size;
        told
    };
    assert_eq!(after(Some(made.clone())), [Trusted]);
    assert_eq!(after(Some(made.clone())), []);
    assert_eq!(after(Some(until("2028-01-31"))), [Retired]);
    assert_eq!(after(Some(until("2027-12-31"))), [Retired], "an earlier last day");
    assert_eq!(after(Some(until("2027-12-31"))), []);
    assert_eq!(after(Some(until("2029-12-31"))), [Removed, Trusted, Retired], "a last day put off");
    assert_eq!(after(Some(made.clone())), [Removed, Trusted], "a last day taken away");
    assert_eq!(after(Some(role)), [Removed, Trusted], "another role");
    assert_eq!(after(Some(made.replacen("Zone: internet", "Zone: extranet", 1))), [Removed, Trusted], "another zone");
    assert_eq!(after(Some(made.replacen("Holder: ", "Holder: another-", 1))), [Removed, Trusted], "another person");
    assert_eq!(after(None), [Removed]);
    assert_eq!(after(Some(made)), [Trusted]);
}

#[test]
fn a_spool_that_remembers_keys_as_before_records_no_change_that_was_none() {
    let folder = tempfile::tempdir().unwrap();
    let ([internet, _], operator, _) = found(folder.path(), [Zone::Internet, Zone::Extranet]);
    drop(internet.open(START).unwrap());
    let path = internet.layout().status().join("keys-on-record");
    let text = fs::read_to_string(&path).unwrap();
    let four = |line: &str| line.rsplit_once('\t').unwrap().0.to_owned() + "\n";
    fs::write(&path, text.lines().map(four).collect::<String>()).unwrap();
    let since = internet.open(START).unwrap().station.spool.head().size;
    assert_eq!(fs::read_to_string(&path).unwrap(), text, "it remembers more from now on");
    let running = internet.open(START).unwrap();
    assert_eq!(life(&running, 0, &operator.public().id()), [Event::KeyTrusted], "{since}");
}

#[test]
fn a_node_that_asks_for_two_administrators_believes_its_folder_as_both_signed_it_with_ferry_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let ([mut internet, _], ..) = found(folder.path(), [Zone::Internet, Zone::Extranet]);
    let trust = internet.config.node.trust.clone();
    let people = ["he", "zhou"];
    let keys = people.map(|who| twins::person(&[&internet], who, Role::KeyAdmin));
    for (who, key) in people.iter().zip(&keys) {
        fs::write(folder.path().join(format!("{who}.key.pem")), key.to_pem(None).unwrap().as_bytes()).unwrap();
        fs::copy(trust.join(format!("{who}.pub.pem")), folder.path().join(format!("{who}.pub.pem"))).unwrap();
    }
    let sign = |who: &str| {
        let key = folder.path().join(format!("{who}.key.pem"));
        let mut ferry = Command::new(program("ferry"));
        let signed = ferry.args(["trust", "sign", "--trust"]).arg(&trust).arg("--key").arg(key).output().unwrap();
        assert!(signed.status.success(), "{}", words(&signed));
    };
    internet.config.node.key_admins = keys.iter().map(|key| keys::fingerprint(&key.public().id())).collect();
    let starts = |member: &Member| member.open(START).is_ok();
    assert!(!starts(&internet), "nobody signed");
    sign("he");
    assert!(!starts(&internet), "one of two");
    sign("zhou");
    assert!(starts(&internet));
    let _eve = twins::person(&[&internet], "eve", Role::Approver);
    assert!(!starts(&internet), "a card that nobody signed");
    people.iter().for_each(|who| sign(who));
    assert!(starts(&internet));
    twins::ends(&internet, "eve.pub.pem", START);
    assert!(!starts(&internet), "nor a day that nobody signed");
}

#[test]
fn the_program_of_a_persons_device_is_not_told_the_passphrase_of_a_key_file() {
    let folder = tempfile::tempdir().unwrap();
    let ([internet, _], ..) = found(folder.path(), [Zone::Internet, Zone::Extranet]);
    let _he = twins::person(&[&internet], "he", Role::KeyAdmin);
    let trust = &internet.config.node.trust;
    let (device, told) = (folder.path().join("device"), folder.path().join("told"));
    fs::write(&device, format!("#!/bin/sh\nenv > {told:?}\necho '{{\"error\": \"no-device\"}}'\n")).unwrap();
    fs::set_permissions(&device, Permissions::from_mode(0o755)).unwrap();
    let mut ferry = Command::new(program("ferry"));
    ferry.args(["trust", "sign", "--trust"]).arg(trust).arg("--key").arg(format!("exec:{}", device.display()));
    ferry.arg("--card").arg(trust.join("he.pub.pem")).env("TRILOCK_PASSPHRASE", "plum blossom");
    let refused = ferry.output().unwrap();
    assert!(!refused.status.success() && words(&refused).contains("no-device"), "{}", words(&refused));
    let told = fs::read_to_string(told).unwrap();
    assert!(told.contains("PATH=") && !told.contains("plum blossom"), "{told}");
}
