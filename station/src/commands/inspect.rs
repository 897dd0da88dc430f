//! `inspect`: would this cross? One verdict a path, asked of the same guard that decides at work.

use std::path::{Path, PathBuf};

use guard::{DetectVerdict, Judgement, Moment, Parcel, Question};
use protocol::{Crossing, Digest, Name, Suite, Zone};
use serde_json::{Value, json};

use super::findings::Page;
use super::{Exit, Links, Words};
use crate::clock;
use crate::config::{Config, NameEncoding};
use crate::drop::{Drop, DropError};
use crate::rulebook::RuleBook;
use crate::sandbox::Sandbox;

/// The detector reads a file whole; larger ones are for `inspect --route`, which streams.
const DETECT_BYTES_MAX: u64 = 64 << 20;
/// Files whose digests are printed: those that an exception could be about are few.
const DIGESTS_MAX: usize = 100;
/// A file is read in pieces of this size.
const PIECE_BYTES: usize = 256 * 1024;
/// Files walked in one call.
const FILES_MAX: usize = 1_000_000;

/// The detector alone, over files and the files of folders.
pub(super) fn detect(paths: &[PathBuf], report: Option<&Path>, out: &Words) -> Exit {
    let mut page = Page::default();
    let mut files = Vec::new();
    for path in paths {
        if collect(path, &mut files).is_err() {
            out.error(
                &format!("{}: cannot be read", path.display()),
                "name files or folders that exist",
                "请指定存在的文件或目录",
            );
            return Exit::Disk;
        }
    }
    let sandbox = Sandbox::locked();
    let mut worst = Exit::Done;
    for path in files {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let small = std::fs::metadata(&path).is_ok_and(|meta| meta.len() <= DETECT_BYTES_MAX);
        let (verdict, findings) = match small.then(|| std::fs::read(&path)) {
            Some(Ok(bytes)) => match detect_one(&sandbox, &name, &bytes) {
                Ok(found) => found,
                Err(error) => return no_worker(&error, out),
            },
            _ => (DetectVerdict::Uninspectable, Vec::new()),
        };
        if verdict != DetectVerdict::Clean {
            worst = Exit::Refused;
        }
        page.take(&path, verdict.name(), &findings);
        print(&path, verdict.name(), &findings, &[], out);
    }
    written(page, "inspect --detect", report, worst, out)
}

/// The page, where one was asked for; then the exit of what it tells of.
fn written(page: Page, asked: &str, report: Option<&Path>, exit: Exit, out: &Words) -> Exit {
    let Some(path) = report else { return exit };
    let text = page.finish(asked, clock::now());
    match spool::Disk::real().write(path, text.as_bytes()) {
        Ok(()) => exit,
        Err(error) => {
            out.error(
                &format!("{}: {error}", path.display()),
                "name a file in a folder that is there and yours",
                "请指定本人可写的已有目录中的文件",
            );
            Exit::Disk
        }
    }
}

/// No crossing is asked about, so the workers are those of any; the one that met something is not asked again.
fn detect_one(
    sandbox: &Sandbox,
    name: &str,
    bytes: &[u8],
) -> Result<(DetectVerdict, Vec<guard::Finding>), std::io::Error> {
    let mut visit = sandbox.visit(Crossing::ALL[0]);
    let found = guard::detect_by(&mut visit, name, bytes);
    match (visit.trouble(), found) {
        (Some(error), _) => Err(error),
        (None, Ok(found)) => Ok((found.verdict, found.findings)),
        (None, Err(silence)) => Ok((DetectVerdict::Uninspectable, vec![silence.finding(name)])),
    }
}

fn no_worker(error: &std::io::Error, out: &Words) -> Exit {
    out.error(&error.to_string(), "run `check`: its line guard says what is wrong", "请运行 check，查看 guard 一行");
    Exit::Disk
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let meta = std::fs::metadata(path)?;
    if meta.is_dir() {
        let mut inside =
            std::fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
        inside.sort();
        for entry in inside {
            let link = std::fs::symlink_metadata(&entry)?.is_symlink();
            if !link && files.len() < FILES_MAX {
                collect(&entry, files)?;
            }
        }
    } else {
        files.push(path.to_owned());
    }
    Ok(())
}

fn print(path: &Path, verdict: &str, findings: &[guard::Finding], digests: &[(String, Digest)], out: &Words) {
    let rows: Vec<Value> = findings
        .iter()
        .map(|f| json!({ "rule": f.rule, "class": f.class.name(), "at": f.at, "sample": f.sample }))
        .collect();
    let mut line = json!({ "path": path, "verdict": verdict, "findings": rows });
    if !digests.is_empty() {
        let of_files = digests.iter().map(|(file, digest)| json!({ "file": file, "digest": digest.to_string() }));
        line["files"] = of_files.collect();
    }
    out.result(&line, || {
        let mut text = format!("{verdict}  {}", path.display());
        for finding in findings {
            text.push_str(&format!(
                "\n    {} ({}) at {}: {}",
                finding.rule,
                finding.class.name(),
                finding.at,
                finding.sample
            ));
        }
        for (file, digest) in digests {
            text.push_str(&format!("\n    {digest}  {file}"));
        }
        text
    });
}

