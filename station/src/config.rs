//! One node's TOML file: who it is, whom it meets, which routes it serves. Unknown keys are refused, and every
//! message names line and column. A link's own settings stand beside the link's code; this file only leaves room
//! for them (`L`), because the station knows no transport.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use protocol::parcel::Priority;
use protocol::trust_list::AGREED_BY;
use protocol::{Crossing, Digest, Name, Suite, Zone};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Routes of one node. An office has about ten; more than this is a mistake.
const ROUTES_MAX: usize = 256;
/// Bytes of a config file.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// A whole config file. `L` is the struct of the node's links, each an optional table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config<L> {
    /// This node.
    pub node: NodeSettings,
    /// The nodes it exchanges with, directly or along a route.
    #[serde(default, rename = "peer")]
    pub peers: Vec<PeerSettings>,
    /// What it carries.
    #[serde(default, rename = "route")]
    pub routes: Vec<RouteSettings>,
    /// The hand ferry, where one of its crossings uses it.
    #[serde(default)]
    pub ferry: FerrySettings,
    /// Where alarms go besides the log.
    #[serde(default)]
    pub alarm: AlarmSettings,
    /// A virus scanner, asked about what the guard has released; none where the table is missing.
    pub scanner: Option<ScannerSettings>,
    /// Copies of the state, sealed to a key; none where the table is missing, and `check` says so.
    pub backup: Option<BackupSettings>,
    /// The links of this zone.
    pub link: L,
}

/// Who this node is and where its things lie.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSettings {
    /// Its name; the holder on its key cards.
    pub name: Name,
    /// The suite of the office: `std` or `gm`. All nodes of an office use the same.
    #[serde(deserialize_with = "word")]
    pub suite: Suite,
    /// The root of its spool, on one file system with its inlets and outlets.
    pub spool: PathBuf,
    /// The folder of its own private keys, 0700: `<name>.sign.key.pem`, `<name>.seal.key.pem`, `<name>.link.key.pem`.
    pub keys: PathBuf,
    /// `exec:/PATH/OF/PROGRAM` where a device keeps the signing key; its card is `<name>.sign.pub.pem` in the folder of keys.
    #[serde(default)]
    pub signing_key: Option<PathBuf>,
    /// The folder of public key cards it believes.
    pub trust: PathBuf,
    /// Fingerprints of key administrators' keys. Where there are any, the trust folder is believed only while two of these people
    /// have signed what it holds (`ferry trust sign`).
    #[serde(default)]
    pub key_admins: Vec<String>,
    /// The folder of rule files, one a crossing: `<crossing>.toml`.
    pub rules: PathBuf,
    /// Days that evidence is kept. Default 1,095; below 180 is refused, because the law asks for six months.
    #[serde(default = "evidence_days")]
    pub evidence_days: u32,
    /// Days that a refused parcel is held. Default 30; at least 1.
    #[serde(default = "quarantine_days")]
    pub quarantine_days: u32,
    /// Days that the notice of a parcel's end stays, counted from when it was written. Default 180; at least 1. What the
    /// ledger says of the parcel stays for good.
    #[serde(default = "notice_days")]
    pub notice_days: u32,
    /// Milliseconds after which what has come meanwhile is looked at, the most urgent first. An urgent bundle waits for
    /// this, and for the group of small ones or the one large bundle under way. Default 100, at least 1.
    #[serde(default = "urgent_within_ms")]
    pub urgent_within_ms: u32,
    /// May `seal` and `open` be used by hand here? Default no. Never for what leaves the internal zone.
    #[serde(default)]
    pub manual: bool,
}

impl NodeSettings {
    /// The program that signs for the node, where its key is in a device.
    #[must_use]
    pub fn signer(&self) -> Option<PathBuf> {
        self.signing_key.as_deref().and_then(spool::device::Program::named)
    }

    /// The keys of the key administrators; none where one of them is no fingerprint.
    #[must_use]
    pub fn admins(&self) -> Option<BTreeSet<Digest>> {
        let key = |text: &String| Digest::from_hex(&text.replace(' ', "").to_lowercase());
        self.key_admins.iter().map(key).collect()
    }
}

