//! A letter (DOCX) built anew: paragraphs, tables, pictures, headers, footers and notes from the tree, without what
//! carries coordinates and without everything that no page shows.
//!
//! A positive list: an element that shows something and that is not built here (a chart, a text box, a formula, a macro)
//! means that the letter is not rebuilt at all. Fields and links become the words that they show; tracked deletions,
//! hidden text, comments, custom XML, objects and properties go.

use std::collections::BTreeSet;

use crate::grid::{self, Place};
use crate::kind::Kind;
use crate::package::{self, Package, Relation};
use crate::strip::{Removed, count};
use crate::tree::{self, Element, Node};

/// Values of layout are short words and numbers; a longer one is no layout.
const VALUE_CHARS_MAX: usize = 64;
/// Pictures of one letter.
const PICTURES_MAX: usize = 500;

/// Marks that show nothing.
const MARKS: [&str; 25] = [
    "w:bookmarkStart",
    "w:bookmarkEnd",
    "w:proofErr",
    "w:permStart",
    "w:permEnd",
    "w:commentRangeStart",
    "w:commentRangeEnd",
    "w:annotationRef",
    "w:lastRenderedPageBreak",
    "w:moveFromRangeStart",
    "w:moveFromRangeEnd",
    "w:moveToRangeStart",
    "w:moveToRangeEnd",
    "w:customXmlInsRangeStart",
    "w:customXmlInsRangeEnd",
    "w:customXmlDelRangeStart",
    "w:customXmlDelRangeEnd",
    "w:customXmlMoveFromRangeStart",
    "w:customXmlMoveFromRangeEnd",
    "w:customXmlMoveToRangeStart",
    "w:customXmlMoveToRangeEnd",
    "w:smartTagPr",
    "w:customXmlPr",
    "w:sdtPr",
    "w:sdtEndPr",
];
/// What only wraps what it shows.
const WRAPPERS: [&str; 9] =
    ["w:sdt", "w:sdtContent", "w:customXml", "w:smartTag", "w:ins", "w:moveTo", "w:hyperlink", "w:fldSimple", "w:dir"];
/// Layout and marks inside a run.
const RUN_SIGNS: [&str; 13] = [
    "w:tab",
    "w:br",
    "w:cr",
    "w:noBreakHyphen",
    "w:softHyphen",
    "w:sym",
    "w:pgNum",
    "w:footnoteReference",
    "w:endnoteReference",
    "w:footnoteRef",
    "w:endnoteRef",
    "w:separator",
    "w:continuationSeparator",
];
/// Properties that hold words of a person, or a history.
const WORDY: [&str; 9] = [
    "w:tblCaption",
    "w:tblDescription",
    "w:alias",
    "w:tag",
    "w:ins",
    "w:del",
    "w:numPicBullet",
    "w:latentStyles",
    "w:printerSettings",
];

const MAIN: &str = "word/document.xml";
const WORD_TYPE: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml";

/// A letter without coordinates, and in `removed` what is missing from it.
pub(crate) fn strip(bytes: &[u8], removed: &mut Removed) -> Option<Vec<u8>> {
    let package = Package::read(bytes)?;
    if package.holds_programs() {
        return None;
    }
    let main = package.main_part(MAIN)?;
    let mut letter =
        Letter { package: &package, removed, used: BTreeSet::new(), out: package::Writer::new(), pictures: 0 };
    let relations = letter.story(&main, "w:document", "document", true)?;
    for relation in relations {
        let target = relation.target.filter(|_| matches!(relation.kind.as_str(), "styles" | "numbering"));
        if let Some(root) = target.as_deref().and_then(|target| letter.open(target)) {
            let root = layout(&root)?;
            letter.write(root, &relation.kind, &[]);
        }
    }
    let Letter { used, out, .. } = letter;
    package.leave(&used, removed);
    out.finish("word/document.xml")
}

struct Letter<'a> {
    package: &'a Package,
    removed: &'a mut Removed,
    /// Parts of the original that were built anew.
    used: BTreeSet<String>,
    out: package::Writer,
    pictures: usize,
}

