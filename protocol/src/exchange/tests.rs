//! Both ends in a world without sockets: seeded, with frames delayed, streams and connections broken at any step, and
//! a receiver's disk that keeps what was written.

use std::collections::{BTreeMap, VecDeque};

use super::*;
use crate::der_types::Octets;
use crate::id::BundleId;
use crate::parcel::Priority;
use crate::time::Timestamp;

struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }
}

fn item(number: u8, kind: Kind, priority: Priority, size: u64) -> Item {
    Item { id: Octets([number; 16]), kind, priority, epoch: 1, sequence: number.into(), size }
}

fn content(item: &Item) -> Vec<u8> {
    (0..item.size).map(|at| (at as u8).wrapping_mul(7) ^ item.id.as_bytes()[0]).collect()
}

const LIMITS: ReceiverLimits = ReceiverLimits { in_flight: 4, entry_bytes_max: 4000, partial_bytes_max: 100_000 };
const SENDING: SenderLimits = SenderLimits { in_flight: 4, reoffer_ms: 60_000 };

/// One stream: what is under way in each direction, as bytes.
#[derive(Default)]
struct Stream {
    there: VecDeque<Vec<u8>>,
    back: VecDeque<Vec<u8>>,
    streaming: bool,
}

struct World {
    rng: Rng,
    now: Timestamp,
    outbox: Vec<Item>,
    sender: Sender,
    receiver: Receiver,
    streams: BTreeMap<Transfer, Stream>,
    next: u64,
    partial: BTreeMap<BundleId, Vec<u8>>,
    complete: BTreeMap<BundleId, Vec<u8>>,
    stored_times: BTreeMap<BundleId, u32>,
    sent_bytes: u64,
}

fn read(bytes: &[u8]) -> Frame<'_> {
    let (head, body) = bytes.split_first_chunk().unwrap();
    Frame::decode(FrameHead::decode(*head).unwrap(), body).unwrap()
}

impl World {
    fn new(seed: u64, outbox: Vec<Item>) -> World {
        World {
            rng: Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            now: Timestamp(0),
            outbox,
            sender: Sender::new(SENDING),
            receiver: Receiver::new(LIMITS),
            streams: BTreeMap::new(),
            next: 0,
            partial: BTreeMap::new(),
            complete: BTreeMap::new(),
            stored_times: BTreeMap::new(),
            sent_bytes: 0,
        }
    }

    fn reconnect(&mut self) {
        for transfer in std::mem::take(&mut self.streams).into_keys() {
            self.receiver.closed(self.now, transfer);
        }
        self.sender = Sender::new(SENDING);
    }

    fn break_stream(&mut self, transfer: Transfer) {
        self.streams.remove(&transfer);
        self.sender.failed(self.now, transfer);
        self.receiver.closed(self.now, transfer);
    }

    fn step(&mut self) {
        self.now = self.now.plus_ms(self.rng.below(50) as u64);
        self.sender.list(self.now, &self.outbox);
        while let Some(item) = self.sender.offer(Transfer(self.next)) {
            self.streams.entry(Transfer(self.next)).or_default().there.push_back(Frame::Offer(item).encode());
            self.next += 1;
        }
        assert!(self.sender.in_flight() <= 8 && self.receiver.in_flight() <= 16);
        // Streams move in any order: that is the reordering QUIC allows.
        let Some(transfer) = self.streams.keys().nth(self.rng.below(self.streams.len().max(1))).copied() else {
            return;
        };
        if self.rng.below(2) == 0 { self.move_there(transfer) } else { self.move_back(transfer) }
    }

