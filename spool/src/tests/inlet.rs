//! Stories of an inlet as apps really use it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::time::Duration;

use super::*;

const QUIET: u64 = 1_000;
const HOUR: u64 = 60 * 60 * 1000;
const START: u64 = 1_795_305_600_000;

/// The long variants make some hundred thousand files, which takes minutes on a slow disk.
fn soak() -> bool {
    std::env::var_os("TRILOCK_SOAK").is_some()
}

fn at(ms: u64) -> Timestamp {
    Timestamp(START + ms)
}

fn settle() -> IntakeMode {
    IntakeMode::Settle { quiet_ms: QUIET }
}

fn ready() -> IntakeMode {
    IntakeMode::Ready { suffix: ".ready".into() }
}

struct Door {
    _world: World,
    spool: Spool,
    dir: PathBuf,
    inlet: Inlet,
}

fn door(mode: IntakeMode) -> Door {
    let world = World::new();
    let spool = world.open();
    let dir = spool.layout().inlet(&name("cases"));
    let inlet = Inlet::open(&spool, &name("cases"), mode).unwrap();
    Door { _world: world, spool, dir, inlet }
}

impl Door {
    fn notices(&self) -> Vec<(String, serde_json::Value)> {
        let entries = fs::read_dir(self.spool.layout().notices(&name("cases"))).unwrap();
        let mut all: Vec<_> = entries
            .map(|entry| entry.unwrap())
            .map(|entry| {
                let value = serde_json::from_slice(&fs::read(entry.path()).unwrap()).unwrap();
                (entry.file_name().to_string_lossy().into_owned(), value)
            })
            .collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    fn names(&mut self, now: u64) -> Vec<String> {
        let found = self.inlet.scan(at(now)).unwrap();
        found.iter().map(|candidate| candidate.name.to_string_lossy().into_owned()).collect()
    }

    /// Waits for the kernel's word, not for time to pass.
    fn until_heard(&self, so: impl Fn(&Inlet) -> bool) {
        loop {
            let heard = self.spool.bell().generation();
            self.inlet.answer_hints();
            if so(&self.inlet) {
                return;
            }
            assert!(self.spool.bell().wait(heard, Duration::from_secs(30)) > heard, "nothing was heard");
        }
    }
}

/// A zip of 50 MB with nothing in it: an end record whose comment is the end of the file would be too long, so the space
/// is a stored entry.
fn large_zip() -> Vec<u8> {
    let content = vec![0x5a; 50_000_000];
    let size = u32::try_from(content.len()).unwrap().to_le_bytes();
    let fields = [&[20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], size.as_slice(), &size, &[1, 0]].concat();
    let mut zip = [b"PK\x03\x04", fields.as_slice(), b"\0\0a", &content].concat();
    let directory = u32::try_from(zip.len()).unwrap().to_le_bytes();
    let entry = [b"PK\x01\x02\x14\0", fields.as_slice(), &[0; 16], b"a"].concat();
    zip.extend(&entry);
    zip.extend(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
    zip.extend(u32::try_from(entry.len()).unwrap().to_le_bytes());
    zip.extend(directory);
    zip.extend([0, 0]);
    zip
}

/// A writer that reserves its space, sleeps a minute and then fills it. `kernel` says whether the inlet has hints.
fn a_writer_that_reserves_its_space(file_name: &str, kernel: bool, by_hole: bool) {
    let mut door = door(settle());
    if !kernel {
        door.inlet = door.inlet.without_hints();
    }
    let bytes = large_zip();
    let path = door.dir.join(file_name);
    let file = File::create(&path).unwrap();
    if by_hole {
        file.write_all_at(&[0], bytes.len() as u64 - 1).unwrap();
    } else {
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes.len() as u64).unwrap();
    }
    let mut now = 0;
    while now <= 60_000 {
        assert_eq!(door.names(now), [""; 0], "{file_name} after {now} ms of sleep");
        now += QUIET / 2;
    }
    let (first, second) = bytes.split_at(30_000_000);
    file.write_all_at(first, 0).unwrap();
    for _ in 0..10 {
        now += QUIET / 2;
        assert_eq!(door.names(now), [""; 0], "{file_name} half filled");
    }
    file.write_all_at(second, first.len() as u64).unwrap();
    drop(file);
    let closed = OsStr::new(file_name);
    door.until_heard(|inlet| !inlet.hints_say_written(closed));
    let mut taken = Vec::new();
    for number in 1..=20 {
        now += QUIET / 2;
        for candidate in door.inlet.scan(at(now)).unwrap() {
            taken.push(door.inlet.claim(&candidate, id(number)).unwrap());
        }
    }
    assert_eq!(taken.len(), 1, "{file_name} is taken once");
    assert!(fs::read(&taken[0].path).unwrap() == bytes, "{file_name} is complete");
    assert_eq!(door.inlet.cut(&taken[0]), None);
}

#[test]
fn a_writer_that_reserves_its_space_sleeps_and_then_fills_it_is_taken_once_and_complete() {
    a_writer_that_reserves_its_space("volume.zip", false, false);
    a_writer_that_reserves_its_space("volume.zip", false, true);
    // What it is cannot be told from its end: the kernel says that it is being written.
    a_writer_that_reserves_its_space("volume.dat", true, false);
}

#[test]
fn an_app_that_dies_half_way_is_never_believed_and_with_settle_hears_of_it() {
    let mut rename = door(IntakeMode::Rename);
    fs::write(rename.dir.join("case.zip.part"), b"PK\x03\x04half").unwrap();
    let mut marked = door(ready());
    fs::write(marked.dir.join("case.zip"), b"PK\x03\x04half").unwrap();
    for now in [0, HOUR, 1_000 * HOUR] {
        assert_eq!(rename.names(now), [""; 0]);
        assert_eq!(marked.names(now), [""; 0]);
    }
    let mut door = door(settle());
    let mut file = fs::File::create(door.dir.join("case.zip")).unwrap();
    file.write_all(b"PK\x03\x04half").unwrap();
    let half = OsStr::new("case.zip");
    door.until_heard(|inlet| inlet.hints_say_written(half));
    drop(file);
    door.until_heard(|inlet| !inlet.hints_say_written(half));
    for now in [0, QUIET, HOUR - 1] {
        assert_eq!(door.names(now), [""; 0]);
    }
    let (file, notice) = door.notices().pop().unwrap();
    assert_eq!(file, "case.zip.waiting.json");
    assert_eq!((&notice["state"], &notice["reason"]), (&"waiting".into(), &"unfinished".into()));
    let found = door.inlet.scan(at(HOUR)).unwrap();
    let claim = door.inlet.claim(&found[0], id(1)).unwrap();
    assert_eq!(door.inlet.cut(&claim), Some("no zip end record that covers the file"));
    assert_eq!(door.notices(), [], "it waits no more");
}

#[test]
fn a_marker_that_stood_alone_says_nothing_of_the_drop_that_comes_later() {
    let mut door = door(ready());
    let marker = door.dir.join("case.xml.ready");
    fs::write(&marker, b"").unwrap();
    assert_eq!(door.names(0), [""; 0]);
    fs::write(door.dir.join("case.xml"), b"half").unwrap();
    assert_eq!(door.names(1), [""; 0], "its marker was there before it");
    let (file, notice) = door.notices().pop().unwrap();
    assert_eq!((file.as_str(), &notice["reason"]), ("case.xml.waiting.json", &"old-marker".into()));
    drop(Inlet::open(&door.spool, &name("cases"), ready()).unwrap());
    assert_eq!(door.notices(), [], "a start knows of nobody who waits");
    fs::remove_file(&marker).unwrap();
    fs::create_dir(door.dir.join("folder")).unwrap();
    fs::write(door.dir.join("folder.ready"), b"").unwrap();
    fs::write(&marker, b"written again").unwrap();
    assert_eq!(door.names(2), ["case.xml", "folder"]);
}

#[test]
fn a_folder_in_the_place_of_a_marker_marks_nothing_and_holds_up_no_other_drop() {
    let mut door = door(ready());
    fs::write(door.dir.join("a.json"), b"{}").unwrap();
    fs::create_dir(door.dir.join("a.json.ready")).unwrap();
    std::os::unix::fs::symlink("a.json", door.dir.join("a.json.ready.ready")).unwrap();
    fs::write(door.dir.join("b.json"), b"{}").unwrap();
    fs::write(door.dir.join("b.json.ready"), b"").unwrap();
    assert_eq!(door.names(0), ["b.json"]);
}

#[test]
fn a_marker_that_becomes_a_folder_before_the_claim_costs_its_own_drop_only() {
    let mut door = door(ready());
    for drop in ["a.json", "b.json"] {
        fs::write(door.dir.join(drop), b"{}").unwrap();
        fs::write(door.dir.join(format!("{drop}.ready")), b"").unwrap();
    }
    let found = door.inlet.scan(at(0)).unwrap();
    let marker = door.dir.join("a.json.ready");
    fs::remove_file(&marker).unwrap();
    fs::create_dir_all(marker.join("inside")).unwrap();
    let claims = door.inlet.claim_all(&[(&found[0], id(1)), (&found[1], id(2))]).unwrap();
    assert!(matches!(claims[0], Err(SpoolError::CannotClaim { .. })), "{claims:?}");
    assert_eq!(claims[1].as_ref().unwrap().name, "b.json");
    assert_eq!(door.inlet.claimed().unwrap().len(), 1);
    assert!(door.dir.join("a.json").exists() && marker.is_dir(), "left as they were");
    // One that an older version took along goes like everything else of its claim.
    let claimed = door.spool.layout().claimed(&name("cases"));
    fs::create_dir_all(claimed.join(format!("{}-gone.json.ready/inside", id(3)))).unwrap();
    assert_eq!(door.inlet.claimed().unwrap().len(), 1);
    door.inlet.discard(claims[1].as_ref().unwrap()).unwrap();
    assert_eq!(fs::read_dir(claimed).unwrap().count(), 0);
}

#[test]
fn a_marked_drop_is_let_go_whatever_the_length_of_its_name() {
    let mut door = door(ready());
    let claimed = door.spool.layout().claimed(&name("cases"));
    for (number, length) in [1, 200, 215, 216, 217, 221, 222, 223, 230, 249].into_iter().enumerate() {
        let file = "x".repeat(length);
        fs::write(door.dir.join(&file), b"1").unwrap();
        fs::write(door.dir.join(format!("{file}.ready")), b"").unwrap();
        let found = door.inlet.scan(at(number as u64)).unwrap();
        let claim = door.inlet.claim(&found[0], id(number as u8)).unwrap();
        assert_eq!(door.inlet.claimed().unwrap(), std::slice::from_ref(&claim), "{length}");
        door.inlet.discard(&claim).unwrap_or_else(|error| panic!("{length}: {error}"));
        assert_eq!(fs::read_dir(&claimed).unwrap().count(), 0, "{length}");
        assert_eq!(fs::read_dir(&door.dir).unwrap().count(), 1, "{length}");
    }
}

#[test]
fn a_drop_for_which_there_is_no_room_stays_with_its_app_and_holds_up_no_other() {
    let mut door = door(IntakeMode::Rename);
    let large = door.dir.join("large.zip");
    File::create(&large).unwrap().set_len(1 << 43).unwrap();
    fs::write(door.dir.join("small.xml"), b"1").unwrap();
    assert_eq!(door.names(0), ["small.xml"]);
    let (file, notice) = door.notices().pop().unwrap();
    assert_eq!((file.as_str(), &notice["reason"]), ("large.zip.waiting.json", &"no-room".into()));
    File::create(&large).unwrap().set_len(1 << 10).unwrap();
    assert_eq!(door.names(1), ["large.zip", "small.xml"]);
    assert_eq!(door.notices(), [], "it waits no more");
}

#[test]
fn a_ready_marker_of_a_folder_takes_the_folder_as_one() {
    let mut door = door(ready());
    fs::create_dir_all(door.dir.join("case/scans")).unwrap();
    fs::write(door.dir.join("case/scans/1.jpg"), b"1").unwrap();
    fs::write(door.dir.join("case/a.json"), b"{}").unwrap();
    assert_eq!(door.names(0), [""; 0]);
    fs::write(door.dir.join("case.ready"), b"").unwrap();
    let found = door.inlet.scan(at(1)).unwrap();
    assert!(found.len() == 1 && found[0].folder && found[0].bytes == 3);
    let claim = door.inlet.claim(&found[0], id(1)).unwrap();
    assert_eq!(fs::read(claim.path.join("scans/1.jpg")).unwrap(), b"1");
    assert_eq!(fs::read_dir(&door.dir).unwrap().count(), 1, "drop and marker are gone");
}

#[test]
fn what_is_swapped_between_the_look_and_the_claim_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    fs::write(&secret, b"secret").unwrap();
    let make = |what: &str, place: &Path| match what {
        "a link" => std::os::unix::fs::symlink(&secret, place).unwrap(),
        "a second name" => fs::hard_link(&secret, place).unwrap(),
        "a link to a folder" => std::os::unix::fs::symlink(dir.path(), place).unwrap(),
        "a socket" => drop(std::os::unix::net::UnixListener::bind(place).unwrap()),
        kind => {
            let kind =
                if kind == "a fifo" { rustix::fs::FileType::Fifo } else { rustix::fs::FileType::CharacterDevice };
            let mode = rustix::fs::Mode::from_raw_mode(0o660);
            // A device can be made by root only, and then by an app that is.
            if let Err(error) = rustix::fs::mknodat(rustix::fs::CWD, place, kind, mode, rustix::fs::makedev(1, 3)) {
                assert_eq!(error, rustix::io::Errno::PERM);
                std::os::unix::fs::symlink(&secret, place).unwrap();
            }
        }
    };
    for what in ["a link", "a second name", "a link to a folder", "a socket", "a fifo", "a device"] {
        for inside in [false, true] {
            let mut door = door(IntakeMode::Rename);
            let place = if inside { door.dir.join("case/a.xml") } else { door.dir.join("case") };
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::write(&place, b"<a/>").unwrap();
            let found = door.inlet.scan(at(0)).unwrap();
            assert_eq!(found[0].refused, None);
            fs::remove_file(&place).unwrap();
            make(what, &place);
            let claim = door.inlet.claim(&found[0], id(1)).unwrap();
            assert_eq!(door.inlet.refused(&claim).unwrap(), Some(Reason::NotAFile), "{what}, in a folder: {inside}");
            assert_eq!(fs::read(&secret).unwrap(), b"secret");
        }
    }
}

