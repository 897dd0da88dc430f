//! Receipts: made where something became of a parcel, batched for the crossing that leads home, taken where they
//! arrive, relayed unchanged until the origin knows.
//!
//! Why it may die anywhere: a receipt is a file named after its parcel and outcome, so making it twice makes it once.
//! A batch is recorded under its number before it enters the outbox; its receipts are removed after that. Taking a
//! batch twice changes nothing. It stays in `complete` until all of it is done; once its own number is recorded, all its
//! receipts are recorded and passed on, and only evidence, notices and removals may be owed.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use protocol::id::{moment_of, new_id};
use protocol::keys;
use protocol::ledger::{Event, Local, Record};
use protocol::parcel::{OctetString, Priority, VERSION};
use protocol::receipt::{BATCH_RECEIPTS_MAX, GapReport, Outcome, Receipt, ReceiptBatch};
use protocol::trust::TrustError;
use protocol::{BundleId, Crossing, Digest, Name, ParcelId, Reason, Signed, Statement, Timestamp};
use spool::{Entry, EntryKind, Notice, NoticeState, ParcelState, SMALL_BYTES_MAX, Seen, Small, SpoolError, Wanted};

use crate::alarm::Alarm;
use crate::clock::is_due;
use crate::config::{Carrier, NameEncoding, PeerSettings};
use crate::desk::read_small;
use crate::opening::waits_for_card;
use crate::parallel::in_parallel;
use crate::sealing;
use crate::station::{Station, StationError};
use crate::witness;

/// The name under which failures of this stage are noted.
const STAGE: &str = "receipts";
/// A receipt file is one signed receipt of a few hundred bytes.
const RECEIPT_BYTES_MAX: u64 = 16 * 1024;
/// So many bytes of receipts go into one batch: what else stands in it finds room below [`ReceiptBatch::BYTES_MAX`].
const BATCH_BYTES_MAX: usize = ReceiptBatch::BYTES_MAX / 2;
/// Receipts gather this long before they take a number of a one-way crossing: a batch costs a record and a frame.
const GATHER_MS: u64 = 1_000;
/// Where a gate moves files both ways the gap report goes back through it, once numbers have been missing for so long: as
/// long as the first round of such a link takes by default. And again after as long, while some are.
const GAPS_TOLD_AFTER_MS: u64 = 60 * 60 * 1000;
/// Batches a receiver has not confirmed are kept on a one-way crossing this long: longer than any ferry interval.
const BATCH_KEPT_MS: u64 = 14 * 24 * 60 * 60 * 1000;
/// And so many of the newest in any case: more than an hour of the busiest day, some 10 MB.
const BATCHES_KEPT: usize = 4_096;
/// Batches that wait for the next start, because this one could not read all records: half of what may wait at all, so that
/// those which wait for a card find room. What comes beyond it is taken as if its records were lost for good.
const UNREAD_BATCHES_MAX: usize = 500;

/// How a parcel came to this node, with everything a receipt must say.
#[derive(Clone, Debug)]
pub struct Came {
    /// The parcel.
    pub parcel: ParcelId,
    /// Digest of its signed statement.
    pub statement: Digest,
    /// Its origin.
    pub origin: Name,
    /// Its route.
    pub route: Name,
    /// Its type.
    pub parcel_type: Name,
    /// The node before.
    pub peer: Name,
    /// The crossing it came by.
    pub crossing: Crossing,
    /// The bundle it came in.
    pub bundle: BundleId,
    /// The crossing's numbers.
    pub epoch: u64,
    /// See `epoch`.
    pub sequence: u64,
}

impl Came {
    /// From what the index keeps.
    #[must_use]
    pub fn of_state(state: &ParcelState, came: &spool::Came) -> Came {
        Came {
            parcel: state.parcel,
            statement: state.statement,
            origin: state.origin.clone(),
            route: state.route.clone(),
            parcel_type: state.parcel_type.clone(),
            peer: came.peer.clone(),
            crossing: came.crossing,
            bundle: came.bundle,
            epoch: came.epoch,
            sequence: came.sequence,
        }
    }

    /// A record about it.
    #[must_use]
    pub fn record(&self, event: Event, now: Timestamp) -> Record {
        let mut record = Record::new(event, now);
        record.parcel = Some(self.parcel);
        record.bundle = Some(self.bundle);
        record.origin = Some(self.origin.clone());
        record.route = Some(self.route.clone());
        record.parcel_type = Some(self.parcel_type.clone());
        record.peer = Some(self.peer.clone());
        record.crossing = Some(self.crossing);
        record.epoch = Some(self.epoch);
        record.sequence = Some(self.sequence);
        record.digest = Some(self.statement);
        record
    }
}

/// What is to be said of a parcel to the nodes before.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// How it came.
    pub came: &'a Came,
    /// What became of it.
    pub outcome: Outcome,
    /// Why, where it does not go on.
    pub reason: Option<Reason>,
}

/// Makes a receipt and leaves it for the next batch home. Returns its bytes.
pub fn make(
    station: &Station,
    came: &Came,
    outcome: Outcome,
    reason: Option<Reason>,
    now: Timestamp,
) -> Result<Vec<u8>, StationError> {
    Ok(make_all(station, &[Said { came, outcome, reason }], now)?.pop().unwrap_or_default())
}

