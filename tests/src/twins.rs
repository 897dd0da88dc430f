//! Two nodes of one office in one process, on real folders with real key files, stepped by hand: for what is told about
//! one node and its neighbour, a restore or an upgrade. The clock is a field; what crosses is carried by the test.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use protocol::der_types::Octets;
use protocol::keys::{self, OpeningKey, SigningKey};
use protocol::parcel::{Label, VERSION};
use protocol::request::Request;
use protocol::trust::{KeyCard, Role, Use};
use protocol::{Crossing, Digest, Name, Signed, Suite, Timestamp, Trust, Zone};
use spool::{Answer, Begin, Disk, EntryKind, Floor, Fuse, Layout, Spool};
use station::admission::Admission;
use station::clock::Reading;
use station::config::Config;
use station::housekeeping::Housekeeping;
use station::intake::Intake;
use station::keyring::{self, Keyring};
use station::receipts::Receipts;
use station::station::{Plan, Station, StationError, setup};

use crate::programs::repository;

/// Midnight of 22 November 2026.
pub const START: Timestamp = Timestamp(1_795_305_600_000);

/// How far the clocks of these worlds, which begin at [`START`], are ahead of the machine's, which dates the files: a test
/// says the same on every day of the year.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "what the machine's clock says is what is made up for")]
pub fn ahead_ms() -> i64 {
    static AHEAD_MS: LazyLock<i64> = LazyLock::new(|| {
        let real = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        START.0.cast_signed().saturating_sub(i64::try_from(real).unwrap_or(i64::MAX))
    });
    *AHEAD_MS
}
/// The operator who signs.
pub const OPERATOR: &str = "operator-ma";
/// An inlet is due after five seconds without a hint.
const TURN_MS: u64 = 6_000;

/// A config without links.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoLinks {}

/// A node: its folder with `keys`, `trust` and `spool`, and its config.
pub struct Member {
    /// Its folder.
    pub root: PathBuf,
    /// Its zone.
    pub zone: Zone,
    /// Its config.
    pub config: Config<NoLinks>,
}

/// A node at work.
pub struct Running {
    /// The station.
    pub station: Station,
    /// Takes drops in.
    pub intake: Intake,
    /// Takes bundles in.
    pub admission: Admission,
    /// Sends receipts.
    pub receipts: Receipts,
    /// The rest.
    pub housekeeping: Housekeeping,
}

/// A name of this office.
#[must_use]
pub fn name(word: &str) -> Name {
    Name::new(word).expect("names of this file are short and plain")
}

fn config(root: &Path, zone: Zone) -> Config<NoLinks> {
    let peers: &[(&str, &str, &str)] = match zone {
        Zone::Internet => &[("extranet", "quic", "quic")],
        Zone::Extranet => &[("internet", "quic", "quic"), ("intranet", "diode", "ferry")],
        Zone::Intranet => &[("extranet", "ferry", "diode")],
    };
    let mut text = format!("[node]\nname = \"{zone}\"\nsuite = \"std\"\n");
    for (word, folder) in [("spool", "spool"), ("keys", "keys"), ("trust", "trust")] {
        text += &format!("{word} = {:?}\n", root.join(folder));
    }
    text += &format!("rules = {:?}\n[link]\n", repository().join("config/rules"));
    for (peer, send, receive) in peers {
        text +=
            &format!("[[peer]]\nname = \"{peer}\"\nzone = \"{peer}\"\nsend = \"{send}\"\nreceive = \"{receive}\"\n");
    }
    let routes = [
        ("applications", ["internet", "extranet"], "application"),
        ("registration", ["extranet", "intranet"], "registration-message"),
        ("review-results", ["intranet", "extranet"], "review-result"),
    ];
    for (route, path, kind) in routes.iter().filter(|(_, path, _)| path.contains(&zone.name())) {
        text += &format!("[[route]]\nname = \"{route}\"\npath = {path:?}\ntypes = [\"{kind}\"]\nintake = \"rename\"\n");
    }
    let direction = if zone == Zone::Intranet { "out" } else { "in" };
    text += &format!("[[ferry.medium]]\nid = \"disc-0001\"\ndirection = \"{direction}\"\n");
    text += &format!("[backup]\nfolder = {:?}\n", root.join("backups"));
    toml::from_str(&text).expect("a config as the documentation shows it")
}

impl Member {
    /// A node whose folder is there already, perhaps unpacked.
    #[must_use]
    pub fn at(root: &Path, zone: Zone) -> Member {
        Member { root: root.to_owned(), zone, config: config(root, zone) }
    }

    /// The paths of its spool.
    #[must_use]
    pub fn layout(&self) -> Layout {
        Layout::new(&self.config.node.spool)
    }

