//! From a released parcel to a bundle in an outbox, and the evidence that stays. Only [`Released`] comes in here:
//! what the guard has not looked at cannot be sealed.
//!
//! Why it may die anywhere. A small bundle is sealed in memory; a group of them is staged in the outbox with one sync,
//! recorded with one more, and published. A large one is written under `queues/sealing` and synced, then the ledger
//! records it under its reserved number, then a rename puts it into the outbox. Before the record it is waste and its
//! number is withdrawn; after it, the outbox's own start, or [`recover`], finishes the rest. Evidence of a bundle that
//! leaves is written with its first receipt: until then the bundle itself stands in the outbox and has everything.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use guard::{Finding, Parcel, Released};
use protocol::bundle::{self, BundleError, SealPlan};
use protocol::der_types::Octets;
use protocol::evidence::Evidence;
use protocol::id::{moment_of, new_id};
use protocol::keys::{self, SealingKey};
use protocol::ledger::{Event, Local, Record};
use protocol::parcel::{
    CustodyEntry, FileEntry, LABEL_BYTES_MAX, LABELS_MAX, Label, Manifest, ParcelStatement, Priority, VERSION,
    link_digest,
};
use protocol::receipt::{Outcome, Receipt, ReceiptBatch};
use protocol::tree;
use protocol::trust::Use;
use protocol::{BundleId, Crossing, Name, ParcelId, Reason, Signed, Statement as _, Timestamp, Verdict};
use spool::{EntryKind, Kept, Small, SpoolError, State};

use crate::alarm::Alarm;
use crate::budget::EXCEPTED;
use crate::config::{Hop, RouteSettings};
use crate::drop::Drop;
use crate::keyring::security;
use crate::station::{Station, StationError};

/// Head and foot are gathered in this; sealed chunks come in pieces of a mebibyte, which pass by it.
const WRITE_BUFFER_BYTES: usize = 256 * 1024;

/// Content sealed in memory: with envelope, tags and footer it stays below [`spool::SMALL_BYTES_MAX`].
const SMALL_CONTENT_BYTES_MAX: u64 = 192 * 1024;
/// So many files have a manifest of at most some 40 KiB.
const SMALL_FILES_MAX: usize = 64;

/// A sealed bundle that is not yet in the ledger.
#[derive(Debug)]
pub struct Staged {
    id: BundleId,
    crossing: Crossing,
    epoch: u64,
    sequence: u64,
    priority: Priority,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Memory(Vec<u8>),
    /// Synced, under `queues/sealing`.
    File(PathBuf),
}

/// A sealed bundle with the record that commits it.
#[derive(Debug)]
pub struct Ready {
    staged: Staged,
    record: Record,
    local: Local,
}

impl Ready {
    /// Notes in the record how many findings were let pass as exceptions.
    #[must_use]
    pub fn excepting(mut self, findings: usize) -> Ready {
        if findings > 0 {
            let label = Name::new(EXCEPTED).map(|name| Label { name, value: findings.to_string() });
            self.local.labels.extend(label);
        }
        self
    }
}

/// Opens a file of a parcel; the seal reads it through this.
fn opener(drop: &Drop) -> impl FnMut(usize) -> io::Result<File> + '_ {
    |index| drop.open_file(index)
}

/// What a released drop holds, for its origin's manifest.
#[must_use]
pub fn manifest_of(released: &Released<Drop>) -> Manifest {
    let drop = released.parcel();
    let files = drop.files().iter().zip(drop.details()).zip(released.digests());
    Manifest {
        salt: Octets(keys::random()),
        version: VERSION,
        name: drop.name().to_owned(),
        folder: drop.is_folder(),
        files: files
            .map(|((facts, detail), (size, digest))| FileEntry {
                path: facts.path.clone(),
                original: detail.original.clone().and_then(|bytes| der_octets(bytes).ok()),
                size: *size,
                digest: *digest,
                executable: detail.executable,
                modified_s: detail.modified_s,
            })
            .collect(),
        labels: released
            .labels()
            .iter()
            .map(|(name, value)| Label { name: name.clone(), value: value.clone() })
            .collect(),
    }
}

