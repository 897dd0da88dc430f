//! A trip over several media, bundles in parts, and parity that brings back what a scratch took.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "what a test breaks on purpose need not survive a power cut")]
#![allow(clippy::cast_possible_truncation, reason = "numbers in tests are small by construction")]

mod world;

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use protocol::Suite;
use protocol::waybill::LineKind;
use world::{Daemon, Office, expect, json_lines};

const SECTOR: usize = 2_048;

struct Stage {
    office: Office,
    inner: Daemon,
    outer: Daemon,
    operator: String,
    approvers: [String; 2],
    importer: String,
    out: PathBuf,
}

/// Bytes that no two bundles share.
fn content(seed: u64, bytes: usize) -> Vec<u8> {
    let mut dice = Dice(seed + 1);
    (0..bytes).map(|_| dice.next() as u8).collect()
}

/// The same numbers on every machine.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

impl Stage {
    fn new(test: &str, suite: Suite, sizes: &[usize]) -> Stage {
        let mut office = Office::new(test, suite);
        let operator = office.person("zhao", "operator", "intranet");
        let approvers = ["qian", "sun"].map(|who| office.person(who, "approver", "intranet"));
        let importer = office.person("li", "operator", "extranet");
        let bundles = (1..).zip(sizes).map(|(sequence, bytes)| {
            let made = office.bundle(sequence, &content(sequence, *bytes));
            (LineKind::Bundle, made.id, sequence, made.bytes)
        });
        let mut waiting: Vec<_> = bundles.collect();
        let sequence = sizes.len() as u64 + 1;
        let (id, bytes) = office.batch(sequence);
        waiting.push((LineKind::Receipts, id, sequence, bytes));
        let inner = Daemon::start(&office, "intranet", waiting);
        let outer = Daemon::start(&office, "extranet", Vec::new());
        let out = office.dir.join("out");
        Stage { office, inner, outer, operator, approvers, importer, out }
    }

    /// Exports with these words besides, and has two people sign.
    fn export(&self, code: i32, words: &[&str]) -> String {
        let base = ["export", "--spool", self.inner.spool(), "--key", &self.operator, "--medium-id", "disc-0042"];
        let slip = ["--carrier", "wu", "--slip", self.office.dir.to_str().unwrap()];
        let text = expect(code, &[&base[..], &slip, words].concat());
        if code == 0 {
            for key in &self.approvers {
                expect(0, &["approve", "--spool", self.inner.spool(), "--key", key, "--trip", "17"]);
            }
        }
        text
    }

    fn export_out(&self, words: &[&str]) -> String {
        self.export(0, &[&["--out", self.out.to_str().unwrap()], words].concat())
    }

    fn confirm(&self, code: i32, medium: &Path) -> String {
        let base = ["confirm", "--spool", self.inner.spool(), "--key", &self.operator, "--trip", "17"];
        let rest = ["--medium", medium.to_str().unwrap(), "--trust", self.office.trust_path()];
        expect(code, &[&base[..], &rest].concat())
    }

    fn import(&self, code: i32, medium: &Path) -> String {
        self.import_at(code, &self.outer, medium)
    }

    /// The far node's desk, where nothing was imported yet.
    fn another_desk(&self, name: &str) -> Daemon {
        let Office { suite, intranet, extranet, recipient, trust_dir, trust, dir } = &self.office;
        let office = Office {
            dir: dir.join(name),
            suite: *suite,
            intranet: intranet.clone(),
            extranet: extranet.clone(),
            recipient: recipient.clone(),
            trust_dir: trust_dir.clone(),
            trust: trust.clone(),
        };
        Daemon::start(&office, "extranet", Vec::new())
    }

    fn import_at(&self, code: i32, desk: &Daemon, medium: &Path) -> String {
        let base = ["import", "--spool", desk.spool(), "--key", &self.importer];
        let rest = ["--medium", medium.to_str().unwrap(), "--trust", self.office.trust_path()];
        expect(code, &[&base[..], &rest].concat())
    }

