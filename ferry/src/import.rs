//! Import: verifies a medium's trips with public keys alone, copies what the waybill names into the desk, and asks the
//! daemon to take it in. The daemon verifies everything again. What is not on the waybill is listed and never opened.
//!
//! The medium is read once: each file is copied under its digest, and verified as a bundle where it now lies. A trip in
//! the desk is whole or absent: it is built in a `.tmp-` folder, and the rename is the commit.

use std::fs::File;
use std::io::BufReader;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::bundle::{self, BundleError};
use protocol::der_types::OBJECT_BYTES_MAX;
use protocol::receipt::ReceiptBatch;
use protocol::waybill::{LineKind, Waybill, WaybillLine, line_file_name};
use protocol::{Signed, Timestamp, Trust};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde_json::json;
use spool::disk::Disk;

use crate::approve::put;
use crate::copies::{self, Found};
use crate::copying::{CopyError, copy_line, read_line, room, write_error};
use crate::crew;
use crate::desk::{CARRY_WAIT_MS, DESK_FILE, DESK_FOLDER, Desk, DeskError, TripLine};
use crate::folder::{Folder, FolderError};
use crate::gather::{GatherError, Gathered, Gathering, forget_volumes};
use crate::keyfile::{KeyFileError, KeyFrom, Person};
use crate::medium::{Medium, MediumError, strangers};
use crate::papers::{Countersigned, Papers, PapersError, WAYBILL};
use crate::parity::Damage;
use crate::trustdir::{self, TrustDirError};
use crate::volume::Layout;
use crate::wipe::{self, Wipe, Wiped};
use crate::words::{Voice, groups, say, shown, size};

/// What the daemon leaves in a trip's folder when it has taken the trip in. Whoever removed it would let the trip in twice.
const DAEMONS_NOTE: &str = "trip.json";

/// Lines that are copied and verified by all cores before anybody asks whether one of them failed.
const COPIED_TOGETHER: usize = 32;

/// The node answers its desk several times a second; where it is away the operator does not wait for a record.
const TELL_WAIT_MS: u64 = 10_000;
/// Trips that were imported before and are told one by one: a medium has a handful.
const REPEATED_MAX: usize = 16;

/// Names of strangers that are told: a page. A medium full of junk does not scroll its alarm away.
const NAMED_MAX: usize = 64;

/// What stops an import.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The desk.
    #[error(transparent)]
    Desk(#[from] DeskError),
    /// The medium, or the papers.
    #[error(transparent)]
    Medium(#[from] MediumError),
    /// The trust folder.
    #[error(transparent)]
    Trust(#[from] TrustDirError),
    /// A trip for somebody else.
    #[error("trip {trip} goes from {source_node} to {target}; this is {here}")]
    Foreign { trip: u64, source_node: String, target: String, here: String },
    /// A file of the waybill that proves something else, or nothing.
    #[error("{file} of trip {trip}: {cause}")]
    NotAuthentic { trip: u64, file: String, cause: String },
    /// Somebody else imports right now.
    #[error("another import into this desk is running; trip {trip} was not begun")]
    Busy { trip: u64 },
    /// A volume that is not whole.
    #[error(transparent)]
    Volume(GatherError),
    /// A medium on which nothing can be removed, and that was to be wiped.
    #[error("nothing can be removed from the medium at {}", path.display())]
    Fixed { path: PathBuf },
    /// Everything else was done; these folders are named as trips and are none.
    #[error("{} of the numbered folders on the medium are no trips", trips.len())]
    NoTrips { medium: PathBuf, trips: Vec<u64> },
    /// What is in the node, and not yet gone from the medium.
    #[error("trip {trip} is imported, and not all of it is gone from the medium: {cause}")]
    NotWiped { trip: u64, cause: Box<MediumError> },
}

impl From<PapersError> for ImportError {
    fn from(error: PapersError) -> Self {
        ImportError::Medium(error.into())
    }
}
impl From<CopyError> for ImportError {
    fn from(error: CopyError) -> Self {
        ImportError::Medium(error.into())
    }
}
impl From<FolderError> for ImportError {
    fn from(error: FolderError) -> Self {
        ImportError::Medium(error.into())
    }
}

impl ImportError {
    /// The code by which the node puts on record what it is not asked about: the trip is refused here, for what it is and not
    /// for a bad disc.
    fn turned_away(&self) -> Option<&'static str> {
        use PapersError::{Approval, Missing, Signature, Waybill};
        match self {
            ImportError::Foreign { .. } | ImportError::Medium(MediumError::OtherTrip { .. }) => Some("foreign-trip"),
            ImportError::Medium(MediumError::Papers(Missing { .. })) => Some("approvals-missing"),
            ImportError::NotAuthentic { .. }
            | ImportError::Medium(MediumError::Papers(Waybill { .. } | Signature { .. } | Approval { .. })) => {
                Some("not-authentic")
            }
            _ => None,
        }
    }
}

/// `ferry import`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Import {
    /// The node's spool
    #[arg(long, value_name = "DIR")]
    pub(crate) spool: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) key: KeyFrom,
    /// The medium, put in and mounted
    #[arg(long, value_name = "DIR")]
    pub(crate) medium: PathBuf,
    /// Key cards of the sending node, of the origins and of the approvers
    #[arg(long, value_name = "DIR")]
    pub(crate) trust: PathBuf,
    /// Only this trip; otherwise every one that was not yet imported, lowest first
    #[arg(long)]
    pub(crate) trip: Option<u64>,
    /// Once the node says that a trip is imported, overwrite its files on the medium once and remove them; files that are
    /// none of ours stay. Flash and SSDs may keep older blocks: this is no secure deletion
    #[arg(long)]
    pub(crate) wipe: bool,
}

