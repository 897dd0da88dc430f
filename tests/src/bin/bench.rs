//! The first figures, each beside a baseline in the same run: sealing and verifying, small parcels through intake, and
//! parcels from an inlet over the gateway and over the one-way link. CPU seconds per GiB is the number to compare; wall time is noise on a shared
//! machine. Prints Markdown for `docs/measurements.md`.
#![allow(clippy::disallowed_methods, reason = "the baseline of a durable write is a plain write, sync and rename")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it prints a report")]

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use protocol::bundle::{self, SealPlan};
use protocol::der_types::Octets;
use protocol::id::new_id;
use protocol::keys::{OpeningKey, SigningKey};
use protocol::parcel::{CustodyEntry, FileEntry, Manifest, ParcelStatement, Priority, VERSION};
use protocol::tree::{Tree, root_of};
use protocol::trust::{KeyCard, Role, Use};
use protocol::{Crossing, Name, Signed, Suite, Timestamp, Trust, Verdict, Zone};
use tests::office::{Office, OneWay, Wishes};
use tests::papers::{self, Noise};

const CONTENT_BYTES: usize = 256 << 20;
const SMALL_PARCELS: u32 = 2_000;
const SMALL_BYTES: usize = 10 * 1024;
const ONE_WAY_BYTES: usize = 512 << 20;
const PATIENCE: Duration = Duration::from_secs(180);

fn main() -> ExitCode {
    match tests::figures::history::is_step().unwrap_or_else(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    println!("| what | figure | baseline in the same run |\n|---|---|---|");
    sealing()?;
    small_parcels()?;
    one_way()?;
    tests::figures::history::run()?;
    Ok(())
}

/// CPU seconds of this process so far, from its scheduler statistics.
fn cpu_of(pid: &str) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after = text.rsplit(") ").next().unwrap_or_default().to_owned();
    let ticks: f64 = after.split(' ').skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    // The kernel counts user-visible ticks in hundredths of a second on every platform this runs on.
    ticks / 100.0
}

fn rss_mib(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default().to_owned();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// CPU seconds per GiB and MB/s of work over so many bytes.
fn measured(bytes: usize, work: impl FnOnce() -> io::Result<()>) -> io::Result<(f64, f64)> {
    let (began, cpu) = (Instant::now(), cpu_of("self"));
    work()?;
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu_of("self") - cpu);
    let bytes = bytes as f64;
    Ok((cpu / (bytes / f64::from(1 << 30)), bytes / 1e6 / seconds))
}

fn name(text: &str) -> io::Result<Name> {
    Name::new(text).map_err(io::Error::other)
}

/// Seal and verify, memory to memory; the baseline is the digests alone, which every seal must compute twice.
fn sealing() -> io::Result<()> {
    let content = Noise::new(1).bytes(CONTENT_BYTES);
    for suite in Suite::ALL {
        let (signing, opening) = (SigningKey::generate(suite), OpeningKey::generate(suite));
        let node = name("internet")?;
        let card = KeyCard {
            zone: Zone::Internet,
            holder: node.clone(),
            role: Role::Node,
            usage: Use::Sign,
            suite,
            from: "2026-11-21".to_owned(),
            until: None,
            spki: signing.public().to_spki(),
        };
        let mut trust = Trust::default();
        trust.add("internet.pem", &card.to_text()).map_err(io::Error::other)?;

        let mut digest = Octets([0; 32]);
        let (alone_cpu, alone_rate) = measured(CONTENT_BYTES, || {
            let mut tree = Tree::new(suite);
            tree.update(&content);
            digest = tree.root();
            Ok(())
        })?;
        let file = FileEntry {
            path: "a".to_owned(),
            original: None,
            size: content.len() as u64,
            digest,
            executable: false,
            modified_s: 0,
        };
        let manifest = Manifest {
            salt: Octets([1; 32]),
            version: VERSION,
            name: "a".to_owned(),
            folder: false,
            files: vec![file],
            labels: Vec::new(),
        };
        let statement = ParcelStatement {
            version: VERSION,
            parcel: new_id(Timestamp(1), [1; 10]),
            origin: node.clone(),
            route: name("r")?,
            target: name("extranet")?,
            parcel_type: name("archive")?,
            priority: Priority::Bulk,
            accepted: Timestamp(1),
            manifest: suite.digest(&manifest.to_bytes()),
        };
        let statement = Signed::make(&signing, &statement);
        let entry = CustodyEntry {
            version: VERSION,
            statement: statement.digest(),
            previous: statement.digest(),
            node: node.clone(),
            crossing: Crossing::InternetToExtranet,
            rules: "1".to_owned(),
            verdict: Verdict::Released,
            at: Timestamp(2),
        };
        let custody = [Signed::make(&signing, &entry)];
        let mut sealed = Vec::with_capacity(CONTENT_BYTES + (1 << 20));
        let (seal_cpu, seal_rate) = measured(CONTENT_BYTES, || {
            let target = name("extranet")?;
            let plan = SealPlan {
                bundle: new_id(Timestamp(2), [2; 10]),
                crossing: Crossing::InternetToExtranet,
                epoch: 1,
                sequence: 1,
                source: &node,
                target: &target,
                priority: Priority::Bulk,
                now: Timestamp(3),
                key: &signing,
                recipient: &opening.public(),
                keeper: &opening.public(),
                statement: &statement,
                custody: &custody,
                manifest: &manifest,
            };
            bundle::seal(&plan, &mut sealed, |_| Ok(content.as_slice())).map(|_| ()).map_err(io::Error::other)
        })?;
        let (verify_cpu, verify_rate) = measured(CONTENT_BYTES, || {
            bundle::verify(&mut sealed.as_slice(), &trust).map(|_| ()).map_err(io::Error::other)
        })?;
        println!(
            "| seal, sign, manifest, memory to memory, `{suite}` | {seal_cpu:.2} CPU s/GiB, {seal_rate:.0} MB/s | one pass of the digest alone: {alone_cpu:.2} CPU s/GiB, {alone_rate:.0} MB/s |"
        );
        println!("| verify, public keys only, `{suite}` | {verify_cpu:.2} CPU s/GiB, {verify_rate:.0} MB/s | |");
        if root_of(suite, &content) != digest {
            return Err(io::Error::other("the digest changed"));
        }
    }
    Ok(())
}