fn der_octets(bytes: Vec<u8>) -> Result<protocol::parcel::OctetString, ()> {
    protocol::parcel::OctetString::new(bytes).map_err(|_| ())
}

/// The statement that the origin signs about a released parcel.
pub fn state(
    station: &Station,
    route: &RouteSettings,
    parcel: ParcelId,
    released: &Released<Drop>,
    manifest: &Manifest,
    now: Timestamp,
) -> Result<Signed, StationError> {
    let target = route.path.last().unwrap_or(&station.node);
    let statement = ParcelStatement {
        version: VERSION,
        parcel,
        origin: station.node.clone(),
        route: route.name.clone(),
        target: target.clone(),
        parcel_type: released.parcel_type().clone(),
        priority: route.priority,
        accepted: now,
        manifest: station.suite.digest(&manifest.to_bytes()),
    };
    station.sign(&statement)
}

/// What a released parcel is sealed with.
pub struct Papers<'a> {
    /// The origin's signed statement.
    pub statement: &'a Signed,
    /// The custody entries so far.
    pub custody: &'a [Signed],
    /// The origin's manifest.
    pub manifest: &'a Manifest,
    /// How soon it matters.
    pub priority: Priority,
}

/// Seals a released parcel for a hop, under a number of its crossing.
pub fn seal(
    station: &Station,
    released: &Released<Drop>,
    papers: &Papers<'_>,
    hop: &Hop,
    now: Timestamp,
) -> Result<Staged, StationError> {
    seal_to(station, &station.trust.sealing_key(&hop.peer.name)?, released, papers, hop, now)
}

/// The same to a certain key of the hop's node.
pub(crate) fn seal_to(
    station: &Station,
    recipient: &SealingKey,
    released: &Released<Drop>,
    papers: &Papers<'_>,
    hop: &Hop,
    now: Timestamp,
) -> Result<Staged, StationError> {
    if !is_small(papers.manifest) {
        station.spool.room(papers.manifest.content_bytes())?;
    }
    let custody = custody(station, released, papers, hop, now)?;
    // Only now, so that a number is not drawn again and again while nobody signs.
    let (epoch, sequence) = station.spool.next_number(hop.crossing)?;
    let id = new_id(now, keys::random());
    let keys = (recipient, &station.keyring.opening.public());
    let plan = plan(station, keys, papers, &custody, hop, (id, epoch, sequence), now);
    match write_out(station, &plan, released.parcel()) {
        Ok(place) => Ok(Staged { id, crossing: hop.crossing, epoch, sequence, priority: papers.priority, place }),
        Err(error) => {
            withdraw(station, hop.crossing, epoch, sequence, now)?;
            Err(error)
        }
    }
}

/// Seals a released parcel for a person to take along: like any other, but under no number, so that nobody waits for it and
/// no carrier takes it. Returns its id and where it stands, durable, until the next start.
pub(crate) fn seal_by_hand(
    station: &Station,
    released: &Released<Drop>,
    papers: &Papers<'_>,
    hop: &Hop,
    now: Timestamp,
) -> Result<(BundleId, PathBuf), StationError> {
    station.spool.room(papers.manifest.content_bytes())?;
    let recipient = station.trust.sealing_key(&hop.peer.name)?;
    let custody = custody(station, released, papers, hop, now)?;
    let id = new_id(now, keys::random());
    let keys = (&recipient, &station.keyring.opening.public());
    let plan = plan(station, keys, papers, &custody, hop, (id, 0, 0), now);
    let path = station.layout().sealing().join(format!("{id}.by-hand"));
    if let Err(error) = write(station, &path, &plan, released.parcel()) {
        // Its room is for others; what the disk says now is the first error.
        let _gone = station.spool.disk().remove_file(&path);
        return Err(error);
    }
    Ok((id, path))
}

/// The entries so far and this node's own.
fn custody(
    station: &Station,
    released: &Released<Drop>,
    papers: &Papers<'_>,
    hop: &Hop,
    now: Timestamp,
) -> Result<Vec<Signed>, StationError> {
    let entry = CustodyEntry {
        version: VERSION,
        statement: papers.statement.digest(),
        previous: papers
            .custody
            .last()
            .map_or_else(|| papers.statement.digest(), |entry| link_digest(papers.statement.suite, entry)),
        node: station.node.clone(),
        crossing: hop.crossing,
        rules: released.rules_version().to_owned(),
        verdict: released.verdict(),
        at: now,
    };
    let mut custody = papers.custody.to_vec();
    custody.push(station.sign(&entry)?);
    Ok(custody)
}

