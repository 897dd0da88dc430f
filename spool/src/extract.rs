//! Records of a period as JSON lines or CSV, a line each, for spreadsheets and other people's programs. Streams: a
//! ledger of any length takes the memory of one segment. The columns are fixed; a new one is only ever added at the end.

use std::io::{self, Write};

use protocol::ledger::Record;
use protocol::{Name, Timestamp};
use serde_json::{Map, Value, json};

use crate::segment::Stored;

/// How the lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line; every column stands in each, empty ones as null.
    Jsonl,
    /// RFC 4180, with a line of names first.
    Csv,
}

impl Format {
    /// The word for it, and the suffix of its files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Format::Jsonl => "jsonl",
            Format::Csv => "csv",
        }
    }
}

impl std::str::FromStr for Format {
    type Err = String;
    fn from_str(word: &str) -> Result<Format, String> {
        let found = [Format::Jsonl, Format::Csv].into_iter().find(|format| format.name() == word);
        found.ok_or_else(|| "a format is jsonl or csv".to_owned())
    }
}

/// The columns, in order. `docs/operations.md` lists them.
const COLUMNS: [&str; 23] = [
    "index",
    "at",
    "event",
    "parcel",
    "bundle",
    "origin",
    "route",
    "type",
    "peer",
    "crossing",
    "epoch",
    "sequence",
    "through",
    "digest",
    "outcome",
    "reason",
    "person",
    "trip",
    "bytes",
    "local",
    "head_log",
    "head_records",
    "head_root",
];
/// What stands behind them with `--local`.
const LOCAL_COLUMNS: [&str; 2] = ["name", "labels"];
/// What was added since, behind everything: whoever reads the columns by their place goes on reading the same ones.
const LATER_COLUMNS: [&str; 1] = ["medium"];

/// Which records are wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The first moment.
    pub from: Timestamp,
    /// The moment after the last.
    pub until: Timestamp,
    /// Only records that name this person.
    pub person: Option<Name>,
    /// Only records that name this medium.
    pub medium: Option<Name>,
}

impl Wanted {
    /// Is this record one of them?
    #[must_use]
    pub fn fits(&self, record: &Record) -> bool {
        (self.from..self.until).contains(&record.at)
            && (self.person.is_none() || self.person == record.person)
            && (self.medium.is_none() || self.medium == record.medium)
    }
}

/// Writes lines. How many, it counts.
pub struct Extract<W> {
    out: W,
    format: Format,
    local: bool,
    /// Lines written.
    pub lines: u64,
}

impl<W: Write> Extract<W> {
    /// Begins; CSV with the names of the columns.
    pub fn begin(mut out: W, format: Format, local: bool) -> io::Result<Extract<W>> {
        if format == Format::Csv {
            write!(out, "{}\r\n", columns(local).join(","))?;
        }
        Ok(Extract { out, format, local, lines: 0 })
    }

    /// One record, where it is wanted.
    pub fn take(&mut self, wanted: &Wanted, stored: &Stored) -> io::Result<()> {
        if !wanted.fits(&stored.record) {
            return Ok(());
        }
        self.lines = self.lines.saturating_add(1);
        let mut cells = cells(stored.index, &stored.record);
        if self.local {
            let words = stored.local.as_ref().map(|(_, words)| words);
            cells.push(words.map_or(Value::Null, |words| json!(words.name)));
            let labels = |words: &protocol::ledger::Local| -> Map<String, Value> {
                words.labels.iter().map(|label| (label.name.to_string(), json!(label.value))).collect()
            };
            cells.push(words.map_or(Value::Null, |words| Value::Object(labels(words))));
        }
        cells.push(text(stored.record.medium.as_ref()));
        match self.format {
            Format::Jsonl => {
                let names = columns(self.local).into_iter().map(str::to_owned);
                let object: Map<String, Value> = names.zip(cells).collect();
                writeln!(self.out, "{}", Value::Object(object))
            }
            Format::Csv => {
                let cells: Vec<String> = cells.iter().map(cell).collect();
                write!(self.out, "{}\r\n", cells.join(","))
            }
        }
    }

    /// Everything is with the reader. Gives where it was written.
    pub fn end(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }
}

fn columns(local: bool) -> Vec<&'static str> {
    COLUMNS.iter().chain(LOCAL_COLUMNS.iter().filter(|_| local)).chain(&LATER_COLUMNS).copied().collect()
}

