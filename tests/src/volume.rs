//! A small disk of its own for a spool: an ext4 image on a loop device, or memory with a size and a count of files. And
//! a folder of another place, seen through a mount.
//! Unmounted when it is dropped, also by a test that failed; its loop device goes with it.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Copies of an image are tried so often until none was written to meanwhile.
const COPIES_MAX: u32 = 50;

/// Folders with mounts begin so; a noun and the process follow.
const OURS: &str = "trilock-";

/// A mounted disk.
pub struct Volume {
    /// Where it is mounted.
    pub place: PathBuf,
    image: Option<PathBuf>,
    mounted: bool,
}

/// What an image is made and mounted with.
#[derive(Clone, Copy, Debug)]
pub struct Ext4 {
    /// Its size; blocks are taken when they are written.
    pub bytes: u64,
    /// Features for `mkfs`, such as `fast_commit`, which commits what was synced and nothing that merely happened.
    pub features: &'static str,
    /// Options for `mount`. A long `commit=` leaves it to syncs what is durable.
    pub options: &'static str,
}

fn run(program: &str, arguments: &[&OsStr]) -> io::Result<String> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let output = Command::new(program).args(arguments).env("PATH", path).env("LANG", "C").output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(io::Error::other(format!("{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim())))
}

impl Volume {
    /// Makes an empty image and mounts it.
    pub fn ext4(image: &Path, place: &Path, ext4: &Ext4) -> io::Result<Volume> {
        fs::File::create(image)?.set_len(ext4.bytes)?;
        let features = if ext4.features.is_empty() { "has_journal" } else { ext4.features };
        let lazy = "lazy_itable_init=0,lazy_journal_init=0";
        let words = ["-q", "-F", "-m", "0", "-O", features, "-E", lazy].map(OsStr::new);
        run("mkfs.ext4", &[&words[..], &[image.as_os_str()]].concat())?;
        Volume::again(image, place, ext4)
    }

    /// Mounts an image that was made before.
    pub fn again(image: &Path, place: &Path, ext4: &Ext4) -> io::Result<Volume> {
        fs::create_dir_all(place)?;
        let options = format!("loop,{}", ext4.options);
        let words = ["-t", "ext4", "-o", options.as_str()].map(OsStr::new);
        run("mount", &[&words[..], &[image.as_os_str(), place.as_os_str()]].concat())?;
        Ok(Volume { place: place.to_owned(), image: Some(image.to_owned()), mounted: true })
    }

    /// A disk in memory.
    pub fn memory(place: &Path, bytes: u64, inodes: u64) -> io::Result<Volume> {
        fs::create_dir_all(place)?;
        let options = format!("size={bytes},nr_inodes={inodes}");
        let words = ["-t", "tmpfs", "-o", options.as_str(), "tmpfs"].map(OsStr::new);
        run("mount", &[&words[..], &[place.as_os_str()]].concat())?;
        Ok(Volume { place: place.to_owned(), image: None, mounted: true })
    }

    /// A folder under a second name (a bind mount).
    pub fn second_name(of: &Path, place: &Path) -> io::Result<Volume> {
        run("mount", &["--bind".as_ref(), of.as_os_str(), place.as_os_str()])?;
        Ok(Volume { place: place.to_owned(), image: None, mounted: true })
    }

    /// A folder seen through a mount in user space, which hears nothing of what happens underneath and keeps nothing of
    /// what it saw: as a share of another machine.
    pub fn mirror(of: &Path, place: &Path) -> io::Result<Volume> {
        let options = "direct_io,attr_timeout=0,entry_timeout=0,negative_timeout=0";
        run("bindfs", &["-o".as_ref(), options.as_ref(), of.as_os_str(), place.as_os_str()])?;
        Ok(Volume { place: place.to_owned(), image: None, mounted: true })
    }

    /// Mounts with other options.
    pub fn remount(&self, options: &str) -> io::Result<()> {
        run("mount", &["-o".as_ref(), format!("remount,{options}").as_ref(), self.place.as_os_str()]).map(drop)
    }

    /// The loop device's name, such as `loop3`.
    pub fn device(&self) -> io::Result<String> {
        let device = mounted(&self.place, 0).and_then(|device| Some(device.strip_prefix("/dev/")?.to_owned()));
        device.ok_or_else(|| io::Error::other(format!("{} is no loop mount", self.place.display())))
    }

    /// Writes that the loop device has done, and those under way.
    fn writes(&self) -> io::Result<(u64, u64)> {
        let stat = fs::read_to_string(format!("/sys/block/{}/stat", self.device()?))?;
        let number = |at: usize| stat.split_whitespace().nth(at).and_then(|word| word.parse().ok()).unwrap_or(0);
        Ok((number(4), number(8)))
    }

    /// Copies the image as it is at one moment: what was not written to it is not in the copy. A copy during which the
    /// device was written to is thrown away.
    pub fn copy(&self, to: &Path) -> io::Result<()> {
        let image = self.image.as_deref().ok_or_else(|| io::Error::other("memory has no image"))?;
        for _ in 0..COPIES_MAX {
            let before = self.writes()?;
            run("cp", &["--sparse=always".as_ref(), image.as_os_str(), to.as_os_str()])?;
            if before.1 == 0 && self.writes()? == before {
                return Ok(());
            }
        }
        Err(io::Error::other(format!("{} is written to all the time", image.display())))
    }

    /// Says that the image has another name now.
    pub fn renamed(&mut self, image: &Path) {
        self.image = Some(image.to_owned());
    }

    /// Unmounts. What was in memory is gone.
    pub fn unmount(mut self) -> io::Result<()> {
        self.mounted = false;
        run("umount", &[self.place.as_os_str()]).or_else(|error| {
            // Whatever still holds it must not keep it on the machine.
            run("umount", &["-l".as_ref(), self.place.as_os_str()])?;
            Err(error)
        })?;
        Ok(())
    }
}

/// A word of the line that the kernel has on what is mounted at a place.
fn mounted(place: &Path, word: usize) -> Option<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let place = place.to_string_lossy();
    let line = mounts.lines().rev().find(|line| line.split(' ').nth(1) == Some(&place))?;
    line.split(' ').nth(word).map(str::to_owned)
}

/// The kind of file system that is mounted at a place.
#[must_use]
pub fn kind_of(place: &Path) -> Option<String> {
    mounted(place, 2)
}

impl Drop for Volume {
    fn drop(&mut self) {
        if self.mounted
            && let Err(error) = run("umount", &["-l".as_ref(), self.place.as_os_str()])
        {
            eprintln!("{} stays mounted: {error}", self.place.display());
        }
    }
}

/// A folder for mounts, named after this process; or why none can be mounted here. What a process left that was
/// stopped by force, and so dropped nothing, goes first.
pub fn ground(noun: &str) -> Result<tempfile::TempDir, String> {
    sweep();
    let prefix = format!("{OURS}{noun}-{}-", std::process::id());
    let folder = tempfile::Builder::new().prefix(&prefix).tempdir_in(crate::world::ground());
    let folder = folder.map_err(|error| error.to_string())?;
    let small = Ext4 { bytes: 16 << 20, features: "", options: "rw" };
    let (image, place) = (folder.path().join("try.img"), folder.path().join("try"));
    let tried = Volume::ext4(&image, &place, &small).and_then(Volume::unmount);
    let removed = fs::remove_file(&image).and_then(|()| fs::remove_dir(&place));
    let needs = |error| format!("needs root, mkfs.ext4 and loop mounts: {error}");
    tried.and(removed).map(|()| folder).map_err(needs)
}

fn sweep() {
    let ours = crate::world::ground().join(OURS).to_string_lossy().into_owned();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    // The last mounted first: a store is under a disk of its own.
    for place in mounts.lines().rev().filter_map(|line| line.split(' ').nth(1)) {
        let Some(rest) = place.strip_prefix(&ours) else { continue };
        let pid =
            rest.split('/').next().unwrap_or_default().split('-').nth(1).and_then(|word| word.parse::<u32>().ok());
        let gone = pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists());
        if gone && let Err(error) = run("umount", &["-l".as_ref(), place.as_ref()]) {
            eprintln!("{place} stays mounted: {error}");
        }
    }
}
