//! What is said of what only one command can meet.

use crate::approve::ApproveError;
use crate::confirm::ConfirmError;
use crate::export::ExportError;
use crate::fetch::FetchError;
use crate::gather::{GatherError, lost_words};
use crate::import::ImportError;
use crate::inspect::InspectError;
use crate::intake::{IntakeError, Standing};
use crate::keygen::KeygenError;
use crate::ledger::LedgerError;
use crate::rules::RulesError;
use crate::trust::TrustCommandError;
use crate::verify::VerifyError;
use crate::words::{Language, say, shown};

use super::things::{self, copy, desk, folder, key, medium};
use super::{DISK, Failure, REFUSED, USAGE, failure, pulled_out};

pub(super) fn keygen(error: &KeygenError, l: Language) -> Failure {
    match error {
        KeygenError::KeyFile(e) => key(e, l),
        KeygenError::Exists { path } => {
            let p = path.display();
            let remedy = l.pick(
                "name another --out, or move the old key away if it is retired",
                "请换 --out 目录；旧密钥若已停用请先移走",
            );
            failure(
                REFUSED,
                "exists",
                say!(l, "{p} exists; a key is never overwritten", "{p} 已存在；密钥不会被覆盖"),
                remedy,
            )
        }
        KeygenError::Key(e) => failure(USAGE, "key", e.to_string(), l.pick("report this", "请上报")),
        KeygenError::Write { path, cause } => {
            let p = path.display();
            failure(
                DISK,
                "write-error",
                say!(l, "writing {p}: {cause}", "写入 {p}：{cause}"),
                l.pick("--out must be an existing folder of yours", "--out 须为本人可写的已有目录"),
            )
        }
        KeygenError::OtherSuite => failure(
            USAGE,
            "other-suite",
            l.pick("the public key is of another suite than --suite", "公钥与 --suite 不符").to_owned(),
            l.pick("name the suite of the device's key", "请使用设备密钥的套件"),
        ),
        KeygenError::NotHere(usage) => failure(
            USAGE,
            "not-here",
            say!(l, "ferry makes no key of use {usage}", "ferry 不生成用途为 {usage} 的密钥"),
            l.pick(
                "a node's `init` makes keys that open or connect; ferry must not hold one",
                "拆封与链路密钥由节点的 init 生成；ferry 不得持有",
            ),
        ),
    }
}

pub(super) fn rules(error: &RulesError, l: Language) -> Failure {
    match error {
        RulesError::Key(e) => key(e, l),
        RulesError::Desk(e) => desk(e, l),
        RulesError::Folder(e) => folder(e, l),
        RulesError::Trust(e) => things::trust(e, l),
        RulesError::NoRules { path } => {
            let p = path.display();
            failure(
                USAGE,
                "no-rules",
                say!(
                    l,
                    "{p} says no crossing and version before its first table",
                    "{p} 在首个表之前没有 crossing 与 version"
                ),
                l.pick("name a rule file: <crossing>.toml", "请指定规则文件：<跨区段>.toml"),
            )
        }
        RulesError::OtherName { path, found } => {
            let p = path.display();
            failure(
                USAGE,
                "other-name",
                say!(l, "{p} holds the rules of {found}", "{p} 中是 {found} 的规则"),
                &say!(
                    l,
                    "a node reads them from {found}.toml: name the file so",
                    "节点从 {found}.toml 读取：请按此命名"
                ),
            )
        }
        RulesError::Role { person, role } => failure(
            REFUSED,
            "role",
            say!(
                l,
                "{person} is a {role}, whose signature of rules does not count",
                "{person} 的角色为 {role}，其规则签名无效"
            ),
            l.pick(
                "a security officer signs, and another officer or an approver",
                "须由一名安全员及另一名安全员或会签人签署",
            ),
        ),
        RulesError::Write { path, cause } => {
            let p = path.display();
            failure(
                DISK,
                "write-error",
                say!(l, "writing {p}: {cause}", "写入 {p}：{cause}"),
                l.pick(
                    "the signature goes beside the rule file: sign a copy in a folder of yours",
                    "签名写在规则文件旁：可先在本人目录中签署副本",
                ),
            )
        }
        RulesError::Incomplete { path } => {
            let p = path.display();
            failure(
                REFUSED,
                "incomplete",
                say!(
                    l,
                    "{p} is not signed by two people, one of them a security officer",
                    "{p} 未由两人签署（其中一人须为安全员）"
                ),
                l.pick(
                    "have the other one sign: ferry rules sign FILE --key KEY",
                    "请由另一人签署：ferry rules sign 文件 --key 私钥",
                ),
            )
        }
    }
}

