//! A ledger's head as its node states it to one neighbour, and what the neighbour makes of such statements over the
//! years. Pure: no file, no clock. A node cannot shorten or rewrite its ledger without contradicting what it signed.
//!
//! A statement names the head, its turn among all heads stated to this neighbour, and links: earlier heads, each with
//! the proof that the ledger only grew since (RFC 9162, 2.1.4). One-way crossings lose and reorder papers, so a
//! statement that joins nothing yet is kept until it does; that is an unproven stretch and no alarm. A contradiction is:
//!
//! 1. a link whose proof does not hold;
//! 2. two heads of one log with one size and two roots, or with one turn and two heads;
//! 3. a later turn with a smaller ledger;
//! 4. a turn right after one that is known here, with no link from it;
//! 5. another log without the signed papers that begin it.

use std::collections::BTreeMap;

use der::asn1::OctetString;

use crate::keys::SigningKey;
use crate::ledger::{PROOF_DIGESTS_MAX, verify_consistency};
use crate::name::Name;
use crate::parcel::VERSION;
use crate::receipt::Head;
use crate::signed::{Signed, Statement};
use crate::signer::{SignError, Signer};
use crate::suite::{Digest, Suite};
use crate::time::Timestamp;
use crate::trust::{Role, Trust, TrustError};

/// Earlier heads in one statement: the last three that were stated, and the one the neighbour says it holds. A single
/// lost paper then breaks no chain.
pub const LINKS_MAX: usize = 4;
/// Papers that begin a log: by the node and by an operator.
pub const STARTS_MAX: usize = 2;
/// Statements kept of one neighbour: more than are under way at once, and what a contradiction is found against.
pub const SAID_MAX: usize = 64;
/// Earlier heads known of one statement once others were folded into it.
const FROMS_MAX: usize = 12;

/// An earlier head, and the proof that the ledger only grew since.
#[derive(Clone, Debug, PartialEq, Eq, der::Sequence)]
pub struct HeadLink {
    /// Stated to the same neighbour before, or held by it.
    pub from: Head,
    /// From there to the head stated.
    pub proof: Vec<Digest>,
}

/// What a node signs about its ledger, to one neighbour, before a batch or waybill leaves.
#[derive(Clone, Debug, PartialEq, Eq, der::Sequence)]
pub struct HeadStatement {
    /// [`VERSION`].
    pub version: u8,
    /// Whose ledger.
    pub node: Name,
    /// Told to whom.
    pub target: Name,
    /// The digest suite of the ledger.
    pub suite: Suite,
    /// Counts the heads stated to this neighbour; a later one has a larger turn.
    pub turn: u64,
    /// When.
    pub at: Timestamp,
    /// The durable head.
    pub head: Head,
    /// Newest first; none where nothing was stated before.
    pub links: Vec<HeadLink>,
    /// The last head of the neighbour's own ledger that was proven here.
    #[asn1(context_specific = "0", optional = "true", tag_mode = "IMPLICIT", constructed = "true")]
    pub held: Option<Head>,
    /// For every log but the first: the signed papers that begin it ([`LogStart`]).
    pub starts: Vec<OctetString>,
}

/// A ledger that begins anew after a restore: signed by the node and, with the same words, by an operator.
#[derive(Clone, Debug, PartialEq, Eq, der::Sequence)]
pub struct LogStart {
    /// [`VERSION`].
    pub version: u8,
    /// Whose ledger.
    pub node: Name,
    /// The number of the log that begins, from 2.
    pub log: u64,
    /// The last head of the log before it that the node still had.
    pub previous: Head,
    /// The operator who answers for it.
    pub person: Name,
    /// When.
    pub at: Timestamp,
}

impl Statement for HeadStatement {
    const DOMAIN: &'static str = "trilock-v1-head";
    const WHAT: &'static str = "ledger head";
    const BYTES_MAX: usize = 32 * 1024;
    fn version(&self) -> u8 {
        self.version
    }
}
impl Statement for LogStart {
    const DOMAIN: &'static str = "trilock-v1-log-start";
    const WHAT: &'static str = "start of a log";
    const BYTES_MAX: usize = 4 * 1024;
    fn version(&self) -> u8 {
        self.version
    }
}

