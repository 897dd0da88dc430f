//! A past, made up: the ledger segments that an origin would have written for as many parcels as one likes. Written
//! straight as segments and much faster than any node lived through them; levels and index come from them at the first
//! start, as they do for a node that lost both.
//!
//! Every parcel has the records that a station writes about it: accepted with its local words, the next node's receipt,
//! custody passed, and what became of it in the end. Between them stand reserved numbers, receipt batches and restarts.

use std::fs;
use std::io;
use std::path::Path;

use protocol::der_types::Octets;
use protocol::id::new_id;
use protocol::keys::SigningKey;
use protocol::ledger::{Event, Local, Record};
use protocol::parcel::Label;
use protocol::receipt::Outcome;
use protocol::{Crossing, Name, ParcelId, Reason, Suite, Timestamp, Zone};
use spool::segment::{self, Health, SEGMENT_BYTES};
use spool::{Disk, Layout, RouteDirs, Setup};

/// The crossing that the parcels of this past took.
pub const OUT: Crossing = Crossing::InternetToExtranet;
/// When it began: the first second of 2025 in UTC.
const BEGAN: Timestamp = Timestamp(1_735_689_600_000);
/// One parcel a minute: a million of them are two years of a large office.
const STEP_MS: u64 = 60_000;
/// Parcels in one life of the daemon.
const LIFE: u64 = 50_000;
/// Parcels whose receipts come in one batch.
const BATCH: u64 = 16;

/// What was written.
#[derive(Clone, Copy, Debug)]
pub struct Past {
    /// Records.
    pub records: u64,
    /// Bytes of all segments.
    pub bytes: u64,
}

/// The route of all parcels.
#[must_use]
pub fn route() -> Name {
    name("apply")
}

/// The node whose past it is.
#[must_use]
pub fn node() -> Name {
    name("internet")
}

/// Its neighbour.
#[must_use]
pub fn extranet() -> Name {
    name("extranet")
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a name written in this file has the form of a name")
}

/// The moment of a parcel, by its number.
#[must_use]
pub fn moment(number: u64) -> Timestamp {
    Timestamp(BEGAN.0 + number * STEP_MS)
}

/// The id of a parcel, by its number.
#[must_use]
pub fn parcel(number: u64) -> ParcelId {
    new_id(moment(number), noise(number))
}

/// The label that exactly one parcel has.
#[must_use]
pub fn case(number: u64) -> Label {
    Label { name: name("case-no"), value: format!("BDC-2025-{number:07}") }
}

/// Is this parcel labelled? Every second one.
#[must_use]
pub fn is_labelled(number: u64) -> bool {
    number.is_multiple_of(2)
}

/// Bytes that look random and are the same in every run (splitmix64).
fn noise<const N: usize>(seed: u64) -> [u8; N] {
    let mut out = [0; N];
    let mut state = seed;
    for chunk in out.chunks_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        chunk.iter_mut().zip((z ^ (z >> 31)).to_le_bytes()).for_each(|(to, from)| *to = from);
    }
    out
}

/// How the spool of this past is opened.
#[must_use]
pub fn setup(root: &Path, key: &SigningKey, now: Timestamp) -> Setup {
    Setup {
        root: root.to_owned(),
        node: node(),
        zone: Zone::Internet,
        key: key.clone().into(),
        disk: Disk::real(),
        routes: vec![RouteDirs { route: route(), inlet: true, outlet: true }],
        crossings: vec![OUT, OUT.back()],
        now,
        index_cache_bytes: 32 << 20,
    }
}

struct Segments<'a> {
    layout: &'a Layout,
    suite: Suite,
    first: u64,
    next: u64,
    bytes: Vec<u8>,
    written: u64,
}

impl Segments<'_> {
    fn put(&mut self, mut record: Record, local: &Local) -> io::Result<()> {
        let kept = if local.is_empty() {
            Vec::new()
        } else {
            let salt = noise::<32>(!self.next);
            record.local = Some(local.digest(self.suite, &salt));
            [&salt[..], &local.to_bytes()].concat()
        };
        if self.bytes.is_empty() {
            self.first = self.next;
            self.bytes = segment::header(self.first);
        }
        self.bytes.extend_from_slice(&segment::frame(&record.to_bytes(), &kept));
        self.next += 1;
        if self.bytes.len() >= SEGMENT_BYTES { self.close() } else { Ok(()) }
    }

    fn close(&mut self) -> io::Result<()> {
        if !self.bytes.is_empty() {
            let path = self.layout.ledger().join(segment::name(self.first, Health::Sound));
            fs::write(path, &self.bytes)?;
            self.written += self.bytes.len() as u64;
            self.bytes.clear();
        }
        Ok(())
    }
}

