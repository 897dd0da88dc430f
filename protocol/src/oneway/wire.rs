//! A simulated wire with a seed: no sockets, no sleeps. It loses, repeats, delays, cuts and forges datagrams and kills
//! either end; what must hold afterwards: every entry is delivered bit for bit or named as a gap, memory stays
//! within its bounds, and on a wire that works again everything arrives.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::beacon::{Introduction, Pulse};
use super::block;
use super::gap::{Numbers, Ranges};
use super::geometry::{Geometry, symbol_bytes_for};
use super::open_block::Symbol;
use super::receiver::{Ear, Event, Limits, Receiver};
use super::sender::{Note, Sender, Tuning};
use super::{BlockId, Kind, Moment, NextNumber, Plan, Waiting};
use crate::aead::Aead;
use crate::der_types::Octets;
use crate::id::BundleId;
use crate::keys::{KeyError, OpeningKey, SigningKey};
use crate::name::Name;
use crate::parcel::Priority;
use crate::receipt::Head;
use crate::suite::Suite;
use crate::time::Timestamp;
use crate::trust::{KeyCard, Role, Trust, Use};
use crate::zone::{Crossing, Zone};

pub(super) const CROSSING: Crossing = Crossing::ExtranetToIntranet;
pub(super) const MEMORY: usize = 300_000;
pub(super) const DISK: u64 = 2_000_000;
/// Datagrams somebody on the wire keeps, to bring them again at another time.
const RECORDED_MAX: u64 = 64;
const STEP: Moment = Moment::from_millis(10);

/// SplitMix64.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Dice {
        Dice(seed)
    }
    pub(super) fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % below.max(1)
    }
    fn chance(&mut self, per_mille: u64) -> bool {
        self.roll(1_000) < per_mille
    }
}

/// Keys are dear, so a test makes them once.
pub(super) struct Office {
    pub(super) suite: Suite,
    pub(super) signing: SigningKey,
    pub(super) opening: OpeningKey,
    pub(super) trust: Arc<Trust>,
}

pub(super) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

impl Office {
    pub(super) fn new(suite: Suite) -> Office {
        let signing = SigningKey::generate(suite);
        let card = KeyCard {
            zone: Zone::Extranet,
            holder: name("extranet"),
            role: Role::Node,
            usage: Use::Sign,
            suite,
            from: "2026-11-21".to_owned(),
            until: None,
            spki: signing.public().to_spki(),
        };
        let mut trust = Trust::default();
        trust.add("extranet.pem", &card.to_text()).unwrap();
        Office { suite, signing, opening: OpeningKey::generate(suite), trust: Arc::new(trust) }
    }

    pub(super) fn ear(&self) -> Ear {
        let opening = self.opening.clone();
        Ear {
            crossing: CROSSING,
            suite: self.suite,
            source: name("extranet"),
            me: name("intranet"),
            trust: self.trust.clone(),
            unwrap: Box::new(move |said: &Introduction| {
                opening.unwrap_key(said.wrapped.as_bytes(), &said.wrap_context())
            }),
        }
    }
}

/// How bad the wire is, in per mille.
#[derive(Clone, Copy, Debug, Default)]
struct Weather {
    loss: u64,
    burst: u64,
    repeat: u64,
    delay: u64,
    cut: u64,
    flip: u64,
    forge: u64,
    /// An old datagram comes again, of whatever start.
    replay: u64,
    /// The sender's own kernel refuses a datagram.
    refuse: u64,
    kill: u64,
    rot: u64,
}

