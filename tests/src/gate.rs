//! A purchased gate that only moves files: it takes what stands in one folder and puts it, slowly and in pieces, into
//! another, as such gates do. One direction; nothing is ever carried back.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// A running gate.
pub struct Gate {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Gate {
    /// Moves files from one folder to another until it is dropped.
    pub fn start(from: &Path, to: &Path) -> io::Result<Gate> {
        fs::create_dir_all(from)?;
        fs::create_dir_all(to)?;
        let (from, to) = (from.to_owned(), to.to_owned());
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("gate".to_owned()).spawn(move || {
            while !stopping.load(Ordering::Relaxed) {
                if let Err(error) = carry(&from, &to) {
                    eprintln!("gate: {error}");
                }
                std::thread::park_timeout(Duration::from_millis(100));
            }
        })?;
        Ok(Gate { stop, thread: Some(thread) })
    }
}

fn carry(from: &Path, to: &Path) -> io::Result<()> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(from)?.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    // Not in the order they were written: gates promise none.
    files.sort_by_key(|path| std::cmp::Reverse(path.clone()));
    for path in files {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with('.') || name.ends_with(".part") || name.ends_with(".tmp") {
            continue;
        }
        let mut source = fs::File::open(&path)?;
        let mut target = fs::File::create(to.join(&name))?;
        let mut piece = vec![0; 256 * 1024];
        loop {
            let read = source.read(&mut piece)?;
            match piece.get(..read) {
                Some([]) | None => break,
                Some(bytes) => target.write_all(bytes)?,
            }
        }
        fs::remove_file(&path)?;
    }
    Ok(())
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
