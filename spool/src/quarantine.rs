//! Held parcels: `quarantine/<parcel id>/about.json` and `content`. Says nothing about why; the caller writes that.
//!
//! Dying anywhere is safe: `about.json` is written first and the rename of the content is the holding, so a folder
//! without content holds nothing and is filled when the stage runs again.

use std::path::{Path, PathBuf};

use protocol::ParcelId;

use crate::spool::{Spool, SpoolError, children};

const CONTENT: &str = "content";
const ABOUT: &str = "about.json";

/// The quarantine of a node.
#[derive(Clone)]
pub struct Quarantine {
    spool: Spool,
}

/// One held parcel.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// Which.
    pub parcel: ParcelId,
    /// The file or folder held.
    pub content: PathBuf,
    /// What was written about it.
    pub about: serde_json::Value,
}

impl Quarantine {
    /// The quarantine of a spool.
    #[must_use]
    pub fn new(spool: &Spool) -> Quarantine {
        Quarantine { spool: spool.clone() }
    }

    fn at(&self, parcel: &ParcelId) -> PathBuf {
        self.spool.layout().quarantine().join(parcel.to_string())
    }

    /// Holds a file or folder. Holding it again is fine.
    pub fn put(&self, parcel: &ParcelId, from: &Path, about: &serde_json::Value) -> Result<PathBuf, SpoolError> {
        let dir = self.at(parcel);
        let disk = self.spool.disk();
        let at = |source| SpoolError::disk(&dir, source);
        let content = dir.join(CONTENT);
        if content.exists() {
            return Ok(content);
        }
        disk.create_dir_private(&dir).map_err(at)?;
        let bytes = serde_json::to_vec_pretty(about).map_err(|error| at(error.into()))?;
        disk.write(&dir.join(ABOUT), &bytes).map_err(at)?;
        disk.rename_new(from, &content).map_err(at)?;
        Ok(content)
    }

    /// What is held, oldest first.
    pub fn list(&self) -> Result<Vec<Held>, SpoolError> {
        let mut held = Vec::new();
        for dir in children(&self.spool.layout().quarantine())? {
            let parcel = dir.file_name().and_then(|name| name.to_str()).and_then(ParcelId::from_hex);
            let content = dir.join(CONTENT);
            if let Some(parcel) = parcel.filter(|_| content.exists()) {
                let about = std::fs::read(dir.join(ABOUT)).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
                held.push(Held { parcel, content, about: about.unwrap_or_default() });
            }
        }
        held.sort_by_key(|held| held.parcel);
        Ok(held)
    }

    /// Lets a parcel go for good, after that was recorded.
    pub fn remove(&self, parcel: &ParcelId) -> Result<(), SpoolError> {
        let dir = self.at(parcel);
        self.spool.disk().remove_tree(&dir).map_err(|source| SpoolError::disk(&dir, source))
    }
}
