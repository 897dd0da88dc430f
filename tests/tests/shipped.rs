//! What is shipped beside the programs: the three configs, the rule files and the systemd units, each loaded by what
//! will load it in an office.
#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test fail as a test does")]
#![allow(clippy::disallowed_methods, reason = "a test makes and removes files as an administrator would")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use protocol::Crossing;
use protocol::keys::SigningKey;
use protocol::trust::{KeyCard, Role, Use};
use protocol::{Name, Suite, Zone};
use tests::programs::{program, repository, words};

const ZONES: [&str; 3] = ["internet", "extranet", "intranet"];

/// An office set up from the shipped configs, with paths below a folder.
struct Installed {
    root: PathBuf,
}

impl Installed {
    fn new(root: &Path, change: impl Fn(&str, String) -> String) -> Installed {
        Installed::from("config", root, change)
    }

    /// The same from another folder of configs and rules.
    fn from(folder: &str, root: &Path, change: impl Fn(&str, String) -> String) -> Installed {
        let installed = Installed { root: root.to_owned() };
        for zone in ZONES {
            let shipped = fs::read_to_string(repository().join(format!("{folder}/{zone}.toml"))).unwrap();
            let here = |inside: &str| root.join(zone).join(inside).to_string_lossy().into_owned();
            let mut text = change(zone, shipped);
            for (there, inside) in [
                (format!("/var/lib/trilock/{zone}"), "spool"),
                ("/etc/trilock/keys".to_owned(), "keys"),
                ("/etc/trilock/trust".to_owned(), "trust"),
            ] {
                let quoted = format!("\"{there}\"");
                assert!(text.contains(&quoted), "{zone}.toml names {there}");
                text = text.replace(&quoted, &format!("{:?}", here(inside)));
            }
            let rules = repository().join(folder).join("rules").to_string_lossy().into_owned();
            assert!(text.contains("\"/etc/trilock/rules\""), "{zone}.toml names its rules");
            text = text.replace("\"/etc/trilock/rules\"", &format!("{rules:?}"));
            fs::create_dir_all(root.join(zone).join("trust")).unwrap();
            fs::write(installed.config(zone), text).unwrap();
        }
        for zone in ZONES {
            let output = installed.run(zone, &["init"]);
            assert!(output.status.success(), "init of {zone}: {}", words(&output));
        }
        for zone in ZONES {
            for entry in fs::read_dir(root.join(zone).join("keys")).unwrap().map(Result::unwrap) {
                let name = entry.file_name().to_string_lossy().into_owned();
                if name.ends_with(".pub.pem") {
                    for other in ZONES {
                        fs::copy(entry.path(), root.join(other).join("trust").join(&name)).unwrap();
                    }
                }
            }
        }
        installed
    }

    fn config(&self, zone: &str) -> PathBuf {
        self.root.join(zone).join(format!("{zone}.toml"))
    }

    /// A command of a node. Without a PATH it finds no `id`, `groupadd` or `usermod`: a test leaves the accounts of
    /// the machine alone even where it runs as root.
    fn run(&self, zone: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(program(&format!("{zone}-node")));
        command
            .arg("--config")
            .arg(self.config(zone))
            .args(arguments)
            .env("LANG", "C")
            .env("PATH", "")
            .output()
            .unwrap()
    }

    fn check(&self, zone: &str, arguments: &[&str]) -> Output {
        self.run(zone, &[&["check"], arguments].concat())
    }
}

fn toml_files(folder: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = fs::read_dir(repository().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|suffix| suffix == "toml"))
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), fs::read_to_string(&path).unwrap()))
        .collect();
    found.sort();
    found
}