    fn try_import(&self, desk: &Daemon, medium: &Path) -> (i32, String) {
        let base = ["import", "--spool", desk.spool(), "--key", &self.importer];
        let rest = ["--medium", medium.to_str().unwrap(), "--trust", self.office.trust_path()];
        let output = world::ferry(&[&base[..], &rest].concat());
        (output.status.code().unwrap(), world::out(&output))
    }

    fn verify(&self, code: i32, medium: &Path) -> String {
        expect(code, &["verify", medium.to_str().unwrap(), "--trust", self.office.trust_path()])
    }

    /// A verifier that shares no code with ferry judges the medium as ferry does.
    #[track_caller]
    fn stranger(&self, holds: bool, medium: &Path) {
        if let Some((found, text)) = world::stranger(medium.to_str().unwrap(), self.office.trust_path()) {
            assert_eq!(found, holds, "{text}");
        }
    }

    fn volume(&self, number: usize) -> PathBuf {
        self.out.join(format!("volume-{number}"))
    }

    fn volumes(&self) -> usize {
        fs::read_dir(&self.out).unwrap().count()
    }
}

fn trip(medium: &Path) -> PathBuf {
    medium.join("TRILOCK/17")
}

/// Files of bundles and of parity, in the order of their names.
fn files(medium: &Path) -> Vec<PathBuf> {
    let ours = |name: &str| {
        name.ends_with(".sectors") || [".bundle", ".receipts", "parity."].iter().any(|part| name.contains(part))
    };
    let mut files: Vec<PathBuf> = fs::read_dir(trip(medium)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| ours(path.file_name().unwrap().to_str().unwrap()));
    files.sort();
    files
}

/// Every sector of them.
fn sectors(medium: &Path) -> Vec<(PathBuf, u64)> {
    let of = |path: PathBuf| {
        let count = fs::metadata(&path).unwrap().len().div_ceil(SECTOR as u64);
        (0..count).map(move |sector| (path.clone(), sector))
    };
    files(medium).into_iter().flat_map(of).collect()
}

impl Stage {
    /// A copy of what was exported, with these sectors of it zeroed, and where they are on the copy.
    fn damaged(&self, place: usize, damage: &[(PathBuf, u64)]) -> (PathBuf, Vec<(PathBuf, u64)>) {
        let medium = self.office.dir.join(format!("damaged-{place}"));
        copy_tree(&self.out, &medium);
        let on_copy = |path: &Path| medium.join(path.strip_prefix(&self.out).unwrap());
        let here: Vec<_> = damage.iter().map(|(path, sector)| (on_copy(path), *sector)).collect();
        zero(&here);
        (medium, here)
    }
}

fn zero(sectors: &[(PathBuf, u64)]) {
    for (path, sector) in sectors {
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        let left = file.metadata().unwrap().len() - sector * SECTOR as u64;
        file.write_all_at(&vec![0; SECTOR.min(left as usize)], sector * SECTOR as u64).unwrap();
    }
}

/// So many of every hundred sectors, drawn at random.
fn some(medium: &Path, percent: usize, seed: u64) -> Vec<(PathBuf, u64)> {
    let mut all = sectors(medium);
    let mut dice = Dice(seed);
    let count = all.len() * percent / 100;
    for place in 0..count {
        let other = place + dice.next() as usize % (all.len() - place);
        all.swap(place, other);
    }
    all.truncate(count);
    all
}

