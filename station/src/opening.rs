//! From an arrived file to an inspected parcel in a private place: the envelope, the signatures, the parcel's own bytes,
//! the guard. Records nothing, tells nobody and leaves the file where it is, so it may die anywhere.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use guard::{Finding, Judgement, Moment, Parcel, Question, Released};
use protocol::bundle::{self, BundleError, Sink};
use protocol::envelope::Envelope;
use protocol::evidence::Evidence;
use protocol::keys::KeyError;
use protocol::parcel::{Manifest, ParcelError};
use protocol::receipt::Outcome;
use protocol::trust::TrustError;
use protocol::{Crossing, Digest, Reason, Signed, Timestamp};
use spool::{Disk, Outlet, Seen, State, is_litter};

use crate::alarm::Alarm;
use crate::config::{NameEncoding, RouteSettings};
use crate::drop::{self, Drop, DropError};
use crate::housekeeping::{DAY_MS, has_rested};
use crate::receipts::Came;
use crate::retries::item_of;
use crate::sealing::{self, Why};
use crate::station::{Station, StationError, is_no_room};

/// A bundle is read in pieces of this size.
const READ_BUFFER_BYTES: usize = 256 * 1024;

/// An opened and inspected bundle.
pub(crate) struct Admitted {
    pub(crate) envelope: Envelope,
    pub(crate) manifest: Manifest,
    pub(crate) statement: Signed,
    pub(crate) custody: Vec<Signed>,
    pub(crate) came: Came,
    pub(crate) route: RouteSettings,
    pub(crate) released: Released<Drop>,
    pub(crate) evidence: Evidence,
    pub(crate) place: PathBuf,
}

/// Why a bundle is not admitted.
pub(crate) enum Obstacle {
    /// The disk, or something else of ours: try again.
    Later(StationError),
    /// The bundle itself, before its origin is proven: nobody can be told.
    Bundle(Reason, String),
    /// The parcel inside: the nodes before are told. Is its content sealed to the office's security key by now?
    Parcel(Box<(Came, Reason, bool)>),
}

/// How a bundle came to this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// By the carrier of its crossing, under a number.
    Carried,
    /// In somebody's hand, under none.
    ByHand,
}

impl Manner {
    /// Numbers begin with the epoch of a start, which is never 0.
    fn of(envelope: &Envelope) -> Manner {
        if (envelope.epoch, envelope.sequence) == (0, 0) { Manner::ByHand } else { Manner::Carried }
    }
}

impl From<StationError> for Obstacle {
    fn from(error: StationError) -> Self {
        Obstacle::Later(error)
    }
}

impl From<spool::SpoolError> for Obstacle {
    fn from(error: spool::SpoolError) -> Self {
        Obstacle::Later(error.into())
    }
}

