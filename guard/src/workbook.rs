//! A workbook (XLSX) built anew: the cells of its visible sheets, their styles, widths and merged ranges.
//!
//! Formulas become the values they had; one whose value may come from a cell that went goes with it. Strings stand in
//! their cells, so that no list of shared strings keeps what no cell shows. Hidden sheets, defined names, comments, links,
//! caches, objects and properties go. What shows something and is not built here (a drawing, a chart, a macro) means that
//! the workbook is not rebuilt at all.

use std::collections::{BTreeMap, BTreeSet};

use crate::grid;
use crate::package::{self, Package};
use crate::strip::{Removed, count};
use crate::tree::{self, Element, Node};

/// Sheets of one workbook.
const SHEETS_MAX: usize = 256;
/// Columns and rows of a sheet, as every program has them.
const COLUMNS_MAX: usize = 16_384;
const ROWS_MAX: usize = 1_048_576;
/// Cells of a sheet as it is laid out for a look, empty ones between them too.
const LAID_OUT_MAX: usize = 4_000_000;
/// Rounds in which formulas that lean on one that went go too; a longer chain is broken whole.
const CHAIN_MAX: usize = 32;
/// Characters of an attribute of a style.
const STYLE_CHARS_MAX: usize = 128;

const MAIN: &str = "xl/workbook.xml";
const SHEET_TYPE: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml";

/// A workbook without coordinates, and in `removed` what is missing from it.
pub(crate) fn strip(bytes: &[u8], removed: &mut Removed) -> Option<Vec<u8>> {
    let package = Package::read(bytes)?;
    if package.holds_programs() {
        return None;
    }
    let main = package.main_part(MAIN)?;
    let root = tree::parse(package.part(&main)?).filter(|root| root.name == "s:workbook")?;
    let relations = package.relations(&main)?;
    let target = |kind: &str| relations.iter().find(|relation| relation.kind == kind)?.target.clone();
    let mut used = BTreeSet::from([main.to_ascii_lowercase()]);
    let strings = match target("sharedStrings") {
        Some(part) => {
            used.insert(part.to_ascii_lowercase());
            shared(&tree::parse(package.part(&part)?)?)
        }
        None => Vec::new(),
    };
    let names = root.child("s:definedNames").map_or(0, |names| names.elements().count());
    if names > 0 {
        *removed.entry("defined-name").or_insert(0) += u32::try_from(names).unwrap_or(u32::MAX);
    }
    let mut sheets = Vec::new();
    for entry in root.child("s:sheets")?.elements() {
        let relation = relations.iter().find(|relation| Some(relation.id.as_str()) == entry.attribute("r:id"))?;
        let part = relation.target.as_deref().filter(|_| relation.kind == "worksheet")?;
        used.insert(part.to_ascii_lowercase());
        if entry.attribute("state").is_some_and(|state| state != "visible") {
            count(removed, "hidden-sheet");
            continue;
        }
        let title = entry.attribute("name")?.to_owned();
        sheets.push((title, Sheet::read(&tree::parse(package.part(part)?)?, &strings, removed)?));
    }
    if sheets.is_empty() || sheets.len() > SHEETS_MAX {
        return None;
    }
    empty(&mut sheets, removed)?;
    let mut out = package::Writer::new();
    let since_1904 =
        root.child("s:workbookPr").and_then(|p| p.attribute("date1904")).is_some_and(|v| v == "1" || v == "true");
    write_book(&mut out, &sheets, since_1904);
    if let Some(part) = target("styles") {
        used.insert(part.to_ascii_lowercase());
        let mut styles = styles(&tree::parse(package.part(&part)?)?);
        styles.attributes = vec![("xmlns".to_owned(), tree::namespace("s").to_owned())];
        out.xml("xl/styles.xml", &styles, "s", &format!("{SHEET_TYPE}.styles+xml"));
        out.relate(MAIN, "styles", "styles.xml");
    } else if sheets.iter().any(|(_, sheet)| sheet.cells.values().any(|cell| cell.style.is_some())) {
        // A style that is nowhere: programs would not open it.
        sheets.iter_mut().flat_map(|(_, sheet)| sheet.cells.values_mut()).for_each(|cell| cell.style = None);
    }
    for (n, (_, sheet)) in sheets.iter().enumerate() {
        let name = format!("worksheets/sheet{}.xml", n + 1);
        out.text(&format!("xl/{name}"), sheet.write(), &format!("{SHEET_TYPE}.worksheet+xml"));
        out.relate(MAIN, "worksheet", &name);
    }
    package.leave(&used, removed);
    out.finish(MAIN)
}

