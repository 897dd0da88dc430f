//! The judgement over a parcel: released, to be stripped, held, or refused.
//!
//! Order of questions: can the names travel? does a type fit? can every file be looked into, and is it clean? does
//! it keep to the type's schema? The first no decides. [`Released`] is made in exactly one place, at the end of
//! [`inspect_by`]. Content is parsed by an examiner, elsewhere; what is judged here is its answer.

use std::io::Read;

use protocol::{Crossing, Digest, Name, Reason, Suite, Verdict};

use crate::detection::{DetectVerdict, LOOK_BYTES_MAX, Seen};
use crate::examiner::{self, Examiner, InProcess, Looked, Outlined, Silence};
use crate::exception::{self, Exception};
use crate::finding::{Finding, RuleClass};
use crate::kind::{self, Kind};
use crate::label;
use crate::parcel::{Parcel, path_can_travel};
use crate::rules::{OnCoordinates, OnSignature, ParcelType, Rules, Schema, may_keep};
use crate::window::Window;

/// More files than this no parcel holds.
const FILES_MAX: usize = 50_000;
/// Files and bytes of one question. A question costs some tens of microseconds, which 256 KiB of anything do as well.
const BATCH_FILES_MAX: usize = 64;
const BATCH_BYTES_MAX: usize = 256 * 1024;
/// A parcel of at most so many files and bytes is looked at with others in one question.
const AHEAD_FILES_MAX: usize = 16;
const AHEAD_BYTES_MAX: u64 = 64 * 1024;
/// Evidence of one parcel that is kept.
const FINDINGS_MAX: usize = 256;

/// When the guard is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Moment {
    /// Before sealing, where the parcel was dropped.
    Intake,
    /// After opening, at the next node.
    Admission,
}

/// What is asked.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// The rules of the crossing.
    pub rules: &'a Rules,
    /// Whose digests are wanted.
    pub suite: Suite,
    /// Before sealing or after opening.
    pub moment: Moment,
    /// The types the route carries; at admission exactly the declared one.
    pub types: &'a [Name],
    /// This is the result of a strip: it may not be stripped again, and its verdict becomes `Stripped`.
    pub stripped: bool,
}

/// What was decided.
pub enum Judgement<P> {
    /// It may cross.
    Released(Released<P>),
    /// Coordinates can be taken out: write `files` in place of the originals and ask again with `stripped = true`.
    Strip {
        /// The parcel, unchanged.
        parcel: P,
        /// What takes the place of some of its files.
        files: Vec<StrippedFile>,
    },
    /// It is held for people.
    Quarantine {
        /// The parcel.
        parcel: P,
        /// Why, by code.
        reason: Reason,
        /// The evidence, which stays here.
        findings: Vec<Finding>,
    },
    /// It may not cross.
    Refused {
        /// The parcel.
        parcel: P,
        /// Why, by code.
        reason: Reason,
        /// The evidence, which stays here.
        findings: Vec<Finding>,
    },
}

/// A file without its coordinates.
#[derive(Clone, PartialEq, Eq)]
pub struct StrippedFile {
    /// Which file of the parcel it replaces.
    pub index: usize,
    /// Its new bytes.
    pub bytes: Vec<u8>,
    /// What was taken out, by rule, and how often.
    pub removed: Vec<(String, u32)>,
}

impl std::fmt::Debug for StrippedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StrippedFile")
            .field("index", &self.index)
            .field("removed", &self.removed)
            .finish_non_exhaustive()
    }
}

/// The only proof that content was inspected.
pub struct Released<P> {
    parcel: P,
    parcel_type: Name,
    verdict: Verdict,
    rules_version: String,
    digests: Vec<(u64, Digest)>,
    labels: Vec<(Name, String)>,
    excepted: Vec<(String, String)>,
}

impl<P> Released<P> {
    /// What was found and let pass by two people's word: rule and path, one for each finding.
    pub fn excepted(&self) -> &[(String, String)] {
        &self.excepted
    }

    /// The parcel.
    pub fn parcel(&self) -> &P {
        &self.parcel
    }

    /// Gives the parcel back.
    pub fn into_parcel(self) -> P {
        self.parcel
    }

    /// The type it was found to be.
    pub fn parcel_type(&self) -> &Name {
        &self.parcel_type
    }

    /// How it came through.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The version of the rules it was held against.
    pub fn rules_version(&self) -> &str {
        &self.rules_version
    }

    /// Bytes read and tree digest of each file, in the parcel's order: sealing compares against these.
    pub fn digests(&self) -> &[(u64, Digest)] {
        &self.digests
    }

    /// Values read for the index.
    pub fn labels(&self) -> &[(Name, String)] {
        &self.labels
    }
}

/// What reading and looking at the files gave.
#[derive(Default)]
struct Inspected {
    seen: Vec<Seen>,
    digests: Vec<(u64, Digest)>,
    /// How messages stand to the schema of the first type that fits, one for each file.
    outlined: Vec<Option<Outlined>>,
}

