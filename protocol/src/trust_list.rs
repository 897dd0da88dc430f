//! Two key administrators agree on what a trust folder holds: each signs the list of its cards, and a node that is told to
//! ask for it believes the folder only while two different people's lists say exactly what is there.

use std::collections::BTreeSet;

use crate::name::Name;
use crate::signed::{Signed, Statement};
use crate::suite::{Digest, Suite};
use crate::time::Timestamp;
use crate::trust::{Role, Trust, TrustError};

/// How many people's lists a change of the folder needs.
pub const AGREED_BY: usize = 2;

/// One key administrator's list of every card.
#[derive(Clone, Debug, PartialEq, Eq, der::Sequence)]
pub struct TrustList {
    /// [`crate::parcel::VERSION`].
    pub version: u8,
    /// Who.
    pub person: Name,
    /// When.
    pub at: Timestamp,
    /// The digests of the cards as [`crate::trust::KeyCard::to_text`] writes them, in the signer's suite, ascending.
    pub cards: Vec<Digest>,
}

impl Statement for TrustList {
    const DOMAIN: &'static str = "trilock-v1-trust-list";
    const WHAT: &'static str = "trust list";
    fn version(&self) -> u8 {
        self.version
    }
}

/// Why a folder is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{by} of the {AGREED_BY} key administrators needed have signed what the trust folder holds now{why}")]
pub struct NotAgreed {
    /// How many have.
    pub by: usize,
    /// What is wrong with the lists that do not count.
    pub why: String,
}

impl TrustList {
    /// What a person signs: every card that is believed now.
    #[must_use]
    pub fn of(trust: &Trust, person: &Name, suite: Suite, at: Timestamp) -> TrustList {
        TrustList { version: crate::parcel::VERSION, person: person.clone(), at, cards: digests(trust, suite) }
    }

    /// Reads one list: 4.1, and the signer is the key administrator named.
    pub fn verify(bytes: &[u8], trust: &Trust) -> Result<(TrustList, Digest), TrustError> {
        let signed = Signed::parse::<TrustList>(bytes).map_err(crate::signed::SignedError::from)?;
        let (list, card): (TrustList, _) = trust.verify(&signed)?;
        if card.role == Role::KeyAdmin && card.holder == list.person {
            return Ok((list, signed.signer));
        }
        Err(TrustError::WrongRole {
            what: Self::WHAT,
            holder: card.holder.clone(),
            found: card.role,
            zone: card.zone,
            expected: format!("key-admin {}", list.person),
        })
    }
}

/// Do two different people, by keys among `admins`, say that the folder holds exactly these cards? `admins` comes from
/// elsewhere than the folder: whoever may write there could add an administrator of their own.
pub fn agreed(trust: &Trust, lists: &[Vec<u8>], admins: &[Digest]) -> Result<(), NotAgreed> {
    let (mut people, mut why) = (BTreeSet::new(), String::new());
    for bytes in lists {
        let said = TrustList::verify(bytes, trust).map_err(|error| error.to_string()).and_then(|(list, signer)| {
            if !admins.contains(&signer) {
                return Err(format!("{} signs with a key that the config does not name", list.person));
            }
            if list.cards != digests(trust, signer_suite(trust, &signer)) {
                return Err(format!("{} signed other cards than these on {}", list.person, list.at));
            }
            Ok(list.person)
        });
        match said {
            Ok(person) => drop(people.insert(person)),
            Err(cause) => why += &format!("; {cause}"),
        }
    }
    if people.len() >= AGREED_BY { Ok(()) } else { Err(NotAgreed { by: people.len(), why }) }
}

fn signer_suite(trust: &Trust, signer: &Digest) -> Suite {
    trust.card(signer).map_or(Suite::Std, |card| card.suite)
}

fn digests(trust: &Trust, suite: Suite) -> Vec<Digest> {
    trust.cards().map(|card| suite.digest(card.to_text().as_bytes())).collect::<BTreeSet<_>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::SigningKey;
    use crate::trust::{KeyCard, Use};
    use crate::zone::Zone;

    fn believe(trust: &mut Trust, holder: &str, role: Role, key: &SigningKey) {
        let card = KeyCard {
            zone: Zone::Extranet,
            holder: Name::new(holder).unwrap(),
            role,
            usage: Use::Sign,
            suite: key.suite(),
            from: "2026-11-21".to_owned(),
            until: None,
            spki: key.public().to_spki(),
        };
        trust.add(holder, &card.to_text()).unwrap();
    }

    fn list(trust: &Trust, person: &str, key: &SigningKey) -> Vec<u8> {
        let person = Name::new(person).unwrap();
        Signed::make(key, &TrustList::of(trust, &person, key.suite(), Timestamp(1))).to_bytes()
    }

    #[test]
    fn a_folder_is_believed_while_two_people_of_the_config_signed_just_what_it_holds() {
        let keys: Vec<SigningKey> = [Suite::Std, Suite::Gm, Suite::Std, Suite::Gm].map(SigningKey::generate).into();
        let mut trust = Trust::default();
        let roles = [("he", Role::KeyAdmin), ("zhou", Role::KeyAdmin), ("ma", Role::Operator), ("qi", Role::KeyAdmin)];
        for ((holder, role), key) in roles.iter().zip(&keys) {
            believe(&mut trust, holder, *role, key);
        }
        let admins = [keys[0].public().id(), keys[1].public().id(), keys[2].public().id()];
        let [he, zhou, ma, qi] = [0, 1, 2, 3].map(|at: usize| list(&trust, roles[at].0, &keys[at]));
        assert_eq!(agreed(&trust, &[he.clone(), zhou.clone()], &admins), Ok(()));
        assert_eq!(agreed(&trust, &[zhou.clone(), ma.clone(), he.clone()], &admins), Ok(()), "one more does no harm");
        for (lists, by, what) in [
            (vec![], 0, "nobody"),
            (vec![he.clone()], 1, "one alone"),
            (vec![he.clone(), he.clone()], 1, "one person twice"),
            (vec![he.clone(), ma], 1, "an operator, whatever the config says"),
            (vec![he.clone(), qi], 1, "an administrator that the config does not name"),
            (vec![he.clone(), list(&trust, "he", &keys[1])], 1, "in another's name"),
        ] {
            assert_eq!(agreed(&trust, &lists, &admins).unwrap_err().by, by, "{what}");
        }
        let mut more = trust.clone();
        believe(&mut more, "eve", Role::Approver, &SigningKey::generate(Suite::Std));
        assert_eq!(agreed(&more, &[he.clone(), zhou.clone()], &admins).unwrap_err().by, 0, "a card more");
        let mut changed = Trust::default();
        for ((holder, role), key) in roles.iter().zip(&keys) {
            let role = if *holder == "ma" { Role::Approver } else { *role };
            believe(&mut changed, holder, role, key);
        }
        assert_eq!(agreed(&changed, &[he, zhou], &admins).unwrap_err().by, 0, "another role");
    }
}
