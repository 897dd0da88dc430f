//! Changes of a trust folder: a key that is believed names its successor, and key administrators sign what the folder holds.

use std::io;
use std::path::{Path, PathBuf};

use protocol::parcel::ParcelError;
use protocol::rollover::{Rolled, Rollover};
use protocol::trust::{KeyCard, Role};
use protocol::trust_list::TrustList;
use protocol::{Name, Signed, Statement as _, Timestamp};
use serde_json::json;
use spool::Disk;

use crate::desk::DeskError;
use crate::folder::{self, FolderError};
use crate::keyfile::{KeyFileError, KeyFrom};
use crate::trustdir::{self, TrustDirError};
use crate::words::{Voice, groups, say};

/// What stops one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrustCommandError {
    /// The folder.
    #[error(transparent)]
    Trust(#[from] TrustDirError),
    /// The file.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// It proves nothing by the cards here.
    #[error("{}: {cause}", path.display())]
    Rollover { path: PathBuf, cause: ParcelError },
    /// A key that it goes by is past its last day here.
    #[error("{}: its last day was {last_day}", path.display())]
    Ended { path: PathBuf, last_day: String },
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The device.
    #[error(transparent)]
    Desk(#[from] DeskError),
    /// Not this person.
    #[error("{person} has role {role}; only a key administrator signs a trust folder")]
    NotAKeyAdmin { person: Name, role: Role },
    /// The disk.
    #[error("writing {}: {cause}", path.display())]
    Write { path: PathBuf, cause: io::Error },
}

/// `ferry trust`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum TrustCommand {
    /// 导入换钥声明: take a node's next key by the word of its present one
    Import {
        /// <node>.<use>.rollover, as the node's `keys next` wrote it
        rollover: PathBuf,
        /// The trust folder
        #[arg(long, value_name = "DIR")]
        trust: PathBuf,
    },
    /// 签署信任库: a key administrator signs what the folder holds now; a node that asks for it needs two
    Sign {
        /// The trust folder
        #[arg(long, value_name = "DIR")]
        trust: PathBuf,
        #[command(flatten)]
        key: KeyFrom,
    },
}

impl TrustCommand {
    /// Does it.
    pub(crate) fn run(&self, voice: Voice, now: Timestamp) -> Result<(), TrustCommandError> {
        match self {
            TrustCommand::Import { rollover, trust } => import(rollover, trust, voice, now),
            TrustCommand::Sign { trust, key } => sign(trust, key, voice, now),
        }
    }
}

fn import(rollover: &Path, trust: &Path, voice: Voice, now: Timestamp) -> Result<(), TrustCommandError> {
    let bytes = folder::read_file(rollover, Rollover::BYTES_MAX)?;
    let believed = trustdir::read(trust)?;
    let rolled = Rollover::verify(&bytes, &believed)
        .map_err(|cause| TrustCommandError::Rollover { path: rollover.to_owned(), cause })?;
    if let Some(last_day) = rolled.last_day.clone().filter(|_| !rolled.may_be_taken(now)) {
        return Err(TrustCommandError::Ended { path: rollover.to_owned(), last_day });
    }
    take(trust, &rolled)?;
    let (node, usage) = (&rolled.new.holder, rolled.new.usage);
    let (new, old) = (groups(&rolled.new.id()), groups(&rolled.old.id()));
    let until = rolled.old.until.clone().unwrap_or_default();
    voice.object(&json!({
            "node": node, "use": usage.to_string(), "new": rolled.new.id().to_string(), "old": rolled.old.id().to_string(), "until": until,
        }));
    voice.line(&say!(
            voice.language,
            "{node}'s next {usage} key is believed: {new}\nthe old one, {old}, is used until {until}\nreload the daemon that reads this folder",
            "已信任 {node} 的下一把 {usage} 密钥：{new}\n旧密钥 {old} 使用至 {until}\n请重新加载使用该信任库的守护进程"
        ));
    Ok(())
}

/// Shows every card, then signs the list of them.
fn sign(folder: &Path, key: &KeyFrom, voice: Voice, now: Timestamp) -> Result<(), TrustCommandError> {
    let trust = trustdir::read(folder)?;
    let person = key.open(voice.language.pick("passphrase", "口令"))?;
    if person.card.role != Role::KeyAdmin {
        return Err(TrustCommandError::NotAKeyAdmin { person: person.card.holder, role: person.card.role });
    }
    let mut cards: Vec<&KeyCard> = trust.cards().collect();
    cards.sort_by_key(|card| (&card.holder, card.usage, &card.from));
    for card in &cards {
        let KeyCard { holder, role, zone, usage, from, until, .. } = card;
        let (until, print) = (until.as_deref().unwrap_or("–"), groups(&card.id()));
        voice.line(&format!("{holder}  {role} {zone} {usage}  {from} – {until}  {print}"));
    }
    let list = TrustList::of(&trust, &person.card.holder, person.key.public().suite(), now);
    let signed = Signed::make_by(&*person.key, &list).map_err(DeskError::from)?;
    let path = folder.join(format!("{}.trust-list", person.card.holder));
    put(&path, &signed.to_bytes())?;
    let (count, file) = (list.cards.len(), path.display().to_string());
    voice.object(&json!({ "person": person.card.holder, "cards": count, "list": file }));
    voice.line(&say!(
        voice.language,
        "{count} cards signed: {file}; any change of a card needs new lists",
        "已签署 {count} 张公钥卡：{file}；任何变更都须重新签署"
    ));
    Ok(())
}

/// The new card first: whoever dies between the two writes believes both keys, and the same command ends the old one.
fn take(folder: &Path, rolled: &Rolled) -> Result<(), TrustCommandError> {
    let id = rolled.new.id().to_string();
    let name = format!("{}.{}.{}.pub.pem", rolled.new.holder, rolled.new.usage, id.get(..16).unwrap_or(&id));
    if trustdir::files_of(folder, &rolled.new.id())?.is_empty() {
        write(&folder.join(name), &rolled.new)?;
    }
    trustdir::files_of(folder, &rolled.old.id())?.iter().try_for_each(|path| write(path, &rolled.old))
}

fn write(path: &Path, card: &KeyCard) -> Result<(), TrustCommandError> {
    put(path, card.to_text().as_bytes())
}

fn put(path: &Path, bytes: &[u8]) -> Result<(), TrustCommandError> {
    use std::os::unix::fs::PermissionsExt;
    let written = Disk::real().write(path, bytes);
    // A card or list is for everybody, whatever the mask of the session.
    let open = |()| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644));
    written.and_then(open).map_err(|cause| TrustCommandError::Write { path: path.to_owned(), cause })
}