/// A node at the other end of a crossing.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerSettings {
    /// Its name; the holder on its key cards.
    pub name: Name,
    /// The zone it stands in.
    #[serde(deserialize_with = "word")]
    pub zone: Zone,
    /// How bundles go to it.
    pub send: Carrier,
    /// How bundles come from it.
    pub receive: Carrier,
}

impl PeerSettings {
    /// Does anything go to or come from it this way?
    #[must_use]
    pub fn uses(&self, carrier: Carrier) -> bool {
        self.send == carrier || self.receive == carrier
    }
}

/// What carries bundles over a border.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Carrier {
    /// The two-way gateway.
    Quic,
    /// The one-way light gate.
    Diode,
    /// A purchased gate that moves files between two folders.
    Folder,
    /// A medium carried by a person.
    Ferry,
}

impl Carrier {
    /// Can an answer come back the way the question went?
    #[must_use]
    pub const fn is_two_way(self) -> bool {
        matches!(self, Carrier::Quic)
    }
}

/// From where to where, and what for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteSettings {
    /// The route's name: the inlet and outlet folders are called after it.
    pub name: Name,
    /// The nodes it passes, origin first. Every node of the route has the same list.
    pub path: Vec<Name>,
    /// The registered parcel types it carries; everything else is refused.
    pub types: Vec<Name>,
    /// How soon it matters: `urgent`, `normal` (default), `bulk`.
    #[serde(default, deserialize_with = "priority")]
    pub priority: Priority,
    /// How an app says that a drop is complete: `rename`, `ready` or `settle`. Needed at the origin; no default,
    /// because a wrong guess delivers half a file.
    pub intake: Option<IntakeWord>,
    /// With `settle`: seconds without a change before a drop counts as complete, twice as many for a file whose format
    /// has no known end. Default 10, at least 1. A drop that is empty or cut is waited for an hour, or twenty times as
    /// long where that is longer; a cut one is then refused.
    #[serde(default = "settle_s")]
    pub settle_s: u32,
    /// Encoding of names in the inlet: `utf-8` (default) or `gb18030`.
    #[serde(default)]
    pub names: NameEncoding,
    /// Uids that may drop here besides the members of the route's group. Default none.
    #[serde(default)]
    pub app_uids: Vec<u32>,
    /// What ends a parcel at its origin: `receipt` (default), or `rounds` for one-way routes on which no receipt is awaited.
    #[serde(default)]
    pub confirm: Confirm,
    /// Days after which an unconfirmed parcel is alarmed as expired. Default 30, at least 1. It is never deleted for it.
    #[serde(default = "expire_days")]
    pub expire_days: u32,
    /// Where the route ends here: hours after which a delivery that its app has not picked up is alarmed. Default 24, at
    /// least 1. It is never removed for it.
    #[serde(default = "pickup_hours")]
    pub pickup_hours: u32,
    /// Where the route ends here: files and folders that may stand in its outlet. With so many, further deliveries of
    /// this route wait until the app has picked up; other routes go on. Default 100,000, at least 1.
    #[serde(default = "outlet_entries")]
    pub outlet_entries: u32,
    /// The same by size, in MiB. Default: only the disk's own floor.
    #[serde(default)]
    pub outlet_mib: Option<u32>,
}

/// See [`RouteSettings::intake`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IntakeWord {
    /// The app writes elsewhere on the same file system and renames in.
    Rename,
    /// The app writes `NAME`, then an empty `NAME.ready`.
    Ready,
    /// The app just writes; a drop is complete when it has been still for a while and is whole.
    Settle,
}

/// See [`RouteSettings::names`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum NameEncoding {
    /// UTF-8.
    #[default]
    #[serde(rename = "utf-8")]
    Utf8,
    /// GB 18030, and with it GBK.
    #[serde(rename = "gb18030")]
    Gb18030,
}

