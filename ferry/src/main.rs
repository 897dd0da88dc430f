//! ferry: carries sealed bundles between a node's desk and a medium, and proves what others signed. It holds no key that
//! opens a bundle, never writes a ledger, and acts on a node only by asking its daemon.
//!
//! Exit codes: 0 done, 1 refused or not verified, 2 usage or config, 3 disk, medium, I/O.
#![allow(rustdoc::invalid_html_tags, reason = "comments of arguments are shown as help, word for word")]

mod account;
mod approve;
mod as_of;
mod aside;
mod audit;
mod confirm;
mod copies;
mod copying;
mod crew;
mod desk;
mod dispose;
mod except;
mod export;
mod failure;
mod fetch;
mod folder;
mod gather;
mod heads;
mod held;
mod import;
mod inspect;
mod intake;
mod journeys;
mod keyfile;
mod keygen;
mod ledger;
mod lone;
mod man;
mod medium;
mod papers;
mod parity;
mod presence;
mod proof;
mod release;
mod rules;
mod slip;
mod trips;
mod trust;
mod trustdir;
mod verify;
mod volume;
mod wipe;
mod words;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::slice;

use clap::{CommandFactory, Parser, Subcommand};
use protocol::Timestamp;
use serde_json::json;

use crate::failure::{AnyError, Failure};
use crate::presence::Presence;
use crate::words::{Language, Voice, say};

/// 摆渡 / ferry: moves sealed bundles between a node and a medium, and verifies with public keys alone.
#[derive(Debug, Parser)]
#[command(name = "ferry", version, disable_help_subcommand = true)]
struct Ferry {
    /// Language of messages; otherwise LC_ALL, LC_MESSAGES, LANG
    #[arg(long, global = true, value_name = "LANG")]
    lang: Option<Language>,
    /// One JSON object a line on standard output, for scripts
    #[arg(long, global = true)]
    json: bool,
    /// The node's spool, for the overview that `ferry` alone prints
    #[arg(long, value_name = "DIR")]
    spool: Option<std::path::PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// 生成密钥: make a person's key and its card
    Keygen(keygen::Keygen),
    /// 导出: stage what waits and write it onto a medium
    Export(export::Export),
    /// 会签: countersign a staged trip
    Approve(approve::Approve),
    /// 确认: read the written medium back and let the trip go
    Confirm(confirm::Confirm),
    /// 导入: verify a medium and hand it to the node
    Import(import::Import),
    /// 重新导出: stage a trip again under its number
    Reexport(export::Reexport),
    /// 批次: every trip and its state
    Trips(trips::Look),
    /// 介质: the register of media
    Media(trips::Look),
    /// 权籍成果提交: raw survey files into an inlet of the internal zone
    Intake(intake::Intake),
    /// 校验: prove bundles, evidence, waybills, receipts, whole media
    Verify(verify::Verify),
    /// 查看: the clear envelope, and what OpenSSL needs to check it
    Inspect(inspect::Inspect),
    /// 信任库: take a node's next key into a trust folder
    #[command(subcommand)]
    Trust(trust::TrustCommand),
    /// 审计账: verify or show a node's ledger
    #[command(subcommand)]
    Ledger(ledger::Ledger),
    /// 手册页: write the man pages of every command
    Man(man::Man),
    /// 销毁介质: one of two signatures, the operator's or the witness', by which a medium is gone for good
    Dispose(dispose::Dispose),
    /// 隔离件: show what the guard held of a parcel, and take it along sealed to the office's security key
    Held(held::Held),
    /// 放行: one of two signatures that put back what the guard held in the internal zone
    Release(release::Release),
    /// 规则: sign a rule file, and see who signed it
    #[command(subcommand)]
    Rules(rules::Rules),
    /// 例外: one of two signatures that pass over one heuristic rule in one file
    Except(except::Except),
}

fn main() -> ExitCode {
    // Before a person's key is read. Memory is locked where the person's session allows it.
    let _guarded = spool::memory::guard();
    let asked = match Ferry::try_parse() {
        Ok(asked) => asked,
        Err(error) => return misused(&error),
    };
    let voice = Voice { language: asked.lang.unwrap_or_else(Language::of_session), json: asked.json };
    match run(asked, voice) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            voice.object(&json!({"error": {"code": failure.code, "message": failure.sentence, "remedy": failure.remedy, "exit": failure.exit}}));
            let what = voice.language.pick("what to do", "处理办法");
            let _ = writeln!(std::io::stderr(), "ferry: {}\n  {what}: {}", failure.sentence, failure.remedy);
            ExitCode::from(failure.exit)
        }
    }
}

