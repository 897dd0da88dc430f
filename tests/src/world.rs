//! The simulated world: an office of three stations in one process, on disks that die between any two effects, with
//! carriers that lose, repeat, delay and cut. No socket, no thread, no sleep; the clock is a field, and one seed decides
//! what happens in which order. (Keys and ids are random all the same, so a replayed seed takes the same path, not the
//! same bytes.)
//!
//! ```text
//! internet  <== gateway: pieces, resumed, receipts taken once stored ==>  extranet
//!                                                                         |     ^
//!                         one way: lost, twice, late, in rounds, never    |     |  ferry: signed requests at the
//!                         a word back; beacons say what should be here    v     |  desks, files copied by hand
//!                                                                         intranet
//! ```
//! A node dies when its fuse burns: everything after the last effect fails, the station is dropped, and another is
//! opened on the same directory. What must hold at the end of every story stands in `World::verdict`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use protocol::evidence::Evidence;
use protocol::keys::{self, OpeningKey, SigningKey};
use protocol::ledger::Event;
use protocol::parcel::{Label, VERSION};
use protocol::receipt::{Head, Outcome, Receipt};
use protocol::request::Request;
use protocol::trust::{KeyCard, Role, Use};
use protocol::waybill::{Approval, Waybill};
use protocol::witness::HeadStatement;
use protocol::{BundleId, Crossing, Digest, Name, Signed, Suite, Timestamp, Trust, Zone};
use serde_json::Value;
use spool::{Answer, Begin, Disk, Entry, EntryKind, Filter, Floor, Fuse, SpoolError};
use station::admission::Admission;
use station::alarm::Alarms;
use station::clock::Reading;
use station::config::{Config, RouteSettings};
use station::housekeeping::Housekeeping;
use station::intake::Intake;
use station::keyring::{Keyring, SECURITY};
use station::receipts::Receipts;
use station::rulebook::RuleBook;
use station::sealing;
use station::station::{Plan, Station, StationError};
use station::trips::{self, TripState};

use crate::papers::{self, Noise};

mod clock;
mod machine;

use clock::Clock;
pub use machine::Dangers;
use machine::Machine;

/// What went wrong with a story, in words.
pub type Told<T> = Result<T, String>;

const INTERNET: usize = 0;
const EXTRANET: usize = 1;
const INTRANET: usize = 2;
const ZONES: [Zone; 3] = [Zone::Internet, Zone::Extranet, Zone::Intranet];
const INWARD: Crossing = Crossing::ExtranetToIntranet;
const OUTWARD: Crossing = Crossing::IntranetToExtranet;

/// Midnight of 22 November 2026.
const START: Timestamp = Timestamp(1_795_305_600_000);
/// An inlet is looked at every five seconds without a hint; with this step it is always due, so that a hint of the
/// kernel, which comes when it likes, decides nothing.
const ROUND_MS: u64 = 5_001;
/// A request is answered by the next step of a desk; a node is down for at most a few rounds.
const ANSWER_ROUNDS: usize = 60;
/// Everything that can move without a person has moved by then. Deaths go on meanwhile, and each start of a node owes
/// papers of its own: 40 rounds were too few for one seed in some thousands.
const REST_ROUNDS: usize = 150;
/// Everything was dropped by then; a name is dropped a second time once the first was taken.
const DROP_ROUNDS: u64 = 1_000;
/// A disk that syncs nothing for a while has a trip copied to it again and again.
const COPIES_MAX: usize = 20;
/// Trips after which everything must have come home.
const TRIPS_MAX: usize = 8;
/// Lines of the story shown when it ends badly.
const LINES_SHOWN: usize = 80;
/// Rounds of the one-way link that the origin's notice counts.
const ONE_WAY_ROUNDS: u32 = 3;

const OPERATOR: &str = "operator-ma";
const APPROVERS: [&str; 2] = ["approver-li", "approver-zhao"];
const IMPORTER: &str = "operator-chen";
const DISC: &str = "disc-0001";

/// What stands in a boundary point of [`papers::review_result`] and must never leave the internal zone.
const POINT: [&str; 3] = ["4563112.347", "40512287.455", "KTT_GY_JZD"];
/// The first bytes of the letter that is refused: outside the internal zone a refused drop rests sealed.
const LETTER_BYTES: usize = 48;

/// Route, path, types at the origin, types at the nodes after it, intake, priority.
type Line = (&'static str, &'static [usize], &'static str, &'static str, &'static str, &'static str);
const ROUTES: [Line; 8] = [
    ("applications", &[INTERNET, EXTRANET], "application", "application", "rename", "urgent"),
    // As where one administrator has not yet been told of a new type.
    ("photos", &[INTERNET, EXTRANET], "photo", "tax-ticket", "rename", "normal"),
    ("filings", &[INTERNET, EXTRANET, INTRANET], "application", "application", "rename", "normal"),
    ("registration", &[EXTRANET, INTRANET], "registration-message", "registration-message", "ready", "urgent"),
    ("archives", &[EXTRANET, INTRANET], "archive", "archive", "settle", "bulk"),
    ("review-results", &[INTRANET, EXTRANET], "review-result", "review-result", "rename", "normal"),
    ("verdicts", &[INTRANET, EXTRANET, INTERNET], "review-result", "review-result", "rename", "normal"),
    ("responses", &[INTRANET, EXTRANET], "response-message", "response-message", "rename", "normal"),
];

/// Keys of everybody, made once for a suite: a story is about disks, not about generating keys.
pub struct Office {
    suite: Suite,
    /// First and last day of every card.
    days: (String, Option<String>),
    nodes: Vec<(SigningKey, OpeningKey, SigningKey)>,
    people: BTreeMap<&'static str, SigningKey>,
    pub(crate) trust: Trust,
}

impl Office {
    /// Makes the keys and exchanges the cards.
    pub fn found(suite: Suite) -> Told<Office> {
        Office::dated(suite, "2020-01-01", None)
    }

    /// The same, with the days on every card.
    pub fn dated(suite: Suite, from: &str, until: Option<&str>) -> Told<Office> {
        let days = (from.to_owned(), until.map(str::to_owned));
        let mut office = Office { suite, days, nodes: Vec::new(), people: BTreeMap::new(), trust: Trust::default() };
        for zone in ZONES {
            let sign = SigningKey::generate(suite);
            let seal = OpeningKey::generate(suite);
            office.believe(zone.name(), zone, Role::Node, Use::Sign, sign.public().to_spki())?;
            office.believe(zone.name(), zone, Role::Node, Use::Seal, seal.public().to_spki())?;
            let link = SigningKey::generate(Suite::Std);
            office.believe_link(zone, link.public().to_spki())?;
            office.nodes.push((sign, seal, link));
        }
        let security = OpeningKey::generate(suite).public().to_spki();
        office.believe(SECURITY, Zone::Intranet, Role::Security, Use::Seal, security)?;
        let people = [
            (OPERATOR, Zone::Intranet, Role::Operator),
            (APPROVERS[0], Zone::Intranet, Role::Approver),
            (APPROVERS[1], Zone::Intranet, Role::Approver),
            (IMPORTER, Zone::Extranet, Role::Operator),
        ];
        for (holder, zone, role) in people {
            let key = SigningKey::generate(suite);
            office.believe(holder, zone, role, Use::Sign, key.public().to_spki())?;
            office.people.insert(holder, key);
        }
        Ok(office)
    }

    /// Link keys are of the standard suite in every office.
    fn believe_link(&mut self, zone: Zone, spki: Vec<u8>) -> Told<()> {
        let suite = std::mem::replace(&mut self.suite, Suite::Std);
        let done = self.believe(zone.name(), zone, Role::Node, Use::Link, spki);
        self.suite = suite;
        done
    }

    fn believe(&mut self, holder: &str, zone: Zone, role: Role, usage: Use, spki: Vec<u8>) -> Told<()> {
        let (from, until) = self.days.clone();
        let card = KeyCard { zone, holder: name(holder), role, usage, suite: self.suite, from, until, spki };
        self.trust.add(holder, &card.to_text()).map(drop).map_err(words)
    }

    /// Every card into a folder, as an auditor gets it.
    pub fn write_cards(&self, folder: &Path) -> std::io::Result<()> {
        fs::create_dir_all(folder)?;
        self.trust.cards().try_for_each(|card| {
            fs::write(folder.join(format!("{}.{}.pub.pem", card.holder, card.usage)), card.to_text())
        })
    }

