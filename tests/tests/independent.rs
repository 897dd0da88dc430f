//! Two readers of one format: `ferry verify` and the verifier in `tests/independent`, which was written from FORMAT.md
//! alone and shares no code with the crates. What one takes the other takes; what one refuses the other refuses.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "a test makes and breaks files as a stranger would")]
#![allow(clippy::cast_possible_truncation, reason = "dice far below any limit")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64ct::{Base64, Encoding};
use protocol::bundle::CHUNK_BYTES;
use protocol::envelope::{Envelope, Footer};
use protocol::keys::SigningKey;
use protocol::ledger::{Event, Local, Record};
use protocol::parcel::VERSION;
use protocol::tree::Tree;
use protocol::trust::{KeyCard, Role, Use};
use protocol::{Name, Signed, Suite, Timestamp, Zone};
use serde_json::Value;
use spool::{Disk, Setup, Spool};
use tests::papers::Noise;
use tests::programs::{program, repository, words};
use tests::seals::{Content, Seals};
use tests::world::{Dangers, Office, World, ground};

/// Mutants of each suite.
const MUTANTS: u64 = 500;
/// The bundle of which every byte is flipped.
const SMALL_BYTES: usize = 2_048;

/// The verifier of strangers, or none where Python is absent.
fn stranger(arguments: &[&str]) -> Option<Output> {
    let verifier = repository().join("tests/independent/verify.py");
    match Command::new("python3").arg("-B").arg(verifier).args(arguments).output() {
        Ok(output) => Some(output),
        Err(_) => {
            println!("SKIPPED: python3 is not installed, the independent verifier was not asked");
            None
        }
    }
}

fn ferry(arguments: &[&str]) -> Output {
    Command::new(program("ferry")).args(arguments).output().unwrap()
}

/// By path: did it hold?
fn verdicts(output: &Output) -> BTreeMap<String, bool> {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let rows = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let row = |row: Value| {
        let path = row["path"].as_str()?.rsplit_once("/files/").map_or(row["path"].as_str()?, |(_, name)| name);
        Some((path.to_owned(), row["ok"].as_bool()?))
    };
    rows.filter_map(row).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Two nodes and a parcel on its way between them.
struct Hop(Seals);

impl Hop {
    fn new(suite: Suite, trust: &Path) -> Hop {
        let seals = Seals::new(suite).unwrap();
        fs::write(trust.join(format!("{suite}.internet.pub.pem")), seals.card()).unwrap();
        Hop(seals)
    }

    /// A bundle with one file of so many bytes.
    fn bundle(&self, content: usize) -> Vec<u8> {
        let content: Vec<u8> = (0..content).map(|at| at as u8).collect();
        let known = Content::inspect(self.0.suite(), &mut content.as_slice()).unwrap();
        let mut out = Vec::new();
        self.0.seal(299, known, content.as_slice(), &mut out).unwrap();
        out
    }

    /// Of exactly so many bytes. (The lengths of SM2 signatures vary by a few bytes.)
    fn bundle_of_bytes(&self, bytes: usize) -> Vec<u8> {
        let mut content = 400;
        loop {
            let made = self.bundle(content);
            if made.len() == bytes {
                return made;
            }
            content = (content + bytes).checked_sub(made.len()).unwrap();
        }
    }

    /// The bundle with another envelope and a foot that is validly signed for it: what is wrong with it, if anything
    /// is, stands in the envelope alone.
    fn with_envelope(&self, bundle: &[u8], envelope: &[u8]) -> Vec<u8> {
        let [before, payload, _] = parts(bundle);
        assert!(!before.is_empty());
        let mut tree = Tree::with_leaf(self.0.suite(), CHUNK_BYTES + 16);
        tree.update(payload);
        let footer = Footer {
            version: VERSION,
            envelope: self.0.suite().digest(envelope),
            root: tree.root(),
            payload_bytes: payload.len() as u64,
        };
        let footer = Signed::make(self.0.signing(), &footer).to_bytes();
        let length = |part: &[u8]| u32::try_from(part.len()).unwrap().to_be_bytes();
        [b"TRILOCK1", &length(envelope)[..], envelope, payload, &length(&footer), &footer].concat()
    }
}

/// Envelope, payload and signed foot of a good bundle.
fn parts(bundle: &[u8]) -> [&[u8]; 3] {
    let envelope = &bundle[12..12 + u32::from_be_bytes(bundle[8..12].try_into().unwrap()) as usize];
    let payload = Envelope::parse(envelope).unwrap().payload_bytes as usize;
    let (payload, foot) = bundle[12 + envelope.len()..].split_at(payload);
    [envelope, payload, &foot[4..]]
}

/// Breaks bytes in one to three places, as a wire, a disk or an enemy does.
fn broken(noise: &mut Noise, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=noise.below(3) {
        let at = noise.below(bytes.len().max(1) as u64) as usize;
        match noise.below(7) {
            0..=2 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << noise.below(8)),
            3 => bytes.truncate(at),
            4 => drop(bytes.drain(at..(at + noise.below(9) as usize).min(bytes.len()))),
            5 => {
                let count = noise.below(9) as usize;
                let more = noise.bytes(count);
                drop(bytes.splice(at..at, more));
            }
            _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = byte.wrapping_add(1)),
        }
    }
    bytes
}