impl Import {
    /// Takes in each trip in turn; the first that fails ends it, because trips have an order.
    pub(crate) fn run(&self, voice: Voice, now: Timestamp) -> Result<(), ImportError> {
        if self.wipe && wipe::is_fixed(&self.medium) {
            return Err(ImportError::Fixed { path: self.medium.clone() });
        }
        let desk = Desk::open(self.spool.as_deref())?;
        let trust = trustdir::read(&self.trust)?;
        let medium = Medium::open(&self.medium)?;
        let (on_medium, mut others) = medium.trips()?;
        let (beside, clutter) = medium.beside_and_clutter();
        others.extend(beside);
        alarm(voice, &others);
        if !clutter.is_empty() {
            let list = clutter.join(", ");
            voice.line(&say!(
                voice.language,
                "left by a file system or its machine, not opened: {list}",
                "文件系统或其主机自动留下的内容，未打开：{list}"
            ));
        }
        let empty =
            |trip: u64| medium.folder(trip).is_ok_and(|it| it.first(1).is_ok_and(|(items, _)| items.is_empty()));
        // What is empty was wiped by somebody who died before the last step: the next wipe takes it.
        let passed = |trip: &u64| self.trip.is_none() && medium.is_no_trip(*trip) && !(self.wipe && empty(*trip));
        let (strange, on_medium): (Vec<u64>, Vec<u64>) = on_medium.into_iter().partition(passed);
        self.work(voice, now, (&desk, &trust, &medium), on_medium, &others)?;
        if strange.is_empty() {
            Ok(())
        } else {
            Err(ImportError::NoTrips { medium: self.medium.clone(), trips: strange })
        }
    }

