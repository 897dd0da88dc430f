//! Two real links on loopback with two real spools: nothing is slept for, everything is waited for by the bell.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use protocol::id::new_id;
use protocol::keys::{self, SigningKey};
use protocol::parcel::Priority;
use protocol::trust::{KeyCard, Role, Use};
use protocol::{BundleId, Crossing, Name, Suite, Timestamp, Trust, Zone};
use quic_link::{Link, LinkStatus, Settings, Stop, run};
use spool::disk::Disk;
use spool::{EntryKind, Fuse, Power, Setup, Spool};

const WITHIN: Duration = Duration::from_secs(60);
const OUT: Crossing = Crossing::InternetToExtranet;
const BACK: Crossing = Crossing::ExtranetToInternet;

struct Node {
    name: Name,
    zone: Zone,
    key: SigningKey,
    spool: Spool,
    folder: tempfile::TempDir,
    sequence: AtomicU64,
}

struct Running {
    stop: Stop,
    thread: Option<JoinHandle<()>>,
    status: Arc<Mutex<LinkStatus>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Running {
    fn status(&self) -> LinkStatus {
        self.status.lock().unwrap().clone()
    }

    fn address(&self) -> SocketAddr {
        self.status().listening.unwrap()
    }

    fn last_error(&self) -> String {
        self.status().peers.values().filter_map(|peer| peer.last_error.clone()).collect()
    }
}

impl Node {
    fn new(zone: Zone) -> Node {
        Node::on(zone, Disk::real())
    }

    fn on(zone: Zone, disk: Disk) -> Node {
        let folder = tempfile::tempdir().unwrap();
        let name = Name::new(zone.name()).unwrap();
        let setup = Setup {
            root: folder.path().join("spool"),
            node: name.clone(),
            zone,
            key: SigningKey::generate(Suite::Std).into(),
            disk,
            routes: Vec::new(),
            crossings: vec![OUT, BACK],
            now: Timestamp(1_795_305_600_000),
            index_cache_bytes: 1 << 20,
        };
        spool::create(&setup).unwrap();
        let spool = Spool::open(setup).unwrap();
        Node { name, zone, key: SigningKey::generate(Suite::Std), spool, folder, sequence: AtomicU64::new(1) }
    }

    fn card(&self, holder: &Name) -> String {
        KeyCard {
            zone: self.zone,
            holder: holder.clone(),
            role: Role::Node,
            usage: Use::Link,
            suite: Suite::Std,
            from: "2026-11-21".to_owned(),
            until: None,
            spki: self.key.public().to_spki(),
        }
        .to_text()
    }

    /// Trust in another node, under the name its card gives.
    fn trusting(&self, other: &Node, holder: &Name) -> Arc<Trust> {
        let mut trust = Trust::default();
        trust.add("peer.pem", &other.card(holder)).unwrap();
        Arc::new(trust)
    }

    fn link(&self, trust: Arc<Trust>, settings: &str) -> Running {
        let link = Link::new(self.spool.clone(), self.key.clone(), trust);
        let (stop, status) = (Stop::new(), link.status.clone());
        let thread = run(link, toml::from_str::<Settings>(settings).unwrap(), stop.clone()).unwrap();
        Running { stop, thread: Some(thread), status }
    }

    fn put(&self, crossing: Crossing, kind: EntryKind, priority: Priority, content: &[u8]) -> BundleId {
        let id = new_id(Timestamp(1_795_305_600_000), keys::random());
        let staged = self.folder.path().join(format!("staged-{id}"));
        self.spool.disk().write(&staged, content).unwrap();
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        self.spool.outbox(crossing).commit(&staged, &id, kind, priority, 1, sequence).unwrap();
        id
    }

    fn arrived(&self, crossing: Crossing) -> usize {
        self.spool.arrivals(crossing).completed().unwrap().len()
    }

    fn holds(&self, crossing: Crossing, id: &BundleId, content: &[u8]) -> bool {
        let entries = self.spool.arrivals(crossing).completed().unwrap();
        entries.iter().any(|entry| entry.id == *id && same(&entry.path, content))
    }

