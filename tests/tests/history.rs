//! A long past: what the index says of it, and that it says the same after a death at any moment of its making.
//! `TRILOCK_SOAK=1` makes the past longer and the deaths more.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test removes what an operator would")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use protocol::keys::SigningKey;
use protocol::{Name, Suite};
use spool::{Disk, Filter, Fuse, ParcelState, Seen, Setup, Spool, State};
use tests::figures::history::STEP;
use tests::history;

fn is_soak() -> bool {
    std::env::var_os("TRILOCK_SOAK").is_some()
}

/// A spool with a past that was never opened; its key lies where the steps of the figures look for it.
fn past(parcels: u64, lag: u64) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let key = SigningKey::generate(Suite::Std);
    fs::write(dir.path().join("key.pem"), key.to_pem(None).unwrap()).unwrap();
    spool::create(&history::setup(dir.path(), &key, history::moment(parcels))).unwrap();
    history::write(dir.path(), Suite::Std, parcels, lag).unwrap();
    dir
}

fn open(dir: &Path) -> Spool {
    let key = SigningKey::from_pem(&fs::read_to_string(dir.join("key.pem")).unwrap(), None).unwrap();
    Spool::open(history::setup(dir, &key, history::moment(10_000_000))).unwrap()
}

fn step(what: &str, dir: &Path, parcels: u64) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.args([STEP, what]).arg(dir).env("PARCELS", parcels.to_string()).stdout(Stdio::piped());
    command
}

/// Waits until a step says that it began. What it says later must find somebody, or it would end by that.
fn begun(child: &mut Child) -> BufReader<ChildStdout> {
    let mut said = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(!line.is_empty(), "the step said nothing");
    said
}

/// All parcels, newest first.
fn parcels(spool: &Spool) -> Vec<ParcelState> {
    let mut all: Vec<ParcelState> = Vec::new();
    loop {
        let page = Filter { before: all.last().map(|last| last.parcel), ..Filter::default() };
        let page = spool.parcels(&page, 5_000).unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

/// What an index says.
type Said = (Vec<ParcelState>, BTreeMap<(Name, State), u64>, Vec<bool>, usize);

fn said(spool: &Spool) -> Said {
    let all = parcels(spool);
    let taken = all.iter().filter_map(|state| state.sent.as_ref());
    let taken = taken.map(|sent| spool.parcel_of_bundle(&sent.bundle).unwrap().is_some()).collect();
    let label = history::words(0).labels.pop().unwrap();
    let labelled = spool.parcels(&Filter { label: Some(label), ..Filter::default() }, usize::MAX).unwrap().len();
    (all, spool.counts().unwrap(), taken, labelled)
}

#[test]
fn the_index_of_a_long_past_says_of_every_parcel_what_its_records_said() {
    // The receipts of a parcel come transactions after it.
    let (count, lag) = if is_soak() { (300_000, 40_000) } else { (15_000, 6_000) };
    let dir = past(count, lag);
    let spool = open(dir.path());
    let all = parcels(&spool);
    assert_eq!(all.len() as u64, count);
    for (number, state) in (0..count).zip(all.iter().rev()) {
        let end = if number % 100 == 99 { State::Refused } else { State::Delivered };
        assert_eq!((state.parcel, state.state, state.custody_passed), (history::parcel(number), end, true));
        assert_eq!((state.first, state.last), (history::moment(number), history::moment(number + 2 * lag)));
        assert_eq!(state.labels, history::words(number).labels);
        let sent = state.sent.as_ref().unwrap();
        assert_eq!(spool.parcel_of_bundle(&sent.bundle).unwrap(), Some(state.parcel));
        assert!(!spool.bundle_taken(&sent.bundle).unwrap());
    }
    let counts: u64 = spool.counts().unwrap().values().sum();
    assert_eq!(counts, count);
    let case = Filter { label: Some(history::case(4_242)), ..Filter::default() };
    let found = spool.parcels(&case, 10).unwrap();
    assert_eq!(found.iter().map(|state| state.parcel).collect::<Vec<_>>(), [history::parcel(4_242)]);
    let last = (count + 2 * lag - 1) / 16 + 1;
    for sequence in 1..=last {
        let seen = spool.seen(&history::extranet(), history::OUT.back(), 5, sequence).unwrap();
        assert_eq!(seen, Seen::Before);
    }
    assert_eq!(spool.seen(&history::extranet(), history::OUT.back(), 5, last + 1).unwrap(), Seen::New);
    assert!(spool.gaps(&history::extranet(), history::OUT.back()).is_empty());
}

/// Makes the index anew on a disk that dies after so many effects: asked for while the node runs, or found missing at its
/// start. Answers how many effects were asked for.
fn made_anew(dir: &Path, asked_for: bool, fuse: &Fuse) -> u64 {
    let key = SigningKey::from_pem(&fs::read_to_string(dir.join("key.pem")).unwrap(), None).unwrap();
    let disk = Disk::with_fuse(fuse.clone());
    if !asked_for {
        fs::remove_file(dir.join("index/index.redb")).unwrap();
    }
    let opened = Spool::open(Setup { disk, ..history::setup(dir, &key, history::moment(10_000_000)) });
    let _died = opened.and_then(|spool| if asked_for { spool.rebuild_index() } else { Ok(()) });
    fuse.used()
}

#[test]
fn an_index_that_dies_while_it_is_made_anew_says_the_same_at_the_next_start() {
    let (count, deaths) = if is_soak() { (300_000, 60) } else { (8_000, 12) };
    let dir = past(count, 700);
    let expected = said(&open(dir.path()));
    for asked_for in [true, false] {
        let whole = made_anew(dir.path(), asked_for, &Fuse::after(u64::MAX));
        assert!(whole > deaths, "{whole} effects");
        for death in 0..deaths {
            let fuse = Fuse::after(whole * death / deaths);
            made_anew(dir.path(), asked_for, &fuse);
            assert!(fuse.burnt(), "it dies before its end");
            assert!(said(&open(dir.path())) == expected, "death {death} of {deaths}, asked for: {asked_for}");
        }
    }
}

#[test]
fn a_node_killed_while_it_records_knows_every_record_at_the_next_start() {
    let (count, kills) = if is_soak() { (50_000, 40) } else { (500, 3) };
    let dir = past(count, 100);
    drop(open(dir.path()));
    for kill in 0..kills {
        // Killed as soon as it has recorded so many, while sixteen threads record on.
        let until = (150 + kill * 67 % 200_u64).to_string();
        let mut child = step("live", dir.path(), count).env("UNTIL_KILLED", until).spawn().unwrap();
        let _said = begun(&mut child);
        child.kill().unwrap();
        child.wait().unwrap();
        let spool = open(dir.path());
        let after = said(&spool);
        assert!(after.0.len() as u64 > count, "what was recorded is known");
        spool.rebuild_index().unwrap();
        assert!(said(&spool) == after, "kill {kill}: the index says something else than the ledger");
    }
}