/// Every step between a file and an inspected parcel.
pub(crate) fn open(
    station: &Station,
    crossing: Crossing,
    path: &Path,
    manner: Manner,
    now: Timestamp,
) -> Result<Admitted, Obstacle> {
    let envelope = peek(path).map_err(|error| obstacle(station, path, now, error))?;
    if envelope.crossing != crossing
        || envelope.target != station.node
        || !station.peers_sending(crossing).any(|peer| peer.name == envelope.source)
    {
        return Err(Obstacle::Bundle(
            Reason::NoRoute,
            format!("sealed by {} for {} over {}", envelope.source, envelope.target, envelope.crossing),
        ));
    }
    match (manner, Manner::of(&envelope)) {
        (Manner::Carried, Manner::ByHand) => {
            let words = "it has no number: it was sealed by hand, and no carrier takes such a bundle".to_owned();
            return Err(Obstacle::Bundle(Reason::NotAuthentic, words));
        }
        (Manner::ByHand, Manner::Carried) => {
            let words = "it has a number: it comes by the carrier of its crossing and is not opened by hand".to_owned();
            return Err(Obstacle::Bundle(Reason::NoRoute, words));
        }
        _ => {}
    }
    let named = path.file_stem().is_some_and(|stem| *stem == *envelope.bundle.to_string());
    if manner == Manner::Carried && !named {
        return Err(Obstacle::Bundle(
            Reason::NotAuthentic,
            "its envelope names another bundle than it came as".to_owned(),
        ));
    }
    let custody = envelope.prove(&station.trust).map_err(|error| obstacle(station, path, now, error.into()))?;
    let statement = &custody.statement;
    let came = Came {
        parcel: statement.parcel,
        statement: custody.statement_digest,
        origin: statement.origin.clone(),
        route: statement.route.clone(),
        parcel_type: statement.parcel_type.clone(),
        peer: envelope.source.clone(),
        crossing,
        bundle: envelope.bundle,
        epoch: envelope.epoch,
        sequence: envelope.sequence,
    };
    if let Some(answer) = answered(station, &envelope, &came, manner)? {
        prove_whole(station, path, now)?;
        return Err(answer);
    }
    let Some(route) = station.fits(statement, &envelope.source) else {
        prove_whole(station, path, now)?;
        return Err(Obstacle::Parcel(Box::new((came, Reason::NoRoute, false))));
    };
    let Some(rules) = station.rules.get(&crossing) else {
        prove_whole(station, path, now)?;
        return Err(Obstacle::Parcel(Box::new((came, Reason::NoRoute, false))));
    };

    let parcel = statement.parcel;
    if manner == Manner::ByHand && statement.target != station.node {
        prove_whole(station, path, now)?;
        return Err(Obstacle::Parcel(Box::new((came, Reason::NoRoute, false))));
    }
    // Exactly the file or the folder that the parcel is, under no name of its own.
    let place = if statement.target == station.node && manner == Manner::Carried {
        Outlet::open(&station.spool, &route.name)?.stage(&parcel)?
    } else {
        station.layout().opening().join(parcel.to_string())
    };
    let io_at = |path: &Path| {
        let path = path.to_owned();
        move |cause| Obstacle::Later(StationError::Io { path, cause })
    };
    station.spool.disk().remove_tree(&place).map_err(io_at(&place))?;
    // Once opened it stands there beside the bundle.
    let (bytes, above) = (std::fs::metadata(path).map_err(io_at(path))?.len(), place.parent().unwrap_or(&place));
    if bytes > spool::SMALL_BYTES_MAX as u64 {
        station.spool.room_at(above, bytes).map_err(|error| Obstacle::Later(error.into()))?;
    }
    let wipe = |obstacle: Obstacle| match station.spool.disk().remove_tree(&place) {
        Ok(()) => obstacle,
        Err(cause) => Obstacle::Later(StationError::Io { path: place.clone(), cause }),
    };

    let file = File::open(path).map_err(io_at(path))?;
    let opened = bundle::open(
        &mut BufReader::with_capacity(READ_BUFFER_BYTES, file),
        &station.trust,
        station.keyring.opening_for(&envelope.recipient),
        &mut Staging::new(station.spool.disk(), &place),
    )
    .map_err(|error| {
        // Only writing meets a full disk, and it may be a mount of the outlet's own.
        let full = matches!(&error, BundleError::Io(cause) if is_no_room(cause));
        wipe(obstacle(station, if full { &place } else { path }, now, error))
    })?;

    let held =
        Drop::read_as(&place, opened.manifest.name.as_ref(), NameEncoding::Utf8).map_err(|error| match error {
            DropError::Io { place, cause } => wipe(Obstacle::Later(StationError::Io { path: place, cause })),
            DropError::Unfit { reason, .. } => wipe(Obstacle::Parcel(Box::new((came.clone(), reason, false)))),
        })?;
    if !is_all(&opened.manifest, &held) {
        return Err(wipe(Obstacle::Parcel(Box::new((came, Reason::BadName, false)))));
    }
    let refused = |drop: &Drop, reason, findings: &[Finding]| {
        let reason = incident(crossing, reason);
        match sealing::set_aside(station, parcel, drop, crossing, &Why { reason: Some(reason), findings }, now) {
            Ok(sealed) => wipe(Obstacle::Parcel(Box::new((came.clone(), reason, sealed)))),
            Err(error) => wipe(Obstacle::Later(error)),
        }
    };
    if crossing.lands_outside()
        && let Some(reason) =
            look_at_labels(station, crossing, &opened.manifest).map_err(|error| wipe(Obstacle::Later(error)))?
    {
        return Err(refused(&held, reason, &[]));
    }
    let types = [statement.parcel_type.clone()];
    let question = Question { rules, suite: envelope.suite, moment: Moment::Admission, types: &types, stripped: false };
    let released = match drop::inspect(
        &station.sandbox,
        station.scanner.as_ref(),
        &question,
        &station.exceptions.standing(crossing, now),
        held,
    )
    .map_err(|error| wipe(Obstacle::Later(error)))?
    {
        Judgement::Released(released) => released,
        Judgement::Refused { parcel, reason, findings } | Judgement::Quarantine { parcel, reason, findings } => {
            return Err(refused(&parcel, reason, &findings));
        }
        Judgement::Strip { parcel, .. } => return Err(refused(&parcel, Reason::Coordinates, &[])),
    };
    let papers = |error: protocol::der_types::DerError| obstacle(station, path, now, BundleError::from(error));
    Ok(Admitted {
        statement: envelope.signed_statement().map_err(papers)?,
        custody: envelope.signed_custody().map_err(papers)?,
        route: route.clone(),
        manifest: opened.manifest,
        evidence: Evidence {
            envelope: opened.verified.envelope_bytes,
            footer: opened.verified.footer_bytes,
            receipts: Vec::new(),
        },
        envelope,
        came,
        released,
        place,
    })
}

