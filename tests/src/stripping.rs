//! What the guard makes of a document on a route whose type says `strip`: taken as it is, built anew, or refused.

use guard::{DetectVerdict, FileFacts, Judgement, Moment, Parcel, Question, ReadSeek, Rules, detect};
use protocol::{Name, Reason, Suite};

/// What became of a document.
#[derive(Debug)]
pub enum Fate {
    /// It goes as it is, to the byte.
    AsItIs,
    /// It goes like this, without what was taken out.
    Stripped(Vec<u8>, Vec<(String, u32)>),
    /// It stays, for this reason.
    Refused(Reason),
}

/// A parcel of one file.
pub struct One(FileFacts, Vec<u8>);

impl One {
    /// The file under this name.
    #[must_use]
    pub fn new(name: &str, bytes: &[u8]) -> One {
        One(FileFacts { path: name.to_owned(), size: bytes.len() as u64 }, bytes.to_vec())
    }
}

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

/// Rules of the border out of the internal zone with one type for everything that can be looked into; `more` is added to it.
#[must_use]
pub fn outward(more: &str) -> Rules {
    let kinds = ["xml", "json", "csv", "txt", "xlsx", "docx", "pdf", "ofd", "odf", "html"];
    let kinds: Vec<String> = kinds.iter().map(|kind| format!("\"{kind}\"")).collect();
    let text = format!(
        "crossing = \"intranet-extranet\"\nversion = \"1\"\n[[type]]\nname = \"t\"\nkinds = [{}]\non_coordinates = \"strip\"\n{more}\n",
        kinds.join(", ")
    );
    Rules::parse(&text).expect("they load")
}

/// Asks as an intake does: strips, puts the result in place, and asks again.
#[must_use]
pub fn fate(rules: &Rules, name: &str, bytes: &[u8]) -> Fate {
    let types = [Name::new("t").expect("a name")];
    let question = |stripped| Question { rules, suite: Suite::Std, moment: Moment::Intake, types: &types, stripped };
    match guard::inspect(&question(false), One::new(name, bytes)) {
        Judgement::Released(_) => Fate::AsItIs,
        Judgement::Strip { mut files, .. } => {
            let file = files.pop().expect("one file");
            match guard::inspect(&question(true), One::new(name, &file.bytes)) {
                Judgement::Released(_) => {
                    assert_eq!(detect(name, &file.bytes).verdict, DetectVerdict::Clean, "{name}: released, not clean");
                    Fate::Stripped(file.bytes, file.removed)
                }
                Judgement::Quarantine { reason, .. } | Judgement::Refused { reason, .. } => Fate::Refused(reason),
                Judgement::Strip { .. } => unreachable!("nothing is stripped twice"),
            }
        }
        Judgement::Quarantine { reason, .. } | Judgement::Refused { reason, .. } => Fate::Refused(reason),
    }
}
