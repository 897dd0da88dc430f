//! A trip of the ferry: export and confirm beside what a person without it would do with the same bytes (`cp`, `sync`,
//! caches dropped, `sha256sum`), parity by itself, and the import in one go and in five volumes.
//!
//! `TRILOCK_TRIP_BUNDLES` and `TRILOCK_TRIP_BYTES` (of each drop) make a smaller trip. On the disk it takes eight times what is
//! carried at most, and nothing is left of it, also where it fails.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use super::{PATIENCE, children_cpu_s, files_in, office};
use crate::office::{Node, Office};
use crate::papers;

const BUNDLES: usize = 4_000;
/// Of each drop: 3.1 GB altogether.
const BYTES: usize = 768 * 1024;
/// Turns without parity, each with its own baseline: what a neighbour on the machine does to one of them shows.
const TURNS: usize = 2;
const VOLUMES: u64 = 5;
/// What stands on the disk at once, at most: outbox and staging, a medium and what was imported of it, its volumes, the
/// copy by hand, and twice that for what sealing and opening write on their way.
const TIMES_ON_DISK: u64 = 8;

/// Prints the rows.
pub fn measure(root: &Path) -> io::Result<()> {
    let (bundles, bytes) = (wished("TRILOCK_TRIP_BUNDLES", BUNDLES), wished("TRILOCK_TRIP_BYTES", BYTES));
    let beside = root.parent().unwrap_or(root);
    let ground = tempfile::Builder::new().prefix("trilock-bench-trip-").tempdir_in(beside)?;
    let about = rustix::fs::statvfs(ground.path())?;
    let (needs, has) = ((bundles * bytes) as u64 * TIMES_ON_DISK, about.f_bavail * about.f_frsize);
    if has < needs {
        println!("| a trip of {bundles} bundles | SKIPPED: it takes {needs} bytes of disk, {has} are free | |");
        return Ok(());
    }
    let mut office = office(&ground.path().join("office"))?;
    up(&mut office, "intranet")?;
    fill(&mut office, ground.path(), bundles, bytes)?;
    let office = carry(office, ground.path(), bundles)?;
    drop(office);
    ground.close()
}

fn wished(name: &str, usual: usize) -> usize {
    std::env::var(name).ok().and_then(|word| word.parse().ok()).unwrap_or(usual)
}

/// Every export, while nothing of the trip has arrived; then the imports.
fn carry(mut office: Office, ground: &Path, bundles: usize) -> io::Result<Office> {
    let disc = ground.join("disc");
    let mut plain = Spent::default();
    for turn in 1..=TURNS {
        let action = if turn == 1 { "export" } else { "reexport" };
        (_, plain) = compare(&office, action, &disc, &ground.join("by-hand"))?;
    }
    with_parity(&office, &ground.join("parity"), plain)?;
    let (volumes, size) = (ground.join("volumes"), volume_bytes(&disc)?);
    let exported = export(&office, "reexport", &volumes, &["--volume", &size.to_string()])?;
    let media = names_in(&volumes)?;
    approve(&office)?;
    let confirmed = media
        .iter()
        .try_fold(Spent::default(), |sum, medium| Ok::<_, io::Error>(sum + confirm(&office, medium, true)?))?;
    println!(
        "| the same in {} volumes: export, confirm of each with signatures checked | {exported}, {confirmed} | |",
        media.len()
    );
    // What the far side says would settle the trip; nobody listens.
    office.kill("intranet")?;
    let (spool, fresh) = (office.spool("extranet"), ground.join("fresh"));
    run(&["cp", "-a", &spool.to_string_lossy(), &fresh.to_string_lossy()], ground)?;
    let whole = import(&mut office, &[disc], bundles)?;
    println!("| import in one go, until the last parcel is in its outlet | {whole} | |");
    // A node that never saw the trip.
    office.kill("extranet")?;
    fs::remove_dir_all(&spool)?;
    fs::rename(&fresh, &spool)?;
    let reversed: Vec<PathBuf> = media.into_iter().rev().collect();
    let parts = import(&mut office, &reversed, bundles)?;
    println!(
        "| import of the {} volumes, last first, until the last parcel is in its outlet | {parts} | |",
        reversed.len()
    );
    Ok(office)
}