impl Inspected {
    fn except<P: Parcel>(&mut self, parcel: &P, exceptions: &[Exception]) -> Vec<(String, String)> {
        let files = parcel.files().iter().zip(&self.digests).zip(&mut self.seen);
        files
            .flat_map(|((facts, (_, digest)), seen)| {
                let rules = exception::except(seen, digest, exceptions);
                rules.into_iter().map(|rule| (rule, facts.path.clone()))
            })
            .collect()
    }
    fn findings(&self) -> Vec<Finding> {
        let findings = self.seen.iter().flat_map(|s| &s.findings);
        findings.chain(self.seen.iter().flat_map(|s| &s.obstacles)).take(FINDINGS_MAX).cloned().collect()
    }
    fn has_coordinates(&self) -> bool {
        self.seen.iter().any(|s| !s.findings.is_empty())
    }
    /// Nothing but where a phone or camera stood, in pictures and films that lose it without a change of anything else.
    fn only_device_position(&self) -> bool {
        let lossless = |kind| matches!(kind, Kind::Jpeg | Kind::Png | Kind::Heic | Kind::Media);
        let found = self.seen.iter().filter(|s| !s.findings.is_empty());
        found.into_iter().all(|s| lossless(s.kind) && s.findings.iter().all(|f| f.rule == "device-position"))
    }
    fn has_obstacles(&self) -> bool {
        self.seen.iter().any(|s| !s.obstacles.is_empty())
    }
    /// A name that says another kind than its bytes do is evidence.
    fn hold_names_against_kinds<P: Parcel>(&mut self, parcel: &P) {
        for (facts, seen) in parcel.files().iter().zip(&mut self.seen) {
            if kind::name_disagrees(&facts.path, seen.kind) {
                let at = facts.path.clone();
                seen.obstacles.push(Finding::new("name-disagrees", RuleClass::Structural, at, ""));
            }
        }
    }
    fn signed(&self) -> bool {
        self.seen.iter().any(|s| s.signed && !s.findings.is_empty())
    }
}

/// A parcel that is to be judged. It may have been looked at already, with others.
pub struct Ahead<P> {
    parcel: P,
    inspected: Option<Inspected>,
}

impl<P> From<P> for Ahead<P> {
    fn from(parcel: P) -> Self {
        Ahead { parcel, inspected: None }
    }
}

impl<P> Ahead<P> {
    /// The parcel.
    pub fn parcel(&self) -> &P {
        &self.parcel
    }
}

/// Looks at small parcels together: a question costs as much for one as for sixty. Only for a crossing whose parcels
/// may follow each other to one examiner. Where all of a question are clean, each keeps what was seen in it; otherwise
/// what was said is forgotten, and each will be looked at by itself.
pub fn look_ahead<P: Parcel>(examiner: &mut dyn Examiner, question: &Question<'_>, parcels: Vec<P>) -> Vec<Ahead<P>> {
    let mut all: Vec<Ahead<P>> = parcels.into_iter().map(Ahead::from).collect();
    let mut rest = all.as_mut_slice();
    while !rest.is_empty() {
        let (group, contents) = ahead_together(question, rest);
        if contents.len() > 1 {
            look_at_several(examiner, question, &mut rest[..group], &contents);
        }
        rest = &mut std::mem::take(&mut rest)[group..];
    }
    all
}

/// What every file of a parcel holds.
type Contents = Vec<Vec<u8>>;

/// How many of the next parcels go into one question, and the contents of those that are small enough, with their places.
fn ahead_together<P: Parcel>(question: &Question<'_>, parcels: &[Ahead<P>]) -> (usize, Vec<(usize, Contents)>) {
    let (mut contents, mut files, mut bytes) = (Vec::new(), 0, 0);
    for (at, Ahead { parcel, .. }) in parcels.iter().enumerate() {
        let size = parcel.files().iter().fold(0_u64, |sum, f| sum.saturating_add(f.size));
        if parcel.files().len() > AHEAD_FILES_MAX || size > AHEAD_BYTES_MAX || suited(question, parcel).is_err() {
            continue;
        }
        files += parcel.files().len();
        bytes += crate::octets::length(size);
        if files > BATCH_FILES_MAX || bytes > BATCH_BYTES_MAX {
            return (at, contents);
        }
        let read: Result<Contents, Reason> =
            parcel.files().iter().enumerate().map(|(index, facts)| read(parcel, index, facts.size)).collect();
        // What cannot be read now is read once more by itself, and then refused in its own words.
        contents.extend(read.ok().map(|read| (at, read)));
    }
    (parcels.len(), contents)
}

fn look_at_several<P: Parcel>(
    examiner: &mut dyn Examiner,
    question: &Question<'_>,
    parcels: &mut [Ahead<P>],
    contents: &[(usize, Contents)],
) {
    let of = |at: &usize| parcels.get(*at).map(|ahead| &ahead.parcel);
    let names: Vec<&str> = contents.iter().filter_map(|(at, _)| of(at)).map(Parcel::name).collect();
    let files: Vec<examiner::File<'_>> = contents
        .iter()
        .filter_map(|(at, read)| Some((of(at)?, read)))
        .flat_map(|(parcel, read)| {
            let schema = suited(question, parcel).ok().and_then(|fits| first_schema(&fits));
            parcel.files().iter().zip(read).map(move |(f, bytes)| examiner::File { path: &f.path, bytes, schema })
        })
        .collect();
    let Some(Looked { files: seen, outlined, .. }) =
        examiner::look_if_all_clean(examiner, &names, &files, question.rules.windows())
    else {
        return;
    };
    let (mut seen, mut outlined) = (seen.into_iter(), outlined.into_iter());
    for (at, read) in contents {
        let Some(ahead) = parcels.get_mut(*at) else { continue };
        let mut inspected = Inspected {
            seen: seen.by_ref().take(read.len()).collect(),
            digests: read.iter().map(|b| (b.len() as u64, protocol::tree::root_of(question.suite, b))).collect(),
            outlined: outlined.by_ref().take(read.len()).collect(),
        };
        inspected.hold_names_against_kinds(&ahead.parcel);
        ahead.inspected = Some(inspected);
    }
}

