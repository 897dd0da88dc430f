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
//! xml_allowed = ["Head/", "ywh", "@BDCDYH"]   # nothing else may stand there; `@name` is an attribute of any element,
//!                                             # `Name/` an element that holds others and no words
//! csv_columns = ["宗地代码", "用途"]             # a table has no other columns
//! json_schema = '''{"type": "object", …}'''    # every JSON file keeps to it: json_schema.rs
//! budget = { per = "trip", parcels_max = 200 }  # of what leaves the internal zone
//!
//! [[window]]                                  # a city's own grid: window.rs
//! name = "城建坐标"
//! north = [20000, 60000]
//! east = [60000, 99000]
//! ```

use protocol::{Crossing, Name};
use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::detection::Seen;
use crate::json_schema::JsonSchema;
use crate::kind::Kind;
use crate::look::Inner;
use crate::pattern::Pattern;
use crate::window::{WINDOWS_MAX, Window};

/// Types of one crossing. An office registers a few dozen.
const TYPES_MAX: usize = 500;
/// A rule file of this size is a mistake.
const RULES_BYTES_MAX: usize = 1 << 20;

/// The version of a rule file: numbers with `.` or `-` between them, such as `2026-11-21.1`. Later ones are larger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulesVersion {
    text: String,
    numbers: Vec<u64>,
}

impl RulesVersion {
    /// Reads a version. Nothing where it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<RulesVersion> {
        /// A day, a turn, and room for an office's own.
        const NUMBERS_MAX: usize = 8;
        let numbers: Vec<u64> = text
            .split(['.', '-'])
            .take(NUMBERS_MAX + 1)
            .map(|part| part.parse().ok().filter(|_| part.bytes().all(|b| b.is_ascii_digit())))
            .collect::<Option<_>>()?;
        (numbers.len() <= NUMBERS_MAX).then(|| RulesVersion { text: text.to_owned(), numbers })
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Does it come before another?
    #[must_use]
    pub fn is_before(&self, other: &RulesVersion) -> bool {
        self.numbers < other.numbers
    }
}

/// Kinds that say nothing of what is inside: no positive list.
const OPAQUE_BOXES: [&str; 9] = ["zip", "tar", "gz", "bz2", "xz", "zst", "7z", "ole", "eml"];

/// The rules of one crossing.
#[derive(Clone, Debug)]
pub struct Rules {
    crossing: Crossing,
    version: RulesVersion,
    types: Vec<ParcelType>,
    windows: Vec<Window>,
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
        detail: String,
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
    /// All that may stand in it. Nothing listed: anything but what is denied.
    #[serde(default)]
    pub(crate) xml_allowed: Vec<String>,
    /// The columns a table may have. Nothing listed: any.
    #[serde(default)]
    pub(crate) csv_columns: Vec<String>,
    /// As it is written; it was read once when the rules were loaded.
    #[serde(default)]
    pub(crate) json: Option<String>,
    pub(crate) labels: Vec<LabelRule>,
}

impl Schema {
    /// Is there nothing to look into a message for?
    pub(crate) fn asks_nothing(&self) -> bool {
        !self.asks_xml() && self.json.is_none() && self.csv_columns.is_empty() && self.labels.is_empty()
    }

    /// Is a file of this kind held against it?
    pub(crate) fn asks_of(&self, kind: Kind) -> bool {
        kind.is_message() || kind == Kind::Csv && !self.csv_columns.is_empty()
    }

    /// Does a table have no column but these? If not, the first other.
    ///
    /// # Errors
    /// What is not listed.
    pub(crate) fn takes_table(&self, text: &str) -> Result<(), String> {
        crate::table::columns_of(text, &self.csv_columns)
    }

    /// Where a text that is JSON does not keep to it, if anywhere: the names that lead there.
    pub(crate) fn misfit(&self, text: &str) -> Option<String> {
        let schema = JsonSchema::parse(self.json.as_ref()?);
        schema.map_or_else(|_| Some("json_schema".to_owned()), |schema| schema.misfit(text))
    }

