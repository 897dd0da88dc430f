//! What became of a parcel, as the ledger says. Pure: a record goes in, the next state comes out, and the same records
//! always give the same states. A terminal state never moves back.

use protocol::ledger::{Event, Local, Record};
use protocol::parcel::Label;
use protocol::receipt::Outcome;
use protocol::{BundleId, Crossing, Digest, Name, ParcelId, Reason, Timestamp};
use serde::{Deserialize, Serialize};

/// Where a parcel stands. The order is kept in the rows of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum State {
    /// Accepted at its origin, here; sealed for its first crossing.
    Accepted,
    /// Admitted here: custody is ours.
    Arrived,
    /// Sealed for its next crossing.
    Relayed,
    /// The next node answers for it now.
    Sent,
    /// About to appear in its outlet.
    Delivering,
    /// It stands in an outlet.
    Delivered,
    /// It does not go on.
    Refused,
    /// Held for people to look at.
    Quarantined,
    /// It was here before under another bundle and nothing else is known of it.
    Duplicate,
    /// Retention ended before custody passed.
    Expired,
    /// Taken back by an operator.
    Withdrawn,
    /// After a restore: nobody here can know whether it was delivered before, so an operator decides.
    MayBeDuplicate,
    /// After a restore: a neighbour's paper names it, and what was recorded of it went with the disk.
    Lost,
}

impl State {
    /// All states.
    pub const ALL: [State; 13] = [
        State::Accepted,
        State::Arrived,
        State::Relayed,
        State::Sent,
        State::Delivering,
        State::Delivered,
        State::Refused,
        State::Quarantined,
        State::Duplicate,
        State::Expired,
        State::Withdrawn,
        State::MayBeDuplicate,
        State::Lost,
    ];

    /// The code word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            State::Accepted => "accepted",
            State::Arrived => "arrived",
            State::Relayed => "relayed",
            State::Sent => "sent",
            State::Delivering => "delivering",
            State::Delivered => "delivered",
            State::Refused => "refused",
            State::Quarantined => "quarantined",
            State::Duplicate => "duplicate",
            State::Expired => "expired",
            State::Withdrawn => "withdrawn",
            State::MayBeDuplicate => "may-be-duplicate",
            State::Lost => "lost",
        }
    }

    /// The state of a code word.
    #[must_use]
    pub fn from_name(name: &str) -> Option<State> {
        State::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Does nothing move it any more? A quarantined parcel may still be released.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, State::Delivered | State::Refused | State::Duplicate | State::Expired | State::Withdrawn)
    }
}

/// How a parcel came here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Came {
    /// From which node.
    pub peer: Name,
    /// Over which crossing.
    pub crossing: Crossing,
    /// In which bundle.
    pub bundle: BundleId,
    /// The epoch of its number.
    pub epoch: u64,
    /// Its number.
    pub sequence: u64,
}

/// How a parcel left, or will leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Over which crossing.
    pub crossing: Crossing,
    /// In which bundle.
    pub bundle: BundleId,
    /// The epoch of its number.
    pub epoch: u64,
    /// Its number.
    pub sequence: u64,
}

/// What the index knows of a parcel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParcelState {
    /// Its id.
    pub parcel: ParcelId,
    /// Where it was accepted.
    pub origin: Name,
    /// Its route.
    pub route: Name,
    /// Its registered type; `unknown` where it was refused before one was found.
    pub parcel_type: Name,
    /// The digest of its statement; zeros where there is none.
    pub statement: Digest,
    /// Where it stands.
    pub state: State,
    /// The first record about it.
    pub first: Timestamp,
    /// The last.
    pub last: Timestamp,
    /// Bytes.
    pub bytes: u64,
    /// The name of the drop.
    pub name: Option<String>,
    /// Why it does not go on.
    pub reason: Option<Reason>,
    /// How it came.
    pub came: Option<Came>,
    /// How it left, or will leave.
    pub sent: Option<Sent>,
    /// Did the next node receipt it?
    pub custody_passed: bool,
    /// After a restore: did an operator let it in?
    pub admitted: bool,
    /// Values for look-up.
    pub labels: Vec<Label>,
}

impl ParcelState {
    /// The first thing known of a parcel, from a record that names its route. `node` is the origin where none is named.
    pub(crate) fn first(record: &Record, node: &Name) -> Option<ParcelState> {
        let state = match record.event {
            Event::Accepted => State::Accepted,
            Event::Arrived => State::Arrived,
            Event::Refused | Event::Incident => State::Refused,
            Event::Quarantined => State::Quarantined,
            Event::Duplicate => State::Duplicate,
            Event::Expired => State::Expired,
            Event::Withdrawn => State::Withdrawn,
            Event::LostKnown => State::Lost,
            _ => return None,
        };
        // A receipt names no route; what was lost is listed all the same.
        let unknown = || Name::new("unknown").ok().filter(|_| state == State::Lost);
        Some(ParcelState {
            parcel: record.parcel?,
            origin: record.origin.clone().unwrap_or_else(|| node.clone()),
            route: record.route.clone().or_else(unknown)?,
            parcel_type: record.parcel_type.clone().or_else(|| Name::new("unknown").ok())?,
            statement: Digest::default(),
            state,
            first: record.at,
            last: record.at,
            bytes: 0,
            name: None,
            reason: None,
            came: None,
            sent: None,
            custody_passed: false,
            admitted: false,
            labels: Vec::new(),
        })
    }