impl HeadStatement {
    /// A statement without links, for a ledger that nobody was told of before.
    #[must_use]
    pub fn first(node: &Name, target: &Name, suite: Suite, at: Timestamp, head: Head) -> HeadStatement {
        HeadStatement {
            version: VERSION,
            node: node.clone(),
            target: target.clone(),
            suite,
            turn: 1,
            at,
            head,
            links: Vec::new(),
            held: None,
            starts: Vec::new(),
        }
    }

    /// Signed, as it travels inside a batch or waybill.
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> OctetString {
        OctetString::new(Signed::make(key, self).to_bytes()).expect("bounded far below the limit of DER lengths")
    }

    /// The same by somebody who may refuse: a device.
    pub fn sign_by(&self, signer: &dyn Signer) -> Result<OctetString, SignError> {
        let signed = Signed::make_by(signer, self)?;
        Ok(OctetString::new(signed.to_bytes()).expect("bounded far below the limit of DER lengths"))
    }

    /// 12.1.1 to 12.1.4: reads a statement that this node must have signed, and checks every link in it by itself.
    ///
    /// `Ok(Err(fault))` is a contradiction: the signature holds and the proof does not.
    pub fn verify(
        bytes: &[u8],
        node: &Name,
        trust: &Trust,
    ) -> Result<Result<HeadStatement, Box<(HeadStatement, Fault)>>, TrustError> {
        let signed = Signed::parse::<HeadStatement>(bytes).map_err(crate::signed::SignedError::from)?;
        let statement: HeadStatement = trust.verify_from_node(&signed, node)?;
        Ok(match statement.fault(trust) {
            Some(fault) => Err(Box::new((statement, fault))),
            None => Ok(statement),
        })
    }

    fn fault(&self, trust: &Trust) -> Option<Fault> {
        let form = self.version == VERSION
            && self.links.len() <= LINKS_MAX
            && self.starts.len() <= STARTS_MAX
            && self.links.iter().all(|link| link.proof.len() <= PROOF_DIGESTS_MAX);
        if !form {
            return Some(Fault::Form);
        }
        let broken = |link: &&HeadLink| !verify_consistency(self.suite, &link.from, &self.head, &link.proof);
        if let Some(link) = self.links.iter().find(broken) {
            return Some(Fault::Proof { from: link.from.size });
        }
        (self.head.log != 1 && !self.is_begun(trust)).then_some(Fault::NewLog { log: self.head.log })
    }

    /// Do the node and an operator say that this log begins?
    fn is_begun(&self, trust: &Trust) -> bool {
        let (mut by_node, mut by_person) = (None, None);
        for paper in &self.starts {
            let Ok(signed) = Signed::parse::<LogStart>(paper.as_bytes()) else { return false };
            let Ok((start, card)) = trust.verify::<LogStart>(&signed) else { return false };
            if start.version != VERSION || start.node != self.node || start.log != self.head.log {
                return false;
            }
            match card.role {
                Role::Node if card.holder == self.node => by_node = Some(start),
                Role::Operator if card.holder == start.person => by_person = Some(start),
                _ => return false,
            }
        }
        by_node.is_some() && by_node == by_person
    }
}

/// How a statement contradicts what its signer said before, or itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// More links or papers than there can be.
    #[error("the statement is not of the agreed form")]
    Form,
    /// A link.
    #[error("the proof from the head at {from} records does not hold")]
    Proof {
        /// The size it should start from.
        from: u64,
    },
    /// One size, two roots.
    #[error("at {size} records it has another root than was stated in turn {turn}")]
    OtherRoot {
        /// The size.
        size: u64,
        /// Who said otherwise.
        turn: u64,
    },
    /// One turn, two heads.
    #[error("turn {turn} was stated before with another head")]
    TurnTwice {
        /// The turn.
        turn: u64,
    },
    /// A later turn with a smaller ledger.
    #[error("{size} records are fewer than the {before} of turn {turn}")]
    Shorter {
        /// The smaller.
        size: u64,
        /// The larger.
        before: u64,
        /// Who said it.
        turn: u64,
    },
    /// The turn before is known here, and the statement has no link from it.
    #[error("it does not continue the head of turn {turn}")]
    Forgotten {
        /// The turn before.
        turn: u64,
    },
    /// Another log, and no papers that begin it.
    #[error("log {log} begins without papers of its node and an operator")]
    NewLog {
        /// Its number.
        log: u64,
    },
    /// We hold a head of the reader's own ledger that this ledger does not pass through.
    #[error("a neighbour holds a head of this ledger at {size} records which is not on its way")]
    NotOnTheWay {
        /// The size.
        size: u64,
    },
}

