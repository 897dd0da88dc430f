//! A parcel's state as a row of the index. Read only by the version of the index that wrote it: another form of rows is
//! another version, and the index is made anew.
//!
//! ```text
//! state (1) what is there (1) first (8) last (8) bytes (8) statement (32)      numbers are big-endian
//! origin | route | parcel type                                                a word is its length (2) and its bytes
//! [name] [reason (1)]
//! [came: peer | crossing (1) bundle (16) epoch (8) sequence (8)]
//! [sent: crossing (1) bundle (16) epoch (8) sequence (8)]
//! labels (2), each: name | value
//! ```

use protocol::der_types::Octets;
use protocol::parcel::Label;
use protocol::{Crossing, Name, ParcelId, Reason, Timestamp};

use crate::state::{Came, ParcelState, Sent, State};

const NAME: u8 = 1;
const REASON: u8 = 2;
const CAME: u8 = 4;
const SENT: u8 = 8;
const CUSTODY_PASSED: u8 = 16;
const ADMITTED: u8 = 32;

/// The row of a state.
pub(crate) fn encode(of: &ParcelState) -> Vec<u8> {
    let flag = |there: bool, flag: u8| if there { flag } else { 0 };
    let there = flag(of.name.is_some(), NAME)
        | flag(of.reason.is_some(), REASON)
        | flag(of.came.is_some(), CAME)
        | flag(of.sent.is_some(), SENT)
        | flag(of.custody_passed, CUSTODY_PASSED)
        | flag(of.admitted, ADMITTED);
    // Two hundred bytes are what a row of two labels has: one allocation.
    let mut row = Vec::with_capacity(256);
    row.extend_from_slice(&[of.state as u8, there]);
    [of.first.0, of.last.0, of.bytes].iter().for_each(|number| put_number(&mut row, *number));
    row.extend_from_slice(&of.statement.0);
    [&of.origin, &of.route, &of.parcel_type].iter().for_each(|name| put_word(&mut row, name.as_str()));
    if let Some(name) = &of.name {
        put_word(&mut row, name);
    }
    row.extend(of.reason.map(Reason::code));
    if let Some(came) = &of.came {
        put_word(&mut row, came.peer.as_str());
        put_number_of_bundle(&mut row, came.crossing, &came.bundle.0, came.epoch, came.sequence);
    }
    if let Some(sent) = &of.sent {
        put_number_of_bundle(&mut row, sent.crossing, &sent.bundle.0, sent.epoch, sent.sequence);
    }
    let labels = u16::try_from(of.labels.len()).unwrap_or(u16::MAX);
    row.extend_from_slice(&labels.to_be_bytes());
    for label in of.labels.iter().take(labels.into()) {
        put_word(&mut row, label.name.as_str());
        put_word(&mut row, &label.value);
    }
    row
}

fn put_number(row: &mut Vec<u8>, number: u64) {
    row.extend_from_slice(&number.to_be_bytes());
}

/// No word of a record is longer than the record's local part, and that ends far below 64 KiB.
fn put_word(row: &mut Vec<u8>, word: &str) {
    let length = u16::try_from(word.len()).unwrap_or(u16::MAX);
    row.extend_from_slice(&length.to_be_bytes());
    row.extend(word.bytes().take(length.into()));
}

fn put_number_of_bundle(row: &mut Vec<u8>, crossing: Crossing, bundle: &[u8; 16], epoch: u64, sequence: u64) {
    row.push(crossing.code());
    row.extend_from_slice(bundle);
    put_number(row, epoch);
    put_number(row, sequence);
}

/// Where the parcel of a row stands, without reading the rest.
pub(crate) fn state_of(row: &[u8]) -> Option<State> {
    row.first().and_then(|code| State::ALL.get(usize::from(*code))).copied()
}

