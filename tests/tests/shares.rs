//! Inlets, notices and outlets as offices share them: over SMB as docs/upstream-apps.md configures it, over a mount that
//! tells the kernel nothing of what happens underneath, and under a second name of the same folder.
//!
//! Needs `smbd` and `smbclient` (samba), `bindfs`, root and mounts; what is absent is named.
#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test fail as a test does")]
#![allow(clippy::disallowed_methods, reason = "a test makes and removes files as an app would")]

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tests::office::{Office, OneWay, Wishes};
use tests::papers;
use tests::programs::{programs, repository, words};
use tests::volume::{Volume, ground};

/// Far above what any step here needs; a machine that is busy must not fail a test.
const STEP: Duration = Duration::from_secs(120);
const ROUTE: &str = "applications";
const PASSWORD: &str = "a-share-of-a-test";

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

fn up(office: &mut Office) {
    for node in ["internet", "extranet"] {
        office.start(node).unwrap();
        let status = office.spool(node).join("status/status.json");
        assert!(office.await_that(STEP, |_| status.exists().then_some(())).is_some(), "{node} starts");
    }
}

/// The document's shares, with the paths and the group of this test and a server of its own around them.
struct Server {
    child: Child,
    port: u16,
    folder: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended before; there is nobody left to tell.
        let _killed = self.child.kill();
        let _ended = self.child.wait();
    }
}

