//! Export: the daemon stages what waits, ferry puts it onto a medium or into a folder that will be burnt, and prints the
//! slip. Nothing counts as carried before `confirm` has read the written medium back.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use protocol::parity::PERCENT_MAX;
use protocol::suite::Digest;
use protocol::{Name, Timestamp};
use serde_json::json;
use spool::desk::Answer;
use spool::disk::Disk;

use crate::copying::{CopyError, write_error};
use crate::desk::{self, CARRY_WAIT_MS, Desk, DeskError};
use crate::folder::Folder;
use crate::keyfile::{KeyFileError, KeyFrom, Person};
use crate::medium::{Medium, MediumError, Numbered, Writer};
use crate::papers::{Papers, PapersError};
use crate::slip;
use crate::volume::{self, Capacity, Layout, Wanted};
use crate::words::{Voice, groups, say, size};

/// States of trips that are not carried yet.
const OPEN: [&str; 2] = ["staged", "approved"];
/// Trips that the node is told of: a label has room for so many of any number, and a medium is confirmed before the next.
const WRITTEN_MAX: usize = 12;

/// What stops an export.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExportError {
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The desk.
    #[error(transparent)]
    Desk(#[from] DeskError),
    /// The medium.
    #[error(transparent)]
    Medium(#[from] MediumError),
    /// What lies in the desk is not what the daemon answered.
    #[error("the staged waybill of trip {trip} has digest {found}, the node answered {answered}")]
    OtherWaybill { trip: u64, found: Digest, answered: String },
    /// Nowhere to write it.
    #[error("neither --out, --medium nor --iso says where the trip goes")]
    NoPlace,
    /// No program that makes disc images.
    #[error("xorriso is not installed, so no ISO image can be made")]
    NoXorriso,
    /// It failed.
    #[error("xorriso ended with {status}: {words}")]
    Xorriso { status: String, words: String },
}

impl From<PapersError> for ExportError {
    fn from(error: PapersError) -> Self {
        ExportError::Medium(error.into())
    }
}
impl From<CopyError> for ExportError {
    fn from(error: CopyError) -> Self {
        ExportError::Medium(error.into())
    }
}

/// Where a trip is written to.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Destination {
    /// A folder that will be burnt on the audited machine; gets TRILOCK/<trip>/
    #[arg(long, value_name = "DIR", conflicts_with_all = ["medium", "iso"])]
    pub(crate) out: Option<PathBuf>,
    /// The mounted medium itself; gets TRILOCK/<trip>/. Named once for each volume where there are several
    #[arg(long, value_name = "DIR", conflicts_with = "iso")]
    pub(crate) medium: Vec<PathBuf>,
    /// A disc image, made with xorriso
    #[arg(long, value_name = "FILE")]
    pub(crate) iso: Option<PathBuf>,
    /// Several volumes of this size: cd, dvd, bd25, or a number of bytes
    #[arg(long, value_name = "SIZE")]
    pub(crate) volume: Option<Capacity>,
    /// Parity: of every hundred sectors so many may be damaged, 1 to 50; 0 for none
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=i64::from(PERCENT_MAX)))]
    pub(crate) parity: u8,
    /// Where the slip goes; by default beside the out folder or image, or here for a medium
    #[arg(long, value_name = "DIR")]
    pub(crate) slip: Option<PathBuf>,
}

/// `ferry export`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Export {
    /// The node's spool, such as /var/lib/trilock/intranet
    #[arg(long, value_name = "DIR")]
    pub(crate) spool: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) key: KeyFrom,
    /// The medium's id in the register
    #[arg(long, value_name = "ID")]
    pub(crate) medium_id: Name,
    /// The register id of the person who carries it
    #[arg(long, value_name = "ID")]
    pub(crate) carrier: Name,
    /// Only parcels of this route; may be named several times
    #[arg(long, value_name = "ROUTE")]
    pub(crate) route: Vec<Name>,
    /// Only parcels of this priority: urgent, normal or bulk; may be named several times
    #[arg(long, value_name = "PRIORITY", value_parser = ["urgent", "normal", "bulk"])]
    pub(crate) priority: Vec<String>,
    /// Only what was sealed at least so many hours ago
    #[arg(long, value_name = "HOURS")]
    pub(crate) older_than_h: Option<u64>,
    /// At most so many bytes of bundles and receipts on this trip: the most urgent first, of these the oldest
    #[arg(long, value_name = "N")]
    pub(crate) bytes_max: Option<u64>,
    #[command(flatten)]
    pub(crate) to: Destination,
}