#[test]
fn a_claim_that_the_disk_would_not_show_is_looked_at_again_and_not_refused() {
    let world = World::new();
    drop(world.open());
    let (setup, power) = powered(&world);
    let spool = Spool::open(setup).unwrap();
    spool.set_floor(Floor { bytes: 0, inodes: 0 });
    let folder = spool.layout().inlet(&name("cases")).join("case");
    fs::create_dir(&folder).unwrap();
    (0..20).for_each(|number| fs::write(folder.join(format!("{number}.xml")), b"<a/>").unwrap());
    let mut inlet = Inlet::open(&spool, &name("cases"), IntakeMode::Rename).unwrap();
    let found = inlet.scan(at(0)).unwrap();
    let claim = inlet.claim(&found[0], id(1)).unwrap();
    for one_in in [1, 4, 20] {
        power.set_weather(Some(Weather { fault: Fault::Unreadable, one_in }));
        let looks: Vec<_> = (0..30).map(|_| inlet.refused(&claim)).collect();
        power.set_weather(None);
        assert!(looks.iter().any(Result::is_err), "one in {one_in}");
        assert!(looks.into_iter().flatten().all(|refused| refused.is_none()), "one in {one_in}");
    }
    assert_eq!(inlet.refused(&claim).unwrap(), None);
    // What is gone is not refused either: another look finds it, or whoever took it.
    fs::rename(&claim.path, world.dir.path().join("elsewhere")).unwrap();
    inlet.refused(&claim).unwrap_err();
}

