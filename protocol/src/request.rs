//! What a person or a tool asks of a node, as a signed file in its desk. The daemon alone acts; the asker only asks.

use crate::name::Name;
use crate::parcel::Label;
use crate::signed::Statement;
use crate::suite::Digest;
use crate::time::Timestamp;

/// Arguments of one request: an approval names one trip, a resend one range.
pub const ARGUMENTS_MAX: usize = 64;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, der::Sequence)]
pub struct Request {
    /// [`crate::parcel::VERSION`].
    pub version: u8,
    /// Random; an answered id is never acted on again.
    pub id: Digest,
    /// The node that is asked.
    pub node: Name,
    /// What is asked: `export`, `approve`, `confirm`, `import`, `resend` …
    pub action: Name,
    /// Who asks.
    pub person: Name,
    /// When, by the asker's clock.
    pub at: Timestamp,
    /// Named values.
    pub arguments: Vec<Label>,
}

impl Request {
    /// The value of an argument.
    #[must_use]
    pub fn argument(&self, name: &str) -> Option<&str> {
        self.arguments.iter().find(|label| label.name.as_str() == name).map(|label| label.value.as_str())
    }
}

impl Statement for Request {
    const DOMAIN: &'static str = "trilock-v1-request";
    const WHAT: &'static str = "request";
    fn version(&self) -> u8 {
        self.version
    }
}
