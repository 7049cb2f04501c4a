//! Metrics of the data directory, read from the writer's status at each scrape. A server without
//! a data directory has none of them.

use std::fmt::Write as _;

use super::collector::write_header;
use crate::{
    persistence::{StoreState, StoreStatus},
    registry::Registry,
};

/// Appends the metrics in the Prometheus text format.
pub(super) fn write(text: &mut String, status: &StoreStatus, registry: &Registry) {
    let StoreState { commits, commit_time, failures, error, .. } = status.state();
    let mut metric = |name: &str, kind, help, value: &dyn std::fmt::Display| {
        let name = format!("headcount_store_{name}");
        write_header(text, &name, help, kind);
        let _infallible = writeln!(text, "{name} {value}");
    };
    metric("commits_total", "counter", "Batches of registrations that were stored.", &commits);
    let help = "Time that the stored batches took, in seconds.";
    metric("commit_seconds_total", "counter", help, &commit_time.as_secs_f64());
    let help =
        "Attempts to store registrations, or to check the files before, that failed; they are repeated.";
    metric("failures_total", "counter", help, &failures);
    let help = "Whether registrations can't be stored, or have not been for 5 s: 1 if so.";
    metric("failing", "gauge", help, &u8::from(error.is_some()));
    let help = "Changes of registrations that are not stored yet.";
    metric("pending_records", "gauge", help, &registry.pending_records());
}
