//! What `make bench` measures, one file a subject. Each prints rows of Markdown with a baseline of the same run beside
//! the figure: machines differ and are noisy, a ratio holds.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "they print a report")]

pub mod guard;
pub mod history;
pub mod intake;
pub mod link;
pub mod peers;
pub mod sandbox;
pub mod sealing;
pub mod stock;
pub mod trip;
pub mod verifying;

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::office::{Office, OneWay, Wishes};

/// Nothing measured here takes longer on a machine that can be used at all.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// CPU seconds of a process so far (`self` for this one), from its scheduler statistics.
#[must_use]
pub fn cpu_of(pid: &str) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after = text.rsplit(") ").next().unwrap_or_default().to_owned();
    let ticks: f64 = after.split(' ').skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    // The kernel counts user-visible ticks in hundredths of a second on every platform this runs on.
    ticks / 100.0
}

/// CPU seconds of this process so far, all threads, to the nanosecond.
#[must_use]
pub fn own_cpu_s() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// CPU seconds of all programs that this process started and waited for.
#[must_use]
pub fn children_cpu_s() -> f64 {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = text.rsplit(") ").next().unwrap_or_default().to_owned();
    // The kernel counts hundredths of a second, as in `cpu_of`.
    after.split(' ').skip(13).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// What some work on so many bytes cost.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// How much was worked on.
    pub bytes: usize,
    /// The CPU time of it.
    pub cpu_s: f64,
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.bytes as f64;
        let per_gib = self.cpu_s / (bytes / f64::from(1 << 30));
        write!(f, "{per_gib:.2} CPU s/GiB, {:.0} MB/s a core", bytes / 1e6 / self.cpu_s)
    }
}

/// The cost of work over so many bytes.
pub fn measured(bytes: usize, mut work: impl FnMut() -> io::Result<()>) -> io::Result<Cost> {
    let before = own_cpu_s();
    work()?;
    Ok(Cost { bytes, cpu_s: own_cpu_s() - before })
}

/// The most memory a process ever had, MiB.
#[must_use]
pub fn rss_mib(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default().to_owned();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// An office of the shipped programs below `root`, as the demo has it.
pub fn office(root: &Path) -> io::Result<Office> {
    let repository = PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default();
    let programs = std::env::current_exe()?.parent().map(Path::to_owned).unwrap_or_default();
    let wishes = Wishes { suite: "std".to_owned(), one_way: OneWay::Diode, repository, programs, round_every_s: 5 };
    Office::found(root, wishes, Ok)
}

/// What apps would see in a folder.
#[must_use]
pub fn files_in(folder: &Path) -> usize {
    fs::read_dir(folder).map_or(0, |entries| {
        entries.filter_map(Result::ok).filter(|entry| !entry.file_name().to_string_lossy().starts_with('.')).count()
    })
}
