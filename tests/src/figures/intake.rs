//! Small parcels through intake: how many a second become durable, beside a plain write, sync and rename of the same
//! bytes; then on to the outlet over the gateway; and how long an urgent one waits while bulk is being worked off.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use super::{PATIENCE, cpu_of, files_in, office, rss_mib};
use crate::office::Office;
use crate::papers::{self, Noise};

const PARCELS: u32 = 4_000;
const BYTES: usize = 10 * 1024;
/// Plain writes a turn; there is one turn before and one after, so that a machine that slows down slows both.
const PLAIN: u32 = 2_000;
const URGENT: usize = 200;
const BULK: usize = 24;
const BULK_BYTES: usize = 48 << 20;

/// Prints the rows.
pub fn run(root: &Path) -> io::Result<()> {
    small_parcels(root)?;
    urgent_under_bulk(root)
}

/// Writes, syncs and renames a second.
fn plain(folder: &Path, turn: u32) -> io::Result<f64> {
    fs::create_dir_all(folder)?;
    let bytes = Noise::new(3).bytes(BYTES);
    let began = Instant::now();
    for at in 0..PLAIN {
        let aside = folder.join(format!(".{turn}-{at}"));
        let mut file = fs::File::create(&aside)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&aside, folder.join(format!("{turn}-{at}")))?;
    }
    Ok(f64::from(PLAIN) / began.elapsed().as_secs_f64())
}

fn up(office: &mut Office, node: &'static str) -> io::Result<()> {
    office.start(node)?;
    office
        .await_that(PATIENCE, |office| office.spool(node).join("status/node.json").exists().then_some(()))
        .ok_or_else(|| io::Error::other(format!("{node} is not up")))
}

fn small_parcels(root: &Path) -> io::Result<()> {
    let before = plain(&root.join("plain"), 1)?;
    let mut office = office(&root.join("office"))?;
    up(&mut office, "internet")?;
    let mut padded = papers::application_form(1).into_bytes();
    padded.resize(BYTES, b' ');
    let inlet = office.inlet("internet", "applications");
    let apps = root.join("apps");
    fs::create_dir_all(&apps)?;
    for at in 0..PARCELS {
        fs::write(apps.join(format!("form-{at}.json")), &padded)?;
    }
    let pid = office.nodes.get("internet").and_then(crate::office::Node::pid).unwrap_or(0);
    let (began, cpu) = (Instant::now(), cpu_of(&pid.to_string()));
    for at in 0..PARCELS {
        let file = format!("form-{at}.json");
        fs::rename(apps.join(&file), inlet.join(&file))?;
    }
    // Taken, and nothing left claimed: recorded, sealed, durable, told of.
    let done = |_: &Office| (files_in(&inlet) == 0 && claimed(&inlet) == 0).then_some(());
    office.await_that(PATIENCE, done).ok_or_else(|| io::Error::other("the inlet was not worked off"))?;
    let seconds = began.elapsed().as_secs_f64();
    let cpu = cpu_of(&pid.to_string()) - cpu;
    let rate = f64::from(PARCELS) / seconds;
    let after = plain(&root.join("plain"), 2)?;
    let base = f64::midpoint(before, after);
    println!(
        "| {PARCELS} parcels of 10 KiB through intake (claim, guard, seal, ledger, notice), `std` | {rate:.0} /s, {:.0} us CPU each, peak RSS {} MiB | plain write, fsync, rename: {base:.0} /s; ratio {:.2} |",
        cpu * 1e6 / f64::from(PARCELS),
        rss_mib(pid),
        rate / base
    );
    let began = Instant::now();
    up(&mut office, "extranet")?;
    let outlet = office.outlet("extranet", "applications");
    let there = |_: &Office| (files_in(&outlet) >= PARCELS as usize).then_some(());
    office
        .await_that(PATIENCE, there)
        .ok_or_else(|| io::Error::other(format!("{} of {PARCELS} parcels arrived", files_in(&outlet))))?;
    println!(
        "| the same from the outbox over the gateway to the outlet | {:.0} /s | |",
        f64::from(PARCELS) / began.elapsed().as_secs_f64()
    );
    drop(office);
    fs::remove_dir_all(root)
}

fn claimed(inlet: &Path) -> usize {
    fs::read_dir(inlet.join(".claimed")).map_or(0, Iterator::count)
}

/// Urgent messages, one by one, while archives are being inspected and sealed.
fn urgent_under_bulk(root: &Path) -> io::Result<()> {
    let mut office = office(&root.join("office"))?;
    up(&mut office, "extranet")?;
    let apps = root.join("apps");
    fs::create_dir_all(&apps)?;
    let archives = office.inlet("extranet", "archives");
    for at in 0..BULK {
        let file = format!("volume-{at}.zip");
        fs::write(apps.join(&file), papers::archive(BULK_BYTES, at as u64))?;
        fs::rename(apps.join(&file), archives.join(&file))?;
    }
    let inlet = office.inlet("extranet", "registration");
    let notices = office.spool("extranet").join("notices/registration");
    let (mut waits, mut syncs) = (Vec::new(), Vec::new());
    for at in 0..URGENT {
        let file = format!("message-{at}.xml");
        fs::write(apps.join(&file), papers::registration_message(u32::try_from(at).unwrap_or(0)))?;
        syncs.push(one_sync(&apps)?);
        let began = Instant::now();
        fs::rename(apps.join(&file), inlet.join(&file))?;
        let told = notices.join(format!("{file}.accepted.json"));
        while !told.exists() {
            if began.elapsed() > PATIENCE {
                return Err(io::Error::other(format!("{file} was not accepted")));
            }
            std::thread::park_timeout(Duration::from_micros(200));
        }
        waits.push(began.elapsed());
    }
    let busy = files_in(&archives) + claimed(&archives) > 0;
    waits.sort_unstable();
    syncs.sort_unstable();
    let at = |sorted: &[Duration], percent: usize| {
        sorted
            .get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1)))
            .map_or(0.0, |d| d.as_secs_f64() * 1e3)
    };
    println!(
        "| an urgent message of some KiB, inlet to `accepted`, while {BULK} archives of 48 MiB are taken in{} | median {:.1} ms, p99 {:.1} ms | one fsync beside it: median {:.1} ms, p99 {:.1} ms |",
        if busy { "" } else { " (they were done before the last message)" },
        at(&waits, 50),
        at(&waits, 99),
        at(&syncs, 50),
        at(&syncs, 99),
    );
    drop(office);
    fs::remove_dir_all(root)
}

fn one_sync(folder: &Path) -> io::Result<Duration> {
    let began = Instant::now();
    let mut file = fs::File::create(folder.join("sync"))?;
    file.write_all(&[0; 4096])?;
    file.sync_all()?;
    Ok(began.elapsed())
}
