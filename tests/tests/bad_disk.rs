//! Disks as offices have them: full, without a file left, suddenly read-only, or with errors. Real daemons work on a
//! small disk of their own while that happens to it. Each time the node says so by an alarm's code in `status`, loses
//! nothing that was dropped, and goes on by itself when the cause is gone; a process that ended, as it does where its
//! ledger failed, is started once more, as systemd does, and that start succeeds.
#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test fail as a test does")]
#![allow(clippy::disallowed_methods, reason = "a test makes and removes files as an app or a person would")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::office::{Office, OneWay, Wishes};
use tests::programs::{programs, repository, words};
use tests::traffic::{Traffic, lanes};
use tests::volume::{Ext4, Volume, ground};

/// A peer that was put off offers again after half a minute; a machine that is busy must not fail a test.
const STEP: Duration = Duration::from_secs(70);
/// Above the floor of free bytes (256 MiB) and of free inodes (4,096).
const DISK_BYTES: u64 = 400 << 20;
const DISK_INODES: u64 = 8_192;
/// Drops that wait while the disk goes bad, and once it is.
const BURST: usize = 6;

/// What happens to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Room for apps to drop, below the floor of the node.
    BelowFloor,
    /// Not a byte left.
    Full,
    /// Inodes below the floor.
    FewInodes,
    /// Not an inode left.
    NoInodes,
    /// The file system met an error and let nobody write any more, as `errors=remount-ro` has it.
    ReadOnly,
    /// The store behind a thinly provisioned disk is used up: blocks that were never written cannot be.
    StoreGone,
    /// Every write fails with EIO.
    WritesFail,
    /// The quota of the daemon's account is used up: every write fails with EDQUOT.
    OverQuota,
    /// Every sync fails with EIO, and what it was to sync may be lost.
    SyncsFail,
    /// Every read fails with EIO.
    ReadsFail,
}

impl Fault {
    /// What the library below is told.
    fn word(self) -> Option<&'static str> {
        match self {
            Fault::WritesFail => Some("write"),
            Fault::OverQuota => Some("quota"),
            Fault::SyncsFail => Some("sync"),
            Fault::ReadsFail => Some("read"),
            _ => None,
        }
    }

    /// Words of the system that must stand in the daemon's log, so that no story is about a disk that was well.
    fn said(self) -> &'static [&'static str] {
        match self {
            Fault::BelowFloor | Fault::FewInodes => &[],
            // Some blocks are always left over, and enough for what is small: then the floor speaks.
            Fault::Full => &["(os error 28)", "bytes were asked for and"],
            Fault::NoInodes => &["(os error 28)"],
            Fault::ReadOnly => &["(os error 30)", "(os error 117)"],
            Fault::StoreGone => &["(os error 5)", "(os error 28)", "(os error 30)"],
            Fault::OverQuota => &["(os error 122)"],
            Fault::WritesFail | Fault::SyncsFail | Fault::ReadsFail => &["(os error 5)"],
        }
    }
}

