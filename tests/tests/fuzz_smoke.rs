//! Every target of [`tests::fuzz`] in a short run that is the same everywhere: so many mutants each, from a seed.
//! `TRILOCK_SOAK=1` makes fifty times as many; `make fuzz` lets coverage lead.

use tests::fuzz::{FAMILIES, smoke};

fn run(family: &str) {
    let times = if std::env::var_os("TRILOCK_SOAK").is_some() { 50 } else { 1 };
    let targets = FAMILIES.iter().find(|(name, _)| *name == family).map(|(_, targets)| targets());
    smoke(targets.expect("a family of this name"), times);
}

/// One test a family, so that they run side by side and a failure has a name.
macro_rules! families {
    ($($family:ident)+) => {
        $(#[test]
        fn $family() {
            run(stringify!($family));
        })+

        #[test]
        fn every_family_has_its_test() {
            let tested = [$(stringify!($family)),+];
            assert!(FAMILIES.iter().map(|(name, _)| *name).eq(tested), "tests/src/fuzz.rs has another list than this one");
        }
    };
}

families! {
    parcel_statements_and_custody_entries
    statements_about_a_ledger
    rollovers_trust_lists_and_endorsements
    receipts_batches_and_gap_reports
    waybills_approvals_and_requests
    link_keys_and_beacons
    frames_blocks_and_plans_of_the_one_way_link
    frames_of_the_exchange
    bundles_envelopes_and_evidence
    backups
    keys_and_what_is_wrapped_to_them
    key_cards
    rules_and_configs
    records_and_checkpoints_of_the_ledger
    segments_of_the_ledger
    documents_before_the_guard
    parsers_of_the_guard
    papers_on_their_routes
    questions_to_a_worker
}
