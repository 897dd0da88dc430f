//! The one-way link under trouble: both ends as processes with spools of their own, a wire between them that loses,
//! repeats, reorders and fails, and a count at the end of what arrived, what is named, and what is neither.
//!
//! ```text
//! outer spool -> link-end send -> [ veth between two namespaces | relay on the loopback ] -> link-end receive -> inner spool
//! ```
//! The link alone: no guard, no seal; entries are noise, and their digests are written down before they are sent.

pub mod end;
pub mod gate;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use protocol::der_types::Octets;
use protocol::keys::{OpeningKey, SigningKey};
use protocol::ledger::{Event, Local, Record};
use protocol::parcel::Priority;
use protocol::suite::Digest;
use protocol::trust::{KeyCard, Role, Use};
use protocol::{BundleId, Crossing, Name, Suite, Timestamp, Trust, Zone, tree};
use serde_json::Value;
use spool::{Disk, EntryKind, SMALL_BYTES_MAX, Setup, Small, Spool};

use crate::papers::Noise;
use crate::relay::{Mischief, Relay};
use gate::Gate;

/// The crossing of the rig.
pub const CROSSING: Crossing = Crossing::ExtranetToIntranet;
/// The epoch of every number in it.
pub const EPOCH: u64 = 1;
/// Small entries made durable together.
const GROUP: usize = 500;
/// A machine that needs longer for a first round is not one to judge a link on: the run ends as an error, not a loss.
const ROUND_ONE_MAX: Duration = Duration::from_secs(400);
/// What crossed is on a slow and busy disk, and what a carried report asks for is here, long before this.
const SETTLES_WITHIN: Duration = Duration::from_secs(60);
/// A line of an end is this old at most while it lives.
const NEWS_EVERY: Duration = Duration::from_millis(500);

/// One of the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Sends.
    Outer,
    /// Receives.
    Inner,
}

impl Side {
    fn zone(self) -> Zone {
        match self {
            Side::Outer => Zone::Extranet,
            Side::Inner => Zone::Intranet,
        }
    }

    fn node(self) -> Name {
        Name::new(self.zone().name()).expect("a zone's word is a name")
    }

    fn other(self) -> Side {
        match self {
            Side::Outer => Side::Inner,
            Side::Inner => Side::Outer,
        }
    }
}

/// The digest of each entry by its number.
pub type Expected = BTreeMap<u64, Digest>;

fn expected(root: &Path) -> io::Result<Expected> {
    let text = fs::read_to_string(root.join("expected"))?;
    let line = |line: &str| {
        let (sequence, digest) = line.split_once(' ')?;
        Some((sequence.parse().ok()?, Octets::from_hex(digest)?))
    };
    text.lines().map(line).collect::<Option<_>>().ok_or_else(|| io::Error::other("a list of digests"))
}

fn wall() -> Timestamp {
    station::clock::now()
}

fn id_of(sequence: u64) -> BundleId {
    let mut id = [7; 16];
    id[..8].copy_from_slice(&sequence.to_be_bytes());
    Octets(id)
}