/// Between a daemon and the kernel: while the file `TRILOCK_FAULT` stands, what its word names fails with EIO, or for want
/// of quota, on every file of the spool. Machines on which tests run seldom have a device mapper.
const FAULTS: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
static int bad(int fd, const char *what) {
    const char *place = getenv("TRILOCK_FAULT"), *spool = getenv("TRILOCK_SPOOL");
    char link[64], path[4096] = {0}, word[16] = {0};
    struct stat about;
    if (!place || !spool || syscall(SYS_fstat, fd, &about) || !(S_ISREG(about.st_mode) || S_ISDIR(about.st_mode))) return 0;
    int file = (int)syscall(SYS_openat, AT_FDCWD, place, O_RDONLY | O_CLOEXEC, 0);
    if (file < 0) return 0;
    long got = syscall(SYS_read, file, word, sizeof word - 1);
    syscall(SYS_close, file);
    if (got <= 0 || strcmp(word, what)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    return readlink(link, path, sizeof path - 1) > 0 && !strncmp(path, spool, strlen(spool));
}
#define EIO_WHERE(what) if (bad(fd, what)) { errno = EIO; return -1; }
#define WRITE_WHERE EIO_WHERE("write") if (bad(fd, "quota")) { errno = EDQUOT; return -1; }
int fsync(int fd) { EIO_WHERE("sync") return (int)syscall(SYS_fsync, fd); }
int fdatasync(int fd) { EIO_WHERE("sync") return (int)syscall(SYS_fdatasync, fd); }
ssize_t write(int fd, const void *b, size_t n) { WRITE_WHERE return syscall(SYS_write, fd, b, n); }
ssize_t pwrite64(int fd, const void *b, size_t n, off64_t o) { WRITE_WHERE return syscall(SYS_pwrite64, fd, b, n, o); }
ssize_t read(int fd, void *b, size_t n) { EIO_WHERE("read") return syscall(SYS_read, fd, b, n); }
ssize_t pread64(int fd, void *b, size_t n, off64_t o) { EIO_WHERE("read") return syscall(SYS_pread64, fd, b, n, o); }
"#;

/// Builds the library where a C compiler is.
fn library(root: &Path) -> PathBuf {
    let (source, library) = (root.join("faults.c"), root.join("faults.so"));
    fs::write(&source, FAULTS).unwrap();
    let built = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source).output().unwrap();
    assert!(built.status.success(), "{}", words(&built));
    library
}

/// A service manager waits so long before it starts again what has ended.
const RESTART: Duration = Duration::from_secs(1);

struct Site {
    fault: Fault,
    victim: &'static str,
    office: Office,
    traffic: Traffic,
    /// Before the store it lies on.
    disk: Option<Volume>,
    store: Option<Volume>,
    ended: Vec<String>,
    /// The disk is bad, and a daemon that ended is started again and again, when it last was.
    restarted: Option<Instant>,
    /// Last, when nothing is mounted below it any more.
    _folder: tempfile::TempDir,
}

const EXT4: Ext4 = Ext4 { bytes: DISK_BYTES + (112 << 20), features: "", options: "errors=remount-ro" };

impl Site {
    fn new(fault: Fault, victim: &'static str, folder: tempfile::TempDir) -> Site {
        let root = folder.path();
        let place = root.join(victim).join("spool");
        let (disk, store) = match fault {
            Fault::BelowFloor | Fault::Full | Fault::FewInodes | Fault::NoInodes => {
                (Volume::memory(&place, DISK_BYTES, DISK_INODES).unwrap(), None)
            }
            Fault::WritesFail | Fault::OverQuota | Fault::SyncsFail | Fault::ReadsFail => {
                (Volume::memory(&place, DISK_BYTES, DISK_INODES).unwrap(), None)
            }
            Fault::ReadOnly => (Volume::ext4(&root.join("disk.img"), &place, &EXT4).unwrap(), None),
            Fault::StoreGone => {
                let store = Volume::memory(&root.join("store"), 64 << 20, 64).unwrap();
                (Volume::ext4(&root.join("store/disk.img"), &place, &EXT4).unwrap(), Some(store))
            }
        };
        let wishes = Wishes {
            suite: "std".to_owned(),
            one_way: OneWay::Folder,
            repository: repository(),
            programs: programs().to_owned(),
            round_every_s: 1,
        };
        let mut office = Office::found(root, wishes, Ok).unwrap();
        if fault.word().is_some() {
            let word = |path: PathBuf| path.to_string_lossy().into_owned();
            office.environment = vec![
                ("LD_PRELOAD".to_owned(), word(library(root))),
                ("TRILOCK_FAULT".to_owned(), word(root.join("fault"))),
                ("TRILOCK_SPOOL".to_owned(), word(place)),
            ];
        }
        let lanes = lanes(500_000).into_iter().filter(|lane| lane.route == "applications").collect();
        let traffic = Traffic::new(lanes, 7);
        Site {
            fault,
            victim,
            office,
            traffic,
            disk: Some(disk),
            store,
            ended: Vec::new(),
            restarted: None,
            _folder: folder,
        }
    }

    fn place(&self) -> PathBuf {
        self.office.spool(self.victim)
    }