/// The same with the parsers in this process: for tests and the simulated world.
pub fn inspect<P: Parcel>(question: &Question<'_>, parcel: P) -> Judgement<P> {
    inspect_by(&mut InProcess, question, &[], parcel.into())
}

/// The types that this parcel could be, by its names and sizes alone.
fn suited<'a, P: Parcel>(question: &Question<'a>, parcel: &P) -> Result<Vec<&'a ParcelType>, Reason> {
    let facts = parcel.files();
    if facts.len() > FILES_MAX {
        return Err(Reason::TooLarge);
    }
    if facts.is_empty() || !facts.iter().all(|f| path_can_travel(&f.path)) || !path_can_travel(parcel.name()) {
        return Err(Reason::BadName);
    }
    let mut named = question
        .types
        .iter()
        .filter_map(|name| question.rules.parcel_type(name))
        .filter(|t| t.pattern.matches(parcel.name()))
        .peekable();
    if named.peek().is_none() {
        return Err(Reason::TypeNotRegistered);
    }
    let fits: Vec<&ParcelType> = named.filter(|t| fits(t, parcel)).collect();
    if fits.is_empty() { Err(Reason::TooLarge) } else { Ok(fits) }
}

/// Messages are held against the schema of the first type that fits in the same question: most often it is the type.
fn first_schema<'a>(fits: &[&'a ParcelType]) -> Option<&'a Schema> {
    fits.first().map(|first| &first.schema).filter(|schema| !schema.asks_nothing())
}

/// May this parcel make this crossing? The examiner looks at its content; what two people have excepted on this crossing
/// is not counted.
pub fn inspect_by<P: Parcel>(
    examiner: &mut dyn Examiner,
    question: &Question<'_>,
    exceptions: &[Exception],
    ahead: Ahead<P>,
) -> Judgement<P> {
    let refused = |parcel, reason, findings| Judgement::Refused { parcel, reason, findings };
    let Ahead { parcel, inspected } = ahead;
    let fits = match suited(question, &parcel) {
        Ok(fits) => fits,
        Err(reason) => return refused(parcel, reason, Vec::new()),
    };
    let mut inspected = match inspected.map_or_else(|| read_all(examiner, question, &fits, &parcel), Ok) {
        Ok(inspected) => inspected,
        Err(reason) => return refused(parcel, reason, Vec::new()),
    };
    let excepted = inspected.except(&parcel, exceptions);
    let by_kind = |t: &&ParcelType| inspected.seen.iter().all(|s| t.covers(s.kind));
    let could_be: Vec<usize> = (0..fits.len())
        .filter(|nth| fits.get(*nth).is_some_and(|t| by_kind(t) && t.stranger(&inspected.seen).is_none()))
        .collect();
    if could_be.is_empty() {
        let reason = not_covered(&inspected, question);
        let stranger = fits.iter().filter(|t| by_kind(t)).find_map(|t| t.stranger(&inspected.seen));
        let why = stranger.map(|inner| {
            Finding::new("member-not-registered", RuleClass::Structural, inner.at.clone(), inner.kind.name())
        });
        return refused(parcel, reason, why.into_iter().chain(inspected.findings()).collect());
    }
    // By names and kinds it could be each of these; it is the first whose schema it keeps to.
    let mut found = None;
    let mut strangers: Vec<(Finding, Vec<&str>)> = Vec::new();
    for nth in could_be {
        if nth > 0 {
            inspected.outlined.clear();
        }
        let Some(parcel_type) = fits.get(nth) else { continue };
        let verdict = match weigh(examiner, question, parcel_type, &parcel, &inspected) {
            Weighed::Passes(verdict) => verdict,
            Weighed::Strips(files) => return Judgement::Strip { parcel, files },
            Weighed::Held(reason) => return Judgement::Quarantine { parcel, reason, findings: inspected.findings() },
            Weighed::Fails(reason) => return refused(parcel, reason, inspected.findings()),
            Weighed::NotUsed(reason, why) => {
                let findings = std::iter::once(why).chain(inspected.findings()).collect();
                return refused(parcel, reason, findings);
            }
        };
        match schema(examiner, parcel_type, &parcel, question, &mut inspected) {
            Ok(labels) => {
                found = Some((parcel_type, verdict, labels));
                break;
            }
            Err(Mismatch::Schema(Some(stranger))) => match strangers.iter_mut().find(|(known, _)| *known == stranger) {
                Some((_, types)) => types.push(parcel_type.name.as_str()),
                None => strangers.push((stranger, vec![parcel_type.name.as_str()])),
            },
            Err(Mismatch::Schema(None)) => {}
            Err(Mismatch::Other(reason)) => return refused(parcel, reason, Vec::new()),
        }
    }
    let Some((parcel_type, verdict, labels)) = found else {
        let told = strangers
            .into_iter()
            .take(FINDINGS_MAX)
            .map(|(stranger, types)| Finding { at: format!("{} ({})", stranger.at, types.join(", ")), ..stranger });
        return refused(parcel, Reason::SchemaMismatch, told.collect());
    };
    // The invariant once more, whatever the rules above made of it: the last line before the proof is made.
    let clean = !inspected.has_coordinates() && !inspected.has_obstacles();
    if !clean && !may_keep(question.rules.crossing()) {
        let reason = if inspected.has_coordinates() { Reason::Coordinates } else { Reason::NotInspectable };
        return refused(parcel, reason, inspected.findings());
    }
    Judgement::Released(Released {
        parcel,
        parcel_type: parcel_type.name.clone(),
        verdict,
        rules_version: question.rules.version().as_str().to_owned(),
        digests: inspected.digests,
        labels,
        excepted,
    })
}

