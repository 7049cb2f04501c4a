//! Metrics of TLS.

use prometheus::{IntCounterVec, Opts, core::Collector};

use super::Listener;
use crate::net::tls::HandshakeFailure;

/// Counts TLS handshakes that did not complete.
#[derive(Debug, Clone)]
pub struct TlsMetrics {
    failures: IntCounterVec,
}

impl TlsMetrics {
    pub(super) fn new() -> prometheus::Result<Self> {
        let failures = Opts::new(
            "headcount_tls_handshake_failures_total",
            "TLS handshakes that did not complete, by listener and reason.",
        );
        Ok(Self { failures: IntCounterVec::new(failures, &["listener", "reason"])? })
    }

    pub(super) fn collectors(&self) -> [Box<dyn Collector>; 1] {
        [Box::new(self.failures.clone())]
    }

    /// Returns the function that counts the failures of a listener with TLS. Its series exist from
    /// then on.
    pub(crate) fn of_listener(
        &self,
        listener: Listener,
    ) -> impl Fn(HandshakeFailure) + Send + Sync + 'static + use<> {
        let failures = self.failures.clone();
        for reason in HandshakeFailure::ALL {
            failures.with_label_values(&[listener.as_str(), reason.as_str()]);
        }
        move |reason| failures.with_label_values(&[listener.as_str(), reason.as_str()]).inc()
    }
}