    fn snapshot(&self, node: &str) -> PathBuf {
        self.office.spool(node).join("status/status.json")
    }

    fn up(&mut self, node: &'static str) {
        if self.snapshot(node).exists() {
            fs::remove_file(self.snapshot(node)).unwrap();
        }
        self.office.start(node).unwrap();
        let snapshot = self.snapshot(node);
        self.wait(&format!("{node} starts"), |site| {
            assert!(site.ended.is_empty(), "a start failed: {:?}", site.ended);
            snapshot.exists().then_some(())
        });
    }

    /// Looks again and again until something is so, while apps fetch what there is.
    fn wait<T>(&mut self, what: &str, mut so: impl FnMut(&mut Site) -> Option<T>) -> T {
        let until = Instant::now() + STEP;
        loop {
            for node in ["internet", "extranet"] {
                if let Some(status) = self.office.ended(node) {
                    assert_eq!(node, self.victim, "{node} ended though its disk is well: {status}");
                    self.ended.push(format!("{node}: {status}"));
                }
            }
            let down = self.office.nodes[self.victim].pid().is_none();
            if down && self.restarted.is_some_and(|at| at.elapsed() > RESTART) {
                self.office.start(self.victim).unwrap();
                self.restarted = Some(Instant::now());
            }
            // Its disk may be such that nothing can be taken away either.
            let _fetched = self.traffic.pick_up(&self.office, "extranet");
            if let Some(found) = so(self) {
                return found;
            }
            if Instant::now() > until {
                let log = fs::read_to_string(self.office.root.join(self.victim).join("log")).unwrap_or_default();
                let last: Vec<&str> = log.lines().rev().take(12).collect();
                panic!(
                    "{:?} at {}: {what}: not so; alarms {:?}, on their way {:?}, ended {:?}, log {last:#?}",
                    self.fault,
                    self.victim,
                    self.alarms(),
                    self.traffic.outstanding(),
                    self.ended
                );
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// The codes that `status` of the victim names, and whether it says that the daemon has ended.
    fn alarms(&self) -> Vec<String> {
        let output = self.office.node_output(self.victim, &["status", "--json"]).unwrap();
        let value: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", words(&output)));
        let rows = value["alarms"].as_array().unwrap();
        let mut said: Vec<String> = rows.iter().map(|row| row["code"].as_str().unwrap().to_owned()).collect();
        if value["running"] == false {
            said.push("not-running".to_owned());
        }
        said
    }

    fn drop_some(&mut self) {
        for _ in 0..BURST {
            assert!(self.traffic.drop_one(&self.office, usize::MAX).unwrap());
        }
    }

    fn all_delivered(&mut self, what: &str) {
        self.wait(what, |site| site.traffic.outstanding().is_empty().then_some(()));
        assert!(
            self.traffic.wrong.is_empty() && self.traffic.again.is_empty(),
            "{:?} {:?}",
            self.traffic.wrong,
            self.traffic.again
        );
    }

    fn spoil(&mut self) {
        let place = self.place();
        let ballast = |path: &Path, left: u64| {
            let free = spool::Disk::real().free(path).unwrap().bytes;
            let mut file = fs::File::create(path.join("ballast")).unwrap();
            let piece = vec![0x5a; 1 << 20];
            let mut more = free.saturating_sub(left);
            while more > 0 {
                let bytes = usize::try_from(more.min(1 << 20)).unwrap();
                // The last page may be somebody else's.
                if file.write_all(&piece[..bytes]).is_err() {
                    break;
                }
                more -= bytes as u64;
            }
        };
        let litter = |left: u64| {
            let folder = place.join("litter");
            fs::create_dir(&folder).unwrap();
            let free = spool::Disk::real().free(&place).unwrap().inodes;
            let made =
                (left..free).take_while(|number| fs::File::create(folder.join(number.to_string())).is_ok()).count();
            assert!(made > 0);
        };
        match self.fault {
            Fault::BelowFloor => ballast(&place, 64 << 20),
            Fault::Full => ballast(&place, 0),
            Fault::FewInodes => litter(1_000),
            Fault::NoInodes => litter(0),
            Fault::ReadOnly => {
                let device = self.disk.as_ref().unwrap().device().unwrap();
                fs::write(format!("/sys/fs/ext4/{device}/trigger_fs_error"), "bad block\n").unwrap();
            }
            Fault::StoreGone => ballast(&self.store.as_ref().unwrap().place, 0),
            Fault::WritesFail | Fault::OverQuota | Fault::SyncsFail | Fault::ReadsFail => {
                fs::write(self.office.root.join("fault"), self.fault.word().unwrap()).unwrap();
            }
        }
        self.restarted = Some(Instant::now());
    }

    fn mend(&mut self) {
        let place = self.place();
        self.restarted = None;
        match self.fault {
            Fault::WritesFail | Fault::OverQuota | Fault::SyncsFail | Fault::ReadsFail => {
                fs::remove_file(self.office.root.join("fault")).unwrap();
            }
            Fault::BelowFloor | Fault::Full => fs::remove_file(place.join("ballast")).unwrap(),
            Fault::FewInodes | Fault::NoInodes => fs::remove_dir_all(place.join("litter")).unwrap(),
            Fault::ReadOnly | Fault::StoreGone => {
                let store = self.store.as_ref().map(|store| store.place.clone());
                if let Some(store) = &store {
                    fs::remove_file(store.join("ballast")).unwrap();
                }
                // Such a file system is unmounted, checked and mounted again; nobody may work on it meanwhile.
                self.office.kill(self.victim).unwrap();
                self.disk.take().unwrap().unmount().unwrap();
                let image = store.unwrap_or_else(|| self.office.root.clone()).join("disk.img");
                self.disk = Some(Volume::again(&image, &place, &EXT4).unwrap());
                self.ended.push("stopped for the check".to_owned());
            }
        }
    }

    /// The whole story.
    fn run(mut self) {
        self.up("internet");
        self.up("extranet");
        self.drop_some();
        self.all_delivered("a good disk delivers");
        let reserve = self.place().join("status/reserve");
        self.wait("the reserve is held", |_| reserve.exists().then_some(()));
        // What is dropped while nobody looks meets a bad disk at every stage.
        self.office.signal(self.victim, "STOP").unwrap();
        self.drop_some();
        self.spoil();
        self.office.signal(self.victim, "CONT").unwrap();
        // Apps of the other node, and those that find room here, go on.
        let room = self.victim == "extranet" || matches!(self.fault, Fault::BelowFloor | Fault::FewInodes);
        if room {
            self.drop_some();
        }
        let expected: &[&str] = match self.fault {
            Fault::BelowFloor | Fault::FewInodes => &["spool-full"],
            Fault::Full | Fault::NoInodes => &["spool-full", "disk-error"],
            _ => &["disk-error", "retrying", "not-running"],
        };
        let began = Instant::now();
        let said = self.wait("status names an alarm", |site| {
            let alarms = site.alarms();
            expected.iter().any(|code| alarms.iter().any(|alarm| alarm == code)).then_some(alarms)
        });
        let told_after = began.elapsed();
        if self.victim == "internet" && matches!(self.fault, Fault::BelowFloor | Fault::FewInodes) {
            // Below the floor the node has stopped taking: what is dropped stays where it was dropped.
            let inlet = self.office.inlet("internet", "applications");
            let waiting = fs::read_dir(inlet)
                .unwrap()
                .filter(|entry| !entry.as_ref().unwrap().file_name().to_string_lossy().starts_with('.'))
                .count();
            assert!(waiting >= BURST, "{waiting} of {} drops were left in the inlet", 2 * BURST);
        }
        let (log, words) = (self.office.root.join(self.victim).join("log"), self.fault.said());
        self.wait("the log shows that the disk is bad", |_| {
            let log = fs::read_to_string(&log).unwrap();
            (words.is_empty() || words.iter().any(|word| log.contains(word))).then_some(())
        });
        self.mend();
        if let Some(status) = self.office.ended(self.victim) {
            self.ended.push(status.to_string());
        }
        let ended = std::mem::take(&mut self.ended);
        if !ended.is_empty() {
            // The last start may have begun while the disk was still bad; the next one is what counts.
            self.office.kill(self.victim).unwrap();
            self.up(self.victim);
        }
        let began = Instant::now();
        // A process may have met the bad disk in the moment before it was well, and ends for it now.
        self.restarted = Some(Instant::now());
        self.drop_some();
        self.all_delivered("what was dropped is delivered once the disk is well");
        let delivered_after = began.elapsed();
        self.wait("the alarm is cleared", |site| {
            let alarms = site.alarms();
            (!alarms.iter().any(|alarm| alarm == "spool-full" || alarm == "disk-error")).then_some(())
        });
        assert!(self.ended.len() <= 1, "{:?}", self.ended);
        let trust = self.office.root.join("extranet/trust").to_string_lossy().into_owned();
        for node in ["internet", "extranet"] {
            let ledger = self.office.spool(node).join("ledger").to_string_lossy().into_owned();
            self.office.ferry(&["ledger", "verify", "--dir", &ledger, "--trust", &trust]).unwrap();
        }
        println!(
            "{:?} at {}: {said:?} in status after {} ms, ended {ended:?}; {} drops, each delivered once, {} ms after the disk was well",
            self.fault,
            self.victim,
            told_after.as_millis(),
            self.traffic.parcels().len(),
            delivered_after.as_millis()
        );
    }
}

fn story(fault: Fault, victim: &'static str) {
    if fault.word().is_some() && Command::new("cc").arg("--version").output().is_err() {
        println!("SKIPPED: needs a C compiler");
        return;
    }
    match ground("disk") {
        Ok(folder) => Site::new(fault, victim, folder).run(),
        Err(why) => println!("SKIPPED: {why}"),
    }
}

macro_rules! stories {
    ($($name:ident = $fault:ident, $victim:literal, $in_every_run:literal;)*) => { $(#[test] fn $name() {
        if $in_every_run || std::env::var_os("TRILOCK_SOAK").is_some() { story(Fault::$fault, $victim); }
    })* };
}

// Where a peer was put off, the story takes the half minute until it offers again: one of those is enough for every run.
stories! {
    a_node_that_takes_goes_below_its_floor = BelowFloor, "internet", true;
    a_node_that_delivers_goes_below_its_floor = BelowFloor, "extranet", false;
    a_node_that_takes_has_not_a_byte_left = Full, "internet", true;
    a_node_that_delivers_has_not_a_byte_left = Full, "extranet", true;
    a_node_that_takes_has_few_inodes_left = FewInodes, "internet", true;
    a_node_that_delivers_has_few_inodes_left = FewInodes, "extranet", false;
    a_node_that_takes_has_no_inode_left = NoInodes, "internet", false;
    a_node_that_delivers_has_no_inode_left = NoInodes, "extranet", false;
    the_disk_of_a_node_that_takes_turns_read_only = ReadOnly, "internet", true;
    the_disk_of_a_node_that_delivers_turns_read_only = ReadOnly, "extranet", false;
    the_store_behind_the_disk_of_a_node_that_takes_is_used_up = StoreGone, "internet", false;
    the_store_behind_the_disk_of_a_node_that_delivers_is_used_up = StoreGone, "extranet", false;
    the_disk_of_a_node_that_takes_fails_its_writes = WritesFail, "internet", false;
    the_disk_of_a_node_that_delivers_fails_its_writes = WritesFail, "extranet", false;
    the_quota_of_a_node_that_takes_is_used_up = OverQuota, "internet", true;
    the_quota_of_a_node_that_delivers_is_used_up = OverQuota, "extranet", false;
    the_disk_of_a_node_that_takes_fails_its_syncs = SyncsFail, "internet", true;
    the_disk_of_a_node_that_delivers_fails_its_syncs = SyncsFail, "extranet", true;
    the_disk_of_a_node_that_takes_fails_its_reads = ReadsFail, "internet", true;
    the_disk_of_a_node_that_delivers_fails_its_reads = ReadsFail, "extranet", true;
}
