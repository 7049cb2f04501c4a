//! What the program says about itself: logs on standard error, and metrics for
//! Prometheus.

pub mod logs;
pub mod metrics;