/// One flow of text, with the relationships of its part as they were and as they will be.
struct Story<'a, 'l> {
    letter: &'l mut Letter<'a>,
    relations: Vec<Relation>,
    /// Identifier, type and target.
    kept: Vec<(String, String, String)>,
}

impl Letter<'_> {
    fn open(&mut self, part: &str) -> Option<Element> {
        self.used.insert(part.to_ascii_lowercase());
        tree::parse(self.package.part(part)?)
    }

    /// Builds a part of text anew under a name of ours; answers the relationships it had.
    fn story(&mut self, part: &str, root: &str, name: &str, is_main: bool) -> Option<Vec<Relation>> {
        let old = self.open(part).filter(|old| old.name == root)?;
        let relations = self.package.relations(part)?;
        let mut story = Story { letter: self, relations, kept: Vec::new() };
        let mut new = Element { name: root.to_owned(), ..Element::default() };
        if is_main {
            let mut body = Element { name: "w:body".to_owned(), ..Element::default() };
            body.children = story.blocks(old.child("w:body")?)?;
            story.notes()?;
            new.children.push(Node::Element(body));
        } else {
            new.children = story.blocks(&old)?;
        }
        let Story { relations, kept, .. } = story;
        self.empty(&mut new)?;
        self.write(new, name, &kept);
        Some(relations)
    }

    /// Empties the paragraphs and cells that carry coordinates.
    fn empty(&mut self, story: &mut Element) -> Option<()> {
        let mut rows: Vec<Vec<String>> = Vec::new();
        units(story, &mut 0, &mut |(row, _), unit| {
            if rows.len() <= row {
                rows.resize(row + 1, Vec::new());
            }
            if let Some(cells) = rows.get_mut(row) {
                cells.push(words(unit));
            }
        });
        let gone = grid::condemned(&rows)?;
        let mut emptied = 0;
        units(story, &mut 0, &mut |place, unit| {
            if gone.contains(&place) {
                silence(unit);
                emptied += 1;
            }
        });
        if emptied > 0 {
            *self.removed.entry("paragraph").or_insert(0) += emptied;
        }
        Some(())
    }

    fn write(&mut self, mut root: Element, name: &str, relations: &[(String, String, String)]) {
        for prefix in ["w", "r", "wp", "a", "pic"] {
            root.attributes.push((format!("xmlns:{prefix}"), tree::namespace(prefix).to_owned()));
        }
        let main = if name == "document" { ".main" } else { "" };
        let word = name.trim_end_matches(|c: char| c.is_ascii_digit());
        self.out.xml(&format!("word/{name}.xml"), &root, "", &format!("{WORD_TYPE}.{word}{main}+xml"));
        self.out.relations(&format!("word/{name}.xml"), relations);
        if name != "document" && !matches!(word, "header" | "footer") {
            self.out.relate("word/document.xml", word, &format!("{name}.xml"));
        }
    }
}

impl Story<'_, '_> {
    fn count(&mut self, what: &'static str) {
        count(self.letter.removed, what);
    }

    /// Paragraphs, tables and sections.
    fn blocks(&mut self, parent: &Element) -> Option<Vec<Node>> {
        let mut out = Vec::new();
        for element in parent.elements() {
            match element.name.as_str() {
                "w:p" => out.push(Node::Element(self.paragraph(element)?)),
                "w:tbl" => out.push(Node::Element(self.table(element)?)),
                "w:sectPr" => out.push(Node::Element(self.section(element)?)),
                "w:footnote" | "w:endnote" => {
                    let mut note = shell(element);
                    note.children = self.blocks(element)?;
                    out.push(Node::Element(note));
                }
                _ => self.otherwise(element, &mut out, Self::blocks)?,
            }
        }
        Some(out)
    }

