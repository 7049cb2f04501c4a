//! How long a change takes to its watchers, by how many they are.

use std::time::Duration;

use anyhow::Context as _;
use futures_util::future::try_join_all;
use tokio::{
    runtime::Runtime,
    time::{Instant, interval, timeout},
};

use crate::{
    bare::Job,
    load::{self, Proxy},
    server::{SIDES, Server, Setup},
    support::{
        percentile::percentile,
        rounds::{Figure, Measure, compare},
    },
    watch::Watch,
};

/// Between changes: even a thousand watchers have each before the next.
const PERIOD: Duration = Duration::from_millis(50);
/// For the last delta.
const PATIENCE: Duration = Duration::from_mins(1);

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
            let server = Server::start(Setup::new(side, Job::Relay))?;
            let mut latencies = runtime.block_on(run(&server.uri(), *watchers, scale.changes))?;
            latencies.sort();
            let millis = |percent| percentile(&latencies, percent).as_secs_f64() * 1e3;
            slope.push(Measure::new("p50", "ms", millis(50)).at(*watchers));
            slope.push(Measure::new("p99", "ms", millis(99)).at(*watchers));
        }
        Ok(slope)
    })
}

/// Of each change to each watcher.
async fn run(uri: &str, watchers: u32, changes: usize) -> anyhow::Result<Vec<Duration>> {
    let mut watchers = Watch::many(uri, watchers as usize).await?;
    let Proxy { says, mut hears } = Proxy::connect(uri, 0).await?;
    let acks = tokio::spawn(async move { while hears.message().await.is_ok_and(|ack| ack.is_some()) {} });
    for watch in &mut watchers {
        watch.next().await?;
    }
    let told = watchers.into_iter().map(|watch| tokio::spawn(follow(watch, changes)));
    let told: Vec<_> = told.collect();
    let mut sent = Vec::with_capacity(changes);
    let mut clock = interval(PERIOD);
    for sequence in (1..).take(changes) {
        clock.tick().await;
        sent.push(Instant::now());
        says.send(load::report(sequence)).await?;
    }
    let told = timeout(PATIENCE, try_join_all(told)).await;
    let told = told.context("deltas are missing")??.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    acks.abort();
    Ok(told.iter().flat_map(|told| told.iter().zip(&sent).map(|(told, sent)| *told - *sent)).collect())
}

/// When each change was told: with the first delta that is not older.
async fn follow(mut watch: Watch, changes: usize) -> anyhow::Result<Vec<Instant>> {
    let created = watch.revision;
    let mut told = Vec::with_capacity(changes);
    while told.len() < changes {
        watch.next().await?;
        told.resize(usize::try_from(watch.revision - created)?, Instant::now());
    }
    Ok(told)
}
