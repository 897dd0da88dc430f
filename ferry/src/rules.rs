//! Rules: a person's signature of a rule file, laid beside it, and who has signed. Knows no rule: it reads the two lines
//! that say whose the rules are and of which version, and signs the bytes.

use std::path::{Path, PathBuf};

use protocol::endorsement::{ENDORSEMENT_BYTES_MAX, Endorsement, file_name};
use protocol::parcel::VERSION;
use protocol::trust::{Role, Trust, is_officer_and_another};
use protocol::{Crossing, Name, Signed, Timestamp};
use serde_json::json;
use spool::Disk;

use crate::desk::DeskError;
use crate::folder::{self, Folder, FolderError};
use crate::keyfile::{KeyFileError, KeyFrom};
use crate::trustdir::{self, TrustDirError};
use crate::words::{Voice, groups, say, shown};

/// A rule file of this size is a mistake; a node says the same.
const RULES_BYTES_MAX: usize = 1 << 20;
/// Names in a folder of rules.
const NAMES_MAX: usize = 4_096;

/// What stops one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RulesError {
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The device that holds it, as the desk would say it.
    #[error(transparent)]
    Desk(#[from] DeskError),
    /// The rule file or a signature.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The cards.
    #[error(transparent)]
    Trust(#[from] TrustDirError),
    /// Not a file of rules.
    #[error("{} says no crossing and version before its first table", path.display())]
    NoRules { path: PathBuf },
    /// Named after another crossing.
    #[error("{} holds the rules of {found}: a node reads them from {found}.toml", path.display())]
    OtherName { path: PathBuf, found: Crossing },
    /// A role whose word does not count here.
    #[error("{person} is a {role}; rules are signed by a security officer and another officer or an approver")]
    Role { person: Name, role: Role },
    /// The disk.
    #[error("writing {}: {cause}", path.display())]
    Write { path: PathBuf, cause: std::io::Error },
    /// Not enough signatures.
    #[error("{} is not signed by two people, one of them a security officer", path.display())]
    Incomplete { path: PathBuf },
}

/// `ferry rules`.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Rules {
    /// 签署: put your signature beside a rule file that you have read
    Sign(Sign),
    /// 查看: who has signed which version; exit 1 where it would not come into force
    Show(Show),
}

/// `ferry rules sign`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Sign {
    /// The rule file: <crossing>.toml
    file: PathBuf,
    #[command(flatten)]
    key: KeyFrom,
}

/// `ferry rules show`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Show {
    /// The rule file: <crossing>.toml
    file: PathBuf,
    /// The folder of key cards
    #[arg(long, value_name = "DIR")]
    trust: PathBuf,
}

impl Rules {
    /// Does it.
    pub(crate) fn run(&self, voice: Voice, now: Timestamp) -> Result<(), RulesError> {
        match self {
            Rules::Sign(sign) => sign.run(voice, now),
            Rules::Show(show) => show.run(voice),
        }
    }
}

impl Sign {
    fn run(&self, voice: Voice, now: Timestamp) -> Result<(), RulesError> {
        let language = voice.language;
        let file = RuleFile::read(&self.file)?;
        let person = self.key.open(language.pick("passphrase", "口令"))?;
        let (holder, role) = (person.card.holder.clone(), person.card.role);
        if !matches!(role, Role::Security | Role::Approver) {
            return Err(RulesError::Role { person: holder, role });
        }
        let digest = person.key.public().suite().digest(&file.bytes);
        let said = Endorsement {
            version: VERSION,
            crossing: file.crossing,
            rules: file.version.clone(),
            digest,
            person: holder.clone(),
            at: now,
        };
        let path = self.file.with_file_name(file_name(file.crossing, &holder));
        let disk = Disk::real();
        let failed = |cause| RulesError::Write { path: path.clone(), cause };
        let signed = Signed::make_by(&*person.key, &said).map_err(DeskError::from)?;
        disk.write(&path, &signed.to_bytes()).map_err(failed)?;
        // It is no secret, and the daemon reads it under an account of its own.
        disk.set_mode(&path, 0o644).map_err(failed)?;
        let (crossing, version, place, shown_digest) = (file.crossing, &file.version, path.display(), groups(&digest));
        voice.object(&json!({
            "crossing": crossing.name(), "version": version, "digest": digest.to_string(), "person": holder,
            "role": role.to_string(), "signature": path,
        }));
        voice.line(&say!(
            language,
            "{holder} ({role}) has signed version {version} of the rules of {crossing}: {place}",
            "{holder}（{role}）已签署 {crossing} 规则的版本 {version}：{place}"
        ));
        voice.line(&say!(language, "digest  {shown_digest}", "摘要  {shown_digest}"));
        voice.line(language.pick(
            "It counts when two have signed, one of them a security officer: `ferry rules show`, then `ZONE-node check` and reload.",
            "须两人签署（其中一人为安全员）方可生效：先 ferry rules show，再执行 check 并重新加载。",
        ));
        Ok(())
    }
}

