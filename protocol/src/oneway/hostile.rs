//! What somebody on the wire may try, and what a sender that has gone wrong may say: nothing of it may cost more than a
//! bounded amount of memory or signatures, bring a wrong byte, or keep what is honest from arriving.

use super::beacon::{Introduction, Pulse};
use super::block;
use super::frame::Header;
use super::geometry::{BLOCK_BYTES_MAX, Geometry, SYMBOL_BYTES_MAX};
use super::plan::Waiting;
use super::receiver::{Event, Limits, Receiver, Refused, SIGNATURES_PER_S_MAX};
use super::sender::{Note, Sender};
use super::wire::{CROSSING, DISK, Dice, MEMORY, Office, limits, name, start_sender};
use super::{BlockId, Kind, Moment, NextNumber, Plan};
use crate::aead::Aead;
use crate::der_types::Octets;
use crate::keys::SigningKey;
use crate::parcel::Priority;
use crate::receipt::Head;
use crate::suite::Suite;
use crate::time::Timestamp;

fn pulse(at_ms: u64) -> Pulse {
    Pulse { at: Timestamp(at_ms), next: vec![NextNumber { epoch: 5, next: 2 }], head: Head::default() }
}

fn hear(office: &Office) -> Receiver {
    Receiver::new(office.ear(), limits(), Moment::ZERO)
}

fn entry(bytes: u64) -> Waiting {
    Waiting { id: Octets([1; 16]), kind: Kind::Bundle, priority: Priority::Normal, epoch: 5, sequence: 1, bytes }
}

/// Everything a sender has to say at a moment.
fn frames(office: &Office, sender: &mut Sender, now: Moment) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    loop {
        while let Some(plan) = sender.wants(now) {
            let bytes = block::assemble::<()>(office.suite, plan.id, &plan.pieces, |piece, place| {
                place.fill(piece.offset as u8);
                Ok(())
            });
            sender.supply(plan.id, bytes.unwrap()).unwrap();
        }
        let mut datagram = Vec::new();
        match sender.next_frame(&mut datagram) {
            Some(_) => out.push(datagram),
            None => return out,
        }
        sender.left(now, 1, true);
    }
}

fn blocks(receiver: &mut Receiver) -> usize {
    std::iter::from_fn(|| receiver.poll_event()).filter(|event| matches!(event, Event::Block(_))).count()
}

/// A sender with the right keys whose program lies: frames of any shape, with tags that fit.
struct Liar {
    key: Aead,
    introduction: Vec<u8>,
    epoch: u32,
    sequence: u64,
}

impl Liar {
    fn new(office: &Office, epoch: u32) -> Liar {
        let secret = crate::aead::fresh_key(office.suite);
        let (what, who) = ((CROSSING, office.suite, epoch), (&name("extranet"), &name("intranet")));
        let said = Introduction::make(what, who, Timestamp(1), &secret, &office.opening.public()).unwrap();
        let key = Aead::new(office.suite, &secret).unwrap();
        Liar { key, introduction: said.sign(&office.signing), epoch, sequence: 1 }
    }

    fn introduce(&self, receiver: &mut Receiver) {
        receiver.handle(Moment::ZERO, &self.beacon(1, 7)).unwrap();
    }

    fn beacon(&self, sequence: u64, at_ms: u64) -> Vec<u8> {
        let what = (CROSSING, Suite::Std, self.epoch);
        super::beacon::seal(what, sequence, &self.introduction, &pulse(at_ms), &self.key).unwrap()
    }

    fn frame(&mut self, block: BlockId, geometry: Geometry, index: u16, byte: u8) -> Vec<u8> {
        self.sequence += 1;
        let (link_epoch, link_sequence) = (self.epoch, self.sequence);
        let digest_head = [byte; 8];
        let header = Header {
            suite: Suite::Std,
            crossing: CROSSING,
            link_epoch,
            link_sequence,
            block,
            geometry,
            index,
            digest_head,
        };
        let mut out = Vec::new();
        header.seal(&self.key, &vec![byte; usize::from(geometry.symbol_bytes)], &mut out);
        out
    }
}

