//! The sample office's rules over one document: what the node where it is dropped would do with it.

use std::fmt;
use std::path::PathBuf;

use guard::{DetectVerdict, FileFacts, Judgement, Moment, Parcel, Question, ReadSeek, Rules, detect};
use protocol::{Name, Suite};

use crate::programs::repository;
use crate::samples::Sample;

/// Where a document is committed.
#[must_use]
pub fn place(sample: &Sample) -> PathBuf {
    profile().join("samples").join(sample.node).join(sample.route).join(sample.name)
}

/// The profile's folder.
#[must_use]
pub fn profile() -> PathBuf {
    repository().join("config/profiles/sample-office")
}

/// What the guard said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    /// It goes as it is.
    Passes,
    /// It goes without what was taken out, and what goes is clean.
    Stripped,
    /// It stays, for this reason.
    Stopped(String),
}

impl Judged {
    /// Nothing with a coordinate in it goes on.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        *self != Judged::Passes
    }
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Judged::Passes => f.write_str("passes"),
            Judged::Stripped => f.write_str("stripped"),
            Judged::Stopped(reason) => f.write_str(reason),
        }
    }
}

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

/// Types of a route, as the node's config lists them, and the crossing it begins with.
fn route(sample: &Sample) -> (Vec<Name>, String) {
    let text = std::fs::read_to_string(profile().join(format!("{}.toml", sample.node))).expect("the node's config");
    let config: toml::Table = text.parse().expect("it is TOML");
    let words = |value: &toml::Value| {
        value
            .as_array()
            .expect("a list")
            .iter()
            .map(|word| word.as_str().expect("a word").to_owned())
            .collect::<Vec<_>>()
    };
    let routes = config["route"].as_array().expect("routes");
    let route = routes.iter().find(|route| route["name"].as_str() == Some(sample.route)).expect("the sample's route");
    let path = words(&route["path"]);
    let here = path.iter().position(|node| node == sample.node).expect("the route leads over this node");
    let types = words(&route["types"]).iter().map(|word| Name::new(word).expect("a name")).collect();
    (types, format!("{}-{}", path[here], path[here + 1]))
}

/// The intake of the node where a sample is dropped: its route's types, and the rules of its crossing.
pub struct Intake {
    name: &'static str,
    types: Vec<Name>,
    rules: Rules,
}

impl Intake {
    /// Reads the profile.
    #[must_use]
    pub fn of(sample: &Sample) -> Intake {
        let (types, crossing) = route(sample);
        let text =
            std::fs::read_to_string(profile().join("rules").join(format!("{crossing}.toml"))).expect("its rules");
        Intake { name: sample.name, types, rules: Rules::parse(&text).expect("they load") }
    }

    /// Asks as that node would, of the sample or of other bytes under its name.
    #[must_use]
    pub fn judged(&self, bytes: Vec<u8>) -> Judged {
        let (rules, types) = (&self.rules, &self.types);
        let question = Question { rules, suite: Suite::Std, moment: Moment::Intake, types, stripped: false };
        let facts = FileFacts { path: self.name.to_owned(), size: bytes.len() as u64 };
        match guard::inspect(&question, One(facts, bytes)) {
            Judgement::Released(_) => Judged::Passes,
            Judgement::Strip { files, .. } => {
                let clean = files.iter().all(|file| detect(self.name, &file.bytes).verdict == DetectVerdict::Clean);
                if clean { Judged::Stripped } else { Judged::Passes }
            }
            Judgement::Quarantine { reason, .. } | Judgement::Refused { reason, .. } => {
                Judged::Stopped(reason.to_string())
            }
        }
    }
}

/// What would become of these bytes under the sample's name.
#[must_use]
pub fn judged(sample: &Sample, bytes: Vec<u8>) -> Judged {
    Intake::of(sample).judged(bytes)
}
