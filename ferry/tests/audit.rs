//! A ledger that was tampered with in any one way is found out, by its own checkpoint or by a neighbour's head.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]
#![allow(clippy::cast_possible_truncation, reason = "numbers in tests are small by construction")]
#![allow(clippy::disallowed_methods, reason = "what a test breaks on purpose need not survive a power cut")]

mod world;

use std::fs;
use std::path::{Path, PathBuf};

use protocol::keys::SigningKey;
use protocol::ledger::{Checkpoint, Event, Record, consistency_proof, leaf, root};
use protocol::receipt::Head;
use protocol::suite::Digest;
use protocol::tree::node;
use protocol::witness::{HeadLink, HeadStatement};
use protocol::{Suite, Timestamp};
use spool::segment::{self, Health};
use world::{Office, expect, name};

/// Records in the first segment; the rest stands in the second.
const FIRST: u64 = 20;

/// A ledger as a node writes it, and as somebody with a hex editor does.
#[derive(Clone)]
struct Ledger {
    suite: Suite,
    records: Vec<Record>,
    /// Places that are written with a wrong checksum.
    spoiled: Vec<usize>,
    first_health: Health,
    checkpoint: u64,
    /// What the tree on disk was computed from.
    tree: Vec<Record>,
}

impl Ledger {
    fn new(suite: Suite, records: u64, checkpoint: u64) -> Ledger {
        let record = |n| {
            let mut record = Record::new(Event::ConfigLoaded, Timestamp(1_790_000_000_000 + n));
            record.bytes = Some(n);
            record
        };
        let records: Vec<Record> = (0..records).map(record).collect();
        Ledger { suite, tree: records.clone(), records, spoiled: Vec::new(), first_health: Health::Sound, checkpoint }
    }

    fn levels(&self) -> Vec<Vec<Digest>> {
        let mut levels = vec![self.tree.iter().map(|one| leaf(self.suite, &one.to_bytes())).collect::<Vec<_>>()];
        while levels.last().unwrap().len() > 1 {
            let pairs = levels.last().unwrap().chunks_exact(2);
            let next = pairs.map(|pair| node(self.suite, &pair[0], &pair[1])).collect();
            levels.push(next);
        }
        levels
    }

    fn head(&self, size: u64) -> Head {
        let levels = self.levels();
        let read = &mut |level: u32, index: u64| levels[level as usize].get(index as usize).copied().ok_or(());
        Head { log: 1, size, root: root(self.suite, size, read).unwrap() }
    }

    fn stated(&self, office: &Office, old: u64, new: u64) -> HeadStatement {
        let levels = self.levels();
        let read = &mut |level: u32, index: u64| levels[level as usize].get(index as usize).copied().ok_or(());
        let proof = consistency_proof(self.suite, old, new, read).unwrap();
        let mut statement =
            HeadStatement::first(&name("intranet"), &name("extranet"), office.suite, Timestamp(7), self.head(new));
        statement.links = vec![HeadLink { from: self.head(old), proof }];
        statement
    }

