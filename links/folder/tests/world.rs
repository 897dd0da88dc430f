//! The simulated world of a gate that moves files: two nodes that die after any effect on their disks, and between them
//! a gate that reorders, delays, tears, cuts, repeats, loses, renames and refuses. No socket, no thread, no sleep; the
//! clock is a field, and one seed decides everything.
//!
//! What must hold at the end of every story: each entry arrived once, byte for byte, or is named in the gap report; and
//! once that report was carried back, all of them arrived. `WORLD_SEED=n` tells one story again, `TRILOCK_SOAK=1` tells
//! a thousand and more.
#![allow(clippy::disallowed_methods, reason = "a careless gate writes as it likes")]
#![allow(clippy::print_stdout, clippy::panic, reason = "a story that ends badly ends the test, and says which it was")]

mod ends;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use ends::{Nodes, Noise, START, admit, batch, bundle_like, commit, ground, id_of, sequence_of};
use folder_link::{Incoming, Link, Outgoing, Settings, Trouble};
use protocol::{Crossing, Timestamp, Zone};
use spool::disk::Disk;
use spool::{EntryKind, Fuse};

const SEEDS: u64 = 40;
const SEEDS_SOAK: u64 = 300;
/// Steps in which everything that can arrive without a person has arrived or is named.
const REST_STEPS: usize = 400;
/// Gap reports carried back until everything came through a gate that goes on losing.
const REPORTS_MAX: usize = 12;
/// Numbers of the papers that come back begin here.
const PAPERS_FROM: u64 = 1_000;

/// How a gate renames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Map {
    Kept,
    Dated,
    Counted,
}

/// What one gate does. Chances are one in so many, 0 never.
#[derive(Clone, Copy, Debug)]
struct Ways {
    lost: u64,
    twice: u64,
    cut: u64,
    torn: u64,
    slow: u64,
    map: Map,
    bytes_max: u64,
    suffix: &'static str,
}

/// A file inside the gate.
struct Held {
    name: String,
    bytes: Vec<u8>,
    written: Option<usize>,
}

/// One direction of a gate.
struct Gate {
    from: PathBuf,
    to: PathBuf,
    ways: Ways,
    held: Vec<Held>,
    count: u64,
    /// Files that it cut for good under a name that never comes again.
    litter: BTreeSet<String>,
}

fn listing(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).expect("a folder").map(|file| file.expect("a file").file_name());
    let mut names: Vec<String> = files.map(|name| name.into_string().expect("a name")).collect();
    names.sort();
    names
}

impl Gate {
    fn new(root: &Path, way: &str, ways: Ways) -> Gate {
        let [from, to] = ["out", "in"].map(|end| root.join(format!("{way}-{end}")));
        for folder in [&from, &to] {
            Disk::real().create_dir_all(folder).expect("a folder");
        }
        Gate { from, to, ways, held: Vec::new(), count: 0, litter: BTreeSet::new() }
    }

    fn step(&mut self, noise: &mut Noise) {
        let mut names = listing(&self.from);
        noise.shuffle(&mut names);
        for name in names {
            if name.starts_with('.') || !name.ends_with(self.ways.suffix) || noise.one_in(self.ways.slow) {
                continue;
            }
            let path = self.from.join(&name);
            let mut bytes = std::fs::read(&path).expect("bytes");
            if bytes.len() as u64 > self.ways.bytes_max {
                continue;
            }
            Disk::real().remove_file(&path).expect("taken");
            if noise.one_in(self.ways.lost) {
                continue;
            }
            let name = self.mapped(name);
            let times = 1 + u64::from(noise.one_in(self.ways.twice));
            for time in 0..times {
                // Of one that comes twice the second is whole again, or it would be loss.
                if time == 0 && noise.one_in(self.ways.cut) {
                    let end = noise.below(bytes.len() as u64);
                    bytes.truncate(usize::try_from(end).expect("short"));
                    self.litter.insert(name.clone());
                }
                self.held.push(Held { name: name.clone(), bytes: bytes.clone(), written: None });
            }
        }
        noise.shuffle(&mut self.held);
        let mut left = Vec::new();
        for mut held in std::mem::take(&mut self.held) {
            if noise.one_in(self.ways.slow) {
                left.push(held);
                continue;
            }
            let end = match held.written {
                None if noise.one_in(self.ways.torn) => {
                    usize::try_from(noise.below(held.bytes.len() as u64)).expect("short")
                }
                _ => held.bytes.len(),
            };
            // In place under its final name, as the careless ones do.
            std::fs::write(self.to.join(&held.name), &held.bytes[..end]).expect("written");
            held.written = Some(end);
            if end < held.bytes.len() {
                left.push(held);
            }
        }
        self.held = left;
    }