#[test]
fn each_shipped_config_is_sound_once_the_keys_are_exchanged() {
    let files: Vec<String> = toml_files("config").into_iter().map(|(name, _)| name).collect();
    assert_eq!(files, ["extranet", "internet", "intranet"], "every shipped config has a zone and is checked here");
    let root = tempfile::tempdir().unwrap();
    let office = Installed::new(root.path(), |_, text| text);
    for zone in ZONES {
        let output = office.check(zone, &[]);
        assert_eq!(output.status.code(), Some(0), "{zone}: {}", words(&output));
    }
    // Before the cards are there, each is named.
    fs::remove_file(root.path().join("extranet/trust/internet.sign.pub.pem")).unwrap();
    let output = office.check("extranet", &[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.code() == Some(2) && said.contains("internet") && said.contains("sign"),
        "{}",
        words(&output)
    );
}

#[test]
fn each_config_of_the_sample_office_is_sound_and_check_says_what_its_rules_let_cross() {
    let root = tempfile::tempdir().unwrap();
    let office = Installed::from("config/profiles/sample-office", root.path(), |_, text| text);
    for (zone, crossings) in [("internet", 2), ("extranet", 4), ("intranet", 2)] {
        let output = office.check(zone, &["--json"]);
        assert_eq!(output.status.code(), Some(0), "{zone}: {}", words(&output));
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let rules = told["rules"].as_array().unwrap();
        assert_eq!(rules.len(), crossings, "{zone}");
        for one in rules {
            let types = one["types"].as_array().unwrap();
            let told = types.iter().all(|kind| kind.as_str().is_some_and(|told| told.contains("kinds ")));
            assert!(one["standing"] == "shipped" && !types.is_empty() && told, "{one}");
        }
    }
    let shown = String::from_utf8(office.check("intranet", &[]).stdout).unwrap();
    assert!(
        shown.contains("rules intranet-extranet version") && shown.contains("type certificate: kinds ofd, pdf"),
        "{shown}"
    );
}

#[test]
fn each_shipped_config_is_sound_in_the_national_suite_too() {
    let root = tempfile::tempdir().unwrap();
    let office = Installed::new(root.path(), |zone, text| {
        assert!(text.contains("suite = \"std\""), "{zone}");
        text.replace("suite = \"std\"", "suite = \"gm\"")
    });
    for zone in ZONES {
        assert_eq!(office.check(zone, &[]).status.code(), Some(0), "{zone}: {}", words(&office.check(zone, &[])));
        // The gateway's TLS and the check sums on media are what a gm office has of other primitives.
        let beginnings = match zone {
            "internet" => &["gateway transport: TLS 1.3"][..],
            "extranet" => &["gateway transport: TLS 1.3", "media of the hand ferry: SHA256SUMS"],
            _ => &["media of the hand ferry: SHA256SUMS"],
        };
        let found = not_national(&office, zone);
        assert_eq!(found.len(), beginnings.len(), "{zone}: {found:?}");
        assert!(found.iter().zip(beginnings).all(|(line, begins)| line.starts_with(begins)), "{zone}: {found:?}");
    }
    // A key of the other suite that is believed, and a ledger that was begun before the change, are named too.
    let card = KeyCard {
        zone: Zone::Intranet,
        holder: Name::new("operator-ma").unwrap(),
        role: Role::Operator,
        usage: Use::Sign,
        suite: Suite::Std,
        from: "2026-11-21".to_owned(),
        until: None,
        spki: SigningKey::generate(Suite::Std).public().to_spki(),
    };
    fs::write(root.path().join("intranet/trust/operator-ma.pub.pem"), card.to_text()).unwrap();
    // Whoever asks the node first has its ledger made.
    let asked = office.run("intranet", &["gaps"]);
    assert!(asked.status.success(), "{}", words(&asked));
    let ledger = root.path().join("intranet/spool/ledger/ledger.json");
    let about = fs::read_to_string(&ledger).unwrap();
    assert!(about.contains("\"gm\""), "{about}");
    fs::write(&ledger, about.replace("\"gm\"", "\"std\"")).unwrap();
    let found = not_national(&office, "intranet");
    assert!(found.iter().any(|line| line == "sign key of operator-ma (operator): Ed25519, SHA-256"), "{found:?}");
    assert!(found.iter().any(|line| line.starts_with("ledger: SHA-256")), "{found:?}");
}

/// What `check --profile gm` lists, and refuses for.
fn not_national(office: &Installed, zone: &str) -> Vec<String> {
    let output = office.check(zone, &["--profile", "gm", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{zone}: {}", words(&output));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    told["not_national"].as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_setting_that_stands_commented_out_is_one() {
    let root = tempfile::tempdir().unwrap();
    // `#key = value` and `#[table]`, as they are shipped for an administrator to uncomment.
    let uncomment = |_: &str, text: String| -> String {
        let line = |line: &str| {
            let bare = line.strip_prefix('#').unwrap_or(line);
            let setting = bare.starts_with('[')
                || bare
                    .split_once(" = ")
                    .is_some_and(|(key, _)| key.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
            format!("{}\n", if setting { bare } else { line })
        };
        text.lines().map(line).collect()
    };
    let office = Installed::new(root.path(), uncomment);
    for zone in ZONES {
        let output = office.check(zone, &[]);
        assert_eq!(output.status.code(), Some(0), "{zone}: {}", words(&output));
    }
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_column() {
    let root = tempfile::tempdir().unwrap();
    let office = Installed::new(root.path(), |_, text| text);
    for zone in ZONES {
        let sound = fs::read_to_string(office.config(zone)).unwrap();
        for (table, wrong) in [
            ("[node]", "colour = \"blue\""),
            ("[[peer]]", "weight = 3"),
            ("[[route]]", "prioritty = \"bulk\""),
            ("[alarm]", "exce = \"/bin/true\""),
        ] {
            let line = sound.lines().position(|line| line == table).unwrap() + 2;
            let text: Vec<&str> = sound.lines().collect();
            let text = [&text[..line - 1], &[wrong], &text[line - 1..]].concat().join("\n");
            fs::write(office.config(zone), text).unwrap();
            for command in ["check", "run"] {
                let output = office.run(zone, &[command]);
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                assert_eq!(output.status.code(), Some(2), "{zone} {wrong}: {}", words(&output));
                assert!(said.contains(&format!("line {line}")) && said.contains("column 1"), "{zone} {wrong}: {said}");
            }
        }
        // A link's own table is as strict as the rest.
        let link = sound.lines().find(|line| line.starts_with("[link.") || line.starts_with("[[link.")).unwrap();
        fs::write(office.config(zone), sound.replacen(link, &format!("{link}\nspeeed = 9"), 1)).unwrap();
        let output = office.check(zone, &[]);
        assert_eq!(output.status.code(), Some(2), "{zone} {link}: {}", words(&output));
        assert!(String::from_utf8_lossy(&output.stderr).contains("speeed"), "{}", words(&output));
    }
}

#[test]
fn what_would_break_the_invariant_is_refused_with_its_place() {
    let root = tempfile::tempdir().unwrap();
    let office = Installed::new(root.path(), |_, text| text);
    let sound = fs::read_to_string(office.config("intranet")).unwrap();
    for (from, to, at) in [
        ("send = \"ferry\"", "send = \"diode\"", "send"),
        ("approvals = 2", "approvals = 0", "approvals"),
        ("evidence_days = 1095", "evidence_days = 30", "evidence_days"),
    ] {
        assert!(sound.contains(from), "{from}");
        fs::write(office.config("intranet"), sound.replace(from, to)).unwrap();
        let output = office.check("intranet", &[]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{to}: {}", words(&output));
        let line = sound.lines().position(|line| line == from).unwrap() + 1;
        assert!(said.contains(at) && said.contains(&format!("intranet.toml:{line}:")), "{to}, line {line}: {said}");
        assert_eq!(office.run("intranet", &["run"]).status.code(), Some(2), "{to}: the daemon does not start");
    }
}

#[test]
fn every_rule_file_is_read_and_named_after_its_crossing() {
    let files = toml_files("config/rules");
    for (name, text) in &files {
        let rules = guard::Rules::parse(text).unwrap_or_else(|error| panic!("{name}.toml: {error}"));
        assert_eq!(rules.crossing().name(), name, "the file's name is its crossing");
        assert!(rules.type_names().count() > 0, "{name} registers a type");
        // The invariant is code: the same types with keep, on every crossing, are refused where content lands outside.
        let keeping = text.replacen("pattern = ", "keep = true\npattern = ", 1);
        assert_ne!(keeping, *text, "{name}");
        let may = guard::Rules::parse(&keeping).is_ok();
        assert!(!may || !rules.crossing().lands_outside(), "{name} takes keep = true");
    }
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    for crossing in Crossing::ALL {
        assert!(names.contains(&crossing.name()), "no rules for {crossing}");
    }
}

/// The settings of a unit, by key, in order.
fn settings(text: &str) -> Vec<(&str, &str)> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('=')).collect()
}

fn units() -> Vec<(&'static str, String)> {
    ZONES
        .iter()
        .map(|zone| (*zone, fs::read_to_string(repository().join(format!("systemd/trilock-{zone}.service"))).unwrap()))
        .collect()
}

#[test]
fn each_unit_hands_folders_to_groups_and_locks_the_rest() {
    for (zone, text) in units() {
        let settings = settings(&text);
        let all =
            |key: &str| settings.iter().filter(|(known, _)| *known == key).map(|(_, value)| *value).collect::<Vec<_>>();
        assert_eq!(all("UMask"), ["0007"], "{zone}");
        for hides_groups in ["PrivateUsers", "DynamicUser"] {
            assert!(all(hides_groups).iter().all(|value| *value == "no"), "{zone} sets {hides_groups}");
        }
        assert_eq!(all("Type"), ["notify"], "{zone}");
        assert_eq!(all("CapabilityBoundingSet"), [""], "{zone}");
        assert_eq!(all("ProtectSystem"), ["strict"], "{zone}");
        assert_eq!(all("NoNewPrivileges"), ["yes"], "{zone}");
        assert_eq!(all("ReadWritePaths"), ["/var/lib/trilock"], "{zone}");
        // Exit 2 is a config that cannot work; trying again every five seconds would not mend it.
        assert!(all("RestartPreventExitStatus").contains(&"2"), "{zone}");
        // What it runs is a command line that the program knows: 2 names the config, not the usage.
        let start = all("ExecStart").first().copied().unwrap();
        let mut parts = start.split(' ');
        assert_eq!(parts.next(), Some(format!("/usr/bin/{zone}-node").as_str()));
        let arguments: Vec<&str> =
            parts.map(|part| if part.starts_with("/etc/") { "/nowhere/at-all.toml" } else { part }).collect();
        let output = Command::new(program(&format!("{zone}-node"))).args(&arguments).env("LANG", "C").output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("/nowhere/at-all.toml"),
            "{start}: {}",
            words(&output)
        );
    }
}

#[test]
fn systemd_itself_reads_each_unit_and_scores_it_at_most_two() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        println!("SKIPPED: systemd-analyze is not installed");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    for (zone, text) in units() {
        // The programs stand where they were built; everything else is as shipped.
        let node = format!("{zone}-node");
        let text = text.replace(&format!("/usr/bin/{node}"), &program(&node).to_string_lossy());
        let unit = root.path().join(format!("trilock-{zone}.service"));
        fs::write(&unit, text).unwrap();
        // Older ones (Kylin V10 has 241) verify units but do not score files.
        let verified =
            Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit).env("LANG", "C").output().unwrap();
        let said = String::from_utf8_lossy(&verified.stderr).into_owned();
        let about_ours: Vec<&str> = said.lines().filter(|line| line.contains("trilock")).collect();
        assert!(verified.status.success() && about_ours.is_empty(), "{zone}: {}", words(&verified));
        let scored = Command::new("systemd-analyze")
            .args(["security", "--offline=yes", "--threshold=20", "--no-pager"])
            .arg(&unit)
            .env("LANG", "C")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&scored.stderr).into_owned();
        if said.contains("unrecognized option") || said.contains("Unknown option") {
            println!("SKIPPED: this systemd-analyze does not score unit files");
            continue;
        }
        assert!(scored.status.success(), "{zone}: {}", words(&scored));
        let score = String::from_utf8_lossy(&scored.stdout).lines().last().unwrap_or_default().to_owned();
        println!("{zone}: {score}");
    }
}

#[test]
fn sysusers_and_tmpfiles_name_what_the_units_need() {
    let users = fs::read_to_string(repository().join("systemd/trilock.sysusers.conf")).unwrap();
    let tmpfiles = fs::read_to_string(repository().join("systemd/trilock.tmpfiles.conf")).unwrap();
    let words = |text: &str| -> Vec<Vec<String>> {
        text.lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
            .map(|line| line.split_whitespace().map(str::to_owned).collect())
            .collect()
    };
    assert!(words(&users).iter().any(|line| line[0] == "u" && line[1] == "trilock"), "the units' user");
    for group in ["trilock-ferry", "trilock-sec", "trilock-audit"] {
        assert!(words(&users).iter().any(|line| line[0] == "g" && line[1] == group), "{group}");
    }
    let made = words(&tmpfiles);
    for path in ["/var/lib/trilock", "/etc/trilock/rules", "/etc/trilock/trust", "/etc/trilock/keys"] {
        assert!(made.iter().any(|line| line[0] == "d" && line[1] == path), "{path}");
    }
    let keys = made.iter().find(|line| line[1] == "/etc/trilock/keys").unwrap();
    assert_eq!(keys[2..4], ["0700", "trilock"], "private keys are the daemon's alone");
}
