//! Changes of a trust folder that need no person's eye on a fingerprint: a key that is believed names its successor.

use std::io;
use std::path::{Path, PathBuf};

use protocol::Statement as _;
use protocol::parcel::ParcelError;
use protocol::rollover::{Rolled, Rollover};
use protocol::trust::KeyCard;
use serde_json::json;
use spool::Disk;

use crate::folder::{self, FolderError};
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
}

impl TrustCommand {
    /// Does it.
    pub(crate) fn run(&self, voice: Voice) -> Result<(), TrustCommandError> {
        let TrustCommand::Import { rollover, trust } = self;
        let bytes = folder::read_file(rollover, Rollover::BYTES_MAX)?;
        let believed = trustdir::read(trust)?;
        let rolled = Rollover::verify(&bytes, &believed)
            .map_err(|cause| TrustCommandError::Rollover { path: rollover.clone(), cause })?;
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
}

/// The new card first: whoever dies between the two writes believes both keys, and the same command ends the old one.
fn take(folder: &Path, rolled: &Rolled) -> Result<(), TrustCommandError> {
    let id = rolled.new.id().to_string();
    let name = format!("{}.{}.{}.pub.pem", rolled.new.holder, rolled.new.usage, id.get(..16).unwrap_or(&id));
    let known = trustdir::file_of(folder, &rolled.new.id())?;
    write(&known.unwrap_or_else(|| folder.join(name)), &rolled.new)?;
    let old = trustdir::file_of(folder, &rolled.old.id())?;
    old.map_or(Ok(()), |path| write(&path, &rolled.old))
}

fn write(path: &Path, card: &KeyCard) -> Result<(), TrustCommandError> {
    use std::os::unix::fs::PermissionsExt;
    let written = Disk::real().write(path, card.to_text().as_bytes());
    // A card is for everybody, whatever the mask of the session.
    let open = |()| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644));
    written.and_then(open).map_err(|cause| TrustCommandError::Write { path: path.to_owned(), cause })
}
