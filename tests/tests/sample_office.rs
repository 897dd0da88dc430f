//! The office's day: what belongs to a route passes it, and one boundary point in any of it stops it.

use std::fs;

use guard::{DetectVerdict, detect};
use tests::office_day::{self, Judged, judged, place};
use tests::programs::repository;
use tests::samples::ALL;

#[test]
fn every_document_of_the_day_passes_on_its_route() {
    assert!(ALL.len() >= 40, "{} documents", ALL.len());
    for sample in ALL {
        assert_eq!(judged(sample, sample.clean()), Judged::Passes, "{} {}", sample.route, sample.name);
    }
}

#[test]
fn one_boundary_point_stops_every_one_of_them() {
    for sample in ALL {
        let verdict = judged(sample, sample.spiked());
        assert!(verdict.is_stopped(), "{} {}: {verdict}", sample.route, sample.name);
        assert_ne!(detect(sample.name, &sample.spiked()).verdict, DetectVerdict::Clean, "{}", sample.name);
    }
}

#[test]
fn what_is_committed_is_what_the_generator_makes() {
    for sample in ALL {
        let committed = fs::read(place(sample)).unwrap_or_default();
        assert!(committed == sample.clean(), "{}: run `spike --write`", place(sample).display());
    }
}

#[test]
fn the_profile_keeps_to_the_rules_that_are_shipped() {
    for entry in fs::read_dir(repository().join("config/rules")).expect("shipped rules") {
        let shipped = entry.expect("an entry").path();
        let own = office_day::profile().join("rules").join(shipped.file_name().expect("a file"));
        assert_eq!(fs::read(&shipped).expect("shipped"), fs::read(&own).expect("the profile's"), "{}", own.display());
    }
}
