//! By hand: a parcel sealed into a file that a person takes along, and such a file opened, where the config allows it and the
//! carrier of a crossing does not work. The guard looks as ever, both are on record, the evidence is kept. One hop only: what
//! goes on from there goes on by a carrier.
//!
//! Never out of the internal zone: what leaves there leaves by the ferry. And a bundle that was sealed by hand has no number.
//! No waybill and no link names it, no admission lets it in, and a numbered one is not opened by hand: neither way is a way
//! round the other.
//!
//! Why it may die anywhere: what is made lies beside the request and counts for nothing until the request is answered; asked
//! again, it is made anew. A bundle is on record as delivered only when what was in it lies there, and is not opened twice.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use guard::{Judgement, Moment, Parcel as _, Question};
use protocol::bundle::BundleError;
use protocol::envelope::Envelope;
use protocol::evidence::Evidence;
use protocol::id::new_id;
use protocol::ledger::{Event, Local, Record};
use protocol::parcel::Label;
use protocol::receipt::ReceiptBatch;
use protocol::request::Request;
use protocol::{BundleId, Crossing, Digest, Name, Reason, Signed, Statement as _, Timestamp, keys};
use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};
use spool::{EntryKind, ParcelState, State};

use crate::admission;
use crate::alarm::Alarm;
use crate::config::{Hop, NameEncoding, RouteSettings};
use crate::desk::{Refusal, missing, name, read_small};
use crate::drop::{self, Drop, DropError};
use crate::housekeeping::{DAY_MS, has_rested};
use crate::opening::{self, Manner, Obstacle};
use crate::receipts::Came;
use crate::sealing::{self, Papers, Proof};
use crate::station::{Station, StationError};

type Outcome = Result<Result<Value, Refusal>, StationError>;

/// What the command line lays beside its request: a folder with the one thing that is meant.
pub(crate) const GIVEN: &str = "given";
/// What it takes from there when it is answered: a bundle, or a folder with what was in one.
pub(crate) const MADE: &str = "made";
/// Such a note is the 64 digits of a request's id.
const NOTE_BYTES_MAX: u64 = 64;
/// Behind a bundle's id: a note of the request beside which lies what was in it.
const OPENED: &str = "opened";

fn beside(station: &Station, request: &Request, what: &str) -> PathBuf {
    station.layout().desk_own().join(format!("{}.{what}", request.id))
}

/// Does this crossing lead out of where survey coordinates may rest?
fn leads_out(crossing: Crossing) -> bool {
    crossing.source().may_hold_coordinates() && crossing.lands_outside()
}

fn io_at(path: &Path) -> impl FnOnce(std::io::Error) -> StationError + '_ {
    |cause| StationError::Io { path: path.to_owned(), cause }
}

/// Notes that what was in a bundle lies beside this request. Whoever asked may have gone, and who asks again, asks anew.
fn note(station: &Station, bundle: &BundleId, request: &Request) -> Result<(), StationError> {
    let note = station.layout().desk_own().join(format!("{bundle}.{OPENED}"));
    station.spool.disk().write(&note, request.id.to_string().as_bytes()).map_err(io_at(&note))
}

/// Is the command that a bundle was opened for still there? It holds what it gave for as long as it lives, so one that was
/// killed holds nothing.
fn is_being_taken(made: &Path) -> bool {
    let given = File::open(made.with_extension(GIVEN));
    given.is_ok_and(|given| flock(&given, FlockOperation::NonBlockingLockShared).is_err())
}

/// Where it lies, as long as nobody took it.
fn noted(note: &Path) -> Option<PathBuf> {
    let of = read_small(note, NOTE_BYTES_MAX).ok()?;
    let of = Digest::from_hex(std::str::from_utf8(&of).ok()?)?;
    Some(note.with_file_name(format!("{of}.{MADE}"))).filter(|made| made.exists())
}

/// The one thing that was laid beside the request.
fn given(station: &Station, request: &Request) -> Result<PathBuf, Refusal> {
    let folder = beside(station, request, GIVEN);
    let first = std::fs::read_dir(&folder).ok().and_then(|mut inside| inside.next()?.ok());
    first.map(|entry| entry.path()).ok_or_else(|| missing("the file or folder beside it"))
}