    fn work(
        &self,
        voice: Voice,
        now: Timestamp,
        (desk, trust, medium): (&Desk, &Trust, &Medium),
        on_medium: Vec<u64>,
        others: &[String],
    ) -> Result<(), ImportError> {
        let language = voice.language;
        let mut repeated = Vec::new();
        let trips = match self.trip {
            Some(trip) => vec![trip],
            // Those that are imported are to go.
            None if self.wipe => on_medium,
            None => {
                let known = desk.trips()?;
                // Numbers count by crossing. What cannot be read is not done: its failure must be heard.
                let done = |trip: u64| {
                    let papers = medium.folder(trip).and_then(|folder| copies::waybill(&folder, trip, trust));
                    let crossing = papers.map(|papers| papers.waybill.crossing.to_string()).unwrap_or_default();
                    let same =
                        |line: &&TripLine| line.trip == trip && line.direction == "in" && line.crossing == crossing;
                    known.iter().find(same).is_some_and(|line| line.state == "imported")
                };
                let (before, new): (Vec<u64>, Vec<u64>) = on_medium.into_iter().partition(|trip| done(*trip));
                repeated = before;
                new
            }
        };
        let nothing_new = trips.is_empty();
        if nothing_new {
            voice.object(&json!({"code": "nothing-new", "trips": 0}));
            voice.line(language.pick("Nothing new on this medium.", "介质上没有未导入的批次。"));
        }
        if nothing_new && repeated.is_empty() && others.is_empty() {
            return Ok(());
        }
        let person = self.key.open(language.pick("passphrase", "口令"))?;
        let teller = Teller { voice, desk, trust, medium, person: &person, now };
        if !others.is_empty() {
            teller.tell("not-on-waybill", None, others.len());
        }
        for trip in repeated.iter().filter(|_| nothing_new).take(REPEATED_MAX) {
            // A node that is away now would keep the operator waiting as long for each.
            if !teller.tell("trip-repeated", Some(*trip), 1) {
                break;
            }
        }
        for (place, trip) in trips.iter().enumerate() {
            let later = trips.len() - place - 1;
            let told = |error: &ImportError| {
                if let Some(code) = error.turned_away() {
                    teller.tell(code, Some(*trip), 1);
                }
            };
            let known = self.wipe && Self::was_imported(desk, trust, medium, *trip).inspect_err(told)?;
            if known || self.take(voice, desk, trust, medium, &person, *trip, now).inspect_err(told)? {
                if self.wipe {
                    clear(voice, trust, medium, *trip)?;
                }
            } else if self.wipe && later == 0 {
                voice.warn(language.pick(
                    "nothing was removed from this volume: when the last one is imported, put it in again and repeat the command",
                    "本卷未清除任何内容：待最后一卷导入后，请重新插入本卷并重复该命令",
                ));
            } else if later > 0 {
                voice.warn(&say!(
                    language,
                    "{later} later trips on this medium were not begun: trip {trip} comes before them",
                    "本介质上其后的 {later} 个批次未开始：须先完成批次 {trip}"
                ));
                break;
            }
        }
        Ok(())
    }

    /// Does the node tell of this very waybill as imported? A folder of which nothing is left was wiped by somebody who died
    /// before the last step.
    fn was_imported(desk: &Desk, trust: &Trust, medium: &Medium, trip: u64) -> Result<bool, ImportError> {
        let folder = medium.folder(trip)?;
        if folder.first(1)?.0.is_empty() {
            return Ok(true);
        }
        let (papers, _) = copies::laid(&folder, trip, trust)?;
        here(desk, &papers.waybill)?;
        let (crossing, digest) = (papers.waybill.crossing.to_string(), papers.digest.to_string());
        let same = |line: &TripLine| {
            (line.trip, line.direction.as_str(), line.state.as_str()) == (trip, "in", "imported")
                && line.crossing == crossing
                && line.waybill == digest
        };
        Ok(desk.trips()?.iter().any(same))
    }

