//! The rules of one crossing: which parcel types may make it, and what each of them may hold.
//!
//! ```toml
//! crossing = "extranet-intranet"
//! version = "2026-11-21.1"
//!
//! [[type]]
//! name = "registration-message"
//! title = "业务报文"
//! pattern = "Biz*.xml"          # of the parcel's name; default "*"
//! kinds = ["xml"]
//! bytes_max = 33554432
//! on_coordinates = "refuse"
//! xml_root = "Message"
//! xml_required = ["Message/Head/BizMsgID"]    # an element by its path from the root, `/@name` for an attribute of it;
//! xml_denied = ["Attachment"]                 # a single word is an element wherever it stands
//! ```

use protocol::{Crossing, Name};
use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::kind::Kind;
use crate::pattern::Pattern;

/// Types of one crossing. An office registers a few dozen.
const TYPES_MAX: usize = 500;
/// A rule file of this size is a mistake.
const RULES_BYTES_MAX: usize = 1 << 20;

/// The rules of one crossing.
#[derive(Clone, Debug)]
pub struct Rules {
    crossing: Crossing,
    version: String,
    types: Vec<ParcelType>,
}

/// Why a rule file is not loaded.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// Not TOML, an unknown key, or a value of the wrong type; the text gives line and column.
    #[error("rule file does not parse: {0}")]
    Syntax(String),
    /// A crossing that the network does not have.
    #[error("line {line}: {detail}")]
    Crossing {
        /// Line of the value.
        line: usize,
        /// What is wrong with it.
        detail: String,
    },
    /// `keep` on a crossing that ends outside the internal zone.
    #[error(
        "line {line}: type {name} says keep = true, but {crossing} ends outside the internal zone, where nothing uninspected may settle; remove keep"
    )]
    KeepOutward {
        /// Line of the type.
        line: usize,
        /// The type.
        name: Name,
        /// The crossing of the file.
        crossing: Crossing,
    },
    /// A word in `kinds` that names no kind.
    #[error("line {line}: type {name} lists kind \"{kind}\", which nobody knows; known are {known}")]
    UnknownKind {
        /// Line of the type.
        line: usize,
        /// The type.
        name: Name,
        /// The word.
        kind: String,
        /// The words that would do.
        known: String,
    },
    /// A type that could hold nothing, or anything outward.
    #[error("line {line}: type {name}: {detail}")]
    Type {
        /// Line of the type.
        line: usize,
        /// The type.
        name: Name,
        /// What is wrong and what to do.
        detail: &'static str,
    },
    /// Larger than any rule file.
    #[error("rule file of {bytes} bytes is over the limit of {RULES_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
}

/// Quality of a JPEG that is painted anew, where a type says nothing: print of eight points stays sharp on a scan.
pub(crate) const JPEG_QUALITY: u8 = 90;

/// What to do when coordinates are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnCoordinates {
    /// Send nothing; tell the app.
    #[default]
    Refuse,
    /// Take them out at the origin's intake, and look again.
    Strip,
    /// Hold the parcel for people.
    Quarantine,
}

/// What to do with a signature inside a file that would have to be stripped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnSignature {
    /// A signed object is never rewritten: refuse, it must be issued anew.
    #[default]
    Refuse,
    /// Drop the signature with the coordinates; XML only.
    Drop,
}

/// What a type asks of a message's inside, and what is read from it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Schema {
    pub(crate) xml_root: Option<String>,
    pub(crate) xml_required: Vec<String>,
    pub(crate) xml_denied: Vec<String>,
    pub(crate) labels: Vec<LabelRule>,
}

impl Schema {
    /// Does it ask anything of XML?
    pub(crate) fn asks_xml(&self) -> bool {
        self.xml_root.is_some() || !self.xml_required.is_empty() || !self.xml_denied.is_empty()
    }
}

/// Where a label is read from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelRule {
    /// The label's name.
    pub name: Name,
    /// Element path from the root, such as `Message/Head/BizMsgID`, perhaps ending in `@attribute`.
    #[serde(default)]
    pub xml: Option<String>,
    /// JSON pointer, such as `/ywh`.
    #[serde(default)]
    pub json: Option<String>,
}

