//! The outline of an XML or JSON file: which elements it has, and the few values that become labels.

use protocol::Name;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use crate::rules::{LabelRule, Schema};

/// Labels of one parcel; an index key each.
pub(crate) const LABELS_MAX: usize = 64;
/// A label longer than this is content.
const LABEL_CHARS_MAX: usize = 128;
/// Element paths deeper than this belong to no national message.
const DEPTH_MAX: usize = 64;

/// What a message is made of, as far as its type asks.
pub(crate) struct Outline {
    root: String,
    required_seen: Vec<bool>,
    denied_seen: bool,
    pub labels: Vec<(Name, String)>,
}

impl Outline {
    pub(crate) fn keeps_to(&self, schema: &Schema) -> bool {
        schema.xml_root.as_ref().is_none_or(|root| *root == self.root)
            && self.required_seen.iter().all(|seen| *seen)
            && !self.denied_seen
    }
}

/// Walks a message that is known to be well-formed.
pub(crate) fn outline(text: &str, schema: &Schema) -> Outline {
    let mut outline = Outline {
        root: String::new(),
        required_seen: vec![false; schema.xml_required.len()],
        denied_seen: false,
        labels: Vec::new(),
    };
    let mut reader = Reader::from_str(text);
    let mut path: Vec<String> = Vec::new();
    loop {
        match reader.read_event() {
            Ok(Event::Start(start)) => {
                outline.open(&start, &path, schema);
                path.push(start.local_name().as_ref().to_owned());
                if path.len() > DEPTH_MAX {
                    outline.denied_seen = true;
                    break;
                }
            }
            Ok(Event::Empty(start)) => outline.open(&start, &path, schema),
            Ok(Event::End(_)) => {
                path.pop();
            }
            Ok(Event::Text(text)) => outline.value(&text, &path, schema),
            Ok(Event::Eof) | Err(_) => break,
            Ok(_) => {}
        }
    }
    outline
}

impl Outline {
    fn open(&mut self, start: &BytesStart<'_>, path: &[String], schema: &Schema) {
        let local = start.local_name();
        let name: &str = local.as_ref();
        if path.is_empty() && self.root.is_empty() {
            name.clone_into(&mut self.root);
        }
        for (required, seen) in schema.xml_required.iter().zip(&mut self.required_seen) {
            *seen |= stands_at(required, path, start);
        }
        self.denied_seen |= schema.xml_denied.iter().any(|denied| stands_at(denied, path, start));
        for rule in &schema.labels {
            let Some((elements, attribute)) = rule.xml.as_deref().and_then(|p| p.rsplit_once("/@")) else { continue };
            let mut here = path.iter().map(String::as_str).chain([name]);
            if !elements.split('/').all(|part| here.next() == Some(part)) || here.next().is_some() {
                continue;
            }
            let found =
                start.attributes().with_checks(false).flatten().find(|a| a.key.local_name().as_ref() == attribute);
            if let Some(attribute) = found {
                self.take(&rule.name, &attribute.value);
            }
        }
    }

    fn value(&mut self, text: &str, path: &[String], schema: &Schema) {
        for rule in &schema.labels {
            let Some(wanted) = rule.xml.as_deref() else { continue };
            if wanted.split('/').eq(path.iter().map(String::as_str)) {
                self.take(&rule.name, text);
            }
        }
    }

    /// The first value of a name counts.
    fn take(&mut self, name: &Name, value: &str) {
        let value = crate::text::unescaped(value).unwrap_or_else(|| value.to_owned());
        if let Some(value) = printable(&value)
            && !self.labels.iter().any(|(known, _)| known == name)
            && self.labels.len() < LABELS_MAX
        {
            self.labels.push((name.clone(), value));
        }
    }
}

/// Is this element, or one of its attributes, what a rule names? `Name` is an element anywhere, `A/B/Name` the one at
/// that path from the root, and `A/B/@name` an attribute of the element `A/B`.
fn stands_at(rule: &str, path: &[String], start: &BytesStart<'_>) -> bool {
    let local = start.local_name();
    let name: &str = local.as_ref();
    let (elements, attribute) = match rule.rsplit_once("/@") {
        Some((elements, attribute)) => (elements, Some(attribute)),
        None => (rule, None),
    };
    let here = path.iter().map(String::as_str).chain([name]);
    let fits = if elements.contains('/') { elements.split('/').eq(here) } else { elements == name };
    let has = |wanted: &str| {
        start.attributes().with_checks(false).flatten().any(|found| found.key.local_name().as_ref() == wanted)
    };
    fits && attribute.is_none_or(has)
}

/// Labels by JSON pointer.
pub(crate) fn of_json(text: &str, rules: &[LabelRule]) -> Vec<(Name, String)> {
    if rules.iter().all(|r| r.json.is_none()) {
        return Vec::new();
    }
    let Ok(value) = serde_json::from_str::<serde_json::Value>(text.trim_start_matches('\u{feff}')) else {
        return Vec::new();
    };
    let mut labels = Vec::new();
    for rule in rules {
        let found = rule.json.as_deref().and_then(|pointer| value.pointer(pointer));
        let text = match found {
            Some(serde_json::Value::String(text)) => printable(text),
            Some(serde_json::Value::Number(number)) => printable(&number.to_string()),
            _ => None,
        };
        labels.extend(text.map(|text| (rule.name.clone(), text)));
    }
    labels
}

fn printable(value: &str) -> Option<String> {
    let value = value.trim();
    fits(value).then(|| value.to_owned())
}

/// Has it the form of a label's value?
pub(crate) fn fits(value: &str) -> bool {
    !value.is_empty() && value.chars().count() <= LABEL_CHARS_MAX && !value.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &str = "<m><head><id kind=\"a\">1</id></head><body><id>2</id><note/></body></m>";

    fn keeps(required: &[&str], denied: &[&str]) -> bool {
        let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        let schema = Schema { xml_required: owned(required), xml_denied: owned(denied), ..Schema::default() };
        outline(MESSAGE, &schema).keeps_to(&schema)
    }

    #[test]
    fn a_rule_names_an_element_anywhere_or_at_its_path_or_an_attribute() {
        for there in ["id", "note", "m/head/id", "m/body/note", "m/head/id/@kind", "id/@kind"] {
            assert!(keeps(&[there], &[]), "{there} is required and there");
            assert!(!keeps(&[], &[there]), "{there} is denied and there");
        }
        for absent in ["nothing", "m/id", "head/id", "m/body/id/@kind", "m/head/id/more", "m/note", "m/@kind"] {
            assert!(!keeps(&[absent], &[]), "{absent} is required and not there");
            assert!(keeps(&[], &[absent]), "{absent} is denied and not there");
        }
    }
}
