//! Workbooks and letters as office programs write them, with every place in which something can hide.

use crate::papers::zip_of;

const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>";
const MAIN: &str = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
const OFFICE: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
const PACKAGE: &str = "http://schemas.openxmlformats.org/package/2006";
const WORD: &str = "http://schemas.openxmlformats.org/wordprocessingml/2006/main";

/// A document in parts.
#[derive(Clone, Default)]
pub struct Parts(Vec<(String, Vec<u8>)>);

impl Parts {
    /// Puts a part in, or in the place of one of this name.
    pub fn put(&mut self, name: &str, bytes: impl Into<Vec<u8>>) -> &mut Parts {
        self.0.retain(|(other, _)| other != name);
        self.0.push((name.to_owned(), bytes.into()));
        self
    }

    /// The archive.
    #[must_use]
    pub fn zip(&self) -> Vec<u8> {
        let parts: Vec<(&str, &[u8])> = self.0.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
        zip_of(&parts, false)
    }
}

fn relations(of: &[(&str, &str, &str)]) -> String {
    let each = of
        .iter()
        .map(|(id, kind, target)| format!("<Relationship Id=\"{id}\" Type=\"{OFFICE}/{kind}\" Target=\"{target}\"/>"));
    format!("{HEAD}<Relationships xmlns=\"{PACKAGE}/relationships\">{}</Relationships>", each.collect::<String>())
}

fn types(main: &str, kind: &str) -> String {
    format!(
        "{HEAD}<Types xmlns=\"{PACKAGE}/content-types\"><Default Extension=\"rels\" ContentType=\"application/vnd.openxmlformats-package.relationships+xml\"/><Default Extension=\"xml\" ContentType=\"application/xml\"/><Override PartName=\"/{main}\" ContentType=\"application/vnd.openxmlformats-officedocument.{kind}.main+xml\"/></Types>"
    )
}

/// One sheet: its title, whether it is hidden, and what stands between `<sheetData>` and `</sheetData>`.
pub struct Sheet<'a> {
    /// Its title.
    pub title: &'a str,
    /// Is it hidden?
    pub hidden: bool,
    /// Its rows, as XML.
    pub rows: String,
}

/// Rows of shared strings and numbers; the strings are added to the list.
#[must_use]
pub fn rows(table: &[&[&str]], strings: &mut Vec<String>) -> String {
    let mut out = String::new();
    for (n, row) in table.iter().enumerate() {
        out.push_str(&format!("<row r=\"{}\">", n + 1));
        for (value, column) in row.iter().zip('A'..='Z') {
            let place = format!("{column}{}", n + 1);
            if let Some(formula) = value.strip_prefix('=') {
                let (formula, cached) = formula.split_once('=').unwrap_or((formula, ""));
                out.push_str(&format!("<c r=\"{place}\"><f>{formula}</f><v>{cached}</v></c>"));
            } else if value.len() < 15 && value.parse::<f64>().is_ok() {
                out.push_str(&format!("<c r=\"{place}\"><v>{value}</v></c>"));
            } else if !value.is_empty() {
                out.push_str(&format!("<c r=\"{place}\" t=\"s\"><v>{}</v></c>", strings.len()));
                strings.push((*value).to_owned());
            }
        }
        out.push_str("</row>");
    }
    out
}

