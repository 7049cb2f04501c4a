//! Latency from a report to its watchers, by the number of watchers: both sides relay one report every
//! 50 ms.

use std::time::Duration;

use anyhow::Context as _;
use futures_util::future::try_join_all;
use tokio::{
    runtime::Runtime,
    time::{Instant, interval, timeout},
};

use crate::{
    bare_tonic::Mode,
    clients::{self, Proxy},
    remote::Remote,
    server::{SIDES, Server, Setup},
    support::{
        percentile::percentile,
        rounds::{Figure, Measure, compare},
    },
    watch::Watch,
};

/// Time between changes: long enough that a thousand watchers have received one before the next.
const PERIOD: Duration = Duration::from_millis(50);
/// Longest wait for the last delta.
const TIMEOUT: Duration = Duration::from_mins(1);

struct Scale {
    rounds: usize,
    watchers: &'static [u32],
    changes: usize,
}

const FULL: Scale = Scale { rounds: 3, watchers: &[1, 10, 100, 1_000], changes: 40 };

const QUICK: Scale = Scale { rounds: 1, watchers: &[1, 10], changes: 5 };

pub(crate) fn measure(quick: bool) -> anyhow::Result<Vec<Figure>> {
    let scale = if quick { QUICK } else { FULL };
    compare("delivery", scale.rounds, SIDES, |side| {
        let runtime = Runtime::new()?;
        let mut slope = Vec::new();
        for watchers in scale.watchers {
            let server = Server::start(Setup::new(side, Mode::Relay).without_limits())?;
            let mut latencies = runtime.block_on(run(server.remote(), *watchers, scale.changes))?;
            latencies.sort();
            let millis = |percent| percentile(&latencies, percent).as_secs_f64() * 1e3;
            slope.push(Measure::new("p50", "ms", millis(50)).at(*watchers));
            slope.push(Measure::new("p99", "ms", millis(99)).at(*watchers));
        }
        Ok(slope)
    })
}

/// The latency of each change to each watcher.
async fn run(remote: Remote, watchers: u32, changes: usize) -> anyhow::Result<Vec<Duration>> {
    let mut watchers = Watch::many(remote, watchers as usize).await?;
    let Proxy { requests, mut responses } = Proxy::connect(remote, 0).await?;
    let acks = tokio::spawn(async move { while responses.message().await.is_ok_and(|ack| ack.is_some()) {} });
    for watch in &mut watchers {
        watch.next().await?;
    }
    let following = watchers.into_iter().map(|watch| tokio::spawn(follow(watch, changes)));
    let following: Vec<_> = following.collect();
    let mut sent = Vec::with_capacity(changes);
    let mut clock = interval(PERIOD);
    for sequence in (1..).take(changes) {
        clock.tick().await;
        sent.push(Instant::now());
        requests.send(clients::report(sequence)).await?;
    }
    let received = timeout(TIMEOUT, try_join_all(following)).await;
    let received =
        received.context("deltas are missing")??.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    acks.abort();
    let latencies = received
        .iter()
        .flat_map(|received| received.iter().zip(&sent).map(|(received, sent)| *received - *sent));
    Ok(latencies.collect())
}

/// When each change was received: with the first delta of its revision or a later one.
async fn follow(mut watch: Watch, changes: usize) -> anyhow::Result<Vec<Instant>> {
    let created = watch.revision;
    let mut received = Vec::with_capacity(changes);
    while received.len() < changes {
        watch.next().await?;
        received.resize(usize::try_from(watch.revision - created)?, Instant::now());
    }
    Ok(received)
}
