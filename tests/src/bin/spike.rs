//! The office's day against the guard: `spike` puts one boundary point into each document and tells whether it was
//! stopped; `spike --write` makes the clean documents of the sample office anew.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it prints a report")]
#![allow(clippy::disallowed_methods, reason = "it writes documents into the source tree, as a person would")]

use std::process::ExitCode;

use tests::office_day;
use tests::samples::ALL;

fn main() -> ExitCode {
    if std::env::args().any(|word| word == "--write") {
        for sample in ALL {
            let place = office_day::place(sample);
            let written = place.parent().map_or(Ok(()), std::fs::create_dir_all);
            if let Err(error) = written.and_then(|()| std::fs::write(&place, sample.clean())) {
                eprintln!("{}: {error}", place.display());
                return ExitCode::FAILURE;
            }
        }
        println!("{} documents written", ALL.len());
        return ExitCode::SUCCESS;
    }
    let mut passed = 0;
    for sample in ALL {
        let (clean, spiked) = (office_day::judged(sample, sample.clean()), office_day::judged(sample, sample.spiked()));
        let held = spiked.is_stopped();
        passed += u32::from(!held);
        println!("{:8} {:12} {:24} as it is: {clean}; with a point: {spiked}", sample.node, sample.route, sample.name);
    }
    println!("{} documents, {passed} passed with a point in them", ALL.len());
    if passed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
