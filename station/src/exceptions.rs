//! Exceptions: two different people, one of them a security officer, let what one heuristic rule found pass, in exactly
//! one file, on exactly one crossing, for at most thirty days.
//!
//! Kept as the signed requests themselves, and verified whenever they are read: whoever writes into the folder adds
//! nothing, and a person whose card was taken away has excepted nothing. The guard holds it to the rest: heuristic
//! rules only, those bytes only.
//!
//! Why it may die anywhere: a word counts when the file that holds it has been written anew, synced and renamed; the request
//! that brought it stays at the desk until then and is carried out again. A word too few refuses, and lets nothing out.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use guard::Exception;
use protocol::request::Request;
use protocol::trust::{Role, Trust, is_officer_and_another};
use protocol::{Crossing, Digest, Name, Signed, Timestamp};
use serde_json::{Value, json};

use crate::housekeeping::DAY_MS;
use crate::station::{Station, StationError};

/// Longer, and it is no exception but a rule.
pub const DAYS_MAX: u64 = 30;
/// Words of people that are kept. An office that needs more has a rule that is wrong.
const WORDS_MAX: usize = 1_000;
/// The file they are kept in: each a request in hexadecimal digits on a line.
const FILE_BYTES_MAX: u64 = (WORDS_MAX as u64 + 1) * (2 * crate::desk::REQUEST_BYTES_MAX + 1);

/// One person's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Which rule.
    pub rule: String,
    /// Which file.
    pub digest: Digest,
    /// Where.
    pub crossing: Crossing,
    /// Who says so.
    pub person: Name,
    /// In which role.
    pub role: Role,
    /// How long.
    pub until: Timestamp,
    signed: Vec<u8>,
}

/// The words of a node.
#[derive(Default)]
pub struct Exceptions {
    words: Mutex<Vec<Word>>,
    used: AtomicU64,
}

impl Word {
    /// Reads a signed request to except something. Nothing where it is none, or not signed by who may.
    #[must_use]
    pub fn read(signed: &[u8], trust: &Trust, node: &Name) -> Option<Word> {
        Word::read_as("except", signed, trust, node)
    }

    /// The same of a request to take an exception back, which is never kept.
    #[must_use]
    pub fn read_back(signed: &[u8], trust: &Trust, node: &Name) -> Option<Word> {
        Word::read_as("except-revoke", signed, trust, node)
    }

    fn read_as(action: &str, signed: &[u8], trust: &Trust, node: &Name) -> Option<Word> {
        let parsed = Signed::parse::<Request>(signed).ok()?;
        let (request, card) = trust.verify::<Request>(&parsed).ok()?;
        let may = matches!(card.role, Role::Security | Role::Approver);
        if !may || card.holder != request.person || request.node != *node || request.action.as_str() != action {
            return None;
        }
        let rule = request.argument("rule")?.to_owned();
        let formed =
            !rule.is_empty() && rule.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let days = request.argument("days")?.parse::<u64>().ok().filter(|days| (1..=DAYS_MAX).contains(days))?;
        formed.then_some(Word {
            rule,
            digest: Digest::from_hex(request.argument("file")?)?,
            crossing: request.argument("crossing")?.parse().ok()?,
            person: request.person.clone(),
            role: card.role,
            until: request.at.plus_ms(days * DAY_MS),
            signed: signed.to_vec(),
        })
    }

    fn is_about(&self, other: &Word) -> bool {
        self.rule == other.rule && self.digest == other.digest && self.crossing == other.crossing
    }
}

/// Do these words let something pass?
fn is_complete(words: &[&Word]) -> bool {
    is_officer_and_another(words.iter().map(|word| (&word.person, word.role)))
}

impl Exceptions {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Word>> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What stands on a crossing at this moment.
    #[must_use]
    pub fn standing(&self, crossing: Crossing, now: Timestamp) -> Vec<Exception> {
        let words = self.lock();
        let live: Vec<&Word> = words.iter().filter(|word| word.crossing == crossing && word.until > now).collect();
        let mut standing: Vec<Exception> = Vec::new();
        for word in &live {
            let same: Vec<&Word> = live.iter().copied().filter(|other| other.is_about(word)).collect();
            let one = Exception { rule: word.rule.clone(), digest: word.digest };
            if is_complete(&same) && !standing.contains(&one) {
                standing.push(one);
            }
        }
        standing
    }

