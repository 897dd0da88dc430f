//! JSON Schema, as much of it as a registered type needs: which nodes a message may have, and what may stand in each.
//!
//! ```text
//! type  enum  const  properties  required  additionalProperties  items  minItems  maxItems
//! minLength  maxLength  pattern  minimum  maximum            ($schema, title, description, $comment say nothing)
//! ```
//! A keyword outside this list is refused where the rules are loaded, never passed over: a schema that checks less than
//! its author believes is worse than none. No `$ref`, so nothing is ever fetched and nothing goes in circles. A name that
//! stands twice in one object keeps to no schema, because two readers would see two values.

use std::collections::BTreeMap;
use std::fmt;

use regex_lite::{Regex, RegexBuilder};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::blanks::Blanks;
use crate::xml::PICTURE_FIELDS;

/// Bytes of one schema. A national message has some dozens of fields.
const SCHEMA_BYTES_MAX: usize = 64 * 1024;
/// Levels of a schema.
const DEPTH_MAX: usize = 32;
/// Schemas inside one schema.
const NODES_MAX: usize = 4_096;
/// Bytes of one pattern as written, and compiled.
const PATTERN_BYTES_MAX: usize = 512;
const PATTERN_COMPILED_MAX: usize = 64 * 1024;

/// What one value must be.
#[derive(Clone, Debug, Default)]
pub(crate) struct JsonSchema {
    types: Vec<String>,
    one_of: Option<Vec<Value>>,
    properties: BTreeMap<String, JsonSchema>,
    required: Vec<String>,
    additional: Others,
    items: Option<Box<JsonSchema>>,
    min_items: Option<u64>,
    max_items: Option<u64>,
    min_length: Option<u64>,
    max_length: Option<u64>,
    pattern: Option<Regex>,
    minimum: Option<f64>,
    maximum: Option<f64>,
}

/// What names that `properties` does not list may have.
#[derive(Clone, Debug, Default)]
enum Others {
    #[default]
    Anything,
    Nothing,
    Each(Box<JsonSchema>),
}

impl JsonSchema {
    /// Reads a schema.
    ///
    /// # Errors
    /// Where in the schema, and what is wrong there.
    pub(crate) fn parse(text: &str) -> Result<JsonSchema, String> {
        if text.len() > SCHEMA_BYTES_MAX {
            return Err(format!("{} bytes is over the limit of {SCHEMA_BYTES_MAX}", text.len()));
        }
        let Strict(value) = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let mut nodes = 0;
        read(&value, "#", 0, &mut nodes)
    }

    /// Is there nothing in a message of this schema that the schema does not name? Toward a lower zone nothing else is a
    /// positive list.
    ///
    /// # Errors
    /// The first place that is open.
    pub(crate) fn is_closed(&self) -> Result<(), String> {
        self.closed("#")
    }

    fn closed(&self, at: &str) -> Result<(), String> {
        if self.types.is_empty() && self.one_of.is_none() {
            return Err(format!("{at} says neither type nor enum, so anything may stand there"));
        }
        let may_be = |kind: &str| self.types.iter().any(|known| known == kind);
        if may_be("object") {
            match &self.additional {
                Others::Anything => {
                    return Err(format!("{at} lets in names that it does not list: additionalProperties"));
                }
                Others::Nothing => {}
                Others::Each(other) => other.closed(&format!("{at}/additionalProperties"))?,
            }
            self.properties.iter().try_for_each(|(name, schema)| schema.closed(&format!("{at}/{name}")))?;
        }
        match &self.items {
            None if may_be("array") => Err(format!("{at} does not say what its items are")),
            Some(items) => items.closed(&format!("{at}/items")),
            None => Ok(()),
        }
    }

    /// Where a text that is known to be JSON does not keep to it: the way there, of names only. `None` where it does.
    pub(crate) fn misfit(&self, text: &str) -> Option<String> {
        let Ok(Strict(value)) = serde_json::from_str::<Strict>(text.trim_start_matches('\u{feff}')) else {
            return Some("a name twice".to_owned());
        };
        let at = self.misfit_of(&value, &mut Blanks::default())?;
        Some(if at.is_empty() { "/".to_owned() } else { at })
    }