    fn mapped(&mut self, name: String) -> String {
        self.count += 1;
        match self.ways.map {
            Map::Kept => name,
            Map::Dated => format!("20261122-{name}.ok"),
            Map::Counted => format!("{:09}.bin", self.count),
        }
    }
}

/// A node: a process that may be dead.
struct Node {
    zone: Zone,
    fuse: Fuse,
    running: Option<(Link, Outgoing, Incoming)>,
}

struct World<'a> {
    nodes: &'a Nodes,
    noise: Noise,
    root: PathBuf,
    now: Timestamp,
    two_way: bool,
    settings: [Settings; 2],
    ends: [Node; 2],
    gates: [Gate; 2],
    deaths_left: u64,
    deaths: u64,
    /// The bytes of every entry by its number, and which were admitted.
    sent: BTreeMap<u64, Vec<u8>>,
    admitted: BTreeSet<u64>,
    /// Entries whose files left the arrivals after they were admitted: none of them may come again.
    gone: BTreeSet<u64>,
    /// What still has to enter an outbox.
    coming: [Vec<(u64, EntryKind, Vec<u8>)>; 2],
    /// What each paper that comes back acknowledges.
    papers: BTreeMap<u64, Vec<u64>>,
    owed: Vec<u64>,
    seen: BTreeSet<&'static str>,
    reports: usize,
}