/// A registered message type on this crossing.
#[derive(Clone, Debug)]
pub struct ParcelType {
    pub(crate) name: Name,
    pub(crate) title: String,
    pub(crate) pattern: Pattern,
    pub(crate) kinds: Vec<String>,
    pub(crate) bytes_max: u64,
    pub(crate) files_max: u32,
    pub(crate) on_coordinates: OnCoordinates,
    pub(crate) on_signature: OnSignature,
    pub(crate) keep: bool,
    pub(crate) jpeg_quality: u8,
    pub(crate) schema: Schema,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RulesText {
    crossing: Spanned<String>,
    version: String,
    #[serde(default, rename = "type")]
    types: Vec<TypeText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TypeText {
    name: Spanned<Name>,
    #[serde(default)]
    title: String,
    #[serde(default = "any_name")]
    pattern: String,
    kinds: Vec<String>,
    /// Of all files together. Default 64 MiB, the size up to which a file is read for inspection.
    #[serde(default = "default_bytes_max")]
    bytes_max: u64,
    /// Default 1: a single file.
    #[serde(default = "one")]
    files_max: u32,
    #[serde(default)]
    on_coordinates: OnCoordinates,
    #[serde(default)]
    signature: OnSignature,
    #[serde(default)]
    keep: bool,
    /// Of JPEGs on their way out of the internal zone, which are painted anew. Default 90; below 50 a scan is hard to
    /// read, 100 is as fine as JPEG gets and three times as large.
    #[serde(default = "default_jpeg_quality")]
    jpeg_quality: u8,
    #[serde(default)]
    xml_root: Option<String>,
    #[serde(default)]
    xml_required: Vec<String>,
    #[serde(default)]
    xml_denied: Vec<String>,
    #[serde(default, rename = "label")]
    labels: Vec<LabelRule>,
}

fn any_name() -> String {
    "*".to_owned()
}
fn default_bytes_max() -> u64 {
    64 << 20
}
fn default_jpeg_quality() -> u8 {
    JPEG_QUALITY
}
fn one() -> u32 {
    1
}

/// The invariant, as a function: content that was not inspected, or that carries coordinates, may settle only inside.
pub(crate) const fn may_keep(crossing: Crossing) -> bool {
    !crossing.lands_outside()
}

impl Rules {
    /// Reads a rule file.
    ///
    /// # Errors
    /// [`RulesError`] names the line, what stands there, and what to do.
    pub fn parse(text: &str) -> Result<Rules, RulesError> {
        if text.len() > RULES_BYTES_MAX {
            return Err(RulesError::TooLarge { bytes: text.len() });
        }
        let raw: RulesText = toml::from_str(text).map_err(|e| RulesError::Syntax(e.to_string()))?;
        let line_of = |at: usize| text.get(..at).unwrap_or("").matches('\n').count() + 1;
        let crossing_line = line_of(raw.crossing.span().start);
        let crossing: Crossing = raw.crossing.get_ref().parse().map_err(|e: protocol::zone::UnknownWord| {
            RulesError::Crossing { line: crossing_line, detail: e.to_string() }
        })?;
        if raw.version.trim().is_empty() || raw.types.len() > TYPES_MAX {
            return Err(RulesError::Crossing {
                line: 1,
                detail: "version is empty, or there are more types than any office has".to_owned(),
            });
        }
        let mut types: Vec<ParcelType> = Vec::new();
        for raw_type in raw.types {
            let line = line_of(raw_type.name.span().start);
            let parcel_type = raw_type.check(crossing, line)?;
            if types.iter().any(|t| t.name == parcel_type.name) {
                let detail = "stands here twice; keep one";
                return Err(RulesError::Type { line, name: parcel_type.name, detail });
            }
            types.push(parcel_type);
        }
        Ok(Rules { crossing, version: raw.version, types })
    }

    /// Rules whose crossing was changed behind the loader's back: for the test that this changes nothing.
    #[cfg(test)]
    pub(crate) fn moved_to(mut self, crossing: Crossing) -> Rules {
        self.crossing = crossing;
        self
    }

    /// The crossing they hang on.
    #[must_use]
    pub fn crossing(&self) -> Crossing {
        self.crossing
    }

    /// The version that custody entries name.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// A registered type.
    #[must_use]
    pub fn parcel_type(&self, name: &Name) -> Option<&ParcelType> {
        self.types.iter().find(|t| t.name == *name)
    }

    /// The names of all registered types, in the order of the file.
    pub fn type_names(&self) -> impl Iterator<Item = &Name> {
        self.types.iter().map(|t| &t.name)
    }
}

impl TypeText {
    fn check(self, crossing: Crossing, line: usize) -> Result<ParcelType, RulesError> {
        let name = self.name.into_inner();
        let fail = |detail| Err(RulesError::Type { line, name: name.clone(), detail });
        if self.keep && !may_keep(crossing) {
            return Err(RulesError::KeepOutward { line, name, crossing });
        }
        if let Some(kind) = self.kinds.iter().find(|k| !Kind::WORDS.contains(&k.as_str())) {
            return Err(RulesError::UnknownKind { line, name, kind: kind.clone(), known: Kind::WORDS.join(", ") });
        }
        if self.kinds.is_empty() {
            return fail("kinds is empty, so no file could ever be of it; list kinds");
        }
        if self.kinds.iter().any(|k| k == "any") && !self.keep {
            return fail("kind \"any\" is for types that say keep = true; list the kinds");
        }
        if self.kinds.iter().any(|k| k == "geodata") && !may_keep(crossing) {
            return fail("geodata never crosses outward; remove it from kinds");
        }
        if self.files_max == 0 || self.bytes_max == 0 {
            return fail("files_max or bytes_max is 0, so no parcel could ever fit");
        }
        if !(50..=100).contains(&self.jpeg_quality) {
            return fail("jpeg_quality goes from 50 to 100");
        }
        if self.labels.iter().any(|l| l.xml.is_some() == l.json.is_some()) {
            return fail("a label reads from xml or from json: give one of them");
        }
        let Some(pattern) = Pattern::new(&self.pattern) else {
            return fail("pattern is empty or longer than 200 characters");
        };
        Ok(ParcelType {
            name,
            title: self.title,
            pattern,
            kinds: self.kinds,
            bytes_max: self.bytes_max,
            files_max: self.files_max,
            on_coordinates: self.on_coordinates,
            on_signature: self.signature,
            keep: self.keep,
            jpeg_quality: self.jpeg_quality,
            schema: Schema {
                xml_root: self.xml_root,
                xml_required: self.xml_required,
                xml_denied: self.xml_denied,
                labels: self.labels,
            },
        })
    }
}

impl ParcelType {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Its title in words, for people.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Kinds of file it may hold.
    #[must_use]
    pub fn kinds(&self) -> &[String] {
        &self.kinds
    }

    /// Bytes of all its files together at most.
    #[must_use]
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Files at most.
    #[must_use]
    pub fn files_max(&self) -> u32 {
        self.files_max
    }

    /// May it enter the internal zone uninspected?
    #[must_use]
    pub fn keep(&self) -> bool {
        self.keep
    }

    /// What happens when coordinates are found.
    #[must_use]
    pub fn on_coordinates(&self) -> OnCoordinates {
        self.on_coordinates
    }

    pub(crate) fn covers(&self, kind: Kind) -> bool {
        self.kinds.iter().any(|k| k == "any" || k == kind.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(crossing: &str, body: &str) -> Result<Rules, RulesError> {
        Rules::parse(&format!("crossing = \"{crossing}\"\nversion = \"1\"\n[[type]]\nname = \"t\"\n{body}\n"))
    }

    #[test]
    fn keep_toward_the_extranet_is_refused_at_load() {
        for crossing in Crossing::ALL {
            let loaded = rules(crossing.name(), "kinds = [\"any\"]\nkeep = true");
            match loaded {
                Ok(_) => assert_eq!(crossing, Crossing::ExtranetToIntranet),
                Err(RulesError::KeepOutward { line, .. }) => {
                    assert!(crossing.lands_outside());
                    assert_eq!(line, 4);
                }
                Err(other) => unreachable!("{other}"),
            }
        }
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (body, word) in [
            ("kinds = [\"xml\"]\ncolour = 1", "colour"),
            ("kinds = [\"word\"]", "word"),
            ("kinds = []", "empty"),
            ("kinds = [\"any\"]", "any"),
            ("kinds = [\"xml\"]\nfiles_max = 0", "files_max"),
            ("kinds = [\"jpeg\"]\njpeg_quality = 20", "jpeg_quality"),
        ] {
            let message = rules("internet-extranet", body).expect_err(body).to_string();
            assert!(message.contains(word) && message.contains("line"), "{message}");
        }
    }

    #[test]
    fn every_shipped_rule_file_loads() {
        for crossing in Crossing::ALL {
            let path = format!("{}/../config/rules/{crossing}.toml", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read_to_string(&path).expect("a rule file for every crossing is shipped");
            let rules = Rules::parse(&text).unwrap_or_else(|e| unreachable!("{path}: {e}"));
            assert_eq!(rules.crossing(), crossing);
            assert!(rules.type_names().count() >= 3, "{path}");
        }
    }
}
