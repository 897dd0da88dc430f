//! Both ends with real sockets, threads and spools, over the loopback. Nothing sleeps: the bell of the receiving spool
//! is waited on, with an end.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use diode_link::{
    Link, Offload, ReceiverSettings, Receiving, SenderSettings, Sending, Stop, receive, send, send_line_test,
};
use protocol::der_types::Octets;
use protocol::keys::{OpeningKey, SigningKey};
use protocol::parcel::Priority;
use protocol::trust::{KeyCard, Role, Use};
use protocol::{BundleId, Crossing, Name, Suite, Timestamp, Trust, Zone};
use spool::{Disk, EntryKind, Fuse, Power, Setup, Spool};

const CROSSING: Crossing = Crossing::ExtranetToIntranet;
/// Far beyond what it takes, for machines under load.
const END: Duration = Duration::from_secs(60);

struct Node {
    spool: Spool,
    key: SigningKey,
    opening: OpeningKey,
    name: Name,
    zone: Zone,
}

fn node(root: &Path, zone: Zone, suite: Suite, disk: &Disk) -> Node {
    let name = Name::new(zone.name()).expect("a zone's word is a name");
    let key = SigningKey::generate(suite);
    let setup = || Setup {
        root: root.join(zone.name()),
        node: name.clone(),
        zone,
        key: key.clone().into(),
        disk: disk.clone(),
        routes: Vec::new(),
        crossings: vec![CROSSING],
        now: Timestamp(1_795_305_600_000),
        index_cache_bytes: 1 << 20,
    };
    spool::create(&setup()).expect("a tree");
    let spool = Spool::open(setup()).expect("a spool");
    Node { spool, opening: OpeningKey::generate(suite), key, name: name.clone(), zone }
}

fn trust(nodes: &[&Node], suite: Suite) -> Arc<Trust> {
    let mut trust = Trust::default();
    for node in nodes {
        let keys = [(Use::Sign, node.key.public().to_spki()), (Use::Seal, node.opening.public().to_spki())];
        for (usage, spki) in keys {
            let (zone, holder, from) = (node.zone, node.name.clone(), "2026-11-21".to_owned());
            let card = KeyCard { zone, holder, role: Role::Node, usage, suite, from, until: None, spki };
            trust.add("card.pem", &card.to_text()).expect("a card");
        }
    }
    Arc::new(trust)
}

struct Wire {
    outside: Node,
    inside: Node,
    trust: Arc<Trust>,
    suite: Suite,
}

impl Wire {
    fn new(root: &Path, suite: Suite) -> Wire {
        Wire::from(root, suite, &Disk::real())
    }

    /// With this disk under the sender.
    fn from(root: &Path, suite: Suite, disk: &Disk) -> Wire {
        let outside = node(root, Zone::Extranet, suite, disk);
        let inside = node(root, Zone::Intranet, suite, &Disk::real());
        let trust = trust(&[&outside, &inside], suite);
        Wire { outside, inside, trust, suite }
    }

    fn link(&self, here: &Node, there: &Node) -> Link {
        Link {
            spool: here.spool.clone(),
            crossing: CROSSING,
            suite: self.suite,
            key: here.key.clone().into(),
            peer: there.name.clone(),
            trust: self.trust.clone(),
            wall: Arc::new(|| None),
            opening: vec![here.opening.clone()],
        }
    }

    fn receive(&self, listen: SocketAddr, stop: &Stop) -> Receiving {
        receive(self.link(&self.inside, &self.outside), ReceiverSettings::on(listen), stop.clone()).expect("a receiver")
    }

    fn send(&self, target: SocketAddr, stop: &Stop, tune: impl Fn(&mut SenderSettings)) -> Sending {
        let mut settings = SenderSettings::to(target);
        tune(&mut settings);
        send(self.link(&self.outside, &self.inside), settings, stop.clone()).expect("a sender")
    }

    fn drop_in(&self, sequence: u64, bytes: &[u8], kind: EntryKind) -> BundleId {
        let mut id = [7; 16];
        id[..8].copy_from_slice(&sequence.to_be_bytes());
        let id = Octets(id);
        let staged = self.outside.spool.layout().sealing().join(id.to_string());
        self.outside.spool.disk().write(&staged, bytes).expect("written");
        let outbox = self.outside.spool.outbox(CROSSING);
        outbox.commit(&staged, &id, kind, Priority::Normal, 1, sequence).expect("committed");
        id
    }

