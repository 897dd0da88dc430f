//! `open BUNDLE --key FILE --trust DIR --out DIR`: a security officer looks at what a node outside held. No config, no
//! daemon, no spool: an officer's own machine in the internal zone, and the key from the safe.

use std::path::{Path, PathBuf};

use protocol::Zone;
use serde_json::json;

use super::backup::passphrase;
use super::{Exit, Words};
use crate::keyring::load_trust;
use crate::look::{Look, LookError, look};
use crate::restore::opening_key;

/// How a name or a path inside a container reaches a screen: what would move the cursor or turn the line does not.
fn shown(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if c.is_control() || turns(c) { '?' } else { c }).collect()
}

/// What the officer has brought.
pub(super) struct Brought<'a> {
    pub(super) bundle: &'a Path,
    pub(super) key: &'a Path,
    pub(super) trust: Option<&'a Path>,
    pub(super) passphrase_file: Option<&'a Path>,
    pub(super) folder: &'a Path,
}

/// Opens, tells, and leaves the content where it was asked for.
pub(super) fn open(zone: Zone, asked: &Brought<'_>, out: &Words) -> Exit {
    if !zone.may_hold_coordinates() {
        out.error(
            out.pick("what is held is opened inside the internal zone only", "隔离件只能在业务内网区拆封"),
            "take the bundle there, and open it with intranet-node open BUNDLE --key FILE --trust DIR --out DIR",
            "请携带至业务内网，用 intranet-node open 密封包 --key 私钥 --trust 信任库 --out 目录 拆封",
        );
        return Exit::Refused;
    }
    let Some(trust) = asked.trust else {
        out.error(
            out.pick("--key needs --trust: who held it must be proven", "--key 须与 --trust 同用：须验证由谁隔离"),
            "name a copy of the trust folder with --trust",
            "请用 --trust 指定信任库副本",
        );
        return Exit::Config;
    };
    if asked.key.to_str().is_some_and(|key| key.starts_with("exec:")) {
        out.error(
            out.pick("a program in the place of a key signs and opens nothing", "exec: 程序只能签名，不能拆封"),
            "name the file of the security key, security.seal.key.pem",
            "请指定安全密钥文件 security.seal.key.pem",
        );
        return Exit::Config;
    }
    let said = passphrase(asked.passphrase_file);
    let key = match said.and_then(|said| opening_key(asked.key, said.as_deref())) {
        Ok(key) => key,
        Err(error) => {
            out.error(
                &error.to_string(),
                "the security key is security.seal.key.pem; an encrypted one needs --passphrase-file or TRILOCK_PASSPHRASE",
                "安全密钥为 security.seal.key.pem；加密的私钥需要 --passphrase-file 或 TRILOCK_PASSPHRASE",
            );
            return Exit::Config;
        }
    };
    let trust = match load_trust(trust) {
        Ok(trust) => trust,
        Err(error) => {
            out.error(&error.to_string(), "name a folder of key cards with --trust", "请用 --trust 指定公钥卡目录");
            return Exit::Config;
        }
    };
    match look(asked.bundle, &key, &trust, asked.folder) {
        Ok(seen) => {
            tell(&seen, out);
            Exit::Done
        }
        Err(error) => refused(&error, out),
    }
}

fn tell(seen: &Look, out: &Words) {
    let files: Vec<&str> = seen.manifest.files.iter().map(|file| file.path.as_str()).collect();
    let findings: Vec<&str> = seen.findings().collect();
    let reason = seen.label("reason").unwrap_or("-");
    let said = json!({
        "parcel": seen.statement.parcel.to_string(), "held_by": seen.statement.origin, "at": seen.entry.at.to_string(),
        "crossing": seen.entry.crossing.name(), "rules": seen.entry.rules, "reason": reason, "findings": findings,
        "found": seen.label("findings"), "name": seen.manifest.name, "files": files, "folder": seen.place,
    });
    out.result(&said, || {
        let rows = [
            (out.pick("parcel", "投递件"), seen.statement.parcel.to_string()),
            (out.pick("held by", "隔离节点"), seen.statement.origin.to_string()),
            (out.pick("at", "时间"), seen.entry.at.to_string()),
            (out.pick("crossing", "跨区段"), seen.entry.crossing.to_string()),
            (out.pick("rules", "规则版本"), seen.entry.rules.clone()),
            (out.pick("reason", "原因"), reason.to_owned()),
        ];
        let mut lines: Vec<String> = rows.iter().map(|(what, value)| format!("{what}: {}", shown(value))).collect();
        let found = out.pick("found", "命中");
        lines.extend(findings.iter().map(|finding| format!("{found}: {}", shown(finding))));
        let name = shown(&seen.manifest.name);
        let told = out.pick("opened, every signature and byte proven", "已拆封，签名与内容均已验证");
        lines.push(format!("{told}: {}/{name} ({})", seen.place.display(), files.len()));
        lines.push(
            out.pick("it is in the clear there: remove it when you have looked", "该目录内为明文，查看后请清除")
                .to_owned(),
        );
        lines.join("\n")
    });
}

fn refused(error: &LookError, out: &Words) -> Exit {
    let path = |path: &PathBuf| path.display().to_string();
    let (chinese, remedy_en, remedy_zh) = match error {
        LookError::Io { path: place, cause } => (
            format!("{}：{cause}", path(place)),
            "look at the disk and at the paths; nothing was written",
            "请检查磁盘与路径；未写入任何内容",
        ),
        LookError::InSpool { path: place, spool } => (
            format!("{} 位于存转区 {} 之内", path(place), path(spool)),
            "name a folder of your own, outside every spool, with --out",
            "请用 --out 指定存转区之外的本人目录",
        ),
        LookError::There { path: place } => (
            format!("{} 已存在", path(place)),
            "name a folder that is not there yet with --out",
            "请用 --out 指定尚不存在的目录",
        ),
        LookError::NotHeld { path: place, target } => (
            format!("{} 封装给 {target}，不是隔离件", path(place)),
            "`ferry held --parcel ID --out FILE` at the node that held it gives the right file",
            "请在隔离该件的节点执行 ferry held --parcel 编号 --out 文件",
        ),
        LookError::RetiredKey { path: place, recipient, given } => (
            format!("{} 封装给已停用的安全密钥 {recipient}，所给密钥为 {given}", path(place)),
            "take the earlier key, of that fingerprint, from the safe",
            "请从保险柜取用该指纹的原密钥",
        ),
        LookError::OtherKey { path: place, recipient, given } => (
            format!("{} 未封装给所给密钥 {given}，而是 {recipient}", path(place)),
            "the key of that fingerprint opens it; compare it with the office's security card",
            "须使用该指纹的密钥；请与安全密钥公钥卡核对",
        ),
        LookError::Damaged { path: place, cause } => (
            format!("{} 已损坏或与其声明不符：{cause}", path(place)),
            "ask the node for it again; where it is damaged there too, its disk is failing",
            "请向节点重新申请；若仍损坏，则该节点磁盘有故障",
        ),
    };
    out.error(out.pick(&error.to_string(), &chinese), remedy_en, remedy_zh);
    match error {
        LookError::Io { .. } => Exit::Disk,
        _ => Exit::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn a_name_inside_what_was_held_cannot_move_the_cursor_or_turn_the_line_around() {
        assert_eq!(shown("a\u{1b}[2J\n!界址点.txt"), "a?[2J?!界址点.txt");
        assert_eq!(shown("\u{202e}txt.exe"), "?txt.exe");
    }
}
