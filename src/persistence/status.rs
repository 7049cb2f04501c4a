//! Whether records can be written.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
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
    outage: Mutex<Option<Outage>>,
    stored_until: Mutex<Option<SystemTime>>,
}

#[derive(Debug)]
struct Outage {
    /// The latest one.
    error: StoreError,
    /// Whether an error was reported that does not end by itself.
    reported_permanent: bool,
}

/// The state of the writer at one point in time.
#[derive(Debug, Clone, PartialEq)]
pub struct StoreState {
    /// Batches that were written.
    pub commits: u64,
    /// The time that these took.
    pub commit_time: Duration,
    /// Attempts that failed: of a batch, or of the check and the reservation before it.
    pub failures: u64,
    /// Why the last batch could not be written, has not been for a long time, or would not be found
    /// by a later start; none if it was written.
    pub error: Option<StoreError>,
    /// All changes before this time are stored; none before the first check.
    pub stored_until: Option<SystemTime>,
}

impl StoreStatus {
    /// Returns the present state.
    pub fn state(&self) -> StoreState {
        StoreState {
            commits: self.0.commits.load(Relaxed),
            commit_time: Duration::from_micros(self.0.commit_micros.load(Relaxed)),
            failures: self.0.failures.load(Relaxed),
            error: self.0.outage.lock().as_ref().map(|outage| outage.error.clone()),
            stored_until: *self.0.stored_until.lock(),
        }
    }

    /// A batch was written in this time.
    pub(super) fn written(&self, time: Duration) {
        self.0.commits.fetch_add(1, Relaxed);
        self.0.commit_micros.fetch_add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    /// All changes before a time are stored. Returns whether that ends an outage.
    pub(super) fn all_stored(&self, until: SystemTime) -> bool {
        *self.0.stored_until.lock() = Some(until);
        self.0.outage.lock().take().is_some()
    }

    /// An attempt to write a batch, or to check the files before it, failed. Returns whether to report
    /// it, as [`StoreStatus::late`].
    pub(super) fn failed(&self, error: StoreError) -> bool {
        self.0.failures.fetch_add(1, Relaxed);
        self.late(error)
    }

    /// A batch could not be written, or has not been for a long time. Returns whether to report
    /// it: an outage is reported once, and once more if it turns out not to end by itself. Whether
    /// the outcome of an attempt is known differs from one attempt to the next.
    pub(super) fn late(&self, error: StoreError) -> bool {
        let is_permanent = match error {
            StoreError::Unavailable(_) | StoreError::Unknown(_) => false,
            StoreError::Damaged(_) | StoreError::Invalid(_) => true,
        };
        let mut outage = self.0.outage.lock();
        let reported_permanent = outage.as_ref().map(|outage| outage.reported_permanent);
        let is_new = reported_permanent.is_none_or(|reported| is_permanent && !reported);
        *outage =
            Some(Outage { error, reported_permanent: is_permanent || reported_permanent == Some(true) });
        is_new
    }
}

#[cfg(test)]
impl StoreStatus {
    /// A status whose last batch could not be written.
    pub(crate) fn failing(error: &str) -> Self {
        let status = Self::default();
        status.failed(StoreError::Unavailable(error.to_owned()));
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_reported_once_and_once_more_if_it_does_not_end_by_itself() {
        let status = StoreStatus::default();
        let unavailable = || StoreError::Unavailable("cannot open the file".into());
        let damaged = || StoreError::Damaged("the file is damaged".into());
        assert!(status.failed(StoreError::Unknown("cannot write the file".into())));
        assert!(!status.failed(unavailable()));
        assert!(status.failed(damaged()));
        assert!(!status.failed(unavailable()));
        assert!(!status.failed(damaged()));
        assert!(status.all_stored(SystemTime::UNIX_EPOCH));
        assert!(!status.all_stored(SystemTime::UNIX_EPOCH));
        assert!(status.late(unavailable()));
        assert_eq!((status.state().failures, status.state().error), (5, Some(unavailable())));
    }
}