/// See [`RouteSettings::confirm`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confirm {
    /// Wait for the receipt, however it comes home.
    #[default]
    Receipt,
    /// All rounds sent is enough: ends as "sent, unconfirmed".
    Rounds,
}

/// The hand ferry.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FerrySettings {
    /// Countersignatures, besides the exporter's, before a trip may leave. Default 2. `check` warns at 1 and refuses
    /// 0 where the trip leaves the internal zone.
    #[serde(default = "approvals")]
    pub approvals: u8,
    /// Media of the register.
    #[serde(default, rename = "medium")]
    pub media: Vec<MediumSettings>,
    /// Hours after which a staged trip that nobody confirmed is dissolved; the next export stages it again under its
    /// number. Default 72.
    #[serde(default = "trip_hours")]
    pub trip_hours: u32,
    /// Is a trip whose number is not the next one refused (`true`, default) or taken and alarmed?
    #[serde(default = "yes")]
    pub strict_order: bool,
}

/// A disc, stick or case of the media register.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MediumSettings {
    /// Its id in the register, as written on its label.
    pub id: Name,
    /// `out` of or `in` to this zone. A medium of one direction is refused in the other.
    pub direction: Direction,
}

/// See [`MediumSettings::direction`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Leaves this zone.
    Out,
    /// Comes into this zone.
    In,
}

/// Where alarms go besides the log.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlarmSettings {
    /// A program run with the alarm's code, state (`raised` or `cleared`) and words as arguments: once when an alarm is
    /// raised, once an hour while it stands, once when it is cleared. Default none.
    pub exec: Option<PathBuf>,
    /// A syslog receiver, RFC 5424: `ADDRESS:PORT` over UDP, or the socket of the local log daemon, usually `/dev/log`.
    /// Default none.
    #[serde(default, deserialize_with = "some_word")]
    pub syslog: Option<Syslog>,
}

/// A virus scanner.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScannerSettings {
    /// `exec:PROGRAM` (the file on standard input; exit 0 clean, 1 found) or `clamd:SOCKET` (clamd's local socket).
    #[serde(deserialize_with = "word")]
    pub by: ScannerWay,
    /// Seconds for one file, after which the scanner counts as silent and the parcel waits. Default 60, at least 1.
    #[serde(default = "scanner_within_s")]
    pub within_s: u32,
    /// MiB of the largest file that is shown to it; a parcel with a larger one is refused. No larger than the scanner's own
    /// limit (clamd: StreamMaxLength). Default 64, at least 1.
    #[serde(default = "scanner_mib_max")]
    pub mib_max: u32,
}

/// See [`ScannerSettings::by`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScannerWay {
    /// A program of the office's.
    Exec(PathBuf),
    /// The daemon of ClamAV, by its local socket.
    Clamd(PathBuf),
}

impl std::str::FromStr for ScannerWay {
    type Err = String;
    fn from_str(word: &str) -> Result<ScannerWay, String> {
        let path = |path: &str| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
        let way = match word.split_once(':') {
            Some(("exec", program)) => path(program).map(ScannerWay::Exec),
            Some(("clamd", socket)) => path(socket).map(ScannerWay::Clamd),
            _ => None,
        };
        way.ok_or_else(|| format!("\"{word}\" is neither exec:/PROGRAM nor clamd:/SOCKET, with a whole path"))
    }
}

/// A stage that waits so long for one file is still alive to the watchdog, which allows two minutes.
const SCANNER_WITHIN_S_MAX: u32 = 100;

const fn scanner_within_s() -> u32 {
    60
}
const fn scanner_mib_max() -> u32 {
    64
}

/// See [`AlarmSettings::syslog`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Syslog {
    /// A socket on this machine.
    Local(PathBuf),
    /// Another machine.
    Far(std::net::SocketAddr),
}

impl std::str::FromStr for Syslog {
    type Err = String;
    fn from_str(word: &str) -> Result<Syslog, String> {
        if word.starts_with('/') {
            return Ok(Syslog::Local(PathBuf::from(word)));
        }
        let address = word.parse().map(Syslog::Far);
        address.map_err(|_| format!("\"{word}\" is neither ADDRESS:PORT nor the path of a socket"))
    }
}

