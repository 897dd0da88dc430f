//! A run of kills, and the verdict on it: daemons and commands die under a stream of drops, then nobody dies any more,
//! everything comes to rest, and what a run must not show is named as a [`Fault`]. A run that is sabotaged shows each of
//! them once, or the verdict would be worth nothing: `tests/tests/ordeals_fail.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::courier::{Courier, Step};
use crate::lives::Lives;
use crate::office::Office;
use crate::papers::Noise;
use crate::surveyor::Surveyor;
use crate::traffic::Traffic;
use crate::twins::names;

/// Drops of a route that are on their way at once: enough to hit every stage, few enough to come to rest.
const OUTSTANDING_MAX: usize = 12;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);
/// Trips that a node shows at most, the newest.
const TRIPS_SHOWN: usize = 200;
/// Papers of a trip that stay where it is over.
const TRIP_PAPERS: [&str; 3] = ["approvals", "trip.json", "waybill"];

/// What a run must not show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A daemon ended by itself, or did not come up.
    Start(String),
    /// Other bytes than were dropped, a name that nobody dropped, a refusal.
    Wrong(Vec<String>),
    /// Delivered again.
    Twice(Vec<String>),
    /// A command of a person failed by itself.
    Command(Vec<String>),
    /// Nobody dies any more, and these of a route never arrive; the ferry stands at this step.
    Lost(BTreeMap<&'static str, usize>, Step),
    /// Delivered, and their apps were told nothing.
    Untold(Vec<String>),
    /// Delivered, and a node on the way keeps no evidence of it.
    Unproven(Vec<String>),
    /// An auditor's `ferry` finds a ledger or evidence that does not verify.
    Unsound(String),
    /// A trip is marked at one end and not at the other, or its number is missing or there twice.
    HalfMarked(String),
    /// What a command that was interrupted left behind still stands there.
    Leftover(String),
    /// The harness itself met an error.
    Harness(String),
}

/// What the harness does by itself and cannot do.
fn harness(error: std::io::Error) -> Fault {
    Fault::Harness(error.to_string())
}

/// Nothing of a kind was found.
fn none<T>(found: Vec<T>, fault: impl FnOnce(Vec<T>) -> Fault) -> Result<(), Fault> {
    if found.is_empty() { Ok(()) } else { Err(fault(found)) }
}

/// Who runs, what travels, who carries.
pub struct Ordeal {
    /// The daemons.
    pub lives: Lives,
    /// The apps.
    pub traffic: Traffic,
    /// The people.
    pub courier: Courier,
    /// Whoever takes survey files in, where anybody does.
    pub surveyor: Option<Surveyor>,
    /// Which daemons run.
    pub nodes: &'static [&'static str],
    /// Once nobody is killed any more everything comes to rest within this.
    pub rest: Duration,
}

