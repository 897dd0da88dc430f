//! The outline of an XML or JSON file: which elements it has, and the few values that become labels.

use std::collections::HashSet;

use protocol::Name;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use crate::blanks::Blanks;
use crate::rules::{LabelRule, Schema};
use crate::sheet;

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
    /// The first thing that the type does not list, where it lists what may stand there.
    stranger: Option<String>,
    pub labels: Vec<(Name, String)>,
}

impl Outline {
    pub(crate) fn keeps_to(&self, schema: &Schema) -> bool {
        schema.xml_root.as_ref().is_none_or(|root| *root == self.root)
            && self.required_seen.iter().all(|seen| *seen)
            && !self.denied_seen
            && self.stranger.is_none()
    }

    /// What stands there and is not listed, for whoever has to mend the message or the list.
    pub(crate) fn stranger(&self) -> Option<String> {
        self.stranger.as_ref().map(|name| name.chars().take(NAME_CHARS_MAX).collect())
    }
}

/// So much of a name that is not listed is told.
pub(crate) const NAME_CHARS_MAX: usize = 64;

/// What a type lists of elements and attributes: by their bare names, which are most of them, and by their paths.
struct Allowed<'a> {
    elements: HashSet<&'a str>,
    /// Elements that hold others and no words: listed with a slash at the end.
    containers: HashSet<&'a str>,
    attributes: HashSet<&'a str>,
    paths: Vec<&'a str>,
}

/// What ends the name of an element that holds others and no words: `Head/`.
pub(crate) const HOLDS_NO_WORDS: char = '/';

impl<'a> Allowed<'a> {
    fn of(schema: &'a Schema) -> Option<Allowed<'a>> {
        let mut allowed = Allowed {
            elements: HashSet::new(),
            containers: HashSet::new(),
            attributes: HashSet::new(),
            paths: Vec::new(),
        };
        if schema.xml_allowed.is_empty() {
            return None;
        }
        for rule in &schema.xml_allowed {
            let bare = rule.strip_suffix(HOLDS_NO_WORDS);
            match rule.strip_prefix('@') {
                _ if bare.is_some_and(|name| !name.contains('/')) => {
                    allowed.containers.extend(bare);
                    allowed.elements.extend(bare);
                }
                Some(name) => _ = allowed.attributes.insert(name),
                None if rule.contains('/') => allowed.paths.push(rule),
                None => _ = allowed.elements.insert(rule),
            }
        }
        Some(allowed)
    }

    fn lists(&self, path: &[String], start: &BytesStart<'_>) -> bool {
        self.elements.contains(start.local_name().as_ref())
            || self.paths.iter().any(|rule| !rule.contains('@') && stands_at(rule, path, start))
    }

    fn lists_attribute(&self, name: &str, path: &[String], start: &BytesStart<'_>) -> bool {
        self.attributes.contains(name)
            || self.paths.iter().any(|rule| {
                rule.rsplit_once("/@").is_some_and(|(_, wanted)| wanted == name) && stands_at(rule, path, start)
            })
    }
}

/// Follows a message against its list. What a strip has emptied stays behind as a shell, listed or not: a shell is an
/// element in which nothing stands, and whose name is no value itself. Words stand in elements that hold no others: a
/// list of names says nothing of what is written between them.
struct Follower<'a> {
    allowed: Allowed<'a>,
    /// Depth of the element that is not listed, in which nothing may stand.
    shell: Option<usize>,
    /// What was seen in each element that is open.
    open: Vec<Within>,
    blanks: Blanks,
}

/// What was seen within an element so far.
#[derive(Default)]
struct Within {
    words: bool,
    elements: bool,
}

