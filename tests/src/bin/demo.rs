//! The main job on this machine: three zones, real processes, generated keys. Tells the story line by line and ends
//! with a table; exit 0 only if every expected state was reached.
//!
//! `SUITE=gm` national cryptography · `CARRIER=folder` a copying gate instead of the wire · `INPUT=DIR` your own files
//! as well · `KEEP=1` leave the folder and say how to look around.
#![allow(clippy::disallowed_methods, reason = "the demo makes and removes files as apps and people would")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the demo tells a story")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::gate::Gate;
use tests::office::{Office, OneWay, Wishes};
use tests::papers;
use tests::relay::Relay;

/// No step of the story takes longer on a machine that is fit to run it.
const STEP: Duration = Duration::from_secs(40);
const ARCHIVE_BYTES: usize = 30_000_000;
/// Datagrams of a thousand that the wire loses.
const LOST_PER_MILLE: u64 = 10;

struct Story {
    began: Instant,
    rows: Vec<Row>,
    failed: Vec<String>,
}

struct Row {
    parcel: String,
    route: &'static str,
    state: String,
    seconds: f64,
    bytes: u64,
}

impl Story {
    fn tell(&self, line: &str) {
        println!("{:6.1} s  {line}", self.began.elapsed().as_secs_f64());
    }

    /// A claim that must hold.
    fn expect(&mut self, held: bool, claim: &str) {
        self.tell(&format!("{}  {claim}", if held { "ok  " } else { "FAIL" }));
        if !held {
            self.failed.push(claim.to_owned());
        }
    }

    fn row(&mut self, parcel: &str, route: &'static str, state: &str, since: Instant, bytes: usize) {
        self.rows.push(Row {
            parcel: parcel.to_owned(),
            route,
            state: state.to_owned(),
            seconds: since.elapsed().as_secs_f64(),
            bytes: bytes as u64,
        });
    }
}