#[derive(Clone, PartialEq, Eq)]
enum Value {
    Empty,
    Number(String),
    Text(String),
    Truth(bool),
    Error(String),
}

struct Cell {
    value: Value,
    style: Option<u32>,
    formula: Option<Leans>,
}

/// What a formula's value comes from.
enum Leans {
    /// Rectangles of its own sheet: first and last row and column.
    On(Vec<(usize, usize, usize, usize)>),
    /// Other sheets, names, functions that look elsewhere.
    OnAnything,
}

struct Sheet {
    /// By row and column, from nought.
    cells: BTreeMap<(usize, usize), Cell>,
    columns: Vec<Element>,
    merged: Vec<Element>,
}

impl Sheet {
    fn read(root: &Element, strings: &[String], removed: &mut Removed) -> Option<Sheet> {
        if root.name != "s:worksheet" {
            return None;
        }
        let mut sheet = Sheet { cells: BTreeMap::new(), columns: Vec::new(), merged: Vec::new() };
        for element in root.elements() {
            match element.name.as_str() {
                "s:sheetData" => sheet.rows(element, strings, removed)?,
                "s:cols" => sheet.columns = element.elements().filter(|e| e.name == "s:col").map(plain).collect(),
                "s:mergeCells" => {
                    sheet.merged = element.elements().filter(|e| e.name == "s:mergeCell").map(plain).collect();
                }
                "s:hyperlinks" => count(removed, "field"),
                "s:legacyDrawing" => count(removed, "comment"),
                "s:oleObjects" | "s:controls" => count(removed, "embedded-object"),
                // It shows something that is not built here.
                "s:drawing" | "s:legacyDrawingHF" | "s:picture" | "mc:AlternateContent" => return None,
                // Views, validations, filters, print set-up: they show nothing, and formulas hide in them.
                _ => {}
            }
        }
        Some(sheet)
    }

    fn rows(&mut self, data: &Element, strings: &[String], removed: &mut Removed) -> Option<()> {
        let mut row = 0;
        for element in data.elements().filter(|e| e.name == "s:row") {
            if let Some(number) = element.attribute("r") {
                row = number.parse::<usize>().ok()?.checked_sub(1)?;
            }
            let mut column = 0;
            for cell in element.elements().filter(|e| e.name == "s:c") {
                let place = match cell.attribute("r") {
                    Some(name) => place(name)?,
                    None => (row, column),
                };
                if place.0 != row || place.1 >= COLUMNS_MAX || row >= ROWS_MAX {
                    return None;
                }
                let read = Cell::read(cell, strings)?;
                if read.formula.is_some() {
                    count(removed, "formula");
                }
                if self.cells.insert(place, read).is_some() {
                    return None;
                }
                column = place.1 + 1;
            }
            row += 1;
        }
        Some(())
    }

    /// Its texts as they stand beside each other, and where each row and column of that is in the sheet.
    fn laid_out(&self) -> Option<(Vec<usize>, Vec<Vec<String>>)> {
        let mut rows: Vec<usize> = self.cells.keys().map(|(row, _)| *row).collect();
        rows.dedup();
        let mut texts: Vec<Vec<String>> = vec![Vec::new(); rows.len()];
        let mut all = 0;
        for ((row, column), cell) in &self.cells {
            let index = rows.binary_search(row).ok()?;
            let line = texts.get_mut(index)?;
            all += (column + 1).checked_sub(line.len())?;
            if all > LAID_OUT_MAX {
                return None;
            }
            line.resize(*column, String::new());
            line.push(cell.shown());
        }
        Some((rows, texts))
    }

