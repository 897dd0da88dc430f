//! A node's keys from the day they are made: where they are read from, what memory they lie in, how one follows another.
#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test fail as a test does")]
#![allow(clippy::disallowed_methods, reason = "a test moves key files as an administrator would")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tests::office::{Office, OneWay, Wishes};
use tests::programs::{program, programs, repository, words};

const STEP: Duration = Duration::from_secs(60);

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
