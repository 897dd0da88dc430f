//! Every path of a spool, in one place. Makes none of them.
//!
//! ```text
//! inlet/<route>/            apps drop here              .claimed/<parcel>.<name>   taken, the daemon's
//! outlet/<route>/           apps pick up here           .staging/<parcel>/   not yet to be seen
//! notices/<route>/          what became of each drop
//! queues/sealing            bundles being written; thrown away at start
//! queues/opening            plaintext being admitted or relayed; thrown away at start
//! queues/outbox/<crossing>  sealed, numbered, to be sent
//! queues/arrivals/<crossing>/partial, complete          queues/arrivals/checked: custody is ours
//! queues/receipts/<crossing>                            queues/links   queues/heads
//! queues/names/<parcel>     a drop's name byte for byte, where it is not UTF-8, until its last notice
//! desk/requests answers trips incoming                  desk/own: the daemon's own user
//! quarantine  evidence  ledger  index  status  lock
//! spool.json                what form all this has          restoring   a restore that has not come to its end
//! ```

use std::path::{Path, PathBuf};

use protocol::{Crossing, Name};

/// The folder inside an inlet that the daemon moves drops to.
pub const CLAIMED: &str = ".claimed";
/// The folder inside an outlet where a delivery is made ready.
pub const STAGING: &str = ".staging";

