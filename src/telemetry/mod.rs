//! Logs on standard error, and metrics for Prometheus.

pub mod logs;
pub mod metrics;
