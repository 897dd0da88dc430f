//! Who may touch what on a machine where each daemon and each app has an account of its own: an app that is only in
//! its route's group can drop, read its notices, fetch and tidy up, and nobody else can.
//!
//! Needs root and `setpriv` (util-linux), because it runs real daemons and apps under other uids. The uids and gids
//! are numbers that no account has; nothing is added to the machine.
#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test fail as a test does")]
#![allow(clippy::disallowed_methods, reason = "a test makes and removes files as an administrator would")]

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tests::office::{Office, OneWay, Wishes};
use tests::papers;
use tests::programs::{PROGRAMS, programs, repository, words};

const STEP: Duration = Duration::from_secs(60);

/// The daemon's account on either machine.
const DAEMON: u32 = 59_101;
/// The group of the route on the internet's node, and on the extranet's.
const DROPPERS: u32 = 59_201;
const FETCHERS: u32 = 59_202;
/// A group of another route.
const OTHERS: u32 = 59_203;
/// Accounts of apps.
const HALL: u32 = 59_301;
const REGISTER: u32 = 59_302;
const STRANGER: u32 = 59_303;
/// A second app on the first one's route.
const CLERK: u32 = 59_304;

struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended before; there is nobody left to tell.
        let _killed = self.0.kill();
        let _ended = self.0.wait();
    }
}

/// A command under an account of its own, with no capability and no other group.
fn under(uid: u32, gid: u32, groups: &[u32]) -> Command {
    let mut command = Command::new("setpriv");
    let groups: Vec<String> = groups.iter().chain([&gid]).map(u32::to_string).collect();
    command.args(["--reuid", &uid.to_string(), "--regid", &gid.to_string(), "--groups", &groups.join(",")]);
    command.args(["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs", "--"]).env("LANG", "C");
    command
}

/// An app: a shell of its account, in its own group and one of a route.
struct App {
    uid: u32,
    group: u32,
}

impl App {
    fn run(&self, script: &str, arguments: &[&Path]) -> Output {
        let mut command = under(self.uid, self.uid, &[self.group]);
        command.args(["sh", "-ec", script, "app"]).args(arguments).stdin(Stdio::null()).output().unwrap()
    }

    fn must(&self, script: &str, arguments: &[&Path]) -> String {
        let output = self.run(script, arguments);
        assert!(output.status.success(), "uid {} runs {script}: {}", self.uid, words(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn must_not(&self, script: &str, arguments: &[&Path]) {
        let output = self.run(script, arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && said.contains("Permission denied"),
            "uid {} may run {script} {arguments:?}: {}",
            self.uid,
            words(&output)
        );
    }
}

/// Gives a folder and all below it to an account.
fn give(path: &Path, uid: u32, gid: u32) {
    chown(path, Some(uid), Some(gid)).unwrap();
    if fs::symlink_metadata(path).unwrap().is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path(), uid, gid);
        }
    }
}

struct World {
    root: tempfile::TempDir,
    office: Office,
    daemons: Vec<Daemon>,
}

