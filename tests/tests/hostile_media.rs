//! Media as an enemy, a worn drive or a hurried person hands them over, given to the real `ferry` at the desks of real
//! daemons. Whatever lies on one: no panic, bounded memory and time, nothing written outside the spool, nothing read that
//! is on no waybill, the exact words, and the exit code of the contract.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a story stops at the first surprise")]
#![allow(clippy::disallowed_methods, reason = "a test makes and breaks media as an enemy would")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use protocol::keys::SigningKey;
use protocol::waybill::Waybill;
use protocol::{Signed, Statement, Suite};
use rustix::process::{Pid, Signal, kill_process};
use tests::courier::{drop_results, ends_of_the_ferry};
use tests::office::Office;
use tests::papers::Noise;
use tests::programs::program;
use tests::volume::{self, Ext4, Volume};
use tests::world::ground;

/// Of address space: the buffers, the largest waybill and the program itself fit many times.
const MEMORY_KIB: u64 = 768 * 1024;
/// A refusal takes a fraction of a second; the busiest machine must not fail a test.
const WITHIN: Duration = Duration::from_secs(60);
/// Drops on the trip: enough that a command can be caught at work.
const DROPS: usize = 300;
const SPARSE_BYTES: u64 = 200_000_000_000;
const JUNK: usize = 5_000;
const JUNK_SOAK: usize = 1_000_000;

struct Scene {
    office: Office,
    /// The medium as it should be.
    good: PathBuf,
    /// Where nothing may be written.
    canary: PathBuf,
    root: tempfile::TempDir,
}

struct Said {
    exit: i32,
    text: String,
}

impl Said {
    #[track_caller]
    fn is(&self, exit: i32, words: &[&str]) {
        assert_eq!(self.exit, exit, "{}", self.text);
        for word in words {
            assert!(self.text.contains(word), "\"{word}\" is not said: {}", self.text);
        }
        let remedy = ["what to do: ", "处理办法: "].iter().any(|words| self.text.contains(words));
        assert!(exit == 0 || remedy, "a refusal says what to do: {}", self.text);
    }
}

/// A command of ours, in bounds that the system keeps.
struct Running {
    child: Child,
    log: PathBuf,
    since: Instant,
}