    /// Says whether the trip is taken in; it is not while volumes of it are missing.
    #[expect(
        clippy::too_many_arguments,
        reason = "one trip in the light of everything that was opened for all of them"
    )]
    fn take(
        &self,
        voice: Voice,
        desk: &Desk,
        trust: &Trust,
        medium: &Medium,
        person: &Person,
        trip: u64,
        now: Timestamp,
    ) -> Result<bool, ImportError> {
        let language = voice.language;
        let folder = medium.folder(trip)?;
        let Found { papers, layout, approvals, damaged } = copies::read(&folder, trip, trust)?;
        here(desk, &papers.waybill)?;
        papers.enough(&approvals)?;
        tell_damaged(voice, trip, &damaged);
        let unlisted = strangers(&folder, &papers, &layout)?;
        alarm(voice, &unlisted);
        if !unlisted.is_empty() {
            Teller { voice, desk, trust, medium, person, now }.tell("not-on-waybill", Some(trip), unlisted.len());
        }

        let crossing = papers.waybill.crossing;
        let place = desk.layout.desk_incoming().join(format!("{crossing}-{trip}"));
        let disk = Disk::real();
        let _alone = alone(&desk.layout.desk_incoming(), trip)?;
        let looking = language.pick("looking at what an earlier import left", "检查此前导入留下的内容");
        match voice.during(looking, || Earlier::at(&place, &papers)) {
            // The folder is the daemon's memory of the trip now; it will say that it was imported before.
            Earlier::Imported => {}
            // What is gone from it the daemon took before it died. Signatures may have been added since.
            Earlier::Laid => {
                put_approvals(&disk, &approvals, &place)?;
                forget_volumes(&disk, &place)?;
            }
            Earlier::Nothing if layout.paper.is_none() => {
                self.carry(voice, &disk, trust, &folder, &papers, &approvals, &place)?;
            }
            Earlier::Nothing => {
                let whole = gather(voice, &disk, trust, (&folder, &papers, &layout), &approvals, &place)?;
                if !whole {
                    return Ok(false);
                }
            }
        }
        let arguments =
            [("trip", trip.to_string()), ("waybill", papers.digest.to_string()), ("crossing", crossing.to_string())];
        let answer = voice.during(voice.waiting(), || desk.ask(person, "import", &arguments, now, CARRY_WAIT_MS))?;

        let (files, amount, digest, source) =
            (papers.waybill.lines.len(), size(papers.total()), groups(&papers.digest), &papers.waybill.source);
        voice.object(&json!({
            "trip": trip, "crossing": crossing.name(), "code": answer.code, "files": files, "bytes": papers.total(),
            "waybill": papers.digest.to_string(), "approvals": approvals.iter().map(|a| a.person.to_string()).collect::<Vec<_>>(),
            "not_on_waybill": unlisted.get(..NAMED_MAX).unwrap_or(&unlisted), "details": answer.details,
        }));
        voice.line(&say!(
            language,
            "trip {trip} from {source}: imported. {files} files, {amount}; waybill {digest}",
            "批次 {trip}（来自 {source}）：已导入。{files} 个文件，{amount}；运单 {digest}"
        ));
        if answer.code == "trip-skipped" || answer.details.get("skipped") == Some(&json!(true)) {
            voice.warn(&say!(
                language,
                "a trip before {trip} was never imported here: find its medium, or ask the sender to `ferry reexport` it",
                "批次 {trip} 之前有批次未导入：请找到该介质，或请发送方执行 ferry reexport"
            ));
        }
        if answer.details.get("late") == Some(&json!(true)) {
            voice.line(&say!(
                language,
                "trip {trip} was missing here: later ones had come before it",
                "批次 {trip} 此前缺失：其后的批次已先行导入"
            ));
        }
        Ok(true)
    }

    /// Copies, verifying, and commits by a rename.
    #[expect(
        clippy::too_many_arguments,
        reason = "the folder, its papers and its proof come as three things that were checked apart"
    )]
    fn carry(
        &self,
        voice: Voice,
        disk: &Disk,
        trust: &Trust,
        folder: &Folder,
        papers: &Papers,
        approvals: &[Countersigned],
        place: &Path,
    ) -> Result<(), ImportError> {
        let trip = papers.waybill.trip;
        let incoming = place.parent().unwrap_or(place);
        // A volume that lost its paper looks like a whole trip, and must not cost what others brought.
        for line in &papers.waybill.lines {
            folder.file(line_file_name(line))?;
        }
        room(disk, incoming, papers.total() + papers.bytes.len() as u64)?;
        let aside = incoming.join(format!(".tmp-{}-{trip}", papers.waybill.crossing));
        for path in [&aside, &place.to_owned()] {
            disk.remove_tree(path).map_err(|cause| write_error(path, cause))?;
        }
        disk.create_dir_all(&aside).map_err(|cause| write_error(&aside, cause))?;
        let bar = voice.bar(papers.total(), say!(voice.language, "trip {trip}", "批次 {trip}"));
        let copied = copy_all(disk, trust, folder, papers, &aside, &bar);
        bar.finish_and_clear();
        if copied.is_err() {
            // What did not verify does not stay in the desk; that it cannot be removed is the lesser evil.
            let _ = disk.remove_tree(&aside);
        }
        copied?;
        let syncing = voice.language.pick("making it durable", "落盘");
        voice.during(syncing, || put_in_place(disk, &papers.bytes, approvals, &aside, place))?;
        // An earlier export of the trip may have begun in volumes.
        let volumes = incoming.join(format!(".vol-{}-{trip}", papers.waybill.crossing));
        Ok(disk.remove_tree(&volumes).map_err(|cause| write_error(&volumes, cause))?)
    }
}

/// Tells the node what was turned away without it, or left on the medium: by a code, the ids of a waybill that verified, and
/// how many. Names of files stay with the operator.
struct Teller<'a> {
    voice: Voice,
    desk: &'a Desk,
    trust: &'a Trust,
    medium: &'a Medium,
    person: &'a Person,
    now: Timestamp,
}