/// The same as one run, which begins at so many percent.
fn run(medium: &Path, percent: usize, from: usize) -> Vec<(PathBuf, u64)> {
    let all = sectors(medium);
    let first = all.len() * from / 100;
    all[first..first + all.len() * percent / 100].to_vec()
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn sums_hold(medium: &Path) {
    match Command::new("sha256sum").args(["--strict", "--quiet", "-c", "SHA256SUMS"]).current_dir(trip(medium)).output()
    {
        Ok(done) => assert!(done.status.success(), "{}", world::out(&done)),
        Err(_) => println!("SKIPPED: sha256sum is not installed"),
    }
}

#[test]
fn a_trip_over_five_volumes_is_imported_in_any_order_and_each_is_confirmed_by_itself() {
    for suite in Suite::ALL {
        let stage = Stage::new(&format!("five-{suite}"), suite, &[200_000; 24]);
        let text = stage.export_out(&["--volume", "2200000"]);
        assert_eq!(stage.volumes(), 5, "{text}");
        let slip = fs::read_to_string(stage.office.dir.join("slip-17.html")).unwrap();
        assert!(slip.contains("<th>卷 / Volumes</th><td><b>5</b> （1–5，"), "who hands over counts them: {slip}");
        for number in 1..=5 {
            let medium = stage.volume(number);
            let bytes: u64 = fs::read_dir(trip(&medium)).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
            assert!(bytes < 2_200_000, "volume {number} has {bytes}");
            let text = stage.confirm(0, &medium);
            assert!(text.contains(&format!("volume {number} of 5")), "{text}");
            let text = stage.verify(0, &medium);
            assert!(text.contains(&format!("volume {number} of 5")), "{text}");
            sums_hold(&medium);
            stage.stranger(true, &medium);
        }
        let text = stage.import(0, &stage.volume(3));
        assert!(text.contains("volume 3 of 5 is taken") && text.contains("missing: volume 1, 2, 4, 5"), "{text}");
        stage.import(0, &stage.volume(5));
        let again = stage.import(0, &stage.volume(3));
        assert!(again.contains("missing: volume 1, 2, 4."), "taken twice, it is there once: {again}");
        stage.import(0, &stage.volume(1));
        let text = stage.import(0, &stage.volume(2));
        assert!(text.contains("missing: volume 4."), "{text}");
        let text = stage.import(0, &stage.volume(4));
        assert!(text.contains("trip 17 from intranet: imported. 25 files"), "{text}");
        assert!(stage.import(0, &stage.volume(1)).contains("Nothing new"));
    }
}

#[test]
fn a_bundle_larger_than_a_volume_travels_in_parts_and_is_joined_where_it_belongs() {
    let stage = Stage::new("parts", Suite::Std, &[3_000_000, 10, 2_500_000]);
    stage.export_out(&["--volume", "2300000", "--parity", "10"]);
    let count = stage.volumes();
    assert!(count > 4, "{count}");
    let parts: Vec<PathBuf> = (1..=count).flat_map(|number| files(&stage.volume(number))).collect();
    assert!(parts.iter().any(|path| path.to_str().unwrap().ends_with(".bundle.003")), "{parts:?}");
    for number in 1..=count {
        stage.confirm(0, &stage.volume(number));
        stage.verify(0, &stage.volume(number));
        stage.stranger(true, &stage.volume(number));
        sums_hold(&stage.volume(number));
    }
    for number in (2..=count).rev() {
        assert!(stage.import(0, &stage.volume(number)).contains("Still missing"));
    }
    assert!(stage.import(0, &stage.volume(1)).contains("imported. 4 files"));

    // On one medium all parts of a bundle lie side by side, and it is proven as a whole.
    let lying = stage.office.dir.join("part-changed");
    copy_tree(&stage.volume(1), &lying);
    let part = files(&lying).into_iter().find(|path| path.to_str().unwrap().ends_with(".bundle.001")).unwrap();
    zero(&[(part, 3)]);
    let text = stage.verify(1, &lying);
    assert!(text.contains(".bundle.001"), "{text}");
    stage.stranger(false, &lying);
}

#[test]
fn a_staged_bundle_that_is_other_than_its_line_is_neither_cut_nor_confirmed() {
    let stage = Stage::new("other-bundle", Suite::Std, &[5_000_000]);
    stage.export_out(&["--volume", "2300000"]);
    let staged = PathBuf::from(stage.inner.spool()).join("desk/trips/17");
    let bundle = fs::read_dir(staged).unwrap().map(|entry| entry.unwrap().path());
    let bundle = bundle.into_iter().find(|path| path.extension().is_some_and(|end| end == "bundle")).unwrap();
    stage.confirm(0, &stage.volume(1));
    zero(&[(bundle, 3)]);
    let text = stage.confirm(1, &stage.volume(1));
    assert!(text.contains("not the file the waybill names"), "{text}");
    stage.confirm(0, &stage.volume(2));
    let base = ["reexport", "--spool", stage.inner.spool(), "--key", &stage.operator, "--trip", "17"];
    let again = stage.office.dir.join("again");
    let text = expect(1, &[&base[..], &["--volume", "2300000", "--out", again.to_str().unwrap()]].concat());
    assert!(text.contains("not the file the waybill names"), "{text}");
    assert!(!again.exists(), "nothing was written");
}

#[test]
fn papers_that_rotted_on_the_medium_are_read_back_like_everything_else() {
    let stage = Stage::new("papers", Suite::Std, &[100_000; 4]);
    stage.export_out(&["--parity", "12"]);
    stage.confirm(0, &stage.out);
    let place = trip(&stage.out);
    for file in ["SHA256SUMS", "README.txt"] {
        let whole = fs::read_to_string(place.join(file)).unwrap();
        for broken in [whole.replacen('0', "1", 1), format!("{whole}0  more\n"), String::new()] {
            fs::write(place.join(file), broken).unwrap();
            let text = stage.confirm(3, &stage.out);
            assert!(text.contains("SHA256SUMS on the medium"), "{text}");
        }
        fs::remove_file(place.join(file)).unwrap();
        stage.confirm(3, &stage.out);
        fs::write(place.join(file), whole).unwrap();
        stage.confirm(0, &stage.out);
    }
}

#[test]
fn a_volume_without_its_paper_costs_nothing_that_others_brought() {
    let stage = Stage::new("paperless", Suite::Std, &[200_000; 24]);
    stage.export_out(&["--volume", "2200000"]);
    (1..=5).for_each(|number| drop(stage.confirm(0, &stage.volume(number))));
    (1..=4).for_each(|number| drop(stage.import(0, &stage.volume(number))));
    let paperless = stage.office.dir.join("paperless");
    copy_tree(&stage.volume(5), &paperless);
    for place in ["", "copy-2", "copy-3"] {
        fs::remove_file(trip(&paperless).join(place).join("volume")).unwrap();
    }
    stage.import(3, &paperless);
    let growing = stage.outer.layout.desk_incoming().join(".vol-intranet-extranet-17");
    assert!(growing.join("volume-4").exists());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&growing), 0o2770, "another operator of the group goes on");
    assert!(fs::read_dir(&growing).unwrap().all(|entry| mode(&entry.unwrap().path()) == 0o660));
    // Nothing that was gathered is asked for twice.
    let text = stage.import(0, &stage.volume(5));
    assert!(text.contains("imported. 25 files"), "{text}");
    let laid = stage.outer.layout.desk_incoming().join("intranet-extranet-17");
    assert!(laid.join("waybill").exists() && !growing.exists());
    assert!((1..=5).all(|number| !laid.join(format!("volume-{number}")).exists()));
}

