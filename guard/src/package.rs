//! The package of an office document: its parts by name, their relationships, and a new archive of new parts.
//!
//! Reads with the guard's own strict archive reader, so that there is one meaning of the bytes or none. Writes the
//! plainest archive there is: no extra fields, no descriptors, one fixed date, nothing between members.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use flate2::{Compression, Crc, write::DeflateEncoder};

use crate::octets::length;
use crate::strip::{Removed, count};
use crate::tree::{self, Element};
use crate::zip;

/// All parts of one document together, unpacked. Four times the largest file that is looked at.
const PARTS_BYTES_MAX: u64 = 256 << 20;
/// Parts of one document. A workbook with a thousand sheets is a database.
const PARTS_MAX: usize = 4_096;

/// The parts of a document.
pub(crate) struct Package {
    parts: BTreeMap<String, Vec<u8>>,
}

/// What one part says of another.
pub(crate) struct Relation {
    pub id: String,
    /// The last word of its type: `worksheet`, `styles`, `image`.
    pub kind: String,
    /// The part that is meant; `None` where it lies outside the package.
    pub target: Option<String>,
}

impl Package {
    /// Every part of an archive, or none: a part that cannot be read, or two of one name, make no package.
    pub(crate) fn read(bytes: &[u8]) -> Option<Package> {
        let entries = zip::directory(bytes).ok().filter(|entries| entries.len() <= PARTS_MAX)?;
        let size = entries.iter().fold(0_u64, |sum, entry| sum.saturating_add(entry.size));
        if size > PARTS_BYTES_MAX {
            return None;
        }
        let mut parts = BTreeMap::new();
        for entry in entries.iter().filter(|entry| !entry.name.ends_with('/')) {
            let content = zip::content(bytes, entry).ok()?;
            if parts.insert(entry.name.to_ascii_lowercase(), content).is_some() {
                return None;
            }
        }
        Some(Package { parts })
    }

    /// The bytes of a part; names differ in nothing but case nowhere.
    pub(crate) fn part(&self, name: &str) -> Option<&[u8]> {
        self.parts.get(&name.to_ascii_lowercase()).map(Vec::as_slice)
    }

    /// Does it hold macros, controls or signatures? They are neither rebuilt nor left out in silence.
    pub(crate) fn holds_programs(&self) -> bool {
        const WORDS: [&str; 5] = ["vbaproject", "vbadata", "activex/", "macrosheets/", "_xmlsignatures/"];
        self.parts.keys().any(|name| WORDS.iter().any(|word| name.contains(word)))
    }

    /// Counts what is left behind: every part that was not built anew, by what it is.
    pub(crate) fn leave(&self, used: &BTreeSet<String>, removed: &mut Removed) {
        for name in self.parts.keys().filter(|name| !used.contains(*name)) {
            if !name.ends_with(".rels") && name != "[content_types].xml" {
                count(removed, left_behind(name));
            }
        }
    }

    /// The relationships of a part, of the package itself where the name is empty.
    pub(crate) fn relations(&self, of: &str) -> Option<Vec<Relation>> {
        let (folder, name) = of.rsplit_once('/').unwrap_or(("", of));
        let place =
            if folder.is_empty() { format!("_rels/{name}.rels") } else { format!("{folder}/_rels/{name}.rels") };
        let Some(bytes) = self.part(&place) else { return Some(Vec::new()) };
        let root = tree::parse(bytes)?;
        let relation = |element: &tree::Element| {
            let target = element.attribute("Target")?;
            let outside = element.attribute("TargetMode") == Some("External");
            Some(Relation {
                id: element.attribute("Id")?.to_owned(),
                kind: element.attribute("Type")?.rsplit('/').next()?.to_owned(),
                target: if outside { None } else { Some(resolved(folder, target)?) },
            })
        };
        root.elements().filter(|element| element.name == "pr:Relationship").map(relation).collect()
    }

