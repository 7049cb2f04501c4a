//! How often the health of one dataplane may change visibly. The first change is
//! visible at once; a change that follows too soon is deferred, and a newer report
//! replaces it. A session that takes over continues where the older one was.

use std::time::Duration;

use tokio::time::Instant;

use crate::{model::HealthReport, registry::cell::SessionCell};

/// The throttle of one session: at most one visible change per interval. When the next one may
/// be visible is stored in the session's cell. Each of a million sessions has a throttle, so it
/// does not hold the interval, and the rare deferred report is boxed.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    deferred: Option<Box<HealthReport>>,
}

impl Throttle {
    /// Whether a report may take effect now. Otherwise it is deferred. In both cases it
    /// replaces a report that was deferred before. An interval of zero admits everything.
    pub(crate) fn admit(
        &mut self,
        cell: &SessionCell,
        report: HealthReport,
        visible: bool,
        interval: Duration,
        now: Instant,
    ) -> bool {
        self.deferred = None;
        if !visible || interval.is_zero() {
            return true;
        }
        if now < cell.next_change_at() {
            self.deferred = Some(Box::new(report));
            return false;
        }
        cell.set_next_change_at(now + interval);
        true
    }

    pub(crate) fn deferred(&self) -> Option<HealthReport> {
        self.deferred.as_deref().copied()
    }

    /// When the deferred report may take effect; none if none is deferred.
    pub(crate) fn next_flush(&self, cell: &SessionCell) -> Option<Instant> {
        self.deferred.as_ref().map(|_| cell.next_change_at())
    }
}