#[test]
fn forged_truncated_and_oversized_frames_open_no_block_and_the_true_ones_still_arrive() {
    let office = Office::new(Suite::Std);
    let mut sender = start_sender(&office, 1, Moment::ZERO);
    let mut receiver = hear(&office);
    receiver.handle(Moment::ZERO, &sender.beacon(Moment::ZERO, &pulse(7)).unwrap()).unwrap();
    sender.set_outbox(&[entry(50_000)]);
    let honest = frames(&office, &mut sender, Moment::ZERO);
    let mut dice = Dice::new(1);
    let mut refused = 0;
    for n in 0..20_000 {
        let mut bytes = honest[n % honest.len()].clone();
        match dice.roll(4) {
            0 => bytes.truncate(dice.roll(bytes.len() as u64) as usize),
            1 => bytes.extend(std::iter::repeat_n(0, 1 + dice.roll(64_000) as usize)),
            _ => {
                let at = dice.roll(bytes.len() as u64) as usize;
                bytes[at] ^= 1 + dice.roll(255) as u8;
            }
        }
        refused += u64::from(receiver.handle(Moment::ZERO, &bytes).is_err());
    }
    let counters = receiver.counters();
    assert_eq!((refused, receiver.open_blocks()), (20_000, (0, 0, 0)));
    assert_eq!(counters.auth_failed + counters.frames_bad + counters.frames_early, 20_000);
    honest.iter().for_each(|frame| receiver.handle(Moment::ZERO, frame).unwrap());
    assert_eq!(blocks(&mut receiver), 1);
}

#[test]
fn frames_that_come_again_in_any_order_and_number_make_one_block() {
    let office = Office::new(Suite::Std);
    let mut sender = start_sender(&office, 1, Moment::ZERO);
    let mut receiver = hear(&office);
    receiver.handle(Moment::ZERO, &sender.beacon(Moment::ZERO, &pulse(7)).unwrap()).unwrap();
    sender.set_outbox(&[entry(50_000)]);
    let honest = frames(&office, &mut sender, Moment::ZERO);
    let mut dice = Dice::new(2);
    for _ in 0..5_000 {
        let again = &honest[dice.roll(honest.len() as u64) as usize];
        receiver.handle(Moment::ZERO, again).unwrap();
    }
    assert_eq!((blocks(&mut receiver), receiver.counters().blocks_done), (1, 1));
    // A recording of it is of no use under the next starts: their keys are others.
    for epoch in 2..=3 {
        let beacon = start_sender(&office, epoch, Moment::ZERO).beacon(Moment::ZERO, &pulse(7)).unwrap();
        receiver.handle(Moment::ZERO, &beacon).unwrap();
    }
    let late = receiver.handle(Moment::ZERO, &honest[0]);
    assert_eq!(late, Err(Refused::EpochUnknown { epoch: 1 }));
}