fn fits<P: Parcel>(parcel_type: &ParcelType, parcel: &P) -> bool {
    let bytes = parcel.files().iter().fold(0_u64, |sum, f| sum.saturating_add(f.size));
    bytes <= parcel_type.bytes_max && parcel.files().len() as u64 <= u64::from(parcel_type.files_max)
}

/// No type lists the kinds that were found; why, in the most telling word.
fn not_covered(inspected: &Inspected, question: &Question<'_>) -> Reason {
    let any = |f: fn(Kind) -> bool| inspected.seen.iter().any(|s| f(s.kind));
    if inspected.has_coordinates() || any(|k| matches!(k, Kind::Geodata(_))) {
        return if is_incident(question) { Reason::Incident } else { Reason::Coordinates };
    }
    if any(|k| matches!(k, Kind::Unknown | Kind::Opaque(_) | Kind::Encrypted(_))) {
        return Reason::NotInspectable;
    }
    Reason::KindNotAllowed
}

/// Coordinates that came down from a higher zone have already stood where they must not.
fn is_incident(question: &Question<'_>) -> bool {
    let crossing = question.rules.crossing();
    question.moment == Moment::Admission && crossing.source() > crossing.target()
}

/// Reads every file once: the digest is that of exactly the bytes that were handed to the examiner.
fn read_all<P: Parcel>(
    examiner: &mut dyn Examiner,
    question: &Question<'_>,
    fits: &[&ParcelType],
    parcel: &P,
) -> Result<Inspected, Reason> {
    let mut inspected = Inspected::default();
    let mut batch = Batch {
        examiner,
        schema: first_schema(fits),
        windows: question.rules.windows(),
        name: Some(parcel.name()),
        in_name: Vec::new(),
        files: Vec::new(),
        bytes: 0,
        silence: None,
    };
    for (index, facts) in parcel.files().iter().enumerate() {
        if facts.size > LOOK_BYTES_MAX {
            batch.ask(&mut inspected);
            let (bytes, digest) = stream(question.suite, parcel, index, facts.size)?;
            if bytes != facts.size {
                return Err(Reason::Changed);
            }
            inspected.seen.push(Seen::unread("larger-than-looked-at", &facts.path));
            inspected.outlined.push(None);
            inspected.digests.push((bytes, digest));
            continue;
        }
        let bytes = read(parcel, index, facts.size)?;
        inspected.digests.push((facts.size, protocol::tree::root_of(question.suite, &bytes)));
        batch.add(&facts.path, bytes, &mut inspected);
    }
    batch.ask(&mut inspected);
    let (mut in_name, silence) = (batch.in_name, batch.silence);
    if let Some(first) = inspected.seen.first_mut() {
        first.findings.append(&mut in_name);
        let unheard = silence.map(|silence| Seen::unread(silence.rule(), parcel.name()).obstacles);
        first.obstacles.extend(unheard.into_iter().flatten());
    }
    inspected.hold_names_against_kinds(parcel);
    Ok(inspected)
}

/// Files that are asked about together: a question costs as much for one small file as for sixty.
struct Batch<'a> {
    examiner: &'a mut dyn Examiner,
    schema: Option<&'a Schema>,
    windows: &'a [Window],
    /// The parcel's own name is content too; it is looked at with the first files.
    name: Option<&'a str>,
    in_name: Vec<Finding>,
    files: Vec<(&'a str, Vec<u8>)>,
    bytes: usize,
    /// After one silence nobody is asked about the rest: the parcel is not inspectable already.
    silence: Option<Silence>,
}

impl<'a> Batch<'a> {
    fn add(&mut self, path: &'a str, bytes: Vec<u8>, into: &mut Inspected) {
        if self.files.len() >= BATCH_FILES_MAX || self.bytes.saturating_add(bytes.len()) > BATCH_BYTES_MAX {
            self.ask(into);
        }
        self.bytes = self.bytes.saturating_add(bytes.len());
        self.files.push((path, bytes));
    }

