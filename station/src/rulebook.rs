//! The rule files of a node, and why each of them counts: it came with the program, two people signed it, or it was in
//! force here before. Anything else is refused, whole: the rules of all crossings come into force together, or none do.
//!
//! ```text
//! rules/<crossing>.toml            what the guard reads
//! rules/<crossing>.<person>.sig    a person's signature of exactly these bytes (FORMAT.md, 10.2)
//! <spool>/rules.json               what came into force last, by version and digest; the daemon's own
//! ```
//! An edit by one person, even the administrator's, changes nothing: neither the positive list nor anything else that the
//! guard is told can be weakened without the second one.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use guard::{ParcelType, Rules, RulesVersion};
use protocol::endorsement::{ENDORSEMENT_BYTES_MAX, Endorsement};
use protocol::ledger::{Event, Local, Record};
use protocol::parcel::Label;
use protocol::rollover::day;
use protocol::trust::{Role, Trust, is_officer_and_another};
use protocol::{Crossing, Digest, Name, Signed, Suite, Timestamp, Zone};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use spool::Layout;

use crate::config::Config;
use crate::desk::read_small;
use crate::keyring;
use crate::station::{Station, StationError};

/// A rule file of this size is a mistake; the guard says the same.
const RULES_BYTES_MAX: u64 = 1 << 20;
/// Signatures looked at for one file. Offices have a handful of people who may sign.
const SIGNATURES_MAX: usize = 64;
/// Names looked at in the folder.
const NAMES_MAX: usize = 4_096;
/// What is in force, a line a crossing.
const IN_FORCE_BYTES_MAX: u64 = 64 * 1024;

/// What this program was shipped with. They count as the program itself does: whoever could change them here could change
/// the guard.
const SHIPPED: [&str; 5] = [
    include_str!("../../config/rules/internet-extranet.toml"),
    include_str!("../../config/rules/extranet-internet.toml"),
    include_str!("../../config/rules/extranet-intranet.toml"),
    include_str!("../../config/rules/intranet-extranet.toml"),
    include_str!("../../config/rules/extranet-extranet.toml"),
];

/// Why a rule file does not come into force. All of it is for the administrator.
#[derive(Debug, thiserror::Error)]
pub enum RuleFileError {
    /// It cannot be read.
    #[error("rules {path}: {cause}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// The guard does not take it.
    #[error("rules {path}: {cause}")]
    Unfit {
        /// Which.
        path: PathBuf,
        /// With line and column.
        cause: guard::RulesError,
    },
    /// Another crossing's.
    #[error("rules {path}: holds the rules of {found}")]
    OtherCrossing {
        /// Which.
        path: PathBuf,
        /// Whose.
        found: Crossing,
    },
    /// Not the shipped one, and not signed by two people.
    #[error(
        "rules {path}: version {version} is not the one that came with this program and is signed by {signed}; two people must sign it, one of them a security officer: ferry rules sign"
    )]
    Unsigned {
        /// Which.
        path: PathBuf,
        /// Which version of it.
        version: String,
        /// By whom it is signed, and which signatures do not count.
        signed: String,
    },
    /// A step back.
    #[error(
        "rules {path}: version {version} is before {before}, which is in force; give what you want a higher version"
    )]
    Older {
        /// Which.
        path: PathBuf,
        /// Its version.
        version: String,
        /// What is in force.
        before: String,
    },
    /// Two texts under one version: custody entries name rules by it.
    #[error("rules {path}: version {version} is in force with another content; give the new one a higher version")]
    SameVersion {
        /// Which.
        path: PathBuf,
        /// Its version.
        version: String,
    },
}

/// Who signed a rule file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// Who.
    pub person: Name,
    /// In which role.
    pub role: Role,
    /// When, by their own clock.
    pub at: Timestamp,
}

/// Why a rule file counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It came with the program.
    Shipped,
    /// Two people signed it.
    Signed(Vec<Signer>),
    /// It came into force here before; the program was replaced or a card retired since.
    InForce,
}

/// One rule file.
#[derive(Clone, Debug)]
pub struct RuleFile {
    /// What it says.
    pub rules: Rules,
    /// Of its bytes, in the office's suite.
    pub digest: Digest,
    /// Why it counts.
    pub standing: Standing,
}

/// The rules of all crossings that a node takes part in.
#[derive(Clone, Debug, Default)]
pub struct RuleBook {
    files: BTreeMap<Crossing, RuleFile>,
}

