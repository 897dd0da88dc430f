//! What people did, with which medium, and how far trips are, as the index tells it.

use super::*;

const FERRY: Crossing = Crossing::IntranetToExtranet;
const DAY: u64 = 24 * 60 * 60 * 1000;

fn act(event: Event, at: u64, person: &str, medium: Option<&str>) -> Record {
    let mut record = Record::new(event, Timestamp(at));
    (record.person, record.medium) = (Some(name(person)), medium.map(name));
    record
}

fn trip(event: Event, number: u64, at: u64, waybill: u8) -> Record {
    let mut record = act(event, at, "ma", Some("disc-0001"));
    (record.trip, record.crossing, record.digest) = (Some(number), Some(FERRY), Some(Octets([waybill; 32])));
    record
}

fn told(spool: &Spool, filter: &ActFilter) -> Vec<(u64, Event)> {
    spool.acts(filter, 100).unwrap().iter().map(|act| (act.record.at.0, act.record.event)).collect()
}

#[test]
fn what_a_person_did_between_two_moments_is_found_again_after_the_index_is_gone() {
    let world = World::new();
    let spool = world.open();
    let start = world.setup().now.0;
    // A clock that was set back: the ledger's order is not that of time.
    for (days, person, medium) in [(3, "ma", None), (1, "ma", Some("disc-1")), (2, "sun", Some("disc-1"))] {
        spool.record(act(Event::TripApproved, start + days * DAY, person, medium), Local::none()).unwrap();
    }
    // A person whose name begins like another's, and a parcel that names nobody.
    spool.record(act(Event::RouteDisabled, start, "ma-2", None), Local::none()).unwrap();
    spool.record(arrived(id(1), 1), Local::none()).unwrap();
    let of = |person: Option<&str>, medium: Option<&str>| ActFilter {
        person: person.map(name),
        medium: medium.map(name),
        ..ActFilter::default()
    };
    let at = |days: u64| (start + days * DAY, Event::TripApproved);
    let check = |spool: &Spool| {
        assert_eq!(told(spool, &of(Some("ma"), None)), [at(3), at(1)]);
        assert_eq!(told(spool, &of(None, Some("disc-1"))), [at(2), at(1)]);
        assert_eq!(told(spool, &of(Some("sun"), Some("disc-1"))), [at(2)]);
        assert_eq!(told(spool, &of(Some("nobody"), None)), []);
        assert_eq!(told(spool, &of(None, None)), []);
        let since = ActFilter { since: Some(Timestamp(start + 2 * DAY)), ..of(Some("ma"), None) };
        assert_eq!(told(spool, &since), [at(3)]);
        let until = ActFilter { until: Some(Timestamp(start + 3 * DAY)), ..of(Some("ma"), None) };
        assert_eq!(told(spool, &until), [at(1)]);
        let never = ActFilter { until: Some(Timestamp(start)), since: Some(Timestamp(start + DAY)), ..until };
        assert_eq!(told(spool, &never), []);
        // A page at a time.
        let first = spool.acts(&of(Some("ma"), None), 1).unwrap();
        assert_eq!(first.len(), 1);
        let next = ActFilter { before: Some(first[0].place), ..of(Some("ma"), None) };
        assert_eq!(told(spool, &next), [at(1)]);
        assert_eq!(spool.records(first[0].place.record, 1).unwrap()[0].record, first[0].record);
    };
    check(&spool);
    spool.rebuild_index().unwrap();
    check(&spool);
    drop(spool);
    fs::remove_dir_all(world.dir.path().join("index")).unwrap();
    check(&world.open());
}

#[test]
fn a_trip_is_as_far_as_the_records_of_its_last_waybill_say() {
    let world = World::new();
    let spool = world.open();
    let stage = |spool: &Spool, number| spool.trip(FERRY, Way::Out, number).unwrap().map(|trip| trip.stage);
    let record = |spool: &Spool, one: Record| assert!(spool.record(one, Local::none()).is_ok());
    for number in [1, 2, 300] {
        record(&spool, trip(Event::TripStaged, number, 10, 1));
    }
    record(&spool, trip(Event::TripApproved, 1, 11, 1));
    assert_eq!(stage(&spool, 1), Some(TripStage::Staged), "people agree one by one");
    record(&spool, trip(Event::TripConfirmed, 1, 12, 1));
    assert_eq!(stage(&spool, 1), Some(TripStage::Confirmed));
    record(&spool, trip(Event::TripStaged, 1, 13, 2));
    record(&spool, trip(Event::TripConfirmed, 1, 14, 1));
    assert_eq!(stage(&spool, 1), Some(TripStage::Staged), "the medium before it was staged again is nothing");
    let settled = Record { digest: None, ..trip(Event::TripSettled, 1, 15, 0) };
    record(&spool, settled);
    record(&spool, trip(Event::TripExpired, 2, 16, 1));
    // Another office's under the same number, one turned away, one never staged.
    record(&spool, trip(Event::TripImported, 2, 17, 3));
    record(&spool, trip(Event::TripRefused, 301, 18, 1));
    record(&spool, trip(Event::TripConfirmed, 302, 19, 1));
    for _ in 0..2 {
        let trips = spool.trips(FERRY, Way::Out, 100).unwrap();
        let found: Vec<_> = trips.iter().map(|trip| (trip.trip, trip.stage, trip.record.at.0)).collect();
        let (staged, expired, settled) = (TripStage::Staged, TripStage::Expired, TripStage::Settled);
        assert_eq!(found, [(300, staged, 10), (2, expired, 10), (1, settled, 13)]);
        assert_eq!(spool.trips(FERRY, Way::Out, 1).unwrap().len(), 1);
        assert_eq!(spool.trips(FERRY, Way::In, 9).unwrap()[0].stage, TripStage::Imported);
        spool.rebuild_index().unwrap();
    }
}
