//! What readers saw, and whether they saw the same.

use std::collections::BTreeMap;

use headcount::model::Counts;

use crate::{
    lens::Lens,
    reader::Known,
    world::{Name, assert_bounds},
};

/// Where the movers are: nobody comes or goes, they only move.
pub(super) const MOVERS: Name = "movers";

/// Pictures of the Workloads, each claimed to be true at a revision.
#[derive(Debug, Default)]
pub(super) struct Ledger(Vec<Sight>);

#[derive(Debug)]
struct Sight {
    lens: Lens,
    revision: u64,
    known: Known,
}

impl Ledger {
    /// Notes a picture; at once it must have all movers in it, each once.
    pub(super) fn note(&mut self, lens: Lens, revision: u64, known: Known, movers: u32) {
        let mut sum = Counts::default();
        for workload in known.values() {
            assert_bounds(workload.counts);
            if workload.key().namespace.as_str() == MOVERS {
                sum.total += workload.counts.total;
                sum.connected += workload.counts.connected;
            }
        }
        if lens.is_all() {
            assert_eq!(
                (sum.total, sum.connected),
                (movers, movers),
                "a move seen in part at revision {revision}: {known:#?}"
            );
        }
        self.0.push(Sight { lens, revision, known });
    }

    /// Whoever claims the same revision must have seen the same, each through
    /// their lens.
    pub(super) fn assert_consistent(ledgers: &[Self]) {
        let sights = || ledgers.iter().flat_map(|ledger| &ledger.0);
        let mut whole = BTreeMap::new();
        for sight in sights().filter(|sight| sight.lens.is_all()) {
            whole.entry(sight.revision).or_insert(&sight.known);
        }
        for sight in sights() {
            let Some(known) = whole.get(&sight.revision) else {
                continue;
            };
            let expected = known.values().filter(|workload| sight.lens.matches(&***workload));
            let expected: Vec<_> = expected.map(|w| (w.key(), w.revision, w.counts)).collect();
            let seen = sight.known.values();
            let seen: Vec<_> = seen.map(|w| (w.key(), w.revision, w.counts)).collect();
            assert_eq!(seen, expected, "at revision {} through {:?}", sight.revision, sight.lens);
        }
    }
}
