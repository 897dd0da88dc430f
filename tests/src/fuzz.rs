//! Every decoder of bytes that somebody else may have written, and every parser of the guard: valid samples, and what
//! must hold of whatever it takes. Nothing may panic, and what a strict decoder takes must be the one encoding of what it
//! read.
//!
//! One list for two drivers. [`smoke`] feeds each target samples broken at random: from a seed and counted, not timed, so
//! that a run is the same on every machine. `tests/fuzz` builds the same targets with counters in every branch, and
//! `make fuzz` has libFuzzer look for the input that takes a new one.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "what prepares a test fails as a test does")]
#![allow(clippy::cast_possible_truncation, reason = "dice far below any limit")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it says what was read when something panicked")]

mod bundles;
mod content;
mod ledger;
mod links;
mod papers;
mod texts;

pub use content::all_documents;

use std::fs;
use std::rc::Rc;

use base64ct::{Base64, Encoding};
use protocol::Name;
use protocol::parcel::OctetString;

use crate::papers::Noise;
use crate::programs::repository;

/// Input is cut here: far above what decoders cap, far below what would make a run slow.
pub const INPUT_BYTES_MAX: usize = 256 * 1024;

/// Whether it was well formed.
type Reader = Box<dyn FnMut(&[u8]) -> bool>;

/// One decoder at work.
pub struct Target {
    /// What it reads.
    pub name: String,
    /// Valid, all of them.
    pub samples: Vec<Vec<u8>>,
    /// Seeds that need not be valid.
    pub seeds: Vec<Vec<u8>>,
    /// How many mutants a smoke run makes.
    pub mutants: u64,
    read: Reader,
}

impl Target {
    fn new(
        name: impl Into<String>,
        mutants: u64,
        samples: Vec<Vec<u8>>,
        read: impl FnMut(&[u8]) -> bool + 'static,
    ) -> Target {
        Target { name: name.into(), samples, seeds: Vec::new(), mutants, read: Box::new(read) }
    }

    /// With the frozen vectors of a kind beside the samples.
    fn beside(self, seeds: Vec<Vec<u8>>) -> Target {
        Target { seeds, ..self }
    }

    /// Reads, and says whether it was well formed. Panics where something does not hold.
    pub fn read(&mut self, bytes: &[u8]) -> bool {
        (self.read)(bytes)
    }

    /// Its name as a file is called.
    #[must_use]
    pub fn slug(&self) -> String {
        self.name.replace(|c: char| !c.is_ascii_alphanumeric(), "-")
    }
}

/// A group of targets, made when they are asked for: keys are drawn for each.
pub type Family = (&'static str, fn() -> Vec<Target>);

/// All of them. Each has a test of its own in `tests/fuzz_smoke.rs`.
pub const FAMILIES: [Family; 19] = [
    ("parcel_statements_and_custody_entries", papers::of_parcels),
    ("statements_about_a_ledger", papers::of_ledgers),
    ("rollovers_trust_lists_and_endorsements", papers::of_trust),
    ("receipts_batches_and_gap_reports", papers::of_receipts),
    ("waybills_approvals_and_requests", papers::of_trips),
    ("link_keys_and_beacons", papers::of_links),
    ("frames_blocks_and_plans_of_the_one_way_link", links::one_way),
    ("frames_of_the_exchange", links::exchange),
    ("bundles_envelopes_and_evidence", bundles::bundles),
    ("backups", bundles::backups),
    ("keys_and_what_is_wrapped_to_them", bundles::keys),
    ("key_cards", texts::key_cards),
    ("rules_and_configs", texts::rules_and_configs),
    ("records_and_checkpoints_of_the_ledger", ledger::records),
    ("segments_of_the_ledger", ledger::segments),
    ("documents_before_the_guard", content::documents),
    ("parsers_of_the_guard", content::parsers),
    ("papers_on_their_routes", content::routes),
    ("questions_to_a_worker", content::questions),
];

/// Says what was being read when something panicked.
struct AtWork<'a>(&'a str, u64, &'a [u8]);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let hex: String = self.2.iter().take(4_096).map(|byte| format!("{byte:02x}")).collect();
            eprintln!("{}: mutant {} of {} bytes: {hex}", self.0, self.1, self.2.len());
        }
    }
}

