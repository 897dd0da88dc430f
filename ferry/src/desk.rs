//! The desk of a node as ferry sees it: snapshots to read, folders to copy from and to, signed requests to ask with.
//! The daemon alone acts; ferry believes a snapshot for showing, and where it says that a trip is imported: that may be wiped.

use std::path::{Path, PathBuf};

use protocol::keys::random;
use protocol::parcel::{Label, VERSION};
use protocol::request::Request;
use protocol::signer::SignError;
use protocol::suite::Digest;
use protocol::{Name, Signed, Timestamp, Zone};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use spool::desk::Answer;
use spool::layout::Layout;

use crate::folder::{self, Folder, FolderError, Kind};
use crate::keyfile::Person;

/// Where nodes live when nobody says otherwise.
const SPOOLS: &str = "/var/lib/trilock";
/// The environment's way to name the spool.
const SPOOL_ENV: &str = "TRILOCK_SPOOL";
/// A node has tens of thousands of trips after years, 300 bytes each.
const SNAPSHOT_BYTES_MAX: usize = 64 << 20;
/// Files in the desk: the daemon is another account of the same group.
pub(crate) const DESK_FILE: u32 = 0o660;
/// Folders in the desk and in inlets: the daemon must be able to take away what is in them, and the group is kept.
pub(crate) const DESK_FOLDER: u32 = 0o2770;
/// Folders under [`SPOOLS`]: one node a machine, three on a demo.
const SPOOLS_MAX: usize = 64;
/// A quick answer: the daemon looks at its desk several times a second.
pub(crate) const ASK_WAIT_MS: u64 = 60_000;
/// Staging or taking in a full disc of 25 GB reads and writes all of it.
pub(crate) const CARRY_WAIT_MS: u64 = 1_800_000;

/// What goes wrong at the desk.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeskError {
    /// No spool was named and none, or several, are in the usual place.
    #[error("no spool was named, and {found} are under {SPOOLS}")]
    WhichSpool { found: usize },
    /// The person's device did not sign.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// A snapshot or folder cannot be read.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A snapshot that says something else than agreed.
    #[error("{}: {cause}", path.display())]
    Snapshot { path: PathBuf, cause: String },
    /// The node has no ferry crossing.
    #[error("node {node} has no ferry crossing in its config")]
    NoFerry { node: Name },
    /// No answer, or the request could not be written.
    #[error("asking the node: {0}")]
    Ask(#[from] spool::desk::DeskError),
    /// The daemon refused.
    #[error("the node refused: {} ({})", .0.message_en, .0.code)]
    Refused(Box<Answer>),
    /// The answer lacks what was agreed.
    #[error("the node's answer to {action} lacks \"{field}\"")]
    Answer { action: &'static str, field: &'static str },
}

/// `status/node.json`.
#[derive(Clone, Debug, Deserialize)]
struct NodeSnapshot {
    node: Name,
    zone: String,
    #[serde(default)]
    ferry: Option<FerrySnapshot>,
}

/// What the node says about its ferry crossing.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct FerrySnapshot {
    /// The outward crossing.
    pub(crate) crossing: String,
    /// To which node.
    pub(crate) target: Name,
    /// How many approvers its trips need.
    pub(crate) approvals: u8,
}

/// `status/status.json`, as far as ferry needs it.
#[derive(Clone, Debug, Default, Deserialize)]
struct StatusSnapshot {
    #[serde(default)]
    queues: Vec<Waiting>,
}

/// One queue of the node.
#[derive(Clone, Debug, Deserialize, serde::Serialize)]
pub(crate) struct Waiting {
    /// Its name.
    pub(crate) queue: String,
    /// How many wait.
    pub(crate) entries: u64,
    /// How much.
    #[serde(default)]
    pub(crate) bytes: u64,
    /// More than were counted.
    #[serde(default)]
    pub(crate) more: bool,
    /// Of these, how many no open trip carries; an older daemon does not say.
    #[serde(default)]
    pub(crate) next_entries: Option<u64>,
    /// And how much.
    #[serde(default)]
    pub(crate) next_bytes: u64,
    /// The trip that lapsed and that the next export is: it takes only what it had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next_again: Option<u64>,
    /// Files that the export after it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) later_entries: Option<u64>,
    /// How long the first has waited.
    #[serde(default)]
    pub(crate) oldest_s: Option<u64>,
}

