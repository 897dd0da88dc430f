//! A program of the office's own: never through a shell, in a process group of its own, and not for ever.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Runs a program to its end. One that takes longer is killed, with everything that it started.
pub(crate) fn run(command: &mut Command, within: Duration) -> io::Result<ExitStatus> {
    let mut child = command.process_group(0).spawn()?;
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if began.elapsed() >= within {
            let group = rustix::process::Pid::from_child(&child);
            rustix::process::kill_process_group(group, rustix::process::Signal::KILL)?;
            child.wait()?;
            return Err(io::ErrorKind::TimedOut.into());
        }
        std::thread::park_timeout(LOOK);
    }
}