impl Running {
    fn ended(mut self) -> Said {
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if self.since.elapsed() > WITHIN {
                self.child.kill().unwrap();
                panic!("ferry came to no end: {}", fs::read_to_string(&self.log).unwrap());
            }
            std::thread::park_timeout(Duration::from_millis(2));
        };
        let text = String::from_utf8(fs::read(&self.log).unwrap()).expect("what is printed is UTF-8");
        let exit = status.code().unwrap_or_else(|| panic!("ended by {status}: {text}"));
        assert!((0..=3).contains(&exit), "exit {exit}: {text}");
        assert!(!text.contains("panicked") && !text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text}");
        Said { exit, text }
    }

    /// Holds the command as soon as it has begun its work on files, which shows by a folder that it makes aside, lets
    /// something happen, and lets it go on. Not caught where it was through before.
    fn caught(&mut self, aside: &Path, happens: impl FnOnce()) -> bool {
        self.caught_when(|_| fs::read_dir(aside).is_ok_and(|files| files.count() > 1), happens)
    }

    /// The same, as soon as something shows that it is where it should be.
    fn caught_when(&mut self, shows: impl Fn(u32) -> bool, happens: impl FnOnce()) -> bool {
        while self.child.try_wait().unwrap().is_none() {
            if shows(self.child.id()) {
                self.signal(Signal::STOP);
                happens();
                self.signal(Signal::CONT);
                return true;
            }
            assert!(self.since.elapsed() < WITHIN, "ferry did not begin");
        }
        false
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

impl Scene {
    /// Results wait at the intranet, and nothing was exported.
    fn waiting() -> Scene {
        let root = tempfile::Builder::new().prefix("trilock-media-").tempdir_in(ground()).unwrap();
        // Rewritable, and used on the other side's way in.
        let register = "[[ferry.medium]]\nid = \"stick-0007\"\ndirection = \"in\"\n";
        let (mut office, mut traffic) = ends_of_the_ferry(&root.path().join("office"), "std", register).unwrap();
        drop_results(&mut office, &mut traffic, DROPS).unwrap();
        let (good, canary) = (root.path().join("good"), root.path().join("canary"));
        for folder in [&good, &canary] {
            fs::create_dir(folder).unwrap();
        }
        fs::write(canary.join("untouched"), "as it was").unwrap();
        Scene { office, good, canary, root }
    }

    /// A trip of the intranet, exported, countersigned and confirmed on a medium, and nothing imported.
    fn new() -> Scene {
        let scene = Scene::waiting();
        scene.export(&scene.good, "disc-0001").is(0, &["trip 1: 30"]);
        let medium = scene.good.to_str().unwrap();
        for person in ["approver-li", "approver-zhao"] {
            scene.office.ferry_as(person, "intranet", "approve", &["--trip", "1", "--medium", medium]).unwrap();
        }
        scene.office.ferry_as("operator-ma", "intranet", "confirm", &["--trip", "1", "--medium", medium]).unwrap();
        scene
    }

    fn start(&self, person: &str, node: &str, command: &str, arguments: &[&str]) -> Running {
        let log = self.root.path().join("said");
        let out = fs::File::create(&log).unwrap();
        let key = self.office.root.join("people").join(format!("{person}.key.pem"));
        let bounded = format!("ulimit -v {MEMORY_KIB} && exec \"$0\" \"$@\"");
        let mut bounded_one = Command::new("sh");
        bounded_one.args(["-c", &bounded]).arg(program("ferry")).arg(command);
        // An auditor has no desk and no key.
        if command != "verify" {
            bounded_one.arg("--spool").arg(self.office.spool(node)).arg("--key").arg(key);
            bounded_one.arg("--passphrase-file").arg(self.office.root.join("passphrase"));
        }
        let child = bounded_one
            .args(arguments)
            .current_dir(self.root.path())
            .env("LANG", "C")
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap();
        Running { child, log, since: Instant::now() }
    }

    fn export_starts(&self, medium: &Path, id: &str) -> Running {
        let medium = medium.to_str().unwrap();
        self.start(
            "operator-ma",
            "intranet",
            "export",
            &["--medium-id", id, "--carrier", "carrier-sun", "--medium", medium],
        )
    }

    fn export(&self, medium: &Path, id: &str) -> Said {
        self.export_starts(medium, id).ended()
    }

    fn reexport_starts(&self, medium: &Path) -> Running {
        self.start("operator-ma", "intranet", "reexport", &["--trip", "1", "--medium", medium.to_str().unwrap()])
    }

    fn import_starts(&self, medium: &Path) -> Running {
        let trust = self.office.root.join("extranet/trust");
        let arguments = ["--medium", medium.to_str().unwrap(), "--trust", trust.to_str().unwrap()];
        self.start("operator-chen", "extranet", "import", &arguments)
    }

    fn import(&self, medium: &Path) -> Said {
        self.import_starts(medium).ended()
    }

    /// A copy of the good medium, to be broken. Its papers lie there once: what is done to them is not made good by a copy.
    fn copy(&self, name: &str) -> PathBuf {
        let place = self.root.path().join("media").join(name);
        copy_tree(&self.good, &place);
        for copy in ["copy-2", "copy-3"] {
            fs::remove_dir_all(place.join("TRILOCK/1").join(copy)).unwrap();
        }
        place
    }

    /// A copy that cannot be imported whatever else happens to it: its last file has other bytes.
    fn unwhole(&self, place: &Path) {
        copy_tree(&self.good, place);
        let last = bundles(&place.join("TRILOCK/1")).pop().unwrap();
        let mut bytes = fs::read(&last).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(last, bytes).unwrap();
    }

    /// Breaks a copy, offers it, hears the words; nothing came in and nothing was written elsewhere.
    #[track_caller]
    fn refused(&self, name: &str, breaks: impl FnOnce(&Path), exit: i32, words: &[&str]) {
        let place = self.copy(name);
        breaks(&place);
        let said = self.import(&place);
        said.is(exit, words);
        self.nothing_came_in();
        fs::remove_dir_all(place).unwrap();
    }

    #[track_caller]
    fn nothing_came_in(&self) {
        assert_eq!(tests::twins::names(&self.office.spool("extranet").join("desk/incoming")), Vec::<String>::new());
        assert_eq!(tests::twins::names(&self.office.outlet("extranet", "responses")), Vec::<String>::new());
        self.canary_stands();
    }

    #[track_caller]
    fn canary_stands(&self) {
        assert_eq!(tests::twins::names(&self.canary), ["untouched"]);
        assert_eq!(fs::read_to_string(self.canary.join("untouched")).unwrap(), "as it was");
    }
}

fn soak() -> bool {
    std::env::var_os("TRILOCK_SOAK").is_some()
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        // Without its rights: not every file system has any.
        if path.is_dir() { copy_tree(&path, &target) } else { fs::write(target, fs::read(&path).unwrap()).unwrap() }
    }
}

fn bundles(trip: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(trip).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|suffix| suffix == "bundle"));
    // As they stand on the waybill.
    let bytes = fs::read(trip.join("waybill")).unwrap();
    let bill: Waybill = Signed::parse::<Waybill>(&bytes).unwrap().read_unverified().unwrap();
    let at = |path: &PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        bill.lines.iter().position(|line| line.id.to_string() == name)
    };
    found.sort_by_key(at);
    found
}

fn first(medium: &Path) -> PathBuf {
    bundles(&medium.join("TRILOCK/1")).remove(0)
}

fn sparse(path: &Path, bytes: u64) {
    fs::File::create(path).unwrap().set_len(bytes).unwrap();
}

fn run(program: &str, arguments: &[&OsStr]) -> Result<(), String> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let output =
        Command::new(program).args(arguments).env("PATH", path).output().map_err(|e| format!("{program}: {e}"))?;
    let words = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("{program}: {}", words.lines().next().unwrap_or_default()))
    }
}

/// Replaces a file by something else of its name.
fn instead(path: &Path, make: impl FnOnce(&Path)) {
    fs::remove_file(path).unwrap();
    make(path);
}

fn fifo(path: &Path) {
    run("mkfifo", &[path.as_os_str()]).unwrap();
}

