//! The tables of docs/diode.md are what the code computes, in both languages.

use std::fs;
use std::path::Path;

use diode_link::odds::{burst_borne, recovery_for, undecodable};
use protocol::oneway::{Geometry, geometry};

const MTU: u16 = 1_500;
/// What the guide calls a full block: the default of `block_kib`.
const FULL_BYTES: u32 = 2 << 20;
/// A bundle of 10 KiB with its envelope.
const SMALL_BYTES: u32 = 11 << 10;
/// Bytes of a frame at that MTU, without IP and UDP headers.
const FRAME_BITS: u64 = 1_472 * 8;

fn block(bytes: u32, repair_percent: u16) -> Geometry {
    Geometry::of_block(bytes, geometry::symbol_bytes_for(MTU, false), repair_percent).expect("a block")
}

/// The chance that a block stays open after round 1 and after round 2 with the defaults, 5 % and 15 %.
fn open(bytes: u32, loss: f64) -> [String; 2] {
    let shape = block(bytes, 15);
    [shape.first_recovery(5), shape.recovery].map(|recovery| {
        let chance = undecodable(shape.source.into(), recovery.into(), loss);
        match chance {
            chance if chance < 1e-12 => "< 1e-12".to_owned(),
            chance if chance > 0.9999 => "1".to_owned(),
            chance => format!("{chance:.1e}"),
        }
    })
}

fn rows() -> Vec<String> {
    let full = block(FULL_BYTES, 15);
    let mut rows = Vec::new();
    for percent in [0.1, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 8.0, 10.0] {
        let loss = percent / 100.0;
        let [first, second] = open(FULL_BYTES, loss);
        let [small_first, small_second] = open(SMALL_BYTES, loss);
        let enough = recovery_for(full.source.into(), loss, 1e-6).expect("there are enough");
        let needed = (enough * 100).div_ceil(full.source.into());
        rows.push(format!("| {percent} % | {first} | {second} | {needed} | {small_first} | {small_second} |"));
    }
    for (percent, interleave) in [(5, 8), (5, 32), (10, 8), (10, 32), (15, 32)] {
        let frames = burst_borne(block(FULL_BYTES, percent).first_recovery(percent).into(), interleave);
        // Halves of a millisecond are rounded to the nearest.
        let ms = |mbit: u64| (frames * FRAME_BITS + mbit * 500) / (mbit * 1_000);
        rows.push(format!("| {percent} | {interleave} | {frames} | {} | {} |", ms(500), ms(1_000)));
    }
    rows
}

#[test]
fn the_tables_of_the_guide_are_what_the_code_computes() {
    for page in ["diode.md", "diode.zh-CN.md"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(page);
        let text = fs::read_to_string(path).expect("the guide");
        let told: Vec<&str> = text.lines().map(str::trim).collect();
        let missing: Vec<String> = rows().into_iter().filter(|row| !told.contains(&row.as_str())).collect();
        assert!(missing.is_empty(), "{page} does not say\n{}", missing.join("\n"));
        for number in ["1,490", "224", "75"] {
            assert!(text.contains(number), "{page}: {number}");
        }
    }
    let full = block(FULL_BYTES, 15);
    assert_eq!((full.source, full.recovery, full.first_recovery(5)), (1_490, 224, 75));
}
