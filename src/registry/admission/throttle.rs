//! How often the health of one dataplane may change visibly. The first change is
//! visible at once; a change that follows too soon is deferred, and a newer report
//! replaces it.

use std::time::Duration;

use tokio::time::Instant;

use crate::model::HealthReport;

/// The throttle of one session: at most one visible change per interval. Each of a million
/// sessions has one, so it does not hold the interval, and the rare deferred report is boxed.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    /// When the next change may be visible; none if there was none yet.
    next_at: Option<Instant>,
    deferred: Option<Box<HealthReport>>,
}

impl Throttle {
    /// Whether a report may take effect now. Otherwise it is deferred. In both cases it
    /// replaces a report that was deferred before. An interval of zero admits everything.
    pub(crate) fn admit(
        &mut self,
        report: HealthReport,
        visible: bool,
        interval: Duration,
        now: Instant,
    ) -> bool {
        self.deferred = None;
        if !visible || interval.is_zero() {
            return true;
        }
        if self.next_at.is_some_and(|next_at| now < next_at) {
            self.deferred = Some(Box::new(report));
            return false;
        }
        self.next_at = Some(now + interval);
        true
    }

    pub(crate) fn deferred(&self) -> Option<HealthReport> {
        self.deferred.as_deref().copied()
    }

    /// When the deferred report may take effect; none if none is deferred.
    pub(crate) fn next_flush(&self) -> Option<Instant> {
        self.deferred.as_ref().and(self.next_at)
    }
}