#[test]
fn every_frozen_vector_ends_the_same_for_a_stranger() {
    let vectors = repository().join("protocol/tests/vectors");
    let Some(output) = stranger(&["--vectors", text(&vectors)]) else { return };
    let count = fs::read_dir(&vectors)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|suffix| suffix == "vector"));
    let summary = format!("\"checked\": {}, \"failed\": 0", count.count());
    assert!(output.status.success() && words(&output).contains(&summary), "{summary}: {}", words(&output));
}

/// Every vector that is a file `ferry verify` is asked about, which is all but frames and what other commands prove: it ends each as the vector says, and so does the stranger.
#[test]
fn ferry_and_the_stranger_end_every_vector_of_a_file_alike() {
    let root = tempfile::tempdir().unwrap();
    let files = root.path().join("files");
    fs::create_dir(&files).unwrap();
    let vectors = repository().join("protocol/tests/vectors");
    let unknown = ["backup", "checkpoint", "ledger record", "exchange frame", "manifest"];
    let mut expected = BTreeMap::new();
    for entry in fs::read_dir(&vectors).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        let Some(("vector", text)) =
            path.extension().and_then(|suffix| suffix.to_str()).zip(fs::read_to_string(&path).ok())
        else {
            continue;
        };
        let (head, body) = text.split_once("\n\n").unwrap();
        let word = |word: &str| head.lines().find_map(|line| line.strip_prefix(word));
        if unknown.contains(&word("kind: ").unwrap_or("bundle")) {
            continue;
        }
        let body: String = body.split_whitespace().collect();
        // The name says that it is ours; what it is, only its bytes.
        let name = format!("{stem}.bundle");
        fs::write(files.join(&name), Base64::decode_vec(&body).unwrap()).unwrap();
        expected.insert(name, word("expect: ") == Some("ok"));
    }
    let trust = vectors.join("trust");
    let ours = verdicts(&ferry(&["verify", "--json", "--brief", text(&files), "--trust", text(&trust)]));
    let apart = |said: &BTreeMap<String, bool>| -> Vec<String> {
        expected.iter().filter(|(name, ok)| said.get(*name) != Some(ok)).map(|(name, _)| name.clone()).collect()
    };
    assert!(expected.len() > 280, "{}", expected.len());
    assert_eq!(apart(&ours), Vec::<String>::new(), "ferry");
    let Some(theirs) = stranger(&["--trust", text(&trust), text(&files)]) else { return };
    assert_eq!(apart(&verdicts(&theirs)), Vec::<String>::new(), "the stranger");
}

#[test]
fn the_strangers_layouts_are_the_asn1_of_the_page() {
    let page = repository().join("protocol/FORMAT.md");
    let Some(output) = stranger(&["--module", text(&page)]) else { return };
    assert!(output.status.success(), "{}", words(&output));
}