fn sequence_of(id: &BundleId) -> u64 {
    id.as_bytes().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// What belongs to one end: its spool, its keys, whom it trusts.
struct Seat {
    side: Side,
    root: PathBuf,
    suite: Suite,
    key: SigningKey,
    opening: OpeningKey,
    trust: Arc<Trust>,
}

impl Seat {
    fn make(root: &Path, suite: Suite) -> io::Result<()> {
        fs::create_dir_all(root.join("trust"))?;
        for side in [Side::Outer, Side::Inner] {
            let (key, opening) = (SigningKey::generate(suite), OpeningKey::generate(suite));
            let name = side.node();
            fs::write(root.join(format!("{name}.sign")), key.to_pem(None).map_err(io::Error::other)?.as_bytes())?;
            fs::write(root.join(format!("{name}.open")), opening.to_pem(None).map_err(io::Error::other)?.as_bytes())?;
            let keys = [(Use::Sign, key.public().to_spki()), (Use::Seal, opening.public().to_spki())];
            for (usage, spki) in keys {
                let (zone, holder, from) = (side.zone(), name.clone(), "2026-11-21".to_owned());
                let card = KeyCard { zone, holder, role: Role::Node, usage, suite, from, until: None, spki };
                fs::write(root.join("trust").join(format!("{name}-{usage:?}.pem")), card.to_text())?;
            }
        }
        for side in [Side::Outer, Side::Inner] {
            spool::create(&Seat::load(root, side)?.setup()).map_err(io::Error::other)?;
        }
        Ok(())
    }

    fn load(root: &Path, side: Side) -> io::Result<Seat> {
        let mut trust = Trust::default();
        for card in fs::read_dir(root.join("trust"))? {
            trust.add("card.pem", &fs::read_to_string(card?.path())?).map_err(io::Error::other)?;
        }
        let pem = |ending: &str| fs::read_to_string(root.join(format!("{}.{ending}", side.node())));
        let key = SigningKey::from_pem(&pem("sign")?, None).map_err(io::Error::other)?;
        let opening = OpeningKey::from_pem(&pem("open")?, None).map_err(io::Error::other)?;
        Ok(Seat { side, root: root.to_owned(), suite: key.suite(), key, opening, trust: Arc::new(trust) })
    }

    fn setup(&self) -> Setup {
        Setup {
            root: self.root.join(self.side.zone().name()),
            node: self.side.node(),
            zone: self.side.zone(),
            key: self.key.clone().into(),
            disk: Disk::real(),
            routes: Vec::new(),
            crossings: vec![CROSSING],
            now: wall(),
            index_cache_bytes: 8 << 20,
        }
    }
}

/// What is to cross: large entries and small ones, numbered in that order from 1.
#[derive(Clone, Debug, Default)]
pub struct Load {
    /// Bytes of each large one.
    pub large: Vec<u64>,
    /// Large ones are holes in a file: for a load that is never to arrive whole.
    pub hollow: bool,
    /// How many small ones.
    pub small: u64,
    /// Bytes of each of them.
    pub small_bytes: u64,
}

impl Load {
    /// Entries together.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.large.len() as u64 + self.small
    }

    /// Their bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.large.iter().sum::<u64>() + self.small * self.small_bytes
    }
}

/// Makes both spools below `root` and fills the outbox, as a station does: large ones as files, small ones in segments.
pub fn prepare(root: &Path, suite: Suite, load: &Load) -> io::Result<()> {
    Seat::make(root, suite)?;
    let spool = Spool::open(Seat::load(root, Side::Outer)?.setup()).map_err(io::Error::other)?;
    let outbox = spool.outbox(CROSSING);
    let mut digests = String::new();
    let mut sequence = 0;
    let mut next = |digest: Digest| {
        sequence += 1;
        digests += &format!("{sequence} {digest}\n");
        sequence
    };
    for (at, bytes) in load.large.iter().enumerate() {
        let staged = spool.layout().sealing().join("staged");
        let number = if load.hollow {
            fs::File::create(&staged)?.set_len(*bytes)?;
            next(Digest::default())
        } else {
            write_noise(&staged, *bytes, at as u64 + 1)?;
            let (_, digest) = tree::root_of_reader(suite, &mut fs::File::open(&staged)?)?;
            next(digest)
        };
        let done = outbox.commit(&staged, &id_of(number), EntryKind::Bundle, Priority::Bulk, EPOCH, number);
        done.map_err(io::Error::other)?;
    }
    let mut noise = Noise::new(0xbeef);
    let mut group = Vec::new();
    for at in 0..load.small {
        let bytes = noise.bytes(usize::try_from(load.small_bytes).unwrap_or(SMALL_BYTES_MAX));
        let sequence = next(tree::root_of(suite, &bytes));
        let (id, kind, priority) = (id_of(sequence), EntryKind::Bundle, Priority::Normal);
        group.push(Small { id, kind, priority, epoch: EPOCH, sequence, bytes });
        if group.len() == GROUP || at + 1 == load.small {
            put_small(&spool, &std::mem::take(&mut group)).map_err(io::Error::other)?;
        }
    }
    fs::write(root.join("expected"), digests)
}

fn write_noise(path: &Path, bytes: u64, seed: u64) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    let mut noise = Noise::new(seed);
    let mut left = bytes;
    while left > 0 {
        let part = noise.bytes(usize::try_from(left.min(1 << 20)).unwrap_or(1));
        file.write_all(&part)?;
        left -= part.len() as u64;
    }
    file.sync_all()
}

