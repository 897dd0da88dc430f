//! A node's own keys and the cards it believes, read from their folders. `init` makes what is absent.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::keys::{KEY_FILE_BYTES_MAX, KeyError, OpeningKey, SigningKey, VerifyingKey};
use protocol::signer::Signatory;
use protocol::trust::{KeyCard, Role, TrustError, Use};
use protocol::trust_list::{self, NotAgreed, TrustList};
use protocol::{Digest, Name, Statement as _, Suite, Timestamp, Trust, Zone};
use rustix::fs::Mode;
use spool::device::Program;
use zeroize::Zeroizing;

use crate::config::{Carrier, Fault, NodeSettings, PeerSettings, RouteSettings};

/// Cards in one trust folder: nodes of a few offices and their people.
const CARDS_MAX: usize = 4_096;
/// How the file of a signed list of cards ends.
const LIST_EXTENSION: &str = "trust-list";
/// Key administrators of an office: some.
const LISTS_MAX: usize = 16;
/// The holder of the key that quarantine outside the internal zone is sealed to.
pub const SECURITY: &str = "security";

/// That holder as a name.
#[must_use]
pub fn security() -> Name {
    Name::new(SECURITY).expect("the word is a well-formed name")
}

/// Whom a node meets: what its cards are judged by.
pub struct Meets<'a> {
    /// Its own zone.
    pub zone: Zone,
    /// The office's suite.
    pub suite: Suite,
    /// Its neighbours.
    pub peers: &'a [PeerSettings],
    /// Its routes: every node on one signs receipts that come by here.
    pub routes: &'a [RouteSettings],
}

/// What is wrong with the cards a node needs. Days are judged where the time is known.
#[must_use]
pub fn card_faults(trust: &Trust, meets: &Meets<'_>, now: Option<Timestamp>) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut fault = |at: String, what: String, remedy: &str| {
        faults.push(Fault { at, what, remedy: remedy.to_owned() });
    };
    let today = now.map(|now| now.to_string().chars().take(10).collect::<String>());
    let peers = meets.peers.iter().map(|peer| &peer.name);
    let nodes: BTreeSet<&Name> = peers.chain(meets.routes.iter().flat_map(|route| &route.path)).collect();
    for node in nodes {
        let direct = meets.peers.iter().find(|peer| peer.name == *node);
        // The own cards are needed too: receipts of this node come back inside others' papers.
        let mut wanted = vec![Use::Sign];
        if direct.is_some() {
            wanted.push(Use::Seal);
        }
        if direct.is_some_and(|peer| peer.uses(Carrier::Quic)) {
            wanted.push(Use::Link);
        }
        for usage in wanted {
            let card = match trust.current(node, usage) {
                Ok(card) => card,
                Err(error) => {
                    fault("node.trust".to_owned(), error.to_string(), "copy the card that `init` of that node printed");
                    continue;
                }
            };
            if direct.is_some_and(|peer| peer.zone != card.zone) || card.role != Role::Node {
                fault(
                    format!("peer {node}.zone"),
                    format!("its {usage} card is of a {} in {}", card.role, card.zone),
                    "correct the zone, or put the node's own card into the trust folder",
                );
            } else if usage != Use::Link && card.suite != meets.suite {
                fault(
                    "node.suite".to_owned(),
                    format!("{node}'s {usage} key is of suite {}", card.suite),
                    "all nodes of an office use one suite",
                );
            }
            // Days are written so that text compares as days do.
            if let Some(until) = card.until.as_ref().filter(|until| today.as_ref().is_some_and(|today| today > *until))
            {
                fault(
                    "node.trust".to_owned(),
                    format!("{node}'s {usage} card expired after {until}"),
                    "make a new key at that node, compare the fingerprint and copy its card",
                );
            }
            if today.as_ref().is_some_and(|today| *today < card.from) {
                fault(
                    "node.trust".to_owned(),
                    format!("{node}'s {usage} card is valid from {} only", card.from),
                    "take it away until that day; the older card is used again then",
                );
            }
        }
    }
    if !meets.zone.may_hold_coordinates() {
        let card = trust.current(&security(), Use::Seal).ok();
        if card.is_none_or(|card| card.role != Role::Security) {
            fault(
                "node.trust".to_owned(),
                "no security sealing key: refused parcels could not be kept safely".to_owned(),
                "copy security.seal.pub.pem, which init of the internal zone's node printed",
            );
        }
    }
    faults
}