/// One turn beside its baseline. Gives the export and the confirmation.
fn compare(office: &Office, action: &str, disc: &Path, by_hand: &Path) -> io::Result<(Spent, Spent)> {
    if disc.exists() {
        fs::remove_dir_all(disc)?;
    }
    let load = load();
    let exported = export(office, action, disc, &[])?;
    approve(office)?;
    let confirmed = confirm(office, disc, false)?;
    let trip = disc.join("TRILOCK/1");
    let (copied, summed) = plainly(&trip, by_hand)?;
    let (ours, theirs) = (exported + confirmed, copied + summed);
    let (bytes, files) = (bytes_in(&trip)?, files_in(&trip));
    println!(
        "| {action} + confirm of {files} files, {:.2} GB, no parity, load {load} | {exported} + {confirmed} = {ours} | cp, sync {copied} + caches dropped, sha256sum {summed} = {theirs}; ratio {:.2} wall, {:.2} CPU |",
        bytes as f64 / 1e9,
        ours.wall_s / theirs.wall_s,
        ours.cpu_s / theirs.cpu_s,
    );
    Ok((exported, ours))
}

fn with_parity(office: &Office, disc: &Path, plain: Spent) -> io::Result<()> {
    let exported = export(office, "reexport", disc, &["--parity", "12"])?;
    approve(office)?;
    let all = exported + confirm(office, disc, true)?;
    println!(
        "| the same with `--parity 12` | {all} | of which parity {:.1} s wall, {:.1} CPU s |",
        all.wall_s - plain.wall_s,
        all.cpu_s - plain.cpu_s
    );
    fs::remove_dir_all(disc)
}

/// Room for a fifth on each volume, and what files and papers cost there.
fn volume_bytes(disc: &Path) -> io::Result<u64> {
    let trip = disc.join("TRILOCK/1");
    let (bytes, files) = (bytes_in(&trip)?, files_in(&trip) as u64);
    let waybill = fs::metadata(trip.join("waybill"))?.len();
    Ok((bytes + files * 4_096) / VOLUMES + waybill + (3 << 20))
}

/// What some work cost, this process's clock and the CPU of everybody who took part.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    wall_s: f64,
    cpu_s: f64,
}

impl std::ops::Add for Spent {
    type Output = Spent;
    fn add(self, other: Spent) -> Spent {
        Spent { wall_s: self.wall_s + other.wall_s, cpu_s: self.cpu_s + other.cpu_s }
    }
}

impl std::fmt::Display for Spent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1} s ({:.1} CPU s)", self.wall_s, self.cpu_s)
    }
}

/// What the work costs this process's children and the daemon of a node. What others left to be written is written before.
fn spent(office: Option<(&Office, &str)>, work: impl FnOnce() -> io::Result<()>) -> io::Result<Spent> {
    rustix::fs::sync();
    let pid = office.and_then(|(office, node)| office.nodes.get(node)?.pid()).map(|pid| pid.to_string());
    let cpu = || children_cpu_s() + pid.as_deref().map_or(0.0, daemon_cpu);
    let (began, before) = (Instant::now(), cpu());
    work()?;
    Ok(Spent { wall_s: began.elapsed().as_secs_f64(), cpu_s: cpu() - before })
}

/// CPU seconds of a daemon and of its workers that have ended.
fn daemon_cpu(pid: &str) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after = text.rsplit(") ").next().unwrap_or_default().to_owned();
    // The kernel counts hundredths of a second, as in `cpu_of`.
    after.split(' ').skip(11).take(4).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Drops that fill a waybill, sealed and waiting.
fn fill(office: &mut Office, ground: &Path, bundles: usize, bytes: usize) -> io::Result<()> {
    let (inlet, aside) = (office.inlet("intranet", "review-results"), ground.join("app"));
    fs::create_dir_all(&aside)?;
    for number in 1..=bundles {
        let name = format!("review-{number}.xml");
        // Nothing is to be taken out.
        let mut text = papers::review_result_without_points(u32::try_from(number).unwrap_or(0)).into_bytes();
        text.resize(bytes, b'\n');
        fs::write(aside.join(&name), text)?;
        fs::rename(aside.join(&name), inlet.join(&name))?;
    }
    let notices = office.spool("intranet").join("notices/review-results");
    patient(office, &notices, bundles, "drops have a notice")
}

/// Until a folder holds so many; patience lasts as long as anything happens.
fn patient(office: &mut Office, folder: &Path, wanted: usize, what: &str) -> io::Result<()> {
    let mut seen = files_in(folder);
    while seen < wanted {
        let more = office.await_that(PATIENCE, |_| Some(files_in(folder)).filter(|now| *now > seen));
        seen = more.ok_or_else(|| io::Error::other(format!("{seen} of {wanted} {what}, and no more")))?;
    }
    Ok(())
}