#[test]
fn a_hundred_thousand_drops_are_listed_once_and_handed_out_in_portions() {
    let mut door = door(IntakeMode::Rename);
    let count: usize = if soak() { 100_000 } else { 5_000 };
    for number in 0..count {
        File::create(door.dir.join(format!("{number:06}.xml"))).unwrap();
    }
    let (mut now, mut handed) = (0, 0);
    let begun = std::time::Instant::now();
    loop {
        now += 10;
        let portion = door.inlet.poll(at(now)).unwrap();
        assert!(portion.len() <= 64);
        if handed < count {
            assert_eq!(door.spool.inlets()[&name("cases")].at, at(10), "one look was enough");
        }
        handed += portion.len();
        for candidate in &portion {
            fs::remove_file(&candidate.path).unwrap();
        }
        if portion.is_empty() {
            break;
        }
    }
    println!("{count} drops listed, looked at and removed in {:?}", begun.elapsed());
    assert_eq!(handed, count);
}

#[test]
fn a_drop_behind_more_litter_than_a_look_can_hold_is_reached() {
    let mut door = door(ready());
    let litter = if soak() { 200_000 } else { 5_000 };
    if !soak() {
        door.inlet.set_names_max(2_000);
    }
    for number in 0..litter {
        File::create(door.dir.join(format!("{number:06}.ready"))).unwrap();
    }
    fs::write(door.dir.join("z.xml"), b"<a/>").unwrap();
    fs::write(door.dir.join("z.xml.ready"), b"").unwrap();
    let mut now = 0;
    let begun = std::time::Instant::now();
    for _ in 0..200 {
        now += 250;
        if let Some(found) = door.inlet.poll(at(now)).unwrap().pop() {
            assert_eq!(found.name, "z.xml");
            println!("reached after {now} ms of the inlet's time, {:?} of work", begun.elapsed());
            assert!(now < 60_000);
            return;
        }
    }
    panic!("never reached");
}

