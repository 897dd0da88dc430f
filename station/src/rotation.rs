//! One key of a node after another, on its own disk: the next key is made and named by the present one, neighbours are told,
//! then the node changes over, and the old key stays until nothing needs it.
//!
//! Why it may die anywhere: a next key counts from its own file, which is written last; the change is two renames, and
//! between them the present key is missing, which the same command mends.

use std::io;
use std::path::{Path, PathBuf};

use protocol::keys::{OpeningKey, SealingKey, SigningKey, VerifyingKey};
use protocol::parcel::{OctetString, VERSION};
use protocol::rollover::{Rollover, day};
use protocol::signer::Signatory;
use protocol::trust::{KeyCard, Role, Use};
use protocol::{Digest, Name, Signed, Suite, Timestamp, Zone};
use spool::Disk;

use crate::housekeeping::DAY_MS;
use crate::keyring::{self, KeyringError, NEXT, OLD, PRESENT};

/// Whose keys, and where they lie.
pub(crate) struct Place<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) node: &'a Name,
    pub(crate) zone: Zone,
    pub(crate) suite: Suite,
}

/// One of the node's private keys.
pub(crate) struct Held {
    pub(crate) usage: Use,
    /// `present`, `next` or `old`; `shadowed` where a credential of the same name goes before it until the unit is started
    /// again.
    pub(crate) word: &'static str,
    pub(crate) id: Digest,
    pub(crate) path: PathBuf,
}

/// What is to be handed to the neighbours.
pub(crate) struct Named {
    pub(crate) id: Digest,
    pub(crate) rollover: PathBuf,
}

