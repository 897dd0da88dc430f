//! What stands in a message without being listed, because nothing stands in it: shells that a strip leaves, members that
//! software writes as null, comments. None of them has a value, so that none may be one either: all their names together
//! have fewer digits than a point in metres.

use std::collections::HashSet;

use crate::xml::{NATIONAL_ELEMENTS, PICTURE_FIELDS};

/// Digits of one name at most.
const DIGITS_MAX: usize = 4;
/// Digits of all names and comments of one message at most; a point to the metre has ten or more.
const DIGITS_ALL_MAX: usize = 8;
/// Digits in a row in a namespace of one's own at most, but for a year.
const GROUP_DIGITS_MAX: usize = 3;
/// Namespaces with digits in them that software declares by itself.
const KNOWN_NAMESPACES: [&str; 22] = [
    "http://www.w3.org/XML/1998/namespace",
    "http://www.w3.org/1998/Math/MathML",
    "http://www.w3.org/1999/XSL/Transform",
    "http://www.w3.org/1999/xhtml",
    "http://www.w3.org/1999/xlink",
    "http://www.w3.org/2000/09/xmldsig#",
    "http://www.w3.org/2000/xmlns/",
    "http://www.w3.org/2001/04/xmldsig-more#",
    "http://www.w3.org/2001/04/xmlenc#",
    "http://www.w3.org/2001/10/xml-exc-c14n#",
    "http://www.w3.org/2001/XMLSchema",
    "http://www.w3.org/2001/XMLSchema-instance",
    "http://www.w3.org/2003/05/soap-envelope",
    "http://www.w3.org/2005/08/addressing",
    "http://www.w3.org/2007/05/xmldsig-more#",
    "http://www.w3.org/2009/xmldsig11#",
    "http://uri.etsi.org/01903/v1.3.2#",
    "http://uri.etsi.org/01903/v1.4.1#",
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd",
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd",
    "http://schemas.microsoft.com/2003/10/Serialization/",
    "http://schemas.microsoft.com/2003/10/Serialization/Arrays",
];
/// What .NET puts before the names of a program's own types.
const DATA_CONTRACT: &str = "http://schemas.datacontract.org/2004/07/";
/// Characters of one comment at most.
const TEXT_CHARS_MAX: usize = 256;

/// Counts them over one message.
#[derive(Default)]
pub(crate) struct Blanks {
    /// Those that have digits: what stands there twice says nothing the second time.
    known: HashSet<String>,
    digits: usize,
}

impl Blanks {
    /// May an element, attribute or member of this name stand there empty, beside the others?
    pub(crate) fn take(&mut self, name: &str) -> bool {
        let emptied = NATIONAL_ELEMENTS.contains(&name) || PICTURE_FIELDS.contains(&name);
        emptied || !could_be_a_value(name) && self.counts(name)
    }

    /// May a comment or what is like it stand there, beside the others?
    pub(crate) fn take_text(&mut self, text: &str) -> bool {
        text.chars().count() <= TEXT_CHARS_MAX && self.counts(text)
    }

    /// May a message declare this namespace, beside what else has digits in it? Those that everybody declares say nothing;
    /// of the others a year is the longest number, or a port.
    pub(crate) fn take_namespace(&mut self, uri: &str) -> bool {
        let is_year = |group: &str| group.len() == 4 && (group.starts_with("19") || group.starts_with("20"));
        let is_short = |group: &str| group.chars().count() <= GROUP_DIGITS_MAX || is_year(group);
        if KNOWN_NAMESPACES.contains(&uri) {
            return true;
        }
        let own = uri.strip_prefix(DATA_CONTRACT).unwrap_or(uri);
        let own = without_port(own);
        own.split(|c| !is_digit(c)).all(is_short) && self.take_text(&own)
    }

    fn counts(&mut self, text: &str) -> bool {
        let digits = digits(text);
        if digits > 0 && !self.known.contains(text) {
            self.digits = self.digits.saturating_add(digits);
            if self.digits <= DIGITS_ALL_MAX {
                self.known.insert(text.to_owned());
            }
        }
        self.digits <= DIGITS_ALL_MAX
    }
}

/// `http://bdc.example.cn:8080/msg` without what programs listen on by default.
fn without_port(uri: &str) -> String {
    const PORTS: [&str; 12] = ["80", "81", "82", "443", "7001", "8000", "8080", "8081", "8082", "8088", "8090", "8443"];
    let Some((scheme, rest)) = uri.split_once("://") else { return uri.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once(':') {
        Some((host, port)) if PORTS.contains(&port) => format!("{scheme}://{host}{path}"),
        _ => uri.to_owned(),
    }
}

/// A name with so many digits may be a number in disguise.
fn could_be_a_value(name: &str) -> bool {
    digits(name) > DIGITS_MAX
}

/// Digits as anybody writes them.
fn digits(text: &str) -> usize {
    text.chars().filter(|c| is_digit(*c)).count()
}

fn is_digit(c: char) -> bool {
    const WRITTEN: &str = "〇零一二三四五六七八九壹贰叁肆伍陆柒捌玖";
    c.is_numeric() || WRITTEN.contains(c)
}