    /// The part that the package is about; what has no relationships at all is taken for what it is called.
    pub(crate) fn main_part(&self, usual: &str) -> Option<String> {
        let relations = self.relations("")?;
        let named = relations.into_iter().find(|relation| relation.kind == "officeDocument");
        named.map_or_else(|| Some(usual.to_owned()), |relation| relation.target)
    }
}

/// A target from where it is named: `../media/a.png` in `word/x` is `media/a.png`.
fn resolved(folder: &str, target: &str) -> Option<String> {
    let mut path: Vec<&str> = if target.starts_with('/') { Vec::new() } else { folder.split('/').collect() };
    path.retain(|step| !step.is_empty());
    for step in target.split('/').filter(|step| !step.is_empty() && *step != ".") {
        if step == ".." {
            path.pop()?;
        } else {
            path.push(step);
        }
    }
    Some(path.join("/"))
}

/// What a part is that nobody builds anew. The words stand in the notice.
fn left_behind(name: &str) -> &'static str {
    const KINDS: [(&str, &str); 11] = [
        ("docprops/thumbnail", "thumbnail"),
        ("docprops/", "document-property"),
        ("customxml/", "custom-xml"),
        ("comment", "comment"),
        ("persons/", "comment"),
        ("people", "comment"),
        ("embeddings/", "embedded-object"),
        ("externallinks/", "external-link"),
        ("pivot", "cached-value"),
        ("media/", "picture"),
        ("worksheets/", "sheet"),
    ];
    // Themes, fonts, settings, the order of calculation: nothing that a person wrote.
    KINDS.iter().find(|(word, _)| name.contains(word)).map_or("office-setting", |(_, kind)| kind)
}

/// How every part that we write begins.
pub(crate) const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>";

const OFFICE: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";

/// A package in the making.
#[derive(Default)]
pub(crate) struct Writer {
    parts: Vec<(String, Vec<u8>)>,
    types: Vec<(String, String)>,
    /// By part: identifier, type and target.
    relations: BTreeMap<String, Vec<(String, String, String)>>,
}

impl Writer {
    pub(crate) fn new() -> Writer {
        Writer::default()
    }

    /// Parts so far.
    pub(crate) fn len(&self) -> usize {
        self.parts.len()
    }

    /// A part out of a tree.
    pub(crate) fn xml(&mut self, name: &str, root: &Element, plain: &str, content_type: &str) {
        let mut text = DECLARATION.to_owned();
        root.write(plain, &mut text);
        self.text(name, text, content_type);
    }

    /// A part out of a text.
    pub(crate) fn text(&mut self, name: &str, text: String, content_type: &str) {
        self.types.push((name.to_owned(), content_type.to_owned()));
        self.raw(name, text.into_bytes());
    }

    /// A part whose type its ending tells.
    pub(crate) fn raw(&mut self, name: &str, bytes: Vec<u8>) {
        self.parts.push((name.to_owned(), bytes));
    }

    /// Relationships of a part under identifiers of their own.
    pub(crate) fn relations(&mut self, part: &str, relations: &[(String, String, String)]) {
        if !relations.is_empty() {
            self.relations.entry(part.to_owned()).or_default().extend_from_slice(relations);
        }
    }

    /// A relationship that is known by its type and number: `worksheet2`.
    pub(crate) fn relate(&mut self, part: &str, kind: &str, target: &str) {
        let of_part = self.relations.entry(part.to_owned()).or_default();
        let number = of_part.iter().filter(|(_, other, _)| other == kind).count() + 1;
        of_part.push((format!("{kind}{number}"), kind.to_owned(), target.to_owned()));
    }