    /// Does it ask anything of XML?
    pub(crate) fn asks_xml(&self) -> bool {
        self.xml_root.is_some()
            || !self.xml_required.is_empty()
            || !self.xml_denied.is_empty()
            || !self.xml_allowed.is_empty()
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

/// How much of a type may leave the internal zone on one trip, or on all trips of one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// What it is counted over.
    pub per: BudgetPeriod,
    /// Parcels at most. Default: no limit.
    pub parcels_max: Option<u32>,
    /// Bytes of their content at most. Default: no limit.
    pub bytes_max: Option<u64>,
    /// Findings that were let pass as exceptions, at most. 0 keeps every parcel with an exception back. Default: no limit.
    pub exceptions_max: Option<u32>,
}

/// See [`Budget::per`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BudgetPeriod {
    /// One trip of the ferry.
    Trip,
    /// All trips that were staged on one day, by UTC, as everywhere in the evidence.
    Day,
}

impl Budget {
    fn told(&self) -> String {
        let per = match self.per {
            BudgetPeriod::Trip => "trip",
            BudgetPeriod::Day => "day",
        };
        let limits = [
            self.parcels_max.map(|most| format!("{most} parcels")),
            self.bytes_max.map(|most| format!("{most} bytes")),
            self.exceptions_max.map(|most| format!("{most} exceptions")),
        ];
        format!("at most {} a {per}", limits.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
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
    pub(crate) budget: Option<Budget>,
    /// Kinds that it carries to a lower zone and of which it does not say what may be in them.
    pub(crate) open: Vec<&'static str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RulesText {
    crossing: Spanned<String>,
    version: Spanned<String>,
    #[serde(default, rename = "type")]
    types: Vec<TypeText>,
    #[serde(default, rename = "window")]
    windows: Vec<Spanned<Window>>,
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
    /// Toward a lower zone the list that counts: elements by name or path, `@name` for an attribute of any, `A/@name` for one of A.
    #[serde(default)]
    xml_allowed: Vec<String>,
    #[serde(default)]
    csv_columns: Vec<String>,
    #[serde(default)]
    json_schema: Option<String>,
    #[serde(default)]
    budget: Option<Budget>,
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
        let Some(version) = RulesVersion::parse(raw.version.get_ref()) else {
            return Err(RulesError::Crossing {
                line: line_of(raw.version.span().start),
                detail: "version is no row of numbers such as \"2026-11-21.1\": nobody could say which of two is later"
                    .to_owned(),
            });
        };
        if raw.types.len() > TYPES_MAX {
            let detail = "there are more types than any office has".to_owned();
            return Err(RulesError::Crossing { line: 1, detail });
        }
        let mut types: Vec<ParcelType> = Vec::new();
        for raw_type in raw.types {
            let line = line_of(raw_type.name.span().start);
            let parcel_type = raw_type.check(crossing, line)?;
            if types.iter().any(|t| t.name == parcel_type.name) {
                let detail = "stands here twice; keep one".to_owned();
                return Err(RulesError::Type { line, name: parcel_type.name, detail });
            }
            types.push(parcel_type);
        }
        let faulty = raw.windows.iter().find_map(|window| Some((window.span().start, window.get_ref().fault()?)));
        if let Some((at, detail)) = faulty {
            return Err(RulesError::Crossing { line: line_of(at), detail: format!("window: {detail}") });
        }
        if raw.windows.len() > WINDOWS_MAX {
            let detail = format!("more than {WINDOWS_MAX} windows");
            return Err(RulesError::Crossing { line: 1, detail });
        }
        let windows = raw.windows.into_iter().map(Spanned::into_inner).collect();
        Ok(Rules { crossing, version, types, windows })
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
    pub fn version(&self) -> &RulesVersion {
        &self.version
    }

    /// The grids of the office's cities.
    pub(crate) fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// The same for an administrator, a line each.
    pub fn windows_told(&self) -> impl Iterator<Item = String> {
        self.windows.iter().map(Window::told)
    }

    /// All registered types, in the order of the file.
    pub fn types(&self) -> impl Iterator<Item = &ParcelType> {
        self.types.iter()
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
        let fail = |detail: &str| Err(RulesError::Type { line, name: name.clone(), detail: detail.to_owned() });
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
        let packed = self.kinds.iter().find(|kind| OPAQUE_BOXES.contains(&kind.as_str()));
        if let Some(packed) = packed.filter(|_| crossing.source() > crossing.target()) {
            return fail(&format!(
                "kind \"{packed}\" is a box that may hold anything, and {crossing} leads to a lower zone: register what is in it"
            ));
        }
        if crossing.source() > crossing.target() && self.kinds.iter().any(|kind| kind == "svg") {
            return fail(&format!(
                "kind \"svg\" draws what it likes, a parcel too, and {crossing} leads to a lower zone: remove svg"
            ));
        }
        if let Some(text) = &self.json_schema {
            let read = JsonSchema::parse(text);
            let lower = crossing.source() > crossing.target();
            let closed = read.and_then(|schema| if lower { schema.is_closed() } else { Ok(()) });
            if let Err(what) = closed {
                return fail(&format!("json_schema: {what}"));
            }
            if !self.kinds.iter().any(|kind| kind == "json") {
                return fail("json_schema, but json is not among the kinds");
            }
        }
        for (setting, listed, kind) in
            [("xml_allowed", &self.xml_allowed, "xml"), ("csv_columns", &self.csv_columns, "csv")]
        {
            if !listed.is_empty() && !self.kinds.iter().any(|known| known == kind) {
                return fail(&format!("{setting}, but {kind} is not among the kinds"));
            }
            if listed.iter().any(|word| word.trim().is_empty() || word.trim() != word || word.ends_with('@')) {
                return fail(&format!("{setting} has an entry that names nothing, or with blanks around it"));
            }
            let is_cut =
                |word: &String| word.strip_suffix('/').is_some_and(|name| name.is_empty() || name.contains(['/', '@']));
            if kind == "xml" && listed.iter().any(is_cut) {
                return fail("xml_allowed has an entry that ends in / and is no single name: write Name/ or A/B/Name");
            }
        }
        let lower = crossing.source() > crossing.target();
        let open = [
            ("json", self.json_schema.is_none()),
            ("xml", self.xml_allowed.is_empty()),
            ("csv", self.csv_columns.is_empty()),
        ];
        let open = open.into_iter().filter(|(kind, open)| lower && *open && self.kinds.iter().any(|k| k == kind));
        let open = open.map(|(kind, _)| kind).collect();
        if let Some(budget) = &self.budget {
            if crossing != Crossing::IntranetToExtranet {
                return fail("a budget is counted where the ferry leaves, on intranet-extranet");
            }
            if (budget.parcels_max, budget.bytes_max, budget.exceptions_max) == (None, None, None) {
                return fail("budget names no limit");
            }
            if budget.parcels_max == Some(0) || budget.bytes_max.is_some_and(|most| most < self.bytes_max) {
                return fail(
                    "budget: a parcel that the type allows could never leave; at least 1 parcel, and bytes_max",
                );
            }
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
                xml_allowed: self.xml_allowed,
                csv_columns: self.csv_columns,
                json: self.json_schema,
                labels: self.labels,
            },
            budget: self.budget,
            open,
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

    /// How much of it may leave at once.
    #[must_use]
    pub fn budget(&self) -> Option<&Budget> {
        self.budget.as_ref()
    }

    /// Kinds that it carries to a lower zone without a list of what may be in them.
    #[must_use]
    pub fn open_kinds(&self) -> &[&'static str] {
        &self.open
    }

    /// What happens when coordinates are found.
    #[must_use]
    pub fn on_coordinates(&self) -> OnCoordinates {
        self.on_coordinates
    }

    /// What it asks of a parcel, in a line for an administrator.
    #[must_use]
    pub fn told(&self) -> String {
        let mut asks = vec![
            format!("kinds {}", self.kinds.join(", ")),
            format!("name {}", self.pattern),
            format!("at most {} files and {} bytes", self.files_max, self.bytes_max),
        ];
        asks.extend(self.schema.xml_root.iter().map(|root| format!("XML root {root}")));
        for (what, paths) in [("with", &self.schema.xml_required), ("without", &self.schema.xml_denied)] {
            if !paths.is_empty() {
                asks.push(format!("{what} {}", paths.join(", ")));
            }
        }
        for (what, listed) in [("XML of", &self.schema.xml_allowed), ("columns", &self.schema.csv_columns)] {
            if !listed.is_empty() {
                asks.push(format!("{what} nothing but {}", listed.join(", ")));
            }
        }
        asks.extend(self.schema.json.iter().map(|_| "JSON keeps to its schema".to_owned()));
        for kind in &self.open {
            let list = match *kind {
                "json" => "json_schema",
                "xml" => "xml_allowed",
                _ => "csv_columns",
            };
            asks.push(format!(
                "WARNING {kind} leads to a lower zone and anything may stand in it, give {list} \
                 (警告:{kind} 去往低安全区而内容不限,请写 {list})"
            ));
        }
        asks.extend(self.budget.iter().map(Budget::told));
        asks.push(match (self.keep, self.on_coordinates) {
            (true, _) => "kept as it is, uninspected too".to_owned(),
            (false, OnCoordinates::Refuse) => "coordinates: refused".to_owned(),
            (false, OnCoordinates::Strip) => "coordinates: stripped".to_owned(),
            (false, OnCoordinates::Quarantine) => "coordinates: quarantined".to_owned(),
        });
        format!("type {}: {}", self.name, asks.join("; "))
    }

    pub(crate) fn covers(&self, kind: Kind) -> bool {
        self.kinds.iter().any(|k| k == "any" || k == kind.name())
    }

    /// The first file inside one of these that this type does not carry by itself either.
    pub(crate) fn stranger<'a>(&self, seen: &'a [Seen]) -> Option<&'a Inner> {
        seen.iter().flat_map(|seen| &seen.inside).find(|inner| !self.covers(inner.kind))
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
            ("kinds = [\"json\"]\njson_schema = '{\"$ref\": \"#\"}'", "$ref"),
            ("kinds = [\"xml\"]\njson_schema = '{}'", "json is not among"),
            ("kinds = [\"json\"]\nxml_allowed = [\"a\"]", "xml is not among"),
            ("kinds = [\"xml\"]\ncsv_columns = [\"a\"]", "csv is not among"),
            ("kinds = [\"xml\"]\nxml_allowed = [\"a/@\"]", "names nothing"),
            ("kinds = [\"xml\"]\nxml_allowed = [\"a/b/\"]", "no single name"),
            ("kinds = [\"xml\"]\nxml_allowed = [\"/\"]", "no single name"),
            ("kinds = [\"csv\"]\ncsv_columns = [\" a\"]", "blanks"),
            ("kinds = [\"xml\"]\nbudget = { per = \"day\", parcels_max = 9 }", "intranet-extranet"),
            ("kinds = [\"jpeg\"]\njpeg_quality = 20", "jpeg_quality"),
        ] {
            let message = rules("internet-extranet", body).expect_err(body).to_string();
            assert!(message.contains(word) && message.contains("line"), "{message}");
        }
    }

