//! What the dataplanes of a group have in common, counted in O(1) memory for the usual group,
//! whose members are all alike.

use std::collections::BTreeMap;

use crate::model::{Dataplane, Environment, WorkloadTraits, ZoneName};

/// The traits of a group's members. The Workload has those that all of them share.
#[derive(Debug)]
pub(crate) struct SharedTraits {
    environment: Tally<Environment>,
    zone: Tally<Option<ZoneName>>,
}

/// Counts the values of one trait. While all members have the same value, it owns no memory
/// besides itself.
#[derive(Debug)]
struct Tally<T> {
    value: T,
    members: u32,
    /// Members with another value, by value; no entry is 0.
    others: BTreeMap<T, u32>,
}

impl SharedTraits {
    /// The traits of a group without members. `first` is the member that is added first.
    pub(crate) fn new(first: &Dataplane) -> Self {
        Self { environment: Tally::new(first.environment), zone: Tally::new(first.zone.clone()) }
    }

    /// Adds a member. Returns whether what all members share has changed.
    pub(crate) fn add(&mut self, member: &Dataplane) -> bool {
        let environment = self.environment.add(&member.environment);
        let zone = self.zone.add(&member.zone);
        environment || zone
    }

    /// Removes a member. Returns whether what all members share has changed.
    pub(crate) fn remove(&mut self, member: &Dataplane) -> bool {
        let environment = self.environment.remove(&member.environment);
        let zone = self.zone.remove(&member.zone);
        environment || zone
    }

    /// Replaces a member. Returns whether what all members share has changed.
    pub(crate) fn replace(&mut self, older: &Dataplane, newer: &Dataplane) -> bool {
        if (older.environment, &older.zone) == (newer.environment, &newer.zone) {
            return false;
        }
        let before = self.common();
        self.add(newer);
        self.remove(older);
        self.common() != before
    }

    /// What all members share.
    pub(crate) fn common(&self) -> WorkloadTraits {
        WorkloadTraits {
            environment: self.environment.common().copied(),
            zone: self.zone.common().cloned().flatten(),
        }
    }
}

impl<T: Ord + Clone> Tally<T> {
    fn new(value: T) -> Self {
        Self { value, members: 0, others: BTreeMap::new() }
    }

    /// Returns whether the common value has changed.
    fn add(&mut self, value: &T) -> bool {
        if *value == self.value {
            self.members += 1;
            return false;
        }
        let was_common = self.others.is_empty();
        *self.others.entry(value.clone()).or_default() += 1;
        was_common
    }

    /// Returns whether the common value has changed.
    fn remove(&mut self, value: &T) -> bool {
        let was_common = self.others.is_empty();
        if *value == self.value {
            self.members = self.members.checked_sub(1).expect("a member is removed once");
            if self.members == 0
                && let Some((value, members)) = self.others.pop_first()
            {
                (self.value, self.members) = (value, members);
            }
        } else {
            let members = self.others.get_mut(value).expect("a member is removed once");
            *members -= 1;
            if *members == 0 {
                self.others.remove(value);
            }
        }
        was_common != self.others.is_empty()
    }

    /// The value of all members, if they have the same.
    fn common(&self) -> Option<&T> {
        self.others.is_empty().then_some(&self.value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a list of all values: whether one is common, and when that changes.
        #[test]
        fn a_tally_knows_the_value_that_all_members_share(
            first in 0..3_u8,
            ops in prop::collection::vec((any::<bool>(), 0..3_u8), 0..40),
        ) {
            let common = |values: &[u8]| values.iter().all(|v| *v == values[0]).then_some(values[0]);
            let mut tally = Tally::new(first);
            tally.add(&first);
            let mut values = vec![first];
            for (adds, value) in ops {
                let before = common(&values);
                let changed = if adds {
                    values.push(value);
                    tally.add(&value)
                } else if values.len() > 1 && let Some(at) = values.iter().position(|v| *v == value) {
                    values.remove(at);
                    tally.remove(&value)
                } else {
                    continue;
                };
                prop_assert_eq!(tally.common().copied(), common(&values));
                prop_assert_eq!(changed, before != common(&values));
                prop_assert_eq!(tally.others.values().sum::<u32>() + tally.members, u32::try_from(values.len()).unwrap());
            }
        }
    }
}
