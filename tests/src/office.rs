//! A registration office on one machine: three nodes with keys, trust and configs as their administrators would set
//! them up, using only the shipped programs, and the people who work the ferry.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How the extranet reaches the internal zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OneWay {
    /// Datagrams through the light gate.
    Diode,
    /// A gate that moves files.
    Folder,
}

/// What an office is set up with.
#[derive(Clone, Debug)]
pub struct Wishes {
    /// `std` or `gm`.
    pub suite: String,
    /// The carrier of the one-way crossing.
    pub one_way: OneWay,
    /// Where the repository stands, for the rule files.
    pub repository: PathBuf,
    /// Where the programs were built.
    pub programs: PathBuf,
    /// Seconds between rounds of the one-way link.
    pub round_every_s: u64,
}

/// One node and its process.
pub struct Node {
    /// `internet`, `extranet` or `intranet`.
    pub name: &'static str,
    /// Its folder.
    pub folder: PathBuf,
    program: PathBuf,
    child: Option<Child>,
}

impl Node {
    /// The process, where one was started.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }
}

/// Three nodes and the people.
pub struct Office {
    /// Everything lies below.
    pub root: PathBuf,
    /// By name.
    pub nodes: BTreeMap<&'static str, Node>,
    /// The port of the intranet's receiver.
    pub receiver: std::net::SocketAddr,
    /// Both ends of the file-moving gate.
    pub gate: (PathBuf, PathBuf),
    /// More of the environment of daemons that are started from now on.
    pub environment: Vec<(String, String)>,
    wishes: Wishes,
}

const NODES: [&str; 3] = ["internet", "extranet", "intranet"];
/// Who works the ferry: name, zone, role.
const PEOPLE: [(&str, &str, &str); 4] = [
    ("operator-ma", "intranet", "operator"),
    ("approver-li", "intranet", "approver"),
    ("approver-zhao", "intranet", "approver"),
    ("operator-chen", "extranet", "operator"),
];

