//! Whether records can be written.

use std::{
    mem::discriminant,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;

use crate::store::StoreError;

/// What the writer has done so far. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct StoreStatus(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    commits: AtomicU64,
    commit_micros: AtomicU64,
    failures: AtomicU64,
    error: Mutex<Option<StoreError>>,
}

/// The state of the writer at one point in time.
#[derive(Debug, Clone, PartialEq)]
pub struct StoreState {
    /// Batches that were written.
    pub commits: u64,
    /// The time that these took.
    pub commit_time: Duration,
    /// Batches that could not be written.
    pub failures: u64,
    /// Why the last batch could not be written; none if it was.
    pub error: Option<StoreError>,
}

impl StoreStatus {
    /// Returns the present state.
    pub fn state(&self) -> StoreState {
        StoreState {
            commits: self.0.commits.load(Relaxed),
            commit_time: Duration::from_micros(self.0.commit_micros.load(Relaxed)),
            failures: self.0.failures.load(Relaxed),
            error: self.0.error.lock().clone(),
        }
    }

    /// A batch was written in this time. Returns whether the one before was not.
    pub(super) fn written(&self, time: Duration) -> bool {
        self.0.commits.fetch_add(1, Relaxed);
        self.0.commit_micros.fetch_add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), Relaxed);
        self.0.error.lock().take().is_some()
    }

    /// A batch could not be written. Returns whether the one before could, or failed with an
    /// error of another kind. Texts are not compared: with one cause, an attempt fails when it
    /// writes the file and the next one when it opens it.
    pub(super) fn failed(&self, error: StoreError) -> bool {
        self.0.failures.fetch_add(1, Relaxed);
        let kind = discriminant(&error);
        let before = self.0.error.lock().replace(error);
        before.is_none_or(|before| discriminant(&before) != kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_reported_once_for_each_kind_and_outage() {
        let status = StoreStatus::default();
        assert!(status.failed(StoreError::Unavailable("cannot write the file".into())));
        assert!(!status.failed(StoreError::Unavailable("cannot open the file".into())));
        assert!(status.failed(StoreError::Damaged("the file is damaged".into())));
        assert!(status.written(Duration::ZERO));
        assert!(!status.written(Duration::ZERO));
        assert!(status.failed(StoreError::Damaged("the file is damaged".into())));
        assert_eq!(status.state().failures, 4);
    }
}