pub(super) fn trust(error: &TrustCommandError, l: Language) -> Failure {
    match error {
        TrustCommandError::Trust(e) => things::trust(e, l),
        TrustCommandError::Folder(e) => folder(e, l),
        TrustCommandError::Key(e) => key(e, l),
        TrustCommandError::Desk(e) => desk(e, l),
        TrustCommandError::NotAKeyAdmin { person, role } => failure(
            REFUSED,
            "not-a-key-admin",
            say!(
                l,
                "{person} has role {role}; only a key administrator signs a trust folder",
                "{person} 的角色是 {role}；只有密钥管理员可签署信任库"
            ),
            l.pick("a key administrator signs with their own key", "请由密钥管理员用本人密钥签署"),
        ),
        TrustCommandError::Rollover { path, cause } => {
            let p = path.display();
            failure(
                REFUSED,
                "bad-rollover",
                say!(l, "{p} is not taken: {cause}", "不接受 {p}：{cause}"),
                l.pick(
                    "nothing was changed; compare the fingerprint with the node's administrator by telephone",
                    "未作任何更改；请与该节点管理员电话核对指纹",
                ),
            )
        }
        TrustCommandError::Ended { path, last_day } => {
            let p = path.display();
            failure(
                REFUSED,
                "rollover-ended",
                say!(
                    l,
                    "{p} is not taken: the old key, or the one that signed it, had its last day on {last_day}",
                    "不接受 {p}：旧密钥或签署该声明的密钥的最后有效日为 {last_day}"
                ),
                l.pick(
                    "nothing was changed; carry the new key card by hand and compare its fingerprint by telephone; if the day of this machine is wrong, set it first",
                    "未作任何更改；请人工携带新公钥卡并电话核对指纹；如本机日期有误，请先校正",
                ),
            )
        }
        TrustCommandError::Write { path, cause } => {
            let p = path.display();
            let remedy = l.pick("run it as who may write in the trust folder", "请以可写信任库的账户执行");
            failure(DISK, "write-error", say!(l, "writing {p}: {cause}", "写入 {p}：{cause}"), remedy)
        }
    }
}

pub(super) fn export(error: &ExportError, l: Language) -> Failure {
    match error {
        ExportError::Key(e) => key(e, l),
        ExportError::Desk(e) => desk(e, l),
        ExportError::Medium(e) => staged(medium(e, l), l),
        ExportError::OtherWaybill { trip, found, answered } => failure(
            REFUSED,
            "other-waybill",
            say!(
                l,
                "the staged waybill of trip {trip} has digest {found}, the node answered {answered}",
                "批次 {trip} 暂存运单的摘要为 {found}，节点答复为 {answered}"
            ),
            l.pick(
                "somebody changed the desk; do not carry it, tell the administrator",
                "办理台内容被改动；请勿携带，联系管理员",
            ),
        ),
        ExportError::NoPlace => failure(
            USAGE,
            "no-place",
            l.pick("it was not said where the trip goes", "未指定写出位置").to_owned(),
            l.pick(
                "add --out DIR, --medium DIR or --iso FILE; no trip was opened",
                "请加 --out DIR、--medium DIR 或 --iso FILE；未开批次",
            ),
        ),
        ExportError::NoXorriso => failure(
            USAGE,
            "no-xorriso",
            l.pick("xorriso is not installed, so no ISO image can be made", "未安装 xorriso，无法制作 ISO 映像")
                .to_owned(),
            l.pick(
                "install xorriso, or use --out DIR and burn the folder; no trip was opened",
                "请安装 xorriso，或用 --out DIR 再刻录该目录；未开批次",
            ),
        ),
        ExportError::Xorriso { status, words } => failure(
            DISK,
            "xorriso",
            say!(l, "xorriso ended with {status}: {words}", "xorriso 异常结束（{status}）：{words}"),
            l.pick(
                "the trip stays staged: `ferry reexport --trip N --out DIR`",
                "批次仍处于暂存：ferry reexport --trip N --out DIR",
            ),
        ),
    }
}

/// After the node has staged a trip, a medium that fails costs only the writing.
fn staged(told: Failure, l: Language) -> Failure {
    let more = l.pick(
        "the trip stays staged; write it again with `ferry reexport --trip N`",
        "若批次已暂存，可用 ferry reexport --trip N 重写",
    );
    Failure { remedy: format!("{}; {more}", told.remedy), ..told }
}