fn failed(what: &str, output: &Output) -> io::Error {
    io::Error::other(format!(
        "{what}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    ))
}

/// A UDP port that was free a moment ago.
fn free_port() -> io::Result<u16> {
    Ok(UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port())
}

impl Office {
    /// Sets the office up below `root`. `entrance` is where the extranet's diode sender aims, where it is not the
    /// receiver itself: a relay is put between with it.
    pub fn found(
        root: &Path,
        wishes: Wishes,
        between: impl FnOnce(std::net::SocketAddr) -> io::Result<std::net::SocketAddr>,
    ) -> io::Result<Office> {
        let receiver: std::net::SocketAddr = ([127, 0, 0, 1], free_port()?).into();
        let gateway = free_port()?;
        let entrance = between(receiver)?;
        let gate = (root.join("gate/outer"), root.join("gate/inner"));
        let mut nodes = BTreeMap::new();
        for name in NODES {
            let folder = root.join(name);
            fs::create_dir_all(folder.join("trust"))?;
            let program = wishes.programs.join(format!("{name}-node"));
            nodes.insert(name, Node { name, folder, program, child: None });
        }
        fs::create_dir_all(&gate.0)?;
        fs::create_dir_all(&gate.1)?;
        let office = Office { root: root.to_owned(), nodes, receiver, gate, environment: Vec::new(), wishes };
        for name in NODES {
            fs::write(office.config(name), office.config_text(name, gateway, entrance))?;
        }
        fs::write(office.passphrase(), "demo passphrase 三闸\n")?;
        office.exchange_keys()?;
        Ok(office)
    }

    /// The config file of a node.
    #[must_use]
    pub fn config(&self, name: &str) -> PathBuf {
        self.root.join(name).join(format!("{name}.toml"))
    }

    fn passphrase(&self) -> PathBuf {
        self.root.join("passphrase")
    }

    fn config_text(&self, name: &str, gateway: u16, entrance: std::net::SocketAddr) -> String {
        let folder = self.root.join(name);
        let one_way = match self.wishes.one_way {
            OneWay::Diode => "diode",
            OneWay::Folder => "folder",
        };
        let mut text = format!(
            "[node]\nname = \"{name}\"\nsuite = \"{}\"\nspool = {:?}\nkeys = {:?}\ntrust = {:?}\nrules = {:?}\n\n",
            self.wishes.suite,
            folder.join("spool"),
            folder.join("keys"),
            folder.join("trust"),
            self.wishes.repository.join("config/rules"),
        );
        let peer = |text: &mut String, peer: &str, send: &str, receive: &str| {
            text.push_str(&format!(
                "[[peer]]\nname = \"{peer}\"\nzone = \"{peer}\"\nsend = \"{send}\"\nreceive = \"{receive}\"\n\n"
            ));
        };
        let mut routes = Vec::new();
        let all = "\"application\", \"photo\", \"tax-ticket\", \"registration-message\"";
        match name {
            "internet" => {
                peer(&mut text, "extranet", "quic", "quic");
                text.push_str(&format!(
                    "[link.quic]\nlisten = \"127.0.0.1:{gateway}\"\n[[link.quic.peers]]\nname = \"extranet\"\n\n"
                ));
            }
            "extranet" => {
                peer(&mut text, "internet", "quic", "quic");
                peer(&mut text, "intranet", one_way, "ferry");
                text.push_str(&format!(
                    "[link.quic]\n[[link.quic.peers]]\nname = \"internet\"\ndial = \"127.0.0.1:{gateway}\"\n\n"
                ));
                match self.wishes.one_way {
                    OneWay::Diode => text.push_str(&format!(
                        "[link.diode]\ntarget = \"{entrance}\"\nrate_mbit = 400\nround_every_s = {}\n\n",
                        self.wishes.round_every_s
                    )),
                    OneWay::Folder => text.push_str(&format!(
                        "[link.folder]\noutgoing = {:?}\nscan_ms = 200\nround_every_s = {}\n\n",
                        self.gate.0, self.wishes.round_every_s
                    )),
                }
                text.push_str("[ferry]\n[[ferry.medium]]\nid = \"disc-0001\"\ndirection = \"in\"\n\n");
            }
            _ => {
                peer(&mut text, "extranet", "ferry", one_way);
                match self.wishes.one_way {
                    OneWay::Diode => {
                        text.push_str(&format!("[link.diode]\nlisten = \"{}\"\nrate_mbit = 400\n\n", self.receiver))
                    }
                    OneWay::Folder => {
                        text.push_str(&format!("[link.folder]\nincoming = {:?}\nscan_ms = 200\n\n", self.gate.1))
                    }
                }
                text.push_str("[ferry]\n[[ferry.medium]]\nid = \"disc-0001\"\ndirection = \"out\"\n\n");
            }
        }
        let mut route = |name: &str, path: [&'static str; 2], types: &str, priority: &str| {
            routes.push((path, format!("[[route]]\nname = \"{name}\"\npath = [\"{}\", \"{}\"]\ntypes = [{types}]\npriority = \"{priority}\"\nintake = \"rename\"\n\n", path[0], path[1])));
        };
        route("applications", ["internet", "extranet"], "\"application\"", "urgent");
        route("own-files", ["internet", "extranet"], all, "normal");
        route("registration", ["extranet", "intranet"], "\"registration-message\"", "urgent");
        route("archives", ["extranet", "intranet"], "\"archive\"", "bulk");
        route("responses", ["intranet", "extranet"], "\"response-message\"", "normal");
        route("review-results", ["intranet", "extranet"], "\"review-result\"", "normal");
        for (_, route) in routes.iter().filter(|(path, _)| path.contains(&name)) {
            text.push_str(route);
        }
        text
    }

    /// What three administrators and a key administrator do on the first day: make keys, exchange public cards.
    fn exchange_keys(&self) -> io::Result<()> {
        for name in NODES {
            self.node_command(name, &["init"])?;
        }
        let people = self.root.join("people");
        fs::create_dir_all(&people)?;
        for (holder, zone, role) in PEOPLE {
            self.ferry(&[
                "keygen",
                "--zone",
                zone,
                "--role",
                role,
                "--holder",
                holder,
                "--suite",
                &self.wishes.suite,
                "--out",
                &people.to_string_lossy(),
                "--passphrase-file",
                &self.passphrase().to_string_lossy(),
            ])?;
        }
        let folders = NODES.iter().map(|name| self.root.join(name).join("keys")).chain([people]);
        for folder in folders {
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                if file.ends_with(".pub.pem") {
                    for name in NODES {
                        fs::copy(&path, self.root.join(name).join("trust").join(&file))?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Runs a command of a node to its end; an error names what it printed.
    pub fn node_command(&self, name: &str, arguments: &[&str]) -> io::Result<String> {
        let output = self.node_output(name, arguments)?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(failed(&format!("{name}-node {}", arguments.join(" ")), &output))
        }
    }

    /// Runs a command of a node and gives back whatever it did.
    pub fn node_output(&self, name: &str, arguments: &[&str]) -> io::Result<Output> {
        let program = self.wishes.programs.join(format!("{name}-node"));
        Command::new(program).arg("--config").arg(self.config(name)).args(arguments).env("LANG", "C").output()
    }

    /// Runs `ferry` to its end.
    pub fn ferry(&self, arguments: &[&str]) -> io::Result<String> {
        let output = self.ferry_output(arguments)?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(failed(&format!("ferry {}", arguments.join(" ")), &output))
        }
    }

    /// Runs `ferry` and gives back whatever it did.
    pub fn ferry_output(&self, arguments: &[&str]) -> io::Result<Output> {
        // Slips are written where ferry is called.
        Command::new(self.wishes.programs.join("ferry"))
            .args(arguments)
            .current_dir(&self.root)
            .env("LANG", "C")
            .stdin(Stdio::null())
            .output()
    }

    /// `ferry` as a person, started and not waited for; what it says goes to `<root>/ferry.log`.
    pub fn ferry_start(&self, person: &str, node: &str, command: &str, arguments: &[&str]) -> io::Result<Child> {
        self.ferry_start_to("ferry.log", person, node, command, arguments)
    }

    /// The same with a log of its own.
    pub fn ferry_start_to(
        &self,
        log: &str,
        person: &str,
        node: &str,
        command: &str,
        arguments: &[&str],
    ) -> io::Result<Child> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.root.join(log))?;
        Command::new(self.wishes.programs.join("ferry"))
            .args([command, "--spool"])
            .arg(self.spool(node))
            .arg("--key")
            .arg(self.root.join("people").join(format!("{person}.key.pem")))
            .arg("--passphrase-file")
            .arg(self.passphrase())
            .args(arguments)
            .current_dir(&self.root)
            .env("LANG", "C")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
    }

    /// `ferry` as a person, at the desk of a node.
    pub fn ferry_as(&self, person: &str, node: &str, command: &str, arguments: &[&str]) -> io::Result<String> {
        let spool = self.spool(node);
        let key = self.root.join("people").join(format!("{person}.key.pem"));
        let (spool, key, pass) = (spool.to_string_lossy(), key.to_string_lossy(), self.passphrase());
        let mut all = vec![command, "--spool", &spool, "--key", &key, "--passphrase-file"];
        let pass = pass.to_string_lossy();
        all.push(&pass);
        all.extend(arguments);
        self.ferry(&all)
    }

    /// The root of a node's spool.
    #[must_use]
    pub fn spool(&self, name: &str) -> PathBuf {
        self.root.join(name).join("spool")
    }

    /// The folder of a route that apps drop into.
    #[must_use]
    pub fn inlet(&self, node: &str, route: &str) -> PathBuf {
        self.spool(node).join("inlet").join(route)
    }

    /// The folder of a route that apps pick up from.
    #[must_use]
    pub fn outlet(&self, node: &str, route: &str) -> PathBuf {
        self.spool(node).join("outlet").join(route)
    }

    /// Drops a file or folder as an app does with intake `rename`: written beside the inlet, then renamed in.
    pub fn drop_in(&self, node: &str, route: &str, name: &str, files: &[(&str, &[u8])]) -> io::Result<()> {
        let aside = self.root.join("apps").join(format!("{node}-{route}-{name}"));
        fs::create_dir_all(aside.parent().unwrap_or(&aside))?;
        match files {
            [(only, bytes)] if *only == name => fs::write(&aside, bytes)?,
            many => {
                for (path, bytes) in many {
                    let place = aside.join(path);
                    fs::create_dir_all(place.parent().unwrap_or(&place))?;
                    fs::write(place, bytes)?;
                }
            }
        }
        fs::rename(aside, self.inlet(node, route).join(name))
    }

    /// The newest notice about a drop, if one stands: its state and the whole of it.
    #[must_use]
    pub fn notice(&self, node: &str, route: &str, name: &str) -> Option<(String, Value)> {
        let folder = self.spool(node).join("notices").join(route);
        let mut found: Vec<(std::time::SystemTime, String, Value)> = fs::read_dir(folder)
            .ok()?
            .filter_map(Result::ok)
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(&format!("{name}.")))
            .filter_map(|entry| {
                let notice: Value = serde_json::from_slice(&fs::read(entry.path()).ok()?).ok()?;
                Some((entry.metadata().ok()?.modified().ok()?, notice.get("state")?.as_str()?.to_owned(), notice))
            })
            .collect();
        found.sort_by_key(|(at, ..)| *at);
        found.pop().map(|(_, state, notice)| (state, notice))
    }

    /// Starts a node's daemon; its log goes to `<node>/log`.
    pub fn start(&mut self, name: &str) -> io::Result<()> {
        let config = self.config(name);
        let Some(node) = self.nodes.get_mut(name) else { return Err(io::Error::other("no such node")) };
        let log = fs::OpenOptions::new().create(true).append(true).open(node.folder.join("log"))?;
        let child = Command::new(&node.program)
            .arg("run")
            .arg("--config")
            .arg(config)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        node.child = Some(child);
        Ok(())
    }

    /// `kill -9`.
    pub fn kill(&mut self, name: &str) -> io::Result<()> {
        if let Some(mut child) = self.nodes.get_mut(name).and_then(|node| node.child.take()) {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// How a daemon ended by itself, where it did; it may be started again then.
    pub fn ended(&mut self, name: &str) -> Option<std::process::ExitStatus> {
        let node = self.nodes.get_mut(name)?;
        let status = node.child.as_mut()?.try_wait().ok()??;
        node.child = None;
        Some(status)
    }

    /// Sends a signal by name (`STOP`, `TERM`) to a daemon that runs.
    pub fn signal(&self, name: &str, signal: &str) -> io::Result<()> {
        let Some(pid) = self.nodes.get(name).and_then(Node::pid) else { return Err(io::Error::other("not running")) };
        let sent = Command::new("sh").args(["-c", "kill -s \"$1\" \"$2\"", "sh", signal, &pid.to_string()]).status()?;
        if sent.success() { Ok(()) } else { Err(io::Error::other(format!("{name}: {signal} was not sent"))) }
    }

    /// Did a daemon end by itself? Then something is wrong.
    pub fn fallen(&mut self) -> Option<&'static str> {
        self.nodes.values_mut().find_map(|node| match node.child.as_mut().map(Child::try_wait) {
            Some(Ok(Some(_))) => Some(node.name),
            _ => None,
        })
    }

    /// Looks again and again until something is so; gives up at the deadline.
    pub fn await_that<T>(&mut self, within: Duration, mut so: impl FnMut(&Office) -> Option<T>) -> Option<T> {
        let until = Instant::now() + within;
        loop {
            if let Some(found) = so(self) {
                return Some(found);
            }
            if Instant::now() > until || self.fallen().is_some() {
                return None;
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        for node in self.nodes.values_mut() {
            if let Some(child) = &mut node.child {
                // It may have ended before; there is nobody left to tell.
                let _killed = child.kill();
                let _ended = child.wait();
            }
        }
    }
}
