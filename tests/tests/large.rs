//! A parcel far larger than memory, through both ends at once. One test, so that it has its process to itself, under
//! every runner: it measures what the process takes.
#![allow(clippy::unwrap_used, reason = "a test fails here")]
#![allow(clippy::disallowed_methods, reason = "the one file written is the kernel's")]

use std::fs::{self, File};
use std::io::{self, PipeWriter, Read, Seek as _, SeekFrom, Write};
use std::os::unix::fs::FileExt as _;
use std::thread;

use protocol::Suite;
use tests::seals::{Content, Seals};

/// What a bundle in flight may take: here three of them do, one being sealed, one verified and one opened.
const MEMORY_BYTES_MAX: u64 = 16 << 20;
/// Bytes that are not zero stand at every so many.
const STEP_BYTES: usize = 97 << 20;

/// A sparse file: mostly holes, with a few bytes here and there, also at its end.
fn sparse(size: u64) -> File {
    let file = tempfile::tempfile().unwrap();
    file.set_len(size).unwrap();
    for at in (0..size - 8).step_by(STEP_BYTES).chain([size - 8]) {
        file.write_all_at(&at.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes(), at).unwrap();
    }
    file
}

/// Two readers of one bundle.
struct Both(PipeWriter, PipeWriter);

impl Write for Both {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all(bytes)?;
        self.1.write_all(bytes)?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Compares what is opened with what was sealed, instead of keeping it.
struct Same {
    file: File,
    at: u64,
    piece: Vec<u8>,
}

impl Write for Same {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.resize(bytes.len(), 0);
        self.file.read_exact_at(&mut self.piece, self.at)?;
        assert!(self.piece == bytes, "other bytes at {}", self.at);
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Memory of this process, now and at most since it was last set back: kibibytes of the kernel, as bytes.
fn memory(line: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let found = status.lines().find(|at| at.starts_with(line)).unwrap();
    found.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn a_sparse_parcel_far_larger_than_memory_is_sealed_verified_and_opened_in_sixteen_mebibytes() {
    let soak = std::env::var_os("TRILOCK_SOAK").is_some();
    let size = if soak { 20 << 30 } else { 320 << 20 };
    let mut file = sparse(size + 12_345);
    for suite in Suite::ALL {
        let seals = Seals::new(suite).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        // The highest mark, set back to what is in use now (proc(5), clear_refs).
        fs::write("/proc/self/clear_refs", "5").unwrap();
        let before = memory("VmRSS");
        let content = Content::inspect(suite, &mut file).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        let (mut verifying, first) = io::pipe().unwrap();
        let (mut opening, second) = io::pipe().unwrap();
        let mut same = Same { file: file.try_clone().unwrap(), at: 0, piece: Vec::new() };
        thread::scope(|scope| {
            let verified = scope.spawn(|| seals.verify(&mut verifying));
            let opened = scope.spawn(|| seals.open(&mut opening, &mut same));
            // `Same` reads at places of its own; the one position of the file is the sealer's.
            let sealed = seals.seal(0, content, Read::by_ref(&mut file), &mut Both(first, second));
            // Whoever could not go on says why; the others only say that a pipe broke.
            opened.join().unwrap().unwrap();
            verified.join().unwrap().unwrap();
            sealed.unwrap();
        });
        assert_eq!(same.at, content.size);
        let taken = memory("VmHWM").saturating_sub(before);
        println!("{suite}: {} MiB of content, {} KiB of memory", content.size >> 20, taken >> 10);
        assert!(taken <= MEMORY_BYTES_MAX, "{suite}: {taken} bytes of memory, {MEMORY_BYTES_MAX} are allowed");
    }
}
