//! Names of nodes, routes, parcel types and labels: short, lower-case, safe in a path, a log and a DER object.
//!
//! They are the only words that travel in clear, so they are chosen by the office and never taken from content.

use std::fmt;
use std::str::FromStr;

/// A name longer than this is a mistake or an attack; it also has to fit into a file name beside an id.
pub const NAME_BYTES_MAX: usize = 48;

/// A name: `[a-z0-9]` then `[a-z0-9-]`, at most [`NAME_BYTES_MAX`] bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// A text that is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{shown}\" is no name: use a-z, 0-9 and '-', starting with a letter or digit, at most {NAME_BYTES_MAX}")]
pub struct BadName {
    shown: String,
}

impl Name {
    /// Takes a text that has the form of a name.
    pub fn new(text: &str) -> Result<Self, BadName> {
        let well_formed = text.len() <= NAME_BYTES_MAX
            && text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if well_formed {
            Ok(Name(text.to_owned()))
        } else {
            Err(BadName { shown: text.chars().filter(|c| !c.is_control()).take(60).collect() })
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl FromStr for Name {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, BadName> {
        Name::new(text)
    }
}

impl TryFrom<String> for Name {
    type Error = BadName;
    fn try_from(text: String) -> Result<Self, BadName> {
        Name::new(&text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.0
    }
}

impl serde::Serialize for Name {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Name {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
        Name::new(&text).map_err(serde::de::Error::custom)
    }
}

impl der::FixedTag for Name {
    const TAG: der::Tag = der::Tag::Utf8String;
}

impl der::EncodeValue for Name {
    fn value_len(&self) -> der::Result<der::Length> {
        der::Length::try_from(self.0.len())
    }
    fn encode_value(&self, writer: &mut impl der::Writer) -> der::Result<()> {
        writer.write(self.0.as_bytes())
    }
}

impl<'a> der::DecodeValue<'a> for Name {
    type Error = der::Error;
    fn decode_value<R: der::Reader<'a>>(reader: &mut R, header: der::Header) -> der::Result<Self> {
        let text = String::decode_value(reader, header)?;
        Name::new(&text).map_err(|_| der::ErrorKind::Value { tag: der::Tag::Utf8String }.into())
    }
}
