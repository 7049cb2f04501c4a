//! Metrics of the audit log.

use prometheus::{IntCounter, IntGauge, core::Collector};

/// Counts the lines of the audit log. Clones share the counters.
#[derive(Debug, Clone)]
pub struct AuditMetrics {
    written: IntCounter,
    dropped: IntCounter,
    failing: IntGauge,
}

impl AuditMetrics {
    pub(super) fn new() -> prometheus::Result<Self> {
        Ok(Self {
            written: IntCounter::new(
                "headcount_audit_lines_total",
                "Lines that were written to the audit log.",
            )?,
            dropped: IntCounter::new(
                "headcount_audit_lines_dropped_total",
                "Lines of the audit log that were dropped because they could not be written fast enough.",
            )?,
            failing: IntGauge::new(
                "headcount_audit_log_failing",
                "Whether the latest write to the audit log failed: 1 if so. Its lines wait in memory.",
            )?,
        })
    }

    pub(super) fn collectors(&self) -> [Box<dyn Collector>; 3] {
        [Box::new(self.written.clone()), Box::new(self.dropped.clone()), Box::new(self.failing.clone())]
    }

    /// Counts a line that was written.
    pub fn written(&self) {
        self.written.inc();
    }

    /// Counts a line that was dropped.
    pub fn drop_line(&self) {
        self.dropped.inc();
    }

    /// Lines that were dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped.get()
    }

    /// Sets whether the latest write failed.
    pub fn set_failing(&self, failing: bool) {
        self.failing.set(failing.into());
    }
}