    fn write(&self, dir: &Path, key: &SigningKey) {
        let _ = fs::remove_dir_all(dir);
        fs::create_dir_all(dir).unwrap();
        let mut segments = [segment::header(0), segment::header(FIRST)];
        for (at, record) in self.records.iter().enumerate() {
            let mut frame = segment::frame(&record.to_bytes(), b"");
            if self.spoiled.contains(&at) {
                *frame.last_mut().unwrap() ^= 1;
            }
            segments[usize::from(at as u64 >= FIRST)].extend(frame);
        }
        fs::write(dir.join(segment::name(0, self.first_health)), &segments[0]).unwrap();
        fs::write(dir.join(segment::name(FIRST, Health::Sound)), &segments[1]).unwrap();
        for (level, digests) in self.levels().iter().enumerate() {
            let bytes: Vec<u8> = digests.iter().flat_map(|digest| digest.0).collect();
            fs::write(dir.join(format!("level-{level}")), bytes).unwrap();
        }
        let whole = Ledger { tree: self.tree.clone(), ..self.clone() };
        let note = Checkpoint { node: name("intranet"), head: whole.head(self.checkpoint) }.sign(key);
        fs::write(dir.join("checkpoint"), note).unwrap();
        let about = format!(r#"{{"version":1,"node":"intranet","suite":"{}"}}"#, self.suite);
        fs::write(dir.join("ledger.json"), about).unwrap();
    }
}

struct Bench {
    office: Office,
    dir: PathBuf,
    good: Ledger,
}

impl Bench {
    fn new(what: &str, suite: Suite) -> Bench {
        let office = Office::new(&format!("audit-{what}-{suite}"), suite);
        Bench { dir: office.dir.join("spool/ledger"), good: Ledger::new(suite, 45, 37), office }
    }
    fn verify(&self, exit: i32, more: &[&str]) -> String {
        let arguments = ["ledger", "verify", "--dir", self.dir.to_str().unwrap(), "--trust", self.office.trust_path()];
        expect(exit, &[&arguments[..], more].concat())
    }
    fn fails(&self, words: &str, change: impl FnOnce(&mut Ledger)) {
        let mut ledger = self.good.clone();
        change(&mut ledger);
        ledger.write(&self.dir, &self.office.intranet);
        let text = self.verify(1, &[]);
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn one_record_removed_changed_or_moved_is_found_wherever_it_is() {
    for suite in Suite::ALL {
        let bench = Bench::new("record", suite);
        bench.good.write(&bench.dir, &bench.office.intranet);
        let text = bench.verify(0, &[]);
        assert!(text.contains("45 records") && text.contains("8 records follow"), "{text}");
        assert!(text.contains("a cut tail would not be seen"), "{text}");
        for at in [0, 1, 19, 20, 36] {
            bench.fails("a record was changed; record", |ledger| {
                let mut other = ledger.records[at].clone();
                other.bytes = Some(1_000);
                ledger.records[at] = other;
            });
            bench.fails("a record was changed", |ledger| ledger.records.swap(at, (at + 1) % 37));
        }
        // Where the record goes and the numbers close up behind it, and where a hole is left.
        bench.fails("a record was changed", |ledger| drop(ledger.records.remove(21)));
        bench.fails("a record was changed; record 4", |ledger| ledger.records.insert(3, ledger.records[3].clone()));
        bench.fails("a record was changed", |ledger| {
            ledger.records.remove(3);
            ledger.records.insert(19, ledger.records[5].clone());
        });
        // Behind the checkpoint only the tree on disk and the neighbours know.
        for at in [37, 40, 44] {
            bench.fails(&format!("record {at} and its digest"), |ledger| ledger.records[at].bytes = Some(1_000));
        }
        bench.fails("the tail was cut", |ledger| ledger.records.truncate(40));
        bench.fails("records were removed", |ledger| ledger.records.truncate(30));
    }
}

#[test]
fn a_tail_that_was_cut_with_everything_beside_it_is_found_by_what_a_neighbour_holds() {
    for suite in Suite::ALL {
        let bench = Bench::new("tail", suite);
        let (good, office) = (&bench.good, &bench.office);
        let held = office.dir.join("held");
        fs::create_dir_all(&held).unwrap();
        let statement = held.join("intranet-1.head");
        fs::write(&statement, good.stated(office, 12, 43).sign(&office.intranet).as_bytes()).unwrap();
        let note = Checkpoint { node: name("intranet"), head: good.head(41) }.sign(&office.intranet);
        let (papers, at) = (office.dir.join("papers"), office.dir.join("papers/checkpoint"));
        fs::create_dir_all(&papers).unwrap();
        fs::write(&at, note).unwrap();
        fs::write(papers.join("a.proof"), office.bundle(1, b"x").evidence).unwrap();
        fs::write(papers.join("notes.txt"), b"not ours").unwrap();
        // The neighbour's own ledger says what it witnessed.
        let (neighbours, mut seen) = (office.dir.join("extranet/ledger"), Ledger::new(suite, 3, 3));
        seen.records[1] = Record::new(Event::HeadWitnessed, Timestamp(5));
        (seen.records[1].peer, seen.records[1].head) = (Some(name("intranet")), Some(good.head(44)));
        seen.write(&neighbours, &office.intranet);
        let [statement, at, held, papers, neighbours] =
            [&statement, &at, &held, &papers, &neighbours].map(|path| path.to_str().unwrap());
        let ways: [&[&str]; 5] = [
            &["--head", statement],
            &["--head", at],
            &["--evidence", held],
            &["--evidence", papers],
            &["--evidence", neighbours],
        ];
        good.write(&bench.dir, &office.intranet);
        for way in ways {
            let text = bench.verify(0, way);
            assert!(text.contains("heads that others hold"), "{way:?}: {text}");
        }
        assert!(
            bench
                .verify(0, &[ways[0], ways[1], ways[4]].concat())
                .contains("4 heads that others hold, the last over 44")
        );
        // Cut, with a tree and a checkpoint that fit: nothing in the folder itself is wrong.
        let mut cut = Ledger::new(suite, 40, 40);
        cut.write(&bench.dir, &office.intranet);
        bench.verify(0, &[]);
        for way in ways {
            let text = bench.verify(1, way);
            assert!(text.contains("the tail was cut"), "{way:?}: {text}");
        }
        // Cut and grown again.
        cut = Ledger::new(suite, 60, 60);
        cut.records[39].bytes = Some(1_000);
        cut.tree = cut.records.clone();
        cut.write(&bench.dir, &office.intranet);
        bench.verify(0, &[]);
        for way in ways {
            let text = bench.verify(1, way);
            assert!(text.contains("it was rewritten"), "{way:?}: {text}");
        }
        // A forged head, and a file that says nothing.
        good.write(&bench.dir, &office.intranet);
        let forged = office.dir.join("forged.head");
        fs::write(&forged, good.stated(office, 12, 43).sign(&SigningKey::generate(suite)).as_bytes()).unwrap();
        assert!(bench.verify(1, &["--head", forged.to_str().unwrap()]).contains("on no card"));
        let nothing = office.dir.join("papers/notes.txt");
        assert!(bench.verify(1, &["--head", nothing.to_str().unwrap()]).contains("holds no head of intranet"));
        let text = expect(0, &["verify", statement, "--trust", office.trust_path()]);
        assert!(text.contains("43 records") && text.contains("1 earlier heads"), "{text}");
    }
}

#[test]
fn damage_in_the_tree_the_checkpoint_and_a_segment_that_was_set_aside_is_told_apart() {
    for suite in Suite::ALL {
        let bench = Bench::new("damage", suite);
        for (file, words) in [
            ("level-0", "digest in level-0 differ"),
            ("level-1", "of level-1 does not follow"),
            ("level-4", "of level-4 does not follow"),
        ] {
            bench.good.write(&bench.dir, &bench.office.intranet);
            let path = bench.dir.join(file);
            let mut bytes = fs::read(&path).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            fs::write(&path, bytes).unwrap();
            let text = bench.verify(1, &[]);
            assert!(text.contains(words), "{file}: {text}");
        }
        // The tree is a cache where no record is lost.
        bench.good.write(&bench.dir, &bench.office.intranet);
        for file in ["level-3", "level-0"] {
            fs::remove_file(bench.dir.join(file)).unwrap();
            bench.verify(0, &[]);
        }
        for spoiled in [&b""[..], b"trilock/intranet\n9\n", b"\xff"] {
            bench.good.write(&bench.dir, &bench.office.intranet);
            fs::write(bench.dir.join("checkpoint"), spoiled).unwrap();
            bench.verify(1, &[]);
        }
        // Two records of a segment that was set aside cannot be read, one is another; the ledger says so at its end.
        let mut sealed = bench.good.clone();
        let mut damaged = Record::new(Event::LedgerDamaged, Timestamp(9));
        (damaged.sequence, damaged.through) = (Some(5), Some(7));
        sealed.records[44] = damaged;
        sealed.tree = sealed.records.clone();
        sealed.spoiled = vec![5, 6];
        sealed.records[7].bytes = Some(1_000);
        sealed.first_health = Health::Sealed;
        sealed.write(&bench.dir, &bench.office.intranet);
        let text = bench.verify(0, &[]);
        assert!(text.contains("3 records were lost to damage"), "{text}");
        // One more, of which the ledger says nothing.
        sealed.spoiled.push(12);
        sealed.write(&bench.dir, &bench.office.intranet);
        assert!(bench.verify(1, &[]).contains("1 records cannot be read and no record reports their loss"));
        // The leaf of one that is lost is gone as well, and the digest above it too: what stands above them is looked up.
        sealed.spoiled.pop();
        sealed.write(&bench.dir, &bench.office.intranet);
        for (level, index) in [(0, 5), (0, 6), (1, 2)] {
            let path = bench.dir.join(format!("level-{level}"));
            let mut bytes = fs::read(&path).unwrap();
            bytes[index * 32..][..32].fill(0);
            fs::write(path, bytes).unwrap();
            let text = bench.verify(0, &[]);
            assert!(text.contains("3 records were lost to damage"), "level {level}: {text}");
        }
        // Another digest above it does not give the checkpoint's root.
        let path = bench.dir.join("level-2");
        let mut bytes = fs::read(&path).unwrap();
        bytes[32..64].fill(7);
        fs::write(path, bytes).unwrap();
        let text = bench.verify(1, &[]);
        assert!(text.contains("record 5 is the first that is not what it was"), "{text}");
        // And in a segment that is in use nothing of the kind is believed.
        sealed.first_health = Health::Sound;
        sealed.write(&bench.dir, &bench.office.intranet);
        assert!(bench.verify(1, &[]).contains("a record was changed"));
    }
}

#[test]
fn what_one_person_did_or_was_done_with_one_medium_is_shown_and_exported_alone() {
    let bench = Bench::new("acts", Suite::Std);
    let mut ledger = bench.good.clone();
    for (at, person, medium) in [(3, "ma", Some("disc-1")), (21, "ma", None), (30, "sun", Some("disc-1"))] {
        ledger.records[at].person = Some(name(person));
        ledger.records[at].medium = medium.map(name);
    }
    ledger.tree = ledger.records.clone();
    ledger.write(&bench.dir, &bench.office.intranet);
    bench.verify(0, &[]);
    let dir = bench.dir.to_str().unwrap();
    let show = |more: &[&str]| expect(0, &[&["ledger", "show", "--dir", dir], more].concat());
    let export = |more: &[&str]| {
        let period = ["--from", "1970-01-01", "--to", "2999-12-31", "--format", "csv"];
        expect(0, &[&["ledger", "export", "--dir", dir], &period[..], more].concat())
    };
    let wanted: [(&[&str], &[usize]); 5] = [
        (&["--person", "ma"], &[3, 21]),
        (&["--medium", "disc-1"], &[3, 30]),
        (&["--person", "sun", "--medium", "disc-1"], &[30]),
        (&["--person", "ma", "--medium", "disc-2"], &[]),
        (&["--person", "m"], &[]),
    ];
    for (filter, records) in wanted {
        let (shown, exported) = (show(filter), export(filter));
        assert_eq!(shown.lines().count(), records.len(), "{filter:?}: {shown}");
        assert_eq!(exported.lines().count(), records.len() + 1, "{filter:?}: {exported}");
        for (record, (line, row)) in records.iter().zip(shown.lines().zip(exported.lines().skip(1))) {
            assert!(line.trim_start().starts_with(&format!("{record} ")), "{line}");
            assert!(row.starts_with(&format!("{record},")), "{row}");
        }
    }
    assert!(show(&["--medium", "disc-1"]).contains("medium=disc-1"));
    assert_eq!(show(&[]).lines().count(), 45);
}

#[test]
fn what_the_node_exports_is_fetched_whole_or_not_at_all() {
    for suite in Suite::ALL {
        let mut office = Office::new(&format!("fetch-{suite}"), suite);
        let key = office.person("chen", "auditor", "intranet");
        let daemon = world::Daemon::start(&office, "intranet", Vec::new());
        let out = office.dir.join("november.csv");
        let fetch = |exit: i32, more: &[&str]| {
            let asked = ["ledger", "fetch", "--spool", daemon.spool(), "--key", &key, "--format", "csv"];
            let period = ["--from", "2026-11-01", "--to", "2026-11-30", "--out", out.to_str().unwrap()];
            expect(exit, &[&asked[..], &period, more].concat())
        };
        assert!(fetch(1, &["--person", "forged"]).contains("another digest"));
        assert!(!out.exists(), "nothing is left of it");
        let text = fetch(0, &["--person", "ma", "--medium", "disc-1"]);
        assert!(text.contains("2 records written to"), "{text}");
        assert_eq!(fs::read_to_string(&out).unwrap(), "2026-11-01..2026-11-30 ma\ndisc-1\n");
        assert!(fetch(3, &[]).contains("new file"), "what is there is never written over");
    }
}

#[test]
fn a_million_records_are_verified_in_seconds() {
    let soak = std::env::var_os("TRILOCK_SOAK").is_some();
    let count: u64 = if soak { 1_000_000 } else { 20_000 };
    for suite in Suite::ALL {
        let bench = Bench::new("million", suite);
        fs::create_dir_all(&bench.dir).unwrap();
        let mut leaves = Vec::new();
        let (mut bytes, mut first) = (segment::header(0), 0);
        for n in 0..count {
            let mut record = Record::new(Event::Arrived, Timestamp(1_790_000_000_000 + n));
            let id = protocol::id::new_id(record.at, [n.to_be_bytes()[7]; 10]);
            (record.parcel, record.bundle, record.bytes) = (Some(id), Some(id), Some(n));
            (record.origin, record.peer) = (Some(name("intranet")), Some(name("extranet")));
            (record.route, record.parcel_type) = (Some(name("results")), Some(name("review-result")));
            record.digest = Some(protocol::der_types::Octets([7; 32]));
            let record = record.to_bytes();
            leaves.push(leaf(suite, &record));
            bytes.extend(segment::frame(&record, b""));
            if bytes.len() >= segment::SEGMENT_BYTES || n + 1 == count {
                fs::write(bench.dir.join(segment::name(first, Health::Sound)), &bytes).unwrap();
                first = n + 1;
                bytes = segment::header(first);
            }
        }
        let mut levels = vec![leaves];
        while levels.last().unwrap().len() > 1 {
            let next = levels.last().unwrap().chunks_exact(2).map(|pair| node(suite, &pair[0], &pair[1])).collect();
            levels.push(next);
        }
        for (level, digests) in levels.iter().enumerate() {
            let bytes: Vec<u8> = digests.iter().flat_map(|digest| digest.0).collect();
            fs::write(bench.dir.join(format!("level-{level}")), bytes).unwrap();
        }
        let read = &mut |level: u32, index: u64| levels[level as usize].get(index as usize).copied().ok_or(());
        let head = Head { log: 1, size: count, root: root(suite, count, read).unwrap() };
        let note = Checkpoint { node: name("intranet"), head }.sign(&bench.office.intranet);
        fs::write(bench.dir.join("checkpoint"), note).unwrap();
        let start = std::time::Instant::now();
        let text = bench.verify(0, &[]);
        println!("{suite}: {count} records verified in {:?}", start.elapsed());
        assert!(text.contains(&format!("{count} records")), "{text}");
        let csv = bench.office.dir.join("all.csv");
        let start = std::time::Instant::now();
        let arguments = ["ledger", "export", "--dir", bench.dir.to_str().unwrap(), "--format", "csv"];
        let more = ["--from", "1970-01-01", "--to", "2999-12-31", "--out", csv.to_str().unwrap()];
        expect(0, &[&arguments[..], &more].concat());
        println!("{suite}: {count} records exported in {:?}", start.elapsed());
        assert_eq!(fs::read_to_string(&csv).unwrap().lines().count() as u64, count + 1);
        fs::remove_dir_all(bench.office.dir.join("spool")).unwrap();
    }
}
