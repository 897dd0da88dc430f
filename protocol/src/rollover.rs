//! One key follows another: the node says so itself, under the key that is believed already. Whoever believes the old card
//! takes the new one from this paper, and knows until when the old one counts.

use der::asn1::OctetString;

use crate::keys::{SealingKey, VerifyingKey};
use crate::name::Name;
use crate::parcel::ParcelError;
use crate::signed::{Signed, Statement};
use crate::suite::Digest;
use crate::time::Timestamp;
use crate::trust::{KeyCard, Role, Trust, TrustError, Use};

/// A node's word that one of its keys follows another.
#[derive(Clone, Debug, PartialEq, Eq, der::Sequence)]
pub struct Rollover {
    /// [`crate::parcel::VERSION`].
    pub version: u8,
    /// Whose keys.
    pub node: Name,
    /// What they are for.
    pub usage: Use,
    /// The key that goes.
    pub old: Digest,
    /// The key that comes, SPKI DER.
    pub key: OctetString,
    /// When the new key was made: its first day.
    pub at: Timestamp,
    /// The last day of the old one.
    pub until: Timestamp,
}

impl Statement for Rollover {
    const DOMAIN: &'static str = "trilock-v1-rollover";
    const WHAT: &'static str = "rollover";
    const BYTES_MAX: usize = 4 * 1024;
    fn version(&self) -> u8 {
        self.version
    }
}

/// What a trust folder holds once a rollover was taken.
#[derive(Clone, Debug)]
pub struct Rolled {
    /// The card of the old key, with its last day.
    pub old: KeyCard,
    /// The card of the new one.
    pub new: KeyCard,
    /// The last day on which a folder takes it: of the old key and of the one that signed. `at` is their holder's own word,
    /// and whoever got hold of a key that has ended writes any day there. (4.2.8)
    pub last_day: Option<String>,
}

/// 10000-01-01: days on cards have four digits for the year, and are compared as text.
const YEAR_10000: Timestamp = Timestamp(253_402_300_800_000);

/// The day of a moment, as cards write it.
#[must_use]
pub fn day(at: Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}

impl Rolled {
    /// 4.2.8: may a trust folder take it at this moment?
    #[must_use]
    pub fn may_be_taken(&self, now: Timestamp) -> bool {
        self.last_day.as_ref().is_none_or(|last| *last >= day(now))
    }
}

impl Rollover {
    /// Reads a signed rollover by the cards that are believed: the steps of 4.2 in FORMAT.md, but for the last, which is
    /// asked of whoever changes a folder by it.
    pub fn verify(bytes: &[u8], trust: &Trust) -> Result<Rolled, ParcelError> {
        let signed = Signed::parse::<Rollover>(bytes)?;
        let claimed: Rollover = signed.read_unverified()?;
        // 4.2.1
        let said: Rollover = trust.verify_from_node(&signed, &claimed.node)?;
        // 4.2.2
        let old = trust.card(&said.old).ok_or(TrustError::UnknownKey { what: Self::WHAT, id: said.old })?;
        if old.holder != said.node || old.role != Role::Node || old.usage != said.usage {
            return Err(other_keys(old, &said).into());
        }
        // 4.2.3
        if said.usage == Use::Sign && signed.signer != said.old {
            return Err(other_keys(old, &said).into());
        }
        // 4.2.4
        let (spki, suite) = match said.usage {
            Use::Seal => SealingKey::from_spki(said.key.as_bytes()).map(|key| (key.to_spki(), key.suite())),
            Use::Sign | Use::Link => {
                VerifyingKey::from_spki(said.key.as_bytes()).map(|key| (key.to_spki(), key.suite()))
            }
        }
        .map_err(|_| ParcelError::Disagree("the new key is no key for that use"))?;
        if suite != old.suite {
            return Err(ParcelError::Disagree("the new key is of another suite than the old one"));
        }
        let new = KeyCard { from: day(said.at), until: None, spki, ..old.clone() };
        if new.id() == said.old {
            return Err(ParcelError::Disagree("the new key is the old one"));
        }
        // 4.2.5
        if said.until.max(said.at) >= YEAR_10000 {
            return Err(ParcelError::Disagree("a day that no card can bear"));
        }
        if said.until < said.at {
            return Err(ParcelError::Disagree("the old key ends before the new one begins"));
        }
        // 4.2.6
        let ended = |card: &KeyCard| card.until.as_ref().is_some_and(|until| *until < day(said.at));
        if ended(old) || trust.card(&signed.signer).is_some_and(ended) {
            return Err(ParcelError::Disagree("a key that had ended names no successor"));
        }
        // 4.2.7
        let new = match trust.card(&new.id()) {
            Some(known) if (&known.holder, known.role, known.usage) == (&new.holder, new.role, new.usage) => {
                known.clone()
            }
            Some(_) => return Err(ParcelError::Disagree("the new key is on another card already")),
            None => new,
        };
        let until = old.until.clone().into_iter().chain([day(said.until)]).min();
        let by = trust.card(&signed.signer).and_then(|card| card.until.clone());
        let last_day = until.clone().into_iter().chain(by).min();
        Ok(Rolled { old: KeyCard { until, ..old.clone() }, new, last_day })
    }
}

