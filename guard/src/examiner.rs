//! Who looks at bytes. The judgement never parses content itself: it asks an examiner, in this process or in a locked
//! one that holds no keys, and believes of the answer only what it bears out.
//!
//! A question is a few words and the contents they are about; an answer is a few words and, of a strip, new bytes.
//! Whoever carries them over ([`Examiner`]) understands neither. An examiner that is silent, for whatever reason, has
//! looked at nothing: what it was asked about is not inspectable.

use protocol::Name;
use serde::{Deserialize, Serialize};

use crate::detection::{DetectVerdict, Detection, Seen, examine};
use crate::finding::{Finding, RuleClass};
use crate::kind::Kind;
use crate::label;
use crate::look::Look;
use crate::rules::Schema;
use crate::second;
use crate::strip::{self, Stripped};
use crate::window::Window;

/// Words of one question or answer: the paths of a batch, the evidence of its files. More is no answer.
pub const WORDS_BYTES_MAX: usize = 8 << 20;
/// Bytes that come back from a strip; little more than went in, which is at most [`crate::LOOK_BYTES_MAX`].
pub const BODY_BYTES_MAX: u64 = 128 << 20;
/// Contents asked about at once; a batch has far fewer.
pub const CONTENTS_MAX: usize = 1024;
/// Where evidence stands: a path of a parcel and a way into nested containers.
const AT_CHARS_MAX: usize = 4096;
/// Evidence that one file's look keeps, findings and obstacles each.
pub(crate) const EVIDENCE_MAX: usize = 64;

/// Carries a question to whoever answers it.
pub trait Examiner {
    /// The answer to a question and its contents.
    ///
    /// # Errors
    /// There is none, and why.
    fn ask(&mut self, words: &[u8], contents: &[&[u8]]) -> Result<Answer, Silence>;

    /// Whoever answered last has met something, and is asked no more; the next question goes to another.
    fn retire(&mut self);
}

/// What came back.
pub struct Answer {
    /// Its words.
    pub words: Vec<u8>,
    /// New bytes.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Silence {
    /// The examiner ended before it answered: killed by its limits or by what it read.
    Died,
    /// It took longer than such content may take.
    Late,
    /// What it said is no answer.
    Garbled,
    /// There is no examiner to ask: nothing is said about the content.
    Absent,
}

impl Silence {
    /// The rule that a file meets which nobody answered for.
    #[must_use]
    pub const fn rule(self) -> &'static str {
        match self {
            Silence::Died => "worker-died",
            Silence::Late => "worker-late",
            Silence::Garbled => "worker-garbled",
            Silence::Absent => "worker-absent",
        }
    }

    /// What is said of a file that nobody answered for.
    #[must_use]
    pub fn finding(self, at: &str) -> Finding {
        Finding::new(self.rule(), RuleClass::Structural, at.to_owned(), "")
    }
}

/// Answers in this process: for the simulated world and for tests, where content is the project's own.
#[derive(Clone, Copy, Debug, Default)]
pub struct InProcess;

impl Examiner for InProcess {
    fn ask(&mut self, words: &[u8], contents: &[&[u8]]) -> Result<Answer, Silence> {
        answer(words, contents).ok_or(Silence::Garbled)
    }
    fn retire(&mut self) {}
}

#[derive(Serialize, Deserialize)]
enum Question {
    /// What stands in these files, in these names? And how does a message among them stand to its schema?
    Look { names: Vec<String>, files: Vec<Asked>, windows: Vec<Window> },
    /// The one content without its coordinates; a picture painted anew, where a quality is given.
    Strip { kind: Kind, repaint: Option<u8> },
    /// Does a second reader see no coordinate in the one content, which a strip has made?
    Confirm,
    /// Does the one content keep to this, and which labels has it?
    Outline { kind: Kind, schema: Schema },
}

#[derive(Serialize, Deserialize)]
struct Asked {
    path: String,
    schema: Option<Schema>,
}