#[test]
fn a_sender_that_opens_blocks_without_end_costs_the_bounds_and_what_is_honest_still_arrives() {
    let office = Office::new(Suite::Std);
    let mut receiver = hear(&office);
    let mut liar = Liar::new(&office, 1);
    liar.introduce(&mut receiver);
    let largest = Geometry::of_block(BLOCK_BYTES_MAX, SYMBOL_BYTES_MAX, 15).unwrap();
    let smallest = Geometry::checked(4_096, 4_096, 64, 64 * 4_096).unwrap();
    for number in 0..3_000 {
        let geometry = if number % 2 == 0 { largest } else { smallest };
        let frame = liar.frame(BlockId { epoch: 1, number }, geometry, (number % 7) as u16, 9);
        receiver.handle(Moment::ZERO, &frame).unwrap();
        let (open, memory, disk) = receiver.open_blocks();
        // What is judged here is what a state machine holds between two datagrams.
        assert!(open <= 64 && memory <= MEMORY + BLOCK_BYTES_MAX as usize && disk <= DISK, "{open} {memory} {disk}");
        while receiver.poll_event().is_some() {}
    }
    assert!(receiver.counters().blocks_evicted > 2_000);
    let mut sender = start_sender(&office, 2, Moment::ZERO);
    receiver.handle(Moment::ZERO, &sender.beacon(Moment::ZERO, &pulse(7)).unwrap()).unwrap();
    sender.set_outbox(&[entry(50_000)]);
    frames(&office, &mut sender, Moment::ZERO).iter().for_each(|f| receiver.handle(Moment::ZERO, f).unwrap());
    assert_eq!(blocks(&mut receiver), 1);
}

#[test]
fn a_sender_that_lies_about_a_shape_or_a_digest_harms_that_block_and_no_other() {
    let office = Office::new(Suite::Std);
    let mut receiver = hear(&office);
    let mut liar = Liar::new(&office, 1);
    liar.introduce(&mut receiver);
    let shape = Geometry::of_block(20_000, 1_408, 15).unwrap();
    let other = Geometry::of_block(20_001, 1_408, 50).unwrap();
    let block = BlockId { epoch: 1, number: 7 };
    receiver.handle(Moment::ZERO, &liar.frame(block, shape, 0, 1)).unwrap();
    for lie in [liar.frame(block, other, 1, 1), liar.frame(block, shape, 1, 2)] {
        assert_eq!(receiver.handle(Moment::ZERO, &lie), Err(Refused::ShapeChanged { id: block }));
    }
    // Symbols enough for a block whose digest is another: it is thrown away, and a later round begins afresh.
    for index in 1..shape.source {
        receiver.handle(Moment::ZERO, &liar.frame(block, shape, index, 1)).unwrap();
    }
    assert_eq!((receiver.counters().blocks_bad, blocks(&mut receiver), receiver.open_blocks().0), (1, 0, 0));
    // A directory that names more than there is does not get past the block.
    let plan_like = block::assemble::<()>(Suite::Std, block, &[], |_, _| Ok(())).unwrap();
    assert!(block::Block::open(Suite::Std, block, &block::digest_head(&plan_like), plan_like.clone()).is_err());
}

#[test]
fn forged_beacons_cost_twenty_signatures_a_second_and_a_true_start_is_heard_among_them() {
    let (office, stranger) = (Office::new(Suite::Std), SigningKey::generate(Suite::Std));
    let forger = Office { signing: stranger, ..Office::new(Suite::Std) };
    let forged: Vec<Vec<u8>> = (0..50)
        .map(|n| start_sender(&forger, 1_000 + n, Moment::ZERO).beacon(Moment::ZERO, &pulse(7)).unwrap())
        .collect();
    // Milliseconds between two forged ones.
    for every_ms in [1, 10] {
        let mut receiver = hear(&office);
        let mut true_one = start_sender(&office, 500, Moment::ZERO);
        let (mut checked, mut heard, mut dice) = ([0_u32; 40], false, Dice::new(4));
        for ms in (0..40_000_u64).step_by(every_ms) {
            let now = Moment::from_millis(ms);
            let mut datagrams = vec![forged[dice.roll(50) as usize].clone()];
            if ms % 1_000 == 0 && !heard {
                datagrams.insert(dice.roll(2) as usize, true_one.beacon(now, &pulse(7)).unwrap());
            }
            for datagram in datagrams {
                let done = receiver.handle(now, &datagram);
                heard |= done.is_ok();
                checked[(ms / 1_000) as usize] += u32::from(matches!(done, Ok(()) | Err(Refused::Introduction(_))));
            }
        }
        assert!(checked.iter().all(|count| *count <= SIGNATURES_PER_S_MAX), "{checked:?}");
        assert!(heard, "a true start was not heard among {every_ms} ms");
    }
}

