//! Signed objects that stand alone in a file and tell of no parcel: what keys, logs, links and rules rest on. Proven as far
//! as each can be without what it belongs to, and says so.

use protocol::endorsement::Endorsement;
use protocol::oneway::{EPOCHS_MAX, FolderBeacon, Introduction};
use protocol::rollover::{Rollover, day};
use protocol::trust::{KeyCard, Role, TrustError};
use protocol::trust_list::TrustList;
use protocol::volume::{PIECES_MAX, Volume};
use protocol::witness::LogStart;
use protocol::{Digest, Name, Signed, Statement, Timestamp, Trust};
use serde_json::{Value, json};

use crate::proof::{Proof, What, by_node, is, who};
use crate::words::{Language, say, size};

/// What holds of one: a sentence, the facts, and the time that it states.
struct Held {
    sentence: String,
    facts: Value,
    at: Timestamp,
    signer: Digest,
}

type Proven = Result<Held, String>;

/// The proof of such an object, where the bytes are one.
pub(crate) fn of(bytes: &[u8], trust: &Trust, language: Language) -> Option<Proof> {
    let (what, words, proven) = if is::<Rollover>(bytes) {
        (What::Rollover, language.pick("the rollover", "换钥声明"), rollover(bytes, trust, language))
    } else if is::<TrustList>(bytes) {
        (What::TrustList, language.pick("the trust list", "信任清单"), trust_list(bytes, trust, language))
    } else if is::<Volume>(bytes) {
        (What::Volume, language.pick("the volume", "卷"), volume(bytes, trust, language))
    } else if is::<LogStart>(bytes) {
        (What::LogStart, language.pick("the start of a log", "账段起始"), log_start(bytes, trust, language))
    } else if is::<Endorsement>(bytes) {
        (What::Endorsement, language.pick("the endorsement", "规则签名"), endorsement(bytes, trust, language))
    } else if is::<FolderBeacon>(bytes) {
        (What::FolderBeacon, language.pick("the folder beacon", "目录信标"), folder_beacon(bytes, trust, language))
    } else if is::<Introduction>(bytes) {
        (What::Introduction, language.pick("the introduction", "链路密钥声明"), introduction(bytes, trust, language))
    } else {
        return None;
    };
    Some(match proven {
        Err(cause) => Proof::failed(what, cause),
        Ok(held) => {
            let mut proof = Proof::good(what, held.facts);
            proof.holds.push(held.sentence);
            proof.ask(trust, words, (held.signer, held.at), &[], language);
            proof
        }
    })
}

/// 4.1, of an object that a person named in it has signed, in a role that may.
fn by_person<T: Statement>(
    bytes: &[u8],
    trust: &Trust,
    may: impl Fn(&T, &KeyCard) -> bool,
) -> Result<(T, Digest), String> {
    let signed = Signed::parse::<T>(bytes).map_err(|e| e.to_string())?;
    let (object, card) = trust.verify::<T>(&signed).map_err(|e: TrustError| e.to_string())?;
    if may(&object, card) {
        Ok((object, signed.signer))
    } else {
        Err(format!("{} signed by {}, role {}, who may not", T::WHAT, card.holder, card.role))
    }
}

/// 4.2
fn rollover(bytes: &[u8], trust: &Trust, language: Language) -> Proven {
    Rollover::verify(bytes, trust).map_err(|e| e.to_string())?;
    let (said, signed) = by_node(bytes, trust, |said: &Rollover| &said.node)?;
    let (node, usage, at, until) = (&said.node, said.usage, day(said.at), day(said.until));
    let key = who(trust, &signed.signer);
    Ok(Held {
        sentence: say!(
            language,
            "{node}: another key for {usage} from {at}, the one before until {until}, signed by {key}",
            "{node}：{usage} 用途自 {at} 换用新密钥，旧密钥至 {until}，由 {key} 签名"
        ),
        facts: json!({"node": said.node, "use": said.usage.to_string(), "old": said.old.to_string(), "from": at, "until": until}),
        at: said.at,
        signer: signed.signer,
    })
}

/// 4.3: whose list it is. Whether the folder holds these cards is for the node that demands it.
fn trust_list(bytes: &[u8], trust: &Trust, language: Language) -> Proven {
    let (list, signer) = TrustList::verify(bytes, trust).map_err(|e| e.to_string())?;
    let (count, at, key) = (list.cards.len(), list.at, who(trust, &signer));
    Ok(Held {
        sentence: say!(
            language,
            "a list of {count} cards, signed by {key} at {at}; not held against a folder",
            "{count} 张公钥卡的清单，由 {key} 于 {at} 签名；未与目录核对"
        ),
        facts: json!({"person": list.person, "cards": count, "at": at.to_string()}),
        at,
        signer,
    })
}

