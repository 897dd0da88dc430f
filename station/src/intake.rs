//! From an app's drop to a bundle in the outbox: claim, guard, seal, record.
//!
//! Why it may die anywhere: the claim is one rename and gives the parcel its id; a claimed drop stays until the ledger
//! says what became of it, and is removed only then. What was recorded is not done again: the step finds the record,
//! writes the notice once more and removes the drop.

use std::path::PathBuf;

use guard::{Judgement, Moment, Parcel, Question, Released, StrippedFile};
use protocol::bundle::BundleError;
use protocol::id::{moment_of, new_id};
use protocol::keys;
use protocol::ledger::{Event, Local, Record};
use protocol::{ParcelId, Reason, Timestamp, Verdict};
use spool::{Claim, Inlet, IntakeMode, Notice, NoticeState, SpoolError, State};

use crate::alarm::Alarm;
use crate::config::{Hop, IntakeWord, RouteSettings};
use crate::drop::{self, Drop, DropError};
use crate::sealing::{self, Papers};
use crate::station::{Station, StationError};

/// Drops taken in one step of one route, so that no route holds up another for long.
const TAKEN_A_STEP: usize = 64;
/// Findings shown in a notice: enough to mend the file, few enough to read.
const FINDINGS_SHOWN: usize = 20;

/// The inlets of a node.
pub struct Intake {
    doors: Vec<Door>,
}

struct Door {
    route: RouteSettings,
    hop: Hop,
    inlet: Inlet,
}

/// What the guard and the disk made of a drop.
enum Fate {
    Accept { released: Box<Released<Drop>>, removed: Vec<(String, u32)> },
    Refuse { drop: Option<Drop>, reason: Reason, quarantined: bool, details: Vec<String> },
}

impl Intake {
    /// The inlets of every route that begins here.
    pub fn new(station: &Station) -> Result<Intake, StationError> {
        let mut doors = Vec::new();
        for route in station.routes.iter().filter(|route| route.path.first() == Some(&station.node)) {
            let (Some(word), Some(hop)) = (route.intake, station.next_hop(route)) else { continue };
            let mode = match word {
                IntakeWord::Rename => IntakeMode::Rename,
                IntakeWord::Ready => IntakeMode::Ready { suffix: ".ready".to_owned() },
                IntakeWord::Settle => IntakeMode::Settle { quiet_ms: u64::from(route.settle_s) * 1000 },
            };
            let inlet = Inlet::open(&station.spool, &route.name, mode)?;
            doors.push(Door { route: route.clone(), hop, inlet });
        }
        Ok(Intake { doors })
    }

    /// Takes what is ready. Returns how many drops came to an end.
    pub fn step(&mut self, station: &Station, now: Timestamp) -> Result<usize, StationError> {
        let (mut done, mut first) = (0, None);
        for door in &mut self.doors {
            if station.is_off(&door.route.name) {
                continue;
            }
            match door.step(station, now, &mut done) {
                Ok(()) => {}
                Err(error) if error.concerns_all() => return Err(error),
                // What one drop or one inlet has met holds up no other.
                Err(error) => first = first.or(Some(error)),
            }
        }
        first.map_or(Ok(done), Err)
    }
}