impl<'a> World<'a> {
    fn new(seed: u64, nodes: &'a Nodes, root: &Path) -> World<'a> {
        let mut noise = Noise::new(seed);
        let two_way = seed % 2 == 1;
        let map = [Map::Kept, Map::Kept, Map::Dated, Map::Counted][usize::try_from(noise.below(4)).expect("short")];
        let suffix = ["", ".dat", ".zip"][usize::try_from(noise.below(3)).expect("short")];
        let chance = |noise: &mut Noise| [0, 4, 8, 20][usize::try_from(noise.below(4)).expect("short")];
        let ways = Ways {
            lost: chance(&mut noise),
            twice: chance(&mut noise),
            cut: chance(&mut noise),
            torn: chance(&mut noise).min(4),
            slow: 2 + noise.below(3),
            map,
            // One in three lets the largest entry not pass.
            bytes_max: if noise.one_in(3) { 40_000 } else { 1 << 30 },
            suffix,
        };
        let gates = [Gate::new(root, "inward", ways), Gate::new(root, "outward", ways)];
        // Rounds within the story, or none: then only a gap report brings what was lost.
        let round_every_s = if noise.one_in(2) { 30 } else { 604_800 };
        let settings = |outgoing: &Path, incoming: &Path| Settings {
            suffix: suffix.to_owned(),
            any_name: map != Map::Kept,
            round_every_s,
            ..Settings::between(Some(outgoing.to_owned()), Some(incoming.to_owned()))
        };
        let settings = [settings(&gates[0].from, &gates[1].to), settings(&gates[1].from, &gates[0].to)];
        let ends = [nodes.outer, nodes.inner].map(|zone| {
            nodes.create(root, zone);
            Node { zone, fuse: Fuse::after(u64::MAX), running: None }
        });
        World {
            nodes,
            root: root.to_owned(),
            now: START,
            two_way,
            settings,
            ends,
            gates,
            deaths_left: if seed % 5 == 4 { 0 } else { 2 + noise.below(12) },
            deaths: 0,
            sent: BTreeMap::new(),
            admitted: BTreeSet::new(),
            gone: BTreeSet::new(),
            coming: [Vec::new(), Vec::new()],
            papers: BTreeMap::new(),
            owed: Vec::new(),
            seen: BTreeSet::new(),
            reports: 0,
            noise,
        }
    }

    fn inward(&self) -> Crossing {
        Crossing::between(self.nodes.outer, self.nodes.inner).expect("neighbours")
    }

    fn outward(&self) -> Crossing {
        Crossing::between(self.nodes.inner, self.nodes.outer).expect("neighbours")
    }

    fn start(&mut self, at: usize) {
        if self.ends[at].running.is_some() {
            return;
        }
        let fuse = match self.deaths_left {
            0 => Fuse::after(u64::MAX),
            _ => Fuse::after(self.noise.below(400)),
        };
        let zone = self.ends[at].zone;
        self.ends[at].fuse = fuse.clone();
        let link = self.nodes.open(&self.root, zone, Disk::with_fuse(fuse), self.now);
        self.ends[at].running = link.and_then(|link| {
            let outgoing = Outgoing::open(&link, &self.settings[at], self.now).ok()?;
            let incoming = Incoming::open(&link, &self.settings[at], self.now).ok()?;
            Some((link, outgoing, incoming))
        });
        self.mourn(at);
        assert!(self.ends[at].running.is_some() || self.deaths > 0, "{zone} does not start");
    }

    fn mourn(&mut self, at: usize) {
        if self.ends[at].fuse.burnt() {
            self.ends[at].running = None;
            self.deaths += 1;
            self.deaths_left = self.deaths_left.saturating_sub(1);
            self.ends[at].fuse = Fuse::after(u64::MAX);
        }
    }

    fn drop_one(&mut self) {
        let Some((link, ..)) = &self.ends[0].running else { return };
        let sequence = self.sent.len() as u64 + 1;
        let bytes = if self.noise.one_in(5) {
            batch(link, self.inward(), sequence)
        } else {
            let payload = [200, 5_000, 30_000, 60_000][usize::try_from(self.noise.below(4)).expect("short")];
            bundle_like(self.inward(), sequence, payload)
        };
        let kind = if bytes.starts_with(b"TRILOCK1") { EntryKind::Bundle } else { EntryKind::Receipts };
        self.coming[0].push((sequence, kind, bytes.clone()));
        self.sent.insert(sequence, bytes);
    }

    fn commit(&mut self) {
        let crossings = [self.inward(), self.outward()];
        for at in [0, 1] {
            let Some((link, ..)) = &self.ends[at].running else { continue };
            self.coming[at].retain(|(sequence, kind, bytes)| !commit(link, crossings[at], *sequence, *kind, bytes));
            self.mourn(at);
        }
    }

    fn step(&mut self) {
        self.now = self.now.plus_ms(1_000 + self.noise.below(3_000));
        for at in [0, 1] {
            self.start(at);
        }
        self.commit();
        let mut acts = [0, 1, 2, 3, 4, 5];
        self.noise.shuffle(&mut acts);
        for act in acts {
            match act {
                0 | 1 => self.link(act),
                2 => self.gates[0].step(&mut self.noise),
                3 if self.two_way => self.gates[1].step(&mut self.noise),
                4 => self.admit_inside(),
                5 if self.two_way => self.settle_outside(),
                _ => {}
            }
        }
        if self.deaths_left > 0 && self.noise.one_in(60) {
            let at = usize::from(self.noise.one_in(2));
            self.ends[at].running = None;
        }
    }

    fn link(&mut self, at: usize) {
        let two_way = self.two_way;
        let Some((_, outgoing, incoming)) = &mut self.ends[at].running else { return };
        let sends = at == 0 || two_way;
        let receives = at == 1 || two_way;
        let mut stepped = Ok(());
        if sends {
            stepped = outgoing.step(self.now).map(drop).map_err(|error| error.to_string());
        }
        if receives && stepped.is_ok() {
            stepped = incoming.step(self.now).map(drop).map_err(|error| error.to_string());
        }
        for trouble in Trouble::ALL {
            if trouble.count(Some(&outgoing.status()), Some(&incoming.status())) > 0 {
                self.seen.insert(trouble.code());
            }
        }
        if let Err(error) = stepped {
            assert!(self.ends[at].fuse.burnt(), "end {at}: {error}");
        }
        self.mourn(at);
    }

    /// Admission: what arrived is what was sent, and is recorded once.
    fn admit_inside(&mut self) {
        let crossing = self.inward();
        let Some((link, ..)) = &self.ends[1].running else { return };
        for entry in link.spool.arrivals(crossing).completed().expect("a list") {
            let sequence = sequence_of(&entry.id);
            assert!(!self.gone.contains(&sequence), "entry {sequence} arrived twice");
            let bytes = std::fs::read(&entry.path).expect("bytes");
            assert!(self.sent.get(&sequence) == Some(&bytes), "entry {sequence} arrived with other bytes");
            // Recorded by a process that died before it knew.
            if !link.spool.bundle_taken(&entry.id).expect("an index") && !admit(link, crossing, &entry) {
                break;
            }
            if self.admitted.insert(sequence) {
                self.owed.push(sequence);
            }
            if link.spool.disk().remove_file(&entry.path).is_err() {
                break;
            }
            self.gone.insert(sequence);
        }
        self.mourn(1);
        if self.two_way && !self.owed.is_empty() && self.noise.one_in(4) {
            let Some((link, ..)) = &self.ends[1].running else { return };
            let sequence = PAPERS_FROM + self.papers.len() as u64 + 1;
            let paper = batch(link, self.outward(), sequence);
            self.coming[1].push((sequence, EntryKind::Receipts, paper));
            self.papers.insert(sequence, std::mem::take(&mut self.owed));
        }
    }

    /// A paper that came back lets what it acknowledges go.
    fn settle_outside(&mut self) {
        let (inward, outward) = (self.inward(), self.outward());
        let Some((link, ..)) = &self.ends[0].running else { return };
        for entry in link.spool.arrivals(outward).completed().expect("a list") {
            for sequence in self.papers.get(&sequence_of(&entry.id)).cloned().unwrap_or_default() {
                if let Some(done) = link.spool.outbox(inward).find(&id_of(sequence)).expect("a list")
                    && link.spool.outbox(inward).remove(&done).is_err()
                {
                    return self.mourn(0);
                }
            }
            let known = link.spool.bundle_taken(&entry.id).expect("an index");
            if !(known || admit(link, outward, &entry)) || link.spool.disk().remove_file(&entry.path).is_err() {
                break;
            }
        }
        self.mourn(0);
    }

    fn missing(&self) -> Vec<u64> {
        self.sent.keys().filter(|sequence| !self.admitted.contains(sequence)).copied().collect()
    }

    /// What the gap report names.
    fn named(&self) -> BTreeSet<u64> {
        let Some((link, ..)) = &self.ends[1].running else { return BTreeSet::new() };
        let gaps = link.spool.gaps(&link.peer, self.inward());
        gaps.iter().flat_map(|gaps| gaps.missing.iter().flat_map(|range| range.from..=range.to)).collect()
    }

    /// Runs until everything came, or what did not come is named. False where it came.
    fn rest(&mut self) -> bool {
        for step in 0..REST_STEPS {
            self.step();
            let missing = self.missing();
            if missing.is_empty() {
                return false;
            }
            let named = self.named();
            // A gate that is slow may still have something in it: it is given time before its gaps are believed.
            if step > 60 && missing.iter().all(|sequence| named.contains(sequence)) {
                return true;
            }
        }
        panic!("in silence: missing {:?}, named {:?}", self.missing(), self.named());
    }

    fn tell(&mut self) {
        for _ in 0..12 + self.noise.below(20) {
            self.step();
            for _ in 0..self.noise.below(3) {
                self.drop_one();
            }
        }
        self.start(0);
        self.drop_one();
        while self.rest() {
            self.reports += 1;
            assert!(self.reports <= REPORTS_MAX, "{} gap reports did not bring {:?}", self.reports, self.missing());
            if self.sent.values().any(|bytes| bytes.len() as u64 > self.gates[0].ways.bytes_max) {
                // What is larger than the gate passes is named as well, and the sender knows: its people mend the gate.
                assert!(
                    self.seen.contains("gate-too-large") || self.gates[0].ways.bytes_max < self.settings[0].bytes_max
                );
                self.gates[0].ways.bytes_max = 1 << 30;
            }
            let named = self.named();
            let crossing = self.inward();
            while self.ends[0].running.is_none() {
                self.start(0);
            }
            let Some((link, ..)) = &self.ends[0].running else { return };
            for entry in link.spool.outbox(crossing).entries().expect("a list") {
                if named.contains(&entry.sequence) {
                    link.spool.outbox(crossing).ask_again(&entry);
                }
            }
        }
        self.verdict();
    }

    fn verdict(&mut self) {
        // Nobody dies any more; echoes come, and change nothing.
        self.deaths_left = 0;
        for at in [0, 1] {
            self.ends[at].running = None;
        }
        for _ in 0..40 {
            self.step();
        }
        assert_eq!(self.missing(), Vec::<u64>::new(), "all came");
        assert_eq!(self.named(), BTreeSet::new(), "nothing is named that is here");
        let Some((_, _, incoming)) = &self.ends[1].running else { panic!("the inner node runs") };
        if self.gates[0].ways.cut == 0 && self.gates[0].ways.slow > 0 {
            let status = incoming.status();
            assert_eq!((status.stuck, status.unreadable, status.crowded), (0, 0, 0), "{status:?}");
        }
    }
}

fn tell(seed: u64, nodes: &Nodes) -> [u64; 3] {
    let folder = tempfile::Builder::new().prefix("trilock-gate-").tempdir_in(ground()).expect("a folder");
    let mut world = World::new(seed, nodes, folder.path());
    let (ways, two_way) = (world.gates[0].ways, world.two_way);
    let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.tell()));
    if let Err(cause) = told {
        println!(
            "seed {seed}, two-way {two_way}, {} deaths, {ways:?}: WORLD_SEED={seed} cargo nextest run -p folder-link --test world",
            world.deaths
        );
        std::panic::resume_unwind(cause);
    }
    [world.deaths, world.reports as u64, world.sent.len() as u64]
}

