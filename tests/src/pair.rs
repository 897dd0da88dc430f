//! Two stations of an office, the internet's and the extranet's, in one process: what a day-to-day test needs to move a
//! parcel, a clock or a folder and look at what becomes of it. The wall clocks can be set wrong, one by one; the boot
//! clock cannot. Files are dated by the machine that runs the test, so the story begins now.

use std::fs;
use std::path::{Path, PathBuf};

use protocol::der_types::Octets;
use protocol::keys;
use protocol::parcel::{Label, VERSION};
use protocol::request::Request;
use protocol::trust::{KeyCard, Trust, Use};
use protocol::{Crossing, Name, Signed, Timestamp, Zone};
use serde_json::Value;
use spool::{Answer, Begin, Disk, Floor};
use station::admission::Admission;
use station::alarm::{Alarm, Alarms};
use station::clock::{self, Reading};
use station::config::Config;
use station::housekeeping::Housekeeping;
use station::intake::Intake;
use station::receipts::Receipts;
use station::rulebook::RuleBook;
use station::station::{Plan, Station, StationError};

use crate::papers;
use crate::programs::repository;
use crate::world::Office;

/// The node where parcels begin.
pub const HERE: usize = 0;
/// The node where they end.
pub const THERE: usize = 1;

const ZONES: [Zone; 2] = [Zone::Internet, Zone::Extranet];
const MINUTE_MS: u64 = 60 * 1000;

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct NoLinks {}

/// A process.
pub struct Machine {
    /// Its station.
    pub station: Station,
    intake: Intake,
    /// Its admission, for a test that steps it alone.
    pub admission: Admission,
    receipts: Receipts,
    housekeeping: Housekeeping,
}

/// The two, and what is true between them.
pub struct Pair<'a> {
    office: &'a Office,
    root: PathBuf,
    /// Settings of every route, as text of a config.
    routes: String,
    /// What carries both ways.
    carrier: &'static str,
    /// The true time.
    pub now: Timestamp,
    boot_ms: u64,
    /// How far each machine's wall clock is wrong.
    pub wrong_ms: [i64; 2],
    machines: [Option<Machine>; 2],
    /// Is the gateway up?
    pub joined: bool,
    /// The disk of each machine, which a test may spoil; it counts from the next start on.
    pub disks: [Disk; 2],
    /// Whose signing card a node has not been given yet, by node; it counts from its next start on.
    pub cardless: [Option<Name>; 2],
    dropped: u32,
}

fn name(word: &str) -> Name {
    Name::new(word).expect("names of this file are short and plain")
}

impl<'a> Pair<'a> {
    /// Two stations below `root` with the routes `urgent-forms`, `forms` and `bulk-forms`, each with these settings.
    pub fn found(office: &'a Office, root: &Path, settings: &str) -> Result<Pair<'a>, StationError> {
        Pair::found_by("quic", office, root, settings)
    }

    /// The same with another carrier both ways.
    pub fn found_by(
        carrier: &'static str,
        office: &'a Office,
        root: &Path,
        settings: &str,
    ) -> Result<Pair<'a>, StationError> {
        let mut routes = String::new();
        for (route, priority) in [("urgent-forms", "urgent"), ("forms", "normal"), ("bulk-forms", "bulk")] {
            routes += &format!(
                "[[route]]\nname = \"{route}\"\npath = [\"internet\", \"extranet\"]\ntypes = [\"application\"]\n\
                 intake = \"rename\"\npriority = \"{priority}\"\n{settings}\n"
            );
        }
        let now = clock::now();
        let mut pair = Pair {
            office,
            root: root.to_owned(),
            routes,
            carrier,
            now,
            boot_ms: 5_000,
            wrong_ms: [0; 2],
            machines: [None, None],
            joined: true,
            disks: [Disk::real(), Disk::real()],
            cardless: [None, None],
            dropped: 0,
        };
        pair.start(HERE)?;
        pair.start(THERE)?;
        Ok(pair)
    }

    fn config(&self, at: usize) -> Config<NoLinks> {
        let (zone, other) = (ZONES[at], ZONES[1 - at]);
        let text = format!(
            "[node]\nname = \"{zone}\"\nsuite = \"std\"\nspool = {:?}\nkeys = \"/k\"\ntrust = \"/t\"\nrules = \"/r\"\n\
             evidence_days = 180\nquarantine_days = 1\n[link]\n[[peer]]\nname = \"{other}\"\nzone = \"{other}\"\n\
             send = \"{carrier}\"\nreceive = \"{carrier}\"\n{}",
            self.root.join(zone.name()),
            self.routes,
            carrier = self.carrier,
        );
        toml::from_str(&text).expect("the text above is a config")
    }

    /// What a machine's clocks say.
    #[must_use]
    pub fn reading(&self, at: usize) -> Reading {
        Reading { wall: Timestamp(self.now.0.saturating_add_signed(self.wrong_ms[at])), boot_ms: self.boot_ms }
    }