/// 10.3.1, 10.3.3, 10.3.4, 10.3.6: the other steps need its waybill.
fn volume(bytes: &[u8], trust: &Trust, language: Language) -> Proven {
    let (volume, signer) =
        by_person(bytes, trust, |said: &Volume, card| card.role != Role::Node && card.holder == said.person)?;
    let (number, count, pieces, at) = (volume.number, volume.count, volume.pieces.len(), volume.at);
    if !(1..=count).contains(&number) {
        return Err(format!("volume {number} of {count} cannot be"));
    }
    if pieces > PIECES_MAX {
        return Err(format!("{pieces} pieces are over the limit of {PIECES_MAX}"));
    }
    volume.shape().map_err(|e| e.to_string())?;
    let (trip, key) = (volume.trip, who(trust, &signer));
    let amount = size(volume.pieces.iter().map(|piece| piece.size).fold(0, u64::saturating_add));
    Ok(Held {
        sentence: say!(
            language,
            "volume {number} of {count} of trip {trip}: {pieces} pieces, {amount}, signed by {key} at {at}; its waybill is not here",
            "批次 {trip} 第 {number} 卷（共 {count} 卷）：{pieces} 个分片，{amount}，由 {key} 于 {at} 签名；运单不在此处"
        ),
        facts: json!({"trip": trip, "number": number, "count": count, "pieces": pieces, "waybill": volume.waybill.to_string(), "at": at.to_string()}),
        at,
        signer,
    })
}

/// 12.2: one of the two papers.
fn log_start(bytes: &[u8], trust: &Trust, language: Language) -> Proven {
    let (start, signer) = by_person(bytes, trust, |start: &LogStart, card| match card.role {
        Role::Node => card.holder == start.node,
        Role::Operator => card.holder == start.person,
        _ => false,
    })?;
    let (node, log, before, at, key) = (&start.node, start.log, start.previous, start.at, who(trust, &signer));
    let (earlier, size) = (before.log, before.size);
    Ok(Held {
        sentence: say!(
            language,
            "{node} begins log {log} behind log {earlier} with {size} records, signed by {key} at {at}; one of two papers",
            "{node} 在账段 {earlier}（{size} 条记录）之后开始账段 {log}，由 {key} 于 {at} 签名；两份文书之一"
        ),
        facts: json!({"node": start.node, "log": log, "previous": {"log": before.log, "records": size, "root": before.root.to_string()},
            "person": start.person, "at": at.to_string()}),
        at,
        signer,
    })
}

/// 10.2: whose signature it is. The rule file is not here.
fn endorsement(bytes: &[u8], trust: &Trust, language: Language) -> Proven {
    let (said, signer) = by_person(bytes, trust, |said: &Endorsement, card| {
        matches!(card.role, Role::Security | Role::Approver) && card.holder == said.person
    })?;
    let rules: String = said.rules.chars().filter(|c| !c.is_control()).take(40).collect();
    let (crossing, digest, at, key) = (said.crossing, said.digest, said.at, who(trust, &signer));
    Ok(Held {
        sentence: say!(
            language,
            "rules {rules} of {crossing} endorsed by {key} at {at}; the rule file is not here",
            "{crossing} 的规则 {rules} 由 {key} 于 {at} 签名认可；规则文件不在此处"
        ),
        facts: json!({"crossing": crossing.name(), "rules": rules, "digest": digest.to_string(), "person": said.person, "at": at.to_string()}),
        at,
        signer,
    })
}

/// 13.2
fn folder_beacon(bytes: &[u8], trust: &Trust, language: Language) -> Proven {
    let (beacon, signed) = by_node(bytes, trust, |beacon: &FolderBeacon| &beacon.source)?;
    if beacon.pulse.next.len() > EPOCHS_MAX {
        return Err(format!("{} epochs are over the limit of {EPOCHS_MAX}", beacon.pulse.next.len()));
    }
    let number = format!("{}/{}", beacon.epoch, beacon.number);
    let (source, target, at, key) = (&beacon.source, &beacon.target, beacon.pulse.at, who(trust, &signed.signer));
    Ok(Held {
        sentence: say!(
            language,
            "beacon {number} of {source} to {target}, signed by {key} at {at}",
            "{source} 致 {target} 的信标 {number}，由 {key} 于 {at} 签名"
        ),
        facts: link_facts(source, target, beacon.crossing.name(), at),
        at,
        signer: signed.signer,
    })
}

/// 13.1
fn introduction(bytes: &[u8], trust: &Trust, language: Language) -> Proven {
    let (said, signed) = by_node(bytes, trust, |said: &Introduction| &said.source)?;
    let (source, target, epoch, at) = (&said.source, &said.target, said.epoch, said.started);
    let key = who(trust, &signed.signer);
    Ok(Held {
        sentence: say!(
            language,
            "the key of link epoch {epoch} of {source}, wrapped to {target}, signed by {key} at {at}",
            "{source} 的链路期次 {epoch} 密钥，已封给 {target}，由 {key} 于 {at} 签名"
        ),
        facts: link_facts(source, target, said.crossing.name(), at),
        at,
        signer: signed.signer,
    })
}

fn link_facts(source: &Name, target: &Name, crossing: &str, at: Timestamp) -> Value {
    json!({"source": source, "target": target, "crossing": crossing, "at": at.to_string()})
}