pub(super) fn approve(error: &ApproveError, l: Language) -> Failure {
    match error {
        ApproveError::Key(e) => key(e, l),
        ApproveError::Desk(e) => desk(e, l),
        ApproveError::Medium(e) => medium(e, l),
        ApproveError::NotAnApprover { person, role } => failure(
            REFUSED,
            "not-an-approver",
            say!(
                l,
                "{person} has role {role}; only an approver countersigns",
                "{person} 的角色是 {role}；只有审批人可会签"
            ),
            l.pick("an approver signs with their own key", "请由审批人用本人密钥会签"),
        ),
        ApproveError::OtherWaybill { trip } => other_waybill(*trip, l),
        ApproveError::SaidNo => failure(
            REFUSED,
            "said-no",
            l.pick("not signed", "未会签").to_owned(),
            l.pick("nothing was written", "未写入任何内容"),
        ),
    }
}

fn other_waybill(trip: u64, l: Language) -> Failure {
    failure(
        REFUSED,
        "other-waybill",
        say!(
            l,
            "the waybill of trip {trip} on the medium is not the one in the desk",
            "介质上批次 {trip} 的运单与办理台不同"
        ),
        l.pick(
            "this is another medium, or an earlier export of the trip: write it again with `ferry reexport`",
            "插入了其他介质或旧的导出；请用 ferry reexport 重写",
        ),
    )
}

pub(super) fn confirm(error: &ConfirmError, l: Language) -> Failure {
    match error {
        ConfirmError::Key(e) => key(e, l),
        ConfirmError::Desk(e) => desk(e, l),
        ConfirmError::Medium(e) => medium(e, l),
        ConfirmError::Trust(e) => things::trust(e, l),
        ConfirmError::OtherWaybill { trip } => other_waybill(*trip, l),
        ConfirmError::Unproven { trip } => failure(
            USAGE,
            "unproven-volume",
            say!(
                l,
                "the paper of the volume says what of trip {trip} lies here, and its signature was not checked",
                "该卷的清单说明批次 {trip} 有哪些内容在此，但其签名尚未核对"
            ),
            l.pick("name the folder of key cards: --trust DIR", "请用 --trust DIR 指明公钥卡目录"),
        ),
        ConfirmError::Closed { trip, file, cause } => failure(
            DISK,
            "medium-closed",
            say!(
                l,
                "countersignature {file} of trip {trip} is not on the medium, which cannot be written: {cause}",
                "批次 {trip} 的会签 {file} 不在介质上，且介质不可写：{cause}"
            ),
            &say!(
                l,
                "countersign before burning: `ferry reexport --trip {trip}` and burn that",
                "请先会签再刻录：ferry reexport --trip {trip} 后重新刻录"
            ),
        ),
        ConfirmError::Damaged { trip, found } => {
            let files: Vec<String> =
                found.damage.iter().map(|damage| format!("{} ({})", damage.file, damage.sectors)).collect();
            let (files, index) = (files.join(", "), found.index);
            let would = if found.restorable {
                l.pick("an import would restore all of it", "导入时可全部修复")
            } else {
                l.pick("an import could not restore all of it", "导入时无法全部修复")
            };
            failure(
                DISK,
                "damaged",
                say!(
                    l,
                    "the medium of trip {trip} has damaged sectors, {index} of them in the index: {files}; {would}",
                    "批次 {trip} 的介质有损坏扇区（索引 {index} 个）：{files}；{would}"
                ),
                l.pick(
                    "a medium that is damaged before it leaves is not carried: write a new one with `ferry reexport`",
                    "出发前已损坏的介质不应携带：请用 ferry reexport 重写一张新的",
                ),
            )
        }
        ConfirmError::OtherSums { trip, file } => failure(
            DISK,
            "other-sums",
            say!(
                l,
                "SHA256SUMS on the medium of trip {trip} does not fit {file}",
                "批次 {trip} 介质上的 SHA256SUMS 与 {file} 不符"
            ),
            l.pick(
                "the medium is damaged or was changed: write a new one with `ferry reexport`",
                "介质损坏或被改动：请用 ferry reexport 重写一张新的",
            ),
        ),
        ConfirmError::OtherApproval { trip, file } => failure(
            DISK,
            "other-approval",
            say!(
                l,
                "countersignature {file} of trip {trip} is not on the medium as it is in the desk",
                "批次 {trip} 介质上的会签 {file} 与办理台不同"
            ),
            l.pick(
                "the medium is damaged: write a new one with `ferry reexport`",
                "介质损坏：请用 ferry reexport 重写一张新的",
            ),
        ),
        ConfirmError::Strangers { trip, count, first } => failure(
            REFUSED,
            "not-on-waybill",
            say!(
                l,
                "{count} things beside trip {trip} are not on its waybill: {first}",
                "批次 {trip} 目录中有 {count} 项不在运单上：{first}"
            ),
            l.pick("remove them from the medium, or use a clean one", "请从介质上移除，或换干净的介质"),
        ),
    }
}