    /// Waits for so many entries on the other side.
    fn arrived(&self, count: usize) -> Vec<spool::Entry> {
        let end = Instant::now() + END;
        let mut rung = self.inside.spool.bell().generation();
        loop {
            let entries = self.inside.spool.arrivals(CROSSING).completed().expect("a list");
            if entries.len() >= count {
                return entries;
            }
            assert!(Instant::now() < end, "{} of {count} arrived", entries.len());
            rung = self.inside.spool.bell().wait(rung, Duration::from_secs(1));
        }
    }
}

fn content(seed: u64, bytes: usize) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(bytes + 8);
    while out.len() < bytes {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        out.extend_from_slice(&x.to_le_bytes());
    }
    out.truncate(bytes);
    out
}

fn here() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

#[test]
fn entries_of_all_sizes_arrive_bit_for_bit_and_are_announced() {
    for suite in Suite::ALL {
        let root = tempfile::tempdir().expect("a folder");
        let wire = Wire::new(root.path(), suite);
        let stop = Stop::new();
        let receiving = wire.receive(here(), &stop);
        let sizes = [6_000_000, 1, 10_240, 300_000, 2_500_000];
        let sent: Vec<(BundleId, Vec<u8>)> = (1..=60_u64)
            .map(|n| {
                let bytes =
                    content(n, usize::try_from(n - 1).ok().and_then(|at| sizes.get(at)).copied().unwrap_or(10_240));
                let kind = if n == 3 { EntryKind::Receipts } else { EntryKind::Bundle };
                (wire.drop_in(n, &bytes, kind), bytes)
            })
            .collect();
        let sending = wire.send(receiving.address, &stop, |s| s.rate_mbit = 400);
        let entries = wire.arrived(60);
        for (id, bytes) in &sent {
            let entry = entries.iter().find(|entry| entry.id == *id).expect("every entry is there");
            assert!(std::fs::read(&entry.path).expect("its file") == *bytes, "{id}");
        }
        assert_eq!(entries.iter().filter(|entry| entry.kind == EntryKind::Receipts).count(), 1);
        stop.raise();
        assert_eq!(sending.rounds(&sent[0].0).1, 3);
        sending.join();
        receiving.join();
    }
}

/// Small entries share a block, which cannot be cut without all of them.
#[test]
fn an_entry_that_the_disk_does_not_give_holds_up_none_of_its_block() {
    let (root, graveyard) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let power = Power::on(graveyard.path(), 1).expect("a graveyard");
    let wire = Wire::from(root.path(), Suite::Std, &Disk::with_power(power.clone(), Fuse::after(u64::MAX)));
    let stop = Stop::new();
    let receiving = wire.receive(here(), &stop);
    let sent: Vec<BundleId> = (1..=9).map(|n| wire.drop_in(n, &content(n, 10_240), EntryKind::Bundle)).collect();
    let outbox = wire.outside.spool.outbox(CROSSING);
    let bad = outbox.find(&sent[4]).expect("a shelf").expect("it stands there");
    power.spoil(&bad.path, 4_096).expect("it can be opened");
    let sending = wire.send(receiving.address, &stop, |_| {});
    let came: HashSet<BundleId> = wire.arrived(8).iter().map(|entry| entry.id).collect();
    assert!(came.len() == 8 && !came.contains(&bad.id));
    assert_eq!(outbox.unread(9), (vec![bad.clone()], 1));
    // As the daemon does every few seconds.
    outbox.look_at_unread();
    assert!(outbox.is_unread(&bad.id));
    power.heal();
    outbox.look_at_unread();
    assert!(wire.arrived(9).iter().any(|entry| entry.id == bad.id));
    stop.raise();
    sending.join();
    receiving.join();
}

