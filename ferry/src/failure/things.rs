//! What is said of the things that every command handles: folders, files, papers, media, the desk, trust and keys.

use crate::copying::CopyError;
use crate::desk::DeskError;
use crate::folder::FolderError;
use crate::keyfile::{KeyFileError, PASSPHRASE_CHARS_MIN};
use crate::medium::MediumError;
use crate::papers::PapersError;
use crate::trustdir::TrustDirError;
use crate::volume::{PlanError, VolumeError};
use crate::words::{Language, groups, say, shown, size};
use protocol::signer::SignError;
use spool::device::PASSPHRASE_ENV;

use super::{DISK, Failure, REFUSED, USAGE, failure, remedies};

pub(super) fn folder(error: &FolderError, l: Language) -> Failure {
    let (code, en, zh) = match error {
        FolderError::Missing { .. } => {
            ("missing", "check the path, and that the medium is mounted", "请核对路径，并确认介质已挂载")
        }
        FolderError::NotAFolder { .. } => {
            ("not-a-folder", "name the folder itself; links are not followed", "请直接指向目录；不跟随链接")
        }
        FolderError::NotAFile { .. } => {
            ("not-a-file", "it was not opened; find out who put it there", "未打开；请查明来源")
        }
        FolderError::TooMany { .. } | FolderError::TooLarge { .. } => (
            "over-limit",
            "this is damaged or an attack; set the medium aside and report it",
            "介质损坏或遭篡改；请隔离介质并上报",
        ),
        FolderError::Read { .. } => (
            "read-error",
            "clean the disc or try another drive; the sender can `ferry reexport`",
            "请清洁光盘或更换光驱；发送方可执行 ferry reexport",
        ),
    };
    let sentence = match error {
        FolderError::Missing { path } => {
            let p = shown(path.as_os_str());
            say!(l, "{p} is not there", "{p} 不存在")
        }
        FolderError::NotAFolder { path } => {
            let p = shown(path.as_os_str());
            say!(l, "{p} is no folder", "{p} 不是目录")
        }
        FolderError::NotAFile { path, what } => {
            let p = shown(path.as_os_str());
            say!(l, "{p} is no regular file but a {what}", "{p} 不是普通文件（{what}）")
        }
        FolderError::TooMany { path, limit } => {
            let p = shown(path.as_os_str());
            say!(l, "{p} holds more than {limit} entries", "{p} 中的条目超过上限 {limit}")
        }
        FolderError::TooLarge { path, bytes, limit } => {
            let p = shown(path.as_os_str());
            say!(l, "{p} has {bytes} bytes, over the limit of {limit}", "{p} 有 {bytes} 字节，超过上限 {limit}")
        }
        FolderError::Read { path, cause } => {
            let p = shown(path.as_os_str());
            say!(l, "read error at {p}: {cause}", "读取 {p} 出错：{cause}")
        }
    };
    failure(DISK, code, sentence, l.pick(en, zh))
}

pub(super) fn copy(error: &CopyError, l: Language) -> Failure {
    match error {
        CopyError::Folder(e) => folder(e, l),
        CopyError::Read { path, cause } => {
            let p = shown(path.as_os_str());
            let remedy = l.pick(
                "clean the disc or try another drive; the sender can `ferry reexport`",
                "请清洁光盘或更换光驱；发送方可执行 ferry reexport",
            );
            failure(DISK, "read-error", say!(l, "read error at {p}: {cause}", "读取 {p} 出错：{cause}"), remedy)
        }
        CopyError::Write { path, cause } => {
            let p = shown(path.as_os_str());
            let remedy = l.pick(
                "check that it is writable, yours or your group's, and not full",
                "请检查是否可写、权限（本人或所属组）以及剩余空间",
            );
            failure(DISK, "write-error", say!(l, "write error at {p}: {cause}", "写入 {p} 出错：{cause}"), remedy)
        }
        CopyError::Full { path, needs, has } => {
            let (p, needed, free) = (shown(path.as_os_str()), size(*needs), size(*has));
            let sentence = say!(
                l,
                "not enough space at {p}: needs {needed} ({needs} bytes), has {free} ({has} bytes)",
                "{p} 空间不足：需要 {needed}（{needs} 字节），剩余 {free}（{has} 字节）"
            );
            failure(
                DISK,
                "no-space",
                sentence,
                l.pick(
                    "use a larger medium, or export with --bytes-max",
                    "请换更大的介质，或用 --bytes-max 限制导出量",
                ),
            )
        }
        CopyError::Size { path, stated, found } => {
            let p = shown(path.as_os_str());
            let sentence = say!(
                l,
                "{p} has {found} bytes, the waybill says {stated}",
                "{p} 有 {found} 字节，运单为 {stated} 字节"
            );
            failure(REFUSED, "size-differs", sentence, changed_remedy(l))
        }
        CopyError::Changed { path, stated, found } => {
            let p = shown(path.as_os_str());
            let sentence = say!(
                l,
                "{p} is not the file the waybill names: digest {found}, not {stated}",
                "{p} 与运单不符：摘要为 {found}，应为 {stated}"
            );
            failure(REFUSED, "digest-differs", sentence, changed_remedy(l))
        }
    }
}