fn gather(error: &GatherError, l: Language) -> Failure {
    match error {
        GatherError::Copy(e) => things::copy(e, l),
        GatherError::Beyond { trip, number, lost, kept, unread: 0 } => {
            let (count, words) = (lost.len(), lost_words(lost));
            failure(
                REFUSED,
                "volume-changed",
                say!(
                    l,
                    "volume {number} of trip {trip}: all of it could be read, and {count} files are not what was written and beyond repair: {words}; the other {kept} are kept",
                    "批次 {trip} 第 {number} 卷：全部可读，但 {count} 个文件与写入时不同且无法修复：{words}；其余 {kept} 个已保留"
                ),
                &say!(
                    l,
                    "the medium was changed, or badly copied: set it aside, report it, and ask the sender to `ferry reexport --trip {trip}`",
                    "介质被改动或复制有误：请隔离并上报，并请发送方执行 ferry reexport --trip {trip}"
                ),
            )
        }
        GatherError::Beyond { trip, number, lost, kept, unread: _ } => {
            let (count, words) = (lost.len(), lost_words(lost));
            failure(
                DISK,
                "beyond-parity",
                say!(
                    l,
                    "volume {number} of trip {trip}: {count} files are damaged beyond repair: {words}; the other {kept} are kept",
                    "批次 {trip} 第 {number} 卷：{count} 个文件损坏且无法修复：{words}；其余 {kept} 个已保留"
                ),
                &say!(
                    l,
                    "clean the disc or try another drive and import again; else ask the sender to `ferry reexport --trip {trip}`",
                    "请清洁光盘或换一台光驱后重新导入；否则请发送方执行 ferry reexport --trip {trip}"
                ),
            )
        }
        GatherError::Parity(_) | GatherError::NotAuthentic { .. } => failure(
            REFUSED,
            "volume",
            say!(l, "the volume cannot be taken: {error}", "无法取入该卷：{error}"),
            l.pick("ask the sender to write it again: `ferry reexport`", "请发送方用 ferry reexport 重写"),
        ),
    }
}

pub(super) fn import(error: &ImportError, l: Language) -> Failure {
    match error {
        ImportError::Key(e) => key(e, l),
        ImportError::Desk(e) => desk(e, l),
        ImportError::Medium(e) => medium(e, l),
        ImportError::Trust(e) => things::trust(e, l),
        ImportError::Busy { trip } => failure(
            REFUSED,
            "import-running",
            say!(
                l,
                "another import into this desk is running; trip {trip} was not begun",
                "本办理台另有导入正在进行；批次 {trip} 未开始"
            ),
            l.pick("wait until it is done and import again", "请等其完成后重新导入"),
        ),
        ImportError::Foreign { trip, source_node, target, here } => failure(
            REFUSED,
            "foreign-trip",
            say!(
                l,
                "trip {trip} goes from {source_node} to {target}; this is {here}",
                "批次 {trip} 由 {source_node} 发往 {target}；此处是 {here}"
            ),
            l.pick(
                "take it to the node it is for, or name that node's --spool",
                "请送往目标节点，或用 --spool 指定该节点",
            ),
        ),
        ImportError::Volume(error) => gather(error, l),
        ImportError::Fixed { path } => {
            let p = shown(path.as_os_str());
            failure(
                REFUSED,
                "cannot-wipe",
                say!(
                    l,
                    "the medium at {p} is a disc or read-only: nothing on it can be removed; nothing was imported",
                    "{p} 处的介质为光盘或只读，无法清除；未导入任何内容"
                ),
                l.pick(
                    "import without --wipe; take off the write protection, or destroy the medium before a witness (`ferry dispose`)",
                    "请去掉 --wipe 导入；解除写保护，或在见证下销毁介质（ferry dispose）",
                ),
            )
        }
        ImportError::NoTrips { medium, trips } => {
            let p = shown(medium.as_os_str());
            let some = trips.iter().take(TRIPS_NAMED_MAX).map(|trip| format!("TRILOCK/{trip}"));
            let list = some.collect::<Vec<_>>().join(", ");
            let count = trips.len();
            failure(
                REFUSED,
                "no-trip",
                say!(
                    l,
                    "{count} folders on the medium at {p} are named as trips and hold no waybill and nothing sealed: {list}; everything else on it was dealt with",
                    "{p} 处介质上有 {count} 个目录以批次号命名，但其中没有运单和密封文件：{list}；介质上其余内容均已处理"
                ),
                l.pick(
                    "after `ferry import --wipe` that is what others had put there: look at it, and remove the folder yourself; after no wipe the papers were taken away: tell the security officer",
                    "执行过 ferry import --wipe 的，其中为他人放入的内容：请查看后自行删除目录；未执行过清除的，说明单据被取走：请报告安全管理员",
                ),
            )
        }
        ImportError::NotWiped { trip, cause } => {
            let told = medium(cause, l);
            let sentence = told.sentence;
            failure(
                told.exit,
                "not-wiped",
                say!(
                    l,
                    "trip {trip} is imported, and not all of it is gone from the medium: {sentence}",
                    "批次 {trip} 已导入，但介质上未全部清除：{sentence}"
                ),
                l.pick(
                    "run the same command again: nothing is imported twice, and what is left is removed",
                    "请重复该命令：不会重复导入，余下的将被清除",
                ),
            )
        }
        ImportError::NotAuthentic { trip, file, cause } => failure(
            REFUSED,
            "not-authentic",
            say!(l, "{file} of trip {trip}: {cause}", "批次 {trip} 的 {file}：{cause}"),
            l.pick(
                "set the medium aside and report it; nothing of the trip was taken in",
                "请隔离介质并上报；该批次未导入任何内容",
            ),
        ),
    }
}