struct World<'a> {
    office: &'a Office,
    dice: Dice,
    weather: Weather,
    now: Moment,
    link_epoch: u32,
    sender: Sender,
    outbox: Vec<(Waiting, Vec<u8>)>,
    sequence: u64,
    plans: BTreeMap<BlockId, (Plan, u32)>,
    wire: Vec<(Moment, Vec<u8>)>,
    outage: u64,
    receiver: Receiver,
    files: HashMap<BlockId, (Geometry, [u8; 8], Vec<Symbol>)>,
    parts: HashMap<BundleId, (Ranges, Vec<u8>)>,
    got: HashMap<BundleId, Vec<u8>>,
    sent: HashMap<BundleId, Vec<u8>>,
    numbers: Numbers,
    last_wire: Vec<u8>,
    recorded: Vec<Vec<u8>>,
}

pub(super) fn tuning() -> Tuning {
    Tuning {
        block_bytes: 64 << 10,
        symbol_bytes: symbol_bytes_for(1_200, false),
        repair_percent: 15,
        repair_first_percent: 5,
        interleave: 2,
        round_every: Moment::from_secs(2),
        round_every_max: Moment::from_secs(8),
    }
}

pub(super) fn limits() -> Limits {
    Limits { memory_bytes: MEMORY, disk_bytes: DISK, blocks: 64, silence_after: Moment::from_secs(10) }
}

/// What the sender's clock says at a moment.
fn wall(now: Moment) -> Timestamp {
    Timestamp(1 + now.as_millis() as u64)
}

pub(super) fn start_sender(office: &Office, epoch: u32, now: Moment) -> Sender {
    let secret = crate::aead::fresh_key(office.suite);
    let what = (CROSSING, office.suite, epoch);
    let (source, target) = (name("extranet"), name("intranet"));
    let introduction =
        Introduction::make(what, (&source, &target), wall(now), &secret, &office.opening.public()).unwrap();
    Sender::new(tuning(), what, introduction.sign(&office.signing), Aead::new(office.suite, &secret).unwrap(), now)
}

impl<'a> World<'a> {
    fn new(office: &'a Office, seed: u64, weather: Weather) -> World<'a> {
        World {
            office,
            dice: Dice::new(seed),
            weather,
            now: Moment::ZERO,
            link_epoch: 1,
            sender: start_sender(office, 1, Moment::ZERO),
            outbox: Vec::new(),
            sequence: 0,
            plans: BTreeMap::new(),
            wire: Vec::new(),
            outage: 0,
            receiver: Receiver::new(office.ear(), limits(), Moment::ZERO),
            files: HashMap::new(),
            parts: HashMap::new(),
            got: HashMap::new(),
            sent: HashMap::new(),
            numbers: Numbers::default(),
            last_wire: Vec::new(),
            recorded: Vec::new(),
        }
    }

    fn drop_in(&mut self) {
        self.sequence += 1;
        let size = [0, 300, 10_240, 10_240, 40_000, 200_000][self.dice.roll(6) as usize];
        let priority = Priority::ALL[self.dice.roll(3) as usize];
        let bytes: Vec<u8> = (0..size).map(|_| self.dice.roll(256) as u8).collect();
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.sequence.to_be_bytes());
        let waiting =
            Waiting { id: Octets(id), kind: Kind::Bundle, priority, epoch: 5, sequence: self.sequence, bytes: size };
        self.sent.insert(waiting.id, bytes.clone());
        self.outbox.push((waiting, bytes));
        self.tell_sender();
    }

    fn waiting(&self) -> Vec<Waiting> {
        self.outbox.iter().map(|(waiting, _)| *waiting).collect()
    }

    fn tell_sender(&mut self) {
        let waiting = self.waiting();
        self.sender.set_outbox(&waiting);
    }

    /// A ferry brought receipts: what arrived leaves the outbox.
    fn settle(&mut self) {
        let got = &self.got;
        self.outbox.retain(|(waiting, _)| !got.contains_key(&waiting.id));
        self.tell_sender();
    }

    fn restart_sender(&mut self) {
        self.link_epoch += 1;
        self.sender = start_sender(self.office, self.link_epoch, self.now);
        if self.dice.chance(300) {
            self.plans.clear();
        }
        let waiting = self.waiting();
        self.sender.restore(self.now, &waiting, self.plans.values().cloned().collect());
        self.tell_sender();
    }