    /// Findings that were let pass since the start.
    pub fn used(&self, findings: usize) {
        self.used.fetch_add(findings as u64, Ordering::Relaxed);
    }

    /// For `status`: what is excepted or waits for the second person, and how much it let pass since the start.
    #[must_use]
    pub fn shown(&self, now: Timestamp) -> Value {
        let words: Vec<Value> = self
            .lock()
            .iter()
            .filter(|word| word.until > now)
            .map(|word| {
                json!({
                    "rule": word.rule, "file": word.digest.to_string(), "crossing": word.crossing.name(),
                    "person": word.person, "role": word.role.to_string(), "until": word.until.to_string(),
                })
            })
            .collect();
        json!({ "words": words, "findings_let_pass": self.used.load(Ordering::Relaxed) })
    }

    /// Takes back what is said about a rule, a file and a crossing, by whomever, durably. Returns how many words went. One
    /// person is enough: it only makes the guard stricter.
    pub fn take_back(&self, station: &Station, about: &Word) -> Result<usize, StationError> {
        let before = self.lock().clone();
        let words: Vec<Word> = before.iter().filter(|word| !word.is_about(about)).cloned().collect();
        let gone = before.len() - words.len();
        self.keep(station, words)?;
        Ok(gone)
    }

    fn keep(&self, station: &Station, words: Vec<Word>) -> Result<(), StationError> {
        let text: String = words.iter().map(|word| format!("{}\n", hex(&word.signed))).collect();
        let path = file(station);
        station.spool.disk().write(&path, text.as_bytes()).map_err(|cause| StationError::Io { path, cause })?;
        *self.lock() = words;
        Ok(())
    }

    /// Adds a person's word, durably. The same person's earlier word about the same is replaced; what has ended goes.
    pub fn add(&self, station: &Station, word: Word, now: Timestamp) -> Result<bool, StationError> {
        let (crossing, one) = (word.crossing, Exception { rule: word.rule.clone(), digest: word.digest });
        let mut words = self.lock().clone();
        words.retain(|known| known.until > now && !(known.is_about(&word) && known.person == word.person));
        words.push(word);
        self.keep(station, words)?;
        Ok(self.standing(crossing, now).contains(&one))
    }

    /// Is there room for one more?
    #[must_use]
    pub fn are_full(&self) -> bool {
        self.lock().len() >= WORDS_MAX
    }

    /// Reads what is kept. A line that does not verify any more excepts nothing.
    pub fn load(&self, station: &Station) {
        let bytes = crate::desk::read_small(&file(station), FILE_BYTES_MAX).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let read = |line: &str| Word::read(&unhex(line)?, &station.trust, &station.node);
        *self.lock() = text.lines().take(WORDS_MAX).filter_map(read).collect();
    }
}

