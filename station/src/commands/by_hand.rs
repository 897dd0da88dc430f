//! `seal` and `open`: what is meant is copied beside a request of this machine's own account, and what the daemon made is
//! taken from there. The daemon decides, seals, opens and records; nothing here reads into a file.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use guard::Parcel as _;
use protocol::parcel::Label;
use protocol::{Digest, Name, Zone};
use rustix::fs::{FlockOperation, flock};
use spool::{Disk, Layout};

use super::ask;
use super::{Exit, Links, Words};
use crate::by_hand::{GIVEN, MADE};
use crate::config::{Config, NameEncoding};
use crate::drop::Drop;

/// Sealing and looking takes minutes.
const ANSWER_WITHIN_MS: u64 = 600_000;
/// And longer for the largest: so much a millisecond is done on a slow disk.
const BYTES_A_MS: u64 = 4_000;

fn answer_within_ms(bytes: u64) -> u64 {
    ANSWER_WITHIN_MS + bytes / BYTES_A_MS
}

/// The request, and what lies beside it.
struct Beside {
    request: (Digest, Vec<u8>),
    given: PathBuf,
    made: PathBuf,
    disk: Disk,
    /// What was given, for as long as this command lives: what is made is nobody else's until then.
    held: Option<File>,
}

impl Beside {
    /// The folder that what is meant is laid into.
    fn lay(&mut self) -> io::Result<()> {
        self.disk.create_dir_private(&self.given)?;
        let given = File::open(&self.given)?;
        flock(&given, FlockOperation::NonBlockingLockExclusive)?;
        self.held = Some(given);
        Ok(())
    }

    /// What was given is not left there, in the clear least of all. The daemon clears away tomorrow what cannot be removed now.
    fn clear(&self) {
        let _gone = self.disk.remove_tree(&self.given);
    }
}

fn beside<L: Links>(config: &Config<L>, action: &str, arguments: Vec<Label>, out: &Words) -> Result<Beside, Exit> {
    let layout = Layout::new(&config.node.spool);
    if ask::is_foreign(&layout) {
        out.error(
            "by hand is for the daemon's own account: what is sealed passes through its folders",
            "run this as that user, for example runuser -u trilock -- ...",
            "请以守护进程用户运行，例如 runuser -u trilock -- ...",
        );
        return Err(Exit::Config);
    }
    let request = ask::request(config, action, arguments).map_err(|words| {
        out.error(&words, "run this as the daemon's user", "请以守护进程用户运行");
        Exit::Config
    })?;
    let place = |what: &str| layout.desk_own().join(format!("{}.{what}", request.0));
    Ok(Beside { given: place(GIVEN), made: place(MADE), request, disk: Disk::real(), held: None })
}

fn failed(path: &Path, error: &io::Error, out: &Words) -> Exit {
    out.error(&format!("{}: {error}", path.display()), "nothing was made", "未生成任何文件");
    Exit::Disk
}

fn there(path: &Path, out: &Words) -> bool {
    let there = path.symlink_metadata().is_ok();
    if there {
        let words = format!("{} is there already", path.display());
        out.error(&words, "name another with --out", "目标已存在，请用 --out 指定其他位置");
    }
    there
}

/// Files and folders of a parcel, plain ones only, into a folder under its own name.
fn copy(disk: &Disk, parcel: &Drop, into: &Path) -> io::Result<()> {
    let top = into.join(parcel.original_name());
    if parcel.is_folder() {
        disk.create_dir_all(&top)?;
    }
    for (index, facts) in parcel.files().iter().enumerate() {
        let target = if parcel.is_folder() { top.join(&facts.path) } else { top.clone() };
        if let Some(folder) = target.parent() {
            disk.create_dir_all(folder)?;
        }
        disk.copy_from(&mut parcel.open_file(index)?, &target)?;
    }
    Ok(())
}