/// The same for several, which become durable together.
pub fn make_all(station: &Station, said: &[Said<'_>], now: Timestamp) -> Result<Vec<Vec<u8>>, StationError> {
    let mut left = Vec::with_capacity(said.len());
    for Said { came, outcome, reason } in said {
        let receipt = Receipt {
            version: VERSION,
            parcel: came.parcel,
            statement: came.statement,
            node: station.node.clone(),
            outcome: *outcome,
            reason: *reason,
            bundle: came.bundle,
            crossing: came.crossing,
            epoch: came.epoch,
            sequence: came.sequence,
            at: now,
            head: station.spool.head(),
        };
        let bytes = station.sign(&receipt)?.to_bytes();
        left.push(Left::new(came.crossing.back(), &came.peer, &receipt, bytes));
    }
    leave(station, &left)?;
    Ok(left.into_iter().map(|left| left.bytes).collect())
}

/// A receipt on its way into the folder where it waits for a batch.
struct Left {
    crossing: Crossing,
    name: String,
    bytes: Vec<u8>,
}

impl Left {
    fn new(crossing: Crossing, peer: &Name, receipt: &Receipt, bytes: Vec<u8>) -> Left {
        let name = format!("{peer}.{}.{}.{}.receipt", receipt.parcel, receipt.node, receipt.outcome.name());
        Left { crossing, name, bytes }
    }
}

fn leave(station: &Station, left: &[Left]) -> Result<(), StationError> {
    let Some(first) = left.first() else { return Ok(()) };
    let folders: Vec<PathBuf> = left.iter().map(|one| station.layout().receipts(one.crossing)).collect();
    let paths: Vec<PathBuf> = left.iter().zip(&folders).map(|(one, folder)| folder.join(&one.name)).collect();
    let wanted = left.iter().zip(&folders).zip(&paths);
    let wanted: Vec<Wanted<'_>> =
        wanted.map(|((one, folder), path)| Wanted { by: folder, path, bytes: &one.bytes }).collect();
    let path = station.layout().receipts(first.crossing);
    station.spool.disk().write_all(&wanted).map_err(|cause| StationError::Io { path, cause })?;
    station.spool.bell().ring();
    Ok(())
}

/// Batches receipts for every crossing that can leave by itself; the ferry's wait for the next trip.
#[derive(Default)]
pub struct Receipts {
    gathering: std::collections::HashMap<Name, Timestamp>,
    /// Since when numbers of a peer are missing that sends by a gate of files, or were last told of.
    missing: std::collections::HashMap<Name, Timestamp>,
}

impl Receipts {
    /// Sends what has gathered. Returns how many batches left.
    pub fn step(&mut self, station: &Station, now: Timestamp) -> Result<usize, StationError> {
        let mut first = First::default();
        forget_removed(station);
        let mut sent = finish_owed(station, &mut first)?;
        tell_again(station, &mut first)?;
        for peer in &station.peers {
            let left = self.send_to(station, peer, now);
            sent += usize::from(first.note(station, left)?.unwrap_or_default());
        }
        first.note(station, retire(station, now))?;
        first.error.map_or(Ok(sent), Err)
    }

    /// Is it time to tell a peer what a gate of files has not brought from it?
    fn misses_for_long(&mut self, station: &Station, peer: &PeerSettings, from: Crossing, now: Timestamp) -> bool {
        if peer.send != Carrier::Folder || peer.receive != Carrier::Folder {
            return false;
        }
        if station.spool.gaps(&peer.name, from).iter().all(|epoch| epoch.missing.is_empty()) {
            self.missing.remove(&peer.name);
            return false;
        }
        is_due(now, *self.missing.entry(peer.name.clone()).or_insert(now), GAPS_TOLD_AFTER_MS)
    }

    /// Did a batch leave for this peer?
    fn send_to(&mut self, station: &Station, peer: &PeerSettings, now: Timestamp) -> Result<bool, StationError> {
        let Some(crossing) = Crossing::between(station.zone, peer.zone) else { return Ok(false) };
        if peer.send == Carrier::Ferry {
            return Ok(false);
        }
        let waiting = waiting(station, crossing, &peer.name, now)?;
        let unsaid = !station.spool.withdrawn(crossing).is_empty()
            && !peer.send.is_two_way()
            && !self.gathering.contains_key(&peer.name);
        // What came by ferry is confirmed by a gap report the other way, once all of the trip is taken: a batch of
        // receipts has no other receipt.
        let report = peer.receive == Carrier::Ferry
            && owed(station).contains(&peer.name)
            && !station.spool.progress(&peer.name, crossing.back()).is_empty()
            && station.spool.arrivals(crossing.back()).completed()?.is_empty();
        let report = report || self.misses_for_long(station, peer, crossing.back(), now);
        if waiting.is_empty() && !unsaid && !report {
            return Ok(false);
        }
        let since = *self.gathering.entry(peer.name.clone()).or_insert(now);
        if !peer.send.is_two_way() && !is_due(now, since, GATHER_MS) && waiting.len() < BATCH_RECEIPTS_MAX {
            return Ok(false);
        }
        let sent = batch(station, crossing, &peer.name, report, now)?.is_some();
        if report {
            owed(station).remove(&peer.name);
            self.missing.remove(&peer.name);
        }
        self.gathering.insert(peer.name.clone(), now);
        Ok(sent)
    }
}

/// A receipt that failed and that somebody took away by hand fails no more.
fn forget_removed(station: &Station) {
    if station.retries.failures() == 0 {
        return;
    }
    let crossings = station.peers.iter().filter_map(|peer| Crossing::between(station.zone, peer.zone));
    let folders: Vec<PathBuf> = crossings.map(|crossing| station.layout().receipts(crossing)).collect();
    station.retries.forget(STAGE, |name| folders.iter().any(|folder| folder.join(name).exists()));
}

/// Whoever offers over a two-way crossing what we have settled lacks our receipts: they are kept with the evidence, and
/// sent once more. (A one-way link repeats everything in rounds, which says nothing.)
fn tell_again(station: &Station, first: &mut First) -> Result<(), StationError> {
    for (crossing, bundle) in station.spool.offered_again() {
        // What is not told now is told when it is offered the next time.
        first.note(station, tell_of(station, crossing, bundle))?;
    }
    Ok(())
}

fn tell_of(station: &Station, crossing: Crossing, bundle: BundleId) -> Result<(), StationError> {
    let two_way = station.peers_sending(crossing).any(|peer| peer.receive.is_two_way() && peer.send.is_two_way());
    let parcel = station.spool.parcel_of_bundle(&bundle)?.filter(|_| two_way);
    let state = parcel.map(|parcel| station.spool.parcel(&parcel)).transpose()?.flatten();
    let Some(state) = state else { return Ok(()) };
    let Some(came) = state.came.as_ref().filter(|came| came.bundle == bundle) else { return Ok(()) };
    let kept = sealing::kept_receipts(station, &state.parcel, &bundle)?.into_iter().filter_map(|bytes| {
        let receipt = Signed::parse::<Receipt>(&bytes).ok()?.read_unverified::<Receipt>().ok()?;
        Some(Left::new(crossing.back(), &came.peer, &receipt, bytes))
    });
    leave(station, &kept.collect::<Vec<_>>())
}

/// Batches that were recorded and then could not enter their outbox. One that is gone is in the outbox: it was moved there
/// before an error, and leaves with the next start.
fn finish_owed(station: &Station, first: &mut First) -> Result<usize, StationError> {
    let mut owed = station.owed_batches.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut done = 0;
    for path in std::mem::take(&mut *owed) {
        match finish(station, &path) {
            Ok(_) => done += 1,
            Err(StationError::Io { cause, .. }) if cause.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                owed.push(path);
                first.error.get_or_insert(error);
            }
        }
    }
    Ok(done)
}