#[test]
fn every_byte_of_a_bundle_flipped_in_turn_and_a_thousand_mutants_end_the_same_for_both() {
    let root = tempfile::tempdir().unwrap();
    let (trust, files) = (root.path().join("trust"), root.path().join("files"));
    fs::create_dir(&trust).unwrap();
    fs::create_dir(&files).unwrap();
    let put = |name: String, bytes: &[u8]| fs::write(files.join(name + ".bundle"), bytes).unwrap();
    for suite in Suite::ALL {
        let hop = Hop::new(suite, &trust);
        let small = hop.bundle_of_bytes(SMALL_BYTES);
        put(format!("{suite}-good"), &small);
        for at in 0..small.len() {
            let mut flipped = small.clone();
            flipped[at] ^= 1 << (at % 8);
            put(format!("{suite}-flip-{at}"), &flipped);
        }
        let mut noise = Noise::new(0x0bad_cafe ^ u64::from(suite.code()));
        for number in 0..MUTANTS {
            // Every other one has a foot that fits, so that what is judged is the envelope.
            let mutant = if number % 2 == 0 {
                broken(&mut noise, &small)
            } else {
                hop.with_envelope(&small, &broken(&mut noise, parts(&small)[0]))
            };
            put(format!("{suite}-mutant-{number}"), &mutant);
        }
    }
    let Some(theirs) = stranger(&["--trust", text(&trust), text(&files)]) else { return };
    let ours = ferry(&["verify", "--json", "--brief", text(&files), "--trust", text(&trust)]);
    let (ours, theirs) = (verdicts(&ours), verdicts(&theirs));
    assert_eq!(ours.len() as u64, 2 * (1 + SMALL_BYTES as u64 + MUTANTS), "every file was judged");
    let apart: Vec<_> = ours.iter().filter(|(name, ok)| theirs.get(*name) != Some(ok)).collect();
    assert!(apart.is_empty() && theirs.len() == ours.len(), "they differ: {apart:?}");
    for suite in Suite::ALL {
        let taken =
            |kind: &str| ours.iter().filter(|(name, ok)| **ok && name.starts_with(&format!("{suite}-{kind}"))).count();
        assert_eq!((taken("good"), taken("flip")), (1, 0), "{suite}: no flipped byte passes");
        // Fields that only nodes look at may change under a new foot: both say so, of some and not of all.
        let mutants = taken("mutant");
        println!("{suite}: {mutants} of {MUTANTS} mutants verify, for both");
        assert!((10..MUTANTS as usize / 2).contains(&mutants), "{suite}: {mutants} mutants verify");
    }
}

