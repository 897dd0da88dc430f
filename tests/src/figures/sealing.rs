//! Sealing, verifying and opening, memory to memory and file to file: both suites, every kernel this machine has, the
//! crates of the registry as they stand, and other programs beside them. CPU seconds of the whole process, so that
//! neither other load nor more threads make a figure better.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use protocol::Suite;
use wide::Kernel;

use super::{Cost, measured, peers, stock};
use crate::papers::Noise;
use crate::seals::{Content, Seals};

const CONTENT_BYTES: usize = 256 << 20;
/// Each figure is the best of so many: whatever else runs here can only make one worse.
const TURNS: usize = 5;

/// Prints the rows.
pub fn run(root: &Path) -> io::Result<()> {
    let content = Noise::new(1).bytes(CONTENT_BYTES);
    // Touched once, so that no figure has the kernel finding memory in it.
    let mut sealed = vec![1; CONTENT_BYTES + (1 << 20)];
    let mut back = vec![1; CONTENT_BYTES];
    for suite in Suite::ALL {
        let seals = Seals::new(suite)?;
        let facts = Content::inspect(suite, &mut content.as_slice())?;
        for kernel in Kernel::all() {
            kernel.prefer();
            let seal = best(|| {
                sealed.clear();
                seals.seal(0, facts, content.as_slice(), &mut sealed)
            })?;
            let verify = best(|| seals.verify(&mut sealed.as_slice()))?;
            let open = best(|| {
                back.clear();
                seals.open(&mut sealed.as_slice(), &mut back)
            })?;
            if back != content {
                return Err(io::Error::other("what was opened is not what was sealed"));
            }
            let what = format!("memory to memory, `{suite}`, {}", kernel.name());
            println!("| seal, {what} | {seal} | inspect: {} |", best(|| inspect(suite, &content))?);
            println!("| verify, {what} | {verify} | |");
            println!("| open, {what} | {open} | |");
        }
        let seal = best(|| {
            sealed.clear();
            stock::seal(suite, &content, &mut sealed);
            Ok(())
        })?;
        let verify = best(|| stock::verify(suite, sealed.as_slice()))?;
        println!("| seal, memory to memory, `{suite}`, stock crates | {seal} | |");
        println!("| verify, memory to memory, `{suite}`, stock crates | {verify} | |");
    }
    drop((sealed, back));
    if let Some(kernel) = Kernel::all().next() {
        kernel.prefer();
    }
    files(root, &content)?;
    peers::run(root, &content)?;
    fs::remove_dir_all(root)
}

/// From one file to another, both in the page cache; nothing is synced, as for the programs beside it.
fn files(root: &Path, content: &[u8]) -> io::Result<()> {
    fs::create_dir_all(root)?;
    let (plain, sealed, back) = (root.join("content"), root.join("sealed"), root.join("back"));
    fs::write(&plain, content)?;
    for suite in Suite::ALL {
        let seals = Seals::new(suite)?;
        let facts = Content::inspect(suite, &mut File::open(&plain)?)?;
        let seal = best(|| seals.seal(0, facts, File::open(&plain)?, &mut File::create(&sealed)?))?;
        let copy = best(|| fs::copy(&plain, &back).map(|_| ()))?;
        let verify = best(|| seals.verify(&mut File::open(&sealed)?))?;
        let open = best(|| seals.open(&mut File::open(&sealed)?, &mut File::create(&back)?))?;
        println!("| seal, file to file, `{suite}` | {seal} | copying the file: {copy} |");
        println!("| verify, from a file, `{suite}` | {verify} | |");
        println!("| open, file to file, `{suite}` | {open} | |");
        let seal = best(|| stock::seal_file(suite, File::open(&plain)?, File::create(&sealed)?))?;
        let verify = best(|| stock::verify(suite, File::open(&sealed)?))?;
        println!("| seal, file to file, `{suite}`, stock crates | {seal} | |");
        println!("| verify, from a file, `{suite}`, stock crates | {verify} | |");
    }
    Ok(())
}

fn inspect(suite: Suite, content: &[u8]) -> io::Result<()> {
    Content::inspect(suite, &mut &*content).map(|_| ())
}

fn best(mut work: impl FnMut() -> io::Result<()>) -> io::Result<Cost> {
    let mut best: Option<Cost> = None;
    for _ in 0..TURNS {
        let cost = measured(CONTENT_BYTES, &mut work)?;
        best = best.filter(|best| best.cpu_s <= cost.cpu_s).or(Some(cost));
    }
    best.ok_or_else(|| io::Error::other("no turn was taken"))
}