impl Teller<'_> {
    /// Says whether the node has it on record.
    fn tell(&self, code: &'static str, trip: Option<u64>, count: usize) -> bool {
        let mut arguments = vec![("code", code.to_owned()), ("count", count.to_string())];
        arguments.extend(trip.map(|trip| ("trip", trip.to_string())));
        let read = |trip| self.medium.folder(trip).and_then(|folder| copies::waybill(&folder, trip, self.trust));
        if let Some(Ok(papers)) = trip.map(read) {
            let bill = &papers.waybill;
            arguments.extend([("crossing", bill.crossing.to_string()), ("medium", bill.medium.to_string())]);
        }
        let told = self.voice.during(self.voice.waiting(), || {
            self.desk.ask(self.person, "turned-away", &arguments, self.now, TELL_WAIT_MS)
        });
        if let Err(error) = &told {
            let language = self.voice.language;
            self.voice.warn(&say!(
                language,
                "the node could not put {code} on record ({error}): tell the security officer",
                "节点未能登记 {code}（{error}）：请报告安全员"
            ));
        }
        told.is_ok()
    }
}

/// Takes a trip that the node has off the medium.
fn clear(voice: Voice, trust: &Trust, medium: &Medium, trip: u64) -> Result<(), ImportError> {
    let (language, disk) = (voice.language, Disk::real());
    let work = || -> Result<Option<Wiped>, MediumError> {
        let folder = medium.folder(trip)?;
        if folder.first(1)?.0.is_empty() {
            return Ok(wipe::forget_folder(&disk, folder.path()).map(|()| None)?);
        }
        let (papers, layout) = copies::laid(&folder, trip, trust)?;
        let bar = voice.bar(layout.bytes(), say!(language, "trip {trip}: removing", "批次 {trip}：清除"));
        let wiped = Wipe { disk: &disk, folder: &folder, papers: &papers, layout: &layout, bar: &bar }.run();
        bar.finish_and_clear();
        Ok(Some(wiped?))
    };
    let wiped = work().map_err(|cause| ImportError::NotWiped { trip, cause: Box::new(cause) })?.unwrap_or_default();
    let (files, bytes, amount, left) = (wiped.files, wiped.bytes, size(wiped.bytes), &wiped.left);
    voice.object(&json!({
        "trip": trip, "code": "wiped", "files": files, "bytes": bytes, "secure": false,
        "not_overwritten": wiped.not_overwritten,
        "left": left.get(..NAMED_MAX).unwrap_or(left),
    }));
    voice.line(&say!(
        language,
        "trip {trip}: {files} files removed from the medium, {amount} overwritten once. Flash and SSDs may keep older blocks: this is no secure deletion.",
        "批次 {trip}：已从介质删除 {files} 个文件，{amount} 已覆写一次。闪存和固态盘可能保留旧数据块：这不是安全擦除。"
    ));
    if wiped.not_overwritten > 0 {
        let count = wiped.not_overwritten;
        voice.warn(&say!(
            language,
            "{count} of them were removed and not overwritten, or not to their end: what they hold has another name on this medium, or it had no room to be written over. It is still there: destroy the medium before a witness (`ferry dispose`), or keep it as one that holds the trip",
            "其中 {count} 个仅删除了文件名，未覆写或未完全覆写：其内容在介质上另有文件名，或介质无空间可写。内容仍在：请在见证下销毁介质（ferry dispose），或按仍存有该批次的介质保管"
        ));
    }
    if !left.is_empty() {
        let (count, place) = (left.len(), shown(medium.place(trip).as_os_str()));
        voice.warn(&say!(
            language,
            "{count} things in {place} are none of ours and stay there; look at them, and remove the folder yourself",
            "{place} 中有 {count} 项不属于本系统，予以保留；请查看后自行删除该目录"
        ));
    }
    Ok(())
}

/// What was copied and verified aside takes its place, whole and durable; where that fails it does not stay in the desk.
fn put_in_place(
    disk: &Disk,
    waybill: &[u8],
    approvals: &[Countersigned],
    aside: &Path,
    place: &Path,
) -> Result<(), ImportError> {
    let put = || {
        put_approvals(disk, approvals, aside)?;
        let paper = aside.join(WAYBILL);
        disk.write(&paper, waybill).map_err(|cause| write_error(&paper, cause))?;
        open_to_the_daemon(disk, aside)?;
        // One sync for all: each of thousands of files by itself takes longer than copying them.
        disk.sync_file_system(aside).map_err(|cause| unsynced(place, &cause))?;
        Ok(disk.rename(aside, place).map_err(|cause| write_error(place, cause))?)
    };
    put().inspect_err(|_: &ImportError| {
        let _gone = disk.remove_tree(aside);
    })
}