    #[test]
    fn toward_a_lower_zone_a_box_of_anything_and_an_open_schema_are_refused() {
        let open = "kinds = [\"json\"]\njson_schema = '{\"type\": \"object\"}'";
        for crossing in Crossing::ALL {
            let lower = matches!(crossing, Crossing::IntranetToExtranet | Crossing::ExtranetToInternet);
            for body in [open.to_owned()]
                .into_iter()
                .chain(OPAQUE_BOXES.into_iter().chain(["svg"]).map(|kind| format!("kinds = [\"{kind}\"]")))
            {
                assert_eq!(rules(crossing.name(), &body).is_err(), lower, "{crossing} {body}");
            }
        }
        let closed = open.replace("\"object\"", "\"object\", \"additionalProperties\": false");
        assert!(rules("intranet-extranet", &closed).is_ok());
    }

    #[test]
    fn a_type_that_leads_down_without_its_list_is_told_with_a_warning() {
        let kinds = "kinds = [\"json\", \"xml\", \"csv\", \"pdf\"]";
        let lists = "xml_allowed = [\"a\"]\ncsv_columns = [\"a\"]\njson_schema = '{\"type\": \"string\"}'";
        for crossing in Crossing::ALL {
            let lower = crossing.source() > crossing.target();
            let open = rules(crossing.name(), kinds).expect("an edited file still loads");
            let open = open.types().next().expect("a type");
            assert_eq!(open.open_kinds(), if lower { &["json", "xml", "csv"][..] } else { &[] }, "{crossing}");
            assert_eq!(open.told().contains("WARNING csv"), lower);
            let closed = rules(crossing.name(), &format!("{kinds}\n{lists}")).expect("sound");
            let closed = closed.types().next().expect("a type");
            assert!(closed.open_kinds().is_empty() && !closed.told().contains("WARNING"), "{}", closed.told());
        }
    }

