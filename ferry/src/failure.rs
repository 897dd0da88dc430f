//! What main says when something fails: the sentence in the reader's language, the remedy, and the exit code of the
//! command contract (1 refused or not verified, 2 usage or config, 3 disk, medium, I/O).

mod commands;
mod remedies;
mod things;

use commands::{approve, confirm, export, fetch, import, inspect, intake, keygen, ledger, rules, trust, verify};
use things::{desk, key};

use std::path::Path;

use crate::approve::ApproveError;
use crate::confirm::ConfirmError;
use crate::desk::DeskError;
use crate::except::ExceptError;
use crate::export::ExportError;
use crate::fetch::FetchError;
use crate::import::ImportError;
use crate::inspect::InspectError;
use crate::intake::IntakeError;
use crate::keygen::KeygenError;
use crate::ledger::LedgerError;
use crate::man::ManError;
use crate::rules::RulesError;
use crate::trust::TrustCommandError;
use crate::verify::VerifyError;
use crate::words::{Language, say, shown};

/// Refused, or not verified.
pub(crate) const REFUSED: u8 = 1;
/// Wrong words on the command line, or a config that cannot be.
pub(crate) const USAGE: u8 = 2;
/// Disk, medium, I/O.
pub(crate) const DISK: u8 = 3;

/// A failure as it is told.
#[derive(Debug)]
pub(crate) struct Failure {
    /// How the program ends.
    pub(crate) exit: u8,
    /// For scripts.
    pub(crate) code: String,
    /// What happened, to what, with the evidence.
    pub(crate) sentence: String,
    /// What to do.
    pub(crate) remedy: String,
}

/// Any error of ours.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) enum AnyError {
    Approve(#[from] ApproveError),
    Confirm(#[from] ConfirmError),
    Desk(#[from] DeskError),
    Except(#[from] ExceptError),
    Export(#[from] ExportError),
    Fetch(#[from] FetchError),
    Import(#[from] ImportError),
    Inspect(#[from] InspectError),
    Intake(#[from] IntakeError),
    Keygen(#[from] KeygenError),
    Ledger(#[from] LedgerError),
    Man(#[from] ManError),
    Rules(#[from] RulesError),
    Trust(#[from] TrustCommandError),
    Verify(#[from] VerifyError),
}

fn failure(exit: u8, code: &str, sentence: String, remedy: &str) -> Failure {
    Failure { exit, code: code.to_owned(), sentence, remedy: remedy.to_owned() }
}

impl AnyError {
    /// In the reader's language.
    pub(crate) fn told(&self, l: Language) -> Failure {
        match self {
            AnyError::Approve(e) => approve(e, l),
            AnyError::Confirm(e) => confirm(e, l),
            AnyError::Desk(e) => desk(e, l),
            AnyError::Except(ExceptError::Key(e)) => key(e, l),
            AnyError::Except(ExceptError::Desk(e)) => desk(e, l),
            AnyError::Export(e) => export(e, l),
            AnyError::Fetch(e) => fetch(e, l),
            AnyError::Import(e) => import(e, l),
            AnyError::Inspect(e) => inspect(e, l),
            AnyError::Intake(e) => intake(e, l),
            AnyError::Keygen(e) => keygen(e, l),
            AnyError::Ledger(e) => ledger(e, l),
            AnyError::Man(ManError::Write { path, cause }) => man(path, cause, l),
            AnyError::Rules(e) => rules(e, l),
            AnyError::Trust(e) => trust(e, l),
            AnyError::Verify(e) => verify(e, l),
        }
    }
}

fn man(path: &Path, cause: &std::io::Error, l: Language) -> Failure {
    let p = path.display();
    failure(
        DISK,
        "write-error",
        say!(l, "writing {p}: {cause}", "写入 {p}：{cause}"),
        l.pick("name a folder of yours, or a file system with room", "请指定本人可写且有空间的目录"),
    )
}

/// A medium that is gone explains an error of the disk, and no other.
pub(crate) fn pulled_out(path: &Path, cause: Failure, l: Language) -> Failure {
    if cause.exit != DISK {
        return cause;
    }
    let (p, sentence) = (shown(path.as_os_str()), cause.sentence);
    failure(
        DISK,
        "pulled-out",
        say!(l, "the medium at {p} was pulled out ({sentence})", "{p} 处的介质已被拔出（{sentence}）"),
        l.pick(
            "put the same medium in again and repeat the command (a staged trip: `ferry reexport --trip N`); nothing is counted twice",
            "请重新插入同一介质并重复该命令（已暂存的批次用 ferry reexport --trip N）；不会重复计入",
        ),
    )
}

/// The command line is not one of ours.
pub(crate) fn misused(l: Language) -> Failure {
    failure(USAGE, "usage", String::new(), l.pick("see ferry COMMAND --help", "请查看 ferry 子命令 --help"))
}

/// `ferry --spool DIR COMMAND` would silently look elsewhere.
pub(crate) fn misplaced_spool(l: Language) -> Failure {
    failure(
        USAGE,
        "misplaced-spool",
        l.pick("--spool stands before the command", "--spool 写在了子命令之前").to_owned(),
        l.pick("write it behind: ferry COMMAND --spool DIR", "请写在后面：ferry 子命令 --spool DIR"),
    )
}
