//! The report of a line test for people: what was lost and how, what the machine did, what to set. In two languages.

use diode_link::line_test::{Lengths, Report};

fn lengths(classes: &[Lengths]) -> String {
    let one = |class: &Lengths| match class {
        Lengths { from, to, count } if from == to => format!("{from}: {count}"),
        Lengths { from, to, count } => format!("{from}-{to}: {count}"),
    };
    classes.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn kib(bytes: u64) -> u64 {
    bytes >> 10
}

/// For `--lang en`.
pub(crate) fn english(report: &Report) -> String {
    let r = report;
    let mut lines = vec![
        format!("frames        {} sent, {} came, {} lost: {:.4} %", r.frames, r.arrived, r.lost, r.loss_percent),
        format!("bursts        {}; longest {} frames, {:.1} ms", r.bursts, r.burst_longest, r.burst_longest_ms),
    ];
    if !r.burst_lengths.is_empty() {
        lines.push(format!("  by length   {}", lengths(&r.burst_lengths)));
    }
    lines.extend([
        format!(
            "out of order  {}, by {} at most; duplicates {}; foreign {}",
            r.reordered, r.reordered_by_max, r.duplicates, r.foreign
        ),
        format!("rate          {:.0} Mbit/s seen, {} set at the sender", r.rate_mbit_seen, r.rate_mbit_sent),
        format!(
            "this machine  {} dropped by the kernel; buffer {} KiB, 100 ms of the rate are {} KiB",
            r.kernel_drops,
            kib(r.socket_bytes),
            kib(r.socket_bytes_wanted)
        ),
        format!(
            "blocks        of {} + {}, {} at once: {} of {} stay open after round 1; the worst lost {}",
            r.source, r.first_recovery, r.interleave, r.blocks_open, r.blocks, r.block_worst
        ),
    ]);
    if r.advice.buffer {
        lines.push(format!("to do         here: socket_mib = {}, sysctl -w net.core.rmem_max={}; test again, the loss above may be this buffer's; if it stays, lower rate_mbit at the sender", r.advice.socket_mib, r.advice.rmem_max));
    }
    if r.advice.outage {
        lines.push("to do         the longest loss is an outage: repair does not bear it, rounds bring it; look at gate and fibre, or lower rate_mbit".to_owned());
    }
    lines.push(format!(
        "sender needs  repair_first_percent = {}, repair_percent = {}, or what it has if that is more",
        r.advice.repair_first_percent, r.advice.repair_percent
    ));
    lines.push(
        if r.good {
            "verdict       good: round 1 bears this line as it is set"
        } else {
            "verdict       not good: see what is to do; rounds would deliver all the same, later"
        }
        .to_owned(),
    );
    lines.join("\n")
}

/// For `--lang zh`.
pub(crate) fn chinese(report: &Report) -> String {
    let r = report;
    let mut lines = vec![
        format!("帧      发送 {}，收到 {}，丢失 {}：{:.4} %", r.frames, r.arrived, r.lost, r.loss_percent),
        format!("连续丢失  {} 段；最长 {} 帧，{:.1} 毫秒", r.bursts, r.burst_longest, r.burst_longest_ms),
    ];
    if !r.burst_lengths.is_empty() {
        lines.push(format!("  按长度  {}", lengths(&r.burst_lengths)));
    }
    lines.extend([
        format!(
            "乱序    {}，最多相差 {}；重复 {}；无关数据报 {}",
            r.reordered, r.reordered_by_max, r.duplicates, r.foreign
        ),
        format!("速率    实测 {:.0} Mbit/s，发送端设定 {}", r.rate_mbit_seen, r.rate_mbit_sent),
        format!(
            "本机    内核丢弃 {}；缓冲区 {} KiB，100 毫秒流量为 {} KiB",
            r.kernel_drops,
            kib(r.socket_bytes),
            kib(r.socket_bytes_wanted)
        ),
        format!(
            "块      {} + {} 个码元，{} 块交织：首轮后 {} / {} 块未解出；单块最多丢失 {}",
            r.source, r.first_recovery, r.interleave, r.blocks_open, r.blocks, r.block_worst
        ),
    ]);
    if r.advice.buffer {
        lines.push(format!("处理    本机：socket_mib = {}，sysctl -w net.core.rmem_max={}；随后重测，上述丢失可能由缓冲区造成；仍丢失则调低发送端 rate_mbit", r.advice.socket_mib, r.advice.rmem_max));
    }
    if r.advice.outage {
        lines.push(
            "处理    最长一段属于中断：冗余无法承受，由后续轮次补上；请检查光闸与光纤，或调低 rate_mbit".to_owned(),
        );
    }
    lines.push(format!(
        "发送端  repair_first_percent = {}，repair_percent = {}；现值更大则保持现值",
        r.advice.repair_first_percent, r.advice.repair_percent
    ));
    lines.push(
        if r.good {
            "结论    良好：按现有设置，首轮即可承受"
        } else {
            "结论    不合格：请按上述处理；不处理时由后续轮次送达，只是更晚"
        }
        .to_owned(),
    );
    lines.join("\n")
}
