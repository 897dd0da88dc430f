//! Verify: walks what was named - files, folders, media - and proves every object of ours with public keys alone. Then
//! looks across: all papers of one parcel must tell of one statement and one way. A table at the end; one failure is enough.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use protocol::bundle;
use protocol::suite::Digest;
use protocol::tree::root_of_reader;
use protocol::waybill::{Waybill, WaybillLine, line_file_name};
use protocol::{Suite, Timestamp, Trust};
use serde_json::json;

use crate::account::{Account, Sums};
use crate::as_of::{self, Dated};
use crate::copying::{Span, read_span};
use crate::crew;
use crate::folder::{Folder, FolderError, Kind};
use crate::journeys::{Journeys, Parcel};
use crate::medium::{OURS, strangers, trip_number};
use crate::papers::{APPROVALS, Papers, WAYBILL};
use crate::presence::Presence;
use crate::proof::{self, Proof, Stamp, What};
use crate::trustdir::{self, TrustDirError};
use crate::volume::Layout;
use crate::words::{Language, Voice, say, shown};

/// Files of one run: a year of evidence of a large office. Held in memory at some 300 bytes each.
const FILES_MAX: usize = 2_000_000;
/// Names in one folder: a day of evidence, or the largest waybill.
const ITEMS_MAX: usize = 1_000_000;
/// Folders in folders: evidence has four levels, a medium three.
const DEPTH_MAX: usize = 32;

/// Files that are proven before their proofs are told, and bytes.
const TOGETHER_FILES: usize = 512;
const TOGETHER_BYTES: u64 = 256 << 20;

/// What stops a verification before it says anything.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VerifyError {
    /// The trust folder.
    #[error(transparent)]
    Trust(#[from] TrustDirError),
    /// A path that was named.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Too much.
    #[error("more than {FILES_MAX} files; verify one year or one folder at a time")]
    TooMany,
    /// Folders that do not end.
    #[error("{} lies deeper than {DEPTH_MAX} folders", path.display())]
    TooDeep { path: PathBuf },
    /// Something failed; it was said which.
    #[error("{failed} of {checked} objects failed")]
    Failed { failed: usize, checked: usize, first: String, cause: String },
    /// A medium that is no longer in: what was not read of it says nothing about it.
    #[error("{} was pulled out after {checked} objects", path.display())]
    PulledOut { path: PathBuf, checked: usize },
    /// The account.
    #[error("the report {}: {cause}", path.display())]
    Report { path: PathBuf, cause: std::io::Error },
    /// Nothing to verify.
    #[error("no object of ours under the paths named ({passed_over} other files)")]
    Nothing { passed_over: usize },
}

/// `ferry verify`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Verify {
    /// Bundles, evidence, waybills, receipts, media, or folders of them
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Key cards of everybody whose signature may count
    #[arg(long, value_name = "DIR")]
    pub(crate) trust: PathBuf,
    /// Only the table, without what was checked of each object
    #[arg(long)]
    pub(crate) brief: bool,
    /// Every parcel must be proven from its origin to its end: evidence of every hop, a receipt for each; what is missing fails
    #[arg(long)]
    pub(crate) delivered: bool,
    /// Write the account into this new file, one HTML page for people
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
}

/// The page of an account.
type Page = Account<std::io::BufWriter<std::fs::File>>;

/// One file to prove.
struct Target {
    path: PathBuf,
    bytes: u64,
    /// The trip whose folder it lies in, by its place in [`Walk::trips`].
    trip: Option<usize>,
}

/// What was proven of one file: its stamp, and its size and tree digest; neither where it failed.
type Seen = (Option<Stamp>, Option<(u64, Digest)>);

/// A folder with a waybill: what was proven of each of its files, by name.
struct Trip {
    path: PathBuf,
    suite: Option<Suite>,
    files: HashMap<String, Seen>,
}

#[derive(Default)]
struct Walk {
    targets: Vec<Target>,
    trips: Vec<Trip>,
    /// What cannot be walked, with its cause: a failure of its own.
    refused: Vec<(PathBuf, String)>,
    passed_over: usize,
}

struct Row {
    path: String,
    what: &'static str,
    failure: Option<String>,
    notes: usize,
}

