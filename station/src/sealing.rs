//! From a released parcel to a bundle in an outbox, and the evidence that stays. Only [`Released`] comes in here:
//! what the guard has not looked at cannot be sealed.
//!
//! Why it may die anywhere: a bundle is written under `queues/sealing` and synced, then the ledger records it under
//! its reserved number, then a rename puts it into the outbox. Before the record it is waste and its number is
//! withdrawn; after it, [`recover`] finishes the rename.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use guard::{Parcel, Released};
use protocol::bundle::{self, BundleError, SealPlan};
use protocol::der_types::Octets;
use protocol::evidence::Evidence;
use protocol::id::{moment_of, new_id};
use protocol::keys::{self, SealingKey};
use protocol::ledger::{Event, Local, Record};
use protocol::parcel::{CustodyEntry, FileEntry, Label, Manifest, ParcelStatement, Priority, VERSION, link_digest};
use protocol::receipt::ReceiptBatch;
use protocol::trust::Use;
use protocol::{BundleId, Crossing, Name, ParcelId, Signed, Statement as _, Timestamp, Verdict};
use spool::EntryKind;

use crate::config::{Hop, RouteSettings};
use crate::drop::Drop;
use crate::keyring::security;
use crate::station::{Station, StationError};

/// A bundle is written in pieces of this size: four chunks, so that a system call carries enough.
const WRITE_BUFFER_BYTES: usize = 256 * 1024;

