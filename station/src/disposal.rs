//! Disposal: a medium of the register was destroyed. An operator says so and names a witness, the witness answers that very
//! word by its id, each with their own key; from then on nothing goes onto the medium and nothing is taken from it, whatever
//! the register says of its id. A witness' word of another day answers another word, and completes nothing.
//!
//! Why it may die anywhere: each word is kept among the evidence as it was signed, the witness' word completes the
//! operator's, and both are recorded together; before that record the medium is as it was, and either person may ask again.
//! What is disposed of, the ledger alone says: a `request-answered` that names a medium.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use protocol::ledger::{Event, Local, Record};
use protocol::parcel::Label;
use protocol::request::Request;
use protocol::trust::{Role, Use};
use protocol::{Digest, Name, Signed, Timestamp};
use serde_json::{Value, json};
use spool::{ActFilter, Kept};

use crate::desk::{REQUEST_BYTES_MAX, Refusal, missing, name, read_small, reason};
use crate::station::{Station, StationError};
use crate::trips;

type Outcome = Result<Result<Value, Refusal>, StationError>;

/// The witness stood beside the shredder: whoever has not said so within a week did not.
const OPEN_MS: u64 = 7 * 24 * 60 * 60 * 1000;
/// Acts read at a time.
const ACTS_READ: usize = 1_000;
/// What is kept of the operator's word, behind its request's id.
const KEPT_AS: &str = "disposal";

/// The media of the register that were destroyed, and when.
#[derive(Default)]
pub struct Disposed(Mutex<BTreeMap<Name, Timestamp>>);

impl Disposed {
    /// Since when is it gone?
    #[must_use]
    pub fn since(&self, medium: &Name) -> Option<Timestamp> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(medium).copied()
    }

    /// Reads what the ledger says of every medium of the register.
    pub fn load(&self, station: &Station) -> Result<(), StationError> {
        for medium in &station.ferry.media {
            if let Some(at) = on_record(station, &medium.id)? {
                self.note(&medium.id, at);
            }
        }
        Ok(())
    }

    fn note(&self, medium: &Name, at: Timestamp) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(medium.clone(), at);
    }
}

fn on_record(station: &Station, medium: &Name) -> Result<Option<Timestamp>, StationError> {
    let mut asked = ActFilter { medium: Some(medium.clone()), ..ActFilter::default() };
    loop {
        let acts = station.spool.acts(&asked, ACTS_READ)?;
        if let Some(act) = acts.iter().find(|act| act.record.event == Event::RequestAnswered) {
            return Ok(Some(act.record.at));
        }
        match acts.last().filter(|_| acts.len() == ACTS_READ) {
            Some(last) => asked.before = Some(last.place),
            None => return Ok(None),
        }
    }
}

/// The refusal of everything that is asked for with a medium that is gone.
pub(crate) fn refusal(station: &Station, medium: &Name) -> Option<Refusal> {
    let day = station.disposed.since(medium)?.to_string();
    let english =
        format!("medium {medium} was destroyed before a witness ({day}); nothing goes onto it or comes from it");
    let chinese = format!("介质 {medium} 已于 {day} 在见证下销毁，不得再用于导出或导入");
    Some(Refusal::new("medium-disposed", &english, &chinese))
}

/// One of the two words: an operator's, who names the witness, or the witness', who names the operator.
pub(crate) fn dispose(station: &Station, request: &Request, role: Role, signed: &[u8], now: Timestamp) -> Outcome {
    let Some(medium) = name(request, "medium") else { return Ok(Err(missing("medium"))) };
    if request.argument("reason").is_none_or(|words| words.trim().is_empty()) {
        return Ok(Err(Refusal::new(
            "reason-missing",
            "a medium is not disposed of without saying why",
            "销毁介质必须说明原因",
        )));
    }
    if station.medium_direction(&medium).is_none() {
        return Ok(Err(trips::medium_unknown()));
    }
    if station.disposed.since(&medium).is_some() {
        return Ok(Err(already()));
    }
    if let Some(trip) = trips::open_on(station, &medium)? {
        return Ok(Err(Refusal::new(
            "medium-in-use",
            &format!("trip {trip} is under way on the medium"),
            &format!("批次 {trip} 正使用该介质"),
        )));
    }
    match (name(request, "witness"), name(request, "operator")) {
        (Some(witness), None) => asked(station, request, role, &medium, &witness, signed, now),
        (None, Some(operator)) => witnessed(station, request, &medium, &operator, signed, now),
        _ => Ok(Err(missing("witness, or operator: one of them"))),
    }
}

fn same_person() -> Refusal {
    Refusal::new("witness-same", "the witness is another person than the operator", "见证人不得为操作员本人")
}

/// The operator's word: kept as it was signed.
fn asked(
    station: &Station,
    request: &Request,
    role: Role,
    medium: &Name,
    witness: &Name,
    signed: &[u8],
    now: Timestamp,
) -> Outcome {
    if role != Role::Operator {
        return Ok(Err(Refusal::new("role", "an operator disposes of media", "介质销毁须由操作员提出")));
    }
    if *witness == request.person {
        return Ok(Err(same_person()));
    }
    let is_person = |holder: &Name| {
        let mut cards = station.trust.cards();
        cards.any(|card| card.holder == *holder && card.usage == Use::Sign && card.role != Role::Node)
    };
    if !is_person(witness) {
        return Ok(Err(Refusal::new(
            "witness-unknown",
            "no person of that name has a key card here",
            "信任库中没有该见证人的公钥卡",
        )));
    }
    keep(station, request, signed, now)?;
    let words = word(request, None, &request.person, now, [("medium", medium), ("witness", witness)]);
    station.spool.record_all(vec![words])?;
    Ok(Ok(json!({ "medium": medium, "disposed": false, "operator": request.person, "witness": witness })))
}