    fn misfit_of(&self, value: &Value, blanks: &mut Blanks) -> Option<String> {
        let typed = self.types.is_empty() || self.types.iter().any(|kind| is_of(value, kind));
        let listed = self.one_of.as_ref().is_none_or(|list| list.contains(value));
        let here = |fits: bool| (!fits).then(String::new);
        here(typed && listed).or_else(|| match value {
            Value::Object(members) => self.misfit_among(members, blanks),
            Value::Array(items) => here(within(items.len() as u64, self.min_items, self.max_items)).or_else(|| {
                let schema = self.items.as_ref()?;
                let misfits =
                    items.iter().enumerate().filter_map(|(nth, item)| Some((nth, schema.misfit_of(item, blanks)?)));
                misfits.map(|(nth, inside)| format!("/{nth}{inside}")).next()
            }),
            Value::String(text) => here(
                within(text.chars().count() as u64, self.min_length, self.max_length)
                    && self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(text)),
            ),
            Value::Number(number) => here(number.as_f64().is_some_and(|number| {
                self.minimum.is_none_or(|least| number >= least) && self.maximum.is_none_or(|most| number <= most)
            })),
            Value::Null | Value::Bool(_) => None,
        })
    }

    fn misfit_among(&self, members: &Map<String, Value>, blanks: &mut Blanks) -> Option<String> {
        if let Some(name) = self.required.iter().find(|name| !members.contains_key(*name)) {
            return Some(format!("/{name}"));
        }
        members.iter().find_map(|(name, value)| {
            let inside = match (self.properties.get(name), &self.additional) {
                (Some(schema), _) => schema.misfit_of(value, blanks),
                (None, Others::Each(schema)) => schema.misfit_of(value, blanks),
                (None, Others::Anything) => None,
                // A strip leaves shells behind, and takes nothing more for their sake.
                (None, Others::Nothing) => (!is_shell(name, value, blanks)).then(String::new),
            };
            inside.map(|inside| format!("/{name}{inside}"))
        })
    }
}

/// Is this what a strip leaves of a member: nothing, in a list or object nothing but that, or a picture's empty field?
fn is_shell(name: &str, value: &Value, blanks: &mut Blanks) -> bool {
    blanks.take(name)
        && match value {
            Value::Null => true,
            Value::String(text) => text.is_empty() && PICTURE_FIELDS.contains(&name),
            Value::Array(items) => items.iter().all(|item| is_shell(name, item, blanks)),
            Value::Object(members) => members.iter().all(|(name, value)| is_shell(name, value, blanks)),
            Value::Bool(_) | Value::Number(_) => false,
        }
}

fn within(count: u64, least: Option<u64>, most: Option<u64>) -> bool {
    least.is_none_or(|least| count >= least) && most.is_none_or(|most| count <= most)
}

const TYPES: [&str; 7] = ["null", "boolean", "object", "array", "number", "integer", "string"];

fn is_of(value: &Value, kind: &str) -> bool {
    match value {
        Value::Null => kind == "null",
        Value::Bool(_) => kind == "boolean",
        Value::Object(_) => kind == "object",
        Value::Array(_) => kind == "array",
        Value::String(_) => kind == "string",
        // 1.0 is an integer to a schema.
        Value::Number(number) => {
            kind == "number" || kind == "integer" && number.as_f64().is_some_and(|number| number.fract() == 0.0)
        }
    }
}

