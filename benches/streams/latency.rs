//! From a health report on one connection to the delta on another, while many
//! proxies are connected that say nothing.

use std::time::Duration;

use anyhow::Context as _;
use tokio::{
    runtime::Runtime,
    time::{Instant, interval, timeout},
};

use crate::{
    bare::Job,
    idle,
    load::{self, Proxy},
    server::{SIDES, Server, Setup},
    support::{
        percentile::percentile,
        reach::Reach,
        rounds::{Figure, Measure, compare},
    },
    watch::Watch,
};

/// Between reports: a thousand in a second.
const PERIOD: Duration = Duration::from_millis(1);
/// For the last delta after the last report.
const PATIENCE: Duration = Duration::from_secs(5);
/// Of the proxy that reports: one of a workload where it is alone.
const NUMBER: usize = 1_000_000;

struct Scale {
    rounds: usize,
    idle: usize,
    /// Reports at the start of a round that don't count.
    warm_up: usize,
    reports: usize,
}

const FULL: Scale = Scale { rounds: 7, idle: 10_000, warm_up: 500, reports: 3_000 };

const QUICK: Scale = Scale { rounds: 1, idle: 100, warm_up: 50, reports: 200 };

/// Each round has a fresh server.
pub(crate) fn measure(quick: bool) -> anyhow::Result<Vec<Figure>> {
    let scale = if quick { QUICK } else { FULL };
    compare("latency", scale.rounds, SIDES, |side| {
        let server = Server::start(Setup::new(side, Job::Relay))?;
        let _idle = idle::connect(&server.uri(), scale.idle)?;
        let (sent, seen, bytes) =
            Runtime::new()?.block_on(run(&server.uri(), scale.warm_up + scale.reports))?;
        let mut latencies = latencies(&sent, &seen)?.split_off(scale.warm_up);
        latencies.sort();
        let micros = |percent| percentile(&latencies, percent).as_secs_f64() * 1e6;
        let reach = Reach::RatioAtMost(1.3);
        Ok(vec![
            Measure::new("a report to a watcher, 10,000 idle, p50", "µs", micros(50)).reach(reach),
            Measure::new("a report to a watcher, 10,000 idle, p99", "µs", micros(99)).reach(reach),
            // Both sides have to carry the same: this shows whether they do.
            Measure::new("size of the delta", "bytes", bytes),
        ])
    })
}

/// A delta that came: every report up to this one is told of.
struct Seen {
    sequence: usize,
    at: Instant,
}

/// Sends the reports, and returns when each was handed to the client, and when
/// the client handed out the deltas, and the bytes of one.
#[expect(clippy::cast_precision_loss, reason = "a message is small")]
async fn run(uri: &str, reports: usize) -> anyhow::Result<(Vec<Instant>, Vec<Seen>, f64)> {
    let mut watch = Watch::open(uri).await?;
    let Proxy { says, mut hears } = Proxy::connect(uri, NUMBER).await?;
    watch.next().await?;
    let created = watch.revision;

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
            watch.next().await?;
            let at = Instant::now();
            let sequence = usize::try_from(watch.revision - created)?;
            seen.push(Seen { sequence, at });
            if sequence >= reports {
                return anyhow::Ok((seen, watch.bytes as f64 / watch.messages as f64));
            }
        }
    });
    // The stream stays open until the last delta is there.
    let (sent, _says) = sender.await??;
    let (seen, bytes) = timeout(PATIENCE, receiver).await.context("deltas are missing")???;
    acks.abort();
    Ok((sent, seen, bytes))
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
