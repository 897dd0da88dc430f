//! The folder of key cards that a person points at with `--trust`. Reads `*.pem`; a card that cannot be read is an
//! error, because a verifier that silently believes fewer people gives other answers tomorrow.

use std::path::{Path, PathBuf};

use protocol::keys::KEY_FILE_BYTES_MAX;
use protocol::trust::{KeyCard, TrustError};
use protocol::{Digest, Trust};

use crate::folder::{Folder, FolderError, Item, Kind};
use crate::words::shown;

/// Nodes, people and their retired keys of a province: hundreds.
const CARDS_MAX: usize = 4096;

/// What is wrong with a trust folder.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrustDirError {
    /// It cannot be read.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// One of its cards.
    #[error("{}: {cause}", path.display())]
    Card { path: PathBuf, cause: TrustError },
    /// No card at all.
    #[error("{} holds no key card", path.display())]
    Empty { path: PathBuf },
}

/// Reads every card.
pub(crate) fn read(path: &Path) -> Result<Trust, TrustDirError> {
    let folder = Folder::open(path)?;
    let mut trust = Trust::default();
    let mut cards = 0;
    for item in folder.list(CARDS_MAX)?.iter().filter(|item| is_card(item)) {
        let name = shown(&item.name);
        let bytes = folder.read(&item.name, KEY_FILE_BYTES_MAX)?;
        let text = String::from_utf8_lossy(&bytes);
        trust.add(&name, &text).map_err(|cause| TrustDirError::Card { path: path.to_owned(), cause })?;
        cards += 1;
    }
    if cards == 0 { Err(TrustDirError::Empty { path: path.to_owned() }) } else { Ok(trust) }
}

/// Is it a card by its name?
fn is_card(item: &Item) -> bool {
    let name = shown(&item.name);
    item.kind != Kind::Folder && !name.starts_with('.') && name.ends_with(".pem")
}

/// The files that hold the card of a key: copies of one card say the same, or the folder is not believed.
pub(crate) fn files_of(path: &Path, key: &Digest) -> Result<Vec<PathBuf>, TrustDirError> {
    let mut files = Vec::new();
    for item in Folder::open(path)?.list(CARDS_MAX)?.iter().filter(|item| is_card(item)) {
        let file = path.join(&item.name);
        if read_card(&file)?.id() == *key {
            files.push(file);
        }
    }
    Ok(files)
}

/// One card alone.
pub(crate) fn read_card(path: &Path) -> Result<KeyCard, TrustDirError> {
    let bytes = crate::folder::read_file(path, KEY_FILE_BYTES_MAX)?;
    let mut trust = Trust::default();
    let name = path.file_name().map(shown).unwrap_or_default();
    let id = trust
        .add(&name, &String::from_utf8_lossy(&bytes))
        .map_err(|cause| TrustDirError::Card { path: path.to_owned(), cause })?;
    trust.card(&id).cloned().ok_or_else(|| TrustDirError::Empty { path: path.to_owned() })
}
