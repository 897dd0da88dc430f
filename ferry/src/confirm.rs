//! Confirm: reads the written medium back, byte for byte, and tells the daemon that the trip may leave. What was
//! written and what can be read are two things, on discs above all.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;

use indicatif::ProgressBar;
use protocol::parity::SECTOR_BYTES;
use protocol::suite::Digest;
use protocol::volume::{PIECES_MAX, Piece};
use protocol::waybill::WAYBILL_BYTES_MAX;
use protocol::{Suite, Timestamp, Trust};
use serde_json::json;
use spool::disk::{ASIDE, Disk};

use crate::approve::put;
use crate::copies::{COPIES, places_there};
use crate::copying::{Span, forget, read_span};
use crate::crew;
use crate::desk::{ASK_WAIT_MS, Desk, DeskError};
use crate::folder::{Folder, FolderError, Kind};
use crate::keyfile::{KeyFileError, KeyFrom};
use crate::medium::{self, BESIDE_MAX, MEDIUM_FILE, Medium, MediumError, README, SUMS};
use crate::papers::{APPROVALS, Countersigned, Papers, PapersError, WAYBILL, read_approval};
use crate::parity::{self, Index, Parity, Rows, Watch};
use crate::trustdir::{self, TrustDirError};
use crate::volume::{self, Layout, VOLUME};
use crate::words::{Voice, groups, say, shown, size};

/// A line of `SHA256SUMS` for each piece of the fullest volume, its parity and its papers.
const SUMS_BYTES_MAX: usize = (PIECES_MAX + 1_024) * 160;

/// Files that are read back by all cores before anybody asks whether one of them failed: each alone is read faster than it is
/// digested twice, and neighbours on a disc cost it no way.
const READ_TOGETHER: usize = 32;

/// Plain SHA-256 of files as they were read back.
type Sums = BTreeMap<String, Digest>;

/// What stops a confirmation.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfirmError {
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
    /// The medium carries other papers than the desk.
    #[error("the waybill of trip {trip} on the medium is not the one in the desk")]
    OtherWaybill { trip: u64 },
    /// The paper of a volume says what is read back, and nobody has checked who signed it.
    #[error("trip {trip} has a volume's paper; its signature is checked with --trust DIR")]
    Unproven { trip: u64 },
    /// A write-once medium was closed before everybody had signed.
    #[error("countersignature {file} is in the desk and not on the medium, and the medium cannot be written: {cause}")]
    Closed { trip: u64, file: String, cause: String },
    /// Sectors are not what was written.
    #[error("{} files of trip {trip} have damaged sectors", found.damage.len())]
    Damaged { trip: u64, found: parity::Found },
    /// What anybody can check by hand would not hold.
    #[error("{SUMS} of trip {trip} does not fit {file}")]
    OtherSums { trip: u64, file: String },
    /// A countersignature that was just written.
    #[error("countersignature {file} of trip {trip} is not on the medium as it is in the desk")]
    OtherApproval { trip: u64, file: String },
    /// Something else lies there.
    #[error("the medium holds {count} things of trip {trip} that are not on its waybill: {first}")]
    Strangers { trip: u64, count: usize, first: String },
}

impl From<PapersError> for ConfirmError {
    fn from(error: PapersError) -> Self {
        ConfirmError::Medium(error.into())
    }
}

/// `ferry confirm`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Confirm {
    /// The node's spool
    #[arg(long, value_name = "DIR")]
    pub(crate) spool: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) key: KeyFrom,
    /// The written medium, put in and mounted
    #[arg(long, value_name = "DIR")]
    pub(crate) medium: PathBuf,
    /// Which trip
    #[arg(long)]
    pub(crate) trip: u64,
    /// Key cards; then ferry checks every signature itself, besides the daemon
    #[arg(long, value_name = "DIR")]
    pub(crate) trust: Option<PathBuf>,
}