fn changed_remedy(l: Language) -> &'static str {
    l.pick(
        "the medium is damaged or was changed: set it aside, report it, and `ferry reexport` the trip on another",
        "介质损坏或被改动：请隔离并上报，用 ferry reexport 在另一介质上重新导出",
    )
}

fn papers(error: &PapersError, l: Language) -> Failure {
    match error {
        PapersError::Folder(e) => folder(e, l),
        PapersError::Waybill { folder, cause } => failure(
            REFUSED,
            "bad-waybill",
            say!(l, "the waybill in {folder}: {cause}", "{folder} 中的运单：{cause}"),
            changed_remedy(l),
        ),
        PapersError::Signature { trip, cause } => failure(
            REFUSED,
            "not-authentic",
            say!(l, "the waybill of trip {trip}: {cause}", "批次 {trip} 的运单：{cause}"),
            l.pick(
                "get the sender's key card, compare its fingerprint by telephone, and put it into the trust folder; else set the medium aside",
                "请取得发送方公钥卡，电话核对指纹后放入信任库；否则隔离介质",
            ),
        ),
        PapersError::Approval { trip, file, cause } => failure(
            REFUSED,
            "bad-approval",
            say!(l, "countersignature {file} of trip {trip}: {cause}", "批次 {trip} 的会签 {file}：{cause}"),
            l.pick(
                "another approver signs with `ferry approve`; an approver is neither exporter nor carrier",
                "请由另一位审批人执行 ferry approve；审批人不得是导出人或携带人",
            ),
        ),
        PapersError::Missing { trip, have, needed } => failure(
            REFUSED,
            "approvals-missing",
            say!(l, "trip {trip} has {have} of {needed} countersignatures", "批次 {trip} 会签 {have}/{needed}，不足"),
            &say!(l, "the sending side runs `ferry approve --trip {trip}` with further keys", "请发送方由其他审批人执行 ferry approve --trip {trip}"),
        ),
    }
}

