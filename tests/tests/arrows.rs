//! The arrows of ARCHITECTURE.md, held by the machine: who may depend on whom, where async stops, what stays out of
//! the tree altogether, and that every dependency says why it is there.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as a test does")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::programs::repository;

/// The crates of this workspace, by the folder they stand in.
const OURS: [(&str, &str); 13] = [
    ("internet-node", "internet-node"),
    ("extranet-node", "extranet-node"),
    ("intranet-node", "intranet-node"),
    ("ferry", "ferry"),
    ("protocol", "protocol"),
    ("wide", "protocol/wide"),
    ("guard", "guard"),
    ("spool", "spool"),
    ("station", "station"),
    ("quic-link", "links/quic"),
    ("diode-link", "links/diode"),
    ("folder-link", "links/folder"),
    ("tests", "tests"),
];
/// The platform floor. Other targets are neither built nor shipped.
const TARGETS: [&str; 2] = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"];

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).current_dir(repository()).args(arguments).output().unwrap();
    assert!(output.status.success(), "cargo {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Every package in the tree of one, with the features it is built with.
fn tree(package: &str, edges: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for target in TARGETS {
        let all =
            ["tree", "--offline", "--locked", "--prefix", "none", "-f", "{p}|{f}", "-e", edges, "--target", target];
        let of: &[&str] = if package == "--workspace" { &["--workspace"] } else { &["-p", package] };
        for line in cargo(&[&all, of].concat()).lines().filter(|line| !line.is_empty()) {
            let (name, features) = line.trim_end_matches(" (*)").split_once('|').unwrap();
            let name = name.split(' ').next().unwrap().to_owned();
            found.entry(name).or_default().extend(features.split(',').filter(|f| !f.is_empty()).map(str::to_owned));
        }
    }
    assert!(found.len() > 1, "cargo tree shows the tree of {package}");
    found
}

fn ours_below(package: &str) -> BTreeSet<String> {
    let mut below: BTreeSet<String> = tree(package, "normal").into_keys().collect();
    below.retain(|name| name != package && OURS.iter().any(|(ours, _)| ours == name));
    below
}

fn assert_none(package: &str, forbidden: &[&str]) {
    let tree = tree(package, "normal,build");
    for name in forbidden {
        assert!(!tree.contains_key(*name), "{package} depends on {name}: cargo tree -p {package} -i {name}");
    }
}

/// Every file of the repository below a folder, without what is built or kept by git.
fn files(below: &Path, suffix: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(below).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || name == "target" {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&path, suffix));
        } else if name.ends_with(suffix) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The lines of a source that are code, with their numbers: no comment lines.
fn code(path: &Path) -> Vec<(usize, String)> {
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
    lines.map(|(number, line)| (number + 1, line.to_owned())).collect()
}

/// A word that does not go on as another word.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let after = line.get(at + word.len()..).and_then(|rest| rest.chars().next());
        let before = line.get(..at).and_then(|rest| rest.chars().next_back());
        let joins = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        !joins(after) && (word.starts_with(['.', '#']) || !joins(before))
    })
}