/// Folders that are named in one sentence.
const TRIPS_NAMED_MAX: usize = 8;

pub(super) fn verify(error: &VerifyError, l: Language) -> Failure {
    match error {
        VerifyError::Trust(e) => things::trust(e, l),
        VerifyError::Folder(e) => folder(e, l),
        VerifyError::TooMany => failure(USAGE, "too-many", error.to_string(), l.pick("verify one year or one folder at a time", "请按年份或目录分次校验")),
        VerifyError::TooDeep { path } => {
            let p = path.display();
            failure(REFUSED, "too-deep", say!(l, "{p} lies too deep", "{p} 层级过深"), l.pick("name a folder of ours", "请指定本系统的目录"))
        }
        VerifyError::Failed { failed, checked, first, cause } => failure(
            REFUSED,
            "failed",
            say!(l, "{failed} of {checked} objects failed; first {first}: {cause}", "{checked} 个对象中 {failed} 个失败；首个 {first}：{cause}"),
            l.pick("an unknown key wants its card in the trust folder; anything else is damage or forgery: keep it and report it", "若为未知密钥，请补公钥卡；其他情况为损坏或伪造，请保全并上报"),
        ),
        VerifyError::PulledOut { path, checked } => {
            let read = failure(
                DISK,
                "pulled-out",
                say!(l, "{checked} objects were told before", "此前已报告 {checked} 个对象"),
                "",
            );
            pulled_out(path, read, l)
        }
        VerifyError::Report { path, cause } => {
            let p = path.display();
            failure(DISK, "report", say!(l, "the report {p}: {cause}", "报告 {p}：{cause}"), l.pick("name a new file in a folder that may be written to", "请指定可写目录中的新文件"))
        }
        VerifyError::Nothing { passed_over } => failure(
            USAGE,
            "nothing",
            say!(l, "no object of ours under the paths named ({passed_over} other files)", "所给路径下没有本系统的对象（其他文件 {passed_over} 个）"),
            l.pick("name bundles, evidence, waybills, receipts or a medium", "请指定密封包、存证、运单、回执或介质"),
        ),
    }
}

pub(super) fn inspect(error: &InspectError, l: Language) -> Failure {
    match error {
        InspectError::Folder(e) => folder(e, l),
        InspectError::Trust(e) => things::trust(e, l),
        InspectError::Broken { path, cause } => {
            let p = shown(path.as_os_str());
            failure(
                REFUSED,
                "broken",
                say!(l, "{p}: {cause}", "{p}：{cause}"),
                l.pick("it is damaged or no bundle", "文件损坏或不是密封包"),
            )
        }
        InspectError::NoPart { part, entries, receipts } => failure(
            USAGE,
            "no-part",
            say!(
                l,
                "there is no part {part}: there are {entries} custody entries and {receipts} receipts",
                "没有 {part}：共有 {entries} 条经手记录、{receipts} 份回执"
            ),
            l.pick("footer, statement or custody-1 … is meant", "可用 footer、statement 或 custody-1 …"),
        ),
        InspectError::UnknownSigner { id, part, trust } => {
            let p = trust.display();
            failure(
                REFUSED,
                "unknown-key",
                say!(l, "key {id} of the {part} is on no card in {p}", "{part} 的密钥 {id} 不在 {p} 的公钥卡中"),
                l.pick("add the signer's key card to the trust folder", "请将签名方公钥卡加入信任库"),
            )
        }
        InspectError::SignerNeedsTrust => {
            failure(USAGE, "needs-trust", error.to_string(), l.pick("add --trust DIR", "请加 --trust DIR"))
        }
        InspectError::Write { path, cause } => {
            let p = path.display();
            failure(
                DISK,
                "write-error",
                say!(l, "writing {p}: {cause}", "写入 {p}：{cause}"),
                l.pick("name a place you can write", "请指定可写位置"),
            )
        }
    }
}