/// Where copies of the state go.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupSettings {
    /// The key that opens them: a holder whose sealing card is in the trust folder (newest card), or the path of a card.
    /// Default `security`, the office's security key, whose private half lies in the internal zone's safe.
    #[serde(default = "backup_key")]
    pub key: String,
    /// An existing folder on another disk or machine; never below the spool.
    pub folder: PathBuf,
    /// Days that a backup is kept; the newest good one always is. Default 30, at least 1.
    #[serde(default = "backup_keep_days")]
    pub keep_days: u32,
    /// Hours after which an alarm says that there is no younger good backup. Default 26: a nightly one, two hours late.
    #[serde(default = "backup_overdue_h")]
    pub overdue_h: u32,
    /// The config file, which goes into the backup. Set where it is read.
    #[serde(skip)]
    pub config_file: Option<PathBuf>,
}

fn backup_key() -> String {
    crate::keyring::SECURITY.to_owned()
}
const fn backup_keep_days() -> u32 {
    30
}
const fn backup_overdue_h() -> u32 {
    26
}
const fn evidence_days() -> u32 {
    1_095
}
const fn quarantine_days() -> u32 {
    30
}
const fn urgent_within_ms() -> u32 {
    100
}
const fn notice_days() -> u32 {
    180
}
const fn settle_s() -> u32 {
    10
}
const fn expire_days() -> u32 {
    30
}
const fn pickup_hours() -> u32 {
    24
}
const fn outlet_entries() -> u32 {
    100_000
}
const fn approvals() -> u8 {
    2
}
const fn trip_hours() -> u32 {
    72
}
const fn yes() -> bool {
    true
}

impl Default for FerrySettings {
    fn default() -> Self {
        FerrySettings { approvals: approvals(), media: Vec::new(), trip_hours: trip_hours(), strict_order: true }
    }
}

fn word<'de, D: serde::Deserializer<'de>, T: std::str::FromStr<Err: std::fmt::Display>>(
    from: D,
) -> Result<T, D::Error> {
    String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
}

fn some_word<'de, D: serde::Deserializer<'de>, T: std::str::FromStr<Err: std::fmt::Display>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    word(from).map(Some)
}

fn priority<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Priority, D::Error> {
    let word = String::deserialize(from)?;
    Priority::ALL
        .into_iter()
        .find(|priority| priority.name() == word)
        .ok_or_else(|| serde::de::Error::custom(format!("\"{word}\" is no priority; urgent, normal or bulk is meant")))
}

/// Why a config cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file.
    #[error("config {path}: {cause}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        cause: std::io::Error,
    },
    /// Its form; names line and column.
    #[error("config {path}: {cause}")]
    Form {
        /// Which.
        path: PathBuf,
        /// With line and column.
        cause: Box<toml::de::Error>,
    },
}

/// A node along a route, as one node sees it.
#[derive(Clone, Debug)]
pub struct Hop {
    /// The neighbour.
    pub peer: PeerSettings,
    /// The crossing between this node and the neighbour, in the direction of travel.
    pub crossing: Crossing,
}

impl<L: DeserializeOwned> Config<L> {
    /// Reads a config file.
    pub fn load(path: &Path) -> Result<(Config<L>, String), ConfigError> {
        let read = || -> std::io::Result<String> {
            if std::fs::metadata(path)?.len() > CONFIG_BYTES_MAX {
                return Err(std::io::Error::other("the file is larger than 1 MiB"));
            }
            std::fs::read_to_string(path)
        };
        let text = read().map_err(|cause| ConfigError::Read { path: path.to_owned(), cause })?;
        let mut config: Config<L> = toml::from_str(&text)
            .map_err(|cause| ConfigError::Form { path: path.to_owned(), cause: Box::new(cause) })?;
        if let Some(backup) = &mut config.backup {
            backup.config_file = Some(path.to_owned());
        }
        Ok((config, text))
    }
}

