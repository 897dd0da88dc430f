//! The last day of a key, where a node works by it: requests at the desk and countersignatures, which a person can give
//! again with another key. Bundles and receipts of a neighbour are taken whatever the day, with the alarm about its card
//! standing: what is refused there is a citizen's application that does not come.
//!
//! The day is the one on the card (`Until:`, UTC, still in it). While the clock is in doubt nobody is past it.

use protocol::Timestamp;
use protocol::rollover::day;
use protocol::trust::KeyCard;
use protocol::waybill::Waybill;

use crate::desk::Refusal;
use crate::station::Station;

/// Is the last day of a key over?
pub(crate) fn is_over(station: &Station, card: &KeyCard, now: Timestamp) -> bool {
    station.clock.may_end_things() && is_after(card, now)
}

fn is_after(card: &KeyCard, at: Timestamp) -> bool {
    card.until.as_ref().is_some_and(|last| *last < day(at))
}

/// Did its holder sign within its days, by the time that stands in the paper? Asked of what came to count on a day that is
/// past.
fn signed_in_time(station: &Station, card: &KeyCard, said: Timestamp, now: Timestamp) -> bool {
    !is_over(station, card, now) || !is_after(card, said)
}

/// Does a countersignature count? On a trip that is still to leave here, by today: what an approver signed yesterday and
/// may not sign today, somebody else can. On one that came, by its own time: nobody signs a waybill again on the way.
pub(crate) fn may_approve(station: &Station, card: &KeyCard, said: Timestamp, waybill: &Waybill) -> bool {
    let now = station.clock.last();
    if waybill.source == station.node { !is_over(station, card, now) } else { signed_in_time(station, card, said, now) }
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
