//! What a look at a folder costs, workers included, beside programs that only say what a file is; how long one large
//! file takes, from the command to its verdict; and what a bomb costs.
//!
//! `TRILOCK_FOLDER` names the folder; without it the documents of the fuzz targets are written into one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use guard::DetectVerdict;
use protocol::Crossing;
use station::sandbox::{Sandbox, Start};

use super::{Cost, children_cpu_s, own_cpu_s};
use crate::fuzz::all_documents;
use crate::{bombs, papers};

/// One large file.
const LARGE_BYTES: usize = 20_000_000;
/// Turns of each kind of large file: of all together the slowest but one is the p99.
const TURNS: usize = 25;
/// Pages of A4 at 300 dots an inch.
const SCANS: u64 = 24;
const SCAN_PIXELS: (u16, u16) = (2_480, 3_508);

/// Prints the rows.
pub fn run(root: &Path) -> io::Result<()> {
    let folder = match std::env::var_os("TRILOCK_FOLDER") {
        Some(folder) => PathBuf::from(folder),
        None => own_folder(&root.join("documents"))?,
    };
    let node = std::env::current_exe()?.with_file_name("intranet-node");
    mixed(&folder, &node)?;
    scans(&root.join("scans"), &node)?;
    large_files(root, &node)?;
    bombs(root, &node)
}

/// The folder on its way in and on its way out, and by the programs that everybody has.
fn mixed(folder: &Path, node: &Path) -> io::Result<()> {
    let mut files = Vec::new();
    collect(folder, &mut files)?;
    let all = looked_at(node, Crossing::InternetToExtranet, &files)?;
    let clean: Vec<PathBuf> =
        files.iter().zip(&all.clean).filter(|(_, clean)| **clean).map(|(f, _)| f.clone()).collect();
    let outward = looked_at(node, Crossing::IntranetToExtranet, &files)?;
    let ordinary = looked_at(node, Crossing::InternetToExtranet, &clean)?;
    let held = files.len() - clean.len();
    for (what, count, seen) in [
        (format!("inward: kept workers, and a fresh one after each of the {held} that are held"), files.len(), all),
        ("inward, only those with nothing in them: kept workers".to_owned(), clean.len(), ordinary),
        ("outward: a fresh worker for each".to_owned(), files.len(), outward),
    ] {
        println!("| {count} files of {:.1} MB looked at {what} | {} | |", seen.cost.bytes as f64 / 1e6, seen.cost);
    }
    let bytes = sizes(&files)?;
    let place = folder.to_string_lossy().into_owned();
    let others: [(&str, &str, Vec<&str>); 2] = [
        ("`exiftool`", "exiftool", vec!["-q", "-r", &place]),
        ("`file`", "find", vec![&place, "-type", "f", "-exec", "file", "{}", "+"]),
    ];
    for (what, program, words) in others {
        let before = children_cpu_s();
        let ran = Command::new(program).args(words).stdout(Stdio::null()).stderr(Stdio::null()).status();
        let figure = match ran {
            Ok(_) => Cost { bytes, cpu_s: children_cpu_s() - before }.to_string(),
            Err(_) => "not installed".to_owned(),
        };
        println!("| the same {} files by {what} | | {figure} |", files.len());
    }
    Ok(())
}

/// What files cost, all workers' starts and ends included, and which of them have nothing in them.
struct Looked {
    cost: Cost,
    clean: Vec<bool>,
}

fn looked_at(node: &Path, crossing: Crossing, files: &[PathBuf]) -> io::Result<Looked> {
    let before = own_cpu_s() + children_cpu_s();
    let sandbox = Sandbox::started_by(Start { program: node.to_owned(), ..Start::default() });
    let (mut clean, mut bytes) = (Vec::new(), 0);
    for path in files {
        let content = fs::read(path)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let mut visit = sandbox.visit(crossing);
        let seen = guard::detect_by(&mut visit, &name, &content)
            .map_err(|silence| io::Error::other(format!("{}: {}", path.display(), silence.rule())))?;
        clean.push(seen.verdict == DetectVerdict::Clean);
        bytes += content.len();
    }
    // The kept workers end with it, and what a process cost is known when it has ended.
    drop(sandbox);
    Ok(Looked { cost: Cost { bytes, cpu_s: own_cpu_s() + children_cpu_s() - before }, clean })
}

