//! Latency from a health report on one connection to the delta on another, while many idle proxies are
//! connected.

use std::time::Duration;

use anyhow::Context as _;
use tokio::{
    runtime::Runtime,
    time::{Instant, interval, timeout},
};

use crate::{
    bare_tonic::Mode,
    clients::{self, Proxy},
    idle::{self, Liveness},
    remote::Remote,
    security::{Files, Security},
    server::{SIDES, Server, Setup, Side},
    support::{
        percentile::percentile,
        rounds::{Figure, Measure, compare},
        target::Target,
    },
    watch::Watch,
};

/// Time between reports: 1,000 per second.
const PERIOD: Duration = Duration::from_millis(1);
/// Longest wait for the last delta after the last report.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The proxy that reports: the only one of its workload.
const REPORTER: usize = 1_000_000;

struct Scale {
    rounds: usize,
    idle: usize,
    /// Reports at the start of a round that are not measured.
    warm_up: usize,
    reports: usize,
}

const FULL: Scale = Scale { rounds: 7, idle: 10_000, warm_up: 500, reports: 3_000 };

const QUICK: Scale = Scale { rounds: 1, idle: 100, warm_up: 50, reports: 200 };

pub(crate) fn measure(quick: bool) -> anyhow::Result<Vec<Figure>> {
    let scale = if quick { QUICK } else { FULL };
    compare("latency", scale.rounds, SIDES, |side| round(side, None, &scale, [1.05, 1.15]))
}

/// The same with TLS on all connections.
pub(crate) fn with_tls(quick: bool, files: &Files) -> anyhow::Result<Vec<Figure>> {
    let scale = if quick { QUICK } else { Scale { rounds: 5, ..FULL } };
    compare("tls-latency", scale.rounds, SIDES, |side| round(side, Some(files.tls()), &scale, [1.1, 1.2]))
}

/// Measures a side; the ratios of p50 and p99 must be at most `ratios`.
fn round(
    side: Side,
    security: Option<Security>,
    scale: &Scale,
    ratios: [f64; 2],
) -> anyhow::Result<Vec<Measure>> {
    let setup = Setup::new(side, Mode::RelayAndAck).without_limits().with_security(security);
    let server = Server::start(setup)?;
    let _idle = idle::connect(server.remote(), scale.idle, Liveness::Nothing { connections: scale.idle })?;
    let (latencies, bytes) = latencies(&server, scale.warm_up, scale.reports)?;
    let micros = |percent| percentile(&latencies, percent).as_secs_f64() * 1e6;
    let [p50, p99] = ratios.map(Target::RatioAtMost);
    Ok(vec![
        Measure::new("a report to a watcher, 10,000 idle, p50", "µs", micros(50)).target(p50),
        Measure::new("a report to a watcher, 10,000 idle, p99", "µs", micros(99)).target(p99),
        // Shows that both sides send deltas of the same size.
        Measure::new("size of the delta", "bytes", bytes),
    ])
}

/// The latencies of reports after some that are not measured, sorted; and the mean size of a delta.
pub(crate) fn latencies(
    server: &Server,
    warm_up: usize,
    reports: usize,
) -> anyhow::Result<(Vec<Duration>, f64)> {
    let (sent, received, bytes) = Runtime::new()?.block_on(run(server.remote(), warm_up + reports))?;
    let mut latencies = until_delta(&sent, &received)?.split_off(warm_up);
    latencies.sort();
    Ok((latencies, bytes))
}

/// A delta that was received: it covers every report up to this sequence number.
struct Received {
    sequence: usize,
    at: Instant,
}

/// Sends the reports; returns when each was handed to the client's stream, when the client returned each
/// delta, and the mean size of a delta.
#[expect(clippy::cast_precision_loss, reason = "a message is small")]
async fn run(remote: Remote, reports: usize) -> anyhow::Result<(Vec<Instant>, Vec<Received>, f64)> {
    let mut watch = Watch::open(remote).await?;
    let Proxy { requests, mut responses } = Proxy::connect(remote, REPORTER).await?;
    watch.next().await?;
    let created = watch.revision;

    // The server stops reading from a client that does not read its acks.
    let acks = tokio::spawn(async move { while responses.message().await.is_ok_and(|ack| ack.is_some()) {} });
    let sender = tokio::spawn(async move {
        let mut sent = Vec::with_capacity(reports);
        let mut clock = interval(PERIOD);
        for sequence in (1..).take(reports) {
            clock.tick().await;
            sent.push(Instant::now());
            requests.send(clients::report(sequence)).await?;
        }
        anyhow::Ok((sent, requests))
    });
    let following = tokio::spawn(async move {
        let mut received = Vec::with_capacity(reports);
        loop {
            watch.next().await?;
            let at = Instant::now();
            let sequence = usize::try_from(watch.revision - created)?;
            received.push(Received { sequence, at });
            if sequence >= reports {
                return anyhow::Ok((received, watch.bytes as f64 / watch.messages as f64));
            }
        }
    });
    // The session stays open until the last delta has been received.
    let (sent, _requests) = sender.await??;
    let (received, bytes) = timeout(TIMEOUT, following).await.context("deltas are missing")???;
    acks.abort();
    Ok((sent, received, bytes))
}

/// The delta of a report is the first that covers it: it may be conflated with later ones.
fn until_delta(sent: &[Instant], received: &[Received]) -> anyhow::Result<Vec<Duration>> {
    let mut received = received.iter().peekable();
    (1..)
        .zip(sent)
        .map(|(sequence, sent)| {
            while received.next_if(|delta| delta.sequence < sequence).is_some() {}
            let delta = received.peek().context("no delta covers a report")?;
            Ok(delta.at - *sent)
        })
        .collect()
}