fn plan<'a>(
    station: &'a Station,
    (recipient, keeper): (&'a SealingKey, &'a SealingKey),
    papers: &Papers<'a>,
    custody: &'a [Signed],
    hop: &'a Hop,
    (bundle, epoch, sequence): (BundleId, u64, u64),
    now: Timestamp,
) -> SealPlan<'a> {
    SealPlan {
        bundle,
        crossing: hop.crossing,
        epoch,
        sequence,
        source: &station.node,
        target: &hop.peer.name,
        priority: papers.priority,
        now,
        key: &station.keyring.signing,
        recipient,
        keeper,
        statement: papers.statement,
        custody,
        manifest: papers.manifest,
    }
}

/// Is it sealed in memory?
fn is_small(manifest: &Manifest) -> bool {
    manifest.content_bytes() <= SMALL_CONTENT_BYTES_MAX && manifest.files.len() <= SMALL_FILES_MAX
}

fn write_out(station: &Station, plan: &SealPlan<'_>, drop: &Drop) -> Result<Place, StationError> {
    let manifest = plan.manifest;
    if is_small(manifest) {
        let mut bytes = Vec::with_capacity(usize::try_from(manifest.content_bytes()).unwrap_or(0) + 8 * 1024);
        bundle::seal(plan, &mut bytes, opener(drop)).map_err(|error| match error {
            BundleError::Io(cause) => StationError::Io { path: drop.place().to_owned(), cause },
            other => StationError::Seal(other),
        })?;
        return Ok(Place::Memory(bytes));
    }
    let path = station.layout().sealing().join(format!("{}.bundle", plan.bundle));
    // Its name too must last: once the ledger has recorded it, nobody seals this parcel again.
    let folder = station.layout().sealing();
    let written = write(station, &path, plan, drop).and_then(|()| {
        station.spool.disk().sync_dir(&folder).map_err(|cause| StationError::Io { path: folder.clone(), cause })
    });
    match written {
        Ok(()) => Ok(Place::File(path)),
        Err(error) => {
            station.spool.disk().remove_file(&path).map_err(|cause| StationError::Io { path, cause })?;
            Err(error)
        }
    }
}

fn write(station: &Station, path: &Path, plan: &SealPlan<'_>, drop: &Drop) -> Result<(), StationError> {
    let disk = station.spool.disk();
    let io = |cause| StationError::Io { path: path.to_owned(), cause };
    let mut out = BufWriter::with_capacity(WRITE_BUFFER_BYTES, disk.create(path).map_err(io)?);
    bundle::seal(plan, &mut out, opener(drop)).map_err(|error| match error {
        BundleError::Io(cause) => io(cause),
        other => StationError::Seal(other),
    })?;
    out.flush().map_err(io)?;
    let file = out.into_inner().map_err(|error| io(error.into_error()))?;
    disk.sync_file(&file).map_err(io)
}

/// For which neighbour an entry of an outbox is, by its own clear papers. Needed where several share a crossing.
#[must_use]
pub fn addressee(outbox: &spool::Outbox, entry: &spool::Entry) -> Option<Name> {
    // Asked with every listing: what a bad disk does not give is tried again by whoever looks after it, at a pace.
    if outbox.is_unread(&entry.id) {
        return None;
    }
    let mut content = outbox.content(entry).ok()?;
    match entry.kind {
        EntryKind::Bundle => bundle::peek(&mut content).ok().map(|envelope| envelope.target),
        EntryKind::Receipts => {
            let bytes = read_batch_bytes(&mut content, entry.size)?;
            let batch: ReceiptBatch = Signed::parse::<ReceiptBatch>(&bytes).ok()?.read_unverified().ok()?;
            Some(batch.target)
        }
    }
}

fn read_batch_bytes(content: &mut impl io::Read, size: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    (size <= ReceiptBatch::BYTES_MAX as u64 && content.read_to_end(&mut bytes).is_ok()).then_some(bytes)
}