    /// What stands anywhere: wrappers are opened, marks and deletions go, the rest is not rebuilt.
    fn otherwise(
        &mut self,
        element: &Element,
        out: &mut Vec<Node>,
        inside: fn(&mut Self, &Element) -> Option<Vec<Node>>,
    ) -> Option<()> {
        match element.name.as_str() {
            "w:del" | "w:moveFrom" => self.count("tracked-change"),
            "w:pPr" | "w:tblPr" | "w:tcPr" | "w:trPr" => {}
            name if MARKS.contains(&name) => {}
            name if WRAPPERS.contains(&name) => {
                if name == "w:hyperlink" || name == "w:fldSimple" {
                    self.count("field");
                }
                out.append(&mut inside(self, element)?);
            }
            _ => return None,
        }
        Some(())
    }

    fn paragraph(&mut self, old: &Element) -> Option<Element> {
        let mut new = Element { name: "w:p".to_owned(), ..Element::default() };
        if let Some(properties) = old.child("w:pPr") {
            let mut properties_out = layout(properties)?;
            if let Some(section) = properties.child("w:sectPr") {
                properties_out.children.retain(|node| !matches!(node, Node::Element(e) if e.name == "w:sectPr"));
                properties_out.children.push(Node::Element(self.section(section)?));
            }
            new.children.push(Node::Element(properties_out));
        }
        new.children.append(&mut self.runs(old)?);
        Some(new)
    }

    fn runs(&mut self, parent: &Element) -> Option<Vec<Node>> {
        let mut out = Vec::new();
        for element in parent.elements() {
            if element.name != "w:r" {
                self.otherwise(element, &mut out, Self::runs)?;
            } else if element.child("w:rPr").is_some_and(|p| p.child("w:vanish").is_some()) {
                self.count("hidden-text");
            } else {
                out.push(Node::Element(self.run(element)?));
            }
        }
        Some(out)
    }

    fn run(&mut self, old: &Element) -> Option<Element> {
        let mut new = Element { name: "w:r".to_owned(), ..Element::default() };
        for element in old.elements() {
            match element.name.as_str() {
                "w:rPr" => new.children.push(Node::Element(layout(element)?)),
                "w:t" => new.children.push(Node::Element(said(element.text()))),
                "w:drawing" => new.children.push(Node::Element(self.picture(element)?)),
                "w:object" => self.count("embedded-object"),
                "w:commentReference" => self.count("comment"),
                "w:instrText" => self.count("field"),
                "w:fldChar" | "w:delText" | "w:delInstrText" => {}
                name if RUN_SIGNS.contains(&name) => new.children.push(Node::Element(shell(element))),
                name if MARKS.contains(&name) => {}
                _ => return None,
            }
        }
        Some(new)
    }

    fn table(&mut self, old: &Element) -> Option<Element> {
        let mut new = Element { name: "w:tbl".to_owned(), ..Element::default() };
        for element in old.elements().filter(|e| matches!(e.name.as_str(), "w:tblPr" | "w:tblGrid")) {
            new.children.push(Node::Element(layout(element)?));
        }
        new.children.append(&mut self.rows(old)?);
        Some(new)
    }

    fn rows(&mut self, parent: &Element) -> Option<Vec<Node>> {
        let mut out = Vec::new();
        for element in parent.elements() {
            match element.name.as_str() {
                "w:tblPr" | "w:tblGrid" => {}
                "w:tr" => {
                    let mut row = Element { name: "w:tr".to_owned(), ..Element::default() };
                    for properties in element.elements().filter(|e| matches!(e.name.as_str(), "w:trPr" | "w:tblPrEx")) {
                        row.children.push(Node::Element(layout(properties)?));
                    }
                    row.children.append(&mut self.table_cells(element)?);
                    out.push(Node::Element(row));
                }
                _ => self.otherwise(element, &mut out, Self::rows)?,
            }
        }
        Some(out)
    }