#[test]
fn an_inlet_without_hints_is_looked_at_every_five_seconds() {
    let mut door = door(IntakeMode::Rename);
    door.inlet = door.inlet.without_hints();
    assert!(!door.inlet.is_watched());
    assert!(door.inlet.poll(at(0)).unwrap().is_empty());
    fs::write(door.dir.join("a.xml"), b"<a/>").unwrap();
    assert!(door.inlet.poll(at(4_999)).unwrap().is_empty());
    assert_eq!(door.inlet.poll(at(5_000)).unwrap().len(), 1);
    assert!(!door.spool.inlets()[&name("cases")].watched);
}

#[test]
fn a_hint_brings_a_look_before_its_time_and_a_lost_one_costs_five_seconds() {
    let mut door = door(IntakeMode::Rename);
    assert!(door.inlet.poll(at(0)).unwrap().is_empty());
    fs::write(door.dir.join("a.xml"), b"<a/>").unwrap();
    door.until_heard(Inlet::hints_say_anything);
    let found = door.inlet.poll(at(1)).unwrap();
    assert_eq!(found.len(), 1);
    door.inlet.claim(&found[0], id(1)).unwrap();
    // As after an overflow of the kernel's queue.
    door.inlet = door.inlet.without_hints();
    assert!(door.inlet.poll(at(4_999)).unwrap().is_empty());
}