/// Beacons with introductions that all differ and that nobody here believes: a true one with a signature that is none.
fn forgeries(introduction: &[u8], epoch: u32) -> impl Iterator<Item = Vec<u8>> {
    let (introduction, stranger) = (introduction.to_vec(), Aead::new(Suite::Std, &[7; 32]).unwrap());
    (1_u64..).map(move |n| {
        let mut forged = introduction.clone();
        let at = forged.len() - 8;
        forged[at..].iter_mut().zip(n.to_be_bytes()).for_each(|(byte, x)| *byte ^= x);
        super::beacon::seal((CROSSING, Suite::Std, epoch), n, &forged, &pulse(7), &stranger).unwrap()
    })
}

#[test]
fn a_flood_that_poses_as_a_second_sender_leaves_a_new_start_its_signatures() {
    let office = Office::new(Suite::Std);
    let (past, running, next) = (Liar::new(&office, 400), Liar::new(&office, 500), Liar::new(&office, 501));
    let recorded: Vec<Vec<u8>> = (1..50).map(|n| past.beacon(n, n * 1_000)).collect();
    let mut dice = Dice::new(5);
    for kind in 0..3 {
        let mut receiver = hear(&office);
        running.introduce(&mut receiver);
        let mut forged = forgeries(&running.introduction, if kind == 0 { 500 } else { 450 });
        for ms in 0..3_000 {
            let mut replayed = || recorded[dice.roll(49) as usize].clone();
            let datagram = if kind == 2 { replayed() } else { forged.next().unwrap() };
            assert!(receiver.handle(Moment::from_millis(ms), &datagram).is_err());
        }
        assert_eq!(receiver.handle(Moment::from_secs(3), &next.beacon(1, 7)), Ok(()), "kind {kind}");
    }
}

#[test]
fn introductions_that_were_refused_once_cost_no_further_signature() {
    let office = Office::new(Suite::Std);
    let (running, next) = (Liar::new(&office, 500), Liar::new(&office, 501));
    let mut receiver = hear(&office);
    running.introduce(&mut receiver);
    let forged: Vec<Vec<u8>> = forgeries(&next.introduction, 501).take(40).collect();
    for ms in 0..10_000 {
        assert!(receiver.handle(Moment::from_millis(ms), &forged[(ms % 40) as usize]).is_err());
    }
    // All forty were looked at by now, so the allowance is whole again, though they go on at a thousand a second.
    assert_eq!(receiver.handle(Moment::from_secs(10), &next.beacon(1, 7)), Ok(()));
}

#[test]
fn a_true_introduction_cannot_be_spoiled_by_sending_it_first_under_another_epoch_or_with_another_pulse() {
    let office = Office::new(Suite::Std);
    let next = Liar::new(&office, 501);
    let stranger = Aead::new(Suite::Std, &[7; 32]).unwrap();
    for epoch in [501, 502] {
        let mut receiver = hear(&office);
        for n in 0..1_000 {
            let what = (CROSSING, Suite::Std, epoch);
            let forged = super::beacon::seal(what, n, &next.introduction, &pulse(7), &stranger).unwrap();
            assert!(receiver.handle(Moment::from_millis(n), &forged).is_err());
        }
        assert_eq!(receiver.handle(Moment::from_secs(1), &next.beacon(1, 7)), Ok(()), "{epoch}");
    }
}

#[test]
fn a_true_start_is_heard_among_a_thousand_forged_ones_a_second_that_are_all_different() {
    let office = Office::new(Suite::Std);
    let next = Liar::new(&office, 501);
    for offset_ms in [0, 333, 777] {
        let mut receiver = hear(&office);
        let mut forged = forgeries(&next.introduction, 501);
        let heard = (0..10_000).find(|ms| {
            let now = Moment::from_millis(*ms);
            assert!(receiver.handle(now, &forged.next().unwrap()).is_err());
            ms % 1_000 == offset_ms && receiver.handle(now, &next.beacon(1 + ms, 7)).is_ok()
        });
        assert!(heard.is_some_and(|ms| ms < 3_000), "{heard:?}");
    }
}

