//! SQL as tables: the columns that a statement lists are a header, and its values the rows. Knows nothing of what a
//! column means.
//!
//! ```text
//! INSERT INTO name (column, …) VALUES (value, …), (value, …);      one table for all statements of the same columns
//! COPY name (column, …) FROM stdin;  rows with tabs, to a line `\.`
//! ```

use std::collections::BTreeMap;
use std::ops::Range;

/// Columns of one table.
const COLUMNS_MAX: usize = 256;
/// A list of columns is not longer than this.
const LIST_BYTES_MAX: usize = 8_192;
/// A name of a table, with its schema.
const NAME_BYTES_MAX: usize = 256;
/// Lists of columns that are kept apart; a dump has one for each table. What stands below more is one table.
const TABLES_MAX: usize = 512;

/// Rows under a header, with tabs between the cells.
pub(crate) struct Table {
    /// Where the first of its statements stands.
    pub at: usize,
    /// The header and the rows.
    pub text: String,
}

/// Every table of a text whose header is asked for.
pub(crate) fn tables(text: &str, is_asked_for: impl Fn(&[&str]) -> bool) -> Vec<Table> {
    let mut tables: Vec<Table> = Vec::new();
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    let mut from = 0;
    while let Some(statement) = next(text, from) {
        from = statement.behind;
        let cells = elements(text.get(statement.columns).unwrap_or("")).0;
        if cells.len() < 2 || !is_asked_for(&cells) {
            continue;
        }
        let header = cells.join("\t");
        let nth = match known.get(&header) {
            Some(nth) => *nth,
            None if known.len() >= TABLES_MAX => tables.len().saturating_sub(1),
            None => {
                tables.push(Table { at: statement.at, text: format!("{header}\n") });
                known.insert(header, tables.len() - 1);
                tables.len() - 1
            }
        };
        let Some(table) = tables.get_mut(nth) else { continue };
        let rest = text.get(from..).unwrap_or("");
        from += if statement.copies { copied(rest, &mut table.text) } else { listed(rest, &mut table.text) };
    }
    tables
}

struct Statement {
    at: usize,
    columns: Range<usize>,
    /// Where its values begin.
    behind: usize,
    /// The rows stand as lines behind it.
    copies: bool,
}

/// The next list of columns with values behind it.
fn next(text: &str, mut from: usize) -> Option<Statement> {
    let bytes = text.as_bytes();
    loop {
        from += memchr::memchr(b'(', bytes.get(from..)?)?;
        let open = from;
        from += 1;
        let Some(at) = opening(bytes, open) else { continue };
        let list = bytes.get(open + 1..bytes.len().min(open + 1 + LIST_BYTES_MAX))?;
        let Some(end) = memchr::memchr(b')', list).map(|end| open + 1 + end) else { continue };
        let behind = bytes.get(end + 1..)?;
        let blank = behind.iter().take_while(|b| b.is_ascii_whitespace()).count();
        let word = |word: &[u8]| behind.get(blank..blank + word.len()).is_some_and(|b| b.eq_ignore_ascii_case(word));
        let (copies, length) = match () {
            () if word(b"values") => (false, 6),
            () if word(b"value") => (false, 5),
            () if word(b"from stdin") => (true, 10),
            () => continue,
        };
        return Some(Statement { at, columns: open + 1..end, behind: end + 1 + blank + length, copies });
    }
}

/// `INTO name` or `COPY name` before a bracket.
fn opening(bytes: &[u8], open: usize) -> Option<usize> {
    let before = bytes.get(open.saturating_sub(NAME_BYTES_MAX)..open)?;
    let mut words = before.split(u8::is_ascii_whitespace).rev().filter(|word| !word.is_empty());
    let (name, verb) = (words.next()?, words.next()?);
    let verb = verb.rsplit(|b| !b.is_ascii_alphabetic()).next()?;
    (verb.eq_ignore_ascii_case(b"into") || verb.eq_ignore_ascii_case(b"copy")).then(|| open.saturating_sub(name.len()))
}

