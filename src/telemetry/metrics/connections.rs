//! Metrics of unauthenticated connections.

use prometheus::{IntCounterVec, Opts, core::Collector};

use super::{Listener, ShedMetrics};
use crate::net::places::Unauthenticated;

/// Counts connections without a request of an authenticated caller.
#[derive(Debug, Clone)]
pub struct ConnectionMetrics {
    unauthenticated: IntCounterVec,
    shed: ShedMetrics,
}

impl ConnectionMetrics {
    pub(super) fn new(shed: ShedMetrics) -> prometheus::Result<Self> {
        let unauthenticated = Opts::new(
            "headcount_unauthenticated_connections_total",
            "Connections that ended without a request of an authenticated caller, or were refused because too many did, by listener and reason.",
        );
        let unauthenticated = IntCounterVec::new(unauthenticated, &["listener", "reason"])?;
        Ok(Self { unauthenticated, shed })
    }

    pub(super) fn collectors(&self) -> [Box<dyn Collector>; 1] {
        [Box::new(self.unauthenticated.clone())]
    }

    /// Returns the function that counts the connections of a listener. Its series exist from then on.
    pub(crate) fn of_listener(
        &self,
        listener: Listener,
    ) -> impl Fn(Unauthenticated) + Send + Sync + 'static + use<> {
        let of =
            |why: Unauthenticated| self.unauthenticated.with_label_values(&[listener.as_str(), why.as_str()]);
        let [no_request, no_caller, refused] = Unauthenticated::ALL.map(of);
        let shed = self.shed.clone();
        move |why| match why {
            Unauthenticated::NoRequest => no_request.inc(),
            Unauthenticated::NoCaller => no_caller.inc(),
            Unauthenticated::Refused => {
                refused.inc();
                shed.shed(ShedMetrics::UNAUTHENTICATED);
            }
        }
    }
}