#[test]
fn whatever_is_offered_as_a_medium_is_refused_in_exact_words_and_touches_nothing() {
    let scene = Scene::new();
    let trip = |medium: &Path| medium.join("TRILOCK/1");

    // No medium, or none of ours.
    scene.import(&scene.root.path().join("nowhere")).is(3, &["no medium at"]);
    scene.refused("empty", |m| fs::remove_dir_all(m.join("TRILOCK")).unwrap(), 3, &["is no medium of ours"]);
    let file = |m: &Path| {
        fs::remove_dir_all(m.join("TRILOCK")).unwrap();
        fs::write(m.join("TRILOCK"), "a file").unwrap();
    };
    scene.refused("file", file, 3, &["is no medium of ours"]);
    let link = |m: &Path| {
        fs::remove_dir_all(m.join("TRILOCK")).unwrap();
        symlink(scene.good.join("TRILOCK"), m.join("TRILOCK")).unwrap();
    };
    scene.refused("link", link, 3, &["is no medium of ours"]);
    let trip_link = |m: &Path| {
        fs::remove_dir_all(trip(m)).unwrap();
        symlink(trip(&scene.good), trip(m)).unwrap();
    };
    let place = scene.copy("trip-link");
    trip_link(&place);
    scene.import(&place).is(0, &["1 (symbolic link)", "Nothing new"]);
    scene.nothing_came_in();

    // Somebody else's folder of our name: a holiday, and another office's trip.
    let holiday = |m: &Path| {
        fs::remove_dir_all(trip(m)).unwrap();
        fs::create_dir(m.join("TRILOCK/holiday")).unwrap();
        fs::write(m.join("TRILOCK/01"), "not a trip's number").unwrap();
    };
    let place = scene.copy("holiday");
    holiday(&place);
    scene.import(&place).is(0, &["TRILOCK/holiday/", "TRILOCK/01", "Nothing new"]);
    let other_office = |m: &Path| {
        let bytes = fs::read(trip(m).join("waybill")).unwrap();
        let bill: Waybill = Signed::parse::<Waybill>(&bytes).unwrap().read_unverified().unwrap();
        fs::write(trip(m).join("waybill"), Signed::make(&SigningKey::generate(Suite::Std), &bill).to_bytes()).unwrap();
    };
    scene.refused("office", other_office, 1, &["the waybill of trip 1", "trust folder"]);

    // Waybills that are none, or far too much.
    let waybill = |bytes: u64| move |m: &Path| sparse(&m.join("TRILOCK/1/waybill"), bytes);
    let most = Waybill::BYTES_MAX as u64;
    scene.refused("ten-mib", waybill(most), 1, &["the waybill in"]);
    scene.refused("more", waybill(most + 1), 3, &["over the limit of 10485760"]);
    scene.refused("huge", waybill(SPARSE_BYTES), 3, &["waybill has 200000000000 bytes, over the limit"]);
    scene.refused("none", |m| fs::remove_file(trip(m).join("waybill")).unwrap(), 3, &["waybill is not there"]);
    scene.refused("fifo-bill", |m| instead(&trip(m).join("waybill"), fifo), 3, &["no regular file but a fifo"]);
    let lines = |m: &Path| {
        // The form of a signed waybill, and ten megabytes of lines behind it.
        let mut bytes = fs::read(trip(m).join("waybill")).unwrap();
        let once = bytes.clone();
        while bytes.len() + once.len() < Waybill::BYTES_MAX {
            bytes.extend_from_slice(&once);
        }
        fs::write(trip(m).join("waybill"), bytes).unwrap();
    };
    scene.refused("lines", lines, 1, &["the waybill in"]);

    // What stands in the place of a listed file.
    scene.refused("gone", |m| fs::remove_file(first(m)).unwrap(), 3, &[".bundle is not there"]);
    scene.refused("fifo", |m| instead(&first(m), fifo), 3, &["no regular file but a fifo"]);
    scene.refused("folder", |m| instead(&first(m), |p| fs::create_dir(p).unwrap()), 3, &["but a folder"]);
    let socket = |p: &Path| drop(std::os::unix::net::UnixListener::bind(p).unwrap());
    scene.refused("socket", |m| instead(&first(m), socket), 3, &["but a socket"]);
    let untouched = scene.canary.join("untouched");
    scene.refused("soft", |m| instead(&first(m), |p| symlink(&untouched, p).unwrap()), 3, &["but a symbolic link"]);
    scene.refused("sparse", |m| sparse(&first(m), SPARSE_BYTES), 1, &["has 200000000000 bytes, the waybill says"]);
    let device = scene.root.path().join("device");
    match run("mknod", &[device.as_os_str(), "c".as_ref(), "1".as_ref(), "5".as_ref()]) {
        Err(why) => println!("SKIPPED: no device can be made here, one in the place of a bundle was not tried: {why}"),
        Ok(()) => {
            let zero = |p: &Path| fs::rename(&device, p).unwrap();
            scene.refused("device", |m| instead(&first(m), zero), 3, &["but a device"]);
        }
    }

    // Countersignatures: a link out of the medium, too many, too large, and names that would move a cursor.
    let approvals = |m: &Path| trip(m).join("approvals");
    let led_out = |m: &Path| {
        fs::remove_dir_all(approvals(m)).unwrap();
        symlink(&scene.canary, approvals(m)).unwrap();
    };
    scene.refused("led-out", led_out, 3, &["approvals is no folder"]);
    let many = |m: &Path| (0..70).for_each(|n| fs::write(approvals(m).join(format!("p{n}.approval")), "x").unwrap());
    scene.refused("many", many, 3, &["holds more than 64 entries"]);
    let loud = |m: &Path| fs::write(approvals(m).join("\u{1b}[2J\u{202e}.approval"), vec![b'x'; 5_000]).unwrap();
    scene.refused("loud", loud, 3, &["over the limit of 4096", "\\u{1b}[2J\\u{202e}.approval"]);

    // More names than a folder of ours can have.
    let junk = |folder: PathBuf, count: usize| {
        (0..count).for_each(|n| drop(fs::File::create(folder.join(format!("junk-{n}"))).unwrap()));
    };
    scene.refused("in-ours", |m| junk(m.join("TRILOCK"), JUNK), 3, &["holds more than 4096 entries"]);
    if soak() {
        scene.refused("in-trip", |m| junk(trip(m), JUNK_SOAK), 3, &["holds more than 66560 entries"]);
    }

    // A medium of the other direction, and one that nobody registered: nothing is staged for them.
    let staged = || tests::twins::names(&scene.office.spool("intranet").join("desk/trips"));
    let before = staged();
    let other = scene.root.path().join("stick");
    fs::create_dir(&other).unwrap();
    scene.export(&other, "stick-0007").is(1, &["medium-direction", "registered for this direction"]);
    scene.export(&other, "stick-0008").is(1, &["medium-unknown", "register the medium's id"]);
    assert_eq!((staged(), fs::read_dir(&other).unwrap().count()), (before, 0));

    strangers_are_named_and_never_read(&scene, if soak() { JUNK_SOAK } else { JUNK });
}

