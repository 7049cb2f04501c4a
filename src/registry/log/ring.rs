//! The latest changes as plain data.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use tokio::time::Instant;

use super::{Change, Published};
use crate::model::Workload;

/// The latest changes, with consecutive revisions that end at `head`.
#[derive(Debug, Default)]
pub(super) struct Ring {
    head: u64,
    changes: VecDeque<Change>,
    /// The revisions of open read views, with their number. They need every later
    /// change.
    views: BTreeMap<u64, usize>,
}

impl Ring {
    pub(super) fn head(&self) -> u64 {
        self.head
    }

    /// Makes the first change get the revision after `revision`. Call it before there
    /// is any change.
    pub(super) fn begin_after(&mut self, revision: u64) {
        self.head = revision;
    }

    pub(super) fn append(
        &mut self,
        old: Option<Arc<Workload>>,
        new: Option<Workload>,
        at: Instant,
        continues: bool,
    ) -> (&Change, Published) {
        self.head += 1;
        let new = new.map(|new| Arc::new(new.stamped(self.head)));
        let change = Change { revision: self.head, old, new: new.clone(), at, continues };
        (self.changes.push_back_mut(change), new)
    }

    /// The change of a revision; none if the ring no longer has it.
    pub(super) fn change(&self, revision: u64) -> Option<&Change> {
        self.changes.get(self.index_after(revision.checked_sub(1)?)?)
    }

    /// Drops the oldest changes beyond `capacity`, except those that an open read view
    /// needs. Views live for milliseconds, so these are few.
    pub(super) fn trim(&mut self, capacity: usize) {
        let needed = self.views.first_key_value().map_or(u64::MAX, |(revision, _)| *revision);
        while self.changes.len() > capacity
            && self.changes.front().is_some_and(|change| change.revision <= needed)
        {
            self.changes.pop_front();
        }
    }

    /// Whether it has every change after `revision`.
    pub(super) fn reaches(&self, revision: u64) -> bool {
        self.index_after(revision).is_some()
    }

    /// Appends up to `limit` changes after a revision and up to another one to
    /// `target`, and more if the last one's transition continues. Returns whether all
    /// of the range has been read; none if the ring does not have the range.
    pub(super) fn read(
        &self,
        after: u64,
        until: u64,
        limit: usize,
        target: &mut Vec<Change>,
    ) -> Option<bool> {
        let (from, end) = (self.index_after(after)?, self.index_after(until.max(after))?);
        let mut to = from.saturating_add(limit).min(end);
        while to > from && to < end && self.changes[to - 1].continues {
            to += 1;
        }
        target.extend(self.changes.range(from..to).cloned());
        Some(to == end)
    }

    /// The revision of the last change of a change's transition.
    pub(super) fn end_of_transition(&self, mut revision: u64) -> u64 {
        while self.change(revision).is_some_and(|change| change.continues) {
            revision += 1;
        }
        revision
    }

    pub(super) fn open_view(&mut self, revision: u64) {
        *self.views.entry(revision).or_default() += 1;
    }

    pub(super) fn close_view(&mut self, revision: u64) {
        if let Some(views) = self.views.get_mut(&revision) {
            *views -= 1;
            if *views == 0 {
                self.views.remove(&revision);
            }
        }
    }

    /// The index of the first change after a revision; none if the ring no longer has
    /// it or the revision is in the future.
    fn index_after(&self, revision: u64) -> Option<usize> {
        let newer = usize::try_from(self.head.checked_sub(revision)?).ok()?;
        self.changes.len().checked_sub(newer)
    }
}
