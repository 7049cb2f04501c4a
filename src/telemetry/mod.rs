//! Logs on standard error, metrics for Prometheus, and the text of `/readyz`.

pub mod logs;
pub mod metrics;
pub mod readyz;