/// The tree under one root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The tree under `root`, usually `/var/lib/trilock/<node>`.
    pub fn new(root: impl Into<PathBuf>) -> Layout {
        Layout { root: root.into() }
    }
    /// Where it stands.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }
    fn at(&self, parts: &[&str]) -> PathBuf {
        let mut path = self.root.clone();
        path.extend(parts);
        path
    }
    /// `rules.json`: which rules came into force last. The daemon's own; not in `status`, where a group may write.
    #[must_use]
    pub fn rules_in_force(&self) -> PathBuf {
        self.at(&["rules.json"])
    }
    /// `inlet/<route>`: apps drop here.
    #[must_use]
    pub fn inlet(&self, route: &Name) -> PathBuf {
        self.at(&["inlet", route.as_str()])
    }
    /// `inlet/<route>/.claimed`: taken by the daemon.
    #[must_use]
    pub fn claimed(&self, route: &Name) -> PathBuf {
        self.at(&["inlet", route.as_str(), CLAIMED])
    }
    /// `outlet/<route>`: apps pick up here.
    #[must_use]
    pub fn outlet(&self, route: &Name) -> PathBuf {
        self.at(&["outlet", route.as_str()])
    }
    /// `outlet/<route>/.staging`: deliveries being made ready, one folder a parcel.
    #[must_use]
    pub fn outlet_staging(&self, route: &Name) -> PathBuf {
        self.at(&["outlet", route.as_str(), STAGING])
    }
    /// `notices/<route>`: what became of each drop.
    #[must_use]
    pub fn notices(&self, route: &Name) -> PathBuf {
        self.at(&["notices", route.as_str()])
    }
    /// Does a path lie in a folder of apps? Each of them may be a mount, with a room and a fate of its own.
    #[must_use]
    pub fn is_shared(&self, path: &Path) -> bool {
        ["inlet", "outlet", "notices"].into_iter().any(|folder| path.starts_with(self.root.join(folder)))
    }
    /// `queues/outbox/<crossing>`: sealed, numbered, to be sent.
    #[must_use]
    pub fn outbox(&self, crossing: Crossing) -> PathBuf {
        self.at(&["queues", "outbox", crossing.name()])
    }
    /// `queues/sealing`: bundles being written. Emptied whenever the spool is opened.
    #[must_use]
    pub fn sealing(&self) -> PathBuf {
        self.at(&["queues", "sealing"])
    }
    /// `queues/opening`: plaintext of parcels being admitted or relayed. Emptied whenever the spool is opened.
    #[must_use]
    pub fn opening(&self) -> PathBuf {
        self.at(&["queues", "opening"])
    }
    /// `queues/arrivals/<crossing>/partial`: may be lost at the cost of resending.
    #[must_use]
    pub fn partial(&self, crossing: Crossing) -> PathBuf {
        self.at(&["queues", "arrivals", crossing.name(), "partial"])
    }
    /// `queues/arrivals/<crossing>/complete`: whole, not yet verified.
    #[must_use]
    pub fn complete(&self, crossing: Crossing) -> PathBuf {
        self.at(&["queues", "arrivals", crossing.name(), "complete"])
    }
    /// `queues/arrivals/checked`: custody is ours, still to be delivered or relayed.
    #[must_use]
    pub fn checked(&self) -> PathBuf {
        self.at(&["queues", "arrivals", "checked"])
    }
    /// `queues/receipts/<crossing>`: single receipts waiting for a batch over that crossing.
    #[must_use]
    pub fn receipts(&self, crossing: Crossing) -> PathBuf {
        self.at(&["queues", "receipts", crossing.name()])
    }
    /// `queues/links`: a link's own scratch state, which may be lost at the cost of resending.
    #[must_use]
    pub fn links(&self) -> PathBuf {
        self.at(&["queues", "links"])
    }
    /// `queues/names`: names that are not UTF-8, of parcels that began here and are under way.
    #[must_use]
    pub fn names(&self) -> PathBuf {
        self.at(&["queues", "names"])
    }
    /// `queues/heads`: what neighbours signed about their ledgers of late.
    #[must_use]
    pub fn heads(&self) -> PathBuf {
        self.at(&["queues", "heads"])
    }
    /// `queues`: everything above that is not for apps.
    #[must_use]
    pub fn queues(&self) -> PathBuf {
        self.at(&["queues"])
    }
    /// `desk/requests`: signed requests of people and tools.
    #[must_use]
    pub fn desk_requests(&self) -> PathBuf {
        self.at(&["desk", "requests"])
    }
    /// `desk/answers`: one file a request.
    #[must_use]
    pub fn desk_answers(&self) -> PathBuf {
        self.at(&["desk", "answers"])
    }
    /// `desk/exports`: records that auditors asked for.
    #[must_use]
    pub fn desk_exports(&self) -> PathBuf {
        self.at(&["desk", "exports"])
    }
    /// `desk/held`: what a security officer asked for, sealed to the office's security key.
    #[must_use]
    pub fn desk_held(&self) -> PathBuf {
        self.at(&["desk", "held"])
    }
    /// `desk/own`: requests of the daemon's own user, 0700.
    #[must_use]
    pub fn desk_own(&self) -> PathBuf {
        self.at(&["desk", "own"])
    }
    /// `desk/trips`: staged trips, `desk/trips/<n>`.
    #[must_use]
    pub fn desk_trips(&self) -> PathBuf {
        self.at(&["desk", "trips"])
    }
    /// `desk/incoming`: trips copied from a medium, to be admitted.
    #[must_use]
    pub fn desk_incoming(&self) -> PathBuf {
        self.at(&["desk", "incoming"])
    }
    /// `quarantine`: held parcels.
    #[must_use]
    pub fn quarantine(&self) -> PathBuf {
        self.at(&["quarantine"])
    }
    /// `evidence`: what the auditor needs, by day.
    #[must_use]
    pub fn evidence(&self) -> PathBuf {
        self.at(&["evidence"])
    }
    /// `ledger`: the record.
    #[must_use]
    pub fn ledger(&self) -> PathBuf {
        self.at(&["ledger"])
    }
    /// `index`: a lookup that can be rebuilt from the ledger at any time.
    #[must_use]
    pub fn index(&self) -> PathBuf {
        self.at(&["index"])
    }
    /// `status`: snapshots the daemon publishes.
    #[must_use]
    pub fn status(&self) -> PathBuf {
        self.at(&["status"])
    }
    /// `queues/backup`: second names of files while a backup is made. Cleared whenever the spool is opened.
    #[must_use]
    pub fn snapshot(&self) -> PathBuf {
        self.at(&["queues", "backup"])
    }
    /// `restoring`: there while a restore has not come to its end.
    #[must_use]
    pub fn restoring(&self) -> PathBuf {
        self.at(&["restoring"])
    }
    /// `restored`: what a backup held besides the state, for a person to look at.
    #[must_use]
    pub fn restored(&self) -> PathBuf {
        self.at(&["restored"])
    }
    /// `lock`: held by the one process that owns this spool.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.at(&["lock"])
    }
}
