//! A part of an office document as a tree: elements, attributes and text, under names of our own choosing.
//!
//! Comments, processing instructions, prefixes and the order of attributes are left behind; a document type, an unknown
//! entity or a namespace nobody here knows makes no tree or no name. What is written out again is written from the tree,
//! never copied from the bytes.

use quick_xml::NsReader;
use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::ResolveResult;

/// Elements nest at most this deep: a table in a table in a table of a letter has thirty levels.
const DEPTH_MAX: usize = 96;
/// Elements of one part. A sheet of 300,000 cells has 700,000; a worker's memory holds so many.
const ELEMENTS_MAX: usize = 1_500_000;
/// Attributes of one element; the richest has about thirty.
const ATTRIBUTES_MAX: usize = 64;

/// The namespaces that are carried over, and the prefix each has here.
const SPACES: [(&str, &str); 9] = [
    ("w", "http://schemas.openxmlformats.org/wordprocessingml/2006/main"),
    ("s", "http://schemas.openxmlformats.org/spreadsheetml/2006/main"),
    ("r", "http://schemas.openxmlformats.org/officeDocument/2006/relationships"),
    ("pr", "http://schemas.openxmlformats.org/package/2006/relationships"),
    ("a", "http://schemas.openxmlformats.org/drawingml/2006/main"),
    ("wp", "http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing"),
    ("pic", "http://schemas.openxmlformats.org/drawingml/2006/picture"),
    ("mc", "http://schemas.openxmlformats.org/markup-compatibility/2006"),
    ("xml", "http://www.w3.org/XML/1998/namespace"),
];

/// The namespace behind one of our prefixes.
pub(crate) fn namespace(prefix: &str) -> &'static str {
    SPACES.iter().find(|(known, _)| *known == prefix).map_or("", |(_, uri)| uri)
}

/// One element. Its name is `prefix:local` with a prefix of [`SPACES`], or `?:local` from anywhere else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Element {
    pub name: String,
    pub attributes: Vec<(String, String)>,
    pub children: Vec<Node>,
}

/// What stands in an element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    Element(Element),
    Text(String),
}

impl Element {
    /// The value of an attribute.
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The elements in it.
    pub(crate) fn elements(&self) -> impl Iterator<Item = &Element> {
        self.children.iter().filter_map(|node| match node {
            Node::Element(element) => Some(element),
            Node::Text(_) => None,
        })
    }

    /// The first element of this name in it.
    pub(crate) fn child(&self, name: &str) -> Option<&Element> {
        self.elements().find(|element| element.name == name)
    }

    /// The text that stands directly in it.
    pub(crate) fn text(&self) -> String {
        let texts = self.children.iter().filter_map(|node| match node {
            Node::Text(text) => Some(text.as_str()),
            Node::Element(_) => None,
        });
        texts.collect()
    }

    /// Writes it; names with the prefix `plain` are written without, as the default namespace.
    pub(crate) fn write(&self, plain: &str, out: &mut String) {
        let name = bare(&self.name, plain);
        out.push('<');
        out.push_str(name);
        for (key, value) in &self.attributes {
            out.push(' ');
            out.push_str(key);
            out.push_str("=\"");
            out.push_str(&quick_xml::escape::escape(value.as_str()));
            out.push('"');
        }
        if self.children.is_empty() {
            out.push_str("/>");
            return;
        }
        out.push('>');
        for node in &self.children {
            match node {
                Node::Element(element) => element.write(plain, out),
                Node::Text(text) => out.push_str(&quick_xml::escape::escape(text.as_str())),
            }
        }
        out.push_str("</");
        out.push_str(name);
        out.push('>');
    }
}

fn bare<'a>(name: &'a str, plain: &str) -> &'a str {
    name.split_once(':').filter(|(prefix, _)| *prefix == plain).map_or(name, |(_, local)| local)
}