    /// Asks about what was gathered, in the order in which it came.
    fn ask(&mut self, into: &mut Inspected) {
        let files = std::mem::take(&mut self.files);
        self.bytes = 0;
        if files.is_empty() && self.name.is_none() {
            return;
        }
        let names: Vec<&str> = self.name.take().into_iter().collect();
        let contents: Vec<examiner::File<'_>> =
            files.iter().map(|(path, bytes)| examiner::File { path, bytes, schema: self.schema }).collect();
        let looked = match self.silence {
            Some(silence) => Err(silence),
            None => examiner::look(self.examiner, &names, &contents, self.windows),
        };
        match looked {
            Ok(Looked { names, files: mut looked, mut outlined }) => {
                self.in_name.extend(names.into_iter().flatten());
                into.seen.append(&mut looked);
                into.outlined.append(&mut outlined);
            }
            Err(silence) => {
                self.silence = Some(silence);
                into.seen.extend(files.iter().map(|(path, _)| Seen::unread(silence.rule(), path)));
                into.outlined.extend(files.iter().map(|_| None));
            }
        }
    }
}

fn read<P: Parcel>(parcel: &P, index: usize, size: u64) -> Result<Vec<u8>, Reason> {
    let file = parcel.open(index).map_err(|_| Reason::Unreadable)?;
    let mut bytes = Vec::with_capacity(crate::octets::length(size.min(LOOK_BYTES_MAX)));
    // One byte more than was promised shows that the file has grown.
    file.take(size + 1).read_to_end(&mut bytes).map_err(|_| Reason::Unreadable)?;
    if bytes.len() as u64 == size { Ok(bytes) } else { Err(Reason::Changed) }
}

fn stream<P: Parcel>(suite: Suite, parcel: &P, index: usize, size: u64) -> Result<(u64, Digest), Reason> {
    let file = parcel.open(index).map_err(|_| Reason::Unreadable)?;
    // One byte more than was promised shows that the file has grown.
    protocol::tree::root_of_reader(suite, &mut file.take(size + 1)).map_err(|_| Reason::Unreadable)
}

enum Weighed {
    Passes(Verdict),
    Strips(Vec<StrippedFile>),
    Held(Reason),
    Fails(Reason),
    /// A strip was tried, and its result is not used.
    NotUsed(Reason, Finding),
}

fn weigh<P: Parcel>(
    examiner: &mut dyn Examiner,
    question: &Question<'_>,
    parcel_type: &ParcelType,
    parcel: &P,
    inspected: &Inspected,
) -> Weighed {
    let (coordinates, obstacles) = (inspected.has_coordinates(), inspected.has_obstacles());
    // Toward the extranet no picture goes as it was made: whatever rides on it stays inside. That is no setting.
    let only_pictures = !coordinates || inspected.only_device_position();
    if only_pictures && !obstacles && inspected.seen.iter().any(|seen| is_painted(question, seen)) {
        return strip_all(examiner, question, parcel_type, parcel, inspected);
    }
    if !coordinates && !obstacles {
        if let Some(finding) = written_picture(question, parcel, inspected) {
            return Weighed::NotUsed(Reason::NotInspectable, finding);
        }
        return Weighed::Passes(if question.stripped { Verdict::Stripped } else { Verdict::Released });
    }
    if parcel_type.keep && may_keep(question.rules.crossing()) {
        return Weighed::Passes(Verdict::Kept);
    }
    if coordinates && is_incident(question) {
        return Weighed::Fails(Reason::Incident);
    }
    let reason = if coordinates { Reason::Coordinates } else { Reason::NotInspectable };
    // A citizen's photo says where it was taken; that is no survey, and is cut out where it comes in, whatever the type.
    let first_intake = question.moment == Moment::Intake && question.rules.crossing() == Crossing::InternetToExtranet;
    if first_intake && coordinates && !obstacles && !question.stripped && inspected.only_device_position() {
        return strip_all(examiner, question, parcel_type, parcel, inspected);
    }
    match parcel_type.on_coordinates {
        OnCoordinates::Quarantine => Weighed::Held(reason),
        OnCoordinates::Strip
            if coordinates && !obstacles && !question.stripped && question.moment == Moment::Intake =>
        {
            strip_all(examiner, question, parcel_type, parcel, inspected)
        }
        _ if coordinates && inspected.signed() => Weighed::Fails(Reason::SignedNeedsReissue),
        _ => Weighed::Fails(reason),
    }
}

/// Is this a picture that is painted anew on this crossing?
fn is_painted(question: &Question<'_>, seen: &Seen) -> bool {
    leaves(question) && !question.stripped && seen.kind.is_picture()
}

/// Is it about to leave the internal zone?
fn leaves(question: &Question<'_>) -> bool {
    question.rules.crossing() == Crossing::IntranetToExtranet && question.moment == Moment::Intake
}

/// A picture in the letters of a message would leave as it was made, and a message is not written anew for it. What is
/// signed goes as it is or not at all.
fn written_picture<P: Parcel>(question: &Question<'_>, parcel: &P, inspected: &Inspected) -> Option<Finding> {
    let files = parcel.files().iter().zip(&inspected.seen);
    let (facts, _) =
        files.into_iter().find(|(_, seen)| leaves(question) && seen.has_written_picture && !seen.signed)?;
    Some(Finding::new("not-rebuilt", RuleClass::Structural, facts.path.clone(), ""))
}

