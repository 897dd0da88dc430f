//! A person's key: the encrypted PKCS#8 file, the card beside it, and the passphrase that opens it. The passphrase
//! comes from a file, the environment or the terminal, never from the command line, where `ps` would show it.

use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};

use protocol::Name;
use protocol::keys::{KEY_FILE_BYTES_MAX, KeyError, SigningKey, VerifyingKey};
use protocol::signer::Signer;
use protocol::trust::{KeyCard, Use};
use rustix::fs::{Mode, OFlags};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use spool::device::{PASSPHRASE_ENV, Program};
use zeroize::Zeroizing;

use crate::folder::{self, FolderError};
use crate::trustdir::{self, TrustDirError};

/// Longer than anybody types; a file of more is the wrong file.
const PASSPHRASE_BYTES_MAX: usize = 1024;
/// Shorter ones are found by trying, scrypt or not.
pub(crate) const PASSPHRASE_CHARS_MIN: usize = 8;

/// What is wrong with a person's key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyFileError {
    /// The file.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Its card.
    #[error(transparent)]
    Card(#[from] TrustDirError),
    /// Its content, or the passphrase.
    #[error("{}: {cause}", path.display())]
    Key { path: PathBuf, cause: KeyError },
    /// The card belongs to another key.
    #[error("{} is the card of another key than {}", card.display(), key.display())]
    OtherCard { key: PathBuf, card: PathBuf },
    /// A device is known by its card.
    #[error("exec:PROGRAM needs --card: what it signs is verified with the card")]
    NoCard,
    /// The key is not for signing.
    #[error("the key of {holder} is for use {found}, not for signing")]
    NotForSigning { holder: Name, found: Use },
    /// Nobody there to ask.
    #[error("{} needs a passphrase and there is no terminal to ask on", path.display())]
    NoTerminal { path: PathBuf },
    /// Typed differently the second time.
    #[error("the two passphrases differ")]
    Differ,
    /// Too short.
    #[error("the passphrase has {found} characters; at least {PASSPHRASE_CHARS_MIN} are needed")]
    Short { found: usize },
    /// The terminal failed.
    #[error("reading the passphrase: {0}")]
    Terminal(io::Error),
}

/// Somebody who signs.
pub(crate) struct Person {
    /// Who.
    pub(crate) card: KeyCard,
    /// With what.
    pub(crate) key: Box<dyn Signer>,
}

/// Where a passphrase may come from.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct PassphraseFrom {
    /// A file whose first line is the passphrase; otherwise TRILOCK_PASSPHRASE, otherwise the terminal is asked.
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

/// Which key signs.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct KeyFrom {
    /// The person's private key: <holder>.key.pem; or exec:/PATH/OF/PROGRAM for a Ukey or signature server, with --card
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// Its key card; by default <holder>.pub.pem beside it
    #[arg(long, value_name = "FILE")]
    pub(crate) card: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) passphrase: PassphraseFrom,
}

impl PassphraseFrom {
    /// What was said without asking anybody.
    fn said(&self) -> Result<Option<Zeroizing<String>>, KeyFileError> {
        if let Some(path) = &self.passphrase_file {
            let bytes = Zeroizing::new(folder::read_file(path, PASSPHRASE_BYTES_MAX)?);
            let text = String::from_utf8_lossy(&bytes);
            return Ok(Some(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned())));
        }
        Ok(std::env::var(PASSPHRASE_ENV).ok().filter(|said| !said.is_empty()).map(Zeroizing::new))
    }

    /// For a new key: asked twice.
    pub(crate) fn choose(&self, path: &Path, prompts: (&str, &str)) -> Result<Zeroizing<String>, KeyFileError> {
        let chosen = match self.said()? {
            Some(said) => said,
            None => {
                let first = ask(path, prompts.0)?;
                if ask(path, prompts.1)? != first {
                    return Err(KeyFileError::Differ);
                }
                first
            }
        };
        let found = chosen.chars().count();
        if found < PASSPHRASE_CHARS_MIN { Err(KeyFileError::Short { found }) } else { Ok(chosen) }
    }
}

impl KeyFrom {
    /// Opens the key, with its card beside it.
    pub(crate) fn open(&self, prompt: &str) -> Result<Person, KeyFileError> {
        if let Some(program) = Program::named(&self.key) {
            return self.by_program(program);
        }
        let card_path = self.card.clone().unwrap_or_else(|| card_beside(&self.key));
        let bytes = Zeroizing::new(folder::read_file(&self.key, KEY_FILE_BYTES_MAX)?);
        let pem = String::from_utf8_lossy(&bytes);
        let card = card_for_signing(&card_path)?;
        let passphrase = if pem.contains("BEGIN ENCRYPTED PRIVATE KEY") {
            Some(match self.passphrase.said()? {
                Some(said) => said,
                None => ask(&self.key, prompt)?,
            })
        } else {
            None
        };
        let key = SigningKey::from_pem(&pem, passphrase.as_ref().map(|said| said.as_str()))
            .map_err(|cause| KeyFileError::Key { path: self.key.clone(), cause })?;
        if key.public().id() != card.id() {
            return Err(KeyFileError::OtherCard { key: self.key.clone(), card: card_path });
        }
        Ok(Person { card, key: Box::new(key) })
    }

    fn by_program(&self, program: PathBuf) -> Result<Person, KeyFileError> {
        let Some(card) = &self.card else { return Err(KeyFileError::NoCard) };
        let public = |card: &KeyCard| VerifyingKey::from_spki(&card.spki);
        let card_of = card_for_signing(card)?;
        let key = public(&card_of).map_err(|cause| KeyFileError::Key { path: card.clone(), cause })?;
        Ok(Person { card: card_of, key: Box::new(Program::new(program, key)) })
    }
}

fn card_for_signing(path: &Path) -> Result<KeyCard, KeyFileError> {
    let card = trustdir::read_card(path)?;
    if card.usage == Use::Sign {
        Ok(card)
    } else {
        Err(KeyFileError::NotForSigning { holder: card.holder, found: card.usage })
    }
}

/// `name.key.pem` has its card in `name.pub.pem`.
pub(crate) fn card_beside(key: &Path) -> PathBuf {
    let name = key.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.strip_suffix(".key.pem").or_else(|| name.strip_suffix(".pem")).unwrap_or(&name);
    key.with_file_name(format!("{stem}.pub.pem"))
}

/// Asks on the terminal without echo. The terminal itself is opened, so that pipes stay free for data.
fn ask(path: &Path, prompt: &str) -> Result<Zeroizing<String>, KeyFileError> {
    let none = || KeyFileError::NoTerminal { path: path.to_owned() };
    let fd = rustix::fs::open("/dev/tty", OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|_| none())?;
    let mut terminal = std::fs::File::from(fd);
    let before = tcgetattr(&terminal).map_err(|_| none())?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    silent.local_modes.insert(LocalModes::ECHONL);
    write!(terminal, "{prompt}: ").and_then(|()| terminal.flush()).map_err(KeyFileError::Terminal)?;
    tcsetattr(&terminal, OptionalActions::Flush, &silent).map_err(|e| KeyFileError::Terminal(e.into()))?;
    let mut line = Zeroizing::new(String::with_capacity(PASSPHRASE_BYTES_MAX));
    let read = io::BufReader::new(io::Read::take(&terminal, PASSPHRASE_BYTES_MAX as u64)).read_line(&mut line);
    let restored = tcsetattr(&terminal, OptionalActions::Flush, &before);
    read.map_err(KeyFileError::Terminal)?;
    restored.map_err(|e| KeyFileError::Terminal(e.into()))?;
    Ok(Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned()))
}
