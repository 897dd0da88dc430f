//! The office's virus scanner, asked about every file that the guard has released: a program, or clamd over its socket.
//! It can only take away: what the guard refuses is never shown to it, and what it says of a clean file changes nothing.
//!
//! A scanner that is dead, slow or talks nonsense has said nothing: the parcel waits, and is tried again with growing
//! pauses. After a silence it is asked about nothing at all, an empty file: where it does not answer that either, nobody
//! asks it for a while, so that parcels behind one another do not each wait for it. Where it does, only the parcel that
//! it stumbles over waits, and is refused where it does so three times.
//!
//! It reads the file by itself, beside the guard: an app that writes into what it dropped at that very moment can show
//! it other bytes. What the guard and the seal see is bound by digests; what the scanner sees is not.
//!
//! ```text
//! exec:PROGRAM    the file on standard input; exit 0 clean, 1 found, anything else is silence
//! clamd:SOCKET    zINSTREAM\0, then pieces: length (4, big-endian) | bytes, and a length of 0; the reply ends in \0
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use guard::Parcel as _;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::config::{ScannerSettings, ScannerWay};
use crate::drop::Drop;
use crate::program;

/// All files of one parcel together: a scanner that is slow over each of thousands of files must not hold a stage for a
/// day.
const PARCEL_WITHIN: Duration = Duration::from_secs(600);
/// So long nobody asks a scanner that was silent.
const QUIET_FOR: Duration = Duration::from_secs(10);
/// A scanner that is well has no work with an empty file.
const PROBE_WITHIN: Duration = Duration::from_secs(5);
/// A parcel about which a scanner that is well has no answer so often is refused: reason `scanner`.
const STUMBLES_MAX: u32 = 3;
/// Parcels of which that is remembered. More is a scanner that is not well.
const STUMBLES_KEPT: usize = 1_000;
/// A piece of the stream.
const PIECE_BYTES: usize = 64 * 1024;
/// A reply is one line with the name of a signature.
const REPLY_BYTES_MAX: u64 = 4 * 1024;

/// What a scanner says of a parcel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scanned {
    /// Nothing was found in any file.
    Clean,
    /// Something was found, or a file is larger than it may be shown.
    Refused,
}

/// The office's scanner.
#[derive(Clone, Debug)]
pub struct Scanner {
    settings: ScannerSettings,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    quiet_until: Mutex<Option<Instant>>,
    /// By a parcel's place: how often it had no answer about it and was well.
    stumbles: Mutex<BTreeMap<PathBuf, u32>>,
    silences: AtomicU64,
}

impl Scanner {
    /// A scanner as the config has it.
    #[must_use]
    pub fn new(settings: ScannerSettings) -> Scanner {
        Scanner { settings, shared: Arc::default() }
    }

    /// How often it said nothing.
    #[must_use]
    pub fn silences(&self) -> u64 {
        self.shared.silences.load(Ordering::Relaxed)
    }

    /// Shows it every file.
    ///
    /// # Errors
    /// It said nothing, or a file could not be read: nothing is known of the parcel.
    pub fn scan(&self, drop: &Drop) -> io::Result<Scanned> {
        let now = Instant::now();
        let quiet = *self.shared.quiet_until.lock().unwrap_or_else(PoisonError::into_inner);
        if quiet.is_some_and(|until| now < until) {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the scanner was silent a moment ago"));
        }
        let mut answer = self.scan_all(drop, now);
        let is_silent = answer.is_err() && self.ask(File::open("/dev/null"), PROBE_WITHIN).is_err();
        if !is_silent && self.has_stumbled(drop.place(), answer.is_ok()) {
            answer = Ok(Scanned::Refused);
        }
        let until = is_silent.then(|| Instant::now() + QUIET_FOR);
        *self.shared.quiet_until.lock().unwrap_or_else(PoisonError::into_inner) = until;
        if let Err(error) = &answer {
            self.shared.silences.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(%error, "the scanner gave no answer; what it was asked about waits");
        }
        answer
    }

    /// Has a scanner that is well stumbled over this parcel as often as it may? Each time costs a stage up to the whole
    /// `within_s`, and the next would be no better.
    fn has_stumbled(&self, place: &Path, answered: bool) -> bool {
        let mut stumbles = self.shared.stumbles.lock().unwrap_or_else(PoisonError::into_inner);
        if answered {
            stumbles.remove(place);
            return false;
        }
        if stumbles.len() >= STUMBLES_KEPT {
            stumbles.clear();
        }
        let times = stumbles.entry(place.to_owned()).or_insert(0);
        *times += 1;
        let enough = *times >= STUMBLES_MAX;
        if enough {
            stumbles.remove(place);
            tracing::warn!("the scanner is well and has no answer about a parcel; it is refused");
        }
        enough
    }

