//! The people who carry trips from the internal zone to the extranet: one trip after the other, one `ferry` command at a
//! time. A command that was killed is run again; whoever exported and finds nothing waiting looks at the trips and
//! writes the one that was staged before the command died.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use serde_json::Value;

use crate::office::{Office, OneWay, Wishes};
use crate::programs::{programs, repository};
use crate::traffic::{Kind, Lane, Traffic};

/// What leaves the internal zone by ferry.
pub const RESULTS: Lane = Lane { from: "intranet", to: "extranet", route: "responses", ready: false, kind: Kind::Form };
/// Daemons come up and seal a few hundred drops within this, on the busiest machine.
const READY: Duration = Duration::from_secs(60);

/// An office whose zones at both ends of the ferry are up. `register` stands in the config of the internal zone beside its media.
pub fn ends_of_the_ferry(root: &Path, suite: &str, register: &str) -> io::Result<(Office, Traffic)> {
    let wishes = Wishes {
        suite: suite.to_owned(),
        one_way: OneWay::Diode,
        repository: repository(),
        programs: programs().to_owned(),
        round_every_s: 1,
    };
    let mut office = Office::found(root, wishes, Ok)?;
    let config = office.config("intranet");
    let text = fs::read_to_string(&config)?;
    fs::write(config, text.replacen("[[route]]", &format!("{register}\n[[route]]"), 1))?;
    let ends = ["extranet", "intranet"];
    ends.iter().try_for_each(|node| office.start(node))?;
    let up =
        |office: &Office| ends.iter().all(|node| office.spool(node).join("status/node.json").exists()).then_some(());
    office.await_that(READY, up).ok_or_else(|| io::Error::other("the daemons do not come up"))?;
    Ok((office, Traffic::new(vec![RESULTS], 7)))
}

/// Drops so many results and waits until all of them are sealed and wait for the ferry.
pub fn drop_results(office: &mut Office, traffic: &mut Traffic, count: usize) -> io::Result<()> {
    (0..count).try_for_each(|_| traffic.drop_on(office, RESULTS))?;
    let sealed = office.await_that(READY, |office| {
        traffic.read_notices(office);
        traffic.parcels().iter().all(|parcel| parcel.acknowledged).then_some(())
    });
    sealed.ok_or_else(|| io::Error::other("the results are not sealed"))
}

/// Where a trip stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// Asks the node to stage, and writes the medium.
    Export,
    /// Writes the medium of a trip that is staged.
    Reexport,
    /// The first countersignature.
    ApproveFirst,
    /// The second.
    ApproveSecond,
    /// Reads the medium back.
    Confirm,
    /// At the extranet.
    Import,
}

impl Step {
    /// The command.
    #[must_use]
    pub const fn command(self) -> &'static str {
        match self {
            Step::Export => "export",
            Step::Reexport => "reexport",
            Step::ApproveFirst | Step::ApproveSecond => "approve",
            Step::Confirm => "confirm",
            Step::Import => "import",
        }
    }
}

/// Carries trips.
pub struct Courier {
    step: Step,
    /// Was the command of this step killed before? Then it may find its work done.
    repeated: bool,
    child: Option<Child>,
    trip: u64,
    /// Trips carried to their end.
    pub carried: u64,
    /// Commands that failed by themselves and why; empty in the end.
    pub failed: Vec<String>,
    logged: u64,
}

impl Default for Courier {
    fn default() -> Self {
        let (child, failed) = (None, Vec::new());
        Courier { step: Step::Export, repeated: false, child, trip: 0, carried: 0, failed, logged: 0 }
    }
}

impl Courier {
    /// What is being done.
    #[must_use]
    pub fn step(&self) -> Step {
        self.step
    }

