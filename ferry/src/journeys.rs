//! What all papers say of each parcel together: one statement, one way (FORMAT.md 8.2) and, where that is asked for,
//! nothing missing between its origin and its end (8.3). Knows no file; reads only what was proven before.

use std::collections::BTreeMap;

use protocol::receipt::Outcome;
use protocol::suite::Digest;
use protocol::{BundleId, Crossing, Name, ParcelId, Timestamp};

use crate::words::{Language, say};

/// Each of the two nodes of a crossing keeps its own evidence of a bundle.
const COPIES: usize = 2;

/// What one file says about a parcel's way. Small: a run may hold millions.
#[derive(Clone, Debug)]
pub(crate) struct Journey {
    pub(crate) parcel: ParcelId,
    pub(crate) statement: Digest,
    /// A digest of each signed custody entry, in order; SHA-256 here whatever the suite, only to compare two files.
    pub(crate) links: Box<[Digest]>,
    /// The bundle it is about; none for a receipt alone.
    pub(crate) hop: Option<Box<Hop>>,
    /// What nodes signed about the parcel.
    pub(crate) said: Vec<Said>,
}

/// A bundle, and the way up to it.
#[derive(Clone, Debug)]
pub(crate) struct Hop {
    pub(crate) bundle: BundleId,
    /// The digest of its envelope.
    pub(crate) envelope: Digest,
    /// The node it was for.
    pub(crate) target: Name,
    /// The node the parcel was for.
    pub(crate) end: Name,
    /// Who sealed it, for which crossing, hop by hop.
    pub(crate) way: Vec<(Name, Crossing)>,
}

/// A receipt, proven.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) node: Name,
    pub(crate) bundle: BundleId,
    pub(crate) outcome: Outcome,
    pub(crate) at: Timestamp,
    /// Does the card of its key cover that day?
    pub(crate) dated: bool,
}

/// Papers by parcel, each with the row of its file.
#[derive(Default)]
pub(crate) struct Journeys {
    told: BTreeMap<ParcelId, Vec<(usize, Journey)>>,
    /// Receipts out of batches: a batch tells of many parcels, and only those that have papers of their own are asked for.
    beside: BTreeMap<ParcelId, Vec<(usize, Journey)>>,
}

/// What holds of one parcel.
pub(crate) struct Parcel {
    pub(crate) parcel: ParcelId,
    pub(crate) papers: usize,
    pub(crate) hops: usize,
    /// Do all of them tell of one statement and one way?
    pub(crate) whole: bool,
    /// Rows that contradict the longest way, and why.
    pub(crate) contradict: Vec<(usize, &'static str)>,
    /// How it ended, by whom, when.
    pub(crate) end: Option<Said>,
    /// The earliest word of somebody who did not seal it, by a key in its days: the first witness of its time.
    pub(crate) witness: Option<Said>,
    /// What is not there of a whole delivery, named.
    pub(crate) missing: Vec<String>,
    /// What is there once where two nodes keep it.
    pub(crate) notes: Vec<String>,
}

impl Journeys {
    /// Takes what the file of a row says.
    pub(crate) fn take(&mut self, row: usize, journey: Journey) {
        self.told.entry(journey.parcel).or_default().push((row, journey));
    }

    /// Takes what a batch says of one of its parcels.
    pub(crate) fn take_beside(&mut self, row: usize, journey: Journey) {
        self.beside.entry(journey.parcel).or_default().push((row, journey));
    }