fn other_keys(old: &KeyCard, said: &Rollover) -> TrustError {
    TrustError::WrongRole {
        what: Rollover::WHAT,
        holder: old.holder.clone(),
        found: old.role,
        zone: old.zone,
        expected: format!("{}'s own {} key", said.node, said.usage),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Suite;
    use crate::keys::SigningKey;

    const AT: Timestamp = Timestamp(1_795_305_600_000);

    fn card(key: &SigningKey, until: Option<&str>) -> KeyCard {
        KeyCard {
            zone: crate::Zone::Intranet,
            holder: Name::new("intranet").unwrap(),
            role: Role::Node,
            usage: Use::Sign,
            suite: Suite::Std,
            from: "2024-01-01".to_owned(),
            until: until.map(str::to_owned),
            spki: key.public().to_spki(),
        }
    }

    fn trust(cards: &[KeyCard]) -> Trust {
        let mut trust = Trust::default();
        for (nth, card) in cards.iter().enumerate() {
            trust.add(&nth.to_string(), &card.to_text()).unwrap();
        }
        trust
    }

    fn rollover(from: &SigningKey, to: &SigningKey) -> Vec<u8> {
        let said = Rollover {
            version: crate::parcel::VERSION,
            node: Name::new("intranet").unwrap(),
            usage: Use::Sign,
            old: from.public().id(),
            key: OctetString::new(to.public().to_spki()).unwrap(),
            at: AT,
            until: AT.plus_ms(30 * 24 * 60 * 60 * 1000),
        };
        Signed::make(from, &said).to_bytes()
    }

    #[test]
    fn a_key_that_has_ended_names_no_successor_and_lengthens_no_end() {
        let [a, b] = [(); 2].map(|()| SigningKey::generate(Suite::Std));
        let word = rollover(&a, &b);
        let rolled = Rollover::verify(&word, &trust(&[card(&a, None)])).unwrap();
        assert_eq!(rolled.old.until, Some(day(AT.plus_ms(30 * 24 * 60 * 60 * 1000))));
        assert!(Rollover::verify(&word, &trust(&[card(&a, Some("2025-12-31"))])).is_err());
        // An earlier end that somebody has written stays.
        let early = day(AT);
        let rolled = Rollover::verify(&word, &trust(&[card(&a, Some(&early))])).unwrap();
        assert_eq!(rolled.old.until, Some(early));
    }

    #[test]
    fn a_rollover_is_taken_up_to_the_last_day_of_the_keys_that_speak_whatever_day_it_bears() {
        let [sign, seal, b] = [(); 3].map(|()| SigningKey::generate(Suite::Std));
        let month = 30 * 24 * 60 * 60 * 1000;
        let word = rollover(&sign, &b);
        let rolled = Rollover::verify(&word, &trust(&[card(&sign, None)])).unwrap();
        assert!(rolled.may_be_taken(AT) && rolled.may_be_taken(AT.plus_ms(month)), "its own last day counts");
        assert!(!rolled.may_be_taken(AT.plus_ms(month + 24 * 60 * 60 * 1000)), "an old key that ends in the past");
        // Signed today under a key that ended, with a day from before its end.
        let rolled = Rollover::verify(&word, &trust(&[card(&sign, Some(&day(AT)))])).unwrap();
        assert!(rolled.may_be_taken(AT) && !rolled.may_be_taken(AT.plus_ms(24 * 60 * 60 * 1000)));
        // The same where the key that ended only speaks for another.
        let link = |key: &SigningKey| KeyCard { usage: Use::Link, ..card(key, None) };
        let said = Rollover {
            version: crate::parcel::VERSION,
            node: Name::new("intranet").unwrap(),
            usage: Use::Link,
            old: seal.public().id(),
            key: OctetString::new(b.public().to_spki()).unwrap(),
            at: AT,
            until: AT.plus_ms(month),
        };
        let word = Signed::make(&sign, &said).to_bytes();
        let rolled = Rollover::verify(&word, &trust(&[card(&sign, Some(&day(AT))), link(&seal)])).unwrap();
        assert!(rolled.may_be_taken(AT) && !rolled.may_be_taken(AT.plus_ms(24 * 60 * 60 * 1000)));
    }

    #[test]
    fn a_rollover_that_is_taken_once_more_changes_nothing_of_the_key_it_named() {
        let [a, b] = [(); 2].map(|()| SigningKey::generate(Suite::Std));
        let word = rollover(&a, &b);
        let ended = card(&b, Some("2027-06-30"));
        let rolled = Rollover::verify(&word, &trust(&[card(&a, None), ended.clone()])).unwrap();
        assert_eq!((rolled.new.until, rolled.new.from), (ended.until.clone(), ended.from.clone()));
        let others = KeyCard { holder: Name::new("extranet").unwrap(), ..ended };
        assert!(Rollover::verify(&word, &trust(&[card(&a, None), others])).is_err());
    }
}
