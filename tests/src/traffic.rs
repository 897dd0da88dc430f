//! What the apps of an office drop and pick up while a harness does its worst, and the account of it: every drop has a
//! name and bytes of its own, so whatever stands in an outlet is recognised, compared and counted.
//!
//! The apps keep their side of the contract: what they drop is synced before it appears, and the appearance too; what
//! they fetch they take out of the outlet once.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::office::Office;
use crate::papers::{self, Noise};

/// States of a notice that mean: the node has it on record and the app may forget it.
const ACKNOWLEDGED: [&str; 5] = ["accepted", "stripped", "sent", "resent", "delivered"];
/// States that no drop of ours should come to.
const WRONG: [&str; 5] = ["refused", "quarantined", "duplicate", "expired", "withdrawn"];

/// What is dropped on a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A small JSON form.
    Form,
    /// An answer of the upper level.
    Answer,
    /// The same, too large for a segment that bundles share: it is a file of its own, and staged for a trip by a second name.
    LargeAnswer,
    /// A folder: a form, a ticket and a note.
    Case,
    /// An XML message.
    Message,
    /// An archive of some hundred KiB up to this many bytes.
    Archive(usize),
}

/// A route with what travels on it.
#[derive(Clone, Copy, Debug)]
pub struct Lane {
    /// Where apps drop.
    pub from: &'static str,
    /// Where apps pick up.
    pub to: &'static str,
    /// Its name.
    pub route: &'static str,
    /// Is a drop whole only with its marker `<name>.ready`?
    pub ready: bool,
    /// What is dropped.
    pub kind: Kind,
}

/// The routes of an office as the harnesses use them; `own-files` waits for markers.
#[must_use]
pub fn lanes(archive_bytes: usize) -> Vec<Lane> {
    let lane = |from, to, route, ready, kind| Lane { from, to, route, ready, kind };
    vec![
        lane("internet", "extranet", "applications", false, Kind::Form),
        lane("internet", "extranet", "applications", false, Kind::Case),
        lane("internet", "extranet", "own-files", true, Kind::Message),
        lane("extranet", "intranet", "registration", false, Kind::Message),
        lane("extranet", "intranet", "archives", false, Kind::Archive(archive_bytes)),
        lane("intranet", "extranet", "responses", false, Kind::Answer),
        lane("intranet", "extranet", "responses", false, Kind::LargeAnswer),
    ]
}

/// One drop and what became of it.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// Its route.
    pub lane: Lane,
    /// Its name; no other drop has it.
    pub name: String,
    /// Path inside and bytes; one file under its own name where it is no folder.
    pub files: Vec<(String, Vec<u8>)>,
    /// The app was told that it may forget it.
    pub acknowledged: bool,
    /// How often it was picked up.
    pub picked: u32,
    /// The turn of the harness in which it was picked up last.
    pub picked_in: u64,
}

/// Everything dropped and everything picked up.
pub struct Traffic {
    lanes: Vec<Lane>,
    noise: Noise,
    parcels: Vec<Parcel>,
    by_name: HashMap<(&'static str, String), usize>,
    /// What must not be: other bytes, unknown names, refusals. Empty in the end.
    pub wrong: Vec<String>,
    /// Counted up by the harness at every power cut, so that a name that appears again can be told from one that must not.
    pub turn: u64,
    /// Names that appeared again: the parcel, the turn of the first time, the turn of the second.
    pub again: Vec<(String, u64, u64)>,
}

impl Traffic {
    /// Nothing dropped yet.
    #[must_use]
    pub fn new(lanes: Vec<Lane>, seed: u64) -> Traffic {
        let by_name = HashMap::new();
        let (wrong, again) = (Vec::new(), Vec::new());
        Traffic { lanes, noise: Noise::new(seed), parcels: Vec::new(), by_name, wrong, turn: 0, again }
    }

    /// Everything dropped so far.
    #[must_use]
    pub fn parcels(&self) -> &[Parcel] {
        &self.parcels
    }