/// Writes the segments of so many parcels into a spool that was made and never opened. The receipts of a parcel come
/// when `lag` and twice `lag` later ones were accepted.
pub fn write(root: &Path, suite: Suite, parcels: u64, lag: u64) -> io::Result<Past> {
    let layout = Layout::new(root);
    let mut out = Segments { layout: &layout, suite, first: 0, next: 0, bytes: Vec::new(), written: 0 };
    let (mut epoch, mut sequence) = (0_u64, 0_u64);
    for tick in 0..parcels + 2 * lag {
        let at = moment(tick);
        if tick.is_multiple_of(LIFE) {
            if epoch > 0 && !sequence.is_multiple_of(64) {
                let mut left = numbers(Event::SequencesWithdrawn, at, epoch, sequence + 1);
                left.through = Some(sequence.next_multiple_of(64));
                out.put(left, &Local::none())?;
            }
            (epoch, sequence) = (at.seconds(), 0);
            let mut started = Record::new(Event::EpochStarted, at);
            started.epoch = Some(epoch);
            out.put(started, &Local::none())?;
            out.put(Record::new(Event::NodeStarted, at), &Local::none())?;
        }
        if tick < parcels {
            if sequence.is_multiple_of(64) {
                let mut reserved = numbers(Event::SequencesReserved, at, epoch, sequence + 1);
                reserved.through = Some(sequence + 64);
                out.put(reserved, &Local::none())?;
            }
            sequence += 1;
            out.put(accepted(tick, at, epoch, sequence), &words(tick))?;
        }
        if let Some(number) = tick.checked_sub(lag).filter(|number| *number < parcels) {
            out.put(receipt(number, at, Outcome::Arrived), &Local::none())?;
            let mut passed = Record::new(Event::CustodyPassed, at);
            passed.parcel = Some(parcel(number));
            passed.bundle = Some(bundle(number));
            passed.peer = Some(extranet());
            passed.crossing = Some(OUT);
            out.put(passed, &Local::none())?;
        }
        if let Some(number) = tick.checked_sub(2 * lag).filter(|number| *number < parcels) {
            let outcome = if number % 100 == 99 { Outcome::Refused } else { Outcome::Delivered };
            out.put(receipt(number, at, outcome), &Local::none())?;
        }
        if tick.is_multiple_of(BATCH) {
            let mut taken = numbers(Event::NumberTaken, at, 5, tick / BATCH + 1);
            taken.crossing = Some(OUT.back());
            taken.peer = Some(extranet());
            taken.bundle = Some(new_id(at, noise(!tick)));
            out.put(taken, &Local::none())?;
        }
    }
    out.close()?;
    Ok(Past { records: out.next, bytes: out.written })
}

fn bundle(number: u64) -> protocol::BundleId {
    new_id(moment(number), noise(number ^ (1 << 63)))
}

fn numbers(event: Event, at: Timestamp, epoch: u64, sequence: u64) -> Record {
    let mut record = Record::new(event, at);
    (record.crossing, record.epoch, record.sequence) = (Some(OUT), Some(epoch), Some(sequence));
    record
}

/// What a station records where it accepts a parcel.
#[must_use]
pub fn accepted(number: u64, at: Timestamp, epoch: u64, sequence: u64) -> Record {
    let mut record = numbers(Event::Accepted, at, epoch, sequence);
    record.parcel = Some(parcel(number));
    record.bundle = Some(bundle(number));
    record.origin = Some(node());
    record.route = Some(route());
    record.parcel_type = Some(name("application"));
    record.digest = Some(Octets(noise(number)));
    record.bytes = Some(10_240 + number % 10_000);
    record
}

/// The words that stay beside it.
#[must_use]
pub fn words(number: u64) -> Local {
    let district = Label { name: name("district"), value: format!("3301{:02}", number % 13) };
    let labels = if is_labelled(number) { vec![case(number), district] } else { Vec::new() };
    Local { name: Some(format!("申请-{number:07}.zip")), labels }
}

/// What a station records where a receipt about its parcel comes.
#[must_use]
pub fn receipt(number: u64, at: Timestamp, outcome: Outcome) -> Record {
    let mut record = Record::new(Event::ReceiptTaken, at);
    record.parcel = Some(parcel(number));
    record.bundle = Some(bundle(number));
    record.peer = Some(extranet());
    record.crossing = Some(OUT);
    record.outcome = Some(outcome);
    record.reason = (outcome == Outcome::Refused).then_some(Reason::Malformed);
    record.digest = Some(Octets(noise(number)));
    record
}
