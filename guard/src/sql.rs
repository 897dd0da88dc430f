//! SQL as tables: the columns that a statement lists are a header, and its values the rows. Knows nothing of what a
//! column means.
//!
//! ```text
//! INSERT INTO name (column, …) VALUES (value, …), (value, …);      one table for all statements of the same columns
//! INSERT name (column, …) VALUES (value, …)                        INTO may be left out
//! CREATE TABLE name (column type, …); INSERT INTO name VALUES …    the columns of the one are those of the other
//! COPY name (column, …) FROM stdin …;  rows with tabs, or as its options say, to a line `\.`
//! ```

use std::collections::BTreeMap;
use std::ops::Range;

use crate::table::quoted_cells;

/// Columns of one table.
const COLUMNS_MAX: usize = 256;
/// A list of columns is not longer than this.
const LIST_BYTES_MAX: usize = 8_192;
/// A name of a table, with its schema.
const NAME_BYTES_MAX: usize = 256;
/// Lists of columns that are kept apart; a dump has one for each table. A text that asks for more was made to.
const TABLES_MAX: usize = 512;

/// Rows under a header, with tabs between the cells.
pub(crate) struct Table {
    /// Where the first of its statements stands.
    pub at: usize,
    /// The header and the rows.
    pub text: String,
}

/// Every table of a text whose header is asked for. `None`: they are more than anybody keeps apart.
pub(crate) fn tables(text: &str, is_asked_for: impl Fn(&[&str]) -> bool) -> Option<Vec<Table>> {
    let mut tables: Vec<Table> = Vec::new();
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    let mut created: BTreeMap<&str, usize> = BTreeMap::new();
    let mut from = 0;
    while let Some(statement) = next(text, from) {
        from = statement.behind;
        let nth = match statement.columns {
            Columns::Earlier => created.get(statement.name).copied(),
            Columns::Listed(list) | Columns::Created(list) => {
                let mut cells = elements(text.get(list).unwrap_or("")).0;
                if statement.rows == Rows::Later {
                    cells = cells.into_iter().map(first_word).collect();
                }
                let header = cells.join("\t");
                match known.get(&header) {
                    _ if cells.len() < 2 || !is_asked_for(&cells) => None,
                    Some(nth) => Some(*nth),
                    None if known.len() >= TABLES_MAX => return None,
                    None => {
                        tables.push(Table { at: statement.at, text: format!("{header}\n") });
                        known.insert(header, tables.len() - 1);
                        Some(tables.len() - 1)
                    }
                }
            }
        };
        let Some((nth, table)) = nth.and_then(|nth| Some((nth, tables.get_mut(nth)?))) else {
            // The bracket of values that nobody asks for is not looked at again.
            from = from.max(statement.after);
            continue;
        };
        let rest = text.get(from..).unwrap_or("");
        from += match statement.rows {
            Rows::Listed => listed(rest, &mut table.text),
            Rows::Copied => copied(rest, &mut table.text),
            Rows::Later if created.len() >= TABLES_MAX => return None,
            Rows::Later => {
                created.insert(statement.name, nth);
                0
            }
        };
    }
    Some(tables)
}

/// Where the columns of a statement stand.
enum Columns {
    /// In the statement.
    Listed(Range<usize>),
    /// In the statement, with their types, and no values behind them.
    Created(Range<usize>),
    /// Where the table was created.
    Earlier,
}

struct Statement<'t> {
    at: usize,
    name: &'t str,
    columns: Columns,
    /// Where its values begin.
    behind: usize,
    /// Behind the bracket that it was found by.
    after: usize,
    rows: Rows,
}

/// How the rows of a statement are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rows {
    /// In brackets.
    Listed,
    /// As lines behind it.
    Copied,
    /// By a statement that comes later.
    Later,
}