/// Breaks a sample in one to four places.
#[must_use]
pub fn mutate(noise: &mut Noise, corpus: &[Vec<u8>]) -> Vec<u8> {
    let one = |noise: &mut Noise| corpus.get(noise.below(corpus.len() as u64) as usize).cloned().unwrap_or_default();
    let mut bytes = one(noise);
    for _ in 0..=noise.below(4) {
        let length = bytes.len() as u64;
        let at = noise.below(length) as usize;
        match noise.below(9) {
            0 | 1 if length > 0 => bytes[at] ^= 1 << noise.below(8),
            2 if length > 0 => bytes[at] = [0, 1, 0x30, 0x7f, 0x80, 0x81, 0x82, 0xff][noise.below(8) as usize],
            3 => bytes.truncate(at),
            4 => {
                let end = (at + noise.below(24) as usize).min(bytes.len());
                bytes.drain(at..end);
            }
            5 => {
                let piece = noise.below(24) as usize;
                let more = noise.bytes(piece);
                bytes.splice(at..at, more);
            }
            6 => {
                let other = one(noise);
                let from = noise.below(other.len() as u64) as usize;
                bytes.truncate(at);
                bytes.extend_from_slice(other.get(from..).unwrap_or_default());
            }
            // A length, of DER or of a fixed layout, a little or very wrong.
            7 if length > 0 => bytes[at] = bytes[at].wrapping_add([1, 255, 2, 254][noise.below(4) as usize]),
            8 => {
                let value =
                    [0_u32, 1, 0xffff, 0x10_000, 0x00ff_ffff, 0x7fff_ffff, 0xffff_ffff][noise.below(7) as usize];
                let wide = value.to_be_bytes();
                let wide = wide.get(noise.below(4) as usize..).unwrap_or_default();
                bytes.iter_mut().skip(at).zip(wide).for_each(|(byte, new)| *byte = *new);
            }
            _ => bytes.extend_from_slice(&one(noise)),
        }
    }
    bytes.truncate(INPUT_BYTES_MAX);
    bytes
}

/// The frozen vectors of a kind, broken ones among them: what lies right beside valid, found by people.
fn vectors(kind: &str) -> Vec<Vec<u8>> {
    let folder = repository().join("protocol/tests/vectors");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|suffix| suffix == "vector"));
    paths.sort();
    let texts = paths.iter().map(|path| fs::read_to_string(path).unwrap());
    let of_kind = texts.filter_map(|text| {
        let (head, body) = text.split_once("\n\n")?;
        let found = head.lines().find_map(|line| line.strip_prefix("kind: ")).unwrap_or("bundle");
        let body: String = body.split_whitespace().collect();
        (found == kind).then(|| Base64::decode_vec(&body).unwrap())
    });
    of_kind.collect()
}

/// A seed of its own for each target.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// The samples and seeds of each target, and so many mutants of them, through it; `times` as many where there is time.
pub fn smoke(targets: Vec<Target>, times: u64) {
    for mut target in targets {
        let what = target.name.clone();
        let corpus = [target.samples.as_slice(), &target.seeds].concat();
        for (index, sample) in corpus.iter().enumerate() {
            let at_work = AtWork(&what, index as u64, sample);
            let taken = target.read(sample);
            assert!(taken || index >= target.samples.len(), "{what}: sample {index} is valid and refused");
            drop(at_work);
        }
        let mut noise = Noise::new(hash(what.as_bytes()));
        let mut taken = 0_u64;
        for number in 0..target.mutants * times {
            let mutant = mutate(&mut noise, &corpus);
            let at_work = AtWork(&what, number, &mutant);
            taken += u64::from(target.read(&mutant));
            drop(at_work);
        }
        println!("{what}: {} mutants, {taken} well formed", target.mutants * times);
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn octets(bytes: Vec<u8>) -> OctetString {
    OctetString::new(bytes).unwrap()
}

/// Both suites, each with its keys and papers, for closures that outlive whoever made them.
fn both() -> Rc<[bundles::Samples; 2]> {
    Rc::new(protocol::Suite::ALL.map(bundles::Samples::new))
}