/// What came into force last.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct InForce(BTreeMap<String, Entry>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    version: String,
    digest: String,
}

impl InForce {
    fn path(layout: &Layout) -> PathBuf {
        layout.rules_in_force()
    }

    /// A file that is not there, or that nobody can read, says nothing: then every file must be shipped or signed.
    fn read(layout: &Layout) -> InForce {
        let text = read_small(&InForce::path(layout), IN_FORCE_BYTES_MAX).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }
}

impl RuleBook {
    /// Reads the rule file of every crossing, with its signatures.
    pub fn load(
        folder: &Path,
        crossings: &[Crossing],
        trust: &Trust,
        suite: Suite,
        layout: &Layout,
    ) -> Result<RuleBook, RuleFileError> {
        let in_force = InForce::read(layout);
        let mut files = BTreeMap::new();
        for crossing in crossings {
            files.insert(*crossing, read(folder, *crossing, trust, suite, in_force.0.get(crossing.name()))?);
        }
        Ok(RuleBook { files })
    }

    /// The rules that a daemon of this config would go by.
    pub fn of_config<L>(config: &Config<L>, zone: Zone) -> Result<RuleBook, StationError> {
        let trust = keyring::believed(&config.node)?;
        let layout = Layout::new(&config.node.spool);
        Ok(RuleBook::load(&config.node.rules, &config.crossings(zone), &trust, config.node.suite, &layout)?)
    }

    /// The rules of a crossing.
    #[must_use]
    pub fn get(&self, crossing: &Crossing) -> Option<&Rules> {
        self.files.get(crossing).map(|file| &file.rules)
    }

    /// Does this node take part in a crossing?
    #[must_use]
    pub fn contains_key(&self, crossing: &Crossing) -> bool {
        self.files.contains_key(crossing)
    }

    /// All files, by crossing.
    pub fn files(&self) -> impl Iterator<Item = (&Crossing, &RuleFile)> {
        self.files.iter()
    }

    /// Records what is new. Why it may die in between: the file says what the ledger says a moment earlier, and a record
    /// that is written twice tells the same twice.
    pub(crate) fn come_into_force(&self, station: &Station, now: Timestamp) -> Result<(), StationError> {
        let mut in_force = InForce::read(station.layout());
        let mut is_new = false;
        for (crossing, file) in &self.files {
            let entry = Entry { version: file.rules.version().as_str().to_owned(), digest: file.digest.to_string() };
            if in_force.0.get(crossing.name()) == Some(&entry) {
                continue;
            }
            let mut record = Record::new(Event::ConfigLoaded, now);
            record.crossing = Some(*crossing);
            record.digest = Some(file.digest);
            let signers = match &file.standing {
                Standing::Signed(signers) => signers.as_slice(),
                Standing::Shipped | Standing::InForce => &[],
            };
            /// A local part holds 32 labels.
            const SIGNERS_MAX: usize = 31;
            let signed_by = signers.iter().take(SIGNERS_MAX).map(|signer| signer.person.to_string());
            let version = [("version", entry.version.clone())];
            let words = version.into_iter().chain(signed_by.map(|person| ("signed-by", person)));
            let label = |(what, value)| Some(Label { name: Name::new(what).ok()?, value });
            station.spool.record(record, Local { name: None, labels: words.filter_map(label).collect() })?;
            tracing::info!(%crossing, version = entry.version, "rules came into force");
            in_force.0.insert(crossing.name().to_owned(), entry);
            is_new = true;
        }
        if is_new {
            let path = InForce::path(station.layout());
            let text = serde_json::to_vec_pretty(&in_force).map_err(io::Error::from);
            text.and_then(|text| station.spool.disk().write(&path, &text))
                .map_err(|cause| StationError::Io { path, cause })?;
        }
        Ok(())
    }
}

impl RuleFile {
    /// For scripts: which version, why it counts, and what it lets cross.
    #[must_use]
    pub fn shown(&self) -> Value {
        let (standing, signers) = match &self.standing {
            Standing::Shipped => ("shipped", Vec::new()),
            Standing::InForce => ("in-force", Vec::new()),
            Standing::Signed(signers) => ("signed", signers.clone()),
        };
        let signers: Vec<Value> = signers
            .iter()
            .map(|s| json!({ "person": s.person, "role": s.role.to_string(), "at": s.at.to_string() }))
            .collect();
        json!({
            "crossing": self.rules.crossing().name(), "version": self.rules.version().as_str(),
            "digest": self.digest.to_string(), "standing": standing, "signers": signers,
            "types": self.rules.types().map(ParcelType::told).collect::<Vec<_>>(),
            "windows": self.rules.windows_told().collect::<Vec<_>>(),
        })
    }