fn up(office: &mut Office, node: &'static str) -> io::Result<()> {
    let status = office.spool(node).join("status/node.json");
    office.start(node)?;
    let up = office.await_that(PATIENCE, |_| status.exists().then_some(()));
    up.ok_or_else(|| io::Error::other(format!("{node} is not up")))
}

fn export(office: &Office, action: &str, disc: &Path, words: &[&str]) -> io::Result<Spent> {
    fs::create_dir_all(disc)?;
    let out = disc.to_string_lossy().into_owned();
    let mut all = vec!["--out", out.as_str()];
    match action {
        "export" => all.extend(["--medium-id", "disc-0001", "--carrier", "carrier-sun"]),
        _ => all.extend(["--trip", "1"]),
    }
    all.extend(words);
    spent(Some((office, "intranet")), || office.ferry_as("operator-ma", "intranet", action, &all).map(drop))
}

fn approve(office: &Office) -> io::Result<()> {
    ["approver-li", "approver-zhao"]
        .into_iter()
        .try_for_each(|person| office.ferry_as(person, "intranet", "approve", &["--trip", "1"]).map(drop))
}

fn confirm(office: &Office, disc: &Path, proven: bool) -> io::Result<Spent> {
    let (medium, trust) = (disc.to_string_lossy().into_owned(), office.root.join("intranet/trust"));
    let trust = trust.to_string_lossy().into_owned();
    let mut all = vec!["--medium", medium.as_str(), "--trip", "1"];
    all.extend(proven.then_some(["--trust", trust.as_str()]).into_iter().flatten());
    spent(Some((office, "intranet")), || office.ferry_as("operator-ma", "intranet", "confirm", &all).map(drop))
}

/// One medium after the other, into a node that begins with nothing, until every parcel lies in its outlet.
fn import(office: &mut Office, media: &[PathBuf], parcels: usize) -> io::Result<Spent> {
    up(office, "extranet")?;
    let (trust, outlet) = (office.root.join("extranet/trust"), office.outlet("extranet", "review-results"));
    let trust = trust.to_string_lossy().into_owned();
    let node = office.nodes.get("extranet").and_then(Node::pid).unwrap_or(0).to_string();
    let before = daemon_cpu(&node);
    let spent = spent(None, || {
        for medium in media {
            let medium = medium.to_string_lossy().into_owned();
            office.ferry_as("operator-chen", "extranet", "import", &["--medium", &medium, "--trust", &trust])?;
        }
        patient(office, &outlet, parcels, "parcels are in the outlet")
    })?;
    Ok(Spent { cpu_s: spent.cpu_s + daemon_cpu(&node) - before, ..spent })
}

/// What somebody would do without the ferry: copy and sync; have the system forget, and read back.
fn plainly(from: &Path, to: &Path) -> io::Result<(Spent, Spent)> {
    let (source, target) = (from.to_string_lossy().into_owned(), to.to_string_lossy().into_owned());
    let copied = spent(None, || {
        run(&["cp", "-r", &source, &target], Path::new("/"))?;
        run(&["sync", "-f", &target], Path::new("/"))
    })?;
    let summed = spent(None, || {
        for file in names_in(to)?.iter().filter(|file| file.is_file()) {
            rustix::fs::fadvise(File::open(file)?, 0, None, rustix::fs::Advice::DontNeed)?;
        }
        run(&["sha256sum", "--quiet", "-c", "SHA256SUMS"], to)
    })?;
    fs::remove_dir_all(to)?;
    Ok((copied, summed))
}

fn run(words: &[&str], folder: &Path) -> io::Result<()> {
    let (program, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let done = Command::new(program).args(arguments).current_dir(folder).output()?;
    if done.status.success() { Ok(()) } else { Err(io::Error::other(format!("{words:?} failed"))) }
}

fn names_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut names: Vec<PathBuf> = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    names.sort();
    Ok(names)
}

fn bytes_in(folder: &Path) -> io::Result<u64> {
    fs::read_dir(folder)?.try_fold(0, |sum, entry| Ok(sum + entry?.metadata()?.len()))
}

fn load() -> String {
    let words = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    words.split(' ').next().unwrap_or_default().to_owned()
}