#[test]
fn two_imports_at_once_are_one_after_the_other() {
    let stage = Stage::new("alone", Suite::Std, &[100_000]);
    stage.export_out(&["--parity", "12"]);
    stage.confirm(0, &stage.out);
    let incoming = fs::File::open(stage.outer.layout.desk_incoming()).unwrap();
    rustix::fs::flock(&incoming, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let text = stage.import(1, &stage.out);
    assert!(text.contains("another import into this desk is running"), "{text}");
    // The daemon tidies the folder so: that is over in a moment, and is waited for.
    std::thread::scope(|scope| {
        let import = scope.spawn(|| stage.import(0, &stage.out));
        std::thread::park_timeout(std::time::Duration::from_millis(500));
        drop(incoming);
        assert!(import.join().unwrap().contains("imported."));
    });
}

#[test]
fn trips_behind_one_that_lacks_a_volume_are_not_begun() {
    let stage = Stage::new("behind", Suite::Std, &[200_000; 24]);
    stage.export_out(&["--volume", "2200000"]);
    (1..=5).for_each(|number| drop(stage.confirm(0, &stage.volume(number))));
    copy_tree(&trip(&stage.volume(1)), &stage.volume(1).join("TRILOCK/18"));
    let text = stage.import(0, &stage.volume(1));
    assert!(text.contains("Still missing: volume 2, 3, 4, 5") && text.contains("1 later trips"), "{text}");
}

#[test]
fn a_tenth_of_all_sectors_zeroed_at_random_or_as_one_run_is_restored_and_named() {
    for (suite, sizes) in [(Suite::Std, vec![200_000; 24]), (Suite::Gm, vec![3_000, 40, 900_000, 17_000])] {
        let stage = Stage::new(&format!("tenth-{suite}"), suite, &sizes);
        stage.export_out(&["--parity", "12"]);
        stage.confirm(0, &stage.out);
        stage.verify(0, &stage.out);
        sums_hold(&stage.out);
        let mut damages: Vec<_> = (0..3).map(|seed| some(&stage.out, 10, seed)).collect();
        damages.extend([0, 1, 45, 80, 90].map(|from| run(&stage.out, 10, from)));
        for (place, damage) in damages.iter().enumerate() {
            let (medium, here) = stage.damaged(place, damage);
            let text = stage.confirm(3, &medium);
            assert!(text.contains("an import would restore all of it"), "{text}");
            let far = stage.another_desk(&format!("far-{place}"));
            let taken = stage.import_at(0, &far, &medium);
            assert!(taken.contains("imported."), "{taken}");
            let bundles = here.iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "bundle"));
            let bundles: std::collections::BTreeSet<_> =
                bundles.map(|(path, _)| path.file_name().unwrap().to_str().unwrap()).collect();
            for name in bundles {
                assert!(taken.contains(name), "damage {place}: {name} is named in {taken}");
            }
        }
    }
}