    /// Starts a node on its disk, made where it is missing.
    pub fn start(&mut self, at: usize) -> Result<(), StationError> {
        let config = self.config(at);
        let (crossings, keyring) = (config.crossings(ZONES[at]), self.office.keyring(at));
        let wall = self.reading(at).wall;
        let setup =
            station::station::setup(&config.node, ZONES[at], &config.routes, &crossings, &keyring, Disk::real(), wall);
        spool::create(&setup)?;
        self.restart(at)
    }

    /// Starts a node on its disk as that is.
    pub fn restart(&mut self, at: usize) -> Result<(), StationError> {
        let zone = ZONES[at];
        let config = self.config(at);
        let crossings = config.crossings(zone);
        let keyring = self.office.keyring(at);
        let wall = self.reading(at).wall;
        let plan = Plan {
            sandbox: station::sandbox::Sandbox::in_process(),
            scanner: None,
            rules: RuleBook::load(
                &repository().join("config/rules"),
                &crossings,
                &self.office.trust,
                config.node.suite,
                &spool::Layout::new(&config.node.spool),
            )?,
            alarms: Alarms::new(&config.node.name, &config.alarm),
            trust: self.trust(at),
            backup: None,
            disk: self.disks[at].clone(),
            node: config.node,
            zone,
            peers: config.peers,
            routes: config.routes,
            ferry: config.ferry,
            crossings,
            keyring,
        };
        self.machines[at] = None;
        let station = Station::open(plan, wall)?;
        // The machine that runs the tests may be nearly full.
        station.spool.set_floor(Floor { bytes: 0, inodes: 0 });
        let intake = Intake::new(&station)?;
        self.machines[at] = Some(Machine {
            station,
            intake,
            admission: Admission::default(),
            receipts: Receipts::default(),
            housekeeping: Housekeeping::default(),
        });
        Ok(())
    }

    fn trust(&self, at: usize) -> Trust {
        let mut trust = Trust::default();
        let is_missing = |card: &KeyCard| card.usage == Use::Sign && self.cardless[at].as_ref() == Some(&card.holder);
        for card in self.office.trust.cards().filter(|card| !is_missing(card)) {
            trust.add(card.holder.as_str(), &card.to_text()).expect("the office made this card");
        }
        trust
    }

    /// Ends a process.
    pub fn stop(&mut self, at: usize) {
        self.machines[at] = None;
    }

    /// A running station.
    ///
    /// # Panics
    /// Where it was stopped.
    #[must_use]
    pub fn station(&self, at: usize) -> &Station {
        &self.machines[at].as_ref().expect("the node runs").station
    }

    /// Its process.
    ///
    /// # Panics
    /// Where it was stopped.
    pub fn machine(&mut self, at: usize) -> &mut Machine {
        self.machines[at].as_mut().expect("the node runs")
    }

    /// True time goes by, and both boot clocks with it.
    pub fn pass_ms(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
        self.boot_ms += ms;
    }

    /// So many minutes go by; every stage takes a turn in each, and the gateway carries.
    pub fn minutes(&mut self, minutes: u64) -> Result<(), StationError> {
        for _ in 0..minutes {
            self.pass_ms(MINUTE_MS);
            self.turn()?;
        }
        Ok(())
    }

    /// So many hours go by, with a turn in each.
    pub fn hours(&mut self, hours: u64) -> Result<(), StationError> {
        for _ in 0..hours {
            self.pass_ms(60 * MINUTE_MS);
            self.turn()?;
        }
        Ok(())
    }

    /// Every stage takes a turn now.
    pub fn turn(&mut self) -> Result<(), StationError> {
        for at in [HERE, THERE] {
            let reading = self.reading(at);
            if let Some(machine) = &mut self.machines[at] {
                let station = &machine.station;
                machine.intake.step(station, station.clock.see(reading))?;
                machine.admission.step(station, station.clock.see(reading))?;
                machine.receipts.step(station, station.clock.see(reading))?;
                station::desk::step(station, station.clock.see(reading))?;
                machine.housekeeping.step(station, station.clock.see(reading))?;
            }
        }
        if self.joined {
            self.carry(HERE, THERE)?;
            self.carry(THERE, HERE)?;
        }
        Ok(())
    }

    /// One look of the stages that take what others sent, before the intake looks at what lies here.
    pub fn take_in(&mut self, at: usize) -> Result<(), StationError> {
        let reading = self.reading(at);
        if let Some(machine) = &mut self.machines[at] {
            let station = &machine.station;
            machine.admission.step(station, station.clock.see(reading))?;
            machine.receipts.step(station, station.clock.see(reading))?;
        }
        Ok(())
    }

