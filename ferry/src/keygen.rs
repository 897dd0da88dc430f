//! New keys for people: an encrypted private key that never leaves its holder, and a card that everybody may have.
//! Never overwrites; the private file is 0600 before its first byte is written.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use protocol::keys::{KEY_FILE_BYTES_MAX, KeyError, SigningKey, VerifyingKey};
use protocol::trust::{KeyCard, Role, Use};
use protocol::{Name, Suite, Zone};
use serde_json::json;
use spool::Disk;

use crate::folder;
use crate::keyfile::{KeyFileError, PassphraseFrom};
use crate::words::{Voice, groups, say};

/// What goes wrong when a key is made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeygenError {
    /// The passphrase.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// There is one already.
    #[error("{} exists; a key is never overwritten", path.display())]
    Exists { path: PathBuf },
    /// The encoder.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The disk.
    #[error("writing {}: {cause}", path.display())]
    Write { path: PathBuf, cause: io::Error },
    /// The device's key is not of the suite that was asked for.
    #[error("the public key is of another suite than --suite")]
    OtherSuite,
    /// A key that opens bundles has no business here.
    #[error("ferry makes no key of use {0}: only a node's init makes keys that open or connect")]
    NotHere(Use),
}

/// What is wanted.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Keygen {
    /// Where the holder works: internet, extranet, intranet
    #[arg(long)]
    pub(crate) zone: Zone,
    /// What the holder may do: operator, approver, security, key-admin, auditor; node for a device's key, `init` makes a node's own
    #[arg(long)]
    pub(crate) role: Role,
    /// The person's register id, such as li-ming
    #[arg(long)]
    pub(crate) holder: Name,
    /// std, or gm for SM2
    #[arg(long)]
    pub(crate) suite: Suite,
    /// An existing folder for the two files
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// The public key of a device (PEM): only its card is made, for `--key exec:PROGRAM`
    #[arg(long, value_name = "FILE")]
    pub(crate) public_key: Option<PathBuf>,
    /// Only sign is made here
    #[arg(long = "use", value_name = "USE", default_value = "sign")]
    pub(crate) usage: Use,
    /// Last day of use, YYYY-MM-DD
    #[arg(long)]
    pub(crate) until: Option<jiff::civil::Date>,
    #[command(flatten)]
    pub(crate) passphrase: PassphraseFrom,
}

impl Keygen {
    /// Makes the two files.
    pub(crate) fn run(&self, voice: Voice) -> Result<(), KeygenError> {
        let language = voice.language;
        if self.usage != Use::Sign {
            return Err(KeygenError::NotHere(self.usage));
        }
        if !self.out.is_dir() {
            let cause = io::Error::from(io::ErrorKind::NotFound);
            return Err(KeygenError::Write { path: self.out.clone(), cause });
        }
        let device = self.public_key.as_deref().map(|path| self.of_device(path)).transpose()?;
        let private = self.out.join(format!("{}.key.pem", self.holder));
        let public = self.out.join(format!("{}.pub.pem", self.holder));
        for path in [Some(&private).filter(|_| device.is_none()), Some(&public)].into_iter().flatten() {
            if path.symlink_metadata().is_ok() {
                return Err(KeygenError::Exists { path: path.clone() });
            }
        }
        let passphrase = if self.role == Role::Node || device.is_some() {
            None
        } else {
            let prompts = language.pick(("passphrase for the new key", "once more"), ("新密钥的口令", "再输入一次"));
            Some(self.passphrase.choose(&private, prompts)?)
        };
        let made = if device.is_none() { Some(SigningKey::generate(self.suite)) } else { None };
        let card = KeyCard {
            zone: self.zone,
            holder: self.holder.clone(),
            role: self.role,
            usage: Use::Sign,
            suite: self.suite,
            from: jiff::Zoned::now().date().to_string(),
            until: self.until.map(|day| day.to_string()),
            spki: device.or(made.as_ref().map(SigningKey::public)).ok_or(KeygenError::OtherSuite)?.to_spki(),
        };
        if let Some(key) = &made {
            write_new(&private, key.to_pem(passphrase.as_ref().map(|said| said.as_str()))?.as_bytes(), 0o600)?;
        }
        write_new(&public, card.to_text().as_bytes(), 0o644)?;
        Disk::real().sync_dir(&self.out).map_err(|cause| KeygenError::Write { path: self.out.clone(), cause })?;
        self.tell(voice, made.is_some().then_some(private.as_path()), &public, &card);
        Ok(())
    }

    fn of_device(&self, path: &Path) -> Result<VerifyingKey, KeygenError> {
        let bytes = folder::read_file(path, KEY_FILE_BYTES_MAX).map_err(KeyFileError::from)?;
        let key = VerifyingKey::from_pem(&String::from_utf8_lossy(&bytes))?;
        if key.suite() == self.suite { Ok(key) } else { Err(KeygenError::OtherSuite) }
    }

    fn tell(&self, voice: Voice, private: Option<&Path>, public: &Path, card: &KeyCard) {
        let language = voice.language;
        let (public_shown, fingerprint) = (public.display(), groups(&card.id()));
        voice.object(&json!({
            "key": private, "card": public, "holder": self.holder, "role": self.role.to_string(), "zone": self.zone.name(),
            "suite": self.suite.name(), "fingerprint": fingerprint,
        }));
        if let Some(private) = private.map(Path::display) {
            voice.line(&say!(
                language,
                "private key  {private}  (0600; keep it with its holder)",
                "私钥  {private}（0600，由本人保管）"
            ));
        }
        voice.line(&say!(
            language,
            "key card     {public_shown}  (copy it into the trust folders)",
            "公钥卡  {public_shown}（复制到各信任库）"
        ));
        voice.line(&say!(language, "fingerprint  {fingerprint}", "指纹  {fingerprint}"));
        voice.line(language.pick(
            "Read the fingerprint to whoever takes the card, by telephone or face to face.",
            "请通过电话或当面与接收人核对指纹。",
        ));
        if self.role == Role::Node && private.is_some() {
            voice.warn(language.pick(
                "a node's key has no passphrase, and the node's `init` makes its keys by itself; this one is for tests",
                "节点密钥没有口令；正式环境由节点的 init 自行生成，此密钥仅供测试",
            ));
        }
    }
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), KeygenError> {
    let failed = |cause: io::Error| match cause.kind() {
        io::ErrorKind::AlreadyExists => KeygenError::Exists { path: path.to_owned() },
        _ => KeygenError::Write { path: path.to_owned(), cause },
    };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(failed)?;
    file.write_all(bytes).and_then(|()| Disk::real().sync_file(&file)).map_err(failed)
}
