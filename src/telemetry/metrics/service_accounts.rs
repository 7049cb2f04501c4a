//! Metrics of the verification of Kubernetes `ServiceAccount` tokens.

use prometheus::{IntCounterVec, Opts, core::Collector};

/// Counts fetches of the cluster's keys.
#[derive(Debug, Clone)]
pub struct ServiceAccountMetrics {
    fetches: IntCounterVec,
}

impl ServiceAccountMetrics {
    pub(super) fn new() -> prometheus::Result<Self> {
        let fetches = Opts::new(
            "headcount_service_account_key_fetches_total",
            "Fetches of the cluster's keys for ServiceAccount tokens, by outcome: ok, failed.",
        );
        let fetches = IntCounterVec::new(fetches, &["outcome"])?;
        for ok in [true, false] {
            fetches.with_label_values(&[outcome(ok)]);
        }
        Ok(Self { fetches })
    }

    pub(super) fn collectors(&self) -> [Box<dyn Collector>; 1] {
        [Box::new(self.fetches.clone())]
    }

    /// Counts a fetch of the keys.
    pub fn keys_fetched(&self, ok: bool) {
        self.fetches.with_label_values(&[outcome(ok)]).inc();
    }
}

fn outcome(ok: bool) -> &'static str {
    if ok { "ok" } else { "failed" }
}