/// One line of `status/trips.json`. What an older or newer daemon leaves out stays empty.
#[derive(Clone, Debug, Deserialize, serde::Serialize)]
pub(crate) struct TripLine {
    pub(crate) trip: u64,
    #[serde(default)]
    pub(crate) crossing: String,
    #[serde(default)]
    pub(crate) direction: String,
    #[serde(default)]
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) medium: Option<String>,
    #[serde(default)]
    pub(crate) carrier: Option<String>,
    #[serde(default)]
    pub(crate) files: u64,
    #[serde(default)]
    pub(crate) bytes: u64,
    /// How many have signed, or who.
    #[serde(default)]
    pub(crate) approvals: serde_json::Value,
    #[serde(default)]
    pub(crate) needed: u64,
    #[serde(default)]
    pub(crate) settled: serde_json::Value,
    #[serde(default)]
    pub(crate) bundles: Option<u64>,
    /// Hex digest of the signed waybill.
    #[serde(default)]
    pub(crate) waybill: String,
    #[serde(default)]
    pub(crate) at: serde_json::Value,
    #[serde(default)]
    pub(crate) at_ms: Option<u64>,
}

impl TripLine {
    /// How many have signed.
    pub(crate) fn signed(&self) -> u64 {
        self.approvals.as_array().map_or_else(|| self.approvals.as_u64().unwrap_or(0), |people| people.len() as u64)
    }
}

/// A node's desk.
pub(crate) struct Desk {
    /// Its paths.
    pub(crate) layout: Layout,
    /// Its name.
    pub(crate) node: Name,
    /// Its zone.
    pub(crate) zone: Zone,
    /// Its ferry crossing.
    pub(crate) ferry: Option<FerrySnapshot>,
}

/// The spool that was named, or the only one there is.
pub(crate) fn which_spool(named: Option<&Path>) -> Result<PathBuf, DeskError> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    if let Some(path) = std::env::var_os(SPOOL_ENV).filter(|path| !path.is_empty()) {
        return Ok(PathBuf::from(path));
    }
    let nodes = Folder::open(Path::new(SPOOLS)).and_then(|folder| folder.list(SPOOLS_MAX)).unwrap_or_default();
    let mut nodes =
        nodes.into_iter().filter(|item| item.kind == Kind::Folder).map(|item| Path::new(SPOOLS).join(item.name));
    match (nodes.next(), nodes.count()) {
        (Some(only), 0) => Ok(only),
        (first, more) => Err(DeskError::WhichSpool { found: more + usize::from(first.is_some()) }),
    }
}

impl Desk {
    /// Opens the desk of the node whose spool this is.
    pub(crate) fn open(named: Option<&Path>) -> Result<Desk, DeskError> {
        let root = which_spool(named)?;
        let layout = Layout::new(root);
        let path = layout.status().join("node.json");
        let snapshot: NodeSnapshot = read_json(&path)?;
        let zone = snapshot
            .zone
            .parse()
            .map_err(|e: protocol::zone::UnknownWord| DeskError::Snapshot { path, cause: e.to_string() })?;
        Ok(Desk { layout, node: snapshot.node, zone, ferry: snapshot.ferry })
    }

    /// The ferry crossing, where export or import is asked for.
    pub(crate) fn ferry(&self) -> Result<&FerrySnapshot, DeskError> {
        self.ferry.as_ref().ok_or_else(|| DeskError::NoFerry { node: self.node.clone() })
    }

    /// The staged folder of a trip.
    pub(crate) fn staged(&self, trip: u64) -> PathBuf {
        self.layout.desk_trips().join(trip.to_string())
    }