    fn restart_receiver(&mut self) {
        if self.dice.chance(500) {
            self.receiver.spill_all();
            self.events();
        }
        self.receiver = Receiver::new(self.office.ear(), limits(), self.now);
        for (id, (geometry, head, symbols)) in &self.files {
            let indices: Vec<u16> = symbols.iter().map(|(index, _)| *index).collect();
            self.receiver.restore(self.now, *id, *geometry, *head, &indices);
        }
        self.events();
    }

    fn step(&mut self) {
        self.now += STEP;
        if self.dice.chance(self.weather.kill) {
            self.restart_sender();
        }
        if self.dice.chance(self.weather.kill) {
            self.restart_receiver();
        }
        self.send();
        let now = self.now;
        let (due, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.wire).into_iter().partition(|(at, _)| *at <= now);
        self.wire = later;
        for (_, datagram) in due {
            let _ = self.receiver.handle(now, &datagram);
            self.events();
        }
        self.receiver.tick(now);
        self.events();
        let (_, memory, disk) = self.receiver.open_blocks();
        assert!(memory <= MEMORY + 80_000 && disk <= DISK, "{memory} {disk}");
    }

    fn send(&mut self) {
        if self.sender.beacon_is_due(self.now) {
            let next = vec![NextNumber { epoch: 5, next: self.sequence + 1 }];
            let pulse = Pulse { at: wall(self.now), next, head: Head::default() };
            let datagram = self.sender.beacon(self.now, &pulse).unwrap();
            self.launch(datagram);
        }
        while let Some(plan) = self.sender.wants(self.now) {
            let sent = &self.sent;
            let room = self.sender.room();
            let bytes = block::assemble_in::<()>(room, self.office.suite, plan.id, &plan.pieces, |piece, place| {
                let from = piece.offset as usize;
                place.copy_from_slice(&sent[&piece.entry][from..from + place.len()]);
                Ok(())
            });
            self.sender.supply(plan.id, bytes.unwrap()).unwrap();
        }
        for _ in 0..40 {
            let mut datagram = Vec::new();
            if self.sender.next_frame(&mut datagram).is_none() {
                break;
            }
            // An interface of the sender that is down: the round must not count.
            let refused = self.dice.chance(self.weather.refuse);
            if !refused {
                self.launch(datagram);
            }
            self.sender.left(self.now, 1, !refused);
        }
        while let Some(note) = self.sender.poll_note() {
            match note {
                Note::Cut(plan) => drop(self.plans.insert(plan.id, ((*plan).clone(), 0))),
                Note::Round { block, sent } => self.plans.get_mut(&block).into_iter().for_each(|plan| plan.1 = sent),
                Note::Retired(id) => drop(self.plans.remove(&id)),
                Note::EntryRound { entry, rounds } => {
                    assert_eq!(self.sender.rounds(&entry).max(rounds), self.sender.rounds(&entry))
                }
            }
        }
    }