/// A number that was drawn and will never be used: the other side must not wait for it.
pub fn withdraw(
    station: &Station,
    crossing: Crossing,
    epoch: u64,
    sequence: u64,
    now: Timestamp,
) -> Result<(), StationError> {
    let mut record = Record::new(Event::SequencesWithdrawn, now);
    record.crossing = Some(crossing);
    record.epoch = Some(epoch);
    record.sequence = Some(sequence);
    record.through = Some(sequence);
    station.spool.record(record, Local::none())?;
    Ok(())
}

/// The record that commits a staged bundle. `event` is `Accepted` at the origin, `Relayed` after it.
pub fn ready(
    event: Event,
    staged: Staged,
    statement: &Signed,
    manifest: &Manifest,
    now: Timestamp,
) -> Result<Ready, StationError> {
    let said: ParcelStatement = statement.read_unverified().map_err(|e| StationError::Seal(e.into()))?;
    let mut record = Record::new(event, now);
    record.parcel = Some(said.parcel);
    record.bundle = Some(staged.id);
    record.origin = Some(said.origin);
    record.route = Some(said.route);
    record.parcel_type = Some(said.parcel_type);
    record.crossing = Some(staged.crossing);
    record.epoch = Some(staged.epoch);
    record.sequence = Some(staged.sequence);
    record.digest = Some(statement.digest());
    record.bytes = Some(manifest.content_bytes());
    let local = Local { name: Some(manifest.name.clone()), labels: manifest.labels.clone() };
    Ok(Ready { staged, record, local })
}

/// Commits sealed bundles together: the small ones staged with one sync, all recorded with one more, behind the records
/// that must stand before them, then everything enters its outbox. On an error what was recorded is in its outbox all the same, or is finished by [`finish_sent`];
/// what was not is thrown away and its number withdrawn, so that its parcel may be sealed anew.
pub fn commit(
    station: &Station,
    mut records: Vec<(Record, Local)>,
    group: Vec<Ready>,
    now: Timestamp,
) -> Result<(), StationError> {
    let (mut small, mut places) = (BTreeMap::<Crossing, Vec<Small>>::new(), Vec::new());
    for Ready { staged, record, local } in group {
        let (place, bytes) = Committing::of(staged);
        if let Some(one) = bytes {
            small.entry(place.crossing).or_default().push(one);
        }
        records.push((record, local));
        places.push(place);
    }
    let recorded = small
        .iter()
        .try_for_each(|(crossing, group)| station.spool.outbox(*crossing).stage(group))
        .and_then(|()| station.spool.record_all(records));
    let mut first = match recorded {
        // Of a poisoned ledger nobody knows which records are on the disk. The next start does, and looks for every
        // bundle where it is now.
        Err(error @ SpoolError::Poisoned { .. }) => return Err(error.into()),
        other => other.err().map(StationError::from),
    };
    let failed = first.is_some();
    let mut published = BTreeMap::<Crossing, Vec<BundleId>>::new();
    for one in places {
        let done = if failed && !station.spool.bundle_recorded(&one.id)? {
            one.give_up(station, now)
        } else if one.file.is_none() {
            published.entry(one.crossing).or_default().push(one.id);
            Ok(())
        } else {
            one.enter(station)
        };
        first = first.or(done.err());
    }
    published.iter().for_each(|(crossing, ids)| station.spool.outbox(*crossing).publish(ids));
    first.map_or(Ok(()), Err)
}

/// Sealed bundles that will not be committed: they go, and their numbers are withdrawn.
pub fn give_up(station: &Station, group: Vec<Ready>, now: Timestamp) -> Result<(), StationError> {
    group.into_iter().try_for_each(|Ready { staged, .. }| Committing::of(staged).0.give_up(station, now))
}

/// A bundle between its record and its outbox.
struct Committing {
    id: BundleId,
    crossing: Crossing,
    epoch: u64,
    sequence: u64,
    priority: Priority,
    file: Option<PathBuf>,
}