#[test]
fn more_damage_than_the_parity_covers_is_refused_by_name_and_what_is_whole_is_kept() {
    let stage = Stage::new("beyond", Suite::Std, &[200_000; 24]);
    stage.export_out(&["--parity", "12"]);
    stage.confirm(0, &stage.out);
    let whole = stage.office.dir.join("whole");
    copy_tree(&stage.out, &whole);
    for (place, damage) in [some(&stage.out, 15, 9), run(&stage.out, 15, 20)].into_iter().enumerate() {
        let (medium, here) = stage.damaged(place, &damage);
        let text = stage.confirm(3, &medium);
        assert!(text.contains("could not restore all"), "{text}");
        let far = stage.another_desk(&format!("far-{place}"));
        let text = stage.import_at(1, &far, &medium);
        assert!(text.contains("all of it could be read") && !text.contains("clean the disc"), "{text}");
        let struck: std::collections::BTreeSet<_> = here
            .iter()
            .filter(|(path, _)| path.extension().is_some_and(|end| end == "bundle" || end == "receipts"))
            .map(|(path, _)| path.file_name().unwrap().to_owned())
            .collect();
        assert!(struck.iter().take(20).all(|name| text.contains(name.to_str().unwrap())), "{text}");
        let growing = far.layout.desk_incoming().join(".vol-intranet-extranet-17");
        for path in files(&whole).iter().filter(|path| path.extension().is_some_and(|end| end == "bundle")) {
            let kept = growing.join(path.file_name().unwrap());
            assert_eq!(kept.exists(), !struck.contains(path.file_name().unwrap()), "{}", kept.display());
            assert!(!kept.exists() || fs::read(kept).unwrap() == fs::read(path).unwrap());
        }
        // Another drive reads what this one could not.
        let text = stage.import_at(0, &far, &whole);
        assert!(text.contains("imported. 25 files"), "{text}");
    }
}

#[test]
fn blocks_of_a_large_volume_share_a_scratch_and_random_damage() {
    let stage = Stage::new("blocks", Suite::Std, &[30_000_000, 200_000, 41_000_000, 5, 9_000_000]);
    stage.export_out(&["--parity", "12"]);
    stage.confirm(0, &stage.out);
    for (place, damage) in [some(&stage.out, 10, 77), run(&stage.out, 10, 30)].into_iter().enumerate() {
        let (medium, _) = stage.damaged(place, &damage);
        let text = stage.import_at(0, &stage.another_desk(&format!("far-{place}")), &medium);
        assert!(text.contains("were restored from its parity") && text.contains("imported. 6 files"), "{text}");
        fs::remove_dir_all(medium).unwrap();
    }
}

