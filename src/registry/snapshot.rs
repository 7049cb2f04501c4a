//! Snapshots: all Workloads at one revision.

use std::sync::Arc;

use super::recent_cache::RecentCache;
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
