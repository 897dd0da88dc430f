//! Whom a node believes: public keys on cards, each with its zone, holder, role, use and time.
//!
//! A card is one text file: a few `Word: value` lines, then the SPKI PEM. OpenSSL reads it as it is.
//!
//! ```text
//! Zone: extranet
//! Holder: extranet
//! Role: node
//! Use: sign
//! Suite: std
//! From: 2026-11-21
//! Fingerprint: 1f0c 77ab …
//! -----BEGIN PUBLIC KEY-----
//! ```

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use crate::der_types::impl_der_code;
use crate::keys::{self, KEY_FILE_BYTES_MAX, KeyError, SealingKey, VerifyingKey};
use crate::name::Name;
use crate::signed::{Signed, SignedError, Statement};
use crate::suite::{Digest, Suite};
use crate::zone::Zone;

/// What a holder may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// A daemon.
    Node,
    /// 摆渡操作员: exports, carries, confirms, imports.
    Operator,
    /// Countersigns what leaves the internal zone.
    Approver,
    /// 安全员: releases and excepts; the key that quarantine is sealed to.
    Security,
    /// 密钥管理员.
    KeyAdmin,
    /// 安全审计员: reads, never changes.
    Auditor,
}

/// What a key is for. One key, one use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Use {
    /// Signs statements.
    Sign = 1,
    /// Is sealed to.
    Seal = 2,
    /// Identifies a node on a gateway connection.
    Link = 3,
}

/// Two different people, one of them a security officer and the other an officer too or an approver: what an exception
/// needs to stand, and a rule file to come into force.
#[must_use]
pub fn is_officer_and_another<'a>(people: impl Iterator<Item = (&'a Name, Role)>) -> bool {
    let may: Vec<(&Name, Role)> = people.filter(|(_, role)| matches!(role, Role::Security | Role::Approver)).collect();
    let mut officers = may.iter().filter(|(_, role)| *role == Role::Security);
    officers.any(|(officer, _)| may.iter().any(|(other, _)| other != officer))
}

impl Use {
    /// All of them.
    pub const ALL: [Use; 3] = [Use::Sign, Use::Seal, Use::Link];
}

impl_der_code!(Use, Use::ALL);

/// A public key and what is said about it.
#[derive(Clone, Debug)]
pub struct KeyCard {
    /// Where its holder works.
    pub zone: Zone,
    /// A node's name, or a person's register id.
    pub holder: Name,
    /// What the holder may do.
    pub role: Role,
    /// What the key is for.
    pub usage: Use,
    /// The key's suite.
    pub suite: Suite,
    /// First day of use, `YYYY-MM-DD`.
    pub from: String,
    /// Last day of use, where one is set.
    pub until: Option<String>,
    /// SPKI DER.
    pub spki: Vec<u8>,
}

/// What is wrong with a card or with a look-up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// A file that is not a card.
    #[error("key card {file}: {cause}")]
    BadCard {
        /// The file's name.
        file: String,
        /// What is wrong.
        cause: String,
    },
    /// Two cards for one key that disagree.
    #[error("key {id} stands on two cards that say different things, of {first} and of {second}; remove one")]
    Twice {
        /// The key.
        id: Digest,
        /// Its holder on the first.
        first: Name,
        /// Its holder on the second.
        second: Name,
    },
    /// Nobody here knows the key.
    #[error("{what} is signed by key {id}, which is on no card in the trust folder")]
    UnknownKey {
        /// Which object.
        what: &'static str,
        /// The key it names.
        id: Digest,
    },
    /// The key is known but may not do this.
    #[error("{what} is signed by {holder}, a {found} in {zone}, where {expected} is required")]
    WrongRole {
        /// Which object.
        what: &'static str,
        /// Who signed.
        holder: Name,
        /// What they are.
        found: Role,
        /// Where.
        zone: Zone,
        /// What was needed.
        expected: String,
    },
    /// No key for what has to be done.
    #[error("no card for {holder} with use {usage}: copy its public key card into the trust folder")]
    NoCard {
        /// Whose.
        holder: Name,
        /// Which.
        usage: Use,
    },
    /// The object or its signature.
    #[error(transparent)]
    Signed(#[from] SignedError),
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// The cards of a trust folder. Reading the folder is the caller's business.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    cards: HashMap<Digest, KeyCard>,
}

impl Trust {
    /// Takes one card's text. `file` is named in errors.
    pub fn add(&mut self, file: &str, text: &str) -> Result<Digest, TrustError> {
        let card = KeyCard::parse(text).map_err(|cause| TrustError::BadCard { file: file.to_owned(), cause })?;
        let id = card.id();
        if let Some(known) = self.cards.get(&id)
            && (known.holder != card.holder
                || known.zone != card.zone
                || known.role != card.role
                || known.usage != card.usage
                || known.from != card.from
                || known.until != card.until)
        {
            return Err(TrustError::Twice { id, first: known.holder.clone(), second: card.holder });
        }
        self.cards.insert(id, card);
        Ok(id)
    }