#[test]
fn whole_files_that_are_gone_cut_or_grown_are_restored_as_far_as_the_parity_reaches() {
    let stage = Stage::new("gone", Suite::Std, &[150_000; 20]);
    stage.export_out(&["--parity", "12"]);
    let bundles: Vec<PathBuf> =
        files(&stage.out).into_iter().filter(|path| path.extension().is_some_and(|end| end == "bundle")).collect();
    fs::remove_file(&bundles[3]).unwrap();
    let cut = fs::OpenOptions::new().write(true).open(&bundles[7]).unwrap();
    cut.set_len(100_000).unwrap();
    fs::OpenOptions::new().write(true).open(&bundles[9]).unwrap().set_len(200_000).unwrap();
    for name in ["0.sectors", "z.sectors"] {
        fs::remove_file(trip(&stage.out).join(name)).unwrap();
    }
    let text = stage.confirm(3, &stage.out);
    assert!(text.contains("damaged sectors"), "{text}");
    let text = stage.import(0, &stage.out);
    let named = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    assert!(text.contains(&named(&bundles[3])) && text.contains(&named(&bundles[7])), "{text}");
    assert!(text.contains("imported. 21 files"), "{text}");
}

#[test]
fn a_link_where_a_file_belongs_is_refused_and_named_and_not_restored() {
    let stage = Stage::new("link", Suite::Std, &[150_000; 20]);
    stage.export_out(&["--parity", "12"]);
    let place = files(&stage.out).into_iter().find(|path| path.extension().is_some_and(|end| end == "bundle")).unwrap();
    let bytes = fs::read(&place).unwrap();
    let name = place.file_name().unwrap().to_str().unwrap();
    fs::remove_file(&place).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", &place).unwrap();
    assert!(stage.confirm(3, &stage.out).contains(name));
    let text = stage.import(3, &stage.out);
    assert!(text.contains(name) && text.contains("no regular file but a symbolic link"), "{text}");
    fs::remove_file(&place).unwrap();
    // Grown behind the end of what the paper says, every sector is as it was.
    fs::write(&place, [&bytes[..], b"more"].concat()).unwrap();
    let text = stage.confirm(1, &stage.out);
    assert!(text.contains(name) && text.contains("bytes"), "{text}");
    fs::write(&place, bytes).unwrap();
    stage.confirm(0, &stage.out);
}

#[test]
fn damage_of_the_parity_itself_stops_confirm_and_no_import() {
    let stage = Stage::new("parity", Suite::Std, &[100_000; 4]);
    stage.export_out(&["--parity", "12"]);
    let parity = trip(&stage.out).join("parity.001");
    zero(&[(parity, 5)]);
    let text = stage.confirm(3, &stage.out);
    assert!(text.contains("parity.001 (1)"), "{text}");
    let index = trip(&stage.out).join("m.sectors");
    fs::remove_file(index).unwrap();
    assert!(stage.import(0, &stage.out).contains("imported. 5 files"));
}