/// What is to be said of a parcel or a number that is known here already.
fn answered(
    station: &Station,
    envelope: &Envelope,
    came: &Came,
    manner: Manner,
) -> Result<Option<Obstacle>, StationError> {
    let parcel = |reason| Ok(Some(Obstacle::Parcel(Box::new((came.clone(), reason, false)))));
    let known = station.spool.parcel(&came.parcel)?;
    if known.as_ref().is_some_and(|known| known.statement != Digest::default() && known.origin != came.origin) {
        // To call it a duplicate would tell its origin that it was delivered. (One origin may state a parcel twice: a drop
        // that was claimed when a backup was made is sealed again after the restore.)
        let words = format!(
            "parcel {} is on record here as {}'s",
            came.parcel,
            known.as_ref().map_or("another node", |known| known.origin.as_str())
        );
        return Ok(Some(Obstacle::Bundle(Reason::NotAuthentic, words)));
    }
    if known.as_ref().is_some_and(|known| known.state == State::Lost && !known.custody_passed) {
        // It was here before the disk was lost, and nobody can say that it was delivered: it comes in and waits.
        return Ok(None);
    }
    if known.as_ref().is_none_or(|known| known.state == State::Arrived && !known.admitted)
        && let Some(ended) = sealing::ended_here(station, &came.parcel, &envelope.bundle)?
    {
        // The ledger lost the record of it.
        let refused = ended.reason.filter(|_| ended.outcome == Outcome::Refused);
        return parcel(refused.unwrap_or(Reason::Duplicate));
    }
    let ours =
        known.as_ref().is_some_and(|known| known.came.as_ref().is_some_and(|came| came.bundle == envelope.bundle));
    if manner == Manner::ByHand {
        // There is no number to have been used before. Power that goes may leave of the two records of an opening the first:
        // then it was not answered, and is opened once more.
        let half = ours && known.as_ref().is_some_and(|known| known.state == State::Arrived);
        return if known.is_some() && !half { parcel(Reason::Duplicate) } else { Ok(None) };
    }
    if !ours {
        match station.spool.seen(&envelope.source, envelope.crossing, envelope.epoch, envelope.sequence)? {
            Seen::New => {}
            // We died between the record of a refusal and the end of it: it is refused once more, not a duplicate.
            Seen::Before
                if known.as_ref().is_some_and(|known| known.state == State::Refused && known.came.is_none()) =>
            {
                let reason = known.and_then(|known| known.reason).unwrap_or(Reason::NoRoute);
                return parcel(reason);
            }
            Seen::Before | Seen::BelowFloor if known.is_some() => {
                return parcel(Reason::Duplicate);
            }
            Seen::Before | Seen::BelowFloor => {
                return Ok(Some(Obstacle::Bundle(Reason::Replayed, "its number was used before".to_owned())));
            }
        }
        if known.is_some() {
            return parcel(Reason::Duplicate);
        }
    }
    Ok(None)
}