    /// Drops that have not been picked up, by route.
    #[must_use]
    pub fn outstanding(&self) -> BTreeMap<&'static str, usize> {
        let mut by_route = BTreeMap::new();
        for parcel in self.parcels.iter().filter(|parcel| parcel.picked == 0) {
            *by_route.entry(parcel.lane.route).or_default() += 1;
        }
        by_route
    }

    /// Drops one parcel on a lane drawn at random, unless so many of its route are still on their way.
    pub fn drop_one(&mut self, office: &Office, outstanding_max: usize) -> io::Result<bool> {
        let at = usize::try_from(self.noise.below(self.lanes.len() as u64)).unwrap_or(0);
        let Some(lane) = self.lanes.get(at).copied() else { return Ok(false) };
        if self.outstanding().get(lane.route).copied().unwrap_or(0) >= outstanding_max {
            return Ok(false);
        }
        self.drop_on(office, lane)?;
        Ok(true)
    }

    /// Drops one parcel on a lane.
    pub fn drop_on(&mut self, office: &Office, lane: Lane) -> io::Result<()> {
        let number = u32::try_from(self.parcels.len()).unwrap_or(u32::MAX);
        let (name, files) = match lane.kind {
            Kind::Form => one(format!("form-{number}.json"), papers::application_form(number).into_bytes()),
            Kind::Answer => one(format!("form-{number}.json"), papers::answer(number).into_bytes()),
            Kind::LargeAnswer => one(format!("large-{number}.json"), papers::large_answer(number)),
            Kind::Message => one(format!("message-{number}.xml"), papers::registration_message(number).into_bytes()),
            Kind::Archive(most) => {
                let most = most.max(200_000);
                let bytes = 100_000 + usize::try_from(self.noise.below(most as u64 - 100_000)).unwrap_or(0);
                one(format!("volume-{number}.zip"), papers::archive(bytes, self.noise.next()))
            }
            Kind::Case => {
                let form = papers::application_form(number).into_bytes();
                let note = format!("case {number}\n").into_bytes();
                let files = [("form.json", form), ("tax/ticket.pdf", papers::tax_ticket()), ("note.txt", note)];
                (format!("case-{number}"), files.map(|(path, bytes)| (path.to_owned(), bytes)).to_vec())
            }
        };
        lay(&office.inlet(lane.from, lane.route), &name, &files, lane.ready)?;
        self.by_name.insert((lane.route, name.clone()), self.parcels.len());
        self.parcels.push(Parcel { lane, name, files, acknowledged: false, picked: 0, picked_in: 0 });
        Ok(())
    }

    /// Reads the notices of what was not acknowledged yet, as an app does.
    pub fn read_notices(&mut self, office: &Office) {
        for parcel in &mut self.parcels {
            let stands = |state: &&&str| notice_of(office, parcel, state).exists();
            let acknowledged = parcel.acknowledged || ACKNOWLEDGED.iter().any(|state| stands(&state));
            let wrong = if parcel.picked == 0 { WRONG.iter().find(stands) } else { None };
            parcel.acknowledged = acknowledged;
            if let Some(state) = wrong {
                let line = format!("{} on {} is {state}", parcel.name, parcel.lane.route);
                if !self.wrong.contains(&line) {
                    self.wrong.push(line);
                }
            }
        }
    }

    /// Drops whose apps find no notice, by a fresh look, that says they may forget them.
    #[must_use]
    pub fn untold(&self, office: &Office) -> Vec<String> {
        let told = |parcel: &&Parcel| ACKNOWLEDGED.iter().any(|state| notice_of(office, parcel, state).exists());
        self.parcels.iter().filter(|parcel| !told(parcel)).map(|parcel| parcel.name.clone()).collect()
    }

    /// What the notice of a drop says: its state, and the id that the parcel was given.
    #[must_use]
    pub fn told(&self, office: &Office, parcel: &Parcel) -> Option<(String, String)> {
        let notice = ACKNOWLEDGED.iter().find_map(|state| fs::read(notice_of(office, parcel, state)).ok())?;
        let notice: Value = serde_json::from_slice(&notice).ok()?;
        let word = |key| notice.get(key).and_then(Value::as_str).map(str::to_owned);
        Some((word("state")?, word("parcel")?))
    }