pub(super) fn medium(error: &MediumError, l: Language) -> Failure {
    match error {
        MediumError::NoMedium { path } => {
            let p = path.display();
            let remedy = l.pick("put it in, mount it, and name the mount point", "请插入并挂载介质，再指定挂载点");
            failure(DISK, "no-medium", say!(l, "no medium at {p}", "{p} 处没有介质"), remedy)
        }
        MediumError::NotOurs { path } => {
            let p = path.display();
            let sentence = say!(
                l,
                "{p} is no medium of ours: it has no folder TRILOCK",
                "{p} 不是本系统的介质：没有 TRILOCK 目录"
            );
            failure(DISK, "not-ours", sentence, l.pick("check which medium is put in", "请核对插入的是哪一张介质"))
        }
        MediumError::NoTrip { path, trip } => {
            let p = path.display();
            let sentence = say!(l, "trip {trip} is not on the medium at {p}", "{p} 处的介质上没有批次 {trip}");
            failure(
                DISK,
                "no-trip",
                sentence,
                l.pick("check the number on the slip and which medium is put in", "请核对交接单上的批次号与插入的介质"),
            )
        }
        MediumError::ReadOnly { path } => {
            let p = path.display();
            let remedy = l.pick(
                "slide its write protection off, or use another medium; no trip was opened",
                "请关闭写保护或换用其他介质；未开批次",
            );
            failure(DISK, "read-only", say!(l, "the medium at {p} is read-only", "{p} 处的介质为只读"), remedy)
        }
        MediumError::Occupied { path } => {
            let p = path.display();
            let sentence = say!(l, "{p} exists and holds something else", "{p} 已存在且内容不同");
            failure(
                REFUSED,
                "occupied",
                sentence,
                l.pick(
                    "use an empty medium or folder; nothing was overwritten",
                    "请使用空介质或空目录；未覆盖任何内容",
                ),
            )
        }
        MediumError::OtherPaper { path, trip, found, wanted } => {
            let (p, found, wanted) = (path.display(), groups(found), groups(wanted));
            let sentence = say!(
                l,
                "{p} holds trip {trip} with waybill {found}, not {wanted}",
                "{p} 中是批次 {trip} 的另一运单 {found}，不是 {wanted}"
            );
            let remedy = say!(
                l,
                "nothing was overwritten. Where that waybill is not to be carried any more, run `rm -r -- '{p}'` and the same command again; otherwise use another medium",
                "未覆盖任何内容。如该运单不再运送，请执行 rm -r -- '{p}' 后重新执行同一命令；否则请换用其他介质"
            );
            failure(REFUSED, "other-waybill-there", sentence, &remedy)
        }
        MediumError::OtherTrip { path, found } => {
            let p = path.display();
            let sentence = say!(l, "folder {p} holds the waybill of trip {found}", "目录 {p} 中是批次 {found} 的运单");
            failure(REFUSED, "other-trip", sentence, changed_remedy(l))
        }
        MediumError::Folder(e) => folder(e, l),
        MediumError::Papers(e) => papers(e, l),
        MediumError::Copy(e) => copy(e, l),
        MediumError::Sign(e) => device(e, l),
        MediumError::Plan(e) => plan(e, l),
        MediumError::Volume(VolumeError::Folder(e)) => folder(e, l),
        MediumError::Volume(e @ VolumeError::Paper { .. }) => failure(
            REFUSED,
            "bad-volume",
            say!(l, "{e}", "卷清单不可用：{e}"),
            l.pick(
                "the trust folder needs the exporter's key card; else the medium was altered: ask the sender",
                "信任库中须有导出人的公钥卡；否则介质已被改动，请联系发送方",
            ),
        ),
        MediumError::Parity(_) | MediumError::OtherExporter(_) => failure(
            REFUSED,
            "not-written",
            say!(l, "the volume was not written: {error}", "未写入该卷：{error}"),
            l.pick("the exporter writes it again with `ferry reexport`", "请由导出人用 ferry reexport 重写"),
        ),
        MediumError::FewMedia { trip, needs, named } => failure(
            USAGE,
            "few-media",
            say!(
                l,
                "trip {trip} needs {needs} volumes, {named} media are named",
                "批次 {trip} 需要 {needs} 卷，只指定了 {named} 张介质"
            ),
            l.pick(
                "name --medium once for each volume, or write folders or images to burn: --out DIR, --iso FILE",
                "请为每一卷各指定一次 --medium，或用 --out、--iso 写出后刻录",
            ),
        ),
    }
}

fn plan(error: &PlanError, l: Language) -> Failure {
    match error {
        PlanError::SmallVolume { trip, needs, has } => failure(
            USAGE,
            "volume-too-small",
            say!(
                l,
                "a volume of {has} bytes is too small for trip {trip}: it needs at least {needs}",
                "每卷 {has} 字节对批次 {trip} 太小：至少需要 {needs}"
            ),
            l.pick("name a larger --volume", "请指定更大的 --volume"),
        ),
        PlanError::ManyVolumes { trip, has } => failure(
            USAGE,
            "too-many-volumes",
            say!(
                l,
                "trip {trip} needs more than 255 volumes of {has} bytes",
                "批次 {trip} 按每卷 {has} 字节超过 255 卷"
            ),
            l.pick("name a larger --volume", "请指定更大的 --volume"),
        ),
        PlanError::LargeParity => failure(
            USAGE,
            "parity-too-large",
            l.pick("a volume with parity holds at most 128 GiB", "带校验数据的卷最多 128 GiB").to_owned(),
            l.pick("name a smaller --volume", "请指定较小的 --volume"),
        ),
    }
}

