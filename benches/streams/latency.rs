//! From a health report on one connection to the delta on another.

use std::time::Duration;

use anyhow::Context as _;
use headcount::proto::WatchWorkloadsResponse;
use prost::Message as _;
use tokio::{
    runtime::Runtime,
    time::{Instant, interval, timeout},
};
use tonic::Streaming;

use crate::{
    load::{self, Proxy},
    server::{Server, Side},
    support::rounds::Measure,
};

/// Between reports: a thousand in a second.
const PERIOD: Duration = Duration::from_millis(1);
/// For the last delta after the last report.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct Scale {
    pub(crate) rounds: usize,
    /// Reports at the start of a round that don't count.
    warm_up: usize,
    reports: usize,
}

pub(crate) const FULL: Scale = Scale { rounds: 11, warm_up: 500, reports: 3_000 };

pub(crate) const QUICK: Scale = Scale { rounds: 1, warm_up: 50, reports: 200 };

/// One round, with a fresh server.
#[expect(clippy::cast_precision_loss, reason = "a message is small")]
pub(crate) fn round(side: Side, scale: &Scale) -> anyhow::Result<Vec<Measure>> {
    let server = Server::start(side)?;
    let (sent, seen) = Runtime::new()?.block_on(run(&server.uri(), scale.warm_up + scale.reports))?;
    // Both sides have to carry the same: this shows whether they do.
    let bytes = seen.iter().map(|delta| delta.bytes).sum::<usize>() as f64 / seen.len() as f64;
    let mut latencies = latencies(&sent, &seen)?.split_off(scale.warm_up);
    latencies.sort();
    let measure = |name, unit, value| Measure { name, unit, value };
    let micros = |percent| percentile(&latencies, percent).as_secs_f64() * 1e6;
    Ok(vec![
        measure("a health report to a watcher, p50", "µs", micros(50)),
        measure("a health report to a watcher, p99", "µs", micros(99)),
        measure("size of the delta", "bytes", bytes),
    ])
}

/// A delta that came: every report up to this one is told of.
struct Seen {
    sequence: usize,
    at: Instant,
    bytes: usize,
}

/// Sends the reports, and returns when each was handed to the client, and when
/// the client handed out the deltas.
async fn run(uri: &str, reports: usize) -> anyhow::Result<(Vec<Instant>, Vec<Seen>)> {
    let mut deltas = load::watch(uri).await?;
    let Proxy { says, mut hears } = Proxy::connect(uri, 0).await?;
    let created = next(&mut deltas).await?;

    // Whoever does not read the acks is not read from either.
    let acks = tokio::spawn(async move { while hears.message().await.is_ok_and(|ack| ack.is_some()) {} });
    let sender = tokio::spawn(async move {
        let mut sent = Vec::with_capacity(reports);
        let mut clock = interval(PERIOD);
        for sequence in (1..).take(reports) {
            clock.tick().await;
            sent.push(Instant::now());
            says.send(load::report(sequence)).await?;
        }
        anyhow::Ok((sent, says))
    });
    let receiver = tokio::spawn(async move {
        let mut seen = Vec::with_capacity(reports);
        loop {
            let delta = next(&mut deltas).await?;
            let at = Instant::now();
            let sequence = usize::try_from(delta.revision - created.revision)?;
            seen.push(Seen { sequence, at, bytes: delta.encoded_len() });
            if sequence >= reports {
                return anyhow::Ok(seen);
            }
        }
    });
    // The stream stays open until the last delta is there.
    let (sent, _says) = sender.await??;
    let seen = timeout(PATIENCE, receiver).await.context("deltas are missing")???;
    acks.abort();
    Ok((sent, seen))
}

async fn next(deltas: &mut Streaming<WatchWorkloadsResponse>) -> anyhow::Result<WatchWorkloadsResponse> {
    deltas.message().await?.context("the watch has ended")
}

/// A report's delta is the first that tells of it or of a later one.
fn latencies(sent: &[Instant], seen: &[Seen]) -> anyhow::Result<Vec<Duration>> {
    let mut seen = seen.iter().peekable();
    (1..)
        .zip(sent)
        .map(|(sequence, sent)| {
            while seen.next_if(|delta| delta.sequence < sequence).is_some() {}
            let delta = seen.peek().context("a report was not told of")?;
            Ok(delta.at - *sent)
        })
        .collect()
}

/// By nearest rank.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent).div_ceil(100) - 1]
}