fn put_small(spool: &Spool, group: &[Small]) -> Result<(), spool::SpoolError> {
    let outbox = spool.outbox(CROSSING);
    outbox.stage(group)?;
    let record = |small: &Small| {
        let mut record = Record::new(Event::Accepted, wall());
        (record.parcel, record.bundle) = (Some(small.id), Some(small.id));
        (record.crossing, record.epoch, record.sequence) = (Some(CROSSING), Some(small.epoch), Some(small.sequence));
        (record, Local::none())
    };
    spool.record_all(group.iter().map(record).collect())?;
    outbox.publish(&group.iter().map(|small| small.id).collect::<Vec<_>>());
    Ok(())
}

/// What lies between the ends.
pub enum Wire {
    /// Two namespaces; where datagrams are to come late or twice, a relay of its own behind the gate.
    Gate(Gate, Mischief),
    /// A relay on the loopback: runs everywhere.
    Relay(Mischief),
}

/// What happens in the middle of the first round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing.
    None,
    /// The wire is down for so long.
    Outage(Duration),
    /// The wire is down until all of the first round is out.
    DownForRoundOne,
    /// One end or both are killed and started again.
    Kill {
        /// The sender.
        outer: bool,
        /// The receiver.
        inner: bool,
    },
}

/// A run.
pub struct Case {
    /// Of both ends.
    pub suite: Suite,
    /// What crosses.
    pub load: Load,
    /// Settings of the sender, by name.
    pub sender: Vec<(&'static str, u64)>,
    /// Settings of the receiver.
    pub receiver: Vec<(&'static str, u64)>,
    /// What happens.
    pub trouble: Trouble,
    /// So long after the first round everything is there, or the run ends with what is missing.
    pub patience: Duration,
    /// Then the gap report is carried back, and everything has to come.
    pub import_gaps: bool,
    /// Forged frames a second beside it, from outside, and how far their link epoch is from the true one.
    pub forged: Option<(u64, u64)>,
}

/// How a run ended. An entry is delivered, named in the gap report, or lost in silence.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Entries.
    pub total: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Arrived, bit for bit.
    pub delivered: u64,
    /// Arrived, and with other bytes.
    pub wrong: u64,
    /// Missing, and named, when the patience ended.
    pub named: u64,
    /// Missing, and not named.
    pub silent: u64,
    /// Arrived after the gap report was carried back.
    pub delivered_after_import: Option<u64>,
    /// From the last frame of the first round until all was there.
    pub seconds_after_round_one: Option<f64>,
    /// The first round, from the first line of the sender on.
    pub round_one_s: f64,
    /// From the first line of the sender until all was there.
    pub all_s: f64,
    /// CPU seconds of the link's threads: sender, receiver. Of the last start, where one was killed.
    pub cpu_s: (f64, f64),
    /// The most memory: sender, receiver.
    pub rss_mib: (u64, u64),
    /// The last line of each end.
    pub last: (Value, Value),
}

/// The accounting of a gap report: what is missing and named, and what is missing in silence.
#[must_use]
pub fn account(total: u64, delivered: u64, missing: &[(u64, u64)]) -> (u64, u64) {
    let named: u64 = missing.iter().map(|(from, to)| to - from + 1).sum();
    let named = named.min(total);
    (named, total.saturating_sub(delivered + named))
}

struct End {
    child: Child,
    stdin: Option<ChildStdin>,
    start: u32,
}

impl Drop for End {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

type News = (Side, u32, Value);

/// Both ends on a wire.
pub struct Rig<'a> {
    root: &'a Path,
    program: &'a Path,
    case: &'a Case,
    wire: &'a Wire,
    relay: Option<Relay>,
    _relay_end: Option<End>,
    listen: SocketAddr,
    target: SocketAddr,
    ends: [Option<End>; 2],
    forger: Option<End>,
    starts: u32,
    news: (Sender<News>, Receiver<News>),
    last: [Value; 2],
    rss: [u64; 2],
}

fn free_port() -> io::Result<SocketAddr> {
    UdpSocket::bind("127.0.0.1:0")?.local_addr()
}

impl<'a> Rig<'a> {
    /// Sets it up below `root`, which must be empty, with `program` for each end. Nothing runs yet.
    pub fn new(root: &'a Path, program: &'a Path, case: &'a Case, wire: &'a Wire) -> io::Result<Rig<'a>> {
        prepare(root, case.suite, &case.load)?;
        let (mut relay, mut relay_end) = (None, None);
        let (listen, target) = match wire {
            Wire::Relay(mischief) => {
                let listen = free_port()?;
                let between = Relay::between(([127, 0, 0, 1], 0).into(), listen, *mischief, 7)?;
                let entrance = between.entrance;
                relay = Some(between);
                (listen, entrance)
            }
            Wire::Gate(gate, mischief) if *mischief == Mischief::default() => (gate.listen(), gate.listen()),
            Wire::Gate(gate, mischief) => {
                let (entrance, exit) = (gate.listen(), SocketAddr::from(([127, 0, 0, 1], gate.listen().port() + 1)));
                let Mischief { lost, burst, repeated, late } = *mischief;
                let settings = [("lost", lost), ("burst", burst), ("repeated", repeated), ("late", late)];
                let mut words = vec!["relay".to_owned(), entrance.to_string(), exit.to_string()];
                words.extend(settings.map(|(name, value)| format!("{name}={value}")));
                relay_end = Some(begin(gate.inside(), program, &words, 0)?);
                (exit, entrance)
            }
        };
        let news = mpsc::channel();
        let (ends, last) = ([None, None], [Value::Null, Value::Null]);
        Ok(Rig {
            root,
            program,
            case,
            wire,
            relay,
            _relay_end: relay_end,
            listen,
            target,
            ends,
            forger: None,
            starts: 0,
            news,
            last,
            rss: [0; 2],
        })
    }

