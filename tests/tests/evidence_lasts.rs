//! A bundle goes from an outbox for evidence that lasts, and not for one that merely stands there.
#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test fail as a test does")]
#![allow(clippy::disallowed_methods, reason = "a test makes the machine's own folder")]

use std::fs;
use std::io::Read as _;

use protocol::{Crossing, Timestamp, Zone};
use spool::{Begin, Disk, EntryKind, Fuse, Power};
use station::sealing::evidence_path;
use station::station::StationError;
use tests::twins::{Member, Running, START, found};
use tests::world::ground;

const HERE: Crossing = Crossing::InternetToExtranet;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// What a cut takes back is chance.
const STORIES: u64 = 48;
/// Taking a receipt costs fewer.
const EFFECTS_MAX: u64 = 256;

/// Brings the newest bundle alone.
fn carry_newest(from: &Running, to: &Running) {
    let outbox = from.station.spool.outbox(HERE);
    let entries = outbox.entries().unwrap();
    let entry =
        entries.iter().filter(|entry| entry.kind == EntryKind::Bundle).max_by_key(|entry| entry.sequence).unwrap();
    let Begin::Partial(mut partial) = to.station.spool.arrivals(HERE).begin(&entry.id, entry.kind, entry.size).unwrap()
    else {
        panic!("it was never offered before")
    };
    let mut bytes = Vec::new();
    outbox.content(entry).unwrap().read_to_end(&mut bytes).unwrap();
    partial.write(&bytes).unwrap();
    partial.finish().unwrap();
}

/// An office of two whose machine here may lose power.
struct Story {
    members: [Member; 2],
    power: Power,
    now: Timestamp,
    number: u32,
    _folder: tempfile::TempDir,
}

impl Story {
    fn open(&self, effects: u64) -> Result<Running, StationError> {
        self.members[0].open_with(Disk::with_power(self.power.clone(), Fuse::after(effects)), self.now)
    }

    /// A parcel of yesterday is receipted today. The process that takes the receipt dies after so many effects, the next
    /// one only starts, and the power goes. Did evidence stand there when it died?
    fn tell(&mut self, effects: u64) -> bool {
        let mut receiver = self.members[1].open(self.now).unwrap();
        let mut sender = self.open(u64::MAX).unwrap();
        self.members[0].drop_application(self.number + 1);
        sender.turn(&mut self.now).unwrap();
        let old = sender.station.spool.outbox(HERE).entries().unwrap().pop().unwrap().id;
        self.now = self.now.plus_ms(DAY_MS);
        // Something of today was receipted before: its folder is the newest.
        self.members[0].drop_application(self.number + 2);
        self.number += 2;
        sender.turn(&mut self.now).unwrap();
        carry_newest(&sender, &receiver);
        receiver.turn(&mut self.now).unwrap();
        receiver.carry_to(&sender);
        sender.turn(&mut self.now).unwrap();
        sender.carry_to(&receiver);
        receiver.turn(&mut self.now).unwrap();
        receiver.carry_to(&sender);
        let parcel = sender.station.spool.parcel_of_bundle(&old).unwrap().unwrap();
        let path = evidence_path(&sender.station, &parcel, &old);
        assert!(!path.exists(), "it was receipted too early");
        drop(sender);

        if let Ok(mut dying) = self.open(effects) {
            let _died = dying.admission.step(&dying.station, self.now);
        }
        let stands = path.exists();
        drop(self.open(u64::MAX).unwrap());
        self.power.cut().unwrap();
        let mut running = self.open(u64::MAX).unwrap();
        running.turn(&mut self.now).unwrap();
        assert!(path.exists(), "no evidence where a process died after {effects} effects of taking its receipt");
        assert!(running.station.spool.outbox(HERE).find(&old).unwrap().is_none(), "and the bundle has gone");
        stands
    }
}

#[test]
fn a_bundle_of_an_earlier_day_goes_only_when_its_evidence_lasts() {
    let folder = tempfile::tempdir_in(ground()).unwrap();
    let (members, ..) = found(folder.path(), [Zone::Internet, Zone::Extranet]);
    let grave = folder.path().join("grave");
    fs::create_dir(&grave).unwrap();
    let power = Power::on(&grave, 7).unwrap();
    let mut story = Story { members, power, now: START, number: 0, _folder: folder };
    // Up and down around the effect that puts the evidence in place: the sync that makes it last would be next. What a start
    // costs varies a little.
    let (mut effects, mut step, mut moments) = (EFFECTS_MAX / 2, EFFECTS_MAX / 4, 0);
    for _ in 0..STORIES {
        let stands = story.tell(effects);
        moments += u64::from(stands && step == 1);
        effects = if stands { effects - step } else { effects + step };
        step = (step / 2).max(1);
    }
    assert!(moments > STORIES / 4, "{moments} of {STORIES} processes died with the evidence just in place");
}