fn office(root: &Path) -> io::Result<Office> {
    let repository = PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default();
    let programs = std::env::current_exe()?.parent().map(Path::to_owned).unwrap_or_default();
    Office::found(
        root,
        Wishes { suite: "std".to_owned(), one_way: OneWay::Diode, repository, programs, round_every_s: 5 },
        Ok,
    )
}

fn files_in(folder: &Path) -> usize {
    fs::read_dir(folder).map_or(0, |entries| {
        entries.filter_map(Result::ok).filter(|entry| !entry.file_name().to_string_lossy().starts_with('.')).count()
    })
}

/// Durable small parcels from inlet to outlet over the gateway, beside a plain write, fsync and rename loop.
fn small_parcels() -> io::Result<()> {
    let root = std::env::temp_dir().join(format!("trilock-bench-{}", std::process::id()));
    let plain = root.join("plain");
    fs::create_dir_all(&plain)?;
    let bytes = Noise::new(3).bytes(SMALL_BYTES);
    let began = Instant::now();
    for at in 0..SMALL_PARCELS {
        let aside = plain.join(format!(".{at}"));
        let mut file = fs::File::create(&aside)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&aside, plain.join(at.to_string()))?;
    }
    let plain_rate = f64::from(SMALL_PARCELS) / began.elapsed().as_secs_f64();

    let mut office = office(&root.join("office"))?;
    for node in ["internet", "extranet"] {
        office.start(node)?;
    }
    office
        .await_that(PATIENCE, |office| office.spool("extranet").join("status/node.json").exists().then_some(()))
        .ok_or_else(|| io::Error::other("the extranet is not up"))?;
    let form = papers::application_form(1);
    let mut padded = form.clone().into_bytes();
    padded.resize(SMALL_BYTES, b' ');
    let inlet = office.inlet("internet", "applications");
    let apps = office.root.join("apps");
    fs::create_dir_all(&apps)?;
    for at in 0..SMALL_PARCELS {
        fs::write(apps.join(format!("form-{at}.json")), &padded)?;
    }
    let began = Instant::now();
    for at in 0..SMALL_PARCELS {
        let file = format!("form-{at}.json");
        fs::rename(apps.join(&file), inlet.join(&file))?;
    }
    let taken = office.await_that(PATIENCE, |_| (files_in(&inlet) == 0).then_some(())).is_some();
    let intake_rate = f64::from(SMALL_PARCELS) / began.elapsed().as_secs_f64();
    let outlet = office.outlet("extranet", "applications");
    let wanted = SMALL_PARCELS as usize;
    let there = office.await_that(PATIENCE, |_| (files_in(&outlet) >= wanted).then_some(())).is_some();
    let whole_rate = f64::from(SMALL_PARCELS) / began.elapsed().as_secs_f64();
    if !taken || !there {
        return Err(io::Error::other(format!("{} of {SMALL_PARCELS} small parcels arrived", files_in(&outlet))));
    }
    println!(
        "| {SMALL_PARCELS} parcels of 10 KiB through intake, guard, seal and ledger, `std` | {intake_rate:.0} /s | plain write, fsync, rename: {plain_rate:.0} /s |"
    );
    println!("| the same, inlet to outlet over the gateway | {whole_rate:.0} /s | |");
    drop(office);
    fs::remove_dir_all(&root)
}

/// One large archive from the extranet's inlet to the intranet's outlet over the one-way link, everything on.
fn one_way() -> io::Result<()> {
    let root = std::env::temp_dir().join(format!("trilock-bench-{}", std::process::id()));
    let mut office = office(&root)?;
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
    fs::remove_dir_all(&root)
}