pub(super) fn intake(error: &IntakeError, l: Language) -> Failure {
    let nothing = l.pick("nothing was put into the inlet", "未放入投递口");
    match error {
        IntakeError::Key(e) => key(e, l),
        IntakeError::Desk(e) => desk(e, l),
        IntakeError::Folder(e) => folder(e, l),
        IntakeError::Copy(e) => copy(e, l),
        IntakeError::NotTaken { path, what } => {
            let p = shown(path.as_os_str());
            failure(
                REFUSED,
                "not-a-file",
                say!(l, "{p} is a {what}; only files and folders are taken in", "{p} 不是普通文件或目录（{what}）"),
                nothing,
            )
        }
        IntakeError::BadName { path, cause } => failure(
            REFUSED,
            "bad-name",
            say!(l, "the name {path} {cause}", "名称 {path} 不可用：{cause}"),
            l.pick(
                "rename it, or give the parcel a name with --name; nothing was put into the inlet",
                "请改名，或用 --name 指定；未放入投递口",
            ),
        ),
        IntakeError::TooMany { .. } => {
            failure(REFUSED, "too-many", error.to_string(), l.pick("take it in as several folders", "请分为多个目录"))
        }
        IntakeError::NoInlet { path } => {
            let p = path.display();
            failure(
                USAGE,
                "no-inlet",
                say!(l, "there is no inlet at {p}", "{p} 处没有投递口"),
                l.pick("check --inlet, or --spool and --route", "请核对 --inlet，或 --spool 与 --route"),
            )
        }
        IntakeError::Exists { path, what: Standing::Same } => {
            let p = path.display();
            failure(
                REFUSED,
                "exists",
                say!(
                    l,
                    "{p} is in the inlet already, and it is the very content of the medium; its listing lies elsewhere",
                    "投递口中已有 {p}，且与介质内容完全相同；其清单在别处"
                ),
                l.pick(
                    "do nothing: the node takes it. Taken in under another name it would be there twice",
                    "无需操作：节点将取走。换名再次提交会造成重复",
                ),
            )
        }
        IntakeError::Exists { path, what } => {
            let p = path.display();
            let remedy = match what {
                Standing::InTheWay => l.pick(
                    "an intake of this name was signed before and waits for the place: wait until the node has taken what stands there, and run the same command again",
                    "此名的提交此前已签名，正等待该位置：请等节点取走现有内容，再重复同一命令",
                ),
                _ => l.pick(
                    "it holds other content than the medium: wait until the node has taken it, or use --name",
                    "其内容与介质不同：请等节点取走，或用 --name 换名",
                ),
            };
            failure(REFUSED, "exists", say!(l, "{p} is in the inlet already", "投递口中已有 {p}"), remedy)
        }
        IntakeError::Stuck { aside, request, name, on_record } => {
            let (a, inlet) = (aside.display(), aside.parent().unwrap_or(aside).display());
            let who = name.as_deref().map(|name| shown(name.as_ref())).unwrap_or_else(|| "NAME".to_owned());
            let remedy = if *on_record {
                say!(
                    l,
                    "run the command again that was interrupted, where its listing and .sig lie (look for intake-*.sig) or with the same --listing: it goes on by itself. Where those are lost, and only then: `mv -nT {a} {inlet}/NAME` lets it appear, and it must not be taken in again",
                    "请在其清单与 .sig 所在目录（查找 intake-*.sig）或以相同的 --listing 重复被中断的命令，即自动续办。仅当两者均已丢失时：执行 mv -nT {a} {inlet}/NAME 使其出现，且不得再次提交"
                )
            } else {
                say!(
                    l,
                    "run the command again that was interrupted ({who}), where its listing and .sig lie (look for intake-*.sig) or with the same --listing: it goes on by itself. Where those are lost, and only then: tell the security officer of request {request}, remove {a}, and take the folder in again",
                    "请在其清单与 .sig 所在目录（查找 intake-*.sig）或以相同的 --listing 重复被中断的命令（{who}），即自动续办。仅当两者均已丢失时：向安全管理员报告请求 {request}，删除 {a}，再重新提交"
                )
            };
            let state = match on_record {
                true => l.pick("the node has it on record", "节点已登记"),
                false => l.pick("the node has not answered it with yes", "节点尚未答复同意"),
            };
            failure(
                REFUSED,
                "intake-stuck",
                say!(
                    l,
                    "an earlier intake, request {request}, was signed and is not in its place: what it copied lies in {a}, and {state}; nothing else goes into this inlet before it",
                    "此前有一次提交（请求 {request}）已签名但未就位：已复制内容在 {a}，{state}；在其处理之前本投递口不接受其他提交"
                ),
                &remedy,
            )
        }
        IntakeError::Unknown { listing, request } => {
            let p = listing.display();
            failure(
                REFUSED,
                "intake-unknown",
                say!(
                    l,
                    "what is on the medium was signed before ({p}), and what the node answered to request {request} is not known any more: answers are kept for two days",
                    "介质内容此前已签名（{p}），节点对请求 {request} 的答复已不可查：答复仅保留两天"
                ),
                &say!(
                    l,
                    "do not take it in again yet: keep {p} and its .sig, and name another with --listing: where the node has it on record it says since when, and takes nothing in. Where it does, and no drop came of it, ask whoever reads the node's records for request {request} before you add --again",
                    "请勿立即再次提交：保存 {p} 及其 .sig，并用 --listing 指定其他文件名：节点已登记的会说明登记日期，不会重复放入。已登记但没有投递件的，请先向节点记录的查阅人核实请求 {request}，再加 --again"
                ),
            )
        }
        IntakeError::Zone { node, zone } => failure(
            REFUSED,
            "not-here",
            say!(
                l,
                "{node} is a node of the {zone}; survey files are taken in inside the internal zone alone",
                "{node} 属于 {zone}；权籍成果只能在业务内网提交"
            ),
            l.pick("use the node of the internal zone", "请在业务内网节点上执行"),
        ),
        IntakeError::Role { holder, role } => failure(
            REFUSED,
            "role",
            say!(
                l,
                "{holder} is {role}; survey files are taken in by an operator",
                "{holder} 的角色为 {role}；须由操作员（operator）提交"
            ),
            nothing,
        ),
        IntakeError::OldListing { path } => {
            let p = path.display();
            failure(
                REFUSED,
                "listing-exists",
                say!(
                    l,
                    "{p} is there already: the listing of another intake, or its signature; it is not of what is on the medium",
                    "已有 {p}：另一次提交的清单或签名，与介质内容不符"
                ),
                l.pick(
                    "keep it with its .sig, and name another with --listing; nothing was put into the inlet",
                    "请将其与 .sig 一并保存，并用 --listing 指定其他文件名；未放入投递口",
                ),
            )
        }
        IntakeError::FirstListing { path } => {
            let p = path.display();
            failure(
                REFUSED,
                "listing-exists",
                say!(
                    l,
                    "{p} is there already: the signature of the first intake of this name",
                    "已有 {p}：此名首次提交的签名"
                ),
                l.pick(
                    "keep it, and name another place for the papers of the second with --listing; nothing was put into the inlet",
                    "请保存，并用 --listing 为再次提交指定其他文件名；未放入投递口",
                ),
            )
        }
        IntakeError::Running { place } => {
            let p = place.display();
            failure(
                REFUSED,
                "intake-running",
                say!(l, "another command is at work on the intake {p}", "提交 {p} 正由另一条命令处理"),
                l.pick("wait until it is done", "请等其完成"),
            )
        }
        IntakeError::NotSigned { aside, listing } => {
            let (a, p) = (aside.display(), listing.display());
            failure(
                REFUSED,
                "not-signed",
                say!(
                    l,
                    "{a}, left by an intake that was interrupted, is not what the operator signed in {p}",
                    "中断的提交留下的 {a} 与操作员签署的 {p} 不符"
                ),
                &say!(
                    l,
                    "tell the security officer; keep {p} and its .sig, remove {a}, and take the folder in again with another --listing",
                    "请报告安全管理员；保存 {p} 及其 .sig，删除 {a}，并用另一个 --listing 重新提交"
                ),
            )
        }
        IntakeError::ListingInInlet { path } => {
            let p = path.display();
            failure(
                USAGE,
                "listing-in-inlet",
                say!(
                    l,
                    "the listing {p} would lie in an inlet, where the node takes it for a drop",
                    "清单 {p} 位于投递口内，节点会将其当作投递件"
                ),
                l.pick(
                    "go elsewhere, or name another place with --listing",
                    "请换到其他目录，或用 --listing 指定其他位置",
                ),
            )
        }
        IntakeError::Unanswered { request, aside, place, cause } => {
            let (from, to) = (aside.display(), place.display());
            failure(
                DISK,
                "no-answer",
                say!(
                    l,
                    "the node has not answered ({cause}); what was copied stays in {from}, its listing and signature too",
                    "节点未应答（{cause}）；已复制内容保留在 {from}，清单与签名也已保留"
                ),
                &say!(
                    l,
                    "see that the daemon runs, and run the same command again: it goes on with what was copied. Later than a day after: where desk/answers/{request}.json says done, `mv -nT {from} {to}`; else remove {from}, the listing and its .sig",
                    "确认守护进程在运行，然后重复同一命令，从已复制内容继续。超过一天后：desk/answers/{request}.json 显示 done 的，执行 mv -nT {from} {to}；否则删除 {from}、清单及其 .sig"
                ),
            )
        }
        IntakeError::NotLaid { aside, place, cause } => {
            let (from, to) = (aside.display(), place.display());
            failure(
                DISK,
                "not-laid",
                say!(
                    l,
                    "the intake is on record, and {from} could not become {to}: {cause}",
                    "节点已登记，但 {from} 未能改名为 {to}：{cause}"
                ),
                &say!(
                    l,
                    "everything is whole in {from}: once nothing else stands at {to}, `mv -nT {from} {to}`",
                    "内容完整保留在 {from}：待 {to} 无其他内容后执行 mv -nT {from} {to}"
                ),
            )
        }
        IntakeError::NotMarked { place, marker, cause } => {
            let (p, m) = (place.display(), marker.display());
            failure(
                DISK,
                "not-marked",
                say!(
                    l,
                    "{p} is in the inlet and on record, and the marker {m}, which the node waits for, could not be laid: {cause}",
                    "{p} 已在投递口并已登记，但节点所等待的标记 {m} 未能写入：{cause}"
                ),
                l.pick(
                    "run the same command again: it lays the marker, and nothing goes in twice",
                    "请重复同一命令：将补写标记，不会重复放入",
                ),
            )
        }
        IntakeError::Changed { path, stated, found } => {
            let p = shown(path.as_os_str());
            failure(
                DISK,
                "changed",
                say!(l, "{p} had {stated} bytes and gave {found}", "{p} 原为 {stated} 字节，实读 {found}"),
                nothing,
            )
        }
    }
}

