//! Stories of packed files: bz2, xz, zst and 7z. The files under `vectors/` were packed by other programs from three
//! points of this project's own making.

use guard::{DetectVerdict, detect};

use DetectVerdict::{Coordinates, Uninspectable};

fn vector(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"))).expect("a vector of this project")
}

const OPEN: [&str; 5] = ["points.csv.bz2", "points.csv.xz", "points.csv.zst", "points-lzma.7z", "points-lzma2.7z"];

#[test]
fn what_others_packed_is_unpacked_under_every_name() {
    for name in OPEN {
        for called in [name, "a.jpg", "noext"] {
            assert_eq!(detect(called, &vector(name)).verdict, Coordinates, "{name} as {called}");
        }
    }
}

#[test]
fn what_is_locked_or_packed_otherwise_is_not_inspectable() {
    for (name, rule) in
        [("locked.7z", "encrypted"), ("locked-names.7z", "encrypted"), ("points-bzip2.7z", "unknown-compression")]
    {
        let detection = detect(name, &vector(name));
        assert_eq!(detection.verdict, Uninspectable, "{name}");
        assert!(detection.findings.iter().any(|f| f.rule == rule), "{name}: {:?}", detection.findings);
    }
}

#[test]
fn bytes_behind_the_packed_stream_are_not_let_by() {
    for name in OPEN {
        let mut bytes = vector(name);
        bytes.extend_from_slice(b"4851490.4193 and more");
        let found = detect(name, &bytes).findings;
        let told = ["trailing-bytes", "malformed-zstd", "malformed-xz"];
        assert!(found.iter().any(|f| told.contains(&f.rule)), "{name}: {found:?}");
    }
    // Two streams in one bz2: the decoder stops after the first.
    let twice = [vector("points.csv.bz2"), vector("points.csv.bz2")].concat();
    assert!(detect("a.bz2", &twice).findings.iter().any(|f| f.rule == "trailing-bytes"));
}

#[test]
fn cut_and_broken_files_are_never_clean_and_never_a_panic() {
    for name in OPEN {
        let bytes = vector(name);
        for cut in 6..bytes.len() {
            let detection = detect(name, &bytes[..cut]);
            assert_ne!(detection.verdict, DetectVerdict::Clean, "{name} cut at {cut}");
            assert!(detection.findings.iter().all(|f| f.rule != "parser-failed"), "{name} cut at {cut}");
        }
        for at in 6..bytes.len() {
            for flip in [0x01, 0x80, 0xFF] {
                let mut broken = bytes.clone();
                broken[at] ^= flip;
                let detection = detect(name, &broken);
                assert!(detection.findings.iter().all(|f| f.rule != "parser-failed"), "{name} at {at}");
            }
        }
    }
}

#[test]
fn a_seven_that_asks_for_a_huge_dictionary_is_not_asked_back() {
    for method in [&b"\x23\x03\x01\x01\x05\x5D\xFF\xFF\xFF\xFF"[..], b"\x21\x21\x01\x28"] {
        let mut bytes = b"7z\xBC\xAF\x27\x1C\0\x04\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
        bytes.extend_from_slice(&u64::try_from(method.len()).expect("small").to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(method);
        let detection = detect("a.7z", &bytes);
        assert!(detection.findings.iter().any(|f| f.rule == "expands-too-far"), "{:?}", detection.findings);
    }
}