impl<L> Config<L> {
    /// The peer of a name.
    #[must_use]
    pub fn peer(&self, name: &Name) -> Option<&PeerSettings> {
        self.peers.iter().find(|peer| peer.name == *name)
    }

    /// Every crossing this node takes part in, both directions, without repeats.
    #[must_use]
    pub fn crossings(&self, zone: Zone) -> Vec<Crossing> {
        let mut crossings: Vec<Crossing> = self
            .peers
            .iter()
            .flat_map(|peer| [Crossing::between(zone, peer.zone), Crossing::between(peer.zone, zone)])
            .flatten()
            .collect();
        crossings.sort_unstable();
        crossings.dedup();
        crossings
    }

    /// Everything that is wrong, each as (where, what, remedy); empty where the node may start.
    #[must_use]
    pub fn faults(&self, zone: Zone) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut fault = |at: &str, what: String, remedy: &str| {
            faults.push(Fault { at: at.to_owned(), what, remedy: remedy.to_owned() })
        };
        if self.node.evidence_days < 180 {
            fault(
                "node.evidence_days",
                format!("{} days is below 180", self.node.evidence_days),
                "keep evidence for at least 180 days",
            );
        }
        if self.node.signing_key.is_some() && !self.node.signer().is_some_and(|path| path.is_absolute()) {
            fault(
                "node.signing_key",
                "it names no program".to_owned(),
                "exec:/PATH/OF/PROGRAM, or nothing where the key is a file",
            );
        }
        if self.node.quarantine_days == 0 {
            fault("node.quarantine_days", "0 days would drop refused parcels at once".to_owned(), "set at least 1");
        }
        if !self.node.key_admins.is_empty() && self.node.admins().is_none_or(|admins| admins.len() < AGREED_BY) {
            let what = format!("names fewer than {AGREED_BY} different fingerprints of 64 hex digits");
            fault("node.key_admins", what, "name the sign keys of two or more key administrators, or leave it out");
        }
        if self.node.urgent_within_ms == 0 {
            fault("node.urgent_within_ms", "0 ms would let nothing be done".to_owned(), "set at least 1");
        }
        if self.node.notice_days == 0 {
            fault("node.notice_days", "0 days would tell apps nothing".to_owned(), "set at least 1");
        }
        if let Some(backup) = &self.backup {
            if backup.folder.starts_with(&self.node.spool) {
                let what = format!("{} lies below the spool and would be lost with it", backup.folder.display());
                fault("backup.folder", what, "name a folder on another disk or machine");
            }
            if backup.keep_days == 0 || backup.overdue_h == 0 {
                let what = "keep_days and overdue_h are at least 1".to_owned();
                fault("backup.keep_days", what, "set a number above 0");
            }
        }
        let within = 1..=SCANNER_WITHIN_S_MAX;
        if self.scanner.as_ref().is_some_and(|scanner| !within.contains(&scanner.within_s) || scanner.mib_max == 0) {
            let what = format!("within_s is 1 to {SCANNER_WITHIN_S_MAX}, and mib_max at least 1");
            fault("scanner", what, "set a number in that range");
        }
        if self.routes.len() > ROUTES_MAX {
            fault("route", format!("{} routes is over the limit of {ROUTES_MAX}", self.routes.len()), "merge routes");
        }
        for (index, peer) in self.peers.iter().enumerate() {
            let at = format!("peer {}", peer.name);
            if peer.name == self.node.name {
                fault(&at, "is this node itself".to_owned(), "name the other node");
            }
            if self.peers.iter().skip(index + 1).any(|other| other.name == peer.name) {
                fault(&at, "stands twice".to_owned(), "remove one of the two");
            }
            let Some(out) = Crossing::between(zone, peer.zone) else {
                fault(
                    &at,
                    format!("no crossing joins {zone} and {}", peer.zone),
                    "a peer stands in a neighbouring zone",
                );
                continue;
            };
            if zone == Zone::Intranet && (peer.send == Carrier::Quic || peer.receive == Carrier::Quic) {
                fault(&at, "the internal zone has no two-way gateway".to_owned(), "use diode, folder or ferry");
            }
            if out == Crossing::IntranetToExtranet && peer.send != Carrier::Ferry {
                fault(
                    &format!("{at}.send"),
                    "what leaves the internal zone is carried by a person".to_owned(),
                    "send = \"ferry\"",
                );
            }
            if self.ferry.approvals == 0 && out == Crossing::IntranetToExtranet {
                fault(
                    "ferry.approvals",
                    "0 would let one person carry data out alone".to_owned(),
                    "set 2 (1 is warned about)",
                );
            }
        }
        for (index, peer) in self.peers.iter().enumerate() {
            let shares = |other: &&PeerSettings| {
                other.zone == peer.zone && (other.send != Carrier::Quic || peer.send != Carrier::Quic)
            };
            if let Some(other) = self.peers.iter().skip(index + 1).find(shares) {
                fault(
                    &format!("peer {}.send", other.name),
                    format!("shares the crossing of {} by a carrier that reads no addresses", peer.name),
                    "several peers of one zone are reached by quic only",
                );
            }
        }
        for (index, route) in self.routes.iter().enumerate() {
            let at = format!("route {}", route.name);
            if self.routes.iter().skip(index + 1).any(|other| other.name == route.name) {
                fault(&at, "stands twice".to_owned(), "remove one of the two");
            }
            let Some(place) = route.path.iter().position(|node| *node == self.node.name) else {
                fault(
                    &format!("{at}.path"),
                    format!("does not pass {}", self.node.name),
                    "list this node in path, or drop the route here",
                );
                continue;
            };
            if route.path.iter().enumerate().any(|(at, node)| route.path.iter().skip(at + 1).any(|other| other == node))
            {
                fault(
                    &format!("{at}.path"),
                    "passes a node twice".to_owned(),
                    "list every node once; the way back is a route of its own",
                );
            }
            if route.path.len() < 2 || route.path.len() > 4 {
                fault(
                    &format!("{at}.path"),
                    format!("has {} nodes", route.path.len()),
                    "a route has an origin and a target, and at most two nodes between",
                );
            }
            let neighbours =
                [place.checked_sub(1), Some(place + 1)].into_iter().flatten().filter_map(|at| route.path.get(at));
            for neighbour in neighbours {
                if self.peer(neighbour).is_none() {
                    fault(
                        &format!("{at}.path"),
                        format!("{neighbour} is no peer of this node"),
                        "add a [[peer]] of that name",
                    );
                }
            }
            if place == 0 && route.intake.is_none() {
                fault(
                    &format!("{at}.intake"),
                    "is missing".to_owned(),
                    "choose rename, ready or settle: how the app says that a drop is complete",
                );
            }
            if route.types.is_empty() {
                fault(
                    &format!("{at}.types"),
                    "is empty, so everything would be refused".to_owned(),
                    "list the registered parcel types",
                );
            }
            if route.expire_days == 0 || route.settle_s == 0 {
                fault(&at, "expire_days and settle_s are at least 1".to_owned(), "set a number above 0");
            }
            if route.pickup_hours == 0 || route.outlet_entries == 0 || route.outlet_mib == Some(0) {
                let what = "pickup_hours, outlet_entries and outlet_mib are at least 1".to_owned();
                fault(&at, what, "set a number above 0: with 0 nothing would ever be delivered");
            }
        }
        faults
    }
}