    pub(crate) fn keyring(&self, node: usize) -> Keyring {
        let (signing, opening, link) = &self.nodes[node];
        Keyring {
            signing: signing.clone().into(),
            opening: opening.clone(),
            also_opening: Vec::new(),
            link: link.clone(),
        }
    }
}

/// Files by path; one file alone stands under the empty path.
type Content = BTreeMap<String, Vec<u8>>;

/// What must become of a drop.
#[derive(Clone, Debug)]
enum Fate {
    /// It stands in the outlet of its target, byte for byte.
    Delivered(Content),
    /// It stands there without its points; the number tells which one it is.
    Stripped(u32),
    /// It goes nowhere, and the app is told.
    Refused,
}

#[derive(Clone, Debug)]
struct Dropped {
    route: usize,
    name: String,
    content: Content,
    fate: Fate,
}

/// A process: a station and its stages.
struct Running {
    station: Station,
    intake: Intake,
    admission: Admission,
    receipts: Receipts,
    housekeeping: Housekeeping,
}

struct Node {
    config: Config<NoLinks>,
    running: Option<Running>,
    clock: Clock,
    machine: Machine,
    /// Effects of its disk are refused in this round: its errors are no surprise.
    weather: bool,
    /// Rounds until somebody starts it again.
    down: u64,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct NoLinks {}

/// One file on the one-way wire.
#[derive(Clone)]
struct Flying {
    id: BundleId,
    kind: EntryKind,
    bytes: Rc<Vec<u8>>,
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Intake(usize),
    Admission(usize),
    Receipts(usize),
    Desk(usize),
    Housekeeping(usize),
    Gateway(usize, usize),
    OneWay,
    PickUp(usize),
    Restart(usize),
    Fall(usize),
}

/// The world of one seed.
pub struct World<'a> {
    office: &'a Office,
    noise: Noise,
    now: Timestamp,
    root: PathBuf,
    nodes: Vec<Node>,
    deaths_left: u64,
    weathers_left: u64,
    steps_left: u64,
    /// Clocks step in this story: what rests on days (evidence, quarantine) may be gone.
    timeless: bool,
    once: bool,
    /// Every drop of the story, and those still to come.
    dropped: Vec<Dropped>,
    coming: Vec<Dropped>,
    /// What apps took from outlets: route, name, content.
    picked: Vec<(usize, String, Content)>,
    flying: Vec<Flying>,
    flown: Vec<Flying>,
    rounds: BTreeMap<BundleId, u32>,
    beacon: BTreeMap<u64, u64>,
    carried: BTreeSet<u64>,
    loses_a_disc: bool,
    /// The last request file that was laid into a desk.
    request: Option<(PathBuf, Vec<u8>)>,
    /// Heads that were shown to somebody.
    heads: BTreeSet<(usize, u64, [u8; 32])>,
    numbers: BTreeMap<(Crossing, u64, u64), BundleId>,
    /// A node of which a folder cannot be reached in this round: its errors are no surprise.
    trouble: Option<usize>,
    /// Deaths so far.
    pub deaths: u64,
    /// Steps taken so far.
    pub steps: u64,
    story: Vec<String>,
}

fn name(word: &str) -> Name {
    Name::new(word).expect("names of this file are short and plain")
}

fn words<E: std::fmt::Display>(error: E) -> String {
    error.to_string()
}

/// The config of a node as its administrator would write it.
fn config(node: usize, suite: Suite, spool: &Path) -> Told<Config<NoLinks>> {
    let zone = ZONES[node];
    let peers: &[(&str, &str, &str)] = match node {
        INTERNET => &[("extranet", "quic", "quic")],
        EXTRANET => &[("internet", "quic", "quic"), ("intranet", "diode", "ferry")],
        _ => &[("extranet", "ferry", "diode")],
    };
    let direction = if node == INTRANET { "out" } else { "in" };
    let mut text = format!(
        "[node]\nname = \"{zone}\"\nsuite = \"{suite}\"\nspool = {spool:?}\nkeys = \"/k\"\ntrust = \"/t\"\nrules = \"/r\"\n[link]\n"
    );
    for (peer, send, receive) in peers {
        text +=
            &format!("[[peer]]\nname = \"{peer}\"\nzone = \"{peer}\"\nsend = \"{send}\"\nreceive = \"{receive}\"\n");
    }
    for (route, path, first, later, intake, priority) in ROUTES.iter().filter(|line| line.1.contains(&node)) {
        let nodes: Vec<&str> = path.iter().map(|node| ZONES[*node].name()).collect();
        let types = if path[0] == node { first } else { later };
        text += &format!(
            "[[route]]\nname = \"{route}\"\npath = {nodes:?}\ntypes = [\"{types}\"]\nintake = \"{intake}\"\n\
             settle_s = 1\npriority = \"{priority}\"\n"
        );
    }
    text += &format!("[[ferry.medium]]\nid = \"{DISC}\"\ndirection = \"{direction}\"\n");
    toml::from_str(&text).map_err(|error| format!("{error}\n{text}"))
}

fn rules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/rules")
}