/// `ferry reexport`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Reexport {
    /// The node's spool
    #[arg(long, value_name = "DIR")]
    pub(crate) spool: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) key: KeyFrom,
    /// Which trip
    #[arg(long)]
    pub(crate) trip: u64,
    /// Another medium than before, by its id in the register
    #[arg(long, value_name = "ID")]
    pub(crate) medium_id: Option<Name>,
    /// Another carrier than before, by the register id
    #[arg(long, value_name = "ID")]
    pub(crate) carrier: Option<Name>,
    #[command(flatten)]
    pub(crate) to: Destination,
}

impl Export {
    /// Asks, writes, prints.
    pub(crate) fn run(&self, voice: Voice, now: Timestamp) -> Result<(), ExportError> {
        if !self.to.named() {
            return Err(ExportError::NoPlace);
        }
        self.to.ready()?;
        let desk = Desk::open(self.spool.as_deref())?;
        desk.ferry()?;
        let person = self.key.open(voice.language.pick("passphrase", "口令"))?;
        let mut arguments = vec![("medium", self.medium_id.to_string()), ("carrier", self.carrier.to_string())];
        arguments.extend(self.bytes_max.map(|bytes| ("bytes-max", bytes.to_string())));
        arguments.extend(self.older_than_h.map(|hours| ("older-than-h", hours.to_string())));
        let listed = |words: Vec<String>| (!words.is_empty()).then(|| words.join(","));
        arguments.extend(listed(self.route.iter().map(Name::to_string).collect()).map(|routes| ("route", routes)));
        arguments.extend(listed(self.priority.clone()).map(|words| ("priority", words)));
        // Of the trips that are staged for this medium the node gives the first that does not stand there: an export that
        // died is taken up.
        arguments.push(("written", self.to.stands(&desk)?));
        let answer = voice.during(voice.waiting(), || desk.ask(&person, "export", &arguments, now, CARRY_WAIT_MS))?;
        self.to.write(voice, &desk, (&person, now), &answer, "export")
    }
}

impl Reexport {
    /// Asks, and writes where a place was named.
    pub(crate) fn run(&self, voice: Voice, now: Timestamp) -> Result<(), ExportError> {
        self.to.ready()?;
        let desk = Desk::open(self.spool.as_deref())?;
        let person = self.key.open(voice.language.pick("passphrase", "口令"))?;
        let mut arguments = vec![("trip", self.trip.to_string())];
        arguments.extend(self.medium_id.iter().map(|medium| ("medium", medium.to_string())));
        arguments.extend(self.carrier.iter().map(|carrier| ("carrier", carrier.to_string())));
        let answer = voice.during(voice.waiting(), || desk.ask(&person, "reexport", &arguments, now, CARRY_WAIT_MS))?;
        self.to.write(voice, &desk, (&person, now), &answer, "reexport")
    }
}

impl Destination {
    /// Does anything say where the trip goes?
    fn named(&self) -> bool {
        self.out.is_some() || !self.medium.is_empty() || self.iso.is_some()
    }

    /// What can be known to fail fails before the node stages anything.
    fn ready(&self) -> Result<(), ExportError> {
        if let Some(place) = self.medium.iter().find(|place| !place.is_dir()) {
            return Err(MediumError::NoMedium { path: place.clone() }.into());
        }
        if let Some(place) = self.medium.iter().find(|place| is_read_only(place)) {
            return Err(MediumError::ReadOnly { path: place.clone() }.into());
        }
        if self.iso.is_some() && Command::new("xorriso").arg("-version").output().is_err() {
            return Err(ExportError::NoXorriso);
        }
        Ok(())
    }

    /// The open trips of the desk that stand where this one goes, all volumes of them, as the list that the node is told. Of an
    /// image that is made nothing is known: it holds one trip, and is made again.
    fn stands(&self, desk: &Desk) -> Result<String, ExportError> {
        let over: BTreeSet<u64> =
            desk.trips()?.iter().filter(|line| !OPEN.contains(&line.state.as_str())).map(|line| line.trip).collect();
        let roots =
            self.out.iter().flat_map(|out| [out.clone(), out.join("volume-1")]).chain(self.medium.first().cloned());
        let found: BTreeSet<u64> = roots
            .filter_map(|root| Medium::open(&root).and_then(|medium| medium.trips()).ok())
            .flat_map(|(trips, _)| trips)
            .filter(|trip| !over.contains(trip) && self.stands_whole(desk, *trip))
            .collect();
        let newest: Vec<String> = found.iter().rev().take(WRITTEN_MAX).map(u64::to_string).collect();
        Ok(if newest.is_empty() { "none".to_owned() } else { newest.join(",") })
    }