impl Confirm {
    /// Completes the papers, reads back, asks.
    pub(crate) fn run(&self, voice: Voice, now: Timestamp) -> Result<(), ConfirmError> {
        let language = voice.language;
        let trip = self.trip;
        let desk = Desk::open(self.spool.as_deref())?;
        let trust = self.trust.as_deref().map(trustdir::read).transpose()?;
        let staged = Folder::open(&desk.staged(trip)).map_err(MediumError::from)?;
        let papers = Papers::read(&staged)?;
        let (folder, there) = Medium::open(&self.medium)?.trip(trip)?;
        if there.bytes != papers.bytes {
            return Err(ConfirmError::OtherWaybill { trip });
        }
        if let Some(trust) = &trust {
            papers.prove(trust)?;
        }
        papers.enough(&papers.approvals(&staged, trust.as_ref())?)?;
        self.complete(&staged, &folder, &papers)?;
        let person = self.key.open(language.pick("passphrase", "口令"))?;

        // Until the kernel has forgotten them, reading the files back would read our own memory.
        let (mut forgotten, mut all) = forget_papers(&folder);
        if folder.read(WAYBILL, WAYBILL_BYTES_MAX).map_err(MediumError::from)? != papers.bytes {
            return Err(ConfirmError::OtherWaybill { trip });
        }
        let layout = Layout::read(&folder, &papers, trust.as_ref()).map_err(MediumError::from)?;
        if layout.paper.is_some() && trust.is_none() {
            return Err(ConfirmError::Unproven { trip });
        }
        let spans: Vec<Span> = layout.pieces.iter().map(|piece| layout.span(&papers, piece)).collect();
        let names = layout.names(&papers);
        let content = names.iter().filter(|name| *name != VOLUME);
        forgotten += content.clone().filter(|name| forget(&folder, name)).count();
        all += content.count();
        let bar = voice.bar(layout.bytes(), say!(language, "reading back trip {trip}", "回读批次 {trip}"));
        let mut sums = copies_hold(&folder, &papers, &layout)?;
        let read = read_back(&folder, &papers, &layout, &spans, &bar, &mut sums)
            .and_then(|()| same(&staged, &papers, &layout, &bar))
            .and_then(|()| sums_hold(&folder, trip, &names, sums));
        bar.finish_and_clear();
        read?;
        let approvals = self.approvals(&staged, &folder, &papers, trust.as_ref())?;
        let strangers = medium::strangers(&folder, &papers, &layout).map_err(MediumError::from)?;
        if let Some(first) = strangers.first() {
            return Err(ConfirmError::Strangers { trip, count: strangers.len(), first: first.clone() });
        }

        let mut arguments = vec![("trip", trip.to_string()), ("medium", papers.waybill.medium.to_string())];
        if layout.count > 1 {
            let (from, through) = holds(&papers, &layout);
            arguments.extend([("volume", layout.number.to_string()), ("volumes", layout.count.to_string())]);
            arguments.extend([("from", from.to_string()), ("through", through.to_string())]);
        }
        let answer = voice.during(voice.waiting(), || desk.ask(&person, "confirm", &arguments, now, ASK_WAIT_MS))?;
        let (files, amount, digest) = (layout.pieces.len(), size(layout.bytes()), groups(&papers.digest));
        let missing = answer.details.get("missing").and_then(|list| list.as_array()).cloned().unwrap_or_default();
        voice.object(&json!({
            "trip": trip, "code": answer.code, "files": files, "bytes": layout.bytes(), "waybill": papers.digest.to_string(),
            "approvals": approvals.iter().map(|a| a.person.to_string()).collect::<Vec<_>>(), "caches_dropped": forgotten,
            "signatures_checked_here": trust.is_some(), "volume": layout.number, "volumes": layout.count,
            "not_yet_confirmed": missing, "parity_sectors": layout.shape.map_or(0, |shape| shape.parity_sectors()),
        }));
        let (number, count) = (layout.number, layout.count);
        if count > 1 {
            voice.line(&say!(language, "volume {number} of {count}", "第 {number} 卷，共 {count} 卷"));
        }
        if !missing.is_empty() {
            let left = missing.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            voice.line(&say!(
                language,
                "trip {trip}: this volume is confirmed. {files} files, {amount} read back. Still to be confirmed: volume {left}.",
                "批次 {trip}：本卷已确认。回读 {files} 个文件，{amount}。待确认：第 {left} 卷。"
            ));
            return Ok(());
        }
        voice.line(&say!(
            language,
            "trip {trip}: confirmed. {files} files, {amount} read back and equal to the waybill.",
            "批次 {trip}：已确认。回读 {files} 个文件，{amount}，与运单一致。"
        ));
        voice.line(&say!(
            language,
            "read     from the medium: the system was asked to forget {forgotten} of {all} files (posix_fadvise)",
            "回读     来自介质：已请系统丢弃 {all} 个文件中 {forgotten} 个的缓存（posix_fadvise）"
        ));
        voice.line(&say!(language, "waybill  {digest}", "运单  {digest}"));
        for approval in &approvals {
            let (who, at) = (&approval.person, approval.at);
            voice.line(&say!(language, "signed   {who}  {at}", "会签  {who}  {at}"));
        }
        if trust.is_none() {
            voice.line(language.pick(
                "The signatures were checked by the node; with --trust DIR ferry checks them too.",
                "签名由节点核对；加 --trust DIR 则本程序也核对。",
            ));
        }
        voice.line(language.pick(
            "Next: carry it, and import it with `ferry import --medium DIR`.",
            "下一步：携带介质，到对端执行 ferry import --medium DIR。",
        ));
        Ok(())
    }