/// What the verifier's own arithmetic takes, OpenSSL takes; and neither takes a changed word.
#[test]
fn openssl_agrees_with_the_strangers_arithmetic() {
    if Command::new("openssl").arg("version").output().is_err() {
        println!("SKIPPED: openssl is not installed");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let trust = root.path().join("trust");
    fs::create_dir(&trust).unwrap();
    for suite in Suite::ALL {
        let bundle = root.path().join("one.bundle");
        fs::write(&bundle, Hop::new(suite, &trust).bundle(100)).unwrap();
        let Some(output) = stranger(&["--trust", text(&trust), "--dump", text(root.path()), text(&bundle)]) else {
            return;
        };
        assert!(output.status.success(), "{}", words(&output));
        for part in ["statement", "custody-1", "footer"] {
            let at = |suffix: &str| text(&root.path().join(format!("{part}.{suffix}"))).to_owned();
            assert!(openssl_takes(suite, &at("pem"), &at("sig"), &at("msg")), "{suite} {part}");
            let mut message = fs::read(at("msg")).unwrap();
            *message.last_mut().unwrap() ^= 1;
            fs::write(at("msg"), message).unwrap();
            assert!(!openssl_takes(suite, &at("pem"), &at("sig"), &at("msg")), "{suite} {part}, changed");
        }
    }
}

fn openssl_takes(suite: Suite, key: &str, signature: &str, message: &str) -> bool {
    let gm = ["dgst", "-sm3", "-verify", key, "-sigopt", "distid:1234567812345678", "-signature", signature, message];
    let std = ["pkeyutl", "-verify", "-pubin", "-inkey", key, "-rawin", "-in", message, "-sigfile", signature];
    let arguments: &[&str] = if suite == Suite::Gm { &gm } else { &std };
    Command::new("openssl").args(arguments).output().unwrap().status.success()
}

/// Three nodes, every carrier, a day of parcels: and then only folders and public keys.
#[test]
fn evidence_and_ledgers_of_a_whole_office_hold_for_both_and_fall_for_both() {
    for suite in Suite::ALL {
        let office = Office::found(suite).unwrap();
        let folder = tempfile::Builder::new().prefix("trilock-stranger-").tempdir_in(ground()).unwrap();
        let root = folder.path();
        let mut world = World::new(7, &office, Dangers::Anywhere { deaths: 0 }, &[], root).unwrap();
        world.run().unwrap_or_else(|fault| panic!("{}\n{fault}", world.story()));
        drop(world);
        let trust = root.join("trust");
        office.write_cards(&trust).unwrap();
        let evidence = Zone::ALL.map(|zone| root.join(zone.name()).join("evidence"));
        let evidence = evidence.each_ref().map(|path| text(path));
        let Some(theirs) = stranger(&[&["--trust", text(&trust)], &evidence[..]].concat()) else { return };
        let ours = ferry(&[&["verify", "--json", "--trust", text(&trust)], &evidence[..]].concat());
        assert!(ours.status.success() && theirs.status.success(), "{}\n{}", words(&ours), words(&theirs));
        assert_eq!(verdicts(&ours), verdicts(&theirs));
        assert!(verdicts(&ours).len() > 30, "{}", words(&ours));
        for zone in Zone::ALL {
            let ledger = root.join(zone.name()).join("ledger");
            assert_eq!(both_of_ledger(&ledger, &trust, &evidence), [true, true], "{suite} {zone}");
        }
        let ledger = root.join(Zone::Extranet.name()).join("ledger");
        each_broken_in_turn(&ledger, |what| {
            assert_eq!(both_of_ledger(&ledger, &trust, &evidence), [false, false], "{suite}: {what}");
        });
    }
}

/// The office changed its suite; the ledger keeps the one it was begun in.
#[test]
fn a_ledger_begun_in_one_suite_and_signed_in_the_other_holds_for_both_and_falls_for_both() {
    for [began, today] in [[Suite::Std, Suite::Gm], [Suite::Gm, Suite::Std]] {
        let root = tempfile::tempdir().unwrap();
        let trust = root.path().join("trust");
        fs::create_dir(&trust).unwrap();
        let node = Name::new("internet").unwrap();
        let keys = [began, today].map(SigningKey::generate);
        let setup = |key: &SigningKey, now: u64| Setup {
            root: root.path().join("spool"),
            node: node.clone(),
            zone: Zone::Internet,
            key: key.clone().into(),
            disk: Disk::real(),
            routes: Vec::new(),
            crossings: Vec::new(),
            now: Timestamp(now),
            index_cache_bytes: 1 << 20,
        };
        const NOON: u64 = 1_795_348_800_000;
        spool::create(&setup(&keys[0], NOON)).unwrap();
        for (key, now) in keys.iter().zip([NOON, NOON + 60_000]) {
            let spool = Spool::open(setup(key, now)).unwrap();
            for at in 0..5 {
                let local = Local { name: Some("li".to_owned()), labels: Vec::new() };
                spool.record(Record::new(Event::ConfigLoaded, Timestamp(now + at)), local).unwrap();
            }
            spool.write_checkpoint().unwrap();
            let card = KeyCard {
                zone: Zone::Internet,
                holder: node.clone(),
                role: Role::Node,
                usage: Use::Sign,
                suite: key.suite(),
                from: "2026-11-21".to_owned(),
                until: None,
                spki: key.public().to_spki(),
            };
            fs::write(trust.join(format!("{}.pub.pem", key.suite())), card.to_text()).unwrap();
        }
        let ledger = root.path().join("spool/ledger");
        if stranger(&["--module", "/dev/null"]).is_none() {
            return;
        }
        assert_eq!(both_of_ledger(&ledger, &trust, &[]), [true, true], "{began}, then {today}");
        // Once is enough: each takes two programs some seconds.
        if began == Suite::Std {
            each_broken_in_turn(&ledger, |what| {
                assert_eq!(both_of_ledger(&ledger, &trust, &[]), [false, false], "{began}, then {today}: {what}");
            });
        }
        // The note about the ledger is a hint and no more.
        let about = fs::read_to_string(ledger.join("ledger.json")).unwrap();
        let other = about.replace(&format!("\"{began}\""), &format!("\"{today}\""));
        assert_ne!(about, other);
        fs::write(ledger.join("ledger.json"), other).unwrap();
        assert_eq!(both_of_ledger(&ledger, &trust, &[]), [true, true], "{began}, then {today}, by another note");
    }
}

/// 12.3.5: a neighbour's ledger has on record which heads it was told of. Another ledger by the same keys is none of those.
#[test]
fn a_ledger_written_anew_falls_for_both_by_what_the_neighbours_ledger_witnessed() {
    let office = Office::found(Suite::Std).unwrap();
    let folder = tempfile::Builder::new().prefix("trilock-anew-").tempdir_in(ground()).unwrap();
    let day = |seed: u64| {
        let root = folder.path().join(seed.to_string());
        fs::create_dir(&root).unwrap();
        let mut world = World::new(seed, &office, Dangers::Anywhere { deaths: 0 }, &["filing-5"], &root).unwrap();
        world.run().unwrap_or_else(|fault| panic!("{}\n{fault}", world.story()));
        drop(world);
        Zone::ALL.map(|zone| root.join(zone.name()).join("ledger"))
    };
    let trust = folder.path().join("trust");
    office.write_cards(&trust).unwrap();
    let ([neighbour, told, _], [_, anew, _]) = (day(7), day(8));
    if stranger(&["--module", text(&repository().join("protocol/FORMAT.md"))]).is_none() {
        return;
    }
    assert_eq!(both_of_ledger(&told, &trust, &[text(&neighbour)]), [true, true], "as the neighbour was told");
    assert_eq!(both_of_ledger(&anew, &trust, &[]), [true, true], "by itself it holds");
    assert_eq!(both_of_ledger(&anew, &trust, &[text(&neighbour)]), [false, false], "it is not the one told of");
}

/// A page of a segment that reads as zeros, found by the node's scrub and reported: both come to the same records.
#[test]
fn a_ledger_that_lost_a_page_holds_for_both_once_it_is_reported() {
    if stranger(&["--module", "/dev/null"]).is_none() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let trust = root.path().join("trust");
    fs::create_dir(&trust).unwrap();
    let (node, key) = (Name::new("internet").unwrap(), SigningKey::generate(Suite::Std));
    let setup = Setup {
        root: root.path().join("spool"),
        node: node.clone(),
        zone: Zone::Internet,
        key: key.clone().into(),
        disk: Disk::real(),
        routes: Vec::new(),
        crossings: Vec::new(),
        now: Timestamp(1_795_348_800_000),
        index_cache_bytes: 1 << 20,
    };
    spool::create(&setup).unwrap();
    let card = KeyCard {
        zone: Zone::Internet,
        holder: node,
        role: Role::Node,
        usage: Use::Sign,
        suite: Suite::Std,
        from: "2026-11-21".to_owned(),
        until: None,
        spki: key.public().to_spki(),
    };
    fs::write(trust.join("std.pub.pem"), card.to_text()).unwrap();
    let now = setup.now;
    let spool = Spool::open(setup).unwrap();
    for at in 0..400 {
        spool.record(Record::new(Event::ConfigLoaded, Timestamp(now.0 + at)), Local::none()).unwrap();
    }
    spool.write_checkpoint().unwrap();
    let ledger = root.path().join("spool/ledger");
    let segment = spool::segment::list(&ledger).unwrap().remove(0).path;
    let file = fs::OpenOptions::new().write(true).open(segment).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0; 4_096], 4_096).unwrap();
    assert_eq!(both_of_ledger(&ledger, &trust, &[]), [false, false], "lost, and nobody says so");
    while spool.scrub_step(now).unwrap().passes == 0 {}
    let lost = spool.scrubbed().damaged;
    assert!((50..150).contains(&lost), "{lost} records of a page");
    spool.write_checkpoint().unwrap();
    assert_eq!(both_of_ledger(&ledger, &trust, &[]), [true, true], "reported");
    let told = ferry(&["--json", "ledger", "verify", "--dir", text(&ledger), "--trust", text(&trust)]);
    println!("{}", words(&told));
}