/// What lies on a medium and on no waybill keeps no trip from coming in, is named, and is not read.
fn strangers_are_named_and_never_read(scene: &Scene, junk: usize) {
    let medium = scene.copy("strangers");
    let trip = medium.join("TRILOCK/1");
    let bundle = first(&medium);
    let name = bundle.file_name().unwrap().to_str().unwrap();
    let content = fs::read(&bundle).unwrap();
    let upper = trip.join(name.to_uppercase());
    let strangers: Vec<PathBuf> = [
        OsStr::new("virus.exe"),
        OsStr::new("..."),
        OsStr::new("..\\..\\up"),
        OsStr::new("\u{1b}]0;owned\u{7}.txt"),
        OsStr::new("\u{202e}txt.exe"),
        OsStr::new("line\nbreak"),
        OsStr::from_bytes(b"\xff\xfe not UTF-8"),
    ]
    .iter()
    .map(|name| trip.join(name))
    .chain([upper.clone(), trip.join("0123456789abcdef0123456789abcdef.bundle"), medium.join("autorun.inf")])
    .collect();
    for stranger in &strangers {
        fs::write(stranger, &content).unwrap();
    }
    sparse(&trip.join("sparse.bundle"), SPARSE_BYTES);
    fifo(&trip.join("pipe"));
    symlink(&scene.canary, trip.join("way-out")).unwrap();
    symlink("/dev/zero", medium.join("zero")).unwrap();
    let clutter = medium.join("clutter");
    fs::create_dir(&clutter).unwrap();
    (0..junk).for_each(|n| drop(fs::File::create(medium.join(format!("junk-{n}"))).unwrap()));
    // Read, a file would say so: its last reading lies before its last writing.
    let unread = |path: &Path| {
        run("touch", &["-a".as_ref(), "-d".as_ref(), "2001-01-01".as_ref(), path.as_os_str()]).unwrap();
        fs::metadata(path).unwrap().atime()
    };
    let control = medium.join("control");
    fs::write(&control, "read by this test").unwrap();
    let before: BTreeMap<&PathBuf, i64> = strangers.iter().chain([&control]).map(|path| (path, unread(path))).collect();
    let told = fs::metadata(&control).unwrap().atime();
    fs::read(&control).unwrap();
    let says_so = fs::metadata(&control).unwrap().atime() != told;

    let said = scene.import(&medium);
    let words = [
        "trip 1 from intranet: imported",
        "virus.exe",
        "\\u{1b}]0;owned\\u{7}.txt",
        "\\u{202e}txt.exe",
        "line\\u{a}break",
        "sparse.bundle",
        "pipe (device, fifo or socket)",
        "way-out (symbolic link)",
        upper.file_name().unwrap().to_str().unwrap(),
        "they were not opened",
    ];
    said.is(0, &words);
    assert!(said.text.lines().count() < 300, "junk does not scroll the alarm away");
    scene.canary_stands();
    if says_so {
        for stranger in &strangers {
            assert_eq!(fs::metadata(stranger).unwrap().atime(), before[stranger], "{} was read", stranger.display());
        }
    } else {
        println!("SKIPPED: this file system keeps no times of reading, so nobody can tell what was read");
    }
    // The same medium again takes nothing twice: ferry knows, or the node does where its snapshot is a moment old.
    let again = scene.import(&medium);
    assert!(again.text.contains("Nothing new") || again.text.contains("trip-repeated"), "{}", again.text);
}

