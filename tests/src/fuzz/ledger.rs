//! The ledger: records, local parts, checkpoints, segments.

use protocol::der_types::Octets;
use protocol::keys::SigningKey;
use protocol::ledger::{Checkpoint, Event, Local, Record};
use protocol::parcel::Label;
use protocol::receipt::Outcome;
use protocol::{Crossing, Reason, Suite, Timestamp};
use spool::segment;

use super::papers::{checkpoint, head};
use super::{Target, name, vectors};

pub(super) fn records() -> Vec<Target> {
    let mut record = Record::new(Event::ALL[0], Timestamp(1_795_305_600_000));
    record.parcel = Some(Octets([1; 16]));
    record.route = Some(name("applications"));
    record.crossing = Some(Crossing::InternetToExtranet);
    (record.epoch, record.sequence, record.through, record.trip, record.bytes) =
        (Some(1), Some(2), Some(9), Some(17), Some(1 << 40));
    record.head = Some(head());
    (record.outcome, record.reason, record.local) =
        (Some(Outcome::Delivered), Some(Reason::ALL[0]), Some(Octets([4; 32])));
    let samples = vec![record.to_bytes(), Record::new(Event::ALL[1], Timestamp(0)).to_bytes()];
    let record = Target::new("ledger record", 500_000, samples, |bytes| {
        let Ok(read) = Record::parse(bytes) else { return false };
        assert_eq!(read.to_bytes(), bytes, "one encoding");
        true
    });
    let local = Local {
        name: Some("申请.json".to_owned()),
        labels: vec![Label { name: name("area-code"), value: "652901".to_owned() }],
    };
    let samples = vec![local.to_bytes(), Local::none().to_bytes()];
    let local = Target::new("local part", 100_000, samples, |bytes| {
        let Ok(read) = Local::parse(bytes) else { return false };
        assert_eq!(read.to_bytes(), bytes, "one encoding");
        true
    });
    let mut targets = vec![record.beside(vectors("ledger record")), local];
    targets.extend(Suite::ALL.map(note));
    targets
}

fn note(suite: Suite) -> Target {
    let key = SigningKey::generate(suite);
    let checkpoint = checkpoint();
    let sample = checkpoint.sign(&key).into_bytes();
    let note = Target::new(format!("checkpoint note {suite}"), 10_000, vec![sample], move |bytes| {
        let text = String::from_utf8_lossy(bytes);
        if let Ok(read) = Checkpoint::verify(&text, &name("internet"), &key.public()) {
            assert_eq!(read, checkpoint, "a changed checkpoint verifies");
        }
        Checkpoint::parse_unverified(&text).is_ok()
    });
    note.beside(vectors("checkpoint"))
}

/// The number of a segment's first record.
const FIRST: u64 = 40;

pub(super) fn segments() -> Vec<Target> {
    let record = |event| Record::new(event, Timestamp(1_795_305_600_000)).to_bytes();
    let words = Local { name: Some("申请.json".to_owned()), labels: Vec::new() };
    let local = [&[7; 32][..], &words.to_bytes()].concat();
    let mut sample = segment::header(FIRST);
    for event in Event::ALL.into_iter().take(6) {
        sample.extend(segment::frame(&record(event), if event.code() % 2 == 0 { &local } else { &[] }));
    }
    vec![Target::new("ledger segment", 200_000, vec![sample], segment_is_whole)]
}

fn segment_is_whole(bytes: &[u8]) -> bool {
    let mut frames = segment::Frames::new(bytes, FIRST);
    let (mut next, mut whole, mut again) = (FIRST, true, segment::header(FIRST));
    for found in frames.by_ref() {
        let index = match found {
            segment::Found::Record(stored) => {
                let local = stored.local.map(|(salt, words)| [&salt[..], &words.to_bytes()].concat());
                again.extend(segment::frame(&stored.bytes, &local.unwrap_or_default()));
                stored.index
            }
            segment::Found::Unreadable { index } | segment::Found::Broken { index, .. } => {
                whole = false;
                index
            }
        };
        assert_eq!(index, next, "records are counted one by one");
        next += 1;
    }
    assert!(frames.position() <= bytes.len());
    if whole && next > FIRST {
        assert_eq!(again, bytes, "one encoding");
    }
    whole
}