    /// Is a command running?
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// Starts the command of the present step. Nobody works at the desk of a node that never came up.
    pub fn start(&mut self, office: &Office) -> io::Result<()> {
        if !["intranet", "extranet"].iter().all(|node| office.spool(node).join("status/node.json").exists()) {
            return Ok(());
        }
        let disc = disc(office);
        if self.repeated && matches!(self.step, Step::Export | Step::Reexport) && disc.exists() {
            // Staged again, a trip has another waybill; a medium that was half written is wiped first.
            fs::remove_dir_all(&disc)?;
        }
        fs::create_dir_all(&disc)?;
        self.logged = fs::metadata(office.root.join("ferry.log")).map_or(0, |about| about.len());
        let (disc, trip) = (disc.to_string_lossy().into_owned(), self.trip.to_string());
        let trust = office.root.join("extranet/trust").to_string_lossy().into_owned();
        let inner_trust = office.root.join("intranet/trust").to_string_lossy().into_owned();
        // Every other trip, so that both forms of a medium are killed and carried.
        let parity: &[&str] = if self.carried.is_multiple_of(2) { &[] } else { &["--parity", "12"] };
        let (person, node, arguments): (_, _, Vec<&str>) = match self.step {
            Step::Export => (
                "operator-ma",
                "intranet",
                [&["--medium-id", "disc-0001", "--carrier", "carrier-sun", "--medium", &disc], parity].concat(),
            ),
            Step::Reexport => ("operator-ma", "intranet", [&["--trip", &trip, "--medium", &disc], parity].concat()),
            Step::ApproveFirst => ("approver-li", "intranet", vec!["--trip", &trip, "--medium", &disc]),
            Step::ApproveSecond => ("approver-zhao", "intranet", vec!["--trip", &trip, "--medium", &disc]),
            Step::Confirm => {
                ("operator-ma", "intranet", vec!["--medium", &disc, "--trip", &trip, "--trust", &inner_trust])
            }
            Step::Import => ("operator-chen", "extranet", vec!["--medium", &disc, "--trust", &trust, "--trip", &trip]),
        };
        self.child = Some(office.ferry_start(person, node, self.step.command(), &arguments)?);
        Ok(())
    }

    /// `kill -9` of the running command. It will be run again.
    pub fn kill(&mut self) -> io::Result<bool> {
        let Some(mut child) = self.child.take() else { return Ok(false) };
        child.kill()?;
        self.repeated = true;
        // Not a kill where it was through already.
        let status = child.wait()?;
        Ok(status.code().is_none())
    }

    /// Goes on where the running command has ended. A trip that was imported begins the next.
    pub fn advance(&mut self, office: &Office) -> io::Result<()> {
        let Some(status) = self.child.as_mut().map(Child::try_wait).transpose()?.flatten() else { return Ok(()) };
        self.child = None;
        let log = fs::read(office.root.join("ferry.log"))?;
        let said = String::from_utf8_lossy(log.get(usize::try_from(self.logged).unwrap_or(0)..).unwrap_or_default())
            .into_owned();
        // The daemon took the trip in before the command or its daemon was killed; it says so and takes nothing twice.
        let known = self.step == Step::Import && self.repeated && said.contains("imported before");
        if !status.success() && !known {
            self.failed.push(format!("ferry {} of trip {}: {status}: {said}", self.step.command(), self.trip));
            // A person would look, and begin again with this step.
            self.repeated = true;
            return Ok(());
        }
        self.repeated = false;
        self.step = match self.step {
            Step::Export => match self.staged(office) {
                Some(trip) => {
                    // A command that was killed may have had a trip staged before; that one goes first.
                    let written = said.contains("written") && said.contains(&format!("trip {trip}:"));
                    self.trip = trip;
                    if written { Step::ApproveFirst } else { Step::Reexport }
                }
                None => Step::Export,
            },
            Step::Reexport => Step::ApproveFirst,
            Step::ApproveFirst => Step::ApproveSecond,
            Step::ApproveSecond => Step::Confirm,
            Step::Confirm => Step::Import,
            Step::Import => {
                self.carried += 1;
                // The next trip gets an empty disc.
                fs::remove_dir_all(disc(office))?;
                match self.staged(office) {
                    Some(trip) => {
                        self.trip = trip;
                        Step::Reexport
                    }
                    None => Step::Export,
                }
            }
        };
        Ok(())
    }

    /// The newest trip of the internal zone that was not carried yet, as its papers at the desk say.
    fn staged(&self, office: &Office) -> Option<u64> {
        let trips = fs::read_dir(office.spool("intranet").join("desk/trips")).ok()?;
        let notes = trips.filter_map(|entry| fs::read(entry.ok()?.path().join("trip.json")).ok());
        let notes = notes.filter_map(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
        let open = notes.filter(|trip| trip.get("state").and_then(Value::as_str) == Some("staged"));
        open.filter_map(|trip| trip.get("trip").and_then(Value::as_u64)).filter(|trip| *trip > self.trip).min()
    }
}

impl Drop for Courier {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended before; there is nobody left to tell.
            let _killed = child.kill();
            let _ended = child.wait();
        }
    }
}

fn disc(office: &Office) -> PathBuf {
    office.root.join("disc")
}