/// Id and numbers stand in the envelope, and only the foot proves the envelope: statement and entries can be copied from
/// the head of any bundle. Nothing is recorded under a number, and no receipt signed, on the word of such a copy.
fn prove_whole(station: &Station, path: &Path, now: Timestamp) -> Result<(), Obstacle> {
    let file = File::open(path).map_err(|error| obstacle(station, path, now, error.into()))?;
    let mut input = BufReader::with_capacity(READ_BUFFER_BYTES, file);
    bundle::verify(&mut input, &station.trust).map(drop).map_err(|error| obstacle(station, path, now, error))
}

/// Is what stands on the disk, and was looked at, all that the manifest names and nothing else? A walk passes over what
/// desktops leave behind, so a node that names a file so would have it delivered without a look.
fn is_all(manifest: &Manifest, held: &Drop) -> bool {
    let hidden = |path: &str| path.split('/').any(|part| is_litter(part.as_ref()));
    let mut named: Vec<(&str, u64)> = manifest.files.iter().map(|file| (file.path.as_str(), file.size)).collect();
    named.sort_unstable();
    !hidden(&manifest.name)
        && !manifest.files.iter().any(|file| hidden(&file.path))
        && held.files().iter().map(|file| (file.path.as_str(), file.size)).eq(named)
}

/// Labels and the bytes of names travel in the manifest, beside the files: they are content too.
fn look_at_labels(station: &Station, crossing: Crossing, manifest: &Manifest) -> Result<Option<Reason>, StationError> {
    let labels = manifest.labels.iter().map(|label| format!("{}={}\n", label.name, label.value));
    let names = manifest.files.iter().filter_map(|file| file.original.as_ref());
    let names = names.map(|name| format!("{}\n", encoding_rs::GB18030.decode(name.as_bytes()).0));
    let text: String = labels.chain(names).collect();
    if text.is_empty() {
        return Ok(None);
    }
    let mut visit = station.sandbox.visit(crossing);
    let found = guard::detect_by(&mut visit, "labels.txt", text.as_bytes());
    match (visit.trouble(), found.map(|found| found.verdict)) {
        (Some(cause), _) => Err(StationError::Io { path: "sandbox".into(), cause }),
        (None, Ok(guard::DetectVerdict::Coordinates)) => Ok(Some(Reason::Coordinates)),
        (None, Ok(_)) => Ok(None),
        (None, Err(_)) => Ok(Some(Reason::NotInspectable)),
    }
}

/// Coordinates that come down from a higher zone are not a refusal but an incident.
pub(crate) fn incident(crossing: Crossing, reason: Reason) -> Reason {
    let from_above = crossing.source() > crossing.target();
    if reason == Reason::Coordinates && from_above { Reason::Incident } else { reason }
}

