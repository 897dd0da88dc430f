//! Budgets: how much of each type a trip may carry. Counted from the records of what was staged before, so that no restart
//! gives anything back. What is over stays in the outbox, whole, and goes with a later trip.

use std::collections::BTreeMap;

use guard::{Budget, BudgetPeriod, Rules};
use protocol::{BundleId, Name};

use crate::station::{Station, StationError};

/// The label of a parcel that went by an exception: how many findings were let pass.
pub(crate) const EXCEPTED: &str = "excepted";

/// What was spent of one type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Spent {
    parcels: u64,
    bytes: u64,
    exceptions: u64,
}

impl Spent {
    fn and(self, other: Spent) -> Spent {
        Spent {
            parcels: self.parcels.saturating_add(other.parcels),
            bytes: self.bytes.saturating_add(other.bytes),
            exceptions: self.exceptions.saturating_add(other.exceptions),
        }
    }

    fn keeps_to(self, budget: &Budget) -> bool {
        let within = |spent: u64, most: Option<u64>| most.is_none_or(|most| spent <= most);
        within(self.parcels, budget.parcels_max.map(u64::from))
            && within(self.bytes, budget.bytes_max)
            && within(self.exceptions, budget.exceptions_max.map(u64::from))
    }
}

/// The budgets of one trip.
pub(crate) struct Budgets<'a> {
    station: &'a Station,
    rules: Option<&'a Rules>,
    spent: BTreeMap<Name, Spent>,
    /// What a budget kept back, by type.
    pub(crate) held: BTreeMap<String, u64>,
}

impl<'a> Budgets<'a> {
    /// For a trip under these rules. `today` are the bundles of trips that were staged today.
    pub(crate) fn new(
        station: &'a Station,
        rules: Option<&'a Rules>,
        today: impl IntoIterator<Item = BundleId>,
    ) -> Result<Budgets<'a>, StationError> {
        let mut budgets = Budgets { station, rules, spent: BTreeMap::new(), held: BTreeMap::new() };
        let by_day =
            |rules: &Rules| rules.types().any(|one| one.budget().is_some_and(|budget| budget.per == BudgetPeriod::Day));
        if rules.is_some_and(by_day) {
            for bundle in today {
                let Some((kind, one)) = look_up(station, &bundle)? else { continue };
                let counts = budgets.budget(&kind).is_some_and(|budget| budget.per == BudgetPeriod::Day);
                if counts {
                    budgets.spend(kind, one);
                }
            }
        }
        Ok(budgets)
    }

    /// May this bundle go? What goes is counted, what may not is held. `again`: it went before, on the medium that this
    /// one replaces, and was counted then.
    pub(crate) fn lets(&mut self, bundle: &BundleId, again: bool) -> Result<bool, StationError> {
        // A sealed bundle of which the ledger knows no parcel is none that could be counted; there is none.
        let Some((kind, one)) = look_up(self.station, bundle)? else { return Ok(true) };
        let before = self.spent.get(&kind).copied().unwrap_or_default();
        let over = self.budget(&kind).is_some_and(|budget| !before.and(one).keeps_to(budget));
        if over && !again {
            *self.held.entry(kind.to_string()).or_default() += 1;
            return Ok(false);
        }
        self.spend(kind, one);
        Ok(true)
    }

    fn spend(&mut self, kind: Name, one: Spent) {
        let spent = self.spent.entry(kind).or_default();
        *spent = spent.and(one);
    }

    fn budget(&self, kind: &Name) -> Option<&'a Budget> {
        self.rules?.parcel_type(kind)?.budget()
    }
}

/// Findings that two people let pass as exceptions in these bundles, as the ledger has them.
pub(crate) fn exceptions<'a>(
    station: &Station,
    bundles: impl IntoIterator<Item = &'a BundleId>,
) -> Result<u64, StationError> {
    let mut sum = 0_u64;
    for bundle in bundles {
        sum = sum.saturating_add(look_up(station, bundle)?.map_or(0, |(_, one)| one.exceptions));
    }
    Ok(sum)
}

fn look_up(station: &Station, bundle: &BundleId) -> Result<Option<(Name, Spent)>, StationError> {
    let parcel = station.spool.parcel_of_bundle(bundle)?;
    let known = parcel.map(|parcel| station.spool.parcel(&parcel)).transpose()?.flatten();
    Ok(known.map(|known| {
        let excepted = known.labels.iter().filter(|label| label.name.as_str() == EXCEPTED);
        let exceptions = excepted.filter_map(|label| label.value.parse::<u64>().ok()).sum();
        (known.parcel_type, Spent { parcels: 1, bytes: known.bytes, exceptions })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_holds_to_the_last_one_and_a_limit_that_is_not_set_holds_nothing() {
        let budget = |parcels_max, bytes_max, exceptions_max| Budget {
            per: BudgetPeriod::Trip,
            parcels_max,
            bytes_max,
            exceptions_max,
        };
        let spent = Spent { parcels: 3, bytes: 100, exceptions: 1 };
        for (limits, keeps) in [
            ((Some(3), Some(100), Some(1)), true),
            ((None, None, None), true),
            ((Some(2), None, None), false),
            ((None, Some(99), None), false),
            ((None, None, Some(0)), false),
        ] {
            assert_eq!(spent.keeps_to(&budget(limits.0, limits.1, limits.2)), keeps, "{limits:?}");
        }
        let all = Spent { parcels: u64::MAX, bytes: u64::MAX, exceptions: 0 }.and(spent);
        assert!(!all.keeps_to(&budget(Some(u32::MAX), None, None)));
    }
}