    fn scan_all(&self, drop: &Drop, began: Instant) -> io::Result<Scanned> {
        for (index, facts) in drop.files().iter().enumerate() {
            if facts.size > u64::from(self.settings.mib_max) << 20 {
                return Ok(Scanned::Refused);
            }
            let left = PARCEL_WITHIN.saturating_sub(began.elapsed());
            let within = left.min(Duration::from_secs(self.settings.within_s.into()));
            if within.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            if self.ask(drop.open_file(index), within)? == Scanned::Refused {
                return Ok(Scanned::Refused);
            }
        }
        Ok(Scanned::Clean)
    }

    fn ask(&self, file: io::Result<File>, within: Duration) -> io::Result<Scanned> {
        match &self.settings.by {
            ScannerWay::Exec(program) => by_program(program, file?, within),
            ScannerWay::Clamd(socket) => by_clamd(socket, file?, Instant::now() + within),
        }
    }
}

fn by_program(program: &Path, file: File, within: Duration) -> io::Result<Scanned> {
    let mut command = Command::new(program);
    command.stdin(Stdio::from(file)).stdout(Stdio::null()).stderr(Stdio::null());
    let status = program::run(&mut command, within)?;
    match status.code() {
        Some(0) => Ok(Scanned::Clean),
        Some(1) => Ok(Scanned::Refused),
        _ => Err(io::Error::other(format!("the scanner ended with {status}"))),
    }
}

fn has_closed(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

fn by_clamd(socket: &Path, mut file: File, until: Instant) -> io::Result<Scanned> {
    let mut stream = Timed { stream: connect(socket, until)?, until };
    stream.write_all(b"zINSTREAM\0")?;
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let read = file.read(&mut piece)?;
        let bytes = piece.get(..read).unwrap_or_default();
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        // One that refuses on the way says why and closes: what it said is worth more than that it closed.
        match stream.write_all(&length.to_be_bytes()).and_then(|()| stream.write_all(bytes)) {
            Ok(()) if read > 0 => {}
            Ok(()) => break,
            Err(error) if has_closed(&error) => break,
            Err(error) => return Err(error),
        }
    }
    let mut reply = Vec::new();
    match stream.take(REPLY_BYTES_MAX).read_to_end(&mut reply) {
        // A peer that closed before it had read everything: what came before that is its word.
        Err(error) if !has_closed(&error) || reply.is_empty() => return Err(error),
        _ => {}
    }
    let reply = reply.strip_suffix(b"\0").unwrap_or(&reply);
    // The name of a signature is the scanner's to log, not ours to quote.
    if reply == b"stream: OK" {
        Ok(Scanned::Clean)
    } else if reply.ends_with(b" FOUND") || reply.starts_with(b"INSTREAM size limit exceeded") {
        Ok(Scanned::Refused)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "clamd did not say OK or FOUND"))
    }
}

/// Connecting, too, waits no longer than that: a scanner whose queue is full accepts nobody.
fn connect(socket: &Path, until: Instant) -> io::Result<UnixStream> {
    let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&fd, Timeout::Send, Some(left(until)?))?;
    rustix::net::connect(&fd, &SocketAddrUnix::new(socket)?)?;
    Ok(UnixStream::from(fd))
}

fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// A stream whose whole conversation has one end, however many pieces it has.
struct Timed {
    stream: UnixStream,
    until: Instant,
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(left(self.until)?))?;
        self.stream.read(buffer)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(left(self.until)?))?;
        self.stream.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test drops files as an app does")]
mod tests {
    use super::*;
    use crate::config::NameEncoding;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

    const EICAR: &str = "an X5O! of the tests' own";

    fn drop_of(folder: &Path, files: &[&str]) -> Drop {
        let case = folder.join("case");
        std::fs::create_dir_all(&case).unwrap();
        for (at, text) in files.iter().enumerate() {
            std::fs::write(case.join(format!("{at}.txt")), text).unwrap();
        }
        Drop::read(&case, NameEncoding::Utf8).unwrap()
    }

    fn program(folder: &Path, text: &str) -> ScannerWay {
        let path = folder.join("scan");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        ScannerWay::Exec(path)
    }

    fn scanner(by: ScannerWay, within_s: u32) -> Scanner {
        Scanner::new(ScannerSettings { by, within_s, mib_max: 1 })
    }