    /// The card of a key.
    #[must_use]
    pub fn card(&self, id: &Digest) -> Option<&KeyCard> {
        self.cards.get(id)
    }

    /// All cards, in no order.
    pub fn cards(&self) -> impl Iterator<Item = &KeyCard> {
        self.cards.values()
    }

    /// The newest card of a holder for a use: of two that begin on one day, the one that ends later.
    pub fn current(&self, holder: &Name, usage: Use) -> Result<&KeyCard, TrustError> {
        self.cards
            .values()
            .filter(|card| card.holder == *holder && card.usage == usage)
            .max_by_key(|card| (card.from.clone(), card.until.is_none(), card.until.clone(), card.id()))
            .ok_or_else(|| TrustError::NoCard { holder: holder.clone(), usage })
    }

    /// The key that content for a node is sealed to.
    pub fn sealing_key(&self, holder: &Name) -> Result<SealingKey, TrustError> {
        Ok(SealingKey::from_spki(&self.current(holder, Use::Seal)?.spki)?)
    }

    /// 4.1.3 to 4.1.7: checks a signed object against the card of the key it names.
    pub fn verify<T: Statement>(&self, signed: &Signed) -> Result<(T, &KeyCard), TrustError> {
        let card = self.cards.get(&signed.signer).ok_or(TrustError::UnknownKey { what: T::WHAT, id: signed.signer })?;
        if card.usage != Use::Sign {
            return Err(TrustError::WrongRole {
                what: T::WHAT,
                holder: card.holder.clone(),
                found: card.role,
                zone: card.zone,
                expected: "a signing key".to_owned(),
            });
        }
        let key = VerifyingKey::from_spki(&card.spki)?;
        Ok((signed.verify(&key)?, card))
    }

    /// 4.1.3 to 4.1.8: checks an object that only the named node may have signed.
    pub fn verify_from_node<T: Statement>(&self, signed: &Signed, node: &Name) -> Result<T, TrustError> {
        let (object, card) = self.verify(signed)?;
        if card.role != Role::Node || card.holder != *node {
            return Err(TrustError::WrongRole {
                what: T::WHAT,
                holder: card.holder.clone(),
                found: card.role,
                zone: card.zone,
                expected: format!("node {node}"),
            });
        }
        Ok(object)
    }
}

impl KeyCard {
    /// The id of the key.
    #[must_use]
    pub fn id(&self) -> Digest {
        self.suite.digest(&self.spki)
    }

    /// The text that goes into a trust folder.
    #[must_use]
    pub fn to_text(&self) -> String {
        let until = self.until.as_ref().map(|day| format!("Until: {day}\n")).unwrap_or_default();
        format!(
            "Zone: {}\nHolder: {}\nRole: {}\nUse: {}\nSuite: {}\nFrom: {}\n{until}Fingerprint: {}\n{}",
            self.zone,
            self.holder,
            self.role,
            self.usage,
            self.suite,
            self.from,
            keys::fingerprint(&self.id()),
            keys::public_pem(&self.spki),
        )
    }

    fn parse(text: &str) -> Result<KeyCard, String> {
        if text.len() > KEY_FILE_BYTES_MAX {
            return Err(format!("{} bytes is over the limit of {KEY_FILE_BYTES_MAX}", text.len()));
        }
        let (head, _) = text.split_once("-----BEGIN").ok_or("no PEM block")?;
        let mut words = HashMap::new();
        for line in head.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (word, value) = line.split_once(':').ok_or_else(|| format!("\"{line}\" is no \"Word: value\" line"))?;
            if words.insert(word.trim(), value.trim()).is_some() {
                return Err(format!("{word} stands twice"));
            }
        }
        let mut take = |word: &str| words.remove(word).ok_or_else(|| format!("{word} is missing"));
        let zone = take("Zone")?.parse().map_err(|e: crate::zone::UnknownWord| e.to_string())?;
        let holder = Name::new(take("Holder")?).map_err(|e| e.to_string())?;
        let role: Role = take("Role")?.parse()?;
        let usage: Use = take("Use")?.parse()?;
        let suite: Suite = take("Suite")?.parse().map_err(|e: crate::suite::UnknownSuite| e.to_string())?;
        let from = day(take("From")?)?;
        let fingerprint = take("Fingerprint")?.to_owned();
        let until = words.remove("Until").map(day).transpose()?;
        if let Some(word) = words.keys().next() {
            return Err(format!("{word} is no word of a key card"));
        }
        let (spki, found) = match usage {
            Use::Seal => SealingKey::from_pem(text).map(|key| (key.to_spki(), key.suite())),
            Use::Sign | Use::Link => VerifyingKey::from_pem(text).map(|key| (key.to_spki(), key.suite())),
        }
        .map_err(|e| e.to_string())?;
        if found != suite {
            return Err(format!("the key is of suite {found}, the card says {suite}"));
        }
        let card = KeyCard { zone, holder, role, usage, suite, from, until, spki };
        if keys::fingerprint(&card.id()) != fingerprint {
            return Err("the fingerprint does not belong to the key".to_owned());
        }
        Ok(card)
    }
}

