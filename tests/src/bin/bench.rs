//! The first figures, each beside a baseline in the same run: sealing and verifying, small parcels through intake, and
//! parcels from an inlet over the gateway and over the one-way link. CPU seconds per GiB is the number to compare; wall time is noise on a shared
//! machine. Prints Markdown for `docs/measurements.md`.
#![allow(clippy::disallowed_methods, reason = "the baseline of a durable write is a plain write, sync and rename")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it prints a report")]

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use protocol::bundle::{self, SealPlan};
use protocol::der_types::Octets;
use protocol::id::new_id;
use protocol::keys::{OpeningKey, SigningKey};
use protocol::parcel::{CustodyEntry, FileEntry, Manifest, ParcelStatement, Priority, VERSION};
use protocol::tree::{Tree, root_of};
use protocol::trust::{KeyCard, Role, Use};
use protocol::{Crossing, Name, Signed, Suite, Timestamp, Trust, Verdict, Zone};
use tests::figures::{self, PATIENCE, cpu_of, office, rss_mib};
use tests::papers::{self, Noise};

const CONTENT_BYTES: usize = 256 << 20;
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
        sealing()?;
    }
    if wanted("sandbox") {
        figures::sandbox::run(&root)?;
    }
    if wanted("intake") {
        figures::intake::run(&root)?;
    }
    if wanted("one-way") {
        one_way(&root)?;
    }
    if wanted("history") {
        figures::history::run()?;
    }
    Ok(())
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
