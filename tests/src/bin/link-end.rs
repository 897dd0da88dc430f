//! One end of the one-way link, or a relay, as a process of its own: for the rig, which kills it. See `tests::rig::end`.
#![allow(clippy::print_stderr, reason = "it is started by a test, which shows what it says")]

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match tests::rig::end::run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("link-end: {error}");
            ExitCode::FAILURE
        }
    }
}