#[derive(Serialize, Deserialize)]
enum Said {
    Look { names: Vec<Vec<Finding>>, files: Vec<Seen>, outlined: Vec<Option<Outlined>> },
    Strip { removed: Option<Vec<(String, u32)>> },
    Confirm { agrees: bool },
    Outline { outlined: Option<Outlined> },
}

/// How a message stands to its type's schema.
#[derive(Serialize, Deserialize)]
pub(crate) struct Outlined {
    pub keeps: bool,
    pub labels: Vec<(Name, String)>,
    /// What stands there and is not listed.
    #[serde(default)]
    pub stranger: Option<String>,
}

/// A file that is asked about.
pub(crate) struct File<'a> {
    pub path: &'a str,
    pub bytes: &'a [u8],
    /// What a message is held against, where that is known before its kind is.
    pub schema: Option<&'a Schema>,
}

/// What was seen in names and files, one for one.
pub(crate) struct Looked {
    pub names: Vec<Vec<Finding>>,
    pub files: Vec<Seen>,
    /// Of messages that were asked about with a schema.
    pub outlined: Vec<Option<Outlined>>,
}

impl Looked {
    fn is_clean(&self) -> bool {
        self.names.iter().all(Vec::is_empty) && self.files.iter().all(|seen| seen.verdict() == DetectVerdict::Clean)
    }
}

/// The other side: answers a question. `None` where it is no question of ours.
#[must_use]
pub fn answer(words: &[u8], contents: &[&[u8]]) -> Option<Answer> {
    let mut body = Vec::new();
    let said = match serde_json::from_slice(words).ok()? {
        Question::Look { names, files, windows } if files.len() == contents.len() => {
            let seen: Vec<Seen> =
                files.iter().zip(contents).map(|(file, bytes)| examine(&file.path, bytes, &windows)).collect();
            let held = files.iter().zip(contents).zip(&seen);
            Said::Look {
                names: names.iter().map(|name| look_at_name(name, &windows)).collect(),
                outlined: held
                    .map(|((file, bytes), seen)| {
                        outline(seen.kind, bytes, file.schema.as_ref().filter(|schema| schema.asks_of(seen.kind))?)
                    })
                    .collect(),
                files: seen,
            }
        }
        Question::Strip { kind, repaint } => {
            let stripped = strip::strip(kind, contents.first()?, repaint);
            Said::Strip {
                removed: stripped.map(|(bytes, removed)| {
                    body = bytes;
                    removed
                }),
            }
        }
        Question::Confirm => Said::Confirm { agrees: second::agrees(contents.first()?) },
        Question::Outline { kind, schema } => Said::Outline { outlined: outline(kind, contents.first()?, &schema) },
        Question::Look { .. } => return None,
    };
    Some(Answer { words: serde_json::to_vec(&said).ok()?, body })
}

fn look_at_name(name: &str, windows: &[Window]) -> Vec<Finding> {
    let mut look = Look::within(windows);
    look.name(name, "(parcel name)");
    look.findings
}

fn outline(kind: Kind, bytes: &[u8], schema: &Schema) -> Option<Outlined> {
    let text = crate::text::decode(bytes)?;
    if kind == Kind::Xml {
        let outline = label::outline(&text, schema);
        let (keeps, stranger) = (outline.keeps_to(schema), outline.stranger());
        return Some(Outlined { keeps, labels: outline.labels, stranger });
    }
    if kind == Kind::Csv {
        let stranger = schema.takes_table(&text).err();
        return Some(Outlined { keeps: stranger.is_none(), labels: Vec::new(), stranger });
    }
    let labels = label::of_json(&text, &schema.labels);
    let stranger = schema.misfit(&text).map(|at| at.chars().take(label::NAME_CHARS_MAX).collect());
    Some(Outlined { keeps: stranger.is_none(), labels, stranger })
}