/// A workbook of these sheets.
#[must_use]
pub fn workbook(sheets: &[Sheet<'_>], strings: &[String]) -> Parts {
    let mut parts = Parts::default();
    parts.put("[Content_Types].xml", types("xl/workbook.xml", "spreadsheetml.sheet"));
    parts.put("_rels/.rels", relations(&[("rId1", "officeDocument", "xl/workbook.xml")]));
    let mut listed = String::new();
    let mut related = vec![("rIdS".to_owned(), "sharedStrings".to_owned(), "sharedStrings.xml".to_owned())];
    for (n, sheet) in sheets.iter().enumerate() {
        let state = if sheet.hidden { " state=\"hidden\"" } else { "" };
        listed.push_str(&format!("<sheet name=\"{}\" sheetId=\"{1}\"{state} r:id=\"rId{1}\"/>", sheet.title, n + 1));
        related.push((format!("rId{}", n + 1), "worksheet".to_owned(), format!("worksheets/sheet{}.xml", n + 1)));
        parts.put(
            &format!("xl/worksheets/sheet{}.xml", n + 1),
            format!("{HEAD}<worksheet xmlns=\"{MAIN}\"><sheetData>{}</sheetData></worksheet>", sheet.rows),
        );
    }
    let related: Vec<(&str, &str, &str)> =
        related.iter().map(|(a, b, c)| (a.as_str(), b.as_str(), c.as_str())).collect();
    parts.put("xl/_rels/workbook.xml.rels", relations(&related));
    parts.put(
        "xl/workbook.xml",
        format!("{HEAD}<workbook xmlns=\"{MAIN}\" xmlns:r=\"{OFFICE}\"><sheets>{listed}</sheets></workbook>"),
    );
    let escaped = |text: &String| text.replace('&', "&amp;").replace('<', "&lt;");
    let strings: String = strings.iter().map(|text| format!("<si><t>{}</t></si>", escaped(text))).collect();
    parts.put("xl/sharedStrings.xml", format!("{HEAD}<sst xmlns=\"{MAIN}\">{strings}</sst>"));
    parts
}

/// A workbook of one sheet of this table; `=formula=value` is a formula and the value that was cached for it.
#[must_use]
pub fn table(table: &[&[&str]]) -> Parts {
    let mut strings = Vec::new();
    let rows = rows(table, &mut strings);
    workbook(&[Sheet { title: "Sheet1", hidden: false, rows }], &strings)
}

/// A letter with this body.
#[must_use]
pub fn letter(body: &str) -> Parts {
    let mut parts = Parts::default();
    parts.put("[Content_Types].xml", types("word/document.xml", "wordprocessingml.document"));
    parts.put("_rels/.rels", relations(&[("rId1", "officeDocument", "word/document.xml")]));
    parts.put(
        "word/document.xml",
        format!("{HEAD}<w:document xmlns:w=\"{WORD}\" xmlns:r=\"{OFFICE}\"><w:body>{body}</w:body></w:document>"),
    );
    parts
}

/// Relationships of a letter's main part.
pub fn relate(parts: &mut Parts, part: &str, of: &[(&str, &str, &str)]) {
    let (folder, name) = part.rsplit_once('/').expect("a part in a folder");
    parts.put(&format!("{folder}/_rels/{name}.rels"), relations(of));
}

/// A part of a letter: `hdr`, `comments`.
#[must_use]
pub fn story(root: &str, inside: &str) -> String {
    format!("{HEAD}<w:{root} xmlns:w=\"{WORD}\" xmlns:r=\"{OFFICE}\">{inside}</w:{root}>")
}

/// A paragraph, cut into these runs.
#[must_use]
pub fn paragraph(runs: &[&str]) -> String {
    let runs: String = runs
        .iter()
        .map(|run| {
            format!("<w:r><w:t xml:space=\"preserve\">{}</w:t></w:r>", run.replace('&', "&amp;").replace('<', "&lt;"))
        })
        .collect();
    format!("<w:p>{runs}</w:p>")
}

/// A table of one paragraph a cell.
#[must_use]
pub fn word_table(rows: &[&[&str]]) -> String {
    let row = |cells: &&[&str]| {
        let cells: String = cells.iter().map(|cell| format!("<w:tc>{}</w:tc>", paragraph(&[cell]))).collect();
        format!("<w:tr>{cells}</w:tr>")
    };
    format!("<w:tbl><w:tblPr/><w:tblGrid/>{}</w:tbl>", rows.iter().map(row).collect::<String>())
}
