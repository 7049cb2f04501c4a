//! A consistent view of states that change while they are read.

use std::collections::HashMap;

use super::{
    Published,
    change_log::{CHUNK, ChangeLog},
};
use crate::model::WorkloadKey;

/// A read at one revision. While it lives, the log retains the changes since then, by
/// which the states that were read can be brought back to the revision.
#[derive(Debug)]
pub(crate) struct ReadView<'a> {
    log: &'a ChangeLog,
    revision: u64,
}

impl<'a> ReadView<'a> {
    /// The caller has opened the view in the ring, under its lock.
    pub(super) fn opened(log: &'a ChangeLog, revision: u64) -> Self {
        Self { log, revision }
    }

    /// The revision that the view shows.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// To be called after the states have been read: the states at the view's revision
    /// of all Workloads that have changed since. A Workload that is not in it had the
    /// state that was read.
    pub(crate) fn undo(&self) -> HashMap<WorkloadKey, Published> {
        let mut undo = HashMap::new();
        let (mut revision, head) = (self.revision, self.log.head());
        while revision < head
            && let Some(changes) = self.log.read(revision, head, CHUNK)
        {
            for change in changes {
                revision = change.revision;
                undo.entry(change.key().clone()).or_insert(change.old);
            }
        }
        undo
    }
}

impl Drop for ReadView<'_> {
    fn drop(&mut self) {
        self.log.close_view(self.revision);
    }
}