    fn launch(&mut self, mut datagram: Vec<u8>) {
        let Weather { loss, burst, repeat, delay, cut, flip, forge, replay, .. } = self.weather;
        if self.dice.chance(20) {
            let at = self.dice.roll(RECORDED_MAX) as usize;
            match self.recorded.get_mut(at) {
                Some(place) => place.clone_from(&datagram),
                None => self.recorded.push(datagram.clone()),
            }
        }
        if self.dice.chance(replay) && !self.recorded.is_empty() {
            let at = self.dice.roll(self.recorded.len() as u64) as usize;
            self.wire.push((self.now, self.recorded[at].clone()));
        }
        if self.dice.chance(forge) {
            let mut forged = self.last_wire.clone();
            let at = self.dice.roll(forged.len() as u64) as usize;
            forged.iter_mut().skip(at).take(4).for_each(|byte| *byte = byte.wrapping_add(1));
            self.wire.push((self.now, forged));
        }
        if self.outage > 0 {
            self.outage -= 1;
            return;
        }
        if self.dice.chance(burst) {
            self.outage = self.dice.roll(60);
            return;
        }
        if self.dice.chance(loss) {
            return;
        }
        let late = if self.dice.chance(delay) { self.now + STEP * (self.dice.roll(30) as u32) } else { self.now };
        if self.dice.chance(repeat) {
            self.wire.push((late + STEP, datagram.clone()));
        }
        self.last_wire.clone_from(&datagram);
        if self.dice.chance(cut) {
            datagram.truncate(self.dice.roll(datagram.len() as u64) as usize);
        }
        if self.dice.chance(flip) {
            let at = self.dice.roll(datagram.len() as u64 * 8);
            if let Some(byte) = datagram.get_mut((at / 8) as usize) {
                *byte ^= 1 << (at % 8);
            }
        }
        self.wire.push((late, datagram));
    }

    fn events(&mut self) {
        while let Some(event) = self.receiver.poll_event() {
            match event {
                Event::Block(block) => {
                    for (piece, bytes) in block.pieces() {
                        let part = self.parts.entry(piece.entry).or_default();
                        part.1.resize(piece.entry_bytes as usize, 0);
                        part.1[piece.offset as usize..piece.end() as usize].copy_from_slice(bytes);
                        part.0.insert(piece.offset, piece.end());
                        if part.0.covers(0, piece.entry_bytes) {
                            assert!(part.1 == self.sent[&piece.entry], "a wrong byte in entry {}", piece.sequence);
                            self.got.insert(piece.entry, part.1.clone());
                            self.numbers.take(piece.epoch, piece.sequence);
                        }
                    }
                    // The next block lies where this one did, and must hold nothing of it.
                    self.receiver.emptied(block.into_room());
                }
                Event::Spill { id, geometry, digest_head, mut symbols } => {
                    if self.dice.chance(self.weather.rot) {
                        symbols.first_mut().and_then(|(_, bytes)| bytes.first_mut()).into_iter().for_each(|b| *b ^= 1);
                    }
                    self.files.entry(id).or_insert((geometry, digest_head, Vec::new())).2.append(&mut symbols);
                }
                Event::Recall(id) => {
                    let symbols = self.files.get(&id).map(|file| file.2.clone()).unwrap_or_default();
                    self.receiver.recalled(id, &symbols);
                }
                Event::Forget(id) => drop(self.files.remove(&id)),
                Event::Pulse { pulse, .. } => pulse.next.into_iter().for_each(|next| self.numbers.announce(next)),
                Event::Evicted(_) | Event::Epoch(_) | Event::Silence { .. } | Event::Heard => {}
                Event::TwoSenders { other, newest } => panic!("there is one sender, not {other} beside {newest}"),
            }
        }
    }

    /// Delivered, or named.
    fn check(&self) {
        let gaps = self.numbers.gaps();
        let announced = self.numbers.next().first().map_or(1, |next| next.next);
        for sequence in 1..announced {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&sequence.to_be_bytes());
            let named = gaps.iter().any(|gap| gap.missing.iter().any(|r| r.from <= sequence && sequence <= r.to));
            assert_ne!(self.got.contains_key(&Octets(id)), named, "entry {sequence}: {gaps:?}");
        }
    }

    fn run_until_all_arrived(&mut self, steps: u32) {
        for _ in 0..steps {
            if self.got.len() == self.sent.len() && self.numbers.gaps().is_empty() {
                return;
            }
            self.step();
        }
        panic!("{} of {} arrived; {:?}", self.got.len(), self.sent.len(), self.receiver.counters());
    }
}