/// One thing wrong with a config.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Fault {
    /// Where.
    pub at: String,
    /// What.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

impl Fault {
    /// A link's table is missing though a peer uses its carrier.
    #[must_use]
    pub fn unless_present(peers: &[PeerSettings], carrier: Carrier, present: bool, at: &str) -> Option<Fault> {
        let user = peers.iter().find(|peer| peer.uses(carrier))?;
        (!present).then(|| Fault {
            at: at.to_owned(),
            what: format!("is missing, but peer {} is reached by it", user.name),
            remedy: format!("add the table [{at}]"),
        })
    }

    /// A link of two directories, set or not in the order out, back: it serves one peer, and each way that a peer uses.
    #[must_use]
    pub fn of_directories(peers: &[PeerSettings], carrier: Carrier, at: &str, set: Option<[bool; 2]>) -> Vec<Fault> {
        let fault = |at: String, what: String, remedy: &str| Fault { at, what, remedy: remedy.to_owned() };
        let mut found: Vec<Fault> = Fault::unless_present(peers, carrier, set.is_some(), at).into_iter().collect();
        let users: Vec<&PeerSettings> = peers.iter().filter(|peer| peer.uses(carrier)).collect();
        if users.is_empty() {
            // A table that waits for a peer harms nobody.
            return found;
        }
        if users.len() > 1 {
            let names: Vec<&str> = users.iter().map(|peer| peer.name.as_str()).collect();
            found.push(fault(
                at.to_owned(),
                format!("serves one peer, and {} are reached by it: {}", names.len(), names.join(", ")),
                "reach the others by another carrier: in one pair of directories each would remove the other's files",
            ));
        }
        let used = [users.iter().any(|peer| peer.send == carrier), users.iter().any(|peer| peer.receive == carrier)];
        for (way, (used, set)) in
            ["outgoing", "incoming"].into_iter().zip(used.into_iter().zip(set.into_iter().flatten()))
        {
            let at = format!("{at}.{way}");
            match (used, set) {
                (true, false) => {
                    found.push(fault(
                        at,
                        "is missing, but a peer is reached that way".to_owned(),
                        "name the directory",
                    ));
                }
                (false, true) => found.push(fault(
                    at,
                    "is set, but no peer is reached that way".to_owned(),
                    "take it out, or set the peer's send or receive to this carrier",
                )),
                _ => {}
            }
        }
        found
    }