/// Why keys or cards cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The disk.
    #[error("{path}: {cause}")]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// A private key.
    #[error("{path}: {cause}")]
    Key {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        cause: KeyError,
    },
    /// Others can read a private key.
    #[error("{path} may be read by others (mode {mode:o}); chmod 600 it")]
    Open {
        /// Which file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A private key that is not ours to move or remove.
    #[error("{path} is one of the unit's credentials: change what it is loaded from, then restart the unit")]
    Credential {
        /// Which file.
        path: PathBuf,
    },
    /// A card.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// Two key administrators are asked for, and have not agreed.
    #[error(transparent)]
    NotAgreed(#[from] NotAgreed),
    /// Too many.
    #[error("{path} holds more than {CARDS_MAX} cards")]
    TooMany {
        /// The folder.
        path: PathBuf,
    },
}

/// A node's private keys.
#[derive(Clone)]
pub struct Keyring {
    /// Signs statements, entries, receipts, checkpoints.
    pub signing: Signatory,
    /// Opens what is sealed to this node.
    pub opening: OpeningKey,
    /// So do these: the next sealing key, which neighbours may know already, and earlier ones, for what is on its way.
    pub also_opening: Vec<OpeningKey>,
    /// Identifies it on the gateway; Ed25519 in both suites, because TLS knows no other here.
    pub link: SigningKey,
}

pub(crate) fn key_file(folder: &Path, holder: &str, usage: Use) -> PathBuf {
    folder.join(format!("{holder}.{usage}.key.pem"))
}

pub(crate) fn card_file(folder: &Path, holder: &str, usage: Use) -> PathBuf {
    folder.join(format!("{holder}.{usage}.pub.pem"))
}

/// Private keys of one use in one place: the present one, the next one and some years of old ones.
const FILES_MAX: usize = 16;

/// What a private key is by its file's name: the present one of its use, not in use yet, or in use once.
pub(crate) const PRESENT: &str = "present";
pub(crate) const NEXT: &str = "next";
pub(crate) const OLD: &str = "old-";

/// Where systemd has laid out the unit's credentials (`LoadCredential=`, `LoadCredentialEncrypted=`).
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
/// What systemd puts before the name of each file, where the unit loads the folder of keys under the name `keys`.
const CREDENTIALS_PREFIX: &str = "keys_";

fn credentials() -> Option<PathBuf> {
    std::env::var_os(CREDENTIALS).map(PathBuf::from)
}

/// A node's private keys of a use, each with its word: first those among the unit's credentials, then those in the folder.
/// In each place the present one goes first. A folder that is not there or is not for this user holds none: the keys may
/// all be credentials, and whoever misses the present one says so.
pub(crate) fn key_files(folder: &Path, node: &Name, usage: Use) -> Result<Vec<(String, PathBuf)>, KeyringError> {
    let mut found = Vec::new();
    for place in credentials().into_iter().chain([folder.to_owned()]) {
        match files_in(&place, node.as_str(), usage) {
            Ok(files) => found.extend(files),
            Err(cause) if matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {}
            Err(cause) => return Err(KeyringError::Io { path: place, cause }),
        }
    }
    Ok(found)
}

fn files_in(place: &Path, node: &str, usage: Use) -> io::Result<Vec<(String, PathBuf)>> {
    let (start, end) = (format!("{node}.{usage}."), "key.pem");
    let mut found = Vec::new();
    for entry in fs::read_dir(place)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = if is_credential(&path) { name.strip_prefix(CREDENTIALS_PREFIX).unwrap_or(&name) } else { &name };
        let word = match name.strip_prefix(&start).and_then(|rest| rest.strip_suffix(end)) {
            Some("") => PRESENT,
            Some(word) => word.strip_suffix('.').unwrap_or_default(),
            None => continue,
        };
        if [PRESENT, NEXT].contains(&word) || word.starts_with(OLD) {
            found.push((word.to_owned(), path));
        }
    }
    // Of the old ones the newest first: what is still on its way was sealed to one of these.
    let changed = |path: &Path| fs::metadata(path).and_then(|about| about.modified()).ok();
    found.sort_by_cached_key(|(word, path)| (word != PRESENT, word != NEXT, Reverse(changed(path)), path.clone()));
    for (_, path) in found.split_off(FILES_MAX.min(found.len())) {
        tracing::warn!(path = %path.display(), "more private keys than are read: this one opens nothing");
    }
    Ok(found)
}