#[test]
fn a_medium_that_is_full_closed_lies_or_is_pulled_out_says_so() {
    let folder = match volume::ground("media") {
        Ok(folder) => folder,
        Err(why) => {
            return println!("SKIPPED: no medium can be mounted here, full and closed ones were not tried: {why}");
        }
    };
    let scene = Scene::new();
    let at = |name: &str| folder.path().join(name);
    let incoming = scene.office.spool("extranet").join("desk/incoming/.tmp-intranet-extranet-1");

    // Full before anything is written: both numbers are said, and the remedy.
    let small = Volume::memory(&at("small"), 4 << 20, 10_000).unwrap();
    let said = scene.reexport_starts(&small.place).ended();
    said.is(3, &["not enough space", ": needs ", "has 4.0 MiB", "reexport --trip N"]);
    assert!(!small.place.join("TRILOCK/1").exists());

    // Full in the middle: it had room when it was asked. On a busy machine it may be through before it is caught.
    let fills = |turn: u32| {
        let filling = Volume::memory(&at(&format!("filling-{turn}")), 32 << 20, 10_000).unwrap();
        let mut running = scene.reexport_starts(&filling.place);
        let ballast = filling.place.join("ballast");
        let caught = running.caught(&filling.place.join("TRILOCK/.tmp-1"), || {
            let (mut more, block) = (fs::File::create(&ballast).unwrap(), vec![0_u8; 4096]);
            while std::io::Write::write_all(&mut more, &block).is_ok() {}
        });
        let said = running.ended();
        caught.then_some((filling, said))
    };
    let (filling, said) = (0..20).find_map(fills).expect("ferry was not caught while it wrote");
    said.is(3, &["not enough space", ": needs ", ", has "]);
    assert!(!filling.place.join("TRILOCK/1").exists(), "a trip is on a medium whole or not at all");
    fs::remove_file(filling.place.join("ballast")).unwrap();
    scene.reexport_starts(&filling.place).ended().is(0, &["written"]);

    // Closed: said before the node stages anything.
    filling.remount("ro").unwrap();
    let before = fs::read(scene.office.spool("intranet").join("desk/trips/1/waybill")).unwrap();
    scene.reexport_starts(&filling.place).ended().is(3, &["is read-only", "no trip was opened"]);
    assert_eq!(fs::read(scene.office.spool("intranet").join("desk/trips/1/waybill")).unwrap(), before);

    // Nothing can be wiped off it either: said before anything is taken in.
    let trust = scene.office.root.join("extranet/trust");
    let wipe = ["--wipe", "--medium", filling.place.to_str().unwrap(), "--trust", trust.to_str().unwrap()];
    let said = scene.start("operator-chen", "extranet", "import", &wipe).ended();
    said.is(1, &["disc or read-only", "nothing was imported", "import without --wipe"]);
    scene.nothing_came_in();

    // A stick that says it has 64 MiB and has less than one: what it swallowed is never called written.
    let real = Volume::memory(&at("real"), 640 << 10, 10).unwrap();
    let disk = Ext4 { bytes: 64 << 20, features: "", options: "rw" };
    // Its empty file system alone may be more than it has: then it shows at once.
    let liar = Volume::ext4(&real.place.join("image"), &at("liar"), &Ext4 { features: "^has_journal", ..disk });
    match liar {
        Err(why) => println!("SKIPPED: a medium that lies could not be made here: {why}"),
        Ok(liar) => {
            let said = scene.reexport_starts(&liar.place).ended();
            assert!(said.exit == 3, "{}", said.text);
            assert!(!liar.place.join("TRILOCK/1").exists());
        }
    }

    // Read error at a file: the map of one bundle's blocks is damaged.
    let image = at("damaged.img");
    let damaged = Volume::ext4(&image, &at("damaged"), &disk).unwrap();
    copy_tree(&scene.good, &damaged.place);
    let victim = bundles(&damaged.place.join("TRILOCK/1")).remove(3);
    let inside = format!("/{}", victim.strip_prefix(&damaged.place).unwrap().display());
    damaged.unmount().unwrap();
    let field = format!("set_inode_field {inside} block[0] 0");
    match run("debugfs", &["-w".as_ref(), "-R".as_ref(), field.as_ref(), image.as_os_str()]) {
        Err(why) => println!("SKIPPED: debugfs is not here, a read error was not tried: {why}"),
        Ok(()) => {
            let damaged = Volume::again(&image, &at("damaged"), &disk).unwrap();
            let name = victim.file_name().unwrap().to_str().unwrap();
            scene.import(&damaged.place).is(3, &["read error at", name, "clean the disc"]);
            scene.nothing_came_in();
        }
    }

    // Somebody writes to it while it is read.
    let changing = scene.copy("changing");
    let mut running = scene.import_starts(&changing);
    let caught = running.caught(&incoming, || {
        for bundle in bundles(&changing.join("TRILOCK/1")) {
            let mut file = fs::OpenOptions::new().append(true).open(bundle).unwrap();
            std::io::Write::write_all(&mut file, b"more").unwrap();
        }
    });
    let said = running.ended();
    assert!(caught, "ferry was not caught while it read: {}", said.text);
    said.is(1, &["bytes, the waybill says", "set it aside, report it"]);
    scene.nothing_came_in();

    // Pulled out while it is read: the drive is there and empty.
    let image = at("pulled.img");
    let pulled = Volume::ext4(&image, &at("pulled"), &disk).unwrap();
    copy_tree(&scene.good, &pulled.place);
    pulled.unmount().unwrap();
    let pulled = Volume::again(&image, &at("pulled"), &disk).unwrap();
    let device = format!("/dev/{}", pulled.device().unwrap());
    let mut running = scene.import_starts(&pulled.place);
    let caught = running.caught(&incoming, || {
        fs::OpenOptions::new().write(true).open(&image).unwrap().set_len(0).unwrap();
        run("losetup", &["-c".as_ref(), device.as_ref()]).unwrap();
    });
    let said = running.ended();
    assert!(caught, "ferry was not caught while it read: {}", said.text);
    said.is(3, &["the medium at", "was pulled out", "put the same medium in again"]);
    scene.nothing_came_in();
    drop(pulled);

    // Put in again, everything comes in once.
    scene.import(&scene.good).is(0, &["imported"]);
}