    fn table_cells(&mut self, parent: &Element) -> Option<Vec<Node>> {
        let mut out = Vec::new();
        for element in parent.elements() {
            match element.name.as_str() {
                "w:tblPrEx" => {}
                "w:tc" => {
                    let mut cell = Element { name: "w:tc".to_owned(), ..Element::default() };
                    for properties in element.elements().filter(|e| e.name == "w:tcPr") {
                        cell.children.push(Node::Element(layout(properties)?));
                    }
                    cell.children.append(&mut self.blocks(element)?);
                    out.push(Node::Element(cell));
                }
                _ => self.otherwise(element, &mut out, Self::table_cells)?,
            }
        }
        Some(out)
    }

    /// The layout of a section; its headers and footers are built anew with it.
    fn section(&mut self, old: &Element) -> Option<Element> {
        let mut new = layout(old)?;
        new.children.retain(|node| !matches!(node, Node::Element(e) if e.name.ends_with("Reference")));
        let references =
            old.elements().filter(|e| matches!(e.name.as_str(), "w:headerReference" | "w:footerReference"));
        for (at, reference) in references.enumerate() {
            let (kind, root) =
                if reference.name == "w:headerReference" { ("header", "w:hdr") } else { ("footer", "w:ftr") };
            let Some(part) = self.target(reference.attribute("r:id")?, kind) else { continue };
            let name = format!("{kind}{}", self.letter.out.len());
            self.letter.story(&part, root, &name, false)?;
            let mut reference_out = shell(reference);
            let id = self.keep(kind, &format!("{name}.xml"));
            reference_out.attributes.push(("r:id".to_owned(), id));
            new.children.insert(at, Node::Element(reference_out));
        }
        Some(new)
    }

    /// Footnotes and endnotes, which stand in parts of their own.
    fn notes(&mut self) -> Option<()> {
        for kind in ["footnotes", "endnotes"] {
            let found = self.relations.iter().find(|relation| relation.kind == kind);
            if let Some(part) = found.and_then(|relation| relation.target.clone()) {
                self.letter.story(&part, &format!("w:{kind}"), kind, false)?;
            }
        }
        Some(())
    }

    /// A picture of a kind that can be looked into, in the line and in its size.
    fn picture(&mut self, drawing: &Element) -> Option<Element> {
        let frame = drawing.elements().next()?;
        let extent = frame.child("wp:extent")?;
        let picture = frame.child("a:graphic")?.child("a:graphicData")?.child("pic:pic")?;
        let id = picture.child("pic:blipFill")?.child("a:blip")?.attribute("r:embed")?;
        let part = self.target(id, "image")?;
        let bytes = self.letter.package.part(&part)?;
        let kind = Kind::of_magic(bytes).filter(|kind| matches!(kind, Kind::Jpeg | Kind::Png))?;
        let clean = crate::strip::picture(kind, bytes, self.letter.removed)?;
        self.letter.used.insert(part.to_ascii_lowercase());
        self.letter.pictures += 1;
        let number = self.letter.pictures;
        if number > PICTURES_MAX {
            return None;
        }
        let name = format!("media/image{number}.{}", kind.name());
        self.letter.out.raw(&format!("word/{name}"), clean);
        let id = self.keep("image", &name);
        let size = |key| extent.attribute(key)?.parse::<u32>().ok();
        Some(framed(number, &id, size("cx")?, size("cy")?))
    }

    fn target(&self, id: &str, kind: &str) -> Option<String> {
        let relation = self.relations.iter().find(|relation| relation.id == id && relation.kind == kind)?;
        relation.target.clone()
    }

    fn keep(&mut self, kind: &str, target: &str) -> String {
        let id = format!("rId{}", 1000 + self.kept.len());
        self.kept.push((id.clone(), kind.to_owned(), target.to_owned()));
        id
    }
}

/// The element with its own attributes and nothing in it.
fn shell(old: &Element) -> Element {
    let attributes = old.attributes.iter().filter(|(key, value)| is_layout(key, value)).cloned().collect();
    Element { name: old.name.clone(), attributes, children: Vec::new() }
}

fn is_layout(key: &str, value: &str) -> bool {
    key.starts_with("w:") && !key.starts_with("w:rsid") && value.chars().count() <= VALUE_CHARS_MAX
}