impl<'a> World<'a> {
    /// Three stations on empty disks below `root`. Only drops of these names come; all where none is named.
    pub fn new(seed: u64, office: &'a Office, dangers: Dangers, only: &[&str], root: &Path) -> Told<World<'a>> {
        // The first numbers of neighbouring seeds are alike; some turns further they are not.
        let mut noise = Noise::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        for _ in 0..8 {
            noise.next();
        }
        let mut world = World {
            office,
            now: START,
            root: root.to_owned(),
            nodes: Vec::new(),
            deaths_left: dangers.deaths(),
            weathers_left: dangers.weathers(),
            steps_left: dangers.steps(),
            timeless: dangers.steps() > 0,
            once: matches!(dangers, Dangers::Once { .. }),
            dropped: Vec::new(),
            coming: Vec::new(),
            picked: Vec::new(),
            flying: Vec::new(),
            flown: Vec::new(),
            rounds: BTreeMap::new(),
            beacon: BTreeMap::new(),
            carried: BTreeSet::new(),
            loses_a_disc: noise.below(4) == 0,
            request: None,
            heads: BTreeSet::new(),
            numbers: BTreeMap::new(),
            trouble: None,
            deaths: 0,
            steps: 0,
            story: Vec::new(),
            noise,
        };
        for (node, zone) in ZONES.into_iter().enumerate() {
            let config = config(node, office.suite, &root.join(zone.name()))?;
            let crossings = config.crossings(zone);
            let keyring = office.keyring(node);
            let setup =
                station::station::setup(&config.node, zone, &config.routes, &crossings, &keyring, Disk::real(), START);
            spool::create(&setup).map_err(words)?;
            let graveyard = root.join("graves").join(zone.name());
            let machine = Machine::new(&dangers, &graveyard, world.noise.next()).map_err(words)?;
            world.nodes.push(Node { config, running: None, clock: Clock::default(), machine, weather: false, down: 0 });
        }
        fs::create_dir_all(root.join("apps")).map_err(words)?;
        world.coming = world.script();
        world.coming.retain(|dropped| only.is_empty() || only.contains(&dropped.name.as_str()));
        for (node, one) in ZONES.into_iter().enumerate() {
            let fuse = match dangers {
                Dangers::Once { zone, effects, .. } if zone == one => Fuse::after(effects),
                _ => world.fuse(),
            };
            world.start_with(node, fuse)?;
        }
        Ok(world)
    }

    /// The last lines of the story, for whoever has to find out.
    #[must_use]
    pub fn story(&self) -> String {
        let from = self.story.len().saturating_sub(LINES_SHOWN);
        self.story.get(from..).unwrap_or_default().join("\n")
    }

    fn tell(&mut self, line: impl FnOnce() -> String) {
        let at = self.now.since(START);
        self.story.push(format!("{at:>8} ms  {}", line()));
    }

    fn layout(&self, node: usize) -> spool::Layout {
        spool::Layout::new(self.root.join(ZONES[node].name()))
    }

    // ---- the documents of the day ----

    fn script(&mut self) -> Vec<Dropped> {
        let seed = self.noise.next() % 1_000_000;
        let number = |nth: u32| u32::try_from(seed % 1_000).unwrap_or(0) * 100 + nth;
        let file = |bytes: Vec<u8>| Content::from([(String::new(), bytes)]);
        let mut drops = Vec::new();
        let mut push = |route: &str, name: &str, content: Content, fate: Option<Fate>| {
            let route = ROUTES.iter().position(|line| line.0 == route).expect("a route of this world");
            let fate = fate.unwrap_or_else(|| Fate::Delivered(content.clone()));
            drops.push(Dropped { route, name: name.to_owned(), content, fate });
        };
        let application = |nth: u32| {
            Content::from([
                ("application.json".to_owned(), papers::application_form(number(nth)).into_bytes()),
                ("scans/deed.jpg".to_owned(), papers::scanned_page(u64::from(number(nth)) + 1, 168, 80)),
            ])
        };
        let message = |nth: u32| file(papers::registration_message(number(nth)).into_bytes());
        let result = |nth: u32| file(papers::review_result(number(nth)).into_bytes());
        push("applications", "case-1", application(1), None);
        push("applications", "case-2", application(2), None);
        push("applications", "case-2", application(3), None);
        push("applications", "letter.docx", file(papers::letter_with_hidden_shapefile()), Some(Fate::Refused));
        push("photos", "front.jpg", file(papers::scanned_page(seed + 4, 168, 80)), Some(Fate::Refused));
        push("filings", "filing-5", application(5), None);
        push("registration", "message-6.xml", message(6), None);
        push("registration", "message-7.xml", message(7), None);
        push("registration", "message-7.xml", message(8), None);
        push("archives", "volume.zip", file(papers::archive(200 * 1024, seed)), None);
        push("review-results", "review-9.xml", result(9), Some(Fate::Stripped(number(9))));
        push("review-results", "review-10.xml", result(10), Some(Fate::Stripped(number(10))));
        push("verdicts", "review-11.xml", result(11), Some(Fate::Stripped(number(11))));
        push("responses", "review-12.xml", result(12), Some(Fate::Refused));
        push("responses", "answer-13.json", file(papers::answer(number(13)).into_bytes()), None);
        push("responses", "answer-14.json", file(papers::large_answer(number(14))), None);
        self.shuffle(&mut drops);
        drops
    }

    /// An app drops: written beside the inlet, then renamed in. It needs no daemon for that. A name that still waits
    /// in the inlet is the app's to wait for.
    fn app_drops(&mut self) -> Told<()> {
        let Some(next) = self.coming.pop() else { return Ok(()) };
        let (route, path, _, _, intake, _) = ROUTES[next.route];
        let inlet = self.layout(path[0]).inlet(&name(route));
        let place = inlet.join(&next.name);
        let marker = inlet.join(format!("{}.ready", next.name));
        if place.exists() || marker.exists() {
            self.coming.insert(0, next);
            return Ok(());
        }
        let aside = self.root.join("apps/drop");
        put_content(&aside, &next.content).map_err(words)?;
        fs::rename(&aside, &place).map_err(words)?;
        if intake == "ready" {
            fs::write(marker, []).map_err(words)?;
        }
        self.tell(|| format!("{} drops into {route}", next.name));
        self.dropped.push(next);
        Ok(())
    }

    // ---- life and death ----

    /// When the next process on this disk will die.
    fn fuse(&mut self) -> Fuse {
        if self.deaths_left == 0 {
            return Fuse::after(u64::MAX);
        }
        let effects = match self.noise.below(5) {
            0 => self.noise.below(40),
            1 => self.noise.below(150),
            2 | 3 => self.noise.below(600),
            _ => u64::MAX,
        };
        Fuse::after(effects)
    }

    fn start(&mut self, node: usize) -> Told<()> {
        let fuse = self.fuse();
        self.start_with(node, fuse)
    }

    fn start_with(&mut self, node: usize, fuse: Fuse) -> Told<()> {
        let zone = ZONES[node];
        let disk = self.nodes[node].machine.disk(fuse);
        let config = &self.nodes[node].config;
        let crossings = config.crossings(zone);
        let layout = spool::Layout::new(&config.node.spool);
        let plan = Plan {
            sandbox: station::sandbox::Sandbox::in_process(),
            scanner: None,
            rules: RuleBook::load(&rules(), &crossings, &self.office.trust, config.node.suite, &layout)
                .map_err(words)?,
            node: config.node.clone(),
            zone,
            peers: config.peers.clone(),
            routes: config.routes.clone(),
            ferry: config.ferry.clone(),
            backup: config.backup.clone(),
            crossings,
            keyring: self.office.keyring(node),
            trust: self.office.trust.clone(),
            alarms: Alarms::new(&config.node.name, &config.alarm),
            disk,
        };
        let now = self.nodes[node].clock.shows(self.now);
        let opened = Station::open(plan, now).and_then(|station| {
            // The machine that runs the tests may be nearly full.
            station.spool.set_floor(Floor { bytes: 0, inodes: 0 });
            let intake = Intake::new(&station)?;
            Ok(Running {
                station,
                intake,
                admission: Admission::default(),
                receipts: Receipts::default(),
                housekeeping: Housekeeping::default(),
            })
        });
        self.tell(|| format!("{zone} starts"));
        let opened = opened.map(|running| self.nodes[node].running = Some(running));
        self.after(node, "its start", opened)?;
        if let Some(running) = &self.nodes[node].running {
            // Losing power is no damage: what was synced in time needs no mending, and no alarm.
            let machine = &self.nodes[node].machine;
            if machine.faults() == 0 && running.station.spool.was_damaged() {
                return Err(format!("{zone} calls its ledger damaged, and its disk refused nothing"));
            }
            self.note_head(node)?;
        }
        Ok(())
    }

    /// What an effect that failed means: the process is dead, or the world has found something.
    fn after<T>(&mut self, node: usize, what: &str, result: Result<T, StationError>) -> Told<Option<T>> {
        if self.nodes[node].machine.is_burnt() {
            self.die(node, what)?;
            return Ok(None);
        }
        match result {
            Err(StationError::Spool(SpoolError::Poisoned { .. } | SpoolError::Index { .. }))
                if self.nodes[node].machine.faults() > 0 =>
            {
                // Only a fresh start helps, and systemd gives one.
                self.nodes[node].running = None;
                self.tell(|| format!("{} ends itself in {what}", ZONES[node]));
                Ok(None)
            }
            Err(_) if self.trouble == Some(node) || self.nodes[node].weather => Ok(None),
            other => other.map(Some).map_err(|error| format!("{} at {what}: {error}", ZONES[node])),
        }
    }

    /// A folder that cannot be reached for a round: a stage stops at an error and tries again, without a new process.
    fn in_trouble(&mut self, node: usize, acts: Vec<Act>) -> Told<()> {
        let layout = self.layout(node);
        let mut places =
            vec![layout.sealing(), layout.opening(), layout.checked(), layout.quarantine(), layout.evidence()];
        for (route, path, ..) in ROUTES {
            if path.last() == Some(&node) {
                places.push(layout.outlet_staging(&name(route)));
            }
            if path.first() == Some(&node) {
                places.push(layout.notices(&name(route)));
            }
        }
        let place = places.swap_remove(self.pick(places.len()));
        self.without(node, &place, |world| acts.into_iter().try_for_each(|act| world.turn(act)))
    }

    fn without(&mut self, node: usize, place: &Path, then: impl FnOnce(&mut Self) -> Told<()>) -> Told<()> {
        let away = self.root.join("apps/away");
        self.tell(|| format!("{} cannot be reached", place.display()));
        fs::rename(place, &away).map_err(words)?;
        fs::write(place, "no folder").map_err(words)?;
        self.trouble = Some(node);
        then(self)?;
        self.trouble = None;
        fs::remove_file(place).map_err(words)?;
        fs::rename(&away, place).map_err(words)
    }

    /// Everything drops, and for some rounds a folder of one node cannot be reached; the story is still to be run.
    pub fn stumble(&mut self, zone: Zone, folder: &str) -> Told<()> {
        while !self.coming.is_empty() {
            self.app_drops()?;
        }
        let node = ZONES.into_iter().position(|one| one == zone).unwrap_or(INTERNET);
        let place = self.layout(node).root().join(folder);
        self.without(node, &place, |world| (0..6).try_for_each(|_| world.round()))
    }

    /// The first disc will be lost on its way.
    pub fn lose_a_disc(&mut self) {
        self.loses_a_disc = true;
    }

    /// An export is asked for, and later the same request file is laid down again. Returns the trips after each.
    pub fn ask_twice(&mut self) -> Told<(usize, usize)> {
        // Something must wait for the ferry, or no trip is made.
        for _ in 0..20 {
            let running = self.nodes[INTRANET].running.as_ref();
            if running.is_some_and(|running| running.station.spool.outbox(OUTWARD).load().0 > 0) {
                break;
            }
            if !self.coming.is_empty() {
                self.app_drops()?;
            }
            self.round()?;
        }
        self.ask(INTRANET, OPERATOR, "export", &[("medium", DISC.to_owned()), ("carrier", "carrier-sun".to_owned())])?;
        let once = self.trips()?.len();
        let (path, bytes) = self.request.clone().ok_or("nothing was asked")?;
        fs::write(&path, bytes).map_err(words)?;
        (0..3).try_for_each(|_| self.round())?;
        if path.exists() { Err("the request still lies there".to_owned()) } else { Ok((once, self.trips()?.len())) }
    }

    fn turn(&mut self, act: Act) -> Told<()> {
        self.now = self.now.plus_ms(1 + self.noise.below(20));
        self.steps += 1;
        self.act(act)
    }

    fn die(&mut self, node: usize, what: &str) -> Told<()> {
        if self.nodes[node].running.take().is_none() && self.nodes[node].down > 0 {
            return Ok(());
        }
        let cut = self.nodes[node].machine.fall(self.once, &mut self.noise).map_err(words)?;
        self.nodes[node].down = self.noise.below(4);
        self.deaths += 1;
        self.deaths_left = self.deaths_left.saturating_sub(1);
        let how = if cut { "loses power" } else { "dies" };
        self.tell(|| format!("{} {how} in {what}", ZONES[node]));
        if self.noise.below(8) == 0 {
            // The index may be deleted at any time: the ledger gives it again.
            let index = self.layout(node).index().join("index.redb");
            if index.exists() {
                fs::remove_file(index).map_err(words)?;
            }
        }
        Ok(())
    }

    /// A machine loses power while its process waits for work.
    fn fall(&mut self, node: usize) -> Told<()> {
        if self.nodes[node].running.is_some() {
            // Nothing that is done while the process is cleared away counts.
            self.nodes[node].machine.stop();
            self.die(node, "peace")?;
        }
        Ok(())
    }

    fn change_weather(&mut self) {
        if self.weathers_left > 0 && self.noise.below(6) == 0 {
            self.weathers_left -= 1;
            let node = self.pick(ZONES.len());
            if let Some(weather) = self.nodes[node].machine.turns(&mut self.noise) {
                self.tell(|| format!("the disk of {} has {weather:?}", ZONES[node]));
            }
        }
        for node in &mut self.nodes {
            node.weather = node.machine.dawn();
        }
        if self.steps_left > 0 && self.noise.below(6) == 0 {
            self.steps_left -= 1;
            let node = self.pick(ZONES.len());
            self.nodes[node].clock.step(&mut self.noise);
            let clock = format!("{:?}", self.nodes[node].clock);
            self.tell(|| format!("{} has a {clock}", ZONES[node]));
        }
    }

    /// Cuts of power, effects they took back, and effects that disks refused.
    #[must_use]
    pub fn toll(&self) -> [u64; 3] {
        let mut sum = [0; 3];
        for node in &self.nodes {
            sum = std::array::from_fn(|at| sum[at] + node.machine.toll()[at]);
        }
        sum
    }

    /// One round: everybody has a turn, in an order of the seed.
    pub fn round(&mut self) -> Told<()> {
        self.now = self.now.plus_ms(ROUND_MS + self.noise.below(2_000));
        for node in 0..ZONES.len() {
            if self.nodes[node].running.is_none() {
                match self.nodes[node].down.checked_sub(1) {
                    Some(left) => self.nodes[node].down = left,
                    None => self.start(node)?,
                }
            }
        }
        let mut acts = vec![Act::Gateway(INTERNET, EXTRANET), Act::Gateway(EXTRANET, INTERNET), Act::OneWay];
        for node in 0..ZONES.len() {
            acts.extend([
                Act::Intake(node),
                Act::Admission(node),
                Act::Receipts(node),
                Act::Desk(node),
                Act::Housekeeping(node),
            ]);
            if self.noise.below(4) == 0 {
                acts.push(Act::PickUp(node));
            }
            if self.deaths_left > 0 && self.noise.below(40) == 0 {
                acts.push(Act::Restart(node));
            }
            if self.deaths_left > 0 && self.nodes[node].machine.has_power() && self.noise.below(30) == 0 {
                acts.push(Act::Fall(node));
            }
        }
        self.shuffle(&mut acts);
        self.change_weather();
        let unlucky = self.pick(ZONES.len());
        if self.deaths_left > 0 && self.noise.below(30) == 0 && self.nodes[unlucky].running.is_some() {
            acts.retain(|act| !matches!(act, Act::Restart(_) | Act::Fall(_) | Act::PickUp(_)));
            self.in_trouble(unlucky, acts)?;
        } else {
            acts.into_iter().try_for_each(|act| self.turn(act))?;
        }
        for node in &mut self.nodes {
            node.clock.tick();
            node.machine.dusk();
            node.weather = false;
        }
        (0..ZONES.len()).try_for_each(|node| self.note_head(node))?;
        self.check_numbers()
    }

    fn shuffle<T>(&mut self, things: &mut [T]) {
        for at in (1..things.len()).rev() {
            let with = self.pick(at + 1);
            things.swap(at, with);
        }
    }

    fn pick(&mut self, end: usize) -> usize {
        usize::try_from(self.noise.below(end as u64)).unwrap_or(0)
    }

    fn act(&mut self, act: Act) -> Told<()> {
        let now = self.now;
        let (node, stepped) = match act {
            Act::Gateway(from, to) => return self.gateway(from, to),
            Act::OneWay => return self.one_way(),
            Act::PickUp(node) => return self.pick_up(node),
            Act::Restart(node) => {
                if self.nodes[node].running.take().is_some() {
                    self.tell(|| format!("{} is restarted", ZONES[node]));
                    self.start(node)?;
                }
                return Ok(());
            }
            Act::Fall(node) => return self.fall(node),
            Act::Intake(node)
            | Act::Admission(node)
            | Act::Receipts(node)
            | Act::Desk(node)
            | Act::Housekeeping(node) => {
                let reading = Reading { wall: self.nodes[node].clock.shows(now), boot_ms: now.since(START) };
                let Some(running) = &mut self.nodes[node].running else { return Ok(()) };
                let station = &running.station;
                let now = station.clock.see(reading);
                let failures = station.retries.failures();
                let stepped = match act {
                    Act::Intake(_) => running.intake.step(station, now),
                    Act::Admission(_) => running.admission.step(station, now),
                    Act::Receipts(_) => running.receipts.step(station, now),
                    Act::Desk(_) => station::desk::step(station, now),
                    _ => running.housekeeping.step(station, now),
                };
                // What failed by itself is tried again later; here it is a surprise as any other error.
                let failed = station.retries.failures() > failures;
                let newest = station.retries.waiting(usize::MAX).0.into_iter().max_by_key(|(_, failed)| failed.at);
                let stepped = stepped.and_then(|done| match newest.filter(|_| failed) {
                    Some((item, failed)) => {
                        Err(StationError::Io { path: item.into(), cause: std::io::Error::other(failed.words) })
                    }
                    None => Ok(done),
                });
                (node, stepped)
            }
        };
        let what = format!("{act:?}");
        if let Some(done) = self.after(node, &what, stepped)?.filter(|done| *done > 0) {
            self.tell(|| format!("{} {what}: {done}", ZONES[node]));
        }
        Ok(())
    }

    // ---- carriers ----

    /// Offers what waits; entries come whole, in part, or another time.
    fn gateway(&mut self, from: usize, to: usize) -> Told<()> {
        let Some(crossing) = Crossing::between(ZONES[from], ZONES[to]) else { return Ok(()) };
        let waiting = match &self.nodes[from].running {
            Some(running) => running.station.spool.outbox(crossing).entries().map_err(words)?,
            None => return Ok(()),
        };
        for entry in waiting {
            let part = match self.noise.below(6) {
                0 => continue,
                1 => Some(self.noise.below(entry.size)),
                _ => None,
            };
            let Some(receiver) = &self.nodes[to].running else { return Ok(()) };
            let Some(sender) = &self.nodes[from].running else { return Ok(()) };
            let content = match bytes_of(sender.station.spool.outbox(crossing).content(&entry)) {
                // Left where it is, and tried again.
                Err(_) if self.nodes[from].weather => continue,
                content => content.map_err(words)?,
            };
            let offered = offer(&receiver.station.spool, crossing, &entry, &content, part);
            let Some(stored) = self.after(to, "the gateway", offered.map_err(StationError::from))? else {
                return Ok(());
            };
            if stored && entry.kind == EntryKind::Receipts {
                let Some(sender) = &self.nodes[from].running else { return Ok(()) };
                let removed = sender.station.spool.outbox(crossing).remove(&entry);
                if self.after(from, "the gateway", removed.map_err(StationError::from))?.is_none() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Sends without ever learning anything; what flies arrives now, later, twice or never.
    fn one_way(&mut self) -> Told<()> {
        if let Some(running) = &self.nodes[EXTRANET].running {
            let outbox = running.station.spool.outbox(INWARD);
            let mut sent = Vec::new();
            for entry in outbox.entries().map_err(words)? {
                let next = self.beacon.entry(entry.epoch).or_default();
                *next = (*next).max(entry.sequence + 1);
                if self.noise.below(2) == 0 {
                    continue;
                }
                let round = self.rounds.entry(entry.id).or_default();
                *round += 1;
                outbox.went(&entry.id, *round, ONE_WAY_ROUNDS);
                let bytes = match bytes_of(outbox.content(&entry)) {
                    // This round goes without it.
                    Err(_) if self.nodes[EXTRANET].weather => continue,
                    content => Rc::new(content.map_err(words)?),
                };
                for _ in 0..[0, 1, 1, 2][usize::try_from(self.noise.below(4)).unwrap_or(0)] {
                    sent.push(Flying { id: entry.id, kind: entry.kind, bytes: Rc::clone(&bytes) });
                }
            }
            self.flying.extend(sent);
        }
        let mut flying = std::mem::take(&mut self.flying);
        self.shuffle(&mut flying);
        for one in flying {
            if self.noise.below(4) == 0 {
                self.flying.push(one);
            } else {
                self.lands(one)?;
            }
        }
        if self.noise.below(3) > 0 {
            if let Some(running) = &self.nodes[INTRANET].running {
                for (epoch, next) in &self.beacon {
                    running.station.spool.announce(&name("extranet"), INWARD, *epoch, *next);
                }
            }
            self.after(INTRANET, "a beacon", Ok(()))?;
        }
        Ok(())
    }

    fn lands(&mut self, one: Flying) -> Told<()> {
        // Nobody listens: gone.
        let Some(running) = &self.nodes[INTRANET].running else { return Ok(()) };
        let land = || -> Result<(), SpoolError> {
            match running.station.spool.arrivals(INWARD).begin(&one.id, one.kind, one.bytes.len() as u64)? {
                Begin::Have => Ok(()),
                Begin::Partial(mut partial) => {
                    if partial.offset() > 0 {
                        partial.restart()?;
                    }
                    partial.write(&one.bytes)?;
                    partial.finish()
                }
            }
        };
        let landed = land().map_err(StationError::from);
        self.after(INTRANET, "the one-way link", landed)?;
        self.flown.push(one);
        Ok(())
    }

    /// The wire repeats something from long ago.
    fn echoes(&mut self) -> Told<()> {
        for _ in 0..self.flown.len().min(10) {
            let at = self.pick(self.flown.len());
            if let Some(one) = self.flown.get(at).cloned() {
                self.lands(one)?;
                self.flown.pop();
            }
        }
        Ok(())
    }

    // ---- people ----

    /// A person puts a signed request into a desk and waits for the answer, asking again where it was lost.
    fn ask(&mut self, node: usize, person: &str, action: &str, arguments: &[(&str, String)]) -> Told<Answer> {
        let layout = self.layout(node);
        let mut asked: Option<Digest> = None;
        for _ in 0..ANSWER_ROUNDS {
            if let Some(id) = asked {
                if let Ok(bytes) = fs::read(layout.desk_answers().join(format!("{id}.json"))) {
                    let answer: Answer = serde_json::from_slice(&bytes).map_err(words)?;
                    self.tell(|| format!("{person} asks {} to {action}: {}", ZONES[node], answer.code));
                    if self.timeless && answer.code == "too-old" {
                        // The node's clock is wrong at the moment: the person asks once more, later.
                        asked = None;
                        self.round()?;
                        continue;
                    }
                    return Ok(answer);
                }
                asked = asked.filter(|_| layout.desk_requests().join(format!("{id}.req")).exists());
            }
            if asked.is_none() {
                let id = protocol::der_types::Octets(keys::random());
                let request = Request {
                    version: VERSION,
                    id,
                    node: name(ZONES[node].name()),
                    action: name(action),
                    person: name(person),
                    at: self.now,
                    arguments: arguments
                        .iter()
                        .map(|(what, value)| Label { name: name(what), value: value.clone() })
                        .collect(),
                };
                let key = self.office.people.get(person).ok_or("nobody of that name works here")?;
                let signed = Signed::make(key, &request).to_bytes();
                let place = layout.desk_requests().join(format!("{id}.req"));
                Disk::real().write(&place, &signed).map_err(words)?;
                self.request = Some((place, signed));
                asked = Some(id);
            }
            self.round()?;
        }
        Err(format!("{person} got no answer from {} to {action}", ZONES[node]))
    }

    /// A person asks, and once more where the disk was in the way.
    fn insist(&mut self, node: usize, person: &str, action: &str, arguments: &[(&str, String)]) -> Told<Answer> {
        for _ in 0..ANSWER_ROUNDS {
            let answer = self.ask(node, person, action, arguments)?;
            if answer.code != "disk-error" {
                return Ok(answer);
            }
            self.round()?;
        }
        Err(format!("the disk of {} never let {person} {action}", ZONES[node]))
    }

    fn ask_for_a_trip(&mut self, action: &str, arguments: &[(&str, String)]) -> Told<()> {
        let answer = self.insist(INTRANET, OPERATOR, action, arguments)?;
        if answer.done { Ok(()) } else { Err(format!("the {action} was refused: {}", answer.code)) }
    }

    /// An export, and every trip that stands open is carried over, in order. Returns how many.
    fn ferry(&mut self) -> Told<usize> {
        let medium = ("medium", DISC.to_owned());
        self.ask_for_a_trip("export", &[medium, ("carrier", "carrier-sun".to_owned())])?;
        let mut carried = 0;
        for (number, state) in self.open_trips()? {
            if self.carried.contains(&number) {
                continue;
            }
            if state == TripState::Confirmed {
                // Its disc was lost on the way.
                self.ask_for_a_trip("reexport", &[("trip", number.to_string())])?;
            }
            if !self.carry(number)? {
                break;
            }
            carried += 1;
        }
        Ok(carried)
    }

    fn open_trips(&mut self) -> Told<Vec<(u64, TripState)>> {
        for _ in 0..ANSWER_ROUNDS {
            if let Some(running) = &self.nodes[INTRANET].running {
                let trips = trips::list(&running.station).map_err(words)?;
                let open = |state| matches!(state, TripState::Staged | TripState::Approved | TripState::Confirmed);
                let out = trips.iter().filter(|trip| trip.direction == "out" && open(trip.state));
                let mut out: Vec<_> = out.map(|trip| (trip.trip, trip.state)).collect();
                out.sort_by_key(|(number, _)| *number);
                return Ok(out);
            }
            self.round()?;
        }
        Err("the intranet's node did not start again".to_owned())
    }

    fn countersign(&mut self, number: u64) -> Told<()> {
        let place = self.layout(INTRANET).desk_trips().join(number.to_string());
        for person in APPROVERS {
            let waybill =
                fs::read(place.join("waybill")).map_err(|error| format!("the waybill of trip {number}: {error}"))?;
            let signed = Signed::parse::<Waybill>(&waybill).map_err(words)?;
            let approval = Approval {
                version: VERSION,
                waybill: signed.digest(),
                trip: number,
                person: name(person),
                at: self.now,
            };
            let key = self.office.people.get(person).ok_or("nobody of that name works here")?;
            let paper = Signed::make(key, &approval).to_bytes();
            fs::write(place.join("approvals").join(format!("{person}.approval")), paper).map_err(words)?;
            let approved = self.insist(INTRANET, person, "approve", &[("trip", number.to_string())])?;
            if !approved.done {
                return Err(format!("{person} could not approve trip {number}: {}", approved.code));
            }
        }
        Ok(())
    }

    /// Two countersign, the disc is read back, carried and read in. False where the disc is lost.
    fn carry(&mut self, number: u64) -> Told<bool> {
        let place = self.layout(INTRANET).desk_trips().join(number.to_string());
        let trip = ("trip", number.to_string());
        self.countersign(number)?;
        let medium = ("medium", DISC.to_owned());
        let mut confirmed = self.insist(INTRANET, OPERATOR, "confirm", &[trip.clone(), medium.clone()])?;
        if confirmed.code == "approvals-missing" {
            // A cut of power took back that a request was answered: it was acted on once more, and the trip has another
            // waybill than some have signed.
            self.countersign(number)?;
            confirmed = self.insist(INTRANET, OPERATOR, "confirm", &[trip.clone(), medium])?;
        }
        if !confirmed.done {
            return Err(format!("trip {number} could not be confirmed: {}", confirmed.code));
        }
        if self.loses_a_disc {
            self.loses_a_disc = false;
            self.tell(|| format!("the disc of trip {number} is lost"));
            return Ok(false);
        }
        let target = self.layout(EXTRANET).desk_incoming().join(format!("{OUTWARD}-{number}"));
        fs::create_dir_all(target.join("approvals")).map_err(words)?;
        let asked = [trip, ("crossing", OUTWARD.to_string())];
        for _ in 0..COPIES_MAX {
            for (from, to) in [(place.clone(), target.clone()), (place.join("approvals"), target.join("approvals"))] {
                for entry in fs::read_dir(from).map_err(words)? {
                    let path = entry.map_err(words)?.path();
                    let file = path.file_name().unwrap_or_default();
                    if path.is_file() && file != "trip.json" && !file.as_encoded_bytes().starts_with(b".") {
                        fs::copy(&path, to.join(file)).map_err(words)?;
                    }
                }
            }
            let imported = self.insist(EXTRANET, IMPORTER, "import", &asked)?;
            match imported.code.as_str() {
                _ if imported.done => break,
                "trip-repeated" => break,
                // A file that could not be synced there went: the medium still has it.
                "file-missing" => {}
                code => return Err(format!("trip {number} could not be imported: {code}")),
            }
        }
        self.carried.insert(number);
        Ok(true)
    }

    /// Apps take what stands in the outlets of a node.
    fn pick_up(&mut self, node: usize) -> Told<()> {
        for (at, (route, path, ..)) in ROUTES.iter().enumerate() {
            if path.last() != Some(&node) {
                continue;
            }
            for place in children(&self.layout(node).outlet(&name(route)))? {
                let file = place.file_name().unwrap_or_default().to_string_lossy().into_owned();
                if file.starts_with('.') {
                    continue;
                }
                self.picked.push((at, file, content_of(&place).map_err(words)?));
                if place.is_dir() { fs::remove_dir_all(&place) } else { fs::remove_file(&place) }.map_err(words)?;
            }
        }
        Ok(())
    }

    // ---- the story ----

    /// The whole story, to its end.
    pub fn run(&mut self) -> Told<()> {
        let first_trip = 4 + self.noise.below(16);
        for turn in 0_u64.. {
            if self.coming.is_empty() {
                break;
            }
            if turn > DROP_ROUNDS {
                return Err("a name that waits in an inlet is never taken".to_owned());
            }
            for _ in 0..self.noise.below(3) {
                self.app_drops()?;
            }
            self.round()?;
            if turn == first_trip {
                self.ferry()?;
            }
        }
        let mut waits = None;
        for _ in 0..TRIPS_MAX {
            for _ in 0..REST_ROUNDS {
                self.round()?;
                waits = self.unsettled(true)?;
                if waits.is_none() {
                    break;
                }
            }
            if let Some(what) = waits {
                return Err(format!("the story does not come to rest: {what}"));
            }
            if self.unsettled(false)?.is_none() && !self.owes_an_end()? {
                break;
            }
            self.ferry()?;
        }
        self.echoes()?;
        let mut left = None;
        let mut calm = 0;
        for _ in 0..REST_ROUNDS {
            self.round()?;
            left = self.unsettled(false)?;
            // Once more: a node that has met its disk may end itself in the next round, and start anew.
            calm = if left.is_none() { calm + 1 } else { 0 };
            if calm > 2 {
                break;
            }
        }
        if let Some(what) = left {
            return Err(format!("the story does not end: {what}; {}", self.under_way()?));
        }
        (0..ZONES.len()).try_for_each(|node| self.pick_up(node))?;
        self.verdict()
    }

    /// What is not at rest yet. What only a ferry can bring home may be left out of it.
    fn unsettled(&self, ferry_apart: bool) -> Told<Option<String>> {
        for (node, zone) in ZONES.into_iter().enumerate() {
            let Some(running) = &self.nodes[node].running else { return Ok(Some(format!("{zone} is down"))) };
            let layout = self.layout(node);
            let mut places = vec![layout.opening(), layout.checked()];
            if self.nodes[node].machine.faults() == 0 {
                // A disk that refuses to remove leaves waste there until the next start; what is owed would be missed.
                places.push(layout.sealing());
            }
            for RouteSettings { name, path, .. } in &running.station.routes {
                let (here, first, last) = (&running.station.node, path.first(), path.last());
                if first == Some(here) {
                    places.extend([layout.inlet(name), layout.claimed(name)]);
                }
                if last == Some(here) {
                    places.push(layout.outlet_staging(name));
                }
            }
            for crossing in self.nodes[node].config.crossings(zone) {
                places.push(layout.complete(crossing));
                let by_ferry = ferry_apart && (crossing == INWARD || crossing == OUTWARD);
                if crossing.source() == zone && !by_ferry {
                    let one_way = crossing == INWARD || crossing == OUTWARD;
                    // Papers on a crossing that answers nothing stay until somebody else says that they came.
                    let stays = |entry: &Entry| one_way && entry.kind == EntryKind::Receipts;
                    let waiting = running.station.spool.outbox(crossing).entries().map_err(words)?;
                    if let Some(entry) = waiting.iter().find(|entry| !stays(entry)) {
                        return Ok(Some(format!("{} waits on {crossing}", entry.id)));
                    }
                }
                if crossing.source() == zone && crossing != OUTWARD {
                    places.push(layout.receipts(crossing));
                }
                if crossing.target() == zone && !(ferry_apart && crossing == INWARD) {
                    places.push(layout.partial(crossing));
                }
            }
            for place in places {
                for path in children(&place)? {
                    let file = path.file_name().unwrap_or_default().to_string_lossy();
                    // A disk that refuses to remove leaves what was written aside until the next start.
                    let waste = self.nodes[node].machine.faults() > 0 && file.starts_with(spool::disk::ASIDE);
                    if file != ".claimed" && !waste {
                        return Ok(Some(format!("{} stands in {}", file, place.display())));
                    }
                }
            }
        }
        if !self.sent_one_way()? {
            return Ok(Some("something has never left through the one-way link".to_owned()));
        }
        if !ferry_apart {
            for trip in self.trips()? {
                if trip.bundles > 0 && !matches!(trip.state, TripState::Settled) {
                    return Ok(Some(format!(
                        "trip {} is {:?}, {} of {}",
                        trip.trip, trip.state, trip.settled, trip.bundles
                    )));
                }
            }
        }
        Ok(None)
    }

    /// Trips that are not over, and what either end of the ferry knows of the bundles on them.
    fn under_way(&self) -> Told<String> {
        let told = words::<spool::SpoolError>;
        let mut words = String::new();
        for trip in self.trips()?.iter().filter(|trip| trip.direction == "out" && trip.state != TripState::Settled) {
            words.push_str(&format!("trip {} is {:?}:", trip.trip, trip.state));
            for id in trip.ids.iter().filter_map(|id| BundleId::from_hex(id)) {
                for node in [EXTRANET, INTRANET] {
                    let spool = &self.station(node)?.spool;
                    let known = spool.parcel_of_bundle(&id).map_err(told)?;
                    let known = known.map(|parcel| spool.parcel(&parcel)).transpose().map_err(told)?.flatten();
                    let known = known.map(|known| (known.state, known.custody_passed));
                    words.push_str(&format!(" {id} {} {known:?};", ZONES[node]));
                }
            }
        }
        let (above, below) = (self.station(EXTRANET)?, self.station(INTRANET)?);
        let gaps = below.spool.gaps(&above.node, INWARD);
        let waits = above.spool.outbox(INWARD).entries().map_err(told)?;
        let waits: Vec<_> = waits.iter().map(|entry| (entry.epoch, entry.sequence, entry.kind)).collect();
        let receipts = children(&self.layout(EXTRANET).receipts(INWARD))?.len();
        let held = children(&self.layout(INTRANET).quarantine())?;
        words
            .push_str(&format!("missing {gaps:?}; in the outbox {waits:?}; {receipts} receipts unsent; held {held:?}"));
        Ok(words)
    }

    /// Does a receipt that ends a parcel wait for a trip? It may have come after everything else was at rest.
    fn owes_an_end(&self) -> Told<bool> {
        let ends = [Outcome::Delivered, Outcome::Refused].map(|outcome| format!(".{}.receipt", outcome.name()));
        let waiting = children(&self.layout(INTRANET).receipts(OUTWARD))?;
        Ok(waiting.iter().any(|path| ends.iter().any(|end| path.to_string_lossy().ends_with(end.as_str()))))
    }

    /// Has the one-way link brought everything over? (The world may know; no node does.)
    fn sent_one_way(&self) -> Told<bool> {
        let (Some(from), Some(to)) = (&self.nodes[EXTRANET].running, &self.nodes[INTRANET].running) else {
            return Ok(false);
        };
        for entry in from.station.spool.outbox(INWARD).entries().map_err(words)? {
            if !to.station.spool.bundle_taken(&entry.id).map_err(words)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn trips(&self) -> Told<Vec<trips::Trip>> {
        let Some(running) = &self.nodes[INTRANET].running else { return Ok(Vec::new()) };
        let all = trips::list(&running.station).map_err(words)?;
        Ok(all.into_iter().filter(|trip| trip.direction == "out").collect())
    }

    // ---- what must hold ----

    fn note_head(&mut self, node: usize) -> Told<()> {
        if let Some(running) = &self.nodes[node].running {
            let head = running.station.spool.head();
            self.heads.insert((node, head.size, *head.root.as_bytes()));
        }
        Ok(())
    }

    /// No number of a crossing ever names two entries.
    fn check_numbers(&mut self) -> Told<()> {
        for (node, zone) in ZONES.into_iter().enumerate() {
            let Some(running) = &self.nodes[node].running else { continue };
            for crossing in self.nodes[node].config.crossings(zone).into_iter().filter(|c| c.source() == zone) {
                for entry in running.station.spool.outbox(crossing).entries().map_err(words)? {
                    let known = *self.numbers.entry((crossing, entry.epoch, entry.sequence)).or_insert(entry.id);
                    if known != entry.id {
                        return Err(format!(
                            "{crossing} {}-{} names {known} and {}",
                            entry.epoch, entry.sequence, entry.id
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    /// Everything that must hold when the story is over.
    fn verdict(&mut self) -> Told<()> {
        self.check_outlets()?;
        self.check_notices()?;
        for node in 0..ZONES.len() {
            self.check_ledger(node)?;
            self.check_trips(node)?;
            if !self.timeless {
                self.check_evidence(node)?;
                self.check_quarantine(node)?;
            }
            if let Some(broken) = self.nodes[node].machine.broken() {
                return Err(broken);
            }
        }
        self.check_heads()?;
        let letter = papers::letter_with_hidden_shapefile();
        let mut wanted = POINT.map(str::as_bytes).to_vec();
        wanted.extend(letter.get(..LETTER_BYTES));
        for node in [INTERNET, EXTRANET] {
            self.check_absent(&self.root.join(ZONES[node].name()), &wanted)?;
        }
        Ok(())
    }

    /// Every accepted parcel was picked up exactly once, and nothing else was.
    fn check_outlets(&self) -> Told<()> {
        let mut owed: Vec<&Dropped> =
            self.dropped.iter().filter(|dropped| !matches!(dropped.fate, Fate::Refused)).collect();
        for (route, file, content) in &self.picked {
            let fits = |dropped: &&Dropped| {
                let stem = dropped.name.split('.').next().unwrap_or_default();
                dropped.route == *route && file.starts_with(stem) && dropped.fate.is(content)
            };
            match owed.iter().position(fits) {
                Some(at) => drop(owed.swap_remove(at)),
                None => {
                    return Err(format!(
                        "{file} was delivered to {} and is not owed there (any more)",
                        ROUTES[*route].0
                    ));
                }
            }
        }
        match owed.first() {
            Some(lost) => Err(format!("{} of {} was never delivered", lost.name, ROUTES[lost.route].0)),
            None => Ok(()),
        }
    }

    /// One notice a parcel, and it says how the story ended.
    fn check_notices(&self) -> Told<()> {
        for (at, (route, path, ..)) in ROUTES.iter().enumerate() {
            let mut said: BTreeMap<String, Vec<String>> = BTreeMap::new();
            let mut parcels = BTreeSet::new();
            for place in children(&self.layout(path[0]).notices(&name(route)))? {
                if place.file_name().is_some_and(|file| file.as_encoded_bytes().starts_with(b".")) {
                    // Left by a disk that would not even remove; apps pass it over and the next start sweeps it.
                    continue;
                }
                let notice: Value = serde_json::from_slice(&fs::read(&place).map_err(words)?).map_err(words)?;
                let word = |key: &str| notice.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
                if !parcels.insert(word("parcel")) {
                    return Err(format!("two notices tell of parcel {}: {}", word("parcel"), place.display()));
                }
                said.entry(word("name")).or_default().push(word("state"));
            }
            let mut owed: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for dropped in self.dropped.iter().filter(|dropped| dropped.route == at) {
                let state = if matches!(dropped.fate, Fate::Refused) { "refused" } else { "delivered" };
                owed.entry(dropped.name.clone()).or_default().push(state.to_owned());
            }
            if said != owed {
                return Err(format!("the notices of {route} say {said:?}, and should say {owed:?}"));
            }
        }
        Ok(())
    }

    fn station(&self, node: usize) -> Told<&Station> {
        self.nodes[node]
            .running
            .as_ref()
            .map(|running| &running.station)
            .ok_or_else(|| format!("{} is down", ZONES[node]))
    }

    /// The ledger is whole, and in it no number is used twice and nothing ends twice.
    fn check_ledger(&self, node: usize) -> Told<()> {
        let spool = &self.station(node)?.spool;
        let scrub = spool.scrub().map_err(words)?;
        if !scrub.unreadable.is_empty() {
            return Err(format!("records of {} cannot be read: {:?}", ZONES[node], scrub.unreadable));
        }
        let mut used = BTreeMap::new();
        let mut withdrawn = BTreeSet::new();
        let mut once = BTreeSet::new();
        for stored in spool.records(0, usize::MAX).map_err(words)? {
            let record = stored.record;
            if record.event == Event::HeadContradicted {
                return Err(format!("{} says that a ledger contradicts itself: {record:?}", ZONES[node]));
            }
            // These disks lose what was not synced, and damage nothing that was. What they do not give for a while is set aside
            // whole, and told without a range.
            if record.event == Event::LedgerDamaged && record.sequence.is_some() {
                return Err(format!("{} recorded damage of its ledger: {:?}", ZONES[node], record.sequence));
            }
            if let (Event::Accepted | Event::Relayed | Event::Delivered, Some(parcel)) = (record.event, record.parcel)
                && !once.insert((record.event.name(), parcel))
            {
                return Err(format!("{} recorded {} twice for {parcel}", ZONES[node], record.event.name()));
            }
            let (Some(crossing), Some(epoch), Some(from)) = (record.crossing, record.epoch, record.sequence) else {
                continue;
            };
            match record.event {
                Event::Accepted | Event::Relayed | Event::ReceiptsSent => {
                    if let Some(other) = used.insert((crossing, epoch, from), record.bundle) {
                        return Err(format!(
                            "{} used {crossing} {epoch}-{from} for {other:?} and {:?}",
                            ZONES[node], record.bundle
                        ));
                    }
                }
                Event::SequencesWithdrawn => {
                    withdrawn
                        .extend((from..=record.through.unwrap_or(from)).map(|sequence| (crossing, epoch, sequence)));
                }
                _ => {}
            }
        }
        match used.keys().find(|number| withdrawn.contains(number)) {
            Some(number) => Err(format!("{} used and withdrew {number:?}", ZONES[node])),
            None => Ok(()),
        }
    }

    /// For every bundle a node sent or took there is evidence, and in it how it ended.
    fn check_evidence(&self, node: usize) -> Told<()> {
        let station = self.station(node)?;
        for state in station.spool.parcels(&Filter::default(), usize::MAX).map_err(words)? {
            let bundles = state.sent.iter().map(|sent| sent.bundle).chain(state.came.iter().map(|came| came.bundle));
            for bundle in bundles {
                let path = sealing::evidence_path(station, &state.parcel, &bundle);
                let bytes = fs::read(&path)
                    .map_err(|_| format!("{} keeps no evidence of {bundle} ({:?})", ZONES[node], state.state))?;
                let evidence = Evidence::parse(&bytes).map_err(words)?;
                let proven = evidence.prove(&station.trust).map_err(words)?;
                let ended = |receipt: &Receipt| matches!(receipt.outcome, Outcome::Delivered | Outcome::Refused);
                let relayed = state.sent.is_some() && state.came.as_ref().is_some_and(|came| came.bundle == bundle);
                if !relayed && !proven.receipts.iter().any(ended) {
                    return Err(format!("the evidence of {bundle} at {} does not say how it ended", ZONES[node]));
                }
            }
        }
        Ok(())
    }

    /// What was refused is held once, where it was refused: for a person to look at, not to be lost.
    fn check_quarantine(&self, node: usize) -> Told<()> {
        let refused = |dropped: &&Dropped| {
            let (_, path, first, later, ..) = ROUTES[dropped.route];
            let by = if first == later { path.first() } else { path.get(1) };
            matches!(dropped.fate, Fate::Refused) && by == Some(&node)
        };
        let owed = self.dropped.iter().filter(refused).count();
        let mut held = 0;
        for path in children(&self.layout(node).quarantine())? {
            held += if path.is_dir() { children(&path)?.len() } else { 1 };
        }
        if owed == held {
            Ok(())
        } else {
            Err(format!(
                "{} holds {held} of {owed} that were refused: {:?}",
                ZONES[node],
                children(&self.layout(node).quarantine())
            ))
        }
    }

    /// A trip that is over keeps its papers and no bundle.
    fn check_trips(&self, node: usize) -> Told<()> {
        let layout = self.layout(node);
        for trip in self.trips()?.iter().filter(|trip| node == INTRANET && trip.state == TripState::Settled) {
            for path in children(&layout.desk_trips().join(trip.trip.to_string()))? {
                if path.extension().is_some_and(|suffix| suffix == "bundle") {
                    return Err(format!("trip {} is settled and {} still stands there", trip.trip, path.display()));
                }
            }
        }
        Ok(())
    }

    /// Every head that was ever shown is a beginning of the ledger as it is now.
    fn check_heads(&mut self) -> Told<()> {
        let mut heads = std::mem::take(&mut self.heads);
        for node in 0..ZONES.len() {
            let station = self.station(node)?;
            for path in files(&self.layout(node).evidence())? {
                let bytes = fs::read(&path).map_err(words)?;
                if path.extension().is_some_and(|suffix| suffix == "head") {
                    let signed = Signed::parse::<HeadStatement>(&bytes).map_err(words)?;
                    let (said, card) = station.trust.verify::<HeadStatement>(&signed).map_err(words)?;
                    if let Some(signer) = ZONES.iter().position(|zone| zone.name() == card.holder.as_str()) {
                        heads.insert((signer, said.head.size, *said.head.root.as_bytes()));
                    }
                    continue;
                }
                if path.extension().is_some_and(|suffix| suffix == "waybill") {
                    // Kept before the record names it: one that a death left without a record is signed all the same.
                    let signed = Signed::parse::<Waybill>(&bytes).map_err(words)?;
                    station.trust.verify_from_node::<Waybill>(&signed, &station.node).map_err(words)?;
                    continue;
                }
                let evidence = Evidence::parse(&bytes).map_err(words)?;
                for receipt in &evidence.receipts {
                    let signed = Signed::parse::<Receipt>(receipt).map_err(words)?;
                    let (receipt, card) = station.trust.verify::<Receipt>(&signed).map_err(words)?;
                    if let Some(signer) = ZONES.iter().position(|zone| zone.name() == card.holder.as_str()) {
                        heads.insert((signer, receipt.head.size, *receipt.head.root.as_bytes()));
                    }
                }
            }
        }
        for (node, size, root) in heads {
            let spool = &self.station(node)?.spool;
            let old = Head { log: 1, size, root: protocol::der_types::Octets(root) };
            let (new, proof) = spool.consistency(size).map_err(words)?;
            if !protocol::ledger::verify_consistency(spool.ledger_suite(), &old, &new, &proof) {
                return Err(format!("the ledger of {} is not a continuation of its head at {size}", ZONES[node]));
            }
        }
        Ok(())
    }

    fn check_absent(&self, folder: &Path, wanted: &[&[u8]]) -> Told<()> {
        for path in files(folder)? {
            let bytes = fs::read(&path).map_err(words)?;
            if let Some(found) = wanted.iter().find(|wanted| holds(&bytes, wanted)) {
                return Err(format!("{} stands in clear in {}", String::from_utf8_lossy(found), path.display()));
            }
        }
        Ok(())
    }
}

impl Fate {
    fn is(&self, found: &Content) -> bool {
        match self {
            Fate::Delivered(content) => content == found,
            Fate::Stripped(number) => {
                let wanted = format!("<BizMsgID>652901261121{number:06}</BizMsgID>");
                found.len() == 1
                    && found.values().all(|bytes| {
                        holds(bytes, wanted.as_bytes())
                            && holds(bytes, b"652901001001GB00018W00000000")
                            && POINT.iter().all(|point| !holds(bytes, point.as_bytes()))
                    })
            }
            Fate::Refused => false,
        }
    }
}

/// Brings an entry, or the first bytes of it that are missing. True where the other side has it now.
fn offer(
    spool: &spool::Spool,
    crossing: Crossing,
    entry: &Entry,
    content: &[u8],
    part: Option<u64>,
) -> Result<bool, SpoolError> {
    match spool.arrivals(crossing).begin(&entry.id, entry.kind, entry.size)? {
        Begin::Have => Ok(true),
        Begin::Partial(mut partial) => {
            let end = usize::try_from(part.unwrap_or(entry.size)).unwrap_or(content.len());
            let from = usize::try_from(partial.offset()).unwrap_or(0);
            if let Some(rest) = content.get(from..end) {
                partial.write(rest)?;
            }
            if partial.offset() < entry.size {
                return Ok(false);
            }
            partial.finish()?;
            Ok(true)
        }
    }
}

fn bytes_of(content: std::io::Result<spool::Content>) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut content?, &mut bytes)?;
    Ok(bytes)
}

fn holds(bytes: &[u8], wanted: &[u8]) -> bool {
    let Some(first) = wanted.first() else { return true };
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| byte == first) {
        let here = rest.get(at..).unwrap_or_default();
        if here.starts_with(wanted) {
            return true;
        }
        rest = here.get(1..).unwrap_or_default();
    }
    false
}

fn put_content(place: &Path, content: &Content) -> std::io::Result<()> {
    for (path, bytes) in content {
        let file = if path.is_empty() { place.to_owned() } else { place.join(path) };
        fs::create_dir_all(file.parent().unwrap_or(&file))?;
        fs::write(file, bytes)?;
    }
    Ok(())
}

fn content_of(place: &Path) -> std::io::Result<Content> {
    if place.is_file() {
        return Ok(Content::from([(String::new(), fs::read(place)?)]));
    }
    let mut content = Content::new();
    let mut folders = vec![place.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let inside = path.strip_prefix(place).unwrap_or(&path).to_string_lossy().into_owned();
                content.insert(inside, fs::read(&path)?);
            }
        }
    }
    Ok(content)
}

/// But for what a refused write left aside: the next start sweeps it.
fn files(folder: &Path) -> Told<Vec<PathBuf>> {
    let content = content_of(folder).map_err(words)?;
    let aside = |inside: &String| inside.rsplit('/').next().is_some_and(|name| name.starts_with(spool::disk::ASIDE));
    Ok(content.into_keys().filter(|inside| !aside(inside)).map(|inside| folder.join(inside)).collect())
}

fn children(folder: &Path) -> Told<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut paths =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>().map_err(words)?;
    paths.sort();
    Ok(paths)
}

/// Where the disks of a world stand: memory where the machine has it, because a story syncs some thousand times.
#[must_use]
pub fn ground() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}