/// Takes coordinates out of every file that has them, and paints pictures anew. The result of each must be clean, or the parcel is refused.
fn strip_all<P: Parcel>(
    examiner: &mut dyn Examiner,
    question: &Question<'_>,
    parcel_type: &ParcelType,
    parcel: &P,
    inspected: &Inspected,
) -> Weighed {
    let mut files = Vec::new();
    for (index, (facts, seen)) in parcel.files().iter().zip(&inspected.seen).enumerate() {
        let repaint = is_painted(question, seen).then_some(parcel_type.jpeg_quality);
        if seen.findings.is_empty() && repaint.is_none() {
            continue;
        }
        let drop_signature = parcel_type.on_signature == OnSignature::Drop && seen.kind == Kind::Xml;
        if seen.signed && !drop_signature {
            return Weighed::Fails(Reason::SignedNeedsReissue);
        }
        let bytes = match reread(question, parcel, index, inspected) {
            Ok(bytes) => bytes,
            Err(reason) => return Weighed::Fails(reason),
        };
        let not_used =
            |reason, rule| Weighed::NotUsed(reason, Finding::new(rule, RuleClass::Structural, facts.path.clone(), ""));
        let unheard = |silence: Silence| not_used(Reason::NotInspectable, silence.rule());
        let (stripped, removed) = match examiner::strip_by(examiner, seen.kind, &bytes, repaint) {
            Ok(Some(stripped)) => stripped,
            // Clean, but of a kind that is not painted, or broken in a way that only shows when it is decoded.
            Ok(None) if seen.findings.is_empty() => return not_used(Reason::NotInspectable, "not-rebuilt"),
            Ok(None) => return not_used(Reason::Coordinates, "not-rebuilt"),
            Err(silence) => return unheard(silence),
        };
        // Whoever rewrote it has retired: another looks at the result, from its first byte.
        let again = match examiner::look(
            examiner,
            &[],
            &[examiner::File { path: &facts.path, bytes: &stripped, schema: None }],
            question.rules.windows(),
        ) {
            Ok(looked) => looked.files.into_iter().next(),
            Err(silence) => return unheard(silence),
        };
        // What is still signed in it was signed as it stood: a document inside a message, a second signature.
        if again.as_ref().is_some_and(|again| again.signed) {
            return Weighed::Fails(Reason::SignedNeedsReissue);
        }
        if again.is_none_or(|again| again.kind != seen.kind || again.verdict() != DetectVerdict::Clean) {
            return not_used(Reason::Coordinates, "not-rebuilt");
        }
        // And a second one, by another way, in a third worker: both must see nothing.
        match examiner::confirm_by(examiner, &stripped) {
            Ok(true) => {}
            Ok(false) => return not_used(Reason::Coordinates, "second-reader"),
            Err(silence) => return unheard(silence),
        }
        files.push(StrippedFile { index, bytes: stripped, removed });
    }
    if files.is_empty() {
        // Only the parcel's name was at fault, and a name is not rewritten.
        return Weighed::Fails(Reason::Coordinates);
    }
    Weighed::Strips(files)
}

/// Reads a file a second time; it must be the same.
fn reread<P: Parcel>(
    question: &Question<'_>,
    parcel: &P,
    index: usize,
    inspected: &Inspected,
) -> Result<Vec<u8>, Reason> {
    let (size, digest) = inspected.digests.get(index).ok_or(Reason::Unreadable)?;
    let bytes = read(parcel, index, *size)?;
    if protocol::tree::root_of(question.suite, &bytes) == *digest { Ok(bytes) } else { Err(Reason::Changed) }
}

/// Why a parcel is not of a type that it could be by its names and kinds.
enum Mismatch {
    /// Its schema says no: try the next. Where it can be said, what it is that the schema does not list.
    Schema(Option<Finding>),
    /// It cannot be said.
    Other(Reason),
}

impl From<Reason> for Mismatch {
    fn from(reason: Reason) -> Mismatch {
        Mismatch::Other(reason)
    }
}