fn tell_all(batch: u64) {
    let nodes = Nodes::of(Zone::Internet, Zone::Extranet);
    if let Some(seed) = std::env::var("WORLD_SEED").ok().and_then(|word| word.parse().ok()) {
        if batch == 0 {
            tell(seed, &nodes);
        }
        return;
    }
    let seeds = if std::env::var_os("TRILOCK_SOAK").is_some() { SEEDS_SOAK } else { SEEDS };
    let mut sum = [0; 3];
    for seed in batch * seeds..(batch + 1) * seeds {
        let told = tell(seed, &nodes);
        sum = std::array::from_fn(|at| sum[at] + told[at]);
    }
    let [deaths, reports, entries] = sum;
    println!("{seeds} stories, {entries} entries, {deaths} deaths, {reports} gap reports carried back");
}

macro_rules! stories {
    ($($name:ident = $batch:literal;)*) => { $(#[test] fn $name() { tell_all($batch); })* };
}

stories! {
    whatever_the_gate_does_everything_arrives_once_or_is_named_and_comes_when_the_report_is_carried_back_0 = 0;
    whatever_the_gate_does_everything_arrives_once_or_is_named_and_comes_when_the_report_is_carried_back_1 = 1;
    whatever_the_gate_does_everything_arrives_once_or_is_named_and_comes_when_the_report_is_carried_back_2 = 2;
    whatever_the_gate_does_everything_arrives_once_or_is_named_and_comes_when_the_report_is_carried_back_3 = 3;
    whatever_the_gate_does_everything_arrives_once_or_is_named_and_comes_when_the_report_is_carried_back_4 = 4;
}

/// A gate that wants another suffix than is set takes nothing, not even beacons: both ends say so, and once it is set
/// right everything comes.
#[test]
fn a_gate_that_wants_another_suffix_takes_nothing_and_both_ends_say_so_until_it_is_mended() {
    let nodes = Nodes::of(Zone::Internet, Zone::Extranet);
    let folder = tempfile::Builder::new().prefix("trilock-gate-").tempdir_in(ground()).expect("a folder");
    let mut world = World::new(0, &nodes, folder.path());
    world.deaths_left = 0;
    for gate in &mut world.gates {
        gate.ways =
            Ways { lost: 0, twice: 0, cut: 0, torn: 0, slow: 2, map: Map::Kept, bytes_max: 1 << 30, suffix: ".xml" };
    }
    for settings in &mut world.settings {
        (settings.suffix, settings.any_name, settings.round_every_s) = (".dat".to_owned(), false, 604_800);
    }
    world.step();
    (0..5).for_each(|_| world.drop_one());
    for _ in 0..700 {
        world.step();
    }
    assert_eq!(world.missing().len(), 5);
    assert!(world.seen.contains("gate-stalled") && world.seen.contains("link-silent"), "{:?}", world.seen);
    for at in [0, 1] {
        world.settings[at].suffix = ".xml".to_owned();
        world.ends[at].running = None;
    }
    for _ in 0..40 {
        world.step();
    }
    assert_eq!(world.missing(), Vec::<u64>::new());
}
