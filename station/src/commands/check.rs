//! `check`: everything that would go wrong, before it does.

use std::path::Path;

use protocol::signer::{PROBE, Signer as _};
use protocol::trust::{Role, Use};
use protocol::{Crossing, Name, Suite, Trust, Zone};
use serde_json::json;

use super::{Exit, Links, Words};
use crate::clock;
use crate::config::{Carrier, Config, Fault, IntakeWord, ScannerWay, place_of};
use crate::keyring::{self, Keyring, KeyringError, Meets};
use crate::rulebook::{RuleBook, RuleFile};
use crate::sandbox::Sandbox;
use crate::station::StationError;

/// What is wrong with a config in itself, without looking at the disk.
pub(super) fn faults<L: Links>(zone: Zone, config: &Config<L>) -> Vec<Fault> {
    let mut faults = config.faults(zone);
    faults.extend(config.link.faults(zone, &config.peers));
    faults
}

/// Prints faults with line and column.
pub(super) fn print_faults(path: &Path, text: &str, faults: &[Fault], out: &Words) {
    for fault in faults {
        let (line, column) = place_of(text, fault);
        out.error(
            &format!("{}:{line}:{column}: {}: {}", path.display(), fault.at, fault.what),
            &fault.remedy,
            &fault.remedy,
        );
    }
}