pub(super) fn fetch(error: &FetchError, l: Language) -> Failure {
    match error {
        FetchError::Key(e) => key(e, l),
        FetchError::Desk(e) => desk(e, l),
        FetchError::Folder(e) => Failure {
            remedy: l
                .pick(
                    "exports are read by group trilock-audit, what is held by trilock-sec: usermod -a -G GROUP YOU, and log in again",
                    "导出文件仅 trilock-audit 组可读，隔离件仅 trilock-sec 组可读：usermod -a -G 组名 本人账号，并重新登录",
                )
                .to_owned(),
            ..folder(e, l)
        },
        FetchError::Copy { path, cause } => {
            let p = path.display();
            failure(
                DISK,
                "write-error",
                say!(l, "{p}: {cause}", "{p}：{cause}"),
                l.pick("name a new file on a disk with room, with --out", "请用 --out 指定有空间的磁盘上的新文件"),
            )
        }
        FetchError::Differs { path, found, stated } => {
            let p = path.display();
            failure(
                REFUSED,
                "differs",
                say!(
                    l,
                    "{p} would not be what the node wrote: {found} bytes, {stated} were stated, or another digest",
                    "{p} 与节点写出的内容不符：{found} 字节，应为 {stated} 字节，或摘要不同"
                ),
                l.pick("ask again; if it stays so, tell the security officer", "请重新获取；若仍如此，请通知安全员"),
            )
        }
    }
}

pub(super) fn ledger(error: &LedgerError, l: Language) -> Failure {
    match error {
        LedgerError::Folder(e) => folder(e, l),
        LedgerError::Trust(e) => things::trust(e, l),
        LedgerError::Fetch(e) => fetch(e, l),
        LedgerError::Read { path, cause } => {
            let p = path.display();
            failure(
                DISK,
                "read-error",
                say!(l, "read error at {p}: {cause}", "读取 {p} 出错：{cause}"),
                l.pick("verify a copy from the backup", "请用备份副本校验"),
            )
        }
        LedgerError::NoLedger { path } => {
            let p = path.display();
            failure(
                USAGE,
                "no-ledger",
                say!(l, "{p} holds no ledger segments", "{p} 中没有审计账"),
                l.pick("name the node's spool or its ledger folder", "请指定节点存转区或其 ledger 目录"),
            )
        }
        LedgerError::Broken { path, cause } => {
            let p = path.display();
            failure(
                REFUSED,
                "ledger-broken",
                say!(l, "{p}: {cause}", "{p}：{cause}"),
                l.pick(
                    "keep the folder as it is, and compare with the heads the neighbours hold",
                    "请原样保全该目录，并与相邻节点持有的链首比对",
                ),
            )
        }
    }
}