    /// Is every volume of a trip there, with the desk's waybill? Whether each is sound, confirm says.
    fn stands_whole(&self, desk: &Desk, trip: u64) -> bool {
        let Ok(papers) = Folder::open(&desk.staged(trip)).map_err(PapersError::from).and_then(|at| Papers::read(&at))
        else {
            return false;
        };
        let volume = |number: u8, count: u8| {
            let out = self.out.as_ref().map(|out| volume_folder(out, number, count));
            let place = out.or_else(|| self.medium.get(usize::from(number) - 1).cloned())?;
            let (folder, there) = Medium::open(&place).and_then(|medium| medium.trip(trip)).ok()?;
            let layout = Layout::read(&folder, &papers, None).ok()?;
            (there.bytes == papers.bytes && layout.number == number).then_some(layout.count)
        };
        let count = volume(1, 1).or_else(|| volume(1, u8::MAX));
        count.is_some_and(|count| (1..=count).all(|number| volume(number, count) == Some(count)))
    }

    fn write(
        &self,
        voice: Voice,
        desk: &Desk,
        (person, now): (&Person, Timestamp),
        answer: &Answer,
        action: &'static str,
    ) -> Result<(), ExportError> {
        let language = voice.language;
        if answer.code == "nothing-waiting" {
            voice.object(&json!({"code": answer.code, "files": 0}));
            voice.line(
                language.pick("Nothing waits to be carried. No trip was opened.", "没有待摆渡的文件，未开批次。"),
            );
            return Ok(());
        }
        let trip = desk::number(answer, action, "trip")?;
        let staged = Folder::open(&desk.staged(trip)).map_err(MediumError::from)?;
        let papers = Papers::read(&staged)?;
        let answered = answer.details.get("waybill").and_then(|value| value.as_str()).unwrap_or_default();
        if answered != papers.digest.to_string() || papers.waybill.trip != trip {
            return Err(ExportError::OtherWaybill { trip, found: papers.digest, answered: answered.to_owned() });
        }
        let mut written = Vec::new();
        if self.named() {
            let disk = Disk::real();
            let volumes = volume::plan(&papers, Wanted { capacity: self.volume, parity: self.parity })
                .map_err(MediumError::from)?;
            let count = u8::try_from(volumes.len()).unwrap_or(u8::MAX);
            // Parity reads everything once more.
            let total = papers.total() * if self.parity > 0 { 2 } else { 1 };
            let bar = voice.bar(total, say!(language, "trip {trip}", "批次 {trip}"));
            let writer =
                Writer { disk: &disk, staged: &staged, papers: &papers, person, now, parity: self.parity, bar: &bar };
            if !self.medium.is_empty() && self.medium.len() < volumes.len() {
                let (needs, named) = (volumes.len(), self.medium.len());
                return Err(MediumError::FewMedia { trip, needs, named }.into());
            }
            writer.prove_cut(&volumes)?;
            for (number, volume) in (1..=count).zip(&volumes) {
                written.push(self.write_volume(voice, &writer, (volume, number, count))?);
            }
            bar.finish_and_clear();
        }
        let slip = if written.is_empty() { None } else { self.write_slip(voice, &papers, answer, written.len()) };
        self.tell(voice, &papers, answer, &written, slip.as_deref());
        Ok(())
    }

    fn write_volume(&self, voice: Voice, writer: &Writer<'_>, volume: Numbered<'_>) -> Result<PathBuf, ExportError> {
        let (_, number, count) = volume;
        match (&self.out, self.medium.get(usize::from(number) - 1), &self.iso) {
            (Some(out), ..) => {
                let out = volume_folder(out, number, count);
                writer.disk.create_dir_all(&out).map_err(|cause| write_error(&out, cause))?;
                Ok(writer.write(volume, &out)?)
            }
            (_, Some(place), _) => {
                let before = writer.bar.position();
                let written = |error| {
                    let done = writer.bar.position().saturating_sub(before);
                    filled(error, writer.disk, place, writer.papers.total(), done)
                };
                Ok(writer.write(volume, place).map_err(written)?)
            }
            (_, _, Some(iso)) => write_iso(
                writer,
                volume,
                &image_of(iso, number, count),
                voice.language.pick("making the disc image", "制作光盘映像"),
            ),
            _ => Err(ExportError::NoPlace),
        }
    }