impl<'a> Follower<'a> {
    fn new(allowed: Allowed<'a>) -> Follower<'a> {
        Follower { allowed, shell: None, open: Vec::new(), blanks: Blanks::default() }
    }

    /// The first thing in this tag that is not listed.
    fn open(&mut self, start: &BytesStart<'_>, path: &[String]) -> Option<String> {
        let local = start.local_name();
        let name: &str = local.as_ref();
        if let Some(parent) = self.open.last_mut() {
            parent.elements = true;
            if parent.words {
                return path.last().cloned();
            }
        }
        self.open.push(Within::default());
        if self.shell.is_none() && !self.allowed.lists(path, start) {
            self.shell = Some(path.len());
        }
        let prefix = start.name().prefix();
        if prefix.is_some_and(|prefix| !self.blanks.take(prefix.as_ref())) {
            return Some(name.to_owned());
        }
        if self.shell.is_some() && !self.blanks.take(name) {
            return Some(name.to_owned());
        }
        start.attributes().with_checks(false).flatten().find_map(|attribute| {
            let whole = attribute.key.as_ref();
            let local = attribute.key.local_name();
            let key: &str = local.as_ref();
            let told = || if self.shell.is_some() { name.to_owned() } else { format!("{name}/@{key}") };
            if whole == "xmlns" || whole.starts_with("xmlns:") {
                let fits = self.blanks.take(key) && self.blanks.take_namespace(&attribute.value);
                return (!fits).then(|| format!("{name}/@xmlns"));
            }
            let prefix = attribute.key.prefix();
            if prefix.is_some_and(|prefix| !self.blanks.take(prefix.as_ref())) {
                return Some(format!("{name}/@{key}"));
            }
            // By whatever prefix software gives it: `i:nil="true"`.
            if key == "nil" && matches!(attribute.value.trim(), "true" | "false" | "1" | "0") {
                return None;
            }
            if is_of_the_schema(whole) {
                return (!self.blanks.take_text(&attribute.value)).then(told);
            }
            let listed = self.shell.is_none() && self.allowed.lists_attribute(key, path, start);
            let fits = if listed {
                fits_code(key, &attribute.value)
            } else {
                attribute.value.trim().is_empty() && self.blanks.take(key)
            };
            (!fits).then(told)
        })
    }

    fn close(&mut self, depth: usize) {
        self.shell = self.shell.filter(|at| *at < depth);
        self.open.pop();
    }

    /// Text, an entity or what else stands in the element `name`: is it out of place there?
    fn is_strange(&mut self, name: &str, text: &str) -> bool {
        if text.trim().is_empty() {
            return false;
        }
        let holds_others = self.open.last_mut().is_some_and(|within| {
            within.words = true;
            within.elements
        });
        holds_others || self.shell.is_some() || self.allowed.containers.contains(name) || !fits_code(name, text)
    }
}

/// What XML Schema itself has on any element, by the prefix that everybody gives it.
fn is_of_the_schema(key: &str) -> bool {
    matches!(key, "xsi:schemaLocation" | "xsi:noNamespaceSchemaLocation" | "xsi:nil" | "xsi:type")
}

/// A line's end or a blank, written as a reference.
fn is_blank(reference: &str) -> bool {
    matches!(reference, "#9" | "#10" | "#13" | "#32" | "#x9" | "#xA" | "#xa" | "#xD" | "#xd" | "#x20")
}

fn is_of_a_style(words: &str) -> bool {
    words.split_whitespace().next() == Some("xml-stylesheet")
}

/// Codes of parcels and of units have a national form, and what stands under their names has it: 19 places, or 28 with
/// the unit behind it. A number with a point is none. Several may stand there, and words such as 无. A map sheet is one of
/// a small scale.
fn fits_code(name: &str, value: &str) -> bool {
    const CODES: [&str; 5] = ["BDCDYH", "ZDDM", "ZHDM", "ParcelID", "EstateNum"];
    if sheet::is_key(name) {
        return sheet::is_coarse(value);
    }
    if !CODES.contains(&name) || !value.chars().any(char::is_numeric) {
        return true;
    }
    let bare: String = value.chars().filter(|c| !c.is_whitespace()).collect();
    bare.split([',', '，', '、', ';', '；']).filter(|code| !code.is_empty()).all(|code| {
        let form = |nth: usize, c: char| match nth {
            12 | 13 | 19 => c.is_ascii_uppercase(),
            _ => c.is_ascii_digit(),
        };
        matches!(code.len(), 19 | 28) && code.chars().enumerate().all(|(nth, c)| form(nth, c))
    })
}

/// Walks a message that is known to be well-formed.
pub(crate) fn outline(text: &str, schema: &Schema) -> Outline {
    let mut outline = Outline {
        root: String::new(),
        required_seen: vec![false; schema.xml_required.len()],
        denied_seen: false,
        stranger: None,
        labels: Vec::new(),
    };
    let mut follower = Allowed::of(schema).map(Follower::new);
    let mut reader = Reader::from_str(text);
    let mut path: Vec<String> = Vec::new();
    loop {
        let event = reader.read_event();
        if let (Some(follower), Ok(event), None) = (&mut follower, &event, &outline.stranger) {
            let here = || path.last().cloned().unwrap_or_default();
            outline.stranger = match event {
                Event::Start(start) => follower.open(start, &path),
                Event::Empty(start) => {
                    let stranger = follower.open(start, &path);
                    follower.close(path.len());
                    stranger
                }
                Event::End(_) => {
                    follower.close(path.len().saturating_sub(1));
                    None
                }
                Event::Text(text) if follower.is_strange(&here(), text) => Some(here()),
                Event::CData(text) if follower.is_strange(&here(), text) => Some(here()),
                Event::GeneralRef(name) if !is_blank(name) && follower.is_strange(&here(), "&1") => Some(here()),
                Event::Comment(text) if !follower.blanks.take_text(text) => Some("<!--".to_owned()),
                Event::PI(words) if !is_of_a_style(words) || !follower.blanks.take_text(words) => Some("<?".to_owned()),
                Event::DocType(_) => Some("<!DOCTYPE".to_owned()),
                _ => None,
            };
        }
        match event {
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

    fn stranger(message: &str, allowed: &[&str]) -> Option<String> {
        let allowed = allowed.iter().map(|&word| word.to_owned()).collect();
        let schema = Schema { xml_allowed: allowed, ..Schema::default() };
        let outline = outline(message, &schema);
        assert_eq!(outline.keeps_to(&schema), outline.stranger().is_none());
        outline.stranger()
    }

    #[test]
    fn where_a_type_lists_what_may_stand_there_nothing_else_does() {
        let all = ["m", "head", "m/head/id", "m/head/id/@kind", "m/body", "m/body/id", "note"];
        assert_eq!(stranger(MESSAGE, &all), None);
        assert_eq!(stranger(MESSAGE, &["m", "head", "body", "id", "@kind", "note"]), None, "by their bare names too");
        assert_eq!(stranger(MESSAGE, &[]), None, "nothing is listed, nothing is asked");
        for (left_out, told) in [("m/head/id", "id"), ("m/head/id/@kind", "id/@kind"), ("m/body/id", "id")] {
            let listed: Vec<&str> = all.into_iter().filter(|word| *word != left_out).collect();
            assert_eq!(stranger(MESSAGE, &listed).as_deref(), Some(told), "{left_out}");
        }
        for (message, told) in [
            ("<m><zb>1</zb></m>", "zb"),
            ("<m><zb><![CDATA[1]]></zb></m>", "zb"),
            ("<m><zb>&#49;</zb></m>", "zb"),
            ("<m><zb a=\"1\"/></m>", "zb"),
            ("<m><zb><m>1</m></zb></m>", "m"),
            ("<m a=\"1\"/>", "m/@a"),
            ("<m><x4851490_4193/></m>", "x4851490_4193"),
            ("<m a4851490=\"\"/>", "m/@a4851490"),
            ("<m><!-- 34512.417 51203.882 --></m>", "<!--"),
            ("<?xml-stylesheet href=\"34512.417-51203.882\"?><m/>", "<?"),
            ("<m xsi:schemaLocation=\"34512.417 51203.882\"/>", "m/@schemaLocation"),
            ("<m xsi:x=\"1\"/>", "m/@x"),
            ("<m><x3451/><x2417/><y5120/></m>", "y5120"),
            ("<m><三四五一二/></m>", "三四五一二"),
            ("<m 三四五一=\"\" 二四一七=\"\" 五一二〇=\"\"/>", "m/@五一二〇"),
            ("<m><?a 1?></m>", "<?"),
            ("<!DOCTYPE m><m/>", "<!DOCTYPE"),
            ("<m xmlns:p4851490_419=\"urn:x\"/>", "m/@xmlns"),
            ("<m xmlns:p=\"urn:34512.417:51203.882\"/>", "m/@xmlns"),
            ("<m xmlns=\"urn:345.124.175.120.388\"/>", "m/@xmlns"),
            ("<m xmlns=\"urn:三四五一二\"/>", "m/@xmlns"),
            ("<p4851490_419:m/>", "m"),
            ("<m><a345:m/><a124:m/><a175:m/></m>", "m"),
            ("<m p4851490_419:m=\"\"/>", "m/@m"),
        ] {
            assert_eq!(stranger(message, &["m"]).as_deref(), Some(told), "{message}");
        }
    }

    #[test]
    fn words_stand_where_no_elements_do() {
        let listed = ["Message/", "Head/", "BizMsgID", "bz", "m"];
        for good in [
            "<Message>\n<Head> <BizMsgID>17</BizMsgID>\n</Head><bz>无<!-- - -->无<![CDATA[无]]></bz></Message>",
            "<Message><bz>&#26080;</bz></Message>",
        ] {
            assert_eq!(stranger(good, &listed), None, "{good}");
        }
        for (bad, told) in [
            ("<Head>J1 34512.417 51203.882</Head>", "Head"),
            ("<Head><BizMsgID>17</BizMsgID>34512.417 51203.882</Head>", "Head"),
            ("<Head><![CDATA[34512.417]]></Head>", "Head"),
            ("<Head>&#51;</Head>", "Head"),
            ("<m>34512.417<bz/></m>", "m"),
            ("<m><bz/>34512.417</m>", "m"),
            ("<m><bz></bz><bz><bz/></bz>34512.417</m>", "m"),
            ("<p:Head xmlns:p=\"urn:x\">34512.417</p:Head>", "Head"),
        ] {
            assert_eq!(stranger(bad, &listed).as_deref(), Some(told), "{bad}");
        }
    }

    #[test]
    fn a_map_sheet_is_one_of_a_small_scale() {
        let listed = ["m", "@TFH", "TFH"];
        for good in ["", "无", "H50G005010", "H50G005010,H50G005011", "J-50-5-(10)"] {
            assert_eq!(stranger(&format!("<m TFH=\"{good}\"><TFH>{good}</TFH></m>"), &listed), None, "{good}");
        }
        for bad in ["51.50-46.25", "51-46", "34512.417", "J50K01230456", "某处"] {
            assert_eq!(stranger(&format!("<m TFH=\"{bad}\"/>"), &listed).as_deref(), Some("m/@TFH"), "{bad}");
            assert_eq!(stranger(&format!("<m><TFH>{bad}</TFH></m>"), &listed).as_deref(), Some("TFH"), "{bad}");
        }
    }

    #[test]
    fn what_a_strip_has_emptied_may_stay_behind() {
        for message in [
            "<m><points/></m>",
            "<m><points> <point/><point></point>\n</points></m>",
            "<m map=\"\"/>",
            "<m xmlns:a=\"b\"/>",
            "<m xmlns=\"http://bdc.example.cn:8080/msg\"/>",
            "<m xmlns=\"http://10.1.20.15:8080/bdc\"/>",
            "<m xmlns=\"http://schemas.datacontract.org/2004/07/Bdc.Models\" xmlns:a=\"http://schemas.microsoft.com/2003/10/Serialization/Arrays\" xmlns:i=\"http://www.w3.org/2001/XMLSchema-instance\"><m i:nil=\"true\"/></m>",
            "<m>&#13;\n<m>&#xD;&#x20;</m></m>",
            "<ns2:m xmlns:ns2=\"http://example.cn/bdc/2016\" xmlns:ns3=\"http://www.w3.org/2000/09/xmldsig#\"><ns2:m/></ns2:m>",
        ] {
            assert_eq!(stranger(message, &["m"]), None, "{message}");
        }
        assert_eq!(stranger("<m><points/><m>2</m></m>", &["m"]), None, "the shell ends where it ends");
        assert_eq!(stranger("<m><points><point/></points><zb>1</zb></m>", &["m"]).as_deref(), Some("zb"));
    }

    #[test]
    fn words_about_a_message_pass_where_they_are_no_numbers() {
        for message in [
            "<m><!-- 导出于 2026-11-22 --></m>",
            "<?xml-stylesheet type=\"text/xsl\" href=\"m.xsl\"?><m/>",
            "<m xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:noNamespaceSchemaLocation=\"m.xsd\"><m xsi:nil=\"1\"/><m xsi:nil=\"1\"/></m>",
            "<m><QRCode/><统一社会信用代码/><KTT_GY_JZD/><ZD_K_103/></m>",
        ] {
            assert_eq!(stranger(message, &["m"]), None, "{message}");
        }
        let many = "<!-- 1234 -->".repeat(3);
        assert_eq!(stranger(&format!("<m>{many}</m>"), &["m"]), None, "the same once more says nothing more");
        assert_eq!(stranger("<m><!--1234--><!--5678--><!--9--></m>", &["m"]).as_deref(), Some("<!--"));
    }

    #[test]
    fn what_is_called_a_code_is_one() {
        let listed = ["m", "BDCDYH", "@BDCDYH", "@ZDDM"];
        for good in [
            "",
            "无",
            "440106024056GB81906",
            "440106024056GB81906F00010001",
            "440106 024056 GB81906 F00010001",
            "440106024056GB81906F00010001、440106024056GB81906F00010002",
        ] {
            assert_eq!(stranger(&format!("<m ZDDM=\"{good}\" BDCDYH=\"{good}\"/>"), &listed), None, "{good}");
            assert_eq!(stranger(&format!("<m><BDCDYH>{good}</BDCDYH></m>"), &listed), None, "{good}");
        }
        for bad in ["34512.417", "51203", "440106024056GB8190", "440106024056GB81906,34512.417"] {
            let told = |message: &str| stranger(message, &listed);
            assert_eq!(told(&format!("<m ZDDM=\"{bad}\"/>")).as_deref(), Some("m/@ZDDM"), "{bad}");
            assert_eq!(told(&format!("<m><BDCDYH>{bad}</BDCDYH></m>")).as_deref(), Some("BDCDYH"), "{bad}");
            assert_eq!(told(&format!("<m><BDCDYH><![CDATA[{bad}]]></BDCDYH></m>")).as_deref(), Some("BDCDYH"), "{bad}");
        }
        assert_eq!(stranger("<m><BDCDYH>&#49;</BDCDYH></m>", &listed).as_deref(), Some("BDCDYH"));
    }

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
