//! Metrics of dataplane sessions.

use prometheus::{IntCounter, IntCounterVec, Opts, core::Collector};

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// The proxy sent a goodbye.
    Goodbye,
    /// The stream ended without one: a crash, the network, a keepalive timeout.
    Lost,
    /// A newer session of the same dataplane took over.
    Superseded,
    /// The server drained.
    Drained,
    /// Its connection reached the maximum age.
    Aged,
    /// The proxy sent nothing for longer than the idle timeout.
    Idle,
    /// The proxy violated the protocol.
    Refused,
    /// The proxy's credential expired or was revoked.
    Unauthorized,
}

impl EndReason {
    const ALL: [Self; 8] = [
        Self::Goodbye,
        Self::Lost,
        Self::Superseded,
        Self::Drained,
        Self::Aged,
        Self::Idle,
        Self::Refused,
        Self::Unauthorized,
    ];

    /// Returns the value of the metric's `reason` label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Goodbye => "goodbye",
            Self::Lost => "lost",
            Self::Superseded => "superseded",
            Self::Drained => "drained",
            Self::Aged => "aged",
            Self::Idle => "idle",
            Self::Refused => "refused",
            Self::Unauthorized => "unauthorized",
        }
    }
}

/// Counts sessions that start and end, and health reports that are deferred.
#[derive(Debug, Clone)]
pub struct SessionMetrics {
    opened: IntCounter,
    ended: IntCounterVec,
    deferred: IntCounter,
}

impl SessionMetrics {
    pub(super) fn new() -> prometheus::Result<Self> {
        let ended = Opts::new(
            "headcount_sessions_ended_total",
            "Sessions that ended, by reason: goodbye, lost, superseded, drained, aged, idle, refused, unauthorized.",
        );
        let ended = IntCounterVec::new(ended, &["reason"])?;
        // Prometheus computes no rate for the event that creates a series, so all start at 0.
        for reason in EndReason::ALL {
            ended.with_label_values(&[reason.as_str()]);
        }
        let opened = IntCounter::new("headcount_sessions_opened_total", "Sessions that were opened.")?;
        let deferred = IntCounter::new(
            "headcount_health_reports_held_total",
            "Health reports that were deferred because the dataplane's health had changed less than the flap \
             interval before.",
        )?;
        Ok(Self { opened, ended, deferred })
    }

    pub(super) fn collectors(&self) -> [Box<dyn Collector>; 3] {
        [Box::new(self.opened.clone()), Box::new(self.ended.clone()), Box::new(self.deferred.clone())]
    }

    /// Counts an opened session.
    pub fn opened(&self) {
        self.opened.inc();
    }

    /// Counts a deferred health report.
    pub fn deferred(&self) {
        self.deferred.inc();
    }

    /// Counts an ended session.
    pub fn ended(&self, reason: EndReason) {
        self.ended.with_label_values(&[reason.as_str()]).inc();
    }
}