/// Properties: elements and short values, no text, no history, no words of a person.
fn layout(old: &Element) -> Option<Element> {
    let mut new = shell(old);
    for element in old.elements() {
        let name = element.name.as_str();
        if name.starts_with("w:") && !name.ends_with("Change") && !WORDY.contains(&name) {
            new.children.push(Node::Element(layout(element)?));
        }
    }
    Some(new)
}

fn said(text: String) -> Element {
    Element {
        name: "w:t".to_owned(),
        attributes: vec![("xml:space".to_owned(), "preserve".to_owned())],
        children: vec![Node::Text(text)],
    }
}

/// The smallest frame that every program shows.
fn framed(number: usize, id: &str, width: u32, height: u32) -> Element {
    let of = |name: &str, attributes: &[(&str, String)], children: Vec<Element>| Element {
        name: name.to_owned(),
        attributes: attributes.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
        children: children.into_iter().map(Node::Element).collect(),
    };
    let size = [("cx", width.to_string()), ("cy", height.to_string())];
    let named = [("id", number.to_string()), ("name", format!("Picture {number}"))];
    let fill = of(
        "pic:blipFill",
        &[],
        vec![
            of("a:blip", &[("r:embed", id.to_owned())], vec![]),
            of("a:stretch", &[], vec![of("a:fillRect", &[], vec![])]),
        ],
    );
    let shape = of(
        "pic:spPr",
        &[],
        vec![
            of(
                "a:xfrm",
                &[],
                vec![of("a:off", &[("x", "0".into()), ("y", "0".into())], vec![]), of("a:ext", &size, vec![])],
            ),
            of("a:prstGeom", &[("prst", "rect".into())], vec![of("a:avLst", &[], vec![])]),
        ],
    );
    let head = of("pic:nvPicPr", &[], vec![of("pic:cNvPr", &named, vec![]), of("pic:cNvPicPr", &[], vec![])]);
    let picture = of("pic:pic", &[], vec![head, fill, shape]);
    let data = of("a:graphicData", &[("uri", tree::namespace("pic").to_owned())], vec![picture]);
    let inline = of(
        "wp:inline",
        &[],
        vec![of("wp:extent", &size, vec![]), of("wp:docPr", &named, vec![]), of("a:graphic", &[], vec![data])],
    );
    of("w:drawing", &[], vec![inline])
}

/// Every unit of a story, a paragraph or a cell of a table, each at its place: the same in every walk.
fn units(parent: &mut Element, row: &mut usize, visit: &mut dyn FnMut(Place, &mut Element)) {
    for node in &mut parent.children {
        let Node::Element(element) = node else { continue };
        match element.name.as_str() {
            "w:p" => {
                visit((*row, 0), element);
                *row += 1;
            }
            "w:tr" => {
                let cells = element.children.iter_mut().filter_map(|node| match node {
                    Node::Element(cell) if cell.name == "w:tc" => Some(cell),
                    _ => None,
                });
                for (column, cell) in cells.enumerate() {
                    visit((*row, column), cell);
                }
                *row += 1;
            }
            _ => units(element, row, visit),
        }
    }
}

/// The text of a unit as a reader sees it.
fn words(unit: &Element) -> String {
    let mut out = String::new();
    gather(unit, &mut out);
    out.trim().to_owned()
}

fn gather(element: &Element, out: &mut String) {
    match element.name.as_str() {
        "w:t" => out.push_str(&element.text()),
        "w:tab" => out.push('\t'),
        "w:br" | "w:cr" => out.push('\n'),
        "w:noBreakHyphen" => out.push('-'),
        _ => {
            for inner in element.elements() {
                gather(inner, out);
            }
            if element.name == "w:p" {
                out.push(' ');
            }
        }
    }
}

/// Takes the words out of a paragraph, or of every paragraph of a cell.
fn silence(unit: &mut Element) {
    if unit.name == "w:p" {
        unit.children.retain(|node| matches!(node, Node::Element(e) if e.name == "w:pPr"));
        return;
    }
    for node in &mut unit.children {
        if let Node::Element(element) = node {
            silence(element);
        }
    }
}