fn assert_in_no_source(words: &[&str], may: impl Fn(&Path) -> bool) {
    let root = repository();
    // This file names what it forbids.
    let this = root.join("tests/tests/arrows.rs");
    let mut found = Vec::new();
    for path in files(&root, ".rs").into_iter().filter(|path| *path != this && !may(path)) {
        for (number, line) in code(&path) {
            if words.iter().any(|word| has_word(&line, word)) {
                found.push(format!("{}:{number}: {}", path.strip_prefix(&root).unwrap().display(), line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{words:?} in\n{}", found.join("\n"));
}

#[test]
fn the_internal_zones_node_knows_no_runtime_no_tls_and_no_quic() {
    let async_and_tls = ["tokio", "quinn", "quinn-proto", "rustls", "rustls-pki-types", "quic-link", "hyper", "smol"];
    assert_none("intranet-node", &async_and_tls);
}

#[test]
fn links_carry_sealed_bundles_and_never_see_guard_or_station() {
    for link in ["quic-link", "diode-link", "folder-link"] {
        assert_none(link, &["guard", "station"]);
        assert_eq!(ours_below(link), BTreeSet::from(["protocol", "spool", "wide"].map(str::to_owned)), "{link}");
    }
    for link in ["diode-link", "folder-link"] {
        assert_none(link, &["tokio", "quinn", "rustls"]);
    }
}

#[test]
fn ferry_cannot_open_a_bundle_nor_own_a_spool() {
    assert_none("ferry", &["guard", "station", "redb", "notify", "tokio", "quinn", "rustls", "quic-link"]);
    let tree = tree("ferry", "normal");
    for (package, feature) in [("protocol", "open"), ("spool", "owner")] {
        let features = tree.get(package).unwrap();
        assert!(!features.contains(feature), "ferry builds {package} with the feature {feature}");
        // The feature exists: a test of a word that was renamed would hold for ever.
        let manifest = fs::read_to_string(repository().join(package).join("Cargo.toml")).unwrap();
        assert!(manifest.lines().any(|line| line.starts_with(&format!("{feature} = "))), "{package} has no {feature}");
    }
}

#[test]
fn what_every_node_does_knows_no_transport() {
    assert_none("station", &["quic-link", "diode-link", "folder-link", "tokio", "quinn", "rustls"]);
    assert_eq!(ours_below("station"), BTreeSet::from(["guard", "protocol", "spool", "wide"].map(str::to_owned)));
}

#[test]
fn guard_and_spool_know_the_protocol_only_and_the_protocol_its_kernels_only() {
    let below = BTreeSet::from(["protocol", "wide"].map(str::to_owned));
    assert_eq!(ours_below("guard"), below);
    assert_eq!(ours_below("spool"), below);
    assert_eq!(ours_below("protocol"), BTreeSet::from(["wide".to_owned()]));
    assert_eq!(ours_below("wide"), BTreeSet::new());
}

#[test]
fn only_the_protocol_calls_the_kernels_and_only_tests_know_what_they_replaced() {
    let who = |dependency: &str, tables: &[&str]| {
        let mut who = Vec::new();
        for (name, folder) in OURS {
            let text = fs::read_to_string(repository().join(folder).join("Cargo.toml")).unwrap();
            let manifest: toml::Table = text.parse().unwrap();
            let asks = |table: &&str| manifest.get(*table).is_some_and(|table| table.get(dependency).is_some());
            if tables.iter().any(asks) {
                who.push(name);
            }
        }
        who
    };
    let (shipped, all) = (["dependencies"].as_slice(), ["dependencies", "dev-dependencies"].as_slice());
    assert_eq!(who("wide", all), ["protocol", "tests"]);
    for stock in ["sm4", "aes-gcm"] {
        assert_eq!(who(stock, shipped), ["tests"], "{stock}");
    }
}

#[test]
fn each_program_has_the_links_of_its_zone() {
    let links = |package: &str| {
        let mut links = ours_below(package);
        links.retain(|name| name.ends_with("-link"));
        links.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(links("internet-node"), ["folder-link", "quic-link"]);
    assert_eq!(links("extranet-node"), ["diode-link", "folder-link", "quic-link"]);
    assert_eq!(links("intranet-node"), ["diode-link", "folder-link"]);
    assert_eq!(links("ferry"), Vec::<String>::new());
}

#[test]
fn what_was_weighed_and_left_out_stays_out() {
    let tree = tree("--workspace", "normal,build,dev");
    for name in ["bincode", "sled", "sm-crypto", "openssl", "openssl-sys", "native-tls", "ring", "async-std", "smol"] {
        assert!(!tree.contains_key(name), "{name} came back: cargo tree --workspace -i {name}");
    }
}

#[test]
fn async_stops_at_links_quic() {
    let quic = repository().join("links/quic");
    assert_in_no_source(&["async fn", ".await", "async move", "tokio::"], |path| path.starts_with(&quic));
}

#[test]
fn no_program_parses_content_beside_its_keys() {
    let at_work = ["guard::inspect(", "guard::detect(", "guard::answer(", "InProcess"];
    let station = repository().join("station/src");
    let mut found = Vec::new();
    for path in files(&station, ".rs") {
        // The inside of a worker, and the simulated world's way around it.
        if path.ends_with("sandbox/cell.rs") || path.ends_with("src/sandbox.rs") {
            continue;
        }
        found.extend(code(&path).into_iter().filter(|(_, line)| at_work.iter().any(|word| line.contains(word))));
    }
    assert!(found.is_empty(), "the daemon has content parsed by workers: {found:?}");
    let unlocked = "Sandbox::in_process()";
    assert_in_no_source(&["in_process"], |path| {
        path.starts_with(repository().join("tests")) || path.ends_with("src/sandbox.rs")
    });
    let world = fs::read_to_string(repository().join("tests/src/world.rs")).unwrap();
    assert!(world.contains(unlocked), "the word is still the one in use");
}

#[test]
fn nothing_is_left_to_do_and_no_test_is_passed_over() {
    assert_in_no_source(&["todo!", "unimplemented!"], |_| false);
    assert_in_no_source(&["#[ignore"], |_| false);
}

/// The files with the kernels of one kind of processor: the only ones with unsafe code.
fn kernels() -> Vec<PathBuf> {
    let sources = repository().join("protocol/wide/src");
    ["ghash/carryless.rs", "leaves/avx2.rs", "leaves/avx512.rs", "sm4/avx2.rs", "sm4/avx512.rs"]
        .map(|path| sources.join(path))
        .to_vec()
}

#[test]
fn unsafe_code_stands_in_the_kernels_alone() {
    let kernels = kernels();
    let words = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "#[unsafe"];
    assert_in_no_source(&words, |path| kernels.iter().any(|kernel| kernel == path));
    for kernel in &kernels {
        assert!(code(kernel).iter().any(|(_, line)| line.contains("unsafe {")), "{} has none", kernel.display());
    }
    // Every other crate has the workspace's lints, which forbid it.
    for (name, folder) in OURS {
        let text = fs::read_to_string(repository().join(folder).join("Cargo.toml")).unwrap();
        let manifest: toml::Table = text.parse().unwrap();
        let inherits = manifest["lints"].get("workspace").and_then(toml::Value::as_bool) == Some(true);
        assert_eq!(inherits, name != "wide", "{name}");
    }
}

#[test]
fn each_piece_of_unsafe_code_is_one_call_with_its_argument_above_it() {
    for path in kernels() {
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate().filter(|(_, line)| line.contains("unsafe {")) {
            let place = format!("{}:{}", path.display(), number + 1);
            let above = number.checked_sub(1).and_then(|above| lines.get(above)).unwrap_or(&"").trim_start();
            assert!(above.starts_with("// SAFETY: "), "{place} does not say why it is safe");
            assert_eq!(line.matches("unsafe {").count(), 1, "{place}");
            assert!(line.contains('}'), "{place} is more than one call");
        }
        // No pointer is made or moved but where it is handed to the instruction that reads or writes one whole array.
        for (number, line) in code(&path) {
            let outside =
                ["transmute", "from_raw", "get_unchecked", ".add(", ".offset(", "*const", "*mut", "static mut"];
            for word in outside {
                assert!(!line.contains(word), "{}:{number}: {word}", path.display());
            }
        }
    }
}

#[test]
fn no_folder_or_file_is_called_by_a_word_that_means_nothing() {
    let root = repository();
    let means_nothing = ["utils", "util", "common", "helpers", "helper", "core", "misc", "shared", "lib2"];
    for path in files(&root, "") {
        let inside = path.strip_prefix(&root).unwrap();
        for part in inside.components() {
            let part = part.as_os_str().to_string_lossy();
            let stem = part.split('.').next().unwrap_or_default();
            assert!(!means_nothing.contains(&stem), "{}", inside.display());
        }
    }
}

#[test]
fn the_station_asks_a_zone_what_it_may_and_never_which_it_is() {
    let root = repository();
    let words = ["Internet", "Extranet", "Intranet"].map(|zone| format!("Zone::{zone}"));
    let crossings = ["InternetTo", "ExtranetTo", "IntranetTo"].map(|from| format!("Crossing::{from}"));
    let strings = ["internet", "extranet", "intranet"].map(|zone| format!("\"{zone}\""));
    let mut found = Vec::new();
    for path in files(&root.join("station/src"), ".rs") {
        // What the internal zone's config may never say is the one rule of the zones that station holds.
        let may = path.ends_with("src/config.rs");
        let lines = code(&path);
        let shipped = lines.iter().take_while(|(_, line)| !line.contains("#[cfg(test)]"));
        for (number, line) in shipped {
            let names_a_zone = strings.iter().any(|word| line.contains(word.as_str()));
            let asks_which = words.iter().chain(&crossings).any(|word| line.contains(word.as_str()));
            if names_a_zone || (asks_which && !may) {
                found.push(format!("{}:{number}: {}", path.strip_prefix(&root).unwrap().display(), line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "station names a zone:\n{}", found.join("\n"));
}

/// The lines of `[workspace.dependencies]`, each with whether a comment stands in its block above it.
fn workspace_dependencies() -> Vec<(String, bool)> {
    let text = fs::read_to_string(repository().join("Cargo.toml")).unwrap();
    let mut inside = false;
    let mut argued = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.starts_with('[') {
            inside = line == "[workspace.dependencies]";
        } else if line.trim().is_empty() {
            argued = false;
        } else if line.starts_with('#') {
            argued = true;
        } else if inside && let Some((name, _)) = line.split_once('=') {
            found.push((name.trim().to_owned(), argued));
        }
    }
    found
}

#[test]
fn every_dependency_says_why_and_none_is_there_for_nothing() {
    let manifests: Vec<(String, toml::Table)> = OURS
        .iter()
        .map(|(_, folder)| {
            let text = fs::read_to_string(repository().join(folder).join("Cargo.toml")).unwrap();
            ((*folder).to_owned(), text.parse().unwrap())
        })
        .collect();
    let mut used = BTreeSet::new();
    for (member, manifest) in &manifests {
        for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(dependencies) = manifest.get(table).and_then(toml::Value::as_table) else { continue };
            for (name, value) in dependencies {
                if value.get("workspace").and_then(toml::Value::as_bool) == Some(true) {
                    used.insert(name.clone());
                } else {
                    // A dependency of one crate alone: its reason stands in that crate's manifest.
                    let text = fs::read_to_string(repository().join(member).join("Cargo.toml")).unwrap();
                    let lines: Vec<&str> = text.lines().collect();
                    let at = lines.iter().position(|line| line.starts_with(name.as_str())).unwrap();
                    let argued = at > 0 && lines.get(at - 1).is_some_and(|line| line.starts_with('#'));
                    assert!(argued, "{member} depends on {name} without a reason above it");
                }
            }
        }
    }
    let listed = workspace_dependencies();
    assert!(listed.len() > 30, "the list was read");
    let silent: Vec<&str> = listed.iter().filter(|(_, argued)| !argued).map(|(name, _)| name.as_str()).collect();
    assert!(silent.is_empty(), "no reason in the root Cargo.toml for {silent:?}");
    let idle: Vec<&str> = listed.iter().map(|(name, _)| name.as_str()).filter(|name| !used.contains(*name)).collect();
    assert!(idle.is_empty(), "used by no crate, to be removed from the root Cargo.toml: {idle:?}");
}

#[test]
fn every_crate_of_the_workspace_is_known_here() {
    let text = fs::read_to_string(repository().join("Cargo.toml")).unwrap();
    let manifest: toml::Table = text.parse().unwrap();
    let members = manifest["workspace"]["members"].as_array().unwrap();
    let members: BTreeSet<&str> = members.iter().filter_map(toml::Value::as_str).collect();
    assert_eq!(members, OURS.iter().map(|(_, folder)| *folder).collect());
}