    /// All trips the daemon tells of.
    pub(crate) fn trips(&self) -> Result<Vec<TripLine>, DeskError> {
        read_json_or_nothing(&self.layout.status().join("trips.json"))
    }

    /// Files and bytes that wait for the next trip, as the daemon counted them last; and are there more than it counts?
    pub(crate) fn waiting(&self) -> Result<Option<Waiting>, DeskError> {
        let Some(ferry) = &self.ferry else { return Ok(None) };
        let status: StatusSnapshot = read_json_or_nothing(&self.layout.status().join("status.json"))?;
        let name = format!("outbox {}", ferry.crossing);
        Ok(status.queues.into_iter().find(|queue| queue.queue == name))
    }

    /// All media the daemon tells of.
    pub(crate) fn media(&self) -> Result<Vec<serde_json::Value>, DeskError> {
        read_json_or_nothing(&self.layout.status().join("media.json"))
    }

    /// Asks, and takes no for an error.
    pub(crate) fn ask(
        &self,
        person: &Person,
        action: &'static str,
        arguments: &[(&'static str, String)],
        now: Timestamp,
        wait_ms: u64,
    ) -> Result<Answer, DeskError> {
        self.put(&self.sign(person, action, arguments, now)?, wait_ms)
    }

    /// A request on paper, before anybody is asked.
    pub(crate) fn sign(
        &self,
        person: &Person,
        action: &'static str,
        arguments: &[(&'static str, String)],
        now: Timestamp,
    ) -> Result<Paper, DeskError> {
        self.sign_as(new_request(), person, action, arguments, now)
    }

    /// The same under an id that was chosen before.
    pub(crate) fn sign_as(
        &self,
        id: Digest,
        person: &Person,
        action: &'static str,
        arguments: &[(&'static str, String)],
        now: Timestamp,
    ) -> Result<Paper, DeskError> {
        let name = |word: &'static str| Name::new(word).expect("our own words have the form of names");
        let request = Request {
            version: VERSION,
            id,
            node: self.node.clone(),
            action: name(action),
            person: person.card.holder.clone(),
            at: now,
            arguments: arguments.iter().map(|(word, value)| Label { name: name(word), value: value.clone() }).collect(),
        };
        Ok(Paper { id: request.id, bytes: Signed::make_by(&*person.key, &request)?.to_bytes() })
    }

    /// What the node said to a request before, as long as it keeps that.
    pub(crate) fn answered(&self, request: &Digest) -> Result<Option<Answer>, DeskError> {
        let name = spool::desk::answer_name(request);
        read_json_or_nothing(&self.layout.desk_answers().join(name))
    }

    /// Asks with it.
    pub(crate) fn put(&self, paper: &Paper, wait_ms: u64) -> Result<Answer, DeskError> {
        let answer = spool::desk::ask(&self.layout, &paper.id, &paper.bytes, wait_ms)?;
        if answer.done { Ok(answer) } else { Err(DeskError::Refused(Box::new(answer))) }
    }
}

/// An id that no request has.
pub(crate) fn new_request() -> Digest {
    Digest::from_slice(&random::<32>()).expect("32 bytes are a digest's length")
}

/// A request as its person signed it.
pub(crate) struct Paper {
    /// Its id.
    pub(crate) id: Digest,
    /// The signed bytes.
    pub(crate) bytes: Vec<u8>,
}

/// A number of an answer's details.
pub(crate) fn number(answer: &Answer, action: &'static str, field: &'static str) -> Result<u64, DeskError> {
    answer.details.get(field).and_then(serde_json::Value::as_u64).ok_or(DeskError::Answer { action, field })
}

fn read_json_or_nothing<T: DeserializeOwned + Default>(path: &Path) -> Result<T, DeskError> {
    match read_json(path) {
        Err(DeskError::Folder(error)) if error.is_missing() => Ok(T::default()),
        done => done,
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, DeskError> {
    let bytes = folder::read_file(path, SNAPSHOT_BYTES_MAX)?;
    serde_json::from_slice(&bytes).map_err(|e| DeskError::Snapshot { path: path.to_owned(), cause: e.to_string() })
}
