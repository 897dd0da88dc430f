//! The four programs, built where a test runs alone and found beside it. A test package cannot ask cargo for the
//! binaries of other packages, so the first test of a run asks cargo itself; cargo's own lock keeps two from fighting.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// What is shipped.
pub const PROGRAMS: [&str; 4] = ["internet-node", "extranet-node", "intranet-node", "ferry"];

/// The root of the repository.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

/// The folder with the four programs, as they are built from the sources of this moment. `TRILOCK_PROGRAMS` names
/// another one, for a test of an installed tree.
#[must_use]
pub fn programs() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| match std::env::var_os("TRILOCK_PROGRAMS") {
        Some(folder) => PathBuf::from(folder),
        None => build().expect("the four programs can be built"),
    })
}

/// One of them.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    programs().join(name)
}

/// The Python that `make prerequisites` set up in the target folder where the machine's own lacks `cryptography`, and
/// the machine's own.
#[must_use]
pub fn pythons() -> Vec<PathBuf> {
    let own = target_folder().ok().map(|folder| folder.join("python/bin/python3"));
    own.into_iter().filter(|path| path.is_file()).chain([PathBuf::from("python3")]).collect()
}

/// Cargo's target folder.
pub fn target_folder() -> io::Result<PathBuf> {
    let folder = profile_folder()?;
    Ok(folder.parent().unwrap_or(&folder).to_owned())
}

/// Where cargo put what runs: `debug` or `release` of the target folder.
fn profile_folder() -> io::Result<PathBuf> {
    let executable = std::env::current_exe()?;
    let folder = executable.parent().unwrap_or(&executable);
    Ok(if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder }.to_owned())
}

fn build() -> io::Result<PathBuf> {
    let folder = profile_folder()?;
    let target = target_folder()?;
    // nextest starts a process a test: the first of a run builds, the others read that it is done.
    let run = std::env::var("NEXTEST_RUN_ID").ok();
    let mark = folder.join(".programs-built-for-run");
    let lock = fs::File::create(folder.join(".programs-lock"))?;
    lock.lock()?;
    if run.is_some() && fs::read_to_string(&mark).ok() == run {
        return Ok(folder);
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(repository()).args(["build", "-q", "--locked", "--target-dir"]).arg(target);
    PROGRAMS.iter().for_each(|name| {
        cargo.args(["-p", name]);
    });
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    let output = cargo.output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("cargo build: {}", String::from_utf8_lossy(&output.stderr))));
    }
    if let Some(run) = run {
        fs::write(mark, run)?;
    }
    Ok(folder)
}

/// What a command said and how it ended, for messages of failed tests.
#[must_use]
pub fn words(output: &Output) -> String {
    format!("{}\n{}{}", output.status, String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