/// Holds messages and tables against the type's schema and reads the labels.
fn schema<P: Parcel>(
    examiner: &mut dyn Examiner,
    parcel_type: &ParcelType,
    parcel: &P,
    question: &Question<'_>,
    inspected: &mut Inspected,
) -> Result<Vec<(Name, String)>, Mismatch> {
    let mut labels = Vec::new();
    let schema = &parcel_type.schema;
    if schema.asks_nothing() {
        return Ok(labels);
    }
    let mut known = std::mem::take(&mut inspected.outlined).into_iter();
    let mut xml_files = 0;
    for (index, seen) in inspected.seen.iter().enumerate() {
        let known = known.next().flatten();
        if !schema.asks_of(seen.kind) {
            continue;
        }
        let outlined = match known {
            Some(outlined) => Some(outlined),
            None => {
                let bytes = reread(question, parcel, index, inspected)?;
                examiner::outline_by(examiner, seen.kind, &bytes, schema).map_err(|_| Reason::NotInspectable)?
            }
        };
        let Some(outlined) = outlined else { continue };
        if seen.kind == Kind::Xml {
            xml_files += 1;
        }
        if !outlined.keeps {
            let path = parcel.files().get(index).map(|facts| facts.path.clone()).unwrap_or_default();
            let told = |name: &str| Finding::new("schema-mismatch", RuleClass::Structural, path, name);
            return Err(Mismatch::Schema(outlined.stranger.as_deref().map(told)));
        }
        labels.extend(
            outlined
                .labels
                .into_iter()
                .filter(|(name, value)| schema.labels.iter().any(|rule| rule.name == *name) && label::fits(value)),
        );
    }
    if schema.xml_root.is_some() && xml_files == 0 {
        return Err(Mismatch::Schema(None));
    }
    labels.truncate(label::LABELS_MAX);
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parcel::{FileFacts, ReadSeek};

    struct One(FileFacts, Vec<u8>);

    impl Parcel for One {
        fn name(&self) -> &str {
            &self.0.path
        }
        fn files(&self) -> &[FileFacts] {
            std::slice::from_ref(&self.0)
        }
        fn open(&self, _: usize) -> std::io::Result<Box<dyn ReadSeek + '_>> {
            Ok(Box::new(std::io::Cursor::new(&self.1)))
        }
    }

    /// A disk that was edited, a loader with a bug: the judgement itself still does not keep toward a lower zone.
    #[test]
    fn keep_does_nothing_at_judgement_time_where_content_lands_outside() {
        let text =
            "crossing = \"extranet-intranet\"\nversion = \"1\"\n[[type]]\nname = \"t\"\nkinds = [\"any\"]\nkeep = true";
        let types = [Name::new("t").expect("a name")];
        let points = b"XZB=4851490.4193 YZB=29546865.2760";
        for (content, reason) in [(&points[..], Reason::Coordinates), (b"Salted__abc", Reason::NotInspectable)] {
            for crossing in Crossing::ALL {
                let rules = Rules::parse(text).expect("inward it loads").moved_to(crossing);
                for moment in [Moment::Intake, Moment::Admission] {
                    for stripped in [false, true] {
                        let question = Question { rules: &rules, suite: Suite::Std, moment, types: &types, stripped };
                        let facts = FileFacts { path: "a".to_owned(), size: content.len() as u64 };
                        match inspect(&question, One(facts, content.to_vec())) {
                            Judgement::Released(released) => {
                                assert!(!crossing.lands_outside());
                                assert_eq!(released.verdict(), Verdict::Kept);
                            }
                            Judgement::Refused { reason: given, .. } => {
                                assert!(crossing.lands_outside());
                                assert!(given == reason || given == Reason::Incident);
                            }
                            _ => unreachable!("neither held nor stripped"),
                        }
                    }
                }
            }
        }
    }

    /// Dies on every question but the first ones.
    struct Mortal(u32);

    impl Examiner for Mortal {
        fn ask(&mut self, words: &[u8], contents: &[&[u8]]) -> Result<crate::Answer, Silence> {
            match self.0.checked_sub(1) {
                Some(left) => {
                    self.0 = left;
                    InProcess.ask(words, contents)
                }
                None => Err(Silence::Died),
            }
        }
        fn retire(&mut self) {}
    }

    #[test]
    fn a_silent_examiner_releases_nothing_and_says_why() {
        let text = "crossing = \"internet-extranet\"\nversion = \"1\"\n[[type]]\nname = \"t\"\nkinds = [\"xml\"]\n\
                    xml_root = \"m\"\non_coordinates = \"strip\"\n";
        let rules = Rules::parse(text).expect("it loads");
        let types = [Name::new("t").expect("a name")];
        let question =
            Question { rules: &rules, suite: Suite::Std, moment: Moment::Intake, types: &types, stripped: false };
        let ask = |content: &str, answers| {
            let facts = FileFacts { path: "a.xml".to_owned(), size: content.len() as u64 };
            inspect_by(&mut Mortal(answers), &question, &[], One(facts, content.as_bytes().to_vec()).into())
        };
        let plain = "<m><a>1</a></m>";
        let Judgement::Refused { reason, findings, .. } = ask(plain, 0) else { unreachable!("it is refused") };
        assert_eq!(reason, Reason::NotInspectable);
        assert!(findings.iter().any(|f| f.rule == "worker-died"));
        assert!(matches!(ask(plain, 1), Judgement::Released(_)), "its schema goes with the first question");
        let point = "<m><XZB>4851490.4193</XZB><YZB>29546865.2760</YZB></m>";
        for answers in [1, 2, 3] {
            let Judgement::Refused { reason, findings, .. } = ask(point, answers) else {
                unreachable!("it is refused")
            };
            assert_eq!(reason, Reason::NotInspectable);
            assert!(findings.iter().any(|f| f.rule == "worker-died"));
        }
        assert!(matches!(ask(point, 4), Judgement::Strip { .. }));
    }

    /// Counts questions, and who was retired.
    #[derive(Default)]
    struct Counting {
        asked: u32,
        retired: u32,
    }

    impl Examiner for Counting {
        fn ask(&mut self, words: &[u8], contents: &[&[u8]]) -> Result<crate::Answer, Silence> {
            self.asked += 1;
            InProcess.ask(words, contents)
        }
        fn retire(&mut self) {
            self.retired += 1;
        }
    }

    fn several(contents: &[&str]) -> Vec<One> {
        let of = |(nth, content): (usize, &&str)| {
            let facts = FileFacts { path: format!("m{nth}.xml"), size: content.len() as u64 };
            One(facts, content.as_bytes().to_vec())
        };
        contents.iter().enumerate().map(of).collect()
    }

    /// What was decided, in one word.
    fn word<P>(judgement: &Judgement<P>) -> String {
        match judgement {
            Judgement::Released(released) => format!("{} {:?}", released.parcel_type(), released.labels()),
            Judgement::Strip { .. } => "strip".to_owned(),
            Judgement::Quarantine { reason, .. } | Judgement::Refused { reason, .. } => reason.to_string(),
        }
    }

    #[test]
    fn parcels_looked_at_together_are_judged_as_by_themselves() {
        let text = "crossing = \"internet-extranet\"\nversion = \"1\"\n\
                    [[type]]\nname = \"m\"\nkinds = [\"xml\"]\nxml_root = \"m\"\nxml_required = [\"a\"]\n\
                    label = [{ name = \"number\", xml = \"m/a\" }]\n\
                    [[type]]\nname = \"any\"\nkinds = [\"xml\", \"txt\"]\n";
        let rules = Rules::parse(text).expect("it loads");
        let types = ["m", "any"].map(|name| Name::new(name).expect("a name"));
        let question =
            Question { rules: &rules, suite: Suite::Std, moment: Moment::Intake, types: &types, stripped: false };
        let clean = ["<m><a>17</a></m>", "<m><b>1</b></m>", "<m><a>18</a></m>"];
        let text = ["just words, no message", "<m><a>19</a></m>"];
        let hit = ["<m><a>20</a></m>", "<m><a>1</a><XZB>4851490.4193</XZB><YZB>29546865.2760</YZB></m>"];
        let broken = ["<m><a>21</a></m>", "<m", "<m><a>22</a></m>"];
        for (contents, questions) in [(&clean[..], 1), (&text, 1), (&hit, 3), (&broken, 4)] {
            let alone: Vec<String> = several(contents).into_iter().map(|one| word(&inspect(&question, one))).collect();
            let mut counting = Counting::default();
            let ahead = look_ahead(&mut counting, &question, several(contents));
            let together: Vec<String> =
                ahead.into_iter().map(|one| word(&inspect_by(&mut counting, &question, &[], one))).collect();
            assert_eq!(together, alone);
            assert_eq!(counting.asked, questions, "{contents:?}");
            let bad = contents.len() as u32 + 1 == questions;
            assert_eq!(counting.retired, if bad { 2 } else { 0 }, "once for the question together, once alone");
        }
        // Many and large ones are shared out.
        let large = format!("<m><a>1</a>{}</m>", " ".repeat(60_000));
        let mut counting = Counting::default();
        let ahead = look_ahead(&mut counting, &question, several(&[large.as_str(); 9]));
        assert!(ahead.iter().take(8).all(|one| one.inspected.is_some()));
        assert_eq!(counting.asked, 2, "the ninth is left for itself");
        // Where nobody answers, nothing was looked at.
        let ahead = look_ahead(&mut Mortal(0), &question, several(&clean));
        assert!(ahead.iter().all(|one| one.inspected.is_none()));
    }

    #[test]
    fn an_exception_lets_one_rule_pass_in_one_file_and_says_so() {
        let text = "crossing = \"extranet-internet\"\nversion = \"1\"\n[[type]]\nname = \"t\"\nkinds = [\"txt\"]\n";
        let rules = Rules::parse(text).expect("it loads");
        let types = [Name::new("t").expect("a name")];
        let question =
            Question { rules: &rules, suite: Suite::Std, moment: Moment::Intake, types: &types, stripped: false };
        let ask = |content: &str, exceptions: &[Exception]| {
            let facts = FileFacts { path: "a.txt".to_owned(), size: content.len() as u64 };
            inspect_by(&mut InProcess, &question, exceptions, One(facts, content.as_bytes().to_vec()).into())
        };
        let pair = "meters read: 4851490.4193 29546865.2760";
        let Judgement::Refused { findings, .. } = ask(pair, &[]) else { unreachable!("two survey numbers") };
        assert!(findings.iter().all(|f| f.class == RuleClass::Heuristic) && !findings.is_empty());
        let of = |content: &str| -> Vec<Exception> {
            let digest = protocol::tree::root_of(Suite::Std, content.as_bytes());
            findings.iter().map(|f| Exception { rule: f.rule.to_owned(), digest }).collect()
        };
        let Judgement::Released(released) = ask(pair, &of(pair)) else { unreachable!("two people said so") };
        assert_eq!(released.excepted().len(), findings.len());
        assert!(released.excepted().iter().all(|(_, path)| path == "a.txt"));
        let other = "meters read: 4851490.4193 29546865.2761";
        assert!(matches!(ask(other, &of(pair)), Judgement::Refused { .. }), "another digit, another file");
        let structural = "XZB=4851490.4193 YZB=29546865.2760";
        assert!(
            matches!(ask(structural, &of(structural)), Judgement::Refused { .. }),
            "nobody excepts a key with its value"
        );
    }
}