impl Ordeal {
    /// All daemons start.
    pub fn begin(
        office: Office,
        traffic: Traffic,
        seed: u64,
        nodes: &'static [&'static str],
        rest: Duration,
    ) -> Result<Ordeal, Fault> {
        let (lives, courier) = (Lives::new(office, seed), Courier::default());
        let mut ordeal = Ordeal { lives, traffic, courier, surveyor: None, nodes, rest };
        ordeal.start_all()?;
        Ok(ordeal)
    }

    fn start_all(&mut self) -> Result<(), Fault> {
        self.nodes.iter().try_for_each(|node| self.lives.start(node)).map_err(harness)
    }

    /// Looks once at everything that happens by itself.
    pub fn look(&mut self) -> Result<(), Fault> {
        for node in self.nodes {
            self.lives.look_at(node).map_err(|error| Fault::Start(error.to_string()))?;
        }
        self.courier.advance(&self.lives.office).map_err(harness)?;
        for node in self.nodes {
            self.traffic.pick_up(&self.lives.office, node).map_err(harness)?;
        }
        self.traffic.read_notices(&self.lives.office);
        none(self.traffic.wrong.clone(), Fault::Wrong)?;
        none(self.traffic.again.iter().map(|(name, ..)| name.clone()).collect(), Fault::Twice)?;
        none(self.courier.failed.clone(), Fault::Command)?;
        if let Some(surveyor) = &mut self.surveyor {
            surveyor.advance(&self.lives.office).map_err(harness)?;
            none(surveyor.wrong.clone(), Fault::Command)?;
        }
        std::thread::park_timeout(LOOK);
        Ok(())
    }

    /// Kills until so many of those that count were. A drop comes after each pause, drawn between two numbers of
    /// milliseconds.
    pub fn kill(&mut self, kills: usize, counted: impl Fn(&Lives) -> usize, pause_ms: (u64, u64)) -> Result<(), Fault> {
        let pause = |noise: &mut Noise| Duration::from_millis(pause_ms.0 + noise.below(pause_ms.1 - pause_ms.0));
        let mut next_drop = Instant::now();
        while counted(&self.lives) < kills {
            self.look()?;
            if Instant::now() >= next_drop {
                self.traffic.drop_one(&self.lives.office, OUTSTANDING_MAX).map_err(harness)?;
                next_drop = Instant::now() + pause(&mut self.lives.noise);
            }
            self.lives.work(&mut self.courier).map_err(harness)?;
            if let Some(surveyor) = &mut self.surveyor {
                self.lives.survey(surveyor).map_err(harness)?;
            }
        }
        self.lives.killing = false;
        Ok(())
    }

    /// Nobody dies any more: what is on its way arrives, and the trip under way is imported.
    pub fn come_to_rest(&mut self) -> Result<(), Fault> {
        self.lives.killing = false;
        let until = Instant::now() + self.rest;
        while let Some(surveyor) = self.surveyor.as_mut().filter(|surveyor| surveyor.is_owed()) {
            if !surveyor.is_running() {
                surveyor.start(&self.lives.office).map_err(harness)?;
            }
            self.look()?;
            if Instant::now() > until {
                return Err(Fault::Command(vec!["an intake comes to no end".to_owned()]));
            }
        }
        while !self.traffic.outstanding().is_empty() || self.courier.step() != Step::Export || self.courier.is_running()
        {
            self.look()?;
            let to_do = self.courier.step() != Step::Export || self.is_owed_by_ferry();
            if !self.courier.is_running() && to_do {
                self.courier.start(&self.lives.office).map_err(harness)?;
            }
            if Instant::now() > until {
                return Err(Fault::Lost(self.traffic.outstanding(), self.courier.step()));
            }
        }
        // The receipts of the last ones are still on their way. Whether all came is asked later, of whatever stands then.
        while self.tell().is_err() && Instant::now() < until {
            self.look()?;
        }
        Ok(())
    }

    /// Does something wait for a person to carry it?
    fn is_owed_by_ferry(&self) -> bool {
        self.traffic.parcels().iter().any(|parcel| parcel.picked == 0 && parcel.lane.from == "intranet")
    }

    /// Each dies once more and takes up whatever is left anywhere: it must be nothing that an outlet ever saw.
    pub fn restart_all(&mut self) -> Result<(), Fault> {
        self.end_all()?;
        self.start_all()?;
        while self.lives.is_starting() {
            self.look()?;
        }
        self.look()
    }

    /// `kill -9` of all, and nobody starts them.
    pub fn end_all(&mut self) -> Result<(), Fault> {
        self.nodes.iter().try_for_each(|node| self.lives.office.kill(node)).map_err(harness)
    }

    /// Every app was told what became of its drop, and every node that answers for it can prove it: the target, and the
    /// origin once a receipt came home. Until then the bundle stands in its outbox.
    pub fn tell(&self) -> Result<(), Fault> {
        let office = &self.lives.office;
        none(self.traffic.untold(office), Fault::Untold)?;
        let mut unproven = Vec::new();
        for node in self.nodes {
            let kept: BTreeSet<String> = files_below(&office.spool(node).join("evidence"));
            for parcel in self.traffic.parcels() {
                let (state, id) = self.traffic.told(office, parcel).unwrap_or_default();
                let owed = parcel.lane.to == *node || parcel.lane.from == *node && state == "delivered";
                if owed && !kept.iter().any(|file| file.starts_with(&id) && file.ends_with(".proof")) {
                    unproven.push(format!("{} at {node}", parcel.name));
                }
            }
        }
        none(unproven, Fault::Unproven)
    }

    /// An auditor with public keys alone looks at what each node keeps. Its daemons have ended.
    pub fn verify(&mut self) -> Result<(), Fault> {
        self.end_all()?;
        let office = &self.lives.office;
        let trust = office.root.join("extranet/trust").to_string_lossy().into_owned();
        for node in self.nodes {
            for command in [vec!["ledger", "verify", "--dir"], vec!["verify"]] {
                let place = office.spool(node).join(if command.len() == 1 { "evidence" } else { "ledger" });
                // An origin may be at rest before its first receipt came: then it keeps no evidence, and `tell` asks for none.
                if command.len() == 1 && files_below(&place).is_empty() {
                    continue;
                }
                let place = place.to_string_lossy().into_owned();
                office
                    .ferry(&[&command[..], &[&place, "--trust", &trust]].concat())
                    .map_err(|error| Fault::Unsound(format!("{place}: {error}")))?;
            }
        }
        Ok(())
    }

    /// Every trip that was opened comes to be settled inside and imported outside; none is skipped or there twice.
    pub fn settle(&mut self) -> Result<usize, Fault> {
        let until = Instant::now() + self.rest;
        while !self.is_settled() {
            self.look()?;
            if Instant::now() > until {
                let told = ["extranet", "intranet"].map(|node| trips(&self.lives.office, node));
                return Err(Fault::HalfMarked(format!("{told:?}")));
            }
        }
        let numbers: Vec<u64> =
            trips(&self.lives.office, "intranet").unwrap_or_default().into_iter().map(|(trip, _)| trip).collect();
        // Of more trips than it shows the node names the newest.
        let first = if numbers.len() < TRIPS_SHOWN { Some(1) } else { numbers.first().copied() };
        let last = numbers.last().copied().unwrap_or_default();
        if !numbers.iter().copied().eq(first.unwrap_or(1)..=last) {
            return Err(Fault::HalfMarked(format!("a number is skipped or there twice: {numbers:?}")));
        }
        Ok(usize::try_from(last).unwrap_or(usize::MAX))
    }

    fn is_settled(&self) -> bool {
        let all = |node, wanted: &str| {
            let trips = trips(&self.lives.office, node)?;
            let done = trips.iter().all(|(_, state)| state == wanted);
            done.then(|| trips.into_iter().map(|(trip, _)| trip).collect::<Vec<_>>())
        };
        let (inside, outside) = (all("intranet", "settled"), all("extranet", "imported"));
        inside.is_some() && inside == outside
    }

    /// A trip that is over keeps its papers and no bundle; a copy that was interrupted is cleared away by the next.
    pub fn tidy(&self) -> Result<(), Fault> {
        for node in self.nodes {
            for folder in ["desk/incoming", "desk/trips"].map(|folder| self.lives.office.spool(node).join(folder)) {
                for name in every_name(&folder) {
                    let left = names(&folder.join(&name));
                    let half = [".tmp-", ".vol-"].iter().any(|head| name.starts_with(head));
                    if half || !left.iter().all(|name| TRIP_PAPERS.contains(&name.as_str())) {
                        return Err(Fault::Leftover(format!("{} holds {name} with {left:?}", folder.display())));
                    }
                }
            }
        }
        Ok(())
    }
}

/// What a node tells of its trips, by number; none where it is just writing that down.
fn trips(office: &Office, node: &str) -> Option<Vec<(u64, String)>> {
    let text = fs::read(office.spool(node).join("status/trips.json")).ok()?;
    let list: Vec<Value> = serde_json::from_slice(&text).ok()?;
    let mut trips: Vec<_> = list
        .iter()
        .map(|trip| Some((trip.get("trip")?.as_u64()?, trip.get("state")?.as_str()?.to_owned())))
        .collect::<Option<_>>()?;
    trips.sort();
    Some(trips)
}

fn every_name(folder: &std::path::Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Names of all files below a folder.
fn files_below(folder: &std::path::Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for name in every_name(folder) {
        let path = folder.join(&name);
        if path.is_dir() {
            found.append(&mut files_below(&path));
        } else {
            found.insert(name);
        }
    }
    found
}