#[test]
fn an_epoch_that_goes_backwards_is_refused_and_ends_in_an_alarm_and_not_in_silence() {
    let office = Office::new(Suite::Std);
    let mut receiver = hear(&office);
    let newest = start_sender(&office, 9, Moment::ZERO).beacon(Moment::ZERO, &pulse(7)).unwrap();
    receiver.handle(Moment::ZERO, &newest).unwrap();
    let mut past = start_sender(&office, 8, Moment::ZERO);
    for ms in (0..20_000).step_by(500) {
        let now = Moment::from_millis(ms);
        let refused = receiver.handle(now, &past.beacon(now, &pulse(8)).unwrap());
        assert_eq!(refused, Err(Refused::EpochPast { epoch: 8, newest: 9 }));
        receiver.tick(now);
    }
    let said: Vec<Event> = std::iter::from_fn(|| receiver.poll_event()).collect();
    assert!(said.iter().any(|event| matches!(event, Event::Silence { .. })), "{said:?}");
}

#[test]
fn two_senders_by_mistake_are_both_heard_where_they_can_be_and_told_of_always() {
    let office = Office::new(Suite::Std);
    // The clock of whoever says it, in seconds after the later one started; who is heard of first.
    for (first, second, both) in [(1, 2, true), (2, 1, false), (2, 2, false)] {
        let mut receiver = hear(&office);
        let mut ends = [start_sender(&office, first, Moment::ZERO), start_sender(&office, second, Moment::ZERO)];
        let mut said = Vec::new();
        for s in 0..30 {
            for end in &mut ends {
                let beacon = end.beacon(Moment::from_secs(s), &pulse(s * 1_000)).unwrap();
                let _ = receiver.handle(Moment::from_secs(s), &beacon);
            }
            said.extend(std::iter::from_fn(|| receiver.poll_event()));
        }
        let told = said.iter().filter(|event| matches!(event, Event::TwoSenders { .. })).count();
        assert_eq!(told, 1, "{first} and {second}: {said:?}");
        let heard = said.iter().filter(|event| matches!(event, Event::Epoch(_))).count();
        assert_eq!(heard == 2, both);
        if both {
            let mut came = 0;
            for (at, end) in ends.iter_mut().enumerate() {
                let one = Waiting { id: Octets([at as u8; 16]), ..entry(30_000) };
                end.set_outbox(&[one]);
                frames(&office, end, Moment::ZERO).iter().for_each(|f| receiver.handle(Moment::ZERO, f).unwrap());
                came += blocks(&mut receiver);
            }
            assert_eq!(came, 2);
        }
    }
}

fn told(receiver: &mut Receiver) -> usize {
    std::iter::from_fn(|| receiver.poll_event()).filter(|event| matches!(event, Event::TwoSenders { .. })).count()
}

#[test]
fn a_running_sender_that_was_copied_with_its_key_is_told_of_and_a_recording_or_a_late_beacon_of_it_is_not() {
    let office = Office::new(Suite::Std);
    let one = Liar::new(&office, 1);
    // The copy is behind, level with or ahead of the original by so many beacons, and half a second beside it.
    for ahead in [0_u64, 5, 10] {
        let mut receiver = hear(&office);
        for n in 0..30 {
            let now = Moment::from_secs(n);
            let _ = receiver.handle(now, &one.beacon(5 + n, n * 1_000));
            let _ = receiver.handle(now, &one.beacon(ahead + n, n * 1_000 + 500));
        }
        assert_eq!(told(&mut receiver), 1, "{ahead}");
    }
    let mut receiver = hear(&office);
    for n in 0..30_u64 {
        // Each comes twice, the one before comes once more, and every fourth comes behind the next one.
        let order = if n % 4 == 0 { [n + 1, n, n, n] } else { [n, n, n.saturating_sub(1), 0] };
        for at in order {
            let _ = receiver.handle(Moment::from_secs(n), &one.beacon(1 + at, at * 1_000));
        }
    }
    assert_eq!(told(&mut receiver), 0);
}