/// Every key that opens, the present one first, each once: a key that the unit's credentials shadow opens too, because
/// credentials are copied only when the unit starts, and neighbours may seal to the next key by then.
fn read_opening(folder: &Path, node: &Name) -> Result<Vec<OpeningKey>, KeyringError> {
    let mut keys: Vec<OpeningKey> = Vec::new();
    let others = key_files(folder, node, Use::Seal)?.into_iter().map(|(_, path)| path);
    for path in [private_file(folder, node, Use::Seal)?].into_iter().chain(others) {
        let pem = match read_private(&path) {
            // The keys are credentials: what lies in the folder besides may be root's own, and an older one.
            Err(KeyringError::Io { cause, .. })
                if cause.kind() == io::ErrorKind::PermissionDenied && !keys.is_empty() && !is_credential(&path) =>
            {
                tracing::warn!(path = %path.display(), "a private key beside the credentials may not be read, and opens nothing");
                continue;
            }
            other => other?,
        };
        let key = OpeningKey::from_pem(&pem, None).map_err(|cause| KeyringError::Key { path, cause })?;
        if !keys.iter().any(|known| known.public().id() == key.public().id()) {
            keys.push(key);
        }
    }
    Ok(keys)
}

/// A private key among the unit's credentials goes before the file of the same name in the folder of keys. Where neither
/// is, the latter is what is missing.
pub(crate) fn private_file(folder: &Path, node: &Name, usage: Use) -> Result<PathBuf, KeyringError> {
    let present = key_files(folder, node, usage)?.into_iter().find(|(word, _)| word == PRESENT);
    Ok(present.map_or_else(|| key_file(folder, node.as_str(), usage), |(_, path)| path))
}

/// What the device that signs for a node is verified with: its card, from the unit's credentials or the folder of keys.
fn signing_card(folder: &Path, node: &Name) -> Result<VerifyingKey, KeyringError> {
    let file = card_file(folder, node.as_str(), Use::Sign);
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let among = credentials().map(|at| [at.join(&name), at.join(format!("{CREDENTIALS_PREFIX}{name}"))]);
    let path = among.into_iter().flatten().find(|path| path.exists()).unwrap_or(file);
    let card = read_card(&path)?;
    let key = VerifyingKey::from_spki(&card.spki).map_err(|cause| KeyringError::Key { path: path.clone(), cause })?;
    if card.holder != *node || card.usage != Use::Sign || card.role != Role::Node {
        let cause = io::Error::other("it is not the card of this node's signing key");
        return Err(KeyringError::Io { path, cause });
    }
    Ok(key)
}

fn read_card(path: &Path) -> Result<KeyCard, KeyringError> {
    let io = |cause| KeyringError::Io { path: path.to_owned(), cause };
    let bytes = crate::desk::read_small(path, KEY_FILE_BYTES_MAX as u64).map_err(io)?;
    let mut one = Trust::default();
    let id = one.add(&path.to_string_lossy(), &String::from_utf8_lossy(&bytes))?;
    one.card(&id).cloned().ok_or_else(|| io(io::ErrorKind::InvalidData.into()))
}

/// Is it one of the unit's credentials?
pub(crate) fn is_credential(path: &Path) -> bool {
    credentials().is_some_and(|folder| path.starts_with(folder))
}

pub(crate) fn read_private(path: &Path) -> Result<Zeroizing<String>, KeyringError> {
    use std::os::unix::fs::PermissionsExt;
    let io = |cause| KeyringError::Io { path: path.to_owned(), cause };
    let meta = fs::metadata(path).map_err(io)?;
    let mode = meta.permissions().mode() & 0o777;
    // Systemd lets the unit's user in by an access list, whose mask stands where the rights of a group would.
    if mode & (if is_credential(path) { 0o007 } else { 0o077 }) != 0 {
        return Err(KeyringError::Open { path: path.to_owned(), mode });
    }
    if meta.len() > KEY_FILE_BYTES_MAX as u64 {
        return Err(io(io::Error::other("larger than any key file")));
    }
    fs::read_to_string(path).map(Zeroizing::new).map_err(io)
}

