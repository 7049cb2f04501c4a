//! The load test of `headcount simulate`: many proxies from one process, and a check after each
//! phase that the server's counts are right.

use std::time::{Duration, Instant};

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{fleet::Fleet, totals::Totals};
use crate::{model::Invalid, net::client::ServerEndpoint};

/// Settings of a load test.
#[derive(Debug, Clone)]
pub struct LoadConfig {
    /// The server under test.
    pub server: ServerEndpoint,
    /// Number of proxies.
    pub proxies: u32,
    /// Number of workloads; proxies are spread evenly over them.
    pub workloads: u32,
    /// Number of connections; proxies are spread evenly over them.
    pub connections: u32,
    /// Proxies that connect per second, and that disconnect per second at the end; at least 1.
    pub connect_rate: u32,
    /// Health changes per second, of all proxies together.
    pub flaps_per_second: u32,
    /// Duration of the phase with health changes.
    pub duration: Duration,
    /// Longest time in which the counts come no closer to the right ones, after each phase.
    pub settle_timeout: Duration,
    /// Mesh of the proxies.
    pub mesh: String,
    /// Namespace of the proxies. All dataplanes of this mesh and namespace are counted, so there
    /// must be no others.
    pub namespace: String,
}

/// The result of a load test. Durations are in seconds, latencies in microseconds.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadReport {
    /// From the configuration.
    pub proxies: u32,
    /// From the configuration.
    pub workloads: u32,
    /// From the configuration.
    pub connections: u32,
    /// Time until the watch reported all proxies connected and healthy; none if it never did.
    pub connect_seconds: Option<f64>,
    /// Health changes made.
    pub flaps: u64,
    /// Health reports that the server acknowledged.
    pub acks: u64,
    /// Median time from a report to its ack.
    pub ack_p50_micros: u64,
    /// 99th percentile of the time from a report to its ack.
    pub ack_p99_micros: u64,
    /// Longest time from a report to its ack.
    pub ack_max_micros: u64,
    /// Time from the last health change until the watch reported the right counts; none if it
    /// never did.
    pub settle_seconds: Option<f64>,
    /// Time from the goodbyes until the watch reported no proxies; none if it never did.
    pub leave_seconds: Option<f64>,
    /// Attempts to open a session that failed and were repeated, for example because the server
    /// was at a limit and requested a delay.
    pub retries: u64,
    /// Why the first of them failed.
    pub first_retry: Option<String>,
    /// Sessions that the server asked to reconnect.
    pub drained: u64,
    /// Open sessions that ended early in another way, and proxies that the server refused.
    pub lost: u64,
    /// Why the first of them ended.
    pub first_loss: Option<String>,
    /// Whether the counts were right after every phase and no session was lost.
    pub right: bool,
}

/// Progress of a phase.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Name of the phase.
    pub phase: &'static str,
    /// Completed part of `total`.
    pub done: u64,
    /// Proxies, or seconds of the flapping phase.
    pub total: u64,
}

/// Runs all phases of a load test and reports their progress. Cancelling `stop` skips to the last
/// phase, in which all proxies disconnect.
///
/// # Errors
///
/// If a dataplane is invalid, for example because of the mesh or namespace.
pub async fn run(
    config: LoadConfig,
    stop: CancellationToken,
    on_progress: impl Fn(Progress),
) -> Result<LoadReport, Invalid> {
    let mut fleet = Fleet::start(&config)?;
    let proxies = u64::from(config.proxies);
    let all_healthy = Totals { connected: proxies, healthy: proxies, total: proxies };
    let connect_seconds = fleet.wait_for(all_healthy, "connecting", &stop, &on_progress).await;
    let (mut flaps, mut settle_seconds) = (0, None);
    if connect_seconds.is_some() {
        flaps = fleet.flap(&config, &stop, &on_progress).await;
        let after_flaps = Totals { healthy: fleet.ready_count(), ..all_healthy };
        settle_seconds = fleet.wait_for(after_flaps, "settling", &stop, &on_progress).await;
    }
    let leave_start = Instant::now();
    fleet.leave(&on_progress).await;
    let none_left =
        fleet.wait_for(Totals::default(), "leaving", &CancellationToken::new(), &on_progress).await;
    let leave_seconds = none_left.map(|_| leave_start.elapsed().as_secs_f64());
    let measurements = fleet.measurements.lock();
    Ok(LoadReport {
        proxies: config.proxies,
        workloads: config.workloads,
        connections: config.connections,
        connect_seconds,
        flaps,
        acks: measurements.acks.len(),
        ack_p50_micros: measurements.acks.value_at_quantile(0.5),
        ack_p99_micros: measurements.acks.value_at_quantile(0.99),
        ack_max_micros: measurements.acks.max(),
        settle_seconds,
        leave_seconds,
        retries: measurements.retries,
        first_retry: measurements.first_retry.clone(),
        drained: measurements.drained,
        lost: measurements.lost,
        first_loss: measurements.first_loss.clone(),
        right: measurements.lost == 0 && connect_seconds.and(settle_seconds).and(leave_seconds).is_some(),
    })
}