impl Committing {
    /// And its bytes, where it is in memory.
    fn of(staged: Staged) -> (Committing, Option<Small>) {
        let Staged { id, crossing, epoch, sequence, priority, place } = staged;
        let (file, small) = match place {
            Place::Memory(bytes) => {
                (None, Some(Small { id, kind: EntryKind::Bundle, priority, epoch, sequence, bytes }))
            }
            Place::File(path) => (Some(path), None),
        };
        (Committing { id, crossing, epoch, sequence, priority, file }, small)
    }

    fn enter(&self, station: &Station) -> Result<(), StationError> {
        let Some(path) = &self.file else { return Ok(()) };
        station.spool.outbox(self.crossing).commit(
            path,
            &self.id,
            EntryKind::Bundle,
            self.priority,
            self.epoch,
            self.sequence,
        )?;
        Ok(())
    }

    fn give_up(&self, station: &Station, now: Timestamp) -> Result<(), StationError> {
        match &self.file {
            None => station.spool.outbox(self.crossing).forget(&self.id)?,
            Some(path) => {
                let io = |cause| StationError::Io { path: path.clone(), cause };
                station.spool.disk().remove_file(path).map_err(io)?;
            }
        }
        // Where even that cannot be recorded now, the next start does it.
        withdraw(station, self.crossing, self.epoch, self.sequence, now)
    }
}

/// Where the evidence of a bundle lies: under the day its parcel was claimed.
#[must_use]
pub fn evidence_path(station: &Station, parcel: &ParcelId, bundle: &BundleId) -> PathBuf {
    let day = moment_of(parcel).to_string();
    let mut path = station.layout().evidence();
    path.extend(day.split('T').next().unwrap_or_default().split('-'));
    path.join(format!("{parcel}-{bundle}.proof"))
}

/// The evidence that stands there. Only a file that is missing, or is no evidence, is none: what cannot be read now
/// must not be written over with less.
fn read_evidence(path: &Path) -> Result<Option<Evidence>, StationError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Evidence::parse(&bytes).ok()),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(StationError::Io { path: path.to_owned(), cause }),
    }
}

/// The receipts kept with the evidence of a bundle.
pub fn kept_receipts(station: &Station, parcel: &ParcelId, bundle: &BundleId) -> Result<Vec<Vec<u8>>, StationError> {
    Ok(read_evidence(&evidence_path(station, parcel, bundle))?.map(|kept| kept.receipts).unwrap_or_default())
}

/// What this node itself said at the end of a parcel, as its evidence has it: known even where the ledger lost the record.
pub(crate) fn ended_here(
    station: &Station,
    parcel: &ParcelId,
    bundle: &BundleId,
) -> Result<Option<Receipt>, StationError> {
    let path = evidence_path(station, parcel, bundle);
    if let Some(ended) = ended_by(station, &path)? {
        return Ok(Some(ended));
    }
    if !station.spool.may_have_lost(moment_of(parcel)) {
        return Ok(None);
    }
    // Its origin may have sealed it again, for another key: then it comes under another number.
    let folder = path.parent().unwrap_or(&path);
    let io = |cause| StationError::Io { path: folder.to_owned(), cause };
    let entries = match std::fs::read_dir(folder) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries.map_err(io)?,
    };
    let ours = format!("{parcel}-");
    for entry in entries {
        let entry = entry.map_err(io)?;
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with(&ours) && name.ends_with(".proof"))
            && let Some(ended) = ended_by(station, &entry.path())?
        {
            return Ok(Some(ended));
        }
    }
    Ok(None)
}

fn ended_by(station: &Station, evidence: &Path) -> Result<Option<Receipt>, StationError> {
    let receipts = read_evidence(evidence)?.map(|kept| kept.receipts).unwrap_or_default().into_iter();
    // Ours, from our own disk: nobody else writes there.
    let receipts =
        receipts.filter_map(|bytes| Signed::parse::<Receipt>(&bytes).ok()?.read_unverified::<Receipt>().ok());
    let mut ours = receipts.filter(|receipt| receipt.node == station.node);
    Ok(ours.find(|receipt| matches!(receipt.outcome, Outcome::Delivered | Outcome::Refused)))
}