/// Lines with tabs, as they are. Answers how far they reach.
fn copied(text: &str, rows: &mut String) -> usize {
    let start = text.find('\n').map_or(text.len(), |end| end + 1);
    let rest = text.get(start..).unwrap_or("");
    let end = rest.find("\\.").unwrap_or(rest.len());
    rows.push_str(rest.get(..end).unwrap_or(""));
    rows.push('\n');
    start + end
}

/// `(value, …), (value, …)`. Answers how far they reach.
fn listed(text: &str, rows: &mut String) -> usize {
    let mut at = 0;
    loop {
        let rest = text.get(at..).unwrap_or("");
        let inside = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        let Some(values) = inside.strip_prefix('(') else { return at };
        let (cells, reach) = elements(values);
        for cell in cells {
            rows.extend(cell.chars().map(|c| if c.is_whitespace() { ' ' } else { c }));
            rows.push('\t');
        }
        rows.push('\n');
        at += rest.len() - values.len() + reach;
    }
}

/// The elements of a list up to the bracket that closes it, without quotes, and how far it reaches.
fn elements(text: &str) -> (Vec<&str>, usize) {
    let bare = |element: &'_ str| -> Range<usize> {
        let inside = |c: char| c.is_whitespace() || matches!(c, '\'' | '"' | '`' | '[' | ']' | '\\');
        let start = element.len() - element.trim_start_matches(inside).len();
        start..element.trim_end_matches(inside).len().max(start)
    };
    let mut cells = Vec::new();
    let (mut from, mut depth, mut quote, mut escaped) = (0, 0_u32, None, false);
    let mut push = |from: usize, to: usize| {
        let element = text.get(from..to).unwrap_or("");
        if cells.len() < COLUMNS_MAX {
            cells.push(element.get(bare(element)).unwrap_or(""));
        }
    };
    for (at, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), b'\\') => escaped = true,
            (Some(open), byte) if open == byte => quote = None,
            (Some(_), _) => {}
            (None, b'\'' | b'`') => quote = Some(byte),
            (None, b'(') => depth += 1,
            (None, b')') if depth == 0 => {
                push(from, at);
                return (cells, at + 1);
            }
            (None, b')') => depth -= 1,
            (None, b',') if depth == 0 => {
                push(from, at);
                from = at + 1;
            }
            _ => {}
        }
    }
    push(from, text.len());
    (cells, text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        tables(text, |_| true).into_iter().map(|table| table.text).collect()
    }

    #[test]
    fn statements_of_the_same_columns_are_one_table() {
        let text = "INSERT INTO `t` (`a`,[b]) VALUES (1,'x, (y)'),(2, NULL);\ninsert into u (c, d) values ('it''s', f(1,2));\nINSERT INTO t (a, b) VALUES (3,4);";
        assert_eq!(texts(text), ["a\tb\n1\tx, (y)\t\n2\tNULL\t\n3\t4\t\n", "c\td\nit''s\tf(1,2)\t\n"]);
        assert_eq!(texts("COPY public.t (a, b) FROM stdin;\n1\t2\n3\t4\n\\.\nx\ty\n"), ["a\tb\n1\t2\n3\t4\n\n"]);
        assert!(texts("CREATE TABLE t (a int, b int); SELECT f(a, b) FROM t; INSERT INTO t VALUES (1,2)").is_empty());
    }

    #[test]
    fn what_is_broken_ends_where_it_ends() {
        for text in ["INSERT INTO t (a", "INSERT INTO t (a,b) VALUES (1,'2", "COPY t (a,b) FROM stdin;", "into ((((("] {
            for (end, _) in text.char_indices() {
                let _ = texts(&text[..end]);
            }
            let _ = texts(text);
        }
        let many: String = (0..2_000).map(|n| format!("INSERT INTO t (a{n},b) VALUES (1,2);")).collect();
        assert_eq!(texts(&many).len(), TABLES_MAX);
    }
}