/// The state of a row; none where it is not one of ours.
pub(crate) fn decode(parcel: ParcelId, row: &[u8]) -> Option<ParcelState> {
    let state = state_of(row)?;
    let mut rest = Rest(row.get(1..)?);
    let [there] = rest.take()?;
    let (first, last, bytes) = (rest.number()?, rest.number()?, rest.number()?);
    let statement = Octets(rest.take()?);
    let (origin, route, parcel_type) = (rest.name()?, rest.name()?, rest.name()?);
    let name = if there & NAME == 0 { None } else { Some(rest.word()?.to_owned()) };
    let reason = if there & REASON == 0 { None } else { Reason::from_code(rest.take::<1>()?[0]) };
    let came = if there & CAME == 0 {
        None
    } else {
        let peer = rest.name()?;
        let Sent { crossing, bundle, epoch, sequence } = rest.sent()?;
        Some(Came { peer, crossing, bundle, epoch, sequence })
    };
    let sent = if there & SENT == 0 { None } else { Some(rest.sent()?) };
    let labels = u16::from_be_bytes(rest.take()?);
    let labels = (0..labels).map(|_| Some(Label { name: rest.name()?, value: rest.word()?.to_owned() }));
    let labels = labels.collect::<Option<Vec<Label>>>()?;
    rest.0.is_empty().then_some(ParcelState {
        parcel,
        origin,
        route,
        parcel_type,
        statement,
        state,
        first: Timestamp(first),
        last: Timestamp(last),
        bytes,
        name,
        reason,
        came,
        sent,
        custody_passed: there & CUSTODY_PASSED != 0,
        admitted: there & ADMITTED != 0,
        labels,
    })
}

/// What of a row is still to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }
    fn number(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }
    fn word(&mut self) -> Option<&'a str> {
        let length = u16::from_be_bytes(self.take()?);
        let (word, rest) = self.0.split_at_checked(length.into())?;
        self.0 = rest;
        std::str::from_utf8(word).ok()
    }
    fn name(&mut self) -> Option<Name> {
        Name::new(self.word()?).ok()
    }
    fn sent(&mut self) -> Option<Sent> {
        let [crossing] = self.take()?;
        let crossing = Crossing::from_code(crossing)?;
        Some(Sent { crossing, bundle: Octets(self.take()?), epoch: self.number()?, sequence: self.number()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> ParcelState {
        let name = |text| Name::new(text).unwrap();
        let sent = Sent { crossing: Crossing::ExtranetToIntranet, bundle: Octets([2; 16]), epoch: 3, sequence: 4 };
        ParcelState {
            parcel: Octets([1; 16]),
            origin: name("internet-1"),
            route: name("cases"),
            parcel_type: name("case-folder"),
            statement: Octets([5; 32]),
            state: State::Withdrawn,
            first: Timestamp(6),
            last: Timestamp(u64::MAX),
            bytes: 7,
            name: Some("图 1.zip".repeat(60)),
            reason: Some(Reason::Malformed),
            came: Some(Came {
                peer: name("extranet-1"),
                crossing: Crossing::InternetToExtranet,
                bundle: Octets([8; 16]),
                epoch: 9,
                sequence: 10,
            }),
            sent: Some(sent),
            custody_passed: true,
            admitted: true,
            labels: vec![
                Label { name: name("n"), value: "值".to_owned() },
                Label { name: name("m"), value: String::new() },
            ],
        }
    }

    #[test]
    fn a_row_says_everything_that_its_state_said() {
        let full = full();
        let bare = ParcelState { name: None, reason: None, came: None, sent: None, labels: vec![], ..full.clone() };
        for state in State::ALL {
            for custody_passed in [false, true] {
                for one in [&full, &bare] {
                    let one = ParcelState { state, custody_passed, admitted: !custody_passed, ..one.clone() };
                    let row = encode(&one);
                    assert_eq!(state_of(&row), Some(state));
                    assert_eq!(decode(one.parcel, &row), Some(one));
                }
            }
        }
    }

    #[test]
    fn a_row_cut_anywhere_or_longer_is_none_of_ours() {
        let mut row = encode(&full());
        for cut in 0..row.len() {
            assert_eq!(decode(Octets([1; 16]), row.get(..cut).unwrap()), None, "cut at {cut}");
        }
        row.push(0);
        assert_eq!(decode(Octets([1; 16]), &row), None);
    }
}