    fn start(&mut self, side: Side) -> io::Result<()> {
        match side {
            Side::Outer => self.start_as(side, "send", &self.case.sender),
            Side::Inner => self.start_as(side, "receive", &self.case.receiver),
        }
    }

    fn words(&self, role: &str, address: SocketAddr, settings: &[(&str, u64)]) -> Vec<String> {
        let mut words = vec![role.to_owned(), self.root.to_string_lossy().into_owned(), address.to_string()];
        words.extend(settings.iter().map(|(name, value)| format!("{name}={value}")));
        words
    }

    /// What stands before a command of this side.
    fn before(&self, side: Side) -> Vec<String> {
        match (self.wire, side) {
            (Wire::Relay(_), _) => Vec::new(),
            (Wire::Gate(gate, _), Side::Outer) => gate.outside(),
            (Wire::Gate(gate, _), Side::Inner) => gate.inside(),
        }
    }

    fn start_as(&mut self, side: Side, role: &str, settings: &[(&str, u64)]) -> io::Result<()> {
        let address = if side == Side::Outer { self.target } else { self.listen };
        let words = self.words(role, address, settings);
        self.starts += 1;
        let start = self.starts;
        let mut end = begin(self.before(side), self.program, &words, start)?;
        let lines = BufReader::new(end.child.stdout.take().ok_or_else(|| io::Error::other("a pipe"))?);
        let news = self.news.0.clone();
        std::thread::Builder::new().name("lines".to_owned()).spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let Ok(value) = serde_json::from_str(&line) else { continue };
                if news.send((side, start, value)).is_err() {
                    return;
                }
            }
        })?;
        self.ends[side as usize] = Some(end);
        Ok(())
    }

    /// Kill -9, and gone before this returns.
    fn kill(&mut self, side: Side) {
        self.ends[side as usize] = None;
        self.last[side as usize] = Value::Null;
    }

    /// Waits for the next line of either end, at most so long.
    fn hear(&mut self, at_most: Duration) -> io::Result<()> {
        match self.news.1.recv_timeout(at_most.min(NEWS_EVERY)) {
            Ok((side, start, value)) => {
                let now = self.ends[side as usize].as_ref().is_some_and(|end| end.start == start);
                if now {
                    let rss = &mut self.rss[side as usize];
                    *rss = (*rss).max(value["rss_mib"].as_u64().unwrap_or(0));
                    self.last[side as usize] = value;
                }
                Ok(())
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                for end in self.ends.iter_mut().flatten() {
                    if let Some(status) = end.child.try_wait()? {
                        return Err(io::Error::other(format!("an end of the link ended by itself: {status}")));
                    }
                }
                Ok(())
            }
        }
    }

    fn until(&mut self, deadline: Instant, done: impl Fn(&Self) -> bool) -> io::Result<bool> {
        while !done(self) {
            let now = Instant::now();
            if now >= deadline {
                return Ok(false);
            }
            self.hear(deadline - now)?;
        }
        Ok(true)
    }

    fn number(&self, side: Side, name: &str) -> u64 {
        self.last[side as usize][name].as_u64().unwrap_or(0)
    }

    fn missing(&self) -> Vec<(u64, u64)> {
        serde_json::from_value(self.last[Side::Inner as usize]["missing"].clone()).unwrap_or_default()
    }

    fn is_all_here(&self) -> bool {
        self.number(Side::Inner, "whole") == self.case.load.count() && self.missing().is_empty()
    }

    fn is_accounted(&self) -> bool {
        let whole = self.number(Side::Inner, "whole");
        account(self.case.load.count(), whole, &self.missing()).1 == 0
    }

    fn is_round_one_out(&self) -> bool {
        self.number(Side::Outer, "sent") == self.case.load.count()
    }

    fn set_up(&self, up: bool) -> io::Result<()> {
        match self.wire {
            Wire::Gate(gate, _) => gate.set_up(up),
            Wire::Relay(_) => {
                self.relay.iter().for_each(|relay| relay.cut(!up));
                Ok(())
            }
        }
    }

    /// An end says that it is up. On a busy machine that takes longer than a case with little patience waits.
    fn speaks(&mut self, side: Side) -> io::Result<()> {
        if self.until(Instant::now() + SETTLES_WITHIN, |rig| !rig.last[side as usize].is_null())? {
            return Ok(());
        }
        Err(io::Error::other(format!("{side:?} did not come up within {SETTLES_WITHIN:?}")))
    }

    /// Lets it happen.
    pub fn run(mut self) -> io::Result<Outcome> {
        let patience = self.case.patience;
        self.start(Side::Inner)?;
        self.speaks(Side::Inner)?;
        if self.case.trouble == Trouble::DownForRoundOne {
            self.set_up(false)?;
        }
        self.start(Side::Outer)?;
        self.speaks(Side::Outer)?;
        let began = Instant::now();
        if let Some((rate, off)) = self.case.forged {
            let words = self.words("forge", self.target, &[("rate", rate), ("epochs_off", off)]);
            self.forger = Some(begin(self.before(Side::Outer), self.program, &words, 0)?);
        }
        self.trouble(began + patience)?;
        let round_one = self.until(Instant::now() + ROUND_ONE_MAX, Self::is_round_one_out)?;
        if !round_one {
            return Err(io::Error::other(format!("the first round did not end: {:?}", self.last)));
        }
        let out = Instant::now();
        if self.case.trouble == Trouble::DownForRoundOne {
            self.set_up(true)?;
        }
        let all = self.until(out + patience, Self::is_all_here)?;
        if !all {
            // What came over the wire in time may still be on its way to the disk.
            self.until(Instant::now() + SETTLES_WITHIN, Self::is_accounted)?;
        }
        let mut outcome = self.outcome();
        outcome.round_one_s = (out - began).as_secs_f64();
        outcome.all_s = began.elapsed().as_secs_f64();
        outcome.seconds_after_round_one = all.then(|| out.elapsed().as_secs_f64());
        if self.case.import_gaps && !all {
            self.import()?;
            self.until(Instant::now() + SETTLES_WITHIN, Self::is_all_here)?;
            outcome.last = self.last.clone().into();
            outcome.delivered_after_import = Some(self.number(Side::Inner, "whole"));
        }
        Ok(outcome)
    }

    /// Urgent entries, one after another, while the load is being sent: from the outbox to the arrivals, each.
    pub fn urgent(mut self, count: u64) -> io::Result<Vec<Duration>> {
        let patience = self.case.patience;
        self.start(Side::Inner)?;
        self.speaks(Side::Inner)?;
        self.start(Side::Outer)?;
        // The bulk is under way.
        self.until(Instant::now() + patience, |rig| rig.number(Side::Outer, "bytes") > 1 << 20)?;
        for sequence in end::URGENT_FROM..end::URGENT_FROM + count {
            self.order(&format!("urgent {sequence}"))?;
            let there = |rig: &Rig<'_>| rig.times(Side::Inner, "came").contains_key(&sequence);
            if !self.until(Instant::now() + patience, there)? {
                return Err(io::Error::other(format!("urgent entry {sequence} did not come: {:?}", self.last)));
            }
        }
        let left = |rig: &Rig<'_>| rig.times(Side::Outer, "urgent").len() as u64 == count;
        self.until(Instant::now() + patience, left)?;
        let (left, came) = (self.times(Side::Outer, "urgent"), self.times(Side::Inner, "came"));
        let took = |(sequence, at): (&u64, &u64)| Some(Duration::from_nanos(came.get(sequence)?.saturating_sub(*at)));
        Ok(left.iter().filter_map(took).collect())
    }

    /// A loop of send and one of receive over the same wire: bytes that came, and CPU seconds of either loop for each GB.
    pub fn plain(mut self, bytes: u64, size: u64) -> io::Result<(u64, f64, f64)> {
        let patience = self.case.patience;
        self.start_as(Side::Inner, "plain-receive", &[])?;
        self.speaks(Side::Inner)?;
        self.start_as(Side::Outer, "plain-send", &[("bytes", bytes), ("size", size)])?;
        if !self.until(Instant::now() + patience, |rig| rig.number(Side::Outer, "bytes") >= bytes)? {
            return Err(io::Error::other("a loop of send did not end"));
        }
        // What is still in the buffer of the socket is taken within a line or two.
        self.until(Instant::now() + NEWS_EVERY, |_| false)?;
        let came = self.number(Side::Inner, "bytes");
        let cost =
            |side: Side, bytes: u64| self.last[side as usize]["cpu_s"].as_f64().unwrap_or(0.0) * 1e9 / bytes as f64;
        Ok((came, cost(Side::Outer, bytes), cost(Side::Inner, came)))
    }

    fn times(&self, side: Side, name: &str) -> BTreeMap<u64, u64> {
        let pairs: Vec<(u64, u64)> = serde_json::from_value(self.last[side as usize][name].clone()).unwrap_or_default();
        pairs.into_iter().collect()
    }

    fn trouble(&mut self, deadline: Instant) -> io::Result<()> {
        let half = self.case.load.bytes() / 2;
        if !matches!(self.case.trouble, Trouble::Outage(_) | Trouble::Kill { .. }) {
            return Ok(());
        }
        self.until(deadline, |rig| rig.number(Side::Outer, "bytes") >= half)?;
        match self.case.trouble {
            Trouble::Outage(length) => {
                self.set_up(false)?;
                self.until(Instant::now() + length, |_| false)?;
                self.set_up(true)
            }
            Trouble::Kill { outer, inner } => {
                let sides = [(Side::Outer, outer), (Side::Inner, inner)];
                let killed: Vec<Side> = sides.into_iter().filter(|(_, wanted)| *wanted).map(|(side, _)| side).collect();
                killed.iter().for_each(|side| self.kill(*side));
                killed.into_iter().try_for_each(|side| self.start(side))
            }
            Trouble::None | Trouble::DownForRoundOne => Ok(()),
        }
    }

    /// What a ferry does with a gap report: the sender is told the numbers.
    fn import(&mut self) -> io::Result<()> {
        self.missing().iter().try_for_each(|(from, to)| self.order(&format!("again {from}-{to}")))
    }

    fn order(&mut self, order: &str) -> io::Result<()> {
        let pipe = self.ends[Side::Outer as usize].as_mut().and_then(|end| end.stdin.as_mut());
        let pipe = pipe.ok_or_else(|| io::Error::other("a sender"))?;
        writeln!(pipe, "{order}")?;
        pipe.flush()
    }

    fn outcome(&self) -> Outcome {
        let (total, delivered) = (self.case.load.count(), self.number(Side::Inner, "whole"));
        let (named, silent) = account(total, delivered, &self.missing());
        let cpu = |side: Side| self.last[side as usize]["cpu_s"].as_f64().unwrap_or(0.0);
        Outcome {
            total,
            bytes: self.case.load.bytes(),
            delivered,
            wrong: self.number(Side::Inner, "wrong"),
            named,
            silent,
            cpu_s: (cpu(Side::Outer), cpu(Side::Inner)),
            rss_mib: (self.rss[0], self.rss[1]),
            last: (self.last[0].clone(), self.last[1].clone()),
            ..Outcome::default()
        }
    }
}

fn begin(before: Vec<String>, program: &Path, words: &[String], start: u32) -> io::Result<End> {
    let mut whole = before;
    whole.push(program.to_string_lossy().into_owned());
    whole.extend_from_slice(words);
    let (first, rest) = whole.split_first().ok_or_else(|| io::Error::other("a program"))?;
    let mut child = Command::new(first).args(rest).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let stdin = child.stdin.take();
    Ok(End { child, stdin, start })
}
