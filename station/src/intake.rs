//! From an app's drop to a bundle in the outbox: claim, guard, seal, record.
//!
//! Drops are worked off in groups, because a sync costs as much for one as for sixty: all of a group are claimed, then
//! judged and sealed by several threads, then committed together, then told of and removed.
//!
//! Why it may die anywhere: the claim is one rename, durable before anything is done with it, and gives the parcel its
//! id; a claimed drop stays until the ledger says what became of it, and is removed only then. What was recorded is not
//! done again: the step finds the record, writes the notice once more and removes the drop.

use std::collections::VecDeque;
use std::path::PathBuf;

use guard::{Finding, Judgement, Moment, Parcel, Question, Released, StrippedFile};
use protocol::bundle::BundleError;
use protocol::id::{moment_of, new_id};
use protocol::keys;
use protocol::ledger::{Event, Local, Record};
use protocol::parcel::Priority;
use protocol::{ParcelId, Reason, Timestamp, Verdict};
use spool::{Candidate, Claim, Inlet, IntakeMode, Notice, NoticeState, ParcelState, SpoolError, State};

use crate::alarm::Alarm;
use crate::clock::is_due;
use crate::config::{Hop, IntakeWord, RouteSettings};
use crate::drop::{self, Drop, DropError};
use crate::parallel::{in_parallel, in_shares};
use crate::sealing::{self, Papers, Ready, Why};
use crate::station::{Station, StationError};

/// What a `ready` inlet's marker has behind the name of its drop.
pub(crate) const MARKER_SUFFIX: &str = ".ready";
/// Drops of one group: their syncs are shared, and a route holds up another, or a signal to stop, for no longer.
const GROUP_MAX: usize = 64;
/// Bytes of one group, unless one drop alone has more: small ones are sealed in memory.
const GROUP_BYTES_MAX: u64 = 8 << 20;
/// A claim that failed is tried again after this, then after twice as long, and so on, but at least so often: whatever
/// one file has met holds up no other, and is taken up soon after it is mended.
const RETRY_FIRST_MS: u64 = 2_000;
const RETRY_MAX_MS: u64 = 5 * 60 * 1_000;
/// Findings shown in a notice: enough to mend the file, few enough to read.
const FINDINGS_SHOWN: usize = 20;

/// The inlets of a node, or those of one priority.
pub struct Intake {
    doors: Vec<Door>,
    /// Inlets that could not be opened yet: shares that are away.
    closed: Vec<Closed>,
    workers: usize,
}

struct Closed {
    route: RouteSettings,
    hop: Hop,
    mode: IntakeMode,
}

/// The name under which the failures of an inlet are noted.
fn inlet_item(route: &RouteSettings) -> String {
    format!("inlet {}", route.name)
}

impl Closed {
    fn open(&self, station: &Station) -> Result<Door, StationError> {
        let inlet = Inlet::open(&station.spool, &self.route.name, self.mode.clone())?;
        Ok(Door {
            route: self.route.clone(),
            hop: self.hop.clone(),
            inlet,
            waiting: VecDeque::new(),
            listed: false,
            stuck: Vec::new(),
            failed: None,
        })
    }
}

struct Door {
    route: RouteSettings,
    hop: Hop,
    inlet: Inlet,
    /// Whole when the inlet handed them out, not yet claimed.
    waiting: VecDeque<Candidate>,
    /// What an earlier process, or an error that concerned all, left claimed is among the stuck.
    listed: bool,
    /// Claims that could not be dealt with yet.
    stuck: Vec<Stuck>,
    /// When the inlet itself failed.
    failed: Option<Timestamp>,
}

/// A claim that waits for its next attempt.
struct Stuck {
    claim: Claim,
    attempts: u32,
    due: Timestamp,
}

impl Stuck {
    /// A clock that was put back must not make it wait for longer than it ever would.
    fn is_due(&self, now: Timestamp) -> bool {
        now >= self.due || now.plus_ms(RETRY_MAX_MS) < self.due
    }
}

/// What the guard and the disk made of a drop.
enum Fate {
    Accept { released: Box<Released<Drop>>, removed: Vec<(String, u32)> },
    Refuse { drop: Drop, reason: Reason, quarantined: bool, findings: Vec<Finding> },
}

/// A claim that was looked at from outside.
enum Begun {
    /// It has come to its end.
    Ended,
    /// Its content is to be judged.
    Whole(Box<Drop>),
}

