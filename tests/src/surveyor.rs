//! A person who takes survey files in, one folder after the other, by `ferry intake` into an inlet whose drops must
//! be still for weeks: so nobody takes a drop away, and each is compared with its medium, its listing and its signature. A command that
//! was killed is run again.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Child;

use protocol::request::Request;
use protocol::{Signed, Suite};

use crate::office::Office;
use crate::papers::Noise;

/// The route; in the config of the internal zone its drops must be still for weeks.
pub const ROUTE: &str = "review-results";
/// Files of a folder, in two folders of it: enough that a copy can be killed in its middle.
const FILES: u64 = 24;
const FILE_BYTES: u64 = 60_000;

/// Takes folders in.
pub struct Surveyor {
    noise: Noise,
    child: Option<Child>,
    repeated: bool,
    /// Folders that were taken in, each compared.
    pub taken: u64,
    /// Commands that failed by themselves, and drops that are not what lies on the medium; empty in the end.
    pub wrong: Vec<String>,
}

impl Surveyor {
    /// Nothing was taken in.
    #[must_use]
    pub fn new(seed: u64) -> Surveyor {
        Surveyor { noise: Noise::new(seed ^ 0x1234), child: None, repeated: false, taken: 0, wrong: Vec::new() }
    }

    /// Is a command running?
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// Was a command killed, and not run again to its end?
    #[must_use]
    pub fn is_owed(&self) -> bool {
        self.repeated || self.is_running()
    }

    /// Starts the intake of the present folder.
    pub fn start(&mut self, office: &Office) -> io::Result<()> {
        if !office.spool("intranet").join("status/node.json").exists() {
            return Ok(());
        }
        let case = self.case(office);
        if !case.exists() {
            self.fill(&case)?;
        }
        let log = office.root.join("intake.log");
        fs::write(&log, "")?;
        let (case, listing) = (case.to_string_lossy().into_owned(), listing(&case).to_string_lossy().into_owned());
        let words = [case.as_str(), "--route", ROUTE, "--listing", &listing];
        self.child = Some(office.ferry_start_to("intake.log", "operator-ma", "intranet", "intake", &words)?);
        Ok(())
    }

    /// `kill -9` of the running command. Not a kill where it was through already.
    pub fn kill(&mut self) -> io::Result<bool> {
        let Some(mut child) = self.child.take() else { return Ok(false) };
        child.kill()?;
        self.repeated = true;
        Ok(child.wait()?.code().is_none())
    }

    /// Looks at what the command that ended has brought. What was compared is taken away, as a node would.
    pub fn advance(&mut self, office: &Office) -> io::Result<()> {
        let Some(status) = self.child.as_mut().map(Child::try_wait).transpose()?.flatten() else { return Ok(()) };
        self.child = None;
        let said = fs::read_to_string(office.root.join("intake.log"))?;
        let (case, inlet) = (self.case(office), office.inlet("intranet", ROUTE));
        if !status.success() {
            self.wrong.push(format!("ferry intake of {}: {status}: {said}", case.display()));
            return Ok(());
        }
        self.repeated = false;
        if let Err(why) = compare(&case, &inlet) {
            self.wrong.push(why);
        }
        fs::remove_dir_all(inlet.join(format!("case-{}", self.taken)))?;
        fs::remove_dir_all(&case)?;
        self.taken += 1;
        Ok(())
    }

    fn case(&self, office: &Office) -> PathBuf {
        office.root.join("survey").join(format!("case-{}", self.taken))
    }

    fn fill(&mut self, case: &Path) -> io::Result<()> {
        // Whole or absent: the folder is the mark that it was filled.
        let aside = case.with_extension("filling");
        for number in 0..FILES {
            let folder = aside.join(if number % 2 == 0 { "权籍" } else { "control" });
            fs::create_dir_all(&folder)?;
            let bytes = usize::try_from(self.noise.below(FILE_BYTES)).unwrap_or(0);
            fs::write(folder.join(format!("{number}.shp")), self.noise.bytes(bytes))?;
        }
        fs::rename(aside, case)
    }
}