fn stormy(dice: &mut Dice) -> Weather {
    Weather {
        loss: dice.roll(101),
        burst: dice.roll(3),
        repeat: dice.roll(100),
        delay: dice.roll(300),
        cut: dice.roll(20),
        flip: dice.roll(20),
        forge: dice.roll(50),
        replay: dice.roll(50),
        refuse: dice.roll(3),
        kill: dice.roll(6),
        rot: dice.roll(100),
    }
}

fn one_world(office: &Office, seed: u64) {
    let weather = stormy(&mut Dice::new(seed ^ 0x5eed));
    let mut world = World::new(office, seed, weather);
    for round in 0..600 {
        if world.dice.chance(30) && world.sequence < 12 {
            world.drop_in();
        }
        world.step();
        if round % 100 == 99 {
            world.check();
            if world.dice.chance(300) {
                world.settle();
            }
        }
    }
    world.check();
    world.weather = Weather::default();
    world.run_until_all_arrived(4_000);
    world.check();
}

fn worlds(suite: Suite, seeds: std::ops::Range<u64>) {
    let office = Office::new(suite);
    for seed in seeds {
        let office = &office;
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| one_world(office, seed)));
        assert!(done.is_ok(), "the world of seed {seed} ({suite}) went wrong");
    }
}

/// So many worlds in every run, and so many under `TRILOCK_SOAK=1`.
fn seeds(usual: u64, soak: u64) -> u64 {
    if std::env::var_os("TRILOCK_SOAK").is_some() { soak } else { usual }
}

#[test]
fn in_every_world_of_std_everything_is_delivered_or_named() {
    worlds(Suite::Std, 0..seeds(300, 5_000));
}

#[test]
fn in_every_world_of_gm_everything_is_delivered_or_named() {
    worlds(Suite::Gm, 10_000..10_000 + seeds(40, 600));
}

#[test]
#[should_panic(expected = "entry 3")]
fn an_entry_that_vanishes_without_being_named_is_noticed() {
    let office = Office::new(Suite::Std);
    let mut world = World::new(&office, 1, Weather::default());
    (0..5).for_each(|_| world.drop_in());
    world.run_until_all_arrived(400);
    world.check();
    let third = world.outbox[2].0.id;
    world.got.remove(&third);
    world.check();
}

#[test]
fn a_quiet_wire_delivers_in_one_round_without_repair() {
    let office = Office::new(Suite::Std);
    let mut world = World::new(&office, 1, Weather::default());
    world.step();
    (0..10).for_each(|_| world.drop_in());
    world.run_until_all_arrived(150);
    let counters = world.receiver.counters();
    assert_eq!((counters.blocks_repaired, counters.blocks_bad, counters.auth_failed), (0, 0, 0), "{counters:?}");
    assert!(world.plans.values().all(|(_, sent)| *sent <= 1));
}

#[test]
fn an_outage_of_a_whole_round_is_healed_by_the_next_ones() {
    let office = Office::new(Suite::Std);
    let mut world = World::new(&office, 2, Weather { loss: 1_000, ..Weather::default() });
    (0..8).for_each(|_| world.drop_in());
    (0..100).for_each(|_| world.step());
    assert!(world.got.is_empty());
    world.weather = Weather::default();
    world.run_until_all_arrived(2_000);
}

#[test]
fn a_round_that_the_kernel_refused_does_not_count_and_comes_again() {
    let office = Office::new(Suite::Std);
    let mut world = World::new(&office, 4, Weather { refuse: 1_000, ..Weather::default() });
    (0..8).for_each(|_| world.drop_in());
    (0..300).for_each(|_| world.step());
    let out: u32 = world.outbox.iter().map(|(waiting, _)| world.sender.rounds(&waiting.id)).sum();
    assert_eq!((out, world.plans.values().map(|(_, sent)| *sent).max()), (0, Some(0)));
    world.weather = Weather::default();
    world.run_until_all_arrived(400);
}