#[test]
fn more_names_than_the_kernels_queue_holds_are_all_found() {
    let mut door = door(IntakeMode::Rename);
    assert!(door.inlet.poll(at(0)).unwrap().is_empty());
    let count = if soak() { 60_000 } else { 6_500 };
    for number in 0..count {
        File::create(door.dir.join(format!("{number}"))).unwrap().write_all(b"x").unwrap();
    }
    let (mut now, mut found) = (5_000, BTreeSet::new());
    while found.len() < count {
        now += 250;
        for candidate in door.inlet.poll(at(now)).unwrap() {
            fs::remove_file(&candidate.path).unwrap();
            assert!(found.insert(candidate.name), "handed out once");
        }
        assert!(now < 1_000_000, "{} of {count} found", found.len());
    }
}

#[test]
fn litter_of_windows_and_of_copying_programs_is_passed_over_and_counted() {
    let mut door = door(IntakeMode::Rename);
    for litter in ["Thumbs.db", "desktop.ini", "~$申请.docx", ".DS_Store", "._scan.jpg", "case.zip.part", "x.TMP"] {
        fs::write(door.dir.join(litter), b"").unwrap();
    }
    fs::write(door.dir.join("申请.docx"), b"").unwrap();
    assert_eq!(door.names(0), ["申请.docx"]);
    let look = door.spool.inlets()[&name("cases")];
    assert_eq!((look.entries, look.ignored, look.waiting), (8, 7, 0));
}