/// Scans of whole pages, by the command.
fn scans(folder: &Path, node: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for number in 0..SCANS {
        fs::write(folder.join(format!("{number}.jpg")), papers::scanned_page(number, SCAN_PIXELS.0, SCAN_PIXELS.1))?;
    }
    let mut files = Vec::new();
    collect(folder, &mut files)?;
    let bytes = sizes(&files)?;
    let before = children_cpu_s();
    let ran = Command::new(node).args(["inspect", "--detect", "--json"]).arg(folder).stdout(Stdio::null()).status()?;
    let cost = Cost { bytes, cpu_s: children_cpu_s() - before };
    if !ran.success() {
        return Err(io::Error::other("a scan of a page was held"));
    }
    println!(
        "| {SCANS} JPEG scans of {:.1} MB looked at, worker and command included | {cost} | |",
        bytes as f64 / 1e6
    );
    fs::remove_dir_all(folder)
}

/// What was made to cost without end, by workers that have 64 MiB and a second: none may die.
fn bombs(root: &Path, node: &Path) -> io::Result<()> {
    fs::create_dir_all(root)?;
    let sandbox = bombs::small_sandbox(root, node)?;
    for (name, bytes, rule) in bombs::all() {
        let began = Instant::now();
        let seen = guard::detect_by(&mut sandbox.visit(Crossing::IntranetToExtranet), name, &bytes);
        let took = began.elapsed().as_secs_f64();
        let refused = seen.is_ok_and(|seen| seen.findings.iter().any(|finding| finding.rule == rule));
        let figure =
            if refused { format!("refused in {took:.2} s") } else { "NOT REFUSED, or its worker died".to_owned() };
        println!("| {name}, by a worker that the kernel gives 64 MiB and one second | {figure} | |");
    }
    drop(sandbox);
    fs::remove_dir_all(root)
}

fn own_folder(folder: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    for (number, (name, bytes)) in all_documents().into_iter().enumerate() {
        fs::write(folder.join(format!("{number}-{name}")), bytes)?;
    }
    Ok(folder.to_owned())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    entries.sort();
    for entry in entries {
        if entry.is_dir() { collect(&entry, files)? } else { files.push(entry) }
    }
    Ok(())
}

fn sizes(files: &[PathBuf]) -> io::Result<usize> {
    files.iter().map(|file| Ok(usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX))).sum()
}

/// CPU time of each kind; of all, wall time from the start of the command to its end.
fn large_files(root: &Path, node: &Path) -> io::Result<()> {
    fs::create_dir_all(root)?;
    let row = "652901024056GB81906F00030501,501,112.38,96.20,7697.10,865000.08";
    let of = |head: &str, line: &str, foot: &str| [head, &line.repeat(LARGE_BYTES / line.len()), foot].concat();
    let kinds = [
        ("house.csv", of("单元号,房号,建筑面积,套内面积,单价,总价\n", &format!("{row}\n"), "")),
        (
            "message.xml",
            of(
                "<Message><Data>",
                "<KTT_ZDJBXX ZDDM=\"652901024056GB00018\" DJ=\"5\" ZDMJ=\"2846.50\"/>",
                "</Data></Message>",
            ),
        ),
        ("list.json", of("[", "{\"ywh\":\"2026112100042\",\"zdmj\":2846.50,\"bz\":\"已受理\"},", "{}]")),
        ("text.txt", of("", "业务 0001 已受理，材料齐全，请于三个工作日内领取。\n", "")),
    ];
    let mut took = Vec::new();
    for (name, text) in kinds {
        let place = root.join(name);
        let bytes = text.len() * TURNS;
        fs::write(&place, text)?;
        let before = children_cpu_s();
        for _ in 0..TURNS {
            let began = Instant::now();
            let output = Command::new(node).args(["inspect", "--detect", "--json"]).arg(&place).output()?;
            took.push(began.elapsed().as_secs_f64());
            if !String::from_utf8_lossy(&output.stdout).contains("\"clean\"") {
                return Err(io::Error::other(format!("{name} was not looked at in full, or is not clean")));
            }
        }
        let cost = Cost { bytes, cpu_s: children_cpu_s() - before };
        println!("| {name} of 20 MB, worker and command included, {TURNS} turns | {cost} | |");
    }
    took.sort_by(f64::total_cmp);
    let at = |share: usize| took.get((took.len() * share / 100).saturating_sub(1)).copied().unwrap_or_default();
    println!(
        "| a file of 20 MB, command to verdict, {} turns | median {:.2} s, p99 {:.2} s | |",
        took.len(),
        at(50),
        at(99)
    );
    fs::remove_dir_all(root)
}
