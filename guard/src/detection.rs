//! The detector alone: one name and its bytes, no crossing, no registered types.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Serialize};

use crate::finding::{Finding, RuleClass};
use crate::kind::Kind;
use crate::look::{Inner, Look};
use crate::window::Window;

/// Larger files are not read into memory: they are streamed for their digest, and count as not inspectable.
pub const LOOK_BYTES_MAX: u64 = 64 << 20;

/// What the detector says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DetectVerdict {
    /// Looked at in full, nothing found.
    Clean,
    /// Survey coordinates, or a device's position, stand in it.
    Coordinates,
    /// Encrypted, malformed, unknown or over a limit.
    Uninspectable,
}

impl DetectVerdict {
    /// The code word of the `inspect --detect` output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            DetectVerdict::Clean => "clean",
            DetectVerdict::Coordinates => "coordinates",
            DetectVerdict::Uninspectable => "uninspectable",
        }
    }
}

/// A verdict with its evidence.
#[derive(Clone, Debug)]
pub struct Detection {
    /// The verdict.
    pub verdict: DetectVerdict,
    /// What led to it; obstacles stand behind the findings.
    pub findings: Vec<Finding>,
}

/// Looks at one file, wherever it comes from.
#[must_use]
pub fn detect(name: &str, bytes: &[u8]) -> Detection {
    let seen = examine(name, bytes, &[]);
    let verdict = seen.verdict();
    let mut findings = seen.findings;
    findings.extend(seen.obstacles);
    Detection { verdict, findings }
}

/// Everything a look tells.
#[derive(Serialize, Deserialize)]
pub(crate) struct Seen {
    pub kind: Kind,
    pub findings: Vec<Finding>,
    pub obstacles: Vec<Finding>,
    pub signed: bool,
    /// Kinds of the files inside it.
    #[serde(default)]
    pub inside: Vec<Inner>,
    /// A picture stands in it in letters.
    #[serde(default)]
    pub has_written_picture: bool,
}

impl Seen {
    pub(crate) fn verdict(&self) -> DetectVerdict {
        if !self.findings.is_empty() {
            DetectVerdict::Coordinates
        } else if self.obstacles.is_empty() {
            DetectVerdict::Clean
        } else {
            DetectVerdict::Uninspectable
        }
    }

    /// A file that was not read at all.
    pub(crate) fn unread(rule: &'static str, name: &str) -> Seen {
        let obstacle = Finding::new(rule, RuleClass::Structural, name.to_owned(), "");
        Seen {
            kind: Kind::Unknown,
            findings: Vec::new(),
            obstacles: vec![obstacle],
            signed: false,
            inside: Vec::new(),
            has_written_picture: false,
        }
    }
}

/// Looks, and takes a panic of any parser for what it is: something nobody could look at.
pub(crate) fn examine(name: &str, bytes: &[u8], windows: &[Window]) -> Seen {
    if bytes.len() as u64 > LOOK_BYTES_MAX {
        return Seen::unread("larger-than-looked-at", name);
    }
    // A look that panicked is dropped whole; nothing of it is read afterwards.
    let looked = catch_unwind(AssertUnwindSafe(|| {
        let mut look = Look::within(windows);
        look.name(name, name);
        let kind = look.file(name, bytes, name, 0);
        (look, kind)
    }));
    match looked {
        Ok((look, kind)) => {
            let Look { findings, obstacles, signed, inside, has_written_picture, .. } = look;
            Seen { kind, findings, obstacles, signed, inside, has_written_picture }
        }
        Err(_) => Seen::unread("parser-failed", name),
    }
}
