//! Metrics of how fast changes reach watchers.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, core::Collector};

/// Bucket bounds in seconds: from 50 us, a fast watcher, to 15 s, a reader that hardly reads.
const BUCKETS: [f64; 12] = [0.00005, 0.00015, 0.0005, 0.0015, 0.005, 0.015, 0.05, 0.15, 0.5, 1.5, 5.0, 15.0];

/// Measures how long changes wait until they are sent to a watcher.
#[derive(Debug, Clone)]
pub struct DeliveryMetrics {
    seconds: Histogram,
}

impl DeliveryMetrics {
    pub(super) fn new() -> prometheus::Result<Self> {
        let opts = HistogramOpts::new(
            "headcount_change_delivery_seconds",
            "Time from a change to its hand-over to a watcher's transport; one sample per message, for its oldest \
             change.",
        );
        let opts = opts.buckets(BUCKETS.to_vec());
        let seconds = Histogram::with_opts(opts)?;
        Ok(Self { seconds })
    }

    pub(super) fn collectors(&self) -> [Box<dyn Collector>; 1] {
        [Box::new(self.seconds.clone())]
    }

    /// Records a message whose oldest change has this age.
    pub fn delivered(&self, age: Duration) {
        self.seconds.observe(age.as_secs_f64());
    }
}
