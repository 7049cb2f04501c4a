//! What the readers observed, and whether their observations agree.

use std::collections::BTreeMap;

use headcount::model::Counts;

use crate::{
    domain::{Name, assert_bounds},
    filter_case::FilterCase,
    reader::Known,
};

/// The namespace of the movers: dataplanes that stay connected and only move between workloads, so
/// that the sum of its Workloads is constant.
pub(super) const MOVERS: Name = "movers";

/// States of the Workloads that a reader observed.
#[derive(Debug, Default)]
pub(super) struct Observations(Vec<Observation>);

/// What a filter selected at a revision.
#[derive(Debug)]
struct Observation {
    filter: FilterCase,
    revision: u64,
    known: Known,
}

impl Observations {
    /// Records an observation. If it is unfiltered, it must count each mover exactly once.
    pub(super) fn record(&mut self, filter: FilterCase, revision: u64, known: Known, movers: u32) {
        let mut sum = Counts::default();
        for workload in known.values() {
            assert_bounds(workload.counts);
            if workload.key().namespace.as_str() == MOVERS {
                sum.total += workload.counts.total;
                sum.connected += workload.counts.connected;
            }
        }
        if filter.is_all() {
            assert_eq!(
                (sum.total, sum.connected),
                (movers, movers),
                "a part of a move is visible at revision {revision}: {known:#?}"
            );
        }
        self.0.push(Observation { filter, revision, known });
    }

    /// All observations of one revision must agree, each as far as its filter selects.
    pub(super) fn assert_consistent(readers: &[Self]) {
        let observations = || readers.iter().flat_map(|reader| &reader.0);
        let mut unfiltered = BTreeMap::new();
        for observation in observations().filter(|observation| observation.filter.is_all()) {
            unfiltered.entry(observation.revision).or_insert(&observation.known);
        }
        for Observation { filter, revision, known } in observations() {
            let Some(all) = unfiltered.get(revision) else {
                continue;
            };
            let expected = all.values().filter(|workload| filter.matches(&***workload));
            let expected: Vec<_> = expected.map(|w| (w.key(), w.revision, w.counts)).collect();
            let observed: Vec<_> = known.values().map(|w| (w.key(), w.revision, w.counts)).collect();
            assert_eq!(observed, expected, "at revision {revision} with {filter:?}");
        }
    }
}