/// What is known of a bundle, to be kept for the auditor.
#[derive(Clone, Debug)]
pub struct Proof {
    /// Whose bundle.
    pub parcel: ParcelId,
    /// Which.
    pub bundle: BundleId,
    /// Envelope and footer, empty where they are kept already; receipts that are to stand there too.
    pub evidence: Evidence,
}

/// The papers and receipts of a bundle that was sent; made from the bundle with its first receipt. Nothing where neither
/// the bundle nor evidence of it is there.
pub fn proof_of_sent(
    station: &Station,
    parcel: &ParcelId,
    sent: &spool::Sent,
    receipts: Vec<Vec<u8>>,
) -> Result<Option<Proof>, StationError> {
    let mut evidence = Evidence { envelope: Vec::new(), footer: Vec::new(), receipts };
    if read_evidence(&evidence_path(station, parcel, &sent.bundle))?.is_none() {
        let outbox = station.spool.outbox(sent.crossing);
        let Some(entry) = outbox.find(&sent.bundle)? else { return Ok(None) };
        let io = |cause| StationError::Io { path: entry.path.to_path_buf(), cause };
        (evidence.envelope, evidence.footer) = papers(&mut outbox.content(&entry).map_err(io)?, &entry.path)?;
    }
    Ok(Some(Proof { parcel: *parcel, bundle: sent.bundle, evidence }))
}

/// Envelope and footer of a bundle.
pub fn papers(bundle: &mut (impl io::Read + io::Seek), path: &Path) -> Result<(Vec<u8>, Vec<u8>), StationError> {
    bundle::papers(bundle).map_err(|error| match error {
        BundleError::Io(cause) => StationError::Io { path: path.to_owned(), cause },
        other => StationError::Seal(other),
    })
}

/// Writes evidence, or adds its receipts to what is there. Of one bundle not more than one proof. Written even where it
/// says nothing new: an earlier write may have failed at its last sync, and what stands there may not last.
pub fn keep_evidence(station: &Station, proofs: Vec<Proof>) -> Result<(), StationError> {
    let mut kept = Vec::with_capacity(proofs.len());
    for Proof { parcel, bundle, mut evidence } in proofs {
        let path = evidence_path(station, &parcel, &bundle);
        if let Some(known) = read_evidence(&path)? {
            let new: Vec<_> = evidence.receipts.drain(..).filter(|receipt| !known.receipts.contains(receipt)).collect();
            evidence = known;
            evidence.receipts.extend(new);
        } else if evidence.envelope.is_empty() {
            // Gone meanwhile: its days were over.
            continue;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        kept.push(Kept { at: moment_of(&parcel), name, bytes: evidence.to_bytes() });
    }
    station.spool.keep_evidence(&kept)?;
    Ok(())
}

/// A parcel that came and goes no further: outside the internal zone it is sealed to the office's security key, so that this
/// node's own key opens it no more. What came down with coordinates stays as it was sealed: the bundle is the evidence of
/// an incident. Before the refusal is on record; a second look does it once more. Says whether it was sealed.
pub(crate) fn set_aside(
    station: &Station,
    parcel: ParcelId,
    drop: &Drop,
    crossing: Crossing,
    why: &Why<'_>,
    now: Timestamp,
) -> Result<bool, StationError> {
    if station.zone.may_hold_coordinates() || why.reason == Some(Reason::Incident) {
        return Ok(false);
    }
    if station.trust.current(&security(), Use::Seal).is_err() {
        tracing::warn!(%parcel, "no card of the office's security key: the bundle is held under this node's own");
        station.alarms.stands(now, Alarm::Cards, true);
        return Ok(false);
    }
    quarantine(station, parcel, drop, crossing, why, now).map(|()| true)
}

/// Before the number of each label that is a finding.
pub(crate) const FINDING: &str = "finding-";

/// Why something is held: what the officer who opens it is shown, and what is sealed with it.
pub struct Why<'a> {
    /// By code; nothing where the guard found it good and a person asks all the same.
    pub reason: Option<Reason>,
    /// Masked.
    pub findings: &'a [Finding],
}