    /// The archive of a document that is about this part.
    pub(crate) fn finish(mut self, main: &str) -> Option<Vec<u8>> {
        self.relate("", "officeDocument", main);
        let mut all = vec![("[Content_Types].xml".to_owned(), self.content_types().into_bytes())];
        for (part, relations) in &self.relations {
            let (folder, name) = part.rsplit_once('/').unwrap_or(("", part));
            let folder = if folder.is_empty() { String::new() } else { format!("{folder}/") };
            let mut text = format!("{DECLARATION}<Relationships xmlns=\"{}\">", tree::namespace("pr"));
            for (id, kind, target) in relations {
                let relation = format!("<Relationship Id=\"{id}\" Type=\"{OFFICE}/{kind}\" Target=\"{target}\"/>");
                text.push_str(&relation);
            }
            text.push_str("</Relationships>");
            all.push((format!("{folder}_rels/{name}.rels"), text.into_bytes()));
        }
        all.append(&mut self.parts);
        pack(&all)
    }

    fn content_types(&self) -> String {
        let mut text =
            format!("{DECLARATION}<Types xmlns=\"http://schemas.openxmlformats.org/package/2006/content-types\">");
        let usual = [
            ("rels", "application/vnd.openxmlformats-package.relationships+xml"),
            ("xml", "application/xml"),
            ("jpeg", "image/jpeg"),
            ("png", "image/png"),
        ];
        for (ending, kind) in usual {
            text.push_str(&format!("<Default Extension=\"{ending}\" ContentType=\"{kind}\"/>"));
        }
        for (name, kind) in &self.types {
            text.push_str(&format!("<Override PartName=\"/{name}\" ContentType=\"{kind}\"/>"));
        }
        text.push_str("</Types>");
        text
    }
}

/// A new archive of these parts, in this order.
fn pack(parts: &[(String, Vec<u8>)]) -> Option<Vec<u8>> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in parts {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(content).ok()?;
        let packed = encoder.finish().ok()?;
        let mut crc = Crc::new();
        crc.update(content);
        // version, flags (names are UTF-8), deflate, time, 1980-01-01
        let mut shared = Vec::from(*b"\x14\0\0\x08\x08\0\0\0\x21\0");
        shared.extend_from_slice(&crc.sum().to_le_bytes());
        shared.extend_from_slice(&size(packed.len())?);
        shared.extend_from_slice(&size(content.len())?);
        shared.extend_from_slice(&u16::try_from(name.len()).ok()?.to_le_bytes());
        shared.extend_from_slice(&[0, 0]);
        let at = size(out.len())?;
        out.extend_from_slice(b"PK\x03\x04");
        out.extend_from_slice(&shared);
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(&packed);
        directory.extend_from_slice(b"PK\x01\x02\x14\0");
        directory.extend_from_slice(&shared);
        // no comment, first disk, no attributes
        directory.extend_from_slice(&[0; 10]);
        directory.extend_from_slice(&at);
        directory.extend_from_slice(name.as_bytes());
    }
    let count = u16::try_from(parts.len()).ok()?.to_le_bytes();
    let (at, bytes) = (size(out.len())?, size(directory.len())?);
    out.extend_from_slice(&directory);
    out.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    out.extend_from_slice(&[count, count].concat());
    out.extend_from_slice(&[bytes, at].concat());
    out.extend_from_slice(&[0, 0]);
    (out.len() <= length(crate::LOOK_BYTES_MAX)).then_some(out)
}

fn size(bytes: usize) -> Option<[u8; 4]> {
    u32::try_from(bytes).ok().map(u32::to_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_read_again() {
        let parts = [("a/b.xml".to_owned(), b"<a/>".to_vec()), ("界址.xml".to_owned(), vec![7; 70_000])];
        let packed = pack(&parts).expect("it fits");
        let package = Package::read(&packed).expect("a package");
        for (name, content) in &parts {
            assert_eq!(package.part(name), Some(content.as_slice()));
        }
        assert_eq!(package.parts.len(), 2);
        assert!(Package::read(packed.get(1..).unwrap_or_default()).is_none());
    }

    #[test]
    fn a_target_leads_nowhere_above_the_package() {
        assert_eq!(resolved("xl/worksheets", "../styles.xml").as_deref(), Some("xl/styles.xml"));
        assert_eq!(resolved("xl", "/word/a.xml").as_deref(), Some("word/a.xml"));
        assert_eq!(resolved("xl", "../../etc/passwd"), None);
    }
}