/// The tree of a part, if it is well-formed and within bounds.
pub(crate) fn parse(bytes: &[u8]) -> Option<Element> {
    let text = crate::text::decode(bytes)?;
    let mut reader = NsReader::from_str(&text);
    // The elements that are open, outermost first; the one at the bottom is no element and holds the root.
    let mut open = vec![Element::default()];
    let mut left = ELEMENTS_MAX;
    loop {
        let event = reader.read_event().ok()?;
        match event {
            Event::Start(start) => {
                left = left.checked_sub(1)?;
                open.push(element(&reader, &start)?);
                if open.len() > DEPTH_MAX {
                    return None;
                }
            }
            Event::Empty(start) => {
                left = left.checked_sub(1)?;
                let element = element(&reader, &start)?;
                open.last_mut()?.children.push(Node::Element(element));
            }
            Event::End(_) => {
                let element = open.pop()?;
                open.last_mut()?.children.push(Node::Element(element));
            }
            Event::Text(text) => push_text(open.last_mut()?, &text),
            Event::CData(text) => push_text(open.last_mut()?, &text),
            Event::GeneralRef(reference) => match reference.resolve_char_ref().ok()? {
                Some(c) => push_text(open.last_mut()?, c.encode_utf8(&mut [0; 4])),
                None => push_text(open.last_mut()?, quick_xml::escape::resolve_predefined_entity(&reference)?),
            },
            Event::DocType(_) => return None,
            Event::Eof => break,
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
        }
    }
    let outermost = open.pop().filter(|_| open.is_empty())?;
    let mut roots = outermost.children.into_iter().filter_map(|node| match node {
        Node::Element(element) => Some(element),
        Node::Text(_) => None,
    });
    roots.next().filter(|_| roots.next().is_none())
}

fn push_text(into: &mut Element, text: &str) {
    match into.children.last_mut() {
        Some(Node::Text(before)) => before.push_str(text),
        _ => into.children.push(Node::Text(text.to_owned())),
    }
}

fn element(reader: &NsReader<&[u8]>, start: &BytesStart<'_>) -> Option<Element> {
    let resolver = reader.resolver();
    let (space, local) = resolver.resolve_element(start.name());
    let mut element = Element { name: named(&space, local.as_ref()), ..Element::default() };
    for attribute in start.attributes() {
        let attribute = attribute.ok()?;
        if attribute.key.as_namespace_binding().is_some() {
            continue;
        }
        let (space, local) = resolver.resolve_attribute(attribute.key);
        let name = match space {
            ResolveResult::Unbound => local.as_ref().to_owned(),
            space => named(&space, local.as_ref()),
        };
        let value = attribute.normalized_value(XmlVersion::Explicit1_0).ok()?;
        element.attributes.push((name, value.into_owned()));
        if element.attributes.len() > ATTRIBUTES_MAX {
            return None;
        }
    }
    Some(element)
}

fn named(space: &ResolveResult<'_>, local: &str) -> String {
    let prefix = match space {
        ResolveResult::Bound(namespace) => {
            SPACES.iter().find(|(_, uri)| *uri == namespace.as_ref()).map_or("?", |(prefix, _)| prefix)
        }
        ResolveResult::Unbound | ResolveResult::Unknown(_) => "?",
    };
    format!("{prefix}:{local}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ours_whatever_the_prefix() {
        let text = format!(
            "<x:document xmlns:x=\"{}\" xmlns:q=\"urn:other\" q:a=\"1\" x:b=\"&lt;\"><!-- c --><x:t>a&amp;b&#51;</x:t><q:t/><?pi?></x:document>",
            namespace("w")
        );
        let root = parse(text.as_bytes()).expect("a tree");
        let mut out = String::new();
        root.write("w", &mut out);
        assert_eq!(out, "<document ?:a=\"1\" w:b=\"&lt;\"><t>a&amp;b3</t><?:t/></document>");
        assert_eq!(root.child("w:t").map(Element::text).as_deref(), Some("a&b3"));
    }

    #[test]
    fn what_is_broken_hostile_or_too_deep_is_no_tree() {
        let deep = "<a>".repeat(DEPTH_MAX + 1) + &"</a>".repeat(DEPTH_MAX + 1);
        for broken in [
            "",
            "<a>",
            "<a/><b/>",
            "<!DOCTYPE a [<!ENTITY e \"x\">]><a>&e;</a>",
            "<a>&e;</a>",
            "<a b=\"1\" b=\"2\"/>",
            &deep,
        ] {
            assert!(parse(broken.as_bytes()).is_none(), "{broken:.40}");
        }
    }
}