    /// Looks whenever this node's bell rings, and now and then.
    fn wait(&self, what: &str, condition: impl Fn() -> bool) {
        let began = Instant::now();
        let mut seen = self.spool.bell().generation();
        while !condition() {
            assert!(began.elapsed() < WITHIN, "not within {} s: {what}", WITHIN.as_secs());
            seen = self.spool.bell().wait(seen, Duration::from_millis(20));
        }
    }
}

fn same(path: &Path, content: &[u8]) -> bool {
    std::fs::read(path).unwrap() == content
}

fn noise(bytes: usize, mut seed: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes + 8);
    while out.len() < bytes {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        out.extend(seed.to_le_bytes());
    }
    out.truncate(bytes);
    out
}

fn listening(peer: &Name) -> String {
    format!("listen = '127.0.0.1:0'\n[[peers]]\nname = '{peer}'\nallowed = ['127.0.0.0/8']")
}

fn dialling(peer: &Name, address: SocketAddr) -> String {
    format!("reconnect_s_max = 1\n[[peers]]\nname = '{peer}'\ndial = '{address}'")
}

/// Two nodes, the extranet dialling.
fn pair() -> (Node, Node) {
    (Node::new(Zone::Internet), Node::new(Zone::Extranet))
}

/// Carries datagrams between a dialler and a listener, until it is told to lose them all.
struct Wire {
    address: SocketAddr,
    cut: Arc<AtomicBool>,
    end: Arc<AtomicBool>,
    carried: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Wire {
    fn to(target: SocketAddr) -> Wire {
        let outer = UdpSocket::bind("127.0.0.1:0").unwrap();
        let inner = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = outer.local_addr().unwrap();
        for socket in [&outer, &inner] {
            socket.set_nonblocking(true).unwrap();
        }
        inner.connect(target).unwrap();
        let (cut, end, carried) = <(Arc<AtomicBool>, Arc<AtomicBool>, Arc<AtomicU64>)>::default();
        let flags = (cut.clone(), end.clone(), carried.clone());
        let thread = std::thread::Builder::new().name("wire".to_owned()).spawn(move || {
            let (cut, end, carried) = flags;
            let mut dialler = None;
            let mut datagram = vec![0; 65_536];
            while !end.load(Ordering::Relaxed) {
                let mut quiet = true;
                while let Ok((bytes, from)) = outer.recv_from(&mut datagram) {
                    quiet = false;
                    dialler = Some(from);
                    if !cut.load(Ordering::Relaxed) {
                        carried.fetch_add(bytes as u64, Ordering::Relaxed);
                        let _ = inner.send(&datagram[..bytes]);
                    }
                }
                while let Ok(bytes) = inner.recv(&mut datagram) {
                    quiet = false;
                    if let (Some(to), false) = (dialler, cut.load(Ordering::Relaxed)) {
                        carried.fetch_add(bytes as u64, Ordering::Relaxed);
                        let _ = outer.send_to(&datagram[..bytes], to);
                    }
                }
                if quiet {
                    std::thread::yield_now();
                }
            }
        });
        Wire { address, cut, end, carried, thread: Some(thread.unwrap()) }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

#[test]
fn small_and_large_entries_cross_both_ways_and_receipts_leave_the_outbox() {
    let (internet, extranet) = pair();
    let large = noise(50 << 20, 7);
    let out = internet.put(OUT, EntryKind::Bundle, Priority::Bulk, &large);
    let back = extranet.put(BACK, EntryKind::Bundle, Priority::Bulk, &large);
    for at in 0..200u64 {
        let kind = if at % 4 == 0 { EntryKind::Receipts } else { EntryKind::Bundle };
        internet.put(OUT, kind, Priority::Normal, &noise(10_240, at + 1));
        extranet.put(BACK, kind, Priority::Normal, &noise(10_240, at + 1));
    }
    let began = Instant::now();
    let listener = internet.link(internet.trusting(&extranet, &extranet.name), &listening(&extranet.name));
    let dialler =
        extranet.link(extranet.trusting(&internet, &internet.name), &dialling(&internet.name, listener.address()));
    extranet.wait("201 entries inward", || extranet.arrived(OUT) == 201);
    internet.wait("201 entries outward", || internet.arrived(BACK) == 201);
    println!("2 x (200 x 10 KiB + 50 MiB): {} ms", began.elapsed().as_millis());
    assert!(extranet.holds(OUT, &out, &large) && internet.holds(BACK, &back, &large));
    for (node, crossing) in [(&internet, OUT), (&extranet, BACK)] {
        node.wait("receipts leave the outbox", || {
            let left = node.spool.outbox(crossing).entries().unwrap();
            left.len() == 151 && left.iter().all(|entry| entry.kind == EntryKind::Bundle)
        });
    }
    let urgent = Instant::now();
    let id = extranet.put(BACK, EntryKind::Bundle, Priority::Urgent, b"urgent");
    internet.wait("an urgent entry", || internet.holds(BACK, &id, b"urgent"));
    println!("one small entry on an idle link: {} us", urgent.elapsed().as_micros());
    let peer = || dialler.status().peers.get(&internet.name).unwrap().clone();
    // An entry has arrived before its `stored` is back.
    extranet.wait("the urgent entry is answered", || peer().entries_sent >= 202);
    assert!(peer().connected && peer().connections == 1, "{:?}", peer());
}

#[test]
fn an_entry_that_the_disk_does_not_give_is_noted_and_the_others_cross() {
    let graveyard = tempfile::tempdir().unwrap();
    let power = Power::on(graveyard.path(), 1).unwrap();
    let internet = Node::on(Zone::Internet, Disk::with_power(power.clone(), Fuse::after(u64::MAX)));
    let extranet = Node::new(Zone::Extranet);
    let contents: Vec<Vec<u8>> = (1..6).map(|seed| noise(700_000, seed)).collect();
    let ids: Vec<BundleId> =
        contents.iter().map(|content| internet.put(OUT, EntryKind::Bundle, Priority::Normal, content)).collect();
    let outbox = internet.spool.outbox(OUT);
    power.spoil(&outbox.find(&ids[1]).unwrap().unwrap().path, 300_000).unwrap();
    let listener = extranet.link(extranet.trusting(&internet, &internet.name), &listening(&internet.name));
    let dialler =
        internet.link(internet.trusting(&extranet, &extranet.name), &dialling(&extranet.name, listener.address()));
    extranet.wait("the others cross", || extranet.arrived(OUT) == 4);
    extranet.wait("it is noted", || outbox.unread(9).1 == 1);
    assert_eq!(outbox.unread(9).0[0].id, ids[1]);
    assert!(!extranet.holds(OUT, &ids[1], &contents[1]));
    power.heal();
    extranet.wait("it goes on by itself", || extranet.holds(OUT, &ids[1], &contents[1]));
    outbox.look_at_unread();
    assert_eq!(outbox.unread(9), (Vec::new(), 0));
    drop((dialler, listener));
}

#[test]
fn a_connection_that_dies_in_the_middle_is_resumed_by_offset() {
    let (internet, extranet) = pair();
    let large = noise(50 << 20, 11);
    let id = internet.put(OUT, EntryKind::Bundle, Priority::Normal, &large);
    let listener = internet.link(
        internet.trusting(&extranet, &extranet.name),
        &format!("idle_s = 1\nkeepalive_s = 1\n{}", listening(&extranet.name)),
    );
    let wire = Wire::to(listener.address());
    let settings = format!("idle_s = 1\nkeepalive_s = 1\n{}", dialling(&internet.name, wire.address));
    let dialler = extranet.link(extranet.trusting(&internet, &internet.name), &settings);
    let received = || dialler.status().peers.get(&internet.name).unwrap().bytes_received;
    extranet.wait("a part of it", || received() > 10 << 20);
    wire.cut.store(true, Ordering::Relaxed);
    extranet.wait("the connection is noticed to be dead", || {
        !dialler.status().peers.get(&internet.name).unwrap().connected
    });
    assert_eq!(extranet.arrived(OUT), 0);
    wire.cut.store(false, Ordering::Relaxed);
    extranet.wait("the whole of it", || extranet.arrived(OUT) == 1);
    assert!(extranet.holds(OUT, &id, &large));
    let peer = dialler.status().peers.get(&internet.name).unwrap().clone();
    println!("carried {} MiB for 50, connections {}", wire.carried.load(Ordering::Relaxed) >> 20, peer.connections);
    assert!(peer.connections >= 2 && peer.bytes_received == 50 << 20, "{peer:?}");
}

#[test]
fn a_restarted_node_is_served_again_and_what_it_has_is_not_sent_twice() {
    let (internet, extranet) = pair();
    internet.put(OUT, EntryKind::Bundle, Priority::Normal, &noise(1 << 20, 3));
    let listener = internet.link(internet.trusting(&extranet, &extranet.name), &listening(&extranet.name));
    let trust = extranet.trusting(&internet, &internet.name);
    let settings = dialling(&internet.name, listener.address());
    let first = extranet.link(trust.clone(), &settings);
    let answered = || listener.status().peers.get(&extranet.name).unwrap().entries_sent;
    extranet.wait("the entry", || extranet.arrived(OUT) == 1);
    // It has arrived before its `stored` is back: a node that dies in between counts one answer, not two.
    internet.wait("the first offer is answered", || answered() == 1);
    drop(first);
    let _second = extranet.link(trust, &settings);
    internet.wait("the second offer is answered", || answered() == 2);
    assert_eq!(listener.status().peers.get(&extranet.name).unwrap().bytes_sent, 1 << 20);
}

#[test]
fn both_ends_dialling_keep_one_connection() {
    let (internet, extranet) = pair();
    let port = UdpSocket::bind("127.0.0.1:0").unwrap();
    let wire_target = internet.link(internet.trusting(&extranet, &extranet.name), &listening(&extranet.name));
    let address = wire_target.address();
    drop((wire_target, port));
    // Each listens, and dials the other: the second to start learns a free port and dials at once.
    let first = internet.link(internet.trusting(&extranet, &extranet.name), &listening(&extranet.name));
    let settings = format!("listen = '127.0.0.1:0'\n{}", dialling(&internet.name, first.address()));
    let second = extranet.link(extranet.trusting(&internet, &internet.name), &settings);
    drop(first);
    let back = format!(
        "listen = '{address}'\nreconnect_s_max = 1\n[[peers]]\nname = 'extranet'\ndial = '{}'",
        second.address()
    );
    let first = internet.link(internet.trusting(&extranet, &extranet.name), &back);
    drop(second);
    let settings = format!("listen = '127.0.0.1:0'\n{}", dialling(&internet.name, first.address()));
    let second = extranet.link(extranet.trusting(&internet, &internet.name), &settings);
    let id = internet.put(OUT, EntryKind::Bundle, Priority::Normal, b"one");
    extranet.wait("an entry", || extranet.holds(OUT, &id, b"one"));
    assert!(second.status().peers.get(&internet.name).unwrap().connected);
}

#[test]
fn a_key_on_no_card_is_refused_by_listener_and_dialler() {
    let (internet, extranet) = pair();
    let stranger = Node::new(Zone::Extranet);
    internet.put(OUT, EntryKind::Bundle, Priority::Normal, b"not for strangers");
    let listener = internet.link(internet.trusting(&extranet, &extranet.name), &listening(&extranet.name));
    // The stranger knows the listener's key; the listener does not know the stranger's.
    let dialler =
        stranger.link(stranger.trusting(&internet, &internet.name), &dialling(&internet.name, listener.address()));
    stranger.wait("the listener refuses", || listener.status().refused > 0);
    stranger.wait("the stranger hears of it", || !dialler.last_error().is_empty());
    // The extranet expects another key than the listener has.
    let impostor = extranet.trusting(&stranger, &internet.name);
    let misled = extranet.link(impostor, &dialling(&internet.name, listener.address()));
    // A card of the wrong zone gives no crossing to pair, and the link does not even start.
    let _ = &misled;
    extranet.wait("the dialler refuses", || !misled.last_error().is_empty());
    assert_eq!((stranger.arrived(OUT), extranet.arrived(OUT)), (0, 0));
    assert!(!listener.status().peers.get(&extranet.name).unwrap().connected);
}

#[test]
fn a_node_that_gives_another_name_than_its_card_is_refused_with_words() {
    let (internet, extranet) = pair();
    let county = Name::new("county").unwrap();
    let listener = internet.link(internet.trusting(&extranet, &county), &listening(&county));
    let dialler =
        extranet.link(extranet.trusting(&internet, &internet.name), &dialling(&internet.name, listener.address()));
    let words = "is on the card of county, but it calls itself extranet";
    extranet.wait("the words arrive", || dialler.last_error().contains(words));
    assert!(listener.last_error().contains(words));
    assert!(!listener.status().peers.get(&county).unwrap().connected);
}

#[test]
fn an_address_that_is_not_allowed_and_an_entry_that_is_too_large_are_turned_away() {
    let (internet, extranet) = pair();
    let elsewhere = "listen = '127.0.0.1:0'\n[[peers]]\nname = 'extranet'\nallowed = ['10.0.0.0/8']";
    let closed = internet.link(internet.trusting(&extranet, &extranet.name), elsewhere);
    let trust = extranet.trusting(&internet, &internet.name);
    let knocking = extranet.link(trust.clone(), &dialling(&internet.name, closed.address()));
    extranet.wait("the address is refused", || closed.status().refused > 0);
    drop((knocking, closed));
    let listener = internet.link(
        internet.trusting(&extranet, &extranet.name),
        &format!("{}\nentry_bytes_max = 100", listening(&extranet.name)),
    );
    let _dialler = extranet.link(trust, &dialling(&internet.name, listener.address()));
    extranet.put(BACK, EntryKind::Bundle, Priority::Urgent, &noise(101, 1));
    let small = extranet.put(BACK, EntryKind::Bundle, Priority::Bulk, &noise(100, 1));
    internet.wait("the small one", || internet.holds(BACK, &small, &noise(100, 1)));
    internet.wait("the large one is counted", || listener.status().peers.get(&extranet.name).unwrap().over_limit == 1);
    assert_eq!(internet.arrived(BACK), 1);
}

#[test]
fn cards_and_settings_that_cannot_work_do_not_start() {
    let (internet, extranet) = pair();
    let start = |trust: Arc<Trust>, key: SigningKey, settings: &str| {
        let link = Link::new(internet.spool.clone(), key, trust);
        run(link, toml::from_str(settings).unwrap(), Stop::new()).map(|_| ()).unwrap_err().to_string()
    };
    let good = || internet.trusting(&extranet, &extranet.name);
    let settings = listening(&extranet.name);
    let gm = start(good(), SigningKey::generate(Suite::Gm), &settings);
    assert!(gm.contains("Ed25519"), "{gm}");
    // A peer without a card is left out, and the others are served.
    let link = Link::new(internet.spool.clone(), internet.key.clone(), Arc::default());
    assert!(run(link, toml::from_str(&settings).unwrap(), Stop::new()).is_ok());
    let both = "listen = '127.0.0.1:0'\n[[peers]]\nname = 'extranet'\n[[peers]]\nname = 'county'";
    let mut trust = Trust::default();
    trust.add("a", &extranet.card(&extranet.name)).unwrap();
    trust.add("b", &Node::new(Zone::Extranet).card(&Name::new("county").unwrap())).unwrap();
    let shared = start(Arc::new(trust), internet.key.clone(), both);
    assert!(shared.contains("share the outbox"), "{shared}");
}
