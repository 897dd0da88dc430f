//! Names that are nobody's drop: what desktops, editors and copying programs leave behind.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

/// Whole names, in any case.
const NAMES: [&[u8]; 6] = [
    b"thumbs.db",
    b"thumbs.db:encryptable",
    b"ehthumbs.db",
    b"desktop.ini",
    b"$recycle.bin",
    b"system volume information",
];

/// Names of files that a program is still writing, under a name that it will change: browsers, robocopy, WinSCP, rsync
/// and whoever does it by hand.
const UNFINISHED: [&[u8]; 5] = [b".tmp", b".part", b".partial", b".filepart", b".crdownload"];

/// Never part of a parcel, wherever it stands: dot files (`.DS_Store`, `._*`, `.smbdelete…`), `~$…`, `Thumbs.db` and its kind.
#[must_use]
pub fn is_litter(name: &OsStr) -> bool {
    let name = name.as_bytes();
    name.starts_with(b".") || name.starts_with(b"~$") || NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Passed over in an inlet: litter, and what by its name will be renamed. Within a folder such a name is content: the
/// folder is whole or not as one.
pub(crate) fn is_passed_over(name: &OsStr) -> bool {
    let ends = |suffix: &&[u8]| {
        let bytes = name.as_bytes();
        let tail = bytes.len().checked_sub(suffix.len()).and_then(|at| bytes.get(at..));
        tail.is_some_and(|tail| tail.eq_ignore_ascii_case(suffix))
    };
    is_litter(name) || UNFINISHED.iter().any(ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn litter_is_told_from_drops_by_name() {
        for name in
            [".DS_Store", "._scan.jpg", "~$申请.docx", "Thumbs.db", "DESKTOP.INI", ".申请.xml.Xy3", "$RECYCLE.BIN"]
        {
            assert!(is_litter(name.as_ref()), "{name}");
        }
        for name in ["case.zip.part", "CASE.TMP", "a.xml.filepart"] {
            assert!(is_passed_over(name.as_ref()) && !is_litter(name.as_ref()), "{name}");
        }
        for name in ["case.zip", "tmp", "partial", "thumbs.db.zip", "~case.xml", "desktop.ini.xml"] {
            assert!(!is_passed_over(name.as_ref()), "{name}");
        }
    }
}