/// Do we, and does the stranger, believe a ledger, held against what others have of it?
fn both_of_ledger(ledger: &Path, trust: &Path, evidence: &[&str]) -> [bool; 2] {
    let mut ours = vec!["ledger", "verify", "--dir", text(ledger), "--trust", text(trust)];
    evidence.iter().for_each(|path| ours.extend(["--evidence", path]));
    let theirs = stranger(&[&["--trust", text(trust), "--ledger", text(ledger)], evidence].concat());
    let (ours, theirs) = (ferry(&ours), theirs.unwrap());
    if ours.status.success() != theirs.status.success() {
        println!("{}\n{}", words(&ours), words(&theirs));
    }
    [ours.status.success(), theirs.status.success()]
}

/// A bit of a record, a record less at the end, the checkpoint's size, the checkpoint's signature: broken, judged, mended.
fn each_broken_in_turn(ledger: &Path, mut judge: impl FnMut(&str)) {
    let mut segments: Vec<PathBuf> = fs::read_dir(ledger).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.retain(|path| path.extension().is_some_and(|suffix| suffix == "seg"));
    segments.sort();
    let (first, checkpoint) = (segments.first().unwrap().clone(), ledger.join("checkpoint"));
    type Break<'a> = (&'a str, &'a Path, fn(&mut Vec<u8>));
    let breaks: [Break<'_>; 4] = [
        ("a bit of the second record", &first, |bytes| bytes[200] ^= 4),
        ("half of the records", &first, |bytes| bytes.truncate(bytes.len() / 2)),
        ("the checkpoint's root", &checkpoint, |bytes| {
            let at = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(1).unwrap().0 + 3;
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        }),
        ("the checkpoint's signature", &checkpoint, |bytes| {
            let at = bytes.len() - 30;
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        }),
    ];
    for (what, path, change) in breaks {
        let good = fs::read(path).unwrap();
        let mut bytes = good.clone();
        change(&mut bytes);
        fs::write(path, bytes).unwrap();
        judge(what);
        fs::write(path, good).unwrap();
    }
}