impl Fault {
    /// The earlier turn whose statement is the other half of the evidence.
    #[must_use]
    pub const fn against(&self) -> Option<u64> {
        match self {
            Fault::OtherRoot { turn, .. }
            | Fault::TurnTwice { turn }
            | Fault::Shorter { turn, .. }
            | Fault::Forgotten { turn } => Some(*turn),
            Fault::Form | Fault::Proof { .. } | Fault::NewLog { .. } | Fault::NotOnTheWay { .. } => None,
        }
    }
}

/// A head and the turn it was stated in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stated {
    /// Which of the heads stated to us.
    pub turn: u64,
    /// The head.
    pub head: Head,
}

/// What a statement changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The proven head is now this one.
    Proven(Stated),
    /// Nothing new.
    Known,
    /// It joins nothing yet: an unproven stretch.
    Unproven,
    /// It cannot be true together with what was said before. Nothing of it was taken.
    Contradiction(Fault),
}

#[derive(Clone, Debug)]
struct Said {
    head: Head,
    /// Heads from which this one was proven to have grown.
    froms: Vec<Head>,
    proven: bool,
}

/// Everything that one neighbour said about its ledger, as far as it is kept.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    last: Option<Stated>,
    said: BTreeMap<u64, Said>,
}

impl Watch {
    /// Goes on from the last proven head that the ledger knows.
    #[must_use]
    pub fn from(last: Option<Stated>) -> Watch {
        let said = last.map(|last| (last.turn, Said { head: last.head, froms: Vec::new(), proven: true }));
        Watch { last, said: said.into_iter().collect() }
    }

    /// The last proven head.
    #[must_use]
    pub fn last(&self) -> Option<Stated> {
        self.last
    }

    /// Heads that join nothing yet, oldest first.
    pub fn unproven(&self) -> impl Iterator<Item = Stated> {
        self.said.iter().filter(|(_, said)| !said.proven).map(|(turn, said)| Stated { turn: *turn, head: said.head })
    }

    /// Is the statement of this turn still needed, to be joined or as evidence?
    #[must_use]
    pub fn keeps(&self, log: u64, turn: u64) -> bool {
        self.said.get(&turn).is_some_and(|said| said.head.log == log)
    }

    /// Takes a statement that verified by itself ([`HeadStatement::verify`]).
    pub fn take(&mut self, statement: &HeadStatement) -> Taken {
        let known = self.last.map_or(statement.head.log, |last| last.head.log);
        if statement.head.log < known {
            // A paper of the log before, late. What it says was superseded by two signatures.
            return Taken::Known;
        }
        if statement.head.log > known {
            *self = Watch::default();
        }
        let froms: Vec<Head> = statement.links.iter().map(|link| link.from).collect();
        if let Some(said) = self.said.get_mut(&statement.turn).filter(|said| said.head == statement.head) {
            // What our own ledger knows is only the head: the paper itself says from where it grew.
            if said.froms.is_empty() {
                said.froms = froms;
                self.join();
            }
            return Taken::Known;
        }
        if let Some(fault) = self.contradicts(statement) {
            return Taken::Contradiction(fault);
        }
        self.said.insert(statement.turn, Said { head: statement.head, froms, proven: false });
        let before = self.last;
        if self.last.is_none() {
            // The first word of a neighbour is believed: there is nothing to hold it against but its signature.
            self.prove(statement.turn);
        }
        self.join();
        self.forget();
        match self.last {
            Some(last) if Some(last) != before => Taken::Proven(last),
            _ if self.said.get(&statement.turn).is_some_and(|said| !said.proven) => Taken::Unproven,
            _ => Taken::Known,
        }
    }

