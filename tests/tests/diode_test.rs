//! The line test as an office runs it: both programs, and a wire between them that loses nothing, or one in ten.
#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test fail as a test does")]
#![allow(clippy::disallowed_methods, reason = "a test makes and removes files as an app or a person would")]

use std::fs;
use std::net::UdpSocket;
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::office::{Office, OneWay, Wishes};
use tests::programs::{programs, repository, words};
use tests::relay::{Mischief, Relay};

const STEP: Duration = Duration::from_secs(60);

/// An office whose one-way wire is a relay. The rate is one that a small buffer of a busy machine bears.
fn office(root: &std::path::Path, mischief: Mischief) -> (Office, Relay) {
    let wishes = Wishes {
        suite: "std".to_owned(),
        one_way: OneWay::Diode,
        repository: repository(),
        programs: programs().to_owned(),
        round_every_s: 3,
    };
    let mut wire = None;
    let office = Office::found(root, wishes, |receiver| {
        let relay = wire.insert(Relay::between(([127, 0, 0, 1], 0).into(), receiver, mischief, 11)?);
        Ok(relay.entrance)
    });
    let office = office.unwrap();
    for node in ["extranet", "intranet"] {
        let text = fs::read_to_string(office.config(node)).unwrap();
        fs::write(office.config(node), text.replace("rate_mbit = 400", "rate_mbit = 10")).unwrap();
    }
    (office, wire.unwrap())
}

/// The receiving end first, and the sending end once that listens.
fn both_ends(office: &Office) -> (Output, Output) {
    std::thread::scope(|scope| {
        let inner = scope.spawn(|| office.node_output("intranet", &["diode-test", "--wait", "60", "--json"]).unwrap());
        let deadline = Instant::now() + STEP;
        while UdpSocket::bind(office.receiver).is_ok() {
            assert!(Instant::now() < deadline && !inner.is_finished(), "the receiving end listens");
            std::thread::park_timeout(Duration::from_millis(20));
        }
        let outer = office.node_output("extranet", &["diode-test", "--seconds", "2", "--json"]).unwrap();
        (outer, inner.join().unwrap())
    })
}

fn said(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", words(output)))
}

#[test]
fn a_line_that_loses_nothing_is_good_and_the_numbers_of_both_ends_agree() {
    let root = tempfile::tempdir().unwrap();
    let (office, _wire) = office(root.path(), Mischief::default());
    let (outer, inner) = both_ends(&office);
    let (sent, came) = (said(&outer), said(&inner));
    assert_eq!((outer.status.code(), inner.status.code()), (Some(0), Some(0)), "{sent} {came}");
    assert!(sent["frames"].as_u64() > Some(1_000) && sent["frames"] == came["frames"], "{sent} {came}");
    assert_eq!((&came["arrived"], came["lost"].as_u64()), (&sent["frames"], Some(0)), "{came}");
    assert_eq!(came["good"], true, "{came}");
}

#[test]
fn a_line_that_loses_one_in_ten_is_not_and_what_it_needs_is_said() {
    let root = tempfile::tempdir().unwrap();
    let (office, wire) = office(root.path(), Mischief { lost: 1_000, ..Mischief::default() });
    let (outer, inner) = both_ends(&office);
    let (sent, came) = (said(&outer), said(&inner));
    assert_eq!((outer.status.code(), inner.status.code()), (Some(0), Some(1)), "{sent} {came}");
    assert_eq!(came["lost"].as_u64(), Some(wire.counts().1), "what the wire lost is what the report says: {came}");
    // The run ended before a block was full, so none stayed open; the loss is too much for full ones all the same.
    assert_eq!((&came["good"], came["blocks_open"].as_u64()), (&Value::Bool(false), Some(0)), "{came}");
    assert!(came["advice"]["repair_first_percent"].as_u64() > Some(10), "{came}");
}

#[test]
fn beside_a_daemon_neither_end_tests_and_without_a_sender_the_receiving_end_gives_up() {
    let root = tempfile::tempdir().unwrap();
    let (mut office, _wire) = office(root.path(), Mischief::default());
    let alone = office.node_output("intranet", &["diode-test", "--wait", "1"]).unwrap();
    assert_eq!(alone.status.code(), Some(1), "{}", words(&alone));
    assert!(words(&alone).contains("no frame of a line test came"), "{}", words(&alone));
    for node in ["extranet", "intranet"] {
        office.start(node).unwrap();
        let status = office.spool(node).join("status/status.json");
        assert!(office.await_that(STEP, |_| status.exists().then_some(())).is_some(), "{node} starts");
        let refused = office.node_output(node, &["diode-test", "--wait", "1"]).unwrap();
        assert_eq!(refused.status.code(), Some(1), "{}", words(&refused));
        assert!(words(&refused).contains("the daemon of this node is running"), "{}", words(&refused));
    }
}