fn obstacle(station: &Station, path: &Path, now: Timestamp, error: BundleError) -> Obstacle {
    let words = error.to_string();
    match error {
        BundleError::Parcel(ParcelError::Trust(error @ TrustError::UnknownKey { .. }))
            if waits_for_card(station, path, now) =>
        {
            Obstacle::Later(error.into())
        }
        BundleError::Io(cause) => Obstacle::Later(StationError::Io { path: path.to_owned(), cause }),
        BundleError::OtherRecipient { .. }
        | BundleError::Key(KeyError::CannotUnwrap)
        | BundleError::Parcel(ParcelError::Trust(TrustError::UnknownKey { .. })) => {
            Obstacle::Bundle(Reason::UnknownKey, words)
        }
        BundleError::NotABundle { .. }
        | BundleError::CutShort { .. }
        | BundleError::Trailing
        | BundleError::TooLarge { .. }
        | BundleError::Parcel(ParcelError::Der(_)) => Obstacle::Bundle(Reason::Malformed, words),
        _ => Obstacle::Bundle(Reason::NotAuthentic, words),
    }
}

/// A card is a file that somebody copies: here before what its key signs, or some days after it. What comes too early
/// waits, so many things at once and so many days; what is more is held in quarantine.
pub(crate) fn waits_for_card(station: &Station, path: &Path, now: Timestamp) -> bool {
    const DAYS: u64 = 7;
    let item = item_of(path);
    let old = station.clock.may_end_things() && has_rested(station.spool.disk(), path, now, DAYS * DAY_MS);
    let waits = !old && station.retries.may_wait(&item);
    if waits && station.retries.of(&item).is_none() {
        station.alarms.raise(now, Alarm::NotAuthentic);
    }
    waits
}

pub(crate) fn peek(path: &Path) -> Result<Envelope, BundleError> {
    bundle::peek(&mut BufReader::new(File::open(path)?))
}

/// Plaintext of a bundle on its way into a private place. Nothing of it is synced: where it is to last, the outlet does.
pub(crate) struct Staging<'a> {
    disk: &'a Disk,
    top: PathBuf,
    files: Vec<(PathBuf, bool)>,
    folders: HashSet<PathBuf>,
    out: Option<BufWriter<File>>,
    /// For one person's eyes, and never to be run.
    for_one: bool,
}

impl<'a> Staging<'a> {
    pub(crate) fn new(disk: &'a Disk, top: &Path) -> Self {
        Staging { disk, top: top.to_owned(), files: Vec::new(), folders: HashSet::new(), out: None, for_one: false }
    }

    /// Of what nobody but the one who opens it is to read.
    pub(crate) fn for_one(disk: &'a Disk, top: &Path) -> Self {
        Staging { for_one: true, ..Staging::new(disk, top) }
    }

    /// The parcel's own folder or one below: the manifest was checked, so no path climbs.
    fn make_folder(&mut self, folder: &Path) -> io::Result<()> {
        if self.folders.contains(folder) || !folder.starts_with(&self.top) {
            return Ok(());
        }
        if let Some(above) = folder.parent() {
            self.make_folder(above)?;
        }
        self.disk.create_dir_lazy(folder)?;
        self.folders.insert(folder.to_owned());
        Ok(())
    }
}

impl Sink for Staging<'_> {
    fn manifest(&mut self, manifest: &Manifest) -> io::Result<()> {
        let top = self.top.clone();
        if manifest.folder {
            self.make_folder(&top)?;
        }
        self.files = manifest
            .files
            .iter()
            .map(|file| (if manifest.folder { top.join(&file.path) } else { top.clone() }, file.executable))
            .collect();
        Ok(())
    }

    fn begin(&mut self, index: usize) -> io::Result<()> {
        let (path, _) = self.files.get(index).cloned().ok_or_else(|| io::Error::other("no such file"))?;
        if let Some(folder) = path.parent() {
            self.make_folder(folder)?;
        }
        self.out = Some(BufWriter::with_capacity(READ_BUFFER_BYTES, self.disk.create(&path)?));
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.as_mut().map_or(Ok(()), |out| out.write_all(bytes))
    }

    fn end(&mut self, index: usize) -> io::Result<()> {
        let Some(out) = self.out.take() else { return Ok(()) };
        let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        if self.for_one {
            file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        } else if self.files.get(index).is_some_and(|(_, executable)| *executable) {
            file.set_permissions(std::fs::Permissions::from_mode(0o770))?;
        }
        Ok(())
    }
}