/// What may not be done by hand, whatever it is about.
fn switched_off(station: &Station) -> Option<Refusal> {
    (!station.settings.manual).then(|| {
        Refusal::new(
            "by-hand-off",
            "sealing and opening by hand is switched off here (node.manual = false)",
            "本节点未启用手工封装与拆封（node.manual = false）",
        )
    })
}

/// Nothing is said of it but the border and who asked: it was not looked into.
fn outward(
    station: &Station,
    request: &Request,
    crossing: Crossing,
    envelope: Option<&Envelope>,
    now: Timestamp,
) -> Outcome {
    let mut record = Record::new(Event::Refused, now);
    (record.person, record.crossing, record.reason) =
        (Some(request.person.clone()), Some(crossing), Some(Reason::NoRoute));
    refused_unproven(
        station,
        request,
        record,
        envelope.map(|envelope| envelope.bundle),
        Refusal::new(
            "by-hand-outward",
            &format!("{crossing} is crossed by the ferry alone; by hand nothing ever leaves the internal zone"),
            &format!("{crossing} 只能经摆渡；任何内容不得手工带出业务内网"),
        )
        .with_remedy(
            "drop it into the inlet of its route; it leaves with the next trip",
            "请投入该路由的投递口，随下一批次运出",
        ),
    )
}

/// Puts a refusal on record.
fn refused(station: &Station, request: &Request, record: Record, refusal: Refusal) -> Outcome {
    station.spool.record(record, Local { name: Some(request.action.to_string()), labels: Vec::new() })?;
    Ok(Err(refusal))
}

/// The same of a file that only calls itself by that id. It stands as a label: what the ledger knows by its id may stand
/// in an outbox, and nobody is to bring it there by asking.
fn refused_unproven(
    station: &Station,
    request: &Request,
    record: Record,
    bundle: Option<BundleId>,
    refusal: Refusal,
) -> Outcome {
    let labels = bundle.and_then(|bundle| label(&bundle)).into_iter().collect();
    station.spool.record(record, Local { name: Some(request.action.to_string()), labels })?;
    Ok(Err(refusal))
}

fn label(bundle: &BundleId) -> Option<Label> {
    Some(Label { name: Name::new("bundle").ok()?, value: bundle.to_string() })
}

fn by_guard(reason: Reason) -> Refusal {
    Refusal::new(
        "guard-refused",
        &format!("the guard does not let it cross: {}", reason.name()),
        &format!("检查岗不予放行：{}", reason.name()),
    )
    .with_remedy("`inspect --route R PATH` says where and why", "用 inspect --route R 路径 查看原因")
}