#[test]
fn what_was_sent_into_the_void_comes_with_a_later_round_of_a_later_start() {
    let root = tempfile::tempdir().expect("a folder");
    let wire = Wire::new(root.path(), Suite::Std);
    let stop = Stop::new();
    // A port is taken and let go again, so that the sender speaks to nobody at first.
    let address = std::net::UdpSocket::bind(here()).and_then(|socket| socket.local_addr()).expect("a port");
    let id = wire.drop_in(1, &content(1, 3_000_000), EntryKind::Bundle);
    let mut stop_first = Stop::new();
    let sending = wire.send(address, &stop_first, |s| {
        s.round_every_s = 1;
        s.rate_mbit = 400;
    });
    let end = Instant::now() + END;
    while sending.rounds(&id).0 == 0 {
        assert!(Instant::now() < end, "no round went out");
        std::thread::yield_now();
    }
    let blocks = sending.status().blocks_cut;
    let first = std::mem::take(&mut stop_first);
    first.raise();
    sending.join();
    // The sender starts again and repeats its blocks under a new link key; it cuts none anew.
    let sending = wire.send(address, &stop, |s| {
        s.round_every_s = 1;
        s.rate_mbit = 400;
    });
    let receiving = wire.receive(address, &stop);
    assert_eq!(wire.arrived(1).len(), 1);
    stop.raise();
    let status = sending.status();
    assert!(status.blocks_cut == 0 && blocks <= status.blocks, "{blocks} blocks, then {status:?}");
    sending.join();
    receiving.join();
}

/// 13:59:58 in UTC: 21:59:58 at the office.
const BEFORE_THE_NIGHT: Timestamp = Timestamp((1_795_305_600 + 13 * 3_600 + 3_598) * 1_000);

#[test]
fn when_the_office_s_night_begins_a_sender_repeats_what_waits_and_not_while_its_clock_is_in_doubt() {
    let root = tempfile::tempdir().expect("a folder");
    let wire = Wire::new(root.path(), Suite::Std);
    let stop = Stop::new();
    let address = std::net::UdpSocket::bind(here()).and_then(|socket| socket.local_addr()).expect("a port");
    let id = wire.drop_in(1, &content(1, 300_000), EntryKind::Bundle);
    let time = Arc::new(Mutex::new(None));
    let shown = time.clone();
    let wall = Arc::new(move || *shown.lock().expect("no panic"));
    let link = Link { wall, ..wire.link(&wire.outside, &wire.inside) };
    let mut settings = SenderSettings::to(address);
    (settings.round_every_s, settings.rate_mbit) = (3_600, 400);
    let sending = send(link, settings, stop.clone()).expect("a sender");
    let until = |what: &str, holds: &dyn Fn() -> bool| {
        let end = Instant::now() + END;
        while !holds() {
            assert!(Instant::now() < end, "{what}");
            std::thread::yield_now();
        }
    };
    // Of two beacons more at least one was begun after the time was shown.
    let show = |shown: Option<Timestamp>| {
        *time.lock().expect("no panic") = shown;
        let beacons = sending.status().beacons;
        until("no beacon", &|| sending.status().beacons > beacons + 1);
    };
    until("no round went out", &|| sending.rounds(&id).0 == 1);
    show(Some(BEFORE_THE_NIGHT));
    show(None);
    show(Some(BEFORE_THE_NIGHT.plus_ms(3_000)));
    assert_eq!(sending.rounds(&id).0, 1, "the night began while the clock was in doubt");
    show(Some(BEFORE_THE_NIGHT.plus_ms(86_400_000)));
    show(Some(BEFORE_THE_NIGHT.plus_ms(86_403_000)));
    until("no round at night", &|| sending.rounds(&id).0 == 2);
    stop.raise();
    sending.join();
}

#[test]
fn everything_arrives_where_either_kernel_takes_one_datagram_a_call() {
    let (batches, one) = (Offload::Batches, Offload::OneByOne);
    for (out, into) in [(one, batches), (batches, one), (one, one)] {
        let root = tempfile::tempdir().expect("a folder");
        let wire = Wire::new(root.path(), Suite::Std);
        let stop = Stop::new();
        let settings = ReceiverSettings { offload: into, ..ReceiverSettings::on(here()) };
        let link = wire.link(&wire.inside, &wire.outside);
        let receiving = receive(link, settings, stop.clone()).expect("a receiver");
        let sent = [1_000_000, 1, 10_240].map(|bytes| content(bytes as u64, bytes));
        let ids: Vec<BundleId> = (1..).zip(&sent).map(|(n, bytes)| wire.drop_in(n, bytes, EntryKind::Bundle)).collect();
        let sending = wire.send(receiving.address, &stop, |s| (s.offload, s.rate_mbit) = (out, 100));
        let entries = wire.arrived(ids.len());
        for (id, bytes) in ids.iter().zip(&sent) {
            let entry = entries.iter().find(|entry| entry.id == *id).expect("every entry is there");
            assert!(std::fs::read(&entry.path).expect("its file") == *bytes, "{id}, {out:?}, {into:?}");
        }
        stop.raise();
        let batch = sending.status().segments_max;
        assert!((batch == 1) == (out == one), "{batch} datagrams a call, {out:?}");
        sending.join();
        receiving.join();
    }
}

