//! Held: what the guard held of a parcel. Without `--out` a person is shown what was found, masked, where it lies in the clear.
//! With it a security officer takes the whole along, as one bundle that the office's security key opens and ferry cannot:
//! `intranet-node open BUNDLE --key FILE` does, inside the internal zone. Who asked is on record before there is a file.

use std::path::PathBuf;

use protocol::Timestamp;
use serde_json::Value;

use crate::desk::{ASK_WAIT_MS, CARRY_WAIT_MS, Desk, DeskError, number};
use crate::fetch::{FetchError, bring};
use crate::folder::Folder;
use crate::keyfile::{KeyFrom, Person};
use crate::words::{Voice, say, shown};

const TAKE: &str = "held-take";

/// `ferry held`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Held {
    /// The node's spool
    #[arg(long, value_name = "DIR")]
    pub(crate) spool: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) key: KeyFrom,
    /// The parcel, as its notice or `list` names it
    #[arg(long)]
    pub(crate) parcel: String,
    /// A new file for the sealed bundle; only a security officer gets it
    #[arg(long, value_name = "FILE", requires = "reason")]
    pub(crate) out: Option<PathBuf>,
    /// Why it is looked into; kept in the ledger
    #[arg(long)]
    pub(crate) reason: Option<String>,
}

impl Held {
    /// Shows, or takes along.
    pub(crate) fn run(&self, voice: Voice, now: Timestamp) -> Result<(), FetchError> {
        let desk = Desk::open(self.spool.as_deref())?;
        let person = self.key.open(voice.language.pick("passphrase", "口令"))?;
        match &self.out {
            Some(out) => self.take(&desk, &person, out, voice, now),
            None => self.show(&desk, &person, voice, now),
        }
    }

    fn show(&self, desk: &Desk, person: &Person, voice: Voice, now: Timestamp) -> Result<(), FetchError> {
        let asked = [("parcel", self.parcel.clone())];
        let held = voice.during(voice.waiting(), || desk.ask(person, "held", &asked, now, ASK_WAIT_MS))?.details;
        voice.object(&held);
        let word = |of: &Value, key: &str| shown(of.get(key).and_then(Value::as_str).unwrap_or("-").as_ref());
        let (name, route, crossing) = (word(&held, "name"), word(&held, "route"), word(&held, "crossing"));
        voice.line(&format!("{name}  {route}  {crossing}"));
        for finding in held.get("findings").and_then(Value::as_array).into_iter().flatten() {
            let [rule, class, at, sample] = ["rule", "class", "at", "sample"].map(|key| word(finding, key));
            voice.line(&format!("{rule} ({class}) at {at}: {sample}"));
        }
        Ok(())
    }

    fn take(
        &self,
        desk: &Desk,
        person: &Person,
        out: &PathBuf,
        voice: Voice,
        now: Timestamp,
    ) -> Result<(), FetchError> {
        let reason = self.reason.clone().unwrap_or_default();
        let asked = [("parcel", self.parcel.clone()), ("reason", reason)];
        let answer = voice.during(voice.waiting(), || desk.ask(person, TAKE, &asked, now, CARRY_WAIT_MS))?;
        let lack = |field| DeskError::Answer { action: TAKE, field };
        let word = |field| answer.details.get(field).and_then(Value::as_str).ok_or(lack(field));
        let (stated, file) = (number(&answer, TAKE, "bytes")?, PathBuf::from(word("file")?));
        // The name alone: the answer is a file that the desk's group can write.
        let name = file.file_name().ok_or(lack("file"))?;
        let (mut source, _) = Folder::open(&desk.layout.desk_held())?.file(name)?;
        bring(&mut source, stated, word("digest")?, out)?;
        let shown = out.display();
        voice.object(&serde_json::json!({ "parcel": self.parcel, "file": out, "bytes": stated }));
        voice.line(&say!(
            voice.language,
            "sealed, in {shown}; inside: intranet-node open {shown} --key security.seal.key.pem --trust DIR --out DIR",
            "密封的隔离件已写入 {shown}；在业务内网执行 intranet-node open {shown} --key security.seal.key.pem --trust 信任库 --out 目录"
        ));
        Ok(())
    }
}