    /// Its keys.
    #[must_use]
    pub fn keyring(&self) -> Keyring {
        Keyring::load(&self.config.node.keys, &self.config.node.name).expect("keys that init made")
    }

    /// Its cards.
    #[must_use]
    pub fn trust(&self) -> Trust {
        keyring::load_trust(&self.config.node.trust).expect("cards that init made")
    }

    /// How its spool is made.
    #[must_use]
    pub fn setup(&self, disk: Disk, now: Timestamp) -> spool::Setup {
        let crossings = self.config.crossings(self.zone);
        setup(&self.config.node, self.zone, &self.config.routes, &crossings, &self.keyring(), disk, now)
    }

    /// Starts it.
    pub fn open(&self, now: Timestamp) -> Result<Running, StationError> {
        self.open_with(Disk::real(), now)
    }

    /// Starts it on a disk that dies.
    pub fn open_until(&self, fuse: &Fuse, now: Timestamp) -> Result<Running, StationError> {
        self.open_with(Disk::with_fuse(fuse.clone()), now)
    }

    /// Starts it on a disk of any kind.
    pub fn open_with(&self, disk: Disk, now: Timestamp) -> Result<Running, StationError> {
        let mut plan = Plan::from_config(&self.config, self.zone)?;
        plan.disk = disk.dated_ahead(ahead_ms());
        plan.sandbox = station::sandbox::Sandbox::in_process();
        let station = Station::open(plan, now)?;
        // The machine that runs the tests may be nearly full.
        station.spool.set_floor(Floor { bytes: 0, inodes: 0 });
        Ok(Running {
            intake: Intake::new(&station)?,
            station,
            admission: Admission::default(),
            receipts: Receipts::default(),
            housekeeping: Housekeeping::default(),
        })
    }

    /// An app drops a file.
    pub fn drop_file(&self, route: &str, file: &str, bytes: &[u8]) {
        let aside = self.root.join("drop");
        fs::write(&aside, bytes).expect("a folder of the test");
        fs::rename(&aside, self.layout().inlet(&name(route)).join(file)).expect("an inlet on the same disk");
    }

    /// An app drops an application: a form in a folder.
    pub fn drop_application(&self, number: u32) {
        let aside = self.root.join("drop");
        fs::create_dir_all(&aside).expect("a folder of the test");
        fs::write(aside.join("application.json"), crate::papers::application_form(number)).expect("a file in it");
        let inlet = self.layout().inlet(&name("applications"));
        fs::rename(&aside, inlet.join(format!("case-{number}"))).expect("an inlet on the same disk");
    }

    /// What stands in an outlet.
    #[must_use]
    pub fn outlet(&self, route: &str) -> Vec<String> {
        names(&self.layout().outlet(&name(route)))
    }
}

/// Names in a folder that do not begin with a point, sorted; none where it is missing.
#[must_use]
pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    names
}

impl Running {
    /// Every stage has a turn, until none has anything to do.
    pub fn turn(&mut self, now: &mut Timestamp) -> Result<(), StationError> {
        for _ in 0..4 {
            *now = now.plus_ms(TURN_MS);
            let reading = Reading { wall: *now, boot_ms: now.since(START) };
            assert_eq!(self.station.clock.see(reading), *now, "the clock is believed");
            self.intake.step(&self.station, *now)?;
            self.admission.step(&self.station, *now)?;
            self.receipts.step(&self.station, *now)?;
            station::desk::step(&self.station, *now)?;
            self.housekeeping.step(&self.station, *now)?;
        }
        Ok(())
    }

    /// Brings everything that waits in an outbox into another node's arrivals; receipts leave the outbox with that.
    pub fn carry_to(&self, other: &Running) {
        let crossing = Crossing::between(self.station.zone, other.station.zone).expect("neighbours");
        carry(&self.station.spool, &other.station.spool, crossing);
    }
}

/// What a person asks at a node's desk, and its answer.
#[must_use]
pub fn ask(
    running: &Running,
    key: &SigningKey,
    person: &str,
    action: &str,
    arguments: &[(&str, &str)],
    now: Timestamp,
) -> Answer {
    let id = lay(running, key, person, action, arguments, now);
    station::desk::step(&running.station, now).expect("a disk that works");
    answer(running, &id)
}

/// What the node answered.
pub fn answer(running: &Running, id: &Digest) -> Answer {
    let path = running.station.layout().desk_answers().join(spool::desk::answer_name(id));
    serde_json::from_slice(&fs::read(path).expect("an answer")).expect("an answer of ours")
}