/// The next list of columns with values behind it, or values whose columns were listed before.
fn next(text: &str, mut from: usize) -> Option<Statement<'_>> {
    let bytes = text.as_bytes();
    loop {
        from += memchr::memchr(b'(', bytes.get(from..)?)?;
        let open = from;
        from += 1;
        let Some((at, name, verb)) = opening(text, open) else { continue };
        if verb == Verb::Values {
            return Some(Statement {
                at,
                name,
                columns: Columns::Earlier,
                behind: open,
                rows: Rows::Listed,
                after: from,
            });
        }
        let list = bytes.get(open + 1..bytes.len().min(open + 1 + LIST_BYTES_MAX))?;
        if verb == Verb::Create {
            let Some(end) = closing(list).map(|end| open + 1 + end) else { continue };
            return Some(Statement {
                at,
                name,
                columns: Columns::Created(open + 1..end),
                behind: end,
                rows: Rows::Later,
                after: from,
            });
        }
        let Some(end) = memchr::memchr(b')', list).map(|end| open + 1 + end) else { continue };
        let behind = bytes.get(end + 1..)?;
        let blank = behind.iter().take_while(|b| b.is_ascii_whitespace()).count();
        let word = |word: &[u8]| behind.get(blank..blank + word.len()).is_some_and(|b| b.eq_ignore_ascii_case(word));
        let (rows, length) = match () {
            () if word(b"values") => (Rows::Listed, 6),
            () if word(b"value") => (Rows::Listed, 5),
            () if word(b"from stdin") => (Rows::Copied, 10),
            () => continue,
        };
        let columns = Columns::Listed(open + 1..end);
        return Some(Statement { at, name, columns, behind: end + 1 + blank + length, rows, after: from });
    }
}

/// The bracket that closes a list of columns with their types: `decimal(12,3)` has one of its own, and what goes deeper
/// is looked at no further, lest one long text be read once for each of its brackets.
fn closing(list: &[u8]) -> Option<usize> {
    const DEPTH_MAX: u32 = 2;
    let mut depth = 0_u32;
    for (at, byte) in list.iter().enumerate() {
        match byte {
            b'(' if depth == DEPTH_MAX => return None,
            b'(' => depth += 1,
            b')' if depth == 0 => return Some(at),
            b')' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// What a statement begins with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    /// A list of columns follows.
    List,
    /// And their types.
    Create,
    /// Values follow.
    Values,
}

/// `INTO name`, `INSERT name`, `COPY name`, `CREATE TABLE name` or `INTO name VALUES` before a bracket: where its name
/// stands, and the bare name.
fn opening(text: &str, open: usize) -> Option<(usize, &str, Verb)> {
    let bytes = text.as_bytes();
    let before = bytes.get(open.saturating_sub(NAME_BYTES_MAX)..open)?;
    let mut words = before.split(u8::is_ascii_whitespace).rev().filter(|word| !word.is_empty());
    let is = |word: &[u8], any: &[&str]| any.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes()));
    let verb_of = |word: &[u8]| {
        let verb = word.rsplit(|b| !b.is_ascii_alphabetic()).next().unwrap_or_default();
        match () {
            () if is(verb, &["into", "insert", "copy", "replace"]) => Some(Verb::List),
            () if is(verb, &["table", "exists"]) => Some(Verb::Create),
            () => None,
        }
    };
    let mut name = words.next()?;
    let has_values = is(name, &["values", "value"]);
    if has_values {
        name = words.next()?;
    }
    let verb = match (verb_of(words.next()?)?, has_values) {
        (Verb::List, true) => Verb::Values,
        (_, true) => return None,
        (verb, false) => verb,
    };
    let at = name.as_ptr().addr().checked_sub(bytes.as_ptr().addr())?;
    let whole = text.get(at..at + name.len()).unwrap_or("");
    let bare = whole.rsplit('.').next().unwrap_or("").trim_matches(is_quote);
    Some((at, bare, verb))
}

fn is_quote(c: char) -> bool {
    matches!(c, '\'' | '"' | '`' | '[' | ']' | '\\')
}

/// The name of a column before its type.
fn first_word(column: &str) -> &str {
    column.split(|c: char| c.is_whitespace() || is_quote(c)).find(|word| !word.is_empty()).unwrap_or("")
}

