//! Metrics of the load that limits refuse.

use prometheus::{IntCounterVec, Opts, core::Collector};

use crate::registry::LimitReached;

/// Counts connections, sessions and watches that are refused, and connections that are closed to make
/// room for others, because a limit is reached.
#[derive(Debug, Clone)]
pub struct ShedMetrics {
    by_limit: IntCounterVec,
}

impl ShedMetrics {
    /// The setting that limits new sessions and, by a share of it, rejected hellos.
    pub const SESSION_RATE: &str = "max-session-rate";
    /// The setting that limits gRPC connections.
    pub const CONNECTIONS: &str = "max-connections";
    /// The setting that limits gRPC connections from one address.
    pub const CONNECTIONS_PER_ADDRESS: &str = "max-connections-per-address";
    /// The setting that limits connections to the Kubernetes API.
    pub const KUBE_CONNECTIONS: &str = "max-kube-connections";
    /// The setting that limits unauthenticated connections from one address.
    pub const UNAUTHENTICATED: &str = "max-unauthenticated-connection-rate";

    pub(super) fn new() -> prometheus::Result<Self> {
        let by_limit = Opts::new(
            "headcount_shed_total",
            "Connections, sessions and watches that were refused or closed because a limit was reached, by its setting.",
        );
        let by_limit = IntCounterVec::new(by_limit, &["limit"])?;
        let connections =
            [Self::CONNECTIONS, Self::CONNECTIONS_PER_ADDRESS, Self::KUBE_CONNECTIONS, Self::UNAUTHENTICATED];
        for limit in LimitReached::SETTINGS.into_iter().chain(connections) {
            by_limit.with_label_values(&[limit]);
        }
        Ok(Self { by_limit })
    }

    pub(super) fn collectors(&self) -> [Box<dyn Collector>; 1] {
        [Box::new(self.by_limit.clone())]
    }

    /// Counts one refusal by the limit with this setting.
    pub fn shed(&self, limit: &'static str) {
        self.by_limit.with_label_values(&[limit]).inc();
    }
}
