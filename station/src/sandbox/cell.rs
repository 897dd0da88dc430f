//! The inside of a worker: this program, started anew with a hidden argument. It locks itself, says which locks hold,
//! and then answers questions about bytes until its socket ends. It has no config, no keys, no environment and no file.

use std::io::{self, BufReader, Read, Write};
use std::os::fd::AsFd as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustix::process::Signal;

use super::frame;
use super::lock::{self, Layers};

/// The argument that makes a worker of this program.
pub const ARGUMENT: &str = "guard-worker";
/// What a worker's first line begins with; another version of it would be another binary.
pub(super) const GREETING: [u8; 3] = *b"tw1";

/// Its socket, as descriptors 0 and 1: the filter of system calls knows no other.
struct Wire;

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::retry_on_intr(|| rustix::io::read(io::stdin().as_fd(), &mut *buffer))?)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::retry_on_intr(|| rustix::io::write(io::stdout().as_fd(), bytes))?)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs as a worker where the command line says so, until the daemon needs it no more.
#[must_use]
pub fn run_if_asked() -> Option<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() != Some(ARGUMENT) {
        return None;
    }
    let rest: Vec<String> = arguments.collect();
    let words: Vec<&str> = rest.iter().map(String::as_str).collect();
    // For tests alone: `without LAYER` leaves a lock out, `probe WHAT` does what a parser must not.
    let after = |word: &str| {
        words.iter().zip(words.iter().skip(1)).filter(|(w, _)| **w == word).map(|(_, next)| *next).collect()
    };
    let (without, probes): (Vec<&str>, Vec<&str>) = (after("without"), after("probe"));
    Some(match work(&without, probes.first().copied()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    })
}

fn work(without: &[&str], probe: Option<&str>) -> io::Result<()> {
    // What a parser that panics would say might quote what it read.
    std::panic::set_hook(Box::new(|_| {}));
    // systemd tells every process of a unit that it ends; what is being judged is judged first. The daemon's end is
    // the end of the socket.
    signal_hook::flag::register(signal_hook::consts::SIGTERM, Arc::new(AtomicBool::new(false)))?;
    rustix::process::chdir("/")?;
    close_inherited()?;
    // Whatever the standard library sets up at its first use, before it may not.
    let mut from = BufReader::with_capacity(64 * 1024, Wire);
    let layers = lock::lock(without);
    if let Some(what) = probe.filter(|what| what.starts_with("try-")) {
        return Wire.write_all(try_out(what).as_bytes());
    }
    greet(layers)?;
    while let Some(frame::Question { words, contents }) = frame::read_question(&mut from)? {
        let contents: Vec<&[u8]> = contents.iter().map(Vec::as_slice).collect();
        if let Some(what) = probe {
            misbehave(what)?;
        }
        let Some(answer) = guard::answer(&words, &contents) else { return Err(io::ErrorKind::InvalidData.into()) };
        frame::write_answer(&mut Wire, &answer)?;
    }
    Ok(())
}

/// Closes whatever the daemon's own starter left open for its children: nothing but the three standard ones is this
/// process's. The filter of system calls would let nobody read from it; closed, it is not there at all.
fn close_inherited() -> io::Result<()> {
    let listed = std::fs::read_dir("/proc/self/fd")?;
    let numbers: Vec<i32> = listed
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|number| *number > 2)
        .collect();
    // The list itself was one of them, and is closed already.
    numbers.into_iter().try_for_each(|number| match nix::unistd::close(number) {
        Ok(()) | Err(nix::errno::Errno::EBADF) => Ok(()),
        Err(error) => Err(error.into()),
    })
}

fn greet(layers: Layers) -> io::Result<()> {
    let [a, b, c] = GREETING;
    Wire.write_all(&[a, b, c, layers.to_byte()])
}

/// What a parser that fell to what it read might do, tried from behind the locks.
fn try_out(what: &str) -> String {
    let tried: io::Result<()> = match what {
        "try-open" => std::fs::File::open("/etc/passwd").map(drop),
        "try-list" => std::fs::read_dir("/").map(drop),
        "try-make" => std::fs::File::create("/tmp/made-by-a-worker").map(drop),
        "try-socket" => std::net::UdpSocket::bind("127.0.0.1:0").map(drop),
        "try-connect" => std::net::TcpStream::connect("127.0.0.1:1").map(drop),
        "try-process" => std::process::Command::new("/bin/true").spawn().map(drop),
        "try-thread" => std::thread::Builder::new().spawn(|| ()).map(drop),
        "try-signal" => {
            rustix::process::test_kill_process(rustix::process::getppid().unwrap_or(rustix::process::Pid::INIT))
                .map_err(io::Error::from)
        }
        "try-end-daemon" => rustix::process::getppid()
            .ok_or(rustix::io::Errno::SRCH)
            .and_then(|daemon| rustix::process::kill_process(daemon, Signal::ABORT))
            .map_err(io::Error::from),
        "try-limit" => {
            let limit = rustix::process::Rlimit { current: Some(9), maximum: Some(9) };
            rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).map_err(io::Error::from)
        }
        other => return format!("{other}: unknown\n"),
    };
    match tried {
        Ok(()) => format!("{what}: it could\n"),
        Err(error) => format!("{what}: denied, {error}\n"),
    }
}

/// How a worker fails in the middle of its work.
fn misbehave(what: &str) -> io::Result<()> {
    match what {
        "hang" => loop {
            std::hint::spin_loop();
        },
        "eat" => {
            let mut eaten: Vec<Vec<u8>> = Vec::new();
            loop {
                eaten.push(vec![1; 16 << 20]);
                std::hint::black_box(&eaten);
            }
        }
        "exit" => Err(io::ErrorKind::Other.into()),
        // 1,000 bytes of words are promised, of which a few come.
        "garble" => {
            Wire.write_all(&[0, 0, 3, 0xe8, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3]).and(Err(io::ErrorKind::Other.into()))
        }
        "babble" => loop {
            Wire.write_all(&[0xff; 4096])?;
        },
        "lie" => Wire.write_all(&[0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, b'{', b'}']),
        _ => Ok(()),
    }
}