    fn write(&self) -> String {
        let mut out = format!("{}<worksheet xmlns=\"{}\">", package::DECLARATION, tree::namespace("s"));
        list("cols", &self.columns, &mut out);
        out.push_str("<sheetData>");
        let mut row = None;
        for ((r, column), cell) in &self.cells {
            if row != Some(*r) {
                out.push_str(if row.is_some() { "</row>" } else { "" });
                out.push_str(&format!("<row r=\"{}\">", r + 1));
                row = Some(*r);
            }
            cell.write(&name_of(*r, *column), &mut out);
        }
        out.push_str(if row.is_some() { "</row>" } else { "" });
        out.push_str("</sheetData>");
        list("mergeCells", &self.merged, &mut out);
        out.push_str("</worksheet>");
        out
    }
}

fn list(name: &str, elements: &[Element], out: &mut String) {
    if elements.is_empty() {
        return;
    }
    out.push_str(&format!("<{name}>"));
    elements.iter().for_each(|element| element.write("s", out));
    out.push_str(&format!("</{name}>"));
}

impl Cell {
    fn read(cell: &Element, strings: &[String]) -> Option<Cell> {
        let written = cell.child("s:v").map(Element::text);
        let written = written.as_deref().map(str::trim).filter(|text| !text.is_empty());
        let value = match (cell.attribute("t").unwrap_or("n"), written) {
            ("inlineStr", _) => Value::Text(cell.child("s:is").map(string).unwrap_or_default()),
            ("str", _) => Value::Text(cell.child("s:v").map(Element::text).unwrap_or_default()),
            (_, None) => Value::Empty,
            ("s", Some(index)) => Value::Text(strings.get(index.parse::<usize>().ok()?)?.clone()),
            ("b", Some(bit)) => Value::Truth(bit == "1" || bit == "true"),
            ("e", Some(error)) => Value::Error(error.to_owned()),
            ("d", Some(date)) => Value::Text(date.to_owned()),
            ("n", Some(number)) => {
                number.parse::<f64>().ok().filter(|value| value.is_finite())?;
                Value::Number(number.to_owned())
            }
            _ => return None,
        };
        let formula = cell.child("s:f").map(|formula| Leans::of(&formula.text()));
        Some(Cell { value, style: cell.attribute("s").and_then(|s| s.parse().ok()), formula })
    }

    fn shown(&self) -> String {
        match &self.value {
            Value::Number(text) | Value::Text(text) | Value::Error(text) => text.clone(),
            Value::Empty | Value::Truth(_) => String::new(),
        }
    }

    fn write(&self, name: &str, out: &mut String) {
        let style = self.style.map(|style| format!(" s=\"{style}\"")).unwrap_or_default();
        let escaped = |text: &str| quick_xml::escape::escape(text).into_owned();
        out.push_str(&match &self.value {
            Value::Empty => format!("<c r=\"{name}\"{style}/>"),
            Value::Number(number) => format!("<c r=\"{name}\"{style}><v>{}</v></c>", escaped(number)),
            Value::Truth(truth) => format!("<c r=\"{name}\"{style} t=\"b\"><v>{}</v></c>", u8::from(*truth)),
            Value::Error(error) => format!("<c r=\"{name}\"{style} t=\"e\"><v>{}</v></c>", escaped(error)),
            Value::Text(text) => format!(
                "<c r=\"{name}\"{style} t=\"inlineStr\"><is><t xml:space=\"preserve\">{}</t></is></c>",
                escaped(text)
            ),
        });
    }
}