/// A claim that is on its way to an end.
enum Coming {
    /// Sealed: recorded with the rest of its group, then told of.
    Sealed { ready: Box<Ready>, told: Told },
    /// Nothing else is to be done.
    Done,
}

/// What a notice says of an accepted drop.
struct Told {
    state: NoticeState,
    details: Vec<String>,
}

impl Intake {
    /// The inlets of every route that begins here, the most urgent first, worked off by the calling thread alone.
    pub fn new(station: &Station) -> Result<Intake, StationError> {
        let mut all = Intake { doors: Vec::new(), closed: Vec::new(), workers: 1 };
        for priority in Priority::ALL {
            let intake = Intake::of(station, priority, 1)?;
            all.doors.extend(intake.doors);
            all.closed.extend(intake.closed);
        }
        Ok(all)
    }

    /// The inlets of one priority. Each priority has a thread of its own: a large bulk drop takes minutes to seal, and
    /// an urgent one must not wait for it.
    pub fn of(station: &Station, priority: Priority, workers: usize) -> Result<Intake, StationError> {
        let mut intake = Intake { doors: Vec::new(), closed: Vec::new(), workers };
        let begins_here = |route: &&RouteSettings| route.path.first() == Some(&station.node);
        for route in station.routes.iter().filter(begins_here).filter(|route| route.priority == priority) {
            let (Some(word), Some(hop)) = (route.intake, station.next_hop(route)) else { continue };
            let mode = match word {
                IntakeWord::Rename => IntakeMode::Rename,
                IntakeWord::Ready => IntakeMode::Ready { suffix: MARKER_SUFFIX.to_owned() },
                IntakeWord::Settle => IntakeMode::Settle { quiet_ms: u64::from(route.settle_s) * 1000 },
            };
            intake.closed.push(Closed { route: route.clone(), hop, mode });
        }
        intake.open_doors(station, station.clock.wall());
        Ok(intake)
    }

    /// Opens what is closed. One share that is away holds up its own route only.
    fn open_doors(&mut self, station: &Station, now: Timestamp) {
        for closed in std::mem::take(&mut self.closed) {
            let item = inlet_item(&closed.route);
            match station.retries.is_due(&item, now).then(|| closed.open(station)) {
                Some(Ok(door)) => {
                    station.retries.done(&item);
                    self.doors.push(door);
                    continue;
                }
                Some(Err(error)) => {
                    tracing::error!(route = %closed.route.name, %error, "an inlet cannot be reached");
                    station.retries.failed("intake", &item, &error, now);
                }
                None => {}
            }
            self.closed.push(closed);
        }
    }

    /// Is there any inlet?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.doors.is_empty() && self.closed.is_empty()
    }

    /// Takes what is ready. Returns how many drops came to an end.
    pub fn step(&mut self, station: &Station, now: Timestamp) -> Result<usize, StationError> {
        self.open_doors(station, now);
        let (mut done, mut first) = (0, None);
        for door in &mut self.doors {
            if station.is_off(&door.route.name) || door.rests(now) {
                continue;
            }
            let tried = match door.gather(station, now) {
                Ok(tried) => tried,
                Err(error) if error.concerns_all(&station.spool) => return Err(error),
                // A share that is away is nobody else's pause.
                Err(error) => {
                    door.fails(station, &error, now);
                    continue;
                }
            };
            door.works(station);
            match door.step(station, &tried, self.workers, now, &mut done) {
                Ok(()) => {}
                Err(error) if error.concerns_all(&station.spool) => return Err(error),
                // What one drop has met holds up no other.
                Err(error) => first = first.or(Some(error)),
            }
        }
        first.map_or(Ok(done), Err)
    }
}

impl Door {
    /// Is an inlet that failed left alone for a moment?
    fn rests(&self, now: Timestamp) -> bool {
        self.failed.is_some_and(|at| !is_due(now, at, RETRY_FIRST_MS))
    }

    fn fails(&mut self, station: &Station, error: &StationError, now: Timestamp) {
        tracing::error!(route = %self.route.name, %error, "an inlet cannot be worked off at present");
        self.failed = Some(now);
        station.retries.failed("intake", &inlet_item(&self.route), error, now);
    }

    fn works(&mut self, station: &Station) {
        if self.failed.take().is_some() {
            station.retries.done(&inlet_item(&self.route));
        }
    }