    fn contradicts(&self, statement: &HeadStatement) -> Option<Fault> {
        let (turn, head) = (statement.turn, statement.head);
        let heads = || std::iter::once(head).chain(statement.links.iter().map(|link| link.from));
        for (then, said) in &self.said {
            let before = || std::iter::once(said.head).chain(said.froms.iter().copied());
            let other = |a: &Head| before().any(|b| a.size == b.size && a.root != b.root);
            if let Some(other) = heads().find(other) {
                return Some(Fault::OtherRoot { size: other.size, turn: *then });
            }
            if *then == turn {
                return Some(Fault::TurnTwice { turn });
            }
            let (earlier, later) = if *then < turn { (said.head, head) } else { (head, said.head) };
            if later.size < earlier.size {
                return Some(Fault::Shorter { size: later.size, before: earlier.size, turn: *then });
            }
            if then.checked_add(1) == Some(turn) && !heads().any(|one| one == said.head) {
                return Some(Fault::Forgotten { turn: *then });
            }
        }
        None
    }

    fn prove(&mut self, turn: u64) {
        if let Some(said) = self.said.get_mut(&turn) {
            said.proven = true;
            if self.last.is_none_or(|last| last.turn < turn) {
                self.last = Some(Stated { turn, head: said.head });
            }
        }
    }

    /// Joins what can be joined: a later head that grew from the last proven one, and earlier heads that stand on its way.
    fn join(&mut self) {
        // Every turn of the loop proves one of at most SAID_MAX + 1 statements.
        loop {
            let Some(last) = self.last else { return };
            let proven = || self.said.values().filter(|said| said.proven);
            let on_the_way = |head: &Head| proven().any(|said| said.head == *head || said.froms.contains(head));
            let next = self.said.iter().find(|(turn, said)| {
                !said.proven
                    && (said.head == last.head
                        || (**turn > last.turn && said.froms.contains(&last.head))
                        || (**turn < last.turn && on_the_way(&said.head)))
            });
            let Some(turn) = next.map(|(turn, _)| *turn) else { return };
            self.prove(turn);
        }
    }

    /// Keeps to the bound: what is proven goes first, oldest first; then statements are folded into those behind them.
    fn forget(&mut self) {
        // What came late, joined nothing, and lies far behind what is proven by now will not be joined any more.
        let floor = self.last.map_or(0, |last| last.turn.saturating_sub(SAID_MAX as u64));
        self.said.retain(|turn, _| *turn >= floor);
        while self.said.len() > SAID_MAX {
            let last = self.last.map(|last| last.turn);
            let proven =
                self.said.iter().find(|(turn, said)| said.proven && Some(**turn) != last).map(|(turn, _)| *turn);
            let gone = match proven {
                Some(turn) => turn,
                None => self.fold(),
            };
            self.said.remove(&gone);
        }
    }

