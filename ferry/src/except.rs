//! Except: one of the two words by which one heuristic rule is passed over, in one file, on one crossing, for a while.
//! The daemon checks the roles and waits for the second person.

use std::path::PathBuf;

use protocol::Timestamp;

use crate::desk::{ASK_WAIT_MS, Desk, DeskError};
use crate::keyfile::{KeyFileError, KeyFrom};
use crate::words::{Voice, say};

/// What stops one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExceptError {
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The desk.
    #[error(transparent)]
    Desk(#[from] DeskError),
}

/// `ferry except`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Except {
    /// The node's spool
    #[arg(long, value_name = "DIR")]
    pub(crate) spool: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) key: KeyFrom,
    /// The rule, as the notice or `ZONE-node inspect` names it; heuristic ones only
    #[arg(long)]
    pub(crate) rule: String,
    /// The file's digest, as `ZONE-node inspect --route R FILE` prints it
    #[arg(long, value_name = "DIGEST")]
    pub(crate) file: String,
    /// The crossing, such as extranet-internet
    #[arg(long)]
    pub(crate) crossing: String,
    /// For so many days, at most 30
    #[arg(long, default_value_t = 7)]
    pub(crate) days: u8,
    /// Why; kept in the ledger
    #[arg(long)]
    pub(crate) reason: String,
    /// Take it back: one person is enough, and what both have said goes
    #[arg(long)]
    pub(crate) revoke: bool,
}

impl Except {
    /// Signs and asks.
    pub(crate) fn run(&self, voice: Voice, now: Timestamp) -> Result<(), ExceptError> {
        let desk = Desk::open(self.spool.as_deref())?;
        let person = self.key.open(voice.language.pick("passphrase", "口令"))?;
        let arguments = [
            ("rule", self.rule.clone()),
            ("file", self.file.clone()),
            ("crossing", self.crossing.clone()),
            ("days", self.days.to_string()),
            ("reason", self.reason.clone()),
        ];
        let action = if self.revoke { "except-revoke" } else { "except" };
        let answer = voice.during(voice.waiting(), || desk.ask(&person, action, &arguments, now, ASK_WAIT_MS))?;
        if self.revoke {
            let gone = answer.details.get("taken_back").and_then(serde_json::Value::as_u64).unwrap_or_default();
            voice.object(&serde_json::json!({ "taken_back": gone }));
            voice.line(&if gone > 0 {
                say!(voice.language, "taken back; it lets nothing pass any more", "已撤销，不再放行")
            } else {
                say!(voice.language, "there was nothing to take back here", "此处没有可撤销的例外")
            });
            return Ok(());
        }
        voice.object(&answer.details);
        let stands = answer.details.get("stands").and_then(serde_json::Value::as_bool).unwrap_or_default();
        let until = answer.details.get("until").and_then(serde_json::Value::as_str).unwrap_or_default();
        voice.line(&if stands {
            say!(voice.language, "the exception stands until {until}", "例外生效，有效期至 {until}")
        } else {
            say!(
                voice.language,
                "recorded; a second, different person must say the same (one of the two a security officer)",
                "已登记；须由另一人再次提出相同例外（两人之一须为安全员）"
            )
        });
        Ok(())
    }
}