impl Verify {
    /// Walks, proves, compares, sums up.
    pub(crate) fn run(&self, voice: Voice, now: Timestamp) -> Result<(), VerifyError> {
        let language = voice.language;
        let trust = trustdir::read(&self.trust)?;
        let before: Vec<Presence> = self.paths.iter().filter_map(|path| Presence::of(path)).collect();
        let mut walk = Walk::default();
        for path in &self.paths {
            walk.named(path).map_err(|error| pulled_out(&before, 0).err().unwrap_or(error))?;
        }
        if walk.targets.is_empty() && walk.refused.is_empty() {
            return Err(VerifyError::Nothing { passed_over: walk.passed_over });
        }
        let bar = voice
            .bar(walk.targets.iter().map(|target| target.bytes).sum(), language.pick("verifying", "校验中").to_owned());
        let mut page = self.page(language, now, &trust)?;
        let mut rows = Vec::with_capacity(walk.targets.len());
        let mut journeys = Journeys::default();
        let mut targets = walk.targets.as_slice();
        while let Some((some, later)) = some_of(targets) {
            let proofs = crew::each(some, |target| {
                let suite = target.trip.and_then(|trip| walk.trips.get(trip)).and_then(|trip| trip.suite);
                proof::of_file(&target.path, &trust, suite, language, &bar)
            });
            // Of a medium that is gone nobody can say what is wrong with the file.
            if proofs.iter().any(|proof| proof.failure.is_some()) {
                self.still_in(&before, rows.len())?;
            }
            for (target, mut proof) in some.iter().zip(proofs) {
                let trip = target.trip.and_then(|trip| walk.trips.get_mut(trip));
                if let (Some(trip), Some(name)) = (trip, target.path.file_name().and_then(|name| name.to_str())) {
                    trip.files.insert(name.to_owned(), (proof.stamp.take(), proof.digest));
                }
                let batch = proof.what == What::Receipts;
                for journey in proof.journeys.drain(..) {
                    if batch { journeys.take_beside(rows.len(), journey) } else { journeys.take(rows.len(), journey) }
                }
                rows.push(self.tell(voice, &bar, &target.path, &proof, &mut page)?);
            }
            targets = later;
        }
        if !walk.refused.is_empty() {
            self.still_in(&before, rows.len())?;
        }
        for (path, cause) in &walk.refused {
            rows.push(self.tell(voice, &bar, path, &Proof::failed(What::Unknown, cause.clone()), &mut page)?);
        }
        for trip in &walk.trips {
            bar.set_message(language.pick("holding against the waybill", "与运单核对"));
            let (mut holds, mut notes) = (Vec::new(), Vec::new());
            let failure = trip.check(&trust, language, &bar, &mut holds, &mut notes).err();
            if failure.is_some() {
                self.still_in(&before, rows.len())?;
            }
            let proof = Proof { holds, notes, failure, ..Proof::failed(What::Waybill, String::new()) };
            let row = self.tell(voice, &bar, &trip.path, &proof, &mut page)?;
            rows.push(Row { what: "trip", ..row });
        }
        bar.finish_and_clear();
        let parcels = compare(voice, journeys, self.delivered, &mut rows, &mut page).map_err(|e| self.unwritten(e))?;
        sum_up(voice, &rows, parcels, walk.passed_over, page).map_err(|e| self.unwritten(e))?
    }

    /// A medium that was pulled out ends it, and an account that was begun is none.
    fn still_in(&self, before: &[Presence], checked: usize) -> Result<(), VerifyError> {
        let gone = pulled_out(before, checked);
        if let (Err(_), Some(report)) = (&gone, &self.report) {
            // The same command writes it anew; a half of one that stays is the lesser evil.
            let _left = spool::Disk::real().remove_file(report);
        }
        gone
    }

    /// The page of the account, where one is asked for.
    fn page(&self, language: Language, now: Timestamp, trust: &Trust) -> Result<Option<Page>, VerifyError> {
        let Some(path) = &self.report else { return Ok(None) };
        let file = spool::Disk::real().create(path).map_err(|e| self.unwritten(e))?;
        let out = std::io::BufWriter::new(file);
        let page = Account::begin(out, language, now, &self.paths, (&self.trust, trust));
        page.map(Some).map_err(|e| self.unwritten(e))
    }

    fn unwritten(&self, cause: std::io::Error) -> VerifyError {
        VerifyError::Report { path: self.report.clone().unwrap_or_default(), cause }
    }