impl Show {
    fn run(&self, voice: Voice) -> Result<(), RulesError> {
        let language = voice.language;
        let file = RuleFile::read(&self.file)?;
        let trust = trustdir::read(&self.trust)?;
        let folder = Folder::open(self.file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;
        let (mut signers, mut rows) = (Vec::new(), Vec::new());
        let (crossing, version) = (file.crossing, &file.version);
        voice.line(&say!(language, "rules of {crossing}, version {version}", "{crossing} 规则，版本 {version}"));
        for item in folder.list(NAMES_MAX)? {
            let name = shown(&item.name);
            if !name.starts_with(&format!("{crossing}.")) || !name.ends_with(".sig") {
                continue;
            }
            let told = folder
                .read(&item.name, ENDORSEMENT_BYTES_MAX)
                .map_err(|e| e.to_string())
                .and_then(|bytes| file.signer(&bytes, &trust));
            match told {
                Ok((person, role, at)) => {
                    voice.line(&say!(language, "  + {person} ({role}), {at}", "  + {person}（{role}），{at}"));
                    rows.push(json!({ "file": name, "counts": true, "person": person, "role": role.to_string(), "at": at.to_string() }));
                    signers.push((person, role));
                }
                Err(why) => {
                    voice.line(&say!(language, "  ! {name} does not count: {why}", "  ! {name} 无效：{why}"));
                    rows.push(json!({ "file": name, "counts": false, "cause": why }));
                }
            }
        }
        let complete = is_officer_and_another(signers.iter().map(|(person, role)| (person, *role)));
        voice.object(&json!({
            "crossing": crossing.name(), "version": version, "signatures": rows, "complete": complete,
        }));
        if !complete {
            return Err(RulesError::Incomplete { path: self.file.clone() });
        }
        voice.line(language.pick("signed by two: it may come into force", "已由两人签署，可以生效"));
        Ok(())
    }
}

/// What is signed.
struct RuleFile {
    bytes: Vec<u8>,
    crossing: Crossing,
    version: String,
}

impl RuleFile {
    fn read(path: &Path) -> Result<RuleFile, RulesError> {
        let bytes = folder::read_file(path, RULES_BYTES_MAX)?;
        let text = String::from_utf8_lossy(&bytes);
        let none = || RulesError::NoRules { path: path.to_owned() };
        let crossing: Crossing = value(&text, "crossing").and_then(|word| word.parse().ok()).ok_or_else(none)?;
        let version = value(&text, "version").ok_or_else(none)?.to_owned();
        if path.file_name().is_none_or(|name| name != format!("{crossing}.toml").as_str()) {
            return Err(RulesError::OtherName { path: path.to_owned(), found: crossing });
        }
        Ok(RuleFile { bytes: bytes.clone(), crossing, version })
    }

    /// The same questions that a node asks.
    fn signer(&self, bytes: &[u8], trust: &Trust) -> Result<(Name, Role, Timestamp), String> {
        let signed = Signed::parse::<Endorsement>(bytes).map_err(|e| e.to_string())?;
        let (said, card) = trust.verify::<Endorsement>(&signed).map_err(|e| e.to_string())?;
        if card.holder != said.person || !matches!(card.role, Role::Security | Role::Approver) {
            return Err(format!("signed by {}, a {}", card.holder, card.role));
        }
        let same = said.crossing == self.crossing
            && said.rules == self.version
            && said.digest == signed.suite.digest(&self.bytes);
        if same { Ok((said.person, card.role, said.at)) } else { Err(format!("{} signed another text", said.person)) }
    }
}

/// `key = "value"` before the first table. A node reads the file with a parser of TOML and compares: what is misread here
/// makes a signature that does not count, no more.
fn value<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    let before_tables = text.lines().map(str::trim).take_while(|line| !line.starts_with('['));
    before_tables
        .filter_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix('=')?.trim_start().strip_prefix('"'))
        .find_map(|rest| rest.split_once('"').map(|(value, _)| value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crossing_and_version_are_read_before_the_first_table_only() {
        let text = "# version = \"0\"\ncrossing= \"extranet-internet\"   # ours\nversion = \"2026-11-21.1\"\n[[type]]\nname = \"x\"\n";
        assert_eq!(value(text, "crossing"), Some("extranet-internet"));
        assert_eq!(value(text, "version"), Some("2026-11-21.1"));
        assert_eq!(value(text, "name"), None);
        assert_eq!(value("versions = \"1\"", "version"), None);
    }
}