fn read(value: &Value, at: &str, depth: usize, nodes: &mut usize) -> Result<JsonSchema, String> {
    *nodes += 1;
    if depth > DEPTH_MAX || *nodes > NODES_MAX {
        return Err(format!("{at}: deeper than {DEPTH_MAX} or of more than {NODES_MAX} parts"));
    }
    let Value::Object(keywords) = value else { return Err(format!("{at}: an object is meant")) };
    let mut schema = JsonSchema::default();
    for (keyword, value) in keywords {
        let wrong = |what: &str| format!("{at}/{keyword}: {what} is meant");
        let count = || value.as_u64().map(Some).ok_or_else(|| wrong("a count"));
        let number = || value.as_f64().map(Some).ok_or_else(|| wrong("a number"));
        match keyword.as_str() {
            "$schema" | "title" | "description" | "$comment" => {}
            "type" => schema.types = words(value).filter(|types| are_types(types)).ok_or_else(|| wrong("a type"))?,
            "enum" => schema.one_of = Some(value.as_array().cloned().ok_or_else(|| wrong("a list"))?),
            "const" => schema.one_of = Some(vec![value.clone()]),
            "required" => schema.required = words(value).ok_or_else(|| wrong("a list of names"))?,
            "properties" => {
                for (name, value) in value.as_object().ok_or_else(|| wrong("an object"))? {
                    let inside = read(value, &format!("{at}/{name}"), depth + 1, nodes)?;
                    schema.properties.insert(name.clone(), inside);
                }
            }
            "additionalProperties" => {
                schema.additional = match value {
                    Value::Bool(true) => Others::Anything,
                    Value::Bool(false) => Others::Nothing,
                    other => Others::Each(Box::new(read(other, &format!("{at}/{keyword}"), depth + 1, nodes)?)),
                }
            }
            "items" => schema.items = Some(Box::new(read(value, &format!("{at}/items"), depth + 1, nodes)?)),
            "minItems" => schema.min_items = count()?,
            "maxItems" => schema.max_items = count()?,
            "minLength" => schema.min_length = count()?,
            "maxLength" => schema.max_length = count()?,
            "minimum" => schema.minimum = number()?,
            "maximum" => schema.maximum = number()?,
            "pattern" => {
                let text = value.as_str().filter(|text| text.len() <= PATTERN_BYTES_MAX);
                let pattern = RegexBuilder::new(text.ok_or_else(|| wrong("a short pattern"))?)
                    .size_limit(PATTERN_COMPILED_MAX)
                    .build();
                schema.pattern = Some(pattern.map_err(|error| format!("{at}/pattern: {error}"))?);
            }
            other => return Err(format!("{at}: the keyword \"{other}\" is not checked here; leave it out")),
        }
    }
    // A name that must be there and may not be there is a slip of the pen.
    let listed = |name: &String| schema.properties.contains_key(name) || !matches!(schema.additional, Others::Nothing);
    match schema.required.iter().find(|name| !listed(name)) {
        Some(name) => Err(format!("{at}: \"{name}\" is required and not among the properties")),
        None => Ok(schema),
    }
}

/// A word, or a list of words.
fn words(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(word) => Some(vec![word.clone()]),
        Value::Array(list) => list.iter().map(|word| word.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

fn are_types(words: &[String]) -> bool {
    !words.is_empty() && words.iter().all(|word| TYPES.contains(&word.as_str()))
}

/// A JSON value in which no object has a name twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Strict, D::Error> {
        from.deserialize_any(Builder).map(Strict)
    }
}

struct Builder;