#[test]
fn the_paper_of_a_volume_counts_only_as_the_exporter_signed_it() {
    let stage = Stage::new("paper", Suite::Std, &[100_000; 4]);
    stage.export_out(&["--parity", "12"]);
    let papers = ["", "copy-2", "copy-3"].map(|copy| trip(&stage.out).join(copy).join("volume"));
    let put = |bytes: &[u8]| papers.iter().for_each(|paper| fs::write(paper, bytes).unwrap());
    let whole = fs::read(&papers[0]).unwrap();
    for at in [20, whole.len() / 2, whole.len() - 1] {
        let mut broken = whole.clone();
        broken[at] ^= 1;
        put(&broken);
        assert!(stage.confirm(1, &stage.out).contains("volume"));
        assert!(stage.import(1, &stage.out).contains("volume"));
    }
    put(&whole);
    let unproven = ["confirm", "--spool", stage.inner.spool(), "--key", &stage.operator, "--trip", "17"];
    let text = expect(2, &[&unproven[..], &["--medium", stage.out.to_str().unwrap()]].concat());
    assert!(text.contains("--trust DIR"), "{text}");
    let card = stage.office.trust_dir.join("zhao.pub.pem");
    let text = fs::read(&card).unwrap();
    fs::remove_file(&card).unwrap();
    let refused = stage.import(1, &stage.out);
    assert!(refused.contains("exporter's key card"), "{refused}");
    fs::write(&card, text).unwrap();
    // Without the paper the parity is a stranger, and the bundles are taken as they are.
    papers.iter().for_each(|paper| fs::remove_file(paper).unwrap());
    let text = stage.import(0, &stage.out);
    assert!(text.contains("parity.001") && text.contains("imported"), "{text}");
}

#[test]
fn an_image_of_a_volume_is_made_by_xorriso_and_imports() {
    if Command::new("xorriso").arg("-version").output().is_err() {
        println!("SKIPPED: xorriso is not installed, no image was made");
        return;
    }
    let stage = Stage::new("iso", Suite::Std, &[300_000; 8]);
    let iso = stage.office.dir.join("trip.iso");
    stage.export(0, &["--iso", iso.to_str().unwrap(), "--volume", "2400000", "--parity", "20"]);
    let images: Vec<PathBuf> =
        (1..).map(|n| iso.with_file_name(format!("trip-{n}.iso"))).take_while(|p| p.exists()).collect();
    assert!(images.len() > 1);
    let mut words = String::new();
    for (number, image) in images.iter().enumerate() {
        assert!(fs::metadata(image).unwrap().len() <= 2_400_000, "{number}");
        let medium = stage.office.dir.join(format!("disc-{number}"));
        let done = Command::new("xorriso")
            .args(["-osirrox", "on", "-indev", image.to_str().unwrap(), "-extract", "/", medium.to_str().unwrap()])
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", world::out(&done));
        Command::new("chmod").args(["-R", "u+w", medium.to_str().unwrap()]).status().unwrap();
        stage.confirm(0, &medium);
        words = stage.import(0, &medium);
    }
    assert!(words.contains("imported. 9 files"), "{words}");
}

#[test]
fn too_few_media_too_small_volumes_and_wrong_sizes_are_refused_in_words() {
    let stage = Stage::new("few", Suite::Std, &[300_000; 8]);
    let medium = stage.office.dir.join("medium");
    fs::create_dir_all(&medium).unwrap();
    let medium = medium.to_str().unwrap();
    let text = stage.export(2, &["--medium", medium, "--volume", "2000000"]);
    assert!(text.contains("volumes, 1 media are named") && text.contains("--iso FILE"), "{text}");
    let again =
        ["reexport", "--spool", stage.inner.spool(), "--key", &stage.operator, "--trip", "17", "--medium", medium];
    let text = expect(2, &[&again[..], &["--volume", "1000000"]].concat());
    assert!(text.contains("too small for trip 17"), "{text}");
    for words in [["--volume", "floppy"], ["--parity", "51"], ["--parity", "-1"]] {
        expect(2, &[&again[..], &words].concat());
    }
    assert_eq!(fs::read_dir(medium).unwrap().count(), 0, "nothing was written");
    let text = expect(0, &[&again[..], &["--parity", "50", "--slip", stage.office.dir.to_str().unwrap()]].concat());
    assert!(text.contains("trip 17: 9 files"), "{text}");
    let lines = json_lines(&["trips", "--spool", stage.inner.spool()]);
    assert_eq!(lines[0]["state"], "staged");
}

/// What a bad spot makes of a paper: its bytes are other, or gone, or its folder is none any more.
fn spoil(place: &Path, how: usize) {
    for paper in ["waybill", "volume", "approvals/qian.approval", "approvals/sun.approval"] {
        let path = place.join(paper);
        let bytes = fs::read(&path).unwrap();
        match how {
            0 => fs::write(&path, vec![0; bytes.len()]).unwrap(),
            1 => fs::write(&path, &bytes[..bytes.len() / 2]).unwrap(),
            2 => fs::remove_file(&path).unwrap(),
            _ => {
                let mut bytes = bytes;
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                fs::write(&path, bytes).unwrap();
            }
        }
    }
}

