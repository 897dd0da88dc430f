//! The first figures, each beside a baseline in the same run: sealing and verifying, small parcels through intake,
//! parcels from an inlet over the gateway and over the one-way link, and trips of the ferry. CPU seconds per GiB is the number to compare; wall time is noise on a shared
//! machine. Prints Markdown for `docs/measurements.md`.
#![allow(clippy::disallowed_methods, reason = "the baseline of a durable write is a plain write, sync and rename")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it prints a report")]

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use tests::figures::{self, PATIENCE, cpu_of, office, rss_mib};
use tests::papers;

const ONE_WAY_BYTES: usize = 512 << 20;

fn main() -> ExitCode {
    match figures::history::is_step().unwrap_or_else(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// All subjects, or those that are named.
fn run() -> io::Result<()> {
    let named: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |subject: &str| named.is_empty() || named.iter().any(|name| name == subject);
    let root = std::env::temp_dir().join(format!("trilock-bench-{}", std::process::id()));
    println!("| what | figure | baseline in the same run |\n|---|---|---|");
    if wanted("sealing") {
        figures::sealing::run(&root)?;
    }
    if wanted("verifying") {
        figures::verifying::run(&root)?;
    }
    if wanted("guard") {
        figures::guard::run(&root)?;
    }
    if wanted("sandbox") {
        figures::sandbox::run(&root)?;
    }
    if wanted("intake") {
        figures::intake::run(&root)?;
    }
    if wanted("link") || figures::link::PARTS.into_iter().any(wanted) {
        figures::link::run(|part| wanted("link") || wanted(part))?;
    }
    if wanted("one-way") {
        one_way(&root)?;
    }
    if wanted("trip") {
        figures::trip::measure(&root)?;
    }
    if wanted("history") {
        figures::history::run()?;
    }
    Ok(())
}

/// One large archive from the extranet's inlet to the intranet's outlet over the one-way link, everything on.
fn one_way(root: &Path) -> io::Result<()> {
    let mut office = office(root)?;
    for node in ["extranet", "intranet"] {
        office.start(node)?;
    }
    office
        .await_that(PATIENCE, |office| office.spool("intranet").join("status/node.json").exists().then_some(()))
        .ok_or_else(|| io::Error::other("the intranet is not up"))?;
    let archive = papers::archive(ONE_WAY_BYTES, 11);
    let pids: Vec<u32> = ["extranet", "intranet"].iter().filter_map(|node| office.nodes.get(node)?.pid()).collect();
    let before: f64 = pids.iter().map(|pid| cpu_of(&pid.to_string())).sum();
    let aside = root.join("archive.zip");
    fs::write(&aside, &archive)?;
    let began = Instant::now();
    fs::rename(&aside, office.inlet("extranet", "archives").join("archive.zip"))?;
    let place = office.outlet("intranet", "archives").join("archive.zip");
    office
        .await_that(PATIENCE, |_| place.exists().then_some(()))
        .ok_or_else(|| io::Error::other("the archive did not arrive"))?;
    let seconds = began.elapsed().as_secs_f64();
    let cpu: f64 = pids.iter().map(|pid| cpu_of(&pid.to_string())).sum::<f64>() - before;
    let gigabytes = ONE_WAY_BYTES as f64 / 1e9;
    let rss: Vec<String> = pids.iter().map(|pid| rss_mib(*pid).to_string()).collect();
    println!(
        "| 512 MiB over the one-way link at 400 Mbit/s, inlet to outlet, guard, seal and open included, `std`, MTU 1500 | {:.1} CPU s/GB both ends, {seconds:.1} s, peak RSS {} MiB | |",
        cpu / gigabytes,
        rss.join(" / ")
    );
    drop(office);
    fs::remove_dir_all(root)
}