impl Keyring {
    /// Reads the node's keys: each from the unit's credentials, or else from the folder.
    pub fn load(folder: &Path, node: &Name) -> Result<Keyring, KeyringError> {
        Keyring::read(folder, node, None)
    }

    /// The same for a node whose signing key may be in a device.
    pub fn of(node: &NodeSettings) -> Result<Keyring, KeyringError> {
        Keyring::read(&node.keys, &node.name, node.signer().as_ref())
    }

    fn read(folder: &Path, node: &Name, program: Option<&PathBuf>) -> Result<Keyring, KeyringError> {
        let signing = |usage| {
            let path = private_file(folder, node, usage)?;
            let pem = read_private(&path)?;
            SigningKey::from_pem(&pem, None).map_err(|cause| KeyringError::Key { path, cause })
        };
        let mut opening_keys = read_opening(folder, node)?;
        let (opening, also_opening) = (opening_keys.remove(0), opening_keys);
        let sign = match program {
            Some(program) => {
                Signatory::Device(Arc::new(Program::of_node(program.clone(), signing_card(folder, node)?)))
            }
            None => signing(Use::Sign)?.into(),
        };
        Ok(Keyring { signing: sign, opening, also_opening, link: signing(Use::Link)? })
    }

    /// Every key that opens, the present one first.
    pub fn opening_keys(&self) -> impl Iterator<Item = &OpeningKey> {
        std::iter::once(&self.opening).chain(&self.also_opening)
    }

    /// The key that opens what is sealed to this id; the present one where none does.
    #[must_use]
    pub fn opening_for(&self, recipient: &Digest) -> &OpeningKey {
        self.opening_keys().find(|key| key.public().id() == *recipient).unwrap_or(&self.opening)
    }

    /// Makes what a node of this config lacks. A signing key in a device is the device's to make: its card must be there.
    pub fn init_of(node: &NodeSettings, zone: Zone, now: Timestamp) -> Result<Vec<(PathBuf, KeyCard)>, KeyringError> {
        if node.signer().is_some() {
            signing_card(&node.keys, &node.name)?;
        }
        Keyring::make(&node.keys, &node.name, (zone, node.suite), node.signer().is_some(), now)
    }

    /// Makes what is absent, 0600, and writes a public card beside each key. Returns the cards, made or found.
    /// In the zone where coordinates may rest, the office's security key is made too: quarantine outside is sealed to it.
    pub fn init(
        folder: &Path,
        node: &Name,
        zone: Zone,
        suite: Suite,
        now: Timestamp,
    ) -> Result<Vec<(PathBuf, KeyCard)>, KeyringError> {
        Keyring::make(folder, node, (zone, suite), false, now)
    }

    fn make(
        folder: &Path,
        node: &Name,
        (zone, suite): (Zone, Suite),
        in_device: bool,
        now: Timestamp,
    ) -> Result<Vec<(PathBuf, KeyCard)>, KeyringError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |cause| KeyringError::Io { path, cause }
        };
        make_private_dir(folder).map_err(io(folder))?;
        let day = now.to_string().chars().take(10).collect::<String>();
        let mut wanted = vec![
            (node.as_str().to_owned(), Use::Sign, suite, Role::Node),
            (node.as_str().to_owned(), Use::Seal, suite, Role::Node),
            (node.as_str().to_owned(), Use::Link, Suite::Std, Role::Node),
        ];
        if zone.may_hold_coordinates() {
            wanted.push((SECURITY.to_owned(), Use::Seal, suite, Role::Security));
        }
        let mut cards = Vec::new();
        for (holder, usage, suite, role) in wanted {
            let path = key_file(folder, &holder, usage);
            let bad = |cause| KeyringError::Key { path: path.clone(), cause };
            if holder == SECURITY && !path.exists() && card_file(folder, &holder, usage).exists() {
                // The key was taken to the safe; its card stays what others trust.
                continue;
            }
            if in_device && usage == Use::Sign {
                let path = card_file(folder, &holder, usage);
                cards.push((path.clone(), read_card(&path)?));
                continue;
            }
            if !path.exists() {
                let pem = match usage {
                    Use::Seal => OpeningKey::generate(suite).to_pem(None),
                    Use::Sign | Use::Link => SigningKey::generate(suite).to_pem(None),
                }
                .map_err(bad)?;
                write_new(&path, pem.as_bytes(), 0o600).map_err(io(&path))?;
            }
            let pem = read_private(&path)?;
            let spki = match usage {
                Use::Seal => OpeningKey::from_pem(&pem, None).map_err(bad)?.public().to_spki(),
                Use::Sign | Use::Link => SigningKey::from_pem(&pem, None).map_err(bad)?.public().to_spki(),
            };
            let card_path = card_file(folder, &holder, usage);
            let holder = Name::new(&holder)
                .map_err(|e| KeyringError::Io { path: card_path.clone(), cause: io::Error::other(e.to_string()) })?;
            let card = KeyCard { zone, holder, role, usage, suite, from: day.clone(), until: None, spki };
            if !card_path.exists() {
                write_new(&card_path, card.to_text().as_bytes(), 0o644).map_err(io(&card_path))?;
            }
            cards.push((card_path, card));
        }
        Ok(cards)
    }
}