    fn tell(
        &self,
        voice: Voice,
        bar: &ProgressBar,
        path: &Path,
        proof: &Proof,
        page: &mut Option<Page>,
    ) -> Result<Row, VerifyError> {
        let shown_path = shown(path.as_os_str());
        if let Some(page) = page {
            page.object(&shown_path, proof).map_err(|e| self.unwritten(e))?;
        }
        voice.object(&json!({
            "code": if proof.failure.is_none() { "proven" } else { "failed" }, "path": shown_path, "what": proof.what.word(), "ok": proof.failure.is_none(), "cause": proof.failure,
            "checked": proof.holds, "notes": proof.notes, "facts": proof.facts,
        }));
        if !self.brief && !voice.json {
            bar.suspend(|| {
                voice.line(&format!("{}  {shown_path}", if proof.failure.is_none() { "ok  " } else { "FAIL" }));
                proof.holds.iter().for_each(|held| voice.line(&format!("      + {held}")));
                proof.notes.iter().for_each(|note| voice.line(&format!("      ! {note}")));
                if let Some(cause) = &proof.failure {
                    voice.line(&format!("      - {cause}"));
                }
            });
        }
        Ok(Row { path: shown_path, what: proof.what.word(), failure: proof.failure.clone(), notes: proof.notes.len() })
    }
}

impl Trip {
    /// A trip's folder as a whole: countersignatures, every file of the waybill there and whole, nothing else beside.
    fn check(
        &self,
        trust: &Trust,
        language: Language,
        bar: &ProgressBar,
        holds: &mut Vec<String>,
        notes: &mut Vec<String>,
    ) -> Result<(), String> {
        let text = |e: &dyn std::fmt::Display| e.to_string();
        let folder = Folder::open(&self.path).map_err(|e| text(&e))?;
        let papers = Papers::read(&folder).map_err(|e| text(&e))?;
        // 10.1.1
        papers.prove(trust).map_err(|e| text(&e))?;
        let trip = papers.waybill.trip;
        let named = self.path.file_name().and_then(|name| name.to_str()).and_then(trip_number);
        if let Some(named) = named.filter(|named| *named != trip) {
            return Err(say!(
                language,
                "the folder is called {named}, its waybill is of trip {trip}",
                "目录名为 {named}，运单为批次 {trip}"
            ));
        }
        // 10.3.1 to 10.3.6
        let layout = Layout::read(&folder, &papers, Some(trust)).map_err(|e| text(&e))?;
        // 10.1.2
        for piece in layout.pieces.iter().filter(|piece| piece.part == 0) {
            let line = usize::try_from(piece.line).ok().and_then(|place| papers.waybill.lines.get(place));
            line.map_or(Ok(()), |line| self.check_line(&papers.waybill, line, language))?;
        }
        // 10.3.7, 10.3.8
        check_parts(&folder, &papers, &layout, trust, bar).map_err(|(name, cause)| format!("{name}: {cause}"))?;
        let (files, number, count) = (papers.waybill.lines.len(), layout.number, layout.count);
        let (pieces, parts) = (layout.pieces.len(), layout.pieces.iter().filter(|piece| piece.part > 0).count());
        let whole = pieces - parts;
        holds.push(match count {
            1 if files == 0 => say!(
                language,
                "trip {trip}: its waybill is empty and nothing else lies here; its number lets the next trip pass",
                "批次 {trip}：运单为空，此处无其他文件；其编号使后一批次得以导入"
            ),
            1 => say!(
                language,
                "trip {trip}: all {files} files of the waybill are there and equal to it",
                "批次 {trip}：运单上的 {files} 个文件齐全且一致"
            ),
            _ => say!(
                language,
                "trip {trip}, volume {number} of {count}: its {whole} whole files are there and equal to the waybill, its {parts} parts to what the exporter signed",
                "批次 {trip} 第 {number} 卷（共 {count} 卷）：{whole} 个整文件齐全且与运单一致，{parts} 个分段与导出人签名一致"
            ),
        });
        // 10.1.3, 10.1.4
        let approvals = papers.approvals(&folder, Some(trust)).map_err(|e| text(&e))?;
        papers.enough(&approvals).map_err(|e| text(&e))?;
        for approval in &approvals {
            let (who, at) = (&approval.person, approval.at);
            holds.push(say!(language, "countersigned by {who} at {at}", "{who} 于 {at} 会签"));
            let signed = Dated { signer: approval.signer, at };
            notes.extend(as_of::doubt(trust, proof::approval_words(language), signed, &[], language));
        }
        // 10.1.5
        if let Some(first) = strangers(&folder, &papers, &layout).map_err(|e| text(&e))?.first() {
            return Err(say!(
                language,
                "{first} is not on the waybill; it was not opened",
                "{first} 不在运单上，未打开"
            ));
        }
        Ok(())
    }

