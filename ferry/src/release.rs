//! Release: one of the two words by which a drop that the guard held in the internal zone goes on after all. A person is
//! shown what was found, masked, and excepts exactly that, as `ferry except` does; the daemon puts the drop back into its
//! inlet when two have. What is structural nobody releases.

use std::collections::BTreeSet;
use std::path::PathBuf;

use protocol::Timestamp;
use serde_json::{Value, json};

use crate::desk::{ASK_WAIT_MS, Desk};
use crate::except::ExceptError;
use crate::keyfile::KeyFrom;
use crate::words::{Voice, say};

/// `ferry release`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Release {
    /// The node's spool
    #[arg(long, value_name = "DIR")]
    pub(crate) spool: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) key: KeyFrom,
    /// The parcel, as its notice or `list` names it
    #[arg(long)]
    pub(crate) parcel: String,
    /// Days in which the second person has to say the same and the drop has to leave, at most 30
    #[arg(long, default_value_t = 7)]
    pub(crate) days: u8,
    /// Why; kept in the ledger
    #[arg(long)]
    pub(crate) reason: String,
}

impl Release {
    /// Shows, signs and asks.
    pub(crate) fn run(&self, voice: Voice, now: Timestamp) -> Result<(), ExceptError> {
        let desk = Desk::open(self.spool.as_deref())?;
        let person = self.key.open(voice.language.pick("passphrase", "口令"))?;
        let parcel = ("parcel", self.parcel.clone());
        let reason = ("reason", self.reason.clone());
        let days = ("days", self.days.to_string());
        let ask = |action, arguments: &[_]| {
            voice.during(voice.waiting(), || desk.ask(&person, action, arguments, now, ASK_WAIT_MS))
        };
        let held = ask("held", std::slice::from_ref(&parcel))?.details;
        let findings = held.get("findings").and_then(Value::as_array).cloned().unwrap_or_default();
        let word = |finding: &Value, key: &str| finding.get(key).and_then(Value::as_str).unwrap_or("-").to_owned();
        for finding in &findings {
            let [rule, class, at, sample] = ["rule", "class", "at", "sample"].map(|key| word(finding, key));
            voice.line(&format!("{rule} ({class}) at {at}: {sample}"));
        }
        // One that nobody releases makes the rest moot; the daemon says so of all it found, and nothing is excepted for
        // nothing.
        if held.get("releasable").and_then(Value::as_bool).unwrap_or_default() {
            let named: BTreeSet<(String, String)> =
                findings.iter().map(|finding| (word(finding, "rule"), word(finding, "file"))).collect();
            for (rule, file) in named {
                let crossing = ("crossing", word(&held, "crossing"));
                let arguments = [("rule", rule), ("file", file), crossing, days.clone(), reason.clone()];
                ask("except", &arguments)?;
            }
        }
        let answer = ask("release", &[parcel, days, reason])?;
        let released = answer.details.get("released").and_then(Value::as_bool).unwrap_or_default();
        voice.object(&json!({ "parcel": self.parcel, "released": released, "findings": findings }));
        voice.line(&if released {
            say!(voice.language, "back in its inlet: it goes on as a new parcel", "已放回入口，将作为新的投递件继续")
        } else {
            say!(
                voice.language,
                "recorded; a second, different person must say the same (one of the two a security officer)",
                "已登记；须由另一人再次提出（两人之一须为安全员）"
            )
        });
        Ok(())
    }
}
