//! `diode-test`: the line test of the one-way link, one end of it. What a node found comes back in its own words,
//! because only its program knows the transport.

use std::io;
use std::time::Duration;

use protocol::Zone;
use serde::Serialize;
use serde_json::Value;
use spool::Layout;

use super::{Exit, Links, Words, ask};
use crate::config::Config;

/// What is asked of a line test.
#[derive(Clone, Copy, Debug)]
pub struct LineTest {
    /// How long the sending end sends.
    pub seconds: u16,
    /// How long the receiving end waits for the first frame.
    pub wait: Duration,
}

/// What one end of a line test has to say.
pub struct LineAnswer {
    good: bool,
    figures: Value,
    en: String,
    zh: String,
}

impl LineAnswer {
    /// Figures for scripts, words for people; `good` is false where the link as it is set does not bear the line.
    pub fn new(good: bool, figures: &impl Serialize, en: String, zh: String) -> io::Result<LineAnswer> {
        Ok(LineAnswer { good, figures: serde_json::to_value(figures)?, en, zh })
    }
}

/// The command.
pub(super) fn test<L: Links>(config: &Config<L>, zone: Zone, asked: LineTest, out: &Words) -> Exit {
    if ask::running(&Layout::new(&config.node.spool)) {
        return in_use("the daemon of this node is running", zone, out);
    }
    match config.link.line_test(asked) {
        None => {
            out.error(
                "this node has no [link.diode]",
                "run it on the two nodes at the ends of the light gate",
                "请在单向光闸两端的节点上运行",
            );
            Exit::Config
        }
        Some(Ok(answer)) => {
            out.result(&answer.figures, || out.pick(&answer.en, &answer.zh).to_owned());
            if answer.good { Exit::Done } else { Exit::Refused }
        }
        Some(Err(error)) => failed(&error, zone, out),
    }
}

fn in_use(what: &str, zone: Zone, out: &Words) -> Exit {
    out.error(
        &format!("{what}: a line test needs the link for itself"),
        &format!("systemctl stop trilock-{zone}, test, start it again; nothing is lost meanwhile"),
        &format!("请先 systemctl stop trilock-{zone}，测试后再启动；期间不会丢失投递件"),
    );
    Exit::Refused
}

fn failed(error: &io::Error, zone: Zone, out: &Words) -> Exit {
    match error.kind() {
        io::ErrorKind::AddrInUse => in_use("another program has the port of link.diode", zone, out),
        io::ErrorKind::TimedOut => {
            out.error(
                "no frame of a line test came",
                "start this end first, then extranet-node diode-test; else look at port, gate, neighbour entry: docs/diode.md",
                "请先启动接收端，再在外网区运行 extranet-node diode-test；仍收不到则检查端口、光闸、静态邻居表项，见 docs/diode.zh-CN.md",
            );
            Exit::Refused
        }
        io::ErrorKind::InvalidInput => {
            out.error(&error.to_string(), "see diode-test --help", "参见 diode-test --help");
            Exit::Config
        }
        _ => {
            out.error(
                &format!("link.diode: {error}"),
                "look at the address in [link.diode] and at the interface: ip addr",
                "请检查 [link.diode] 中的地址与网络接口：ip addr",
            );
            Exit::Disk
        }
    }
}
