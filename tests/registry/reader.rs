//! A reader of a watch: applies every message, and checks it against the contract in
//! `proto/headcount/v1/workload.proto`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use headcount::{
    model::{Workload, WorkloadKey},
    registry::{DeltaBatch, Position, Registry, Watcher},
};

use crate::{domain::assert_bounds, filter_case::FilterCase};

/// The Workloads that a reader knows.
pub(crate) type Known = BTreeMap<WorkloadKey, Arc<Workload>>;

/// The state of a reader that has received exactly these.
pub(crate) fn known(workloads: &[Arc<Workload>]) -> Known {
    workloads.iter().map(|workload| (workload.key().clone(), Arc::clone(workload))).collect()
}

/// A reader with a filter, and the state that it has built from the messages of its watches.
#[derive(Debug)]
pub(crate) struct Reader {
    filter: FilterCase,
    watcher: Watcher,
    known: Known,
    /// The state is complete up to this revision.
    synced: Option<u64>,
    /// No message has been received since the watch was opened.
    awaits_first: bool,
}

/// A message that was received.
#[derive(Debug)]
pub(crate) struct Received {
    /// It replaced the state.
    pub(crate) reset: bool,
    /// It was the first of its watch.
    pub(crate) first: bool,
    /// The revision of the state before it; none if there was no state.
    pub(crate) before: Option<u64>,
    /// The revision of the state after it.
    pub(crate) synced: u64,
}

impl Reader {
    pub(crate) fn new(registry: &Registry, filter: FilterCase) -> Self {
        Self {
            filter,
            watcher: registry.watch(filter.filter(), None).expect("room for watchers"),
            known: Known::new(),
            synced: None,
            awaits_first: true,
        }
    }

    /// Disconnects, and resumes the watch at the revision of its state.
    pub(crate) fn resume(&mut self, registry: &Registry) {
        let from = self.synced.map(Position);
        self.watcher = registry.watch(self.filter.filter(), from).expect("room for watchers");
        self.awaits_first = true;
    }

    pub(crate) fn filter(&self) -> FilterCase {
        self.filter
    }

    pub(crate) fn known(&self) -> &Known {
        &self.known
    }

    pub(crate) fn awaits_first(&self) -> bool {
        self.awaits_first
    }

    /// Receives one message, if there is one.
    pub(crate) fn poll(&mut self) -> Option<Received> {
        let batch = self.watcher.next_now()?;
        let first = std::mem::take(&mut self.awaits_first);
        let before = self.synced;
        let reset = batch.reset;
        assert!(reset || before.is_some(), "the first message is not a snapshot");
        if reset {
            self.known.clear();
        }
        self.check(&batch);
        for workload in batch.upserted() {
            self.known.insert(workload.key().clone(), Arc::clone(workload));
        }
        for (key, mesh) in batch.removed() {
            let gone = self.known.remove(key);
            let gone = gone.unwrap_or_else(|| panic!("removed {key}, which was not known"));
            assert_eq!(gone.identity.mesh, *mesh, "removed with another mesh than the known one");
        }
        let synced = batch.synced.expect("with so few Workloads every batch is one message");
        assert!(before.is_none_or(|before| before <= synced), "went back from {before:?} to {synced}");
        self.synced = Some(synced);
        Some(Received { reset, first, before, synced })
    }

    fn check(&self, batch: &DeltaBatch) {
        let mut mentioned = BTreeSet::new();
        for workload in batch.upserted() {
            assert_bounds(workload.counts);
            assert!(self.filter.matches(&**workload), "{workload:?} does not match {:?}", self.filter);
            assert!(batch.reset || self.synced < Some(workload.revision), "known already: {workload:?}");
            assert!(
                batch.synced.is_none_or(|synced| workload.revision <= synced),
                "beyond the revision of its message: {workload:?}"
            );
            assert!(mentioned.insert(workload.key()), "{} twice", workload.key());
        }
        for (key, _) in batch.removed() {
            assert!(mentioned.insert(key), "{key} twice");
        }
    }
}