/// Help and version are no failure. What cannot be parsed is told by the library, to a script as every failure is.
fn misused(error: &clap::Error) -> ExitCode {
    let json = std::env::args_os().any(|word| word == "--json");
    if json && error.use_stderr() {
        let voice = Voice { language: Language::of_session(), json };
        let (told, failure) = (error.to_string(), failure::misused(voice.language));
        let message = told.lines().next().unwrap_or_default().trim_start_matches("error: ");
        voice.object(&json!({"error": {"code": failure.code, "message": message, "remedy": failure.remedy, "exit": failure.exit}}));
    }
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { failure::USAGE } else { 0 })
}

fn run(asked: Ferry, voice: Voice) -> Result<(), Failure> {
    if asked.spool.is_some() && asked.command.is_some() {
        return Err(failure::misplaced_spool(voice.language));
    }
    let now = now();
    let done: Result<(), AnyError> = match asked.command {
        None => {
            let look = trips::Look { spool: asked.spool.clone() };
            match look.overview(voice) {
                Some(()) => Ok(()),
                // A spool that was named and cannot be read is worth the exact words.
                None if asked.spool.is_some() || voice.json => {
                    desk::Desk::open(asked.spool.as_deref()).and_then(|d| d.trips()).map(|_| ()).map_err(AnyError::from)
                }
                None => {
                    let _ = Ferry::command().print_help();
                    Ok(())
                }
            }
        }
        Some(Command::Keygen(keygen)) => keygen.run(voice).map_err(AnyError::from),
        Some(Command::Export(export)) => {
            let medium = export.to.medium.clone();
            return on_media(voice, &medium, true, || export.run(voice, now));
        }
        Some(Command::Approve(approve)) => approve.run(voice, now).map_err(AnyError::from),
        Some(Command::Confirm(confirm)) => {
            return on_media(voice, slice::from_ref(&confirm.medium), true, || confirm.run(voice, now));
        }
        Some(Command::Import(import)) => {
            return on_media(voice, slice::from_ref(&import.medium), false, || import.run(voice, now));
        }
        Some(Command::Reexport(reexport)) => {
            let medium = reexport.to.medium.clone();
            return on_media(voice, &medium, true, || reexport.run(voice, now));
        }
        Some(Command::Trips(look)) => look.trips(voice).map_err(AnyError::from),
        Some(Command::Media(look)) => look.media(voice).map_err(AnyError::from),
        Some(Command::Intake(intake)) => {
            return on_media(voice, slice::from_ref(intake.source()), false, || intake.run(voice));
        }
        Some(Command::Verify(verify)) => verify.run(voice, now).map_err(AnyError::from),
        Some(Command::Inspect(inspect)) => inspect.run(voice).map_err(AnyError::from),
        Some(Command::Trust(trust)) => trust.run(voice, now).map_err(AnyError::from),
        Some(Command::Ledger(ledger)) => ledger.run(voice, now).map_err(AnyError::from),
        Some(Command::Man(man)) => man.run(voice, Ferry::command()).map_err(AnyError::from),
        Some(Command::Dispose(dispose)) => dispose.run(voice, now).map_err(AnyError::from),
        Some(Command::Rules(rules)) => rules.run(voice, now).map_err(AnyError::from),
        Some(Command::Except(except)) => except.run(voice, now).map_err(AnyError::from),
        Some(Command::Held(held)) => held.run(voice, now).map_err(AnyError::from),
        Some(Command::Release(release)) => release.run(voice, now).map_err(AnyError::from),
    };
    done.map_err(|error| error.told(voice.language))
}

/// Works on one medium or several. What fails on one that is no longer in is told as that; what is written for a medium
/// and lands on this machine's own disk is said, because a mount point without a mount looks like a medium.
fn on_media<E: Into<AnyError>>(
    voice: Voice,
    media: &[PathBuf],
    carried: bool,
    work: impl FnOnce() -> Result<(), E>,
) -> Result<(), Failure> {
    let before: Vec<Presence> = media.iter().filter_map(|path| Presence::of(path)).collect();
    for path in media.iter().filter(|path| carried && presence::is_own_disk(path)) {
        let p = words::shown(path.as_os_str());
        voice.warn(&say!(
            voice.language,
            "{p} lies on this machine's own disk: is the medium mounted there?",
            "{p} 位于本机磁盘上：介质是否已挂载？"
        ));
    }
    work().map_err(|error| {
        let told = error.into().told(voice.language);
        match before.iter().find(|medium| medium.is_gone()) {
            Some(gone) => failure::pulled_out(gone.path(), told, voice.language),
            None => told,
        }
    })
}

/// The one place that asks the clock.
fn now() -> Timestamp {
    Timestamp(u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0))
}