#[test]
fn any_two_copies_of_every_paper_may_be_lost_and_the_import_says_which() {
    let stage = Stage::new("copies", Suite::Std, &[100_000; 3]);
    stage.export_out(&["--parity", "12"]);
    stage.confirm(0, &stage.out);
    sums_hold(&stage.out);
    stage.stranger(true, &stage.out);
    let places = ["", "copy-2", "copy-3"];
    for how in 0..4 {
        for whole in places {
            let name = format!("copies-{how}-{whole}");
            let (medium, desk) = (stage.office.dir.join(format!("medium-{name}")), stage.another_desk(&name));
            copy_tree(&stage.out, &medium);
            let lost = places.iter().filter(|place| **place != whole);
            lost.for_each(|place| spoil(&trip(&medium).join(place), how));
            let text = stage.import_at(0, &desk, &medium);
            assert!(text.contains("imported. 4 files"), "{how}, {whole} whole: {text}");
            for place in &places {
                let at = if place.is_empty() { String::new() } else { format!("{place}/") };
                for paper in ["waybill", "volume", "approvals/qian.approval"] {
                    let words = text.replace(", ", "\n");
                    let said = words.lines().any(|line| {
                        line.trim_end().ends_with(&format!(" {at}{paper}")) || line == format!("{at}{paper}")
                    });
                    assert_eq!(said, *place != whole, "{how}, {whole} whole, {at}{paper}: {text}");
                }
            }
        }
    }
    // A paper of which no copy is sound stops the trip, and nothing of it lies in the desk.
    for how in 0..4 {
        let name = format!("copies-none-{how}");
        let (medium, desk) = (stage.office.dir.join(format!("medium-{name}")), stage.another_desk(&name));
        copy_tree(&stage.out, &medium);
        places.iter().for_each(|place| spoil(&trip(&medium).join(place), how));
        let (code, text) = stage.try_import(&desk, &medium);
        assert!([1, 3].contains(&code), "{code} {text}");
        assert_eq!(fs::read_dir(desk.layout.desk_incoming()).unwrap().count(), 0, "{text}");
    }
}

#[test]
fn copies_that_are_links_or_hold_strangers_are_listed_and_never_followed() {
    let stage = Stage::new("copy-links", Suite::Std, &[100_000]);
    stage.export_out(&[]);
    stage.confirm(0, &stage.out);
    let place = trip(&stage.out);
    fs::write(place.join("copy-2/virus.exe"), b"MZ").unwrap();
    stage.confirm(1, &stage.out);
    fs::remove_dir_all(place.join("copy-3")).unwrap();
    std::os::unix::fs::symlink("/etc", place.join("copy-3")).unwrap();
    stage.confirm(3, &stage.out);
    let text = stage.import(0, &stage.out);
    for words in ["copy-2/virus.exe", "copy-3 (symbolic link)", "copy-3/"] {
        assert!(text.contains(words), "{text}");
    }
}

/// A sound signature of somebody else is no copy: the first that the trust folder proves is taken.
#[test]
fn a_copy_that_another_trip_or_node_signed_is_not_taken_for_ours() {
    let (ours, theirs) =
        (Stage::new("copy-ours", Suite::Std, &[100_000]), Stage::new("copy-theirs", Suite::Std, &[90_000]));
    for stage in [&ours, &theirs] {
        stage.export_out(&[]);
        stage.confirm(0, &stage.out);
    }
    for place in ["", "copy-2"] {
        fs::copy(trip(&theirs.out).join("waybill"), trip(&ours.out).join(place).join("waybill")).unwrap();
    }
    ours.confirm(1, &ours.out);
    let text = ours.import(0, &ours.out);
    assert!(text.contains("imported. 2 files") && text.contains("copy-2/waybill"), "{text}");
}