    /// The countersignatures as the medium has them: those of the desk, byte for byte.
    fn approvals(
        &self,
        staged: &Folder,
        medium: &Folder,
        papers: &Papers,
        trust: Option<&Trust>,
    ) -> Result<Vec<Countersigned>, ConfirmError> {
        for Countersigned { file, .. } in papers.approvals(staged, None)? {
            let in_desk = read_approval(staged, &file).map_err(MediumError::from)?;
            for copy in std::iter::once(None).chain(COPIES.map(Some)) {
                let inside = copy.map(|copy| medium.sub(copy)).transpose().map_err(MediumError::from)?;
                if in_desk != read_approval(inside.as_ref().unwrap_or(medium), &file).map_err(MediumError::from)? {
                    let file = copy.map_or(file.clone(), |copy| format!("{copy}/{file}"));
                    return Err(ConfirmError::OtherApproval { trip: self.trip, file });
                }
            }
        }
        let approvals = papers.approvals(medium, trust)?;
        papers.enough(&approvals)?;
        Ok(approvals)
    }

    /// Copies countersignatures that the desk has and the medium lacks.
    fn complete(&self, staged: &Folder, medium: &Folder, papers: &Papers) -> Result<(), ConfirmError> {
        let disk = Disk::real();
        for approval in papers.approvals(staged, None)? {
            let file = approval.file;
            let in_desk = read_approval(staged, &file).map_err(MediumError::from)?;
            for place in places_there(medium.path()) {
                let folder = Folder::open(&place).map_err(MediumError::from)?;
                let on_medium = read_approval(&folder, &file).map_err(MediumError::from)?;
                if let Some(bytes) = in_desk.as_ref().filter(|bytes| on_medium.as_ref() != Some(bytes)) {
                    put(&disk, &place, &file, bytes, MEDIUM_FILE).map_err(|error| ConfirmError::Closed {
                        trip: self.trip,
                        file: file.clone(),
                        cause: error.to_string(),
                    })?;
                }
            }
        }
        for place in places_there(medium.path()) {
            sweep(&disk, &Folder::open(&place).map_err(MediumError::from)?);
        }
        Ok(())
    }
}

