//! Snapshots: all Workloads at one revision.

use std::sync::Arc;

use super::{Registry, counts::Entry, log::ReadView, recent_cache::RecentCache};
use crate::model::Workload;

/// All Workloads at one revision.
#[derive(Debug)]
pub struct Snapshot {
    /// The revision.
    pub revision: u64,
    /// In the order of their keys.
    pub workloads: Vec<Arc<Workload>>,
}

/// Snapshots that are cached, for the next pages of a listing and for readers that come
/// at the same revision.
const CACHED: usize = 4;

/// The snapshots that were made last.
pub(crate) type SnapshotCache = RecentCache<Arc<Snapshot>, CACHED>;

impl Registry {
    /// All Workloads at the latest revision. Takes milliseconds for 10,000 Workloads.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot_at(&self.shared.log.read_view())
    }

    /// All Workloads at the revision of a view. Writers go on meanwhile; their changes
    /// are undone in the result.
    pub(crate) fn snapshot_at(&self, view: &ReadView<'_>) -> Arc<Snapshot> {
        if let Some(cached) = self.shared.snapshots.find(|cached| cached.revision == view.revision()) {
            return cached;
        }
        let current = |entry: Arc<Entry>| entry.read(|members| members.current().clone());
        let now: Vec<_> = self.shared.entries.all().into_iter().filter_map(current).collect();
        let undo = view.undo();
        let unchanged = now.into_iter().filter(|workload| !undo.contains_key(workload.key()));
        let restored = undo.values().flatten().cloned();
        let mut workloads: Vec<_> = unchanged.chain(restored).collect();
        workloads.sort_unstable_by(|one, other| one.key().cmp(other.key()));
        let snapshot = Arc::new(Snapshot { revision: view.revision(), workloads });
        self.shared.snapshots.insert(Arc::clone(&snapshot));
        snapshot
    }
}