fn main() -> ExitCode {
    let root = std::env::temp_dir().join(format!("trilock-demo-{}", std::process::id()));
    let kept = std::env::var("KEEP").is_ok_and(|keep| keep == "1");
    let mut story = Story { began: Instant::now(), rows: Vec::new(), failed: Vec::new() };
    let told = run(&root, &mut story, kept);
    if let Err(error) = told {
        story.failed.push(error.to_string());
        eprintln!("the demo stopped: {error}");
    }
    summary(&story);
    let passed = story.failed.is_empty();
    if kept || !passed {
        println!(
            "\nThe folder stays: {}\n  logs        {}/*/log\n  notices     {0}/*/spool/notices/*/*.json\n  evidence    {0}/*/spool/evidence",
            root.display(),
            root.display()
        );
        println!("  look        target/debug/extranet-node --config {}/extranet/extranet.toml list", root.display());
    } else if let Err(error) = fs::remove_dir_all(&root) {
        eprintln!("{} could not be removed: {error}", root.display());
    }
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn summary(story: &Story) {
    println!("\n{:<34} {:<16} {:<22} {:>8} {:>12}", "parcel", "route", "state", "seconds", "bytes");
    for row in &story.rows {
        println!("{:<34} {:<16} {:<22} {:>8.2} {:>12}", row.parcel, row.route, row.state, row.seconds, row.bytes);
    }
    if story.failed.is_empty() {
        println!("\nEvery expected state was reached in {:.0} s.", story.began.elapsed().as_secs_f64());
    } else {
        println!("\nNot reached:");
        for claim in &story.failed {
            println!("  - {claim}");
        }
    }
}

fn wishes() -> io::Result<Wishes> {
    let repository = PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default();
    let programs = std::env::current_exe()?.parent().map(Path::to_owned).unwrap_or_default();
    let suite = std::env::var("SUITE").unwrap_or_else(|_| "std".to_owned());
    let one_way = match std::env::var("CARRIER").as_deref() {
        Ok("folder") => OneWay::Folder,
        _ => OneWay::Diode,
    };
    Ok(Wishes { suite, one_way, repository, programs, round_every_s: 3 })
}

fn run(root: &Path, story: &mut Story, kept: bool) -> io::Result<()> {
    let wishes = wishes()?;
    let one_way = wishes.one_way;
    story.tell(&format!("an office with suite {}, three nodes, keys made and exchanged", wishes.suite));
    let mut relay = None;
    let mut office = Office::found(root, wishes, |receiver| {
        if one_way == OneWay::Folder {
            return Ok(receiver);
        }
        let started = Relay::start(receiver, LOST_PER_MILLE, 2026)?;
        let entrance = started.entrance;
        relay = Some(started);
        Ok(entrance)
    })?;
    let _gate = if one_way == OneWay::Folder { Some(Gate::start(&office.gate.0, &office.gate.1)?) } else { None };
    for node in ["internet", "extranet", "intranet"] {
        office.start(node)?;
    }
    for node in ["internet", "extranet", "intranet"] {
        let up = office
            .await_that(STEP, |office| office.spool(node).join("status/node.json").exists().then_some(()))
            .is_some();
        story.expect(up, &format!("the {node} node is up"));
    }

    application(&mut office, story)?;
    hidden_shapefile(&mut office, story)?;
    inward(&mut office, story, relay.as_ref())?;
    outward(&mut office, story)?;
    own_files(&mut office, story)?;
    proofs(&office, story);
    if let Some(relay) = &relay {
        let (passed, lost) = relay.counts();
        story.tell(&format!("the wire passed {passed} datagrams, lost {lost}, and carried nothing back"));
    }
    if kept {
        story.tell("the daemons stop now; start them again with `run --config`");
    }
    Ok(())
}

fn state_of(office: &Office, node: &str, route: &str, name: &str) -> Option<String> {
    office.notice(node, route, name).map(|(state, _)| state)
}

fn await_state(office: &mut Office, node: &str, route: &str, name: &str, wanted: &str) -> Result<(), String> {
    let reached = office
        .await_that(STEP, |office| (state_of(office, node, route, name).as_deref() == Some(wanted)).then_some(()));
    match reached {
        Some(()) => Ok(()),
        None => Err(state_of(office, node, route, name).unwrap_or_else(|| "no notice".to_owned())),
    }
}

fn same(place: &Path, bytes: &[u8]) -> bool {
    fs::read(place).is_ok_and(|found| found == bytes)
}

/// A citizen applies on the internet; the office's extranet has it in seconds.
fn application(office: &mut Office, story: &mut Story) -> io::Result<()> {
    let form = papers::application_form(1);
    let scans: Vec<Vec<u8>> = (1..=3).map(|page| papers::scanned_page(page, 1240, 1754)).collect();
    let ticket = papers::tax_ticket();
    let names = ["scans/deed-1.jpg", "scans/deed-2.jpg", "scans/id-card.jpg"];
    let mut files: Vec<(&str, &[u8])> = vec![("application.json", form.as_bytes()), ("tax-ticket.pdf", &ticket)];
    files.extend(names.iter().copied().zip(scans.iter().map(Vec::as_slice)));
    let bytes = files.iter().map(|(_, bytes)| bytes.len()).sum();
    story.tell("a citizen's application (form, three scans, tax ticket) drops into the internet inlet");
    let since = Instant::now();
    office.drop_in("internet", "applications", "case-00001", &files)?;
    let told = await_state(office, "internet", "applications", "case-00001", "delivered");
    let place = office.outlet("extranet", "applications").join("case-00001");
    let whole = files.iter().all(|(path, bytes)| same(&place.join(path), bytes));
    story.expect(whole, "it stands in the extranet outlet, whole");
    story.expect(
        told.is_ok(),
        &format!(
            "the internet's notice says delivered{}",
            told.err().map(|other| format!(" (it says {other})")).unwrap_or_default()
        ),
    );
    story.row("case-00001", "applications", "delivered", since, bytes);
    Ok(())
}

/// Somebody hides a shapefile in a zip in a letter.
fn hidden_shapefile(office: &mut Office, story: &mut Story) -> io::Result<()> {
    let letter = papers::letter_with_hidden_shapefile();
    story.tell("a letter with a zip inside, and in the zip a shapefile, drops into the internet inlet");
    let since = Instant::now();
    office.drop_in("internet", "applications", "letter.docx", &[("letter.docx", &letter)])?;
    let told = await_state(office, "internet", "applications", "letter.docx", "refused");
    let reason = office
        .notice("internet", "applications", "letter.docx")
        .and_then(|(_, notice)| notice.get("reason").and_then(Value::as_str).map(str::to_owned))
        .unwrap_or_default();
    story.expect(told.is_ok(), &format!("it is refused at the internet inlet with a notice: {reason}"));
    story.expect(reason == "coordinates", "and the notice names coordinates as the reason");
    story.expect(
        !office.outlet("extranet", "applications").join("letter.docx").exists(),
        "nothing of it reached the extranet",
    );
    story.row("letter.docx", "applications", &format!("refused: {reason}"), since, letter.len());
    Ok(())
}

/// A registration message and a large archive go through the one-way gate; a daemon dies in the middle.
fn inward(office: &mut Office, story: &mut Story, relay: Option<&Relay>) -> io::Result<()> {
    let message = papers::registration_message(1);
    let archive = papers::archive(ARCHIVE_BYTES, 7);
    story.tell("a registration message and a 30 MB archive drop into the extranet's inlets");
    let since = Instant::now();
    let (before, _) = relay.map(Relay::counts).unwrap_or_default();
    office.drop_in("extranet", "archives", "volume-2025.zip", &[("volume-2025.zip", &archive)])?;
    office.drop_in("extranet", "registration", "message-1.xml", &[("message-1.xml", message.as_bytes())])?;
    let under_way = office.await_that(STEP, |office| {
        let begun = match relay {
            // A third of the archive's datagrams are through.
            Some(relay) => relay.counts().0 > before + 7_000,
            None => {
                fs::read_dir(&office.gate.1).is_ok_and(|mut files| files.next().is_some())
                    || office.outlet("intranet", "registration").join("message-1.xml").exists()
            }
        };
        begun.then_some(())
    });
    story.expect(under_way.is_some(), "they are on their way through the one-way gate");
    office.kill("intranet")?;
    story.tell("kill -9: the intranet's daemon is gone in the middle of it, and is started again");
    office.start("intranet")?;
    let message_place = office.outlet("intranet", "registration").join("message-1.xml");
    let archive_place = office.outlet("intranet", "archives").join("volume-2025.zip");
    let arrived = office.await_that(STEP, |_| message_place.exists().then_some(()));
    story.expect(
        arrived.is_some() && same(&message_place, message.as_bytes()),
        "the message stands in the intranet outlet, whole",
    );
    story.row("message-1.xml", "registration", "delivered", since, message.len());
    let arrived = office.await_that(STEP, |_| archive_place.exists().then_some(()));
    story.expect(
        arrived.is_some() && same(&archive_place, &archive),
        "the archive stands in the intranet outlet, whole",
    );
    story.row("volume-2025.zip", "archives", "delivered", since, archive.len());
    let copies = fs::read_dir(office.outlet("intranet", "archives"))?
        .filter_map(Result::ok)
        .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
        .count();
    story.expect(copies == 1, "and only once");
    for (route, name) in [("registration", "message-1.xml"), ("archives", "volume-2025.zip")] {
        let told = await_state(office, "extranet", route, name, "sent");
        story.expect(
            told.is_ok(),
            &format!("the extranet's notice for {name} says sent: no receipt can come back this way"),
        );
    }
    Ok(())
}

/// A review result leaves the internal zone on a disc, without its boundary points; everything settles.
fn outward(office: &mut Office, story: &mut Story) -> io::Result<()> {
    let result = papers::review_result(9);
    story.tell("a survey review result with boundary points drops into the intranet's inlets");
    let since = Instant::now();
    office.drop_in("intranet", "responses", "review-9.xml", &[("review-9.xml", result.as_bytes())])?;
    office.drop_in("intranet", "review-results", "review-9.xml", &[("review-9.xml", result.as_bytes())])?;
    let refused = await_state(office, "intranet", "responses", "review-9.xml", "refused");
    story.expect(refused.is_ok(), "as it is, it is refused outward");
    story.row("review-9.xml (as it is)", "responses", "refused", since, result.len());
    let stripped = await_state(office, "intranet", "review-results", "review-9.xml", "stripped");
    story.expect(
        stripped.is_ok(),
        "on the route that may strip, its points are taken out and recorded by kind and count",
    );

    let disc = office.root.join("disc");
    fs::create_dir_all(&disc)?;
    let disc = disc.to_string_lossy().into_owned();
    story.tell("operator Ma exports a trip to the disc; Li and Zhao countersign; the disc is read back and confirmed");
    office.ferry_as(
        "operator-ma",
        "intranet",
        "export",
        &["--medium-id", "disc-0001", "--carrier", "carrier-sun", "--medium", &disc],
    )?;
    let alone = office.ferry_as("operator-ma", "intranet", "confirm", &["--medium", &disc, "--trip", "1"]);
    story.expect(alone.is_err(), "without two countersignatures the trip is not confirmed");
    for approver in ["approver-li", "approver-zhao"] {
        office.ferry_as(approver, "intranet", "approve", &["--trip", "1", "--medium", &disc])?;
    }
    office.ferry_as("operator-ma", "intranet", "confirm", &["--medium", &disc, "--trip", "1"])?;
    story.tell("the disc is carried over; operator Chen imports it at the extranet");
    let trust = office.root.join("extranet/trust").to_string_lossy().into_owned();
    office.ferry_as("operator-chen", "extranet", "import", &["--medium", &disc, "--trust", &trust])?;
    let again = office.ferry_as("operator-chen", "extranet", "import", &["--medium", &disc, "--trust", &trust]);
    // What counts is what it does, seen below: nothing appears a second time.
    story.tell(&format!(
        "the same disc is presented once more: {}",
        if again.is_ok() { "nothing new on it" } else { "refused" }
    ));

    let place = office.outlet("extranet", "review-results").join("review-9.xml");
    let arrived = office.await_that(STEP, |_| fs::read_to_string(&place).ok());
    let clean = arrived.as_deref().is_some_and(|text| {
        text.contains("652901001001GB00018W00000000") && !text.contains("KTT_GY_JZD") && !text.contains("4563112")
    });
    story.expect(clean, "the review result stands in the extranet outlet, without one boundary point");
    let outlet = office.outlet("extranet", "review-results");
    let copies = || {
        fs::read_dir(&outlet).map_or(0, |all| {
            all.filter_map(Result::ok).filter(|e| !e.file_name().to_string_lossy().starts_with('.')).count()
        })
    };
    story.row("review-9.xml (stripped)", "review-results", "delivered", since, arrived.map_or(0, |text| text.len()));
    for (route, name) in [("registration", "message-1.xml"), ("archives", "volume-2025.zip")] {
        let told = await_state(office, "extranet", route, name, "delivered");
        story.expect(
            told.is_ok(),
            &format!("the trip brought the receipts home: the extranet's notice for {name} says delivered"),
        );
    }
    let told = await_state(office, "intranet", "review-results", "review-9.xml", "delivered");
    story.expect(told.is_ok(), "its own receipt came home through the one-way gate, without a second medium");
    let settled = office.await_that(STEP, |office| {
        let trips: Value =
            serde_json::from_slice(&fs::read(office.spool("intranet").join("status/trips.json")).ok()?).ok()?;
        let settled = trips.as_array()?.iter().any(|trip| {
            trip.get("trip").and_then(Value::as_u64) == Some(1)
                && trip.get("state").and_then(Value::as_str) == Some("settled")
        });
        settled.then_some(())
    });
    story.expect(settled.is_some(), "ferry trips in the intranet shows trip 1 settled");
    story.expect(copies() == 1, "and the review result stands in the outlet once, though the disc was presented twice");
    let empty = office.await_that(STEP, |office| {
        let outbox = office.spool("extranet").join("queues/outbox/extranet-intranet");
        let bundles = fs::read_dir(outbox)
            .ok()?
            .filter_map(Result::ok)
            .filter(|entry| entry.file_name().to_string_lossy().ends_with(".bundle"))
            .count();
        (bundles == 0).then_some(())
    });
    story.expect(empty.is_some(), "the extranet's outbox holds no bundle any more: custody of each has passed");
    Ok(())
}

/// The reader's own files, one parcel each.
fn own_files(office: &mut Office, story: &mut Story) -> io::Result<()> {
    let Ok(input) = std::env::var("INPUT") else { return Ok(()) };
    story.tell(&format!("your own files from {input}, internet to extranet"));
    let mut names = Vec::new();
    for entry in fs::read_dir(&input)? {
        let path = entry?.path();
        if !path.is_file() {
            continue;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let bytes = fs::read(&path)?;
        office.drop_in("internet", "own-files", &name, &[(&name, &bytes)])?;
        names.push((name, bytes.len()));
    }
    for (name, bytes) in names {
        let since = Instant::now();
        let ended = office.await_that(STEP, |office| {
            let (state, notice) = office.notice("internet", "own-files", &name)?;
            matches!(state.as_str(), "delivered" | "refused" | "quarantined" | "duplicate").then_some((state, notice))
        });
        let (state, why) = match ended {
            Some((state, notice)) => {
                let why: Vec<&str> = notice
                    .get("reason")
                    .and_then(Value::as_str)
                    .into_iter()
                    .chain(
                        notice.get("details").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str),
                    )
                    .collect();
                (state, why.join("; "))
            }
            None => ("no end".to_owned(), String::new()),
        };
        story.expect(state != "no end", &format!("{name}: {state}{}{why}", if why.is_empty() { "" } else { ": " }));
        story.row(&name, "own-files", &state, since, bytes);
    }
    Ok(())
}

/// What an auditor checks with public keys alone.
fn proofs(office: &Office, story: &mut Story) {
    let trust = office.root.join("extranet/trust").to_string_lossy().into_owned();
    for node in ["internet", "extranet", "intranet"] {
        let ledger = office.spool(node).join("ledger").to_string_lossy().into_owned();
        let verified = office.ferry(&["ledger", "verify", "--dir", &ledger, "--trust", &trust]);
        let words = verified.as_ref().err().map(|error| format!(": {error}")).unwrap_or_default();
        story.expect(verified.is_ok(), &format!("the ledger of the {node} node verifies{words}"));
    }
    for node in ["internet", "extranet", "intranet"] {
        let evidence = office.spool(node).join("evidence").to_string_lossy().into_owned();
        let verified = office.ferry(&["verify", &evidence, "--trust", &trust]);
        let words = verified.as_ref().err().map(|error| format!(": {error}")).unwrap_or_default();
        story.expect(verified.is_ok(), &format!("the evidence of the {node} node proves origin and every hop{words}"));
    }
}
