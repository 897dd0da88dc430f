//! As of when a signature counts: what the days on cards and the first witness say of it (8.4 of FORMAT.md). Judges no
//! signature, and fails none: what is in doubt is noted.

use std::cmp::Ordering;

use protocol::trust::KeyCard;
use protocol::{Digest, Timestamp, Trust};

use crate::words::{Language, say};

/// A signature that holds, and the time that stands under it: the signer's word.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dated {
    /// The key.
    pub(crate) signer: Digest,
    /// What it says.
    pub(crate) at: Timestamp,
}

/// What is in doubt about the time of a signature, if anything: of `what`, by those who signed later and name it.
pub(crate) fn doubt(trust: &Trust, what: &str, signed: Dated, others: &[Dated], language: Language) -> Option<String> {
    let card = trust.card(&signed.signer)?;
    let (holder, at) = (&card.holder, signed.at);
    // 8.4.1
    if before(at, &card.from) {
        let from = &card.from;
        return Some(say!(
            language,
            "{what}: the key of {holder} is in use from {from}; this is said to be from {at}",
            "{what}：{holder} 的密钥自 {from} 启用，而对象自称时间为 {at}"
        ));
    }
    // 8.4.2
    let until = card.until.as_ref()?;
    // 8.4.3
    if after(at, until) {
        return Some(say!(
            language,
            "{what}: key of {holder} retired on {until}; this is said to be from {at}",
            "{what}：{holder} 的密钥已于 {until} 停用，而对象自称时间为 {at}"
        ));
    }
    // 8.4.4
    let witnessed = others.iter().any(|other| {
        trust.card(&other.signer).is_some_and(|by| by.holder != card.holder && within(by, other.at))
            && !after(other.at, until)
    });
    (!witnessed).then(|| {
        say!(
            language,
            "{what}: key of {holder} retired on {until}, time not witnessed",
            "{what}：{holder} 的密钥已于 {until} 停用，时间无见证"
        )
    })
}

/// Does the card of the key cover the day that the signature states? Nobody is a witness by a key on any other day.
pub(crate) fn in_its_days(trust: &Trust, signed: Dated) -> bool {
    trust.card(&signed.signer).is_some_and(|card| within(card, signed.at))
}

fn within(card: &KeyCard, at: Timestamp) -> bool {
    !before(at, &card.from) && card.until.as_ref().is_none_or(|until| !after(at, until))
}

fn before(at: Timestamp, day: &str) -> bool {
    order(at, day) == Ordering::Less
}

fn after(at: Timestamp, day: &str) -> bool {
    order(at, day) == Ordering::Greater
}

/// The day of a moment, by UTC, against one of a card. From the year 10000 on a day has more digits than any card's.
fn order(at: Timestamp, day: &str) -> Ordering {
    let text = at.to_string();
    let said = text.split('T').next().unwrap_or_default();
    said.len().cmp(&day.len()).then_with(|| said.cmp(day))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_of_five_digits_lies_after_every_day_of_a_card() {
        let nov = Timestamp(1_795_219_200_000);
        assert_eq!(nov.to_string().get(..10), Some("2026-11-21"));
        assert!(!before(nov, "2026-11-21") && !after(nov, "2026-11-21"));
        assert!(before(nov, "2026-11-22") && after(nov, "2026-11-20"));
        for far in [253_402_300_800_000, u64::MAX] {
            assert!(after(Timestamp(far), "9999-12-31") && !before(Timestamp(far), "2026-11-30"));
        }
    }
}
