//! `make fuzz`: every target of `tests::fuzz`, or those whose names hold a given word, searched by libFuzzer for a bounded
//! time each. What was learned stays in the target folder and is where the next run begins; an input under which
//! something did not hold stays there too, and the run ends with 1.
//!
//! ```sh
//! make fuzz                                   # TRILOCK_FUZZ_SECONDS a target, 15 where it is not set
//! TRILOCK_FUZZ_SECONDS=600 cargo run -p tests --bin fuzz -- guard-pdf
//! ```
#![allow(clippy::disallowed_methods, reason = "seeds of an earlier run are no part of anything that is kept")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it prints a report")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use tests::fuzz::{FAMILIES, INPUT_BYTES_MAX};
use tests::programs::{repository, target_folder, words};

/// For each target; the whole list is then done in half an hour.
const SECONDS: u64 = 15;
/// What one input may take: the guard may unpack 512 MiB of one file, and the fuzzer keeps its corpus beside that.
const MEMORY_MIB: u32 = 1_024;
/// One input of 256 KiB. The guard's slowest takes a tenth of a second without counters.
const INPUT_SECONDS_MAX: u32 = 10;
/// What cargo-fuzz passes, without the sanitizers that only a nightly compiler has: counters in every branch, and
/// comparisons told to the fuzzer.
const COUNTERS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=16";

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("fuzz: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<bool> {
    let folder = target_folder()?.join("fuzz");
    fs::create_dir_all(&folder)?;
    let host = match host(&folder) {
        Ok(host) => host,
        Err(absent) => {
            println!("SKIPPED: fuzzing led by coverage: {absent}");
            return Ok(true);
        }
    };
    let program = build(&folder, &host)?;
    let seconds = std::env::var("TRILOCK_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SECONDS);
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let slugs = FAMILIES.iter().flat_map(|(_, targets)| targets()).map(|target| target.slug());
    let slugs = slugs.filter(|slug| wanted.is_empty() || wanted.iter().any(|word| slug.contains(word.as_str())));
    println!("| target, {seconds} s | inputs | branches | kept | most memory |\n|---|---|---|---|---|");
    let mut all_hold = true;
    for slug in slugs {
        all_hold &= search(&program, &folder, &slug, seconds)?;
    }
    Ok(all_hold)
}

/// What this machine is called, if it has all that is needed; else what is absent.
fn host(folder: &Path) -> Result<String, String> {
    let said = |program: &str, arguments: &[&str]| {
        Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .ok()
            .filter(|output| output.status.success())
    };
    said("c++", &["--version"]).ok_or("no C++ compiler is installed (c++)")?;
    let version = said("rustc", &["-vV"]).ok_or("rustc does not run")?;
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).ok_or("rustc names no host")?;
    let (source, made) = (folder.join("probe.rs"), folder.join("probe.o"));
    fs::write(&source, "pub fn one(byte: u8) -> bool { byte == 1 }\n").map_err(|error| error.to_string())?;
    let mut probe: Vec<&str> = COUNTERS.split_whitespace().collect();
    let paths = [source, made].map(|path| path.to_string_lossy().into_owned());
    probe.extend(["--crate-type", "lib", "--emit", "obj", "-o", &paths[1], &paths[0]]);
    said("rustc", &probe).ok_or("this compiler has no counters for branches (-Cpasses=sancov-module)")?;
    let manifest = manifest();
    said("cargo", &["fetch", "-q", "--locked", "--manifest-path", &manifest])
        .ok_or("libfuzzer-sys is not at hand and the registry cannot be reached")?;
    Ok(host.to_owned())
}

fn manifest() -> String {
    repository().join("tests/fuzz/Cargo.toml").to_string_lossy().into_owned()
}

/// The targets with counters. A target triple is named so that build scripts get none.
fn build(folder: &Path, host: &str) -> io::Result<PathBuf> {
    let output = Command::new("cargo")
        .args([
            "build",
            "-q",
            "--release",
            "--locked",
            "--manifest-path",
            &manifest(),
            "--target",
            host,
            "--target-dir",
        ])
        .arg(folder)
        .env("RUSTFLAGS", COUNTERS)
        .output()?;
    if !output.status.success() {
        return Err(io::Error::other(words(&output)));
    }
    Ok(folder.join(host).join("release/coverage"))
}

/// Searches one target and prints its row. Whether everything held.
fn search(program: &Path, folder: &Path, slug: &str, seconds: u64) -> io::Result<bool> {
    let [corpus, seeds, found] = ["corpus", "seeds", "found"].map(|name| folder.join(name).join(slug));
    if seeds.exists() {
        fs::remove_dir_all(&seeds)?;
    }
    for path in [&corpus, &seeds, &found] {
        fs::create_dir_all(path)?;
    }
    let output = Command::new(program)
        .env("TRILOCK_FUZZ_TARGET", slug)
        .env("TRILOCK_FUZZ_SEEDS", &seeds)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={INPUT_BYTES_MAX}"))
        .arg(format!("-rss_limit_mb={MEMORY_MIB}"))
        .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
        .arg(format!("-artifact_prefix={}/", found.display()))
        .args(["-print_final_stats=1", "-verbosity=1"])
        .args([&corpus, &seeds])
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let stat = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("?").trim().to_owned();
    let done = said.lines().rev().find(|line| line.contains(" cov: ")).unwrap_or_default();
    let after = |word: &str| done.split_whitespace().skip_while(|it| *it != word).nth(1).unwrap_or("?").to_owned();
    let (inputs, memory) = (stat("stat::number_of_executed_units:"), stat("stat::peak_rss_mb:"));
    println!("| {slug} | {inputs} | {} | {} | {memory} MiB |", after("cov:"), after("corp:"));
    if !output.status.success() {
        let tail: Vec<&str> = said.lines().rev().take(40).collect();
        eprintln!("{slug}: something does not hold; the input is in {}", found.display());
        tail.iter().rev().for_each(|line| eprintln!("    {line}"));
    }
    Ok(output.status.success())
}