    /// The slip is paper: that it could not be written is said, and does not undo the trip.
    fn write_slip(&self, voice: Voice, papers: &Papers, answer: &Answer, volumes: usize) -> Option<PathBuf> {
        let beside = self.out.as_ref().or(self.iso.as_ref()).and_then(|path| std::path::absolute(path).ok());
        let above = beside.as_deref().and_then(Path::parent).map(Path::to_owned);
        let folder = self.slip.clone().or(above).unwrap_or_else(|| PathBuf::from("."));
        let path = folder.join(format!("slip-{}.html", papers.waybill.trip));
        let page = slip::page(papers, answer.details.get("exceptions").and_then(|count| count.as_u64()), volumes);
        match Disk::real().write(&path, page.as_bytes()) {
            Ok(()) => Some(path),
            Err(cause) => {
                let shown = path.display();
                voice.warn(&say!(
                    voice.language,
                    "the slip {shown} could not be written ({cause}); name another folder with --slip",
                    "交接单 {shown} 无法写入（{cause}）；请用 --slip 另指目录"
                ));
                None
            }
        }
    }

    fn tell(&self, voice: Voice, papers: &Papers, answer: &Answer, written: &[PathBuf], slip: Option<&Path>) {
        let language = voice.language;
        let bill = &papers.waybill;
        let (trip, files, bytes, needed) = (bill.trip, bill.lines.len(), papers.total(), bill.approvals);
        voice.object(&json!({
            "code": answer.code, "trip": trip, "waybill": papers.digest.to_string(), "files": files, "bytes": bytes,
            "medium": bill.medium, "carrier": bill.carrier, "approvals_needed": needed, "written": written.first(), "volumes": written, "parity": self.parity, "slip": slip,
            "taken_up": answer.details.get("taken_up"), "lapsed": answer.details.get("lapsed"), "exceptions": answer.details.get("exceptions"), "first": answer.details.get("first"), "held": answer.details.get("held"),
        }));
        let (amount, medium, carrier, digest) = (size(bytes), &bill.medium, &bill.carrier, groups(&papers.digest));
        voice.line(&say!(
            language,
            "trip {trip}: {files} files, {amount}, on medium {medium}, carried by {carrier}",
            "批次 {trip}：{files} 个文件，{amount}，介质 {medium}，由 {carrier} 携带"
        ));
        if answer.details.get("taken_up") == Some(&json!(true)) {
            voice.line(&say!(
                language,
                "taken up  trip {trip} was staged before; it is written with the waybill and signatures it has. What waits since goes with the next export",
                "续办  批次 {trip} 此前已暂存，按原运单与会签写出；其后待摆渡的内容随下一次导出"
            ));
        }
        if answer.details.get("lapsed") == Some(&json!(true)) {
            voice.line(&say!(
                language,
                "again     trip {trip} was never confirmed and had expired; it goes under its number before any new trip. What waits since goes with the next export",
                "重办  批次 {trip} 未确认且已失效，须以原编号先行运出；其后待摆渡的内容随下一次导出"
            ));
        }
        voice.line(&say!(language, "waybill  {digest}", "运单  {digest}"));
        for (number, path) in (1..).zip(written) {
            let (number, count, path): (usize, usize, _) = (number, written.len(), path.display());
            voice.line(&match count {
                1 => say!(language, "written  {path}", "已写入  {path}"),
                _ => say!(
                    language,
                    "written  {path}  volume {number} of {count}",
                    "已写入  {path}  第 {number} 卷，共 {count} 卷"
                ),
            });
        }
        if written.len() > 1 {
            voice.line(&say!(
                language,
                "Write the number of the volume beside {medium} on each medium; confirm and import each of them, in any order.",
                "请在每张介质上的 {medium} 旁注明卷号；逐卷确认、逐卷导入，顺序不限。"
            ));
        }
        if let Some(path) = slip {
            let path = path.display();
            voice.line(&say!(language, "slip     {path}", "交接单  {path}"));
        }
        let exceptions = answer.details.get("exceptions").and_then(|count| count.as_u64()).unwrap_or_default();
        if exceptions > 0 {
            voice.line(&say!(
                language,
                "exceptions  {exceptions} findings of heuristic rules were let pass by two people",
                "例外  {exceptions} 个启发类检出项经两人批准放行"
            ));
        }
        for (kind, count) in answer.details.get("held").and_then(|held| held.as_object()).into_iter().flatten() {
            voice.warn(&say!(
                language,
                "the budget of {kind} is spent: {count} parcels stay for a later trip",
                "{kind} 的限额已用尽：{count} 个投递件留待以后的批次"
            ));
        }
        for earlier in answer.details.get("first").and_then(|first| first.as_array()).into_iter().flatten() {
            voice.warn(&say!(
                language,
                "trip {earlier} is staged and was never confirmed; it goes first: `ferry reexport --trip {earlier} --medium DIR --key FILE`",
                "批次 {earlier} 已暂存但未确认，须先于本批次摆渡：ferry reexport --trip {earlier} --medium DIR --key FILE"
            ));
        }
        voice.line(&say!(
            language,
            "state: staged. Next: {needed} people run `ferry approve --trip {trip} --key FILE`, then `ferry confirm --trip {trip} --medium DIR --key FILE`.",
            "状态：已暂存。下一步：{needed} 人分别执行 ferry approve --trip {trip} --key FILE，然后执行 ferry confirm --trip {trip} --medium DIR --key FILE。"
        ));
        if written.is_empty() {
            voice.line(&say!(
                language,
                "Staged again in the desk; name --out, --medium or --iso to write it.",
                "已在办理台重新暂存；用 --out、--medium 或 --iso 写出。"
            ));
        }
    }
}