impl World {
    /// Two nodes as `init` leaves them: the tree is the daemon's, each route's folders are handed to the route's group.
    fn new() -> World {
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), Permissions::from_mode(0o711)).unwrap();
        // Where the programs were built may be closed to other accounts.
        let bin = root.path().join("bin");
        fs::create_dir(&bin).unwrap();
        for name in PROGRAMS {
            fs::copy(programs().join(name), bin.join(name)).unwrap();
        }
        let wishes = Wishes {
            suite: "std".to_owned(),
            one_way: OneWay::Folder,
            repository: repository(),
            programs: bin,
            round_every_s: 3,
        };
        let office = Office::found(root.path(), wishes, Ok).unwrap();
        // Rules too are read by the daemon's account, wherever the repository stands.
        let rules = root.path().join("rules");
        fs::create_dir(&rules).unwrap();
        for entry in fs::read_dir(repository().join("config/rules")).unwrap().map(Result::unwrap) {
            fs::copy(entry.path(), rules.join(entry.file_name())).unwrap();
        }
        for (node, group) in [("internet", DROPPERS), ("extranet", FETCHERS)] {
            let config = fs::read_to_string(office.config(node)).unwrap();
            let from = format!("{:?}", repository().join("config/rules"));
            fs::write(office.config(node), config.replace(&from, &format!("{rules:?}"))).unwrap();
            give(&root.path().join(node), DAEMON, DAEMON);
            for folder in ["inlet", "outlet", "notices"] {
                let place = office.spool(node).join(folder).join("applications");
                if place.is_dir() {
                    chown(&place, Some(DAEMON), Some(group)).unwrap();
                    fs::set_permissions(&place, Permissions::from_mode(0o2770)).unwrap();
                }
                let staging = place.join(".staging");
                if staging.is_dir() {
                    chown(&staging, Some(DAEMON), Some(group)).unwrap();
                    fs::set_permissions(&staging, Permissions::from_mode(0o2700)).unwrap();
                }
            }
        }
        give(&root.path().join("gate"), DAEMON, DAEMON);
        let apps = root.path().join("apps");
        fs::create_dir_all(&apps).unwrap();
        fs::set_permissions(&apps, Permissions::from_mode(0o1777)).unwrap();
        World { root, office, daemons: Vec::new() }
    }

    fn start(&mut self, node: &str) {
        let group = if node == "internet" { DROPPERS } else { FETCHERS };
        let log = fs::File::create(self.root.path().join(format!("{node}.log"))).unwrap();
        let mut command = under(DAEMON, DAEMON, &[group]);
        command
            .arg(self.root.path().join("bin").join(format!("{node}-node")))
            .arg("run")
            .arg("--config")
            .arg(self.office.config(node));
        let child = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        self.daemons.push(Daemon(child));
        let status = self.office.spool(node).join("status/status.json");
        self.wait(&format!("{node} starts"), || status.exists().then_some(()));
    }

    /// Looks again and again until something is so; says what the logs say if it never is.
    fn wait<T>(&mut self, what: &str, mut so: impl FnMut() -> Option<T>) -> T {
        let until = Instant::now() + STEP;
        loop {
            if let Some(found) = so() {
                return found;
            }
            let fallen = self.daemons.iter_mut().any(|daemon| daemon.0.try_wait().unwrap().is_some());
            if fallen || Instant::now() > until {
                let logs = ["internet", "extranet"]
                    .map(|node| fs::read_to_string(self.root.path().join(format!("{node}.log"))).unwrap_or_default());
                panic!("{what}: not so{}\n{}", if fallen { ", a daemon fell" } else { "" }, logs.join("\n"));
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    fn apps(&self, name: &str) -> PathBuf {
        self.root.path().join("apps").join(name)
    }

    fn inlet(&self) -> PathBuf {
        self.office.inlet("internet", "applications")
    }

    fn notices(&self) -> PathBuf {
        self.office.spool("internet").join("notices/applications")
    }

    /// Waits for a state of a drop, as the app sees it.
    fn told(&mut self, app: &App, name: &str, states: &[&str]) -> String {
        let notices = self.notices();
        self.wait(&format!("{name} is {states:?}"), || {
            states.iter().find_map(|state| {
                let output = app.run("cat \"$1\"", &[&notices.join(format!("{name}.{state}.json"))]);
                output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
            })
        })
    }
}

/// Says why not, where this cannot run.
fn possible() -> bool {
    let root = fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0);
    let setpriv = Command::new("setpriv").arg("--version").output().is_ok_and(|output| output.status.success());
    let other =
        setpriv && under(HALL, HALL, &[DROPPERS]).arg("true").output().is_ok_and(|output| output.status.success());
    if !root || !other {
        println!(
            "SKIPPED: needs root and setpriv, and may run as other uids (root: {root}, setpriv: {setpriv}, other uids: {other})"
        );
    }
    root && other
}

const DROP: &str = "umask 027; cat \"$1\" > /dev/null; chgrp \"$3\" \"$1\"; mv \"$1\" \"$2\"";

#[test]
fn an_app_in_its_routes_group_drops_reads_fetches_and_tidies_up_and_nobody_else_can() {
    if !possible() {
        return;
    }
    let mut world = World::new();
    world.start("internet");
    world.start("extranet");
    let (hall, register) = (App { uid: HALL, group: DROPPERS }, App { uid: REGISTER, group: FETCHERS });
    let stranger = App { uid: STRANGER, group: OTHERS };
    let (inlet, notices) = (world.inlet(), world.notices());
    let outlet = world.office.outlet("extranet", "applications");
    let group = DROPPERS.to_string();

    // The app writes aside under its own mask, hands the file to the route's group, and renames it in.
    for number in 1..=2 {
        let name = format!("form-{number}.json");
        let aside = world.apps(&name);
        hall.must(&format!("umask 027; printf '%s' '{}' > \"$1\"", papers::application_form(number)), &[&aside]);
        hall.must(DROP, &[&aside, &inlet.join(&name), Path::new(&group)]);
        let notice = world.told(&hall, &name, &["delivered"]);
        assert!(notice.contains("\"state\": \"delivered\""), "{notice}");
    }
    // A folder needs group write, so that the daemon can take it.
    let case = world.apps("case-3");
    let make = "umask 002; mkdir -p \"$1/scans\"; printf '{\"ywh\": \"1\"}' > \"$1/form.json\"; printf 'page one' > \"$1/scans/1.txt\"; chgrp -R \"$2\" \"$1\"";
    hall.must(make, &[&case, Path::new(&group)]);
    hall.must("mv \"$1\" \"$2\"", &[&case, &inlet.join("case-3")]);
    world.told(&hall, "case-3", &["delivered"]);

    // Modes and groups are what the next app needs, whatever the first one's were.
    let delivered = fs::metadata(outlet.join("form-1.json")).unwrap();
    assert_eq!((delivered.uid(), delivered.gid(), delivered.mode() & 0o7777), (DAEMON, FETCHERS, 0o660));
    let folder = fs::metadata(outlet.join("case-3/scans")).unwrap();
    assert_eq!((folder.uid(), folder.gid(), folder.mode() & 0o7777), (DAEMON, FETCHERS, 0o2770));

    // Somebody of another route: neither list, read, drop nor remove.
    let theirs = world.apps("theirs.json");
    stranger.must("umask 022; printf '{}' > \"$1\"", &[&theirs]);
    for folder in [&inlet, &outlet, &notices] {
        stranger.must_not("ls \"$1\"", &[folder]);
        stranger.must_not("mv \"$1\" \"$2\"", &[&theirs, &folder.join("theirs.json")]);
    }
    stranger.must_not("cat \"$1\"", &[&outlet.join("form-1.json")]);
    stranger.must_not("rm \"$1\"", &[&outlet.join("form-1.json")]);
    stranger.must_not("cat \"$1\"", &[&notices.join("form-1.json.delivered.json")]);
    // The one that drops here does not fetch there.
    hall.must_not("cat \"$1\"", &[&outlet.join("form-1.json")]);
    register.must_not("ls \"$1\"", &[&inlet]);
    // What is the daemon's alone stays so, also for the apps of its routes.
    let spool = world.office.spool("internet");
    for own in ["queues/outbox", "ledger", "index", "evidence", "quarantine", "desk/own", "inlet/applications/.claimed"]
    {
        hall.must_not("ls \"$1\"", &[&spool.join(own)]);
    }
    hall.must_not("cat \"$1\"", &[&world.root.path().join("internet/keys/internet.sign.key.pem")]);

    // The one it is meant for fetches and tidies up.
    let form = register.must("cat \"$1\"", &[&outlet.join("form-1.json")]);
    assert_eq!(form, papers::application_form(1));
    register.must("rm \"$1\" && rm -r \"$2\"", &[&outlet.join("form-1.json"), &outlet.join("case-3")]);
    assert!(!outlet.join("form-1.json").exists() && outlet.join("form-2.json").exists());
}

#[test]
fn a_drop_that_the_daemon_may_not_take_stops_nobody_else_and_can_be_mended() {
    if !possible() {
        return;
    }
    let mut world = World::new();
    world.start("internet");
    let hall = App { uid: HALL, group: DROPPERS };
    let inlet = world.inlet();
    let group = DROPPERS.to_string();
    // In its own group still: nobody says that it is the route's.
    let own = world.apps("own-group.json");
    hall.must("umask 022; printf '{}' > \"$1\"; mv \"$1\" \"$2\"", &[&own, &inlet.join("own-group.json")]);
    // The route's, but closed to it.
    let closed = world.apps("closed.json");
    hall.must(
        "umask 077; printf '{}' > \"$1\"; chgrp \"$3\" \"$1\"; mv \"$1\" \"$2\"",
        &[&closed, &inlet.join("closed.json"), Path::new(&group)],
    );
    // More of them than a step takes, and all of them before the good one.
    let many = world.apps("many");
    hall.must(
        "umask 077; mkdir \"$1\"; cd \"$1\"; for n in $(seq 101 170); do printf '{}' > barred-$n.json; done; chgrp \"$3\" *; mv * \"$2\"",
        &[&many, &inlet, Path::new(&group)],
    );
    // A folder without group write: the kernel does not let it be moved.
    let stiff = world.apps("stiff");
    hall.must("umask 022; mkdir \"$1\"; printf '{\"ywh\": \"1\"}' > \"$1/form.json\"; chgrp -R \"$3\" \"$1\"; mv \"$1\" \"$2\"", &[&stiff, &inlet.join("stiff"), Path::new(&group)]);
    // Later, and in order.
    let good = world.apps("good.json");
    hall.must(&format!("umask 027; printf '%s' '{}' > \"$1\"", papers::application_form(4)), &[&good]);
    hall.must(DROP, &[&good, &inlet.join("good.json"), Path::new(&group)]);
    world.told(&hall, "good.json", &["accepted", "sent"]);
    assert!(world.told(&hall, "own-group.json", &["refused"]).contains("not-allowed-to-drop"));
    // The other two can be mended where they lie, so they are not refused: the alarm names them, and once the app has
    // opened them to its group they are taken.
    assert!(inlet.join("closed.json").is_file() && inlet.join("stiff").is_dir());
    for name in ["barred-101.json", "barred-170.json", "closed.json", "stiff"] {
        assert!(world.told(&hall, name, &["waiting"]).contains("\"reason\": \"no-access\""));
    }
    let check = world.office.node_output("internet", &["check"]).unwrap();
    assert!(words(&check).contains("72 drops cannot be taken"), "{}", words(&check));
    hall.must("chmod 0660 \"$1\"; chmod -R g+rwX \"$2\"", &[&inlet.join("closed.json"), &inlet.join("stiff")]);
    world.told(&hall, "closed.json", &["accepted", "sent"]);
    world.told(&hall, "stiff", &["accepted", "sent"]);
    let notices = world.notices();
    assert!(["closed.json", "stiff"].iter().all(|name| !notices.join(format!("{name}.waiting.json")).exists()));
    // Another app of the same route, under another account, drops beside the first and hears of its own.
    let clerk = App { uid: CLERK, group: DROPPERS };
    for (app, number) in [(&clerk, 5), (&hall, 6)] {
        let aside = world.apps(&format!("two-{number}.json"));
        app.must(&format!("umask 027; printf '%s' '{}' > \"$1\"", papers::application_form(number)), &[&aside]);
        app.must(DROP, &[&aside, &inlet.join(format!("two-{number}.json")), Path::new(&group)]);
    }
    world.told(&clerk, "two-5.json", &["accepted", "sent"]);
    world.told(&hall, "two-6.json", &["accepted", "sent"]);
}