/// The command.
pub(super) fn check<L: Links>(
    zone: Zone,
    path: &Path,
    config: &Config<L>,
    text: &str,
    profile: Option<&str>,
    out: &Words,
) -> Exit {
    let mut faults = faults(zone, config);
    let (found, mut warnings) = config.link.look(&config.peers);
    faults.extend(found);
    let mut fault = |at: &str, what: String, remedy: &str| {
        faults.push(Fault { at: at.to_owned(), what, remedy: remedy.to_owned() })
    };

    let keyring = Keyring::of(&config.node);
    match &keyring {
        Err(error) => fault("node.keys", error.to_string(), "run init, or mend the folder's owner and modes"),
        Ok(keys) if keys.signing.suite() != config.node.suite => {
            fault(
                "node.suite",
                format!("the signing key is of suite {}", keys.signing.suite()),
                "make new keys with init in an empty folder, or change suite",
            );
        }
        Ok(keys) => {
            if let Err(error) = keys.signing.try_sign(PROBE) {
                fault("node.signing_key", error.to_string(), "bring the device back, or mend its program");
            }
        }
    }
    match keyring::believed(&config.node) {
        Err(error @ KeyringError::NotAgreed(_)) => fault(
            "node.key_admins",
            error.to_string(),
            "each of two key administrators runs `ferry trust sign --trust DIR --key FILE` once the cards are right",
        ),
        Err(error) => {
            fault("node.trust", error.to_string(), "put the public key cards (*.pub.pem) of all nodes and people there")
        }
        Ok(trust) => {
            let meets = Meets { zone, suite: config.node.suite, peers: &config.peers, routes: &config.routes };
            for found in keyring::card_faults(&trust, &meets, Some(clock::now())) {
                fault(&found.at, found.what, &found.remedy);
            }
            let approvers = trust.cards().filter(|card| card.role == Role::Approver).count();
            if config.peers.iter().any(|peer| peer.send == Carrier::Ferry)
                && approvers < usize::from(config.ferry.approvals)
            {
                warnings.push(format!(
                    "ferry.approvals = {} but only {approvers} approver cards are trusted",
                    config.ferry.approvals
                ));
            }
        }
    }
    match (&config.backup, keyring::believed(&config.node)) {
        (None, _) => {
            warnings.push("no table [backup]: if this disk is lost, so is what waits here and the ledger".to_owned())
        }
        (Some(backup), trust) => {
            if let Err(error) = crate::backup::sealing_key(backup, &trust.unwrap_or_default()) {
                fault(
                    "backup.key",
                    error.to_string(),
                    "name a holder whose sealing card is in the trust folder, or the path of a card",
                );
            }
            if config.node.name.as_str() == backup.key {
                warnings
                    .push("backup.key is this node's own key: it is lost with the machine that it lies on".to_owned());
            }
            // The node can do its work without it: the alarm speaks when a backup is due.
            if !backup.folder.is_dir() {
                warnings.push(format!(
                    "backup.folder: {} is not there: mount its disk, or make it for the daemon's user",
                    backup.folder.display()
                ));
            }
        }
    }
    if let Some(scanner) = &config.scanner {
        let (ScannerWay::Exec(path) | ScannerWay::Clamd(path)) = &scanner.by;
        if !path.exists() {
            warnings.push(format!("scanner.by: {} is not there: until it is, every parcel waits", path.display()));
        }
    }
    if config.ferry.approvals == 1 {
        warnings.push("ferry.approvals = 1: one person besides the exporter can let data out".to_owned());
    }
    warnings.extend(inlets(config));
    let mut rule_files: Vec<RuleFile> = Vec::new();
    match RuleBook::of_config(config, zone) {
        // That the cards cannot be read was said above.
        Err(StationError::Keyring(_)) => {}
        Err(error) => fault(
            "node.rules",
            error.to_string(),
            "every crossing has a rule file named after it: the shipped one, or one that two people signed (ferry rules sign)",
        ),
        Ok(rules) => {
            rule_files.extend(rules.files().map(|(_, file)| file.clone()));
            for route in &config.routes {
                for kind in &route.types {
                    for crossing in borders(config, zone, &route.path) {
                        if rules.get(&crossing).is_some_and(|rules| rules.parcel_type(kind).is_none()) {
                            fault(
                                &format!("route {}.types", route.name),
                                format!(
                                    "the rules of {crossing} do not register the type {kind}: all of it would be refused there"
                                ),
                                "register the type in the crossing's rule file, or correct its name",
                            );
                        }
                    }
                }
            }
        }
    }
    let guard_line = match Sandbox::locked().layers() {
        Ok(Some(layers)) => {
            if layers.are_weak() {
                warnings.push(format!("the guard's workers lack a lock: {layers}"));
            }
            format!("guard: in worker processes; {layers}")
        }
        Ok(None) => "guard: in this process".to_owned(),
        Err(error) => {
            fault(
                "guard",
                format!("no worker process can be started: {error}"),
                "a unit or container must let this program start itself anew: compare it with the shipped unit",
            );
            "guard: no worker process can be started".to_owned()
        }
    };
    let believed = keyring::believed(&config.node).unwrap_or_default();
    let foreign = if profile == Some("gm") { not_national(config, &believed) } else { Vec::new() };
    if profile == Some("gm") {
        warnings.extend(OUTSIDE_OF_IT.map(|words| format!("not national, whatever the config: {words}")));
    }
    if let Some(other) = profile.filter(|profile| *profile != "gm") {
        fault("--profile", format!("\"{other}\" is no profile"), "the only profile is gm");
    }
    let mut active = active(zone, config);
    active.insert(2, guard_line);
    active.extend(rule_files.iter().flat_map(RuleFile::told));
    active.insert(3, format!("keys: {}", spool::memory::guard()));
    print_faults(path, text, &faults, out);
    for warning in &warnings {
        out.say(&format!("warning: {warning}"), &format!("警告：{warning}"));
    }
    for primitive in &foreign {
        out.say(&format!("not national: {primitive}"), &format!("非国密：{primitive}"));
    }
    let value = json!({
        "ok": faults.is_empty() && foreign.is_empty(),
        "faults": faults,
        "warnings": warnings,
        "not_national": foreign,
        "active": active,
        "rules": rule_files.iter().map(RuleFile::shown).collect::<Vec<_>>(),
    });
    if out.json() || (faults.is_empty() && foreign.is_empty()) {
        out.result(&value, || {
            let lines: Vec<String> = active.iter().map(|line| format!("  {line}")).collect();
            format!("{}\n{}", out.pick("the config is sound; active:", "配置无误；当前生效："), lines.join("\n"))
        });
    }
    if !faults.is_empty() {
        Exit::Config
    } else if foreign.is_empty() {
        Exit::Done
    } else {
        Exit::Refused
    }
}

/// What the disk says of the inlets: who waits to be taken, and where nobody can say who still writes.
fn inlets<L>(config: &Config<L>) -> Vec<String> {
    let layout = spool::Layout::new(&config.node.spool);
    let mut found = Vec::new();
    for route in config.routes.iter().filter(|route| route.path.first() == Some(&config.node.name)) {
        let notices = layout.notices(&route.name);
        let ends = |name: &std::ffi::OsStr| name.to_string_lossy().ends_with(".waiting.json");
        let waiting = std::fs::read_dir(&notices)
            .map_or(0, |entries| entries.flatten().filter(|entry| ends(&entry.file_name())).count());
        if waiting > 0 {
            found.push(format!(
                "route {}: {waiting} drops cannot be taken; {}/*.waiting.json say why (most often: drop with umask 0002)",
                route.name,
                notices.display()
            ));
        }
        if let Some(kind) = spool::remote_file_system(&layout.inlet(&route.name)) {
            let settle = if route.intake == Some(IntakeWord::Settle) {
                ", and whether an app still writes cannot be known: use rename or ready, or a long settle_s"
            } else {
                ""
            };
            found.push(format!(
                "route {}: its inlet is on {kind}: it is looked at every five seconds only{settle}",
                route.name
            ));
        }
    }
    found
}

