//! What to do after the daemon refused: in its own words where it gives them, because it knows the case; else by the code.

use serde_json::Value;
use spool::desk::Answer;

use crate::words::Language;

/// In the reader's language.
pub(super) fn of(answer: &Answer, l: Language) -> String {
    let own = answer.details.get(l.pick("remedy_en", "remedy_zh")).and_then(Value::as_str);
    if let Some(words) = own.filter(|words| !words.trim().is_empty()) {
        return words.to_owned();
    }
    // Of a daemon that is newer than ferry.
    let unknown = (
        "the code stands in the node's documentation; `ferry trips` shows the state",
        "代码含义见节点文档；ferry trips 可查状态",
    );
    let (en, zh) = by_code(&answer.code).unwrap_or(unknown);
    l.pick(en, zh).to_owned()
}

/// For each code that the desk agrees on, in English and in Chinese.
fn by_code(code: &str) -> Option<(&'static str, &'static str)> {
    Some(match code {
        "trip-repeated" => (
            "this trip was imported before; nothing to do. `ferry trips` shows when",
            "该批次此前已导入，无需再做；ferry trips 可查时间",
        ),
        "trip-skipped" => (
            "import the trip before it first; if its medium is lost, the sender runs `ferry reexport`",
            "请先导入前一批次；若介质遗失，请发送方执行 ferry reexport",
        ),
        "trip-expired" => (
            "this medium is not carried; the next `ferry export` stages the trip again under its number",
            "本介质不得携出；下一次 ferry export 以原编号重新暂存该批次",
        ),
        "argument-unknown" => (
            "use the ferry of the same version as the node; `ferry --version` and `ZONE-node --version` name them",
            "请使用与节点版本一致的 ferry；ferry --version 与 ZONE-node --version 可查版本",
        ),
        "nothing-chosen" => (
            "ask for more routes or priorities, for younger parcels, or for more bytes",
            "请放宽路由、优先级、时间条件，或提高字节上限",
        ),
        "volume-other" => (
            "this volume is of another cutting of the trip: write all volumes anew with one `ferry reexport`",
            "该卷属于该批次的另一次分卷：请用一次 ferry reexport 重写全部卷",
        ),
        "taken-in" => (
            "do nothing; where the files are wanted a second time, repeat the command with --again",
            "无需操作；确需再次提交的，请加 --again 重复该命令",
        ),
        "nothing-kept" => ("nothing is to be done", "无需处理"),
        "still-waiting" => ("ask again when they have gone", "待其发出后再执行"),
        "too-many-exports" => (
            "earlier exports go after two days; an administrator may remove them from desk/exports",
            "此前的导出两天后自动清除；管理员可从 desk/exports 中删除",
        ),
        "too-many-held" => (
            "earlier ones go after two days; an administrator may remove them from desk/held",
            "此前的隔离件两天后自动清除；管理员可从 desk/held 中删除",
        ),
        "incident" => ("look at the parcel at its origin, with the same command there", "请在起点节点用同一命令查看"),
        "no-security-card" => (
            "an administrator copies security.seal.pub.pem into the node's trust folder and reloads",
            "请管理员将 security.seal.pub.pem 复制到该节点信任库并重新加载",
        ),
        "not-set-up" => ("an administrator runs init once, as root", "请管理员以 root 执行一次 init"),
        "too-long" => ("ask for a shorter period", "请缩短时间范围"),
        "role" => ("use the key of a person with the right role", "请使用具有相应角色人员的密钥"),
        "foreign-trip" => {
            ("the medium belongs to another office or crossing; return it", "介质属于其他单位或跨区段；请退回")
        }
        "approvals-missing" => {
            ("further approvers run `ferry approve` on the sending side", "请发送方由其他审批人执行 ferry approve")
        }
        "medium-direction" => (
            "use a medium registered for this direction; one that carried things the other way is never used for this",
            "请使用登记为该方向的介质；用于另一方向的介质不得混用",
        ),
        "medium-disposed" => (
            "use another medium; if this one is in your hand, find out what it is",
            "请使用其他介质；若手中即是该介质，请查明来源",
        ),
        "medium-in-use" => (
            "let its trip settle, or write the trip onto another medium with `ferry reexport`; then dispose of this one",
            "请等待该批次销账，或用 ferry reexport 改写至其他介质，然后再销毁",
        ),
        "witness-same" | "witness-unknown" => {
            ("name another person who has a key card here, and who saw it", "请指定另一名持有公钥卡且在场的人员作见证")
        }
        "not-asked" => (
            "the operator first runs `ferry dispose --medium-id ID --witness YOU --reason TEXT --key FILE`",
            "请操作员先执行 ferry dispose --medium-id 编号 --witness 见证人 --reason 原因 --key FILE",
        ),
        "reason-missing" => ("say why with --reason TEXT", "请用 --reason 说明原因"),
        "medium-unknown" => (
            "register the medium's id in the node's config, or use a registered one",
            "请在节点配置中登记该介质，或使用已登记介质",
        ),
        "not-authentic" => ("set the medium aside and report it; do not try again", "请隔离介质并上报；不要重试"),
        "approval-invalid" => (
            "another approver signs with `ferry approve`; an approver is neither exporter nor carrier",
            "请由另一位审批人执行 ferry approve；审批人不得是导出人或携带人",
        ),
        "argument-missing" => (
            "ferry and daemon are of different versions; install the same",
            "ferry 与守护进程版本不一致；请安装同一版本",
        ),
        "backup-running" => ("wait until it is done; `status` shows it", "请等其完成；status 可查"),
        "being-taken" => ("wait until the other command is done, then repeat yours", "请等另一条命令完成后重复"),
        "by-hand-off" => (
            "an administrator sets node.manual = true for the time it is needed",
            "请管理员在需要期间设置 node.manual = true",
        ),
        "by-hand-one-hop" => {
            ("seal to the next node; it goes on from there by itself", "请封装至下一节点，由其继续转送")
        }
        "by-hand-outward" => (
            "put it into the inlet of its route; it leaves with the next `ferry export`",
            "请投入该路由的入口目录，随下一次 ferry export 运出",
        ),
        "by-hand-strip" => ("put it into the inlet of its route", "请投入该路由的入口目录"),
        "clock-trusted" => ("nothing to do", "无需处理"),
        "unreadable" => (
            "see to the disk under the spool (alarm disk-error), then ask again: nothing of this request was done",
            "请先检修存转区所在磁盘（告警 disk-error），再重新申请：本次申请未作任何处理",
        ),
        "disk-error" => (
            "look at the disk of the spool and at `ferry trips`, then ask again",
            "请检查存转区所在磁盘与 ferry trips，再重新申请",
        ),
        "disposed-already" => ("nothing to do; `ferry media` shows when", "无需再做；ferry media 可查时间"),
        "filter" => ("correct what is named, and ask again", "请更正所指内容后重新申请"),
        "guard-refused" => ("correct the content at its origin, then seal again", "请在起点更正内容后重新封装"),
        "key-ended" => (
            "use the holder's next key; `ferry trust import` takes its card in",
            "请使用其下一把密钥；用 ferry trust import 纳入公钥卡",
        ),
        "malformed" => (
            "ferry and daemon are of different versions; install the same",
            "ferry 与守护进程版本不一致；请安装同一版本",
        ),
        "may-be-duplicate" => (
            "look at the parcel where it may have arrived before, then `duplicate admit` or `duplicate close`",
            "请在可能已送达处查看，再执行 duplicate admit 或 duplicate close",
        ),
        "medium-other" => (
            "put in the medium that stands on the slip, or write the trip onto this one with `ferry reexport`",
            "请插入交接单所列介质，或用 ferry reexport 写到本介质",
        ),
        "name-taken" => ("ask again when the drop of that name is gone", "待同名投递处理后再申请"),
        "no-backup" => ("an administrator adds the table [backup] to the config", "请管理员在配置中加入 [backup]"),
        "no-crossing" => (
            "name a crossing of this node, or another node's --spool",
            "请指定本节点参与的跨区段，或用 --spool 指定其他节点",
        ),
        "no-exception" => ("nothing to revoke; check rule and file", "没有可撤销的例外；请核对规则与文件"),
        "no-ferry" => (
            "name another node's spool, or add the crossing to its config",
            "请指定另一节点的存转区，或在配置中加入摆渡跨区段",
        ),
        "no-inlet" => {
            ("name a route whose inlet takes survey files (`--route`)", "请用 --route 指定有测绘成果入口的路由")
        }
        "no-room" => ("make room on the disk of the spool, then ask again", "请清理存转区所在磁盘后重新申请"),
        "no-route" => ("check the name of the route", "请核对路由名称"),
        "no-such-gap" => ("check the numbers with `gaps`", "请用 gaps 核对编号"),
        "no-such-key" => {
            ("check the key's id, and that its card is in the trust folder", "请核对密钥标识，并确认其公钥卡在信任库中")
        }
        "no-such-parcel" => ("check the id; it has 32 digits", "请核对编号（32 位）"),
        "no-such-route" => ("check the name of the route", "请核对路由名称"),
        "no-such-trip" => ("`ferry trips` shows the numbers there are", "ferry trips 可查已有批次号"),
        "no-thread" => ("too much runs on this machine; ask again later", "本机负载过高；请稍后重试"),
        "not-a-bundle" => ("name a file that ends in .bundle and is whole", "请指定完整的 .bundle 文件"),
        "not-now" => ("mend what the message names, then ask again", "请排除所指故障后重新申请"),
        "not-restored" => ("use `resend`, or let the gap report ask for it", "请用 resend，或等待缺号报告自动补发"),
        "not-waiting" => {
            ("`list --state may-be-duplicate` shows what waits", "list --state may-be-duplicate 可查待处理项")
        }
        "nothing-held" => ("`list --state quarantined` names what is held", "list --state quarantined 可查隔离件"),
        "nothing-to-reseal" => ("`show PARCEL` says where it is", "用 show 可查该件所在位置"),
        "nothing-to-resend" => ("`show PARCEL` says where it is", "用 show 可查该件所在位置"),
        "nothing-waiting" => ("nothing to do; `ferry` alone shows what waits", "无需处理；直接执行 ferry 可查待运内容"),
        "other-word" => (
            "read the operator's last word with `ferry dispose` again, and answer that one",
            "请重新执行 ferry dispose 查看操作员最近一次申报后再应答",
        ),
        "over-budget" => (
            "wait for the next day's budget, or have it raised by those who set it",
            "请待次日限额，或由主管人员调整限额",
        ),
        "route-as-it-was" => ("nothing to do", "无需处理"),
        "route-off" => ("enable the route, or wait until it is", "请启用该路由或等待启用"),
        "sealed-away" => ("a security officer opens it in the internal zone", "请安全管理员在业务内网启封"),
        "signer-away" => ("bring the signing device back, then ask again", "请恢复签名设备后重新申请"),
        "structural" => {
            ("correct the content at its origin; nobody can let it pass", "请在起点更正内容；此类命中不得放行")
        }
        "too-many" => ("one of those who spoke before completes it", "请由此前已申报的人员完成"),
        "too-old" => ("set the clocks of both machines right, and ask again", "请校准两机时钟后重新申请"),
        "trip-settled" => ("nothing to do: everything on it arrived", "无需处理：该批次已全部送达"),
        "unknown-action" => (
            "ferry and daemon are of different versions; install the same",
            "ferry 与守护进程版本不一致；请安装同一版本",
        ),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use serde_json::json;

    use super::*;

    /// The first word that is given to `Refusal::new`, everywhere in the station.
    fn codes(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                codes(&path, found);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for behind in text.split("Refusal::new(").skip(1) {
                let word = behind.trim_start().strip_prefix('"').and_then(|word| word.split('"').next());
                found.extend(word.map(str::to_owned));
            }
        }
    }

    #[test]
    fn every_code_that_a_node_refuses_with_has_words_that_say_what_to_do() {
        let mut found = BTreeSet::new();
        codes(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../station/src"), &mut found);
        assert!(found.len() >= 60 && found.contains("trip-expired") && found.contains("no-room"), "{found:?}");
        let without: Vec<_> = found.iter().filter(|code| by_code(code).is_none()).collect();
        assert!(without.is_empty(), "{without:?}");
    }

    #[test]
    fn the_nodes_own_words_come_before_those_of_the_table() {
        let answer = |details| Answer {
            done: false,
            code: "no-room".to_owned(),
            message_en: "no".to_owned(),
            message_zh: "否".to_owned(),
            details,
        };
        let said = answer(json!({"remedy_en": "move the spool", "remedy_zh": "请迁移存转区"}));
        assert_eq!([Language::En, Language::Zh].map(|l| of(&said, l)), ["move the spool", "请迁移存转区"]);
        for silent in [Value::Null, json!({"remedy_en": " ", "remedy_zh": 7})] {
            let said = answer(silent);
            assert!(of(&said, Language::En).contains("make room") && of(&said, Language::Zh).contains("清理"));
        }
    }
}