    /// What a link found on the disk where its table points, each with its setting, remedy, and whether nothing crosses
    /// while it is so: the faults, and the warnings.
    pub fn found(
        at: &str,
        found: impl Iterator<Item = (&'static str, String, &'static str, bool)>,
    ) -> (Vec<Fault>, Vec<String>) {
        let (mut faults, mut warnings) = (Vec::new(), Vec::new());
        for (setting, what, remedy, stops) in found {
            let at = format!("{at}.{setting}");
            if stops {
                faults.push(Fault { at, what, remedy: remedy.to_owned() });
            } else {
                warnings.push(format!("{at} {what}: {remedy}"));
            }
        }
        (faults, warnings)
    }

    /// What a link says of its own table.
    #[must_use]
    pub fn of(at: &str, error: Option<impl std::fmt::Display>) -> Option<Fault> {
        error.map(|error| Fault { at: at.to_owned(), what: error.to_string(), remedy: "mend the value".to_owned() })
    }
}

/// Line and column, from 1, of what a fault is about: its table, in the table the entry it names, there its key.
#[must_use]
pub fn place_of(text: &str, fault: &Fault) -> (usize, usize) {
    let words: Vec<&str> = fault.at.split(['.', ' ']).collect();
    let key_in_what = fault.what.split([' ', ':']).next().unwrap_or_default();
    let mut best = (0, (1, 1));
    let mut header = String::new();
    let mut named = false;
    for (number, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        let column = 1 + line.len() - line.trim_start().len();
        if trimmed.starts_with('[') {
            header = trimmed.trim_matches(['[', ']']).to_owned();
            named = false;
        }
        let depth = header.split('.').count();
        let in_table = !header.is_empty() && words.get(..depth).is_some_and(|table| table.join(".") == header);
        if !in_table {
            continue;
        }
        let rest = words.get(depth..).unwrap_or_default();
        named |= rest.first().is_some_and(|name| trimmed.contains(&format!("\"{name}\"")));
        let is_key = |word: &str| !word.is_empty() && trimmed.split('=').next().is_some_and(|key| key.trim() == word);
        // A key of another entry of the same table is no better than the table's head.
        let ours = named || rest.len() < 2;
        let key = ours && (rest.last().is_some_and(|key| is_key(key)) || is_key(key_in_what));
        let score = if key { 3 } else { 1 + usize::from(named) };
        if score > best.0 {
            best = (score, (number + 1, column));
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct NoLinks {}

    fn text(extra: &str) -> String {
        format!(
            "[node]\nname = \"intranet\"\nsuite = \"std\"\nspool = \"/s\"\nkeys = \"/k\"\ntrust = \"/t\"\nrules = \"/r\"\n\
             [[peer]]\nname = \"extranet\"\nzone = \"extranet\"\nsend = \"ferry\"\nreceive = \"diode\"\n[link]\n{extra}"
        )
    }

    fn faults(text: &str) -> Vec<String> {
        let config: Config<NoLinks> = toml::from_str(text).unwrap();
        config.faults(Zone::Intranet).into_iter().map(|f| f.at).collect()
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let error = toml::from_str::<Config<NoLinks>>(&text("").replace("suite", "suit")).unwrap_err().to_string();
        assert!(error.contains("line 3"), "{error}");
    }

    #[test]
    fn a_fault_found_after_parsing_is_shown_where_it_stands() {
        let text = "[node]\nname = \"a\"\n[[route]]\nname = \"x\"\nintake = \"rename\"\n[[route]]\nname = \"y\"\ntypes = []\n[link.folder]\nscan_ms = 0\n";
        let at = |at: &str, what: &str| {
            place_of(text, &Fault { at: at.to_owned(), what: what.to_owned(), remedy: String::new() })
        };
        assert_eq!(at("route y.types", "is empty"), (8, 1));
        assert_eq!(at("route y.intake", "is missing"), (7, 1));
        assert_eq!(at("link.folder", "scan_ms = 0 is not between 1 and 9"), (10, 1));
        assert_eq!(at("node.evidence_days", "5 days is below 180"), (1, 1));
    }

    #[test]
    fn what_leaves_the_internal_zone_is_carried_by_a_person() {
        assert_eq!(faults(&text("")), Vec::<String>::new());
        assert_eq!(faults(&text("").replace("\"ferry\"", "\"diode\"")), ["peer extranet.send"]);
        assert_eq!(faults(&text("[ferry]\napprovals = 0\n")), ["ferry.approvals"]);
        assert_eq!(faults(&text("").replace("\"diode\"", "\"quic\"")), ["peer extranet"]);
    }

    #[test]
    fn a_backup_lies_outside_the_spool_and_is_kept_a_day_at_least() {
        let table = |folder: &str, more: &str| text(&format!("[backup]\nfolder = \"{folder}\"\n{more}"));
        assert_eq!(faults(&table("/backup", "")), Vec::<String>::new());
        assert_eq!(faults(&table("/s/backup", "keep_days = 0\n")), ["backup.folder", "backup.keep_days"]);
        assert!(toml::from_str::<Config<NoLinks>>(&table("/backup", "keep = 3\n")).is_err());
    }

    #[test]
    fn two_peers_of_one_zone_cannot_share_a_carrier_that_reads_no_addresses() {
        let second = "[[peer]]\nname = \"county\"\nzone = \"extranet\"\nsend = \"ferry\"\nreceive = \"diode\"\n[link]";
        assert_eq!(faults(&text("").replace("[link]", second)), ["peer county.send"]);
    }

    #[test]
    fn a_route_from_here_must_say_how_its_apps_drop() {
        let route = "[[route]]\nname = \"r\"\npath = [\"intranet\", \"extranet\"]\ntypes = [\"review-result\"]\n";
        assert_eq!(faults(&text(route)), ["route r.intake"]);
        assert_eq!(faults(&text(&format!("{route}intake = \"rename\"\n"))), Vec::<String>::new());
        assert_eq!(faults(&text(&route.replace("extranet\"]", "city\"]"))), ["route r.path", "route r.intake"]);
    }
}