    #[test]
    fn a_budget_under_which_nothing_could_leave_is_refused_and_a_sound_one_is_told() {
        let with = |budget: &str| {
            rules("intranet-extranet", &format!("kinds = [\"xml\"]\nbytes_max = 1000\nbudget = {{ {budget} }}"))
        };
        for (bad, word) in [
            ("per = \"trip\"", "no limit"),
            ("per = \"trip\", parcels_max = 0", "never"),
            ("per = \"day\", bytes_max = 999", "never"),
            ("per = \"week\", parcels_max = 1", "week"),
            ("per = \"day\", points_max = 1", "points_max"),
            ("parcels_max = 1", "per"),
        ] {
            let message = with(bad).expect_err(bad).to_string();
            assert!(message.contains(word), "{message}");
        }
        let rules = with("per = \"day\", parcels_max = 7, bytes_max = 1000, exceptions_max = 0").expect("sound");
        let told = rules.types().next().expect("a type").told();
        assert!(told.contains("at most 7 parcels, 1000 bytes, 0 exceptions a day"), "{told}");
    }

    #[test]
    fn a_window_is_read_told_and_refused_with_its_line_where_it_means_nothing() {
        let with = |window: &str| {
            let head = "crossing = \"intranet-extranet\"\nversion = \"1\"\n[[window]]\nname = \"a\"\n";
            Rules::parse(&format!("{head}{window}\n"))
        };
        let told: Vec<String> = with("north = [2, 6]\neast = [6, 9]").expect("sound").windows_told().collect();
        assert_eq!(told, ["window a: north 2 to 6, east 6 to 9, at least 3 decimals, 2 points"]);
        for bad in ["north = [6, 2]\neast = [6, 9]", "north = [2, 6]", "north = [2, 6]\neast = [6, 9]\noff = true"] {
            assert!(with(bad).expect_err(bad).to_string().contains("line"), "{bad}");
        }
        let one = "north = [2, 6]\neast = [6, 9]\n";
        let many = format!("{one}[[window]]\nname = \"a\"\n").repeat(WINDOWS_MAX);
        assert!(with(&format!("{many}{one}")).is_err());
    }

    #[test]
    fn versions_are_ordered_by_their_numbers_and_what_has_none_is_refused() {
        let version = |text: &str| RulesVersion::parse(text).expect(text);
        for (earlier, later) in [
            ("2026-11-21.1", "2026-11-21.2"),
            ("2026-11-21.9", "2026-11-21.10"),
            ("2026-11-21", "2026-11-21.1"),
            ("1", "2026"),
        ] {
            assert!(version(earlier).is_before(&version(later)), "{earlier} < {later}");
            assert!(!version(later).is_before(&version(earlier)) && !version(later).is_before(&version(later)));
        }
        for text in
            ["", " ", "v1", "1.", "-1", "+1", "1..2", "1.2.3.4.5.6.7.8.9", "99999999999999999999999", "1 2", "一"]
        {
            assert!(RulesVersion::parse(text).is_none(), "{text:?}");
            let file = format!("# a\ncrossing = \"extranet-internet\"\nversion = \"{text}\"\n");
            let message = Rules::parse(&file).expect_err(text).to_string();
            assert!(message.starts_with("line 3:"), "{message}");
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
            for parcel_type in rules.types() {
                assert!(parcel_type.open_kinds().is_empty(), "{path}: {}", parcel_type.told());
            }
        }
    }
}