/// A person's word, as it was signed: among the evidence before any record names it.
fn keep(station: &Station, request: &Request, signed: &[u8], now: Timestamp) -> Result<(), StationError> {
    let kept = Kept { at: now, name: format!("{}.{KEPT_AS}", request.id), bytes: signed.to_vec() };
    Ok(station.spool.keep_evidence(&[kept])?)
}

/// The operator's word that the person who asks may answer: its id, and what it says.
pub(crate) fn waiting(station: &Station, request: &Request, now: Timestamp) -> Outcome {
    let (Some(medium), Some(operator)) = (name(request, "medium"), name(request, "operator")) else {
        return Ok(Err(missing("medium, operator")));
    };
    if station.disposed.since(&medium).is_some() {
        return Ok(Err(already()));
    }
    let found = first_word(station, &medium, &operator, &request.person, now)?;
    Ok(found
        .ok_or_else(|| not_asked(&operator))
        .map(|(said, _)| json!({ "word": said.id.to_string(), "reason": said.argument("reason"), "at_ms": said.at.0 })))
}

fn already() -> Refusal {
    let said = Refusal::new("disposed-already", "the medium was disposed of before", "该介质此前已登记销毁");
    Refusal { done: true, ..said }
}

fn not_asked(operator: &Name) -> Refusal {
    Refusal::new(
        "not-asked",
        &format!("{operator} has not named you as the witness of this medium in the last seven days"),
        &format!("{operator} 在七日内未提出由您见证销毁该介质"),
    )
}

/// The witness' word, which completes the operator's.
fn witnessed(
    station: &Station,
    request: &Request,
    medium: &Name,
    operator: &Name,
    signed: &[u8],
    now: Timestamp,
) -> Outcome {
    if *operator == request.person {
        return Ok(Err(same_person()));
    }
    let Some((first, paper)) = first_word(station, medium, operator, &request.person, now)? else {
        return Ok(Err(not_asked(operator)));
    };
    if request.argument("answers").and_then(Digest::from_hex) != Some(first.id) {
        return Ok(Err(Refusal::new(
            "other-word",
            &format!("it does not answer the word that {operator} said last of this medium"),
            &format!("该见证未对应 {operator} 就该介质最后一次提出的销毁登记"),
        )
        .with_remedy(
            "run `ferry dispose --operator` again: it answers the last word",
            "请重新执行 ferry dispose --operator，将对应最后一次登记",
        )));
    }
    // Under one day with the record that names it: where the operator spoke on an earlier one, once more.
    keep(station, &first, &paper, now)?;
    keep(station, request, signed, now)?;
    let pair = [("operator", operator), ("witness", &request.person)];
    let both =
        [word(&first, Some(medium), operator, now, pair), word(request, Some(medium), &request.person, now, pair)];
    station.spool.record_all(both.into())?;
    station.disposed.note(medium, now);
    Ok(Ok(json!({ "medium": medium, "disposed": true, "operator": operator, "witness": request.person })))
}

/// The operator's last word about the medium, as it was signed, where it names this witness and is of this week. An earlier
/// one that named somebody else is taken back by it, and none counts for longer because it is laid again.
fn first_word(
    station: &Station,
    medium: &Name,
    operator: &Name,
    witness: &Name,
    now: Timestamp,
) -> Result<Option<(Request, Vec<u8>)>, StationError> {
    let since = Some(Timestamp(now.0.saturating_sub(OPEN_MS)));
    let mut week = ActFilter { person: Some(operator.clone()), since, ..ActFilter::default() };
    loop {
        let acts = station.spool.acts(&week, ACTS_READ)?;
        let mut answered = acts.iter().filter(|act| act.record.event == Event::RequestAnswered);
        if let Some((said, bytes)) = answered.find_map(|act| word_of(station, &act.record, medium, operator)) {
            let stands = name(&said, "witness").as_ref() == Some(witness) && now.since(said.at) <= OPEN_MS;
            return Ok(stands.then_some((said, bytes)));
        }
        match acts.last().filter(|_| acts.len() == ACTS_READ) {
            Some(last) => week.before = Some(last.place),
            None => return Ok(None),
        }
    }
}

/// The paper behind a record, where it is an operator's word about this medium.
fn word_of(station: &Station, record: &Record, medium: &Name, operator: &Name) -> Option<(Request, Vec<u8>)> {
    let id = record.digest?;
    let path = station.spool.evidence_path(record.at, &format!("{id}.{KEPT_AS}"));
    let bytes = read_small(&path, REQUEST_BYTES_MAX).ok()?;
    let (said, card) = station.trust.verify::<Request>(&Signed::parse::<Request>(&bytes).ok()?).ok()?;
    let fits = said.id == id
        && said.node == station.node
        && said.action.as_str() == "dispose"
        && said.person == *operator
        && card.holder == *operator
        && card.role == Role::Operator
        && name(&said, "medium").as_ref() == Some(medium)
        && said.argument("witness").is_some();
    fits.then_some((said, bytes))
}

/// What is recorded of a person's word. Only where both stand it names the medium itself, which is then gone.
fn word(
    request: &Request,
    gone: Option<&Name>,
    person: &Name,
    now: Timestamp,
    about: [(&str, &Name); 2],
) -> (Record, Local) {
    let mut record = Record::new(Event::RequestAnswered, now);
    (record.person, record.medium, record.digest) = (Some(person.clone()), gone.cloned(), Some(request.id));
    let about = about
        .into_iter()
        .filter_map(|(what, value)| Some(Label { name: Name::new(what).ok()?, value: value.to_string() }));
    let labels = reason(request).into_iter().chain(about).collect();
    (record, Local { name: Some("dispose".to_owned()), labels })
}