fn owed(station: &Station) -> std::sync::MutexGuard<'_, std::collections::BTreeSet<Name>> {
    station.owed_reports.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Batches that wait for the next start, because some of what they are about may be on a record that this one could not
/// read.
fn unread_batches(station: &Station) -> std::sync::MutexGuard<'_, std::collections::BTreeSet<BundleId>> {
    station.unread_batches.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Old receipt batches on one-way crossings go after a while: nobody can confirm them there, and what they say comes
/// again with the next receipt of the same parcel or is answered by `resend`. Not by their date alone: one that was made
/// while the clock stood wrong and was believed is old as soon as it is right.
fn retire(station: &Station, now: Timestamp) -> Result<(), StationError> {
    if !station.clock.may_end_things() {
        return Ok(());
    }
    for peer in station.peers.iter().filter(|peer| !peer.send.is_two_way() && peer.send != Carrier::Ferry) {
        let Some(crossing) = Crossing::between(station.zone, peer.zone) else { continue };
        let outbox = station.spool.outbox(crossing);
        let mut batches = outbox.entries()?;
        batches.retain(|entry| entry.kind == EntryKind::Receipts);
        batches.sort_by_key(|entry| std::cmp::Reverse((entry.epoch, entry.sequence)));
        for entry in batches.iter().skip(BATCHES_KEPT) {
            if now.since(moment_of(&entry.id)) > BATCH_KEPT_MS {
                outbox.remove(entry)?;
            }
        }
    }
    Ok(())
}

/// Lets bundles go that a loss of power brought back into an outbox: the next node answers for them, and will not say so
/// twice. For the start, when nothing is on its way out.
pub fn let_go(station: &Station) -> Result<(), StationError> {
    for peer in &station.peers {
        let Some(crossing) = Crossing::between(station.zone, peer.zone) else { continue };
        let outbox = station.spool.outbox(crossing);
        let (mut gone, mut days) = (Vec::new(), BTreeMap::new());
        for entry in outbox.entries()?.into_iter().filter(|entry| entry.kind == EntryKind::Bundle) {
            let Some(parcel) = station.spool.parcel_of_bundle(&entry.id)? else { continue };
            let known = station.spool.parcel(&parcel)?;
            let passed = known
                .is_some_and(|known| known.custody_passed && known.sent.is_some_and(|sent| sent.bundle == entry.id));
            // Without evidence we died between the receipt's record and its end: the batch it came in is taken once more,
            // and makes the evidence from this bundle.
            let path = sealing::evidence_path(station, &parcel, &entry.id);
            if passed && path.exists() {
                days.entry(path.parent().map(Path::to_owned)).or_insert(moment_of(&parcel));
                gone.push(entry);
            }
        }
        // A process that died may have put it there a moment before: with the power it would go as it came.
        days.values().try_for_each(|moment| station.spool.evidence_lasts(*moment))?;
        gone.iter().try_for_each(|entry| outbox.remove(entry))?;
    }
    Ok(())
}

