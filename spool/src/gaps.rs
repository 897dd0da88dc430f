//! Which numbers of a peer came, which will never come, and which are missing. Pure and in memory; the index keeps the
//! ranges as rows and the ledger can give them again.
//!
//! Memory is bounded: a sender that leaves too many holes, or starts too many epochs, has the oldest closed. Under that
//! floor nothing is known to be new any more and everything counts as replayed.

use std::collections::{BTreeMap, HashMap};

use protocol::ledger::{Event, Record};
use protocol::receipt::{EpochGaps, GAP_RANGES_MAX, Range};
use protocol::verdict::Reason;
use protocol::{Crossing, Name};

use crate::ranges::Ranges;

/// Ranges kept of one epoch. A day of one-way traffic with every tenth bundle lost stays below it.
const RANGES_MAX: usize = 65_536;
/// Epochs kept of one peer and crossing, and of our own: a start every hour for six weeks.
const EPOCHS_MAX: usize = 1_024;

/// What is known of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It did not come before.
    New,
    /// It came before.
    Before,
    /// Below the floor: nobody remembers, so it counts as replayed.
    BelowFloor,
}

/// Whose ranges a row belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Came from a peer.
    Seen = b's',
    /// A peer said these will never come.
    Withdrawn = b'w',
    /// Ours, reserved.
    Reserved = b'r',
    /// Ours, used.
    Used = b'u',
    /// Ours, never to come.
    Retired = b'x',
    /// Everything of a peer's epoch up to `to` is below the floor.
    Floor = b'f',
    /// Every epoch of a peer up to `to` is below the floor.
    EpochFloor = b'e',
}

impl Kind {
    const ALL: [Kind; 7] =
        [Kind::Seen, Kind::Withdrawn, Kind::Reserved, Kind::Used, Kind::Retired, Kind::Floor, Kind::EpochFloor];
}

/// The key of one row: kind, crossing, epoch, first number, peer (empty where the numbers are ours).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RowKey {
    kind: Kind,
    crossing: Crossing,
    epoch: u64,
    from: u64,
    peer: Option<Name>,
}

impl RowKey {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut key = vec![self.kind as u8, self.crossing.code()];
        key.extend_from_slice(&self.epoch.to_be_bytes());
        key.extend_from_slice(&self.from.to_be_bytes());
        key.extend_from_slice(self.peer.as_ref().map_or("", |peer| peer.as_str()).as_bytes());
        key
    }

    pub(crate) fn from_bytes(key: &[u8]) -> Option<RowKey> {
        let ([kind, crossing], rest) = key.split_first_chunk()?;
        let (epoch, rest) = rest.split_first_chunk()?;
        let (from, peer) = rest.split_first_chunk()?;
        Some(RowKey {
            kind: Kind::ALL.into_iter().find(|known| *known as u8 == *kind)?,
            crossing: Crossing::from_code(*crossing)?,
            epoch: u64::from_be_bytes(*epoch),
            from: u64::from_be_bytes(*from),
            peer: if peer.is_empty() { None } else { Some(Name::new(std::str::from_utf8(peer).ok()?).ok()?) },
        })
    }
}

