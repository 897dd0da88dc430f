//! `init`: the tree, the keys, and what to hand to the other two administrators.

use std::path::Path;
use std::process::{Command, Stdio};

use protocol::{Zone, keys};
use serde_json::json;
use spool::Disk;

use super::{Exit, Links, Words};
use crate::clock;
use crate::config::Config;
use crate::keyring::Keyring;
use crate::station;

/// The user that the shipped units run as.
const DAEMON_USER: &str = "trilock";

/// The command.
pub(super) fn init<L: Links>(zone: Zone, config: &Config<L>, out: &Words) -> Exit {
    let now = clock::now();
    let cards = match Keyring::init_of(&config.node, zone, now) {
        Ok(cards) => cards,
        Err(error) => {
            out.error(&error.to_string(), "run init as a user who may write there", "请以有写权限的用户运行 init");
            return Exit::Disk;
        }
    };
    let made = Keyring::of(&config.node).map_err(|e| e.to_string()).and_then(|keyring| {
        let setup =
            station::setup(&config.node, zone, &config.routes, &config.crossings(zone), &keyring, Disk::real(), now);
        spool::create(&setup).map_err(|e| e.to_string())
    });
    if let Err(error) = made {
        out.error(&error, "run init as a user who may write there", "请以有写权限的用户运行 init");
        return Exit::Disk;
    }
    let mut notes = Vec::new();
    if rustix::process::geteuid().is_root() {
        owners(zone, config, &mut notes);
    }
    let rows: Vec<_> = cards
        .iter()
        .map(|(path, card)| json!({ "card": path, "holder": card.holder, "use": card.usage.to_string(), "fingerprint": keys::fingerprint(&card.id()) }))
        .collect();
    out.result(&json!({ "cards": rows, "notes": notes }), || {
        let mut text = String::from(out.pick(
            "ready. Give these public key cards to the other nodes' administrators (they belong into their trust folder),\nand read the fingerprints to each other over the telephone:\n",
            "初始化完成。请将以下公钥卡交给其他节点的管理员（放入其信任库目录），并通过电话核对指纹：\n",
        ));
        for (path, card) in &cards {
            text.push_str(&format!("  {}\n    {}\n", path.display(), keys::fingerprint(&card.id())));
        }
        for note in &notes {
            text.push_str(&format!("{note}\n"));
        }
        text
    });
    Exit::Done
}

/// As root: the daemon's user owns the tree, and each route's folders belong to a group that its app's account joins.
fn owners<L: Links>(zone: Zone, config: &Config<L>, notes: &mut Vec<String>) {
    let user_exists = run("id", &["-u", DAEMON_USER]);
    if !user_exists {
        notes.push(format!("there is no user {DAEMON_USER} yet: install systemd/trilock.sysusers.conf and run systemd-sysusers, then run init again"));
        return;
    }
    let own = |path: &Path, who: &str, recursive: bool| {
        let path = path.to_string_lossy().into_owned();
        let done = if recursive { run("chown", &["-R", who, &path]) } else { run("chown", &[who, &path]) };
        if !done { Some(format!("chown {who} {path} failed: do it by hand")) } else { None }
    };
    notes.extend(own(&config.node.keys, DAEMON_USER, true));
    notes.extend(own(&config.node.spool, &format!("{DAEMON_USER}:{DAEMON_USER}"), true));
    let layout = spool::Layout::new(&config.node.spool);
    let shared = [
        (layout.desk_requests(), 0o2770),
        (layout.desk_answers(), 0o2770),
        (layout.desk_trips(), spool::DESK_TRIPS_MODE),
        (layout.desk_incoming(), 0o2770),
        // Read by the group and written by the daemon alone, which believes what it finds there.
        (layout.status(), 0o2750),
    ];
    for (folder, mode) in shared {
        if run("getent", &["group", "trilock-ferry"]) {
            notes.extend(own(&folder, &format!("{DAEMON_USER}:trilock-ferry"), false));
            set_mode(&folder, mode);
        }
    }
    for (group, folder) in [("trilock-audit", layout.desk_exports()), ("trilock-sec", layout.desk_held())] {
        if run("getent", &["group", group]) {
            notes.extend(own(&folder, &format!("{DAEMON_USER}:{group}"), false));
            set_mode(&folder, 0o2750);
        }
    }
    for route in &config.routes {
        let group = format!("trilock-{}", route.name);
        if !run("getent", &["group", &group]) && !run("groupadd", &["--system", &group]) {
            notes.push(format!("group {group} could not be made: groupadd --system {group}"));
            continue;
        }
        // Handing files to a group means being in it: the daemon chowns nothing.
        run("usermod", &["-a", "-G", &group, DAEMON_USER]);
        for folder in [layout.inlet(&route.name), layout.outlet(&route.name), layout.notices(&route.name)] {
            if folder.is_dir() {
                notes.extend(own(&folder, &format!("{DAEMON_USER}:{group}"), false));
                // chown clears the setgid bit.
                set_mode(&folder, 0o2770);
            }
        }
        // What is made ready here gets its group from this folder, and keeps it when it is renamed into the outlet.
        let staging = layout.outlet_staging(&route.name);
        if staging.is_dir() {
            notes.extend(own(&staging, &format!("{DAEMON_USER}:{group}"), false));
            set_mode(&staging, 0o2700);
        }
        notes
            .push(format!("let the app of route {} in: usermod -a -G {group} ITS-ACCOUNT   (zone {zone})", route.name));
    }
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    if let Err(error) = std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)) {
        tracing::warn!(path = %path.display(), %error, "mode not set");
    }
}

fn run(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