/// Lets everything out that is due at a moment, but for the frames of one block that the kernel refuses; says which
/// blocks had their round.
fn rounds_without(
    sender: &mut Sender,
    office: &Office,
    now: Moment,
    refused: impl Fn(BlockId) -> bool,
) -> Vec<BlockId> {
    loop {
        while let Some(plan) = sender.wants(now) {
            let bytes = block::assemble::<()>(office.suite, plan.id, &plan.pieces, |_, _| Ok(())).unwrap();
            sender.supply(plan.id, bytes).unwrap();
        }
        let mut datagram = Vec::new();
        if sender.next_frame(&mut datagram).is_none() {
            break;
        }
        sender.left(now, 1, !refused(super::frame::Unchecked::parse(&datagram).unwrap().header.block));
    }
    let rounds = std::iter::from_fn(|| sender.poll_note()).filter_map(|note| match note {
        Note::Round { block, .. } => Some(block),
        _ => None,
    });
    rounds.collect()
}

fn one_entry(bytes: u64) -> Waiting {
    Waiting { id: Octets([1; 16]), kind: Kind::Bundle, priority: Priority::Normal, epoch: 5, sequence: 1, bytes }
}

#[test]
fn when_a_night_begins_all_that_waits_has_a_round_at_once_and_then_waits_as_before() {
    let office = Office::new(Suite::Std);
    let mut sender = start_sender(&office, 1, Moment::ZERO);
    sender.set_outbox(&[one_entry(300_000)]);
    let out = |sender: &mut Sender, s| rounds_without(sender, &office, Moment::from_secs(s), |_| false).len();
    let blocks = out(&mut sender, 0);
    assert!(blocks > 1);
    // Rounds at 2 s, and 4 s after that; from then on every 8 s.
    assert_eq!([1, 2, 5, 6, 13].map(|s| out(&mut sender, s)), [0, blocks, 0, blocks, 0]);
    sender.night(Moment::from_secs(13));
    assert_eq!([13, 14, 20, 21].map(|s| out(&mut sender, s)), [blocks, 0, 0, blocks]);
}

#[test]
fn a_block_that_the_kernel_refuses_takes_no_round_from_the_others_in_the_air() {
    let office = Office::new(Suite::Std);
    let mut sender = start_sender(&office, 1, Moment::ZERO);
    sender.set_outbox(&[one_entry(300_000)]);
    let bad = BlockId { epoch: 1, number: 1 };
    let rounds = rounds_without(&mut sender, &office, Moment::ZERO, |block| block == bad);
    assert_eq!((rounds.len(), sender.blocks(), rounds.contains(&bad)), (4, 5, false), "{rounds:?}");
    // Once the kernel takes it, it has its round; the others wait for their second one.
    assert_eq!(rounds_without(&mut sender, &office, Moment::from_secs(1), |_| false), [bad]);
}

#[test]
fn a_block_of_a_wider_wire_is_cut_anew_by_a_start_with_a_lower_mtu() {
    let office = Office::new(Suite::Std);
    let entry = one_entry(100_000);
    let mut wide = super::Planner::new(1, 64 << 10, symbol_bytes_for(9_000, false), 15);
    wide.add(entry, &Ranges::default());
    let plans: Vec<(Plan, u32)> =
        std::iter::from_fn(|| wide.cut(super::plan::Lane::Normal)).map(|plan| (plan, 0)).collect();
    let old: Vec<BlockId> = plans.iter().map(|(plan, _)| plan.id).collect();
    let mut sender = start_sender(&office, 2, Moment::ZERO);
    assert_eq!(sender.restore(Moment::ZERO, &[entry], plans), 0);
    sender.set_outbox(&[entry]);
    let retired: Vec<BlockId> = std::iter::from_fn(|| sender.poll_note())
        .filter_map(|note| match note {
            Note::Retired(id) => Some(id),
            _ => None,
        })
        .collect();
    assert_eq!(retired, old);
    let rounds = rounds_without(&mut sender, &office, Moment::ZERO, |_| false);
    assert!(!rounds.is_empty() && rounds.iter().all(|id| id.epoch == 2), "{rounds:?}");
    assert_eq!(sender.rounds(&entry.id), 1);
}