#[test]
fn a_gbk_name_is_kept_byte_for_byte_from_the_claim_to_the_last_notice() {
    let mut door = door(IntakeMode::Rename);
    let gbk = OsString::from_vec(b"\xb2\xe2\xca\xd4.xml".to_vec());
    fs::write(door.dir.join(&gbk), b"<a/>").unwrap();
    let found = door.inlet.scan(at(0)).unwrap();
    let claim = door.inlet.claim(&found[0], id(1)).unwrap();
    assert_eq!(claim.name, gbk);
    assert!(claim.path.file_name().unwrap().as_encoded_bytes().ends_with(gbk.as_encoded_bytes()));
    let tell = |name: &OsStr, state| {
        let notice = Notice {
            parcel: id(1),
            name: name.to_owned(),
            route: super::name("cases"),
            state,
            reason: None,
            claimed: at(0),
            at: at(1),
            details: serde_json::Value::Null,
        };
        door.spool.notice(&super::name("cases"), &notice).unwrap();
    };
    let dir = door.spool.layout().notices(&name("cases"));
    let listed = || fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    let with = |state: &str| vec![OsString::from_vec([gbk.as_bytes(), state.as_bytes()].concat())];
    tell(&claim.name, NoticeState::Accepted);
    assert_eq!(listed(), with(".accepted.json"));
    // Everybody behind the intake knows the parcel by its name in UTF-8.
    tell("测试.xml".as_ref(), NoticeState::Sent);
    assert_eq!(listed(), with(".sent.json"));
    tell("测试.xml".as_ref(), NoticeState::Delivered);
    assert_eq!(listed(), with(".delivered.json"));
    let said: serde_json::Value = serde_json::from_slice(&fs::read(dir.join(&listed()[0])).unwrap()).unwrap();
    assert_eq!((&said["name"], &said["name_bytes"]), (&"测试.xml".into(), &"b2e2cad42e786d6c".into()));
    assert_eq!(fs::read_dir(door.spool.layout().names()).unwrap().count(), 0, "nothing is kept after the last notice");
}

#[test]
fn what_was_told_before_the_word_of_intake_is_not_taken_back() {
    let mut door = door(IntakeMode::Rename);
    let dir = door.spool.layout().notices(&name("cases"));
    let mut told = |number: u8, states: &[NoticeState]| {
        fs::write(door.dir.join("a.xml"), b"<a/>").unwrap();
        let found = door.inlet.scan(at(0)).unwrap();
        door.inlet.claim(&found[0], id(number)).unwrap();
        for state in states {
            let (parcel, state, details) = (id(number), *state, serde_json::Value::Null);
            let (name, route) = ("a.xml".into(), name("cases"));
            let notice = Notice { parcel, name, route, state, reason: None, claimed: at(0), at: at(1), details };
            door.spool.notice(&super::name("cases"), &notice).unwrap();
        }
        let names = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect::<std::collections::BTreeSet<_>>()
    };
    // The receipt was faster than intake.
    assert_eq!(told(1, &[NoticeState::Delivered, NoticeState::Accepted]), ["a.xml.delivered.json".to_owned()].into());
    // A second parcel of the same name, told of by intake first.
    let second = format!("a.xml.{}.delivered.json", id(2));
    let both = ["a.xml.delivered.json".to_owned(), second];
    assert_eq!(told(2, &[NoticeState::Accepted, NoticeState::Sent, NoticeState::Delivered]), both.into());
}

#[test]
fn what_its_app_has_begun_anew_since_the_look_is_not_taken_on_the_word_of_that_look() {
    // At rest when it was handed out; the route was off meanwhile, and its app writes it once more.
    let mut settled = door(settle());
    fs::write(settled.dir.join("case.csv"), b"a,b\n1,2\n").unwrap();
    assert_eq!(settled.names(0), [""; 0]);
    let found = settled.inlet.scan(at(HOUR)).unwrap();
    fs::remove_file(settled.dir.join("case.csv")).unwrap();
    fs::write(settled.dir.join("case.csv"), b"a,b\n").unwrap();
    let refused = settled.inlet.claim(&found[0], id(1)).unwrap_err();
    assert!(
        matches!(&refused, SpoolError::CannotClaim { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
    );
    assert_eq!(fs::read(settled.dir.join("case.csv")).unwrap(), b"a,b\n", "it stays its app's");
    assert_eq!(settled.names(HOUR + 1), [""; 0], "its rest begins anew");
    let found = settled.inlet.scan(at(2 * HOUR)).unwrap();
    assert_eq!(fs::read(settled.inlet.claim(&found[0], id(2)).unwrap().path).unwrap(), b"a,b\n");

    // Its app has taken the marker away.
    let mut marked = door(ready());
    fs::write(marked.dir.join("case.csv"), b"a,b\n").unwrap();
    fs::write(marked.dir.join("case.csv.ready"), b"").unwrap();
    let found = marked.inlet.scan(at(0)).unwrap();
    fs::remove_file(marked.dir.join("case.csv.ready")).unwrap();
    assert!(marked.inlet.claim(&found[0], id(1)).is_err());
    assert!(marked.dir.join("case.csv").exists(), "it stays its app's");
    fs::write(marked.dir.join("case.csv.ready"), b"").unwrap();
    let found = marked.inlet.scan(at(1)).unwrap();
    marked.inlet.claim(&found[0], id(2)).unwrap();
}
