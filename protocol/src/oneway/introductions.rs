//! Introductions that are not known yet: how many signatures are checked for them, and which cost none any more.
//!
//! ```text
//! believed before -> its key, no signature          refused before -> refused, no signature
//! of a later start, said for the first time -> 14 checks a second; turned away and said again -> 5 more, its own
//! of another start than the running one (is it a second sender?) -> 1 a second, its own
//! ```
//! A forger speaks faster than the true sender, but the sender says one introduction again and again: so the 5 are for
//! what comes again. Who floods with introductions that each come twice can use up both, and a new start waits until
//! that ends; nothing that runs is touched by it.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use super::Moment;
use super::beacon::{Beacon, BeaconError, Introduction, Pulse};
use super::receiver::{Ear, Refused};
use crate::aead::Aead;
use crate::keys::KeyError;
use crate::signed::Signed;

/// What a flood of forged beacons costs at most, all kinds together.
pub const SIGNATURES_PER_S_MAX: u32 = 20;
/// Believed ones whose keys are kept: only the sender can make them, so a recording needs so many of its starts to
/// cost a signature again.
const BELIEVED_MAX: usize = 8;
/// Names of refused ones, and of ones turned away, that are remembered: two seconds of two thousand forged ones between
/// two beacons of the true sender, in some tens of KiB.
const REMEMBERED_MAX: usize = 2_048;

/// Why somebody wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It says to be of a start later than any known: if it is true, it is listened to.
    Start,
    /// It will be refused: is it a second sender's?
    Second,
}

/// An introduction that is believed, and the key it carries.
pub(super) struct Believed {
    bytes: Vec<u8>,
    pub(super) said: Introduction,
    pub(super) key: Arc<Aead>,
}

/// What was seen of them.
pub(super) struct Introductions {
    believed: VecDeque<Believed>,
    refused: Recent,
    turned_away: Recent,
    /// For introductions of a later start that come for the first time.
    first: Allowance,
    /// For those that come again.
    again: Allowance,
    /// For what may be a second sender.
    second: Allowance,
}

impl Default for Introductions {
    fn default() -> Introductions {
        Introductions {
            believed: VecDeque::new(),
            refused: Recent::default(),
            turned_away: Recent::default(),
            first: Allowance::new(5, 10),
            again: Allowance::new(2, 4),
            second: Allowance::new(1, 1),
        }
    }
}

impl Introductions {
    /// Signature, key and tag of a beacon of a start that is not known.
    pub(super) fn open(
        &mut self,
        now: Moment,
        ear: &Ear,
        beacon: &Beacon<'_>,
        purpose: Purpose,
    ) -> Result<(&Believed, Pulse), Refused> {
        if let Some(at) = self.believed.iter().position(|known| known.bytes == beacon.introduction) {
            // To the back: what is in use is forgotten last.
            self.believed.remove(at).into_iter().for_each(|known| self.believed.push_back(known));
        } else {
            let known = self.judge(now, ear, beacon, purpose)?;
            self.believed.push_back(known);
            if self.believed.len() > BELIEVED_MAX {
                self.believed.pop_front();
            }
        }
        let known = self.believed.back().ok_or(Refused::TooManySignatures)?;
        fits(ear, beacon, &known.said)?;
        let pulse = beacon.check(&known.key)?;
        Ok((known, pulse))
    }

    fn judge(&mut self, now: Moment, ear: &Ear, beacon: &Beacon<'_>, purpose: Purpose) -> Result<Believed, Refused> {
        let bytes = beacon.introduction;
        if self.refused.has(bytes) {
            return Err(Refused::RefusedBefore);
        }
        let signed = Signed::parse::<Introduction>(bytes).map_err(BeaconError::Der)?;
        // Before the signature, and not remembered: else a true one could be spoiled by sending it in a false beacon.
        fits(ear, beacon, &signed.read_unverified().map_err(BeaconError::Der)?)?;
        self.afford(now, bytes, purpose)?;
        let believed = believe(ear, &signed);
        if believed.is_err() {
            self.refused.add(bytes);
        }
        let (said, key) = believed?;
        Ok(Believed { bytes: bytes.to_owned(), said, key: Arc::new(key) })
    }

    fn afford(&mut self, now: Moment, bytes: &[u8], purpose: Purpose) -> Result<(), Refused> {
        let affordable = match purpose {
            Purpose::Second => self.second.spend(now),
            Purpose::Start => self.first.spend(now) || (self.turned_away.has(bytes) && self.again.spend(now)),
        };
        if !affordable && purpose == Purpose::Start {
            self.turned_away.add(bytes);
        }
        affordable.then_some(()).ok_or(Refused::TooManySignatures)
    }
}

/// Is it of this link and epoch, for this receiver, by the node that may speak here?
fn fits(ear: &Ear, beacon: &Beacon<'_>, said: &Introduction) -> Result<(), Refused> {
    let ours = said.version == 1
        && said.crossing == beacon.crossing
        && said.suite == beacon.suite
        && said.epoch == beacon.epoch
        && said.source == ear.source
        && said.target == ear.me;
    ours.then_some(()).ok_or(Refused::OtherLink { crossing: said.crossing, suite: said.suite })
}

/// 13.1. The answer hangs on the bytes of the introduction alone, so it is the same whenever it is asked.
fn believe(ear: &Ear, signed: &Signed) -> Result<(Introduction, Aead), Refused> {
    let said: Introduction = ear.trust.verify_from_node(signed, &ear.source)?;
    let secret = (ear.unwrap)(&said)?;
    let key = Aead::new(said.suite, &secret).ok_or(Refused::Key(KeyError::CannotUnwrap))?;
    Ok((said, key))
}

/// So many at once after a quiet time; from then on one each time the second has room for it again. So a flood cannot
/// use up a whole second in its first moment, and what is true has its chance in every moment.
struct Allowance {
    every: Moment,
    slack: Moment,
    /// When the next may be spent if all that may be at once were.
    spent: Moment,
}

impl Allowance {
    /// At most `at_once + per_s - 1` in any second.
    fn new(at_once: u32, per_s: u32) -> Allowance {
        let every = Moment::from_secs(1) / per_s + Moment::from_nanos(1);
        Allowance { every, slack: every * (at_once - 1), spent: Moment::ZERO }
    }

    fn spend(&mut self, now: Moment) -> bool {
        let from = self.spent.max(now);
        let room = from <= now + self.slack;
        if room {
            self.spent = from + self.every;
        }
        room
    }
}

/// Introductions named by a hash that nobody outside can know, the oldest forgotten first.
#[derive(Default)]
struct Recent {
    hasher: RandomState,
    names: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Recent {
    fn has(&self, bytes: &[u8]) -> bool {
        self.names.contains(&self.hasher.hash_one(bytes))
    }

    fn add(&mut self, bytes: &[u8]) {
        let name = self.hasher.hash_one(bytes);
        if !self.names.insert(name) {
            return;
        }
        self.order.push_back(name);
        if self.order.len() > REMEMBERED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.names.remove(&oldest);
        }
    }
}
