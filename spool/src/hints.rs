//! What the kernel tells of an inlet: that something changed in it, and which of its files somebody is writing.
//!
//! A hint only says when to look, so a lost one costs time and nothing else. Whether a writer is done, the kernel says by
//! its word at the writer's close; a lease would say it better and is granted on own files only, and whoever has a file
//! of another account open is not to be seen in `/proc` without privilege. What was begun before this process, what was
//! lost in an overflow, what lies deeper than the inlet itself and what another machine writes, the kernel does not say.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use notify::event::{AccessKind, AccessMode, EventKind, Flag, ModifyKind};
use notify::{Event, Watcher as _};

use crate::bell::Bell;
use crate::spool::locked;

/// Files in writing that are remembered at once. Beyond it nothing is known of any, as after an overflow.
const WRITING_MAX: usize = 100_000;

/// File systems whose other users work on other machines: no hint comes for what those do. By the number that
/// statfs(2) gives, and the name that people know.
const REMOTE: [(u32, &str); 9] = [
    (0x6969, "nfs"),
    (0x517b, "smbfs"),
    (0xff53_4d42, "cifs"),
    (0xfe53_4d42, "smb2"),
    (0x6573_5546, "fuse"),
    (0x0102_1997, "9p"),
    (0x00c3_6400, "ceph"),
    (0x0bd0_0bd0, "lustre"),
    (0x7461_636f, "ocfs2"),
];

/// The name of a file system that other machines may write, where a path lies on one.
#[must_use]
pub fn remote_file_system(path: &Path) -> Option<&'static str> {
    let kind = rustix::fs::statfs(path).ok()?.f_type;
    // The field is wider on some machines, and signed on some.
    #[allow(clippy::cast_possible_truncation, clippy::unnecessary_cast, reason = "the numbers have 32 bits")]
    let kind = kind as u32;
    REMOTE.iter().find(|(number, _)| *number == kind).map(|(_, name)| *name)
}

#[derive(Debug, Default)]
struct Heard {
    news: AtomicBool,
    /// The bell was rung, and nobody has come to look since.
    rung: AtomicBool,
    writing: Mutex<BTreeSet<OsString>>,
    overflows: AtomicU64,
}

impl Heard {
    fn take(&self, event: notify::Result<Event>) {
        let Ok(event) = event else {
            locked(&self.writing).clear();
            return self.news.store(true, Ordering::SeqCst);
        };
        let mut writing = locked(&self.writing);
        if event.flag() == Some(Flag::Rescan) {
            self.overflows.fetch_add(1, Ordering::SeqCst);
            writing.clear();
        }
        for name in event.paths.iter().filter_map(|path| path.file_name()) {
            match event.kind {
                EventKind::Modify(ModifyKind::Data(_)) => {
                    if writing.len() >= WRITING_MAX {
                        writing.clear();
                    }
                    writing.insert(name.to_owned());
                }
                // Under a new name it is heard of again with the next byte.
                EventKind::Access(AccessKind::Close(AccessMode::Write))
                | EventKind::Modify(ModifyKind::Name(_))
                | EventKind::Remove(_) => {
                    writing.remove(name);
                }
                _ => {}
            }
        }
        drop(writing);
        self.news.store(true, Ordering::SeqCst);
    }
}

/// The ear at one inlet. Dropping it ends the hints.
pub(crate) struct Hints {
    heard: Arc<Heard>,
    watcher: Option<notify::RecommendedWatcher>,
}

impl Hints {
    /// Listens where the kernel has something to say.
    pub(crate) fn open(dir: &Path, bell: Arc<Bell>) -> Hints {
        let heard = Arc::new(Heard::default());
        let watcher = if remote_file_system(dir).is_some() { None } else { watch(dir, heard.clone(), bell).ok() };
        Hints { heard, watcher }
    }

    /// Hears nothing: an inlet that is only polled.
    pub(crate) fn deaf() -> Hints {
        Hints { heard: Arc::default(), watcher: None }
    }

    /// Somebody has come to look: the next hint rings the bell again. Until then it would wake every stage once for
    /// each of the thousand files that an app drops, and tell nothing new.
    pub(crate) fn answer(&self) {
        self.heard.rung.store(false, Ordering::SeqCst);
    }

    pub(crate) fn are_given(&self) -> bool {
        self.watcher.is_some()
    }

    /// Was anything heard since [`Hints::forget`]?
    pub(crate) fn any(&self) -> bool {
        self.heard.news.load(Ordering::SeqCst)
    }

    /// To be called before a look: what comes during it asks for another one.
    pub(crate) fn forget(&self) {
        self.heard.news.store(false, Ordering::SeqCst);
    }