    fn move_there(&mut self, transfer: Transfer) {
        let stream = self.streams.get_mut(&transfer).unwrap();
        if stream.streaming
            && stream.there.len() < 3
            && let Some((offset, length)) = self.sender.piece(transfer, 600)
        {
            let item = self.sender_item(transfer);
            let bytes = content(&item);
            let from = usize::try_from(offset).unwrap();
            let bytes = &bytes[from..from + length as usize];
            self.sent_bytes += bytes.len() as u64;
            let frame = Frame::Chunk { offset, bytes }.encode();
            self.streams.get_mut(&transfer).unwrap().there.push_back(frame);
        }
        let Some(bytes) = self.streams.get_mut(&transfer).unwrap().there.pop_front() else { return };
        let frame = read(&bytes);
        let mut next = self.receiver.handle_frame(self.now, transfer, &frame).unwrap();
        if let Receiving::Ask(item) = next {
            let begun = if self.complete.contains_key(&item.id) {
                Begun::Have
            } else if self.rng.below(20) == 0 {
                Begun::Full
            } else {
                Begun::Partial { offset: self.partial.entry(item.id).or_default().len() as u64 }
            };
            next = self.receiver.begun(transfer, begun);
        }
        let id = self.sender_item(transfer).id;
        if let (Frame::Chunk { bytes, .. }, Receiving::Write | Receiving::Finish) = (&frame, next) {
            self.partial.get_mut(&id).unwrap().extend(*bytes);
        }
        let answer = match next {
            Receiving::Have => Frame::Have,
            Receiving::Want { offset } => Frame::Want { offset },
            Receiving::Later(limit) => Frame::Later { seconds: limit.later_s() },
            Receiving::Finish => {
                self.complete.insert(id, self.partial.remove(&id).unwrap());
                *self.stored_times.entry(id).or_default() += 1;
                self.receiver.stored(transfer);
                Frame::Stored
            }
            _ => return,
        };
        self.streams.get_mut(&transfer).unwrap().back.push_back(answer.encode());
    }

    fn move_back(&mut self, transfer: Transfer) {
        let Some(bytes) = self.streams.get_mut(&transfer).unwrap().back.pop_front() else { return };
        let item = self.sender_item(transfer);
        match self.sender.handle_frame(self.now, transfer, &read(&bytes)).unwrap() {
            Sending::From { .. } => self.streams.get_mut(&transfer).unwrap().streaming = true,
            Sending::Done { remove } => {
                assert!(self.complete.contains_key(&item.id), "done only when it is durable");
                assert_eq!(remove, item.kind == Kind::Receipts);
                self.outbox.retain(|held| !remove || held.id != item.id);
                self.streams.remove(&transfer);
            }
            Sending::Deferred { .. } => {
                self.streams.remove(&transfer);
            }
        }
    }

    fn sender_item(&self, transfer: Transfer) -> Item {
        self.sender.item(transfer).unwrap()
    }

    fn finished(&self) -> bool {
        self.outbox.iter().all(|item| self.complete.contains_key(&item.id) && item.kind == Kind::Bundle)
    }
}

fn full_outbox() -> Vec<Item> {
    let mut items: Vec<Item> = (0..24)
        .map(|at: u8| {
            let kind = if at.is_multiple_of(3) { Kind::Receipts } else { Kind::Bundle };
            item(at, kind, Priority::ALL[usize::from(at) % 3], 1 + u64::from(at) * 150)
        })
        .collect();
    items.sort_by_key(|item| (item.priority, item.sequence));
    items
}

#[test]
fn every_entry_arrives_whole_and_once_whatever_breaks_and_whenever() {
    for seed in 0..400u64 {
        let items = full_outbox();
        let mut world = World::new(seed, items.clone());
        let mut breaks = seed % 12;
        for step in 0.. {
            assert!(step < 400_000, "seed {seed} does not end");
            world.step();
            if breaks > 0 && world.rng.below(60) == 0 {
                breaks -= 1;
                match world.streams.keys().next().copied() {
                    Some(transfer) if breaks % 2 == 0 => world.break_stream(transfer),
                    _ => world.reconnect(),
                }
            }
            if world.finished() {
                break;
            }
        }
        for item in &items {
            assert_eq!(world.complete.get(&item.id), Some(&content(item)), "seed {seed}");
            assert_eq!(world.stored_times.get(&item.id), Some(&1), "seed {seed}: stored once");
        }
    }
}

#[test]
fn a_connection_cut_at_every_step_loses_nothing_and_resends_only_what_was_under_way() {
    let one = item(9, Kind::Receipts, Priority::Normal, 3500);
    for cut in 0..60 {
        let mut world = World::new(3, vec![one]);
        for step in 0..20_000 {
            if step == cut {
                world.reconnect();
            }
            world.step();
        }
        assert!(world.outbox.is_empty() && world.complete.get(&one.id) == Some(&content(&one)), "cut at {cut}");
        assert!(world.sent_bytes <= 3500 + 4 * 600, "cut at {cut}: {} bytes for 3500", world.sent_bytes);
    }
}