/// The kernel says that something on this file system was not written, and not what: it may be any file, written before.
fn unsynced(place: &Path, cause: &std::io::Error) -> CopyError {
    let words = format!("its file system reported an error, of this trip or of something written before: {cause}");
    write_error(place.parent().unwrap_or(place), std::io::Error::new(cause.kind(), words))
}

/// Takes one volume of several, or one with parity. Says whether the whole trip lies in the desk now.
fn gather(
    voice: Voice,
    disk: &Disk,
    trust: &Trust,
    (folder, papers, layout): (&Folder, &Papers, &Layout),
    approvals: &[Countersigned],
    place: &Path,
) -> Result<bool, ImportError> {
    let (trip, number, count) = (papers.waybill.trip, layout.number, layout.count);
    let incoming = place.parent().unwrap_or(place);
    let aside = incoming.join(format!(".vol-{}-{trip}", papers.waybill.crossing));
    let bar = voice.bar(layout.bytes(), say!(voice.language, "trip {trip}", "批次 {trip}"));
    let proves = |copies: &Folder, line: &WaybillLine| check_line(copies, &papers.waybill, line, trust);
    let gathering = Gathering { disk, medium: folder, papers, layout, aside: &aside, bar: &bar, proves: &proves };
    let gathered = gathering.run();
    bar.finish_and_clear();
    let gathered = gathered.map_err(|error| match error {
        GatherError::NotAuthentic { file, cause } => ImportError::NotAuthentic { trip, file, cause },
        GatherError::Copy(error) => error.into(),
        error => ImportError::Volume(error),
    })?;
    tell_restored(voice, trip, &gathered);
    if !gathered.missing.is_empty() {
        let left = gathered.missing.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        voice.object(&json!({
            "trip": trip, "code": "volume-taken", "volume": number, "volumes": count, "missing": gathered.missing,
            "restored": gathered.restored,
        }));
        voice.line(&say!(
            voice.language,
            "trip {trip}: volume {number} of {count} is taken. Still missing: volume {left}. Import them in any order.",
            "批次 {trip}：第 {number} 卷（共 {count} 卷）已取入。尚缺：第 {left} 卷，可按任意顺序导入。"
        ));
        return Ok(false);
    }
    put_approvals(disk, approvals, &aside)?;
    open_to_the_daemon(disk, &aside)?;
    disk.sync_dir(&aside).map_err(|cause| write_error(&aside, cause))?;
    disk.remove_tree(place).map_err(|cause| write_error(place, cause))?;
    disk.rename(&aside, place).map_err(|cause| write_error(place, cause))?;
    forget_volumes(disk, place)?;
    Ok(true)
}

fn tell_damaged(voice: Voice, trip: u64, damaged: &[String]) {
    if damaged.is_empty() {
        return;
    }
    let named = damaged.get(..NAMED_MAX).unwrap_or(damaged);
    voice.object(&json!({"trip": trip, "code": "papers-damaged", "files": named}));
    let (count, list) = (damaged.len(), named.join(", "));
    voice.warn(&say!(
        voice.language,
        "the medium is damaged: {count} copies of papers of trip {trip} are unreadable, missing or altered; whole copies were used: {list}",
        "介质有损坏：批次 {trip} 的单据有 {count} 份副本无法读取、缺失或被改动，已使用完好的副本：{list}"
    ));
}

fn tell_restored(voice: Voice, trip: u64, gathered: &Gathered) {
    if gathered.restored.is_empty() {
        return;
    }
    let sectors: u64 = gathered.restored.iter().map(|damage| damage.sectors).sum();
    let files = gathered.restored.len();
    voice.object(&json!({"trip": trip, "code": "restored", "files": gathered.restored}));
    voice.warn(&say!(
        voice.language,
        "the medium is damaged: {sectors} sectors in {files} files of trip {trip} were restored from its parity:",
        "介质有损坏：批次 {trip} 的 {files} 个文件中 {sectors} 个扇区已由校验数据修复："
    ));
    for Damage { file, sectors, first, last } in &gathered.restored {
        voice.warn(&say!(
            voice.language,
            "  {file}: {sectors} sectors between {first} and {last}",
            "  {file}：{sectors} 个扇区，位于 {first} 至 {last}"
        ));
    }
}