/// Lays a signed request at the desk.
pub fn lay(
    running: &Running,
    key: &SigningKey,
    person: &str,
    action: &str,
    arguments: &[(&str, &str)],
    now: Timestamp,
) -> Digest {
    let arguments = arguments.iter().map(|(word, value)| Label { name: name(word), value: (*value).to_owned() });
    let request = Request {
        version: VERSION,
        id: Octets(keys::random()),
        node: running.station.node.clone(),
        action: name(action),
        person: name(person),
        at: now,
        arguments: arguments.collect(),
    };
    let layout = running.station.layout();
    let bytes = Signed::make(key, &request).to_bytes();
    let path = layout.desk_requests().join(spool::desk::request_name(&request.id));
    fs::write(path, bytes).expect("a folder of the test");
    request.id
}

/// The same from spool to spool. What leaves an outbox meanwhile was receipted meanwhile.
pub fn carry(from: &Spool, to: &Spool, crossing: Crossing) {
    let outbox = from.outbox(crossing);
    for entry in outbox.entries().expect("a list") {
        let mut bytes = Vec::new();
        let content = outbox.content(&entry);
        if content.and_then(|mut content| content.read_to_end(&mut bytes)).is_err() {
            continue;
        }
        if let Begin::Partial(mut partial) =
            to.arrivals(crossing).begin(&entry.id, entry.kind, entry.size).expect("room")
        {
            let from = usize::try_from(partial.offset()).expect("small");
            partial.write(&bytes[from..]).expect("written");
            partial.finish().expect("whole");
        }
        if entry.kind == EntryKind::Receipts {
            outbox.remove(&entry).expect("removed");
        }
    }
}

/// Another person whom a node believes: their card goes into its trust folder.
#[must_use]
pub fn person(members: &[&Member], holder: &str, role: Role) -> SigningKey {
    let key = SigningKey::generate(Suite::Std);
    let card = KeyCard {
        zone: members.first().map_or(Zone::Intranet, |member| member.zone),
        holder: name(holder),
        role,
        usage: Use::Sign,
        suite: Suite::Std,
        from: "2026-11-21".to_owned(),
        until: None,
        spki: key.public().to_spki(),
    };
    for member in members {
        let path = member.config.node.trust.join(format!("{holder}.pub.pem"));
        fs::write(path, card.to_text()).expect("a file of the test");
    }
    key
}

/// Makes two members below `root` with keys, cards of both and of an operator, and empty spools. Returns the operator's
/// key and the key that backups are sealed to.
#[must_use]
pub fn found(root: &Path, zones: [Zone; 2]) -> ([Member; 2], SigningKey, OpeningKey) {
    let suite = Suite::Std;
    let members = zones.map(|zone| Member::at(&root.join(zone.name()), zone));
    let (operator, security) = (SigningKey::generate(suite), OpeningKey::generate(suite));
    let mut cards: Vec<(String, String)> = Vec::new();
    for member in &members {
        let made = Keyring::init(&member.config.node.keys, &member.config.node.name, member.zone, suite, START);
        for (path, card) in made.expect("an empty folder") {
            if card.role == Role::Node {
                cards.push((path.file_name().unwrap_or_default().to_string_lossy().into_owned(), card.to_text()));
            }
        }
    }
    let from = "2026-11-21".to_owned();
    let person = KeyCard {
        zone: zones[0],
        holder: name(OPERATOR),
        role: Role::Operator,
        usage: Use::Sign,
        suite,
        from: from.clone(),
        until: None,
        spki: operator.public().to_spki(),
    };
    let safe = KeyCard {
        zone: Zone::Intranet,
        holder: keyring::security(),
        role: Role::Security,
        usage: Use::Seal,
        suite,
        from,
        until: None,
        spki: security.public().to_spki(),
    };
    cards.push(("operator.pub.pem".to_owned(), person.to_text()));
    cards.push(("security.pub.pem".to_owned(), safe.to_text()));
    for member in &members {
        fs::create_dir_all(&member.config.node.trust).expect("a folder of the test");
        fs::create_dir_all(member.root.join("backups")).expect("a folder of the test");
        for (file, text) in &cards {
            fs::write(member.config.node.trust.join(file), text).expect("a file of the test");
        }
        spool::create(&member.setup(Disk::real(), START)).expect("an empty folder");
    }
    (members, operator, security)
}

/// The last day of the key on a card in a node's trust folder is that of this moment.
pub fn ends(member: &Member, file: &str, last: Timestamp) {
    let path = member.config.node.trust.join(file);
    let text = fs::read_to_string(&path).expect("a card of the test");
    let until = format!("Until: {}\nFingerprint:", protocol::rollover::day(last));
    let open =
        text.lines().filter(|line| !line.starts_with("Until:")).map(|line| format!("{line}\n")).collect::<String>();
    fs::write(path, open.replacen("Fingerprint:", &until, 1)).expect("a file of the test");
}