    /// Was it written to and not closed since?
    pub(crate) fn is_written(&self, name: &OsStr) -> bool {
        locked(&self.heard.writing).contains(name)
    }
}

fn watch(dir: &Path, heard: Arc<Heard>, bell: Arc<Bell>) -> notify::Result<notify::RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        // Opening and reading is no news, and our own looks do both; the end of writing is.
        let read = |event: &Event| event.kind.is_access() && event.kind != CLOSED;
        if !event.as_ref().is_ok_and(read) {
            heard.take(event);
            if !heard.rung.swap(true, Ordering::SeqCst) {
                bell.ring();
            }
        }
    })?;
    watcher.watch(dir, notify::RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

const CLOSED: EventKind = EventKind::Access(AccessKind::Close(AccessMode::Write));

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test writes files as an app does")]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::io::Write as _;
    use std::time::Duration;

    /// Waits for the kernel's word, not for time to pass.
    fn until(hints: &Hints, bell: &Bell, mut so: impl FnMut() -> bool) {
        loop {
            let heard = bell.generation();
            hints.answer();
            if so() {
                return;
            }
            assert!(bell.wait(heard, Duration::from_secs(30)) > heard, "nothing was heard");
        }
    }

    #[test]
    fn a_file_is_in_writing_from_its_first_byte_until_its_writer_closes_it() {
        let (dir, bell) = (tempfile::tempdir().unwrap(), Arc::new(Bell::default()));
        let hints = Hints::open(dir.path(), bell.clone());
        let name = OsStr::new("a.dat");
        let mut file = File::create(dir.path().join(name)).unwrap();
        // Reserving space is writing.
        file.set_len(1 << 20).unwrap();
        until(&hints, &bell, || hints.is_written(name));
        file.write_all(b"x").unwrap();
        let second = File::open(dir.path().join(name)).unwrap();
        drop(second);
        fs::write(dir.path().join("b.dat"), b"whole").unwrap();
        fs::write(dir.path().join("c.dat"), b"").unwrap();
        until(&hints, &bell, || hints.any());
        assert!(hints.is_written(name), "a reader that closes it is no writer");
        drop(file);
        until(&hints, &bell, || !hints.is_written(name) && !hints.is_written(OsStr::new("b.dat")));
    }

    #[test]
    fn many_drops_ring_once_until_somebody_comes_to_look() {
        let (dir, bell) = (tempfile::tempdir().unwrap(), Arc::new(Bell::default()));
        let hints = Hints::open(dir.path(), bell.clone());
        let mut last = File::create(dir.path().join("in-writing")).unwrap();
        for number in 0..100 {
            File::create(dir.path().join(format!("{number}"))).unwrap();
        }
        last.write_all(b"x").unwrap();
        // The ear takes one word after the other: it has heard of all before it hears of the last byte.
        while !hints.is_written(OsStr::new("in-writing")) {
            std::thread::yield_now();
        }
        assert_eq!((bell.generation(), hints.any()), (1, true));
        hints.answer();
        File::create(dir.path().join("another")).unwrap();
        assert_eq!(bell.wait(1, Duration::from_secs(30)), 2);
    }

    #[test]
    fn after_an_overflow_nothing_is_known_of_any_writer_and_a_look_is_asked_for() {
        let (dir, bell) = (tempfile::tempdir().unwrap(), Arc::new(Bell::default()));
        let hints = Hints::open(dir.path(), bell.clone());
        let queue: usize =
            fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
        if queue > 200_000 {
            println!("SKIPPED: the kernel's queue holds {queue} events here");
            return;
        }
        let mut open = File::create(dir.path().join("open.dat")).unwrap();
        open.write_all(b"x").unwrap();
        until(&hints, &bell, || hints.is_written(OsStr::new("open.dat")));
        {
            // The ear's thread is held up in its next word, and the kernel's queue runs over.
            let _held = locked(&hints.heard.writing);
            hints.forget();
            for number in 0..queue {
                File::create(dir.path().join(format!("{number}"))).unwrap();
            }
        }
        until(&hints, &bell, || hints.heard.overflows.load(Ordering::SeqCst) > 0);
        assert!(hints.any(), "a look is asked for");
        assert!(!hints.is_written(OsStr::new("open.dat")), "what was known before may be wrong now");
    }

    #[test]
    fn a_local_disk_is_not_taken_for_a_remote_one() {
        assert_eq!(remote_file_system(tempfile::tempdir().unwrap().path()), None);
        assert_eq!(remote_file_system(Path::new("/nonexistent")), None);
    }
}