fn copy_all(
    disk: &Disk,
    trust: &Trust,
    folder: &Folder,
    papers: &Papers,
    aside: &Path,
    bar: &indicatif::ProgressBar,
) -> Result<(), ImportError> {
    let copies = Folder::open(aside)?;
    let one = |line: &WaybillLine| {
        copy_line(folder, line, papers.signed.suite, aside, disk, bar)?;
        check_line(&copies, &papers.waybill, line, trust).map_err(|cause| ImportError::NotAuthentic {
            trip: papers.waybill.trip,
            file: line_file_name(line),
            cause,
        })
    };
    // In pieces, so that what fails ends it soon.
    papers.waybill.lines.chunks(COPIED_TOGETHER).try_for_each(|lines| crew::each(lines, one).into_iter().collect())
}

/// A waybill line's file is what the line says, and proves itself.
fn check_line(folder: &Folder, bill: &Waybill, line: &WaybillLine, trust: &Trust) -> Result<(), String> {
    let name = line_file_name(line);
    match line.kind {
        LineKind::Bundle => {
            let (file, _) = folder.file(&name).map_err(|e| e.to_string())?;
            let verified = bundle::verify(&mut BufReader::new(file), trust).map_err(|e: BundleError| e.to_string())?;
            let envelope = verified.envelope;
            if (envelope.bundle, envelope.epoch, envelope.sequence) != (line.id, line.epoch, line.sequence) {
                return Err("its envelope has another id or number than the waybill".to_owned());
            }
            if envelope.crossing != bill.crossing || envelope.source != bill.source || envelope.target != bill.target {
                return Err("its envelope is for another crossing than the waybill".to_owned());
            }
        }
        LineKind::Receipts => {
            let bytes = folder.read(&name, OBJECT_BYTES_MAX).map_err(|e| e.to_string())?;
            let signed = Signed::parse::<ReceiptBatch>(&bytes).map_err(|e| e.to_string())?;
            let batch: ReceiptBatch = trust.verify_from_node(&signed, &bill.source).map_err(|e| e.to_string())?;
            if (batch.batch, batch.epoch, batch.sequence) != (line.id, line.epoch, line.sequence)
                || batch.crossing != bill.crossing
                || batch.source != bill.source
                || batch.target != bill.target
            {
                return Err("it has another id, number or crossing than the waybill".to_owned());
            }
        }
    }
    Ok(())
}

/// Is this trip meant for the node whose desk this is?
fn here(desk: &Desk, bill: &Waybill) -> Result<(), ImportError> {
    if bill.target == desk.node && bill.crossing.target() == desk.zone {
        return Ok(());
    }
    Err(ImportError::Foreign {
        trip: bill.trip,
        source_node: bill.source.to_string(),
        target: bill.target.to_string(),
        here: desk.node.to_string(),
    })
}

/// Two imports at once would write over each other. The folder itself is locked, which leaves nothing behind and ends
/// with the command however that dies. The daemon holds it too while it tidies the folder, at its start and every hour:
/// that takes milliseconds, and is no other import.
fn alone(incoming: &Path, trip: u64) -> Result<File, ImportError> {
    const TURNS: u32 = 100;
    const TURN: Duration = Duration::from_millis(50);
    let folder = File::open(incoming).map_err(|cause| CopyError::Read { path: incoming.to_owned(), cause })?;
    for _ in 0..TURNS {
        match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(folder),
            Err(Errno::WOULDBLOCK) => std::thread::park_timeout(TURN),
            Err(errno) => return Err(CopyError::Read { path: incoming.to_owned(), cause: errno.into() }.into()),
        }
    }
    Err(ImportError::Busy { trip })
}

/// What an earlier import left in the desk.
enum Earlier {
    /// Nothing, or something that must be laid anew.
    Nothing,
    /// The same trip, laid and not yet taken in.
    Laid,
    /// The daemon has taken it in.
    Imported,
}

