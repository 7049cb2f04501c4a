//! A client of the watch that believes what it is told, by the contract in
//! `proto/headcount/v1/workload.proto`, and complains when that is broken.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use headcount::{
    model::{Workload, WorkloadKey},
    registry::{DeltaBatch, Position, Registry, Watcher},
};

use crate::{lens::Lens, world::assert_bounds};

/// What somebody knows of the Workloads.
pub(crate) type Known = BTreeMap<WorkloadKey, Arc<Workload>>;

/// What somebody knows who has seen these.
pub(crate) fn known(workloads: &[Arc<Workload>]) -> Known {
    workloads.iter().map(|workload| (workload.key().clone(), Arc::clone(workload))).collect()
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Reader {
    lens: Lens,
    watcher: Watcher,
    known: Known,
    /// Everything up to this revision is known.
    synced: Option<u64>,
    /// Nothing was heard since it connected.
    fresh: bool,
}

/// What a message was like.
#[derive(Debug)]
pub(crate) struct Heard {
    /// All before was to be forgotten.
    pub(crate) reset: bool,
    /// The first since it connected.
    pub(crate) first: bool,
    /// What was known up to before; none for nothing.
    pub(crate) before: Option<u64>,
    /// What is known up to now.
    pub(crate) synced: u64,
}

impl Reader {
    pub(crate) fn new(registry: &Registry, lens: Lens) -> Self {
        Self {
            lens,
            watcher: registry.watch(lens.filter(), None).expect("room for watchers"),
            known: Known::new(),
            synced: None,
            fresh: true,
        }
    }

    /// Disconnects, and comes back where it was.
    pub(crate) fn resume(&mut self, registry: &Registry) {
        let from = self.synced.map(Position);
        self.watcher = registry.watch(self.lens.filter(), from).expect("room for watchers");
        self.fresh = true;
    }

    pub(crate) fn lens(&self) -> Lens {
        self.lens
    }

    pub(crate) fn known(&self) -> &Known {
        &self.known
    }

    pub(crate) fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// Hears one message, if there is one.
    pub(crate) fn poll(&mut self) -> Option<Heard> {
        let batch = self.watcher.next_now()?;
        let first = std::mem::take(&mut self.fresh);
        let before = self.synced;
        let reset = batch.reset;
        assert!(reset || before.is_some(), "the first message is a snapshot's");
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
            assert_eq!(gone.identity.mesh, *mesh, "removed by the mesh that was known");
        }
        let synced = batch.synced.expect("this world is so small that every batch is one message");
        assert!(before.is_none_or(|before| before <= synced), "went back from {before:?} to {synced}");
        self.synced = Some(synced);
        Some(Heard { reset, first, before, synced })
    }

    fn check(&self, batch: &DeltaBatch) {
        let mut mentioned = BTreeSet::new();
        for workload in batch.upserted() {
            assert_bounds(workload.counts);
            assert!(self.lens.matches(&**workload), "{workload:?} does not match {:?}", self.lens);
            assert!(batch.reset || self.synced < Some(workload.revision), "known already: {workload:?}");
            assert!(
                batch.synced.is_none_or(|synced| workload.revision <= synced),
                "ahead of its message: {workload:?}"
            );
            assert!(mentioned.insert(workload.key()), "{} twice", workload.key());
        }
        for (key, _) in batch.removed() {
            assert!(mentioned.insert(key), "{key} twice");
        }
    }
}