/// Whom a node believes: the cards of its trust folder, where the config asks for it only by two key administrators' word.
pub fn believed(node: &NodeSettings) -> Result<Trust, KeyringError> {
    let trust = load_trust(&node.trust)?;
    if node.key_admins.is_empty() {
        return Ok(trust);
    }
    let io = |cause| KeyringError::Io { path: node.trust.clone(), cause };
    let mut lists = Vec::new();
    for entry in fs::read_dir(&node.trust).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.extension().is_some_and(|end| end == LIST_EXTENSION) && lists.len() < LISTS_MAX {
            lists.push(crate::desk::read_small(&path, TrustList::BYTES_MAX as u64).map_err(io)?);
        }
    }
    let admins: Vec<Digest> = node.admins().unwrap_or_default().into_iter().collect();
    trust_list::agreed(&trust, &lists, &admins)?;
    Ok(trust)
}

/// Reads a trust folder as section 3 of FORMAT.md says, and as every verifier does: `*.pem`, no name that begins with a dot,
/// folders passed over, anything else under such a name an error.
pub fn load_trust(folder: &Path) -> Result<Trust, KeyringError> {
    let io = |cause| KeyringError::Io { path: folder.to_owned(), cause };
    let mut trust = Trust::default();
    let mut cards = Vec::new();
    for entry in fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || !name.ends_with(".pem") || entry.file_type().map_err(io)?.is_dir() {
            continue;
        }
        cards.push((name, entry.path()));
        if cards.len() > CARDS_MAX {
            return Err(KeyringError::TooMany { path: folder.to_owned() });
        }
    }
    cards.sort();
    for (name, path) in cards {
        let bytes = crate::desk::read_small(&path, KEY_FILE_BYTES_MAX as u64)
            .map_err(|cause| KeyringError::Io { path: path.clone(), cause })?;
        trust.add(&name, &String::from_utf8_lossy(&bytes))?;
    }
    Ok(trust)
}

pub(crate) fn make_private_dir(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(above) = folder.parent().filter(|above| !above.as_os_str().is_empty() && !above.exists()) {
        make_private_dir(above)?;
    }
    rustix::fs::mkdir(folder, Mode::RWXU)?;
    Ok(())
}