/// `YYYY-MM-DD`, by form; the calendar is the caller's.
fn day(text: &str) -> Result<String, String> {
    let form = text.len() == 10
        && text.bytes().enumerate().all(|(at, b)| if at == 4 || at == 7 { b == b'-' } else { b.is_ascii_digit() });
    if form { Ok(text.to_owned()) } else { Err(format!("\"{text}\" is no day; YYYY-MM-DD is meant")) }
}

macro_rules! words {
    ($type:ty, $what:literal, $($variant:path => $word:literal),* $(,)?) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $($variant => $word),* })
            }
        }
        impl FromStr for $type {
            type Err = String;
            fn from_str(word: &str) -> Result<Self, String> {
                match word {
                    $($word => Ok($variant),)*
                    other => Err(format!("\"{}\" is no {}; one of {} is meant", other.escape_debug(), $what, [$($word),*].join(", "))),
                }
            }
        }
    };
}

words!(Role, "role",
    Role::Node => "node", Role::Operator => "operator", Role::Approver => "approver",
    Role::Security => "security", Role::KeyAdmin => "key-admin", Role::Auditor => "auditor");
words!(Use, "use of a key", Use::Sign => "sign", Use::Seal => "seal", Use::Link => "link");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::SigningKey;

    fn card(key: &SigningKey) -> KeyCard {
        KeyCard {
            zone: Zone::Extranet,
            holder: Name::new("extranet").unwrap(),
            role: Role::Node,
            usage: Use::Sign,
            suite: key.suite(),
            from: "2026-11-21".to_owned(),
            until: None,
            spki: key.public().to_spki(),
        }
    }

    #[test]
    fn two_people_are_two_names_and_one_of_them_an_officer() {
        let [li, hu, wu] = ["li", "hu", "wu"].map(|name| Name::new(name).unwrap());
        let are = |people: &[(&Name, Role)]| is_officer_and_another(people.iter().copied());
        assert!(are(&[(&li, Role::Security), (&wu, Role::Approver)]));
        assert!(are(&[(&li, Role::Security), (&hu, Role::Security)]));
        assert!(!are(&[(&li, Role::Security)]));
        assert!(!are(&[(&li, Role::Security), (&li, Role::Approver)]), "one person with two cards is one");
        assert!(!are(&[(&wu, Role::Approver), (&hu, Role::Approver)]), "no officer");
        for role in [Role::Node, Role::Operator, Role::KeyAdmin, Role::Auditor] {
            assert!(!are(&[(&li, Role::Security), (&wu, role)]), "{role}");
        }
    }

    #[test]
    fn two_cards_of_one_key_that_differ_in_any_word_are_not_believed_in_either_order() {
        let one = card(&SigningKey::generate(Suite::Std));
        let others = [
            KeyCard { zone: Zone::Internet, ..one.clone() },
            KeyCard { holder: Name::new("intranet").unwrap(), ..one.clone() },
            KeyCard { role: Role::Operator, ..one.clone() },
            KeyCard { usage: Use::Link, ..one.clone() },
            KeyCard { from: "2026-11-20".to_owned(), ..one.clone() },
            KeyCard { until: Some("2026-11-30".to_owned()), ..one.clone() },
        ];
        for other in &others {
            for [first, second] in [[&one, other], [other, &one]] {
                let mut trust = Trust::default();
                trust.add("a.pem", &first.to_text()).unwrap();
                assert!(matches!(trust.add("z.pem", &second.to_text()), Err(TrustError::Twice { .. })), "{other:?}");
            }
        }
        let mut trust = Trust::default();
        assert_eq!(["a.pem", "z.pem"].map(|file| trust.add(file, &one.to_text()).is_ok()), [true, true], "a copy");
    }

    #[test]
    fn a_card_is_read_back_and_any_change_to_it_is_noticed() {
        let key = SigningKey::generate(Suite::Gm);
        let text = card(&key).to_text();
        assert_eq!(Trust::default().add("a.pem", &text), Ok(key.public().id()));
        for (from, to) in
            [("gm", "std"), ("Role: node", "Role: king"), ("Zone: extranet\n", ""), ("2026-11-21", "tomorrow")]
        {
            assert!(Trust::default().add("a.pem", &text.replacen(from, to, 1)).is_err(), "{from} -> {to}");
        }
        let other = card(&SigningKey::generate(Suite::Gm)).to_text();
        let swapped = text.split_once("-----BEGIN").unwrap().0.to_owned()
            + "-----BEGIN"
            + other.split_once("-----BEGIN").unwrap().1;
        assert!(Trust::default().add("a.pem", &swapped).is_err());
    }
}
