//! A purchased gate that only moves files: it takes what stands in one folder and puts it, slowly and in pieces, into
//! another, as such gates do, and where it is told to it loses, repeats, cuts and renames. One direction; nothing is ever
//! carried back.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::papers::Noise;

/// What a gate does besides moving. Chances are one in so many, 0 never.
#[derive(Clone, Copy, Debug, Default)]
pub struct Whims {
    /// A file is gone.
    pub lost: u64,
    /// A file comes again, a moment later.
    pub twice: u64,
    /// A file ends in the middle, for good.
    pub cut: u64,
    /// A file stands half for a second.
    pub torn: u64,
    /// Files get names of its own.
    pub renames: bool,
    /// What decides.
    pub seed: u64,
}

/// A running gate.
pub struct Gate {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What a gate still has to write: where, what, and how many looks later.
struct Late {
    path: PathBuf,
    bytes: Vec<u8>,
    looks: u32,
}

struct Mover {
    from: PathBuf,
    to: PathBuf,
    whims: Whims,
    noise: Noise,
    late: Vec<Late>,
    count: u64,
}

/// Between two looks of a gate.
const LOOK: Duration = Duration::from_millis(100);
/// A file that is torn stands so for this many looks: longer than two scans of a node in these tests.
const TORN_LOOKS: u32 = 10;

impl Gate {
    /// Moves files from one folder to another until it is dropped.
    pub fn start(from: &Path, to: &Path) -> io::Result<Gate> {
        Gate::with(from, to, Whims::default())
    }

    /// The same, with whims.
    pub fn with(from: &Path, to: &Path, whims: Whims) -> io::Result<Gate> {
        fs::create_dir_all(from)?;
        fs::create_dir_all(to)?;
        let (from, to, noise) = (from.to_owned(), to.to_owned(), Noise::new(whims.seed));
        let mut mover = Mover { from, to, whims, noise, late: Vec::new(), count: 0 };
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("gate".to_owned()).spawn(move || {
            while !stopping.load(Ordering::Relaxed) {
                if let Err(error) = mover.carry() {
                    eprintln!("gate: {error}");
                }
                std::thread::park_timeout(LOOK);
            }
        })?;
        Ok(Gate { stop, thread: Some(thread) })
    }
}

impl Mover {
    fn carry(&mut self) -> io::Result<()> {
        self.be_late()?;
        let files = fs::read_dir(&self.from)?.filter_map(Result::ok).map(|entry| entry.path());
        let mut files: Vec<PathBuf> = files.filter(|path| path.is_file()).collect();
        // Not in the order they were written: gates promise none.
        files.sort_by_key(|path| std::cmp::Reverse(path.clone()));
        for path in files {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !name.starts_with('.') {
                self.move_one(&path, name)?;
            }
        }
        Ok(())
    }

    fn move_one(&mut self, path: &Path, name: String) -> io::Result<()> {
        let bytes = match fs::read(path) {
            // Whoever wrote it took it back.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        fs::remove_file(path)?;
        if self.whim(self.whims.lost) {
            return Ok(());
        }
        self.count += 1;
        let name = if self.whims.renames { format!("{:08}_{}.bin", self.count, name.len()) } else { name };
        let target = self.to.join(name);
        let half = bytes.get(..bytes.len() / 2).unwrap_or_default();
        if self.whim(self.whims.cut) {
            return fs::write(target, half);
        }
        if self.whim(self.whims.torn) {
            fs::write(&target, half)?;
            self.late.push(Late { path: target, bytes, looks: TORN_LOOKS });
            return Ok(());
        }
        let mut file = fs::File::create(&target)?;
        bytes.chunks(256 * 1024).try_for_each(|piece| file.write_all(piece))?;
        if self.whim(self.whims.twice) {
            self.late.push(Late { path: target, bytes, looks: TORN_LOOKS });
        }
        Ok(())
    }

    fn be_late(&mut self) -> io::Result<()> {
        for late in &mut self.late {
            late.looks -= 1;
            if late.looks == 0 {
                fs::write(&late.path, &late.bytes)?;
            }
        }
        self.late.retain(|late| late.looks > 0);
        Ok(())
    }

    fn whim(&mut self, one_in: u64) -> bool {
        one_in > 0 && self.noise.below(one_in) == 0
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A gate that panicked has said so already.
            let _ended = thread.join();
        }
    }
}