/// From which byte to which of the trip a volume holds, all its files one behind another in the order of their names: a
/// trip is cut in that order.
pub(crate) fn holds(papers: &Papers, layout: &Layout) -> (u64, u64) {
    let mut begins = vec![u64::MAX; papers.waybill.lines.len()];
    let mut end = 0_u64;
    for (_, line) in volume::order(papers) {
        if let (Some(begin), Some(about)) = (begins.get_mut(line), papers.waybill.lines.get(line)) {
            *begin = end;
            end = end.saturating_add(about.size);
        }
    }
    let place = |piece: &Piece| {
        let line = usize::try_from(piece.line).ok().and_then(|line| begins.get(line));
        line.map_or(u64::MAX, |begin| begin.saturating_add(piece.offset))
    };
    let from = layout.pieces.iter().map(place).min().unwrap_or(0);
    let bytes = layout.pieces.iter().map(|piece| piece.size).fold(0, u64::saturating_add);
    (from, from.saturating_add(bytes))
}

/// Reads every file of the volume back. Where one is not what was written, all of it is looked at, so that the operator
/// hears how bad it is.
fn read_back(
    folder: &Folder,
    papers: &Papers,
    layout: &Layout,
    spans: &[Span],
    bar: &ProgressBar,
    sums: &mut Sums,
) -> Result<(), ConfirmError> {
    let suite = papers.signed.suite;
    let Some(shape) = &layout.shape else {
        let one = |span: &Span| {
            let mut sha256 = Suite::Std.hasher();
            let mut each = |piece: &[u8]| {
                sha256.update(piece);
                Ok(())
            };
            read_span(folder, span, suite, bar, &mut each).map_err(MediumError::from)?;
            Ok::<_, MediumError>((span.name.clone(), sha256.finish()))
        };
        for some in spans.chunks(READ_TOGETHER) {
            for read in crew::each(some, one) {
                let (name, sum) = read?;
                sums.insert(name, sum);
            }
        }
        return Ok(());
    };
    let parity = Parity { shape, waybill: &papers.digest, number: layout.number };
    let index = Index::read(folder, parity);
    let (mut first, mut whole, mut failed) = (0, true, None);
    for span in spans {
        let mut watch = Watch::new(&index, first);
        let mut sha256 = Suite::Std.hasher();
        let read = read_span(folder, span, suite, bar, &mut |piece| {
            watch.update(piece);
            sha256.update(piece);
            Ok(())
        });
        watch.end();
        sums.insert(span.name.clone(), sha256.finish());
        whole &= read.is_ok() && watch.bad == 0;
        failed = failed.or(read.err());
        first += span.size.div_ceil(SECTOR_BYTES as u64);
    }
    let rows = if whole { Rows::Parity } else { Rows::Both };
    let found = parity::check(folder, parity, &index, spans, rows, bar);
    if found.is_clean() {
        // No sector is other than the index says, and yet a file is none of ours: it says why itself.
        return failed.map_or(Ok(()), |error| Err(MediumError::from(error).into()));
    }
    Err(ConfirmError::Damaged { trip: papers.waybill.trip, found })
}

/// The second and third copy of the waybill and of the volume's paper are what the first is. Gives their plain digests.
fn copies_hold(folder: &Folder, papers: &Papers, layout: &Layout) -> Result<Sums, ConfirmError> {
    let trip = papers.waybill.trip;
    let mut sums = Sums::new();
    for copy in COPIES {
        let inside = folder.sub(copy).map_err(|error| gone(trip, copy, error))?;
        for (name, wanted) in [(WAYBILL, Some(&papers.bytes)), (VOLUME, layout.paper.as_ref())] {
            let Some(wanted) = wanted else { continue };
            let file = format!("{copy}/{name}");
            let read = inside.read(name, WAYBILL_BYTES_MAX).map_err(|error| gone(trip, &file, error))?;
            if read != *wanted {
                return Err(ConfirmError::OtherSums { trip, file });
            }
            sums.insert(file, Suite::Std.digest(&read));
        }
    }
    Ok(sums)
}