    /// Answers each connection with what it makes of the stream; nothing where it makes nothing.
    fn clamd(folder: &Path, reply: fn(&[u8]) -> Option<Vec<u8>>) -> ScannerWay {
        let path: PathBuf = folder.join("clamd.ctl");
        let listener = UnixListener::bind(&path).unwrap();
        std::thread::spawn(move || {
            let mut held = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut head = [0; 10];
                stream.read_exact(&mut head).unwrap();
                assert_eq!(&head, b"zINSTREAM\0");
                let mut all = Vec::new();
                loop {
                    let mut length = [0; 4];
                    stream.read_exact(&mut length).unwrap();
                    let length = u32::from_be_bytes(length) as usize;
                    if length == 0 {
                        break;
                    }
                    let mut piece = vec![0; length];
                    stream.read_exact(&mut piece).unwrap();
                    all.extend(piece);
                }
                match reply(&all) {
                    Some(reply) => stream.write_all(&reply).unwrap(),
                    // Neither a word nor an end.
                    None => held.push(stream),
                }
            }
        });
        ScannerWay::Clamd(path)
    }

    fn honest(bytes: &[u8]) -> Option<Vec<u8>> {
        let found = bytes.windows(4).any(|four| four == b"X5O!");
        Some(if found { b"stream: Test.Signature FOUND\0".to_vec() } else { b"stream: OK\0".to_vec() })
    }

    #[test]
    fn a_program_and_clamd_say_the_same_of_clean_and_infected_parcels() {
        let root = tempfile::tempdir().unwrap();
        for by in [program(root.path(), "if grep -q 'X5O!'; then exit 1; fi"), clamd(root.path(), honest)] {
            let scanner = scanner(by, 30);
            let large = "a".repeat(200_000);
            for (at, (files, said)) in [
                (&["a", large.as_str(), ""][..], Scanned::Clean),
                (&["a", EICAR], Scanned::Refused),
                (&[EICAR, "a"], Scanned::Refused),
                (&["a".repeat((1 << 20) + 1).as_str()], Scanned::Refused),
            ]
            .into_iter()
            .enumerate()
            {
                let folder = root.path().join(at.to_string());
                assert_eq!(scanner.scan(&drop_of(&folder, files)).unwrap(), said, "{at}");
            }
            assert_eq!(scanner.silences(), 0);
        }
    }

    #[test]
    fn a_file_over_which_a_scanner_stumbles_keeps_no_other_from_it() {
        let root = tempfile::tempdir().unwrap();
        let stumbles = |bytes: &[u8]| if bytes == b"odd" { Some(b"ERROR\0".to_vec()) } else { honest(bytes) };
        for by in [program(root.path(), "if grep -q odd; then exit 2; fi"), clamd(root.path(), stumbles)] {
            let scanner = scanner(by, 30);
            for (at, text) in [(1, "odd"), (2, "even"), (3, "odd"), (4, "even")] {
                let said = scanner.scan(&drop_of(&root.path().join(format!("{at}")), &[text]));
                assert_eq!(said.ok(), (text == "even").then_some(Scanned::Clean), "{at}");
            }
            assert_eq!(scanner.silences(), 2);
            // The same parcel for the third time.
            let odd = drop_of(&root.path().join("1"), &["odd"]);
            assert!(scanner.scan(&odd).is_err());
            assert_eq!(scanner.scan(&odd).unwrap(), Scanned::Refused);
        }
    }

    #[test]
    fn a_scanner_that_is_dead_slow_or_confused_has_said_nothing() {
        let root = tempfile::tempdir().unwrap();
        let folder = |name: &str| {
            let folder = root.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            folder
        };
        let drop = drop_of(root.path(), &["a"]);
        for (what, by) in [
            ("gone", ScannerWay::Exec(root.path().join("gone"))),
            ("crashed", program(&folder("b"), "kill -9 $$")),
            ("odd", program(&folder("c"), "exit 2")),
            ("slow", program(&folder("d"), "sleep 600")),
            ("no socket", ScannerWay::Clamd(root.path().join("none"))),
            ("mute", clamd(&folder("e"), |_| None)),
            ("an error", clamd(&folder("f"), |_| Some(b"UNKNOWN COMMAND\0".to_vec()))),
            ("nothing", clamd(&folder("g"), |_| Some(Vec::new()))),
            ("half", clamd(&folder("h"), |_| Some(b"stream: O".to_vec()))),
            ("endless", clamd(&folder("i"), |_| Some(vec![b' '; 1 << 16]))),
        ] {
            let scanner = scanner(by, 1);
            let began = Instant::now();
            assert!(scanner.scan(&drop).is_err(), "{what}");
            assert!(began.elapsed() < Duration::from_secs(30), "{what}");
            assert_eq!(scanner.silences(), 1, "{what}");
            // Whoever comes next does not ask it.
            assert!(scanner.scan(&drop).is_err(), "{what}");
            assert_eq!(scanner.silences(), 1, "{what}");
        }
    }
}