#[test]
fn silence_is_said_once_and_ends_with_a_beacon() {
    let office = Office::new(Suite::Std);
    let mut receiver = Receiver::new(office.ear(), limits(), Moment::ZERO);
    (0..300).for_each(|n| receiver.tick(Moment::from_millis(n * 100)));
    let events: Vec<_> = std::iter::from_fn(|| receiver.poll_event()).collect();
    assert!(matches!(events[..], [Event::Silence { .. }]), "{events:?}");
    let mut sender = start_sender(&office, 3, Moment::ZERO);
    let pulse = Pulse { at: Timestamp(0), next: Vec::new(), head: Head::default() };
    let beacon = sender.beacon(Moment::ZERO, &pulse).unwrap();
    receiver.handle(Moment::from_secs(31), &beacon).unwrap();
    let events: Vec<_> = std::iter::from_fn(|| receiver.poll_event()).collect();
    assert!(matches!(events[..], [Event::Epoch(_), Event::Heard, Event::Pulse { .. }]), "{events:?}");
    assert!(receiver.handle(Moment::from_secs(32), &beacon).is_err(), "a beacon is heard once");
}

#[test]
fn a_beacon_signed_by_anyone_else_or_for_anyone_else_is_refused_and_a_flood_is_bounded() {
    let (office, stranger) = (Office::new(Suite::Std), Office::new(Suite::Std));
    let mut receiver = Receiver::new(office.ear(), limits(), Moment::ZERO);
    let pulse = Pulse { at: Timestamp(0), next: Vec::new(), head: Head::default() };
    let wrong_key = Office { signing: stranger.signing.clone(), ..Office::new(Suite::Std) };
    for n in 0..100 {
        let forged = start_sender(&wrong_key, 10 + n, Moment::ZERO).beacon(Moment::ZERO, &pulse).unwrap();
        let refused = receiver.handle(Moment::from_millis(1), &forged).unwrap_err();
        let expected = if n < 5 { "Introduction" } else { "TooManySignatures" };
        assert!(format!("{refused:?}").starts_with(expected), "{n}: {refused:?}");
    }
    let other_target =
        Office { opening: stranger.opening.clone(), signing: office.signing.clone(), ..Office::new(Suite::Std) };
    let misdirected = start_sender(&other_target, 10, Moment::ZERO).beacon(Moment::ZERO, &pulse).unwrap();
    assert_eq!(receiver.handle(Moment::from_secs(2), &misdirected), Err(KeyError::CannotUnwrap.into()));
    let good = start_sender(&office, 10, Moment::ZERO).beacon(Moment::ZERO, &pulse).unwrap();
    assert_eq!(receiver.handle(Moment::from_secs(2), &good), Ok(()));
    let past = start_sender(&office, 9, Moment::ZERO).beacon(Moment::ZERO, &pulse).unwrap();
    assert!(receiver.handle(Moment::from_secs(2), &past).is_err());
}