/// Where one volume of a trip is written below `--out`.
fn volume_folder(out: &Path, number: u8, count: u8) -> PathBuf {
    if count == 1 { out.to_owned() } else { out.join(format!("volume-{number}")) }
}

/// The image of one volume: the name that was given, with the volume's number where there are several.
fn image_of(iso: &Path, number: u8, count: u8) -> PathBuf {
    if count == 1 {
        return iso.to_owned();
    }
    let stem = iso.file_stem().unwrap_or_default().to_string_lossy();
    let end = iso.extension().map_or_else(String::new, |end| format!(".{}", end.to_string_lossy()));
    iso.with_file_name(format!("{stem}-{number}{end}"))
}

fn is_read_only(place: &Path) -> bool {
    rustix::fs::statvfs(place).is_ok_and(|facts| facts.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}

/// A medium that said it had room, and filled up: told with what it turned out to have.
fn filled(error: MediumError, disk: &Disk, place: &Path, needs: u64, written: u64) -> MediumError {
    match error {
        MediumError::Copy(CopyError::Write { path, cause }) if cause.kind() == std::io::ErrorKind::StorageFull => {
            let free = disk.free(place).map_or(0, |free| free.bytes);
            MediumError::Copy(CopyError::Full { path, needs, has: written.saturating_add(free) })
        }
        other => other,
    }
}

/// Makes the folder beside the image, the image from the folder, and takes the folder away again. The rename of the image is
/// the commit; a folder of the same waybill that an export left when it died is taken up.
fn write_iso(
    writer: &Writer<'_>,
    volume: Numbered<'_>,
    iso: &Path,
    image_word: &'static str,
) -> Result<PathBuf, ExportError> {
    let disk = writer.disk;
    let beside = |end: &str| {
        let mut name = iso.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let (aside, image) = (beside(".tmp-tree"), beside(".tmp-image"));
    if !writer.is_ours_alone(&aside) {
        disk.remove_tree(&aside).map_err(|cause| write_error(&aside, cause))?;
    }
    disk.create_dir_all(&aside).map_err(|cause| write_error(&aside, cause))?;
    writer.write(volume, &aside)?;
    disk.remove_tree(&image).map_err(|cause| write_error(&image, cause))?;
    writer.bar.set_message(image_word);
    let (trip, (_, number, count)) = (writer.papers.waybill.trip, volume);
    let label = if count == 1 { format!("TRILOCK_{trip}") } else { format!("TRILOCK_{trip}_{number}") };
    let done = Command::new("xorriso")
        .args(["-as", "mkisofs", "-quiet", "-iso-level", "3", "-r", "-J", "-joliet-long", "-V", &label, "-o"])
        .arg(&image)
        .arg(&aside)
        .output();
    let output = done.map_err(|_| ExportError::NoXorriso)?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr).chars().filter(|c| !c.is_control()).take(300).collect();
        return Err(ExportError::Xorriso { status: output.status.to_string(), words });
    }
    disk.sync_all(std::slice::from_ref(&image)).map_err(|cause| write_error(&image, cause))?;
    disk.rename(&image, iso).map_err(|cause| write_error(iso, cause))?;
    disk.remove_tree(&aside).map_err(|cause| write_error(&aside, cause))?;
    Ok(iso.to_owned())
}
