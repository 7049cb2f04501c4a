//! One change of one Workload, before and after it has a revision.

use std::sync::Arc;

use tokio::time::Instant;

use crate::model::{Workload, WorkloadKey, WorkloadRecord};

/// One visible change of one Workload.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    /// Its revision.
    pub(crate) revision: u64,
    /// The state before; none if the Workload was created.
    pub(crate) old: Option<Arc<Workload>>,
    /// The state after; none if the Workload was deleted.
    pub(crate) new: Option<Arc<Workload>>,
    /// When it was published.
    pub(crate) at: Instant,
    /// The next revision belongs to the same transition, so no read ends here.
    pub(crate) continues: bool,
}

impl Change {
    /// The key of its Workload.
    pub(crate) fn key(&self) -> &WorkloadKey {
        let state = self.new.as_ref().or(self.old.as_ref());
        state.expect("a change has a state before or after it").key()
    }
}

/// A change without a revision.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(super) old: Option<Arc<Workload>>,
    pub(super) new: Option<Workload>,
}

/// What a published draft left in place; none if the Workload was deleted.
pub(crate) type Published = Option<Arc<Workload>>;

impl Draft {
    /// A creation, an update, or the replacement of a Workload by another one.
    pub(crate) fn upsert(old: Option<Arc<Workload>>, new: Workload) -> Self {
        Self { old, new: Some(new) }
    }

    /// A deletion.
    pub(crate) fn remove(old: Arc<Workload>) -> Self {
        Self { old: Some(old), new: None }
    }

    /// The record of the Workload after this change, if it changes: none removes it.
    pub(crate) fn record(&self) -> Option<(&WorkloadKey, Option<WorkloadRecord>)> {
        match (&self.old, &self.new) {
            (Some(_), Some(new)) if !self.is_replacement() => None,
            (_, Some(new)) => Some((new.key(), Some(WorkloadRecord::of(&new.identity)))),
            (old, None) => old.as_ref().map(|old| (old.key(), None)),
        }
    }

    /// Whether it puts another object in the place of the old one. It is published as
    /// a deletion and a creation with a revision each: a Kubernetes client that stops
    /// between the two has processed the deletion and misses only the creation.
    pub(super) fn is_replacement(&self) -> bool {
        let (Some(old), Some(new)) = (&self.old, &self.new) else {
            return false;
        };
        // Nearly all states of one object share their identity, so it is not read from memory.
        !Arc::ptr_eq(&old.identity, &new.identity) && old.identity.uid != new.identity.uid
    }
}
