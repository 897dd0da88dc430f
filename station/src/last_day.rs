//! The last day of a key, where a node works by it. What is signed after it counts for nothing, and neither does what is
//! only said to be older: a request is asked for today; what a neighbour sealed may have been on its way for a while.
//!
//! The day is the one on the card (`Until:`, UTC, still in it). While the clock is in doubt nobody is past it. What is
//! refused here is held or stays with its sender, and comes in when the day on the card is put right.

use protocol::envelope::Envelope;
use protocol::parcel::{Custody, ParcelError};
use protocol::rollover::day;
use protocol::trust::KeyCard;
use protocol::waybill::Waybill;
use protocol::{Digest, Timestamp};

use crate::alarm::Alarm;
use crate::desk::Refusal;
use crate::housekeeping::DAY_MS;
use crate::station::Station;

/// What a neighbour signed up to its key's last day is taken for so long after it: the overlap of a rollover once more. A
/// trip takes days, a gateway that is down a week or two; a thief who writes an earlier day has no longer than this.
const LATE_DAYS: u64 = 30;

/// Is the last day of a key over?
pub(crate) fn is_over(station: &Station, card: &KeyCard, now: Timestamp) -> bool {
    station.clock.may_end_things() && is_after(card, now)
}

fn is_after(card: &KeyCard, at: Timestamp) -> bool {
    card.until.as_ref().is_some_and(|last| *last < day(at))
}

/// Did its holder sign within its days, by the time that stands in the paper? Asked of what came to count on a day that is
/// past: a countersignature, and what stood before the neighbour's own seal on a long way.
pub(crate) fn signed_in_time(station: &Station, card: &KeyCard, said: Timestamp, now: Timestamp) -> bool {
    !is_over(station, card, now) || !is_after(card, said)
}

/// Does a countersignature count? On a trip that is still to leave here, by today: what an approver signed yesterday and
/// may not sign today, somebody else can. On one that came, by its own time: nobody signs a waybill again on the way.
pub(crate) fn may_approve(station: &Station, card: &KeyCard, said: Timestamp, waybill: &Waybill) -> bool {
    let now = station.clock.last();
    if waybill.source == station.node { !is_over(station, card, now) } else { signed_in_time(station, card, said, now) }
}

/// May a neighbour's own seal still be taken?
fn comes_in_time(station: &Station, card: &KeyCard, said: Timestamp, now: Timestamp) -> bool {
    let long_over = is_over(station, card, Timestamp(now.0.saturating_sub(LATE_DAYS * DAY_MS)));
    signed_in_time(station, card, said, now) && !long_over
}

/// The same of a paper of a neighbour's by the id of its key.
pub(crate) fn paper_in_time(station: &Station, signer: &Digest, said: Timestamp, now: Timestamp) -> bool {
    let Some(card) = station.trust.card(signer) else { return true };
    let in_time = comes_in_time(station, card, said, now);
    if !in_time {
        tracing::warn!("{}", words(card, said));
        station.alarms.raise(now, Alarm::KeyEnded);
    }
    in_time
}

/// Why a bundle on its way in is not taken. Every node of the journey must have sealed it within its key's days; the
/// neighbour's own seal must not come long after them. (The origin's statement bears no time: the first entry is by the
/// origin as well, and names it.)
pub(crate) fn refused(
    station: &Station,
    envelope: &Envelope,
    custody: &Custody,
    now: Timestamp,
) -> Result<Option<String>, ParcelError> {
    let card = |signer: &Digest| station.trust.card(signer);
    let signers = envelope.signed_custody()?.into_iter().map(|signed| signed.signer);
    let entries: Vec<(Digest, Timestamp)> = signers.zip(custody.entries.iter().map(|said| said.at)).collect();
    let journey = entries.iter().filter_map(|(signer, said)| Some((card(signer)?, *said)));
    let seal = entries.last().map_or_else(Vec::new, |(entry, said)| vec![(*entry, *said), (envelope.signer, *said)]);
    let seal = seal.iter().filter_map(|(signer, said)| Some((card(signer)?, *said)));
    let ended = journey
        .filter(|(card, said)| !signed_in_time(station, card, *said, now))
        .chain(seal.filter(|(card, said)| !comes_in_time(station, card, *said, now)))
        .next();
    Ok(ended.map(|(card, said)| {
        station.alarms.raise(now, Alarm::KeyEnded);
        words(card, said)
    }))
}

fn words(card: &KeyCard, said: Timestamp) -> String {
    let (holder, last) = (&card.holder, card.until.as_deref().unwrap_or_default());
    format!(
        "a key of {holder} had its last day on {last}; this is dated {}, and is taken up to {LATE_DAYS} days after the last day if it was signed by then",
        day(said)
    )
}

/// The answer to a request by a key whose last day is over.
pub(crate) fn refusal(card: &KeyCard, now: Timestamp) -> Refusal {
    let (holder, last, today) = (&card.holder, card.until.as_deref().unwrap_or_default(), day(now));
    Refusal::new(
        "key-ended",
        &format!("the key of {holder} had its last day on {last}, and it is {today}"),
        &format!("{holder} 的密钥最后有效日为 {last}，今日为 {today}"),
    )
    .with_remedy(
        "sign with a key whose card is valid: ferry keygen makes one, a key administrator puts its card into the trust folder, then reload; if the day here is wrong, set the clock",
        "请用有效公钥卡对应的密钥签署：以 ferry keygen 生成，由密钥管理员将公钥卡放入信任库后重新加载；如本机日期有误，请校正时钟",
    )
}