/// A new file; never over an existing one. The mode is set after the mask has had its say: a card is for everyone.
pub(crate) fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
    rustix::fs::fsync(&file)?;
    if let Some(folder) = path.parent() {
        rustix::fs::fsync(fs::File::open(folder)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test writes files as people would")]
    use super::*;
    use protocol::Signed;

    fn settings(root: &Path, admins: &[Digest]) -> NodeSettings {
        let admins: Vec<String> = admins.iter().map(protocol::keys::fingerprint).collect();
        let folder = |name: &str| format!("{name} = {:?}\n", root.join(name));
        let text = format!(
            "name = \"extranet\"\nsuite = \"std\"\nkey_admins = {admins:?}\n{}",
            ["spool", "keys", "trust", "rules"].map(folder).concat()
        );
        toml::from_str(&text).unwrap()
    }

    #[test]
    fn a_node_reads_the_cards_of_its_folder_that_every_verifier_reads_and_no_other() {
        let root = tempfile::tempdir().unwrap();
        let trust = root.path();
        let text = |holder: &str| {
            let key = SigningKey::generate(Suite::Std);
            KeyCard {
                zone: Zone::Extranet,
                holder: Name::new(holder).unwrap(),
                role: Role::Operator,
                usage: Use::Sign,
                suite: Suite::Std,
                from: "2026-11-21".to_owned(),
                until: None,
                spki: key.public().to_spki(),
            }
            .to_text()
        };
        let put = |name: &str, holder: &str| fs::write(trust.join(name), text(holder)).unwrap();
        let holders = || {
            let mut names: Vec<String> =
                load_trust(trust).unwrap().cards().map(|card| card.holder.to_string()).collect();
            names.sort();
            names
        };
        put("wu.pub.pem", "wu");
        put("li.pem", "li");
        put(".eve.pub.pem", "eve");
        put("zhao.pub.pem.bak", "zhao");
        fs::create_dir(trust.join("former.pem")).unwrap();
        assert_eq!(holders(), ["li", "wu"]);
        fs::write(trust.join("note.pem"), "no card").unwrap();
        assert!(load_trust(trust).is_err(), "a file that is no card");
        fs::remove_file(trust.join("note.pem")).unwrap();
        std::os::unix::fs::symlink(trust.join(".eve.pub.pem"), trust.join("eve.pem")).unwrap();
        assert!(load_trust(trust).is_err(), "a link");
    }

    #[test]
    fn a_trust_folder_that_two_named_administrators_did_not_sign_as_it_is_is_not_believed() {
        let root = tempfile::tempdir().unwrap();
        let trust = root.path().join("trust");
        fs::create_dir(&trust).unwrap();
        let card = |holder: &str, role: Role, key: &SigningKey| {
            let card = KeyCard {
                zone: Zone::Extranet,
                holder: Name::new(holder).unwrap(),
                role,
                usage: Use::Sign,
                suite: Suite::Std,
                from: "2026-11-21".to_owned(),
                until: None,
                spki: key.public().to_spki(),
            };
            fs::write(card_file(&trust, holder, Use::Sign), card.to_text()).unwrap();
        };
        let people = [("he", SigningKey::generate(Suite::Std)), ("zhou", SigningKey::generate(Suite::Std))];
        people.iter().for_each(|(holder, key)| card(holder, Role::KeyAdmin, key));
        let ids = people.each_ref().map(|(_, key)| key.public().id());
        let sign = |(holder, key): &(&str, SigningKey)| {
            let list =
                TrustList::of(&load_trust(&trust).unwrap(), &Name::new(holder).unwrap(), Suite::Std, Timestamp(1));
            fs::write(trust.join(format!("{holder}.trust-list")), Signed::make(key, &list).to_bytes()).unwrap();
        };
        let believed_by =
            |admins: &[Digest]| believed(&settings(root.path(), admins)).map(|trust| trust.cards().count());
        assert_eq!(believed_by(&[]).unwrap(), 2, "nobody is asked for");
        assert!(matches!(believed_by(&ids), Err(KeyringError::NotAgreed(NotAgreed { by: 0, .. }))));
        sign(&people[0]);
        assert!(matches!(believed_by(&ids), Err(KeyringError::NotAgreed(NotAgreed { by: 1, .. }))));
        sign(&people[1]);
        assert_eq!(believed_by(&ids).unwrap(), 2);
        let stranger = SigningKey::generate(Suite::Std);
        let other = [ids[0], stranger.public().id()];
        assert!(matches!(believed_by(&other), Err(KeyringError::NotAgreed(NotAgreed { by: 1, .. }))));
        // A card that somebody adds alone takes the whole folder out of use, and with both words it is believed.
        card("eve", Role::Approver, &stranger);
        assert!(matches!(believed_by(&ids), Err(KeyringError::NotAgreed(NotAgreed { by: 0, .. }))));
        people.iter().for_each(sign);
        assert_eq!(believed_by(&ids).unwrap(), 3);
    }
}