/// Looks at one file by itself, wherever it comes from.
pub fn detect_by(examiner: &mut dyn Examiner, name: &str, bytes: &[u8]) -> Result<Detection, Silence> {
    let Looked { mut files, .. } = look(examiner, &[], &[File { path: name, bytes, schema: None }], &[])?;
    let seen = files.pop().ok_or(Silence::Garbled)?;
    let verdict: DetectVerdict = seen.verdict();
    let mut findings = seen.findings;
    findings.extend(seen.obstacles);
    Ok(Detection { verdict, findings })
}

/// Asks for a look. Whoever has met something is not asked again.
pub(crate) fn look(
    examiner: &mut dyn Examiner,
    names: &[&str],
    files: &[File<'_>],
    windows: &[Window],
) -> Result<Looked, Silence> {
    let question = Question::Look {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        files: files.iter().map(|f| Asked { path: f.path.to_owned(), schema: f.schema.cloned() }).collect(),
        windows: windows.to_vec(),
    };
    let contents: Vec<&[u8]> = files.iter().map(|file| file.bytes).collect();
    let Said::Look { names: of_names, files: seen, outlined } = ask(examiner, &question, &contents)?.0 else {
        return Err(garbled(examiner));
    };
    if of_names.len() != names.len() || seen.len() != files.len() || outlined.len() != files.len() {
        return Err(garbled(examiner));
    }
    let looked = Looked {
        names: of_names.into_iter().map(checked).collect(),
        files: seen
            .into_iter()
            .map(|mut seen| {
                seen.inside.truncate(Kind::WORDS.len());
                Seen { findings: checked(seen.findings), obstacles: checked(seen.obstacles), ..seen }
            })
            .collect(),
        outlined,
    };
    if !looked.is_clean() {
        examiner.retire();
    }
    Ok(looked)
}

/// Asks for a look at the files of several parcels and tells nothing of any unless all of them, and all names, are
/// clean: beside a hit nobody's word counts, and each parcel is looked at by itself.
pub(crate) fn look_if_all_clean(
    examiner: &mut dyn Examiner,
    names: &[&str],
    files: &[File<'_>],
    windows: &[Window],
) -> Option<Looked> {
    look(examiner, names, files, windows).ok().filter(Looked::is_clean)
}

/// Asks for a file without its coordinates, or a picture painted anew. Whoever rewrote it judges nothing afterwards.
pub(crate) fn strip_by(
    examiner: &mut dyn Examiner,
    kind: Kind,
    bytes: &[u8],
    repaint: Option<u8>,
) -> Result<Option<Stripped>, Silence> {
    let told = ask(examiner, &Question::Strip { kind, repaint }, &[bytes]);
    examiner.retire();
    match told? {
        (Said::Strip { removed }, body) => Ok(removed.map(|removed| (body, removed))),
        _ => Err(Silence::Garbled),
    }
}

/// Asks the second reader about what a strip made, in a worker that has seen nothing else.
pub(crate) fn confirm_by(examiner: &mut dyn Examiner, bytes: &[u8]) -> Result<bool, Silence> {
    examiner.retire();
    let told = ask(examiner, &Question::Confirm, &[bytes]);
    examiner.retire();
    match told?.0 {
        Said::Confirm { agrees } => Ok(agrees),
        _ => Err(Silence::Garbled),
    }
}

/// Asks how a message stands to a schema.
pub(crate) fn outline_by(
    examiner: &mut dyn Examiner,
    kind: Kind,
    bytes: &[u8],
    schema: &Schema,
) -> Result<Option<Outlined>, Silence> {
    match ask(examiner, &Question::Outline { kind, schema: schema.clone() }, &[bytes])?.0 {
        Said::Outline { outlined } => Ok(outlined),
        _ => Err(garbled(examiner)),
    }
}

fn ask(examiner: &mut dyn Examiner, question: &Question, contents: &[&[u8]]) -> Result<(Said, Vec<u8>), Silence> {
    let words = serde_json::to_vec(question).map_err(|_| Silence::Garbled)?;
    let Answer { words, body } = examiner.ask(&words, contents)?;
    match serde_json::from_slice(&words) {
        Ok(said) if body.len() as u64 <= BODY_BYTES_MAX => Ok((said, body)),
        _ => Err(garbled(examiner)),
    }
}

fn garbled(examiner: &mut dyn Examiner) -> Silence {
    examiner.retire();
    Silence::Garbled
}

/// Evidence out of an answer: masked here once more, and no more of it than a look gives.
fn checked(findings: Vec<Finding>) -> Vec<Finding> {
    findings
        .into_iter()
        .take(EVIDENCE_MAX)
        .map(|f| Finding::new(f.rule, f.class, f.at.chars().take(AT_CHARS_MAX).collect(), &f.sample))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says what it is told to say.
    struct Liar(Vec<u8>, u32);

    impl Examiner for Liar {
        fn ask(&mut self, _: &[u8], _: &[&[u8]]) -> Result<Answer, Silence> {
            Ok(Answer { words: self.0.clone(), body: Vec::new() })
        }
        fn retire(&mut self) {
            self.1 += 1;
        }
    }

    fn said(files: Vec<Seen>) -> Vec<u8> {
        let outlined = files.iter().map(|_| None).collect();
        serde_json::to_vec(&Said::Look { names: Vec::new(), files, outlined }).expect("it can be written")
    }

    const X: File<'static> = File { path: "a", bytes: b"x", schema: None };

    fn clean() -> Seen {
        Seen {
            kind: Kind::Text,
            findings: Vec::new(),
            obstacles: Vec::new(),
            signed: false,
            inside: Vec::new(),
            has_written_picture: false,
        }
    }

    #[test]
    fn an_answer_about_other_files_than_were_asked_about_is_none() {
        for words in [said(vec![]), said(vec![clean(), clean()]), b"{}".to_vec(), b"\x00".to_vec()] {
            let mut liar = Liar(words, 0);
            assert!(matches!(look(&mut liar, &[], &[X], &[]), Err(Silence::Garbled)));
            assert_eq!(liar.1, 1, "it is not asked again");
        }
        assert!(look(&mut Liar(said(vec![clean()]), 0), &[], &[X], &[]).is_ok());
    }

    #[test]
    fn evidence_is_masked_on_this_side_too_and_its_examiner_retires() {
        let mut loud = Finding::new("precise-pair", RuleClass::Heuristic, "a".to_owned(), "");
        loud.sample = "X=4851490.4193".to_owned();
        let mut liar = Liar(said(vec![Seen { findings: vec![loud; 200], ..clean() }]), 0);
        let looked = look(&mut liar, &[], &[X], &[]).expect("an answer");
        let findings = &looked.files.first().expect("one file").findings;
        assert_eq!(findings.len(), EVIDENCE_MAX);
        assert!(findings.iter().all(|f| f.sample == "X=48#####.###3"));
        assert_eq!(liar.1, 1);
    }

    #[test]
    fn a_word_that_is_none_makes_no_answer_and_takes_no_memory() {
        let words = String::from_utf8(said(vec![Seen::unread("encrypted", "a")])).expect("JSON is text");
        for bad in ["113.5,23.1", "x\\u0000", &"a".repeat(65)] {
            let mut liar = Liar(words.replace("encrypted", bad).into_bytes(), 0);
            assert!(matches!(look(&mut liar, &[], &[X], &[]), Err(Silence::Garbled)), "{bad}");
        }
    }

    #[test]
    fn in_this_process_the_answer_is_what_the_detector_says() {
        for (name, bytes) in
            [("a.txt", &b"hello"[..]), ("a.csv", b"XZB=4851490.4193 YZB=29546865.2760"), ("b", b"Salted__x")]
        {
            let direct = crate::detect(name, bytes);
            let asked = detect_by(&mut InProcess, name, bytes).expect("an answer");
            assert_eq!(asked.verdict, direct.verdict);
            assert!(asked.findings == direct.findings);
        }
    }
}