    /// Everything in an outbox crosses, but what the disk does not give: the link leaves that where it is.
    pub fn carry(&mut self, from: usize, to: usize) -> Result<(), StationError> {
        let (Some(source), Some(target)) = (&self.machines[from], &self.machines[to]) else { return Ok(()) };
        let Some(crossing) = Crossing::between(ZONES[from], ZONES[to]) else { return Ok(()) };
        for entry in source.station.spool.outbox(crossing).entries()? {
            if let Begin::Partial(mut partial) =
                target.station.spool.arrivals(crossing).begin(&entry.id, entry.kind, entry.size)?
            {
                let mut bytes = Vec::new();
                let content = source.station.spool.outbox(crossing).content(&entry);
                match content.and_then(|mut content| std::io::Read::read_to_end(&mut content, &mut bytes)) {
                    Err(cause) if spool::disk::is_unreadable(&cause) => continue,
                    Err(cause) => return Err(StationError::Io { path: entry.path.to_path_buf(), cause }),
                    Ok(_) => {}
                }
                partial.write(&bytes)?;
                partial.finish()?;
            }
            if entry.kind == spool::EntryKind::Receipts {
                source.station.spool.outbox(crossing).remove(&entry)?;
            }
        }
        Ok(())
    }

    /// An app drops a form into a route here; its name.
    pub fn drop_form(&mut self, route: &str) -> std::io::Result<String> {
        self.dropped += 1;
        let file = format!("{route}-{}.json", self.dropped);
        self.drop_bytes(route, &file, papers::application_form(self.dropped).as_bytes())?;
        Ok(file)
    }

    /// An app drops this.
    pub fn drop_bytes(&self, route: &str, file: &str, bytes: &[u8]) -> std::io::Result<()> {
        let aside = self.root.join(file);
        fs::write(&aside, bytes)?;
        fs::rename(aside, self.station(HERE).layout().inlet(&name(route)).join(file))
    }

    /// What stands in the outlet of a route there.
    #[must_use]
    pub fn outlet(&self, route: &str) -> Vec<PathBuf> {
        let folder = self.root.join("extranet/outlet").join(route);
        let mut found: Vec<PathBuf> =
            fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect();
        found.retain(|path| !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')));
        found.sort();
        found
    }

    /// The state that the newest notice about a drop tells.
    #[must_use]
    pub fn told(&self, route: &str, file: &str) -> Option<String> {
        let folder = self.root.join("internet/notices").join(route);
        let names = fs::read_dir(folder).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names
            .into_iter()
            .find_map(|name| Some(name.strip_prefix(&format!("{file}."))?.strip_suffix(".json")?.to_owned()))
    }

    /// Does an alarm stand?
    #[must_use]
    pub fn stands(&self, at: usize, alarm: Alarm) -> bool {
        self.station(at).alarms.standing().iter().any(|(standing, ..)| *standing == alarm)
    }

    /// The snapshot that `status` prints.
    #[must_use]
    pub fn status(&self, at: usize) -> Value {
        let path = self.station(at).layout().status().join("status.json");
        fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    /// The administrator's command line asks a node, and is answered at once.
    ///
    /// # Errors
    /// Where the desk stops at one.
    ///
    /// # Panics
    /// Where there is no answer.
    pub fn ask(&mut self, at: usize, action: &str, arguments: &[(&str, &str)]) -> Result<Answer, StationError> {
        let id = self.lay(at, action, arguments)?;
        let reading = self.reading(at);
        let station = self.station(at);
        station::desk::step(station, station.clock.see(reading))?;
        Ok(self.answer(at, &id)?.expect("the desk answers at once"))
    }

    /// The answer to a request, where there is one.
    ///
    /// # Errors
    /// It cannot be read.
    ///
    /// # Panics
    /// Where it is no answer.
    pub fn answer(&self, at: usize, id: &protocol::Digest) -> Result<Option<Answer>, StationError> {
        let path = self.station(at).layout().desk_answers().join(format!("{id}.json"));
        match fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(StationError::Io { path, cause }),
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).expect("the desk writes answers"))),
        }
    }

    /// The administrator's command line lays a request at the desk of a node; its id.
    ///
    /// # Errors
    /// Where the disk takes none.
    ///
    /// # Panics
    /// Where a key in memory does not sign.
    pub fn lay(&self, at: usize, action: &str, arguments: &[(&str, &str)]) -> Result<protocol::Digest, StationError> {
        let id = Octets(keys::random());
        let request = Request {
            version: VERSION,
            id,
            node: name(ZONES[at].name()),
            action: name(action),
            person: name("administrator"),
            at: self.reading(at).wall,
            arguments: arguments
                .iter()
                .map(|(what, value)| Label { name: name(what), value: (*value).to_owned() })
                .collect(),
        };
        let signed =
            Signed::make_by(&self.office.keyring(at).signing, &request).expect("a key in memory signs").to_bytes();
        let path = self.station(at).layout().desk_own().join(format!("{id}.req"));
        Disk::real().write(&path, &signed).map_err(|cause| StationError::Io { path, cause })?;
        Ok(id)
    }

    /// How often an event stands in a node's ledger.
    pub fn recorded(&self, at: usize, event: protocol::ledger::Event) -> Result<usize, StationError> {
        let records = self.station(at).spool.records(0, usize::MAX)?;
        Ok(records.iter().filter(|stored| stored.record.event == event).count())
    }
}