    /// The same in words, a line for the file and one for each type.
    #[must_use]
    pub fn told(&self) -> Vec<String> {
        let standing = match &self.standing {
            Standing::Shipped => "as shipped with this program".to_owned(),
            Standing::InForce => "as it came into force here before".to_owned(),
            Standing::Signed(signers) => {
                let each = |s: &Signer| format!("{} ({}, {})", s.person, s.role, s.at);
                format!("signed by {}", signers.iter().map(each).collect::<Vec<_>>().join(" and "))
            }
        };
        let head = format!("rules {} version {}: {standing}", self.rules.crossing(), self.rules.version().as_str());
        let types = self.rules.types().map(ParcelType::told);
        std::iter::once(head).chain(types.chain(self.rules.windows_told()).map(|one| format!("  {one}"))).collect()
    }
}

fn read(
    folder: &Path,
    crossing: Crossing,
    trust: &Trust,
    suite: Suite,
    in_force: Option<&Entry>,
) -> Result<RuleFile, RuleFileError> {
    let path = folder.join(format!("{crossing}.toml"));
    let bytes = std::fs::canonicalize(&path)
        .and_then(|real| read_small(&real, RULES_BYTES_MAX))
        .map_err(|cause| RuleFileError::Read { path: path.clone(), cause })?;
    let text = String::from_utf8(bytes)
        .map_err(|_| RuleFileError::Read { path: path.clone(), cause: io::ErrorKind::InvalidData.into() })?;
    let rules = Rules::parse(&text).map_err(|cause| RuleFileError::Unfit { path: path.clone(), cause })?;
    if rules.crossing() != crossing {
        return Err(RuleFileError::OtherCrossing { path, found: rules.crossing() });
    }
    let digest = suite.digest(text.as_bytes());
    let version = rules.version().as_str().to_owned();
    let before = in_force.and_then(|entry| Some((RulesVersion::parse(&entry.version)?, entry.digest.as_str())));
    let was_in_force = before.as_ref().is_some_and(|(_, known)| *known == digest.to_string());
    if let Some((before, _)) = before.filter(|_| !was_in_force) {
        if rules.version().is_before(&before) {
            return Err(RuleFileError::Older { path, version, before: before.as_str().to_owned() });
        }
        if !before.is_before(rules.version()) {
            return Err(RuleFileError::SameVersion { path, version });
        }
    }
    let (signers, others) = signers(folder, &rules, text.as_bytes(), trust);
    let standing = if is_officer_and_another(signers.iter().map(|signer| (&signer.person, signer.role))) {
        Standing::Signed(signers)
    } else if SHIPPED.contains(&text.as_str()) {
        Standing::Shipped
    } else if was_in_force {
        Standing::InForce
    } else {
        let named = signers.iter().map(|s| format!("{} ({})", s.person, s.role)).collect::<Vec<_>>();
        let signed = if named.is_empty() { "nobody".to_owned() } else { named.join(" and ") };
        let signed = if others.is_empty() { signed } else { format!("{signed} ({})", others.join("; ")) };
        return Err(RuleFileError::Unsigned { path, version, signed });
    };
    Ok(RuleFile { rules, digest, standing })
}

/// Whose signatures of these bytes lie beside them; and which files do not count, and why.
fn signers(folder: &Path, rules: &Rules, bytes: &[u8], trust: &Trust) -> (Vec<Signer>, Vec<String>) {
    let (mut signers, mut others): (Vec<Signer>, Vec<String>) = (Vec::new(), Vec::new());
    let beginning = format!("{}.", rules.crossing());
    let names = std::fs::read_dir(folder).into_iter().flatten().take(NAMES_MAX).flatten();
    let mut found: Vec<String> = names
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with(&beginning) && name.ends_with(".sig"))
        .collect();
    found.sort();
    for name in found.into_iter().take(SIGNATURES_MAX) {
        match signer(&folder.join(&name), rules, bytes, trust) {
            Ok(signer) if signers.iter().all(|known| known.person != signer.person) => signers.push(signer),
            Ok(_) => {}
            Err(why) => others.push(format!("{name} does not count: {why}")),
        }
    }
    (signers, others)
}