/// Does any receipt wait for a batch to this peer?
pub fn waits(station: &Station, crossing: Crossing, peer: &Name, now: Timestamp) -> Result<bool, StationError> {
    Ok(!waiting(station, crossing, peer, now)?.is_empty())
}

/// The receipts for a peer, but for those that could not be read a moment ago.
fn waiting(station: &Station, crossing: Crossing, peer: &Name, now: Timestamp) -> Result<Vec<PathBuf>, StationError> {
    let folder = station.layout().receipts(crossing);
    let io = |cause| StationError::Io { path: folder.clone(), cause };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let ours = name.ends_with(".receipt") && name.split('.').next() == Some(peer.as_str());
        if ours && station.retries.is_due(&name, now) {
            files.push(path);
        }
        if files.len() >= BATCH_RECEIPTS_MAX {
            break;
        }
    }
    files.sort();
    Ok(files)
}

/// Puts what waits for a peer into one signed batch in the outbox. `reports` adds this node's gap reports on
/// one-way crossings from that peer.
pub fn batch(
    station: &Station,
    crossing: Crossing,
    peer: &Name,
    reports: bool,
    now: Timestamp,
) -> Result<Option<BundleId>, StationError> {
    let (mut files, mut receipts, mut size) = (Vec::new(), Vec::new(), 0);
    let octets = |bytes: Vec<u8>| OctetString::new(bytes).ok();
    for path in waiting(station, crossing, peer, now)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match read_small(&path, RECEIPT_BYTES_MAX) {
            Ok(bytes) => {
                size += bytes.len();
                if size > BATCH_BYTES_MAX {
                    break;
                }
                receipts.extend(octets(bytes));
                station.retries.done(&name);
                files.push(path);
            }
            // Not removed below as if it had been sent, and no reason to keep the others back.
            Err(cause) => {
                tracing::error!(receipt = name, %cause, "a receipt cannot be read");
                station.retries.failed(STAGE, &name, &cause, now);
            }
        }
    }
    let mut gap_reports = Vec::new();
    if reports {
        let inward = crossing.back();
        let report = GapReport {
            version: VERSION,
            node: station.node.clone(),
            crossing: inward,
            at: now,
            epochs: station.spool.progress(peer, inward),
        };
        let signed = station.sign(&report)?;
        if report.epochs.iter().any(|epoch| !epoch.missing.is_empty()) {
            station.spool.record(with_crossing(Record::new(Event::GapReported, now), inward, peer), Local::none())?;
        }
        gap_reports.extend(octets(signed.to_bytes()));
    }
    let withdrawn = station.spool.withdrawn(crossing);
    if receipts.is_empty() && gap_reports.is_empty() && withdrawn.is_empty() {
        return Ok(None);
    }
    // Before a number is drawn: where nobody signs, none is.
    let (head, stated) = witness::state(station, peer, now)?;
    let (epoch, sequence) = station.spool.next_number(crossing)?;
    let id = new_id(now, keys::random());
    let batch = ReceiptBatch {
        version: VERSION,
        batch: id,
        crossing,
        source: station.node.clone(),
        target: peer.clone(),
        epoch,
        sequence,
        at: now,
        stated,
        receipts,
        gap_reports,
        withdrawn,
    };
    let bytes = match station.sign(&batch) {
        Ok(signed) => signed.to_bytes(),
        Err(error) => {
            sealing::withdraw(station, crossing, epoch, sequence, now)?;
            return Err(error);
        }
    };
    let mut record = with_crossing(Record::new(Event::ReceiptsSent, now), crossing, peer);
    record.bundle = Some(id);
    record.epoch = Some(epoch);
    record.sequence = Some(sequence);
    record.head = Some(head);
    let (kind, priority, outbox) = (EntryKind::Receipts, Priority::Urgent, station.spool.outbox(crossing));
    let small = bytes.len() <= SMALL_BYTES_MAX;
    let path = station.layout().sealing().join(format!("{id}.receipts"));
    let io = |cause| StationError::Io { path: path.clone(), cause };
    let staged = if small {
        outbox.stage(&[Small { id, kind, priority, epoch, sequence, bytes }]).map_err(StationError::from)
    } else {
        station.spool.disk().write(&path, &bytes).map_err(io)
    };
    match staged.and_then(|()| Ok(station.spool.record(record, Local::none())?)) {
        Ok(_) => {}
        // Nobody knows whether that record is on the disk: the next start does, and finds the batch where it is.
        Err(error @ StationError::Spool(SpoolError::Poisoned { .. })) => return Err(error),
        Err(error) => {
            outbox.forget(&id)?;
            station.spool.disk().remove_file(&path).map_err(io)?;
            sealing::withdraw(station, crossing, epoch, sequence, now)?;
            return Err(error);
        }
    }
    if small {
        outbox.publish(&[id]);
    } else if let Err(error) = outbox.commit(&path, &id, kind, priority, epoch, sequence) {
        station.owed_batches.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(path);
        return Err(error.into());
    }
    for file in files {
        station.spool.disk().remove_file(&file).map_err(|cause| StationError::Io { path: file, cause })?;
    }
    Ok(Some(id))
}

