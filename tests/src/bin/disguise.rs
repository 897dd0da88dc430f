//! Puts every disguise on every file of a folder that is stopped when bare, and tells how many are still stopped, and what
//! a strip makes of those.
//! `cargo run --release -p tests --bin disguise -- FOLDER`; without a folder, the project's own set. Bounded by
//! [`FILE_BYTES_MAX`] a parent, so that a corpus with films ends today.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it prints a report")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use guard::DetectVerdict;
use tests::disguise::{self, Score};
use tests::stripping::{Fate, fate, outward};

/// Larger parents are passed over, and counted.
const FILE_BYTES_MAX: u64 = 4 << 20;

fn main() -> ExitCode {
    let mut scores = vec![Score::default(); disguise::ALL.len()];
    let (mut parents, mut stopped, mut passed_over) = (0_u32, 0_u32, 0_u32);
    let rules = outward("");
    let mut fates = [0_u32; 3];
    let mut one = |name: &str, bytes: &[u8]| {
        parents += 1;
        if guard::detect(name, bytes).verdict != DetectVerdict::Coordinates {
            return;
        }
        stopped += 1;
        for (disguise, score) in disguise::ALL.iter().zip(&mut scores) {
            let Some((worn_name, worn)) = disguise.wear(name, bytes) else { continue };
            let held = guard::detect(&worn_name, &worn).verdict != DetectVerdict::Clean;
            score.made += 1;
            score.stopped += u32::from(held);
            if !held {
                eprintln!("clean as {}: {name}", disguise.name);
                continue;
            }
            match fate(&rules, &worn_name, &worn) {
                Fate::Refused(_) => fates[0] += 1,
                Fate::Stripped(bytes, _) if guard::detect(&worn_name, &bytes).verdict == DetectVerdict::Clean => {
                    fates[1] += 1
                }
                Fate::Stripped(..) | Fate::AsItIs => {
                    eprintln!("passes a strip as {}: {name}", disguise.name);
                    fates[2] += 1;
                }
            }
        }
    };
    let folders: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if folders.is_empty() {
        for (name, bytes) in disguise::parents() {
            one(name, &bytes);
        }
    }
    for path in folders.iter().flat_map(|folder| files(folder)) {
        match std::fs::metadata(&path)
            .and_then(|meta| if meta.len() > FILE_BYTES_MAX { Ok(None) } else { std::fs::read(&path).map(Some) })
        {
            Ok(Some(bytes)) => one(&path.file_name().unwrap_or_default().to_string_lossy(), &bytes),
            _ => passed_over += 1,
        }
    }
    let (made, held) = scores.iter().fold((0, 0), |(made, held), s| (made + s.made, held + s.stopped));
    println!("| disguise | files | stopped |\n|---|---|---|");
    for (disguise, score) in disguise::ALL.iter().zip(&scores) {
        println!("| {} | {} | {} |", disguise.name, score.made, score.stopped);
    }
    println!(
        "\n{parents} files looked at, {stopped} of them carry coordinates, {passed_over} too large; in disguise {held} of {made} stopped"
    );
    println!("through strip: {} refused, {} stripped and clean, {} passed", fates[0], fates[1], fates[2]);
    if held == made && fates[2] == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn files(path: &Path) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    let Ok(entries) = std::fs::read_dir(path) else { return Vec::new() };
    let mut inside: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    inside.sort();
    inside.iter().flat_map(|path| files(path)).collect()
}
