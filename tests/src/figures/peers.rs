//! Other programs that seal or sign one file, where they are installed: `age`, `minisign` and NNCP.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{Cost, children_cpu_s};

/// A program with what it is asked to do.
struct Peer {
    program: &'static str,
    /// Makes keys; `None` is not needed.
    prepare: &'static [&'static str],
    steps: &'static [(&'static str, &'static str)],
}

/// Run by a shell in a folder of their own, which holds `content`.
const PEERS: [Peer; 3] = [
    Peer {
        program: "age",
        prepare: &["age-keygen -o key", "age-keygen -y key > recipient"],
        steps: &[("encrypt", "age -R recipient -o sealed content"), ("decrypt", "age -d -i key -o back sealed")],
    },
    Peer {
        program: "minisign",
        prepare: &["minisign -G -f -W -p public -s secret"],
        steps: &[
            ("sign", "minisign -S -s secret -m content -x signature"),
            ("verify", "minisign -V -p public -m content -x signature"),
        ],
    },
    Peer {
        program: "nncp-file",
        prepare: &["mkdir spool", "nncp-cfgnew > config"],
        steps: &[
            ("nncp-file", "nncp-file -quiet -cfg config -spool $PWD/spool -log $PWD/log content self:back"),
            ("nncp-check", "nncp-check -quiet -cfg config -spool $PWD/spool -log $PWD/log"),
        ],
    },
];

/// Prints a row for each step of each program.
pub fn run(root: &Path, content: &[u8]) -> io::Result<()> {
    for peer in PEERS {
        let folder = root.join(peer.program);
        fs::create_dir_all(&folder)?;
        let found = Command::new("sh").args(["-c", &format!("command -v {}", peer.program)]).output()?;
        if !found.status.success() {
            println!("| {}, file to file | not installed | |", peer.program);
            continue;
        }
        fs::write(folder.join("content"), content)?;
        if !peer.prepare.iter().all(|line| shell(&folder, line).is_ok()) {
            println!("| {}, file to file | installed, but its keys could not be made | |", peer.program);
            continue;
        }
        for (what, line) in peer.steps {
            let before = children_cpu_s();
            match shell(&folder, line) {
                Ok(()) => {
                    let cost = Cost { bytes: content.len(), cpu_s: children_cpu_s() - before };
                    println!("| {} {what}, file to file | {cost} | |", peer.program);
                }
                Err(error) => println!("| {} {what}, file to file | failed: {error} | |", peer.program),
            }
        }
        fs::remove_dir_all(&folder)?;
    }
    Ok(())
}

fn shell(folder: &Path, line: &str) -> io::Result<()> {
    let mut shell = Command::new("sh");
    shell.current_dir(folder).args(["-c", line]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = shell.status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(status.to_string())) }
}