/// A file system of removable media, and how it is made here.
const TREES: [(&str, &str, &[&str]); 4] = [
    ("ext4", "mkfs.ext4", &["-q", "-F"]),
    ("vfat", "mkfs.vfat", &["-F", "32"]),
    ("exfat", "mkfs.exfat", &[]),
    ("udf", "mkfs.udf", &["--media-type=hd", "--blocksize=512"]),
];
const TREE_BYTES: u64 = 64 << 20;

/// Sectors of a medium's file system are zeroed or garbled; the trip on it cannot be whole. Whatever the system makes of
/// such a tree, `ferry` ends in bounds and takes nothing in.
#[test]
fn broken_trees_of_file_systems_are_refused_in_bounds() {
    let folder = match volume::ground("trees") {
        Ok(folder) => folder,
        Err(why) => return println!("SKIPPED: no medium can be mounted here, broken trees were not tried: {why}"),
    };
    let scene = Scene::new();
    // A driver that hangs over a broken tree would be found at random otherwise, and is not ours to mend.
    let seed = if soak() { u64::from(std::process::id()) } else { 1 };
    println!("seed {seed}");
    let mut noise = Noise::new(seed);
    for (kind, tool, options) in TREES {
        let (image, place) = (folder.path().join(format!("{kind}.img")), folder.path().join(kind));
        fs::create_dir_all(&place).unwrap();
        sparse(&image, TREE_BYTES);
        let options: Vec<&OsStr> = options.iter().map(OsStr::new).chain([image.as_os_str()]).collect();
        let made = run(tool, &options).and_then(|()| fill(&scene, kind, &image, &place));
        if let Err(why) = made {
            println!("SKIPPED: no {kind} can be made and mounted here, broken ones were not tried: {why}");
            continue;
        }
        tree(&scene, kind, &image, &place, &mut noise);
    }
    iso(&scene, folder.path(), &mut noise);
}

/// Lays a trip that is not whole on a fresh file system. The program that reads FAT where the kernel does not is no writer.
fn fill(scene: &Scene, kind: &str, image: &Path, place: &Path) -> Result<(), String> {
    mount(kind, image, place)?;
    if kind == "vfat" && volume::kind_of(place).is_some_and(|kind| kind.starts_with("fuse")) {
        run("umount", &[place.as_os_str()])?;
        let folder = image.with_extension("tree");
        scene.unwhole(&folder);
        return run(
            "mcopy",
            &["-s".as_ref(), "-i".as_ref(), image.as_os_str(), folder.join("TRILOCK").as_os_str(), "::".as_ref()],
        );
    }
    scene.unwhole(place);
    run("umount", &[place.as_os_str()])
}

/// Where the kernel knows a file system not, a program may (FUSE). What that makes of a broken tree is a medium too.
fn mount(kind: &str, image: &Path, place: &Path) -> Result<(), String> {
    let by_kernel =
        [OsStr::new("-t"), kind.as_ref(), "-o".as_ref(), "loop".as_ref(), image.as_os_str(), place.as_os_str()];
    run("mount", &by_kernel).or_else(|why| {
        let by_program = match kind {
            "vfat" => run("fusefat", &["-o".as_ref(), "rw+".as_ref(), image.as_os_str(), place.as_os_str()]),
            "exfat" => by_loop("mount.exfat-fuse", image, place),
            "iso9660" => run("fuseiso", &[image.as_os_str(), place.as_os_str()]),
            _ => return Err(why),
        };
        by_program.map_err(|also| format!("{why}; {also}"))
    })
}

/// By a program that wants a device. The device goes when nobody uses it any more.
fn by_loop(program: &str, image: &Path, place: &Path) -> Result<(), String> {
    let script =
        r#"device=$(losetup -f --show "$1") && { "$0" "$device" "$2"; ended=$?; losetup -d "$device"; exit $ended; }"#;
    run("sh", &["-c".as_ref(), script.as_ref(), program.as_ref(), image.as_os_str(), place.as_os_str()])
}

/// Discs are trees too, where one can be made.
fn iso(scene: &Scene, folder: &Path, noise: &mut Noise) {
    let (tree_of, image, place) = (folder.join("iso-tree"), folder.join("iso.img"), folder.join("iso"));
    scene.unwhole(&tree_of);
    fs::create_dir_all(&place).unwrap();
    let words = ["-as", "mkisofs", "-quiet", "-r", "-J", "-o"].map(OsStr::new);
    let made = run("xorriso", &[&words[..], &[image.as_os_str(), tree_of.as_os_str()]].concat());
    let made = made.and_then(|()| mount("iso9660", &image, &place)).and_then(|()| run("umount", &[place.as_os_str()]));
    match made {
        Err(why) => println!("SKIPPED: no disc image can be made and mounted here, broken ones were not tried: {why}"),
        Ok(()) => tree(scene, "iso9660", &image, &place, noise),
    }
}