impl Leans {
    /// Reads the references of a formula; what is not plainly a reference or a number leans on anything.
    fn of(formula: &str) -> Leans {
        /// Functions that name a cell by a computed place.
        const ELSEWHERE: [&str; 6] = ["INDIRECT", "OFFSET", "INDEX", "LOOKUP", "CELL", "GETPIVOTDATA"];
        let upper = formula.to_ascii_uppercase();
        // Without text it is one of a shared group, and its references stand elsewhere.
        if formula.trim().is_empty()
            || upper.contains(['!', '[', '"', '\''])
            || ELSEWHERE.iter().any(|f| upper.contains(f))
        {
            return Leans::OnAnything;
        }
        let mut on = Vec::new();
        let words = upper.split(|c: char| !c.is_alphanumeric() && !matches!(c, '$' | ':' | '.' | '_'));
        for word in words.filter(|word| !word.is_empty() && word.parse::<f64>().is_err()) {
            let (first, last) = word.split_once(':').unwrap_or((word, word));
            let bare = |name: &str| place(&name.replace('$', ""));
            match (bare(first), bare(last)) {
                (Some(a), Some(b)) => on.push((a.0.min(b.0), a.1.min(b.1), a.0.max(b.0), a.1.max(b.1))),
                _ if upper.contains(&format!("{word}(")) => {}
                _ => return Leans::OnAnything,
            }
        }
        Leans::On(on)
    }

    fn touches(&self, gone: &BTreeSet<(usize, usize)>) -> bool {
        let Leans::On(areas) = self else { return true };
        areas.iter().any(|(top, left, bottom, right)| {
            gone.range((*top, 0)..=(*bottom, COLUMNS_MAX)).any(|(_, column)| (left..=right).contains(&column))
        })
    }
}

/// Empties the cells that carry coordinates, and the formulas whose values come from them.
fn empty(sheets: &mut [(String, Sheet)], removed: &mut Removed) -> Option<()> {
    let mut all: Vec<BTreeSet<(usize, usize)>> = Vec::new();
    for (_, sheet) in sheets.iter() {
        let (rows, texts) = sheet.laid_out()?;
        let gone = grid::condemned(&texts)?;
        all.push(gone.into_iter().filter_map(|(row, column)| Some((*rows.get(row)?, column))).collect());
    }
    let any = all.iter().any(|gone| !gone.is_empty());
    for _ in 0..CHAIN_MAX {
        let before: usize = all.iter().map(BTreeSet::len).sum();
        for ((_, sheet), gone) in sheets.iter().zip(&mut all).filter(|_| any) {
            let leaning = sheet.cells.iter().filter(|(_, cell)| cell.formula.as_ref().is_some_and(|f| f.touches(gone)));
            let leaning: Vec<(usize, usize)> = leaning.map(|(place, _)| *place).collect();
            gone.extend(leaning);
        }
        if all.iter().map(BTreeSet::len).sum::<usize>() == before {
            for ((_, sheet), gone) in sheets.iter_mut().zip(&all) {
                for place in gone {
                    if let Some(cell) = sheet.cells.get_mut(place) {
                        cell.value = Value::Empty;
                        count(removed, "cell");
                    }
                }
            }
            return Some(());
        }
    }
    None
}

/// `BC12`: row and column, from nought.
fn place(name: &str) -> Option<(usize, usize)> {
    let digits = name.find(|c: char| c.is_ascii_digit())?;
    let (letters, number) = name.split_at(digits);
    let letter = |n: usize, b: u8| b.is_ascii_uppercase().then(|| n * 26 + usize::from(b - b'A') + 1);
    let column = letters.bytes().take(4).try_fold(0_usize, letter)?.checked_sub(1)?;
    let row = number.parse::<usize>().ok()?.checked_sub(1)?;
    (column < COLUMNS_MAX && row < ROWS_MAX).then_some((row, column))
}

