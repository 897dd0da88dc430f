//! A look: a security officer opens with the office's security key what a node held and handed over. No spool, no daemon and
//! no node's key; who looks is on record at the node that gave the bundle. Every signature and byte is proven before
//! anything of it stands where the officer asked for it, and nothing of it is read into or run.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use protocol::bundle::{self, BundleError, Opened};
use protocol::envelope::Envelope;
use protocol::keys::{OpeningKey, fingerprint, random};
use protocol::parcel::{CustodyEntry, Manifest, ParcelStatement};
use protocol::trust::{KeyCard, Role, Trust, Use};
use protocol::{Name, Verdict};
use spool::Disk;
use spool::disk::open_plain;

use crate::keyring::security;
use crate::opening::Staging;
use crate::sealing::FINDING;

const READ_BUFFER_BYTES: usize = 256 * 1024;
/// What stands in the root of every spool.
const SPOOL: &str = "spool.json";

/// Why there is nothing to see.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// The disk.
    #[error("{}: {cause}", path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// Never into a folder that is shared, served or backed up for somebody else.
    #[error("{} lies in the spool {}", path.display(), spool.display())]
    InSpool {
        /// Where it was to go.
        path: PathBuf,
        /// The spool.
        spool: PathBuf,
    },
    /// Nothing is written over or beside.
    #[error("{} is there already", path.display())]
    There {
        /// Where it was to go.
        path: PathBuf,
    },
    /// A parcel on its way, a backup, anything else.
    #[error("{} is sealed for {target}, and is nothing that was held for the security officers", path.display())]
    NotHeld {
        /// Which bundle.
        path: PathBuf,
        /// For whom it is.
        target: Name,
    },
    /// The key that it is sealed to was followed by another.
    #[error("{} is sealed to the retired security key {recipient}, and the key given is {given}", path.display())]
    RetiredKey {
        /// Which bundle.
        path: PathBuf,
        /// The fingerprint of the key that opens it.
        recipient: String,
        /// The fingerprint of the one that was given.
        given: String,
    },
    /// Somebody else's.
    #[error("{} is not sealed to the key given, {given}, but to {recipient}", path.display())]
    OtherKey {
        /// Which bundle.
        path: PathBuf,
        /// The fingerprint of the key that opens it.
        recipient: String,
        /// The fingerprint of the one that was given.
        given: String,
    },
    /// It does not prove itself.
    #[error("{} is damaged or not what it says: {cause}", path.display())]
    Damaged {
        /// Which bundle.
        path: PathBuf,
        /// Why.
        cause: BundleError,
    },
}

/// What was held, by whom, and why.
#[derive(Debug)]
pub struct Look {
    /// What the node that held it states.
    pub statement: ParcelStatement,
    /// By which rules, at which border.
    pub entry: CustodyEntry,
    /// What is in it; the labels say why it was held.
    pub manifest: Manifest,
    /// Where it stands now.
    pub place: PathBuf,
}

impl Look {
    /// What a label of the manifest says.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&str> {
        self.manifest.labels.iter().find(|label| label.name.as_str() == name).map(|label| label.value.as_str())
    }

    /// What was found, masked, as it was written down when it was held.
    pub fn findings(&self) -> impl Iterator<Item = &str> {
        let labels = self.manifest.labels.iter().filter(|label| label.name.as_str().starts_with(FINDING));
        labels.map(|label| label.value.as_str())
    }
}

fn io_at(path: &Path) -> impl FnOnce(io::Error) -> LookError + '_ {
    |cause| LookError::Io { path: path.to_owned(), cause }
}

/// The folder to be made, by a path without links, where it may be made.
fn place(to: &Path) -> Result<PathBuf, LookError> {
    if to.symlink_metadata().is_ok() {
        return Err(LookError::There { path: to.to_owned() });
    }
    let missing = || io_at(to)(io::ErrorKind::InvalidInput.into());
    let name = to.file_name().ok_or_else(missing)?;
    let above = to.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let above = above.canonicalize().map_err(io_at(above))?;
    match above.ancestors().find(|folder| folder.join(SPOOL).symlink_metadata().is_ok()) {
        Some(spool) => Err(LookError::InSpool { path: to.to_owned(), spool: spool.to_owned() }),
        None => Ok(above.join(name)),
    }
}

/// Opens a bundle that a node handed over into a new folder, 0700 with files of 0600.
pub fn look(bundle: &Path, key: &OpeningKey, trust: &Trust, to: &Path) -> Result<Look, LookError> {
    let target = place(to)?;
    let file = || open_plain(bundle).map_err(io_at(bundle));
    let broken = |cause| match cause {
        BundleError::Io(cause) => LookError::Io { path: bundle.to_owned(), cause },
        cause => LookError::Damaged { path: bundle.to_owned(), cause },
    };
    let envelope = bundle::peek(&mut BufReader::new(file()?)).map_err(broken)?;
    fits(bundle, &envelope, key, trust)?;
    let disk = Disk::real();
    let aside = target.with_file_name(format!(".held-{:016x}", u64::from_be_bytes(random())));
    disk.create_dir_lazy(&aside).map_err(io_at(&aside))?;
    let opened = open(&disk, file()?, key, trust, &aside).map_err(broken).and_then(|opened| {
        // Of what was opened, whatever stood under that path before.
        let (envelope, custody) = (opened.verified.envelope, opened.verified.custody);
        fits(bundle, &envelope, key, trust)?;
        let held = custody.entries.into_iter().next_back().filter(|entry| entry.verdict == Verdict::Held);
        let entry = held.ok_or_else(|| not_held(bundle, &envelope))?;
        disk.sync_tree(&aside).map_err(io_at(&aside))?;
        disk.rename_new(&aside, &target).map_err(io_at(&target))?;
        Ok(Look { statement: custody.statement, entry, manifest: opened.manifest, place: target.clone() })
    });
    opened.inspect_err(|_| {
        // What does not prove itself is shown to nobody; the folder is the officer's alone.
        let _gone = disk.remove_tree(&aside);
    })
}

fn open(disk: &Disk, file: File, key: &OpeningKey, trust: &Trust, aside: &Path) -> Result<Opened, BundleError> {
    let inside = aside.join(".content");
    let mut input = BufReader::with_capacity(READ_BUFFER_BYTES, file);
    let opened = bundle::open(&mut input, trust, key, &mut Staging::for_one(disk, &inside))?;
    disk.rename(&inside, &aside.join(&opened.manifest.name))?;
    Ok(opened)
}

fn not_held(path: &Path, envelope: &Envelope) -> LookError {
    LookError::NotHeld { path: path.to_owned(), target: envelope.target.clone() }
}

/// Was it held, and is it for this key?
fn fits(path: &Path, envelope: &Envelope, key: &OpeningKey, trust: &Trust) -> Result<(), LookError> {
    if envelope.target != security() || (envelope.epoch, envelope.sequence) != (0, 0) {
        return Err(not_held(path, envelope));
    }
    let ours = key.public().id();
    if envelope.recipient == ours {
        return Ok(());
    }
    let (recipient, given) = (fingerprint(&envelope.recipient), fingerprint(&ours));
    let of_office =
        |card: &KeyCard| card.holder == security() && card.usage == Use::Seal && card.role == Role::Security;
    let path = path.to_owned();
    if trust.card(&envelope.recipient).is_some_and(of_office) {
        return Err(LookError::RetiredKey { path, recipient, given });
    }
    Err(LookError::OtherKey { path, recipient, given })
}
