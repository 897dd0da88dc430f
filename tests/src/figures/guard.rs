//! What a look at a folder costs, workers included, beside programs that only say what a file is; and how long one large
//! file takes, from the command to its verdict.
//!
//! `TRILOCK_FOLDER` names the folder; without it the documents of the fuzz targets are written into one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use super::{Cost, children_cpu_s};
use crate::fuzz::all_documents;

/// One large file.
const LARGE_BYTES: usize = 20_000_000;
/// Turns of each kind of large file: of all together the slowest but one is the p99.
const TURNS: usize = 25;

/// Prints the rows.
pub fn run(root: &Path) -> io::Result<()> {
    let folder = match std::env::var_os("TRILOCK_FOLDER") {
        Some(folder) => PathBuf::from(folder),
        None => own_folder(&root.join("documents"))?,
    };
    let (files, bytes) = contents(&folder)?;
    let node = std::env::current_exe()?.with_file_name("intranet-node");
    let place = folder.to_string_lossy().into_owned();
    let looks: [(&str, &Path, Vec<&str>); 3] = [
        ("the guard, workers included", &node, vec!["inspect", "--detect", "--json", &place]),
        ("`exiftool`", Path::new("exiftool"), vec!["-q", "-r", &place]),
        ("`file`", Path::new("find"), vec![&place, "-type", "f", "-exec", "file", "{}", "+"]),
    ];
    for (what, program, words) in looks {
        let before = children_cpu_s();
        let ran = Command::new(program).args(words).stdout(Stdio::null()).stderr(Stdio::null()).status();
        let figure = match ran {
            Ok(_) => Cost { bytes, cpu_s: children_cpu_s() - before }.to_string(),
            Err(_) => "not installed".to_owned(),
        };
        println!("| {files} files of {:.1} MB looked at by {what} | {figure} | |", bytes as f64 / 1e6);
    }
    large_files(root, &node)
}

fn own_folder(folder: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    for (number, (name, bytes)) in all_documents().into_iter().enumerate() {
        fs::write(folder.join(format!("{number}-{name}")), bytes)?;
    }
    Ok(folder.to_owned())
}

fn contents(folder: &Path) -> io::Result<(usize, usize)> {
    let (mut files, mut bytes) = (0, 0);
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (more, size) = if entry.file_type()?.is_dir() {
            contents(&entry.path())?
        } else {
            (1, usize::try_from(entry.metadata()?.len()).unwrap_or(usize::MAX))
        };
        (files, bytes) = (files + more, bytes + size);
    }
    Ok((files, bytes))
}

/// Wall time from the start of the command to its end.
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
        fs::write(&place, text)?;
        for _ in 0..TURNS {
            let began = Instant::now();
            let output = Command::new(node).args(["inspect", "--detect", "--json"]).arg(&place).output()?;
            took.push(began.elapsed().as_secs_f64());
            if !String::from_utf8_lossy(&output.stdout).contains("\"clean\"") {
                return Err(io::Error::other(format!("{name} was not looked at in full, or is not clean")));
            }
        }
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
