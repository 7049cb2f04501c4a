//! How often the health of one dataplane may change visibly. The first change is
//! visible at once; a change that follows too soon is deferred, and a newer report
//! replaces it.

use std::time::Duration;

use tokio::time::Instant;

use crate::model::HealthReport;

/// The throttle of one session: at most one visible change per interval.
#[derive(Debug)]
pub(crate) struct Throttle {
    interval: Duration,
    /// When the next change may be visible; none if there was none yet.
    next_at: Option<Instant>,
    deferred: Option<HealthReport>,
}

impl Throttle {
    /// A throttle that admits everything if `interval` is zero.
    pub(crate) fn new(interval: Duration) -> Self {
        Self { interval, next_at: None, deferred: None }
    }

    /// Whether a report may take effect now. Otherwise it is deferred. In both cases it
    /// replaces a report that was deferred before.
    pub(crate) fn admit(&mut self, report: HealthReport, visible: bool, now: Instant) -> bool {
        self.deferred = None;
        if !visible || self.interval.is_zero() {
            return true;
        }
        if self.next_at.is_some_and(|next_at| now < next_at) {
            self.deferred = Some(report);
            return false;
        }
        self.next_at = Some(now + self.interval);
        true
    }

    pub(crate) fn deferred(&self) -> Option<HealthReport> {
        self.deferred
    }

    /// When the deferred report may take effect; none if none is deferred.
    pub(crate) fn next_flush(&self) -> Option<Instant> {
        self.deferred.and(self.next_at)
    }
}