/// Has the kernel forget what it knows of the papers. Says of how many it did, and of how many it was asked to.
fn forget_papers(folder: &Folder) -> (usize, usize) {
    let copies = COPIES.into_iter().filter_map(|copy| folder.sub(copy).ok());
    let (forgot, all): (Vec<usize>, Vec<usize>) = copies.map(|copy| forget_in(&copy)).unzip();
    let (own, count) = forget_in(folder);
    (own + forgot.iter().sum::<usize>(), count + all.iter().sum::<usize>())
}

fn forget_in(folder: &Folder) -> (usize, usize) {
    let names = [WAYBILL, VOLUME, SUMS, README].into_iter().filter(|name| folder.file(name).is_ok());
    let mut forgot: Vec<bool> = names.map(|name| forget(folder, name)).collect();
    if let Ok(approvals) = folder.sub(APPROVALS)
        && let Ok(items) = approvals.list(BESIDE_MAX)
    {
        let files = items.iter().filter(|item| item.kind == Kind::File);
        forgot.extend(files.map(|item| item.name.to_str().is_some_and(|name| forget(&approvals, name))));
    }
    (forgot.iter().filter(|forgot| **forgot).count(), forgot.len())
}

/// `SHA256SUMS` says of every file that is to be there what was read of it, and nothing else.
fn sums_hold(folder: &Folder, trip: u64, names: &HashSet<String>, mut sums: Sums) -> Result<(), ConfirmError> {
    for name in names.iter().map(String::as_str).chain([WAYBILL, README]) {
        if !sums.contains_key(name) {
            let sum = folder.sum(name).map_err(|error| gone(trip, name, error))?;
            sums.insert(name.to_owned(), sum);
        }
    }
    let read = folder.read(SUMS, SUMS_BYTES_MAX).map_err(|error| gone(trip, SUMS, error))?;
    let text = String::from_utf8_lossy(&read);
    let mut said: HashMap<&str, &str> =
        text.lines().filter_map(|line| line.split_once("  ")).map(|(sum, name)| (name, sum)).collect();
    let wrong = sums.iter().find(|(name, sum)| said.remove(name.as_str()) != Some(sum.to_string().as_str()));
    let file = wrong.map(|(name, _)| name.clone()).or_else(|| said.keys().next().map(|name| shown(name.as_ref())));
    file.map_or(Ok(()), |file| Err(ConfirmError::OtherSums { trip, file }))
}

fn gone(trip: u64, name: &str, error: FolderError) -> ConfirmError {
    if error.is_missing() {
        return ConfirmError::OtherSums { trip, file: name.to_owned() };
    }
    ConfirmError::Medium(error.into())
}

/// Parts are the same bytes as in the staged file: the waybill has a digest of the whole file alone.
fn same(staged: &Folder, papers: &Papers, layout: &Layout, bar: &ProgressBar) -> Result<(), ConfirmError> {
    for piece in layout.pieces.iter().filter(|piece| piece.part > 0) {
        let span = layout.joined(papers, piece);
        bar.inc_length(span.size);
        read_span(staged, &span, papers.signed.suite, bar, &mut |_| Ok(())).map_err(MediumError::from)?;
    }
    Ok(())
}

/// A countersignature that was being put onto the medium when its command died left a file aside. Nobody puts one there
/// now; where the medium cannot be written any more it stays, and is listed as a stranger.
fn sweep(disk: &Disk, medium: &Folder) {
    let Ok(items) = medium.sub(APPROVALS).and_then(|folder| folder.list(BESIDE_MAX)) else { return };
    for item in items
        .iter()
        .filter(|item| item.kind == Kind::File && item.name.as_encoded_bytes().starts_with(ASIDE.as_bytes()))
    {
        let _left = disk.remove_file(&medium.path().join(APPROVALS).join(&item.name));
    }
}