fn text(value: Option<&impl std::fmt::Display>) -> Value {
    value.map_or(Value::Null, |value| Value::String(value.to_string()))
}

fn cells(index: u64, record: &Record) -> Vec<Value> {
    let head = record.head;
    vec![
        json!(index),
        text(Some(&record.at)),
        json!(record.event.name()),
        text(record.parcel.as_ref()),
        text(record.bundle.as_ref()),
        text(record.origin.as_ref()),
        text(record.route.as_ref()),
        text(record.parcel_type.as_ref()),
        text(record.peer.as_ref()),
        text(record.crossing.as_ref()),
        json!(record.epoch),
        json!(record.sequence),
        json!(record.through),
        text(record.digest.as_ref()),
        json!(record.outcome.map(protocol::receipt::Outcome::name)),
        json!(record.reason.map(protocol::Reason::name)),
        text(record.person.as_ref()),
        json!(record.trip),
        json!(record.bytes),
        text(record.local.as_ref()),
        json!(head.map(|head| head.log)),
        json!(head.map(|head| head.size)),
        text(head.map(|head| head.root).as_ref()),
    ]
}

/// A cell that a spreadsheet takes as text: a name of a drop that begins like a formula must not become one.
fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => return String::new(),
        Value::Number(number) => return number.to_string(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let guarded = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text };
    if guarded.contains([',', '"', '\r', '\n']) { format!("\"{}\"", guarded.replace('"', "\"\"")) } else { guarded }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::ledger::{Event, Local};
    use protocol::parcel::Label;

    fn stored(at: u64, name: &str) -> Stored {
        let mut record = Record::new(Event::Claimed, Timestamp(at));
        record.bytes = Some(at);
        record.medium = Some(Name::new("disc-0017").unwrap());
        let labels = vec![Label { name: Name::new("region").unwrap(), value: "350802".to_owned() }];
        let local = Some(([7; 32], Local { name: Some(name.to_owned()), labels }));
        Stored { index: at, bytes: record.to_bytes(), record, local }
    }

    fn lines(format: Format, local: bool) -> Vec<String> {
        let mut extract = Extract::begin(Vec::new(), format, local).unwrap();
        let wanted = Wanted { from: Timestamp(2), until: Timestamp(5), person: None, medium: None };
        for (at, name) in ["a", "b", "=1+1", "a,\"b\"\n", "申请.xml", "f"].into_iter().enumerate() {
            extract.take(&wanted, &stored(at as u64, name)).unwrap();
        }
        assert_eq!(extract.lines, 3);
        String::from_utf8(extract.end().unwrap())
            .unwrap()
            .split_terminator(if format == Format::Csv { "\r\n" } else { "\n" })
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn every_line_of_the_period_has_every_column_and_words_stay_in_the_zone() {
        let csv = lines(Format::Csv, false);
        assert_eq!(csv[0], format!("{},medium", COLUMNS.join(",")));
        assert!(csv[1].ends_with(",disc-0017"), "{}", csv[1]);
        assert!(csv[1].starts_with("2,1970-01-01T00:00:00Z,claimed,"), "{}", csv[1]);
        assert!(csv.iter().all(|line| line.split(',').count() == COLUMNS.len() + 1));
        for line in lines(Format::Jsonl, false) {
            let object: Map<String, Value> = serde_json::from_str(&line).unwrap();
            assert_eq!(object.len(), COLUMNS.len() + 1);
            assert!(object["parcel"].is_null() && object["bytes"].is_u64() && !line.contains("350802"));
        }
    }

    #[test]
    fn a_name_cannot_leave_its_cell_or_become_a_formula() {
        let csv = lines(Format::Csv, true).join("\r\n");
        assert!(
            csv.lines().next().unwrap().ends_with(",head_root,name,labels,medium"),
            "old columns keep their places"
        );
        assert!(csv.contains(",'=1+1,") && csv.contains(",\"a,\"\"b\"\"\n\",") && csv.contains("申请.xml"), "{csv}");
        assert!(csv.contains("\"{\"\"region\"\":\"\"350802\"\"}\""), "{csv}");
        assert!(lines(Format::Jsonl, true)[0].contains("\"name\":\"=1+1\""));
    }
}