#[test]
fn no_bytes_from_outside_bring_a_decoder_down() {
    let office = Office::new(Suite::Std);
    let mut world = World::new(&office, 3, Weather::default());
    world.drop_in();
    world.send();
    let mut samples: Vec<Vec<u8>> = world.wire.iter().map(|(_, bytes)| bytes.clone()).take(4).collect();
    samples.extend(world.plans.values().map(|(plan, _)| plan.to_bytes()));
    let plan = world.plans.values().next().unwrap().0.clone();
    let whole = block::assemble::<()>(Suite::Std, plan.id, &plan.pieces, |_, _| Ok(())).unwrap();
    samples.push(whole);
    for round in 0..40_000 {
        let dice = &mut world.dice;
        let mut bytes = samples[dice.roll(samples.len() as u64) as usize].clone();
        for _ in 0..=dice.roll(4) {
            let at = dice.roll(bytes.len() as u64 + 1) as usize;
            match dice.roll(4) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, dice.roll(256) as u8),
                2 => {
                    bytes.iter_mut().skip(at).take(1).for_each(|b| *b = [0, 1, 0x7f, 0x80, 0xff][dice.roll(5) as usize])
                }
                _ => bytes.iter_mut().skip(at).take(1).for_each(|b| *b ^= 1 << dice.roll(8)),
            }
        }
        let _ = world.receiver.handle(Moment::from_millis(round), &bytes);
        let _ = Plan::parse(&bytes).inspect(|plan| assert_eq!(plan.to_bytes(), bytes));
        let head = block::digest_head(&bytes);
        if bytes.len() < 20_000 {
            let _ = block::Block::open(Suite::Std, plan.id, &head, bytes);
        }
    }
}

/// A measurement: `TRILOCK_MEASURE=1 cargo nextest run -p protocol --features open --no-capture how_fast`
#[test]
fn how_fast_the_state_machines_go() {
    if std::env::var_os("TRILOCK_MEASURE").is_none() {
        return;
    }
    for suite in Suite::ALL {
        let office = Office::new(suite);
        let tuning = Tuning { block_bytes: 2 << 20, symbol_bytes: 1_408, interleave: 8, ..tuning() };
        let secret = crate::aead::fresh_key(suite);
        let (source, target) = (name("extranet"), name("intranet"));
        let what = (CROSSING, suite, 1);
        let said =
            Introduction::make(what, (&source, &target), Timestamp(1), &secret, &office.opening.public()).unwrap();
        let key = Aead::new(suite, &secret).unwrap();
        let mut sender = Sender::new(tuning, what, said.sign(&office.signing), key, Moment::ZERO);
        let mut receiver = Receiver::new(office.ear(), Limits { memory_bytes: 64 << 20, ..limits() }, Moment::ZERO);
        let pulse = Pulse { at: Timestamp(0), next: Vec::new(), head: Head::default() };
        receiver.handle(Moment::ZERO, &sender.beacon(Moment::ZERO, &pulse).unwrap()).unwrap();
        let bytes: u64 = 256 << 20;
        let entry = Waiting {
            id: Octets([1; 16]),
            kind: Kind::Bundle,
            priority: Priority::Normal,
            epoch: 1,
            sequence: 1,
            bytes,
        };
        sender.set_outbox(&[entry]);
        let (mut sending, mut receiving) = (Moment::ZERO, Moment::ZERO);
        let mut batch = Vec::new();
        let mut came = 0;
        while came < bytes {
            let started = std::time::Instant::now();
            while let Some(plan) = sender.wants(Moment::ZERO) {
                let room = sender.room();
                let block = block::assemble_in::<()>(room, suite, plan.id, &plan.pieces, |piece, place| {
                    place.fill(piece.offset as u8);
                    Ok(())
                });
                sender.supply(plan.id, block.unwrap()).unwrap();
            }
            batch.clear();
            let mut size = 1;
            for _ in 0..44 {
                size = sender.next_frame(&mut batch).unwrap_or(size);
            }
            sender.left(Moment::ZERO, 44, true);
            sending += started.elapsed();
            let started = std::time::Instant::now();
            for datagram in batch.chunks(size) {
                receiver.handle(Moment::ZERO, datagram).unwrap();
                while let Some(event) = receiver.poll_event() {
                    if let Event::Block(block) = event {
                        came += block.directory().iter().map(|piece| u64::from(piece.length)).sum::<u64>();
                    }
                }
            }
            receiving += started.elapsed();
        }
        let rate = |took: Moment| bytes as f64 / 1e6 / took.as_secs_f64();
        println!("{suite}: send {:.0} MB/s, receive {:.0} MB/s", rate(sending), rate(receiving));
    }
}