/// Where the listing of a folder goes: beside it, on no inlet.
fn listing(case: &Path) -> PathBuf {
    case.with_extension("sha256")
}

/// Every file below a folder by its path there.
fn files(folder: &Path) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            found.extend(files(&path)?.into_iter().map(|(inner, bytes)| (format!("{name}/{inner}"), bytes)));
        } else {
            found.insert(name, fs::read(path)?);
        }
    }
    Ok(found)
}

/// One drop in the inlet and nothing beside it, no file lost, doubled or half there; the listing says of each what it is, and
/// the operator signed that listing.
fn compare(case: &Path, inlet: &Path) -> Result<(), String> {
    let failed = |what: &dyn std::fmt::Display| format!("{}: {what}", case.display());
    let name = case.file_name().unwrap_or_default();
    let mut there: Vec<_> =
        fs::read_dir(inlet).map_err(|e| failed(&e))?.flatten().map(|entry| entry.file_name()).collect();
    // Where the node puts what it takes.
    there.retain(|name| name != ".claimed");
    if there != [name] {
        return Err(failed(&format!("the inlet holds {there:?}")));
    }
    let (on_medium, dropped) =
        (files(case).map_err(|e| failed(&e))?, files(&inlet.join(name)).map_err(|e| failed(&e))?);
    if on_medium != dropped {
        return Err(failed(&"the drop is not what lies on the medium"));
    }
    let listed = fs::read_to_string(listing(case)).map_err(|e| failed(&e))?;
    let lines: BTreeMap<String, String> = listed
        .lines()
        .filter_map(|line| line.split_once("  "))
        .map(|(sum, name)| (name.to_owned(), sum.to_owned()))
        .collect();
    let sums = on_medium.iter().map(|(name, bytes)| (name.clone(), Suite::Std.digest(bytes).to_string()));
    if lines.len() != listed.lines().count() || lines != sums.collect() {
        return Err(failed(&"the listing does not match"));
    }
    let signature = fs::read(case.with_extension("sha256.sig")).map_err(|e| failed(&e))?;
    let request: Request =
        Signed::parse::<Request>(&signature).and_then(|signed| signed.read_unverified()).map_err(|e| failed(&e))?;
    let signed = Suite::Std.digest(listed.as_bytes()).to_string();
    if request.argument("listing") != Some(signed.as_str()) {
        return Err(failed(&"the operator signed another listing"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
    use super::*;

    #[test]
    fn a_drop_that_is_not_what_lies_on_the_medium_is_found_however_it_differs() {
        let root = tempfile::tempdir().unwrap();
        let (case, inlet) = (root.path().join("survey/case-0"), root.path().join("inlet"));
        fs::create_dir_all(&inlet).unwrap();
        Surveyor::new(1).fill(&case).unwrap();
        let said = |why: &str| {
            let error = compare(&case, &inlet).unwrap_err();
            assert!(error.contains(why), "{error}");
        };
        said("the inlet holds []");
        let drop = inlet.join("case-0");
        for (name, bytes) in files(&case).unwrap() {
            fs::create_dir_all(drop.join(&name).parent().unwrap()).unwrap();
            fs::write(drop.join(name), bytes).unwrap();
        }
        let half = drop.join("control/1.shp");
        let whole = fs::read(&half).unwrap();
        fs::write(&half, "half").unwrap();
        said("not what lies on the medium");
        fs::remove_file(&half).unwrap();
        said("not what lies on the medium");
        fs::write(&half, whole).unwrap();
        fs::write(listing(&case), "").unwrap();
        said("the listing does not match");
        fs::create_dir(inlet.join(".tmp-ferry-left")).unwrap();
        said("the inlet holds");
    }
}