fn device(error: &SignError, l: Language) -> Failure {
    let code = match error {
        SignError::Refused { .. } => "device-refused",
        SignError::Failed(_) => "device-failed",
        SignError::Foreign(_) => "device-other-key",
    };
    let remedy = l.pick(
        "nothing was asked or changed; check the device, its PIN, and that --card is the card of its key",
        "未提出任何请求；请检查设备与口令，并确认 --card 为该设备密钥的公钥卡",
    );
    failure(REFUSED, code, say!(l, "not signed: {error}", "未签名：{error}"), remedy)
}

pub(super) fn desk(error: &DeskError, l: Language) -> Failure {
    let daemon = l.pick(
        "is the daemon running? `systemctl status` its unit; are you in group trilock-ferry?",
        "守护进程是否在运行？请查看 systemctl status；本人是否在 trilock-ferry 组？",
    );
    match error {
        DeskError::WhichSpool { found } => failure(
            USAGE,
            "which-spool",
            say!(
                l,
                "no spool was named, and {found} are under /var/lib/trilock",
                "未指定存转区，/var/lib/trilock 下有 {found} 个"
            ),
            l.pick("name it: --spool DIR, or TRILOCK_SPOOL", "请用 --spool DIR 或 TRILOCK_SPOOL 指定"),
        ),
        DeskError::Sign(e) => device(e, l),
        DeskError::Folder(e) => {
            let told = folder(e, l);
            Failure { remedy: daemon.to_owned(), ..told }
        }
        DeskError::Snapshot { path, cause } => {
            let p = path.display();
            failure(DISK, "bad-snapshot", say!(l, "{p}: {cause}", "{p}：{cause}"), daemon)
        }
        DeskError::NoFerry { node } => failure(
            USAGE,
            "no-ferry",
            say!(l, "node {node} has no ferry crossing in its config", "节点 {node} 的配置中没有摆渡跨区段"),
            l.pick(
                "name another node's spool, or add the crossing to its config",
                "请指定另一节点的存转区，或在配置中加入摆渡跨区段",
            ),
        ),
        DeskError::Ask(e) => {
            failure(DISK, "no-answer", say!(l, "the node gave no answer: {e}", "节点没有答复：{e}"), daemon)
        }
        DeskError::Refused(answer) => {
            let code = answer.code.clone();
            let words = l.pick(&answer.message_en, &answer.message_zh);
            Failure {
                exit: REFUSED,
                sentence: say!(l, "the node refused ({code}): {words}", "节点拒绝（{code}）：{words}"),
                remedy: remedies::of(answer, l),
                code,
            }
        }
        DeskError::Answer { action, field } => failure(
            DISK,
            "bad-answer",
            say!(l, "the node's answer to {action} lacks \"{field}\"", "节点对 {action} 的答复缺少“{field}”"),
            l.pick(
                "ferry and daemon are of different versions; install the same",
                "ferry 与守护进程版本不一致；请安装同一版本",
            ),
        ),
    }
}

pub(super) fn trust(error: &TrustDirError, l: Language) -> Failure {
    match error {
        TrustDirError::Folder(e) => folder(e, l),
        TrustDirError::Card { path, cause } => {
            let p = path.display();
            let remedy = l.pick(
                "replace or remove this card; a trust folder is read whole or not at all",
                "请更换或移除该公钥卡；信任库要么整体可读，要么不用",
            );
            failure(USAGE, "bad-card", say!(l, "{p}: {cause}", "{p}：{cause}"), remedy)
        }
        TrustDirError::Empty { path } => {
            let p = path.display();
            let remedy = l.pick(
                "copy <holder>.pub.pem files of those you trust into it",
                "请将所信任各方的 <持有人>.pub.pem 放入该目录",
            );
            failure(USAGE, "no-cards", say!(l, "{p} holds no key card", "{p} 中没有公钥卡"), remedy)
        }
    }
}

