//! What the guard is handed: a parcel of files, seen through a trait so that the guard never sees a path of the disk.

use std::io::{Read, Seek};

/// What the guard is asked to look at: a parcel of one or more files. Implemented by the caller.
pub trait Parcel {
    /// Name of the drop, original bytes, as UTF-8 after the route's decoding.
    fn name(&self) -> &str;
    /// Its files, in the order in which digests are answered.
    fn files(&self) -> &[FileFacts];
    /// Opens one of them.
    ///
    /// # Errors
    /// Whatever the disk says; the parcel is then refused as unreadable.
    fn open(&self, index: usize) -> std::io::Result<Box<dyn ReadSeek + '_>>;
}

/// Something that can be read and rewound.
pub trait ReadSeek: Read + Seek {}
impl<T: Read + Seek + ?Sized> ReadSeek for T {}

/// What is known of a file before it is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFacts {
    /// Relative, with `/` between folders, UTF-8.
    pub path: String,
    /// Its size; a file that reads otherwise has changed.
    pub size: u64,
}

/// Bytes of a path that travel at most.
const PATH_BYTES_MAX: usize = 512;
/// Folders above a file at most.
const PATH_DEPTH_MAX: usize = 32;

/// Can this path travel? Relative, no `..`, no control characters, nothing a Windows share would misread.
pub(crate) fn path_can_travel(path: &str) -> bool {
    let parts_good = path
        .split('/')
        .all(|part| !part.is_empty() && part != "." && part != ".." && !part.ends_with(['.', ' ']) && !is_device(part));
    !path.is_empty()
        && path.len() <= PATH_BYTES_MAX
        && path.split('/').count() <= PATH_DEPTH_MAX
        && parts_good
        && !path
            .chars()
            .any(|c| c.is_control() || matches!(c, '\\' | ':' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
}

/// `CON`, `NUL`, `COM1.txt` open devices on the other side.
fn is_device(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or(part).to_ascii_lowercase();
    matches!(stem.as_str(), "con" | "prn" | "aux" | "nul")
        || (stem.len() == 4
            && (stem.starts_with("com") || stem.starts_with("lpt"))
            && stem.ends_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_climb_or_name_devices_do_not_travel() {
        for good in ["a.xml", "扫描/身份证 1.jpg", "a/b/c.pdf"] {
            assert!(path_can_travel(good), "{good}");
        }
        for bad in ["", "/etc/passwd", "../a", "a/../b", "a//b", "c:\\x", "NUL.txt", "a\u{202e}gpj.exe", "a\n", "x/."] {
            assert!(!path_can_travel(bad), "{bad:?}");
        }
    }
}