impl Server {
    fn start(folder: &Path, spool: &Path) -> Server {
        fs::create_dir_all(folder).unwrap();
        let document = fs::read_to_string(repository().join("docs/upstream-apps.md")).unwrap();
        let shares = document.split("```ini\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let shares = shares.replace("/var/lib/trilock/internet", &spool.to_string_lossy());
        let shares = shares.replace("trilock-applications", "root");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut config = format!(
            "[global]\n server role = standalone server\n smb ports = {port}\n interfaces = lo\n \
             bind interfaces only = yes\n disable netbios = yes\n load printers = no\n printcap name = /dev/null\n \
             security = user\n"
        );
        for (word, place) in [
            ("private dir", "private"),
            ("lock directory", "lock"),
            ("state directory", "state"),
            ("cache directory", "cache"),
            ("pid directory", "pid"),
            ("ncalrpc dir", "ncalrpc"),
        ] {
            fs::create_dir_all(folder.join(place)).unwrap();
            config += &format!(" {word} = {}\n", folder.join(place).display());
        }
        config += &format!(" log file = {}\n{shares}", folder.join("log").display());
        let path = folder.join("smb.conf");
        fs::write(&path, config).unwrap();
        let mut known = Command::new("smbpasswd")
            .args(["-c", &path.to_string_lossy(), "-s", "-a", "root"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        write!(known.stdin.take().unwrap(), "{PASSWORD}\n{PASSWORD}\n").unwrap();
        assert!(known.wait().unwrap().success(), "an account of the share");
        let child = Command::new("smbd")
            .args(["--foreground", "--no-process-group", "-s", &path.to_string_lossy()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Server { child, port, folder: folder.to_owned() }
    }

    /// Commands of an app on one share, one after the other.
    fn on(&self, share: &str, commands: &str) -> Output {
        Command::new("smbclient")
            .arg(format!("//127.0.0.1/{share}"))
            .args(["-p", &self.port.to_string(), "-U", &format!("root%{PASSWORD}"), "-c", commands])
            .args(["-s", &self.folder.join("smb.conf").to_string_lossy()])
            .current_dir(&self.folder)
            .output()
            .unwrap()
    }
}

#[test]
fn an_app_drops_over_smb_as_the_document_configures_it_and_reads_its_notices() {
    let is_there = |program: &&str| Command::new(program).arg("--help").output().is_ok();
    let absent = ["smbd", "smbclient", "smbpasswd"].into_iter().find(|program| !is_there(program));
    if let Some(absent) = absent {
        println!("SKIPPED: {absent} is not installed, the shares of docs/upstream-apps.md were not served");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let mut office = office(root.path());
    let server = Server::start(&root.path().join("samba"), &office.spool("internet"));
    up(&mut office);
    let served = office.await_that(STEP, |_| server.on("applications-inlet", "ls").status.success().then_some(()));
    let said = server.on("applications-inlet", "ls");
    assert!(served.is_some(), "{}", words(&said));
    assert!(!words(&said).contains(".claimed"), "the node's own corner is not shown: {}", words(&said));

    // As Windows programs do: under a name that is passed over, then renamed.
    let form = papers::application_form(1).into_bytes();
    fs::write(server.folder.join("form.json"), &form).unwrap();
    let put = server.on("applications-inlet", "put form.json case-1.json.part; rename case-1.json.part case-1.json");
    assert!(put.status.success(), "{}", words(&put));
    // A folder is one parcel.
    let folder = "mkdir .case-2; cd .case-2; put form.json; cd ..; rename .case-2 case-2";
    let put = server.on("applications-inlet", folder);
    assert!(put.status.success(), "{}", words(&put));
    for name in ["case-1.json", "case-2"] {
        let notice = format!("{name}.delivered.json");
        let heard = office.await_that(STEP, |_| {
            server.on("applications-notices", &format!("get {notice}; del {notice}")).status.success().then_some(())
        });
        assert!(heard.is_some(), "{name}: {:?}", office.notice("internet", ROUTE, name));
        let heard: Value = serde_json::from_slice(&fs::read(server.folder.join(&notice)).unwrap()).unwrap();
        assert_eq!((&heard["state"], &heard["name"]), (&"delivered".into(), &name.into()), "{heard}");
    }
    let outlet = office.outlet("extranet", ROUTE);
    assert_eq!(fs::read(outlet.join("case-1.json")).unwrap(), form);
    assert_eq!(fs::read(outlet.join("case-2/form.json")).unwrap(), form);
    let left = server.on("applications-inlet", "ls case*");
    assert!(!words(&left).contains("case-"), "what was taken is gone: {}", words(&left));
}

/// Drops into the folder under a mount and waits for it at the other end.
fn travels(office: &mut Office, under: &Path, name: &str, number: u32) {
    let form = papers::application_form(number).into_bytes();
    let aside = under.join(format!(".{name}"));
    fs::write(&aside, &form).unwrap();
    fs::rename(&aside, under.join(name)).unwrap();
    let told = office.await_that(STEP, |office| {
        let (state, _) = office.notice("internet", ROUTE, name)?;
        (state == "delivered").then_some(())
    });
    assert!(told.is_some(), "{name} is {:?}", office.notice("internet", ROUTE, name));
    assert_eq!(fs::read(office.outlet("extranet", ROUTE).join(name)).unwrap(), form);
    assert!(!under.join(name).exists(), "what was taken is gone under the mount too");
}

/// Of what another machine writes to a share the kernel here hears nothing: so it is with NFS and SMB mounts, and with a
/// mount in user space that is written to underneath.
#[test]
fn an_inlet_and_an_outlet_on_a_mount_that_tells_nothing_are_served_by_looking() {
    let root = match ground("shares") {
        Ok(root) => root,
        Err(why) => return println!("SKIPPED: {why}"),
    };
    let mut office = office(root.path());
    let (inlet, outlet) = (office.inlet("internet", ROUTE), office.outlet("extranet", ROUTE));
    let there = ["there-in", "there-out"].map(|name| root.path().join(name));
    for (there, place) in there.iter().zip([&inlet, &outlet]) {
        fs::rename(place, there).unwrap();
        fs::create_dir(place).unwrap();
    }
    let mounts = Volume::mirror(&there[0], &inlet).and_then(|first| Ok([first, Volume::mirror(&there[1], &outlet)?]));
    let mounts = match mounts {
        Ok(mounts) => mounts,
        Err(why) => return println!("SKIPPED: no mount in user space: {why}"),
    };
    up(&mut office);
    for number in 1..=3 {
        travels(&mut office, &there[0], &format!("far-{number}.json"), number);
    }
    assert!(there[1].join("far-3.json").exists(), "the other machine finds it");
    for node in ["internet", "extranet"] {
        office.kill(node).unwrap();
    }
    drop(mounts);
}

#[test]
fn an_inlet_under_a_second_name_is_served_under_both() {
    let root = match ground("bound") {
        Ok(root) => root,
        Err(why) => return println!("SKIPPED: {why}"),
    };
    let mut office = office(root.path());
    let inlet = office.inlet("internet", ROUTE);
    let there = root.path().join("app-sees");
    fs::rename(&inlet, &there).unwrap();
    fs::create_dir(&inlet).unwrap();
    let bound = match Volume::second_name(&there, &inlet) {
        Ok(bound) => bound,
        Err(why) => return println!("SKIPPED: no mount of a folder: {why}"),
    };
    up(&mut office);
    travels(&mut office, &there, "first.json", 1);
    travels(&mut office, &inlet, "second.json", 2);
    for node in ["internet", "extranet"] {
        office.kill(node).unwrap();
    }
    drop(bound);
}