/// A bundle that is written and synced, not yet in the ledger.
#[derive(Debug)]
pub struct Staged {
    /// Its id.
    pub id: BundleId,
    /// The crossing it is sealed for.
    pub crossing: Crossing,
    /// Its numbers there.
    pub epoch: u64,
    /// See `epoch`.
    pub sequence: u64,
    /// Where it lies.
    pub path: PathBuf,
    /// Bytes.
    pub bytes: u64,
    /// Head, for the evidence.
    pub envelope: Vec<u8>,
    /// Foot, for the evidence.
    pub footer: Vec<u8>,
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
#[must_use]
pub fn state(
    station: &Station,
    route: &RouteSettings,
    parcel: ParcelId,
    released: &Released<Drop>,
    manifest: &Manifest,
    now: Timestamp,
) -> Signed {
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
    Signed::make(&station.keyring.signing, &statement)
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
    let recipient = station.trust.sealing_key(&hop.peer.name)?;
    let (epoch, sequence) = station.spool.next_number(hop.crossing)?;
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
    custody.push(Signed::make(&station.keyring.signing, &entry));
    let id = new_id(now, keys::random());
    let plan = SealPlan {
        bundle: id,
        crossing: hop.crossing,
        epoch,
        sequence,
        source: &station.node,
        target: &hop.peer.name,
        priority: papers.priority,
        now,
        key: &station.keyring.signing,
        recipient: &recipient,
        keeper: &station.keyring.opening.public(),
        statement: papers.statement,
        custody: &custody,
        manifest: papers.manifest,
    };
    let path = station.layout().sealing().join(format!("{id}.bundle"));
    match write(station, &path, &plan, released.parcel()) {
        Ok(sealed) => Ok(Staged {
            id,
            crossing: hop.crossing,
            epoch,
            sequence,
            path,
            bytes: sealed.bytes,
            envelope: sealed.envelope,
            footer: sealed.footer,
        }),
        Err(error) => {
            let removed = station.spool.disk().remove_file(&path);
            withdraw(station, hop.crossing, epoch, sequence, now)?;
            removed.map_err(|cause| StationError::Io { path, cause })?;
            Err(error)
        }
    }
}

fn write(station: &Station, path: &Path, plan: &SealPlan<'_>, drop: &Drop) -> Result<bundle::Sealed, StationError> {
    let disk = station.spool.disk();
    let io = |cause| StationError::Io { path: path.to_owned(), cause };
    let mut out = BufWriter::with_capacity(WRITE_BUFFER_BYTES, disk.create(path).map_err(io)?);
    let sealed = bundle::seal(plan, &mut out, opener(drop)).map_err(|error| match error {
        BundleError::Io(cause) => io(cause),
        other => StationError::Seal(other),
    })?;
    out.flush().map_err(io)?;
    let file = out.into_inner().map_err(|error| io(error.into_error()))?;
    disk.sync_file(&file).map_err(io)?;
    Ok(sealed)
}

/// For which neighbour an entry of an outbox is, by its own clear papers. Needed where several share a crossing.
#[must_use]
pub fn addressee(entry: &spool::Entry) -> Option<Name> {
    match entry.kind {
        EntryKind::Bundle => {
            bundle::peek(&mut io::BufReader::new(File::open(&entry.path).ok()?)).ok().map(|e| e.target)
        }
        EntryKind::Receipts => {
            let bytes =
                (entry.size <= ReceiptBatch::BYTES_MAX as u64).then(|| std::fs::read(&entry.path).ok()).flatten()?;
            let batch: ReceiptBatch = Signed::parse::<ReceiptBatch>(&bytes).ok()?.read_unverified().ok()?;
            Some(batch.target)
        }
    }
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

/// Commits a staged bundle: the ledger first, then the rename. `event` is `Accepted` at the origin, `Relayed` after it.
pub fn commit(
    station: &Station,
    event: Event,
    staged: &Staged,
    statement: &Signed,
    manifest: &Manifest,
    now: Timestamp,
) -> Result<(), StationError> {
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
    station.spool.record(record, local)?;
    // Before the rename: as long as the staged file stands, `finish` can do both again.
    let evidence = Evidence { envelope: staged.envelope.clone(), footer: staged.footer.clone(), receipts: Vec::new() };
    keep_evidence(station, &said.parcel, &staged.id, evidence)?;
    station.spool.outbox(staged.crossing).commit(
        &staged.path,
        &staged.id,
        EntryKind::Bundle,
        said.priority,
        staged.epoch,
        staged.sequence,
    )?;
    Ok(())
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

/// Adds a receipt to the evidence of a bundle, where that evidence exists.
pub fn add_receipt(
    station: &Station,
    parcel: &ParcelId,
    bundle: &BundleId,
    receipt: Vec<u8>,
) -> Result<(), StationError> {
    let Some(mut evidence) = read_evidence(&evidence_path(station, parcel, bundle))? else { return Ok(()) };
    evidence.receipts = vec![receipt];
    keep_evidence(station, parcel, bundle, evidence)
}

/// Writes evidence, or adds its receipts to what is there.
pub fn keep_evidence(
    station: &Station,
    parcel: &ParcelId,
    bundle: &BundleId,
    mut evidence: Evidence,
) -> Result<(), StationError> {
    let path = evidence_path(station, parcel, bundle);
    if let Some(known) = read_evidence(&path)? {
        let new: Vec<_> = evidence.receipts.drain(..).filter(|receipt| !known.receipts.contains(receipt)).collect();
        evidence = known;
        evidence.receipts.extend(new);
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    station.spool.keep_evidence(moment_of(parcel), &evidence.to_bytes(), &name)?;
    Ok(())
}

/// Seals a refused parcel to the office's security key and leaves it in quarantine. Where coordinates may rest, it is
/// only moved. Returns once it is durable; the caller then removes the drop.
pub fn quarantine(
    station: &Station,
    parcel: ParcelId,
    drop: &Drop,
    crossing: Crossing,
    now: Timestamp,
) -> Result<(), StationError> {
    let disk = station.spool.disk();
    let folder = station.layout().quarantine();
    if station.zone.may_hold_coordinates() {
        let place = folder.join(parcel.to_string());
        let io = |cause| StationError::Io { path: place.clone(), cause };
        disk.create_dir_private(&place).map_err(io)?;
        let target = place.join(drop.place().file_name().unwrap_or_default());
        return disk.rename(drop.place(), &target).map_err(io);
    }
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
        labels: Vec::new(),
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
    let statement = Signed::make(&station.keyring.signing, &statement);
    let entry = CustodyEntry {
        version: VERSION,
        statement: statement.digest(),
        previous: statement.digest(),
        node: station.node.clone(),
        crossing,
        rules: station.rules.get(&crossing).map(|rules| rules.version().to_owned()).unwrap_or_default(),
        verdict: Verdict::Held,
        at: now,
    };
    let custody = [Signed::make(&station.keyring.signing, &entry)];
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
    let place = folder.join(format!("{parcel}.bundle"));
    let aside = station.layout().sealing().join(format!("{parcel}.quarantine"));
    let io = |cause| StationError::Io { path: place.clone(), cause };
    disk.remove_file(&aside).map_err(io)?;
    write(station, &aside, &plan, drop)?;
    disk.rename(&aside, &place).map_err(io)
}

fn file_entry(station: &Station, drop: &Drop, index: usize) -> Result<FileEntry, StationError> {
    let place = drop.details().get(index).map_or_else(PathBuf::new, |detail| detail.place.clone());
    let io = |cause| StationError::Io { path: place.clone(), cause };
    let mut file = drop.open_file(index).map_err(io)?;
    let mut tree = protocol::tree::Tree::new(station.suite);
    let mut piece = vec![0; WRITE_BUFFER_BYTES];
    loop {
        let read = io::Read::read(&mut file, &mut piece).map_err(io)?;
        match piece.get(..read) {
            Some([]) | None => break,
            Some(bytes) => tree.update(bytes),
        }
    }
    let path = drop.files().get(index).map(|facts| facts.path.clone()).unwrap_or_default();
    Ok(FileEntry { path, original: None, size: tree.bytes(), digest: tree.root(), executable: false, modified_s: 0 })
}

/// Finishes or throws away what an earlier process left under `queues/sealing`.
pub fn recover(station: &Station) -> Result<(), StationError> {
    let folder = station.layout().sealing();
    let io = |cause| StationError::Io { path: folder.clone(), cause };
    for entry in std::fs::read_dir(&folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if !finish(station, &path)? {
            station.spool.disk().remove_tree(&path).map_err(io)?;
        }
    }
    Ok(())
}

/// Finishes the staged bundle of one parcel, where it was recorded and then could not enter the outbox. For the one
/// stage that has the parcel in hand: what others are sealing stays untouched.
pub fn finish_sent(station: &Station, parcel: &spool::ParcelState) -> Result<(), StationError> {
    let Some(sent) = &parcel.sent else { return Ok(()) };
    let path = station.layout().sealing().join(format!("{}.bundle", sent.bundle));
    if path.exists() {
        finish(station, &path)?;
    }
    Ok(())
}

/// Evidence of a staged bundle whose process died before it was kept.
fn keep_evidence_of(station: &Station, path: &Path, parcel: &ParcelId) -> Result<(), StationError> {
    let io = |cause| StationError::Io { path: path.to_owned(), cause };
    let mut input = io::BufReader::with_capacity(WRITE_BUFFER_BYTES, File::open(path).map_err(io)?);
    let verified = bundle::verify(&mut input, &station.trust).map_err(StationError::Seal)?;
    let bundle = verified.envelope.bundle;
    let evidence = Evidence { envelope: verified.envelope_bytes, footer: verified.footer_bytes, receipts: Vec::new() };
    keep_evidence(station, parcel, &bundle, evidence)
}

/// Was this staged file recorded? Then its rename is still owed, and perhaps its evidence.
fn finish(station: &Station, path: &Path) -> Result<bool, StationError> {
    let Ok(mut file) = File::open(path) else { return Ok(false) };
    let suffix = path.extension().and_then(|suffix| suffix.to_str()).unwrap_or_default();
    match suffix {
        "bundle" => {
            let Ok(envelope) = bundle::peek(&mut file) else { return Ok(false) };
            let Some(parcel) = station.spool.parcel_of_bundle(&envelope.bundle)? else { return Ok(false) };
            let owed = station
                .spool
                .parcel(&parcel)?
                .and_then(|state| state.sent)
                .is_some_and(|sent| sent.bundle == envelope.bundle);
            if owed {
                keep_evidence_of(station, path, &parcel)?;
                station.spool.outbox(envelope.crossing).commit(
                    path,
                    &envelope.bundle,
                    EntryKind::Bundle,
                    envelope.priority,
                    envelope.epoch,
                    envelope.sequence,
                )?;
            }
            Ok(owed)
        }
        "receipts" => crate::receipts::finish(station, path),
        _ => Ok(false),
    }
}
