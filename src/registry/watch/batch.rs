//! What a watcher delivers: deltas, in batches of bounded size.

use std::{
    iter::Peekable,
    sync::{Arc, OnceLock},
    vec,
};

use bytes::Bytes;
use tokio::time::Instant;

use super::cache::ConflatedRange;
use crate::model::{Filter, MeshName, Workload, WorkloadKey};

/// The most deltas in one batch. A stream's buffer stays as large as its largest
/// message: 64 Workloads take 16 KiB with usual names and 64 KiB with the longest.
pub(super) const BATCH_SIZE: usize = 64;

/// What happened to one Workload, as a reader with a filter sees it. At least one of
/// `before` and `now` is set.
#[derive(Debug, Clone)]
pub struct Delta {
    /// The state that the reader knew; none if the Workload did not exist or did not
    /// match.
    pub before: Option<Arc<Workload>>,
    /// The state now; none if the Workload was deleted or no longer matches.
    pub now: Option<Arc<Workload>>,
    /// The revision of the last change in it.
    pub revision: u64,
}

/// The next deltas for a reader.
#[derive(Debug, Default)]
pub struct DeltaBatch {
    /// The reader must discard everything it has received before.
    pub reset: bool,
    /// In the order of their revisions; in a snapshot in the order of their keys.
    pub deltas: Vec<Delta>,
    /// The reader is complete up to this revision; none if more batches follow first.
    pub synced: Option<u64>,
    /// When the oldest change in it was published.
    pub oldest: Option<Instant>,
    encoded: [OnceLock<Bytes>; 3],
}

/// An encoding that readers of one batch share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// A gRPC message.
    Protobuf,
    /// Kubernetes objects.
    Json,
    /// Rows of a Kubernetes `Table`.
    Table,
}

impl DeltaBatch {
    /// A batch without deltas that only states a revision.
    pub(super) fn bookmark(synced: Option<u64>) -> Self {
        Self { synced, ..Self::default() }
    }

    /// Workloads that were created, updated, or begin to match.
    pub fn upserted(&self) -> impl Iterator<Item = &Arc<Workload>> {
        self.deltas.iter().filter_map(|delta| delta.now.as_ref())
    }

    /// Workloads that were deleted or no longer match, with the mesh that the reader
    /// knew.
    pub fn removed(&self) -> impl Iterator<Item = (&WorkloadKey, &MeshName)> {
        let removed = self.deltas.iter().filter(|delta| delta.now.is_none());
        removed.filter_map(|delta| delta.before.as_ref()).map(|gone| (gone.key(), &gone.identity.mesh))
    }

    /// Returns an encoding of the batch. The first caller makes it by `encode`; the
    /// others share the bytes.
    pub fn encoded(&self, encoding: Encoding, encode: impl FnOnce(&Self) -> Bytes) -> Bytes {
        self.encoded[encoding as usize].get_or_init(|| encode(self)).clone()
    }
}

/// Deltas that have not been delivered yet: the only queue of a watcher. A snapshot
/// takes a pointer for each Workload; a range of the log is shared with other watchers.
#[derive(Debug)]
pub(super) struct PendingDeltas {
    reset: bool,
    rest: Rest,
    revision: u64,
}

#[derive(Debug)]
enum Rest {
    Snapshot(vec::IntoIter<Arc<Workload>>),
    Range(Peekable<Matching>),
}

impl PendingDeltas {
    /// All Workloads at a revision.
    pub(super) fn snapshot(workloads: Vec<Arc<Workload>>, revision: u64) -> Self {
        Self { reset: true, rest: Rest::Snapshot(workloads.into_iter()), revision }
    }

    /// What changed in a range, for a reader with this filter; none if nothing matches.
    pub(super) fn matching(range: Arc<ConflatedRange>, filter: Arc<Filter>) -> Option<Self> {
        let revision = range.revision;
        let mut matching = Matching { range, filter, next: 0 }.peekable();
        matching.peek()?;
        Some(Self { reset: false, rest: Rest::Range(matching), revision })
    }

    /// Takes the next batch. The last one states the revision.
    pub(super) fn next_batch(&mut self) -> DeltaBatch {
        let mut batch = DeltaBatch { reset: std::mem::take(&mut self.reset), ..DeltaBatch::default() };
        let complete = match &mut self.rest {
            Rest::Snapshot(workloads) => {
                let added = |workload: Arc<Workload>| Delta {
                    revision: workload.revision,
                    before: None,
                    now: Some(workload),
                };
                batch.deltas.extend(workloads.by_ref().take(BATCH_SIZE).map(added));
                workloads.len() == 0
            }
            Rest::Range(matching) => {
                for (delta, since) in matching.by_ref().take(BATCH_SIZE) {
                    batch.oldest = Some(batch.oldest.map_or(since, |oldest| oldest.min(since)));
                    batch.deltas.push(delta);
                }
                matching.peek().is_none()
            }
        };
        batch.synced = complete.then_some(self.revision);
        batch
    }
}

/// The deltas of a range as a reader with a filter sees them, and when the first change
/// in each was published.
#[derive(Debug)]
struct Matching {
    range: Arc<ConflatedRange>,
    filter: Arc<Filter>,
    next: usize,
}

impl Iterator for Matching {
    type Item = (Delta, Instant);

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(conflated) = self.range.deltas.get(self.next) {
            self.next += 1;
            let Delta { before, now, revision } = &conflated.delta;
            let visible = |state: &&Arc<Workload>| self.filter.matches(state);
            let (before, now) = (before.as_ref().filter(visible), now.as_ref().filter(visible));
            if before.is_some() || now.is_some() {
                let delta = Delta { before: before.cloned(), now: now.cloned(), revision: *revision };
                return Some((delta, conflated.since));
            }
        }
        None
    }
}