fn file(station: &Station) -> PathBuf {
    station.layout().status().join("exceptions")
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::keys::SigningKey;
    use protocol::parcel::{Label, VERSION};
    use protocol::trust::{KeyCard, Use};
    use protocol::{Suite, Zone};

    const NOON: Timestamp = Timestamp(1_795_262_400_000);

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn digest(byte: u8) -> Digest {
        Digest::from_slice(&[byte; 32]).unwrap()
    }

    struct Office {
        trust: Trust,
        keys: Vec<(Name, SigningKey)>,
    }

    impl Office {
        fn new() -> Office {
            let mut office = Office { trust: Trust::default(), keys: Vec::new() };
            for (holder, role) in [
                ("officer-li", Role::Security),
                ("officer-hu", Role::Security),
                ("approver-wu", Role::Approver),
                ("approver-he", Role::Approver),
                ("operator-ma", Role::Operator),
            ] {
                let key = SigningKey::generate(Suite::Std);
                let card = KeyCard {
                    zone: Zone::Extranet,
                    holder: name(holder),
                    role,
                    usage: Use::Sign,
                    suite: Suite::Std,
                    from: "2026-11-21".to_owned(),
                    until: None,
                    spki: key.public().to_spki(),
                };
                office.trust.add(&format!("{holder}.pub.pem"), &card.to_text()).unwrap();
                office.keys.push((name(holder), key));
            }
            office
        }

        fn signed(&self, person: &str, node: &str, arguments: [(&str, String); 4]) -> Vec<u8> {
            let request = Request {
                version: VERSION,
                id: digest(9),
                node: name(node),
                action: name("except"),
                person: name(person),
                at: NOON,
                arguments: arguments.into_iter().map(|(what, value)| Label { name: name(what), value }).collect(),
            };
            let (_, key) = self.keys.iter().find(|(holder, _)| holder.as_str() == person).unwrap();
            Signed::make(key, &request).to_bytes()
        }

        fn word(&self, person: &str, file: u8, days: u64) -> Option<Word> {
            let arguments = [
                ("rule", "precise-pair".to_owned()),
                ("file", digest(file).to_string()),
                ("crossing", "extranet-internet".to_owned()),
                ("days", days.to_string()),
            ];
            Word::read(&self.signed(person, "extranet", arguments), &self.trust, &name("extranet"))
        }
    }

    fn standing(words: Vec<Word>, now: Timestamp) -> usize {
        let exceptions = Exceptions { words: Mutex::new(words), used: AtomicU64::new(0) };
        assert!(exceptions.standing(Crossing::ExtranetToIntranet, now).is_empty(), "on another crossing");
        exceptions.standing(Crossing::ExtranetToInternet, now).len()
    }

    #[test]
    fn two_people_one_of_them_an_officer_about_the_same_file_and_for_as_long_as_both_say() {
        let office = Office::new();
        let say = |person, file, days| office.word(person, file, days).unwrap();
        let later = NOON.plus_ms(DAY_MS);
        assert_eq!(standing(vec![say("officer-li", 1, 7), say("approver-wu", 1, 7)], later), 1);
        assert_eq!(standing(vec![say("officer-li", 1, 7), say("officer-hu", 1, 7)], later), 1);
        assert_eq!(standing(vec![say("officer-li", 1, 7)], later), 0, "one");
        assert_eq!(standing(vec![say("officer-li", 1, 7), say("officer-li", 1, 9)], later), 0, "the same one twice");
        assert_eq!(standing(vec![say("approver-wu", 1, 7), say("approver-he", 1, 7)], later), 0, "no officer");
        assert_eq!(standing(vec![say("officer-li", 1, 7), say("approver-wu", 2, 7)], later), 0, "different files");
        let both = vec![say("officer-li", 1, 7), say("approver-wu", 1, 2)];
        assert_eq!(standing(both.clone(), NOON.plus_ms(2 * DAY_MS - 1)), 1);
        assert_eq!(standing(both, NOON.plus_ms(2 * DAY_MS)), 0, "one of them meant two days");
    }

    #[test]
    fn a_word_that_is_none_is_not_read() {
        let office = Office::new();
        assert!(office.word("officer-li", 1, 30).is_some());
        assert!(office.word("officer-li", 1, 31).is_none(), "longer than an exception");
        assert!(office.word("officer-li", 1, 0).is_none());
        assert!(office.word("operator-ma", 1, 7).is_none(), "a role that may not");
        let arguments = || {
            [
                ("rule", "precise-pair".to_owned()),
                ("file", digest(1).to_string()),
                ("crossing", "extranet-internet".to_owned()),
                ("days", "7".to_owned()),
            ]
        };
        let elsewhere = office.signed("officer-li", "internet", arguments());
        assert!(Word::read(&elsewhere, &office.trust, &name("extranet")).is_none(), "for another node");
        let mut forged = office.signed("officer-li", "extranet", arguments());
        assert!(Word::read(&forged, &office.trust, &name("extranet")).is_some());
        assert!(Word::read(&forged, &Trust::default(), &name("extranet")).is_none(), "whose card was taken away");
        let middle = forged.len() / 2;
        forged[middle] ^= 1;
        assert!(Word::read(&forged, &office.trust, &name("extranet")).is_none(), "changed on the disk");
        assert_eq!(unhex(&hex(&forged)), Some(forged));
    }
}