fn signer(path: &Path, rules: &Rules, bytes: &[u8], trust: &Trust) -> Result<Signer, String> {
    let signed = read_small(path, ENDORSEMENT_BYTES_MAX as u64).map_err(|e| e.to_string())?;
    let signed = Signed::parse::<Endorsement>(&signed).map_err(|e| e.to_string())?;
    let (said, card) = trust.verify::<Endorsement>(&signed).map_err(|e| e.to_string())?;
    if card.holder != said.person || !matches!(card.role, Role::Security | Role::Approver) {
        return Err(format!("signed by {}, a {}", card.holder, card.role));
    }
    if let Some(last) = card.until.as_ref().filter(|last| **last < day(said.at)) {
        return Err(format!("{} signed on {}, and that key's last day was {last}", said.person, day(said.at)));
    }
    if said.crossing != rules.crossing()
        || said.rules != rules.version().as_str()
        || said.digest != signed.suite.digest(bytes)
    {
        return Err(format!("{} signed another file: version {} of {}", said.person, said.rules, said.crossing));
    }
    Ok(Signer { person: said.person, role: card.role, at: said.at })
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test lays files down as an administrator does")]
mod tests {
    use super::*;
    use protocol::endorsement::file_name;
    use protocol::keys::SigningKey;
    use protocol::parcel::VERSION;
    use protocol::trust::{KeyCard, Use};
    use std::fs;

    const CROSSING: Crossing = Crossing::IntranetToExtranet;

    struct Office {
        root: tempfile::TempDir,
        trust: Trust,
        keys: BTreeMap<&'static str, SigningKey>,
    }

    impl Office {
        fn new(suite: Suite) -> Office {
            let mut office =
                Office { root: tempfile::tempdir().unwrap(), trust: Trust::default(), keys: BTreeMap::new() };
            for (holder, role) in [
                ("officer-li", Role::Security),
                ("approver-wu", Role::Approver),
                ("approver-he", Role::Approver),
                ("operator-ma", Role::Operator),
            ] {
                let key = SigningKey::generate(suite);
                let card = KeyCard {
                    zone: Zone::Intranet,
                    holder: Name::new(holder).unwrap(),
                    role,
                    usage: Use::Sign,
                    suite,
                    from: "2026-11-21".to_owned(),
                    until: None,
                    spki: key.public().to_spki(),
                };
                office.trust.add(holder, &card.to_text()).unwrap();
                office.keys.insert(holder, key);
            }
            office
        }

        fn lay(&self, text: &str) {
            fs::write(self.root.path().join(format!("{CROSSING}.toml")), text).unwrap();
        }

        fn sign(&self, holder: &str, text: &str, version: &str) {
            let (key, person) = (&self.keys[holder], Name::new(holder).unwrap());
            let said = Endorsement {
                version: VERSION,
                crossing: CROSSING,
                rules: version.to_owned(),
                digest: key.suite().digest(text.as_bytes()),
                person: person.clone(),
                at: Timestamp(1_795_262_400_000),
            };
            let place = self.root.path().join(file_name(CROSSING, &person));
            fs::write(place, Signed::make(key, &said).to_bytes()).unwrap();
        }

        fn load(&self) -> Result<RuleFile, RuleFileError> {
            let layout = Layout::new(self.root.path());
            let book = RuleBook::load(self.root.path(), &[CROSSING], &self.trust, Suite::Std, &layout)?;
            Ok(book.files[&CROSSING].clone())
        }

        fn brings_into_force(&self) {
            let file = self.load().unwrap();
            let entry = Entry { version: file.rules.version().as_str().to_owned(), digest: file.digest.to_string() };
            let in_force = InForce(BTreeMap::from([(CROSSING.name().to_owned(), entry)]));
            fs::write(self.root.path().join("rules.json"), serde_json::to_vec(&in_force).unwrap()).unwrap();
        }
    }

    /// The positive list widened: what one administrator must not be able to do.
    fn text(version: &str) -> String {
        format!(
            "crossing = \"{CROSSING}\"\nversion = \"{version}\"\n[[type]]\nname = \"t\"\nkinds = [\"xml\", \"jpeg\"]\n"
        )
    }

    fn shipped() -> &'static str {
        let text = SHIPPED.iter().find(|text| Rules::parse(text).unwrap().crossing() == CROSSING);
        text.copied().unwrap()
    }

    #[test]
    fn what_was_shipped_counts_and_one_changed_byte_of_it_does_not() {
        let office = Office::new(Suite::Std);
        let crossings: Vec<Crossing> = SHIPPED.iter().map(|text| Rules::parse(text).unwrap().crossing()).collect();
        assert!(Crossing::ALL.iter().all(|crossing| crossings.contains(crossing)));
        let shipped = shipped();
        office.lay(shipped);
        assert_eq!(office.load().unwrap().standing, Standing::Shipped);
        office.lay(&format!("{shipped}\n"));
        let error = office.load().unwrap_err();
        assert!(matches!(error, RuleFileError::Unsigned { .. }) && error.to_string().contains("nobody"), "{error}");
    }

    #[test]
    fn two_people_sign_one_text_and_it_counts_until_it_is_changed() {
        for suite in Suite::ALL {
            let office = Office::new(suite);
            let rules = text("2026-12-01.1");
            office.lay(&rules);
            office.sign("approver-wu", &rules, "2026-12-01.1");
            office.sign("approver-he", &rules, "2026-12-01.1");
            office.sign("operator-ma", &rules, "2026-12-01.1");
            let error = office.load().unwrap_err().to_string();
            assert!(error.contains("approver-wu (approver)") && error.contains("operator-ma"), "no officer: {error}");
            office.sign("officer-li", &rules, "2026-12-01.1");
            let Standing::Signed(signers) = office.load().unwrap().standing else { unreachable!("they signed") };
            assert_eq!(signers.len(), 3);
            for changed in [rules.replace("jpeg", "png"), format!("{rules} "), text("2026-12-01.2")] {
                office.lay(&changed);
                assert!(matches!(office.load(), Err(RuleFileError::Unsigned { .. })), "{changed}");
            }
        }
    }

    #[test]
    fn a_signature_counts_for_what_it_says_and_by_whom_the_card_says() {
        let office = Office::new(Suite::Std);
        let rules = text("5");
        office.lay(&rules);
        office.sign("approver-wu", &rules, "5");
        office.sign("officer-li", &rules, "4");
        assert!(office.load().unwrap_err().to_string().contains("signed another file"));
        office.sign("officer-li", &rules, "5");
        let folder = office.root.path();
        let place = |holder: &str| folder.join(file_name(CROSSING, &Name::new(holder).unwrap()));
        // The officer's own signature under the other's name is one person's all the same.
        fs::copy(place("officer-li"), place("approver-wu")).unwrap();
        assert!(office.load().is_err());
        office.sign("approver-wu", &rules, "5");
        assert!(office.load().is_ok());
        let whole = fs::read(place("officer-li")).unwrap();
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            fs::write(place("officer-li"), flipped).unwrap();
            assert!(office.load().is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_lower_version_and_another_text_of_the_same_are_refused_and_what_was_in_force_stays_loadable() {
        let office = Office::new(Suite::Std);
        let people = ["officer-li", "approver-wu"];
        let first = text("2026-12-01.10");
        office.lay(&first);
        people.iter().for_each(|person| office.sign(person, &first, "2026-12-01.10"));
        office.brings_into_force();
        let lower = text("2026-12-01.9");
        office.lay(&lower);
        people.iter().for_each(|person| office.sign(person, &lower, "2026-12-01.9"));
        assert!(matches!(office.load(), Err(RuleFileError::Older { .. })));
        office.lay(shipped());
        assert!(matches!(office.load(), Err(RuleFileError::Older { .. })), "even the shipped one is a step back");
        let other = format!("{first}# more\n");
        office.lay(&other);
        people.iter().for_each(|person| office.sign(person, &other, "2026-12-01.10"));
        assert!(matches!(office.load(), Err(RuleFileError::SameVersion { .. })));
        // Whose card was taken away signs nothing new, and does not stop the gate.
        office.lay(&first);
        people.iter().for_each(|person| {
            fs::remove_file(office.root.path().join(file_name(CROSSING, &Name::new(person).unwrap()))).unwrap()
        });
        assert_eq!(office.load().unwrap().standing, Standing::InForce);
    }
}
