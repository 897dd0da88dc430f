//! Sections of `make bench` that stand in files of their own.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "they print a report")]

pub mod history;