impl Why<'_> {
    /// As labels of the sealed manifest, which nobody but the officer reads. More findings than a manifest takes are counted.
    fn labels(&self) -> Vec<Label> {
        let label = |name: &str, value: String| Some(Label { name: Name::new(name).ok()?, value: cut(value) });
        let reason = self.reason.map_or("-", Reason::name).to_owned();
        let head = [label("reason", reason), label("findings", self.findings.len().to_string())];
        let shown = self.findings.iter().take(LABELS_MAX - head.len()).enumerate().map(|(index, finding)| {
            let Finding { rule, class, at, sample } = finding;
            label(&format!("{FINDING}{index:02}"), format!("{rule} ({}) {sample} at {at}", class.name()))
        });
        head.into_iter().chain(shown).flatten().collect()
    }
}

/// No longer than a label may be.
fn cut(mut value: String) -> String {
    while value.len() > LABEL_BYTES_MAX {
        value.pop();
    }
    value
}

/// Where a parcel stands that is sealed to the office's security key. No bundle that is held has a name like this: its id
/// is a neighbour's to choose.
pub(crate) fn aside_place(station: &Station, parcel: &ParcelId) -> PathBuf {
    station.layout().quarantine().join(format!("{parcel}.aside"))
}

/// Seals a refused parcel to the office's security key and leaves it in quarantine. Where coordinates may rest, it is
/// only moved. Returns once it is durable; the caller then removes the drop.
pub fn quarantine(
    station: &Station,
    parcel: ParcelId,
    drop: &Drop,
    crossing: Crossing,
    why: &Why<'_>,
    now: Timestamp,
) -> Result<(), StationError> {
    let disk = station.spool.disk();
    let folder = station.layout().quarantine();
    if station.zone.may_hold_coordinates() {
        let place = folder.join(parcel.to_string());
        let io = |cause| StationError::Io { path: place.clone(), cause };
        disk.create_dir_private(&place).map_err(io)?;
        let target = place.join(drop.original_name());
        return disk.rename(drop.place(), &target).map_err(io);
    }
    seal_to_security(station, parcel, drop, crossing, why, (&aside_place(station, &parcel), now))
}

/// Seals to the office's security key alone, under no number: this node opens it no more. Appears whole, by rename.
pub(crate) fn seal_to_security(
    station: &Station,
    parcel: ParcelId,
    drop: &Drop,
    crossing: Crossing,
    why: &Why<'_>,
    (place, now): (&Path, Timestamp),
) -> Result<(), StationError> {
    let disk = station.spool.disk();
    let security = security();
    let card = station.trust.current(&security, Use::Seal)?;
    let recipient = SealingKey::from_spki(&card.spki).map_err(|e| StationError::Trust(e.into()))?;
    let files = (0..drop.files().len()).map(|index| file_entry(station, drop, index)).collect::<Result<Vec<_>, _>>()?;
    let manifest = Manifest {
        salt: Octets(keys::random()),
        version: VERSION,
        name: drop.name().to_owned(),
        folder: drop.is_folder(),
        files,
        labels: why.labels(),
    };
    let statement = ParcelStatement {
        version: VERSION,
        parcel,
        origin: station.node.clone(),
        route: security.clone(),
        target: security.clone(),
        parcel_type: security.clone(),
        priority: Priority::Bulk,
        accepted: now,
        manifest: station.suite.digest(&manifest.to_bytes()),
    };
    let statement = station.sign(&statement)?;
    let entry = CustodyEntry {
        version: VERSION,
        statement: statement.digest(),
        previous: statement.digest(),
        node: station.node.clone(),
        crossing,
        rules: station.rules.get(&crossing).map(|rules| rules.version().as_str().to_owned()).unwrap_or_default(),
        verdict: Verdict::Held,
        at: now,
    };
    let custody = [station.sign(&entry)?];
    // Never on its way anywhere: it has no number and its target is no node, so none would admit it.
    let plan = SealPlan {
        bundle: new_id(now, keys::random()),
        crossing,
        epoch: 0,
        sequence: 0,
        source: &station.node,
        target: &security,
        priority: Priority::Bulk,
        now,
        key: &station.keyring.signing,
        recipient: &recipient,
        keeper: &recipient,
        statement: &statement,
        custody: &custody,
        manifest: &manifest,
    };
    let aside = station.layout().sealing().join(format!("{parcel}.quarantine"));
    let io = |cause| StationError::Io { path: place.to_owned(), cause };
    disk.remove_file(&aside).map_err(io)?;
    station.spool.room(manifest.content_bytes())?;
    if let Err(error) = write(station, &aside, &plan, drop) {
        // Until the next try its room is for others; what the disk says now is the first error.
        let _gone = disk.remove_file(&aside);
        return Err(error);
    }
    disk.rename(&aside, place).map_err(io)
}