fn with_crossing(mut record: Record, crossing: Crossing, peer: &Name) -> Record {
    record.crossing = Some(crossing);
    record.peer = Some(peer.clone());
    record
}

/// A staged batch found at start: its number was recorded as used unless it stands among the withdrawn.
pub fn finish(station: &Station, path: &Path) -> Result<bool, StationError> {
    let bytes = std::fs::read(path).map_err(|cause| StationError::Io { path: path.to_owned(), cause })?;
    let Some(batch) =
        Signed::parse::<ReceiptBatch>(&bytes).ok().and_then(|signed| signed.read_unverified::<ReceiptBatch>().ok())
    else {
        return Ok(false);
    };
    let gone = station.spool.withdrawn(batch.crossing).iter().any(|epoch| {
        epoch.epoch == batch.epoch
            && epoch.missing.iter().any(|range| (range.from..=range.to).contains(&batch.sequence))
    });
    if gone {
        return Ok(false);
    }
    station.spool.outbox(batch.crossing).commit(
        path,
        &batch.batch,
        EntryKind::Receipts,
        Priority::Urgent,
        batch.epoch,
        batch.sequence,
    )?;
    Ok(true)
}

/// Takes a batch that arrived.
pub fn take(
    station: &Station,
    workers: usize,
    crossing: Crossing,
    entry: &Entry,
    now: Timestamp,
) -> Result<(), StationError> {
    if unread_batches(station).contains(&entry.id) {
        // All else that it says was taken. Taken once more, its apps would be told once more.
        station.alarms.raise(now, Alarm::LedgerDamaged);
        return Err(StationError::RecordUnread { id: entry.id });
    }
    let path = &entry.path;
    let io = |cause| StationError::Io { path: path.to_path_buf(), cause };
    let too_large = std::fs::metadata(path).map_err(io)?.len() > ReceiptBatch::BYTES_MAX as u64;
    let read = if too_large { Ok(None) } else { read_batch(station, crossing, &std::fs::read(path).map_err(io)?) };
    let read = match read {
        Err(error) if waits_for_card(station, path, now) => return Err(error.into()),
        read => read.unwrap_or_default(),
    };
    let Some(batch) = read.filter(|batch| batch.batch == entry.id) else {
        station.alarms.raise(now, Alarm::NotAuthentic);
        tracing::warn!(entry = %entry.id, %crossing, "a receipt batch did not verify and is held in quarantine");
        let target = station.layout().quarantine().join(path.file_name().unwrap_or_default());
        return station.spool.disk().rename(path, &target).map_err(io);
    };
    // Also of a batch whose number is taken: one of its receipts may have met an error, or a death.
    let (mut first, seen) =
        (First::default(), station.spool.seen(&batch.source, crossing, batch.epoch, batch.sequence)?);
    // Each by itself: what one of them lacks in form must not cost the others.
    let mut read = Vec::with_capacity(batch.receipts.len());
    for bytes in &batch.receipts {
        match Signed::parse::<Receipt>(bytes.as_bytes()) {
            Ok(signed) => read.push(signed),
            Err(_) => station.alarms.raise(now, Alarm::NotAuthentic),
        }
    }
    let read = read.iter().zip(in_parallel(workers, &read, |signed| proven(station, signed))).collect();
    for turn in turns(station, read, now) {
        take_receipts(station, turn, seen != Seen::New, &mut first, now)?;
    }
    if seen == Seen::New {
        for bytes in &batch.gap_reports {
            match Signed::parse::<GapReport>(bytes.as_bytes()) {
                Ok(signed) => take_gap_report(station, &batch.source, &signed, now)?,
                Err(_) => station.alarms.raise(now, Alarm::NotAuthentic),
            }
        }
        station.spool.withdraw(&batch.source, crossing, &batch.withdrawn)?;
        if station.peer(&batch.source).is_some_and(|peer| peer.receive.is_two_way()) {
            // Signed a moment ago, unless the gateway was down: a time that agrees with our wall by chance alone does not.
            station.clock.hear(batch.at);
        }
        let held = witness::take(station, &batch.source, &batch.stated, now)?;
        let mut record = with_crossing(Record::new(Event::NumberTaken, now), crossing, &batch.source);
        record.bundle = Some(batch.batch);
        record.epoch = Some(batch.epoch);
        record.sequence = Some(batch.sequence);
        record.head = held;
        station.spool.record(record, Local::none())?;
        if station.peer(&batch.source).is_some_and(|peer| peer.receive == Carrier::Ferry) {
            owed(station).insert(batch.source.clone());
        }
    }
    match first.error {
        Some(error) => {
            if !first.others {
                unread_batches(station).insert(entry.id);
            }
            Err(error)
        }
        None => station.spool.disk().remove_file(path).map_err(io),
    }
}

fn read_batch(station: &Station, crossing: Crossing, bytes: &[u8]) -> Result<Option<ReceiptBatch>, TrustError> {
    let Ok(signed) = Signed::parse::<ReceiptBatch>(bytes) else { return Ok(None) };
    let batch = from_its_node(station, &signed, |batch: &ReceiptBatch| &batch.source)?;
    Ok(batch.filter(|batch| {
        batch.crossing == crossing
            && batch.target == station.node
            && batch.receipts.len() <= BATCH_RECEIPTS_MAX
            && station.peers_sending(crossing).any(|peer| peer.name == batch.source)
    }))
}

