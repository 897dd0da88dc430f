//! The form of the state on disk, as `spool.json` in the spool's root says it. An older form opens in a newer program; a
//! newer one is refused before anything is touched.
//!
//! ```text
//! version  what it is
//! 1        every bundle a file of its own; a claimed drop under `.claimed/<parcel>/<name>`. Also: no `spool.json` at all
//! 2        small bundles in shared segments; a claimed drop as `.claimed/<parcel>.<name>`; `queues/heads`, `queues/names`
//! 3        records may name a medium, which an older program would take for damage
//! 4        records of keys and of rules in force, `rules.json`; a mark beside what is made ready in an outlet
//! ```
//! The number is raised when a spool was opened and before anything of the new form is written. So dying anywhere is
//! safe: until then the older program still reads all of it.

use std::fs;
use std::io;
use std::path::Path;

use protocol::Name;
use serde::{Deserialize, Serialize};

use crate::disk::Disk;
use crate::spool::SpoolError;

/// The form that this program writes, and the newest it reads.
pub const STATE_VERSION: u32 = 4;
/// The form of a spool that does not say.
const UNSAID: u32 = 1;
/// Two short lines; more is not ours.
const ABOUT_BYTES_MAX: u64 = 4_096;
/// The file's name.
pub(crate) const ABOUT: &str = "spool.json";

/// Unknown keys are passed over: a newer program's file must be read far enough to say that it is newer.
#[derive(Serialize, Deserialize)]
struct About {
    version: u32,
    node: Name,
}

/// The form of the spool below `root`. Refused where it is newer than ours, or another node's.
pub(crate) fn check(root: &Path, node: &Name) -> Result<u32, SpoolError> {
    let path = root.join(ABOUT);
    let at = |source| SpoolError::disk(&path, source);
    match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(UNSAID),
        Err(error) => return Err(at(error)),
        Ok(meta) if meta.len() > ABOUT_BYTES_MAX => return Err(at(io::ErrorKind::InvalidData.into())),
        Ok(_) => {}
    }
    let about: About =
        serde_json::from_slice(&fs::read(&path).map_err(at)?).map_err(|error| at(io::Error::from(error)))?;
    if about.version > STATE_VERSION {
        return Err(SpoolError::TooNew { path, found: about.version, supported: STATE_VERSION });
    }
    if about.node != *node {
        return Err(SpoolError::OtherNode { path, found: about.node, expected: node.clone() });
    }
    Ok(about.version)
}

/// Says that the spool is of this form from now on.
pub(crate) fn say(disk: &Disk, root: &Path, node: &Name, version: u32) -> Result<(), SpoolError> {
    let path = root.join(ABOUT);
    let at = |source| SpoolError::disk(&path, source);
    let text = serde_json::to_vec_pretty(&About { version, node: node.clone() }).map_err(|error| at(error.into()))?;
    disk.write(&path, &text).map_err(at)
}

/// Raises the form after an opening that understood all of it.
pub(crate) fn raise(disk: &Disk, root: &Path, node: &Name, found: u32) -> Result<(), SpoolError> {
    if found == STATE_VERSION && root.join(ABOUT).exists() {
        return Ok(());
    }
    say(disk, root, node, STATE_VERSION)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(word: &str) -> Name {
        Name::new(word).unwrap()
    }

    #[test]
    fn a_spool_that_says_nothing_is_of_the_first_form_and_is_raised_once_opened() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(check(dir.path(), &name("extranet")).unwrap(), 1);
        raise(&Disk::real(), dir.path(), &name("extranet"), 1).unwrap();
        assert_eq!(check(dir.path(), &name("extranet")).unwrap(), STATE_VERSION);
        assert!(matches!(check(dir.path(), &name("internet")), Err(SpoolError::OtherNode { .. })));
    }

    #[test]
    fn a_newer_form_is_refused_with_file_and_both_versions_whatever_else_it_says() {
        let dir = tempfile::tempdir().unwrap();
        let text = br#"{ "version": 9, "node": "extranet", "shards": ["a", "b"] }"#;
        Disk::real().write(&dir.path().join(ABOUT), text).unwrap();
        let error = check(dir.path(), &name("extranet")).unwrap_err().to_string();
        for word in ["spool.json", "version 9", &STATE_VERSION.to_string(), "newer", "restore"] {
            assert!(error.contains(word), "{error}");
        }
    }
}
