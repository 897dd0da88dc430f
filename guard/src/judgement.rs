//! The judgement over a parcel: released, to be stripped, held, or refused.
//!
//! Order of questions: can the names travel? does a type fit? can every file be looked into, and is it clean? does
//! it keep to the type's schema? The first no decides. [`Released`] is made in exactly one place, at the end of
//! [`inspect`].

use std::io::Read;

use protocol::tree::Tree;
use protocol::{Crossing, Digest, Name, Reason, Suite, Verdict};

use crate::detection::{LOOK_BYTES_MAX, Seen, examine};
use crate::finding::{Finding, RuleClass};
use crate::kind::{self, Kind};
use crate::label;
use crate::parcel::{Parcel, path_can_travel};
use crate::rules::{OnCoordinates, OnSignature, ParcelType, Rules, may_keep};
use crate::strip;

/// More files than this no parcel holds.
const FILES_MAX: usize = 50_000;
/// Bytes a streamed file is read in at once.
const PIECE_BYTES: usize = 256 * 1024;
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
}

impl<P> Released<P> {
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
struct Inspected {
    seen: Vec<Seen>,
    digests: Vec<(u64, Digest)>,
}

impl Inspected {
    fn findings(&self) -> Vec<Finding> {
        let findings = self.seen.iter().flat_map(|s| &s.findings);
        findings.chain(self.seen.iter().flat_map(|s| &s.obstacles)).take(FINDINGS_MAX).cloned().collect()
    }
    fn has_coordinates(&self) -> bool {
        self.seen.iter().any(|s| !s.findings.is_empty())
    }
    /// Nothing but where a phone or camera stood.
    fn only_device_position(&self) -> bool {
        self.seen.iter().flat_map(|s| &s.findings).all(|f| f.rule == "device-position")
    }
    fn has_obstacles(&self) -> bool {
        self.seen.iter().any(|s| !s.obstacles.is_empty())
    }
    fn signed(&self) -> bool {
        self.seen.iter().any(|s| s.signed && !s.findings.is_empty())
    }
}

/// May this parcel make this crossing?
pub fn inspect<P: Parcel>(question: &Question<'_>, parcel: P) -> Judgement<P> {
    let refused = |parcel, reason, findings| Judgement::Refused { parcel, reason, findings };
    let facts = parcel.files();
    if facts.len() > FILES_MAX {
        return refused(parcel, Reason::TooLarge, Vec::new());
    }
    if facts.is_empty() || !facts.iter().all(|f| path_can_travel(&f.path)) || !path_can_travel(parcel.name()) {
        return refused(parcel, Reason::BadName, Vec::new());
    }
    let candidates: Vec<&ParcelType> = question
        .types
        .iter()
        .filter_map(|name| question.rules.parcel_type(name))
        .filter(|t| t.pattern.matches(parcel.name()))
        .collect();
    if candidates.is_empty() {
        return refused(parcel, Reason::TypeNotRegistered, Vec::new());
    }
    let fits: Vec<&ParcelType> = candidates.into_iter().filter(|t| fits(t, &parcel)).collect();
    if fits.is_empty() {
        return refused(parcel, Reason::TooLarge, Vec::new());
    }
    let inspected = match read_all(question, &parcel) {
        Ok(inspected) => inspected,
        Err(reason) => return refused(parcel, reason, Vec::new()),
    };
    let Some(parcel_type) = fits.into_iter().find(|t| inspected.seen.iter().all(|s| t.covers(s.kind))) else {
        let reason = not_covered(&inspected, question);
        return refused(parcel, reason, inspected.findings());
    };
    let verdict = match weigh(question, parcel_type, &parcel, &inspected) {
        Weighed::Passes(verdict) => verdict,
        Weighed::Strips(files) => return Judgement::Strip { parcel, files },
        Weighed::Held(reason) => return Judgement::Quarantine { parcel, reason, findings: inspected.findings() },
        Weighed::Fails(reason) => return refused(parcel, reason, inspected.findings()),
    };
    let labels = match schema(parcel_type, &parcel, question, &inspected) {
        Ok(labels) => labels,
        Err(reason) => return refused(parcel, reason, Vec::new()),
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
        rules_version: question.rules.version().to_owned(),
        digests: inspected.digests,
        labels,
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

/// What a file tells while it is read: the digest of exactly the bytes that were looked at.
fn read_all<P: Parcel>(question: &Question<'_>, parcel: &P) -> Result<Inspected, Reason> {
    let mut inspected = Inspected { seen: Vec::new(), digests: Vec::new() };
    for (index, facts) in parcel.files().iter().enumerate() {
        let (mut seen, bytes_read, digest) = if facts.size > LOOK_BYTES_MAX {
            let (bytes, digest) = stream(question.suite, parcel, index, facts.size)?;
            (Seen::unread("larger-than-looked-at", &facts.path), bytes, digest)
        } else {
            let bytes = read(parcel, index, facts.size)?;
            let digest = protocol::tree::root_of(question.suite, &bytes);
            (examine(&facts.path, &bytes), bytes.len() as u64, digest)
        };
        if bytes_read != facts.size {
            return Err(Reason::Changed);
        }
        if kind::name_disagrees(&facts.path, seen.kind) {
            seen.obstacles.push(Finding::new("name-disagrees", RuleClass::Structural, facts.path.clone(), ""));
        }
        inspected.seen.push(seen);
        inspected.digests.push((bytes_read, digest));
    }
    // The parcel's own name is content too; it is looked at with the first file.
    if let Some(first) = inspected.seen.first_mut() {
        let mut look = crate::look::Look::new();
        look.name(parcel.name(), "(parcel name)");
        first.findings.append(&mut look.findings);
    }
    Ok(inspected)
}

fn read<P: Parcel>(parcel: &P, index: usize, size: u64) -> Result<Vec<u8>, Reason> {
    let file = parcel.open(index).map_err(|_| Reason::Unreadable)?;
    let mut bytes = Vec::with_capacity(crate::octets::length(size.min(LOOK_BYTES_MAX)));
    // One byte more than was promised shows that the file has grown.
    file.take(size + 1).read_to_end(&mut bytes).map_err(|_| Reason::Unreadable)?;
    if bytes.len() as u64 == size { Ok(bytes) } else { Err(Reason::Changed) }
}

fn stream<P: Parcel>(suite: Suite, parcel: &P, index: usize, size: u64) -> Result<(u64, Digest), Reason> {
    let mut file = parcel.open(index).map_err(|_| Reason::Unreadable)?;
    let mut tree = Tree::new(suite);
    let mut piece = vec![0; PIECE_BYTES];
    while tree.bytes() <= size {
        match file.read(&mut piece) {
            Ok(0) => break,
            Ok(n) => tree.update(crate::octets::head(&piece, n)),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return Err(Reason::Unreadable),
        }
    }
    Ok((tree.bytes(), tree.root()))
}

enum Weighed {
    Passes(Verdict),
    Strips(Vec<StrippedFile>),
    Held(Reason),
    Fails(Reason),
}

fn weigh<P: Parcel>(question: &Question<'_>, parcel_type: &ParcelType, parcel: &P, inspected: &Inspected) -> Weighed {
    let (coordinates, obstacles) = (inspected.has_coordinates(), inspected.has_obstacles());
    if !coordinates && !obstacles {
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
        return strip_all(question, parcel_type, parcel, inspected);
    }
    match parcel_type.on_coordinates {
        OnCoordinates::Quarantine => Weighed::Held(reason),
        OnCoordinates::Strip
            if coordinates && !obstacles && !question.stripped && question.moment == Moment::Intake =>
        {
            strip_all(question, parcel_type, parcel, inspected)
        }
        _ if coordinates && inspected.signed() => Weighed::Fails(Reason::SignedNeedsReissue),
        _ => Weighed::Fails(reason),
    }
}

/// Takes coordinates out of every file that has them. The result of each must be clean, or the parcel is refused.
fn strip_all<P: Parcel>(
    question: &Question<'_>,
    parcel_type: &ParcelType,
    parcel: &P,
    inspected: &Inspected,
) -> Weighed {
    let mut files = Vec::new();
    for (index, (facts, seen)) in parcel.files().iter().zip(&inspected.seen).enumerate() {
        if seen.findings.is_empty() {
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
        let Some((stripped, removed)) = strip::strip(seen.kind, &bytes) else {
            return Weighed::Fails(Reason::Coordinates);
        };
        let again = examine(&facts.path, &stripped);
        if again.kind != seen.kind || !again.findings.is_empty() || !again.obstacles.is_empty() {
            return Weighed::Fails(Reason::Coordinates);
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

/// Holds XML files against the type's schema and reads the labels.
fn schema<P: Parcel>(
    parcel_type: &ParcelType,
    parcel: &P,
    question: &Question<'_>,
    inspected: &Inspected,
) -> Result<Vec<(Name, String)>, Reason> {
    let mut labels = Vec::new();
    let wanted =
        parcel_type.xml_root.is_some() || !parcel_type.xml_required.is_empty() || !parcel_type.xml_denied.is_empty();
    if !wanted && parcel_type.labels.is_empty() {
        return Ok(labels);
    }
    let mut xml_files = 0;
    for (index, seen) in inspected.seen.iter().enumerate() {
        if !matches!(seen.kind, Kind::Xml | Kind::Json) {
            continue;
        }
        let bytes = reread(question, parcel, index, inspected)?;
        let Some(text) = crate::text::decode(&bytes) else { continue };
        if seen.kind == Kind::Xml {
            xml_files += 1;
            let outline = label::outline(&text, parcel_type);
            if wanted && !outline.keeps_to(parcel_type) {
                return Err(Reason::SchemaMismatch);
            }
            labels.extend(outline.labels);
        } else {
            labels.extend(label::of_json(&text, &parcel_type.labels));
        }
    }
    if parcel_type.xml_root.is_some() && xml_files == 0 {
        return Err(Reason::SchemaMismatch);
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
}