fn proven(station: &Station, signed: &Signed) -> Option<Receipt> {
    let proven = from_its_node(station, signed, |receipt: &Receipt| &receipt.node).ok().flatten();
    if proven.is_none() {
        tracing::warn!("a receipt did not verify and was not taken");
    }
    proven
}

/// What the node that it names has signed.
///
/// # Errors
/// Only that the key is on no card: the card may still come.
fn from_its_node<T: Statement>(
    station: &Station,
    signed: &Signed,
    node: impl Fn(&T) -> &Name,
) -> Result<Option<T>, TrustError> {
    let Ok(claimed) = signed.read_unverified::<T>() else { return Ok(None) };
    match station.trust.verify_from_node(signed, node(&claimed)) {
        Err(error @ TrustError::UnknownKey { .. }) => Err(error),
        verified => Ok(verified.ok()),
    }
}

/// Proven receipts in turns, of which each tells of a parcel once: what a receipt means depends on what those before it
/// said of its parcel, and on nothing else.
fn turns(station: &Station, receipts: Vec<(&Signed, Option<Receipt>)>, now: Timestamp) -> Vec<Vec<(Receipt, Vec<u8>)>> {
    let (mut turns, mut told) = (Vec::<Vec<_>>::new(), HashMap::new());
    for (signed, receipt) in receipts {
        let Some(receipt) = receipt else {
            station.alarms.raise(now, Alarm::NotAuthentic);
            continue;
        };
        let turn = told.entry(receipt.parcel).or_insert(0_usize);
        if turns.len() <= *turn {
            turns.push(Vec::new());
        }
        turns[*turn].push((receipt, signed.to_bytes()));
        *turn += 1;
    }
    turns
}

/// A receipt about a parcel that went on from here.
struct Taking {
    state: ParcelState,
    sent: spool::Sent,
    receipt: Receipt,
    bytes: Vec<u8>,
    /// What still stands in the outbox.
    entry: Option<Entry>,
    /// Its batch comes once more: it is on record, and was passed on to the node before.
    passed_on: bool,
}

/// Keeps the first error of several, while the others go on.
#[derive(Default)]
struct First {
    error: Option<StationError>,
    /// Was there another than that a record could not be read?
    others: bool,
}

impl First {
    fn note<T>(&mut self, station: &Station, result: Result<T, StationError>) -> Result<Option<T>, StationError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.concerns_all(&station.spool) => Err(error),
            Err(error) => {
                self.others |= !matches!(error, StationError::RecordUnread { .. });
                self.error.get_or_insert(error);
                Ok(None)
            }
        }
    }
}

/// Receipts about as many parcels: recorded, passed on, kept as evidence, and only then the bundles go. What is about a
/// parcel that did not pass here is ignored. What fails for one of them alone (its notice, its evidence) is left undone
/// for that one and noted: the batch comes `again`, and then records nothing that it recorded before.
fn take_receipts(
    station: &Station,
    receipts: Vec<(Receipt, Vec<u8>)>,
    again: bool,
    first: &mut First,
    now: Timestamp,
) -> Result<(), StationError> {
    let mut taking = Vec::with_capacity(receipts.len());
    for (receipt, bytes) in receipts {
        taking.extend(first.note(station, fitting(station, receipt, bytes, again, now))?.flatten());
    }
    let mut records = Vec::with_capacity(2 * taking.len());
    for Taking { state, sent, receipt, entry, passed_on, .. } in &taking {
        // Still in the outbox although it passed on: an earlier take of this batch came no further.
        if !(*passed_on || entry.is_some() && is_known(state, receipt)) {
            records.push((said_by(Event::ReceiptTaken, receipt, now), Local::none()));
        }
        // The next node, or one behind it, answers for it now, whatever it did with it: our copy may go. The next node's
        // own receipt may have been lost where this one was not.
        if entry.is_some() && !state.custody_passed {
            let mut passed = Record::new(Event::CustodyPassed, now);
            passed.parcel = Some(receipt.parcel);
            passed.bundle = Some(sent.bundle);
            passed.peer = Some(receipt.node.clone());
            passed.crossing = Some(sent.crossing);
            records.push((passed, Local::none()));
        }
    }
    station.spool.record_all(records)?;
    let on = taking.iter().filter(|taking| !taking.passed_on).filter_map(|Taking { state, receipt, bytes, .. }| {
        let came = state.came.as_ref()?;
        Some(Left::new(came.crossing.back(), &came.peer, receipt, bytes.clone()))
    });
    leave(station, &on.collect::<Vec<_>>())?;
    let proven = keep_proofs(station, &taking, first)?;
    for (Taking { state, sent, receipt, entry, .. }, proven) in taking.iter().zip(proven) {
        if let Some(entry) = entry.as_ref().filter(|_| proven) {
            let removed = station.spool.outbox(sent.crossing).remove(entry);
            first.note(station, removed.map_err(StationError::from))?;
        }
        if state.came.is_none() {
            first.note(station, tell(station, state, receipt, now))?;
        }
    }
    Ok(())
}
/// Does the ledger say already what this receipt says?
fn is_known(state: &ParcelState, receipt: &Receipt) -> bool {
    let ended = state.state.is_terminal() && state.state != spool::State::Expired;
    state.custody_passed && (ended || matches!(receipt.outcome, Outcome::Arrived | Outcome::Duplicate))
}