impl<'de> Visitor<'de> for Builder {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((name, Strict(value))) = members.next_entry::<String, Strict>()? {
            if map.insert(name, value).is_some() {
                return Err(A::Error::custom("a name stands twice"));
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(text: &str) -> JsonSchema {
        JsonSchema::parse(text).unwrap_or_else(|error| unreachable!("{error}"))
    }

    /// Every keyword: what keeps to it, and what does not.
    #[test]
    fn each_keyword_lets_in_what_it_says_and_nothing_else() {
        for (text, good, bad) in [
            (r#"{"type":"object"}"#, "{}", "[]"),
            (r#"{"type":["string","null"]}"#, "null", "1"),
            (r#"{"type":"integer"}"#, "3.0", "3.5"),
            (r#"{"type":"number"}"#, "3.5", "\"3.5\""),
            (r#"{"type":"boolean"}"#, "false", "0"),
            (r#"{"type":"array","items":{"type":"integer"},"minItems":1,"maxItems":2}"#, "[1]", "[]"),
            (r#"{"type":"array","items":{"type":"integer"},"maxItems":2}"#, "[1,2]", "[1,2,3]"),
            (r#"{"items":{"type":"integer"}}"#, "[1,2]", "[1,\"2\"]"),
            (r#"{"enum":["a",1]}"#, "1", "\"b\""),
            (r#"{"const":{"a":[1]}}"#, r#"{"a":[1]}"#, r#"{"a":[2]}"#),
            (r#"{"minLength":2,"maxLength":3}"#, "\"权籍\"", "\"权\""),
            (r#"{"maxLength":3}"#, "\"权籍表\"", "\"权籍表格\""),
            (r#"{"pattern":"^[0-9]{28}$"}"#, "\"3502030010010000010000000001\"", "\"35020300100100000100000000\""),
            (r#"{"minimum":0,"maximum":100}"#, "100", "100.5"),
            (r#"{"minimum":0}"#, "0", "-1"),
            (r#"{"properties":{"a":{"type":"string"}},"required":["a"]}"#, r#"{"a":"x","b":1}"#, r#"{"b":1}"#),
            (r#"{"properties":{"a":{}},"additionalProperties":false}"#, r#"{"a":1}"#, r#"{"a":1,"zb":2}"#),
            (r#"{"additionalProperties":{"type":"string"}}"#, r#"{"a":"1"}"#, r#"{"a":1}"#),
        ] {
            let schema = schema(text);
            assert!(schema.misfit(good).is_none(), "{text} {good}");
            assert!(schema.misfit(bad).is_some(), "{text} {bad}");
        }
    }

    #[test]
    fn a_name_that_stands_twice_keeps_to_no_schema() {
        let schema = schema(r#"{"properties":{"a":{"type":"string"}},"additionalProperties":false}"#);
        assert!(schema.misfit(r#"{"a":"x"}"#).is_none());
        assert!(schema.misfit(r#"{"a":4851490.4193,"a":"x"}"#).is_some());
        assert!(schema.misfit(r#"{"a":"x","\u0061":"y"}"#).is_some());
        assert!(schema.misfit("{\"a\":\"x\"} 1").is_some(), "something behind it");
    }

    #[test]
    fn what_a_strip_has_emptied_may_stay_behind_in_a_closed_schema() {
        let schema = schema(r#"{"properties":{"a":{"type":"string"}},"additionalProperties":false}"#);
        for shell in [r#"{"a":"x","geometry":null}"#, r#"{"ZDT":""}"#, r#"{"jzd":[{},{"b":null}]}"#, r#"{"jzd":{}}"#] {
            assert!(schema.misfit(shell).is_none(), "{shell}");
        }
        for full in [
            r#"{"zb":0}"#,
            r#"{"zb":false}"#,
            r#"{"zb":""}"#,
            r#"{"ZDT":" "}"#,
            r#"{"jzd":[{},1]}"#,
            r#"{"4851490":""}"#,
            r#"{"b":{"485149":null}}"#,
            r#"{"x3451":null,"v2417":null,"y5120":null}"#,
            r#"{"三四五一二点四一七":null}"#,
        ] {
            assert!(schema.misfit(full).is_some(), "{full}");
        }
    }

    #[test]
    fn what_is_not_checked_is_refused_and_named() {
        let deep = "{\"items\":".repeat(DEPTH_MAX + 2) + "{}" + &"}".repeat(DEPTH_MAX + 2);
        let wide = format!(
            "{{\"properties\":{{{}}}}}",
            (0..NODES_MAX).map(|n| format!("\"{n}\":{{}}")).collect::<Vec<_>>().join(",")
        );
        for (text, word) in [
            (r#"{"$ref":"https://example.com/a.json"}"#, "$ref"),
            (r#"{"properties":{"a":{"anyOf":[]}}}"#, "#/a"),
            (r#"{"type":"text"}"#, "#/type"),
            (r#"{"maxLength":-1}"#, "maxLength"),
            (r#"{"pattern":"("}"#, "pattern"),
            (r#"{"pattern":"(a{999}){999}"}"#, "pattern"),
            (r#"{"required":["a"],"additionalProperties":false}"#, "\"a\""),
            (r#"{"type":"string","type":"object"}"#, "twice"),
            ("[]", "object"),
            ("{", "EOF"),
            (deep.as_str(), "deeper"),
            (wide.as_str(), "parts"),
            (&" ".repeat(SCHEMA_BYTES_MAX + 1), "limit"),
        ] {
            let error = JsonSchema::parse(text).expect_err(word);
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn a_closed_schema_names_everything_that_may_stand_in_a_message() {
        let closed = r#"{"type":"object","additionalProperties":false,"properties":{
            "ywh":{"type":"string"},"states":{"type":"array","items":{"enum":["a","b"]}}}}"#;
        assert_eq!(schema(closed).is_closed(), Ok(()));
        for (open, at) in [
            ("{}", "#"),
            (r#"{"type":"object","properties":{}}"#, "#"),
            (r#"{"type":"array"}"#, "#"),
            (r#"{"type":"object","additionalProperties":false,"properties":{"a":{}}}"#, "#/a"),
            (r#"{"type":"object","additionalProperties":{}}"#, "#/additionalProperties"),
            (r#"{"type":"array","items":{"type":"object"}}"#, "#/items"),
        ] {
            let error = schema(open).is_closed().expect_err(open);
            assert!(error.starts_with(&format!("{at} ")), "{error}");
        }
    }
}
