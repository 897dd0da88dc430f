//! A line test over real sockets and a wire whose faults are known to the datagram: the report says exactly those.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use diode_link::line_test::Report;
use diode_link::{LineEar, LineSent, ReceiverSettings, SenderSettings, send_line_test};

/// Far beyond what it takes, for machines under load.
const WAIT: Duration = Duration::from_secs(60);
/// All of a run fits, so that only the wire's own faults are counted.
const SOCKET_BYTES: usize = 8 << 20;
const ANY: &str = "127.0.0.1:0";

/// What the wire does to datagram n: how many of it go on, and behind which later one.
type Fault = fn(u64) -> (usize, Option<u64>);

/// Passes on, with faults, until nothing has come for a while.
fn wire(entrance: &UdpSocket, exit: SocketAddr, fault: Fault) {
    let onward = UdpSocket::bind(ANY).expect("a socket");
    let mut datagram = vec![0; 10_000];
    let mut held: Vec<(u64, Vec<u8>)> = Vec::new();
    let mut count = 0;
    while let Ok(length) = entrance.recv(&mut datagram) {
        let (copies, behind) = fault(count);
        for _ in 0..copies {
            match behind {
                Some(later) => held.push((later, datagram[..length].to_vec())),
                None => drop(onward.send_to(&datagram[..length], exit).expect("passed on")),
            }
        }
        for (_, late) in held.extract_if(.., |(later, _)| *later == count) {
            onward.send_to(&late, exit).expect("passed on");
        }
        count += 1;
    }
}

fn settings(target: SocketAddr) -> SenderSettings {
    SenderSettings { mtu: 1_200, rate_mbit: 4, block_kib: 64, ..SenderSettings::to(target) }
}

fn test_over(fault: Fault) -> (LineSent, Report) {
    let listen: SocketAddr = ANY.parse().expect("an address");
    let ear = LineEar::open(&ReceiverSettings { socket_mib: 8, ..ReceiverSettings::on(listen) }).expect("it listens");
    let exit = ear.address();
    let entrance = UdpSocket::bind(ANY).expect("a socket");
    // More than the kernel's ceiling where this process may.
    let _ = rustix::net::sockopt::set_socket_recv_buffer_size_force(&entrance, SOCKET_BYTES);
    entrance.set_read_timeout(Some(Duration::from_secs(3))).expect("a timeout");
    let target = entrance.local_addr().expect("bound");
    std::thread::scope(|threads| {
        threads.spawn(|| wire(&entrance, exit, fault));
        let report = threads.spawn(|| ear.hear(WAIT).expect("a report"));
        let sent = send_line_test(&settings(target), 2).expect("sent");
        (sent, report.join().expect("a report"))
    })
}

#[test]
fn the_report_tells_exactly_what_the_wire_did() {
    // One of a hundred is lost, forty in a row are, one in two hundred comes twice, 400 comes behind 450.
    let fault: Fault = |n| match n {
        600..640 => (0, None),
        400 => (1, Some(450)),
        n if n % 100 == 7 => (0, None),
        n if n % 200 == 3 => (2, None),
        _ => (1, None),
    };
    let (sent, report) = test_over(fault);
    assert_eq!((sent.frames, sent.refused, sent.frame_bytes), (868, 0, 1_152));
    assert_eq!((report.frames, report.arrived, report.lost), (868, 820, 48));
    assert_eq!((report.bursts, report.burst_longest), (9, 40));
    let classes: Vec<_> = report.burst_lengths.iter().map(|class| (class.from, class.to, class.count)).collect();
    assert_eq!(classes, [(1, 1, 8), (32, 63, 1)]);
    assert_eq!((report.reordered, report.reordered_by_max, report.duplicates, report.foreign), (1, 50, 4, 0));
    assert_eq!((report.rate_mbit_sent, report.source, report.first_recovery, report.interleave), (4, 61, 4, 8));
    // Eight blocks in the air: forty in a row are five of each, and four is what round 1 bears.
    assert!(report.blocks_open > 0 && report.block_worst >= 5 && !report.good, "{report:?}");
    assert!(report.advice.repair_first_percent > 5 && !report.advice.outage, "{report:?}");
}

#[test]
fn a_sound_line_is_good_and_the_sender_keeps_its_rate() {
    let (sent, report) = test_over(|_| (1, None));
    assert_eq!((report.lost, report.duplicates, report.reordered, report.kernel_drops), (0, 0, 0, 0));
    assert!(report.good && report.blocks_open == 0, "{report:?}");
    // A busy machine may be slower; faster than set it never is but for the first burst.
    assert!(sent.rate_mbit_reached < 4.4 && sent.seconds > 1.8, "{sent:?}");
}

#[test]
fn a_port_that_is_taken_and_a_line_without_a_word_are_told_apart() {
    let listen: SocketAddr = ANY.parse().expect("an address");
    let ear = LineEar::open(&ReceiverSettings::on(listen)).expect("it listens");
    let taken = LineEar::open(&ReceiverSettings::on(ear.address())).map(|_| ()).expect_err("the port is taken");
    assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
    let silent = ear.hear(Duration::from_millis(1)).expect_err("nothing was said");
    assert_eq!(silent.kind(), io::ErrorKind::TimedOut);
}

#[test]
fn a_test_that_is_no_test_is_refused_before_anything_is_sent() {
    let target: SocketAddr = "127.0.0.1:9".parse().expect("an address");
    for (seconds, rate_mbit) in [(0, 4), (3_601, 4), (3_600, 100_000)] {
        let refused = send_line_test(&SenderSettings { rate_mbit, ..settings(target) }, seconds).expect_err("refused");
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput, "{refused}");
    }
}