/// Keeps the evidence of all, and says of which it is kept or not to be had any more. Where what they share fails, each is
/// tried by itself.
fn keep_proofs(station: &Station, taking: &[Taking], first: &mut First) -> Result<Vec<bool>, StationError> {
    let mut proofs = Vec::with_capacity(taking.len());
    for Taking { sent, receipt, bytes, .. } in taking {
        proofs.push(first.note(station, sealing::proof_of_sent(station, &receipt.parcel, sent, vec![bytes.clone()]))?);
    }
    match sealing::keep_evidence(station, proofs.iter().flatten().flatten().cloned().collect()) {
        Ok(()) => Ok(proofs.iter().map(Option::is_some).collect()),
        Err(error) if error.concerns_all(&station.spool) => Err(error),
        Err(_) => {
            let alone = proofs.into_iter().map(|proof| match proof {
                Some(proof) => {
                    let kept = sealing::keep_evidence(station, proof.into_iter().collect());
                    first.note(station, kept).map(|kept| kept.is_some())
                }
                None => Ok(false),
            });
            alone.collect()
        }
    }
}

/// A record of what a receipt said.
fn said_by(event: Event, receipt: &Receipt, now: Timestamp) -> Record {
    let mut record = Record::new(event, now);
    record.parcel = Some(receipt.parcel);
    record.bundle = Some(receipt.bundle);
    record.peer = Some(receipt.node.clone());
    record.crossing = Some(receipt.crossing);
    record.outcome = Some(receipt.outcome);
    record.reason = receipt.reason;
    record.digest = Some(receipt.statement);
    record
}

/// Is the receipt about a parcel that went on from here, by a node that may say it?
fn fitting(
    station: &Station,
    receipt: Receipt,
    bytes: Vec<u8>,
    again: bool,
    now: Timestamp,
) -> Result<Option<Taking>, StationError> {
    let known = station.spool.parcel(&receipt.parcel)?;
    let went_on = known.as_ref().is_some_and(|known| known.sent.is_some());
    if !went_on && station.spool.records_may_return() && unread_batches(station).len() < UNREAD_BATCHES_MAX {
        // Passed over now, it would not come again: that the parcel was here, or that it went on, may be on such a record.
        station.alarms.raise(now, Alarm::LedgerDamaged);
        return Err(StationError::RecordUnread { id: receipt.parcel });
    }
    if known.as_ref().is_none_or(|known| known.state == spool::State::Lost) {
        return lost_known(station, &receipt, known.as_ref(), now).map(|()| None);
    }
    let Some(state) = known else { return Ok(None) };
    let Some(sent) = state.sent.clone().filter(|_| state.statement == receipt.statement) else {
        tracing::warn!(parcel = %receipt.parcel, "a receipt names another statement than the one sent; not taken");
        return Ok(None);
    };
    if !stands_behind(station, &state, &sent, &receipt) {
        tracing::warn!(parcel = %receipt.parcel, node = %receipt.node, "a receipt by a node that does not stand behind this one on the parcel's way; not taken");
        station.alarms.raise(now, Alarm::NotAuthentic);
        return Ok(None);
    }
    let entry = station.spool.outbox(sent.crossing).find(&sent.bundle)?;
    let passed_on = again && is_known(&state, &receipt);
    Ok(Some(Taking { state, sent, receipt, bytes, entry, passed_on }))
}

/// After a restore: a receipt about a parcel that went on from here after the backup. Its record went with the disk; that
/// it was here, and what became of it, is on record from now on. Every other receipt about a stranger is passed over.
fn lost_known(
    station: &Station,
    receipt: &Receipt,
    known: Option<&ParcelState>,
    now: Timestamp,
) -> Result<(), StationError> {
    let left_here = receipt.crossing.source() == station.zone
        && station.peers_receiving(receipt.crossing).any(|peer| peer.name == receipt.node);
    if station.spool.restored().is_none() || !left_here {
        return Ok(());
    }
    if known.is_some_and(|known| known.custody_passed && known.statement == receipt.statement) {
        return Ok(());
    }
    station.spool.record(said_by(Event::LostKnown, receipt, now), Local::none())?;
    Ok(())
}

/// Does the node that signs stand behind this one on the parcel's way? Only such a node can answer for it. Any other,
/// the origin among them, knows parcel and statement from the clear head as well, and could have us let go of the only
/// copy, or end a parcel that is still under way.
fn stands_behind(station: &Station, state: &ParcelState, sent: &spool::Sent, receipt: &Receipt) -> bool {
    let of_ours = receipt.bundle == sent.bundle;
    if of_ours && receipt.crossing != sent.crossing {
        return false;
    }
    match station.route(&state.route) {
        Some(route) => {
            let place = |node: &Name| route.path.iter().position(|one| one == node);
            place(&station.node).zip(place(&receipt.node)).is_some_and(|(here, there)| there > here)
        }
        // The route was taken out of the config while the parcel was under way.
        None => of_ours && station.peers_receiving(sent.crossing).any(|peer| peer.name == receipt.node),
    }
}