impl Place<'_> {
    /// Every private key, each once: those among the unit's credentials and those in the folder. Of two files of one key
    /// the folder's is named, which can be removed.
    pub(crate) fn held(&self) -> Result<Vec<Held>, KeyringError> {
        let mut found: Vec<Held> = Vec::new();
        for usage in Use::ALL {
            let mut has_present = false;
            for (word, path) in keyring::key_files(self.folder, self.node, usage)? {
                let id = id_of(&path, usage)?;
                if let Some(known) = found.iter_mut().find(|known| known.usage == usage && known.id == id) {
                    known.path = path;
                    continue;
                }
                let word = match word.as_str() {
                    PRESENT if has_present => "shadowed",
                    PRESENT => PRESENT,
                    NEXT => NEXT,
                    _ => "old",
                };
                has_present |= word == PRESENT;
                found.push(Held { usage, word, id, path });
            }
        }
        Ok(found)
    }

    fn beside(&self, usage: Use, word: &str, end: &str) -> PathBuf {
        self.folder.join(format!("{}.{usage}.{word}{end}", self.node))
    }

    /// Makes the next key of a use, its card, and the word of the present signing key that names it.
    pub(crate) fn next(
        &self,
        usage: Use,
        overlap_days: u32,
        signing: &Signatory,
        now: Timestamp,
    ) -> Result<Named, KeyringError> {
        let path = self.beside(usage, NEXT, ".key.pem");
        let exists =
            || io::Error::new(io::ErrorKind::AlreadyExists, "there is a next key; `keys switch` takes it into use");
        if keyring::key_files(self.folder, self.node, usage)?.iter().any(|(word, _)| word == NEXT) {
            return Err(KeyringError::Io { path, cause: exists() });
        }
        let bad = |path: &Path| {
            let path = path.to_owned();
            move |cause| KeyringError::Key { path, cause }
        };
        let old = id_of(&keyring::private_file(self.folder, self.node, usage)?, usage)?;
        let suite = if usage == Use::Link { Suite::Std } else { self.suite };
        let (pem, spki) = match usage {
            Use::Seal => {
                let key = OpeningKey::generate(suite);
                (key.to_pem(None), key.public().to_spki())
            }
            Use::Sign | Use::Link => {
                let key = SigningKey::generate(suite);
                (key.to_pem(None), key.public().to_spki())
            }
        };
        let pem = pem.map_err(bad(&path))?;
        let said = Rollover {
            version: VERSION,
            node: self.node.clone(),
            usage,
            old,
            key: OctetString::new(spki.clone()).map_err(|e| {
                bad(&path)(protocol::keys::KeyError::NotAKey { wanted: "public key", cause: e.to_string() })
            })?,
            at: now,
            until: now.plus_ms(u64::from(overlap_days) * DAY_MS),
        };
        let card = KeyCard {
            zone: self.zone,
            holder: self.node.clone(),
            role: Role::Node,
            usage,
            suite,
            from: day(now),
            until: None,
            spki,
        };
        let signed = Signed::make_by(signing, &said)
            .map_err(|error| KeyringError::Io { path: "signing key".into(), cause: error.into() })?;
        keyring::make_private_dir(self.folder)
            .map_err(|cause| KeyringError::Io { path: self.folder.to_owned(), cause })?;
        let rollover = self.folder.join(format!("{}.{usage}.rollover", self.node));
        self.write(&rollover, &signed.to_bytes())?;
        self.write(&self.beside(usage, NEXT, ".pub.pem"), card.to_text().as_bytes())?;
        keyring::write_new(&path, pem.as_bytes(), 0o600)
            .and_then(|()| self.hand_over(&path))
            .map_err(|cause| KeyringError::Io { path, cause })?;
        Ok(Named { id: card.id(), rollover })
    }

    /// Why there is no next key to take into use: it was not made, or it is only among the unit's credentials.
    pub(crate) fn no_next(&self, usage: Use) -> KeyringError {
        let elsewhere = keyring::key_files(self.folder, self.node, usage).unwrap_or_default();
        match elsewhere.into_iter().find(|(word, _)| word == NEXT) {
            Some((_, path)) => KeyringError::Credential { path },
            None => {
                KeyringError::Io { path: self.beside(usage, NEXT, ".key.pem"), cause: io::ErrorKind::NotFound.into() }
            }
        }
    }

    /// Takes the next key into use; the present one stays as an old one.
    pub(crate) fn switch(&self, usage: Use) -> Result<Digest, KeyringError> {
        let (present, next) =
            (keyring::key_file(self.folder, self.node.as_str(), usage), self.beside(usage, NEXT, ".key.pem"));
        if !next.exists() {
            return Err(self.no_next(usage));
        }
        let id = id_of(&next, usage)?;
        let moved = |from: &Path, to: &Path| {
            Disk::real().rename(from, to).map_err(|cause| KeyringError::Io { path: from.to_owned(), cause })
        };
        if present.exists() {
            let old = id_of(&present, usage)?.to_string();
            let word = format!("{OLD}{}", old.get(..16).unwrap_or(&old));
            let card = keyring::card_file(self.folder, self.node.as_str(), usage);
            if card.exists() {
                moved(&card, &self.beside(usage, &word, ".pub.pem"))?;
            }
            moved(&present, &self.beside(usage, &word, ".key.pem"))?;
        }
        // Where we died between the two, the card stands in its place already.
        let next_card = self.beside(usage, NEXT, ".pub.pem");
        if next_card.exists() {
            moved(&next_card, &keyring::card_file(self.folder, self.node.as_str(), usage))?;
        }
        moved(&next, &present)?;
        Ok(id)
    }

    /// Destroys an old private key. Its public card stays for whoever verifies.
    pub(crate) fn drop_old(&self, held: &Held) -> Result<(), KeyringError> {
        if keyring::is_credential(&held.path) {
            return Err(KeyringError::Credential { path: held.path.clone() });
        }
        let io = |cause| KeyringError::Io { path: held.path.clone(), cause };
        Disk::real().remove_file(&held.path).and_then(|()| Disk::real().sync_dir(self.folder)).map_err(io)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), KeyringError> {
        let written = Disk::real().write(path, bytes).and_then(|()| self.hand_over(path));
        written.map_err(|cause| KeyringError::Io { path: path.to_owned(), cause })
    }

    /// What root makes here is for whom the folder belongs to: the daemon.
    fn hand_over(&self, path: &Path) -> io::Result<()> {
        use std::os::unix::fs::{MetadataExt, chown};
        let owner = std::fs::metadata(self.folder)?;
        if rustix::process::geteuid().is_root() { chown(path, Some(owner.uid()), Some(owner.gid())) } else { Ok(()) }
    }
}

fn id_of(path: &Path, usage: Use) -> Result<Digest, KeyringError> {
    let pem = keyring::read_private(path)?;
    let id = match usage {
        Use::Seal => OpeningKey::from_pem(&pem, None).map(|key| SealingKey::id(&key.public())),
        Use::Sign | Use::Link => SigningKey::from_pem(&pem, None).map(|key| VerifyingKey::id(&key.public())),
    };
    id.map_err(|cause| KeyringError::Key { path: path.to_owned(), cause })
}