fn file_entry(station: &Station, drop: &Drop, index: usize) -> Result<FileEntry, StationError> {
    let place = drop.details().get(index).map_or_else(PathBuf::new, |detail| detail.place.clone());
    let io = |cause| StationError::Io { path: place.clone(), cause };
    let mut file = drop.open_file(index).map_err(io)?;
    let (size, digest) = tree::root_of_reader(station.suite, &mut file).map_err(io)?;
    let path = drop.files().get(index).map(|facts| facts.path.clone()).unwrap_or_default();
    Ok(FileEntry { path, original: None, size, digest, executable: false, modified_s: 0 })
}

/// Finishes or throws away what an earlier process left under `queues/sealing`. What cannot be read now is left where it
/// is: it may be all that there is of a recorded parcel.
pub fn recover(station: &Station) -> Result<(), StationError> {
    let folder = station.layout().sealing();
    let io = |cause| StationError::Io { path: folder.clone(), cause };
    for entry in std::fs::read_dir(&folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        match finish(station, &path) {
            Ok(true) => {}
            Ok(false) => station.spool.disk().remove_tree(&path).map_err(io)?,
            Err(error) if error.concerns_all(&station.spool) => return Err(error),
            Err(error) => tracing::error!(path = %path.display(), %error, "left until it can be read"),
        }
    }
    Ok(())
}

/// Finishes the staged bundle of one parcel, where it was recorded and then could not enter the outbox. For the one
/// stage that has the parcel in hand, and only that: what others are sealing stays untouched. When this returns, the
/// source of the parcel may go.
///
/// # Errors
/// It cannot enter the outbox now, or is in none although nobody else has taken it yet: the source stays.
pub fn finish_sent(station: &Station, parcel: &spool::ParcelState) -> Result<(), StationError> {
    let Some(sent) = &parcel.sent else { return Ok(()) };
    let outbox = station.spool.outbox(sent.crossing);
    outbox.publish(&[sent.bundle]);
    finish(station, &station.layout().sealing().join(format!("{}.bundle", sent.bundle)))?;
    let owed = matches!(parcel.state, State::Accepted | State::Relayed) && !parcel.custody_passed;
    if owed && outbox.find(&sent.bundle)?.is_none() {
        return Err(StationError::NotInOutbox { parcel: parcel.parcel, bundle: sent.bundle });
    }
    Ok(())
}

/// Was this staged file recorded? Then its rename is still owed. A file that is not there was not.
fn finish(station: &Station, path: &Path) -> Result<bool, StationError> {
    let io = |cause| StationError::Io { path: path.to_owned(), cause };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(io(error)),
    };
    let suffix = path.extension().and_then(|suffix| suffix.to_str()).unwrap_or_default();
    match suffix {
        "bundle" => {
            // By its name first: what the ledger knows is whole, and is not thrown away because it cannot be read.
            let id = path.file_stem().and_then(|stem| stem.to_str()).and_then(BundleId::from_hex);
            let parcel = id.map(|id| station.spool.parcel_of_bundle(&id)).transpose()?.flatten();
            let sent = match parcel {
                Some(parcel) => station.spool.parcel(&parcel)?.and_then(|state| state.sent),
                None => None,
            };
            let Some(sent) = sent.filter(|sent| Some(sent.bundle) == id) else { return Ok(false) };
            let envelope = bundle::peek(&mut file).map_err(|error| match error {
                BundleError::Io(cause) => io(cause),
                other => StationError::Seal(other),
            })?;
            station.spool.outbox(sent.crossing).commit(
                path,
                &sent.bundle,
                EntryKind::Bundle,
                envelope.priority,
                sent.epoch,
                sent.sequence,
            )?;
            Ok(true)
        }
        "receipts" => crate::receipts::finish(station, path),
        _ => Ok(false),
    }
}
