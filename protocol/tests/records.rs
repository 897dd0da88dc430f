//! Frozen ledger records, for this reader and for anybody else's: `vectors/*.record`, in the form of the bundles' vectors.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "the helpers of a test fail as a test does")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use base64ct::{Base64, Encoding};
use protocol::Suite;
use protocol::ledger::{Record, leaf};

#[test]
fn every_record_vector_is_read_as_it_says_and_written_back_byte_for_byte() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let mut counted: BTreeMap<bool, usize> = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|suffix| suffix != "record") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let (head, body) = text.split_once("\n\n").unwrap();
        let words: BTreeMap<&str, &str> = head.lines().map(|line| line.split_once(": ").unwrap()).collect();
        let bytes = Base64::decode_vec(&body.split_whitespace().collect::<String>()).unwrap();
        let name = path.display();
        *counted.entry(words["expect"] == "ok").or_default() += 1;
        match Record::parse(&bytes) {
            Ok(record) => {
                assert_eq!(words["expect"], "ok", "{name}");
                assert_eq!(
                    record.medium.as_ref().map(|medium| medium.as_str()),
                    words.get("medium").copied(),
                    "{name}"
                );
                assert_eq!(record.to_bytes(), bytes, "{name}");
                assert_eq!(leaf(Suite::Std, &bytes).to_string(), words["leaf"], "{name}");
            }
            Err(_) => assert_eq!(words["expect"], "malformed", "{name}"),
        }
    }
    assert_eq!(counted, BTreeMap::from([(true, 2), (false, 2)]));
}