fn tree(scene: &Scene, kind: &str, image: &Path, place: &Path, noise: &mut Noise) {
    let whole = fs::read(image).unwrap();
    // The first megabytes hold the tree; what is behind holds files.
    let sectors = (whole.len() as u64 / 512).min(4 * 2048);
    let (mut mounted, mut ends) = (0, BTreeMap::new());
    for round in 0..if soak() { 60 } else { 8 } {
        let mut bytes = whole.clone();
        for _ in 0..1 + noise.below(6) {
            let sector = usize::try_from(noise.below(sectors)).unwrap() * 512;
            let with = if round % 2 == 0 { vec![0; 512] } else { noise.bytes(512) };
            bytes[sector..sector + 512].copy_from_slice(&with);
        }
        fs::write(image, &bytes).unwrap();
        if mount(kind, image, place).is_ok() {
            mounted += 1;
            let said = scene.import(place);
            run("umount", &[place.as_os_str()]).unwrap();
            assert!(said.exit != 0 || said.text.contains("Nothing new"), "{}", said.text);
            scene.nothing_came_in();
            *ends.entry(said.exit).or_insert(0) += 1;
        }
    }
    println!("{kind}: {mounted} broken trees could be mounted, exits {ends:?}");
}

/// A rewritable medium that is pulled out of its drive and put in again as it was at that moment.
struct Stick {
    image: PathBuf,
    place: PathBuf,
    disk: Ext4,
    mounted: Option<Volume>,
}

impl Stick {
    fn new(folder: &Path) -> Stick {
        let (image, place) = (folder.join("stick.img"), folder.join("stick"));
        let disk = Ext4 { bytes: 64 << 20, features: "", options: "rw" };
        let mounted = Some(Volume::ext4(&image, &place, &disk).unwrap());
        Stick { image, place, disk, mounted }
    }

    fn kept(&self) -> PathBuf {
        self.image.with_extension("kept")
    }

    /// The drive is there and empty: what was not written yet never will be.
    fn pull(&self) {
        let words = ["--sparse=always".as_ref(), self.image.as_os_str()];
        run("cp", &[&words[..], &[self.kept().as_os_str()]].concat()).unwrap();
        let device = format!("/dev/{}", self.mounted.as_ref().unwrap().device().unwrap());
        fs::OpenOptions::new().write(true).open(&self.image).unwrap().set_len(0).unwrap();
        run("losetup", &["-c".as_ref(), device.as_ref()]).unwrap();
    }

    /// Nothing of it is in memory then.
    fn put_in(&mut self) {
        drop(self.mounted.take());
        if self.kept().exists() {
            fs::rename(self.kept(), &self.image).unwrap();
        }
        self.mounted = Some(Volume::again(&self.image, &self.place, &self.disk).unwrap());
    }
}

/// Does a process hold a file of the medium open whose name ends so?
fn holds_open(pid: u32, medium: &Path, end: &str) -> bool {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let files = open.filter_map(|entry| fs::read_link(entry.path()).ok());
    files.into_iter().any(|file| file.starts_with(medium) && file.to_string_lossy().ends_with(end))
}