impl Door {
    fn step(&mut self, station: &Station, now: Timestamp, done: &mut usize) -> Result<(), StationError> {
        let mut first = None;
        // What an earlier process, or an earlier error, left claimed.
        for claim in self.inlet.claimed()? {
            match self.process(station, &claim, now) {
                Ok(()) => *done += 1,
                Err(error) if error.concerns_all() => return Err(error),
                Err(error) => {
                    tracing::error!(route = %self.route.name, parcel = %claim.parcel, %error, "a claimed drop cannot be dealt with yet");
                    first = first.or(Some(error));
                }
            }
        }
        // Below the floor of free space a drop is left where it is; its app can still take it back there.
        station.spool.room(0)?;
        for candidate in self.inlet.poll(now)?.into_iter().take(TAKEN_A_STEP) {
            let claimed = match candidate.refused {
                // Left where it is: what cannot be read could be neither inspected nor sealed away, only lost.
                Some(Reason::Unreadable) => Err(SpoolError::CannotClaim {
                    path: candidate.path.clone(),
                    source: std::io::ErrorKind::PermissionDenied.into(),
                }),
                _ => self.inlet.claim(&candidate, new_id(now, keys::random())),
            };
            let claim = match claimed {
                Ok(claim) => claim,
                Err(error @ SpoolError::CannotClaim { .. }) => {
                    // One folder without group write must not hold up the drops behind it.
                    tracing::warn!(route = %self.route.name, %error, "a drop cannot be taken");
                    station.alarms.raise(now, Alarm::CannotClaim);
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            match self.process(station, &claim, now) {
                Ok(()) => *done += 1,
                Err(error) if error.concerns_all() => return Err(error),
                Err(error) => first = first.or(Some(error)),
            }
        }
        first.map_or(Ok(()), Err)
    }

    /// Why a claim may not be taken at all: not a plain drop, or dropped by somebody the route does not list. Asked of
    /// the claim and not of what was seen before it, so that a death in between changes nothing.
    fn unfit(&self, station: &Station, claim: &Claim) -> Option<Reason> {
        use std::os::unix::fs::MetadataExt;
        if let Some(reason) = Inlet::refused(claim) {
            return Some(reason);
        }
        let about = std::fs::symlink_metadata(&claim.path).ok()?;
        let group = std::fs::metadata(station.layout().inlet(&self.route.name)).ok()?.gid();
        let known = about.gid() == group || self.route.app_uids.contains(&about.uid());
        (!known).then_some(Reason::NotAllowedToDrop)
    }

    fn process(&self, station: &Station, claim: &Claim, now: Timestamp) -> Result<(), StationError> {
        if let Some(known) = station.spool.parcel(&claim.parcel)? {
            // Recorded before we died, or before an error: only the outbox, the notice, the quarantine and the removal
            // are owed.
            sealing::finish_sent(station, &known)?;
            // Refused here, or by a node behind us, which holds the bundle itself?
            let here = known.sent.is_none();
            match known.state {
                State::Refused if here => self.tell(station, claim, NoticeState::Refused, known.reason, &[], now)?,
                State::Quarantined if here => {
                    self.tell(station, claim, NoticeState::Quarantined, known.reason, &[], now)?;
                }
                State::Accepted => self.tell(station, claim, NoticeState::Accepted, None, &[], now)?,
                // Receipts have come since, and whoever took them has told.
                _ => {}
            }
            if here && matches!(known.state, State::Refused | State::Quarantined) {
                self.put_away(station, claim, None, now)?;
            }
            return self.remove(station, claim);
        }
        if let Some(reason) = self.unfit(station, claim) {
            return self.refuse(station, claim, None, reason, false, Vec::new(), now);
        }
        match self.judge(station, claim)? {
            Fate::Accept { released, removed } => match self.accept(station, claim.parcel, &released, now) {
                Ok(()) => {
                    let state = if released.verdict() == Verdict::Stripped {
                        NoticeState::Stripped
                    } else {
                        NoticeState::Accepted
                    };
                    let details: Vec<String> =
                        removed.iter().map(|(kind, count)| format!("{kind} x {count}")).collect();
                    self.tell(station, claim, state, None, &details, now)?;
                    self.remove(station, claim)
                }
                Err(StationError::Seal(BundleError::FileDiffers { index, what })) => {
                    let details = vec![format!("file {index} {what}")];
                    self.refuse(station, claim, None, Reason::Changed, false, details, now)
                }
                Err(StationError::Seal(BundleError::Parcel(error))) => {
                    self.refuse(station, claim, None, Reason::TooLarge, false, vec![error.to_string()], now)
                }
                Err(error) => Err(error),
            },
            Fate::Refuse { drop, reason, quarantined, details } => {
                self.refuse(station, claim, drop, reason, quarantined, details, now)
            }
        }
    }

    fn judge(&self, station: &Station, claim: &Claim) -> Result<Fate, StationError> {
        let drop = match Drop::read(&claim.path, self.route.names) {
            Ok(drop) => drop,
            Err(DropError::Io { place: path, cause }) => return Err(StationError::Io { path, cause }),
            Err(DropError::Unfit { reason, what }) => {
                return Ok(Fate::Refuse { drop: None, reason, quarantined: false, details: vec![what] });
            }
        };
        Ok(match self.ask(station, drop, false)? {
            Judgement::Released(released) => Fate::Accept { released: Box::new(released), removed: Vec::new() },
            Judgement::Refused { parcel, reason, findings } => {
                Fate::Refuse { drop: Some(parcel), reason, quarantined: false, details: shown(&findings) }
            }
            Judgement::Quarantine { parcel, reason, findings } => {
                Fate::Refuse { drop: Some(parcel), reason, quarantined: true, details: shown(&findings) }
            }
            Judgement::Strip { parcel: drop, files } => {
                let copy = stripped_copy(station, claim.parcel, &drop, &files)?;
                let again = Drop::read(&copy, self.route.names).map_err(|error| StationError::Io {
                    path: copy,
                    cause: std::io::Error::other(error.to_string()),
                })?;
                match self.ask(station, again, true)? {
                    Judgement::Released(released) => {
                        let removed = files.into_iter().flat_map(|file| file.removed).collect();
                        Fate::Accept { released: Box::new(released), removed }
                    }
                    Judgement::Refused { reason, findings, .. } | Judgement::Quarantine { reason, findings, .. } => {
                        Fate::Refuse { drop: Some(drop), reason, quarantined: false, details: shown(&findings) }
                    }
                    Judgement::Strip { .. } => Fate::Refuse {
                        drop: Some(drop),
                        reason: Reason::Coordinates,
                        quarantined: false,
                        details: Vec::new(),
                    },
                }
            }
        })
    }

    fn ask(&self, station: &Station, drop: Drop, stripped: bool) -> Result<Judgement<Drop>, StationError> {
        match station.rules.get(&self.hop.crossing) {
            Some(rules) => drop::inspect(
                &Question { rules, suite: station.suite, moment: Moment::Intake, types: &self.route.types, stripped },
                drop,
            ),
            None => Ok(Judgement::Refused { parcel: drop, reason: Reason::TypeNotRegistered, findings: Vec::new() }),
        }
    }

    fn accept(
        &self,
        station: &Station,
        parcel: ParcelId,
        released: &Released<Drop>,
        now: Timestamp,
    ) -> Result<(), StationError> {
        let manifest = sealing::manifest_of(released);
        let statement = sealing::state(station, &self.route, parcel, released, &manifest, now);
        let papers = Papers { statement: &statement, custody: &[], manifest: &manifest, priority: self.route.priority };
        let staged = sealing::seal(station, released, &papers, &self.hop, now)?;
        sealing::commit(station, Event::Accepted, &staged, &statement, &manifest, now)
    }

    #[expect(clippy::too_many_arguments, reason = "one refusal has this many facts and they belong to nothing else")]
    fn refuse(
        &self,
        station: &Station,
        claim: &Claim,
        drop: Option<Drop>,
        reason: Reason,
        quarantined: bool,
        details: Vec<String>,
        now: Timestamp,
    ) -> Result<(), StationError> {
        let mut record = Record::new(if quarantined { Event::Quarantined } else { Event::Refused }, now);
        record.parcel = Some(claim.parcel);
        record.origin = Some(station.node.clone());
        record.route = Some(self.route.name.clone());
        record.reason = Some(reason);
        station
            .spool
            .record(record, Local { name: Some(claim.name.to_string_lossy().into_owned()), labels: Vec::new() })?;
        station.alarms.raise(now, Alarm::Refused);
        let state = if quarantined { NoticeState::Quarantined } else { NoticeState::Refused };
        self.tell(station, claim, state, Some(reason), &details, now)?;
        // Last, because where it is a rename it empties the claim: whoever died after it would find nothing to tell of.
        self.put_away(station, claim, drop, now)?;
        self.remove(station, claim)
    }

    /// What cannot be listed as a parcel (a link, a device, an unreadable name) is not followed, opened or kept.
    fn put_away(
        &self,
        station: &Station,
        claim: &Claim,
        drop: Option<Drop>,
        now: Timestamp,
    ) -> Result<(), StationError> {
        // A drop whose app closed it to this account was refused for just that. There is nothing to keep of it, and
        // trying again would hold up every drop behind it.
        let closed = |error: std::io::Error| error.kind() == std::io::ErrorKind::PermissionDenied;
        let open = |drop: &Drop| !(0..drop.files().len()).any(|index| drop.open_file(index).is_err_and(closed));
        match drop.or_else(|| Drop::read(&claim.path, self.route.names).ok()).filter(open) {
            Some(drop) => sealing::quarantine(station, claim.parcel, &drop, self.hop.crossing, now),
            None => Ok(()),
        }
    }

    fn tell(
        &self,
        station: &Station,
        claim: &Claim,
        state: NoticeState,
        reason: Option<Reason>,
        details: &[String],
        now: Timestamp,
    ) -> Result<(), StationError> {
        let notice = Notice {
            parcel: claim.parcel,
            name: claim.name.clone(),
            route: self.route.name.clone(),
            state,
            reason,
            claimed: moment_of(&claim.parcel),
            at: now,
            details: serde_json::json!(details),
        };
        station.spool.notice(&self.route.name, &notice)?;
        Ok(())
    }

    /// The last line of every story: the drop goes, its fate is on record.
    fn remove(&self, station: &Station, claim: &Claim) -> Result<(), StationError> {
        let copy = stripped_place(station, claim.parcel);
        station.spool.disk().remove_tree(&copy).map_err(|cause| StationError::Io { path: copy, cause })?;
        self.inlet.discard(claim)?;
        Ok(())
    }
}

fn shown(findings: &[guard::Finding]) -> Vec<String> {
    findings.iter().take(FINDINGS_SHOWN).map(|finding| format!("{} at {}", finding.rule, finding.at)).collect()
}

fn stripped_place(station: &Station, parcel: ParcelId) -> PathBuf {
    station.layout().opening().join(format!("{parcel}.stripped"))
}

/// A private copy of a drop with some files replaced. Waste until its seal is recorded; made anew after a death.
fn stripped_copy(
    station: &Station,
    parcel: ParcelId,
    drop: &Drop,
    files: &[StrippedFile],
) -> Result<PathBuf, StationError> {
    let disk = station.spool.disk();
    let root = stripped_place(station, parcel);
    let io = |cause| StationError::Io { path: root.clone(), cause };
    disk.remove_tree(&root).map_err(io)?;
    disk.create_dir_private(&root).map_err(io)?;
    let top = root.join(drop.name());
    for (index, facts) in drop.files().iter().enumerate() {
        let place = if drop.is_folder() { top.join(&facts.path) } else { top.clone() };
        if let Some(folder) = place.parent() {
            disk.create_dir_all(folder).map_err(io)?;
        }
        let mut out = disk.create(&place).map_err(io)?;
        match files.iter().find(|file| file.index == index) {
            Some(file) => disk.append(&mut out, &file.bytes).map_err(io)?,
            None => {
                std::io::copy(&mut drop.open_file(index).map_err(io)?, &mut out).map_err(io)?;
            }
        }
    }
    Ok(top)
}