    /// Takes one record about this parcel. A record of another origin under the same id is another parcel's; it
    /// changes nothing here.
    pub(crate) fn apply(&mut self, record: &Record, local: &Local) {
        if record.origin.as_ref().is_some_and(|origin| *origin != self.origin) {
            return;
        }
        self.last = self.last.max(record.at);
        // An operator's reason is not the parcel's.
        let words = !matches!(record.event, Event::DuplicateAdmitted | Event::DuplicateClosed | Event::RequestAnswered);
        if let Some(name) = local.name.as_ref().filter(|_| words) {
            self.name = Some(name.clone());
        }
        if words && !local.labels.is_empty() {
            self.labels.clone_from(&local.labels);
        }
        let ours = matches!(record.event, Event::Accepted | Event::Arrived | Event::Relayed);
        if let Some(parcel_type) = record.parcel_type.as_ref().filter(|_| ours) {
            self.parcel_type.clone_from(parcel_type);
        }
        if let Some(bytes) = record.bytes.filter(|_| ours && self.bytes == 0) {
            self.bytes = bytes;
        }
        let states = matches!(record.event, Event::Accepted | Event::Arrived | Event::LostKnown);
        if let Some(statement) = record.digest.filter(|_| states) {
            self.statement = statement;
        }
        match record.event {
            Event::Arrived | Event::LostKnown if self.came.is_none() || self.state == State::Lost => {
                // A lost one that left here is known by another node's receipt, which bears no number of ours.
                if let (Some(peer), Some(crossing), Some(bundle)) = (&record.peer, record.crossing, record.bundle)
                    && (record.event == Event::Arrived || record.sequence.is_some())
                {
                    let (epoch, sequence) = (record.epoch.unwrap_or(0), record.sequence.unwrap_or(0));
                    self.came = Some(Came { peer: peer.clone(), crossing, bundle, epoch, sequence });
                }
            }
            Event::Accepted | Event::Relayed | Event::Resent => {
                if let (Some(crossing), Some(bundle), Some(epoch), Some(sequence)) =
                    (record.crossing, record.bundle, record.epoch, record.sequence)
                {
                    self.sent = Some(Sent { crossing, bundle, epoch, sequence });
                }
            }
            _ => {}
        }
        let Some(next) = self.next(record) else { return };
        self.state = next;
        if record.reason.is_some() {
            self.reason = record.reason;
        }
    }

    /// The state this record leads to, if it moves the parcel.
    fn next(&mut self, record: &Record) -> Option<State> {
        let waiting = matches!(self.state, State::Accepted | State::Arrived | State::Relayed);
        let next = match record.event {
            Event::Relayed => State::Relayed,
            Event::Delivering => State::Delivering,
            Event::Delivered => State::Delivered,
            Event::Refused | Event::Incident => State::Refused,
            Event::Quarantined => State::Quarantined,
            Event::Expired => State::Expired,
            Event::Withdrawn => State::Withdrawn,
            Event::Arrived if self.state == State::Lost => State::Arrived,
            Event::MayBeDuplicate => State::MayBeDuplicate,
            Event::DuplicateAdmitted if self.state == State::MayBeDuplicate => {
                self.admitted = true;
                State::Arrived
            }
            Event::DuplicateClosed if self.state == State::MayBeDuplicate => State::Duplicate,
            Event::LostKnown if self.state == State::Lost => {
                let ended =
                    matches!(record.outcome, Some(Outcome::Delivered | Outcome::Refused | Outcome::Quarantined));
                self.custody_passed |= ended || record.sequence.is_none();
                State::Lost
            }
            Event::CustodyPassed => {
                self.custody_passed = true;
                return waiting.then_some(State::Sent);
            }
            Event::ReceiptTaken => {
                // Whoever signs stands behind us on the route: the next node answers for the parcel.
                self.custody_passed = true;
                match record.outcome? {
                    Outcome::Arrived | Outcome::Duplicate => return waiting.then_some(State::Sent),
                    Outcome::Delivered => State::Delivered,
                    Outcome::Refused => State::Refused,
                    Outcome::Quarantined => State::Quarantined,
                }
            }
            _ => return None,
        };
        // Retention ending is our own guess at an end; a receipt that comes later is what really became of it.
        let open = !self.state.is_terminal() || (self.state == State::Expired && record.event == Event::ReceiptTaken);
        open.then_some(next)
    }
}