/// `seal --route R PATH --out BUNDLE`.
pub(super) fn seal<L: Links>(
    config: &Config<L>,
    zone: Zone,
    route: &str,
    path: &Path,
    bundle: &Path,
    out: &Words,
) -> Exit {
    if there(bundle, out) {
        return Exit::Refused;
    }
    let argument = Name::new("route").map(|name| Label { name, value: route.to_owned() });
    let mut beside = match beside(config, "seal", argument.into_iter().collect(), out) {
        Ok(beside) => beside,
        Err(exit) => return exit,
    };
    let parcel = match Drop::read(path, NameEncoding::Utf8) {
        Ok(parcel) => parcel,
        Err(error) => {
            let words = format!("{}: {error}", path.display());
            out.error(&words, "a parcel is one plain file or folder", "投递件为一个普通文件或目录");
            return Exit::Refused;
        }
    };
    let made = beside.lay().and_then(|()| copy(&beside.disk, &parcel, &beside.given));
    let exit = match made {
        Err(error) => failed(&beside.given, &error, out),
        Ok(()) => {
            let bytes = parcel.files().iter().map(|file| file.size).sum();
            let answer = ask::answer_within(config, zone, &beside.request, answer_within_ms(bytes));
            ask::tell(answer, out, |answer| {
                let taken = File::open(&beside.made).and_then(|mut made| beside.disk.copy_from(&mut made, bundle));
                match taken {
                    Err(error) => failed(bundle, &error, out),
                    Ok(()) => {
                        let _gone = beside.disk.remove_file(&beside.made);
                        out.result(&answer.details, || {
                            format!(
                                "{}: {}",
                                out.pick("sealed by hand, on record", "已手工封装并登记"),
                                bundle.display()
                            )
                        });
                        Exit::Done
                    }
                }
            })
        }
    };
    beside.clear();
    exit
}

/// `open BUNDLE --out DIR`.
pub(super) fn open<L: Links>(config: &Config<L>, zone: Zone, bundle: &Path, folder: &Path, out: &Words) -> Exit {
    // Asked before: a bundle is opened once.
    if std::fs::read_dir(folder).is_ok_and(|mut inside| inside.next().is_some()) {
        let words = format!("{} is not empty", folder.display());
        out.error(&words, "name an empty folder with --out", "请用 --out 指定空目录");
        return Exit::Refused;
    }
    let mut beside = match beside(config, "open", Vec::new(), out) {
        Ok(beside) => beside,
        Err(exit) => return exit,
    };
    let laid = beside.lay().and_then(|()| {
        let given = beside.given.join("bundle");
        beside.disk.copy_from(&mut File::open(bundle)?, &given)
    });
    let exit = match laid {
        Err(error) => failed(bundle, &error, out),
        Ok(()) => {
            let bytes = bundle.metadata().map_or(0, |about| about.len());
            let answer = ask::answer_within(config, zone, &beside.request, answer_within_ms(bytes));
            ask::tell(answer, out, |answer| {
                let name = answer.details.get("name").and_then(serde_json::Value::as_str).unwrap_or_default();
                match take(&beside, name, folder) {
                    Err(error) => {
                        let words = format!("{}: {error}", folder.display());
                        let made = beside.made.display();
                        out.error(
                            &words,
                            &format!("it was opened and lies in {made}: open the bundle again"),
                            &format!("已拆封，内容在 {made}，请再次拆封同一密封包取出"),
                        );
                        Exit::Disk
                    }
                    Ok(()) => {
                        let _gone = beside.disk.remove_tree(&beside.made);
                        out.result(&answer.details, || {
                            let said = out.pick("opened, looked at, on record", "已拆封、检查并登记");
                            format!("{said}: {}", folder.join(name).display())
                        });
                        Exit::Done
                    }
                }
            })
        }
    };
    beside.clear();
    exit
}

/// What was opened, into the folder that was named.
fn take(beside: &Beside, name: &str, folder: &Path) -> io::Result<()> {
    let opened = Drop::read(&beside.made.join(name), NameEncoding::Utf8);
    let opened = opened.map_err(|error| io::Error::other(error.to_string()))?;
    beside.disk.create_dir_all(folder)?;
    copy(&beside.disk, &opened, folder)
}
