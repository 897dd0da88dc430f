//! Dispose: one of the two words by which a medium of the register is gone for good. The operator names the witness, the
//! witness names the operator, each with their own key; the daemon holds the two together.

use std::path::PathBuf;

use protocol::{Name, Timestamp};
use serde_json::Value;

use crate::desk::{ASK_WAIT_MS, Desk};
use crate::except::ExceptError;
use crate::keyfile::KeyFrom;
use crate::words::{Voice, say};

/// `ferry dispose`.
#[derive(Clone, Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("other").required(true).args(["witness", "operator"]))]
pub(crate) struct Dispose {
    /// The node's spool
    #[arg(long, value_name = "DIR")]
    pub(crate) spool: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) key: KeyFrom,
    /// The medium, by its id in the register
    #[arg(long, value_name = "ID")]
    pub(crate) medium_id: Name,
    /// The operator says: this person saw it destroyed
    #[arg(long, value_name = "NAME")]
    pub(crate) witness: Option<Name>,
    /// The witness says: this operator destroyed it
    #[arg(long, value_name = "NAME")]
    pub(crate) operator: Option<Name>,
    /// Why, and how; kept in the ledger
    #[arg(long)]
    pub(crate) reason: String,
}

impl Dispose {
    /// Signs and asks.
    pub(crate) fn run(&self, voice: Voice, now: Timestamp) -> Result<(), ExceptError> {
        let desk = Desk::open(self.spool.as_deref())?;
        let person = self.key.open(voice.language.pick("passphrase", "口令"))?;
        let ask = |action, arguments: &[_]| {
            voice.during(voice.waiting(), || desk.ask(&person, action, arguments, now, ASK_WAIT_MS))
        };
        let other = [("witness", &self.witness), ("operator", &self.operator)];
        let mut arguments = vec![("medium", self.medium_id.to_string()), ("reason", self.reason.clone())];
        arguments.extend(other.into_iter().filter_map(|(what, who)| Some((what, who.as_ref()?.to_string()))));
        if let Some(operator) = &self.operator {
            // The witness answers one word of the operator's, by its id: an answer to an earlier one completes nothing.
            let about = [("medium", self.medium_id.to_string()), ("operator", operator.to_string())];
            let waiting = ask("dispose-word", &about)?;
            let of = |what| waiting.details.get(what).and_then(Value::as_str).unwrap_or_default().to_owned();
            let (word, said) = (of("word"), of("reason"));
            let at = waiting.details.get("at_ms").and_then(Value::as_u64).map(Timestamp).unwrap_or(now);
            voice.line(&say!(
                voice.language,
                "you answer: {operator}, {at}: \"{said}\"",
                "所见证的登记：{operator}，{at}：“{said}”"
            ));
            arguments.push(("answers", word));
        }
        let answer = ask("dispose", &arguments)?;
        voice.object(&serde_json::json!({ "medium": self.medium_id, "code": answer.code, "details": answer.details }));
        let (medium, own) = (&self.medium_id, &person.card.holder);
        let gone = answer.code == "disposed-already" || answer.details.get("disposed") == Some(&Value::Bool(true));
        voice.line(&match (&self.witness, gone) {
            (Some(witness), false) => say!(
                voice.language,
                "recorded; within seven days {witness} says the same: ferry dispose --medium-id {medium} --operator {own} --reason TEXT --key FILE",
                "已登记；须由 {witness} 在七日内确认：ferry dispose --medium-id {medium} --operator {own} --reason 原因 --key FILE"
            ),
            _ => say!(
                voice.language,
                "medium {medium} is disposed of: nothing goes onto it or comes from it any more",
                "介质 {medium} 已登记销毁，不得再用于导出或导入"
            ),
        });
        Ok(())
    }
}
