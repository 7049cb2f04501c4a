//! What watchers share: the first watcher that reads a range of the log reads and
//! conflates it for all, whatever their filters are. Watchers with the same filter also
//! share the batch.

use std::sync::Arc;

use super::{
    batch::{DeltaBatch, PendingDeltas},
    conflate::{Conflated, Conflation, conflate},
    filters::FilterLease,
};
use crate::{
    model::{ExactName, Filter},
    registry::{
        log::{Change, ChangeLog, NameChanges},
        recent_cache::RecentCache,
    },
};

/// The most changes that are conflated at a time.
const MAX_CHANGES: usize = 2_048;
/// Ranges that are cached: those of watchers that are not equally fast.
const RANGES: usize = 8;
/// Batches that are cached: also of a few filters.
const BATCHES: usize = 16;

/// The changes after one revision and up to another one, and how they are combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LogRange {
    pub(super) after: u64,
    pub(super) until: u64,
    pub(super) conflation: Conflation,
}

/// What happened in a range of the log, to whichever Workload.
#[derive(Debug)]
pub(super) struct ConflatedRange {
    range: LogRange,
    /// The last revision that was read: less than the end of a long range.
    pub(super) revision: u64,
    pub(super) deltas: Vec<Conflated>,
}

/// What a range of the log contains for a reader.
#[derive(Debug)]
pub(super) enum RangeResult {
    /// Nothing has changed up to `revision`, which is the latest one for the reader.
    Empty {
        /// The revision.
        revision: u64,
    },
    /// The log no longer has the range.
    OutOfReach,
    /// Changes up to `revision`, none of which the reader's filter matches.
    NoMatch {
        /// The last revision that was read.
        revision: u64,
    },
    /// A complete batch, which other readers may share.
    Batch(Arc<DeltaBatch>),
    /// The first batch of several.
    First(Arc<DeltaBatch>, PendingDeltas),
}

type CachedBatch = (LogRange, Arc<Filter>, Arc<DeltaBatch>);

/// The ranges and batches that were worked out last.
#[derive(Debug, Default)]
pub(crate) struct BatchCache {
    ranges: RecentCache<Arc<ConflatedRange>, RANGES>,
    batches: RecentCache<CachedBatch, BATCHES>,
}

impl BatchCache {
    /// Reads a range for a watcher that is woken by every change.
    pub(super) fn read(&self, log: &ChangeLog, filter: &FilterLease, range: LogRange) -> RangeResult {
        if range.after == range.until {
            return RangeResult::Empty { revision: range.after };
        }
        if let Some(batch) = self.find(filter, range) {
            return RangeResult::Batch(batch);
        }
        if let Some(cached) = self.ranges.find(|cached| cached.range == range) {
            return self.batch(filter, cached);
        }
        let Some(changes) = log.read(range.after, range.until, MAX_CHANGES) else {
            return RangeResult::OutOfReach;
        };
        let Some(last) = changes.last() else {
            return RangeResult::Empty { revision: range.after };
        };
        let conflated = ConflatedRange::new(range, &changes, last.revision);
        self.ranges.insert(Arc::clone(&conflated));
        self.batch(filter, conflated)
    }

    /// Reads all changes after a revision for a watcher of one name.
    pub(super) fn read_name(
        &self,
        log: &ChangeLog,
        name: &ExactName,
        filter: &FilterLease,
        conflation: Conflation,
        after: u64,
    ) -> RangeResult {
        match log.read_name(name, after) {
            None => RangeResult::OutOfReach,
            Some(NameChanges::Search { head }) => {
                self.read(log, filter, LogRange { after, until: head, conflation })
            }
            Some(NameChanges::Found { changes, until }) => {
                let Some(first) = changes.first() else {
                    return RangeResult::Empty { revision: until };
                };
                // Equal for all watchers that lack the same changes, whatever they have read before.
                let range = LogRange { after: first.revision - 1, until, conflation };
                match self.find(filter, range) {
                    Some(batch) => RangeResult::Batch(batch),
                    None => self.batch(filter, ConflatedRange::new(range, &changes, until)),
                }
            }
        }
    }

    fn find(&self, filter: &FilterLease, range: LogRange) -> Option<Arc<DeltaBatch>> {
        let known = |(known, of, _): &CachedBatch| *known == range && Arc::ptr_eq(of, filter.filter());
        filter.is_shared().then(|| self.batches.find(known)).flatten().map(|(_, _, batch)| batch)
    }

    fn batch(&self, filter: &FilterLease, conflated: Arc<ConflatedRange>) -> RangeResult {
        let (range, revision) = (conflated.range, conflated.revision);
        let Some(mut pending) = PendingDeltas::matching(conflated, Arc::clone(filter.filter())) else {
            return RangeResult::NoMatch { revision };
        };
        let batch = Arc::new(pending.next_batch());
        if batch.synced.is_none() {
            return RangeResult::First(batch, pending);
        }
        if filter.is_shared() {
            self.batches.insert((range, Arc::clone(filter.filter()), Arc::clone(&batch)));
        }
        RangeResult::Batch(batch)
    }
}

impl ConflatedRange {
    fn new(range: LogRange, changes: &[Change], revision: u64) -> Arc<Self> {
        Arc::new(Self { range, revision, deltas: conflate(range.conflation, changes) })
    }
}