#[test]
fn of_several_senders_beside_the_newest_one_is_told_and_once_a_start() {
    let office = Office::new(Suite::Std);
    let mut receiver = hear(&office);
    let mut ends: Vec<Sender> = [4, 3, 2, 1].map(|epoch| start_sender(&office, epoch, Moment::ZERO)).into();
    let mut all = 0;
    for s in 0..60 {
        if s == 30 {
            ends.push(start_sender(&office, 5, Moment::ZERO));
        }
        for end in &mut ends {
            let _ =
                receiver.handle(Moment::from_secs(s), &end.beacon(Moment::from_secs(s), &pulse(s * 1_000)).unwrap());
        }
        all += told(&mut receiver);
    }
    assert_eq!(all, 2);
}

#[test]
fn a_recording_of_an_earlier_start_is_no_second_sender() {
    let office = Office::new(Suite::Std);
    let mut receiver = hear(&office);
    let recorded = start_sender(&office, 1, Moment::ZERO).beacon(Moment::ZERO, &pulse(0)).unwrap();
    for epoch in 2..=3 {
        let beacon = start_sender(&office, epoch, Moment::ZERO).beacon(Moment::ZERO, &pulse(5_000)).unwrap();
        receiver.handle(Moment::ZERO, &beacon).unwrap();
    }
    for s in 0..60 {
        assert!(receiver.handle(Moment::from_secs(s), &recorded).is_err());
    }
    let said: Vec<Event> = std::iter::from_fn(|| receiver.poll_event()).collect();
    assert!(!said.iter().any(|event| matches!(event, Event::TwoSenders { .. })), "{said:?}");
}

#[test]
fn a_sender_that_dies_in_the_middle_of_a_block_goes_on_with_it_under_its_next_key() {
    let office = Office::new(Suite::Std);
    let mut receiver = Receiver::new(office.ear(), Limits { memory_bytes: 1 << 20, ..limits() }, Moment::ZERO);
    let mut first = start_sender(&office, 1, Moment::ZERO);
    receiver.handle(Moment::ZERO, &first.beacon(Moment::ZERO, &pulse(7)).unwrap()).unwrap();
    first.set_outbox(&[entry(60_000)]);
    let sent = frames(&office, &mut first, Moment::ZERO);
    let plans: Vec<(Plan, u32)> = std::iter::from_fn(|| first.poll_note())
        .filter_map(|note| match note {
            Note::Cut(plan) => Some(((*plan).clone(), 0)),
            _ => None,
        })
        .collect();
    // Two of three went with the first start, and the last of three with the second one: no symbol is sent for nothing.
    let cut = sent.len() * 2 / 3;
    sent[..cut].iter().for_each(|frame| receiver.handle(Moment::ZERO, frame).unwrap());
    let mut second = start_sender(&office, 2, Moment::ZERO);
    assert_eq!(second.restore(Moment::ZERO, &[entry(60_000)], plans), 1);
    receiver.handle(Moment::ZERO, &second.beacon(Moment::ZERO, &pulse(7)).unwrap()).unwrap();
    let again = frames(&office, &mut second, Moment::ZERO);
    assert_eq!(again.len(), sent.len());
    again[cut..].iter().for_each(|frame| receiver.handle(Moment::ZERO, frame).unwrap());
    assert_eq!((blocks(&mut receiver), receiver.counters().blocks_bad), (1, 0));
}
