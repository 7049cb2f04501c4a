//! Batches that several readers share: readers with the same filter and the same
//! position receive the same deltas, so the first one works them out for all.

use std::sync::Arc;

use super::{
    batch::{BATCH_SIZE, DeltaBatch, PendingDeltas},
    conflate::{Conflation, conflate},
};
use crate::{
    model::Filter,
    registry::{log::ChangeLog, recent_cache::RecentCache},
};

/// The most changes that are conflated at a time.
const MAX_CHANGES: usize = 2_048;
/// Batches that are cached: of a few filters, and of readers that are not equally fast.
const CAPACITY: usize = 16;

/// The part of the log that a reader needs next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogRange {
    pub(super) filter: Arc<Filter>,
    pub(super) conflation: Conflation,
    /// The reader is complete up to this revision.
    pub(super) after: u64,
    /// The revision that was announced last.
    pub(super) until: u64,
}

/// What a range of the log contains for a reader.
#[derive(Debug)]
pub(super) enum RangeResult {
    /// No change.
    Empty,
    /// The log no longer has the range.
    OutOfReach,
    /// Changes up to `revision`, none of which the reader's filter matches.
    NoMatch {
        /// The last revision that was read.
        revision: u64,
    },
    /// Deltas that fit into one batch, shared with other readers.
    Batch(Arc<DeltaBatch>),
    /// Deltas for several batches.
    Pending(PendingDeltas),
}

/// The batches that were worked out last.
#[derive(Debug, Default)]
pub(crate) struct BatchCache(RecentCache<(LogRange, Arc<DeltaBatch>), CAPACITY>);

impl BatchCache {
    pub(super) fn read(&self, log: &ChangeLog, range: &LogRange) -> RangeResult {
        if let Some((_, batch)) = self.0.find(|(known, _)| known == range) {
            return RangeResult::Batch(batch);
        }
        let Some(changes) = log.read(range.after, range.until, MAX_CHANGES) else {
            return RangeResult::OutOfReach;
        };
        let Some(revision) = changes.last().map(|change| change.revision) else {
            return RangeResult::Empty;
        };
        let mut pending = conflate(range.conflation, &range.filter, &changes, revision);
        match pending.len() {
            0 => RangeResult::NoMatch { revision },
            1..=BATCH_SIZE => {
                let batch = Arc::new(pending.next_batch());
                self.0.insert((range.clone(), Arc::clone(&batch)));
                RangeResult::Batch(batch)
            }
            _ => RangeResult::Pending(pending),
        }
    }
}