fn name_of(row: usize, column: usize) -> String {
    let mut letters = Vec::new();
    let mut rest = column + 1;
    while rest > 0 {
        letters.push(b'A' + u8::try_from((rest - 1) % 26).unwrap_or(0));
        rest = (rest - 1) / 26;
    }
    letters.reverse();
    format!("{}{}", String::from_utf8_lossy(&letters), row + 1)
}

/// The strings of the list that cells share.
fn shared(root: &Element) -> Vec<String> {
    root.elements().filter(|element| element.name == "s:si").map(string).collect()
}

/// A string as it is shown: its pieces, without how it is pronounced.
fn string(item: &Element) -> String {
    let mut out = String::new();
    for element in item.elements() {
        match element.name.as_str() {
            "s:t" => out.push_str(&element.text()),
            "s:r" => out.push_str(&element.child("s:t").map(Element::text).unwrap_or_default()),
            _ => {}
        }
    }
    out
}

/// Attributes without prefix, and nothing inside. Nothing stays hidden that was looked at in the open.
fn plain(old: &Element) -> Element {
    let is_plain = |(key, value): &&(String, String)| {
        !key.contains(':') && key != "hidden" && value.chars().count() <= STYLE_CHARS_MAX
    };
    let attributes = old.attributes.iter().filter(is_plain).cloned().collect();
    Element { name: old.name.clone(), attributes, children: Vec::new() }
}

/// Number formats, fonts, fills, borders and what cells make of them; no text.
fn styles(old: &Element) -> Element {
    const KEPT: [&str; 7] =
        ["s:numFmts", "s:fonts", "s:fills", "s:borders", "s:cellStyleXfs", "s:cellXfs", "s:cellStyles"];
    let mut new = plain(old);
    let inside = old.elements().filter(|element| element.name.starts_with("s:"));
    for element in inside.filter(|element| old.name != "s:styleSheet" || KEPT.contains(&element.name.as_str())) {
        if element.name != "s:extLst" {
            new.children.push(Node::Element(styles(element)));
        }
    }
    new
}

fn write_book(out: &mut package::Writer, sheets: &[(String, Sheet)], since_1904: bool) {
    let mut book = format!(
        "{}<workbook xmlns=\"{}\" xmlns:r=\"{}\">",
        package::DECLARATION,
        tree::namespace("s"),
        tree::namespace("r")
    );
    if since_1904 {
        book.push_str("<workbookPr date1904=\"1\"/>");
    }
    book.push_str("<sheets>");
    // The styles come first among the relationships, if there are any; sheets are told apart by their own names.
    for (n, (title, _)) in sheets.iter().enumerate() {
        let title = quick_xml::escape::escape(title.as_str());
        book.push_str(&format!("<sheet name=\"{title}\" sheetId=\"{0}\" r:id=\"worksheet{0}\"/>", n + 1));
    }
    book.push_str("</sheets></workbook>");
    out.text(MAIN, book, &format!("{SHEET_TYPE}.sheet.main+xml"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_have_names() {
        for (name, at) in [("A1", (0, 0)), ("Z9", (8, 25)), ("AA10", (9, 26)), ("XFD1048576", (1_048_575, 16_383))] {
            assert_eq!(place(name), Some(at));
            assert_eq!(name_of(at.0, at.1), name);
        }
        for bad in ["", "A", "1", "A0", "XFE1", "A1048577", "a1", "A1B"] {
            assert_eq!(place(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_formula_leans_on_what_it_names() {
        let gone = BTreeSet::from([(1, 0)]);
        for (formula, touches) in [
            ("A2", true),
            ("$A$2*2", true),
            ("SUM(A1:B9)", true),
            ("SUM(B1:B9)", false),
            ("C2+C3", false),
            ("ROUND(C2,2)+1.5", false),
            ("Sheet2!C1", true),
            ("total*2", true),
            ("INDIRECT(C1)", true),
            ("IF(C1,\"A\",1)", true),
            ("", true),
        ] {
            assert_eq!(Leans::of(formula).touches(&gone), touches, "{formula}");
        }
    }
}