#[test]
fn an_urgent_entry_is_offered_at_once_beside_any_amount_of_bulk() {
    let mut sender = Sender::new(SENDING);
    let bulk: Vec<Item> = (0..50).map(|at| item(at, Kind::Bundle, Priority::Bulk, 1 << 40)).collect();
    sender.list(Timestamp(0), &bulk);
    let offered = (0..).map_while(|at| sender.offer(Transfer(at))).count();
    assert_eq!(offered, 3, "the last place is left to a normal entry");
    let mut all = vec![item(100, Kind::Bundle, Priority::Urgent, 1), item(101, Kind::Bundle, Priority::Normal, 1)];
    all.extend(bulk);
    sender.list(Timestamp(1), &all);
    assert_eq!(sender.offer(Transfer(60)).map(|item| item.sequence), Some(100));
    assert_eq!(sender.offer(Transfer(61)).map(|item| item.sequence), Some(101));
    assert_eq!(sender.offer(Transfer(62)), None);
}

#[test]
fn a_bundle_the_peer_has_rests_and_comes_after_new_ones_when_it_is_offered_again() {
    let mut sender = Sender::new(SenderLimits { in_flight: 1, reoffer_ms: 60_000 });
    let (old, new) = (item(1, Kind::Bundle, Priority::Normal, 5), item(2, Kind::Bundle, Priority::Normal, 5));
    sender.list(Timestamp(0), &[old]);
    assert_eq!(sender.offer(Transfer(0)), Some(old));
    let done = sender.handle_frame(Timestamp(0), Transfer(0), &Frame::Have);
    assert_eq!(done, Ok(Sending::Done { remove: false }));
    sender.list(Timestamp(59_999), &[old]);
    assert_eq!((sender.offer(Transfer(1)), sender.next_wake(Timestamp(59_999))), (None, Some(Timestamp(60_000))));
    sender.list(Timestamp(60_000), &[old, new]);
    assert_eq!(sender.offer(Transfer(2)), Some(new));
}

#[test]
fn failures_back_off_and_a_later_is_bounded() {
    let mut sender = Sender::new(SENDING);
    let one = item(1, Kind::Bundle, Priority::Normal, 5);
    let mut now = Timestamp(0);
    let mut waits = Vec::new();
    for at in 0..10 {
        sender.list(now, &[one]);
        assert_eq!(sender.offer(Transfer(at)), Some(one));
        sender.failed(now, Transfer(at)).unwrap();
        let wake = sender.next_wake(now).unwrap();
        waits.push(wake.since(now));
        now = wake;
    }
    assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000]);
    sender.list(now, &[one]);
    sender.offer(Transfer(99)).unwrap();
    let later = sender.handle_frame(now, Transfer(99), &Frame::Later { seconds: u32::MAX });
    assert_eq!(later, Ok(Sending::Deferred { seconds: 3600 }));
}

#[test]
fn a_sender_refuses_answers_that_no_honest_receiver_gives() {
    let one = item(1, Kind::Bundle, Priority::Normal, 1000);
    let after = |frames: &[Frame<'_>]| {
        let mut sender = Sender::new(SENDING);
        sender.list(Timestamp(0), &[one]);
        sender.offer(Transfer(0)).unwrap();
        frames.iter().map(|frame| sender.handle_frame(Timestamp(0), Transfer(0), frame)).last().unwrap()
    };
    let want = |offset| Frame::Want { offset };
    assert!(matches!(after(&[want(1000)]), Err(ExchangeError::PastTheEnd { .. })));
    assert!(matches!(after(&[want(u64::MAX)]), Err(ExchangeError::PastTheEnd { .. })));
    assert!(matches!(after(&[want(0), want(0)]), Err(ExchangeError::OutOfTurn { .. })));
    assert!(matches!(after(&[want(0), Frame::Have]), Err(ExchangeError::OutOfTurn { .. })));
    assert!(matches!(after(&[want(0), Frame::Stored]), Err(ExchangeError::WrongOffset { .. })));
    assert!(matches!(after(&[Frame::Have, Frame::Have]), Err(ExchangeError::OutOfTurn { .. })));
    assert!(matches!(after(&[Frame::Offer(one)]), Err(ExchangeError::OutOfTurn { .. })));
    assert!(matches!(after(&[Frame::Chunk { offset: 0, bytes: b"x" }]), Err(ExchangeError::OutOfTurn { .. })));
}

