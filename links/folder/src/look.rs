//! What the disk says of the gate's two directories, for `check`: asked while nothing is taken, touches nothing.

use std::path::{Path, PathBuf};

use crate::Settings;
use crate::names::Named;

/// Names looked at. More than that lie nowhere that a gate works.
const NAMES_MAX: usize = 65_536;

/// One thing that is not right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which setting.
    pub setting: &'static str,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub remedy: &'static str,
    /// Nothing crosses while it is so.
    pub stops: bool,
}

impl Settings {
    /// Everything about the directories that would keep files from crossing.
    #[must_use]
    pub fn look(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        let set = [("outgoing", &self.outgoing), ("incoming", &self.incoming)];
        let real: Vec<(&'static str, PathBuf)> = set
            .into_iter()
            .filter_map(|(setting, path)| Some((setting, usable(setting, path.as_ref()?, &mut found)?)))
            .collect();
        if let [(_, out), (_, back)] = real.as_slice()
            && (out.starts_with(back) || back.starts_with(out))
        {
            found.push(Finding {
                setting: "incoming",
                what: format!(
                    "and outgoing are one directory, or one stands in the other: {} and {}",
                    back.display(),
                    out.display()
                ),
                remedy: "give the gate two directories side by side: what is written for it would come straight back",
                stops: true,
            });
        }
        for (_, path) in real.iter().filter(|(setting, _)| *setting == "incoming") {
            found.extend(self.foreign(path));
        }
        found
    }

    fn foreign(&self, incoming: &Path) -> Option<Finding> {
        let names = std::fs::read_dir(incoming).ok()?.take(NAMES_MAX).flatten().map(|file| file.file_name());
        let ours =
            |name: &std::ffi::OsStr| name.to_str().is_some_and(|name| Named::parse(name, &self.suffix).is_some());
        let foreign = names.filter(|name| !name.as_encoded_bytes().starts_with(b".") && !ours(name)).count();
        (foreign > 0 && !self.any_name).then(|| Finding {
            setting: "incoming",
            what: format!("holds {foreign} files or folders whose names are none of ours"),
            remedy: "set suffix as at the other end; where the gate gives files other names set any_name = true; else take them out",
            stops: false,
        })
    }
}

/// The directory as it really is called, if it can be used.
fn usable(setting: &'static str, path: &Path, found: &mut Vec<Finding>) -> Option<PathBuf> {
    let mut wrong = |what: String, remedy| found.push(Finding { setting, what, remedy, stops: true });
    let real = match path.canonicalize() {
        Ok(real) if real.is_dir() => real,
        Ok(_) => {
            wrong(format!("{} is no directory", path.display()), "name the directory of the gate");
            return None;
        }
        Err(error) => {
            wrong(
                format!("{}: {error}", path.display()),
                "make the directory, or mount it, for the daemon's account and the gate's",
            );
            return None;
        }
    };
    let needed = rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    if let Err(error) = rustix::fs::access(&real, needed) {
        wrong(
            format!("{}: this account may not list, write and remove there: {error}", path.display()),
            "give the daemon's account read, write and search on it, and name it in the unit's ReadWritePaths",
        );
    }
    Some(real)
}