impl Earlier {
    fn at(place: &Path, papers: &Papers) -> Earlier {
        if place.join(DAEMONS_NOTE).symlink_metadata().is_ok() {
            return Earlier::Imported;
        }
        let Ok(folder) = Folder::open(place) else { return Earlier::Nothing };
        let quiet = indicatif::ProgressBar::hidden();
        let sound = |line: &WaybillLine| match read_line(&folder, line, papers.signed.suite, &quiet, &mut |_| Ok(())) {
            Err(CopyError::Folder(error)) => error.is_missing(),
            read => read.is_ok(),
        };
        let same = Papers::read(&folder).is_ok_and(|there| there.bytes == papers.bytes);
        if same && papers.waybill.lines.iter().all(sound) { Earlier::Laid } else { Earlier::Nothing }
    }
}

fn put_approvals(disk: &Disk, approvals: &[Countersigned], place: &Path) -> Result<(), ImportError> {
    Ok(approvals.iter().try_for_each(|approval| put(disk, place, &approval.file, &approval.bytes, DESK_FILE))?)
}

/// The daemon is another account of the desk's group: it must be able to read the files and to take them away.
fn open_to_the_daemon(disk: &Disk, folder: &Path) -> Result<(), CopyError> {
    // What another operator of the group gathered is theirs, and as it should be.
    let is = |path: &Path, mode| path.symlink_metadata().is_ok_and(|about| about.mode() & 0o7777 == mode);
    let set = |path: &Path, mode| match is(path, mode) {
        true => Ok(()),
        false => disk.set_mode(path, mode).map_err(|cause| write_error(path, cause)),
    };
    let list = |path: &Path| std::fs::read_dir(path).map_err(|cause| write_error(path, cause));
    for entry in list(folder)? {
        let path = entry.map_err(|cause| write_error(folder, cause))?.path();
        let inner = path.is_dir();
        set(&path, if inner { DESK_FOLDER } else { DESK_FILE })?;
    }
    set(folder, DESK_FOLDER)
}

fn alarm(voice: Voice, unlisted: &[String]) {
    if unlisted.is_empty() {
        return;
    }
    let count = unlisted.len();
    let named = unlisted.get(..NAMED_MAX).unwrap_or(unlisted);
    voice.object(&json!({"code": "not-on-waybill", "alarm": "not-on-waybill", "count": count, "names": named}));
    voice.warn(&say!(
        voice.language,
        "the medium holds {count} things that are on no waybill; they were not opened:",
        "介质上有 {count} 项不在运单上，未打开："
    ));
    for name in named {
        voice.warn(&format!("  {name}"));
    }
    if named.len() < count {
        let more = count - named.len();
        voice.warn(&say!(voice.language, "  and {more} more", "  另有 {more} 项"));
    }
}

#[cfg(test)]
mod tests {
    use spool::{Fault, Fuse, Power, Weather};

    use super::*;

    #[test]
    fn a_trip_that_the_disk_would_not_sync_does_not_stay_in_the_desk_and_can_be_put_there_again() {
        let root = std::env::temp_dir().join(format!("trilock-ferry-import-{}", std::process::id()));
        let disk = Disk::real();
        let (grave, place, aside) = (root.join("grave"), root.join("incoming/a-1"), root.join("incoming/.tmp-a-1"));
        for folder in [&grave, &root.join("incoming")] {
            disk.create_dir_all(folder).unwrap();
        }
        let power = Power::on(&grave, 1).unwrap();
        let dying = Disk::with_power(power.clone(), Fuse::after(u64::MAX));
        // Of the waybill, its folder, the file system and the folder of trips: which of these fails, chance decides.
        let mut words = std::collections::BTreeSet::new();
        for _ in 0..40 {
            disk.create_dir_all(&aside).unwrap();
            power.set_weather(Some(Weather { fault: Fault::Unsynced, one_in: 3 }));
            if let Err(error) = put_in_place(&dying, b"waybill", &[], &aside, &place) {
                words.insert(error.to_string());
            }
            power.set_weather(None);
            assert!(!aside.exists());
            disk.remove_tree(&place).unwrap();
        }
        assert!(words.iter().any(|words| words.contains("reported an error")), "{words:?}");
        disk.create_dir_all(&aside).unwrap();
        put_in_place(&dying, b"waybill", &[], &aside, &place).unwrap();
        assert_eq!(std::fs::read(place.join(WAYBILL)).unwrap(), b"waybill");
        disk.remove_tree(&root).unwrap();
    }
}
