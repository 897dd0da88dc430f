//! One worker process, seen from the daemon: what it was started with, what it has done, and how long it may take.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use guard::{Answer, Silence};

use super::cell::{ARGUMENT, GREETING};
use super::frame;
use super::lock::Layers;

/// A worker that has not spoken after this was never one. Starting takes milliseconds; a machine at its limit takes
/// longer, and nothing is lost by waiting.
const GREETING_WITHIN: Duration = Duration::from_secs(20);

/// A started worker. Dropped, it is killed.
pub(super) struct Worker {
    child: Child,
    wire: UnixStream,
    /// Its first line was read.
    pub(super) layers: Option<Layers>,
    /// Questions it answered.
    pub(super) answered: u32,
    /// Bytes it was handed in the largest question: what its memory may have grown by.
    pub(super) largest: usize,
    /// How long it worked in all.
    pub(super) worked: Duration,
}

impl Worker {
    /// Starts one. `program` is this one; `more` are a test's words for it.
    pub(super) fn start(program: &Path, more: &[String]) -> io::Result<Worker> {
        let (wire, its) = UnixStream::pair()?;
        let its_other: OwnedFd = its.try_clone()?.into();
        let child = Command::new(program)
            .arg(ARGUMENT)
            .args(more)
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(its)))
            .stdout(Stdio::from(its_other))
            // What it might say there could quote what it read.
            .stderr(Stdio::null())
            // A signal from a terminal is for the daemon.
            .process_group(0)
            .spawn()?;
        Ok(Worker { child, wire, layers: None, answered: 0, largest: 0, worked: Duration::ZERO })
    }

    /// Waits for its first line.
    pub(super) fn greeted(&mut self) -> io::Result<Layers> {
        if let Some(layers) = self.layers {
            return Ok(layers);
        }
        let mut said = [0; 4];
        Timed { wire: &self.wire, until: Instant::now() + GREETING_WITHIN }.read_exact(&mut said)?;
        let [a, b, c, layers] = said;
        let layers = Layers::from_byte(layers).filter(|_| [a, b, c] == GREETING);
        self.layers = layers;
        layers.ok_or_else(|| io::Error::other("a worker began with something else than its greeting"))
    }

    /// Has nobody ended it since it was last looked at?
    pub(super) fn lives(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks, and waits for the answer until a moment.
    pub(super) fn ask(&mut self, words: &[u8], contents: &[&[u8]], until: Instant) -> Result<Answer, Silence> {
        let began = Instant::now();
        let mut wire = Timed { wire: &self.wire, until };
        let answer = frame::write_question(&mut wire, words, contents).and_then(|()| frame::read_answer(&mut wire));
        self.answered += 1;
        self.worked += began.elapsed();
        self.largest = self.largest.max(contents.iter().map(|content| content.len()).sum());
        answer.map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Silence::Late,
            io::ErrorKind::InvalidData => Silence::Garbled,
            _ => Silence::Died,
        })
    }

    /// Ends it, and says how it ended, for the log.
    pub(super) fn end(mut self) -> String {
        // One that is ending already ends as it began to.
        let _killed = self.child.kill();
        self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Killing one that has ended does nothing, and waiting for one that was killed takes no time.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A socket whose every step ends by one moment.
struct Timed<'a> {
    wire: &'a UnixStream,
    until: Instant,
}

impl Timed<'_> {
    fn left(&self) -> io::Result<Option<Duration>> {
        match self.until.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => Ok(Some(left)),
            _ => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.wire.set_read_timeout(self.left()?)?;
        (&mut &*self.wire).read(buffer)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.wire.set_write_timeout(self.left()?)?;
        (&mut &*self.wire).write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