/// The origin learns: a notice in the route's folder.
fn tell(station: &Station, state: &ParcelState, receipt: &Receipt, now: Timestamp) -> Result<(), StationError> {
    let ended = matches!(state.state, spool::State::Delivered | spool::State::Refused | spool::State::Quarantined);
    let word = match receipt.outcome {
        // A later "arrived" of a parcel that was delivered long ago tells nothing new.
        Outcome::Arrived | Outcome::Duplicate if ended => return Ok(()),
        Outcome::Arrived => NoticeState::Sent,
        Outcome::Delivered => NoticeState::Delivered,
        Outcome::Refused => NoticeState::Refused,
        Outcome::Quarantined => NoticeState::Quarantined,
        Outcome::Duplicate => NoticeState::Duplicate,
    };
    let details = serde_json::json!({ "by": receipt.node, "said_at": receipt.at.to_string() });
    notify(station, state, word, receipt.reason, details, now)
}

/// Writes the notice of a parcel that began here.
pub(crate) fn notify(
    station: &Station,
    state: &ParcelState,
    word: NoticeState,
    reason: Option<Reason>,
    details: serde_json::Value,
    now: Timestamp,
) -> Result<(), StationError> {
    let name = state.name.clone().unwrap_or_else(|| state.parcel.to_string());
    let claimed = moment_of(&state.parcel);
    let notice = Notice {
        parcel: state.parcel,
        name: as_dropped(station, state, name),
        route: state.route.clone(),
        state: word,
        reason,
        claimed,
        at: now,
        details,
    };
    station.spool.notice(&state.route, &notice)?;
    Ok(())
}

/// A name of the ledger as its app wrote it. The spool keeps the bytes from the first notice to the last; before the first
/// and behind the last, where a death has a word said out of turn, the claim or the notice that stands says it.
fn as_dropped(station: &Station, state: &ParcelState, name: String) -> OsString {
    if station.route(&state.route).is_some_and(|route| route.names == NameEncoding::Gb18030) {
        let (bytes, _, unmappable) = encoding_rs::GB18030.encode(&name);
        let bytes = OsString::from_vec(bytes.into_owned());
        if !unmappable && bytes.to_str().is_none() && station.spool.was_dropped_as(&state.route, state.parcel, &bytes) {
            return bytes;
        }
    }
    name.into()
}

/// What a receiver is missing of ours is sent again: the entries still stand in the outbox, the link is told.
fn take_gap_report(station: &Station, source: &Name, signed: &Signed, now: Timestamp) -> Result<(), StationError> {
    let Ok(report) = station.trust.verify_from_node::<GapReport>(signed, source) else {
        station.alarms.raise(now, Alarm::NotAuthentic);
        return Ok(());
    };
    // About its own side of a border and no other: by what it does not miss, receipts of ours are let go.
    if report.node != *source || !station.peers_receiving(report.crossing).any(|peer| peer.name == *source) {
        tracing::warn!(node = %source, crossing = %report.crossing, "a gap report about a crossing that does not lead to its node; not taken");
        station.alarms.raise(now, Alarm::NotAuthentic);
        return Ok(());
    }
    station
        .spool
        .record(with_crossing(Record::new(Event::GapReportTaken, now), report.crossing, source), Local::none())?;
    // Numbers of a process whose record went with a lost disk: nobody will ever send them, and the receiver is told.
    station.spool.withdraw_unknown(report.crossing, &report.epochs, now)?;
    let outbox = station.spool.outbox(report.crossing);
    let entries = outbox.entries()?;
    let missing = |entry: &Entry| {
        report.epochs.iter().any(|epoch| {
            epoch.epoch == entry.epoch
                && epoch.missing.iter().any(|range| (range.from..=range.to).contains(&entry.sequence))
        })
    };
    for entry in entries {
        if missing(&entry) {
            resend(station, report.crossing, &entry, now)?;
        } else if entry.kind == EntryKind::Receipts
            && report.at > moment_of(&entry.id)
            && known_through(&report, &entry)
        {
            // Named neither missing nor unknown: it arrived, and a batch needs no other receipt.
            outbox.remove(&entry)?;
        }
    }
    Ok(())
}

fn known_through(report: &GapReport, entry: &Entry) -> bool {
    report.epochs.iter().any(|epoch| epoch.epoch == entry.epoch && entry.sequence <= epoch.through)
}

/// Asks the link to send an entry again from its first round.
pub fn resend(station: &Station, crossing: Crossing, entry: &Entry, now: Timestamp) -> Result<(), StationError> {
    let mut record = Record::new(Event::Resent, now);
    record.bundle = Some(entry.id);
    record.crossing = Some(crossing);
    record.epoch = Some(entry.epoch);
    record.sequence = Some(entry.sequence);
    station.spool.record(record, Local::none())?;
    station.spool.outbox(crossing).ask_again(entry);
    let parcel = station.spool.parcel_of_bundle(&entry.id)?;
    let state = parcel.map(|parcel| station.spool.parcel(&parcel)).transpose()?.flatten();
    if let Some(state) = state.filter(|state| state.origin == station.node) {
        notify(station, &state, NoticeState::Resent, None, serde_json::Value::Null, now)?;
    }
    Ok(())
}