    /// Gives the turn that can go: one that a later statement grew from takes its beginnings over.
    fn fold(&mut self) -> u64 {
        let open: Vec<(u64, Said)> =
            self.said.iter().filter(|(_, said)| !said.proven).map(|(turn, said)| (*turn, said.clone())).collect();
        for (turn, said) in &open {
            let behind = self.said.iter_mut().find(|(later, one)| **later > *turn && one.froms.contains(&said.head));
            if let Some((_, behind)) = behind {
                // The oldest beginnings are what will be joined first.
                let mut froms = said.froms.clone();
                froms.append(&mut behind.froms);
                froms.sort_by_key(|head| head.size);
                froms.dedup();
                froms.truncate(FROMS_MAX);
                behind.froms = froms;
                return *turn;
            }
        }
        open.first().map_or(0, |(turn, _)| *turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{consistency_proof, leaf, root};
    use crate::tree;
    use crate::trust::{KeyCard, Use};
    use crate::zone::Zone;

    /// A ledger in memory that states heads as a node does.
    struct Node {
        suite: Suite,
        leaves: Vec<Digest>,
        turn: u64,
        sent: Vec<Head>,
    }

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    impl Node {
        fn new(suite: Suite) -> Node {
            Node { suite, leaves: Vec::new(), turn: 0, sent: Vec::new() }
        }
        fn at(&self, level: u32, index: u64) -> Result<Digest, ()> {
            match level {
                0 => self.leaves.get(index as usize).copied().ok_or(()),
                _ => Ok(tree::node(self.suite, &self.at(level - 1, index * 2)?, &self.at(level - 1, index * 2 + 1)?)),
            }
        }
        fn head(&self) -> Head {
            let size = self.leaves.len() as u64;
            Head { log: 1, size, root: root(self.suite, size, &mut |l, i| self.at(l, i)).unwrap() }
        }
        fn grow(&mut self, records: u64, words: &[u8]) {
            for n in 0..records {
                self.leaves
                    .push(leaf(self.suite, &[words, &n.to_be_bytes(), &self.leaves.len().to_be_bytes()].concat()));
            }
        }
        fn state(&mut self) -> HeadStatement {
            let head = self.head();
            let links = self.sent.iter().rev().take(LINKS_MAX - 1).map(|from| {
                let proof = consistency_proof(self.suite, from.size, head.size, &mut |l, i| self.at(l, i)).unwrap();
                HeadLink { from: *from, proof }
            });
            let mut statement =
                HeadStatement::first(&name("extranet"), &name("intranet"), self.suite, Timestamp(1), head);
            statement.links = links.collect();
            self.turn += 1;
            statement.turn = self.turn;
            self.sent.push(head);
            statement
        }
        fn next(&mut self) -> HeadStatement {
            self.grow(3, b"a record");
            self.state()
        }
    }

    fn trust(key: &SigningKey, holder: &str, role: Role, trust: &mut Trust) {
        let card = KeyCard {
            zone: Zone::Extranet,
            holder: name(holder),
            role,
            usage: Use::Sign,
            suite: key.suite(),
            from: "2026-11-21".to_owned(),
            until: None,
            spki: key.public().to_spki(),
        };
        trust.add(holder, &card.to_text()).unwrap();
    }

    #[test]
    fn a_ledger_that_only_grows_is_proven_in_whatever_order_its_heads_come() {
        for suite in Suite::ALL {
            let mut node = Node::new(suite);
            let statements: Vec<HeadStatement> = (0..40).map(|_| node.next()).collect();
            let mut watch = Watch::default();
            assert!(matches!(watch.take(&statements[0]), Taken::Proven(last) if last.turn == 1));
            for at in (1..40).rev() {
                let taken = watch.take(&statements[at]);
                assert!(!matches!(taken, Taken::Contradiction(_)), "{at}: {taken:?}");
            }
            assert_eq!(watch.last().unwrap().head, node.head());
            assert_eq!(watch.unproven().count(), 0);
            assert_eq!(watch.take(&statements[7]), Taken::Known);
        }
    }

    #[test]
    fn lost_papers_leave_an_unproven_stretch_that_the_head_we_hold_closes() {
        let mut node = Node::new(Suite::Std);
        let mut watch = Watch::default();
        let held = node.next();
        watch.take(&held);
        for _ in 0..4 {
            node.next();
        }
        for _ in 0..200 {
            assert_eq!(watch.take(&node.next()), Taken::Unproven);
        }
        assert!(watch.unproven().count() <= SAID_MAX, "bounded");
        // The neighbour has heard meanwhile which head is held, and proves from there.
        let mut statement = node.next();
        let proof = consistency_proof(Suite::Std, held.head.size, statement.head.size, &mut |l, i| node.at(l, i));
        statement.links.push(HeadLink { from: held.head, proof: proof.unwrap() });
        assert!(matches!(watch.take(&statement), Taken::Proven(last) if last.head == node.head()));
    }

    #[test]
    fn one_paper_that_comes_late_joins_all_that_were_folded_behind_it() {
        let mut node = Node::new(Suite::Std);
        let mut watch = Watch::default();
        watch.take(&node.next());
        let late: Vec<HeadStatement> = (0..4).map(|_| node.next()).collect();
        for _ in 0..300 {
            watch.take(&node.next());
        }
        for statement in &late {
            watch.take(statement);
        }
        assert_eq!(watch.last().unwrap().head, node.head());
    }

    #[test]
    fn a_ledger_put_back_to_an_older_state_contradicts_itself_at_its_next_word() {
        for (grown, forks) in [(1, false), (1, true), (9, false), (9, true), (500, true)] {
            let mut node = Node::new(Suite::Std);
            let mut watch = Watch::default();
            for _ in 0..5 {
                watch.take(&node.next());
            }
            let (leaves, turn, sent) = (node.leaves.clone(), node.turn, node.sent.clone());
            watch.take(&node.next());
            (node.leaves, node.turn, node.sent) = (leaves, turn, sent);
            node.grow(grown, if forks { b"another" } else { b"a record" });
            let taken = watch.take(&node.state());
            assert!(matches!(taken, Taken::Contradiction(_)), "{grown} {forks}: {taken:?}");
        }
    }

    #[test]
    fn a_rewritten_record_and_a_forgotten_head_are_contradictions() {
        let mut node = Node::new(Suite::Std);
        let mut watch = Watch::default();
        for _ in 0..5 {
            watch.take(&node.next());
        }
        let mut rewritten = Node { leaves: node.leaves.clone(), sent: node.sent.clone(), ..Node::new(Suite::Std) };
        rewritten.turn = node.turn;
        rewritten.leaves[2] = leaf(Suite::Std, b"another");
        // It says what it said before: then its proofs do not hold.
        let statement = rewritten.next();
        assert_eq!(statement.fault(&Trust::default()), Some(Fault::Proof { from: 15 }));
        // It proves from heads that it never stated: then the roots differ.
        rewritten.sent = vec![rewritten.head()];
        rewritten.turn = node.turn;
        let mut statement = rewritten.next();
        statement.links.truncate(1);
        rewritten.sent.clear();
        assert!(matches!(watch.take(&statement), Taken::Contradiction(Fault::Forgotten { turn: 5 })));
        statement.turn = 9;
        assert_eq!(watch.take(&statement), Taken::Unproven, "it may have been lost on the way");
        let mut shorter = node.next();
        (shorter.turn, shorter.head) = (20, node.sent[1]);
        assert!(matches!(watch.take(&shorter), Taken::Contradiction(Fault::Shorter { .. })));
    }

    #[test]
    fn a_new_log_is_followed_with_both_signatures_and_no_other_way() {
        for suite in Suite::ALL {
            let (own, operator, other) =
                (SigningKey::generate(suite), SigningKey::generate(suite), SigningKey::generate(suite));
            let mut believed = Trust::default();
            trust(&own, "extranet", Role::Node, &mut believed);
            trust(&operator, "operator-ma", Role::Operator, &mut believed);
            trust(&other, "approver-li", Role::Approver, &mut believed);
            let mut node = Node::new(suite);
            let mut watch = Watch::default();
            for _ in 0..3 {
                watch.take(&node.next());
            }
            let mut again = Node::new(suite);
            let mut statement = again.next();
            statement.head.log = 2;
            let verify = |statement: &HeadStatement| {
                HeadStatement::verify(statement.sign(&own).as_bytes(), &name("extranet"), &believed).unwrap()
            };
            assert_eq!(verify(&statement).unwrap_err().1, Fault::NewLog { log: 2 });
            let start = LogStart {
                version: VERSION,
                node: name("extranet"),
                log: 2,
                previous: node.head(),
                person: name("operator-ma"),
                at: Timestamp(5),
            };
            let paper =
                |key: &SigningKey, start: &LogStart| OctetString::new(Signed::make(key, start).to_bytes()).unwrap();
            for starts in [
                vec![paper(&own, &start)],
                vec![paper(&own, &start), paper(&own, &start)],
                vec![paper(&own, &start), paper(&other, &start)],
                vec![paper(&own, &start), paper(&operator, &LogStart { log: 3, ..start.clone() })],
                vec![paper(&own, &start), paper(&operator, &LogStart { previous: Head::default(), ..start.clone() })],
            ] {
                statement.starts = starts;
                assert!(verify(&statement).is_err());
            }
            statement.starts = vec![paper(&own, &start), paper(&operator, &start)];
            let read = verify(&statement).unwrap();
            assert_eq!(read, statement);
            assert!(matches!(watch.take(&read), Taken::Proven(last) if last.head.log == 2));
            assert_eq!(watch.take(&node.next()), Taken::Known, "a late paper of the old log");
        }
    }

    #[test]
    fn the_largest_statement_keeps_its_limit() {
        let key = SigningKey::generate(Suite::Gm);
        let name = name(&"n".repeat(crate::name::NAME_BYTES_MAX));
        let head = Head { log: u64::MAX, size: u64::MAX, root: Digest::default() };
        let mut statement = HeadStatement::first(&name, &name, Suite::Gm, Timestamp(u64::MAX), head);
        let link = HeadLink { from: head, proof: vec![Digest::default(); PROOF_DIGESTS_MAX] };
        statement.links = vec![link; LINKS_MAX];
        statement.held = Some(head);
        statement.starts = vec![OctetString::new(vec![0; 1_000]).unwrap(); STARTS_MAX];
        assert!(Signed::parse::<HeadStatement>(statement.sign(&key).as_bytes()).is_ok());
    }
}