    /// Fetches whatever stands in the outlets of a node, compares and removes it. Returns how much that was.
    pub fn pick_up(&mut self, office: &Office, node: &str) -> io::Result<usize> {
        let mut routes: Vec<&'static str> =
            self.lanes.iter().filter(|lane| lane.to == node).map(|lane| lane.route).collect();
        routes.sort_unstable();
        routes.dedup();
        let mut fetched = 0;
        for route in routes {
            let outlet = office.outlet(node, route);
            let mut taken = 0;
            for entry in fs::read_dir(&outlet)? {
                let path = entry?.path();
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                if name.starts_with('.') {
                    continue;
                }
                self.fetch(route, &name, &path);
                if path.is_dir() {
                    fs::remove_dir_all(&path)?
                } else {
                    fs::remove_file(&path)?
                }
                taken += 1;
            }
            if taken > 0 {
                // Its own copy is safe by now; that it took this one away is to last too.
                File::open(&outlet)?.sync_all()?;
            }
            fetched += taken;
        }
        Ok(fetched)
    }

    fn fetch(&mut self, route: &'static str, name: &str, path: &Path) {
        let known = self.by_name.get(&(route, name.to_owned())).and_then(|at| self.parcels.get_mut(*at));
        let Some(parcel) = known else {
            self.wrong.push(format!("{name} stands in the outlet of {route} and nobody dropped it"));
            return;
        };
        let mut found = Vec::new();
        let read = if path.is_dir() {
            read_below(path, "", &mut found)
        } else {
            fs::read(path).map(|bytes| found.push((name.to_owned(), bytes)))
        };
        found.sort();
        let mut expected = parcel.files.clone();
        expected.sort();
        match read {
            Err(error) => self.wrong.push(format!("{name} on {route} cannot be read: {error}")),
            Ok(()) if found != expected => {
                self.wrong.push(format!("{name} on {route} has other bytes than were dropped"))
            }
            Ok(()) => {}
        }
        if parcel.picked > 0 {
            self.again.push((format!("{name} on {route}"), parcel.picked_in, self.turn));
        }
        parcel.picked += 1;
        parcel.picked_in = self.turn;
    }
}

/// Where a node tells the app that its drop came to a state.
fn notice_of(office: &Office, parcel: &Parcel, state: &str) -> PathBuf {
    let notices = office.spool(parcel.lane.from).join("notices").join(parcel.lane.route);
    notices.join(format!("{}.{state}.json", parcel.name))
}

fn one(name: String, bytes: Vec<u8>) -> (String, Vec<(String, Vec<u8>)>) {
    (name.clone(), vec![(name, bytes)])
}

/// Lays a drop into an inlet as a careful app does: aside under a dot, synced, renamed, the directory synced.
pub fn lay(inlet: &Path, name: &str, files: &[(String, Vec<u8>)], ready: bool) -> io::Result<()> {
    let aside = inlet.join(format!(".{name}.part"));
    match files {
        [(only, bytes)] if only == name => write_synced(&aside, bytes)?,
        many => {
            fs::create_dir(&aside)?;
            for (path, bytes) in many {
                let place = aside.join(path);
                if let Some(folder) = place.parent().filter(|folder| *folder != aside) {
                    fs::create_dir_all(folder)?;
                    write_synced(&place, bytes)?;
                    File::open(folder)?.sync_all()?;
                } else {
                    write_synced(&place, bytes)?;
                }
            }
            File::open(&aside)?.sync_all()?;
        }
    }
    fs::rename(&aside, inlet.join(name))?;
    if ready {
        write_synced(&inlet.join(format!("{name}.ready")), b"")?;
    }
    File::open(inlet)?.sync_all()
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // By one handle: a marker may be taken the moment it is there.
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn read_below(folder: &Path, above: &str, found: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = format!("{above}{}", path.file_name().unwrap_or_default().to_string_lossy());
        if path.is_dir() {
            read_below(&path, &format!("{name}/"), found)?;
        } else {
            found.push((name, fs::read(&path)?));
        }
    }
    Ok(())
}