    /// What was proven of the file is what the line says.
    fn check_line(&self, bill: &Waybill, line: &WaybillLine, language: Language) -> Result<(), String> {
        let name = line_file_name(line);
        let Some((stamp, digest)) = self.files.get(&name) else {
            return Err(say!(language, "{name} is on the waybill and not there", "{name} 在运单上但不存在"));
        };
        let (Some(stamp), Some(digest)) = (stamp, digest) else {
            return Err(say!(language, "{name} did not verify", "{name} 校验失败"));
        };
        if *digest != (line.size, line.digest) {
            return Err(say!(language, "{name} is not the file the waybill names", "{name} 与运单不符"));
        }
        let expected = Stamp {
            kind: line.kind,
            id: line.id,
            epoch: line.epoch,
            sequence: line.sequence,
            crossing: bill.crossing,
            source: bill.source.clone(),
            target: bill.target.clone(),
        };
        if *stamp == expected {
            Ok(())
        } else {
            Err(say!(
                language,
                "{name} has another id, number or crossing than the waybill",
                "{name} 的编号、序号或跨区段与运单不符"
            ))
        }
    }
}

impl Walk {
    /// A path that a person named: a file is proven whatever it is, a folder is walked.
    fn named(&mut self, path: &Path) -> Result<(), VerifyError> {
        match Folder::open(path) {
            Ok(folder) => self.folder(&folder, 0),
            Err(FolderError::NotAFolder { .. }) => self.file(path, None),
            Err(FolderError::Missing { path }) => {
                self.refused.push((path, "not there".to_owned()));
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn file(&mut self, path: &Path, trip: Option<usize>) -> Result<(), VerifyError> {
        if self.targets.len() >= FILES_MAX {
            return Err(VerifyError::TooMany);
        }
        let bytes = path.symlink_metadata().map_or(0, |about| about.len());
        self.targets.push(Target { path: path.to_owned(), bytes, trip });
        Ok(())
    }

    fn folder(&mut self, folder: &Folder, depth: usize) -> Result<(), VerifyError> {
        if depth > DEPTH_MAX {
            return Err(VerifyError::TooDeep { path: folder.path().to_owned() });
        }
        let items = folder.list(ITEMS_MAX)?;
        // Where a waybill lies, only what it may name is opened; everything else is the trip's failure.
        let is_trip = items.iter().any(|item| item.name == WAYBILL && item.kind == Kind::File);
        let trip = is_trip.then_some(self.trips.len());
        if !is_trip && is_trips_place(folder.path()) {
            self.refused.push((folder.path().to_owned(), "a trip without its waybill".to_owned()));
        }
        if is_trip {
            // A waybill that cannot be read fails as a file and as a trip.
            let suite = Papers::read(folder).ok().map(|papers| papers.signed.suite);
            self.trips.push(Trip { path: folder.path().to_owned(), suite, files: HashMap::new() });
        }
        // A medium is what holds our folder; what lies beside it is not ours to judge.
        let medium = items.iter().any(|item| item.name == OURS && item.kind == Kind::Folder);
        for item in items {
            let path = folder.path().join(&item.name);
            let ours =
                if is_trip { item.kind == Kind::File || item.name == APPROVALS } else { !medium || item.name == OURS };
            match item.kind {
                Kind::Folder if ours => match folder.sub(&item.name) {
                    Ok(sub) => self.folder(&sub, depth + 1)?,
                    Err(error) => self.refused.push((path, error.to_string())),
                },
                Kind::File if ours && is_ours(&path, is_trip) => self.file(&path, trip)?,
                Kind::Link | Kind::Special if ours => {
                    self.refused.push((path, "a link or device where files belong; it was not opened".to_owned()));
                }
                _ => self.passed_over += 1,
            }
        }
        Ok(())
    }
}

/// Parts of large bundles are what their volume says; where all of one lie here, it is proven as a whole.
fn check_parts(
    folder: &Folder,
    papers: &Papers,
    layout: &Layout,
    trust: &Trust,
    bar: &ProgressBar,
) -> Result<(), (String, String)> {
    let suite = papers.signed.suite;
    let mut bundles: BTreeMap<u64, Vec<Span>> = BTreeMap::new();
    for piece in layout.pieces.iter().filter(|piece| piece.part > 0) {
        let span = layout.span(papers, piece);
        bar.inc_length(span.size);
        read_span(folder, &span, suite, bar, &mut |_| Ok(())).map_err(|e| (span.name.clone(), e.to_string()))?;
        bundles.entry(piece.line).or_default().push(span);
    }
    for (place, parts) in bundles {
        let line = usize::try_from(place).ok().and_then(|place| papers.waybill.lines.get(place));
        let Some(line) = line.filter(|line| parts.iter().map(|part| part.size).sum::<u64>() == line.size) else {
            continue;
        };
        let name = line_file_name(line);
        let joined = || -> Result<Box<dyn Read>, FolderError> {
            let mut joined: Box<dyn Read> = Box::new(std::io::empty());
            for part in &parts {
                joined = Box::new(joined.chain(folder.file(&part.name)?.0));
            }
            Ok(joined)
        };
        let read = |e: FolderError| (name.clone(), e.to_string());
        let root = root_of_reader(suite, &mut joined().map_err(read)?).map_err(|e| (name.clone(), e.to_string()))?;
        if root != (line.size, line.digest) {
            return Err((name, "its parts are not the file the waybill names".to_owned()));
        }
        let verified = bundle::verify(&mut std::io::BufReader::new(joined().map_err(read)?), trust);
        let envelope = verified.map_err(|e| (name.clone(), e.to_string()))?.envelope;
        let bill = &papers.waybill;
        if (envelope.bundle, envelope.epoch, envelope.sequence) != (line.id, line.epoch, line.sequence)
            || (envelope.crossing, &envelope.source, &envelope.target) != (bill.crossing, &bill.source, &bill.target)
        {
            return Err((name, "it has another id, number or crossing than the waybill".to_owned()));
        }
    }
    Ok(())
}

/// Is everything that was named still where it was?
fn pulled_out(before: &[Presence], checked: usize) -> Result<(), VerifyError> {
    let gone = before.iter().find(|medium| medium.is_gone());
    gone.map_or(Ok(()), |gone| Err(VerifyError::PulledOut { path: gone.path().to_owned(), checked }))
}

/// `TRILOCK/<number>`: what lies there came by a trip, and only its waybill says what all of it is.
fn is_trips_place(path: &Path) -> bool {
    let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    path.parent().and_then(name).is_some_and(|above| above == OURS)
        && name(path).and_then(|it| trip_number(&it)).is_some()
}

/// So many files that every core has work and their proofs fit in memory, and not so many bytes that nothing is told for
/// long. Nothing, when nothing is left.
fn some_of(targets: &[Target]) -> Option<(&[Target], &[Target])> {
    let mut bytes: u64 = 0;
    let files = targets.iter().take(TOGETHER_FILES).take_while(|target| {
        let fits = bytes < TOGETHER_BYTES;
        bytes = bytes.saturating_add(target.bytes);
        fits
    });
    targets.split_at_checked(files.count()).filter(|(now, _)| !now.is_empty())
}

fn is_ours(path: &Path, trip: bool) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let listed = name == WAYBILL || name.ends_with(".bundle") || name.ends_with(".receipts");
    // What has our name and not our first bytes was altered, and must not be passed over as somebody else's.
    let named = listed || name.ends_with(".proof") || name.ends_with(".head");
    if trip { listed } else { named || proof::is_candidate(path) }
}

/// All papers of one parcel tell of one statement, and each way is the beginning of the longest; and where deliveries
/// are asked for, nothing of one is missing. Gives how many parcels are as they should be.
fn compare(
    voice: Voice,
    journeys: Journeys,
    asked: bool,
    rows: &mut Vec<Row>,
    page: &mut Option<Page>,
) -> std::io::Result<usize> {
    let language = voice.language;
    let mut proven = 0;
    for parcel in journeys.parcels(language) {
        for (row, cause) in &parcel.contradict {
            if let Some(row) = rows.get_mut(*row) {
                row.failure.get_or_insert_with(|| (*cause).to_owned());
            }
        }
        let delivered = asked && parcel.missing.is_empty();
        proven += usize::from(parcel.whole && (delivered || !asked));
        if let Some(page) = page {
            page.parcel(&parcel, asked)?;
        }
        let (id, papers, hops) = (parcel.parcel, parcel.papers, parcel.hops);
        if asked {
            let end = parcel
                .end
                .as_ref()
                .map(|end| json!({"node": end.node, "outcome": end.outcome.name(), "at": end.at.to_string()}));
            voice.object(
                &json!({"parcel": id.to_string(), "papers": papers, "hops": hops, "one_statement": parcel.whole,
                "complete": delivered, "end": end, "missing": parcel.missing, "notes": parcel.notes}),
            );
        } else if papers > 1 {
            voice.object(
                &json!({"parcel": id.to_string(), "papers": papers, "hops": hops, "one_statement": parcel.whole}),
            );
        }
        if parcel.whole && (papers > 1 || asked) {
            voice.line(&say!(
                language,
                "parcel {id}: {papers} papers, {hops} hops, one statement",
                "投递件 {id}：{papers} 份凭证，{hops} 段，同一声明"
            ));
        }
        if asked {
            tell_delivery(voice, &parcel);
            let failure = (!delivered).then(|| {
                let missing = parcel.missing.join(language.pick("; ", "；"));
                say!(language, "not there: {missing}", "缺：{missing}")
            });
            rows.push(Row { path: id.to_string(), what: "delivery", failure, notes: parcel.notes.len() });
        }
    }
    if asked && proven == 0 && rows.iter().all(|row| row.what != "delivery") {
        let cause = language.pick("no paper of any parcel was found", "未找到任何投递件的凭证");
        rows.push(Row { path: String::new(), what: "delivery", failure: Some(cause.to_owned()), notes: 0 });
    }
    Ok(proven)
}

fn tell_delivery(voice: Voice, parcel: &Parcel) {
    let language = voice.language;
    if let Some(end) = &parcel.end {
        let (node, outcome, at) = (&end.node, end.outcome.name(), end.at);
        voice.line(&say!(language, "      + {outcome}, says {node} at {at}", "      + {node} 于 {at} 称 {outcome}"));
    }
    if let Some(witness) = &parcel.witness {
        let (node, at) = (&witness.node, witness.at);
        voice.line(&say!(language, "      + first witnessed by {node} at {at}", "      + 最早由 {node} 于 {at} 见证"));
    }
    parcel.notes.iter().for_each(|note| voice.line(&format!("      ! {note}")));
    for missing in &parcel.missing {
        voice.line(&say!(language, "      - not there: {missing}", "      - 缺：{missing}"));
    }
}

fn sum_up(
    voice: Voice,
    rows: &[Row],
    parcels: usize,
    passed_over: usize,
    page: Option<Page>,
) -> std::io::Result<Result<(), VerifyError>> {
    let language = voice.language;
    let failed: Vec<&Row> = rows.iter().filter(|row| row.failure.is_some()).collect();
    let notes: usize = rows.iter().map(|row| row.notes).sum();
    voice.object(&json!({
        "code": if failed.is_empty() { "verified" } else { "failed" },
        "summary": {"checked": rows.len(), "failed": failed.len(), "parcels": parcels, "notes": notes, "passed_over": passed_over},
    }));
    let mut kinds: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for row in rows {
        let kind = kinds.entry(row.what).or_default();
        kind.0 += 1;
        kind.1 += usize::from(row.failure.is_some());
    }
    voice.line("");
    voice.line(language.pick("  what           checked   failed", "  对象           已校验     失败"));
    for (what, (checked, bad)) in &kinds {
        voice.line(&format!("  {what:<12} {checked:>9} {bad:>8}"));
    }
    voice.line(&say!(
        language,
        "  parcels {parcels}, notes {notes}, other files passed over {passed_over}",
        "  投递件 {parcels}，提示 {notes}，略过其他文件 {passed_over}"
    ));
    for row in &failed {
        voice.line(&format!("FAIL  {}: {}", row.path, row.failure.as_deref().unwrap_or_default()));
    }
    if let Some(page) = page {
        let failures = failed.iter().map(|row| (row.path.as_str(), row.failure.as_deref().unwrap_or_default()));
        let sums = Sums {
            checked: rows.len(),
            failed: failed.len(),
            parcels,
            passed_over,
            kinds: kinds.iter().map(|(what, (checked, bad))| (*what, *checked, *bad)).collect(),
            failures: failures.collect(),
        };
        page.end(&sums)?;
    }
    Ok(match failed.first() {
        None => Ok(()),
        Some(first) => Err(VerifyError::Failed {
            failed: failed.len(),
            checked: rows.len(),
            first: first.path.clone(),
            cause: first.failure.clone().unwrap_or_default(),
        }),
    })
}