/// The crossings by which a route comes to this node and goes on from it.
fn borders<L>(config: &Config<L>, zone: Zone, path: &[Name]) -> Vec<Crossing> {
    let Some(place) = path.iter().position(|node| *node == config.node.name) else { return Vec::new() };
    let zone_of = |at: usize| config.peer(path.get(at)?).map(|peer| peer.zone);
    let inward = place.checked_sub(1).and_then(zone_of).and_then(|from| Crossing::between(from, zone));
    let outward = zone_of(place + 1).and_then(|to| Crossing::between(zone, to));
    inward.into_iter().chain(outward).collect()
}

fn active<L: Links>(zone: Zone, config: &Config<L>) -> Vec<String> {
    let mut lines = vec![
        format!("node {} in zone {zone}, suite {}", config.node.name, config.node.suite),
        format!("spool {}", config.node.spool.display()),
    ];
    lines.extend(config.peers.iter().map(|peer| {
        format!("peer {} in {}: send by {:?}, receive by {:?}", peer.name, peer.zone, peer.send, peer.receive)
            .to_lowercase()
    }));
    lines.extend(config.routes.iter().map(|route| {
        let path: Vec<&str> = route.path.iter().map(Name::as_str).collect();
        format!("route {}: {}", route.name, path.join(" -> "))
    }));
    lines
}

/// Every primitive in use that is not national: by the config, the cards that are believed, and what the disk holds already.
fn not_national<L: Links>(config: &Config<L>, trust: &Trust) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    if config.node.suite == Suite::Std {
        let all = [
            "signatures: Ed25519",
            "key wrap: HPKE with X25519 and AES-256-GCM",
            "payload: AES-256-GCM",
            "digests and ledger: SHA-256",
        ];
        found.extend(all.map(str::to_owned));
    } else {
        found.extend(of_another_suite(config, trust));
    }
    if config.peers.iter().any(|peer| peer.uses(Carrier::Quic)) {
        found.push("gateway transport: TLS 1.3 with X25519, ML-KEM or NIST curves, AES-GCM or ChaCha20-Poly1305, SHA-2, and Ed25519 link keys (transport only; the bundle's own seal is what protects content)".to_owned());
    }
    if config.peers.iter().any(|peer| peer.uses(Carrier::Ferry)) {
        found.push("media of the hand ferry: SHA256SUMS (against errors of copying only; the signed waybill is what protects them)".to_owned());
    }
    found
}

/// What a node of suite `gm` uses of the other suite all the same.
fn of_another_suite<L>(config: &Config<L>, trust: &Trust) -> Vec<String> {
    let means = |usage| match usage {
        Use::Seal => "HPKE with X25519 and AES-256-GCM",
        Use::Sign | Use::Link => "Ed25519",
    };
    let foreign = trust.cards().filter(|card| card.suite == Suite::Std && card.usage != Use::Link);
    let mut found: Vec<String> = foreign
        .map(|card| format!("{} key of {} ({}): {}, SHA-256", card.usage, card.holder, card.role, means(card.usage)))
        .collect();
    found.sort();
    let ledger = spool::Layout::new(&config.node.spool).ledger();
    if spool::suite_of_ledger(&ledger) == Some(Suite::Std) {
        found.push(
            "ledger: SHA-256, fixed when it was made (a spool of a new folder begins with the suite of the config)"
                .to_owned(),
        );
    }
    let backup = config.backup.as_ref().and_then(|backup| crate::backup::sealing_key(backup, trust).ok());
    if backup.is_some_and(|key| key.suite() == Suite::Std) {
        found.push("backups: HPKE with X25519 and AES-256-GCM, SHA-256".to_owned());
    }
    found
}

/// What no config of this program changes, for whoever assesses an office by the national profile.
const OUTSIDE_OF_IT: [&str; 3] = [
    "random numbers come from the kernel's generator (ChaCha20, BLAKE2s)",
    "people's key files are kept under scrypt and AES-256; a key in a device (exec:) has no such file",
    "PDF files with an open lock are read with the RC4, AES, MD5 and SHA-2 that they prescribe",
];
