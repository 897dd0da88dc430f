//! What `inspect --detect --json` said of a labelled folder, by tier and by format, as the tables of
//! docs/measurements.md: `score FOLDER VERDICTS`. The folder's `manifest.csv` has the columns path, label, format, trait,
//! source and tier; below `real/` every file is of one tier.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it prints a report")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

/// Files of one label: all of them, those called coordinates, those that could not be inspected.
#[derive(Clone, Copy, Default)]
struct Count {
    all: u32,
    coordinates: u32,
    uninspectable: u32,
}

impl Count {
    fn stopped(self) -> u32 {
        self.coordinates + self.uninspectable
    }
}

/// Positives, ordinary files, and those that nobody can look into.
type Row = [Count; 3];

const LABELS: [&str; 3] = ["positive", "negative", "uninspectable"];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [folder, verdicts] = words.as_slice() else {
        eprintln!("score FOLDER VERDICTS");
        return ExitCode::from(2);
    };
    let read = |path: &Path| fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()));
    let manifest = read(&Path::new(folder).join("manifest.csv"));
    match manifest.and_then(|manifest| tables(&manifest, &read(Path::new(verdicts))?)) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn tables(manifest: &str, verdicts: &str) -> Result<String, String> {
    let said = said(verdicts);
    let (mut tiers, mut formats) = (BTreeMap::<String, Row>::new(), BTreeMap::<String, Row>::new());
    for line in manifest.lines().skip(1) {
        let cells = cells(line);
        let [path, label, format, _, _, tier, ..] = cells.as_slice() else {
            return Err(format!("a row of {} cells: {line}", cells.len()));
        };
        let tier = if path.starts_with("real/") { "real" } else { tier };
        let Some(label) = LABELS.iter().position(|known| known == label) else {
            return Err(format!("{path}: label {label}"));
        };
        // Verdicts name files from wherever they were asked.
        let Some(verdict) = said.iter().find(|(name, _)| Path::new(name).ends_with(path)).map(|(_, said)| said) else {
            return Err(format!("{path}: no verdict"));
        };
        for row in [tiers.entry(tier.to_owned()).or_default(), formats.entry(format.clone()).or_default()] {
            row[label].all += 1;
            row[label].coordinates += u32::from(verdict == "coordinates");
            row[label].uninspectable += u32::from(verdict == "uninspectable");
        }
    }
    Ok(format!("{}\n{}", table(&tiers), listing(&formats)))
}

/// The formats are many: a list for each label, with what stands out in brackets.
fn listing(rows: &BTreeMap<String, Row>) -> String {
    let mut text = "| by format | files |\n|---|---|\n".to_owned();
    let list = |label: usize, told: fn(Count) -> String| {
        let of = |(name, row): (&String, &Row)| (row[label].all > 0).then(|| format!("{name} {}", told(row[label])));
        rows.iter().filter_map(of).collect::<Vec<_>>().join(", ")
    };
    let stopped = |count: Count| match count.all - count.stopped() {
        0 => count.all.to_string(),
        missed => format!("{} (**{missed} called clean**)", count.all),
    };
    let passed = |count: Count| match (count.coordinates, count.uninspectable) {
        (0, 0) => count.all.to_string(),
        (0, closed) => format!("{} (**{closed} cannot be inspected**)", count.all),
        (found, closed) => format!("{} (**{found} called coordinates, {closed} cannot be inspected**)", count.all),
    };
    for (what, said) in [
        ("positives not called clean", list(0, stopped)),
        ("ordinary called clean", list(1, passed)),
        ("encrypted or malformed not called clean", list(2, stopped)),
    ] {
        text.push_str(&format!("| {what} | {said} |\n"));
    }
    text
}

fn table(rows: &BTreeMap<String, Row>) -> String {
    let mut text = "| tier | positives not called clean | ordinary called coordinates | ordinary that cannot be \
                    inspected | encrypted or malformed not called clean |\n|---|---|---|---|---|\n"
        .to_owned();
    let part = |part: u32, all: u32| if all == 0 { String::new() } else { format!("{part} of {all}") };
    for (name, [positive, ordinary, closed]) in rows {
        text.push_str(&format!(
            "| {name} | {} | {} | {} | {} |\n",
            part(positive.stopped(), positive.all),
            part(ordinary.coordinates, ordinary.all),
            part(ordinary.uninspectable, ordinary.all),
            part(closed.stopped(), closed.all),
        ));
    }
    text
}

/// The verdict on each path.
fn said(lines: &str) -> Vec<(String, String)> {
    let of = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).ok()?;
        let word = |key: &str| value.get(key)?.as_str().map(str::to_owned);
        Some((word("path")?, word("verdict")?))
    };
    lines.lines().filter_map(of).collect()
}

/// Cells of a line of CSV; a cell in quotes may hold commas and doubled quotes.
fn cells(line: &str) -> Vec<String> {
    let (mut cells, mut cell, mut quoted) = (Vec::new(), String::new(), false);
    for sign in line.chars() {
        match sign {
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(std::mem::take(&mut cell)),
            _ => cell.push(sign),
        }
    }
    cells.push(cell);
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_verdict_is_no_table_and_each_label_counts_for_itself() {
        let manifest = "path,label,format,trait,source,tier\nreal/a.csv,positive,csv,\"1, \"\"2\"\"\",x,9\n\
                        synth/b.csv,negative,csv,t,x,C\nsynth/c.pdf,uninspectable,pdf,t,x,U\n";
        let line = |path: &str, verdict: &str| format!("{{\"path\": \"/k/{path}\", \"verdict\": \"{verdict}\"}}\n");
        let two = line("real/a.csv", "clean") + &line("synth/b.csv", "coordinates");
        assert_eq!(tables(manifest, &two).unwrap_err(), "synth/c.pdf: no verdict");
        let text = tables(manifest, &(two + &line("synth/c.pdf", "uninspectable"))).unwrap();
        for row in [
            "| real | 0 of 1 |  |  |  |",
            "| C |  | 1 of 1 | 0 of 1 |  |",
            "| U |  |  |  | 1 of 1 |",
            "| positives not called clean | csv 1 (**1 called clean**) |",
            "| ordinary called clean | csv 1 (**1 called coordinates, 0 cannot be inspected**) |",
            "| encrypted or malformed not called clean | pdf 1 |",
        ] {
            assert!(text.contains(row), "{text}");
        }
    }
}