    /// The claims of the next group. An error is the inlet's own, or everybody's.
    fn gather(&mut self, station: &Station, now: Timestamp) -> Result<Vec<Stuck>, StationError> {
        if !self.listed {
            for claim in self.inlet.claimed()? {
                if !self.stuck.iter().any(|stuck| stuck.claim.parcel == claim.parcel) {
                    self.stuck.push(Stuck { claim, attempts: 0, due: Timestamp::default() });
                }
            }
            self.listed = true;
        }
        let mut tried: Vec<Stuck> = Vec::new();
        if self.stuck.iter().any(|stuck| stuck.is_due(now)) {
            let (due, later) = std::mem::take(&mut self.stuck).into_iter().partition(|stuck| stuck.is_due(now));
            (tried, self.stuck) = (due, later);
            self.stuck.extend(tried.split_off(tried.len().min(GROUP_MAX)));
        } else {
            if self.waiting.is_empty() {
                self.waiting = self.inlet.poll(now)?.into();
            }
            // Below the floor of free space a drop is left where it is; its app can still take it back there.
            station.spool.room(0)?;
            // An error between here and the end leaves claims behind, which the next step lists.
            self.listed = false;
            let (claims, all) = self.claim(station, now)?;
            self.listed = all;
            tried.extend(claims.into_iter().map(|claim| Stuck { claim, attempts: 0, due: now }));
        }
        Ok(tried)
    }

    fn step(
        &mut self,
        station: &Station,
        tried: &[Stuck],
        workers: usize,
        now: Timestamp,
        done: &mut usize,
    ) -> Result<(), StationError> {
        let listed = std::mem::take(&mut self.listed);
        let failed = self.work(station, tried, workers, now, done)?;
        self.listed = listed;
        let mut first = None;
        for (stuck, error) in failed {
            tracing::error!(route = %self.route.name, parcel = %stuck.claim.parcel, attempts = stuck.attempts + 1, %error, "a claimed drop cannot be dealt with yet");
            let wait = RETRY_FIRST_MS.saturating_mul(1 << stuck.attempts.min(16)).min(RETRY_MAX_MS);
            let attempts = stuck.attempts.saturating_add(1);
            self.stuck.push(Stuck { claim: stuck.claim.clone(), attempts, due: now.plus_ms(wait) });
            first = first.or(Some(error));
        }
        first.map_or(Ok(()), Err)
    }