pub(super) fn key(error: &KeyFileError, l: Language) -> Failure {
    match error {
        KeyFileError::Folder(e) => folder(e, l),
        KeyFileError::Card(e) => {
            let told = trust(e, l);
            let remedy = l.pick(
                "the key card <holder>.pub.pem belongs beside the key; else name it with --card",
                "公钥卡 <持有人>.pub.pem 应与私钥同目录；否则用 --card 指定",
            );
            Failure { exit: USAGE, remedy: remedy.to_owned(), ..told }
        }
        KeyFileError::Key { path, cause } => {
            let p = path.display();
            let wrong = *cause == protocol::keys::KeyError::WrongPassphrase;
            let remedy = if wrong {
                l.pick(
                    "type the passphrase again; nobody can recover a lost one: make a new key",
                    "请重新输入口令；口令遗失无法找回，只能重新生成密钥",
                )
            } else {
                l.pick(
                    "this is no private key of ours; name <holder>.key.pem",
                    "不是本系统的私钥文件；请指定 <持有人>.key.pem",
                )
            };
            let (exit, code) = if wrong { (REFUSED, "wrong-passphrase") } else { (USAGE, "not-a-key") };
            failure(exit, code, say!(l, "{p}: {cause}", "{p}：{cause}"), remedy)
        }
        KeyFileError::OtherCard { key, card } => {
            let (k, c) = (key.display(), card.display());
            let sentence = say!(l, "{c} is the card of another key than {k}", "{c} 不是 {k} 的公钥卡");
            failure(
                USAGE,
                "other-card",
                sentence,
                l.pick("name the right card with --card", "请用 --card 指定正确的公钥卡"),
            )
        }
        KeyFileError::NoCard => failure(
            USAGE,
            "no-card",
            l.pick("exec:PROGRAM needs --card", "exec:PROGRAM 须同时给出 --card").to_owned(),
            l.pick("name the key card of the key in the device", "请用 --card 指定设备中密钥的公钥卡"),
        ),
        KeyFileError::NotForSigning { holder, found } => failure(
            USAGE,
            "not-for-signing",
            say!(
                l,
                "the key of {holder} is for use {found}, not for signing",
                "{holder} 的密钥用途为 {found}，不能签名"
            ),
            l.pick("name the holder's signing key", "请使用其签名密钥"),
        ),
        KeyFileError::NoTerminal { path } => {
            let p = path.display();
            let sentence =
                say!(l, "{p} needs a passphrase and there is no terminal to ask on", "{p} 需要口令，但没有终端可询问");
            failure(
                USAGE,
                "no-terminal",
                sentence,
                &say!(l, "use --passphrase-file, or {PASSPHRASE_ENV}", "请用 --passphrase-file 或 {PASSPHRASE_ENV}"),
            )
        }
        KeyFileError::Differ => failure(
            USAGE,
            "passphrases-differ",
            l.pick("the two passphrases differ", "两次输入的口令不同").to_owned(),
            l.pick("start again; nothing was written", "请重新开始；未写入任何文件"),
        ),
        KeyFileError::Short { found } => failure(
            USAGE,
            "passphrase-short",
            say!(
                l,
                "the passphrase has {found} characters; at least {PASSPHRASE_CHARS_MIN} are needed",
                "口令为 {found} 个字符，至少需要 {PASSPHRASE_CHARS_MIN} 个"
            ),
            l.pick("choose a longer one; four unrelated words are good", "请选择更长的口令；例如四个不相关的词"),
        ),
        KeyFileError::Terminal(cause) => failure(
            DISK,
            "terminal",
            say!(l, "reading the passphrase: {cause}", "读取口令：{cause}"),
            l.pick("try again", "请重试"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn no_space_says_how_much_is_needed_and_how_much_there_is_in_both_languages() {
        let error = CopyError::Full { path: PathBuf::from("/mnt/stick"), needs: 3 << 30, has: 1 << 20 };
        let en = copy(&error, Language::En);
        assert_eq!(en.exit, DISK);
        assert!(en.sentence.contains("needs 3.0 GiB") && en.sentence.contains("has 1.0 MiB"), "{}", en.sentence);
        let zh = copy(&error, Language::Zh);
        assert!(zh.sentence.contains("空间不足") && zh.sentence.contains("/mnt/stick"), "{}", zh.sentence);
    }

    #[test]
    fn a_name_from_a_medium_is_escaped_in_a_failure() {
        let error = FolderError::NotAFile { path: PathBuf::from("/mnt/\u{1b}[2J"), what: "symbolic link" };
        assert!(!folder(&error, Language::En).sentence.contains('\u{1b}'));
    }
}