/// What a node tells of trip 1 by a snapshot that it took after now.
fn state_of(scene: &Scene, node: &str) -> String {
    let status = scene.office.spool(node).join("status");
    let written = || fs::metadata(status.join("status.json")).and_then(|about| about.modified()).ok();
    let since = Instant::now();
    // The one that it may be writing began before.
    for _ in 0..2 {
        let before = written();
        while written() == before {
            assert!(since.elapsed() < WITHIN, "{node} writes no snapshot");
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
    let trips: serde_json::Value = serde_json::from_slice(&fs::read(status.join("trips.json")).unwrap()).unwrap();
    trips[0]["state"].as_str().unwrap_or("none").to_owned()
}

const PULLED_EN: [&str; 3] = ["the medium at", "was pulled out", "put the same medium in again and repeat the command"];
const PULLED_ZH: [&str; 3] = ["处的介质已被拔出", "请重新插入同一介质并重复该命令", "不会重复计入"];

/// Runs a command twice, in both languages, and pulls its medium out in the middle of it each time; puts it in again.
fn pulled_in(
    stick: &mut Stick,
    start: impl Fn(&str) -> Running,
    shows: impl Fn(&Path, u32) -> bool,
    nothing_happened: impl Fn(),
) {
    for (language, words) in [("zh", PULLED_ZH), ("en", PULLED_EN)] {
        let mut tries = 0;
        let said = loop {
            tries += 1;
            assert!(tries <= 20, "the command was never caught at its work");
            let whole = stick.image.with_extension("whole");
            drop(stick.mounted.take());
            fs::copy(&stick.image, &whole).unwrap();
            stick.put_in();
            let mut running = start(language);
            let caught = running.caught_when(|pid| shows(&stick.place, pid), || stick.pull());
            let said = running.ended();
            if caught {
                stick.put_in();
                break said;
            }
            drop(stick.mounted.take());
            fs::rename(&whole, &stick.image).unwrap();
        };
        said.is(3, &words);
        nothing_happened();
    }
}

#[test]
fn a_medium_pulled_out_in_the_middle_of_any_command_is_told_and_the_same_command_goes_on_with_it() {
    let folder = match volume::ground("pulled") {
        Ok(folder) => folder,
        Err(why) => return println!("SKIPPED: no medium can be mounted here, none was pulled out: {why}"),
    };
    let mut scene = Scene::waiting();
    let mut stick = Stick::new(folder.path());
    let place = stick.place.to_str().unwrap().to_owned();
    let trust = scene.office.root.join("extranet/trust").to_str().unwrap().to_owned();

    let export = |language: &str| {
        let words = ["--medium-id", "disc-0001", "--carrier", "carrier-sun", "--medium", &place, "--lang", language];
        scene.start("operator-ma", "intranet", "export", &words)
    };
    let begun = |place: &Path, _| fs::read_dir(place.join("TRILOCK/.tmp-1")).is_ok_and(|files| files.count() > 20);
    pulled_in(&mut stick, export, begun, || assert_eq!(state_of(&scene, "intranet"), "staged"));
    assert!(!stick.place.join("TRILOCK/1").exists(), "a trip is on a medium whole or not at all");

    // Unmounted when all but the last papers lie on it: what is below the mount point is no medium.
    let unmounted = (0..20).any(|_| {
        let mut running = export("en");
        let all = |_| fs::read_dir(stick.place.join("TRILOCK/.tmp-1")).is_ok_and(|files| files.count() > DROPS);
        let caught = running.caught_when(all, || run("umount", &["-l".as_ref(), stick.place.as_os_str()]).unwrap());
        let said = running.ended();
        // Its name leads nowhere now.
        stick.mounted = None;
        if caught {
            said.is(3, &PULLED_EN);
            assert!(!stick.place.join("TRILOCK/1").exists(), "no trip is written beside the medium");
            fs::remove_dir_all(stick.place.join("TRILOCK")).ok();
        }
        stick.put_in();
        fs::remove_dir_all(stick.place.join("TRILOCK/1")).ok();
        caught
    });
    assert!(unmounted, "ferry was not caught at its last files");
    export("en").ended().is(0, &["trip 1: 30", "taken up", "written"]);

    for person in ["approver-li", "approver-zhao"] {
        scene.office.ferry_as(person, "intranet", "approve", &["--trip", "1"]).unwrap();
    }
    let confirm = |language: &str| {
        scene.start("operator-ma", "intranet", "confirm", &["--trip", "1", "--medium", &place, "--lang", language])
    };
    let reads = |place: &Path, pid| holds_open(pid, place, ".bundle");
    pulled_in(&mut stick, confirm, reads, || assert_eq!(state_of(&scene, "intranet"), "approved"));
    confirm("en").ended().is(0, &["trip 1: confirmed. 30"]);

    let verify =
        |language: &str| scene.start("", "", "verify", &[&place, "--trust", &trust, "--brief", "--lang", language]);
    pulled_in(&mut stick, verify, reads, || ());
    verify("en").ended().is(0, &[&format!("  {:<12} {:>9} {:>8}", "bundle", DROPS, 0)]);

    let import = |language: &str| {
        let words = ["--medium", &place, "--trust", &trust, "--wipe", "--lang", language];
        scene.start("operator-chen", "extranet", "import", &words)
    };
    let incoming = scene.office.spool("extranet").join("desk/incoming/.tmp-intranet-extranet-1");
    let copies = |_: &Path, _| fs::read_dir(&incoming).is_ok_and(|files| files.count() > 20);
    pulled_in(&mut stick, import, copies, || scene.nothing_came_in());

    // Taken in, and pulled out while its files are overwritten: all that is left is to remove them.
    let sorted: Vec<PathBuf> = {
        let mut names = bundles(&stick.place.join("TRILOCK/1"));
        names.sort();
        names
    };
    let wiped = |_: &Path, _| fs::read(&sorted[0]).map_or(true, |bytes| bytes.first() == Some(&0));
    pulled_in(&mut stick, import, wiped, || assert_eq!(state_of(&scene, "extranet"), "imported"));
    import("en").ended().is(0, &["trip 1", "removed from the medium"]);
    assert!(!stick.place.join("TRILOCK/1").exists(), "nothing of the trip is left on the medium");
    let all = scene.office.await_that(WITHIN, |office| {
        (tests::twins::names(&office.outlet("extranet", "responses")).len() == DROPS).then_some(())
    });
    assert!(all.is_some(), "every result is delivered once");

    // Survey files come by media too.
    let case = stick.place.join("case-7");
    fs::create_dir(&case).unwrap();
    (0..200_u8).for_each(|n| fs::write(case.join(format!("point-{n}.dat")), vec![n; 8_000]).unwrap());
    let inlet = scene.office.inlet("intranet", "review-results");
    let intake = |language: &str| {
        let words = [case.to_str().unwrap(), "--route", "review-results", "--lang", language];
        scene.start("operator-ma", "intranet", "intake", &words)
    };
    let copies = |_: &Path, _| {
        let asides = fs::read_dir(&inlet).into_iter().flatten().flatten().map(|entry| entry.path());
        asides.into_iter().any(|aside| fs::read_dir(aside).is_ok_and(|files| files.count() > 20))
    };
    let papers = || {
        fs::read_dir(scene.root.path())
            .unwrap()
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("intake-"))
    };
    pulled_in(&mut stick, intake, copies, || {
        // But where the node puts what it takes.
        let left = fs::read_dir(&inlet).unwrap().flatten().filter(|entry| entry.file_name() != ".claimed");
        assert_eq!(left.count(), 0, "nothing is left in the inlet");
        assert_eq!(papers().count(), 0, "nobody signed what was not copied");
    });
    intake("en").ended().is(0, &["200 files"]);
    assert_eq!(papers().count(), 2);
}
