//! Intake: raw survey files from a medium into an inlet of the internal zone (离线提交权籍成果). Copies bytes and lists their
//! digests; parses nothing. Built aside in the inlet and renamed, so that the node sees the folder whole or not at all.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use protocol::Suite;
use protocol::keys::random;
use protocol::parcel::{FILES_MAX, PATH_DEPTH_MAX, check_path};
use protocol::suite::Digest;
use serde_json::json;
use spool::disk::Disk;
use spool::layout::Layout;

use crate::copying::{CopyError, room, write_error};
use crate::desk::{self, DESK_FILE, DESK_FOLDER, DeskError};
use crate::folder::{Folder, FolderError, Kind};
use crate::words::{Voice, say, shown, size};

/// Files are read in pieces of this.
const BUFFER_BYTES: usize = 1 << 20;

/// What stops an intake.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IntakeError {
    /// Which inlet.
    #[error(transparent)]
    Desk(#[from] DeskError),
    /// A folder or file.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A file on its way.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// Something that is not taken in.
    #[error("{} is a {what}; only files and folders are taken in", path.display())]
    NotTaken { path: PathBuf, what: &'static str },
    /// A name that cannot travel.
    #[error("{path} {cause}")]
    BadName { path: String, cause: &'static str },
    /// More than a parcel holds.
    #[error("{} holds more than {FILES_MAX} files, the most of one parcel", path.display())]
    TooMany { path: PathBuf },
    /// No inlet there.
    #[error("there is no inlet at {}", path.display())]
    NoInlet { path: PathBuf },
    /// There is one of that name.
    #[error("{} is in the inlet already", path.display())]
    Exists { path: PathBuf },
    /// It changed under our hands.
    #[error("{} had {stated} bytes and gave {found}", path.display())]
    Changed { path: PathBuf, stated: u64, found: u64 },
}

/// `ferry intake`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Intake {
    /// The folder on the medium that becomes one parcel
    #[arg(value_name = "FOLDER")]
    pub(crate) from: PathBuf,
    /// The inlet folder itself
    #[arg(long, value_name = "DIR", required_unless_present = "route", conflicts_with = "route")]
    pub(crate) inlet: Option<PathBuf>,
    /// Or the route whose inlet it is
    #[arg(long, value_name = "ROUTE")]
    pub(crate) route: Option<protocol::Name>,
    /// The node's spool, with --route
    #[arg(long, value_name = "DIR")]
    pub(crate) spool: Option<PathBuf>,
    /// The parcel's name; by default the folder's
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Where the listing of digests goes; by default intake-<name>.sha256 here. It stays in this zone.
    #[arg(long, value_name = "FILE")]
    pub(crate) listing: Option<PathBuf>,
}

struct Found {
    path: String,
    bytes: u64,
}

impl Intake {
    /// Looks through, copies, renames.
    pub(crate) fn run(&self, voice: Voice) -> Result<(), IntakeError> {
        let language = voice.language;
        let source = Folder::open(&self.from)?;
        let name = self
            .name
            .clone()
            .or_else(|| self.from.canonicalize().ok()?.file_name()?.to_str().map(str::to_owned))
            .unwrap_or_default();
        check_path(&name).map_err(|cause| IntakeError::BadName { path: shown(name.as_ref()), cause })?;
        if name.contains('/') || name.starts_with('.') {
            return Err(IntakeError::BadName { path: shown(name.as_ref()), cause: "cannot be the name of a drop" });
        }
        let inlet = match (&self.inlet, &self.route) {
            (Some(inlet), _) => inlet.clone(),
            (None, Some(route)) => Layout::new(desk::which_spool(self.spool.as_deref())?).inlet(route),
            (None, None) => PathBuf::new(),
        };
        if !inlet.is_dir() {
            return Err(IntakeError::NoInlet { path: inlet });
        }
        let mut files = Vec::new();
        look(&source, "", 0, &mut files)?;
        let total = files.iter().map(|file| file.bytes).sum();
        let disk = Disk::real();
        room(&disk, &inlet, total)?;
        let place = inlet.join(&name);
        if place.symlink_metadata().is_ok() {
            return Err(IntakeError::Exists { path: place });
        }
        // A name with a dot in front is no drop to the node.
        let aside = inlet.join(format!(".tmp-ferry-{}", hex(&random::<6>())));
        let bar = voice.bar(total, name.clone());
        let copied = copy_all(&disk, &source, &files, &aside, &bar);
        bar.finish_and_clear();
        if copied.is_err() {
            let _ = disk.remove_tree(&aside);
        }
        let digests = copied?;
        // The listing first: a drop that is seen has its listing.
        let listing = self.listing.clone().unwrap_or_else(|| PathBuf::from(format!("intake-{name}.sha256")));
        let text: String =
            files.iter().zip(&digests).map(|(file, digest)| format!("{digest}  {}\n", file.path)).collect();
        disk.write(&listing, text.as_bytes()).map_err(|cause| write_error(&listing, cause))?;
        disk.rename_new(&aside, &place).map_err(|cause| write_error(&place, cause))?;

        let (count, amount, to, list) = (files.len(), size(total), place.display(), listing.display());
        voice.object(&json!({
            "inlet": place, "listing": listing, "bytes": total,
            "files": files.iter().zip(&digests).map(|(f, d)| json!({"path": f.path, "bytes": f.bytes, "sha256": d.to_string()})).collect::<Vec<_>>(),
        }));
        voice.line(&say!(language, "{count} files, {amount} -> {to}", "{count} 个文件，{amount} -> {to}"));
        voice.line(&say!(language, "digests  {list}  (keep it inside this zone)", "摘要清单  {list}（不得离开本区）"));
        voice.line(
            language.pick(
                "The node takes it from here; its notice tells what became of it.",
                "节点将接手处理；结果见通知。",
            ),
        );
        Ok(())
    }
}

/// Lists what will be copied, refusing everything that is not a plain file or folder before a byte is written.
fn look(folder: &Folder, above: &str, depth: usize, files: &mut Vec<Found>) -> Result<(), IntakeError> {
    for item in folder.list(FILES_MAX)? {
        let path = folder.path().join(&item.name);
        let text = item
            .name
            .to_str()
            .ok_or_else(|| IntakeError::BadName { path: shown(&item.name), cause: "is not UTF-8" })?;
        let inside = if above.is_empty() { text.to_owned() } else { format!("{above}/{text}") };
        check_path(&inside).map_err(|cause| IntakeError::BadName { path: shown(inside.as_ref()), cause })?;
        match item.kind {
            Kind::Link => return Err(IntakeError::NotTaken { path, what: "symbolic link" }),
            Kind::Special => return Err(IntakeError::NotTaken { path, what: "device, fifo or socket" }),
            Kind::Folder if depth >= PATH_DEPTH_MAX => {
                return Err(IntakeError::BadName { path: inside, cause: "is deeper than 32 folders" });
            }
            Kind::Folder => look(&folder.sub(&item.name)?, &inside, depth + 1, files)?,
            Kind::File => {
                let (_, bytes) = folder.file(&item.name)?;
                if files.len() >= FILES_MAX {
                    return Err(IntakeError::TooMany { path: folder.path().to_owned() });
                }
                files.push(Found { path: inside, bytes });
            }
        }
    }
    Ok(())
}

fn copy_all(
    disk: &Disk,
    source: &Folder,
    files: &[Found],
    aside: &Path,
    bar: &indicatif::ProgressBar,
) -> Result<Vec<Digest>, IntakeError> {
    let group =
        |path: &Path, mode| disk.set_mode(path, mode).map_err(|cause| IntakeError::Copy(write_error(path, cause)));
    disk.create_dir_all(aside).map_err(|cause| write_error(aside, cause))?;
    // The node renames the folder and takes the files away: its group must be able to.
    group(aside, DESK_FOLDER)?;
    let mut digests = Vec::with_capacity(files.len());
    for file in files {
        let to = aside.join(&file.path);
        let mut above = aside.to_owned();
        if let Some((folders, _)) = file.path.rsplit_once('/') {
            for part in folders.split('/') {
                above.push(part);
                if !above.is_dir() {
                    disk.create_dir_all(&above).map_err(|cause| write_error(&above, cause))?;
                    group(&above, DESK_FOLDER)?;
                }
            }
        }
        digests.push(copy_one(disk, source, file, &to, bar)?);
        group(&to, DESK_FILE)?;
    }
    Ok(digests)
}

fn copy_one(
    disk: &Disk,
    source: &Folder,
    file: &Found,
    to: &Path,
    bar: &indicatif::ProgressBar,
) -> Result<Digest, IntakeError> {
    // Walked again from the held folder, a part at a time: no part may have become a link meanwhile.
    let mut folder = None;
    let mut parts: Vec<&str> = file.path.split('/').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let next = folder.as_ref().unwrap_or(source).sub(part)?;
        folder = Some(next);
    }
    let folder = folder.as_ref().unwrap_or(source);
    let path = folder.path().join(last);
    let (from, bytes) = folder.file(last)?;
    let mut out = disk.create(to).map_err(|cause| write_error(to, cause))?;
    let mut hasher = Suite::Std.hasher();
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut limited = from.take(bytes.saturating_add(1));
    let mut copied = 0_u64;
    loop {
        let read = match limited.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(cause) => return Err(CopyError::Read { path, cause }.into()),
        };
        let piece = buffer.get(..read).unwrap_or_default();
        hasher.update(piece);
        out.write_all(piece).map_err(|cause| write_error(to, cause))?;
        bar.inc(piece.len() as u64);
        copied = copied.saturating_add(piece.len() as u64);
    }
    if copied != bytes || bytes != file.bytes {
        return Err(IntakeError::Changed { path, stated: file.bytes, found: copied });
    }
    disk.sync_file(&out).map_err(|cause| write_error(to, cause))?;
    Ok(hasher.finish())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