#[test]
fn a_socket_buffer_below_a_tenth_of_a_second_of_the_rate_is_said() {
    let root = tempfile::tempdir().expect("a folder");
    let wire = Wire::new(root.path(), Suite::Std);
    for (rate_mbit, small) in [(1, false), (100_000, true)] {
        let stop = Stop::new();
        // 1.25 GB are wanted, and 1 MiB is asked for.
        let settings = ReceiverSettings { rate_mbit, socket_mib: 1, ..ReceiverSettings::on(here()) };
        let link = wire.link(&wire.inside, &wire.outside);
        let receiving = receive(link, settings, stop.clone()).expect("a receiver");
        assert_eq!(receiving.status().small_buffer, small, "{:?}", receiving.status());
        stop.raise();
        receiving.join();
    }
}

/// A measurement: `TRILOCK_MEASURE=1 cargo test --release -p diode-link --test loopback how_fast -- --nocapture`
#[test]
fn how_fast_it_goes() {
    if std::env::var_os("TRILOCK_MEASURE").is_none() {
        return;
    }
    let root = tempfile::tempdir_in("/dev/shm").expect("a folder");
    let wire = Wire::new(root.path(), Suite::Std);
    let stop = Stop::new();
    let receiving = wire.receive(here(), &stop);
    let mtu = std::env::var("MTU").ok().and_then(|text| text.parse().ok()).unwrap_or(1_500);
    let rate = std::env::var("RATE").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000);
    let small = std::env::var("SMALL").is_ok();
    let (count, bytes) = if small { (10_000_u64, 10_240) } else { (4, 256 << 20) };
    let sample = content(1, bytes);
    (1..=count).for_each(|n| {
        wire.drop_in(n, &sample, EntryKind::Bundle);
    });
    let cpu = || {
        let stat = std::fs::read_to_string("/proc/self/stat").expect("our own line");
        let fields: Vec<u64> =
            stat.rsplit(')').next().unwrap_or_default().split_whitespace().map(|f| f.parse().unwrap_or(0)).collect();
        (fields[11] + fields[12]) as f64 / 100.0
    };
    let (started, before) = (Instant::now(), cpu());
    let sending = wire.send(receiving.address, &stop, |s| {
        s.mtu = mtu;
        s.rate_mbit = rate;
        s.round_every_s = 600;
        s.round_every_max_s = 600;
    });
    wire.arrived(usize::try_from(count).expect("small"));
    let (seconds, spent) = (started.elapsed().as_secs_f64(), cpu() - before);
    let gb = count as f64 * bytes as f64 / 1e9;
    println!("{gb:.2} GB in {seconds:.2} s = {:.0} MB/s, {:.2} CPU s/GB both ends", gb * 1e3 / seconds, spent / gb);
    println!("{:?}\n{:?}", sending.status(), receiving.status());
    stop.raise();
    sending.join();
    receiving.join();
}

#[test]
fn a_running_receiver_refuses_the_datagrams_of_a_line_test_and_delivers_as_before() {
    let root = tempfile::tempdir().expect("a folder");
    let wire = Wire::new(root.path(), Suite::Std);
    let stop = Stop::new();
    let receiving = wire.receive(here(), &stop);
    let settings = SenderSettings { rate_mbit: 1, ..SenderSettings::to(receiving.address) };
    let sent = send_line_test(&settings, 1).expect("sent");
    assert!(sent.frames > 50 && sent.refused == 0, "{sent:?}");
    let sending = wire.send(receiving.address, &stop, |s| s.rate_mbit = 100);
    wire.drop_in(1, &content(1, 100_000), EntryKind::Bundle);
    wire.arrived(1);
    stop.raise();
    sending.join();
    let counted = || receiving.status().counters;
    let end = Instant::now() + END;
    // The status is made anew twice a second, and once more at the end.
    while counted().frames_bad < sent.frames
        && Instant::now() < end
        && !receiving.threads.iter().all(|t| t.is_finished())
    {
        std::thread::yield_now();
    }
    let counters = counted();
    receiving.join();
    assert_eq!((counters.frames_bad, counters.auth_failed, counters.blocks_bad), (sent.frames, 0, 0), "{counters:?}");
}