#[test]
fn a_receiver_refuses_frames_that_no_honest_sender_sends() {
    let one = item(1, Kind::Bundle, Priority::Normal, 1000);
    let after = |frames: &[Frame<'_>]| {
        let mut receiver = Receiver::new(LIMITS);
        receiver.handle_frame(Timestamp(0), Transfer(0), &Frame::Offer(one)).unwrap();
        assert_eq!(receiver.begun(Transfer(0), Begun::Partial { offset: 400 }), Receiving::Want { offset: 400 });
        frames.iter().map(|frame| receiver.handle_frame(Timestamp(0), Transfer(0), frame)).last().unwrap()
    };
    let chunk = |offset, bytes: usize| Frame::Chunk { offset, bytes: &[0; 2000][..bytes] };
    assert_eq!(after(&[chunk(400, 600)]), Ok(Receiving::Finish));
    assert_eq!(after(&[chunk(400, 599)]), Ok(Receiving::Write));
    assert!(matches!(after(&[chunk(0, 10)]), Err(ExchangeError::WrongOffset { found: 0, expected: 400 })));
    assert!(matches!(after(&[chunk(u64::MAX, 10)]), Err(ExchangeError::WrongOffset { .. })));
    assert!(matches!(after(&[chunk(400, 601)]), Err(ExchangeError::PastTheEnd { size: 1000, reached: 1001 })));
    assert!(matches!(after(&[chunk(400, 600), chunk(1000, 1)]), Err(ExchangeError::OutOfTurn { .. })));
    assert!(matches!(after(&[Frame::Offer(one)]), Err(ExchangeError::OutOfTurn { .. })));
    assert!(matches!(after(&[Frame::Stored]), Err(ExchangeError::OutOfTurn { .. })));
    let first = Receiver::new(LIMITS).handle_frame(Timestamp(0), Transfer(0), &chunk(0, 1));
    assert!(matches!(first, Err(ExchangeError::OutOfTurn { found: "chunk", expected: "offer" })));
}

#[test]
fn a_peer_over_its_share_is_deferred_and_what_it_abandoned_counts_until_it_is_forgotten() {
    let limits = ReceiverLimits { in_flight: 2, entry_bytes_max: 1000, partial_bytes_max: 1500 };
    let mut receiver = Receiver::new(limits);
    let mut at = 0;
    let mut offer = |receiver: &mut Receiver, now: u64, number: u8, size: u64| {
        at += 1;
        let offer = Frame::Offer(item(number, Kind::Bundle, Priority::Normal, size));
        (Transfer(at), receiver.handle_frame(Timestamp(now), Transfer(at), &offer))
    };
    assert_eq!(offer(&mut receiver, 0, 1, 1001).1, Ok(Receiving::Later(Limit::EntryBytes)));
    assert_eq!(offer(&mut receiver, 0, 1, u64::MAX).1, Ok(Receiving::Later(Limit::EntryBytes)));
    let (first, asked) = offer(&mut receiver, 0, 1, 1000);
    assert!(matches!(asked, Ok(Receiving::Ask(_))));
    assert_eq!(offer(&mut receiver, 0, 1, 1000).1, Ok(Receiving::Later(Limit::Busy)));
    assert_eq!(offer(&mut receiver, 0, 2, 600).1, Ok(Receiving::Later(Limit::PartialBytes)));
    receiver.begun(first, Begun::Partial { offset: 0 });
    receiver.closed(Timestamp(10), first);
    assert_eq!(offer(&mut receiver, 20, 2, 600).1, Ok(Receiving::Later(Limit::PartialBytes)));
    let (again, asked) = offer(&mut receiver, 30, 1, 1000);
    assert!(matches!(asked, Ok(Receiving::Ask(_))), "its own entry may always be resumed");
    receiver.closed(Timestamp(40), again);
    assert!(matches!(offer(&mut receiver, 3_600_041, 2, 600).1, Ok(Receiving::Ask(_))));
    assert_eq!(receiver.partial_bytes(), 600);
    // More streams than two connections of two places, urgent and not, can have.
    let results: Vec<_> = (10..30).map(|number| offer(&mut receiver, 3_600_050, number, 1).1).collect();
    assert!(matches!(results.last(), Some(Err(ExchangeError::TooManyInFlight { allowed: 8, .. }))));
    assert_eq!(receiver.in_flight(), 8);
}