/// Would these drops cross, by the rules and registered types of a route?
pub(super) fn inspect<L: Links>(
    config: &Config<L>,
    zone: Zone,
    route: Option<&str>,
    paths: &[PathBuf],
    report: Option<&Path>,
    out: &Words,
) -> Exit {
    let rules = match RuleBook::of_config(config, zone) {
        Ok(rules) => rules,
        Err(error) => {
            out.error(&error.to_string(), "run `check`", "请运行 check");
            return Exit::Config;
        }
    };
    let routes: Vec<_> =
        config.routes.iter().filter(|known| route.is_none_or(|route| known.name.as_str() == route)).collect();
    if routes.is_empty() {
        out.error("no such route in this config", "see the [[route]] tables", "配置中没有该路由");
        return Exit::Config;
    }
    let sandbox = Sandbox::locked();
    let mut page = Page::default();
    let mut worst = Exit::Done;
    for path in paths {
        let mut best: Option<(String, &'static str, Vec<guard::Finding>)> = None;
        for route in &routes {
            let Some(crossing) = outward(config, zone, &route.path) else { continue };
            let Some(rules) = rules.get(&crossing) else { continue };
            let (verdict, findings) = match judge(&sandbox, config, rules, route, path) {
                Ok(judged) => judged,
                Err(error) => return no_worker(&error, out),
            };
            let better = verdict == "clean" || verdict == "stripped" || best.is_none();
            if better {
                best = Some((route.name.to_string(), verdict, findings));
            }
        }
        let Some((route, verdict, findings)) = best else {
            out.error(
                "no route leaves from this node",
                "inspect on the node where the route begins",
                "请在路由起点节点上检查",
            );
            return Exit::Config;
        };
        if verdict != "clean" && verdict != "stripped" {
            worst = Exit::Refused;
        }
        out.say(&format!("route {route}:"), &format!("路由 {route}："));
        // Whoever asks for an exception names the file by this.
        let digests = if findings.is_empty() { Vec::new() } else { digests(config.node.suite, path) };
        page.take(path, verdict, &findings);
        print(path, verdict, &findings, &digests, out);
    }
    let asked = route.map_or_else(|| "inspect".to_owned(), |route| format!("inspect --route {route}"));
    written(page, &asked, report, worst, out)
}

/// The digests of a drop's files, as the guard takes them.
fn digests(suite: Suite, path: &Path) -> Vec<(String, Digest)> {
    let Ok(drop) = Drop::read(path, NameEncoding::Gb18030) else { return Vec::new() };
    let of_file = |(index, facts): (usize, &guard::FileFacts)| {
        let mut tree = protocol::tree::Tree::new(suite);
        let mut file = drop.open_file(index).ok()?;
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            match std::io::Read::read(&mut file, &mut piece).ok()? {
                0 => return Some((facts.path.clone(), tree.root())),
                read => tree.update(piece.get(..read)?),
            }
        }
    };
    drop.files().iter().enumerate().take(DIGESTS_MAX).filter_map(of_file).collect()
}

fn outward<L: Links>(config: &Config<L>, zone: Zone, path: &[Name]) -> Option<Crossing> {
    let place = path.iter().position(|node| *node == config.node.name)?;
    Crossing::between(zone, config.peer(path.get(place + 1)?)?.zone)
}

fn judge<L: Links>(
    sandbox: &Sandbox,
    config: &Config<L>,
    rules: &guard::Rules,
    route: &crate::config::RouteSettings,
    path: &Path,
) -> Result<(&'static str, Vec<guard::Finding>), std::io::Error> {
    let drop = match Drop::read(path, route.names) {
        Ok(drop) => drop,
        Err(DropError::Unfit { reason, .. }) => return Ok((reason.name(), Vec::new())),
        Err(DropError::Io { .. }) => return Ok(("unreadable", Vec::new())),
    };
    let question =
        Question { rules, suite: config.node.suite, moment: Moment::Intake, types: &route.types, stripped: false };
    let mut visit = sandbox.visit(rules.crossing());
    let judgement = guard::inspect_by(&mut visit, &question, &[], drop.into());
    if let Some(error) = visit.trouble() {
        return Err(error);
    }
    Ok(match judgement {
        Judgement::Released(_) => ("clean", Vec::new()),
        Judgement::Strip { .. } => ("stripped", Vec::new()),
        Judgement::Refused { reason, findings, .. } | Judgement::Quarantine { reason, findings, .. } => {
            (reason.name(), findings)
        }
    })
}
