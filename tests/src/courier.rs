//! The people who carry trips from the internal zone to the extranet: one trip after the other, on one medium, with parity, on
//! several volumes, and on several with parity; one `ferry` command at a time. A command that was killed is run again, on
//! the media as it left them.

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
pub const RESULTS: Lane =
    Lane { from: "intranet", to: "extranet", route: "responses", ready: false, kind: Kind::Answer };
/// The same, each a file of its own in the outbox: staged for a trip by a second name, and not copied.
pub const LARGE_RESULTS: Lane = Lane { kind: Kind::LargeAnswer, ..RESULTS };
/// Bytes of a volume on which a few large results have room, beside a megabyte for its papers; with parity there is more
/// beside them.
const VOLUME_BYTES: &str = "2000000";
const VOLUME_BYTES_WITH_PARITY: &str = "2200000";
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
    /// Which of the trip's media is confirmed or imported next.
    medium: usize,
    /// Trips carried to their end.
    pub carried: u64,
    /// Media that they lay on.
    pub media: usize,
    /// Exports that went on with what one before them had left.
    pub taken_up: u64,
    /// Commands that failed by themselves and why; empty in the end.
    pub failed: Vec<String>,
    logged: u64,
}

impl Default for Courier {
    fn default() -> Self {
        let (child, failed) = (None, Vec::new());
        let (carried, media, taken_up) = (0, 0, 0);
        let (step, repeated, trip, medium, logged) = (Step::Export, false, 0, 0, 0);
        Courier { step, repeated, child, trip, medium, carried, media, taken_up, failed, logged }
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
        fs::create_dir_all(&disc)?;
        self.logged = fs::metadata(office.root.join("ferry.log")).map_or(0, |about| about.len());
        let media = media(&disc);
        // The last volume first at the other end, every other time.
        let place =
            if self.carried.is_multiple_of(3) { self.medium } else { media.len().saturating_sub(self.medium + 1) };
        let medium = media.get(place).unwrap_or(&disc).to_string_lossy().into_owned();
        let (disc, trip) = (disc.to_string_lossy().into_owned(), self.trip.to_string());
        let trust = office.root.join("extranet/trust").to_string_lossy().into_owned();
        let inner_trust = office.root.join("intranet/trust").to_string_lossy().into_owned();
        // Every form of a trip is killed and carried.
        let form: &[&str] = match self.carried % 4 {
            0 => &["--medium", &disc],
            1 => &["--medium", &disc, "--parity", "12"],
            2 => &["--out", &disc, "--volume", VOLUME_BYTES],
            _ => &["--out", &disc, "--volume", VOLUME_BYTES_WITH_PARITY, "--parity", "12"],
        };
        // Of several media each gets what is signed when it is confirmed.
        let signed: &[&str] = if media.len() > 1 { &[] } else { &["--medium", &disc] };
        let (person, node, arguments): (_, _, Vec<&str>) = match self.step {
            Step::Export => {
                ("operator-ma", "intranet", [&["--medium-id", "disc-0001", "--carrier", "carrier-sun"], form].concat())
            }
            Step::Reexport => ("operator-ma", "intranet", [&["--trip", &trip], form].concat()),
            Step::ApproveFirst => ("approver-li", "intranet", [&["--trip", &trip], signed].concat()),
            Step::ApproveSecond => ("approver-zhao", "intranet", [&["--trip", &trip], signed].concat()),
            Step::Confirm => {
                ("operator-ma", "intranet", vec!["--medium", &medium, "--trip", &trip, "--trust", &inner_trust])
            }
            Step::Import => {
                ("operator-chen", "extranet", vec!["--medium", &medium, "--trust", &trust, "--trip", &trip])
            }
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
        self.taken_up += u64::from(said.contains("taken up"));
        let count = media(&disc(office)).len();
        if matches!(self.step, Step::Confirm | Step::Import) && self.medium + 1 < count {
            self.medium += 1;
            return Ok(());
        }
        self.medium = 0;
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
                self.media += count;
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

/// The media of the present trip: one, or its volumes.
fn media(disc: &Path) -> Vec<PathBuf> {
    let volumes = (1..).map(|number: u32| disc.join(format!("volume-{number}"))).take_while(|volume| volume.is_dir());
    let volumes: Vec<PathBuf> = volumes.collect();
    if volumes.is_empty() { vec![disc.to_owned()] } else { volumes }
}

fn disc(office: &Office) -> PathBuf {
    office.root.join("disc")
}