/// A change of rows: the key and its last number, or none where the row goes.
pub(crate) type RowChange = (RowKey, Option<u64>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct PeerEpoch {
    seen: Ranges,
    withdrawn: Ranges,
    floor: u64,
    /// A beacon said that numbers below this exist. Not in the ledger; comes again with the next beacon.
    next: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Peer {
    epochs: BTreeMap<u64, PeerEpoch>,
    floor: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Own {
    reserved: Ranges,
    used: Ranges,
    retired: Ranges,
}

/// The numbers of every peer and our own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Book {
    peers: HashMap<(Name, Crossing), Peer>,
    own: BTreeMap<Crossing, BTreeMap<u64, Own>>,
}

/// Does this record say that the number it names came and is settled? A number in bytes that could not be
/// authenticated was claimed by somebody, not taken.
pub(crate) fn takes_number(record: &Record) -> bool {
    match record.event {
        // A paper of its sender says that it came, before the disk was lost.
        Event::LostKnown => record.sequence.is_some(),
        Event::NumberTaken | Event::Arrived | Event::Duplicate | Event::Quarantined | Event::Incident => true,
        // Without a number it names a file that was put aside before its envelope was proven: whoever can lay a file
        // with a copied id must not have the true bundle turned away as known.
        Event::Refused => {
            record.sequence.is_some()
                && !matches!(
                    record.reason,
                    Some(Reason::NotAuthentic | Reason::Malformed | Reason::UnknownKey | Reason::Unreadable)
                )
        }
        _ => false,
    }
}

impl Book {
    /// Takes a row as the index kept it.
    pub(crate) fn load(&mut self, key: &RowKey, to: u64) {
        let RowKey { kind, crossing, epoch, from, peer } = key;
        match (kind, peer) {
            (Kind::Seen, Some(peer)) => drop(self.peer_epoch(peer, *crossing, *epoch).seen.insert(*from, to)),
            (Kind::Withdrawn, Some(peer)) => drop(self.peer_epoch(peer, *crossing, *epoch).withdrawn.insert(*from, to)),
            (Kind::Floor, Some(peer)) => self.peer_epoch(peer, *crossing, *epoch).floor = to,
            (Kind::EpochFloor, Some(peer)) => {
                self.peers.entry((peer.clone(), *crossing)).or_default().floor = Some(to);
            }
            (Kind::Reserved, None) => drop(self.own_epoch(*crossing, *epoch).reserved.insert(*from, to)),
            (Kind::Used, None) => drop(self.own_epoch(*crossing, *epoch).used.insert(*from, to)),
            (Kind::Retired, None) => drop(self.own_epoch(*crossing, *epoch).retired.insert(*from, to)),
            _ => {}
        }
    }

    fn peer_epoch(&mut self, peer: &Name, crossing: Crossing, epoch: u64) -> &mut PeerEpoch {
        self.peers.entry((peer.clone(), crossing)).or_default().epochs.entry(epoch).or_default()
    }

    fn own_epoch(&mut self, crossing: Crossing, epoch: u64) -> &mut Own {
        self.own.entry(crossing).or_default().entry(epoch).or_default()
    }

    /// Takes what a record says about numbers, and tells which rows change.
    pub(crate) fn apply(&mut self, record: &Record) -> Vec<RowChange> {
        let (Some(crossing), Some(epoch), Some(from)) = (record.crossing, record.epoch, record.sequence) else {
            return Vec::new();
        };
        let to = record.through.unwrap_or(from);
        match (record.event, &record.peer) {
            (_, Some(peer)) if takes_number(record) => self.take(peer, crossing, epoch, from, Kind::Seen, from),
            (Event::Withdrawn, Some(peer)) => self.take(peer, crossing, epoch, from, Kind::Withdrawn, to),
            (Event::SequencesReserved, _) => self.keep(crossing, epoch, from, to, Kind::Reserved),
            (Event::SequencesWithdrawn, _) => self.keep(crossing, epoch, from, to, Kind::Retired),
            (Event::Accepted | Event::Relayed | Event::ReceiptsSent | Event::Resent, _) => {
                self.keep(crossing, epoch, from, from, Kind::Used)
            }
            _ => Vec::new(),
        }
    }

    fn take(&mut self, peer: &Name, crossing: Crossing, epoch: u64, from: u64, kind: Kind, to: u64) -> Vec<RowChange> {
        let key = |kind, epoch, from| RowKey { kind, crossing, epoch, from, peer: Some(peer.clone()) };
        let book = self.peers.entry((peer.clone(), crossing)).or_default();
        if book.floor.is_some_and(|floor| epoch <= floor) {
            return Vec::new();
        }
        let one = book.epochs.entry(epoch).or_default();
        let set = if kind == Kind::Seen { &mut one.seen } else { &mut one.withdrawn };
        let change = set.insert(from, to);
        let mut rows = rows(change, |from| key(kind, epoch, from));
        if set.len() > RANGES_MAX {
            // Closes the lowest hole: everything up to the end of the range above it is below the floor now.
            let end = set.iter().nth(1).map_or(0, |range| range.to);
            one.floor = one.floor.max(end);
            rows.extend(self::rows(set.insert(1, end), |from| key(kind, epoch, from)));
            rows.push((key(Kind::Floor, epoch, 0), Some(one.floor)));
        }
        while book.epochs.len() > EPOCHS_MAX {
            let Some((old, gone)) = book.epochs.pop_first() else { break };
            rows.extend(gone.seen.iter().map(|range| (key(Kind::Seen, old, range.from), None)));
            rows.extend(gone.withdrawn.iter().map(|range| (key(Kind::Withdrawn, old, range.from), None)));
            rows.push((key(Kind::Floor, old, 0), None));
            rows.push((key(Kind::EpochFloor, 0, 0), Some(old)));
            book.floor = Some(old);
        }
        rows
    }

    fn keep(&mut self, crossing: Crossing, epoch: u64, from: u64, to: u64, kind: Kind) -> Vec<RowChange> {
        let key = |kind, epoch, from| RowKey { kind, crossing, epoch, from, peer: None };
        let epochs = self.own.entry(crossing).or_default();
        let own = epochs.entry(epoch).or_default();
        let set = match kind {
            Kind::Reserved => &mut own.reserved,
            Kind::Used => &mut own.used,
            _ => &mut own.retired,
        };
        let mut rows = rows(set.insert(from, to), |from| key(kind, epoch, from));
        while epochs.len() > EPOCHS_MAX {
            let Some((old, gone)) = epochs.pop_first() else { break };
            for (kind, set) in [(Kind::Reserved, gone.reserved), (Kind::Used, gone.used), (Kind::Retired, gone.retired)]
            {
                rows.extend(set.iter().map(|range| (key(kind, old, range.from), None)));
            }
        }
        rows
    }

    /// Did this number come before?
    pub(crate) fn seen(&self, peer: &Name, crossing: Crossing, epoch: u64, sequence: u64) -> Seen {
        let Some(book) = self.peers.get(&(peer.clone(), crossing)) else { return Seen::New };
        if book.floor.is_some_and(|floor| epoch <= floor) {
            return Seen::BelowFloor;
        }
        match book.epochs.get(&epoch) {
            Some(one) if sequence <= one.floor => Seen::BelowFloor,
            Some(one) if one.seen.contains(sequence) => Seen::Before,
            _ => Seen::New,
        }
    }

    /// A beacon said that numbers below `next` of this epoch exist. False where that is nothing new.
    pub(crate) fn announce(&mut self, peer: &Name, crossing: Crossing, epoch: u64, next: u64) -> bool {
        let book = self.peers.entry((peer.clone(), crossing)).or_default();
        let below = book.floor.is_some_and(|floor| epoch <= floor);
        // An announced epoch costs memory; a peer may not push known ones out with numbers nobody has seen.
        if below || (book.epochs.len() >= EPOCHS_MAX && !book.epochs.contains_key(&epoch)) {
            return false;
        }
        let one = book.epochs.entry(epoch).or_default();
        let news = next > one.next;
        one.next = one.next.max(next);
        news
    }

    /// Every announcement, for the snapshot.
    pub(crate) fn announced(&self) -> impl Iterator<Item = (&Name, Crossing, u64, u64)> {
        self.peers.iter().flat_map(|((peer, crossing), book)| {
            book.epochs
                .iter()
                .filter(|(_, one)| one.next > 0)
                .map(move |(epoch, one)| (peer, *crossing, *epoch, one.next))
        })
    }

    /// What of these ranges is neither seen nor withdrawn already: all that is worth a record.
    pub(crate) fn not_yet_withdrawn(&self, peer: &Name, crossing: Crossing, epoch: u64, range: Range) -> Vec<Range> {
        let one = self.peers.get(&(peer.clone(), crossing)).and_then(|book| book.epochs.get(&epoch));
        match one {
            None => vec![range],
            Some(one) => {
                let mut known = one.withdrawn.clone();
                one.seen.iter().filter(|seen| seen.to >= range.from && seen.from <= range.to).for_each(|seen| {
                    known.insert(seen.from, seen.to);
                });
                known.missing(range.from, range.to)
            }
        }
    }

    /// What is missing of a peer's numbers. At most [`GAP_RANGES_MAX`] ranges; the next report has the rest.
    pub(crate) fn gaps(&self, peer: &Name, crossing: Crossing) -> Vec<EpochGaps> {
        let mut gaps = self.progress(peer, crossing);
        gaps.retain(|epoch| !epoch.missing.is_empty());
        gaps
    }

    /// How far each epoch of a peer is known, and what is missing of it. What is up to `through` and not named missing
    /// is here or withdrawn, so a list that had to be cut says less of `through`.
    pub(crate) fn progress(&self, peer: &Name, crossing: Crossing) -> Vec<EpochGaps> {
        let mut left = GAP_RANGES_MAX;
        let Some(book) = self.peers.get(&(peer.clone(), crossing)) else { return Vec::new() };
        let mut epochs = Vec::new();
        for (epoch, one) in &book.epochs {
            let announced = one.next.saturating_sub(1);
            let mut through = announced.max(one.seen.last().unwrap_or(0)).max(one.withdrawn.last().unwrap_or(0));
            let mut settled = one.seen.clone();
            one.withdrawn.iter().for_each(|range| drop(settled.insert(range.from, range.to)));
            let mut missing = settled.missing(one.floor + 1, through);
            if missing.len() > left {
                missing.truncate(left);
                through = missing.last().map_or(one.floor, |last| last.to);
            }
            left -= missing.len();
            epochs.push(EpochGaps { epoch: *epoch, through, missing });
        }
        epochs
    }

    /// Our own numbers that will never come, newest epochs only.
    pub(crate) fn withdrawn(&self, crossing: Crossing, epochs_max: usize) -> Vec<EpochGaps> {
        let mut left = GAP_RANGES_MAX;
        let Some(epochs) = self.own.get(&crossing) else { return Vec::new() };
        let mut all: Vec<EpochGaps> = Vec::new();
        for (epoch, own) in epochs.iter().rev().filter(|(_, own)| own.retired.len() > 0).take(epochs_max) {
            let mut missing: Vec<Range> = own.retired.iter().collect();
            missing.truncate(left);
            left -= missing.len();
            if let Some(last) = missing.last() {
                all.push(EpochGaps { epoch: *epoch, through: own.used.last().unwrap_or(0).max(last.to), missing });
            }
        }
        all.reverse();
        all
    }

    /// What of a range was neither reserved by us, as far as is known here, nor withdrawn.
    pub(crate) fn never_reserved(&self, crossing: Crossing, epoch: u64, range: Range) -> Vec<Range> {
        match self.own.get(&crossing).and_then(|epochs| epochs.get(&epoch)) {
            None => vec![range],
            Some(own) => {
                let mut known = own.reserved.clone();
                own.retired.iter().for_each(|range| drop(known.insert(range.from, range.to)));
                known.missing(range.from, range.to)
            }
        }
    }

    /// Our own numbers that were reserved and neither used nor withdrawn: by crossing and epoch.
    pub(crate) fn left_over(&self) -> Vec<(Crossing, u64, Range)> {
        let mut left = Vec::new();
        for (crossing, epochs) in &self.own {
            for (epoch, own) in epochs {
                let mut settled = own.used.clone();
                own.retired.iter().for_each(|range| drop(settled.insert(range.from, range.to)));
                for reserved in own.reserved.iter() {
                    left.extend(
                        settled.missing(reserved.from, reserved.to).into_iter().map(|range| (*crossing, *epoch, range)),
                    );
                }
            }
        }
        left
    }
}

fn rows(change: crate::ranges::Change, key: impl Fn(u64) -> RowKey) -> Vec<RowChange> {
    let mut rows: Vec<RowChange> = change.gone.into_iter().map(|from| (key(from), None)).collect();
    rows.extend(change.row.map(|range| (key(range.from), Some(range.to))));
    rows
}