/// Lines, with tabs or what the options of the statement say, to one that is nothing but the end mark. Answers how far
/// they reach.
fn copied(text: &str, rows: &mut String) -> usize {
    let start = text.find('\n').map_or(text.len(), |end| end + 1);
    let divider = divider_of(text.get(..start).unwrap_or(""));
    let mut reach = start;
    for line in text.get(start..).unwrap_or("").split_inclusive('\n') {
        let row = line.trim_end_matches(['\r', '\n']);
        if row == "\\." {
            break;
        }
        reach += line.len();
        if divider == '\t' {
            rows.push_str(row);
        } else {
            for cell in quoted_cells(row, divider) {
                rows.push_str(cell.trim());
                rows.push('\t');
            }
        }
        rows.push('\n');
    }
    reach
}

/// What stands between the cells: a comma in CSV, and whatever the options name.
fn divider_of(options: &str) -> char {
    let lower = options.to_ascii_lowercase();
    let named = lower.split_once("delimiter").and_then(|(_, rest)| rest.split('\'').nth(1)?.chars().next());
    match named {
        Some('\\') => '\t',
        Some(named) => named,
        None if lower.contains("csv") => ',',
        None => '\t',
    }
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
        let inside = |c: char| c.is_whitespace() || is_quote(c);
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
        tables(text, |_| true).into_iter().flatten().map(|table| table.text).collect()
    }

    #[test]
    fn statements_of_the_same_columns_are_one_table() {
        let text = "INSERT INTO `t` (`a`,[b]) VALUES (1,'x, (y)'),(2, NULL);\ninsert into u (c, d) values ('it''s', f(1,2));\nINSERT INTO t (a, b) VALUES (3,4);";
        assert_eq!(texts(text), ["a\tb\n1\tx, (y)\t\n2\tNULL\t\n3\t4\t\n", "c\td\nit''s\tf(1,2)\t\n"]);
        assert_eq!(texts("COPY public.t (a, b) FROM stdin;\n1\t2\n3\t4\n\\.\nx\ty\n"), ["a\tb\n1\t2\n3\t4\n"]);
        assert!(texts("SELECT f(a, b) FROM t; INSERT INTO t VALUES (1,2)").is_empty());
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
        assert!(tables(&many, |_| true).is_none(), "a row stands under its own header or under none");
        assert_eq!(tables(&many, |header| header == ["a7", "b"]).map(|tables| tables.len()), Some(1));
    }

    #[test]
    fn the_end_of_a_copy_is_a_whole_line_and_its_cells_are_divided_as_its_options_say() {
        assert_eq!(texts("COPY t (a, b) FROM stdin;\nD:\\a\\.b\t1\nx\t2\n\\.\ny\t3\n"), ["a\tb\nD:\\a\\.b\t1\nx\t2\n"]);
        for (options, row) in
            [("WITH (FORMAT csv)", "1,2"), ("CSV", "1,2"), ("WITH DELIMITER '|'", "1|2"), ("DELIMITER E'\\t'", "1\t2")]
        {
            let text = texts(&format!("COPY t (a, b) FROM STDIN {options};\n{row}\n\\.\n")).concat();
            assert_eq!(text.trim_end(), "a\tb\n1\t2", "{options}");
        }
    }

    #[test]
    fn the_columns_of_a_created_table_are_those_of_the_values_that_list_none() {
        let create = "CREATE TABLE IF NOT EXISTS `jzd` (\n  `id` int(11) NOT NULL,\n  `x` decimal(12,3),\n  y double,\n  PRIMARY KEY (`id`)\n);\n";
        assert_eq!(
            texts(&format!(
                "{create}INSERT INTO `jzd` VALUES (1,2.5,3.5),(2,4.5,5.5);\nINSERT INTO other VALUES (1,2);"
            )),
            ["id\tx\ty\tPRIMARY\n1\t2.5\t3.5\t\n2\t4.5\t5.5\t\n"]
        );
        assert_eq!(texts("INSERT [dbo].[JZD] ([ID], [X]) VALUES (1, 2)"), ["ID\tX\n1\t2\t\n"]);
    }
}