    /// Every parcel that has papers of its own.
    pub(crate) fn parcels(mut self, language: Language) -> impl Iterator<Item = Parcel> {
        self.told.into_iter().map(move |(parcel, mut told)| {
            told.extend(self.beside.remove(&parcel).unwrap_or_default());
            weigh(parcel, &told, language)
        })
    }
}

fn weigh(parcel: ParcelId, told: &[(usize, Journey)], language: Language) -> Parcel {
    let longest = told.iter().map(|(_, journey)| journey).max_by_key(|journey| journey.links.len());
    let mut contradict = Vec::new();
    for (row, journey) in told {
        let same_statement = longest.is_some_and(|longest| longest.statement == journey.statement);
        let same_way = longest.is_some_and(|longest| longest.links.starts_with(&journey.links));
        if !same_statement {
            let cause = language.pick(
                "it tells of another parcel statement than other papers of the same parcel",
                "其投递声明与同一投递件的其他凭证不同",
            );
            contradict.push((*row, cause));
        } else if !same_way {
            let cause = language.pick(
                "its custody entries contradict those of other papers of the parcel",
                "其经手记录与同一投递件的其他凭证矛盾",
            );
            contradict.push((*row, cause));
        } else if journey.hop.as_deref().is_some_and(|hop| is_twice(told, hop)) {
            let cause = language.pick("another envelope bears the id of its bundle", "另有一个信封使用同一密封包编号");
            contradict.push((*row, cause));
        }
    }
    let said: Vec<&Said> = told.iter().flat_map(|(_, journey)| &journey.said).collect();
    let way = longest.and_then(|longest| longest.hop.as_deref());
    let (mut missing, mut notes) = (Vec::new(), Vec::new());
    if let Some(way) = way {
        look_for_hops(told, &said, way, language, &mut missing, &mut notes);
    }
    look_for_bundles(told, &said, language, &mut missing);
    let end = end(&said, way).cloned();
    if end.is_none() {
        missing.push(language.pick("a receipt that says how it ended", "说明结局的回执").to_owned());
    }
    let origin = way.and_then(|way| way.way.first()).map(|(node, _)| node);
    let witness = said.iter().filter(|said| said.dated && Some(&said.node) != origin).min_by_key(|said| said.at);
    Parcel {
        parcel,
        papers: told.len(),
        hops: longest.map_or(0, |longest| longest.links.len()),
        whole: contradict.is_empty(),
        contradict,
        end,
        witness: witness.map(|said| (*said).clone()),
        missing,
        notes,
    }
}

/// 8.2: a bundle has one envelope. Which of two is the true one no paper says.
fn is_twice(told: &[(usize, Journey)], hop: &Hop) -> bool {
    let others = told.iter().filter_map(|(_, journey)| journey.hop.as_deref());
    others.filter(|other| other.bundle == hop.bundle).any(|other| other.envelope != hop.envelope)
}

/// 8.3: for every custody entry evidence of its bundle, and the word of the node that bundle was for.
fn look_for_hops(
    told: &[(usize, Journey)],
    said: &[&Said],
    way: &Hop,
    language: Language,
    missing: &mut Vec<String>,
    notes: &mut Vec<String>,
) {
    for (at, (node, crossing)) in way.way.iter().enumerate() {
        let hop = at + 1;
        let papers: Vec<&Hop> = told
            .iter()
            .filter(|(_, journey)| journey.links.len() == hop)
            .filter_map(|(_, journey)| journey.hop.as_deref())
            .collect();
        let Some(first) = papers.first() else {
            missing.push(say!(
                language,
                "the evidence of hop {hop} ({node}, {crossing})",
                "第 {hop} 段的存证（{node}，{crossing}）"
            ));
            continue;
        };
        let target = &first.target;
        let receipted = |hop: &&&Hop| said.iter().any(|said| said.bundle == hop.bundle && said.node == hop.target);
        if !papers.iter().any(|paper| receipted(&paper)) {
            missing.push(say!(
                language,
                "the receipt of {target} for hop {hop} ({crossing})",
                "{target} 对第 {hop} 段（{crossing}）的回执"
            ));
        }
        let found = papers.len();
        if found < COPIES {
            notes.push(say!(
                language,
                "hop {hop} ({node}, {crossing}): {found} of the {COPIES} copies of its evidence; {node} and {target} each keep one",
                "第 {hop} 段（{node}，{crossing}）：存证 {COPIES} 份中有 {found} 份；{node} 与 {target} 各存一份"
            ));
        }
    }
}

/// A receipt names a bundle: then there was one.
fn look_for_bundles(told: &[(usize, Journey)], said: &[&Said], language: Language, missing: &mut Vec<String>) {
    let known = |bundle: BundleId| {
        told.iter().filter_map(|(_, journey)| journey.hop.as_deref()).any(|hop| hop.bundle == bundle)
    };
    let mut named: Vec<(BundleId, &Name)> =
        said.iter().filter(|said| !known(said.bundle)).map(|said| (said.bundle, &said.node)).collect();
    named.sort();
    named.dedup_by_key(|(bundle, _)| *bundle);
    for (bundle, node) in named {
        missing.push(say!(
            language,
            "the evidence of bundle {bundle}, which {node} receipted",
            "密封包 {bundle} 的存证（{node} 已出具回执）"
        ));
    }
}

/// Delivered by the node it was for; or refused or quarantined, by any.
fn end<'a>(said: &[&'a Said], way: Option<&Hop>) -> Option<&'a Said> {
    let ends = |said: &Said| match said.outcome {
        Outcome::Delivered => way.is_none_or(|way| way.end == said.node),
        Outcome::Refused | Outcome::Quarantined => true,
        Outcome::Arrived | Outcome::Duplicate => false,
    };
    said.iter().copied().filter(|said| ends(said)).min_by_key(|said| (said.outcome != Outcome::Delivered, said.at))
}