    /// Claims a group of what waits. Says whether all of it was taken: of one that was not, the marker may be left here,
    /// and goes back when the claims are listed.
    fn claim(&mut self, station: &Station, now: Timestamp) -> Result<(Vec<Claim>, bool), StationError> {
        let (mut group, mut bytes) = (Vec::new(), 0);
        while let Some(candidate) = self.waiting.pop_front() {
            if candidate.refused == Some(Reason::Unreadable) {
                // Left where it is: what cannot be read could be neither inspected nor sealed away, only lost.
                let source = std::io::ErrorKind::PermissionDenied.into();
                self.cannot_claim(station, &SpoolError::CannotClaim { path: candidate.path, source }, now);
                continue;
            }
            bytes += candidate.bytes;
            group.push((candidate, new_id(now, keys::random())));
            if group.len() >= GROUP_MAX || bytes >= GROUP_BYTES_MAX {
                break;
            }
        }
        if group.is_empty() {
            return Ok((Vec::new(), true));
        }
        let wanted: Vec<(&Candidate, ParcelId)> =
            group.iter().map(|(candidate, parcel)| (candidate, *parcel)).collect();
        let mut claims = Vec::new();
        for claimed in self.inlet.claim_all(&wanted)? {
            match claimed {
                Ok(claim) => claims.push(claim),
                // Taken back by its app since the last look.
                Err(SpoolError::CannotClaim { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
                // One folder without group write must not hold up the drops behind it.
                Err(error @ SpoolError::CannotClaim { .. }) => self.cannot_claim(station, &error, now),
                Err(error) => return Err(error.into()),
            }
        }
        let all = claims.len() == wanted.len();
        Ok((claims, all))
    }

    fn cannot_claim(&self, station: &Station, error: &SpoolError, now: Timestamp) {
        tracing::warn!(route = %self.route.name, %error, "a drop cannot be taken");
        station.alarms.raise(now, Alarm::CannotClaim);
    }

    /// Brings a group of claims to an end, and gives those that cannot be dealt with yet. An error concerns all.
    fn work<'a>(
        &self,
        station: &Station,
        claims: &'a [Stuck],
        workers: usize,
        now: Timestamp,
        done: &mut usize,
    ) -> Result<Vec<(&'a Stuck, StationError)>, StationError> {
        let (mut ready, mut sealed, mut failed) = (Vec::new(), Vec::new(), Vec::new());
        let coming = in_shares(workers, claims, |share| self.process_all(station, share, now));
        for (stuck, coming) in claims.iter().zip(coming) {
            match coming {
                Ok(Coming::Done) => *done += 1,
                Ok(Coming::Sealed { ready: one, told }) => {
                    ready.push(*one);
                    sealed.push((stuck, told));
                }
                Err(error) => failed.push((stuck, error)),
            }
        }
        sealing::commit(station, Vec::new(), ready, now)?;
        let ended = in_parallel(workers, &sealed, |(stuck, told)| {
            self.tell(station, &stuck.claim, told.state, None, &told.details, now)?;
            self.remove(station, &stuck.claim)
        });
        for ((stuck, _), ended) in sealed.iter().zip(ended) {
            match ended {
                Ok(()) => *done += 1,
                Err(error) => failed.push((*stuck, error)),
            }
        }
        match failed.iter().position(|(_, error)| error.concerns_all(&station.spool)) {
            Some(at) => Err(failed.swap_remove(at).1),
            None => Ok(failed),
        }
    }

    /// Why a claim may not be taken at all: not a plain drop, or dropped by somebody the route does not list. Asked of
    /// the claim and not of what was seen before it, so that a death in between changes nothing.
    fn unfit(&self, station: &Station, claim: &Claim) -> Result<Option<Reason>, StationError> {
        use std::os::unix::fs::MetadataExt;
        if let Some(reason) = self.inlet.refused(claim)? {
            return Ok(Some(reason));
        }
        let io = |path: PathBuf| move |cause| StationError::Io { path, cause };
        let about = station.spool.disk().about(&claim.path).map_err(io(claim.path.clone()))?;
        let inlet = station.layout().inlet(&self.route.name);
        let group = std::fs::metadata(&inlet).map_err(io(inlet))?.gid();
        let known = about.gid() == group || self.route.app_uids.contains(&about.uid());
        Ok((!known).then_some(Reason::NotAllowedToDrop))
    }

    /// What comes of each claim. Those whose content is to be judged are judged together.
    fn process_all(&self, station: &Station, claims: &[Stuck], now: Timestamp) -> Vec<Result<Coming, StationError>> {
        let (mut drops, mut begun) = (Vec::new(), Vec::new());
        for Stuck { claim, .. } in claims {
            begun.push(match self.begin(station, claim, now) {
                Ok(Begun::Ended) => Some(Ok(Coming::Done)),
                Ok(Begun::Whole(drop)) => {
                    drops.push(*drop);
                    None
                }
                Err(error) => Some(Err(error)),
            });
        }
        let mut judged = self.judge_all(station, drops, now).into_iter();
        let ended = claims.iter().zip(begun).map(|(Stuck { claim, .. }, ended)| {
            ended.or_else(|| Some(self.follow(station, claim, judged.next()?, now))).unwrap_or_else(|| {
                let cause = std::io::Error::other("the guard answered for fewer parcels than it was asked about");
                Err(StationError::Io { path: claim.path.clone(), cause })
            })
        });
        ended.collect()
    }

    /// What can be said of a claim before its content is read.
    fn begin(&self, station: &Station, claim: &Claim, now: Timestamp) -> Result<Begun, StationError> {
        if let Some(known) = station.spool.parcel(&claim.parcel)? {
            return self.finish(station, claim, &known, now).map(|()| Begun::Ended);
        }
        let refuse =
            |reason, details| self.refuse(station, claim, None, reason, false, details, now).map(|_| Begun::Ended);
        if let Some(reason) = self.unfit(station, claim)? {
            return refuse(reason, Vec::new());
        }
        if let Some(what) = self.inlet.cut(claim) {
            return refuse(Reason::Malformed, vec![what.to_owned()]);
        }
        match Drop::read_as(&claim.path, &claim.name, self.route.names) {
            Ok(drop) => Ok(Begun::Whole(Box::new(drop))),
            Err(DropError::Io { place: path, cause }) => Err(StationError::Io { path, cause }),
            Err(DropError::Unfit { reason, what }) => refuse(reason, vec![what]),
        }
    }

    /// Does with a claim what the guard has decided.
    fn follow(
        &self,
        station: &Station,
        claim: &Claim,
        judged: Result<Judgement<Drop>, StationError>,
        now: Timestamp,
    ) -> Result<Coming, StationError> {
        match self.fate(station, claim, judged?, now)? {
            Fate::Accept { released, removed } => match self.seal(station, claim.parcel, &released, now) {
                Ok(ready) => {
                    let stripped = released.verdict() == Verdict::Stripped;
                    let state = if stripped { NoticeState::Stripped } else { NoticeState::Accepted };
                    station.exceptions.used(released.excepted().len());
                    let excepted = released.excepted().iter().map(|(rule, path)| format!("excepted: {rule} in {path}"));
                    let removed = removed.iter().map(|(kind, count)| format!("{kind} x {count}"));
                    let details = removed.chain(excepted).take(FINDINGS_SHOWN).collect();
                    Ok(Coming::Sealed { ready: Box::new(ready), told: Told { state, details } })
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
            Fate::Refuse { drop, reason, quarantined, findings } => {
                let details = shown(&findings);
                self.refuse(station, claim, Some((drop, findings)), reason, quarantined, details, now)
            }
        }
    }

    /// Recorded before we died, or before an error: only the outbox, the notice, the quarantine and the removal are owed.
    fn finish(
        &self,
        station: &Station,
        claim: &Claim,
        known: &ParcelState,
        now: Timestamp,
    ) -> Result<(), StationError> {
        sealing::finish_sent(station, known)?;
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
            self.put_away(station, claim, None, known.reason, now)?;
        }
        self.remove(station, claim)
    }

    /// What a judgement means here. What was stripped is judged once more.
    fn fate(
        &self,
        station: &Station,
        claim: &Claim,
        judgement: Judgement<Drop>,
        now: Timestamp,
    ) -> Result<Fate, StationError> {
        let refused = |drop, reason, findings| Fate::Refuse { drop, reason, quarantined: false, findings };
        Ok(match judgement {
            Judgement::Released(released) => Fate::Accept { released: Box::new(released), removed: Vec::new() },
            Judgement::Refused { parcel, reason, findings } => refused(parcel, reason, findings),
            Judgement::Quarantine { parcel, reason, findings } => {
                Fate::Refuse { drop: parcel, reason, quarantined: true, findings }
            }
            Judgement::Strip { parcel: drop, files } => {
                let copy = stripped_copy(station, claim.parcel, &drop, &files)?;
                let again = Drop::read(&copy, self.route.names).map_err(|error| StationError::Io {
                    path: copy,
                    cause: std::io::Error::other(error.to_string()),
                })?;
                match self.judge(station, again, true, now)? {
                    // What both readers saw is what was written, and what will be sealed.
                    Judgement::Released(released) if !are_as_seen(station, &released, &files) => {
                        refused(drop, Reason::Changed, Vec::new())
                    }
                    Judgement::Released(released) => {
                        let removed = files.into_iter().flat_map(|file| file.removed).collect();
                        Fate::Accept { released: Box::new(released), removed }
                    }
                    Judgement::Refused { reason, findings, .. } | Judgement::Quarantine { reason, findings, .. } => {
                        refused(drop, reason, findings)
                    }
                    Judgement::Strip { .. } => refused(drop, Reason::Coordinates, Vec::new()),
                }
            }
        })
    }

    fn judge_all(
        &self,
        station: &Station,
        drops: Vec<Drop>,
        now: Timestamp,
    ) -> Vec<Result<Judgement<Drop>, StationError>> {
        match self.question(station, false) {
            Some(question) => {
                let standing = station.exceptions.standing(self.hop.crossing, now);
                drop::inspect_all(&station.sandbox, station.scanner.as_ref(), &question, &standing, drops)
            }
            None => drops.into_iter().map(|drop| Ok(not_registered(drop))).collect(),
        }
    }

    fn judge(
        &self,
        station: &Station,
        drop: Drop,
        stripped: bool,
        now: Timestamp,
    ) -> Result<Judgement<Drop>, StationError> {
        match self.question(station, stripped) {
            Some(question) => {
                let standing = station.exceptions.standing(self.hop.crossing, now);
                drop::inspect(&station.sandbox, station.scanner.as_ref(), &question, &standing, drop)
            }
            None => Ok(not_registered(drop)),
        }
    }

    fn question<'a>(&'a self, station: &'a Station, stripped: bool) -> Option<Question<'a>> {
        let rules = station.rules.get(&self.hop.crossing)?;
        let types = &self.route.types;
        Some(Question { rules, suite: station.suite, moment: Moment::Intake, types, stripped })
    }

    fn seal(
        &self,
        station: &Station,
        parcel: ParcelId,
        released: &Released<Drop>,
        now: Timestamp,
    ) -> Result<Ready, StationError> {
        let manifest = sealing::manifest_of(released);
        let statement = sealing::state(station, &self.route, parcel, released, &manifest, now)?;
        let papers = Papers { statement: &statement, custody: &[], manifest: &manifest, priority: self.route.priority };
        let staged = sealing::seal(station, released, &papers, &self.hop, now)?;
        let ready = sealing::ready(Event::Accepted, staged, &statement, &manifest, now)?;
        Ok(ready.excepting(released.excepted().len()))
    }

    #[expect(clippy::too_many_arguments, reason = "one refusal has this many facts and they belong to nothing else")]
    fn refuse(
        &self,
        station: &Station,
        claim: &Claim,
        drop: Option<(Drop, Vec<Finding>)>,
        reason: Reason,
        quarantined: bool,
        details: Vec<String>,
        now: Timestamp,
    ) -> Result<Coming, StationError> {
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
        self.put_away(station, claim, drop, Some(reason), now)?;
        self.remove(station, claim).map(|()| Coming::Done)
    }

    /// What cannot be listed as a parcel (a link, a device, an unreadable name) is not followed, opened or kept.
    ///
    /// # Errors
    /// What the disk would not show now is kept where it is, and put away later.
    fn put_away(
        &self,
        station: &Station,
        claim: &Claim,
        drop: Option<(Drop, Vec<Finding>)>,
        reason: Option<Reason>,
        now: Timestamp,
    ) -> Result<(), StationError> {
        // A drop whose app closed it to this account was refused for just that. There is nothing to keep of it, and
        // trying again would hold up every drop behind it.
        let (drop, findings) = drop.unzip();
        let why = Why { reason, findings: findings.as_deref().unwrap_or_default() };
        let too_long = rustix::io::Errno::NAMETOOLONG.raw_os_error();
        let closed = |error: &std::io::Error| {
            error.kind() == std::io::ErrorKind::PermissionDenied || error.raw_os_error() == Some(too_long)
        };
        // Put away before we died: the claim is empty.
        let gone = |place: &PathBuf, error: &std::io::Error| {
            *place == claim.path && error.kind() == std::io::ErrorKind::NotFound
        };
        let listed = match drop.map_or_else(|| Drop::read_as(&claim.path, &claim.name, self.route.names), Ok) {
            Ok(drop) => drop,
            Err(DropError::Unfit { .. }) => return Ok(()),
            Err(DropError::Io { place, cause }) if closed(&cause) || gone(&place, &cause) => return Ok(()),
            Err(DropError::Io { place: path, cause }) => return Err(StationError::Io { path, cause }),
        };
        if (0..listed.files().len()).any(|index| listed.open_file(index).is_err_and(|error| closed(&error))) {
            return Ok(());
        }
        sealing::quarantine(station, claim.parcel, &listed, self.hop.crossing, &why, now)
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

/// No rules, no type: nothing crosses here.
fn not_registered(parcel: Drop) -> Judgement<Drop> {
    Judgement::Refused { parcel, reason: Reason::TypeNotRegistered, findings: Vec::new() }
}

fn shown(findings: &[Finding]) -> Vec<String> {
    findings.iter().take(FINDINGS_SHOWN).map(|finding| format!("{} at {}", finding.rule, finding.at)).collect()
}

fn are_as_seen(station: &Station, released: &Released<Drop>, files: &[StrippedFile]) -> bool {
    let seen = |file: &StrippedFile| protocol::tree::root_of(station.suite, &file.bytes);
    files.iter().all(|file| released.digests().get(file.index).is_some_and(|(_, digest)| *digest == seen(file)))
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
