//! Metrics of requests that access control refuses.

use prometheus::{IntCounterVec, Opts, core::Collector};

use crate::access::RefusalReason;

/// A server that clients connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Listener {
    /// gRPC.
    Grpc,
    /// Metrics and health.
    Http,
    /// The Kubernetes API.
    Kube,
}

impl Listener {
    const ALL: [Self; 3] = [Self::Grpc, Self::Http, Self::Kube];

    /// The value in metrics and the audit log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http",
            Self::Kube => "kube",
        }
    }
}

/// Counts requests that are refused, and live calls that end, because the caller has no right to them.
#[derive(Debug, Clone)]
pub struct RefusedMetrics {
    denied: IntCounterVec,
}

impl RefusedMetrics {
    pub(super) fn new() -> prometheus::Result<Self> {
        let denied = Opts::new(
            "headcount_requests_denied_total",
            "Requests that were refused, and sessions, watches and waits that ended, because the caller had no right to \
             them, by reason: unauthenticated, no_permission, mismatch, expired, revoked, bad_credential.",
        );
        let denied = IntCounterVec::new(denied, &["listener", "reason"])?;
        for listener in Listener::ALL {
            for reason in RefusalReason::ALL {
                denied.with_label_values(&[listener.as_str(), reason.as_str()]);
            }
        }
        Ok(Self { denied })
    }

    pub(super) fn collectors(&self) -> [Box<dyn Collector>; 1] {
        [Box::new(self.denied.clone())]
    }

    /// Counts one.
    pub fn denied(&self, listener: Listener, reason: RefusalReason) {
        self.denied.with_label_values(&[listener.as_str(), reason.as_str()]).inc();
    }
}