/// Seals what was laid beside the request, for the next node of a route.
pub(crate) fn seal(station: &Station, request: &Request, now: Timestamp) -> Outcome {
    if let Some(refusal) = switched_off(station) {
        return Ok(Err(refusal));
    }
    let route = name(request, "route").and_then(|route| station.route(&route));
    let bound = route.filter(|route| route.path.first() == Some(&station.node));
    let Some((route, hop)) = bound.and_then(|route| Some((route, station.next_hop(route)?))) else {
        return Ok(Err(Refusal::new("no-such-route", "no route of that name begins here", "没有始于本节点的该路由")));
    };
    if leads_out(hop.crossing) {
        return outward(station, request, hop.crossing, None, now);
    }
    if station.is_off(&route.name) {
        let refusal = Refusal::new("route-off", "the route is switched off at this node", "本节点已停用该路由");
        return Ok(Err(refusal.with_remedy(
            "`status` says who switched it off and why; an operator switches it on",
            "停用人与原因见 status；须由操作员重新启用",
        )));
    }
    if route.path.last() != Some(&hop.peer.name) {
        return Ok(Err(Refusal::new(
            "by-hand-one-hop",
            "the route goes on behind the next node; by hand a parcel goes to that node only",
            "该路由不止一个跨区段；手工封装只能到达下一节点",
        )));
    }
    let place = match given(station, request) {
        Ok(place) => place,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let drop = match Drop::read(&place, NameEncoding::Utf8) {
        Ok(drop) => drop,
        Err(DropError::Io { place, cause }) => return Err(StationError::Io { path: place, cause }),
        Err(DropError::Unfit { reason, .. }) => return Ok(Err(by_guard(reason))),
    };
    seal_for(station, request, route, &hop, drop, now)
}

fn seal_for(
    station: &Station,
    request: &Request,
    route: &RouteSettings,
    hop: &Hop,
    drop: Drop,
    now: Timestamp,
) -> Outcome {
    let parcel = new_id(now, keys::random());
    let mut record = Record::new(Event::RequestAnswered, now);
    (record.person, record.crossing, record.route) =
        (Some(request.person.clone()), Some(hop.crossing), Some(route.name.clone()));
    let Some(rules) = station.rules.get(&hop.crossing) else { return Ok(Err(by_guard(Reason::TypeNotRegistered))) };
    let question =
        Question { rules, suite: station.suite, moment: Moment::Intake, types: &route.types, stripped: false };
    let standing = station.exceptions.standing(hop.crossing, now);
    let released = match drop::inspect(&station.sandbox, station.scanner.as_ref(), &question, &standing, drop)? {
        Judgement::Released(released) => released,
        Judgement::Refused { reason, .. } | Judgement::Quarantine { reason, .. } => {
            let record = Record { event: Event::Refused, reason: Some(reason), ..record };
            return refused(station, request, record, by_guard(reason));
        }
        Judgement::Strip { .. } => {
            return Ok(Err(Refusal::new(
                "by-hand-strip",
                "its type is stripped of coordinates at the inlet, and by hand nothing is changed",
                "该类型须在投递口剥离坐标，手工封装不作任何改动",
            )));
        }
    };
    let manifest = sealing::manifest_of(&released);
    let statement = sealing::state(station, route, parcel, &released, &manifest, now)?;
    let papers = Papers { statement: &statement, custody: &[], manifest: &manifest, priority: route.priority };
    let (bundle, sealed) = sealing::seal_by_hand(station, &released, &papers, hop, now)?;
    let (envelope, footer) = sealing::papers(&mut File::open(&sealed).map_err(io_at(&sealed))?, &sealed)?;
    let evidence = Evidence { envelope, footer, receipts: Vec::new() };
    sealing::keep_evidence(station, vec![Proof { parcel, bundle, evidence }])?;
    // Not under the bundle's id: what the ledger knows by its id may stand in an outbox.
    (record.parcel, record.bytes, record.digest) =
        (Some(parcel), Some(manifest.content_bytes()), Some(statement.digest()));
    let labels = label(&bundle).into_iter().collect();
    station.spool.record(record, Local { name: Some(request.action.to_string()), labels })?;
    let made = beside(station, request, MADE);
    station.spool.disk().rename(&sealed, &made).map_err(io_at(&made))?;
    Ok(Ok(json!({
        "parcel": parcel.to_string(), "bundle": bundle.to_string(), "route": route.name, "crossing": hop.crossing.name(),
        "for": hop.peer.name, "files": released.parcel().files().len(), "bytes": manifest.content_bytes(),
    })))
}

/// Opens a bundle that was laid beside the request and was sealed by hand for this node.
pub(crate) fn open(station: &Station, request: &Request, now: Timestamp) -> Outcome {
    if let Some(refusal) = switched_off(station) {
        return Ok(Err(refusal));
    }
    let place = match given(station, request) {
        Ok(place) => place,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let envelope = match opening::peek(&place) {
        Ok(envelope) => envelope,
        Err(BundleError::Io(cause)) => return Err(StationError::Io { path: place, cause }),
        Err(error) => {
            return Ok(Err(Refusal::new("not-a-bundle", &error.to_string(), "不是本系统的密封包")));
        }
    };
    if leads_out(envelope.crossing) {
        return outward(station, request, envelope.crossing, Some(&envelope), now);
    }
    let made = beside(station, request, MADE);
    if let Some(parcel) = station.spool.parcel_of_bundle(&envelope.bundle)?
        && let Some(known) = station.spool.parcel(&parcel)?
        && known.state == State::Delivered
        && made.exists()
    {
        // We died between the record and the answer.
        note(station, &envelope.bundle, request)?;
        return Ok(Ok(told(&envelope, &known.route, known.name.as_deref().unwrap_or_default())));
    }
    let disk = station.spool.disk();
    disk.remove_tree(&made).map_err(io_at(&made))?;
    let admitted = match opening::open(station, envelope.crossing, &place, Manner::ByHand, now) {
        Ok(admitted) => admitted,
        Err(Obstacle::Later(error)) if error.concerns_all(&station.spool) => return Err(error),
        Err(Obstacle::Later(error)) => {
            let refusal = Refusal::new("not-now", &error.to_string(), "当前无法拆封，未执行");
            return Ok(Err(refusal.with_remedy("mend what it says, then ask again", "请排除上述故障后重新申请")));
        }
        Err(Obstacle::Bundle(reason, words)) => {
            let mut record = Record::new(Event::Refused, now);
            (record.person, record.crossing, record.reason) =
                (Some(request.person.clone()), Some(envelope.crossing), Some(reason));
            let refusal = Refusal::new(reason.name(), &words, "密封包未通过验证");
            return refused_unproven(station, request, record, Some(envelope.bundle), refusal);
        }
        Err(Obstacle::Parcel(about)) => {
            if let Some(known) = left_behind(station, request, &about)? {
                return Ok(known.map(|known| told(&envelope, &known.route, known.name.as_deref().unwrap_or_default())));
            }
            let mut record = about.0.record(Event::Refused, now);
            // What was delivered stays so, whoever brings it again.
            if about.1 == Reason::Duplicate {
                record.event = Event::Duplicate;
            }
            (record.epoch, record.sequence, record.reason) = (None, None, Some(about.1));
            return refused(station, request, record, by_guard(about.1));
        }
    };
    if admission::sealed_before_a_restore(station, &admitted.envelope) {
        disk.remove_tree(&admitted.place).map_err(io_at(&admitted.place))?;
        return perhaps_opened_before(station, request, &admitted.envelope, now);
    }
    // Whole or not at all: the folder is filled aside.
    let aside = made.with_extension("aside");
    disk.remove_tree(&aside).map_err(io_at(&aside))?;
    disk.create_dir_private(&aside).map_err(io_at(&aside))?;
    let inside = aside.join(&admitted.manifest.name);
    disk.rename(&admitted.place, &inside).map_err(io_at(&inside))?;
    // Nothing of it is synced yet, and once it is on record nobody makes it anew.
    disk.sync_tree(&aside).map_err(io_at(&aside))?;
    disk.rename(&aside, &made).map_err(io_at(&made))?;
    note(station, &admitted.came.bundle, request)?;
    let bytes = Some(admitted.manifest.content_bytes());
    let local = Local { name: Some(admitted.manifest.name.clone()), labels: admitted.manifest.labels.clone() };
    let without_number = |event| Record { epoch: None, sequence: None, bytes, ..admitted.came.record(event, now) };
    let delivered = Record { person: Some(request.person.clone()), ..without_number(Event::Delivered) };
    let (parcel, bundle) = (admitted.came.parcel, admitted.came.bundle);
    // Before the record: asked again after it, we only answer.
    sealing::keep_evidence(station, vec![Proof { parcel, bundle, evidence: admitted.evidence }])?;
    let mut records = vec![(delivered, Local::none())];
    if station.spool.parcel(&parcel)?.is_none() {
        records.insert(0, (without_number(Event::Arrived), local));
    }
    station.spool.record_all(records)?;
    Ok(Ok(told(&envelope, &admitted.came.route, &admitted.manifest.name)))
}

/// What was opened for a command that has gone lies there yet: it goes to the one that asks now. The bundle is proven whole.
fn left_behind(
    station: &Station,
    request: &Request,
    (came, reason, _): &(Came, Reason, bool),
) -> Result<Option<Result<ParcelState, Refusal>>, StationError> {
    let known = station.spool.parcel(&came.parcel)?.filter(|known| {
        let same = known.came.as_ref().is_some_and(|before| before.bundle == came.bundle);
        *reason == Reason::Duplicate && known.state == State::Delivered && same
    });
    let left = noted(&station.layout().desk_own().join(format!("{}.{OPENED}", came.bundle)));
    let (Some(known), Some(left)) = (known, left) else { return Ok(None) };
    if is_being_taken(&left) {
        let refusal = Refusal::new(
            "being-taken",
            "another command has opened this bundle and is taking what was in it",
            "另一条命令已拆封该密封包，正在取出内容",
        );
        return Ok(Some(Err(refusal.with_remedy(
            "look into its --out folder; where that command ended without it, open the bundle again",
            "请查看该命令的 --out 目录；若该命令已中断，请再次拆封",
        ))));
    }
    let made = beside(station, request, MADE);
    station.spool.disk().rename(&left, &made).map_err(io_at(&made))?;
    note(station, &came.bundle, request)?;
    Ok(Some(Ok(known)))
}

/// A node that was restored knows nothing of what it opened after the backup, and there is no sender to be told. No parcel
/// is put on record: nobody knows what became of it.
fn perhaps_opened_before(station: &Station, request: &Request, envelope: &Envelope, now: Timestamp) -> Outcome {
    let mut record = Record::new(Event::Refused, now);
    (record.person, record.crossing, record.reason) =
        (Some(request.person.clone()), Some(envelope.crossing), Some(Reason::Duplicate));
    let refusal = Refusal::new(
        "may-be-duplicate",
        "it was sealed before this node was restored from a backup: it may have been opened here already",
        "该密封包在本节点由备份恢复之前封装，可能已在此拆封",
    );
    refused(
        station,
        request,
        record,
        refusal.with_remedy(
            "ask whoever waits for it; where it never came, have it sealed again",
            "请向收件方核实；确未收到的，请重新封装",
        ),
    )
}

fn told(envelope: &Envelope, route: &Name, name: &str) -> Value {
    json!({ "bundle": envelope.bundle.to_string(), "route": route, "from": envelope.source, "name": name })
}

/// What stands in an outbox out of the internal zone and the ledger does not know was put there by hand: held, recorded, and
/// never on a trip. For the start, which is when an outbox is read, and for what could not be read then. The folder is asked and not the list of it: of two files
/// under one number the list has one.
pub(crate) fn turn_out(station: &Station, now: Timestamp) -> Result<(), StationError> {
    let mut unread = BTreeSet::new();
    let walked = turn_out_all(station, &mut unread, now);
    let mut unproven = station.unproven.lock().unwrap_or_else(PoisonError::into_inner);
    if walked.is_ok() {
        unproven.clear();
    }
    // A walk that ended early has proven nothing of what it did not come to.
    unproven.extend(unread);
    walked
}

fn turn_out_all(station: &Station, unread: &mut BTreeSet<BundleId>, now: Timestamp) -> Result<(), StationError> {
    let lost = LostRecords::default();
    for peer in &station.peers {
        let crossing = Crossing::between(station.zone, peer.zone);
        let Some(crossing) = crossing.filter(|crossing| leads_out(*crossing)) else { continue };
        let (folder, outbox) = (station.layout().outbox(crossing), station.spool.outbox(crossing));
        for entry in std::fs::read_dir(&folder).map_err(io_at(&folder))? {
            let path = entry.map_err(io_at(&folder))?.path();
            let Some((id, kind)) = id_in_outbox(&path) else { continue };
            let ours = match kind {
                EntryKind::Bundle => sent_from_here(station, crossing, &id)?,
                EntryKind::Receipts if station.spool.bundle_recorded(&id)? => is_own_batch(station, unread, &id, &path),
                EntryKind::Receipts => false,
            };
            if ours {
                continue;
            }
            let listed = outbox.find(&id)?.filter(|listed| *listed.path == *path);
            if lost.hides(station, listed.as_ref().map(|listed| listed.epoch))? {
                waits_for_its_record(station, unread, &id, &path, now);
                continue;
            }
            tracing::error!(%id, %crossing, "what stands in the outbox is not on record; it is held and does not leave");
            station.alarms.raise(now, Alarm::NotAuthentic);
            admission::hold(station, &path, Some(id), Reason::NotAuthentic, Some(crossing), now)?;
            listed.map_or(Ok(()), |listed| outbox.remove(&listed))?;
        }
        turn_out_of_segments(station, crossing, unread, &lost, now)?;
    }
    Ok(())
}

/// What the disk still does not give, where it did not give all: no trip takes what nobody has proven.
pub(crate) fn still_unproven(station: &Station, now: Timestamp) -> Result<BTreeSet<BundleId>, StationError> {
    let unproven = || station.unproven.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if !unproven().is_empty() {
        turn_out(station, now)?;
    }
    Ok(unproven())
}

/// It must neither keep the node from starting nor be held for what nobody saw.
fn waits_unproven(unread: &mut BTreeSet<BundleId>, id: &BundleId, path: &Path, cause: &std::io::Error) {
    tracing::error!(%id, path = %path.display(), %cause, "an entry of the outbox cannot be read; it stays, and on no trip");
    unread.insert(*id);
}

/// Up to which epoch records are lost; asked for once, and only where something stands that none names.
#[derive(Default)]
struct LostRecords(std::cell::OnceCell<Option<u64>>);

impl LostRecords {
    /// May the record of an entry of this epoch be among them? One of which the epoch is not known counts as any.
    fn hides(&self, station: &Station, epoch: Option<u64>) -> Result<bool, StationError> {
        let through = match self.0.get() {
            Some(through) => *through,
            None => *self.0.get_or_init({
                let through = station.spool.lost_through()?;
                move || through
            }),
        };
        Ok(through.is_some_and(|through| epoch.is_none_or(|epoch| epoch <= through)))
    }
}

/// Its record may be one that the ledger lost: it is not turned out for that. It stays, and on no trip, until a start finds
/// the record again.
fn waits_for_its_record(
    station: &Station,
    unread: &mut BTreeSet<BundleId>,
    id: &BundleId,
    path: &Path,
    now: Timestamp,
) {
    tracing::error!(%id, path = %path.display(), "the record of this entry may be one that the ledger lost; it stays, and on no trip");
    station.alarms.raise(now, Alarm::LedgerDamaged);
    unread.insert(*id);
}

/// The same of what shares a file with others: there any record that names it has it listed, and a refusal is one.
fn turn_out_of_segments(
    station: &Station,
    crossing: Crossing,
    unread: &mut BTreeSet<BundleId>,
    lost: &LostRecords,
    now: Timestamp,
) -> Result<(), StationError> {
    let (outbox, disk) = (station.spool.outbox(crossing), station.spool.disk());
    for entry in outbox.entries()?.into_iter().filter(|entry| !outbox.is_own_file(entry)) {
        let ours = match entry.kind {
            EntryKind::Bundle => sent_from_here(station, crossing, &entry.id)?,
            EntryKind::Receipts => false,
        };
        if ours {
            continue;
        }
        let mut bytes = Vec::new();
        match outbox.content(&entry).and_then(|mut content| content.read_to_end(&mut bytes)) {
            Ok(_) => {}
            // It has left.
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => continue,
            Err(cause) => {
                waits_unproven(unread, &entry.id, &entry.path, &cause);
                continue;
            }
        }
        if entry.kind == EntryKind::Receipts && is_batch_of_ours(station, &entry.id, &bytes) {
            continue;
        }
        if lost.hides(station, Some(entry.epoch))? {
            waits_for_its_record(station, unread, &entry.id, &entry.path, now);
            continue;
        }
        tracing::error!(id = %entry.id, %crossing, "what stands in the outbox is not on record; it is held and does not leave");
        station.alarms.raise(now, Alarm::NotAuthentic);
        let aside = station.layout().opening().join(format!("{}.{}", entry.id, entry.kind.suffix()));
        disk.write(&aside, &bytes).map_err(io_at(&aside))?;
        admission::hold(station, &aside, Some(entry.id), Reason::NotAuthentic, Some(crossing), now)?;
        outbox.remove(&entry)?;
    }
    Ok(())
}

/// A file of an outbox ends in its id and its kind; segments do not.
fn id_in_outbox(path: &Path) -> Option<(BundleId, EntryKind)> {
    let (stem, suffix) = path.file_name()?.to_str()?.split_once('.')?;
    let kind = EntryKind::ALL.into_iter().find(|kind| kind.suffix() == suffix)?;
    Some((BundleId::from_hex(stem.rsplit('-').next()?)?, kind))
}

/// Does the ledger say that a parcel left in it over this border? That some record names it says nothing: a refusal does.
/// One of which a restore lost sight is named by a neighbour's paper, and is no stranger.
fn sent_from_here(station: &Station, crossing: Crossing, id: &BundleId) -> Result<bool, StationError> {
    let Some(parcel) = station.spool.parcel_of_bundle(id)? else { return Ok(false) };
    let known = station.spool.parcel(&parcel)?;
    Ok(known
        .is_some_and(|known| known.state == State::Lost || known.sent.is_some_and(|sent| sent.crossing == crossing)))
}

/// A batch has no parcel, and a refusal names it too: it is ours by its signature. One that the disk does not give stays
/// until it does.
fn is_own_batch(station: &Station, unread: &mut BTreeSet<BundleId>, id: &BundleId, path: &Path) -> bool {
    match station.spool.disk().read_plain(path, ReceiptBatch::BYTES_MAX as u64) {
        Ok(bytes) => is_batch_of_ours(station, id, &bytes),
        // A link, a pipe, or too large for one.
        Err(cause) if cause.kind() == std::io::ErrorKind::InvalidData => false,
        // It has left.
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => true,
        Err(cause) => {
            waits_unproven(unread, id, path, &cause);
            true
        }
    }
}

fn is_batch_of_ours(station: &Station, id: &BundleId, bytes: &[u8]) -> bool {
    let signed = Signed::parse::<ReceiptBatch>(bytes).ok();
    let batch = signed.and_then(|signed| station.trust.verify_from_node::<ReceiptBatch>(&signed, &station.node).ok());
    batch.is_some_and(|batch| batch.batch == *id)
}

/// What commands left at the desk that nobody took away: it may be in the clear. What is on record as delivered stays as
/// long as what is held does, and that it went is on record.
pub(crate) fn clear(station: &Station, now: Timestamp) -> Result<(), StationError> {
    let (folder, disk) = (station.layout().desk_own(), station.spool.disk());
    let mut left: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(io_at(&folder))? {
        left.push(entry.map_err(io_at(&folder))?.path());
    }
    let (notes, left): (Vec<_>, Vec<_>) =
        left.into_iter().partition(|path| path.extension().is_some_and(|end| end == OPENED));
    let (mut kept, mut forgotten) = (BTreeSet::new(), false);
    for note in notes {
        match noted(&note) {
            Some(made) if !has_rested(disk, &made, now, u64::from(station.settings.quarantine_days) * DAY_MS) => {
                if has_rested(disk, &made, now, DAY_MS) {
                    tracing::warn!(made = %made.display(), "what was opened by hand was not taken: open the bundle again");
                    forgotten = true;
                }
                kept.insert(made);
            }
            unwanted => {
                if let Some(made) = unwanted {
                    let local = Local { name: Some("opened and never taken: removed".to_owned()), labels: Vec::new() };
                    let mut record = Record::new(Event::RequestAnswered, now);
                    let bundle = note.file_stem().and_then(|stem| BundleId::from_hex(stem.to_str()?));
                    record.parcel = bundle.map(|id| station.spool.parcel_of_bundle(&id)).transpose()?.flatten();
                    station.spool.record(record, local)?;
                    disk.remove_tree(&made).map_err(io_at(&made))?;
                }
                disk.remove_file(&note).map_err(io_at(&note))?;
            }
        }
    }
    station.alarms.stands(now, Alarm::ByHandLeft, forgotten);
    for path in left {
        let ours = path.extension().is_some_and(|end| end == GIVEN || end == MADE || end == "aside");
        if ours && !kept.contains(&path) && has_rested(disk, &path, now, DAY_MS) {
            disk.remove_tree(&path).map_err(io_at(&path))?;
        }
    }
    Ok(())
}
